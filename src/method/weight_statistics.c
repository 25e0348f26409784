/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of a compressed linear. Sums are taken in double, over 8 lanes within a row, then over rows in order: the
 * order depends on the shape only, and the lanes are what vectorises.
 */
#include <winnow/method.h>

#include "select.h"

#include <math.h>
#include <string.h>

enum { LANES = 8 };

static double add_lanes(const double *lanes)
{
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

/* What one pass adds up over a row. */
struct first_sums {
    double sum, square, error; /* of w', w^2, (w - w')^2 */
    double largest;
    int64_t zeros;
};

struct second_sums {
    double moment[3]; /* of (w' - mean)^2, ^3, ^4 */
};

static void first_row(const float *dense, const float *compressed, int64_t columns, struct first_sums *sums)
{
    double sum[LANES] = {0}, square[LANES] = {0}, error[LANES] = {0};
    const wn_key *keys = (const wn_key *)compressed;
    int32_t largest = 0, zeros = 0;
    float size;
    int64_t j = 0;

    for (; j + LANES <= columns; j += LANES) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            double w = dense[j + l], c = compressed[j + l];
            sum[l] += c;
            square[l] += w * w;
            error[l] += (w - c) * (w - c);
        }
    }
    for (int l = 0; j < columns; j++, l++) {
        double w = dense[j], c = compressed[j];
        sum[l] += c;
        square[l] += w * w;
        error[l] += (w - c) * (w - c);
    }
#pragma omp simd reduction(max : largest) reduction(+ : zeros)
    for (int64_t i = 0; i < columns; i++) {
        int32_t key = keys[i] & WN_KEY_MAGNITUDE;
        largest = key > largest ? key : largest;
        zeros += key == 0;
    }
    memcpy(&size, &largest, sizeof size);
    *sums = (struct first_sums){add_lanes(sum), add_lanes(square), add_lanes(error), size, zeros};
}

static void second_row(const float *compressed, int64_t columns, double mean, struct second_sums *sums)
{
    double second[LANES] = {0}, third[LANES] = {0}, fourth[LANES] = {0};
    int64_t j = 0;

    for (; j + LANES <= columns; j += LANES) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            double d = compressed[j + l] - mean, d2 = d * d;
            second[l] += d2;
            third[l] += d2 * d;
            fourth[l] += d2 * d2;
        }
    }
    for (int l = 0; j < columns; j++, l++) {
        double d = compressed[j] - mean, d2 = d * d;
        second[l] += d2;
        third[l] += d2 * d;
        fourth[l] += d2 * d2;
    }
    *sums = (struct second_sums){{add_lanes(second), add_lanes(third), add_lanes(fourth)}};
}

/* Error, zeros, mean and largest. Returns the number of zeros. */
static int64_t compute_first(const float *dense, const float *compressed, int64_t rows, int64_t columns,
                             struct wn_weight_statistics *statistics)
{
    struct first_sums *sums = wn_alloc(rows, sizeof *sums), all = {0};
    const double count = (double)rows * (double)columns;

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        first_row(dense + row * columns, compressed + row * columns, columns, &sums[row]);
    for (int64_t row = 0; row < rows; row++) {
        all.sum += sums[row].sum;
        all.square += sums[row].square;
        all.error += sums[row].error;
        all.largest = sums[row].largest > all.largest ? sums[row].largest : all.largest;
        all.zeros += sums[row].zeros;
    }
    wn_free(sums);
    statistics->zeros = (double)all.zeros / count;
    statistics->weight_error = all.error > 0 ? sqrt(all.error / all.square) : 0;
    statistics->mean = all.sum / count;
    statistics->largest = all.largest;
    return all.zeros;
}

/* Central moments in a second pass: exact where the mean is far from 0. */
static void compute_moments(const float *compressed, int64_t rows, int64_t columns,
                            struct wn_weight_statistics *statistics)
{
    struct second_sums *sums = wn_alloc(rows, sizeof *sums);
    const double count = (double)rows * (double)columns;
    double moment[3] = {0};

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        second_row(compressed + row * columns, columns, statistics->mean, &sums[row]);
    for (int64_t row = 0; row < rows; row++)
        for (int m = 0; m < 3; m++)
            moment[m] += sums[row].moment[m];
    wn_free(sums);
    double variance = moment[0] / count;
    statistics->standard_deviation = sqrt(variance);
    statistics->skewness = variance > 0 ? moment[1] / count / (variance * sqrt(variance)) : (double)NAN;
    statistics->kurtosis = variance > 0 ? moment[2] / count / (variance * variance) : (double)NAN;
}

static int32_t count_far(const float *compressed, int64_t columns, double mean, double limit)
{
    int32_t far = 0;

#pragma omp simd reduction(+ : far)
    for (int64_t j = 0; j < columns; j++)
        far += fabs(compressed[j] - mean) > limit;
    return far;
}

static void compute_outliers(const float *compressed, int64_t rows, int64_t columns,
                             struct wn_weight_statistics *statistics)
{
    const double mean = statistics->mean, limit = 6 * statistics->standard_deviation;
    int64_t outliers = 0;

#pragma omp parallel for schedule(static) reduction(+ : outliers)
    for (int64_t row = 0; row < rows; row++)
        outliers += count_far(compressed + row * columns, columns, mean, limit);
    statistics->outlier_share = limit > 0 ? (double)outliers / ((double)rows * (double)columns) : 0;
}

/* Weights whose dense magnitude is below a limit and that are 0 now. */
static int32_t count_both(const wn_key *dense, const wn_key *compressed, int64_t count, int32_t limit)
{
    int32_t both = 0;

#pragma omp simd reduction(+ : both)
    for (int64_t i = 0; i < count; i++)
        both += ((dense[i] & WN_KEY_MAGNITUDE) < limit) & ((compressed[i] & WN_KEY_MAGNITUDE) == 0);
    return both;
}

/* Zeros of w' that exact magnitude pruning of the dense matrix to the same number would choose as well. */
static double compute_overlap(const float *dense, const float *compressed, int64_t rows, int64_t columns, int64_t zeros)
{
    const wn_key *before = (const wn_key *)dense, *after = (const wn_key *)compressed;
    struct wn_cut cut = wn_cut_matrix(before, rows * columns, zeros);
    int64_t both = 0;

    if (zeros == 0)
        return (double)NAN;
#pragma omp parallel for schedule(static) reduction(+ : both)
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = row * columns, split = cut.tie_end - at;
        split = split < 0 ? 0 : split > columns ? columns : split;
        both += count_both(before + at, after + at, split, cut.threshold + 1);
        both += count_both(before + at + split, after + at + split, columns - split, cut.threshold);
    }
    return (double)both / (double)zeros;
}

void wn_weight_statistics_compute(const float *dense, const float *compressed, int64_t rows, int64_t columns,
                                  struct wn_weight_statistics *statistics)
{
    int64_t zeros = compute_first(dense, compressed, rows, columns, statistics);

    compute_moments(compressed, rows, columns, statistics);
    compute_outliers(compressed, rows, columns, statistics);
    statistics->mask_overlap = compute_overlap(dense, compressed, rows, columns, zeros);
    statistics->output_error = (double)NAN;
    statistics->bits_per_weight_nominal = statistics->stored_bytes = (double)NAN;
}
