# SPDX-License-Identifier: Apache-2.0
"""Corpus scores from counts, beside sacrebleu, and their bootstrap over items."""

import random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import winnow
from winnow.corpora import bleu, chrf

WORDS = ["the", "a", "model", "runs", "sparse", "pruned", "weights,", "layer.", "of", "and", "in"]
WORDS += ["1,000", "it's", "(not)"]


def texts(draw, count):
    references = [" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(count)]
    kept = [[w for w in text.split() if draw.random() < 0.8] for text in references]
    return references, [" ".join(words) for words in kept]


def test_scores_beside_sacrebleu():
    metrics = pytest.importorskip("sacrebleu.metrics")
    scorers = ((bleu, metrics.BLEU(force=True)), (chrf, metrics.CHRF(word_order=2)))
    draw = random.Random(0)
    for count in (1, 2, 5, 20) * 10:
        references, predictions = texts(draw, count)
        for ours, theirs in scorers:
            stats = np.array(theirs._extract_corpus_statistics(predictions, [references]))
            expected = theirs.corpus_score(predictions, [references]).score
            assert ours(stats.sum(axis=0)) == pytest.approx(expected, abs=1e-9)
            assert ours(stats[:, None]).shape == (count, 1)


def study(counts):
    names = ("point", "item", "bleu_count")
    data = xr.Dataset({"bleu_counts": (names, counts)}, {"point": np.arange(len(counts))})
    points = pd.DataFrame({"model": ["m"] * len(counts)})
    return SimpleNamespace(
        path="r.h5", points=points, task=lambda _: data, dense_of=lambda _: points.loc[0]
    )


def test_intervals():
    rng = np.random.default_rng(1)
    matches = rng.integers(1, [9, 8, 7, 6], size=(2, 200, 4))
    totals = np.broadcast_to([9, 8, 7, 6], matches.shape)
    lengths = np.full((2, 200, 2), 9)
    counts = np.concatenate(
        [lengths, np.stack([matches[0], np.maximum(matches[0] - 1, 0)]), totals], axis=-1
    )
    found = winnow.corpus_scores(study(counts), "t", resamples=500)
    assert found.loc[0, "change"] == 0 and np.isnan(found.loc[0, "p"])
    assert found.loc[1, "change_high"] < 0 and found.loc[1, "p"] < 0.01
    assert (found["low"] < found["score"]).all() and (found["score"] < found["high"]).all()
    # Paired: the change is known better than either score.
    assert (
        found.loc[1, "change_high"] - found.loc[1, "change_low"]
        < found.loc[1, "high"] - found.loc[1, "low"]
    )
    missing = np.concatenate([counts, np.full((2, 3, 10), -1)], axis=1)
    again = winnow.corpus_scores(study(missing), "t", resamples=500)
    pd.testing.assert_frame_equal(found, again)


def test_mistakes():
    with pytest.raises(ValueError, match="no corpus metric 'meteor'"):
        winnow.corpus_scores(study(np.ones((1, 2, 10))), "t", "meteor")
    with pytest.raises(ValueError, match="the task t was not scored by chrf"):
        winnow.corpus_scores(study(np.ones((1, 2, 10))), "t", "chrf")
