/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind of task on requests/ against torch and numpy (make_requests_golden.py, golden_requests.json; its --harness
 * run shows that the Python agrees with lm-evaluation-harness), with the demo model and stories260k; McNemar's test
 * against scipy; the dense model against itself: no flips.
 */
#include "test.h"

#include "forward.h"

#include "../../src/eval/task.h"

#include <winnow/linalg.h>

#include <cjson/cJSON.h>

static const double LIKELIHOOD_TOLERANCE = 1e-3;

struct run {
    char *name;
    struct wn_eval_set set;
    struct wn_schema schema;
    struct wn_record record;
    const cJSON *golden;
};

static void run_release(struct run *run)
{
    wn_record_release(&run->record);
    wn_schema_release(&run->schema);
    wn_eval_set_release(&run->set);
    wn_free(run->name);
}

/* From the file to a record; the dense model is the model itself. */
static void run_task(const struct wn_model *model, const cJSON *golden, struct run *run)
{
    char name[64], *path = wn_format("tests/eval/requests/%s.jsonl", golden->string);
    cJSON *json = cJSON_CreateString(path);
    const struct wn_eval *kind = wn_requests_kind(WN_SOURCE_DIR, json, name);
    struct wn_target_scores scores;
    struct wn_problems problems;

    *run = (struct run){.name = wn_strdup(name), .golden = golden};
    CHECK_TEXT(name, golden->string);
    wn_problems_init(&problems);
    wn_eval_set_init(&run->set);
    wn_schema_init(&run->schema);
    kind->check(WN_SOURCE_DIR, name, json, &problems);
    CHECK(problems.count == 0);
    CHECK_OK(kind->prepare(WN_SOURCE_DIR, name, json, model, &run->set));
    wn_eval_fields(&run->set, &run->schema);
    wn_record_init(&run->record, &run->schema);
    float *hidden = forward_hidden(model, &run->set.sequences);
    forward_scores(model, &run->set, hidden, NULL, &scores);
    wn_eval_finish(&run->set, &(struct wn_outcome){.scores = &scores}, &(struct wn_outcome){.scores = &scores},
                   &run->record);
    wn_target_scores_release(&scores);
    wn_free(hidden);
    wn_problems_release(&problems);
    cJSON_Delete(json);
    wn_free(path);
}

static int field_of(const struct run *run, const char *group, const char *name)
{
    char *path = wn_format("/%s/%s/%s", group, run->name, name);
    int field = wn_schema_find(&run->schema, path);

    wn_free(path);
    return field;
}

static const char *likelihood_name(const struct run *run)
{
    if (!strcmp(run->set.kind->name, "multiple_choice"))
        return "choice_log_likelihood";
    return strcmp(run->set.kind->name, "pairs") ? "log_likelihood" : "text_log_likelihood";
}

static void check_likelihoods(struct run *run, const char *field_name, const char *key)
{
    int field = field_of(run, "tasks", field_name);
    const cJSON *items = cJSON_GetObjectItem(run->golden, "items"), *item, *value;
    int64_t i = 0, width = field < 0 ? 0 : run->schema.fields[field].elements / cJSON_GetArraySize(items);

    CHECK(field >= 0);
    if (field < 0)
        return;
    const double *ours = wn_record_f64(&run->record, field);
    cJSON_ArrayForEach (item, items) {
        int64_t c = 0;
        cJSON_ArrayForEach (value, cJSON_GetObjectItem(item, key)) {
            CHECK(c < width);
            CHECK_NEAR(ours[i * width + c], value->valuedouble, LIKELIHOOD_TOLERANCE);
            c++;
        }
        for (; c < width; c++)
            CHECK(isnan(ours[i * width + c]));
        i++;
    }
}

/* What each item was answered with; the continuation has only right or wrong. */
static void check_predictions(struct run *run)
{
    int field = field_of(run, "tasks", "prediction"), correct = field_of(run, "tasks", "correct");
    const cJSON *items = cJSON_GetObjectItem(run->golden, "items"), *item;
    int64_t i = 0;

    if (!strcmp(run->set.kind->name, "rolling"))
        return;
    CHECK(correct >= 0);
    cJSON_ArrayForEach (item, items) {
        int32_t expected = (int32_t)cJSON_GetObjectItem(item, "prediction")->valuedouble;
        CHECK((field >= 0 ? wn_record_i32(&run->record, field)[i] : wn_record_u8(&run->record, correct)[i]) ==
              expected);
        i++;
    }
}

/* Scores are functions of log-likelihoods, so they are as near as these; counts of right answers are equal. */
static void check_score(double ours, const cJSON *expected, const char *name)
{
    bool error = strstr(name, "_stderr") != NULL;

    if (cJSON_IsNull(expected))
        CHECK(isnan(ours));
    else
        CHECK_NEAR(ours, expected->valuedouble,
                   fabs(expected->valuedouble) * (error ? 1e-3 : 2e-4) + (strncmp(name, "acc", 3) ? 2e-4 : 1e-9));
}

static void check_scores(struct run *run)
{
    const cJSON *score, *value, *groups = cJSON_GetObjectItem(run->golden, "groups");
    int64_t g;

    cJSON_ArrayForEach (score, cJSON_GetObjectItem(run->golden, "scores")) {
        int field = field_of(run, "scores", score->string);
        CHECK(field >= 0);
        if (field >= 0)
            check_score(*wn_record_f64(&run->record, field), score, score->string);
    }
    cJSON_ArrayForEach (score, groups) {
        char *name = wn_format("%s_by_group", score->string);
        int field = field_of(run, "scores", name);
        CHECK(field >= 0 && run->schema.fields[field].elements == cJSON_GetArraySize(score));
        g = 0;
        cJSON_ArrayForEach (value, score)
            if (field >= 0)
                check_score(wn_record_f64(&run->record, field)[g++], value, score->string);
        wn_free(name);
    }
    if (!groups->child)
        CHECK(field_of(run, "scores", "acc_by_group") < 0 && field_of(run, "scores", "acc_group_mean") < 0);
}

