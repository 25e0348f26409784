# SPDX-License-Identifier: Apache-2.0
"""Converters of winnow-tasks on small files in the layouts that the authors publish."""

import csv
import json
import random
import subprocess
import sys

import pytest
from conftest import ANALYSIS, ROOT

from winnow.tasks import TASKS, Options, TaskError, make, problems, read, write
from winnow.tasks.command import main
from winnow.tasks.retrieval import MODES, sentences, without
from winnow.tasks.shots import Pool


def lines(path, *objects):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in objects)
    path.write_text(text, encoding="utf-8")
    return path


def whole(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def items(name, path, **options):
    return make(name, path, Options(**options))[1]


@pytest.fixture
def mmlu(tmp_path):
    for subject in ("world_religions", "anatomy"):
        for split, count in (("dev", 5), ("test", 3)):
            rows = [
                (f" {subject} {split} {n}? ", "one, two", "2", "3", "4", "ABCD"[n % 4])
                for n in range(count)
            ]
            table(tmp_path / "mmlu" / split / f"{subject}_{split}.csv", *rows)
    return tmp_path / "mmlu"


PIQA = [
    {"goal": f"Goal {n}?", "sol1": f"first {n}", "sol2": f"second {n}", "label": n % 2}
    for n in range(12)
]


@pytest.fixture
def piqa(tmp_path):
    return lines(tmp_path / "valid.jsonl", *PIQA)


FREEBASE = {
    "Question-ID": "f1",
    "RawQuestion": "Q?",
    "Parses": [
        {"Answers": [{"AnswersName": ["x", "y"]}]},
        {"Answers": [{"AnswersName": ["y", "z"]}]},
    ],
}


# ---- one task, one layout ----


def test_mmlu(mmlu):
    header, found = make("mmlu", mmlu, Options(shots=2))
    assert [item["id"] for item in found[:4]] == ["anatomy/0", "anatomy/1", "anatomy/2",
                                                  "world_religions/0"]  # fmt: skip
    assert found[3]["group"] == "world_religions"
    assert found[3]["context"] == (
        "The following are multiple choice questions (with answers) about world religions.\n\n"
        "world_religions dev 0?\nA. one, two\nB. 2\nC. 3\nD. 4\nAnswer: A\n\n"
        "world_religions dev 1?\nA. one, two\nB. 2\nC. 3\nD. 4\nAnswer: B\n\n"
        "world_religions test 0?\nA. one, two\nB. 2\nC. 3\nD. 4\nAnswer:"
    )
    assert (found[4]["choices"], found[4]["gold"]) == (["A", "B", "C", "D"], 1)
    assert header["chance"] == 0.25 and "2 shots, first" in header["source"]
    assert len(items("mmlu", mmlu, per_group=1)) == 2
    assert items("mmlu", mmlu)[0]["context"].count("Answer:") == 6  # five shots of its own
    single = items("mmlu", mmlu / "test" / "anatomy_test.csv", shots=0)
    assert [item["id"] for item in single] == ["anatomy/0", "anatomy/1", "anatomy/2"]


def test_hellaswag(tmp_path):
    line = {
        "activity_label": "Baking",
        "ctx_a": "A man [title] mixes.",
        "ctx_b": "the DOUGH",
        "endings": ["rises [substeps] high.", " is  cold ", "c", "d"],
        "label": "1",
    }
    (item,) = items("hellaswag", lines(tmp_path / "hellaswag_val.jsonl", line))
    assert item["context"] == "Baking: A man. mixes. The dough"
    assert item["choices"] == ["rises high.", "is cold", "c", "d"] and item["gold"] == 1


def test_labels_of_piqa_beside_the_file(tmp_path):
    bare = [{k: v for k, v in line.items() if k != "label"} for line in PIQA[:3]]
    path = lines(tmp_path / "valid.jsonl", *bare)
    with pytest.raises(TaskError, match=r"valid\.jsonl:1: no label, neither here nor in valid-lab"):
        make("piqa", path)
    (tmp_path / "valid-labels.lst").write_text("1\n0\n1\n")
    found = items("piqa", tmp_path)
    assert [item["gold"] for item in found] == [1, 0, 1]
    assert found[0]["context"] == "Question: Goal 0?\nAnswer:"
    assert found[0]["choices"] == ["first 0", "second 0"]


def test_winogrande(tmp_path):
    line = {"sentence": "Ann met Bea because _ was in town.", "option1": "Ann", "option2": "Bea",
            "answer": "2", "qID": "x"}  # fmt: skip
    path = lines(tmp_path / "dev.jsonl", line, {**line, "answer": "1"})
    first, second = items("winogrande", path, shots=1)
    assert first["contexts"][1] == (
        "Ann met Bea because Ann was in town.\n\nAnn met Bea because Bea"
    )
    assert (first["continuation"], first["gold"], second["gold"]) == ("was in town.", 1, 0)


@pytest.mark.parametrize("name", ["arc_easy", "arc_challenge", "openbookqa", "commonsense_qa"])
def test_both_layouts_of_labelled_choices(tmp_path, name):
    texts, labels = ["red", "green", "blue"], ["1", "2", "3"]
    stem = "question_stem" if name == "openbookqa" else "question"
    hub = {"id": "q7", stem: "Which? ", "choices": {"text": texts, "label": labels},
           "answerKey": "2"}  # fmt: skip
    choices = [{"text": t, "label": n} for t, n in zip(texts, labels)]
    own = {"id": "q7", "question": {"stem": "Which? ", "choices": choices}, "answerKey": "2"}
    (one,), (two,) = (
        items(name, lines(tmp_path / f"{i}.jsonl", d)) for i, d in enumerate([hub, own])
    )
    assert one == two and one["id"] == "q7" and one["gold"] == 1
    expected = {
        "openbookqa": "Which? ",
        "commonsense_qa": "Question: Which?\nA. red\nB. green\nC. blue\nAnswer:",
    }
    assert one["context"] == expected.get(name, "Question: Which? \nAnswer:")


def test_boolq_and_rte(tmp_path):
    line = {"passage": "P.", "question": "is it so", "answer": True}
    (item,) = items("boolq", lines(tmp_path / "b.jsonl", line))
    assert item["context"] == "P.\nQuestion: is it so?\nAnswer:"
    assert item["choices"] == ["no", "yes"] and item["gold"] == 1
    lines_ = 'index\tsentence1\tsentence2\tlabel\n0\tA "b.\tC.\tnot_entailment\n'
    (tmp_path / "dev.tsv").write_text(lines_)
    (item,) = items("rte", tmp_path / "dev.tsv")
    assert item["context"] == 'A "b.\nQuestion: C. True or False?\nAnswer:' and item["gold"] == 1
    glue = {"premise": "A.", "hypothesis": "C.", "label": "entailment", "idx": 0}
    assert items("rte", lines(tmp_path / "val.jsonl", glue))[0]["gold"] == 0


def test_truthfulqa(tmp_path):
    header = ("Type", "Category", "Question", "Best Answer", "Correct Answers",
              "Incorrect Answers", "Source")  # fmt: skip
    row = ("A", "B", "Why?", "Best.", "Best.; Other", "No; No; Never;", "u")
    path = table(tmp_path / "TruthfulQA.csv", header, row)
    with pytest.raises(TaskError, match="qa_preset.txt: no such file; truthfulqa_mc1 has a fixed"):
        make("truthfulqa_mc1", path)
    (tmp_path / "qa_preset.txt").write_text("Q: x\nA: y\n")
    (one,) = items("truthfulqa_mc1", path)
    assert one["context"] == "Q: x\nA: y\n\nQ: Why?\nA:"
    assert one["choices"] == ["Best.", "No", "Never"] and one["gold"] == 0
    (two,) = items("truthfulqa_mc2", path)
    assert two["choices"] == ["Best.", "Other", "No", "Never"] and two["gold"] == [0, 1]
    targets = {"mc1_targets": {"a": 0, "b": 1}, "mc2_targets": {"c": 1, "d": 0}}
    other = whole(tmp_path / "mc_task.json", [{"question": "Why?", **targets}])
    (item,) = items("truthfulqa_mc1", other)
    assert (item["choices"], item["gold"]) == (["a", "b"], 1)


@pytest.mark.parametrize("polarity", ["neg", "nonneg"])
def test_bbq(tmp_path, polarity):
    line = {
        "example_id": 5,
        "category": "Age",
        "question_polarity": polarity,
        "context_condition": "ambig",
        "answer_info": {"ans0": ["A", "old"], "ans1": ["B", "unknown"], "ans2": ["C", "nonOld"]},
        "additional_metadata": {"stereotyped_groups": ["Old"]},
        "context": "C.",
        "question": "Who?",
        "ans0": "grandfather",
        "ans1": "Not known",
        "ans2": "grandson",
        "label": 1,
    }
    header, (item,) = make("bbq", lines(tmp_path / "Age.jsonl", line))
    assert item["id"] == "Age/5" and item["context"] == "C.\n\nQ: Who?\nA:"
    assert item["choices"][:3] == ["grandfather", "grandson", "Unknown"]
    assert len(item["choices"]) == 12 and item["gold"] == list(range(2, 12))
    named = {"neg": "negative", "nonneg": "nonnegative"}[polarity]
    unknown = list(range(2, 12))
    assert item["bias"] == {"condition": "ambiguous", "polarity": named, "unknown": unknown,
                            "target": [0]}  # fmt: skip
    assert header["metrics"] == ["acc", "bias"]
    (item,) = items("bbq", lines(tmp_path / "Age.jsonl", {**line, "label": 2}))
    assert item["gold"] == [1]


def test_pairs_and_last_words(tmp_path):
    line = {"sentence_good": "He is.", "sentence_bad": "He are.", "UID": "agreement"}
    header, (item,) = make("blimp", lines(tmp_path / "agreement.jsonl", line))
    assert header["kind"] == "pairs" and header["delimiter"] == " "
    assert item == {"id": "agreement/0", "group": "agreement", "texts": ["He is.", "He are."],
                    "gold": 0}  # fmt: skip
    rows = (
        ("", "sent_more", "sent_less", "stereo_antistereo", "bias_type"),
        (0, "a", "b", "s", "age"),
    )
    _, (item,) = make("crows_pairs", table(tmp_path / "crows_pairs_anonymized.csv", *rows))
    assert item == {"id": "0", "group": "age", "texts": ["a", "b"]}
    path = lines(tmp_path / "lambada_test.jsonl", {"text": "He said \N{EM DASH} hello world"})
    (item,) = items("lambada", path)
    assert (item["context"], item["continuation"]) == ("He said \N{EM DASH} hello", "world")
    (tmp_path / "plain.txt").write_text("one two three\nfour five\n")
    assert [i["continuation"] for i in items("lambada", tmp_path / "plain.txt")] == [
        "three",
        "five",
    ]


def test_wikitext(tmp_path):
    text = " \n = One = \n \n It 's 1 @,@ 5 ( so ) . \n = = Part = = \n Text \n = Two = \n End \n"
    (tmp_path / "wiki.test.raw").write_text(text)
    one, two = items("wikitext", tmp_path)
    assert one["text"].startswith(" = One =") and "It's 1,5 (so)." in one["text"]
    assert "== Part ==" in one["text"] and two["text"].strip().endswith("End")
    page = " = One = \n \n It 's 1 @,@ 5 ( so ) . \n = = Part = = \n Text "
    assert one["bytes"] == len(page) and one["words"] == len(page.split()) + 2


def test_short_answers(tmp_path):
    path = lines(tmp_path / "NQ-open.dev.jsonl", {"question": "who", "answer": ["A B", "C"]},
                 {"question": "what", "answer": ["D"]})  # fmt: skip
    header, found = make("nq_open", path, Options(shots=1))
    assert found[0]["prompt"] == "Answer these questions:\n\nQ: what?\nA: D\nQ: who?\nA:"
    assert found[1]["prompt"].startswith("Answer these questions:\n\nQ: who?\nA: A B\nQ: what?")
    assert found[0]["references"] == ["A B", "C"] and header["stop"] == ["\n", ".", ","]
    trivia = {"Question": "Q?", "QuestionId": "tc_1", "Answer": {"Aliases": ["X", "Y"]}}
    (item,) = items("triviaqa", whole(tmp_path / "dev.json", {"Data": [trivia]}))
    assert item == {"id": "tc_1", "prompt": "Question: Q??\nAnswer:", "references": ["X", "Y"]}
    (item,) = items(
        "freebaseqa", whole(tmp_path / "FreebaseQA-eval.json", {"Questions": [FREEBASE]})
    )
    assert item["references"] == ["x", "y", "z"]
    assert item["prompt"] == "Please give answer to this question: Q?\nThe answer is "


def test_gsm8k_and_bbh(tmp_path):
    train = [{"question": f"T{n}", "answer": f"S{n}\n#### {n}"} for n in range(9)]
    pool = lines(tmp_path / "train.jsonl", *train)
    path = lines(tmp_path / "test.jsonl", {"question": "How many?", "answer": "Some\n#### 1,200"})
    (item,) = items("gsm8k", path, pool=pool)
    assert item["references"] == ["1,200"] and "target" not in item
    assert item["prompt"].count("#### ") == 5 and item["prompt"].endswith("How many?\nAnswer:")
    with pytest.raises(TaskError, match="5 shots wanted, but there are only 0 examples"):
        make("gsm8k", path)
    with pytest.raises(TaskError, match=r"test\.jsonl:1: .* no line that starts with ####"):
        make("gsm8k", lines(path, {"question": "x", "answer": "12"}))
    for name in ("navigate", "snarks"):
        examples = [{"input": f"{name} {n}", "target": "Yes"} for n in range(4)]
        whole(tmp_path / f"{name}.json", {"examples": examples})
    (tmp_path / "bbh").mkdir()
    for name in ("navigate", "snarks"):
        (tmp_path / f"{name}.json").rename(tmp_path / "bbh" / f"{name}.json")
    (tmp_path / "cot-prompts").mkdir()
    (tmp_path / "cot-prompts" / "snarks.txt").write_text("canary\n-----\nPick one.\n\nQ: a\nA: b")
    found = items("bbh", tmp_path / "bbh")
    assert found[4]["prompt"].startswith("Pick one.\n\nQ: snarks")
    assert found[0]["prompt"].startswith("Q: navigate")
    assert [item["id"] for item in found[3:5]] == ["navigate/3", "snarks/0"]
    assert all(item["prompt"].count(item["group"]) == 4 for item in found)  # examples of its own


def test_stories(tmp_path):
    for name, words in (("s", 470), ("m", 789), ("l", 790)):
        story = "word " * (words - 1) + "\n\nlast\n\n@highlight\n\nOne thing\n\n@highlight\n\nTwo\n"
        (tmp_path / f"{name}.story").write_text(story)
    header, found = make("cnn_stories", tmp_path)
    assert [(i["id"], i["group"]) for i in found] == [
        ("l", "large"),
        ("m", "medium"),
        ("s", "small"),
    ]
    assert found[0]["references"] == ["One thing\nTwo"]
    assert "highlight" not in found[0]["prompt"] and "One thing" not in found[0]["prompt"]
    assert found[0]["source"].endswith("word\nlast") and "checks" in header["metrics"]
    assert items("cnn_dailymail", tmp_path)[0]["prompt"].startswith(
        "Summarize the following article"
    )
    row = {"source": ["A.", "B."], "target": ["short", "other"]}
    (item,) = items("scitldr", lines(tmp_path / "test.jsonl", row))
    assert item["source"] == "A. B." and item["references"] == ["short", "other"]


def test_instructions(tmp_path):
    rows = [{"instruction": "Add.", "input": "1 {instruction}", "output": "2"},
            {"instruction": "Sing.", "input": "", "response": "La"}]  # fmt: skip
    path = whole(tmp_path / "alpaca_data.json", rows)
    plain, alone = items("instructions", path)
    assert plain["prompt"] == "Add.\n1 {instruction}" and alone["references"] == ["La"]
    full, alone = items("instructions", path, template="alpaca")
    assert "### Input:\n1 {instruction}\n\n### Response:" in full["prompt"]
    assert alone["prompt"].endswith("### Instruction:\nSing.\n\n### Response:")
    (first, _) = items("instructions", path, template="USER: {prompt} ASSISTANT:")
    assert first["prompt"] == "USER: Add.\n1 {instruction} ASSISTANT:"
    target = tmp_path / "pairs.jsonl"
    assert write("instructions_calibration", path, target) == 2 and problems(target) == []
    assert json.loads(target.read_text().splitlines()[1]) == {"prompt": "Sing.", "response": "La"}
    sums = lines(tmp_path / "train.jsonl", {"question": "1 + 1?", "answer": "It is 2\n#### 2"})
    assert write("gsm8k_calibration", sums, target) == 1 and problems(target) == []
    pair = {"prompt": "1 + 1?", "response": "It is 2\n#### 2"}
    assert json.loads(target.read_text().splitlines()[0]) == pair
    asked = {"id": "1", "question": "Who?", "answers": [{"text": "Ann"}, {"text": "Anna"}]}
    read = {"data": [{"title": "t", "paragraphs": [{"context": "Ann sang.", "qas": [asked]}]}]}
    (tmp_path / "train.json").write_text(json.dumps(read))
    assert write("squad_calibration", tmp_path / "train.json", target) == 1
    assert problems(target) == []
    found = json.loads(target.read_text().splitlines()[0])
    assert found["prompt"].startswith("Ann sang.") and found["response"] == "Ann"
    talk = [{"from": "gpt", "value": "Hm."}, {"from": "human", "value": "Hi."},
            {"from": "gpt", "value": "Hello."}]  # fmt: skip
    said = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Ho."},
            {"role": "assistant", "content": "Hey."}]  # fmt: skip
    talks = whole(tmp_path / "share.json", [{"conversations": talk}, {"conversations": talk[:1]},
                                            {"messages": said}])  # fmt: skip
    assert write("conversations_calibration", talks, target) == 2 and problems(target) == []
    pairs = [json.loads(line) for line in target.read_text().splitlines()]
    assert pairs == [{"prompt": "Hi.", "response": "Hello."}, {"prompt": "Ho.", "response": "Hey."}]
    seed = {"instruction": "Say.", "instances": [{"input": "", "output": "a"}, {"output": "b"}]}
    seeds = lines(tmp_path / "seed.jsonl", seed)
    assert [i["references"] for i in items("instructions", seeds)] == [["a"], ["b"]]
    with pytest.raises(TaskError, match="prompts are fixed"):
        make("nq_open", path, Options(template="alpaca"))


