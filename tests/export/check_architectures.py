# SPDX-License-Identifier: Apache-2.0
"""Every method on every architecture: a sweep of each tiny checkpoint of tests/model/reference.

    python3 tests/export/check_architectures.py WINNOW SOURCE_FOLDER [NAME ... | all]

Each point is done. A pruned, a quantized and a shortened point of each checkpoint are exported: transformers loads them
with the perplexity of the results file within 1e-4, and their tensors have the names and shapes of the source. Needs
torch, transformers, safetensors and h5py. Exit codes: 0 passed, 1 failed, 77 skipped because a package is missing.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import check_export  # exits with 77 where a package is missing
import h5py
import torch
from safetensors import safe_open
from transformers import logging

G = {"calibration": "general"}
POINTS = [
    {"method": "magnitude", "sparsity": 0.5},
    {"method": "random", "pattern": "2:4"},
    {"method": "wanda", "sparsity": 0.5, **G},
    {"method": "wanda", "sparsity": 0.5, "allocation": "owl", **G},
    {"method": "sparsegpt", "pattern": "2:4", "true_sequential": True, **G},
    {"method": "rtn", "bits": 4, "group": 4},
    {"method": "gptq", "bits": 4, "group": 4, **G},
    {"method": "spqr", "bits": 3, "group": 4, **G},
    {"method": "awq", "bits": 4, "group": 4, **G},
    {"method": "llm_int8"},
    {"method": "smoothquant", **G},
    {"prune": "wanda", "sparsity": 0.5, "quantize": "rtn", "bits": 4, "group": 4, **G},
    {"method": "drop", "units": "block", "sparsity": 0.5, "score": "block_influence", **G},
]
EXPORTED = ("random", "rtn", "drop")  # of these the first point of each checkpoint


def models(source, names):
    """Of each architecture one, the one with the most options; NAME ...: these, "all" being all."""
    few = ("gemma2", "gemma3", "gpt2", "gpt_neox", "granite", "llama_biases_f16", "mistral_window", "olmo2", "opt", "phi3",
           "qwen2_window", "qwen3_window", "smollm3_window", "bloom", "falcon", "falcon_grouped", "opt_350m", "stablelm",
           "mixtral_stacked", "qwen2_moe", "qwen3_moe_window")
    folder = source / "tests/model/reference"
    found = sorted(path for path in folder.iterdir() if (path / "config.json").exists())
    return [path for path in found if path.name in (names or few) or names == ["all"]]


def write_texts(folder):
    draw = random.Random(1)
    for name, count in (("general", 4000), ("text", 1500)):
        (folder / f"{name}.txt").write_text("".join(draw.choices("abcdefgh ijklm nopqrst uvwxyz.\n", k=count)))


def write_sweep(folder, path):
    sweep = {
        "name": path.name,
        "model": str(path),
        "calibration": {"general": {"text": "general.txt", "samples": 8, "length": 32}},
        "grid": POINTS,
        "evaluate": {"perplexity": {"text": {"text": "text.txt", "protocol": "gptq", "length": 30}}},
        "output": f"{path.name}.h5",
    }
    (folder / f"{path.name}.json").write_text(json.dumps(sweep))


def run(winnow, folder, *words):
    result = subprocess.run([winnow, *words], cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"winnow {' '.join(words)}: exit code {result.returncode}: {result.stderr[-600:]}")
    return result.stdout


def check_rows(name, rows):
    """Every point is done."""
    failed = [row for row in rows if row["status"] != "done"]
    for row in failed:
        print(f"{name}: {row['key']}: {row['reason']}")
    return not failed and len(rows) == len(POINTS) + 1


def shapes(directory):
    found = {}
    for path in sorted(directory.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            found.update({name: file.get_slice(name).get_shape() for name in file.keys()})
    return found


def check_export_of(winnow, folder, source, point, method):
    """One point of a results file as a checkpoint."""
    target = folder / f"{source.name}.{method}"
    run(winnow, folder, "export", f"{source.name}.h5", "--point", str(point), "--to", str(target), "-q")
    with h5py.File(folder / f"{source.name}.h5") as file:
        ((_, there, here),) = check_export.scores(file, target, point)
    good = abs(here / there - 1) <= check_export.TOLERANCE
    if not good:
        print(f"{source.name}: {method}: winnow {there:.8f}, transformers {here:.8f}")
    if method != "drop" and shapes(target) != shapes(source):
        print(f"{target}: other tensors than {source}")
        good = False
    return good, abs(here / there - 1)


def check_model(winnow, folder, source):
    write_sweep(folder, source)
    run(winnow, folder, "run", f"{source.name}.json", "-q")
    rows = json.loads(run(winnow, folder, "show", "--json", f"{source.name}.h5"))["points"]
    good, worst = check_rows(source.name, rows), 0
    for method in EXPORTED:
        point = next(i for i, row in enumerate(rows) if row["key"].split()[0] == method)
        if source.name == "gpt2_scales" and method == "drop":
            continue  # its configuration cannot say that blocks are gone
        fits, distance = check_export_of(winnow, folder, source, point, method)
        good, worst = good and fits, max(worst, distance)
    return good, worst


def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    winnow, source = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    good = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_texts(folder)
        for path in models(source, sys.argv[3:]):
            fits, worst = check_model(winnow, folder, path)
            good = good and fits
            print(f"{path.name}: largest difference of perplexities {worst:.1e}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
