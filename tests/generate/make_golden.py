#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden_demo.jsonl and golden_stories260k.jsonl for test_generate.c: greedy texts by transformers in fp32.

All prompts of a file go through `generate` of transformers as one left-padded batch, without stop strings and up to the
largest number of tokens; each text is then ended here by the rule that winnow documents: at its EOS token, at the first
token that brings a stop string into the decoded text, or at its own limit. The text is cut at the first occurrence of
each stop string in turn. `gap` is the smallest distance of the two largest logits among the tokens of a text: where it
is below 1e-5 another order of additions may take the other token.

    python3 tests/generate/make_golden.py [--stories DIRECTORY]

Prompts are sentences of the demo's own data, or written here. Needs torch and transformers. Runs in about a minute.
"""

import argparse
import json
import pathlib

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "sweeps/demo"
STOPS = ([], ["\n"], ["\n\n", "."], ["Question:", " the"], ["!", "?", "\n"], ["and", "an"])
LIMITS = (1, 3, 8, 17, 24, 32)


def demo_prompts():
    for name in ("facts", "in_context"):
        lines = (DEMO / f"data/{name}.jsonl").read_text().splitlines()
        yield from (json.loads(line)["context"] for line in lines[:40])
    text = (DEMO / "data/general_eval.txt").read_text()
    for i in range(28):
        yield text[700 * i :][: 3 + 37 * i]
    yield "Question: " * 300  # does not fit: cut on the left


def stories_prompts():
    names = ["Lily", "Tom", "Ben", "Mia", "Sam", "Anna", "Max", "Sue", "Tim", "Jack"]
    things = ["a red ball", "a big dog", "an old tree", "the dark", "a small boat", "cake", "the park", "a cat"]
    for i in range(90):
        yield f"Once upon a time, {names[i % 10]} saw {things[i % 8]}."[: 6 + i]
    for i in range(15):
        yield " ".join(f"{names[(i + j) % 10]} likes {things[(3 * i + j) % 8]}." for j in range(2 * i + 1))
    yield "The sun was hot. " * 150  # does not fit: cut on the left
    yield "Caf\u00e9 \u2014 \u65e5\u672c"


def text_end(tokenizer, ids, limit, stops, eos):
    """How many of the ids belong to the text, and why it ended."""
    for n in range(1, limit + 1):
        if ids[n - 1] in eos:
            return n, "eos"
        text = tokenizer.decode(ids[:n], skip_special_tokens=False)
        found = [s for s in stops if s in text]
        if found:
            return n, found[0]
    return limit, "limit"


def cut(text, stops):
    for stop in stops:
        text = text.split(stop)[0]
    return text


@torch.no_grad()
def generate(directory, tokenizer, prompts, path):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    most, positions = max(LIMITS), model.config.max_position_embeddings
    settings = [(STOPS[i % 6], LIMITS[i * 7 // 3 % 6]) for i in range(len(prompts))]
    encoded = [tokenizer(p)["input_ids"][-(positions - limit) :] for p, (_, limit) in zip(prompts, settings)]
    longest = max(map(len, encoded))
    ids = torch.tensor([[0] * (longest - len(e)) + e for e in encoded])
    mask = torch.tensor([[0] * (longest - len(e)) + [1] * len(e) for e in encoded])
    out = model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=most,
        return_dict_in_generate=True,
        output_logits=True,
        pad_token_id=0,
    )
    top = torch.stack([step.topk(2).values for step in out.logits])  # [step, prompt, 2]
    eos = model.config.eos_token_id
    with open(path, "w") as file:
        for i, (prompt, (stops, limit)) in enumerate(zip(prompts, settings)):
            new = out.sequences[i, longest:].tolist()
            n, end = text_end(tokenizer, new, limit, stops, eos if isinstance(eos, list) else [eos])
            row = {
                "prompt": prompt,
                "tokens": len(encoded[i]),
                "stop": stops,
                "max_tokens": limit,
                "ids": new[:n],
                "end": end,
                "text": cut(tokenizer.decode(new[:n], skip_special_tokens=True), stops),
                "gap": float((top[:n, i, 0] - top[:n, i, 1]).min()),
            }
            file.write(json.dumps(row) + "\n")
            assert row["gap"] > 1e-5, row


def fast(directory, bos, eos):
    """tokenizer.json as it is."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), bos_token=bos, eos_token=eos, clean_up_tokenization_spaces=False
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=pathlib.Path, default=HERE.parents[1].parent / "shared/models/stories260k")
    args = parser.parse_args()
    special = json.loads((DEMO / "model/tokenizer_config.json").read_text())
    demo = fast(DEMO / "model", special["bos_token"], special["eos_token"])
    generate(DEMO / "model", demo, list(demo_prompts()), HERE / "golden_demo.jsonl")
    if args.stories.is_dir():
        stories = fast(args.stories, "<s>", "</s>")
        generate(args.stories, stories, list(stories_prompts()), HERE / "golden_stories260k.jsonl")


if __name__ == "__main__":
    main()
