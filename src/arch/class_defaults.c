/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration class of each model type assumes in transformers 5.24 where config.json lacks a key, and the
 * names it has for keys that others call otherwise. tests/arch/config_rules.json holds what transformers itself makes
 * of such files, and the test reads the same files by this table. To add a model type: one row here, its name in
 * tests/arch/make_config_rules.py.
 */
#include <winnow/arch.h>

#include <string.h>

/* clang-format off */
static const struct wn_class_defaults table[] = {
    /* model type     key of eps           eps   theta part  positions tied  bos     eos */
    {"llama",       "rms_norm_eps",       1e-6, 1e4, 1,    2048,   false, 1,      2, .kv_heads = 0},
    {"mistral",     "rms_norm_eps",       1e-6, 1e4, 1,    131072, false, 1,      2,      .kv_heads = 8, .window = 4096},
    {"qwen2",       "rms_norm_eps",       1e-6, 1e4, 1,    32768,  false, -1,     -1,     .kv_heads = 32,
     .window = 4096, .window_by_flag = true},
    {"qwen3",       "rms_norm_eps",       1e-6, 1e4, 1,    32768,  false, -1,     -1,     .kv_heads = 32,
     .head_dim = 128, .window = 4096, .window_by_flag = true},
    {"granite",     "rms_norm_eps",       1e-6, 1e4, 1,    2048,   false, 1,      2, .kv_heads = 0},
    {"smollm3",     "rms_norm_eps",       1e-6, 2e6, 1,    32768,  true,  128000, 128001, .kv_heads = 4,
     .window_by_flag = true},
    {"olmo2",       "rms_norm_eps",       1e-5, 1e4, 1,    2048,   false, -1,     50279, .kv_heads = 0},
    {"gemma2",      "rms_norm_eps",       1e-6, 1e4, 1,    8192,   true,  2,      1,      .kv_heads = 4,
     .head_dim = 256, .window = 4096},
    {"gemma3_text", "rms_norm_eps",       1e-6, 1e6, 1,    131072, true,  2,      1,      .kv_heads = 4,
     .head_dim = 256, .window = 4096},
    {"phi3",        "rms_norm_eps",       1e-5, 1e4, 1,    4096,   false, 1,      32000,  .may_rotate_part = true},
    {"mixtral",     "rms_norm_eps",       1e-5, 1e6, 1,    131072, false, 1,      2,      .kv_heads = 8},
    {"qwen2_moe",   "rms_norm_eps",       1e-6, 1e4, 1,    32768,  false, -1,     -1,     .kv_heads = 16,
     .window = 4096, .window_by_flag = true},
    {"qwen3_moe",   "rms_norm_eps",       1e-6, 1e4, 1,    32768,  false, -1,     -1,     .kv_heads = 4,
     .window = 4096, .window_by_flag = true},
    {"stablelm",    "layer_norm_eps",     1e-5, 1e4, 0.25, 4096,   false, 0,      0,      .kv_heads = 32,
     .head_dim = -1, .may_rotate_part = true},
    {"gpt_neox",    "layer_norm_eps",     1e-5, 1e4, 0.25, 2048,   false, 0,      2,      .head_dim = -1,
     .theta_key = "rotary_emb_base", .part_key = "rotary_pct", .may_rotate_part = true},
    {"falcon",      "layer_norm_epsilon", 1e-5, 1e4, 1,    2048,   true,  11,     11,     .head_dim = -1,
     .inner_key = "ffn_hidden_size", .inner_factor = 4},
    {"bloom",       "layer_norm_epsilon", 1e-5, 1e4, 1,    2048,   true,  1,      2,      .head_dim = -1,
     .inner_factor = 4, .width_key = "n_embed", .blocks_key = "n_layer", .heads_key = "n_head"},
    {"opt",         "layer_norm_eps",     1e-5, 1e4, 1,    2048,   true,  2,      2,      .head_dim = -1,
     .inner_key = "ffn_dim"},
    {"gpt2",        "layer_norm_epsilon", 1e-5, 1e4, 1,    1024,   true,  50256,  50256,  .head_dim = -1,
     .inner_factor = 4, .width_key = "n_embd", .inner_key = "n_inner", .blocks_key = "n_layer",
     .heads_key = "n_head", .positions_key = "n_positions"},
};
/* clang-format on */

const struct wn_class_defaults *wn_class_defaults(const char *model_type)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].model_type, model_type))
            return &table[i];
    return &table[0];
}
