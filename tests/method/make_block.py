#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes block.safetensors: linears of one block that are pruned by one threshold, in plain numpy.

Written from the description of block-global magnitude pruning in LLM-KICK (arXiv:2310.01382), without winnow: all
weights of the block in one list, sorted; the published rule keeps what is larger than the k-th largest.

    python3 make_block.py [block.safetensors]
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

SHAPES = [(12, 16), (4, 16), (20, 16), (16, 9)]
SPARSITIES = [0.05, 0.3, 0.5, 0.77, 0.999]


def pruned(weights, sparsity, rule):
    sizes = np.concatenate([np.abs(w).ravel() for w in weights])
    kept = int((1 - sparsity) * sizes.size)
    if rule == "exact":
        drop = np.zeros(sizes.size, bool)
        drop[np.argsort(sizes, kind="stable")[: int(sizes.size * sparsity)]] = True
    else:
        drop = sizes <= np.sort(sizes)[::-1][max(kept, 1) - 1]
    parts = np.split(drop, np.cumsum([w.size for w in weights])[:-1])
    return [np.where(part.reshape(w.shape), np.float32(0), w) for part, w in zip(parts, weights)]


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("block.safetensors")
    rng = np.random.default_rng(3)
    tensors, cases = {}, []
    for name, decimals in (("plain", None), ("ties", 2)):
        weights = [(rng.normal(size=shape) * rng.uniform(0.02, 0.08)).astype(np.float32) for shape in SHAPES]
        if decimals is not None:
            weights = [np.round(w, decimals) for w in weights]
        for i, weight in enumerate(weights):
            tensors[f"{name}.{i}"] = weight
        for sparsity in SPARSITIES:
            for rule in ("exact", "reference"):
                case = f"case{len(cases)}"
                for i, result in enumerate(pruned(weights, sparsity, rule)):
                    tensors[f"{case}.{i}"] = (result != 0).astype(np.uint8)
                settings = {"sparsity": sparsity, "rule": rule, "scope": "block"}
                cases.append({"case": case, "weights": name, "settings": settings})
    save_file(tensors, target, metadata={"cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
