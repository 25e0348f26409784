/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemma2, gemma3_text, and the text part of gemma3: as llama, but norms stand around the branches and keep their
 * weights as 1 + w, the embedding has the factor sqrt(hidden size), scores are scaled by query_pre_attn_scalar, and
 * most blocks see a window. The second has soft caps of scores and logits (arXiv:2408.00118); the third has norms of
 * every query and key head, and other rotary positions in the blocks that slide (arXiv:2503.19786). transformers reads
 * attn_logit_softcapping of the third and does not apply it: neither do we.
 */
#include "decoder.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

static const struct wn_decoder_names gemma_names = {
    .mlp_norm = "pre_feedforward_layernorm",
    .after_attention = "post_attention_layernorm",
    .after_mlp = "post_feedforward_layernorm",
};

/* Blocks slide but every `pattern`th, unless "layer_types" says which do. */
static wn_status read_gemma(const char *path, const cJSON *json, int64_t pattern, struct wn_config *config)
{
    struct wn_decoder *decoder = &config->decoder;
    double scalar;
    bool both_ways;
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_activation", "gelu_pytorch_tanh", config));
    WN_TRY(wn_config_bool(path, json, "attention_bias", false, &config->attention_bias));
    WN_TRY(wn_config_positive(path, json, "query_pre_attn_scalar", 256, &scalar));
    WN_TRY(wn_config_bool(path, json, "use_bidirectional_attention", false, &both_ways));
    if (both_ways)
        return wn_fail(WN_ERR_INPUT, "%s: key \"use_bidirectional_attention\": only false is supported", path);
    decoder->names = &gemma_names;
    decoder->norm_place = WN_NORM_AROUND;
    decoder->norm_offset = 1;
    decoder->attention_scale = 1 / sqrt(scalar);
    decoder->embedding_factor = sqrt((double)config->hidden_size);
    for (int64_t b = 0; b < config->n_blocks; b++)
        decoder->blocks[b] = (b + 1) % pattern ? WN_BLOCK_SLIDES : 0;
    wn_decoder_take_layer_types(json, config);
    return WN_OK;
}

/* A soft cap: null is none, absent is `fallback`. */
static wn_status read_cap(const char *path, const cJSON *json, const char *key, double fallback, double *cap)
{
    return wn_decoder_read_factor(path, json, key, wn_config_is_null(json, key) ? 0 : fallback, cap);
}

static wn_status read_gemma2(const char *path, const cJSON *json, struct wn_config *config)
{
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(read_gemma(path, json, 2, config));
    WN_TRY(read_cap(path, json, "attn_logit_softcapping", 50, &config->decoder.attention_softcap));
    return read_cap(path, json, "final_logit_softcapping", 30, &config->decoder.logits_softcap);
}

/* ---- gemma3 ---- */

/* A copy of config.json with the rope_parameters of one kind of block, which transformers 5 keeps apart. */
static cJSON *with_rope_of(const cJSON *json, const char *kind)
{
    cJSON *copy = cJSON_Duplicate(json, true), *rope = cJSON_DetachItemFromObjectCaseSensitive(copy, "rope_parameters");
    cJSON *own = cJSON_DetachItemFromObjectCaseSensitive(rope, kind);
    if (own)
        cJSON_AddItemToObject(copy, "rope_parameters", own);
    cJSON_Delete(rope);
    return copy;
}

/* transformers 4 has rope_local_base_freq, and no scaling, for blocks that slide. */
static wn_status read_window_rope(const char *path, const cJSON *json, struct wn_config *config)
{
    struct wn_config sliding = *config;
    cJSON *copy = with_rope_of(json, "sliding_attention");
    double theta;
    wn_status status = wn_config_positive(path, json, "rope_local_base_freq", 1e4, &theta);
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "rope_scaling");
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "rope_theta");
    cJSON_AddNumberToObject(copy, "rope_theta", theta);
    if (status == WN_OK)
        status = wn_arch_read_common(path, copy, &sliding);
    config->decoder.window_rope = sliding.rope;
    cJSON_Delete(copy);
    return status;
}

static wn_status read_gemma3_text(const char *path, const cJSON *json, struct wn_config *config)
{
    cJSON *copy = with_rope_of(json, "full_attention");
    int64_t pattern;
    wn_status status = wn_arch_read_common(path, copy, config);
    cJSON_Delete(copy);
    WN_TRY(status);
    WN_TRY(read_window_rope(path, json, config));
    WN_TRY(wn_config_integer(path, json, "sliding_window_pattern", 1, INT32_MAX, 6, &pattern));
    WN_TRY(read_gemma(path, json, pattern, config));
    config->decoder.head_norm = WN_HEADS_EACH;
    return wn_decoder_read_factor(path, json, "final_logit_softcapping", 0, &config->decoder.logits_softcap);
}

/* Keys that files of the whole model leave to the class, or keep outside "text_config". */
static void complete_text(const cJSON *json, cJSON *text)
{
    static const char *const outside[] = {"bos_token_id", "eos_token_id", "torch_dtype", "dtype"};
    if (!cJSON_HasObjectItem(text, "vocab_size"))
        cJSON_AddNumberToObject(text, "vocab_size", 262208);
    if (!cJSON_HasObjectItem(text, "num_attention_heads"))
        cJSON_AddNumberToObject(text, "num_attention_heads", 8);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, outside[i]);
        if (item && !cJSON_HasObjectItem(text, outside[i]))
            cJSON_AddItemToObject(text, outside[i], cJSON_Duplicate(item, true));
    }
}

static wn_status read_gemma3(const char *path, const cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {
        .block_prefix = "language_model.model.layers.%d.",
        .embedding = "language_model.model.embed_tokens",
        .final_norm = "language_model.model.norm",
        .head = "language_model.lm_head",
        .mlp_norm = "pre_feedforward_layernorm",
        .after_attention = "post_attention_layernorm",
        .after_mlp = "post_feedforward_layernorm",
    };
    const cJSON *part = cJSON_GetObjectItemCaseSensitive(json, "text_config");
    if (!cJSON_IsObject(part))
        return wn_fail(WN_ERR_INPUT, "%s: key \"text_config\": expected an object", path);
    cJSON *text = cJSON_Duplicate(part, true);
    complete_text(json, text);
    snprintf(config->model_type, sizeof config->model_type, "gemma3_text"); /* whose defaults count */
    wn_status status = read_gemma3_text(path, text, config);
    config->decoder.names = &names;
    cJSON_Delete(text);
    return status;
}

const struct wn_arch wn_arch_gemma2 = {
    .model_type = "gemma2",
    .help = "Gemma 2: as llama, norms around the branches, windows, soft caps of scores and logits",
    .read_config = read_gemma2,
    WN_DECODER,
};

const struct wn_arch wn_arch_gemma3_text = {
    .model_type = "gemma3_text",
    .help = "Gemma 3 (text): as gemma2, norms of heads in place of soft caps, two kinds of rotary positions",
    .read_config = read_gemma3_text,
    WN_DECODER,
};

const struct wn_arch wn_arch_gemma3 = {
    .model_type = "gemma3",
    .help = "Gemma 3 (with images): its text part, as gemma3_text",
    .read_config = read_gemma3,
    WN_DECODER,
};
