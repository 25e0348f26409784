/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A search on a level database of the demo model: weights and errors are those of the files, dynamic programming has
 * the least sum of errors, the search a lower KL than the uniform genome; levels and files that are missing.
 */
#include "io/folder.h"
#include "method/recipes.h"

#include <winnow/judge.h>

enum { LOWEST = 2, HIGHEST = 4, LEVELS = HIGHEST - LOWEST + 1, LENGTH = 64, SEQUENCES = 8 };

struct example {
    struct wn_model *model;
    char *folder;
    struct wn_space space;
    struct wn_sequences sequences;
    int64_t lengths[SEQUENCES];
    double *errors; /* [n_genes, LEVELS] as they were written */
    float *weights; /* of block 3, linear 2, at 3 bits */
};

/* One linear at one level, into the file: ||D||^2 / ||W||^2, as if inputs were white. */
static void write_level(struct example *example, struct wn_level_writer *writer, const struct wn_block *block,
                        int64_t b, int linear, int32_t level, struct wn_block *made)
{
    const struct wn_linear_info *info = &example->model->layout.linears[linear];
    const int64_t count = info->rows * info->columns;
    const float *dense = block->linears[linear];
    struct wn_level_entry entry = {.linear = linear, .level = level};
    struct wn_recipe recipe = {0};
    struct wn_compressed out;
    struct wn_packed packed;
    double off = 0, all = 0;
    char settings[64];

    snprintf(settings, sizeof settings, "{\"bits\": %d}", level);
    CHECK_OK(add_stage(&recipe, "rtn", settings));
    wn_compressed_init(&out, info->rows, info->columns, made->linears[linear], NULL);
    CHECK_OK(wn_recipe_compress(&recipe, info->name, dense, NULL, &out));
    for (int64_t i = 0; i < count; i++) {
        double d = (double)dense[i] - (double)out.weight[i];
        off += d * d;
        all += (double)dense[i] * (double)dense[i];
    }
    entry.error = off / all;
    example->errors[(b * example->model->layout.n_linears + linear) * LEVELS + level - LOWEST] = entry.error;
    if (b == 3 && linear == 2 && level == 3) {
        example->weights = wn_alloc(count, sizeof(float));
        memcpy(example->weights, out.weight, (size_t)count * sizeof(float));
    }
    wn_pack(&out, &packed);
    CHECK_OK(wn_level_writer_add(writer, &entry, &packed));
    wn_packed_release(&packed);
    wn_compressed_release(&out);
}

static void write_levels(struct example *example)
{
    const struct wn_model *model = example->model;
    struct wn_block *block = wn_block_create(model), *made = wn_block_create(model);

    example->errors = wn_alloc(example->space.n_genes * LEVELS, sizeof(double));
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        struct wn_level_writer *writer;
        CHECK_OK(wn_model_load_block(model, b, block));
        CHECK_OK(wn_level_writer_create(example->folder, "rtn", b, (int64_t)model->layout.n_linears * LEVELS, &writer));
        for (int l = 0; l < model->layout.n_linears; l++)
            for (int32_t level = LOWEST; level <= HIGHEST; level++)
                write_level(example, writer, block, b, l, level, made);
        CHECK_OK(wn_level_writer_finish(&writer));
    }
    wn_block_destroy(&block, model);
    wn_block_destroy(&made, model);
}

static void make_space(const struct wn_model *model, int64_t highest, struct wn_space *space)
{
    int64_t weights[WN_MAX_LINEARS];

    for (int l = 0; l < model->layout.n_linears; l++)
        weights[l] = model->layout.linears[l].rows * model->layout.linears[l].columns;
    const struct wn_space_request request = {.kind = WN_SPACE_BITS,
                                             .n_blocks = model->config.n_blocks,
                                             .n_linears = model->layout.n_linears,
                                             .weights = weights,
                                             .target = 2.5,
                                             .bits = WN_BITS(highest + 1) - WN_BITS(LOWEST)};
    CHECK_OK(wn_space_create(&request, space));
}

static void example_open(struct example *example)
{
    char *path = test_path("sweeps/demo/model");
    int32_t ids[LENGTH];

    *example = (struct example){.folder = folder_create()};
    CHECK_OK(wn_model_open(path, NULL, &example->model));
    make_space(example->model, HIGHEST, &example->space);
    write_levels(example);
    wn_sequences_init(&example->sequences);
    for (int64_t s = 0; s < SEQUENCES; s++) {
        for (int64_t i = 0; i < LENGTH; i++)
            ids[i] = (int32_t)(wn_random_u64(3, (uint64_t)s, (uint64_t)i) % 1024);
        wn_sequences_append(&example->sequences, ids, LENGTH);
        example->lengths[s] = LENGTH;
    }
    wn_sequences_cut(&example->sequences);
    wn_free(path);
}

