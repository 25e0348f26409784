/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forward of one block of every architecture at 512 tokens, as a share of one large sgemm of the same run, and of
 * llama's share: none should be below 0.9. Widths are those of a model of 134M parameters, weights are random.
 *
 *     bench_architectures [repetitions [cpu]]
 *
 * One thread. Blocks are timed in turn and the fastest of all repetitions counts; `cpu`: processor time, which other
 * programs on the machine disturb less. Only useful multiplications count: of linears, and of keys that a query sees;
 * of experts those that a token goes through. Ends with 1 when an architecture is below 0.9 of llama, as qwen3_moe may
 * be: each of its 128 experts has 32 or so of the 512 rows, and weights come from memory for as many products only.
 */
#include <cblas.h>
#include <cjson/cJSON.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/linalg.h>
#include <winnow/model.h>

#include "clock.h"

enum { SGEMM = 2048, TOKENS = 512, MOST = 64 };
static const double LEAST = 0.9;

static const char sizes[] =
    "\"vocab_size\": 1000, \"hidden_size\": 768, \"intermediate_size\": 2048, \"num_hidden_layers\": 2, "
    "\"num_attention_heads\": 12, \"num_key_value_heads\": 12, \"head_dim\": 64, \"max_position_embeddings\": 4096";

struct subject {
    struct wn_model model;
    struct wn_block *block;
    float *scratch;
    double seconds, products; /* fastest; multiplications and additions */
};

static void fill(float *x, int64_t count, double scale)
{
    static uint64_t bits = 88172645463325252u;
    for (int64_t i = 0; i < count; i++) {
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        x[i] = (float)(scale * ((double)(bits >> 40) / (1 << 23) - 1));
    }
}

static double count_products(const struct wn_model *model)
{
    const struct wn_config *config = &model->config;
    double pairs = (double)TOKENS * (TOKENS + 1) / 2;
    double linears = wn_model_active_weights(model) / (double)config->n_blocks;
    if (config->window > 0 && config->window < TOKENS && config->decoder.blocks[0] & WN_BLOCK_SLIDES)
        pairs -= (double)(TOKENS - config->window) * (double)(TOKENS - config->window + 1) / 2;
    return 2 * linears * TOKENS + 4 * pairs * (double)(config->n_heads * config->head_dim);
}

static void make(const struct wn_arch *arch, struct subject *s)
{
    char *text = wn_format("{%s, \"text_config\": {%s}}", sizes, sizes);
    cJSON *json = cJSON_Parse(text);
    memset(s, 0, sizeof *s);
    s->model.arch = arch;
    snprintf(s->model.config.model_type, sizeof s->model.config.model_type, "%s", arch->model_type);
    if (!json || arch->read_config(arch->model_type, json, &s->model.config) != WN_OK) {
        fprintf(stderr, "%s: %s\n", arch->model_type, wn_error_message());
        exit(2);
    }
    arch->describe(&s->model.config, &s->model.layout);
    s->block = wn_block_create(&s->model);
    const struct wn_layout *layout = &s->model.layout;
    for (int i = 0; i < layout->n_linears; i++) {
        fill(s->block->linears[i], layout->linears[i].rows * layout->linears[i].columns, 0.02);
        if (layout->linears[i].bias)
            fill(s->block->biases[i], layout->linears[i].rows, 0.02);
    }
    for (int i = 0; i < layout->n_vectors; i++)
        fill(s->block->vectors[i], layout->vectors[i].size, 1);
    s->scratch = wn_alloc_zero(wn_model_scratch(&s->model, TOKENS), sizeof(float));
    s->products = count_products(&s->model);
    cJSON_Delete(json);
    wn_free(text);
}

static double time_sgemm(const float *a, const float *b, float *c)
{
    int threads = wn_blas_begin();
    double start = seconds_now(1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SGEMM, SGEMM, SGEMM, 1, a, SGEMM, b, SGEMM, 0, c, SGEMM);
    double seconds = seconds_now(1) - start;
    wn_blas_end(threads);
    return seconds;
}

static void time_block(struct subject *s, const float *input, float *hidden)
{
    const int64_t offset[] = {0, TOKENS};
    const struct wn_chunk chunk = {.n_sequences = 1, .offset = offset};
    memcpy(hidden, input, (size_t)(TOKENS * s->model.config.hidden_size) * sizeof *hidden);
    double start = seconds_now(1);
    wn_model_run_block(&s->model, s->block, &chunk, hidden, s->scratch, NULL);
    double seconds = seconds_now(1) - start;
    if (s->seconds == 0 || seconds < s->seconds)
        s->seconds = seconds;
}

int main(int argc, char **argv)
{
    int repetitions = argc > 1 ? atoi(argv[1]) : 5;
    int64_t count;
    const struct wn_arch *const *table = wn_arch_table(&count);
    if (repetitions < 1 || count > MOST || wn_linalg_start() != WN_OK) {
        fprintf(stderr, "usage: bench_architectures [repetitions [cpu]]; %s\n", wn_error_message());
        return 2;
    }
    use_cpu_time = argc > 2 && !strcmp(argv[2], "cpu");
    omp_set_num_threads(1);
    static struct subject subjects[MOST];
    float *square = wn_alloc(3 * SGEMM * SGEMM, sizeof *square), *hidden = wn_alloc(TOKENS * 4096, sizeof *hidden);
    double sgemm = 0, llama = 0;
    int below = 0;
    fill(square, 3 * SGEMM * SGEMM, 1);
    for (int64_t i = 0; i < count; i++)
        make(table[i], &subjects[i]);
    for (int r = 0; r < repetitions; r++) {
        double seconds = time_sgemm(square, square + SGEMM * SGEMM, square + 2 * SGEMM * SGEMM);
        sgemm = sgemm == 0 || seconds < sgemm ? seconds : sgemm;
        for (int64_t i = 0; i < count; i++)
            time_block(&subjects[i], square, hidden);
    }
    printf("%s; block at %d tokens, one thread, fastest of %d, %s time\n", wn_linalg_protocol(), TOKENS, repetitions,
           use_cpu_time ? "processor" : "wall");
    printf("%-12s %10s %10s %10s\n", "model_type", "ms", "of sgemm", "of llama");
    for (int64_t i = 0; i < count; i++) {
        struct subject *s = &subjects[i];
        double share = s->products / s->seconds / (2.0 * SGEMM * SGEMM * SGEMM / sgemm);
        llama = i ? llama : share; /* the first row of the table */
        below += share < LEAST * llama;
        printf("%-12s %10.1f %9.0f%% %10.2f\n", table[i]->model_type, 1e3 * s->seconds, 100 * share, share / llama);
        wn_block_destroy(&s->block, &s->model);
        wn_free(s->scratch);
    }
    wn_free(square);
    wn_free(hidden);
    return below > 0;
}
