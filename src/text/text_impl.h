/* SPDX-License-Identifier: Apache-2.0 */
/* text_impl.h: what the files of src/text share; private to them. */
#ifndef WINNOW_TEXT_IMPL_H
#define WINNOW_TEXT_IMPL_H

#include <winnow/text.h>

/* No code point: what a byte that is no UTF-8 decodes to. */
#define TEXT_NO_CODE UINT32_MAX

/* The code point at text.data[*at], *at < text.length, which is moved behind it. */
uint32_t text_next_code(struct wn_chars text, size_t *at);
/* The code point before text.data[*at], *at > 0, which is moved to its start. */
uint32_t text_previous_code(struct wn_chars text, size_t *at);
/* str.isspace() of one character. */
bool text_is_space(uint32_t code);
/* string.punctuation of Python. */
bool text_is_punctuation(char byte);
/* 0 to 9. */
bool text_is_digit(char byte);
/* Whether one of the ranges has a code point. */
bool text_in_ranges(uint32_t code, const uint32_t (*ranges)[2], size_t count);
/* The place of a key among `count`; `count` when it is none. */
int text_find_key(const char *const *keys, int count, const char *key);
/* Letters that str.lower() changes, and those that have a case and stay. */
void text_count_cases(struct wn_chars text, int64_t *upper, int64_t *lower);
/* Whether `text` holds `part`; every text holds the empty one. */
bool text_contains(struct wn_chars text, struct wn_chars part);

/* Writes for PCRE2 what `pattern` means to Python's re. `out` is set, and has to be released, after a failure too. */
wn_status text_translate_pattern(const char *where, const char *pattern, struct wn_text *out);

/* len(re.findall(...)). */
wn_status text_count_matches(const struct wn_regex *regex, struct wn_chars text, int64_t *count);
/* Whether it is one JSON value, as Python's json.loads takes it. */
bool text_is_json(struct wn_chars text);

static inline struct wn_chars text_chars(const struct wn_text *text)
{
    return (struct wn_chars){text->data ? text->data : "", text->length};
}

static inline bool text_equal(struct wn_chars a, struct wn_chars b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* Ids of one list. */
struct text_ids {
    const int32_t *data;
    int64_t count;
};

/*
 * Numbers the n-grams of several lists: grams[l][lists[l].count], of which the first text_gram_count(lists[l].count, n)
 * are set; equal n-grams get equal numbers from 0 on. Returns how many different ones there are. n >= 1.
 */
int64_t text_number_grams(const struct text_ids *lists, int64_t n_lists, int64_t n, int32_t *const *grams);

static inline int64_t text_gram_count(int64_t count, int64_t n)
{
    return count >= n ? count - n + 1 : 0;
}

/* Size of the intersection of two multisets of numbers in [0, n_numbers). */
int64_t text_common(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b, int64_t n_numbers);

/* 2PR/(P+R), 0 when P + R is 0. */
static inline double text_f_measure(double precision, double recall)
{
    return precision + recall > 0.0 ? 2.0 * precision * recall / (precision + recall) : 0.0;
}

#endif
