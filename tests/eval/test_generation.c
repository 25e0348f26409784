/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated text of the tasks in generation/ against transformers, rouge_score and Python (make_generation_golden.py):
 * a model without the MLP of block 2, compared with the whole model. Texts token by token, values of items, scores,
 * flips, perplexity under the dense model, drawn tokens; the dense model agrees with itself; mistakes are found.
 */
#include <cjson/cJSON.h>

#include <winnow/eval.h>
#include <winnow/linalg.h>

#include "point/point_impl.h"
#include "test.h"

enum { WITHOUT_MLP = 2 };

/* A task and what two models made of it. */
struct run {
    const char *name;
    struct wn_eval_set set;
    struct wn_schema schema;
    struct wn_record record, of_dense;
    struct wn_generated texts, dense;
    double *losses;
    cJSON *golden;
};

static void keep(const struct wn_model *model, int64_t without_mlp, struct wn_kept_blocks *kept)
{
    struct wn_block *block = wn_block_create(model);
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    wn_kept_blocks_init(kept, model);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        block->skip[WN_BRANCH_MLP] = b == without_mlp;
        wn_kept_blocks_take(kept, b, block, none);
    }
    block->skip[WN_BRANCH_MLP] = false;
    wn_block_destroy(&block, model);
}

static void generate(const struct wn_model *model, const struct wn_generation *generation, int64_t without_mlp,
                     struct wn_generated *texts)
{
    struct wn_kept_blocks kept;
    keep(model, without_mlp, &kept);
    wn_generated_init(texts, generation);
    for (int64_t b = 0; b < wn_generation_batches(generation); b++)
        CHECK_OK(wn_generate_batch(&kept, generation, b, texts));
    wn_generated_decode(texts, generation, model->tokenizer);
    wn_kept_blocks_release(&kept);
}

static cJSON *read_golden(const char *name)
{
    char *file = wn_format("tests/eval/generation/%s_golden.json", name), *path = test_path(file);
    cJSON *json = NULL;
    CHECK_OK(wn_json_read(path, false, &json));
    wn_free(file);
    wn_free(path);
    return json;
}

static void open_run(const struct wn_model *model, const char *name, struct run *run)
{
    char *path = wn_format("tests/eval/generation/%s.jsonl", name), kind_name[64];
    cJSON *entry = cJSON_CreateString(path);
    const struct wn_eval *kind = wn_requests_kind(WN_SOURCE_DIR, entry, kind_name);
    struct wn_problems problems;
    double tokens = 0;
    *run = (struct run){.name = name, .golden = read_golden(name)};
    wn_problems_init(&problems);
    CHECK_TEXT(kind->name, "generation");
    kind->check(WN_SOURCE_DIR, name, entry, &problems);
    CHECK(problems.count == 0);
    wn_eval_set_init(&run->set);
    CHECK_OK(kind->prepare(WN_SOURCE_DIR, name, entry, model, &run->set));
    wn_schema_init(&run->schema);
    wn_eval_fields(&run->set, &run->schema);
    wn_record_init(&run->record, &run->schema);
    wn_record_init(&run->of_dense, &run->schema);
    generate(model, run->set.generation, WITHOUT_MLP, &run->texts);
    generate(model, run->set.generation, -1, &run->dense);
    run->losses = wn_alloc(run->texts.n_texts, sizeof *run->losses);
    CHECK_OK(wn_dense_losses(model, run->set.generation, &run->texts, run->losses, &tokens));
    struct wn_outcome dense = {.generated = &run->dense};
    wn_eval_finish(&run->set, &(struct wn_outcome){.generated = &run->texts, .generated_loss = run->losses}, &dense,
                   &run->record);
    wn_eval_finish(&run->set, &dense, &dense, &run->of_dense);
    wn_problems_release(&problems);
    cJSON_Delete(entry);
    wn_free(path);
}

static void close_run(struct run *run)
{
    wn_record_release(&run->record);
    wn_record_release(&run->of_dense);
    wn_schema_release(&run->schema);
    wn_eval_set_release(&run->set);
    wn_generated_release(&run->texts);
    wn_generated_release(&run->dense);
    wn_free(run->losses);
    cJSON_Delete(run->golden);
}

/* ---- against Python ---- */

static int find(const struct run *run, const char *group, const char *name)
{
    char *path = wn_format("/%s/%s/%s", group, run->name, name);
    int field = wn_schema_find(&run->schema, path);
    wn_free(path);
    return field;
}

static double score_of(struct run *run, struct wn_record *record, const char *name)
{
    int field = find(run, "scores", name);
    CHECK(field >= 0);
    return field >= 0 ? *wn_record_f64(record, field) : (double)NAN;
}

