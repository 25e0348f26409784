# SPDX-License-Identifier: Apache-2.0
"""The reader: tables, arrays, states of points, wrong files."""

import shutil

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from conftest import set_text
from scipy import stats

import winnow
from winnow import plots

OPEN, FAILED = 3, 5


@pytest.fixture
def unfinished(path, tmp_path):
    """Copy the file as a running sweep leaves it: one point open and half written, one failed."""
    copy = tmp_path / "running.h5"
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        file["points/status"][OPEN], file["points/status"][FAILED] = 0, 2
        file["points/seconds"][OPEN] = np.nan
        set_text(file["points/reason"], FAILED, "a NaN")
        file["scores/world/perplexity"][OPEN] = 12345.0
    return winnow.open(copy)


def test_points_have_types_and_states(results):
    points = results.points
    assert (points["status"] == "done").all()
    assert list(points["status"].cat.categories) == ["open", "done", "failed"]
    assert points.index.name == "point" and points["key"].is_unique
    assert points["attempt"].dtype == "Int64" and points["symmetric"].dtype == "boolean"
    assert set(points["method"]) == {"dense", "magnitude", "wanda", "rtn", "wanda+rtn"}
    assert (points["reason"] == "").all() and (points["host"] != "").all()
    rtn = points[points["method"] == "rtn"]
    assert sorted(set(rtn["bits"])) == [2, 4, 8] and set(rtn["group"]) == {"channel", "32"}


def test_cells_share_points(results):
    cells = results.cells
    magnitude = cells[(cells["method"] == "magnitude") & (cells["pattern"] == "unstructured")]
    assert set(magnitude["calibration"]) == {"general", "task"}
    pairs = magnitude.groupby("sparsity")["point"]
    assert (pairs.size() == 2).all() and (pairs.nunique() == 1).all()
    scores = results.scores.loc[cells["point"], "world/perplexity"]
    np.testing.assert_array_equal(cells["world/perplexity"], scores)


def test_scores_are_those_of_the_arrays(results):
    scores = results.scores
    loss = results.tokens("world")["loss"].mean("token")
    np.testing.assert_allclose(np.log(scores["world/perplexity"]), loss, rtol=1e-5)
    correct = results.task("facts")["correct"].mean("item")
    np.testing.assert_allclose(scores["facts/acc"], correct, rtol=1e-6)
    zeros = results.dataset("weights")["zeros"].sel(linear="mlp.up_proj").mean("block")
    half = results.points.index[results.points["pattern"] == "2:4"]
    np.testing.assert_allclose(zeros.sel(point=half), 0.5)


def test_long_scores_have_errors_and_units(results):
    table = results.scores_long.set_index(["evaluation", "measure", "point"]).sort_index()
    row = table.loc[("world", "js_mean", 1)]
    assert row["unit"] == "nat"
    assert row["stderr"] == results.scores.loc[1, "world/js_mean_stderr"]
    assert "perplexity_stderr" not in table.index.get_level_values("measure")
    assert table.loc[("world", "js_median")]["stderr"].isna().all()


def test_every_mean_has_its_error(results):
    columns = results.columns.index[results.columns["score"]]
    # Without an error of their own: places in a distribution, and of flips counts, p and the margin
    # of the dense model.
    places = ("_stderr", "_median", "_p90", "_p99", "_max")
    flips = ("right_to_wrong", "wrong_to_right", "wrong_to_wrong", "p")
    others = {f"{t}/flips_{name}" for t in results.tasks for name in flips}
    others |= {f"{t}/dense_margin{end}" for t in results.tasks for end in ("", "_flipped")}
    scores = [c for c in columns if not c.endswith(places) and c not in others]
    assert others <= set(columns)
    assert {"world/nll", "world/kl_mean", "world/top1_agreement", "facts/acc"} <= set(scores)
    assert [c for c in scores if f"{c}_stderr" not in columns] == []
    assert "90th percentile" in results.columns.loc["world/js_p90", "description"]


def test_constants_are_coordinates(results, path):
    tokens = results.tokens("world")
    assert {"token_id", "sequence", "position"} <= set(tokens.coords)
    assert tokens["token_id"].dims == ("token",) and tokens["token_id"].dtype.kind == "i"
    assert tokens["token_id"].attrs["units"] == "1"
    np.testing.assert_array_equal(tokens["position"], np.arange(tokens.sizes["token"]) % 63)
    windows = tokens["loss"].groupby("sequence").mean()
    stored = results.dataset("scores/world")["window_loss"]
    np.testing.assert_allclose(windows.transpose("point", "sequence"), stored, rtol=1e-5)
    logits = results.logits("world")
    np.testing.assert_array_equal(logits["token_id"], tokens["token_id"][:32])
    task = results.task("facts")
    assert (task["choices"] == 4).all() and (task["choice_tokens"] >= 1).all()
    right = (task["prediction"] == task["gold"]).mean("item")
    np.testing.assert_allclose(right, results.scores["facts/acc"])
    with h5py.File(path, "r") as file:
        assert file["tasks/facts/gold"].shape == (40,) and file["tokens/world/token_id"].ndim == 1


