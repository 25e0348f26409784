/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPTQ: columns are rounded one after the other, and the columns not rounded yet take the error over (Frantar,
 * Ashkboos, Hoefler, Alistarh, arXiv:2210.17323, algorithm 1). Grids are those of quant.c: per row on the weights as
 * given; per group of columns on the weights as updated when the group begins, or with static groups on the weights as
 * given. With act-order a group is one of columns that follow each other in the sweep, and every column stores its
 * group (the published g_idx); static groups are those of the stored order, which needs no index.
 *
 * The published code fits a group on weights that miss the updates of the running block of 128 columns, so that groups
 * of 32 or 64 see old values; group_statistics says whether to do the same.
 *
 * Weights that an earlier stage has pruned are 0 and count as 0 when a grid is fitted; their error is propagated.
 * Inputs that are rounded as well (rounded_inputs.c) are so in what is evaluated and in what later blocks are
 * calibrated on; the second moments are those of the inputs before.
 */
#include "quant.h"
#include "second_order.h"

#include <math.h>
#include <string.h>

enum { STRIP = WN_SOLVER_STRIP };

static const struct wn_parameter parameters[] = {
    WN_BITS_PARAMETER("width of a code"),
    WN_GROUP_PARAMETER("\"channel\"", NULL, "channel", "columns that share a grid; channel: a row"),
    WN_SYMMETRIC_PARAMETER,
    WN_SCALE_DTYPE_PARAMETER,
    {.name = "act_order",
     .type = WN_BOOL,
     .standard = "false",
     .help = "columns by descending diagonal of H, ties by lower column, instead of from left to right"},
    {.name = "static_groups",
     .type = WN_BOOL,
     .standard = "false",
     .help = "fit the grids of all groups before the sweep, on the weights as given"},
    WN_PERCDAMP_PARAMETER,
    {.name = "group_statistics",
     .type = WN_STRING,
     .standard = "\"current\"",
     .published = "\"reference\"",
     .words = "current|reference",
     .help = "weights a group is fitted on: with all updates so far; reference: as the published code, without those "
             "of the running block of 128 columns"},
    WN_TRUE_SEQUENTIAL_PARAMETER,
    WN_INPUT_PARAMETERS,
};

static bool has_groups(const struct wn_params *params)
{
    return !isnan(wn_params_find(params, "group")->number);
}

struct state {
    const struct wn_linear_task *task;
    int bits, levels;
    bool symmetric;
    enum wn_dtype scale_dtype;
    bool fixed; /* grids of groups as stored, before the sweep; else of groups in its order, as it reaches them */
    int64_t group, n_groups;
    struct wn_compressed *out;
    int64_t lanes;         /* rows rounded up to a strip */
    float *scales, *zeros; /* [n_groups, lanes] */
};

/* ---- grids before the sweep ---- */

static void put_grid(struct state *state, int64_t group, int64_t row, struct wn_grid grid)
{
    grid = wn_grid_stored(grid, state->scale_dtype);
    state->scales[group * state->lanes + row] = grid.scale;
    state->zeros[group * state->lanes + row] = grid.zero;
}

/* All grids on the weights as given: of a row with the weights of dead columns, of groups without, as published. */
static void fit_static(void *context, const struct wn_factor *factor)
{
    struct state *state = context;
    const struct wn_linear_task *task = state->task;
    const bool drop = has_groups(task->params) && factor->n_dead > 0;

#pragma omp parallel
    {
        float *copy = wn_alloc(task->columns, sizeof *copy);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < task->rows; row++) {
            const float *w = task->weight + row * task->columns;
            for (int64_t j = 0; drop && j < task->columns; j++)
                copy[j] = factor->dead[j] ? 0.0f : w[j];
            for (int64_t g = 0; g < state->n_groups; g++)
                put_grid(state, g, row,
                         wn_grid_fit((drop ? copy : w) + g * state->group,
                                     wn_group_width(task->columns, state->group, g), state->bits, state->symmetric));
        }
        wn_free(copy);
    }
}

/* ---- grids during the sweep ---- */

static void widen(const float *w, const uint8_t *keep, float *low, float *high)
{
    for (int r = 0; r < STRIP; r++) {
        const float value = keep[r] ? w[r] : 0.0f;
        low[r] = value < low[r] ? value : low[r];
        high[r] = value > high[r] ? value : high[r];
    }
}

/* Mask of a column in a strip, also of one behind the block. */
static const uint8_t *mask_of(const struct state *state, const struct wn_strip *strip, int64_t column,
                              uint8_t lanes[STRIP])
{
    const struct wn_linear_task *task = state->task;
    const int64_t place = wn_solver_place(strip->solver, column);

    if (column < strip->first + strip->columns)
        return strip->keep[column - strip->first];
    memset(lanes, 1, STRIP);
    for (int64_t r = 0; task->keep && r < strip->rows; r++)
        lanes[r] = task->keep[(strip->row + r) * task->columns + place];
    return lanes;
}

