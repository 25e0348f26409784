/* SPDX-License-Identifier: Apache-2.0 */
/* progress_impl.h: shared by progress.c (lines, thread, what ranks report), progress_left.c and progress_file.c. */
#ifndef WINNOW_PROGRESS_IMPL_H
#define WINNOW_PROGRESS_IMPL_H

#include <pthread.h>

#include "progress.h"

/* What a rank works on, as far as it has told. */
struct wn_progress_worker {
    int64_t job;                  /* -1: nothing */
    int64_t step, steps, first;   /* first: steps of earlier starts */
    double since, heard, at_step; /* at_step: seconds into the job when `step` was finished */
    bool left;
};

/* Points of one method: predicted operations differ from seconds by a factor that is measured for each. */
struct wn_progress_kind {
    double open, flops, seconds; /* operations not done yet; done, and how long they took */
};

struct wn_progress {
    const struct wn_run *run;
    char *path, *partial; /* FILE.h5.progress, and its temporary name */
    char **names;         /* [points] */
    char (*hosts)[WN_HOST_TEXT];
    bool terminal, quiet, verbose, at_points;
    int64_t wanted, done, failed; /* done: of this run, failed ones among them */
    int64_t saved, waiting;       /* left for a later start: in work, and not begun */
    double *flops;                /* [points] */
    int *kind_of;                 /* [points] */
    struct wn_progress_kind *kinds;
    int64_t n_kinds;
    struct wn_progress_worker *workers; /* [ranks] */
    int ranks, threads;
    int64_t dense_first, dense_done, dense_all; /* first: done by an earlier start */
    double dense_start;
    int64_t search, generation, searched; /* search in work, -1: none; its last generation; generations of this run */
    double fitness, search_seconds;       /* search_seconds: of those generations */
    double start, points_start, drawn, said, written, tokens, last_write; /* last_write: seconds since 1970 */
    double started;
    bool stop;
    pthread_t thread;
    bool threaded;
    pthread_mutex_t mutex;
};

/* Callers hold the mutex. */

/* Work in flight counts by its share: *share of all work of this run is done. NaN: nothing is known yet; all four. */
double wn_progress_seconds_left(const struct wn_progress *p, double now, double *share);
double wn_progress_dense_left(const struct wn_progress *p, double now);
double wn_progress_search_left(const struct wn_progress *p);
double wn_progress_search_rate(const struct wn_progress *p); /* candidate tokens per second */
double wn_progress_tokens_per_second(const struct wn_progress *p, double now);

/* The text of the file, for cJSON_free; it is written every so many seconds, without the mutex. */
char *wn_progress_describe(const struct wn_progress *p, double now);
double wn_progress_file_seconds(const struct wn_progress *p);
void wn_progress_write_file(const struct wn_progress *p, const char *text);

#endif
