/* SPDX-License-Identifier: Apache-2.0 */
/* Answers against references: exact match, relaxed match, containment, token F1, labels and numbers named. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "text_impl.h"

#include <math.h>
#include <stdlib.h>

static wn_status prepare(const struct wn_normalizer *normalizer, struct wn_chars text, struct wn_reference *item)
{
    *item = (struct wn_reference){0};
    WN_TRY(wn_normalize(normalizer, text, &item->text));
    wn_lower(text_chars(&item->text), &item->lower);
    wn_words_split(text_chars(&item->text), &item->words);
    return WN_OK;
}

static void release(struct wn_reference *item)
{
    wn_text_release(&item->text);
    wn_text_release(&item->lower);
    wn_words_release(&item->words);
}

wn_status wn_references_init(struct wn_references *references, const struct wn_normalizer *normalizer,
                             const struct wn_chars *texts, int64_t count)
{
    *references = (struct wn_references){.items = wn_alloc(count, sizeof(struct wn_reference))};
    for (; references->count < count; references->count++) {
        wn_status status = prepare(normalizer, texts[references->count], &references->items[references->count]);
        if (status != WN_OK) {
            wn_references_release(references);
            return status;
        }
    }
    return WN_OK;
}

void wn_references_release(struct wn_references *references)
{
    for (int64_t i = 0; i < references->count; i++)
        release(&references->items[i]);
    wn_free(references->items);
    *references = (struct wn_references){0};
}

static double token_f1(const struct wn_words *prediction, const struct wn_words *reference)
{
    if (prediction->count == 0 || reference->count == 0)
        return prediction->count == reference->count ? 1.0 : 0.0;
    const struct wn_words *lists[] = {prediction, reference};
    int32_t *ids[] = {wn_alloc(prediction->count, sizeof(int32_t)), wn_alloc(reference->count, sizeof(int32_t))};
    int64_t different = wn_words_number(lists, 2, ids);
    double common = (double)text_common(ids[0], prediction->count, ids[1], reference->count, different);

    wn_free(ids[0]);
    wn_free(ids[1]);
    return text_f_measure(common / (double)prediction->count, common / (double)reference->count);
}

static void keep_larger(double *best, double score)
{
    *best = score > *best ? score : *best;
}

/* ---- labels and numbers that an answer names ---- */

/* White space, ASCII punctuation, and the punctuation of Latin-1, the general block, and Chinese and wide texts. */
static bool is_boundary(uint32_t code)
{
    static const uint32_t ranges[][2] = {{0xA1, 0xA1},     {0xA7, 0xA7},     {0xAB, 0xAB},     {0xB6, 0xB7},
                                         {0xBB, 0xBB},     {0xBF, 0xBF},     {0x2010, 0x2027}, {0x2030, 0x205E},
                                         {0x3001, 0x3003}, {0x3008, 0x3011}, {0x3014, 0x301F}, {0xFF01, 0xFF0F},
                                         {0xFF1A, 0xFF20}, {0xFF3B, 0xFF3D}, {0xFF5B, 0xFF65}};

    if (code < 0x80)
        return text_is_punctuation((char)code) || text_is_space(code);
    return text_in_ranges(code, ranges, sizeof(ranges) / sizeof(ranges[0])) || text_is_space(code);
}

/* The first place where `part` stands is a word of its own. */
static bool names_word(struct wn_chars text, struct wn_chars part)
{
    const char *found = memmem(text.data, text.length, part.data, part.length);

    if (!found || part.length == 0)
        return false;
    size_t start = (size_t)(found - text.data), end = start + part.length;
    if (start > 0 && !is_boundary(text_previous_code(text, &start)))
        return false;
    return end == text.length || is_boundary(text_next_code(text, &end));
}

static bool is_digit(struct wn_chars text, size_t at)
{
    return at < text.length && text_is_digit(text.data[at]);
}

static size_t behind_digits(struct wn_chars text, size_t at)
{
    while (is_digit(text, at))
        at++;
    return at;
}

/* A comma and three digits, no more. */
static bool is_group(struct wn_chars text, size_t at)
{
    return at < text.length && text.data[at] == ',' && behind_digits(text, at + 1) == at + 4;
}

/* The next number at or behind *at: digits, in front of a comma in groups of three, a fraction; *at moves behind it. */
static bool next_number(struct wn_chars text, size_t *at, double *value)
{
    char digits[64] = "";
    size_t n = 0, i = *at;

    while (i < text.length && !is_digit(text, i) && !(text.data[i] == '.' && is_digit(text, i + 1)))
        i++;
    if (i == text.length)
        return false;
    bool negative = i > 0 && text.data[i - 1] == '-';
    size_t first = i;
    i = behind_digits(text, i);
    for (bool grouped = i > first && i - first <= 3; grouped && is_group(text, i);)
        i += 4;
    if (i + 1 < text.length && text.data[i] == '.' && is_digit(text, i + 1))
        i = behind_digits(text, i + 1);
    for (size_t k = first; k < i && n + 1 < sizeof(digits); k++)
        if (text.data[k] != ',')
            digits[n++] = text.data[k];
    *value = strtod(digits, NULL) * (negative ? -1 : 1);
    *at = i;
    return true;
}

/* One of the numbers of the answer is that of the reference. */
static bool names_number(struct wn_chars text, struct wn_chars reference)
{
    size_t at = 0, start = 0;
    double wanted, value;

    if (!next_number(reference, &start, &wanted))
        return false;
    while (next_number(text, &at, &value))
        if (fabs(value - wanted) <= 1e-4)
            return true;
    return false;
}

static void score_one(const struct wn_reference *prediction, const struct wn_reference *reference,
                      struct wn_answer_scores *best)
{
    struct wn_chars given = text_chars(&prediction->text), wanted = text_chars(&reference->text);
    bool both = given.length > 0 && wanted.length > 0;

    keep_larger(&best->exact_match, text_equal(given, wanted));
    keep_larger(&best->em_relaxed, both && (text_contains(given, wanted) || text_contains(wanted, given)));
    keep_larger(&best->contains, both && text_contains(text_chars(&prediction->lower), text_chars(&reference->lower)));
    keep_larger(&best->contains_word, names_word(text_chars(&prediction->lower), text_chars(&reference->lower)));
    keep_larger(&best->contains_number, names_number(given, wanted));
    keep_larger(&best->f1, token_f1(&prediction->words, &reference->words));
}

wn_status wn_references_score(const struct wn_references *references, const struct wn_normalizer *normalizer,
                              struct wn_chars prediction, struct wn_answer_scores *scores)
{
    struct wn_reference given;
    wn_status status = prepare(normalizer, prediction, &given);

    *scores = (struct wn_answer_scores){0};
    if (status == WN_OK)
        for (int64_t i = 0; i < references->count; i++)
            score_one(&given, &references->items[i], scores);
    release(&given);
    return status;
}
