/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qwen2, qwen3: as llama; the first has biases of q, k and v, the second an RMS norm of every query and key head and
 * optional biases of all of attention (arXiv:2407.10671, 2505.09388). With "use_sliding_window", the blocks from
 * max_window_layers on see a window, unless "layer_types" says which do.
 */
#include "decoder.h"

static wn_status read_windows(const char *path, const struct cJSON *json, struct wn_config *config)
{
    int64_t first;
    WN_TRY(wn_config_integer(path, json, "max_window_layers", 0, INT32_MAX, 28, &first));
    for (int64_t b = first; b < config->n_blocks; b++)
        config->decoder.blocks[b] = WN_BLOCK_SLIDES;
    wn_decoder_take_layer_types(json, config);
    return WN_OK;
}

static wn_status read_qwen2(const char *path, const struct cJSON *json, struct wn_config *config)
{
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    config->attention_bias = config->decoder.no_output_bias = true;
    return read_windows(path, json, config);
}

static wn_status read_qwen3(const char *path, const struct cJSON *json, struct wn_config *config)
{
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_decoder_read_activation(path, json, "hidden_act", "silu", config));
    WN_TRY(wn_config_bool(path, json, "attention_bias", false, &config->attention_bias));
    config->decoder.head_norm = WN_HEADS_EACH;
    return read_windows(path, json, config);
}

const struct wn_arch wn_arch_qwen2 = {
    .model_type = "qwen2",
    .help = "Qwen2, Qwen2.5: as llama, with biases of q, k and v",
    .read_config = read_qwen2,
    WN_DECODER,
};

const struct wn_arch wn_arch_qwen3 = {
    .model_type = "qwen3",
    .help = "Qwen3 (dense): as llama, with an RMS norm of every query and key head",
    .read_config = read_qwen3,
    WN_DECODER,
};
