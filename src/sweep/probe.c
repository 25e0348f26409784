/* probe.c: see probe.h. */
#include "probe.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/linalg.h>

#include "../point/point_impl.h"

/* Most operations of one run of a block, and rows of a linear that is compressed: together about a second. */
static const double BLOCK_OPERATIONS = 16e9;
enum { LONG_ROWS = 2048, SHORT_LENGTH = 128, FEW_KINDS = 3, HEAD_ROWS = 256, HEAD_FEW = 16 };
enum { SAMPLE_ROWS = 256, SAMPLE_RUNS = 8 }; /* as the walk cuts the reference sample; at most so many are tried */
static const int64_t HEAD_NUMBERS = 6 << 20, DECODE_BYTES = 96 << 20, LOAD_BYTES = 128 << 20;

double wn_attention_pairs(const struct wn_sequences *sequences)
{
    double pairs = 0;
    for (int64_t s = 0; s < sequences->n_sequences; s++) {
        int64_t length = sequences->offset[s + 1] - sequences->offset[s];
        double before = sequences->start ? (double)sequences->start[s] : 0;
        for (int64_t first = 0; first < length; first += WN_QUERY_ROWS) {
            int64_t end = first + WN_QUERY_ROWS < length ? first + WN_QUERY_ROWS : length;
            pairs += (double)(end - first) * (before + (double)end);
        }
    }
    return pairs;
}

/* ---- threads ---- */

double wn_longest_share(double items, int threads)
{
    return ceil(items / threads) / items;
}

static int64_t group_rows(const struct wn_model *model, int threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    int64_t rows = wn_model_group_rows(model, WN_CHUNK_TOKENS);
    omp_set_num_threads(before);
    return rows;
}

double wn_linears_share(const struct wn_model *model, double rows, int threads)
{
    double all = 0, share = 0, most = (double)group_rows(model, threads);
    double row_tiles = ceil(fmin(rows, most) / WN_TILE_ROWS);
    for (int i = 0; i < model->layout.n_inputs; i++) {
        double panels = 0;
        for (int l = 0; l < model->layout.n_linears; l++)
            if (model->layout.linears[l].input == i)
                panels += ceil((double)model->layout.linears[l].rows / WN_TILE_COLUMNS);
        double cost = panels * (double)model->layout.input_widths[i];
        all += cost;
        share += cost * wn_longest_share(panels * fmax(row_tiles, 1), threads);
    }
    return share / all;
}

/* ---- made-up numbers ---- */

/* Numbers like those of a normal distribution, of variance `scale`^2. */
static void fill(float *x, int64_t count, double scale)
{
    uint32_t state = 12345;
    for (int64_t i = 0; i < count; i++) {
        double sum = -2;
        for (int k = 0; k < 4; k++) {
            state = state * 1664525u + 1013904223u;
            sum += (double)(state >> 8) / (double)(1 << 24);
        }
        x[i] = (float)(sum * 1.732 * scale);
    }
}

static struct wn_block *make_block(const struct wn_model *model)
{
    struct wn_block *block = wn_block_create(model);
    for (int l = 0; l < model->layout.n_linears; l++) {
        const struct wn_linear_info *linear = &model->layout.linears[l];
        fill(block->linears[l], linear->rows * linear->columns, 1 / sqrt((double)linear->columns));
        for (int64_t i = 0; block->biases[l] && i < linear->rows; i++)
            block->biases[l][i] = 0;
    }
    for (int v = 0; v < model->layout.n_vectors; v++)
        for (int64_t i = 0; i < model->layout.vectors[v].size; i++)
            block->vectors[v][i] = 1;
    return block;
}

/* The model with all widths divided by `by`; embedding and head are read as if they were as narrow. */
static struct wn_model narrow(const struct wn_model *model, int64_t by)
{
    struct wn_model thin = *model;
    struct wn_config *config = &thin.config;
    if (by == 1)
        return thin;
    config->n_kv_heads = config->n_kv_heads / by > 1 ? config->n_kv_heads / by : 1;
    config->n_heads = config->n_heads / by / config->n_kv_heads * config->n_kv_heads;
    config->n_heads = config->n_heads > config->n_kv_heads ? config->n_heads : config->n_kv_heads;
    config->hidden_size = config->n_heads * config->head_dim;
    config->intermediate_size /= by;
    memset(&thin.layout, 0, sizeof thin.layout);
    thin.arch->describe(config, &thin.layout);
    return thin;
}

