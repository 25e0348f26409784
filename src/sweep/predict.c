/* SPDX-License-Identifier: Apache-2.0 */
/*
 * predict.c: how long, how much memory, how large a file, before the work starts. Counts follow from shapes: rows,
 * positions attended to, targets, steps, trials; what each of them takes is measured by short runs of the code that
 * computes points (probe.c), so the seconds are those of the machine that plans, or of one whose rate or whose earlier
 * results file is given.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <winnow/level.h>
#include <winnow/linalg.h>

#include "../point/point_impl.h"
#include "limits.h"
#include "predict.h"

/* ---- what is counted once for all points ---- */

struct counts {
    double rows, pairs, chunks, groups; /* of a set of sequences */
    double linears;                     /* share of them that the busiest thread has */
    double tiles, targets, tops;        /* of its head */
};

struct counted {
    struct counts sample, *sets, *calibrations;
};

static struct counts count_sequences(const struct wn_model *model, const struct wn_sequences *sequences, int threads)
{
    double rows = (double)wn_sequences_tokens(sequences);
    return (struct counts){.rows = rows,
                           .linears = wn_linears_share(model, rows, threads),
                           .pairs = wn_attention_pairs(sequences),
                           .chunks = (double)sequences->n_chunks,
                           .groups = sequences->n_chunks ? (double)wn_statistics_groups(sequences) : 0};
}

/* Rows of a head tile; the same as in the core of evaluation. */
static double head_rows(int64_t vocabulary)
{
    int64_t rows = 256;
    while (rows > 16 && rows * vocabulary * (int64_t)sizeof(float) > (int64_t)128 << 20)
        rows /= 2;
    return (double)rows;
}

/* Targets of one row share its logits. */
static void count_head(const struct wn_model *model, const struct wn_eval_set *set, struct counts *counts)
{
    int64_t t = 0;
    for (int64_t c = 0; c < set->sequences.n_chunks; c++) {
        int64_t end = set->sequences.offset[set->sequences.chunk[c + 1]];
        double rows = 0;
        for (int64_t last = -1; t < set->n_targets && set->target_row[t] < end; t++) {
            rows += set->target_row[t] != last;
            last = set->target_row[t];
        }
        counts->targets += rows;
        counts->tiles += ceil(rows / head_rows(model->config.vocab_size));
    }
    counts->tops =
        set->top > 0 ? (double)(set->logit_targets < set->n_targets ? set->logit_targets : set->n_targets) : 0;
}

static struct counted *count_all(const struct wn_run *run, int threads)
{
    struct counted *all = wn_alloc_zero(run->n_models, sizeof *all);
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_prepared_model *prepared = &run->models[m];
        all[m].sample = count_sequences(prepared->model, &prepared->sample, threads);
        all[m].sets = wn_alloc_zero(run->sweep->n_evals, sizeof *all[m].sets);
        all[m].calibrations = wn_alloc_zero(run->sweep->n_calibrations, sizeof *all[m].calibrations);
        for (int64_t e = 0; e < run->sweep->n_evals; e++) {
            all[m].sets[e] = count_sequences(prepared->model, &prepared->sets[e].sequences, threads);
            count_head(prepared->model, &prepared->sets[e], &all[m].sets[e]);
        }
        for (int64_t c = 0; c < run->sweep->n_calibrations; c++)
            all[m].calibrations[c] = count_sequences(prepared->model, &prepared->calibrations[c].sequences, threads);
    }
    return all;
}

static void release_counts(struct counted *all, int64_t n_models)
{
    for (int64_t m = 0; m < n_models; m++) {
        wn_free(all[m].sets);
        wn_free(all[m].calibrations);
    }
    wn_free(all);
}

/* ---- seconds ---- */

/* One block over a set. */
static double block_seconds(const struct wn_model_cost *cost, const struct counts *counts)
{
    return counts->rows * cost->row * counts->linears + counts->pairs * cost->pair;
}

/* Statistics of all inputs of a block over a set, the block itself left out. */
static double take_seconds(const struct wn_model_cost *cost, unsigned needs, const struct counts *counts)
{
    double row = cost->take[needs & (WN_NEED_ABSOLUTE_MAXIMA | WN_NEED_ABSOLUTE_SUMS)];
    bool moments = needs & WN_NEED_SECOND_MOMENTS;
    return counts->rows * (row + (moments ? cost->moments : 0)) +
           counts->groups * (moments ? cost->add_moments : cost->add);
}

