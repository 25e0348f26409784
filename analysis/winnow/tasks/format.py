# SPDX-License-Identifier: Apache-2.0
"""Request files: what winnow evaluates a model on, one JSON object a line.

The first line may be a header (it has the key "task"); all others are items. A file without one is
a multiple-choice task. ``problems`` checks a file as the program does, and ``write`` checks what it
is about to write.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

DIMENSIONS = (
    "knowledge",
    "reasoning",
    "retrieval",
    "summarising",
    "instruction",
    "alignment",
    "language",
    "arithmetic",
)
_BIAS_METRICS = ("acc_ambiguous", "acc_disambiguated", "bias_ambiguous", "bias_disambiguated")
_GENERATION_METRICS = (
    *("exact_match", "f1", "em_relaxed", "contains", "contains_word", "contains_number"),
    *("rouge1", "rouge2", "rougeL", "rougeLsum", "bleu", "chrf"),
    *("checks", "checks_each", "checks_loose", "checks_each_loose", "levels"),
    *("agreement_exact", "agreement_tokens", "agreement_rougeL", "dense_perplexity"),
    *("length", "words", "ended_limit", "ended_eos", "ended_stop"),
    *("rep_2", "rep_3", "rep_4", "repeated_suffix", "distinct_1", "distinct_2"),
    *("coverage", "density", "compression"),
)
_MOST_SHOWN = 20  # problems of one file


class TaskError(Exception):
    """A mistake of the user or of a data file: one line that names file and line where it can."""


# ---- rules: each returns what is wrong with a value, None for nothing ----

Rule = Callable[[Any], "str | None"]


def _is(kind: type | tuple[type, ...], name: str) -> Rule:
    def rule(value: Any) -> str | None:
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        return f"must be {name}" if wrong else None

    return rule


_text = _is(str, "a text")
_number = _is((int, float), "a number")
_flag = _is(bool, "true or false")


def _filled(value: Any) -> str | None:
    return _text(value) or (None if value else "must not be empty")


def _label(value: Any) -> str | None:
    return None if _text(value) is None or _number(value) is None else "must be a text or a number"


def _count(value: Any) -> str | None:
    integer = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if integer else "must be an integer of at least 1"


def _one_of(*names: str) -> Rule:
    def rule(value: Any) -> str | None:
        if value in names:
            return None
        return f"must be one of {', '.join(names)}{_suggestion(value, names)}"

    return rule


def _list_of(rule: Rule, least: int = 0, most: int | None = None) -> Rule:
    def check(value: Any) -> str | None:
        if not isinstance(value, list):
            return "must be a list"
        if len(value) < least or (most is not None and len(value) > most):
            wanted = f"exactly {least}" if most == least else f"at least {least}"
            return f"must have {wanted} entries, found {len(value)}"
        for number, entry in enumerate(value):
            if problem := rule(entry):
                return f"entry {number} {problem}"
        return None

    return check


def _object(required: dict[str, Rule], optional: dict[str, Rule]) -> Rule:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return "must be an object"
        found = list(_object_problems(value, required, optional))
        return f"is wrong: {found[0]}" if found else None

    return check


def _regex(value: Any) -> str | None:
    if problem := _filled(value):
        return problem
    try:
        re.compile(value)
    except re.error as error:
        return f"must be a regular expression: {error}"
    return None


_PATTERN_FILTER = _object(
    {"regex": _regex},
    {"group": _is(int, "an integer"), "match": _one_of("first", "last")},
)


def _filter(value: Any) -> str | None:
    rule = _PATTERN_FILTER if isinstance(value, dict) else _one_of("strip", "first_line")
    return rule(value)


_INSTRUCTION = _object(
    {"id": _filled},
    {
        "number": _is(int, "an integer"),
        "relation": _one_of("at least", "less than"),
        "nth": _count,
        "texts": _list_of(_filled, least=1),
    },
)
_CHECKS = {
    "max_words": _count,
    "min_words": _count,
    "regex": _regex,
    "equals": _text,
    "instruction": _INSTRUCTION,
}


def _constraint(value: Any) -> str | None:
    if not isinstance(value, dict) or len(value) != 1:
        return f"must be an object with one of {', '.join(_CHECKS)}"
    return _object({}, _CHECKS)(value)


def _gold(value: Any) -> str | None:
    index = _is(int, "an index from 0")
    return _list_of(index, least=1)(value) if isinstance(value, list) else index(value)


_BIAS = _object(
    {
        "condition": _one_of("ambiguous", "disambiguated"),
        "polarity": _one_of("negative", "nonnegative"),
        "unknown": _list_of(_is(int, "an index from 0")),
        "target": _list_of(_is(int, "an index from 0")),
    },
    {},
)

# ---- the kinds ----


def _name(value: Any) -> str | None:
    fits = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,48}", value)
    return None if fits else "must be 1 to 48 letters, digits, '_', '-' or '.'"


def _share(value: Any) -> str | None:
    return _number(value) or (None if 0 <= value <= 1 else "must be from 0 to 1")


_HEADER: dict[str, Rule] = {
    "kind": lambda value: _one_of(*KINDS)(value),
    "version": _label,
    "source": _text,
    "dimension": _one_of(*DIMENSIONS),
    "chat_template": _filled,
    "mode": _filled,
    "metrics": _list_of(_text, least=1),
    "chance": _share,
}
_ITEM: dict[str, Rule] = {"id": _label, "group": _filled}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a header and an item of one kind may and must have; the first metric is the default."""

    metrics: tuple[str, ...]
    required: dict[str, Rule]
    optional: dict[str, Rule] = dataclasses.field(default_factory=dict)
    header: dict[str, Rule] = dataclasses.field(default_factory=dict)


