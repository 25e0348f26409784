#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes drop.json: scores, dropped units and perplexities of depth pruning of the demo model, for test_drop_points.c.

    python3 tests/point/make_drop.py     needs torch, transformers, tokenizers, numpy

By transformers, without winnow (tests/oracle/walk.py). Run it again when the demo model or its data change.
"""

import json
import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle"))
from walk import ATTENTION, MLP, Walk, batches, c4_windows, drop_choice, without  # noqa: E402

DEMO = HERE.parents[1] / "sweeps/demo"
SAMPLES, CALIBRATION_LENGTH, WINDOWS, LENGTH = 40, 64, 8, 128  # two chunks of calibration
POINTS = [
    {"sparsity": 0.2},
    {"sparsity": 0.5},
    {"sparsity": 0.5, "units": "attention"},
    {"sparsity": 0.5, "units": "mlp"},
    {"sparsity": 0.5, "units": "branch"},
    {"sparsity": 0.5, "score": "angular"},
    {"sparsity": 0.5, "score": "subcloning"},
    {"sparsity": 0.2, "score": "window"},
    {"sparsity": 0.5, "score": "window"},
    {"sparsity": 0.34, "score": "perplexity"},
    {"sparsity": 0.34, "score": "kl"},
    {"sparsity": 0.34, "units": "attention", "score": "kl"},
    {"sparsity": 0.34, "units": "mlp", "score": "perplexity"},
    {"sparsity": 0.34, "units": "branch", "score": "perplexity"},
    {"sparsity": 0.25, "units": "branch", "score": "kl"},
]


def flags(walk, dropped, branch):
    return [int(any(b == block and branch in branches for b, branches in dropped)) for block in range(walk.n_blocks)]


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    walk = Walk(str(DEMO / "model"))
    path = DEMO / "data/general_calibration.jsonl"
    ids = batches(c4_windows(path, walk.encode, SAMPLES, CALIBRATION_LENGTH, 0))
    stream = walk.encode((DEMO / "data/general_eval.txt").read_text(encoding="utf-8"))[: WINDOWS * LENGTH]
    windows = torch.tensor(stream).view(WINDOWS, LENGTH)
    points = []
    for settings in POINTS:
        scores, dropped = drop_choice(walk, ids, **settings)
        row = {"product": {"method": "drop"} | settings, "perplexity": walk.perplexity(without(walk, dropped), windows)}
        row |= {"attention": flags(walk, dropped, ATTENTION), "mlp": flags(walk, dropped, MLP), "scores": scores}
        if settings.get("units") == "branch":
            row |= {"scores": scores[::2], "scores_mlp": scores[1::2]}
        points.append(row)
        print(f"{row['perplexity']:12.6f}  {settings}  {[(b, *names) for b, names in dropped]}", flush=True)
    calibration = {"samples": SAMPLES, "length": CALIBRATION_LENGTH}
    golden = {"calibration": calibration, "world": {"windows": WINDOWS, "length": LENGTH}, "points": points}
    (HERE / "drop.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
