/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpt2, opt, gpt_neox: layer norms with biases, biases everywhere, an MLP without a gate. The first two add learned
 * positions to the embedding; the third rotates a part of each head, and both branches may read the same hidden state.
 */
#include "decoder.h"

static void set_plain(struct wn_config *config, const struct wn_decoder_names *names)
{
    config->n_kv_heads = config->n_heads;
    config->attention_bias = config->mlp_bias = true;
    config->decoder.names = names;
    config->decoder.norm = WN_NORM_LAYER;
    config->decoder.plain = true;
}

static wn_status read_gpt2(const char *path, const struct cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {
        .block_prefix = "transformer.h.%d.",
        .embedding = "transformer.wte",
        .positions = "transformer.wpe",
        .final_norm = "transformer.ln_f",
        .q = "attn.q",
        .k = "attn.k",
        .v = "attn.v",
        .qkv = "attn.c_attn",
        .output = "attn.c_proj",
        .up = "mlp.c_fc",
        .down = "mlp.c_proj",
        .attention_norm = "ln_1",
        .mlp_norm = "ln_2",
    };
    bool scaled;
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "activation_function", "gelu_new", config));
    WN_TRY(wn_config_bool(path, json, "scale_attn_weights", true, &scaled));
    WN_TRY(wn_decoder_must_be(path, json, "add_cross_attention", false));
    set_plain(config, &names);
    config->decoder.no_rope = config->decoder.transposed = true;
    config->decoder.fused_attention = WN_FUSED;
    config->decoder.attention_scale = scaled ? 0 : 1;
    return wn_config_bool(path, json, "scale_attn_by_inverse_layer_idx", false,
                          &config->decoder.scale_by_inverse_index);
}

/* A norm stands in front of a branch, or behind what it was added to: then there is none at the end (350m). */
static wn_status read_opt_norms(const char *path, const struct cJSON *json, struct wn_config *config)
{
    bool before, removed;
    WN_TRY(wn_config_bool(path, json, "do_layer_norm_before", true, &before));
    WN_TRY(wn_config_bool(path, json, "_remove_final_layer_norm", false, &removed));
    config->decoder.norm_place = before ? WN_NORM_BEFORE : WN_NORM_BEHIND;
    config->decoder.no_final_norm = removed || !before;
    return wn_decoder_must_be(path, json, "layer_norm_elementwise_affine", true);
}

static wn_status read_opt(const char *path, const struct cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {
        .block_prefix = "model.decoder.layers.%d.",
        .embedding = "model.decoder.embed_tokens",
        .positions = "model.decoder.embed_positions",
        .project_in = "model.decoder.project_in",
        .project_out = "model.decoder.project_out",
        .final_norm = "model.decoder.final_layer_norm",
        .output = "self_attn.out_proj",
        .up = "fc1",
        .down = "fc2",
        .attention_norm = "self_attn_layer_norm",
        .mlp_norm = "final_layer_norm",
        .after_attention = "self_attn_layer_norm",
        .after_mlp = "final_layer_norm",
    };
    int64_t width;
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "activation_function", "relu", config));
    WN_TRY(wn_config_integer(path, json, "word_embed_proj_dim", 1, INT32_MAX, config->hidden_size, &width));
    set_plain(config, &names);
    WN_TRY(read_opt_norms(path, json, config));
    config->embedding_size = width == config->hidden_size ? 0 : width;
    config->decoder.no_rope = true;
    config->decoder.position_offset = 2;
    WN_TRY(wn_config_bool(path, json, "enable_bias", true, &config->attention_bias));
    config->mlp_bias = config->attention_bias;
    return WN_OK;
}

static wn_status read_gpt_neox(const char *path, const struct cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {
        .block_prefix = "gpt_neox.layers.%d.",
        .embedding = "gpt_neox.embed_in",
        .final_norm = "gpt_neox.final_layer_norm",
        .head = "embed_out",
        .q = "attention.q",
        .k = "attention.k",
        .v = "attention.v",
        .qkv = "attention.query_key_value",
        .output = "attention.dense",
        .up = "mlp.dense_h_to_4h",
        .down = "mlp.dense_4h_to_h",
    };
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "gelu", config));
    set_plain(config, &names);
    config->decoder.fused_attention = WN_FUSED_HEADS;
    WN_TRY(wn_config_bool(path, json, "attention_bias", true, &config->attention_bias));
    return wn_config_bool(path, json, "use_parallel_residual", true, &config->decoder.parallel);
}

const struct wn_arch wn_arch_gpt2 = {
    .model_type = "gpt2",
    .help = "GPT-2: layer norm, learned positions, MLP without a gate",
    .read_config = read_gpt2,
    WN_DECODER,
};

const struct wn_arch wn_arch_opt = {
    .model_type = "opt",
    .help = "OPT: as gpt2, relu; 350m has norms behind its branches and narrower embeddings",
    .read_config = read_opt,
    WN_DECODER,
};

const struct wn_arch wn_arch_gpt_neox = {
    .model_type = "gpt_neox",
    .help = "GPT-NeoX, Pythia: layer norm, both branches on the same hidden state, a part of each head rotated",
    .read_config = read_gpt_neox,
    WN_DECODER,
};
