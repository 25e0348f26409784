/* SPDX-License-Identifier: Apache-2.0 */
/*
 * likelihood.h: log-likelihoods of texts behind contexts, with tokens as lm-evaluation-harness makes them: sequences
 * and targets of a set, and what the scores of the targets add up to.
 */
#ifndef WINNOW_EVAL_LIKELIHOOD_H
#define WINNOW_EVAL_LIKELIHOOD_H

#include "task.h"

/* Targets of one scored text. */
struct wn_target_span {
    int64_t first, count;
};

/* What the requests of one item are encoded with. */
struct wn_encoder {
    const struct wn_requests *requests;
    int64_t index; /* of the item, for messages */
    const struct wn_model *model;
    struct wn_eval_set *set;
    struct wn_ids context; /* of the request; released by the owner */
};

/* The last message again, with "path:line: " of the item in front. */
wn_status wn_fail_item(const struct wn_encoder *e);
/* Tokens of a context into e->context: none for an empty one, for which the prefix token stands. White space at its end
 * belongs to the continuation. */
wn_status wn_encode_context(struct wn_encoder *e, const char *context);
/* Appends the tokens that `text` adds to the context that was given to wn_encode_context. Errors: there are none, or
 * more than the model has positions. */
wn_status wn_encode_continuation(struct wn_encoder *e, const char *context, const char *text,
                                 struct wn_ids *continuation);
/* Appends a sequence of context and continuation without its last token, cut on the left to what the model can see;
 * returns its last packed row. */
int64_t wn_append_sequence(struct wn_encoder *e, const struct wn_ids *continuation);
/* Adds the targets of a continuation whose last token is predicted at `last_row`. */
struct wn_target_span wn_append_targets(struct wn_encoder *e, const struct wn_ids *continuation, int64_t last_row);

/*
 * get_rolling_token_windows of the harness with context length 1: `stream` is the prefix token and the n tokens of the
 * document. Input by input predicts the next `length` tokens; the last one keeps `length` tokens of input (where there
 * are as many) and scores only what was not scored before.
 */
void wn_append_rolling(struct wn_eval_set *set, const int32_t *stream, int64_t n, int64_t length);

/* ln p of the text, and whether each of its tokens is the most likely one. */
double wn_span_log_likelihood(const struct wn_target_scores *scores, struct wn_target_span span);
bool wn_span_greedy(const struct wn_target_scores *scores, struct wn_target_span span);

/* struct wn_gold_kind, unit: of kinds that take the log-likelihood as it is. */
const char *wn_gold_nat(const struct wn_eval_set *set);

/* ---- the prepare of a kind ---- */

/*
 * Opens the request file and fills the set: for each item, its id and group go to `task` and then `add` appends its
 * sequences and targets and keeps what it needs in set->state; `finish` (may be NULL) comes behind the last item. Then
 * chunks and hashes are made. The kind sets set->state before and set->protocol in `finish` or afterwards.
 */
typedef wn_status wn_item_function(struct wn_encoder *e, const struct cJSON *item);
typedef wn_status wn_items_function(struct wn_encoder *e);
wn_status wn_prepare_task(const char *directory, const char *name, const struct cJSON *json,
                          const struct wn_model *model, struct wn_eval_set *set, struct wn_task *task,
                          wn_item_function *add, wn_items_function *finish);

#endif
