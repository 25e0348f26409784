/* SPDX-License-Identifier: Apache-2.0 */
/* Linear maps by canonical tiles, each tile one single-threaded BLAS call. */
#include <winnow/linalg.h>

#include <cblas.h>

#include "bf16.h"

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

/* Rows of x that a tile reads. */
struct strip {
    int64_t row, count;
};

/* What all tiles of a call share. */
struct product {
    const float *x;   /* [rows, in] */
    uint16_t *halves; /* [rows, in] x in bf16; NULL: products in fp32 */
    int64_t in, n_strips;
    const struct strip *strips;
};

/* A panel of weights as one thread has it; neighbouring items use it again. */
struct panel {
    float *rows;      /* [WN_TILE_COLUMNS, in] from a source; NULL: no map has one */
    uint16_t *halves; /* [WN_TILE_COLUMNS, in] in bf16; NULL: products in fp32 */
    struct wn_bf16_stream *stream;
    int64_t number;
};

/* `w`: the rows of the weights from `column` on; in bf16 they are in the panel. */
static void run_tile(const struct product *product, const struct strip *strip, const struct wn_linear_map *map,
                     int64_t column, const float *w, const struct panel *panel)
{
    int64_t n = smaller(map->out - column, WN_TILE_COLUMNS), in = product->in;
    float *corner = map->y + strip->row * map->stride + column;
    if (product->halves)
        wn_bf16_product(panel->stream, product->halves + strip->row * in, strip->count, in, panel->halves, n, corner,
                        map->stride);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)strip->count, (int)n, (int)in, 1.0f,
                    product->x + strip->row * in, (int)in, w, (int)in, 0.0f, corner, (int)map->stride);
    if (map->bias)
        add_bias(corner, strip->count, n, map->stride, map->bias + column);
}

/* Strips of all runs; returns how many. `strips` has room for rows / WN_TILE_ROWS + n_runs. */
static int64_t cut_strips(int64_t n_runs, const int64_t *row, struct strip *strips)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n_runs; i++)
        for (int64_t r = row[i]; r < row[i + 1]; r += WN_TILE_ROWS)
            strips[count++] = (struct strip){r, smaller(row[i + 1] - r, WN_TILE_ROWS)};
    return count;
}

static int64_t column_tiles(const struct wn_linear_map *map)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): callers fill all maps */
    return (map->out + WN_TILE_COLUMNS - 1) / WN_TILE_COLUMNS;
}

static const float *take_panel(const struct wn_linear_map *map, int64_t column, int64_t in, int64_t number,
                               struct panel *panel)
{
    const float *w = map->w ? map->w + column * in : panel->rows;
    int64_t n = smaller(map->out - column, WN_TILE_COLUMNS);
    if (panel->number == number)
        return w;
    if (!map->w)
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a map without weights has a source */
        map->source->take(map->source->context, column, column + n, panel->rows);
    if (panel->halves)
        wn_all_to_bf16(w, n * in, panel->halves);
    panel->number = number;
    return w;
}

/* Tiles are counted down the strips first, so that neighbours share their panel of w. */
static void run_item(const struct product *product, const struct wn_linear_map *map, int64_t item, struct panel *panel)
{
    int64_t number = item / product->n_strips;
    for (; number >= column_tiles(map); map++)
        number -= column_tiles(map);
    const int64_t column = number * WN_TILE_COLUMNS;
    const float *w = take_panel(map, column, product->in, item / product->n_strips, panel);
    run_tile(product, &product->strips[item % product->n_strips], map, column, w, panel);
}

/* Rows of the longest panel that comes from a source. */
static int64_t panel_rows(const struct wn_linear_map *maps, int n_maps)
{
    int64_t rows = 0;
    for (int i = 0; i < n_maps; i++)
        if (!maps[i].w && maps[i].out > rows)
            rows = maps[i].out;
    return smaller(rows, WN_TILE_COLUMNS);
}

/* Rows of the longest panel of all. */
static int64_t widest_panel(const struct wn_linear_map *maps, int n_maps)
{
    int64_t rows = 0;
    for (int i = 0; i < n_maps; i++)
        rows = maps[i].out > rows ? maps[i].out : rows;
    return smaller(rows, WN_TILE_COLUMNS);
}

/* Inside a parallel region: x in bf16, each row by one thread. */
static void round_inputs(const struct product *product, int64_t rows)
{
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        wn_all_to_bf16(product->x + r * product->in, product->in, product->halves + r * product->in);
}

void wn_linears_by(enum wn_compute compute, const float *x, int64_t n_runs, const int64_t *row, int64_t in,
                   const struct wn_linear_map *maps, int n_maps)
{
    struct strip *strips = wn_alloc(row[n_runs] / WN_TILE_ROWS + n_runs, sizeof *strips);
    int64_t n_strips = cut_strips(n_runs, row, strips), n_panels = 0, out = 0;
    for (int i = 0; i < n_maps; i++) {
        n_panels += column_tiles(&maps[i]);
        out += maps[i].out;
    }
    int threads = wn_blas_begin();
    bool shared = threads > 1 && n_strips * n_panels > 1 && row[n_runs] * in * out > SERIAL_WORK;
    const bool halves = compute == WN_COMPUTE_BF16;
    const int64_t from_source = panel_rows(maps, n_maps) * in, in_halves = widest_panel(maps, n_maps) * in;
    const struct product product = {x, halves ? wn_alloc(row[n_runs] * in, sizeof(uint16_t)) : NULL, in, n_strips,
                                    strips};
#pragma omp parallel num_threads(shared ? threads : 1) if (shared)
    {
        struct panel panel = {.rows = from_source ? wn_alloc(from_source, sizeof(float)) : NULL,
                              .halves = halves ? wn_alloc(in_halves, sizeof(uint16_t)) : NULL,
                              .stream = halves ? wn_bf16_stream_create() : NULL,
                              .number = -1};
        if (halves)
            round_inputs(&product, row[n_runs]);
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < n_strips * n_panels; item++)
            run_item(&product, maps, item, &panel);
        wn_bf16_stream_destroy(panel.stream);
        wn_free(panel.halves);
        wn_free(panel.rows);
    }
    wn_blas_end(threads);
    wn_free(product.halves);
    wn_free(strips);
}

void wn_linears(const float *x, int64_t n_runs, const int64_t *row, int64_t in, const struct wn_linear_map *maps,
                int n_maps)
{
    wn_linears_by(WN_COMPUTE_F32, x, n_runs, row, in, maps, n_maps);
}

int64_t wn_linears_bytes(enum wn_compute compute, int64_t rows, int64_t in, int64_t out, int threads)
{
    if (compute == WN_COMPUTE_F32)
        return 0;
    return (rows + threads * smaller(out, WN_TILE_COLUMNS)) * in * (int64_t)sizeof(uint16_t);
}

void wn_linear_strided(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias,
                       float *y, int64_t stride)
{
    const int64_t row[] = {0, rows};
    const struct wn_linear_map map = {.w = w, .bias = bias, .out = out, .y = y, .stride = stride};
    wn_linears(x, 1, row, in, &map, 1);
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
