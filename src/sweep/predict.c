/*
 * predict.c: how long, how much memory, how large a file, before the work starts. Operations follow from shapes; the
 * rate is measured on the spot by short runs of the canonical tile, so the seconds are those of the machine that plans.
 */
#include <stdio.h>
#include <string.h>

#include <winnow/linalg.h>

#include "sweep_impl.h"

/* Share of the tile rate that whole points reach on this code: forward passes with attention, norms and the head. */
#define POINT_EFFICIENCY 0.7

/* Operations of pushing a set through one block: its linears and causal attention. */
static double block_flops(const struct wn_model *model, const struct wn_sequences *sequences)
{
    double attention = 0, width = (double)(model->config.n_heads * model->config.head_dim);
    for (int64_t s = 0; s < sequences->n_sequences; s++) {
        double length = (double)(sequences->offset[s + 1] - sequences->offset[s]);
        double before = sequences->start ? (double)sequences->start[s] : 0;
        attention += 2 * (length + 2 * before) * length * width; /* scores and values, of the square half of each */
    }
    return 2.0 * (double)wn_model_block_weights(model) * (double)wn_sequences_tokens(sequences) + attention;
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
        squares += (double)model->layout.input_widths[i] * (double)model->layout.input_widths[i];
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

/* The share of the weights of the blocks that evaluation goes through. */
static double kept_share(const struct wn_model *model, const struct wn_recipe *recipe)
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

/* Generating the texts of a set through `kept` of the weights of the blocks; steps of few rows take as long as those of
 * more. */
static double generation_flops(const struct wn_model *model, const struct wn_generation *generation, double kept)
{
    const struct wn_config *config = &model->config;
    double width = (double)(config->n_heads * config->head_dim), blocks = (double)config->n_blocks;
    double head = 2.0 * (double)config->vocab_size * (double)config->hidden_size;
    struct wn_generate_work work;
    wn_generate_work(generation, &work);
    double linears = 2.0 * (double)wn_model_block_weights(model) * (work.prompt_rows + work.step_rows);
    return kept * blocks * (linears + 4 * work.pairs * width) +
           head * ((double)wn_generation_texts(generation) + work.step_rows);
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
    return (2.0 * (double)wn_model_block_weights(model) * rows + 4 * pairs * width) * (double)config->n_blocks +
           2.0 * (double)config->vocab_size * (double)config->hidden_size * targets;
}

double wn_point_flops(const struct wn_run *run, int64_t index)
{
    const struct wn_point *point = &run->grid.points[index];
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_model *model = prepared->model;
    double weights = (double)wn_model_block_weights(model), heads = 0, blocks;
    blocks = block_flops(model, &prepared->sample);
    if (point->recipe.n_stages) /* output errors twice over the sample; a pass of the method over the weights */
        blocks += 4 * weights * (double)wn_sequences_tokens(&prepared->sample) + 200 * weights;
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        blocks += kept_share(model, &point->recipe) * block_flops(model, &prepared->sets[e].sequences);
        heads += head_flops(model, &prepared->sets[e]);
        if (prepared->sets[e].generation)
            heads += generation_flops(model, prepared->sets[e].generation, kept_share(model, &point->recipe)) +
                     losses_flops(model, prepared->sets[e].generation);
    }
    if (wn_point_walks_calibration(point)) /* every linear, once for each trial, at most twice: alone and in its part */
        blocks += 1.5 * wn_recipe_trials(&point->recipe) *
                  block_flops(model, &prepared->calibrations[point->calibration].sequences);
    blocks += clip_flops(model, &point->recipe);
    if (wn_recipe_true_sequential(&point->recipe)) /* a pass of its own for every input behind the first */
        blocks +=
            (model->layout.n_inputs - 1) * block_flops(model, &prepared->calibrations[point->calibration].sequences);
    if (wn_point_walks_calibration(point))
        blocks += 2 * block_flops(model, &prepared->calibrations[point->calibration].sequences);
    if (wn_recipe_needs(&point->recipe) & WN_NEED_SECOND_MOMENTS) {
        blocks += solver_flops(model);
        if (point->propagation == WN_PROPAGATION_SEQUENTIAL)
            blocks += moments_flops(model, &prepared->calibrations[point->calibration].sequences);
    }
    return blocks * (double)model->config.n_blocks + heads;
}

/* Operations per second of one thread in the canonical tile. */
static double measure_rate(void)
{
    enum { ROWS = WN_TILE_ROWS, COLUMNS = WN_TILE_COLUMNS, DEPTH = 1024 };
    float *x = wn_alloc_zero(ROWS * DEPTH, sizeof(float)), *w = wn_alloc_zero(COLUMNS * DEPTH, sizeof(float));
    float *y = wn_alloc(ROWS * COLUMNS, sizeof(float));
    double best = 0, end = wn_seconds() + 0.2;
    while (wn_seconds() < end) {
        double start = wn_seconds();
        wn_linear(x, ROWS, DEPTH, w, COLUMNS, NULL, y);
        double rate = 2.0 * ROWS * COLUMNS * DEPTH / (wn_seconds() - start);
        best = rate > best ? rate : best;
    }
    wn_free(x);
    wn_free(w);
    wn_free(y);
    return best;
}

