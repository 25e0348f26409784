/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The column sweep. Three levels, so that nearly all of the work is matrix products:
 *
 *   inside a block of 128 columns a column first takes back the errors of the columns before it: all of them at once,
 *   when its turn comes, with the sums in registers (a column is read and written once, not 128 times);
 *   behind a block, the columns of the next blocks up to the end of a super-block of 512 are updated by products of
 *   depth 128;
 *   behind a super-block, everything else by products of depth 512.
 */
#include "solver.h"

#include <winnow/linalg.h>

#include <cblas.h>
#include <string.h>

enum {
    BLOCK = WN_SOLVER_BLOCK,
    STRIP = WN_SOLVER_STRIP,
    BLOCKS = 4,       /* of a super-block */
    AHEAD = 8,        /* columns that take back errors together */
    MOST_ROWS = 256,  /* of a tile of the update behind a super-block */
    FEWER_ROWS = 128, /* and inside one, where there are few columns */
    ROW_TILES = 8,    /* at least, as long as there are strips */
    TILE_COLUMNS = 512,
    LOAD = 64,  /* columns that are turned together: enough of a row that its page is worth the visit */
    STORE = 16, /* and back: as many as stay in the nearest cache beside masks and codes */
    PAD = 16,   /* floats between columns of W^T: a power of two would put them all in one set of the cache */
    VECTOR = 64,
    LANES = VECTOR / sizeof(wn_real),
    VECTORS = STRIP / LANES
};

typedef wn_real vector __attribute__((vector_size(VECTOR), may_alias));

/* What a thread needs for one strip of one block. */
struct desk {
    wn_real w[BLOCK][STRIP], q[BLOCK][STRIP], e[BLOCK][STRIP];
    uint8_t keep[BLOCK][STRIP], codes[BLOCK][STRIP];
    int64_t taken[BLOCK]; /* columns of the block whose errors a column has taken back */
};

