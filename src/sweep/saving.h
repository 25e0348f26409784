/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saving.h: the time slot of a start, what it may save, and what earlier starts have saved and measured: gathered on
 * rank 0 before the first point, and shared.
 */
#ifndef WINNOW_SAVING_H
#define WINNOW_SAVING_H

#include <winnow/scratch.h>

#include "sweep_impl.h"

struct wn_saving {
    struct wn_saver saver; /* of this rank */
    bool limited;          /* the end of the slot is known */
    double length;         /* seconds of the slot; INFINITY: not known */
    double fits;           /* wn_seconds() by which a point must end so that it fits; INFINITY: not known */
    /* rank 0 alone, [points] each, owned: */
    double *saved;   /* blocks of open points that are saved, with the share of the next */
    double *seconds; /* predicted; operations where no limit is known */
    double *earlier; /* seconds that points took in earlier starts with as many threads; NaN: not known */
};

/* Collective, before the results file is opened. `key` is what numbers depend on besides points, in words. */
void wn_saving_open(struct wn_par *par, const struct wn_run *run, const struct wn_run_options *options, const char *key,
                    struct wn_saving *saving);
/*
 * Collective, when the points to be computed are known: looks for their states, predicts their times where there is a
 * limit, and removes states of points that are not open. `status` [points] is that of the results file.
 */
void wn_saving_prepare(struct wn_par *par, const struct wn_run *run, const bool *wanted, const uint8_t *status,
                       struct wn_saving *saving);
void wn_saving_release(struct wn_saving *saving);

#endif
