/* SPDX-License-Identifier: Apache-2.0 */
/* probe_methods.c: what methods cost: each kind of recipe on some rows of every linear. */
#include "probe_impl.h"

#include <math.h>
#include <string.h>

#include <winnow/linalg.h>

#include "../point/walk.h"

enum { FEW_KINDS = 3, TRIES = 8 };
static const double SHORT_SECONDS = 0.05;    /* of all tries: what is longer is tried once */
enum { SAMPLE_ROWS = 256, SAMPLE_RUNS = 8 }; /* as the walk cuts the reference sample; at most so many are tried */

/* Recipes of one kind differ in numbers only: the words of the key, which pick the code, and a search. */
static char *kind_of(const struct wn_recipe *recipe)
{
    struct wn_text text = {0};
    wn_text_printf(&text, "%d", recipe->n_stages);
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_params *params = &recipe->stages[s].params;
        wn_text_printf(&text, " %s", recipe->stages[s].method->name);
        for (int i = 0; i < params->count; i++) {
            const struct wn_value *value = &params->values[i];
            bool group = !strcmp(value->parameter->name, "group");
            if (!value->set)
                continue;
            if (value->parameter->type == WN_STRING || isnan(value->number) || group ||
                value->parameter->type == WN_BOOL)
                wn_text_printf(&text, " %s=%s", value->parameter->name, value->text);
            else
                wn_text_printf(&text, " %s", value->parameter->name);
        }
    }
    return text.data;
}

const struct wn_recipe_cost *wn_probe_kind(const struct wn_model_cost *cost, const struct wn_recipe *recipe)
{
    char *kind = kind_of(recipe);
    const struct wn_recipe_cost *found = NULL;
    for (int64_t k = 0; k < cost->n_kinds && !found; k++)
        if (!strcmp(cost->kinds[k].kind, kind))
            found = &cost->kinds[k];
    wn_free(kind);
    return found;
}

/* What one recipe is tried on. */
struct stage_set {
    const struct wn_model *model;
    const struct wn_block *block;
    const struct wn_probe_kinds *kinds;
    struct wn_recipe recipe;
    int64_t most_rows; /* of a linear */
    int64_t sample;    /* rows of the reference sample */
    struct wn_input_stats stats[WN_MAX_INPUTS];
    struct wn_factor_cache factors[WN_MAX_INPUTS];
    float *moments[WN_MAX_INPUTS], *runs[WN_MAX_INPUTS], *scales[WN_MAX_INPUTS];
    double *squares;
    float *maxima;
    float *x, *dense, *compressed, *weight;
    uint8_t *keep;
    double once, rows, trial, rules; /* seconds: of factors; of the linears, of them without clips; per row */
};

static void open_stats(struct stage_set *set)
{
    const struct wn_layout *layout = &set->model->layout;
    const struct wn_probe_kinds *kinds = set->kinds;
    unsigned needs = wn_recipe_needs(&set->recipe);
    int64_t total = wn_layout_input_total(layout);
    set->squares = wn_alloc(total, sizeof(double));
    set->maxima = wn_alloc(total, sizeof(float));
    for (int64_t i = 0; i < total; i++) {
        set->squares[i] = 1000 + (double)(i % 97);
        set->maxima[i] = 3 + (float)(i % 7);
    }
    for (int i = 0; i < layout->n_inputs; i++) {
        int64_t width = layout->input_widths[i], run = wn_recipe_moment_run(&set->recipe, width);
        if (kinds->input[i] != i)
            continue;
        set->stats[i] = (struct wn_input_stats){.tokens = 4096,
                                                .sequences = 8,
                                                .width = width,
                                                .squares = set->squares,
                                                .magnitudes = set->squares,
                                                .maxima = set->maxima};
        if (needs & WN_NEED_SECOND_MOMENTS) {
            set->moments[i] = wn_alloc(width * width, sizeof(float));
            for (int64_t j = 0; j < width * width; j++)
                set->moments[i][j] = j % (width + 1) ? 0.5f : 1000 + (float)(j % 97);
            set->stats[i].second_moments = set->moments[i];
            set->stats[i].factors = &set->factors[i];
        }
        if (run) {
            set->runs[i] = wn_alloc(width * run, sizeof(float));
            wn_probe_fill(set->runs[i], width * run, 1);
        }
    }
}

