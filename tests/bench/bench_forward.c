/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of the forward pass on Llama-shaped models with random weights, against one large single-threaded sgemm of the
 * same run: tokens/s, share of the sgemm rate per core (useful multiplications only), and where the time goes.
 *
 *     bench_forward [threads [repetitions [cpu]]]
 *
 * Pieces are timed in turn, the fastest of all repetitions counts, since other programs disturb short pieces less than
 * whole passes: embedding and final norm, one block as a whole, its linears alone, its attention alone, the head for
 * 512 rows. A pass is the sum over all blocks and rows. "rest" is what a block takes beyond linears and attention
 * (norms, rotation, activations, additions), with embedding and final norm.
 *
 * For several threads every piece is also timed on one thread, in turn: times as fast, the share of the work that is
 * serial if the rest were shared evenly (Amdahl), and times as fast on 32 threads at most by that share. There "rest"
 * is the functions themselves, not a difference, which noise would swamp.
 */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/linalg.h>
#include <winnow/model.h>

#include "clock.h"

enum { SGEMM = 2048, HEAD_ROWS = 512 };

struct shape {
    const char *name;
    int64_t hidden, inner, blocks, heads, kv_heads, head_dim, vocabulary, length, tokens;
};

static const struct shape shapes[] = {
    {"134M length 512", 768, 2048, 12, 12, 12, 64, 32000, 512, 2048},
    {"134M length 2048", 768, 2048, 12, 12, 12, 64, 32000, 2048, 2048},
    {"1.1B length 2048", 2048, 5632, 22, 32, 4, 64, 32000, 2048, 2048},
    {"tiny length 512", 128, 384, 4, 4, 2, 32, 1024, 512, 2048},
    {"tiny length 40", 128, 384, 4, 4, 2, 32, 1024, 40, 2000},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

struct best {
    double sgemm, ends, block, linears, attention, head, rest;
};

struct state {
    struct wn_model model;
    struct wn_tensor table;
    struct wn_block *block;
    struct wn_chunk chunk;
    int64_t *offset, rows;
    int32_t *ids;
    float *hidden, *other, *scratch, *logits, *panel, *table_data, *cosine, *sine;
    float *square; /* three of [SGEMM, SGEMM]; borrowed */
};

static float *random_floats(int64_t count, double scale)
{
    float *x = wn_alloc(count, sizeof *x);
    uint64_t bits = 88172645463325252u;
    for (int64_t i = 0; i < count; i++) {
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        x[i] = (float)(scale * ((double)(bits >> 40) / (1 << 23) - 1));
    }
    return x;
}

static void make_model(struct state *s, const struct shape *shape)
{
    int64_t n_archs;
    struct wn_model *m = &s->model;
    m->arch = wn_arch_table(&n_archs)[0];
    m->config = (struct wn_config){.vocab_size = shape->vocabulary,
                                   .hidden_size = shape->hidden,
                                   .intermediate_size = shape->inner,
                                   .n_blocks = shape->blocks,
                                   .n_heads = shape->heads,
                                   .n_kv_heads = shape->kv_heads,
                                   .head_dim = shape->head_dim,
                                   .max_positions = 4096,
                                   .norm_eps = 1e-5,
                                   .rope = {.kind = WN_ROPE_DEFAULT, .theta = 10000, .factor = 1},
                                   .tied = true};
    m->arch->describe(&m->config, &m->layout);
    s->table_data = random_floats(shape->vocabulary * shape->hidden, 1);
    s->table = (struct wn_tensor){.dtype = WN_F32, .n_dims = 2, .data = (const uint8_t *)s->table_data};
    s->table.bytes = shape->vocabulary * shape->hidden * 4;
    m->embedding = m->head = &s->table;
    m->final_norm = random_floats(shape->hidden, 1);
    s->block = wn_block_create(m);
    for (int i = 0; i < m->layout.n_linears; i++) {
        int64_t count = m->layout.linears[i].rows * m->layout.linears[i].columns;
        float *values = random_floats(count, 0.02);
        memcpy(s->block->linears[i], values, (size_t)count * sizeof *values);
        wn_free(values);
    }
    for (int i = 0; i < m->layout.n_vectors; i++)
        for (int64_t j = 0; j < m->layout.vectors[i].size; j++)
            s->block->vectors[i][j] = 1;
}

static void make_state(struct state *s, const struct shape *shape)
{
    memset(s, 0, sizeof *s);
    make_model(s, shape);
    int64_t widest = 2 * shape->inner + 4 * shape->heads * shape->head_dim, n = shape->tokens / shape->length;
    s->rows = shape->tokens;
    s->offset = wn_alloc(n + 1, sizeof *s->offset);
    for (int64_t i = 0; i <= n; i++)
        s->offset[i] = i * shape->length;
    s->chunk = (struct wn_chunk){.n_sequences = n, .offset = s->offset};
    s->ids = wn_alloc_zero(s->rows, sizeof *s->ids);
    for (int64_t i = 0; i < s->rows; i++)
        s->ids[i] = (int32_t)(i * 7919 % shape->vocabulary);
    s->hidden = random_floats(s->rows * shape->hidden, 1);
    s->other = random_floats(s->rows * widest, 1);
    s->scratch = wn_alloc_zero(wn_model_scratch(&s->model, s->rows), sizeof(float));
    s->logits = wn_alloc_zero(HEAD_ROWS * shape->vocabulary, sizeof(float));
    s->panel = wn_alloc(wn_model_head_scratch(&s->model), sizeof(float));
    s->cosine = wn_alloc_zero(s->rows * shape->head_dim / 2, sizeof(float));
    s->sine = wn_alloc_zero(s->rows * shape->head_dim / 2, sizeof(float));
}

static void release_state(struct state *s)
{
    wn_block_destroy(&s->block, &s->model);
    void *parts[] = {s->offset, s->ids,        s->hidden,           s->other,  s->scratch, s->logits,
                     s->panel,  s->table_data, s->model.final_norm, s->cosine, s->sine};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        wn_free(parts[i]);
}

/* ---- the stages ---- */

static void run_ends(struct state *s)
{
    wn_model_final_norm(&s->model, s->hidden, s->rows, s->hidden);
    wn_model_embed(&s->model, s->ids, NULL, s->rows, s->hidden);
}

static void run_block(struct state *s)
{
    wn_model_run_block(&s->model, s->block, &s->chunk, s->hidden, s->scratch, NULL);
}

static void run_linears(struct state *s)
{
    const struct wn_layout *layout = &s->model.layout;
    for (int i = 0; i < layout->n_linears; i++)
        wn_linear(s->other, s->rows, layout->linears[i].columns, s->block->linears[i], layout->linears[i].rows, NULL,
                  s->scratch);
}

static void run_attention(struct state *s)
{
    const struct wn_config *c = &s->model.config;
    int64_t q = s->rows * c->n_heads * c->head_dim, kv = s->rows * c->n_kv_heads * c->head_dim;
    const struct wn_attention_rule rule = {.scale = 0.125f};
    wn_attention(s->other, s->other + q, s->other + q + kv, s->chunk.n_sequences, s->offset, c->n_heads, c->n_kv_heads,
                 c->head_dim, &rule, NULL, s->scratch);
}

static void run_head(struct state *s)
{
    wn_model_logits(&s->model, s->hidden, HEAD_ROWS, s->logits, s->panel);
}

/* What a block does beside linears and attention, one function after the other. */
static void run_rest(struct state *s)
{
    const struct wn_config *c = &s->model.config;
    float *gate = s->other, *up = s->other + s->rows * c->intermediate_size, *projected = s->scratch;
    for (int half = 0; half < 2; half++) {
        wn_rms_norm(s->hidden, s->rows, c->hidden_size, s->model.final_norm, 0, c->norm_eps, projected);
        wn_add(s->hidden, projected, s->rows * c->hidden_size);
    }
    wn_rope_apply(s->cosine, s->sine, gate, s->rows, c->n_heads, c->head_dim, c->head_dim);
    wn_rope_apply(s->cosine, s->sine, gate, s->rows, c->n_kv_heads, c->head_dim, c->head_dim);
    wn_nonlinear(WN_SILU, gate, up, s->rows * c->intermediate_size);
}

static void time_piece(void (*piece)(struct state *), struct state *s, int threads, double *best)
{
    double start = seconds_now(threads);
    piece(s);
    double seconds = seconds_now(threads) - start;
    if (*best == 0 || seconds < *best)
        *best = seconds;
}

static void run_sgemm(struct state *s)
{
    const float *a = s->square, *b = a + SGEMM * SGEMM;
    int threads = wn_blas_begin();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SGEMM, SGEMM, SGEMM, 1, a, SGEMM, b, SGEMM, 0,
                s->square + 2 * SGEMM * SGEMM, SGEMM);
    wn_blas_end(threads);
}

