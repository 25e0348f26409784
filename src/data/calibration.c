/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calibration sets. The draws follow the published codes call by call, so that a set with the
 * same texts, tokenizer and seed holds the same tokens as theirs.
 */
#include <winnow/data.h>

#include <cjson/cJSON.h>

#include <stdio.h>
#include <string.h>

#define STANDARD_JOIN "\n\n"

static const struct wn_parameter parameters[] = {
    {.name = "text",
     .type = WN_STRING,
     .help = "plain text or JSON records {\"text\"} (lines or an array; gzip too): a general set"},
    {.name = "prompts",
     .type = WN_STRING,
     .help = "JSON pairs {\"prompt\", \"response\"} or {\"instruction\", \"input\", \"output\"}: a task-specific set"},
    {.name = "template",
     .type = WN_STRING,
     .standard = "\"plain\"",
     .help = "how a pair becomes text: plain, alpaca, none, or a text with {prompt} and {response}"},
    {.name = "sampling",
     .type = WN_STRING,
     .words = "stream|documents|each|packed",
     .help = "default: stream for plain text, documents for records, each for prompts"},
    {.name = "join",
     .type = WN_STRING,
     .standard = "\"\\n\\n\"",
     .help = "put between documents by stream and packed (Wanda, SparseGPT: one space; GPTQ: two newlines)"},
    {.name = "samples",
     .type = WN_INTEGER,
     .standard = "128",
     .low = 1,
     .high = 1e7,
     .unit = "sequences",
     .help = "number of sequences"},
    {.name = "length",
     .type = WN_INTEGER,
     .low = 2,
     .high = 1e7,
     .unit = "tokens",
     .help = "tokens of a sequence (at most, for each); default: the model's positions, at most 2048"},
    {.name = "seed",
     .type = WN_INTEGER,
     .standard = "0",
     .low = 0,
     .high = 9007199254740991.0,
     .help = "seed of the draws, as random.seed of Python"},
    {.name = "on_error",
     .type = WN_STRING,
     .standard = "\"fail\"",
     .words = "fail|skip",
     .help = "what a record does that cannot be used: end the run, or be left out and counted"},
    {.name = "keep_ids",
     .type = WN_BOOL,
     .standard = "false",
     .help = "put the token ids into the results file (/calibration/NAME/token_id), not only their hash"},
};

enum { N_PARAMETERS = sizeof parameters / sizeof parameters[0] };

const struct wn_parameter *wn_calibration_parameters(int *count)
{
    *count = N_PARAMETERS;
    return parameters;
}

/* ---- settings ---- */

struct settings {
    char *path; /* owned */
    bool prompts, skip, keep_ids;
    char chat_template[200];       /* of the first pair; "": none */
    const char *template_, *join;  /* borrowed from the JSON */
    char sampling[16];             /* "": by the content */
    int64_t samples, length, seed; /* length 0: not given */
};

static void read_source(const char *directory, const char *place, const cJSON *json, struct settings *s,
                        struct wn_problems *problems)
{
    const char *text = wn_settings_text(json, "text", NULL), *prompts = wn_settings_text(json, "prompts", NULL);

    if (!text == !prompts)
        wn_problems_add(problems, "%s: expected exactly one of \"text\" and \"prompts\"", place);
    if (text && cJSON_GetObjectItemCaseSensitive(json, "template"))
        wn_problems_add(problems, "%s: \"template\" is for \"prompts\", not for \"text\"", place);
    s->prompts = prompts != NULL;
    if (prompts && wn_template_check(s->template_) != WN_OK)
        wn_problems_add(problems, "%s: template: %s", place, wn_error_message());
    if (text || prompts)
        s->path = wn_join_path(directory, text ? text : prompts);
}

/* Reads the object; mistakes are added to `problems`. s->path is to be freed in any case. */
static void read_settings(const char *directory, const char *name, const cJSON *json, struct settings *s,
                          struct wn_problems *problems)
{
    struct wn_params params;
    char *place = wn_format("calibration.%s", name);
    int64_t before = problems->count;

    *s = (struct settings){.template_ = wn_settings_text(json, "template", "plain"),
                           .join = wn_settings_text(json, "join", STANDARD_JOIN)};
    wn_settings_read(place, json, parameters, N_PARAMETERS, &params, problems);
    if (problems->count == before)
        read_source(directory, place, json, s, problems);
    if (problems->count == before) {
        const struct wn_value *sampling = wn_params_find(&params, "sampling"), *length;
        snprintf(s->sampling, sizeof s->sampling, "%.15s", sampling->set ? sampling->text : "");
        s->keep_ids = wn_params_find(&params, "keep_ids")->number != 0;
        s->skip = strcmp(wn_params_text(&params, "on_error"), "skip") == 0;
        s->samples = wn_params_integer(&params, "samples");
        s->seed = wn_params_integer(&params, "seed");
        length = wn_params_find(&params, "length");
        s->length = length->set ? (int64_t)length->number : 0;
    }
    wn_free(place);
}

