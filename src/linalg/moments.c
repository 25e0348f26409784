/* Second moments by tiles, and the quadratic form they define. */
#include <winnow/linalg.h>

#include <cblas.h>

enum { TILE = WN_TILE_MOMENTS, FORM_ROWS = 256, FORM_COLUMNS = 512, LANES = 16, COPY = 64 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Tile number t of the upper triangle, counted down the columns: (0,0), (0,1), (1,1), (0,2) ... */
static void place_of_tile(int64_t t, int64_t *row, int64_t *column)
{
    for (*column = 0; t > *column; (*column)++)
        t -= *column + 1;
    *row = t;
}

static void add_tile(const float *x, int64_t rows, int64_t columns, float *h, int64_t tile_row, int64_t tile_column)
{
    const int64_t i = tile_row * TILE, j = tile_column * TILE;
    const int m = (int)smaller(columns - i, TILE), n = (int)smaller(columns - j, TILE), ld = (int)columns;

    if (i == j)
        cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, n, (int)rows, 1.0f, x + i, ld, 1.0f, h + i * columns + i,
                    ld);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, (int)rows, 1.0f, x + i, ld, x + j, ld, 1.0f,
                    h + i * columns + j, ld);
}

void wn_add_second_moments(const float *x, int64_t rows, int64_t columns, float *h)
{
    const int64_t side = (columns + TILE - 1) / TILE, tiles = side * (side + 1) / 2;
    const int threads = wn_blas_begin();

#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && tiles > 1)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t row, column;
        place_of_tile(t, &row, &column);
        add_tile(x, rows, columns, h, row, column);
    }
    wn_blas_end(threads);
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

/* D_J H_JJ . D_J + 2 D_{<J} H_{<J,J} . D_J for one panel of columns J: H is symmetric, half the products will do. */
static double form_panel(const float *d, int64_t rows, int64_t columns, const float *h, int64_t first, float *product)
{
    const int64_t n = smaller(columns - first, FORM_COLUMNS);
    double diagonal = 0, above = 0;

    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)n, (int)n, 1.0f, d + first, (int)columns,
                h + first * columns + first, (int)columns, 0.0f, product, (int)n);
    for (int64_t r = 0; r < rows; r++)
        diagonal += dot(product + r * n, d + r * columns + first, n);
    if (first == 0)
        return diagonal;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)n, (int)first, 1.0f, d, (int)columns,
                h + first, (int)columns, 0.0f, product, (int)n);
    for (int64_t r = 0; r < rows; r++)
        above += dot(product + r * n, d + r * columns + first, n);
    return diagonal + 2 * above;
}

static double form_rows(const float *a, const float *b, int64_t rows, int64_t columns, const float *h)
{
    float *d = wn_alloc(rows * columns, sizeof *d), *product = wn_alloc(rows * FORM_COLUMNS, sizeof *product);
    double sum = 0;

    for (int64_t i = 0; i < rows * columns; i++)
        d[i] = b ? a[i] - b[i] : a[i];
    for (int64_t first = 0; first < columns; first += FORM_COLUMNS)
        sum += form_panel(d, rows, columns, h, first, product);
    wn_free(product);
    wn_free(d);
    return sum;
}

int64_t wn_quadratic_form_bytes(int64_t rows, int64_t columns, int threads)
{
    const int64_t tiles = (rows + FORM_ROWS - 1) / FORM_ROWS;

    return smaller(tiles, threads) * smaller(rows, FORM_ROWS) * (columns + FORM_COLUMNS) * (int64_t)sizeof(float) +
           tiles * (int64_t)sizeof(double);
}

double wn_quadratic_form(const float *a, const float *b, int64_t rows, int64_t columns, const float *h)
{
    const int64_t tiles = (rows + FORM_ROWS - 1) / FORM_ROWS;
    double *sums = wn_alloc(tiles, sizeof *sums), sum = 0;
    const int threads = wn_blas_begin();

#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && tiles > 1)
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t at = t * FORM_ROWS * columns;
        sums[t] = form_rows(a + at, b ? b + at : NULL, smaller(rows - t * FORM_ROWS, FORM_ROWS), columns, h);
    }
    wn_blas_end(threads);
    for (int64_t t = 0; t < tiles; t++)
        sum += sums[t];
    wn_free(sums);
    return sum;
}
