/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated text: prompts continued greedily (or drawn with a seed), as lm-evaluation-harness asks for it
 * (generate_until), scored against references, by checks, and against the text of the dense model.
 */
#include "generation.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <string.h>

extern const struct wn_eval wn_eval_generation;

/* ---- keys ---- */

static const struct wn_key filter_rows[] = {
    {.name = "regex", .types = WN_KEY_TEXT, .required = true, .filled = true, .help = "pattern, as in Python's re"},
    {.name = "group",
     .types = WN_KEY_INTEGER,
     .low = 0,
     .high = 99,
     .standard = "0",
     .help = "group that is taken; 0: the whole match, or the first group that is not empty"},
    {.name = "match",
     .types = WN_KEY_TEXT,
     .words = "first|last",
     .standard = "\"first\"",
     .help = "which of several matches"},
};

static const struct wn_key header_rows[] = {
    {.name = "stop",
     .types = WN_KEY_TEXTS,
     .filled = true,
     .help = "strings that end a text, which is cut in front of them; EOS tokens always do"},
    {.name = "max_tokens",
     .types = WN_KEY_INTEGER,
     .low = 1,
     .high = 1e6,
     .standard = "256",
     .help = "tokens generated at most; prompts are cut on the left to leave room for them"},
    {.name = "filter",
     .types = WN_KEY_TEXT | WN_KEY_OBJECT,
     .words = "strip|first_line",
     .within = filter_rows,
     .n_within = sizeof filter_rows / sizeof filter_rows[0],
     .help = "what of a text is the answer; default: all of it"},
    {.name = "normalize",
     .types = WN_KEY_TEXT,
     .words = "none|harness|squad|triviaqa|llm_kick",
     .standard = "\"none\"",
     .help = "of answers and references, for exact_match, f1, em_relaxed and contains"},
    {.name = "ignore_case", .types = WN_KEY_BOOL, .standard = "false", .help = "with normalize \"harness\""},
    {.name = "ignore_punctuation", .types = WN_KEY_BOOL, .standard = "false", .help = "with normalize \"harness\""},
    {.name = "ignore_numbers", .types = WN_KEY_BOOL, .standard = "false", .help = "with normalize \"harness\""},
    {.name = "ignore",
     .types = WN_KEY_TEXTS,
     .filled = true,
     .help = "with normalize \"harness\": patterns whose matches are deleted, in this order"},
    {.name = "stemmer", .types = WN_KEY_BOOL, .standard = "true", .help = "of rouge: words are stemmed"},
    {.name = "bleu_tokenizer",
     .types = WN_KEY_TEXT,
     .words = "13a|zh|char|none",
     .standard = "\"13a\"",
     .help = "of bleu, as sacreBLEU names them"},
    {.name = "temperature",
     .types = WN_KEY_NUMBER,
     .low = 0,
     .high = 1e3,
     .standard = "0",
     .help = "0: greedy; else tokens are drawn"},
    {.name = "seed", .types = WN_KEY_INTEGER, .low = 0, .high = 9e15, .standard = "0", .help = "of what is drawn"},
    {.name = "draws",
     .types = WN_KEY_INTEGER,
     .low = 1,
     .high = 1000,
     .standard = "1",
     .help = "texts per prompt; an item has the mean of their scores"},
    {.name = "dense_perplexity",
     .types = WN_KEY_BOOL,
     .standard = "true",
     .help = "whether the dense model reads the texts of each point once more"},
};

static const struct wn_key item_rows[] = {
    {.name = "prompt", .types = WN_KEY_TEXT, .required = true, .help = "what is continued"},
    {.name = "references", .types = WN_KEY_TEXTS, .help = "right answers; may be empty"},
    {.name = "source", .types = WN_KEY_TEXT, .filled = true, .help = "what a summary is of: coverage and the like"},
    {.name = "stop", .types = WN_KEY_TEXTS, .filled = true, .help = "in place of the header's"},
    {.name = "max_tokens", .types = WN_KEY_INTEGER, .low = 1, .high = 1e6, .help = "in place of the header's"},
    {.name = "checks",
     .types = WN_KEY_OBJECTS,
     .within = generation_check_rows,
     .n_within = GENERATION_CHECK_ROWS,
     .least = 1,
     .help = "constraints that the answer is to keep, for the metrics of checks"},
    {.name = "series",
     .types = WN_KEY_TEXT,
     .filled = true,
     .help = "items of one series, in the order of their lines, ask for ever more: for the metric levels"},
};

