/*
 * Multiple choice as lm-evaluation-harness scores it: the log-likelihood of every
 * choice behind the context; the answer is the choice with the largest one, plain or per character or byte.
 */
#include "protocol.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct wn_parameter parameters[] = {
    {.name = "requests",
     .type = WN_STRING,
     .required = true,
     .help = "JSONL lines {\"id\"?, \"context\", \"choices\": [...], \"gold\": index from 0}"},
    {.name = "name", .type = WN_STRING, .help = "name of the task; default: the file name without its ending"},
    {.name = "delimiter", .type = WN_STRING, .standard = "\" \"", .help = "put between context and choice"},
    {.name = "limit", .type = WN_INTEGER, .low = 1, .high = 1e9, .help = "use only the first this many lines"},
};

enum { N_PARAMETERS = sizeof parameters / sizeof parameters[0] };

struct choice {
    int64_t first_target, n_targets; /* its tokens among the targets of the set */
    int64_t characters, bytes;       /* of the choice without the delimiter */
};

struct item {
    char *id; /* owned */
    int64_t first_choice, n_choices, gold;
};

struct task {
    int64_t n_items, n_choices, most_choices; /* most of one item */
    struct item *items;
    struct choice *choices;
    int field_likelihood, field_prediction, field_correct;
    int field_metrics[6];
};

struct settings {
    char *path; /* owned */
    const char *delimiter;
    int64_t limit; /* 0: not given */
};

extern const struct wn_eval wn_eval_multiple_choice;

static void read_settings(const char *directory, const char *name, const cJSON *json, struct settings *s,
                          struct wn_problems *problems)
{
    struct wn_params params;
    int64_t before = problems->count;

    *s = (struct settings){.delimiter = " "};
    if (cJSON_IsString(json)) {
        s->path = wn_join_path(directory, json->valuestring);
        return;
    }
    char *place = wn_format("evaluate.tasks.%s", name);
    wn_settings_read(place, json, parameters, N_PARAMETERS, &params, problems);
    if (problems->count == before) {
        s->path = wn_join_path(directory, wn_settings_text(json, "requests", ""));
        s->delimiter = wn_settings_text(json, "delimiter", " ");
        s->limit = wn_params_find(&params, "limit")->set ? wn_params_integer(&params, "limit") : 0;
    }
    wn_free(place);
}

/* ---- lines ---- */

/* The fields of a line, borrowed from its object. */
struct line {
    const char *context;
    const cJSON *id, *choices;
    int64_t gold;
};

static wn_status read_choices(const struct wn_documents *documents, int64_t index, const cJSON *choices)
{
    const cJSON *choice;
    int number = 0;

    if (!cJSON_IsArray(choices))
        return wn_documents_fail(
            documents, index, choices ? "\"choices\" must be an array of strings" : "the field \"choices\" is missing");
    if (cJSON_GetArraySize(choices) < 2)
        return wn_documents_fail(documents, index, "\"choices\" must have at least 2 entries, found %d",
                                 cJSON_GetArraySize(choices));
    cJSON_ArrayForEach (choice, choices) {
        if (!cJSON_IsString(choice) || choice->valuestring[0] == '\0')
            return wn_documents_fail(documents, index, "choice %d must be a string that is not empty", number);
        number++;
    }
    return WN_OK;
}

static wn_status read_gold(const struct wn_documents *documents, int64_t index, const cJSON *gold, int64_t n_choices,
                           int64_t *out)
{
    if (!gold)
        return wn_documents_fail(documents, index, "the field \"gold\" is missing");
    if (!cJSON_IsNumber(gold) || gold->valuedouble != floor(gold->valuedouble))
        return wn_documents_fail(documents, index, "\"gold\" must be an integer");
    if (gold->valuedouble < 0 || gold->valuedouble >= (double)n_choices)
        return wn_documents_fail(documents, index, "\"gold\" is %.0f, expected 0 to %lld", gold->valuedouble,
                                 (long long)n_choices - 1);
    *out = (int64_t)gold->valuedouble;
    return WN_OK;
}

