/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear maps of few rows, as in writing texts token by token. A matrix product would copy the weights into its own
 * order before it uses them, which few rows do not pay for. A number of the result is one sum over the columns in
 * order: it depends on its row of x and its row of w alone, whichever kernel computes it.
 *
 * Weights are read where they are, once per 32 rows. Up to FEW_NARROW rows, a vector register holds one column of w for
 * 16 outputs, which are turned in registers, and each number of x goes to all of them: all lanes are used for one row
 * too, and reading the weights is what takes the time. Of more rows, x is turned, so that a register holds one column
 * of it, and each weight goes to all rows at a time. A source with a kernel of its own takes strips of x for any of
 * them.
 */
#include "few_rows.h"

#include <omp.h>
#include <string.h>

enum { PIECE = 256, SERIAL_WORK = 1 << 16 };
enum { PANEL_FLOATS = 1 << 16 }; /* of weights from a source: they stay in the second cache */

enum { MOST_COLUMNS = 6 }; /* of all wide kernels */

struct few {
    const struct few_kernels *kernels;
    const float *x; /* as the kernel wants it: strips, or turned */
    int64_t rows, padded, in;
    bool narrow, by_source; /* x lies in strips; outputs are added up by the source */
    const float *w, *bias;  /* w NULL: `source` */
    const struct wn_row_source *source;
    float *y;                   /* of the first of these rows */
    int64_t first, out, stride; /* outputs first .. out - 1 */
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

const struct few_kernels *wn_few_kernels(void)
{
#ifdef __x86_64__
    if (wn_isa() == WN_ISA_AVX512)
        return &few_avx512;
    if (wn_isa() == WN_ISA_AVX2)
        return &few_avx2;
#endif
    return &few_plain;
}

/* Sums [outputs, output_step], with steps of rows, to y. */
static void put(const struct few *few, int64_t column, int64_t columns, const float *sums, int64_t output_step,
                int64_t row_step)
{
    for (int64_t r = 0; r < few->rows; r++)
        for (int64_t c = 0; c < columns; c++)
            few->y[r * few->stride + column + c] =
                sums[c * output_step + r * row_step] + (few->bias ? few->bias[column + c] : 0.0f);
}

/* Outputs column .. column + COLUMNS - 1, at most up to `end`, by the rows of w from `first` on. Behind the last column
 * that one is computed again and dropped. */
static void run_wide(const struct few *few, int64_t column, int64_t end, const float *rows, int64_t first)
{
    float sums[MOST_COLUMNS * FEW_MOST];
    const float *w[MOST_COLUMNS];
    const int64_t columns = smaller(end - column, few->kernels->columns);
    for (int64_t c = 0; c < few->kernels->columns; c++)
        w[c] = rows + (column - first + smaller(c, columns - 1)) * few->in;
    few->kernels->wide(w, few->in, few->x, few->padded, sums);
    put(few, column, columns, sums, few->padded, 1);
}

/* A strip that begins with output `column`, whose weights begin at w. */
static void run_strip(const struct few *few, int64_t column, int64_t end, const float *w)
{
    float sums[FEW_NARROW * FEW_STRIP];
    few->kernels->narrow(w, few->in, few->x, few->rows, sums);
    put(few, column, smaller(end - column, FEW_STRIP), sums, 1, FEW_STRIP);
}

/* Whole strips first .. end - 1 by a kernel of the source. */
static void run_stored(const struct few *few, int64_t first, int64_t end)
{
    float sums[WN_FEW_STRIPS * FEW_MOST * FEW_STRIP];
    const int64_t count = (end - first) / FEW_STRIP;
    if (count)
        few->source->strip(few->source->context, first, count, few->x, few->rows, sums);
    for (int64_t i = 0; i < count; i++)
        put(few, first + i * FEW_STRIP, FEW_STRIP, sums + i * few->rows * FEW_STRIP, 1, FEW_STRIP);
}

/* ---- x ---- */

/* Columns first .. end - 1 of x as [in, padded]. */
static void turn(const float *x, const struct few *few, int64_t first, int64_t end, float *turned)
{
    for (int64_t k = first; k < end; k++)
        for (int64_t r = 0; r < few->padded; r++)
            turned[k * few->padded + r] = r < few->rows ? x[r * few->in + k] : 0.0f;
}

/* The same as strips [strips, rows, FEW_STRIP], zeros behind the last column; `first` is a multiple of FEW_STRIP. */
static void cut(const float *x, const struct few *few, int64_t first, int64_t end, float *strips)
{
    for (int64_t k = first; k < end; k += FEW_STRIP)
        for (int64_t r = 0; r < few->rows; r++)
            for (int64_t c = 0; c < FEW_STRIP; c++)
                strips[k * few->rows + r * FEW_STRIP + c] = k + c < few->in ? x[r * few->in + k + c] : 0.0f;
}

/* ---- outputs ---- */

/* Rows of weights that are taken from a source at a time: whole runs of `step`. */
static int64_t panel_rows(int64_t in, int64_t step)
{
    int64_t runs = PANEL_FLOATS / (step * in);
    return (runs > 1 ? runs : 1) * step;
}

int64_t wn_few_rows_panel(int64_t in)
{
    const int64_t narrow = panel_rows(in, FEW_STRIP), wide = panel_rows(in, wn_few_kernels()->columns);
    return (narrow > wide ? narrow : wide) * in;
}

/* Outputs first .. end - 1 by the rows of `w` from w_first on. */
static void run_outputs(const struct few *few, int64_t first, int64_t end, const float *w, int64_t w_first)
{
    if (few->narrow)
        for (int64_t column = first; column < end; column += FEW_STRIP)
            run_strip(few, column, end, w + (column - w_first) * few->in);
    else
        for (int64_t column = first; column < end; column += few->kernels->columns)
            run_wide(few, column, end, w, w_first);
}

/* Weights first .. end - 1; zeros behind them up to a whole strip. */
static void take_panel(const struct few *few, int64_t first, int64_t end, float *panel)
{
    const int64_t count = end - first, whole = (count + FEW_STRIP - 1) / FEW_STRIP * FEW_STRIP;
    if (few->w)
        memcpy(panel, few->w + first * few->in, (size_t)(count * few->in) * sizeof *panel);
    else
        few->source->take(few->source->context, first, end, panel);
    if (few->narrow)
        memset(panel + count * few->in, 0, (size_t)((whole - count) * few->in) * sizeof *panel);
}

/* Outputs first .. end - 1; panel NULL: there are whole strips only. */
static void run_item(const struct few *few, int64_t first, int64_t end, float *panel)
{
    const int64_t rest = few->narrow ? (end - first) % FEW_STRIP : 0;
    if (few->by_source)
        run_stored(few, first, end);
    else if (few->w)
        run_outputs(few, first, end - rest, few->w, 0);
    if (!panel || (rest == 0 && (few->w || few->by_source)))
        return;
    if (few->w || few->by_source)
        first = end - rest;
    take_panel(few, first, end, panel);
    run_outputs(few, first, end, panel, first);
}

/* Strips that a source adds up at a time: what it does to x first is done less often, and threads still have several
 * runs each. */
static int64_t strips_at_a_time(const struct few *few)
{
    int64_t strips = WN_FEW_STRIPS;
    while (strips > 2 && (few->out - few->first) / FEW_STRIP < 4 * strips * omp_get_num_threads())
        strips /= 2;
    return strips;
}

/* All outputs, of which threads take runs; with a source, runs of its panels. */
static void share_outputs(const struct few *few)
{
    const int64_t run = few->narrow ? FEW_STRIP : few->kernels->columns;
    const bool in_place = few->w || few->by_source;
    const int64_t step = few->by_source ? strips_at_a_time(few) * FEW_STRIP : few->w ? run : panel_rows(few->in, run);
    const bool has_rest = few->narrow && few->out % FEW_STRIP != 0;
    float *panel = in_place && !has_rest ? NULL : wn_alloc((in_place ? FEW_STRIP : step) * few->in, sizeof *panel);
#pragma omp for schedule(static)
    for (int64_t first = few->first; first < few->out; first += step)
        run_item(few, first, smaller(first + step, few->out), panel);
    wn_free(panel);
}

/* At most FEW_MOST rows; `memory` has room for FEW_MOST x in floats and a strip more of each. */
static void run_rows(struct few *few, const float *x, float *memory)
{
    const int64_t in = few->in, lanes = few->kernels->lanes, vectors = (few->rows + lanes - 1) / lanes;
    const bool shared = few->rows * in * (few->out - few->first) > SERIAL_WORK;
    few->padded = vectors <= 2 ? vectors * lanes : FEW_MOST;
    few->x = memory;
#pragma omp parallel if (shared)
    {
#pragma omp for schedule(static)
        for (int64_t k = 0; k < in; k += PIECE)
            if (few->narrow)
                cut(x, few, k, smaller(k + PIECE, in), memory);
            else
                turn(x, few, k, smaller(k + PIECE, in), memory);
        share_outputs(few);
    }
}

/* A source adds up whole strips of as many rows as there are; what is behind them is for the other kernels. */
static void run_outputs_of(const struct few *map, const float *x, float *memory)
{
    struct few few = *map;
    few.by_source = few.kernels->narrow && !few.w && few.source->strip;
    few.narrow = few.kernels->narrow && (few.by_source || few.rows <= FEW_NARROW);
    if (few.by_source && few.rows > FEW_NARROW) {
        few.out = few.out / FEW_STRIP * FEW_STRIP;
        run_rows(&few, x, memory);
        few.first = few.out;
        few.out = map->out;
        few.by_source = few.narrow = false;
    }
    if (few.first < few.out)
        run_rows(&few, x, memory);
}

static void run_all(const struct few *map, const float *x, int64_t rows)
{
    float *memory = wn_alloc(wn_few_rows_inputs(map->in), sizeof *memory);
    for (int64_t first = 0; first < rows; first += FEW_MOST) {
        struct few few = *map;
        few.rows = smaller(rows - first, FEW_MOST);
        few.y += first * map->stride;
        run_outputs_of(&few, x + first * map->in, memory);
    }
    wn_free(memory);
}

int64_t wn_few_rows_inputs(int64_t in)
{
    return FEW_MOST * (in + FEW_STRIP - 1);
}

void wn_linear_few_rows(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias,
                        float *y, int64_t stride)
{
    const struct few few = {
        .kernels = wn_few_kernels(), .in = in, .w = w, .bias = bias, .y = y, .out = out, .stride = stride};
    run_all(&few, x, rows);
}

void wn_linear_few_rows_from(const float *x, int64_t rows, int64_t in, const struct wn_row_source *source, int64_t out,
                             const float *bias, float *y, int64_t stride)
{
    const struct few few = {
        .kernels = wn_few_kernels(), .in = in, .source = source, .bias = bias, .y = y, .out = out, .stride = stride};
    run_all(&few, x, rows);
}
