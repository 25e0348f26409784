/* SPDX-License-Identifier: Apache-2.0 */
/* Texts on their own, every token scored once (WikiText of the harness): perplexity per word and byte, bits per byte.
 */
#include "likelihood.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <string.h>

extern const struct wn_eval wn_eval_rolling;

static const struct wn_key header_rows[] = {
    {.name = "length",
     .types = WN_KEY_INTEGER,
     .low = 2,
     .high = 1e7,
     .help = "tokens of an input, at most; default: the model's positions, at most 2048"},
};

static const struct wn_key item_rows[] = {
    {.name = "text", .types = WN_KEY_TEXT, .required = true, .filled = true, .help = "what is scored"},
    {.name = "words",
     .types = WN_KEY_INTEGER,
     .low = 1,
     .high = 1e9,
     .help = "words that the loss is divided by; default: pieces of the text, split at white space"},
    {.name = "bytes",
     .types = WN_KEY_INTEGER,
     .low = 1,
     .high = 1e9,
     .help = "bytes that the loss is divided by; default: of the text in UTF-8"},
};

enum metric { WORD_PERPLEXITY, BYTE_PERPLEXITY, BITS_PER_BYTE, METRICS };

static wn_metric_reduce reduce_bits;

static const struct wn_metric metrics[METRICS] = {
    [WORD_PERPLEXITY] = {"word_perplexity", "1", "exp(total loss / words)", .reduce = wn_reduce_exp},
    [BYTE_PERPLEXITY] = {"byte_perplexity", "1", "exp(total loss / bytes)", .reduce = wn_reduce_exp},
    [BITS_PER_BYTE] = {"bits_per_byte", "bit", "total loss / (bytes ln 2)", .reduce = reduce_bits},
};

struct text {
    struct wn_target_span span;
    int32_t words, bytes;
};

struct rolling {
    struct wn_task task;
    struct text *texts; /* [task.n_items] */
    int field_likelihood;
};

/* Of the header, else the model's positions up to 2048. */
static int64_t input_length(const struct wn_encoder *e)
{
    double most = (double)e->model->config.max_positions;

    return (int64_t)wn_requests_number(e->requests, "length", fmin(most, 2048));
}

static int32_t count_or(const cJSON *item, const char *key, int64_t counted)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);

    return value ? (int32_t)value->valuedouble : (int32_t)counted;
}

static wn_status add_item(struct wn_encoder *e, const cJSON *item)
{
    struct rolling *state = e->set->state;
    const char *text = wn_settings_text(item, "text", "");
    int64_t bytes = (int64_t)strlen(text), index = state->task.n_items - 1, first = e->set->n_targets;
    int32_t prefix = wn_front_id(e->model->tokenizer);
    struct wn_ids ids = {0};

    if (input_length(e) > e->model->config.max_positions)
        return wn_fail(WN_ERR_INPUT, "%s: key \"length\": %lld, but the model has only %lld positions",
                       e->requests->documents.path, (long long)input_length(e),
                       (long long)e->model->config.max_positions);
    if (prefix < 0 && prefix != WN_FRONT_NONE)
        return wn_requests_fail(e->requests, e->index, "the tokenizer has neither a BOS nor an EOS token");
    state->texts = wn_grow(state->texts, index, 1, sizeof *state->texts);
    if (prefix >= 0)
        wn_ids_append(&ids, prefix);
    wn_status status = wn_encode_request(e->model, text, bytes, &ids);
    if (status == WN_OK && ids.count > 1)
        wn_append_rolling(e->set, ids.data, ids.count - 1, input_length(e));
    wn_ids_release(&ids);
    state->texts[index] = (struct text){.span = {first, e->set->n_targets - first},
                                        .words = count_or(item, "words", wn_count_pieces(text, bytes)),
                                        .bytes = count_or(item, "bytes", bytes)};
    return status == WN_OK ? WN_OK : wn_fail_item(e);
}

static wn_status finish_items(struct wn_encoder *e)
{
    e->set->protocol =
        wn_format("rolling: %lld texts, each behind the prefix token %d; inputs of at most %lld tokens, "
                  "every token scored once",
                  (long long)e->requests->count, (int)wn_front_id(e->model->tokenizer), (long long)input_length(e));
    return WN_OK;
}

static wn_status prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                         struct wn_eval_set *set)
{
    struct rolling *state = wn_alloc_zero(1, sizeof *state);

    set->kind = &wn_eval_rolling;
    set->state = state;
    return wn_prepare_task(directory, name, json, model, set, &state->task, add_item, finish_items);
}

