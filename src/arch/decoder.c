/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decoder.c: one block of a decoder, by its options (arch.h). In llama's order:
 *
 *     h += o(attention(rope(q(n)), rope(k(n)), v(n))),  n = norm(h)
 *     h += down(silu(gate(m)) * up(m)),                 m = norm(h)
 */
#include "decoder.h"

#include <winnow/linalg.h>

#include <math.h>
#include <string.h>

/* Takes `count` floats off the front, rounded up to whole cache lines. */
static float *take(float *base, int64_t *used, int64_t count)
{
    float *part = base ? base + *used : NULL;
    *used += (count + 15) / 16 * 16;
    return part;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t largest_hidden_layer(const struct wn_config *config)
{
    const struct wn_decoder_parts parts = wn_decoder_parts(config);
    return larger(parts.mlp.size, larger(parts.shared.size, parts.expert.size));
}

/* With base NULL, only the size is of use. */
static struct wn_decoder_scratch_parts lay_out(const struct wn_config *config, int64_t rows, float *base)
{
    struct wn_decoder_scratch_parts s;
    int64_t used = 0, q = config->n_heads * config->head_dim, kv = config->n_kv_heads * config->head_dim;
    int64_t inner = largest_hidden_layer(config);
    const struct wn_experts *experts = &config->decoder.experts;
    s.normed = take(base, &used, rows * config->hidden_size);
    s.aside = take(base, &used, config->decoder.parallel ? rows * config->hidden_size : 0);
    int64_t shared = used, attention_end;
    s.cosine = take(base, &used, rows * config->head_dim / 2);
    s.sine = take(base, &used, rows * config->head_dim / 2);
    s.q = take(base, &used, rows * q);
    s.k = take(base, &used, rows * kv);
    s.v = take(base, &used, rows * kv);
    s.mix = take(base, &used, rows * q);
    s.slopes = take(base, &used, config->decoder.slopes ? config->n_heads : 0);
    attention_end = used;
    used = shared;
    s.gate = take(base, &used, config->decoder.plain ? 0 : rows * inner);
    s.up = take(base, &used, rows * inner);
    s.sum = take(base, &used, experts->count ? rows * config->hidden_size : 0);
    s.some = take(base, &used, experts->count ? rows * config->hidden_size : 0);
    s.scores = take(base, &used, rows * experts->count);
    s.shares = take(base, &used, rows * experts->chosen);
    s.size = used > attention_end ? used : attention_end;
    return s;
}

int64_t wn_decoder_scratch(const struct wn_config *config, int64_t rows)
{
    return lay_out(config, rows, NULL).size;
}

static struct wn_decoder_call begin(const struct wn_config *config, const struct wn_block *block,
                                    const struct wn_chunk *chunk, float *scratch, const struct wn_tap *tap)
{
    int64_t rows = chunk->offset[chunk->n_sequences];
    return (struct wn_decoder_call){config, block, chunk, tap, wn_decoder_parts(config), lay_out(config, rows, scratch),
                                    rows};
}

void wn_decoder_tell(const struct wn_decoder_call *c, int input, const float *x, int64_t width)
{
    int64_t row[WN_GROUP_CHUNKS + 1], n_chunks = wn_chunk_rows(c->chunk, row);
    if (c->tap)
        c->tap->take(c->tap->context, input, x, n_chunks, row, width);
}

/* y = the norm of x; they may be the same. */
static void norm(const struct wn_decoder_call *c, const float *x, int vector, int bias, float *y)
{
    const struct wn_config *config = c->config;
    const float *weight = vector < 0 ? NULL : c->block->vectors[vector];
    if (weight && config->decoder.norm == WN_NORM_LAYER)
        wn_layer_norm(x, c->rows, config->hidden_size, weight, bias < 0 ? NULL : c->block->vectors[bias],
                      config->norm_eps, y);
    else if (weight)
        wn_rms_norm(x, c->rows, config->hidden_size, weight, 0, config->norm_eps, y);
}

/* ---- attention ---- */

static void norm_heads(const struct wn_decoder_call *c, int vector, int64_t heads, float *x)
{
    const struct wn_config *config = c->config;
    int64_t dim = config->head_dim;
    if (config->decoder.head_norm == WN_HEADS_EACH)
        wn_rms_norm(x, c->rows * heads, dim, c->block->vectors[vector], 0, config->norm_eps, x);
    if (config->decoder.head_norm == WN_HEADS_OWN)
        wn_layer_norm_heads(x, c->rows, heads, dim, c->block->vectors[vector], config->norm_eps);
    if (config->decoder.head_norm == WN_HEADS_TOGETHER)
        wn_rms_norm(x, c->rows, heads * dim, c->block->vectors[vector], 0, config->norm_eps, x);
}

static void rotate(const struct wn_decoder_call *c)
{
    const struct wn_config *config = c->config;
    const struct wn_decoder *decoder = &config->decoder;
    uint8_t bits = decoder->blocks[c->block->index];
    const struct wn_rope *rope =
        bits & WN_BLOCK_SLIDES && decoder->window_rope.theta > 0 ? &decoder->window_rope : &config->rope;
    int64_t dims = wn_rope_dims(rope, config->head_dim);
    if (decoder->no_rope || bits & WN_BLOCK_HAS_NO_ROPE)
        return;
    wn_rope_chunk_table(rope, config->head_dim, c->chunk->n_sequences, c->chunk->offset, c->chunk->start, c->s.cosine,
                        c->s.sine);
    wn_rope_apply(c->s.cosine, c->s.sine, c->s.q, c->rows, config->n_heads, config->head_dim, dims);
    wn_rope_apply(c->s.cosine, c->s.sine, c->s.k, c->rows, config->n_kv_heads, config->head_dim, dims);
}

static struct wn_attention_rule attention_rule(const struct wn_decoder_call *c)
{
    const struct wn_decoder *decoder = &c->config->decoder;
    double scale = decoder->attention_scale > 0 ? decoder->attention_scale : 1.0 / sqrt((double)c->config->head_dim);
    if (decoder->scale_by_inverse_index)
        scale /= (double)(c->block->index + 1);
    bool slides = decoder->blocks[c->block->index] & WN_BLOCK_SLIDES;
    if (decoder->slopes)
        wn_alibi_slopes(c->config->n_heads, c->s.slopes);
    return (struct wn_attention_rule){.scale = (float)scale,
                                      .softcap = (float)decoder->attention_softcap,
                                      .window = slides ? c->config->window : 0,
                                      .slopes = decoder->slopes ? c->s.slopes : NULL,
                                      .rounded_slopes = decoder->slopes == WN_SLOPES_ROUNDED};
}

/* y = attention of its normed input x; they may be the same. */
static void attend(const struct wn_decoder_call *c, const float *x, float *y)
{
    const struct wn_config *config = c->config;
    const struct wn_chunk *chunk = c->chunk;
    int64_t width = config->hidden_size, dim = config->head_dim, heads = config->n_heads, kv = config->n_kv_heads;
    const struct wn_block_output outputs[] = {
        {WN_Q, heads * dim, c->s.q}, {WN_K, kv * dim, c->s.k}, {WN_V, kv * dim, c->s.v}};
    const struct wn_attention_rule rule = attention_rule(c);
    wn_decoder_tell(c, WN_IN_ATTENTION, x, width);
    wn_block_linears(c->block, chunk, x, width, outputs, 3);
    norm_heads(c, c->parts.q_norm, heads, c->s.q);
    norm_heads(c, c->parts.k_norm, kv, c->s.k);
    rotate(c);
    if (chunk->past)
        wn_past_keep(chunk->past, c->s.k, c->s.v, chunk->n_sequences, chunk->offset, kv, dim);
    wn_attention(c->s.q, c->s.k, c->s.v, chunk->n_sequences, chunk->offset, heads, kv, dim, &rule, chunk->past,
                 c->s.mix);
    wn_decoder_tell(c, WN_IN_OUTPUT, c->s.mix, heads * dim);
    wn_block_linear(c->block, WN_O, chunk, c->s.mix, heads * dim, width, y);
}

/* ---- MLP ---- */

void wn_decoder_mlp(const struct wn_decoder_call *c, const struct wn_mlp *mlp, const float *x, float *y)
{
    const struct wn_config *config = c->config;
    int64_t width = config->hidden_size, inner = mlp->size;
    const struct wn_block_output outputs[] = {{mlp->gate, inner, c->s.gate}, {mlp->up, inner, c->s.up}};
    float *inside = config->decoder.plain ? c->s.up : c->s.gate;
    wn_decoder_tell(c, mlp->input, x, width);
    wn_block_linears(c->block, c->chunk, x, width, outputs + config->decoder.plain, 2 - config->decoder.plain);
    wn_nonlinear(config->decoder.activation, inside, config->decoder.plain ? NULL : c->s.up, c->rows * inner);
    wn_decoder_tell(c, mlp->inside, inside, inner);
    wn_block_linear(c->block, mlp->down, c->chunk, inside, inner, width, y);
}

static void run_mlp(const struct wn_decoder_call *c, const float *x, float *y)
{
    if (wn_is_in(c->config, WN_SPARSE_BLOCKS, c->block->index) && c->config->decoder.experts.count)
        wn_decoder_experts(c, x, y);
    else
        wn_decoder_mlp(c, &c->parts.mlp, x, y);
}

/* ---- the block ---- */

/* What a branch gives, made what is added to the hidden state. */
static void finish(const struct wn_decoder_call *c, enum wn_branch branch, float *y)
{
    double factor = c->config->decoder.residual_factor;
    if (c->config->decoder.norm_place != WN_NORM_BEHIND)
        norm(c, y, branch == WN_BRANCH_ATTENTION ? c->parts.after_attention : c->parts.after_mlp, -1, y);
    if (factor > 0)
        wn_scale(y, (float)factor, c->rows * c->config->hidden_size);
}

/* hidden += what a branch gives. */
static void add(const struct wn_decoder_call *c, enum wn_branch branch, float *hidden, const float *added)
{
    int64_t width = c->config->hidden_size;
    if (c->tap && c->tap->add)
        c->tap->add(c->tap->context, branch, hidden, added, c->rows, width);
    wn_add(hidden, added, c->rows * width);
}

/* Where a norm stands behind what the branch was added to; it stays when the branch is left out. */
static void norm_behind(const struct wn_decoder_call *c, enum wn_branch branch, float *hidden)
{
    bool attention = branch == WN_BRANCH_ATTENTION;
    if (c->config->decoder.norm_place == WN_NORM_BEHIND)
        norm(c, hidden, attention ? c->parts.after_attention : c->parts.after_mlp,
             attention ? c->parts.after_attention_bias : c->parts.after_mlp_bias, hidden);
}

/* The input of a branch: `to`, or the hidden state itself where no norm stands before the branch. */
static const float *enter(const struct wn_decoder_call *c, enum wn_branch branch, const float *hidden, float *to)
{
    bool attention = branch == WN_BRANCH_ATTENTION;
    int vector = attention ? c->parts.attention_norm : c->parts.mlp_norm;
    norm(c, hidden, vector, attention ? c->parts.attention_norm_bias : c->parts.mlp_norm_bias, to);
    return vector < 0 ? hidden : to;
}

void wn_decoder_run_block(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                          float *hidden, float *scratch, const struct wn_tap *tap)
{
    const struct wn_decoder_call c = begin(config, block, chunk, scratch, tap);
    const float *mlp_input = NULL;
    if (block->skip[WN_BRANCH_ATTENTION] && block->skip[WN_BRANCH_MLP])
        return;
    if (config->decoder.parallel && !block->skip[WN_BRANCH_MLP])
        mlp_input = enter(&c, config->decoder.one_norm ? WN_BRANCH_ATTENTION : WN_BRANCH_MLP, hidden, c.s.aside);
    if (!block->skip[WN_BRANCH_ATTENTION]) {
        attend(&c, enter(&c, WN_BRANCH_ATTENTION, hidden, c.s.normed), c.s.normed);
        finish(&c, WN_BRANCH_ATTENTION, c.s.normed);
        add(&c, WN_BRANCH_ATTENTION, hidden, c.s.normed);
    }
    norm_behind(&c, WN_BRANCH_ATTENTION, hidden);
    if (!block->skip[WN_BRANCH_MLP]) {
        run_mlp(&c, mlp_input ? mlp_input : enter(&c, WN_BRANCH_MLP, hidden, c.s.normed), c.s.normed);
        finish(&c, WN_BRANCH_MLP, c.s.normed);
        add(&c, WN_BRANCH_MLP, hidden, c.s.normed);
    }
    norm_behind(&c, WN_BRANCH_MLP, hidden);
}

/* The MLP whose linears read an input, and whether they are the last of it. */
static struct wn_mlp mlp_of(const struct wn_decoder_call *c, int input, bool *inside)
{
    const struct wn_decoder_parts *parts = &c->parts;
    int count = (int)c->config->decoder.experts.count;
    struct wn_mlp mlp = input == parts->mlp.input || input == parts->mlp.inside ? parts->mlp : parts->shared;
    if (count && input >= parts->expert.input)
        mlp = wn_expert_of(parts, (input - parts->expert.input) % count);
    *inside = input == mlp.inside;
    return mlp;
}

void wn_decoder_run_part(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                         int input, const float *x, float *scratch, float *y)
{
    const struct wn_decoder_call c = begin(config, block, chunk, scratch, NULL);
    const bool attention = input == WN_IN_ATTENTION || input == WN_IN_OUTPUT;
    bool inside = input == WN_IN_OUTPUT;
    const struct wn_mlp mlp = attention ? c.parts.mlp : mlp_of(&c, input, &inside);
    if (input == WN_IN_ATTENTION)
        attend(&c, x, y);
    else if (input == WN_IN_OUTPUT)
        wn_block_linear(block, WN_O, chunk, x, config->n_heads * config->head_dim, config->hidden_size, y);
    else if (inside)
        wn_block_linear(block, mlp.down, chunk, x, mlp.size, config->hidden_size, y);
    else
        wn_decoder_mlp(&c, &mlp, x, y);
    finish(&c, attention ? WN_BRANCH_ATTENTION : WN_BRANCH_MLP, y);
}
