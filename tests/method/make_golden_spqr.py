#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes spqr.safetensors: small problems and what SpQR must make of them, in plain numpy; also the MSE clip search of
round to nearest and the alpha search of Wanda.

Written from the papers (arXiv:2306.03078, arXiv:2306.11695) and the behaviour of the published codes, without winnow,
in double precision. Leave-one-out is done as defined: one fit per weight. Where winnow says that it differs from the
published code (ranges without width, equal statistics, pruned weights), so does this. Inputs are small integers, so
that second moments are exact in fp32. The table `cases` of the metadata has a row per result: problem, stages as JSON,
the tensor of its codes (+ 128 for an outlier) or mask, and for some NAME.values.

    python3 make_golden_spqr.py [spqr.safetensors]
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

F = np.float32
SEQUENCES = 4


def problem(rows, columns, tokens, seed, dead=()):
    """Weights with heavy tails, integer inputs whose columns are correlated and differ in size."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(tokens, 12)) @ rng.normal(size=(12, columns)) + rng.normal(size=(tokens, columns))
    inputs = np.clip(np.round(inputs * np.exp(0.7 * rng.normal(size=columns))), -127, 127).astype(np.int8)
    inputs[:, list(dead)] = 0
    weight = (rng.standard_t(4, size=(rows, columns)) * 0.05 + 0.005).astype(F)
    return weight, inputs


def chain(weight):
    """Column 0, then the nearest by Spearman's correlation, whose place is taken by the first of those left."""
    ranks = weight.argsort(0, kind="stable").argsort(0, kind="stable")
    ranks = (2 * ranks - (len(weight) - 1)).astype(np.int64)
    order, left = [0], list(range(1, weight.shape[1]))
    while left:
        near = [int(ranks[:, order[-1]] @ ranks[:, j]) for j in left]
        best = near.index(max(near)) if len(left) > 1 else 0
        order.append(left[best])
        left[best] = left[0]
        left = left[1:]
    return np.array(order)


def factor(inputs, percdamp, order, weight):
    """SpQR: dead columns have 0 in the mean and in the order, and exactly 1 on the diagonal afterwards."""
    moments = 2.0 / SEQUENCES * (inputs.astype(np.float64).T @ inputs.astype(np.float64))
    diagonal = np.diag(moments).copy()
    if order == "spearman":
        order = chain(weight)
    else:
        order = np.argsort(-diagonal, kind="stable") if order == "act_order" else np.arange(len(diagonal))
    damped = diagonal + percdamp * diagonal.mean()
    np.fill_diagonal(moments, np.where(diagonal == 0, 1.0, damped))
    inverse = np.linalg.inv(moments[np.ix_(order, order)])
    return diagonal == 0, order, np.linalg.cholesky((inverse + inverse.T) / 2).T


class Grid:
    """Of one row of a group: the kept weights in `values`."""

    def __init__(self, values, bits, symmetric, round_zero):
        self.levels = 2**bits - 1
        low, high = (values.min(), values.max()) if len(values) else (0.0, 0.0)
        if symmetric:
            high = max(-low, high)
            low = -high
        if low == high:
            low, high = min(low, 0.0), max(high, 0.0)
        self.empty = low == high
        if self.empty:
            self.scale, self.zero = 2 / self.levels, float(np.round((self.levels + 1) / 2))
        else:
            self.scale = (high - low) / self.levels
            self.zero = (self.levels + 1) / 2 if symmetric else -low / self.scale
            if round_zero:
                self.zero = float(np.round(self.zero))

    def codes(self, values):
        return np.clip(np.round(values / self.scale + self.zero), 0, self.levels)

    def values(self, values):
        return self.scale * (self.codes(values) - self.zero)


def likely_outliers(weights, pivots, tau, bits, symmetric):
    """Weights without which the others lose more than tau."""
    everything = Grid(weights, bits, symmetric, False)
    total = (((everything.values(weights) - weights) / pivots) ** 2).sum()
    likely = np.zeros(len(weights), bool)
    for k in range(len(weights)):
        rest, others = np.delete(weights, k), np.delete(pivots, k)
        error = (((Grid(rest, bits, symmetric, False).values(rest) - rest) / others) ** 2).sum()
        likely[k] = total - error > tau
    return likely


def second_level(grids, name, bits, run):
    """Rounds one statistic of a group's grids in runs of rows; empty ones take the lowest value."""
    for first in range(0, len(grids), run):
        part = grids[first : first + run]
        known = [getattr(g, name) for g in part if not g.empty] or [getattr(g, name) for g in part]
        low, high = min(known), max(known)
        anything = any(not g.empty for g in part)
        for g in part:
            value = low if g.empty and anything else getattr(g, name)
            if low < high:
                scale = (high - low) / (2**bits - 1)
                zero = -low / scale
                value = scale * (np.clip(np.round(value / scale + zero), 0, 2**bits - 1) - zero)
            setattr(g, name, value)


