/* SPDX-License-Identifier: Apache-2.0 */
/* run_sweep.h: a sweep that a test has written, prepared, or run on this rank alone. */
#ifndef WINNOW_TEST_RUN_SWEEP_H
#define WINNOW_TEST_RUN_SWEEP_H

#include <stdio.h>

#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "test.h"

/*
 * The sweep of a text, whose relative paths refer to the folder of `path`. NULL, with its problems on stderr, when it
 * asks for what cannot be or has not so many points. Collective; *sweep is closed behind the run.
 */
static inline struct wn_run *test_prepare(struct wn_par *par, const char *path, const char *text, int64_t points,
                                          struct wn_sweep **sweep)
{
    struct wn_problems problems;
    struct wn_run *run = NULL;
    wn_problems_init(&problems);
    CHECK_OK(wn_sweep_parse(path, text, &problems, sweep));
    if (*sweep)
        CHECK_OK(wn_prepare(par, *sweep, true, &problems, &run));
    for (int64_t i = 0; i < problems.count; i++)
        fprintf(stderr, "%s\n", problems.lines[i]);
    wn_problems_release(&problems);
    if (run)
        CHECK(run->grid.n_points == points);
    if (run && run->grid.n_points != points)
        wn_run_release(&run);
    return run;
}

/* Paths of a sweep of the demo model are "model" and "data/...". */
#define TEST_DEMO WN_SOURCE_DIR "/sweeps/demo/sweep.json"

/* What is checked of such a sweep, on this rank alone. */
static inline void test_demo_sweep(const char *text, int64_t points,
                                   void (*check)(struct wn_par *par, const struct wn_run *run))
{
    struct wn_sweep *sweep;
    struct wn_par *par;
    CHECK_OK(wn_linalg_start());
    wn_par_start_serial(&par);
    struct wn_run *run = test_prepare(par, TEST_DEMO, text, points, &sweep);
    if (run)
        check(par, run);
    wn_run_release(&run);
    wn_sweep_close(&sweep);
    wn_par_finish(&par);
}

/* What wn_run_sweep returns; -1 for a sweep that asks for what cannot be, with its problems on stderr. */
static inline int test_run_sweep(const char *path, const char *output)
{
    struct wn_problems problems;
    struct wn_sweep *sweep = NULL;
    struct wn_run *run = NULL;
    struct wn_par *par;
    int code = -1;
    wn_problems_init(&problems);
    wn_par_start_serial(&par);
    wn_sweep_read(path, &problems, &sweep);
    if (sweep && wn_prepare(par, sweep, true, &problems, &run) == WN_OK)
        code = wn_run_sweep(par, run, &(struct wn_run_options){.output = output, .quiet = true});
    for (int64_t i = 0; i < problems.count; i++)
        fprintf(stderr, "%s\n", problems.lines[i]);
    wn_run_release(&run);
    wn_sweep_close(&sweep);
    wn_problems_release(&problems);
    wn_par_finish(&par);
    return code;
}

#endif
