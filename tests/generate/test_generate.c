/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated text against transformers (make_golden.py): the same token ids, ends and texts, for prompts of all lengths,
 * with stop strings and limits. Equal bits on one and two threads; a batch does not depend on other batches; drawn
 * tokens follow the softmax and depend on (seed, prompt, draw, position) only; memory is what is predicted.
 */
#include <cjson/cJSON.h>
#include <omp.h>

#include <winnow/data.h>
#include <winnow/generate.h>
#include <winnow/linalg.h>

#include "keep_dense.h"
#include "test.h"

/* ---- the logits that every token is chosen from ---- */

static struct {
    uint64_t logits; /* hashes of all logits, added up: threads come in any order */
    int threads;     /* the most that chose tokens side by side */
} seen;

static int32_t watched_choose_token(const float *logits, int64_t count, double temperature, double uniform)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        hash = (hash ^ bits) * UINT64_C(1099511628211);
    }
#pragma omp critical
    {
        seen.logits += hash;
        seen.threads = omp_get_num_threads() > seen.threads ? omp_get_num_threads() : seen.threads;
    }
    return wn_choose_token(logits, count, temperature, uniform);
}

/* The chosen tokens alone would hide a difference in the last bits. */
#define wn_choose_token watched_choose_token
#include "generate/generate.c"
#undef wn_choose_token

/* ---- models and prompts ---- */

static void encode_prompt(const struct wn_model *model, const char *text, int64_t most, struct wn_prompt *prompt)
{
    struct wn_ids ids = {0};
    CHECK_OK(wn_encode(model->tokenizer, text, (int64_t)strlen(text), true, &ids));
    *prompt = (struct wn_prompt){.ids = ids.data, .count = ids.count, .most = most};
    wn_prompt_truncate(prompt, model->config.max_positions);
}

static void read_row(const struct wn_model *model, const cJSON *row, struct wn_prompt *prompt)
{
    const cJSON *stops = cJSON_GetObjectItem(row, "stop");
    encode_prompt(model, cJSON_GetObjectItem(row, "prompt")->valuestring,
                  cJSON_GetObjectItem(row, "max_tokens")->valueint, prompt);
    CHECK(prompt->count == cJSON_GetObjectItem(row, "tokens")->valueint);
    prompt->n_stops = cJSON_GetArraySize(stops);
    prompt->stops = wn_alloc(prompt->n_stops, sizeof *prompt->stops);
    for (int s = 0; s < (int)prompt->n_stops; s++)
        prompt->stops[s] = wn_strdup(cJSON_GetArrayItem(stops, s)->valuestring);
}

static void read_prompts(const struct wn_model *model, const struct wn_documents *rows,
                         struct wn_generation *generation)
{
    *generation = (struct wn_generation){.n_prompts = rows->count, .draws = 1};
    generation->prompts = wn_alloc_zero(rows->count, sizeof *generation->prompts);
    for (int64_t i = 0; i < rows->count; i++) {
        cJSON *row;
        CHECK_OK(wn_documents_parse(rows, i, &row));
        read_row(model, row, &generation->prompts[i]);
        generation->most =
            generation->prompts[i].most > generation->most ? generation->prompts[i].most : generation->most;
        cJSON_Delete(row);
    }
    wn_generation_take_eos(generation, model);
}

static void generate_all(const struct wn_kept_blocks *kept, const struct wn_generation *generation,
                         struct wn_generated *generated)
{
    wn_generated_init(generated, generation);
    for (int64_t i = wn_generation_batches(generation) - 1; i >= 0; i--) /* any order */
        CHECK_OK(wn_generate_batch(kept, generation, i, generated));
    wn_generated_decode(generated, generation, kept->model->tokenizer);
}

static bool same_records(const struct wn_generated *a, const struct wn_generated *b)
{
    return !memcmp(a->records, b->records, (size_t)(a->n_texts * (2 + a->most)) * sizeof *a->records);
}

