/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidates on the demo model: the fitness of a plain forward of each, to the bit, whatever is shared, however many
 * states are kept, on any number of threads and ranks; and a search that ends better than it began. Run alone, with 3
 * ranks, and with 4 on two nodes.
 */
#include "test.h"

#include <winnow/data.h>
#include <winnow/judge.h>

#include <cjson/cJSON.h>

enum { COUNT = 5, TILE = 256 };

/* ---- a model whose linears can be rounded ---- */

struct source {
    const struct wn_model *model;
    struct wn_block *block;
    int64_t index; /* of the loaded block */
    int64_t fail_at, calls;
};

/* Level l: multiples of 2^-l / 8. */
static wn_status rounded(void *context, int64_t block, int64_t linear, int32_t level, float *weights)
{
    struct source *source = context;
    const struct wn_linear_info *info = &source->model->layout.linears[linear];
    const float unit = ldexpf(1, -level) / 8;

    if (source->calls++ == source->fail_at)
        return wn_fail(WN_ERR_IO, "a level cannot be read");
    if (source->index != block)
        WN_TRY(wn_model_load_block(source->model, block, source->block));
    source->index = block;
    for (int64_t i = 0; i < info->rows * info->columns; i++)
        weights[i] = unit * rintf(source->block->linears[linear][i] / unit);
    return WN_OK;
}

struct example {
    struct wn_model *model;
    struct wn_calibration calibration;
    struct source source;
    struct wn_space space;
    struct wn_judge_spec spec;
    struct wn_search_settings settings;
    struct wn_search search;
    int64_t *lengths;
    int32_t *genomes; /* [COUNT, n_genes] offspring of the uniform genome; the first two like it, the last two equal */
    struct wn_minibatch batch;
};

static void open_space(struct example *example, enum wn_space_kind kind, double target)
{
    const struct wn_layout *layout = &example->model->layout;
    int64_t weights[WN_MAX_LINEARS];
    bool in_mlp[WN_MAX_LINEARS];

    for (int l = 0; l < layout->n_linears; l++) {
        weights[l] = layout->linears[l].rows * layout->linears[l].columns;
        in_mlp[l] = layout->input_branches[layout->linears[l].input] == WN_BRANCH_MLP;
    }
    const struct wn_space_request request = {.kind = kind,
                                             .n_blocks = example->model->config.n_blocks,
                                             .hidden = example->model->config.hidden_size,
                                             .n_linears = layout->n_linears,
                                             .weights = weights,
                                             .in_mlp = in_mlp,
                                             .target = target,
                                             .bits = WN_BITS(6) - 1};
    CHECK_OK(wn_space_create(&request, &example->space));
}

static void draw_candidates(struct example *example)
{
    int64_t n = example->space.n_genes;

    example->genomes = wn_alloc(COUNT * n, sizeof *example->genomes);
    for (int64_t i = 0; i < COUNT; i++) {
        struct wn_draws draws = wn_draws_begin(2, WN_DRAW_OFFSPRING, 1, i, 0);
        wn_space_uniform(&example->space, example->genomes + i * n);
        if (i == COUNT - 1)
            draws = wn_draws_begin(2, WN_DRAW_OFFSPRING, 1, i - 1, 0);
        if (i > 1)
            wn_space_mutate(&example->space, &draws, example->genomes + i * n);
    }
}

/* 71 sequences of 64 tokens; a minibatch of 2,180 tokens: chunks of 2,048 and 132, the last sequence cut to 4; or of
 * fewer: one chunk. */
