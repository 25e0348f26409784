#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays the searches that `test_evolution trace KIND` prints, decision by decision, from their settings alone.

Usage: replay.py TEST_EVOLUTION

Everything is written again from include/winnow/search.h: the generator (Philox 4x32-10), the draws, the spaces and their
budgets, random genomes, mutations, minibatches and selection. Only the example itself (shapes, settings, the toy fitness)
is the same by agreement. All genomes, all fitness values, minibatches and winners must be equal.
"""

import itertools
import json
import subprocess
import sys

MASK = 0xFFFFFFFF
BLOCKS, LINEARS, HIDDEN = 6, [256, 64, 64, 256, 704, 704, 704], 16
LENGTHS = [20 + i % 7 for i in range(30)]
SEED, GENERATIONS, OFFSPRING, INITIAL, INITIAL_TOKENS = 3, 20, 24, 12, 64
SURVIVORS, TOKENS = [8, 3, 1], [50, 100, 400]
TARGETS = {"sparsity": 0.6, "bits": 2.25, "gaps": 3.3, "drop": 0.4}
LEVELS = {"bits": [2, 3, 4, 5, 6], "gaps": [2, 3, 4, 8]}  # of bits


# ---- draws ----


def random_u64(seed, stream, index):
    a, b, c, d = index & MASK, index >> 32, stream & MASK, stream >> 32
    key0, key1 = seed & MASK, seed >> 32
    for _ in range(10):
        product0, product1 = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (product1 >> 32) ^ b ^ key0, product1 & MASK, (product0 >> 32) ^ d ^ key1, product0 & MASK
        key0, key1 = (key0 + 0x9E3779B9) & MASK, (key1 + 0xBB67AE85) & MASK
    return b << 32 | a


def whole(seed, stream, index, bits):
    return random_u64(seed, stream, index) >> (64 - bits)


class Draws:
    def __init__(self, purpose, generation, number, attempt=0):
        self.stream = purpose << 56 | generation << 24 | number
        self.place = attempt << 32

    def below(self, limit):
        value = random_u64(SEED, self.stream, self.place)
        self.place += 1
        return value * limit >> 64

    def choice(self, things):
        return things[self.below(len(things))]


# ---- spaces: genes [levels], groups [{genes, sum, start, share}] ----


def sparsity_space(target):
    step = int(0.5 * min(target, 1 - target) / 8 * HIDDEN**2)
    genes = []
    for weights in LINEARS * BLOCKS:
        zeros = int(weights * target)
        genes.append(list(range(-min(zeros // step, 8), min((weights - zeros - 1) // step, 8) + 1)))
    return genes, [{"genes": list(range(len(genes))), "sum": 0, "start": 0, "share": 1}]


def sums_of(levels, count):
    """All that `count` genes can have together."""
    sums = {0}
    for _ in range(count):
        sums = {before + level for before in sums for level in levels}
    return sums


def bits_space(target, levels):
    """Sums near the shares of the groups, by trying all that differ by at most 4."""
    sizes = list(dict.fromkeys(LINEARS))
    counts = [LINEARS.count(size) * BLOCKS for size in sizes]
    wanted = target * sum(LINEARS) * BLOCKS
    near = [round(target * count) for count in counts]
    reached = [sums_of(levels, count) for count in counts]
    best = None
    for moved in itertools.product(range(-4, 5), repeat=len(sizes)):
        if any(bits + move not in sums for bits, move, sums in zip(near, moved, reached)):
            continue
        total = sum(size * (bits + move) for size, bits, move in zip(sizes, near, moved))
        key = (-total, sum(move * move * size for size, move in zip(sizes, moved)))
        if total <= wanted + 1e-6 and (best is None or key < best[0]):
            best = key, [bits + move for bits, move in zip(near, moved)]
    genes = [levels] * (len(LINEARS) * BLOCKS)
    groups = []
    for size, count, total in zip(sizes, counts, best[1]):
        members = [i for i, weights in enumerate(LINEARS * BLOCKS) if weights == size]
        groups.append(
            {"genes": members, "sum": total, "start": min(level for level in levels if level >= total / count), "share": count}
        )
    return genes, groups


def drop_space(target):
    k = int(target * BLOCKS)
    groups = [{"genes": list(range(kind, 2 * BLOCKS, 2)), "sum": k, "start": 1, "share": 1} for kind in range(2)]
    return [[0, 1]] * (2 * BLOCKS), groups


def step(levels, level, direction):
    """How far the next level is; 0: there is none."""
    place = levels.index(level) + direction
    return abs(levels[place] - level) if 0 <= place < len(levels) else 0


def towards(genes, members, genome, owed, draws, gone):
    """Draws a gene that moves the sum by at most `owed`, if there is one, else any; `gone`: gene to direction."""
    direction = 1 if owed > 0 else -1
    able = [i for i in members if step(genes[i], genome[i], direction) and gone.get(i, direction) == direction]
    near = [i for i in able if step(genes[i], genome[i], direction) <= abs(owed)]
    return (draws.choice(near or able) if able else None), direction


def move(genes, genome, i, direction):
    moved = direction * step(genes[i], genome[i], direction)
    genome[i] += moved
    return moved


def random_genome(genes, groups, draws):
    genome = [0] * len(genes)
    for group in groups:
        for i in group["genes"]:
            genome[i] = min(group["start"], genes[i][-1])
        while owed := group["sum"] - sum(genome[i] for i in group["genes"]):
            i, direction = towards(genes, group["genes"], genome, owed, draws, {})
            move(genes, genome, i, direction)
    return genome


def fallers_and_risers(genes, group, genome):
    risers = [i for i in group["genes"] if genome[i] < genes[i][-1]]
    fallers = [i for i in group["genes"] if genome[i] > genes[i][0] and risers != [i]]
    return fallers, risers


def switch(genes, group, genome, draws):
    """The genome after a gene has moved, and others until the sum is right; as it was when 16 do not do."""
    changed, gone, owed = list(genome), {}, 0
    gaps = any(b - a > 1 for levels in genes for a, b in zip(levels, levels[1:]))
    direction = 1 if gaps and draws.below(2) else -1
    able, other = ([i for i in group["genes"] if step(genes[i], genome[i], way)] for way in (direction, -direction))
    i = draws.choice([i for i in able if other != [i]])
    for _ in range(16):
        gone[i] = direction
        owed -= move(genes, changed, i, direction)
        if owed == 0:
            return changed
        i, direction = towards(genes, group["genes"], changed, owed, draws, gone)
        if i is None:
            break
    return genome


def mutate(genes, groups, genome, draws):
    first, second = 1 + draws.below(3), 1 + draws.below(3)
    for _ in range(min(first, second)):
        able = [group for group in groups if all(fallers_and_risers(genes, group, genome))]
        if not able:
            continue
        place = draws.below(sum(group["share"] for group in able))
        for group in able:
            place -= group["share"]
            if place < 0:
                break
        genome = switch(genes, group, genome, draws)
    return genome


# ---- the search ----


def draw_batch(generation, stage, tokens):
    draws, left, out = Draws(3, generation, stage), list(range(len(LENGTHS))), []
    for i in range(len(left)):
        if tokens == 0:
            break
        j = i + draws.below(len(left) - i)
        left[i], left[j] = left[j], left[i]
        out.append([left[i], min(LENGTHS[left[i]], tokens)])
        tokens -= out[-1][1]
    return out


def toy_errors(kind, genes):
    low, high = min(levels[0] for levels in genes), max(levels[-1] for levels in genes)
    sign = -4 if kind in LEVELS else 4
    return [
        {low + n: whole(5, i, 1000, 10) * (sign * (low + n) + 36) + whole(5, i, n, 10) for n in range(high - low + 1)}
        for i in range(len(genes))
    ]


def toy_fitness(errors, genome, batch):
    place = sum((i + 1) * (level + 50) for i, level in enumerate(genome))
    noise = sum(length * whole(11, sequence, place, 6) for sequence, length in batch)
    return noise + sum(errors[i][level] for i, level in enumerate(genome))


def different(draw, most, taken):
    """Up to `most` candidates unlike each other and those of `taken`; draw(number, attempt)."""
    out = []
    for number in range(most):
        for attempt in range(64):
            genome = draw(number, attempt)
            if genome not in out and genome not in taken:
                out.append(genome)
                break
    return out


def search(kind):
    """Yields minibatches and states as test_evolution prints them."""
    if kind in LEVELS:
        genes, groups = bits_space(TARGETS[kind], LEVELS[kind])
    else:
        genes, groups = {"sparsity": sparsity_space, "drop": drop_space}[kind](TARGETS[kind])
    errors = toy_errors(kind, genes)

    def judge(genomes, alive, batch, fitness, stage):
        for i in alive:
            fitness[i][stage] = toy_fitness(errors, genomes[i], batch)
        return sorted(alive, key=lambda i: (fitness[i][stage], i))

    def state(generation, winner, genomes, fitness):
        flat = [value for row in fitness for value in row]
        return {"generation": generation, "winner": winner, "parent": genomes[winner], "genomes": genomes, "fitness": flat}

    starts = different(lambda number, attempt: random_genome(genes, groups, Draws(1, 0, number, attempt)), INITIAL, [])
    fitness = [[None] * len(TOKENS) for _ in starts]
    winner = 0
    if kind != "sparsity":
        batch = draw_batch(0, 0, INITIAL_TOKENS)
        yield {"batch": [0, 0], "drawn": batch}
        winner = judge(starts, range(len(starts)), batch, fitness, 0)[0]
    yield state(0, winner, starts, fitness)
    parent = starts[winner]
    for generation in range(1, GENERATIONS + 1):

        def offspring(number, attempt):
            return mutate(genes, groups, parent, Draws(2, generation, number, attempt))  # noqa: B023

        genomes = different(offspring, OFFSPRING, [parent]) + [parent]
        fitness = [[None] * len(TOKENS) for _ in genomes]
        alive = list(range(len(genomes) - 1))
        for stage, (survivors, tokens) in enumerate(zip(SURVIVORS, TOKENS)):
            if stage == len(TOKENS) - 1:
                alive.append(len(genomes) - 1)
            batch = draw_batch(generation, stage, tokens)
            yield {"batch": [generation, stage], "drawn": batch}
            alive = judge(genomes, alive, batch, fitness, stage)[:survivors]
        yield state(generation, alive[0], genomes, fitness)
        parent = genomes[alive[0]]


def main():
    for kind in TARGETS:
        done = subprocess.run([sys.argv[1], "trace", kind], stdout=subprocess.PIPE, text=True, check=True)
        printed = [json.loads(line) for line in done.stdout.splitlines()]
        replayed = list(search(kind))
        for at, (theirs, ours) in enumerate(zip(printed, replayed)):
            for key in theirs:
                if theirs[key] != ours.get(key):
                    print(f"{kind}, line {at + 1}, {key}:\n  printed  {theirs[key]}\n  replayed {ours.get(key)}")
                    return 1
        if len(printed) != len(replayed):
            print(f"{kind}: {len(printed)} lines printed, {len(replayed)} replayed")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
