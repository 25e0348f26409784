#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes rope_tables.json: the cosines and sines by which transformers rotates at some positions.

Each entry has "name", the file ("config"), the "length" of the one sequence, "positions", and "cosine" and "sine" with a
row for each of them, one number for each pair. test_rope.c reads the same file and compares.

    python3 tests/nn/make_rope_tables.py

Needs torch and transformers 5; seconds; the same versions give the same file.
"""

import json
import pathlib
import tempfile

import torch
from transformers import AutoConfig, logging
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

logging.set_verbosity_error()
FILE = pathlib.Path(__file__).parent / "rope_tables.json"
EMBEDDINGS = {"llama": LlamaRotaryEmbedding, "phi3": Phi3RotaryEmbedding}

# heads of 24 numbers
LLAMA = dict(model_type="llama", vocab_size=300, hidden_size=96, intermediate_size=100, num_hidden_layers=2,
             num_attention_heads=4, max_position_embeddings=512)
PHI3 = {**LLAMA, "model_type": "phi3", "pad_token_id": 0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LONG = {"rope_type": "longrope", "short_factor": [1 + 0.1 * j for j in range(12)],
        "long_factor": [2 + 0.5 * j for j in range(12)]}
PART = {"rope_type": "longrope", "short_factor": [1.0, 1.5, 2.0, 1.0, 3.0, 1.2, 1.1, 1.0, 1.0],
        "long_factor": [2.0, 2.5, 4.0, 8.0, 9.0, 10.0, 11.0, 12.0, 12.5]}


def files():
    """Name, file, lengths."""
    yield "default", LLAMA, 100
    yield "default, part of a head", {**PHI3, "partial_rotary_factor": 0.75}, 100
    yield "linear", {**LLAMA, "rope_scaling": {"rope_type": "linear", "factor": 3.0}}, 100
    yield "dynamic", {**LLAMA, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, 700
    yield "llama3", {**LLAMA, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                               "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}, 300
    yield "yarn", {**LLAMA, "rope_scaling": YARN}, 300
    yield "yarn, original at the top", {**LLAMA, "original_max_position_embeddings": 64, "rope_scaling": YARN}, 300
    yield "yarn, corners as they are", {**LLAMA, "rope_scaling": {**YARN, "truncate": False}}, 300
    yield "yarn, corners named", {**LLAMA, "rope_scaling": {**YARN, "beta_fast": 4.0, "beta_slow": 0.5}}, 300
    yield "yarn, attention factor", {**LLAMA, "rope_scaling": {**YARN, "attention_factor": 0.8}}, 300
    yield "yarn, scales", {**LLAMA, "rope_scaling": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.3}}, 300
    yield "yarn, one scale", {**LLAMA, "rope_scaling": {**YARN, "mscale": 0.7}}, 300
    yield "yarn, no factor", {**LLAMA, "rope_scaling": {**YARN, "factor": None}}, 300
    yield "yarn, factor 1", {**LLAMA, "rope_scaling": {**YARN, "factor": 1.0}}, 300
    for length in (128, 129):
        long = {**LONG, "original_max_position_embeddings": 128}
        yield f"longrope, {length} positions", {**LLAMA, "rope_scaling": long}, length
        yield f"longrope, {length}, factor", {**LLAMA, "rope_scaling": {**long, "factor": 8.0}}, length
        yield f"longrope, {length}, attention factor", {
            **LLAMA, "rope_scaling": {**long, "attention_factor": 1.7}}, length
        yield f"longrope, {length}, as Phi-3 and part of a head", {
            **PHI3, "original_max_position_embeddings": 128, "rope_scaling": {**PART}, "partial_rotary_factor": 0.75
        }, length
        yield f"longrope, {length}, by Phi-3's first name", {
            **PHI3, "original_max_position_embeddings": 128, "rope_scaling": {
                **{key: long[key] for key in long if key != "rope_type"}, "type": "su"}}, length


def table(file, length):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(file))
        config = AutoConfig.from_pretrained(folder)
    embedding = EMBEDDINGS[file["model_type"]](config)
    cosine, sine = embedding(torch.zeros(1, dtype=torch.float32), torch.arange(length)[None])
    pairs = cosine.shape[-1] // 2
    return cosine[0, :, :pairs], sine[0, :, :pairs]


def main():
    entries = []
    for name, file, length in files():
        cosine, sine = table(file, length)
        positions = [0, 1, length // 3, length - 1]
        rows = {"cosine": cosine[positions], "sine": sine[positions]}
        entries.append({"name": name, "config": file, "length": length, "positions": positions,
                        **{key: [[round(x, 8) for x in row] for row in value.tolist()] for key, value in rows.items()}})
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    FILE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