/* ---- against transformers ---- */

static void compare_row(const char *file, int64_t number, const cJSON *row, const struct wn_generation *generation,
                        const struct wn_generated *generated)
{
    const cJSON *ids = cJSON_GetObjectItem(row, "ids");
    const char *end = cJSON_GetObjectItem(row, "end")->valuestring;
    int64_t count = wn_generated_count(generated, number), mine = wn_generated_end(generated, number);
    const char *text = mine == WN_END_LIMIT ? "limit"
                       : mine == WN_END_EOS ? "eos"
                                            : generation->prompts[number].stops[mine - WN_END_STOP];
    bool same = count == cJSON_GetArraySize(ids) && !strcmp(text, end) &&
                !strcmp(generated->texts[number], cJSON_GetObjectItem(row, "text")->valuestring);
    for (int i = 0; same && i < count; i++)
        same = wn_generated_ids(generated, number)[i] == cJSON_GetArrayItem(ids, i)->valueint;
    for (int64_t i = count; i < generated->most; i++)
        CHECK(wn_generated_ids(generated, number)[i] == -1);
    if (!same) {
        test_failures++;
        fprintf(stderr, "%s:%lld: \"%s\" (%s), expected \"%s\" (%s)\n", file, (long long)number + 1,
                generated->texts[number], text, cJSON_GetObjectItem(row, "text")->valuestring, end);
    }
}

static void check_golden(const char *directory, const char *file)
{
    char *path = test_path(file);
    struct wn_model *model;
    struct wn_documents rows;
    struct wn_generation generation;
    struct wn_generated generated, again;
    struct wn_kept_blocks kept;
    CHECK_OK(wn_model_open(directory, NULL, &model));
    CHECK_OK(wn_documents_open(path, true, &rows));
    keep_dense(model, &kept);
    read_prompts(model, &rows, &generation);
    CHECK(generation.n_prompts > 100 && generation.prompts[generation.n_prompts - 1].count > 0);
    int64_t truncated = 0;
    for (int64_t i = 0; i < generation.n_prompts; i++)
        truncated += generation.prompts[i].truncated;
    CHECK(truncated > 0);
    seen.logits = 0;
    seen.threads = 0;
    generate_all(&kept, &generation, &generated);
    const uint64_t logits = seen.logits;
    CHECK(seen.threads == 1);
    for (int64_t i = 0; i < rows.count; i++) {
        cJSON *row;
        CHECK_OK(wn_documents_parse(&rows, i, &row));
        compare_row(file, i, row, &generation, &generated);
        cJSON_Delete(row);
    }
    test_set_threads(2);
    seen.logits = 0;
    generate_all(&kept, &generation, &again);
    omp_set_num_threads(1);
    CHECK(seen.threads == 2 && seen.logits == logits);
    CHECK(same_records(&generated, &again));
    wn_generated_release(&generated);
    wn_generated_release(&again);
    wn_generation_release(&generation);
    wn_kept_blocks_release(&kept);
    wn_documents_close(&rows);
    wn_model_close(&model);
    wn_free(path);
}

/* ---- the rest on the demo's model ---- */

/* Prompts with a long common beginning; `alone`: one prompt of them. */
static void make_shots(const struct wn_model *model, int64_t count, int64_t alone, int64_t most,
                       struct wn_generation *generation)
{
    static const char *const names[] = {"Lia Hart", "Petra Vale", "Ines Lund", "Gita Holm", "Nat North"};
    int64_t n = alone >= 0 ? 1 : count;
    *generation = (struct wn_generation){.n_prompts = n, .draws = 1, .most = most};
    generation->prompts = wn_alloc_zero(n, sizeof *generation->prompts);
    for (int64_t i = 0; i < n; i++) {
        int64_t which = alone >= 0 ? alone : i;
        char *text = wn_format("Question: What pet does Tarn Dale have?\nAnswer: parrot\nQuestion: What does Ted Holm "
                               "like to eat?\nAnswer: plums\nQuestion: What pet does %s have?%.*s\nAnswer:",
                               names[which % 5], (int)(which / 5), "?????????");
        encode_prompt(model, text, most, &generation->prompts[i]);
        wn_free(text);
    }
}

