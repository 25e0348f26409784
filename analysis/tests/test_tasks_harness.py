# SPDX-License-Identifier: Apache-2.0
"""The bridge to lm-evaluation-harness: requests string by string, scores against its own run.

The tasks are task files of our own over local data, one of each output type. Without the harness
these tests are skipped (pip install './analysis[harness]'), and so are those of a kind of task that
the winnow binary does not know.
"""

import json
import os
import subprocess

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

from conftest import DEMO, run

import winnow
from winnow.tasks import TaskError, harness, problems, read
from winnow.tasks.command import main

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")

MEAN = {"aggregation": "mean", "higher_is_better": True}
# Where to look in winnow's output of a kind of task.
KINDS = {
    "own_choice": "multiple_choice",
    "own_letters": "multiple_choice",
    "own_many": "multiple_choice",
    "own_inputs": "multiple_choice",
    "own_alone": "multiple_choice",
    "own_greedy": "multiple_choice",
    "own_word": "continuation",
    "own_page": "rolling",
    "own_answer": "generation",
}


def documents(count):
    lines = (DEMO / "data" / "in_context.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines[:count]):
        item = json.loads(line)
        passage, question, _ = item["context"].split("\n")
        sentence = passage.removeprefix("Passage: ")
        yield {
            "passage": sentence,
            "question": question.removeprefix("Question: ").removesuffix("?"),
            "choices": item["choices"],
            "gold": item["gold"],
            "golds": sorted({item["gold"], 2}),
            "answer": item["choices"][item["gold"]],
            "accepted": [item["choices"][item["gold"]], "Nowhere"],
            "limit": number % 3,
        }


def metrics(*names, **options):
    return [{"metric": name, **MEAN, **options} for name in names]


def task_files(data):
    """Contents of the task files by name; the harness reads JSON, too."""
    common = {"dataset_path": "json", "training_split": "train", "validation_split": "validation"}
    common["dataset_kwargs"] = {
        "data_files": {split: str(data) for split in ("train", "validation")}
    }
    ask = "Passage: {{passage}}\nQuestion: {{question}}?\nAnswer:"
    choice = {**common, "output_type": "multiple_choice", "doc_to_text": ask}
    choice.update(doc_to_choice="{{choices}}", doc_to_target="gold")
    return {
        "own_choice": {
            **choice,
            "num_fewshot": 2,
            "description": "Read and answer.\n\n",
            "metric_list": [
                *metrics("acc", "acc_norm", "acc_bytes"),
                {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False},
            ],
        },
        "own_letters": {
            **choice,
            "doc_to_text": ask.replace("Answer:", "{% for c in choices %}{{'ABCD'[loop.index0]}}. "
                                       "{{c}}\n{% endfor %}Answer:"),
            "doc_to_choice": ["A", "B", "C", "D"],
            "metric_list": metrics("acc"),
        },
        "own_many": {**choice, "doc_to_target": "golds", "metric_list": metrics("acc", "acc_norm")},
        "own_inputs": {
            **choice,
            "doc_to_text": "gold",
            "doc_to_target": "{{' ' + passage}}",
            "doc_to_choice": "{{choices}}",
            "target_delimiter": ":",
            "metric_list": metrics("acc"),
        },
        "own_alone": {**choice, "metric_list": metrics("acc", "acc_mutual_info")},
        "own_greedy": {**choice, "metric_list": metrics("acc", "exact_match")},
        "own_word": {
            **common,
            "output_type": "loglikelihood",
            "doc_to_text": ask,
            "doc_to_target": "{{' ' + answer}}",
            "metric_list": [
                *metrics("acc"),
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            ],
        },
        "own_page": {
            **common,
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{passage}}",
            "metric_list": [
                {"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")
            ],
        },
        "own_answer": {
            **common,
            "output_type": "generate_until",
            "num_fewshot": 1,
            "doc_to_text": ask,
            "doc_to_target": "accepted",
            "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 8, "do_sample": False},
            "metric_list": metrics("exact_match", ignore_case=True),
            "filter_list": [
                {"name": "strip", "filter": [{"function": "remove_whitespace"},
                                             {"function": "take_first"}]},
                {"name": "word", "filter": [{"function": "regex", "regex_pattern": "([A-Z][a-z]+)"},
                                            {"function": "take_first"}]},
            ],
        },
    }  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harness")
    os.environ["HF_HOME"] = str(folder / "cache")
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache" / "datasets")
    data = folder / "documents.jsonl"
    data.write_text("".join(json.dumps(d) + "\n" for d in documents(24)), encoding="utf-8")
    (folder / "tasks").mkdir()
    for name, content in task_files(data).items():
        path = folder / "tasks" / f"{name}.yaml"
        path.write_text(json.dumps({"task": name, **content}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def exported(folder):
    choice = harness.Choice(tuple(KINDS), str(folder / "tasks"))
    harness.export(choice, folder / "requests")
    return folder / "requests"


def instances(folder, name):
    choice = harness.Choice((name,), str(folder / "tasks"))
    return harness._built(name, harness.load(choice)[name], None)


@pytest.mark.parametrize("name", KINDS)
def test_exported_requests_are_those_of_the_harness(folder, exported, name):
    path = exported / f"{name}.jsonl"
    assert problems(path) == []
    header, items = read(path)
    assert header["kind"] == KINDS[name]
    asked = instances(folder, name)
    assert [item["id"] for item in items] == [str(number) for number in asked]
    for item, requests in zip(items, asked.values()):
        assert list(arguments(header, item)) == [
            tuple(r.args) for r in requests[: len(list(arguments(header, item)))]
        ]


def arguments(header, item):
    """What an item asks for, in the words of the harness."""
    behind = header.get("delimiter", " ")
    if header["kind"] == "rolling":
        yield (item["text"],)
    elif header["kind"] == "generation":
        until = item.get("stop", header.get("stop"))
        most = item.get("max_tokens", header.get("max_tokens"))
        yield (item["prompt"], {"until": until, "max_gen_toks": most, "do_sample": False})
    elif header["kind"] == "continuation":
        yield item["context"], behind + item["continuation"]
    elif "contexts" in item:
        yield from ((context, behind + item["continuation"]) for context in item["contexts"])
    else:
        yield from ((item["context"], behind + choice) for choice in item["choices"])


def test_golds_counts_and_metrics(exported):
    header, items = read(exported / "own_choice.jsonl")
    assert header["metrics"] == ["acc", "acc_norm", "acc_bytes", "brier"]
    assert header["delimiter"] == " " and "2 shots, seed 1234" in header["source"]
    expected = list(documents(24))
    assert [item["gold"] for item in items] == [d["gold"] for d in expected]
    assert [i["gold"] for i in read(exported / "own_many.jsonl")[1]] == [
        d["golds"] for d in expected
    ]
    assert [i["gold"] for i in read(exported / "own_inputs.jsonl")[1]] == [
        d["gold"] for d in expected
    ]
    page, document = read(exported / "own_page.jsonl")[1][0], expected[0]
    assert page["words"] == len(document["passage"].split())
    assert page["bytes"] == len(document["passage"].encode())
    assert read(exported / "own_answer.jsonl")[1][0]["references"] == expected[0]["accepted"]


def test_limit_and_shots(folder, tmp_path, capsys):
    tasks = ["--include-path", str(folder / "tasks"), "--limit", "3", "--shots", "0"]
    assert main(["export", "--harness", "own_choice", *tasks, "--to", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'own_choice.jsonl'}: 3 items\n"
    items = read(tmp_path / "own_choice.jsonl")[1]
    assert items[0]["context"].count("Answer:") == 1


def test_unknown_tasks_are_named(folder):
    with pytest.raises(TaskError, match="no task 'own_choise' \\(did you mean 'own_choice'"):
        harness.load(harness.Choice(("own_choise",), str(folder / "tasks")))


# ---- scores of a run ----


def knows(binary, kind):
    """Whether the binary runs request files with headers, of this kind."""
    text = subprocess.run([str(binary), "help", "tasks"], capture_output=True, text=True)
    return text.returncode == 0 and kind in text.stdout


def entry(exported, folder, name, headers):
    """The task in a sweep; a binary that knows no headers reads items alone."""
    path = exported / f"{name}.jsonl"
    if headers:
        return str(path)
    header, items = read(path)
    plain = folder / f"{name}.jsonl"
    for item in items:
        item["gold"] = item["gold"][0] if isinstance(item["gold"], list) else item["gold"]
    plain.write_text("".join(json.dumps(i) + "\n" for i in items), encoding="utf-8")
    return {"requests": str(plain), "name": name, "delimiter": header["delimiter"]}


@pytest.fixture(scope="session")
def tasks(binary):
    """Name the tasks that the binary runs."""
    if knows(binary, "multiple_choice"):
        return [name for name, kind in KINDS.items() if knows(binary, kind)]
    return ["own_choice", "own_letters", "own_many"]


@pytest.fixture(scope="session")
def swept(binary, exported, tasks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    headers = knows(binary, "multiple_choice")
    sweep = {
        "model": str(DEMO / "model"),
        "grid": [{"method": "magnitude", "sparsity": 0.5}],
        "evaluate": {"tasks": [entry(exported, folder, name, headers) for name in tasks]},
    }
    return run(binary, folder, sweep)


@pytest.fixture(scope="session")
def judged(binary, folder, swept, tasks):
    """What the harness says itself about every point: {point: {task: results}}."""
    pytest.importorskip("accelerate", reason="the models of lm-evaluation-harness need accelerate")
    from lm_eval.tasks import TaskManager

    results = winnow.open(swept)
    manager = TaskManager(include_path=str(folder / "tasks"), include_defaults=False)
    judged = {}
    for point, row in results.points.iterrows():
        model = DEMO / "model"
        if row["method"] != "dense":
            model = folder / f"point{point}"
            command = [binary, "export", swept, "--point", row["key"], "--to", model]
            subprocess.run([str(c) for c in command], check=True, capture_output=True)
        judged[point] = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(model), "dtype": "float32"},
            tasks=tasks,
            task_manager=manager,
            device="cpu",
            batch_size=1,
            bootstrap_iters=2,  # of one sample there is no deviation
        )["results"]
    return judged


@pytest.mark.parametrize("name", KINDS)
def test_scores_are_those_of_the_harness(binary, folder, swept, judged, tasks, name):
    headers = knows(binary, "multiple_choice")  # else several golds are more than it understands
    if name not in tasks:
        pytest.skip(f"this winnow binary has no tasks of the kind {KINDS[name]} with headers")
    results = winnow.open(swept)
    scores = harness.score(results, harness.Choice((name,), str(folder / "tasks")))
    assert set(scores["point"]) == set(judged) and len(judged) == 2
    for row in scores.itertuples():
        theirs = judged[row.point][name]
        value = theirs[f"{row.metric},{row.filter}"]
        assert row.value == pytest.approx(value, rel=2e-5), row
        if row.stderr == row.stderr:
            error = theirs[f"{row.metric}_stderr,{row.filter}"]
            assert row.stderr == pytest.approx(error, rel=1e-6), row
    own = results.scores.loc[scores["point"].iloc[0]]
    for metric in ("acc", "acc_norm", "acc_bytes"):
        found = scores[(scores["metric"] == metric) & (scores["point"] == scores["point"].iloc[0])]
        if f"{name}/{metric}" in own and len(found) and (headers or name != "own_many"):
            assert own[f"{name}/{metric}"] == pytest.approx(found["value"].iloc[0])


def test_score_prints_a_table(folder, swept, tasks, capsys):
    arguments = ["--harness", "own_letters", "--include-path", str(folder / "tasks")]
    assert main(["score", str(swept), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["point", "key", "task", "filter", "metric", "value", "stderr"]
    assert len(lines) == 3 and "own_letters" in lines[1]
    assert main(["score", str(swept), *arguments, "--csv"]) == 0
    assert capsys.readouterr().out.startswith("point,key,task,filter,metric,value,stderr\n")


def test_results_of_other_items_are_refused(folder, path):
    with pytest.raises(TaskError, match="no task 'own_choice'; known: facts, in_context"):
        harness.score(winnow.open(path), harness.Choice(("own_choice",), str(folder / "tasks")))