static void repeat_once(struct state *s, int threads, struct best *best)
{
    time_piece(run_sgemm, s, 1, &best->sgemm);
    time_piece(run_ends, s, threads, &best->ends);
    time_piece(run_block, s, threads, &best->block);
    time_piece(run_linears, s, threads, &best->linears);
    time_piece(run_attention, s, threads, &best->attention);
    time_piece(run_head, s, threads, &best->head);
    run_ends(s);
    time_piece(run_rest, s, threads, &best->rest);
    run_ends(s);
}

/* ---- tables ---- */

/* Seconds by `threads` threads as a share of those of one, if the serial share stays and the rest is divided. */
static double on(int threads, double serial)
{
    return serial + (1 - serial) / threads;
}

static double serial_share(double one, double many, int threads)
{
    double share = (many / one * threads - 1) / (threads - 1);
    return share < 0 ? 0 : share;
}

/* Stages of a whole pass on one thread and on many. */
static void print_threads(const struct shape *shape, const struct best *one, const struct best *many, int threads)
{
    static const char *const names[] = {"linears", "attention", "head", "rest"};
    double blocks = (double)shape->blocks, heads = (double)shape->tokens / HEAD_ROWS, all = 0, shared = 0, bound = 0;
    const double alone[] = {blocks * one->linears, blocks * one->attention, heads * one->head,
                            blocks * one->rest + one->ends};
    const double among[] = {blocks * many->linears, blocks * many->attention, heads * many->head,
                            blocks * many->rest + many->ends};
    for (int i = 0; i < 5; i++) {
        bool last = i == 4; /* the sum of the stages */
        double share = last ? serial_share(all, shared, threads) : serial_share(alone[i], among[i], threads);
        double seconds = last ? all : alone[i], divided = last ? shared : among[i];
        printf("%-18s %-10s %9.3f %9.3f %9.2f %9.1f%% %9.1f\n", i ? "" : shape->name, last ? "pass" : names[i], seconds,
               divided, seconds / divided, 100 * share, last ? all / bound : 1 / on(32, share));
        all += seconds, shared += divided, bound += last ? 0 : alone[i] * on(32, share);
    }
    fflush(stdout);
}

