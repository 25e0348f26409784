/* SPDX-License-Identifier: Apache-2.0 */
/*
 * solver_cases.h: the column sweep alone, in the type WN_REAL: its exact identity, the plain loop it must equal, what a
 * rule sees when a run begins, order and dead columns, the same bits on 1 to 4 threads. IDENTITY and EQUAL are the
 * relative tolerances for that type.
 */
#ifndef WINNOW_TEST_SOLVER_CASES_H
#define WINNOW_TEST_SOLVER_CASES_H

#include "../test.h"

#include <winnow/linalg.h>

#include <omp.h>

struct matrices {
    int64_t rows, columns;
    double *h;                        /* damped second moments */
    wn_real *upper, *weight, *result; /* U of h */
    uint8_t *keep;
    double *loss;
};

static double draw(uint64_t stream, int64_t index)
{
    return 2 * wn_random_uniform(31, stream, (uint64_t)index) - 1;
}

/* M lower with h = M^T M, then U = M^-T, by the definitions. */
static void factor(const double *h, int64_t n, wn_real *upper)
{
    double *m = wn_alloc_zero(n * n, sizeof *m), *u = wn_alloc_zero(n * n, sizeof *u);

    for (int64_t i = n - 1; i >= 0; i--)
        for (int64_t j = i; j >= 0; j--) {
            double sum = h[i * n + j];
            for (int64_t k = i + 1; k < n; k++)
                sum -= m[k * n + i] * m[k * n + j];
            m[i * n + j] = i == j ? sqrt(sum) : sum / m[i * n + i];
        }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) {
            double sum = i == j;
            for (int64_t k = i; k < j; k++)
                sum -= u[i * n + k] * m[j * n + k];
            u[i * n + j] = sum / m[j * n + j];
        }
    for (int64_t i = 0; i < n * n; i++)
        upper[i] = (wn_real)u[i];
    wn_free(u);
    wn_free(m);
}

static void open_matrices(struct matrices *a, int64_t rows, int64_t columns)
{
    double *scale = wn_alloc(columns, sizeof *scale);

    *a = (struct matrices){.rows = rows, .columns = columns};
    a->h = wn_alloc(columns * columns, sizeof *a->h);
    a->upper = wn_alloc(columns * columns, sizeof *a->upper);
    a->weight = wn_alloc(rows * columns, sizeof *a->weight);
    a->result = wn_alloc(rows * columns, sizeof *a->result);
    a->keep = wn_alloc(rows * columns, 1);
    a->loss = wn_alloc(rows, sizeof *a->loss);
    for (int64_t j = 0; j < columns; j++)
        scale[j] = exp(draw(1, j));
    for (int64_t i = 0; i < columns; i++)
        for (int64_t j = 0; j < columns; j++)
            a->h[i * columns + j] =
                scale[i] * scale[j] * (0.7 * pow(0.8, fabs((double)(i - j))) + 0.3 * cos(0.7 * (double)(i - j)));
    for (int64_t i = 0; i < rows * columns; i++)
        a->weight[i] = (wn_real)draw(2, i);
    factor(a->h, columns, a->upper);
    wn_free(scale);
}

static void close_matrices(struct matrices *a)
{
    wn_free(a->h);
    wn_free(a->upper);
    wn_free(a->weight);
    wn_free(a->result);
    wn_free(a->keep);
    wn_free(a->loss);
}

static struct wn_solver solver_of(struct matrices *a)
{
    return (struct wn_solver){.rows = a->rows,
                              .columns = a->columns,
                              .upper = a->upper,
                              .weight = a->weight,
                              .result = a->result,
                              .keep = a->keep,
                              .loss = a->loss};
}

/* ---- rules ---- */

static bool is_kept(int64_t row, int64_t place)
{
    return wn_random_u64(5, (uint64_t)row, (uint64_t)place) % 3 != 0;
}

/* Two thirds of the weights stay, chosen by row and column of W. */
static void choose_some(void *context, struct wn_strip *strip, int64_t column)
{
    const int64_t j = column - strip->first;

    (void)context;
    for (int64_t r = 0; r < WN_SOLVER_STRIP; r++) {
        strip->keep[j][r] = is_kept(strip->row + r, wn_solver_place(strip->solver, column));
        strip->q[j][r] = strip->keep[j][r] ? strip->w[j][r] : 0;
    }
}

static void choose_eighths(void *context, struct wn_strip *strip, int64_t column)
{
    const int64_t j = column - strip->first;

    (void)context;
    for (int64_t r = 0; r < WN_SOLVER_STRIP; r++)
        strip->q[j][r] = (wn_real)(rint(8 * (double)strip->w[j][r]) / 8);
}

/* Keeps what a run sees of its columns: seen [rows, columns]. */
struct watch {
    int64_t run, columns;
    wn_real *seen;
};

static void watch_run(void *context, struct wn_strip *strip, int64_t column)
{
    const struct watch *watch = context;
    const int64_t end = column + watch->run < watch->columns ? column + watch->run : watch->columns;

    for (int64_t j = column; j < end; j++)
        for (int64_t r = 0; r < strip->rows; r++)
            watch->seen[(strip->row + r) * watch->columns + j] = wn_strip_column(strip, j)[r];
}

/* ---- checks ---- */

/* sum e^2 = (W - Q) H (W - Q)^T in every row. */
static void check_identity(const struct matrices *a, const double *h)
{
    const int64_t n = a->columns;

    for (int64_t row = 0; row < a->rows; row++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                sum += ((double)a->weight[row * n + i] - (double)a->result[row * n + i]) * h[i * n + j] *
                       ((double)a->weight[row * n + j] - (double)a->result[row * n + j]);
        CHECK_NEAR(a->loss[row], sum, IDENTITY * sum);
    }
}

