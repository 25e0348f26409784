#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden_requests.json for test_requests.c: scores of requests/*.jsonl by torch, transformers and numpy.

Independent of the C code: tokens and log-likelihoods are made as lm-evaluation-harness makes them, standard errors are
numerical derivatives of weighted scores by the weights of the items (the infinitesimal jackknife, which is s/sqrt(n)
for means and the delta method for the rest). With --harness the installed lm_eval is asked for all log-likelihoods, too.
"""

import json
import math
import os
import pathlib
import re
import sys

import numpy as np
import torch
from scipy.stats import binomtest
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHARED = pathlib.Path(os.environ.get("WINNOW_SHARED", ROOT.parent / "shared"))
MODELS = {"demo": ROOT / "sweeps/demo/model", "stories260k": SHARED / "models/stories260k"}
DEFAULT = {
    "multiple_choice": ["acc", "acc_norm", "acc_bytes"],
    "pairs": ["acc", "pct_stereotype", "likelihood_diff"],
    "continuation": ["acc", "perplexity"],
    "rolling": ["word_perplexity", "byte_perplexity", "bits_per_byte"],
}
BIAS = ["acc_ambiguous", "acc_disambiguated", "bias_ambiguous", "bias_disambiguated"]
DELIMITER = {"multiple_choice": " ", "continuation": " ", "pairs": ""}


class Model:
    def __init__(self, directory, harness):
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        self.most = self.model.config.max_position_embeddings
        self.prefix = self.tokenizer.bos_token_id
        self.harness, self.asked = harness, {}
        self.largest = 0.0

    def encode(self, text, special=None):
        special = not text.startswith("<s>") if special is None else special
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    @torch.no_grad()
    def rows(self, tokens):
        return torch.log_softmax(self.model(torch.tensor([tokens])).logits[0].double(), -1)

    def pair(self, context, continuation):
        if context == "":
            tokens = self.encode(continuation, False)
            return ([self.prefix], tokens) if tokens[0] != self.prefix else (tokens[:1], tokens[1:])
        kept = context.rstrip()
        continuation, context = context[len(kept) :] + continuation, kept
        whole, head = self.encode(context + continuation), self.encode(context)
        return head, whole[len(head) :]

    def score(self, context, continuation):
        """ln p, whether it is greedy, how many tokens."""
        head, tail = self.pair(context, continuation)
        rows = self.rows((head + tail)[-(self.most + 1) :][:-1])[-len(tail) :]
        total = float(rows.gather(1, torch.tensor(tail)[:, None]).sum())
        greedy = rows.argmax(-1).tolist() == tail
        if self.harness:
            theirs, their_greedy = self.ask("loglikelihood", (context, continuation))
            self.largest = max(self.largest, abs(theirs - total))
            assert their_greedy == greedy, (context, continuation)
        return total, greedy, len(tail)

    def rolling(self, text, length):
        stream = [self.prefix] + self.encode(text)
        total, done = 0.0, 0
        while done < len(stream) - 1:
            end = min(done + length, len(stream) - 1)
            first = max(0, end - length)
            rows = self.rows(stream[first:end])[done - first :]
            total += float(rows.gather(1, torch.tensor(stream[done + 1 : end + 1])[:, None]).sum())
            done = end
        if self.harness:
            theirs = self.ask("loglikelihood_rolling", (text,), length)
            self.largest = max(self.largest, abs(theirs - total))
        return total, len(stream) - 1

    def ask(self, kind, arguments, length=None):
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        length = length or self.most
        if length not in self.asked:
            self.asked[length] = HFLM(pretrained=self.model, tokenizer=self.tokenizer, batch_size=1, max_length=length)
        made = [Instance(request_type=kind, doc={}, arguments=arguments, idx=0)]
        return getattr(self.asked[length], kind)(made, disable_tqdm=True)[0]


def argmax(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def golds(item):
    gold = item.get("gold", 0)
    return gold if isinstance(gold, list) else [gold]


def score_choices(model, item, delimiter, metrics):
    choices = item.get("choices") or [item["continuation"]] * len(item["contexts"])
    contexts = item.get("contexts") or [item["context"]] * len(choices)
    scored = [model.score(a, delimiter + b) for a, b in zip(contexts, choices)]
    values = [s[0] for s in scored]
    gold = golds(item)
    by = {
        "acc": values,
        "acc_norm": [v / len(c) for v, c in zip(values, choices)],
        "acc_bytes": [v / len(c.encode()) for v, c in zip(values, choices)],
    }
    out = {"values": values, "tokens": [s[2] for s in scored], "prediction": argmax(values)}
    if "acc_mutual_info" in metrics:
        out["alone"] = [model.score("", delimiter + c)[0] for c in choices]
        by["acc_mutual_info"] = [v - a for v, a in zip(values, out["alone"])]
    result = {name: float(argmax(v) in gold) for name, v in by.items()}
    p = np.exp(np.array(values) - max(values))
    p /= p.sum()
    truth = np.isin(np.arange(len(choices)), gold)
    result["exact_match"] = float(any(scored[g][1] for g in gold))
    result["brier"] = float(((p - truth) ** 2).sum())
    result["mc2"] = float(p[truth].sum())
    if "bias" in item:
        bias, answer = item["bias"], out["prediction"]
        result["ambiguous"] = bias["condition"] == "ambiguous"
        result["known"] = answer not in bias["unknown"]
        in_target = answer in bias["target"]
        result["biased"] = in_target if bias["polarity"] == "negative" else result["known"] and not in_target
    best, second = sorted(by[metrics[0]] if metrics[0] in by else values)[::-1][:2]
    out["margin"] = best - second
    return out, result


def score_pair(model, item, delimiter):
    scored = [model.score("", delimiter + text) for text in item["texts"]]
    lead = scored[0][0] - scored[1][0]
    prediction = 0 if lead >= 0 else 1
    out = {"values": [s[0] for s in scored], "tokens": [s[2] for s in scored], "prediction": prediction}
    out["margin"] = abs(lead)
    return out, {"acc": float(prediction in golds(item)), "pct_stereotype": float(lead > 0), "likelihood_diff": abs(lead)}


def score_item(model, kind, item, header, metrics):
    delimiter = header.get("delimiter", DELIMITER.get(kind))
    if kind == "multiple_choice":
        return score_choices(model, item, delimiter, metrics)
    if kind == "pairs":
        return score_pair(model, item, delimiter)
    if kind == "continuation":
        total, greedy, tokens = model.score(item["context"], delimiter + item["continuation"])
        return {"values": [total], "tokens": [tokens], "prediction": int(greedy)}, {"acc": float(greedy), "ll": total}
    total, tokens = model.rolling(item["text"], header.get("length", min(model.most, 2048)))
    words = item.get("words", len(re.split(r"\s+", item["text"])))
    size = item.get("bytes", len(item["text"].encode()))
    return {"values": [total], "tokens": [tokens]}, {"ll": total, "words": words, "bytes": size}


def total(metric, results, w):
    """The metric where item i counts w[i] times."""
    column = {key: np.array([r[key] for r in results], float) for key in results[0]}
    if metric == "perplexity":
        return math.exp(-(w * column["ll"]).sum() / w.sum())
    if metric in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        loss = -(w * column["ll"]).sum() / (w * column["words" if metric[0] == "w" else "bytes"]).sum()
        return loss / math.log(2) if metric == "bits_per_byte" else math.exp(loss)
    if metric in BIAS:
        w = w * (column["ambiguous"] == metric.endswith("_ambiguous"))
        if not w.any():
            return math.nan
        acc = (w * column["acc"]).sum() / w.sum()
        if metric.startswith("acc"):
            return acc
        known = (w * column["known"]).sum()
        bias = 2 * (w * column["biased"]).sum() / known - 1 if known else 0
        return bias if metric == "bias_disambiguated" else (1 - acc) * bias
    return (w * column[metric]).sum() / w.sum()


def with_error(metric, results):
    n, step = len(results), 1e-5
    ones, slopes = np.ones(n), []
    for i in range(n):
        up, down = ones.copy(), ones.copy()
        up[i], down[i] = 1 + step, 1 - step
        slopes.append((total(metric, results, up) - total(metric, results, down)) / (2 * step))
    part = n
    if metric in BIAS:
        part = sum(r["ambiguous"] == metric.endswith("_ambiguous") for r in results)
    error = math.sqrt(part / (part - 1) * sum(s * s for s in slopes)) if part > 1 else math.nan
    return float(total(metric, results, ones)), error


def clean(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def run_file(model, path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    header, items = lines[0], lines[1:]
    kind = header.get("kind", "multiple_choice")
    metrics = [m for name in header.get("metrics", DEFAULT[kind]) for m in (BIAS if name == "bias" else [name])]
    made = [score_item(model, kind, item, header, metrics) for item in items]
    results = [r for _, r in made]
    groups = list(dict.fromkeys(item["group"] for item in items if "group" in item))
    out = {"items": [o for o, _ in made], "scores": {}, "groups": {}}
    for metric in metrics:
        score, error = with_error(metric, results)
        out["scores"][metric], out["scores"][metric + "_stderr"] = clean(score), clean(error)
        by_group = [with_error(metric, [r for r, item in zip(results, items) if item.get("group") == g]) for g in groups]
        if groups:
            out["groups"][metric] = [clean(s) for s, _ in by_group]
            out["scores"][metric + "_group_mean"] = clean(float(np.mean([s for s, _ in by_group])))
            mean_error = math.sqrt(sum(e * e for _, e in by_group)) / len(groups)
            out["scores"][metric + "_group_mean_stderr"] = clean(mean_error)
    if "margin" in made[0][0]:
        out["dense_margin"] = float(np.mean([o["margin"] for o, _ in made]))
    return out


def main():
    golden = {
        "mcnemar": [
            [b, c, binomtest(b, b + c).pvalue]
            for b, c in [(1, 0), (3, 1), (0, 9), (5, 5), (12, 3), (40, 61), (300, 200), (5000, 4700), (1, 40)]
        ]
    }
    for name, directory in MODELS.items():
        if not directory.exists():
            sys.exit(f"{directory} is missing")
        model = Model(directory, "--harness" in sys.argv)
        golden[name] = {path.stem: run_file(model, path) for path in sorted((HERE / "requests").glob("*.jsonl"))}
        if model.harness:
            print(name, "largest difference from lm_eval", model.largest)
    (HERE / "golden_requests.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
