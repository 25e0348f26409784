# SPDX-License-Identifier: Apache-2.0
"""Evaluate the demo checkpoint: its tasks and held-out perplexity.

A choice is scored as context + " " + choice: the summed log-likelihood of the tokens that the
choice adds to those of BOS + context.  The answer is the choice with the highest sum.  A generated
answer is right when greedy decoding would write the reference and then end the line, which one
pass over prompt + " " + reference tells: each token must be the most likely one.  Perplexity cuts
the held-out text into windows of 255 tokens and puts BOS before each.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent
TASKS = (
    "facts",
    "in_context",
    "in_context_shuffled",
    "in_context_distractor",
    "in_context_removed",
    "summaries",
    "instructions",
    "arithmetic",
)
WINDOW = 256


def read_jsonl(path):
    """The objects of a JSON-lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_items(path):
    """The items of a request file, without its header."""
    return [row for row in read_jsonl(path) if "task" not in row]


def continued(tokenizer, prompt, answers):
    """Token ids of the prompt with each of the answers, and the length of the prompt in them."""
    start = tokenizer.encode(prompt).ids
    wholes = [tokenizer.encode(f"{prompt} {answer}").ids for answer in answers]
    assert all(whole[: len(start)] == start for whole in wholes), "an answer changes its prompt"
    return wholes, len(start)


@torch.no_grad()
def logits_of(model, sequences, batch=200):
    """Logits of each sequence, in order: row i is about what comes after token i."""
    for first in range(0, len(sequences), batch):
        part = sequences[first : first + batch]
        ids = torch.zeros(len(part), max(map(len, part)), dtype=torch.long)
        for row, sequence in enumerate(part):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        # Padding is on the right of causal attention: it cannot touch what is scored.
        logits = model(input_ids=ids).logits.float()
        for row, sequence in enumerate(part):
            yield logits[row, : len(sequence)]


def choice_accuracy(model, tokenizer, items):
    """Share of the items whose right choice has the highest score."""
    sequences, starts = [], []
    for item in items:
        wholes, start = continued(tokenizer, item["context"], item["choices"])
        sequences += wholes
        starts += [start] * len(wholes)
    scores = []
    for sequence, start, logits in zip(sequences, starts, logits_of(model, sequences), strict=True):
        targets = torch.tensor(sequence[start:])
        likely = logits[start - 1 : -1].log_softmax(-1)
        scores.append(likely.gather(-1, targets[:, None]).sum().item())
    right, at = 0, 0
    for item in items:
        count = len(item["choices"])
        right += int(np.argmax(scores[at : at + count])) == item["gold"]
        at += count
    return right / len(items)


def answer_accuracy(model, tokenizer, items):
    """Share of the items that greedy decoding answers with the reference and an end of line."""
    ends = {tokenizer.encode("\n", add_special_tokens=False).ids[0], tokenizer.token_to_id("</s>")}
    sequences, starts = [], []
    for item in items:
        wholes, start = continued(tokenizer, item["prompt"], item["references"])
        sequences += wholes
        starts.append(start)
    right = 0
    for sequence, start, logits in zip(sequences, starts, logits_of(model, sequences), strict=True):
        greedy = logits[start - 1 :].argmax(-1).tolist()
        right += greedy[:-1] == sequence[start:] and greedy[-1] in ends
    return right / len(items)


def accuracy(model, tokenizer, items):
    """Share of the items that are answered right."""
    score = choice_accuracy if "choices" in items[0] else answer_accuracy
    return score(model, tokenizer, items)


@torch.no_grad()
def perplexity(model, ids, bos):
    """Perplexity of the token ids (no BOS among them), and how many were scored."""
    total = 0.0
    for first in range(0, len(ids), WINDOW - 1):
        window = torch.tensor([[bos, *ids[first : first + WINDOW - 1]]])
        logits = model(input_ids=window).logits[0, :-1].float()
        total += torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item()
    return math.exp(total / len(ids)), len(ids)


def unigram_perplexity(ids, corpus_ids, vocabulary):
    """Perplexity of add-one smoothed token frequencies of the training corpus."""
    counts = np.bincount(corpus_ids, minlength=vocabulary) + 1.0
    log_share = np.log(counts / counts.sum())
    return math.exp(-log_share[np.array(ids)].mean())


def evaluate(model, tokenizer, data, items=None):
    """All measures of a model, as a dictionary; items bounds the items of each task."""
    was_training = model.training
    model.eval()
    results = {task: accuracy(model, tokenizer, read_items(data / f"{task}.jsonl")[:items]) for task in TASKS}
    text = (data / "general_eval.txt").read_text(encoding="utf-8")
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    results["perplexity"], results["tokens"] = perplexity(model, ids, tokenizer.token_to_id("<s>"))
    model.train(was_training)
    return results


def main():
    """Evaluate a checkpoint and print the measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEMO / "model", help="checkpoint folder")
    parser.add_argument("--data", type=Path, default=DEMO / "data", help="data folder")
    parser.add_argument("--corpus", type=Path, default=HERE / "build" / "main.npy", help="tokens of the corpus")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    print(f"parameters            {sum(p.numel() for p in model.parameters())}")
    results = evaluate(model, tokenizer, arguments.data)
    for task in TASKS:
        print(f"{task:21} {100 * results[task]:.1f} %")
    print(f"perplexity            {results['perplexity']:.3f} on {results['tokens']} tokens")
    if arguments.corpus.exists():
        text = (arguments.data / "general_eval.txt").read_text(encoding="utf-8")
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        corpus = np.load(arguments.corpus)
        print(f"unigram               {unigram_perplexity(ids, corpus, tokenizer.get_vocab_size()):.3f}")


if __name__ == "__main__":
    main()
