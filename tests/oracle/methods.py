# SPDX-License-Identifier: Apache-2.0
"""What each method makes of one linear, in numpy; written from the papers and the behaviour of the published codes,
without winnow. Sums, factors and column sweeps are in double; grids and scores are in fp32 as in the published codes.

A method is f(weight, statistics, mask, name, **settings) -> Linear: `weight` [rows, columns] fp32 is the result of the
stage before, `mask` what it kept (None: all).
"""

import dataclasses

import numpy as np
import torch

F = np.float32
BLOCK = 128  # columns of a block of SparseGPT and GPTQ
RUN = 32  # groups of columns divide it or are multiples of it


@dataclasses.dataclass
class Statistics:
    """Of the inputs x of a linear over all calibration tokens."""

    moments: np.ndarray  # [columns, columns] sum of x x^T
    magnitudes: np.ndarray  # [columns] sum of |x|
    maxima: np.ndarray  # [columns]
    tokens: int
    sequences: int


@dataclasses.dataclass
class Linear:
    weight: np.ndarray
    mask: np.ndarray = None  # bool, True: kept
    codes: np.ndarray = None  # 0 .. 2^bits - 1
    outliers: np.ndarray = None  # bool, True: kept as it is
    activation: tuple = None  # how its inputs are quantized: see walk.py


def pruned(weight, drop):
    return Linear(np.where(drop, F(0), weight), ~drop)


def smallest(scores, count):
    """True for the first `count` of a stable ascending sort along the last axis."""
    order = np.argsort(scores, axis=-1, kind="stable")
    mask = np.zeros(scores.shape, bool)
    np.put_along_axis(mask, order[..., :count], True, axis=-1)
    return mask


def smallest_of_all(scores, count):
    return smallest(scores.reshape(1, -1), count).reshape(scores.shape)


def runs(scores, pattern):
    zeros, length = map(int, pattern.split(":"))
    return smallest(scores.reshape(len(scores), -1, length), zeros).reshape(scores.shape)


# ---- pruning ----


def magnitude(weight, _statistics, _mask, _name, sparsity=None, pattern=None, rule="exact", drop=None):
    """`drop`: of magnitude_block."""
    size = np.abs(weight)
    if drop is not None:
        return pruned(weight, drop)
    if pattern:
        return pruned(weight, runs(size, pattern))
    if rule == "exact":
        return pruned(weight, smallest_of_all(size, int(size.size * sparsity)))
    return pruned(weight, size <= np.sort(size.ravel())[int(size.size * sparsity)])


def magnitude_block(weights, sparsity, rule="exact"):
    """What goes of each of the linears of a block that are pruned as one; the published rule keeps the weights larger
    than the int(count * (1 - sparsity))-th largest."""
    sizes = np.concatenate([np.abs(weight).ravel() for weight in weights])
    if rule == "exact":
        drop = smallest(sizes, int(sizes.size * sparsity))
    else:
        drop = sizes <= np.sort(sizes)[::-1][int((1 - sparsity) * sizes.size) - 1]
    parts = np.split(drop, np.cumsum([weight.size for weight in weights])[:-1])
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights)]


