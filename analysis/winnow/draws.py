# SPDX-License-Identifier: Apache-2.0
"""How sure is a point? Its draws, what rounding does to it, and its items, beside each other.

A point is one draw of its calibration set. A sweep with ``"replicates": N`` draws it again with
other seeds; one with ``"perturb"`` puts seeded noise as small as rounding in front of the first
block. What such points of one grid cell differ by is no effect of a method. Intervals over items,
which all points share, say nothing of it: look at both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from winnow.axes import DRAW, NOISE, VARIATIONS, perturbation, unperturbed
from winnow.mixed_models import reml
from winnow.results import Results, is_dense, resolve, stderr_column
from winnow.survival import item_scores

_LEVEL = ("sparsity", "pattern", "bits")


def replicates(
    results: Results,
    scores: Sequence[str] | str | None = None,
    *,
    model: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row per grid cell, score and kind of noise: mean and spread of its points.

    ``noise`` is "draw", over draws of the calibration set, or "rounding", over perturbations of
    one draw. ``std`` is the standard deviation of the ``n`` points, ``low`` and ``high`` the t
    interval of their ``mean``. ``items`` is the standard error over items or windows of one point
    (root mean square), ``items_low`` and ``items_high`` the normal interval of the mean by it.
    Scores default to perplexities and the main scores of tasks.
    """
    cells = _cells(results, model)
    names = results.named(scores)
    fixed = [a for a in results.axes if a in cells and a not in VARIATIONS]
    rows = []
    for noise, group, key in _groups(cells, fixed):
        for name in names:
            spread = _spread(group, name, level)
            if spread is not None:
                rows.append({**key, "noise": noise, "score": name, **spread})
    columns = [*fixed, "noise", "score", *_SPREAD]
    return pd.DataFrame(rows, columns=None if rows else columns)


def collapse(cells: pd.DataFrame, axes: Iterable[str]) -> pd.DataFrame:
    """The cells with draws averaged: one row each, and of every score SCORE_draws, their spread.

    Perturbed points are left out where the cell has others. Without draws: the cells as they are.
    """
    if cells.empty or not set(VARIATIONS) & set(cells):
        return cells
    fixed = [a for a in axes if a in cells and a not in VARIATIONS]
    groups = [unperturbed(group) for _, group in _by(cells, fixed)]
    return _averaged(groups, cells, fixed)


def averaged(results: Results) -> pd.DataFrame:
    """``results.scores`` with draws averaged, as ``winnow show`` prints them: one row each.

    Points that are done and differ in ``replicate`` or ``perturb_seed`` alone are one row, that of
    the first: ``draws`` counts them, scores and other numbers are means, standard errors root mean
    squares, and ``SCORE_draws`` is the standard deviation over draws. Texts that differ are empty,
    as is what chose the draw. A file without draws has its scores as they are.
    """
    scores = results.scores
    draw = [c for c in (DRAW, NOISE[1]) if c in scores]
    if not (scores[draw].astype(float) > 0).any(axis=None):
        return scores
    fixed = [a for a in scores.attrs["axes"] if a in scores and a not in draw]
    done = scores["status"] == "done"
    groups = [group for _, group in _by(scores[done], fixed)]
    several = [group for group in groups if len(group) > 1]
    rest = scores.drop(index=[p for group in several for p in group.index])
    table = pd.concat([_averaged(several, scores, fixed), rest]).sort_index()
    counts = pd.Series({group.index[0]: len(group) for group in groups}, dtype=float)
    table["draws"] = counts.reindex(table.index)
    table.attrs |= scores.attrs
    return table


def _averaged(groups: list[pd.DataFrame], table: pd.DataFrame, fixed: list[str]) -> pd.DataFrame:
    """A row for every group of draws, by the index of its first.

    What a group has in common is kept as it is: the mean of 0.1 and 0.1 and 0.1 is another number.
    """
    kept = {*fixed, *VARIATIONS, "point"}
    numbers = [c for c in table if table[c].dtype.kind in "iufb" and c not in kept]
    errors = [c for c in numbers if str(c).endswith("_stderr")]
    spreads = {c: f"{c}_draws" for c in numbers if "/" in str(c) and c not in errors}
    rows = []
    for group in groups:
        row = group.iloc[0].copy()
        if len(group) > 1:
            values = group[numbers].astype(float)
            row[numbers] = values.mean()
            row[errors] = np.sqrt((values[errors] ** 2).mean())
            row[[c for c in (DRAW, NOISE[1]) if c in group]] = np.nan
            texts = [c for c in table if table[c].dtype.kind not in "iufb" and c != "status"]
            row[[c for c in texts if len(set(group[c])) > 1]] = ""
            spread = values[list(spreads)].std().rename(spreads)
        else:
            spread = pd.Series(np.nan, index=list(spreads.values()))
        rows.append(pd.concat([row, spread]).rename(group.index[0]))
    averaged = pd.DataFrame(rows).sort_index().rename_axis(index=table.index.name)
    return averaged.infer_objects()


