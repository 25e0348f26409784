/* SPDX-License-Identifier: Apache-2.0 */
/* The table of methods, recipes of one or two stages, and stored bits per weight. */
#include <winnow/method.h>

#include "pattern.h"
#include "quant.h"
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
#define X(name, unit, help) compressed->solver.name = (double)NAN;
    WN_SOLVER_STATISTICS(X)
#undef X
#define X(name, unit, help) compressed->search.name = (double)NAN;
    WN_SEARCH_STATISTICS(X)
#undef X
}

static void release_second_level(struct wn_second_level *level)
{
    wn_free(level->codes);
    wn_free(level->scales);
    wn_free(level->zeros);
    *level = (struct wn_second_level){0};
}

void wn_compressed_release(struct wn_compressed *compressed)
{
    wn_free(compressed->order);
    wn_free(compressed->outliers);
    compressed->order = NULL;
    compressed->outliers = NULL;
    compressed->n_outliers = 0;
    release_second_level(&compressed->second_scales);
    release_second_level(&compressed->second_zeros);
    wn_free(compressed->codes);
    wn_free(compressed->scales);
    wn_free(compressed->zeros);
    wn_free(compressed->input_scale);
    wn_activation_release(&compressed->activation);
    compressed->input_scale = NULL;
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

/* Bits of the grids of a second level. */
static double second_level_bits(const struct wn_compressed *compressed, const struct wn_second_level *level)
{
    if (!level->bits)
        return 0;
    int64_t runs = (compressed->rows + level->run - 1) / level->run;
    return (double)(runs * compressed->n_groups * (16 + 16));
}

double wn_bits_per_weight(const struct wn_compressed *compressed, int64_t pattern_n, int64_t pattern_m)
{
    const double count = (double)compressed->rows * (double)compressed->columns;
    const double grids = compressed->group ? (double)compressed->rows * (double)compressed->n_groups : 1;
    double bits = (double)count_kept(compressed) * (compressed->bits ? compressed->bits : 16);

    if (compressed->bits)
        bits +=
            grids * ((compressed->second_scales.bits ? compressed->second_scales.bits : 16) + compressed->zero_bits);
    bits += second_level_bits(compressed, &compressed->second_scales);
    bits += second_level_bits(compressed, &compressed->second_zeros);
    bits += (double)compressed->n_outliers * (16 + 16);
    return bits / count + (compressed->has_mask ? mask_bits(pattern_n, pattern_m) : 0);
}

/* ---- recipes ---- */

bool wn_recipe_minimizes(const struct wn_recipe *recipe)
{
    return recipe->search && !strcmp(recipe->search, WN_DYNAMIC_PROGRAMMING);
}

unsigned wn_recipe_needs(const struct wn_recipe *recipe)
{
    unsigned needs = wn_recipe_minimizes(recipe) ? WN_NEED_SECOND_MOMENTS : WN_NEED_NOTHING;

    for (int s = 0; s < recipe->n_stages; s++)
        if (!recipe->search || recipe->stages[s].method->kind != WN_DROPPER)
            needs |= recipe->stages[s].method->needs;
    return needs;
}

bool wn_recipe_share_zeros(const struct wn_recipe *recipe, const struct wn_linear_weights *linears, int count,
                           int64_t *zeros)
{
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_stage *stage = &recipe->stages[s];
        if (stage->method->share_zeros && stage->method->share_zeros(&stage->params, linears, count, zeros))
            return true;
    }
    return false;
}

wn_status wn_recipe_scale_inputs(const struct wn_recipe *recipe, const struct wn_input_task *task, float *scale,
                                 bool *scaled)
{
    *scaled = false;
    for (int64_t j = 0; j < task->width; j++)
        scale[j] = 1.0f;
    for (int s = 0; s < recipe->n_stages && !*scaled; s++) {
        struct wn_input_task one = *task;
        if (!recipe->stages[s].method->scale_inputs)
            continue;
        one.params = &recipe->stages[s].params;
        WN_TRY(recipe->stages[s].method->scale_inputs(&one, scale));
        *scaled = true;
    }
    return WN_OK;
}