def philox(seed, stream, count):
    """The first 64 bits of Philox 4x32-10 (Salmon et al. 2011) with key = seed and counters (i, stream), i < count."""
    low = np.uint64(0xFFFFFFFF)
    index = np.arange(count, dtype=np.uint64)
    stream = np.full(count, stream, np.uint64)
    words = [index & low, index >> np.uint64(32), stream & low, stream >> np.uint64(32)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * words[0], np.uint64(0xCD9E8D57) * words[2]
        words = [
            (second >> np.uint64(32)) ^ words[1] ^ np.uint64(key[0]),
            second & low,
            (first >> np.uint64(32)) ^ words[3] ^ np.uint64(key[1]),
            first & low,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return words[1] << np.uint64(32) | words[0]


def random(weight, _statistics, _mask, name, sparsity=None, pattern=None, seed=0):
    """Scores are 31 bits of Philox; the stream is the FNV-1a hash of the name of the linear."""
    stream = 14695981039346656037
    for byte in name.encode():
        stream = (stream ^ byte) * 1099511628211 % 2**64
    scores = (philox(seed, stream, weight.size) >> np.uint64(33)).reshape(weight.shape)
    return pruned(weight, runs(scores, pattern) if pattern else smallest_of_all(scores, int(weight.size * sparsity)))


def wanda_scores(weight, statistics):
    return np.abs(weight) * np.sqrt((np.diag(statistics.moments) / statistics.sequences).astype(F))


def wanda(weight, statistics, _mask, _name, sparsity=None, pattern=None, variant="none"):
    scores = wanda_scores(weight, statistics)
    if variant == "alpha":
        return pruned(weight, wanda_alpha(scores, sparsity))
    return pruned(weight, runs(scores, pattern) if pattern else smallest(scores, int(weight.shape[1] * sparsity)))


def wanda_alpha(scores, sparsity):
    """Per row as many of the smallest scores as add up to alpha times the sum; bisection for alpha in [0, 0.8]."""
    ordered = np.sort(scores, axis=1)
    sums = np.cumsum(ordered, axis=1, dtype=np.float64)

    def drop(alpha):
        counts = (sums <= alpha * sums[:, -1:]).sum(1)
        limits = np.where(counts > 0, ordered[np.arange(len(counts)), counts - 1], -1)
        return scores <= limits[:, None]

    low, high, alpha = 0.0, 0.8, 0.4
    mask = drop(alpha)
    while abs(mask.mean() - sparsity) > 0.001 and high - low >= 0.001:
        low, high = (low, alpha) if mask.mean() > sparsity else (alpha, high)
        alpha = (low + high) / 2
        mask = drop(alpha)
    return mask


# ---- grids of the GPTQ family: zero always on the grid ----


def grid(values, bits, symmetric):
    """Scale and zero point of the last axis."""
    low = np.minimum(values.min(-1), 0).astype(F)
    high = np.maximum(values.max(-1), 0).astype(F)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    flat = low == high
    low, high = np.where(flat, F(-1), low), np.where(flat, F(1), high)
    scale = (high - low) / F(2**bits - 1)
    return scale, np.full_like(scale, 2 ** (bits - 1)) if symmetric else np.round(-low / scale)


def stored(scale_and_zero, scale_dtype):
    """A grid whose scale is one that a file stores, never 0; its zero point stays."""
    scale, zero = scale_and_zero
    if scale_dtype == "f32":
        return scale, zero
    least, kind = (2.0**-24, torch.float16) if scale_dtype == "f16" else (2.0**-133, torch.bfloat16)
    rounded = torch.from_numpy(np.ascontiguousarray(scale, F)).to(kind).float().numpy()
    return np.maximum(rounded, F(least)), zero


def codes_of(values, scale, zero, bits):
    return np.clip(np.round(values.astype(F) / scale) + zero, 0, 2**bits - 1)


def mse_grid(values, bits, symmetric):
    """80 ranges from the widest to a fifth of it; the first of the smallest sum of |error|^2.4."""
    full, zero = grid(values, bits, symmetric)
    low = np.minimum(values.min(-1), 0).astype(np.float64)
    best, result = np.full(len(values), np.inf), (full.copy(), zero.copy())
    for i in range(80):
        scale = (1 - i / 100) * full.astype(np.float64)
        shift = zero if symmetric else np.round(-(1 - i / 100) * low / scale)
        code = codes_of(values, scale[:, None], shift[:, None], bits)
        error = (np.abs(scale[:, None] * (code - shift[:, None]) - values) ** 2.4).sum(1)
        better = error < best
        best[better] = error[better]
        result[0][better], result[1][better] = scale[better], shift[better]
    return result


def parts_of(array, group):
    """Groups of columns; the last one may be shorter."""
    return [array[:, i : i + group] for i in range(0, array.shape[1], group)]


def rtn(weight, statistics, mask, name, bits, group="channel", symmetric=False, clip="none", scale_dtype="f32"):
    if not isinstance(group, str):
        rest = ("channel", symmetric, clip, scale_dtype)
        made = [rtn(part, statistics, None, name, bits, *rest) for part in parts_of(weight, group)]
        result = np.concatenate([part.weight for part in made], 1)
        codes = np.concatenate([part.codes for part in made], 1)
        return Linear(result if mask is None else np.where(mask, result, F(0)), mask, codes)
    values = weight.reshape(1, -1) if group == "tensor" else weight
    scale, zero = stored((mse_grid if clip == "mse" else grid)(values, bits, symmetric), scale_dtype)
    code = codes_of(values, scale[:, None], zero[:, None], bits)
    result = (scale[:, None] * (code - zero[:, None])).astype(F).reshape(weight.shape)
    return Linear(result if mask is None else np.where(mask, result, F(0)), mask, code.reshape(weight.shape))


# ---- the column sweep (optimal brain surgeon) ----


def factor(statistics, percdamp, act_order):
    """Dead columns, order, and the upper factor of the inverse of the damped second moments."""
    moments = 2.0 / statistics.sequences * statistics.moments
    dead = np.diag(moments) == 0
    moments[dead, dead] = 1
    order = np.argsort(-np.diag(moments), kind="stable") if act_order else np.arange(len(dead))
    moments = moments[np.ix_(order, order)]
    moments += percdamp * np.diag(moments).mean() * np.eye(len(dead))
    inverse = np.linalg.inv(moments)
    return dead, order, np.linalg.cholesky((inverse + inverse.T) / 2).T


def take_over(left, errors, upper, i):
    """Columns behind i make up for its error: those of the same run of 32 at once, all others at the end of the run."""
    start = i // RUN * RUN
    end = min(start + RUN, left.shape[1])
    left[:, i + 1 : end] -= errors[:, i, None] * upper[i, None, i + 1 : end]
    if i + 1 == end:
        left[:, end:] -= errors[:, start:end] @ upper[start:end, end:]


def sparsegpt(
    weight,
    statistics,
    _mask,
    _name,
    sparsity=None,
    pattern=None,
    rule="exact",
    percdamp=0.01,
    bits=None,
    symmetric=False,
    scale_dtype="f32",
):
    dead, _, upper = factor(statistics, percdamp, False)
    fixed = stored(grid(weight, bits, symmetric), scale_dtype) if bits else None
    left = weight.astype(np.float64)
    left[:, dead] = 0
    result, errors, codes = np.zeros_like(left), np.zeros_like(left), np.zeros(left.shape)
    drop = np.zeros(left.shape, bool)
    pivots = np.diag(upper)
    columns = left.shape[1]
    run = int(pattern.split(":")[1]) if pattern else 0
    for i in range(columns):
        if not run and i % BLOCK == 0:
            end = min(i + BLOCK, columns)
            scores = left[:, i:end] ** 2 / pivots[i:end] ** 2
            count = int(scores.size * sparsity)
            if rule == "exact":
                drop[:, i:end] = smallest_of_all(scores, count)
            else:
                drop[:, i:end] = scores <= np.sort(scores.ravel())[count]
        if run and i % run == 0:
            drop[:, i : i + run] = runs(left[:, i : i + run] ** 2 / pivots[i : i + run] ** 2, pattern)
        value = np.where(drop[:, i], 0, left[:, i])
        if bits:
            codes[:, i] = codes_of(value, *fixed, bits)
            value = fixed[0] * (codes[:, i] - fixed[1])
        result[:, i] = value
        errors[:, i] = (left[:, i] - value) / pivots[i]
        take_over(left, errors, upper, i)
    return Linear(result.astype(F), ~drop, codes if bits else None)


def gptq(
    weight,
    statistics,
    mask,
    _name,
    bits,
    group="channel",
    symmetric=False,
    act_order=False,
    static_groups=False,
    percdamp=0.01,
    group_statistics="current",
    scale_dtype="f32",
):
    dead, order, upper = factor(statistics, percdamp, act_order)
    columns = weight.shape[1]
    size = columns if group == "channel" else group
    left = weight.astype(np.float64)
    if group == "channel":
        fixed = [stored(grid(weight, bits, symmetric), scale_dtype)]
    left[:, dead] = 0
    if group != "channel":
        parts = [left[:, g : g + size] for g in range(0, columns, size)]
        fixed = [stored(grid(part, bits, symmetric), scale_dtype) for part in parts]
    known = group == "channel" or static_groups
    left = left[:, order]
    keep = np.ones(left.shape, bool) if mask is None else mask[:, order]
    stale = left.copy()
    result, errors, codes = np.zeros_like(left), np.zeros_like(left), np.zeros(left.shape)
    for i in range(columns):
        if i % BLOCK == 0:
            stale = left.copy()
        if not known and i % size == 0:
            seen = (stale if group_statistics == "reference" else left)[:, i : i + size]
            made = grid(np.where(keep[:, i : i + size], seen, 0), bits, symmetric)
            fixed[i // size] = stored(made, scale_dtype)
        scale, zero = fixed[order[i] // size if known else i // size]
        value = np.where(keep[:, i], left[:, i], 0)
        codes[:, i] = codes_of(value, scale, zero, bits)
        result[:, i] = scale * (codes[:, i] - zero)
        errors[:, i] = (left[:, i] - result[:, i]) / upper[i, i]
        take_over(left, errors, upper, i)
    back = np.argsort(order)
    return Linear(result[:, back].astype(F), mask, codes[:, back])


# ---- SpQR ----


def chain(weight):
    """Column 0, then always the one of those left that ranks the rows most alike (Spearman's correlation); the place of
    a column that is taken goes to the first of those left."""
    ranks = 2.0 * weight.argsort(0, kind="stable").argsort(0, kind="stable") - (len(weight) - 1)
    alike = ranks.T @ ranks  # integers: exact
    order, left = [0], np.arange(1, weight.shape[1])
    while len(left) > 1:
        best = int(np.argmax(alike[order[-1], left]))
        order.append(int(left[best]))
        left[best] = left[0]
        left = left[1:]
    return np.array([*order, *left])


def spqr_factor(statistics, percdamp, order, weight):
    """Dead columns have 0 in the mean and in the order, and exactly 1 on the diagonal afterwards."""
    moments = 2.0 / statistics.sequences * statistics.moments
    diagonal = np.diag(moments).copy()
    orders = {"identity": lambda: np.arange(len(diagonal)), "spearman": lambda: chain(weight),
              "act_order": lambda: np.argsort(-diagonal, kind="stable")}  # fmt: skip
    order = orders[order]()
    np.fill_diagonal(moments, np.where(diagonal == 0, 1.0, diagonal + percdamp * diagonal.mean()))
    inverse = np.linalg.inv(moments[np.ix_(order, order)])
    return diagonal == 0, order, np.linalg.cholesky((inverse + inverse.T) / 2).T


def spqr_grid(values, valid, bits, symmetric, round_zero):
    """Plain min and max of the valid values of the last axis; ranges without width are widened to 0; where even that
    has none, `empty`."""
    any_valid = valid.any(-1)
    low = np.where(any_valid, np.where(valid, values, np.inf).min(-1), 0).astype(F)
    high = np.where(any_valid, np.where(valid, values, -np.inf).max(-1), 0).astype(F)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    flat = low == high
    low, high = np.where(flat, np.minimum(low, 0), low), np.where(flat, np.maximum(high, 0), high)
    empty = low == high
    levels = F(2**bits - 1)
    scale = np.where(empty, F(2), high - low) / levels
    zero = np.full_like(scale, (levels + 1) / 2) if symmetric else -low / scale
    zero = np.where(empty, np.round((levels + 1) / 2), np.round(zero) if round_zero else zero)
    return scale, zero, empty


def spqr_codes(values, scale, zero, bits):
    return np.clip(np.round(F(values) / scale + zero), 0, 2**bits - 1)


def likely_outliers(values, valid, pivots, tau, bits, symmetric):
    """Weights without which the others lose more than tau: one fit for each weight left out."""

    def losses(x, ok):
        scale, zero, _ = (part[..., None] for part in spqr_grid(x, ok, bits, symmetric, False))
        error = (scale * (spqr_codes(x, scale, zero, bits) - zero) - x) / pivots
        return (np.where(ok, error, 0) ** 2).sum(-1)

    others = valid[:, None, :] & ~np.eye(values.shape[1], dtype=bool)
    rest = losses(np.broadcast_to(values[:, None, :], others.shape), others)
    return valid & (losses(values, valid)[:, None] - rest > tau)


def second_level(values, empty, bits, run):
    """Rounds one statistic of a group's grids in runs of rows; empty ones take the lowest value of their run."""
    values = values.copy()
    for first in range(0, len(values), run):
        part, nothing = values[first : first + run], empty[first : first + run]
        known = part[~nothing] if (~nothing).any() else part
        low, high = known.min(), known.max()
        if (~nothing).any():
            part[nothing] = low
        if low < high:
            scale = (high - low) / F(2**bits - 1)
            zero = -low / scale
            part[:] = scale * (np.clip(np.round(part / scale + zero), 0, 2**bits - 1) - zero)
    return values


def spqr(
    weight,
    statistics,
    mask,
    _name,
    bits,
    group=16,
    symmetric=False,
    order="act_order",
    percdamp=1.0,
    outlier_threshold=0.2,
    simplified_outliers=False,
    round_zero=False,
    qq_scale_bits=3,
    qq_zero_bits=3,
    qq_groupsize=16,
):
    dead, places, upper = spqr_factor(statistics, percdamp, order, weight)
    pivots = np.diag(upper)
    left = weight.astype(np.float64)
    left[:, dead] = 0
    left = left[:, places]
    keep = np.ones(left.shape, bool) if mask is None else mask[:, places]
    group = left.shape[1] if group == "channel" else group
    tau = np.inf
    if outlier_threshold != "none":
        tau = outlier_threshold * (left.var(0, ddof=1) / pivots**2).mean()
    zero_level = qq_zero_bits != "none" and not symmetric and not (round_zero and qq_zero_bits >= bits)
    result, errors, codes = np.zeros_like(left), np.zeros_like(left), np.zeros(left.shape)
    outliers = np.zeros(left.shape, bool)
    for i in range(left.shape[1]):
        if i % group == 0:
            now, valid = left[:, i : i + group], keep[:, i : i + group]
            if np.isfinite(tau) and not simplified_outliers:
                valid = valid & ~likely_outliers(now, valid, pivots[i : i + group], tau, bits, symmetric)
            scale, zero, empty = spqr_grid(now, valid, bits, symmetric, round_zero)
            scale = second_level(scale, empty, qq_scale_bits, qq_groupsize) if qq_scale_bits != "none" else scale
            zero = second_level(zero, empty, qq_zero_bits, qq_groupsize) if zero_level else zero
        code = spqr_codes(left[:, i], scale, zero, bits)
        rounded = scale * (code - zero)
        outlier = keep[:, i] & (((left[:, i] - rounded) / pivots[i]) ** 2 > tau)
        outliers[:, i] = outlier
        codes[:, i] = np.where(outlier | ~keep[:, i], spqr_codes(0.0, scale, zero, bits), code)
        result[:, i] = np.where(keep[:, i], np.where(outlier, left[:, i], rounded), 0)
        errors[:, i] = (left[:, i] - result[:, i]) / pivots[i]
        take_over(left, errors, upper, i)
    back = np.argsort(places)
    return Linear(result[:, back].astype(F), mask, codes[:, back], outliers[:, back])


# ---- scaled and quantized inputs ----


def row_codes(values, least, limit, scale_dtype):
    """Integers and the step of each row."""
    step = np.maximum(np.abs(values).max(-1, keepdims=True), F(least)) / F(limit)
    step, _ = stored((np.where(step == 0, F(1), step), 0), scale_dtype)
    return np.clip(np.round(values / step), -limit, limit), step


def llm_int8(weight, _statistics, mask, _name, threshold=6.0, outlier_weights="int8", scale_dtype="f32"):
    code, step = row_codes(weight, 0, 127, scale_dtype)
    result = code * step
    kept = weight if outlier_weights == "fp" else result
    return Linear(result, mask, code + 128, activation=("llm_int8", threshold, kept))


def smooth_scale(weights, maxima, alpha):
    """Equation 4 of SmoothQuant for the linears that share an input."""
    largest = np.maximum(np.max([np.abs(w).max(0) for w in weights], axis=0), F(1e-5)).astype(np.float64)
    return np.maximum((maxima.astype(np.float64) ** alpha / largest ** (1 - alpha)).astype(F), F(1e-5))


def smoothquant(weight, _statistics, mask, name, scale, bits=8, quantize_outputs=False, scale_dtype="f32"):
    limit = 2 ** (bits - 1) - 1
    code, step = row_codes(weight * scale, 1e-5, limit, scale_dtype)
    outputs = quantize_outputs and name.endswith(("q_proj", "k_proj", "v_proj"))
    return Linear(code * step / scale, mask, code + limit + 1, activation=("smoothquant", limit, scale, outputs))


def awq_scale(statistics, trial):
    """mean|x|^ratio, ratio = 0, 0.05 .. 0.95."""
    scale = np.maximum((statistics.magnitudes / statistics.tokens) ** (trial / 20), 1e-4)
    return (scale / np.sqrt(scale.max() * scale.min())).astype(F)


def clipped(weight, inputs, bits, group, symmetric, scale_dtype="f32"):
    """Groups cut at 1, 0.95 .. 0.55 of their largest magnitude, the first of the least mean squared error of what a
    group adds to the output of the tokens `inputs`."""
    if group != "channel":
        pairs = zip(parts_of(weight, group), parts_of(inputs, group))
        rest = ("channel", symmetric, scale_dtype)
        return np.concatenate([clipped(part, seen, bits, *rest) for part, seen in pairs], 1)
    values, seen = weight[:, None], inputs[None].astype(np.float64)
    largest = np.abs(values).max(-1, keepdims=True)
    least, result = np.full(values.shape[:2], np.inf), values.copy()
    for step in range(10):
        limit = largest * F(1 - step / 20)
        cut = np.clip(values, -limit, limit)
        scale, zero = (part[..., None] for part in stored(grid(cut, bits, symmetric), scale_dtype))
        change = scale * (codes_of(cut, scale, zero, bits) - zero) - values.astype(np.float64)
        error = ((seen @ change.transpose(1, 2, 0)) ** 2).mean(1).T
        result[error < least] = cut[error < least]
        least = np.minimum(error, least)
    return result.reshape(weight.shape)


def awq(
    weight,
    statistics,
    mask,
    name,
    scale,
    bits,
    group="channel",
    symmetric=False,
    clip="mse",
    inputs=None,
    scale_dtype="f32",
):
    """`inputs`: tokens for the choice of clips, which queries and keys do without."""
    scaled = weight * scale
    if clip == "mse" and inputs is not None and not name.endswith(("q_proj", "k_proj")):
        scaled = clipped(scaled, inputs / scale, bits, group, symmetric, scale_dtype)
    made = rtn(scaled, statistics, mask, name, bits, group, symmetric, scale_dtype=scale_dtype)
    return Linear(made.weight / scale, mask, made.codes)


def with_inputs(method):
    """The same with input_bits, which leave the weights as they are; input_group: columns that share a step."""

    def rounding(*arguments, input_bits=None, input_group=32, **settings):
        made = method(*arguments, **settings)
        if input_bits:
            made.activation = ("rounded", 2 ** (input_bits - 1) - 1, input_group)
        return made

    return rounding


METHODS = {f.__name__: f for f in (magnitude, random, wanda, sparsegpt, spqr, llm_int8, smoothquant, awq)}
METHODS |= {f.__name__: with_inputs(f) for f in (rtn, gptq)}
