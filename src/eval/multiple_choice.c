/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiple choice as lm-evaluation-harness scores it: the log-likelihood of every choice behind the context, or of one
 * continuation behind several contexts; the answer is the choice with the largest one, plain, per character, byte or
 * token, or less that without a context. With notes on bias, the scores of BBQ (Parrish et al. 2022).
 */
#include "multiple_choice.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <string.h>

extern const struct wn_eval wn_eval_multiple_choice;

/* ---- keys and metrics ---- */

static const struct wn_key bias_rows[] = {
    {.name = "condition",
     .types = WN_KEY_TEXT,
     .required = true,
     .words = "ambiguous|disambiguated",
     .help = "whether the context tells the answer"},
    {.name = "polarity",
     .types = WN_KEY_TEXT,
     .required = true,
     .words = "negative|nonnegative",
     .help = "whether the question asks for something negative"},
    {.name = "unknown",
     .types = WN_KEY_INTEGERS,
     .required = true,
     .low = 0,
     .high = INFINITY,
     .help = "choices that say that it cannot be known"},
    {.name = "target",
     .types = WN_KEY_INTEGERS,
     .required = true,
     .low = 0,
     .high = INFINITY,
     .help = "choices of the stereotyped group"},
};

static const struct wn_key item_rows[] = {
    {.name = "context", .types = WN_KEY_TEXT, .help = "what comes before each choice; may be empty"},
    {.name = "contexts",
     .types = WN_KEY_TEXTS,
     .least = 2,
     .help = "in place of context: one per choice, before the continuation (or before choices of their own)"},
    {.name = "choices", .types = WN_KEY_TEXTS, .least = 2, .filled = true, .help = "what is scored"},
    {.name = "continuation", .types = WN_KEY_TEXT, .filled = true, .help = "with contexts: what is scored behind each"},
    {.name = "gold",
     .types = WN_KEY_INTEGER | WN_KEY_INTEGERS,
     .required = true,
     .least = 1,
     .low = 0,
     .high = INFINITY,
     .help = "the right choice or choices, from 0"},
    {.name = "bias",
     .types = WN_KEY_OBJECT,
     .within = bias_rows,
     .n_within = sizeof bias_rows / sizeof bias_rows[0],
     .help = "for the metrics of bias"},
};

static wn_metric_reduce reduce_bias, reduce_scaled_bias;

static const struct wn_metric metrics[METRICS] = {
    [ACC] = {"acc", "1", "share of items whose gold choice has the largest log-likelihood", .binary = true},
    [ACC_NORM] = {"acc_norm", "1", "acc by log-likelihood per character (code point) of the choice", .binary = true},
    [ACC_BYTES] = {"acc_bytes", "1", "acc by log-likelihood per UTF-8 byte of the choice", .binary = true},
    [ACC_TOKENS] = {"acc_tokens", "1", "acc by log-likelihood per token of delimiter and choice", .binary = true},
    [ACC_MUTUAL_INFO] = {"acc_mutual_info", "1", "acc by log-likelihood less that of the choice without context",
                         .binary = true},
    [EXACT_MATCH] = {"exact_match", "1", "share of items with a gold choice whose tokens are all the most likely ones",
                     .binary = true},
    [BRIER] = {"brier", "1", "mean over items of sum over choices (p - gold)^2, p the softmax of log-likelihoods",
               .binary = false},
    [MC2] = {"mc2", "1", "mean over items of the probability of the gold choices over that of all choices",
             .binary = false},
    [BIAS] = {"bias", "1", "the four metrics of BBQ, of answers by the main metric; items need the key bias",
              .parts = 4},
    [ACC_AMBIGUOUS] = {"acc_ambiguous", "1", "acc over items with an ambiguous context", .binary = false},
    [ACC_DISAMBIGUATED] = {"acc_disambiguated", "1", "acc over items with a disambiguated context", .binary = false},
    [BIAS_AMBIGUOUS] =
        {"bias_ambiguous", "1",
         "(1 - acc_ambiguous) (2 biased/known - 1) of answers in ambiguous contexts; 0 if all are unknown",
         .reduce = reduce_scaled_bias},
    [BIAS_DISAMBIGUATED] = {"bias_disambiguated", "1",
                            "2 biased/known - 1 of answers in disambiguated contexts; 0 if all are unknown",
                            .reduce = reduce_bias},
};