/* A block of columns; factors[j][k] = U_kj, so that what a column takes back is contiguous. */
struct block {
    int64_t first, columns;
    wn_real factors[BLOCK][BLOCK];
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t wn_solver_place(const struct wn_solver *solver, int64_t column)
{
    return solver->order ? solver->order[column] : column;
}

const wn_real *wn_strip_column(const struct wn_strip *strip, int64_t column)
{
    if (column >= strip->first && column < strip->first + strip->columns)
        return strip->w[column - strip->first];
    return strip->solver->work + column * strip->solver->stride + strip->row;
}

/* ---- W to W^T and back ---- */

static void load_columns(struct wn_solver *solver, int64_t row, int64_t first, int64_t count)
{
    const int64_t rows = smaller(solver->rows - row, STRIP);
    wn_real part[STRIP][LOAD] = {{0}};

    for (int64_t r = 0; r < rows; r++) {
        const wn_real *from = solver->weight + (row + r) * solver->columns;
        for (int64_t k = 0; solver->order && k < count; k++)
            part[r][k] = from[solver->order[first + k]];
        if (!solver->order)
            memcpy(part[r], from + first, (size_t)count * sizeof *from);
    }
    for (int64_t k = 0; k < count; k++) {
        const bool dead = solver->dead && solver->dead[wn_solver_place(solver, first + k)];
        wn_real *to = solver->work + (first + k) * solver->stride + row;
        for (int r = 0; r < STRIP; r++)
            to[r] = dead ? 0 : part[r][k];
    }
}

static void load_strip_rows(struct wn_solver *solver, int64_t row)
{
    for (int64_t j = 0; j < solver->columns; j += LOAD)
        load_columns(solver, row, j, smaller(solver->columns - j, LOAD));
}

static void store_columns(const struct wn_solver *solver, const struct wn_strip *strip, int64_t j, int64_t count)
{
    int64_t places[STORE];

    for (int64_t k = 0; k < count; k++)
        places[k] = wn_solver_place(solver, strip->first + j + k);
    for (int64_t r = 0; r < strip->rows; r++) {
        const int64_t at = (strip->row + r) * solver->columns;
        for (int64_t k = 0; k < count; k++)
            solver->result[at + places[k]] = strip->q[j + k][r];
        for (int64_t k = 0; solver->keep && k < count; k++)
            solver->keep[at + places[k]] = strip->keep[j + k][r];
        for (int64_t k = 0; solver->codes && k < count; k++)
            solver->codes[at + places[k]] = strip->codes[j + k][r];
    }
}

static void store_strip(const struct wn_solver *solver, const struct wn_strip *strip)
{
    for (int64_t j = 0; j < strip->columns; j += STORE)
        store_columns(solver, strip, j, smaller(strip->columns - j, STORE));
}

/* ---- inside a block ---- */

/* w -= sum over k of u[k] * e[k], in order of k. */
static void take_back(wn_real *w, const wn_real *u, wn_real (*e)[STRIP], int64_t count)
{
    vector sum[VECTORS], *to = (vector *)w;

    for (int v = 0; v < VECTORS; v++)
        sum[v] = to[v];
    for (int64_t k = 0; k < count; k++) {
        const vector *from = (const vector *)e[k];
        for (int v = 0; v < VECTORS; v++)
            sum[v] -= from[v] * u[k];
    }
    for (int v = 0; v < VECTORS; v++)
        to[v] = sum[v];
}

/* The same for two neighbours: each error is loaded once for both. */
static void take_back_two(wn_real (*w)[STRIP], const wn_real *u0, const wn_real *u1, wn_real (*e)[STRIP], int64_t count)
{
    vector sum0[VECTORS], sum1[VECTORS], *to0 = (vector *)w[0], *to1 = (vector *)w[1];

    for (int v = 0; v < VECTORS; v++) {
        sum0[v] = to0[v];
        sum1[v] = to1[v];
    }
    for (int64_t k = 0; k < count; k++) {
        const vector *from = (const vector *)e[k];
        for (int v = 0; v < VECTORS; v++) {
            sum0[v] -= from[v] * u0[k];
            sum1[v] -= from[v] * u1[k];
        }
    }
    for (int v = 0; v < VECTORS; v++) {
        to0[v] = sum0[v];
        to1[v] = sum1[v];
    }
}

/* Brings columns [j, end) of the block up to date with the errors of columns [0, done). */
static void settle(const struct block *block, struct desk *desk, int64_t j, int64_t end, int64_t done)
{
    for (; j < end; j++) {
        const int64_t from = desk->taken[j];
        if (from >= done)
            continue;
        desk->taken[j] = done;
        if (j + 1 < end && desk->taken[j + 1] == from) {
            desk->taken[j + 1] = done;
            take_back_two(desk->w + j, block->factors[j] + from, block->factors[j + 1] + from, desk->e + from,
                          done - from);
        } else {
            take_back(desk->w[j], block->factors[j] + from, desk->e + from, done - from);
        }
    }
}

/* e = (w - q) / U_jj, and its square. */
static void take_error(const struct block *block, struct desk *desk, int64_t j, vector *loss)
{
    const vector *w = (const vector *)desk->w[j], *q = (const vector *)desk->q[j];
    const wn_real pivot = block->factors[j][j];
    vector *e = (vector *)desk->e[j];

    for (int v = 0; v < VECTORS; v++) {
        e[v] = (w[v] - q[v]) / pivot;
        loss[v] += e[v] * e[v];
    }
}

static void run_columns(const struct block *block, const struct wn_solver_rule *rule, struct wn_strip *strip,
                        struct desk *desk, vector *loss)
{
    for (int64_t j = 0; j < block->columns; j++) {
        const int64_t column = block->first + j;
        if (rule->begin_run && column % rule->run == 0) {
            settle(block, desk, j, smaller(j + rule->run, block->columns), j);
            rule->begin_run(rule->context, strip, column);
        }
        if (j % AHEAD == 0)
            settle(block, desk, j, smaller(j + AHEAD, block->columns), j);
        settle(block, desk, j, j + 1, j);
        rule->choose(rule->context, strip, column);
        take_error(block, desk, j, loss);
    }
}

static void run_strip(struct wn_solver *solver, const struct wn_solver_rule *rule, const struct block *block,
                      int64_t row, wn_real *error, struct desk *desk)
{
    struct wn_strip strip = {.solver = solver,
                             .row = row,
                             .rows = smaller(solver->rows - row, STRIP),
                             .first = block->first,
                             .columns = block->columns,
                             .w = desk->w,
                             .q = desk->q,
                             .keep = desk->keep,
                             .codes = desk->codes};
    vector loss[VECTORS] = {{0}};

    for (int64_t j = 0; j < block->columns; j++) {
        memcpy(desk->w[j], solver->work + (block->first + j) * solver->stride + row, sizeof desk->w[j]);
        memset(desk->keep[j], 1, sizeof desk->keep[j]);
        desk->taken[j] = 0;
    }
    if (rule->begin_strip)
        rule->begin_strip(rule->context, &strip);
    run_columns(block, rule, &strip, desk, loss);
    for (int64_t j = 0; j < block->columns; j++)
        memcpy(error + j * solver->stride + row, desk->e[j], sizeof desk->e[j]);
    for (int64_t r = 0; solver->loss && r < strip.rows; r++)
        solver->loss[row + r] += loss[r / LANES][r % LANES];
    store_strip(solver, &strip);
}

static void run_block(struct wn_solver *solver, const struct wn_solver_rule *rule, const struct block *block,
                      wn_real *error, int threads)
{
#pragma omp parallel num_threads(threads) if (threads > 1 && solver->rows > STRIP)
    {
        struct desk *desk = wn_alloc(1, sizeof *desk);
#pragma omp for schedule(dynamic)
        for (int64_t row = 0; row < solver->rows; row += STRIP)
            run_strip(solver, rule, block, row, error, desk);
        wn_free(desk);
    }
}

/* ---- behind a block ---- */

static void multiply(int m, int n, int k, const float *u, int ldu, const float *e, int lde, float *w, int ldw)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, -1.0f, u, ldu, e, lde, 1.0f, w, ldw);
}

