/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.h: what a run says while it works, on rank 0: lines, or one line on a terminal; and FILE.h5.progress, which
 * `winnow status` reads, written anew every few seconds under a temporary name and renamed, removed at the end.
 *
 * A thread of its own draws and writes, so both go on while all other threads are inside a long block. The events come
 * from the manager thread of the queue; with one rank, from the thread that computes.
 */
#ifndef WINNOW_PROGRESS_H
#define WINNOW_PROGRESS_H

#include "sweep_impl.h"

struct wn_progress; /* opaque */

struct wn_progress_options {
    const char *output;          /* the results file */
    bool quiet, verbose;         /* verbose: whole keys in place of short names */
    const bool *wanted;          /* [points] to be computed now */
    const double *flops;         /* [points] operations: how the time left is shared out */
    char (*hosts)[WN_HOST_TEXT]; /* [ranks]; taken over */
    int ranks, threads;
};

/* Not collective: rank 0. Options are copied; `wanted` and `flops` too. */
struct wn_progress *wn_progress_start(const struct wn_run *run, const struct wn_progress_options *options);
/* Removes FILE.h5.progress. NULL is fine. */
void wn_progress_finish(struct wn_progress **progress);

/* Removes what a run left that was killed behind its last point. Not collective: rank 0. */
void wn_progress_forget(const char *output);

/* Blocks of the dense pass (struct wn_watcher with point -1). */
void wn_progress_dense(struct wn_progress *progress, int64_t done, int64_t all);
/* Generation `generation` of a search is stored; it took `seconds`, 0: in an earlier start, and `fitness` is not known.
 */
void wn_progress_search(struct wn_progress *progress, int64_t search, int64_t generation, double fitness,
                        double seconds);
/* The listener of the queue; `context` is the progress. */
wn_queue_listener wn_progress_listen;

/* Points that cannot begin in what is left of the slot; `point`, the dearest of them, needs `seconds`. */
void wn_progress_waits(struct wn_progress *progress, int64_t count, int64_t point, double seconds);
/* A point was written or saved. */
bool wn_progress_got_on(struct wn_progress *progress);

/* Seconds left, NaN when nothing is known yet, and the share of the work of this run that is done, that in flight by
 * its share. */
double wn_progress_left(struct wn_progress *progress, double *share);

#endif
