/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c: see probe.h. */
#include "probe_impl.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include <winnow/linalg.h>

enum { HEAD_ROWS = 256, HEAD_FEW = 16 };
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

/* ---- statistics ---- */

/* `few` has the inputs that stand for those of the model. */
struct take_set {
    const struct wn_model *model;
    const struct wn_probe_kinds *kinds;
    struct wn_layout few;
    const float *x;
    int64_t rows;
};

static void take_input(const struct wn_layout *layout, int input, struct wn_layout *few)
{
    few->input_widths[few->n_inputs] = layout->input_widths[input];
    few->input_experts[few->n_inputs++] = layout->input_experts[input];
}

static void open_takes(const struct wn_model *model, const struct wn_probe_kinds *kinds, struct take_set *set)
{
    set->model = model;
    set->kinds = kinds;
    set->few = model->layout;
    set->few.n_inputs = 0;
    for (int i = 0; i < model->layout.n_inputs; i++)
        if (kinds->inputs[i] > 0)
            take_input(&model->layout, i, &set->few);
}

static double time_take(const struct take_set *set, unsigned needs, void *statistics)
{
    struct wn_statistics_tap tap = {.layout = &set->few, .needs = needs, .statistics = statistics};
    double seconds = 0;
    for (int i = 0, k = 0; i < set->model->layout.n_inputs; i++) { /* an expert has its share of the rows */
        int64_t row[2] = {0, (int64_t)ceil((double)set->rows * wn_model_input_share(set->model, i))};
        if (!(set->kinds->inputs[i] > 0))
            continue;
        double start = wn_seconds();
        wn_statistics_take(&tap, k, set->x, 1, row, set->few.input_widths[k]);
        seconds += (wn_seconds() - start) * set->kinds->inputs[i];
        k++;
    }
    return seconds / (double)set->rows;
}

static double time_add(const struct take_set *set, unsigned needs, void *into, void *from)
{
    const int64_t bytes = wn_statistics_bytes(&set->few, needs);
    double start = wn_seconds();
    memset(from, 0, (size_t)bytes);
    wn_statistics_add(&set->few, needs, into, from);
    return (wn_seconds() - start) * (double)wn_statistics_bytes(&set->model->layout, needs) / (double)bytes;
}

static void probe_statistics(const struct wn_run *run, const struct wn_model *model, const struct wn_probe_kinds *kinds,
                             struct wn_model_cost *cost)
{
    struct take_set set = {.rows = WN_PROBE_ROWS};
    int64_t widest = wn_layout_widest_input(&model->layout);
    unsigned all = 0;
    for (int64_t p = 0; p < run->grid.n_points; p++)
        all |= wn_recipe_needs(&run->grid.points[p].recipe) | 128u * (run->grid.points[p].calibration >= 0);
    if (!all)
        return;
    open_takes(model, kinds, &set);
    bool moments = all & WN_NEED_SECOND_MOMENTS;
    unsigned most = moments ? WN_NEED_SECOND_MOMENTS : 0;
    float *x = wn_alloc(set.rows * widest, sizeof *x);
    void *into = wn_alloc_zero(wn_statistics_bytes(&set.few, most), 1);
    void *from = wn_alloc_zero(wn_statistics_bytes(&set.few, most), 1);
    set.x = x;
    wn_probe_fill(x, set.rows * widest, 1);
    for (int64_t p = 0; p < run->grid.n_points; p++) {
        unsigned needs =
            wn_recipe_needs(&run->grid.points[p].recipe) & (WN_NEED_ABSOLUTE_MAXIMA | WN_NEED_ABSOLUTE_SUMS);
        if (run->grid.points[p].calibration >= 0 && !(cost->take[needs] > 0)) {
            time_take(&set, needs, from);
            cost->take[needs] = time_take(&set, needs, from);
        }
    }
    cost->add = time_add(&set, 0, into, from);
    if (moments) {
        time_add(&set, most, into, from);
        cost->add_moments = time_add(&set, most, into, from);
        time_take(&set, most, from);
        cost->moments = fmax(time_take(&set, most, from) - cost->take[0], 0);
    }
    wn_free(from);
    wn_free(into);
    wn_free(x);
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
    embedding->shape[1] = head->shape[1] = wn_embedding_size(&small.config);
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
    wn_probe_sequences(&set.sequences, rows, rows);
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
    wn_probe_fill(hidden, rows * width, 1);
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
    wn_probe_fill(x, WN_GENERATE_BATCH * width, 1);
    double one = time_decoding(&kept, 1), more = time_decoding(&kept, 1 + steps), start = wn_seconds();
    wn_kept_blocks_logits(&kept, x, WN_GENERATE_BATCH, y);
    double of_head = wn_seconds() - start, step = fmax(more - one, 0) / (double)steps;
    cost->step_head = of_head * (double)thin->config.vocab_size / (double)small.config.vocab_size;
    cost->step = fmax(step - of_head, 0) / (double)small.config.n_blocks;
    wn_free(x);
    wn_free(y);
    wn_kept_blocks_release(&kept);
}

