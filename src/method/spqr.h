/* SPDX-License-Identifier: Apache-2.0 */
/* spqr.h: what the two files of SpQR share: the state of a sweep, and how a group gets its grids. */
#ifndef WINNOW_SPQR_H
#define WINNOW_SPQR_H

#include <winnow/method.h>

#include "solver.h"

#include <math.h>

/* What became of a weight. */
enum { WN_SPQR_PRUNED = 0, WN_SPQR_ROUNDED = 1, WN_SPQR_OUTLIER = 2 };

/* Codes of one kind of statistic and their grids, as the sweep makes them. */
struct wn_spqr_level {
    int bits;              /* 0: not used */
    uint8_t *codes;        /* [n_groups, lanes] */
    float *scales, *zeros; /* [n_groups, lanes / run] */
};

struct wn_spqr {
    const struct wn_linear_task *task;
    struct wn_compressed *out;
    int bits;
    float levels; /* 2^bits - 1 */
    bool symmetric, round_zero, leave_one_out;
    double threshold; /* INFINITY: no outliers */
    float tau;
    int64_t group, n_groups, lanes, run;
    float *scales, *zeros; /* [n_groups, lanes] as the second level gives them back */
    struct wn_spqr_level level_of_scales, level_of_zeros;
    uint8_t *flags; /* [rows, columns] WN_SPQR_PRUNED, WN_SPQR_ROUNDED, WN_SPQR_OUTLIER */
};

/* ---- grids of the first level, a row per lane ---- */

struct wn_spqr_grids {
    float scale[WN_SOLVER_STRIP], zero[WN_SOLVER_STRIP];
    bool empty[WN_SOLVER_STRIP]; /* no weight but 0: the range says nothing */
};

/* clamp(round(w / scale + zero)); what is not a number gives 0. */
static inline float wn_spqr_code(float w, float scale, float zero, float levels)
{
    float code = rintf(w / scale + zero);

    code = code > 0.0f ? code : 0.0f;
    return code < levels ? code : levels;
}

static inline float wn_spqr_inverse_pivot(const struct wn_strip *strip, int64_t column)
{
    return 1.0f / strip->solver->upper[column * strip->solver->columns + column];
}

/* The grids of the group that begins at a column, by the weights that are no likely outliers. */
void wn_spqr_fit(const struct wn_spqr *state, const struct wn_strip *strip, int64_t column,
                 struct wn_spqr_grids *grids);
/* Rounds scales or zero points [lanes] of a group on the second level; none when its level has no bits. */
void wn_spqr_round(const struct wn_spqr *state, const struct wn_strip *strip, int64_t group, const bool *empty,
                   const struct wn_spqr_level *level, float *values);

#endif
