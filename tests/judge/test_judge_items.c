/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidates judged by a task. Of every kind of task the dense model gets what torch says of its answers
 * (tests/eval/golden_requests.json), in the unit of the main metric; candidates that are not dense get the same bits
 * whatever is shared, however many states are kept, on any number of threads and ranks; and what searches may see is
 * fixed and leaves the rest alone. Run alone, with 3 ranks, and with 4 on two nodes.
 */
#include "test.h"

#include <winnow/judge.h>

#include <cjson/cJSON.h>

enum { COUNT = 5 };

struct example {
    struct wn_model *model;
    struct wn_block *block; /* read by levels */
    int64_t index;          /* of it */
    struct wn_space space;
    struct wn_eval_set set;
    struct wn_judge_items items;
    struct wn_judge_spec spec;
    int32_t *genomes; /* [COUNT, n_genes]; the first two are uniform, the last two equal */
};

/* Level l: multiples of 2^-l / 8; the highest: the weights as they are. */
static wn_status rounded(void *context, int64_t block, int64_t linear, int32_t level, float *weights)
{
    struct example *example = context;
    const struct wn_linear_info *info = &example->model->layout.linears[linear];
    const float unit = ldexpf(1, -level) / 8;

    if (example->index != block)
        WN_TRY(wn_model_load_block(example->model, block, example->block));
    example->index = block;
    for (int64_t i = 0; i < info->rows * info->columns; i++) {
        float weight = example->block->linears[linear][i];
        weights[i] = level == example->space.high ? weight : unit * rintf(weight / unit);
    }
    return WN_OK;
}

static void draw_candidates(struct example *example)
{
    int64_t n = example->space.n_genes;

    example->genomes = wn_alloc(COUNT * n, sizeof *example->genomes);
    for (int64_t i = 0; i < COUNT; i++) {
        struct wn_draws draws = wn_draws_begin(2, WN_DRAW_OFFSPRING, 1, i == COUNT - 1 ? i - 1 : i, 0);
        wn_space_uniform(&example->space, example->genomes + i * n);
        if (i > 1)
            wn_space_mutate(&example->space, &draws, example->genomes + i * n);
    }
}

/* A task of the sweep, `entry` as in "evaluate.tasks", before prefixes are shared. */
static void open_task(struct example *example, const char *entry, double share)
{
    cJSON *json = cJSON_Parse(entry);
    char name[64];
    const struct wn_eval *kind = wn_requests_kind(WN_SOURCE_DIR, json, name);

    wn_eval_set_init(&example->set);
    CHECK_OK(kind->prepare(WN_SOURCE_DIR, name, json, example->model, &example->set));
    wn_judge_items_create(&example->set, share, &example->items);
    cJSON_Delete(json);
}

static void example_open(struct example *example, const char *entry, double share)
{
    char *path = test_path("sweeps/demo/model");

    *example = (struct example){.index = -1};
    CHECK_OK(wn_model_open(path, NULL, &example->model));
    wn_free(path);
    example->block = wn_block_create(example->model);
    const struct wn_layout *layout = &example->model->layout;
    int64_t weights[WN_MAX_LINEARS];
    for (int l = 0; l < layout->n_linears; l++)
        weights[l] = layout->linears[l].rows * layout->linears[l].columns;
    const struct wn_space_request request = {.kind = WN_SPACE_BITS,
                                             .n_blocks = example->model->config.n_blocks,
                                             .hidden = example->model->config.hidden_size,
                                             .n_linears = layout->n_linears,
                                             .weights = weights,
                                             .target = 2,
                                             .bits = WN_BITS(6) - 1};
    CHECK_OK(wn_space_create(&request, &example->space));
    open_task(example, entry, share);
    example->spec = (struct wn_judge_spec){.model = example->model,
                                           .space = &example->space,
                                           .items = &example->items,
                                           .fitness = WN_FITNESS_task,
                                           .weights = rounded,
                                           .context = example,
                                           .states = 1000};
    draw_candidates(example);
}

