/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translation of regular expressions from Python's re to PCRE2.
 *
 * The engines differ in Unicode classes (white space; what \w knows depends on the version of PCRE2), in escapes, in
 * literal braces, and PCRE2 has constructs that Python has not. So a pattern is translated: classes are spelt out, what
 * means the same is passed through, what Python refuses is refused.
 */
#include "text_impl.h"

/* str.isspace and str.isalnum or '_', and what is outside them, as the inside of a class. */
#define SPACE                                                                                                          \
    "\\x{9}-\\x{d}\\x{1c}-\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"       \
    "\\x{3000}"
#define NO_SPACE                                                                                                       \
    "\\x{0}-\\x{8}\\x{e}-\\x{1b}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"                    \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{d7ff}"                  \
    "\\x{e000}-\\x{10ffff}"
#define WORD "\\p{L}\\p{N}_"
#define NO_WORD                                                                                                        \
    "\\p{C}\\p{M}\\p{S}\\p{Z}\\p{Pd}\\p{Ps}\\p{Pe}\\p{Pi}\\p{Pf}\\p{Po}\\x{203f}\\x{2040}\\x{2054}\\x{fe33}"           \
    "\\x{fe34}\\x{fe4d}-\\x{fe4f}\\x{ff3f}"

enum { MOST_NESTED = 200, MOST_REFERRED = 100 }; /* \100 is no reference any more */

struct translation {
    const char *where; /* starts the messages */
    const char *pattern;
    size_t at;
    bool in_class;
    bool only_flags;            /* nothing but (?i) and its like so far */
    bool can_repeat;            /* what stands before `at` can be repeated, as far as Python's own rule goes */
    bool repeated;              /* ... and is already */
    int64_t groups;             /* opened so far */
    int64_t depth;              /* open brackets of any kind */
    int64_t open[MOST_NESTED];  /* [depth] number of the group each opened, 0 for none */
    bool closed[MOST_REFERRED]; /* by number: a reference is allowed */
    struct wn_text out;
};

static wn_status fail(const struct translation *translation, wn_status status, const char *what)
{
    return wn_fail(status, "%s: the regular expression \"%s\": %s at offset %zu", translation->where,
                   translation->pattern, what, translation->at);
}

static wn_status wrong(const struct translation *translation, const char *what)
{
    return fail(translation, WN_ERR_INPUT, what);
}

static void put(struct translation *translation, const char *text)
{
    wn_text_append(&translation->out, text, strlen(text));
}

/* Copies `length` bytes of the pattern. */
static void copy(struct translation *translation, size_t length)
{
    wn_text_append(&translation->out, translation->pattern + translation->at, length);
    translation->at += length;
}

/* \xHH, \uHHHH and \UHHHHHHHH: exactly so many digits; `at` stands at the letter. */
static wn_status put_hex(struct translation *translation)
{
    const char *start = translation->pattern + translation->at;
    size_t wanted = start[0] == 'x' ? 2 : start[0] == 'u' ? 4 : 8;

    if (strspn(start + 1, "0123456789abcdefABCDEF") < wanted)
        return wrong(translation, "an escape with too few hexadecimal digits");
    wn_text_printf(&translation->out, "\\x{%.*s}", (int)wanted, start + 1);
    translation->at += 1 + wanted;
    return WN_OK;
}

/*
 * \0, \012, \123: octal when they begin with 0, have three octal digits, or stand in a class; else \1 to \99 is what a
 * group matched.
 */
static wn_status put_digits(struct translation *translation)
{
    const char *start = translation->pattern + translation->at;
    size_t octal = strspn(start, "01234567"), digits = strspn(start, "0123456789");

    octal = octal > 3 ? 3 : octal;
    if (start[0] == '0' || octal == 3 || translation->in_class) {
        if (octal == 0)
            return wrong(translation, "a bad escape");
        if (octal == 3 && start[0] > '3')
            return wrong(translation, "an octal escape above 377");
        wn_text_printf(&translation->out, "\\o{%.*s}", (int)octal, start);
        translation->at += octal;
        return WN_OK;
    }
    digits = digits > 2 ? 2 : digits;
    int group = digits == 2 ? (start[0] - '0') * 10 + start[1] - '0' : start[0] - '0';
    if (!translation->closed[group])
        return wrong(translation, "a reference to a group that is not there or still open");
    wn_text_printf(&translation->out, "\\g{%.*s}", (int)digits, start);
    translation->at += digits;
    return WN_OK;
}

/* One character of the pattern, so that PCRE2 takes it for nothing else. */
static void put_literal(struct translation *translation)
{
    char byte = translation->pattern[translation->at];

    if (byte == '\\' || text_is_punctuation(byte)) {
        wn_text_printf(&translation->out, "\\x{%x}", (unsigned)byte);
        translation->at++;
    } else {
        copy(translation, 1);
    }
}

