/* Positions other than by rotation. */
#include <winnow/nn.h>

#include <math.h>

enum { SERIAL_WORK = 1 << 16 };

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

void wn_add_positions(const float *table, int64_t first, int64_t width, int64_t n_sequences, const int64_t *offset,
                      const int64_t *start, float *hidden)
{
#pragma omp parallel for schedule(static) if (offset[n_sequences] * width > SERIAL_WORK)
    for (int64_t s = 0; s < n_sequences; s++)
        for (int64_t r = offset[s]; r < offset[s + 1]; r++) {
            const float *from = table + (first + (start ? start[s] : 0) + r - offset[s]) * width;
#pragma omp simd
            for (int64_t i = 0; i < width; i++)
                hidden[r * width + i] += from[i];
        }
}
