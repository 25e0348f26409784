/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Perplexity by two protocols.
 *   gptq     one token stream, windows of `length`, the first token of a window is not scored
 *   rolling  every document on its own behind a prefix token, every token scored once
 */
#include "likelihood.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct wn_parameter parameters[] = {
    {.name = "text",
     .type = WN_STRING,
     .required = true,
     .help = "plain text (gptq: rows already joined), or for rolling JSON records {\"page\"} or {\"text\"}; gzip too"},
    {.name = "protocol",
     .type = WN_STRING,
     .standard = "\"gptq\"",
     .words = "gptq|rolling",
     .help = "gptq: windows of one stream; rolling: documents as lm-evaluation-harness scores them"},
    {.name = "length",
     .type = WN_INTEGER,
     .low = 2,
     .high = 1e7,
     .unit = "tokens",
     .help = "tokens of a window; default: the model's positions, at most 2048"},
    {.name = "windows",
     .type = WN_INTEGER,
     .low = 1,
     .high = 1e9,
     .help = "use only the first this many windows (rolling: documents)"},
    {.name = "detokenize",
     .type = WN_STRING,
     .standard = "\"none\"",
     .words = "none|wikitext",
     .help = "rolling: rewrite pages of WikiText in ordinary spelling; words and bytes are counted before"},
    {.name = "on_error",
     .type = WN_STRING,
     .standard = "\"fail\"",
     .words = "fail|skip",
     .help = "rolling: what a record does that cannot be used: end the run, or be left out and counted"},
};

enum { N_PARAMETERS = sizeof parameters / sizeof parameters[0] };

/* All are functions of the mean loss per token. */
enum score { PERPLEXITY, NLL, WORD_PERPLEXITY, BYTE_PERPLEXITY, BITS_PER_BYTE, SCORES };

struct perplexity {
    bool rolling;
    int64_t words, bytes; /* of the original documents; rolling */
    int64_t *cluster;     /* [sequences] window (gptq) or document (rolling) of a sequence */
    int64_t n_sequences;
    int field_window_loss, field_window_targets;
    int field_score[SCORES], field_stderr[SCORES]; /* -1 when absent */
};

struct settings {
    char *path; /* owned */
    bool rolling, wikitext, skip;
    int64_t length, windows; /* 0: not given */
};

extern const struct wn_eval wn_eval_perplexity;

static const char *const document_fields[] = {"page", "text", NULL};

/* ---- settings and check ---- */

static int64_t integer_or_zero(const struct wn_params *params, const char *name)
{
    return wn_params_find(params, name)->set ? wn_params_integer(params, name) : 0;
}

static void read_settings(const char *directory, const char *name, const cJSON *json, struct settings *s,
                          struct wn_problems *problems)
{
    struct wn_params params;
    char *place = wn_format("evaluate.perplexity.%s", name);
    int64_t before = problems->count;

    *s = (struct settings){0};
    wn_settings_read(place, json, parameters, N_PARAMETERS, &params, problems);
    if (problems->count == before) {
        s->path = wn_join_path(directory, wn_settings_text(json, "text", ""));
        s->rolling = strcmp(wn_params_text(&params, "protocol"), "rolling") == 0;
        s->wikitext = strcmp(wn_params_text(&params, "detokenize"), "wikitext") == 0;
        s->skip = strcmp(wn_params_text(&params, "on_error"), "skip") == 0;
        s->length = integer_or_zero(&params, "length");
        s->windows = integer_or_zero(&params, "windows");
        if (!s->rolling && s->wikitext)
            wn_problems_add(problems, "%s: key \"detokenize\" is for the protocol rolling", place);
    }
    wn_free(place);
}

static wn_status check_document(void *context, const struct wn_documents *documents, int64_t index, const cJSON *object)
{
    const char *text;

    (void)context;
    return wn_documents_field(documents, index, object, document_fields, &text);
}

static wn_status open_documents(const struct settings *s, struct wn_documents *documents)
{
    wn_status status = WN_OK;

    WN_TRY(wn_documents_open(s->path, false, documents));
    if (!s->rolling && documents->json)
        status = wn_fail(WN_ERR_INPUT,
                         "%s: holds %s, but the protocol gptq needs a plain text with its rows joined (or the protocol "
                         "rolling)",
                         s->path, documents->content);
    else if (s->skip && documents->json)
        status = wn_documents_skip(documents, check_document, NULL);
    if (status != WN_OK)
        wn_documents_close(documents);
    return status;
}

