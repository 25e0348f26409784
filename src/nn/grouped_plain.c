/* SPDX-License-Identifier: Apache-2.0 */
/* grouped_plain.c: for any processor. */
#include "grouped.h"

#include <math.h>
#include <string.h>

/* The code of column c of a run, of output o. */
static int32_t code_of(const struct grouped *g, const uint8_t *run, int o, int c)
{
    const int quad = c / 4, at = 4 * o + c % 4;

    return g->wide ? run[quad * 64 + at] : run[at] >> 4 * quad & 15;
}

static void add_cell(const struct grouped *g, const uint8_t *codes, const struct grouped_cell *cell, const int8_t *x,
                     int32_t *sums)
{
    memset(sums, 0, GROUPED_STRIP * sizeof *sums);
    for (int64_t run = 0; run < cell->runs; run++, codes += g->wide ? 128 : 64, x += GROUPED_RUN)
        for (int o = 0; o < GROUPED_STRIP; o++)
            for (int c = 0; c < GROUPED_RUN; c++)
                sums[o] += code_of(g, codes, o, c) * x[c];
}

static void run_row(const struct grouped *g, int64_t strip, const struct grouped_inputs *x, int64_t row, float *sums)
{
    const uint8_t *codes = g->codes + strip * g->strip_bytes;
    const int8_t *inputs = x->codes + row * g->width;

    memset(sums, 0, GROUPED_STRIP * sizeof *sums);
    for (int64_t i = 0; i < g->n_cells; i++) {
        const struct grouped_cell *cell = &g->cells[i];
        const int64_t at = (strip * g->n_groups + cell->group) * GROUPED_STRIP;
        const int32_t total = x->sums[row * g->n_cells + i];
        const float step = x->steps[row * g->n_cells + i];
        int32_t products[GROUPED_STRIP];
        add_cell(g, codes, cell, inputs, products);
        for (int o = 0; o < GROUPED_STRIP; o++) {
            const int32_t zero = g->zeros ? g->zeros[at + o] : g->zero;
            sums[o] = fmaf((float)(products[o] - zero * total) * step, g->scales[at + o], sums[o]);
        }
        codes += cell->runs * (g->wide ? 128 : 64);
        inputs += cell->runs * GROUPED_RUN;
    }
}

void grouped_plain(const struct grouped *g, int64_t strip, const struct grouped_inputs *x, int64_t row, int64_t rows,
                   float *sums)
{
    for (int64_t r = 0; r < rows; r++)
        run_row(g, strip, x, row + r, sums + r * GROUPED_STRIP);
}