static void example_open(struct example *example, enum wn_space_kind kind, double target, enum wn_fitness fitness,
                         int64_t tokens)
{
    char *path = test_path("sweeps/demo/model"), *data = test_path("sweeps/demo/data");
    cJSON *json = cJSON_Parse("{\"text\": \"general_calibration.jsonl\", \"samples\": 71, \"length\": 64}");

    *example = (struct example){.source = {.index = -1, .fail_at = -1}};
    CHECK_OK(wn_model_open(path, NULL, &example->model));
    CHECK_OK(wn_calibration_build(data, "general", json, example->model, &example->calibration));
    example->source.model = example->model;
    example->source.block = wn_block_create(example->model);
    open_space(example, kind, target);
    const struct wn_sequences *sequences = &example->calibration.sequences;
    example->lengths = wn_alloc(sequences->n_sequences, sizeof *example->lengths);
    for (int64_t s = 0; s < sequences->n_sequences; s++)
        example->lengths[s] = sequences->offset[s + 1] - sequences->offset[s];
    example->spec = (struct wn_judge_spec){.model = example->model,
                                           .space = &example->space,
                                           .calibration = sequences,
                                           .fitness = fitness,
                                           .top = 10,
                                           .weights = rounded,
                                           .context = &example->source,
                                           .states = 1000};
    example->settings = (struct wn_search_settings){
        .offspring = 8, .n_stages = 2, .survivors = {3, 1}, .tokens = {128, 512}, .initial = 8, .initial_tokens = 512};
    example->search = (struct wn_search){.settings = &example->settings,
                                         .space = &example->space,
                                         .n_sequences = sequences->n_sequences,
                                         .lengths = example->lengths,
                                         .evaluate = wn_judge_evaluate};
    draw_candidates(example);
    example->settings.tokens[0] = tokens;
    wn_search_draw_batch(&example->search, 1, 0, &example->batch);
    example->settings.tokens[0] = 128;
    cJSON_Delete(json);
    wn_free(path);
    wn_free(data);
}

static void example_close(struct example *example)
{
    wn_minibatch_release(&example->batch);
    wn_free(example->genomes);
    wn_free(example->lengths);
    wn_space_release(&example->space);
    wn_block_destroy(&example->source.block, example->model);
    wn_calibration_release(&example->calibration);
    wn_model_close(&example->model);
}

/* ---- the plain way ---- */

/* Rows of all predictions of the sequences first .. end - 1, and what comes next. */
static int64_t find_targets(const struct wn_sequences *sequences, int64_t first, int64_t end, int64_t *rows,
                            int32_t *targets)
{
    int64_t n = 0;

    for (int64_t s = first; s < end; s++)
        for (int64_t row = sequences->offset[s]; row + 1 < sequences->offset[s + 1]; row++) {
            rows[n] = row - sequences->offset[first];
            targets[n++] = sequences->ids[row + 1];
        }
    return n;
}

/* One chunk through a model: final-normed states of all rows. genome NULL: dense. */
static void forward(struct example *example, const int32_t *genome, const struct wn_sequences *sequences, int64_t index,
                    float *hidden)
{
    const struct wn_model *model = example->model;
    struct wn_block *block = wn_block_create(model);
    float *scratch = wn_alloc(wn_model_scratch(model, 2048), sizeof *scratch);
    int64_t *offset = wn_alloc(sequences->n_sequences + 1, sizeof *offset);
    struct wn_chunk chunk;
    int64_t row = wn_sequences_chunk(sequences, index, offset, &chunk), rows = chunk.offset[chunk.n_sequences];
    int64_t per_block = example->space.n_genes / example->space.n_blocks;

    wn_model_embed(model, sequences->ids + row, NULL, rows, hidden);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        for (int64_t i = b * per_block; genome && i < (b + 1) * per_block; i++) {
            int32_t linear = example->space.genes[i].linear;
            if (example->space.kind == WN_SPACE_BITS)
                CHECK_OK(rounded(&example->source, b, linear, genome[i], block->linears[linear]));
            else if (linear == 0)
                block->skip[WN_BRANCH_ATTENTION] = genome[i];
            else
                block->skip[WN_BRANCH_MLP] = genome[i];
        }
        wn_model_run_block(model, block, &chunk, hidden, scratch, NULL);
    }
    wn_model_final_norm(model, hidden, rows, hidden);
    block->skip[WN_BRANCH_ATTENTION] = block->skip[WN_BRANCH_MLP] = false;
    wn_block_destroy(&block, model);
    wn_free(offset);
    wn_free(scratch);
}