static void check(const char *directory, const char *name, const cJSON *json, struct wn_problems *problems)
{
    struct settings s;
    struct wn_documents documents;
    int64_t before = problems->count;

    read_settings(directory, name, json, &s, problems);
    if (problems->count > before) {
        wn_free(s.path);
        return;
    }
    if (open_documents(&s, &documents) != WN_OK) {
        wn_problems_add(problems, "%s", wn_error_message());
    } else {
        wn_documents_tell(&documents);
        if (documents.json && !s.skip)
            wn_documents_check(&documents, check_document, NULL, problems);
        wn_documents_close(&documents);
    }
    wn_free(s.path);
}

/* ---- windows ---- */

/* The sequences appended since the last call belong to one cluster. */
static void add_cluster(const struct wn_eval_set *set, int64_t cluster)
{
    struct perplexity *state = set->state;

    for (; state->n_sequences < set->sequences.n_sequences; state->n_sequences++) {
        state->cluster = wn_grow(state->cluster, state->n_sequences, 1, sizeof *state->cluster);
        state->cluster[state->n_sequences] = cluster;
    }
}

static wn_status encode_at(const struct wn_model *model, const char *path, const char *text, int64_t length,
                           bool harness, struct wn_ids *ids)
{
    wn_status status =
        harness ? wn_encode_request(model, text, length, ids) : wn_encode_known(model, text, length, true, ids);

    if (status == WN_OK)
        return WN_OK;
    char *message = wn_strdup(wn_error_message());
    wn_fail(status, "%s: %s", path, message);
    wn_free(message);
    return status;
}

static wn_status gptq_windows(const struct settings *s, const struct wn_ids *ids, struct wn_eval_set *set)
{
    int64_t length = s->length, windows = ids->count / length;

    if (windows == 0)
        return wn_fail(WN_ERR_INPUT, "%s: %lld tokens are less than one window of %lld", s->path, (long long)ids->count,
                       (long long)length);
    if (s->windows > 0 && s->windows < windows)
        windows = s->windows;
    for (int64_t w = 0; w < windows; w++) {
        const int32_t *window = ids->data + w * length;
        wn_sequences_append(&set->sequences, window, length);
        add_cluster(set, w);
        for (int64_t t = 0; t + 1 < length; t++)
            wn_add_target(set, w * length + t, window[t + 1]);
    }
    set->protocol =
        wn_format("gptq: %lld tokens in one stream (default special tokens once), the first %lld windows of "
                  "%lld, tail dropped, first token of a window not scored; exp of the mean of window means",
                  (long long)ids->count, (long long)windows, (long long)length);
    return WN_OK;
}

static wn_status prepare_gptq(const struct settings *s, const struct wn_documents *documents,
                              const struct wn_model *model, struct wn_eval_set *set)
{
    struct wn_ids ids = {0};
    wn_status status = encode_at(model, s->path, documents->data, documents->size, false,
                                 &ids); /* plain text, where it lies: it may be large */

    if (status == WN_OK)
        status = gptq_windows(s, &ids, set);
    wn_ids_release(&ids);
    return status;
}

static wn_status roll_document(const struct settings *s, const struct wn_documents *documents, int64_t index,
                               const struct wn_model *model, struct wn_eval_set *set)
{
    struct perplexity *state = set->state;
    struct wn_text page = {0}, text = {0};
    struct wn_ids ids = {0};
    wn_status status = wn_documents_text(documents, index, document_fields, &page);

    if (status == WN_OK) {
        state->words += wn_count_pieces(page.data, (int64_t)page.length);
        state->bytes += (int64_t)page.length;
        if (s->wikitext)
            wn_detokenize_wikitext(page.data, (int64_t)page.length, &text);
        if (wn_front_id(model->tokenizer) >= 0)
            wn_ids_append(&ids, wn_front_id(model->tokenizer));
        const struct wn_text *read = s->wikitext ? &text : &page;
        status = encode_at(model, s->path, read->data ? read->data : "", (int64_t)read->length, true, &ids);
    }
    if (status == WN_OK && ids.count > 1) {
        wn_append_rolling(set, ids.data, ids.count - 1, s->length);
        add_cluster(set, index);
    }
    wn_text_release(&page);
    wn_text_release(&text);
    wn_ids_release(&ids);
    return status;
}

