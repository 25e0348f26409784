/* decoder_layout.c: the tensors of a decoder. */
#include "decoder.h"

#include <stdio.h>

static const struct wn_decoder_names llama_names = {
    .block_prefix = "model.layers.%d.",
    .embedding = "model.embed_tokens",
    .final_norm = "model.norm",
    .head = "lm_head",
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .output = "self_attn.o_proj",
    .gate = "mlp.gate_proj",
    .up = "mlp.up_proj",
    .down = "mlp.down_proj",
    .attention_norm = "input_layernorm",
    .mlp_norm = "post_attention_layernorm",
    .q_norm = "self_attn.q_norm",
    .k_norm = "self_attn.k_norm",
};

/* A name of the architecture, or llama's. */
#define NAME(decoder, part) ((decoder)->names && (decoder)->names->part ? (decoder)->names->part : llama_names.part)

struct wn_decoder_parts wn_decoder_parts(const struct wn_config *config)
{
    const struct wn_decoder *decoder = &config->decoder;
    struct wn_decoder_parts p = {-1, -1, -1, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0};
    bool before = decoder->norm_place == WN_NORM_BEFORE || decoder->norm_place == WN_NORM_AROUND;
    bool after = decoder->norm_place != WN_NORM_BEFORE, biased = decoder->norm == WN_NORM_LAYER;
    p.n_linears = WN_O + 1;
    if (!decoder->plain)
        p.gate = p.n_linears++;
    p.up = p.n_linears++;
    p.down = p.n_linears++;
    if (before)
        p.attention_norm = p.n_vectors++;
    if (before && biased)
        p.attention_norm_bias = p.n_vectors++;
    if (before && !decoder->one_norm)
        p.mlp_norm = p.n_vectors++;
    if (before && biased && !decoder->one_norm)
        p.mlp_norm_bias = p.n_vectors++;
    if (after)
        p.after_attention = p.n_vectors++;
    if (after && biased)
        p.after_attention_bias = p.n_vectors++;
    if (after)
        p.after_mlp = p.n_vectors++;
    if (after && biased)
        p.after_mlp_bias = p.n_vectors++;
    if (decoder->head_norm)
        p.q_norm = p.n_vectors++;
    if (decoder->head_norm)
        p.k_norm = p.n_vectors++;
    return p;
}

/* ---- linears ---- */

static struct wn_linear_info *add(struct wn_layout *layout, const char *name, int64_t rows, int input, bool bias)
{
    struct wn_linear_info *linear = &layout->linears[layout->n_linears++];
    *linear =
        (struct wn_linear_info){.rows = rows, .columns = layout->input_widths[input], .input = input, .bias = bias};
    snprintf(linear->name, sizeof linear->name, "%s", name);
    return linear;
}

/* Rows of several linears behind each other; `run` of them in turn. */
static void fuse(struct wn_linear_info *linear, const char *tensor, int64_t total, int64_t first, int64_t run,
                 int64_t stride)
{
    linear->source = (struct wn_source){.rows = total, .first = first, .run = run, .stride = stride};
    snprintf(linear->source.tensor, sizeof linear->source.tensor, "%s", tensor);
}

static void add_attention(const struct wn_config *config, struct wn_layout *layout)
{
    const struct wn_decoder *decoder = &config->decoder;
    int64_t dim = config->head_dim, q = config->n_heads * dim, kv = config->n_kv_heads * dim, rows = q + 2 * kv;
    bool bias = config->attention_bias;
    struct wn_linear_info *each[] = {add(layout, NAME(decoder, q), q, WN_IN_ATTENTION, bias),
                                     add(layout, NAME(decoder, k), kv, WN_IN_ATTENTION, bias),
                                     add(layout, NAME(decoder, v), kv, WN_IN_ATTENTION, bias)};
    add(layout, NAME(decoder, output), config->hidden_size, WN_IN_OUTPUT, bias && !decoder->no_output_bias);
    int64_t group = config->n_heads / config->n_kv_heads;
    for (int64_t i = 0, first = 0; i < 3 && decoder->fused_attention; first += each[i++]->rows)
        if (decoder->fused_attention == WN_FUSED_HEADS)
            fuse(each[i], NAME(decoder, qkv), rows, i * dim, dim, 3 * dim);
        else if (decoder->fused_attention == WN_FUSED_GROUPS)
            fuse(each[i], NAME(decoder, qkv), rows, i ? (group + i - 1) * dim : 0, i ? dim : group * dim,
                 (group + 2) * dim);
        else
            fuse(each[i], NAME(decoder, qkv), rows, first, each[i]->rows, each[i]->rows);
}

static void add_mlp(const struct wn_config *config, struct wn_layout *layout)
{
    const struct wn_decoder *decoder = &config->decoder;
    int64_t inner = config->intermediate_size;
    if (decoder->fused_mlp) {
        fuse(add(layout, NAME(decoder, gate), inner, WN_IN_MLP, config->mlp_bias), NAME(decoder, gate_up), 2 * inner, 0,
             inner, inner);
        fuse(add(layout, NAME(decoder, up), inner, WN_IN_MLP, config->mlp_bias), NAME(decoder, gate_up), 2 * inner,
             inner, inner, inner);
    } else {
        if (!decoder->plain)
            add(layout, NAME(decoder, gate), inner, WN_IN_MLP, config->mlp_bias);
        add(layout, NAME(decoder, up), inner, WN_IN_MLP, config->mlp_bias);
    }
    add(layout, NAME(decoder, down), config->hidden_size, WN_IN_DOWN, config->mlp_bias);
}

/* ---- vectors ---- */