bool wn_recipe_true_sequential(const struct wn_recipe *recipe)
{
    for (int s = 0; s < recipe->n_stages; s++)
        if (wn_params_is_on(&recipe->stages[s].params, "true_sequential"))
            return true;
    return false;
}

const struct wn_params *wn_recipe_drop(const struct wn_recipe *recipe)
{
    for (int s = 0; s < recipe->n_stages; s++)
        if (recipe->stages[s].method->kind == WN_DROPPER)
            return &recipe->stages[s].params;
    return NULL;
}

static const struct wn_stage *searching_stage(const struct wn_recipe *recipe)
{
    for (int s = 0; s < recipe->n_stages; s++)
        if (recipe->stages[s].method->n_trials)
            return &recipe->stages[s];
    return NULL;
}

int wn_recipe_trials(const struct wn_recipe *recipe)
{
    const struct wn_stage *stage = searching_stage(recipe);

    return stage ? stage->method->n_trials : 0;
}

wn_status wn_recipe_trial_scale(const struct wn_recipe *recipe, const struct wn_input_task *task, int trial,
                                float *scale)
{
    const struct wn_stage *stage = searching_stage(recipe);
    struct wn_input_task one = *task;

    one.params = &stage->params;
    return stage->method->trial_scale(&one, trial, scale);
}

int64_t wn_recipe_moment_run(const struct wn_recipe *recipe, int64_t columns)
{
    const struct wn_stage *stage = searching_stage(recipe);

    return stage && stage->method->moment_run ? stage->method->moment_run(&stage->params, columns) : 0;
}

void wn_recipe_activation_bytes(const struct wn_recipe *recipe, int64_t rows, int64_t columns, int64_t tokens,
                                int threads, int64_t *bytes, int64_t *scratch)
{
    *bytes = *scratch = 0;
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_stage *stage = &recipe->stages[s];
        if (stage->method->activation_bytes)
            stage->method->activation_bytes(&stage->params, rows, columns, tokens, threads, bytes, scratch);
    }
}

bool wn_recipe_rounds_inputs(const struct wn_recipe *recipe)
{
    int64_t bytes, scratch;

    wn_recipe_activation_bytes(recipe, 1, 1, 1, 1, &bytes, &scratch);
    return bytes > 0;
}

bool wn_grids_are_symmetric(const struct wn_params *params)
{
    return wn_params_is_on(params, "symmetric") || !wn_params_find(params, "symmetric");
}

