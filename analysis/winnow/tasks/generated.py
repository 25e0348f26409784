# SPDX-License-Identifier: Apache-2.0
"""Answers that the model writes: questions, arithmetic, summaries, instructions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from winnow.tasks import choice
from winnow.tasks.source import Doc, Source

Item = dict[str, Any]

# ---- questions with short answers ----


def nq_open(doc: Doc) -> Item:
    """A question that people typed into a search engine."""
    return {"prompt": f"Q: {doc['question']}?\nA:", "references": list(doc["answer"])}


def read_triviaqa(source: Source) -> Iterator[Doc]:
    """unfiltered-web-dev.json, web-dev.json, ...: {"Data": [...]}; or JSON lines."""
    for path in source.files("*.json", "*.jsonl"):
        if path.suffix == ".jsonl":
            yield from source.json_lines(path)
        else:
            yield from source.json(path)["Data"]


def triviaqa(doc: Doc) -> Item:
    """A trivia question; any alias of the answer is right."""
    question = doc["Question"] if "Question" in doc else doc["question"]
    answer = doc["Answer"] if "Answer" in doc else doc["answer"]
    aliases = answer["Aliases"] if "Aliases" in answer else answer["aliases"]
    item = {"prompt": f"Question: {question}?\nAnswer:", "references": list(aliases)}
    name = doc.get("QuestionId", doc.get("question_id"))
    return item if name is None else {"id": name, **item}


def read_freebaseqa(source: Source) -> Iterator[Doc]:
    """FreebaseQA-train.json, -dev.json, -eval.json: {"Questions": [...]}."""
    for path in source.files("FreebaseQA-*.json"):
        yield from source.json(path)["Questions"]


def freebaseqa(doc: Doc) -> Item:
    """A question about a fact; the names of the answers of all parses are right."""
    names = [
        name
        for parse in doc["Parses"]
        for answer in parse["Answers"]
        for name in answer["AnswersName"]
    ]
    prompt = f"Please give answer to this question: {doc['RawQuestion']}\nThe answer is "
    return {
        "id": doc["Question-ID"],
        "prompt": prompt,
        "references": list(dict.fromkeys(names)),
    }


# ---- arithmetic and reasoning ----


def gsm8k(doc: Doc) -> Item:
    """A word problem; examples show the whole solution, the number behind #### is scored."""
    solution, _, number = doc["answer"].rpartition("#### ")
    if not solution:
        raise ValueError("the answer has no line that starts with ####")
    prompt = f"Question: {doc['question']}\nAnswer:"
    return {"prompt": prompt, "references": [number.strip()], "target": doc["answer"]}


def read_bbh(source: Source) -> Iterator[Doc]:
    """A task of BIG-Bench Hard, or the folder of all; what is asked is in ../cot-prompts."""
    for path in source.files("*.json"):
        asked = path.resolve().parents[1] / "cot-prompts" / f"{path.stem}.txt"
        about = ""
        if asked.is_file():
            about = source.text(asked).partition("-----\n")[2].partition("Q:")[0].strip()
        for number, example in enumerate(source.json(path)["examples"]):
            name = f"{path.stem}/{number}"
            yield {"task": path.stem, "name": name, "about": about, **example}


def bbh(doc: Doc) -> Item:
    """A puzzle with a short answer."""
    return {
        "id": doc["name"],
        "group": doc["task"],
        "prompt": f"Q: {doc['input']}\nA:",
        "references": [doc["target"]],
    }


def bbh_description(doc: Doc) -> str:
    """What is asked of all puzzles of a task."""
    return f"{doc['about']}\n\n" if doc["about"] else ""


def gsm8k_question(doc: Doc) -> Item:
    """The word problem alone; any number of the answer may be the right one."""
    number = doc["answer"].rpartition("#### ")[2].strip()
    return {"prompt": doc["question"], "references": [number.replace(",", "")]}


# ---- labels and letters that are written ----


def mmlu_generated(doc: Doc) -> Item:
    """A question with four choices; the model writes a letter."""
    item = choice.mmlu(doc)
    asked = "Which of A, B, C and D answers this question best?"
    prompt = f"{asked}\n\n{item['context']}"
    return _lettered(item, prompt)


