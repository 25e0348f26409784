/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in order, and percentiles of them. */
#include <winnow/base.h>

#include <math.h>
#include <stdlib.h>

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    if (isnan(left) || isnan(right))
        return (isnan(left) != 0) - (isnan(right) != 0);
    return (left > right) - (left < right);
}

void wn_sort_doubles(double *values, int64_t count)
{
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
}

double wn_percentile(const double *sorted, int64_t count, double q)
{
    const double at = q * (double)(count - 1);
    const int64_t below = (int64_t)at;
    if (count == 0)
        return (double)NAN;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}