KINDS = {
    "multiple_choice": Kind(
        (
            "acc",
            "acc_norm",
            "acc_bytes",
            "acc_tokens",
            "acc_mutual_info",
            "brier",
            "exact_match",
            "mc2",
            "bias",
            *_BIAS_METRICS,
        ),
        {"gold": _gold},
        {
            "context": _text,
            "contexts": _list_of(_text, least=2),
            "choices": _list_of(_filled, least=2),
            "continuation": _filled,
            "bias": _BIAS,
        },
        {"delimiter": _text},
    ),
    "pairs": Kind(
        ("acc", "pct_stereotype", "likelihood_diff"),
        {"texts": _list_of(_filled, least=2, most=2)},
        {"gold": _gold},
        {"delimiter": _text},
    ),
    "continuation": Kind(
        ("acc", "perplexity"),
        {"context": _text, "continuation": _filled},
        header={"delimiter": _text},
    ),
    "rolling": Kind(
        ("word_perplexity", "byte_perplexity", "bits_per_byte"),
        {"text": _filled},
        {"words": _count, "bytes": _count},
        {"length": _count},
    ),
    "generation": Kind(
        _GENERATION_METRICS,
        {"prompt": _text},
        {
            "references": _list_of(_text),
            "source": _filled,
            "stop": _list_of(_filled),
            "max_tokens": _count,
            "checks": _list_of(_constraint),
            "series": _filled,
        },
        {
            "stop": _list_of(_filled),
            "max_tokens": _count,
            "filter": _filter,
            "normalize": _one_of("none", "harness", "squad", "triviaqa", "llm_kick"),
            "ignore_case": _flag,
            "ignore_punctuation": _flag,
            "ignore_numbers": _flag,
            "ignore": _list_of(_regex),
            "stemmer": _flag,
            "bleu_tokenizer": _one_of("13a", "zh", "char", "none"),
            "temperature": _number,
            "seed": _is(int, "an integer"),
            "draws": _count,
            "dense_perplexity": _flag,
        },
    ),
}