/* ---- blocks ---- */

static void make_sequences(struct wn_sequences *sequences, int64_t rows, int64_t length)
{
    int32_t *ids = wn_alloc_zero(length, sizeof *ids);
    wn_sequences_init(sequences);
    for (int64_t row = 0; row < rows; row += length)
        wn_sequences_append(sequences, ids, length);
    wn_sequences_cut(sequences);
    wn_free(ids);
}

/* Seconds of a block over a set: the shorter of two runs, since the first meets cold memory. */
static double time_block(const struct wn_model *model, const struct wn_block *block, int64_t rows, int64_t length)
{
    struct wn_sequences sequences;
    double best = INFINITY;
    make_sequences(&sequences, rows, length);
    int64_t width = model->config.hidden_size, tokens = wn_sequences_tokens(&sequences);
    int64_t group = wn_model_group_rows(model, wn_sequences_longest_chunk(&sequences));
    group = group < tokens ? group : tokens;
    float *hidden = wn_alloc(tokens * width, sizeof *hidden);
    float *scratch = wn_alloc(wn_model_scratch(model, group), sizeof *scratch);
    int64_t *offset = wn_alloc(sequences.n_sequences + 1, sizeof *offset);
    for (int i = 0; i < 2; i++) {
        fill(hidden, tokens * width, 1);
        double start = wn_seconds();
        wn_sequences_run(model, block, &sequences, 0, sequences.n_chunks, hidden, group, scratch, offset, NULL);
        best = fmin(best, wn_seconds() - start);
    }
    wn_free(offset);
    wn_free(scratch);
    wn_free(hidden);
    wn_sequences_release(&sequences);
    return best;
}

/* Rows that many threads have enough of, within the operations that a probe may take. */
static int64_t probe_rows(const struct wn_model *model)
{
    double most = BLOCK_OPERATIONS / (2 * (double)wn_model_block_weights(model));
    int64_t rows = LONG_ROWS;
    while (rows > 512 && (double)rows > most)
        rows /= 2;
    return rows;
}

static void probe_block(const struct wn_model *model, const struct wn_block *block, struct wn_model_cost *cost)
{
    int64_t rows = probe_rows(model), length = rows < model->config.max_positions ? rows : SHORT_LENGTH;
    double at_length = time_block(model, block, rows, length), at_short = time_block(model, block, rows, SHORT_LENGTH);
    struct wn_sequences far, near;
    make_sequences(&far, rows, length);
    make_sequences(&near, rows, SHORT_LENGTH);
    double pairs = wn_attention_pairs(&far), fewer = wn_attention_pairs(&near);
    cost->pair = pairs > fewer ? fmax(at_length - at_short, 0) / (pairs - fewer) : 0;
    cost->row = fmax(at_short - cost->pair * fewer, 0) / (double)rows /
                wn_linears_share(model, (double)rows, omp_get_max_threads());
    wn_sequences_release(&far);
    wn_sequences_release(&near);
}

/* ---- statistics ---- */

static double time_take(const struct wn_model *model, unsigned needs, int64_t rows, const float *x, void *statistics)
{
    struct wn_statistics_tap tap = {.layout = &model->layout, .needs = needs, .statistics = statistics};
    int64_t row[2] = {0, rows};
    double start = wn_seconds();
    for (int i = 0; i < model->layout.n_inputs; i++)
        wn_statistics_take(&tap, i, x, 1, row, model->layout.input_widths[i]);
    return (wn_seconds() - start) / (double)rows;
}

static double time_add(const struct wn_model *model, unsigned needs, void *into, void *from)
{
    double start = wn_seconds();
    memset(from, 0, (size_t)wn_statistics_bytes(&model->layout, needs));
    wn_statistics_add(&model->layout, needs, into, from);
    return wn_seconds() - start;
}

