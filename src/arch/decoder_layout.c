/* SPDX-License-Identifier: Apache-2.0 */
/* decoder_layout.c: the tensors of a decoder. */
#include "decoder.h"

#include <stdio.h>
#include <string.h>

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
    .router = "mlp.gate",
    .expert = "mlp.experts.%d.",
    .expert_gate = "gate_proj",
    .expert_up = "up_proj",
    .expert_down = "down_proj",
    .shared = "mlp.shared_expert.",
    .shared_gate = "mlp.shared_expert_gate",
};

/* A name of the architecture, or llama's. */
#define NAME(decoder, part) ((decoder)->names && (decoder)->names->part ? (decoder)->names->part : llama_names.part)

static bool has_dense_blocks(const struct wn_config *config)
{
    for (int64_t b = 0; b < config->n_blocks; b++)
        if (wn_is_in(config, WN_DENSE_BLOCKS, b))
            return true;
    return false;
}

static struct wn_mlp next_mlp(struct wn_decoder_parts *p, bool gated, int64_t size)
{
    struct wn_mlp mlp = {.gate = gated ? p->n_linears++ : -1, .size = size};
    mlp.up = p->n_linears++;
    mlp.down = p->n_linears++;
    mlp.input = p->n_inputs++;
    mlp.inside = p->n_inputs++;
    return mlp;
}

struct wn_mlp wn_expert_of(const struct wn_decoder_parts *parts, int expert)
{
    struct wn_mlp mlp = parts->expert;
    mlp.gate += 3 * expert;
    mlp.up += 3 * expert;
    mlp.down += 3 * expert;
    mlp.input += expert;
    mlp.inside += expert;
    return mlp;
}

