/*
 * AWQ: round to nearest on groups of columns after the columns of large inputs have been multiplied by scales, which
 * are divided out again (Lin et al., arXiv:2306.00978, section 3.2, equations 4 and 5). The scale of an input is
 * mean|x|^ratio, of the ratios 0, 0.05, .. 0.95 the one that changes the output of the attention, the MLP or, behind a
 * linear, the linear itself least; ratio 0 is rounding to nearest. Inputs that nothing makes alone (of o with grouped
 * queries) have no scale. The search over clipped ranges of the published code (its apply_clip) is not done.
 *
 * Only weights are quantized, so dividing the weights by the scale again is the same as dividing what makes the input
 * by it: the vector before, or the rows of the linear before, whose own grids are scaled with them.
 */
#include "quant.h"

#include <math.h>
#include <string.h>

enum { TRIALS = 20 };

static const double LEAST = 1e-4; /* of a scale, as published */

static const struct wn_parameter parameters[] = {
    WN_BITS_PARAMETER("width of a code"),
    WN_GROUP_PARAMETER("\"channel\"", "channel", "columns that share a grid (published: 128); channel: a row"),
    WN_SYMMETRIC_PARAMETER,
};

static int64_t group_of(const struct wn_params *params, int64_t columns)
{
    const struct wn_value *group = wn_params_find(params, "group");

    return isnan(group->number) ? columns : (int64_t)group->number;
}

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

/* A row times its scales on the grids of its groups, then divided by them again. */
static void quantize_row(const struct wn_linear_task *task, bool symmetric, int64_t row, float *w,
                         struct wn_compressed *out)
{
    const int64_t at = row * task->columns;
    const float *by = out->input_scale;

    for (int64_t j = 0; j < task->columns; j++)
        w[j] = task->weight[at + j] * (by ? by[j] : 1.0f);
    for (int64_t g = 0; g < out->n_groups; g++) {
        const int64_t first = g * out->group, index = row * out->n_groups + g;
        struct wn_grid grid = wn_grid_fit(w + first, out->group, out->bits, symmetric);
        out->scales[index] = grid.scale;
        out->zeros[index] = grid.zero;
        wn_grid_apply(&grid, w + first, out->group, out->codes + at + first, w + first);
    }
    for (int64_t j = 0; j < task->columns; j++)
        out->weight[at + j] = w[j] / (by ? by[j] : 1.0f);
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    const bool symmetric = wn_params_flag(task->params, "symmetric");

    out->bits = (int)wn_params_integer(task->params, "bits");
    out->group = group_of(task->params, task->columns);
    out->n_groups = task->columns / out->group;
    out->zero_bits = symmetric ? 0 : out->bits;
    out->codes = wn_alloc(task->rows * task->columns, sizeof *out->codes);
    out->scales = wn_alloc(task->rows * out->n_groups, sizeof *out->scales);
    out->zeros = wn_alloc(task->rows * out->n_groups, sizeof *out->zeros);
    if (task->stats && task->stats->scale) {
        out->input_scale = wn_alloc(task->columns, sizeof *out->input_scale);
        memcpy(out->input_scale, task->stats->scale, (size_t)task->columns * sizeof *out->input_scale);
    }
#pragma omp parallel
    {
        float *w = wn_alloc(task->columns, sizeof *w);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < task->rows; row++)
            quantize_row(task, symmetric, row, w, out);
        wn_free(w);
    }
    for (int64_t i = 0; i < task->rows * out->n_groups; i++)
        if (!isfinite(out->scales[i]))
            return wn_fail(WN_ERR_NUMERIC, "%s: the range of its weights is too wide for a scale", task->name);
    return WN_OK;
}

const struct wn_method wn_method_awq = {
    .name = "awq",
    .help = "round to nearest after columns of large inputs are scaled up (scale search of AWQ)",
    .paper = "Lin et al. 2023, arXiv:2306.00978",
    .kind = WN_QUANTIZER,
    .needs = WN_NEED_ABSOLUTE_SUMS,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check_linear = wn_group_check_linear,
    .n_trials = TRIALS,
    .trial_scale = trial_scale,
    .compress_linear = compress_linear,
};
