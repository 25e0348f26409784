# SPDX-License-Identifier: Apache-2.0
"""What a compressed model still can do: where tasks break, and which calibration set keeps them.

All points answer the same items, so comparisons are paired: intervals come from a bootstrap that
draws items, and takes each drawn item from all points at once. They say how far the finding would
move with other items of the same kind, not with another model or another calibration draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from winnow.agreement import mcnemar
from winnow.axes import VARIATIONS, settings, unperturbed
from winnow.results import Results, is_dense

RESAMPLES = 2_000
_BREAKS = ["task", "method", "dense", "at", "low", "high"]


def item_scores(results: Results, task: str) -> pd.DataFrame:
    """The main score of every item: one row per point that is done, one column per item.

    0 or 1 where an answer is right or wrong; between them where a score such as ROUGE is graded.
    """
    with results.task(task) as data:
        name = "main_value" if "main_value" in data else "correct"
        values = np.asarray(data[name].transpose("point", "item").values, dtype=float)
        points = np.asarray(data["point"].values)
        items = np.asarray(data["item"].values)
    return pd.DataFrame(values, index=pd.Index(points, name="point"), columns=items)


def breaking_points(
    results: Results,
    lost: float = 0.1,
    axis: str = "sparsity",
    tasks: list[str] | None = None,
    *,
    model: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
    **where: Any,
) -> pd.DataFrame:
    """Where along ``axis`` each task has lost ``lost`` of its score (0.1 is ten points).

    One row per task and setting: a method with whatever the sweep varies beside ``axis``, as in
    "wanda, general"; ``where`` narrows the grid cells, such as ``calibration="general"`` or
    ``pattern="unstructured"``. A setting of a single point is none; draws of a cell are averaged,
    without perturbed ones where there are others. ``at`` is found by straight lines between the
    points of the sweep, from the dense model (0 on the axis) on; it is infinite where the task
    never loses as much, and ``low`` and ``high`` are the interval over items. ``dense`` is the
    dense score, and ``perplexity_ratio`` what the perplexity of the first text has come to there,
    as a multiple of the dense one, which says how late an alarm it is; ``ratio_low`` and
    ``ratio_high`` are those at the ends of the interval, or at the last point.
    """
    cells = _cells(results, model, where)
    rows = []
    if axis not in cells:
        raise ValueError(f"{results.path}: no points along {axis!r}")
    axes = [a for a in results.axes if a not in VARIATIONS]
    found = settings(cells.dropna(subset=[axis]), axes, axis)
    several = [s for s in found if len(set(s.cells[axis])) > 1] or found
    names = tasks if tasks is not None else results.main_scores
    items = {task: item_scores(results, task) for task in names} if several else {}
    dense = results.dense_of(model or results.models[0])
    text = f"{results.texts[0]}/perplexity" if results.texts else None
    for setting in several:
        line = _places(setting.cells, axis)
        for task, scores in items.items():
            rows.append(
                {"task": task, "method": setting.label}
                | _break(scores, dense, text, line, lost, (resamples, level, seed))
            )
    return pd.DataFrame(rows, columns=None if rows else _BREAKS).set_index(["task", "method"])


def paired_difference(
    results: Results,
    task: str,
    first: int,
    second: int,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> pd.Series:
    """Score of point ``first`` less that of point ``second`` on the same items.

    With the bootstrap interval over items and, for right and wrong, how many items only one of them
    has right and McNemar's exact p.
    """
    scores = item_scores(results, task)
    a, b = (scores.loc[p].to_numpy() for p in (first, second))
    draws = _draws(a - b, resamples, seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    row = {"first": a.mean(), "second": b.mean(), "difference": (a - b).mean()}
    row |= {"low": low, "high": high}
    if np.isin(scores.to_numpy(), (0.0, 1.0)).all():
        only_first, only_second = int((a > b).sum()), int((b > a).sum())
        row |= {"only_first": only_first, "only_second": only_second}
        row["pvalue"] = mcnemar(only_first, only_second)
    return pd.Series(row, name=task)


def compare_calibrations(
    results: Results,
    task: str,
    first: str,
    second: str,
    *,
    model: str | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Each compressed cell under calibration set ``first`` against the same under ``second``.

    One row per pair of cells, as ``paired_difference``; cells that no calibration data decides,
    such as magnitude pruning, are left out: both are the same point.
    """
    cells = _cells(results, model, {})
    axes = results.cell_table().columns.drop("point")
    axes = [c for c in cells if c in axes and not c.startswith("calibration")]
    rows = []
    for _, left in cells[cells["calibration"] == first].iterrows():
        others = cells[cells["calibration"] == second]
        for name in axes:
            same = others[name].isna() if pd.isna(left[name]) else others[name] == left[name]
            others = others[same]
        for _, right in others.iterrows():
            if left["point"] == right["point"]:
                continue
            pair = paired_difference(results, task, left["point"], right["point"], **options)
            rows.append({name: left[name] for name in axes} | pair.to_dict())
    table = pd.DataFrame(rows)
    return table.dropna(axis="columns", how="all") if len(table) else table


