/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the records of a JSON file are. Only brackets and strings are looked at here; each record is parsed strictly
 * when it is asked for. What is laid out in no way that is known here is taken as lines, whose parser then says what
 * is wrong with them.
 */
#include "documents.h"

#include <stdlib.h>
#include <string.h>

/* Keys under which published files have their list of records. */
static const char *const list_names[] = {"data",    "rows",     "examples", "instances",  "documents",
                                         "records", "requests", "train",    "validation", "test"};

struct walk {
    const char *data;
    int64_t at, size, line; /* line: of data[at] */
};

static void skip_space(struct walk *w)
{
    while (w->at < w->size && memchr(" \t\r\n", w->data[w->at], 4))
        w->line += w->data[w->at++] == '\n';
}

static bool is_next(struct walk *w, char c)
{
    skip_space(w);
    return w->at < w->size && w->data[w->at] == c;
}

/* Steps over a string; false when it is not closed in its line. */
static bool skip_string(struct walk *w)
{
    for (w->at++; w->at < w->size && w->data[w->at] != '\n'; w->at++) {
        if (w->data[w->at] == '\\')
            w->at++;
        else if (w->data[w->at] == '"') {
            w->at++;
            return true;
        }
    }
    return false;
}

/* Steps over a value: to the bracket that closes the first one, or to the next separator. */
static bool skip_value(struct walk *w)
{
    int64_t depth = 0;

    while (w->at < w->size) {
        char c = w->data[w->at];
        if (depth == 0 && memchr(",]} \t\r\n", c, 7))
            return true;
        if (c == '"') {
            if (!skip_string(w))
                return false;
        } else {
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
            w->line += c == '\n';
            w->at++;
        }
        if (depth == 0 && memchr("\"}]", c, 3))
            return true;
    }
    return depth == 0;
}

bool doc_looks_json(const char *data, int64_t size)
{
    struct walk w = {data, 0, size, 1};

    if (is_next(&w, '{')) {
        w.at++; /* a name in ' is a mistake to tell of: what Python prints of a record is no plain text */
        return is_next(&w, '"') || is_next(&w, '}') || is_next(&w, '\'');
    }
    if (!is_next(&w, '['))
        return false;
    w.at++;
    return is_next(&w, '{');
}

/* ---- one array ---- */

static wn_status fail_at(const struct wn_documents *d, const struct walk *w, const char *what)
{
    return wn_fail(WN_ERR_INPUT, "%s:%lld: %s", d->path, (long long)w->line, what);
}

/* The elements from the opening bracket on. */
static wn_status take_elements(struct wn_documents *d, struct walk *w, int64_t *capacity)
{
    w->at++;
    if (is_next(w, ']'))
        return WN_OK;
    for (;;) {
        skip_space(w);
        struct walk start = *w;
        if (!skip_value(w) || w->at == start.at)
            return fail_at(d, &start, "an element of the JSON array is missing, or does not end");
        doc_add(d, capacity, start.at, w->at, start.line);
        if (is_next(w, ']'))
            return WN_OK;
        if (!is_next(w, ','))
            return fail_at(d, w, "expected , or ] behind an element of the JSON array");
        w->at++;
    }
}

static wn_status take_array(struct wn_documents *d, struct walk *w)
{
    int64_t capacity = 0;

    d->content = DOC_ARRAY;
    WN_TRY(take_elements(d, w, &capacity));
    w->at++;
    skip_space(w);
    return w->at < w->size ? fail_at(d, w, "the text goes on behind the end of the JSON array") : WN_OK;
}

/* ---- objects over several lines ---- */

/* A member of an object whose value is a list of objects. */
struct list {
    const char *name; /* borrowed, without the quotes */
    int64_t length;
    struct walk start; /* at the bracket */
};

static bool is_known(const struct list *list)
{
    for (size_t i = 0; i < sizeof list_names / sizeof *list_names; i++)
        if (strlen(list_names[i]) == (size_t)list->length && !strncmp(list_names[i], list->name, (size_t)list->length))
            return true;
    return false;
}

