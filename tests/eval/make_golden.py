#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json for test_real_model.c: scores of stories260k by torch and transformers.

The protocols are written down once more in Python, after the code of the originals: perplexity of GPTQ, SparseGPT and
Wanda; rolling log-likelihood and multiple choice of lm-evaluation-harness. Requests are derived from ../shared/data
by the rule that the C test uses; no text of them is stored. With --harness the installed lm_eval is asked as well and
must agree.
"""
import json
import math
import os
import pathlib
import re
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("WINNOW_SHARED", HERE.parents[1].parent / "shared"))
DIRECTORY = SHARED / "models/stories260k"
WINDOWS, LENGTH, PAGES, ITEMS = 20, 256, 5, 20

# Not tokenizer.json as it is: transformers 5 builds the stages of Llama tokenizers anew, and its tokens differ from
# those of the file where a text starts with a space.
tokenizer = AutoTokenizer.from_pretrained(DIRECTORY)
model = AutoModelForCausalLM.from_pretrained(DIRECTORY, dtype=torch.float32).eval()
M = model.config.max_position_embeddings
PREFIX = tokenizer.bos_token_id


@torch.no_grad()
def log_probabilities(inputs):
    return torch.log_softmax(model(torch.tensor([inputs])).logits[0].float(), -1)


def encode(text, special=None):
    if special is None:
        special = not text.startswith(tokenizer.decode([PREFIX]))
    return tokenizer(text, add_special_tokens=special)["input_ids"]


def gptq():
    text = (SHARED / "data/wikitext2/wiki.test.joined.txt").read_bytes().decode()
    ids = tokenizer(text)["input_ids"]
    losses = []
    for w in range(WINDOWS):
        window = ids[w * LENGTH : (w + 1) * LENGTH]
        rows = log_probabilities(window)[:-1]
        losses.append(float(-rows.gather(1, torch.tensor(window[1:])[:, None]).double().mean()))
    mean = sum(losses) / WINDOWS
    error = math.sqrt(sum((x - mean) ** 2 for x in losses) / (WINDOWS - 1) / WINDOWS)
    return {"tokens": len(ids), "perplexity": math.exp(mean), "stderr": math.exp(mean) * error, "window_loss": losses}


def detokenize(string):
    string = string.replace("s '", "s'")
    string = re.sub(r"/' [0-9]/", r"/'[0-9]/", string)
    for old, new in [(" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."), (" : ", ": "), (" ; ", "; "), (" . ", ". "),
                     (" ! ", "! "), (" ? ", "? "), (" , ", ", ")]:
        string = string.replace(old, new)
    string = re.sub(r"\(\s*([^\)]*?)\s*\)", r"(\1)", string)
    string = re.sub(r"\[\s*([^\]]*?)\s*\]", r"[\1]", string)
    string = re.sub(r"{\s*([^}]*?)\s*}", r"{\1}", string)
    string = re.sub(r"\"\s*([^\"]*?)\s*\"", r'"\1"', string)
    string = re.sub(r"'\s*([^']*?)\s*'", r"'\1'", string)
    for old, new in [("= = = =", "===="), ("= = =", "==="), ("= =", "=="), (" " + chr(176) + " ", chr(176)),
                     (" \n", "\n"), ("\n ", "\n"), (" N ", " 1 "), (" 's", "'s")]:
        string = string.replace(old, new)
    return string


def rolling_windows(tokens, prefix, length):
    first = min(length, len(tokens))
    yield [prefix] + tokens[: first - 1], tokens[:first]
    done = first
    while done < len(tokens):
        count = min(len(tokens) - done, length)
        end = done + count
        yield tokens[end - length - 1 : end - 1], tokens[end - count : end]
        done += count


def rolling():
    lines = (SHARED / "data/wikitext2/wiki.test.pages.jsonl").read_text().splitlines()
    pages = [json.loads(line)["page"] for line in lines]
    total, count, losses = 0.0, 0, []
    for page in pages[:PAGES]:
        for inputs, targets in rolling_windows(encode(detokenize(page)), PREFIX, LENGTH):
            rows = log_probabilities(inputs)[-len(targets) :]
            loss = float(-rows.gather(1, torch.tensor(targets)[:, None]).double().sum())
            total, count = total + loss, count + len(targets)
            losses.append(loss / len(targets))
    words = sum(len(re.split(r"\s+", page)) for page in pages[:PAGES])
    size = sum(len(page.encode()) for page in pages[:PAGES])
    return {
        "targets": count,
        "perplexity": math.exp(total / count),
        "word_perplexity": math.exp(total / words),
        "byte_perplexity": math.exp(total / size),
        "bits_per_byte": total / size / math.log(2),
        "words_of_all_pages": sum(len(re.split(r"\s+", page)) for page in pages),
        "window_loss": losses,
    }


def requests():
    """(context, choices, gold) of each item."""
    for line in (SHARED / "data/piqa/piqa_val.jsonl").read_text().splitlines()[:ITEMS]:
        item = json.loads(line)
        yield f"Question: {item['goal']}\nAnswer:", [item["sol1"], item["sol2"]], item["label"]
    for line in (SHARED / "data/openbookqa/openbookqa_val.jsonl").read_text().splitlines()[:ITEMS]:
        item = json.loads(line)
        yield item["question_stem"], item["choices"]["text"], item["choices"]["label"].index(item["answerKey"])
    for line in (HERE / "edge_requests.jsonl").read_text().splitlines():
        item = json.loads(line)
        yield item["context"], item["choices"], item["gold"]


def encode_pair(context, continuation):
    if context == "":
        tokens = encode(continuation, False)
        return ([PREFIX], tokens) if tokens[0] != PREFIX else (tokens[:1], tokens[1:])
    spaces = len(context) - len(context.rstrip())
    if spaces > 0:
        continuation = context[-spaces:] + continuation
        context = context[:-spaces]
    whole, head = encode(context + continuation), encode(context)
    return head, whole[len(head) :]


def likelihood(context, continuation):
    head, tail = encode_pair(context, continuation)
    rows = log_probabilities((head + tail)[-(M + 1) :][:-1])[-len(tail) :]
    return float(rows.gather(1, torch.tensor(tail)[:, None]).double().sum()), len(tail)


def argmax(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def multiple_choice():
    items, right = [], {"acc": [], "acc_norm": [], "acc_bytes": []}
    for context, choices, gold in requests():
        scores = [likelihood(context, " " + choice) for choice in choices]
        values = [s[0] for s in scores]
        right["acc"].append(argmax(values) == gold)
        right["acc_norm"].append(argmax([v / len(c) for v, c in zip(values, choices)]) == gold)
        right["acc_bytes"].append(argmax([v / len(c.encode()) for v, c in zip(values, choices)]) == gold)
        items.append({"values": values, "tokens": [s[1] for s in scores], "prediction": argmax(values)})
    out = {"items": items}
    for name, values in right.items():
        mean = sum(values) / len(values)
        out[name] = mean
        out[name + "_stderr"] = math.sqrt(mean * (1 - mean) / (len(values) - 1))
    return out


def ask_harness(golden):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    def ask(lm, kind, arguments):
        made = [Instance(request_type=kind, doc={}, arguments=a, idx=i) for i, a in enumerate(arguments)]
        return getattr(lm, kind)(made)

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
    pairs = [(context, " " + choice) for context, choices, _ in requests() for choice in choices]
    ours = [value for item in golden["multiple_choice"]["items"] for value in item["values"]]
    theirs = [value for value, _ in ask(lm, "loglikelihood", pairs)]
    print("multiple choice: largest difference", max(abs(a - b) for a, b in zip(ours, theirs)))
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=LENGTH)
    lines = (SHARED / "data/wikitext2/wiki.test.pages.jsonl").read_text().splitlines()[:PAGES]
    total = sum(ask(lm, "loglikelihood_rolling", [(detokenize(json.loads(line)["page"]),) for line in lines]))
    mine = -math.log(golden["rolling"]["perplexity"]) * golden["rolling"]["targets"]
    print("rolling: harness", total, "here", mine)


def main():
    golden = {"gptq": gptq(), "rolling": rolling(), "multiple_choice": multiple_choice()}
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    if "--harness" in sys.argv:
        ask_harness(golden)


if __name__ == "__main__":
    main()
