/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h: what all kinds of task share once their items are read: names and groups of items, values of items to scores,
 * flips against the dense model.
 */
#ifndef WINNOW_EVAL_TASK_H
#define WINNOW_EVAL_TASK_H

#include "protocol.h"

struct wn_task {
    const struct wn_task_kind *kind;
    int64_t n_items, n_groups;   /* groups: 0 when no item has one */
    char **ids;                  /* [n_items] */
    int32_t *group;              /* [n_items] index into `groups`; -1: none */
    char **groups;               /* [n_groups] in the order of their first item */
    int n_metrics;               /* wanted ones, the main one first */
    int metrics[WN_MAX_METRICS]; /* rows of the table of the kind */
    int field_main;              /* values of items by the main metric */
    int item_axis, group_axis;   /* of the schema; group_axis -1 without groups */
    struct wn_metric_fields {
        int score, score_stderr, by_group, group_mean, group_mean_stderr;
    } fields[WN_MAX_METRICS]; /* like `metrics` */
    struct wn_flip_fields {
        int share, share_stderr, right_to_wrong, wrong_to_right, wrong_to_wrong, p, margin, margin_flipped;
    } flips; /* -1 when absent */
};

/* Takes over what the header says, also into set->facts, and makes room for the items. */
void wn_task_init(struct wn_task *task, const struct wn_requests *requests, struct wn_eval_set *set);
/* Id and group of the next item. */
void wn_task_add_item(struct wn_task *task, const struct cJSON *item);
void wn_task_release(struct wn_task *task);
/* True when row `metric` of the table of the kind is wanted. */
bool wn_task_wants(const struct wn_task *task, int metric);

/* What flips can be told of a kind. */
enum { WN_FLIP_ANSWERS = 1 /* answers are known, not only whether they are right */, WN_FLIP_MARGINS = 2 };

/* Axes item_NAME and group_NAME, the constant group, fields of scores, standard errors, groups and, where the main
 * metric is 0 or 1 for each item, flips. */
void wn_task_fields(struct wn_task *task, struct wn_eval_set *set, struct wn_schema *schema, unsigned flips);

/* Arrays [items] for the wanted metrics; weights and counts are NULL until the kind allocates them. */
void wn_item_values_init(struct wn_item_values *values, const struct wn_task *task);
void wn_item_values_release(struct wn_item_values *values);
/* The standard reduction, for kinds that transform it. */
double wn_reduce_ratio(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                       double *influence);
/* exp of it. */
double wn_reduce_exp(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                     double *influence);
/* All scores of the wanted metrics into the record. */
void wn_task_score(const struct wn_task *task, const struct wn_item_values *values, struct wn_record *record);

/* Answers of one model to all items by the main metric. Arrays [items]. */
struct wn_answers {
    const double *right;   /* 0 or 1 */
    const int32_t *answer; /* NULL: not known */
    const double *margin;  /* of the dense model: by how much its answer is ahead; NULL: not known */
};
void wn_task_score_flips(const struct wn_task *task, const struct wn_answers *point, const struct wn_answers *dense,
                         struct wn_record *record);
/* McNemar's exact two-sided p: that of b or a more extreme count under binomial(b + c, 1/2); 1 when b + c = 0. */
double wn_mcnemar(int64_t b, int64_t c);

#endif