def spqr(weight, inputs, mask, bits, group=16, symmetric=False, order="act_order", percdamp=1.0, outlier_threshold=0.2,
         simplified_outliers=False, round_zero=False, qq_scale_bits=3, qq_zero_bits=3, qq_groupsize=16):
    dead, places, upper = factor(inputs, percdamp, order, weight)
    pivots = np.diag(upper)
    left = weight.astype(np.float64)
    left[:, dead] = 0
    left = left[:, places]
    mask = np.ones(left.shape, bool) if mask is None else mask[:, places]
    rows, columns = left.shape
    tau = np.inf
    if outlier_threshold != "none" and rows > 1:
        tau = outlier_threshold * (left.var(0, ddof=1) / pivots**2).mean()
    zero_level = qq_zero_bits != "none" and not symmetric and not (round_zero and qq_zero_bits >= bits)
    result, codes, outliers = np.zeros_like(left), np.zeros(left.shape, np.uint8), np.zeros(left.shape, bool)
    for i in range(columns):
        if i % group == 0:
            grids = []
            for row in range(rows):
                kept = np.flatnonzero(mask[row, i : i + group]) + i
                weights = left[row, kept]
                if np.isfinite(tau) and not simplified_outliers and len(kept):
                    weights = weights[~likely_outliers(weights, pivots[kept], tau, bits, symmetric)]
                grids.append(Grid(weights, bits, symmetric, round_zero))
            if qq_scale_bits != "none":
                second_level(grids, "scale", qq_scale_bits, qq_groupsize)
            if zero_level:
                second_level(grids, "zero", qq_zero_bits, qq_groupsize)
        for row, grid in enumerate(grids):
            value = left[row, i]
            rounded = grid.values(value)
            if not mask[row, i]:
                codes[row, i] = grid.codes(0.0)
            elif ((value - rounded) / pivots[i]) ** 2 > tau:
                outliers[row, i] = True
                result[row, i] = value
                codes[row, i] = grid.codes(0.0)
            else:
                codes[row, i] = grid.codes(value)
                result[row, i] = rounded
        error = (left[:, i] - result[:, i]) / pivots[i]
        left[:, i + 1 :] -= error[:, None] * upper[i, None, i + 1 :]
    back = np.argsort(places)
    return result[:, back], codes[:, back] + 128 * outliers[:, back].astype(np.uint8), mask[:, back]


def magnitude(weight, _inputs, _mask, sparsity):
    drop = np.zeros(weight.size, bool)
    drop[np.argsort(np.abs(weight).ravel(), kind="stable")[: int(weight.size * sparsity)]] = True
    drop = drop.reshape(weight.shape)
    return np.where(drop, F(0), weight), None, ~drop


def rtn(weight, _inputs, _mask, bits, group, symmetric, clip):
    """80 ranges from the widest to a fifth of it; the first of the smallest sum of |error|^2.4."""
    assert clip == "mse"
    if not isinstance(group, str):  # the last one of a row may be shorter
        parts = [weight[:, i : i + group] for i in range(0, weight.shape[1], group)]
        made = [rtn(part, None, None, bits, "channel", symmetric, clip) for part in parts]
        return np.concatenate([m[0] for m in made], 1), np.concatenate([m[1] for m in made], 1), None
    flat = weight.astype(np.float64)
    flat = flat.reshape(1, -1) if group == "tensor" else flat
    levels = 2**bits - 1
    codes = np.zeros(flat.shape, np.uint8)
    result = np.zeros(flat.shape)
    for row, values in enumerate(flat):
        low, high = min(values.min(), 0), max(values.max(), 0)
        if symmetric:
            high = max(-low, high)
            low = -high
        best = np.inf
        for i in range(80):
            scale = (1 - i / 100) * (high - low) / levels
            zero = 2 ** (bits - 1) if symmetric else np.round(-(1 - i / 100) * low / scale)
            code = np.clip(np.round(values / scale) + zero, 0, levels)
            error = (np.abs(scale * (code - zero) - values) ** 2.4).sum()
            if error < best:
                best = error
                codes[row], result[row] = code, scale * (code - zero)
    return result.reshape(weight.shape), codes.reshape(weight.shape), None


