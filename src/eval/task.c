/* SPDX-License-Identifier: Apache-2.0 */
/* Items of a task to fields: scores with standard errors, scores per group, flips against the dense model. */
#include "task.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- items ---- */

/* The header as it is, with what follows from the kind: for notebooks that group tasks. */
static char *describe(const struct wn_requests *requests)
{
    const struct wn_task_kind *kind = requests->kind->task;
    cJSON *facts = requests->header ? cJSON_Duplicate(requests->header, true) : cJSON_CreateObject();

    cJSON_DeleteItemFromObjectCaseSensitive(facts, "kind");
    cJSON_DeleteItemFromObjectCaseSensitive(facts, "metrics");
    cJSON_AddStringToObject(facts, "kind", requests->kind->name);
    cJSON *metrics = cJSON_AddArrayToObject(facts, "metrics");
    for (int m = 0; m < requests->n_metrics; m++)
        cJSON_AddItemToArray(metrics, cJSON_CreateString(kind->metrics[requests->metrics[m]].name));
    cJSON_AddStringToObject(facts, "main_metric", kind->metrics[requests->metrics[0]].name);
    cJSON_AddNumberToObject(facts, "items", (double)requests->count);
    char *printed = cJSON_PrintUnformatted(facts), *text = wn_strdup(printed);
    cJSON_free(printed);
    cJSON_Delete(facts);
    return text;
}

void wn_task_init(struct wn_task *task, const struct wn_requests *requests, struct wn_eval_set *set)
{
    *task = (struct wn_task){.kind = requests->kind->task, .n_metrics = requests->n_metrics, .group_axis = -1};
    memcpy(task->metrics, requests->metrics, sizeof task->metrics);
    task->ids = wn_alloc(requests->count, sizeof *task->ids);
    task->group = wn_alloc(requests->count, sizeof *task->group);
    set->facts = describe(requests);
}

static int32_t group_of(struct wn_task *task, const char *name)
{
    if (!name)
        return -1;
    for (int64_t g = task->n_groups - 1; g >= 0; g--) /* items of a group mostly follow each other */
        if (!strcmp(task->groups[g], name))
            return (int32_t)g;
    task->groups = wn_resize(task->groups, task->n_groups + 1, sizeof *task->groups);
    task->groups[task->n_groups] = wn_strdup(name);
    return (int32_t)task->n_groups++;
}

void wn_task_add_item(struct wn_task *task, const cJSON *item)
{
    task->ids[task->n_items] = wn_requests_id(item, task->n_items);
    task->group[task->n_items] = group_of(task, wn_settings_text(item, "group", NULL));
    task->n_items++;
}

void wn_task_release(struct wn_task *task)
{
    for (int64_t i = 0; i < task->n_items; i++)
        wn_free(task->ids[i]);
    for (int64_t g = 0; g < task->n_groups; g++)
        wn_free(task->groups[g]);
    wn_free(task->ids);
    wn_free(task->group);
    wn_free(task->groups);
    *task = (struct wn_task){0};
}

bool wn_task_wants(const struct wn_task *task, int metric)
{
    for (int m = 0; m < task->n_metrics; m++)
        if (task->metrics[m] == metric)
            return true;
    return false;
}

/* ---- fields ---- */

static void add_axes(struct wn_task *task, const struct wn_eval_set *set, struct wn_schema *schema)
{
    char *item = wn_format("item_%s", set->name), *group = wn_format("group_%s", set->name);

    task->item_axis = wn_schema_dim(schema, item, task->n_items, (const char *const *)task->ids);
    if (task->n_groups > 0) {
        task->group_axis = wn_schema_dim(schema, group, task->n_groups, (const char *const *)task->groups);
        wn_add_constant(schema, set, "tasks", "group", 1, &task->item_axis,
                        "group of the item: index on the axis of groups; -1: none", task->group);
    }
    wn_free(item);
    wn_free(group);
}

static int add_score(struct wn_schema *schema, const struct wn_eval_set *set, const struct wn_metric *metric,
                     const char *ending, int axis, const char *description)
{
    char *name = wn_format("%s%s", metric->name, ending), *text = wn_format("%s%s", metric->name, description);
    int field = wn_add_field(schema, set, "scores", name, WN_FIELD_F64, axis >= 0, &axis, metric->unit,
                             ending[0] ? text : description);

    wn_free(name);
    wn_free(text);
    return field;
}

