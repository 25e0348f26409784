# SPDX-License-Identifier: Apache-2.0
"""Whether less error in the layers means a better model.

Allocations that add up layer errors (dynamic programming, greedy ones) take for granted that it
does. It need not: EvoPress (arXiv:2410.14649) shows models that drop strictly more and are better.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from winnow.results import Results, is_dense, resolve, stderr_column
from winnow.searches import candidates, search_names
from winnow.statistics import RESAMPLES, Correlation, correlation

SUM = "error_sum"


@dataclasses.dataclass(frozen=True)
class Monotonicity:
    """What ``monotonicity`` found; prints as one line, and one for each search.

    ``points`` has a row per compressed point: what it is, ``error_sum`` and the score. ``pairs``
    has a row per inverted pair, the largest difference of the score first: ``lower`` has less
    error and is worse than ``higher``; ``sure`` where the difference is more than two standard
    errors of both, taken as independent (they share the text, so it is a careful count).
    """

    score: str
    points: pd.DataFrame
    pairs: pd.DataFrame
    n_pairs: int  # with different sums and scores
    tau: Correlation
    #: A row per search and point: pairs of candidates of one stage, how many of them inverted, tau.
    searches: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)

    @property
    def inverted(self) -> float:
        """Share of the pairs in which the point with less error is worse."""
        return len(self.pairs) / self.n_pairs if self.n_pairs else float("nan")

    def __str__(self) -> str:
        sure = int(self.pairs["sure"].sum())
        lines = [
            f"{len(self.pairs)} of {self.n_pairs} pairs have less layer error and a worse "
            f"{self.score}, {sure} of them beyond two standard errors; {self.tau}"
        ]
        for row in self.searches.itertuples():
            interval = f"{row.tau:.2f} [{row.low:.2f}, {row.high:.2f}]"
            lines.append(
                f"search {row.search}, {row.key}: {row.inverted} of {row.pairs} pairs of "
                f"candidates have less layer error and a worse fitness; τ = "
                + interval.replace("-", "\N{MINUS SIGN}")
            )
        return "\n".join(lines)


def layer_error_sums(results: Results) -> pd.Series:
    """The sum over all linears of their relative squared output errors, one per point.

    Each is ||X (W - W')^T||^2 / ||X W^T||^2 on the reference sample with dense inputs: the error
    that SPDY and EvoPress sum for dynamic programming; 1 of a linear that is left out. NaN where a
    linear has none. The file has it as ``error_sum``, unless it is an old one.
    """
    scores = results.scores
    if SUM in scores:
        return scores.loc[scores["status"] == "done", SUM].astype(float)
    with results.dataset("weights") as data:
        errors = data["output_error"].transpose("point", "block", "linear").to_numpy()
        points = data["point"].to_numpy()
    return pd.Series((errors.astype(float) ** 2).sum(axis=(1, 2)), index=points, name=SUM)


def monotonicity(
    results: Results,
    score: str = "kl",
    *,
    model: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Monotonicity:
    """Compare the sum of layer errors of every two compressed points with their end-to-end score.

    ``score`` is a column, or a short name, for which less is better: a divergence, a perplexity.
    Kendall's tau has the interval of ``winnow.correlation``: 1 would be monotone. All points of
    the file count, whatever their method: give a file, or ``model``, of one question.

    Of searches all candidates count that a stage of a generation judged on the same tokens, against
    each other, by the fitness of the search: tau is (concordant - inverted) / pairs over all of
    them, and its interval that of a bootstrap over generations.
    """
    scores = results.scores
    column = resolve(score, scores)
    if model is not None:
        scores = scores[scores["model"] == model]
    scores = scores.drop(columns=SUM, errors="ignore").join(layer_error_sums(results))
    keep = ~is_dense(scores) & np.isfinite(scores[SUM]) & np.isfinite(scores[column])
    points = scores[keep]
    if len(points) < 2:
        raise ValueError(
            f"{results.path}: fewer than two compressed points with {column} to compare"
        )
    tau = correlation(
        points, SUM, column, "kendall", model=model, resamples=resamples, level=level, seed=seed
    )
    about = [c for c in results.cells.columns if c in points and "/" not in c and c != "reason"]
    error = stderr_column(column, points)
    kept = list(dict.fromkeys([*about, "key", SUM, column, *([error] if error else [])]))
    pairs, n_pairs = _pairs(points, column, error)
    searched = _searches(results, model, (resamples, level, seed))
    return Monotonicity(column, points[kept], pairs, n_pairs, tau, searched)


def _searches(results: Results, model: str | None, options: tuple[int, float, int]) -> pd.DataFrame:
    """A row for every search and point that has candidates with different sums."""
    points = results.points
    keys = set(points.loc[points["model"] == model, "key"] if model else points["key"])
    rows = []
    files = getattr(results, "files", [results])
    for file, name in ((f, n) for f in files for n in search_names(f)):
        table = candidates(file, name)
        for key, group in table[table["key"].isin(keys)].groupby("key", sort=False):
            counts = np.array([_count(judged) for _, judged in group.groupby("generation")])
            if counts.sum():
                rows.append({"search": name, "key": key} | _pooled(counts, *options))
    names = ["search", "key", "pairs", "inverted", "tau", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def searched_taus(results: Results, search: str) -> dict[str, str]:
    """Tau with its interval in words, of every point of a search that has any."""
    table = _searches(results, None, (RESAMPLES, 0.95, 0))
    rows = table[table["search"] == search]
    return {r.key: _minus(f"{r.tau:.2f} [{r.low:.2f}, {r.high:.2f}]") for r in rows.itertuples()}


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _count(generation: pd.DataFrame) -> tuple[int, int]:
    """Concordant and inverted pairs of candidates that were judged together."""
    concordant = inverted = 0
    for _, stage in generation.groupby("stage"):
        errors, fitness = stage["error_sum"].to_numpy(), stage["fitness"].to_numpy()
        first, second = np.triu_indices(len(stage), 1)
        less, worse = errors[first] - errors[second], fitness[first] - fitness[second]
        product = np.sign(less) * np.sign(worse)
        concordant += int((product > 0).sum())
        inverted += int((product < 0).sum())
    return concordant, inverted


def _pooled(counts: np.ndarray, resamples: int, level: float, seed: int) -> dict[str, float]:
    """Tau over all pairs, from [generation, (concordant, inverted)]."""
    concordant, inverted = counts.sum(axis=0)
    drawn = np.random.default_rng(seed).integers(0, len(counts), (resamples, len(counts)))
    sums = counts[drawn].sum(axis=1)
    taus = (sums[:, 0] - sums[:, 1]) / np.maximum(sums.sum(axis=1), 1)
    low, high = np.quantile(taus, [(1 - level) / 2, (1 + level) / 2])
    pairs = int(concordant + inverted)
    tau = (concordant - inverted) / pairs
    return {"pairs": pairs, "inverted": int(inverted), "tau": tau, "low": low, "high": high}


def _pairs(points: pd.DataFrame, column: str, error: str | None) -> tuple[pd.DataFrame, int]:
    """Inverted pairs, and how many pairs differ in both."""
    sums, values = points[SUM].to_numpy(float), points[column].to_numpy(float)
    spread = points[error].to_numpy(float) if error else np.full(len(points), np.nan)
    first, second = np.triu_indices(len(points), 1)
    product = np.sign(sums[first] - sums[second]) * np.sign(values[first] - values[second])
    first, second = first[product < 0], second[product < 0]
    swap = sums[first] > sums[second]
    lower, higher = np.where(swap, second, first), np.where(swap, first, second)
    worse = values[lower] - values[higher]
    number = points.index.to_numpy()
    pairs = pd.DataFrame(
        {
            "lower": number[lower],
            "higher": number[higher],
            "error_lower": sums[lower],
            "error_higher": sums[higher],
            "score_lower": values[lower],
            "score_higher": values[higher],
            "difference": worse,
            "sure": worse > 2 * np.hypot(spread[lower], spread[higher]),
        }
    )
    pairs = pairs.sort_values("difference", ascending=False, kind="stable", ignore_index=True)
    return pairs, int((product != 0).sum())