static void fit_group(struct state *state, const struct wn_strip *strip, int64_t column, bool stale)
{
    float low[STRIP] = {0}, high[STRIP] = {0};
    uint8_t lanes[STRIP];
    const int64_t group = column / state->group, count = wn_group_width(state->task->columns, state->group, group);

    for (int64_t j = column; j < column + count; j++) {
        const float *w =
            stale ? strip->solver->work + j * strip->solver->stride + strip->row : wn_strip_column(strip, j);
        widen(w, mask_of(state, strip, j, lanes), low, high);
    }
    for (int64_t r = 0; r < strip->rows; r++)
        put_grid(state, group, strip->row + r,
                 wn_grid_of((struct wn_range){low[r], high[r]}, state->bits, state->symmetric));
}

static void begin_group(void *context, struct wn_strip *strip, int64_t column)
{
    fit_group(context, strip, column, false);
}

/* ---- values ---- */

static void load_mask(void *context, struct wn_strip *strip)
{
    const struct state *state = context;

    for (int64_t r = 0; r < strip->rows; r++) {
        const uint8_t *keep = state->task->keep + (strip->row + r) * state->task->columns;
        for (int64_t j = 0; j < strip->columns; j++)
            strip->keep[j][r] = keep[wn_solver_place(strip->solver, strip->first + j)];
    }
}

static void choose(void *context, struct wn_strip *strip, int64_t column)
{
    const struct state *state = context;
    const int64_t place = state->fixed ? wn_solver_place(strip->solver, column) : column;
    const int64_t j = column - strip->first, at = place / state->group * state->lanes + strip->row;
    const float *w = strip->w[j];
    const uint8_t *keep = strip->keep[j];
    float *q = strip->q[j];

    for (int r = 0; r < STRIP; r++)
        q[r] = keep[r] ? w[r] : 0.0f;
    wn_grid_apply_lanes(state->scales + at, state->zeros + at, state->levels, q, STRIP, strip->codes[j], q);
}

static void choose_stale(void *context, struct wn_strip *strip, int64_t column)
{
    struct state *state = context;

    if (column % state->group == 0)
        fit_group(state, strip, column, true);
    choose(context, strip, column);
}

/* ---- the method ---- */

/* Where a reordered sweep makes the groups, the group of a column is stored with it (the published g_idx). */
static void take_order(void *context, const struct wn_factor *factor)
{
    const struct state *state = context;
    const size_t bytes = (size_t)factor->width * sizeof *factor->order;

    if (!factor->order)
        return;
    state->out->order = wn_alloc(factor->width, sizeof *factor->order);
    memcpy(state->out->order, factor->order, bytes);
}

static void set_rule(struct state *state, struct wn_second_order *run)
{
    const struct wn_params *params = state->task->params;
    state->fixed = state->n_groups == 1 || wn_params_flag(params, "static_groups");
    const bool fixed = state->fixed;
    const bool stale = !fixed && !strcmp(wn_params_text(params, "group_statistics"), "reference");

    if (state->task->keep)
        run->rule.begin_strip = load_mask;
    run->rule.choose = stale ? choose_stale : choose;
    run->rule.eager = stale;
    run->rule.run = 1;
    run->prepare = fixed ? fit_static : take_order;
    if (!fixed && !stale) {
        run->rule.run = state->group;
        run->rule.begin_run = begin_group;
    }
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    struct state state = {.task = task,
                          .out = out,
                          .bits = (int)wn_params_integer(task->params, "bits"),
                          .symmetric = wn_params_flag(task->params, "symmetric"),
                          .scale_dtype = wn_scale_dtype_of(task->params),
                          .group = wn_group_of(task->params, task->columns)};
    struct wn_second_order run = {.task = task, .rule.context = &state};

    state.levels = (1 << state.bits) - 1;
    state.n_groups = wn_group_count(task->columns, state.group);
    state.lanes = (task->rows + STRIP - 1) / STRIP * STRIP;
    state.scales = wn_alloc(state.n_groups * state.lanes, sizeof *state.scales);
    state.zeros = wn_alloc_zero(state.n_groups * state.lanes, sizeof *state.zeros);
    for (int64_t i = 0; i < state.n_groups * state.lanes; i++)
        state.scales[i] = 1.0f;
    if (wn_params_flag(task->params, "act_order"))
        run.column_order = WN_ORDER_ACTIVATION;
    set_rule(&state, &run);
    out->codes = wn_alloc(task->rows * task->columns, sizeof *out->codes);
    wn_status status = wn_second_order_run(&run, out);
    if (status == WN_OK)
        status = wn_grids_take(out, task->name, state.bits, state.symmetric, state.group, state.scales, state.zeros,
                               state.lanes);
    if (status == WN_OK)
        wn_round_inputs(task->params, out);
    wn_free(state.scales);
    wn_free(state.zeros);
    return status;
}

const struct wn_method wn_method_gptq = {
    .name = "gptq",
    .help = "round column by column, and let the columns behind make up for the error",
    .paper = "Frantar et al. 2022, arXiv:2210.17323",
    .kind = WN_QUANTIZER,
    .needs = WN_NEED_SECOND_MOMENTS,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = wn_check_inputs,
    .compress_linear = compress_linear,
    .activation_bytes = wn_round_inputs_bytes,
};
