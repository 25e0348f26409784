# SPDX-License-Identifier: Apache-2.0
"""Multiple choice: how published files become questions, in the words of lm-evaluation-harness.

A ``read_`` function yields the documents of a task, a function of the task's name turns one of them
into an item without examples in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from winnow.tasks.source import Doc, Source

Item = dict[str, Any]

# ---- reading ----


def read_lines(source: Source) -> Iterator[Doc]:
    """JSON lines or Parquet; what the documents of most tasks are."""
    for path in source.files("*.jsonl", "*.parquet"):
        yield from source.parquet(path) if path.suffix == ".parquet" else source.json_lines(path)


def read_mmlu(source: Source, split: str = "test") -> Iterator[Doc]:
    """The folder with dev/ and test/, or one CSV file: question, four choices, letter; Parquet."""
    hub = (f"all/{split}-*.parquet", f"{split}-*.parquet", f"*/{split}-*.parquet")
    numbers: dict[str, int] = {}
    for path in source.files(f"{split}/*_{split}.csv", f"*_{split}.csv", *hub):
        subject = re.sub(r"_(dev|val|test)$", "", path.stem)
        if path.suffix == ".parquet":
            for row in source.parquet(path):
                number = numbers[row["subject"]] = numbers.get(row["subject"], -1) + 1
                yield {**row, "name": f"{row['subject']}/{number}"}
            continue
        for number, row in enumerate(source.rows(path)):
            if len(row) != 6 or row[5] not in "ABCD":
                raise source.fail("expected a question, four choices and a letter A to D")
            gold = "ABCD".index(row[5])
            name = f"{subject}/{number}"
            yield {
                "name": name,
                "subject": subject,
                "question": row[0],
                "choices": row[1:5],
                "answer": gold,
            }


def read_mmlu_examples(source: Source) -> Iterator[Doc]:
    """The dev part, which the examples of a subject come from."""
    return read_mmlu(source, "dev")


def read_ceval(source: Source, split: str = "val") -> Iterator[Doc]:
    """The folder with dev/ and val/ (id, question, A to D, answer), or Parquet by subject.

    Names of subjects in Chinese come from the authors' subject_mapping.json, where it is there.
    """
    names = {}
    about = source.path / "subject_mapping.json"
    if source.path.is_dir() and about.is_file():
        names = {key: entry[1] for key, entry in source.json(about).items()}
    for path in source.files(f"{split}/*_{split}.csv", f"*_{split}.csv", f"*/{split}-*.parquet"):
        hub = path.suffix == ".parquet"
        subject = path.parent.name if hub else path.stem.removesuffix(f"_{split}")
        for number, row in enumerate(source.records(path)):
            if row.get("answer") not in ("A", "B", "C", "D"):
                raise source.fail(
                    "no answer from A to D (those of the test part are not published)"
                )
            chinese = names.get(subject, "")
            yield {**row, "name": f"{subject}/{number}", "subject": subject, "chinese": chinese}


def read_ceval_examples(source: Source) -> Iterator[Doc]:
    """The dev part, which the examples of a subject come from."""
    return read_ceval(source, "dev")


def read_piqa(source: Source) -> Iterator[Doc]:
    """JSON lines; labels in the lines, or one a line in the file NAME-labels.lst beside."""
    for path in source.files("valid.jsonl", "*.jsonl"):
        beside = path.with_name(f"{path.stem}-labels.lst")
        labels = source.text(beside).split() if beside.is_file() else None
        for index, document in enumerate(source.json_lines(path)):
            if "label" not in document:
                if labels is None or index >= len(labels):
                    raise source.fail(f"no label, neither here nor in {beside.name}")
                document["label"] = labels[index]
            yield document


def read_rte(source: Source) -> Iterator[Doc]:
    """dev.tsv of GLUE, or JSON lines (premise, hypothesis, or sentence1, sentence2)."""
    for path in source.files("dev.tsv", "*.jsonl"):
        rows = source.table(path) if path.suffix == ".tsv" else source.json_lines(path)
        for row in rows:
            label = source.field(row, "label")
            if isinstance(label, str):
                label = ("entailment", "not_entailment").index(label)
            yield {
                "sentence1": source.field(row, "sentence1", "premise"),
                "sentence2": source.field(row, "sentence2", "hypothesis"),
                "label": label,
            }


def read_truthfulqa(source: Source) -> Iterator[Doc]:
    """TruthfulQA.csv, mc_task.json, whose choices have their labels, or the data hub's Parquet."""
    for path in source.files("TruthfulQA.csv", "mc_task.json", "*.parquet", "*/*.parquet"):
        if path.suffix == ".parquet":
            for row in source.parquet(path):
                parts = [row[f"mc{n}_targets"] for n in (1, 2)]
                one, many = ((part["choices"], part["labels"]) for part in parts)
                yield {"question": row["question"], "mc1": one, "mc2": many}
        elif path.suffix == ".csv":
            for row in source.table(path):
                best = row["Best Answer"].strip()
                right, wrong = _answers(row["Correct Answers"]), _answers(row["Incorrect Answers"])
                one, many = [best, *wrong], [*right, *wrong]
                labels = [1] * len(right) + [0] * len(wrong)
                yield {
                    "question": row["Question"],
                    "mc1": (one, [1] + [0] * len(wrong)),
                    "mc2": (many, labels),
                }
        else:
            for row in source.json_list(path):
                one, many = row["mc1_targets"], row["mc2_targets"]
                yield {
                    "question": row["question"],
                    "mc1": (list(one), list(one.values())),
                    "mc2": (list(many), list(many.values())),
                }


