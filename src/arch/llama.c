/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama: the decoder of LLaMA (Touvron et al. 2023), Llama 2 and Llama 3: RMS norm, grouped-query attention with rotary
 * positions, gated SiLU MLP; optional biases. Every other decoder is told by how it differs from this one.
 */
#include "decoder.h"

static wn_status read_config(const char *path, const struct cJSON *json, struct wn_config *config)
{
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    WN_TRY(wn_config_bool(path, json, "attention_bias", false, &config->attention_bias));
    return wn_config_bool(path, json, "mlp_bias", false, &config->mlp_bias);
}

const struct wn_arch wn_arch_llama = {
    .model_type = "llama",
    .help = "LLaMA, Llama 2 and Llama 3: RMS norm, grouped-query attention, rotary positions, gated SiLU MLP",
    .read_config = read_config,
    WN_DECODER,
};