/* Classes by letter: outside and inside of brackets. */
static const struct {
    char letter;
    const char *outside, *inside;
} classes[] = {{'d', "\\p{Nd}", "\\p{Nd}"},     {'D', "\\P{Nd}", "\\P{Nd}"}, {'s', "[" SPACE "]", SPACE},
               {'S', "[^" SPACE "]", NO_SPACE}, {'w', "[" WORD "]", WORD},   {'W', "[^" WORD "]", NO_WORD}};

/* The escapes of one character that mean the same in brackets and outside. */
static const char *control_of(char letter)
{
    static const char letters[] = "afnrtv";
    static const char *const codes[] = {"\\x{7}", "\\x{c}", "\\x{a}", "\\x{d}", "\\x{9}", "\\x{b}"};
    const char *found = letter ? strchr(letters, letter) : NULL;

    return found ? codes[found - letters] : NULL;
}

/* An escape; `at` stands at the backslash. *is_set: it stands for more than one character. */
static wn_status translate_escape(struct translation *translation, bool *is_set)
{
    char letter = translation->pattern[++translation->at];
    const char *control = control_of(letter);

    *is_set = false;
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (letter == classes[i].letter) {
            put(translation, translation->in_class ? classes[i].inside : classes[i].outside);
            translation->at++;
            *is_set = true;
            return WN_OK;
        }
    if (control) {
        put(translation, control);
        translation->at++;
        return WN_OK;
    }
    if (letter == '\0')
        return wrong(translation, "a backslash at the end");
    if (letter == 'x' || letter == 'u' || letter == 'U')
        return put_hex(translation);
    if (letter >= '0' && letter <= '9')
        return put_digits(translation);
    if (letter == 'N')
        return fail(translation, WN_ERR_UNSUPPORTED, "\\N is not supported");
    if ((letter | 0x20) >= 'a' && (letter | 0x20) <= 'z')
        return wrong(translation, "a bad escape");
    put_literal(translation);
    return WN_OK;
}

/* Escapes that match between characters; false when the letter is none of them. */
static bool translate_position(struct translation *translation)
{
    char letter = translation->pattern[translation->at + 1];

    if (letter == 'A')
        put(translation, "\\A");
    else if (letter == 'Z')
        put(translation, "\\z");
    else if (letter == 'b')
        put(translation, "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))");
    else if (letter == 'B')
        put(translation, "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))");
    else
        return false;
    translation->at += 2;
    return true;
}

/* One member of a class, or one end of a range. */
static wn_status translate_member(struct translation *translation, bool *is_set)
{
    const char *rest = translation->pattern + translation->at;

    *is_set = false;
    if (*rest == '\0')
        return wrong(translation, "a class that is not closed");
    if (rest[0] == '\\' && rest[1] == 'b') {
        put(translation, "\\x{8}");
        translation->at += 2;
        return WN_OK;
    }
    if (*rest == '\\')
        return translate_escape(translation, is_set);
    put_literal(translation);
    /* the other bytes of a character: a range needs whole ones */
    while (((uint8_t)translation->pattern[translation->at] & 0xC0) == 0x80)
        copy(translation, 1);
    return WN_OK;
}

static wn_status translate_class(struct translation *translation)
{
    const char *pattern = translation->pattern;
    bool first = true;

    translation->in_class = true;
    copy(translation, pattern[translation->at + 1] == '^' ? 2 : 1);
    while (first || pattern[translation->at] != ']') {
        bool left_is_set, right_is_set;
        first = false;
        WN_TRY(translate_member(translation, &left_is_set));
        if (pattern[translation->at] != '-' || pattern[translation->at + 1] == ']')
            continue;
        copy(translation, 1);
        WN_TRY(translate_member(translation, &right_is_set));
        if (left_is_set || right_is_set)
            return wrong(translation, "a bad character range");
    }
    copy(translation, 1);
    translation->in_class = false;
    return WN_OK;
}

/* (?ims) at the start of the pattern, or (?ims-ims: of a group. */
static wn_status translate_flags(struct translation *translation)
{
    const char *start = translation->pattern + translation->at + 2;
    size_t length = strspn(start, "imsu-");
    bool global = start[length] == ')';

    if (strchr("aLx", start[length]) && start[length])
        return fail(translation, WN_ERR_UNSUPPORTED, "the flags a, L and x are not supported");
    if (length == 0 || (!global && start[length] != ':'))
        return wrong(translation, "a group of an unknown kind");
    if (global && !translation->only_flags)
        return wrong(translation, "flags for the whole pattern that do not stand at its start");
    put(translation, "(?");
    for (size_t i = 0; i < length; i++)
        if (start[i] != 'u') /* always on */
            wn_text_append(&translation->out, start + i, 1);
    put(translation, global ? ")" : ":");
    translation->at += length + 3;
    translation->depth -= global; /* closed with it */
    translation->only_flags = global;
    translation->can_repeat = false;
    return WN_OK;
}