/* A common beginning that is run once gives the tokens that each prompt gets alone. */
static void check_prefix(const struct wn_kept_blocks *kept)
{
    struct wn_generation shots, one;
    struct wn_generated together, alone;
    make_shots(kept->model, 40, -1, 12, &shots);
    generate_all(kept, &shots, &together);
    CHECK(wn_generation_batches(&shots) == 2);
    struct wn_generate_work work;
    double rows = 0;
    for (int64_t i = 0; i < 40; i++)
        rows += (double)shots.prompts[i].count;
    wn_generate_work(kept->model, &shots, &work);
    CHECK(work.prompt_rows < rows / 2);
    CHECK(work.rows == 40 * 11 && work.step_rows == 11 * (32 + 16));
    for (int64_t i = 0; i < 40; i++) {
        make_shots(kept->model, 40, i, 12, &one);
        generate_all(kept, &one, &alone);
        CHECK(!memcmp(wn_generated_ids(&alone, 0), wn_generated_ids(&together, i), 12 * sizeof(int32_t)));
        wn_generated_release(&alone);
        wn_generation_release(&one);
    }
    wn_generated_release(&together);
    wn_generation_release(&shots);
}

static void check_bytes(const struct wn_kept_blocks *kept)
{
    struct wn_generation shots;
    struct wn_generated generated;
    make_shots(kept->model, 32, -1, 40, &shots);
    wn_generated_init(&generated, &shots);
    int64_t before = wn_memory_bytes();
    wn_memory_reset_peak();
    CHECK_OK(wn_generate_batch(kept, &shots, 0, &generated));
    double used = (double)(wn_memory_peak() - before), predicted = (double)wn_generate_bytes(kept->model, &shots);
    CHECK(used > 0.9 * predicted && used < 1.05 * predicted);
    CHECK(wn_memory_bytes() == before);
    wn_generated_release(&generated);
    wn_generation_release(&shots);
}

/* Draws differ, the same seed gives the same ones, and a prompt keeps them when others are added. */
static void check_draws(const struct wn_kept_blocks *kept)
{
    struct wn_generation many, one;
    struct wn_generated first, again, other, alone;
    make_shots(kept->model, 20, -1, 16, &many);
    many.draws = 3;
    many.temperature = 1.5;
    many.seed = 7;
    generate_all(kept, &many, &first);
    CHECK(first.n_texts == 60 && !first.borrowed);
    generate_all(kept, &many, &again);
    CHECK(same_records(&first, &again));
    CHECK(memcmp(wn_generated_ids(&first, 0), wn_generated_ids(&first, 1), 16 * sizeof(int32_t)));
    many.seed = 8;
    generate_all(kept, &many, &other);
    CHECK(!same_records(&first, &other));
    make_shots(kept->model, 20, 0, 16, &one);
    one.draws = 3;
    one.temperature = 1.5;
    one.seed = 7;
    generate_all(kept, &one, &alone);
    for (int64_t draw = 0; draw < 3; draw++)
        CHECK(!memcmp(wn_generated_ids(&first, draw), wn_generated_ids(&alone, draw), 16 * sizeof(int32_t)));
    struct wn_generated *all[] = {&first, &again, &other, &alone};
    for (int i = 0; i < 4; i++)
        wn_generated_release(all[i]);
    wn_generation_release(&many);
    wn_generation_release(&one);
}

