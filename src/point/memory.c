/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c: what a point takes on a rank: the formulas of plan, by the numbers that the stages allocate with. */
#include <omp.h>

#include "inside.h"
#include "point_impl.h"

int64_t wn_prepared_longest_chunk(const struct wn_run *run, int64_t model)
{
    const struct wn_prepared_model *prepared = &run->models[model];
    int64_t longest = wn_sequences_longest_chunk(&prepared->sample);
    for (int64_t e = 0; e < run->n_sets; e++) {
        int64_t length = wn_sequences_longest_chunk(&prepared->sets[e].sequences);
        longest = length > longest ? length : longest;
    }
    for (int64_t c = 0; c < run->n_calibrations; c++) {
        int64_t length = wn_sequences_longest_chunk(&prepared->calibrations[c].sequences);
        longest = length > longest ? length : longest;
    }
    return longest;
}

int64_t wn_prepared_group_rows(const struct wn_run *run, int64_t model)
{
    const struct wn_prepared_model *prepared = &run->models[model];
    int64_t longest = wn_prepared_longest_chunk(run, model), most = longest;
    for (int64_t e = 0; e < run->n_sets; e++) {
        int64_t tokens = wn_sequences_tokens(&prepared->sets[e].sequences);
        most = tokens > most ? tokens : most;
    }
    for (int64_t c = 0; c < run->n_calibrations; c++) {
        int64_t tokens = wn_sequences_tokens(&prepared->calibrations[c].sequences);
        most = tokens > most ? tokens : most;
    }
    int64_t rows = wn_model_group_rows(prepared->model, longest);
    return rows < most ? rows : most;
}

int64_t wn_prepared_offsets(const struct wn_run *run, int64_t model)
{
    const struct wn_prepared_model *prepared = &run->models[model];
    int64_t most = prepared->sample.n_sequences;
    for (int64_t e = 0; e < run->n_sets; e++)
        most = prepared->sets[e].sequences.n_sequences > most ? prepared->sets[e].sequences.n_sequences : most;
    for (int64_t c = 0; c < run->n_calibrations; c++) {
        int64_t count = prepared->calibrations[c].sequences.n_sequences;
        most = count > most ? count : most;
    }
    return most + 1;
}

int64_t wn_evaluated_bytes(const struct wn_model *model, int64_t rows)
{
    const struct wn_layout *layout = &model->layout;
    return wn_linears_bytes(model->compute, rows, wn_layout_widest_input(layout), wn_layout_widest_output(layout),
                            omp_get_max_threads());
}

/* ---- generated text ---- */

bool wn_prepared_generates(const struct wn_run *run, int64_t model)
{
    for (int64_t e = 0; e < run->n_sets; e++)
        if (run->models[model].sets[e].generation || run->models[model].sets[e].efficiency)
            return true;
    return false;
}

/* When every text has as many tokens as it may have. */
static int64_t losses_bytes(const struct wn_model *model, const struct wn_generation *generation)
{
    int64_t tokens = 0, longest = 0, texts = wn_generation_texts(generation);
    for (int64_t p = 0; p < generation->n_prompts; p++) {
        int64_t length = generation->prompts[p].count + generation->prompts[p].most - 1;
        tokens += generation->draws * length;
        longest = length > longest ? length : longest;
    }
    longest = longest > WN_CHUNK_TOKENS ? longest : WN_CHUNK_TOKENS;
    longest = longest < tokens ? longest : tokens;
    int64_t rows = longest > WN_WAVE_TOKENS ? longest : WN_WAVE_TOKENS;
    int64_t floats = (rows < tokens ? rows : tokens) * model->config.hidden_size + wn_model_scratch(model, longest);
    int64_t targets = texts * generation->most * (int64_t)(2 * sizeof(int64_t) + sizeof(int32_t) + 1);
    return wn_block_bytes(model) + wn_evaluated_bytes(model, longest) + floats * (int64_t)sizeof(float) + targets +
           tokens * (int64_t)sizeof(int32_t) + 3 * texts * (int64_t)sizeof(int64_t) +
           wn_eval_scratch_bytes(model, false);
}

