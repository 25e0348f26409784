/* SPDX-License-Identifier: Apache-2.0 */
/* Small spaces of every kind, errors that are a function of gene and level, and a fitness that adds them up. */
#ifndef WINNOW_TEST_SPACES_H
#define WINNOW_TEST_SPACES_H

#include "test.h"

#include <winnow/search.h>

enum { LINEARS = 7, WIDTH = 16 };

/* Shapes like those of a block with grouped heads: sizes 4, 1, 1, 4, 11, 11, 11 times 64 weights. */
static const int64_t linear_weights[LINEARS] = {256, 64, 64, 256, 704, 704, 704};
static const bool linear_in_mlp[LINEARS] = {false, false, false, false, true, true, true};

static inline struct wn_space_request test_request(enum wn_space_kind kind, int64_t n_blocks, double target)
{
    return (struct wn_space_request){.kind = kind,
                                     .n_blocks = n_blocks,
                                     .hidden = WIDTH,
                                     .n_linears = LINEARS,
                                     .weights = linear_weights,
                                     .in_mlp = linear_in_mlp,
                                     .target = target,
                                     .levels = 8,
                                     .bits = WN_BITS_STANDARD};
}

/* Random whole number below 2^bits. */
static inline double test_whole(uint64_t seed, uint64_t stream, uint64_t index, int bits)
{
    return (double)(wn_random_u64(seed, stream, index) >> (64 - bits));
}

/* Errors that grow with what is taken away, [n_genes, high - low + 1]. Whole numbers: sums are exact, in any language.
 */
static inline double *test_errors(const struct wn_space *space, uint64_t seed)
{
    int64_t levels = space->high - space->low + 1;
    double *errors = wn_alloc(space->n_genes * levels, sizeof *errors), sign = space->kind == WN_SPACE_BITS ? -4 : 4;

    for (int64_t i = 0; i < space->n_genes; i++) {
        double weight = test_whole(seed, (uint64_t)i, 1000, 10);
        for (int64_t l = 0; l < levels; l++)
            errors[i * levels + l] =
                weight * (sign * (double)(space->low + l) + 36) + test_whole(seed, (uint64_t)i, (uint64_t)l, 10);
    }
    return errors;
}

#endif
