/* SPDX-License-Identifier: Apache-2.0 */
/* second_order.h: what SparseGPT and GPTQ share besides the solver: parameters, the factor, the call. */
#ifndef WINNOW_SECOND_ORDER_H
#define WINNOW_SECOND_ORDER_H

#include <winnow/method.h>

#include "solver.h"

#define WN_PERCDAMP_PARAMETER                                                                                          \
    {                                                                                                                  \
        .name = "percdamp", .type = WN_NUMBER, .standard = "0.01", .low = 0, .high = 1, .unit = "1",                   \
        .help = "damping added to the diagonal of H, relative to its mean"                                             \
    }

/* What the walk does for it: wn_recipe_true_sequential. */
#define WN_TRUE_SEQUENTIAL_PARAMETER                                                                                   \
    {                                                                                                                  \
        .name = "true_sequential", .type = WN_BOOL, .standard = "false", .quiet = true,                                \
        .help = "inside a block, linears behind others are calibrated on the outputs of those compressed (q, k, v; "   \
                "o; gate, up; down: one pass over the set for each); only with propagation sequential"                 \
    }

/*
 * Factors the second moments of the task (or finds the factor in their cache), runs the rule over the columns, records
 * damping and dead columns in out. `prepare` is called when the factor is known, before the sweep; it may be NULL.
 */
struct wn_second_order {
    const struct wn_linear_task *task;
    enum wn_column_order column_order;
    struct wn_solver_rule rule;
    void (*prepare)(void *context, const struct wn_factor *factor);
    uint8_t *keep;   /* where the solver writes masks: out->keep or NULL */
    bool damp_first; /* see struct wn_factor */
    /* [columns] with column_order WN_ORDER_GIVEN and damp_first: a factor of this linear alone. */
    const int64_t *order;
};
wn_status wn_second_order_run(const struct wn_second_order *run, struct wn_compressed *out);

#endif