static double flip(struct run *run, const char *name)
{
    int field = field_of(run, "scores", name);

    return field < 0 ? (double)NAN : *wn_record_f64(&run->record, field);
}

/* The dense model against itself. */
static void check_no_flips(struct run *run)
{
    const cJSON *margin = cJSON_GetObjectItem(run->golden, "dense_margin");
    const struct wn_task_kind *task = run->set.kind->task;
    cJSON *facts = cJSON_Parse(run->set.facts);
    const char *main = cJSON_GetObjectItem(facts, "main_metric")->valuestring;
    bool binary = false;

    for (int m = 0; m < task->n_metrics; m++)
        binary |= !strcmp(task->metrics[m].name, main) && task->metrics[m].binary;
    CHECK((field_of(run, "scores", "flips") >= 0) == binary);
    if (binary) {
        CHECK(flip(run, "flips") == 0 && flip(run, "flips_stderr") == 0 && flip(run, "flips_p") == 1);
        CHECK(flip(run, "flips_right_to_wrong") == 0 && flip(run, "flips_wrong_to_right") == 0);
        CHECK(strcmp(run->set.kind->name, "multiple_choice") || flip(run, "flips_wrong_to_wrong") == 0);
        CHECK(!margin || fabs(flip(run, "dense_margin") - margin->valuedouble) < LIKELIHOOD_TOLERANCE);
        CHECK(isnan(flip(run, "dense_margin_flipped")));
    }
    cJSON_Delete(facts);
}

static void check_facts(struct run *run)
{
    cJSON *facts = cJSON_Parse(run->set.facts);

    if (!strcmp(run->name, "contexts")) {
        CHECK(cJSON_GetObjectItem(facts, "version")->valuedouble == 1);
        CHECK_TEXT(cJSON_GetObjectItem(facts, "dimension")->valuestring, "reasoning");
        CHECK_TEXT(cJSON_GetObjectItem(facts, "kind")->valuestring, "multiple_choice");
        CHECK(cJSON_GetObjectItem(facts, "chance")->valuedouble == 0.5);
        CHECK(cJSON_GetObjectItem(facts, "items")->valuedouble == 6);
    }
    if (!strcmp(run->name, "bbq")) {
        static const char *const expected[] = {"acc", "acc_ambiguous", "acc_disambiguated", "bias_ambiguous",
                                               "bias_disambiguated"};
        const cJSON *metrics = cJSON_GetObjectItem(facts, "metrics");
        CHECK(cJSON_GetArraySize(metrics) == 5);
        for (int m = 0; m < 5; m++)
            CHECK_TEXT(cJSON_GetArrayItem(metrics, m)->valuestring, expected[m]);
    }
    cJSON_Delete(facts);
}

static void check_model(const char *directory, const cJSON *golden)
{
    struct wn_model *model;
    const cJSON *task;

    CHECK_OK(wn_model_open(directory, NULL, &model));
    if (!model)
        return;
    CHECK(cJSON_GetArraySize(golden) == 9);
    cJSON_ArrayForEach (task, golden) {
        struct run run;
        int before = test_failures;
        run_task(model, task, &run);
        check_likelihoods(&run, likelihood_name(&run), "values");
        if (!strcmp(task->string, "groups"))
            check_likelihoods(&run, "choice_log_likelihood_alone", "alone");
        check_predictions(&run);
        check_scores(&run);
        check_no_flips(&run);
        check_facts(&run);
        if (test_failures > before)
            fprintf(stderr, "above: %s of %s\n", task->string, directory);
        run_release(&run);
    }
    wn_model_close(&model);
}

static void check_mcnemar(const cJSON *golden)
{
    const cJSON *row;

    CHECK(cJSON_GetArraySize(golden) == 9);
    cJSON_ArrayForEach (row, golden) {
        int64_t b = (int64_t)cJSON_GetArrayItem(row, 0)->valuedouble,
                c = (int64_t)cJSON_GetArrayItem(row, 1)->valuedouble;
        double p = cJSON_GetArrayItem(row, 2)->valuedouble;
        CHECK_NEAR(wn_mcnemar(b, c), p, 1e-9 * p);
        CHECK(wn_mcnemar(c, b) == wn_mcnemar(b, c));
    }
    CHECK(wn_mcnemar(0, 0) == 1);
}

int main(void)
{
    cJSON *golden = NULL;
    char *path = test_path("tests/eval/golden_requests.json"), *demo = test_path("sweeps/demo/model");
    char *stories = test_shared("models/stories260k");

    CHECK_OK(wn_linalg_start());
    CHECK_OK(wn_json_read(path, false, &golden));
    if (golden) {
        check_mcnemar(cJSON_GetObjectItem(golden, "mcnemar"));
        check_model(demo, cJSON_GetObjectItem(golden, "demo"));
        if (access(stories, R_OK) == 0)
            check_model(stories, cJSON_GetObjectItem(golden, "stories260k"));
    }
    cJSON_Delete(golden);
    wn_free(path);
    wn_free(demo);
    wn_free(stories);
    return test_finish();
}
