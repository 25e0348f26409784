/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Perplexity and multiple choice of stories260k against torch (make_golden.py, golden.json; its --harness run shows
 * that the Python agrees with lm-evaluation-harness), the dense model against itself: exactly 0, and common prefixes
 * run once against every choice by itself.
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

/* The whole way from the settings to a record, dense against itself when `divergence`, common prefixes run once when
 * `share`. */
static void run_any(const struct wn_model *model, const char *kind, const char *directory, const char *text,
                    bool divergence, bool share, struct run *run)
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
    if (share)
        wn_eval_share(model, &run->set);
    wn_eval_fields(&run->set, &run->schema);
    wn_record_init(&run->record, &run->schema);
    float *hidden = forward_hidden(model, &run->set.sequences);
    forward_scores(model, &run->set, hidden, divergence ? hidden : NULL, &run->scores);
    wn_eval_finish(&run->set, &(struct wn_outcome){.scores = &run->scores}, NULL, &run->record);
    wn_free(hidden);
    wn_problems_release(&problems);
    cJSON_Delete(json);
}

static void run_set(const struct wn_model *model, const char *kind, const char *directory, const char *text,
                    bool divergence, struct run *run)
{
    run_any(model, kind, directory, text, divergence, false, run);
}

static void run_shared(const struct wn_model *model, const char *kind, const char *directory, const char *text,
                       struct run *run)
{
    run_any(model, kind, directory, text, false, true, run);
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

/* ---- common prefixes ---- */

/* The next field of a CSV line at *text, quotes taken off, into `field`; false at the end of the file. *last: the line
 * ends behind it. */
static bool csv_field(const char **text, char *field, bool *last)
{
    bool quoted = **text == '"';
    const char *c = *text + quoted;

    if (**text == '\0')
        return false;
    for (; *c && (quoted || (*c != ',' && *c != '\n' && *c != '\r')); c++) {
        if (quoted && *c == '"' && c[1] != '"')
            break;
        c += quoted && *c == '"';
        *field++ = *c;
    }
    *field = '\0';
    c += quoted;
    *last = *c != ',';
    c += strspn(c, *last ? "\r\n" : ",") > 0 ? (*last ? strspn(c, "\r\n") : 1) : 0;
    *text = c;
    return true;
}

/* A question, four choices and the letter of the answer; false at the end. */
static bool csv_question(const char **text, char fields[6][8192])
{
    bool last = false;
    int f = 0;

    while (f < 6 && !last && csv_field(text, fields[f], &last))
        f++;
    return f == 6 && last;
}

static void print_question(struct wn_text *prompt, char fields[6][8192])
{
    wn_text_printf(prompt, "%s\nA. %s\nB. %s\nC. %s\nD. %s\nAnswer:", fields[0], fields[1], fields[2], fields[3],
                   fields[4]);
}

static void mmlu_paths(const char *data, const char *subject, char **dev, char **test)
{
    *dev = wn_format("%s/mmlu/dev/%s_dev.csv", data, subject);
    *test = wn_format("%s/mmlu/test/%s_test.csv", data, subject);
}

/* The first `count` questions of a subject behind five answered ones; choices are letters, or texts. */
static void write_mmlu(FILE *out, const char *data, const char *subject, int count, bool letters)
{
    static char fields[6][8192];
    char *dev_path, *test_path_, *dev, *test;
    int64_t length;
    struct wn_text shots = {0};

    mmlu_paths(data, subject, &dev_path, &test_path_);
    CHECK_OK(wn_read_text(dev_path, &dev, &length));
    CHECK_OK(wn_read_text(test_path_, &test, &length));
    const char *from = dev;
    wn_text_printf(&shots, "The following are multiple choice questions (with answers) about %s.\n\n", subject);
    for (int i = 0; i < 5 && csv_question(&from, fields); i++) {
        print_question(&shots, fields);
        wn_text_printf(&shots, " %s\n\n", fields[5]);
    }
    from = test;
    for (int i = 0; i < count && csv_question(&from, fields); i++) {
        struct wn_text prompt = {0};
        cJSON *choices = cJSON_CreateArray();
        wn_text_printf(&prompt, "%s", shots.data);
        print_question(&prompt, fields);
        for (int c = 0; c < 4; c++) {
            const char letter[2] = {(char)('A' + c), '\0'};
            cJSON_AddItemToArray(choices, cJSON_CreateString(letters ? letter : fields[1 + c]));
        }
        cJSON *context = cJSON_CreateString(prompt.data);
        write_request(out, context, choices, fields[5][0] - 'A');
        cJSON_Delete(context);
        wn_text_release(&prompt);
    }
    wn_text_release(&shots);
    wn_free(dev);
    wn_free(test);
    wn_free(dev_path);
    wn_free(test_path_);
}

/* Likelihoods of a task with and without common prefixes; returns which share of the tokens was run. */
static double compare_sharing(const struct wn_model *model, const char *directory, const char *text)
{
    struct run whole, shared;

    run_set(model, "multiple_choice", directory, text, false, &whole);
    run_shared(model, "multiple_choice", directory, text, &shared);
    CHECK(!whole.set.sequences.parent && shared.set.sequences.parent);
    CHECK(strstr(shared.set.protocol, "common prefixes run once") != NULL);
    int field = wn_schema_find(&whole.schema, "/tasks/set/choice_log_likelihood");
    const double *a = wn_record_f64(&whole.record, field), *b = wn_record_f64(&shared.record, field);
    for (int64_t i = 0; i < whole.schema.fields[field].elements; i++) {
        CHECK(isnan(a[i]) == isnan(b[i]));
        if (!isnan(a[i]))
            CHECK_NEAR(b[i], a[i], 1e-5 * fabs(a[i]));
    }
    field = wn_schema_find(&whole.schema, "/tasks/set/prediction");
    CHECK(memcmp(whole.record.data[field], shared.record.data[field], (size_t)whole.schema.fields[field].bytes) == 0);
    CHECK(field_value(&whole.record, "/scores/set/acc") == field_value(&shared.record, "/scores/set/acc"));
    double share =
        (double)wn_sequences_tokens(&shared.set.sequences) / (double)wn_sequences_tokens(&whole.set.sequences);
    run_release(&whole);
    run_release(&shared);
    return share;
}

/* MMLU with five shots is longer than what the model was trained for, which cuts prompts on the left. */
static void check_sharing(struct wn_model *model, const char *data)
{
    const int64_t positions = model->config.max_positions;
    static const char *const subjects[] = {"abstract_algebra", "anatomy"};
    char directory[] = "winnow-eval-XXXXXX";

    CHECK(mkdtemp(directory));
    char *path = wn_join_path(directory, "requests.jsonl");
    model->config.max_positions = 4096;
    for (int letters = 0; letters < 2; letters++) {
        FILE *out = fopen(path, "w");
        for (int s = 0; s < 2; s++)
            write_mmlu(out, data, subjects[s], 6, letters);
        CHECK(fclose(out) == 0);
        double share = compare_sharing(model, directory, "\"requests.jsonl\"");
        if (getenv("WINNOW_VERBOSE"))
            printf("mmlu with %s: %.3f of the tokens are run\n", letters ? "letters" : "texts", share);
        CHECK(share < (letters ? 0.4 : 0.2));
    }
    model->config.max_positions = positions;
    write_requests(path, data);
    CHECK(compare_sharing(model, directory, "\"requests.jsonl\"") < 0.9);
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
        check_sharing(model, data);
    }
    wn_model_close(&model);
    cJSON_Delete(json);
    wn_free(directory);
    wn_free(data);
    wn_free(path);
    return test_finish();
}