static void set_vector(struct wn_layout *layout, int index, const char *name, const char *ending, int64_t size,
                       double offset)
{
    if (index < 0)
        return;
    layout->vectors[index] = (struct wn_vector_info){.size = size, .offset = offset};
    snprintf(layout->vectors[index].name, sizeof layout->vectors[index].name, "%s%s", name, ending);
}

static void set_vectors(const struct wn_config *config, const struct wn_decoder_parts *p, struct wn_layout *layout)
{
    const struct wn_decoder *decoder = &config->decoder;
    int64_t width = config->hidden_size, dim = config->head_dim;
    bool own = decoder->head_norm == WN_HEADS_OWN, all = own || decoder->head_norm == WN_HEADS_TOGETHER;
    double offset = decoder->norm_offset;
    layout->n_vectors = p->n_vectors;
    set_vector(layout, p->attention_norm, NAME(decoder, attention_norm), ".weight", width, offset);
    set_vector(layout, p->attention_norm_bias, NAME(decoder, attention_norm), ".bias", width, 0);
    set_vector(layout, p->mlp_norm, NAME(decoder, mlp_norm), ".weight", width, offset);
    set_vector(layout, p->mlp_norm_bias, NAME(decoder, mlp_norm), ".bias", width, 0);
    set_vector(layout, p->after_attention, NAME(decoder, after_attention), ".weight", width, offset);
    set_vector(layout, p->after_attention_bias, NAME(decoder, after_attention), ".bias", width, 0);
    set_vector(layout, p->after_mlp, NAME(decoder, after_mlp), ".weight", width, offset);
    set_vector(layout, p->after_mlp_bias, NAME(decoder, after_mlp), ".bias", width, 0);
    set_vector(layout, p->q_norm, NAME(decoder, q_norm), ".weight", all ? config->n_heads * dim : dim, offset);
    set_vector(layout, p->k_norm, NAME(decoder, k_norm), ".weight", all ? config->n_kv_heads * dim : dim, offset);
    for (int i = 0; own && i < 2; i++)
        layout->vectors[i ? p->k_norm : p->q_norm].parts = i ? config->n_kv_heads : config->n_heads;
}

/* ---- all ---- */

static void set_producers(const struct wn_config *config, const struct wn_decoder_parts *p, struct wn_layout *layout)
{
    const struct wn_decoder *decoder = &config->decoder;
    int64_t q = config->n_heads * config->head_dim;
    bool passes_on = !config->decoder.plain || config->decoder.activation == WN_RELU; /* a factor > 0 of `up` */
    for (int i = 0; i < layout->n_inputs; i++)
        layout->producer_vector[i] = layout->producer_bias[i] = layout->producer_linear[i] = -1;
    /* A norm that both branches read is a factor of two inputs. */
    layout->producer_vector[WN_IN_ATTENTION] = decoder->one_norm ? -1 : p->attention_norm;
    layout->producer_bias[WN_IN_ATTENTION] = decoder->one_norm ? -1 : p->attention_norm_bias;
    layout->producer_vector[WN_IN_MLP] = p->mlp_norm;
    layout->producer_bias[WN_IN_MLP] = p->mlp_norm_bias;
    layout->producer_linear[WN_IN_OUTPUT] =
        config->n_kv_heads == config->n_heads && q == config->hidden_size ? WN_V : -1;
    layout->producer_linear[WN_IN_DOWN] = passes_on ? p->up : -1;
}

static void outer_name(char to[64], const char *name, const char *ending)
{
    if (name)
        snprintf(to, 64, "%s%s", name, ending);
}

static void set_outer(const struct wn_config *config, struct wn_layout *layout)
{
    const struct wn_decoder *decoder = &config->decoder;
    snprintf(layout->block_prefix, sizeof layout->block_prefix, "%s", NAME(decoder, block_prefix));
    snprintf(layout->embedding, sizeof layout->embedding, "%s.weight", NAME(decoder, embedding));
    snprintf(layout->head, sizeof layout->head, "%s.weight", NAME(decoder, head));
    if (!decoder->no_final_norm) {
        outer_name(layout->final_norm, NAME(decoder, final_norm), ".weight");
        outer_name(layout->final_norm_bias, decoder->norm == WN_NORM_LAYER ? NAME(decoder, final_norm) : NULL, ".bias");
    }
    layout->n_positions = config->max_positions + decoder->position_offset;
    if (!decoder->names)
        return;
    outer_name(layout->positions, decoder->names->positions, ".weight");
    outer_name(layout->embedding_norm, decoder->names->embedding_norm, ".weight");
    outer_name(layout->embedding_norm_bias, decoder->names->embedding_norm, ".bias");
    outer_name(layout->project_in, config->embedding_size ? decoder->names->project_in : NULL, ".weight");
    outer_name(layout->project_out, config->embedding_size ? decoder->names->project_out : NULL, ".weight");
}

void wn_decoder_describe(const struct wn_config *config, struct wn_layout *layout)
{
    const struct wn_decoder_parts p = wn_decoder_parts(config);
    int64_t hidden = config->hidden_size;
    *layout = (struct wn_layout){
        .n_inputs = 4,
        .input_names = {"attention", "attention_output", "mlp", "mlp_down"},
        .input_widths = {hidden, config->n_heads * config->head_dim, hidden, config->intermediate_size},
        .input_branches = {WN_BRANCH_ATTENTION, WN_BRANCH_ATTENTION, WN_BRANCH_MLP, WN_BRANCH_MLP},
    };
    add_attention(config, layout);
    add_mlp(config, layout);
    for (int l = 0; l < layout->n_linears; l++)
        layout->linears[l].source.transposed = config->decoder.transposed;
    set_vectors(config, &p, layout);
    set_producers(config, &p, layout);
    set_outer(config, layout);
}
