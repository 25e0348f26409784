/* SPDX-License-Identifier: Apache-2.0 */
/* flops.c: operations that follow from shapes: of points, and so how the time left is shared out. */
#include "../point/point_impl.h"
#include "predict.h"

/* Operations of pushing a set through one block: its linears and causal attention. */
static double block_flops(const struct wn_model *model, const struct wn_sequences *sequences)
{
    double attention = 0, width = (double)(model->config.n_heads * model->config.head_dim);
    for (int64_t s = 0; s < sequences->n_sequences; s++) {
        double length = (double)(sequences->offset[s + 1] - sequences->offset[s]);
        double before = sequences->start ? (double)sequences->start[s] : 0;
        attention += 2 * (length + 2 * before) * length * width; /* scores and values, of the square half of each */
    }
    return 2.0 * wn_model_block_active_weights(model) * (double)wn_sequences_tokens(sequences) + attention;
}

static double head_flops(const struct wn_model *model, const struct wn_eval_set *set)
{
    return 2.0 * (double)model->config.vocab_size * (double)model->config.hidden_size * (double)set->n_targets *
           (set->divergence ? 2 : 1);
}

/* Second moments of the inputs of one block over a set: one triangle. */
static double moments_flops(const struct wn_model *model, const struct wn_sequences *sequences)
{
    double squares = 0;
    for (int i = 0; i < model->layout.n_inputs; i++)
        squares += (double)model->layout.input_widths[i] * (double)model->layout.input_widths[i] *
                   wn_model_input_share(model, i);
    return squares * (double)wn_sequences_tokens(sequences);
}

/* Factors, column sweep and the recorded objectives of one block. */
static double solver_flops(const struct wn_model *model)
{
    double flops = 0;
    for (int i = 0; i < model->layout.n_inputs; i++) {
        double width = (double)model->layout.input_widths[i];
        flops += width * width * width;
    }
    for (int l = 0; l < model->layout.n_linears; l++) {
        double columns = (double)model->layout.linears[l].columns;
        flops += 7 * (double)model->layout.linears[l].rows * columns * columns;
    }
    return flops;
}

double wn_kept_share(const struct wn_model *model, const struct wn_recipe *recipe)
{
    const struct wn_params *params = wn_recipe_drop(recipe);
    double dropped = 0, all = 0;
    if (!params)
        return 1;
    for (int l = 0; l < model->layout.n_linears; l++) {
        const struct wn_linear_info *linear = &model->layout.linears[l];
        enum wn_drop_unit unit = wn_drop_unit_of(params);
        double weights = (double)linear->rows * (double)linear->columns;
        all += weights;
        if (unit >= WN_UNIT_BLOCK || (int)unit == (int)model->layout.input_branches[linear->input])
            dropped += weights;
    }
    double units = (double)model->config.n_blocks * (wn_drop_unit_of(params) == WN_UNIT_BRANCH ? 2 : 1);
    return 1 - dropped / all * (double)wn_drop_count(params, model->config.n_blocks) / units;
}

/* Products of the changes of every candidate clip with the second moments of their runs. */
static double clip_flops(const struct wn_model *model, const struct wn_recipe *recipe)
{
    double flops = 0;
    for (int l = 0; l < model->layout.n_linears; l++) {
        const struct wn_linear_info *linear = &model->layout.linears[l];
        flops +=
            20 * (double)linear->rows * (double)linear->columns * (double)wn_recipe_moment_run(recipe, linear->columns);
    }
    return flops;
}

/* Generating the texts of a set: in the blocks, of which evaluation goes through a share, and in the head. Steps of few
 * rows take as long as those of more. */
static double generation_flops(const struct wn_model *model, const struct wn_generation *generation, double *head)
{
    const struct wn_config *config = &model->config;
    double width = (double)(config->n_heads * config->head_dim), blocks = (double)config->n_blocks;
    struct wn_generate_work work;
    wn_generate_work(model, generation, &work);
    *head = 2.0 * (double)config->vocab_size * (double)config->hidden_size *
            ((double)wn_generation_texts(generation) + work.step_rows);
    double linears = 2.0 * wn_model_block_active_weights(model) * (work.prompt_rows + work.step_rows);
    return blocks * (linears + 4 * work.pairs * width);
}

