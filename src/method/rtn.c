/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round to nearest: every weight goes to the nearest value of a uniform grid, fitted once per tensor, per output row or
 * per group of columns; the baseline of arXiv:2210.17323, section 5. Weights pruned before are 0 and 0 is on every
 * grid, so they stay exactly 0.
 *
 * With clip "mse" the range of a grid is shrunk by 1 - i / 100, i = 0 .. 79, and the first i of the smallest sum of
 * |q - w|^2.4 is taken: the search of the published code of GPTQ, which is off in its scripts.
 *
 * Inputs may be rounded as well (rounded_inputs.c).
 */
#include "quant.h"

#include <math.h>
#include <string.h>

enum { CLIPS = 80, LANES = 16 };

static const struct wn_parameter parameters[] = {
    WN_BITS_PARAMETER("width of a code"),
    WN_GROUP_PARAMETER("\"channel\"", NULL, "tensor|channel",
                       "columns that share a grid; channel: a row; tensor: the matrix"),
    WN_SYMMETRIC_PARAMETER,
    WN_SCALE_DTYPE_PARAMETER,
    {.name = "clip",
     .type = WN_STRING,
     .standard = "\"none\"",
     .words = "none|mse",
     .help = "range of a grid: none: up to the smallest and largest weight; mse: shrunk to the smallest |error|^2.4"},
    WN_INPUT_PARAMETERS,
};

/* ---- the clip search ---- */

/*
 * t^2.4 by multiplications, to 1e-6, so that it vectorises: with y = t^2 and w = y^(-1/5) it is y^2 w^4. As an
 * integer, the bit pattern of a float is close to a logarithm: minus a fifth of it, moved, is that of w to 4 %. A
 * Newton step w (6 - y w^5) / 5 makes a relative error e into 3 e^2.
 */
static inline float power_2_4(float t)
{
    const float y = t * t + 1e-20f; /* for t = 0 */
    int32_t bits;
    float w;

    memcpy(&bits, &y, sizeof bits);
    bits = (int32_t)(1277969101.0f - 0.2f * (float)bits);
    memcpy(&w, &bits, sizeof w);
    w *= (6.0f - y * w * (w * w) * (w * w)) * 0.2f;
    w *= (6.0f - y * w * (w * w) * (w * w)) * 0.2f;
    w *= (6.0f - y * w * (w * w) * (w * w)) * 0.2f;
    return y * y * (w * w) * (w * w);
}

/* Sum of |q - w|^2.4 in units of the scale before clipping; LANES partial sums in a fixed order. */
static double clip_error(const float *w, int64_t count, const struct wn_grid *grid, float inverse_unit)
{
    const float scale = grid->scale, zero = grid->zero, levels = (float)grid->levels;
    float sums[LANES] = {0};
    double sum = 0;

    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t here = count - i < LANES ? count - i : LANES;
#pragma omp simd
        for (int64_t l = 0; l < here; l++) {
            float code = rintf(w[i + l] / scale) + zero;
            code = code > 0.0f ? code : 0.0f;
            code = code < levels ? code : levels;
            sums[l] += power_2_4((scale * (code - zero) - w[i + l]) * inverse_unit);
        }
    }
    for (int l = 0; l < LANES; l++)
        sum += (double)sums[l];
    return sum;
}

static struct wn_range clipped(struct wn_range range, int clip)
{
    const float share = (float)(1.0 - clip / 100.0);

    return (struct wn_range){share * range.low, share * range.high};
}

/* errors[i] of clip i. */
static void clip_errors(const float *w, int64_t count, struct wn_range range, int bits, bool symmetric, double *errors)
{
    const float unit = wn_grid_of(range, bits, symmetric).scale;

    for (int i = 0; i < CLIPS; i++) {
        const struct wn_grid grid = wn_grid_of(clipped(range, i), bits, symmetric);
        errors[i] = clip_error(w, count, &grid, 1.0f / unit);
    }
}

/* The first of the smallest: the widest range wins ties. */
static int best_clip(const double *errors)
{
    int best = 0;

    for (int i = 1; i < CLIPS; i++)
        best = errors[i] < errors[best] ? i : best;
    return best;
}

static struct wn_range range_of_group(const float *w, int64_t count, int bits, bool symmetric, bool clip)
{
    const struct wn_range range = wn_range_of(w, count);
    double errors[CLIPS];

