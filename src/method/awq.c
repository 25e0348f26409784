/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWQ: round to nearest on groups of columns after the columns of large inputs have been multiplied by scales, which
 * are divided out again (Lin et al., arXiv:2306.00978, section 3.2, equations 4 and 5). The scale of an input is
 * mean|x|^ratio, of the ratios 0, 0.05, .. 0.95 the one that changes the output of the attention, the MLP or, behind a
 * linear, the linear itself least; ratio 0 is rounding to nearest. Inputs that nothing makes alone (of o with grouped
 * queries) have no scale.
 *
 * Then, with clip "mse", the range of every group is clipped as in the published code (its auto_clip): weights above
 * m (1 - i/20), i = 0 .. 9, m the largest magnitude of the group, are moved there before the grid is fitted, and the
 * first i is taken that changes what the group adds to the output least over a sample of the inputs. With d the change
 * of the scaled weights and x the inputs that is the least d^T diag(1/s) X^T X diag(1/s) d: second moments of the
 * inputs inside the group say it all. Queries and keys keep their ranges, as published: what counts of them are
 * products.
 *
 * Only weights are quantized, so dividing the weights by the scale again is the same as dividing what makes the input
 * by it: the vector before, or the rows of the linear before, whose own grids are scaled with them.
 */
#include "quant.h"

#include <winnow/linalg.h>

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { TRIALS = 20, CLIP_STEPS = 20, CLIPS = 10, BAND = WN_CLIP_ROWS };

static const double LEAST = 1e-4; /* of a scale, as published */

static const struct wn_parameter parameters[] = {
    WN_BITS_PARAMETER("width of a code"),
    WN_GROUP_PARAMETER("\"channel\"", "128", "channel", "columns that share a grid; channel: a row"),
    WN_SYMMETRIC_PARAMETER,
    WN_SCALE_DTYPE_PARAMETER,
    {.name = "clip",
     .type = WN_STRING,
     .standard = "\"mse\"",
     .words = "none|mse",
     .help = "range of a grid: none: up to the smallest and largest weight; mse: clipped, down to half, to the least "
             "mean squared error of what the group adds to the output (as published; not for queries and keys)"},
};

/* s = max(mean|x|^ratio, 1e-4), then divided by sqrt(max s * min s). */
static wn_status trial_scale(const struct wn_input_task *task, int trial, float *scale)
{
    const double ratio = (double)trial / TRIALS;
    double least = INFINITY, most = 0;

    if (!task->stats || !task->stats->magnitudes || task->stats->width != task->width || task->stats->tokens < 1)
        WN_BUG("%s: awq was given no sums of input magnitudes of this width", task->name);
    for (int64_t j = 0; j < task->width; j++) {
        double mean = task->stats->magnitudes[j] / (double)task->stats->tokens;
        if (!isfinite(mean))
            return wn_fail(WN_ERR_NUMERIC, "%s: input %lld is not finite", task->name, (long long)j);
        double s = fmax(pow(mean, ratio), LEAST);
        least = fmin(least, s);
        most = fmax(most, s);
        scale[j] = (float)s;
    }
    for (int64_t j = 0; j < task->width; j++)
        scale[j] = (float)((double)scale[j] / sqrt(most * least));
    return WN_OK;
}

/* w [count] = weights times their scales. */
static void scale_weights(const float *weight, const float *by, int64_t count, float *w)
{
    for (int64_t j = 0; j < count; j++)
        w[j] = weight[j] * (by ? by[j] : 1.0f);
}

/* ---- the clip search ---- */

/* Moves what lies above the clipped range of a group to its ends. */
static void clip_group(float *w, int64_t count, int clip)
{
    const float share = (float)(1.0 - (double)clip / CLIP_STEPS);
    float largest = 0;

    for (int64_t j = 0; j < count; j++)
        largest = fmaxf(largest, fabsf(w[j]));
    for (int64_t j = 0; clip && j < count; j++)
        w[j] = fminf(fmaxf(w[j], -share * largest), share * largest);
}

