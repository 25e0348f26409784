# SPDX-License-Identifier: Apache-2.0
"""Examples in the package and in its README are what they say they are."""

import doctest
import importlib
import pkgutil
import re
import shutil

import matplotlib.pyplot as plt
import pytest
from conftest import ANALYSIS

import winnow


def modules():
    found = pkgutil.walk_packages(winnow.__path__, "winnow.")
    return ["winnow", *(m.name for m in found if not m.name.endswith("__main__"))]


def test_examples_of_the_package(path, tmp_path, monkeypatch):
    shutil.copy(path, tmp_path / "demo.h5")
    monkeypatch.chdir(tmp_path)
    run = 0
    for name in modules():
        result = doctest.testmod(importlib.import_module(name))
        assert result.failed == 0, name
        run += result.attempted
    assert run >= 10


# What a file has to have beside two tasks and a text: the example says so itself.
NEEDS = re.compile(r"(?s)no |several draws|not scored|one allocation|search")


def test_lines_of_the_readme(path):
    text = (ANALYSIS / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"(?m)^    (winnow\.\w[\w.]*\(.*?\)) *(?:#.*)?$", text)
    assert len(lines) >= 15
    names = {"winnow": winnow, "results": winnow.open(path)}
    worked = 0
    for line in lines:
        try:
            eval(line, names)
            worked += 1
        except (ValueError, KeyError) as reason:
            assert NEEDS.search(str(reason)), line
        plt.close("all")
    assert worked >= 12


def test_every_public_name_has_a_home_and_words():
    for name in winnow.__all__:
        assert getattr(winnow, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        winnow.nothing  # noqa: B018
