# SPDX-License-Identifier: Apache-2.0
"""The bridge to lm-evaluation-harness: its exact requests as request files, and its own scores.

``export`` lets the installed harness build the requests of any of its tasks and writes them as
request files; ``score`` hands what winnow stored about them back to the filters and metrics of the
harness. Chat templates and tasks with several kinds of requests per document are not supported.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.tasks import format as requests
from winnow.tasks.format import TaskError
from winnow.tasks.shots import HARNESS_SEED

if TYPE_CHECKING:
    import pandas as pd

    from winnow.results import Results

Item = dict[str, Any]

# Names of generation settings that mean the largest number of tokens, as the harness has them.
_MOST_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_SETTINGS = ("until", "do_sample", "temperature", *_MOST_TOKENS)
# What winnow computes itself of the harness's metrics, by the names of both.
_METRICS = {
    "multiple_choice": {
        "acc": "acc",
        "acc_norm": "acc_norm",
        "acc_bytes": "acc_bytes",
        "acc_mutual_info": "acc_mutual_info",
        "brier_score": "brier",
        "exact_match": "exact_match",
    },
    "loglikelihood": {"acc": "acc", "perplexity": "perplexity"},
    "loglikelihood_rolling": {
        name: name for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")
    },
    "generate_until": {"exact_match": "exact_match"},
}

_SILENT = "the results do not say whether what was scored is greedy"


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which tasks, and what is set about all of them; None is the task's own."""

    names: tuple[str, ...]
    include: str | None = None  # folder with more task files
    shots: int | None = None
    limit: int | None = None
    seed: int = HARNESS_SEED


# ---- tasks of the harness ----


def load(choice: Choice) -> dict[str, Any]:
    """The task objects by name, groups taken apart, ready to build requests."""
    manager = _manager(choice.include)
    unknown = [name for name in choice.names if name not in manager.all_tasks]
    if unknown:
        near = requests._suggestion(unknown[0], manager.all_tasks)
        raise TaskError(f"lm-evaluation-harness has no task {unknown[0]!r}{near}")
    tasks = manager.load(list(choice.names))["tasks"]
    for task in tasks.values():
        prepare(task, choice)
    return tasks


def prepare(task: Any, choice: Choice) -> None:
    """Set what the harness sets before it builds requests; the generator of examples restarts."""
    if choice.shots is not None:
        task.set_config("num_fewshot", choice.shots)
    elif task.get_config("num_fewshot") is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(choice.seed)


@functools.lru_cache(maxsize=1)  # it reads thousands of files
def _manager(include: str | None) -> Any:
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise TaskError(
            "lm-evaluation-harness is not installed: pip install './analysis[harness]'"
        ) from None
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=include)


def _built(name: str, task: Any, limit: int | None) -> dict[int, list[Any]]:
    """The requests of each document, by its number."""
    if getattr(task, "MULTIMODAL", False):
        raise TaskError(f"{name}: has images or sound")
    task.build_all_requests(limit=limit)
    documents: dict[int, list[Any]] = {}
    for instance in task.instances:
        documents.setdefault(instance.doc_id, []).append(instance)
    for instances in documents.values():
        instances.sort(key=lambda instance: instance.idx)
        kinds = {instance.request_type for instance in instances}
        if len(kinds) > 1:
            raise TaskError(f"{name}: one document has requests of the kinds {', '.join(kinds)}")
    return documents


# ---- export ----


def short(name: str) -> str:
    """The name of a task in request files and results: at most 48 plain characters."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if plain == name and len(name) <= 48:
        return name
    return f"{plain[:39]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def export(choice: Choice, folder: Path) -> dict[Path, int]:
    """Write one request file per task; returns the number of items of each file."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, task in load(choice).items():
        header, items = request_file(name, task, choice)
        path = folder / f"{short(name)}.jsonl"
        written[path] = requests.write(path, header, items)
    return written


def request_file(name: str, task: Any, choice: Choice) -> tuple[dict[str, Any], list[Item]]:
    """Header and items of one task."""
    documents = _built(name, task, choice.limit)
    kind = _KINDS[_kind_of(name, task, documents)]
    header: dict[str, Any] = {"task": short(name), "kind": kind.ours}
    header["version"] = str(getattr(task, "VERSION", ""))
    shots = task.get_config("num_fewshot") or 0
    version = importlib.metadata.version("lm_eval")
    header["source"] = f"lm-evaluation-harness {version}, {name}, {shots} shots"
    header["source"] += f", seed {choice.seed}" if shots else ""
    metrics = [_METRICS[kind.theirs].get(metric) for metric in _metrics_of(task)]
    metrics = [metric for metric in metrics if metric is not None]
    if metrics:
        header["metrics"] = metrics
    items = [
        {"id": str(number), **kind.item(task, instances)} for number, instances in documents.items()
    ]
    header.update(kind.share(name, task, items))
    return header, items