def variance(
    results: Results | pd.DataFrame,
    score: str,
    *,
    model: str | None = None,
) -> pd.DataFrame:
    """Split the variance of a score over the grid: method, level, calibration set, draw, items.

    Components of a random-effects model, estimated by restricted maximum likelihood (REML, which
    on balanced grids is the analysis of variance): methods, levels (sparsity, pattern, bits), what
    method and level have together, calibration sets inside these, and draws inside these. A factor
    with one value has no row. "rounding" is the mean variance of perturbations of one draw, which
    draws have inside them. "items" is the mean squared standard error over items: how far all
    points would move with other items. Of the main score of a task, what single items do in single
    draws (the residual of a two-way table of draws and items) is taken from "draw" and is
    "draw and item". ``std`` is the root, ``share`` that of the sum, in which "rounding" is left
    out; ``groups`` counts what the component was estimated from.

    "ln " before a score takes its logarithm, as one should of a perplexity. A table is rows of
    ``results.scores``, or has columns of such names: method, sparsity or bits, calibration,
    replicate, the score and its stderr; every other one without a "/" is a setting of the method.
    """
    table, name = _points(results, score, model)
    plain = table[perturbation(table) == 0]
    factors = _factors(plain)
    if factors["draw"].duplicated().any():
        raise ValueError("points of one draw that nothing tells apart: give model=")
    if not factors["calibration set"].duplicated().any():
        raise ValueError('no cell has several draws: "replicates" in the grid product makes them')
    names = [n for n in _EFFECTS if n in factors and _is_estimable(factors, n)]
    codes = [factors[n].factorize()[0] for n in names]
    found = reml(plain["y"].to_numpy(float), np.ones((len(plain), 1)), codes)
    values = dict(zip([*names, "draw"], found.variances))
    counts = {n: factors[n].nunique() for n in names} | {"draw": len(plain)}
    paired = _paired(results, name, plain, factors) if isinstance(results, Results) else None
    if paired is not None:
        values["draw"] = max(values["draw"] - paired, 0.0)
        values["draw and item"], counts["draw and item"] = paired, len(plain)
    if "error" in plain and plain["error"].notna().any():
        values["items"] = float((plain["error"] ** 2).mean())
        counts["items"] = int(plain["error"].notna().sum())
    rounding = _rounding(table)
    total = sum(values.values())
    rows = pd.DataFrame({"variance": values, "groups": counts})
    rows["share"] = rows["variance"] / total if total else np.nan
    if rounding is not None:
        rows.loc["rounding"] = [rounding[0], rounding[1], np.nan]
    rows["std"] = np.sqrt(rows["variance"])
    rows["groups"] = rows["groups"].astype(int)
    order = [
        n for n in (*_EFFECTS, "draw", "rounding", "draw and item", "items") if n in rows.index
    ]
    table = rows.loc[order, ["variance", "std", "share", "groups"]]
    return table.rename_axis(index="component")


# ---- cells and their points ----

_SPREAD = ["n", "mean", "std", "low", "high", "items", "items_low", "items_high"]


def _cells(results: Results, model: str | None) -> pd.DataFrame:
    cells = results.cells
    if model is not None:
        cells = cells[cells["model"] == model]
    return cells[(cells["status"] == "done") & ~is_dense(cells)].drop_duplicates("point")


def _by(table: pd.DataFrame, columns: list[str]) -> list[tuple[Any, pd.DataFrame]]:
    """Rows by the values of columns, missing ones too, in the order of the table."""
    keys = table[columns].astype(object)
    keys = keys.where(keys.notna(), "")
    number = keys.groupby(columns, sort=False, observed=True).ngroup() if columns else 0
    return list(table.groupby(number, sort=False)) if columns else [(0, table)]


def _groups(cells: pd.DataFrame, fixed: list[str]) -> Iterable[tuple[str, pd.DataFrame, dict]]:
    """Points that differ in their draw alone, and those that differ in nothing but noise."""
    for _, group in _by(cells, fixed):
        key = group.iloc[0][fixed].to_dict()
        plain = group[perturbation(group) == 0]
        if len(plain) > 1:
            yield "draw", plain, key
        if DRAW not in group:
            continue
        for _, draw in group.groupby(DRAW, sort=False):
            if len(draw) > 1 and (perturbation(draw) > 0).any():
                yield "rounding", draw, key