def test_chat(tmp_path):
    line = {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]}
    (item,) = items("chat", lines(tmp_path / "question.jsonl", line))
    assert (item["id"], item["group"], item["prompt"]) == ("81", "writing", "Write.")


# ---- retrieval ----


@pytest.fixture
def squad(tmp_path):
    def paragraph(number, text, answer):
        question = {
            "id": f"q{number}",
            "question": f"Q{number}?",
            "answers": [{"text": answer}] * 2,
        }
        return {"context": text, "qas": [question]}

    texts = [
        ("Rome is old. Rome is in Italy. It was big in 1960.", "Italy"),
        ("Oslo is in Norway. It is cold.", "Norway"),
        ("Italy has a coast. Lima is in Peru.", "Peru"),
    ]
    data = [{"title": t[1], "paragraphs": [paragraph(n, *t)]} for n, t in enumerate(texts)]
    no_answer = {"id": "x", "question": "?", "answers": [], "is_impossible": True}
    data[0]["paragraphs"][0]["qas"].append(no_answer)
    return whole(tmp_path / "dev.json", {"data": data})


def test_modes_ask_the_same_questions(squad):
    by_mode = {mode: make("squad", squad, Options(mode=mode)) for mode in MODES}
    for mode, (header, found) in by_mode.items():
        assert [item["id"] for item in found] == ["q0", "q1", "q2"] and header["mode"] == mode
        assert found[0]["references"] == ["Italy"]
        assert found[0]["prompt"].endswith("nswer these questions:\n\nQ: Q0?\nA:")
    prompts = {mode: found[0]["prompt"] for mode, (_, found) in by_mode.items()}
    behind = "\n\nBased on these texts, answer these questions:\n\nQ: Q0?\nA:"
    assert prompts["closed_book"] == "Answer these questions:\n\nQ: Q0?\nA:"
    assert prompts["open_book"] == "Rome is old. Rome is in Italy. It was big in 1960." + behind
    assert prompts["removed"] == "Rome is old. Rome is in . It was big in 1960." + behind
    assert prompts["distractor"] == "Oslo is in Norway. It is cold." + behind  # the other has Italy
    text = prompts["shuffled"].removesuffix(behind)
    assert sorted(sentences(text)) == ["It was big in 1960.", "Rome is in Italy.", "Rome is old."]
    assert make("squad", squad)[0]["mode"] == "open_book"