def _kind_of(name: str, task: Any, documents: dict[int, list[Any]]) -> str:
    """multiple_choice sends requests of the kind loglikelihood: several a document."""
    instances = next(iter(documents.values()))
    kind = instances[0].request_type
    if kind == "loglikelihood" and (task.OUTPUT_TYPE == "multiple_choice" or len(instances) > 1):
        kind = "multiple_choice"
    if kind not in _KINDS:
        raise TaskError(f"{name}: requests of the kind {kind} are not supported")
    return kind


def _metrics_of(task: Any) -> list[str]:
    """Metrics that the harness computes its standard way."""
    if callable(task.get_config("process_results")):
        return []
    return list(getattr(task, "_metric_fn_list", {}))


def _choices(task: Any, instances: list[Any]) -> Item:
    if "acc_mutual_info" in _metrics_of(task):
        instances = instances[: len(instances) // 2]  # the rest is without context
    contexts, continuations = zip(*(instance.args for instance in instances))
    if len(set(contexts)) == 1:
        item = {"context": contexts[0], "choices": list(continuations)}
    elif len(set(continuations)) == 1:
        item = {"contexts": list(contexts), "continuation": continuations[0]}
    else:
        item = {"contexts": list(contexts), "choices": list(continuations)}
    item["gold"] = _gold(task, instances[0].doc, len(instances))
    return item


def _gold(task: Any, document: Any, n: int) -> int | list[int]:
    """Index or indices of the right choices, where the harness's standard way can tell."""
    gold = task.doc_to_text(document) if _inputs_differ(task) else task.doc_to_target(document)
    if isinstance(gold, str):
        choices = task.doc_to_choice(document)
        gold = choices.index(gold) if gold in choices else -1
    if isinstance(gold, list):
        gold = [index for index in gold if isinstance(index, int) and 0 <= index < n]
    inside = bool(gold) if isinstance(gold, list) else isinstance(gold, int) and 0 <= gold < n
    if not inside:
        if not callable(task.get_config("process_results")):
            raise TaskError(f"{task.task_name}: no right choice in the document {document}")
        return 0  # the task finds the right ones in its own way
    return gold


def _inputs_differ(task: Any) -> bool:
    return bool(getattr(task, "multiple_input", 0))


def _share_choices(name: str, task: Any, items: list[Item]) -> dict[str, Any]:
    """The delimiter, taken off the choices: their lengths are counted without it."""
    delimiter = task.get_config("target_delimiter") or ""
    texts = [text for item in items for text in _continuations(item)]
    if not all(text.startswith(delimiter) and text != delimiter for text in texts):
        delimiter = ""
    for item in items:
        if "choices" in item:
            item["choices"] = [text[len(delimiter) :] for text in item["choices"]]
        if "continuation" in item:
            item["continuation"] = item["continuation"][len(delimiter) :]
    return {"delimiter": delimiter}


def _continuations(item: Item) -> list[str]:
    return item["choices"] if "choices" in item else [item["continuation"]]


def _continuation(_: Any, instances: list[Any]) -> Item:
    (instance,) = instances
    context, continuation = instance.args
    return {"context": context, "continuation": continuation}


def _page(task: Any, instances: list[Any]) -> Item:
    (instance,) = instances
    item = {"text": instance.args[0]}
    scores = task.process_results(instance.doc, [0.0])  # (log-likelihood, denominator)
    for metric, key in (("word_perplexity", "words"), ("byte_perplexity", "bytes")):
        if metric in scores:
            item[key] = int(scores[metric][1])
    return item


def _generation(task: Any, instances: list[Any]) -> Item:
    (instance,) = instances
    prompt, settings = instance.args
    item = {"prompt": prompt, "references": _references(task, instance.doc)}
    unknown = [key for key in settings if key not in _SETTINGS]
    if unknown:
        raise TaskError(f"{task.task_name}: the generation setting {unknown[0]} is not supported")
    stop = settings.get("until", [])
    item["stop"] = [stop] if isinstance(stop, str) else [text for text in stop if text]
    item["max_tokens"] = next((int(settings[k]) for k in _MOST_TOKENS if k in settings), 256)
    item["temperature"] = float(settings.get("temperature", 0)) if _sampled(settings) else 0.0
    return item


def _sampled(settings: dict[str, Any]) -> bool:
    return bool(settings.get("do_sample", settings.get("temperature", 0) > 0))


def _references(task: Any, document: Any) -> list[str]:
    target = task.doc_to_target(document)
    if isinstance(target, int) and task.get_config("doc_to_choice") is not None:
        target = task.doc_to_choice(document)[target]
    return [str(text) for text in (target if isinstance(target, list) else [target])]


def _share_generation(name: str, task: Any, items: list[Item]) -> dict[str, Any]:
    """Settings that all items have go into the header; the metrics are the harness's affair."""
    temperatures = {item.pop("temperature") for item in items}
    if len(temperatures) > 1:
        raise TaskError(f"{name}: its documents differ in temperature")
    header: dict[str, Any] = {"normalize": "harness"}
    (temperature,) = temperatures
    if temperature > 0:
        header["temperature"] = temperature
    draws = getattr(task.config, "repeats", 1) or 1
    if draws > 1:
        header["draws"] = draws
    for key in ("stop", "max_tokens"):
        if all(item[key] == items[0][key] for item in items):
            header[key] = items[0][key]
            for item in items:
                item.pop(key)
    return header


@dataclasses.dataclass(frozen=True)
class _Kind:
    """How the requests of one output type become items."""

    theirs: str
    ours: str
    item: Any
    share: Any


_KINDS = {
    kind.theirs: kind
    for kind in (
        _Kind("multiple_choice", "multiple_choice", _choices, _share_choices),
        _Kind("loglikelihood", "continuation", _continuation, lambda *_: {"delimiter": ""}),
        _Kind("loglikelihood_rolling", "rolling", _page, lambda *_: {}),
        _Kind("generate_until", "generation", _generation, _share_generation),
    )
}


# ---- scores ----


def stored(results: Results, name: str) -> dict[str, Any]:
    """What winnow stored about the items of a task: arrays [point, item, ...], and their labels.

    ``choices`` [item] counts them, ``log_likelihood`` is [point, item] or [point, item, choice],
    ``greedy`` alike, ``alone`` [point, item, choice] without context, ``text`` [point, item] or
    [point, item, draw]; None is not there.
    """
    name = short(name)
    if name not in results.tasks:
        raise TaskError(f"{results.path}: no task {name!r}; known: {', '.join(results.tasks)}")
    data = results.task(name)

    def array(*names: str) -> Any:
        found = [n for n in names if n in data]
        return data[found[0]].to_numpy() if found else None

    whole = "log_likelihood" in data  # one continuation: right when it is greedy
    return {
        "point": data["point"].to_numpy(),
        "item": [str(label) for label in data["item"].to_numpy()],
        "choices": array("choices"),
        "log_likelihood": array("choice_log_likelihood", "log_likelihood"),
        "greedy": array("correct" if whole else "choice_greedy"),
        "alone": array("choice_log_likelihood_alone"),
        "text": array("generated_text"),
    }


def score(results: Results, choice: Choice, *, bootstrap: int = 0) -> pd.DataFrame:
    """The harness's own scores of every point: point, task, filter, metric, value, stderr.

    Standard errors that the harness bootstraps are left out unless ``bootstrap`` resamples are
    asked for; it takes 100 000 of them.
    """
    import pandas as pd

    rows = []
    for name, task in load(choice).items():
        outputs = stored(results, name)
        documents = _documents_of(name, task, outputs)
        for index, point in enumerate(outputs["point"]):
            _respond(name, task, documents, outputs, index)
            rows += [{"point": int(point), **row} for row in _scored(task, documents, bootstrap)]
    columns = ["point", "task", "filter", "metric", "value", "stderr"]
    return pd.DataFrame(rows, columns=columns)


def _documents_of(name: str, task: Any, outputs: dict[str, Any]) -> list[list[Any]]:
    """The requests of the stored items, in their order."""
    labels = outputs["item"]
    if not all(label.isdigit() for label in labels):
        raise TaskError(f"{name}: its items are not those of winnow-tasks export")
    numbers = [int(label) for label in labels]
    documents = _built(name, task, max(numbers) + 1)
    if any(number not in documents for number in numbers):
        raise TaskError(f"{name}: the results have more items than the task has documents")
    return [documents[number] for number in numbers]


def _respond(
    name: str, task: Any, documents: list[list[Any]], outputs: dict[str, Any], point: int
) -> None:
    """Put what the model of a point answered into the requests."""
    instances = [instance for requests_ in documents for instance in requests_]
    for instance in instances:
        instance.filtered_resps = {}
    kind = _kind_of(name, task, dict(enumerate(documents)))
    what = "text" if kind == "generate_until" else "log_likelihood"
    if outputs[what] is None:
        raise TaskError(f"{name}: the results have no {what.replace('_', '-')} of its items")
    if outputs["greedy"] is None and kind in ("loglikelihood", "multiple_choice"):
        outputs = {**outputs, "greedy": _without_greedy(name, task, kind)}
    for item, requests_ in enumerate(documents):
        if kind == "generate_until":
            texts = outputs["text"][point, item]
            texts = [texts] if isinstance(texts, (str, bytes)) else list(texts)
            requests_[0].resps = [t.decode() if isinstance(t, bytes) else t for t in texts]
        elif kind == "loglikelihood_rolling":
            requests_[0].resps = [float(outputs["log_likelihood"][point, item])]
        elif kind == "loglikelihood":
            requests_[0].resps = [_pair(outputs, (point, item))]
        else:
            _respond_choices(name, task, requests_, outputs, (point, item))


def _respond_choices(
    name: str, task: Any, instances: list[Any], outputs: dict[str, Any], at: tuple[int, int]
) -> None:
    alone = "acc_mutual_info" in _metrics_of(task)
    n = len(instances) // 2 if alone else len(instances)
    if outputs["choices"] is not None and int(outputs["choices"][at[1]]) != n:
        raise TaskError(f"{name}: item {outputs['item'][at[1]]} has another number of choices")
    for number, instance in enumerate(instances[:n]):
        instance.resps = [_pair(outputs, (*at, number))]
    if alone and outputs["alone"] is None:
        raise TaskError(f"{name}: the results have no log-likelihoods without context")
    for number, instance in enumerate(instances[n:]):
        instance.resps = [(float(outputs["alone"][(*at, number)]), False)]


class _NotStored:
    """Stands for whether what was scored is greedy, where the results do not say."""

    def __bool__(self) -> bool:
        raise _NotStoredError

    __int__ = __bool__


class _NotStoredError(Exception):
    pass


def _without_greedy(name: str, task: Any, kind: str) -> Any:
    """What stands for it: of the standard metrics it is known which ones look at it."""
    if callable(task.get_config("process_results")):
        return _NotStored()
    if ("acc" if kind == "loglikelihood" else "exact_match") in _metrics_of(task):
        raise TaskError(f"{name}: {_SILENT}")
    return False


def _pair(outputs: dict[str, Any], at: tuple[int, ...]) -> tuple[float, Any]:
    greedy = outputs["greedy"]
    known = hasattr(greedy, "shape")
    return float(outputs["log_likelihood"][at]), bool(greedy[at]) if known else greedy


def _scored(task: Any, documents: list[list[Any]], bootstrap: int) -> Iterator[dict[str, Any]]:
    """Filters, metrics and aggregation of the harness."""
    from lm_eval.api.metrics import mean, stderr_for_metric

    task.apply_filters()
    for key in documents[0][0].filtered_resps:
        values: dict[str, list[Any]] = {}
        for metric, value in _values(task, documents, key):
            values.setdefault(metric, []).append(value)
        for metric, each in values.items():
            aggregate = task.aggregation().get(metric, mean)
            closed_form = bootstrap <= 0 and aggregate is mean
            error = stderr_for_metric(aggregate, 1 if closed_form else bootstrap)
            yield {
                "task": task.task_name,
                "filter": key,
                "metric": metric,
                "value": float(aggregate(each)),
                "stderr": float(error(each)) if error and len(each) > 1 else float("nan"),
            }


def _values(task: Any, documents: list[list[Any]], key: str) -> Iterable[tuple[str, Any]]:
    for instances in documents:
        responses = [instance.filtered_resps[key] for instance in instances]
        try:
            scores = task.process_results(instances[0].doc, responses)
        except _NotStoredError:
            raise TaskError(f"{task.task_name}: {_SILENT}") from None
        yield from scores.items()
