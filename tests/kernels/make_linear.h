/* SPDX-License-Identifier: Apache-2.0 */
/* make_linear.h: random linears in every packed form, for tests and benchmarks. */
#ifndef WINNOW_TEST_MAKE_LINEAR_H
#define WINNOW_TEST_MAKE_LINEAR_H

#include <winnow/pack.h>

#include <string.h>

struct made {
    int bits;      /* of codes 1 to 8; 16: bf16, 11: fp16; 32: numbers */
    int64_t group; /* columns of a grid; 0: one grid in all */
    bool symmetric;
    int kept, run; /* `kept` of `run` columns are not 0; run 0: all */
    int zeros;     /* percent of weights that are 0 wherever they are */
    int64_t last;  /* weights from this one on are 0; 0: none */
    bool ordered;  /* columns of a group lie anywhere */
    bool broken;   /* zero points are no whole numbers */
    bool scaled;   /* weights are divided by scales of their columns */
    int outliers;  /* in 1000 weights */
};

static float made_number(uint64_t seed, int64_t index)
{
    return (float)(2 * wn_random_uniform(seed, 0, (uint64_t)index) - 1);
}

/* Rounded to bf16 or fp16, which these numbers have no subnormals of. */
static float made_half(float x, int bits)
{
    uint32_t whole;
    memcpy(&whole, &x, sizeof whole);
    whole &= bits == 16 ? 0xFFFF0000 : bits == 11 ? 0xFFFFE000 : UINT32_MAX;
    memcpy(&x, &whole, sizeof x);
    return bits == 11 && x < 1e-3F && x > -1e-3F ? 0.5F : x;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

static void make_order(struct wn_compressed *form)
{
    int64_t step = form->columns / 3 + 1;
    while (common_divisor(step, form->columns) != 1)
        step++;
    form->order = wn_alloc(form->columns, sizeof *form->order);
    for (int64_t i = 0; i < form->columns; i++)
        form->order[i] = i * step % form->columns;
}

static int64_t made_column(const struct wn_compressed *form, int64_t place)
{
    return form->order ? form->order[place] : place;
}

/* Columns at places first .. end - 1 of rows row .. last - 1 have one grid. */
static void put_on_grid(struct wn_compressed *form, const struct made *made, int64_t grid, int64_t row, int64_t last,
                        int64_t first, int64_t end)
{
    float *numbers = wn_alloc((last - row) * (end - first), sizeof *numbers);
    int64_t n = 0;
    for (int64_t r = row; r < last; r++)
        for (int64_t i = first; i < end; i++)
            numbers[n++] = form->weight[r * form->columns + made_column(form, i)];
    struct wn_grid fit = wn_grid_fit(numbers, n, made->bits, made->symmetric);
    fit.zero += made->broken ? 0.3F : 0.0F;
    form->scales[grid] = fit.scale;
    form->zeros[grid] = fit.zero;
    n = 0;
    for (int64_t r = row; r < last; r++)
        for (int64_t i = first; i < end; i++) {
            const int64_t j = made_column(form, i), at = r * form->columns + j;
            form->codes[at] = (uint8_t)wn_grid_code(&fit, numbers[n++]);
            form->weight[at] = wn_grid_value(&fit, form->codes[at]);
            if (made->scaled)
                form->weight[at] /= form->input_scale[j];
        }
    wn_free(numbers);
}

static void put_on_grids(struct wn_compressed *form, const struct made *made, int64_t rows, int64_t columns)
{
    const int64_t groups = made->group ? (columns + made->group - 1) / made->group : 1;
    form->bits = made->bits;
    form->group = made->group;
    form->n_groups = groups;
    form->codes = wn_alloc(rows * columns, 1);
    form->scales = wn_alloc(rows * groups, sizeof(float));
    form->zeros = wn_alloc(rows * groups, sizeof(float));
    if (made->ordered)
        make_order(form);
    if (made->scaled)
        form->input_scale = wn_alloc(columns, sizeof(float));
    for (int64_t j = 0; made->scaled && j < columns; j++)
        form->input_scale[j] = 1.5F + made_number(77, j);
    if (!made->group) {
        put_on_grid(form, made, 0, 0, rows, 0, columns);
        return;
    }
    for (int64_t row = 0; row < rows; row++)
        for (int64_t g = 0; g < groups; g++) {
            const int64_t first = g * made->group, end = first + made->group;
            put_on_grid(form, made, row * groups + g, row, row + 1, first, end < columns ? end : columns);
        }
}

static void put_outliers(struct wn_compressed *form, const struct made *made)
{
    const int64_t count = form->rows * form->columns;
    form->outliers = wn_alloc(count, sizeof *form->outliers);
    for (int64_t i = 0; i < count; i++) {
        if (made_number(78, i) * 500 + 500 >= (float)made->outliers)
            continue;
        form->weight[i] = 3 * made_number(79, i);
        form->outliers[form->n_outliers++] = (struct wn_outlier){.index = i, .value = form->weight[i]};
    }
}

/* Whether `kept` others of its run are kept before it. */
static bool is_behind_kept(const struct made *made, int64_t i)
{
    int before = 0;
    for (int64_t j = i / made->run * made->run; j < (i / made->run + 1) * made->run; j++)
        before += made_number(82, j) < made_number(82, i);
    return before >= made->kept;
}

static bool is_made_zero(const struct made *made, int64_t i)
{
    return (made->last && i >= made->last) || (made->run && is_behind_kept(made, i)) ||
           made_number(80, i) * 50 + 50 < (float)made->zeros;
}

/* `weights` [rows, columns] are filled and may be freed behind `packed`. */
static void make_linear(const struct made *made, int64_t rows, int64_t columns, uint64_t seed, float *weights,
                        struct wn_packed *packed)
{
    struct wn_compressed form;
    for (int64_t i = 0; i < rows * columns; i++)
        weights[i] = is_made_zero(made, i) ? 0 : made_half(made_number(seed, i), made->bits);
    uint8_t *keep = made->bits <= 8 && made->zeros ? wn_alloc(rows * columns, 1) : NULL;
    for (int64_t i = 0; keep && i < rows * columns; i++)
        keep[i] = weights[i] != 0;
    wn_compressed_init(&form, rows, columns, weights, keep);
    form.has_mask = keep != NULL;
    if (made->bits <= 8)
        put_on_grids(&form, made, rows, columns);
    if (made->outliers)
        put_outliers(&form, made);
    wn_pack(&form, packed);
    wn_compressed_release(&form);
    wn_free(keep);
}

#endif
