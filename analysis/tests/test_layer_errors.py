# SPDX-License-Identifier: Apache-2.0
"""Layer errors against end-to-end scores: counted the slow way, and on a file made to order."""

import itertools
import shutil

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

import winnow
from winnow import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_sums_are_those_of_all_linears(results):
    sums = winnow.layer_error_sums(results)
    scores = results.scores
    dense = scores["method"] == "dense"
    assert (sums[dense] == 0).all() and (sums[~dense] > 0).all()
    # The file has their root mean square for each point.
    linears = results.dataset("weights").sizes["linear"] * results.dataset("weights").sizes["block"]
    np.testing.assert_allclose(np.sqrt(sums / linears), scores["output_error"], rtol=1e-6)


def test_pairs_are_counted_one_by_one(results):
    found = winnow.monotonicity(results, "kl", resamples=200)
    scores = results.scores[results.scores["method"] != "dense"]
    sums = winnow.layer_error_sums(results)[scores.index]
    kl, error = scores["world/kl_mean"], scores["world/kl_mean_stderr"]
    inverted, sure = [], 0
    for a, b in itertools.permutations(scores.index, 2):
        if sums[a] < sums[b] and kl[a] > kl[b]:
            inverted.append((a, b))
            sure += kl[a] - kl[b] > 2 * np.hypot(error[a], error[b])
    assert inverted and found.score == "world/kl_mean"
    assert sorted(zip(found.pairs["lower"], found.pairs["higher"])) == sorted(inverted)
    assert found.pairs["sure"].sum() == sure and found.n_pairs == 20 * 19 // 2
    assert (np.diff(found.pairs["difference"]) <= 0).all()
    assert found.inverted == len(inverted) / found.n_pairs
    assert found.tau.rho == pytest.approx(stats.kendalltau(sums, kl).statistic)
    assert found.tau.low < found.tau.rho < found.tau.high
    assert str(found).startswith(f"{len(inverted)} of {found.n_pairs} pairs have less layer error")
    assert {"method", "key", "error_sum", "world/kl_mean"} <= set(found.points)


@pytest.fixture
def ordered(path, tmp_path):
    """The file with KL in the order of the layer errors, but for one pair."""
    copy = shutil.copy(path, tmp_path / "ordered.h5")
    with h5py.File(copy, "r+") as file:
        errors = (file["weights/output_error"][...].astype(float) ** 2).sum(axis=(1, 2))
        order = np.argsort(np.argsort(errors, kind="stable"), kind="stable")
        kl = order.astype(float)
        last = np.argsort(errors)[-2:]
        kl[last] = kl[last[::-1]]
        file["scores/world/kl_mean"][...] = kl
        file["scores/world/kl_mean_stderr"][...] = 0.1
    return winnow.open(copy), last


def test_a_monotone_file_has_one_exception(ordered):
    results, last = ordered
    found = winnow.monotonicity(results, resamples=200)
    assert list(found.pairs[["lower", "higher"]].to_numpy()[0]) == list(last)
    assert len(found.pairs) == 1 and found.pairs["sure"].all() and found.tau.rho > 0.97


def test_figure(ordered):
    results, last = ordered
    figure = plots.monotonicity(results)
    figure.canvas.draw()
    axis = figure.axes[0]
    found = winnow.monotonicity(results)
    assert axis.get_title() == str(found.tau)
    assert sum(len(c.lines[0].get_xdata()) for c in axis.containers) == len(found.points)
    (line,) = [drawn for drawn in axis.lines if drawn.get_linestyle() == "--"]
    np.testing.assert_allclose(line.get_xdata(), found.points["error_sum"].loc[list(last)])
    assert axis.get_ylabel() == "world KL divergence (nat)"


def test_mistakes(results, two_models_path):
    two = winnow.open(two_models_path)
    with pytest.raises(ValueError, match="several models would mix"):
        winnow.monotonicity(two, "js")
    assert len(winnow.monotonicity(two, "js", model="first", resamples=200).points) == 3
    with pytest.raises(ValueError, match="fewer than two compressed points"):
        winnow.monotonicity(two, "js", model="none")
    with pytest.raises(KeyError, match="no score"):
        winnow.monotonicity(results, "nothing")