/* Whether the value at w begins as a list of objects does. */
static bool is_list(const struct walk *w)
{
    struct walk inside = *w;

    if (!is_next(&inside, '['))
        return false;
    inside.at++;
    return is_next(&inside, '{');
}

/* The lists of records of the object at w, at most `most`, which are counted; -1: it is broken. w moves behind it. */
static int find_lists(struct walk *w, struct list *lists, int most)
{
    int count = 0;

    w->at++;
    while (is_next(w, '"')) {
        struct list list = {.name = w->data + w->at + 1};
        if (!skip_string(w))
            return -1;
        list.length = w->data + w->at - list.name - 1;
        if (!is_next(w, ':'))
            return -1;
        w->at++;
        skip_space(w);
        list.start = *w;
        if (is_list(w) && is_known(&list) && count < most)
            lists[count++] = list;
        if (!skip_value(w))
            return -1;
        if (!is_next(w, ','))
            break;
        w->at++;
    }
    if (!is_next(w, '}'))
        return -1;
    w->at++;
    return count;
}

static wn_status fail_lists(const struct wn_documents *d, const struct list *lists, int count)
{
    struct wn_text names = {0};

    for (int i = 0; i < count; i++)
        wn_text_printf(&names, "%s\"%.*s\"", i ? ", " : "", (int)lists[i].length, lists[i].name);
    wn_fail(WN_ERR_INPUT,
            "%s: is a JSON object with the lists %s; expected one list: JSON lines, a JSON array, or an object with "
            "one list of records",
            d->path, names.data);
    wn_text_release(&names);
    return WN_ERR_INPUT;
}

static wn_status take_objects(struct wn_documents *d, struct walk *w)
{
    int64_t capacity = 0;

    d->content = "JSON objects one behind the other";
    while (is_next(w, '{')) {
        struct walk start = *w;
        if (!skip_value(w))
            return fail_at(d, &start, "the object that begins here does not end");
        doc_add(d, &capacity, start.at, w->at, start.line);
    }
    return w->at < w->size ? fail_at(d, w, "expected a JSON object") : WN_OK;
}

/* A file whose first object takes more than a line, is not alone in its line, or is all there is; *taken is false when
 * it is none of these. */
static wn_status take_object(struct wn_documents *d, const struct walk *first, bool *taken)
{
    struct list lists[8];
    struct walk w = *first;
    int64_t capacity = 0;
    int count = find_lists(&w, lists, 8);
    bool several = w.line > first->line;

    *taken = false;
    if (count < 0)
        return WN_OK;
    several = (is_next(&w, '{') && w.line == first->line) || several;
    *taken = (w.at == w.size && count > 0) || several;
    if (!*taken)
        return WN_OK;
    if (w.at < w.size || count == 0) {
        w = *first;
        return take_objects(d, &w);
    }
    if (count > 1)
        return fail_lists(d, lists, count);
    d->content = "list of a JSON object";
    return take_elements(d, &lists[0].start, &capacity);
}

/* ---- lines ---- */

static bool is_blank(const char *text, int64_t length)
{
    for (int64_t i = 0; i < length; i++)
        if (!memchr(" \t\r", text[i], 3))
            return false;
    return true;
}

static void take_lines(struct wn_documents *d)
{
    int64_t capacity = 0, line = 1;

    d->content = "JSON lines";
    for (int64_t at = 0; at < d->size; line++) {
        const char *newline = memchr(d->data + at, '\n', (size_t)(d->size - at));
        int64_t end = newline ? newline - d->data : d->size;
        if (!is_blank(d->data + at, end - at))
            doc_add(d, &capacity, at, end, line);
        at = end + 1;
    }
}

wn_status doc_find_records(struct wn_documents *d)
{
    struct walk w = {d->data, 0, d->size, 1};
    bool taken = false;

    if (is_next(&w, '['))
        return take_array(d, &w);
    if (is_next(&w, '{'))
        WN_TRY(take_object(d, &w, &taken));
    if (!taken)
        take_lines(d);
    return WN_OK;
}
