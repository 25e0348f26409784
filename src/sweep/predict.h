/* SPDX-License-Identifier: Apache-2.0 */
/* predict.h: what the files that predict share. */
#ifndef WINNOW_PREDICT_H
#define WINNOW_PREDICT_H

#include "probe.h"

/* The share of the weights of the blocks that evaluation goes through (flops.c). */
double wn_kept_share(const struct wn_model *model, const struct wn_recipe *recipe);
/* Costs measured with `here` threads become those of `threads` (threads.c); a row is one of one thread already.
 * Loading, adding and decoding are left: they wait for memory. */
void wn_predict_threads(const struct wn_run *run, int64_t m, int here, int threads, struct wn_model_cost *cost);
/* Adds what the points of a model that read the dense pass need of each calibration set, and whether any does. */
void wn_dense_needs(const struct wn_run *run, int64_t m, unsigned *needs, bool *used);
/* Seconds become those that points of the same methods took in an earlier results file, per token (earlier.c). */
wn_status wn_predict_from(const struct wn_run *run, const char *path, struct wn_prediction *prediction);

#endif
