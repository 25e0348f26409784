/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scale_search.c: the search of AWQ (arXiv:2306.00978, equation 4): for every input of a block that has a producer,
 * each scale the method proposes is tried on the calibration set, on the part of the block that reads this input, all
 * other weights dense. Chunk by chunk, so that the inputs of one chunk are all that is kept: trial weights are made
 * anew for every chunk, at a cost far below that of the products with them. On the way, second moments inside runs of
 * columns are summed over a sample of the tokens, for the clip search that comes after it.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include <winnow/linalg.h>

#include "point_impl.h"

/* What the search takes while it runs. */
struct work {
    const struct wn_scale_search *search;
    float *inputs; /* those that are searched, of a chunk, one behind the other, [rows, width] each */
    bool searched[WN_MAX_INPUTS];
    int64_t rows[WN_MAX_INPUTS], begin[WN_MAX_INPUTS], used; /* in `inputs` */
    float *dense, *trial;                                    /* [tokens of a chunk, hidden]: outputs of a part */
    float *scale;                                            /* [widest input] */
    double *loss;                                            /* [n_inputs, trials] of the caller */
    int trials, n_searched;                                  /* trials of an input; inputs */
    bool added;                                              /* moments of the current chunk are in already */
    int64_t row, step; /* of the set: first row of the current chunk; every step-th row is in the sample */
    float *sample;     /* [sampled rows of a chunk, longest run] */
    float **moments;   /* [n_inputs] of the caller */
};

static bool has_producer(const struct wn_layout *layout, int input)
{
    return layout->producer_vector[input] >= 0 || layout->producer_linear[input] >= 0;
}

/* An input that the block does not have, or of an expert that no token chooses, is left as it is. */
static bool is_searched(const struct wn_scale_search *search, int input)
{
    return has_producer(&search->model->layout, input) && search->stats[input].tokens > 0 &&
           wn_model_has_input(search->model, input, search->block_index);
}

/* Floats of all inputs with a producer for the tokens of a chunk: experts share what their tokens choose. */
static int64_t input_floats(const struct wn_model *model, int64_t longest)
{
    const struct wn_layout *layout = &model->layout;
    int64_t floats = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        if (has_producer(layout, i) && layout->input_experts[i] <= 1)
            floats +=
                (layout->input_experts[i] ? wn_model_routed_rows(model, longest) : longest) * layout->input_widths[i];
    return floats;
}

static int64_t widest_input(const struct wn_layout *layout)
{
    int64_t widest = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        if (has_producer(layout, i) && layout->input_widths[i] > widest)
            widest = layout->input_widths[i];
    return widest;
}

/* What the chosen scales take. */
static int64_t scale_floats(const struct wn_layout *layout)
{
    int64_t total = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        total += has_producer(layout, i) ? layout->input_widths[i] : 0;
    return total;
}

static int64_t longest_run(const struct wn_layout *layout, const struct wn_recipe *recipe)
{
    int64_t longest = 0;
    for (int i = 0; i < layout->n_inputs; i++) {
        int64_t run = wn_recipe_moment_run(recipe, layout->input_widths[i]);
        longest = run > longest ? run : longest;
    }
    return longest;
}

/* Floats of a clip search: twice a run of some rows for every thread, a row more, and a choice for every run. */
static int64_t clip_floats(const struct wn_linear_info *linear, int64_t run)
{
    return omp_get_max_threads() * (2 * WN_CLIP_ROWS + 2) * run + linear->rows * ((linear->columns + run - 1) / run);
}

/* Floats of the moments of runs, of the sample, and of a clip search. */
static int64_t run_floats(const struct wn_layout *layout, const struct wn_recipe *recipe, int64_t longest)
{
    int64_t floats = longest * longest_run(layout, recipe), most = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        floats += layout->input_widths[i] * wn_recipe_moment_run(recipe, layout->input_widths[i]);
    for (int l = 0; l < layout->n_linears; l++) {
        int64_t run = wn_recipe_moment_run(recipe, layout->linears[l].columns);
        int64_t work = run ? clip_floats(&layout->linears[l], run) : 0;
        most = work > most ? work : most;
    }
    return floats + most;
}

int64_t wn_search_bytes(const struct wn_model *model, const struct wn_recipe *recipe, int64_t longest)
{
    int64_t trials = wn_recipe_trials(recipe);
    if (trials == 0)
        return 0;
    return (input_floats(model, longest) + longest * 2 * model->config.hidden_size + widest_input(&model->layout) +
            scale_floats(&model->layout) + run_floats(&model->layout, recipe, longest)) *
               (int64_t)sizeof(float) +
           model->layout.n_inputs * trials * (int64_t)sizeof(double);
}

