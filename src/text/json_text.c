/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a text is one JSON value (RFC 8259; NaN, Infinity and -Infinity as well, as Python's json.loads takes them).
 */
#include "text_impl.h"

enum { DEEPEST = 900 };

struct reader {
    struct wn_chars text;
    size_t at;
    int depth;
};

static bool read_value(struct reader *r);

static char peek(const struct reader *r)
{
    return r->at < r->text.length ? r->text.data[r->at] : '\0';
}

static void skip_space(struct reader *r)
{
    while (r->at < r->text.length && strchr(" \t\n\r", r->text.data[r->at]) && r->text.data[r->at])
        r->at++;
}

static bool take(struct reader *r, char byte)
{
    if (peek(r) != byte || r->at == r->text.length)
        return false;
    r->at++;
    return true;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t length = strlen(word);

    if (r->text.length - r->at < length || memcmp(r->text.data + r->at, word, length) != 0)
        return false;
    r->at += length;
    return true;
}

static bool is_hex(char byte)
{
    return text_is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static bool read_digits(struct reader *r)
{
    size_t start = r->at;

    while (text_is_digit(peek(r)))
        r->at++;
    return r->at > start;
}

/* A point without digits behind it, and an exponent without, are not part of the number. */
static bool read_number(struct reader *r)
{
    take(r, '-');
    if (take_word(r, "Infinity"))
        return true;
    if (!take(r, '0') && !read_digits(r))
        return false;
    size_t end = r->at;
    if (take(r, '.'))
        end = read_digits(r) ? r->at : end;
    r->at = end;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+'))
            take(r, '-');
        end = read_digits(r) ? r->at : end;
    }
    r->at = end;
    return true;
}

static bool read_escape(struct reader *r)
{
    if (take(r, 'u')) {
        for (int i = 0; i < 4; i++, r->at++)
            if (!is_hex(peek(r)))
                return false;
        return true;
    }
    if (r->at == r->text.length || !peek(r) || !strchr("\"\\/bfnrt", peek(r)))
        return false;
    r->at++;
    return true;
}

static bool read_string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (r->at < r->text.length) {
        char byte = r->text.data[r->at++];
        if (byte == '"')
            return true;
        if ((unsigned char)byte < 0x20 || (byte == '\\' && !read_escape(r)))
            return false;
    }
    return false;
}

/* Members or entries up to the closing bracket. */
static bool read_list(struct reader *r, char close, bool keys)
{
    skip_space(r);
    if (take(r, close))
        return true;
    do {
        skip_space(r);
        if (keys) {
            if (!read_string(r))
                return false;
            skip_space(r);
            if (!take(r, ':'))
                return false;
        }
        if (!read_value(r))
            return false;
        skip_space(r);
    } while (take(r, ','));
    return take(r, close);
}

static bool read_value(struct reader *r)
{
    bool fine;

    skip_space(r);
    if (peek(r) == '"')
        return read_string(r);
    if (take_word(r, "true") || take_word(r, "false") || take_word(r, "null") || take_word(r, "NaN") ||
        take_word(r, "Infinity"))
        return true;
    if (peek(r) != '{' && peek(r) != '[')
        return read_number(r);
    if (++r->depth > DEEPEST)
        return false;
    bool keys = take(r, '{');
    if (!keys)
        r->at++;
    fine = read_list(r, keys ? '}' : ']', keys);
    r->depth--;
    return fine;
}

bool text_is_json(struct wn_chars text)
{
    struct reader reader = {.text = text};

    if (!read_value(&reader))
        return false;
    skip_space(&reader);
    return reader.at == text.length;
}