static wn_status prepare_rolling(const struct settings *s, const struct wn_documents *documents,
                                 const struct wn_model *model, struct wn_eval_set *set)
{
    int64_t count = s->windows > 0 && s->windows < documents->count ? s->windows : documents->count;
    int32_t prefix = wn_front_id(model->tokenizer);

    if (prefix < 0 && prefix != WN_FRONT_NONE)
        return wn_fail(WN_ERR_INPUT,
                       "%s: the tokenizer has neither a BOS nor an EOS token, but the protocol rolling "
                       "puts one in front of each document",
                       model->directory ? model->directory : s->path);
    for (int64_t i = 0; i < count; i++)
        WN_TRY(roll_document(s, documents, i, model, set));
    if (set->n_targets == 0)
        return wn_fail(WN_ERR_INPUT, "%s: the documents have no tokens", s->path);
    set->protocol =
        wn_format("rolling: %lld documents, each behind the prefix token %d; %s; inputs of at most %lld tokens, every "
                  "token scored once; detokenizer: %s",
                  (long long)count, (int)prefix,
                  wn_adds_bos(model->tokenizer) ? "the tokenizer's own BOS follows it and is scored, as in the harness"
                                                : "the tokenizer adds no BOS",
                  (long long)s->length, s->wikitext ? "wikitext" : "none");
    return WN_OK;
}

static wn_status settle_length(const char *name, const struct wn_model *model, struct settings *s)
{
    int64_t most = model->config.max_positions;

    if (s->length == 0)
        s->length = most < 2048 ? most : 2048;
    if (s->length > most)
        return wn_fail(WN_ERR_INPUT,
                       "evaluate.perplexity.%s: key \"length\": %lld, but the model has only %lld positions", name,
                       (long long)s->length, (long long)most);
    return WN_OK;
}

static wn_status fill(const char *name, struct settings *s, const struct wn_model *model, struct wn_eval_set *set)
{
    struct wn_documents documents;

    WN_TRY(settle_length(name, model, s));
    WN_TRY(wn_hash_file(s->path, set->file_hash));
    WN_TRY(open_documents(s, &documents));
    set->skipped = documents.skipped;
    wn_status status =
        s->rolling ? prepare_rolling(s, &documents, model, set) : prepare_gptq(s, &documents, model, set);
    wn_documents_close(&documents);
    if (status != WN_OK)
        return status;
    wn_sequences_cut(&set->sequences);
    wn_sequences_hash(&set->sequences, set->token_hash);
    set->path = wn_strdup(s->path);
    return WN_OK;
}

static wn_status prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                         struct wn_eval_set *set)
{
    struct wn_problems problems;
    struct settings s;
    struct perplexity *state = wn_alloc_zero(1, sizeof *state);

    wn_problems_init(&problems);
    read_settings(directory, name, json, &s, &problems);
    snprintf(set->name, sizeof set->name, "%s", name);
    set->kind = &wn_eval_perplexity;
    set->state = state;
    state->rolling = s.rolling;
    wn_status status = wn_settings_finish(&problems);
    if (status == WN_OK)
        status = fill(name, &s, model, set);
    wn_free(s.path);
    return status;
}

static void release(void *state)
{
    wn_free(((struct perplexity *)state)->cluster);
    wn_free(state);
}

/* ---- fields and scores ---- */

