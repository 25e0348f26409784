/* SPDX-License-Identifier: Apache-2.0 */
/* Request files: entry of the sweep, header and items, read and checked once for all kinds of task. */
#include <winnow/eval.h>
#include <winnow/requests.h>

#include <cjson/cJSON.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIMENSIONS "knowledge|reasoning|retrieval|summarising|instruction|alignment|language|arithmetic"

static const struct wn_key entry_rows[] = {
    {.name = "requests",
     .types = WN_KEY_TEXT,
     .required = true,
     .filled = true,
     .help = "path of a request file (winnow help tasks)"},
    {.name = "name",
     .types = WN_KEY_TEXT,
     .filled = true,
     .help = "name of the task; default: \"task\" of the header, else the file name without its ending"},
    {.name = "delimiter",
     .types = WN_KEY_TEXT,
     .help = "in place of the header's; multiple_choice and continuation only know it with \" \", pairs with \"\""},
    {.name = "limit", .types = WN_KEY_INTEGER, .low = 1, .high = 1e9, .help = "use only the first this many items"},
    {.name = "on_error",
     .types = WN_KEY_TEXT,
     .words = "fail|skip",
     .standard = "\"fail\"",
     .help = "what an item does that cannot be used: end the run, or be left out and counted"},
    {.name = "metrics",
     .types = WN_KEY_TEXTS,
     .least = 1,
     .filled = true,
     .help = "in place of the header's; the first is the main one"},
    {.name = "dimension", .types = WN_KEY_TEXT, .words = DIMENSIONS, .help = "in place of the header's; recorded"},
    {.name = "mode", .types = WN_KEY_TEXT, .filled = true, .help = "in place of the header's; recorded"},
    {.name = "chance",
     .types = WN_KEY_NUMBER,
     .low = 0,
     .high = 1,
     .help = "in place of the header's, which does not count when the main metric is another one; recorded"},
};

static const struct wn_key header_rows[] = {
    {.name = "task",
     .types = WN_KEY_TEXT,
     .required = true,
     .filled = true,
     .help = "name: 1 to 48 letters, digits, '_', '-' or '.'"},
    {.name = "kind",
     .types = WN_KEY_TEXT,
     .filled = true,
     .standard = "\"multiple_choice\"",
     .help = "what items are and how they are scored"},
    {.name = "version", .types = WN_KEY_TEXT | WN_KEY_NUMBER, .help = "of the task; recorded"},
    {.name = "source", .types = WN_KEY_TEXT, .help = "where the items come from, licence; recorded"},
    {.name = "dimension", .types = WN_KEY_TEXT, .words = DIMENSIONS, .help = "what the task measures; recorded"},
    {.name = "chat_template",
     .types = WN_KEY_TEXT,
     .filled = true,
     .help = "the template its prompts are in (winnow-tasks chat); recorded"},
    {.name = "mode",
     .types = WN_KEY_TEXT,
     .filled = true,
     .help = "variant of a task whose items have the same ids: closed_book, open_book, distractor ...; recorded"},
    {.name = "metrics",
     .types = WN_KEY_TEXTS,
     .least = 1,
     .filled = true,
     .help = "names of metrics, the first is the main one; default by kind"},
    {.name = "chance",
     .types = WN_KEY_NUMBER,
     .low = 0,
     .high = 1,
     .help = "chance level of the main metric; recorded"},
};

static const struct wn_key delimiter_rows[] = {
    {.name = "delimiter", .types = WN_KEY_TEXT, .help = "text in front of what is scored; default by kind"},
};

static const struct wn_key item_rows[] = {
    {.name = "id",
     .types = WN_KEY_TEXT | WN_KEY_NUMBER,
     .filled = true,
     .help = "unique in the file; default: the number of the item, from 0"},
    {.name = "group",
     .types = WN_KEY_TEXT,
     .filled = true,
     .help = "subject or category: scores per group are recorded"},
};

static const struct wn_keys entry_keys = WN_KEYS(entry_rows), header_keys = WN_KEYS(header_rows),
                            delimiter_keys = WN_KEYS(delimiter_rows), item_keys = WN_KEYS(item_rows);

struct wn_keys wn_requests_entry_keys(void)
{
    return entry_keys;
}

struct wn_keys wn_requests_header_keys_common(void)
{
    return header_keys;
}