def test_integers_stay_integers(results, unfinished, two_models_path):
    for source in (results, unfinished):
        ids, task = source.logits("world")["ids"], source.task("facts")
        assert ids.dtype == np.int32 and (ids >= 0).all() and "_FillValue" not in ids.attrs
        assert task["correct"].dtype == np.uint8 and task["prediction"].dtype == np.int32
        largest = source.logits("world")
        hit = ids.isel(top=0) == largest["token_id"]
        close = np.isclose(largest["target_logit"], largest["values"].isel(top=0))
        np.testing.assert_array_equal(hit, close)
    everything = unfinished.logits("world", all_points=True)["ids"]
    assert everything.dtype.kind == "f" and everything.sizes["point"] == ids.sizes["point"] + 2
    two = winnow.open(two_models_path).tokens("world")
    assert two["top1"].dtype.kind == "f" and two["token_id"].dtype.kind == "i"  # the same in both


def test_dense_and_chance(results):
    dense = results.dense
    assert dense["method"] == "dense" and dense["world/js_mean"] == 0
    assert results.chance("facts") == pytest.approx(0.25)
    assert results.chance("facts", "acc_norm") == pytest.approx(0.25)
    assert results.chance("facts", "exact_match") == 0
    left = winnow.relative(results)
    np.testing.assert_allclose(
        left["world/perplexity"], results.cells["world/perplexity"] / dense["world/perplexity"]
    )


def test_open_and_failed_points(unfinished):
    points, scores = unfinished.points, unfinished.scores
    assert points.loc[OPEN, "status"] == "open" and points.loc[FAILED, "status"] == "failed"
    assert points.loc[FAILED, "reason"] == "a NaN"
    assert np.isnan(points.loc[OPEN, "weight_error"])
    assert scores.loc[[OPEN, FAILED], "world/perplexity"].isna().all()
    assert scores["world/perplexity"].notna().sum() == len(scores) - 2
    assert OPEN not in unfinished.dataset("weights")["point"]
    everything = unfinished.dataset("weights", all_points=True)
    assert everything["status"].sel(point=OPEN) == "open"
    assert unfinished.chance("facts") == pytest.approx(0.25)
    assert "1 open" in repr(unfinished) and "1 failed" in repr(unfinished)


def test_a_running_sweep_can_be_followed(unfinished):
    before = unfinished.scores["world/perplexity"].isna().sum()
    with h5py.File(unfinished.path, "r+") as file:
        file["points/status"][OPEN] = 1
    assert unfinished.scores["world/perplexity"].isna().sum() == before - 1


def test_axes_have_names_labels_and_units(results):
    weights = results.dataset("weights")
    assert weights["zeros"].dims == ("point", "block", "linear")
    assert "self_attn.q_proj" in weights["linear"]
    assert weights["bits_per_weight_nominal"].attrs["units"] == "bit"
    tokens = results.tokens("world")
    assert tokens["loss"].dims == ("point", "token") and tokens["js"].attrs["units"] == "nat"
    task = results.task("facts")
    assert task["choice_log_likelihood"].dims == ("point", "item", "choice")
    assert task["item"].to_numpy()[0] == "facts-000"
    logits = results.logits("world")
    assert logits["values"].dims == ("point", "token", "top")
    first = logits["values"].isel(point=0)
    assert (first.diff("top") <= 0).all()
    assert set(task["method"].to_numpy()) == set(results.points["method"])


def test_arrays_are_lazy_and_can_be_closed(path, tmp_path):
    copy = tmp_path / "closed.h5"
    shutil.copy(path, copy)
    results = winnow.open(copy)
    with results.task("facts") as task, results.dataset("weights") as weights:
        assert not task["correct"].variable._in_memory
        assert weights["zeros"].sum() > 0
    with h5py.File(copy, "r+") as file:  # would fail were it still open for reading
        assert file["points/status"][0] == 1


def test_every_variable_says_what_it_is(path):
    missing = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and "/" in name:
            number = item.dtype.kind in "fiu"
            if "long_name" not in item.attrs or (number and "units" not in item.attrs):
                missing.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    assert missing == []


def test_xarray_alone_opens_every_group(path):
    groups = [None]
    with h5py.File(path, "r") as file:
        file.visititems(lambda n, o: groups.append(n) if isinstance(o, h5py.Group) else None)
    assert {"points", "cells", "weights", "scores/world", "tasks/facts"} <= set(groups)
    for group in groups:
        with xr.open_dataset(path, group=group, engine="h5netcdf") as data:
            assert not [d for d in data.dims if str(d).startswith("phony_dim")]
            for variable in data.variables.values():
                variable.load()


