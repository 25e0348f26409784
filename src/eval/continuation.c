/* SPDX-License-Identifier: Apache-2.0 */
/* Continuations of a context (LAMBADA): how likely, and whether greedy decoding gives exactly them. */
#include "likelihood.h"

#include <cjson/cJSON.h>

#include <math.h>

extern const struct wn_eval wn_eval_continuation;

static const struct wn_key item_rows[] = {
    {.name = "context", .types = WN_KEY_TEXT, .required = true, .help = "what comes before; may be empty"},
    {.name = "continuation", .types = WN_KEY_TEXT, .required = true, .filled = true, .help = "what is scored"},
};

enum metric { ACC, PERPLEXITY, METRICS };

static const struct wn_metric metrics[METRICS] = {
    [ACC] = {"acc", "1", "share of items whose continuation has only tokens that are the most likely ones",
             .binary = true},
    [PERPLEXITY] = {"perplexity", "1", "exp of minus the mean over items of ln p(continuation), as in the harness",
                    .reduce = wn_reduce_exp},
};

struct continuation {
    struct wn_task task;
    struct wn_target_span *spans; /* [task.n_items] */
    int field_likelihood, field_correct;
};

static wn_status add_item(struct wn_encoder *e, const cJSON *item)
{
    struct continuation *state = e->set->state;
    const char *context = wn_settings_text(item, "context", "");
    char *text = wn_format("%s%s", e->requests->delimiter, wn_settings_text(item, "continuation", ""));
    int64_t index = state->task.n_items - 1;
    struct wn_ids ids = {0};
    wn_status status = wn_encode_context(e, context);

    state->spans = wn_grow(state->spans, index, 1, sizeof *state->spans);
    if (status == WN_OK)
        status = wn_encode_continuation(e, context, text, &ids);
    if (status == WN_OK)
        state->spans[index] = wn_append_targets(e, &ids, wn_append_sequence(e, &ids));
    wn_ids_release(&ids);
    wn_free(text);
    return status;
}

static wn_status finish_items(struct wn_encoder *e)
{
    e->set->protocol = wn_format("continuation: log-likelihood of delimiter + continuation behind the context as in "
                                 "lm-evaluation-harness; %lld items, delimiter \"%s\"",
                                 (long long)e->requests->count, e->requests->delimiter);
    return WN_OK;
}

static wn_status prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                         struct wn_eval_set *set)
{
    struct continuation *state = wn_alloc_zero(1, sizeof *state);

    set->kind = &wn_eval_continuation;
    set->state = state;
    return wn_prepare_task(directory, name, json, model, set, &state->task, add_item, finish_items);
}

static void release(void *pointer)
{
    struct continuation *state = pointer;

    wn_task_release(&state->task);
    wn_free(state->spans);
    wn_free(state);
}

static void fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct continuation *state = set->state;
    int64_t n = state->task.n_items;
    int32_t *tokens = wn_alloc(n, sizeof *tokens);

    wn_task_fields(&state->task, set, schema, 0);
    state->field_likelihood = wn_add_field(schema, set, "tasks", "log_likelihood", WN_FIELD_F64, 1,
                                           &state->task.item_axis, "nat", "ln p(delimiter + continuation | context)");
    state->field_correct = wn_add_field(schema, set, "tasks", "correct", WN_FIELD_U8, 1, &state->task.item_axis, "1",
                                        "1 where each token of the continuation is the most likely one");
    for (int64_t i = 0; i < n; i++)
        tokens[i] = (int32_t)state->spans[i].count;
    wn_add_constant(schema, set, "tasks", "tokens", 1, &state->task.item_axis, "scored tokens of the continuation",
                    tokens);
    wn_free(tokens);
}

static void score_flips(const struct continuation *state, const struct wn_outcome *point,
                        const struct wn_outcome *dense, struct wn_record *record)
{
    int64_t n = state->task.n_items;
    double *right = wn_alloc(n, sizeof *right), *dense_right = wn_alloc(n, sizeof *dense_right);

    for (int64_t i = 0; i < n; i++) {
        right[i] = wn_span_greedy(point->scores, state->spans[i]);
        dense_right[i] = wn_span_greedy(dense->scores, state->spans[i]);
    }
    wn_task_score_flips(&state->task, &(struct wn_answers){.right = right}, &(struct wn_answers){.right = dense_right},
                        record);
    wn_free(right);
    wn_free(dense_right);
}

static void score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record)
{
    const struct continuation *state = set->state;
    struct wn_item_values values;

    wn_item_values_init(&values, &state->task);
    for (int64_t i = 0; i < state->task.n_items; i++) {
        double likelihood = wn_span_log_likelihood(point->scores, state->spans[i]);
        bool greedy = wn_span_greedy(point->scores, state->spans[i]);
        wn_record_f64(record, state->field_likelihood)[i] = likelihood;
        wn_record_u8(record, state->field_correct)[i] = greedy;
        if (values.value[ACC])
            values.value[ACC][i] = greedy;
        if (values.value[PERPLEXITY])
            values.value[PERPLEXITY][i] = -likelihood;
    }
    wn_task_score(&state->task, &values, record);
    if (dense && state->task.flips.share >= 0)
        score_flips(state, point, dense, record);
    wn_item_values_release(&values);
}

/* ---- for searches ---- */

static int64_t gold_items(const struct wn_eval_set *set)
{
    return ((const struct continuation *)set->state)->task.n_items;
}

static void gold_targets(const struct wn_eval_set *set, int64_t item, int64_t *first, int64_t *count)
{
    const struct continuation *state = set->state;

    *first = state->spans[item].first;
    *count = state->spans[item].count;
}

static void gold_judge(const struct wn_eval_set *set, int64_t item, const struct wn_target_scores *scores,
                       struct wn_gold *gold)
{
    const struct continuation *state = set->state;

    gold->log_likelihood = wn_span_log_likelihood(scores, state->spans[item]);
    gold->right = wn_span_greedy(scores, state->spans[item]);
}

static const struct wn_gold_kind gold = {wn_gold_nat, gold_items, gold_targets, gold_judge};

static const struct wn_task_kind task = {
    .item = WN_KEYS(item_rows),
    .metrics = metrics,
    .n_metrics = METRICS,
    .n_standard = METRICS,
    .delimiter = " ",
};

const struct wn_eval wn_eval_continuation = {
    .name = "continuation",
    .help = "one continuation of a context: its likelihood, and whether it is greedy (LAMBADA)",
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
