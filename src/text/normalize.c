/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Normalisation of answers.
 *
 * The order of the steps is part of each definition: SQuAD deletes punctuation before it looks for articles ("a-team"
 * becomes "ateam"), TriviaQA puts a space in its place ("a-team" becomes "team").
 */
#include "text_impl.h"

enum wn_normalization wn_normalization_find(const char *key)
{
    static const char *const keys[] = {
#define X(name, key, help) key,
        WN_NORMALIZATION_LIST(X)
#undef X
    };

    return (enum wn_normalization)text_find_key(keys, WN_NORMALIZATIONS, key);
}

void wn_normalizer_init(struct wn_normalizer *normalizer, enum wn_normalization kind)
{
    *normalizer = (struct wn_normalizer){.kind = kind};
    if ((kind == WN_NORMALIZE_SQUAD || kind == WN_NORMALIZE_TRIVIAQA) &&
        wn_regex_compile("articles", "\\b(?:a|an|the)\\b", &normalizer->articles) != WN_OK)
        WN_BUG("%s", wn_error_message());
}

void wn_normalizer_release(struct wn_normalizer *normalizer)
{
    for (int64_t i = 0; i < normalizer->n_ignore; i++)
        wn_regex_free(&normalizer->ignore[i]);
    wn_free(normalizer->ignore);
    wn_regex_free(&normalizer->articles);
    *normalizer = (struct wn_normalizer){0};
}

wn_status wn_normalizer_ignore(struct wn_normalizer *normalizer, const char *where, const char *pattern)
{
    struct wn_regex *regex;

    WN_TRY(wn_regex_compile(where, pattern, &regex));
    normalizer->ignore = wn_resize(normalizer->ignore, normalizer->n_ignore + 1, sizeof(*normalizer->ignore));
    normalizer->ignore[normalizer->n_ignore++] = regex;
    return WN_OK;
}

/* A step takes a text and appends to a new one. Swaps the two and empties the new one. */
static void swap_texts(struct wn_text *text, struct wn_text *next)
{
    struct wn_text old = *text;

    *text = *next;
    *next = old;
    next->length = 0;
}

static void lower(struct wn_text *text, struct wn_text *next)
{
    wn_lower(text_chars(text), next);
    swap_texts(text, next);
}

static bool is_space_byte(char byte)
{
    return byte == ' ';
}

/* Deletes bytes of a kind (`by` 0) or puts another in their place. ASCII only, so UTF-8 stays whole. */
static void replace_bytes(struct wn_text *text, bool (*of_kind)(char), char by)
{
    size_t kept = 0;

    for (size_t i = 0; i < text->length; i++) {
        bool replaced = of_kind(text->data[i]);
        if (!replaced || by)
            text->data[kept++] = replaced ? by : text->data[i];
    }
    text->length = kept;
}

static wn_status harness(const struct wn_normalizer *normalizer, struct wn_text *text, struct wn_text *next)
{
    for (int64_t i = 0; i < normalizer->n_ignore; i++) {
        WN_TRY(wn_regex_replace(normalizer->ignore[i], text_chars(text), "", next));
        swap_texts(text, next);
    }
    if (normalizer->ignore_case)
        lower(text, next);
    if (normalizer->ignore_punctuation)
        replace_bytes(text, text_is_punctuation, '\0');
    if (normalizer->ignore_numbers)
        replace_bytes(text, text_is_digit, '\0');
    return WN_OK;
}

/* The quotes TriviaQA counts as punctuation: U+2018, U+2019, U+00B4 (the fourth, U+0060, is ASCII). */
static void spaces_for_quotes(struct wn_text *text, struct wn_text *next)
{
    for (size_t at = 0; at < text->length;) {
        size_t start = at;
        uint32_t code = text_next_code(text_chars(text), &at);
        bool quote = code == 0x2018 || code == 0x2019 || code == 0xB4;
        wn_text_append(next, quote ? " " : text->data + start, quote ? 1 : at - start);
    }
    swap_texts(text, next);
}

/* Articles to a space, then words joined by one space. */
static wn_status without_articles(const struct wn_normalizer *normalizer, struct wn_text *text, struct wn_text *next)
{
    struct wn_chars rest, word;

    WN_TRY(wn_regex_replace(normalizer->articles, text_chars(text), " ", next));
    swap_texts(text, next);
    rest = text_chars(text);
    while (wn_next_word(&rest, &word)) {
        if (next->length > 0)
            wn_text_append(next, " ", 1);
        wn_text_append(next, word.data, word.length);
    }
    swap_texts(text, next);
    return WN_OK;
}

static wn_status run_steps(const struct wn_normalizer *normalizer, struct wn_text *text, struct wn_text *next)
{
    switch (normalizer->kind) {
    case WN_NORMALIZE_HARNESS:
        return harness(normalizer, text, next);
    case WN_NORMALIZE_SQUAD:
        lower(text, next);
        replace_bytes(text, text_is_punctuation, '\0');
        return without_articles(normalizer, text, next);
    case WN_NORMALIZE_TRIVIAQA:
        lower(text, next);
        replace_bytes(text, text_is_punctuation, ' '); /* the underscore is one of them */
        spaces_for_quotes(text, next);
        return without_articles(normalizer, text, next);
    case WN_NORMALIZE_LLM_KICK:
        lower(text, next);
        replace_bytes(text, is_space_byte, '\0');
        return WN_OK;
    default:
        return WN_OK;
    }
}

wn_status wn_normalize(const struct wn_normalizer *normalizer, struct wn_chars text, struct wn_text *out)
{
    struct wn_text now = {0}, next = {0};

    wn_text_append(&now, text.data, text.length);
    wn_status status = run_steps(normalizer, &now, &next);
    if (status == WN_OK)
        wn_text_append(out, text_chars(&now).data, now.length);
    wn_text_release(&now);
    wn_text_release(&next);
    return status;
}
