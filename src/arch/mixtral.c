/* SPDX-License-Identifier: Apache-2.0 */
/* mixtral: as mistral, with experts in place of the MLP (arXiv:2401.04088). */
#include "decoder.h"

#include <string.h>

static wn_status read_config(const char *path, const struct cJSON *json, struct wn_config *config)
{
    static const struct wn_decoder_names names = {.router = "block_sparse_moe.gate",
                                                  .expert = "block_sparse_moe.experts.%d.",
                                                  .expert_gate = "w1",
                                                  .expert_up = "w3",
                                                  .expert_down = "w2"};
    struct wn_experts *experts = &config->decoder.experts;
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    memset(config->decoder.blocks, WN_BLOCK_SLIDES, sizeof config->decoder.blocks);
    WN_TRY(wn_decoder_read_experts(path, json, 8, 2, config));
    config->decoder.names = &names;
    experts->size = config->intermediate_size;
    experts->is_weighted = true;
    return WN_OK;
}

const struct wn_arch wn_arch_mixtral = {
    .model_type = "mixtral",
    .help = "Mixtral 8x7B, 8x22B: as mistral, a sparse mixture of experts in place of the MLP",
    .read_config = read_config,
    WN_DECODER,
};