static const struct wn_metric metrics[GENERATION_ALL] = {
#define X(NAME, name_, unit_, binary_, reduce_, help_)                                                                 \
    [GENERATION_##NAME] = {.name = name_, .unit = unit_, .help = help_, .binary = binary_, .reduce = reduce_},
    GENERATION_METRICS(X)
#undef X
};

/* ---- patterns and settings of the header ---- */

static wn_status read_filter(const cJSON *header, struct wn_filter *filter)
{
    const cJSON *key = cJSON_GetObjectItemCaseSensitive(header, "filter"), *group;

    *filter = (struct wn_filter){0};
    if (cJSON_IsString(key))
        filter->kind = !strcmp(key->valuestring, "strip") ? WN_FILTER_STRIP : WN_FILTER_FIRST_LINE;
    if (!cJSON_IsObject(key))
        return WN_OK;
    group = cJSON_GetObjectItemCaseSensitive(key, "group");
    return wn_filter_init_regex(filter, "key \"filter\"", wn_settings_text(key, "regex", ""),
                                group ? (int64_t)group->valuedouble : 0,
                                !strcmp(wn_settings_text(key, "match", "first"), "last"));
}

static bool flag(const cJSON *header, const char *key, bool standard)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(header, key);

    return value ? cJSON_IsTrue(value) : standard;
}

/* On failure the normaliser is to be released, too. */
static wn_status read_normalizer(const cJSON *header, struct wn_normalizer *normalizer)
{
    static const char *const of_harness[] = {"ignore_case", "ignore_punctuation", "ignore_numbers", "ignore"};
    enum wn_normalization kind = wn_normalization_find(wn_settings_text(header, "normalize", "none"));
    const cJSON *pattern;

    wn_normalizer_init(normalizer, kind);
    for (size_t i = 0; kind != WN_NORMALIZE_HARNESS && i < sizeof of_harness / sizeof of_harness[0]; i++)
        if (cJSON_HasObjectItem(header, of_harness[i]))
            return wn_fail(WN_ERR_INPUT, "key \"%s\" goes with \"normalize\": \"harness\"", of_harness[i]);
    normalizer->ignore_case = flag(header, "ignore_case", false);
    normalizer->ignore_punctuation = flag(header, "ignore_punctuation", false);
    normalizer->ignore_numbers = flag(header, "ignore_numbers", false);
    cJSON_ArrayForEach (pattern, cJSON_GetObjectItemCaseSensitive(header, "ignore"))
        WN_TRY(wn_normalizer_ignore(normalizer, "key \"ignore\"", pattern->valuestring));
    return WN_OK;
}

static double number(const cJSON *object, const char *key, double standard)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    return value ? value->valuedouble : standard;
}

static wn_status check_header(const cJSON *header)
{
    struct wn_filter filter;
    struct wn_normalizer normalizer;
    wn_status status = read_filter(header, &filter);

    wn_filter_release(&filter);
    if (status == WN_OK) {
        status = read_normalizer(header, &normalizer);
        wn_normalizer_release(&normalizer);
    }
    if (status == WN_OK && number(header, "draws", 1) > 1 && number(header, "temperature", 0) == 0)
        return wn_fail(WN_ERR_INPUT, "key \"draws\": with temperature 0 all texts of a prompt are the same");
    return status;
}

/* ---- items ---- */

static void release_item(struct generation_item *item)
{
    for (int64_t c = 0; c < item->n_checks; c++)
        wn_check_release(&item->checks[c]);
    for (int64_t r = 0; r < item->references.count; r++) {
        if (item->rouge)
            wn_rouge_text_release(&item->rouge[r]);
        if (item->bleu)
            wn_words_release(&item->bleu[r]);
        if (item->chrf)
            wn_chrf_text_release(&item->chrf[r]);
    }
    wn_free(item->checks);
    wn_free(item->rouge);
    wn_free(item->bleu);
    wn_free(item->chrf);
    wn_references_release(&item->references);
    wn_words_release(&item->source);
}

