#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares winnow with transformers on a real checkpoint: dense perplexity, scores of choices, and the ids of many texts.

    python3 tests/model/check_real_model.py MODEL WINNOW [--data FOLDER] [--windows N] [--items N] [--texts N]

MODEL is a folder as transformers saves it (SmolLM2-135M, Gemma 3 270M ...), WINNOW the program, FOLDER real data
(../shared/data). Windows of 512 tokens of WikiText-2 must have the same perplexity within 1e-4, and the choices of PIQA
items the same log-likelihoods within 1e-4 of them. Texts of all files of FOLDER, and random strings of letters, digits,
marks, spaces and emoji of many scripts, must have the same ids. Prints a line each and ends with 0, or with 1 when
something differs; with 77 when a package (torch, transformers, h5py), the model or the data are not there.
"""

import argparse
import csv
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LENGTH, TOLERANCE = 512, 1e-4
RANGES = [(0x20, 0x7E), (0x20, 0x7E), (0xA1, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x64A),
          (0x900, 0x97F), (0xE01, 0xE3A), (0x2000, 0x206F), (0x3041, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF),
          (0x1F300, 0x1F64F)]  # fmt: skip

# ---- texts ----


def strings_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_of(part)


def texts_of(path):
    """The strings of a file, whatever its format."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return (string for line in text.splitlines() if line for string in strings_of(json.loads(line)))
    if path.suffix == ".json":
        return strings_of(json.loads(text))
    if path.suffix == ".csv":
        return (cell for row in csv.reader(text.splitlines()) for cell in row)
    return text.split("\n")


def texts(data, count):
    """A third of them random strings; the others real ones, from each file about as many."""
    draw = random.Random(0)
    files = sorted(path for path in data.rglob("*") if path.suffix in (".jsonl", ".json", ".csv", ".txt", ".raw"))
    pools = [sorted({t for t in texts_of(path) if 0 < len(t) <= 2000}) for path in files if "tokenizers" not in path.parts]
    found = []
    for number in range(count):
        if number % 3:
            found.append(draw.choice(pools[number % len(pools)]))
        else:
            ranges = draw.choices(RANGES, k=4)
            found.append("x" + "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randint(0, 40))))
    return found


def questions(data, count):
    """Items of PIQA as request items."""
    with open(data / "piqa/piqa_val.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(count))]
    return [{"id": str(i), "context": f"Question: {row['goal']}\nAnswer:", "choices": [row["sol1"], row["sol2"]],
             "gold": row["label"]} for i, row in enumerate(rows)]  # fmt: skip


# ---- by winnow ----


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def by_winnow(model, program, data, strings, items, windows):
    """Perplexity, log-likelihoods [item, choice], and the ids of every string."""
    import h5py

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        text = {"text": str((data / "wikitext2/wiki.test.joined.txt").resolve()), "length": LENGTH, "windows": windows}
        sweep = {"model": str(model.resolve()), "grid": [{"method": "none"}], "output": "out.h5",
                 "calibration": {"texts": {"prompts": "texts.jsonl", "template": "{prompt}{response}", "seed": 0,
                                           "samples": len(strings), "length": 8192, "keep_ids": True}},
                 "evaluate": {"perplexity": {"text": text}, "tasks": ["items.jsonl"]}}  # fmt: skip
        write_lines(folder / "texts.jsonl", [{"prompt": s[:1], "response": s[1:]} for s in strings])
        write_lines(folder / "items.jsonl", items)
        (folder / "sweep.json").write_text(json.dumps(sweep))
        subprocess.run([pathlib.Path(program).resolve(), "run", "sweep.json", "-q"], check=True, cwd=folder)
        with h5py.File(folder / "out.h5") as file:
            lengths, packed = file["calibration/texts/sequence_length"][()], file["calibration/texts/token_id"][()]
            scores = file["tasks/items/choice_log_likelihood"][0]
            perplexity = float(file["scores/text/perplexity"][0])
    order = list(range(len(strings)))  # in which a set takes its pairs
    random.seed(0)
    random.shuffle(order)
    ids, first = [None] * len(strings), 0
    for place, length in zip(order, lengths):
        ids[place] = packed[first : first + length].tolist()
        first += length
    return perplexity, scores, ids


# ---- by transformers ----


def log_probabilities(network, ids):
    import torch

    with torch.no_grad():
        return network(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)


def score(network, ids, first):
    """Log-likelihood of ids[first:] behind the others."""
    import torch

    rows = log_probabilities(network, ids)[first - 1 :]
    return rows.gather(1, torch.tensor(ids[first:])[:, None]).sum().item()


def perplexity_of(network, tokenizer, data, windows):
    text = (data / "wikitext2/wiki.test.joined.txt").read_bytes().decode()  # its lines end as they do
    ids = tokenizer(text)["input_ids"][: LENGTH * windows]
    losses = [-score(network, ids[k : k + LENGTH], 1) / (LENGTH - 1) for k in range(0, len(ids) - LENGTH + 1, LENGTH)]
    return math.exp(sum(losses) / len(losses))


def choice_scores(network, tokenizer, item):
    context = tokenizer(item["context"])["input_ids"]
    return [score(network, tokenizer(f"{item['context']} {choice}")["input_ids"], len(context)) for choice in item["choices"]]


# ---- both ----


def compare(options):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    strings, items = texts(options.data, options.texts), questions(options.data, options.items)
    perplexity, scores, ids = by_winnow(options.model, options.winnow, options.data, strings, items, options.windows)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    differ = [s for s, ours, theirs in zip(strings, ids, tokenizer(strings)["input_ids"]) if ours != theirs]
    print(f"ids: {len(strings) - len(differ)} of {len(strings)} texts agree")
    for text in differ[:5]:
        print(f"  differs: {text!r}")
    network = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    theirs = perplexity_of(network, tokenizer, options.data, options.windows)
    apart = abs(perplexity / theirs - 1)
    print(f"perplexity of {options.windows} windows: {perplexity:.6f}, transformers {theirs:.6f}, apart by {apart:.1e}")
    expected = [choice_scores(network, tokenizer, item) for item in items]
    worst = max(abs(a / b - 1) for ours, row in zip(scores, expected) for a, b in zip(ours, row))
    print(f"log-likelihoods of the choices of {len(items)} items: apart by at most {worst:.1e} of them")
    return bool(differ) or not apart <= TOLERANCE or not worst <= TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("winnow")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--texts", type=int, default=30000)
    options = parser.parse_args()
    try:
        import h5py  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        print(f"skipped: {error}")
        return 77
    for needed in (options.model / "config.json", options.data / "piqa/piqa_val.jsonl"):
        if not needed.is_file():
            print(f"skipped: there is no {needed}")
            return 77
    return int(compare(options))


if __name__ == "__main__":
    sys.exit(main())
