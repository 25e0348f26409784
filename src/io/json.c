/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON and JSON lines. cJSON builds the tree; it is lenient (raw control characters, 01, lone words) and tells no
 * position, so a strict scanner (RFC 8259) goes over the text first and owns all messages. What it lets through, cJSON
 * takes.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include <winnow/io.h>

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_LONGEST = 63 /* characters of a number that cJSON looks at */, FEW_KEYS = 16 };

struct scanner {
    const char *name; /* for messages */
    const char *start, *at, *end;
    int64_t first_line;      /* the line that `start` is in */
    int depth;               /* open objects and arrays */
    int64_t keys;            /* keys seen so far in the order of the text */
    int64_t wanted_key;      /* where this key (counted from 0) starts is to be remembered; -1: none */
    const char *wanted_here; /* the answer */
};

/* ---- messages ---- */

/* "name:line:column: text"; columns count characters from 1. */
static wn_status fail_at(const struct scanner *s, const char *position, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static wn_status fail_at(const struct scanner *s, const char *position, const char *format, ...)
{
    char text[512];
    const char *line_start = s->start;
    int64_t line = s->first_line;
    va_list arguments;

    for (const char *c = s->start; c < position; c++)
        if (*c == '\n') {
            line++;
            line_start = c + 1;
        }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return wn_fail(WN_ERR_INPUT, "%s:%lld:%lld: %s", s->name, (long long)line,
                   (long long)wn_utf8_length(line_start, position - line_start) + 1, text);
}

static wn_status fail_expected(const struct scanner *s, const char *expected)
{
    if (s->at >= s->end)
        return fail_at(s, s->at, "expected %s, found the end of the text", expected);
    unsigned char found = (unsigned char)*s->at;
    if (found > ' ' && found < 0x7f)
        return fail_at(s, s->at, "expected %s, found '%c'", expected, found);
    return fail_at(s, s->at, "expected %s, found the byte 0x%02x", expected, found);
}

/* ---- the scanner: each function starts at the first character of its piece and ends behind the last ---- */

static wn_status scan_value(struct scanner *s);

static void skip_space(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

/* Steps over `c` when it is next. */
static bool take(struct scanner *s, char c)
{
    if (s->at >= s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool is_digit(const struct scanner *s)
{
    return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

/* The value of four hexadecimal digits after \u, -1 when they are none. */
static int scan_hex(struct scanner *s)
{
    int value = 0;

    for (int i = 0; i < 4; i++, s->at++) {
        if (s->at >= s->end)
            return -1;
        char c = *s->at, lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* U+0000 would end a C string early and is refused; surrogates must come in pairs. */
static wn_status scan_unicode_escape(struct scanner *s, const char *backslash)
{
    int unit = scan_hex(s);

    if (unit < 0)
        return fail_at(s, backslash, "\\u must be followed by four hexadecimal digits");
    if (unit == 0)
        return fail_at(s, backslash, "\\u0000 in a string is not supported");
    if (unit < 0xD800 || unit > 0xDFFF)
        return WN_OK;
    if (unit < 0xDC00 && take(s, '\\') && take(s, 'u')) {
        int low = scan_hex(s);
        if (low >= 0xDC00 && low <= 0xDFFF)
            return WN_OK;
    }
    return fail_at(s, backslash, "half of a surrogate pair stands alone");
}

static wn_status scan_escape(struct scanner *s)
{
    const char *backslash = s->at++;

    if (s->at < s->end && *s->at != '\0' && strchr("\"\\/bfnrt", *s->at)) {
        s->at++;
        return WN_OK;
    }
    if (take(s, 'u'))
        return scan_unicode_escape(s, backslash);
    return fail_at(s, backslash, "a backslash must be followed by one of \" \\ / b f n r t u");
}

static wn_status scan_string(struct scanner *s)
{
    const char *quote = s->at++;

    while (s->at < s->end && *s->at != '"') {
        if ((unsigned char)*s->at < ' ')
            return fail_at(s, s->at,
                           "the byte 0x%02x in a string must be written as an escape (is a closing quote "
                           "missing?)",
                           (unsigned char)*s->at);
        if (*s->at == '\\')
            WN_TRY(scan_escape(s));
        else
            s->at++;
    }
    if (!take(s, '"'))
        return fail_at(s, quote, "the string is not closed");
    return WN_OK;
}

static wn_status scan_digits(struct scanner *s)
{
    if (!is_digit(s))
        return fail_expected(s, "a digit");
    while (is_digit(s))
        s->at++;
    return WN_OK;
}

static wn_status scan_number(struct scanner *s)
{
    const char *first = s->at;
    bool exponent = false;

    take(s, '-');
    if (take(s, '0')) {
        if (is_digit(s))
            return fail_at(s, first, "a number must not start with 0");
    } else {
        WN_TRY(scan_digits(s));
    }
    if (take(s, '.'))
        WN_TRY(scan_digits(s));
    if (take(s, 'e') || take(s, 'E')) {
        exponent = true;
        if (!take(s, '+'))
            take(s, '-');
        WN_TRY(scan_digits(s));
    }
    if (s->at - first > NUMBER_LONGEST)
        return fail_at(s, first, "a number must not have more than %d characters", NUMBER_LONGEST);
    if (exponent) { /* without one, 63 digits stay far below the largest double */
        char copy[NUMBER_LONGEST + 1] = {0};
        memcpy(copy, first, (size_t)(s->at - first));
        if (isinf(strtod(copy, NULL)))
            return fail_at(s, first, "the number is too large");
    }
    return WN_OK;
}

static wn_status scan_word(struct scanner *s)
{
    static const char *const words[] = {"true", "false", "null"};

    for (int i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if ((size_t)(s->end - s->at) >= length && memcmp(s->at, words[i], length) == 0) {
            s->at += length;
            return WN_OK;
        }
    }
    return fail_expected(s, "a value");
}

static wn_status scan_member(struct scanner *s)
{
    skip_space(s);
    if (s->at >= s->end || *s->at != '"')
        return fail_expected(s, "a key in double quotes");
    if (s->keys++ == s->wanted_key)
        s->wanted_here = s->at;
    WN_TRY(scan_string(s));
    skip_space(s);
    if (!take(s, ':'))
        return fail_expected(s, "':' after the key");
    return scan_value(s);
}

/* The inside of an object (close '}') or an array (close ']'). */
static wn_status scan_list(struct scanner *s, char close)
{
    const char *open = s->at++;

    if (++s->depth > CJSON_NESTING_LIMIT)
        return fail_at(s, open, "objects and arrays are nested more than %d deep", CJSON_NESTING_LIMIT);
    skip_space(s);
    if (!take(s, close)) {
        do {
            WN_TRY(close == '}' ? scan_member(s) : scan_value(s));
            skip_space(s);
        } while (take(s, ','));
        if (!take(s, close))
            return fail_expected(s, close == '}' ? "',' or '}'" : "',' or ']'");
    }
    s->depth--;
    return WN_OK;
}

static wn_status scan_value(struct scanner *s)
{
    skip_space(s);
    char c = s->at < s->end ? *s->at : '\0';
    if (c == '{')
        return scan_list(s, '}');
    if (c == '[')
        return scan_list(s, ']');
    if (c == '"')
        return scan_string(s);
    if (c == '-' || is_digit(s))
        return scan_number(s);
    return scan_word(s);
}

static wn_status scan_text(struct scanner *s)
{
    int64_t length = s->end - s->start, invalid = wn_utf8_invalid_at(s->start, length);

    if (invalid >= 0)
        return fail_at(s, s->start + invalid, "the byte 0x%02x is no valid UTF-8", (uint8_t)s->start[invalid]);
    if (length >= 3 && memcmp(s->start, "\xEF\xBB\xBF", 3) == 0)
        return fail_at(s, s->start, "the text must not start with a byte order mark");
    WN_TRY(scan_value(s));
    skip_space(s);
    if (s->at < s->end)
        return fail_expected(s, "the end of the text");
    return WN_OK;
}

/* ---- comments ---- */

/* Overwrites comments outside strings with blanks, newlines kept, so that positions stay as they were. */
static wn_status blank_comments(const struct scanner *s, char *text, int64_t length)
{
    for (int64_t i = 0; i < length; i++) {
        if (text[i] == '"') {
            for (i++; i < length && text[i] != '"'; i++)
                i += text[i] == '\\';
        } else if (text[i] == '/' && i + 1 < length && text[i + 1] == '/') {
            for (; i < length && text[i] != '\n'; i++)
                text[i] = ' ';
        } else if (text[i] == '/' && i + 1 < length && text[i + 1] == '*') {
            const char *close = memmem(text + i + 2, (size_t)(length - i - 2), "*/", 2);
            if (!close)
                return fail_at(s, s->start + i, "the comment is not closed");
            for (; text + i < close + 2; i++)
                text[i] = text[i] == '\n' ? '\n' : ' ';
            i--;
        }
    }
    return WN_OK;
}

/* ---- duplicate keys ---- */

static int compare_keys(const void *a, const void *b)
{
    const cJSON *const *left = a, *const *right = b;

    return strcmp((*left)->string, (*right)->string);
}

/* Of two members of one object the one that stands further back. */
static const cJSON *later_of(const cJSON *a, const cJSON *b)
{
    for (const cJSON *member = a; member; member = member->next)
        if (member == b)
            return b;
    return a;
}

/* Sorting makes one object of 150,000 keys (a vocabulary) cheap. */
static const cJSON *duplicate_among_many(const cJSON *object, int64_t count)
{
    const cJSON **members = wn_alloc(count, sizeof *members), *duplicate = NULL, *member;
    int64_t n = 0;

    cJSON_ArrayForEach (member, object)
        members[n++] = member;
    qsort(members, (size_t)count, sizeof *members, compare_keys);
    for (int64_t i = 1; i < count && !duplicate; i++)
        if (strcmp(members[i - 1]->string, members[i]->string) == 0)
            duplicate = later_of(members[i - 1], members[i]);
    wn_free(members);
    return duplicate;
}

static const cJSON *duplicate_among_few(const cJSON *object)
{
    const cJSON *member;

    cJSON_ArrayForEach (member, object) {
        for (const cJSON *before = object->child; before != member; before = before->next)
            if (strcmp(before->string, member->string) == 0)
                return member;
    }
    return NULL;
}

/* A member of `json` or of anything inside whose key was used before in the same object; NULL: none. */
static const cJSON *find_duplicate(const cJSON *json)
{
    const cJSON *duplicate = NULL, *child;
    int64_t count = 0;

    cJSON_ArrayForEach (child, json) {
        count++;
        if (child->child && (duplicate = find_duplicate(child)))
            return duplicate;
    }
    if (!cJSON_IsObject(json))
        return NULL;
    return count > FEW_KEYS ? duplicate_among_many(json, count) : duplicate_among_few(json);
}

/* Adds the keys in front of `wanted` in the order of the text to `keys`; true once it was met. */
static bool count_keys(const cJSON *json, const cJSON *wanted, int64_t *keys)
{
    const cJSON *child;

    cJSON_ArrayForEach (child, json) {
        if (child == wanted)
            return true;
        *keys += child->string != NULL;
        if (count_keys(child, wanted, keys))
            return true;
    }
    return false;
}

/* The tree has no positions, so the number of the key is looked up in a second scan. */
static wn_status refuse_duplicates(struct scanner *s, const cJSON *json)
{
    const cJSON *duplicate = find_duplicate(json);
    int64_t keys = 0;

    if (!duplicate)
        return WN_OK;
    count_keys(json, duplicate, &keys);
    struct scanner again = {.name = s->name,
                            .start = s->start,
                            .at = s->start,
                            .end = s->end,
                            .first_line = s->first_line,
                            .wanted_key = keys};
    WN_TRY(scan_text(&again));
    return fail_at(&again, again.wanted_here, "the key \"%s\" appears twice in one object", duplicate->string);
}

/* ---- the whole ---- */

static wn_status parse(const char *name, const char *text, int64_t length, int64_t first_line, cJSON **json)
{
    struct scanner s = {
        .name = name, .start = text, .at = text, .end = text + length, .first_line = first_line, .wanted_key = -1};

    WN_TRY(scan_text(&s));
    cJSON *tree = cJSON_ParseWithLength(text, (size_t)length);
    if (!tree)
        return wn_fail(WN_ERR_MEMORY, "%s: cJSON cannot build the tree", name);
    wn_status status = refuse_duplicates(&s, tree);
    if (status != WN_OK) {
        cJSON_Delete(tree);
        return status;
    }
    *json = tree;
    return WN_OK;
}

wn_status wn_json_parse(const char *name, const char *text, int64_t length, bool comments, cJSON **json)
{
    *json = NULL;
    if (!comments || length == 0)
        return parse(name, text, length, 1, json);
    struct scanner s = {.name = name, .start = text, .at = text, .end = text + length, .first_line = 1};
    char *copy = wn_strndup(text, (size_t)length);
    wn_status status = blank_comments(&s, copy, length);
    if (status == WN_OK)
        status = parse(name, copy, length, 1, json);
    wn_free(copy);
    return status;
}

wn_status wn_json_read(const char *path, bool comments, cJSON **json)
{
    char *text;
    int64_t length;

    *json = NULL;
    WN_TRY(wn_read_text(path, &text, &length));
    wn_status status = wn_json_parse(path, text, length, comments, json);
    wn_free(text);
    return status;
}

/* ---- JSON lines ---- */

static bool is_blank(const char *text, int64_t length)
{
    for (int64_t i = 0; i < length; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

static wn_status visit_line(const char *path, int64_t line, const char *text, int64_t length, wn_jsonl_visitor *visit,
                            void *context)
{
    cJSON *json = NULL;

    if (is_blank(text, length))
        return WN_OK;
    WN_TRY(parse(path, text, length, line, &json));
    wn_status status = cJSON_IsObject(json)
                           ? visit(context, path, line, json)
                           : wn_fail(WN_ERR_INPUT, "%s:%lld: expected a JSON object", path, (long long)line);
    cJSON_Delete(json);
    return status;
}

wn_status wn_jsonl_read(const char *path, wn_jsonl_visitor *visit, void *context)
{
    struct wn_mapped mapped;
    wn_status status = WN_OK;

    WN_TRY(wn_map(path, &mapped));
    const char *at = (const char *)mapped.data, *end = at + mapped.size;
    for (int64_t line = 1; at < end && status == WN_OK; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        status = visit_line(path, line, at, (newline ? newline : end) - at, visit, context);
        at = newline ? newline + 1 : end;
    }
    wn_unmap(&mapped);
    return status;
}