static double head_seconds(const struct wn_model_cost *cost, const struct counts *counts, bool divergence)
{
    return divergence ? counts->tiles * cost->divergence_tile + counts->targets * cost->divergence_target
                      : counts->tiles * cost->tile + counts->targets * cost->target;
}

/* Texts of a set, through `kept` of the weights of the blocks. */
static double texts_seconds(const struct wn_model *model, const struct wn_model_cost *cost,
                            const struct wn_generation *generation, double kept)
{
    struct wn_generate_work work;
    double blocks = kept * (double)model->config.n_blocks, batch = WN_GENERATE_BATCH;
    wn_generate_work(model, generation, &work);
    return blocks * (work.prompt_rows * cost->row * wn_linears_share(model, work.prompt_rows, cost->threads) +
                     work.pairs * cost->pair + work.step_rows / batch * cost->step) +
           (work.step_rows + (double)wn_generation_texts(generation)) / batch * cost->step_head;
}

/* Speeds of a point and of the dense model beside it; those of a form that was measured before take nothing. */
static double speed_seconds(const struct wn_model *model, const struct wn_model_cost *cost,
                            const struct wn_efficiency *asked)
{
    double prompt_rows, step_rows, blocks = (double)model->config.n_blocks, batch = WN_GENERATE_BATCH;
    wn_efficiency_work(model, asked, &prompt_rows, &step_rows);
    return blocks * (prompt_rows * cost->row + step_rows / batch * cost->step) + step_rows / batch * cost->step_head;
}

/* The dense model reads prompts and texts. */
static double losses_seconds(const struct wn_model *model, const struct wn_model_cost *cost,
                             const struct wn_generation *generation)
{
    double rows = 0, pairs = 0, targets = 0;
    for (int64_t p = 0; generation->dense_loss && p < generation->n_prompts; p++) {
        double most = (double)generation->prompts[p].most, length = (double)generation->prompts[p].count + most - 1;
        rows += length * (double)generation->draws;
        pairs += length * (length + WN_QUERY_ROWS) / 2 * (double)generation->draws;
        targets += most * (double)generation->draws;
    }
    double waves = ceil(rows / (8 * WN_CHUNK_TOKENS));
    return (double)model->config.n_blocks * (rows * cost->row * wn_linears_share(model, rows, cost->threads) +
                                             pairs * cost->pair + waves * cost->load) +
           targets * cost->target + ceil(targets / head_rows(model->config.vocab_size)) * cost->tile;
}

/* Products of a row in the part of the block that begins with an input; an expert sees its share of the rows. */
static double part_products(const struct wn_model *model, int input)
{
    const struct wn_layout *layout = &model->layout;
    double products = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        const int other = layout->linears[l].input;
        if (other >= input && layout->input_branches[other] == layout->input_branches[input] &&
            layout->input_experts[other] == layout->input_experts[input])
            products += (double)layout->linears[l].rows * (double)layout->linears[l].columns;
    }
    return products * wn_model_input_share(model, input);
}

/* The search of scales in one block: every trial makes its weights anew for every chunk and runs the part of the block
 * behind its input, which is run once more with the dense weights. */
static double search_seconds(const struct wn_model *model, const struct wn_model_cost *cost,
                             const struct wn_recipe_cost *kind, int trials, const struct counts *counts)
{
    const struct wn_layout *layout = &model->layout;
    double weights = 0, searched = 0, parts = 0, active = wn_model_block_active_weights(model);
    bool attention = false;
    for (int l = 0; l < layout->n_linears; l++)
        weights += (double)layout->linears[l].rows * (double)layout->linears[l].columns;
    for (int i = 0; i < layout->n_inputs; i++) {
        if (layout->producer_vector[i] < 0 && layout->producer_linear[i] < 0)
            continue;
        bool first = i == 0 || layout->input_branches[i] != layout->input_branches[i - 1];
        attention = attention || (first && layout->input_branches[i] == WN_BRANCH_ATTENTION);
        parts += part_products(model, i);
        for (int l = 0; l < layout->n_linears; l++)
            if (layout->linears[l].input == i)
                searched += (double)layout->linears[l].rows * (double)layout->linears[l].columns;
    }
    return trials * counts->chunks * kind->trial * searched / weights +
           (trials + 1) * (counts->rows * cost->row * counts->linears * parts / active +
                           (attention ? counts->pairs * cost->pair : 0)) +
           block_seconds(cost, counts);
}

