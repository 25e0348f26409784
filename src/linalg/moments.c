/* SPDX-License-Identifier: Apache-2.0 */
/* Second moments by tiles, and the quadratic form they define. */
#include <winnow/linalg.h>

#include <cblas.h>

enum { NARROW = 1024, WIDE = 4096, LANES = 16, COPY = 64 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t wn_square_tile(int64_t length)
{
    return length < NARROW ? 192 : length < WIDE ? 256 : 512;
}

static int64_t tiles_of(int64_t length)
{
    return (length + wn_square_tile(length) - 1) / wn_square_tile(length);
}

/*
 * Tile number t of the upper triangle, the dear ones first, so that threads end together: those above the diagonal,
 * down the columns: (0,1), (0,2), (1,2), (0,3) ..., then the diagonal.
 */
static void place_of_tile(int64_t t, int64_t side, int64_t *row, int64_t *column)
{
    if (t >= side * (side - 1) / 2) {
        *row = *column = t - side * (side - 1) / 2;
        return;
    }
    for (*column = 1; t >= *column; (*column)++)
        t -= *column;
    *row = t;
}

static void add_tile(const float *x, int64_t rows, int64_t columns, float *h, int64_t i, int64_t j)
{
    const int64_t tile = wn_square_tile(columns);
    const int m = (int)smaller(columns - i, tile), n = (int)smaller(columns - j, tile), ld = (int)columns;

    if (i == j)
        cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, n, (int)rows, 1.0f, x + i, ld, 1.0f, h + i * columns + i,
                    ld);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, (int)rows, 1.0f, x + i, ld, x + j, ld, 1.0f,
                    h + i * columns + j, ld);
}

void wn_add_second_moments_of_runs(const float *x, int64_t n_runs, const int64_t *row, int64_t columns, float *h)
{
    const int64_t side = tiles_of(columns), tiles = side * (side + 1) / 2, tile = wn_square_tile(columns);
    const int threads = wn_blas_begin();

#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && tiles > 1)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t i, j;
        place_of_tile(t, side, &i, &j);
        for (int64_t r = 0; r < n_runs; r++)
            add_tile(x + row[r] * columns, row[r + 1] - row[r], columns, h, i * tile, j * tile);
    }
    wn_blas_end(threads);
}

void wn_add_second_moments(const float *x, int64_t rows, int64_t columns, float *h)
{
    wn_add_second_moments_of_runs(x, 1, (const int64_t[]){0, rows}, columns, h);
}

void wn_symmetrize(float *h, int64_t columns)
{
#pragma omp parallel for schedule(dynamic)
    for (int64_t i0 = 0; i0 < columns; i0 += COPY)
        for (int64_t j0 = 0; j0 <= i0; j0 += COPY)
            for (int64_t i = i0; i < smaller(i0 + COPY, columns); i++)
                for (int64_t j = j0; j < smaller(j0 + COPY, i); j++)
                    h[i * columns + j] = h[j * columns + i];
}

/* ---- tr(D H D^T) ---- */

static double dot(const float *a, const float *b, int64_t count)
{
    double lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += (double)a[i + l] * b[i + l];
    for (int l = 0; i + l < count; l++)
        lanes[l] += (double)a[i + l] * b[i + l];
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

/* A form is cut into tiles of rows and panels of columns. */
struct forms {
    const float *const *d;
    int count;
    int64_t rows, columns, row_tiles, panels;
    const float *h;
};

static int64_t items_of(const struct forms *forms)
{
    return forms->count * forms->row_tiles * forms->panels;
}

/* The longest panels first, so that threads end together. */
static void place_of_item(const struct forms *forms, int64_t item, int *form, int64_t *row, int64_t *column)
{
    *form = (int)(item % forms->count);
    *row = item / forms->count % forms->row_tiles * wn_square_tile(forms->rows);
    *column = (forms->panels - 1 - item / forms->count / forms->row_tiles) * wn_square_tile(forms->columns);
}

/* (2 D_{<J} H_{<J,J} + D_J H_JJ) . D_J for a panel of columns J: H is symmetric, half the products will do. */
static double run_item(const struct forms *forms, int64_t item, float *product)
{
    int form;
    int64_t row, first;
    place_of_item(forms, item, &form, &row, &first);
    const float *d = forms->d[form] + row * forms->columns, *h = forms->h + first;
    const int m = (int)smaller(forms->rows - row, wn_square_tile(forms->rows)), ld = (int)forms->columns;
    const int n = (int)smaller(forms->columns - first, wn_square_tile(forms->columns));
    double sum = 0;

    if (first > 0)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, (int)first, 2.0f, d, ld, h, ld, 0.0f, product, n);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, n, 1.0f, d + first, ld, h + first * forms->columns, ld,
                first > 0 ? 1.0f : 0.0f, product, n);
    for (int64_t r = 0; r < m; r++)
        sum += dot(product + r * n, d + r * forms->columns + first, n);
    return sum;
}

static struct forms forms_of(const float *const *d, int count, int64_t rows, int64_t columns, const float *h)
{
    return (struct forms){d, count, rows, columns, tiles_of(rows), tiles_of(columns), h};
}

static int64_t product_size(int64_t rows, int64_t columns)
{
    return smaller(rows, wn_square_tile(rows)) * smaller(columns, wn_square_tile(columns));
}

int64_t wn_quadratic_forms_bytes(int count, int64_t rows, int64_t columns, int threads)
{
    const struct forms forms = forms_of(NULL, count, rows, columns, NULL);

    return smaller(items_of(&forms), threads) * product_size(rows, columns) * (int64_t)sizeof(float) +
           items_of(&forms) * (int64_t)sizeof(double);
}

void wn_quadratic_forms(const float *const *d, int count, int64_t rows, int64_t columns, const float *h, double *sums)
{
    const struct forms forms = forms_of(d, count, rows, columns, h);
    const int64_t items = items_of(&forms);
    double *parts = wn_alloc(items, sizeof *parts);
    const int threads = wn_blas_begin(), used = (int)smaller(items, threads);

#pragma omp parallel num_threads(used) if (used > 1)
    {
        float *product = wn_alloc(product_size(rows, columns), sizeof *product);
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < items; item++)
            parts[item] = run_item(&forms, item, product);
        wn_free(product);
    }
    wn_blas_end(threads);
    for (int i = 0; i < count; i++)
        sums[i] = 0;
    for (int64_t item = 0; item < items; item++)
        sums[item % count] += parts[item];
    wn_free(parts);
}

double wn_quadratic_form(const float *a, const float *b, int64_t rows, int64_t columns, const float *h)
{
    const int64_t count = rows * columns;
    float *d = b ? wn_alloc(count, sizeof *d) : NULL;
    const float *of = b ? d : a;
    double sum;

#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < (b ? count : 0); i++)
        d[i] = a[i] - b[i];
    wn_quadratic_forms(&of, 1, rows, columns, h, &sum);
    wn_free(d);
    return sum;
}
