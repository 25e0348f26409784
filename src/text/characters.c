/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Characters as Python's str has them: lower case, white space, words between white space; keys of enumerations.
 *
 * Lower case follows str.lower of Unicode 14: one character to one, but for U+0130, and for the capital sigma, whose
 * form at the end of a word depends on its neighbours (Unicode Standard, 3.13, Final_Sigma). A byte that is no UTF-8
 * is left as it is.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "text_impl.h"

#define COUNT(table) ((int64_t)(sizeof(table) / sizeof((table)[0])))

enum { CAPITAL_SIGMA = 0x3A3, SMALL_SIGMA = 0x3C3, FINAL_SIGMA = 0x3C2, CAPITAL_DOTTED_I = 0x130 };

/* Every stride-th code point from start to end has the lower case code + difference. */
struct lower_run {
    uint32_t start, end;
    int32_t stride, difference;
};

enum sigma_class { OTHER, IGNORABLE, CASED };

struct sigma_run {
    uint32_t start, end;
    uint8_t class;
};

#include "case_tables.inc"

/* ---- UTF-8 ---- */

/* Length of the sequence a first byte begins, 0 for a byte that begins none. */
static size_t sequence_length(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF)
        return 3;
    return first >= 0xF0 && first <= 0xF4 ? 4 : 0;
}

uint32_t text_next_code(struct wn_chars text, size_t *at)
{
    const uint8_t *bytes = (const uint8_t *)text.data + *at;
    size_t length = sequence_length(bytes[0]);

    if (length == 0 || length > text.length - *at) {
        ++*at;
        return TEXT_NO_CODE;
    }
    uint32_t code = length == 1 ? bytes[0] : bytes[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80) {
            ++*at;
            return TEXT_NO_CODE;
        }
        code = code << 6 | (bytes[i] & 0x3Fu);
    }
    *at += length;
    return code;
}

uint32_t text_previous_code(struct wn_chars text, size_t *at)
{
    size_t start = *at - 1;

    while (start > 0 && *at - start < 4 && ((uint8_t)text.data[start] & 0xC0) == 0x80)
        start--;
    size_t end = start;
    uint32_t code = text_next_code(text, &end);
    if (end != *at) { /* no sequence that ends here */
        start = *at - 1;
        code = TEXT_NO_CODE;
    }
    *at = start;
    return code;
}

static void append_code(struct wn_text *out, uint32_t code)
{
    char bytes[4];
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(length == 1 ? code : (0xF00u >> length & 0xFFu) | code);
    wn_text_append(out, bytes, length);
}

/* ---- lower case ---- */

static uint32_t lower_of(uint32_t code)
{
    int64_t low = 0, high = COUNT(lower_runs);

    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (code > lower_runs[middle].end)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == COUNT(lower_runs) || code < lower_runs[low].start)
        return code;
    const struct lower_run *run = &lower_runs[low];
    return (code - run->start) % (uint32_t)run->stride == 0 ? code + (uint32_t)run->difference : code;
}

static enum sigma_class class_of(uint32_t code)
{
    int64_t low = 0, high = COUNT(sigma_runs);

    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (code > sigma_runs[middle].end)
            low = middle + 1;
        else
            high = middle;
    }
    return low < COUNT(sigma_runs) && code >= sigma_runs[low].start ? (enum sigma_class)sigma_runs[low].class : OTHER;
}

/* Whether the capital sigma at [start, end) is the last letter of a word of more than one. */
static bool is_final_sigma(struct wn_chars text, size_t start, size_t end)
{
    enum sigma_class before = OTHER, after = OTHER;

    while (start > 0) {
        before = class_of(text_previous_code(text, &start));
        if (before != IGNORABLE)
            break;
    }
    while (end < text.length) {
        after = class_of(text_next_code(text, &end));
        if (after != IGNORABLE)
            break;
    }
    return before == CASED && after != CASED;
}

void wn_lower(struct wn_chars text, struct wn_text *out)
{
    wn_text_append(out, "", 0); /* so that there is a NUL */
    for (size_t at = 0; at < text.length;) {
        size_t start = at;
        uint32_t code = text_next_code(text, &at);
        uint32_t lower = code == TEXT_NO_CODE ? code : lower_of(code);
        if (code == CAPITAL_SIGMA)
            append_code(out, is_final_sigma(text, start, at) ? FINAL_SIGMA : SMALL_SIGMA);
        else if (code == CAPITAL_DOTTED_I)
            wn_text_append(out, "i\xCC\x87", 3);
        else if (lower == code)
            wn_text_append(out, text.data + start, at - start);
        else
            append_code(out, lower);
    }
}

void text_count_cases(struct wn_chars text, int64_t *upper, int64_t *lower)
{
    *upper = *lower = 0;
    for (size_t at = 0; at < text.length;) {
        uint32_t code = text_next_code(text, &at);
        if (code != TEXT_NO_CODE && lower_of(code) != code)
            ++*upper;
        else if (code != TEXT_NO_CODE && class_of(code) == CASED)
            ++*lower;
    }
}

/* ---- white space, punctuation, words ---- */

bool text_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
           code == 0x205F || code == 0x3000;
}

bool text_is_punctuation(char byte)
{
    return (byte >= '!' && byte <= '/') || (byte >= ':' && byte <= '@') || (byte >= '[' && byte <= '`') ||
           (byte >= '{' && byte <= '~');
}

bool text_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

bool text_in_ranges(uint32_t code, const uint32_t (*ranges)[2], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (code >= ranges[i][0] && code <= ranges[i][1])
            return true;
    return false;
}

int text_find_key(const char *const *keys, int count, const char *key)
{
    int found = 0;

    while (found < count && strcmp(keys[found], key) != 0)
        found++;
    return found;
}

bool text_contains(struct wn_chars text, struct wn_chars part)
{
    return part.length == 0 || (part.length <= text.length && memmem(text.data, text.length, part.data, part.length));
}

struct wn_chars wn_trim(struct wn_chars text)
{
    size_t start = 0, end = text.length;

    for (size_t at = 0; at < end;) {
        if (!text_is_space(text_next_code(text, &at)))
            break;
        start = at;
    }
    for (size_t at = end; at > start;) {
        if (!text_is_space(text_previous_code(text, &at)))
            break;
        end = at;
    }
    return text.length > 0 ? (struct wn_chars){text.data + start, end - start} : wn_chars_of("");
}

bool wn_next_word(struct wn_chars *rest, struct wn_chars *word)
{
    size_t start = 0, end = 0;
    bool inside = false;

    for (size_t at = 0; at < rest->length;) {
        size_t here = at;
        bool space = text_is_space(text_next_code(*rest, &at));
        if (space && inside)
            break;
        if (!space && !inside) {
            start = here;
            inside = true;
        }
        if (inside)
            end = at;
    }
    if (!inside)
        return false;
    *word = (struct wn_chars){rest->data + start, end - start};
    *rest = (struct wn_chars){rest->data + end, rest->length - end};
    return true;
}