static void probe_statistics(const struct wn_run *run, const struct wn_model *model, struct wn_model_cost *cost)
{
    int64_t rows = 512, widest = 0;
    unsigned all = 0;
    for (int i = 0; i < model->layout.n_inputs; i++)
        widest = model->layout.input_widths[i] > widest ? model->layout.input_widths[i] : widest;
    for (int64_t p = 0; p < run->grid.n_points; p++)
        all |= wn_recipe_needs(&run->grid.points[p].recipe) | 128u * (run->grid.points[p].calibration >= 0);
    if (!all)
        return;
    bool moments = all & WN_NEED_SECOND_MOMENTS;
    unsigned most = moments ? WN_NEED_SECOND_MOMENTS : 0;
    float *x = wn_alloc(rows * widest, sizeof *x);
    void *into = wn_alloc_zero(wn_statistics_bytes(&model->layout, most), 1);
    void *from = wn_alloc_zero(wn_statistics_bytes(&model->layout, most), 1);
    fill(x, rows * widest, 1);
    for (int64_t p = 0; p < run->grid.n_points; p++) {
        unsigned needs =
            wn_recipe_needs(&run->grid.points[p].recipe) & (WN_NEED_ABSOLUTE_MAXIMA | WN_NEED_ABSOLUTE_SUMS);
        if (run->grid.points[p].calibration >= 0 && !(cost->take[needs] > 0)) {
            time_take(model, needs, rows, x, from);
            cost->take[needs] = time_take(model, needs, rows, x, from);
        }
    }
    cost->add = time_add(model, 0, into, from);
    if (moments) {
        time_add(model, most, into, from);
        cost->add_moments = time_add(model, most, into, from);
        time_take(model, most, rows, x, from);
        cost->moments = fmax(time_take(model, most, rows, x, from) - cost->take[0], 0);
    }
    wn_free(from);
    wn_free(into);
    wn_free(x);
}

/* ---- methods ---- */

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
            fill(set->runs[i], width * run, 1);
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
        if (layout->producer_vector[i] < 0 && !(searches && layout->producer_linear[i] >= 0))
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
    struct wn_input_stats stats = set->stats[linear->input];
    double start = wn_seconds();
    stats.run_moments = clips ? set->runs[linear->input] : NULL;
    wn_compressed_init(out, rows, linear->columns, set->weight, set->keep);
    if (set->recipe.n_stages == 0)
        memcpy(set->weight, set->block->linears[index], (size_t)(rows * linear->columns) * sizeof(float));
    else if (wn_recipe_compress(&set->recipe, linear->name, set->block->linears[index],
                                wn_recipe_needs(&set->recipe) ? &stats : NULL, out) != WN_OK)
        return 0; /* shapes that do not fit were named as mistakes before */
    return wn_seconds() - start;
}

/* Statistics of the weights and the error of the outputs, as record_linear takes them. */
static double time_record(struct stage_set *set, int index, int64_t rows, struct wn_compressed *out)
{
    const struct wn_linear_info *linear = &set->model->layout.linears[index];
    const float *dense = set->block->linears[index];
    struct wn_weight_statistics statistics;
    double start = wn_seconds(), rule = 0;
    int64_t sample = set->sample, offset[2] = {0, sample};
    wn_sum_squared_difference(dense, NULL, rows * linear->columns);
    wn_weight_statistics_compute(dense, out->weight, rows, linear->columns, &statistics);
    if (set->recipe.n_stages && sample) {
        const struct wn_linear_map maps[] = {{.w = dense, .out = rows, .y = set->dense, .stride = rows},
                                             {.w = out->weight, .out = rows, .y = set->compressed, .stride = rows}};
        int64_t row[SAMPLE_RUNS + 1], n_runs = 0;
        for (row[0] = 0; row[n_runs] < sample; n_runs++)
            row[n_runs + 1] = row[n_runs] + SAMPLE_ROWS < sample ? row[n_runs] + SAMPLE_ROWS : sample;
        struct wn_linear_call call = {1, offset, set->x, linear->columns, out->weight, rows, NULL, set->compressed};
        wn_linears(set->x, n_runs, row, linear->columns, maps, out->activation ? 1 : 2);
        double before = wn_seconds();
        if (out->activation)
            out->activation->compute(out->activation, &call);
        rule = wn_seconds() - before;
        wn_sum_squared_difference(set->dense, set->compressed, sample * rows);
        wn_sum_squared_difference(set->dense, NULL, sample * rows);
    }
    double seconds = wn_seconds() - start;
    if (out->activation) { /* again, and the plain product beside it */
        double before = wn_seconds();
        wn_linear(set->x, sample, linear->columns, out->weight, rows, NULL, set->compressed);
        set->rules += fmax(rule - (wn_seconds() - before), 0) / (double)sample * (double)linear->rows / (double)rows;
    }
    return seconds;
}

