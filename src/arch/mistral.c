/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mistral: as llama, without biases, and every block sees the last `sliding_window` keys (arXiv:2310.06825), unless
 * "layer_types" says which do, as in Ministral 8B: transformers reads such a file by its class Ministral.
 */
#include "decoder.h"

#include <string.h>

static wn_status read_config(const char *path, const struct cJSON *json, struct wn_config *config)
{
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    memset(config->decoder.blocks, WN_BLOCK_SLIDES, sizeof config->decoder.blocks);
    wn_decoder_take_layer_types(json, config);
    return WN_OK;
}

const struct wn_arch wn_arch_mistral = {
    .model_type = "mistral",
    .help = "Mistral 7B, Mistral Nemo, Ministral: as llama, with a window on all blocks",
    .read_config = read_config,
    WN_DECODER,
};
