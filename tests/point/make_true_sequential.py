# SPDX-License-Identifier: Apache-2.0
"""GPTQ on two blocks of the demo model, all linears of a block together and group by group: the constants of
test_true_sequential.c. A decoder block in numpy, in double; the inverse of the second moments is brought up to date after
every column, as the method is derived, without Cholesky factors or blocks of columns.

usage: make_true_sequential.py SOURCE_FOLDER
"""

import json
import random
import sys

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

SAMPLES, LENGTH, SEED, BITS, BLOCKS, DAMPING = 8, 64, 5, 2, 2, 0.01
GROUPS = [("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("self_attn.o_proj",)]
GROUPS += [("mlp.gate_proj", "mlp.up_proj"), ("mlp.down_proj",)]


def norm(x, weight, epsilon):
    return weight * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def rotate(x, theta):
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(half) / half)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.concatenate([x[..., :half] * cosine - x[..., half:] * sine, x[..., half:] * cosine + x[..., :half] * sine], -1)


def forward(block, hidden, config, inputs):
    """The block on hidden [sequences, tokens, width]; inputs gets what each group of linears reads."""
    sequences, tokens, _ = hidden.shape
    heads, pairs, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    inputs[0] = norm(hidden, block["input_layernorm.weight"], config["rms_norm_eps"])
    q, k, v = (inputs[0] @ block[name].T for name in GROUPS[0])
    q = rotate(q.reshape(sequences, tokens, heads, size), config["rope_theta"])
    k = rotate(k.reshape(sequences, tokens, pairs, size), config["rope_theta"]).repeat(heads // pairs, 2)
    v = v.reshape(sequences, tokens, pairs, size).repeat(heads // pairs, 2)
    scores = np.einsum("sqhd,skhd->shqk", q, k) / np.sqrt(size)
    scores = np.where(np.tril(np.ones((tokens, tokens), bool)), scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    inputs[1] = np.einsum("shqk,skhd->sqhd", scores, v).reshape(sequences, tokens, heads * size)
    hidden = hidden + inputs[1] @ block["self_attn.o_proj"].T
    inputs[2] = norm(hidden, block["post_attention_layernorm.weight"], config["rms_norm_eps"])
    gate, up = (inputs[2] @ block[name].T for name in GROUPS[2])
    inputs[3] = gate / (1 + np.exp(-gate)) * up
    return hidden + inputs[3] @ block["mlp.down_proj"].T


def gptq(weight, x):
    """Rows on one grid each; H is the same for all rows, so they go together."""
    weight = weight.copy()
    moments = x.T @ x
    inverse = np.linalg.inv(moments + DAMPING * np.diag(moments).mean() * np.eye(len(moments)))
    low, high = np.minimum(weight.min(1), 0), np.maximum(weight.max(1), 0)
    scale = (high - low) / (2**BITS - 1)
    zero = np.round(-low / scale)
    for j in range(len(moments)):
        value = scale * (np.clip(np.round(weight[:, j] / scale) + zero, 0, 2**BITS - 1) - zero)
        error = (weight[:, j] - value) / inverse[j, j]
        weight[:, j:] -= np.outer(error, inverse[j, j:])
        weight[:, j] = value
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return weight


def compress(block, hidden, config, in_order):
    """Relative squared output errors of all linears on the inputs that calibrated them."""
    result, inputs, errors = dict(block), {}, []
    forward(block, hidden, config, inputs)
    for group, names in enumerate(GROUPS):
        if in_order:
            forward(result, hidden, config, inputs)
        x = inputs[group].reshape(-1, inputs[group].shape[-1])
        for name in names:
            result[name] = gptq(block[name], x)
            errors.append(((x @ (result[name] - block[name]).T) ** 2).sum() / ((x @ block[name].T) ** 2).sum())
    return result, errors


def main():
    folder = sys.argv[1] + "/sweeps/demo/"
    with open(folder + "model/config.json", encoding="utf-8") as file:
        config = json.load(file)
    tensors = load_file(folder + "model/model.safetensors")
    tokenizer = Tokenizer.from_file(folder + "model/tokenizer.json")
    with open(folder + "data/general_eval.txt", encoding="utf-8") as file:
        ids = tokenizer.encode(file.read()).ids
    random.seed(SEED)
    starts = [random.randint(0, len(ids) - LENGTH - 1) for _ in range(SAMPLES)]
    sequences = np.array([ids[start : start + LENGTH] for start in starts])
    for in_order in (False, True):
        hidden = tensors["model.embed_tokens.weight"].astype(float)[sequences]
        for index in range(BLOCKS):
            prefix = f"model.layers.{index}."
            block = {n[len(prefix) :].removesuffix(".weight"): t for n, t in tensors.items() if n.startswith(prefix)}
            block = {n + ".weight" if n.endswith("norm") else n: t.astype(float) for n, t in block.items()}
            block, errors = compress(block, hidden, config, in_order)
            print("    {" + ", ".join(f"{error:.6f}" for error in errors) + "},")
            hidden = forward(block, hidden, config, {})


main()
