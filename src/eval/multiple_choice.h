/* SPDX-License-Identifier: Apache-2.0 */
/* multiple_choice.h: items and choices, shared by the files of the kind multiple_choice. */
#ifndef WINNOW_EVAL_MULTIPLE_CHOICE_H
#define WINNOW_EVAL_MULTIPLE_CHOICE_H

#include "likelihood.h"

/* Rows of the table of metrics. */
enum wn_choice_metric {
    ACC,
    ACC_NORM,
    ACC_BYTES,
    ACC_TOKENS,
    ACC_MUTUAL_INFO,
    EXACT_MATCH,
    BRIER,
    MC2,
    BIAS,
    ACC_AMBIGUOUS,
    ACC_DISAMBIGUATED,
    BIAS_AMBIGUOUS,
    BIAS_DISAMBIGUATED,
    METRICS,
    PREDICTIONS = EXACT_MATCH /* metrics before this one predict a choice */
};

struct wn_choice {
    struct wn_target_span span;  /* behind its context */
    struct wn_target_span alone; /* without context, for acc_mutual_info */
    int64_t characters, bytes;   /* of the scored text without the delimiter */
    bool gold, unknown, target;
};

struct wn_choice_item {
    int64_t first_choice, n_choices;
    bool has_bias, ambiguous, negative;
};

struct wn_choices {
    struct wn_task task;
    int64_t n_choices, most_choices; /* most of one item */
    bool several_gold;
    struct wn_choice_item *items; /* [task.n_items] */
    struct wn_choice *choices;    /* [n_choices] */
    struct wn_lone_choice *lone;  /* [n_lone] until their sequences are made */
    int64_t n_lone;
    int field_likelihood, field_prediction, field_correct, field_alone, field_greedy;
};

/* struct wn_task_kind */
wn_status wn_choices_check_item(const struct wn_requests *requests, int64_t index, const struct cJSON *item);
/* struct wn_eval; set->kind is set by the caller. */
wn_status wn_choices_prepare(const char *directory, const char *name, const struct cJSON *json,
                             const struct wn_model *model, struct wn_eval_set *set);
void wn_choices_release(void *state);
/* True when a metric is wanted. */
bool wn_choices_wants(const struct wn_choices *state, int metric);

#endif
