/* SPDX-License-Identifier: Apache-2.0 */
/* Items of multiple choice: their check, and their choices as sequences and targets. */
#include "multiple_choice.h"

#include <cjson/cJSON.h>

#include <stdlib.h>
#include <string.h>

bool wn_choices_wants(const struct wn_choices *state, int metric)
{
    return wn_task_wants(&state->task, metric);
}

static bool is_gold(const cJSON *gold, int64_t choice)
{
    const cJSON *entry;

    if (cJSON_IsNumber(gold))
        return (int64_t)gold->valuedouble == choice;
    cJSON_ArrayForEach (entry, gold)
        if ((int64_t)entry->valuedouble == choice)
            return true;
    return false;
}

/* Indices below n; a single number or a list without repetition. */
static wn_status check_indices(const struct wn_requests *requests, int64_t index, const char *key, const cJSON *value,
                               int n)
{
    int count = cJSON_IsArray(value) ? cJSON_GetArraySize(value) : 1;
    uint8_t *seen = wn_alloc_zero(n, 1);
    wn_status status = WN_OK;

    for (int i = 0; i < count && status == WN_OK; i++) {
        double number = (cJSON_IsArray(value) ? cJSON_GetArrayItem(value, i) : value)->valuedouble;
        if (number >= n)
            status = wn_requests_fail(requests, index, "key \"%s\": %.0f is no choice, expected 0 to %d", key, number,
                                      n - 1);
        else if (seen[(int)number]++)
            status = wn_requests_fail(requests, index, "key \"%s\": %.0f is listed twice", key, number);
    }
    wn_free(seen);
    return status;
}

/* One context and several choices, or several contexts and one continuation or as many choices. */
static wn_status check_form(const struct wn_requests *requests, int64_t index, const cJSON *item)
{
    const cJSON *contexts = cJSON_GetObjectItemCaseSensitive(item, "contexts");
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(item, "choices");
    bool context = cJSON_HasObjectItem(item, "context"), continuation = cJSON_HasObjectItem(item, "continuation");

    if (contexts && context)
        return wn_requests_fail(requests, index, "keys \"context\" and \"contexts\": give one of them");
    if (!contexts && !context)
        return wn_requests_fail(requests, index, "key \"context\" (or \"contexts\") is missing");
    if (continuation && !contexts)
        return wn_requests_fail(requests, index,
                                "key \"continuation\" is for \"contexts\"; behind one context there "
                                "are \"choices\"");
    if (continuation && choices)
        return wn_requests_fail(requests, index, "keys \"choices\" and \"continuation\": give one of them");
    if (!continuation && !choices)
        return wn_requests_fail(requests, index, "key \"choices\"%s is missing",
                                contexts ? " (or \"continuation\")" : "");
    if (contexts && choices && cJSON_GetArraySize(contexts) != cJSON_GetArraySize(choices))
        return wn_requests_fail(requests, index, "%d \"contexts\", but %d \"choices\"", cJSON_GetArraySize(contexts),
                                cJSON_GetArraySize(choices));
    return WN_OK;
}

static int count_choices(const cJSON *item)
{
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(item, "choices");

    return cJSON_GetArraySize(choices ? choices : cJSON_GetObjectItemCaseSensitive(item, "contexts"));
}

static wn_status check_bias(const struct wn_requests *requests, int64_t index, const cJSON *bias, int n)
{
    const cJSON *target = cJSON_GetObjectItemCaseSensitive(bias, "target"), *entry;
    const cJSON *unknown = cJSON_GetObjectItemCaseSensitive(bias, "unknown");

    WN_TRY(check_indices(requests, index, "bias.unknown", unknown, n));
    WN_TRY(check_indices(requests, index, "bias.target", target, n));
    cJSON_ArrayForEach (entry, target)
        if (is_gold(unknown, (int64_t)entry->valuedouble))
            return wn_requests_fail(requests, index, "key \"bias\": choice %.0f is both target and unknown",
                                    entry->valuedouble);
    return WN_OK;
}

wn_status wn_choices_check_item(const struct wn_requests *requests, int64_t index, const cJSON *item)
{
    const cJSON *gold = cJSON_GetObjectItemCaseSensitive(item, "gold");
    const cJSON *bias = cJSON_GetObjectItemCaseSensitive(item, "bias");

    WN_TRY(check_form(requests, index, item));
    WN_TRY(check_indices(requests, index, "gold", gold, count_choices(item)));
    if (wn_requests_has_metric(requests, BRIER) && cJSON_IsArray(gold) && cJSON_GetArraySize(gold) > 1)
        return wn_requests_fail(requests, index, "the metric brier needs one gold choice, found %d",
                                cJSON_GetArraySize(gold));
    for (int m = ACC_AMBIGUOUS; m <= BIAS_DISAMBIGUATED; m++)
        if (!bias && wn_requests_has_metric(requests, m))
            return wn_requests_fail(requests, index, "key \"bias\" is missing: the metric %s needs it",
                                    requests->kind->task->metrics[m].name);
    return bias ? check_bias(requests, index, bias, count_choices(item)) : WN_OK;
}