/* As the walk has it: wn_recipe_scale_inputs, or a trial's scale. */
static void open_scales(struct stage_set *set)
{
    const struct wn_layout *layout = &set->model->layout;
    bool searches = wn_recipe_trials(&set->recipe);
    for (int i = 0; i < layout->n_inputs; i++) {
        const float *weights[WN_MAX_LINEARS];
        int64_t rows[WN_MAX_LINEARS];
        bool scaled = false;
        struct wn_input_task task = {.name = "probe",
                                     .width = layout->input_widths[i],
                                     .weights = weights,
                                     .rows = rows,
                                     .stats = &set->stats[i]};
        if (set->kinds->input[i] != i ||
            (layout->producer_vector[i] < 0 && !(searches && layout->producer_linear[i] >= 0)))
            continue;
        for (int l = 0; l < layout->n_linears; l++)
            if (layout->linears[l].input == i) {
                weights[task.n_linears] = set->block->linears[l];
                rows[task.n_linears++] = layout->linears[l].rows;
            }
        set->scales[i] = wn_alloc(task.width, sizeof(float));
        if (searches)
            scaled = wn_recipe_trial_scale(&set->recipe, &task, 10, set->scales[i]) == WN_OK;
        else if (wn_recipe_scale_inputs(&set->recipe, &task, set->scales[i], &scaled) != WN_OK)
            scaled = false;
        set->stats[i].scale = scaled ? set->scales[i] : NULL;
    }
}

/* Compresses the first rows of a linear; returns seconds. */
static double time_linear(struct stage_set *set, int index, int64_t rows, bool clips, struct wn_compressed *out)
{
    const struct wn_linear_info *linear = &set->model->layout.linears[index];
    const int input = set->kinds->input[linear->input];
    struct wn_input_stats stats = set->stats[input];
    double start = wn_seconds();
    stats.run_moments = clips ? set->runs[input] : NULL;
    wn_compressed_init(out, rows, linear->columns, set->weight, set->keep);
    if (set->recipe.n_stages == 0)
        memcpy(set->weight, set->block->linears[index], (size_t)(rows * linear->columns) * sizeof(float));
    else if (wn_recipe_compress(&set->recipe, linear->name, set->block->linears[index],
                                wn_recipe_needs(&set->recipe) ? &stats : NULL, out) != WN_OK)
        return 0; /* shapes that do not fit were named as mistakes before */
    return wn_seconds() - start;
}

/* The error of the outputs, as wn_sample_error finds it: seconds. *rule: what a rule of quantized inputs takes beyond
 * the plain product, per row of a forward, of which an expert gets its share. */
static double time_outputs(struct stage_set *set, const struct wn_linear_info *linear, const float *dense, int64_t rows,
                           struct wn_compressed *out, double *rule)
{
    const int64_t sample = (int64_t)ceil((double)set->sample * wn_model_input_share(set->model, linear->input));
    const int64_t offset[2] = {0, sample};
    const struct wn_linear_map maps[] = {{.w = dense, .out = rows, .y = set->dense, .stride = rows},
                                         {.w = out->weight, .out = rows, .y = set->compressed, .stride = rows}};
    const struct wn_linear_call call = {1, offset, set->x, linear->columns, out->weight, rows, NULL, set->compressed};
    int64_t row[SAMPLE_RUNS + 1], n_runs = 0;
    double start = wn_seconds();
    *rule = 0;
    if (!set->recipe.n_stages || !sample)
        return 0;
    for (row[0] = 0; row[n_runs] < sample; n_runs++)
        row[n_runs + 1] = row[n_runs] + SAMPLE_ROWS < sample ? row[n_runs] + SAMPLE_ROWS : sample;
    wn_linears(set->x, n_runs, row, linear->columns, maps, out->activation ? 1 : 2);
    wn_sum_squared_difference(set->dense, set->compressed, sample * rows);
    wn_sum_squared_difference(set->dense, NULL, sample * rows);
    double seconds = wn_seconds() - start;
    if (!out->activation)
        return seconds;
    start = wn_seconds();
    out->activation->compute(out->activation, &call);
    double by_rule = wn_seconds() - start;
    start = wn_seconds();
    wn_linear(set->x, sample, linear->columns, out->weight, rows, NULL, set->compressed);
    *rule = fmax(by_rule - (wn_seconds() - start), 0) / (double)set->sample * (double)linear->rows / (double)rows;
    return seconds + by_rule;
}

