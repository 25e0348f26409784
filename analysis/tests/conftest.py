# SPDX-License-Identifier: Apache-2.0
"""Results files for the tests, written by the winnow binary from a reduced demo sweep."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

ANALYSIS = Path(__file__).resolve().parents[1]
ROOT = ANALYSIS.parent
DEMO = ROOT / "sweeps" / "demo"
sys.path.insert(0, str(ANALYSIS))  # the tests read this tree, installed or not

import matplotlib  # noqa: E402

matplotlib.use("Agg")

import winnow  # noqa: E402


@pytest.fixture(scope="session")
def binary():
    """Find the program: WINNOW_BINARY, or the newest build."""
    if "WINNOW_BINARY" in os.environ:
        path = Path(os.environ["WINNOW_BINARY"])
        assert path.is_file(), f"WINNOW_BINARY: {path}: no such file"
        return path
    builds = [ROOT / "build" / name / "winnow" for name in ("release", "develop")]
    builds = [path for path in builds if path.is_file()]
    if not builds:
        pytest.skip("no winnow binary: build it, or set WINNOW_BINARY")
    return max(builds, key=lambda path: path.stat().st_mtime)


def example(name):
    """A module of examples/."""
    sys.path.insert(0, str(ANALYSIS / "examples"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def head(source, target, lines):
    text = source.read_text(encoding="utf-8").splitlines(keepends=True)
    target.write_text("".join(text[:lines]), encoding="utf-8")


def set_text(dataset, row, text):
    """Write characters as winnow does: h5py itself would end each of them with a NUL."""
    width = dataset.shape[1]
    characters = np.frombuffer(text.encode().ljust(width, b"\0"), "S1").reshape(1, width)
    space = dataset.id.get_space()
    space.select_hyperslab((row, 0), (1, width))
    memory = h5py.h5s.create_simple((1, width))
    dataset.id.write(memory, space, characters, dataset.id.get_type())


def run(binary, folder, sweep):
    path = folder / "sweep.json"
    path.write_text("// made by a test\n" + json.dumps(sweep), encoding="utf-8")
    command = [str(binary), "run", str(path), "-o", str(folder / "results.h5"), "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "results.h5"


@pytest.fixture(scope="session")
def path(binary, tmp_path_factory):
    """Run a sweep of 20 points with two small tasks and one short text."""
    folder = tmp_path_factory.mktemp("sweep")
    head(DEMO / "data" / "facts.jsonl", folder / "facts.jsonl", 40)
    head(DEMO / "data" / "in_context.jsonl", folder / "in_context.jsonl", 40)
    head(DEMO / "data" / "general_eval.txt", folder / "world.txt", 60)
    general = {"text": str(DEMO / "data" / "general_calibration.jsonl"), "samples": 4, "length": 64}
    task = {"prompts": str(DEMO / "data" / "task_calibration.jsonl"), "samples": 16, "length": 64}
    both = ["general", "task"]
    sweep = {
        "name": "test",
        "model": str(DEMO / "model"),
        "calibration": {"general": general, "task": task},
        "grid": [
            {"method": "magnitude", "sparsity": [0.2, 0.5, 0.6, 0.7], "calibration": both},
            {"method": "wanda", "sparsity": [0.4, 0.6, 0.7], "calibration": both},
            {"method": ["magnitude", "wanda"], "pattern": "2:4", "calibration": "general"},
            {"method": "rtn", "bits": [8, 4, 2], "group": ["channel", 32]},
            {"prune": "wanda", "sparsity": 0.5, "quantize": "rtn", "bits": 4, "calibration": both},
        ],
        "evaluate": {
            "perplexity": {"world": {"text": "world.txt", "protocol": "gptq", "length": 64}},
            "tasks": ["facts.jsonl", "in_context.jsonl"],
            "divergence": {"on": ["world"], "measures": ["kl", "js", "top1"]},
            "logits": {"on": ["world"], "top": 8, "tokens": 32},
        },
    }
    return run(binary, folder, sweep)


@pytest.fixture
def results(path):
    return winnow.open(path)


@pytest.fixture(scope="session")
def two_models_path(binary, tmp_path_factory):
    """Run a sweep over two models (the same one under two names) without any task."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("first", "second"):
        (folder / name).symlink_to(DEMO / "model", target_is_directory=True)
    head(DEMO / "data" / "general_eval.txt", folder / "world.txt", 20)
    sweep = {
        "model": ["first", "second"],
        "grid": [{"method": "magnitude", "sparsity": [0.3, 0.5, 0.7]}],
        "evaluate": {
            "perplexity": {"world": {"text": "world.txt", "protocol": "gptq", "length": 64}},
            "divergence": {"on": ["world"], "measures": ["js"]},
        },
    }
    return run(binary, folder, sweep)
