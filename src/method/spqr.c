/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SpQR: the column sweep of GPTQ with small groups whose scales and zero points are quantized themselves, and with the
 * few weights that rounding hurts most kept as they are (Dettmers, Svirschevski, Egiazarian et al., arXiv:2306.03078,
 * section 4 and algorithm 1).
 *
 * When the sweep reaches a group, every row fits its grid without the weights that are likely outliers (leave one
 * out). Then the scales of the group, a column vector over output rows, are rounded in runs of rows, and so are the
 * zero points. A weight becomes an outlier on its own turn, when its error e^2 is above tau: it keeps its current
 * value, and there is no error to take over.
 *
 * As in the published code: grids span the smallest to the largest weight without 0, zero points are not rounded unless
 * asked for, damping comes before dead columns. Not as there: a range without width is widened to 0 (theirs becomes
 * (-1, +1), whose scale also ruins its run); rows of a group that are all 0 take the lowest scale of their run; equal
 * values of a run stay exactly equal; pruned weights stay exactly 0, take no part in a fit and are never outliers.
 */
#include "spqr.h"
#include "quant.h"
#include "second_order.h"
#include "spearman.h"

#include <math.h>
#include <string.h>

enum { SPAN = 128 }; /* columns whose variances are computed together */

static const struct wn_parameter parameters[] = {
    WN_BITS_PARAMETER("width of a code; the paper has 3 and 4"),
    WN_GROUP_PARAMETER("16", NULL, "channel", "columns that share a grid, in order of the sweep; channel: a row"),
    WN_SYMMETRIC_PARAMETER,
    {.name = "order",
     .type = WN_STRING,
     .standard = "\"act_order\"",
     .words = "identity|act_order|spearman",
     .help = "order of columns: as stored; by descending diagonal of H, ties by lower column; or a chain in which the "
             "next one ranks the rows most alike (a factor for every linear)"},
    {.name = "percdamp",
     .type = WN_NUMBER,
     .standard = "1",
     .low = 0,
     .high = 1,
     .unit = "1",
     .help = "damping added to the diagonal of H, relative to its mean"},
    {.name = "outlier_threshold",
     .type = WN_NUMBER,
     .standard = "0.2",
     .low = 0,
     .high = INFINITY,
     .words = "none",
     .unit = "1",
     .help = "weights are outliers when their e^2 is above this times the mean of var(column) / U_jj^2; none: no "
             "outliers; larger: fewer"},
    {.name = "simplified_outliers",
     .type = WN_BOOL,
     .standard = "false",
     .help = "fit grids with the likely outliers, without leaving one out"},
    {.name = "round_zero", .type = WN_BOOL, .standard = "false", .help = "round zero points to integers"},
    {.name = "qq_scale_bits",
     .type = WN_INTEGER,
     .standard = "3",
     .low = 2,
     .high = 8,
     .words = "none",
     .unit = "bit",
     .help = "width of the code of a scale; none: 16 bits"},
    {.name = "qq_zero_bits",
     .type = WN_INTEGER,
     .standard = "3",
     .low = 2,
     .high = 8,
     .words = "none",
     .unit = "bit",
     .help = "width of the code of a zero point; none: 16 bits; no code when rounded zero points are as short"},
    {.name = "qq_groupsize",
     .type = WN_INTEGER,
     .standard = "16",
     .low = 1,
     .high = WN_SOLVER_STRIP,
     .unit = "rows",
     .help = "output rows whose scales and zero points share a grid: a divisor of 64"},
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- state ---- */

static void open_level(const struct wn_spqr *state, int bits, struct wn_spqr_level *level)
{
    level->bits = bits;
    if (!bits)
        return;
    level->codes = wn_alloc_zero(state->n_groups * state->lanes, sizeof *level->codes);
    level->scales = wn_alloc_zero(state->n_groups * state->lanes / state->run, sizeof *level->scales);
    level->zeros = wn_alloc_zero(state->n_groups * state->lanes / state->run, sizeof *level->zeros);
}

static void close_level(struct wn_spqr_level *level)
{
    wn_free(level->codes);
    wn_free(level->scales);
    wn_free(level->zeros);
}

/* 0 for a word. */
static int number_or_zero(const struct wn_params *params, const char *name)
{
    const struct wn_value *value = wn_params_find(params, name);

    return isnan(value->number) ? 0 : (int)value->number;
}

static void open_state(struct wn_spqr *state, const struct wn_linear_task *task, struct wn_compressed *out)
{
    const struct wn_params *params = task->params;
    const double threshold = wn_params_find(params, "outlier_threshold")->number;
    int zero_bits = number_or_zero(params, "qq_zero_bits");

    *state = (struct wn_spqr){.task = task,
                              .out = out,
                              .bits = (int)wn_params_integer(params, "bits"),
                              .symmetric = wn_params_flag(params, "symmetric"),
                              .round_zero = wn_params_flag(params, "round_zero"),
                              .threshold = isnan(threshold) ? (double)INFINITY : threshold,
                              .group = wn_group_of(params, task->columns),
                              .run = wn_params_integer(params, "qq_groupsize")};
    state->levels = (float)((1 << state->bits) - 1);
    state->n_groups = wn_group_count(task->columns, state->group);
    state->lanes = (task->rows + WN_SOLVER_STRIP - 1) / WN_SOLVER_STRIP * WN_SOLVER_STRIP;
    state->scales = wn_alloc_zero(state->n_groups * state->lanes, sizeof *state->scales);
    state->zeros = wn_alloc_zero(state->n_groups * state->lanes, sizeof *state->zeros);
    state->flags = wn_alloc(task->rows * task->columns, sizeof *state->flags);
    if (state->symmetric || (state->round_zero && zero_bits >= state->bits))
        zero_bits = 0;
    open_level(state, number_or_zero(params, "qq_scale_bits"), &state->level_of_scales);
    open_level(state, zero_bits, &state->level_of_zeros);
}

static void close_state(struct wn_spqr *state)
{
    close_level(&state->level_of_zeros);
    close_level(&state->level_of_scales);
    wn_free(state->flags);
    wn_free(state->zeros);
    wn_free(state->scales);
}

/* ---- tau ---- */

/* Sums over rows of w - shift (shift NULL: 0) and of its square, for `count` columns from `first` on. */
static void add_rows(const struct wn_linear_task *task, int64_t first, int64_t count, const double *shift, double *sums,
                     double *squares)
{
    memset(sums, 0, (size_t)count * sizeof *sums);
    memset(squares, 0, (size_t)count * sizeof *squares);
    for (int64_t row = 0; row < task->rows; row++) {
        const float *w = task->weight + row * task->columns + first;
#pragma omp simd
        for (int64_t j = 0; j < count; j++) {
            double off = w[j] - (shift ? shift[j] : 0.0);
            sums[j] += off;
            squares[j] += off * off;
        }
    }
}

/* Unbiased variance of every column, in double, rows in order. */
static void compute_variances(const struct wn_linear_task *task, double *variances)
{
    const double rows = (double)task->rows;

#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < task->columns; first += SPAN) {
        const int64_t count = task->columns - first < SPAN ? task->columns - first : SPAN;
        double sums[SPAN], squares[SPAN], means[SPAN];
        add_rows(task, first, count, NULL, sums, squares);
        for (int64_t j = 0; j < count; j++)
            means[j] = sums[j] / rows;
        add_rows(task, first, count, means, sums, squares);
        for (int64_t j = 0; j < count; j++)
            variances[first + j] = (squares[j] - sums[j] * sums[j] / rows) / (rows - 1);
    }
}

