/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidate tokens per second of a generation, against the plain forward of the same tokens, with and without sharing
 * what candidates have in common; and the memory it takes, against wn_judge_bytes. On several ranks (mpirun) the plain
 * forward is that of one rank; bench_search.sh compares two ranks with one.
 *
 *     bench_search MODEL [TOKENS [CANDIDATES [THREADS [cpu]]]]        512, 8, 1
 *
 * Candidates are offspring of the uniform genome at 3 bits; their linears are RTN levels in packed form, unpacked as
 * they are needed. Plain forward: all blocks and logits of all tokens, once per candidate, on dense weights that are
 * loaded once per block. "cpu": processor time per thread in place of wall time. Columns: candidate tokens per second,
 * share of the plain forward, blocks that were run per candidate; of each the faster of two rounds.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/judge.h>
#include <winnow/pack.h>

#include "clock.h"
#include "method/recipes.h"

enum { LENGTH = 512, LOWEST = 2, HIGHEST = 4, LEVELS = HIGHEST - LOWEST + 1, ROUNDS = 2 };

struct bench {
    struct wn_model *model;
    struct wn_sequences calibration;
    struct wn_space space;
    struct wn_packed *levels; /* [n_blocks, n_linears, LEVELS] */
    int64_t bytes;
    double unpacking;
    int threads;
};

static struct wn_packed *level_of(const struct bench *bench, int64_t block, int64_t linear, int64_t level)
{
    return &bench->levels[(block * bench->model->layout.n_linears + linear) * LEVELS + level - LOWEST];
}

static wn_status unpack(void *context, int64_t block, int64_t linear, int32_t level, float *weights)
{
    struct bench *bench = context;
    double begin = seconds_now(bench->threads);
    wn_packed_all(level_of(bench, block, linear, level), weights);
    bench->unpacking += seconds_now(bench->threads) - begin;
    return WN_OK;
}

static void check(wn_status status)
{
    if (status != WN_OK) {
        fprintf(stderr, "bench_search: %s\n", wn_error_message());
        exit(1);
    }
}

static void make_levels(struct bench *bench)
{
    const struct wn_layout *layout = &bench->model->layout;
    const int64_t n_blocks = bench->model->config.n_blocks;
    struct wn_block *block = wn_block_create(bench->model), *made = wn_block_create(bench->model);
    bench->levels = wn_alloc_zero(n_blocks * layout->n_linears * LEVELS, sizeof *bench->levels);
    for (int64_t b = 0; b < n_blocks; b++) {
        check(wn_model_load_block(bench->model, b, block));
        for (int64_t i = 0; i < layout->n_linears * LEVELS; i++) {
            const struct wn_linear_info *linear = &layout->linears[i / LEVELS];
            char settings[64];
            struct wn_recipe recipe = {0};
            struct wn_compressed out;
            snprintf(settings, sizeof settings, "{\"bits\": %d}", (int)(LOWEST + i % LEVELS));
            check(add_stage(&recipe, "rtn", settings));
            wn_compressed_init(&out, linear->rows, linear->columns, made->linears[i / LEVELS], NULL);
            check(wn_recipe_compress(&recipe, linear->name, block->linears[i / LEVELS], NULL, &out));
            struct wn_packed *packed = level_of(bench, b, i / LEVELS, LOWEST + i % LEVELS);
            wn_pack(&out, packed);
            bench->bytes += packed->size;
            wn_compressed_release(&out);
        }
    }
    wn_block_destroy(&block, bench->model);
    wn_block_destroy(&made, bench->model);
}

static void make_space(struct bench *bench)
{
    const struct wn_layout *layout = &bench->model->layout;
    int64_t weights[WN_MAX_LINEARS];
    for (int l = 0; l < layout->n_linears; l++)
        weights[l] = layout->linears[l].rows * layout->linears[l].columns;
    const struct wn_space_request request = {.kind = WN_SPACE_BITS,
                                             .n_blocks = bench->model->config.n_blocks,
                                             .n_linears = layout->n_linears,
                                             .weights = weights,
                                             .target = 3,
                                             .bits = WN_BITS(HIGHEST + 1) - WN_BITS(LOWEST)};
    check(wn_space_create(&request, &bench->space));
}