def _cells(results: Results, model: str | None, where: dict[str, Any]) -> pd.DataFrame:
    """Compressed cells that are done, of one model."""
    cells = results.cells
    cells = cells[(cells["status"] == "done") & ~is_dense(cells)]
    if model is None and len(results.models) > 1:
        raise ValueError(f"several models; give model=, one of {', '.join(results.models)}")
    if model is not None:
        cells = cells[cells["model"] == model]
    for name, value in where.items():
        if name not in cells:
            raise KeyError(f"no column {name!r}; known: {', '.join(map(str, cells.columns))}")
        cells = cells[cells[name] == value]
    return cells


def _draws(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of resampled items: of a row of items, or of each row of [point, item]."""
    rng = np.random.default_rng(seed)
    count = values.shape[-1]
    weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    return weights @ values.T


def _crossing(at: np.ndarray, scores: np.ndarray, lost: float) -> np.ndarray:
    """First place where the line through [resample, place] falls ``lost`` below its start."""
    limit = scores[:, :1] - lost
    below = scores <= limit
    first = np.argmax(below, axis=1)
    found = below.any(axis=1)
    row = np.arange(len(scores))
    before = np.maximum(first - 1, 0)
    high, low = scores[row, before], scores[row, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (high - limit[:, 0]) / (high - low)
        place = at[before] + share * (at[first] - at[before])
    return np.where(found, place, np.inf)


def _places(line: pd.DataFrame, axis: str) -> list[tuple[float, pd.DataFrame]]:
    """Values along the axis, rising, and the draws of each."""
    return [
        (float(value), unperturbed(draws).drop_duplicates("point"))
        for value, draws in line.groupby(axis)
    ]


def _break(
    items: pd.DataFrame,
    dense: pd.Series,
    text: str | None,
    line: list[tuple[float, pd.DataFrame]],
    lost: float,
    bootstrap: tuple[int, float, int],
) -> dict[str, float]:
    """Where one line of points loses a task, with its interval, and the perplexity there."""
    resamples, level, seed = bootstrap
    means = [items.loc[draws["point"]].to_numpy().mean(axis=0) for _, draws in line]
    scores = np.stack([items.loc[dense.name].to_numpy(), *means])
    at = np.array([0.0, *(value for value, _ in line)])
    place = _crossing(at, scores.mean(axis=1)[None], lost)[0]
    draws = _crossing(at, _draws(scores, resamples, seed), lost)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    row = {"dense": scores[0].mean(), "at": place, "low": low, "high": high}
    if text and np.isfinite(place):
        logs = [np.log(draws[text].to_numpy(float) / dense[text]).mean() for _, draws in line]
        there = np.exp(np.interp([place, low, high], at, [0.0, *logs]))
        row |= dict(zip(("perplexity_ratio", "ratio_low", "ratio_high"), there))
    return row
