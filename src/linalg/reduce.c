/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over long arrays with an order that is fixed by the code: lanes inside a block, blocks one after the other. */
#include <winnow/linalg.h>

#include <math.h>
#include <string.h>

enum { BLOCK = 4096, LANES = 8, PANEL = 128, SERIAL_WORK = 1 << 16 };

void wn_add_column_squares(const float *x, int64_t rows, int64_t columns, double *sums)
{
#pragma omp parallel for schedule(dynamic) if (rows * columns > SERIAL_WORK && columns > PANEL)
    for (int64_t first = 0; first < columns; first += PANEL) {
        int64_t end = first + PANEL < columns ? first + PANEL : columns;
        for (int64_t r = 0; r < rows; r++)
            /* The square of a float is exact in double: fused or not, the sum is the same. */
            for (int64_t c = first; c < end; c++)
                sums[c] += (double)x[r * columns + c] * x[r * columns + c];
    }
}

void wn_add_column_magnitudes(const float *x, int64_t rows, int64_t columns, double *sums)
{
#pragma omp parallel for schedule(dynamic) if (rows * columns > SERIAL_WORK && columns > PANEL)
    for (int64_t first = 0; first < columns; first += PANEL) {
        int64_t end = first + PANEL < columns ? first + PANEL : columns;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = first; c < end; c++)
                sums[c] += fabs((double)x[r * columns + c]);
    }
}

/* Magnitudes are compared as bit patterns: in the order of the numbers, infinity and NaN above them. */
static void take_maxima(const float *x, int64_t count, float *maxima)
{
    for (int64_t c = 0; c < count; c++) {
        int32_t size, largest;
        memcpy(&size, &x[c], sizeof size);
        memcpy(&largest, &maxima[c], sizeof largest);
        size &= INT32_MAX;
        largest = size > largest ? size : largest;
        memcpy(&maxima[c], &largest, sizeof largest);
    }
}

void wn_take_column_maxima(const float *x, int64_t rows, int64_t columns, float *maxima)
{
#pragma omp parallel for schedule(dynamic) if (rows * columns > SERIAL_WORK && columns > PANEL)
    for (int64_t first = 0; first < columns; first += PANEL) {
        int64_t count = first + PANEL < columns ? PANEL : columns - first;
        for (int64_t r = 0; r < rows; r++)
            take_maxima(x + r * columns + first, count, maxima + first);
    }
}

/* Element i goes to lane i % LANES; lanes are added in order. */
static double block_sum(const float *a, const float *b, int64_t count)
{
    double lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++) {
            double d = (double)a[i + l] - (b ? b[i + l] : 0.0f);
            lanes[l] += d * d;
        }
    for (int l = 0; i + l < count; l++) {
        double d = (double)a[i + l] - (b ? b[i + l] : 0.0f);
        lanes[l] += d * d;
    }
    double sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

double wn_sum_squared_difference(const float *a, const float *b, int64_t count)
{
    int64_t n_blocks = (count + BLOCK - 1) / BLOCK;
    if (count <= SERIAL_WORK) {
        double sum = 0;
        for (int64_t k = 0; k < n_blocks; k++)
            sum += block_sum(a + k * BLOCK, b ? b + k * BLOCK : NULL, k + 1 < n_blocks ? BLOCK : count - k * BLOCK);
        return sum;
    }
    double *sums = wn_alloc(n_blocks, sizeof *sums);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < n_blocks; k++)
        sums[k] = block_sum(a + k * BLOCK, b ? b + k * BLOCK : NULL, k + 1 < n_blocks ? BLOCK : count - k * BLOCK);
    double sum = 0;
    for (int64_t k = 0; k < n_blocks; k++)
        sum += sums[k];
    wn_free(sums);
    return sum;
}

/* A float is not finite when all bits of its exponent are set. */
static bool block_is_finite(const float *x, int64_t count)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

bool wn_all_finite(const float *x, int64_t count)
{
    int bad = 0;
#pragma omp parallel for schedule(static) reduction(| : bad) if (count > SERIAL_WORK)
    for (int64_t first = 0; first < count; first += BLOCK)
        bad |= !block_is_finite(x + first, first + BLOCK < count ? BLOCK : count - first);
    return !bad;
}
