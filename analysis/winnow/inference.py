# SPDX-License-Identifier: Apache-2.0
"""Many correlations at once, what is left of one when others are held fixed, and noise of items.

Like ``winnow.statistics``: points come in clusters (one method, sparsity and width), and whole
clusters are drawn. p values here are those of that bootstrap, not of independent points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from winnow.results import Results, is_dense, resolve
from winnow.statistics import (
    _BLOCK,
    _FEWEST_CLUSTERS,
    RESAMPLES,
    Correlation,
    _below,
    _centre,
    _check,
    _coefficient,
    _Draw,
    _linear,
    _name,
    _rank,
    _ratio_or_nan,
    _select,
    _t_pvalue,
    clustered_error,
)
from winnow.survival import item_scores

# ---- many tests ----


def holm(pvalues: Sequence[float]) -> np.ndarray:
    """P values adjusted by Holm (1979): one of them below alpha is one wrong claim in 1 / alpha.

    NaN stays NaN and counts as no test.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    return _adjust(pvalues, lambda p, m, rank: p * (m - rank), np.maximum.accumulate)


def benjamini_hochberg(pvalues: Sequence[float]) -> np.ndarray:
    """P values adjusted by Benjamini and Hochberg (1995): the share of wrong claims among all.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """

    def from_the_end(values: np.ndarray) -> np.ndarray:
        return np.minimum.accumulate(values[::-1])[::-1]

    return _adjust(pvalues, lambda p, m, rank: p * m / (rank + 1), from_the_end)


def _adjust(pvalues: Sequence[float], scale: Any, accumulate: Any) -> np.ndarray:
    p = np.asarray(pvalues, float)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    if len(known):
        order = known[np.argsort(p[known], kind="stable")]
        values = scale(p[order], len(order), np.arange(len(order)))
        adjusted[order] = np.minimum(accumulate(values), 1)
    return adjusted


