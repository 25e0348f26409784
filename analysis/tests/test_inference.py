# SPDX-License-Identifier: Apache-2.0
"""Adjusted p values, partial and dependent correlations, item noise: each computed otherwise."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import winnow
from winnow.inference import steiger, williams


@pytest.fixture
def table():
    """Make 80 points whose scores both follow the sparsity, and little else."""
    rng = np.random.default_rng(3)
    rows = []
    for method in ("a", "b"):
        for sparsity in np.arange(1, 9) / 10:
            for _ in range(5):
                x = sparsity + rng.normal(0, 0.05)
                y = -sparsity + 0.3 * x + rng.normal(0, 0.05)
                bits = 4.0 if rng.random() < 0.5 else np.nan
                rows.append((method, sparsity, bits, 16.0, "done", x, y, x + rng.normal(0, 0.2)))
    dense = ("dense", np.nan, np.nan, 16.0, "done", -5.0, 9.0, 0.0)
    columns = [
        "method",
        "sparsity",
        "bits",
        "bits_per_weight_nominal",
        "status",
        "t/x",
        "t/y",
        "t/z",
    ]
    return pd.DataFrame([dense, *rows], columns=columns).assign(model="m")


def test_holm_and_benjamini_hochberg():
    p = np.array([0.04, 0.001, np.nan, 0.02, 0.3, 0.02])
    known = np.sort(p[np.isfinite(p)])
    slow = [max(min(1, (5 - i) * known[i]) for i in range(k + 1)) for k in range(5)]
    order = np.argsort(np.argsort(p[np.isfinite(p)], kind="stable"), kind="stable")
    assert winnow.holm(p)[np.isfinite(p)] == pytest.approx(np.array(slow)[order])
    adjusted = winnow.benjamini_hochberg(p)
    assert np.isnan(adjusted[2]) and np.isnan(winnow.holm(p)[2])
    if hasattr(stats, "false_discovery_control"):
        oracle = stats.false_discovery_control(p[np.isfinite(p)])
        assert adjusted[np.isfinite(p)] == pytest.approx(oracle)


@pytest.mark.parametrize("method", ["spearman", "pearson"])
@pytest.mark.parametrize("given", [["sparsity"], ["sparsity", "bits"], ["t/z", "sparsity"]])
def test_partial_is_that_of_the_inverse_matrix(table, method, given):
    found = winnow.partial(table, "t/x", "t/y", given, method)
    points = table[table["method"] != "dense"].fillna({"bits": 16.0})
    columns = points[["t/x", "t/y", *given]]
    columns = columns.rank() if method == "spearman" else columns
    inverse = np.linalg.inv(np.corrcoef(columns.to_numpy(), rowvar=False))
    oracle = -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
    assert found.rho == pytest.approx(oracle) and found.low < found.rho < found.high
    assert abs(found.rho) < abs(winnow.correlation(table, "t/x", "t/y", method).rho)


def test_partial_of_what_is_explained_wholly(table):
    table["t/w"] = 2 * table["sparsity"]
    assert np.isnan(winnow.partial(table, "t/w", "t/y", "sparsity", "pearson").rho)


@pytest.mark.parametrize("test", [williams, steiger])
def test_dependent_correlations_that_are_equal(test):
    """Of 2000 samples in which both correlations are equal, five in a hundred are rejected."""
    rng = np.random.default_rng(11)
    covariance = np.array([[1, 0.6, 0.5], [0.6, 1, 0.5], [0.5, 0.5, 1]])
    rejected = 0
    for _ in range(2000):
        r = np.corrcoef(rng.multivariate_normal(np.zeros(3), covariance, size=40), rowvar=False)
        rejected += test(r[0, 2], r[1, 2], r[0, 1], 40)[1] < 0.05
    assert 0.035 < rejected / 2000 < 0.065


def test_dependent_turns_signs(table):
    found = winnow.dependent(table, ("t/x", "t/z"), "t/y")
    points = table[table["method"] != "dense"]
    strength = [abs(stats.spearmanr(points[c], points["t/y"])[0]) for c in ("t/x", "t/z")]
    assert found[["first", "second"]].tolist() == pytest.approx(strength)
    assert found["between"] == pytest.approx(stats.spearmanr(points["t/x"], points["t/z"])[0])
    assert found["williams_t"] > 0 and 0 < found["steiger_p"] < 1


def test_correlations_are_all_adjusted(results):
    found = winnow.correlations(results, resamples=500)
    assert len(found) == len(results.main_scores) * len(results.predictors)
    assert (found["holm"] >= found["bh"] - 1e-12).all() and (found["bh"] >= found["p"]).all()
    one = winnow.correlation(results, found["x"][0], found["y"][0], resamples=500)
    assert (one.rho, one.low, one.high) == tuple(found.loc[0, ["rho", "low", "high"]])


def test_items_widen_the_interval(results):
    found = winnow.with_items(results, "perplexity", "facts", resamples=500)
    items = winnow.item_scores(results, "facts")
    dense = results.points.index[results.points["method"] == "dense"]
    items = items.drop(index=dense)
    noise = np.mean([row.var(ddof=1) for row in items.to_numpy()]) / items.shape[1]
    assert found["reliability"] == pytest.approx(1 - noise / items.mean(axis=1).var(ddof=1))
    assert found["high"] - found["low"] > found["high_points"] - found["low_points"]
    assert abs(found["corrected"]) >= abs(found["rho"]) and found["items"] == items.shape[1]


def test_perplexity_ratio(results):
    found = winnow.perplexity_ratio(results)
    scores = results.scores
    dense = scores.loc[scores["method"] == "dense", "world/perplexity"].iloc[0]
    ratio = scores.loc[found.index, "world/perplexity"] / dense
    assert found["ratio"].to_numpy() == pytest.approx(ratio.to_numpy(), rel=1e-5)
    data = results.tokens("world").load()
    losses = data["loss"].sel(point=[0, int(found.index[0])]).to_numpy().astype(float)
    parts = pd.Series(losses[1] - losses[0]).groupby(data["sequence"].to_numpy())
    sums, counts = parts.sum().to_numpy(), parts.count().to_numpy()
    left = [(sums.sum() - s) / (counts.sum() - c) for s, c in zip(sums, counts)]  # the jackknife
    n = len(left)
    jackknife = np.sqrt((n - 1) / n * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert found["log_stderr"].iloc[0] == pytest.approx(jackknife, rel=0.02)
    assert found["stderr"].iloc[0] < scores.loc[found.index[0], "world/perplexity_stderr"]


def test_majority(results):
    data = results.task("in_context")
    gold = data["gold"].to_numpy()
    found = results.majority("in_context")
    assert found == max(np.mean(gold == g) for g in set(gold))
