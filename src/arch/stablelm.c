/* SPDX-License-Identifier: Apache-2.0 */
/* stablelm: as llama, but layer norms, a part of each head rotated, and both branches may read one normed hidden state.
 */
#include "decoder.h"

static wn_status read_config(const char *path, const struct cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {.q_norm = "self_attn.q_layernorm.norms.%d",
                                                  .k_norm = "self_attn.k_layernorm.norms.%d"};
    bool normed_heads;
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    WN_TRY(wn_config_bool(path, json, "use_qkv_bias", false, &config->attention_bias));
    WN_TRY(wn_config_bool(path, json, "qk_layernorm", false, &normed_heads));
    WN_TRY(wn_config_bool(path, json, "use_parallel_residual", false, &config->decoder.parallel));
    config->decoder.one_norm = config->decoder.parallel;
    config->decoder.names = &names;
    config->decoder.norm = WN_NORM_LAYER;
    config->decoder.head_norm = normed_heads ? WN_HEADS_OWN : WN_HEADS_AS_THEY_ARE;
    config->decoder.no_output_bias = true;
    config->mlp_bias = false;
    return WN_OK;
}

const struct wn_arch wn_arch_stablelm = {
    .model_type = "stablelm",
    .help = "StableLM: as llama, layer norm, a part of each head rotated",
    .read_config = read_config,
    WN_DECODER,
};
