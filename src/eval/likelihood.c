/* SPDX-License-Identifier: Apache-2.0 */
/* Texts behind contexts: tokens, sequences, targets, log-likelihoods. */
#include "likelihood.h"

#include <cjson/cJSON.h>

#include <stdio.h>
#include <string.h>

/* ---- tokens ---- */

wn_status wn_fail_item(const struct wn_encoder *e)
{
    char *message = wn_strdup(wn_error_message());
    wn_status status = wn_requests_fail(e->requests, e->index, "%s", message);

    wn_free(message);
    return status;
}

wn_status wn_encode_context(struct wn_encoder *e, const char *context)
{
    int64_t length = wn_trimmed_length(context, (int64_t)strlen(context));
    int32_t prefix = wn_front_id(e->model->tokenizer);

    e->context.count = 0;
    if (context[0] != '\0' && wn_encode_request(e->model, context, length, &e->context) != WN_OK)
        return wn_fail_item(e);
    if (e->context.count == 0 && prefix < 0 && prefix != WN_FRONT_NONE)
        return wn_requests_fail(e->requests, e->index,
                                "the context is empty and the tokenizer has neither a BOS nor an EOS token");
    return WN_OK;
}

/* Whether nothing is in front of a text: its first token is the context of the others. */
static bool is_bare(const struct wn_encoder *e)
{
    return e->context.count == 0 && wn_front_id(e->model->tokenizer) == WN_FRONT_NONE;
}

/* No context: the prefix token stands for it; a continuation that starts with that token gives it away. */
static wn_status encode_alone(struct wn_encoder *e, const char *text, struct wn_ids *continuation)
{
    int32_t prefix = wn_front_id(e->model->tokenizer);

    WN_TRY(wn_encode_known(e->model, text, (int64_t)strlen(text), false, continuation));
    if (continuation->count > 0 && continuation->data[0] == prefix) {
        continuation->count--;
        memmove(continuation->data, continuation->data + 1, (size_t)continuation->count * sizeof *continuation->data);
    }
    return WN_OK;
}

/* The tokens of context + text behind the first as many as the context has on its own. */
static wn_status encode_behind(struct wn_encoder *e, const char *context, const char *text, struct wn_ids *continuation)
{
    char *whole = wn_format("%s%s", context, text);
    wn_status status = wn_encode_request(e->model, whole, (int64_t)strlen(whole), continuation);
    int64_t count = e->context.count < continuation->count ? e->context.count : continuation->count;

    wn_free(whole);
    continuation->count -= count;
    if (continuation->count > 0)
        memmove(continuation->data, continuation->data + count,
                (size_t)continuation->count * sizeof *continuation->data);
    return status;
}

/* What is wrong with a text, shown up to a code point near its 40th byte. */
static wn_status fail_text(const struct wn_encoder *e, const char *text, const char *what)
{
    int length = (int)strlen(text) < 40 ? (int)strlen(text) : 40;

    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    return wn_requests_fail(e->requests, e->index, "\"%.*s%s\" %s", length, text, text[length] ? "..." : "", what);
}

wn_status wn_encode_continuation(struct wn_encoder *e, const char *context, const char *text,
                                 struct wn_ids *continuation)
{
    char what[96];

    continuation->count = 0;
    wn_status status =
        context[0] == '\0' ? encode_alone(e, text, continuation) : encode_behind(e, context, text, continuation);
    if (status != WN_OK)
        return wn_fail_item(e);
    if (continuation->count == 0)
        return fail_text(e, text, "adds no token to its context");
    if (continuation->count == 1 && is_bare(e))
        return fail_text(e, text, "has one token, and nothing is in front of it (\"prefix_token\": \"none\")");
    snprintf(what, sizeof what, "has %lld tokens, but the model only %lld positions", (long long)continuation->count,
             (long long)e->model->config.max_positions);
    return continuation->count > e->model->config.max_positions ? fail_text(e, text, what) : WN_OK;
}

/* ---- sequences and targets ---- */