/* A weight that is not a number ends generation with a reason. */
static void check_not_finite(const struct wn_model *model)
{
    struct wn_kept_blocks kept;
    struct wn_generation shots;
    struct wn_generated generated;
    keep_dense(model, &kept);
    kept.blocks[1].linears[0][5] = NAN;
    make_shots(model, 4, -1, 4, &shots);
    wn_generated_init(&generated, &shots);
    CHECK(wn_generate_batch(&kept, &shots, 0, &generated) == WN_ERR_NUMERIC);
    CHECK_MESSAGE("not finite");
    wn_generated_release(&generated);
    wn_generation_release(&shots);
    wn_kept_blocks_release(&kept);
}

/* Branches that are skipped keep no weights, and what is generated is that of a block without them. */
static void check_skipped(const struct wn_model *model)
{
    struct wn_kept_blocks dropped, zero;
    struct wn_block *block = wn_block_create(model);
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    struct wn_generation shots;
    struct wn_generated with, without;
    keep_dense(model, &zero);
    wn_kept_blocks_init(&dropped, model);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        block->skip[WN_BRANCH_MLP] = b == 2;
        wn_kept_blocks_take(&dropped, b, block, none);
    }
    block->skip[WN_BRANCH_MLP] = false;
    int down = model->layout.n_linears - 1;
    CHECK(dropped.blocks[2].linears[0] && !dropped.blocks[2].linears[down]);
    memset(zero.blocks[2].linears[down], 0,
           (size_t)(model->layout.linears[down].rows * model->layout.linears[down].columns) * sizeof(float));
    make_shots(model, 4, -1, 8, &shots);
    generate_all(&dropped, &shots, &with);
    generate_all(&zero, &shots, &without);
    CHECK(same_records(&with, &without));
    wn_generated_release(&with);
    wn_generated_release(&without);
    wn_generation_release(&shots);
    wn_kept_blocks_release(&zero);
    wn_kept_blocks_release(&dropped);
    wn_block_destroy(&block, model);
}

/* ---- packed blocks ---- */

/* Weights on grids of `bits` bits, one for each row, or (16) as bf16. */
static void round_linear(const struct wn_linear_info *linear, int bits, struct wn_compressed *form)
{
    int64_t columns = linear->columns, count = linear->rows * columns;
    for (int64_t i = 0; bits == 16 && i < count; i++) {
        uint32_t whole;
        memcpy(&whole, &form->weight[i], sizeof whole);
        whole &= 0xFFFF0000;
        memcpy(&form->weight[i], &whole, sizeof whole);
    }
    if (bits == 16)
        return;
    form->bits = bits;
    form->group = columns;
    form->n_groups = 1;
    form->codes = wn_alloc(count, 1);
    form->scales = wn_alloc(linear->rows, sizeof(float));
    form->zeros = wn_alloc(linear->rows, sizeof(float));
    for (int64_t i = 0; i < count; i++) {
        int64_t row = i / columns;
        struct wn_grid grid = wn_grid_fit(form->weight + row * columns, i % columns ? 0 : columns, bits, false);
        if (i % columns == 0) {
            form->scales[row] = grid.scale;
            form->zeros[row] = grid.zero;
        }
        grid = (struct wn_grid){form->scales[row], form->zeros[row], (1 << bits) - 1};
        form->codes[i] = (uint8_t)wn_grid_code(&grid, form->weight[i]);
        form->weight[i] = wn_grid_value(&grid, form->codes[i]);
    }
}