int wn_requests_header_keys(const struct wn_task_kind *task, struct wn_keys tables[3])
{
    tables[0] = header_keys;
    tables[1] = task->header;
    tables[2] = delimiter_keys;
    return task->delimiter ? 3 : 2;
}

int wn_requests_item_keys(const struct wn_task_kind *task, struct wn_keys tables[2])
{
    tables[0] = item_keys;
    tables[1] = task->item;
    return 2;
}

/* ---- messages ---- */

/* The last message again, with "path:line: " in front. */
static wn_status fail_at(const struct wn_documents *documents, int64_t document)
{
    char *message = wn_strdup(wn_error_message());
    wn_status status = wn_documents_fail(documents, document, "%s", message);

    wn_free(message);
    return status;
}

wn_status wn_requests_fail(const struct wn_requests *requests, int64_t index, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return wn_documents_fail(&requests->documents, requests->first + index, "%s", text);
}

/* ---- entry ---- */

/* What a sweep says of a task: a path, or an object. */
struct entry {
    char *path;        /* owned */
    const cJSON *json; /* a path, or an object */
    int64_t limit;     /* 0: none */
    bool skip;         /* leave out what cannot be used */
};

static bool read_entry(const char *directory, const char *name, const cJSON *json, struct entry *entry,
                       struct wn_problems *problems)
{
    *entry = (struct entry){.json = json};
    if (cJSON_IsString(json)) {
        entry->path = wn_join_path(directory, json->valuestring);
        return true;
    }
    if (!cJSON_IsObject(json)) {
        wn_problems_add(problems, "evaluate.tasks.%s: expected a path or a JSON object", name);
        return false;
    }
    if (wn_keys_check(json, &entry_keys, 1) != WN_OK) {
        wn_problems_add(problems, "evaluate.tasks.%s: %s", name, wn_error_message());
        return false;
    }
    const cJSON *limit = cJSON_GetObjectItemCaseSensitive(json, "limit");
    entry->path = wn_join_path(directory, wn_settings_text(json, "requests", ""));
    entry->limit = limit ? (int64_t)limit->valuedouble : 0;
    entry->skip = strcmp(wn_settings_text(json, "on_error", "fail"), "skip") == 0;
    return true;
}

/* ---- header ---- */

static const struct wn_eval *find_task_kind(const char *name)
{
    const struct wn_eval *kind = wn_eval_find(name);

    return kind && kind->task ? kind : NULL;
}

