/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units.h: what ranks split: a unit is a run of whole chunks of a set. Its numbers do not depend on who computes it,
 * and sums over units are added in a fixed order, so results are the same for any number of ranks. The dense pass deals
 * them; private to src/point.
 */
#ifndef WINNOW_POINT_UNITS_H
#define WINNOW_POINT_UNITS_H

#include "point_impl.h"

struct wn_unit {
    const struct wn_sequences *sequences;
    int64_t set, calibration; /* one of them is -1 */
    int64_t chunk, chunks, row, tokens;
    double work;   /* against that of a token that only goes through the blocks */
    int owner;     /* rank */
    float *hidden; /* [tokens, hidden], only at the owner */
};

struct wn_units {
    struct wn_par *par; /* NULL: only memory is asked for, as if all ranks were of one node */
    int ranks;
    int64_t count, counted, workers; /* of all units the first are groups, dealt in rounds of `workers` */
    struct wn_unit *items;           /* [count] */
};

/* A unit of the chunks first .. end - 1, with `work` per token. */
void wn_units_add(struct wn_units *units, const struct wn_sequences *sequences, int64_t set, int64_t calibration,
                  int64_t first, int64_t end, double work);
/* Groups in rounds, forwards and backwards over ranks spread evenly over the nodes; then every part to the rank that
 * has least to do. A function of the data and of the ranks and nodes. */
void wn_units_deal(struct wn_units *units);
void wn_units_release(struct wn_units *units);
int wn_units_node(const struct wn_units *units, int rank);
bool wn_units_any(const struct wn_units *units, int rank); /* whether it has one */

#endif