/* Adds what calibration takes; returns the rows it pushes through blocks. */
static double predict_calibration(const struct wn_model *model, const struct wn_point *point,
                                  const struct wn_model_cost *cost, const struct wn_recipe_cost *kind,
                                  const struct counts *counts, double stages[WN_STAGES])
{
    double blocks = (double)model->config.n_blocks, pass = block_seconds(cost, counts);
    double passes = 0; /* of all blocks */
    unsigned needs = wn_recipe_needs(&point->recipe);
    if (point->propagation == WN_PROPAGATION_SEQUENTIAL) {
        double take = take_seconds(cost, needs, counts),
               more = 0; /* a pass of its own for every step of inputs behind the first */
        if (wn_recipe_true_sequential(&point->recipe)) {
            int steps = model->layout.input_steps[model->layout.n_inputs - 1] + 1;
            more = steps - 1;
            take *= 2 - 1.0 / steps;
        }
        more += wn_point_asks_routes(point);
        stages[WN_STAGE_STATISTICS] += blocks * ((1 + more) * pass + take);
        passes = 1 + more;
    }
    if (!wn_point_walks_calibration(point))
        return blocks * passes * counts->rows;
    stages[WN_STAGE_FORWARD] += (blocks - 1) * pass;
    if (point->propagation == WN_PROPAGATION_SEQUENTIAL)
        stages[WN_STAGE_FORWARD] += (blocks - 1) * counts->rows * kind->rules;
    int trials = wn_recipe_trials(&point->recipe);
    if (trials)
        stages[WN_STAGE_COMPRESS] += blocks * search_seconds(model, cost, kind, trials, counts);
    return (blocks * (passes + (trials > 0)) + blocks - 1) * counts->rows;
}

static void predict_point(const struct wn_run *run, const struct wn_model_cost *costs, const struct counted *counted,
                          int64_t index, struct wn_prediction *prediction)
{
    const struct wn_point *point = &run->grid.points[index];
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_model *model = prepared->model;
    const struct wn_model_cost *cost = &costs[point->model];
    const struct wn_recipe_cost *kind = wn_probe_kind(cost, &point->recipe);
    const struct counted *of = &counted[point->model];
    double blocks = (double)model->config.n_blocks, kept = wn_kept_share(model, &point->recipe);
    double tokens = blocks * of->sample.rows;
    double *stages = prediction->stages[index];
    stages[WN_STAGE_LOAD] = blocks * cost->load;
    stages[WN_STAGE_STATISTICS] = blocks * block_seconds(cost, &of->sample);
    stages[WN_STAGE_COMPRESS] = blocks * kind->compress;
    if (wn_recipe_drop(&point->recipe)) /* what stays is only looked at, as in the dense model */
        stages[WN_STAGE_COMPRESS] = blocks * ((1 - kept) * kind->compress + kept * cost->kinds[0].compress);
    if (point->calibration >= 0)
        tokens += predict_calibration(model, point, cost, kind, &of->calibrations[point->calibration], stages);
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        const struct wn_eval_set *set = &prepared->sets[e];
        if (!wn_run_lacks(run, index, e))
            continue;
        double pass =
            kept * blocks * (cost->evaluated * block_seconds(cost, &of->sets[e]) + of->sets[e].rows * kind->rules);
        double score = head_seconds(cost, &of->sets[e], set->divergence) + of->sets[e].tops * cost->top, texts = 0;
        if (set->generation)
            texts = texts_seconds(model, cost, set->generation, kept) + losses_seconds(model, cost, set->generation);
        else if (set->efficiency)
            texts = speed_seconds(model, cost, set->efficiency);
        stages[WN_STAGE_FORWARD] += pass;
        stages[WN_STAGE_SCORE] += score;
        stages[WN_STAGE_GENERATE] += texts;
        prediction->evals[e] += pass + score + texts;
        tokens += blocks * of->sets[e].rows;
    }
    prediction->tokens[index] = tokens;
    for (int s = 0; s < WN_STAGES; s++)
        prediction->seconds[index] += stages[s];
}

/* ---- the dense pass ---- */

