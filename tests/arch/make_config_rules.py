#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes config_rules.json: what transformers makes of config.json files that lack keys, hold two of them, or hold null.

Each entry has "name", the file ("config") and what transformers reads there ("expect", of which only what the entry is
about is kept): test_config_rules.c reads the same file by wn_arch_read_common and compares. Only configuration classes
are run.

    python3 tests/arch/make_config_rules.py

Needs transformers 5; seconds; the same version gives the same file.
"""

import copy
import json
import pathlib
import tempfile

from transformers import AutoConfig, logging
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

logging.set_verbosity_error()
FILE = pathlib.Path(__file__).parent / "config_rules.json"
TYPES = ("llama mistral qwen2 qwen3 granite smollm3 olmo2 gemma2 gemma3_text phi3 mixtral qwen2_moe qwen3_moe stablelm "
         "gpt_neox falcon bloom opt gpt2").split()
ROPES = {"default": 0, "linear": 1, "dynamic": 2, "llama3": 3, "yarn": 4, "longrope": 5}

# no file lacks these; heads that every class's own number of key-value heads divides
SIZES = dict(vocab_size=300, hidden_size=256, intermediate_size=100, num_hidden_layers=3, num_attention_heads=32)
OWN_NAMES = {
    "gpt2": dict(hidden_size="n_embd", intermediate_size="n_inner", num_hidden_layers="n_layer",
                 num_attention_heads="n_head"),
    "bloom": dict(num_hidden_layers="n_layer", num_attention_heads="n_head"),
    "opt": dict(intermediate_size="ffn_dim"),
    "falcon": dict(intermediate_size="ffn_hidden_size"),
}
WITHOUT_HEAD_DIM = ("stablelm", "gpt_neox", "falcon", "bloom", "opt", "gpt2")
ONE_ROPE = {**SIZES, "model_type": "llama", "max_position_embeddings": 512, "num_attention_heads": 4}
LINEAR = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def first(config, *names):
    """The first attribute that is there, even when it is None."""
    for name in names:
        if hasattr(config, name):
            return getattr(config, name)
    return None


def read(file):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "config.json"
        path.write_text(json.dumps(file))
        return AutoConfig.from_pretrained(folder)


def expect(file):
    config = read(file)
    rope = copy.deepcopy(first(config, "rope_parameters")) or {}
    rope = rope.get("full_attention", rope)
    heads = config.num_attention_heads
    head_dim = None if file["model_type"] in WITHOUT_HEAD_DIM else first(config, "head_dim")
    eos = config.eos_token_id
    window = first(config, "sliding_window")
    if file["model_type"] == "smollm3" and not config.use_sliding_window:
        window = 0  # kept, but no layer slides
    found = {
        "hidden_size": config.hidden_size,
        "n_blocks": config.num_hidden_layers,
        "n_heads": heads,
        "n_kv_heads": first(config, "num_key_value_heads") or heads,
        "head_dim": head_dim or config.hidden_size // heads,
        "eps": first(config, "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"),
        "tied": config.tie_word_embeddings,
        "window": window or 0,
        "bos": -1 if config.bos_token_id is None else config.bos_token_id,
        "eos": [] if eos is None else eos if isinstance(eos, list) else [eos],
        "max_positions": first(config, "max_position_embeddings"),
    }
    if rope:
        # what the functions of modeling_rope_utils read, which standardize once more
        config.standardize_rope_params()
        rope = config.rope_parameters
        rope = rope.get("full_attention", rope)
        found.update(kind=ROPES[rope["rope_type"]], theta=rope["rope_theta"], factor=rope.get("factor", 1.0),
                     dims=int(found["head_dim"] * rope.get("partial_rotary_factor", 1.0)))
        if rope["rope_type"] in ("llama3", "yarn", "longrope"):
            found["original"] = rope["original_max_position_embeddings"]
        if rope["rope_type"] in ("yarn", "longrope"):
            found["attention_factor"] = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu")[1]
            found["factor"] = rope.get("factor") or config.max_position_embeddings / found["original"]
        if rope["rope_type"] == "yarn":
            found.update(beta_fast=rope.get("beta_fast") or 32, beta_slow=rope.get("beta_slow") or 1,
                         truncate=rope.get("truncate", True))
    return {key: value for key, value in found.items() if value is not None}


HEADS = ("n_heads", "n_kv_heads", "head_dim")
IDS = ("bos", "eos")
ROPE = ("kind", "theta", "factor", "dims", "original", "attention_factor", "beta_fast", "beta_slow", "truncate")


def files():
    """Name, file, and what to keep (nothing: all)."""
    for kind in TYPES:
        names = OWN_NAMES.get(kind, {})
        bare = {"model_type": kind, **{names.get(key, key): value for key, value in SIZES.items()}}
        yield f"{kind}: nothing but sizes", bare
        if names:
            yield f"{kind}: the usual names", {"model_type": kind, **SIZES}, "hidden_size", "n_blocks", "n_heads"
        yield f"{kind}: tied the other way", {**bare, "tie_word_embeddings": not read(bare).tie_word_embeddings}, "tied"
        yield f"{kind}: null", {**bare, "eos_token_id": None, "bos_token_id": None}, *IDS
        if hasattr(read(bare), "sliding_window"):
            yield f"{kind}: window null", {**bare, "sliding_window": None, "use_sliding_window": True}, "window"
            yield f"{kind}: window unused", {**bare, "sliding_window": 64, "use_sliding_window": False}, "window"
            yield f"{kind}: window used", {**bare, "sliding_window": 64, "use_sliding_window": True}, "window"
            yield f"{kind}: window used, its length absent", {**bare, "use_sliding_window": True}, "window"
    for kind in ("llama", "qwen2", "smollm3", "phi3"):
        yield f"{kind}: kv heads null", {"model_type": kind, **SIZES, "num_key_value_heads": None}, *HEADS
    for kind in ("llama", "mistral", "mixtral"):
        yield f"{kind}: head_dim null", {"model_type": kind, **SIZES, "head_dim": None}, *HEADS
        yield f"{kind}: head_dim", {"model_type": kind, **SIZES, "head_dim": 24}, *HEADS
    yield "llama: eos list", {**ONE_ROPE, "eos_token_id": [5, 7]}, *IDS
    neox = {"model_type": "gpt_neox", **SIZES}
    yield "gpt_neox: its names of rope", {**neox, "rotary_emb_base": 5000, "rotary_pct": 1.0}, *ROPE
    yield "gpt_neox: the usual names of rope", {**neox, "rope_theta": 5000.0, "partial_rotary_factor": 1.0}, *ROPE
    default, other = {"rope_type": "default", "rope_theta": 2e4}, {"rope_type": "default", "rope_theta": 3e4}
    yield "rope: theta at the top", {**ONE_ROPE, "rope_theta": 5e4}, *ROPE
    yield "rope: parameters", {**ONE_ROPE, "rope_parameters": default}, *ROPE
    yield "rope: parameters and theta at the top", {**ONE_ROPE, "rope_theta": 5e4, "rope_parameters": default}, *ROPE
    yield "rope: scaling without theta", {**ONE_ROPE, "rope_theta": 5e4, "rope_scaling": LINEAR}, *ROPE
    yield "rope: scaling with theta", {**ONE_ROPE, "rope_theta": 5e4,
                                       "rope_scaling": {**LINEAR, "rope_theta": 6e4}}, *ROPE
    yield "rope: both", {**ONE_ROPE, "rope_parameters": default, "rope_scaling": LINEAR}, *ROPE
    yield "rope: both, theta at the top", {**ONE_ROPE, "rope_theta": 5e4, "rope_parameters": default,
                                           "rope_scaling": LINEAR}, *ROPE
    yield "rope: both, default wins over linear", {**ONE_ROPE, "rope_parameters": LINEAR, "rope_scaling": other}, *ROPE
    yield "rope: both, scaling null", {**ONE_ROPE, "rope_parameters": LINEAR, "rope_scaling": None}, *ROPE
    yield "rope: both, scaling empty", {**ONE_ROPE, "rope_parameters": LINEAR, "rope_scaling": {}}, *ROPE
    yield "rope: both, parameters null", {**ONE_ROPE, "rope_parameters": None, "rope_scaling": LINEAR}, *ROPE
    yield "rope: type, an old name", {**ONE_ROPE, "rope_scaling": {"type": "linear", "factor": 2.0}}, *ROPE
    yield "rope: type and rope_type", {**ONE_ROPE, "rope_scaling": {"type": "linear", "rope_type": "dynamic",
                                                                   "factor": 2.0}}, *ROPE
    inside = {**LLAMA3, "original_max_position_embeddings": 64}
    yield "llama3: original inside", {**ONE_ROPE, "rope_scaling": inside}, *ROPE
    yield "llama3: original at the top", {**ONE_ROPE, "rope_scaling": LLAMA3,
                                          "original_max_position_embeddings": 32}, *ROPE
    yield "llama3: original at both places", {**ONE_ROPE, "rope_scaling": inside,
                                              "original_max_position_embeddings": 32}, *ROPE
    yield "llama3: no original", {**ONE_ROPE, "rope_scaling": LLAMA3}, *ROPE
    yield "llama3: parameters, original at both places", {
        **ONE_ROPE, "rope_parameters": {**inside, "rope_theta": 5e5}, "original_max_position_embeddings": 32}, *ROPE
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    yield "yarn", {**ONE_ROPE, "rope_scaling": yarn}, *ROPE
    yield "yarn: original at both places", {**ONE_ROPE, "rope_scaling": yarn,
                                            "original_max_position_embeddings": 128}, *ROPE
    yield "yarn: no original", {**ONE_ROPE, "rope_scaling": {"type": "yarn", "factor": 4.0}}, *ROPE
    yield "yarn: all keys", {**ONE_ROPE, "rope_scaling": {**yarn, "beta_fast": 16, "beta_slow": 2, "truncate": False,
                                                          "attention_factor": 1.25}}, *ROPE
    yield "yarn: mscale", {**ONE_ROPE, "rope_scaling": {**yarn, "mscale": 0.7, "mscale_all_dim": 1.3}}, *ROPE
    yield "yarn: mscale alone", {**ONE_ROPE, "rope_scaling": {**yarn, "mscale": 0.7}}, *ROPE
    yield "yarn: factor 1", {**ONE_ROPE, "rope_scaling": {**yarn, "factor": 1.0}}, *ROPE
    long = {"rope_type": "longrope", "short_factor": [1.0] * 32, "long_factor": [2.5] * 32}
    yield "longrope: original at the top", {**ONE_ROPE, "rope_scaling": long,
                                            "original_max_position_embeddings": 128}, *ROPE
    yield "longrope: factor", {**ONE_ROPE, "rope_scaling": {**long, "factor": 3.0},
                               "original_max_position_embeddings": 128}, *ROPE
    yield "longrope: attention_factor", {**ONE_ROPE, "rope_scaling": {**long, "attention_factor": 1.5},
                                         "original_max_position_embeddings": 128}, *ROPE
    yield "longrope: no original", {**ONE_ROPE, "rope_scaling": long}, *ROPE
    phi3 = {**ONE_ROPE, "model_type": "phi3", "original_max_position_embeddings": 128}
    for name in ("su", "yarn", "longrope"):
        yield f"phi3: longrope called {name}", {
            **phi3, "rope_scaling": {**long, "rope_type": name, "original_max_position_embeddings": 128}}, *ROPE
    yield "phi3: a part", {**phi3, "partial_rotary_factor": 0.75}, *ROPE
    yield "phi3: a part, parameters", {**phi3, "rope_parameters": {"rope_type": "default",
                                                                  "partial_rotary_factor": 0.75}}, *ROPE
    yield "stablelm: a part", {**ONE_ROPE, "model_type": "stablelm", "num_key_value_heads": 4,
                                "partial_rotary_factor": 0.5}, *ROPE


def main():
    rules = []
    for name, file, *kept in files():
        found = {key: value for key, value in expect(file).items() if not kept or key in kept}
        rules.append({"name": name, "config": file, "expect": found})
    lines = ",\n".join(json.dumps(rule) for rule in rules)
    FILE.write_text(f"[\n{lines}\n]\n")
    print(f"{FILE.name}: {len(rules)} files, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
