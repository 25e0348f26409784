/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions written for Python's re (pattern.c translates them), run by PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text_impl.h"

struct wn_regex {
    pcre2_code *code;
    char *pattern; /* as given; owned */
};

/* ---- compiling ---- */

/* NEWLINE_LF and ALT_CIRCUMFLEX: "." and "^" of several lines as in Python, however PCRE2 was built. */
static wn_status compile(const char *where, const char *pattern, const struct wn_text *translated, pcre2_code **code)
{
    int error;
    PCRE2_SIZE offset;
    char message[256] = "";
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);

    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    *code =
        pcre2_compile((PCRE2_SPTR)translated->data, translated->length,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_ALT_CIRCUMFLEX | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (*code)
        return WN_OK;
    pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof(message));
    return wn_fail(WN_ERR_INPUT, "%s: the regular expression \"%s\": %s", where, pattern, message);
}

wn_status wn_regex_compile(const char *where, const char *pattern, struct wn_regex **regex)
{
    struct wn_text translated;
    pcre2_code *code = NULL;
    wn_status status = text_translate_pattern(where, pattern, &translated);

    *regex = NULL;
    if (status == WN_OK)
        status = compile(where, pattern, &translated, &code);
    wn_text_release(&translated);
    if (status != WN_OK)
        return status;
    *regex = wn_alloc(1, sizeof(**regex));
    **regex = (struct wn_regex){code, wn_strdup(pattern)};
    return WN_OK;
}

void wn_regex_free(struct wn_regex **regex)
{
    if (!*regex)
        return;
    pcre2_code_free((*regex)->code);
    wn_free((*regex)->pattern);
    wn_free(*regex);
    *regex = NULL;
}

int64_t wn_regex_groups(const struct wn_regex *regex)
{
    uint32_t groups = 0;

    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    return groups;
}

/* ---- matching ---- */

/* The matches of a text from left to right, as re.finditer yields them. */
struct matches {
    const struct wn_regex *regex;
    struct wn_chars text;
    pcre2_match_data *data; /* owned */
    const PCRE2_SIZE *ends; /* start and end of the match, then of the groups */
    size_t at;
    bool checked, after_empty;
};

static struct matches matches_of(const struct wn_regex *regex, struct wn_chars text)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(regex->code, NULL);

    return (struct matches){.regex = regex,
                            .text = text.length > 0 ? text : wn_chars_of(""), /* not NULL */
                            .data = data,
                            .ends = data ? pcre2_get_ovector_pointer(data) : NULL};
}

/*
 * A match may be empty and follow another one directly, but two empty ones do not share a place: behind an empty match
 * the next has a character, or stands further on.
 */
static wn_status next_match(struct matches *matches, bool *found)
{
    uint32_t options =
        (matches->checked ? PCRE2_NO_UTF_CHECK : 0) | (matches->after_empty ? PCRE2_NOTEMPTY_ATSTART : 0);

    *found = false;
    if (!matches->data)
        return wn_fail(WN_ERR_MEMORY, "no memory for the matches of \"%s\"", matches->regex->pattern);
    int count = pcre2_match(matches->regex->code, (PCRE2_SPTR)matches->text.data, matches->text.length, matches->at,
                            options, matches->data, NULL);
    if (count == PCRE2_ERROR_NOMATCH)
        return WN_OK;
    if (count < 0) {
        char message[256] = "";
        pcre2_get_error_message(count, (PCRE2_UCHAR *)message, sizeof(message));
        return wn_fail(WN_ERR_INPUT, "the regular expression \"%s\" gives up on a text of %zu bytes: %s",
                       matches->regex->pattern, matches->text.length, message);
    }
    *found = matches->checked = true;
    matches->after_empty = matches->ends[0] == matches->ends[1];
    matches->at = matches->ends[1];
    return WN_OK;
}

wn_status wn_regex_search(const struct wn_regex *regex, struct wn_chars text, bool *found)
{
    struct matches matches = matches_of(regex, text);
    wn_status status = next_match(&matches, found);

    pcre2_match_data_free(matches.data);
    return status;
}

wn_status text_count_matches(const struct wn_regex *regex, struct wn_chars text, int64_t *count)
{
    struct matches matches = matches_of(regex, text);
    bool found = false;
    wn_status status;

    *count = 0;
    while ((status = next_match(&matches, &found)) == WN_OK && found)
        ++*count;
    pcre2_match_data_free(matches.data);
    return status;
}

wn_status wn_regex_replace(const struct wn_regex *regex, struct wn_chars text, const char *by, struct wn_text *out)
{
    struct matches matches = matches_of(regex, text);
    size_t start = out->length, behind = 0;
    bool found = false;
    wn_status status;

    while ((status = next_match(&matches, &found)) == WN_OK && found) {
        wn_text_append(out, matches.text.data + behind, matches.ends[0] - behind);
        wn_text_append(out, by, strlen(by));
        behind = matches.ends[1];
    }
    if (status == WN_OK)
        wn_text_append(out, matches.text.data + behind, matches.text.length - behind);
    else if (out->data)
        out->data[out->length = start] = '\0';
    pcre2_match_data_free(matches.data);
    return status;
}

/* The piece of the current match that wn_regex_pick takes; false when all groups it could be are empty. */
static bool piece_of(const struct matches *matches, int64_t group, struct wn_chars *piece)
{
    int64_t groups = wn_regex_groups(matches->regex), chosen = group;

    if (group == 0 && groups > 0) {
        chosen = 1;
        while (chosen < groups && matches->ends[2 * chosen] == matches->ends[2 * chosen + 1])
            chosen++;
    }
    size_t start = matches->ends[2 * chosen], end = matches->ends[2 * chosen + 1];
    bool empty = start == PCRE2_UNSET || start == end;
    *piece = empty ? wn_chars_of("") : (struct wn_chars){matches->text.data + start, end - start};
    return !(empty && group == 0 && groups > 1);
}

wn_status wn_regex_pick(const struct wn_regex *regex, struct wn_chars text, int64_t group, bool last, bool *found,
                        struct wn_chars *piece)
{
    struct matches matches = matches_of(regex, text);
    bool more;
    wn_status status;

    *found = false;
    *piece = wn_chars_of("");
    while ((status = next_match(&matches, &more)) == WN_OK && more) {
        *found = piece_of(&matches, group, piece);
        if (!last)
            break;
    }
    pcre2_match_data_free(matches.data);
    return status;
}
