#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every method on the demo model beside an oracle: methods.py and walk.py, which are numpy, torch and transformers.

    python3 check_methods.py WINNOW SOURCE_FOLDER [--alone] [WORD ...]     (WORD: only points whose product has them all)

One point for each variant of a method, on short calibration sets. Checked of each:
  perplexity   of the model that the oracle makes, within 0.1 % of the results file
  outputs      of each linear on dense inputs, inputs rounded where the method does: their error, as in the results file
  masks, codes, outliers of all linears, as `winnow export` writes them: at least 99.9 % of the entries are equal
  export       loaded by transformers it has the perplexity of the results file within 1e-4 (not where inputs are
               rounded as well, which a checkpoint cannot say), and its weights are those of its codes, bit for bit
All methods and parameters of `winnow help methods` must be in a point. Exit codes: 0 passed, 1 failed, 77 skipped because
a package is missing.

Rounding is chaotic: behind one weight that is between two codes but for the last bits, the rest of its row and all later
blocks differ. So each block of the oracle reads what the blocks before it make with the weights under test, and only its
own linears are made anew. --alone leaves that out; then up to a tenth of the codes of some points differ, as the oracle's
own do when its embeddings change by 1e-6. Where inputs are rounded as well (smoothquant) equal weights are not enough:
those points have dense propagation.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "export"))
import check_export  # noqa: E402  (exits with 77 where a package is missing)
import h5py  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import logging  # noqa: E402
from walk import LINEARS, Theirs, Walk, batches, c4_windows, compress, drop, linear_inputs, output_error, prompt_sequences  # noqa: E402

PERPLEXITY, AGREEMENT, EXPORT, OUTPUTS = 1e-3, 0.999, 1e-4, 1e-2
SAMPLES, LENGTH, PROMPTS, WINDOWS, WINDOW, SAMPLE = 8, 128, 64, 32, 128, 512
LEAST_ERROR = 1e-4  # of outputs; what is below is rounding noise of fp32
G, P, DENSE = {"calibration": "general"}, {"calibration": "prompts"}, {"propagation": "dense"}


def point(method, *more, **settings):
    return {"method": method, **{k: v for part in more for k, v in part.items()}, **settings}


def joint(prune, quantize, *more, **settings):
    return {"prune": prune, "quantize": quantize, **{k: v for part in more for k, v in part.items()}, **settings}