static wn_status prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                         struct wn_eval_set *set)
{
    set->kind = &wn_eval_multiple_choice;
    return wn_choices_prepare(directory, name, json, model, set);
}

/* ---- fields ---- */

static void item_fields(struct wn_eval_set *set, struct wn_schema *schema, const int dims[2])
{
    struct wn_choices *state = set->state;

    state->field_likelihood = wn_add_field(schema, set, "tasks", "choice_log_likelihood", WN_FIELD_F64, 2, dims, "nat",
                                           "ln p(delimiter + choice | context); NaN beyond the choices of an item");
    state->field_prediction =
        wn_add_field(schema, set, "tasks", "prediction", WN_FIELD_I32, 1, dims, "1",
                     "choice with the largest log-likelihood, the lowest of equals; -1: not finite");
    state->field_correct = wn_add_field(schema, set, "tasks", "correct", WN_FIELD_U8, 1, dims, "1",
                                        "1 where the prediction is the right choice");
    if (wn_choices_wants(state, ACC_MUTUAL_INFO))
        state->field_alone = wn_add_field(schema, set, "tasks", "choice_log_likelihood_alone", WN_FIELD_F64, 2, dims,
                                          "nat", "ln p(delimiter + choice | prefix token); NaN beyond the choices");
    if (wn_choices_wants(state, EXACT_MATCH))
        state->field_greedy = wn_add_field(schema, set, "tasks", "choice_greedy", WN_FIELD_U8, 2, dims, "1",
                                           "1 where each token of the choice is the most likely one");
}

static int32_t *item_numbers(const struct wn_choices *state)
{
    return wn_alloc(state->task.n_items, sizeof(int32_t));
}

static void item_constants(const struct wn_eval_set *set, struct wn_schema *schema, const int dims[2])
{
    const struct wn_choices *state = set->state;
    int32_t *gold = item_numbers(state), *choices = item_numbers(state);

    for (int64_t i = 0; i < state->task.n_items; i++) {
        const struct wn_choice_item *item = &state->items[i];
        gold[i] = -1;
        choices[i] = (int32_t)item->n_choices;
        for (int64_t c = item->n_choices - 1; c >= 0; c--)
            gold[i] = state->choices[item->first_choice + c].gold ? (int32_t)c : gold[i];
    }
    wn_add_constant(schema, set, "tasks", "gold", 1, dims,
                    state->several_gold ? "index of the first right choice" : "index of the right choice", gold);
    wn_add_constant(schema, set, "tasks", "choices", 1, dims, "number of choices of the item", choices);
    wn_free(gold);
    wn_free(choices);
}

static int32_t tokens_of(const struct wn_choice *choice)
{
    return (int32_t)choice->span.count;
}

static int32_t gold_of(const struct wn_choice *choice)
{
    return choice->gold;
}

/* 0: another group, 1: unknown, 2: the stereotyped group. */
static int32_t role_of(const struct wn_choice *choice)
{
    return choice->unknown ? 1 : choice->target ? 2 : 0;
}

static void choice_constant(const struct wn_eval_set *set, struct wn_schema *schema, const int dims[2],
                            const char *name, const char *description, int32_t (*value)(const struct wn_choice *))
{
    const struct wn_choices *state = set->state;
    int64_t most = state->most_choices;
    int32_t *values = wn_alloc(state->task.n_items * most, sizeof *values);

    for (int64_t i = 0; i < state->task.n_items; i++)
        for (int64_t c = 0; c < most; c++)
            values[i * most + c] =
                c < state->items[i].n_choices ? value(&state->choices[state->items[i].first_choice + c]) : -1;
    wn_add_constant(schema, set, "tasks", name, 2, dims, description, values);
    wn_free(values);
}

