/* SPDX-License-Identifier: Apache-2.0 */
/* Second moments, quadratic forms and the factor of the inverse: against plain loops, same bits on 1 to 4 threads. */
#include <omp.h>

#include <winnow/linalg.h>

#include "test.h"

static float *random_floats(int64_t count, uint64_t stream)
{
    float *x = wn_alloc(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(2 * wn_random_uniform(9, stream, (uint64_t)i) - 1);
    return x;
}

/* From here on a parallel region has so many threads: a comparison of one thread with one thread would prove nothing.
 */
static void use_threads(int threads)
{
    int used = 0;
    omp_set_num_threads(threads);
#pragma omp parallel
#pragma omp single
    used = omp_get_num_threads();
    CHECK(used == threads);
}

/* X^T X of `tokens` rows whose neighbours are correlated, both triangles. */
static float *random_moments(int64_t tokens, int64_t n, uint64_t stream)
{
    float *x = random_floats(tokens * n, stream), *h = wn_alloc_zero(n * n, sizeof *h);
    for (int64_t i = tokens * n - 1; i > 0; i--)
        x[i] += 0.9f * x[i - 1];
    wn_add_second_moments(x, tokens, n, h);
    wn_symmetrize(h, n);
    wn_free(x);
    return h;
}

/* Two calls on halves of the rows, on top of what was there. */
static void check_moments(int64_t rows, int64_t columns)
{
    float *x = random_floats(rows * columns, 1), *h = wn_alloc(columns * columns, sizeof *h);
    float *again = wn_alloc(columns * columns, sizeof *h);
    int64_t half = rows / 2, wrong = 0;
    for (int threads = 1; threads <= 4; threads++) {
        use_threads(threads);
        float *to = threads == 1 ? h : again;
        for (int64_t i = 0; i < columns * columns; i++)
            to[i] = 0.5f;
        if (half)
            wn_add_second_moments(x, half, columns, to);
        wn_add_second_moments(x + half * columns, rows - half, columns, to);
        wn_symmetrize(to, columns);
        CHECK(!memcmp(h, to, (size_t)(columns * columns) * sizeof *h));
    }
    for (int64_t i = 0; i < columns; i += 7)
        for (int64_t j = 0; j < columns; j++) {
            double sum = 0.5;
            for (int64_t r = 0; r < rows; r++)
                sum += (double)x[r * columns + i] * x[r * columns + j];
            wrong +=
                !(fabs(sum - h[i * columns + j]) <= 1e-6 * (double)rows) || h[i * columns + j] != h[j * columns + i];
        }
    CHECK(wrong == 0);
    wn_free(again);
    wn_free(h);
    wn_free(x);
}

/* Runs in one call are the bits of a call for each. */
static void check_runs(int64_t columns)
{
    static const int64_t row[] = {0, 40, 41, 100};
    float *x = random_floats(100 * columns, 7), *h = wn_alloc_zero(columns * columns, sizeof *h);
    float *again = wn_alloc_zero(columns * columns, sizeof *h), *whole = wn_alloc_zero(columns * columns, sizeof *h);
    use_threads(2);
    wn_add_second_moments_of_runs(x, 3, row, columns, again);
    use_threads(1);
    for (int i = 0; i < 3; i++)
        wn_add_second_moments(x + row[i] * columns, row[i + 1] - row[i], columns, h);
    CHECK(!memcmp(h, again, (size_t)(columns * columns) * sizeof *h));
    wn_add_second_moments(x, 100, columns, whole);
    CHECK(memcmp(h, whole, (size_t)(columns * columns) * sizeof *h)); /* the cut does decide the bits */
    wn_free(whole);
    wn_free(again);
    wn_free(h);
    wn_free(x);
}

/* Several forms at once are those of one after the other, on any number of threads. */
static void check_forms(int64_t rows, int64_t n)
{
    float *a = random_floats(rows * n, 2), *b = random_floats(rows * n, 3), *h = random_moments(2 * n, n, 4);
    double one[3], all[3];
    use_threads(1);
    for (int i = 0; i < 3; i++)
        wn_quadratic_forms((const float *const[]){i == 1 ? b : a}, 1, rows, n, h, &one[i]);
    for (int threads = 1; threads <= 4; threads++) {
        use_threads(threads);
        wn_quadratic_forms((const float *const[]){a, b, a}, 3, rows, n, h, all);
        CHECK(all[0] == one[0] && all[1] == one[1] && all[2] == one[2] && all[0] != all[1]);
    }
    wn_free(h);
    wn_free(b);
    wn_free(a);
}

static void check_form(int64_t rows, int64_t n)
{
    float *a = random_floats(rows * n, 2), *b = random_floats(rows * n, 3), *h = random_moments(2 * n, n, 4);
    double expected = 0, energy = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) {
                const float *p = a + r * n, *q = b + r * n;
                expected += ((double)p[i] - q[i]) * h[i * n + j] * ((double)p[j] - q[j]);
                energy += (double)p[i] * h[i * n + j] * p[j];
            }
    use_threads(1);
    double found = wn_quadratic_form(a, b, rows, n, h);
    CHECK_NEAR(found, expected, 1e-5 * expected);
    CHECK_NEAR(wn_quadratic_form(a, NULL, rows, n, h), energy, 1e-5 * energy);
    CHECK(wn_quadratic_form(a, a, rows, n, h) == 0);
    for (int threads = 2; threads <= 4; threads++) {
        use_threads(threads);
        CHECK(wn_quadratic_form(a, b, rows, n, h) == found);
    }
    wn_free(h);
    wn_free(b);
    wn_free(a);
}

