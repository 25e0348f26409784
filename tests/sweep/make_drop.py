"""Perplexities of the demo model without some blocks or branches, by transformers: the constants of test_drop_points.c.

usage: make_drop.py SOURCE_FOLDER
"""
import sys

import numpy
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

WINDOWS, LENGTH = 8, 128
CASES = [("block", [3]), ("block", [1, 2, 3]), ("attention", [3, 4, 5]), ("mlp", [1, 2, 3])]


class Nothing(torch.nn.Module):
    """A branch that adds nothing; attention gives a pair."""

    def __init__(self, pair):
        super().__init__()
        self.pair = pair

    def forward(self, *arguments, **named):
        hidden = named.get("hidden_states", arguments[0] if arguments else None)
        return (torch.zeros_like(hidden), None) if self.pair else torch.zeros_like(hidden)


def perplexity(folder, sequences, units, dropped):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if units == "block":
        model.model.layers = torch.nn.ModuleList(b for i, b in enumerate(model.model.layers) if i not in dropped)
    for i, block in enumerate(model.model.layers):
        if units == "attention" and i in dropped:
            block.self_attn = Nothing(True)
        if units == "mlp" and i in dropped:
            block.mlp = Nothing(False)
    with torch.no_grad():
        logits = model(sequences, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1).double(), sequences[:, 1:].flatten())
    return numpy.exp(losses.item())


def main():
    folder = sys.argv[1] + "/sweeps/demo/"
    tokenizer = Tokenizer.from_file(folder + "model/tokenizer.json")
    with open(folder + "data/general_eval.txt", encoding="utf-8") as file:
        ids = tokenizer.encode(file.read()).ids[: WINDOWS * LENGTH]
    sequences = torch.tensor(ids).view(WINDOWS, LENGTH)
    for units, dropped in CASES:
        print(units, dropped, f"{perplexity(folder + 'model', sequences, units, dropped):.6f}")


main()
