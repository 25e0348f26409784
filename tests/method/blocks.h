/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.h: a decoder block of random weights of any architecture, for tests of what methods do to a block. */
#ifndef WINNOW_TEST_BLOCKS_H
#define WINNOW_TEST_BLOCKS_H

#include "../test.h"

#include <cjson/cJSON.h>

#include <winnow/arch.h>

static inline float draw(uint64_t seed, uint64_t stream, int64_t i)
{
    return (float)(wn_random_uniform(seed, stream, (uint64_t)i) * 2 - 1);
}

static inline double largest_difference(const float *a, const float *b, int64_t count)
{
    double largest = 0;

    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)a[i] - b[i]));
    return largest;
}

static const struct wn_config CONFIG = {.vocab_size = 50,
                                        .hidden_size = 24,
                                        .intermediate_size = 40,
                                        .n_blocks = 1,
                                        .n_heads = 4,
                                        .n_kv_heads = 2,
                                        .head_dim = 6,
                                        .max_positions = 64,
                                        .norm_eps = 1e-5,
                                        .rope = {.theta = 10000, .factor = 1},
                                        .attention_bias = true,
                                        .mlp_bias = true};

/* The options of an architecture, in the sizes of CONFIG. */
static inline struct wn_config config_of(const struct wn_arch *arch)
{
    static const char keys[] =
        "\"vocab_size\": 50, \"hidden_size\": 24, \"intermediate_size\": 40, \"num_hidden_layers\": 1, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 6, \"max_position_embeddings\": 64, "
        "\"attention_bias\": true, \"mlp_bias\": true, \"sliding_window\": 5, \"rotary_pct\": 0.67, "
        "\"num_local_experts\": 4, \"num_experts\": 4, \"num_experts_per_tok\": 2, "
        "\"moe_intermediate_size\": 20, \"shared_expert_intermediate_size\": 28";
    struct wn_config config = {0};
    const bool partial = !strcmp(arch->model_type, "stablelm"); /* others refuse the key, its default is 0.25 */
    char *text =
        wn_format("{%s%s, \"text_config\": {%s}}", keys, partial ? ", \"partial_rotary_factor\": 0.67" : "", keys);
    cJSON *json = cJSON_Parse(text);
    snprintf(config.model_type, sizeof config.model_type, "%s", arch->model_type);
    CHECK_OK(arch->read_config("config.json", json, &config));
    cJSON_Delete(json);
    wn_free(text);
    return config;
}

static inline float *random_array(int64_t count, uint64_t stream, float size)
{
    float *values = wn_alloc(count, sizeof *values);

    for (int64_t i = 0; i < count; i++)
        values[i] = draw(9, stream, i) * size;
    return values;
}

static inline void block_init(const struct wn_layout *layout, struct wn_block *block)
{
    *block = (struct wn_block){0};
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        block->linears[l] = random_array(linear->rows * linear->columns, (uint64_t)l, 0.5f);
        if (linear->bias)
            block->biases[l] = random_array(linear->rows, 100 + (uint64_t)l, 0.2f);
    }
    for (int v = 0; v < layout->n_vectors; v++)
        block->vectors[v] = random_array(layout->vectors[v].size, 200 + (uint64_t)v, 1.5f);
}

static inline void block_release(const struct wn_layout *layout, struct wn_block *block)
{
    for (int l = 0; l < layout->n_linears; l++) {
        wn_free(block->linears[l]);
        wn_free(block->biases[l]);
    }
    for (int v = 0; v < layout->n_vectors; v++)
        wn_free(block->vectors[v]);
}

static inline float *run_arch(const struct wn_arch *arch, const struct wn_config *config, const struct wn_block *block,
                              const struct wn_chunk *chunk)
{
    const int64_t rows = chunk->offset[chunk->n_sequences];
    float *hidden = random_array(rows * config->hidden_size, 300, 1), *scratch;

    scratch = wn_alloc(arch->scratch(config, rows), sizeof *scratch);
    arch->run_block(config, block, chunk, hidden, scratch, NULL);
    wn_free(scratch);
    return hidden;
}

#endif
