#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The forward pass of one checkpoint beside transformers, in one run: tokens per second and ratios.

    bench_transformers.py WINNOW CHECKPOINT [--threads 1] [--length 512] [--sequences 4] [--rounds 3]

winnow: the seconds of forward and scores that a real `winnow run` records for the dense point (fp32, perplexity; blocks
are converted from the checkpoint on the way, which is not in them). transformers: logits and losses of the same number
of tokens in float32 and bfloat16, by the kernels of PyTorch, one sequence at a time and, where that is faster, all at
once. Rounds take turns; medians count. Without torch, transformers or the checkpoint it says so and ends with 77.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import torch
    import transformers
except ImportError as missing:
    skip(missing)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("winnow", type=pathlib.Path)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def write_text(tokenizer, path, tokens):
    """A text of at least `tokens` tokens and less than one sequence more."""
    words, text = "the river carries old stones from a quiet hill to every green field below".split(), ""
    while len(tokenizer(text)["input_ids"]) < tokens:
        text += " ".join(words[(i * i + len(text)) % len(words)] for i in range(20)) + ".\n"
    path.write_text(text)
    return tokenizer(text)["input_ids"][:tokens]


def write_sweep(options, folder):
    perplexity = {"text": {"text": "text.txt", "protocol": "gptq", "length": options.length}}
    sweep = {
        "name": "bench",
        "model": str(options.checkpoint.resolve()),
        "grid": [{"method": "none"}],
        "evaluate": {"perplexity": perplexity},
        "output": "out.h5",
    }
    (folder / "sweep.json").write_text(json.dumps(sweep))


def winnow_seconds(options, folder):
    winnow, results = options.winnow.resolve(), folder / "out.h5"
    results.unlink(missing_ok=True)
    command = [winnow, "run", folder / "sweep.json", "-q", "-o", results, "--threads", str(options.threads)]
    subprocess.run(command, check=True, cwd=folder)
    shown = subprocess.run([winnow, "show", "--json", results], check=True, capture_output=True)
    (row,) = (row for row in json.loads(shown.stdout)["points"] if row["method"] == "dense")
    if row["threads"] != options.threads:
        sys.exit(f"bench_transformers: winnow ran {row['threads']} threads, not {options.threads}")
    return row["seconds_forward"] + row["seconds_score"]


def torch_seconds(model, batches):
    start = time.perf_counter()
    with torch.inference_mode():
        for ids in batches:
            logits = model(ids, use_cache=False).logits[:, :-1].float()
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    return time.perf_counter() - start


def measure(options, folder):
    """Seconds of every round by name."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.checkpoint)
    ids = write_text(tokenizer, folder / "text.txt", options.length * options.sequences)
    ids = torch.tensor(ids).view(options.sequences, options.length)
    write_sweep(options, folder)
    load = transformers.AutoModelForCausalLM.from_pretrained
    models = {name: load(options.checkpoint, dtype=getattr(torch, name)).eval() for name in ("float32", "bfloat16")}
    batches = {name: min((ids.split(1), [ids]), key=lambda way, m=model: torch_seconds(m, way)) for name, model in models.items()}
    seconds = {"winnow": [], "float32": [], "bfloat16": []}
    for _ in range(options.rounds):
        seconds["winnow"].append(winnow_seconds(options, folder))
        for name, model in models.items():
            seconds[name].append(torch_seconds(model, batches[name]))
    return seconds


def main():
    options = arguments()
    if not (options.checkpoint / "config.json").is_file():
        skip(f"no checkpoint in {options.checkpoint}")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        seconds = measure(options, pathlib.Path(name))
    tokens = options.length * options.sequences
    winnow = statistics.median(seconds["winnow"])
    print(f"threads {options.threads}, {options.sequences} x {options.length} tokens, medians of {options.rounds} rounds")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for name, of_rounds in seconds.items():
        rates = sorted(tokens / one for one in of_rounds)
        name, median = name if name == "winnow" else f"transformers {name}", statistics.median(of_rounds)
        print(f"{name:22} {tokens / median:7.0f} tokens/s ({rates[0]:.0f} to {rates[-1]:.0f})", end="")
        print("" if name == "winnow" else f"   winnow is {median / winnow:.2f} times as fast")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