struct wn_decoder_parts wn_decoder_parts(const struct wn_config *config)
{
    const struct wn_decoder *decoder = &config->decoder;
    const struct wn_mlp none = {-1, -1, -1, -1, -1, 0};
    struct wn_decoder_parts p = {none, none, none, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0};
    const struct wn_experts *experts = &decoder->experts;
    bool before = decoder->norm_place == WN_NORM_BEFORE || decoder->norm_place == WN_NORM_AROUND;
    bool after = decoder->norm_place != WN_NORM_BEFORE, biased = decoder->norm == WN_NORM_LAYER;
    p.n_linears = WN_O + 1;
    p.n_inputs = WN_IN_OUTPUT + 1;
    if (!experts->count || has_dense_blocks(config))
        p.mlp = next_mlp(&p, !decoder->plain, config->intermediate_size);
    if (experts->shared)
        p.shared = next_mlp(&p, true, experts->shared);
    if (experts->count)
        p.expert = next_mlp(&p, true, experts->size);
    if (experts->count > 1) {
        p.n_linears += 3 * ((int)experts->count - 1);
        p.expert.inside = p.expert.input + (int)experts->count;
        p.n_inputs = p.expert.inside + (int)experts->count;
    }
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
    if (experts->count)
        p.router = p.n_vectors++;
    if (experts->shared)
        p.shared_gate = p.n_vectors++;
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

/* Names of an MLP that is in one tensor each. */
struct mlp_names {
    const char *before, *gate, *up, *down;
};

static void add_one(struct wn_layout *layout, const char *before, const char *name, int64_t rows, int input, bool bias,
                    enum wn_where where)
{
    char *full = wn_format("%s%s", before, name);
    add(layout, full, rows, input, bias)->where = where;
    wn_free(full);
}

static void add_mlp_of(const struct wn_config *config, struct wn_layout *layout, const struct wn_mlp *mlp,
                       const struct mlp_names *names, enum wn_where where)
{
    bool bias = config->mlp_bias;
    if (mlp->gate >= 0)
        add_one(layout, names->before, names->gate, mlp->size, mlp->input, bias, where);
    add_one(layout, names->before, names->up, mlp->size, mlp->input, bias, where);
    add_one(layout, names->before, names->down, config->hidden_size, mlp->inside, bias, where);
}

static void add_experts(const struct wn_config *config, const struct wn_decoder_parts *p, struct wn_layout *layout)
{
    const struct wn_decoder *decoder = &config->decoder;
    struct mlp_names names = {NAME(decoder, shared), NAME(decoder, expert_gate), NAME(decoder, expert_up),
                              NAME(decoder, expert_down)};
    const char *prefix = NAME(decoder, expert), *number = strstr(prefix, "%d");
    if (decoder->experts.shared)
        add_mlp_of(config, layout, &p->shared, &names, WN_SPARSE_BLOCKS);
    for (int e = 0; number && e < decoder->experts.count; e++) {
        const struct wn_mlp mlp = wn_expert_of(p, e);
        char *before = wn_format("%.*s%d%s", (int)(number - prefix), prefix, e, number + 2);
        names.before = before;
        add_mlp_of(config, layout, &mlp, &names, WN_SPARSE_BLOCKS);
        wn_free(before);
    }
}

static void add_mlp(const struct wn_config *config, const struct wn_decoder_parts *p, struct wn_layout *layout)
{
    const struct wn_decoder *decoder = &config->decoder;
    const struct mlp_names names = {"", NAME(decoder, gate), NAME(decoder, up), NAME(decoder, down)};
    const char *fused = NAME(decoder, gate_up);
    int64_t inner = config->intermediate_size;
    int first = layout->n_linears;
    add_mlp_of(config, layout, &p->mlp, &names, decoder->experts.count ? WN_DENSE_BLOCKS : WN_EVERY_BLOCK);
    for (int i = 0; i < 2 && decoder->fused_mlp && fused; i++)
        fuse(&layout->linears[first + i], fused, 2 * inner, i * inner, inner, inner);
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

static void set_matrix(struct wn_layout *layout, int index, const char *name, int64_t rows, int64_t columns)
{
    set_vector(layout, index, name, ".weight", rows * columns, 0);
    if (index < 0)
        return;
    layout->vectors[index].columns = columns;
    layout->vectors[index].where = WN_SPARSE_BLOCKS;
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
    set_matrix(layout, p->router, NAME(decoder, router), decoder->experts.count, width);
    set_matrix(layout, p->shared_gate, NAME(decoder, shared_gate), 1, width);
}

/* ---- all ---- */

/* Name, width and step of the inputs of an MLP; a factor > 0 of `up` passes on to what is inside. */
static void set_inputs_of(const struct wn_config *config, struct wn_layout *layout, const struct wn_mlp *mlp,
                          const char *name, int expert)
{
    bool passes_on = !config->decoder.plain || config->decoder.activation == WN_RELU;
    layout->input_widths[mlp->input] = config->hidden_size;
    layout->input_widths[mlp->inside] = mlp->size;
    layout->input_branches[mlp->input] = layout->input_branches[mlp->inside] = WN_BRANCH_MLP;
    layout->input_experts[mlp->input] = layout->input_experts[mlp->inside] = (int16_t)expert;
    layout->input_steps[mlp->input] = WN_IN_OUTPUT + 1;
    layout->input_steps[mlp->inside] = WN_IN_OUTPUT + 2;
    layout->producer_linear[mlp->inside] = passes_on ? mlp->up : -1;
    snprintf(layout->input_names[mlp->input], sizeof *layout->input_names, "%s", name);
    snprintf(layout->input_names[mlp->inside], sizeof *layout->input_names, "%s_down", name);
}

/* The norm in front of a mixture is read by all experts, the router and the shared expert: it is nobody's producer. */
static void set_inputs(const struct wn_config *config, const struct wn_decoder_parts *p, struct wn_layout *layout)
{
    const struct wn_decoder *decoder = &config->decoder;
    int64_t q = config->n_heads * config->head_dim;
    layout->n_inputs = p->n_inputs;
    for (int i = 0; i < layout->n_inputs; i++)
        layout->producer_vector[i] = layout->producer_bias[i] = layout->producer_linear[i] = -1;
    layout->input_widths[WN_IN_ATTENTION] = config->hidden_size;
    layout->input_widths[WN_IN_OUTPUT] = q;
    layout->input_steps[WN_IN_OUTPUT] = WN_IN_OUTPUT;
    snprintf(layout->input_names[WN_IN_ATTENTION], sizeof *layout->input_names, "attention");
    snprintf(layout->input_names[WN_IN_OUTPUT], sizeof *layout->input_names, "attention_output");
    /* A norm that both branches read is a factor of two inputs. */
    layout->producer_vector[WN_IN_ATTENTION] = decoder->one_norm ? -1 : p->attention_norm;
    layout->producer_bias[WN_IN_ATTENTION] = decoder->one_norm ? -1 : p->attention_norm_bias;
    layout->producer_linear[WN_IN_OUTPUT] =
        config->n_kv_heads == config->n_heads && q == config->hidden_size ? WN_V : -1;
    if (p->mlp.input >= 0) {
        set_inputs_of(config, layout, &p->mlp, "mlp", 0);
        layout->producer_vector[p->mlp.input] = p->mlp_norm;
        layout->producer_bias[p->mlp.input] = p->mlp_norm_bias;
    }
    if (p->shared.input >= 0)
        set_inputs_of(config, layout, &p->shared, "shared_expert", 0);
    for (int e = 0; e < config->decoder.experts.count; e++) {
        const struct wn_mlp mlp = wn_expert_of(p, e);
        char name[24];
        snprintf(name, sizeof name, "expert_%d", e);
        set_inputs_of(config, layout, &mlp, name, e + 1);
    }
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
    memset(layout, 0, sizeof *layout);
    set_inputs(config, &p, layout);
    add_attention(config, layout);
    if (p.mlp.up >= 0)
        add_mlp(config, &p, layout);
    if (p.expert.up >= 0)
        add_experts(config, &p, layout);
    for (int l = 0; l < layout->n_linears; l++)
        layout->linears[l].source.transposed = config->decoder.transposed;
    set_vectors(config, &p, layout);
    set_outer(config, layout);
}
