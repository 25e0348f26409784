/* SPDX-License-Identifier: Apache-2.0 */
/* probe_block.c: a block of made-up weights, and what pushing rows through it takes. */
#include "probe_impl.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include <winnow/linalg.h>

enum { LONG_ROWS = 2048, SHORT_LENGTH = 128 };
enum { EXPERT_ROWS = 128 }; /* of an expert: with fewer a row takes longer than in a chunk */
enum { OWN_EXPERTS = 16 };  /* with numbers of their own: more than a cache holds */

/* ---- made-up numbers ---- */

void wn_probe_fill(float *x, int64_t count, double scale)
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

/* The expert of a linear; -1: of none. */
static int expert_of(const struct wn_layout *layout, int linear)
{
    return layout->input_experts[layout->linears[linear].input] - 1;
}

/* Linears of one expert. */
static int linears_of_expert(const struct wn_layout *layout)
{
    int count = 0;
    for (int l = 0; l < layout->n_linears; l++)
        count += expert_of(layout, l) == 0;
    return count;
}

/* In as many bits as the checkpoint has, which sizes of files are found by. */
static void fill_weights(const struct wn_model *model, const struct wn_linear_info *linear, float *weights)
{
    int64_t count = linear->rows * linear->columns;
    wn_probe_fill(weights, count, 1 / sqrt((double)linear->columns));
    if (wn_model_source_bytes(model) == 2)
        wn_round_to_bf16(weights, count, weights);
}

/* Many experts have the numbers of few, whose linears are as far behind each other for all. */
struct wn_block *wn_probe_block_create(const struct wn_model *model)
{
    const struct wn_layout *layout = &model->layout;
    const int back = OWN_EXPERTS * linears_of_expert(layout);
    struct wn_block *block = wn_alloc_zero(1, sizeof *block);
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        if (linear->bias)
            block->biases[l] = wn_alloc_zero(linear->rows, sizeof(float));
        if (expert_of(layout, l) >= OWN_EXPERTS) {
            block->linears[l] = block->linears[l - back];
            continue;
        }
        block->linears[l] = wn_alloc(linear->rows * linear->columns, sizeof(float));
        fill_weights(model, linear, block->linears[l]);
    }
    for (int v = 0; v < layout->n_vectors; v++) {
        block->vectors[v] = wn_alloc(layout->vectors[v].size, sizeof(float));
        for (int64_t i = 0; i < layout->vectors[v].size; i++)
            block->vectors[v][i] = 1;
        if (layout->vectors[v].columns) /* a router, that sends rows to all experts */
            wn_probe_fill(block->vectors[v], layout->vectors[v].size, 1);
    }
    return block;
}

void wn_probe_block_destroy(struct wn_block **block, const struct wn_model *model)
{
    for (int l = 0; l < model->layout.n_linears; l++)
        if (expert_of(&model->layout, l) >= OWN_EXPERTS)
            (*block)->linears[l] = NULL;
    wn_block_destroy(block, model);
}

struct wn_model wn_probe_narrow(const struct wn_model *model, int64_t by)
{
    struct wn_model thin = *model;
    struct wn_config *config = &thin.config;
    if (by == 1)
        return thin;
    config->n_kv_heads = config->n_kv_heads / by > 1 ? config->n_kv_heads / by : 1;
    config->n_heads = config->n_heads / by / config->n_kv_heads * config->n_kv_heads;
    config->n_heads = config->n_heads > config->n_kv_heads ? config->n_heads : config->n_kv_heads;
    config->hidden_size = (config->hidden_size * config->n_heads + model->config.n_heads - 1) / model->config.n_heads;
    config->intermediate_size /= by;
    config->decoder.experts.size = (config->decoder.experts.size + by - 1) / by;
    config->decoder.experts.shared = (config->decoder.experts.shared + by - 1) / by;
    memset(&thin.layout, 0, sizeof thin.layout);
    thin.arch->describe(config, &thin.layout);
    return thin;
}

