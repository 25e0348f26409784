#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fitness of candidates beside transformers: what a search says of its last parent on the last minibatch is the KL
divergence of the exported point from the dense model on the same tokens, within 1e-4 of it.

Usage: check_fitness.py WINNOW SOURCE_DIR

Five searches on the demo model: levels of sparsity, mean bits, bits of a joint point with gaps, small groups with
outliers, and branches that are left out. Each is exported by `winnow export`, loaded by transformers in fp32 and run on
the sequences of the calibration set that the draws of the last generation name (replay.py, walk.py of the oracle; without
winnow). Exit codes: 0 passed, 1 failed, 77 skipped because a package is missing.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import h5py
    import replay
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, logging

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))
    from walk import c4_windows
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TOLERANCE = 1e-4
SAMPLES, LENGTH, SEED, GENERATIONS, TOKENS = 24, 64, 3, 6, [256, 1000]

SEARCH = {"on": "general", "generations": GENERATIONS, "offspring": 6, "initial": 3, "initial_tokens": 128}
GRID = [
    {"method": "sparsegpt", "sparsity": 0.6, "allocation": "fast"},
    {"method": "gptq", "bits": 2.5, "group": 32, "allocation": "fast"},
    {"prune": "wanda", "sparsity": 0.4, "quantize": "rtn", "bits": 3.5, "group": 64, "allocation": "gaps"},
    {"method": "spqr", "bits": 3, "allocation": "fast"},
    {"method": "drop", "sparsity": 0.34, "units": "branch", "allocation": "fast"},
]


def write_sweep(path, demo):
    stages = {"survivors": [2, 1], "tokens": TOKENS, "seed": SEED}
    searches = {"fast": SEARCH | stages, "gaps": SEARCH | stages | {"bits": [2, 3, 4, 8]}}
    text = {"text": "general_calibration.jsonl", "samples": SAMPLES, "length": LENGTH}
    evaluate = {"perplexity": {"world": {"text": "general_eval.txt", "length": 64, "windows": 1}}}
    sweep = {"model": str(demo / "model"), "inputs": str(demo / "data"), "calibration": {"general": text}}
    path.write_text(json.dumps(sweep | {"search": searches, "grid": GRID, "evaluate": evaluate}))


def minibatch():
    """The sequences of the last stage of the last generation, and how many tokens of each."""
    replay.SEED, replay.LENGTHS = SEED, [LENGTH] * SAMPLES
    return replay.draw_batch(GENERATIONS, len(TOKENS) - 1, TOKENS[-1])


def last_fitness(file):
    """Of every searched point, by key: fitness of the last parent on the last minibatch."""
    found = {}
    for name, search in file["search"].items():
        keys = file[f"search_{name}_point"].asstr()[()]
        found |= {key: float(fitness) for key, fitness in zip(keys, search["best"][:, GENERATIONS])}
    return found


@torch.no_grad()
def divergence(dense, model, sequences):
    """Mean over all tokens but the last of each sequence, next-token distributions in double."""
    total, count = 0.0, 0
    for ids in sequences:
        p, q = (torch.log_softmax(m(ids[None]).logits[0, :-1].double(), -1) for m in (dense, model))
        total += (p.exp() * (p - q)).sum().item()
        count += len(p)
    return total / count


def load(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


def main():
    winnow, demo = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve() / "sweeps" / "demo"
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_sweep(folder / "sweep.json", demo)
        subprocess.run([winnow, "run", folder / "sweep.json", "-o", folder / "out.h5", "-q"], check=True)
        encode = Tokenizer.from_file(str(demo / "model" / "tokenizer.json")).encode
        windows = c4_windows(demo / "data" / "general_calibration.jsonl", lambda text: encode(text).ids, SAMPLES, LENGTH, 0)
        batch = [torch.tensor(windows[sequence][:length]) for sequence, length in minibatch()]
        assert sum(map(len, batch)) == TOKENS[-1] < SAMPLES * LENGTH
        dense, good = load(demo / "model"), True
        with h5py.File(folder / "out.h5") as file:
            searched = last_fitness(file)
        assert len(searched) == len(GRID)
        for number, (key, fitness) in enumerate(searched.items()):
            to = folder / str(number)
            subprocess.run([winnow, "export", folder / "out.h5", "--point", key, "--to", to, "-q"], check=True)
            here = divergence(dense, load(to), batch)
            if not abs(here / fitness - 1) <= TOLERANCE:
                print(f"{key}: winnow {fitness:.9f}, transformers {here:.9f}, ratio - 1 = {here / fitness - 1:+.2e}")
                good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
