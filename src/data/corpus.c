/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of a file: opening, parsing, and the check of all of them. */
#include "documents.h"

#include <cjson/cJSON.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_in(const char *path, size_t length, const char *ending)
{
    size_t size = strlen(ending);

    return length > size && strncmp(path + length - size, ending, size) == 0;
}

/* Whether the name says that there are records; only asked where the content does not. */
static bool is_named_json(const char *path)
{
    size_t length = strlen(path);

    length -= ends_in(path, length, ".gz") ? 3 : 0;
    return ends_in(path, length, ".jsonl") || ends_in(path, length, ".json") || ends_in(path, length, ".ndjson");
}

void doc_add(struct wn_documents *d, int64_t *capacity, int64_t start, int64_t end, int64_t line)
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

static wn_status take_plain_text(struct wn_documents *d)
{
    int64_t capacity = 0, line = 1, invalid = wn_utf8_invalid_at(d->data, d->size);

    d->content = "plain text";
    for (int64_t i = 0; i < invalid; i++)
        line += d->data[i] == '\n';
    if (invalid >= 0)
        return wn_fail(WN_ERR_INPUT, "%s:%lld: the byte 0x%02x is no valid UTF-8", d->path, (long long)line,
                       (unsigned char)d->data[invalid]);
    if (d->size > 0)
        doc_add(d, &capacity, 0, d->size, 1);
    return WN_OK;
}

/* The text of the file: unpacked, and without the byte order mark that some programs write in front. */
static wn_status read_text(struct wn_documents *d)
{
    d->data = (const char *)d->mapped.data;
    d->size = d->mapped.size;
    d->gzip = wn_is_gzip(d->mapped.data, d->mapped.size);
    if (d->gzip) {
        WN_TRY(wn_gunzip(d->path, d->mapped.data, d->mapped.size, &d->unpacked, &d->size));
        d->data = d->unpacked ? (const char *)d->unpacked : "";
    }
    if (d->size >= 3 && memcmp(d->data, "\xEF\xBB\xBF", 3) == 0) {
        d->data += 3;
        d->size -= 3;
    }
    return doc_refuse_other(d->path, d->data, d->size);
}

static wn_status find_documents(struct wn_documents *d)
{
    WN_TRY(read_text(d));
    d->json = d->json || doc_looks_json(d->data, d->size) || is_named_json(d->path);
    if (d->json)
        WN_TRY(doc_find_records(d));
    else
        WN_TRY(take_plain_text(d));
    if (d->count == 0)
        return wn_fail(WN_ERR_INPUT, "%s: is empty, expected %s", d->path, d->json ? "JSON lines" : "text");
    return WN_OK;
}

wn_status wn_documents_open(const char *path, bool records, struct wn_documents *documents)
{
    *documents = (struct wn_documents){.json = records};
    WN_TRY(wn_map(path, &documents->mapped));
    documents->path = wn_strdup(path);
    wn_status status = find_documents(documents);
    if (status != WN_OK)
        wn_documents_close(documents);
    return status;
}

void wn_documents_close(struct wn_documents *documents)
{
    wn_unmap(&documents->mapped);
    wn_free(documents->unpacked);
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

/*
 * The message of the parser, which was given an empty name and the record alone: ":line:column: text". Line and column
 * become those of the file.
 */
static void place_message(const struct wn_documents *documents, int64_t index)
{
    char *message = wn_strdup(wn_error_message()), *rest;
    const char *record = documents->data + documents->start[index];
    long long line = strtoll(message + (message[0] == ':'), &rest, 10), column = 0, before = 0;

    if (*rest == ':')
        column = strtoll(rest + 1, &rest, 10);
    while (line == 1 && record - before > documents->data && record[-1 - before] != '\n')
        before++;
    wn_fail(WN_ERR_INPUT, "%s:%lld:%lld%s", documents->path, (long long)documents->line[index] + line - 1,
            column + (long long)wn_utf8_length(record - before, before), rest);
    wn_free(message);
}

/* A string of an array of strings, as the record that has it as its text. */
static cJSON *as_record(cJSON *string)
{
    cJSON *record = cJSON_CreateObject();

    cJSON_AddItemToObject(record, "text", string);
    return record;
}

wn_status wn_documents_parse(const struct wn_documents *documents, int64_t index, cJSON **object)
{
    int64_t start = documents->start[index];
    wn_status status = wn_json_parse("", documents->data + start, documents->end[index] - start, false, object);

    if (status == WN_ERR_INPUT)
        place_message(documents, index);
    if (status != WN_OK)
        return status;
    if (cJSON_IsString(*object) && strcmp(documents->content, DOC_ARRAY) == 0)
        *object = as_record(*object);
    if (!cJSON_IsObject(*object)) {
        cJSON_Delete(*object);
        *object = NULL;
        return wn_documents_fail(documents, index, "expected a JSON object");
    }
    return WN_OK;
}

static void list_fields(const cJSON *object, struct wn_text *names)
{
    const cJSON *member;
    int count = 0;

    cJSON_ArrayForEach (member, object) {
        if (count++ < 16)
            wn_text_printf(names, "%s\"%.60s\"", count > 1 ? ", " : "", member->string);
    }
    if (count > 16)
        wn_text_printf(names, " ... and %d more", count - 16);
    if (count == 0)
        wn_text_printf(names, "none");
}

wn_status wn_field_fail(const char *missing, const cJSON *object)
{
    struct wn_text names = {0};

    list_fields(object, &names);
    wn_fail(WN_ERR_INPUT, "the field %s is missing; the fields there are: %s", missing, names.data);
    wn_text_release(&names);
    return WN_ERR_INPUT;
}

/* The last message again, with the place of the record in front. */
static wn_status fail_again(const struct wn_documents *documents, int64_t index)
{
    char *message = wn_strdup(wn_error_message());
    wn_status status = wn_documents_fail(documents, index, "%s", message);

    wn_free(message);
    return status;
}

wn_status wn_documents_field(const struct wn_documents *documents, int64_t index, const cJSON *object,
                             const char *const *fields, const char **text)
{
    for (const char *const *field = fields; *field; field++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, *field);
        if (!value)
            continue;
        if (!cJSON_IsString(value))
            return wn_documents_fail(documents, index, "\"%s\" must be a string", *field);
        *text = value->valuestring;
        return WN_OK;
    }
    char *missing = wn_format("\"%s\"%s%s%s", fields[0], fields[1] ? " (or \"" : "", fields[1] ? fields[1] : "",
                              fields[1] ? "\")" : "");
    wn_field_fail(missing, object);
    wn_free(missing);
    return fail_again(documents, index);
}