/* Scores of drop that leave single units out. */
static void predict_left_out(const struct wn_run *run, int64_t m, int64_t c, struct wn_prediction *prediction)
{
    const struct wn_model *model = run->models[m].model;
    const struct wn_sequences *sequences = &run->models[m].calibrations[c].sequences;
    int64_t models, passes = wn_left_out_passes(run, m, c, &models), bytes = wn_left_out_bytes(run, m, c);
    double head = 2.0 * (double)model->config.vocab_size * (double)model->config.hidden_size;
    prediction->reference_flops +=
        (double)passes * block_flops(model, sequences) + (double)models * head * (double)wn_sequences_tokens(sequences);
    prediction->shared_bytes += wn_left_out_shared_bytes(run, m, c);
    if (bytes > prediction->rank_bytes) {
        prediction->rank_bytes = bytes;
        snprintf(prediction->largest, sizeof prediction->largest, "drop scores on %s, before any point",
                 run->sweep->calibrations[c].name);
    }
}

/* The dense pass over calibration sets of points that read it, and what it leaves behind. Shares of outliers are two
 * looks at the weights: nothing beside it. */
static void predict_statistics(const struct wn_run *run, int64_t m, struct wn_prediction *prediction)
{
    const struct wn_prepared_model *prepared = &run->models[m];
    const struct wn_model *model = prepared->model;
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++) {
        unsigned needs = 0;
        bool used = false;
        for (int64_t i = 0; i < run->grid.n_points; i++) {
            const struct wn_point *point = &run->grid.points[i];
            if (point->model == m && point->calibration == c && wn_point_reads_dense(point)) {
                needs |= wn_point_dense_needs(point);
                used = true;
            }
        }
        if (!used)
            continue;
        const struct wn_sequences *sequences = &prepared->calibrations[c].sequences;
        prediction->shared_bytes += model->config.n_blocks * wn_statistics_bytes(&model->layout, needs);
        prediction->reference_flops +=
            (block_flops(model, sequences) + (needs & WN_NEED_SECOND_MOMENTS ? moments_flops(model, sequences) : 0)) *
            (double)model->config.n_blocks;
        predict_left_out(run, m, c, prediction);
    }
}

static void predict_shared(const struct wn_run *run, struct wn_prediction *prediction)
{
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_prepared_model *prepared = &run->models[m];
        const struct wn_model *model = prepared->model;
        for (int64_t e = 0; e < run->sweep->n_evals; e++) {
            const struct wn_eval_set *set = &prepared->sets[e];
            if (set->generation) {
                prediction->shared_bytes +=
                    wn_generation_texts(set->generation) * wn_generated_record_bytes(set->generation);
                prediction->reference_flops += generation_flops(model, set->generation, 1);
            }
            if (!set->divergence && !set->kind->compares)
                continue;
            prediction->reference_flops += block_flops(model, &set->sequences) * (double)model->config.n_blocks;
            if (set->divergence) /* states; every point makes its own logits of them */
                prediction->shared_bytes += set->n_targets * model->config.hidden_size * (int64_t)sizeof(float);
            if (set->kind->compares) {
                prediction->shared_bytes += set->n_targets * (int64_t)(sizeof(double) + 1);
                prediction->reference_flops += head_flops(model, set) / (set->divergence ? 2 : 1);
            }
        }
        predict_statistics(run, m, prediction);
    }
}

void wn_predict(const struct wn_run *run, int threads, struct wn_prediction *prediction)
{
    struct wn_results_plan plan;
    struct wn_facts none = {0};
    int64_t largest = 0;
    *prediction = (struct wn_prediction){0};
    prediction->flops = wn_alloc_zero(run->grid.n_points, sizeof(double));
    prediction->seconds = wn_alloc_zero(run->grid.n_points, sizeof(double));
    prediction->rate = measure_rate() * POINT_EFFICIENCY * threads;
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        int64_t bytes = wn_point_bytes(run, i);
        prediction->flops[i] = wn_point_flops(run, i);
        prediction->seconds[i] = prediction->flops[i] / prediction->rate;
        if (bytes > prediction->rank_bytes) {
            prediction->rank_bytes = bytes;
            largest = i;
        }
    }
    if (run->grid.n_points)
        snprintf(prediction->largest, sizeof prediction->largest, "%s", run->grid.points[largest].key);
    predict_shared(run, prediction);
    prediction->rank_bytes += wn_run_grid_bytes(run);
    wn_run_results_plan(run, &none, &plan);
    prediction->file_bytes = wn_results_predict_bytes(&plan);
}

void wn_prediction_release(struct wn_prediction *prediction)
{
    wn_free(prediction->flops);
    wn_free(prediction->seconds);
    *prediction = (struct wn_prediction){0};
}
