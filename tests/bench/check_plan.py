#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Predicted against measured seconds, per method and stage: plans a sweep, runs it on one rank, prints both.

    tests/bench/check_plan.py WINNOW_BINARY --model DIR [--data DIR] [--only METHOD,...] [--tokens N] [--work DIR]

Prints one row per method and stage that takes at least 2 % of the method's time, and the largest ratio; ends with 1
when a method's total is off by more than --allow (default 20) per cent. OMP_NUM_THREADS threads (default 1). Run it on
an idle machine, with OPENBLAS_CORETYPE unset where it names slower kernels than the processor has.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

STAGES = ["load", "statistics", "compress", "forward", "generate", "score"]
GENERAL, SHORT = "general", "short"
GRID = {
    "magnitude": {"method": "magnitude", "sparsity": 0.5},
    "wanda": {"method": "wanda", "sparsity": 0.5, "calibration": GENERAL},
    "wanda24": {"method": "wanda", "pattern": "2:4", "calibration": GENERAL},
    "sparsegpt": {"method": "sparsegpt", "sparsity": 0.5, "calibration": GENERAL},
    "sparsegpt24": {"method": "sparsegpt", "pattern": "2:4", "calibration": GENERAL},
    "gptq": {"method": "gptq", "bits": 4, "group": 64, "calibration": GENERAL},
    "spqr": {"method": "spqr", "bits": 3, "group": 16, "calibration": GENERAL},
    "rtn": {"method": "rtn", "bits": 4, "group": 64},
    "awq": {"method": "awq", "bits": 4, "group": 64, "calibration": SHORT},
    "smoothquant": {"method": "smoothquant", "bits": 8, "calibration": GENERAL},
    "llm_int8": {"method": "llm_int8"},
    "wanda+rtn": {"prune": "wanda", "sparsity": 0.5, "quantize": "rtn", "bits": 4, "group": 64, "calibration": GENERAL},
    "dense": {"method": "wanda", "sparsity": 0.6, "calibration": GENERAL, "propagation": "dense"},
    "drop": {"method": "drop", "sparsity": 0.2, "calibration": GENERAL},
}


def write_sweep(folder, options):
    """A text for each kind of evaluation; calibration sets of --tokens tokens and of 512."""
    text = pathlib.Path(options.data, "demo/data/general_eval.txt").read_text()
    (folder / "eval.txt").write_text(text)
    documents = [json.dumps({"text": text[i:i + 6000]}) for i in range(0, len(text) - 6000, 3000)]
    (folder / "documents.jsonl").write_text("\n".join(documents) + "\n")
    facts = pathlib.Path(options.data, "demo/data/facts.jsonl").read_text().splitlines()[:41]
    (folder / "facts.jsonl").write_text("\n".join(facts) + "\n")
    length = 512
    only = options.only.split(",") if options.only else list(GRID)
    evaluate = {"perplexity": {"windows": {"text": "eval.txt", "protocol": "gptq", "length": length, "windows": 3}},
                "tasks": ["facts.jsonl"],
                "divergence": {"on": ["windows"]},
                "logits": {"on": ["windows"], "top": 16, "tokens": 256}}
    if options.generate:
        prompts = [json.dumps({"id": str(i), "prompt": text[50 * i:50 * i + 200], "references": ["a"]})
                   for i in range(32)]
        header = json.dumps({"task": "texts", "kind": "generation", "version": 1, "metrics": ["exact_match"],
                             "max_tokens": 16})
        (folder / "texts.jsonl").write_text("\n".join([header, *prompts]) + "\n")
        evaluate["tasks"].append("texts.jsonl")
    sweep = {"model": os.path.realpath(options.model),
             "calibration": {GENERAL: {"text": "documents.jsonl", "samples": options.tokens // length, "length": length},
                             SHORT: {"text": "documents.jsonl", "samples": 1, "length": length}},
             "grid": [GRID[name] for name in only],
             "evaluate": evaluate,
             "statistics": {"sample": "windows", "tokens": 512}}
    (folder / "sweep.json").write_text(json.dumps(sweep, indent=1))
    return folder / "sweep.json"


def run(options, folder):
    sweep, results = write_sweep(folder, options), folder / "out.h5"
    start = time.time()
    command = [options.winnow, "plan", sweep, "--json", "--threads", os.environ["OMP_NUM_THREADS"]]
    plan = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    planned = time.time() - start
    start = time.time()
    subprocess.run([options.winnow, "run", sweep, "-o", results, "-q"], check=True)
    wall = time.time() - start
    show = json.loads(subprocess.run([options.winnow, "show", results, "--json"], check=True, capture_output=True).stdout)
    return plan, planned, show, wall


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("winnow")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", default=pathlib.Path(__file__).parents[2] / "sweeps")
    parser.add_argument("--only", default="")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--generate", action="store_true", help="also 32 texts of 16 tokens")
    parser.add_argument("--allow", type=float, default=20)
    parser.add_argument("--work")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        plan, planned, show, wall = run(options, pathlib.Path(folder))
    worst = 1.0
    print(f"{'point':44} {'stage':10} {'predicted':>10} {'measured':>10} {'ratio':>6}")
    for predicted, measured in zip(plan["points"], show["points"]):
        name = predicted["key"][:44]
        total = measured["seconds"]
        for stage in STAGES:
            a, b = predicted["stages"][stage], measured[f"seconds_{stage}"]
            if max(a, b) >= 0.02 * total:
                print(f"{name:44} {stage:10} {a:8.3f} s {b:8.3f} s {a / b if b else float('inf'):6.2f}")
                name = ""
        ratio = predicted["seconds"] / total
        worst = max(worst, ratio, 1 / ratio)
        print(f"{name:44} {'all':10} {predicted['seconds']:8.3f} s {total:8.3f} s {ratio:6.2f}")
    print(f"whole run: {plan['seconds']:.1f} s predicted, {wall:.1f} s measured; plan took {planned:.1f} s; "
          f"{plan['flops_per_second'] / 1e9:.0f} GFLOP/s of a thread; worst method off by {100 * (worst - 1):.0f} %")
    return worst > 1 + options.allow / 100


if __name__ == "__main__":
    sys.exit(main())