def _suggestion(value: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(value), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _object_problems(
    value: dict[str, Any], required: dict[str, Rule], optional: dict[str, Rule]
) -> Iterator[str]:
    known = {**required, **optional}
    for key in value:
        if key not in known:
            yield f'unknown key "{key}"{_suggestion(key, known)}'
        elif problem := known[key](value[key]):
            yield f'"{key}" {problem}'
    for key in required:
        if key not in value:
            yield f'the field "{key}" is missing'


# ---- headers and items ----


def header_problems(header: dict[str, Any]) -> list[str]:
    """What is wrong with a header."""
    kind = KINDS.get(header.get("kind", "multiple_choice"))
    allowed = {**_HEADER, **(kind.header if kind else {})}
    found = list(_object_problems(header, {"task": _name}, allowed))
    if kind and not found:
        metrics = header.get("metrics", ())
        if len(set(metrics)) < len(metrics):
            found.append('"metrics" lists one twice')
        for metric in metrics:
            if metric not in kind.metrics:
                known = ", ".join(kind.metrics)
                name = header.get("kind", "multiple_choice")
                found.append(f'"metrics": {metric!r} is not one of {known} (kind {name})')
    return found


def item_problems(item: Any, header: dict[str, Any]) -> list[str]:
    """What is wrong with an item of a task that has this header."""
    kind = header.get("kind", "multiple_choice")
    if not isinstance(item, dict):
        return ["must be an object"]
    if "task" in item or "kind" in item:
        return ['a header has the key "task" and is the first line']
    rules = KINDS[kind]
    found = list(_object_problems(item, rules.required, {**_ITEM, **rules.optional}))
    if not found and kind == "multiple_choice":
        found = list(_choice_problems(item, header))
    if not found and kind == "pairs":
        found = list(_gold_problems(item.get("gold", 0), 2))
    return found


def _choice_problems(item: dict[str, Any], header: dict[str, Any]) -> Iterator[str]:
    if ("context" in item) == ("contexts" in item):
        yield 'one of "context" and "contexts" is needed'
        return
    if "context" in item and "continuation" in item:
        yield '"continuation" goes with "contexts"'
        return
    if ("choices" in item) == ("continuation" in item):
        yield '"choices" is needed' + (', or "continuation"' if "contexts" in item else "")
        return
    n = len(item["choices"]) if "choices" in item else len(item["contexts"])
    if "contexts" in item and len(item["contexts"]) != n:
        yield f'"contexts" has {len(item["contexts"])} entries, "choices" {n}'
    yield from _gold_problems(item["gold"], n)
    if "bias" in item:
        for key in ("unknown", "target"):
            yield from _gold_problems(item["bias"][key], n, f'"bias": "{key}"')
    elif {"bias", *_BIAS_METRICS} & set(header.get("metrics", ())):
        yield 'the metric bias needs "bias" in every item'


def _gold_problems(gold: int | list[int], n: int, name: str = '"gold"') -> Iterator[str]:
    indices = gold if isinstance(gold, list) else [gold]
    if len(set(indices)) < len(indices):
        yield f"{name} names a choice twice"
    for index in indices:
        if not 0 <= index < n:
            yield f"{name} is {index}, expected 0 to {n - 1}"


# ---- files ----


def is_calibration(value: Any) -> bool:
    """Whether a line is a pair of a calibration file rather than part of a request file."""
    return isinstance(value, dict) and "prompt" in value and "response" in value


def lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Number and value of every line that is not blank; raises TaskError."""
    with open(path, encoding="utf-8", newline="\n") as file:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, json.loads(line)
        except json.JSONDecodeError as error:
            place = f"column {error.colno}"
            raise TaskError(f"{path}:{number}: not JSON: {error.msg} ({place})") from None
        except UnicodeDecodeError:
            raise TaskError(f"{path}:{number + 1}: not UTF-8") from None


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and items of a file, unchecked; without a header that of a multiple-choice task."""
    values = [value for _, value in lines(path)]
    if values and isinstance(values[0], dict) and "task" in values[0]:
        return values[0], values[1:]
    return {"task": path.name.partition(".")[0]}, values


def problems(path: Path) -> list[str]:
    """Everything that is wrong with a file, a line each, with file and line number."""
    found: list[str] = []
    try:
        numbered = list(lines(path))
    except (OSError, TaskError) as error:
        return [str(error)]
    if not numbered:
        return [f"{path}: no items"]
    header: dict[str, Any] = {"task": path.name}
    first = numbered[0][1]
    if isinstance(first, dict) and "task" in first:
        header = first
        found += [f"{path}:{numbered[0][0]}: {problem}" for problem in header_problems(header)]
        numbered = numbered[1:]
        if not numbered:
            found.append(f"{path}: no items")
    if found:
        return found
    seen: dict[str, int] = {}
    for index, (number, item) in enumerate(numbered):
        found += [f"{path}:{number}: {problem}" for problem in _line_problems(item, header, first)]
        name = str(item.get("id", index)) if isinstance(item, dict) else ""
        if name in seen and not is_calibration(first):
            found.append(f'{path}:{number}: the id "{name}" was used in line {seen[name]}')
        seen.setdefault(name, number)
    more = len(found) - _MOST_SHOWN
    return [*found[:_MOST_SHOWN], f"{path}: ... and {more} more"] if more > 0 else found


def _line_problems(item: Any, header: dict[str, Any], first: Any) -> Iterable[str]:
    if not is_calibration(first):
        return item_problems(item, header)
    if not isinstance(item, dict):
        return ["must be an object"]
    return _object_problems(item, {"prompt": _text, "response": _text}, {"chat_template": _filled})


def write(path: Path, header: dict[str, Any] | None, items: Iterable[dict[str, Any]]) -> int:
    """Write a file at once, checked; returns the number of items. No header: calibration pairs."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            if header is not None:
                file.write(json.dumps(header, ensure_ascii=False) + "\n")
            for item in items:
                file.write(json.dumps(item, ensure_ascii=False) + "\n")
                count += 1
        found = [line.replace(str(temporary), str(path)) for line in problems(temporary)]
        if found:
            raise TaskError("\n".join(found))
        os.replace(temporary, path)
    except UnicodeEncodeError as error:
        raise TaskError(f"{path}: item {count}: not valid Unicode ({error.reason})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return count
