#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The column sweep in PyTorch (CPU, one thread, vectorised over rows) against bench_solver, in turn.

    bench_solver.py PATH/bench_solver [ROWS COLUMNS [ROUNDS]]

Both sides get a finished factor U and time the sweep only, in processor time; one row per method: the fastest of all
rounds on each side, and their ratio. The PyTorch side follows the published codes: blocks of 128 columns, one column
at a time, the rest updated by one matrix product per block.
"""

import json
import os
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
import torch  # noqa: E402

BLOCK = 128


def make_grid(values, bits):
    low = torch.clamp(values.min(1).values, max=0)
    high = torch.clamp(values.max(1).values, min=0)
    flat = low == high
    low, high = torch.where(flat, -1.0, low), torch.where(flat, 1.0, high)
    scale = (high - low) / (2**bits - 1)
    return scale.unsqueeze(1), torch.round(-low / scale).unsqueeze(1)


def quantize(values, scale, zero, bits):
    return scale * (torch.clamp(torch.round(values / scale) + zero, 0, 2**bits - 1) - zero)


def sweep(weight, upper, bits=None, group=None, sparsity=None, pattern=None):
    left, result = weight.clone(), torch.zeros_like(weight)
    columns = weight.shape[1]
    zeros, run = map(int, pattern.split(":")) if pattern else (0, 0)
    grid = make_grid(left, bits) if bits else None
    for first in range(0, columns, BLOCK):
        end = min(first + BLOCK, columns)
        block, factors = left[:, first:end].clone(), upper[first:end, first:end]
        chosen, errors = torch.zeros_like(block), torch.zeros_like(block)
        drop = None
        if sparsity:
            scores = block**2 / torch.diag(factors).unsqueeze(0) ** 2
            drop = scores <= torch.sort(scores.flatten()).values[int(scores.numel() * sparsity)]
        elif run:
            drop = torch.zeros_like(block, dtype=torch.bool)
        for i in range(end - first):
            column, pivot = block[:, i], factors[i, i]
            if run and i % run == 0:
                scores = block[:, i : i + run] ** 2 / torch.diag(factors)[i : i + run].unsqueeze(0) ** 2
                drop.scatter_(1, i + torch.topk(scores, zeros, dim=1, largest=False)[1], True)
            if group and (first + i) % group == 0:
                grid = make_grid(left[:, first + i : first + i + group], bits)
            value = column.clone()
            if drop is not None:
                value[drop[:, i]] = 0
            if bits:
                value = quantize(value.unsqueeze(1), *grid, bits).flatten()
            chosen[:, i] = value
            error = (column - value) / pivot
            block[:, i:] -= error.unsqueeze(1).matmul(factors[i, i:].unsqueeze(0))
            errors[:, i] = error
        result[:, first:end] = chosen
        left[:, end:] -= errors.matmul(upper[first:end, end:])
    return result


CASES = {
    "gptq {'bits': 4}": {"bits": 4},
    "gptq {'bits': 4, 'group': 128}": {"bits": 4, "group": 128},
    "gptq {'bits': 4, 'group': 32}": {"bits": 4, "group": 32},
    "sparsegpt {'sparsity': 0.5}": {"sparsity": 0.5},
    "sparsegpt {'pattern': '2:4'}": {"pattern": "2:4"},
    "sparsegpt {'sparsity': 0.5, 'bits': 4}": {"sparsity": 0.5, "bits": 4},
}


def main():
    program = sys.argv[1]
    shapes = [(int(sys.argv[2]), int(sys.argv[3]))] if len(sys.argv) > 3 else [(1024, 1024), (4096, 4096)]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, 1 thread, fastest of {rounds} rounds taken in turn")
    for rows, columns in shapes:
        inputs = torch.randn(2048, columns) @ (torch.eye(columns) + 0.3 * torch.randn(columns, columns) / columns**0.5)
        moments = inputs.T @ inputs
        moments += 0.01 * moments.diagonal().mean() * torch.eye(columns)
        upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(moments)), upper=True)
        weight = torch.rand(rows, columns) * 2 - 1
        ours, theirs = {}, {}
        for _ in range(rounds):
            lines = subprocess.run([program, "json", str(rows), str(columns), "1"], capture_output=True, check=True,
                                   text=True).stdout
            for line in map(json.loads, lines.splitlines()):
                ours[line["part"]] = min(line["seconds"], ours.get(line["part"], 1e9))
            for name, settings in CASES.items():
                start = time.process_time()
                sweep(weight, upper, **settings)
                theirs[name] = min(time.process_time() - start, theirs.get(name, 1e9))
        for name in CASES:
            print(f"{rows:5d} x {columns:5d} {name:42s} torch {1e3 * theirs[name]:9.1f} ms  winnow "
                  f"{1e3 * ours[name]:8.1f} ms  ratio {theirs[name] / ours[name]:5.1f}", flush=True)


if __name__ == "__main__":
    main()
