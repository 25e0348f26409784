#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes second_order.safetensors: small problems and what SparseGPT and GPTQ must make of them, in plain numpy.

Written from the papers (arXiv:2301.00774, arXiv:2210.17323) and the behaviour of their published code, without winnow,
in double precision: H is inverted and its inverse factored, columns are updated one after the other. Inputs are small
integers, so that second moments are exact in fp32 and equal here and there. The table `cases` of the metadata has a
row per result: problem, stages as JSON, and the tensor of its values; with a quantizer NAME.codes as well.

    python3 make_second_order.py [second_order.safetensors]
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

F = np.float32
SEQUENCES = 4
BLOCK = 128


def problem(rows, columns, tokens, seed, dead=()):
    """Weights and integer inputs whose columns are correlated and differ in size."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(tokens, 12)) @ rng.normal(size=(12, columns)) + rng.normal(size=(tokens, columns))
    inputs = np.clip(np.round(inputs * np.exp(0.7 * rng.normal(size=columns))), -127, 127).astype(np.int8)
    inputs[:, list(dead)] = 0
    weight = (rng.normal(size=(rows, columns)) * 0.05 + 0.005).astype(F)
    return weight, inputs


def factor(inputs, percdamp, act_order):
    """Dead columns, order, and the upper factor of the inverse of the damped second moments."""
    moments = 2.0 / SEQUENCES * (inputs.astype(np.float64).T @ inputs.astype(np.float64))
    dead = np.diag(moments) == 0
    moments[dead, dead] = 1
    order = np.argsort(-np.diag(moments), kind="stable") if act_order else np.arange(len(dead))
    moments = moments[np.ix_(order, order)]
    moments += percdamp * np.diag(moments).mean() * np.eye(len(dead))
    inverse = np.linalg.inv(moments)
    return dead, order, np.linalg.cholesky((inverse + inverse.T) / 2).T


def grid(values, bits, symmetric):
    """Scale and zero point of each row of values."""
    low = np.minimum(values.min(1), 0).astype(F)
    high = np.maximum(values.max(1), 0).astype(F)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    flat = low == high
    low, high = np.where(flat, F(-1), low), np.where(flat, F(1), high)
    scale = (high - low) / F(2**bits - 1)
    zero = np.full_like(scale, 2 ** (bits - 1)) if symmetric else np.round(-low / scale)
    return scale, zero


def codes_of(values, scale, zero, bits):
    return np.clip(np.round(values / scale.astype(np.float64)) + zero, 0, 2**bits - 1)


def smallest(scores, count):
    mask = np.zeros(scores.size, bool)
    mask[np.argsort(scores.ravel(), kind="stable")[:count]] = True
    return mask.reshape(scores.shape)


def sparsegpt(weight, inputs, _mask, sparsity=None, pattern="unstructured", rule="exact", percdamp=0.01, bits=None,
              symmetric=False):
    dead, _, upper = factor(inputs, percdamp, False)
    fixed = grid(weight, bits, symmetric) if bits else None
    left = weight.astype(np.float64)
    left[:, dead] = 0
    result, codes = np.zeros_like(left), np.zeros(left.shape, np.uint8)
    drop = np.zeros(left.shape, bool)
    pivots = np.diag(upper)
    columns = left.shape[1]
    zeros, run = (0, 0) if pattern == "unstructured" else map(int, pattern.split(":"))
    for i in range(columns):
        if not run and i % BLOCK == 0:
            end = min(i + BLOCK, columns)
            scores = left[:, i:end] ** 2 / pivots[i:end] ** 2
            count = int(scores.size * sparsity)
            if rule == "exact":
                drop[:, i:end] = smallest(scores, count)
            else:
                drop[:, i:end] = scores <= np.sort(scores.ravel())[count]
        if run and i % run == 0:
            scores = left[:, i : i + run] ** 2 / pivots[i : i + run] ** 2
            for row in range(len(left)):
                drop[row, i : i + run] = smallest(scores[row], zeros)
        value = np.where(drop[:, i], 0, left[:, i])
        if bits:
            codes[:, i] = codes_of(value, *fixed, bits)
            value = fixed[0] * (codes[:, i] - fixed[1])
        result[:, i] = value
        error = (left[:, i] - value) / pivots[i]
        left[:, i + 1 :] -= error[:, None] * upper[i, None, i + 1 :]
    return result, codes if bits else None, ~drop


def gptq(weight, inputs, mask, bits, group="channel", symmetric=False, act_order=False, static_groups=False,
         percdamp=0.01, group_statistics="current"):
    dead, order, upper = factor(inputs, percdamp, act_order)
    columns = weight.shape[1]
    size = columns if group == "channel" else group
    left = weight.astype(np.float64)
    if group == "channel":
        fixed = [grid(weight, bits, symmetric)]
    left[:, dead] = 0
    if group != "channel":
        fixed = [grid(left[:, g : g + size], bits, symmetric) for g in range(0, columns, size)]
    known = group == "channel" or static_groups
    left = left[:, order]
    mask = np.ones(left.shape, bool) if mask is None else mask[:, order]
    stale = left.copy()
    result, codes = np.zeros_like(left), np.zeros(left.shape, np.uint8)
    for i in range(columns):
        if i % BLOCK == 0:
            stale = left.copy()
        if not known and i % size == 0:
            seen = (stale if group_statistics == "reference" else left)[:, i : i + size]
            fixed[i // size] = grid(np.where(mask[:, i : i + size], seen, 0), bits, symmetric)
        scale, zero = fixed[order[i] // size if known else i // size]
        value = np.where(mask[:, i], left[:, i], 0)
        codes[:, i] = codes_of(value, scale, zero, bits)
        result[:, i] = scale * (codes[:, i] - zero)
        error = (left[:, i] - result[:, i]) / upper[i, i]
        left[:, i + 1 :] -= error[:, None] * upper[i, None, i + 1 :]
    back = np.argsort(order)
    return result[:, back], codes[:, back], mask[:, back]


def magnitude(weight, _inputs, _mask, sparsity):
    drop = smallest(np.abs(weight), int(weight.size * sparsity))
    return np.where(drop, F(0), weight), None, ~drop


METHODS = {"sparsegpt": sparsegpt, "gptq": gptq, "magnitude": magnitude}
CASES = [
    [("sparsegpt", {"sparsity": 0.5})],
    [("sparsegpt", {"sparsity": 0.7, "percdamp": 0.1})],
    [("sparsegpt", {"sparsity": 0.3, "rule": "reference"})],
    [("sparsegpt", {"pattern": "2:4"})],
    [("sparsegpt", {"pattern": "4:8"})],
    [("sparsegpt", {"sparsity": 0.5, "bits": 4})],
    [("sparsegpt", {"pattern": "2:4", "bits": 3, "symmetric": True})],
    [("gptq", {"bits": 4})],
    [("gptq", {"bits": 3, "symmetric": True, "percdamp": 0.05})],
    [("gptq", {"bits": 2, "act_order": True})],
    [("gptq", {"bits": 4, "group": 8})],
    [("gptq", {"bits": 4, "group": 24})],
    [("gptq", {"bits": 3, "group": 24, "group_statistics": "reference"})],
    [("gptq", {"bits": 3, "group": 8, "static_groups": True, "act_order": True})],
    [("magnitude", {"sparsity": 0.5}), ("gptq", {"bits": 4, "group": 24})],
    [("sparsegpt", {"sparsity": 0.5}), ("gptq", {"bits": 3})],
    # the last group of a row is shorter, or the only one
    [("gptq", {"bits": 4, "group": 40})],
    [("gptq", {"bits": 3, "group": 100, "group_statistics": "reference"})],
    [("gptq", {"bits": 3, "group": 128, "symmetric": True})],
    [("gptq", {"bits": 3, "group": 100, "static_groups": True, "act_order": True})],
    [("magnitude", {"sparsity": 0.5}), ("gptq", {"bits": 4, "group": 40})],
    # groups in the order of the sweep
    [("gptq", {"bits": 3, "group": 24, "act_order": True})],
    [("gptq", {"bits": 4, "group": 100, "act_order": True})],
    [("gptq", {"bits": 3, "group": 40, "act_order": True, "group_statistics": "reference"})],
    [("magnitude", {"sparsity": 0.5}), ("gptq", {"bits": 4, "group": 40, "act_order": True})],
]


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("second_order.safetensors")
    tensors, cases = {}, []
    shapes = {"wide": (7, 264, 300, 1), "dead": (5, 168, 120, 2, (0, 3, 40, 167)), "row": (1, 72, 90, 3)}
    for name, shape in shapes.items():
        weight, inputs = problem(*shape)
        tensors[f"{name}.weight"], tensors[f"{name}.inputs"] = weight, inputs
        for recipe in CASES:
            result, mask = weight, None
            for method, settings in recipe:
                result, codes, mask = METHODS[method](result, inputs, mask, **settings)
                result = result.astype(F)
            key = f"{name}.{len(cases)}"
            if codes is None:
                tensors[key] = np.ascontiguousarray(result)
            else:
                tensors[f"{key}.codes"] = np.ascontiguousarray(codes)
                if len(cases) % 2:  # half of them: values follow from codes and grids
                    tensors[key] = np.ascontiguousarray(result)
            cases.append({"problem": name, "expected": key, "stages": [{"method": m, **s} for m, s in recipe]})
    save_file(tensors, target, metadata={"sequences": str(SEQUENCES), "cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
