/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order "spearman" of the published code of SpQR: a chain of nearest neighbours. Ranks of a column are a
 * permutation, so that all columns have the same norm once centred, and products of ranks order as correlations do.
 */
#include "spearman.h"

#include <winnow/linalg.h>

#include <stdlib.h>

struct entry {
    float weight;
    int32_t row;
};

static int compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->weight != y->weight)
        return x->weight < y->weight ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* ranks [columns, rows]: twice the rank of a row less its mean, an integer. */
static void rank_columns(const float *weight, int64_t rows, int64_t columns, float *ranks)
{
#pragma omp parallel
    {
        struct entry *entries = wn_alloc(rows, sizeof *entries);
#pragma omp for schedule(static)
        for (int64_t j = 0; j < columns; j++) {
            for (int64_t r = 0; r < rows; r++)
                entries[r] = (struct entry){weight[r * columns + j], (int32_t)r};
            qsort(entries, (size_t)rows, sizeof *entries, compare);
            for (int64_t r = 0; r < rows; r++)
                ranks[j * rows + entries[r].row] = (float)(2 * r - (rows - 1));
        }
        wn_free(entries);
    }
}

void wn_spearman_order(const float *weight, int64_t rows, int64_t columns, int64_t *order)
{
    float *ranks = wn_alloc(rows * columns, sizeof *ranks), *products = wn_alloc(columns * columns, sizeof *products);

    rank_columns(weight, rows, columns, ranks);
    wn_linear(ranks, columns, rows, ranks, columns, NULL, products);
    for (int64_t i = 0; i < columns; i++)
        order[i] = i;
    for (int64_t i = 0; i + 2 < columns; i++) {
        const float *near = products + order[i] * columns;
        int64_t best = i + 1, column;
        for (int64_t p = i + 2; p < columns; p++)
            best = near[order[p]] > near[order[best]] ? p : best;
        column = order[best];
        order[best] = order[i + 1];
        order[i + 1] = column;
    }
    wn_free(products);
    wn_free(ranks);
}