/* The first rows warm the factor of the input, which all linears of it share. */
static void try_linear(struct stage_set *set, int index)
{
    const struct wn_linear_info *linear = &set->model->layout.linears[index];
    int64_t rows = linear->rows < set->most_rows ? linear->rows : set->most_rows, few = rows < 64 ? rows : 64;
    double share = (double)linear->rows / (double)rows;
    struct wn_compressed out;
    if (set->stats[linear->input].second_moments && set->factors[linear->input].count == 0) {
        double with = time_linear(set, index, few, false, &out);
        wn_compressed_release(&out);
        double without = time_linear(set, index, few, false, &out);
        wn_compressed_release(&out);
        set->once += fmax(with - without, 0);
    }
    if (wn_recipe_trials(&set->recipe)) {
        set->trial += time_linear(set, index, rows, false, &out) * share;
        wn_compressed_release(&out);
    }
    double seconds = time_linear(set, index, rows, true, &out);
    set->rows += (seconds + time_record(set, index, rows, &out)) * share;
    wn_compressed_release(&out);
}

static void open_buffers(struct stage_set *set)
{
    const struct wn_layout *layout = &set->model->layout;
    int64_t largest = 0, widest = 0, rows = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        int64_t used = linear->rows < set->most_rows ? linear->rows : set->most_rows;
        largest = used * linear->columns > largest ? used * linear->columns : largest;
        widest = linear->columns > widest ? linear->columns : widest;
        rows = used > rows ? used : rows;
    }
    set->x = wn_alloc(set->sample * widest, sizeof(float));
    set->dense = wn_alloc(set->sample * rows, sizeof(float));
    set->compressed = wn_alloc(set->sample * rows, sizeof(float));
    set->weight = wn_alloc(largest, sizeof(float));
    set->keep = wn_alloc(largest, 1);
    fill(set->x, set->sample * widest, 1);
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
        try_linear(set, l);
    close_set(set);
}

static void probe_recipe(const struct wn_model *model, const struct wn_block *block, const struct wn_recipe *recipe,
                         int64_t most_rows, int64_t sample, struct wn_recipe_cost *cost)
{
    struct stage_set set = {
        .model = model, .block = block, .recipe = *recipe, .most_rows = most_rows, .sample = sample};
    set.recipe.zeros = NULL;
    try_recipe(&set);
    cost->compress = set.once + set.rows;
    cost->trial = set.trial;
    cost->rules = set.rules;
}

/* A recipe of every kind among the points of a model; the first is the dense one. */
static void probe_recipes(const struct wn_run *run, int64_t m, const struct wn_model *model,
                          const struct wn_block *block, struct wn_model_cost *cost)
{
    const struct wn_recipe **of_kind = NULL;
    int64_t sample = wn_sequences_tokens(&run->models[m].sample);
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
        probe_recipe(model, block, of_kind[k], sweeps ? rows : 4 * rows,
                     sample < SAMPLE_ROWS * SAMPLE_RUNS ? sample : SAMPLE_ROWS * SAMPLE_RUNS, &cost->kinds[k]);
    }
    wn_free(of_kind);
}

/* ---- head ---- */

/* The model with a smaller vocabulary. */
static struct wn_model small_vocabulary(const struct wn_model *model, struct wn_tensor *embedding,
                                        struct wn_tensor *head)
{
    struct wn_model small = *model;
    int64_t most = HEAD_NUMBERS / model->config.hidden_size;
    *embedding = *model->embedding;
    *head = *model->head;
    if (small.config.vocab_size > most)
        small.config.vocab_size = most;
    embedding->shape[0] = head->shape[0] = small.config.vocab_size;
    embedding->shape[1] = head->shape[1] = small.config.hidden_size;
    small.embedding = embedding;
    small.head = head;
    return small;
}

