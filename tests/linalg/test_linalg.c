/* SPDX-License-Identifier: Apache-2.0 */
/* Linear maps and sums: against plain loops, with equal bits on 1 to 4 threads. */
#include <omp.h>

#include <winnow/linalg.h>

#include "test.h"

static float *random_floats(int64_t count, uint64_t stream)
{
    float *x = wn_alloc(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(2 * wn_random_uniform(7, stream, (uint64_t)i) - 1);
    return x;
}

static void check_linear(int64_t rows, int64_t in, int64_t out, bool with_bias)
{
    float *x = random_floats(rows * in, 1), *w = random_floats(out * in, 2), *bias = random_floats(out, 3);
    float *y = wn_alloc(rows * out, sizeof *y), *expected = wn_alloc(rows * out, sizeof *y);
    double worst = 0;
    omp_set_num_threads(1);
    wn_linear(x, rows, in, w, out, with_bias ? bias : NULL, y);
    wn_linear_ref(x, rows, in, w, out, with_bias ? bias : NULL, expected);
    for (int64_t i = 0; i < rows * out; i++)
        worst = fmax(worst, fabs((double)y[i] - expected[i]));
    CHECK_NEAR(worst, 0, 1e-6 * (double)in);
    for (int threads = 2; threads <= 4; threads++) {
        test_set_threads(threads);
        memset(expected, 0, (size_t)(rows * out) * sizeof *y);
        wn_linear(x, rows, in, w, out, with_bias ? bias : NULL, expected);
        CHECK(!memcmp(y, expected, (size_t)(rows * out) * sizeof *y));
    }
    wn_free(x);
    wn_free(w);
    wn_free(bias);
    wn_free(y);
    wn_free(expected);
}

/* Weights that come from a source: copied, so that nothing else can be read. */
struct copied {
    const float *w;
    int64_t in;
    int64_t rows; /* taken so far */
};

static void copy_rows(const void *context, int64_t first, int64_t end, float *out)
{
    struct copied *copied = (struct copied *)(uintptr_t)context;
    memcpy(out, copied->w + first * copied->in, (size_t)((end - first) * copied->in) * sizeof *out);
#pragma omp atomic
    copied->rows += end - first;
}

/* The sums as they are defined. */
static void sum_in_order(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias,
                         float *y, int64_t stride)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            float sum = 0;
            for (int64_t k = 0; k < in; k++)
                sum = fmaf(x[r * in + k], w[o * in + k], sum);
            y[r * stride + o] = sum + (bias ? bias[o] : 0.0f);
        }
}

/* Few rows: the bits of the definition on all instruction sets and 1 to 4 threads, every row as if it were alone. */
static void check_few_rows(int64_t rows, int64_t in, int64_t out, bool with_bias)
{
    const int64_t stride = out + 3;
    const size_t bytes = (size_t)(rows * stride) * sizeof(float);
    float *x = random_floats(rows * in, 1), *w = random_floats(out * in, 2), *some = random_floats(out, 3);
    float *y = wn_alloc_zero(rows * stride, sizeof *y), *again = wn_alloc(rows * stride, sizeof *y);
    const float *bias = with_bias ? some : NULL;
    const enum wn_isa widest = wn_isa();
    sum_in_order(x, rows, in, w, out, bias, y, stride);
    for (int isa = WN_ISA_PLAIN; isa <= (int)widest; isa++)
        for (int threads = 1; threads <= 4; threads++) {
            wn_isa_limit((enum wn_isa)isa);
            CHECK((int)wn_isa() == isa);
            test_set_threads(threads);
            memset(again, 0, bytes);
            for (int64_t r = 0; r < rows && threads == 1; r++)
                wn_linear_few_rows(x + r * in, 1, in, w, out, bias, again + r * stride, stride);
            if (threads > 1)
                wn_linear_few_rows(x, rows, in, w, out, bias, again, stride);
            CHECK(!memcmp(y, again, bytes));
            struct copied copied = {w, in, 0};
            const struct wn_row_source source = {.take = copy_rows, .context = &copied};
            memset(again, 0, bytes);
            wn_linear_few_rows_from(x, rows, in, &source, out, bias, again, stride);
            CHECK(!memcmp(y, again, bytes));
            CHECK(copied.rows == (rows + 31) / 32 * out); /* each weight once for 32 rows */
        }
    wn_isa_limit(WN_ISA_AVX512);
    CHECK(wn_isa() == widest);
    wn_free(x);
    wn_free(w);
    wn_free(some);
    wn_free(y);
    wn_free(again);
}

