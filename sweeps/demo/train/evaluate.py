"""Evaluate the demo checkpoint: two multiple-choice tasks and held-out perplexity.

A choice is scored as context + " " + choice: the summed log-likelihood of the tokens that the
choice adds to those of BOS + context.  The answer is the choice with the highest sum.  Perplexity
cuts the held-out text into windows of 255 tokens and puts BOS before each.
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
TASKS = ("facts", "in_context")
WINDOW = 256


def read_jsonl(path):
    """The objects of a JSON-lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def choice_sequences(tokenizer, items):
    """Token ids of every (item, choice) and the length of the context within them."""
    sequences, starts = [], []
    for item in items:
        context = tokenizer.encode(item["context"]).ids
        for choice in item["choices"]:
            whole = tokenizer.encode(item["context"] + " " + choice).ids
            assert whole[: len(context)] == context, "the choice changes the tokens of the context"
            sequences.append(whole)
            starts.append(len(context))
    return sequences, starts


@torch.no_grad()
def accuracy(model, tokenizer, items, batch=200):
    """Share of the items whose right choice has the highest score."""
    sequences, starts = choice_sequences(tokenizer, items)
    scores = []
    for first in range(0, len(sequences), batch):
        part = sequences[first : first + batch]
        ids = torch.zeros(len(part), max(map(len, part)), dtype=torch.long)
        for row, sequence in enumerate(part):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        # Padding is on the right of causal attention: it cannot touch what is scored.
        logits = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
        gained = logits.gather(-1, ids[:, 1:, None]).squeeze(-1)
        for row, sequence in enumerate(part):
            start = starts[first + row]
            scores.append(gained[row, start - 1 : len(sequence) - 1].sum().item())
    right, at = 0, 0
    for item in items:
        count = len(item["choices"])
        right += int(np.argmax(scores[at : at + count])) == item["gold"]
        at += count
    return right / len(items)


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
    results = {
        task: accuracy(model, tokenizer, read_jsonl(data / f"{task}.jsonl")[:items])
        for task in TASKS
    }
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
    parser.add_argument(
        "--corpus", type=Path, default=HERE / "build" / "main.npy", help="tokens of the corpus"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    print(f"parameters   {sum(p.numel() for p in model.parameters())}")
    results = evaluate(model, tokenizer, arguments.data)
    for task in TASKS:
        print(f"{task:12} {100 * results[task]:.1f} %")
    print(f"perplexity   {results['perplexity']:.3f} on {results['tokens']} tokens")
    if arguments.corpus.exists():
        text = (arguments.data / "general_eval.txt").read_text(encoding="utf-8")
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        corpus = np.load(arguments.corpus)
        print(f"unigram      {unigram_perplexity(ids, corpus, tokenizer.get_vocab_size()):.3f}")


if __name__ == "__main__":
    main()
