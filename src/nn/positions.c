/* SPDX-License-Identifier: Apache-2.0 */
/* Positions by slopes (ALiBi). */
#include <winnow/nn.h>

#include <math.h>

void wn_alibi_slopes(int64_t heads, float *slopes)
{
    int64_t power = 1;
    while (2 * power <= heads)
        power *= 2;
    for (int64_t h = 0; h < heads; h++) {
        double exponent =
            h < power ? -8.0 * (double)(h + 1) / (double)power : -4.0 * (double)(2 * (h - power) + 1) / (double)power;
        slopes[h] = (float)exp2(exponent);
    }
}
