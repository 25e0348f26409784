#!/usr/bin/env python3
"""Compares winnow with transformers on a real checkpoint: dense perplexity, and the ids of many texts.

    python3 tests/model/check_real_model.py MODEL WINNOW [--windows N] [--texts N]

MODEL is a folder as transformers saves it (SmolLM2-135M, Gemma 3 270M ...), WINNOW the program. Windows of 512 tokens of
sweeps/demo/data/general_eval.txt must give the same perplexity within 1e-4; lines of that text, and random strings of
letters, digits, marks, spaces and emoji of many scripts, the same ids. Prints one line each and ends with 0, or 1 when
something differs; with 77 when a package (torch, transformers, h5py) or the folder is not there. Minutes, most of them in
the forward pass.
"""

import argparse
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = ROOT / "sweeps" / "demo" / "data" / "general_eval.txt"
LENGTH, TOLERANCE = 512, 1e-4
RANGES = [(0x20, 0x7E), (0x20, 0x7E), (0xA1, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x64A),
          (0x900, 0x97F), (0xE01, 0xE3A), (0x2000, 0x206F), (0x3041, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF),
          (0x1F300, 0x1F64F)]


def dense_by_winnow(model, program, windows):
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder) / "out.h5"
        sweep = {"model": str(model), "grid": [{"method": "none"}], "output": str(results),
                 "evaluate": {"perplexity": {"text": {"text": str(TEXT), "length": LENGTH, "windows": windows}}}}
        path = pathlib.Path(folder) / "sweep.json"
        path.write_text(json.dumps(sweep))
        subprocess.run([program, "run", path], check=True, stdout=subprocess.DEVNULL)
        with h5py.File(results) as file:
            return float(file["/scores/text/perplexity"][0])


def dense_by_transformers(network, tokenizer, windows):
    import torch

    ids = tokenizer(TEXT.read_text())["input_ids"][: LENGTH * windows]
    loss = scored = 0
    for first in range(0, len(ids) - LENGTH + 1, LENGTH):
        window = torch.tensor([ids[first : first + LENGTH]])
        with torch.no_grad():
            logits = network(window).logits[0].double().log_softmax(-1)
        loss -= logits[:-1].gather(1, window[0, 1:, None]).sum().item()
        scored += LENGTH - 1
    return math.exp(loss / scored), len(ids) // LENGTH


def texts(count):
    draw = random.Random(0)
    lines = [line for line in TEXT.read_text().splitlines() if line.strip()]
    for number in range(count):
        if number % 2:
            yield draw.choice(lines)[:400].lstrip("-")  # which would be an option
        else:
            ranges = draw.choices(RANGES, k=4)
            yield "x" + "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randint(0, 40)))


def ids_by_winnow(model, program, text):
    out = subprocess.run([program, "tokens", model, text, "--json"], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)["ids"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("winnow")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--texts", type=int, default=400)
    options = parser.parse_args()
    try:
        import h5py  # noqa: F401
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        print(f"skipped: {error}")
        return 77
    if not (options.model / "config.json").is_file():
        print(f"skipped: {options.model} is no model")
        return 77
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    differ = [text for text in texts(options.texts)
              if ids_by_winnow(options.model, options.winnow, text) != tokenizer(text)["input_ids"]]
    print(f"ids: {options.texts - len(differ)} of {options.texts} texts agree")
    for text in differ[:5]:
        print(f"  differs: {text!r}")
    network = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    theirs, windows = dense_by_transformers(network, tokenizer, options.windows)
    ours = dense_by_winnow(options.model, options.winnow, windows)
    apart = abs(ours / theirs - 1)
    print(f"perplexity of {windows} windows: {ours:.6f}, transformers {theirs:.6f}, relative difference {apart:.1e}")
    return int(bool(differ) or apart > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
