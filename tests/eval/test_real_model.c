/*
 * Perplexity and multiple choice of stories260k against torch (make_golden.py, golden.json; its --harness run shows
 * that the Python agrees with lm-evaluation-harness), and the dense model against itself: exactly 0.
 */
#include "test.h"

#include "forward.h"

#include <winnow/linalg.h>

#include <cjson/cJSON.h>
#include <omp.h>

enum { ITEMS = 20 };

static const cJSON *golden_root;

static double golden(const char *group, const char *key)
{
    const cJSON *value = cJSON_GetObjectItem(cJSON_GetObjectItem(golden_root, group), key);

    CHECK(cJSON_IsNumber(value));
    return value ? value->valuedouble : (double)NAN;
}

struct run {
    struct wn_eval_set set;
    struct wn_schema schema;
    struct wn_record record;
    struct wn_target_scores scores;
};

static void run_release(struct run *run)
{
    wn_target_scores_release(&run->scores);
    wn_record_release(&run->record);
    wn_schema_release(&run->schema);
    wn_eval_set_release(&run->set);
}

/* The whole way from the settings to a record, dense against itself when `divergence`. */
static void run_set(const struct wn_model *model, const char *kind, const char *directory, const char *text,
                    bool divergence, struct run *run)
{
    const struct wn_eval *eval = wn_eval_find(kind);
    struct wn_problems problems;
    cJSON *json = cJSON_Parse(text);

    *run = (struct run){0};
    wn_problems_init(&problems);
    wn_eval_set_init(&run->set);
    wn_schema_init(&run->schema);
    eval->check(directory, "set", json, &problems);
    CHECK(problems.count == 0);
    CHECK_OK(eval->prepare(directory, "set", json, model, &run->set));
    run->set.divergence = divergence;
    run->set.top = divergence ? 8 : 0;
    run->set.logit_targets = 100;
    wn_eval_fields(&run->set, &run->schema);
    wn_record_init(&run->record, &run->schema);
    float *hidden = forward_hidden(model, &run->set.sequences);
    forward_scores(model, &run->set, hidden, divergence ? hidden : NULL, &run->scores);
    wn_eval_finish(&run->set, &(struct wn_outcome){&run->scores}, NULL, &run->record);
    wn_free(hidden);
    wn_problems_release(&problems);
    cJSON_Delete(json);
}

static void check_windows(struct run *run, const char *group)
{
    const cJSON *losses = cJSON_GetObjectItem(cJSON_GetObjectItem(golden_root, group), "window_loss"), *loss;
    const double *ours = wn_record_f64(&run->record, wn_schema_find(&run->schema, "/scores/set/window_loss"));
    int64_t w = 0;

    CHECK(cJSON_GetArraySize(losses) == run->set.sequences.n_sequences);
    cJSON_ArrayForEach (loss, losses) {
        CHECK_NEAR(ours[w], loss->valuedouble, 1e-4 * loss->valuedouble);
        w++;
    }
}

static void check_relative(struct run *run, const char *path, const char *group, const char *key)
{
    double expected = golden(group, key);

    CHECK_NEAR(field_value(&run->record, path), expected, 1e-4 * expected);
}

static void check_self(struct run *run)
{
    for (int64_t t = 0; t < run->set.n_targets; t++)
        CHECK(run->scores.kl[t] == 0 && run->scores.js[t] == 0 && run->scores.top1[t] == 1);
    CHECK(field_value(&run->record, "/scores/set/kl_mean") == 0);
    CHECK(field_value(&run->record, "/scores/set/js_max") == 0);
    CHECK(field_value(&run->record, "/scores/set/top1_agreement") == 1);
    CHECK(field_value(&run->record, "/scores/set/top1_agreement_stderr") == 0);
}

/* The stored logits give the losses again. */
static void check_logits(struct run *run)
{
    const double *sum = wn_record_f64(&run->record, wn_schema_find(&run->schema, "/logits/set/log_sum_exp"));
    const float *logit = wn_record_f32(&run->record, wn_schema_find(&run->schema, "/logits/set/target_logit"));
    const float *top = wn_record_f32(&run->record, wn_schema_find(&run->schema, "/logits/set/values"));
    const float *loss = wn_record_f32(&run->record, wn_schema_find(&run->schema, "/tokens/set/loss"));

    for (int64_t t = 0; t < 100; t++) {
        CHECK((float)(sum[t] - (double)logit[t]) == loss[t]);
        CHECK(run->scores.greedy[t] == (logit[t] == top[8 * t]));
        for (int k = 1; k < 8; k++)
            CHECK(top[8 * t + k] <= top[8 * t + k - 1]);
    }
}

