#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes awq.safetensors: groups of weights clipped and rounded as AWQ does it, in plain numpy.

Written from the published description (arXiv:2306.00978 and the behaviour of its auto_clip), without winnow: the error
of a clip is the mean over the tokens of the squared change of what a group adds to the output, computed token by token.
Every case has a row in the table `cases` of the metadata: settings, and the tensors with inputs and expected values.

    python3 make_awq.py [awq.safetensors]
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

F = np.float32
ROWS, COLUMNS, TOKENS = 14, 48, 70
SETTINGS = [
    {"bits": 2, "group": 8},
    {"bits": 3, "group": 16},
    {"bits": 3},
    {"bits": 3, "group": 16, "symmetric": True},
    {"bits": 4, "group": 16},
    {"bits": 8, "group": 24},
    {"bits": 3, "group": 20},  # 20, 20, 8
    {"bits": 4, "group": 32, "symmetric": True},
    {"bits": 3, "group": 64},
]


def rounded(groups, bits, symmetric):
    """Codes and values of groups [n, size] on min/max grids that contain 0."""
    levels = F(2**bits - 1)
    low, high = (np.minimum(groups.min(1, keepdims=True), F(0)), np.maximum(groups.max(1, keepdims=True), F(0)))
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    scale = (high - low) / levels
    zero = np.full_like(scale, (levels + 1) / 2) if symmetric else np.round(-low / scale)
    code = np.clip(np.round(groups / scale) + zero, F(0), levels)
    assert code.dtype == F
    return code, scale * (code - zero)


def clipped(weight, inputs, scale, bits, group=COLUMNS, symmetric=False):
    """Codes, weights and the mean share of the largest magnitude that was kept; also the narrowest margin of a choice."""
    scaled = weight * scale
    code, value = np.empty_like(weight), np.empty_like(weight)
    shares, margin = [], np.inf
    for first in range(0, COLUMNS, group):
        part = slice(first, first + group)
        x = inputs[:, part].astype(float) / scale[part]
        largest = np.abs(scaled[:, part]).max(1, keepdims=True)
        trials, errors = [], []
        for step in range(10):
            limit = largest * F(1 - step / 20)
            trials.append(rounded(np.clip(scaled[:, part], -limit, limit), bits, symmetric))
            change = trials[-1][1].astype(float) - scaled[:, part].astype(float)
            errors.append(((x @ change.T) ** 2).mean(0))
        errors = np.array(errors)
        best = errors.argmin(0)
        ordered = np.sort(errors, 0)
        margin = min(margin, ((ordered[1] - ordered[0]) / ordered[1]).min())
        for row, step in enumerate(best):
            code[row, part], value[row, part] = trials[step][0][row], trials[step][1][row]
        shares.append(1 - best / 20)
    return code, value / scale, float(np.mean(shares)), margin


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("awq.safetensors")
    rng = np.random.default_rng(1)
    tensors, cases = {}, []
    inputs = rng.normal(size=(TOKENS, 6)) @ rng.normal(size=(6, COLUMNS)) + 0.5 * rng.normal(size=(TOKENS, COLUMNS))
    tensors["inputs"] = inputs = (inputs * np.exp(rng.normal(size=COLUMNS))).astype(F)
    tensors["weight"] = weight = (rng.standard_t(4, size=(ROWS, COLUMNS)) * 0.05 + 0.01).astype(F)
    for settings in SETTINGS:
        for ratio in (None, 0.45):
            scale = np.ones(COLUMNS, F)
            if ratio is not None:
                scale = (np.abs(inputs).mean(0) ** ratio).astype(F)
            code, value, share, margin = clipped(weight, inputs, scale, **settings)
            assert margin > 1e-4, f"{settings}: a choice hangs on {margin:.1e}"
            key = str(len(cases))
            tensors[f"{key}.scale"], tensors[f"{key}.codes"] = scale, code.astype(np.uint8)
            tensors[f"{key}.result"] = value
            cases.append({"case": key, "scaled": ratio is not None, "clip_ratio": share, "settings": settings})
    save_file(tensors, target, metadata={"cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
