/* SPDX-License-Identifier: Apache-2.0 */
/* run_sweep.h: a sweep that a test has written, run on this rank alone. */
#ifndef WINNOW_TEST_RUN_SWEEP_H
#define WINNOW_TEST_RUN_SWEEP_H

#include <stdio.h>

#include <winnow/sweep.h>

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