static wn_status read_line(const struct wn_documents *documents, int64_t index, const cJSON *object, struct line *line)
{
    const cJSON *context = cJSON_GetObjectItemCaseSensitive(object, "context");

    if (!cJSON_IsString(context))
        return wn_documents_fail(documents, index,
                                 context ? "\"context\" must be a string" : "the field \"context\" is missing");
    line->context = context->valuestring;
    line->id = cJSON_GetObjectItemCaseSensitive(object, "id");
    if (line->id && !cJSON_IsString(line->id) && !cJSON_IsNumber(line->id))
        return wn_documents_fail(documents, index, "\"id\" must be a string or a number");
    line->choices = cJSON_GetObjectItemCaseSensitive(object, "choices");
    WN_TRY(read_choices(documents, index, line->choices));
    return read_gold(documents, index, cJSON_GetObjectItemCaseSensitive(object, "gold"),
                     cJSON_GetArraySize(line->choices), &line->gold);
}

/* The id of a line as text; lines without one are numbered from 0. */
static char *label_of(const struct line *line, int64_t index)
{
    if (!line->id)
        return wn_format("%lld", (long long)index);
    if (cJSON_IsString(line->id))
        return wn_strdup(line->id->valuestring);
    return wn_format("%.17g", line->id->valuedouble);
}

/* ---- check ---- */

struct label {
    char *text; /* owned */
    int64_t index;
};

struct labels {
    struct label *data;
    int64_t count;
};

static wn_status check_line(void *context, const struct wn_documents *documents, int64_t index, const cJSON *object)
{
    struct labels *labels = context;
    struct line line;

    WN_TRY(read_line(documents, index, object, &line));
    labels->data[labels->count++] = (struct label){label_of(&line, index), index};
    return WN_OK;
}

static int compare_labels(const void *a, const void *b)
{
    const struct label *left = a, *right = b;
    int order = strcmp(left->text, right->text);

    return order ? order : (left->index > right->index) - (left->index < right->index);
}

/* Ids label an axis of the results, so they must differ. */
static void check_labels(const struct wn_documents *documents, struct labels *labels, struct wn_problems *problems)
{
    int64_t mistakes = 0;

    qsort(labels->data, (size_t)labels->count, sizeof *labels->data, compare_labels);
    for (int64_t i = 1; i < labels->count; i++)
        if (strcmp(labels->data[i].text, labels->data[i - 1].text) == 0 && mistakes++ < WN_PROBLEMS_PER_FILE)
            wn_problems_add(problems, "%s:%lld: the id \"%s\" was used in line %lld", documents->path,
                            (long long)documents->line[labels->data[i].index], labels->data[i].text,
                            (long long)documents->line[labels->data[i - 1].index]);
    if (mistakes > WN_PROBLEMS_PER_FILE)
        wn_problems_add(problems, "%s: ... and %lld more ids used twice", documents->path,
                        (long long)(mistakes - WN_PROBLEMS_PER_FILE));
    for (int64_t i = 0; i < labels->count; i++)
        wn_free(labels->data[i].text);
    wn_free(labels->data);
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
    if (wn_documents_open(s.path, true, &documents) != WN_OK) {
        wn_problems_add(problems, "%s", wn_error_message());
    } else {
        struct labels labels = {wn_alloc(documents.count, sizeof *labels.data), 0};
        wn_documents_check(&documents, check_line, &labels, problems);
        check_labels(&documents, &labels, problems);
        wn_documents_close(&documents);
    }
    wn_free(s.path);
}

/* ---- requests to sequences ---- */

/* What one item is encoded with. */
struct encoder {
    const struct wn_documents *documents;
    int64_t index; /* of the line, for messages */
    const struct wn_model *model;
    const char *delimiter;
    struct wn_eval_set *set;
    struct wn_ids context;       /* of the item */
    struct wn_ids *continuation; /* [choices of the item] */
};