wn_status wn_documents_text(const struct wn_documents *documents, int64_t index, const char *const *fields,
                            struct wn_text *text)
{
    int64_t start = documents->start[index];
    const char *field = "";
    cJSON *object;

    if (!documents->json) {
        wn_text_append(text, documents->data + start, (size_t)(documents->end[index] - start));
        return WN_OK;
    }
    WN_TRY(wn_documents_parse(documents, index, &object));
    wn_status status = wn_documents_field(documents, index, object, fields, &field);
    if (status == WN_OK)
        wn_text_append(text, field, strlen(field));
    cJSON_Delete(object);
    return status;
}

/* ---- all of them ---- */

/* What a message says behind "path:line: " or "path:line:column: ". */
static const char *words_of(const struct wn_documents *documents, const char *message)
{
    size_t length = strlen(documents->path);

    if (strncmp(message, documents->path, length) != 0)
        return message;
    message += length;
    return message + strspn(message, ":0123456789");
}

static wn_status visit_record(const struct wn_documents *documents, int64_t index, wn_document_visitor *visit,
                              void *context)
{
    cJSON *object = NULL;
    wn_status status = wn_documents_parse(documents, index, &object);

    if (status == WN_OK)
        status = visit(context, documents, index, object);
    cJSON_Delete(object);
    return status;
}

/* Mistakes as they come: the same one again is only counted. */
struct mistakes {
    struct wn_problems *problems;
    const struct wn_documents *documents;
    char *last;   /* words of the last one; owned */
    int64_t same; /* as often again */
    int64_t listed, left;
};

static void end_run(struct mistakes *m)
{
    if (m->same > 0)
        wn_problems_add(m->problems, "%s: ... and %lld more like it", m->documents->path, (long long)m->same);
    m->same = 0;
}

static void add_mistake(struct mistakes *m)
{
    const char *words = words_of(m->documents, wn_error_message());

    if (m->last && strcmp(m->last, words) == 0) {
        m->same++;
    } else if (m->listed == WN_PROBLEMS_PER_FILE) {
        m->left++;
    } else {
        end_run(m);
        m->listed++;
        wn_free(m->last);
        m->last = wn_strdup(words);
        wn_problems_add(m->problems, "%s", wn_error_message());
    }
}

void wn_documents_check(const struct wn_documents *documents, wn_document_visitor *visit, void *context,
                        struct wn_problems *problems)
{
    struct mistakes m = {.problems = problems, .documents = documents};

    for (int64_t i = 0; i < documents->count; i++)
        if (visit_record(documents, i, visit, context) != WN_OK)
            add_mistake(&m);
    end_run(&m);
    if (m.left > 0)
        wn_problems_add(problems, "%s: ... and %lld more", documents->path, (long long)m.left);
    wn_free(m.last);
}

wn_status wn_documents_skip(struct wn_documents *documents, wn_document_visitor *visit, void *context)
{
    char *first = NULL;
    int64_t kept = 0;

    for (int64_t i = 0; i < documents->count; i++) {
        if (visit_record(documents, i, visit, context) == WN_OK) {
            documents->start[kept] = documents->start[i];
            documents->end[kept] = documents->end[i];
            documents->line[kept++] = documents->line[i];
        } else if (!first) {
            first = wn_strdup(wn_error_message());
        }
    }
    documents->skipped = documents->count - kept;
    documents->count = kept;
    wn_status status = WN_OK;
    if (kept == 0)
        status =
            wn_fail(WN_ERR_INPUT, "%s; none of the %lld records can be used", first, (long long)documents->skipped);
    wn_free(first);
    return status;
}

void wn_documents_tell(const struct wn_documents *documents)
{
    bool lines = strcmp(documents->content, "JSON lines") == 0;
    bool expected = lines ? ends_in(documents->path, strlen(documents->path), ".jsonl")
                          : !documents->json && !is_named_json(documents->path);

    if (documents->gzip || !expected)
        wn_log(WN_LOG_INFO, "%s: read as %s%s, %lld records", documents->path, documents->content,
               documents->gzip ? " packed by gzip" : "", (long long)documents->count);
    int64_t all = documents->count + documents->skipped;
    if (documents->skipped > 0)
        wn_log(WN_LOG_WARNING, "%s: %lld of %lld records cannot be used and are left out (\"on_error\": \"skip\")",
               documents->path, (long long)documents->skipped, (long long)all);
}