static void open_work(struct work *work, int64_t longest)
{
    const struct wn_model *model = work->search->model;
    int64_t hidden = model->config.hidden_size, tokens = wn_sequences_tokens(work->search->calibration);
    work->trials = wn_recipe_trials(work->search->recipes);
    work->inputs = wn_alloc(input_floats(model, longest), sizeof(float));
    for (int i = 0; i < model->layout.n_inputs; i++)
        work->n_searched += work->searched[i] = is_searched(work->search, i);
    work->dense = wn_alloc(longest * hidden, sizeof(float));
    work->trial = wn_alloc(longest * hidden, sizeof(float));
    work->scale = wn_alloc(widest_input(&model->layout), sizeof(float));
    work->loss = work->search->loss;
    work->step = tokens > WN_RUN_TOKENS ? tokens / WN_RUN_TOKENS : 1;
    work->sample = wn_alloc(longest * longest_run(&model->layout, work->search->recipes), sizeof(float));
    for (int i = 0; i < model->layout.n_inputs; i++) {
        int64_t width = model->layout.input_widths[i], run = wn_recipe_moment_run(work->search->recipes, width);
        if (run && !work->moments[i])
            work->moments[i] = wn_alloc_zero(width * run, sizeof(float));
    }
}

static void close_work(struct work *work)
{
    wn_free(work->inputs);
    wn_free(work->dense);
    wn_free(work->trial);
    wn_free(work->scale);
    wn_free(work->sample);
}

/* Of the run that begins at a column: the last one may be shorter. */
static int64_t run_columns(int64_t width, int64_t run, int64_t first)
{
    return width - first < run ? width - first : run;
}

/* Every so many rows of an input are in the sample. */
static int64_t step_of(const struct work *work, int input)
{
    int64_t rows = work->search->stats[input].tokens;
    if (!work->search->model->layout.input_experts[input])
        return work->step;
    return rows > WN_RUN_TOKENS ? rows / WN_RUN_TOKENS : 1;
}

/* Adds the sampled rows of a chunk to the moments of every run. Those of an expert are counted anew in each chunk. */
static void add_run_moments(struct work *work, int input, const float *x, int64_t rows, int64_t width)
{
    const int64_t run = wn_recipe_moment_run(work->search->recipes, width);
    const int64_t step = step_of(work, input);
    const bool routed = work->search->model->layout.input_experts[input];
    const int64_t begin = routed ? 0 : (step - work->row % step) % step;
    for (int64_t first = 0; first < width; first += run) {
        int64_t count = 0, columns = run_columns(width, run, first);
        for (int64_t r = begin; r < rows; r += step)
            memcpy(work->sample + count++ * columns, x + r * width + first, (size_t)columns * sizeof(float));
        if (count)
            wn_add_second_moments(work->sample, count, columns, work->moments[input] + first * run);
    }
}

static void take_inputs(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct work *work = context;
    int64_t rows = row[n_chunks];
    if (work->moments[input] && !work->added)
        add_run_moments(work, input, x, rows, width);
    if (!work->searched[input])
        return;
    work->rows[input] = rows;
    work->begin[input] = work->used;
    work->used += rows * width;
    memcpy(work->inputs + work->begin[input], x, (size_t)(rows * width) * sizeof(float));
}

/* Asks the method for scale `trial` of an input. */
static wn_status propose(const struct work *work, int input, int trial, float *scale)
{
    const struct wn_scale_search *search = work->search;
    const struct wn_layout *layout = &search->model->layout;
    const float *weights[WN_MAX_LINEARS];
    int64_t rows[WN_MAX_LINEARS];
    char name[128];
    snprintf(name, sizeof name, "block %lld %s", (long long)search->block_index, layout->input_names[input]);
    struct wn_input_task task = {.name = name,
                                 .width = layout->input_widths[input],
                                 .weights = weights,
                                 .rows = rows,
                                 .stats = &search->stats[input]};
    for (int l = 0; l < layout->n_linears; l++)
        if (layout->linears[l].input == input) {
            weights[task.n_linears] = search->dense->linears[l];
            rows[task.n_linears++] = layout->linears[l].rows;
        }
    return wn_recipe_trial_scale(search->recipes, &task, trial, scale);
}

/* The dense block with the linears of an input as the recipe makes them with work->scale. */
static wn_status make_trial(const struct work *work, int input, struct wn_block *view)
{
    const struct wn_scale_search *search = work->search;
    const struct wn_layout *layout = &search->model->layout;
    struct wn_input_stats stats = search->stats[input];
    wn_status status = WN_OK;
    stats.scale = work->scale;
    *view = *search->dense;
    for (int l = 0; l < layout->n_linears && status == WN_OK; l++) {
        struct wn_compressed out;
        if (layout->linears[l].input != input)
            continue;
        wn_compressed_init(&out, layout->linears[l].rows, layout->linears[l].columns, search->trial->linears[l],
                           search->keep);
        struct wn_recipe recipe = search->recipes[l];
        recipe.zeros = search->zeros ? &search->zeros[l] : NULL;
        status = wn_recipe_compress(&recipe, layout->linears[l].name, search->dense->linears[l], &stats, &out);
        view->linears[l] = search->trial->linears[l];
        wn_compressed_release(&out);
    }
    return status;
}