static wn_status check_item(const struct wn_requests *requests, int64_t index, const cJSON *json)
{
    struct generation_item item = {0};

    for (int m = 0; m < GENERATION_CHECKS; m++)
        if (wn_requests_has_metric(requests, m) && !cJSON_HasObjectItem(json, "references"))
            return wn_requests_fail(requests, index,
                                    "key \"references\" is missing: the metric %s needs it (it may be "
                                    "an empty list)",
                                    metrics[m].name);
    wn_status status = generation_read_checks(json, &item);
    release_item(&item);
    return status == WN_OK ? WN_OK : wn_requests_fail(requests, index, "%s", wn_error_message());
}

/* ---- prompts ---- */

/* The list of the item, else that of the header. */
static void read_stops(const struct wn_requests *requests, const cJSON *json, struct wn_prompt *prompt)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "stop"), *stop;

    list = list ? list : cJSON_GetObjectItemCaseSensitive(requests->header, "stop");
    prompt->stops = wn_alloc(cJSON_GetArraySize(list), sizeof *prompt->stops);
    cJSON_ArrayForEach (stop, list)
        prompt->stops[prompt->n_stops++] = wn_strdup(stop->valuestring);
}

static wn_status read_prompt(const struct wn_encoder *e, const cJSON *json, struct wn_prompt *prompt)
{
    const char *text = wn_settings_text(json, "prompt", "");
    int64_t positions = e->model->config.max_positions;
    int32_t prefix = wn_front_id(e->model->tokenizer);
    struct wn_ids ids = {0};

    prompt->most = (int64_t)number(json, "max_tokens", wn_requests_number(e->requests, "max_tokens", 256));
    read_stops(e->requests, json, prompt);
    if (prompt->most >= positions)
        return wn_requests_fail(e->requests, e->index,
                                "max_tokens %lld leaves no room for a prompt: the model has %lld positions",
                                (long long)prompt->most, (long long)positions);
    if (wn_encode_request(e->model, text, (int64_t)strlen(text), &ids) != WN_OK)
        return wn_fail_item(e);
    if (ids.count == 0 && prefix >= 0)
        wn_ids_append(&ids, prefix);
    prompt->ids = ids.data;
    prompt->count = ids.count;
    if (ids.count == 0)
        return wn_requests_fail(e->requests, e->index,
                                "the prompt is empty and the tokenizer has neither a BOS nor an EOS token");
    wn_prompt_truncate(prompt, positions);
    return WN_OK;
}

static wn_status read_references(struct generation_task *state, const cJSON *json, struct generation_item *item)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "references");
    int64_t count = cJSON_GetArraySize(list);
    struct wn_chars *texts = wn_alloc(count, sizeof *texts);
    bool rouge = false;

    for (int64_t r = 0; r < count; r++)
        texts[r] = wn_chars_of(cJSON_GetArrayItem(list, (int)r)->valuestring);
    wn_status status = wn_references_init(&item->references, &state->normalizer, texts, count);
    for (int m = GENERATION_ROUGE1; m <= GENERATION_ROUGELSUM; m++)
        rouge = rouge || wn_task_wants(&state->task, m);
    if (rouge && status == WN_OK) {
        item->rouge = wn_alloc_zero(count, sizeof *item->rouge);
        for (int64_t r = 0; r < count; r++)
            wn_rouge_text_init(&item->rouge[r], texts[r], state->stemmer);
    }
    if (status == WN_OK && wn_task_wants(&state->task, GENERATION_BLEU)) {
        item->bleu = wn_alloc_zero(count, sizeof *item->bleu);
        for (int64_t r = 0; r < count; r++)
            wn_bleu_tokenize(state->bleu_tokenizer, texts[r], &item->bleu[r]);
    }
    if (status == WN_OK && wn_task_wants(&state->task, GENERATION_CHRF)) {
        item->chrf = wn_alloc_zero(count, sizeof *item->chrf);
        for (int64_t r = 0; r < count; r++)
            wn_chrf_text_init(&item->chrf[r], texts[r]);
    }
    wn_free(texts);
    return status;
}