int64_t wn_append_sequence(struct wn_encoder *e, const struct wn_ids *continuation)
{
    int32_t prefix = wn_front_id(e->model->tokenizer);
    const int32_t *context = e->context.count > 0 ? e->context.data : &prefix;
    int64_t most = e->model->config.max_positions, rest = continuation->count - 1;
    int64_t count = is_bare(e)             ? 0
                    : e->context.count > 0 ? e->context.count
                                           : 1,
            head = count + rest > most ? most - rest : count;
    int32_t *input = wn_alloc(head + rest, sizeof *input);

    memcpy(input, context + count - head, (size_t)head * sizeof *input);
    memcpy(input + head, continuation->data, (size_t)rest * sizeof *input);
    wn_sequences_append(&e->set->sequences, input, head + rest);
    wn_free(input);
    return wn_sequences_tokens(&e->set->sequences) - 1;
}

struct wn_target_span wn_append_targets(struct wn_encoder *e, const struct wn_ids *continuation, int64_t last_row)
{
    int64_t first = is_bare(e);
    struct wn_target_span span = {e->set->n_targets, continuation->count - first};

    for (int64_t t = first; t < continuation->count; t++)
        wn_add_target(e->set, last_row - continuation->count + 1 + t, continuation->data[t]);
    return span;
}

void wn_append_rolling(struct wn_eval_set *set, const int32_t *stream, int64_t n, int64_t length)
{
    for (int64_t done = 0; done < n;) {
        int64_t count = n - done < length ? n - done : length;
        int64_t end = done + count, first = end > length ? end - length : 0;
        int64_t row = wn_sequences_tokens(&set->sequences);
        wn_sequences_append(&set->sequences, stream + first, end - first);
        for (int64_t t = done; t < end; t++)
            wn_add_target(set, row + t - first, stream[t + 1]);
        done = end;
    }
}

/* ---- scores ---- */

double wn_span_log_likelihood(const struct wn_target_scores *scores, struct wn_target_span span)
{
    double sum = 0;

    for (int64_t t = 0; t < span.count; t++)
        sum -= scores->loss[span.first + t];
    return sum;
}

bool wn_span_greedy(const struct wn_target_scores *scores, struct wn_target_span span)
{
    for (int64_t t = 0; t < span.count; t++)
        if (!scores->greedy[span.first + t])
            return false;
    return true;
}

const char *wn_gold_nat(const struct wn_eval_set *set)
{
    (void)set;
    return "nat";
}

/* ---- the prepare of a kind ---- */

static wn_status add_items(struct wn_encoder *e, struct wn_task *task, wn_item_function *add)
{
    wn_status status = WN_OK;

    for (e->index = 0; e->index < e->requests->count && status == WN_OK; e->index++) {
        cJSON *item = NULL;
        status = wn_requests_item(e->requests, e->index, &item);
        if (status == WN_OK) {
            wn_task_add_item(task, item);
            status = add(e, item);
        }
        cJSON_Delete(item);
    }
    return status;
}

static wn_status fill(struct wn_encoder *e, struct wn_task *task, wn_item_function *add, wn_items_function *finish)
{
    struct wn_eval_set *set = e->set;

    wn_task_init(task, e->requests, set);
    wn_status status = add_items(e, task, add);
    if (finish && status == WN_OK)
        status = finish(e);
    wn_ids_release(&e->context);
    if (status != WN_OK)
        return status;
    wn_sequences_cut(&set->sequences);
    wn_sequences_hash(&set->sequences, set->token_hash);
    set->path = wn_strdup(e->requests->documents.path);
    set->skipped = e->requests->documents.skipped;
    return wn_hash_file(set->path, set->file_hash);
}

wn_status wn_prepare_task(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                          struct wn_eval_set *set, struct wn_task *task, wn_item_function *add,
                          wn_items_function *finish)
{
    struct wn_requests requests;
    struct wn_encoder encoder = {.requests = &requests, .model = model, .set = set};

    snprintf(set->name, sizeof set->name, "%s", name);
    WN_TRY(wn_requests_open(directory, name, json, &requests));
    wn_status status = fill(&encoder, task, add, finish);
    wn_requests_close(&requests);
    return status;
}