    if (!clip)
        return range;
    clip_errors(w, count, range, bits, symmetric, errors);
    return clipped(range, best_clip(errors));
}

/* Errors of rows are added in their order. */
static struct wn_range clip_matrix(const struct wn_linear_task *task, struct wn_range range, int bits, bool symmetric)
{
    double *errors = wn_alloc(task->rows * CLIPS, sizeof *errors), sums[CLIPS] = {0};

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < task->rows; row++)
        clip_errors(task->weight + row * task->columns, task->columns, range, bits, symmetric, errors + row * CLIPS);
    for (int64_t i = 0; i < task->rows * CLIPS; i++)
        sums[i % CLIPS] += errors[i];
    wn_free(errors);
    return clipped(range, best_clip(sums));
}

/* ---- rounding ---- */

/* Smallest and largest do not depend on the order in which rows are joined. */
static struct wn_range range_of_matrix(const float *weight, int64_t rows, int64_t columns)
{
    float low = 0.0f, high = 0.0f;

#pragma omp parallel for schedule(static) reduction(min : low) reduction(max : high)
    for (int64_t row = 0; row < rows; row++) {
        struct wn_range range = wn_range_of(weight + row * columns, columns);
        low = range.low < low ? range.low : low;
        high = range.high > high ? range.high : high;
    }
    return (struct wn_range){low, high};
}

static void quantize_tensor(const struct wn_linear_task *task, bool symmetric, bool clip, struct wn_compressed *out)
{
    struct wn_range range = range_of_matrix(task->weight, task->rows, task->columns);
    if (clip)
        range = clip_matrix(task, range, out->bits, symmetric);
    struct wn_grid grid = wn_grid_stored(wn_grid_of(range, out->bits, symmetric), wn_scale_dtype_of(task->params));

    out->scales[0] = grid.scale;
    out->zeros[0] = grid.zero;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < task->rows; row++) {
        int64_t at = row * task->columns;
        wn_grid_apply(&grid, task->weight + at, task->columns, out->codes + at, out->weight + at);
    }
}

static void quantize_groups(const struct wn_linear_task *task, bool symmetric, bool clip, struct wn_compressed *out)
{
    const enum wn_dtype dtype = wn_scale_dtype_of(task->params);

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < task->rows; row++)
        for (int64_t g = 0; g < out->n_groups; g++) {
            int64_t at = row * task->columns + g * out->group, index = row * out->n_groups + g;
            int64_t count = wn_group_width(task->columns, out->group, g);
            struct wn_range range = range_of_group(task->weight + at, count, out->bits, symmetric, clip);
            struct wn_grid grid = wn_grid_stored(wn_grid_of(range, out->bits, symmetric), dtype);
            out->scales[index] = grid.scale;
            out->zeros[index] = grid.zero;
            wn_grid_apply(&grid, task->weight + at, count, out->codes + at, out->weight + at);
        }
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    const bool symmetric = wn_params_flag(task->params, "symmetric");
    const bool clip = !strcmp(wn_params_text(task->params, "clip"), "mse");

    out->bits = (int)wn_params_integer(task->params, "bits");
    out->group = wn_group_of(task->params, task->columns);
    out->n_groups = out->group ? wn_group_count(task->columns, out->group) : 1;
    out->zero_bits = symmetric ? 0 : out->bits;
    int64_t grids = out->group ? task->rows * out->n_groups : 1;
    out->codes = wn_alloc(task->rows * task->columns, sizeof *out->codes);
    out->scales = wn_alloc(grids, sizeof *out->scales);
    out->zeros = wn_alloc(grids, sizeof *out->zeros);
    if (out->group)
        quantize_groups(task, symmetric, clip, out);
    else
        quantize_tensor(task, symmetric, clip, out);
    for (int64_t i = 0; i < grids; i++)
        if (!isfinite(out->scales[i]))
            return wn_fail(WN_ERR_NUMERIC, "%s: the range of its weights is too wide for a scale", task->name);
    wn_round_inputs(task->params, out);
    return WN_OK;
}

const struct wn_method wn_method_rtn = {
    .name = "rtn",
    .help = "round every weight to the nearest value of a uniform grid",
    .paper = "baseline of Frantar et al. 2022, arXiv:2210.17323",
    .kind = WN_QUANTIZER,
    .needs = WN_NEED_NOTHING,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = wn_check_inputs,
    .compress_linear = compress_linear,
    .activation_bytes = wn_round_inputs_bytes,
};
