/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoders as llama's but for a few factors and places:
 *
 *   granite   what branches add, the embedding, scores and logits have factors (arXiv:2407.13739);
 *   smollm3   every fourth block has no rotary positions, and may see a window (Bakouch et al. 2025);
 *   olmo2     norms stand behind the branches, and queries and keys have one over all heads (arXiv:2501.00656).
 */
#include "decoder.h"

#include <cjson/cJSON.h>

static wn_status read_usual(const char *path, const cJSON *json, struct wn_config *config)
{
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    WN_TRY(wn_config_bool(path, json, "attention_bias", false, &config->attention_bias));
    return wn_config_bool(path, json, "mlp_bias", false, &config->mlp_bias);
}

/* An absent factor is 1, that of scores as well. */
static wn_status read_granite(const char *path, const cJSON *json, struct wn_config *config)
{
    struct wn_decoder *decoder = &config->decoder;
    WN_TRY(read_usual(path, json, config));
    WN_TRY(wn_decoder_read_factor(path, json, "embedding_multiplier", 1, &decoder->embedding_factor));
    WN_TRY(wn_decoder_read_factor(path, json, "residual_multiplier", 1, &decoder->residual_factor));
    WN_TRY(wn_decoder_read_factor(path, json, "attention_multiplier", 1, &decoder->attention_scale));
    return wn_decoder_read_factor(path, json, "logits_scaling", 1, &decoder->logits_divisor);
}

/* The list "no_rope_layers", which has 0 where there is no rope, or one block in no_rope_layer_interval. */
static wn_status read_smollm3(const char *path, const cJSON *json, struct wn_config *config)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "no_rope_layers");
    int64_t interval;
    WN_TRY(read_usual(path, json, config));
    WN_TRY(wn_config_integer(path, json, "no_rope_layer_interval", 1, INT32_MAX, 4, &interval));
    if (cJSON_IsArray(list) && cJSON_GetArraySize(list) != config->n_blocks)
        return wn_fail(WN_ERR_INPUT, "%s: key \"no_rope_layers\": expected a list of %lld numbers", path,
                       (long long)config->n_blocks);
    for (int64_t b = 0; b < config->n_blocks; b++) {
        const cJSON *item = cJSON_IsArray(list) ? cJSON_GetArrayItem(list, (int)b) : NULL;
        bool rope = item ? cJSON_IsTrue(item) || item->valuedouble != 0 : (b + 1) % interval != 0;
        if (item && !cJSON_IsNumber(item) && !cJSON_IsBool(item))
            return wn_fail(WN_ERR_INPUT, "%s: key \"no_rope_layers\": expected a number for block %lld", path,
                           (long long)b);
        config->decoder.blocks[b] = rope ? 0 : WN_BLOCK_HAS_NO_ROPE | WN_BLOCK_SLIDES;
    }
    if (cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(json, "layer_types"))) /* whatever use_sliding_window says */
        WN_TRY(wn_config_integer(path, json, "sliding_window", 0, INT32_MAX, 0, &config->window));
    wn_decoder_take_layer_types(json, config);
    return WN_OK;
}

static wn_status read_olmo2(const char *path, const cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {.after_attention = "post_attention_layernorm",
                                                  .after_mlp = "post_feedforward_layernorm"};
    WN_TRY(read_usual(path, json, config));
    config->mlp_bias = false;
    config->decoder.names = &names;
    config->decoder.norm_place = WN_NORM_AFTER;
    config->decoder.head_norm = WN_HEADS_TOGETHER;
    return WN_OK;
}

const struct wn_arch wn_arch_granite = {
    .model_type = "granite",
    .help = "Granite 3 (dense): as llama, with factors of embedding, branches, scores and logits",
    .read_config = read_granite,
    WN_DECODER,
};

const struct wn_arch wn_arch_smollm3 = {
    .model_type = "smollm3",
    .help = "SmolLM3: as llama, every fourth block without rotary positions",
    .read_config = read_smollm3,
    WN_DECODER,
};

const struct wn_arch wn_arch_olmo2 = {
    .model_type = "olmo2",
    .help = "OLMo 2: as llama, norms behind the branches, and of all queries and all keys",
    .read_config = read_olmo2,
    WN_DECODER,
};
