/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns of tokenizer.json: literal strings, and regular expressions written for Oniguruma and run by PCRE2.
 *
 * The two engines differ in the Unicode classes (PCRE2's \s counts U+180E, its \w knows no marks), in some escapes and
 * in the meaning of flags. So a pattern is translated: classes are spelt out, what means the same is passed through,
 * and whatever else is refused rather than matched in another way.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer_impl.h"

/* White_Space, and Oniguruma's word characters (with the numbers of Latin-1), as the inside of a class. */
#define SPACE_CLASS                                                                                                    \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACE_CLASS                                                                                                \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-"          \
    "\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define WORD_CLASS TOK_WORD_CLASS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

/*
 * What one match may take before the text is refused: a pattern may need time that is exponential in the text. Those of
 * real tokenizers take a few steps for each character of their match.
 */
enum { MOST_STEPS = 50 * 1000 * 1000, MOST_KIBIBYTES = 1 << 20 };

struct translation {
    const char *where; /* starts the messages */
    const char *regex;
    size_t at;
    int depth; /* open classes; inner ones are written into the outer one, which has their members too */
    bool in_class;
    struct wn_text out;
};

static wn_status refuse(const struct translation *translation, const char *what)
{
    return wn_fail(WN_ERR_UNSUPPORTED,
                   "%s: the regular expression \"%s\" uses %s at offset %zu, which is not supported",
                   translation->where, translation->regex, what, translation->at);
}

static void put(struct translation *translation, const char *text)
{
    wn_text_append(&translation->out, text, strlen(text));
}

static void put_class(struct translation *translation, const char *members, bool negated)
{
    bool bare = translation->in_class;

    wn_text_printf(&translation->out, "%s%s%s", bare ? "" : negated ? "[^" : "[", members, bare ? "" : "]");
}

/* Copies \x41, \x{41}, \u0041, \p{..} or \pL; `at` stands behind the letter. */
static wn_status copy_braced(struct translation *translation, char letter)
{
    const char *rest = translation->regex + translation->at;
    size_t length = 0;

    if (*rest == '{') {
        const char *end = strchr(rest, '}');
        if (!end)
            return refuse(translation, "a brace that is not closed");
        length = (size_t)(end - rest) + 1;
        wn_text_printf(&translation->out, "\\%c%.*s", letter, (int)length, rest);
    } else if (letter == 'u') {
        length = strspn(rest, "0123456789abcdefABCDEF");
        if (length < 4)
            return refuse(translation, "\\u without four digits");
        length = 4;
        wn_text_printf(&translation->out, "\\x{%.4s}", rest);
    } else if (letter == 'x') {
        length = strspn(rest, "0123456789abcdefABCDEF");
        length = length > 2 ? 2 : length;
        wn_text_printf(&translation->out, "\\x{%.*s}", (int)length, length ? rest : "0");
    } else {
        return refuse(translation, "\\p without braces");
    }
    translation->at += length;
    return WN_OK;
}

static wn_status translate_escape(struct translation *translation)
{
    char letter = translation->regex[++translation->at];

    if (letter == '\0')
        return refuse(translation, "a backslash at the end");
    if (letter == 'S' && translation->in_class) {
        translation->at++;
        put(translation, NOT_SPACE_CLASS);
        return WN_OK;
    }
    if (letter == 'W' && translation->in_class)
        return refuse(translation, "\\W inside a class");
    translation->at++;
    switch (letter) {
    case 's':
    case 'S':
        put_class(translation, SPACE_CLASS, letter == 'S');
        return WN_OK;
    case 'w':
    case 'W':
        put_class(translation, WORD_CLASS, letter == 'W');
        return WN_OK;
    case 'd':
        put(translation, "\\p{Nd}");
        return WN_OK;
    case 'D':
        put(translation, "\\P{Nd}");
        return WN_OK;
    case 'v':
        put(translation, "\\x{b}");
        return WN_OK;
    case 'p':
    case 'P':
    case 'x':
    case 'u':
        return copy_braced(translation, letter);
    }
    bool letter_or_digit = (letter >= '0' && letter <= '9') || ((letter | 0x20) >= 'a' && (letter | 0x20) <= 'z');
    if (letter_or_digit && !strchr("nrtfaeAz", letter)) {
        translation->at -= 2;
        return refuse(translation, "an escape of that meaning");
    }
    wn_text_printf(&translation->out, "\\%c", letter);
    return WN_OK;
}

/* After "(?": the groups both engines share, or flags, of which only i means the same. */
static wn_status check_group(struct translation *translation)
{
    const char *rest = translation->regex + translation->at + 2;

    if (strchr(":=!>", *rest) && *rest)
        return WN_OK;
    if (*rest == '<' && (rest[1] == '=' || rest[1] == '!'))
        return WN_OK;
    size_t flags = strspn(rest, "i-");
    if (flags > 0 && (rest[flags] == ':' || rest[flags] == ')'))
        return WN_OK;
    return refuse(translation, "a group of that kind");
}

/* {n,m} followed by + is greedy repetition of the repetition in Oniguruma, and {n}? an optional one. */
static wn_status copy_interval(struct translation *translation)
{
    const char *start = translation->regex + translation->at;
    size_t digits = strspn(start + 1, "0123456789,");
    bool closed = start[1 + digits] == '}';

    if (digits == 0 || !closed || start[1] == ',')
        return refuse(translation, "a brace that is no interval");
    if (start[2 + digits] == '+' || (start[2 + digits] == '?' && !memchr(start, ',', digits + 1)))
        return refuse(translation, "a quantifier behind an interval");
    wn_text_append(&translation->out, start, digits + 2);
    translation->at += digits + 2;
    return WN_OK;
}

/* [:alpha:] and the like, as Oniguruma has them for Unicode. */
static const struct {
    const char *name, *members;
} posix_classes[] = {
    {"[:alpha:]", "\\p{Alphabetic}"}, {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
    {"[:digit:]", "\\p{Nd}"},         {"[:lower:]", "\\p{Lowercase}"},
    {"[:upper:]", "\\p{Uppercase}"},  {"[:punct:]", "\\p{P}$+<=>^`|~"},
    {"[:space:]", SPACE_CLASS},       {"[:blank:]", "\\p{Zs}\\x{9}"},
    {"[:cntrl:]", "\\p{Cc}"},         {"[:word:]", WORD_CLASS},
    {"[:xdigit:]", "0-9a-fA-F"},      {"[:ascii:]", "\\x{0}-\\x{7f}"},
};

/* A class inside a class: its members are members of the outer one. */
static wn_status translate_inner(struct translation *translation)
{
    const char *rest = translation->regex + translation->at;

    for (size_t i = 0; i < sizeof posix_classes / sizeof *posix_classes; i++) {
        size_t length = strlen(posix_classes[i].name);
        if (strncmp(rest, posix_classes[i].name, length) == 0) {
            put(translation, posix_classes[i].members);
            translation->at += length;
            return WN_OK;
        }
    }
    if (rest[1] == ':' || rest[1] == '^' || rest[1] == ']')
        return refuse(translation, "a class of that kind inside a class");
    translation->depth++;
    translation->at++;
    return WN_OK;
}

static wn_status translate_in_class(struct translation *translation)
{
    const char *rest = translation->regex + translation->at;

    if (*rest == '[')
        return translate_inner(translation);
    if (rest[0] == '&' && rest[1] == '&')
        return refuse(translation, "an intersection of classes");
    translation->depth -= *rest == ']';
    if (*rest != ']' || translation->depth == 0)
        wn_text_append(&translation->out, rest, 1);
    translation->in_class = translation->depth > 0;
    translation->at++;
    return WN_OK;
}

static wn_status translate_outside(struct translation *translation)
{
    const char *rest = translation->regex + translation->at;

    if (rest[0] == '(' && rest[1] == '?')
        WN_TRY(check_group(translation));
    if (rest[0] == '(' && rest[1] == '*')
        return refuse(translation, "a verb");
    if (*rest == '{')
        return copy_interval(translation);
    if (*rest == '[') {
        size_t caret = rest[1] == '^';
        if (rest[1 + caret] == ']')
            return refuse(translation, "an empty class");
        wn_text_append(&translation->out, rest, 1 + caret);
        translation->in_class = true;
        translation->depth = 1;
        translation->at += 1 + caret;
        return WN_OK;
    }
    wn_text_append(&translation->out, rest, 1);
    translation->at++;
    return WN_OK;
}

static wn_status translate(struct translation *translation)
{
    while (translation->regex[translation->at]) {
        if (translation->regex[translation->at] == '\\')
            WN_TRY(translate_escape(translation));
        else if (translation->in_class)
            WN_TRY(translate_in_class(translation));
        else
            WN_TRY(translate_outside(translation));
    }
    return WN_OK;
}

/* Whether a match may be empty or see what is before it. */
static bool looks_back(const pcre2_code *code, const char *translated)
{
    uint32_t behind = 0, empty = 0;

    pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &behind);
    pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty);
    for (const char *at = strchr(translated, '^'); at; at = strchr(at + 1, '^'))
        if (at == translated || at[-1] != '[') /* the start of a line */
            return true;
    return behind > 0 || empty > 0;
}

