# SPDX-License-Identifier: Apache-2.0
"""Correlations against scipy and against resampling done the slow way."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import winnow


@pytest.fixture
def table():
    """Make 60 points of three methods whose levels oppose the trend inside each method."""
    rng = np.random.default_rng(7)
    rows = []
    for m, method in enumerate(["a", "b", "c"]):
        for sparsity in np.arange(5) / 10:
            for _ in range(4):
                x = m + sparsity + rng.normal(0, 0.05)
                y = round(m - 1.5 * sparsity + rng.normal(0, 0.2), 1)  # ties
                rows.append((method, sparsity, np.nan, "done", x, y))
    dense = ("dense", np.nan, np.nan, "done", -5.0, 9.0)
    columns = ["method", "sparsity", "bits", "status", "t/x", "t/y"]
    return pd.DataFrame([dense, *rows], columns=columns).assign(model="m")


@pytest.mark.parametrize(
    ("method", "oracle"),
    [
        ("spearman", stats.spearmanr),
        ("pearson", stats.pearsonr),
        ("kendall", stats.kendalltau),
    ],
)
def test_coefficients_are_scipys(table, method, oracle):
    found = winnow.correlation(table, "t/x", "t/y", method)
    points = table[table["method"] != "dense"]
    rho, pvalue = oracle(points["t/x"], points["t/y"])
    assert (found.rho, found.pvalue) == pytest.approx((rho, pvalue))
    assert found.n == 60 and found.clusters == 15 and found.low < rho < found.high


@pytest.mark.parametrize("method", ["spearman", "pearson", "kendall"])
def test_resamples_are_those_of_repeated_points(table, method):
    """Weights and matrix products give what scipy gives on the repeated points."""
    from winnow.statistics import _Draw

    points = table[table["method"] != "dense"]
    draw = _Draw(points, 100, 0.95, seed=3)
    x, y = (points[c].to_numpy() for c in ("t/x", "t/y"))
    fast = draw.resampled(x, y, method)
    oracle = {"spearman": stats.spearmanr, "pearson": stats.pearsonr, "kendall": stats.kendalltau}
    drawn = draw.weights(0, 100)
    for weights, value in zip(drawn[:20], fast):
        again = np.repeat(np.arange(len(x)), weights.astype(int))
        assert value == pytest.approx(oracle[method](x[again], y[again])[0])
    cells = pd.DataFrame(drawn.T).groupby(draw.cluster)
    assert (cells.nunique() == 1).all(axis=None)  # clusters are drawn whole
    assert (drawn.sum(axis=1) == 60).all()


def test_by_method_shows_simpsons_paradox(table):
    found = winnow.correlation(table, "t/x", "t/y", by="method")
    assert found.loc["pooled", "rho"] > 0.5 and found.loc["between", "rho"] == pytest.approx(1)
    assert (found.loc[["within", "a", "b", "c"], "rho"] < -0.5).all()
    assert found.loc["within", "high"] < 0
    points = table[table["method"] != "dense"]
    dummies = pd.get_dummies(points["method"]).to_numpy(float)
    ranks = [stats.rankdata(points[c]) for c in ("t/x", "t/y")]
    residuals = [r - dummies @ np.linalg.lstsq(dummies, r, rcond=None)[0] for r in ranks]
    assert found.loc["within", "rho"] == pytest.approx(stats.pearsonr(*residuals)[0])


def test_same_seed_same_interval(table):
    one, two = (winnow.correlation(table, "t/x", "t/y", seed=1) for _ in range(2))
    assert one == two
    assert winnow.correlation(table, "t/x", "t/y", seed=2).low != one.low


def test_compare_prefers_the_better_predictor(table):
    table = table.assign(**{"t/noise": np.random.default_rng(1).normal(size=len(table))})
    found = winnow.compare(table, ("t/x", "t/noise"), "t/y")
    assert found["difference"] == pytest.approx(found["first"] - found["second"])
    assert found["low"] < found["difference"] < found["high"] and found["low"] > 0


def test_constant_scores_have_no_correlation(table):
    found = winnow.correlation(table.assign(**{"t/y": 0.25}), "t/x", "t/y")
    assert np.isnan(found.rho) and np.isnan(found.low) and "undefined" in str(found)


def test_open_points_do_not_count(table):
    table.loc[1:10, "status"] = "open"
    assert winnow.correlation(table, "t/x", "t/y").n == 50


def test_on_a_results_file(results):
    found = winnow.correlation(results, x="ln perplexity", y="js")
    scores = results.scores.iloc[1:]
    expected = stats.spearmanr(scores["world/perplexity"], scores["world/js_mean"])[0]
    assert found.rho == pytest.approx(expected)
    assert (found.x, found.y) == ("ln world/perplexity", "world/js_mean")
    assert found.low <= found.rho <= found.high
    ratio = scores["world/perplexity"] / results.dense["world/perplexity"]
    assert winnow.correlation(results, "js", "facts", zone=1.1).n == (ratio < 1.1).sum()


def test_mistakes(results):
    with pytest.raises(ValueError, match="method: expected one of spearman"):
        winnow.correlation(results, "js", "facts", "spaerman")
    with pytest.raises(KeyError, match="no score 'bleu'"):
        winnow.correlation(results, "bleu", "facts")
    with pytest.raises(KeyError, match="by: no column 'colour'"):
        winnow.correlation(results, "js", "facts", by="colour")
