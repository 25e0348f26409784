/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decoder_experts.c: a sparse mixture of experts in place of the MLP (arch.h, struct wn_experts; Shazeer et al.,
 * arXiv:1701.06538). The rows of an expert are those that chose it, in their order, and the rows of a chunk are a run
 * of their own: so which tiles they make follows from the data alone, and what experts give is added in the order of
 * experts. The router goes row by row: a row chooses the same experts whatever other rows are there.
 */
#include "decoder.h"

#include <winnow/linalg.h>

#include <math.h>
#include <string.h>

/* The rows of all experts, and the chunk that those of one make. */
struct routed {
    int32_t *experts;      /* [rows, chosen]: those of the chunk, or own */
    int32_t *own;          /* NULL: those of the chunk */
    float *values;         /* [chosen] */
    int64_t *first, *rows; /* rows[first[e]] .. rows[first[e + 1] - 1] are those of expert e, rows * chosen + place */
    int64_t *offset, *begin;
    struct wn_chunk chunk;
};

/* p of the chosen experts of each row, into `shares`. */
static void choose(const struct wn_decoder_call *c, const struct routed *routed)
{
    const struct wn_experts *experts = &c->config->decoder.experts;
    for (int64_t r = 0; r < c->rows; r++) {
        const float *scores = c->s.scores + r * experts->count;
        float *shares = c->s.shares + r * experts->chosen;
        int32_t *chosen = routed->experts + r * experts->chosen;
        double all = wn_log_sum_exp(scores, experts->count), sum = 0;
        if (!c->chunk->routes.fixed)
            wn_top_k(scores, experts->count, experts->chosen, routed->values, chosen);
        for (int64_t i = 0; i < experts->chosen; i++)
            routed->values[i] = scores[chosen[i]];
        for (int64_t i = 0; i < experts->chosen; i++)
            sum += exp((double)routed->values[i] - all);
        for (int64_t i = 0; i < experts->chosen; i++)
            shares[i] = (float)(exp((double)routed->values[i] - all) / (experts->is_weighted ? sum : 1));
    }
}

/* Sorts rows by expert; each keeps their order. */
static void sort_rows(const struct wn_decoder_call *c, struct routed *routed)
{
    const struct wn_experts *experts = &c->config->decoder.experts;
    const int64_t all = c->rows * experts->chosen;
    int64_t *next = routed->first + 1;
    for (int64_t i = 0; i < all; i++)
        next[routed->experts[i] + 1]++;
    for (int64_t e = 0; e < experts->count; e++)
        next[e + 1] += next[e];
    for (int64_t i = 0; i < all; i++)
        routed->rows[next[routed->experts[i]]++] = i;
}

static void route(const struct wn_decoder_call *c, const float *x, struct routed *routed)
{
    const struct wn_experts *experts = &c->config->decoder.experts;
    int32_t *given = c->chunk->routes.experts, *own = NULL;
    if (!given)
        own = wn_alloc(c->rows * experts->chosen, sizeof *own);
    *routed = (struct routed){.experts = given ? given : own,
                              .own = own,
                              .values = wn_alloc(experts->chosen, sizeof(float)),
                              .first = wn_alloc_zero(experts->count + 2, sizeof(int64_t)),
                              .rows = wn_alloc(c->rows * experts->chosen, sizeof(int64_t)),
                              .offset = wn_alloc(c->chunk->n_sequences + 1, sizeof(int64_t)),
                              .begin = wn_alloc(c->chunk->n_chunks + 1, sizeof(int64_t))};
    wn_linear_few_rows(x, c->rows, c->config->hidden_size, c->block->vectors[c->parts.router], experts->count, NULL,
                       c->s.scores, experts->count);
    choose(c, routed);
    sort_rows(c, routed);
}

static void forget(struct routed *routed)
{
    wn_free(routed->own);
    wn_free(routed->values);
    wn_free(routed->first);
    wn_free(routed->rows);
    wn_free(routed->offset);
    wn_free(routed->begin);
}

/* The sequences of the chunk as far as an expert sees them; those it sees nothing of are left out. */
static void cut(const struct wn_decoder_call *c, int expert, struct routed *routed)
{
    const struct wn_chunk *chunk = c->chunk;
    const int64_t *row = routed->rows + routed->first[expert], chosen = c->config->decoder.experts.chosen;
    const int64_t count = routed->first[expert + 1] - routed->first[expert];
    int64_t done = 0, sequences = 0, n_chunks = 0;
    routed->offset[0] = routed->begin[0] = 0;
    for (int64_t s = 0; s < chunk->n_sequences; s++) {
        int64_t before = done;
        for (; done < count && row[done] / chosen < chunk->offset[s + 1]; done++)
            ;
        if (done > before)
            routed->offset[++sequences] = done;
        while (n_chunks < chunk->n_chunks && chunk->first[n_chunks + 1] - chunk->first[0] == s + 1)
            routed->begin[++n_chunks] = sequences;
    }
    routed->chunk = (struct wn_chunk){.n_sequences = sequences,
                                      .offset = routed->offset,
                                      .past = chunk->past,
                                      .n_chunks = chunk->n_chunks,
                                      .first = routed->begin,
                                      .of_expert = true};
}

static void gather(const struct wn_decoder_call *c, const int64_t *row, int64_t count, const float *x, float *to)
{
    const int64_t width = c->config->hidden_size, chosen = c->config->decoder.experts.chosen;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++)
        memcpy(to + i * width, x + row[i] / chosen * width, (size_t)width * sizeof *to);
}

/* Adds what an expert gives to its rows, times their shares. */
static void scatter(const struct wn_decoder_call *c, const int64_t *row, int64_t count, const float *from)
{
    const int64_t width = c->config->hidden_size, chosen = c->config->decoder.experts.chosen;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float *to = c->s.sum + row[i] / chosen * width, share = c->s.shares[row[i]];
        for (int64_t j = 0; j < width; j++)
            to[j] += share * from[i * width + j];
    }
}

static void add_shared(const struct wn_decoder_call *c, const float *x)
{
    const int64_t width = c->config->hidden_size;
    wn_decoder_mlp(c, &c->parts.shared, x, c->s.some);
    wn_linear_few_rows(x, c->rows, width, c->block->vectors[c->parts.shared_gate], 1, NULL, c->s.scores, 1);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < c->rows; r++) {
        float share = (float)(1 / (1 + exp(-(double)c->s.scores[r])));
        for (int64_t j = 0; j < width; j++)
            c->s.sum[r * width + j] += share * c->s.some[r * width + j];
    }
}

void wn_decoder_experts(const struct wn_decoder_call *call, const float *x, float *y)
{
    const struct wn_experts *experts = &call->config->decoder.experts;
    const size_t bytes = (size_t)(call->rows * call->config->hidden_size) * sizeof *y;
    struct routed routed;
    route(call, x, &routed);
    memset(call->s.sum, 0, bytes);
    for (int e = 0; e < experts->count; e++) {
        const int64_t *row = routed.rows + routed.first[e], count = routed.first[e + 1] - routed.first[e];
        const struct wn_mlp mlp = wn_expert_of(&call->parts, e);
        struct wn_decoder_call of_expert = *call;
        if (count == 0)
            continue;
        cut(call, e, &routed);
        of_expert.chunk = &routed.chunk;
        of_expert.rows = count;
        gather(call, row, count, x, call->s.some);
        wn_decoder_mlp(&of_expert, &mlp, call->s.some, call->s.some);
        scatter(call, row, count, call->s.some);
    }
    if (experts->shared)
        add_shared(call, x);
    memcpy(y, call->s.sum, bytes);
    forget(&routed);
}
