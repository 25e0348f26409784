#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables of a real model: every method at one setting, or how far rounding moves the perplexity of points.

    tests/bench/real_tables.py methods|noise WINNOW MODEL RESULTS.h5 [--data FOLDER] [--only SELECTION]

methods: the dense model and a point of each method. noise: points of four methods, each as it is and three times with
relative noise of 1e-7 on what the first block gets of the calibration set, which is what another order of sums does;
the last column is the largest distance of their perplexities from that without noise. A difference of two points, or of
two programs, that is smaller says nothing. FOLDER: ../shared/data; few sequences of 128 tokens of web pages are calibrated
on and few windows of 256 tokens of WikiText-2 evaluated, so perplexities are for comparison in the table alone.
RESULTS.h5 is continued when it is there; --only takes a part (winnow run --only). Some minutes on one thread.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
C = {"calibration": "web"}
SIZES = {"methods": (4, 2), "noise": (8, 4)}  # sequences calibrated on, windows evaluated
METHODS = [
    {"method": "magnitude", "sparsity": 0.5},
    {"method": "random", "sparsity": 0.1},
    {"method": "wanda", "sparsity": 0.5} | C,
    {"method": "wanda", "pattern": "2:4"} | C,
    {"method": "sparsegpt", "sparsity": 0.5} | C,
    {"method": "rtn", "bits": 4, "group": 128},
    {"method": "gptq", "bits": 4, "group": 128} | C,
    {"method": "spqr", "bits": 3} | C,
    {"method": "awq", "bits": 4, "group": 128} | C,
    {"method": "llm_int8"},
    {"method": "smoothquant"} | C,
    {"method": "drop", "sparsity": 0.1} | C,
    {"prune": "sparsegpt", "sparsity": 0.5, "quantize": "gptq", "bits": 4, "group": 128} | C,
]
NOISE = [
    point | {"perturb": [0, 1e-7], "perturb_seed": [0, 1, 2]}
    for point in (
        {"method": "wanda", "sparsity": 0.5} | C,
        {"method": "sparsegpt", "sparsity": 0.5} | C,
        {"method": "gptq", "bits": 4} | C,
        {"method": "gptq", "bits": 3} | C,
    )
]


def write_sweep(path, grid, options):
    data = options.data.resolve()
    samples, windows = SIZES[options.table]
    sweep = {
        "name": options.table,
        "model": str(options.model.resolve()),
        "calibration": {"web": {"text": str(data / "webtext/common_crawl_docs.jsonl"), "samples": samples, "length": 128}},
        "grid": grid,
        "evaluate": {"perplexity": {"wikitext2": {"text": str(data / "wikitext2/wiki.test.joined.txt"), "length": 256,
                                                  "windows": windows}}},
    }  # fmt: skip
    path.write_text(json.dumps(sweep))


def rows_of(winnow, results):
    shown = subprocess.run([winnow, "show", "--json", results], check=True, capture_output=True, text=True).stdout
    return [row for row in json.loads(shown)["points"] if row["status"] == "done"]


def perplexity(row):
    return row["wikitext2/perplexity"]


def print_methods(rows):
    print("| point | perplexity | nominal bits per weight | share of zeros |\n| --- | --- | --- | --- |")
    for row in rows:
        key = row["key"].split(" model=")[0]
        zeros, bits = row["achieved_sparsity"], row["bits_per_weight_nominal"]
        print(f"| {key} | {perplexity(row):.2f} | {bits:.2f} | {zeros:.2f} |")


def print_noise(rows):
    plain = {}
    moved = {}
    for row in rows:
        words = row["key"].split()
        key = " ".join(word for word in words if not word.startswith("perturb"))
        if any(word.startswith("perturb") for word in words):
            moved.setdefault(key, []).append(perplexity(row))
        else:
            plain[key] = perplexity(row)
    print("| point | perplexity | with noise of 1e-7 | largest distance |\n| --- | --- | --- | --- |")
    for key, values in moved.items():
        worst = max(abs(value / plain[key] - 1) for value in values)
        print(f"| {key} | {plain[key]:.4f} | {', '.join(f'{v:.4f}' for v in values)} | {worst:.2%} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("methods", "noise"))
    parser.add_argument("winnow")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("results")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sweep = pathlib.Path(folder) / "sweep.json"
        write_sweep(sweep, METHODS if options.table == "methods" else NOISE, options)
        words = [options.winnow, "run", sweep, "-o", options.results, "-q", "--threads", "1"]
        subprocess.run(words + (["--only", options.only] if options.only else []), check=True)
    (print_methods if options.table == "methods" else print_noise)(rows_of(options.winnow, options.results))


if __name__ == "__main__":
    sys.exit(main())
