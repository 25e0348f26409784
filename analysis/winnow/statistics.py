# SPDX-License-Identifier: Apache-2.0
"""How well a score that needs no task (perplexity, a divergence) tells what tasks will say.

Points are not independent: those that differ only in calibration, propagation or grouping move
together. So intervals come from a bootstrap that draws whole clusters, a cluster being all points
of one method, sparsity and width. p values are the textbook ones for independent points: where
they and the interval disagree, believe the interval.

Neither carries the noise of the test items, which all points share: a task that the dense model
itself only guesses at can correlate with anything. Look at ``Results.dense`` first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from winnow.results import Results, is_dense, resolve

METHODS = ("spearman", "pearson", "kendall")
RESAMPLES = 10_000
_CLUSTER = ("method", "sparsity", "bits")
_FEWEST_CLUSTERS = 5  # with fewer, percentiles of resamples mean nothing
_BLOCK = 500  # resamples computed at once


@dataclasses.dataclass(frozen=True)
class Correlation:
    """A coefficient with its percentile interval (NaN where points do not suffice for one)."""

    x: str
    y: str
    method: str
    rho: float
    low: float
    high: float
    n: int
    clusters: int
    pvalue: float

    def __str__(self) -> str:
        sign = {"spearman": "ρ", "pearson": "r", "kendall": "τ"}[self.method]
        if np.isnan(self.rho):
            return f"{sign} undefined, n = {self.n}"
        interval = f" [{self.low:.2f}, {self.high:.2f}]" if np.isfinite(self.low) else ""
        text = f"{sign} = {self.rho:.2f}{interval}, n = {self.n}"
        return text.replace("-", "\N{MINUS SIGN}")


def correlation(
    results: Results | pd.DataFrame,
    x: str,
    y: str,
    method: str = "spearman",
    by: str | None = None,
    zone: float | None = None,
    *,
    model: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Correlation | pd.DataFrame:
    """Correlate two scores over the compressed points that are done.

    ``x`` and ``y`` are columns of ``results.scores`` or short names of them ("js", "facts"); "ln "
    before a name takes the logarithm, as Pearson's r of a perplexity should. ``zone`` keeps only
    points whose perplexity is less than so many times the dense one: the correlation over all
    points is driven by those that collapsed. The dense model itself is no point here.

    With ``by``, usually "method", returns a table instead: a row for each group, "pooled" over all
    points, "within" (centred per group, which removes the groups' different levels) and "between"
    (of the group means). They can have different signs: look at all of them.
    """
    _check(method, resamples, level)
    points = _select(results, [x, y], model, zone, by)
    draw = _Draw(points, resamples, level, seed)
    ranks = [points["x"], points["y"]]
    names = (_name(points, 0), _name(points, 1))
    if by is None:
        return draw.estimate(names, *ranks, method)
    if by not in points:
        raise KeyError(f"by: no column {by!r}; known: {', '.join(map(str, points.columns))}")
    rows = {"pooled": draw.estimate(names, *ranks, method)}
    if method != "kendall":  # has no linear form to centre
        rows["within"] = draw.estimate(names, *ranks, method, groups=points[by])
    means = points.assign(x=_rank(ranks[0], method), y=_rank(ranks[1], method))
    means = means.groupby(by, observed=True)[["x", "y"]].mean()
    rho, pvalue = _coefficient(means["x"], means["y"], method)
    nan = float("nan")
    rows["between"] = Correlation(*names, method, rho, nan, nan, len(means), len(means), pvalue)
    for name, group in points.groupby(by, observed=True):
        part = _Draw(group, resamples, level, seed)
        rows[str(name)] = part.estimate(names, group["x"], group["y"], method)
    table = pd.DataFrame([dataclasses.asdict(r) for r in rows.values()], index=list(rows))
    return table.rename_axis(index=by)


def compare(
    results: Results | pd.DataFrame,
    x: tuple[str, str],
    y: str,
    method: str = "spearman",
    zone: float | None = None,
    *,
    model: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> pd.Series:
    """Which of two scores tells more about ``y``: |rho of the first| - |rho of the second|.

    Both are computed on the same resamples, so the interval is that of the paired difference.
    """
    _check(method, resamples, level)
    first, second = x
    points = _select(results, [first, second, y], model, zone, None)
    draw = _Draw(points, resamples, level, seed)
    columns = [points[c].to_numpy(float) for c in ("x", "y", "z")]
    strength = [np.abs(draw.resampled(c, columns[2], method)) for c in columns[:2]]
    point = [abs(_coefficient(c, columns[2], method)[0]) for c in columns[:2]]
    low, high = draw.interval(strength[0] - strength[1])
    return pd.Series(
        {
            "first": point[0],
            "second": point[1],
            "difference": point[0] - point[1],
            "low": low,
            "high": high,
            "n": len(points),
        },
        name=f"{_name(points, 0)} or {_name(points, 1)} for {_name(points, 2)}",
    )


def relative(results: Results, score: str | None = None) -> pd.DataFrame:
    """The cells with what is left of the dense model, one column per text and task.

    ``TEXT/perplexity`` is the ratio to the dense perplexity; ``TASK/acc``, or what else the main
    metric of a task is (``score``: this one), is (score - chance) / (dense score - chance): 1 as
    good as dense, 0 guessing. A task that the dense model cannot do
    itself (not two standard errors above chance) is left out: there is nothing to lose.
    """
    cells = results.cells
    axes = [c for c in results.points.columns if c in cells and c != "reason"]
    left = cells[["point", *axes]].copy()
    for model in results.models:
        rows, dense = cells["model"] == model, results.dense_of(model)
        for text in results.texts:
            name = f"{text}/perplexity"
            left.loc[rows, name] = cells.loc[rows, name] / dense[name]
        for task, main in results.main_scores.items():
            name, chance = f"{task}/{score}" if score else main, results.chance(task, score)
            if dense[name] - chance > 2 * dense[f"{name}_stderr"]:
                left.loc[rows, name] = (cells.loc[rows, name] - chance) / (dense[name] - chance)
    return left


# ---- selecting points ----


def clustered_error(values: np.ndarray, groups: np.ndarray | None) -> float:
    """Standard error of a mean whose values hang together inside groups; NaN of one group."""
    if groups is None:
        groups = np.arange(len(values))
    sums = pd.Series(values - values.mean()).groupby(groups).sum().to_numpy()
    n = len(sums)
    return float(np.sqrt(n / (n - 1) * (sums**2).sum()) / len(values)) if n > 1 else float("nan")


def _check(method: str, resamples: int, level: float) -> None:
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, not {method!r}")
    if resamples < 100 or not 0 < level < 1:
        raise ValueError("resamples: expected at least 100; level: expected between 0 and 1")


def _select(
    results: Results | pd.DataFrame,
    names: list[str],
    model: str | None,
    zone: float | None,
    by: str | None,
) -> pd.DataFrame:
    """Compressed points of one model with finite values, as the columns x, y and z."""
    scores = results.scores if isinstance(results, Results) else results
    if model is not None:
        scores = scores[scores["model"] == model]
    elif "model" in scores and len(scores["model"].unique()) > 1 and by != "model":
        known = ", ".join(map(str, scores["model"].unique()))
        raise ValueError(f"several models would mix their levels: give model= one of {known}")
    scores = scores[scores["status"] == "done"] if "status" in scores else scores
    points = scores.copy()
    labels = []
    for column, name in zip("xyz", names):
        source = resolve(name[3:] if name.startswith("ln ") else name, scores)
        values = scores[source].astype(float)
        points[column] = np.log(values.where(values > 0)) if name.startswith("ln ") else values
        labels.append(f"ln {source}" if name.startswith("ln ") else source)
    keep = np.isfinite(points[list("xyz"[: len(names)])]).all(axis=1)
    if "method" in points:
        keep &= ~is_dense(points)
    if zone is not None:
        keep &= _ratio(scores, names) < zone
    points = points[keep]
    points.attrs["labels"] = labels
    return points


def _name(points: pd.DataFrame, index: int) -> str:
    return points.attrs["labels"][index]


def _ratio(scores: pd.DataFrame, names: list[str]) -> pd.Series:
    """Perplexity as a multiple of the same model's dense one, on the text of the first name."""
    text = resolve(names[0].removeprefix("ln "), scores).rpartition("/")[0]
    column = f"{text}/perplexity"
    if column not in scores:
        column = resolve("perplexity", scores)
    dense = scores[is_dense(scores)].set_index("model")[column]
    return scores[column] / scores["model"].astype(object).map(dense).astype(float)


# ---- coefficients ----


def _rank(values: Any, method: str) -> np.ndarray:
    values = np.asarray(values, float)
    return stats.rankdata(values) if method == "spearman" else values


def _coefficient(x: Any, y: Any, method: str) -> tuple[float, float]:
    """Coefficient and p value; NaN where a variable is constant or points are fewer than three."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    function = {"spearman": stats.spearmanr, "pearson": stats.pearsonr, "kendall": stats.kendalltau}
    rho, pvalue = function[method](x, y)
    return float(rho), float(pvalue)


def _t_pvalue(rho: float, freedom: int) -> float:
    """Two-sided p of a coefficient with so many degrees of freedom."""
    if freedom <= 0 or not abs(rho) < 1:
        return float("nan")
    t = rho * np.sqrt(freedom / (1 - rho * rho))
    return float(2 * stats.t.sf(abs(t), freedom))


def _below(values: np.ndarray) -> np.ndarray:
    """Whether points lie below others, a half for equals: weights times its transpose are ranks."""
    return (values[None, :] < values[:, None]) + 0.5 * (values[None, :] == values[:, None])


def _centred(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return values - pd.Series(values).groupby(groups).transform("mean").to_numpy()


class _Draw:
    """Resamples of whole clusters: how often each was drawn, [resample, cluster].

    These numbers weigh the points, and coefficients of all resamples follow by matrix products,
    ranks too: a point's rank among those drawn is the weight below it plus half that of its equals.
    """

    def __init__(self, points: pd.DataFrame, resamples: int, level: float, seed: int) -> None:
        columns = [c for c in (*_CLUSTER, "model") if c in points]
        labels = points[columns].astype(object).fillna("") if columns else points.index.to_frame()
        self.cluster = labels.groupby(list(labels.columns), sort=False).ngroup().to_numpy()
        self.clusters = int(self.cluster.max()) + 1 if len(points) else 0
        self.n, self.level = len(points), level
        rng = np.random.default_rng(seed)
        share = np.full(max(self.clusters, 1), 1 / max(self.clusters, 1))
        self.drawn = rng.multinomial(self.clusters, share, size=resamples)

    def estimate(
        self, names: tuple[str, str], x: pd.Series, y: pd.Series, method: str, groups: Any = None
    ) -> Correlation:
        x, y = x.to_numpy(float), y.to_numpy(float)
        codes = None
        if groups is None:
            rho, pvalue = _coefficient(x, y, method)
        else:
            codes = pd.factorize(np.asarray(groups, dtype=object))[0]
            ranks = (_centred(_rank(v, method), codes) for v in (x, y))
            rho, _ = _coefficient(*ranks, "pearson")
            pvalue = _t_pvalue(rho, self.n - 1 - len(np.unique(codes)))
        low = high = float("nan")
        if self.clusters >= _FEWEST_CLUSTERS and not np.isnan(rho):
            low, high = self.interval(self.resampled(x, y, method, codes))
        return Correlation(*names, method, rho, low, high, self.n, self.clusters, pvalue)

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Percentiles; a resample with a constant variable has no coefficient and is left out."""
        tail = 50 * (1 - self.level)
        if np.isnan(values).all():
            return float("nan"), float("nan")
        low, high = np.nanpercentile(values, [tail, 100 - tail])
        return float(low), float(high)

    def weights(self, start: int, stop: int) -> np.ndarray:
        """How often each point is in some resamples: [resample, point]."""
        return self.drawn[start:stop][:, self.cluster].astype(float)

    def resampled(
        self, x: np.ndarray, y: np.ndarray, method: str, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Coefficients of all resamples."""
        compute = _kendall(x, y) if method == "kendall" else _linear(x, y, method, groups)
        starts = range(0, len(self.drawn), _BLOCK)
        return np.concatenate([compute(self.weights(i, i + _BLOCK)) for i in starts])


def _kendall(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Tau-b from weights: pairs that agree less those that do not, over the untied ones."""
    sx, sy = (np.sign(v[:, None] - v[None, :]) for v in (x, y))
    pairs = (sx * sy, abs(sx), abs(sy))

    def compute(w: np.ndarray) -> np.ndarray:
        agree, untied_x, untied_y = (np.einsum("bi,bi->b", w @ p, w) for p in pairs)
        return _ratio_or_nan(agree, untied_x * untied_y)

    return compute


def _linear(
    x: np.ndarray, y: np.ndarray, method: str, groups: np.ndarray | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Pearson's r of values or ranks from weights, centred over all points or in each group."""
    if method == "spearman":
        below = [_below(v) for v in (x, y)]

    def compute(w: np.ndarray) -> np.ndarray:
        columns = [x, y] if method == "pearson" else [w @ b.T for b in below]
        columns = [_centre(w, np.broadcast_to(c, w.shape), groups) for c in columns]
        xy, xx, yy = ((w * columns[i] * columns[j]).sum(1) for i, j in ((0, 1), (0, 0), (1, 1)))
        return _ratio_or_nan(xy, xx * yy)

    return compute


def _centre(w: np.ndarray, values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Values less their weighted mean, of all points or of each group."""
    member = np.ones((values.shape[1], 1))
    if groups is not None:
        member = (groups[:, None] == np.unique(groups)[None, :]).astype(float)
    total = np.maximum(w @ member, 1e-300)
    return values - ((w * values) @ member / total) @ member.T


def _ratio_or_nan(product: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Divide product / sqrt(squares); NaN where rounding is all that is left of a spread."""
    good = squares > 1e-18
    return np.where(good, product / np.sqrt(np.where(good, squares, 1)), np.nan)