/* One row has no variance, hence no outliers. Dead columns count as columns without variance. */
static void find_tau(void *context, const struct wn_factor *factor)
{
    struct wn_spqr *state = context;
    const int64_t n = factor->width;
    double sum = 0;

    if (factor->order) {
        state->out->order = wn_alloc(n, sizeof *state->out->order);
        memcpy(state->out->order, factor->order, (size_t)n * sizeof *factor->order);
    }
    state->tau = INFINITY;
    if (isinf(state->threshold) || state->task->rows < 2)
        return;
    double *variances = wn_alloc(n, sizeof *variances);
    compute_variances(state->task, variances);
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = factor->order ? factor->order[i] : i;
        const double pivot = factor->upper[i * n + i];
        sum += factor->dead[j] ? 0 : variances[j] / (pivot * pivot);
    }
    state->tau = (float)(state->threshold * sum / (double)n);
    state->leave_one_out = !wn_params_flag(state->task->params, "simplified_outliers");
    wn_free(variances);
}

/* ---- the rule ---- */

static void begin_group(void *context, struct wn_strip *strip, int64_t column)
{
    struct wn_spqr *state = context;
    const int64_t group = column / state->group, at = group * state->lanes + strip->row;
    struct wn_spqr_grids grids;

    wn_spqr_fit(state, strip, column, &grids);
    wn_spqr_round(state, strip, group, grids.empty, &state->level_of_scales, grids.scale);
    wn_spqr_round(state, strip, group, grids.empty, &state->level_of_zeros, grids.zero);
    memcpy(state->scales + at, grids.scale, sizeof grids.scale);
    memcpy(state->zeros + at, grids.zero, sizeof grids.zero);
}