/* Adds the squared errors of one chunk over all trials of an input, but for the first ones. `before`: what is done of
 * the search before this input. */
static wn_status try_scales(struct work *work, const struct wn_chunk *chunk, int input, int64_t before, int64_t first)
{
    const struct wn_scale_search *search = work->search;
    const struct wn_model *model = search->model;
    int64_t rows[2] = {0, work->rows[input]}, count = rows[1] * model->config.hidden_size;
    const float *x = work->inputs + work->begin[input];
    const struct wn_chunk routed = {.n_sequences = 1, .offset = rows};
    struct wn_block view;
    if (rows[1] == 0)
        return WN_OK;
    chunk = model->layout.input_experts[input] ? &routed : chunk;
    model->arch->run_part(&model->config, search->dense, chunk, input, x, search->scratch, work->dense);
    const int64_t all = search->calibration->n_chunks * work->n_searched * work->trials;
    for (int t = (int)first; t < work->trials; t++) {
        WN_TRY(propose(work, input, t, work->scale));
        WN_TRY(make_trial(work, input, &view));
        model->arch->run_part(&model->config, &view, chunk, input, x, search->scratch, work->trial);
        work->loss[input * work->trials + t] += wn_sum_squared_difference(work->dense, work->trial, count);
        if (search->tried)
            WN_TRY(search->tried(search->context, before + t + 1, all));
    }
    return WN_OK;
}

static wn_status try_chunk(struct work *work, int64_t index)
{
    const struct wn_scale_search *search = work->search;
    struct wn_tap tap = {.take = take_inputs, .context = work};
    struct wn_chunk chunk;
    int64_t row = wn_sequences_chunk(search->calibration, index, search->offset, &chunk);
    int64_t hidden = search->model->config.hidden_size, rows = chunk.offset[chunk.n_sequences];
    int64_t before = index * work->n_searched * work->trials; /* trials */
    work->row = row;
    work->added = search->done > before;
    work->used = 0;
    memset(work->rows, 0, sizeof work->rows);
    memcpy(search->copy, search->hidden + row * hidden, (size_t)(rows * hidden) * sizeof(float));
    wn_model_run_block(search->model, search->dense, &chunk, search->copy, search->scratch, &tap);
    for (int i = 0; i < search->model->layout.n_inputs; i++) {
        int64_t first = search->done > before ? search->done - before : 0;
        if (!work->searched[i])
            continue;
        if (first < work->trials)
            WN_TRY(try_scales(work, &chunk, i, before, first));
        before += work->trials;
    }
    return WN_OK;
}

/* The first of the least losses. */
static wn_status choose(const struct work *work, int input, float **scale, int *trial)
{
    const double *loss = work->loss + input * work->trials;
    int best = 0;
    for (int t = 1; t < work->trials; t++)
        if (loss[t] < loss[best])
            best = t;
    if (!isfinite(loss[best]))
        return wn_fail(WN_ERR_NUMERIC, "block %lld %s: no scale gives finite outputs",
                       (long long)work->search->block_index, work->search->model->layout.input_names[input]);
    *scale = wn_alloc(work->search->model->layout.input_widths[input], sizeof(float));
    *trial = best;
    return propose(work, input, best, *scale);
}

/* Both triangles of every run. */
static void finish_moments(const struct work *work)
{
    const struct wn_layout *layout = &work->search->model->layout;
    for (int i = 0; i < layout->n_inputs; i++) {
        int64_t run = wn_recipe_moment_run(work->search->recipes, layout->input_widths[i]);
        for (int64_t first = 0; run && first < layout->input_widths[i]; first += run)
            wn_symmetrize(work->moments[i] + first * run, run_columns(layout->input_widths[i], run, first));
    }
}

/*
 * A trial of a chunk and an input needs losses and moments alone of what was before, so the search can be left behind
 * each.
 */
wn_status wn_search_scales(const struct wn_scale_search *search, float **scales, int *trials, float **moments)
{
    struct work work = {.search = search, .moments = moments};
    wn_status status = WN_OK;
    open_work(&work, wn_sequences_longest_chunk(search->calibration));
    int64_t first = search->done / (work.n_searched ? work.n_searched * work.trials : 1);
    for (int64_t c = first; c < search->calibration->n_chunks && status == WN_OK; c++)
        status = try_chunk(&work, c);
    for (int i = 0; i < search->model->layout.n_inputs && status == WN_OK; i++)
        if (work.searched[i])
            status = choose(&work, i, &scales[i], &trials[i]);
    finish_moments(&work);
    close_work(&work);
    return status;
}
