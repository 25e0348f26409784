# SPDX-License-Identifier: Apache-2.0
"""Maps of statistics of linears: their values are the file's, their points one of every setting."""

import shutil

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm

import winnow
from winnow import layer_plots, report


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def meshes(figure):
    """The maps of a figure; a colour bar has no title."""
    axes = [a for a in figure.axes if a.get_title()]
    return {a.get_title(): next(c for c in a.collections if isinstance(c, QuadMesh)) for a in axes}


# Most settings have 50 %; wanda has 40 % and 60 %. Of nine six have room, all methods first.
CHOSEN = {
    "magnitude, 50%": "method == 'magnitude' and sparsity == 0.5 and pattern == 'unstructured'",
    "magnitude, 2:4, 50%": "method == 'magnitude' and pattern == '2:4'",
    "wanda, general, 40%": "method == 'wanda' and sparsity == 0.4 and calibration == 'general'",
    "wanda, task, 40%": "method == 'wanda' and sparsity == 0.4 and calibration == 'task'",
    "wanda+rtn, general, 50%": "method == 'wanda+rtn' and calibration == 'general'",
    "rtn, per channel, 4 bits": "method == 'rtn' and bits == 4 and group == 'channel'",
}


def test_maps_are_of_one_point_of_every_setting(results):
    figure = layer_plots.maps(results)
    figure.canvas.draw()
    found = meshes(figure)
    assert list(found) == list(CHOSEN)
    errors = results.dataset("weights")["output_error"].transpose("point", "linear", "block")
    for title, mesh in found.items():
        (point,) = results.points.query(CHOSEN[title]).index
        values = errors.sel(point=point).to_numpy()
        np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(values.shape), values)
    first = figure.axes[0]
    rows = [t.get_text() for t in first.get_yticklabels()]
    assert rows == ["q", "k", "v", "o", "gate", "up", "down"] and first.yaxis_inverted()
    assert [a.get_title(loc="left") for a in figure.axes[:6]] == [f"({c})" for c in "abcdef"]
    assert [a.get_ylabel() for a in figure.axes[6:]] == ["relative error of outputs"]
    assert len({id(mesh.norm) for mesh in found.values()}) == 1


def test_scale(results):
    points = results.points
    eight = points.index[(points["method"] == "rtn") & (points["bits"] == 8)][0]
    worst = points.index[points["sparsity"] == 0.7][0]
    dense = points.index[points["method"] == "dense"][0]
    figure = layer_plots.maps(results, points=[dense, eight, worst])
    figure.canvas.draw()
    norm = next(iter(meshes(figure).values())).norm
    errors = results.dataset("weights")["output_error"].sel(point=[eight, worst]).to_numpy()
    assert isinstance(norm, LogNorm)
    assert (norm.vmin, norm.vmax) == pytest.approx((errors.min(), errors.max()))
    same = layer_plots.maps(results, points=int(worst))
    assert not isinstance(next(iter(meshes(same).values())).norm, LogNorm)
    ticks = [t.get_text() for t in figure.axes[-1].get_yticklabels() if t.get_text()]
    assert len(ticks) >= 2 and all(float(t) > 0 for t in ticks)


def test_points_that_differ_in_nothing_are_not_shown(results):
    with pytest.raises(ValueError, match="no points whose linears differ in zeros"):
        layer_plots.maps(results, "zeros")
    figure = layer_plots.maps(results, "kurtosis")
    assert next(iter(meshes(figure))) == "dense" and len(meshes(figure)) == 6
    with pytest.raises(KeyError, match=r"no statistic 'colour'.*known: .*output_error"):
        layer_plots.maps(results, "colour")
    assert layer_plots.maps(results, "mask_overlap").axes[-1].get_ylabel() == "mask overlap"


class Mixture:
    """Blocks of experts, and a block and a linear that these points do not have."""

    def dataset(self, group):
        assert group == "weights"
        names = [
            "attention.q_proj",
            "experts.0.up_proj",
            "experts.1.up_proj",
            "shared.up_proj",
            "x",
        ]
        values = np.arange(30.0).reshape(2, 3, 5)
        values[:, 2] = values[:, :, 4] = np.nan
        values[1, 0, 1] = np.nan
        data = xr.Dataset({"zeros": (("point", "block", "linear"), values)})
        return data.assign_coords(point=[4, 7], linear=names)


def test_experts_are_one_row():
    rows, values = layer_plots._read(Mixture(), "zeros", [7, 4])
    assert rows == ["q", "experts.up (2)", "shared.up"]
    expected = [[[15, 20], [17, 21.5], [18, 23]], [[0, 5], [1.5, 6.5], [3, 8]]]
    np.testing.assert_array_equal(values, expected)


def test_a_file_without_statistics_has_a_report(path, tmp_path):
    copy = shutil.copy(path, tmp_path / "bare.h5")
    with h5py.File(copy, "r+") as file:
        del file["weights"]
    results = winnow.open(copy)
    with pytest.raises(KeyError, match="no group 'weights'"):
        layer_plots.maps(results)
    titles = [title for title, _, _ in report.figures(results, results.models[0])]
    assert "Over sparsity" in titles and not [t for t in titles if t.endswith("single linears")]
