/* The table of methods, recipes of one or two stages, and stored bits per weight. */
#include <winnow/method.h>

#include "pattern.h"
#include "select.h"

#include <math.h>
#include <string.h>

#define WN_METHOD(name) extern const struct wn_method wn_method_##name;
#include "method_list.h"
#undef WN_METHOD

static const struct wn_method *const table[] = {
#define WN_METHOD(name) &wn_method_##name,
#include "method_list.h"
#undef WN_METHOD
};

const struct wn_method *const *wn_method_table(int64_t *count)
{
    *count = sizeof table / sizeof *table;
    return table;
}

const struct wn_method *wn_method_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i]->name, name))
            return table[i];
    return NULL;
}

/* ---- the compressed linear ---- */

void wn_compressed_init(struct wn_compressed *compressed, int64_t rows, int64_t columns, float *weight, uint8_t *keep)
{
    *compressed = (struct wn_compressed){.rows = rows, .columns = columns, .weight = weight, .keep = keep};
}

void wn_compressed_release(struct wn_compressed *compressed)
{
    wn_free(compressed->codes);
    wn_free(compressed->scales);
    wn_free(compressed->zeros);
    compressed->codes = NULL;
    compressed->scales = compressed->zeros = NULL;
}

static int64_t count_kept(const struct wn_compressed *compressed)
{
    int64_t count = compressed->rows * compressed->columns, kept = 0;

    if (!compressed->has_mask)
        return count;
#pragma omp simd reduction(+ : kept)
    for (int64_t i = 0; i < count; i++)
        kept += compressed->keep[i];
    return kept;
}

/* log2(binomial(m, n)) / m bits name the kept ones of a run. */
static double mask_bits(int64_t n, int64_t m)
{
    double bits = 0;

    if (!m)
        return 1;
    for (int64_t i = 1; i <= n; i++)
        bits += log2((double)(m - n + i) / (double)i);
    return bits / (double)m;
}

double wn_bits_per_weight(const struct wn_compressed *compressed, int64_t pattern_n, int64_t pattern_m)
{
    const double count = (double)compressed->rows * (double)compressed->columns;
    const double grids = compressed->group ? (double)compressed->rows * (double)compressed->n_groups : 1;
    double bits = (double)count_kept(compressed) * (compressed->bits ? compressed->bits : 16);

    if (compressed->bits)
        bits += grids * (16 + compressed->zero_bits);
    return bits / count + (compressed->has_mask ? mask_bits(pattern_n, pattern_m) : 0);
}

/* ---- recipes ---- */

unsigned wn_recipe_needs(const struct wn_recipe *recipe)
{
    unsigned needs = WN_NEED_NOTHING;

    for (int s = 0; s < recipe->n_stages; s++)
        needs |= recipe->stages[s].method->needs;
    return needs;
}

void wn_recipe_pattern(const struct wn_recipe *recipe, int64_t *n, int64_t *m)
{
    struct wn_pattern pattern = {0, 0};

    for (int s = 0; s < recipe->n_stages; s++)
        if (recipe->stages[s].method->kind == WN_PRUNER)
            pattern = wn_pattern_of(&recipe->stages[s].params);
    *n = pattern.n;
    *m = pattern.m;
}

/* A mask made after the codes would leave codes of weights that are gone; two masks would add up to neither rate. */
static wn_status check_order(const struct wn_recipe *recipe)
{
    if (recipe->n_stages < 2)
        return WN_OK;
    const struct wn_method *first = recipe->stages[0].method, *second = recipe->stages[1].method;
    if (first->kind == WN_PRUNER && second->kind == WN_QUANTIZER)
        return WN_OK;
    return wn_fail(WN_ERR_INPUT, "\"%s\" cannot follow \"%s\": expected a pruner, then a quantizer", second->name,
                   first->name);
}

wn_status wn_recipe_check_linear(const struct wn_recipe *recipe, const char *name, int64_t rows, int64_t columns)
{
    WN_TRY(check_order(recipe));
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_stage *stage = &recipe->stages[s];
        if (stage->method->check_linear)
            WN_TRY(stage->method->check_linear(&stage->params, name, rows, columns));
    }
    return WN_OK;
}

enum { INFINITE = 0x7f800000 };

/* A float is finite when its magnitude is below the pattern of infinity: no difference is negative. */
static bool row_is_finite(const wn_key *keys, int64_t columns)
{
    int32_t differences = 0;

#pragma omp simd reduction(| : differences)
    for (int64_t j = 0; j < columns; j++)
        differences |= INFINITE - 1 - (keys[j] & WN_KEY_MAGNITUDE);
    return differences >= 0;
}

static wn_status check_finite(const char *name, const float *weight, int64_t rows, int64_t columns)
{
    const wn_key *keys = (const wn_key *)weight;
    int64_t bad = INT64_MAX;

#pragma omp parallel for schedule(static) reduction(min : bad)
    for (int64_t row = 0; row < rows; row++)
        if (!row_is_finite(keys + row * columns, columns))
            bad = row < bad ? row : bad;
    if (bad == INT64_MAX)
        return WN_OK;
    int64_t column = 0;
    while ((keys[bad * columns + column] & WN_KEY_MAGNITUDE) < INFINITE)
        column++;
    return wn_fail(WN_ERR_NUMERIC, "%s: the weight in row %lld, column %lld is not finite", name, (long long)bad,
                   (long long)column);
}

static bool is_identity(const struct wn_stage *stage)
{
    return stage->method->is_identity && stage->method->is_identity(&stage->params);
}

wn_status wn_recipe_compress(const struct wn_recipe *recipe, const char *name, const float *weight,
                             const struct wn_input_stats *stats, struct wn_compressed *out)
{
    struct wn_linear_task task = {
        .name = name, .rows = out->rows, .columns = out->columns, .weight = weight, .stats = stats};

    WN_TRY(wn_recipe_check_linear(recipe, name, out->rows, out->columns));
    WN_TRY(check_finite(name, weight, out->rows, out->columns));
    for (int s = 0; s < recipe->n_stages; s++) {
        if (is_identity(&recipe->stages[s]))
            continue;
        task.params = &recipe->stages[s].params;
        WN_TRY(recipe->stages[s].method->compress_linear(&task, out));
        task.weight = out->weight;
        task.keep = out->has_mask ? out->keep : NULL;
    }
    if (task.weight != out->weight)
        memcpy(out->weight, weight, (size_t)(out->rows * out->columns) * sizeof *weight);
    return WN_OK;
}
