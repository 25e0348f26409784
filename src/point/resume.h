/* SPDX-License-Identifier: Apache-2.0 */
/* resume.h: a point that is left between two blocks or inside one, and goes on there in a later start; private to
 * src/point. */
#ifndef WINNOW_POINT_RESUME_H
#define WINNOW_POINT_RESUME_H

#include <winnow/scratch.h>

#include "walk.h"

/* All that a walk has; borrowed. */
struct wn_between {
    const struct wn_subject *subject;
    struct wn_workspace *workspace;
    struct wn_collector *collector;
    struct wn_sample *sample;
    struct wn_compressor *compressor;
    struct wn_recorder *recorder;
    struct wn_evaluation *evaluation;
    double *seconds; /* [WN_STAGES] */
    double *before;  /* seconds of earlier starts */
};

/* When to stop, and what is saved already. */
struct wn_resume {
    struct wn_saver *saver; /* NULL: no stop is looked for */
    int64_t n_blocks;
    double done;  /* blocks that are in the state on scratch, with the share of the one in work */
    int64_t kept; /* kept blocks that are on scratch */
    double start; /* when this start began with the point */
    double last;  /* when its last block, and */
    double saved; /* when its last state was finished */
    bool safe;    /* saved since a stop was requested */
    double block; /* seconds of the slowest block of this start */
    double piece; /* of the slowest piece of work between two places where it can be left */
    double place; /* when it last was at such a place */
    double begun; /* share of the block in work that an earlier start has done */
};

/* Reads the state of an earlier start into all parts; the blocks that are done: 0 when there is none, -1 when it cannot
 * be used and the parts have to be made again. *place: where in the next block, all 0 at its beginning. */
int64_t wn_resume_begin(struct wn_resume *resume, const struct wn_between *between, struct wn_place *place);
/*
 * Behind `done` blocks: goes on, or saves where that is asked for from time to time, or WN_ERR_INTERRUPTED: everything
 * is saved and there is no time for more. Where it cannot be saved the point goes on.
 */
wn_status wn_resume_check(struct wn_resume *resume, const struct wn_between *between, int64_t done);
/* The same at a place inside the block behind them, of which about the share `inside` is done. */
wn_status wn_resume_inside(struct wn_resume *resume, const struct wn_between *between, int64_t done,
                           const struct wn_place *place, double inside);
/* Between batches of texts: there are no `seconds` more before the end, or what a request to stop leaves. */
bool wn_resume_has_to_stop(const struct wn_resume *resume, double seconds);
/* Saves what is there behind all blocks, with texts that may be incomplete; WN_ERR_INTERRUPTED, or WN_OK when it cannot
 * be saved. */
wn_status wn_resume_leave(struct wn_resume *resume, const struct wn_between *between);

#endif