static bool wants_bias(const struct wn_choices *state)
{
    return wn_choices_wants(state, ACC_AMBIGUOUS) || wn_choices_wants(state, ACC_DISAMBIGUATED) ||
           wn_choices_wants(state, BIAS_AMBIGUOUS) || wn_choices_wants(state, BIAS_DISAMBIGUATED);
}

static void bias_constants(const struct wn_eval_set *set, struct wn_schema *schema, const int dims[2])
{
    const struct wn_choices *state = set->state;
    int32_t *ambiguous = item_numbers(state), *negative = item_numbers(state);

    for (int64_t i = 0; i < state->task.n_items; i++) {
        ambiguous[i] = state->items[i].ambiguous;
        negative[i] = state->items[i].negative;
    }
    wn_add_constant(schema, set, "tasks", "ambiguous", 1, dims, "1 where the context is ambiguous, else 0", ambiguous);
    wn_add_constant(schema, set, "tasks", "negative", 1, dims, "1 where the question is negative, else 0", negative);
    choice_constant(set, schema, dims, "choice_role",
                    "1: unknown, 2: the stereotyped group, 0: another; -1 beyond the choices of an item", role_of);
    wn_free(ambiguous);
    wn_free(negative);
}

static void fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct wn_choices *state = set->state;
    char *choice = wn_format("choice_%s", set->name);

    wn_task_fields(&state->task, set, schema, WN_FLIP_ANSWERS | WN_FLIP_MARGINS);
    int dims[2] = {state->task.item_axis, wn_schema_dim(schema, choice, state->most_choices, NULL)};
    item_fields(set, schema, dims);
    item_constants(set, schema, dims);
    choice_constant(set, schema, dims, "choice_tokens", "scored tokens of a choice; -1 beyond the choices of an item",
                    tokens_of);
    if (state->several_gold)
        choice_constant(set, schema, dims, "choice_gold",
                        "1 for a right choice, else 0; -1 beyond the choices of an item", gold_of);
    if (wants_bias(state))
        bias_constants(set, schema, dims);
    wn_free(choice);
}

/* ---- scores ---- */

/* What a model says of one item: log-likelihoods by which each predicting metric chooses, [choices] each. */
struct verdict {
    int64_t n;
    double *by[PREDICTIONS];
    int64_t best[PREDICTIONS]; /* -1: not finite */
};

static double adjusted(const struct wn_target_scores *scores, const struct wn_choice *choice, int metric)
{
    double likelihood = wn_span_log_likelihood(scores, choice->span);

    if (metric == ACC_NORM)
        return likelihood / (double)choice->characters;
    if (metric == ACC_BYTES)
        return likelihood / (double)choice->bytes;
    if (metric == ACC_TOKENS)
        return likelihood / (double)choice->span.count;
    return metric == ACC_MUTUAL_INFO ? likelihood - wn_span_log_likelihood(scores, choice->alone) : likelihood;
}

/* The largest, the lowest of equals; -1 when one is no number. */
static int64_t best_choice(const double *values, int64_t n)
{
    int64_t best = 0;

    for (int64_t c = 0; c < n; c++) {
        if (isnan(values[c]))
            return -1;
        if (values[c] > values[best])
            best = c;
    }
    return best;
}

/* `room` has PREDICTIONS * most_choices elements. */
static void judge(const struct wn_choices *state, const struct wn_target_scores *scores, int64_t item, double *room,
                  struct verdict *verdict)
{
    const struct wn_choice *choices = &state->choices[state->items[item].first_choice];

    verdict->n = state->items[item].n_choices;
    for (int m = 0; m < PREDICTIONS; m++) {
        verdict->by[m] = room + m * state->most_choices;
        if (m != ACC && !wn_choices_wants(state, m))
            continue;
        for (int64_t c = 0; c < verdict->n; c++)
            verdict->by[m][c] = adjusted(scores, &choices[c], m);
        verdict->best[m] = best_choice(verdict->by[m], verdict->n);
    }
}

