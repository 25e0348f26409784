/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of outputs and checks of constraints. */
#include "text_impl.h"

/* ---- filters ---- */

wn_status wn_filter_init_regex(struct wn_filter *filter, const char *where, const char *pattern, int64_t group,
                               bool last)
{
    *filter = (struct wn_filter){.kind = WN_FILTER_REGEX, .group = group, .last = last};
    WN_TRY(wn_regex_compile(where, pattern, &filter->regex));
    int64_t groups = wn_regex_groups(filter->regex);
    if (group >= 0 && group <= groups)
        return WN_OK;
    wn_filter_release(filter);
    return wn_fail(WN_ERR_INPUT, "%s: group %lld of the regular expression \"%s\", which has %lld", where,
                   (long long)group, pattern, (long long)groups);
}

void wn_filter_release(struct wn_filter *filter)
{
    wn_regex_free(&filter->regex);
    *filter = (struct wn_filter){0};
}

static struct wn_chars first_line(struct wn_chars text)
{
    const char *newline = text.length > 0 ? memchr(text.data, '\n', text.length) : NULL;

    return (struct wn_chars){text.data, newline ? (size_t)(newline - text.data) : text.length};
}

wn_status wn_filter_apply(const struct wn_filter *filter, struct wn_chars text, struct wn_chars *piece)
{
    bool found = true;

    *piece = text;
    switch (filter->kind) {
    case WN_FILTER_NONE:
        return WN_OK;
    case WN_FILTER_STRIP:
        break;
    case WN_FILTER_FIRST_LINE:
        *piece = first_line(text);
        break;
    case WN_FILTER_REGEX:
        WN_TRY(wn_regex_pick(filter->regex, text, filter->group, filter->last, &found, piece));
        break;
    }
    *piece = found ? wn_trim(*piece) : wn_chars_of("[invalid]");
    return WN_OK;
}

/* ---- checks ---- */

void wn_check_release(struct wn_check *check)
{
    wn_regex_free(&check->regex);
    wn_instruction_release(&check->instruction);
    wn_free(check->text);
    *check = (struct wn_check){0};
}

static int64_t count_words(struct wn_chars text)
{
    struct wn_chars word;
    int64_t count = 0;

    while (wn_next_word(&text, &word))
        count++;
    return count;
}

static bool is_in(uint32_t code, const uint32_t *codes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (codes[i] == code)
            return true;
    return false;
}

/* The last character, but for closing quotes and brackets, ends a sentence. */
static bool ends_sentence(struct wn_chars text)
{
    static const uint32_t closing[] = {'"', '\'', ')', ']', '}', '*', 0xBB, 0x2019, 0x201D, 0x300D, 0x300F, 0xFF09};
    static const uint32_t ends[] = {'.', '!', '?', 0x2026, 0x3002, 0xFF01, 0xFF0E, 0xFF1F, 0xFF61};

    text = wn_trim(text);
    for (size_t at = text.length; at > 0;) {
        uint32_t code = text_previous_code(text, &at);
        if (is_in(code, ends, sizeof(ends) / sizeof(ends[0])))
            return true;
        if (!is_in(code, closing, sizeof(closing) / sizeof(closing[0])))
            return false;
    }
    return false;
}

wn_status wn_check_apply(const struct wn_check *check, struct wn_chars text, bool *passes)
{
    *passes = false;
    switch (check->kind) {
    case WN_CHECK_MAX_WORDS:
        *passes = count_words(text) <= check->words;
        break;
    case WN_CHECK_MIN_WORDS:
        *passes = count_words(text) >= check->words;
        break;
    case WN_CHECK_REGEX:
        return wn_regex_search(check->regex, text, passes);
    case WN_CHECK_EQUALS:
        *passes = text_equal(wn_trim(text), wn_trim(wn_chars_of(check->text)));
        break;
    case WN_CHECK_SENTENCE_END:
        *passes = ends_sentence(text);
        break;
    case WN_CHECK_NOT_EMPTY:
        *passes = wn_trim(text).length > 0;
        break;
    case WN_CHECK_INSTRUCTION:
        return wn_instruction_followed(&check->instruction, text, passes);
    }
    return WN_OK;
}