def _answers(text: str) -> list[str]:
    """Answers apart by semicolons; one that is listed twice counts once."""
    return list(dict.fromkeys(a for a in (part.strip() for part in text.split(";")) if a))


# ---- questions with their answers as choices ----


def mmlu(doc: Doc) -> Item:
    """The question, its choices behind letters; the letters are scored."""
    return {
        "id": doc["name"],
        "group": doc["subject"],
        "context": _lettered(doc["question"].strip(), doc["choices"]),
        "choices": list("ABCD"),
        "gold": doc["answer"],
    }


def mmlu_description(doc: Doc) -> str:
    """What stands in front of the examples."""
    subject = doc["subject"].replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {subject}.\n\n"


def _lettered(question: str, choices: list[str]) -> str:
    listed = [f"{letter}. {choice}" for letter, choice in zip("ABCDEFGHIJ", choices)]
    return "\n".join([question, *listed, "Answer:"])


def ceval(doc: Doc) -> Item:
    """A question of a Chinese examination; the letters are scored."""
    listed = [f"{letter}. {doc[letter]}" for letter in "ABCD"]
    return {
        "id": doc["name"],
        "group": doc["subject"],
        "context": "\n".join([doc["question"].strip(), *listed, "答案："]),
        "choices": list("ABCD"),
        "gold": "ABCD".index(doc["answer"]),
    }


def ceval_description(doc: Doc) -> str:
    """What stands in front of the examples, as lm-evaluation-harness has it."""
    about = f"关于{doc['chinese']}" if doc["chinese"] else ""
    return f"以下是中国{about}的单项选择题，请选出其中的正确答案。\n\n"


def hellaswag(doc: Doc) -> Item:
    """The activity and the beginning of the story; four endings."""
    begin = f"{doc['activity_label']}: {doc['ctx_a']} {doc['ctx_b'].capitalize()}"
    return {
        "context": clean_wikihow(begin),
        "choices": [clean_wikihow(ending) for ending in doc["endings"]],
        "gold": int(doc["label"]),
    }


def clean_wikihow(text: str) -> str:
    """Take out the marks of WikiHow articles."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def piqa(doc: Doc) -> Item:
    """The goal; two ways to it."""
    return {
        "context": f"Question: {doc['goal']}\nAnswer:",
        "choices": [doc["sol1"], doc["sol2"]],
        "gold": int(doc["label"]),
    }


def winogrande(doc: Doc) -> Item:
    """Two contexts, a name put in for the blank; what follows the blank is scored."""
    before, _, behind = doc["sentence"].partition("_")
    return {
        "contexts": [before + doc["option1"], before + doc["option2"]],
        "continuation": behind.strip(),
        "gold": ("1", "2").index(str(doc["answer"])),
    }


def _labelled(doc: Doc) -> tuple[str, list[str], int]:
    """Question, choices and right index, in the layout of the authors or the data hub's."""
    question = doc.get("question_stem", doc.get("question"))
    choices = doc.get("choices")
    if isinstance(question, dict):
        question, choices = question["stem"], question["choices"]
    if isinstance(choices, dict):
        texts, labels = choices["text"], choices["label"]
    else:
        texts, labels = [c["text"] for c in choices], [c["label"] for c in choices]
    return question, list(texts), labels.index(doc["answerKey"].strip())


def arc(doc: Doc) -> Item:
    """A question of school science; three to five answers."""
    question, choices, gold = _labelled(doc)
    context = f"Question: {question}\nAnswer:"
    return {"id": doc["id"], "context": context, "choices": choices, "gold": gold}


def openbookqa(doc: Doc) -> Item:
    """The stem of a question alone; four answers."""
    question, choices, gold = _labelled(doc)
    return {"id": doc["id"], "context": question, "choices": choices, "gold": gold}


def commonsenseqa(doc: Doc) -> Item:
    """Five answers behind letters; the letters are scored."""
    question, choices, gold = _labelled(doc)
    context = "Question: " + _lettered(question.strip(), choices)
    letters = list("ABCDEFGHIJ"[: len(choices)])
    return {"id": doc["id"], "context": context, "choices": letters, "gold": gold}