/* The blocks of a model that was rounded, packed, and as fp32. */
static void keep_rounded(const struct wn_model *model, int bits, struct wn_kept_blocks *packed,
                         struct wn_kept_blocks *plain)
{
    const struct wn_layout *layout = &model->layout;
    struct wn_block *block = wn_block_create(model);
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    wn_kept_blocks_init(packed, model);
    wn_kept_blocks_init(plain, model);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        for (int l = 0; l < layout->n_linears; l++) {
            const struct wn_linear_info *linear = &layout->linears[l];
            struct wn_compressed form;
            wn_compressed_init(&form, linear->rows, linear->columns, block->linears[l], NULL);
            round_linear(linear, bits, &form);
            wn_kept_blocks_take_linear(packed, b, l, &form);
            wn_compressed_release(&form);
            CHECK(!packed->blocks[b].linears[l] && packed->blocks[b].sources[l]);
            plain->blocks[b].linears[l] = wn_alloc(linear->rows * linear->columns, sizeof(float));
            memcpy(plain->blocks[b].linears[l], block->linears[l],
                   (size_t)(linear->rows * linear->columns) * sizeof(float));
        }
        wn_kept_blocks_take(packed, b, block, none);
        wn_kept_blocks_take(plain, b, block, none);
        CHECK(!plain->blocks[b].sources[0]);
    }
    wn_block_destroy(&block, model);
}

/* All blocks as bytes, and from them. */
static void copy_by_bytes(const struct wn_kept_blocks *kept, struct wn_kept_blocks *copy)
{
    wn_kept_blocks_init(copy, kept->model);
    for (int64_t b = 0; b < kept->model->config.n_blocks; b++) {
        int64_t bytes = wn_kept_blocks_pack(kept, b, NULL);
        uint8_t *data = wn_alloc(bytes, 1);
        CHECK(wn_kept_blocks_pack(kept, b, data) == bytes);
        wn_kept_blocks_unpack(copy, b, data);
        memset(data, 0xAA, (size_t)bytes);
        wn_free(data);
        CHECK(copy->blocks[b].sources[0] && !copy->blocks[b].linears[0]);
    }
}

/* Packed blocks are smaller, and every logit has the bits of fp32 blocks, prompts and steps, on any threads. */
static void check_packed(const struct wn_model *model, int bits, double most)
{
    struct wn_kept_blocks packed, plain, copy;
    struct wn_generation shots;
    struct wn_generated texts, expected;
    uint64_t logits;
    int64_t before = wn_memory_bytes();
    keep_rounded(model, bits, &packed, &plain);
    int64_t dense = model->config.n_blocks * wn_model_block_weights(model) * (int64_t)sizeof(float);
    int64_t pointers = 2 * model->config.n_blocks * (int64_t)sizeof(struct wn_block);
    int64_t both = wn_memory_bytes() - before - pointers;
    CHECK((double)(both - dense) < most * (double)dense);
    make_shots(model, 40, -1, 12, &shots);
    seen.logits = 0;
    generate_all(&plain, &shots, &expected);
    logits = seen.logits;
    for (int threads = 1; threads <= 3; threads++) {
        test_set_threads(threads);
        seen.logits = 0;
        int64_t now = wn_memory_bytes();
        wn_memory_reset_peak();
        generate_all(&packed, &shots, &texts);
        CHECK(wn_memory_peak() - now <= wn_generate_bytes(model, &shots) + (1 << 20));
        CHECK(seen.logits == logits && same_records(&texts, &expected));
        wn_generated_release(&texts);
    }
    test_set_threads(1);
    copy_by_bytes(&packed, &copy);
    seen.logits = 0;
    generate_all(&copy, &shots, &texts);
    CHECK(seen.logits == logits);
    wn_generated_release(&texts);
    wn_generated_release(&expected);
    wn_generation_release(&shots);
    wn_kept_blocks_release(&copy);
    wn_kept_blocks_release(&plain);
    wn_kept_blocks_release(&packed);
}

/* ---- tokens and stops ---- */

