/* SPDX-License-Identifier: Apache-2.0 */
/* How many bytes packed linears will take, from the parameters of a recipe alone. */
#include "form.h"

#include <math.h>

/* What a recipe stores of a linear. */
struct contents {
    double kept; /* share of the weights */
    bool updated;
    int bits;                           /* of a code; 0: numbers */
    int64_t grids;                      /* in all */
    double scale_bits, zero_bits;       /* of a grid */
    double second_bits;                 /* of the second level, per grid */
    bool ordered, has_outliers, scaled; /* groups of columns, outliers, a scale of inputs */
};

static const double OUTLIERS = 0.02; /* of SpQR; published thresholds give about 1 % */

/* Bits of a number that a second level may hold; 32 when it does not. */
static double second_level(const struct wn_stage *stage, const char *name, struct contents *contents)
{
    const struct wn_value *bits = wn_params_given(&stage->params, name),
                          *run = wn_params_given(&stage->params, "qq_groupsize");

    if (!bits || isnan(bits->number) || !run)
        return 32;
    contents->second_bits += 64 / run->number;
    return bits->number;
}

static void add_codes(const struct wn_stage *stage, int bits, int64_t rows, int64_t columns, struct contents *contents)
{
    const struct wn_value *group = wn_params_given(&stage->params, "group");
    const bool symmetric = wn_grids_are_symmetric(&stage->params);
    const bool whole =
        wn_params_given(&stage->params, "round_zero") ? wn_params_is_on(&stage->params, "round_zero") : true;

    contents->bits = bits;
    contents->grids = rows;
    if (group && !isnan(group->number))
        contents->grids = rows * (int64_t)ceil((double)columns / group->number);
    else if (group && group->text[0] == 't')
        contents->grids = 1;
    contents->scale_bits = second_level(stage, "qq_scale_bits", contents);
    contents->zero_bits = symmetric ? 0 : whole ? bits : second_level(stage, "qq_zero_bits", contents);
    contents->ordered = wn_params_given(&stage->params, "order") != NULL || wn_groups_are_scattered(&stage->params);
    contents->has_outliers = wn_params_given(&stage->params, "outlier_threshold") != NULL;
    contents->scaled = stage->method->n_trials > 0 || (stage->method->needs & WN_NEED_ABSOLUTE_MAXIMA);
}

static void add_stage(const struct wn_stage *stage, int64_t rows, int64_t columns, struct contents *contents)
{
    const struct wn_value *sparsity = wn_params_given(&stage->params, "sparsity"),
                          *bits = wn_params_given(&stage->params, "bits");

    contents->updated |= (stage->method->needs & WN_NEED_SECOND_MOMENTS) != 0;
    if (stage->method->kind == WN_PRUNER && sparsity)
        contents->kept = 1 - sparsity->number;
    if (bits || stage->method->kind == WN_QUANTIZER) /* a mean over linears is rounded up */
        add_codes(stage, bits ? (int)ceil(bits->number) : 8, rows, columns, contents);
}

static struct contents contents_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns)
{
    struct contents c = {.kept = 1};

    for (int s = 0; s < recipe->n_stages; s++)
        add_stage(&recipe->stages[s], rows, columns, &c);
    return c;
}

int64_t wn_pack_bytes_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns, int source_bytes)
{
    const struct contents c = contents_of(recipe, rows, columns);
    const double count = (double)rows * (double)columns;
    const double width = c.bits ? c.bits : 8 * (c.updated ? (int)sizeof(float) : source_bytes);
    const double masked = c.kept < 1 ? c.kept * width + 1 : width; /* per weight */
    double bits = count * (masked < width ? masked : width);
    if (c.bits)
        bits += (double)c.grids * (c.scale_bits + c.zero_bits + c.second_bits);
    if (c.has_outliers)
        bits += OUTLIERS * count * (columns <= UINT16_MAX + 1 ? 48 : 64);
    bits += (double)columns * 32 * (c.ordered + c.scaled);
    /* whole bytes of rows, starts of rows for values and for outliers, ends of arrays */
    return (int64_t)(bits / 8) + rows * (3 + 2 * (int64_t)sizeof(uint32_t)) + WN_PACKED_HEADER + WN_PACKED_TRAILER +
           16 * (int64_t)sizeof(int64_t);
}

int64_t wn_pack_grids_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns)
{
    return contents_of(recipe, rows, columns).grids;
}

int64_t wn_pack_outliers_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns)
{
    return contents_of(recipe, rows, columns).has_outliers ? (int64_t)(OUTLIERS * (double)rows * (double)columns) : 0;
}

int64_t wn_pack_bytes_while(int64_t rows, int64_t columns)
{
    /* one form at a time, at most dense numbers and a mask; counts of rows; rows and panels of threads are small */
    return rows * columns * 4 + rows * (columns / 8 + 17) + WN_PACKED_HEADER + WN_PACKED_TRAILER + 16;
}