/* Scores of drop that leave single units out. */
static void predict_left_out(const struct wn_run *run, int64_t m, int64_t c, const struct wn_model_cost *cost,
                             const struct counts *counts, struct wn_prediction *prediction)
{
    struct wn_left_out_needs needs;
    wn_point_left_out_needs(run, m, c, NULL, &needs);
    int64_t models, passes = wn_left_out_passes(&needs, &models);
    wn_left_out_needs_release(&needs);
    prediction->dense_seconds +=
        (double)passes * block_seconds(cost, counts) + (double)models * counts->rows * cost->target;
}

/* What the points that read the dense pass need of each calibration set of a model: one look at all points. */
void wn_dense_needs(const struct wn_run *run, int64_t m, unsigned *needs, bool *used)
{
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        const struct wn_point *point = &run->grid.points[i];
        if (point->model != m || point->calibration < 0 || !wn_point_reads_dense(point))
            continue;
        needs[point->calibration] |= wn_point_dense_needs(point);
        used[point->calibration] = true;
    }
}

/* The dense pass over calibration sets of points that read it, and what it leaves behind. Shares of outliers are two
 * looks at the weights: nothing beside it. */
static void predict_statistics(const struct wn_run *run, int64_t m, const struct wn_model_cost *cost,
                               const struct counted *counted, struct wn_prediction *prediction)
{
    const struct wn_prepared_model *prepared = &run->models[m];
    const struct wn_model *model = prepared->model;
    unsigned *needs = wn_alloc_zero(run->sweep->n_calibrations, sizeof *needs);
    bool *used = wn_alloc_zero(run->sweep->n_calibrations, sizeof *used);
    wn_dense_needs(run, m, needs, used);
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++) {
        if (!used[c])
            continue;
        const struct wn_sequences *sequences = &prepared->calibrations[c].sequences;
        const struct counts *counts = &counted->calibrations[c];
        prediction->dense_seconds +=
            (block_seconds(cost, counts) + take_seconds(cost, needs[c], counts)) * (double)model->config.n_blocks;
        prediction->dense_units += wn_statistics_groups(sequences);
        predict_left_out(run, m, c, cost, counts, prediction);
    }
    wn_free(needs);
    wn_free(used);
}

static void predict_set(const struct wn_model *model, const struct wn_model_cost *cost, const struct wn_eval_set *set,
                        const struct counts *counts, struct wn_prediction *prediction)
{
    if (set->generation) {
        prediction->dense_seconds += texts_seconds(model, cost, set->generation, 1);
        prediction->dense_units += wn_generation_batches(set->generation);
    }
    if (!set->divergence && !set->kind->compares)
        return;
    prediction->dense_seconds += cost->evaluated * block_seconds(cost, counts) * (double)model->config.n_blocks;
    prediction->dense_units += wn_sequences_parts(&set->sequences);
    if (set->kind->compares)
        prediction->dense_seconds += head_seconds(cost, counts, false);
}

static void predict_dense(const struct wn_run *run, const struct wn_model_cost *costs, const struct counted *counted,
                          struct wn_prediction *prediction)
{
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_model *model = run->models[m].model;
        double before = prediction->dense_seconds;
        for (int64_t e = 0; e < run->sweep->n_evals; e++)
            predict_set(model, &costs[m], &run->models[m].sets[e], &counted[m].sets[e], prediction);
        predict_statistics(run, m, &costs[m], &counted[m], prediction);
        if (prediction->dense_seconds > before)
            prediction->dense_load_seconds += costs[m].load * (double)model->config.n_blocks;
    }
}

/* ---- searches ---- */

static struct wn_level_task level_task(const struct wn_run *run, const struct wn_point_search *search)
{
    struct wn_level_task task = wn_level_task_of(run, search);
    task.build = "";
    return task;
}

/* Levels of a linear, by weights: how often all linears of a block are made. */
static double count_levels(const struct wn_run *run, const struct wn_point_search *search)
{
    const struct wn_level_task task = level_task(run, search);
    const struct wn_layout *layout = &run->models[task.point->model].model->layout;
    double weights = 0;
    for (int64_t g = 0; g < search->space.n_genes; g++) {
        const struct wn_linear_info *linear = &layout->linears[search->space.genes[g].linear];
        weights += (double)linear->rows * (double)linear->columns;
    }
    return (double)wn_levels_weights(&task) / weights;
}

/* Every level of every linear is made once; behind quantized blocks the calibration set goes through each block twice,
 * and the block is quantized once more. */