static void load_mask(void *context, struct wn_strip *strip)
{
    const struct wn_spqr *state = context;

    for (int64_t r = 0; r < strip->rows; r++) {
        const uint8_t *keep = state->task->keep + (strip->row + r) * state->task->columns;
        for (int64_t j = 0; j < strip->columns; j++)
            strip->keep[j][r] = keep[wn_solver_place(strip->solver, strip->first + j)];
    }
}

/* On its turn a weight is rounded, kept as an outlier, or 0; keep becomes the flag. */
static void choose(void *context, struct wn_strip *strip, int64_t column)
{
    const struct wn_spqr *state = context;
    const int64_t j = column - strip->first, at = column / state->group * state->lanes + strip->row;
    const float *w = strip->w[j], *scales = state->scales + at, *zeros = state->zeros + at;
    const float levels = state->levels, inverse = wn_spqr_inverse_pivot(strip, column), tau = state->tau;
    uint8_t *keep = strip->keep[j], *codes = strip->codes[j];
    float *q = strip->q[j];

#pragma omp simd
    for (int r = 0; r < WN_SOLVER_STRIP; r++) {
        const float code = wn_spqr_code(w[r], scales[r], zeros[r], levels),
                    code_of_0 = wn_spqr_code(0, 1, zeros[r], levels);
        const float value = scales[r] * (code - zeros[r]), e = (w[r] - value) * inverse;
        const bool kept = keep[r] != WN_SPQR_PRUNED, outlier = kept && e * e > tau;
        codes[r] = (uint8_t)(kept && !outlier ? code : code_of_0);
        q[r] = kept ? (outlier ? w[r] : value) : 0.0f;
        keep[r] = kept ? (outlier ? WN_SPQR_OUTLIER : WN_SPQR_ROUNDED) : WN_SPQR_PRUNED;
    }
}

/* ---- the code form ---- */

static void take_level(const struct wn_spqr *state, const struct wn_spqr_level *level, struct wn_second_level *out)
{
    const int64_t rows = state->task->rows, runs = (rows + state->run - 1) / state->run, n = state->n_groups;

    if (!level->bits)
        return;
    *out = (struct wn_second_level){.bits = level->bits,
                                    .run = state->run,
                                    .codes = wn_alloc(rows * n, sizeof *out->codes),
                                    .scales = wn_alloc(runs * n, sizeof *out->scales),
                                    .zeros = wn_alloc(runs * n, sizeof *out->zeros)};
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < runs; r++)
        for (int64_t g = 0; g < n; g++) {
            const int64_t end = smaller(rows, (r + 1) * state->run);
            for (int64_t row = r * state->run; row < end; row++)
                out->codes[row * n + g] = level->codes[g * state->lanes + row];
            out->scales[r * n + g] = level->scales[g * state->lanes / state->run + r];
            out->zeros[r * n + g] = level->zeros[g * state->lanes / state->run + r];
        }
}

