/*
 * llama: the decoder of LLaMA (Touvron et al. 2023), Llama 2 and Llama 3: RMS norm, grouped-query attention with rotary
 * positions, gated SiLU MLP; optional biases.
 *
 *     h += o(attention(rope(q(n)), rope(k(n)), v(n))),  n = norm(h)
 *     h += down(silu(gate(m)) * up(m)),                 m = norm(h)
 */
#include <winnow/arch.h>
#include <winnow/linalg.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { Q, K, V, O, GATE, UP, DOWN, N_LINEARS };
enum { INPUT_NORM, MLP_NORM, N_VECTORS };
enum { IN_ATTENTION, IN_OUTPUT, IN_MLP, IN_DOWN, N_INPUTS };

static wn_status read_config(const char *path, const struct cJSON *json, struct wn_config *config)
{
    const char *activation = "";
    WN_TRY(wn_arch_read_common(path, json, config));
    WN_TRY(wn_config_text(path, json, "hidden_act", "silu", &activation));
    if (strcmp(activation, "silu"))
        return wn_fail(WN_ERR_INPUT, "%s: key \"hidden_act\": \"%s\" is not supported; supported is: silu", path,
                       activation);
    WN_TRY(wn_config_bool(path, json, "attention_bias", false, &config->attention_bias));
    return wn_config_bool(path, json, "mlp_bias", false, &config->mlp_bias);
}

static void describe(const struct wn_config *config, struct wn_layout *layout)
{
    int64_t hidden = config->hidden_size, inner = config->intermediate_size;
    int64_t q = config->n_heads * config->head_dim, kv = config->n_kv_heads * config->head_dim;
    const struct wn_linear_info linears[N_LINEARS] = {
        [Q] = {"self_attn.q_proj", "", q, hidden, IN_ATTENTION},
        [K] = {"self_attn.k_proj", "", kv, hidden, IN_ATTENTION},
        [V] = {"self_attn.v_proj", "", kv, hidden, IN_ATTENTION},
        [O] = {"self_attn.o_proj", "", hidden, q, IN_OUTPUT},
        [GATE] = {"mlp.gate_proj", "", inner, hidden, IN_MLP},
        [UP] = {"mlp.up_proj", "", inner, hidden, IN_MLP},
        [DOWN] = {"mlp.down_proj", "", hidden, inner, IN_DOWN},
    };
    *layout = (struct wn_layout){
        .n_linears = N_LINEARS,
        .n_vectors = N_VECTORS,
        .n_inputs = N_INPUTS,
        .vectors = {[INPUT_NORM] = {"input_layernorm.weight", hidden},
                    [MLP_NORM] = {"post_attention_layernorm.weight", hidden}},
        .input_names = {"attention", "attention_output", "mlp", "mlp_down"},
        .input_widths = {hidden, q, hidden, inner},
        .input_branches = {WN_BRANCH_ATTENTION, WN_BRANCH_ATTENTION, WN_BRANCH_MLP, WN_BRANCH_MLP},
        .producer_vector = {INPUT_NORM, -1, MLP_NORM, -1},
        .producer_linear = {-1, kv == q && q == hidden ? V : -1, -1, UP},
        .block_prefix = "model.layers.%d.",
        .embedding = "model.embed_tokens.weight",
        .final_norm = "model.norm.weight",
        .head = "lm_head.weight",
    };
    memcpy(layout->linears, linears, sizeof linears);
    for (int i = 0; i < N_LINEARS; i++)
        if (i < GATE ? config->attention_bias : config->mlp_bias)
            snprintf(layout->linears[i].bias, sizeof layout->linears[i].bias, "%.47s.bias", linears[i].name);
}

/* ---- one block ---- */

/* Parts of the scratch; the MLP uses the room of the attention again. */
struct scratch {
    float *normed;          /* [rows, hidden]: input of q, k, v or gate, up; then the output of o or down */
    float *cosine, *sine;   /* [rows, head_dim / 2] */
    float *q, *k, *v, *mix; /* mix [rows, heads * head_dim]: what attention gives */
    float *gate, *up;       /* [rows, intermediate] */
    int64_t size;           /* floats in all */
};

/* Takes `count` floats off the front, rounded up to whole cache lines. */
static float *take(float *base, int64_t *used, int64_t count)
{
    float *part = base ? base + *used : NULL;
    *used += (count + 15) / 16 * 16;
    return part;
}

/* With base NULL, only the size is of use. */
static struct scratch lay_out(const struct wn_config *config, int64_t rows, float *base)
{
    struct scratch s;
    int64_t used = 0, q = config->n_heads * config->head_dim, kv = config->n_kv_heads * config->head_dim;
    s.normed = take(base, &used, rows * config->hidden_size);
    int64_t shared = used, attention_end;
    s.cosine = take(base, &used, rows * config->head_dim / 2);
    s.sine = take(base, &used, rows * config->head_dim / 2);
    s.q = take(base, &used, rows * q);
    s.k = take(base, &used, rows * kv);
    s.v = take(base, &used, rows * kv);
    s.mix = take(base, &used, rows * q);
    attention_end = used;
    used = shared;
    s.gate = take(base, &used, rows * config->intermediate_size);
    s.up = take(base, &used, rows * config->intermediate_size);
    s.size = used > attention_end ? used : attention_end;
    return s;
}

