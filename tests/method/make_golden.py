#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden.safetensors: small problems and what each method must make of them, in plain numpy.

Written from the published descriptions, without winnow: magnitude (arXiv:1506.02626; 2104.08378 for N:M), Wanda
(arXiv:2306.11695, eq. 1), round to nearest on the min/max grid of the GPTQ family (arXiv:2210.17323). Every expected
tensor has a row in the table `cases` of the metadata: problem, method, settings as JSON, what the tensor holds.

    python3 make_golden.py [golden.safetensors]
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

F = np.float32


def problem(rows, columns, tokens, seed, decimals=None):
    """A weight matrix and sums of squares of correlated inputs; `decimals` rounds the weights, which makes ties."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(tokens, 8)) @ rng.normal(size=(8, columns)) + 0.3 * rng.normal(size=(tokens, columns))
    inputs *= np.exp(rng.normal(size=columns))
    weight = (rng.normal(size=(rows, columns)) * 0.05 + 0.01).astype(F)
    if decimals is not None:
        weight = np.round(weight, decimals).astype(F)
    return weight, (inputs**2).sum(0)


def smallest(scores, count):
    """True for the `count` first entries of a stable ascending sort along the last axis."""
    order = np.argsort(scores, axis=-1, kind="stable")
    mask = np.zeros(scores.shape, bool)
    np.put_along_axis(mask, order[..., :count], True, axis=-1)
    return mask


def runs(scores, pattern):
    zeros, length = map(int, pattern.split(":"))
    return smallest(scores.reshape(scores.shape[0], -1, length), zeros).reshape(scores.shape)


def magnitude(weight, _squares, sparsity=None, pattern="unstructured", rule="exact"):
    size = np.abs(weight)
    if pattern != "unstructured":
        drop = runs(size, pattern)
    elif rule == "exact":
        drop = smallest(size.reshape(1, -1), int(size.size * sparsity)).reshape(size.shape)
    else:
        drop = size <= np.sort(size.ravel())[int(size.size * sparsity)]
    return np.where(drop, F(0), weight)


def wanda(weight, squares, sparsity=None, pattern="unstructured"):
    norms = np.sqrt((squares / SEQUENCES).astype(F))
    scores = np.abs(weight) * norms[None, :]
    assert scores.dtype == F
    drop = smallest(scores, int(weight.shape[1] * sparsity)) if pattern == "unstructured" else runs(scores, pattern)
    return np.where(drop, F(0), weight)


def rtn(weight, squares, bits, group="channel", symmetric=False):
    if not isinstance(group, str):  # the last one of a row may be shorter
        parts = [weight[:, i : i + group] for i in range(0, weight.shape[1], group)]
        return np.concatenate([rtn(part, squares, bits, "channel", symmetric) for part in parts], 1)
    levels = F(2**bits - 1)
    groups = {"tensor": weight.reshape(1, -1), "channel": weight}[group]
    low = np.minimum(groups.min(1, keepdims=True), F(0))
    high = np.maximum(groups.max(1, keepdims=True), F(0))
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    flat = low == high
    low, high = np.where(flat, F(-1), low), np.where(flat, F(1), high)
    scale = (high - low) / levels
    zero = np.full_like(scale, (levels + 1) / 2) if symmetric else np.round(-low / scale)
    code = np.clip(np.round(groups / scale) + zero, F(0), levels)
    assert code.dtype == F
    return (scale * (code - zero)).reshape(weight.shape)


SEQUENCES = 4
METHODS = {"magnitude": magnitude, "wanda": wanda, "rtn": rtn}
SETTINGS = (
    [("magnitude", {"sparsity": s}) for s in (0.1, 0.5, 0.7, 0.99)]
    + [("magnitude", {"sparsity": s, "rule": "reference"}) for s in (0.2, 0.5)]
    + [("magnitude", {"pattern": p}) for p in ("1:2", "2:4", "4:8", "3:4")]
    + [("wanda", {"sparsity": s}) for s in (0.1, 0.3, 0.5, 0.7)]
    + [("wanda", {"pattern": p}) for p in ("2:4", "4:8")]
    + [("rtn", {"bits": b}) for b in (2, 3, 4, 8)]
    + [("rtn", {"bits": b, "symmetric": True}) for b in (3, 8)]
    + [("rtn", {"bits": 4, "group": g, "symmetric": s}) for g in (8, "tensor", 28, 100) for s in (False, True)]
)


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("golden.safetensors")
    tensors, cases = {}, []
    shapes = {"wide": (5, 72, 64, 1), "ties": (6, 40, 48, 2, 2), "row": (1, 136, 32, 3)}
    for name, shape in shapes.items():
        weight, squares = problem(*shape)
        tensors[f"{name}.weight"] = weight
        tensors[f"{name}.squares"] = squares
        stages = [[setting] for setting in SETTINGS]
        stages += [[("wanda", {"sparsity": 0.5}), ("rtn", {"bits": 3, "group": 8})]]
        stages += [[("magnitude", {"pattern": "2:4"}), ("rtn", {"bits": 4, "symmetric": True})]]
        for recipe in stages:
            result = weight
            for method, settings in recipe:
                result = METHODS[method](result, squares, **settings)
            key = f"{name}.{len(cases)}"
            tensors[key] = np.ascontiguousarray(result, dtype=F)
            cases.append({"problem": name, "expected": key, "stages": [{"method": m, **s} for m, s in recipe]})
    save_file(tensors, target, metadata={"sequences": str(SEQUENCES), "cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
