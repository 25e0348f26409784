/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of generating text with a key-value cache on Llama-shaped models with random weights that do not fit into
 * caches, against two limits measured in the same run: reading the weights once per step, and the multiplications of
 * the rows at the rate of one large single-threaded sgemm per thread.
 *
 *     bench_generate [threads [repetitions [cpu|wall [bits]]]]
 *
 * bits: 32, 16 (bf16) or those of codes in groups of 64, 2 to 8, as the blocks of a compressed point are kept (packed).
 * A step adds one token to every text of a batch. Its time is that of a batch with STEPS more tokens less that of one
 * without, the fastest of all repetitions of each. Columns: texts of the batch, milliseconds per step, tokens per
 * second, weights read per second, share of the bandwidth of reading, share of the sgemm rate, and the larger of both
 * limits' times over the step's: how near the roofline is. "cpu": processor time per thread in place of wall time.
 */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/generate.h>
#include <winnow/linalg.h>

#include "clock.h"
#include "round.h"

enum { SGEMM = 2048, PROMPT = 16, STEPS = 16 };

static const struct shape {
    const char *name;
    int64_t hidden, inner, blocks, heads, kv_heads, head_dim, vocabulary;
} shapes[] = {
    {"134M", 768, 2048, 12, 12, 12, 64, 32000},
    {"410M grouped", 1536, 4096, 12, 24, 8, 64, 32000},
};

static void fill(float *x, int64_t count, double scale, uint64_t seed)
{
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(scale * (2 * wn_random_uniform(seed, 0, (uint64_t)i) - 1));
}

/* ---- a model without files ---- */

struct state {
    struct wn_model model;
    struct wn_tensor table;
    float *table_data;
    struct wn_kept_blocks kept;
};

/* A linear as a point with these bits has it. */
static void keep_linear(struct state *s, int64_t b, int l, float *weight, int bits)
{
    enum { GROUP = 64 };
    const struct wn_linear_info *linear = &s->model.layout.linears[l];
    const int64_t count = linear->rows * linear->columns;
    struct wn_compressed form;
    wn_compressed_init(&form, linear->rows, linear->columns, weight, NULL);
    for (int64_t i = 0; bits == 16 && i < count; i++) {
        uint32_t whole;
        memcpy(&whole, &weight[i], sizeof whole);
        whole &= 0xFFFF0000;
        memcpy(&weight[i], &whole, sizeof whole);
    }
    if (bits <= 8)
        round_weights(&form, bits, GROUP, false);
    wn_kept_blocks_take_linear(&s->kept, b, l, &form);
    wn_compressed_release(&form);
}

static void make_model(struct state *s, const struct shape *shape, int bits)
{
    int64_t n_archs;
    struct wn_model *m = &s->model;
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    *s = (struct state){0};
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
    s->table_data = wn_alloc(shape->vocabulary * shape->hidden, sizeof(float));
    fill(s->table_data, shape->vocabulary * shape->hidden, 1, 1);
    s->table = (struct wn_tensor){.dtype = WN_F32, .n_dims = 2, .data = (const uint8_t *)s->table_data};
    s->table.bytes = shape->vocabulary * shape->hidden * 4;
    m->embedding = m->head = &s->table;
    m->final_norm = wn_alloc(shape->hidden, sizeof(float));
    fill(m->final_norm, shape->hidden, 1, 2);
    struct wn_block *block = wn_block_create(m);
    for (int i = 0; i < m->layout.n_linears; i++)
        fill(block->linears[i], m->layout.linears[i].rows * m->layout.linears[i].columns, 0.02, (uint64_t)i + 3);
    for (int i = 0; i < m->layout.n_vectors; i++)
        fill(block->vectors[i], m->layout.vectors[i].size, 1, (uint64_t)i + 30);
    wn_kept_blocks_init(&s->kept, m);
    for (int64_t b = 0; b < shape->blocks; b++) {
        for (int l = 0; l < m->layout.n_linears; l++)
            keep_linear(s, b, l, block->linears[l], bits);
        wn_kept_blocks_take(&s->kept, b, block, none);
    }
    wn_block_destroy(&block, m);
}

static void release_model(struct state *s)
{
    wn_kept_blocks_release(&s->kept);
    wn_free(s->table_data);
    wn_free(s->model.final_norm);
}

/* ---- what is timed ---- */

/* Seconds of a batch of `texts` texts with `most` tokens each. */
static double time_batch(struct state *s, int64_t texts, int64_t most, int threads)
{
    struct wn_generation generation = {.n_prompts = texts, .draws = 1, .most = most};
    struct wn_generated generated;
    generation.prompts = wn_alloc_zero(texts, sizeof *generation.prompts);
    for (int64_t p = 0; p < texts; p++) {
        generation.prompts[p] = (struct wn_prompt){.count = PROMPT, .most = most};
        generation.prompts[p].ids = wn_alloc(PROMPT, sizeof(int32_t));
        for (int64_t i = 0; i < PROMPT; i++)
            generation.prompts[p].ids[i] = (int32_t)((p * 7919 + i * 104729) % s->model.config.vocab_size);
    }
    wn_generated_init(&generated, &generation);
    double start = seconds_now(threads);
    if (wn_generate_batch(&s->kept, &generation, 0, &generated) != WN_OK)
        fprintf(stderr, "%s\n", wn_error_message());
    double seconds = seconds_now(threads) - start;
    wn_generated_release(&generated);
    wn_generation_release(&generation);
    return seconds;
}

