# SPDX-License-Identifier: Apache-2.0
"""Corpus scores, BLEU and chrF++, from the counts of their items: intervals by drawing items.

A corpus score is no mean of scores of items, but a function of counts that are added over them,
which results files keep for every item (``bleu_counts``, ``chrf_counts``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from winnow.results import Results

_ORDERS = 4  # of BLEU


def bleu(counts: Any) -> np.ndarray:
    """Corpus BLEU, 0 to 100, of sums of counts [..., 10], smoothed as sacreBLEU does by default."""
    counts = np.asarray(counts, float)
    length, wanted = counts[..., 0], counts[..., 1]
    matches, totals = counts[..., 2 : 2 + _ORDERS], counts[..., 2 + _ORDERS :]
    halved = np.cumsum(matches == 0, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = 100 * np.where(matches > 0, matches, 0.5**halved) / totals
        penalty = np.where(length < wanted, np.exp(1 - wanted / length), 1)
        score = penalty * np.exp(np.log(precisions).mean(axis=-1))
    none = (matches.sum(axis=-1) == 0) | (totals.min(axis=-1) == 0)
    return np.where(none, 0.0, score)


def chrf(counts: Any) -> np.ndarray:
    """Corpus chrF2++, 0 to 100, of sums of counts [..., 24]."""
    triples = np.asarray(counts, float).reshape(*np.shape(counts)[:-1], -1, 3)
    there = (triples[..., 0] > 0) & (triples[..., 1] > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(there, triples[..., 2] / triples[..., k], 0) for k in (0, 1)]
        precision, recall = (part.sum(axis=-1) / orders for part in parts)
        score = 100 * 5 * precision * recall / (4 * precision + recall)
    return np.where(precision + recall > 0, score, 0.0)


_SCORES = {"bleu": bleu, "chrf": chrf}


def corpus_scores(
    results: Results,
    task: str,
    metric: str = "bleu",
    *,
    resamples: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """A corpus score of every point with its bootstrap interval over items (Koehn 2004).

    ``change`` is the score less that of the dense point of the same model, on the same drawn items,
    with its own interval; ``p`` is twice the smaller share of resamples on either side of 0.
    """
    if metric not in _SCORES:
        raise ValueError(f"no corpus metric {metric!r}; there are {', '.join(_SCORES)}")
    with results.task(task) as data:
        if f"{metric}_counts" not in data:
            raise ValueError(f"{results.path}: the task {task} was not scored by {metric}")
        axes = ("point", "item", f"{metric}_count")
        counts = np.asarray(data[f"{metric}_counts"].transpose(*axes).values, float)
        points = np.asarray(data["point"].values)
    counts = counts[:, (counts >= 0).all(axis=(0, 2))]  # items without references have none
    items = counts.shape[1]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(items, np.full(items, 1 / items), size=resamples).astype(float)
    score = _SCORES[metric]
    again = np.stack([score(drawn @ of_point) for of_point in counts])
    models = results.points.loc[points, "model"].astype(str).to_numpy()
    row_of = {m: int(np.flatnonzero(points == results.dense_of(m).name)[0]) for m in set(models)}
    ends = [(1 - level) / 2, (1 + level) / 2]
    rows = []
    for row, point in enumerate(points):
        dense = row_of[models[row]]
        change = again[row] - again[dense]
        below, above = np.mean(change <= 0), np.mean(change >= 0)
        low, high = np.quantile(again[row], ends)
        change_low, change_high = np.quantile(change, ends)
        rows.append(
            {
                "point": point,
                "score": float(score(counts[row].sum(axis=0))),
                "stderr": again[row].std(ddof=1),
                **{"low": low, "high": high},
                "change": float(score(counts[row].sum(axis=0)) - score(counts[dense].sum(axis=0))),
                **{"change_low": change_low, "change_high": change_high},
                "p": np.nan if row == dense else min(1.0, 2 * min(below, above)),
            }
        )
    return pd.DataFrame(rows).set_index("point")
