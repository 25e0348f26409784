# SPDX-License-Identifier: Apache-2.0
"""Which items a compressed model answers otherwise than the dense one.

An accuracy that stays can hide many answers that changed, in both directions (Dutta et al. 2024).
Both models answer the same items, so changes are counted item by item and tested as pairs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from winnow.results import Results, is_dense
from winnow.statistics import clustered_error


def flips(results: Results, task: str) -> pd.DataFrame:
    """Changed answers of every compressed point of a task, one row each.

    ``right_to_wrong`` and ``wrong_to_right`` count items; ``flips`` is their share of all ``n``,
    ``changed`` that of items with another prediction, from one wrong choice to another included;
    ``net`` is the change in accuracy. ``pvalue`` is McNemar's exact test that both directions are
    equally likely. ``lead_flipped`` and ``lead_kept`` are means of the dense model's lead (see
    ``margins``) over both groups of items: flips come from questions that it found close.

    Raises ValueError for a task whose items have no right answer.
    """
    data = results.task(task)
    if "correct" not in data:
        raise ValueError(f"{task}: its items are not right or wrong")
    correct = data["correct"].transpose("point", "item").to_numpy().astype(float)
    chosen = data["prediction"].to_numpy() if "prediction" in data else None
    leads = lead(data).to_numpy() if "choice_log_likelihood" in data else None
    rows = {}
    for row, dense in _pairs(results, data["point"].to_numpy()):
        both = np.isfinite(correct[row]) & np.isfinite(correct[dense])
        before, after = correct[dense][both] > 0, correct[row][both] > 0
        flipped = before != after
        counts = int((before & ~after).sum()), int((~before & after).sum())
        values = {
            "n": int(both.sum()),
            "right_to_wrong": counts[0],
            "wrong_to_right": counts[1],
            "flips": _mean(flipped),
            "net": (counts[1] - counts[0]) / max(int(both.sum()), 1),
            "pvalue": float(mcnemar(*counts)),
        }
        if chosen is not None:
            values["changed"] = _mean(chosen[row][both] != chosen[dense][both])
        if leads is not None:
            values["lead_flipped"] = _mean(leads[dense][both][flipped])
            values["lead_kept"] = _mean(leads[dense][both][~flipped])
        rows[int(data["point"][row])] = values
    counted = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="point")
    names = [c for c in data.coords if data[c].dims == ("point",)]
    names = [c for c in names if c not in ("point", "status", "compression")]
    about = pd.DataFrame({name: data[name].to_numpy() for name in names}, index=data["point"])
    return about.loc[counted.index].join(counted)


_SHARES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)


def probability_changes(results: Results, text: str | None = None) -> pd.DataFrame:
    """What compression does to the probability of the token that came next, a row per point.

    The Δp that llama.cpp prints: p of the compressed model less p of the dense one, for every
    scored token of ``text`` (the first if not given). ``mean``, ``rms`` (root mean square) with
    their standard errors over windows, and percentiles ``p0.1`` to ``p99.9``: mass far below 0 and
    little above it is knowledge that went, both alike is noise.
    """
    text = text or results.texts[0]
    data = results.tokens(text)
    chances = np.exp(-data["loss"].transpose("point", "token").to_numpy().astype(float))
    windows = data["sequence"].to_numpy() if "sequence" in data.coords else None
    rows = {}
    for row, dense in _pairs(results, data["point"].to_numpy()):
        change = chances[row] - chances[dense]
        change, group = change[np.isfinite(change)], windows
        if windows is not None:
            group = windows[np.isfinite(chances[row] - chances[dense])]
        square = float(np.mean(change**2))
        values = {
            "n": len(change),
            "mean": float(change.mean()),
            "mean_stderr": clustered_error(change, group),
            "rms": square**0.5,
            "rms_stderr": clustered_error(change**2, group) / (2 * square**0.5) if square else 0.0,
        }
        values |= {f"p{q:g}": float(v) for q, v in zip(_SHARES, np.percentile(change, _SHARES))}
        rows[int(data["point"][row])] = values
    counted = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="point")
    return results.points.loc[counted.index, ["key"]].join(counted)


def margins(results: Results, task: str) -> xr.Dataset:
    """How sure every point is of every item: [point, item], in nat.

    ``margin`` is the log-likelihood of the right choice less that of the best wrong one, negative
    where the answer is wrong; ``lead`` is that of the best choice less that of the second.
    """
    data = results.task(task)
    if "choice_log_likelihood" not in data or "gold" not in data.coords:
        raise ValueError(f"{task}: its items have no choices, one of which is right")
    scores = data["choice_log_likelihood"]
    right = xr.DataArray(np.arange(scores.sizes["choice"]), dims="choice") == data["gold"]
    margin = scores.where(right).max("choice") - scores.where(~right).max("choice")
    both = xr.Dataset({"margin": margin, "lead": lead(data)})
    for name, text in (("margin", "right choice less best wrong one"), ("lead", "best two")):
        both[name].attrs = {"units": "nat", "long_name": f"log-likelihood, {text}"}
    return both


def lead(data: xr.Dataset) -> xr.DataArray:
    """The log-likelihood of the best choice less that of the second: [point, item]."""
    scores = data["choice_log_likelihood"].transpose("point", "item", "choice")
    known = np.where(np.isfinite(scores.to_numpy()), scores.to_numpy(), -np.inf)
    ordered = np.sort(known, axis=-1)
    with np.errstate(invalid="ignore"):
        values = ordered[..., -1] - ordered[..., -2]
    return scores.isel(choice=0, drop=True).copy(data=np.where(np.isfinite(values), values, np.nan))


def mcnemar(first: int, second: int) -> float:
    """Exact two-sided p that changes in both directions are equally likely; 1 without changes.

    >>> mcnemar(1, 7), mcnemar(0, 0)
    (0.0703125, 1.0)
    """
    return float(min(1.0, 2 * stats.binom.cdf(min(first, second), first + second, 0.5)))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _pairs(results: Results, points: np.ndarray) -> list[tuple[int, int]]:
    """Rows of compressed points, each with the row of the dense point of its model."""
    about = results.points.loc[points]
    dense = is_dense(about).to_numpy()
    models = about["model"].astype(str).to_numpy()
    row_of = {models[row]: row for row in np.flatnonzero(dense)}
    return [(row, row_of[models[row]]) for row in np.flatnonzero(~dense) if models[row] in row_of]
