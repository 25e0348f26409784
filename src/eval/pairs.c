/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairs of texts (BLiMP, CrowS-Pairs): the log-likelihood of both whole texts behind the prefix token, and which one is
 * likelier.
 */
#include "likelihood.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <string.h>

extern const struct wn_eval wn_eval_pairs;

static const struct wn_key item_rows[] = {
    {.name = "texts", .types = WN_KEY_TEXTS, .required = true, .filled = true, .least = 2, .help = "exactly two"},
    {.name = "gold",
     .types = WN_KEY_INTEGER,
     .low = 0,
     .high = 1,
     .standard = "0",
     .help = "the text that should be likelier"},
};

enum metric { ACC, PCT_STEREOTYPE, LIKELIHOOD_DIFF, METRICS };

static const struct wn_metric metrics[METRICS] = {
    [ACC] = {"acc", "1", "share of items whose gold text is likelier", .binary = true},
    [PCT_STEREOTYPE] = {"pct_stereotype", "1", "share of items whose first text is likelier than the second",
                        .binary = true},
    [LIKELIHOOD_DIFF] = {"likelihood_diff", "nat", "mean over items of |ln p(first text) - ln p(second text)|",
                         .binary = false},
};

struct pair {
    struct wn_target_span span[2];
    int32_t gold;
};

struct pairs {
    struct wn_task task;
    struct pair *pairs; /* [task.n_items] */
    int field_likelihood, field_prediction, field_correct;
};

static wn_status check_item(const struct wn_requests *requests, int64_t index, const cJSON *item)
{
    int count = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(item, "texts"));

    return count == 2 ? WN_OK : wn_requests_fail(requests, index, "key \"texts\": expected 2 texts, got %d", count);
}

static wn_status add_item(struct wn_encoder *e, const cJSON *item)
{
    struct pairs *state = e->set->state;
    const cJSON *texts = cJSON_GetObjectItemCaseSensitive(item, "texts");
    const cJSON *gold = cJSON_GetObjectItemCaseSensitive(item, "gold");
    int64_t index = state->task.n_items - 1;
    struct wn_ids ids = {0};
    wn_status status = wn_encode_context(e, "");

    state->pairs = wn_grow(state->pairs, index, 1, sizeof *state->pairs);
    state->pairs[index].gold = gold ? (int32_t)gold->valuedouble : 0;
    for (int t = 0; t < 2 && status == WN_OK; t++) {
        char *text = wn_format("%s%s", e->requests->delimiter, cJSON_GetArrayItem(texts, t)->valuestring);
        status = wn_encode_continuation(e, "", text, &ids);
        if (status == WN_OK)
            state->pairs[index].span[t] = wn_append_targets(e, &ids, wn_append_sequence(e, &ids));
        wn_free(text);
    }
    wn_ids_release(&ids);
    return status;
}

static wn_status finish_items(struct wn_encoder *e)
{
    e->set->protocol = wn_format("pairs: log-likelihood of delimiter + text behind the prefix token; %lld items, "
                                 "delimiter \"%s\"; ties to the first text",
                                 (long long)e->requests->count, e->requests->delimiter);
    return WN_OK;
}

static wn_status prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                         struct wn_eval_set *set)
{
    struct pairs *state = wn_alloc_zero(1, sizeof *state);

    set->kind = &wn_eval_pairs;
    set->state = state;
    return wn_prepare_task(directory, name, json, model, set, &state->task, add_item, finish_items);
}

static void release(void *pointer)
{
    struct pairs *state = pointer;

    wn_task_release(&state->task);
    wn_free(state->pairs);
    wn_free(state);
}

static void fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct pairs *state = set->state;
    int64_t n = state->task.n_items;
    char *pair = wn_format("pair_%s", set->name);
    int32_t *gold = wn_alloc(n, sizeof *gold), *tokens = wn_alloc(2 * n, sizeof *tokens);

    wn_task_fields(&state->task, set, schema, WN_FLIP_MARGINS);
    int dims[2] = {state->task.item_axis, wn_schema_dim(schema, pair, 2, NULL)};
    state->field_likelihood = wn_add_field(schema, set, "tasks", "text_log_likelihood", WN_FIELD_F64, 2, dims, "nat",
                                           "ln p(delimiter + text | prefix token)");
    state->field_prediction = wn_add_field(schema, set, "tasks", "prediction", WN_FIELD_I32, 1, dims, "1",
                                           "the likelier text, the first of equals; -1: not finite");
    state->field_correct = wn_add_field(schema, set, "tasks", "correct", WN_FIELD_U8, 1, dims, "1",
                                        "1 where the prediction is the gold text");
    for (int64_t i = 0; i < n; i++) {
        gold[i] = state->pairs[i].gold;
        for (int t = 0; t < 2; t++)
            tokens[2 * i + t] = (int32_t)state->pairs[i].span[t].count;
    }
    wn_add_constant(schema, set, "tasks", "gold", 1, dims, "the text that should be likelier", gold);
    wn_add_constant(schema, set, "tasks", "text_tokens", 2, dims, "scored tokens of a text", tokens);
    wn_free(pair);
    wn_free(gold);
    wn_free(tokens);
}

