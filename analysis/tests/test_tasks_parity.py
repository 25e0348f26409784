# SPDX-License-Identifier: Apache-2.0
"""Prompts of winnow-tasks against those of lm-evaluation-harness, on published data, by string.

Runs where both the data (WINNOW_SHARED, default ../shared beside the repository) and the harness
are. The harness's own task files are driven over the local copies: over the first 200 documents of
each, over all of them with WINNOW_PARITY=all, which takes minutes.
"""

import json
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

from conftest import ROOT

from winnow.tasks import TASKS, Options, harness, make, problems, write

SHARED = Path(os.environ.get("WINNOW_SHARED", ROOT.parent / "shared")) / "data"
if not SHARED.is_dir():
    pytest.skip("no ../shared/data", allow_module_level=True)

# What a task is made from, and how many items it has.
SOURCES = {
    "mmlu": ("mmlu", 14042),
    "piqa": ("piqa/piqa_val.jsonl", 1838),
    "winogrande": ("winogrande/winogrande_xl_val.jsonl", 1267),
    "boolq": ("boolq/boolq_val.jsonl", 3270),
    "openbookqa": ("openbookqa/openbookqa_val.jsonl", 500),
    "rte": ("rte/rte_val.jsonl", 277),
    "commonsense_qa": ("csqa/commonsense_qa_val.jsonl", 1221),
    "truthfulqa_mc1": ("truthfulqa", 817),
    "truthfulqa_mc2": ("truthfulqa", 817),
    "bbq": ("bbq", 6120),
    "crows_pairs": ("crows_pairs", 1508),
    "wikitext": ("wikitext2/wiki.test.lines.txt", 62),
    "nq_open": ("nq_open/NQ-open.dev.jsonl", 3610),
    "squad": ("xquad/xquad.en.json", 1190),
    "gsm8k": ("gsm8k/test.jsonl", 1319),
    "gsm8k_flexible": ("gsm8k/test.jsonl", 1319),
    "bbh": ("bbh", 6511),
    "scitldr": ("scitldr/scitldr_a_test.jsonl", 618),
    "instructions": ("instructions/gpteacher_codegen.json", 4535),
    "instructions_calibration": ("instructions/self_instruct_seed_tasks.jsonl", 175),
    "chat": ("chat/mt_bench_question.jsonl", 80),
}


@pytest.mark.parametrize("name", SOURCES)
def test_published_files_convert(tmp_path, name):
    path, count = SOURCES[name]
    target = tmp_path / "task.jsonl"
    assert write(name, SHARED / path, target) == count
    assert problems(target) == []


def test_pages_of_wikitext_are_the_known_ones():
    lines = make("wikitext", SHARED / "wikitext2" / "wiki.test.lines.txt")[1]
    assert lines == make("wikitext", SHARED / "wikitext2" / "wiki.test.pages.jsonl")[1]
    assert sum(item["words"] for item in lines) == 241_335
    assert sum(item["bytes"] for item in lines) == 1_293_417


# ---- against the harness ----

LIMIT = None if os.environ.get("WINNOW_PARITY") == "all" else 200
LM_EVAL = "lm-evaluation-harness is not installed"
# Task of ours: task of the harness, splits it reads (train feeds examples), shots to compare.
PAIRS = {
    "piqa": ("piqa", ("train", "validation"), (0, 3)),
    "winogrande": ("winogrande", ("train", "validation"), (0, 3)),
    "boolq": ("boolq", ("train", "validation"), (0, 2)),
    "openbookqa": ("openbookqa", ("train", "validation", "test"), (0, 3)),
    "rte": ("rte", ("train", "validation"), (0, 3)),
    "commonsense_qa": ("commonsense_qa", ("train", "validation"), (0, 3)),
    "truthfulqa_mc1": ("truthfulqa_mc1", ("validation",), (0,)),
    "truthfulqa_mc2": ("truthfulqa_mc2", ("validation",), (0,)),
    "bbq": ("bbq", ("test",), (0,)),
    "crows_pairs": ("crows_pairs_english", ("test",), (0,)),
    "wikitext": ("wikitext", ("train", "validation", "test"), (0,)),
    "nq_open": ("nq_open", ("train", "validation"), (0, 4)),
    "gsm8k": ("gsm8k", ("train", "test"), (0, 5)),
}
# Tasks of one file per subject: subjects, and the harness's name of one.
SUBJECTS = {
    "mmlu": ("mmlu_{}", ("dev", "test"), (0, 5)),
    "bbh": ("bbh_zeroshot_{}", ("test",), (0,)),  # what is asked: from the task file
}