/* Weights stored as bf16, which begin at an odd address: the bits of their fp32 values. */
static void check_stored(int64_t rows, int64_t in, int64_t out)
{
    const int64_t stride = out + 3;
    const size_t bytes = (size_t)(rows * stride) * sizeof(float);
    float *x = random_floats(rows * in, 1), *w = random_floats(out * in, 2), *bias = random_floats(out, 3);
    float *y = wn_alloc_zero(rows * stride, sizeof *y), *again = wn_alloc(rows * stride, sizeof *y);
    uint8_t *stored = wn_alloc(out * in * 2 + 1, 1);
    for (int64_t i = 0; i < out * in; i++) {
        uint32_t whole;
        memcpy(&whole, &w[i], sizeof whole);
        memcpy(stored + 1 + 2 * i, (uint8_t *)&whole + 2, 2);
        whole &= 0xffff0000;
        memcpy(&w[i], &whole, sizeof whole);
    }
    sum_in_order(x, rows, in, w, out, bias, y, stride);
    for (int isa = WN_ISA_PLAIN; isa <= WN_ISA_AVX512; isa++)
        for (int threads = 1; threads <= 3; threads++) {
            wn_isa_limit((enum wn_isa)isa);
            test_set_threads(threads);
            memset(again, 0, bytes);
            wn_linear_few_rows_stored(x, rows, in, stored + 1, out, bias, again, stride);
            CHECK(!memcmp(y, again, bytes));
        }
    wn_isa_limit(WN_ISA_AVX512);
    wn_free(x);
    wn_free(w);
    wn_free(bias);
    wn_free(y);
    wn_free(again);
    wn_free(stored);
}

/* Columns of a wider matrix: equal to the packed result, and nothing else is written. */
static void check_stride(void)
{
    enum { ROWS = 5, IN = 9, OUT = 4, STRIDE = 7 };
    float *x = random_floats(ROWS * IN, 1), *w = random_floats(OUT * IN, 2), packed[ROWS * OUT], wide[ROWS * STRIDE];
    for (int i = 0; i < ROWS * STRIDE; i++)
        wide[i] = -5;
    wn_linear(x, ROWS, IN, w, OUT, NULL, packed);
    wn_linear_strided(x, ROWS, IN, w, OUT, NULL, wide, STRIDE);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < STRIDE; c++)
            CHECK_NEAR(wide[r * STRIDE + c], c < OUT ? packed[r * OUT + c] : -5, 1e-6);
    wn_free(x);
    wn_free(w);
}

static void check_column_squares(int64_t rows, int64_t columns)
{
    float *x = random_floats(rows * columns, 4);
    double *sums = wn_alloc_zero(columns, sizeof *sums), *again = wn_alloc(columns, sizeof *again);
    omp_set_num_threads(1);
    wn_add_column_squares(x, rows, columns, sums);
    for (int64_t c = 0; c < columns; c++) {
        double expected = 0;
        for (int64_t r = 0; r < rows; r++)
            expected += (double)x[r * columns + c] * x[r * columns + c];
        CHECK(sums[c] == expected);
    }
    for (int threads = 2; threads <= 4; threads++) {
        test_set_threads(threads);
        memset(again, 0, (size_t)columns * sizeof *again);
        wn_add_column_squares(x, rows, columns, again);
        CHECK(!memcmp(sums, again, (size_t)columns * sizeof *sums));
    }
    wn_free(x);
    wn_free(sums);
    wn_free(again);
}

static void check_difference(int64_t count)
{
    float *a = random_floats(count, 5), *b = random_floats(count, 6);
    double expected = 0, square = 0;
    for (int64_t i = 0; i < count; i++) {
        expected += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        square += (double)a[i] * a[i];
    }
    omp_set_num_threads(1);
    double sum = wn_sum_squared_difference(a, b, count);
    CHECK_NEAR(sum, expected, 1e-12 * expected);
    CHECK_NEAR(wn_sum_squared_difference(a, NULL, count), square, 1e-12 * square);
    CHECK(wn_sum_squared_difference(a, a, count) == 0);
    for (int threads = 2; threads <= 4; threads++) {
        test_set_threads(threads);
        CHECK(wn_sum_squared_difference(a, b, count) == sum);
    }
    wn_free(a);
    wn_free(b);
}

static void check_finite(int64_t count)
{
    float *x = random_floats(count, 8);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    CHECK(wn_all_finite(x, count));
    CHECK(wn_all_finite(x, 0));
    for (int i = 0; i < 3; i++) {
        int64_t at = i == 0 ? 0 : i == 1 ? count / 2 : count - 1;
        float kept = x[at];
        x[at] = bad[i];
        CHECK(!wn_all_finite(x, count));
        x[at] = kept;
    }
    x[0] = 3.4028235e38f;
    CHECK(wn_all_finite(x, count));
    wn_free(x);
}

