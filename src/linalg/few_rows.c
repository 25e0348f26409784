/*
 * Linear maps of few rows, as in writing texts token by token. A matrix product would copy the weights into its own
 * order before it uses them, which few rows do not pay for. Here x is turned, so that a vector register holds one
 * column of it for all rows; weights are read where they are, once per 32 rows, and each goes to all rows at a time. A
 * number of the result is one sum over the columns in order: it depends on its row of x and its row of w alone.
 */
#include <winnow/linalg.h>

#include <string.h>

/* As wide as a vector register, and as many columns as sums of all rows fit into the registers. */
#ifdef __AVX512F__
enum { LANES = 16, COLUMNS = 6 };
#else
enum { LANES = 8, COLUMNS = 3 };
#endif
enum { MOST_ROWS = 32, VECTORS = MOST_ROWS / LANES, PIECE = 256, SERIAL_WORK = 1 << 16 };
enum { PANEL_FLOATS = 1 << 16 }; /* of weights from a source: they stay in the second cache */

typedef float lanes_t __attribute__((vector_size(LANES * sizeof(float))));

struct few {
    const lanes_t *turned; /* [in, vectors]: up to MOST_ROWS rows of x, zeros behind them */
    int64_t vectors, rows, in;
    const float *w, *bias; /* w NULL: `source` */
    const struct wn_row_source *source;
    float *y; /* of the first of these rows */
    int64_t out, stride;
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Sums of COLUMNS outputs for all rows. `vectors` is a constant where this is called, so that all sums stay in
 * registers. */
static inline __attribute__((always_inline)) void add_up(const struct few *few, const float *const w[COLUMNS],
                                                         int64_t vectors, lanes_t sums[COLUMNS][VECTORS])
{
    lanes_t s[COLUMNS][VECTORS] = {0};
    for (int64_t k = 0; k < few->in; k++)
        for (int c = 0; c < COLUMNS; c++)
            for (int64_t v = 0; v < vectors; v++)
                s[c][v] += few->turned[k * vectors + v] * w[c][k];
    memcpy(sums, s, sizeof s);
}

/* Outputs column .. column + COLUMNS - 1, at most up to `end`, by the rows of w from `first` on. Behind the last column
 * that one is computed again and dropped. */
static void run_columns(const struct few *few, int64_t column, int64_t end, const float *rows, int64_t first)
{
    lanes_t sums[COLUMNS][VECTORS];
    int64_t columns = smaller(end - column, COLUMNS);
    const float *w[COLUMNS];
    for (int64_t c = 0; c < COLUMNS; c++)
        w[c] = rows + (column - first + smaller(c, columns - 1)) * few->in;
    if (few->vectors == 1)
        add_up(few, w, 1, sums);
    else if (few->vectors == 2)
        add_up(few, w, 2, sums);
    else
        add_up(few, w, VECTORS, sums);
    for (int64_t r = 0; r < few->rows; r++)
        for (int64_t c = 0; c < columns; c++)
            few->y[r * few->stride + column + c] =
                sums[c][r / LANES][r % LANES] + (few->bias ? few->bias[column + c] : 0.0f);
}

/* Vectors that hold `rows` rows: 1, 2 or all. */
static int64_t vectors_for(int64_t rows)
{
    int64_t vectors = (rows + LANES - 1) / LANES;
    return vectors <= 2 ? vectors : VECTORS;
}

/* Columns first .. end - 1 of x as [in, padded]. */
static void turn(const float *x, int64_t rows, int64_t in, int64_t padded, int64_t first, int64_t end, float *turned)
{
    for (int64_t k = first; k < end; k++)
        for (int64_t r = 0; r < padded; r++)
            turned[k * padded + r] = r < rows ? x[r * in + k] : 0.0f;
}

/* Rows of weights that are taken from a source at a time: whole runs of COLUMNS. */
static int64_t panel_rows(int64_t in)
{
    int64_t runs = PANEL_FLOATS / (COLUMNS * in);
    return (runs > 1 ? runs : 1) * COLUMNS;
}

int64_t wn_few_rows_panel(int64_t in)
{
    return panel_rows(in) * in;
}

/* All outputs, of which threads take runs; with a source, runs of its panels. */
static void run_outputs(const struct few *few)
{
    const int64_t step = few->w ? COLUMNS : panel_rows(few->in);
    float *panel = few->w ? NULL : wn_alloc(step * few->in, sizeof *panel);
#pragma omp for schedule(static)
    for (int64_t first = 0; first < few->out; first += step) {
        const int64_t end = smaller(first + step, few->out);
        if (panel)
            few->source->take(few->source->context, first, end, panel);
        for (int64_t column = first; column < end; column += COLUMNS)
            run_columns(few, column, end, panel ? panel : few->w, panel ? first : 0);
    }
    wn_free(panel);
}

/* At most MOST_ROWS rows; `turned` has room for MOST_ROWS x in floats. */
static void run_rows(struct few *few, const float *x, float *turned)
{
    const int64_t in = few->in, padded = vectors_for(few->rows) * LANES;
    const bool shared = few->rows * in * few->out > SERIAL_WORK;
    few->turned = (const lanes_t *)(const void *)turned;
    few->vectors = padded / LANES;
#pragma omp parallel if (shared)
    {
#pragma omp for schedule(static)
        for (int64_t k = 0; k < in; k += PIECE)
            turn(x, few->rows, in, padded, k, smaller(k + PIECE, in), turned);
        run_outputs(few);
    }
}

static void run_all(const struct few *map, const float *x, int64_t rows)
{
    float *turned = wn_alloc(MOST_ROWS * map->in, sizeof *turned);
    for (int64_t first = 0; first < rows; first += MOST_ROWS) {
        struct few few = *map;
        few.rows = smaller(rows - first, MOST_ROWS);
        few.y += first * map->stride;
        run_rows(&few, x + first * map->in, turned);
    }
    wn_free(turned);
}

void wn_linear_few_rows(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias,
                        float *y, int64_t stride)
{
    const struct few few = {.in = in, .w = w, .bias = bias, .y = y, .out = out, .stride = stride};
    run_all(&few, x, rows);
}

void wn_linear_few_rows_from(const float *x, int64_t rows, int64_t in, const struct wn_row_source *source, int64_t out,
                             const float *bias, float *y, int64_t stride)
{
    const struct few few = {.in = in, .source = source, .bias = bias, .y = y, .out = out, .stride = stride};
    run_all(&few, x, rows);
}
