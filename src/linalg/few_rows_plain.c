/* SPDX-License-Identifier: Apache-2.0 */
/* few_rows_plain.c: the kernel for few rows as it is defined; those of instruction sets give its bits. */
#include "few_rows.h"

#include <math.h>

static void wide(const float *const *w, int64_t in, const float *turned, int64_t padded, float *sums)
{
    for (int64_t r = 0; r < padded; r++)
        sums[r] = 0;
    for (int64_t k = 0; k < in; k++)
        for (int64_t r = 0; r < padded; r++)
            sums[r] = fmaf(turned[k * padded + r], w[0][k], sums[r]);
}

const struct few_kernels few_plain = {.wide = wide, .lanes = 4, .columns = 1};