static void logits_of(const struct wn_model *model, const float *hidden, const int64_t *rows, int64_t n, float *logits)
{
    int64_t width = model->config.hidden_size;
    float *states = wn_alloc(TILE * width, sizeof *states);
    float *scratch = wn_alloc(wn_model_head_scratch(model), sizeof *scratch);

    for (int64_t i = 0; i < n; i++)
        memcpy(states + i * width, hidden + rows[i] * width, (size_t)width * sizeof *states);
    wn_model_logits(model, states, n, logits, scratch);
    wn_free(states);
    wn_free(scratch);
}

/* A chunk of the minibatch. `dense`: states of the dense model, computed in the chunks of the calibration set. */
static double chunk_sum(struct example *example, const int32_t *genome, const struct wn_sequences *sequences,
                        int64_t chunk, const float *dense)
{
    const int64_t width = example->model->config.hidden_size, vocabulary = example->model->config.vocab_size;
    float *hidden = wn_alloc(2048 * width, sizeof *hidden), *mine = wn_alloc(2048 * width, sizeof *mine);
    float *p = wn_alloc(TILE * vocabulary, sizeof *p), *q = wn_alloc(TILE * vocabulary, sizeof *q);
    int64_t *rows = wn_alloc(2048, sizeof *rows), first = sequences->chunk[chunk], end = sequences->chunk[chunk + 1];
    int32_t *targets = wn_alloc(2048, sizeof *targets);
    int64_t n = find_targets(sequences, first, end, rows, targets);
    double sum = 0, log_sums[TILE];

    forward(example, genome, sequences, chunk, hidden);
    for (int64_t s = first; s < end; s++)
        memcpy(mine + (sequences->offset[s] - sequences->offset[first]) * width,
               dense + example->calibration.sequences.offset[example->batch.sequence[s]] * width,
               (size_t)((sequences->offset[s + 1] - sequences->offset[s]) * width) * sizeof *mine);
    for (int64_t at = 0; at < n; at += TILE) {
        int64_t count = n - at < TILE ? n - at : TILE;
        logits_of(example->model, mine, rows + at, count, p);
        logits_of(example->model, hidden, rows + at, count, q);
        wn_fitness_dense(example->spec.fitness, p, count, vocabulary, log_sums);
        sum +=
            wn_fitness_sum(example->spec.fitness, p, log_sums, q, targets + at, count, vocabulary, example->spec.top);
    }
    wn_free(hidden);
    wn_free(mine);
    wn_free(p);
    wn_free(q);
    wn_free(rows);
    wn_free(targets);
    return sum;
}

static void plain_fitness(struct example *example, double *fitness)
{
    const struct wn_sequences *all = &example->calibration.sequences;
    const int64_t width = example->model->config.hidden_size;
    float *dense = wn_alloc(wn_sequences_tokens(all) * width, sizeof *dense);
    struct wn_sequences sequences;
    int64_t targets = 0;

    for (int64_t c = 0; c < all->n_chunks; c++)
        forward(example, NULL, all, c, dense + all->offset[all->chunk[c]] * width);
    wn_sequences_init(&sequences);
    for (int64_t i = 0; i < example->batch.n_sequences; i++) {
        wn_sequences_append(&sequences, all->ids + all->offset[example->batch.sequence[i]], example->batch.length[i]);
        targets += example->batch.length[i] - 1;
    }
    wn_sequences_cut(&sequences);
    CHECK(sequences.n_chunks == 1 + (example->batch.tokens > WN_CHUNK_TOKENS));
    CHECK(example->batch.length[example->batch.n_sequences - 1] == 4);
    for (int64_t i = 0; i < COUNT; i++) {
        double sum = 0;
        for (int64_t c = 0; c < sequences.n_chunks; c++)
            sum += chunk_sum(example, example->genomes + i * example->space.n_genes, &sequences, c, dense);
        fitness[i] = wn_fitness_finish(example->spec.fitness, sum, targets);
    }
    wn_sequences_release(&sequences);
    wn_free(dense);
}

/* ---- checks ---- */

