# SPDX-License-Identifier: Apache-2.0
"""Loads checkpoints that `winnow export` wrote with transformers and compares them with the results file.

    winnow export demo.h5 --point 9 --to nine
    python3 tests/export/check_export.py demo.h5 nine [MORE DIRECTORIES ...]

For every perplexity set of the sweep with the protocol gptq: perplexity by transformers in fp32 on the weights as loaded
against /scores/SET/perplexity of the point, ratio within 1e-4 of 1; not for a point that quantizes inputs as well, which
a checkpoint cannot say. For every linear: the weights from
winnow_codes.safetensors are those of the checkpoint, bit for bit, unless these were rounded. Needs torch, transformers,
safetensors and h5py. Exit codes: 0 passed, 1 failed, 77 skipped because a package is missing.
"""

import json
import math
import pathlib
import re
import subprocess
import sys

try:
    import h5py
    import numpy
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TOLERANCE = 1e-4


def export(winnow, results, point, to, *options):
    command = [winnow, "export", results, "--point", str(point), "--to", str(to), "-q", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_demo(winnow, folder, source, model, grid):
    """The results file of a small sweep of a model on texts of the demo."""
    data = source / "sweeps/demo/data"
    sweep = {
        "model": str(model),
        "calibration": {"general": {"text": str(data / "general_calibration.jsonl"), "samples": 2, "length": 64}},
        "grid": grid,
        "evaluate": {"perplexity": {"world": {"text": str(data / "general_eval.txt"), "length": 128, "windows": 1}}},
    }
    (folder / "sweep.json").write_text(json.dumps(sweep))
    subprocess.run([winnow, "run", folder / "sweep.json", "-o", folder / "results.h5", "-q"], check=True)
    return folder / "results.h5"


def is_refusal(done, to, reason):
    """Whether an export ended with one line that has the reason, and left nothing behind."""
    lines = done.stderr.splitlines()
    return done.returncode == 2 and len(lines) == 1 and reason in lines[0] and not list(to.parent.glob(f"{to.name}*"))


def read_sweep(file):
    """The sweep without its comments, and the folder its paths refer to."""
    token = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
    text = token.sub(lambda match: match.group(1) or " ", file["sweep"][()].decode())
    return json.loads(text), pathlib.Path(file["provenance"].attrs["sweep_file"]).parent


@torch.no_grad()
def perplexity(model, tokenizer, path, spec):
    """The protocol gptq: windows of one stream, exp of the mean of the windows' mean losses."""
    ids = tokenizer(path.read_bytes().decode(), return_tensors="pt").input_ids[0]
    length = spec.get("length") or min(model.config.max_position_embeddings, 2048)
    count = min(len(ids) // length, spec.get("windows") or math.inf)
    losses = []
    for window in ids[: count * length].reshape(count, length):
        logits = model(window[None]).logits[0, :-1].double()
        losses.append(torch.nn.functional.cross_entropy(logits, window[1:]).item())
    return math.exp(sum(losses) / len(losses))


def scores(file, directory, point, **options):
    """Of every perplexity set: its name, what the results file says, and what transformers finds."""
    sweep, folder = read_sweep(file)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, **options).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    for name, spec in sweep["evaluate"].get("perplexity", {}).items():
        if spec.get("protocol", "gptq") != "gptq":
            continue
        there = float(file[f"scores/{name}/perplexity"][point])
        yield name, there, perplexity(model, tokenizer, folder / spec["text"], spec)


def check_scores(file, directory, about):
    if about["inputs_quantized"]:
        print(f"{directory}: scores are not compared: the point quantizes inputs as well")
        return True
    good = True
    for name, there, here in scores(file, directory, about["point"]):
        good = good and abs(here / there - 1) <= TOLERANCE
        print(f"{directory}: {name}: winnow {there:.8f}, transformers {here:.8f}, ratio - 1 = {here / there - 1:+.2e}")
    return good


def grids(codes, name, part, rows, columns, group):
    """Scales or zero points of every weight, in the order of the groups."""
    group = group or columns
    values = codes[f"{name}.{part}"].reshape(-1, -(-columns // group))  # the last group of a row may be shorter
    return numpy.repeat(numpy.broadcast_to(values, (rows, values.shape[1])), group, axis=1)[:, :columns]


def from_codes(codes, name, shape, weight):
    """The weights from the code form; where only a mask is stored, the kept ones are those of the checkpoint."""
    rows, columns = shape["rows"], shape["columns"]
    if "bits" in shape:
        place = codes.get(f"{name}.order", numpy.arange(columns))
        result = numpy.empty((rows, columns), numpy.float32)
        code = codes[f"{name}.codes"][:, place].astype(numpy.float32)
        scale, zero = (grids(codes, name, part, rows, columns, shape["group"]) for part in ("scales", "zeros"))
        result[:, place] = scale * (code - zero)
        if f"{name}.input_scale" in codes:
            result /= codes[f"{name}.input_scale"]
        if f"{name}.outlier_index" in codes:
            result.reshape(-1)[codes[f"{name}.outlier_index"]] = codes[f"{name}.outlier_value"]
    else:
        result = weight.copy()
    if f"{name}.mask" in codes:
        result[~unpacked(codes[f"{name}.mask"], columns)] = 0
    return result


def load_arrays(path):
    """Tensors as arrays, halves and bfloats as float32."""
    tensors = load_file(path)
    return {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in tensors.items()}


def load_export(directory):
    """The weights of the checkpoint, and what there is of the code form."""
    tensors = {}
    for path in directory.glob("model*.safetensors"):
        tensors.update(load_arrays(path))
    codes_path = directory / "winnow_codes.safetensors"
    return tensors, load_arrays(codes_path) if codes_path.exists() else {}


def unpacked(mask, columns):
    return numpy.unpackbits(mask, axis=1, bitorder="little")[:, :columns].astype(bool)


def different_weights(tensors, codes, about):
    different = 0
    for name, shape in about["linears"].items():
        weight = tensors[f"{name}.weight"]
        result = from_codes(codes, name, shape, weight)
        different += int((result.view(numpy.uint32) != weight.view(numpy.uint32)).sum())
    return different


def check_codes(directory, about):
    different = different_weights(*load_export(directory), about)
    print(f"{directory}: {len(about['linears'])} linears, {different} weights differ from the code form")
    return different == 0


def main():
    logging.set_verbosity_error()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    good = True
    with h5py.File(sys.argv[1]) as file:
        for directory in map(pathlib.Path, sys.argv[2:]):
            about = json.loads((directory / "winnow_export.json").read_text())
            good = check_scores(file, directory, about) and good
            if about["dtype"] in ("float32", "source") and not about["rounded"]:
                good = check_codes(directory, about) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
