/* Documents of a file: where its lines are, their parsing, and the check of all of them. */
#include <winnow/data.h>

#include <cjson/cJSON.h>

#include <stdio.h>
#include <string.h>

bool wn_is_jsonl(const char *path)
{
    size_t length = strlen(path);

    return length >= 6 && strcmp(path + length - 6, ".jsonl") == 0;
}

static bool is_blank(const char *text, int64_t length)
{
    for (int64_t i = 0; i < length; i++)
        if (!strchr(" \t\r", text[i]) || text[i] == '\0')
            return false;
    return true;
}

static void add_document(struct wn_documents *d, int64_t *capacity, int64_t start, int64_t end, int64_t line)
{
    if (d->count == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 64;
        d->start = wn_resize(d->start, *capacity, sizeof *d->start);
        d->end = wn_resize(d->end, *capacity, sizeof *d->end);
        d->line = wn_resize(d->line, *capacity, sizeof *d->line);
    }
    d->start[d->count] = start;
    d->end[d->count] = end;
    d->line[d->count++] = line;
}

static void find_lines(struct wn_documents *d)
{
    const char *data = (const char *)d->mapped.data;
    int64_t capacity = 0, line = 1;

    for (int64_t at = 0; at < d->mapped.size; line++) {
        const char *newline = memchr(data + at, '\n', (size_t)(d->mapped.size - at));
        int64_t end = newline ? newline - data : d->mapped.size;
        if (!is_blank(data + at, end - at))
            add_document(d, &capacity, at, end, line);
        at = end + 1;
    }
}

static wn_status take_plain_text(struct wn_documents *d)
{
    const char *data = (const char *)d->mapped.data;
    int64_t capacity = 0, line = 1, invalid = wn_utf8_invalid_at(data, d->mapped.size);

    for (int64_t i = 0; i < invalid; i++)
        line += data[i] == '\n';
    if (invalid >= 0)
        return wn_fail(WN_ERR_INPUT, "%s:%lld: the byte 0x%02x is no valid UTF-8", d->path, (long long)line,
                       d->mapped.data[invalid]);
    if (d->mapped.size > 0)
        add_document(d, &capacity, 0, d->mapped.size, 1);
    return WN_OK;
}

wn_status wn_documents_open(const char *path, bool json, struct wn_documents *documents)
{
    wn_status status = WN_OK;

    *documents = (struct wn_documents){.json = json};
    WN_TRY(wn_map(path, &documents->mapped));
    documents->path = wn_strdup(path);
    if (json)
        find_lines(documents);
    else
        status = take_plain_text(documents);
    if (status == WN_OK && documents->count == 0)
        status = wn_fail(WN_ERR_INPUT, "%s: is empty, expected %s", path, json ? "JSON lines" : "text");
    if (status != WN_OK)
        wn_documents_close(documents);
    return status;
}

void wn_documents_close(struct wn_documents *documents)
{
    wn_unmap(&documents->mapped);
    wn_free(documents->path);
    wn_free(documents->start);
    wn_free(documents->end);
    wn_free(documents->line);
    *documents = (struct wn_documents){.mapped = documents->mapped};
}

wn_status wn_documents_fail(const struct wn_documents *documents, int64_t index, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return wn_fail(WN_ERR_INPUT, "%s:%lld: %s", documents->path, (long long)documents->line[index], text);
}

/* The parser is given an empty name and line 1, so its messages start with ":1:" before the column. */
wn_status wn_documents_parse(const struct wn_documents *documents, int64_t index, cJSON **object)
{
    const char *data = (const char *)documents->mapped.data;
    int64_t start = documents->start[index];
    wn_status status = wn_json_parse("", data + start, documents->end[index] - start, false, object);

    if (status != WN_OK) {
        char *message = wn_strdup(wn_error_message());
        const char *rest = strncmp(message, ":1:", 3) == 0 ? message + 3 : message;
        wn_fail(status, "%s:%lld:%s", documents->path, (long long)documents->line[index], rest);
        wn_free(message);
        return status;
    }
    if (!cJSON_IsObject(*object)) {
        cJSON_Delete(*object);
        *object = NULL;
        return wn_documents_fail(documents, index, "expected a JSON object");
    }
    return WN_OK;
}

static wn_status take_field(const struct wn_documents *documents, int64_t index, const cJSON *object,
                            const char *const *fields, struct wn_text *text)
{
    for (const char *const *field = fields; *field; field++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, *field);
        if (!value)
            continue;
        if (!cJSON_IsString(value))
            return wn_documents_fail(documents, index, "\"%s\" must be a string", *field);
        wn_text_append(text, value->valuestring, strlen(value->valuestring));
        return WN_OK;
    }
    return wn_documents_fail(documents, index, "the field \"%s\" is missing", fields[0]);
}

wn_status wn_documents_text(const struct wn_documents *documents, int64_t index, const char *const *fields,
                            struct wn_text *text)
{
    int64_t start = documents->start[index];
    cJSON *object;

    if (!documents->json) {
        wn_text_append(text, (const char *)documents->mapped.data + start, (size_t)(documents->end[index] - start));
        return WN_OK;
    }
    WN_TRY(wn_documents_parse(documents, index, &object));
    wn_status status = take_field(documents, index, object, fields, text);
    cJSON_Delete(object);
    return status;
}

void wn_documents_check(const struct wn_documents *documents, wn_document_visitor *visit, void *context,
                        struct wn_problems *problems)
{
    int64_t mistakes = 0;

    for (int64_t i = 0; i < documents->count; i++) {
        cJSON *object = NULL;
        wn_status status = wn_documents_parse(documents, i, &object);
        if (status == WN_OK)
            status = visit(context, documents, i, object);
        cJSON_Delete(object);
        if (status != WN_OK && mistakes++ < WN_PROBLEMS_PER_FILE)
            wn_problems_add(problems, "%s", wn_error_message());
    }
    if (mistakes > WN_PROBLEMS_PER_FILE)
        wn_problems_add(problems, "%s: ... and %lld more", documents->path,
                        (long long)(mistakes - WN_PROBLEMS_PER_FILE));
}