static void add_metric(struct wn_task *task, int m, const struct wn_eval_set *set, struct wn_schema *schema)
{
    const struct wn_metric *metric = &task->kind->metrics[task->metrics[m]];
    struct wn_metric_fields *fields = &task->fields[m];

    *fields = (struct wn_metric_fields){.by_group = -1, .group_mean = -1, .group_mean_stderr = -1};
    fields->score = add_score(schema, set, metric, "", -1, metric->help);
    fields->score_stderr = add_score(schema, set, metric, "_stderr", -1,
                                     metric->reduce ? ": standard error over items, delta method (no bootstrap)"
                                                    : ": standard error over items, s/sqrt(n)");
    if (task->group_axis < 0)
        return;
    fields->by_group = add_score(schema, set, metric, "_by_group", task->group_axis, " over the items of a group");
    fields->group_mean = add_score(schema, set, metric, "_group_mean", -1, ": mean over groups, each of weight 1");
    fields->group_mean_stderr = add_score(schema, set, metric, "_group_mean_stderr", -1,
                                          ": standard error of the mean over groups, sqrt(sum stderr_g^2)/groups");
}

static int add_flip(struct wn_schema *schema, const struct wn_eval_set *set, const char *name, const char *unit,
                    const char *description)
{
    return wn_add_field(schema, set, "scores", name, WN_FIELD_F64, 0, NULL, unit, description);
}

static void add_flips(struct wn_task *task, const struct wn_eval_set *set, struct wn_schema *schema, unsigned which)
{
    struct wn_flip_fields *f = &task->flips;

    f->share = add_flip(schema, set, "flips", "1",
                        "share of items right in one of the dense and the compressed model and wrong in the other");
    f->share_stderr = add_flip(schema, set, "flips_stderr", "1", "standard error of flips: s/sqrt(n)");
    f->right_to_wrong = add_flip(schema, set, "flips_right_to_wrong", "1",
                                 "items that the dense model has right and the compressed one wrong");
    f->wrong_to_right = add_flip(schema, set, "flips_wrong_to_right", "1",
                                 "items that the dense model has wrong and the compressed one right");
    f->p =
        add_flip(schema, set, "flips_p", "1",
                 "McNemar's exact two-sided p of the two counts of flips: binomial(their sum, 1/2); 1 without flips");
    if (which & WN_FLIP_ANSWERS)
        f->wrong_to_wrong = add_flip(schema, set, "flips_wrong_to_wrong", "1",
                                     "items that both models have wrong by different answers; not part of flips");
    if (which & WN_FLIP_MARGINS) {
        f->margin = add_flip(schema, set, "dense_margin", "nat",
                             "mean over items of how far the answer of the dense model is ahead of its second one");
        f->margin_flipped =
            add_flip(schema, set, "dense_margin_flipped", "nat", "dense_margin over the items that flipped");
    }
}

void wn_task_fields(struct wn_task *task, struct wn_eval_set *set, struct wn_schema *schema, unsigned flips)
{
    add_axes(task, set, schema);
    for (int m = 0; m < task->n_metrics; m++)
        add_metric(task, m, set, schema);
    task->field_main =
        wn_add_field(schema, set, "tasks", "main_value", WN_FIELD_F32, 1, &task->item_axis, "1",
                     "value of the item by the main metric before reduction: right or wrong, loss, mass ...");
    task->flips = (struct wn_flip_fields){-1, -1, -1, -1, -1, -1, -1, -1};
    if (task->kind->metrics[task->metrics[0]].binary)
        add_flips(task, set, schema, flips);
}

/* ---- scores ---- */

void wn_item_values_init(struct wn_item_values *values, const struct wn_task *task)
{
    *values = (struct wn_item_values){.n_metrics = task->kind->n_metrics};
    values->value = wn_alloc_zero(values->n_metrics, sizeof *values->value);
    values->weight = wn_alloc_zero(values->n_metrics, sizeof *values->weight);
    values->counts = wn_alloc_zero(values->n_metrics, sizeof *values->counts);
    for (int m = 0; m < task->n_metrics; m++)
        values->value[task->metrics[m]] = wn_alloc(task->n_items, sizeof(double));
}

void wn_item_values_release(struct wn_item_values *values)
{
    for (int m = 0; m < values->n_metrics; m++) {
        wn_free(values->value[m]);
        wn_free(values->weight[m]);
        wn_free(values->counts[m]);
    }
    wn_free(values->counts);
    wn_free(values->value);
    wn_free(values->weight);
}

static double weight_of(const struct wn_item_values *values, int metric, int64_t item)
{
    return values->weight[metric] ? values->weight[metric][item] : 1;
}

double wn_reduce_ratio(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                       double *influence)
{
    double sum = 0, weights = 0;

    for (int64_t i = 0; i < n; i++) {
        double weight = weight_of(values, metric, index[i]);
        sum += isnan(weight) ? 0 : values->value[metric][index[i]];
        weights += isnan(weight) ? 0 : weight;
    }
    for (int64_t i = 0; i < n; i++) {
        double weight = weight_of(values, metric, index[i]);
        influence[i] = isnan(weight) ? 0 : (values->value[metric][index[i]] - sum / weights * weight) / weights;
    }
    return sum / weights;
}

double wn_reduce_exp(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                     double *influence)
{
    double score = exp(wn_reduce_ratio(values, metric, index, n, influence));

    for (int64_t i = 0; i < n; i++)
        influence[i] *= score;
    return score;
}

