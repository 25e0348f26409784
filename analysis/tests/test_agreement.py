# SPDX-License-Identifier: Apache-2.0
"""Flips and margins against counts made the slow way, McNemar's test against scipy."""

import numpy as np
import pytest
from scipy import stats

import winnow
from winnow.agreement import mcnemar


@pytest.mark.parametrize("first", [0, 1, 3, 7, 40])
@pytest.mark.parametrize("second", [0, 2, 7, 100])
def test_mcnemar_is_the_exact_binomial_test(first, second):
    expected = 1.0
    if first + second:
        expected = stats.binomtest(first, first + second, 0.5).pvalue
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_flips_are_counted_item_by_item(results):
    table = winnow.flips(results, "facts")
    data = results.task("facts")
    method = results.points["method"]
    assert list(table.index) == list(results.points.index[method != "dense"])
    assert {"method", "sparsity", "bits", "key"} <= set(table)
    dense = data.sel(point=results.points.index[method == "dense"][0])
    gold = data["gold"].to_numpy()
    for point, row in table.iterrows():
        own = data.sel(point=point)
        pairs = list(zip(dense["prediction"].to_numpy(), own["prediction"].to_numpy(), gold))
        lost = sum(1 for before, after, right in pairs if before == right != after)
        won = sum(1 for before, after, right in pairs if after == right != before)
        other = sum(1 for before, after, _ in pairs if before != after)
        assert (row["right_to_wrong"], row["wrong_to_right"], row["n"]) == (lost, won, 40)
        assert row["flips"] == (lost + won) / 40 and row["changed"] == other / 40
        assert row["net"] == pytest.approx((won - lost) / 40)
        if lost + won:
            assert row["pvalue"] == pytest.approx(stats.binomtest(lost, lost + won).pvalue)
    assert (table["changed"] >= table["flips"]).all() and table["flips"].max() > 0
    assert (table["flips"] >= table["net"].abs()).all()
    scores = results.scores.loc[table.index, "facts/acc"] - results.dense["facts/acc"]
    np.testing.assert_allclose(table["net"], scores)
    lead = winnow.margins(results, "facts")["lead"].sel(point=dense["point"]).to_numpy()
    flipped = data["correct"].sel(point=table.index[0]) != dense["correct"]
    assert table["lead_kept"].iloc[0] == pytest.approx(lead[~flipped.to_numpy()].mean())


def test_margins_are_differences_of_log_likelihoods(results):
    data, found = results.task("in_context"), winnow.margins(results, "in_context")
    assert found["margin"].dims == ("point", "item") and found["margin"].attrs["units"] == "nat"
    scores = data["choice_log_likelihood"].to_numpy()
    for point, item in ((0, 0), (3, 7), (12, 39)):
        each, gold = scores[point, item], int(data["gold"][item])
        best = sorted(each)
        margin = each[gold] - max(np.delete(each, gold))
        assert float(found["margin"][point, item]) == pytest.approx(margin)
        assert float(found["lead"][point, item]) == pytest.approx(best[-1] - best[-2])
    correct = data["correct"].to_numpy().astype(bool)
    np.testing.assert_array_equal(found["margin"].to_numpy() > 0, correct)
    np.testing.assert_allclose(
        found["lead"].to_numpy()[correct], found["margin"].to_numpy()[correct]
    )


def test_items_without_a_right_answer(results, monkeypatch):
    data = results.task("facts").drop_vars(["correct", "choice_log_likelihood"])
    monkeypatch.setattr(type(results), "task", lambda *_: data)
    with pytest.raises(ValueError, match="facts: its items are not right or wrong"):
        winnow.flips(results, "facts")
    with pytest.raises(ValueError, match="facts: its items have no choices"):
        winnow.margins(results, "facts")


def test_unknown_names_are_no_attributes():
    assert "flips" in dir(winnow) and isinstance(winnow.flips, type(winnow.open))
    with pytest.raises(AttributeError, match="no attribute 'flip'"):
        _ = winnow.flip


def test_probability_changes(results):
    table = winnow.probability_changes(results)
    data = results.tokens("world")
    method = results.points["method"]
    dense = results.points.index[method == "dense"][0]
    before = np.exp(-data["loss"].sel(point=dense).to_numpy().astype(float))
    assert list(table.index) == [p for p in data["point"].to_numpy() if p != dense]
    for point, row in table.iterrows():
        change = np.exp(-data["loss"].sel(point=point).to_numpy().astype(float)) - before
        assert row["n"] == len(change)
        assert row["mean"] == pytest.approx(sum(change) / len(change))
        assert row["rms"] == pytest.approx(np.sqrt(sum(c * c for c in change) / len(change)))
        ordered = sorted(change)
        place = 0.25 * (len(change) - 1)
        low, share = ordered[int(place)], place - int(place)
        assert row["p25"] == pytest.approx(low + share * (ordered[int(place) + 1] - low))
        # The jackknife over windows: another road to the same error.
        windows = data["sequence"].to_numpy()
        out = np.array([change[windows != w].mean() for w in np.unique(windows)])
        jackknife = np.sqrt((len(out) - 1) / len(out) * ((out - out.mean()) ** 2).sum())
        assert row["mean_stderr"] == pytest.approx(jackknife, rel=0.1)
    assert (table["rms"] > 0).all() and (table["p0.1"] <= table["p99.9"]).all()


def test_a_point_is_chosen_by_its_method(results):
    data = results.dataset("weights").set_xindex("compression")
    chosen = data.sel(compression="wanda")
    assert set(chosen["method"].to_numpy()) == {"wanda"} and chosen.sizes["point"] > 1