static wn_status fail_line(const struct encoder *e, const char *text)
{
    char *message = wn_strdup(text);
    wn_status status = wn_documents_fail(e->documents, e->index, "%s", message);

    wn_free(message);
    return status;
}

/* No context: the prefix token stands for it; a continuation that starts with that token gives it away. */
static wn_status encode_alone(struct encoder *e, const struct wn_text *text, struct wn_ids *continuation)
{
    int32_t prefix = wn_prefix_id(e->model->tokenizer);

    WN_TRY(wn_encode_known(e->model, text->data, (int64_t)text->length, false, continuation));
    if (continuation->count > 0 && continuation->data[0] == prefix) {
        continuation->count--;
        memmove(continuation->data, continuation->data + 1, (size_t)continuation->count * sizeof *continuation->data);
    }
    return WN_OK;
}

/* The tokens of context + continuation behind the first as many as the context has on its own. */
static wn_status encode_behind(struct encoder *e, const struct wn_text *whole, struct wn_ids *continuation)
{
    int64_t count = e->context.count;

    WN_TRY(wn_encode_request(e->model, whole->data, (int64_t)whole->length, continuation));
    count = count < continuation->count ? count : continuation->count;
    continuation->count -= count;
    memmove(continuation->data, continuation->data + count, (size_t)continuation->count * sizeof *continuation->data);
    return WN_OK;
}

static wn_status encode_choice(struct encoder *e, const char *context, const char *choice, struct wn_ids *continuation)
{
    struct wn_text whole = {0};
    wn_status status;

    wn_text_printf(&whole, "%s%s%s", context, e->delimiter, choice);
    status = context[0] == '\0' ? encode_alone(e, &whole, continuation) : encode_behind(e, &whole, continuation);
    wn_text_release(&whole);
    if (status != WN_OK)
        return fail_line(e, wn_error_message());
    if (continuation->count == 0)
        return fail_line(e, "a choice adds no token to its context");
    if (continuation->count > e->model->config.max_positions)
        return fail_line(e, "a choice has more tokens than the model has positions");
    return WN_OK;
}

/* White space at the end of the context belongs to the continuation. The tokens of a context of white space alone may
 * be none: then, too, the prefix stands for them. */
static wn_status encode_context(struct encoder *e, const char *context)
{
    int64_t length = wn_trimmed_length(context, (int64_t)strlen(context));

    e->context.count = 0;
    if (context[0] != '\0' && wn_encode_request(e->model, context, length, &e->context) != WN_OK)
        return fail_line(e, wn_error_message());
    return WN_OK;
}

/* Appends a sequence of the context and the continuation without its last token, cut on the left to what the model can
 * see; returns its last packed row. */
static int64_t append_sequence(struct encoder *e, const struct wn_ids *continuation)
{
    int64_t most = e->model->config.max_positions, rest = continuation->count - 1;
    int64_t head = e->context.count + rest > most ? most - rest : e->context.count;
    int32_t *input = wn_alloc(head + rest, sizeof *input);

    memcpy(input, e->context.data + e->context.count - head, (size_t)head * sizeof *input);
    memcpy(input + head, continuation->data, (size_t)rest * sizeof *input);
    wn_sequences_append(&e->set->sequences, input, head + rest);
    wn_free(input);
    return wn_sequences_tokens(&e->set->sequences) - 1;
}

static void add_targets(struct encoder *e, struct choice *choice, const struct wn_ids *continuation, int64_t last_row)
{
    choice->first_target = e->set->n_targets;
    choice->n_targets = continuation->count;
    for (int64_t t = 0; t < continuation->count; t++)
        wn_add_target(e->set, last_row - continuation->count + 1 + t, continuation->data[t]);
}