POINTS = [
    point("magnitude", sparsity=0.5),
    point("magnitude", sparsity=0.4, rule="reference"),
    point("magnitude", sparsity=0.5, scope="block"),
    point("magnitude", sparsity=0.3, scope="block", rule="reference"),
    point("magnitude", pattern="2:4"),
    point("magnitude", G, sparsity=0.5, allocation="owl", owl_lambda=0.15, owl_m=3),
    point("random", sparsity=0.2),
    point("random", pattern="1:4", seed=3),
    point("wanda", G, sparsity=0.5),
    point("wanda", G, DENSE, sparsity=0.6),
    point("wanda", P, sparsity=0.5),
    point("wanda", G, pattern="2:4"),
    point("wanda", G, sparsity=0.5, variant="alpha"),
    point("wanda", P, sparsity=0.6, allocation="owl"),
    point("wanda", G, pattern="4:8", allocation="owl", owl_m=4),
    point("sparsegpt", G, sparsity=0.5),
    point("sparsegpt", G, DENSE, sparsity=0.7),
    point("sparsegpt", P, sparsity=0.5, percdamp=0.1),
    point("sparsegpt", G, sparsity=0.5, rule="reference"),
    point("sparsegpt", G, pattern="2:4"),
    point("sparsegpt", G, DENSE, pattern="4:8"),
    point("sparsegpt", G, sparsity=0.5, bits=4),
    point("sparsegpt", G, pattern="2:4", bits=5, symmetric=True),
    point("sparsegpt", G, sparsity=0.5, bits=3, symmetric=True, scale_dtype="f16"),
    point("sparsegpt", G, sparsity=0.6, true_sequential=True),
    point("sparsegpt", G, sparsity=0.6, allocation="owl", owl_m=3),
    point("rtn", bits=4),
    point("rtn", bits=3, group=32),
    point("rtn", bits=6, group="tensor"),
    point("rtn", bits=4, group=32, symmetric=True),
    point("rtn", bits=3, group=32, clip="mse"),
    point("rtn", bits=4, clip="mse", symmetric=True),
    point("rtn", bits=3, group=160),  # the last group of a row is shorter, or the only one
    point("rtn", bits=4, group=32, scale_dtype="f16"),
    point("rtn", bits=3, clip="mse", scale_dtype="bf16"),
    point("rtn", bits=4, group=48, input_bits=8),
    point("rtn", bits=4, group="tensor", input_bits=6, input_group="token"),
    point("gptq", G, bits=4),
    point("gptq", G, bits=3, group=32),
    point("gptq", G, DENSE, bits=2, group=32),
    point("gptq", P, bits=4, group=32, percdamp=0.1),
    point("gptq", G, bits=3, group=32, group_statistics="reference"),
    point("gptq", G, bits=4, act_order=True),
    point("gptq", G, bits=3, group=32, act_order=True, static_groups=True),
    point("gptq", G, bits=3, group=32, act_order=True),
    point("gptq", G, bits=3, group=160),
    point("gptq", G, bits=4, group=96, act_order=True),
    point("gptq", G, bits=4, symmetric=True),
    point("gptq", G, bits=4, group=32, symmetric=True, scale_dtype="f16"),
    point("gptq", G, bits=3, true_sequential=True),
    point("gptq", G, DENSE, bits=4, group=32, symmetric=True, input_bits=8, input_group=64),
    point("spqr", G, bits=3),
    point("spqr", G, bits=4, order="identity", outlier_threshold=0.05),
    point("spqr", G, bits=3, order="spearman", percdamp=0.1),
    point("spqr", P, bits=4, group=32),
    point("spqr", G, bits=3, group=96),
    point("spqr", G, bits=3, outlier_threshold="none", qq_groupsize=8, qq_scale_bits=4),
    point("spqr", G, bits=3, round_zero=True, qq_zero_bits=2),
    point("spqr", G, bits=4, group=32, symmetric=True, qq_groupsize=64),  # ends of runs, where ties are, are rare
    point("spqr", G, bits=4, group="channel", simplified_outliers=True, qq_scale_bits="none", qq_zero_bits="none"),
    point("awq", G, bits=4, group=32),
    point("awq", G, DENSE, bits=3, group=32),
    point("awq", G, bits=3, group=160),
    point("awq", P, bits=4, symmetric=True, clip="none"),
    point("awq", G, bits=4, group=32, scale_dtype="f16"),
    point("llm_int8"),
    point("llm_int8", threshold=2.0),
    point("llm_int8", scale_dtype="f16"),
    point("llm_int8", threshold=2.0, outlier_weights="fp"),
    point("smoothquant", G, DENSE),
    point("smoothquant", G, DENSE, alpha=0.8, bits=6),
    point("smoothquant", P, DENSE, quantize_outputs=True),
    point("smoothquant", G, DENSE, bits=7, scale_dtype="bf16"),
    point("drop", G, sparsity=0.34),
    point("drop", G, sparsity=0.34, units="branch", score="kl"),
    point("drop", P, sparsity=0.34, units="mlp", score="angular"),
    joint("wanda", "rtn", G, sparsity=0.5, bits=4, group=32),
    joint("magnitude", "gptq", G, sparsity=0.4, bits=4, group=32),
    joint("sparsegpt", "gptq", G, pattern="2:4", bits=4, act_order=True),
    joint("wanda", "spqr", G, sparsity=0.5, bits=3),
    joint("wanda", "awq", G, pattern="2:4", bits=4, group=32),
    joint("wanda", "smoothquant", G, DENSE, sparsity=0.5, allocation="owl"),
    joint("random", "llm_int8", sparsity=0.1),
]
ABOUT_POINT = {"method", "prune", "quantize", "calibration", "propagation"}
OF_PRUNERS = {"sparsity", "pattern", "allocation", "owl_lambda", "owl_m"}  # the same code for all of them