/* ---- requests to sequences ---- */

/* A choice to be scored without context: equal texts are scored once. */
struct wn_lone_choice {
    char *text; /* delimiter + choice; owned */
    int64_t choice, item;
};

static const char *entry_text(const cJSON *item, const char *list, const char *single, int64_t index)
{
    const cJSON *texts = cJSON_GetObjectItemCaseSensitive(item, list);

    return texts ? cJSON_GetArrayItem(texts, (int)index)->valuestring : wn_settings_text(item, single, "");
}

/* Choices of one token read the same row behind the same context: one sequence for all of them, in front of the others.
 * Choices with contexts of their own share nothing. */
static void append_choices(struct wn_encoder *e, const struct wn_ids *ids, struct wn_choice *choices, int64_t n)
{
    int64_t shared_row = -1;

    for (int64_t c = 0; c < n; c++)
        if (ids[c].count == 1) {
            if (shared_row < 0)
                shared_row = wn_append_sequence(e, &ids[c]);
            choices[c].span = wn_append_targets(e, &ids[c], shared_row);
        }
    for (int64_t c = 0; c < n; c++)
        if (ids[c].count > 1)
            choices[c].span = wn_append_targets(e, &ids[c], wn_append_sequence(e, &ids[c]));
}

/* Tokens of one choice; one with a context of its own is appended at once. */
static wn_status encode_choice(struct wn_encoder *e, const cJSON *item, int64_t index, struct wn_ids *ids,
                               struct wn_choice *choice)
{
    bool own_context = cJSON_HasObjectItem(item, "contexts");
    const char *context = entry_text(item, "contexts", "context", index);
    const char *scored = entry_text(item, "choices", "continuation", index);

    choice->bytes = (int64_t)strlen(scored);
    choice->characters = wn_utf8_length(scored, choice->bytes);
    if (index == 0 || own_context)
        WN_TRY(wn_encode_context(e, context));
    char *text = wn_format("%s%s", e->requests->delimiter, scored);
    wn_status status = wn_encode_continuation(e, context, text, ids);
    wn_free(text);
    if (status == WN_OK && own_context)
        choice->span = wn_append_targets(e, ids, wn_append_sequence(e, ids));
    return status;
}

static wn_status encode_choices(struct wn_encoder *e, const cJSON *item, struct wn_choice *choices, int64_t n)
{
    struct wn_ids *ids = wn_alloc_zero(n, sizeof *ids);
    wn_status status = WN_OK;

    for (int64_t c = 0; c < n && status == WN_OK; c++)
        status = encode_choice(e, item, c, &ids[c], &choices[c]);
    if (status == WN_OK && !cJSON_HasObjectItem(item, "contexts"))
        append_choices(e, ids, choices, n);
    for (int64_t c = 0; c < n; c++)
        wn_ids_release(&ids[c]);
    wn_free(ids);
    return status;
}

/* A choice behind an empty context is alone already: the same tokens, so that the difference is exactly 0. */
static void add_lone(const struct wn_encoder *e, const cJSON *item, int64_t first_choice, int64_t n)
{
    struct wn_choices *state = e->set->state;

    for (int64_t c = 0; c < n; c++) {
        struct wn_choice *choice = &state->choices[first_choice + c];
        const char *text = entry_text(item, "choices", "continuation", c);
        choice->alone = choice->span;
        if (entry_text(item, "contexts", "context", c)[0] == '\0')
            continue;
        state->lone = wn_grow(state->lone, state->n_lone, 1, sizeof *state->lone);
        state->lone[state->n_lone++] =
            (struct wn_lone_choice){wn_format("%s%s", e->requests->delimiter, text), first_choice + c, e->index};
    }
}

static int compare_lone(const void *a, const void *b)
{
    const struct wn_lone_choice *left = a, *right = b;
    int order = strcmp(left->text, right->text);

    return order ? order : (left->choice > right->choice) - (left->choice < right->choice);
}

static bool is_repeated(const struct wn_lone_choice *lone, int64_t i)
{
    return i > 0 && strcmp(lone[i].text, lone[i - 1].text) == 0;
}

/* Tokens of the sorted texts into ids [n_lone], of equal ones only the first. */
static wn_status encode_lone(struct wn_encoder *e, const struct wn_choices *state, struct wn_ids *ids)
{
    e->index = 0;
    WN_TRY(wn_encode_context(e, ""));
    for (int64_t i = 0; i < state->n_lone; i++) {
        e->index = state->lone[i].item;
        if (!is_repeated(state->lone, i))
            WN_TRY(wn_encode_continuation(e, "", state->lone[i].text, &ids[i]));
    }
    return WN_OK;
}

