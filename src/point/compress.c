/* SPDX-License-Identifier: Apache-2.0 */
/* compress.c: what becomes of the linears of a block: scales of their inputs, then one linear after the other. */
#include <stdio.h>

#include "walk.h"

void wn_compressor_open(struct wn_compressor *compressor, const struct wn_subject *subject)
{
    compressor->recipes = wn_alloc(subject->model->layout.n_linears, sizeof *compressor->recipes);
    if (!subject->point->recipe.n_stages)
        return;
    compressor->compressed = wn_block_create(subject->model);
    compressor->keep = wn_alloc(wn_layout_largest_linear(&subject->model->layout), 1);
}

static void forget_block(struct wn_compressor *compressor)
{
    for (int l = 0; l < WN_MAX_LINEARS; l++)
        wn_activation_release(&compressor->activations[l]);
    for (int i = 0; i < WN_MAX_INPUTS; i++) {
        wn_free(compressor->scales[i]);
        wn_free(compressor->run_moments[i]);
        compressor->scales[i] = compressor->run_moments[i] = NULL;
    }
    wn_free(compressor->loss);
    compressor->loss = NULL;
}

void wn_compressor_release(struct wn_compressor *compressor, const struct wn_model *model)
{
    forget_block(compressor);
    if (compressor->compressed)
        wn_block_destroy(&compressor->compressed, model);
    wn_free(compressor->keep);
    wn_free(compressor->recipes);
    compressor->keep = NULL;
    compressor->recipes = NULL;
}

/* Counts for the whole block, before the first linear. */
static void share_zeros(struct wn_compressor *compressor, const struct wn_model *model, bool is_even)
{
    const struct wn_layout *layout = &model->layout;
    struct wn_linear_weights linears[WN_MAX_LINEARS];
    int64_t zeros[WN_MAX_LINEARS] = {0};
    int place[WN_MAX_LINEARS], count = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        place[l] = wn_is_in(&model->config, linear->where, compressor->block_index) ? count++ : -1;
        if (place[l] >= 0)
            linears[place[l]] =
                (struct wn_linear_weights){compressor->dense->linears[l], linear->rows * linear->columns};
    }
    compressor->shares_zeros = is_even && wn_recipe_share_zeros(&compressor->recipes[0], linears, count, zeros);
    for (int l = 0; l < layout->n_linears; l++)
        compressor->zeros[l] = place[l] >= 0 ? zeros[place[l]] : 0;
}

/* The vectors before an input are divided by its scale, in the compressed block. */
static void divide_vectors(struct wn_compressor *compressor, const struct wn_layout *layout, int input)
{
    const float *by = compressor->scales[input];
    int vectors[2], count = wn_input_vectors(layout, input, vectors);
    for (int v = 0; v < count; v++) {
        const float *dense = compressor->dense->vectors[vectors[v]];
        float *divided = compressor->compressed->vectors[vectors[v]];
        for (int64_t j = 0; j < layout->input_widths[input]; j++)
            divided[j] = dense[j] / by[j];
    }
}

void wn_compressor_begin(struct wn_compressor *compressor, const struct wn_subject *subject,
                         const struct wn_allocation *allocation, int64_t block_index, const struct wn_block *dense)
{
    const struct wn_layout *layout = &subject->model->layout;
    if (!compressor->restored)
        forget_block(compressor);
    compressor->restored = false;
    compressor->block_index = block_index;
    compressor->dense = dense;
    for (int l = 0; l < layout->n_linears; l++) {
        compressor->recipes[l] = subject->point->recipe;
        wn_level_apply(wn_allocation_level(allocation, block_index, l), &compressor->recipes[l]);
    }
    compressor->exact_zeros = allocation->zeros ? allocation->zeros + block_index * layout->n_linears : NULL;
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        compressor->left_out[branch] = wn_allocation_leaves_out(allocation, block_index, (enum wn_branch)branch);
    share_zeros(compressor, subject->model, wn_allocation_is_even(allocation, block_index));
    for (int i = 0; i < layout->n_inputs; i++) /* of an earlier start */
        if (compressor->folded && compressor->scales[i])
            divide_vectors(compressor, layout, i);
}

/* ---- scales of inputs ---- */

/* What is known of an input of the current block. */
static struct wn_input_stats input_stats(const struct wn_compressor *compressor, const struct wn_subject *subject,
                                         struct wn_collector *collector, int input)
{
    struct wn_input_stats stats = {.width = subject->model->layout.input_widths[input],
                                   .scale = compressor->scales[input],
                                   .trial = compressor->trials[input],
                                   .run_moments = compressor->run_moments[input]};
    wn_collector_tell(collector, subject, input, &stats);
    return stats;
}

