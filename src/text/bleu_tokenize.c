/* SPDX-License-Identifier: Apache-2.0 */
/* Words as BLEU counts them, by sacreBLEU's tokenizers: mteval-v13a, its rules behind Chinese characters, characters.
 */
#include "text_impl.h"

enum wn_bleu_tokenizer wn_bleu_tokenizer_find(const char *key)
{
    static const char *const keys[] = {
#define X(name, key, help) key,
        WN_BLEU_TOKENIZER_LIST(X)
#undef X
    };

    return (enum wn_bleu_tokenizer)text_find_key(keys, WN_BLEU_TOKENIZERS, key);
}

/* ---- steps, each from one text to the end of another ---- */

static void replace(struct wn_text *text, const char *from, const char *to)
{
    struct wn_text out = {0};
    size_t length = strlen(from);

    for (size_t at = 0; at < text->length;)
        if (text->length - at >= length && memcmp(text->data + at, from, length) == 0) {
            wn_text_append(&out, to, strlen(to));
            at += length;
        } else {
            wn_text_append(&out, text->data + at++, 1);
        }
    wn_text_release(text);
    *text = out;
}

static bool is_stop(char byte)
{
    return byte == '.' || byte == ',';
}

static bool stands_apart(char byte)
{
    return text_is_punctuation(byte) && !strchr("'-.,", byte);
}

static bool is_stop_behind(const char *pair)
{
    return !text_is_digit(pair[0]) && is_stop(pair[1]);
}

static bool is_stop_before(const char *pair)
{
    return is_stop(pair[0]) && !text_is_digit(pair[1]);
}

static bool is_dash_behind(const char *pair)
{
    return text_is_digit(pair[0]) && pair[1] == '-';
}

/*
 * Puts spaces around the first or the second byte of every pair that `matches`, from left to right; a byte is part of
 * one pair alone. Bytes do for characters: one byte of each pair is ASCII, the other is only asked whether it is a
 * digit.
 */
static void part_pairs(struct wn_text *text, bool (*matches)(const char *pair), bool second)
{
    struct wn_text out = {0};
    size_t at = 0;

    while (at < text->length) {
        const char *pair = text->data + at;
        bool found = at + 1 < text->length && matches(pair);
        if (found && !second)
            wn_text_append(&out, " ", 1);
        wn_text_append(&out, pair, 1);
        if (found) {
            wn_text_append(&out, " ", 1);
            wn_text_append(&out, pair + 1, 1);
            if (second)
                wn_text_append(&out, " ", 1);
        }
        at += found ? 2 : 1;
    }
    wn_text_release(text);
    *text = out;
}

/* What mteval-v13a does to all languages: punctuation apart, but for apostrophes, and stops and dashes in numbers. */
static void part_punctuation(struct wn_text *text)
{
    struct wn_text out = {0};

    for (size_t at = 0; at < text->length; at++) {
        bool apart = stands_apart(text->data[at]);
        if (apart)
            wn_text_append(&out, " ", 1);
        wn_text_append(&out, text->data + at, 1);
        if (apart)
            wn_text_append(&out, " ", 1);
    }
    wn_text_release(text);
    *text = out;
    part_pairs(text, is_stop_behind, true);
    part_pairs(text, is_stop_before, false);
    part_pairs(text, is_dash_behind, true);
}

/* ---- Chinese ---- */

/*
 * The characters that sacreBLEU calls Chinese. Its table writes those beyond U+FFFF with four digits, so that the range
 * of extension B begins at U+2001 and ends at U+2A6D: general punctuation, arrows and symbols are parted, and the rare
 * characters meant are not. Scores are to be those of sacreBLEU.
 */
static bool is_chinese(uint32_t code)
{
    static const uint32_t ranges[][2] = {
        {0x2001, 0x2A6D}, {0x2E80, 0x2FDF}, {0x2FF0, 0x303F}, {0x3100, 0x312F}, {0x31A0, 0x31BF},
        {0x31C0, 0x31EF}, {0x3200, 0x33FF}, {0x3400, 0x4DB5}, {0x4E00, 0x9FBB}, {0xF900, 0xFA2D},
        {0xFA30, 0xFA6A}, {0xFA70, 0xFAD9}, {0xFE10, 0xFE1F}, {0xFE30, 0xFE4F}, {0xFF00, 0xFFEF},
    };

    return text_in_ranges(code, ranges, sizeof(ranges) / sizeof(ranges[0]));
}

/* Spaces around every character, or around the Chinese ones. */
static void part_characters(struct wn_chars text, bool all, struct wn_text *out)
{
    for (size_t at = 0; at < text.length;) {
        size_t start = at;
        bool apart = is_chinese(text_next_code(text, &at)) || all;
        if (apart)
            wn_text_append(out, " ", 1);
        wn_text_append(out, text.data + start, at - start);
        if (apart)
            wn_text_append(out, " ", 1);
    }
}

/* ---- tokenizers ---- */

static void tokenize_13a(struct wn_chars text, struct wn_text *out)
{
    wn_text_append(out, text.data, text.length);
    replace(out, "<skipped>", "");
    replace(out, "-\n", "");
    replace(out, "\n", " ");
    replace(out, "&quot;", "\"");
    replace(out, "&amp;", "&");
    replace(out, "&lt;", "<");
    replace(out, "&gt;", ">");
    struct wn_text spaced = {0};
    wn_text_append(&spaced, " ", 1);
    if (out->length > 0)
        wn_text_append(&spaced, out->data, out->length);
    wn_text_append(&spaced, " ", 1);
    wn_text_release(out);
    *out = spaced;
    part_punctuation(out);
}

/* str.rstrip(). */
static struct wn_chars without_end(struct wn_chars text)
{
    struct wn_chars trimmed = wn_trim(text);

    return (struct wn_chars){text.data, trimmed.length ? (size_t)(trimmed.data - text.data) + trimmed.length : 0};
}

void wn_bleu_tokenize(enum wn_bleu_tokenizer tokenizer, struct wn_chars text, struct wn_words *words)
{
    struct wn_text out = {0};

    text = without_end(text);
    switch (tokenizer) {
    case WN_BLEU_13A:
        tokenize_13a(text, &out);
        break;
    case WN_BLEU_ZH:
        part_characters(wn_trim(text), false, &out);
        part_punctuation(&out);
        break;
    case WN_BLEU_CHAR:
        part_characters(text, true, &out);
        break;
    case WN_BLEU_NONE:
    case WN_BLEU_TOKENIZERS:
        wn_text_append(&out, text.data, text.length);
        break;
    }
    wn_words_split(text_chars(&out), words);
    wn_text_release(&out);
}