/* ---- prepare ---- */

static wn_status read_header(const struct wn_encoder *e)
{
    struct generation_task *state = e->set->state;
    struct wn_generation *generation = wn_alloc_zero(1, sizeof *generation);
    const cJSON *header = e->requests->header;

    e->set->generation = generation;
    generation->draws = (int64_t)number(header, "draws", 1);
    generation->temperature = number(header, "temperature", 0);
    generation->seed = (uint64_t)number(header, "seed", 0);
    generation->dense_loss = flag(header, "dense_perplexity", true);
    wn_generation_take_eos(generation, e->model);
    state->stemmer = flag(header, "stemmer", true);
    state->bleu_tokenizer = wn_bleu_tokenizer_find(wn_settings_text(header, "bleu_tokenizer", "13a"));
    WN_TRY(read_filter(header, &state->filter));
    return read_normalizer(header, &state->normalizer);
}

/* Series mostly follow each other. */
static int64_t add_series(struct generation_task *state, int64_t index, const char *name)
{
    if (!name)
        return -1;
    for (int64_t k = state->n_series - 1; k >= 0; k--)
        if (!strcmp(state->series[k].name, name))
            return state->series[k].first;
    state->series = wn_grow(state->series, state->n_series, 1, sizeof *state->series);
    state->series[state->n_series++] = (struct generation_series){wn_strdup(name), index};
    return index;
}

static wn_status add_item(struct wn_encoder *e, const cJSON *json)
{
    struct generation_task *state = e->set->state;
    int64_t index = state->task.n_items - 1;

    if (index == 0)
        WN_TRY(read_header(e));
    struct wn_generation *generation = e->set->generation;
    generation->prompts = wn_grow(generation->prompts, index, 1, sizeof *generation->prompts);
    state->items = wn_grow(state->items, index, 1, sizeof *state->items);
    struct wn_prompt *prompt = &generation->prompts[index];
    struct generation_item *item = &state->items[index];
    *prompt = (struct wn_prompt){0};
    *item = (struct generation_item){0};
    generation->n_prompts++;
    WN_TRY(read_prompt(e, json, prompt));
    generation->most = prompt->most > generation->most ? prompt->most : generation->most;
    item->has_source = cJSON_HasObjectItem(json, "source");
    item->series = add_series(state, index, wn_settings_text(json, "series", NULL));
    wn_words_rouge(wn_chars_of(wn_settings_text(json, "source", "")), false, &item->source);
    if (generation_read_checks(json, item) != WN_OK || read_references(state, json, item) != WN_OK)
        return wn_fail_item(e);
    return WN_OK;
}

/* What is always recorded comes behind the metrics that are wanted. */
static void add_statistics(struct wn_eval_set *set)
{
    struct generation_task *state = set->state;
    bool source = false;

    for (int64_t i = 0; i < state->task.n_items; i++)
        source = source || state->items[i].has_source;
    for (int m = GENERATION_ANSWERS; m < GENERATION_ALL; m++) {
        bool known =
            (m != GENERATION_DENSE_PERPLEXITY || set->generation->dense_loss) && (m < GENERATION_COVERAGE || source);
        if (known && !wn_task_wants(&state->task, m))
            state->task.metrics[state->task.n_metrics++] = m;
    }
}

