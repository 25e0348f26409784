# SPDX-License-Identifier: Apache-2.0
"""GGUF exports of the demo model beside their plain exports, and every method in every format.

    python3 tests/export/check_gguf.py WINNOW SOURCE_FOLDER

A reader of our own, from the description of the format, and the gguf package take the files apart: weights are the
plain ones bit for bit where no number was rounded (rows of q and k in the order of llama.cpp's rotation), minima of
Q4_1 within 2^-11 of them; keys are those of config.json and tokenizer.json. Every method is exported in every format:
a file, or one line that says why not, and nothing left behind; a killed export leaves no folder of that name. Where
llama_cpp can be imported, llama.cpp loads files and gives the tokens of the tokenizer and the perplexity of the results
file. Needs numpy, h5py, safetensors, torch, transformers and gguf. Exit codes: 0 passed, 1 failed, 77 skipped because a
package is missing.
"""

import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

try:
    import check_export  # exits with 77 where a package is missing
    import gguf
    import h5py
    import numpy
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

G = {"calibration": "general"}
Q = {"symmetric": True, "scale_dtype": "f16"}
# Grid cell, the type of its linears in a gguf file or why there is none, and whether all its numbers are held.
POINTS = [
    ({"method": "none"}, "F32", True),
    ({"method": "rtn", "bits": 4, "group": 32, **Q}, "Q4_0", True),
    ({"method": "rtn", "bits": 4, "group": 32}, "Q4_1", False),
    ({"method": "rtn", "bits": 3, "group": "channel", "scale_dtype": "f16"}, "Q4_0", True),
    ({"method": "rtn", "bits": 8, "group": 64, **Q}, "Q8_0", True),
    ({"method": "rtn", "bits": 8, "group": 64}, "8-bit codes have zero points", True),
    ({"method": "rtn", "bits": 4, "group": 48}, "no multiple of 32", True),
    ({"method": "gptq", "bits": 4, "group": 32, **Q, **G}, "Q4_0", True),
    ({"method": "llm_int8"}, "Q8_0", False),
    ({"method": "smoothquant", **G}, "Q8_0", False),
    ({"method": "magnitude", "sparsity": 0.5}, "F32", True),
    ({"method": "random", "sparsity": 0.5}, "F32", True),
    ({"method": "wanda", "pattern": "2:4", **G}, "F32", True),
    ({"method": "sparsegpt", "sparsity": 0.5, **G}, "F32", True),
    ({"prune": "wanda", "sparsity": 0.5, "quantize": "rtn", "bits": 6, "group": 32, "scale_dtype": "f16", **G}, "Q8_0", True),
    ({"method": "spqr", "bits": 3, **G}, "second level", True),
    ({"method": "drop", "sparsity": 0.4, **G}, "F32", True),
]
FORMATS = ["compressed-tensors", "gptq", "awq", "gguf"]
NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
         "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}  # fmt: skip
FOLDED = {"attn_q": "attn_norm", "attn_k": "attn_norm", "attn_v": "attn_norm", "ffn_gate": "ffn_norm", "ffn_up": "ffn_norm"}
TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34), 30: ("BF16", 1, 2)}

failures = 0


def fail(text):
    global failures
    failures += 1
    print(text)


# ---- a reader of our own ----


