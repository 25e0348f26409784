# SPDX-License-Identifier: Apache-2.0
"""Figures: what they hold, not how they look."""

import shutil

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import winnow
from winnow import plots
from winnow.axes import settings


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_over_sparsity(results):
    figure = plots.over_sparsity(results)
    figure.canvas.draw()
    assert [a.get_ylabel() for a in figure.axes] == [
        "world perplexity",
        "facts accuracy",
        "in context accuracy",
    ]
    assert figure.axes[0].get_yscale() == "log"
    # Magnitude is one line for two calibration sets, Wanda one for each.
    assert labels(figure) == [
        "magnitude",
        "magnitude, 2:4",
        "wanda, general",
        "wanda, task",
        "wanda, general, 2:4",
    ]
    line = next(c for c in figure.axes[0].containers if c.get_label() == "magnitude")
    scores = results.scores
    rows = (scores["method"] == "magnitude") & (scores["pattern"] == "unstructured")
    np.testing.assert_array_equal(line.lines[0].get_ydata(), scores.loc[rows, "world/perplexity"])


def test_over_bits(results):
    figure = plots.over_bits(results, "facts")
    figure.canvas.draw()
    assert labels(figure)[:2] == ["rtn, per channel", "rtn, group 32"]
    line = figure.axes[0].containers[0].lines[0]
    assert (np.diff(line.get_xdata()) > 0).all() and line.get_xdata()[0] > 2


def test_against_has_rho_in_the_title(results):
    figure = plots.against(results, x="js", y="facts")
    figure.canvas.draw()
    rho = winnow.correlation(results, "js", "facts")
    assert figure.axes[0].get_title() == str(rho)
    assert set(plots.colours(results)) <= set(labels(figure))


def test_a_sweep_that_has_only_started(path, tmp_path):
    copy = tmp_path / "started.h5"
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        file["points/status"][2:] = 0
    results = winnow.open(copy)
    for figure in (plots.over_sparsity(results), plots.against(results)):
        figure.canvas.draw()
    with h5py.File(copy, "r+") as file:
        file["points/status"][:] = 0
    assert results.chance("facts") == 0.25 and np.isnan(results.dense["facts/acc"])
    for figure in (plots.over_sparsity(results), plots.against(results)):
        figure.canvas.draw()
    assert "undefined, n = 0" in figure.axes[0].get_title()


def test_two_models_need_a_choice(two_models_path):
    results = winnow.open(two_models_path)
    with pytest.raises(ValueError, match="give model="):
        plots.over_sparsity(results)
    figure = plots.over_sparsity(results, model=results.models[1])
    assert labels(figure) == ["magnitude"]
    with pytest.raises(ValueError, match="no quantized points"):
        plots.over_bits(results, model=results.models[0])


def test_values_of_an_axis_have_one_order_in_all_methods():
    cells = pd.DataFrame(
        {
            "method": ["a", "a", "a", "b", "b"],
            "calibration": ["web", "web", "plays", "plays", "web"],
            "pattern": ["unstructured", "2:4", "unstructured", "unstructured", "unstructured"],
            "sparsity": 0.5,
            "point": range(5),
        }
    )
    found = [s.label for s in settings(cells, ["calibration", "pattern"], "sparsity")]
    assert found == ["a, web", "a, plays", "a, web, 2:4", "b, web", "b, plays"]
