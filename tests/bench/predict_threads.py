#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many times as fast as one thread a point can be on 8, 16, 32, 64 threads, from the items its stages are cut into.

    predict_threads.py [THREADS ...]

A stage is a list of parallel regions, a region a list of items with their costs; threads take the next item as they
become free, and a region ends with its last item. Costs are multiplications over the share of sgemm that bench_solver
and bench_forward measure. What is left out makes it a bound: memory that threads share, and starting a region.
Sizes of tiles are those of linear.c, moments.c, factor.c, solver.c and src/point. 128 sequences of 2048 tokens calibrate,
a block at a time.
"""

import heapq
import math
import sys

# Rows and columns of the linears that share an input; heads and their width.
SHAPES = {
    "135M": {"inputs": [(576, [576, 192, 192]), (576, [576]), (576, [1536, 1536]), (1536, [576])], "heads": (9, 64)},
    "7B": {"inputs": [(4096, [4096] * 3), (4096, [4096]), (4096, [11008] * 2), (11008, [4096])], "heads": (32, 128)},
}
TOKENS, CHUNK, GROUPS, SAMPLE = 128 * 2048, 2048, 8, 512


def cut(length, tile):
    return [min(tile, length - at) for at in range(0, length, tile)]


def makespan(items, threads):
    if threads == 1 or len(items) == 1:
        return sum(items)
    free = [0.0] * min(threads, len(items))
    for cost in items:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


# ---- stages: lists of (regions, times that they come, share of sgemm) ----


def linears(shape, threads):
    """Chunks in groups that give the threads enough tiles (wn_model_group_rows: within 5 %, at most 64)."""

    def regions(chunks):
        rows = cut(CHUNK, 512) * chunks
        return [[r * c * width for o in outs for c in cut(o, 1024) for r in rows] for width, outs in shape["inputs"]]

    def speed(chunks):
        parts = regions(chunks)
        return sum(map(sum, parts)) / sum(makespan(items, threads) for items in parts)

    most = TOKENS // CHUNK // GROUPS
    chunks = next((c for c in range(1, most) if speed(c) >= 0.95 * threads), most)
    return [(regions(chunks), TOKENS / CHUNK / chunks, 0.88)]


def attention(shape, threads):
    heads, width = shape["heads"]
    return [([[CHUNK * CHUNK * width] * heads * 16], TOKENS / CHUNK / 16, 0.6)]


def square_tile(length):
    return 192 if length < 1024 else 256 if length < 4096 else 512


def moments(shape, threads):
    regions = []
    for width, _ in shape["inputs"]:
        edges = cut(width, square_tile(width))
        above = [edges[i] * edges[j] * CHUNK for j in range(len(edges)) for i in range(j)]
        regions.append(above + [edge * edge / 2 * CHUNK for edge in edges])
    return [(regions, TOKENS / CHUNK, 0.85)]


def factor_regions(n):
    tile = 128 if n < 4096 else 256
    steps = cut(n, tile)
    for k in range(len(steps) - 1, -1, -1):
        edge = steps[k]
        yield [edge**3 / 3]
        yield [edge * edge * tile / 2] * k
        rest = [min(2, i - j) * tile * tile * edge for i in range(k - 1, -1, -1) for j in range(0, i, 2)]
        yield rest + [tile * tile * edge / 2] * k
    yield [64**3] * (n // 64)
    half = 64
    while half < n:
        edge, pairs = min(half, tile), [(at, min(half, n - at)) for at in range(half, n, 2 * half)]
        rows = half // edge
        yield [edge * c * (rows - r) * edge for r in range(rows) for _, rest in pairs for c in cut(rest, edge)]
        yield [
            edge * c * ((i + 1) * edge)
            for i in range(rows - 1, -1, -1)
            for _, rest in pairs
            for c in cut(rest, edge)[i : i + 1]
            for _ in range(rows)
        ]
        half *= 2


def factors(shape, threads):
    return [([list(items) for items in factor_regions(width) if items], 1, 0.65) for width, _ in shape["inputs"]]


def sweep_regions(rows, columns, selects):
    blocks = cut(columns, 128)
    eighth = math.ceil(math.ceil(rows / 8) / 64) * 64

    def tile(most):
        return cut(rows, min(eighth, most))

    for b, block in enumerate(blocks):
        if selects:
            yield [3e6 + 15 * rows * block]  # what one thread does to find the threshold, some 0.2 ms for 4096 rows
        yield [r * block * block for r in cut(rows, 64)]  # half as many, at half the speed
        end = min((b // 4 + 1) * 512, columns)
        behind = columns - end if (b + 1) % 4 == 0 or b + 1 == len(blocks) else end - 128 * b - block
        depth, most = (512, 256) if (b + 1) % 4 == 0 else (block, 128)
        yield [r * c * depth for c in cut(max(behind, 0), 512) for r in tile(most)]


def sweeps(shape, threads, selects=True):
    linears = [(rows, width) for width, outs in shape["inputs"] for rows in outs]
    regions = [items for linear in linears for items in sweep_regions(*linear, selects) if items]
    return [(regions, 1, 0.85)]


def gptq_sweeps(shape, threads):
    return sweeps(shape, threads, selects=False)


def forms(shape, threads):
    regions = []
    for width, outs in shape["inputs"]:
        panels = cut(width, square_tile(width))
        depth = [sum(panels[: p + 1]) for p in range(len(panels))]
        for rows in outs:
            tiles = cut(rows, square_tile(rows))
            longest_first = range(len(panels) - 1, -1, -1)
            regions.append([r * panels[p] * depth[p] for p in longest_first for r in tiles for _ in range(3)])
    return [(regions, 1, 0.82)]


def sample(shape, threads):
    """Outputs of the sample, dense and compressed."""
    regions = [
        [r * c * width for c in cut(rows, 1024) * 2 for r in cut(SAMPLE, 256)]
        for width, outs in shape["inputs"]
        for rows in outs
    ]
    return [(regions, 1, 0.85)]


def rows_alone(shape, threads):
    """Selection, rounding and weight statistics, a row an item: some 40 passes over the weights of eight bytes."""
    return [([[width * 500] * rows for width, outs in shape["inputs"] for rows in outs], 1, 1)]


POINTS = {
    "sparsegpt": [linears, attention, moments, factors, sweeps, forms, sample, rows_alone, linears, attention],
    "gptq": [linears, attention, moments, factors, gptq_sweeps, forms, sample, rows_alone, linears, attention],
    "wanda": [linears, attention, sample, rows_alone, linears, attention],
}


def seconds(stage, shape, threads):
    total = 0.0
    for regions, times, share in stage(shape, threads):
        total += times / share * sum(makespan(items, threads) for items in regions)
    return total


def speed_up(stages, shape, threads):
    """One thread does the same work in one chunk after the other."""
    return sum(seconds(s, shape, 1) for s in stages) / sum(seconds(s, shape, threads) for s in stages)


def main():
    threads = [int(word) for word in sys.argv[1:]] or [8, 16, 32, 64]
    print(f"{'shapes':7} {'point':10} {'stage':12}" + "".join(f"{n:>8}" for n in threads) + "   share of one thread's time")
    for name, shape in SHAPES.items():
        for point, stages in POINTS.items():
            whole = sum(seconds(s, shape, 1) for s in stages)
            for stage in dict.fromkeys(stages):
                bounds = "".join(f"{speed_up([stage], shape, n):8.1f}" for n in threads)
                share = stages.count(stage) * seconds(stage, shape, 1) / whole
                print(f"{name:7} {point:10} {stage.__name__:12}{bounds} {100 * share:8.1f} %")
            print(f"{name:7} {point:10} {'in all':12}" + "".join(f"{speed_up(stages, shape, n):8.1f}" for n in threads))


if __name__ == "__main__":
    main()