bool wn_groups_are_scattered(const struct wn_params *params)
{
    const struct wn_value *group = wn_params_given(params, "group");

    return group && !isnan(group->number) && wn_params_is_on(params, "act_order") &&
           !wn_params_is_on(params, "static_groups");
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

/* A pruner that rounds as well (joint SparseGPT). */
static bool has_codes(const struct wn_stage *stage)
{
    return wn_params_given(&stage->params, "bits") != NULL;
}

/*
 * A mask made after the codes would leave codes of weights that are gone; two masks would add up to neither rate, and
 * of two grids the second would be no grid of the weights.
 */
static wn_status check_order(const struct wn_recipe *recipe)
{
    if (recipe->n_stages < 2)
        return WN_OK;
    const struct wn_method *first = recipe->stages[0].method, *second = recipe->stages[1].method;
    if (first->kind == WN_PRUNER && second->kind == WN_QUANTIZER && !has_codes(&recipe->stages[0]))
        return WN_OK;
    if (first->kind == WN_PRUNER && second->kind == WN_QUANTIZER)
        return wn_fail(WN_ERR_INPUT, "\"%s\" cannot follow \"%s\" with \"bits\": it has rounded already", second->name,
                       first->name);
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

/* The grids of `out` on a row whose columns are in the order of its groups. */
static void round_again(const struct wn_compressed *out, int64_t row, float *ordered, uint8_t *codes)
{
    for (int64_t g = 0; out->bits && g < (out->group ? out->n_groups : 1); g++) {
        const int64_t index = out->group ? row * out->n_groups + g : 0, first = g * out->group;
        const int64_t count = out->group ? wn_group_width(out->columns, out->group, g) : out->columns;
        const struct wn_grid grid = {out->scales[index], out->zeros[index], (1 << out->bits) - 1};
        if (grid.zero == rintf(grid.zero))
            wn_grid_apply(&grid, ordered + first, count, codes + first, ordered + first);
        else
            wn_grid_apply_shifted(&grid, ordered + first, count, codes + first, ordered + first);
    }
}

/* The mask and the grids of `out` on the weights as they were, without any update. */
static void choose_again(const struct wn_compressed *out, int64_t row, const float *weight, float *result,
                         float *ordered, uint8_t *codes)
{
    const uint8_t *keep = out->has_mask ? out->keep + row * out->columns : NULL;
    const float *by = out->input_scale;

    for (int64_t i = 0; i < out->columns; i++) {
        const int64_t j = out->order ? out->order[i] : i;
        ordered[i] = (!keep || keep[j] ? weight[j] : 0.0f) * (by ? by[j] : 1.0f);
    }
    round_again(out, row, ordered, codes);
    for (int64_t i = 0; i < out->columns; i++) {
        const int64_t j = out->order ? out->order[i] : i;
        result[j] = !keep || keep[j] ? ordered[i] / (by ? by[j] : 1.0f) : 0.0f;
    }
}

/* How far the compressed weights are off, and (NULL: not wanted) how far they would be without any update. */
static void take_errors(const float *weight, const struct wn_compressed *out, float *error, float *uncompensated)
{
    const int64_t columns = out->columns;

#pragma omp parallel
    {
        uint8_t *codes = wn_alloc(columns, sizeof *codes);
        float *ordered = wn_alloc(columns, sizeof *ordered);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < out->rows; row++) {
            const float *w = weight + row * columns, *c = out->weight + row * columns;
            float *plain = uncompensated ? uncompensated + row * columns : NULL;
            for (int64_t j = 0; j < columns; j++)
                error[row * columns + j] = w[j] - c[j];
            if (plain)
                choose_again(out, row, w, plain, ordered, codes);
            for (int64_t j = 0; plain && j < columns; j++)
                plain[j] = w[j] - plain[j];
        }
        wn_free(ordered);
        wn_free(codes);
    }
    for (int64_t i = 0; uncompensated && i < out->n_outliers; i++)
        uncompensated[out->outliers[i].index] = 0;
}

static void record_objective(const struct wn_recipe *recipe, const float *weight, const struct wn_input_stats *stats,
                             struct wn_compressed *out)
{
    const bool updates = (wn_recipe_needs(recipe) & WN_NEED_SECOND_MOMENTS) != 0;
    const int64_t count = out->rows * out->columns;
    const double tokens = (double)stats->tokens;
    float *error = wn_alloc(count, sizeof *error), *plain = updates ? wn_alloc(count, sizeof *plain) : NULL;
    double sums[3];

    take_errors(weight, out, error, plain);
    wn_quadratic_forms((const float *const[]){weight, error, plain}, updates ? 3 : 2, out->rows, out->columns,
                       stats->second_moments, sums);
    out->solver.energy = sums[0] / tokens;
    out->solver.objective = sums[1] / tokens;
    out->solver.objective_uncompensated = sums[updates ? 2 : 1] / tokens;
    wn_free(plain);
    wn_free(error);
}

wn_status wn_recipe_compress(const struct wn_recipe *recipe, const char *name, const float *weight,
                             const struct wn_input_stats *stats, struct wn_compressed *out)
{
    struct wn_linear_task task = {.name = name,
                                  .rows = out->rows,
                                  .columns = out->columns,
                                  .weight = weight,
                                  .stats = stats,
                                  .zeros = recipe->zeros};

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
    if (stats && stats->second_moments)
        record_objective(recipe, weight, stats, out);
    return WN_OK;
}
