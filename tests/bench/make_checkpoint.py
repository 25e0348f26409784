#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a Llama-architecture checkpoint with random weights, standard library only.

    make_checkpoint.py DIRECTORY --blocks 24 --hidden 256 --intermediate 768 --tokenizer sweeps/demo/model

The tokenizer files are copied from another checkpoint; the vocabulary size is taken from its config.json.
"""

import argparse
import array
import json
import math
import pathlib
import random
import shutil


def tensor_shapes(args, vocabulary):
    """Name and shape of every tensor, in the order of the file."""
    hidden, inner = args.hidden, args.intermediate
    heads = hidden // 32
    kv = max(1, heads // 2) * 32
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for block in range(args.blocks):
        prefix = f"model.layers.{block}."
        yield prefix + "input_layernorm.weight", (hidden,)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        yield prefix + "self_attn.q_proj.weight", (hidden, hidden)
        yield prefix + "self_attn.k_proj.weight", (kv, hidden)
        yield prefix + "self_attn.v_proj.weight", (kv, hidden)
        yield prefix + "self_attn.o_proj.weight", (hidden, hidden)
        yield prefix + "mlp.gate_proj.weight", (inner, hidden)
        yield prefix + "mlp.up_proj.weight", (inner, hidden)
        yield prefix + "mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--blocks", type=int, required=True)
    parser.add_argument("--hidden", type=int, default=256, help="a multiple of 64")
    parser.add_argument("--intermediate", type=int, default=768)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(args.tokenizer / name, args.directory / name)
    config = json.loads((args.tokenizer / "config.json").read_text())
    config.update(
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.blocks,
        num_attention_heads=args.hidden // 32,
        num_key_value_heads=max(1, args.hidden // 64),
        head_dim=32,
        tie_word_embeddings=True,
    )
    (args.directory / "config.json").write_text(json.dumps(config, indent=2))

    header, end = {}, 0
    shapes = list(tensor_shapes(args, config["vocab_size"]))
    for name, shape in shapes:
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    draw = random.Random(0)
    noise = array.array("f", (draw.gauss(0, 1) for _ in range(65536)))
    with open(args.directory / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes:
            count = math.prod(shape)
            scale = 1.0 if len(shape) == 1 else 0.02 if "embed" in name else 1 / math.sqrt(shape[-1])
            values = noise if len(shape) == 2 else array.array("f", [1.0] * count)
            scaled = array.array("f", (scale * value for value in values))
            for first in range(0, count, len(scaled)):
                scaled[: min(len(scaled), count - first)].tofile(file)


if __name__ == "__main__":
    main()