/* Random tokens: what they say does not matter here. */
static void make_tokens(struct bench *bench, int64_t tokens)
{
    int32_t ids[LENGTH];
    wn_sequences_init(&bench->calibration);
    for (int64_t s = 0; s * LENGTH < tokens; s++) {
        for (int64_t i = 0; i < LENGTH; i++) {
            double place = wn_random_uniform(1, (uint64_t)s, (uint64_t)i);
            ids[i] = (int32_t)(place * (double)bench->model->config.vocab_size);
        }
        wn_sequences_append(&bench->calibration, ids, LENGTH);
    }
    wn_sequences_cut(&bench->calibration);
}

static void draw_candidates(const struct bench *bench, int64_t count, int32_t *genomes)
{
    for (int64_t i = 0; i < count; i++) {
        struct wn_draws draws = wn_draws_begin(0, WN_DRAW_OFFSPRING, 1, i, 0);
        wn_space_uniform(&bench->space, genomes + i * bench->space.n_genes);
        wn_space_mutate(&bench->space, &draws, genomes + i * bench->space.n_genes);
    }
}

/* Seconds of the plain forward, logits tile by tile as evaluations make them. */
static double run_plain(const struct bench *bench, int64_t tokens, int64_t count)
{
    const struct wn_model *model = bench->model;
    const int64_t width = model->config.hidden_size, tile = 256, chunks = bench->calibration.n_chunks;
    const int64_t rows = wn_sequences_longest_chunk(&bench->calibration);
    struct wn_block *block = wn_block_create(model);
    float *hidden = wn_alloc(tokens * width, sizeof(float));
    float *scratch = wn_alloc(wn_model_scratch(model, rows), sizeof(float));
    float *head = wn_alloc(wn_model_head_scratch(model), sizeof(float));
    float *logits = wn_alloc(tile * model->config.vocab_size, sizeof(float));
    int64_t *offset = wn_alloc(bench->calibration.n_sequences + 1, sizeof *offset);
    double begin = seconds_now(bench->threads);
    for (int64_t i = 0; i < count; i++) {
        wn_model_embed(model, bench->calibration.ids, NULL, tokens, hidden);
        for (int64_t b = 0; b < model->config.n_blocks; b++) {
            if (i == 0)
                check(wn_model_load_block(model, b, block));
            wn_sequences_run(model, block, &bench->calibration, 0, chunks, hidden, rows, scratch, offset, NULL);
        }
        wn_model_final_norm(model, hidden, tokens, hidden);
        for (int64_t at = 0; at < tokens; at += tile)
            wn_model_logits(model, hidden + at * width, tokens - at < tile ? tokens - at : tile, logits, head);
    }
    double seconds = seconds_now(bench->threads) - begin;
    wn_block_destroy(&block, model);
    wn_free(hidden);
    wn_free(scratch);
    wn_free(head);
    wn_free(logits);
    wn_free(offset);
    return seconds;
}

/* Seconds of the slowest rank, and the work of all. */
static double run_judge(struct wn_par *par, struct bench *bench, const int32_t *genomes, int64_t count, bool alone,
                        double *fitness, struct wn_judge_work *work, double *memory)
{
    int64_t n = bench->calibration.n_sequences, *numbers = wn_alloc(2 * n, sizeof *numbers);
    struct wn_minibatch batch = {
        .generation = 1, .n_sequences = n, .sequence = numbers, .length = numbers + n, .tokens = n * LENGTH};
    const struct wn_judge_spec spec = {.model = bench->model,
                                       .space = &bench->space,
                                       .calibration = &bench->calibration,
                                       .fitness = WN_FITNESS_kl,
                                       .weights = unpack,
                                       .context = bench,
                                       .states = count + 1,
                                       .alone = alone};
    struct wn_judge *judge;
    for (int64_t i = 0; i < n; i++) {
        numbers[i] = i;
        numbers[n + i] = LENGTH;
    }
    bench->unpacking = 0;
    int64_t before = wn_memory_bytes();
    wn_memory_reset_peak();
    check(wn_judge_open(par, &spec, &judge));
    wn_par_barrier(par);
    double begin = seconds_now(bench->threads);
    check(wn_judge_evaluate(judge, genomes, count, &batch, fitness, NULL));
    double seconds = seconds_now(bench->threads) - begin;
    seconds = (double)wn_par_max(par, (int64_t)(seconds * 1e6)) / 1e6;
    *memory = (double)(wn_memory_peak() - before) / (double)wn_judge_bytes(&spec);
    *work = wn_judge_work(judge);
    work->block_tokens = (int64_t)wn_par_sum(par, (double)work->block_tokens);
    wn_judge_close(&judge);
    wn_free(numbers);
    return seconds;
}

