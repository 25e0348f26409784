/* SPDX-License-Identifier: Apache-2.0 */
/* nn_test.h: arrays for the tests of nn. */
#ifndef WINNOW_TESTS_NN_TEST_H
#define WINNOW_TESTS_NN_TEST_H

#include <winnow/nn.h>

#include "test.h"

static inline float *random_floats(int64_t count, uint64_t stream, double scale)
{
    float *x = wn_alloc(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(scale * (2 * wn_random_uniform(11, stream, (uint64_t)i) - 1));
    return x;
}

static inline float *copy_of(const float *x, int64_t count)
{
    float *copy = wn_alloc(count, sizeof *copy);
    memcpy(copy, x, (size_t)count * sizeof *copy);
    return copy;
}

static inline double worst_difference(const float *a, const float *b, int64_t count)
{
    double worst = 0;
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - b[i]);
        worst = difference <= worst ? worst : difference;
    }
    return worst;
}

static inline bool same_bits(const float *a, const float *b, int64_t count)
{
    return !memcmp(a, b, (size_t)count * sizeof *a);
}

#endif
