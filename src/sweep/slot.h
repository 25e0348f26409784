/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot.h: which point goes out next. The points of the lowest turn that are left come first, and of them the dearest
 * that fits into what is left of the time slot. When none fits, one is begun that can be saved between blocks or
 * inside one, and continued in the next slot (winnow/scratch.h), those that were saved before first; what cannot is
 * left for a longer slot.
 *
 * What a point takes is predicted from shapes and short runs (wn_predict), times what the points of its method have
 * taken so far over what was predicted for them. Without a limit all fit, and the order is by operations.
 *
 * On rank 0 alone, from one thread at a time: that of the queue's manager while the queue runs.
 */
#ifndef WINNOW_SLOT_H
#define WINNOW_SLOT_H

#include "sweep_impl.h"

struct wn_slot; /* opaque */

struct wn_slot_options {
    double end;            /* wn_seconds() by which a point must have ended; INFINITY: no limit */
    const bool *wanted;    /* [points] */
    const int *turn;       /* [points]; 0: first, then 1 ... */
    const double *seconds; /* [points] predicted; without a limit anything that orders them, as operations */
    const double *saved;   /* [points] blocks that are done and saved, with the share of the next; NULL: none */
    bool saves;            /* a point that does not fit can be saved */
};

/* Points that wait for a longer slot. */
struct wn_slot_waiting {
    int64_t count, point; /* point: the dearest of them; -1: none */
    double seconds;       /* that it needs */
};

/* Options are copied. */
struct wn_slot *wn_slot_start(const struct wn_run *run, const struct wn_slot_options *options);
/* A point that was finished earlier, or is now: its method takes so long. */
void wn_slot_measured(struct wn_slot *slot, int64_t point, double seconds);
/* What a point is predicted to take by now. */
double wn_slot_seconds(const struct wn_slot *slot, int64_t point);
/* The next point, -1: none is left, or none that may begin now. A wn_queue_chooser; `slot` is a struct wn_slot. Takes
 * some microseconds, whatever the number of points. */
int64_t wn_slot_next(void *slot);
/* Points that were never given out. */
void wn_slot_waits(const struct wn_slot *slot, struct wn_slot_waiting *waiting);
void wn_slot_finish(struct wn_slot **slot); /* NULL is fine */

#endif