/* (scale P H P^T + lambda I) with dead columns repaired. */
static double damped(const struct wn_factor *f, const float *h, int64_t i, int64_t j)
{
    int64_t p = f->order ? f->order[i] : i, q = f->order ? f->order[j] : j;
    return i != j ? f->scale * h[p * f->width + q] : (f->dead[p] ? 1 : f->scale * h[p * f->width + p]) + f->lambda;
}

/* H^-1 = U^T U is U H U^T = I: one row of it at a time. */
static double inverse_error(const struct wn_factor *f, const float *h, int64_t step)
{
    int64_t n = f->width;
    double worst = 0, *row = wn_alloc(n, sizeof *row);
    for (int64_t i = 0; i < n; i += step) {
        for (int64_t j = 0; j < n; j++) {
            row[j] = 0;
            for (int64_t k = i; k < n; k++)
                row[j] += f->upper[i * n + k] * damped(f, h, k, j);
        }
        for (int64_t k = 0; k < n; k++) {
            double sum = 0;
            for (int64_t j = k; j < n; j++)
                sum += row[j] * f->upper[k * n + j];
            worst = fmax(worst, fabs(sum - (i == k)));
        }
    }
    wn_free(row);
    return worst;
}

static void check_factor(int64_t n, enum wn_column_order column_order)
{
    float *h = random_moments(2 * n + 8, n, 5);
    struct wn_factor factor, again;
    for (int64_t j = 3; j < n; j += 40) /* dead columns */
        for (int64_t i = 0; i < n; i++)
            h[i * n + j] = h[j * n + i] = 0;
    use_threads(1);
    CHECK_OK(wn_factor_compute("linear", h, n, 0.5, 0.01, column_order, &factor));
    CHECK(factor.width == n && factor.damping_steps == 0 && factor.percdamp_used == 0.01);
    CHECK(factor.n_dead == (n + 36) / 40);
    double mean = 0;
    for (int64_t j = 0; j < n; j++)
        mean += (factor.dead[j] ? 1 : 0.5 * h[j * n + j]) / (double)n;
    CHECK_NEAR(factor.lambda, 0.01 * mean, 1e-9 * mean);
    CHECK_NEAR(inverse_error(&factor, h, n > 300 ? 97 : 1), 0, 2e-5);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
            CHECK(factor.upper[i * n + j] == 0 && !signbit(factor.upper[i * n + j]));
    for (int threads = 2; threads <= 4; threads++) {
        use_threads(threads);
        CHECK_OK(wn_factor_compute("linear", h, n, 0.5, 0.01, column_order, &again));
        CHECK(!memcmp(factor.upper, again.upper, (size_t)(n * n) * sizeof(float)));
        wn_factor_release(&again);
    }
    wn_factor_release(&factor);
    wn_free(h);
}

