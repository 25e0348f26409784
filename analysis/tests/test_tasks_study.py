# SPDX-License-Identifier: Apache-2.0
"""Converters of the benchmarks of the quantization study, Parquet, and parts of a set."""

import json
import re

import pytest
from test_tasks import items, lines, table, whole

from winnow.tasks import Options, TaskError, make, problems, write
from winnow.tasks.constraints import rules

EXAM = ("id", "question", "A", "B", "C", "D", "answer")


@pytest.fixture
def ceval(tmp_path):
    folder = tmp_path / "ceval"
    for subject in ("logic", "law"):
        for split, count in (("dev", 5), ("val", 3)):
            rows = [
                (n, f"{subject}{split}{n}", "一", "二", "三", "四", "ABCD"[n % 4])
                for n in range(count)
            ]
            table(folder / split / f"{subject}_{split}.csv", EXAM, *rows)
    return folder


def test_ceval(ceval):
    made = items("ceval", ceval, shots=1)
    assert len(made) == 6
    assert made[0]["context"].startswith("以下是中国的单项选择题")
    assert "lawdev0\nA. 一\nB. 二\nC. 三\nD. 四\n答案： A\n\n" in made[0]["context"]
    assert made[1]["group"] == "law" and made[1]["gold"] == 1
    whole(
        ceval / "subject_mapping.json",
        {"law": ["Law", "法学", "Humanities"], "logic": ["", "逻辑学", ""]},
    )
    assert items("ceval", ceval)[0]["context"].startswith("以下是中国关于法学的单项选择题")
    written = items("ceval_generated", ceval)[5]
    assert written["references"] == ["C"] and written["prompt"].endswith("答案：")
    table(ceval / "val" / "law_val.csv", EXAM[:-1], (0, "?", 1, 2, 3, 4))
    with pytest.raises(TaskError, match="law_val.csv:2: no answer from A to D"):
        items("ceval", ceval)


def test_flores(tmp_path):
    folder = tmp_path / "flores200_dataset"
    (folder / "devtest").mkdir(parents=True)
    (folder / "devtest" / "eng_Latn.devtest").write_text("Hello.\nGood night.\n", encoding="utf-8")
    (folder / "devtest" / "zho_Hans.devtest").write_text("你好。\n晚安。\n", encoding="utf-8")
    header, made = make("flores200_en_zh", folder)
    assert header["bleu_tokenizer"] == "zh" and header["metrics"] == ["bleu", "chrf"]
    assert (
        made[1]["references"] == ["晚安。"]
        and "English: Good night.\nChinese:" in made[1]["prompt"]
    )
    other = make(
        "flores200_zh_en",
        lines(tmp_path / "d.jsonl", {"sentence_eng_Latn": "a", "sentence_zho_Hans": "b"}),
    )
    assert other[0]["bleu_tokenizer"] == "13a" and other[1][0]["references"] == ["a"]
    (folder / "devtest" / "zho_Hans.devtest").write_text("你好。\n", encoding="utf-8")
    with pytest.raises(TaskError, match="different numbers of lines"):
        make("flores200_en_zh", folder)


def test_snli(tmp_path):
    authors = lines(
        tmp_path / "snli_1.0_test.jsonl",
        {"gold_label": "neutral", "sentence1": "A man.", "sentence2": "He runs."},
        {"gold_label": "-", "sentence1": "A", "sentence2": "B"},
    )
    hub = lines(
        tmp_path / "hub.jsonl",
        {"label": 1, "premise": "A man.", "hypothesis": "He runs."},
        {"label": -1},
    )
    for path in (authors, hub):
        (made,) = items("snli", path)
        assert made["references"] == ["maybe"] and made["prompt"].startswith("A man.\n\n")


