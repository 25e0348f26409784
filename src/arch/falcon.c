/* SPDX-License-Identifier: Apache-2.0 */
/*
 * falcon: layer norm, an MLP without a gate; one norm for both branches (7b), two (40b), or branches in a row. Heads
 * share one key, groups do, or none; then "alibi" may stand for rotary positions (arXiv:2311.16867).
 */
#include "decoder.h"

#define NAMES                                                                                                          \
    .block_prefix = "transformer.h.%d.", .embedding = "transformer.word_embeddings", .final_norm = "transformer.ln_f", \
    .q = "self_attention.q", .k = "self_attention.k", .v = "self_attention.v",                                         \
    .qkv = "self_attention.query_key_value", .output = "self_attention.dense", .up = "mlp.dense_h_to_4h",              \
    .down = "mlp.dense_4h_to_h"

static const struct wn_decoder_names names = {NAMES};
static const struct wn_decoder_names two_norms = {NAMES, .attention_norm = "ln_attn", .mlp_norm = "ln_mlp"};

/* Which norms there are: one for both branches, ln_attn and ln_mlp, or one before each of two branches in a row. */
static wn_status read_norms(const char *path, const struct cJSON *json, bool grouped, struct wn_config *config)
{
    int64_t count;
    bool parallel;
    WN_TRY(wn_config_bool(path, json, "parallel_attn", true, &parallel));
    WN_TRY(wn_config_integer(path, json, "num_ln_in_parallel_attn", 1, 2, grouped ? 2 : 1, &count));
    parallel |= grouped; /* whatever the file says */
    config->decoder.parallel = parallel;
    config->decoder.one_norm = parallel && count == 1;
    config->decoder.names = parallel && count == 2 ? &two_norms : &names;
    return WN_OK;
}

static wn_status read_config(const char *path, const struct cJSON *json, struct wn_config *config)
{
    bool grouped, one_key, slopes;
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "activation", "gelu", config));
    WN_TRY(wn_config_bool(path, json, "new_decoder_architecture", false, &grouped));
    WN_TRY(wn_config_bool(path, json, "multi_query", true, &one_key));
    WN_TRY(wn_config_bool(path, json, "alibi", false, &slopes));
    WN_TRY(wn_config_bool(path, json, "bias", false, &config->attention_bias));
    WN_TRY(wn_config_integer(path, json, "num_kv_heads", 1, config->n_heads, config->n_heads, &config->n_kv_heads));
    if (!grouped)
        config->n_kv_heads = one_key ? 1 : config->n_heads;
    if (config->n_heads % config->n_kv_heads)
        return wn_fail(WN_ERR_INPUT, "%s: key \"num_kv_heads\": %lld does not divide the %lld heads", path,
                       (long long)config->n_kv_heads, (long long)config->n_heads);
    config->mlp_bias = config->attention_bias;
    config->decoder.norm = WN_NORM_LAYER;
    config->decoder.plain = true;
    config->decoder.fused_attention = grouped ? WN_FUSED_GROUPS : one_key ? WN_FUSED : WN_FUSED_HEADS;
    config->decoder.no_rope = slopes;
    config->decoder.slopes = slopes ? WN_SLOPES_ROUNDED : WN_NO_SLOPES;
    return read_norms(path, json, grouped, config);
}

const struct wn_arch wn_arch_falcon = {
    .model_type = "falcon",
    .help = "Falcon: layer norm, both branches on the same normed hidden state, few keys, or slopes",
    .read_config = read_config,
    WN_DECODER,
};
