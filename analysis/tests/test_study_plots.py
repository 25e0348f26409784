# SPDX-License-Identifier: Apache-2.0
"""Figures of the studies: what is drawn is what the file says, at the sizes of a page."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.lines import Line2D

import winnow
from winnow import plots, study_plots
from winnow.pareto import front, knee


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def results(path):
    return winnow.open(path)


def test_front_against_all_pairs():
    rng = np.random.default_rng(1)
    for _ in range(200):
        cost = pd.Series(rng.integers(0, 8, 12), index=[f"p{i}" for i in range(12)])
        quality = pd.Series(rng.integers(0, 8, 12), index=cost.index)
        for lower in (True, False):
            sign = 1 if lower else -1
            beaten = {
                a
                for a in cost.index
                for b in cost.index
                if (cost[b] <= cost[a] and sign * quality[b] <= sign * quality[a])
                and (cost[b] < cost[a] or sign * quality[b] < sign * quality[a])
            }
            kept = {(cost[a], quality[a]) for a in set(cost.index) - beaten}
            found = front(cost, quality, lower)
            assert [(cost[a], quality[a]) for a in found] == sorted(kept)


def test_matching_legend_has_the_dashes_of_the_lines(results):
    figure = study_plots.matching(results)
    drawn = {k.get_linestyle() for k in figure.axes[0].lines if len(k.get_xdata()) > 2}
    legend = figure.legends[0]
    named = dict(zip((t.get_text() for t in legend.get_texts()), legend.legend_handles))
    lines = {t: h for t, h in named.items() if isinstance(h, Line2D) and t != "dense"}
    assert {h.get_linestyle() for h in lines.values()} == drawn == {"-", "--"}
    for text, handle in lines.items():
        score = results.main_score("facts")
        cells = results.cells[results.cells["method"] == text.partition(",")[0]]
        cells = cells[cells["pattern"].eq("unstructured") & cells["bits"].isna()]
        if "," in text:
            cells = cells[cells["calibration"] == text.partition(", ")[2]]
        cells = cells.drop_duplicates("point").sort_values("sparsity")
        same = [k for k in figure.axes[0].lines if len(k.get_xdata()) == len(cells) + 1
                and np.allclose(k.get_ydata()[1:], cells[score])]  # fmt: skip
        assert [k.get_linestyle() for k in same] == [handle.get_linestyle()]


def test_knee():
    cost = pd.Series([1.0, 2.0, 3.0, 4.0], index=list("abcd"))
    assert knee(cost, pd.Series([100.0, 11.0, 10.5, 10.0], index=cost.index), True) == "b"
    assert knee(cost, pd.Series([0.1, 0.2, 0.9, 1.0], index=cost.index), False) == "c"
    assert knee(cost[:2], pd.Series([2.0, 1.0], index=["a", "b"]), True) is None


def test_matching_begins_at_dense(results):
    figure = study_plots.matching(results, tolerance=0.1)
    dense = results.dense_of(results.models[0])
    panels = [a for a in figure.axes if a.get_ylabel()]
    assert len(panels) == len(results.main_scores)
    for axis, name in zip(panels, results.main_scores.values()):
        curves = [k for k in axis.lines if len(k.get_xdata()) > 2]
        assert len(curves) >= 3  # magnitude, wanda under two sets
        for curve in curves:
            assert (curve.get_xdata()[0], curve.get_ydata()[0]) == (0, dense[name])
            assert list(curve.get_xdata()) == sorted(curve.get_xdata())
        band = axis.patches[0].get_extents().transformed(axis.transData.inverted())
        assert band.y1 == pytest.approx(dense[name])
        assert band.y0 == pytest.approx(0.9 * dense[name])
    bars = [p for a in figure.axes if a.get_xlabel() == "N:M" for p in a.patches]
    cells = results.cells.query("pattern == '2:4' and bits != bits").drop_duplicates("point")
    assert len(bars) == len(cells) * len(panels)
    assert [a.get_title(loc="left") for a in panels] == ["(a)", "(b)"]


def test_calibrations_are_paired(results):
    figure = study_plots.calibrations(results, "general", "task", resamples=200)
    table = winnow.compare_calibrations(results, "facts", "task", "general", resamples=200)
    drawn = sum(len(c[0].get_ydata()) for c in figure.axes[0].containers)
    assert drawn == len(table[table["sparsity"].notna()])
    heights = np.concatenate([c[0].get_ydata() for c in figure.axes[0].containers])
    assert sorted(heights) == pytest.approx(sorted(table["difference"]))
    with pytest.raises(ValueError, match="no cells under both"):
        study_plots.calibrations(results, "general", "other")


def test_calibrations_of_pruned_and_quantized_cells(results, monkeypatch):
    ends = {"difference": [0.1, 0.2, 0.3, 0.4], "low": 0.0, "high": 0.5}
    table = pd.DataFrame({"method": ["wanda", "wanda", "wanda", "rtn"], **ends})
    table["sparsity"], table["bits"] = [0.4, 0.5, 0.5, np.nan], [np.nan] * 3 + [3.0]
    table["pattern"] = ["unstructured", "unstructured", "2:4", ""]
    monkeypatch.setattr(study_plots, "compare_calibrations", lambda *a, **k: table)
    figure = study_plots.calibrations(results, "general", "task")
    pruned, quantized = figure.axes[:2]
    assert [a.get_xlabel() for a in (pruned, quantized)] == ["sparsity", "bits"]
    assert [list(c[0].get_ydata()) for c in pruned.containers] == [[0.1, 0.2], [0.3]]
    assert [list(c[0].get_ydata()) for c in quantized.containers] == [[0.4]]
    places = [x for c in pruned.containers for x in c[0].get_xdata()]
    assert places == pytest.approx([0.4, 0.5, 0.5], abs=0.01)
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == ["wanda", "wanda, 2:4", "rtn"]


def test_fronts(results):
    figure = study_plots.fronts(results, "facts", "bits_per_weight_nominal")
    axis = figure.axes[0]
    table = results.scores
    best = front(table["bits_per_weight_nominal"], table["facts/acc"], lower_is_better=False)
    steps = [k for k in axis.lines if k.get_drawstyle() == "steps-post"]
    assert len(steps) == 1
    assert list(steps[0].get_ydata()) == list(table.loc[best, "facts/acc"])
    assert study_plots.fronts(results).axes[0].get_ylabel() == "world perplexity"


def test_coordinates(results):
    figure = study_plots.coordinates(results)
    lines = [k for k in figure.axes[0].lines if len(k.get_xdata()) > 2]
    done = results.scores.query("status == 'done' and method != 'dense'")
    assert len(lines) == len(done)
    assert not any(np.isnan(k.get_ydata()).any() for k in lines)
    titles = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert titles[0] == "method" and "world\nperplexity" in titles and "rule" not in titles


@pytest.mark.parametrize(("width", "inches"), [("column", 3.35), ("page", 6.9)])
def test_style(results, width, inches):
    before = dict(plt.rcParams)
    with winnow.style(width):
        figure = plots.over_sparsity(results)
        assert figure.get_figwidth() == pytest.approx(inches, abs=0.15)
        assert plt.rcParams["font.size"] == 7
        single = study_plots.fronts(results)
        assert single.get_figwidth() <= inches
    assert dict(plt.rcParams) == before
    assert plots.over_sparsity(results).get_figwidth() > 8
    with pytest.raises(ValueError, match="width is"):
        winnow.style("poster")


def test_marks_of_many_methods_differ():
    marks = {(plots.PALETTE[i % len(plots.PALETTE)], plots._mark(i)) for i in range(20)}
    assert len(marks) == 20
