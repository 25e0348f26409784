#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/eval/generation: task files of the kind `generation`, and what their scores are, for test_generation.c.

The dense model is the demo's; the compressed one is the same without the MLP of block 2. Texts come from transformers in
fp32, token by token, one prompt at a time; drawn tokens from Philox written down once more here. Scores are written down
here, too, but for ROUGE, which rouge_score (Google) computes.

    python3 tests/eval/make_generation_golden.py

Needs torch, transformers, numpy, rouge_score, sacrebleu and mpmath. Runs in about a minute; the same versions give the
same files.
"""

import collections
import copy
import json
import math
import pathlib
import re
import string

import mpmath
import numpy
import torch
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "sweeps/demo"
OUT = HERE / "generation"
EOS = 1

tokenizer = PreTrainedTokenizerFast(
    tokenizer_file=str(DEMO / "model/tokenizer.json"),
    bos_token="<s>",
    eos_token="</s>",
    clean_up_tokenization_spaces=False,
)


# ---- texts ----


def philox_uniform(seed, stream, index):
    """Philox 4x32-10 (Salmon et al. 2011) to a number in [0, 1)."""
    mask = 0xFFFFFFFF
    counter = [index & mask, index >> 32, stream & mask, stream >> 32]
    key = [seed & mask, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & mask, (a >> 32) ^ counter[3] ^ key[1], a & mask]
        key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
    return ((counter[1] << 32 | counter[0]) >> 11) * 2.0**-53


def choose(logits, temperature, uniform):
    values = logits.double().numpy()
    if temperature == 0:
        top = numpy.sort(values)[-2:]
        assert top[1] - top[0] > 1e-4, "nearly a tie"
        return int(values.argmax())
    weights = numpy.exp((values - values.max()) / temperature)
    sums = weights.cumsum() / weights.sum()
    assert abs(sums - uniform).min() > 1e-6, "nearly on an edge"
    return int((sums > uniform).argmax())


@torch.no_grad()
def generate(model, prompt, stops, most, temperature=0, seed=0, item=0, draw=0):
    ids, past = [], None
    step = torch.tensor([prompt])
    while len(ids) < most:
        out = model(step, past_key_values=past, use_cache=True)
        past = out.past_key_values
        ids.append(choose(out.logits[0, -1], temperature, philox_uniform(seed, item, draw << 32 | len(ids))))
        step = torch.tensor([ids[-1:]])
        if ids[-1] == EOS:
            return ids, 1
        text = tokenizer.decode(ids, skip_special_tokens=False)
        for i, stop in enumerate(stops):
            if stop in text:
                return ids, 2 + i
    return ids, 0


def text_of(ids, stops):
    text = tokenizer.decode(ids, skip_special_tokens=True)
    for stop in stops:
        text = text.split(stop)[0]
    return text


@torch.no_grad()
def loss_of(model, prompt, ids):
    logits = model(torch.tensor([prompt + ids])).logits[0].double()
    rows = torch.log_softmax(logits[len(prompt) - 1 : -1], -1)
    return float(-rows.gather(1, torch.tensor(ids)[:, None]).sum())


# ---- scores ----


def squad(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def harness(text):
    """ignore_case, and the pattern of the header below."""
    return re.sub(r"^\s*The ", "", text).lower()


def f1(a, b):
    a, b = a.split(), b.split()
    same = sum((collections.Counter(a) & collections.Counter(b)).values())
    if not a or not b:
        return float(a == b)
    return 2 * same / (len(a) + len(b))


def ngrams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def repetition(words, n):
    grams = ngrams(words, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def repeated_suffix(words):
    for length in range(len(words) - 1, 0, -1):
        if tuple(words[-length:]) in ngrams(words[:-1], length):
            return length
    return 0


def fragments(source, summary):
    """Grusky et al. 2018, figure 3."""
    found, i = [], 0
    while i < len(summary):
        best = 0
        for j in range(len(source)):
            k = 0
            while i + k < len(summary) and j + k < len(source) and summary[i + k] == source[j + k]:
                k += 1
            best = max(best, k)
        found += [best] if best else []
        i += max(best, 1)
    return found


def passes(check, text):
    words = len(text.split())
    return (
        words <= check.get("max_words", words)
        and words >= check.get("min_words", words)
        and ("regex" not in check or re.search(check["regex"], text) is not None)
        and ("equals" not in check or text.strip() == check["equals"].strip())
    )


def score(header, item, answer, normalize):
    """Metrics of an answer; None: it is no part of the metric."""
    names = ["exact_match", "f1", "em_relaxed", "contains", "rouge1", "rouge2", "rougeL", "rougeLsum"]
    values = dict.fromkeys([*names, "checks"])
    if item["references"]:
        prediction, references = normalize(answer), [normalize(r) for r in item["references"]]
        values["exact_match"] = float(prediction in references)
        values["f1"] = max(f1(prediction, r) for r in references)
        values["em_relaxed"] = float(any(r and prediction and (r in prediction or prediction in r) for r in references))
        values["contains"] = float(any(r and r.lower() in prediction.lower() for r in references))
        if "bleu" in header["metrics"]:
            sentence = BLEU(tokenize=header.get("bleu_tokenizer", "13a"), effective_order=True, force=True)
            values["bleu"] = sentence.sentence_score(answer, item["references"]).score
            values["chrf"] = CHRF(word_order=2).sentence_score(answer, item["references"]).score
        scorer = RougeScorer(names[4:], use_stemmer=header.get("stemmer", True))
        for name in names[4:]:
            values[name] = max(scorer.score(r, answer)[name].fmeasure for r in item["references"])
    if "checks" in item:
        values["checks"] = float(all(passes(check, answer) for check in item["checks"]))
    return values


def look(header, item, ids, end, text, dense_ids, dense_text):
    words = text.split()
    same = next((i for i, (a, b) in enumerate(zip(ids, dense_ids)) if a != b), min(len(ids), len(dense_ids)))
    rouge = RougeScorer(["rougeL"], use_stemmer=header.get("stemmer", True)).score(dense_text, text)["rougeL"].fmeasure
    values = {
        "agreement_exact": float(text == dense_text),
        "agreement_tokens": same,
        "agreement_rougeL": 1.0 if text == dense_text else rouge,
        "length": len(ids),
        "words": len(words),
        "ended_limit": float(end == 0),
        "ended_eos": float(end == 1),
        "ended_stop": float(end >= 2),
        "rep_2": repetition(words, 2),
        "rep_3": repetition(words, 3),
        "rep_4": repetition(words, 4),
        "repeated_suffix": repeated_suffix(words),
        "distinct_1": len(set(words)) / len(words) if words else 0.0,
        "distinct_2": len(set(ngrams(words, 2))) / len(words) if words else 0.0,
    }
    if "source" in item:
        source, summary = (re.findall(r"[a-z0-9]+", t.lower()) for t in (item["source"], text))
        found = fragments(source, summary)
        values["coverage"] = sum(found) / len(summary) if summary else 0.0
        values["density"] = sum(k * k for k in found) / len(summary) if summary else 0.0
        values["compression"] = len(source) / len(summary) if summary else 0.0
    return values


def mean(values):
    known = [v for v in values if v is not None]
    if not known:
        return None, None
    error = numpy.std(known, ddof=1) / math.sqrt(len(known)) if len(known) > 1 else None
    return float(numpy.mean(known)), error if error is None else float(error)


# ---- translations ----


def bleu_counts(header, references, text):
    score = BLEU(tokenize=header.get("bleu_tokenizer", "13a"), force=True).corpus_score([text], [[r] for r in references])
    return [score.sys_len, score.ref_len, *score.counts, *score.totals]


def chrf_counts(header, references, text):
    scorer = CHRF(word_order=2)
    return scorer._compute_segment_statistics(text, scorer._extract_reference_info(references))


def smooth_bleu(c):
    """By the formula, so that it can be differentiated with many digits."""
    penalty = mpmath.exp(1 - c[1] / c[0]) if c[0] < c[1] else 1
    matches = [c[2 + n] or mpmath.mpf(2) ** -sum(m == 0 for m in c[2 : 3 + n]) for n in range(4)]
    return 100 * penalty * mpmath.exp(sum(mpmath.log(m / t) for m, t in zip(matches, c[6:])) / 4)


def smooth_chrf(c):
    orders = [(c[i], c[i + 1], c[i + 2]) for i in range(0, 24, 3) if c[i] and c[i + 1]]
    precision = sum(match / hypothesis for hypothesis, _, match in orders) / len(orders)
    recall = sum(match / reference for _, reference, match in orders) / len(orders)
    return 100 * 5 * precision * recall / (4 * precision + recall)


def corpus(rows, scorer, smooth):
    """Score of all counts, checked by sacrebleu, and its error by the delta method over items."""
    sums = [mpmath.mpf(sum(column)) for column in zip(*rows)]
    score = scorer._compute_score_from_stats([int(s) for s in sums]).score
    assert abs(score - smooth(sums)) < 1e-9
    moves = [mpmath.diff(lambda t, row=row: smooth([s + t * c for s, c in zip(sums, row)]), 0) for row in rows]
    n, mean = len(rows), sum(moves) / len(rows)
    moves = [move - mean for move in moves]  # 0 but for orders that are smoothed
    return float(score), float(mpmath.sqrt(mpmath.mpf(n) / (n - 1) * sum(move**2 for move in moves)))


# ---- tasks ----


def run(name, header, items, models, normalize, filter_):
    """Scores of the compressed model, models[1]."""
    dense, compressed = models
    draws, rows, flips, losses, tokens = header.get("draws", 1), [], [], [], []
    counts = {"bleu": [], "chrf": []}
    for i, item in enumerate(items):
        stops, most = item.get("stop", header.get("stop", [])), item.get("max_tokens", header["max_tokens"])
        prompt = tokenizer(item["prompt"])["input_ids"][-(512 - most) :]
        keys = {"temperature": header.get("temperature", 0), "seed": header.get("seed", 0), "item": i}
        each, row = [], {"ids": [], "end": [], "text": []}
        for draw in range(draws):
            dense_ids, _ = generate(dense, prompt, stops, most, draw=draw, **keys)
            ids, end = generate(compressed, prompt, stops, most, draw=draw, **keys)
            dense_text, text = text_of(dense_ids, stops), text_of(ids, stops)
            values = score(header, item, filter_(text), normalize)
            each.append(values | look(header, item, ids, end, text, dense_ids, dense_text))
            row["ids"].append(ids), row["end"].append(end), row["text"].append(text)
            losses.append(loss_of(dense, prompt, ids)), tokens.append(len(ids))
        answered = [filter_(t) for t in row["text"]]
        for metric, function in (("bleu", bleu_counts), ("chrf", chrf_counts)):
            if metric in header["metrics"]:
                of_draws = [function(header, item["references"], answer) for answer in answered]
                counts[metric].append([sum(column) for column in zip(*of_draws)])
                row[f"{metric}_counts"] = counts[metric][-1]
        known = {k: None if each[0][k] is None else float(numpy.mean([e[k] for e in each])) for k in each[0]}
        main = header["metrics"][0]
        was = score(header, item, filter_(dense_text), normalize).get(main)
        flips.append((was, known.get(main)))
        rows.append(row | {"values": known, "prompt_tokens": len(prompt)})
    golden = {"items": rows, "dense_perplexity": math.exp(sum(losses) / sum(tokens))}
    golden["scores"] = {k: mean([r["values"].get(k) for r in rows]) for k in {k for r in rows for k in r["values"]}}
    if counts["bleu"]:
        golden["scores"]["bleu"] = corpus(counts["bleu"], BLEU(force=True), smooth_bleu)
        golden["scores"]["chrf"] = corpus(counts["chrf"], CHRF(word_order=2), smooth_chrf)
    if draws == 1:
        golden["flips"] = [sum(a == 1 and b == 0 for a, b in flips), sum(a == 0 and b == 1 for a, b in flips)]
    with open(OUT / f"{name}.jsonl", "w") as file:
        for line in [header, *items]:
            print(json.dumps(line), file=file)
    (OUT / f"{name}_golden.json").write_text(json.dumps(golden, indent=0, sort_keys=True) + "\n")


def answers():
    lines = [json.loads(line) for line in (DEMO / "data/facts.jsonl").read_text().splitlines()[:36]]
    metrics = ["exact_match", "f1", "em_relaxed", "contains", "rouge1", "rouge2", "rougeL", "rougeLsum"]
    header = {"task": "answers", "kind": "generation", "stop": ["\n", "e"], "max_tokens": 6, "metrics": metrics,
              "filter": {"regex": "([A-Za-z]+)", "match": "last"}, "normalize": "squad", "stemmer": False}
    items = []
    for i, line in enumerate(lines):
        gold = line["choices"][line["gold"]]
        item = {"id": f"q{i}", "prompt": line["context"], "references": [gold, "the " + gold + "s"][: 1 + i % 2]}
        if i % 5 == 0:
            item |= {"stop": [], "max_tokens": 9}
        if i % 12 == 11:
            item["references"] = []
        items.append(item | {"group": "ab"[i % 2]})
    return header, items, squad, lambda text: (re.findall(r"([A-Za-z]+)", text) or ["[invalid]"])[-1]


def summaries():
    stories = re.findall(r"Story: (.*)\nSummary: (.*)", (DEMO / "data/general_eval.txt").read_text())[:14]
    header = {"task": "summaries", "kind": "generation", "stop": ["\n\n", "\nPassage"], "max_tokens": 40,
              "metrics": ["checks", "rougeL", "exact_match", "f1", "bleu", "chrf"], "filter": "strip", "normalize": "harness",
              "ignore_case": True, "ignore": [r"^\s*The "]}
    items = []
    for i, (story, summary) in enumerate(stories):
        item = {"prompt": f"Story: {story}\nSummary:", "references": [summary]}
        if i % 3:
            item["source"] = story
        if i != 4:
            item["checks"] = [{"max_words": 8 + i % 3}, {"regex": r"\.$", "min_words": 3}][: 1 + i % 2]
        items.append(item)
    return header, items, harness, str.strip


def drawn():
    header = {"task": "drawn", "kind": "generation", "temperature": 0.8, "seed": 11, "draws": 3, "max_tokens": 10,
              "stop": ["."], "metrics": ["contains", "agreement_rougeL", "bleu", "chrf"], "bleu_tokenizer": "char"}
    prompts = ["Story: It was a", "Question: What pet does", "Passage:", "Diary: It was a foggy evening", ""]
    items = [{"prompt": p, "references": ["a", "the cat was there in"]} for p in prompts]
    return header, items, str, str


def main():
    OUT.mkdir(exist_ok=True)
    dense = AutoModelForCausalLM.from_pretrained(DEMO / "model", dtype=torch.float32).eval()
    compressed = copy.deepcopy(dense)
    compressed.model.layers[2].mlp.down_proj.weight.data.zero_()
    for task in (answers, summaries, drawn):
        header, items, normalize, filter_ = task()
        run(task.__name__, header, items, (dense, compressed), normalize, filter_)


if __name__ == "__main__":
    main()