static void take_best(double *best, double seconds)
{
    if (*best == 0 || seconds < *best)
        *best = seconds;
}

static float sum_of(const float *x, int64_t count)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += x[i];
    return sum;
}

/* Reading as many bytes as all weights have in fp32 once, with all threads. */
static double time_reading(const float *weights, int64_t count, int threads)
{
    enum { PIECE = 4096 };
    double sum = 0, start = seconds_now(threads);
#pragma omp parallel for reduction(+ : sum) schedule(static)
    for (int64_t i = 0; i < count; i += PIECE)
        sum += sum_of(weights + i, count - i < PIECE ? count - i : PIECE);
    double seconds = seconds_now(threads) - start;
    return sum == 12345 ? 0 : seconds; /* the sum is used */
}

static double time_sgemm(float *square)
{
    int threads = wn_blas_begin();
    double start = seconds_now(1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SGEMM, SGEMM, SGEMM, 1, square, SGEMM, square + SGEMM * SGEMM,
                SGEMM, 0, square + 2 * SGEMM * SGEMM, SGEMM);
    double seconds = seconds_now(1) - start;
    wn_blas_end(threads);
    return seconds;
}

static void bench(const struct shape *shape, int threads, int repetitions, int bits, float *square)
{
    static const int64_t counts[] = {1, 8, 16, 32};
    enum { COUNTS = sizeof counts / sizeof counts[0] };
    double one[COUNTS] = {0}, many[COUNTS] = {0}, reading = 0, sgemm = 0;
    struct state s;
    int64_t before = wn_memory_bytes();
    make_model(&s, shape, bits);
    int64_t bytes = wn_memory_bytes() - before - shape->vocabulary * shape->hidden * 4;
    int64_t count = wn_model_block_weights(&s.model) * shape->blocks;
    float *dense = wn_alloc_zero(count, sizeof *dense);
    for (int r = 0; r < repetitions; r++) {
        take_best(&reading, time_reading(dense, count, threads));
        take_best(&sgemm, time_sgemm(square));
        for (int i = 0; i < COUNTS; i++) {
            take_best(&one[i], time_batch(&s, counts[i], 1, threads));
            take_best(&many[i], time_batch(&s, counts[i], 1 + STEPS, threads));
        }
    }
    wn_free(dense);
    double linears = (double)count;
    double weights = linears + (double)(shape->vocabulary * shape->hidden);
    double bandwidth = 4 * linears / reading, rate = threads * 2.0 * SGEMM * SGEMM * SGEMM / sgemm;
    printf("%s: blocks take %.1f MB, %.2f of fp32\n", shape->name, 1e-6 * (double)bytes, (double)bytes / 4 / linears);
    printf("%s: reading weights %.1f GB/s, sgemm %.0f GF/s on %d threads; both limits meet at %.0f rows\n", shape->name,
           bandwidth / 1e9, rate / 1e9, threads, 2 * rate / bandwidth);
    printf("%6s %9s %10s %10s %10s %9s %10s\n", "texts", "ms/step", "tokens/s", "weights", "bandwidth", "sgemm",
           "roofline");
    for (int i = 0; i < COUNTS; i++) {
        double step = (many[i] - one[i]) / STEPS, rows = (double)counts[i];
        double by_reading = 4 * weights / bandwidth, by_rate = 2 * weights * rows / rate;
        printf("%6lld %9.2f %10.1f %5.1f GB/s %9.0f%% %8.0f%% %9.0f%%\n", (long long)counts[i], 1e3 * step, rows / step,
               4 * weights / step / 1e9, 100 * by_reading / step, 100 * by_rate / step,
               100 * (by_reading > by_rate ? by_reading : by_rate) / step);
    }
    fflush(stdout);
    release_model(&s);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1, repetitions = argc > 2 ? atoi(argv[2]) : 3;
    int bits = argc > 4 ? atoi(argv[4]) : 32;
    if (threads < 1 || repetitions < 1 || !(bits == 32 || bits == 16 || (bits >= 2 && bits <= 8)) ||
        wn_linalg_start() != WN_OK) {
        fprintf(stderr, "usage: bench_generate [threads [repetitions [cpu|wall [bits]]]]; %s\n", wn_error_message());
        return 2;
    }
    use_cpu_time = argc > 3 && !strcmp(argv[3], "cpu");
    omp_set_num_threads(threads);
    float *square = wn_alloc(3 * SGEMM * SGEMM, sizeof *square);
    fill(square, 2 * SGEMM * SGEMM, 1, 99);
    printf("%s; %d threads, fastest of %d, %s time\n", wn_linalg_protocol(), threads, repetitions,
           use_cpu_time ? "processor" : "wall");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        bench(&shapes[i], threads, repetitions, bits, square);
    wn_free(square);
    return 0;
}