/* Asks the method what to divide an input by, and divides the vector before it in the compressed block. */
static wn_status scale_input(struct wn_compressor *compressor, const struct wn_subject *subject,
                             struct wn_collector *collector, int input)
{
    const struct wn_layout *layout = &subject->model->layout;
    int64_t width = layout->input_widths[input], rows[WN_MAX_LINEARS];
    const float *weights[WN_MAX_LINEARS];
    const struct wn_recipe *recipe = NULL; /* of any of them: levels do not say how inputs are scaled */
    char name[128];
    bool scaled;
    struct wn_input_stats stats = input_stats(compressor, subject, collector, input);
    snprintf(name, sizeof name, "block %lld %s", (long long)compressor->block_index, layout->input_names[input]);
    struct wn_input_task task = {.name = name, .width = width, .weights = weights, .rows = rows, .stats = &stats};
    for (int l = 0; l < layout->n_linears; l++)
        if (layout->linears[l].input == input) {
            recipe = &compressor->recipes[l];
            weights[task.n_linears] = compressor->dense->linears[l];
            rows[task.n_linears++] = layout->linears[l].rows;
        }
    compressor->scales[input] = wn_alloc(width, sizeof(float));
    WN_TRY(wn_recipe_scale_inputs(recipe, &task, compressor->scales[input], &scaled));
    compressor->folded = compressor->folded || scaled;
    if (scaled) {
        divide_vectors(compressor, layout, input);
    } else {
        wn_free(compressor->scales[input]);
        compressor->scales[input] = NULL;
    }
    return WN_OK;
}

static wn_status pause_search(void *context, int64_t done, int64_t all)
{
    const struct wn_compressor *compressor = context;
    return wn_pause(compressor->pauses, (struct wn_place){.part = WN_PART_SCALE, .done = done}, all);
}

static wn_status search_scales(struct wn_compressor *compressor, const struct wn_subject *subject,
                               struct wn_collector *collector, struct wn_workspace *workspace)
{
    struct wn_input_stats stats[WN_MAX_INPUTS];
    int64_t losses = subject->model->layout.n_inputs * wn_recipe_trials(&subject->point->recipe);
    for (int i = 0; i < subject->model->layout.n_inputs; i++) {
        stats[i] = input_stats(compressor, subject, collector, i);
        stats[i].run_moments = NULL; /* trials are not clipped, also in a search that goes on and has some */
    }
    if (!compressor->loss)
        compressor->loss = wn_alloc_zero(losses, sizeof *compressor->loss);
    const struct wn_scale_search search = {.model = subject->model,
                                           .recipes = compressor->recipes,
                                           .block_index = compressor->block_index,
                                           .dense = compressor->dense,
                                           .trial = compressor->compressed,
                                           .keep = compressor->keep,
                                           .calibration = collector->sequences,
                                           .hidden = collector->hidden,
                                           .copy = workspace->copy,
                                           .scratch = workspace->scratch,
                                           .offset = workspace->offset,
                                           .stats = stats,
                                           .zeros = compressor->shares_zeros ? compressor->zeros : NULL,
                                           .done = wn_pauses_done(compressor->pauses, WN_PART_SCALE),
                                           .loss = compressor->loss,
                                           .tried = pause_search,
                                           .context = compressor};
    WN_TRY(wn_search_scales(&search, compressor->scales, compressor->trials, compressor->run_moments));
    workspace->tokens += (double)wn_sequences_tokens(collector->sequences);
    return WN_OK;
}

wn_status wn_compressor_scale(struct wn_compressor *compressor, const struct wn_subject *subject,
                              struct wn_collector *collector, struct wn_workspace *workspace)
{
    const struct wn_layout *layout = &subject->model->layout;
    if (wn_recipe_trials(&subject->point->recipe))
        return search_scales(compressor, subject, collector, workspace);
    for (int i = 0; compressor->compressed && i < layout->n_inputs; i++)
        if (layout->producer_vector[i] >= 0 && wn_model_has_input(subject->model, i, compressor->block_index))
            WN_TRY(scale_input(compressor, subject, collector, i));
    return WN_OK;
}

/* ---- linears ---- */