class Reader:
    def __init__(self, path):
        self.data, self.at = path.read_bytes(), 0
        magic, version, n_tensors, n_keys = struct.unpack("<4sIQQ", self.take(24))
        assert (magic, version) == (b"GGUF", 3)
        self.keys = {}
        for _ in range(n_keys):
            name = self.string()
            self.keys[name] = self.value(self.number("<I"))
        infos = []
        for _ in range(n_tensors):
            name, n_dims = self.string(), self.number("<I")
            shape = [self.number("<Q") for _ in range(n_dims)][::-1]
            infos.append((name, shape, self.number("<I"), self.number("<Q")))
        start, end = -(-self.at // 32) * 32, 0
        self.tensors = {}
        for name, shape, kind, offset in infos:
            label, block, size = TYPES[kind]
            assert offset == -(-end // 32) * 32, "tensors do not lie one behind the other"
            count = math.prod(shape)
            end = offset + count // block * size
            self.tensors[name] = (label, self.decode(label, self.data[start + offset : start + end]).reshape(shape))
        assert len(self.data) == start + -(-end // 32) * 32

    def take(self, count):
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self):
        return self.take(self.number("<Q")).decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            kind = self.number("<I")
            return [self.value(kind) for _ in range(self.number("<Q"))]
        return self.number({4: "<I", 5: "<i", 6: "<f", 7: "<?"}[kind])

    @staticmethod
    def decode(label, data):
        if label in ("F32", "F16"):
            return numpy.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[label]).astype(numpy.float32)
        if label == "BF16":
            return (numpy.frombuffer(data, "<u2").astype(numpy.uint32) << 16).view(numpy.float32)
        size = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[label]
        blocks = numpy.frombuffer(data, numpy.uint8).reshape(-1, size)
        scale = blocks[:, :2].copy().view("<f2").astype(numpy.float32)
        if label == "Q8_0":
            return scale * blocks[:, 2:].view(numpy.int8).astype(numpy.float32)
        codes = blocks[:, size - 16 :]
        codes = numpy.concatenate([codes & 15, codes >> 4], axis=1).astype(numpy.float32)
        if label == "Q4_0":
            return scale * (codes - 8)
        return scale * codes + blocks[:, 2:4].copy().view("<f2").astype(numpy.float32)


def turned(weight, heads):
    """Rows of a head j, j + d/2 side by side."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


# ---- checks ----


def check_weights(name, reader, plain, config, exact, folded):
    wanted = {key: tensor.float().numpy() for key, tensor in load_file(plain / "model.safetensors").items()}
    norms = {key: tensor for key, tensor in wanted.items() if "norm" in key}
    for key, (label, got) in reader.tensors.items():
        parts = key.split(".")
        if parts[0] == "blk":
            reference = wanted.pop(f"model.layers.{parts[1]}.{NAMES[parts[2]]}.{parts[3]}")
            if parts[2] in ("attn_q", "attn_k"):
                heads = config["num_attention_heads" if parts[2] == "attn_q" else "num_key_value_heads"]
                reference = turned(reference, heads)
        else:
            reference = wanted.pop({"token_embd": "model.embed_tokens", "output_norm": "model.norm"}[parts[0]] + ".weight")
        if folded and parts[0] == "blk" and "norm" in parts[2]:
            continue
        norm = FOLDED.get(parts[2]) if folded and parts[0] == "blk" else None
        if norm:  # its columns have the scales that the norm was divided by
            divided = reader.tensors[f"blk.{parts[1]}.{norm}.weight"][1]
            reference = reference * (norms[f"model.layers.{parts[1]}.{NAMES[norm]}.weight"] / divided)
        limit = 0 if exact or label == "F32" else (2.0**-11 + (2.0**-21 if norm else 0)) * numpy.abs(reference)
        if label == "Q4_1":  # minima are rounded as well
            limit = limit + 2.0**-10 * numpy.abs(got).max()
        if got.shape != reference.shape or not (numpy.abs(got - reference) <= limit).all():
            fail(f"{name}: {key} {label} {got.shape} differs by {numpy.abs(got - reference).max():.3g}")
    if wanted:
        fail(f"{name}: there is no {sorted(wanted)}")


def check_keys(name, reader, path, config, tokenizer):
    keys, model = reader.keys, tokenizer["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    wanted = {"general.architecture": "llama", "llama.embedding_length": config["hidden_size"],
              "llama.block_count": config["num_hidden_layers"], "llama.rope.freq_base": config["rope_theta"],
              "llama.attention.head_count_kv": config["num_key_value_heads"], "tokenizer.ggml.model": "gpt2",
              "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges,
              "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 0}  # fmt: skip
    for key, value in wanted.items():
        if keys.get(key) != value:
            fail(f"{name}: {key} is {str(keys.get(key))[:80]}")
    if keys["tokenizer.ggml.token_type"][:3] != [3, 3, 1]:
        fail(f"{name}: types of tokens {keys['tokenizer.ggml.token_type'][:3]}")
    library = gguf.GGUFReader(path)
    for tensor in library.tensors:
        got = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        if not numpy.array_equal(got.ravel(), reader.tensors[tensor.name][1].ravel()):
            fail(f"{name}: the gguf package reads another {tensor.name}")
    if len(library.tensors) != len(reader.tensors):
        fail(f"{name}: the gguf package finds {len(library.tensors)} tensors")


def check_point(winnow, results, point, folder, expected, exact, source):
    """The gguf export of a point, or its refusal."""
    to, plain = folder / f"gguf-{point}", folder / f"plain-{point}"
    done = check_export.export(winnow, results, point, to, "--format", "gguf")
    if expected not in ("F32", "Q4_0", "Q4_1", "Q8_0"):
        return check_refusal(done, to, expected)
    if done.returncode:
        return fail(f"{to.name}: {done.stderr}")
    check_export.export(winnow, results, point, plain)
    config = json.loads((plain / "config.json").read_text())
    about = json.loads((to / "winnow_export.json").read_text())
    reader = Reader(to / "model.gguf")
    kinds = {label for name, (label, _) in reader.tensors.items() if name.endswith("ffn_up.weight")}
    if kinds != {expected} or about["packed_kind"] != expected or (about["numbers_rounded"] == 0) != exact:
        fail(f"{to.name}: {kinds}, {about['packed_kind']}, {about['numbers_rounded']} numbers rounded")
    if about["scales_folded"]:  # as plain numbers nothing is moved
        check_as_numbers(winnow, results, point, folder, plain, config)
    check_weights(to.name, reader, plain, config, exact, about["scales_folded"])
    check_keys(to.name, reader, to / "model.gguf", config, json.loads((source / "tokenizer.json").read_text()))
    return None


def check_as_numbers(winnow, results, point, folder, plain, config):
    to = folder / f"numbers-{point}"
    done = check_export.export(winnow, results, point, to, "--format", "gguf", "--dtype", "f32")
    if done.returncode or json.loads((to / "winnow_export.json").read_text())["scales_folded"]:
        return fail(f"{to.name}: {done.returncode} {done.stderr}")
    return check_weights(to.name, Reader(to / "model.gguf"), plain, config, True, False)


def check_refusal(done, to, reason):
    if not check_export.is_refusal(done, to, reason):
        fail(f'{to.name}: not refused for "{reason}": {done.returncode} {done.stderr}')


def check_matrix(winnow, results, point, folder):
    """A folder, or one line."""
    for name in FORMATS[:-1]:
        to = folder / f"{name}-{point}"
        done = check_export.export(winnow, results, point, to, "--format", name)
        if done.returncode:
            check_refusal(done, to, "cannot hold it" if "cannot hold it" in done.stderr else "cannot hold ")
        elif not (to / "model.safetensors.index.json").exists():
            fail(f"{to.name}: no index")


def check_kills(winnow, results, folder):
    """A killed export never leaves a folder of its name, and the next one says what to do."""
    for pause in (0.05, 0.15, 0.3):
        to = folder / f"killed-{pause}"
        command = [winnow, "export", results, "--point", "1", "--to", str(to), "-q", "--format", "gguf"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
            time.sleep(pause)
            running.kill()
        if running.returncode != -9:
            continue
        if to.exists():
            fail(f"{to.name}: a killed export left a folder")
        if (folder / f"{to.name}.exporting").exists() and "remove it" not in check_export.export(winnow, results, 1, to).stderr:
            fail(f"{to.name}: the next export does not say what to do")


def llama_perplexity(results, folder, point, length, tolerance):
    """llama.cpp: tokens, and perplexity of the first window."""
    try:
        import llama_cpp
    except ImportError:
        return
    from transformers import AutoTokenizer

    with h5py.File(results) as file:
        sweep, _ = check_export.read_sweep(file)
        there = file["scores/world/perplexity"][point]
    text = pathlib.Path(sweep["evaluate"]["perplexity"]["world"]["text"]).read_text()
    ids = AutoTokenizer.from_pretrained(sweep["model"])(text).input_ids
    model = llama_cpp.Llama(
        str(folder / "model.gguf"), n_ctx=length, n_threads=1, logits_all=True, verbose=False, type_k=0, type_v=0
    )
    if model.tokenize(text.encode(), add_bos=True) != ids:
        fail(f"{folder.name}: llama.cpp has other tokens")
    model.eval(ids[:length])
    logits = numpy.array(model.scores[: length - 1], numpy.float64)
    losses = numpy.logaddexp.reduce(logits, axis=1) - logits[numpy.arange(length - 1), ids[1:length]]
    here = math.exp(losses.mean())
    if not abs(here / there - 1) <= tolerance:
        fail(f"{folder.name}: llama.cpp has the perplexity {here}, the results file {there}")


def main(winnow, source):
    with tempfile.TemporaryDirectory() as place:
        folder, model = pathlib.Path(place), source / "sweeps/demo/model"
        results = check_export.run_demo(winnow, folder, source, model, [cell for cell, _, _ in POINTS[1:]])
        for point, (_, expected, exact) in enumerate(POINTS):
            check_point(winnow, results, point, folder, expected, exact, model)
            check_matrix(winnow, results, point, folder)
        check_kills(winnow, results, folder)
        for point, tolerance in ((0, 1e-4), (1, 2e-2), (4, 1e-2)):
            llama_perplexity(results, folder / f"gguf-{point}", point, 128, tolerance)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2])))