/* Texts of one token read one row behind the prefix token. */
static void append_lone(struct wn_encoder *e, struct wn_choices *state, const struct wn_ids *ids)
{
    int64_t shared_row = -1;

    for (int64_t i = 0; i < state->n_lone; i++)
        if (ids[i].count == 1) {
            if (shared_row < 0)
                shared_row = wn_append_sequence(e, &ids[i]);
            state->choices[state->lone[i].choice].alone = wn_append_targets(e, &ids[i], shared_row);
        }
    for (int64_t i = 0; i < state->n_lone; i++)
        if (ids[i].count > 1)
            state->choices[state->lone[i].choice].alone = wn_append_targets(e, &ids[i], wn_append_sequence(e, &ids[i]));
    for (int64_t i = 0; i < state->n_lone; i++)
        if (is_repeated(state->lone, i))
            state->choices[state->lone[i].choice].alone = state->choices[state->lone[i - 1].choice].alone;
}

static wn_status score_lone(struct wn_encoder *e)
{
    struct wn_choices *state = e->set->state;
    struct wn_ids *ids = wn_alloc_zero(state->n_lone, sizeof *ids);

    qsort(state->lone, (size_t)state->n_lone, sizeof *state->lone, compare_lone);
    wn_status status = encode_lone(e, state, ids);
    if (status == WN_OK)
        append_lone(e, state, ids);
    for (int64_t i = 0; i < state->n_lone; i++)
        wn_ids_release(&ids[i]);
    wn_free(ids);
    return status;
}

static void mark_choices(struct wn_choices *state, struct wn_choice_item *item, const cJSON *json)
{
    const cJSON *gold = cJSON_GetObjectItemCaseSensitive(json, "gold");
    const cJSON *bias = cJSON_GetObjectItemCaseSensitive(json, "bias");

    state->several_gold |= cJSON_IsArray(gold) && cJSON_GetArraySize(gold) > 1;
    item->has_bias = bias != NULL;
    item->ambiguous = strcmp(wn_settings_text(bias, "condition", ""), "ambiguous") == 0;
    item->negative = strcmp(wn_settings_text(bias, "polarity", ""), "negative") == 0;
    for (int64_t c = 0; c < item->n_choices; c++) {
        struct wn_choice *choice = &state->choices[item->first_choice + c];
        *choice = (struct wn_choice){.gold = is_gold(gold, c)};
        choice->unknown = is_gold(cJSON_GetObjectItemCaseSensitive(bias, "unknown"), c);
        choice->target = is_gold(cJSON_GetObjectItemCaseSensitive(bias, "target"), c);
    }
}

static wn_status add_item(struct wn_encoder *e, const cJSON *json)
{
    struct wn_choices *state = e->set->state;
    int64_t n = count_choices(json), first = state->n_choices, index = state->task.n_items - 1;

    state->items = wn_grow(state->items, index, 1, sizeof *state->items);
    state->choices = wn_grow(state->choices, first, n, sizeof *state->choices);
    state->items[index] = (struct wn_choice_item){.first_choice = first, .n_choices = n};
    mark_choices(state, &state->items[index], json);
    state->n_choices += n;
    state->most_choices = n > state->most_choices ? n : state->most_choices;
    WN_TRY(encode_choices(e, json, state->choices + first, n));
    if (wn_choices_wants(state, ACC_MUTUAL_INFO))
        add_lone(e, json, first, n);
    return WN_OK;
}

static wn_status finish_items(struct wn_encoder *e)
{
    const struct wn_choices *state = e->set->state;

    e->set->protocol =
        wn_format("multiple_choice: log-likelihood of delimiter + choice behind the context as in "
                  "lm-evaluation-harness; %lld items, delimiter \"%s\"; acc_norm per character, acc_bytes "
                  "per UTF-8 byte of the choice; ties to the lowest index",
                  (long long)e->requests->count, e->requests->delimiter);
    return state->n_lone > 0 ? score_lone(e) : WN_OK;
}

wn_status wn_choices_prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                             struct wn_eval_set *set)
{
    struct wn_choices *state = wn_alloc_zero(1, sizeof *state);

    set->state = state;
    wn_status status = wn_prepare_task(directory, name, json, model, set, &state->task, add_item, finish_items);
    for (int64_t c = 0; c < state->n_lone; c++)
        wn_free(state->lone[c].text);
    wn_free(state->lone);
    state->lone = NULL;
    state->n_lone = 0;
    return status;
}

void wn_choices_release(void *pointer)
{
    struct wn_choices *state = pointer;

    wn_task_release(&state->task);
    wn_free(state->items);
    wn_free(state->choices);
    wn_free(state);
}