/* ---- blocks ---- */

void wn_probe_sequences(struct wn_sequences *sequences, int64_t rows, int64_t length)
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
    wn_probe_sequences(&sequences, rows, length);
    int64_t width = model->config.hidden_size, tokens = wn_sequences_tokens(&sequences);
    int64_t group = wn_model_group_rows(model, wn_sequences_longest_chunk(&sequences));
    group = group < tokens ? group : tokens;
    float *hidden = wn_alloc(tokens * width, sizeof *hidden);
    float *scratch = wn_alloc(wn_model_scratch(model, group), sizeof *scratch);
    int64_t *offset = wn_alloc(sequences.n_sequences + 1, sizeof *offset);
    for (int i = 0; i < 2; i++) {
        wn_probe_fill(hidden, tokens * width, 1);
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

/* Every expert has enough of them, up to those of a chunk. */
static int64_t least_rows(const struct wn_model *model)
{
    const struct wn_experts *experts = &model->config.decoder.experts;
    int64_t rows = WN_PROBE_ROWS;
    while (rows < LONG_ROWS && rows * experts->chosen < EXPERT_ROWS * experts->count)
        rows *= 2;
    return rows;
}

int64_t wn_probe_narrower(const struct wn_model *model, int64_t rows)
{
    int64_t by = 1;
    while (by < model->config.n_heads &&
           2 * (double)rows * wn_model_block_active_weights(model) / (double)(by * by) > WN_PROBE_OPERATIONS)
        by *= 2;
    return by;
}

/* Rows that many threads have enough of, within the operations that a probe may take. */
static int64_t probe_rows(const struct wn_model *model)
{
    double most = WN_PROBE_OPERATIONS / (2 * wn_model_block_active_weights(model));
    int64_t rows = LONG_ROWS;
    while (rows > least_rows(model) && (double)rows > most)
        rows /= 2;
    return rows;
}

/* What the arithmetic of evaluations makes of the time of a block. */
static double evaluated_share(const struct wn_model *model, const struct wn_block *block, int64_t rows, int64_t length,
                              double seconds)
{
    struct wn_block view;
    if (model->compute == WN_COMPUTE_F32)
        return 1;
    wn_block_evaluated(model, block, &view);
    return time_block(model, &view, rows, length) / seconds;
}

static void time_rows(const struct wn_model *model, const struct wn_block *block, struct wn_model_cost *cost)
{
    int64_t rows = probe_rows(model), length = rows < model->config.max_positions ? rows : SHORT_LENGTH;
    double at_length = time_block(model, block, rows, length), at_short = time_block(model, block, rows, SHORT_LENGTH);
    cost->evaluated = evaluated_share(model, block, rows, length, at_length);
    struct wn_sequences far, near;
    wn_probe_sequences(&far, rows, length);
    wn_probe_sequences(&near, rows, SHORT_LENGTH);
    double pairs = wn_attention_pairs(&far), fewer = wn_attention_pairs(&near);
    cost->pair = pairs > fewer ? fmax(at_length - at_short, 0) / (pairs - fewer) : 0;
    cost->row = fmax(at_short - cost->pair * fewer, 0) / (double)rows /
                wn_linears_share(model, (double)rows, omp_get_max_threads());
    wn_sequences_release(&far);
    wn_sequences_release(&near);
}

void wn_probe_rows(const struct wn_model *model, struct wn_model_cost *cost)
{
    struct wn_model thin = wn_probe_narrow(model, wn_probe_narrower(model, least_rows(model)));
    struct wn_block *block = wn_probe_block_create(&thin);
    time_rows(&thin, block, cost);
    cost->row *= wn_model_block_active_weights(model) / wn_model_block_active_weights(&thin);
    cost->pair *= (double)model->config.n_heads / (double)thin.config.n_heads;
    wn_probe_block_destroy(&block, &thin);
}