def test_no_text_without_the_answer_is_said(squad):
    value = json.loads(squad.read_text())
    for article in value["data"]:
        article["title"] = "same"
    with pytest.raises(TaskError, match="question q0: no other article is free of the answer"):
        make("squad", whole(squad, value), Options(mode="distractor"))


def test_answers_are_taken_out_as_words():
    text = "In 1905 a man (a) saw  the Atlas at At."
    assert without(text, ["at", "a"]) == "In 1905 man () saw the Atlas ."


# ---- examples ----


def test_examples_depend_on_seed_and_number_alone(piqa):
    full = items("piqa", piqa, shots=4)
    assert items("piqa", piqa, shots=4, limit=5) == full[:5]
    assert items("piqa", piqa, shots=4) == full
    assert items("piqa", piqa, shots=4, seed=1) != full
    for number, item in enumerate(full):
        parts = item["context"].split("\n\n")
        assert len(set(parts)) == 5 and f"Goal {number}?" not in "".join(parts[:-1])
    assert items("piqa", piqa, shots=11)[0]["context"].count("Answer:") == 12
    with pytest.raises(TaskError, match="12 shots wanted, but there are only 11 examples"):
        make("piqa", piqa, Options(shots=12))


def test_examples_of_the_harness(piqa):
    """One generator through all documents, one drawn to spare, the question itself left out."""
    generator = random.Random(1234)
    for number, item in enumerate(items("piqa", piqa, shots=3, rule="harness")):
        drawn = [n for n in generator.sample(range(12), 4) if n != number][:3]
        shown = [part.splitlines()[0] for part in item["context"].split("\n\n")[:-1]]
        assert shown == [f"Question: Goal {n}?" for n in drawn]
    pool = Pool(list(range(7473)), "harness", 1234, one_more=False)
    assert pool.draw(0, None, 5) == [6374, 3610, 957, 61, 742]
    assert pool.draw(1, None, 5) == [7462, 6610, 4769, 286, 5501]