def ceval_generated(doc: Doc) -> Item:
    """The same in Chinese."""
    item = choice.ceval(doc)
    return _lettered(item, f"请从A、B、C、D中选出正确答案。\n\n{item['context']}")


def _lettered(item: Item, prompt: str) -> Item:
    return {
        "id": item["id"],
        "group": item["group"],
        "prompt": prompt,
        "references": ["ABCD"[item["gold"]]],
    }


_NLI = {"entailment": "yes", "neutral": "maybe", "contradiction": "no"}


def read_snli(source: Source) -> Iterator[Doc]:
    """snli_1.0_test.jsonl of the authors, or the data hub's; lines without a label are left out."""
    names = ("snli_1.0_test.jsonl", "test-*.parquet", "*/test-*.parquet", "*.jsonl")
    for path in source.files(*names):
        for row in source.records(path):
            label = source.field(row, "gold_label", "label")
            if label not in ("-", -1):
                yield {
                    "premise": source.field(row, "sentence1", "premise"),
                    "hypothesis": source.field(row, "sentence2", "hypothesis"),
                    "label": label if isinstance(label, str) else list(_NLI)[label],
                }


def snli(doc: Doc) -> Item:
    """Whether the second sentence follows from the first, in a word."""
    asked = "Does it follow that"
    prompt = f'{doc["premise"]}\n\n{asked} "{doc["hypothesis"]}"? Yes, no or maybe?\nAnswer:'
    return {"prompt": prompt, "references": [_NLI[doc["label"]]], "group": doc["label"]}


# ---- translations ----

LANGUAGES = {"eng_Latn": "English", "zho_Hans": "Chinese"}


def read_flores(source: Source) -> Iterator[Doc]:
    """FLORES-200: devtest/eng_Latn.devtest ..., a sentence a line; or records with sentence_..."""
    plain = [f"devtest/{name}.devtest" for name in LANGUAGES]
    if source.path.is_dir() and all((source.path / name).is_file() for name in plain):
        columns = [source.text(source.path / name).splitlines() for name in plain]
        if len({len(column) for column in columns}) > 1:
            raise source.fail("the files of the two languages have different numbers of lines")
        for row in zip(*columns):
            yield dict(zip(LANGUAGES, row))
        return
    for path in source.files("devtest*.parquet", "*/devtest*.parquet", "*.parquet", "*.jsonl"):
        for row in source.records(path):
            yield {name: row[f"sentence_{name}"] for name in LANGUAGES}


def flores(doc: Doc, source: str, target: str) -> Item:
    """A sentence to be translated."""
    asked = f"Translate this {LANGUAGES[source]} text into {LANGUAGES[target]}."
    prompt = f"{asked}\n\n{LANGUAGES[source]}: {doc[source]}\n{LANGUAGES[target]}:"
    return {"prompt": prompt, "references": [doc[target]]}


# ---- summaries ----

SMALL, LARGE = 470, 790  # words of a story: small to SMALL, large from LARGE


def read_stories(source: Source) -> Iterator[Doc]:
    """CNN/DailyMail: .story files, or CSV, JSON lines, Parquet (article, highlights)."""
    for path in source.files("*.story", "*.csv", "*.jsonl", "*.parquet"):
        if path.suffix == ".story":
            article, highlights = split_highlights(source.text(path))
            yield {"id": path.stem, "article": article, "highlights": highlights}
        else:
            yield from source.records(path)


def split_highlights(story: str) -> tuple[str, str]:
    """The article, and the summary: what follows each line @highlight. Blank lines go."""
    article, *highlights = re.split(r"(?m)^@highlight\s*$", story)
    lines = [line.strip() for line in article.splitlines() if line.strip()]
    summary = [" ".join(part.split()) for part in highlights]
    return "\n".join(lines), "\n".join(part for part in summary if part)


def _summary(doc: Doc) -> Item:
    words = len(doc["article"].split())
    group = "small" if words <= SMALL else "large" if words >= LARGE else "medium"
    item = {"group": group, "references": [doc["highlights"]], "source": doc["article"]}
    return {"id": doc["id"], **item} if "id" in doc else item