static double time_head(const struct wn_model *model, int64_t rows, bool divergence, int64_t top)
{
    int64_t width = model->config.hidden_size;
    struct wn_eval_set set;
    struct wn_target_scores scores;
    double best = INFINITY;
    wn_eval_set_init(&set);
    wn_sequences_release(&set.sequences); /* the empty one */
    make_sequences(&set.sequences, rows, rows);
    set.n_targets = rows;
    set.target_row = wn_alloc(rows, sizeof *set.target_row);
    set.target_id = wn_alloc_zero(rows, sizeof *set.target_id);
    for (int64_t t = 0; t < rows; t++)
        set.target_row[t] = t;
    set.divergence = divergence;
    set.top = top < model->config.vocab_size ? top : model->config.vocab_size;
    set.logit_targets = top ? rows : 0;
    wn_target_scores_init(&scores, &set);
    float *hidden = wn_alloc(rows * width, sizeof *hidden);
    fill(hidden, rows * width, 1);
    for (int i = 0; i < 3; i++) {
        double start = wn_seconds();
        wn_eval_score_chunk(model, &set, 0, hidden, divergence ? hidden : NULL, &scores);
        best = fmin(best, wn_seconds() - start);
    }
    wn_free(hidden);
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);
    return best;
}

/* As many rows as the head multiplies together for this number of threads. */
static int64_t head_rows(void)
{
    int64_t tiles = omp_get_max_threads() / 2;
    return HEAD_ROWS * (tiles < 1 ? 1 : tiles > 8 ? 8 : tiles);
}

/* Seconds of a tile and of a row, for the whole vocabulary. */
static void split_head(const struct wn_model *small, double whole, bool divergence, double *tile, double *target)
{
    int64_t rows = head_rows();
    double few = time_head(small, HEAD_FEW, divergence, 0), many = time_head(small, rows, divergence, 0);
    *target = fmax(many - few, 0) / (double)(rows - HEAD_FEW) * whole;
    *tile = fmax(few - *target / whole * HEAD_FEW, 0) * whole;
}

static void probe_head(const struct wn_run *run, int64_t m, struct wn_model_cost *cost)
{
    struct wn_tensor embedding, head;
    struct wn_model small = small_vocabulary(run->models[m].model, &embedding, &head);
    double whole = (double)run->models[m].model->config.vocab_size / (double)small.config.vocab_size;
    bool plain = false, divergence = false;
    int64_t top = 0;
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        const struct wn_eval_set *set = &run->models[m].sets[e];
        plain = plain || !set->divergence || set->kind->compares;
        divergence = divergence || set->divergence;
        top = set->top > top ? set->top : top;
    }
    if (plain || top)
        split_head(&small, whole, false, &cost->tile, &cost->target);
    if (divergence)
        split_head(&small, whole, true, &cost->divergence_tile, &cost->divergence_target);
    if (top)
        cost->top = fmax(time_head(&small, HEAD_ROWS, false, top) - time_head(&small, HEAD_ROWS, false, 0), 0) /
                    HEAD_ROWS * whole;
}

/* ---- decoding ---- */

static double time_decoding(const struct wn_kept_blocks *kept, int64_t most)
{
    struct wn_prompt prompts[WN_GENERATE_BATCH];
    int32_t ids[WN_GENERATE_BATCH][8];
    struct wn_generation generation = {
        .n_prompts = WN_GENERATE_BATCH, .draws = 1, .prompts = prompts, .most = most, .temperature = 0};
    struct wn_generated generated;
    for (int p = 0; p < WN_GENERATE_BATCH; p++) {
        for (int i = 0; i < 8; i++)
            ids[p][i] = (p + i) % 64;
        prompts[p] = (struct wn_prompt){.ids = ids[p], .count = 8, .most = most};
    }
    wn_generated_init(&generated, &generation);
    double start = wn_seconds();
    wn_status status = wn_generate_batch(kept, &generation, 0, &generated);
    double seconds = wn_seconds() - start;
    wn_generated_release(&generated);
    return status == WN_OK ? seconds : (double)NAN;
}

