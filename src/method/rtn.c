/*
 * Round to nearest: every weight goes to the nearest value of a uniform grid, fitted once per tensor, per output row or
 * per group of columns; the baseline of arXiv:2210.17323, section 5. Weights pruned before are 0 and 0 is on every
 * grid, so they stay exactly 0.
 */
#include "quant.h"

#include <math.h>

static const struct wn_parameter parameters[] = {
    {.name = "bits",
     .type = WN_INTEGER,
     .required = true,
     .low = 2,
     .high = 8,
     .unit = "bit",
     .help = "width of a code"},
    {.name = "group",
     .type = WN_INTEGER,
     .standard = "\"channel\"",
     .low = 1,
     .high = 1 << 24,
     .words = "tensor|channel",
     .unit = "columns",
     .help = "columns that share a grid; channel: a row; tensor: the matrix"},
    {.name = "symmetric", .type = WN_BOOL, .standard = "false", .help = "grid centred on 0 without stored zero points"},
};

/* Columns per grid: 0 for one grid in all. */
static int64_t group_of(const struct wn_params *params, int64_t columns)
{
    const struct wn_value *group = wn_params_find(params, "group");

    if (isnan(group->number))
        return group->text[0] == 't' ? 0 : columns;
    return (int64_t)group->number;
}

static wn_status check_linear(const struct wn_params *params, const char *name, int64_t rows, int64_t columns)
{
    int64_t group = group_of(params, columns);

    (void)rows;
    if (group && columns % group)
        return wn_fail(WN_ERR_INPUT, "%s: key \"group\": %lld columns are not a multiple of %lld", name,
                       (long long)columns, (long long)group);
    return WN_OK;
}

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

static void quantize_tensor(const struct wn_linear_task *task, bool symmetric, struct wn_compressed *out)
{
    struct wn_range range = range_of_matrix(task->weight, task->rows, task->columns);
    struct wn_grid grid = wn_grid_of(range, out->bits, symmetric);

    out->scales[0] = grid.scale;
    out->zeros[0] = grid.zero;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < task->rows; row++) {
        int64_t at = row * task->columns;
        wn_grid_apply(&grid, task->weight + at, task->columns, out->codes + at, out->weight + at);
    }
}

static void quantize_groups(const struct wn_linear_task *task, bool symmetric, struct wn_compressed *out)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < task->rows; row++)
        for (int64_t g = 0; g < out->n_groups; g++) {
            int64_t at = row * task->columns + g * out->group, index = row * out->n_groups + g;
            struct wn_grid grid = wn_grid_fit(task->weight + at, out->group, out->bits, symmetric);
            out->scales[index] = grid.scale;
            out->zeros[index] = grid.zero;
            wn_grid_apply(&grid, task->weight + at, out->group, out->codes + at, out->weight + at);
        }
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    const bool symmetric = wn_params_flag(task->params, "symmetric");

    out->bits = (int)wn_params_integer(task->params, "bits");
    out->group = group_of(task->params, task->columns);
    out->n_groups = out->group ? task->columns / out->group : 1;
    out->zero_bits = symmetric ? 0 : out->bits;
    int64_t grids = out->group ? task->rows * out->n_groups : 1;
    out->codes = wn_alloc(task->rows * task->columns, sizeof *out->codes);
    out->scales = wn_alloc(grids, sizeof *out->scales);
    out->zeros = wn_alloc(grids, sizeof *out->zeros);
    if (out->group)
        quantize_groups(task, symmetric, out);
    else
        quantize_tensor(task, symmetric, out);
    for (int64_t i = 0; i < grids; i++)
        if (!isfinite(out->scales[i]))
            return wn_fail(WN_ERR_NUMERIC, "%s: the range of its weights is too wide for a scale", task->name);
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
    .check_linear = check_linear,
    .compress_linear = compress_linear,
};