def test_xarray_opens_the_tree(path):
    if not hasattr(xr, "open_datatree"):
        pytest.skip("needs xarray 2024.10")
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert tree["weights/zeros"].dims == ("point", "block", "linear")
        assert tree["points"]["point"].to_numpy()[0] == "dense"


def test_documents(results):
    assert results.sweep["name"] == "test"
    assert results.sweep_text.startswith("// made by a test")
    assert {"winnow_version", "compiler", "hdf5", "model_0"} <= set(results.provenance)


def test_short_names(results):
    assert results.column("js") == "world/js_mean"
    assert results.column("facts") == "facts/acc"
    assert results.column("perplexity") == "world/perplexity"
    assert results.describe("js") == "world JS divergence (nat)"
    with pytest.raises(KeyError, match="ambiguous score 'acc'.*facts/acc"):
        results.column("acc")
    with pytest.raises(KeyError, match="no score 'bleu'.*world/perplexity"):
        results.column("bleu")


def test_two_models(two_models_path):
    results = winnow.open(two_models_path)
    first, second = results.models
    assert (first, second) == ("first", "second") and results.tasks == []
    assert results.points["model_path"].str.endswith(f"/{second}").sum() == 4
    with pytest.raises(ValueError, match="several models"):
        _ = results.dense
    assert results.dense_of(second)["model"] == second
    with pytest.raises(KeyError, match="no model 'third'"):
        results.dense_of("third")
    with pytest.raises(ValueError, match="several models"):
        winnow.correlation(results, "js", "perplexity")
    one = winnow.correlation(results, "js", "perplexity", model=second)
    scores = results.scores.query("model == @second and method != 'dense'")
    rho = stats.spearmanr(scores["world/js_mean"], scores["world/perplexity"])[0]
    assert one.n == 3 and one.rho == pytest.approx(rho)
    by = winnow.correlation(results, "js", "perplexity", by="model")
    assert by.loc[first, "n"] == 3 and by.loc["pooled", "n"] == 6
    sizes = results.dataset("weights")["model"].to_series().value_counts()
    assert sizes[first] == sizes[second] == 4


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.h5: no such file"):
        winnow.open(tmp_path / "absent.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(ValueError, match="text.h5: not an HDF5 file"):
        winnow.open(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="not a results file of winnow"):
        winnow.open(other)
    with h5py.File(other, "r+") as file:
        file.attrs["schema_version"] = 99
        file.create_group("points")
    with pytest.raises(ValueError, match="layout version 99"):
        winnow.open(other)


def test_unknown_group(results):
    with pytest.raises(KeyError, match="no group 'wieghts'; known:.*weights"):
        results.dataset("wieghts")


def test_names_of_older_files(path, tmp_path):
    old = tmp_path / "old.h5"
    old.write_bytes(path.read_bytes())
    with h5py.File(old, "r+") as file:
        for group in ("points", "weights"):
            file.move(f"{group}/bits_per_weight_nominal", f"{group}/bits_per_weight")
    new, old = winnow.open(path), winnow.open(old)
    for results in (new, old):
        scores, about = results.scores, results.columns
        for name in ("bits_per_weight_nominal", "bits_per_weight"):
            assert scores[name].equals(new.scores["bits_per_weight_nominal"])
            assert about.loc[name, "unit"] == "bit"
            assert results.dataset("weights")[name].attrs["units"] == "bit"


def test_stored_bytes(results):
    scores, weights = results.scores, results.dataset("weights")
    done = scores[scores["status"] == "done"]
    linears = done["stored_bytes_linears"]
    assert (linears == weights["stored_bytes"].sum(["block", "linear"])).all()
    others = (done["stored_bytes"] - linears)[done["method"] != "drop"]
    assert (others > 0).all() and others.nunique() == len(results.models)


def test_a_task_means_its_main_score(results, monkeypatch):
    assert results.column("facts") == "facts/acc"
    monkeypatch.setitem(results.task_facts("facts"), "main_metric", "acc_norm")
    assert results.column("facts") == "facts/acc_norm"
    assert results.named(["facts", "facts/acc"]) == ["facts/acc_norm", "facts/acc"]
    names = ("facts", "facts/acc_norm", "facts/acc")
    rho = [winnow.correlation(results, "perplexity", name).rho for name in names]
    assert rho[0] == rho[1] != rho[2]
    figure = plots.against(results, y="facts")
    assert figure.axes[0].get_ylabel() == results.describe("facts/acc_norm")
    plt.close(figure)