/* How far the best one is ahead of the second. */
static double margin_of(const double *values, int64_t n, int64_t best)
{
    double second = -INFINITY;

    for (int64_t c = 0; c < n; c++)
        if (c != best && values[c] > second)
            second = values[c];
    return best < 0 ? (double)NAN : values[best] - second;
}

/* Sum over choices of (p - gold)^2, and the mass of the gold ones. */
static void softmax_scores(const double *likelihood, const struct wn_choice *choices, int64_t n, double *brier,
                           double *mc2)
{
    double largest = -INFINITY, sum = 0;

    *brier = *mc2 = 0;
    for (int64_t c = 0; c < n; c++)
        largest = fmax(largest, likelihood[c]);
    for (int64_t c = 0; c < n; c++)
        sum += exp(likelihood[c] - largest);
    for (int64_t c = 0; c < n; c++) {
        double p = exp(likelihood[c] - largest) / sum;
        *brier += (p - choices[c].gold) * (p - choices[c].gold);
        *mc2 += choices[c].gold ? p : 0;
    }
}

static bool any_gold_greedy(const struct wn_target_scores *scores, const struct wn_choice *choices, int64_t n)
{
    for (int64_t c = 0; c < n; c++)
        if (choices[c].gold && wn_span_greedy(scores, choices[c].span))
            return true;
    return false;
}

/* Whether the metric is right about an item; of those that are 0 or 1. */
static double is_right(const struct wn_choices *state, const struct wn_target_scores *scores,
                       const struct verdict *verdict, int64_t item, int metric)
{
    const struct wn_choice *choices = &state->choices[state->items[item].first_choice];

    if (metric == EXACT_MATCH)
        return any_gold_greedy(scores, choices, verdict->n);
    return verdict->best[metric] < 0 ? (double)NAN : choices[verdict->best[metric]].gold;
}

/* What answers are told by: the main metric, where it predicts. */
static int predicting(const struct wn_choices *state)
{
    return state->task.metrics[0] < PREDICTIONS ? state->task.metrics[0] : ACC;
}

/* Of the answer to an item: an item of the other condition is no part of a metric. */
static void bias_values(const struct wn_choices *state, const struct verdict *verdict, int64_t i,
                        struct wn_item_values *values)
{
    const struct wn_choice_item *item = &state->items[i];
    int64_t best = verdict->best[predicting(state)];
    const struct wn_choice *answer = &state->choices[item->first_choice + (best < 0 ? 0 : best)];
    bool biased = item->negative ? answer->target : !answer->target && !answer->unknown;

    for (int m = ACC_AMBIGUOUS; m <= BIAS_DISAMBIGUATED; m++) {
        bool part = item->ambiguous == (m == ACC_AMBIGUOUS || m == BIAS_AMBIGUOUS);
        bool accuracy = m == ACC_AMBIGUOUS || m == ACC_DISAMBIGUATED;
        values->value[m][i] = best < 0 ? (double)NAN : accuracy ? answer->gold : biased;
        values->weight[m][i] = !part ? (double)NAN : accuracy ? 1 : !answer->unknown;
    }
}

/* 2 biased/known - 1 (Parrish et al. 2022); lm-evaluation-harness has 0 where none is biased. */
static double reduce_bias(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                          double *influence)
{
    double known = 0, parts = 0, ratio = wn_reduce_ratio(values, metric, index, n, influence);

    for (int64_t i = 0; i < n; i++) {
        double weight = values->weight[metric][index[i]];
        known += isnan(weight) ? 0 : weight;
        parts += !isnan(weight);
    }
    for (int64_t i = 0; i < n; i++)
        influence[i] = known > 0 ? 2 * influence[i] : 0;
    if (parts == 0)
        return (double)NAN;
    return known > 0 ? 2 * ratio - 1 : 0;
}

/* (1 - acc_ambiguous) (2 biased/known - 1). */
static double reduce_scaled_bias(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                                 double *influence)
{
    double *of_accuracy = wn_alloc(n, sizeof *of_accuracy);
    double accuracy = wn_reduce_ratio(values, ACC_AMBIGUOUS, index, n, of_accuracy);
    double bias = reduce_bias(values, metric, index, n, influence);

    for (int64_t i = 0; i < n; i++)
        influence[i] = (1 - accuracy) * influence[i] - bias * of_accuracy[i];
    wn_free(of_accuracy);
    return (1 - accuracy) * bias;
}