/* Standard errors by the delta method: |derivative by the mean loss| times the standard error of the mean loss. */
static void score_fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    static const struct {
        const char *name, *unit, *description;
    } rows[SCORES] = {
        [PERPLEXITY] = {"perplexity", "1", "exp(mean loss per scored token)"},
        [NLL] = {"nll", "nat", "mean of -ln p over scored tokens"},
        [WORD_PERPLEXITY] = {"word_perplexity", "1",
                             "exp(total loss / words of the original documents, split at white space)"},
        [BYTE_PERPLEXITY] = {"byte_perplexity", "1", "exp(total loss / UTF-8 bytes of the original documents)"},
        [BITS_PER_BYTE] = {"bits_per_byte", "bit", "total loss / (UTF-8 bytes of the original documents * ln 2)"},
    };
    struct perplexity *s = set->state;

    for (int i = 0; i < SCORES; i++) {
        s->field_score[i] = s->field_stderr[i] = -1;
        if (i >= WORD_PERPLEXITY && !s->rolling)
            continue;
        char *name = wn_format("%s_stderr", rows[i].name);
        char *error = wn_format("standard error of %s, clustered by %s%s", rows[i].name,
                                s->rolling ? "document" : "window", i == NLL ? "" : " (delta method)");
        s->field_score[i] =
            wn_add_field(schema, set, "scores", rows[i].name, WN_FIELD_F64, 0, NULL, rows[i].unit, rows[i].description);
        s->field_stderr[i] = wn_add_field(schema, set, "scores", name, WN_FIELD_F64, 0, NULL, rows[i].unit, error);
        wn_free(name);
        wn_free(error);
    }
}

static void fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct perplexity *s = set->state;
    char *window = wn_format("window_%s", set->name);
    int axis = wn_schema_dim(schema, window, s->n_sequences, NULL);

    score_fields(set, schema);
    s->field_window_loss = wn_add_field(schema, set, "scores", "window_loss", WN_FIELD_F64, 1, &axis, "nat",
                                        "mean of -ln p over the scored tokens of a window");
    s->field_window_targets =
        wn_add_field(schema, set, "scores", "window_targets", WN_FIELD_I32, 1, &axis, "1", "scored tokens of a window");
    wn_free(window);
}

/* Losses of a window are added in token order, windows in window order: the same for any number of threads. */
static double score_windows(const struct wn_eval_set *set, const int64_t *sequence, const double *loss,
                            struct wn_record *record)
{
    const struct perplexity *s = set->state;
    double *window = wn_record_f64(record, s->field_window_loss), total = 0;
    int32_t *count = wn_record_i32(record, s->field_window_targets);

    for (int64_t w = 0; w < s->n_sequences; w++)
        window[w] = count[w] = 0;
    for (int64_t t = 0; t < set->n_targets; t++) {
        window[sequence[t]] += loss[t];
        count[sequence[t]]++;
    }
    for (int64_t w = 0; w < s->n_sequences; w++) {
        total += window[w];
        window[w] /= count[w];
    }
    return total;
}

static void set_score(const struct perplexity *s, enum score score, double value, double standard_error,
                      struct wn_record *record)
{
    *wn_record_f64(record, s->field_score[score]) = value;
    *wn_record_f64(record, s->field_stderr[score]) = standard_error;
}

/* exp of the loss per unit (token, word, byte): `error` is that of the mean loss per token, `tokens` are tokens per
 * unit.
 */
static void set_exponential(const struct perplexity *s, enum score score, double nats, double error, double tokens,
                            struct wn_record *record)
{
    set_score(s, score, exp(nats), exp(nats) * error * tokens, record);
}

static void score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record)
{
    const struct wn_target_scores *scores = point->scores;
    const struct perplexity *s = set->state;
    int64_t *sequence = wn_target_sequences(set);
    double total = score_windows(set, sequence, scores->loss, record), n = (double)set->n_targets;
    double mean, error;

    (void)dense;
    for (int64_t t = 0; t < set->n_targets; t++)
        sequence[t] = s->cluster[sequence[t]];
    wn_clustered_mean(scores->loss, sequence, set->n_targets, &mean, &error);
    set_score(s, NLL, total / n, error, record);
    set_exponential(s, PERPLEXITY, total / n, error, 1, record);
    if (s->rolling) {
        double words = (double)s->words, bytes = (double)s->bytes;
        set_exponential(s, WORD_PERPLEXITY, total / words, error, n / words, record);
        set_exponential(s, BYTE_PERPLEXITY, total / bytes, error, n / bytes, record);
        set_score(s, BITS_PER_BYTE, total / (bytes * log(2)), error * n / (bytes * log(2)), record);
    }
    wn_free(sequence);
}

const struct wn_eval wn_eval_perplexity = {
    .name = "perplexity",
    .help = "perplexity of a text: windows of one stream (gptq) or documents (rolling)",
    .section = "perplexity",
    .parameters = parameters,
    .n_parameters = N_PARAMETERS,
    .check = check,
    .prepare = prepare,
    .fields = fields,
    .score = score,
    .release = release,
};
