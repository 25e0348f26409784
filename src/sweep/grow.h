/* SPDX-License-Identifier: Apache-2.0 */
/* grow.h: what a sweep can take over from older results files. Private to src/sweep. */
#ifndef WINNOW_SWEEP_GROW_H
#define WINNOW_SWEEP_GROW_H

#include "sweep_impl.h"

struct wn_growth {
    const struct wn_run *run;
    const struct wn_texts *from; /* results files, in the order of the command line */
    const char *arithmetic;      /* of this run, as in /starts */
    bool mix_arithmetic;
};

/*
 * A wn_results_chooser; context: struct wn_growth. Takes rows from `from`, and from an existing file, which is replaced
 * when it holds a sweep that has grown: all of its finished rows with all of their evaluations come over. Says what it
 * does. WN_ERR_INPUT when a file of `from` cannot be read or has nothing of use, and when arithmetics would be mixed.
 */
wn_status wn_grow_choose(void *context, const char *existing, struct wn_take_over *take);

/* The part of a row (struct wn_take_over) that a field belongs to: 0, or 1 + evaluation. */
int wn_row_part(const struct wn_run *run, const char *path);

#endif