/* The signatures of sacreBLEU 2, whose scores these are. */
static void add_signatures(const struct generation_task *state, struct wn_text *text)
{
    static const char *const tokenizers[] = {
#define X(name, key, help) key,
        WN_BLEU_TOKENIZER_LIST(X)
#undef X
    };
    int64_t least = INT64_MAX, most = 0;

    for (int64_t i = 0; i < state->task.n_items; i++) {
        int64_t count = state->items[i].references.count;
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    char *references = least == most ? wn_format("%lld", (long long)most) : wn_strdup("var");
    if (wn_task_wants(&state->task, GENERATION_BLEU))
        wn_text_printf(text, "; bleu: nrefs:%s|case:mixed|eff:no|tok:%s|smooth:exp (sacreBLEU 2)", references,
                       tokenizers[state->bleu_tokenizer]);
    if (wn_task_wants(&state->task, GENERATION_CHRF))
        wn_text_printf(text, "; chrf: nrefs:%s|case:mixed|eff:yes|nc:6|nw:2|space:no (sacreBLEU 2)", references);
    wn_free(references);
}

static char *protocol_of(const struct wn_eval_set *set)
{
    const struct wn_generation *generation = set->generation;
    int64_t truncated = 0;
    struct wn_text eos = {0}, signatures = {0};

    for (int64_t p = 0; p < generation->n_prompts; p++)
        truncated += generation->prompts[p].truncated;
    for (int64_t i = 0; i < generation->n_eos; i++)
        wn_text_printf(&eos, " %d", (int)generation->eos[i]);
    char *how = generation->temperature > 0
                    ? wn_format("drawn at temperature %.15g with seed %llu, %lld draws", generation->temperature,
                                (unsigned long long)generation->seed, (long long)generation->draws)
                    : wn_strdup("greedy, ties to the lowest id");
    add_signatures(set->state, &signatures);
    char *protocol = wn_format(
        "generation: %s; %lld items, at most %lld tokens; a text ends with an EOS token (%s ) or when its decoded text "
        "has a stop string, and is cut at the first occurrence of each stop string in turn; prompts are cut on the "
        "left to the positions of the model less max_tokens (%lld are); batches of %d in file order%s",
        how, (long long)generation->n_prompts, (long long)generation->most, eos.data ? eos.data : " none",
        (long long)truncated, WN_GENERATE_BATCH, signatures.data ? signatures.data : "");
    wn_text_release(&signatures);
    wn_free(how);
    wn_text_release(&eos);
    return protocol;
}

/* The tokens of a set are those of its prompts. */
static void hash_prompts(struct wn_eval_set *set)
{
    struct wn_sequences prompts;

    wn_sequences_init(&prompts);
    for (int64_t p = 0; p < set->generation->n_prompts; p++)
        wn_sequences_append(&prompts, set->generation->prompts[p].ids, set->generation->prompts[p].count);
    wn_sequences_hash(&prompts, set->token_hash);
    wn_sequences_release(&prompts);
}

static wn_status prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                         struct wn_eval_set *set)
{
    struct generation_task *state = wn_alloc_zero(1, sizeof *state);

    set->kind = &wn_eval_generation;
    set->state = state;
    WN_TRY(wn_prepare_task(directory, name, json, model, set, &state->task, add_item, NULL));
    add_statistics(set);
    set->protocol = protocol_of(set);
    hash_prompts(set);
    return WN_OK;
}

static void release(void *pointer)
{
    struct generation_task *state = pointer;

    for (int64_t i = 0; state->items && i < state->task.n_items; i++)
        release_item(&state->items[i]);
    wn_task_release(&state->task);
    wn_filter_release(&state->filter);
    wn_normalizer_release(&state->normalizer);
    for (int64_t k = 0; k < state->n_series; k++)
        wn_free(state->series[k].name);
    wn_free(state->series);
    wn_free(state->items);
    wn_free(state);
}

/* ---- fields ---- */

static void constants(const struct wn_eval_set *set, struct wn_schema *schema)
{
    const struct generation_task *state = set->state;
    const struct wn_generation *generation = set->generation;
    int64_t n = state->task.n_items;
    int32_t *tokens = wn_alloc(n, sizeof *tokens), *truncated = wn_alloc(n, sizeof *truncated);
    int32_t *references = wn_alloc(n, sizeof *references);

    for (int64_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)generation->prompts[i].count;
        truncated[i] = generation->prompts[i].truncated;
        references[i] = (int32_t)state->items[i].references.count;
    }
    const int *axis = &state->task.item_axis;
    wn_add_constant(schema, set, "tasks", "prompt_tokens", 1, axis, "tokens of the prompt, as it was run", tokens);
    wn_add_constant(schema, set, "tasks", "prompt_truncated", 1, axis, "1 where the prompt was cut on the left, else 0",
                    truncated);
    wn_add_constant(schema, set, "tasks", "references", 1, axis, "number of references of the item", references);
    wn_free(tokens);
    wn_free(truncated);
    wn_free(references);
}

