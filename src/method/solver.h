/* SPDX-License-Identifier: Apache-2.0 */
/*
 * solver.h: the column sweep that SparseGPT, GPTQ and their relatives share (Frantar et al., arXiv:2210.17323, section
 * 3; arXiv:2301.00774, section 3.2).
 *
 * Columns of W are fixed one after the other. Column j gets its final value q_j (rounded, or 0) by a rule; the error
 * e_j = (w_j - q_j) / U_jj is taken back from the columns behind it, w_k -= e_j U_jk. In exact arithmetic, per row,
 *
 *     sum_j e_j^2 = (W - Q) (H + lambda I) (W - Q)^T.
 *
 * The engine works on W^T, in order of the sweep, in blocks of at most WN_SOLVER_BLOCK columns. Inside a block, strips
 * of WN_SOLVER_STRIP rows are taken by threads: the column operation is a vector over the rows of the strip. Behind the
 * block the update is a matrix product, cut into tiles that are handed to threads. Every cut depends on the shape only,
 * so the bits do not depend on the threads.
 *
 * The type of the arithmetic is WN_REAL: float, or double when a test compiles solver.c once more.
 */
#ifndef WINNOW_SOLVER_H
#define WINNOW_SOLVER_H

#include <winnow/base.h>

#ifndef WN_REAL
#define WN_REAL float
#endif
typedef WN_REAL wn_real;

enum { WN_SOLVER_BLOCK = 128, WN_SOLVER_STRIP = 64 };

/* What a rule sees of WN_SOLVER_STRIP rows in a block of columns. Lanes beyond `rows` hold zeros. */
struct wn_strip {
    const struct wn_solver *solver;
    int64_t row, rows;                 /* first row of W, rows that exist */
    int64_t first, columns;            /* of the block, in order of the sweep */
    wn_real (*w)[WN_SOLVER_STRIP];     /* [columns]: value of a column, as far as it is up to date */
    wn_real (*q)[WN_SOLVER_STRIP];     /* [columns]: the rule puts the final value here, on its column's turn */
    uint8_t (*keep)[WN_SOLVER_STRIP];  /* [columns]: 1 on entry; the rule may put 0 */
    uint8_t (*codes)[WN_SOLVER_STRIP]; /* [columns]: for rules that round */
};

struct wn_solver_rule {
    void *context;
    /*
     * Columns that must be up to date together at every multiple of `run` (runs of N:M, groups of a grid): blocks are
     * cut so that a run lies inside one or begins with one, then columns up to the end of the run are current. 1: none.
     */
    int64_t run;
    /* True: all columns behind a block are updated with it at once, not only those of the next few blocks. */
    bool eager;
    /* Before a block, from serial code; reads solver->work. May be NULL, as all of these but the last. */
    void (*begin_block)(void *context, const struct wn_solver *solver, int64_t first, int64_t columns);
    /* Once per strip and block. */
    void (*begin_strip)(void *context, struct wn_strip *strip);
    /* Before column `column`, a multiple of `run`: strip->w is current for all columns of the run in this block. */
    void (*begin_run)(void *context, struct wn_strip *strip, int64_t column);
    /* q of a column from its w. */
    void (*choose)(void *context, struct wn_strip *strip, int64_t column);
};

struct wn_solver {
    int64_t rows, columns;
    const wn_real *upper;  /* [columns, columns] U, in order of the sweep */
    const int64_t *order;  /* [columns] column of W at each place, NULL: natural */
    const uint8_t *dead;   /* [columns] of W: 1: is set to 0 first; NULL: none */
    const wn_real *weight; /* [rows, columns] */
    /* Results, [rows, columns] as stored; keep and codes may be NULL. result may be weight. */
    wn_real *result;
    uint8_t *keep, *codes;
    double *loss; /* [rows] sum of e^2; NULL: not wanted */
    /* Working memory; for rules to read: */
    int64_t stride; /* of work */
    wn_real *work;  /* [columns, stride] W^T in order of the sweep, with the updates of all finished blocks */
    wn_real *error; /* private: [some columns, stride] e of the columns whose update is not complete */
};

/* Value of a column in a strip: the current one inside the block, behind it that of the finished blocks. */
const wn_real *wn_strip_column(const struct wn_strip *strip, int64_t column);
/* Column of W that is at place `column` of the sweep. */
int64_t wn_solver_place(const struct wn_solver *solver, int64_t column);

/* Bytes allocated while it runs. */
int64_t wn_solver_bytes(int64_t rows, int64_t columns, int threads);
/* Runs the sweep: everything above "Working memory" is filled by the caller. */
void wn_solver_run(struct wn_solver *solver, const struct wn_solver_rule *rule);

#endif