static void predict_levels(const struct wn_run *run, const struct wn_point_search *search,
                           const struct wn_model_cost *cost, const struct counted *counted,
                           struct wn_prediction *prediction)
{
    const struct wn_point *point = &run->grid.points[search->point];
    const struct wn_model *model = run->models[point->model].model;
    const struct wn_recipe_cost *kind = wn_probe_kind(cost, &point->recipe);
    double block = count_levels(run, search) * kind->compress + cost->load;
    if (search->settings.calibration_bits) {
        const struct counts *counts = &counted->calibrations[point->calibration];
        block += 2 * block_seconds(cost, counts) + take_seconds(cost, wn_recipe_needs(&point->recipe), counts) +
                 kind->compress + cost->load;
    }
    prediction->search_seconds += (double)model->config.n_blocks * block;
}

static double written_tokens(const struct wn_run *run, const struct wn_point_search *search)
{
    const struct wn_sequences *sequences =
        &run->models[run->grid.points[search->point].model].sets[search->task].sequences;
    return (double)(sequences->parent ? sequences->written : wn_sequences_tokens(sequences));
}

/* A search judges every candidate by itself here; what it runs of blocks that candidates share, it runs once. */
static void predict_search(const struct wn_run *run, const struct wn_point_search *search,
                           const struct wn_model_cost *cost, const struct counts *counts,
                           struct wn_prediction *prediction)
{
    const struct wn_model *model = run->models[run->grid.points[search->point].model].model;
    const struct wn_recipe *recipe = &run->grid.points[search->point].recipe;
    /* Tokens of a task are counted as they are written; what items begin with alike runs once. */
    double tokens_of_all = search->task >= 0 ? written_tokens(run, search) : counts->rows;
    double blocks = (double)model->config.n_blocks, dense = block_seconds(cost, counts) * blocks / tokens_of_all;
    double head = cost->target + cost->tile / head_rows(model->config.vocab_size);
    /* Logits of both models for every token; of a task those of the candidate where answers are, and no dense pass. */
    double heads = search->task >= 0 ? counts->targets / tokens_of_all : 2;
    double tokens = (double)wn_search_initial_tokens(&search->settings, &search->space) +
                    (double)search->generations * (double)wn_search_generation_tokens(&search->settings);
    prediction->search_tokens += tokens;
    prediction->search_seconds +=
        tokens * (wn_kept_share(model, recipe) * dense + heads * head) + (search->task >= 0 ? 0 : counts->rows * dense);
}

/* An earlier search makes the same levels. A plan has no hashes of files: keys do not tell models apart. */
static bool has_levels_of_another(const struct wn_run *run, int64_t index, const bool *only)
{
    const struct wn_point *points = run->grid.points;
    const struct wn_level_task task = level_task(run, &run->searches[index]);
    char *key = wn_levels_key(&task);
    bool same = false;
    for (int64_t s = 0; s < index && !same; s++) {
        if ((only && !only[run->searches[s].point]) || run->searches[s].space.kind == WN_SPACE_DROP ||
            points[run->searches[s].point].model != points[run->searches[index].point].model)
            continue;
        const struct wn_level_task other = level_task(run, &run->searches[s]);
        same = wn_levels_have_key(&other, key);
    }
    wn_free(key);
    return same;
}

static void predict_searches(const struct wn_run *run, const struct wn_model_cost *costs, const struct counted *counted,
                             const bool *only, struct wn_prediction *prediction)
{
    for (int64_t s = 0; s < run->n_searches; s++) {
        const struct wn_point_search *search = &run->searches[s];
        int64_t m = run->grid.points[search->point].model;
        if (only && !only[search->point])
            continue;
        if (search->space.kind != WN_SPACE_DROP && !has_levels_of_another(run, s, only))
            predict_levels(run, search, &costs[m], &counted[m], prediction);
        if (!wn_recipe_minimizes(&run->grid.points[search->point].recipe))
            predict_search(run, search, &costs[m],
                           search->task >= 0 ? &counted[m].sets[search->task]
                                             : &counted[m].calibrations[search->calibration],
                           prediction);
    }
}

/* ---- before it ---- */