static wn_status fail_kind(const char *name)
{
    const char *names[64];
    struct wn_text known = {0};
    int64_t count, n = 0;
    const struct wn_eval *const *table = wn_eval_table(&count);

    for (int64_t k = 0; k < count && n < 64; k++)
        if (table[k]->task) {
            wn_text_printf(&known, "%s\"%s\"", n ? ", " : "", table[k]->name);
            names[n++] = table[k]->name;
        }
    const char *near = wn_suggest(name, names, n);
    wn_fail(WN_ERR_INPUT, "key \"kind\": expected one of %s, got \"%s\"%s%s%s", known.data ? known.data : "none", name,
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    wn_text_release(&known);
    return WN_ERR_INPUT;
}

/* Parses the first line; *header stays NULL when it is an item. */
static wn_status read_header(const struct wn_documents *documents, cJSON **header)
{
    cJSON *object = NULL;

    *header = NULL;
    WN_TRY(wn_documents_parse(documents, 0, &object));
    if (cJSON_GetObjectItemCaseSensitive(object, "task")) {
        *header = object;
        return WN_OK;
    }
    bool looks_like_one = cJSON_GetObjectItemCaseSensitive(object, "kind") != NULL;
    cJSON_Delete(object);
    return looks_like_one ? wn_documents_fail(documents, 0, "a header needs the key \"task\": the name") : WN_OK;
}

/* The kind that a header names, and the check of its keys. */
static wn_status check_header(const cJSON *header, const struct wn_eval **kind)
{
    const char *name = wn_settings_text(header, "kind", "multiple_choice");
    struct wn_keys tables[3];

    *kind = find_task_kind(name);
    if (!*kind)
        return fail_kind(name);
    if (header)
        WN_TRY(wn_keys_check(header, tables, wn_requests_header_keys((*kind)->task, tables)));
    if (header && !wn_name_fits(wn_settings_text(header, "task", "")))
        return wn_fail(WN_ERR_INPUT, "key \"task\": a name has 1 to 48 letters, digits, '_', '-' or '.', got \"%s\"",
                       wn_settings_text(header, "task", ""));
    return (*kind)->task->check_header ? (*kind)->task->check_header(header) : WN_OK;
}

static wn_status fail_metric(const struct wn_eval *kind, const char *name)
{
    const char *names[WN_MAX_METRICS];
    struct wn_text known = {0};

    for (int m = 0; m < kind->task->n_metrics; m++) {
        names[m] = kind->task->metrics[m].name;
        wn_text_printf(&known, "%s\"%s\"", m ? ", " : "", names[m]);
    }
    const char *near = wn_suggest(name, names, kind->task->n_metrics);
    wn_fail(WN_ERR_INPUT, "key \"metrics\": \"%s\" is none of the kind %s%s%s%s; there are %s", name, kind->name,
            near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "", known.data ? known.data : "none");
    wn_text_release(&known);
    return WN_ERR_INPUT;
}

static int find_metric(const struct wn_task_kind *task, const char *name)
{
    for (int m = 0; m < task->n_metrics; m++)
        if (!strcmp(task->metrics[m].name, name))
            return m;
    return -1;
}

static bool add_metric(struct wn_requests *requests, int metric)
{
    for (int m = 0; m < requests->n_metrics; m++)
        if (requests->metrics[m] == metric)
            return false;
    requests->metrics[requests->n_metrics++] = metric;
    return true;
}

bool wn_requests_has_metric(const struct wn_requests *requests, int metric)
{
    for (int m = 0; m < requests->n_metrics; m++)
        if (requests->metrics[m] == metric)
            return true;
    return false;
}

static wn_status read_metrics(const struct wn_eval *kind, const cJSON *list, struct wn_requests *requests)
{
    const cJSON *name;

    requests->n_metrics = 0;
    cJSON_ArrayForEach (name, list) {
        int metric = find_metric(kind->task, name->valuestring);
        if (metric < 0)
            return fail_metric(kind, name->valuestring);
        int parts = kind->task->metrics[metric].parts; /* rows behind, in its place */
        for (int m = parts ? metric + 1 : metric; m <= metric + parts; m++)
            if (!add_metric(requests, m))
                return wn_fail(WN_ERR_INPUT, "key \"metrics\": \"%s\" is listed twice", kind->task->metrics[m].name);
    }
    for (int m = 0; !list && m < kind->task->n_standard; m++)
        add_metric(requests, m);
    return WN_OK;
}

const struct wn_eval *wn_requests_kind(const char *directory, const cJSON *json, char name[64])
{
    const char *given = cJSON_IsString(json) ? json->valuestring : wn_settings_text(json, "requests", NULL);
    const char *file = given && strrchr(given, '/') ? strrchr(given, '/') + 1 : given, *dot;
    const struct wn_eval *kind = NULL;
    struct wn_documents documents;
    cJSON *header = NULL;

    name[0] = '\0';
    if (!given)
        return find_task_kind("multiple_choice");
    dot = strrchr(file, '.');
    snprintf(name, 64, "%.*s", dot && dot > file ? (int)(dot - file) : (int)strlen(file), file);
    char *path = wn_join_path(directory, given);
    if (wn_documents_open(path, true, &documents) == WN_OK) {
        if (read_header(&documents, &header) == WN_OK && check_header(header, &kind) == WN_OK && header)
            snprintf(name, 64, "%s", wn_settings_text(header, "task", ""));
        wn_documents_close(&documents);
    }
    if (cJSON_IsObject(json) && wn_settings_text(json, "name", NULL))
        snprintf(name, 64, "%s", wn_settings_text(json, "name", ""));
    cJSON_Delete(header);
    wn_free(path);
    return kind ? kind : find_task_kind("multiple_choice");
}

/* ---- file ---- */

/* What is only recorded: of the sweep, else of the header. The chance level is that of the main metric. */
static void take_facts(const struct entry *entry, bool other_main, struct wn_requests *requests)
{
    static const char *const keys[] = {"dimension", "mode", "chance"};

    if (other_main)
        cJSON_DeleteItemFromObjectCaseSensitive(requests->header, "chance");
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const cJSON *given = cJSON_GetObjectItemCaseSensitive(entry->json, keys[k]);
        if (!given)
            continue;
        if (!requests->header)
            requests->header = cJSON_CreateObject();
        cJSON_DeleteItemFromObjectCaseSensitive(requests->header, keys[k]);
        cJSON_AddItemToObject(requests->header, keys[k], cJSON_Duplicate(given, true));
    }
}