static struct wn_judge_work judge_all(struct wn_par *par, const struct example *example, double *fitness)
{
    struct wn_judge *judge;

    CHECK_OK(wn_judge_open(par, &example->spec, &judge));
    CHECK_OK(wn_judge_evaluate(judge, example->genomes, COUNT, &example->batch, fitness, NULL));
    struct wn_judge_work work = wn_judge_work(judge);
    wn_judge_close(&judge);
    CHECK(!judge);
    return work;
}

static bool same(const double *a, const double *b)
{
    for (int i = 0; i < COUNT; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* It takes what it says, with all states kept. */
static struct wn_judge_work check_memory(struct wn_par *serial, const struct example *example, double *fitness)
{
    struct wn_judge *judge;

    CHECK_OK(wn_judge_open(serial, &example->spec, &judge));
    int64_t before = wn_memory_bytes();
    wn_memory_reset_peak();
    CHECK_OK(wn_judge_evaluate(judge, example->genomes, COUNT, &example->batch, fitness, NULL));
    double share = (double)(wn_memory_peak() - before) / (double)wn_judge_bytes(&example->spec);
    CHECK(share > 0.9 && share <= 1.01);
    CHECK(wn_judge_shared_bytes(&example->spec) == 71 * 64 * 128 * 4);
    struct wn_judge_work work = wn_judge_work(judge);
    wn_judge_close(&judge);
    return work;
}

/* Nothing shared, few states, two threads. */
static void check_more_ways(struct wn_par *serial, struct example *example, const double *plain,
                            const struct wn_judge_work *shared)
{
    double found[COUNT];

    example->spec.alone = true;
    example->spec.states = COUNT;
    struct wn_judge_work alone = check_memory(serial, example, found);
    CHECK(same(plain, found) && alone.block_tokens == alone.tokens * example->model->config.n_blocks);
    CHECK(shared->block_tokens < alone.block_tokens * 4 / 5);
    example->spec.alone = false;
    example->spec.states = 1;
    struct wn_judge_work few = judge_all(serial, example, found);
    CHECK(same(plain, found) && few.walks > shared->walks && few.block_tokens > shared->block_tokens);
    example->spec.states = 1000;
    test_set_threads(2);
    judge_all(serial, example, found);
    CHECK(same(plain, found));
    test_set_threads(1);
}

/* Every way of doing it gives the bits of the plain one. */
static void check_ways(struct wn_par *serial, struct wn_par *par, enum wn_space_kind kind, double target,
                       enum wn_fitness fitness, int64_t tokens)
{
    struct example example;
    double plain[COUNT], found[COUNT];

    example_open(&example, kind, target, fitness, tokens);
    test_set_threads(1);
    if (wn_par_size(par) == 1)
        plain_fitness(&example, plain);
    struct wn_judge_work shared = judge_all(serial, &example, found);
    if (wn_par_size(par) > 1)
        memcpy(plain, found, sizeof plain); /* seen to be the plain one by the run on one rank */
    CHECK(same(plain, found) && plain[0] == plain[1] && plain[3] == plain[4] && plain[0] != plain[3] &&
          plain[0] != plain[2]);
    CHECK(shared.tokens == COUNT * tokens && shared.walks == 1);
    if (wn_par_size(par) == 1 && fitness == WN_FITNESS_kl)
        check_more_ways(serial, &example, plain, &shared);
    if (wn_par_size(par) > 1) {
        struct wn_judge_work mine = judge_all(par, &example, found);
        CHECK(same(plain, found));
        CHECK(wn_par_sum(par, (double)mine.tokens) == (double)shared.tokens);
        CHECK(wn_par_max(par, mine.tokens) < shared.tokens);
    }
    example_close(&example);
}

/* A candidate of unrounded weights is the dense model, but for the chunks it is computed in. */
static wn_status unrounded(void *context, int64_t block, int64_t linear, int32_t level, float *weights)
{
    struct source *source = context;
    const struct wn_linear_info *info = &source->model->layout.linears[linear];

    (void)level;
    WN_TRY(wn_model_load_block(source->model, block, source->block));
    memcpy(weights, source->block->linears[linear], (size_t)(info->rows * info->columns) * sizeof *weights);
    return WN_OK;
}

static void check_dense(struct wn_par *par)
{
    struct example example;
    double found[COUNT];

    example_open(&example, WN_SPACE_BITS, 3, WN_FITNESS_kl, 260);
    example.spec.weights = unrounded;
    judge_all(par, &example, found);
    for (int i = 0; i < COUNT; i++)
        CHECK(fabs(found[i]) < 1e-9);
    example_close(&example);
}

/* An error on one rank is that of all; the judge can be asked again. */
static void check_failure(struct wn_par *par)
{
    struct example example;
    double found[COUNT], again[COUNT];
    struct wn_judge *judge;

    example_open(&example, WN_SPACE_BITS, 3, WN_FITNESS_perplexity, 260);
    CHECK_OK(wn_judge_open(par, &example.spec, &judge));
    CHECK_OK(wn_judge_evaluate(judge, example.genomes, COUNT, &example.batch, found, NULL));
    example.source.fail_at = example.source.calls + (wn_par_rank(par) == 0 ? 9 : 100000);
    CHECK(wn_judge_evaluate(judge, example.genomes, COUNT, &example.batch, again, NULL) == WN_ERR_IO);
    CHECK_MESSAGE("a level cannot be read");
    CHECK_OK(wn_judge_evaluate(judge, example.genomes, COUNT, &example.batch, again, NULL));
    CHECK(same(found, again));
    wn_judge_close(&judge);
    example_close(&example);
}

/* A short search by KL ends better than it began, on tokens that it did not choose, and the same on all ranks. */
static void check_search(struct wn_par *serial, struct wn_par *par)
{
    struct wn_par *const pars[2] = {serial, par};
    struct wn_search_state state[2];
    struct example example;
    double found[COUNT];

    example_open(&example, WN_SPACE_BITS, 2.5, WN_FITNESS_kl, 1028);
    const size_t bytes = (size_t)example.space.n_genes * sizeof(int32_t);
    const int64_t generations = wn_par_size(par) > 1 ? 2 : 6;
    for (int i = 0; i < (wn_par_size(par) > 1 ? 2 : 1); i++) {
        struct wn_judge *judge;
        CHECK_OK(wn_judge_open(pars[i], &example.spec, &judge));
        example.search.context = judge;
        CHECK_OK(wn_search_begin(&example.search, &state[i]));
        memcpy(example.genomes, state[i].parent, bytes);
        while (state[i].generation < generations)
            CHECK_OK(wn_search_step(&example.search, &state[i]));
        memcpy(example.genomes + example.space.n_genes, state[i].parent, bytes);
        CHECK_OK(wn_judge_evaluate(judge, example.genomes, COUNT, &example.batch, found, NULL));
        CHECK(found[1] < found[0]);
        wn_judge_close(&judge);
    }
    if (wn_par_size(par) > 1) {
        CHECK(!memcmp(state[0].parent, state[1].parent, bytes));
        CHECK(state[0].parent_fitness == state[1].parent_fitness);
        wn_search_state_release(&state[1]);
    }
    wn_search_state_release(&state[0]);
    example_close(&example);
}

int main(int argc, char **argv)
{
    struct wn_par *par, *serial;

    CHECK_OK(wn_par_start(&argc, &argv, &par));
    CHECK(wn_par_size(par) == test_ranks_asked());
    wn_par_start_serial(&serial);
    check_ways(serial, par, WN_SPACE_BITS, 3, WN_FITNESS_kl, 2180);
    check_ways(serial, par, WN_SPACE_DROP, 0.4, WN_FITNESS_js, 260);
    if (wn_par_size(par) == 1) {
        check_ways(serial, par, WN_SPACE_BITS, 2.25, WN_FITNESS_sparse_kl, 260);
    }
    check_dense(par);
    check_failure(par);
    check_search(serial, par);
    wn_par_finish(&serial);
    wn_par_finish(&par);
    return test_finish();
}
