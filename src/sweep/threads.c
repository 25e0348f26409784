/* SPDX-License-Identifier: Apache-2.0 */
/* threads.c: into how many items stages are cut, and so what more threads gain. */
#include <math.h>
#include <omp.h>

#include <winnow/linalg.h>

#include "predict.h"

double wn_longest_share(double items, int threads)
{
    return ceil(items / threads) / items;
}

static int64_t group_rows(const struct wn_model *model, int threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    int64_t rows = wn_model_group_rows(model, WN_CHUNK_TOKENS);
    omp_set_num_threads(before);
    return rows;
}

double wn_linears_share(const struct wn_model *model, double rows, int threads)
{
    double all = 0, share = 0, most = (double)group_rows(model, threads);
    double row_tiles = ceil(fmin(rows, most) / WN_TILE_ROWS);
    for (int i = 0; i < model->layout.n_inputs; i++) {
        double panels = 0;
        for (int l = 0; l < model->layout.n_linears; l++)
            if (model->layout.linears[l].input == i)
                panels += ceil((double)model->layout.linears[l].rows / WN_TILE_COLUMNS);
        double cost = panels * (double)model->layout.input_widths[i];
        all += cost;
        share += cost * wn_longest_share(panels * fmax(row_tiles, 1), threads);
    }
    return share / all;
}

/* Tiles of one triangle of the second moments. */
static double moments_share(const struct wn_model *model, int here, int threads)
{
    double alone = 0, shared = 0;
    for (int i = 0; i < model->layout.n_inputs; i++) {
        double width = (double)model->layout.input_widths[i];
        double side = ceil(width / (double)wn_square_tile(model->layout.input_widths[i]));
        alone += width * width * wn_longest_share(side * (side + 1) / 2, here);
        shared += width * width * wn_longest_share(side * (side + 1) / 2, threads);
    }
    return shared / alone;
}

enum { SWEEP_ROWS = 64 }; /* of a strip of the column sweep: WN_SOLVER_STRIP of method/solver.h */

/* Strips of rows of the column sweep, which other stages of a solver have at least as many items as; methods without
 * second moments take single rows. */
static double compress_share(const struct wn_model *model, double strip, int here, int threads)
{
    double alone = 0, shared = 0;
    for (int l = 0; l < model->layout.n_linears; l++) {
        double rows = (double)model->layout.linears[l].rows, columns = (double)model->layout.linears[l].columns;
        double cost = rows * columns * (strip > 1 ? columns : 1);
        alone += cost * wn_longest_share(ceil(rows / strip), here);
        shared += cost * wn_longest_share(ceil(rows / strip), threads);
    }
    return shared / alone;
}

void wn_predict_threads(const struct wn_run *run, int64_t m, int here, int threads, struct wn_model_cost *cost)
{
    const struct wn_model *model = run->models[m].model;
    double even = (double)here / threads;
    double rows = compress_share(model, 1, here, threads);
    double strips = compress_share(model, SWEEP_ROWS, here, threads);
    cost->threads = threads;
    cost->pair *= even; /* hundreds of units in a group */
    cost->moments *= moments_share(model, here, threads);
    cost->tile *= even; /* the head is cut into four tiles a thread */
    cost->target *= even;
    cost->divergence_tile *= even;
    cost->divergence_target *= even;
    cost->top *= even;
    for (int64_t k = 0; k < cost->n_kinds; k++) {
        double share = cost->kinds[k].sweeps ? strips : rows;
        cost->kinds[k].compress *= share;
        cost->kinds[k].trial *= share;
        cost->kinds[k].rules *= even;
    }
}
