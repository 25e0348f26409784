/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pass.h: the shared dense pass of one model, split by what its files do; private to reference.c, quantized.c and
 * pass_*.c.
 */
#ifndef WINNOW_POINT_PASS_H
#define WINNOW_POINT_PASS_H

#include <winnow/scratch.h>

#include "units.h"

struct wn_pass {
    struct wn_par *par; /* NULL: only memory is asked for */
    const struct wn_run *run;
    const struct wn_prepared_model *prepared;
    int64_t model_index;
    struct wn_units units;
    struct wn_shared *states, *loss, *greedy, *generated, *statistics;
    int64_t batches;                    /* most of a set whose texts are generated */
    struct wn_kept_blocks kept;         /* on ranks that generate */
    unsigned *needs;                    /* [calibrations] */
    struct wn_outlier_shares *outliers; /* [calibrations] */
    struct wn_shared partial;           /* a slot for each rank of the node that has groups: sums of one of them */
    int64_t slot_bytes, slots;          /* most of any node */
    int *slot;                          /* [ranks] */
    /* Of a pass behind other blocks than the dense ones: room for the largest unit, on which statistics are taken,
     * while the hidden states stay for wn_pass_push. NULL: blocks push them. */
    float *copy;
    int64_t number;          /* in the names of its states: the model, or one of its own */
    const char *title;       /* in messages, and part of what its states are of */
    int64_t group_rows;      /* what scratch is for */
    float *scratch, *before; /* `before` only when drop scores are needed: see struct wn_statistics_tap */
    int64_t *offset;
    struct wn_saver *saver; /* NULL: nothing is saved */
    int64_t saved;          /* blocks that are done in the states on scratch; 0: none */
    bool safe;              /* saved since a stop was requested */
    bool late;              /* no more texts are begun */
    double start, last;     /* when the pass of the first model began; seconds of the last block */
};

/* ---- units and sums over calibration groups (pass_sums.c) ---- */

bool wn_pass_is_mine(const struct wn_pass *pass, const struct wn_unit *unit);
/* Hidden states of my units before the first block. */
void wn_pass_embed(struct wn_pass *pass);
/* Slots of partial sums, for ranks that have groups. */
void wn_pass_deal_slots(struct wn_pass *pass);
int64_t wn_pass_statistics_bytes(const struct wn_pass *pass, int64_t calibration);
void *wn_pass_statistics(const struct wn_pass *pass, int64_t calibration, int64_t block);
/* All units through a block, and what is summed on the way, on all nodes. block NULL on ranks without units.
 * Collective. */
void wn_pass_run_block(struct wn_pass *pass, const struct wn_block *block, int64_t block_index);
/* My units through a block, which statistics were not taken of. */
void wn_pass_push(struct wn_pass *pass, const struct wn_block *block);
/* Who counts the outliers of a set with its multiple of that number: a rank that has the block. */
int wn_pass_outlier_owner(const struct wn_pass *pass, int64_t calibration, int64_t multiple);
/* Collective. */
void wn_pass_share_outliers(struct wn_pass *pass);

/* ---- what a stop leaves (pass_saved.c) ---- */

enum wn_direction { WN_TO_SCRATCH, WN_FROM_SCRATCH, WN_FORGET };
/* A state of the pass and what it is of. Both texts are of the caller. */
struct wn_state wn_pass_state(const struct wn_pass *pass, const char *name, const char *what, int64_t step);
/* Saves, reads or removes one state. */
wn_status wn_pass_move_state(const struct wn_pass *pass, enum wn_direction direction, const struct wn_state *state,
                             void *data, int64_t bytes);
/* Everything behind `step` blocks; then what was saved before is not needed any more. Collective. */
wn_status wn_pass_save(struct wn_pass *pass, int64_t step);
/* Goes on where an earlier start stopped: returns the blocks that are done. Collective. */
int64_t wn_pass_resume(struct wn_pass *pass);
/* Blocks that are in the states, where they have to be kept. */
wn_status wn_pass_keep_blocks(struct wn_pass *pass, struct wn_block *block, int64_t end);
/* Saves when it is asked for, and stops when the next blocks would end too late. Collective. */
wn_status wn_pass_end_block(struct wn_pass *pass, int64_t done);
/* What all blocks have left is kept when it was long in the making: points come next, and a stop may come before they
 * get anywhere. Collective. */
wn_status wn_pass_keep(struct wn_pass *pass);

/* ---- what evaluation sets get (pass_sets.c) ---- */

/* What was computed of all sets; texts that cannot be generated do not keep others from being shared. Collective. */
wn_status wn_pass_share_sets(struct wn_pass *pass);

#endif