/* Longer texts are cut in the results file; their ids are complete. */
static int64_t text_bytes(const struct wn_generation *generation)
{
    return 32 + 6 * generation->most;
}

/* By item, or by item and draw where there are several. */
static void text_fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct generation_task *state = set->state;
    char *draw = wn_format("draw_%s", set->name), *token = wn_format("generated_%s", set->name);
    char *path = wn_format("/tasks/%s/generated_text", set->name);
    int dims[3] = {state->task.item_axis}, n = 1;

    if (set->generation->draws > 1)
        dims[n++] = wn_schema_dim(schema, draw, set->generation->draws, NULL);
    dims[n] = wn_schema_dim(schema, token, set->generation->most, NULL);
    state->field_id = wn_add_field(schema, set, "tasks", "generated_id", WN_FIELD_I32, n + 1, dims, "1",
                                   "ids of the generated tokens, EOS and stop strings included; -1 behind them");
    state->field_length = wn_add_field(schema, set, "tasks", "generated_tokens", WN_FIELD_I32, n, dims, "token",
                                       "number of generated tokens");
    state->field_end = wn_add_field(schema, set, "tasks", "generated_end", WN_FIELD_I32, n, dims, "1",
                                    "why the text ended: 0 limit of tokens, 1 EOS token, 2 + i stop string i");
    state->field_text =
        wn_schema_texts(schema, path, text_bytes(set->generation), n, dims,
                        "the text, without special tokens, cut at stop strings (and at 32 + 6 max_tokens bytes)", true);
    wn_free(draw);
    wn_free(token);
    wn_free(path);
}

static int add_counts(const struct wn_eval_set *set, struct wn_schema *schema, const struct generation_corpus *corpus)
{
    const struct generation_task *state = set->state;
    const char *metric = metrics[corpus->metric].name;

    if (!wn_task_wants(&state->task, corpus->metric))
        return -1;
    char *axis = wn_format("%s_count", metric), *name = wn_format("%s_counts", metric);
    char *help = wn_format("counts of the item, summed over draws; %s is a function of their sum over items", metric);
    int dims[2] = {state->task.item_axis, wn_schema_dim(schema, axis, corpus->n_counts, corpus->names)};
    int field = wn_add_field(schema, set, "tasks", name, WN_FIELD_I32, 2, dims, "1", help);
    wn_free(help);
    wn_free(name);
    wn_free(axis);
    return field;
}

static void fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct generation_task *state = set->state;

    wn_task_fields(&state->task, set, schema, 0);
    text_fields(set, schema);
    for (int m = 0; m < GENERATION_ALL; m++)
        state->field_item[m] = wn_task_wants(&state->task, m)
                                   ? wn_add_field(schema, set, "tasks", metrics[m].name, WN_FIELD_F64, 1,
                                                  &state->task.item_axis, metrics[m].unit, metrics[m].help)
                                   : -1;
    for (int k = 0; k < GENERATION_CORPUS; k++)
        state->field_counts[k] = add_counts(set, schema, &generation_corpus[k]);
    constants(set, schema);
}

static const struct wn_task_kind task = {
    .header = WN_KEYS(header_rows),
    .item = WN_KEYS(item_rows),
    .metrics = metrics,
    .n_metrics = GENERATION_ALL,
    .n_standard = GENERATION_STANDARD,
    .check_header = check_header,
    .check_item = check_item,
};

const struct wn_eval wn_eval_generation = {
    .name = "generation",
    .help = "prompts that are continued: answers, summaries, instructions; agreement with the dense model's text",
    .section = "tasks",
    .task = &task,
    .compares = true,
    .generates = true,
    .check = wn_requests_check,
    .prepare = prepare,
    .fields = fields,
    .score = generation_score,
    .release = release,
};