static void print_row(const char *name, double tokens, double seconds, double plain, double blocks)
{
    printf("%-12s %8.1f tokens/s   %5.2f of plain   %5.1f blocks\n", name, tokens / seconds, plain / seconds, blocks);
}

struct row {
    double seconds, unpacking, memory;
    struct wn_judge_work work;
};

static void print_rows(const struct bench *bench, double tokens, double plain, const struct row rows[2])
{
    print_row("plain", tokens, plain, plain, (double)bench->model->config.n_blocks);
    for (int shared = 0; shared < 2; shared++) {
        const struct row *row = &rows[shared];
        print_row(shared ? "shared" : "alone", tokens, row->seconds, plain, (double)row->work.block_tokens / tokens);
        printf("%12s unpacking %lld linears: %.1f %% of the time; memory %.2f of what is predicted\n", "",
               (long long)row->work.weights, 100 * row->unpacking / row->seconds, row->memory);
    }
}

static void measure(struct wn_par *par, struct bench *bench, int64_t tokens, int64_t count)
{
    struct row rows[2] = {{.seconds = 1e9}, {.seconds = 1e9}};
    double fitness[2][1024], plain = 1e9;
    int32_t *genomes = wn_alloc(count * bench->space.n_genes, sizeof *genomes);
    draw_candidates(bench, count, genomes);
    for (int round = 0; round < ROUNDS; round++) {
        if (wn_par_rank(par) == 0)
            plain = fmin(plain, run_plain(bench, tokens, count));
        for (int shared = 0; shared < 2; shared++) {
            struct row now;
            now.seconds = run_judge(par, bench, genomes, count, !shared, fitness[shared], &now.work, &now.memory);
            now.unpacking = bench->unpacking;
            if (now.seconds < rows[shared].seconds)
                rows[shared] = now;
        }
    }
    print_rows(bench, (double)(tokens * count), plain, rows);
    for (int64_t i = 0; i < count; i++)
        if (fitness[0][i] != fitness[1][i])
            printf("candidate %lld: other bits when shared\n", (long long)i);
    wn_free(genomes);
}

int main(int argc, char **argv)
{
    struct wn_par *par;
    check(wn_par_start(&argc, &argv, &par));
    int64_t tokens = argc > 2 ? atoll(argv[2]) : 512, count = argc > 3 ? atoll(argv[3]) : 8;
    struct bench bench = {.threads = argc > 4 ? atoi(argv[4]) : 1};
    if (argc < 2 || tokens < LENGTH || tokens % LENGTH || count < 1 || count > 1024 || bench.threads < 1) {
        fprintf(stderr, "usage: bench_search MODEL [TOKENS [CANDIDATES [THREADS [cpu]]]], tokens a multiple of %d\n",
                LENGTH);
        wn_par_finish(&par);
        return 2;
    }
    if (wn_par_rank(par) && !freopen("/dev/null", "w", stdout))
        return 1;
    use_cpu_time = argc > 5 && !strcmp(argv[5], "cpu");
    omp_set_num_threads(bench.threads);
    check(wn_model_open(argv[1], NULL, &bench.model));
    make_space(&bench);
    make_tokens(&bench, tokens);
    make_levels(&bench);
    printf("%lld tokens, %lld candidates, %d threads; levels of %d to %d bits: %.2f bytes per weight\n",
           (long long)tokens, (long long)count, bench.threads, LOWEST, HIGHEST,
           (double)bench.bytes / (double)bench.space.weights);
    measure(par, &bench, tokens, count);
    for (int64_t i = 0; i < bench.model->config.n_blocks * bench.model->layout.n_linears * LEVELS; i++)
        wn_packed_release(&bench.levels[i]);
    wn_free(bench.levels);
    wn_sequences_release(&bench.calibration);
    wn_space_release(&bench.space);
    wn_model_close(&bench.model);
    wn_par_finish(&par);
    return 0;
}