def correlations(
    results: Results,
    x: Sequence[str] | None = None,
    y: Sequence[str] | None = None,
    method: str = "spearman",
    *,
    zone: float | None = None,
    model: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Every predictor against every task: one row each, with p values adjusted for all of them.

    ``x`` is ``results.predictors`` and ``y`` the main scores of the tasks if not given. ``p`` is
    that of the bootstrap over clusters (twice the smaller share of resamples on either side of 0);
    ``holm`` and ``bh`` are adjusted over the rows. Rows with fewer than five clusters have none.
    """
    _check(method, resamples, level)
    rows = []
    for task in y if y is not None else results.main_scores.values():
        for predictor in x if x is not None else results.predictors:
            points = _select(results, [predictor, task], model, zone, None)
            draw = _Draw(points, resamples, level, seed)
            names = (_name(points, 0), _name(points, 1))
            row = draw.estimate(names, points["x"], points["y"], method)
            p = np.nan
            if np.isfinite(row.low):
                values = points["x"].to_numpy(float), points["y"].to_numpy(float)
                p = two_sided(draw.resampled(*values, method))
            rows.append({**dataclasses.asdict(row), "pvalue": p})
    table = pd.DataFrame(rows).rename(columns={"pvalue": "p"})
    if len(table):
        table["holm"], table["bh"] = holm(table["p"]), benjamini_hochberg(table["p"])
    return table


def two_sided(values: np.ndarray) -> float:
    """The p value of draws of a statistic that is 0 when there is nothing."""
    values = values[np.isfinite(values)]
    below, above = (values <= 0).sum(), (values >= 0).sum()
    return float(min(1.0, 2 * (min(below, above) + 1) / (len(values) + 1)))


# ---- with others held fixed ----


def partial(
    results: Results | pd.DataFrame,
    x: str,
    y: str,
    given: Sequence[str] | str,
    method: str = "spearman",
    *,
    zone: float | None = None,
    model: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Correlation:
    """The correlation of what the columns ``given`` do not explain: sparsity, bits, any score.

    Of ranks (``spearman``) or values (``pearson``), residuals of a linear fit on all of ``given``
    together. A pruned point has the dense model's bits, a quantized one sparsity 0. The interval
    comes from the bootstrap over clusters, each resample with its own fit.
    """
    _check(method, resamples, level)
    if method == "kendall":
        raise ValueError("method: a partial correlation is of ranks or values: spearman or pearson")
    names = [given] if isinstance(given, str) else list(given)
    points = _select(results, [x, y], model, zone, None)
    points, controls = _controls(results, points, names)
    draw = _Draw(points, resamples, level, seed)
    columns = [points["x"].to_numpy(float), points["y"].to_numpy(float), *controls]
    rho = float(_partial(columns, np.ones((1, len(points))), method)[0])
    low = high = float("nan")
    pvalue = _t_pvalue(rho, draw.n - 2 - len(controls))
    if draw.clusters >= _FEWEST_CLUSTERS and np.isfinite(rho):
        starts = range(0, len(draw.drawn), _BLOCK)
        parts = [_partial(columns, draw.weights(i, i + _BLOCK), method) for i in starts]
        low, high = draw.interval(np.concatenate(parts))
    label = f"{_name(points, 0)} given {', '.join(names)}"
    return Correlation(
        label, _name(points, 1), method, rho, low, high, draw.n, draw.clusters, pvalue
    )


def _controls(
    results: Results | pd.DataFrame, points: pd.DataFrame, names: list[str]
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The columns to be held fixed, and the points that have all of them."""
    table = results.scores if isinstance(results, Results) else results
    scores, columns = table.loc[points.index], []
    for name in names:
        column = resolve(name, scores)
        values = scores[column].astype(float)
        if name == "sparsity":
            values = values.fillna(0)
        if name == "bits":
            dense = table[is_dense(table)]
            bits = dense.set_index("model")["bits_per_weight_nominal"]
            values = values.fillna(scores["model"].astype(object).map(bits).astype(float))
        columns.append(values.to_numpy(float))
    known = np.isfinite(np.array(columns).reshape(len(columns), len(points))).all(axis=0)
    labels = points.attrs["labels"]
    points = points[known]
    points.attrs["labels"] = labels
    return points, [c[known] for c in columns]


def _partial(columns: list[np.ndarray], weights: np.ndarray, method: str) -> np.ndarray:
    """Partial correlations of the first two columns: one per row of weights."""
    columns = [weights @ _below(c).T for c in columns] if method == "spearman" else columns
    columns = [_centre(weights, np.broadcast_to(c, weights.shape), None) for c in columns]
    data = np.stack(columns, axis=1)  # [resample, column, point]
    w = weights[:, None, :]
    products = np.einsum("rip,rjp->rij", w * data, data)
    xy, xx, yy = products[:, :2, :2], products[:, :2, 2:], products[:, 2:, 2:]
    left = xy - xx @ np.linalg.pinv(yy, hermitian=True) @ xx.transpose(0, 2, 1)
    scale = products[:, 0, 0] * products[:, 1, 1]
    squares = left[:, 0, 0] * left[:, 1, 1]
    squares = np.where(squares > 1e-20 * scale, squares, 0)  # all of it is explained
    return _ratio_or_nan(left[:, 0, 1], squares)


# ---- two correlations that share a variable ----


def williams(r_xy: float, r_zy: float, r_xz: float, n: int) -> tuple[float, float]:
    """Williams's t for r_xy against r_zy in one sample, with its p (Steiger 1980, equation 7).

    >>> t, p = williams(0.5, 0.3, 0.4, 103)
    >>> f"{t:.3f} {p:.4f}"
    '2.097 0.0385'
    """
    determinant = 1 - r_xy**2 - r_zy**2 - r_xz**2 + 2 * r_xy * r_zy * r_xz
    mean = (r_xy + r_zy) / 2
    below = 2 * determinant * (n - 1) / (n - 3) + mean**2 * (1 - r_xz) ** 3
    if n < 4 or below <= 0:
        return float("nan"), float("nan")
    t = (r_xy - r_zy) * np.sqrt((n - 1) * (1 + r_xz) / below)
    return float(t), float(2 * stats.t.sf(abs(t), n - 3))


def steiger(r_xy: float, r_zy: float, r_xz: float, n: int) -> tuple[float, float]:
    """Steiger's z for the same with Fisher's transformation (1980, equation 14), with its p."""
    if n < 4 or max(abs(r_xy), abs(r_zy)) >= 1:
        return float("nan"), float("nan")
    mean = (r_xy + r_zy) / 2
    psi = r_xz * (1 - 2 * mean**2) - mean**2 * (1 - 2 * mean**2 - r_xz**2) / 2
    covariance = psi / (1 - mean**2) ** 2
    if covariance >= 1:
        return float("nan"), float("nan")
    z = (np.arctanh(r_xy) - np.arctanh(r_zy)) * np.sqrt((n - 3) / (2 - 2 * covariance))
    return float(z), float(2 * stats.norm.sf(abs(z)))


def dependent(
    results: Results | pd.DataFrame,
    x: tuple[str, str],
    y: str,
    method: str = "spearman",
    *,
    zone: float | None = None,
    model: str | None = None,
) -> pd.Series:
    """Williams's and Steiger's tests of whether two scores tell equally much about ``y``.

    Signs are turned so that both correlations are positive, as ``winnow.compare`` takes strengths.
    Both take points as independent: ``compare`` has the interval that does not.
    """
    first, second = x
    points = _select(results, [first, second, y], model, zone, None)
    columns = [_rank(points[c], method) for c in "xyz"]
    signs = [np.sign(_coefficient(c, columns[2], "pearson")[0]) for c in columns[:2]]
    a, b = (s * c for s, c in zip(signs, columns))
    r = [_coefficient(*pair, "pearson")[0] for pair in ((a, columns[2]), (b, columns[2]), (a, b))]
    t, t_p = williams(*r, len(points))
    z, z_p = steiger(*r, len(points))
    return pd.Series(
        {"first": r[0], "second": r[1], "between": r[2], "n": len(points),
         "williams_t": t, "williams_p": t_p, "steiger_z": z, "steiger_p": z_p},
        name=f"{_name(points, 0)} or {_name(points, 1)} for {_name(points, 2)}",
    )  # fmt: skip


# ---- the noise of items ----


def with_items(
    results: Results,
    x: str,
    task: str,
    method: str = "spearman",
    *,
    zone: float | None = None,
    model: str | None = None,
    resamples: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.Series:
    """A correlation with a task whose interval also has the noise of its items.

    Two levels: every resample draws clusters of points, and items of the task, the same for all
    points. ``reliability`` is the share of the spread of scores over points that another draw of
    items would show again, and ``corrected`` is rho over its root (Spearman's correction for
    attenuation, by the noise of the task alone): what a task of endless items would give.
    """
    _check(method, resamples, level)
    name = results.main_score(task)
    points = _select(results, [x, name], model, zone, None)
    items = item_scores(results, task).loc[points.index].to_numpy(float)
    kept = np.isfinite(items).all(axis=0)
    items = items[:, kept]
    draw = _Draw(points, resamples, level, seed)
    values = points["x"].to_numpy(float)
    rho = draw.estimate((_name(points, 0), name), points["x"], points["y"], method)
    rng = np.random.default_rng([seed, 1])
    count = items.shape[1]
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    again = np.array(
        [
            _linear(values, items @ drawn[i], method, None)(draw.weights(i, i + 1))[0]
            for i in range(resamples if draw.clusters >= _FEWEST_CLUSTERS else 0)
        ]
    )
    low, high = draw.interval(again) if len(again) else (np.nan, np.nan)
    noise = items.var(axis=1, ddof=1).mean() / count if count > 1 else np.nan
    spread = items.mean(axis=1).var(ddof=1) if len(items) > 1 else np.nan
    reliability = max(0.0, 1 - noise / spread) if spread > 0 else np.nan
    corrected = rho.rho / np.sqrt(reliability) if reliability > 0 else np.nan
    return pd.Series(
        {"rho": rho.rho, "low": low, "high": high, "low_points": rho.low, "high_points": rho.high,
         "n": rho.n, "clusters": rho.clusters, "items": count, "reliability": reliability,
         "corrected": float(np.clip(corrected, -1, 1))},
        name=f"{_name(points, 0)} and {name}",
    )  # fmt: skip


def perplexity_ratio(
    results: Results, text: str | None = None, model: str | None = None
) -> pd.DataFrame:
    """Perplexity of every compressed point over that of the dense model, with its error.

    Both predict the same tokens, so the error is that of the mean difference of their losses over
    windows (or sequences): much smaller than the errors of the two perplexities.
    """
    text = text or results.texts[0]
    data = results.tokens(text)
    losses = data["loss"].transpose("point", "token").to_numpy().astype(float)
    numbers = list(data["point"].to_numpy())
    sequence = (
        data["sequence"].to_numpy() if "sequence" in data.coords else np.arange(losses.shape[1])
    )
    rows = {}
    for name in [model] if model else results.models:
        dense = int(results.dense_of(name).name)
        if dense not in numbers:
            raise ValueError(f"{results.path}: the dense model is not evaluated yet")
        for number, owner in zip(numbers, results.scores.loc[numbers, "model"]):
            if owner != name or number == dense:
                continue
            difference = losses[numbers.index(number)] - losses[numbers.index(dense)]
            rows[number] = _log_ratio(difference, sequence)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="point")


def _log_ratio(difference: np.ndarray, sequence: np.ndarray) -> dict[str, float]:
    """The ratio and its error, from differences of losses that come in sequences."""
    known = np.isfinite(difference)
    difference, sequence = difference[known], sequence[known]
    mean, error = difference.mean(), clustered_error(difference, sequence)
    ratio = float(np.exp(mean))
    row = {"ratio": ratio, "stderr": ratio * error, "log_ratio": float(mean)}
    return row | {"log_stderr": error, "sequences": len(np.unique(sequence))}
