#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes documents.jsonl, prompts.jsonl, stream.txt and golden.json for test_calibration.c.

The texts are random words. The sampling rules are those of the published codes, written down once more over token lists:
Wanda's get_c4 and get_wikitext2, and a seeded shuffle for pairs. Needs the Python package `tokenizers` and the tokenizer
of stories260k below ../shared/models (or $WINNOW_SHARED/models).
"""
import hashlib
import json
import os
import pathlib
import random
import struct

from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("WINNOW_SHARED", HERE.parents[1].parent / "shared"))
WORDS = "a the little big dog cat sun tree ran saw was happy said Lily Tom and to in park day ball red very".split()
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{}\n\n### Response:{}"
)
ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Input:\n{}\n\n### Response:{}"
)


def sentence(rng, low, high):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high))) + "."


def wikitext_rule(tokens, samples, length, seed):
    random.seed(seed)
    starts = [random.randint(0, len(tokens) - length - 1) for _ in range(samples)]
    return [tokens[i : i + length] for i in starts]


def c4_rule(documents, encode, samples, length, seed):
    random.seed(seed)
    out = []
    for _ in range(samples):
        while True:
            tokens = encode(documents[random.randint(0, len(documents) - 1)])
            if len(tokens) > length:
                break
        start = random.randint(0, len(tokens) - length - 1)
        out.append(tokens[start : start + length])
    return out


def shuffled(pairs, seed):
    random.seed(seed)
    order = list(range(len(pairs)))
    random.shuffle(order)
    return [pairs[i] for i in order]


def describe(sequences):
    digest = hashlib.sha256()
    for ids in sequences:
        digest.update(struct.pack(f"<{len(ids) + 1}i", *ids, -1))
    return {"sequences": len(sequences), "tokens": sum(map(len, sequences)), "hash": digest.hexdigest()}


def main():
    tokenizer = Tokenizer.from_file(str(SHARED / "models/stories260k/tokenizer.json"))

    def encode(text):
        return tokenizer.encode(text).ids

    rng = random.Random(7)
    documents = [sentence(rng, 5, 60) for _ in range(40)]
    pairs = [{"prompt": sentence(rng, 3, 9), "response": sentence(rng, 1, 5)} for _ in range(12)]
    pairs += [
        {"instruction": sentence(rng, 3, 9), "input": rng.choice(["", sentence(rng, 2, 6)]), "output": sentence(rng, 1, 5)}
        for _ in range(12)
    ]
    stream = "".join(sentence(rng, 5, 20) + "\n" for _ in range(60))
    (HERE / "documents.jsonl").write_text("".join(json.dumps({"text": d}) + "\n" for d in documents))
    (HERE / "prompts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
    (HERE / "stream.txt").write_text(stream)

    plain, alpaca = [], []
    for p in pairs:
        instruction, given = p.get("prompt", p.get("instruction")), p.get("input", "")
        answer = p.get("response", p.get("output"))
        plain.append(instruction + ("\n" + given if given else "") + " " + answer)
        alpaca.append(ALPACA_INPUT.format(instruction, given, answer) if given else ALPACA.format(instruction, answer))
    packed = encode("\n\n".join(shuffled(plain, 3)))
    golden = {
        "stream": describe(wikitext_rule(encode(stream), 16, 64, 0)),
        "stream_join": describe(wikitext_rule(encode(" ".join(documents)), 16, 64, 5)),
        "documents": describe(c4_rule(documents, encode, 16, 48, 0)),
        "documents_8": describe(c4_rule(documents, encode, 8, 48, 0)),
        "each": describe([encode(t)[:24] for t in shuffled(plain, 0)[:10]]),
        "each_alpaca": describe([encode(t)[:400] for t in shuffled(alpaca, 1)[:24]]),
        "packed": describe([packed[i * 50 : (i + 1) * 50] for i in range(6)]),
    }
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