/* Choices of one token read the same row behind the context: one sequence for all of them, in front of the others. */
static void append_item(struct encoder *e, struct choice *choices, int64_t n)
{
    int64_t shared_row = -1;

    for (int64_t c = 0; c < n; c++)
        if (e->continuation[c].count == 1) {
            if (shared_row < 0)
                shared_row = append_sequence(e, &e->continuation[c]);
            add_targets(e, &choices[c], &e->continuation[c], shared_row);
        }
    for (int64_t c = 0; c < n; c++)
        if (e->continuation[c].count > 1)
            add_targets(e, &choices[c], &e->continuation[c], append_sequence(e, &e->continuation[c]));
}

static wn_status encode_item(struct encoder *e, const struct line *line, struct choice *choices, int64_t n)
{
    int32_t prefix = wn_prefix_id(e->model->tokenizer);
    int64_t c = 0;
    const cJSON *choice;

    WN_TRY(encode_context(e, line->context));
    cJSON_ArrayForEach (choice, line->choices) {
        WN_TRY(encode_choice(e, line->context, choice->valuestring, &e->continuation[c]));
        choices[c].bytes = (int64_t)strlen(choice->valuestring);
        choices[c].characters = wn_utf8_length(choice->valuestring, choices[c].bytes);
        c++;
    }
    if (e->context.count == 0 && prefix < 0)
        return fail_line(e, "the context is empty and the tokenizer has neither a BOS nor an EOS token");
    if (e->context.count == 0)
        wn_ids_append(&e->context, prefix);
    append_item(e, choices, n);
    return WN_OK;
}

static wn_status add_item(struct encoder *e, const struct line *line)
{
    struct task *task = e->set->state;
    int64_t n = cJSON_GetArraySize(line->choices);

    task->choices = wn_resize(task->choices, task->n_choices + n, sizeof *task->choices);
    task->items[task->n_items++] = (struct item){label_of(line, e->index), task->n_choices, n, line->gold};
    e->continuation = wn_alloc_zero(n, sizeof *e->continuation);
    wn_status status = encode_item(e, line, task->choices + task->n_choices, n);
    for (int64_t c = 0; c < n; c++)
        wn_ids_release(&e->continuation[c]);
    wn_free(e->continuation);
    task->n_choices += n;
    task->most_choices = n > task->most_choices ? n : task->most_choices;
    return status;
}

static wn_status add_items(struct encoder *e, int64_t count)
{
    wn_status status = WN_OK;

    for (e->index = 0; e->index < count && status == WN_OK; e->index++) {
        struct line line = {0};
        cJSON *object = NULL;
        status = wn_documents_parse(e->documents, e->index, &object);
        if (status == WN_OK)
            status = read_line(e->documents, e->index, object, &line);
        if (status == WN_OK)
            status = add_item(e, &line);
        cJSON_Delete(object);
    }
    wn_ids_release(&e->context);
    return status;
}

static wn_status fill(const struct settings *s, const struct wn_model *model, struct wn_eval_set *set)
{
    struct wn_documents documents;
    struct task *task = set->state;

    WN_TRY(wn_hash_file(s->path, set->file_hash));
    WN_TRY(wn_documents_open(s->path, true, &documents));
    int64_t count = s->limit > 0 && s->limit < documents.count ? s->limit : documents.count;
    struct encoder encoder = {.documents = &documents, .model = model, .delimiter = s->delimiter, .set = set};
    task->items = wn_alloc_zero(count, sizeof *task->items);
    wn_status status = add_items(&encoder, count);
    wn_documents_close(&documents);
    if (status != WN_OK)
        return status;
    wn_sequences_cut(&set->sequences);
    wn_sequences_hash(&set->sequences, set->token_hash);
    set->path = wn_strdup(s->path);
    set->protocol = wn_format("multiple_choice: log-likelihood of delimiter + choice behind the context as in "
                              "lm-evaluation-harness; %lld items, delimiter \"%s\"; acc_norm per character, acc_bytes "
                              "per UTF-8 byte of the choice; ties to the lowest index",
                              (long long)count, s->delimiter);
    return WN_OK;
}