def test_first_examples(piqa):
    first = items("piqa", piqa, shots=2, rule="first")
    assert first[5]["context"].startswith("Question: Goal 0?\nAnswer: first 0\n\nQuestion: Goal 1?")
    assert first[0]["context"].startswith(
        "Question: Goal 1?\nAnswer: second 1\n\nQuestion: Goal 2?"
    )


def test_questions_that_occur_twice_are_no_examples(tmp_path):
    path = lines(tmp_path / "v.jsonl", *[PIQA[0]] * 6, PIQA[1], PIQA[2])
    for rule in ("derived", "harness"):
        for item in items("piqa", path, shots=2, rule=rule)[:6]:
            assert item["context"].count("Goal 0?") == 1


# ---- mistakes ----


def test_mistakes_name_file_and_line(tmp_path, mmlu):
    path = lines(tmp_path / "v.jsonl", PIQA[0], {"goal": "x"})
    with pytest.raises(TaskError, match=r"v\.jsonl:2: no label"):
        make("piqa", path)
    path = lines(tmp_path / "v.jsonl", PIQA[0], {"goal": "x", "sol1": "a", "label": 0})
    with pytest.raises(TaskError, match=r"v\.jsonl:2: the field 'sol2' is missing"):
        make("piqa", path)
    path.write_text('{"goal"\n')
    with pytest.raises(TaskError, match=r"v\.jsonl:1: not JSON"):
        make("piqa", path)
    path.write_text("")
    with pytest.raises(TaskError, match="no items"):
        make("piqa", path)
    table(mmlu / "test" / "anatomy_test.csv", ("q", "1", "2", "3", "4"))
    with pytest.raises(TaskError, match=r"anatomy_test\.csv:1: expected a question, four choices"):
        make("mmlu", mmlu)
    with pytest.raises(TaskError, match="nowhere: no such file"):
        make("piqa", tmp_path / "nowhere")
    with pytest.raises(TaskError, match="unknown task 'piqua' \\(did you mean 'piqa'"):
        make("piqua", path)
    with pytest.raises(TaskError, match=r"piqa: no mode 'open_book'; it has: none"):
        make("piqa", path, Options(mode="open_book"))
    with pytest.raises(TaskError, match="--per-group: must be at least 1"):
        make("piqa", path, Options(per_group=0))
    with pytest.raises(TaskError, match="blimp: its texts stand alone"):
        make("blimp", path, Options(shots=1))


