#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes fitness.json: rows of logits of two models, and every fitness of them computed in float64 with NumPy.

Usage: make_fitness.py > fitness.json
"""

import json

import numpy as np

ROWS, VOCABULARY, TOP = 5, 300, 40


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def kl(p, q):
    return (np.exp(p) * (p - q)).sum(axis=-1)


def main():
    draw = np.random.default_rng(7)
    dense = draw.normal(0, 3, (ROWS, VOCABULARY)).astype(np.float32)
    candidate = (dense + draw.normal(0, 1, dense.shape)).astype(np.float32)
    dense[1, 5] = dense[1, 6] = dense[1].max() + np.float32(1)  # two equal ones
    targets = draw.integers(0, VOCABULARY, ROWS)
    p, q = log_softmax(dense.astype(np.float64)), log_softmax(candidate.astype(np.float64))
    middle = np.log((np.exp(p) + np.exp(q)) / 2)
    ids = np.argsort(-dense, axis=-1, kind="stable")[:, :TOP]
    top_p = log_softmax(np.take_along_axis(dense.astype(np.float64), ids, -1))
    top_q = log_softmax(np.take_along_axis(candidate.astype(np.float64), ids, -1))
    values = {
        "kl": kl(p, q).mean(),
        "perplexity": np.exp(-q[np.arange(ROWS), targets].mean()),
        "sparse_kl": kl(top_p, top_q).mean(),
        "js": ((kl(p, middle) + kl(q, middle)) / 2).mean(),
    }
    out = {"rows": ROWS, "vocabulary": VOCABULARY, "top": TOP, "targets": targets.tolist(), "fitness": values}
    out["dense"] = [float(f"{x:.9g}") for x in dense.ravel()]
    out["candidate"] = [float(f"{x:.9g}") for x in candidate.ravel()]
    print(json.dumps(out))


if __name__ == "__main__":
    main()
