# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of lines of request files, as the program prints it."""

import json

import jsonschema
import pytest
from conftest import ROOT

SCHEMA = json.loads((ROOT / "sweeps" / "requests.schema.json").read_text(encoding="utf-8"))
FILES = sorted((ROOT / "tests" / "eval" / "requests").glob("*.jsonl"))


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_there_are_files():
    assert len(FILES) >= 9


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_lines_are_valid(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(line))


@pytest.mark.parametrize(
    "line",
    [
        {"task": "t", "kind": "pair"},
        {"task": "t", "kind": "pairs", "metrics": ["f1"]},
        {"task": "t", "chance": 2},
        {"task": "t", "dimension": "luck"},
        {"context": "a", "choices": ["b", "c"]},
        {"context": "a", "choices": ["b", ""], "gold": 0},
        {"context": "a", "choices": ["b", "c"], "gold": -1},
        {"texts": ["a"]},
        {"text": "a", "wrods": 3},
    ],
)
def test_mistakes_are_invalid(line):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(line)
