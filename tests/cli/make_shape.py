#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint of the shape of Qwen3-30B-A3B that takes no room: a header, and a file of holes behind it; with
"small", one of two narrow blocks of 16 experts with random numbers.

    make_shape.py DIRECTORY TOKENIZER_DIRECTORY [small]
"""
import json
import math
import pathlib
import random
import shutil
import struct
import sys

SMALL = len(sys.argv) > 3
HIDDEN, INNER, BLOCKS, EXPERTS, HEADS, KV_HEADS, HEAD, VOCABULARY = (
    (256, 512, 2, 16, 4, 2, 64, 1024) if SMALL else (2048, 768, 48, 128, 32, 4, 128, 151936))
CONFIG = {"model_type": "qwen3_moe", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 6144,
          "moe_intermediate_size": INNER, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS,
          "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
          "rope_theta": 1e6, "num_experts": EXPERTS, "num_experts_per_tok": 8, "norm_topk_prob": True,
          "tie_word_embeddings": False, "decoder_sparse_step": 1, "mlp_only_layers": []}


def shapes():
    for name in ("model.embed_tokens", "lm_head"):
        yield name, (VOCABULARY, HIDDEN)
    yield "model.norm", (HIDDEN,)
    for block in range(BLOCKS):
        prefix = f"model.layers.{block}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield prefix + name, (HIDDEN,)
        for name, rows in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            yield f"{prefix}self_attn.{name}_proj", (rows * HEAD, HIDDEN)
        yield prefix + "self_attn.o_proj", (HIDDEN, HEADS * HEAD)
        for name in ("q_norm", "k_norm"):
            yield f"{prefix}self_attn.{name}", (HEAD,)
        yield prefix + "mlp.gate", (EXPERTS, HIDDEN)
        for expert in range(EXPERTS):
            for name, shape in (("gate", (INNER, HIDDEN)), ("up", (INNER, HIDDEN)), ("down", (HIDDEN, INNER))):
                yield f"{prefix}mlp.experts.{expert}.{name}_proj", shape


def numbers(count):
    """bf16 of either sign, from 2^-7 to 2^-5."""
    draw = random.Random(count)
    values = bytearray(draw.randbytes(2 * count))
    values[1::2] = values[1::2].translate(bytes(0x3C | byte & 0x80 for byte in range(256)))
    return values


def main():
    folder, tokenizer = map(pathlib.Path, sys.argv[1:3])
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    header, end = {}, 0
    for name, shape in shapes():
        begin, end = end, end + 2 * math.prod(shape)
        header[name + ".weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in shapes() if SMALL else ():
            file.write(numbers(math.prod(shape)))
        file.truncate(8 + len(text) + end)


main()
