/* Norms, gated activations and additions, handed out in whole rows or fixed blocks. */
#include <winnow/nn.h>

#include "math.h"

#include <math.h>

enum { BLOCK = 4096, LANES = 16, SERIAL_WORK = 1 << 16 };

/* Sum of squares in double: element i goes to lane i % LANES, lanes are added in order. */
static double sum_of_squares(const float *x, int64_t count)
{
    double lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += (double)x[i + l] * x[i + l];
    for (int l = 0; i + l < count; l++)
        lanes[l] += (double)x[i + l] * x[i + l];
    double sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

void wn_rms_norm(const float *x, int64_t rows, int64_t width, const float *weight, double eps, float *y)
{
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_WORK)
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + r * width;
        float *to = y + r * width;
        float scale = (float)(1.0 / sqrt(sum_of_squares(from, width) / (double)width + eps));
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            to[i] = weight[i] * (from[i] * scale);
    }
}

void wn_rms_norm_ref(const float *x, int64_t rows, int64_t width, const float *weight, double eps, float *y)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++)
            sum += (double)x[r * width + i] * x[r * width + i];
        for (int64_t i = 0; i < width; i++)
            y[r * width + i] = (float)(weight[i] * (double)x[r * width + i] / sqrt(sum / (double)width + eps));
    }
}

static int64_t block_end(int64_t first, int64_t count)
{
    return first + BLOCK < count ? first + BLOCK : count;
}

void wn_silu_multiply(float *gate, const float *up, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > SERIAL_WORK)
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t end = block_end(first, count);
#pragma omp simd
        for (int64_t i = first; i < end; i++)
            gate[i] = gate[i] / (1.0f + nn_exp(-gate[i])) * up[i];
    }
}

void wn_silu_multiply_ref(float *gate, const float *up, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        gate[i] = (float)(gate[i] / (1.0 + exp(-(double)gate[i])) * up[i]);
}

void wn_add(float *hidden, const float *x, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > SERIAL_WORK)
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t end = block_end(first, count);
#pragma omp simd
        for (int64_t i = first; i < end; i++)
            hidden[i] += x[i];
    }
}