static wn_status prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                         struct wn_eval_set *set)
{
    struct wn_problems problems;
    struct settings s;

    wn_problems_init(&problems);
    read_settings(directory, name, json, &s, &problems);
    snprintf(set->name, sizeof set->name, "%s", name);
    set->kind = &wn_eval_multiple_choice;
    set->state = wn_alloc_zero(1, sizeof(struct task));
    wn_status status = wn_settings_finish(&problems);
    if (status == WN_OK)
        status = fill(&s, model, set);
    wn_free(s.path);
    return status;
}

static void release(void *state)
{
    struct task *task = state;

    for (int64_t i = 0; i < task->n_items; i++)
        wn_free(task->items[i].id);
    wn_free(task->items);
    wn_free(task->choices);
    wn_free(task);
}

/* ---- fields and scores ---- */

static void item_fields(struct wn_eval_set *set, struct wn_schema *schema, const int dims[2])
{
    struct task *task = set->state;

    task->field_likelihood = wn_add_field(schema, set, "tasks", "choice_log_likelihood", WN_FIELD_F64, 2, dims, "nat",
                                          "ln p(delimiter + choice | context); NaN beyond the choices of an item");
    task->field_prediction =
        wn_add_field(schema, set, "tasks", "prediction", WN_FIELD_I32, 1, dims, "1",
                     "choice with the largest log-likelihood, the lowest of equals; -1: not finite");
    task->field_correct = wn_add_field(schema, set, "tasks", "correct", WN_FIELD_U8, 1, dims, "1",
                                       "1 where the prediction is the right choice");
}

static void item_constants(const struct wn_eval_set *set, struct wn_schema *schema, const int dims[2])
{
    const struct task *task = set->state;
    int64_t most = task->most_choices;
    int32_t *gold = wn_alloc(task->n_items, sizeof *gold), *choices = wn_alloc(task->n_items, sizeof *choices);
    int32_t *tokens = wn_alloc(task->n_items * most, sizeof *tokens);

    for (int64_t i = 0; i < task->n_items; i++) {
        const struct item *item = &task->items[i];
        gold[i] = (int32_t)item->gold;
        choices[i] = (int32_t)item->n_choices;
        for (int64_t c = 0; c < most; c++)
            tokens[i * most + c] = c < item->n_choices ? (int32_t)task->choices[item->first_choice + c].n_targets : -1;
    }
    wn_add_constant(schema, set, "tasks", "gold", 1, dims, "index of the right choice", gold);
    wn_add_constant(schema, set, "tasks", "choices", 1, dims, "number of choices of the item", choices);
    wn_add_constant(schema, set, "tasks", "choice_tokens", 2, dims,
                    "scored tokens of a choice; -1 beyond the choices of an item", tokens);
    wn_free(gold);
    wn_free(choices);
    wn_free(tokens);
}

static void metric_fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    static const char *const metrics[][2] = {
        {"acc", "share of items whose gold choice has the largest log-likelihood"},
        {"acc_stderr", "standard error of acc: s/sqrt(n), s the sample standard deviation"},
        {"acc_norm", "acc by log-likelihood per character (code point) of the choice"},
        {"acc_norm_stderr", "standard error of acc_norm: s/sqrt(n)"},
        {"acc_bytes", "acc by log-likelihood per UTF-8 byte of the choice"},
        {"acc_bytes_stderr", "standard error of acc_bytes: s/sqrt(n)"},
    };
    struct task *task = set->state;

    for (int m = 0; m < 6; m++)
        task->field_metrics[m] =
            wn_add_field(schema, set, "scores", metrics[m][0], WN_FIELD_F64, 0, NULL, "1", metrics[m][1]);
}