def stages_of(product):
    """The methods of a product with the settings that each of them has."""
    names = [product[key] for key in ("method", "prune", "quantize") if key in product]
    settings = {k: v for k, v in product.items() if k not in ABOUT_POINT}
    if len(names) == 1:
        return [(names[0], settings)]
    pruning = OF_PRUNERS & settings.keys()
    return [(names[0], {k: settings[k] for k in pruning}), (names[1], {k: v for k, v in settings.items() if k not in pruning})]


def not_covered(winnow):
    """Methods and parameters of the help that no point has."""
    used = [(method, key) for product in POINTS for method, settings in stages_of(product) for key in ["", *settings]]
    missing, method = [], None
    for line in subprocess.run([winnow, "help", "methods"], capture_output=True, text=True, check=True).stdout.splitlines():
        if found := re.match(r"(\w+) \(.*(pruning|quantization)", line):
            method = found[1]
            missing += [method] if (method, "") not in used else []
        elif (found := re.match(r"  (\w+)  +(a |an |one of |true or )", line)) and method:
            key = found[1]
            if (method, key) not in used and (key not in OF_PRUNERS or key not in {name for _, name in used}):
                missing.append(f"{method} {key}")
    return missing


def write_sweep(folder, points, source):
    data = source / "sweeps/demo/data"
    sweep = {
        "name": "oracle",
        "model": str(source / "sweeps/demo/model"),
        "calibration": {
            "general": {"text": str(data / "general_calibration.jsonl"), "samples": SAMPLES, "length": LENGTH},
            "prompts": {"prompts": str(data / "task_calibration.jsonl"), "samples": PROMPTS, "length": LENGTH},
        },
        "grid": points,
        "evaluate": {"perplexity": {"world": {"text": str(data / "general_eval.txt"), "length": WINDOW, "windows": WINDOWS}}},
        "statistics": {"sample": "general", "tokens": SAMPLE},
    }
    (folder / "sweep.json").write_text(json.dumps(sweep))


