/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of the forward in bf16 against fp32 on Llama-shaped models with random weights, one block after the other in
 * turn: the ratio of a whole pass (embedding, blocks, final norm, head), of the blocks, and of their linears alone.
 *
 *     bench_bf16 [threads [repetitions [cpu]]]
 *
 * A ratio is the median of those of neighbours in time. The head is in fp32 in both.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/linalg.h>
#include <winnow/model.h>

#include "clock.h"

enum { ROWS = 2048, HEAD_ROWS = 512, MOST = 64 };

struct shape {
    const char *name;
    int64_t hidden, inner, blocks, heads, kv_heads, head_dim, vocabulary, length;
};

static const struct shape shapes[] = {
    {"135M (SmolLM2), length 512", 576, 1536, 30, 9, 3, 64, 49152, 512},
    {"135M (SmolLM2), length 2048", 576, 1536, 30, 9, 3, 64, 49152, 2048},
    {"1.1B block, length 2048", 2048, 5632, 22, 32, 4, 64, 32000, 2048},
};

static float *random_floats(int64_t count, double scale)
{
    float *x = wn_alloc(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(scale * (2 * wn_random_uniform(1, 2, (uint64_t)i) - 1));
    return x;
}

struct state {
    struct wn_model model;
    struct wn_tensor table;
    struct wn_block *block;
    struct wn_chunk chunk;
    int64_t offset[ROWS + 1];
    float *hidden, *start, *scratch, *logits, *panel, *values;
};

static void make(struct state *s, const struct shape *shape)
{
    int64_t count;
    struct wn_model *m = &s->model;
    memset(s, 0, sizeof *s);
    m->arch = wn_arch_table(&count)[0];
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
    s->values = random_floats(shape->vocabulary * shape->hidden, 1);
    s->table = (struct wn_tensor){.dtype = WN_F32, .n_dims = 2, .data = (const uint8_t *)s->values};
    s->table.bytes = shape->vocabulary * shape->hidden * 4;
    m->embedding = m->head = &s->table;
    s->block = wn_block_create(m);
    for (int i = 0; i < m->layout.n_linears; i++) {
        wn_free(s->block->linears[i]);
        s->block->linears[i] = random_floats(m->layout.linears[i].rows * m->layout.linears[i].columns, 0.02);
    }
    for (int i = 0; i < m->layout.n_vectors; i++)
        for (int64_t j = 0; j < m->layout.vectors[i].size; j++)
            s->block->vectors[i][j] = 1;
    int64_t n = ROWS / shape->length;
    for (int64_t i = 0; i <= n; i++)
        s->offset[i] = i * shape->length;
    s->chunk = (struct wn_chunk){.n_sequences = n, .offset = s->offset};
    s->start = random_floats(ROWS * shape->hidden, 1);
    s->hidden = wn_alloc(ROWS * shape->hidden, sizeof(float));
    s->scratch = wn_alloc_zero(wn_model_scratch(m, ROWS), sizeof(float));
    s->logits = wn_alloc_zero(HEAD_ROWS * shape->vocabulary, sizeof(float));
    s->panel = wn_alloc(wn_model_head_scratch(m), sizeof(float));
}

static void release(struct state *s)
{
    wn_block_destroy(&s->block, &s->model);
    float *parts[] = {s->hidden, s->start, s->scratch, s->logits, s->panel, s->values};
    for (int i = 0; i < 6; i++)
        wn_free(parts[i]);
}

static double time_block(struct state *s, enum wn_compute compute, int threads)
{
    memcpy(s->hidden, s->start, (size_t)(ROWS * s->model.config.hidden_size) * sizeof(float));
    s->block->compute = compute;
    double start = seconds_now(threads);
    wn_model_run_block(&s->model, s->block, &s->chunk, s->hidden, s->scratch, NULL);
    return seconds_now(threads) - start;
}

static double time_linears(struct state *s, enum wn_compute compute, int threads)
{
    const struct wn_layout *layout = &s->model.layout;
    const int64_t row[] = {0, ROWS};
    double start = seconds_now(threads);
    for (int i = 0; i < layout->n_linears; i++) {
        const struct wn_linear_map map = {.w = s->block->linears[i],
                                          .out = layout->linears[i].rows,
                                          .y = s->scratch + ROWS * layout->linears[i].columns,
                                          .stride = layout->linears[i].rows};
        wn_linears_by(compute, s->scratch, 1, row, layout->linears[i].columns, &map, 1);
    }
    return seconds_now(threads) - start;
}

static double time_head(struct state *s, int threads)
{
    double start = seconds_now(threads);
    wn_model_logits(&s->model, s->start, HEAD_ROWS, s->logits, s->panel);
    return seconds_now(threads) - start;
}

static void measure(const struct shape *shape, int threads, int repetitions)
{
    static struct state s;
    double pass[MOST], block[MOST], linears[MOST];
    make(&s, shape);
    time_block(&s, WN_COMPUTE_BF16, threads);
    for (int r = 0; r < repetitions; r++) {
        double f32 = time_block(&s, WN_COMPUTE_F32, threads), bf16 = time_block(&s, WN_COMPUTE_BF16, threads);
        double head = time_head(&s, threads) * ROWS / HEAD_ROWS, blocks = (double)shape->blocks;
        pass[r] = (blocks * f32 + head) / (blocks * bf16 + head);
        block[r] = f32 / bf16;
        double plain = time_linears(&s, WN_COMPUTE_F32, threads);
        linears[r] = plain / time_linears(&s, WN_COMPUTE_BF16, threads);
    }
    printf("%-28s pass %.2f, blocks %.2f, linears %.2f\n", shape->name, median(pass, repetitions),
           median(block, repetitions), median(linears, repetitions));
    fflush(stdout);
    release(&s);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1, repetitions = argc > 2 ? atoi(argv[2]) : 5;
    if (threads < 1 || repetitions < 1 || repetitions > MOST || wn_linalg_start() != WN_OK ||
        wn_bf16_start() != WN_OK) {
        fprintf(stderr, "usage: bench_bf16 [threads [repetitions [cpu]]]; %s\n", wn_error_message());
        return 2;
    }
    use_cpu_time = argc > 3 && !strcmp(argv[3], "cpu");
    omp_set_num_threads(threads);
    printf("%s; %s; %d threads, times as fast as fp32, median of %d\n", wn_linalg_protocol(), wn_bf16_protocol(),
           threads, repetitions);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        measure(&shapes[i], threads, repetitions);
    return 0;
}
