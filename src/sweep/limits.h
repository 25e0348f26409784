/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.h: memory of a run, by the formulas that allocate, and what the nodes have for it.
 */
#ifndef WINNOW_LIMITS_H
#define WINNOW_LIMITS_H

#include "sweep_impl.h"

/* In bytes, of every point [points], owned; `before` and `point` are of one rank, and not at the same time. */
struct wn_memory {
    int64_t before, point; /* of the dense pass and what else comes before the points; of the largest point */
    int64_t turn;          /* most bytes of a point that one rank of a node takes at a time; not part of `point` */
    int64_t shared;        /* of a node: dense states and statistics, and sums of the pass */
    int64_t grid;          /* of every rank, from the start on */
    int64_t largest;       /* which point */
    char what_before[160];
    struct wn_point_need *points;
};
/* With `ranks` ranks on a node. Release. */
void wn_predict_memory(const struct wn_run *run, int ranks, struct wn_memory *memory);
void wn_memory_release(struct wn_memory *memory);
/* The larger of `before` and `point`, and what it is for, in words. */
int64_t wn_memory_rank(const struct wn_run *run, const struct wn_memory *memory, char what[160]);

/*
 * Collective, before the first point: compares the wanted points [points] with what each node, its cgroups, the job and
 * the limits of a process have left. WN_ERR_INPUT names the node, the limit, numbers and how many ranks fit; with
 * `force` that is a warning. Points of more than *most bytes fit on no rank, also alone: they are not counted here, and
 * not to be computed. Never a dense point, or all that are not.
 */
wn_status wn_memory_check(struct wn_par *par, const struct wn_run *run, const bool *wanted, bool force, int64_t *most);
/* The same before a results file that is not there is made: for all points, or those of `only` [points]. */
wn_status wn_memory_check_new(struct wn_par *par, const struct wn_run *run, const struct wn_run_options *options,
                              const bool *only);
/* Collective: wanted points of more than `most` bytes become failed rows, and are wanted no more. */
wn_status wn_memory_fail_large(struct wn_par *par, const struct wn_run *run, struct wn_results *results, int64_t most,
                               bool *wanted);
/* A line on this machine, as far as `ranks` ranks, for which `memory` was predicted, do not fit on it: owned by the
 * caller. NULL: they fit. Not collective. */
char *wn_memory_advice(const struct wn_run *run, const struct wn_memory *memory, int ranks);

#endif