static void compare(const struct run *run, const char *what, int64_t item, double value, const cJSON *expected)
{
    bool same = cJSON_IsNull(expected) ? isnan(value) : fabs(value - expected->valuedouble) < 1e-9;
    if (same)
        return;
    test_failures++;
    fprintf(stderr, "%s item %lld: %s = %.12g, expected %.12g\n", run->name, (long long)item, what, value,
            cJSON_IsNull(expected) ? (double)NAN : expected->valuedouble);
}

static void check_texts(struct run *run, int64_t item, const cJSON *row)
{
    const cJSON *ids = cJSON_GetObjectItem(row, "ids"), *end = cJSON_GetObjectItem(row, "end");
    int field_id = find(run, "tasks", "generated_id"), field_end = find(run, "tasks", "generated_end");
    int field_text = find(run, "tasks", "generated_text"), field_tokens = find(run, "tasks", "generated_tokens");
    int64_t draws = run->set.generation->draws, most = run->set.generation->most;
    CHECK(run->set.generation->prompts[item].count == cJSON_GetObjectItem(row, "prompt_tokens")->valueint);
    for (int64_t d = 0; d < draws; d++) {
        int64_t t = item * draws + d, bytes = run->schema.fields[field_text].text_bytes;
        const cJSON *expected = cJSON_GetArrayItem(ids, (int)d);
        const int32_t *mine = wn_record_i32(&run->record, field_id) + t * most;
        CHECK_TEXT((const char *)run->record.data[field_text] + t * bytes,
                   cJSON_GetArrayItem(cJSON_GetObjectItem(row, "text"), (int)d)->valuestring);
        CHECK(wn_record_i32(&run->record, field_end)[t] == cJSON_GetArrayItem(end, (int)d)->valueint);
        CHECK(wn_record_i32(&run->record, field_tokens)[t] == cJSON_GetArraySize(expected));
        for (int64_t i = 0; i < most; i++)
            CHECK(mine[i] == (i < cJSON_GetArraySize(expected) ? cJSON_GetArrayItem(expected, (int)i)->valueint : -1));
    }
}

/* Counts of BLEU and chrF++, where they are asked for. */
static void check_counts(struct run *run, int64_t item, const cJSON *row)
{
    static const char *const names[] = {"bleu_counts", "chrf_counts"};
    for (int k = 0; k < 2; k++) {
        const cJSON *expected = cJSON_GetObjectItem(row, names[k]), *count;
        int field = find(run, "tasks", names[k]);
        CHECK((field >= 0) == (expected != NULL));
        const int32_t *mine =
            expected ? wn_record_i32(&run->record, field) + item * cJSON_GetArraySize(expected) : NULL;
        cJSON_ArrayForEach (count, expected)
            CHECK(*mine++ == count->valueint);
    }
}

static void check_items(struct run *run)
{
    const cJSON *row, *value;
    int64_t item = 0, compared = 0;
    cJSON_ArrayForEach (row, cJSON_GetObjectItem(run->golden, "items")) {
        check_texts(run, item, row);
        check_counts(run, item, row);
        cJSON_ArrayForEach (value, cJSON_GetObjectItem(row, "values")) {
            int field = find(run, "tasks", value->string);
            if (field < 0)
                continue; /* not asked for */
            compared++;
            compare(run, value->string, item, wn_record_f64(&run->record, field)[item], value);
        }
        item++;
    }
    CHECK(item == run->set.generation->n_prompts && compared > 10 * item);
}

static void check_scores(struct run *run)
{
    const cJSON *score, *flips = cJSON_GetObjectItem(run->golden, "flips");
    cJSON_ArrayForEach (score, cJSON_GetObjectItem(run->golden, "scores")) {
        char *error = wn_format("%s_stderr", score->string);
        if (find(run, "scores", score->string) >= 0) {
            compare(run, score->string, -1, score_of(run, &run->record, score->string), cJSON_GetArrayItem(score, 0));
            compare(run, error, -1, score_of(run, &run->record, error), cJSON_GetArrayItem(score, 1));
        }
        wn_free(error);
    }
    CHECK_NEAR(score_of(run, &run->record, "dense_perplexity"),
               cJSON_GetObjectItem(run->golden, "dense_perplexity")->valuedouble, 1e-5);
    if (!flips || find(run, "scores", "flips") < 0)
        return;
    CHECK(score_of(run, &run->record, "flips_right_to_wrong") == cJSON_GetArrayItem(flips, 0)->valueint);
    CHECK(score_of(run, &run->record, "flips_wrong_to_right") == cJSON_GetArrayItem(flips, 1)->valueint);
}

