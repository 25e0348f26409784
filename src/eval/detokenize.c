/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WikiText page in ordinary spelling: the replacements of the harness in its order. One
 * of its rules, a regular expression between literal slashes, never matches ordinary text and is left out.
 */
#include "protocol.h"

#include <string.h>

/* Replaces every occurrence, from left to right. */
static void replace(struct wn_text *text, const char *old, const char *new)
{
    struct wn_text out = {0};
    const char *at = text->data, *found;

    while ((found = strstr(at, old))) {
        wn_text_append(&out, at, (size_t)(found - at));
        wn_text_append(&out, new, strlen(new));
        at = found + strlen(old);
    }
    wn_text_append(&out, at, strlen(at));
    wn_text_release(text);
    *text = out;
}

/* Removes white space next to both ends inside open ... close; text behind the last closed pair stays as it is. */
static void trim_inside(struct wn_text *text, char open, char close)
{
    struct wn_text out = {0};
    const char *at = text->data, *first, *last;

    while ((first = strchr(at, open)) && (last = strchr(first + 1, close))) {
        const char *inner = first + 1;
        int64_t step;
        wn_text_append(&out, at, (size_t)(inner - at));
        while ((step = wn_space_at(inner, last - inner)) > 0)
            inner += step;
        wn_text_append(&out, inner, (size_t)wn_trimmed_length(inner, last - inner));
        wn_text_append(&out, last, 1);
        at = last + 1;
    }
    wn_text_append(&out, at, strlen(at));
    wn_text_release(text);
    *text = out;
}

void wn_detokenize_wikitext(const char *page, int64_t length, struct wn_text *text)
{
    static const char *const first[][2] = {
        {"s '", "s'"}, {" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}, {" : ", ": "},
        {" ; ", "; "}, {" . ", ". "},  {" ! ", "! "},  {" ? ", "? "},  {" , ", ", "},
    };
    static const char pairs[][2] = {{'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}};
    static const char *const last[][2] = {
        {"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="},  {" \xc2\xb0 ", "\xc2\xb0"},
        {" \n", "\n"},       {"\n ", "\n"},    {" N ", " 1 "}, {" 's", "'s"},
    };
    struct wn_text page_text = {0};

    wn_text_append(&page_text, page, (size_t)length);
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        replace(&page_text, first[i][0], first[i][1]);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        trim_inside(&page_text, pairs[i][0], pairs[i][1]);
    for (size_t i = 0; i < sizeof last / sizeof last[0]; i++)
        replace(&page_text, last[i][0], last[i][1]);
    wn_text_append(text, page_text.data, page_text.length);
    wn_text_release(&page_text);
}
