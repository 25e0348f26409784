/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold.h: scales of inputs (AWQ, SmoothQuant) on their way into a file. The codes of a linear are those of its weights
 * times the scale of every input; what makes the input is divided by it: the vector before (a norm weight and its
 * bias), or the rows of the linear before and its bias. As that linear comes first, a block is held until it is whole.
 * Private to src/export.
 */
#ifndef WINNOW_EXPORT_FOLD_H
#define WINNOW_EXPORT_FOLD_H

#include <winnow/model.h>

#include "coded.h"

struct wn_export_fold {
    const struct wn_model *model;
    int64_t block;                 /* that is held */
    int held;                      /* how many linears of it */
    struct wn_export_coded *coded; /* [n_linears] rows NULL: not there */
    float **input_scales;          /* [n_linears] NULL: none; owned */
    float **by;                    /* [tensors of the checkpoint] what a vector is divided by; NULL: nothing; owned */
    double *offset;                /* [tensors] what is added to what is stored of it (a norm's 1) */
};

void wn_export_fold_create(struct wn_export_fold *fold, const struct wn_model *model);
/* The tensors that a fold of this model may divide: true in divided [tensors]. */
void wn_export_fold_mark(const struct wn_export_fold *fold, bool *divided);
/*
 * Takes the codes of a linear; they belong to the fold then. *whole: it was the last one of its block; the scales have
 * been moved, and fold->coded is what a file gets. WN_ERR_UNSUPPORTED names a linear whose inputs nothing makes alone.
 */
wn_status wn_export_fold_take(struct wn_export_fold *fold, int64_t block, int linear, const char *name,
                              struct wn_export_coded *coded, const struct wn_compressed *compressed, bool *whole);
/* Forgets the block, behind its use. */
void wn_export_fold_next(struct wn_export_fold *fold);
/* count elements, from `first` on, of a tensor that is divided. */
void wn_export_fold_divide(const struct wn_export_fold *fold, int64_t tensor, int64_t first, int64_t count,
                           float *values);
/* Also of one that was never created, all zero. */
void wn_export_fold_release(struct wn_export_fold *fold);

#endif
