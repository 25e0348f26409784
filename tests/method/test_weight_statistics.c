/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of a compressed linear against plain formulas in long double, and the limits of each. */
#include "recipes.h"

static int by_magnitude(const void *a, const void *b)
{
    const float *x = *(const float *const *)a, *y = *(const float *const *)b;

    if (fabsf(*x) != fabsf(*y))
        return fabsf(*x) < fabsf(*y) ? -1 : 1;
    return x < y ? -1 : 1; /* lower index first */
}

/* Share of the zeros of w that are among as many smallest of the dense weights. */
static double overlap_ref(const float *dense, const float *w, int64_t count)
{
    const float **order = wn_alloc(count, sizeof *order);
    int64_t zeros = count_zeros(w, count), both = 0;

    for (int64_t i = 0; i < count; i++)
        order[i] = dense + i;
    qsort(order, (size_t)count, sizeof *order, by_magnitude);
    for (int64_t i = 0; i < zeros; i++)
        both += w[order[i] - dense] == 0.0f;
    wn_free(order);
    return (double)both / (double)zeros;
}

static void check_against_formulas(int64_t rows, int64_t columns, const char *method, const char *settings)
{
    const int64_t count = rows * columns;
    struct wn_weight_statistics got;
    struct problem problem;
    long double sum = 0, moment[3] = {0}, error = 0, square = 0;

    problem_init(&problem, rows, columns, (uint64_t)count, 20);
    CHECK_OK(problem_run_one(&problem, method, settings));
    const float *w = problem.result, *dense = problem.weight;
    problem.result[count / 2] = 40.0f; /* an outlier */
    wn_weight_statistics_compute(dense, w, rows, columns, &got);
    for (int64_t i = 0; i < count; i++)
        sum += w[i];
    long double mean = sum / count;
    for (int64_t i = 0; i < count; i++) {
        long double d = w[i] - mean, e = (long double)dense[i] - w[i];
        moment[0] += d * d;
        moment[1] += d * d * d;
        moment[2] += d * d * d * d;
        error += e * e;
        square += (long double)dense[i] * dense[i];
    }
    double deviation = (double)sqrtl(moment[0] / count);
    int64_t far = 0;
    for (int64_t i = 0; i < count; i++)
        far += fabs(w[i] - (double)mean) > 6 * deviation;

    CHECK_NEAR(got.zeros, (double)count_zeros(w, count) / (double)count, 0);
    CHECK_NEAR(got.weight_error, (double)sqrtl(error / square), 1e-12);
    CHECK_NEAR(got.mean, (double)mean, 1e-13);
    CHECK_NEAR(got.standard_deviation, deviation, 1e-12);
    CHECK_NEAR(got.skewness, (double)(moment[1] / count) / pow(deviation, 3), 1e-9);
    CHECK_NEAR(got.kurtosis, (double)(moment[2] / count) / pow(deviation, 4), 1e-8);
    CHECK_NEAR(got.largest, 40, 0);
    CHECK_NEAR(got.outlier_share, (double)far / (double)count, 0);
    CHECK(far == 1);
    CHECK(isnan(got.output_error) && isnan(got.bits_per_weight_nominal) && isnan(got.stored_bytes));
    CHECK_NEAR(got.mask_overlap, overlap_ref(dense, w, count), 0);
    problem_release(&problem);
}

static void check_limits(void)
{
    struct wn_weight_statistics got;
    struct problem problem;

    problem_init(&problem, 7, 33, 3, 0);
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"sparsity\": 0.4}"));
    wn_weight_statistics_compute(problem.weight, problem.result, 7, 33, &got);
    CHECK_NEAR(got.mask_overlap, 1, 0); /* magnitude against itself */
    wn_weight_statistics_compute(problem.weight, problem.weight, 7, 33, &got);
    CHECK_NEAR(got.weight_error, 0, 0);
    CHECK(isnan(got.mask_overlap));
    memset(problem.result, 0, 7 * 33 * sizeof(float));
    wn_weight_statistics_compute(problem.weight, problem.result, 7, 33, &got);
    CHECK_NEAR(got.zeros, 1, 0);
    CHECK_NEAR(got.weight_error, 1, 0);
    CHECK_NEAR(got.mask_overlap, 1, 0);
    CHECK_NEAR(got.standard_deviation, 0, 0);
    CHECK_NEAR(got.outlier_share, 0, 0);
    CHECK(isnan(got.skewness) && isnan(got.kurtosis));
    wn_weight_statistics_compute(problem.result, problem.result, 7, 33, &got);
    CHECK_NEAR(got.weight_error, 0, 0);
    problem_release(&problem);
}

int main(void)
{
    check_against_formulas(13, 77, "wanda", "{\"sparsity\": 0.5}");
    check_against_formulas(1, 500, "magnitude", "{\"sparsity\": 0.3}");
    check_against_formulas(60, 5, "wanda", "{\"sparsity\": 0.7}");
    check_against_formulas(200, 1, "rtn", "{\"bits\": 2, \"group\": \"tensor\"}");
    check_against_formulas(300, 136, "wanda", "{\"pattern\": \"2:4\"}");
    check_limits();
    return test_finish();
}
