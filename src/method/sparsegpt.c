/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SparseGPT: columns are fixed from left to right, the weights of smallest w^2 / U_jj^2 become 0, and the others of
 * their row take the error over (Frantar, Alistarh, arXiv:2301.00774, algorithm 1). Unstructured: the smallest of all
 * rows together, in each block of 128 columns. N:M: the N smallest of a run of M, by the weights as updated when the
 * run begins. With `bits` what is kept is rounded in the same sweep (section 3.5), to a grid fitted once on each dense
 * row.
 */
#include "pattern.h"
#include "quant.h"
#include "second_order.h"
#include "select.h"

#include <math.h>
#include <string.h>

enum { STRIP = WN_SOLVER_STRIP };

static const struct wn_parameter parameters[] = {
    WN_PRUNER_PARAMETERS,
    {.name = "rule",
     .type = WN_STRING,
     .standard = "\"exact\"",
     .published = "\"reference\"",
     .words = "exact|reference",
     .help = "exact: floor(rows * 128 * sparsity) zeros per block of 128 columns, ties by lowest index; reference: as "
             "the published code, all scores up to sorted[int(rows * 128 * sparsity)]"},
    WN_PERCDAMP_PARAMETER,
    {.name = "bits",
     .type = WN_NUMBER,
     .low = 2,
     .high = 8,
     .unit = "bit",
     .help = "width of a code, to round what is kept in the same sweep; left out: no rounding"},
    {.name = "symmetric",
     .type = WN_BOOL,
     .standard = "false",
     .help = "with bits: grid centred on 0 without stored zero points"},
    WN_SCALE_DTYPE_PARAMETER,
    WN_TRUE_SEQUENTIAL_PARAMETER,
};

struct state {
    const struct wn_linear_task *task;
    struct wn_pattern pattern;
    bool reference;
    /* Unstructured: scores [columns of the block, rows] and their cut, whose tie_end is that of [rows, columns]. */
    float *scores;
    struct wn_cut cut;
    /* Joint: one grid per row, [rows rounded up to a strip]. */
    bool rounds;
    int levels;
    float *scales, *zeros;
};

static void score_lanes(const float *w, float pivot, float *scores)
{
    const float square = pivot * pivot;

    for (int r = 0; r < STRIP; r++)
        scores[r] = w[r] * w[r] / square;
}

static float pivot_of(const struct wn_solver *solver, int64_t column)
{
    return solver->upper[column * solver->columns + column];
}

/* ---- unstructured ---- */

static void score_block(struct state *state, const struct wn_solver *solver, int64_t first, int64_t columns)
{
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < solver->rows; row += STRIP) {
        const int64_t rows = solver->rows - row < STRIP ? solver->rows - row : STRIP;
        for (int64_t j = 0; j < columns; j++) {
            float lanes[STRIP];
            score_lanes(solver->work + (first + j) * solver->stride + row, pivot_of(solver, first + j), lanes);
            memcpy(state->scores + j * solver->rows + row, lanes, (size_t)rows * sizeof *lanes);
        }
    }
}

/* Ties go by row, then by column, whatever the order of the scores: where that leaves the tie number `ties`. */
static int64_t end_of_ties(const wn_key *keys, int64_t rows, int64_t columns, int32_t threshold, int64_t ties)
{
    int64_t at = 0;

    for (; ties > 0; at++)
        ties -= (keys[at % columns * rows + at / columns] & WN_KEY_MAGNITUDE) == threshold;
    return at;
}

/* The published rule drops the threshold itself and every tie of it. */
static void cut_block(void *context, const struct wn_solver *solver, int64_t first, int64_t columns)
{
    struct state *state = context;
    const wn_key *keys = (const wn_key *)state->scores;
    const int64_t count = solver->rows * columns, end = first + columns;
    const int64_t quota = wn_task_quota(state->task, first, end, solver->columns);
    const bool all_ties = state->reference && quota && !state->task->zeros;

    score_block(state, solver, first, columns);
    state->cut = wn_cut_matrix(keys, count, quota + all_ties);
    if (all_ties)
        state->cut.tie_end = count;
    if (state->cut.tie_end == 0 || state->cut.tie_end == count)
        return;
    const struct wn_cut below = {state->cut.threshold, 0};
    const int64_t ties = wn_cut_count(&state->cut, 0, keys, count) - wn_cut_count(&below, 0, keys, count);
    state->cut.tie_end = end_of_ties(keys, solver->rows, columns, state->cut.threshold, ties);
}

static void mask_strip(void *context, struct wn_strip *strip)
{
    const struct state *state = context;
    const int32_t threshold = state->cut.threshold;

    for (int64_t j = 0; j < strip->columns; j++) {
        const wn_key *keys = (const wn_key *)state->scores + j * strip->solver->rows + strip->row;
        /* rows below this one lose their ties in column j */
        const int64_t left = state->cut.tie_end - j, end = (left + strip->columns - 1) / strip->columns - strip->row;
        const int32_t lost = (int32_t)(left <= 0 || end < 0 ? 0 : end < STRIP ? end : STRIP);
        uint8_t *keep = strip->keep[j];
#pragma omp simd
        for (int32_t r = 0; r < (int32_t)strip->rows; r++)
            keep[r] = (keys[r] & WN_KEY_MAGNITUDE) > threshold - (r >= lost);
    }
}

