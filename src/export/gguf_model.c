/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_model.c: what llama.cpp calls an architecture, its tensors and its keys. */
#include <math.h>
#include <string.h>

#include "gguf.h"

struct architecture {
    const char *model_type; /* of config.json */
    const char *name;       /* of llama.cpp */
    bool neighbours;        /* rotates pairs 2j, 2j + 1: rows of q and k in another order */
    bool biases;            /* of all linears; else of q, k and v alone */
    bool slides;            /* some blocks have a window */
    bool square;            /* all heads together are as wide as the model */
    bool head;              /* the file has a head, also where that is the embedding */
    enum wn_nonlinearity activation;
    unsigned scalings; /* of rotary positions: bits 1 << wn_rope_kind */
};

#define PLAIN  (1U << WN_ROPE_DEFAULT | 1U << WN_ROPE_LINEAR)
#define LLAMA3 (PLAIN | 1U << WN_ROPE_LLAMA3)

static const struct architecture architectures[] = {
    {"llama", "llama", .neighbours = true, .biases = true, .scalings = LLAMA3},
    {"mistral", "llama", .neighbours = true, .biases = true, .scalings = LLAMA3},
    {"qwen2", "qwen2", .scalings = PLAIN},
    {"qwen3", "qwen3", .scalings = PLAIN},
    {"gemma2", "gemma2", .slides = true, .activation = WN_GELU_TANH, .scalings = 1U << WN_ROPE_DEFAULT},
    {"gemma3_text", "gemma3", .slides = true, .activation = WN_GELU_TANH, .scalings = PLAIN},
    {"gemma3", "gemma3", .slides = true, .activation = WN_GELU_TANH, .scalings = PLAIN},
    {"phi3", "phi3", .square = true, .scalings = PLAIN | 1U << WN_ROPE_LONGROPE},
    {"olmo2", "olmo2", .square = true, .head = true, .scalings = PLAIN},
    {"granite", "granite", .neighbours = true, .biases = true, .scalings = LLAMA3},
    {"smollm3", "smollm3", .neighbours = true, .scalings = PLAIN}};

static const char *const names[][2] = {
    {"self_attn.q_proj.", "attn_q."},      {"self_attn.k_proj.", "attn_k."},     {"self_attn.v_proj.", "attn_v."},
    {"self_attn.o_proj.", "attn_output."}, {"self_attn.qkv_proj.", "attn_qkv."}, {"self_attn.q_norm.", "attn_q_norm."},
    {"self_attn.k_norm.", "attn_k_norm."}, {"mlp.gate_up_proj.", "ffn_up."},     {"mlp.gate_proj.", "ffn_gate."},
    {"mlp.up_proj.", "ffn_up."},           {"mlp.down_proj.", "ffn_down."},      {"input_layernorm.", "attn_norm."}};

/* Where norms stand before branches alone, and where they stand behind. */
static const char *const names_before[][2] = {{"post_attention_layernorm.", "ffn_norm."}};
static const char *const names_behind[][2] = {{"post_attention_layernorm.", "post_attention_norm."},
                                              {"pre_feedforward_layernorm.", "ffn_norm."},
                                              {"post_feedforward_layernorm.", "post_ffw_norm."}};

static const struct architecture *find(const struct wn_model *model)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (!strcmp(architectures[i].model_type, model->arch->model_type))
            return &architectures[i];
    return NULL;
}

/* ---- what is not written ---- */

/* llama.cpp takes the factor of scores from the shape, that of the largest models (46 and 62 blocks) from another. */
static bool scores_fit(const struct wn_model *model, int64_t n_blocks)
{
    const struct wn_config *config = &model->config;
    const bool largest = n_blocks == (!strcmp(find(model)->name, "gemma2") ? 46 : 62);
    const int64_t size = largest ? config->hidden_size / config->n_heads : config->head_dim;
    const double scale = config->decoder.attention_scale * sqrt((double)size);
    return !find(model)->slides || fabs(scale - 1) < 1e-6;
}

/* llama.cpp leaves out the rotation of every fourth block of smollm3. */
static bool rotates(const struct wn_model *model, int64_t block, int64_t place)
{
    const bool here = !(model->config.decoder.blocks[block] & WN_BLOCK_HAS_NO_ROPE);
    return here == (strcmp(find(model)->name, "smollm3") || (place + 1) % 4);
}

const char *wn_export_gguf_blocks_reason(const struct wn_model *model, const int64_t *place)
{
    int64_t n_blocks = 0;
    bool as_there = true;
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        if (!place || place[b] >= 0)
            as_there = rotates(model, b, n_blocks++) && as_there;
    return !as_there                      ? "the blocks without rotary positions are not every fourth one"
           : !scores_fit(model, n_blocks) ? "the factor of its scores is none that llama.cpp has for its shape"
                                          : NULL;
}

static bool has_other_biases(const struct wn_model *model)
{
    bool any = false;
    for (int l = 0; l < model->layout.n_linears; l++)
        any = any ||
              (model->layout.linears[l].bias && !strstr(model->layout.linears[l].name, ".q_proj") &&
               !strstr(model->layout.linears[l].name, ".k_proj") && !strstr(model->layout.linears[l].name, ".v_proj"));
    return any;
}

static const char *rotation_reason(const struct wn_model *model, const struct architecture *there)
{
    const struct wn_config *config = &model->config;
    const bool fits = config->rope.kind != WN_ROPE_LLAMA3 || config->head_dim <= 2 * WN_ROPE_PAIRS;
    if (!(there->scalings >> config->rope.kind & 1) || config->decoder.window_rope.kind != WN_ROPE_DEFAULT || !fits)
        return "its rotations are scaled in a way that is not written";
    if (there->neighbours && wn_rope_dims(&config->rope, config->head_dim) != config->head_dim)
        return "it rotates a part of a head, which llama.cpp does not do of this architecture";
    return NULL;
}