def _spread(group: pd.DataFrame, name: str, level: float) -> dict[str, float] | None:
    values = group[name].astype(float).dropna()
    if len(values) < 2:
        return None
    mean, std, n = values.mean(), values.std(), len(values)
    half = stats.t.ppf((1 + level) / 2, n - 1) * std / np.sqrt(n)
    row = {"n": n, "mean": mean, "std": std, "low": mean - half, "high": mean + half}
    error = stderr_column(name, group.columns)
    items = np.sqrt((group[error].astype(float) ** 2).mean()) if error else np.nan
    half = stats.norm.ppf((1 + level) / 2) * items
    return row | {"items": items, "items_low": mean - half, "items_high": mean + half}


# ---- components of variance ----

_EFFECTS = ("method", "level", "method and level", "calibration set")


def _points(
    results: Results | pd.DataFrame, score: str, model: str | None
) -> tuple[pd.DataFrame, str]:
    """The compressed points that are done, with the score as y and its standard error."""
    table = results.scores if isinstance(results, Results) else results
    if model is not None:
        table = table[table["model"] == model]
    elif "model" in table and len(set(table["model"])) > 1:
        raise ValueError("several models would mix their levels: give model=")
    if "status" in table:
        table = table[table["status"] == "done"]
    table = table[~is_dense(table)] if "method" in table else table
    logarithm = score.startswith("ln ")
    name = resolve(score.removeprefix("ln "), table)
    values = table[name].astype(float)
    error = stderr_column(name, table.columns)
    table = table.assign(y=np.log(values.where(values > 0)) if logarithm else values)
    if error:
        errors = table[error].astype(float)
        table = table.assign(error=errors / values if logarithm else errors)
    if "calibration" in table:  # methods without calibration data have no draws
        table = table[table["calibration"].astype(str) != ""]
    return table[np.isfinite(table["y"])], "" if logarithm else name


def _labels(table: pd.DataFrame, columns: Iterable[str]) -> pd.Series:
    columns = [c for c in columns if c in table]
    if not columns:
        return pd.Series("", index=table.index)
    texts = table[columns].astype(object)
    return texts.where(texts.notna(), "").astype(str).agg("|".join, axis=1)


def _factors(table: pd.DataFrame) -> pd.DataFrame:
    """Which method, level, calibration set and draw every point is of.

    Whatever else the grid asked for (``Results.axes``) makes another method of a method.
    """
    told = {*_LEVEL, *VARIATIONS, "method", "calibration", "model", "y", "error"}
    axes = table.attrs.get("axes", [c for c in table.columns if "/" not in str(c)])
    others = [c for c in axes if c in table and c not in told]
    factors = pd.DataFrame(index=table.index)
    factors["method"] = _labels(table, ["method", *others])  # group, propagation ...
    factors["level"] = _labels(table, _LEVEL)
    factors["method and level"] = factors["method"] + "|" + factors["level"]
    factors["calibration set"] = factors["method and level"] + "|" + _labels(table, ["calibration"])
    factors["draw"] = factors["calibration set"] + "|" + _labels(table, [DRAW])
    return factors


def _is_estimable(factors: pd.DataFrame, name: str) -> bool:
    """A factor with several values that is not the same as one before it."""
    if factors[name].nunique() < 2:
        return False
    codes = factors[name].factorize()[0].tolist()
    before = _EFFECTS[: _EFFECTS.index(name)]
    return all(factors[other].factorize()[0].tolist() != codes for other in before)


def _rounding(table: pd.DataFrame) -> tuple[float, int] | None:
    """Mean variance of the perturbations of a draw, with the draw itself, and how many draws."""
    if not (perturbation(table) > 0).any():
        return None
    factors = _factors(table)
    found = [
        group["y"].var()
        for _, group in table.groupby(factors["draw"], sort=False)
        if len(group) > 1 and (perturbation(group) > 0).any()
    ]
    return (float(np.mean(found)), len(found)) if found else None


def _paired(
    results: Results, name: str, table: pd.DataFrame, factors: pd.DataFrame
) -> float | None:
    """What single items do in single draws, as a variance of the score; None: it has no items."""
    task = name.rpartition("/")[0]
    if results.main_scores.get(task) != name:
        return None
    items, squares, freedom = item_scores(results, task), 0.0, 0
    for _, group in table.groupby(factors["calibration set"], sort=False):
        scores = items.loc[group.index].to_numpy(float)
        if len(scores) < 2 or not np.isfinite(scores).all():
            continue
        rest = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
        squares += float((rest**2).sum())
        freedom += (scores.shape[0] - 1) * (scores.shape[1] - 1)
    return squares / freedom / items.shape[1] if freedom else None