/* A step of so many blocks that they do not fit into a cache, and of the head of a smaller vocabulary. */
static void probe_decoding(const struct wn_model *thin, const struct wn_block *block, struct wn_model_cost *cost)
{
    struct wn_tensor embedding, head;
    struct wn_model small = small_vocabulary(thin, &embedding, &head);
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    struct wn_kept_blocks kept;
    int64_t blocks = 1 + DECODE_BYTES / wn_block_bytes(&small), steps = 3, width = small.config.hidden_size;
    small.config.n_blocks = blocks < small.config.n_blocks ? blocks : small.config.n_blocks;
    wn_kept_blocks_init(&kept, &small);
    for (int64_t b = 0; b < small.config.n_blocks; b++)
        wn_kept_blocks_take(&kept, b, block, none);
    float *x = wn_alloc(WN_GENERATE_BATCH * width, sizeof *x);
    float *y = wn_alloc(WN_GENERATE_BATCH * small.config.vocab_size, sizeof *y);
    fill(x, WN_GENERATE_BATCH * width, 1);
    double one = time_decoding(&kept, 1), more = time_decoding(&kept, 1 + steps), start = wn_seconds();
    wn_linear_few_rows(x, WN_GENERATE_BATCH, width, kept.head, small.config.vocab_size, NULL, y,
                       small.config.vocab_size);
    double of_head = wn_seconds() - start, step = fmax(more - one, 0) / (double)steps;
    cost->step_head = of_head * (double)thin->config.vocab_size / (double)small.config.vocab_size;
    cost->step = fmax(step - of_head, 0) / (double)small.config.n_blocks;
    wn_free(x);
    wn_free(y);
    wn_kept_blocks_release(&kept);
}

/* ---- loading ---- */

/* The shorter of two, so of a file in the page cache, unless a block is large. */
static double probe_load(const struct wn_model *model)
{
    struct wn_block *block = wn_block_create(model);
    double best = INFINITY;
    for (int i = 0; i < (wn_block_bytes(model) < LOAD_BYTES ? 2 : 1); i++) {
        double start = wn_seconds();
        if (wn_model_load_block(model, 0, block) != WN_OK)
            break; /* a weight is not finite: its points will fail */
        best = fmin(best, wn_seconds() - start);
    }
    wn_block_destroy(&block, model);
    return isfinite(best) ? best : 0;
}

/* ---- one model ---- */

static void probe_parts(const struct wn_run *run, int64_t m, const struct wn_model *thin, struct wn_model_cost *cost)
{
    struct wn_block *block = make_block(thin);
    probe_block(thin, block, cost);
    probe_statistics(run, thin, cost);
    probe_recipes(run, m, thin, block, cost);
    if (wn_prepared_generates(run, m))
        probe_decoding(thin, block, cost);
    wn_block_destroy(&block, thin);
}

/* Sums over the linears of rows * columns, and of rows * columns^2. */
static double sum_linears(const struct wn_layout *layout, int power)
{
    double sum = 0;
    for (int l = 0; l < layout->n_linears; l++)
        sum += (double)layout->linears[l].rows * pow((double)layout->linears[l].columns, power);
    return sum;
}

/* a s1 + b s2 through two measurements, at the sizes of the model. */
static double extend(double wide, double thin, const double w[2], const double t[2], const double full[2])
{
    double determinant = w[0] * t[1] - w[1] * t[0];
    double a = (wide * t[1] - thin * w[1]) / determinant, b = (w[0] * thin - t[0] * wide) / determinant;
    if (b < 0 || a < 0) /* one term explains both */
        return a < 0 ? wide * full[1] / w[1] : wide * full[0] / w[0];
    return a * full[0] + b * full[1];
}

