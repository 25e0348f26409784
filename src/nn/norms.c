/* SPDX-License-Identifier: Apache-2.0 */
/* Norms of rows: sums in double, in a fixed order; rows are shared out whole. */
#include <winnow/nn.h>

#include <math.h>

enum { LANES = 16, SERIAL_WORK = 1 << 16 };

static double sum_lanes(const double *lanes)
{
    double sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

/* Sum in double: element i goes to lane i % LANES, lanes are added in order. */
static double sum_of(const float *x, int64_t count)
{
    double lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += (double)x[i + l];
    for (int l = 0; i + l < count; l++)
        lanes[l] += (double)x[i + l];
    return sum_lanes(lanes);
}

/* The same of squared distances from `center`. */
static double sum_of_squares(const float *x, int64_t count, double center)
{
    double lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++) {
            double distance = (double)x[i + l] - center;
            lanes[l] += distance * distance;
        }
    for (int l = 0; i + l < count; l++) {
        double distance = (double)x[i + l] - center;
        lanes[l] += distance * distance;
    }
    return sum_lanes(lanes);
}

void wn_rms_norm(const float *x, int64_t rows, int64_t width, const float *weight, float offset, double eps, float *y)
{
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_WORK)
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + r * width;
        float *to = y + r * width;
        float scale = (float)(1.0 / sqrt(sum_of_squares(from, width, 0) / (double)width + eps));
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            to[i] = (offset + weight[i]) * (from[i] * scale);
    }
}

void wn_rms_norm_ref(const float *x, int64_t rows, int64_t width, const float *weight, float offset, double eps,
                     float *y)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++)
            sum += (double)x[r * width + i] * x[r * width + i];
        for (int64_t i = 0; i < width; i++)
            y[r * width + i] =
                (float)(((double)offset + weight[i]) * (double)x[r * width + i] / sqrt(sum / (double)width + eps));
    }
}

static void layer_norm_row(const float *from, int64_t width, const float *weight, const float *bias, double eps,
                           float *to)
{
    double mean = sum_of(from, width) / (double)width;
    double scale = 1.0 / sqrt(sum_of_squares(from, width, mean) / (double)width + eps);
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        to[i] = weight[i] * (float)((from[i] - mean) * scale) + (bias ? bias[i] : 0.0f);
}

void wn_layer_norm(const float *x, int64_t rows, int64_t width, const float *weight, const float *bias, double eps,
                   float *y)
{
#pragma omp parallel for schedule(static) if (rows * width > SERIAL_WORK)
    for (int64_t r = 0; r < rows; r++)
        layer_norm_row(x + r * width, width, weight, bias, eps, y + r * width);
}

void wn_layer_norm_heads(float *x, int64_t rows, int64_t heads, int64_t head_dim, const float *weight, double eps)
{
#pragma omp parallel for schedule(static) if (rows * heads * head_dim > SERIAL_WORK)
    for (int64_t r = 0; r < rows * heads; r++)
        layer_norm_row(x + r * head_dim, head_dim, weight + r % heads * head_dim, NULL, eps, x + r * head_dim);
}

void wn_layer_norm_ref(const float *x, int64_t rows, int64_t width, const float *weight, const float *bias, double eps,
                       float *y)
{
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < width; i++)
            mean += (double)x[r * width + i] / (double)width;
        for (int64_t i = 0; i < width; i++)
            variance += (x[r * width + i] - mean) * (x[r * width + i] - mean) / (double)width;
        for (int64_t i = 0; i < width; i++) {
            double normed = (x[r * width + i] - mean) / sqrt(variance + eps);
            y[r * width + i] = (float)(weight[i] * normed + (bias ? (double)bias[i] : 0));
        }
    }
}