def test_nothing_is_written_that_is_wrong(tmp_path, piqa):
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    wrong = lines(tmp_path / "w.jsonl", {**PIQA[0], "sol2": ""})
    with pytest.raises(TaskError, match=r'out\.jsonl:2: "choices" entry 1 must not be empty'):
        write("piqa", wrong, target)
    assert target.read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == [
        "out.jsonl",
        "valid.jsonl",
        "w.jsonl",
    ]


# ---- the program ----


def test_the_program(tmp_path, piqa, capsys):
    target = tmp_path / "piqa.jsonl"
    assert main(["make", "piqa", "--from", str(piqa), "--to", str(target), "--limit", "3"]) == 0
    assert main(["check", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}: 3 items\n{target}: 3 items, multiple_choice\n"
    header, found = read(target)
    assert header["task"] == "piqa" and header["metrics"] == ["acc", "acc_norm"] and len(found) == 3
    assert str(tmp_path) not in json.dumps(header)
    assert main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == list(TASKS)
    lines(target, {"context": "c"})
    assert main(["check", str(target)]) == 1
    assert f"{target}:1: " in capsys.readouterr().err
    assert main(["make", "piqa", "--from", str(tmp_path / "no"), "--to", str(target)]) == 1
    assert "no such file" in capsys.readouterr().err


def test_the_program_takes_every_kind(binary, tmp_path, mmlu, piqa, squad):
    if subprocess.run([binary, "help", "tasks"], capture_output=True).returncode != 0:
        pytest.skip("this winnow binary knows no request files with headers")
    sentences_ = {"sentence_good": "He is.", "sentence_bad": "He are.", "UID": "agreement"}
    add = {"instruction": "Add.", "input": "1 1", "output": "2"}
    (tmp_path / "wiki.test.raw").write_text(" = One = \n \n Text . \n")
    sources = {
        "mmlu": mmlu,
        "piqa": piqa,
        "blimp": lines(tmp_path / "agreement.jsonl", sentences_),
        "lambada": lines(tmp_path / "lambada_test.jsonl", {"text": "one two three"}),
        "wikitext": tmp_path / "wiki.test.raw",
        "nq_open": lines(tmp_path / "NQ.jsonl", {"question": "who", "answer": ["A"]}),
        "gsm8k": lines(tmp_path / "gsm.jsonl", {"question": "What?", "answer": "A\n#### 1"}),
        "freebaseqa": whole(tmp_path / "FreebaseQA-eval.json", {"Questions": [FREEBASE]}),
        "squad": squad,
        "cnn_stories": lines(tmp_path / "cnn.jsonl", {"article": "Long.", "highlights": "It."}),
        "bbh": whole(tmp_path / "snarks.json", {"examples": [{"input": "Q", "target": "(A)"}]}),
        "instructions": whole(tmp_path / "alpaca.json", [add]),
    }
    for name, source in sources.items():
        write(name, source, tmp_path / f"to_{name}.jsonl", Options(shots=0))
    sweep = {
        "model": str(ROOT / "sweeps" / "demo" / "model"),
        "grid": [{"method": "magnitude", "sparsity": 0.5}],
        "evaluate": {"tasks": [f"to_{name}.jsonl" for name in sources]},
    }
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    command = [binary, "plan", tmp_path / "sweep.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_needs_nothing_but_python(tmp_path, piqa):
    """Isolated (no site packages), as on a login node."""
    target = tmp_path / "piqa.jsonl"
    code = f"import sys; sys.path.insert(0, {str(ANALYSIS)!r}); sys.argv[0] = 'winnow-tasks'\n"
    code += "from winnow.tasks.command import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-I", "-S", "-c", code]
    command += ["make", "piqa", "--from", str(piqa), "--to", str(target), "--shots", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(read(target)[1]) == 12


def test_a_share_of_the_items(tmp_path, capsys):
    path = lines(
        tmp_path / "sums.jsonl", *({"question": f"{n}?", "answer": "a"} for n in range(40))
    )
    target = tmp_path / "pairs.jsonl"
    command = ["make", "gsm8k_calibration", "--from", str(path), "--to", str(target), "--sample"]
    for share, count in (("10%", 4), ("100%", 40), ("0.1%", 1), ("7", 7)):
        assert main([*command, share]) == 0
        assert len(target.read_text().splitlines()) == count, share
    tenth = write("gsm8k_calibration", path, target, Options(sample=0.1)) and target.read_text()
    write("gsm8k_calibration", path, target, Options(sample=4))
    assert target.read_text() == tenth  # the same draw
    capsys.readouterr()
    for wrong in ("0%", "101%", "0"):
        assert main([*command, wrong]) != 0
        assert "--sample" in capsys.readouterr().err