def hub_documents(name, documents):
    """Documents of ours in the fields of the data hub, where those differ."""
    for document in documents:
        if name == "boolq":
            yield {**document, "label": int(document["answer"])}
        elif name.startswith("truthfulqa"):
            targets = {}
            for kind in ("mc1", "mc2"):
                choices, labels = document[kind]
                targets[f"{kind}_targets"] = {"choices": choices, "labels": labels}
            yield {"question": document["question"], **targets}
        else:
            yield {key: value for key, value in document.items() if key}  # "": number of a row


def local_task(index, folder, theirs, splits, **changes):
    """Point a task file of the harness at local JSON lines; returns the task object."""
    from lm_eval.tasks import TaskManager

    original = index[theirs].yaml_path
    files = {split: str(path) for split, path in splits.items()}
    content = {"include": str(original), "task": f"local_{theirs}", "dataset_path": "json"}
    content.update(dataset_name=None, dataset_kwargs={"data_files": files}, **changes)
    (folder / "tasks").mkdir(exist_ok=True)
    path = folder / "tasks" / f"local_{theirs}.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    manager = TaskManager(include_path=str(path.parent), include_defaults=False)
    return manager.load([f"local_{theirs}"])["tasks"][f"local_{theirs}"]


def dump(path, documents):
    text = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    path.write_text(text, encoding="utf-8")
    return path


def documents_of(name, source):
    from winnow.tasks.source import Source

    return list(TASKS[name].read(Source(source)))


def differing(ours, theirs):
    """Strings of both that are not the same."""
    (header, items), (their_header, their_items) = ours, theirs
    assert len(items) == len(their_items)
    texts = [
        [strings(h, item) for item in i] for h, i in ((header, items), (their_header, their_items))
    ]
    return sum(a != b for one, two in zip(*texts) for a, b in zip(one, two)) + sum(
        len(one) != len(two) for one, two in zip(*texts)
    )


def strings(header, item):
    """Every string that a model gets to see, delimiter and continuation together."""
    behind = header.get("delimiter", "" if header.get("kind") == "pairs" else " ")
    if "texts" in item:
        return [("", behind + text) for text in item["texts"]]
    if "text" in item:
        return [item["text"], item["words"], item["bytes"]]
    if "prompt" in item:
        return [item["prompt"]]
    contexts = item.get("contexts") or [item["context"]] * len(item["choices"])
    choices = item.get("choices") or [item["continuation"]] * len(contexts)
    return [(context, behind + choice) for context, choice in zip(contexts, choices)]


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    pytest.importorskip("lm_eval", reason=LM_EVAL)
    folder = tmp_path_factory.mktemp("cache")
    os.environ["HF_HOME"] = str(folder)
    os.environ["HF_DATASETS_CACHE"] = str(folder / "datasets")
    import datasets

    datasets.config.HF_DATASETS_CACHE = folder / "datasets"
    return harness._manager(None).task_index


def compare(task, name, source, shots, pool=None):
    """Number of differing strings, with both files, for each number of shots."""
    found = []
    for count in shots:
        choice = harness.Choice((), shots=count, limit=LIMIT)
        harness.prepare(task, choice)
        rule = "first" if name == "mmlu" else "harness"
        ours = make(name, source, Options(shots=count, rule=rule, pool=pool, limit=LIMIT))
        asked = harness.request_file(name, task, choice)
        found.append((differing(ours, asked), ours, asked))
    return found


