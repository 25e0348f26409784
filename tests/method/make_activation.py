#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes activation.safetensors: linears on quantized inputs, computed in plain numpy.

Written from the published descriptions, without winnow: LLM.int8() (arXiv:2208.07339; outlier columns per sequence) and
SmoothQuant (arXiv:2211.10438, eq. 4). Codes are integers, their sums are exact; scales are fp32; everything else is
double. The table `cases` of the metadata has a row per expected tensor: settings as JSON, what the tensors hold.

    python3 make_activation.py [activation.safetensors]
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

F = np.float32
LENGTHS = [7, 1, 12, 3]
LEAST = F(1e-5)


def codes(values, least, limit=127, measured=None):
    """Integers and the step of each row; `measured`: the values whose largest magnitude counts."""
    largest = np.abs(values if measured is None else measured).max(1, keepdims=True).astype(F)
    step = np.maximum(largest, least).astype(F) / F(limit)
    step = np.where(step == 0, F(1), step)
    return np.round(values.astype(F) / step).astype(np.int64), step


def llm_int8(x, weight, threshold, outlier_weights="int8"):
    q_weight, scale = codes(weight, F(0))
    outputs = []
    for sequence in np.split(x, np.cumsum(LENGTHS)[:-1]):
        large = np.abs(sequence) >= F(threshold) if threshold > 0 else np.zeros(sequence.shape, bool)
        columns = large.any(0)
        q, step = codes(np.where(columns, F(0), sequence), F(0), measured=np.where(large, F(0), sequence))
        integers = (q @ q_weight.T) * (step.astype(float) * scale.T)
        kept = weight.astype(float) if outlier_weights == "fp" else q_weight * scale.astype(float)
        outputs.append(integers + sequence[:, columns].astype(float) @ kept[:, columns].T)
    return np.concatenate(outputs)


def smooth(maxima, weights, alpha):
    largest = np.maximum(np.max([np.abs(w).max(0) for w in weights], axis=0), LEAST).astype(float)
    return np.maximum((maxima.astype(float) ** alpha / largest ** (1 - alpha)).astype(F), LEAST)


def smoothquant(x, weight, scale, bits, quantize_outputs=False):
    limit = 2 ** (bits - 1) - 1
    q_weight, w_step = codes(weight * scale, LEAST, limit)
    q, step = codes(x / scale, LEAST, limit)
    y = (q @ q_weight.T) * (step.astype(float) * w_step.T)
    if quantize_outputs:
        places = y / np.maximum(np.abs(y).max(1, keepdims=True), LEAST) * limit
        assert (np.abs(np.abs(places - np.floor(places)) - 0.5) > 1e-5).all(), "an output is between two codes"
        y_codes, y_step = codes(y, LEAST, limit)
        y = y_codes * y_step.astype(float)
    return y, q_weight * w_step.astype(float) / scale


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("activation.safetensors")
    rng = np.random.default_rng(8)
    width = 72
    x = rng.normal(size=(sum(LENGTHS), width)).astype(F)
    x[:, 5] *= 9
    x[:, 40] *= 4
    x[9, 61] = -30
    x[3] = 0
    weights = [(rng.normal(size=(rows, width)) * 0.06).astype(F) for rows in (24, 10)]
    weights[0][4] = 0
    maxima = (np.abs(rng.normal(size=width)) * np.exp(rng.normal(size=width))).astype(F)
    maxima[11] = 0
    tensors = {"x": x, "maxima": maxima, "weight.0": weights[0], "weight.1": weights[1]}
    cases = []
    for threshold in (0, 2.5, 6.0, 100.0, 1e-6):
        for kept in ("int8", "fp") if threshold else ("int8",):
            key = f"case.{len(cases)}"
            tensors[key] = llm_int8(x, weights[0], threshold, kept).astype(F)
            settings = {"threshold": threshold, "outlier_weights": kept}
            cases.append({"method": "llm_int8", "settings": settings, "expected": key})
    for alpha in (0, 0.5, 0.85, 1):
        for bits in (8, 4):
            for outputs in (False, True) if alpha == 0.5 else (False,):
                key = f"case.{len(cases)}"
                scale = smooth(maxima, weights, alpha)
                y, effective = smoothquant(x, weights[0], scale, bits, outputs)
                tensors |= {key: y.astype(F), f"{key}.scale": scale, f"{key}.weight": effective.astype(F)}
                settings = {"alpha": alpha, "bits": bits} | ({"quantize_outputs": True} if outputs else {})
                cases.append({"method": "smoothquant", "settings": settings, "expected": key})
    save_file(tensors, target, metadata={"lengths": json.dumps(LENGTHS), "cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
