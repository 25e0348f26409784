/* SPDX-License-Identifier: Apache-2.0 */
/* bloom: as gpt2, with slopes in place of positions (ALiBi) and a norm of the embedding (arXiv:2211.05100). */
#include "decoder.h"

static wn_status read_config(const char *path, const struct cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {
        .block_prefix = "transformer.h.%d.",
        .embedding = "transformer.word_embeddings",
        .embedding_norm = "transformer.word_embeddings_layernorm",
        .final_norm = "transformer.ln_f",
        .q = "self_attention.q",
        .k = "self_attention.k",
        .v = "self_attention.v",
        .qkv = "self_attention.query_key_value",
        .output = "self_attention.dense",
        .up = "mlp.dense_h_to_4h",
        .down = "mlp.dense_4h_to_h",
    };
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_must_be(path, json, "apply_residual_connection_post_layernorm", false));
    config->n_kv_heads = config->n_heads;
    config->intermediate_size = 4 * config->hidden_size; /* whatever the file says */
    config->attention_bias = config->mlp_bias = true;
    config->decoder.names = &names;
    config->decoder.norm = WN_NORM_LAYER;
    config->decoder.plain = config->decoder.no_rope = true;
    config->decoder.activation = WN_GELU_TANH;
    config->decoder.fused_attention = WN_FUSED_HEADS;
    config->decoder.slopes = WN_SLOPES;
    return WN_OK;
}

const struct wn_arch wn_arch_bloom = {
    .model_type = "bloom",
    .help = "BLOOM: layer norm, slopes in place of positions, a norm of the embedding",
    .read_config = read_config,
    WN_DECODER,
};