/* Every file of a model is hashed; what each rank of a node reads is a share of it. */
static double model_bytes(const struct wn_run *run)
{
    double bytes = 0;
    for (int64_t m = 0; m < run->n_models; m++) {
        const char *const *shards;
        int64_t count = wn_checkpoint_files(run->models[m].model->checkpoint, &shards);
        struct stat about;
        for (int64_t i = 0; i < count; i++)
            bytes += stat(shards[i], &about) == 0 ? (double)about.st_size : 0;
    }
    return bytes;
}

/* ---- all of it ---- */

/* All seconds times a factor: another rate. */
static void scale(const struct wn_run *run, double factor, struct wn_prediction *prediction)
{
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        prediction->seconds[i] *= factor;
        for (int s = 0; s < WN_STAGES; s++)
            prediction->stages[i][s] *= factor;
    }
    for (int64_t e = 0; e < run->sweep->n_evals; e++)
        prediction->evals[e] *= factor;
    prediction->dense_seconds *= factor;
    prediction->search_seconds *= factor;
    prediction->dense_load_seconds *= factor;
}

/* Threads of a share that can be had here: the probes run with them. Those beyond are counted by items. */
static int probe_threads(int threads)
{
    int usable = omp_get_num_procs();
    return threads < usable ? threads : usable;
}

static void predict_memory(const struct wn_run *run, int ranks, struct wn_prediction *prediction)
{
    struct wn_memory memory;
    wn_predict_memory(run, ranks, &memory);
    prediction->shared_bytes = memory.shared;
    prediction->turn_bytes = memory.turn;
    prediction->rank_bytes = wn_memory_rank(run, &memory, prediction->largest) + memory.grid;
    prediction->memory_warning = wn_memory_advice(run, &memory, ranks);
    wn_memory_release(&memory);
}

static void open_prediction(const struct wn_run *run, struct wn_prediction *prediction)
{
    *prediction = (struct wn_prediction){0};
    prediction->flops = wn_alloc_zero(run->grid.n_points, sizeof(double));
    prediction->seconds = wn_alloc_zero(run->grid.n_points, sizeof(double));
    prediction->tokens = wn_alloc_zero(run->grid.n_points, sizeof(double));
    prediction->stages = wn_alloc_zero(run->grid.n_points, sizeof *prediction->stages);
    prediction->evals = wn_alloc_zero(run->sweep->n_evals, sizeof(double));
}

wn_status wn_predict(const struct wn_run *run, const struct wn_predict_options *options,
                     struct wn_prediction *prediction)
{
    struct wn_results_plan plan;
    struct wn_facts none = {0};
    struct wn_rate one;
    int before = omp_get_max_threads(), here = probe_threads(options->threads);
    struct counted *counted = count_all(run, options->threads);
    open_prediction(run, prediction);
    predict_memory(run, options->ranks > 0 ? options->ranks : 1, prediction);
    omp_set_num_threads(1);
    wn_probe_rate(&one);
    omp_set_num_threads(here);
    struct wn_model_cost *costs = wn_probe(run);
    omp_set_num_threads(before);
    for (int64_t m = 0; m < run->n_models; m++)
        wn_predict_threads(run, m, here, options->threads, &costs[m]);
    wn_points_flops(run, prediction->flops);
    for (int64_t i = 0; i < run->grid.n_points; i++)
        if (!options->only || options->only[i])
            predict_point(run, costs, counted, i, prediction);
    predict_dense(run, costs, counted, prediction);
    predict_searches(run, costs, counted, options->only, prediction);
    prediction->rate = one.median;
    prediction->rate_least = one.least;
    prediction->rate_most = one.most;
    prediction->rate_count = one.count;
    wn_status status = WN_OK;
    if (options->rate > 0)
        scale(run, one.median / options->rate, prediction);
    if (options->rate_from)
        status = wn_predict_from(run, options->rate_from, prediction);
    wn_run_results_plan(run, &none, &plan);
    prediction->file_bytes = wn_results_predict_bytes(&plan);
    prediction->hash_seconds = model_bytes(run) / wn_probe_hash();
    wn_probe_release(&costs, run->n_models);
    release_counts(counted, run->n_models);
    return status;
}

void wn_prediction_release(struct wn_prediction *prediction)
{
    wn_free(prediction->flops);
    wn_free(prediction->seconds);
    wn_free(prediction->tokens);
    wn_free(prediction->stages);
    wn_free(prediction->evals);
    wn_free(prediction->memory_warning);
    *prediction = (struct wn_prediction){0};
}
