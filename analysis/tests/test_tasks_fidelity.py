# SPDX-License-Identifier: Apache-2.0
"""winnow beside lm-evaluation-harness and transformers on published data, item by item.

Request files come from winnow-tasks, the harness drives its own task files over the same documents,
and both run the same models: dense ones, and those that winnow compressed and exported. Choices
have the same log-likelihoods within 1e-3; predictions, accuracies, generated texts are identical.
"""

import json
import subprocess
import types

import numpy as np
import pytest
from conftest import DEMO, run
from test_tasks_parity import (
    PAIRS,
    SHARED,
    SOURCES,
    documents_of,
    dump,
    hub_documents,
    local_task,
    puzzles,
    subject_file,
)
from test_tasks_parity import index as index  # the fixture

import winnow
from winnow.tasks import Options, harness, make
from winnow.tasks.format import write

for _name in ("torch", "lm_eval", "accelerate"):
    pytest.importorskip(_name, reason=f"{_name} is not installed: it runs models beside winnow")

STORIES = SHARED.parent / "models" / "stories260k"
MODELS = {  # a checkpoint, and what its compressed model is
    "demo": (DEMO / "model", {"method": "magnitude", "sparsity": 0.5}),
    "stories260k": (STORIES, {"method": "rtn", "bits": 4}),
}
ITEMS = 24
COUNTS = {"bbq": 40, "wikitext": 3, "gsm8k": 8, "gsm8k_flexible": 8, "bbh": 16}  # if not ITEMS
SHOTS = {"winogrande": 3, "openbookqa": 2, "nq_open": 2, "mmlu": 5, "gsm8k": 1, "gsm8k_flexible": 1}
SUBJECT, PUZZLE = "high_school_biology", "navigate"
CLOSE = 1e-3  # of the log-likelihood of a text
POSITIONS = 512  # of both models


def scores(*names, **others):
    """Names of scores of winnow, with those of the harness."""
    return {name: f"{name},none" for name in names} | others