/*
 * Compiled with UCP, ^ and $ at lines as in Oniguruma, for the JIT where there is one (a failure only costs time). The
 * limits of PCRE2 are against hostile patterns; here they would only make a long run of letters fail.
 */
static wn_status compile(const char *where, const char *regex, const char *translated, struct tok_pattern *pattern)
{
    int error;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);

    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)translated, PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (!code) {
        char message[256] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof(message));
        return wn_fail(WN_ERR_INPUT, "%s: the regular expression \"%s\" cannot be read: %s", where, regex, message);
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(limits, MOST_STEPS);
    pcre2_set_depth_limit(limits, UINT32_MAX);
    pcre2_set_heap_limit(limits, MOST_KIBIBYTES);
    pattern->code = code;
    pattern->context = limits;
    pattern->streams = !looks_back(code, translated);
    return WN_OK;
}

wn_status tok_pattern_regex(const char *where, const char *regex, struct tok_pattern *pattern)
{
    struct translation translation = {.where = where, .regex = regex};
    wn_status status = translate(&translation);

    if (status == WN_OK)
        status = compile(where, regex, translation.out.data ? translation.out.data : "", pattern);
    wn_text_release(&translation.out);
    return status;
}

wn_status tok_pattern_literal(const char *where, const char *text, struct tok_pattern *pattern)
{
    if (!*text)
        return wn_fail(WN_ERR_INPUT, "%s: expected a string that is not empty", where);
    pattern->literal = wn_strdup(text);
    pattern->literal_length = strlen(text);
    pattern->streams = tok_single_code(text, pattern->literal_length, &(uint32_t){0});
    return WN_OK;
}

