/* SPDX-License-Identifier: Apache-2.0 */
/* phi3: as llama, with q, k, v in one tensor, gate and up in another, and a window on all blocks (arXiv:2404.14219). */
#include "decoder.h"

#include <string.h>

static wn_status read_config(const char *path, const struct cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {.qkv = "self_attn.qkv_proj", .gate_up = "mlp.gate_up_proj"};
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    memset(config->decoder.blocks, WN_BLOCK_SLIDES, sizeof config->decoder.blocks);
    config->decoder.names = &names;
    config->decoder.fused_attention = config->decoder.fused_mlp = WN_FUSED;
    return WN_OK;
}

const struct wn_arch wn_arch_phi3 = {
    .model_type = "phi3",
    .help = "Phi-3, Phi-4: as llama, fused linears, a window on all blocks",
    .read_config = read_config,
    WN_DECODER,
};
