/* SPDX-License-Identifier: Apache-2.0 */
/* probe_impl.h: what the files of the probes share. */
#ifndef WINNOW_PROBE_IMPL_H
#define WINNOW_PROBE_IMPL_H

#include "../point/point_impl.h"
#include "probe.h"

/* Numbers like those of a normal distribution, of variance `scale`^2. */
void wn_probe_fill(float *x, int64_t count, double scale);

/* Operations of a run that a probe may take: together about a second. */
#define WN_PROBE_OPERATIONS 16e9
/* Rows of a probe where nothing asks for more. */
#define WN_PROBE_ROWS 512

/* Made-up weights of a block. */
struct wn_block *wn_probe_block_create(const struct wn_model *model);
void wn_probe_block_destroy(struct wn_block **block, const struct wn_model *model);
/* Sequences of `length` tokens each, of so many rows in all. Released by the caller. */
void wn_probe_sequences(struct wn_sequences *sequences, int64_t rows, int64_t length);
/* By how much a model is made narrower, so that so many rows of a block are within the operations. */
int64_t wn_probe_narrower(const struct wn_model *model, int64_t rows);
/* The model with all widths divided by `by`; embedding and head are read as if they were as narrow. */
struct wn_model wn_probe_narrow(const struct wn_model *model, int64_t by);
/* What a row of a block takes, and a pair of positions. */
void wn_probe_rows(const struct wn_model *model, struct wn_model_cost *cost);

/*
 * Inputs, and linears, of a block that cost the same: the first of them stands for all. Counts are those of the mean
 * block, since some models have experts in some of their blocks; 0: another one stands for it.
 */
struct wn_probe_kinds {
    int input[WN_MAX_INPUTS], linear[WN_MAX_LINEARS]; /* which one stands for it */
    double inputs[WN_MAX_INPUTS], linears[WN_MAX_LINEARS];
};
void wn_probe_kinds(const struct wn_model *model, struct wn_probe_kinds *kinds);

/* Tries a recipe of every kind among the points of a model, on the linears of `block`; the first is the dense one. */
void wn_probe_recipes(const struct wn_run *run, int64_t m, const struct wn_model *model, const struct wn_block *block,
                      const struct wn_probe_kinds *kinds, struct wn_model_cost *cost);

#endif
