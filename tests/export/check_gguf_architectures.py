# SPDX-License-Identifier: Apache-2.0
"""GGUF exports of a tiny random checkpoint of every architecture that has them.

    python3 tests/export/check_gguf_architectures.py WINNOW SOURCE_FOLDER [NAME ...]

Names of tensors are those of the gguf package, values those of the plain export: bit for bit, also where linears share a
tensor, rows of q and k in the order of llama.cpp's rotation, norms of Gemma + 1. What llama.cpp would compute otherwise is
refused in one line. Where llama_cpp can be imported, llama.cpp opens each file and gives the perplexity of the results
file. Needs numpy, h5py, safetensors, torch, transformers and gguf. Exit codes: 0 passed, 1 failed, 77 skipped because a
package is missing.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import check_gguf  # exits with 77 where a package is missing
import gguf
import numpy
import torch
import transformers
from check_gguf import Reader, check_refusal, fail, llama_perplexity, turned
from safetensors.torch import load_file

BASE = dict(vocab_size=256, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)  # fmt: skip
GEMMA = dict(BASE, head_dim=32, query_pre_attn_scalar=32, sliding_window=16)
LLAMA3 = dict(rope_type="llama3", rope_theta=1e4, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)  # fmt: skip
LONG = dict(rope_type="longrope", rope_theta=1e4, short_factor=[1 + j / 20 for j in range(8)],
            long_factor=[1 + j for j in range(8)], original_max_position_embeddings=32)  # fmt: skip
GEMMA3_ROPE = {"full_attention": dict(rope_type="linear", rope_theta=1e6, factor=8.0),
               "sliding_attention": dict(rope_type="default", rope_theta=5e3)}  # fmt: skip
GRANITE = dict(attention_bias=True, embedding_multiplier=3.0, residual_multiplier=0.3, attention_multiplier=0.2,
               logits_scaling=2.0)  # fmt: skip
THREE = ["sliding_attention", "full_attention", "sliding_attention"]
# Tokens of a tokenizer.json that was made of SentencePiece's pieces, in the order of their scores.
MERGED = ["ab", "\u2581a", "\u2581ab", "abc", "\u2581abc"]
# Name (one with phi3 in it makes llama.cpp look for tokens of those models), class of its configuration, what is different
# there, name of the architecture in the file, tolerance of llama.cpp, whose GELU is a table of halves.
MODELS = [
    ("llama3", "Llama", dict(BASE, rope_parameters=LLAMA3), "llama", 1e-4),
    ("pieces", "Llama", dict(BASE, vocab_size=320), "llama", 1e-4),
    ("gemma3", "Gemma3Text", dict(GEMMA, num_hidden_layers=3, layer_types=THREE, rope_parameters=GEMMA3_ROPE), "gemma3", 1e-3),
    ("fused", "Phi3", dict(BASE), "phi3", 1e-4),
    ("fused_long", "Phi3", dict(BASE, rope_parameters=LONG, original_max_position_embeddings=32), "phi3", 1e-4),
    ("gemma2", "Gemma2", dict(GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=6.0), "gemma2", 1e-3),
    ("olmo2", "Olmo2", dict(BASE), "olmo2", 1e-4),
    ("olmo2_tied", "Olmo2", dict(BASE, tie_word_embeddings=True), "olmo2", 1e-4),
    ("granite", "Granite", dict(BASE, **GRANITE), "granite", 1e-4),
    ("smollm3", "SmolLM3", dict(BASE, num_hidden_layers=4, use_sliding_window=False), "smollm3", 1e-4),
]  # fmt: skip
# Name, of which model, what is changed in config.json, and why there is no file.
REFUSED = [
    ("gemma3_scale", "gemma3", {"query_pre_attn_scalar": 48}, "the factor of its scores"),
    ("fused_window", "fused", {"sliding_window": 16}, "has a window"),
    ("gemma2_no_caps", "gemma2", {"attn_logit_softcapping": None}, "no soft caps"),
    ("olmo2_activation", "olmo2", {"hidden_act": "gelu"}, "its activation"),
    ("smollm3_rotated", "smollm3", {"no_rope_layers": [1, 0, 1, 0]}, "not every fourth"),
    ("pieces_gap", "pieces", {}, "its merges are not those"),
    ("smollm3_llama3", "smollm3", {"rope_parameters": LLAMA3, "rope_scaling": None}, "scaled in a way"),
]
POINT = {"method": "rtn", "bits": 4, "group": 32, "symmetric": True, "scale_dtype": "f16"}
KINDS = ["F32", "Q4_0"]
ROWS = 60
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUT = [{"type": "Split", "pattern": {"Regex": CL100K}, "behavior": "Isolated", "invert": False},
       {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]  # fmt: skip
ADDED = {"5": {"content": "&", "special": True}, "6": {"content": "'", "special": False}}  # by tokenizer_config.json alone


def pieces(about):
    """Bytes for what is no token; of each merged token all pairs that make it."""
    tokens = ["<unk>", "<s>", "</s>", "!", '"', "&", "'", "\u2581", *map(chr, range(97, 123)), *MERGED]
    merges = [[word[:i], word[i:]] for word in MERGED for i in range(1, len(word)) if {word[:i], word[i:]} <= {*tokens}]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    model = {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges, "byte_fallback": True}
    cut = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    back = [cut | {"pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    return about | {"model": about["model"] | model | {"unk_token": "<unk>"}, "normalizer": cut, "pre_tokenizer": None,
                    "decoder": {"type": "Sequence", "decoders": back}}  # fmt: skip


@torch.no_grad()
def write_model(folder, name, kind, options, tokenizer):
    """All tensors are random: a norm of ones or a missing bias would be seen by nobody."""
    torch.manual_seed(len(name))
    config = getattr(transformers, f"{kind}Config")(**options)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder / name)
    about = json.loads((tokenizer / "tokenizer.json").read_text())
    if name == "pieces":
        about = pieces(about)
    if name == "olmo2":
        about["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": CUT}
    (folder / name / "tokenizer.json").write_text(json.dumps(about))
    about = json.loads((tokenizer / "tokenizer_config.json").read_text()) | {"added_tokens_decoder": ADDED}
    (folder / name / "tokenizer_config.json").write_text(json.dumps(about))


def run_sweep(winnow, folder, name):
    text = folder / "text.txt"
    text.write_text("".join(chr(97 + (7 * i + i * i // 5) % 26) + " " * (i % 6 == 5) for i in range(400)))
    sweep = {
        "model": str(folder / name),
        "grid": [POINT],
        "evaluate": {"perplexity": {"world": {"text": str(text), "length": ROWS, "windows": 1}}},
    }
    (folder / f"{name}.json").write_text(json.dumps(sweep))
    results = folder / f"{name}.h5"
    subprocess.run([winnow, "run", folder / f"{name}.json", "-o", results, "-q"], check=True)
    return results


def stored_names(architecture, config):
    """Of each tensor of a checkpoint its name by the gguf package."""
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], config["num_hidden_layers"])
    return lambda key: names.get_name(key, try_suffixes=(".weight", ".bias"))


def check_tensors(name, reader, plain, architecture):
    config = json.loads((plain / "config.json").read_text())
    find, left = stored_names(architecture, config), set(reader.tensors)
    for key, tensor in load_file(plain / "model.safetensors").items():
        stored, reference = find(key), tensor.float().numpy()
        if stored not in left:
            fail(f"{name}: {key} should be {stored}")
            continue
        left.remove(stored)
        for part, heads in (("attn_q.", "num_attention_heads"), ("attn_k.", "num_key_value_heads")):
            if part in stored and architecture in ("llama", "granite", "smollm3"):
                reference = turned(reference.reshape(len(reference), -1), config[heads]).reshape(reference.shape)
        if architecture.startswith("gemma") and "norm" in stored:
            reference = reference + 1
        if not numpy.array_equal(reader.tensors[stored][1], reference):
            fail(f"{name}: {stored} differs")
    extra = {"output.weight"} if architecture == "olmo2" else set()  # also where it is the embedding
    if {key for key in left if not key.startswith("rope_")} - extra:
        fail(f"{name}: what are {sorted(left)}?")


def check_factors(name, reader):
    """The frequencies of pairs that stand in a tensor, as transformers scales them."""
    if name == "llama3":
        config = transformers.LlamaConfig(**dict(BASE, rope_parameters=LLAMA3))
        scaled, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        plain = 1.0 / 1e4 ** (torch.arange(0, 16, 2) / 16)
        wanted = {"rope_freqs.weight": (plain / scaled).numpy()}
    elif name == "fused_long":
        wanted = {f"rope_factors_{kind}.weight": LONG[f"{kind}_factor"] for kind in ("long", "short")}
    else:
        wanted = {}
    there = {key: value for key, (_, value) in reader.tensors.items() if key.startswith("rope_")}
    if there.keys() != wanted.keys() or not all(numpy.allclose(there[key], wanted[key], rtol=1e-6) for key in wanted):
        fail(f"{name}: factors of rotations {there}")


def check_model(winnow, folder, model):
    name, _, options, architecture, tolerance = model
    results = run_sweep(winnow, folder, name)
    for point, kind in enumerate(KINDS):
        to, plain = folder / f"{name}-{point}", folder / f"{name}-plain-{point}"
        done = check_gguf.check_export.export(winnow, results, point, to, "--format", "gguf")
        if done.returncode:
            fail(f"{to.name}: {done.stderr}")
            continue
        check_gguf.check_export.export(winnow, results, point, plain)
        reader = Reader(to / "model.gguf")
        keys = reader.keys
        if keys["general.architecture"] != architecture or keys[f"{architecture}.block_count"] != options["num_hidden_layers"]:
            fail(f"{to.name}: {keys['general.architecture']}, {keys[f'{architecture}.block_count']} blocks")
        if keys["tokenizer.ggml.pre"] != {"olmo2": "dbrx", "pieces": "default"}.get(name, "gpt-2"):
            fail(f"{to.name}: texts are cut as by {keys['tokenizer.ggml.pre']}")
        if keys["tokenizer.ggml.token_type"][4:8] != [1, 3, 4, 1]:
            fail(f"{to.name}: types of tokens {keys['tokenizer.ggml.token_type'][4:8]}")
        if name == "pieces" and keys["tokenizer.ggml.scores"][34:39] != [-0.0, -1.0, -2.0, -4.0, -5.0]:
            fail(f"{to.name}: scores {keys['tokenizer.ggml.scores'][34:39]}")
        if name == "pieces" and set(keys["tokenizer.ggml.token_type"][39:295]) != {6}:
            fail(f"{to.name}: bytes are of the types {set(keys['tokenizer.ggml.token_type'][39:295])}")
        if {label for key, (label, _) in reader.tensors.items() if "ffn_up.weight" in key} != {kind}:
            fail(f"{to.name}: linears are not {kind}")
        check_tensors(to.name, reader, plain, architecture)
        check_factors(name, reader)
    llama_perplexity(results, folder / f"{name}-0", 0, ROWS, tolerance)


def check_refused(winnow, folder, name, model, changes, reason):
    shutil.copytree(folder / model, folder / name)
    config = json.loads((folder / name / "config.json").read_text())
    (folder / name / "config.json").write_text(json.dumps(config | changes))
    if name == "pieces_gap":
        path = folder / name / "tokenizer.json"
        about = json.loads(path.read_text())
        del about["model"]["merges"][2]
        path.write_text(json.dumps(about))
    results = run_sweep(winnow, folder, name)
    to = folder / f"{name}-0"
    check_refusal(check_gguf.check_export.export(winnow, results, 0, to, "--format", "gguf"), to, reason)


def main(winnow, source, names):
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        for model in MODELS:
            if not names or model[0] in names:
                write_model(folder, *model[:3], source / "tests/model/reference/gemma3")
                check_model(winnow, folder, model)
        for refused in REFUSED:
            if not names or refused[1] in names:
                check_refused(winnow, folder, *refused)
    return 1 if check_gguf.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]))