static void release(void *pointer)
{
    struct rolling *state = pointer;

    wn_task_release(&state->task);
    wn_free(state->texts);
    wn_free(state);
}

static void fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct rolling *state = set->state;
    int64_t n = state->task.n_items;
    int32_t *words = wn_alloc(3 * n, sizeof *words), *bytes = words + n, *tokens = bytes + n;

    wn_task_fields(&state->task, set, schema, 0);
    state->field_likelihood = wn_add_field(schema, set, "tasks", "log_likelihood", WN_FIELD_F64, 1,
                                           &state->task.item_axis, "nat", "ln p(text | prefix token)");
    for (int64_t i = 0; i < n; i++) {
        words[i] = state->texts[i].words;
        bytes[i] = state->texts[i].bytes;
        tokens[i] = (int32_t)state->texts[i].span.count;
    }
    wn_add_constant(schema, set, "tasks", "words", 1, &state->task.item_axis, "words that the loss is divided by",
                    words);
    wn_add_constant(schema, set, "tasks", "bytes", 1, &state->task.item_axis, "bytes that the loss is divided by",
                    bytes);
    wn_add_constant(schema, set, "tasks", "tokens", 1, &state->task.item_axis, "scored tokens of the text", tokens);
    wn_free(words);
}

static double reduce_bits(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                          double *influence)
{
    double nats = wn_reduce_ratio(values, metric, index, n, influence);

    for (int64_t i = 0; i < n; i++)
        influence[i] /= log(2);
    return nats / log(2);
}

static void score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record)
{
    const struct rolling *state = set->state;
    struct wn_item_values values;

    (void)dense;
    wn_item_values_init(&values, &state->task);
    for (int m = 0; m < METRICS; m++)
        if (values.value[m])
            values.weight[m] = wn_alloc(state->task.n_items, sizeof(double));
    for (int64_t i = 0; i < state->task.n_items; i++) {
        const struct text *text = &state->texts[i];
        double likelihood = wn_span_log_likelihood(point->scores, text->span);
        wn_record_f64(record, state->field_likelihood)[i] = likelihood;
        for (int m = 0; m < METRICS; m++) {
            if (!values.value[m])
                continue;
            values.value[m][i] = -likelihood;
            values.weight[m][i] = m == WORD_PERPLEXITY ? text->words : text->bytes;
        }
    }
    wn_task_score(&state->task, &values, record);
    wn_item_values_release(&values);
}

/* ---- for searches ---- */

static int64_t gold_items(const struct wn_eval_set *set)
{
    return ((const struct rolling *)set->state)->task.n_items;
}

static void gold_targets(const struct wn_eval_set *set, int64_t item, int64_t *first, int64_t *count)
{
    const struct text *text = &((const struct rolling *)set->state)->texts[item];

    *first = text->span.first;
    *count = text->span.count;
}

/* Words or bytes that the main metric divides by. */
static bool by_words(const struct wn_eval_set *set)
{
    return ((const struct rolling *)set->state)->task.metrics[0] == WORD_PERPLEXITY;
}

static const char *gold_unit(const struct wn_eval_set *set)
{
    return by_words(set) ? "nat/word" : "nat/byte";
}

/* A text is no answer: it is never right. */
static void gold_judge(const struct wn_eval_set *set, int64_t item, const struct wn_target_scores *scores,
                       struct wn_gold *gold)
{
    const struct text *text = &((const struct rolling *)set->state)->texts[item];

    gold->log_likelihood = wn_span_log_likelihood(scores, text->span) / (by_words(set) ? text->words : text->bytes);
    gold->right = false;
}

static const struct wn_gold_kind gold = {gold_unit, gold_items, gold_targets, gold_judge};

static const struct wn_task_kind task = {
    .header = WN_KEYS(header_rows),
    .item = WN_KEYS(item_rows),
    .metrics = metrics,
    .n_metrics = METRICS,
    .n_standard = METRICS,
};

const struct wn_eval wn_eval_rolling = {
    .name = "rolling",
    .help = "texts on their own, every token scored once: perplexity per word and byte, bits per byte",
    .section = "tasks",
    .task = &task,
    .gold = &gold,
    .check = wn_requests_check,
    .prepare = prepare,
    .fields = fields,
    .score = score,
    .release = release,
};
