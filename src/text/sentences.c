/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sentences, in the way of Punkt (Kiss and Strunk 2006) for English: a stop, question or exclamation mark with white
 * space behind it ends one, but for the stop of an abbreviation, an initial or an ordinal number, and for an ellipsis
 * within a sentence.
 */
#include "text_impl.h"

static bool is_end(char byte)
{
    return byte == '.' || byte == '?' || byte == '!';
}

static bool is_closing(char byte)
{
    return byte == '"' || byte == '\'' || byte == ')' || byte == ']' || byte == '}' || byte == '*' || byte == '_';
}

/* The word without its stop, in lower case, with its own stops inside. */
static bool is_abbreviation(struct wn_chars word)
{
    static const char known[] = " mr mrs ms dr prof st jr sr vs etc e.g i.e inc ltd co corp gen gov sen rep sgt capt "
                                "lt col rev hon jan feb mar apr "
                                "aug sept sep oct nov dec u.s u.k u.n d.c a.m p.m no vol fig dept est approx ave blvd "
                                "mt messrs cf al ph.d b.a m.a "
                                "j.r u.s.a n.y l.a ";
    struct wn_text lower = {0};

    wn_text_append(&lower, " ", 1);
    wn_lower(word, &lower);
    wn_text_append(&lower, " ", 1);
    bool found = strstr(known, lower.data) != NULL;
    wn_text_release(&lower);
    return found;
}

static bool is_number(struct wn_chars word)
{
    for (size_t i = 0; i < word.length; i++)
        if (!text_is_digit(word.data[i]) && !strchr(".,-", word.data[i]))
            return false;
    return word.length > 0;
}

static bool starts_lower(struct wn_chars text)
{
    size_t end = 0;
    int64_t upper, lower;

    if (text.length == 0)
        return false;
    text_next_code(text, &end);
    text_count_cases((struct wn_chars){text.data, end}, &upper, &lower);
    return lower > 0;
}

/* Whether a word between white space is the last of its sentence; `next` is the word behind it. */
static bool ends_sentence(struct wn_chars word, struct wn_chars next)
{
    while (word.length > 0 && is_closing(word.data[word.length - 1]))
        word.length--;
    if (word.length == 0 || !is_end(word.data[word.length - 1]))
        return false;
    if (word.data[word.length - 1] != '.')
        return true;
    word.length--;
    if (word.length > 0 && word.data[word.length - 1] == '.')
        return !starts_lower(next);
    while (word.length > 0 && text_is_punctuation(word.data[0])) {
        word.data++;
        word.length--;
    }
    size_t first = 0;
    if (word.length > 0)
        text_next_code(word, &first);
    if (first == word.length && word.length > 0 && !is_number(word))
        return false; /* an initial */
    return is_number(word) ? !starts_lower(next) : !is_abbreviation(word);
}

int64_t wn_count_sentences(struct wn_chars text)
{
    struct wn_chars word, next;
    int64_t count = 0;
    bool more = wn_next_word(&text, &word), open = false;

    while (more) {
        more = wn_next_word(&text, &next);
        open = !ends_sentence(word, more ? next : wn_chars_of(""));
        count += !open || !more;
        word = next;
    }
    return count;
}