/* As the walk goes on with a linear: errors, statistics, the size of a file and a fingerprint. */
static double time_record(struct stage_set *set, int index, int64_t rows, struct wn_compressed *out, double *rule)
{
    const struct wn_linear_info *linear = &set->model->layout.linears[index];
    const float *dense = set->block->linears[index];
    struct wn_weight_statistics statistics;
    double start = wn_seconds();
    wn_sum_squared_difference(dense, NULL, rows * linear->columns);
    wn_weight_statistics_compute(dense, out->weight, rows, linear->columns, &statistics);
    wn_stored_linear(out);
    wn_fingerprint(0, out->weight, rows * linear->columns);
    return wn_seconds() - start + time_outputs(set, linear, dense, rows, out, rule);
}

/* The next linear that costs the same, if there is one: its weights do not lie in a cache. */
static int next_alike(const struct stage_set *set, int index)
{
    for (int l = index + 1; l < set->model->layout.n_linears; l++)
        if (set->kinds->linear[l] == set->kinds->linear[index])
            return l;
    return index;
}

/* Seconds of some rows of a linear, in the mean of a few where it is short, as other programs disturb the run too; with
 * `rule`, with all that is recorded of them. */
static double try_rows(struct stage_set *set, int index, int64_t rows, double *rule)
{
    double all = 0;
    int count = 0;
    for (; count < TRIES && all < SHORT_SECONDS; count++) {
        struct wn_compressed out;
        double seconds = time_linear(set, index, rows, rule != NULL, &out);
        if (rule)
            seconds += time_record(set, index, rows, &out, rule);
        wn_compressed_release(&out);
        all += seconds;
        index = next_alike(set, index);
    }
    return all / count;
}

/* The first rows warm the factor of the input, which all linears of it share. */
static void try_linear(struct stage_set *set, int index)
{
    const struct wn_linear_info *linear = &set->model->layout.linears[index];
    int64_t rows = linear->rows < set->most_rows ? linear->rows : set->most_rows, few = rows < 64 ? rows : 64;
    double share = (double)linear->rows / (double)rows * set->kinds->linears[index];
    const int input = set->kinds->input[linear->input];
    struct wn_compressed out;
    if (set->stats[input].second_moments && set->factors[input].count == 0) {
        double with = time_linear(set, index, few, false, &out);
        wn_compressed_release(&out);
        double without = time_linear(set, index, few, false, &out);
        wn_compressed_release(&out);
        set->once += fmax(with - without, 0) * set->kinds->inputs[input];
    }
    if (wn_recipe_trials(&set->recipe))
        set->trial += try_rows(set, index, rows, NULL) * share;
    double rule = 0;
    set->rows += try_rows(set, index, rows, &rule) * share;
    set->rules += rule * set->kinds->linears[index];
}