class Oracle:
    def __init__(self, source):
        data = source / "sweeps/demo/data"
        self.walk = Walk(str(source / "sweeps/demo/model"))
        encode = self.walk.encode
        self.sets = {
            None: None,
            "general": batches(c4_windows(data / "general_calibration.jsonl", encode, SAMPLES, LENGTH, 0)),
            "prompts": batches(prompt_sequences(data / "task_calibration.jsonl", encode, PROMPTS, LENGTH, 0)),
        }
        stream = encode((data / "general_eval.txt").read_text(encoding="utf-8"))[: WINDOWS * WINDOW]
        self.inputs = linear_inputs(self.walk, [self.sets["general"][0][: SAMPLE // LENGTH]])
        self.windows = torch.tensor(stream).view(WINDOWS, WINDOW)

    def compress(self, product, theirs):
        """The model, and what was made of each linear (of drop: nothing)."""
        ids = self.sets[product.get("calibration")]
        stages = stages_of(product)
        if stages[0][0] == "drop":
            return drop(self.walk, ids, **stages[0][1]), {}
        return compress(self.walk, stages, ids, product.get("propagation"), theirs)

    def output_error(self, key, linear):
        return output_error(self.walk, *key, linear, self.inputs[key])

    def perplexity(self, model):
        return self.walk.perplexity(model, self.windows)


def linears_of(n_blocks, tensors, codes):
    names = {(block, name): f"model.layers.{block}.{name}" for block in range(n_blocks) for name in LINEARS}
    return {key: Theirs(tensors[f"{name}.weight"], codes.get(f"{name}.input_scale")) for key, name in names.items()}


def differences(made, codes):
    """Of masks, codes and outliers: entries that differ, and how many there are."""
    result = {}
    for (block, name), linear in made.items():
        name = f"model.layers.{block}.{name}"
        theirs = {"codes": codes.get(f"{name}.codes")}
        if f"{name}.mask" in codes:
            theirs["mask"] = check_export.unpacked(codes[f"{name}.mask"], linear.weight.shape[1])
        if linear.outliers is not None:
            theirs["outliers"] = np.zeros(linear.weight.shape, bool)
            theirs["outliers"].flat[codes.get(f"{name}.outlier_index", [])] = True
        for part in ("mask", "codes", "outliers"):
            mine, other = getattr(linear, part), theirs.get(part)
            assert (mine is None) == (other is None), f"{name}: only one of the two has {part}"
            if mine is not None:
                different, count = result.get(part, (0, 0))
                result[part] = (different + int((mine != other).sum()), count + mine.size)
    return result


def check_point(oracle, file, directory, product, alone):
    """Figures by name, each with its limit."""
    about = json.loads((directory / "winnow_export.json").read_text())
    tensors, codes = check_export.load_export(directory)
    theirs = None if alone or not codes else linears_of(oracle.walk.n_blocks, tensors, codes)
    model, made = oracle.compress(product, theirs)
    score = float(file["scores/world/perplexity"][about["point"]])
    figures = {"perplexity": (abs(oracle.perplexity(model) / score - 1), PERPLEXITY)}
    if made:
        there = file["weights/output_error"][about["point"]].ravel()  # blocks, linears in the order of LINEARS
        here = np.array([oracle.output_error(key, linear) for key, linear in made.items()])
        figures["outputs"] = (float((np.abs(here - there) / np.maximum(there, LEAST_ERROR)).max()), OUTPUTS)
    for part, (different, count) in differences(made, codes).items():
        figures[part] = (different / count, 1 - AGREEMENT)
    figures["weights not of codes"] = (check_export.different_weights(tensors, codes, about), 0)
    if not about["inputs_quantized"]:
        ((_, there, here),) = check_export.scores(file, directory, about["point"])
        figures["export"] = (abs(here / there - 1), EXPORT)
    return figures


def check_points(oracle, winnow, source, points, alone):
    """Yields each product with its figures."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        results = str(folder / "oracle.h5")
        write_sweep(folder, points, source)
        subprocess.run([winnow, "run", str(folder / "sweep.json"), "-o", results, "-q"], check=True, env=environment)
        with h5py.File(results) as file:
            assert len(file["points/key"]) == len(points) + 1, "two points are the same"
            for number, product in enumerate(points, 1):
                to = folder / str(number)
                command = [winnow, "export", results, "--point", str(number), "--to", str(to), "-q"]
                subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
                yield product, check_point(oracle, file, to, product, alone)
                shutil.rmtree(to)


@torch.no_grad()
def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("winnow", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    winnow, source = str(options.winnow.resolve()), options.source.resolve()
    points = [product for product in POINTS if all(word in json.dumps(product) for word in options.words)]
    failed = [f"{what} is in no point" for what in not_covered(winnow)]
    largest = {}
    for product, figures in check_points(Oracle(source), winnow, source, points, options.alone):
        text = json.dumps(product)
        print("  ".join(f"{name} {value:.1e}" for name, (value, _) in figures.items() if name[0] != "w"), text, flush=True)
        failed += [f"{name} {value:.1e} is above {limit:g}: {text}" for name, (value, limit) in figures.items()
                   if not value <= limit]  # fmt: skip
        for name, (value, _) in figures.items():
            largest[name] = max(largest.get(name, 0), value)
    print(f"{len(points)} points, largest:", "  ".join(f"{name} {value:.1e}" for name, value in largest.items()))
    print("\n".join(failed), end="\n" if failed else "")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
