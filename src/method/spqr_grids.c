/* SPDX-License-Identifier: Apache-2.0 */
/* spqr_grids.c: the grids of SpQR: of a group without its likely outliers, and those of its scales and zero points. */
#include "quant.h"
#include "spqr.h"

#include <string.h>

/* Nothing at all has the grid of GPTQ: (-1, +1) with 0 on it. */
static void fit_grids(const struct wn_spqr *state, bool round_zero, const float *low, const float *high,
                      struct wn_spqr_grids *grids)
{
    const float levels = state->levels, middle = (levels + 1.0f) / 2.0f;

#pragma omp simd
    for (int r = 0; r < WN_SOLVER_STRIP; r++) {
        float a = low[r], b = high[r];
        if (state->symmetric) {
            b = -a > b ? -a : b;
            a = -b;
        }
        bool flat = !(a < b);
        a = flat && !(a < 0.0f) ? 0.0f : a; /* also when there is no weight: a = inf, b = -inf */
        b = flat && !(b > 0.0f) ? 0.0f : b;
        float scale = (b - a) / levels;
        float zero = state->symmetric ? middle : -a / scale;
        zero = round_zero ? rintf(zero) : zero;
        bool empty = !(scale > 0.0f);
        grids->empty[r] = empty;
        grids->scale[r] = empty ? 2.0f / levels : scale;
        grids->zero[r] = empty ? rintf(middle) : zero;
    }
}

static inline float squared_error(float w, float scale, float zero, float levels, float inverse_pivot)
{
    float e = (scale * (wn_spqr_code(w, scale, zero, levels) - zero) - w) * inverse_pivot;

    return e * e;
}

/* Mask of a column in a strip, also of one behind the block. */
static const uint8_t *mask_of(const struct wn_spqr *state, const struct wn_strip *strip, int64_t column,
                              uint8_t lanes[WN_SOLVER_STRIP])
{
    const struct wn_linear_task *task = state->task;
    const int64_t place = wn_solver_place(strip->solver, column);

    if (column < strip->first + strip->columns)
        return strip->keep[column - strip->first];
    memset(lanes, WN_SPQR_ROUNDED, WN_SOLVER_STRIP);
    for (int64_t r = 0; task->keep && r < strip->rows; r++)
        lanes[r] = task->keep[(strip->row + r) * task->columns + place];
    return lanes;
}

/* Of the group that begins at a column. */
static int64_t columns_of(const struct wn_spqr *state, int64_t column)
{
    return wn_group_width(state->task->columns, state->group, column / state->group);
}

/* ---- which weights to leave out ---- */

/* Smallest and largest of a group, the next ones, and where the first two stand. */
struct extremes {
    float low[WN_SOLVER_STRIP], next_low[WN_SOLVER_STRIP], high[WN_SOLVER_STRIP], next_high[WN_SOLVER_STRIP];
    int32_t low_at[WN_SOLVER_STRIP], high_at[WN_SOLVER_STRIP];
};

static void extremes_init(struct extremes *x)
{
    for (int r = 0; r < WN_SOLVER_STRIP; r++) {
        x->low[r] = x->next_low[r] = INFINITY;
        x->high[r] = x->next_high[r] = -INFINITY;
        x->low_at[r] = x->high_at[r] = -1;
    }
}

static void extremes_add(struct extremes *x, const float *w, const uint8_t *keep, int32_t at)
{
#pragma omp simd
    for (int r = 0; r < WN_SOLVER_STRIP; r++) {
        const float below = keep[r] ? w[r] : INFINITY, above = keep[r] ? w[r] : -INFINITY;
        const bool lowest = below<x->low[r], highest = above> x->high[r];
        const float next_low = below < x->next_low[r] ? below : x->next_low[r];
        const float next_high = above > x->next_high[r] ? above : x->next_high[r];
        x->next_low[r] = lowest ? x->low[r] : next_low;
        x->next_high[r] = highest ? x->high[r] : next_high;
        x->low[r] = lowest ? below : x->low[r];
        x->high[r] = highest ? above : x->high[r];
        x->low_at[r] = lowest ? at : x->low_at[r];
        x->high_at[r] = highest ? at : x->high_at[r];
    }
}

/*
 * To leave one weight out changes the range only when it is the smallest or the largest. So three fits stand for
 * `group` of them: with all weights, without the smallest, without the largest; each with its sum of e^2. Their zero
 * points are not rounded, and there is no second level.
 */
struct left_out {
    struct extremes extremes;
    struct wn_spqr_grids all, without_low, without_high;
    float sum[WN_SOLVER_STRIP], sum_without_low[WN_SOLVER_STRIP], sum_without_high[WN_SOLVER_STRIP];
};

static void left_out_add(struct left_out *x, const float *w, const uint8_t *keep, float inverse, int32_t at,
                         float levels)
{
#pragma omp simd
    for (int r = 0; r < WN_SOLVER_STRIP; r++) {
        float all = squared_error(w[r], x->all.scale[r], x->all.zero[r], levels, inverse);
        float low = squared_error(w[r], x->without_low.scale[r], x->without_low.zero[r], levels, inverse);
        float high = squared_error(w[r], x->without_high.scale[r], x->without_high.zero[r], levels, inverse);
        x->sum[r] += keep[r] ? all : 0.0f;
        x->sum_without_low[r] += keep[r] && x->extremes.low_at[r] != at ? low : 0.0f;
        x->sum_without_high[r] += keep[r] && x->extremes.high_at[r] != at ? high : 0.0f;
    }
}