/* ---- loading ---- */

/* The model with as many of its linears as a probe loads; `weights` of them are in block 0. */
static struct wn_model first_linears(const struct wn_model *model, double *weights)
{
    struct wn_model some = *model;
    some.layout.n_linears = 0;
    *weights = 0;
    for (int l = 0; l < model->layout.n_linears && *weights * sizeof(float) < LOAD_BYTES; l++) {
        const struct wn_linear_info *linear = &model->layout.linears[some.layout.n_linears++];
        if (wn_is_in(&model->config, linear->where, 0))
            *weights += (double)(linear->rows * linear->columns);
    }
    return some;
}

/* The shorter of two, so of a file in the page cache, unless a block is large. */
static double probe_load(const struct wn_model *model)
{
    double best = INFINITY, weights;
    struct wn_model some = first_linears(model, &weights);
    struct wn_block *block = wn_block_create(&some);
    for (int i = 0; i < (wn_block_bytes(&some) < LOAD_BYTES ? 2 : 1); i++) {
        double start = wn_seconds();
        if (wn_model_load_block(&some, 0, block) != WN_OK)
            break; /* a weight is not finite: its points will fail */
        best = fmin(best, wn_seconds() - start);
    }
    wn_block_destroy(&block, &some);
    return isfinite(best) ? best * (double)wn_model_weights(model) / (double)model->config.n_blocks / weights : 0;
}

/* ---- one model ---- */

static void probe_parts(const struct wn_run *run, int64_t m, const struct wn_model *thin, struct wn_model_cost *cost)
{
    struct wn_probe_kinds kinds;
    struct wn_block *block = wn_probe_block_create(thin);
    wn_probe_kinds(thin, &kinds);
    probe_statistics(run, thin, &kinds, cost);
    wn_probe_recipes(run, m, thin, block, &kinds, cost);
    if (wn_prepared_generates(run, m))
        probe_decoding(thin, block, cost);
    wn_probe_block_destroy(&block, thin);
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
    for (int i = 0; i < 3; i++)
        for (int power = 1; power <= 2; power++)
            sums[i][power - 1] = sum_linears(&of[i]->layout, power);
    double weights = sums[2][0] / sums[0][0];
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
    int64_t by = wn_probe_narrower(model, WN_PROBE_ROWS);
    struct wn_model wide = wn_probe_narrow(model, by), thin = wn_probe_narrow(model, 2 * by);
    wn_probe_rows(model, cost);
    probe_parts(run, m, &wide, cost);
    if (by > 1) {
        struct wn_model_cost smaller = {0};
        struct wn_probe_kinds kinds;
        struct wn_block *block = wn_probe_block_create(&thin);
        wn_probe_kinds(&thin, &kinds);
        wn_probe_recipes(run, m, &thin, block, &kinds, &smaller);
        wn_probe_block_destroy(&block, &thin);
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

void wn_probe_rate(struct wn_rate *rate)
{
    enum { ROWS = WN_TILE_ROWS, COLUMNS = WN_TILE_COLUMNS, DEPTH = 1024, TRIES = 9 };
    float *x = wn_alloc(ROWS * DEPTH, sizeof(float)), *w = wn_alloc(COLUMNS * DEPTH, sizeof(float));
    float *y = wn_alloc(ROWS * COLUMNS, sizeof(float));
    double rates[TRIES];
    wn_probe_fill(x, ROWS * DEPTH, 1);
    wn_probe_fill(w, COLUMNS * DEPTH, 1);
    wn_linear(x, ROWS, DEPTH, w, COLUMNS, NULL, y);
    for (int i = 0; i < TRIES; i++) {
        double start = wn_seconds();
        wn_linear(x, ROWS, DEPTH, w, COLUMNS, NULL, y);
        rates[i] = 2.0 * ROWS * COLUMNS * DEPTH / (wn_seconds() - start);
    }
    wn_sort_doubles(rates, TRIES);
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
