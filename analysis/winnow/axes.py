# SPDX-License-Identifier: Apache-2.0
"""The axes of a sweep: what tells its cells apart, as the file has it.

Whatever parameter of the grid has more than one value is an axis, so that a figure never joins
points that differ in something it does not name. No parameter is listed here by name but for
those of chance (VARIATIONS) and the words that it is called by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pandas as pd

DRAW = "replicate"
NOISE = ("perturb", "perturb_seed")
VARIATIONS = (DRAW, *NOISE)  # axes along which points differ by chance alone


def perturbation(table: pd.DataFrame) -> pd.Series:
    """Relative noise on the calibration inputs of every row, 0 where there is none."""
    if "perturb" not in table:
        return pd.Series(0.0, index=table.index)
    return table["perturb"].astype(float).fillna(0)


def unperturbed(table: pd.DataFrame) -> pd.DataFrame:
    """Rows without noise on their inputs; all where there are no others."""
    plain = table[perturbation(table) == 0]
    return plain if len(plain) else table


@dataclasses.dataclass(frozen=True)
class Setting:
    """Cells of one method that differ along one axis only.

    ``label`` has the method, and what tells it from the other settings of the method.
    """

    method: str
    label: str
    cells: pd.DataFrame


def settings(cells: pd.DataFrame, names: Iterable[str], along: str) -> list[Setting]:
    """Cells by method and all axes of ``names`` but those of ``along``, in the order of the sweep.

    Of an axis that is the order in which the sweep has its values first, the same for all methods.
    ``along`` is the column along which a setting runs, "sparsity" or a number of bits. Settings
    that the same points answer are one (magnitude pruning looks at no calibration set).
    """
    fixed = {"method", "model", along} | ({"bits"} if along == "bits_per_weight_nominal" else set())
    names = [n for n in names if n not in fixed and n in cells]
    values = {n: dict.fromkeys(cells[n].sort_index().astype(str)) for n in names}
    places = {n: {text: i for i, text in enumerate(values[n])} for n in names}
    found = []
    for method, group in cells.groupby("method", sort=False, observed=True):
        parts = _combinations(group.sort_values(along, kind="stable"), names)
        parts.sort(key=lambda part: _place(part, places))
        labels = _labels(str(method), [key for key, _ in parts], names)
        found += [Setting(str(method), label, part) for label, (_, part) in zip(labels, parts)]
    return found


def _place(
    part: tuple[dict[str, Any], pd.DataFrame], places: dict[str, dict[str, int]]
) -> tuple[int, ...]:
    # Patterns are marks without a line: they follow.
    names = sorted(part[0], key=lambda name: name != "pattern")
    values = [places[name].get(str(part[0][name]), -1) for name in names]
    return (*values, part[1].index.min())


def _labels(method: str, keys: list[dict[str, Any]], names: list[str]) -> list[str]:
    """What tells the keys apart: axes with several values, and others while two labels are equal.

    Settings that follow from another one (the parameters of an allocation) need not be named.
    """
    values = {n: {str(k[n]) for k in keys if k.get(n) is not None} for n in names}
    values = {n: v if n == "allocation" else v - {""} for n, v in values.items()}
    named = [n for n in names if len(values[n]) > 1]
    for name in [None, *(n for n in names if n not in named)]:
        named += [name] if name else []
        words = [[word(n, k[n]) for n in named if k.get(n) is not None] for k in keys]
        labels = [", ".join([method, *filter(None, w)]) for w in words]
        if len(set(labels)) == len(keys):
            break
    return labels


def _combinations(
    cells: pd.DataFrame, names: list[str]
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The cells of every combination of values, and the values.

    Combinations answered by the same points are one; what they differ in is None.
    """
    if not names:
        return [({}, cells)]
    texts = cells[names].astype(object)
    rows = texts.where(texts.notna(), "").itertuples(index=False, name=None)
    keys = pd.Series(list(rows), index=cells.index)
    parts: dict[tuple[int, ...], tuple[dict[str, Any], pd.DataFrame]] = {}
    for key in dict.fromkeys(keys):
        part = cells[[k == key for k in keys]]
        values, first = dict(zip(names, key)), tuple(part["point"])
        if first in parts:
            known, part = parts[first]
            values = {n: v if known[n] == v else None for n, v in values.items()}
        parts[first] = (values, part)
    return list(parts.values())


_DEFAULTS = {"pattern": "unstructured", "propagation": "sequential"}
_WORDS = {("propagation", "dense"): "dense inputs"}
_NAMED = ("allocation", "calibration", "pattern", "units")  # whose values say what they are


def word(name: str, value: Any) -> str:
    """What a value of an axis is called in a label: nothing where it is the usual one.

    >>> word("sparsity", 0.5), word("act_order", False), word("group", "32")
    ('50%', 'not act order', 'group 32')
    >>> word("pattern", "unstructured")
    ''
    """
    title = name.replace("_", " ")
    if value == "" or value == _DEFAULTS.get(name):
        return ""
    if (name, value) in _WORDS:
        return _WORDS[name, value]
    if isinstance(value, bool):
        return title if value else f"not {title}"
    if name == "sparsity":
        return f"{value:.0%}"
    if name == "group":
        return f"group {value}" if str(value).isdigit() else f"per {value}"
    if isinstance(value, str):
        text = value.replace("_", " ")
        return text if name in _NAMED else f"{title} {text}"
    return f"{title} {value:g}"
