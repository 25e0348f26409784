#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The README's table of architectures: how far logits are from those of transformers.

    WINNOW_VERBOSE=1 build/develop/tests/test_forward | tests/model/architectures_table.py

Each tiny checkpoint of tests/model/reference counts for the model type of its config.json; those named rules_ try ways of
writing checkpoints, not architectures.
"""

import json
import re
import sys
from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"
LINE = re.compile(r"(\S+)\s+largest logit\s+([\d.]+), largest difference (\S+)")
REAL = {"llama": "SmolLM2-135M, stories260k", "gemma3_text": "Gemma 3 270M"}


def read_differences(lines):
    """{model type: [(relative difference, checkpoint)]}"""
    found = {}
    for line in lines:
        match = LINE.match(line)
        if match and not match[1].startswith("rules_") and (REFERENCE / match[1] / "config.json").is_file():
            config = json.loads((REFERENCE / match[1] / "config.json").read_text(encoding="utf-8"))
            found.setdefault(config["model_type"], []).append((float(match[3]) / float(match[2]), match[1]))
    return found


def main():
    """Prints the table in Markdown."""
    print("| model type | tiny checkpoints | logits, relative | real models |\n| --- | --- | --- | --- |")
    for kind, checkpoints in sorted(read_differences(sys.stdin).items()):
        names = ", ".join(sorted(name for _, name in checkpoints))
        print(f"| {kind} | {names} | {max(checkpoints)[0]:.1e} | {REAL.get(kind, '')} |")


main()