static __attribute__((unused)) void multiply_double(int m, int n, int k, const double *u, int ldu, const double *e,
                                                    int lde, double *w, int ldw)
{
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, -1.0, u, ldu, e, lde, 1.0, w, ldw);
}

static int64_t tile_rows_of(int64_t rows, int64_t depth)
{
    const int64_t share = (rows + ROW_TILES - 1) / ROW_TILES;

    return smaller((share + STRIP - 1) / STRIP * STRIP, depth > BLOCK ? MOST_ROWS : FEWER_ROWS);
}

/* W^T[first .. end) -= U[from .. from + depth, first .. end)^T E, by tiles. */
static void update(struct wn_solver *solver, int64_t from, int64_t depth, int64_t first, int64_t end, int threads)
{
    const int64_t tile_rows = tile_rows_of(solver->rows, depth), ld = solver->columns;
    const int64_t row_tiles = (solver->rows + tile_rows - 1) / tile_rows;
    const int64_t tiles = row_tiles * ((end - first + TILE_COLUMNS - 1) / TILE_COLUMNS);

#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && tiles > 1)
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t column = first + t / row_tiles * TILE_COLUMNS, row = t % row_tiles * tile_rows;
        const int m = (int)smaller(end - column, TILE_COLUMNS), n = (int)smaller(solver->rows - row, tile_rows);
        _Generic((wn_real)0, float
                 : multiply, double
                 : multiply_double)(m, n, (int)depth, solver->upper + from * ld + column, (int)ld, solver->error + row,
                                    (int)solver->stride, solver->work + column * solver->stride + row,
                                    (int)solver->stride);
    }
}

/* ---- the whole sweep ---- */

/* Longest block whose end does not cut a run that fits into one; a longer run begins with a block of its own. */
static int64_t end_of_block(const struct wn_solver *solver, const struct wn_solver_rule *rule, int64_t first)
{
    const int64_t run = rule->run;
    int64_t end = first + (run > BLOCK ? BLOCK : BLOCK / run * run);

    if (run > BLOCK)
        end = smaller(end, (first / run + 1) * run);
    return smaller(end, solver->columns);
}

static void open_block(const struct wn_solver *solver, int64_t first, int64_t end, struct block *block)
{
    block->first = first;
    block->columns = end - first;
    for (int64_t k = 0; k < block->columns; k++)
        for (int64_t j = k; j < block->columns; j++)
            block->factors[j][k] = solver->upper[(first + k) * solver->columns + first + j];
}

static void run_blocks(struct wn_solver *solver, const struct wn_solver_rule *rule, struct block *block, int threads)
{
    const int64_t depth = rule->eager || rule->run > BLOCK ? 1 : BLOCKS;
    int64_t start = 0, done = 0; /* of the super-block: first column, finished blocks */

    for (int64_t first = 0, end; first < solver->columns; first = end) {
        end = end_of_block(solver, rule, first);
        open_block(solver, first, end, block);
        if (rule->begin_block) {
            wn_blas_end(threads);
            rule->begin_block(rule->context, solver, first, end - first);
            wn_blas_begin();
        }
        wn_real *error = solver->error + (first - start) * solver->stride;
        run_block(solver, rule, block, error, threads);
        done++;
        if (done == depth) {
            update(solver, start, end - start, end, solver->columns, threads);
            start = end;
            done = 0;
        } else {
            const int64_t length = BLOCK / rule->run * rule->run; /* of a block */
            struct wn_solver part = *solver;
            part.error = error;
            update(&part, first, end - first, end, smaller(start + depth * length, solver->columns), threads);
        }
    }
}

static int64_t stride_of(int64_t rows)
{
    return (rows + STRIP - 1) / STRIP * STRIP + PAD;
}

static int64_t error_columns(int64_t columns)
{
    return smaller(columns, BLOCKS * BLOCK);
}

int64_t wn_solver_bytes(int64_t rows, int64_t columns, int threads)
{
    return (columns + error_columns(columns)) * stride_of(rows) * (int64_t)sizeof(wn_real) +
           (int64_t)sizeof(struct block) + threads * (int64_t)sizeof(struct desk);
}

void wn_solver_run(struct wn_solver *solver, const struct wn_solver_rule *rule)
{
    struct block *block = wn_alloc(1, sizeof *block);
    const int threads = wn_blas_begin();

    solver->stride = stride_of(solver->rows);
    solver->work = wn_alloc(solver->columns * solver->stride, sizeof *solver->work);
    solver->error = wn_alloc(error_columns(solver->columns) * solver->stride, sizeof *solver->error);
    if (solver->loss)
        memset(solver->loss, 0, (size_t)solver->rows * sizeof *solver->loss);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && solver->rows > STRIP)
    for (int64_t row = 0; row < solver->rows; row += STRIP)
        load_strip_rows(solver, row);
    run_blocks(solver, rule, block, threads);
    wn_blas_end(threads);
    wn_free(solver->error);
    wn_free(solver->work);
    wn_free(block);
    solver->work = solver->error = NULL;
}