static wn_status compress_linear(struct wn_compressor *compressor, const struct wn_subject *subject,
                                 struct wn_collector *collector, int index, const char *name, struct wn_made *made)
{
    struct wn_input_stats stats =
        input_stats(compressor, subject, collector, subject->model->layout.linears[index].input);
    const bool calibrated = wn_subject_calibration(subject) != NULL;
    struct wn_recipe *recipe = &compressor->recipes[index], plain;
    int64_t pattern_n, pattern_m;
    recipe->zeros = compressor->exact_zeros    ? &compressor->exact_zeros[index]
                    : compressor->shares_zeros ? &compressor->zeros[index]
                                               : NULL;
    made->rows = calibrated ? stats.tokens : -1;
    if (made->rows == 0) {
        made->fell_back = wn_recipe_without_data(recipe, &plain);
        recipe = &plain;
        stats.second_moments = NULL;
    }
    WN_TRY(wn_recipe_compress(recipe, name, compressor->dense->linears[index],
                              calibrated && !made->fell_back ? &stats : NULL, &made->form));
    compressor->activations[index] = made->form.activation;
    wn_recipe_pattern(recipe, &pattern_n, &pattern_m);
    made->bits = wn_bits_per_weight(&made->form, pattern_n, pattern_m);
    return WN_OK;
}

/* All of a linear of a branch that is left out is gone, and nothing is stored. */
static wn_status drop_linear(const struct wn_compressor *compressor, const struct wn_subject *subject, int index,
                             const char *name, struct wn_made *made)
{
    made->bits = 0;
    return wn_recipe_compress(&subject->point->recipe, name, compressor->dense->linears[index], NULL, &made->form);
}

/* A dense point changes nothing, but its weights are looked at like those of any other. Loading saw that they are
 * finite. */
static void keep_linear(const struct wn_compressor *compressor, const struct wn_linear_info *linear, int index,
                        struct wn_made *made)
{
    wn_compressed_init(&made->form, linear->rows, linear->columns, compressor->dense->linears[index], NULL);
    made->bits = wn_bits_per_weight(&made->form, 0, 0);
}

/* Where branches are left out, the others stay as they are. */
bool wn_point_changes_linears(const struct wn_point *point)
{
    return point->recipe.n_stages && !wn_recipe_drop(&point->recipe);
}

static bool changes_linears(const struct wn_compressor *compressor)
{
    return compressor->compressed && !wn_recipe_drop(&compressor->recipes[0]);
}

wn_status wn_compressor_make(struct wn_compressor *compressor, const struct wn_subject *subject,
                             struct wn_collector *collector, int index, struct wn_made *made)
{
    const struct wn_layout *layout = &subject->model->layout;
    const struct wn_linear_info *linear = &layout->linears[index];
    bool dropped = compressor->left_out[layout->input_branches[linear->input]];
    char name[128];
    made->rows = -1;
    made->fell_back = false;
    if (!dropped && !changes_linears(compressor)) {
        keep_linear(compressor, linear, index, made);
        return WN_OK;
    }
    snprintf(name, sizeof name, "block %lld %s", (long long)compressor->block_index, linear->name);
    wn_compressed_init(&made->form, linear->rows, linear->columns, compressor->compressed->linears[index],
                       compressor->keep);
    wn_status status = dropped ? drop_linear(compressor, subject, index, name, made)
                               : compress_linear(compressor, subject, collector, index, name, made);
    if (status != WN_OK)
        wn_compressed_release(&made->form);
    return status;
}

void wn_made_release(struct wn_made *made)
{
    made->form.activation = NULL; /* it stays with the compressor */
    wn_compressed_release(&made->form);
}

const struct wn_block *wn_compressor_view(const struct wn_compressor *compressor, const struct wn_layout *layout,
                                          int n_steps, struct wn_block *view)
{
    *view = *compressor->dense;
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        view->skip[branch] = compressor->left_out[branch];
    for (int l = 0; l < layout->n_linears; l++) {
        if (changes_linears(compressor) && layout->input_steps[layout->linears[l].input] < n_steps)
            view->linears[l] = compressor->compressed->linears[l];
        view->activations[l] = compressor->activations[l];
    }
    for (int i = 0; compressor->folded && i < layout->n_inputs; i++) {
        bool divided = compressor->scales[i] && layout->input_steps[i] < n_steps;
        int vectors[2], count = divided ? wn_input_vectors(layout, i, vectors) : 0;
        for (int v = 0; v < count; v++)
            view->vectors[vectors[v]] = compressor->compressed->vectors[vectors[v]];
    }
    return view;
}