/* One group of a band of rows with one clip, and what a thread needs for it. */
struct clip_trial {
    const struct wn_linear_task *task;
    const struct wn_compressed *out;
    bool symmetric;
    enum wn_dtype scale_dtype;
    int64_t row, rows, group, count; /* first row; number of rows; group, and its columns */
    int clip;
    float *w, *changes, *products; /* [group]; [BAND, group] */
    uint8_t *codes;                /* [group] */
    double best[BAND];
};

/* change [group] = (values on the clipped grid - scaled weights) / scales of one row. */
static void change_of_group(const struct clip_trial *trial, int64_t row, float *change)
{
    const int64_t count = trial->count, first = trial->group * trial->out->group;
    const float *weight = trial->task->weight + row * trial->task->columns + first;
    const float *by = trial->out->input_scale ? trial->out->input_scale + first : NULL;

    scale_weights(weight, by, count, trial->w);
    memcpy(change, trial->w, (size_t)count * sizeof *change);
    clip_group(change, count, trial->clip);
    struct wn_grid grid =
        wn_grid_stored(wn_grid_fit(change, count, trial->out->bits, trial->symmetric), trial->scale_dtype);
    wn_grid_apply(&grid, change, count, trial->codes, change);
    for (int64_t j = 0; j < count; j++)
        change[j] = (change[j] - trial->w[j]) / (by ? by[j] : 1.0f);
}

/* best and clips [rows, n_groups] where d^T H d is less than with all clips before. */
static void take_better(struct clip_trial *trial, uint8_t *clips)
{
    const int64_t count = trial->count;

    for (int64_t r = 0; r < trial->rows; r++) {
        double error = 0;
        for (int64_t j = 0; j < count; j++)
            error += (double)trial->changes[r * count + j] * trial->products[r * count + j];
        if (trial->clip == 0 || error < trial->best[r]) {
            trial->best[r] = error;
            clips[(trial->row + r) * trial->out->n_groups + trial->group] = (uint8_t)trial->clip;
        }
    }
}

static void search_band(struct clip_trial *trial, uint8_t *clips)
{
    const int64_t count = trial->count, group = trial->out->group;
    const float *moments = trial->task->stats->run_moments + trial->group * group * group;

    for (trial->clip = 0; trial->clip < CLIPS; trial->clip++) {
        for (int64_t r = 0; r < trial->rows; r++)
            change_of_group(trial, trial->row + r, trial->changes + r * count);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)trial->rows, (int)count, (int)count, 1.0f,
                    trial->changes, (int)count, moments, (int)count, 0.0f, trial->products, (int)count);
        take_better(trial, clips);
    }
}

/* clips [rows, n_groups] of every group: bands of rows and groups are shared out among the threads. */
static uint8_t *search_clips(const struct wn_linear_task *task, bool symmetric, const struct wn_compressed *out)
{
    const int64_t count = out->group, bands = (task->rows + BAND - 1) / BAND;
    uint8_t *clips = wn_alloc(task->rows * out->n_groups, sizeof *clips);
    const int threads = wn_blas_begin();

#pragma omp parallel num_threads(threads)
    {
        struct clip_trial trial = {.task = task, .out = out, .symmetric = symmetric};
        trial.scale_dtype = wn_scale_dtype_of(task->params);
        trial.w = wn_alloc(count, sizeof *trial.w);
        trial.codes = wn_alloc(count, sizeof *trial.codes);
        trial.changes = wn_alloc(BAND * count, sizeof *trial.changes);
        trial.products = wn_alloc(BAND * count, sizeof *trial.products);
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < bands * out->n_groups; item++) {
            trial.group = item / bands;
            trial.count = wn_group_width(task->columns, count, trial.group);
            trial.row = item % bands * BAND;
            trial.rows = task->rows - trial.row < BAND ? task->rows - trial.row : BAND;
            search_band(&trial, clips);
        }
        wn_free(trial.products);
        wn_free(trial.changes);
        wn_free(trial.codes);
        wn_free(trial.w);
    }
    wn_blas_end(threads);
    return clips;
}