static void item_values(const struct wn_choices *state, const struct wn_target_scores *scores,
                        const struct verdict *verdict, int64_t i, struct wn_item_values *values)
{
    const struct wn_choice *choices = &state->choices[state->items[i].first_choice];
    double brier, mc2;

    for (int m = 0; m <= EXACT_MATCH; m++)
        if (wn_choices_wants(state, m))
            values->value[m][i] = is_right(state, scores, verdict, i, m);
    softmax_scores(verdict->by[ACC], choices, verdict->n, &brier, &mc2);
    if (wn_choices_wants(state, BRIER))
        values->value[BRIER][i] = brier;
    if (wn_choices_wants(state, MC2))
        values->value[MC2][i] = mc2;
    if (wants_bias(state))
        bias_values(state, verdict, i, values);
}

static void item_record(const struct wn_choices *state, const struct wn_target_scores *scores,
                        const struct verdict *verdict, int64_t i, struct wn_record *record)
{
    const struct wn_choice *choices = &state->choices[state->items[i].first_choice];
    int64_t at = i * state->most_choices;

    memcpy(wn_record_f64(record, state->field_likelihood) + at, verdict->by[ACC], (size_t)verdict->n * sizeof(double));
    wn_record_i32(record, state->field_prediction)[i] = (int32_t)verdict->best[ACC];
    wn_record_u8(record, state->field_correct)[i] = is_right(state, scores, verdict, i, ACC) == 1;
    for (int64_t c = 0; c < verdict->n; c++) {
        if (wn_choices_wants(state, ACC_MUTUAL_INFO))
            wn_record_f64(record, state->field_alone)[at + c] = wn_span_log_likelihood(scores, choices[c].alone);
        if (wn_choices_wants(state, EXACT_MATCH))
            wn_record_u8(record, state->field_greedy)[at + c] = wn_span_greedy(scores, choices[c].span);
    }
}

/* Answers by the main metric, arrays [items] to be freed one by one. */
struct answers {
    double *right, *margin;
    int32_t *answer;
};

static void answers_init(struct answers *answers, int64_t n)
{
    answers->right = wn_alloc(n, sizeof *answers->right);
    answers->margin = wn_alloc(n, sizeof *answers->margin);
    answers->answer = wn_alloc(n, sizeof *answers->answer);
}

static void answers_release(struct answers *answers)
{
    wn_free(answers->right);
    wn_free(answers->margin);
    wn_free(answers->answer);
}

static void add_answer(const struct wn_choices *state, const struct wn_target_scores *scores,
                       const struct verdict *verdict, int64_t i, struct answers *answers)
{
    int metric = state->task.metrics[0], by = predicting(state);

    answers->right[i] = metric <= EXACT_MATCH ? is_right(state, scores, verdict, i, metric) : (double)NAN;
    answers->answer[i] = (int32_t)verdict->best[by];
    answers->margin[i] = margin_of(verdict->by[by], verdict->n, verdict->best[by]);
}

static void score_flips(const struct wn_choices *state, const struct answers *point,
                        const struct wn_target_scores *scores, double *room, struct wn_record *record)
{
    struct answers dense;
    struct verdict verdict;

    answers_init(&dense, state->task.n_items);
    for (int64_t i = 0; i < state->task.n_items; i++) {
        judge(state, scores, i, room, &verdict);
        add_answer(state, scores, &verdict, i, &dense);
    }
    wn_task_score_flips(&state->task, &(struct wn_answers){point->right, point->answer, point->margin},
                        &(struct wn_answers){dense.right, dense.answer, dense.margin}, record);
    answers_release(&dense);
}

