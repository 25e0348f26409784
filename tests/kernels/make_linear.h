/* make_linear.h: random linears in every packed form, for tests and benchmarks. */
#ifndef WINNOW_TEST_MAKE_LINEAR_H
#define WINNOW_TEST_MAKE_LINEAR_H

#include <winnow/pack.h>

#include <string.h>

struct made {
    int bits;      /* of codes 1 to 8; 16: bf16; 32: numbers */
    int64_t group; /* columns of a grid; 0: one grid in all */
    bool symmetric;
    int kept, run; /* `kept` of `run` columns are not 0; run 0: all */
};

static float made_number(uint64_t seed, int64_t index)
{
    return (float)(2 * wn_random_uniform(seed, 0, (uint64_t)index) - 1);
}

static void put_on_grid(struct wn_compressed *form, const struct made *made, int64_t grid, int64_t first, int64_t count)
{
    const struct wn_grid fit = wn_grid_fit(form->weight + first, count, made->bits, made->symmetric);
    form->scales[grid] = fit.scale;
    form->zeros[grid] = fit.zero;
    for (int64_t i = first; i < first + count; i++) {
        form->codes[i] = (uint8_t)wn_grid_code(&fit, form->weight[i]);
        form->weight[i] = wn_grid_value(&fit, form->codes[i]);
    }
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
    if (!made->group) {
        put_on_grid(form, made, 0, 0, rows * columns);
        return;
    }
    for (int64_t row = 0; row < rows; row++)
        for (int64_t g = 0; g < groups; g++) {
            const int64_t first = g * made->group, left = columns - first;
            put_on_grid(form, made, row * groups + g, row * columns + first, left < made->group ? left : made->group);
        }
}

/* `weights` [rows, columns] are filled and may be freed behind `packed`. */
static void make_linear(const struct made *made, int64_t rows, int64_t columns, uint64_t seed, float *weights,
                        struct wn_packed *packed)
{
    struct wn_compressed form;
    for (int64_t i = 0; i < rows * columns; i++) {
        uint32_t whole;
        weights[i] = made->run && i % made->run >= made->kept ? 0 : made_number(seed, i);
        memcpy(&whole, &weights[i], sizeof whole);
        whole &= made->bits == 16 ? 0xFFFF0000 : UINT32_MAX;
        memcpy(&weights[i], &whole, sizeof whole);
    }
    wn_compressed_init(&form, rows, columns, weights, NULL);
    if (made->bits <= 8)
        put_on_grids(&form, made, rows, columns);
    wn_pack(&form, packed);
    wn_compressed_release(&form);
}

#endif