void tok_pattern_release(struct tok_pattern *pattern)
{
    wn_free(pattern->literal);
    pcre2_code_free(pattern->code);
    pcre2_match_context_free(pattern->context);
    memset(pattern, 0, sizeof(*pattern));
}

void tok_spans_release(struct tok_spans *spans)
{
    wn_free(spans->items);
    memset(spans, 0, sizeof(*spans));
}

static void add_span(struct tok_spans *spans, size_t start, size_t end, bool match)
{
    if (spans->count == spans->capacity) {
        spans->capacity = spans->capacity ? 2 * spans->capacity : 64;
        spans->items = wn_resize(spans->items, spans->capacity, sizeof(struct tok_span));
    }
    spans->items[spans->count++] = (struct tok_span){start, end, match};
}

static void add_match(struct tok_spans *spans, size_t previous, size_t start, size_t end)
{
    if (previous != start)
        add_span(spans, previous, start, false);
    add_span(spans, start, end, true);
}

static void find_literal(const struct tok_pattern *pattern, const char *text, size_t length, struct tok_spans *spans)
{
    size_t previous = 0;

    while (previous < length) {
        const char *found = memmem(text + previous, length - previous, pattern->literal, pattern->literal_length);
        if (!found)
            break;
        size_t start = (size_t)(found - text);
        add_match(spans, previous, start, start + pattern->literal_length);
        previous = start + pattern->literal_length;
    }
    if (previous < length)
        add_span(spans, previous, length, false);
}