static void score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record)
{
    const struct wn_choices *state = set->state;
    int64_t n = state->task.n_items;
    double *room = wn_alloc(PREDICTIONS * state->most_choices, sizeof *room);
    struct wn_item_values values;
    struct answers answers;

    wn_item_values_init(&values, &state->task);
    for (int m = ACC_AMBIGUOUS; m <= BIAS_DISAMBIGUATED && wants_bias(state); m++) { /* they need each other */
        if (!values.value[m])
            values.value[m] = wn_alloc(n, sizeof(double));
        values.weight[m] = wn_alloc(n, sizeof(double));
    }
    answers_init(&answers, n);
    for (int64_t i = 0; i < n; i++) {
        struct verdict verdict;
        judge(state, point->scores, i, room, &verdict);
        item_values(state, point->scores, &verdict, i, &values);
        item_record(state, point->scores, &verdict, i, record);
        add_answer(state, point->scores, &verdict, i, &answers);
    }
    wn_task_score(&state->task, &values, record);
    if (dense && state->task.flips.share >= 0)
        score_flips(state, &answers, dense->scores, room, record);
    answers_release(&answers);
    wn_item_values_release(&values);
    wn_free(room);
}

/* ---- for searches ---- */

static int64_t gold_items(const struct wn_eval_set *set)
{
    return ((const struct wn_choices *)set->state)->task.n_items;
}

/* Those of the choices alone, without context, are not among them. */
static void gold_targets(const struct wn_eval_set *set, int64_t item, int64_t *first, int64_t *count)
{
    const struct wn_choices *state = set->state;
    const struct wn_choice_item *about = &state->items[item];
    const struct wn_choice *choices = &state->choices[about->first_choice];

    *first = choices[0].span.first;
    *count = 0;
    for (int64_t c = 0; c < about->n_choices; c++) { /* those of one token come first */
        *first = choices[c].span.first < *first ? choices[c].span.first : *first;
        *count += choices[c].span.count;
    }
}

/* acc_norm, acc_bytes and acc_tokens have one of their own; all others take that of acc. */
static int gold_metric(const struct wn_choices *state)
{
    int metric = state->task.metrics[0];

    return metric >= ACC_NORM && metric <= ACC_TOKENS ? metric : ACC;
}

static const char *gold_unit(const struct wn_eval_set *set)
{
    static const char *const units[] = {
        [ACC] = "nat", [ACC_NORM] = "nat/character", [ACC_BYTES] = "nat/byte", [ACC_TOKENS] = "nat/token"};

    return units[gold_metric(set->state)];
}

/* Of several right choices the likeliest. */
static void gold_judge(const struct wn_eval_set *set, int64_t item, const struct wn_target_scores *scores,
                       struct wn_gold *gold)
{
    const struct wn_choices *state = set->state;
    const struct wn_choice_item *about = &state->items[item];
    const struct wn_choice *choices = &state->choices[about->first_choice];
    double *likelihood = wn_alloc(about->n_choices, sizeof *likelihood);

    gold->log_likelihood = -INFINITY;
    for (int64_t c = 0; c < about->n_choices; c++) {
        likelihood[c] = adjusted(scores, &choices[c], gold_metric(state));
        if (choices[c].gold && (isnan(likelihood[c]) || likelihood[c] > gold->log_likelihood)) /* NaN stays */
            gold->log_likelihood = likelihood[c];
    }
    int64_t best = best_choice(likelihood, about->n_choices);
    gold->right = best >= 0 && choices[best].gold;
    wn_free(likelihood);
}

static const struct wn_gold_kind gold = {gold_unit, gold_items, gold_targets, gold_judge};

static const struct wn_task_kind task = {
    .item = WN_KEYS(item_rows),
    .metrics = metrics,
    .n_metrics = METRICS,
    .n_standard = ACC_BYTES + 1,
    .delimiter = " ",
    .check_item = wn_choices_check_item,
};

const struct wn_eval wn_eval_multiple_choice = {
    .name = "multiple_choice",
    .help = "questions with choices: accuracy by log-likelihood, as lm-evaluation-harness",
    .section = "tasks",
    .task = &task,
    .gold = &gold,
    .compares = true,
    .check = wn_requests_check,
    .prepare = prepare,
    .fields = fields,
    .score = score,
    .release = wn_choices_release,
};