const char *wn_export_gguf_model_reason(const struct wn_model *model)
{
    const struct wn_config *config = &model->config;
    const struct wn_decoder *decoder = &config->decoder;
    const struct architecture *there = find(model);
    const char *reason;
    if (!there)
        return "gguf files are written of llama, mistral, qwen2, qwen3, gemma2, gemma3, phi3, olmo2, granite and "
               "smollm3 only";
    if ((reason = rotation_reason(model, there)))
        return reason;
    if (!there->slides && config->window > 0 && config->window < config->max_positions)
        return "its attention has a window, which llama.cpp does not know of this architecture";
    if (decoder->experts.count)
        return "it has experts";
    if (decoder->activation != there->activation)
        return "its activation is not the one that llama.cpp has for this architecture";
    if (!there->biases && has_other_biases(model))
        return "it has biases that llama.cpp does not know of this architecture";
    if (there->square && config->n_heads * config->head_dim != config->hidden_size)
        return "its heads are wider or narrower than llama.cpp expects of this architecture";
    if (!strcmp(there->name, "gemma2") && (decoder->attention_softcap <= 0 || decoder->logits_softcap <= 0))
        return "it has no soft caps, which llama.cpp does not know of this architecture";
    if (!strcmp(there->name, "gemma2") && model->head != model->embedding)
        return "its head is not the embedding, which llama.cpp does not know of this architecture";
    reason = wn_export_gguf_blocks_reason(model, NULL);
    return reason ? reason : wn_export_gguf_tokenizer_reason(model);
}

/* ---- names ---- */

bool wn_export_gguf_has_head(const struct wn_model *model)
{
    return find(model)->head || model->head != model->embedding;
}

static const char *find_name(const char *const list[][2], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strncmp(name, list[i][0], strlen(list[i][0])))
            return list[i][1];
    return NULL;
}

char *wn_export_gguf_name(const struct wn_model *model, int64_t place, const char *name)
{
    const char *ending = strrchr(name, '.') + 1, *own = find_name(names, sizeof names / sizeof *names, name);
    if (!own && model->config.decoder.norm_place == WN_NORM_BEFORE)
        own = find_name(names_before, sizeof names_before / sizeof *names_before, name);
    else if (!own)
        own = find_name(names_behind, sizeof names_behind / sizeof *names_behind, name);
    if (!own)
        WN_BUG("%s: gguf has no name for %s", model->directory, name);
    return wn_format("blk.%lld.%s%s", (long long)place, own, ending);
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

static void put_factor(struct wn_gguf_file *file, const char *architecture, const char *key, double factor)
{
    if (factor > 0)
        put_float(file, architecture, key, factor);
}

/* The kind of each block in the file, and how far it sees. */
static void put_windows(struct wn_gguf_file *file, const struct wn_model *model, const char *name, const int64_t *place)
{
    const struct wn_config *config = &model->config;
    int32_t *slides = wn_alloc(config->n_blocks, sizeof *slides);
    char *key = wn_format("%s.attention.sliding_window_pattern", name);
    int64_t count = 0;
    for (int64_t b = 0; b < config->n_blocks; b++)
        if (place[b] >= 0)
            slides[count++] = (config->decoder.blocks[b] & WN_BLOCK_SLIDES) != 0;
    put_number(file, name, "attention.sliding_window", config->window > 0 ? config->window : config->max_positions);
    wn_gguf_put_numbers(file, key, WN_GGUF_I32, slides, count);
    put_factor(file, name, "rope.freq_base_swa", config->decoder.window_rope.theta);
    wn_free(key);
    wn_free(slides);
}

static void put_scaling(struct wn_gguf_file *file, const struct wn_rope *rope, const char *name)
{
    if (rope->kind == WN_ROPE_LINEAR) {
        char *key = wn_format("%s.rope.scaling.type", name);
        wn_gguf_put_string(file, key, "linear");
        wn_free(key);
        put_float(file, name, "rope.scaling.factor", rope->factor);
    } else if (rope->kind == WN_ROPE_LONGROPE) {
        put_number(file, name, "rope.scaling.original_context_length", rope->original_max_positions);
        put_factor(file, name, "rope.scaling.attn_factor", rope->attention_factor);
    }
}

static void put_decoder(struct wn_gguf_file *file, const struct wn_decoder *decoder, const char *name)
{
    if (!strcmp(name, "granite")) {
        put_factor(file, name, "attention.scale", decoder->attention_scale);
        put_float(file, name, "embedding_scale", decoder->embedding_factor > 0 ? decoder->embedding_factor : 1);
        put_float(file, name, "residual_scale", decoder->residual_factor > 0 ? decoder->residual_factor : 1);
        put_float(file, name, "logit_scale", decoder->logits_divisor > 0 ? decoder->logits_divisor : 1);
    }
    put_factor(file, name, "attn_logit_softcapping", decoder->attention_softcap);
    put_factor(file, name, "final_logit_softcapping", decoder->logits_softcap);
}

void wn_export_gguf_put_model(struct wn_gguf_file *file, const struct wn_model *model, const int64_t *place,
                              enum wn_gguf_type type)
{
    const struct wn_config *config = &model->config;
    const char *name = find(model)->name, *slash = strrchr(model->directory, '/');
    int64_t n_blocks = 0;
    for (int64_t b = 0; b < config->n_blocks; b++)
        n_blocks += place[b] >= 0;
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
    put_scaling(file, &config->rope, name);
    put_decoder(file, &config->decoder, name);
    if (find(model)->slides)
        put_windows(file, model, name, place);
}