static void open_buffers(struct stage_set *set)
{
    const struct wn_layout *layout = &set->model->layout;
    const int64_t widest = wn_layout_widest_input(layout);
    int64_t largest = 0, rows = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        int64_t used = linear->rows < set->most_rows ? linear->rows : set->most_rows;
        largest = used * linear->columns > largest ? used * linear->columns : largest;
        rows = used > rows ? used : rows;
    }
    set->x = wn_alloc(set->sample * widest, sizeof(float));
    set->dense = wn_alloc(set->sample * rows, sizeof(float));
    set->compressed = wn_alloc(set->sample * rows, sizeof(float));
    set->weight = wn_alloc(largest, sizeof(float));
    set->keep = wn_alloc(largest, 1);
    wn_probe_fill(set->x, set->sample * widest, 1);
}

static void close_set(struct stage_set *set)
{
    for (int i = 0; i < set->model->layout.n_inputs; i++) {
        wn_factor_cache_release(&set->factors[i]);
        wn_free(set->moments[i]);
        wn_free(set->runs[i]);
        wn_free(set->scales[i]);
    }
    wn_free(set->squares);
    wn_free(set->maxima);
    wn_free(set->x);
    wn_free(set->dense);
    wn_free(set->compressed);
    wn_free(set->weight);
    wn_free(set->keep);
}

/* Linears of one shape and input width cost the same: one of them is tried. */
static void try_recipe(struct stage_set *set)
{
    const struct wn_layout *layout = &set->model->layout;
    open_stats(set);
    open_scales(set);
    open_buffers(set);
    for (int l = 0; l < layout->n_linears; l++)
        if (set->kinds->linears[l] > 0)
            try_linear(set, l);
    close_set(set);
}

/* A mean of bits over linears is tried as the next whole number. */
static void round_bits(struct wn_recipe *recipe)
{
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_value *bits = wn_params_given(&recipe->stages[s].params, "bits");
        if (bits)
            wn_params_derive(&recipe->stages[s].params, "bits", ceil(bits->number));
    }
}

/* `set`: everything but the recipe and what it is tried with. */
static void probe_recipe(struct stage_set set, const struct wn_recipe *recipe, struct wn_recipe_cost *cost)
{
    set.recipe = *recipe;
    set.recipe.zeros = NULL;
    round_bits(&set.recipe);
    try_recipe(&set);
    cost->compress = set.once + set.rows;
    cost->trial = set.trial;
    cost->rules = set.rules;
}

void wn_probe_recipes(const struct wn_run *run, int64_t m, const struct wn_model *model, const struct wn_block *block,
                      const struct wn_probe_kinds *kinds, struct wn_model_cost *cost)
{
    const struct wn_recipe **of_kind = NULL;
    int64_t sample = wn_sequences_tokens(&run->models[m].sample), most = SAMPLE_ROWS * SAMPLE_RUNS;
    for (int64_t p = 0; p < run->grid.n_points; p++) {
        const struct wn_point *point = &run->grid.points[p];
        if (point->model != m || wn_probe_kind(cost, &point->recipe))
            continue;
        cost->kinds = wn_resize(cost->kinds, cost->n_kinds + 1, sizeof *cost->kinds);
        of_kind = wn_resize(of_kind, cost->n_kinds + 1, sizeof *of_kind);
        cost->kinds[cost->n_kinds] = (struct wn_recipe_cost){.kind = kind_of(&point->recipe)};
        of_kind[cost->n_kinds++] = &point->recipe;
    }
    int64_t rows = cost->n_kinds <= FEW_KINDS ? 1024 : cost->n_kinds <= 2 * FEW_KINDS ? 512 : 256;
    for (int64_t k = 0; of_kind && k < cost->n_kinds; k++) { /* a column sweep takes the longest of all */
        bool sweeps = cost->kinds[k].sweeps = wn_recipe_needs(of_kind[k]) & WN_NEED_SECOND_MOMENTS;
        const struct stage_set set = {.model = model,
                                      .block = block,
                                      .kinds = kinds,
                                      .most_rows = sweeps ? rows : 4 * rows,
                                      .sample = sample < most ? sample : most};
        probe_recipe(set, of_kind[k], &cost->kinds[k]);
    }
    wn_free(of_kind);
}