/* ---- N:M ---- */

/* Ranks by comparing all pairs; of equal scores the column on the left ranks lower. */
static void mask_run(void *context, struct wn_strip *strip, int64_t column)
{
    const struct state *state = context;
    const int m = state->pattern.m;
    float scores[WN_LARGEST_RUN][STRIP];
    int32_t ranks[WN_LARGEST_RUN][STRIP];

    memset(ranks, 0, (size_t)m * sizeof *ranks);
    for (int i = 0; i < m; i++)
        score_lanes(wn_strip_column(strip, column + i), pivot_of(strip->solver, column + i), scores[i]);
    for (int i = 0; i < m; i++)
        for (int j = i + 1; j < m; j++)
            for (int r = 0; r < STRIP; r++) {
                const int32_t left_first = scores[i][r] <= scores[j][r];
                ranks[j][r] += left_first;
                ranks[i][r] += 1 - left_first;
            }
    for (int i = 0; i < m; i++)
        for (int r = 0; r < STRIP; r++)
            strip->keep[column - strip->first + i][r] = ranks[i][r] >= state->pattern.n;
}

/* ---- values ---- */

static void choose_kept(void *context, struct wn_strip *strip, int64_t column)
{
    const int64_t j = column - strip->first;
    const float *w = strip->w[j];
    const uint8_t *keep = strip->keep[j];
    float *q = strip->q[j];

    (void)context;
    for (int r = 0; r < STRIP; r++)
        q[r] = keep[r] ? w[r] : 0.0f;
}

static void choose_rounded(void *context, struct wn_strip *strip, int64_t column)
{
    const struct state *state = context;

    choose_kept(context, strip, column);
    float *q = strip->q[column - strip->first];
    wn_grid_apply_lanes(state->scales + strip->row, state->zeros + strip->row, state->levels, q, STRIP,
                        strip->codes[column - strip->first], q);
}

/* ---- grids ---- */

static wn_status open_grids(struct state *state, int bits, struct wn_compressed *out)
{
    const struct wn_linear_task *task = state->task;
    const int64_t lanes = (task->rows + STRIP - 1) / STRIP * STRIP;
    const bool symmetric = wn_params_flag(task->params, "symmetric");
    const enum wn_dtype dtype = wn_scale_dtype_of(task->params);

    state->scales = wn_alloc(lanes, sizeof(float));
    state->zeros = wn_alloc(lanes, sizeof(float));
    state->levels = (1 << bits) - 1;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < lanes; row++) {
        struct wn_grid grid = {1, 0, 1};
        if (row < task->rows)
            grid =
                wn_grid_stored(wn_grid_fit(task->weight + row * task->columns, task->columns, bits, symmetric), dtype);
        state->scales[row] = grid.scale;
        state->zeros[row] = grid.zero;
    }
    return wn_grids_take(out, task->name, bits, symmetric, task->columns, state->scales, state->zeros, lanes);
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    const struct wn_value *bits = wn_params_find(task->params, "bits");
    struct state state = {.task = task,
                          .pattern = wn_pattern_of(task->params),
                          .reference = !strcmp(wn_params_text(task->params, "rule"), "reference"),
                          .rounds = bits->set};
    const bool prunes = wn_params_number(task->params, "sparsity") > 0;
    struct wn_second_order run = {.task = task, .keep = prunes ? out->keep : NULL};
    wn_status status = WN_OK;

    run.rule = (struct wn_solver_rule){.context = &state, .run = 1, .choose = choose_kept};
    if (state.rounds) {
        status = open_grids(&state, (int)bits->number, out);
        run.rule.choose = choose_rounded;
    }
    if (state.pattern.m) {
        run.rule.run = state.pattern.m;
        run.rule.begin_run = mask_run;
    } else if (prunes) {
        state.scores = wn_alloc(task->rows * WN_SOLVER_BLOCK, sizeof *state.scores);
        run.rule.begin_block = cut_block;
        run.rule.begin_strip = mask_strip;
    }
    if (status == WN_OK)
        status = wn_second_order_run(&run, out);
    if (status == WN_OK)
        out->has_mask = prunes;
    wn_free(state.scores);
    wn_free(state.scales);
    wn_free(state.zeros);
    return status;
}

static bool is_identity(const struct wn_params *params)
{
    return wn_pruner_is_identity(params) && !wn_params_find(params, "bits")->set;
}

static wn_status check(struct wn_params *params)
{
    const char *alone = wn_params_flag(params, "symmetric")   ? "symmetric"
                        : wn_scale_dtype_of(params) != WN_F32 ? "scale_dtype"
                                                              : NULL;

    if (alone && !wn_params_find(params, "bits")->set)
        return wn_fail(WN_ERR_INPUT, "key \"%s\" has no meaning without \"bits\": expected both or none", alone);
    return wn_pruner_check(params);
}

const struct wn_method wn_method_sparsegpt = {
    .name = "sparsegpt",
    .help = "zero the weights that matter least, and let the others of their row make up for them",
    .paper = "Frantar, Alistarh 2023, arXiv:2301.00774",
    .kind = WN_PRUNER,
    .needs = WN_NEED_SECOND_MOMENTS,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = check,
    .check_linear = wn_pruner_check_linear,
    .is_identity = is_identity,
    .compress_linear = compress_linear,
};
