#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The perplexity of an exported point as the library of its format has it, beside that of the results file.

    tests/bench/real_exports.py WINNOW RESULTS.h5 POINT FORMAT [--own] [OPTION ...]

compressed-tensors and gptq, awq (by gptqmodel, optimum) are loaded by transformers on the CPU, gguf by llama_cpp; masks
of compressed-tensors, which its releases above 0.14 do not read, and with --own all linears, by the reader of
tests/export/check_formats.py. OPTION: of winnow export. The windows are those of the sweep's one perplexity.
"""

import json
import math
import os
import pathlib
import sys
import tempfile

os.environ["TQDM_DISABLE"] = "1"  # before the packages with bars
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "export"))
import check_export
import check_formats
import h5py
import numpy
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, CompressedTensorsConfig, logging


def by_transformers(model):
    def logits_of(ids):
        with torch.no_grad():
            return model(torch.tensor(ids)[None]).logits[0].double().numpy()

    return logits_of


def by_llama(path, length):
    import llama_cpp

    model = llama_cpp.Llama(str(path), n_ctx=length, n_threads=1, logits_all=True, verbose=False, type_k=0, type_v=0)

    def logits_of(ids):
        model.reset()
        model.eval(ids)
        return numpy.array(model.scores[: len(ids)], numpy.float64)

    return logits_of


def by_own_reader(folder, source):
    """The checkpoint with its linears taken apart here."""
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    about, tensors = json.loads((folder / "winnow_export.json").read_text()), check_formats.tensors_of(folder)
    this = {"format": about["packed_as"], "kind": about["packed_kind"], "dtype": about["numbers_dtype"]}
    for name, linear in about["linears"].items():
        names = [key for key in tensors if key.startswith(f"{name}.") and not key.endswith(".bias")]
        parts = {key[len(name) + 1 :]: check_formats.numbers(tensors.pop(key)) for key in names}
        shape = {"rows": linear["rows"], "columns": linear["columns"]}
        tensors[f"{name}.weight"] = torch.from_numpy(check_formats.unpack(parts, this | shape, config))
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
    return by_transformers(model)


def load(folder, kind, length, source, own):
    if (folder / "model.gguf").exists():
        return by_llama(folder / "model.gguf", length)
    if own or kind.startswith("sparse"):
        return by_own_reader(folder, source)
    packed = kind in ("pack-quantized", "int-quantized")
    options = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if packed else {}
    return by_transformers(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval())


def perplexity(logits_of, windows):
    losses = []
    for ids in windows:
        logits = logits_of(ids)[:-1]
        losses.append((numpy.logaddexp.reduce(logits, axis=1) - logits[numpy.arange(len(ids) - 1), ids[1:]]).mean())
    return math.exp(sum(losses) / len(losses))


def main(winnow, results, point, form, options):
    logging.set_verbosity_error()
    with h5py.File(results) as file:
        sweep, folder = check_export.read_sweep(file)
        ((name, spec),) = sweep["evaluate"]["perplexity"].items()
        there = float(file[f"scores/{name}/perplexity"][int(point)])
    source, length = folder / sweep["model"], spec["length"]
    text = (folder / spec["text"]).read_bytes()[: 16 * spec["windows"] * length].decode(errors="ignore")
    ids = AutoTokenizer.from_pretrained(source)(text).input_ids
    windows = [ids[i * length : (i + 1) * length] for i in range(spec["windows"])]
    with tempfile.TemporaryDirectory() as place:
        to, own = pathlib.Path(place) / "export", "--own" in options
        words = [option for option in options if option != "--own"]
        done = check_export.export(winnow, results, point, to, "--format", form, *words)
        if done.returncode:
            sys.exit(done.stderr)
        about = json.loads((to / "winnow_export.json").read_text())
        here = perplexity(load(to, about["packed_kind"], length, source, own), windows)
    print(f"{form} {about['packed_kind']}: {about['bytes_linears']} bytes, {about['numbers_rounded']} numbers rounded;", end=" ")
    print(f"perplexity {there:.6f}, here {here:.6f}, {here / there - 1:+.1e}")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:5], sys.argv[5:])