/* While the largest linear is packed. */
static int64_t packing_bytes(const struct wn_layout *layout)
{
    int64_t most = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        int64_t bytes = wn_pack_bytes_while(layout->linears[l].rows, layout->linears[l].columns);
        most = bytes > most ? bytes : most;
    }
    return most;
}

void wn_generation_bytes(const struct wn_run *run, int64_t index, const struct wn_recipe *recipe,
                         struct wn_generation_bytes *bytes)
{
    const struct wn_prepared_model *prepared = &run->models[index];
    const struct wn_model *model = prepared->model;
    *bytes = (struct wn_generation_bytes){0};
    if (!wn_prepared_generates(run, index))
        return;
    bytes->kept = wn_kept_blocks_bytes(model, recipe);
    bytes->packing = packing_bytes(&model->layout);
    for (int64_t e = 0; e < run->n_sets; e++) {
        const struct wn_generation *generation = prepared->sets[e].generation;
        if (!generation && !prepared->sets[e].efficiency)
            continue;
        if (!generation) {
            int64_t measure = wn_efficiency_bytes(model, prepared->sets[e].efficiency);
            bytes->measure = measure > bytes->measure ? measure : bytes->measure;
            continue;
        }
        int64_t generate = wn_generate_bytes(model, generation);
        int64_t losses = generation->dense_loss ? losses_bytes(model, generation) : 0;
        bytes->records += wn_generation_texts(generation) * wn_generated_record_bytes(generation);
        bytes->generate = generate > bytes->generate ? generate : bytes->generate;
        bytes->losses = losses > bytes->losses ? losses : bytes->losses;
    }
}

/* ---- a point ---- */

/* Statistics are made in a point's own memory under sequential propagation: sums, and those of one group. */
static int64_t statistics_bytes(const struct wn_run *run, const struct wn_point *point)
{
    if (!wn_point_collects(point))
        return 0;
    return 2 * wn_statistics_bytes(&run->models[point->model].model->layout, wn_recipe_needs(&point->recipe));
}

/* Floats of the factors that are held at once, each from the first to the last linear that reads its input. */
static int64_t factor_floats(const struct wn_layout *layout, const struct wn_recipe *recipe)
{
    int order[WN_MAX_LINEARS], last[WN_MAX_INPUTS] = {0};
    int64_t held = 0, most = 0;
    bool made[WN_MAX_INPUTS] = {false};
    const int count = wn_order_linears(layout, wn_recipe_true_sequential(recipe), order);
    for (int k = 0; k < count; k++)
        last[layout->linears[order[k]].input] = k;
    for (int k = 0; k < count; k++) {
        const int input = layout->linears[order[k]].input;
        const int64_t floats = layout->input_widths[input] * layout->input_widths[input];
        held += made[input] ? 0 : floats;
        made[input] = true;
        most = held > most ? held : most;
        held -= last[input] == k ? floats : 0;
    }
    return most;
}

int64_t wn_point_solver_bytes(const struct wn_layout *layout, const struct wn_recipe *recipe)
{
    int64_t work = 0;
    if (!(wn_recipe_needs(recipe) & WN_NEED_SECOND_MOMENTS))
        return 0;
    for (int l = 0; l < layout->n_linears; l++) {
        int64_t bytes =
            wn_second_order_bytes(layout->linears[l].rows, layout->linears[l].columns, omp_get_max_threads());
        work = bytes > work ? bytes : work;
    }
    return factor_floats(layout, recipe) * (int64_t)sizeof(float) + work;
}

int64_t wn_point_rules_bytes(const struct wn_run *run, const struct wn_point *point)
{
    const struct wn_layout *layout = &run->models[point->model].model->layout;
    int64_t total = 0, bytes, scratch;
    for (int l = 0; l < layout->n_linears; l++) {
        wn_recipe_activation_bytes(&point->recipe, layout->linears[l].rows, layout->linears[l].columns, 1, 1, &bytes,
                                   &scratch);
        total += bytes;
    }
    return total;
}

