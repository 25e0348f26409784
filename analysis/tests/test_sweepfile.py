# SPDX-License-Identifier: Apache-2.0
"""Sweep files and their JSON Schema."""

import json
import subprocess

import jsonschema
import pytest
from conftest import ROOT

from winnow.sweepfile import parse_sweep, read_sweep, strip_comments

SCHEMA = ROOT / "sweeps" / "sweep.schema.json"
SWEEPS = sorted((ROOT / "sweeps").glob("*/*sweep*.json"))


def test_comments_go_and_strings_stay():
    text = '{"a": "x // y", /* two\nlines */ "b": "\\"//", // end\n "c": 1}'
    assert parse_sweep(text) == {"a": "x // y", "b": '"//', "c": 1}
    assert len(strip_comments(text)) == len(text)
    assert strip_comments(text).count("\n") == text.count("\n")


def test_schema_is_the_binarys(binary):
    printed = subprocess.run([str(binary), "help", "schema"], capture_output=True, check=True)
    assert json.loads(printed.stdout) == json.loads(SCHEMA.read_text(encoding="utf-8")), (
        f"refresh it: winnow help schema > {SCHEMA.relative_to(ROOT)}"
    )


def test_schema_is_a_schema():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)


def test_there_are_sweeps():
    assert ROOT / "sweeps" / "demo" / "sweep.json" in SWEEPS


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: str(p.relative_to(ROOT)))
def test_sweeps_are_valid(path):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(read_sweep(path))


@pytest.mark.parametrize(
    "change",
    [
        {"grdi": []},
        {"grid": [{"method": "magnitud", "sparsity": 0.5}]},
        {"grid": [{"method": "magnitude", "sparsity": "half"}]},
    ],
)
def test_mistakes_are_invalid(change):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    sweep = {**read_sweep(ROOT / "sweeps" / "demo" / "sweep.json"), **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(sweep)
