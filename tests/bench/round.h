/* SPDX-License-Identifier: Apache-2.0 */
/* round.h: a linear as codes, for benchmarks. */
#ifndef WINNOW_TESTS_BENCH_ROUND_H
#define WINNOW_TESTS_BENCH_ROUND_H

#include <winnow/method.h>

/* Gives form->weight, and the form, codes by round to nearest in groups that divide the columns. */
static inline void round_weights(struct wn_compressed *form, int bits, int64_t group, bool symmetric)
{
    const int64_t count = form->rows * form->columns;
    float *weight = form->weight;
    form->bits = bits;
    form->group = group;
    form->n_groups = form->columns / group;
    form->codes = wn_alloc(count, 1);
    form->scales = wn_alloc(count / group, sizeof(float));
    form->zeros = wn_alloc(count / group, sizeof(float));
    for (int64_t i = 0; i < count; i += group) {
        const struct wn_grid grid = wn_grid_fit(weight + i, group, bits, symmetric);
        form->scales[i / group] = grid.scale;
        form->zeros[i / group] = grid.zero;
        for (int64_t j = i; j < i + group; j++) {
            form->codes[j] = (uint8_t)wn_grid_code(&grid, weight[j]);
            weight[j] = wn_grid_value(&grid, form->codes[j]);
        }
    }
}

#endif