static void fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct task *task = set->state;
    const char **labels = wn_alloc(task->n_items, sizeof *labels);
    char *item = wn_format("item_%s", set->name), *choice = wn_format("choice_%s", set->name);

    for (int64_t i = 0; i < task->n_items; i++)
        labels[i] = task->items[i].id;
    int dims[2] = {wn_schema_dim(schema, item, task->n_items, labels),
                   wn_schema_dim(schema, choice, task->most_choices, NULL)};
    item_fields(set, schema, dims);
    item_constants(set, schema, dims);
    metric_fields(set, schema);
    wn_free(labels);
    wn_free(item);
    wn_free(choice);
}

/* Index of the largest log-likelihood over `lengths` (NULL: 1 each); the lowest of equals; -1 when one is no number. */
static int64_t best_choice(const double *likelihood, const double *lengths, int64_t n)
{
    int64_t best = 0;

    for (int64_t c = 0; c < n; c++) {
        if (isnan(likelihood[c]))
            return -1;
        if (likelihood[c] / (lengths ? lengths[c] : 1) > likelihood[best] / (lengths ? lengths[best] : 1))
            best = c;
    }
    return best;
}

/* Adds up the losses of each choice; returns which metric (plain, per character, per byte) is right about the item. */
static int64_t score_item(const struct task *task, const struct item *item, const double *loss, double *likelihood,
                          double right[3])
{
    double *lengths = wn_alloc(2 * item->n_choices, sizeof *lengths), *bytes = lengths + item->n_choices;
    int64_t best[3];

    for (int64_t c = 0; c < item->n_choices; c++) {
        const struct choice *choice = &task->choices[item->first_choice + c];
        double sum = 0;
        for (int64_t t = 0; t < choice->n_targets; t++)
            sum -= loss[choice->first_target + t];
        likelihood[c] = sum;
        lengths[c] = (double)choice->characters;
        bytes[c] = (double)choice->bytes;
    }
    best[0] = best_choice(likelihood, NULL, item->n_choices);
    best[1] = best_choice(likelihood, lengths, item->n_choices);
    best[2] = best_choice(likelihood, bytes, item->n_choices);
    for (int m = 0; m < 3; m++)
        right[m] = best[m] < 0 ? (double)NAN : best[m] == item->gold;
    wn_free(lengths);
    return best[0];
}

static void set_metric(const struct task *task, int metric, const double *right, struct wn_record *record)
{
    int64_t n = task->n_items, *each = wn_alloc(n, sizeof *each);
    double mean, standard_error;

    for (int64_t i = 0; i < n; i++)
        each[i] = i; /* every item is a cluster: s/sqrt(n) */
    wn_clustered_mean(right, each, n, &mean, &standard_error);
    *wn_record_f64(record, task->field_metrics[2 * metric]) = mean;
    *wn_record_f64(record, task->field_metrics[2 * metric + 1]) = standard_error;
    wn_free(each);
}

static void score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record)
{
    const struct wn_target_scores *scores = point->scores;
    const struct task *task = set->state;
    int64_t n = task->n_items;
    (void)dense;
    double *right = wn_alloc(3 * n, sizeof *right);

    for (int64_t i = 0; i < n; i++) {
        const struct item *item = &task->items[i];
        double metrics[3];
        int64_t best = score_item(task, item, scores->loss,
                                  wn_record_f64(record, task->field_likelihood) + i * task->most_choices, metrics);
        for (int m = 0; m < 3; m++)
            right[m * n + i] = metrics[m];
        wn_record_i32(record, task->field_prediction)[i] = (int32_t)best;
        wn_record_u8(record, task->field_correct)[i] = best == item->gold;
    }
    for (int m = 0; m < 3; m++)
        set_metric(task, m, right + m * n, record);
    wn_free(right);
}

const struct wn_eval wn_eval_multiple_choice = {
    .name = "multiple_choice",
    .help = "questions with choices: accuracy by log-likelihood, as lm-evaluation-harness",
    .section = "tasks",
    .parameters = parameters,
    .n_parameters = N_PARAMETERS,
    .check = check,
    .prepare = prepare,
    .fields = fields,
    .score = score,
    .release = release,
};