static void check_order(void)
{
    static const float diagonal[6] = {2, 5, 0, 5, 9, 2};
    static const int64_t expected[6] = {4, 1, 3, 0, 5, 2};
    float h[36] = {0};
    struct wn_factor factor;
    for (int i = 0; i < 6; i++)
        h[7 * i] = diagonal[i];
    CHECK_OK(wn_factor_compute("linear", h, 6, 1, 0, WN_ORDER_ACTIVATION, &factor));
    CHECK(!memcmp(factor.order, expected, sizeof expected));
    CHECK(factor.n_dead == 1 && factor.dead[2]);
    CHECK_NEAR(factor.upper[0], 1 / 3.0, 1e-7);
    CHECK_NEAR(factor.upper[35], 1, 1e-7); /* dead: H_jj = 1 */
    wn_factor_release(&factor);
}

/* Rank 1 without damping: grows from 0 by steps until it can be factored. */
static void check_damping(void)
{
    enum { N = 40 };
    float h[N * N];
    struct wn_factor factor;
    for (int i = 0; i < N * N; i++)
        h[i] = 1;
    CHECK_OK(wn_factor_compute("linear", h, N, 1, 0, WN_ORDER_NATURAL, &factor));
    CHECK(factor.damping_steps == 1 && factor.percdamp_used == 1e-3 && factor.percdamp == 0);
    CHECK_NEAR(factor.lambda, 1e-3, 1e-12);
    wn_factor_release(&factor);
    CHECK_OK(wn_factor_compute("linear", h, N, 1, 1e-9, WN_ORDER_NATURAL, &factor));
    CHECK(factor.damping_steps >= 1 && factor.percdamp_used > 1e-9);
    wn_factor_release(&factor);
    for (int i = 0; i < N; i++)
        h[i * N + i] = -1;
    CHECK(wn_factor_compute("block 3 o_proj", h, N, 1, 0.01, WN_ORDER_NATURAL, &factor) == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block 3 o_proj: the second moments of its inputs cannot be factored, even with percdamp 1");
    h[5] = INFINITY;
    CHECK(wn_factor_compute("block 3 o_proj", h, N, 1, 0.01, WN_ORDER_NATURAL, &factor) == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block 3 o_proj: the second moments of its inputs are not finite");
}

static void check_cache(void)
{
    float *h = random_moments(80, 30, 6);
    struct wn_factor_cache cache = {0};
    const struct wn_factor *a, *b;
    CHECK_OK(wn_factor_cache_get(&cache, "q", h, 30, 1, 0.01, WN_ORDER_NATURAL, &a));
    CHECK_OK(wn_factor_cache_get(&cache, "k", h, 30, 1, 0.01, WN_ORDER_NATURAL, &b));
    CHECK(a == b && cache.count == 1);
    CHECK_OK(wn_factor_cache_get(&cache, "k", h, 30, 1, 0.01, WN_ORDER_ACTIVATION, &b));
    CHECK(a != b && b->order);
    CHECK_OK(wn_factor_cache_get(&cache, "k", h, 30, 1, 1, WN_ORDER_NATURAL, &b));
    CHECK(cache.count == 3 && b->percdamp == 1);
    CHECK(wn_factor_cache_get(&cache, "k", h, 30, -1, 0, WN_ORDER_NATURAL, &b) == WN_ERR_NUMERIC);
    CHECK(cache.count == 3);
    wn_factor_cache_release(&cache);
    wn_free(h);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    check_moments(1, 1);
    check_moments(40, 5);
    check_moments(3, 130);
    check_moments(70, 700);
    check_moments(33, 1100);
    check_form(1, 1);
    check_form(3, 50);
    check_form(300, 40);
    check_form(2, 1030);
    check_runs(700);
    check_forms(5, 20);
    check_forms(600, 450);
    check_forms(1100, 200);
    check_factor(1, WN_ORDER_NATURAL);
    check_factor(63, WN_ORDER_NATURAL);
    check_factor(2, WN_ORDER_NATURAL);
    check_factor(100, WN_ORDER_ACTIVATION);
    check_factor(256, WN_ORDER_NATURAL);
    check_factor(257, WN_ORDER_ACTIVATION);
    check_factor(1400, WN_ORDER_NATURAL);
    check_order();
    check_damping();
    check_cache();
    return test_finish();
}