/* ---- texts ---- */

static const char *const text_fields[] = {"text", NULL};

static wn_status append_pair(const struct wn_documents *documents, int64_t index, const struct settings *s,
                             const cJSON *object, struct wn_text *text)
{
    wn_status status = wn_template_render(s->template_, object, text);

    if (status == WN_OK)
        return WN_OK;
    char *message = wn_strdup(wn_error_message());
    status = wn_documents_fail(documents, index, "%s", message);
    wn_free(message);
    return status;
}

/* Appends the text of a document, or of a pair in its template. */
static wn_status append_text(const struct wn_documents *documents, int64_t index, const struct settings *s,
                             struct wn_text *text)
{
    cJSON *object;

    if (!s->prompts)
        return wn_documents_text(documents, index, text_fields, text);
    WN_TRY(wn_documents_parse(documents, index, &object));
    wn_status status = append_pair(documents, index, s, object, text);
    cJSON_Delete(object);
    return status;
}

/* ---- check ---- */

static wn_status check_document(void *context, const struct wn_documents *documents, int64_t index, const cJSON *object)
{
    const struct settings *s = context;
    struct wn_text text = {0};
    const char *field;
    wn_status status;

    if (s->prompts)
        status = append_pair(documents, index, s, object, &text);
    else
        status = wn_documents_field(documents, index, object, text_fields, &field);
    wn_text_release(&text);
    return status;
}

/* Pairs in a chat template say so. */
static void read_chat_template(const struct wn_documents *documents, struct settings *s)
{
    cJSON *pair = NULL;

    s->chat_template[0] = '\0';
    if (!s->prompts || wn_documents_parse(documents, 0, &pair) != WN_OK)
        return;
    snprintf(s->chat_template, sizeof s->chat_template, "%s", wn_settings_text(pair, "chat_template", ""));
    cJSON_Delete(pair);
}

/* Opens the file, settles what its content decides, and leaves out what is to be left out. */
static wn_status open_documents(struct settings *s, struct wn_documents *documents)
{
    WN_TRY(wn_documents_open(s->path, s->prompts, documents));
    if (!s->sampling[0])
        snprintf(s->sampling, sizeof s->sampling, "%s", s->prompts ? "each" : documents->json ? "documents" : "stream");
    wn_status status = WN_OK;
    if (s->skip && documents->json)
        status = wn_documents_skip(documents, check_document, s);
    if (status == WN_OK)
        read_chat_template(documents, s);
    else
        wn_documents_close(documents);
    return status;
}

static wn_status check_enough(const struct wn_documents *documents, const struct settings *s)
{
    if (strcmp(s->sampling, "each") == 0 && documents->count < s->samples)
        return wn_fail(WN_ERR_INPUT, "%s: holds %lld lines, but %lld samples are to be drawn without replacement",
                       documents->path, (long long)documents->count, (long long)s->samples);
    return WN_OK;
}

void wn_calibration_check(const char *directory, const char *name, const cJSON *json, struct wn_problems *problems)
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
            wn_documents_check(&documents, check_document, &s, problems);
        if (check_enough(&documents, &s) != WN_OK)
            wn_problems_add(problems, "%s", wn_error_message());
        wn_documents_close(&documents);
    }
    wn_free(s.path);
}

/* ---- sampling ---- */

struct sampler {
    const struct settings *settings;
    const struct wn_documents *documents;
    const struct wn_model *model;
    struct wn_sequences *sequences;
    struct wn_mt mt;
    struct wn_text text; /* reused */
    struct wn_ids ids;   /* reused */
};

/* Whether a chat template has put the BOS in front already. */
static bool has_bos(const struct sampler *s, const char *text, int64_t length)
{
    const struct wn_tokenizer *tokenizer = s->model->tokenizer;
    const char *bos =
        s->settings->chat_template[0] && wn_adds_bos(tokenizer) ? wn_token_text(tokenizer, wn_bos_id(tokenizer)) : NULL;

    return bos && (size_t)length >= strlen(bos) && memcmp(text, bos, strlen(bos)) == 0;
}