/* The delimiter and the metrics: of the sweep, else of the header, else of the kind. */
static wn_status settle(const struct entry *entry, const char *name, struct wn_requests *requests)
{
    const struct wn_task_kind *task = requests->kind->task;
    const cJSON *header = requests->header, *listed = cJSON_GetObjectItemCaseSensitive(header, "metrics");
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(entry->json, "metrics");
    const char *delimiter = wn_settings_text(entry->json, "delimiter", NULL);

    if (read_metrics(requests->kind, listed, requests) != WN_OK)
        return fail_at(&requests->documents, 0);
    const int main = requests->metrics[0];
    if (given && read_metrics(requests->kind, given, requests) != WN_OK) {
        char *message = wn_strdup(wn_error_message());
        wn_fail(WN_ERR_INPUT, "evaluate.tasks.%s: %s", name, message);
        wn_free(message);
        return WN_ERR_INPUT;
    }
    if (delimiter && !task->delimiter)
        return wn_fail(WN_ERR_INPUT, "evaluate.tasks.%s: key \"delimiter\": the kind %s has none", name,
                       requests->kind->name);
    delimiter = delimiter ? delimiter : wn_settings_text(header, "delimiter", task->delimiter);
    requests->delimiter = wn_strdup(delimiter ? delimiter : "");
    take_facts(entry, requests->metrics[0] != main, requests);
    return WN_OK;
}

static wn_status check_item(const struct wn_requests *requests, int64_t index, const cJSON *item)
{
    const struct wn_task_kind *task = requests->kind->task;
    struct wn_keys tables[2];

    if (cJSON_GetObjectItemCaseSensitive(item, "task"))
        return wn_requests_fail(requests, index, "a header must be the first line");
    if (wn_keys_check(item, tables, wn_requests_item_keys(task, tables)) != WN_OK)
        return fail_at(&requests->documents, requests->first + index);
    return task->check_item ? task->check_item(requests, index, item) : WN_OK;
}

/* A record that is no header must be a good item. */
static wn_status check_record(void *context, const struct wn_documents *documents, int64_t document,
                              const cJSON *object)
{
    const struct wn_requests *requests = context;

    (void)documents;
    return document < requests->first ? WN_OK : check_item(requests, document - requests->first, object);
}

static wn_status skip_items(struct wn_requests *requests)
{
    int64_t all = requests->count;

    WN_TRY(wn_documents_skip(&requests->documents, check_record, requests));
    requests->count = requests->documents.count - requests->first;
    if (requests->count == 0)
        return wn_fail(WN_ERR_INPUT, "%s: none of its %lld items can be used", requests->documents.path,
                       (long long)all);
    return WN_OK;
}

static wn_status open_header(const struct entry *entry, const char *name, struct wn_requests *requests)
{
    WN_TRY(read_header(&requests->documents, &requests->header));
    requests->first = requests->header != NULL;
    requests->count = requests->documents.count - requests->first;
    if (check_header(requests->header, &requests->kind) != WN_OK)
        return fail_at(&requests->documents, 0);
    if (requests->count == 0)
        return wn_fail(WN_ERR_INPUT, "%s: has a header but no items", requests->documents.path);
    WN_TRY(settle(entry, name, requests));
    if (entry->skip)
        WN_TRY(skip_items(requests));
    if (entry->limit > 0 && entry->limit < requests->count)
        requests->count = entry->limit;
    return WN_OK;
}

static wn_status open_entry(const struct entry *entry, const char *name, struct wn_requests *requests)
{
    *requests = (struct wn_requests){0};
    WN_TRY(wn_documents_open(entry->path, true, &requests->documents));
    wn_status status = open_header(entry, name, requests);
    if (status != WN_OK)
        wn_requests_close(requests);
    return status;
}

