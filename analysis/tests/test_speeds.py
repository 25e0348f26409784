# SPDX-License-Identifier: Apache-2.0
"""Speeds: the table is what the file has; figures show it, its quartiles and disturbances."""

import shutil

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import DEMO, head, run

import winnow
from winnow import speed_plots


@pytest.fixture(scope="module")
def path(binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speeds")
    head(DEMO / "data" / "general_eval.txt", folder / "world.txt", 12)
    sweep = {
        "model": str(DEMO / "model"),
        "grid": [{"method": "rtn", "bits": [8, 4, 2], "group": 32}],
        "evaluate": {
            "perplexity": {"world": {"text": "world.txt", "protocol": "gptq", "length": 64}},
            "efficiency": {"prompt": 16, "steps": 2, "pairs": 2, "batch": 1},
        },
    }
    return run(binary, folder, sweep)


@pytest.fixture
def restless(path, tmp_path):
    """The same file, in which every pair of point 1 was disturbed, and none of the others."""
    copy = tmp_path / "restless.h5"
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        pairs = file["speed/efficiency/pairs"][...]
        pairs[pairs > 0] = 4
        file["speed/efficiency/pairs"][...] = pairs
        pairs[[0, 2, 3]] = 0
        file["speed/efficiency/disturbed"][...] = pairs
    return winnow.open(copy)


def test_the_table_is_what_the_file_has(path):
    table = winnow.speeds(winnow.open(path))
    assert set(table["kind"]) == {"prefill", "first_token", "decode_1"} and len(table) == 4 * 3
    with h5py.File(path) as file:
        group = file["speed/efficiency"]
        kinds = [k.decode() for k in file["speed_kind"][...]]
        for point, row in table.iterrows():
            k = kinds.index(row["kind"])
            low, median, high = group["faster"][point, k, 1, 1]  # dense fp32, processor
            assert (row["low"], row["faster"], row["high"]) == (low, median, high)
            assert row["seconds"] == group["seconds"][point, k, 0, 1, 1]
            assert row["disturbed"] == group["disturbed"][point, k] <= row["pairs"]
            sizes = group["resident_bytes"][point]
            assert row["smaller"] == sizes[1] / sizes[0]
    scores = winnow.open(path).scores
    decode = table[table["kind"] == "decode_1"]
    assert (decode["faster"] == scores.loc[decode.index, "efficiency/decode_1_faster"]).all()
    bits = decode[decode["bits"].notna()]
    assert list(bits["bits"]) == [8, 4, 2] and bits["smaller"].is_monotonic_increasing
    other = winnow.speeds(winnow.open(path), "dense bf16", clock="wall")
    assert (other["faster"].to_numpy() != table["faster"].to_numpy()).all()


def test_disturbed_pairs_are_marked(restless):
    table = winnow.speeds(restless)
    assert table.groupby(level=0)["calm"].all().to_dict() == {0: True, 1: False, 2: True, 3: True}
    figure = speed_plots.memory_and_speed(restless)
    for axis in figure.axes:
        white = [k for k in axis.lines if k.get_color() == "white"]
        assert sum(len(k.get_xdata()) for k in white) == 1
    assert "disturbed" in [t.get_text() for t in figure.legends[0].get_texts()]
    plt.close("all")


def test_fronts_have_no_point_that_another_beats(path):
    results = winnow.open(path)
    figure = speed_plots.quality_fronts(results)
    assert len(figure.axes) == 4  # stored bytes and three kinds of takes
    times, perplexity = winnow.speeds(results), results.scores["world/perplexity"]
    for axis, kind in zip(figure.axes[1:], dict.fromkeys(times["kind"])):
        rows = times[times["kind"] == kind]
        steps = next(k for k in axis.lines if k.get_drawstyle() == "steps-post")
        on = set(steps.get_xdata())
        for point, faster in rows["faster"].items():
            beaten = (rows["faster"] > faster) & (perplexity[rows.index] <= perplexity[point])
            beaten |= (rows["faster"] >= faster) & (perplexity[rows.index] < perplexity[point])
            assert (faster in on) == (not beaten.any())
    plt.close("all")


def test_figures_over_memory_have_the_quartiles(path):
    results = winnow.open(path)
    rows = winnow.speeds(results).query("kind == 'prefill' and method == 'rtn'")
    figure = speed_plots.memory_and_speed(results)
    bars = figure.axes[0].containers[0].lines[2][0].get_segments()
    ends = sorted(tuple(s[:, 1]) for s in bars)
    expected = sorted(zip(rows["low"], rows["high"]))
    assert np.allclose(ends, expected)
    plt.close("all")


def test_without_speeds(two_models_path):
    with pytest.raises(ValueError, match="efficiency"):
        winnow.speeds(winnow.open(two_models_path))
    with pytest.raises(ValueError, match="clock"):
        winnow.speeds(winnow.open(two_models_path), clock="sun")