/* (?(1)yes|no) and (?(name)yes|no). */
static wn_status translate_condition(struct translation *translation)
{
    const char *start = translation->pattern + translation->at + 3;
    size_t length = strcspn(start, ")");
    bool number = length > 0 && strspn(start, "0123456789") == length;

    wn_text_printf(&translation->out, number ? "(?(%.*s)" : "(?(<%.*s>)", (int)length, start);
    if (!start[length])
        return wrong(translation, "a condition that is not closed");
    translation->at += length + 4;
    translation->only_flags = translation->can_repeat = false;
    return WN_OK;
}

/* What begins with "(?". */
static wn_status translate_extension(struct translation *translation)
{
    static const char *const same[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?P<"};
    const char *rest = translation->pattern + translation->at;

    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        if (strncmp(rest, same[i], strlen(same[i])) == 0) {
            copy(translation, strlen(same[i]));
            if (rest[2] == 'P')
                copy(translation, strcspn(rest + 4, ">)"));
            if (rest[2] == 'P' && translation->pattern[translation->at] == '>')
                copy(translation, 1);
            translation->only_flags = translation->can_repeat = false;
            return WN_OK;
        }
    if (strncmp(rest, "(?P=", 4) == 0) {
        copy(translation, strcspn(rest, ")"));
        translation->only_flags = translation->repeated = false;
        translation->can_repeat = true;
        return WN_OK;
    }
    if (rest[2] == '#') {
        translation->at += strcspn(rest, ")");
        if (!translation->pattern[translation->at])
            return wrong(translation, "a comment that is not closed");
        translation->at++;
        translation->depth--; /* closed with it */
        return WN_OK;
    }
    if (rest[2] == '(')
        return translate_condition(translation);
    return translate_flags(translation);
}

/*
 * * + ? {n} {n,} {,m} {n,m}, with ? or + behind; a brace that is no such thing is a literal one. Sets *literal then.
 */
static wn_status translate_repeat(struct translation *translation, bool *literal)
{
    const char *rest = translation->pattern + translation->at;
    size_t low = 0, comma = 0, high = 0, length = 1;

    *literal = false;
    if (*rest == '{') {
        low = strspn(rest + 1, "0123456789");
        comma = rest[1 + low] == ',';
        high = comma ? strspn(rest + 2 + low, "0123456789") : 0;
        length = low + comma + high + 2;
        *literal = low + comma == 0 || rest[length - 1] != '}';
        if (*literal)
            return WN_OK;
    }
    if (!translation->can_repeat)
        return wrong(translation, "nothing to repeat");
    if (translation->repeated)
        return wrong(translation, "a repetition of a repetition");
    if (*rest == '{' && low == 0)
        wn_text_printf(&translation->out, "{0%.*s", (int)(length - 1), rest + 1);
    else
        wn_text_append(&translation->out, rest, length);
    translation->at += length;
    if (rest[length] == '?' || rest[length] == '+')
        copy(translation, 1);
    translation->repeated = true;
    return WN_OK;
}

/* Keeps count of groups at a round bracket; `at` stands at it. */
static wn_status count_group(struct translation *translation)
{
    const char *rest = translation->pattern + translation->at;

    if (*rest == '(') {
        bool captures = rest[1] != '?' || (rest[2] == 'P' && rest[3] == '<');
        if (translation->depth == MOST_NESTED)
            return wrong(translation, "groups nested too deeply");
        translation->groups += captures;
        translation->open[translation->depth++] = captures ? translation->groups : 0;
    } else if (translation->depth > 0) {
        int64_t group = translation->open[--translation->depth];
        if (group > 0 && group < MOST_REFERRED)
            translation->closed[group] = true;
    }
    return WN_OK;
}

/* One item outside of brackets; sets what the next quantifier may do. */
static wn_status translate_item(struct translation *translation)
{
    const char *rest = translation->pattern + translation->at;
    bool literal = true, is_set;

    if (*rest && strchr("*+?{", *rest)) {
        WN_TRY(translate_repeat(translation, &literal));
        translation->only_flags = false;
        if (!literal)
            return WN_OK;
    }
    if (*rest == '(' || *rest == ')')
        WN_TRY(count_group(translation));
    if (rest[0] == '(' && rest[1] == '?')
        return translate_extension(translation);
    if (rest[0] == '(' && rest[1] == '*')
        return wrong(translation, "nothing to repeat");
    translation->only_flags = translation->repeated = false;
    if (rest[0] == '\\' && translate_position(translation)) {
        translation->can_repeat = false;
        return WN_OK;
    }
    translation->can_repeat = !strchr("(|^$", *rest);
    if (*rest == '\\')
        return translate_escape(translation, &is_set);
    if (*rest == '[')
        return translate_class(translation);
    if (strchr("(|^$).", *rest))
        copy(translation, 1);
    else
        put_literal(translation);
    return WN_OK;
}

wn_status text_translate_pattern(const char *where, const char *pattern, struct wn_text *out)
{
    struct translation translation = {.where = where, .pattern = pattern, .only_flags = true};
    wn_status status = WN_OK;

    wn_text_append(&translation.out, "", 0);
    while (status == WN_OK && pattern[translation.at])
        status = translate_item(&translation);
    *out = translation.out;
    return status;
}