/* The dense model reads prompts and texts. */
static double losses_flops(const struct wn_model *model, const struct wn_generation *generation)
{
    const struct wn_config *config = &model->config;
    double width = (double)(config->n_heads * config->head_dim), rows = 0, pairs = 0, targets = 0;
    for (int64_t p = 0; generation->dense_loss && p < generation->n_prompts; p++) {
        double most = (double)generation->prompts[p].most, length = (double)generation->prompts[p].count + most - 1;
        rows += length * (double)generation->draws;
        pairs += length * length / 2 * (double)generation->draws;
        targets += most * (double)generation->draws;
    }
    return (2.0 * wn_model_block_active_weights(model) * rows + 4 * pairs * width) * (double)config->n_blocks +
           2.0 * (double)config->vocab_size * (double)config->hidden_size * targets;
}

/* What the sets of a model cost, the same for all points: operations in one block, in the head, and of texts. */
struct set_flops {
    double block, head, texts; /* of texts: in all blocks */
};
struct model_flops {
    double sample, *calibrations;
    struct set_flops *sets;
};

static void open_model_flops(const struct wn_run *run, int64_t index, struct model_flops *flops)
{
    const struct wn_prepared_model *prepared = &run->models[index];
    const struct wn_model *model = prepared->model;
    flops->sample = block_flops(model, &prepared->sample);
    flops->sets = wn_alloc_zero(run->sweep->n_evals, sizeof *flops->sets);
    flops->calibrations = wn_alloc_zero(run->sweep->n_calibrations, sizeof *flops->calibrations);
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++)
        flops->calibrations[c] = block_flops(model, &prepared->calibrations[c].sequences);
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        const struct wn_eval_set *set = &prepared->sets[e];
        struct set_flops *of_set = &flops->sets[e];
        double texts_head = 0;
        of_set->block = block_flops(model, &set->sequences);
        if (set->generation)
            of_set->texts = generation_flops(model, set->generation, &texts_head);
        of_set->head =
            head_flops(model, set) + (set->generation ? texts_head + losses_flops(model, set->generation) : 0);
    }
}

static void close_model_flops(struct model_flops *flops)
{
    wn_free(flops->sets);
    wn_free(flops->calibrations);
}

static double point_flops(const struct wn_run *run, int64_t index, const struct model_flops *flops)
{
    const struct wn_point *point = &run->grid.points[index];
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_model *model = prepared->model;
    double weights = wn_model_block_active_weights(model), kept = wn_kept_share(model, &point->recipe), heads = 0;
    double blocks = flops->sample, calibration = point->calibration >= 0 ? flops->calibrations[point->calibration] : 0;
    if (point->recipe.n_stages) /* output errors twice over the sample; a pass of the method over the weights */
        blocks += 4 * weights * (double)wn_sequences_tokens(&prepared->sample) + 200 * weights;
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        if (!wn_run_lacks(run, index, e))
            continue;
        blocks += kept * flops->sets[e].block;
        heads += kept * flops->sets[e].texts + flops->sets[e].head;
    }
    if (wn_point_walks_calibration(point)) /* every linear, once for each trial, at most twice: alone and in its part */
        blocks += (1.5 * wn_recipe_trials(&point->recipe) + 2) * calibration;
    blocks += clip_flops(model, &point->recipe);
    if (wn_recipe_true_sequential(&point->recipe)) /* a pass of its own for every step behind the first */
        blocks += model->layout.input_steps[model->layout.n_inputs - 1] * calibration;
    if (wn_point_asks_routes(point))
        blocks += calibration;
    if (wn_recipe_needs(&point->recipe) & WN_NEED_SECOND_MOMENTS) {
        blocks += solver_flops(model);
        if (point->propagation == WN_PROPAGATION_SEQUENTIAL)
            blocks += moments_flops(model, &prepared->calibrations[point->calibration].sequences);
    }
    return blocks * (double)model->config.n_blocks + heads;
}

double wn_point_flops(const struct wn_run *run, int64_t index)
{
    struct model_flops flops;
    open_model_flops(run, run->grid.points[index].model, &flops);
    double result = point_flops(run, index, &flops);
    close_model_flops(&flops);
    return result;
}

void wn_points_flops(const struct wn_run *run, double *flops)
{
    struct model_flops *models = wn_alloc(run->n_models, sizeof *models);
    for (int64_t m = 0; m < run->n_models; m++)
        open_model_flops(run, m, &models[m]);
    for (int64_t i = 0; i < run->grid.n_points; i++)
        flops[i] = point_flops(run, i, &models[run->grid.points[i].model]);
    for (int64_t m = 0; m < run->n_models; m++)
        close_model_flops(&models[m]);
    wn_free(models);
}