static void example_close(struct example *example)
{
    wn_judge_items_release(&example->items);
    wn_eval_set_release(&example->set);
    wn_free(example->genomes);
    wn_space_release(&example->space);
    wn_block_destroy(&example->block, example->model);
    wn_model_close(&example->model);
}

/* Items of about so many tokens, as a search draws them. */
static void draw_items(const struct example *example, int64_t tokens, struct wn_minibatch *batch)
{
    const struct wn_search_settings settings = {.tokens = {tokens}};
    const struct wn_search search = {
        .settings = &settings, .n_sequences = example->items.count, .lengths = example->items.tokens};

    wn_search_draw_batch(&search, 1, 0, batch);
}

static int64_t all_tokens(const struct wn_judge_items *items)
{
    int64_t tokens = 0;

    for (int64_t i = 0; i < items->count; i++)
        tokens += items->tokens[i];
    return tokens;
}

static struct wn_judge_work judge(struct wn_par *par, const struct example *example, int64_t count,
                                  const struct wn_minibatch *batch, double *fitness, double *accuracy)
{
    struct wn_judge *judge;

    CHECK_OK(wn_judge_open(par, &example->spec, &judge));
    CHECK_OK(wn_judge_evaluate(judge, example->genomes, count, batch, fitness, accuracy));
    struct wn_judge_work work = wn_judge_work(judge);
    wn_judge_close(&judge);
    return work;
}

/* ---- against torch ---- */

/* Of an item: its right answer by the log-likelihoods that torch finds. */
static double right_answer(const cJSON *values, const cJSON *item, const char *unit)
{
    const cJSON *gold = cJSON_GetObjectItem(item, "gold"), *text = cJSON_GetObjectItem(item, "text"), *value;
    double best = -INFINITY, parts = 1;
    int i = 0;

    if (text && !strcmp(unit, "nat/byte"))
        parts = (double)strlen(text->valuestring);
    if (text && !strcmp(unit, "nat/word"))
        for (const char *at = text->valuestring; (at = strchr(at, ' ')); at++)
            parts++;
    cJSON_ArrayForEach (value, values) {
        bool right = !gold && !cJSON_HasObjectItem(item, "texts") ? true : gold ? i == gold->valueint : i == 0;
        for (int g = 0; gold && g < cJSON_GetArraySize(gold); g++)
            right = right || i == cJSON_GetArrayItem(gold, g)->valueint;
        if (!strcmp(unit, "nat/character")) /* the texts are ASCII */
            parts = (double)strlen(cJSON_GetArrayItem(cJSON_GetObjectItem(item, "choices"), i)->valuestring);
        best = right && value->valuedouble / parts > best ? value->valuedouble / parts : best;
        i++;
    }
    return best;
}

/* Minus the mean over all items of a file. */
static double expected_fitness(const char *path, const cJSON *items, const char *unit)
{
    char *whole = test_path(path), line[65536];
    FILE *file = fopen(whole, "r");
    double sum = 0;
    int64_t i = 0;

    CHECK(file != NULL);
    while (file && fgets(line, sizeof line, file)) {
        cJSON *item = cJSON_Parse(line);
        if (!cJSON_HasObjectItem(item, "task"))
            sum += right_answer(cJSON_GetObjectItem(cJSON_GetArrayItem(items, (int)i++), "values"), item, unit);
        cJSON_Delete(item);
    }
    if (file)
        fclose(file);
    CHECK(i == cJSON_GetArraySize(items));
    wn_free(whole);
    return -sum / (double)i;
}