static void print_row(const struct shape *shape, const struct state *s, const struct best *best, int threads)
{
    const struct wn_config *c = &s->model.config;
    double n_blocks = (double)c->n_blocks, rows = (double)s->rows, n_heads = rows / HEAD_ROWS;
    double pairs = (double)s->chunk.n_sequences * (double)shape->length * (double)(shape->length + 1) / 2;
    double linears = 2.0 * (double)wn_model_block_weights(&s->model) * rows;
    double attention = 4.0 * pairs * (double)(c->n_heads * c->head_dim);
    double head = 2.0 * (double)(c->vocab_size * c->hidden_size) * HEAD_ROWS;
    double pass = best->ends + n_blocks * best->block + n_heads * best->head;
    double useful = n_blocks * (linears + attention) + n_heads * head;
    double unit = threads * 2.0 * SGEMM * SGEMM * SGEMM / best->sgemm / 100; /* one per cent of the sgemm rate */
    printf("%-18s %9.0f %8.0f%% | %7.0f%% %9.0f%% %5.0f%% %5.0f%% | %7.0f%% %9.0f%% %5.0f%%\n", shape->name,
           rows / pass, useful / pass / unit, 100 * n_blocks * best->linears / pass,
           100 * n_blocks * best->attention / pass, 100 * n_heads * best->head / pass,
           100 * (best->ends + n_blocks * (best->block - best->linears - best->attention)) / pass,
           linears / best->linears / unit, attention / best->attention / unit, head / best->head / unit);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1, repetitions = argc > 2 ? atoi(argv[2]) : 5;
    if (threads < 1 || repetitions < 1 || wn_linalg_start() != WN_OK) {
        fprintf(stderr, "usage: bench_forward [threads [repetitions [cpu]]]; %s\n", wn_error_message());
        return 2;
    }
    use_cpu_time = argc > 3 && !strcmp(argv[3], "cpu");
    omp_set_num_threads(threads);
    float *square = random_floats(3 * SGEMM * SGEMM, 1);
    struct best best = {0}, alone[SHAPES], shared[SHAPES];
    printf("%s; attention by %d keys; %d threads, fastest of %d, %s time\n", wn_linalg_protocol(), WN_ATTENTION_KEYS,
           threads, repetitions, use_cpu_time ? "processor" : "wall");
    printf("%-18s %9s %9s | %-31s | %s\n", "", "tokens/s", "share", "part of the time:", "share of sgemm per core:");
    printf("%-18s %9s %9s | %8s %10s %6s %6s | %8s %10s %6s\n", "model", "", "of sgemm", "linears", "attention", "head",
           "rest", "linears", "attention", "head");
    for (size_t i = 0; i < SHAPES; i++) {
        struct state state;
        make_state(&state, &shapes[i]);
        state.square = square;
        best = (struct best){.sgemm = best.sgemm};
        alone[i] = (struct best){0};
        for (int r = 0; r < repetitions; r++) {
            repeat_once(&state, threads, &best);
            omp_set_num_threads(1);
            if (threads > 1)
                repeat_once(&state, 1, &alone[i]);
            omp_set_num_threads(threads);
        }
        print_row(&shapes[i], &state, &best, threads);
        shared[i] = best;
        release_state(&state);
    }
    if (threads > 1)
        printf("%-29s %9s %7d th %9s %10s %9s\n", "seconds of a pass by stage", "1 thread", threads, "times", "serial",
               "32 threads");
    for (size_t i = 0; threads > 1 && i < SHAPES; i++)
        print_threads(&shapes[i], &alone[i], &shared[i], threads);
    printf("one sgemm of %d^3 on one core: %.1f GF/s\n", SGEMM, 2e-9 * SGEMM * SGEMM * SGEMM / best.sgemm);
    wn_free(square);
    return 0;
}