static void check_gptq(const struct wn_model *model, const char *data)
{
    struct run run;

    run_set(model, "perplexity", data,
            "{\"text\": \"wikitext2/wiki.test.joined.txt\", \"length\": 256, \"windows\": 20}", true, &run);
    char *tokens = wn_format("gptq: %.0f tokens", golden("gptq", "tokens"));
    CHECK(run.set.protocol && strncmp(run.set.protocol, tokens, strlen(tokens)) == 0);
    CHECK(run.set.n_targets == 20 * 255);
    check_relative(&run, "/scores/set/perplexity", "gptq", "perplexity");
    check_relative(&run, "/scores/set/perplexity_stderr", "gptq", "stderr");
    check_windows(&run, "gptq");
    check_self(&run);
    check_logits(&run);
    wn_free(tokens);
    run_release(&run);
}

static void check_rolling(const struct wn_model *model, const char *data)
{
    struct run run;

    run_set(
        model, "perplexity", data,
        "{\"text\": \"wikitext2/wiki.test.pages.jsonl\", \"protocol\": \"rolling\", \"length\": 256, \"windows\": 5, "
        "\"detokenize\": \"wikitext\"}",
        false, &run);
    CHECK(run.set.n_targets == (int64_t)golden("rolling", "targets"));
    check_relative(&run, "/scores/set/perplexity", "rolling", "perplexity");
    check_relative(&run, "/scores/set/byte_perplexity", "rolling", "byte_perplexity");
    check_relative(&run, "/scores/set/bits_per_byte", "rolling", "bits_per_byte");
    CHECK_NEAR(log(field_value(&run.record, "/scores/set/word_perplexity")), log(golden("rolling", "word_perplexity")),
               1e-4);
    check_windows(&run, "rolling");
    run_release(&run);
}

/* ---- multiple choice ---- */

