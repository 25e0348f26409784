# SPDX-License-Identifier: Apache-2.0
"""One set of names: what `winnow show` prints as text, csv and JSON, and the tables here."""

import io
import json
import os
import shutil
import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import DEMO, head, run

import winnow

DATA = DEMO / "data"
GENERAL = {"calibration": "general"}
WINDOWS = {"text": "world.txt", "protocol": "gptq", "length": 64}
ROLLING = {"text": "pages.jsonl", "protocol": "rolling", "length": 64, "windows": 2}


@pytest.fixture(scope="module")
def everything(binary, tmp_path_factory):
    """Run a sweep with every kind of column: pruned, quantized, both, drawn, searched, timed."""
    folder = tmp_path_factory.mktemp("everything")
    head(DATA / "general_eval.txt", folder / "world.txt", 12)
    head(DATA / "general_calibration.jsonl", folder / "pages.jsonl", 4)
    text = {"text": str(DATA / "general_calibration.jsonl"), "samples": 4, "length": 64}
    prompts = {"prompts": str(DATA / "task_calibration.jsonl"), "samples": 4, "length": 64}
    pruned = {"sparsity": 0.5, **GENERAL}
    few = {"preset": "super-fast", "on": "general", "generations": 2, "offspring": 2}
    sweep = {
        "model": str(DEMO / "model"),
        "calibration": {"general": text, "prompts": prompts},
        "search": {"fast": {**few, "initial_tokens": 64, "tokens": [64, 64]}},
        "grid": [
            {"method": "sparsegpt", **pruned, "replicates": 2, "perturb": 1e-7},
            {"method": "wanda", "pattern": "2:4", "calibration": "prompts", "allocation": "owl"},
            {"prune": "wanda", **pruned, "quantize": "gptq", "bits": 4, "group": 32},
            {"method": "drop", "units": "block", "sparsity": 0.34, "allocation": "fast"},
        ],
        "evaluate": {
            "perplexity": {"world": WINDOWS, "pages": ROLLING},
            "tasks": [
                {"requests": str(DATA / f"{name}.jsonl"), "limit": 4}
                for name in ("facts", "summaries", "instructions")
            ],
            "divergence": {"on": ["world", "facts"], "measures": ["kl", "js", "top1"]},
            "logits": {"on": ["world"], "top": 4, "tokens": 32},
            "efficiency": {"prompt": 16, "steps": 1, "pairs": 1, "batch": 1},
        },
        "statistics": {"sample": "general", "tokens": 64},
    }
    return run(binary, folder, sweep)


@pytest.fixture
def unfinished(everything, tmp_path):
    """Copy the file with an open point that is half written, and a failed one."""
    path = tmp_path / "unfinished.h5"
    shutil.copy(everything, path)
    with h5py.File(path, "r+") as file:
        file["points/status"][2:4] = 0, 2
    return path


@pytest.fixture
def older(everything, tmp_path):
    """Copy the file as an older version would have written it, which had another name."""
    path = tmp_path / "older.h5"
    shutil.copy(everything, path)
    with h5py.File(path, "r+") as file:
        for group in ("points", "weights"):
            file.move(f"{group}/bits_per_weight_nominal", f"{group}/bits_per_weight")
        fields = file["fields"].asstr()[()]
        file["fields"][()] = fields.replace("bits_per_weight_nominal", "bits_per_weight")
    return path


def show(binary, path, *options):
    command = [str(binary), "show", str(path), "--draws", *options]
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    return done.stdout


def table_of(results):
    """The scores without what only this package adds: older names of columns."""
    about = results.columns
    older = about.index[about["description"].str.startswith("older name of")]
    return results.scores.drop(columns=older)


def assert_equal(table, other):
    for name, column in table.items():
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object:
            texts = column.astype(object).fillna("").tolist()
            assert other[name].fillna("").tolist() == texts, name
        else:
            values = column.astype("Float64").to_numpy(float, np.nan)
            np.testing.assert_array_equal(other[name].astype(float), values, name)


def test_names_are_the_same_everywhere(binary, everything):
    results = winnow.open(everything)
    names = list(table_of(results).columns)
    kinds = {"method", "sparsity", "bits", "replicate", "perturb", "world/kl_mean", "facts/acc"}
    kinds |= {"pages/word_perplexity", "summaries/rougeL", "instructions/exact_match"}
    kinds |= {"efficiency/decode_1_faster", "bits_per_weight_nominal"}
    assert kinds < set(names), kinds - set(names)
    shown = json.loads(show(binary, everything, "--json"))
    for point in shown["points"]:  # in front what the point is, then the columns in their order
        assert list(point) == ["point", "status", *(n for n in names if n != "status")]
    first = show(binary, everything, "--all", "--csv", "--stderr").partition("\n")[0].split(",")
    assert first == list(shown["points"][0])
    assert show(binary, everything, "--all").partition("\n")[0].split() == ["point", *names]
    asked = show(binary, everything, "--columns", ",".join(names)).partition("\n")[0].split()
    assert asked == ["point", *names]


def test_facts_of_the_file_are_the_same(binary, everything):
    results = winnow.open(everything)
    shown = json.loads(show(binary, everything, "--json"))
    assert list(shown) == ["schema_version", "provenance", "points"]
    assert shown["schema_version"] == results.schema_version
    assert shown["provenance"] == results.provenance and "task_facts" in shown["provenance"]


@pytest.mark.parametrize("kind", ["everything", "unfinished", "older"])
def test_json_and_csv_are_the_table(binary, kind, request):
    path = request.getfixturevalue(kind)
    table = table_of(winnow.open(path))
    points = json.loads(show(binary, path, "--json"))["points"]
    shown = pd.DataFrame(points).set_index("point")
    assert sorted(shown.columns) == sorted(table.columns)
    assert_equal(table, shown)
    text = io.StringIO(show(binary, path, "--all", "--csv"))
    assert_equal(table, pd.read_csv(text, dtype=str).set_index("point"))
    failed = show(binary, path, "--csv", "--where", "status=failed").splitlines()
    assert len(failed) - 1 == (table["status"] == "failed").sum() == (kind == "unfinished")