static void example_close(struct example *example)
{
    wn_levels_remove(example->folder, "rtn", example->model->config.n_blocks);
    CHECK(access(example->folder, F_OK) != 0);
    wn_free(example->folder);
    wn_free(example->errors);
    wn_free(example->weights);
    wn_sequences_release(&example->sequences);
    wn_space_release(&example->space);
    wn_model_close(&example->model);
}

/* Weights across blocks, all errors, and what is not there. */
static void check_files(struct example *example)
{
    const struct wn_linear_info *info = &example->model->layout.linears[2];
    const int64_t count = info->rows * info->columns, values = example->space.n_genes * LEVELS;
    float *weights = wn_alloc(count, sizeof *weights);
    double *errors = wn_alloc(values * 2, sizeof *errors);
    struct wn_judge_levels levels;
    struct wn_space wider;

    wn_judge_levels_init(&levels, example->model, example->folder, "rtn");
    CHECK_OK(wn_judge_level_weights(&levels, 5, 2, 3, weights));
    CHECK(memcmp(weights, example->weights, (size_t)count * sizeof *weights) != 0);
    CHECK_OK(wn_judge_level_weights(&levels, 3, 2, 3, weights));
    CHECK(!memcmp(weights, example->weights, (size_t)count * sizeof *weights));
    CHECK_OK(wn_judge_level_errors(&levels, &example->space, errors));
    for (int64_t i = 0; i < values; i++)
        CHECK(errors[i] == example->errors[i] && errors[i] > 0);
    CHECK(wn_judge_level_weights(&levels, 3, 2, 5, weights) == WN_ERR_INPUT);
    CHECK_MESSAGE("block 3, linear 2: there is no level 5");
    make_space(example->model, HIGHEST + 1, &wider);
    CHECK(wn_judge_level_errors(&levels, &wider, errors) == WN_ERR_INPUT);
    CHECK_MESSAGE("block 0, linear 0: there is no level 5");
    wn_space_release(&wider);
    CHECK(wn_judge_level_weights(&levels, 6, 2, 3, weights) == WN_ERR_IO);
    CHECK_OK(wn_judge_level_weights(&levels, 3, 2, 3, weights)); /* it can be asked again */
    CHECK(!memcmp(weights, example->weights, (size_t)count * sizeof *weights));
    wn_judge_levels_close(&levels);
    wn_free(weights);
    wn_free(errors);
}

/* Uniform, dynamic programming and search under one budget, on all tokens. */
static void check_search(struct wn_par *par, struct example *example)
{
    const int64_t n = example->space.n_genes;
    struct wn_judge_levels levels;
    const struct wn_judge_spec spec = {.model = example->model,
                                       .space = &example->space,
                                       .calibration = &example->sequences,
                                       .fitness = WN_FITNESS_kl,
                                       .weights = wn_judge_level_weights,
                                       .context = &levels,
                                       .states = 100};
    const struct wn_search_settings settings = {.generations = 12,
                                                .offspring = 8,
                                                .n_stages = 1,
                                                .survivors = {1},
                                                .tokens = {SEQUENCES * LENGTH},
                                                .initial = 4,
                                                .initial_tokens = LENGTH};
    struct wn_search search = {.settings = &settings,
                               .space = &example->space,
                               .n_sequences = SEQUENCES,
                               .lengths = example->lengths,
                               .evaluate = wn_judge_evaluate};
    int32_t *genomes = wn_alloc(3 * n, sizeof *genomes);
    double fitness[3];
    struct wn_minibatch batch;
    struct wn_search_state state;
    struct wn_judge *judge;

    wn_judge_levels_init(&levels, example->model, example->folder, "rtn");
    CHECK_OK(wn_judge_open(par, &spec, &judge));
    search.context = judge;
    wn_space_uniform(&example->space, genomes);
    CHECK_OK(wn_space_minimize(&example->space, example->errors, genomes + n));
    CHECK(wn_space_error(&example->space, example->errors, genomes + n) <
          wn_space_error(&example->space, example->errors, genomes));
    CHECK_OK(wn_search_begin(&search, &state));
    while (state.generation < settings.generations)
        CHECK_OK(wn_search_step(&search, &state));
    memcpy(genomes + 2 * n, state.parent, (size_t)n * sizeof *genomes);
    wn_search_draw_batch(&search, 1, 0, &batch);
    CHECK_OK(wn_judge_evaluate(judge, genomes, 3, &batch, fitness, NULL));
    for (int i = 0; i < 3; i++)
        CHECK(wn_space_achieved(&example->space, genomes + i * n) == 2.5);
    CHECK(fitness[2] < fitness[0]);
    wn_minibatch_release(&batch);
    wn_search_state_release(&state);
    wn_judge_close(&judge);
    wn_judge_levels_close(&levels);
    wn_free(genomes);
}

int main(void)
{
    struct example example;
    struct wn_par *par;

    wn_par_start_serial(&par);
    example_open(&example);
    check_files(&example);
    check_search(par, &example);
    example_close(&example);
    wn_par_finish(&par);
    return test_finish();
}