def test_questions_alone(tmp_path):
    (made,) = items(
        "gsm8k_question",
        lines(tmp_path / "a.jsonl", {"question": "1+1?", "answer": "so\n#### 1,002"}),
    )
    assert made["prompt"] == "1+1?" and made["references"] == ["1002"]
    about = {
        "question": "Q?",
        "mc1_targets": {"right": 1, "wrong": 0},
        "mc2_targets": {"right": 1, "wrong": 0},
    }
    (made,) = items("truthfulqa_question", whole(tmp_path / "mc_task.json", [about]))
    assert made["context"] == "Q?" and made["choices"] == ["right", "wrong"]
    (made,) = items(
        "xsum", lines(tmp_path / "x.jsonl", {"document": "Long.", "summary": "Short.", "id": 3})
    )
    assert made["source"] == "Long." and made["references"] == ["Short."]


def test_bbq_answers(tmp_path):
    about = {f"ans{n}": [name, name] for n, name in enumerate(("old", "unknown", "young"))}
    document = {
        **{"category": "Age", "example_id": 7, "context": "C.", "question": "Q?", "label": 1},
        **{"ans0": "The grandfather", "ans1": "Not known", "ans2": "The boy"},
        **{"context_condition": "ambig", "question_polarity": "neg", "answer_info": about},
        "additional_metadata": {"stereotyped_groups": ["old"]},
    }
    (made,) = items("bbq_answers", lines(tmp_path / "Age.jsonl", document))
    assert made["choices"] == ["The grandfather", "Not known", "The boy"] and made["gold"] == 1
    assert made["bias"]["unknown"] == [1] and made["bias"]["target"] == [0]


def test_ifeval(tmp_path):
    path = lines(
        tmp_path / "input_data.jsonl",
        {
            "key": 1,
            "prompt": "Write.",
            "instruction_id_list": ["length_constraints:number_words", "punctuation:no_comma"],
            "kwargs": [{"relation": "less than", "num_words": 9, "keywords": None}, {}],
        },
    )
    target = tmp_path / "ifeval.jsonl"
    assert write("ifeval", path, target) == 1 and problems(target) == []
    item = json.loads(target.read_text(encoding="utf-8").splitlines()[1])
    first = {"id": "length_constraints:number_words", "relation": "less than", "number": 9}
    assert item["checks"] == [
        {"instruction": first},
        {"instruction": {"id": "punctuation:no_comma"}},
    ]
    wrong = {"key": 1, "prompt": "", "instruction_id_list": ["a"], "kwargs": [{"size": 3}]}
    with pytest.raises(TaskError, match="unknown argument 'size'"):
        items("ifeval", lines(path, wrong))


def passes(row, text):
    return all(re.search(pattern, text) for pattern in rules(row))


def test_followbench(tmp_path):
    base = {"category": "x", "source": "xsum", "example_id": 12, "target": ""}
    rows = [{**base, "level": level, "instruction": f"Sum up {level}."} for level in range(6)]
    judged = {**base, "source": "quora", "level": 1, "instruction": "By a model."}
    whole(tmp_path / "mixed_constraints.json", [*rows, judged])
    made = items("followbench", tmp_path)
    assert [item["id"] for item in made] == [f"mixed/12/{level}" for level in range(1, 6)]
    assert {item["series"] for item in made} == {"mixed/12"} and made[2]["group"] == "level 3"
    assert [len(item["checks"]) for item in made] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("source", "target", "right", "wrong"),
    [
        ("E2E", "a (b)", ["a (b)"], ["a (b) ", "a b"]),
        ("WIKIEVENTS", "one\ntwo", ["two\none", "one"], ["one\nthree", ""]),
        ("CONLL2003", "['Bonn', 'Ulm']", ["Ulm"], ["Bonn, Ulm"]),
        ("BBH_logical", "(B)", ["(A) no, (B)"], ["(B) or (C)", "B"]),
        ("BBH_time", "01/02/2003", ["on 01/02/2003."], ["01/02/2003 or 01/02/2004"]),
        ("gsm_8k", "$37", ["$5 then $37."], ["$37 less $5", "$370"]),
        ("self_made_space", "14th floor", ["the 14th floor."], ["floor 14"]),
    ],
)
def test_rules_of_answers(source, target, right, wrong):
    row = {"kind": "content", "source": source, "target": target, "level": 1, "example_id": 1}
    assert all(passes(row, text) for text in right)
    assert not any(passes(row, text) for text in wrong)