static void write_request(FILE *out, const cJSON *context, cJSON *choices, int64_t gold)
{
    cJSON *request = cJSON_CreateObject();

    cJSON_AddStringToObject(request, "context", context->valuestring);
    cJSON_AddItemToObject(request, "choices", choices);
    cJSON_AddNumberToObject(request, "gold", (double)gold);
    char *text = cJSON_PrintUnformatted(request);
    fprintf(out, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(request);
}

static void write_piqa(FILE *out, const cJSON *item)
{
    char *text = wn_format("Question: %s\nAnswer:", cJSON_GetObjectItem(item, "goal")->valuestring);
    cJSON *context = cJSON_CreateString(text), *choices = cJSON_CreateArray();

    cJSON_AddItemToArray(choices, cJSON_Duplicate(cJSON_GetObjectItem(item, "sol1"), true));
    cJSON_AddItemToArray(choices, cJSON_Duplicate(cJSON_GetObjectItem(item, "sol2"), true));
    write_request(out, context, choices, (int64_t)cJSON_GetObjectItem(item, "label")->valuedouble);
    cJSON_Delete(context);
    wn_free(text);
}

static void write_openbookqa(FILE *out, const cJSON *item)
{
    const cJSON *choices = cJSON_GetObjectItem(item, "choices"), *label;
    const char *answer = cJSON_GetObjectItem(item, "answerKey")->valuestring;
    int64_t gold = 0, i = 0;

    cJSON_ArrayForEach (label, cJSON_GetObjectItem(choices, "label")) {
        if (strcmp(label->valuestring, answer) == 0)
            gold = i;
        i++;
    }
    write_request(out, cJSON_GetObjectItem(item, "question_stem"),
                  cJSON_Duplicate(cJSON_GetObjectItem(choices, "text"), true), gold);
}

static void write_first(FILE *out, const char *data, const char *name, void (*write)(FILE *, const cJSON *))
{
    char *path = wn_join_path(data, name);
    struct wn_documents documents;

    CHECK_OK(wn_documents_open(path, true, &documents));
    for (int64_t i = 0; i < ITEMS && i < documents.count; i++) {
        cJSON *item = NULL;
        CHECK_OK(wn_documents_parse(&documents, i, &item));
        write(out, item);
        cJSON_Delete(item);
    }
    wn_documents_close(&documents);
    wn_free(path);
}

/* The requests of make_golden.py: 20 of PIQA, 20 of OpenBookQA, the edge cases. */
static void write_requests(const char *path, const char *data)
{
    char *edge = test_path("tests/eval/edge_requests.jsonl"), *lines;
    int64_t length;
    FILE *out = fopen(path, "w");

    write_first(out, data, "piqa/piqa_val.jsonl", write_piqa);
    write_first(out, data, "openbookqa/openbookqa_val.jsonl", write_openbookqa);
    CHECK_OK(wn_read_text(edge, &lines, &length));
    CHECK(fwrite(lines, 1, (size_t)length, out) == (size_t)length && fclose(out) == 0);
    wn_free(lines);
    wn_free(edge);
}

static void check_items(struct run *run)
{
    const cJSON *items = cJSON_GetObjectItem(cJSON_GetObjectItem(golden_root, "multiple_choice"), "items"), *item;
    const double *likelihood =
        wn_record_f64(&run->record, wn_schema_find(&run->schema, "/tasks/set/choice_log_likelihood"));
    const int32_t *tokens = constant_values(&run->schema, "/tasks/set/choice_tokens");
    const int32_t *choices = constant_values(&run->schema, "/tasks/set/choices");
    const int32_t *prediction = wn_record_i32(&run->record, wn_schema_find(&run->schema, "/tasks/set/prediction"));
    int64_t i = 0;

    cJSON_ArrayForEach (item, items) {
        const cJSON *values = cJSON_GetObjectItem(item, "values"), *counts = cJSON_GetObjectItem(item, "tokens");
        int n = cJSON_GetArraySize(values);
        for (int c = 0; c < n; c++) {
            CHECK_NEAR(likelihood[4 * i + c], cJSON_GetArrayItem(values, c)->valuedouble, 1e-3);
            CHECK(tokens[4 * i + c] == (int32_t)cJSON_GetArrayItem(counts, c)->valuedouble);
        }
        for (int c = n; c < 4; c++)
            CHECK(isnan(likelihood[4 * i + c]) && tokens[4 * i + c] == -1);
        CHECK(choices[i] == n);
        CHECK(prediction[i] == (int32_t)cJSON_GetObjectItem(item, "prediction")->valuedouble);
        i++;
    }
}

static void check_multiple_choice(const struct wn_model *model, const char *data)
{
    static const char *const metrics[] = {"acc",        "acc_norm",        "acc_bytes",
                                          "acc_stderr", "acc_norm_stderr", "acc_bytes_stderr"};
    char directory[] = "winnow-eval-XXXXXX";
    struct run run;

    CHECK(mkdtemp(directory));
    char *path = wn_join_path(directory, "requests.jsonl");
    write_requests(path, data);
    run_set(model, "multiple_choice", directory, "\"requests.jsonl\"", true, &run);
    check_items(&run);
    check_self(&run);
    for (int m = 0; m < 6; m++) {
        char *field = wn_format("/scores/set/%s", metrics[m]);
        CHECK_NEAR(field_value(&run.record, field), golden("multiple_choice", metrics[m]), 1e-9);
        wn_free(field);
    }
    const struct wn_dim *items =
        &run.schema.dims[run.schema.fields[wn_schema_find(&run.schema, "/tasks/set/correct")].dims[0]];
    CHECK_TEXT(items->labels[3], "3");
    CHECK_TEXT(items->labels[40], "trailing");
    CHECK_TEXT(items->labels[47], "1008");
    run_release(&run);
    run_set(model, "multiple_choice", directory, "{\"requests\": \"requests.jsonl\", \"limit\": 3}", false, &run);
    CHECK(run.set.sequences.n_sequences == 6);
    run_release(&run);
    CHECK(unlink(path) == 0 && rmdir(directory) == 0);
    wn_free(path);
}

/* The same bits with one thread and with several. */
static void check_threads(const struct wn_model *model, const char *data)
{
    const char *text = "{\"text\": \"wikitext2/wiki.test.joined.txt\", \"length\": 256, \"windows\": 3}";
    int most = omp_get_max_threads();
    struct run one, several;

    omp_set_num_threads(1);
    run_set(model, "perplexity", data, text, true, &one);
    omp_set_num_threads(3);
    run_set(model, "perplexity", data, text, true, &several);
    omp_set_num_threads(most);
    for (int f = 0; f < one.schema.n_fields; f++)
        CHECK(memcmp(one.record.data[f], several.record.data[f], (size_t)one.schema.fields[f].bytes) == 0);
    CHECK_TEXT(one.set.token_hash, several.set.token_hash);
    run_release(&one);
    run_release(&several);
}

int main(void)
{
    struct wn_model *model;
    cJSON *json = NULL;

    test_need_shared();
    char *directory = test_shared("models/stories260k"), *data = test_shared("data");
    char *path = test_path("tests/eval/golden.json");
    CHECK_OK(wn_linalg_start());
    CHECK_OK(wn_json_read(path, false, &json));
    CHECK_OK(wn_model_open(directory, NULL, &model));
    golden_root = json;
    if (model && json) {
        check_gptq(model, data);
        check_rolling(model, data);
        check_multiple_choice(model, data);
        check_threads(model, data);
    }
    wn_model_close(&model);
    cJSON_Delete(json);
    wn_free(directory);
    wn_free(data);
    wn_free(path);
    return test_finish();
}
