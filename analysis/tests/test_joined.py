# SPDX-License-Identifier: Apache-2.0
"""Several results files as one."""

import json
import shutil

import h5py
import numpy as np
import pytest
from conftest import run

import winnow


@pytest.fixture(scope="module")
def parts(binary, path, tmp_path_factory):
    """Two files: one has other methods of the same sweep, both have the dense point."""
    sweep = winnow.read_sweep(path.parent / "sweep.json")
    files = []
    for name, method in (("a", "magnitude"), ("b", "wanda")):
        folder = tmp_path_factory.mktemp(name)
        for data in ("facts.jsonl", "in_context.jsonl", "world.txt"):
            shutil.copy(path.parent / data, folder / data)
        grid = [p for p in sweep["grid"] if p.get("method") == method]
        grid += [{"method": "rtn", "bits": 4, "group": 32}] if name == "b" else []
        files.append(run(binary, folder, {**sweep, "grid": grid}))
    return files


def test_rows_of_both_files(parts, results):
    joined = winnow.open(parts)
    scores, whole = joined.scores.set_index("key"), results.scores.set_index("key")
    assert len(scores) == 1 + 4 + 6 + 1 and scores.index.is_unique
    assert set(scores.index) < set(whole.index)
    for column in whole.columns[whole.columns.str.contains("/")]:
        np.testing.assert_array_equal(scores[column], whole.loc[scores.index, column])
    assert scores.loc["dense", "file"] == str(parts[0])
    assert list(scores["status"].cat.categories) == ["open", "done", "failed"]
    assert joined.dense["world/perplexity"] == results.dense["world/perplexity"]
    assert joined.columns.index.is_unique and set(joined.scores) <= set(joined.columns.index)


def test_cells_and_statistics(parts, results):
    joined = winnow.open([str(p) for p in parts])
    cells = joined.cells
    assert (joined.scores.loc[cells["point"], "key"].to_numpy() == cells["key"].to_numpy()).all()
    assert len(cells) == 8 + 6 + 1
    assert winnow.correlation(joined, x="js", y="facts").n == 11
    assert joined.describe("js") == results.describe("js")
    assert joined.chance("facts") == results.chance("facts")


def test_arrays(parts, results):
    joined = winnow.open(parts)
    items, whole = joined.task("facts"), results.task("facts")
    assert list(items["point"]) == list(range(12))
    keys = list(whole["key"].values)
    rows = whole.isel(point=[keys.index(k) for k in items["key"].values])
    np.testing.assert_array_equal(items["correct"], rows["correct"])
    assert items["correct"].dtype == rows["correct"].dtype
    np.testing.assert_array_equal(items["gold"], whole["gold"])
    weights = joined.dataset("weights")
    assert weights.sizes["point"] == 12 and "zeros" in weights
    assert joined.logits("world").sizes["top"] == 8


def test_equal_points_must_agree(parts, tmp_path):
    copy = tmp_path / "other.h5"
    shutil.copy(parts[1], copy)
    with h5py.File(copy, "r+") as file:
        file["scores/world/perplexity"][0] += 1
    with pytest.raises(ValueError, match="point 'dense': world/perplexity is .* but .*other.h5"):
        winnow.open([parts[0], copy]).scores.head()
    assert len(winnow.open([parts[1], parts[1]]).scores) == 8


def test_evaluations_must_agree(binary, parts, tmp_path):
    sweep = winnow.read_sweep(parts[0].parent / "sweep.json")
    for data in ("facts.jsonl", "in_context.jsonl", "world.txt"):
        shutil.copy(parts[0].parent / data, tmp_path / data)
    facts = (tmp_path / "facts.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "facts.jsonl").write_text("".join(facts[:20]))
    other = run(binary, tmp_path, {**sweep, "grid": [{"method": "magnitude", "sparsity": 0.9}]})
    with pytest.raises(ValueError, match="facts is another text or task in"):
        winnow.open([parts[0], other])


def test_models_of_one_name(binary, parts, tmp_path):
    """Two checkpoints in folders of one name are two models."""
    sweep = winnow.read_sweep(parts[0].parent / "sweep.json")
    model = tmp_path / "model"
    shutil.copytree(sweep["model"], model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-4}))
    for data in ("facts.jsonl", "in_context.jsonl", "world.txt"):
        shutil.copy(parts[0].parent / data, tmp_path / data)
    grid = [{"method": "magnitude", "sparsity": 0.5}]
    other = run(binary, tmp_path, {**sweep, "model": str(model), "grid": grid})
    joined = winnow.open([parts[0], other])
    assert len(joined.models) == 2 and len(joined.scores) == 5 + 2
    assert joined.scores["key"].is_unique
    rows = [joined.dense_of(m)["world/perplexity"] for m in joined.models]
    assert rows[0] != rows[1]
    assert joined.task("facts").sizes["point"] == 7


def test_a_list_of_one(path):
    assert len(winnow.open([path]).scores) == len(winnow.open(path).scores)
    with pytest.raises(ValueError, match="no results files"):
        winnow.open([])


def test_two_names_of_one_checkpoint(two_models_path):
    joined, alone = winnow.open([two_models_path, two_models_path]), winnow.open(two_models_path)
    assert list(joined.scores["key"]) == list(alone.scores["key"])
    assert joined.dataset("tokens/world").sizes == alone.dataset("tokens/world").sizes


def test_figures_of_both_files(parts, results):
    joined = winnow.open(parts)
    assert set(joined.axes) <= set(results.axes) and {"method", "sparsity"} <= set(joined.axes)
    assert joined.predictors == results.predictors
    labels = {t.get_text() for t in winnow.plots.over_sparsity(joined).legends[0].get_texts()}
    assert {label.partition(",")[0] for label in labels} == {"magnitude", "wanda"}
    assert len(winnow.breaking_points(joined, tasks=["facts"])) > 1
