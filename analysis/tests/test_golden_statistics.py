# SPDX-License-Identifier: Apache-2.0
"""Statistics of this package beside those of R, from golden/make_statistics.R."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import ANALYSIS

import winnow
from winnow.agreement import mcnemar
from winnow.draws import _spread
from winnow.inference import _log_ratio, steiger, williams
from winnow.mixed_models import reml
from winnow.statistics import clustered_error

FOLDER = ANALYSIS / "tests" / "golden"
R = json.loads((FOLDER / "statistics.json").read_text(encoding="utf-8"))
CLOSED = 1e-9  # relative, of what has a formula; both sides compute in double precision
SEARCHED = 1e-4  # of variances, which both sides search for in their own way
METHODS = ("spearman", "pearson", "kendall")


def near(value, rel=CLOSED):
    return pytest.approx(value, rel=rel, abs=0)


@pytest.fixture(scope="module")
def points():
    return pd.read_csv(FOLDER / "statistics.csv", keep_default_na=False, na_values=[""]).fillna(
        {"calibration": ""}
    )


@pytest.fixture(scope="module")
def a(points):
    """The compressed points of one model."""
    return points[(points["model"] == "a") & (points["method"] != "dense")]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("tied", "perplexity", "task"),
        ("untied", "perplexity", "kl"),
        ("logarithm", "ln perplexity", "task"),
    ],
)
def test_correlations(points, method, name, x, y):
    assert points["task/acc"].duplicated().any()
    found = winnow.correlation(points, x, y, method, model="a", resamples=100)
    expected = R["correlations"][method][name]
    assert found.rho == near(expected["rho"])
    assert found.pvalue == near(expected["p"], rel=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_correlations_by_method(points, method):
    found = winnow.correlation(
        points, "perplexity", "task", method, "method", model="a", resamples=100
    )
    one = R["correlations"][method]["magnitude"]
    assert found.loc["magnitude", ["rho", "pvalue"]].tolist() == near([one["rho"], one["p"]])
    for name, expected in R["grouped"].get(method, {}).items():
        assert found.loc[name, "rho"] == near(expected["rho"]), name
        assert found.loc[name, "pvalue"] == near(expected["p"], rel=1e-7), name


@pytest.mark.parametrize("method", METHODS[:2])
@pytest.mark.parametrize("given", ["sparsity", "sparsity bits", "text/kl_mean"])
def test_partial_correlations(points, method, given):
    found = winnow.partial(
        points, "perplexity", "task", given.split(), method, model="a", resamples=100
    )
    expected = R["partial"][method][given]
    assert found.rho == near(expected["rho"])
    assert found.pvalue == near(expected["p"], rel=1e-7)


@pytest.mark.parametrize("method", METHODS[:2])
def test_dependent_correlations(points, method):
    found = winnow.dependent(points, ("perplexity", "kl"), "task", method, model="a")
    expected = R["dependent"][method]
    assert found[["first", "second", "between", "n"]].tolist() == near(
        [expected[k] for k in ("xy", "zy", "xz", "n")]
    )
    names = ["williams_t", "williams_p", "steiger_z", "steiger_p"]
    assert found[names].tolist() == near([expected[k] for k in names], rel=1e-7)


@pytest.mark.parametrize("row", R["shared"])
def test_williams_and_steiger(row):
    r = (row["xy"], row["zy"], row["xz"], row["n"])
    assert williams(*r) == near((row["williams_t"], row["williams_p"]))
    assert steiger(*r) == near((row["steiger_z"], row["steiger_p"]))


def test_adjusted_p_values():
    p, holm, bh = (np.array(R["adjusted"][k], float) for k in ("p", "holm", "bh"))
    assert np.isnan(p).sum() == 1
    np.testing.assert_allclose(winnow.holm(p), holm, rtol=CLOSED)
    np.testing.assert_allclose(winnow.benjamini_hochberg(p), bh, rtol=CLOSED)


@pytest.mark.parametrize("row", R["mcnemar"])
def test_mcnemar(row):
    assert mcnemar(*row["n"]) == near(row["p"])


def test_errors_of_means(a):
    expected = R["errors"]
    loss = np.log(a["text/perplexity"].to_numpy())
    clusters = (a["method"] + a["calibration"]).to_numpy()
    assert clustered_error(loss, clusters) == near(expected["clustered"])
    assert clustered_error(loss, None) == near(expected["independent"])
    found = _log_ratio(loss, clusters)
    assert found["ratio"] == near(expected["ratio"])
    assert found["stderr"] == near(expected["ratio_error"])


def test_intervals_of_draws(a):
    found = _spread(a, "task/acc", 0.9)
    for name, value in R["spread"].items():
        assert found[name] == near(value), name


def test_reml_of_dyestuff():
    """Yield of dyestuff by batch: Davies (1947), the first example of lme4."""
    expected = R["dyestuff"]
    fit = reml(np.array(expected["yield"], float), np.ones((30, 1)), [np.array(expected["batch"])])
    variances = expected["variances"]
    assert fit.variances == near([variances["Batch"], variances["Residual"]], SEARCHED)
    intercept = expected["fixed"]["(Intercept)"]
    assert fit.coefficients[0] == near(intercept["estimate"])
    assert fit.covariance[0, 0] ** 0.5 == near(intercept["stderr"], SEARCHED)


def test_mixed_models(points):
    found = winnow.mixed(points, "ln perplexity", "task", given="sparsity")
    expected = R["mixed"]
    for name, variance in expected["variances"].items():
        sd = found.loc[f"sd of {name.lower()}", "estimate"]
        assert sd**2 == near(variance, SEARCHED), name
    for ours, theirs in (("ln text/perplexity", "x"), ("sparsity", "s"), ("intercept",) * 2):
        row, name = found.loc[ours], "(Intercept)" if theirs == "intercept" else theirs
        assert row["n"] == expected["freedom"]
        assert row["estimate"] == near(expected["fixed"][name]["estimate"], SEARCHED)
        assert row["stderr"] == near(expected["fixed"][name]["stderr"], SEARCHED)
        assert row["high"] - row["estimate"] == near(expected["half"][name], SEARCHED)
        assert row["estimate"] - row["low"] == near(expected["half"][name], SEARCHED)
        assert row["p"] == near(expected["p"][name], rel=5e-4)


def test_components_of_variance(a):
    """Of an unbalanced grid."""
    pruned = a[a["sparsity"].notna()].drop(columns="bits_per_weight_nominal")
    assert pruned.groupby(["method", "sparsity", "calibration"]).size().nunique() > 1
    found = winnow.variance(pruned, "ln perplexity")["variance"]
    names = {
        "method": "method",
        "level": "sparsity",
        "method and level": "method:sparsity",
        "calibration set": "method:sparsity:calibration",
        "draw": "Residual",
    }
    assert min(R["variance"].values()) > 0
    for ours, theirs in names.items():
        assert found[ours] == near(R["variance"][theirs], SEARCHED), ours