static bool clips_ranges(const struct wn_params *params)
{
    return !strcmp(wn_params_text(params, "clip"), "mse");
}

static int64_t moment_run(const struct wn_params *params, int64_t columns)
{
    return clips_ranges(params) ? wn_group_of(params, columns) : 0;
}

static double mean_ratio(const uint8_t *clips, int64_t count)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < count; i++)
        sum += clips[i];
    return 1 - (double)sum / (double)count / CLIP_STEPS;
}

/* ---- the method ---- */

/* A row times its scales on the grids of its groups, then divided by them again; clips [n_groups] or NULL. */
static void quantize_row(const struct wn_linear_task *task, bool symmetric, int64_t row, const uint8_t *clips, float *w,
                         struct wn_compressed *out)
{
    const int64_t at = row * task->columns;
    const float *by = out->input_scale;
    const enum wn_dtype scale_dtype = wn_scale_dtype_of(task->params);

    scale_weights(task->weight + at, by, task->columns, w);
    for (int64_t g = 0; g < out->n_groups; g++) {
        const int64_t first = g * out->group, index = row * out->n_groups + g;
        const int64_t count = wn_group_width(task->columns, out->group, g);
        if (clips)
            clip_group(w + first, count, clips[g]);
        struct wn_grid grid = wn_grid_stored(wn_grid_fit(w + first, count, out->bits, symmetric), scale_dtype);
        out->scales[index] = grid.scale;
        out->zeros[index] = grid.zero;
        wn_grid_apply(&grid, w + first, count, out->codes + at + first, w + first);
    }
    for (int64_t j = 0; j < task->columns; j++)
        out->weight[at + j] = w[j] / (by ? by[j] : 1.0f);
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    const bool symmetric = wn_params_flag(task->params, "symmetric");
    uint8_t *clips = NULL;

    out->bits = (int)wn_params_integer(task->params, "bits");
    out->group = wn_group_of(task->params, task->columns);
    out->n_groups = wn_group_count(task->columns, out->group);
    out->zero_bits = symmetric ? 0 : out->bits;
    out->codes = wn_alloc(task->rows * task->columns, sizeof *out->codes);
    out->scales = wn_alloc(task->rows * out->n_groups, sizeof *out->scales);
    out->zeros = wn_alloc(task->rows * out->n_groups, sizeof *out->zeros);
    if (task->stats && task->stats->scale) {
        out->input_scale = wn_alloc(task->columns, sizeof *out->input_scale);
        memcpy(out->input_scale, task->stats->scale, (size_t)task->columns * sizeof *out->input_scale);
        out->search.scale_ratio = (double)task->stats->trial / TRIALS;
    }
    if (task->stats && task->stats->run_moments && clips_ranges(task->params) && !wn_makes_scores(task->name)) {
        clips = search_clips(task, symmetric, out);
        out->search.clip_ratio = mean_ratio(clips, task->rows * out->n_groups);
    }
#pragma omp parallel
    {
        float *w = wn_alloc(task->columns, sizeof *w);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < task->rows; row++)
            quantize_row(task, symmetric, row, clips ? clips + row * out->n_groups : NULL, w, out);
        wn_free(w);
    }
    wn_free(clips);
    for (int64_t i = 0; i < task->rows * out->n_groups; i++)
        if (!isfinite(out->scales[i]))
            return wn_fail(WN_ERR_NUMERIC, "%s: the range of its weights is too wide for a scale", task->name);
    return WN_OK;
}

const struct wn_method wn_method_awq = {
    .name = "awq",
    .help = "round to nearest after columns of large inputs are scaled up and ranges clipped (searches of AWQ)",
    .paper = "Lin et al. 2023, arXiv:2306.00978",
    .kind = WN_QUANTIZER,
    .needs = WN_NEED_ABSOLUTE_SUMS,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .n_trials = TRIALS,
    .trial_scale = trial_scale,
    .moment_run = moment_run,
    .compress_linear = compress_linear,
};