static wn_status encode_bytes(struct sampler *s, const char *text, int64_t length)
{
    s->ids.count = 0;
    WN_TRY(wn_encode(s->model->tokenizer, text, length, !has_bos(s, text, length), &s->ids));
    for (int64_t i = 0; i < s->ids.count; i++)
        if (s->ids.data[i] >= s->model->config.vocab_size)
            return wn_fail(WN_ERR_INPUT, "%s: the tokenizer gives the id %d, but the model knows only %lld tokens",
                           s->documents->path, (int)s->ids.data[i], (long long)s->model->config.vocab_size);
    return WN_OK;
}

static wn_status encode(struct sampler *s)
{
    return encode_bytes(s, s->text.data ? s->text.data : "", (int64_t)s->text.length);
}

static wn_status encode_document(struct sampler *s, int64_t index)
{
    s->text.length = 0;
    WN_TRY(append_text(s->documents, index, s->settings, &s->text));
    return encode(s);
}

/* All documents in the given order (NULL: that of the file) as one stream of tokens. A plain text may be large: it is
 * not copied. */
static wn_status encode_stream(struct sampler *s, const int64_t *order)
{
    if (!s->documents->json)
        return encode_bytes(s, s->documents->data, s->documents->size);
    s->text.length = 0;
    for (int64_t i = 0; i < s->documents->count; i++) {
        if (i > 0)
            wn_text_append(&s->text, s->settings->join, strlen(s->settings->join));
        WN_TRY(append_text(s->documents, order ? order[i] : i, s->settings, &s->text));
    }
    return encode(s);
}

/* A start uniform in [0, T - length - 1]: the last possible window is never drawn, as in the published codes. */
static void draw_window(struct sampler *s)
{
    int64_t length = s->settings->length, start = wn_mt_randint(&s->mt, 0, s->ids.count - length - 1);

    wn_sequences_append(s->sequences, s->ids.data + start, length);
}

static wn_status sample_stream(struct sampler *s)
{
    int64_t length = s->settings->length;

    WN_TRY(encode_stream(s, NULL));
    if (s->ids.count <= length)
        return wn_fail(WN_ERR_INPUT, "%s: %lld tokens, but windows of %lld tokens need more", s->documents->path,
                       (long long)s->ids.count, (long long)length);
    for (int64_t i = 0; i < s->settings->samples; i++)
        draw_window(s);
    return WN_OK;
}

/* Draws documents until one is longer than `length`; `is_short` remembers the others, so none is tokenized twice in
 * vain and a file without any long document is found out. */
static wn_status draw_document(struct sampler *s, uint8_t *is_short, int64_t *n_short)
{
    while (*n_short < s->documents->count) {
        int64_t index = wn_mt_randint(&s->mt, 0, s->documents->count - 1);
        if (is_short[index])
            continue;
        WN_TRY(encode_document(s, index));
        if (s->ids.count > s->settings->length)
            return WN_OK;
        is_short[index] = 1;
        ++*n_short;
    }
    return wn_fail(WN_ERR_INPUT,
                   "%s: no document has more than %lld tokens; a smaller \"length\" or the sampling "
                   "\"stream\" is needed",
                   s->documents->path, (long long)s->settings->length);
}

static wn_status sample_documents(struct sampler *s)
{
    uint8_t *is_short = wn_alloc_zero(s->documents->count, 1);
    int64_t n_short = 0;
    wn_status status = WN_OK;

    for (int64_t i = 0; i < s->settings->samples && status == WN_OK; i++) {
        status = draw_document(s, is_short, &n_short);
        if (status == WN_OK)
            draw_window(s);
    }
    wn_free(is_short);
    return status;
}

static int64_t *shuffled_order(struct sampler *s)
{
    int64_t *order = wn_alloc(s->documents->count, sizeof *order);

    for (int64_t i = 0; i < s->documents->count; i++)
        order[i] = i;
    wn_mt_shuffle(&s->mt, order, s->documents->count);
    return order;
}

static wn_status sample_each(struct sampler *s)
{
    WN_TRY(check_enough(s->documents, s->settings));
    int64_t *order = shuffled_order(s);
    wn_status status = WN_OK;

    for (int64_t i = 0; i < s->settings->samples && status == WN_OK; i++) {
        status = encode_document(s, order[i]);
        if (status == WN_OK && s->ids.count == 0)
            status = wn_documents_fail(s->documents, order[i], "the text has no token");
        if (status == WN_OK)
            wn_sequences_append(s->sequences, s->ids.data,
                                s->ids.count < s->settings->length ? s->ids.count : s->settings->length);
    }
    wn_free(order);
    return status;
}