/* Over items index[0..n); NaN when no item is part of it. */
static double reduce(const struct wn_task *task, int metric, const struct wn_item_values *values, const int64_t *index,
                     int64_t n, double *standard_error)
{
    wn_metric_reduce *function = task->kind->metrics[metric].reduce;
    double *influence = wn_alloc(n, sizeof *influence), squares = 0, parts = 0;
    double score = (function ? function : wn_reduce_ratio)(values, metric, index, n, influence);

    for (int64_t i = 0; i < n; i++) {
        squares += influence[i] * influence[i];
        parts += !isnan(weight_of(values, metric, index[i]));
    }
    *standard_error = parts > 1 ? sqrt(parts / (parts - 1) * squares) : (double)NAN;
    wn_free(influence);
    return score;
}

static void score_groups(const struct wn_task *task, int m, const struct wn_item_values *values,
                         struct wn_record *record)
{
    double sum = 0, squares = 0, groups = (double)task->n_groups;
    int64_t *index = wn_alloc(task->n_items, sizeof *index);

    for (int64_t g = 0; g < task->n_groups; g++) {
        int64_t n = 0;
        double standard_error;
        for (int64_t i = 0; i < task->n_items; i++)
            if (task->group[i] == g)
                index[n++] = i;
        double score = reduce(task, task->metrics[m], values, index, n, &standard_error);
        wn_record_f64(record, task->fields[m].by_group)[g] = score;
        sum += score;
        squares += standard_error * standard_error;
    }
    *wn_record_f64(record, task->fields[m].group_mean) = sum / groups;
    *wn_record_f64(record, task->fields[m].group_mean_stderr) = sqrt(squares) / groups;
    wn_free(index);
}

void wn_task_score(const struct wn_task *task, const struct wn_item_values *values, struct wn_record *record)
{
    int64_t *all = wn_alloc(task->n_items, sizeof *all);

    for (int64_t i = 0; i < task->n_items; i++) {
        all[i] = i;
        wn_record_f32(record, task->field_main)[i] = (float)values->value[task->metrics[0]][i];
    }
    for (int m = 0; m < task->n_metrics; m++) {
        double standard_error;
        double score = reduce(task, task->metrics[m], values, all, task->n_items, &standard_error);
        *wn_record_f64(record, task->fields[m].score) = score;
        *wn_record_f64(record, task->fields[m].score_stderr) = standard_error;
        if (task->group_axis >= 0)
            score_groups(task, m, values, record);
    }
    wn_free(all);
}

/* ---- flips ---- */

double wn_mcnemar(int64_t b, int64_t c)
{
    double n = (double)(b + c), sum = 0;

    for (int64_t k = 0; k <= (b < c ? b : c); k++)
        sum += exp(lgamma(n + 1) - lgamma((double)k + 1) - lgamma(n - (double)k + 1) - n * log(2));
    return b == c ? 1 : fmin(1, 2 * sum);
}

static void set_flip(struct wn_record *record, int field, double value)
{
    if (field >= 0)
        *wn_record_f64(record, field) = value;
}

static void score_margins(const struct wn_task *task, const struct wn_answers *point, const struct wn_answers *dense,
                          struct wn_record *record)
{
    double all = 0, flipped = 0;
    int64_t flips = 0;

    for (int64_t i = 0; i < task->n_items; i++) {
        bool flip = point->right[i] != dense->right[i];
        all += dense->margin[i];
        flipped += flip ? dense->margin[i] : 0;
        flips += flip;
    }
    set_flip(record, task->flips.margin, all / (double)task->n_items);
    set_flip(record, task->flips.margin_flipped, flips > 0 ? flipped / (double)flips : (double)NAN);
}

void wn_task_score_flips(const struct wn_task *task, const struct wn_answers *point, const struct wn_answers *dense,
                         struct wn_record *record)
{
    int64_t lost = 0, won = 0, changed = 0;
    double n = (double)task->n_items;

    for (int64_t i = 0; i < task->n_items; i++) {
        lost += dense->right[i] == 1 && point->right[i] == 0;
        won += dense->right[i] == 0 && point->right[i] == 1;
        changed +=
            dense->right[i] == 0 && point->right[i] == 0 && point->answer && point->answer[i] != dense->answer[i];
    }
    double share = (double)(lost + won) / n;
    set_flip(record, task->flips.share, share);
    set_flip(record, task->flips.share_stderr, n > 1 ? sqrt(share * (1 - share) / (n - 1)) : (double)NAN);
    set_flip(record, task->flips.right_to_wrong, (double)lost);
    set_flip(record, task->flips.wrong_to_right, (double)won);
    set_flip(record, task->flips.p, wn_mcnemar(lost, won));
    set_flip(record, task->flips.wrong_to_wrong, (double)changed);
    if (dense->margin)
        score_margins(task, point, dense, record);
}