static void check_identities(int64_t rows, int64_t columns)
{
    static const struct wn_solver_rule rules[] = {{.run = 1, .choose = choose_some},
                                                  {.run = 1, .choose = choose_eighths},
                                                  {.run = 1, .eager = true, .choose = choose_eighths}};
    struct matrices a;

    open_matrices(&a, rows, columns);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct wn_solver solver = solver_of(&a);
        wn_solver_run(&solver, &rules[i]);
        check_identity(&a, a.h);
    }
    close_matrices(&a);
}

/* One row by the definition, with the values that columns [at, at + run) have when column `at` begins. */
static void solve_row(const struct matrices *a, int64_t row, int64_t run, double *w, double *seen)
{
    const int64_t n = a->columns;

    for (int64_t j = 0; j < n; j++)
        w[j] = (double)a->weight[row * n + j];
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = i; i % run == 0 && j < i + run && j < n; j++)
            seen[j] = w[j];
        double q = is_kept(row, i) ? w[i] : 0, e = (w[i] - q) / (double)a->upper[i * n + i];
        w[i] = q;
        for (int64_t j = i + 1; j < n; j++)
            w[j] -= e * (double)a->upper[i * n + j];
    }
}

/* Result, mask and what runs of several lengths see, against the definition. */
static void check_runs(int64_t rows, int64_t columns, int64_t run)
{
    struct matrices a;
    double *w = wn_alloc(columns, sizeof *w), *seen = wn_alloc(columns, sizeof *seen), worst = 0;

    open_matrices(&a, rows, columns);
    struct watch watch = {run, columns, wn_alloc_zero(rows * columns, sizeof(wn_real))};
    struct wn_solver solver = solver_of(&a);
    wn_solver_run(&solver, &(struct wn_solver_rule){
                               .context = &watch, .run = run, .begin_run = watch_run, .choose = choose_some});
    check_identity(&a, a.h);
    for (int64_t row = 0; row < rows; row++) {
        solve_row(&a, row, run, w, seen);
        for (int64_t j = 0; j < columns; j++) {
            const int64_t at = row * columns + j;
            worst = fmax(worst, fabs(w[j] - (double)a.result[at]));
            worst = fmax(worst, fabs(seen[j] - (double)watch.seen[at]));
            CHECK(a.keep[at] == is_kept(row, j));
        }
    }
    CHECK_NEAR(worst, 0, EQUAL);
    wn_free(watch.seen);
    close_matrices(&a);
    wn_free(seen);
    wn_free(w);
}

/* A sweep in another order is the sweep of the permuted problem; dead columns count as 0. */
static void check_order(int64_t rows, int64_t columns)
{
    struct matrices a, b;
    int64_t *order = wn_alloc(columns, sizeof *order);
    uint8_t *dead = wn_alloc_zero(columns, 1);

    open_matrices(&a, rows, columns);
    open_matrices(&b, rows, columns);
    for (int64_t j = 0; j < columns; j++) {
        order[j] = (j * 7 + 3) % columns; /* columns: not a multiple of 7 */
        dead[j] = j % 11 == 5;
    }
    for (int64_t i = 0; i < rows * columns; i++)
        b.weight[i] = dead[order[i % columns]] ? 0 : a.weight[i / columns * columns + order[i % columns]];
    struct wn_solver_rule rule = {.run = 1, .choose = choose_eighths};
    struct wn_solver solver = solver_of(&a), plain = solver_of(&b);
    solver.order = order;
    solver.dead = dead;
    wn_solver_run(&solver, &rule);
    wn_solver_run(&plain, &rule);
    for (int64_t i = 0; i < rows * columns; i++)
        CHECK(b.result[i] == a.result[i / columns * columns + order[i % columns]]);
    for (int64_t row = 0; row < rows; row++)
        CHECK(a.loss[row] == b.loss[row]);
    close_matrices(&b);
    close_matrices(&a);
    wn_free(dead);
    wn_free(order);
}

static void check_threads(int64_t rows, int64_t columns)
{
    const size_t bytes = (size_t)(rows * columns) * sizeof(wn_real);
    struct matrices a;
    wn_real *first = wn_alloc(rows * columns, sizeof *first);

    open_matrices(&a, rows, columns);
    for (int threads = 1; threads <= 4; threads++) {
        struct wn_solver solver = solver_of(&a);
        omp_set_num_threads(threads);
        wn_solver_run(&solver, &(struct wn_solver_rule){.run = 1, .choose = choose_some});
        if (threads == 1)
            memcpy(first, a.result, bytes);
        CHECK(!memcmp(first, a.result, bytes));
    }
    /* In place. */
    struct wn_solver solver = solver_of(&a);
    solver.result = a.weight;
    wn_solver_run(&solver, &(struct wn_solver_rule){.run = 1, .choose = choose_some});
    CHECK(!memcmp(first, a.weight, bytes));
    omp_set_num_threads(2);
    close_matrices(&a);
    wn_free(first);
}

int main(void)
{
    static const int64_t widths[] = {1, 2, 127, 128, 129, 300};

    CHECK_OK(wn_linalg_start());
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        check_identities(i % 2 ? 1 : 67, widths[i]);
    check_identities(3, 700);
    check_runs(5, 150, 1);
    check_runs(70, 300, 4);
    check_runs(2, 690, 3);
    check_runs(3, 700, 48);
    check_runs(3, 700, 128);
    check_runs(3, 700, 200);
    check_runs(3, 700, 1000);
    check_order(66, 130);
    check_threads(600, 140);
    return test_finish();
}

#endif