static void fit_left_out(const struct wn_spqr *state, const struct wn_strip *strip, int64_t column, struct left_out *x)
{
    const int64_t count = columns_of(state, column);
    uint8_t lanes[WN_SOLVER_STRIP];

    fit_grids(state, false, x->extremes.low, x->extremes.high, &x->all);
    fit_grids(state, false, x->extremes.next_low, x->extremes.high, &x->without_low);
    fit_grids(state, false, x->extremes.low, x->extremes.next_high, &x->without_high);
    for (int r = 0; r < WN_SOLVER_STRIP; r++)
        x->sum[r] = x->sum_without_low[r] = x->sum_without_high[r] = 0;
    for (int64_t j = 0; j < count; j++)
        left_out_add(x, wn_strip_column(strip, column + j), mask_of(state, strip, column + j, lanes),
                     wn_spqr_inverse_pivot(strip, column + j), (int32_t)j, state->levels);
}

/* keep without the weights whose absence makes the rest better by more than tau. */
static void keep_likely(const struct left_out *x, const float *w, const uint8_t *keep, float inverse, int32_t at,
                        float levels, float tau, uint8_t *likely)
{
#pragma omp simd
    for (int r = 0; r < WN_SOLVER_STRIP; r++) {
        float gain = squared_error(w[r], x->all.scale[r], x->all.zero[r], levels, inverse);
        gain = x->extremes.low_at[r] == at ? x->sum[r] - x->sum_without_low[r] : gain;
        gain = x->extremes.high_at[r] == at ? x->sum[r] - x->sum_without_high[r] : gain;
        likely[r] = keep[r] && !(gain > tau);
    }
}

/*
 * The published code puts the mean of the others in the place of a likely outlier, which changes no range: so the
 * range is that of the others.
 */
void wn_spqr_fit(const struct wn_spqr *state, const struct wn_strip *strip, int64_t column, struct wn_spqr_grids *grids)
{
    struct left_out x;
    struct extremes rest;
    uint8_t lanes[WN_SOLVER_STRIP], likely[WN_SOLVER_STRIP];
    const int64_t count = columns_of(state, column);

    extremes_init(&x.extremes);
    for (int64_t j = 0; j < count; j++)
        extremes_add(&x.extremes, wn_strip_column(strip, column + j), mask_of(state, strip, column + j, lanes),
                     (int32_t)j);
    if (!state->leave_one_out) {
        fit_grids(state, state->round_zero, x.extremes.low, x.extremes.high, grids);
        return;
    }
    fit_left_out(state, strip, column, &x);
    extremes_init(&rest);
    for (int64_t j = 0; j < count; j++) {
        const float *w = wn_strip_column(strip, column + j);
        keep_likely(&x, w, mask_of(state, strip, column + j, lanes), wn_spqr_inverse_pivot(strip, column + j),
                    (int32_t)j, state->levels, state->tau, likely);
        extremes_add(&rest, w, likely, (int32_t)j);
    }
    fit_grids(state, state->round_zero, rest.low, rest.high, grids);
}

/* ---- the second level ---- */

/* Codes of `rows` values, which become what the codes give back; empty ones take the lower end. */
static void round_run(float *values, const bool *empty, int64_t rows, int bits, uint8_t *codes, float *scale,
                      float *zero)
{
    const float levels = (float)((1 << bits) - 1);
    float low = INFINITY, high = -INFINITY;
    bool all_empty = true;

    for (int64_t r = 0; r < rows; r++)
        all_empty &= empty[r];
    for (int64_t r = 0; r < rows; r++)
        if (all_empty || !empty[r]) {
            low = values[r] < low ? values[r] : low;
            high = values[r] > high ? values[r] : high;
        }
    *scale = (high - low) / levels;
    *zero = -low / *scale;
    if (!(*scale > 0.0f)) { /* equal values: low * (0 + 1) is exact */
        *scale = low;
        *zero = -1.0f;
        high = low;
    }
    for (int64_t r = 0; r < rows; r++) {
        float code = high > low ? wn_spqr_code(empty[r] && !all_empty ? low : values[r], *scale, *zero, levels) : 0.0f;
        codes[r] = (uint8_t)code;
        values[r] = *scale * (code - *zero);
    }
}

void wn_spqr_round(const struct wn_spqr *state, const struct wn_strip *strip, int64_t group, const bool *empty,
                   const struct wn_spqr_level *level, float *values)
{
    const int64_t at = group * state->lanes + strip->row;

    for (int64_t r = 0; level->bits && r < strip->rows; r += state->run) {
        const int64_t rows = strip->rows - r < state->run ? strip->rows - r : state->run;
        const int64_t grid = (at + r) / state->run;
        round_run(values + r, empty + r, rows, level->bits, level->codes + at + r, level->scales + grid,
                  level->zeros + grid);
    }
}