/* All items, by a candidate whose weights are those of the checkpoint. */
static void check_golden(struct wn_par *par, const cJSON *golden, const char *task, const char *metric,
                         const char *unit, const char *accuracy_name)
{
    const cJSON *about = cJSON_GetObjectItem(golden, task);
    char *path = wn_format("tests/eval/requests/%s.jsonl", task);
    char *entry = wn_format("{\"requests\": \"%s\", \"metrics\": [\"%s\"]}", path, metric);
    double fitness, accuracy, expected = expected_fitness(path, cJSON_GetObjectItem(about, "items"), unit);
    struct wn_minibatch batch;
    struct example example;

    example_open(&example, entry, 1);
    for (int64_t i = 0; i < example.space.n_genes; i++)
        example.genomes[i] = example.space.high;
    CHECK(example.items.count == cJSON_GetArraySize(cJSON_GetObjectItem(about, "items")));
    CHECK_TEXT(example.set.kind->gold->unit(&example.set), unit);
    draw_items(&example, all_tokens(&example.items), &batch);
    CHECK(batch.n_sequences == example.items.count);
    judge(par, &example, 1, &batch, &fitness, &accuracy);
    CHECK_NEAR(fitness, expected, 2e-5 * fabs(expected));
    if (accuracy_name)
        CHECK_NEAR(accuracy, cJSON_GetObjectItem(cJSON_GetObjectItem(about, "scores"), accuracy_name)->valuedouble,
                   1e-12);
    wn_minibatch_release(&batch);
    example_close(&example);
    wn_free(entry);
    wn_free(path);
}

static void check_all_golden(struct wn_par *par)
{
    char *path = test_path("tests/eval/golden_requests.json");
    cJSON *json = NULL;

    CHECK_OK(wn_json_read(path, false, &json));
    const cJSON *golden = cJSON_GetObjectItem(json, "demo");
    check_golden(par, golden, "groups", "acc", "nat", "acc");
    check_golden(par, golden, "groups", "acc_norm", "nat/character", "acc_norm");
    check_golden(par, golden, "groups", "acc_mutual_info", "nat", "acc");
    check_golden(par, golden, "contexts", "acc", "nat", "acc");
    check_golden(par, golden, "several", "mc2", "nat", "acc");
    check_golden(par, golden, "continuation", "acc", "nat", "acc");
    check_golden(par, golden, "pairs", "acc", "nat", "acc");
    check_golden(par, golden, "rolling_full", "bits_per_byte", "nat/byte", NULL);
    cJSON_Delete(json);
    wn_free(path);
}

/* ---- bits ---- */

static bool same(const double *a, const double *b)
{
    return !memcmp(a, b, COUNT * sizeof *a);
}

struct found {
    double fitness[COUNT], accuracy[COUNT];
};

static struct wn_judge_work check_way(struct wn_par *par, const struct example *example,
                                      const struct wn_minibatch *batch, const struct found *plain)
{
    struct found found;
    struct wn_judge_work work = judge(par, example, COUNT, batch, found.fitness, found.accuracy);

    CHECK(same(found.fitness, plain->fitness) && same(found.accuracy, plain->accuracy));
    return work;
}

/* Of one rank: what candidates share, or not. */
static void check_sharing(struct wn_par *serial, struct example *example, const struct wn_minibatch *batch,
                          const struct found *plain, const struct wn_judge_work *shared)
{
    int64_t blocks = example->model->config.n_blocks;

    example->spec.alone = true;
    struct wn_judge_work alone = check_way(serial, example, batch, plain);
    CHECK(alone.block_tokens == alone.tokens * blocks && shared->block_tokens < alone.block_tokens * 4 / 5);
    example->spec.alone = false;
    example->spec.states = 1;
    CHECK(check_way(serial, example, batch, plain).walks > shared->walks);
    example->spec.states = 1000;
    test_set_threads(2);
    check_way(serial, example, batch, plain);
    test_set_threads(1);
}

/* It takes what it says, at most. */
static void check_memory(struct wn_par *serial, const struct example *example, const struct wn_minibatch *batch)
{
    struct found found;
    struct wn_judge *judge;

    CHECK_OK(wn_judge_open(serial, &example->spec, &judge));
    int64_t before = wn_memory_bytes();
    wn_memory_reset_peak();
    CHECK_OK(wn_judge_evaluate(judge, example->genomes, COUNT, batch, found.fitness, found.accuracy));
    CHECK(wn_memory_peak() - before <= wn_judge_bytes(&example->spec));
    CHECK(wn_judge_shared_bytes(&example->spec) == 0);
    wn_judge_close(&judge);
}