@pytest.mark.parametrize(
    ("source", "level", "right", "wrong"),
    [
        ("samsum", 5, "Kim did no stuff today.", "Kim did stuff, no more."),
        ("samsum", 3, "Procrastinated stuff.", "One thing."),
        ("gigaword", 5, "eight words in a blast on a day", "eight words in a bus on a day"),
        ("arxiv", 5, "We edit mid-layer activations.", "We edit transformer activations."),
        (
            "cnn_dailymail",
            5,
            "Potter is rich. The actor works. His films have sold.",
            "Potter is. actor. films.",
        ),
    ],
)
def test_rules_of_levels(source, level, right, wrong):
    row = {"kind": "mixed", "source": source, "target": "", "level": level, "example_id": 1}
    assert passes(row, right) and not passes(row, wrong)


def test_rules_of_forms():
    form = "{instruction}\n{{'AI': '{answer}'}}"
    row = {"kind": "example", "source": "squad", "target": form, "level": 1, "example_id": 1}
    assert passes(row, "{'AI': 'anything'}") and not passes(row, "'AI': 'anything'")
    row = {"kind": "format", "source": "oasst", "target": "", "example_id": 22, "level": 3}
    part = "word " * 21
    assert passes(row, "\n\n".join([part] * 3)) and not passes(row, "\n\n".join([part] * 2))


def test_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    rows = [{"question": f"{n}+0?", "answer": f"#### {n}"} for n in range(4)]
    path = tmp_path / "test-00000-of-00001.parquet"
    pandas.DataFrame(rows).to_parquet(path)
    assert items("gsm8k_question", path) == items(
        "gsm8k_question", lines(tmp_path / "a.jsonl", *rows)
    )
    choices = [["a", "b", "c", "d"]] * 2
    about = {
        "question": ["x", "y"],
        "subject": ["law", "law"],
        "choices": choices,
        "answer": [3, 0],
    }
    (tmp_path / "mmlu" / "all").mkdir(parents=True)
    pandas.DataFrame(about).to_parquet(tmp_path / "mmlu" / "all" / "test-00000-of-00001.parquet")
    made = items("mmlu", tmp_path / "mmlu", shots=0)
    assert [(item["id"], item["gold"]) for item in made] == [("law/0", 3), ("law/1", 0)]
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(TaskError, match="not Parquet"):
        items("gsm8k_question", path)
    assert not list(tmp_path.glob("*.out"))


def test_parts(ceval):
    assert {item["group"] for item in items("ceval", ceval, groups=("law",))} == {"law"}
    with pytest.raises(TaskError, match="no group 'lore'; there are law, logic"):
        items("ceval", ceval, groups=("lore",))
    drawn = [[item["id"] for item in items("ceval", ceval, sample=3, seed=s)] for s in range(6)]
    assert all(len(ids) == 3 for ids in drawn) and len({tuple(ids) for ids in drawn}) > 1
    assert drawn[0] == [item["id"] for item in items("ceval", ceval, sample=3)]
    whole_set = [item["id"] for item in items("ceval", ceval)]
    assert all(ids == [name for name in whole_set if name in ids] for ids in drawn)
    header, _ = make("ceval", ceval, Options(sample=2, groups=("law",)))
    assert "groups law; 2 items drawn, seed 0" in header["source"]


def test_a_mistake_leaves_the_old_file(ceval, tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("old", encoding="utf-8")
    table(ceval / "val" / "law_val.csv", EXAM, (0, "?", 1, 2, 3, 4, "E"))
    with pytest.raises(TaskError):
        write("ceval", ceval, target)
    assert target.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.jsonl"]