/* The dense model agrees with itself in all texts, also in those that are empty. */
static void check_dense(struct run *run)
{
    CHECK(score_of(run, &run->of_dense, "agreement_exact") == 1);
    CHECK(score_of(run, &run->of_dense, "agreement_rougeL") == 1);
    CHECK(score_of(run, &run->of_dense, "agreement_tokens") == score_of(run, &run->of_dense, "length"));
    CHECK(isnan(score_of(run, &run->of_dense, "dense_perplexity"))); /* not computed here */
    if (find(run, "scores", "flips") >= 0 && run->set.generation->draws == 1)
        CHECK(score_of(run, &run->of_dense, "flips") == 0);
}

/* ---- mistakes ---- */

/* The first problem of a task file of these two lines. */
static void check_mistake(const char *header, const char *item, const char *part)
{
    char folder[] = "/tmp/winnow_generation_XXXXXX", name[64];
    CHECK(mkdtemp(folder) != NULL);
    char *path = wn_format("%s/task.jsonl", folder);
    FILE *file = fopen(path, "w");
    fprintf(file, "{\"task\": \"t\", \"kind\": \"generation\"%s}\n{\"prompt\": \"a\"%s}\n", header, item);
    fclose(file);
    struct wn_problems problems;
    wn_problems_init(&problems);
    cJSON *entry = cJSON_CreateString(path);
    wn_requests_kind("", entry, name)->check("", name, entry, &problems);
    CHECK(problems.count == 1);
    if (problems.count != 1 || !strstr(problems.lines[0], part)) {
        test_failures++;
        fprintf(stderr, "\"%s\" lacks \"%s\"\n", problems.count ? problems.lines[0] : "no problem", part);
    }
    wn_problems_release(&problems);
    cJSON_Delete(entry);
    unlink(path);
    rmdir(folder);
    wn_free(path);
}

static void check_mistakes(void)
{
    const char *references = ", \"references\": []";
    check_mistake("", "", "task.jsonl:2: key \"references\" is missing: the metric exact_match needs it");
    check_mistake(", \"filter\": {\"regex\": \"(\"}", references, "task.jsonl:1: key \"filter\"");
    check_mistake(", \"filter\": {\"regex\": \"a\", \"group\": 2}", references, "group 2");
    check_mistake(", \"filter\": \"stripped\"", references, "\"strip\", \"first_line\"");
    check_mistake(", \"ignore_case\": true", references, "goes with \"normalize\": \"harness\"");
    check_mistake(", \"normalize\": \"harness\", \"ignore\": [\"[\"]", references, "key \"ignore\"");
    check_mistake(", \"draws\": 4", references, "key \"draws\": with temperature 0");
    check_mistake(", \"stop\": [\"\"]", references, "key \"stop");
    check_mistake(", \"metrics\": [\"checks\"]", ", \"checks\": [{\"regex\": \"*\"}]", "task.jsonl:2: key \"checks\"");
    check_mistake(", \"metrics\": [\"checks\"]", ", \"checks\": [{\"max_word\": 3}]", "max_words");
    check_mistake(", \"metrics\": [\"rougeLs\"]", references, "did you mean \"rougeL\"");
}

/* A limit of tokens that leaves no room for a prompt is found when the model is known. */
static void check_no_room(const struct wn_model *model)
{
    char path[] = "/tmp/winnow_generation_XXXXXX";
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "w");
    fprintf(file, "{\"task\": \"t\", \"kind\": \"generation\", \"max_tokens\": 512}\n"
                  "{\"prompt\": \"a\", \"references\": []}\n");
    fclose(file);
    struct wn_eval_set set;
    cJSON *entry = cJSON_CreateString(path);
    wn_eval_set_init(&set);
    CHECK(wn_eval_find("generation")->prepare("", "t", entry, model, &set) == WN_ERR_INPUT);
    CHECK_MESSAGE(":2: max_tokens 512 leaves no room for a prompt: the model has 512 positions");
    wn_eval_set_release(&set);
    cJSON_Delete(entry);
    unlink(path);
}

int main(void)
{
    static const char *const names[] = {"answers", "summaries", "drawn"};
    CHECK_OK(wn_linalg_start());
    char *demo = test_path("sweeps/demo/model");
    struct wn_model *model;
    CHECK_OK(wn_model_open(demo, NULL, &model));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct run run;
        open_run(model, names[i], &run);
        check_items(&run);
        check_scores(&run);
        check_dense(&run);
        close_run(&run);
    }
    check_mistakes();
    check_no_room(model);
    wn_model_close(&model);
    wn_free(demo);
    return test_finish();
}