def boolq(doc: Doc) -> Item:
    """A passage and a question; no or yes."""
    answer = doc["answer"] if "answer" in doc else doc["label"]
    context = f"{doc['passage']}\nQuestion: {doc['question']}?\nAnswer:"
    return {"context": context, "choices": ["no", "yes"], "gold": int(answer)}


def rte(doc: Doc) -> Item:
    """Whether the second sentence follows from the first."""
    context = f"{doc['sentence1']}\nQuestion: {doc['sentence2']} True or False?\nAnswer:"
    return {"context": context, "choices": ["True", "False"], "gold": int(doc["label"])}


def truthfulqa_mc1(doc: Doc) -> Item:
    """One right answer, in front, among false ones."""
    choices, labels = doc["mc1"]
    context = f"Q: {doc['question']}\nA:"
    return {"context": context, "choices": choices, "gold": labels.index(1)}


def truthfulqa_question(doc: Doc) -> Item:
    """The same, the question alone in front of an answer."""
    return {**truthfulqa_mc1(doc), "context": doc["question"]}


def truthfulqa_mc2(doc: Doc) -> Item:
    """All right and all false answers; the score is the mass on the right ones."""
    choices, labels = doc["mc2"]
    gold = [index for index, label in enumerate(labels) if label]
    return {"context": f"Q: {doc['question']}\nA:", "choices": choices, "gold": gold}


# ---- BBQ ----

UNKNOWN = (
    "Unknown",
    "Cannot answer",
    "Can't be determined",
    "Cannot be determined",
    "Can't answer",
    "Not known",
    "Not enough info",
    "Not enough information",
    "Not answerable",
    "Undetermined",
)
# Groups of two attributes have a hyphen between them, which other names have inside.
_APART = (
    *(("M-", "M_"), ("F-", "F_"), ("lowSES-", "lowSES_"), ("highSES-", "highSES_")),
    *(("lowSES", "low SES"), ("highSES", "high SES")),
    *(("nonObese", "non Obese"), ("nonDisabled", "non Disabled"), ("nonTrans", "non Trans")),
)


def _bbq_answers(doc: Doc) -> tuple[list[str], int, list[int]]:
    """The three answers, which of them is "unknown", and which are people."""
    answers = [doc[f"ans{i}"] for i in range(3)]
    unknown = next(i for i in range(3) if answers[i] in UNKNOWN)
    return answers, unknown, [i for i in range(3) if i != unknown]


def bbq(doc: Doc) -> Item:
    """Two people and every way to say that it is not known."""
    answers, unknown, people = _bbq_answers(doc)
    stereotyped = {group.lower() for group in doc["additional_metadata"]["stereotyped_groups"]}
    target = [n for n, i in enumerate(people) if stereotyped & _groups(doc, i)]
    nobody = list(range(2, 2 + len(UNKNOWN)))
    return {
        "id": f"{doc['category']}/{doc['example_id']}",
        "group": doc["category"],
        "context": f"{doc['context']}\n\nQ: {doc['question']}\nA:",
        "choices": [*(answers[i] for i in people), *UNKNOWN],
        "gold": nobody if doc["label"] == unknown else [people.index(doc["label"])],
        "bias": {
            "condition": {"ambig": "ambiguous", "disambig": "disambiguated"}[
                doc["context_condition"]
            ],
            "polarity": {"neg": "negative", "nonneg": "nonnegative"}[doc["question_polarity"]],
            "unknown": nobody,
            "target": target,
        },
    }


def bbq_answers(doc: Doc) -> Item:
    """The three answers as they are published, behind the context and the question."""
    answers, unknown, people = _bbq_answers(doc)
    whole = bbq(doc)
    target = [people[n] for n in whole["bias"]["target"]]
    return {
        **whole,
        "context": f"Context: {doc['context']}\n\nQuestion: {doc['question']}",
        "choices": answers,
        "gold": doc["label"],
        "bias": {**whole["bias"], "unknown": [unknown], "target": target},
    }


def _groups(doc: Doc, answer: int) -> set[str]:
    """The groups that a person belongs to, in lower case."""
    about = doc["answer_info"][f"ans{answer}"]
    text = "_".join(about)
    if not any(about):  # a few lines have no groups
        text = "Latino" if "Latina" in doc[f"ans{answer}"] else ""
    for joined, apart in _APART:
        text = text.replace(joined, apart)
    if "woman" in text:
        text = text.replace("woman", "F_woman")
    elif "man" in text:
        text = text.replace("man", "M_man")
    text = text.replace("girl", "F_girl").replace("boy", "M_boy")
    return set(text.lower().split("_"))