static int64_t scratch_size(const struct wn_config *config, int64_t rows)
{
    return lay_out(config, rows, NULL).size;
}

static void tell(const struct wn_tap *tap, const struct wn_chunk *chunk, int input, const float *x, int64_t width)
{
    int64_t row[WN_GROUP_CHUNKS + 1], n_chunks = wn_chunk_rows(chunk, row);
    if (tap)
        tap->take(tap->context, input, x, n_chunks, row, width);
}

/* y = attention of its normed input x; they may be the same. */
static void attend(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                   const float *x, const struct scratch *s, const struct wn_tap *tap, float *y)
{
    int64_t rows = chunk->offset[chunk->n_sequences], width = config->hidden_size, dim = config->head_dim;
    int64_t heads = config->n_heads, kv_heads = config->n_kv_heads;
    const struct wn_block_output outputs[] = {
        {Q, heads * dim, s->q}, {K, kv_heads * dim, s->k}, {V, kv_heads * dim, s->v}};
    const struct wn_attention_rule rule = {.scale = (float)(1.0 / sqrt((double)dim))};
    tell(tap, chunk, IN_ATTENTION, x, width);
    wn_block_linears(block, chunk, x, width, outputs, 3);
    wn_rope_chunk_table(&config->rope, dim, chunk->n_sequences, chunk->offset, chunk->start, s->cosine, s->sine);
    wn_rope_apply(s->cosine, s->sine, s->q, rows, heads, dim);
    wn_rope_apply(s->cosine, s->sine, s->k, rows, kv_heads, dim);
    if (chunk->past)
        wn_past_keep(chunk->past, s->k, s->v, chunk->n_sequences, chunk->offset, kv_heads, dim);
    wn_attention(s->q, s->k, s->v, chunk->n_sequences, chunk->offset, heads, kv_heads, dim, &rule, chunk->past, s->mix);
    tell(tap, chunk, IN_OUTPUT, s->mix, heads * dim);
    wn_block_linear(block, O, chunk, s->mix, heads * dim, width, y);
}

/* y = the MLP on its normed input x; they may be the same. */
static void mlp(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                const float *x, const struct scratch *s, const struct wn_tap *tap, float *y)
{
    int64_t rows = chunk->offset[chunk->n_sequences], width = config->hidden_size, inner = config->intermediate_size;
    const struct wn_block_output outputs[] = {{GATE, inner, s->gate}, {UP, inner, s->up}};
    tell(tap, chunk, IN_MLP, x, width);
    wn_block_linears(block, chunk, x, width, outputs, 2);
    wn_nonlinear(WN_SILU, s->gate, s->up, rows * inner);
    tell(tap, chunk, IN_DOWN, s->gate, inner);
    wn_block_linear(block, DOWN, chunk, s->gate, inner, width, y);
}

/* hidden += what a branch gives. */
static void add(const struct wn_tap *tap, enum wn_branch branch, float *hidden, const float *added, int64_t rows,
                int64_t width)
{
    if (tap && tap->add)
        tap->add(tap->context, branch, hidden, added, rows, width);
    wn_add(hidden, added, rows * width);
}

static void run_block(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                      float *hidden, float *scratch, const struct wn_tap *tap)
{
    int64_t rows = chunk->offset[chunk->n_sequences], width = config->hidden_size;
    struct scratch s = lay_out(config, rows, scratch);
    if (!block->skip[WN_BRANCH_ATTENTION]) {
        wn_rms_norm(hidden, rows, width, block->vectors[INPUT_NORM], 0, config->norm_eps, s.normed);
        attend(config, block, chunk, s.normed, &s, tap, s.normed);
        add(tap, WN_BRANCH_ATTENTION, hidden, s.normed, rows, width);
    }
    if (!block->skip[WN_BRANCH_MLP]) {
        wn_rms_norm(hidden, rows, width, block->vectors[MLP_NORM], 0, config->norm_eps, s.normed);
        mlp(config, block, chunk, s.normed, &s, tap, s.normed);
        add(tap, WN_BRANCH_MLP, hidden, s.normed, rows, width);
    }
}

static void run_part(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                     int input, const float *x, float *scratch, float *y)
{
    struct scratch s = lay_out(config, chunk->offset[chunk->n_sequences], scratch);
    if (input == IN_ATTENTION)
        attend(config, block, chunk, x, &s, NULL, y);
    else if (input == IN_OUTPUT)
        wn_block_linear(block, O, chunk, x, config->n_heads * config->head_dim, config->hidden_size, y);
    else if (input == IN_MLP)
        mlp(config, block, chunk, x, &s, NULL, y);
    else
        wn_block_linear(block, DOWN, chunk, x, config->intermediate_size, config->hidden_size, y);
}

const struct wn_arch wn_arch_llama = {
    .model_type = "llama",
    .help = "LLaMA, Llama 2 and Llama 3: RMS norm, grouped-query attention, rotary positions, gated SiLU MLP",
    .read_config = read_config,
    .describe = describe,
    .scratch = scratch_size,
    .run_block = run_block,
    .run_part = run_part,
};