def wanda(weight, inputs, _mask, sparsity, variant):
    """Per row: as many of the smallest scores as add up to alpha times the sum; bisection for alpha."""
    assert variant == "alpha"
    norms = np.sqrt(((inputs.astype(np.float64) ** 2).sum(0) / SEQUENCES).astype(F))
    scores = np.abs(weight) * norms
    ordered = np.sort(scores, axis=1)
    sums = np.cumsum(ordered, axis=1, dtype=np.float64)

    def drop(alpha):
        counts = (sums <= alpha * sums[:, -1:]).sum(1)
        limits = np.where(counts > 0, ordered[np.arange(len(counts)), counts - 1], -1)
        return scores <= limits[:, None]

    low, high, alpha = 0.0, 0.8, 0.4
    mask = drop(alpha)
    while abs(mask.mean() - sparsity) > 0.001 and high - low >= 0.001:
        if mask.mean() > sparsity:
            high = alpha
        else:
            low = alpha
        alpha = (low + high) / 2
        mask = drop(alpha)
    return np.where(mask, F(0), weight), (~mask).astype(np.uint8), ~mask


METHODS = {"spqr": spqr, "magnitude": magnitude, "rtn": rtn, "wanda": wanda}
CASES = [
    [("spqr", {"bits": 3})],
    [("spqr", {"bits": 4, "outlier_threshold": 0.05})],
    [("spqr", {"bits": 3, "order": "identity", "percdamp": 0.05, "simplified_outliers": True})],
    [("spqr", {"bits": 2, "outlier_threshold": "none", "group": 8})],
    [("spqr", {"bits": 3, "group": 48, "round_zero": True, "qq_groupsize": 8, "outlier_threshold": 0.1})],
    [("spqr", {"bits": 4, "symmetric": True, "qq_scale_bits": 4, "outlier_threshold": 0.02})],
    [("spqr", {"bits": 3, "qq_scale_bits": "none", "qq_zero_bits": "none", "group": "channel"})],
    [("spqr", {"bits": 4, "round_zero": True, "qq_zero_bits": 2, "outlier_threshold": 0.1})],
    [("magnitude", {"sparsity": 0.5}), ("spqr", {"bits": 3})],
    [("magnitude", {"sparsity": 0.9}), ("spqr", {"bits": 3, "group": 8, "outlier_threshold": 0.05})],
    [("spqr", {"bits": 3, "order": "spearman"})],
    [("magnitude", {"sparsity": 0.5}), ("spqr", {"bits": 3, "order": "spearman", "outlier_threshold": 0.05})],
    # the last group of a row is shorter, or the only one
    [("spqr", {"bits": 3, "group": 20, "outlier_threshold": 0.1})],
    [("spqr", {"bits": 3, "group": 40, "order": "identity", "outlier_threshold": 0.05})],
    [("spqr", {"bits": 4, "group": 64, "simplified_outliers": True})],
    [("magnitude", {"sparsity": 0.5}), ("spqr", {"bits": 3, "group": 20})],
]
OTHERS = [
    [("rtn", {"bits": 3, "group": "channel", "symmetric": False, "clip": "mse"})],
    [("rtn", {"bits": 2, "group": 16, "symmetric": True, "clip": "mse"})],
    [("rtn", {"bits": 4, "group": "tensor", "symmetric": False, "clip": "mse"})],
    [("rtn", {"bits": 3, "group": 40, "symmetric": False, "clip": "mse"})],
    [("wanda", {"sparsity": 0.5, "variant": "alpha"})],
    [("wanda", {"sparsity": 0.2, "variant": "alpha"})],
    [("wanda", {"sparsity": 0.95, "variant": "alpha"})],
]


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("spqr.safetensors")
    tensors, cases = {}, []
    shapes = {"wide": (20, 96, 100, 1), "dead": (17, 48, 60, 2, (0, 3, 40))}
    for name, shape in shapes.items():
        weight, inputs = problem(*shape)
        tensors[f"{name}.weight"] = weight
        tensors[f"{name}.inputs"] = inputs
        for recipe in CASES + OTHERS:
            if name == "dead" and recipe[0][1].get("group") == "channel":
                recipe = [(m, s | {"group": 24}) for m, s in recipe]
            result, mask = weight, None
            for method, settings in recipe:
                settings = settings | ({"group": shape[1]} if method == "spqr" and settings.get("group") == "channel"
                                       else {})
                result, codes, mask = METHODS[method](result, inputs, mask, **settings)
            key = f"{name}.{len(cases)}"
            tensors[key] = np.ascontiguousarray(codes)
            if name == "dead" or recipe in CASES[:2]:
                tensors[f"{key}.values"] = np.ascontiguousarray(result, dtype=F)
            if recipe[-1][0] == "spqr":
                print(f"{key}: {(codes >= 128).mean():.4f} outliers", recipe, file=sys.stderr)
            cases.append({"problem": name, "expected": key, "stages": [{"method": m, **s} for m, s in recipe]})
    save_file(tensors, target, metadata={"sequences": str(SEQUENCES), "cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
