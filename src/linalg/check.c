/* SPDX-License-Identifier: Apache-2.0 */
/* Does the loaded BLAS multiply as it should? Exact products of whole numbers. */
#include "blas.h"

#include <winnow/linalg.h>

#include <cblas.h>
#include <math.h>

/*
 * |sum| <= DEPTH * LARGE * SMALL < 2^24 (and DEPTH * MIDDLE^2 for a matrix times itself): every order of summation,
 * fused or not, gives the same fp32 number. LARGE needs more bits than bf16 and TF32 have. DEPTH is more than the panel
 * of any kernel set.
 */
enum { DEPTH = 600, LARGE = 4095, SMALL = 6, MIDDLE = 160, FIRST = 100 };

/* A factor of a product; its entry (i, k) lies at data[i * row + k * column]. */
struct operand {
    float *data;
    int64_t row, column;
};

static uint32_t scramble(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* From -bound to bound. */
static float *whole_numbers(int64_t count, uint32_t bound, uint32_t seed)
{
    float *x = wn_alloc(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)((int32_t)((uint64_t)scramble(seed + (uint32_t)i) * (2 * bound + 1) >> 32) - (int32_t)bound);
    return x;
}

static struct operand make_operand(int64_t rows, int64_t columns, bool transposed, uint32_t bound, uint32_t seed)
{
    return (struct operand){whole_numbers(rows * columns, bound, seed), transposed ? 1 : columns,
                            transposed ? rows : 1};
}

/* y[i] += sum over k of (i, k) x[k], in the order in which the entries lie. */
static void add_product(const struct operand *a, int64_t rows, int64_t columns, const double *x, double *y)
{
    if (a->column == 1)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = 0; k < columns; k++)
                y[i] += a->data[i * a->row + k] * x[k];
    else
        for (int64_t k = 0; k < columns; k++)
            for (int64_t i = 0; i < rows; i++)
                y[i] += a->data[i + k * a->column] * x[k];
}

/*
 * Compares C v with A (B v) + C0 v, where C0 is what C held before, or NULL. All numbers are whole and below 2^53:
 * these sums are exact, and as no v(j) is 0 no single wrong number of C can hide.
 */
static bool agrees(const struct operand *a, const struct operand *b, int64_t m, int64_t n, int64_t depth, float *c,
                   float *before)
{
    const struct operand result = {c, n, 1}, first = {before, n, 1};
    double *v = wn_alloc(n, sizeof *v), *sums = wn_alloc_zero(depth, sizeof *sums);
    double *expected = wn_alloc_zero(m, sizeof *expected), *found = wn_alloc_zero(m, sizeof *found);
    for (int64_t j = 0; j < n; j++)
        v[j] = 1 + (double)(j % 61);
    add_product(b, depth, n, v, sums);
    add_product(a, m, depth, sums, expected);
    if (before)
        add_product(&first, m, n, v, expected);
    add_product(&result, m, n, v, found);
    bool agree = true;
    for (int64_t i = 0; i < m; i++)
        agree = agree && found[i] == expected[i]; /* false for NaN */
    wn_free(v);
    wn_free(sums);
    wn_free(expected);
    wn_free(found);
    return agree;
}

/* What C holds before: to be added to, or NaN, which must be overwritten. */
static float *make_result(int64_t count, bool add, float **before)
{
    float *c = whole_numbers(count, FIRST, 7);
    *before = add ? whole_numbers(count, FIRST, 7) : NULL;
    for (int64_t i = 0; i < count && !add; i++)
        c[i] = NAN;
    return c;
}

static wn_status check_sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t depth, bool add)
{
    struct operand a = make_operand(m, depth, transpose_a, LARGE, 1), b = make_operand(depth, n, transpose_b, SMALL, 2);
    float *before, *c = make_result(m * n, add, &before);
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, (int)m,
                (int)n, (int)depth, 1.0f, a.data, (int)(transpose_a ? m : depth), b.data,
                (int)(transpose_b ? depth : n), add ? 1.0f : 0.0f, c, (int)n);
    bool agree = agrees(&a, &b, m, n, depth, c, before);
    wn_free(a.data);
    wn_free(b.data);
    wn_free(before);
    wn_free(c);
    return agree ? WN_OK
                 : wn_fail(WN_ERR_NUMERIC, "sgemm %c%c of %lld x %lld x %lld", transpose_a ? 'T' : 'N',
                           transpose_b ? 'T' : 'N', (long long)m, (long long)n, (long long)depth);
}

/* The upper triangle of C += X^T X, x [depth, n]. */
static wn_status check_ssyrk(int64_t n, int64_t depth)
{
    struct operand x = {whole_numbers(depth * n, MIDDLE, 3), n, 1}, transposed = {x.data, 1, n};
    float *before, *c = make_result(n * n, true, &before);
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)n, (int)depth, 1.0f, x.data, (int)n, 1.0f, c, (int)n);
    wn_symmetrize(c, n);
    wn_symmetrize(before, n);
    bool agree = agrees(&transposed, &x, n, n, depth, c, before);
    wn_free(x.data);
    wn_free(before);
    wn_free(c);
    return agree ? WN_OK : wn_fail(WN_ERR_NUMERIC, "ssyrk of %lld x %lld", (long long)n, (long long)depth);
}

/* The tiles of linear.c, moments.c and the solver, whole, ragged and so small that a library has other kernels for it.
 */
wn_status wn_blas_check(void)
{
    static const int64_t ragged[][3] = {{77, 131, 67}, {3, 29, 300}, {1, 70, 45}};
    const int64_t square = wn_square_tile(INT64_MAX);
    WN_TRY(check_sgemm(false, true, WN_TILE_ROWS, WN_TILE_COLUMNS, DEPTH, false));
    WN_TRY(check_sgemm(false, false, square, square, DEPTH, false));
    WN_TRY(check_sgemm(true, false, square, square, DEPTH, true));
    WN_TRY(check_ssyrk(square, DEPTH));
    for (size_t i = 0; i < sizeof ragged / sizeof ragged[0]; i++) {
        const int64_t m = ragged[i][0], n = ragged[i][1], depth = ragged[i][2];
        WN_TRY(check_sgemm(false, true, m, n, depth, false));
        WN_TRY(check_sgemm(false, false, m, n, depth, true));
        WN_TRY(check_sgemm(true, false, m, n, depth, true));
        WN_TRY(check_ssyrk(n, depth));
    }
    return WN_OK;
}