/* `parts`: whether the batch is cut into several. */
static void check_ways(struct wn_par *serial, struct wn_par *par, const char *entry, int64_t tokens, bool parts)
{
    struct example example;
    struct wn_minibatch batch;
    struct found plain;

    example_open(&example, entry, 0.5);
    test_set_threads(1);
    draw_items(&example, tokens, &batch);
    struct wn_judge_work shared = judge(serial, &example, COUNT, &batch, plain.fitness, plain.accuracy);
    CHECK(plain.fitness[0] == plain.fitness[1] && plain.fitness[3] == plain.fitness[4]);
    CHECK(plain.fitness[0] != plain.fitness[2] && plain.fitness[0] != plain.fitness[3]);
    CHECK(plain.accuracy[0] >= 0 && plain.accuracy[0] <= 1);
    CHECK(parts == (shared.tokens > COUNT * WN_CHUNK_TOKENS));
    if (wn_par_size(par) == 1) {
        check_sharing(serial, &example, &batch, &plain, &shared);
        check_memory(serial, &example, &batch);
    } else {
        struct wn_judge_work mine = check_way(par, &example, &batch, &plain);
        CHECK(wn_par_max(par, mine.tokens) < shared.tokens);
        CHECK(wn_par_sum(par, (double)mine.tokens) == (double)shared.tokens);
    }
    wn_minibatch_release(&batch);
    example_close(&example);
}

/* ---- what searches may see ---- */

static bool has(const struct wn_judge_items *items, int64_t number)
{
    for (int64_t i = 0; i < items->count; i++)
        if (items->number[i] == number)
            return true;
    return false;
}

static void check_items(void)
{
    static const char entry[] = "{\"requests\": \"sweeps/demo/data/facts.jsonl\", \"limit\": 101}";
    struct wn_judge_items half, less, all;
    struct example example;

    example_open(&example, entry, 0.5);
    half = example.items;
    CHECK(half.count == 51);
    for (int64_t i = 1; i < half.count; i++)
        CHECK(half.number[i] > half.number[i - 1] && half.number[i] < 101);
    wn_judge_items_create(&example.set, 0.2, &less);
    CHECK(less.count == 21);
    for (int64_t i = 0; i < less.count; i++)
        CHECK(has(&half, less.number[i]));
    wn_judge_items_create(&example.set, 1, &all);
    CHECK(all.count == 101 && all.number[100] == 100 && all.target[101] == example.set.n_targets);
    CHECK(wn_sequences_tokens(&all.sequences) == wn_sequences_tokens(&example.set.sequences));
    CHECK(!memcmp(all.target_row, example.set.target_row, (size_t)all.target[101] * sizeof *all.target_row));
    wn_judge_items_release(&less);
    wn_judge_items_release(&all);
    example_close(&example);
    example_open(&example, "{\"requests\": \"tests/eval/requests/groups.jsonl\"}", 1);
    CHECK(all_tokens(&example.items) < wn_sequences_tokens(&example.items.sequences)); /* choices share contexts */
    example_close(&example);
}

int main(int argc, char **argv)
{
    static const char facts[] = "{\"requests\": \"sweeps/demo/data/facts.jsonl\"}";
    static const char passages[] = "{\"requests\": \"sweeps/demo/data/in_context.jsonl\"}";
    static const char texts[] = "{\"requests\": \"tests/eval/requests/rolling_full.jsonl\"}";
    struct wn_par *par, *serial;

    CHECK_OK(wn_par_start(&argc, &argv, &par));
    CHECK(wn_par_size(par) == test_ranks_asked());
    wn_par_start_serial(&serial);
    check_ways(serial, par, facts, 500, false);
    check_ways(serial, par, passages, 2500, true);
    if (wn_par_size(par) == 1) {
        check_ways(serial, par, texts, 100, false);
        check_all_golden(par);
        check_items();
    }
    wn_par_finish(&serial);
    wn_par_finish(&par);
    return test_finish();
}
