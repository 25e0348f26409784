# SPDX-License-Identifier: Apache-2.0
"""The page of findings: its numbers are those of the file, and a file that is not done has one."""

import re
import shutil

import h5py
import pytest
from conftest import example

import winnow

findings = example("findings")
number = example("study").number
TITLES = ("perplexity tell", "late alarm", "kind of calibration text", "N:M", "How few bits")


def test_page_of_a_file(path, tmp_path):
    study = findings.Study(winnow.open(path))
    figures = findings.draw(study, tmp_path)
    text = findings.page(study, figures)
    results = study.results
    assert "not complete" not in text and f"{len(results.points)} of " in text
    for title in TITLES:
        assert re.search(f"^## .*{title}", text, re.MULTILINE), title
    assert "two draws" not in text  # there are none
    row = winnow.correlations(results).set_index(["x", "y"]).loc[("world/perplexity", "facts/acc")]
    assert f"| facts | world/perplexity | {number(row['rho'])} (" in text
    ratio = results.scores.query("method == 'rtn' and bits == 2 and group == '32'").iloc[0]
    ratio = ratio["world/perplexity"] / results.dense["world/perplexity"]
    assert re.search(rf"^\| rtn \| 2 bits, group 32 \|.*\| {number(ratio)} \|", text, re.MULTILINE)
    files = re.findall(r"\]\((.*?\.png)\)", text)
    assert len(files) == len(figures) == 4
    assert all((tmp_path / file).stat().st_size > 1000 for file in files)


@pytest.mark.parametrize("done", [1, 3, 12])
def test_page_of_a_file_that_is_not_done(path, tmp_path, done):
    copy = tmp_path / "part.h5"
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        file["points/status"][done:] = 0
        count = len(file["points/status"])
    if done == 3:
        assert findings.main([str(copy), "-o", str(tmp_path)]) == 0
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        folder = str(winnow.open(path).points["model_path"].iloc[0]).rpartition("/")[0]
        assert len(page) > 10_000 and folder.startswith("/") and f"{folder}/" not in page
        text = (tmp_path / "README.md").read_text(encoding="utf-8")
    else:
        text = findings.page(findings.Study(winnow.open(copy)), [])
    assert f"{count - done} points are open" in text