/* One search from `at`. The JIT's stack is small and fixed: where it does not do, the interpreter takes over. */
static int search(const struct tok_pattern *pattern, const char *text, size_t length, size_t at, uint32_t options,
                  pcre2_match_data *data)
{
    options |= PCRE2_NO_UTF_CHECK;
    int found = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, at, options, data, pattern->context);

    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found =
            pcre2_match(pattern->code, (PCRE2_SPTR)text, length, at, options | PCRE2_NO_JIT, data, pattern->context);
    return found;
}

/* All matches from left to right; an empty one right behind the last match does not count. */
static int find_regex(const struct tok_pattern *pattern, const char *text, size_t length, struct tok_spans *spans)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(pattern->code, NULL);
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);
    size_t at = 0, previous = 0;
    bool any = false;
    int found = PCRE2_ERROR_NOMATCH;

    while (at <= length) {
        found = search(pattern, text, length, at, 0, data);
        if (found < 0)
            break;
        if (ends[0] == ends[1] && any && ends[0] == previous) {
            if (at >= length)
                break;
            tok_next_code(text, &at);
            continue;
        }
        add_match(spans, previous, ends[0], ends[1]);
        at = previous = ends[1];
        any = true;
    }
    if (previous < length)
        add_span(spans, previous, length, false);
    pcre2_match_data_free(data);
    return found < 0 && found != PCRE2_ERROR_NOMATCH ? found : 0;
}

wn_status tok_pattern_find(const struct tok_pattern *pattern, const char *text, size_t length, struct tok_spans *spans)
{
    spans->count = 0;
    if (length == 0)
        return WN_OK;
    if (pattern->literal) {
        find_literal(pattern, text, length, spans);
        return WN_OK;
    }
    int error = find_regex(pattern, text, length, spans);
    if (error == 0)
        return WN_OK;
    char message[256] = "";
    pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof(message));
    return wn_fail(WN_ERR_INPUT, "a regular expression of the tokenizer gave up on a text of %zu bytes: %s", length,
                   message);
}

/* ---- texts that go on ---- */

/* The next match from `at` on in text[0..length): 1 and its place, 0: none, -1: it may depend on what comes behind,
 * from *start on. */
static int find_next(const struct tok_pattern *pattern, const char *text, size_t length, size_t at,
                     pcre2_match_data *data, size_t *start, size_t *end)
{
    if (pattern->literal) {
        const char *found = memmem(text + at, length - at, pattern->literal, pattern->literal_length);
        *start = found ? (size_t)(found - text) : length;
        *end = *start + pattern->literal_length;
        return found != NULL;
    }
    int found = search(pattern, text, length, at, PCRE2_PARTIAL_HARD, data);
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);
    *start = found >= 0 || found == PCRE2_ERROR_PARTIAL ? ends[0] : found == PCRE2_ERROR_NOMATCH ? length : 0;
    *end = found >= 0 ? ends[1] : length;
    return found >= 0 ? 1 : found == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

static enum tok_cut find_cut(const struct tok_pattern *pattern, const char *text, size_t length, size_t cut,
                             pcre2_match_data *data, struct tok_spans *spans, size_t *next)
{
    size_t end = 0;

    for (size_t at = 0; at < cut; at = end) {
        int found = find_next(pattern, text, length, at, data, next, &end);
        if (*next > cut || (*next == cut && found > 0)) {
            add_span(spans, at, cut, false);
            return *next > cut ? TOK_CUT_OPEN : TOK_CUT_START;
        }
        if (found <= 0 || end > cut)
            return TOK_CUT_UNKNOWN;
        add_match(spans, at, *next, end);
    }
    return TOK_CUT_END;
}

enum tok_cut tok_pattern_find_open(const struct tok_pattern *pattern, const char *text, size_t length, size_t cut,
                                   struct tok_spans *spans, size_t *next)
{
    spans->count = 0;
    if (!pattern->streams)
        return TOK_CUT_UNKNOWN;
    pcre2_match_data *data = pattern->code ? pcre2_match_data_create_from_pattern(pattern->code, NULL) : NULL;
    enum tok_cut found = find_cut(pattern, text, length, cut, data, spans, next);
    pcre2_match_data_free(data);
    return found;
}