/* ln p(first) - ln p(second). */
static double lead_of_first(const struct pair *pair, const struct wn_target_scores *scores)
{
    return wn_span_log_likelihood(scores, pair->span[0]) - wn_span_log_likelihood(scores, pair->span[1]);
}

static double value_of(const struct pair *pair, double lead, int metric)
{
    if (isnan(lead))
        return lead;
    if (metric == ACC)
        return (lead >= 0 ? 0 : 1) == pair->gold;
    return metric == PCT_STEREOTYPE ? lead > 0 : fabs(lead);
}

/* Right by the main metric, and margin. */
static void answer_all(const struct pairs *state, const struct wn_target_scores *scores, double *right, double *margin)
{
    for (int64_t i = 0; i < state->task.n_items; i++) {
        double lead = lead_of_first(&state->pairs[i], scores);
        right[i] = value_of(&state->pairs[i], lead, state->task.metrics[0]);
        margin[i] = fabs(lead);
    }
}

static void score_flips(const struct pairs *state, const struct wn_outcome *point, const struct wn_outcome *dense,
                        struct wn_record *record)
{
    int64_t n = state->task.n_items;
    double *right = wn_alloc(n, sizeof *right), *margin = wn_alloc(n, sizeof *margin);
    double *dense_right = wn_alloc(n, sizeof *dense_right), *dense_margin = wn_alloc(n, sizeof *dense_margin);

    answer_all(state, point->scores, right, margin);
    answer_all(state, dense->scores, dense_right, dense_margin);
    wn_task_score_flips(&state->task, &(struct wn_answers){.right = right},
                        &(struct wn_answers){.right = dense_right, .margin = dense_margin}, record);
    wn_free(right);
    wn_free(margin);
    wn_free(dense_right);
    wn_free(dense_margin);
}

static void score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record)
{
    const struct pairs *state = set->state;
    struct wn_item_values values;

    wn_item_values_init(&values, &state->task);
    for (int64_t i = 0; i < state->task.n_items; i++) {
        const struct pair *pair = &state->pairs[i];
        double lead = lead_of_first(pair, point->scores);
        for (int t = 0; t < 2; t++)
            wn_record_f64(record, state->field_likelihood)[2 * i + t] =
                wn_span_log_likelihood(point->scores, pair->span[t]);
        for (int m = 0; m < METRICS; m++)
            if (values.value[m])
                values.value[m][i] = value_of(pair, lead, m);
        wn_record_i32(record, state->field_prediction)[i] = isnan(lead) ? -1 : lead < 0;
        wn_record_u8(record, state->field_correct)[i] = value_of(pair, lead, ACC) == 1;
    }
    wn_task_score(&state->task, &values, record);
    if (dense && state->task.flips.share >= 0)
        score_flips(state, point, dense, record);
    wn_item_values_release(&values);
}

/* ---- for searches ---- */

static int64_t gold_items(const struct wn_eval_set *set)
{
    return ((const struct pairs *)set->state)->task.n_items;
}

static void gold_targets(const struct wn_eval_set *set, int64_t item, int64_t *first, int64_t *count)
{
    const struct pair *pair = &((const struct pairs *)set->state)->pairs[item];

    *first = pair->span[0].first;
    *count = pair->span[0].count + pair->span[1].count;
}

static void gold_judge(const struct wn_eval_set *set, int64_t item, const struct wn_target_scores *scores,
                       struct wn_gold *gold)
{
    const struct pair *pair = &((const struct pairs *)set->state)->pairs[item];

    gold->log_likelihood = wn_span_log_likelihood(scores, pair->span[pair->gold]);
    gold->right = value_of(pair, lead_of_first(pair, scores), ACC) == 1;
}

static const struct wn_gold_kind gold = {wn_gold_nat, gold_items, gold_targets, gold_judge};

static const struct wn_task_kind task = {
    .item = WN_KEYS(item_rows),
    .metrics = metrics,
    .n_metrics = METRICS,
    .n_standard = METRICS,
    .delimiter = "",
    .check_item = check_item,
};

const struct wn_eval wn_eval_pairs = {
    .name = "pairs",
    .help = "pairs of texts, of which one is likelier (BLiMP, CrowS-Pairs)",
    .section = "tasks",
    .task = &task,
    .gold = &gold,
    .compares = true,
    .check = wn_requests_check,
    .prepare = prepare,
    .fields = fields,
    .score = score,
    .release = release,
};
