# SPDX-License-Identifier: Apache-2.0
"""Breaking points and paired differences, on made-up scores and on a results file."""

import numpy as np
import pytest

import winnow
from winnow.survival import _crossing


def test_the_crossing_lies_on_the_straight_line():
    at = np.array([0.0, 0.2, 0.4])
    scores = np.array([[0.9, 0.85, 0.75], [0.9, 0.9, 0.81], [0.9, 0.6, 0.95]])
    found = _crossing(at, scores, 0.1)
    assert found == pytest.approx([0.3, np.inf, 0.2 / 3])


def test_item_scores_are_the_accuracy(results):
    items = winnow.item_scores(results, "facts")
    accuracy = results.scores["facts/acc"].reindex(items.index)
    assert items.mean(axis=1).to_numpy() == pytest.approx(accuracy.to_numpy())


def test_breaking_points_of_a_sweep(results):
    table = winnow.breaking_points(results, lost=0.1, resamples=200)
    assert set(table.index.get_level_values("task")) == set(results.tasks)
    broken = table[np.isfinite(table["at"])]
    assert len(broken) and (broken["low"] <= broken["at"]).all()
    assert (broken["at"] <= broken["high"]).all()
    never = winnow.breaking_points(results, lost=1.5, resamples=10)
    assert np.isinf(never["at"]).all()
    with pytest.raises(KeyError, match="no column 'nothing'"):
        winnow.breaking_points(results, nothing=1)


def test_a_point_against_itself_and_against_another(results):
    dense = results.dense.name
    same = winnow.paired_difference(results, "facts", dense, dense, resamples=50)
    assert same["difference"] == same["low"] == same["high"] == 0 and same["pvalue"] == 1
    worst = results.scores["facts/acc"].idxmin()
    pair = winnow.paired_difference(results, "facts", dense, worst, resamples=200)
    assert pair["low"] <= pair["difference"] <= pair["high"] and pair["difference"] > 0
    assert pair["only_first"] - pair["only_second"] == round(
        pair["difference"] * len(winnow.item_scores(results, "facts").columns)
    )


def test_calibration_sets_are_compared_where_they_decide(results):
    table = winnow.compare_calibrations(results, "facts", "task", "general", resamples=100)
    assert set(table["method"]) == {"wanda", "wanda+rtn"}  # magnitude looks at no data
    assert len(table) == 4
    row = table[table["sparsity"] == 0.7].iloc[0]
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["first"] - row["second"] == pytest.approx(row["difference"])
