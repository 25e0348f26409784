/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qwen2_moe, qwen3_moe: as qwen2 and qwen3, with experts in place of the MLP; the first has a shared expert besides
 * (arXiv:2407.10671, 2505.09388). Blocks in mlp_only_layers, and those whose number, from 1, is no multiple of
 * decoder_sparse_step, keep an MLP of intermediate_size.
 */
#include "decoder.h"

#include <cjson/cJSON.h>
#include <string.h>

static wn_status read_dense_list(const char *path, const cJSON *json, struct wn_config *config)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "mlp_only_layers"), *item;
    bool fits = !list || cJSON_IsNull(list) || cJSON_IsArray(list);
    cJSON_ArrayForEach (item, list) {
        fits = fits && cJSON_IsNumber(item) && item->valuedouble == (double)item->valueint && item->valueint >= 0;
        if (fits && item->valueint < config->n_blocks)
            config->decoder.blocks[item->valueint] |= WN_BLOCK_IS_DENSE;
    }
    return fits ? WN_OK
                : wn_fail(WN_ERR_INPUT, "%s: key \"mlp_only_layers\": expected a list of numbers of blocks", path);
}

static wn_status read_dense_blocks(const char *path, const cJSON *json, struct wn_config *config)
{
    int64_t step, n_dense = 0;
    WN_TRY(wn_config_integer(path, json, "decoder_sparse_step", 1, INT32_MAX, 1, &step));
    for (int64_t b = 0; b < config->n_blocks; b++)
        if ((b + 1) % step)
            config->decoder.blocks[b] |= WN_BLOCK_IS_DENSE;
    WN_TRY(read_dense_list(path, json, config));
    for (int64_t b = 0; b < config->n_blocks; b++)
        n_dense += wn_is_in(config, WN_DENSE_BLOCKS, b);
    if (n_dense == config->n_blocks)
        config->decoder.experts = (struct wn_experts){0};
    return WN_OK;
}

static wn_status read_experts(const char *path, const cJSON *json, int64_t count, int64_t chosen, int64_t size,
                              struct wn_config *config)
{
    struct wn_experts *experts = &config->decoder.experts;
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    WN_TRY(wn_decoder_read_experts(path, json, count, chosen, config));
    WN_TRY(wn_config_integer(path, json, "moe_intermediate_size", 1, INT32_MAX, size, &experts->size));
    WN_TRY(wn_config_bool(path, json, "norm_topk_prob", false, &experts->is_weighted));
    return WN_OK;
}

/* Every second block before max_window_layers sees a window, unless "layer_types" says which do. */
static wn_status read_qwen2_moe(const char *path, const cJSON *json, struct wn_config *config)
{
    int64_t windows;
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(read_experts(path, json, 60, 4, 1408, config));
    WN_TRY(wn_config_integer(path, json, "shared_expert_intermediate_size", 1, INT32_MAX, 5632,
                             &config->decoder.experts.shared));
    WN_TRY(wn_config_bool(path, json, "qkv_bias", true, &config->attention_bias));
    WN_TRY(wn_config_integer(path, json, "max_window_layers", 0, INT32_MAX, 28, &windows));
    config->decoder.no_output_bias = true;
    for (int64_t b = 0; b < config->n_blocks && b < windows; b += 2)
        config->decoder.blocks[b] |= WN_BLOCK_SLIDES;
    wn_decoder_take_layer_types(json, config);
    return read_dense_blocks(path, json, config);
}

static wn_status read_qwen3_moe(const char *path, const cJSON *json, struct wn_config *config)
{
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(read_experts(path, json, 128, 8, 768, config));
    WN_TRY(wn_config_bool(path, json, "attention_bias", false, &config->attention_bias));
    config->decoder.head_norm = WN_HEADS_EACH;
    for (int64_t b = 0; b < config->n_blocks; b++)
        config->decoder.blocks[b] |= WN_BLOCK_SLIDES;
    return read_dense_blocks(path, json, config);
}

const struct wn_arch wn_arch_qwen2_moe = {
    .model_type = "qwen2_moe",
    .help = "Qwen1.5-MoE, Qwen2-57B-A14B: as qwen2, experts and a shared one in place of the MLP",
    .read_config = read_qwen2_moe,
    WN_DECODER,
};

const struct wn_arch wn_arch_qwen3_moe = {
    .model_type = "qwen3_moe",
    .help = "Qwen3-30B-A3B, Qwen3-235B-A22B: as qwen3, a sparse mixture of experts in place of the MLP",
    .read_config = read_qwen3_moe,
    WN_DECODER,
};
