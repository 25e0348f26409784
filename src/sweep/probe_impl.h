/* SPDX-License-Identifier: Apache-2.0 */
/* probe_impl.h: what the files of the probes share. */
#ifndef WINNOW_PROBE_IMPL_H
#define WINNOW_PROBE_IMPL_H

#include "../point/point_impl.h"
#include "probe.h"

/* Numbers like those of a normal distribution, of variance `scale`^2. */
void wn_probe_fill(float *x, int64_t count, double scale);
/* Tries a recipe of every kind among the points of a model, on the linears of `block`; the first is the dense one. */
void wn_probe_recipes(const struct wn_run *run, int64_t m, const struct wn_model *model, const struct wn_block *block,
                      struct wn_model_cost *cost);

#endif
