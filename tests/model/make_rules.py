#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes reference/rules_NAME: checkpoints as their owners have them, and what transformers computes for each.

One small llama, of which each case changes the file names, the tensors or config.json: test_forward.c loads them and
compares logits as for the folders of make_reference.py. A case says whether its logits are those of the unchanged model
("same") or must be others ("other"), which is checked here: a rule that changes nothing would test nothing.

    python3 tests/model/make_rules.py [NAME ...]

Needs torch, transformers (5), tokenizers and safetensors. Runs in seconds; the same versions give the same files.
"""

import argparse
import json
import shutil

import torch
from make_reference import FOLDER, KEPT_ROWS, VOCABULARY, kept_positions, randomize, write_tokenizer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, FineGrainedFP8Config, LlamaConfig

SIZES = dict(vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, hidden_act="silu",
             tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)
LENGTHS = (40, 7)
EMBEDDING, HEAD, INDEX = "model.embed_tokens.weight", "lm_head.weight", "model.safetensors.index.json"
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 128}
LINEAR = {"type": "linear", "factor": 4.0}


def plain(config, tensors):
    """The model of which all others are changes."""


def no_prefix(config, tensors):
    for name in list(tensors):
        tensors[name.removeprefix("model.")] = tensors.pop(name)


def other_head(config, tensors):
    """Tied by config.json, but the head is another tensor: it counts."""
    tensors[HEAD] = tensors[EMBEDDING].flip(0).contiguous()


def same_head(config, tensors):
    tensors[HEAD] = tensors[EMBEDDING].clone()


def head_alone(config, tensors):
    tensors[HEAD] = tensors.pop(EMBEDDING)


def no_prefix_untied(config, tensors):
    config["tie_word_embeddings"] = False
    no_prefix(config, tensors)
    tensors[HEAD] = tensors["embed_tokens.weight"].flip(0).contiguous()


def left_over(config, tensors):
    """Norms of another architecture, and a buffer of old files."""
    for block in range(2):
        tensors[f"model.layers.{block}.self_attn.q_norm.weight"] = torch.ones(4)
        tensors[f"model.layers.{block}.self_attn.rotary_emb.inv_freq"] = torch.ones(2)


def index_extra(config, tensors):
    """The index names what no file has."""
    return {"model.layers.0.self_attn.rotary_emb.inv_freq"}, set()


def index_short(config, tensors):
    """The files have what the index does not name."""
    return set(), {"model.layers.1.mlp.down_proj.weight", "model.norm.weight"}


def rope_both(config, tensors):
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    config["rope_scaling"] = LINEAR


def rope_original(config, tensors):
    config.pop("rope_parameters")
    config.update(rope_theta=10000.0, rope_scaling=LLAMA3, original_max_position_embeddings=32)


def f64(config, tensors):
    config["dtype"] = "float64"
    for name in tensors:
        tensors[name] = tensors[name].double() * (1 + 2.0**-40)


def is_linear(name):
    return name.endswith("proj.weight")


def float8(weight, blocks):
    """The weight as E4M3 with a factor of each part of a grid of so many parts."""
    rows, columns = weight.shape
    parts = weight.float().reshape(blocks[0], rows // blocks[0], blocks[1], columns // blocks[1])
    scale = parts.abs().amax((1, 3)) / 448
    return (parts / scale[:, None, :, None]).reshape(rows, columns).to(torch.float8_e4m3fn), scale


def f8_blocks(config, tensors):
    """Factors of 8 by 8; the grid of some is no square. (By "bfloat16" transformers would round the products.)"""
    config["dtype"] = "float32"
    config["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [8, 8]}
    for name in filter(is_linear, list(tensors)):
        tensors[name], tensors[f"{name}_scale_inv"] = float8(tensors[name], [n // 8 for n in tensors[name].shape])


def f8_tensors(config, tensors):
    config["dtype"] = "float32"
    config["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": None}
    for name in filter(is_linear, list(tensors)):
        tensors[name], scale = float8(tensors[name], (1, 1))
        tensors[f"{name}_scale_inv"] = scale.reshape(())


def f8_e5m2(config, tensors):
    """Without factors."""
    for name in filter(is_linear, list(tensors)):
        tensors[name] = tensors[name].to(torch.float8_e5m2)


def activation(name):
    """Another function between the two linears of an MLP."""

    def change(config, tensors):
        config["hidden_act"] = name

    return change


CASES = {
    "plain": (plain, "same"),
    "no_prefix": (no_prefix, "same"),
    "no_prefix_untied": (no_prefix_untied, "other"),
    "other_head": (other_head, "other"),
    "same_head": (same_head, "same"),
    "head_alone": (head_alone, "same"),
    "left_over": (left_over, "same"),
    "index_extra": (index_extra, "same"),
    "index_short": (index_short, "same"),
    "rope_both": (rope_both, "other"),
    "rope_original": (rope_original, "other"),
    "f64": (f64, "same"),
    "f8_blocks": (f8_blocks, "other"),
    "f8_tensors": (f8_tensors, "other"),
    "f8_e5m2": (f8_e5m2, "other"),
    "quick_gelu": (activation("quick_gelu"), "other"),
    "relu2": (activation("relu2"), "other"),
    "tanh": (activation("tanh"), "other"),
}


def save(path, tensors):
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def write_shards(directory, tensors, extra, left_out):
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    weight_map = {}
    for file, inside in shards.items():
        save(directory / file, {name: tensors[name] for name in inside})
        weight_map.update({name: file for name in inside if name not in left_out})
    weight_map.update({name: next(iter(shards)) for name in extra})
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


def load(directory):
    quantized = json.loads((directory / "config.json").read_text()).get("quantization_config")
    options = {}
    if quantized:
        block = quantized["weight_block_size"]
        options["quantization_config"] = FineGrainedFP8Config(dequantize=True,
                                                              weight_block_size=tuple(block) if block else None)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager", **options)
    return model.float().eval()  # beside 8-bit floats transformers leaves other tensors as they are stored


@torch.no_grad()
def write_case(name):
    change, _ = CASES[name]
    directory = FOLDER / f"rules_{name}"
    shutil.rmtree(directory, ignore_errors=True)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))
    randomize(model, 7)
    model.to(torch.bfloat16).save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((directory / "config.json").read_text())
    config.pop("transformers_version", None)
    tensors = load_file(directory / "model.safetensors")
    index = change(config, tensors)
    (directory / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (directory / "model.safetensors").unlink()
    if index:
        write_shards(directory, tensors, *index)
    else:
        save(directory / "model.safetensors", tensors)
    write_tokenizer(directory / "tokenizer.json")
    generator = torch.Generator().manual_seed(11)
    sequences = [torch.randint(0, VOCABULARY, (n,), generator=generator) for n in LENGTHS]
    logits = torch.cat([load(directory)(ids[None]).logits[0] for ids in sequences])
    kept = kept_positions(LENGTHS, KEPT_ROWS)
    target = directory / "reference"
    target.mkdir()
    save(target / "model.safetensors",
         {"lengths": torch.tensor(LENGTHS).float(), "ids": torch.cat(sequences).float(), "positions": kept.float(),
          "logits": logits[kept].float().contiguous()})
    return logits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases to write (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference = write_case("plain")
    for name, (_, expected) in CASES.items():
        if options.names and name not in options.names:
            continue
        difference = float((write_case(name) - reference).abs().max())
        if (difference > 0.05) != (expected == "other"):
            raise SystemExit(f"{name}: logits differ by {difference} from the unchanged model; expected: {expected}")
        print(f"{name:18} differs by {difference:.3g}")


if __name__ == "__main__":
    main()