static int64_t count_outliers(const uint8_t *flags, int64_t count)
{
    int64_t found = 0;

    for (int64_t i = 0; i < count; i++)
        found += flags[i] == WN_SPQR_OUTLIER;
    return found;
}

/* In order of their places: each row knows where its first one goes. */
static void take_outliers(const struct wn_spqr *state, struct wn_compressed *out)
{
    const int64_t rows = state->task->rows, columns = state->task->columns;
    int64_t *first = wn_alloc(rows, sizeof *first), found = 0;

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        first[row] = count_outliers(state->flags + row * columns, columns);
    for (int64_t row = 0; row < rows; row++) {
        const int64_t here = first[row];
        first[row] = found;
        found += here;
    }
    out->n_outliers = found;
    out->outliers = found ? wn_alloc(found, sizeof *out->outliers) : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < (found ? rows : 0); row++)
        for (int64_t i = row * columns, at = first[row]; i < (row + 1) * columns; i++)
            if (state->flags[i] == WN_SPQR_OUTLIER)
                out->outliers[at++] = (struct wn_outlier){i, out->weight[i]};
    wn_free(first);
}

static wn_status take_codes(const struct wn_spqr *state, struct wn_compressed *out)
{
    WN_TRY(wn_grids_take(out, state->task->name, state->bits, state->symmetric, state->group, state->scales,
                         state->zeros, state->lanes));
    if (!state->symmetric)
        out->zero_bits = state->level_of_zeros.bits ? state->level_of_zeros.bits : state->round_zero ? state->bits : 16;
    take_level(state, &state->level_of_scales, &out->second_scales);
    take_level(state, &state->level_of_zeros, &out->second_zeros);
    take_outliers(state, out);
    return WN_OK;
}

/* ---- the method ---- */

static enum wn_column_order order_of(const struct wn_params *params)
{
    const char first = wn_params_text(params, "order")[0];

    return first == 'i' ? WN_ORDER_NATURAL : first == 'a' ? WN_ORDER_ACTIVATION : WN_ORDER_GIVEN;
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    const enum wn_column_order column_order = order_of(task->params);
    struct wn_spqr state;
    int64_t *order = NULL;

    if (column_order == WN_ORDER_GIVEN) {
        order = wn_alloc(task->columns, sizeof *order);
        wn_spearman_order(task->weight, task->rows, task->columns, order);
    }
    open_state(&state, task, out);
    const struct wn_second_order run = {.task = task,
                                        .column_order = column_order,
                                        .order = order,
                                        .damp_first = true,
                                        .prepare = find_tau,
                                        .keep = state.flags,
                                        .rule = {.context = &state,
                                                 .run = state.group,
                                                 .begin_strip = task->keep ? load_mask : NULL,
                                                 .begin_run = begin_group,
                                                 .choose = choose}};
    out->codes = wn_alloc(task->rows * task->columns, sizeof *out->codes);
    wn_status status = wn_second_order_run(&run, out);
    if (status == WN_OK)
        status = take_codes(&state, out);
    close_state(&state);
    wn_free(order);
    return status;
}

static wn_status check(struct wn_params *params)
{
    const int64_t run = wn_params_integer(params, "qq_groupsize");

    if (WN_SOLVER_STRIP % run)
        return wn_fail(WN_ERR_INPUT, "key \"qq_groupsize\": expected a divisor of %d, got %lld", WN_SOLVER_STRIP,
                       (long long)run);
    return WN_OK;
}

const struct wn_method wn_method_spqr = {
    .name = "spqr",
    .help = "round like gptq in small groups with quantized scales, and keep outliers",
    .paper = "Dettmers et al. 2023, arXiv:2306.03078",
    .kind = WN_QUANTIZER,
    .needs = WN_NEED_SECOND_MOMENTS,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = check,
    .compress_linear = compress_linear,
};