def cnn_stories(doc: Doc) -> Item:
    """A story with the instruction of LLM-KICK, which asks for less than 150 words."""
    asked = (
        "Summarize the given story (or news) in less than 150 words while preserving high "
        "coherence, consistency, fluency, and relevance."
    )
    checks = [{"min_words": 1}, {"max_words": 150}]
    return {**_summary(doc), "prompt": f"{asked}\n\n{doc['article']}", "checks": checks}


def cnn_dailymail(doc: Doc) -> Item:
    """An article in the words of lm-evaluation-harness."""
    prompt = f"Summarize the following article:\n\n{doc['article']}\n\nSummary:"
    return {**_summary(doc), "prompt": prompt}


def xsum(doc: Doc) -> Item:
    """An article of the BBC and its first sentence, which sums it up."""
    prompt = f"Summarize the following article:\n\n{doc['document']}\n\nSummary:"
    item = {"prompt": prompt, "references": [doc["summary"]], "source": doc["document"]}
    return {"id": doc["id"], **item} if "id" in doc else item


def scitldr(doc: Doc) -> Item:
    """The abstract of a paper; several people's sentences about it."""
    article = " ".join(doc["source"])
    prompt = f"Summarize the following paper in one sentence:\n\n{article}\n\nSummary:"
    references = [text for text in doc["target"] if text.strip()]
    return {"prompt": prompt, "references": references, "source": article}


# ---- instructions ----


def read_instructions(source: Source) -> Iterator[Doc]:
    """A JSON list or JSON lines: instruction, input, and output or response; or instances."""
    for path in source.files("*.json", "*.jsonl"):
        for document in source.json_list(path):
            for instance in document.get("instances", [document]):
                yield {
                    "instruction": document["instruction"],
                    "input": instance.get("input") or "",
                    "output": source.field(instance, "output", "response"),
                }


ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
ALPACA_ALONE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
)


def _asked(doc: Doc) -> str:
    return f"{doc['instruction']}\n{doc['input']}" if doc["input"] else doc["instruction"]


def instructions(doc: Doc) -> Item:
    """An instruction, to be answered."""
    return {"prompt": _asked(doc), "references": [doc["output"]]}


def calibration(doc: Doc) -> Item:
    """An instruction with its answer, to calibrate on."""
    return {"prompt": _asked(doc), "response": doc["output"]}


def read_conversations(source: Source) -> Iterator[Doc]:
    """The first question of each conversation that is answered; what has none is left out.

    In the layout of ShareGPT (conversations: from, value) or as messages (role, content).
    """
    for path in source.files("*.json", "*.jsonl", "*.parquet"):
        for document in source.records(path):
            turns = source.field(document, "messages", "conversations")
            said = [(t.get("role", t.get("from")), t.get("content", t.get("value"))) for t in turns]
            for (asker, question), (answerer, answer) in zip(said, said[1:]):
                if asker in ("user", "human") and answerer in ("assistant", "gpt"):
                    yield {"question": question, "answer": answer}
                    break


def question_calibration(doc: Doc) -> Item:
    """A question with its answer as they stand, to calibrate on."""
    return {"prompt": doc["question"], "response": doc["answer"]}


def alpaca(doc: Doc) -> str:
    """The prompt of Stanford Alpaca."""
    template = ALPACA_WITH_INPUT if doc["input"] else ALPACA_ALONE
    return template.replace("{instruction}", doc["instruction"]).replace("{input}", doc["input"])


def read_chat(source: Source) -> Iterator[Doc]:
    """question.jsonl of MT-bench or Vicuna-bench, with reference_answer files beside unused."""
    for path in source.files("question.jsonl", "*question.jsonl"):
        for document in source.json_lines(path):
            question = document["turns"][0] if "turns" in document else document["text"]
            yield {**document, "instruction": question, "input": ""}


def chat(doc: Doc) -> Item:
    """The first turn of a conversation; there is no right answer, but there must be one."""
    return {
        "id": doc["question_id"],
        "group": doc["category"],
        "prompt": doc["instruction"],
        "references": [],
        "checks": [{"min_words": 1}],
    }