/* The same bits when map `from` takes its weights from a source, in panels that a thread uses for all runs. */
static void check_source(const float *x, int64_t n_runs, const int64_t *row, int64_t in,
                         const struct wn_linear_map maps[2], int from, const float *expected)
{
    struct wn_linear_map both[] = {maps[0], maps[1]};
    struct copied copied = {maps[from].w, in, 0};
    const struct wn_row_source source = {.take = copy_rows, .context = &copied};
    int64_t bytes = row[n_runs] * maps[from].out * (int64_t)sizeof(float);
    both[from].w = NULL;
    both[from].source = &source;
    memset(both[from].y, 0, (size_t)bytes);
    wn_linears(x, n_runs, row, in, both, 2);
    CHECK(!memcmp(both[from].y, expected, (size_t)bytes));
    CHECK(copied.rows >= maps[from].out && copied.rows <= omp_get_max_threads() * maps[from].out);
}

/* Several runs of rows and several maps at once have the bits of one call of wn_linear for each. */
static void check_linears(void)
{
    enum { RUNS = 3, IN = 70, NARROW = 40, WIDE = WN_TILE_COLUMNS + 30, ROWS = 700 + 1 + 513 };
    const int64_t row[RUNS + 1] = {0, 700, 701, ROWS};
    float *x = random_floats(ROWS * IN, 31), *w = random_floats(WIDE * IN, 32), *bias = random_floats(WIDE, 33);
    float *wide = wn_alloc(ROWS * WIDE, sizeof *wide), *narrow = wn_alloc(ROWS * NARROW, sizeof *narrow);
    float *expected = wn_alloc(ROWS * WIDE, sizeof *expected);
    const struct wn_linear_map maps[] = {{.w = w, .bias = bias, .out = WIDE, .y = wide, .stride = WIDE},
                                         {.w = w + IN, .out = NARROW, .y = narrow, .stride = NARROW}};
    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        memset(wide, 0, (size_t)(ROWS * WIDE) * sizeof *wide);
        wn_linears(x, RUNS, row, IN, maps, 2);
        for (int m = 0; m < 2; m++) {
            for (int i = 0; i < RUNS; i++)
                wn_linear(x + row[i] * IN, row[i + 1] - row[i], IN, maps[m].w, maps[m].out, maps[m].bias,
                          expected + row[i] * maps[m].out);
            CHECK(!memcmp(maps[m].y, expected, (size_t)(ROWS * maps[m].out) * sizeof *expected));
            check_source(x, RUNS, row, IN, maps, m, expected);
        }
    }
    omp_set_num_threads(1);
    wn_free(x);
    wn_free(w);
    wn_free(bias);
    wn_free(wide);
    wn_free(narrow);
    wn_free(expected);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    CHECK_OK(wn_linalg_start());
    CHECK(strstr(wn_linalg_protocol(), "tile "));
    check_linear(1, 1, 1, true);
    check_linear(3, 70, 5, true);
    check_linear(WN_TILE_ROWS + 1, 40, WN_TILE_COLUMNS + 3, true);
    check_linear(2 * WN_TILE_ROWS, 24, WN_TILE_COLUMNS, false);
    check_linear(77, 700, 1000, false); /* one tile, large enough for BLAS to take threads */
    check_linear(0, 4, 4, true);
    check_linears();
    check_few_rows(1, 1, 1, true);
    check_few_rows(5, 130, 7, true);
    check_few_rows(17, 513, 66, false);
    check_few_rows(32, 300, 200, true);
    check_few_rows(71, 64, 13, false);
    for (int64_t count = 1; count <= 9; count++)
        check_few_rows(count, 20 + 3 * count, 16 * count + count % 2, count % 3 > 0);
    check_few_rows(33, 2000, 70, true); /* several panels from a source */
    check_few_rows(0, 4, 4, true);
    for (int64_t count = 1; count <= 9; count++)
        check_stored(count, 32 * count, 15 * count + 17);
    check_stored(3, 40, 37); /* no whole vectors of columns */
    check_stored(33, 64, 50);
    check_stride();
    check_column_squares(3, 2);
    check_column_squares(130, 1030);
    check_difference(1);
    check_difference(4099);
    check_difference(100003);
    check_finite(5);
    check_finite(200001);
    return test_finish();
}