@pytest.mark.parametrize("name", PAIRS)
def test_prompts_are_those_of_the_harness(index, tmp_path, name):
    theirs, splits, shots = PAIRS[name]
    source = SHARED / SOURCES[name][0]
    data = dump(tmp_path / "all.jsonl", hub_documents(name, documents_of(name, source)))
    files = dict.fromkeys(splits, data)
    pool = None
    if name == "gsm8k":
        pool = files["train"] = SHARED / "gsm8k" / "train_first200.jsonl"
    if name == "wikitext":
        data = source.with_name("wiki.test.pages.jsonl")
        files = dict.fromkeys(splits, data)
    task = local_task(index, tmp_path, theirs, files)
    for different, ours, asked in compare(task, name, source, shots, pool):
        assert different == 0
        if "gold" in asked[1][0] and not name.startswith(("truthfulqa_mc2", "bbq", "crows")):
            assert [i["gold"] for i in ours[1]] == [i["gold"] for i in asked[1]]
        if name in ("nq_open",):
            assert [i["references"] for i in ours[1]] == [i["references"] for i in asked[1]]
            assert ours[0]["stop"] == asked[0]["stop"]


@pytest.mark.parametrize("name", SUBJECTS)
def test_prompts_of_subjects_are_those_of_the_harness(index, tmp_path, name):
    theirs, splits, shots = SUBJECTS[name]
    source = SHARED / SOURCES[name][0]
    folder, stems = (source / "test", "*_test.csv") if name == "mmlu" else (source, "*.json")
    for path in sorted(folder.glob(stems))[::9]:  # every ninth subject, they are alike
        subject = path.stem.removesuffix("_test")
        files = {split: subject_file(tmp_path, name, subject, path, split) for split in splits}
        only = tmp_path / subject
        ours_from = only if name == "mmlu" else path
        if name == "mmlu":
            for split in splits:
                (only / split).mkdir(parents=True)
                origin = path.parents[1] / split / f"{subject}_{split}.csv"
                (only / split / origin.name).symlink_to(origin)
        task = local_task(index, tmp_path, theirs.format(subject), files)
        if name == "bbh":
            ours_from = puzzles(tmp_path, path, task.get_config("description"))
        for different, *_ in compare(task, name, ours_from, shots):
            assert different == 0, subject


def test_biased_answers_are_those_of_the_harness(index, tmp_path):
    """By its rule from ours: of negative questions the stereotyped one, else the other."""
    source = SHARED / SOURCES["bbq"][0]
    data = dump(tmp_path / "all.jsonl", documents_of("bbq", source))
    task = local_task(index, tmp_path, "bbq", {"test": data})
    found = make("bbq", source)[1]
    assert len(found) == len(task.eval_docs) == 6120
    for item, document in zip(found, task.eval_docs):
        target = item["bias"]["target"]
        if item["bias"]["polarity"] == "nonnegative":
            target = [n for n in (0, 1) if n not in target]
        biased = [n for n in range(12) if item["choices"][n] in document["biased_answers"]]
        assert target == biased, item["id"]
        right = [document["ans0"], document["ans1"], document["ans2"]][document["label"]]
        assert [item["choices"][n] for n in item["gold"]] == [right] or right in (
            item["choices"][n] for n in item["gold"] if len(item["gold"]) == 10
        )


def puzzles(folder, path, asked):
    """A task of BIG-Bench Hard with what is asked, as its authors lay them out."""
    for name in ("bbh", "cot-prompts"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "cot-prompts" / f"{path.stem}.txt").write_text(
        f"-----\n{asked}Q: a", encoding="utf-8"
    )
    (folder / "bbh" / path.name).write_bytes(path.read_bytes())
    return folder / "bbh" / path.name


def subject_file(folder, name, subject, path, split):
    if name == "mmlu":
        path = path.parents[1] / split / f"{subject}_{split}.csv"
    return dump(folder / f"{subject}_{split}.jsonl", documents_of(name, path))
