/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_model.c: what llama.cpp calls an architecture, its tensors and its keys. */
#include <string.h>

#include "gguf.h"

struct architecture {
    const char *model_type; /* of config.json */
    const char *name;       /* of llama.cpp */
    bool neighbours;        /* rotates pairs 2j, 2j + 1: rows of q and k in another order */
};

static const struct architecture architectures[] = {
    {"llama", "llama", true}, {"mistral", "llama", true}, {"qwen2", "qwen2", false}, {"qwen3", "qwen3", false}};

static const char *const names[][2] = {{"self_attn.q_proj.", "attn_q."},          {"self_attn.k_proj.", "attn_k."},
                                       {"self_attn.v_proj.", "attn_v."},          {"self_attn.o_proj.", "attn_output."},
                                       {"self_attn.q_norm.", "attn_q_norm."},     {"self_attn.k_norm.", "attn_k_norm."},
                                       {"mlp.gate_proj.", "ffn_gate."},           {"mlp.up_proj.", "ffn_up."},
                                       {"mlp.down_proj.", "ffn_down."},           {"input_layernorm.", "attn_norm."},
                                       {"post_attention_layernorm.", "ffn_norm."}};

static const struct architecture *find(const struct wn_model *model)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (!strcmp(architectures[i].model_type, model->arch->model_type))
            return &architectures[i];
    return NULL;
}

const char *wn_export_gguf_model_reason(const struct wn_model *model)
{
    const struct wn_config *config = &model->config;
    if (!find(model))
        return "gguf files are written of llama, mistral, qwen2 and qwen3 only";
    if (config->rope.kind != WN_ROPE_DEFAULT && config->rope.kind != WN_ROPE_LINEAR)
        return "its rotations are scaled in a way that is not written";
    if (config->window > 0 && config->window < config->max_positions)
        return "its attention has a window, which llama.cpp does not know of this architecture";
    if (config->decoder.experts.count)
        return "it has experts";
    return wn_export_gguf_tokenizer_reason(model);
}

char *wn_export_gguf_name(const struct wn_model *model, int64_t place, const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strncmp(name, names[i][0], strlen(names[i][0])))
            return wn_format("blk.%lld.%s%s", (long long)place, names[i][1], name + strlen(names[i][0]));
    WN_BUG("%s: gguf has no name for %s", model->directory, name);
}

int64_t wn_export_gguf_rotated_heads(const struct wn_model *model, const char *linear)
{
    if (!find(model)->neighbours)
        return 0;
    return strstr(linear, "q_proj") ? model->config.n_heads : strstr(linear, "k_proj") ? model->config.n_kv_heads : 0;
}

/* ---- keys ---- */

/* What llama.cpp calls a file whose most tensors are of a type. */
static int file_type(enum wn_gguf_type type)
{
    switch (type) {
    case WN_GGUF_F16:
        return 1;
    case WN_GGUF_Q4_0:
        return 2;
    case WN_GGUF_Q4_1:
        return 3;
    case WN_GGUF_Q8_0:
        return 7;
    case WN_GGUF_BF16:
        return 32;
    default:
        return 0;
    }
}

static void put_number(struct wn_gguf_file *file, const char *architecture, const char *key, int64_t value)
{
    char *name = wn_format("%s.%s", architecture, key);
    wn_gguf_put_u32(file, name, value);
    wn_free(name);
}

static void put_float(struct wn_gguf_file *file, const char *architecture, const char *key, double value)
{
    char *name = wn_format("%s.%s", architecture, key);
    wn_gguf_put_float(file, name, value);
    wn_free(name);
}

void wn_export_gguf_put_model(struct wn_gguf_file *file, const struct wn_model *model, int64_t n_blocks,
                              enum wn_gguf_type type)
{
    const struct wn_config *config = &model->config;
    const char *name = find(model)->name, *slash = strrchr(model->directory, '/');
    wn_gguf_put_string(file, "general.architecture", name);
    wn_gguf_put_string(file, "general.name", slash && slash[1] ? slash + 1 : model->directory);
    wn_gguf_put_u32(file, "general.file_type", file_type(type));
    wn_gguf_put_u32(file, "general.quantization_version", 2);
    put_number(file, name, "block_count", n_blocks);
    put_number(file, name, "context_length", config->max_positions);
    put_number(file, name, "embedding_length", config->hidden_size);
    put_number(file, name, "feed_forward_length", config->intermediate_size);
    put_number(file, name, "vocab_size", config->vocab_size);
    put_number(file, name, "attention.head_count", config->n_heads);
    put_number(file, name, "attention.head_count_kv", config->n_kv_heads);
    put_number(file, name, "attention.key_length", config->head_dim);
    put_number(file, name, "attention.value_length", config->head_dim);
    put_float(file, name, "attention.layer_norm_rms_epsilon", config->norm_eps);
    put_number(file, name, "rope.dimension_count", wn_rope_dims(&config->rope, config->head_dim));
    put_float(file, name, "rope.freq_base", config->rope.theta);
    if (config->rope.kind == WN_ROPE_LINEAR) {
        char *key = wn_format("%s.rope.scaling.type", name);
        wn_gguf_put_string(file, key, "linear");
        wn_free(key);
        put_float(file, name, "rope.scaling.factor", config->rope.factor);
    }
}