wn_status wn_requests_open(const char *directory, const char *name, const cJSON *json, struct wn_requests *requests)
{
    struct wn_problems problems;
    struct entry entry;

    wn_problems_init(&problems);
    read_entry(directory, name, json, &entry, &problems);
    wn_status status = wn_settings_finish(&problems);
    if (status == WN_OK)
        status = open_entry(&entry, name, requests);
    wn_free(entry.path);
    return status;
}

void wn_requests_close(struct wn_requests *requests)
{
    wn_documents_close(&requests->documents);
    cJSON_Delete(requests->header);
    wn_free(requests->delimiter);
    *requests = (struct wn_requests){0};
}

const char *wn_requests_text(const struct wn_requests *requests, const char *key, const char *standard)
{
    return wn_settings_text(requests->header, key, standard);
}

double wn_requests_number(const struct wn_requests *requests, const char *key, double standard)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(requests->header, key);

    return cJSON_IsNumber(value) ? value->valuedouble : standard;
}

/* ---- items ---- */

wn_status wn_requests_item(const struct wn_requests *requests, int64_t index, cJSON **item)
{
    WN_TRY(wn_documents_parse(&requests->documents, requests->first + index, item));
    wn_status status = check_item(requests, index, *item);
    if (status != WN_OK) {
        cJSON_Delete(*item);
        *item = NULL;
    }
    return status;
}

char *wn_requests_id(const cJSON *item, int64_t index)
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");

    if (cJSON_IsString(id))
        return wn_strdup(id->valuestring);
    return cJSON_IsNumber(id) ? wn_format("%.17g", id->valuedouble) : wn_format("%lld", (long long)index);
}

/* ---- check ---- */

struct label {
    char *text; /* owned */
    int64_t document;
};

struct labels {
    const struct wn_requests *requests;
    struct label *data;
    int64_t count;
};

static wn_status check_line(void *context, const struct wn_documents *documents, int64_t document, const cJSON *object)
{
    struct labels *labels = context;
    int64_t index = document - labels->requests->first;

    (void)documents;
    if (index < 0) /* the header */
        return WN_OK;
    WN_TRY(check_item(labels->requests, index, object));
    labels->data[labels->count++] = (struct label){wn_requests_id(object, index), document};
    return WN_OK;
}

static int compare_labels(const void *a, const void *b)
{
    const struct label *left = a, *right = b;
    int order = strcmp(left->text, right->text);

    return order ? order : (left->document > right->document) - (left->document < right->document);
}

/* Ids label an axis of the results, so they must differ. */
static void check_labels(const struct wn_documents *documents, struct labels *labels, struct wn_problems *problems)
{
    int64_t mistakes = 0;

    qsort(labels->data, (size_t)labels->count, sizeof *labels->data, compare_labels);
    for (int64_t i = 1; i < labels->count; i++)
        if (strcmp(labels->data[i].text, labels->data[i - 1].text) == 0 && mistakes++ < WN_PROBLEMS_PER_FILE)
            wn_problems_add(problems, "%s:%lld: the id \"%s\" was used in line %lld", documents->path,
                            (long long)documents->line[labels->data[i].document], labels->data[i].text,
                            (long long)documents->line[labels->data[i - 1].document]);
    if (mistakes > WN_PROBLEMS_PER_FILE)
        wn_problems_add(problems, "%s: ... and %lld more ids used twice", documents->path,
                        (long long)(mistakes - WN_PROBLEMS_PER_FILE));
    for (int64_t i = 0; i < labels->count; i++)
        wn_free(labels->data[i].text);
    wn_free(labels->data);
}

void wn_requests_check(const char *directory, const char *name, const cJSON *json, struct wn_problems *problems)
{
    struct wn_requests requests;
    struct entry entry;

    if (!read_entry(directory, name, json, &entry, problems))
        return;
    if (open_entry(&entry, name, &requests) != WN_OK) {
        wn_problems_add(problems, "%s", wn_error_message());
    } else {
        wn_documents_tell(&requests.documents);
        struct labels labels = {&requests, wn_alloc(requests.documents.count, sizeof *labels.data), 0};
        wn_documents_check(&requests.documents, check_line, &labels, problems);
        check_labels(&requests.documents, &labels, problems);
        wn_requests_close(&requests);
    }
    wn_free(entry.path);
}