static wn_status sample_packed(struct sampler *s)
{
    int64_t *order = shuffled_order(s), length = s->settings->length;
    wn_status status = encode_stream(s, order);

    wn_free(order);
    if (status != WN_OK)
        return status;
    if (s->ids.count / length < s->settings->samples)
        return wn_fail(WN_ERR_INPUT, "%s: %lld tokens make %lld windows of %lld, but %lld samples are asked for",
                       s->documents->path, (long long)s->ids.count, (long long)(s->ids.count / length),
                       (long long)length, (long long)s->settings->samples);
    for (int64_t i = 0; i < s->settings->samples; i++)
        wn_sequences_append(s->sequences, s->ids.data + i * length, length);
    return WN_OK;
}

static const struct {
    const char *name;
    wn_status (*sample)(struct sampler *s);
} samplings[] = {
    {"stream", sample_stream}, {"documents", sample_documents}, {"each", sample_each}, {"packed", sample_packed}};

static wn_status sample(struct sampler *s)
{
    wn_status status = WN_ERR_INTERNAL;

    wn_mt_seed(&s->mt, (uint64_t)s->settings->seed);
    for (size_t i = 0; i < sizeof samplings / sizeof samplings[0]; i++)
        if (strcmp(samplings[i].name, s->settings->sampling) == 0)
            status = samplings[i].sample(s);
    wn_text_release(&s->text);
    wn_ids_release(&s->ids);
    return status;
}

/* ---- build ---- */

static wn_status settle_length(const char *name, const struct wn_model *model, struct settings *s)
{
    int64_t most = model->config.max_positions;

    if (s->length == 0)
        s->length = most < 2048 ? most : 2048;
    if (s->length > most)
        return wn_fail(WN_ERR_INPUT, "calibration.%s: length: %lld, but the model has only %lld positions", name,
                       (long long)s->length, (long long)most);
    return WN_OK;
}

static wn_status fill(const struct settings *s, const struct wn_documents *documents, const struct wn_model *model,
                      struct wn_calibration *calibration)
{
    struct sampler sampler = {
        .settings = s, .documents = documents, .model = model, .sequences = &calibration->sequences};

    WN_TRY(wn_hash_file(s->path, calibration->file_hash));
    WN_TRY(sample(&sampler));
    wn_sequences_cut(&calibration->sequences);
    wn_sequences_hash(&calibration->sequences, calibration->token_hash);
    calibration->task_specific = s->prompts;
    calibration->samples = s->samples;
    calibration->length = s->length;
    calibration->seed = s->seed;
    calibration->skipped = documents->skipped;
    calibration->keep_ids = s->keep_ids;
    memcpy(calibration->chat_template, s->chat_template, sizeof calibration->chat_template);
    calibration->tokens = wn_sequences_tokens(&calibration->sequences);
    memcpy(calibration->sampling, s->sampling, sizeof calibration->sampling);
    strcpy(calibration->source, s->prompts ? "prompts" : "text");
    calibration->path = wn_strdup(s->path);
    return WN_OK;
}

static wn_status build(const char *name, const struct wn_model *model, struct settings *s,
                       struct wn_calibration *calibration)
{
    struct wn_documents documents;

    WN_TRY(settle_length(name, model, s));
    WN_TRY(open_documents(s, &documents));
    wn_status status = fill(s, &documents, model, calibration);
    wn_documents_close(&documents);
    return status;
}

wn_status wn_calibration_build(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                               struct wn_calibration *calibration)
{
    struct wn_problems problems;
    struct settings s;

    *calibration = (struct wn_calibration){0};
    snprintf(calibration->name, sizeof calibration->name, "%s", name);
    wn_sequences_init(&calibration->sequences);
    wn_problems_init(&problems);
    read_settings(directory, name, json, &s, &problems);
    wn_status status = wn_settings_finish(&problems);
    if (status == WN_OK)
        status = build(name, model, &s, calibration);
    if (status != WN_OK)
        wn_calibration_release(calibration);
    wn_free(s.path);
    return status;
}

void wn_calibration_release(struct wn_calibration *calibration)
{
    wn_sequences_release(&calibration->sequences);
    wn_free(calibration->path);
    calibration->path = NULL;
}

void wn_sequences_hash(const struct wn_sequences *sequences, char hex[WN_HASH_HEX])
{
    const int32_t separator = -1;
    uint8_t digest[32];
    struct wn_hash *hash = wn_hash_create();

    for (int64_t s = 0; s < sequences->n_sequences; s++) {
        int64_t first = sequences->offset[s], count = sequences->offset[s + 1] - first;
        wn_hash_update(hash, sequences->ids + first, (size_t)count * sizeof *sequences->ids);
        wn_hash_update(hash, &separator, sizeof separator);
    }
    wn_hash_finish(hash, digest);
    wn_hash_hex(digest, hex);
}
