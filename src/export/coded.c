/* SPDX-License-Identifier: Apache-2.0 */
/* coded.c: see coded.h. */
#include <math.h>
#include <string.h>

#include "coded.h"

static bool take_grids(const struct wn_compressed *c, struct wn_export_coded *coded)
{
    bool whole = true;
    for (int64_t i = 0; i < coded->rows * coded->n_groups; i++) {
        const float zero = c->zeros[c->group ? i : 0];
        whole = whole && zero >= 0 && zero < (float)(1 << c->bits) && zero == rintf(zero);
        coded->zeros[i] = whole ? (uint8_t)zero : 0;
        coded->scales[i] = c->scales[c->group ? i : 0];
    }
    return whole;
}

static bool take_codes(const struct wn_compressed *c, struct wn_export_coded *coded)
{
    bool same = true;
#pragma omp parallel for schedule(static) reduction(&& : same)
    for (int64_t row = 0; row < c->rows; row++)
        for (int64_t j = 0; j < c->columns; j++) {
            const int64_t at = row * c->columns + j, grid = row * coded->n_groups + coded->group[j];
            coded->codes[at] = c->has_mask && !c->keep[at] ? coded->zeros[grid] : c->codes[at];
            const float value = coded->scales[grid] * (float)(coded->codes[at] - coded->zeros[grid]);
            same = same && (c->input_scale ? value / c->input_scale[j] : value) == c->weight[at];
        }
    return same;
}

bool wn_export_coded_open(const struct wn_compressed *c, struct wn_export_coded *coded)
{
    *coded = (struct wn_export_coded){
        .rows = c->rows, .columns = c->columns, .n_groups = c->group ? c->n_groups : 1, .bits = c->bits};
    coded->codes = wn_alloc(c->rows * c->columns, 1);
    coded->zeros = wn_alloc(c->rows * coded->n_groups, 1);
    coded->scales = wn_alloc(c->rows * coded->n_groups, sizeof *coded->scales);
    coded->group = wn_alloc(c->columns, sizeof *coded->group);
    for (int64_t i = 0; i < c->columns; i++)
        coded->group[c->order ? c->order[i] : i] = c->group ? (int32_t)(i / c->group) : 0;
    return !c->n_outliers && take_grids(c, coded) && take_codes(c, coded);
}

void wn_export_coded_divide(struct wn_export_coded *coded, const float *by)
{
    for (int64_t row = 0; row < coded->rows; row++)
        for (int64_t g = 0; g < coded->n_groups; g++)
            coded->scales[row * coded->n_groups + g] /= by[row];
}

void wn_export_coded_release(struct wn_export_coded *coded)
{
    wn_free(coded->codes);
    wn_free(coded->zeros);
    wn_free(coded->scales);
    wn_free(coded->group);
    *coded = (struct wn_export_coded){0};
}