static void check_choice(void)
{
    enum { COUNT = 5, DRAWS = 200000 };
    const float logits[COUNT] = {0, 1, 3, 3, -2};
    double expected[COUNT], sum = 0;
    int64_t hits[COUNT] = {0};
    CHECK(wn_choose_token(logits, COUNT, 0, 0.99) == 2);
    for (int i = 0; i < COUNT; i++)
        sum += expected[i] = exp(logits[i] / 2.0);
    for (uint64_t i = 0; i < DRAWS; i++)
        hits[wn_choose_token(logits, COUNT, 2, wn_random_uniform(3, 1, i))]++;
    for (int i = 0; i < COUNT; i++) { /* five standard deviations of a share */
        double p = expected[i] / sum;
        CHECK_NEAR((double)hits[i] / DRAWS, p, 5 * sqrt(p * (1 - p) / DRAWS));
    }
    CHECK(wn_choose_token(logits, COUNT, 2, 0) == 0);
    CHECK(wn_choose_token(logits, COUNT, 2, 1 - 0x1p-53) == COUNT - 1);
    CHECK(wn_choose_token(logits, COUNT, 1e-3, 0.75) == 3); /* the others underflow */
}

/* The ids of a text, without special tokens. */
static struct wn_ids ids_of(const struct wn_model *model, const char *text)
{
    struct wn_ids ids = {0};
    CHECK_OK(wn_encode(model->tokenizer, text, (int64_t)strlen(text), false, &ids));
    return ids;
}

static void check_stops(const struct wn_model *model)
{
    char *stops[] = {"xyz.", "\n\n", "\n", "</s>"};
    struct wn_prompt prompt = {.n_stops = 4, .stops = stops};
    struct wn_ids ids = ids_of(model, "It was a foggy evening in the old town and xy");
    CHECK(wn_find_stop(model->tokenizer, &prompt, ids.data, ids.count) == -1);
    wn_ids_release(&ids);
    ids = ids_of(model, "It was a foggy evening in the old town and xyz.");
    CHECK(wn_find_stop(model->tokenizer, &prompt, ids.data, ids.count) == 0);
    CHECK(wn_find_stop(model->tokenizer, &prompt, ids.data, ids.count - 1) == -1);
    wn_ids_release(&ids);
    ids = ids_of(model, "one\ntwo xyz. three");
    char *text = wn_generated_text(model->tokenizer, &prompt, ids.data, ids.count);
    CHECK_TEXT(text, "one"); /* cut at "xyz.", then at the newline */
    wn_free(text);
    int32_t end = wn_token_id(model->tokenizer, "</s>");
    ids.count = 2;
    wn_ids_append(&ids, end); /* a special token can be a stop string, and is not in the text */
    CHECK(wn_find_stop(model->tokenizer, &(struct wn_prompt){.n_stops = 1, .stops = stops + 3}, ids.data, 3) == 0);
    text = wn_generated_text(model->tokenizer, &prompt, ids.data, 3);
    CHECK(!strstr(text, "</s>"));
    wn_free(text);
    CHECK(wn_find_stop(model->tokenizer, &(struct wn_prompt){0}, ids.data, 3) == -1);
    text = wn_generated_text(model->tokenizer, &prompt, ids.data, 0);
    CHECK_TEXT(text, "");
    wn_free(text);
    wn_ids_release(&ids);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    omp_set_num_threads(1);
    char *demo = test_path("sweeps/demo/model"), *stories = test_shared("models/stories260k");
    struct wn_model *model;
    struct wn_kept_blocks kept;
    CHECK_OK(wn_model_open(demo, NULL, &model));
    keep_dense(model, &kept);
    check_choice();
    check_stops(model);
    check_prefix(&kept);
    check_bytes(&kept);
    check_draws(&kept);
    check_not_finite(model);
    check_skipped(model);
    check_packed(model, 16, 0.55);
    check_packed(model, 4, 0.17);
    check_packed(model, 2, 0.11);
    wn_kept_blocks_release(&kept);
    wn_model_close(&model);
    check_golden(demo, "tests/generate/golden_demo.jsonl");
    bool shared = access(stories, R_OK) == 0;
    if (shared)
        check_golden(stories, "tests/generate/golden_stories260k.jsonl");
    else
        printf("without stories260k: ../shared is absent\n");
    wn_free(demo);
    wn_free(stories);
    return test_finish();
}
