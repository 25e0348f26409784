"""Whether less error in the layers means a better model.

Allocations that add up layer errors (dynamic programming, greedy ones) take for granted that it
does. It need not: EvoPress (arXiv:2410.14649) shows models that drop strictly more and are better.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from winnow.results import Results, is_dense, resolve, stderr_column
from winnow.statistics import RESAMPLES, Correlation, correlation

SUM = "error_sum"


@dataclasses.dataclass(frozen=True)
class Monotonicity:
    """What ``monotonicity`` found; prints as one line.

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

    @property
    def inverted(self) -> float:
        """Share of the pairs in which the point with less error is worse."""
        return len(self.pairs) / self.n_pairs if self.n_pairs else float("nan")

    def __str__(self) -> str:
        sure = int(self.pairs["sure"].sum())
        return (
            f"{len(self.pairs)} of {self.n_pairs} pairs have less layer error and a worse "
            f"{self.score}, {sure} of them beyond two standard errors; {self.tau}"
        )


def layer_error_sums(results: Results) -> pd.Series:
    """The sum over all linears of their relative squared output errors, one per point.

    Each is ||X (W - W')^T||^2 / ||X W^T||^2 on the reference sample with dense inputs: the error
    that SPDY and EvoPress sum for dynamic programming. NaN where a linear has none.
    """
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
    """
    scores = results.scores
    column = resolve(score, scores.columns)
    if model is not None:
        scores = scores[scores["model"] == model]
    scores = scores.join(layer_error_sums(results))
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
    return Monotonicity(column, points[kept], pairs, n_pairs, tau)


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
