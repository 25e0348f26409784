# SPDX-License-Identifier: Apache-2.0
"""Statistics that other tests only look at from outside, each computed again in another way."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import winnow
from winnow.pareto import front, knee
from winnow.statistics import clustered_error


def test_errors_of_clusters_are_those_of_statsmodels():
    library = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 12, 90)
    values = rng.normal(0, 1, 90) + rng.normal(0, 1, 12)[groups]
    fitted = library.OLS(values, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert clustered_error(values, groups) == pytest.approx(float(fitted.bse[0]))
    assert clustered_error(values, None) == pytest.approx(stats.sem(values))
    assert np.isnan(clustered_error(values, np.zeros(90)))


def test_compare_is_the_difference_of_scipys_coefficients_on_drawn_clusters():
    rng = np.random.default_rng(8)
    table = pd.DataFrame(
        {"method": np.repeat(list("abcdefgh"), 4), "t/x": rng.normal(size=32), "status": "done"}
    )
    table["t/z"] = table["t/x"] + rng.normal(0, 1, 32)
    table["t/y"] = table["t/x"] + rng.normal(0, 0.7, 32)
    found = winnow.compare(table, ("t/x", "t/z"), "t/y", resamples=400, seed=5)

    def difference(points):
        first, second = (stats.spearmanr(points[c], points["t/y"])[0] for c in ("t/x", "t/z"))
        return abs(first) - abs(second)

    assert found["difference"] == pytest.approx(difference(table))
    drawn = np.random.default_rng(5).multinomial(8, np.full(8, 1 / 8), size=400)
    clusters = [part for _, part in table.groupby("method")]
    again = [
        difference(pd.concat([c for c, n in zip(clusters, row) for _ in range(n)])) for row in drawn
    ]
    assert found[["low", "high"]].tolist() == pytest.approx(np.percentile(again, [2.5, 97.5]))


def test_paired_intervals_are_those_of_scipys_bootstrap(results):
    scores = results.scores
    first, second = scores.index[scores["facts/acc"].rank(method="first").isin([2, len(scores)])]
    found = winnow.paired_difference(results, "facts", first, second, resamples=4000)
    items = winnow.item_scores(results, "facts")
    difference = (items.loc[first] - items.loc[second]).to_numpy()
    theirs = stats.bootstrap(
        (difference,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert found["difference"] == pytest.approx(difference.mean())
    step = 1 / len(difference)
    assert found[["low", "high"]].tolist() == pytest.approx(list(theirs), abs=1.01 * step)


def test_a_task_breaks_where_a_line_through_its_scores_does(results):
    found = winnow.breaking_points(results, lost=0.1, tasks=["facts"], resamples=100)
    cells = results.cells
    for (_, label), row in found.iterrows():
        method, _, calibration = label.partition(", ")
        line = cells[(cells["method"] == method) & cells["pattern"].isin(["", "unstructured"])]
        line = line[line["bits"].isna() & (line["calibration"].eq(calibration) | (not calibration))]
        line = line.drop_duplicates("sparsity").sort_values("sparsity")
        at = np.concatenate([[0], line["sparsity"].to_numpy(float)])
        score = np.concatenate([[row["dense"]], line["facts/acc"].to_numpy(float)])
        fine = np.linspace(0, at[-1], 200_001)
        below = np.flatnonzero(np.interp(fine, at, score) <= row["dense"] - 0.1 + 1e-12)
        expected = fine[below[0]] if len(below) else np.inf
        assert row["at"] == pytest.approx(expected, abs=1e-5), label


def test_the_knee_is_farthest_from_the_line():
    rng = np.random.default_rng(6)
    for _ in range(50):
        cost = pd.Series(rng.uniform(1, 9, 15))
        quality = pd.Series(np.exp(rng.normal(0, 1, 15)))
        on = front(cost, quality, lower_is_better=True)
        if len(on) < 3:
            continue
        x, y = cost[on].to_numpy(), np.log(quality[on].to_numpy())
        x, y = (x - x[0]) / (x[-1] - x[0]), (y - y[-1]) / (y[0] - y[-1])
        ends = np.array([[x[0], y[0]], [x[-1], y[-1]]])
        along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
        feet = ends[0] + np.outer((np.column_stack([x, y]) - ends[0]) @ along, along)
        far = np.linalg.norm(np.column_stack([x, y]) - feet, axis=1) * np.sign(1 - x - y)
        assert knee(cost, quality, lower_is_better=True) == on[int(np.argmax(far))]