STRIPPED = {"exact_match": "exact_match,remove_whitespace"}
SCORES = {
    "piqa": scores("acc", "acc_norm"),
    "winogrande": scores("acc"),
    "boolq": scores("acc"),
    "openbookqa": scores("acc", "acc_norm"),
    "rte": scores("acc"),
    "commonsense_qa": scores("acc"),
    "arc_easy": scores("acc", "acc_norm"),
    "mmlu": scores("acc"),
    "truthfulqa_mc1": scores("acc"),
    "truthfulqa_mc2": {"mc2": "acc,none"},
    "bbq": scores(
        "acc",
        acc_ambiguous="accuracy_amb,none",
        acc_disambiguated="accuracy_disamb,none",
        bias_ambiguous="amb_bias_score,none",
        bias_disambiguated="disamb_bias_score,none",
    ),
    "mutual_information": scores("acc", "acc_mutual_info"),
    "crows_pairs": scores("pct_stereotype", "likelihood_diff"),
    "blimp": scores("acc"),
    "lambada": scores("acc", "perplexity"),
    "wikitext": scores("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "nq_open": STRIPPED,
    "triviaqa": STRIPPED,
    "gsm8k": {"exact_match": "exact_match,strict-match"},
    "gsm8k_flexible": {"exact_match": "exact_match,flexible-extract"},
    "bbh": {"exact_match": "exact_match,strict-match"},
}
# Not shares of items: sums of log-likelihoods, which the harness rounds to single precision.
SUMS = ("mc2", "likelihood_diff", "perplexity", *SCORES["wikitext"])


# ---- tasks of both ----


def subject_of_mmlu(folder):
    files = {}
    for split in ("dev", "test"):
        path = SHARED / "mmlu" / split / f"{SUBJECT}_{split}.csv"
        (folder / "mmlu" / split).mkdir(parents=True)
        (folder / "mmlu" / split / path.name).symlink_to(path)
        files[split] = subject_file(folder, "mmlu", SUBJECT, path, split)
    return f"mmlu_{SUBJECT}", files, folder / "mmlu"


def puzzle_of_bbh(folder, index):
    path = SHARED / "bbh" / f"{PUZZLE}.json"
    files = {"test": subject_file(folder, "bbh", PUZZLE, path, "test")}
    about = local_task(index, folder, f"bbh_zeroshot_{PUZZLE}", files).get_config("description")
    return f"bbh_zeroshot_{PUZZLE}", files, puzzles(folder, path, about)


def arc(folder, theirs):
    """The questions of CommonsenseQA, whose fields are those of ARC."""
    source = SHARED / SOURCES["commonsense_qa"][0]
    data = dump(folder / "arc.jsonl", documents_of("commonsense_qa", source))
    return theirs, dict.fromkeys(("train", "validation", "test"), data), data


def blimp(folder):
    """The pairs of CrowS-Pairs as sentences of which one is meant to be likelier."""
    pairs = [
        {"UID": "pairs", "sentence_good": pair["sent_less"], "sentence_bad": pair["sent_more"]}
        for pair in documents_of("crows_pairs", SHARED / SOURCES["crows_pairs"][0])
    ]
    data = dump(folder / "blimp.jsonl", pairs)
    return "blimp_anaphor_gender_agreement", {"train": data}, data


def lambada(folder):
    """Beginnings of paragraphs of WikiText in place of the passages of LAMBADA."""
    text = (SHARED / "wikitext2" / "wiki.test.lines.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.split("\n")]
    passages = [{"text": " ".join(words[:40])} for words in lines if len(words) > 60]
    data = dump(folder / "lambada.jsonl", passages)
    return "lambada_openai", {"test": data}, data


def triviaqa(folder):
    """The questions of XQuAD in the layout of TriviaQA."""
    articles = json.loads((SHARED / SOURCES["squad"][0]).read_text(encoding="utf-8"))["data"]
    asked = [
        {
            "question_id": question["id"],
            "question": question["question"].removesuffix("?"),
            "answer": {"aliases": sorted({answer["text"] for answer in question["answers"]})},
        }
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    data = dump(folder / "triviaqa.jsonl", asked)
    return "triviaqa", dict.fromkeys(("train", "validation"), data), data


def published(folder, name):
    """A task of test_tasks_parity."""
    theirs, splits, _ = PAIRS[name.removesuffix("_flexible")]
    source = SHARED / SOURCES[name][0]
    if name == "wikitext":
        return theirs, dict.fromkeys(splits, source.with_name("wiki.test.pages.jsonl")), source
    data = dump(folder / f"{name}.jsonl", hub_documents(name, documents_of(name, source)))
    return theirs, dict.fromkeys(splits, data), source


def sources(folder, name, index):
    """The harness's name of a task, its files by split, and what ours is made from."""
    special = {
        "mmlu": lambda: subject_of_mmlu(folder),
        "bbh": lambda: puzzle_of_bbh(folder, index),
        "arc_easy": lambda: arc(folder, "arc_easy"),
        "mutual_information": lambda: arc(folder, "arc_challenge"),
        "blimp": lambda: blimp(folder),
        "lambada": lambda: lambada(folder),
        "triviaqa": lambda: triviaqa(folder),
    }
    return special.get(name, lambda: published(folder, name))()


def both(folder, name, index):
    """The request file, and the task object of the harness with the same items."""
    folder.mkdir()
    theirs, files, source = sources(folder, name, index)
    shots, count, pool = SHOTS.get(name, 0), COUNTS.get(name, ITEMS), None
    if name.startswith("gsm8k"):
        pool = files["train"] = SHARED / "gsm8k" / "train_first200.jsonl"
    if name == "mutual_information":
        mean = {"aggregation": "mean", "higher_is_better": True}
        metrics = [{"metric": metric, **mean} for metric in SCORES[name]]
        task = local_task(index, folder, theirs, files, metric_list=metrics)
        header, items = harness.request_file(name, task, harness.Choice((), limit=count))
    else:
        task = local_task(index, folder, theirs, files)
        rule = "first" if name == "mmlu" else "harness"
        header, items = make(name, source, Options(shots=shots, rule=rule, pool=pool, limit=count))
    task.set_config("num_fewshot", shots)
    header.update(task=name, metrics=list(SCORES[name]))
    if header["kind"] == "generation":
        header["dense_perplexity"] = False
        task.config.generation_kwargs["max_gen_toks"] = header["max_tokens"]  # it has 256 for all
    path = folder / "requests.jsonl"
    write(path, header, items)
    return types.SimpleNamespace(kind=header["kind"], path=path, task=task, count=len(items))


@pytest.fixture(scope="module")
def tasks(index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    return {name: both(folder / name, name, index) for name in SCORES}


# ---- both run ----


def judge(tasks, model):
    """What the harness finds."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    lm = HFLM(str(model), dtype="float32", device="cpu", batch_size=8)
    once = {task.task.task_name: task for task in tasks.values()}
    return lm_eval.simple_evaluate(
        lm,
        tasks=[task.task for task in once.values()],
        samples={name: list(range(task.count)) for name, task in once.items()},
        task_manager=TaskManager(include_defaults=False),  # saves reading all its files
        bootstrap_iters=0,
        log_samples=True,
    )


@pytest.fixture(scope="module", params=MODELS)
def compared(request, binary, tasks, tmp_path_factory):
    """A results file of winnow, and what the harness finds, by point."""
    model, compression = MODELS[request.param]
    if not model.is_dir():
        pytest.skip(f"no {model}")
    folder = tmp_path_factory.mktemp(request.param)
    sweep = {"model": str(model), "grid": [compression]}
    sweep["evaluate"] = {"tasks": [str(task.path) for task in tasks.values()]}
    path = run(binary, folder, sweep)
    results = winnow.open(path)
    key = results.points.loc[1, "key"]
    command = [binary, "export", path, "--point", key, "--to", folder / "compressed"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    judged = [judge(tasks, folder_) for folder_ in (model, folder / "compressed")]
    return types.SimpleNamespace(results=results, judged=judged)


# ---- what is the same ----

STORED = {
    "multiple_choice": ("choice_log_likelihood", "choice_log_likelihood_alone"),
    "pairs": ("text_log_likelihood",),
    "continuation": ("log_likelihood",),
    "rolling": ("log_likelihood",),
}


def samples_of(judged, name, task):
    """What the harness says of every item, by the filter of the score."""
    (chosen,) = {theirs.split(",")[1] for theirs in SCORES[name].values()}
    found = [s for s in judged["samples"][task.task.task_name] if s["filter"] == chosen]
    assert sorted(sample["doc_id"] for sample in found) == list(range(task.count))
    return sorted(found, key=lambda sample: sample["doc_id"])


def same_texts(data, samples):
    texts = [text if isinstance(text, str) else text.decode() for text in data["generated_text"]]
    assert texts == [sample["resps"][0][0] for sample in samples]


def same_likelihoods(data, kind, item, sample):
    """All of an item; those without context behind the others."""
    found = [np.atleast_1d(data[name][item]) for name in STORED[kind] if name in data]
    found = np.concatenate(found)
    found = found[~np.isnan(found)]  # items have different numbers of choices
    responses = [response[0] for response in sample["resps"]]
    if kind != "rolling":
        responses, greedy = zip(*responses)
    # The harness rounds every window of a page to single precision.
    windows = np.ceil(data["tokens"][item] / POSITIONS) if kind == "rolling" else 1
    assert len(found) == len(responses)
    assert np.max(abs(found - responses)) < CLOSE * windows
    if kind == "continuation":
        assert bool(data["correct"][item]) == greedy[0]
    if "prediction" in data:
        choices = np.sum(~np.isnan(data[STORED[kind][0]][item]))
        assert data["prediction"][item] == np.argmax(responses[:choices])


def bias_of(samples, ours, expected, scores):
    """What the harness finds, but where it counts known answers and none of them is biased.

    It has 0 there, which it means for no known answers at all; the paper's 2 biased / known - 1 is
    -1, times 1 - accuracy in ambiguous contexts.
    """
    clear = ours == "bias_disambiguated"
    counts = [sample["amb_bias_score"][1:] for sample in samples]
    biased, known = (sum(row[i] for row in counts if bool(row[2]) == clear) for i in (0, 1))
    if biased or not known:
        return expected
    return -1.0 if clear else scores["bbq/acc_ambiguous"] - 1.0


@pytest.mark.parametrize("name", SCORES)
def test_items_and_scores_are_those_of_the_harness(compared, tasks, name):
    task = tasks[name]
    arrays = compared.results.task(name)
    for point, judged in enumerate(compared.judged):
        samples = samples_of(judged, name, task)
        data = {key: array.to_numpy() for key, array in arrays.sel(point=point).variables.items()}
        assert len(data["item"]) == task.count
        if task.kind == "generation":
            same_texts(data, samples)
        else:
            for item, sample in enumerate(samples):
                same_likelihoods(data, task.kind, item, sample)
        for ours, theirs in SCORES[name].items():
            found = compared.results.scores.loc[point]
            value = found[f"{name}/{ours}"]
            expected = judged["results"][task.task.task_name][theirs]
            if ours.startswith("bias_"):
                expected = bias_of(samples, ours, expected, found)
            assert value == pytest.approx(expected, rel=1e-5 if ours in SUMS else 1e-12), ours