/* The same with the work of the hungriest one, and scaled inputs of the sample. */
static int64_t activation_bytes(const struct wn_run *run, const struct wn_point *point)
{
    const struct wn_layout *layout = &run->models[point->model].model->layout;
    int64_t longest = wn_prepared_longest_chunk(run, point->model), total = wn_point_rules_bytes(run, point), most = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        int64_t bytes, scratch;
        wn_recipe_activation_bytes(&point->recipe, linear->rows, linear->columns, longest, omp_get_max_threads(),
                                   &bytes, &scratch);
        most = scratch > most ? scratch : most;
    }
    if (wn_recipe_needs(&point->recipe) & WN_NEED_ABSOLUTE_MAXIMA)
        total += wn_sequences_tokens(&run->models[point->model].sample) * wn_layout_widest_input(layout) *
                 (int64_t)sizeof(float);
    return total + most;
}

void wn_point_need(const struct wn_run *run, int64_t index, struct wn_point_need *need)
{
    const struct wn_point *point = &run->grid.points[index];
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_model *model = prepared->model;
    int64_t hidden = model->config.hidden_size, longest = wn_prepared_longest_chunk(run, point->model);
    int64_t sample = wn_sequences_tokens(&prepared->sample), widest = wn_layout_widest_output(&model->layout);
    int64_t largest = wn_layout_largest_linear(&model->layout), rows = sample, scores = 0, head = 0;
    int64_t kept = 0; /* keys and values of prefixes */
    for (int64_t e = 0; e < run->n_sets; e++) {
        const struct wn_eval_set *set = &prepared->sets[e];
        int64_t bytes = wn_target_scores_bytes(set), scratch = wn_eval_scratch_bytes(model, set->divergence);
        rows += wn_sequences_tokens(&set->sequences);
        int64_t prefixes = wn_sequences_run_bytes(model, &set->sequences);
        kept = prefixes > kept ? prefixes : kept;
        scores = bytes > scores ? bytes : scores;
        head = scratch > head ? scratch : head;
    }
    if (wn_point_walks_calibration(point))
        rows += wn_sequences_tokens(&prepared->calibrations[point->calibration].sequences);
    int64_t group = wn_prepared_group_rows(run, point->model);
    int64_t floats = rows * hidden + group * hidden + wn_model_scratch(model, group) +
                     wn_model_input_floats(model, sample) + 2 * sample * widest;
    int64_t compress =
        point->recipe.n_stages ? largest * 10 : 0; /* keep, codes and the selection's work array; then sizes */
    compress += statistics_bytes(run, point) + wn_point_solver_bytes(&model->layout, &point->recipe);
    compress += activation_bytes(run, point) + wn_search_bytes(model, &point->recipe, longest);
    struct wn_generation_bytes texts;
    wn_generation_bytes(run, point->model, &point->recipe, &texts);
    int64_t walking =
        (point->recipe.n_stages ? 2 : 1) * wn_block_bytes(model) + compress + kept + texts.kept + texts.packing;
    walking += wn_evaluated_bytes(model, group);
    if (texts.kept)
        walking += (model->config.n_blocks - 1) * wn_point_rules_bytes(run, point);
    int64_t scoring = scores + head, most = walking > scoring ? walking : scoring;
    int64_t generating = texts.kept + texts.generate, measuring = texts.kept + texts.measure;
    most = most > generating ? most : generating;
    most = most > texts.losses ? most : texts.losses;
    need->beside = floats * (int64_t)sizeof(float) + most + texts.records + wn_point_routes_bytes(run, point) +
                   wn_schema_bytes(&run->schema) + wn_prepared_offsets(run, point->model) * (int64_t)sizeof(int64_t);
    need->alone = need->beside + (measuring > most ? measuring - most : 0);
}

int64_t wn_point_bytes(const struct wn_run *run, int64_t index)
{
    struct wn_point_need need;
    wn_point_need(run, index, &need);
    return need.alone;
}
