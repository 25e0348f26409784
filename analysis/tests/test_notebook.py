# SPDX-License-Identifier: Apache-2.0
"""The notebooks run from top to bottom on a results file, and are kept without outputs."""

import os

import pytest
from conftest import ANALYSIS

nbformat = pytest.importorskip("nbformat")
preprocessors = pytest.importorskip("nbconvert.preprocessors")

NOTEBOOKS = {  # and how many figures at least on a file of two tasks
    "allocation_and_efficiency.ipynb": 2,
    "does_perplexity_tell.ipynb": 1,
    "first_look.ipynb": 4,
    "what_survives.ipynb": 2,
}


def test_all_notebooks_are_listed():
    assert {path.name for path in (ANALYSIS / "notebooks").glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs(path, monkeypatch, name):
    monkeypatch.setenv("WINNOW_RESULTS", str(path))
    paths = [str(ANALYSIS), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    file = ANALYSIS / "notebooks" / name
    notebook = nbformat.read(file, as_version=4)
    run = preprocessors.ExecutePreprocessor(timeout=120, kernel_name="python3")
    run.preprocess(notebook, {"metadata": {"path": str(file.parent)}})
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= NOTEBOOKS[name]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_outputs_are_stored(name):
    notebook = nbformat.read(ANALYSIS / "notebooks" / name, as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert code and all(not c.outputs and c.execution_count is None for c in code)
