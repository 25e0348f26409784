/* Linear maps by canonical tiles, each tile one single-threaded BLAS call. */
#include <winnow/linalg.h>

#include <cblas.h>

/* Below this many multiplications a parallel region costs more than it brings. */
enum { SERIAL_WORK = 1 << 21 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void add_bias(float *y, int64_t rows, int64_t columns, int64_t stride, const float *bias)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            y[r * stride + c] += bias[c];
}

/* Operands and result of one linear map. */
struct linear {
    const float *x, *w, *bias;
    float *y;
    int64_t rows, in, out, stride;
};

/* Tiles are counted down the rows first, so that neighbours share their panel of w. */
static void run_tile(const struct linear *l, int64_t tile, int64_t row_tiles)
{
    int64_t row = tile % row_tiles * WN_TILE_ROWS, column = tile / row_tiles * WN_TILE_COLUMNS;
    int64_t m = smaller(l->rows - row, WN_TILE_ROWS), n = smaller(l->out - column, WN_TILE_COLUMNS);
    float *corner = l->y + row * l->stride + column;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)l->in, 1.0f, l->x + row * l->in,
                (int)l->in, l->w + column * l->in, (int)l->in, 0.0f, corner, (int)l->stride);
    if (l->bias)
        add_bias(corner, m, n, l->stride, l->bias + column);
}

void wn_linear_strided(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias,
                       float *y, int64_t stride)
{
    const struct linear linear = {x, w, bias, y, rows, in, out, stride};
    int64_t row_tiles = (rows + WN_TILE_ROWS - 1) / WN_TILE_ROWS;
    int64_t n_tiles = row_tiles * ((out + WN_TILE_COLUMNS - 1) / WN_TILE_COLUMNS);
    int threads = wn_blas_begin();
    bool shared = threads > 1 && n_tiles > 1 && rows * in * out > SERIAL_WORK;
#pragma omp parallel for schedule(dynamic) num_threads(shared ? threads : 1) if (shared)
    for (int64_t tile = 0; tile < n_tiles; tile++)
        run_tile(&linear, tile, row_tiles);
    wn_blas_end(threads);
}

void wn_linear(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias, float *y)
{
    wn_linear_strided(x, rows, in, w, out, bias, y, out);
}

void wn_linear_ref(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias, float *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0.0;
            for (int64_t i = 0; i < in; i++)
                sum += (double)x[r * in + i] * w[o * in + i];
            y[r * out + o] = (float)sum;
        }
}