/* Costs at the widths of the model from those of two narrower ones. */
static void widen(const struct wn_model *model, const struct wn_model *wide, const struct wn_model *thin,
                  const struct wn_model_cost *smaller, struct wn_model_cost *cost)
{
    const struct wn_model *of[3] = {wide, thin, model};
    double sums[3][2],
        inputs = (double)wn_layout_input_total(&model->layout) / (double)wn_layout_input_total(&wide->layout);
    double heads = (double)model->config.n_heads / (double)wide->config.n_heads;
    for (int i = 0; i < 3; i++)
        for (int power = 1; power <= 2; power++)
            sums[i][power - 1] = sum_linears(&of[i]->layout, power);
    double weights = sums[2][0] / sums[0][0];
    cost->row *= weights;
    cost->pair *= heads;
    for (int i = 0; i < 128; i++)
        cost->take[i] *= inputs;
    cost->moments *= weights;
    cost->add *= inputs;
    cost->add_moments *= weights;
    cost->step *= weights;
    cost->step_head *= (double)model->config.hidden_size / (double)wide->config.hidden_size;
    for (int64_t k = 0; k < cost->n_kinds; k++) {
        struct wn_recipe_cost *kind = &cost->kinds[k];
        kind->compress = extend(kind->compress, smaller->kinds[k].compress, sums[0], sums[1], sums[2]);
        kind->trial *= weights;
        kind->rules *= weights;
    }
}

static void release(struct wn_model_cost *cost)
{
    for (int64_t k = 0; k < cost->n_kinds; k++)
        wn_free(cost->kinds[k].kind);
    wn_free(cost->kinds);
}

static void probe_model(const struct wn_run *run, int64_t m, struct wn_model_cost *cost)
{
    const struct wn_model *model = run->models[m].model;
    int64_t by = 1;
    while (by < model->config.n_heads &&
           512 * 2.0 * (double)wn_model_block_weights(model) / (double)(by * by) > BLOCK_OPERATIONS)
        by *= 2;
    struct wn_model wide = narrow(model, by), thin = narrow(model, 2 * by);
    probe_parts(run, m, &wide, cost);
    if (by > 1) {
        struct wn_model_cost smaller = {0};
        struct wn_block *block = make_block(&thin);
        probe_recipes(run, m, &thin, block, &smaller);
        wn_block_destroy(&block, &thin);
        widen(model, &wide, &thin, &smaller, cost);
        release(&smaller);
    }
    cost->load = probe_load(model);
    probe_head(run, m, cost);
}

struct wn_model_cost *wn_probe(const struct wn_run *run)
{
    struct wn_model_cost *costs = wn_alloc_zero(run->n_models, sizeof *costs);
    for (int64_t m = 0; m < run->n_models; m++)
        probe_model(run, m, &costs[m]);
    return costs;
}

void wn_probe_release(struct wn_model_cost **costs, int64_t n_models)
{
    for (int64_t m = 0; *costs && m < n_models; m++)
        release(&(*costs)[m]);
    wn_free(*costs);
    *costs = NULL;
}

/* ---- rates ---- */

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

void wn_probe_rate(struct wn_rate *rate)
{
    enum { ROWS = WN_TILE_ROWS, COLUMNS = WN_TILE_COLUMNS, DEPTH = 1024, TRIES = 9 };
    float *x = wn_alloc(ROWS * DEPTH, sizeof(float)), *w = wn_alloc(COLUMNS * DEPTH, sizeof(float));
    float *y = wn_alloc(ROWS * COLUMNS, sizeof(float));
    double rates[TRIES];
    fill(x, ROWS * DEPTH, 1);
    fill(w, COLUMNS * DEPTH, 1);
    wn_linear(x, ROWS, DEPTH, w, COLUMNS, NULL, y);
    for (int i = 0; i < TRIES; i++) {
        double start = wn_seconds();
        wn_linear(x, ROWS, DEPTH, w, COLUMNS, NULL, y);
        rates[i] = 2.0 * ROWS * COLUMNS * DEPTH / (wn_seconds() - start);
    }
    qsort(rates, TRIES, sizeof *rates, compare_doubles);
    *rate = (struct wn_rate){rates[TRIES / 2], rates[0], rates[TRIES - 1], TRIES};
    wn_free(x);
    wn_free(w);
    wn_free(y);
}

double wn_probe_hash(void)
{
    enum { BYTES = 4 << 20 };
    char hex[WN_HASH_HEX];
    char *buffer = wn_alloc_zero(BYTES, 1);
    double start = wn_seconds();
    wn_hash_buffer(buffer, BYTES, hex);
    double seconds = wn_seconds() - start;
    wn_free(buffer);
    return BYTES / seconds;
}
