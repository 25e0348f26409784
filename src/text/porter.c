/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Porter stemmer (Porter 1980, "An algorithm for suffix stripping", Program 14(3)) with the extensions of NLTK's
 * PorterStemmer, which rouge_score uses: a list of irregular words, words of one or two letters kept, and changed rules
 * marked "NLTK" below.
 *
 * In the paper's words: a consonant is a letter other than a, e, i, o, u, and other than y behind a consonant (digits
 * count as consonants here); every stem has the form [C](VC)^m[V], and m is its measure. A rule (condition) S1 -> S2
 * replaces the suffix S1 when the stem before it meets the condition. In each step only the first S1 of the list that
 * the word ends in counts, whether its condition holds or not.
 */
#include "text_impl.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* The word under work; its letters are changed in place, and it never gets longer than it was. */
struct stem {
    char *letters;
    size_t length;
};

static bool is_consonant(const struct stem *word, size_t at)
{
    size_t run = 0; /* how many y there are in a row up to `at`: each is what the letter before it is not */

    while (at > 0 && word->letters[at] == 'y') {
        at--;
        run++;
    }
    bool consonant = !memchr("aeiou", word->letters[at], 5);
    return run % 2 ? !consonant : consonant;
}

/* m of the first `length` letters: how often a consonant follows a vowel. */
static int64_t measure(const struct stem *word, size_t length)
{
    int64_t m = 0;
    bool after_vowel = false, consonant = false;

    for (size_t i = 0; i < length; i++) {
        char letter = word->letters[i];
        consonant = letter == 'y' ? i == 0 || !consonant : !memchr("aeiou", letter, 5);
        m += consonant && after_vowel;
        after_vowel = !consonant;
    }
    return m;
}

/* *v*: the first `length` letters hold a vowel. */
static bool has_vowel(const struct stem *word, size_t length)
{
    bool consonant = false;

    for (size_t i = 0; i < length; i++) {
        char letter = word->letters[i];
        consonant = letter == 'y' ? i == 0 || !consonant : !memchr("aeiou", letter, 5);
        if (!consonant)
            return true;
    }
    return false;
}

/* *o: ends consonant, vowel, consonant, the last not w, x or y. NLTK: or is a vowel and a consonant. */
static bool ends_cvc(const struct stem *word, size_t length)
{
    if (length == 2)
        return !is_consonant(word, 0) && is_consonant(word, 1);
    return length >= 3 && is_consonant(word, length - 3) && !is_consonant(word, length - 2) &&
           is_consonant(word, length - 1) && !memchr("wxy", word->letters[length - 1], 3);
}

static bool ends_in(const struct stem *word, const char *suffix)
{
    size_t length = strlen(suffix);

    return word->length >= length && memcmp(word->letters + word->length - length, suffix, length) == 0;
}

/* The stem before a suffix of so many letters gets another suffix. */
static void replace(struct stem *word, size_t suffix_length, const char *by)
{
    size_t length = strlen(by);

    word->length -= suffix_length;
    memcpy(word->letters + word->length, by, length);
    word->length += length;
}

/* ---- rules with a condition on m alone ---- */

struct rule {
    const char *suffix, *by;
};

/* The step of a list of rules that all ask for m > `more_than`. */
static void apply(struct stem *word, const struct rule *rules, size_t count, int64_t more_than)
{
    for (size_t i = 0; i < count; i++)
        if (ends_in(word, rules[i].suffix)) {
            size_t suffix = strlen(rules[i].suffix);
            if (measure(word, word->length - suffix) > more_than)
                replace(word, suffix, rules[i].by);
            return;
        }
}

static const struct rule step2_rules[] = {
    {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
    {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},     {"ousli", "ous"},
    {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},  {"iveness", "ive"},
    {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"}, {"biliti", "ble"},
    {"fulli", "ful"}, /* NLTK */
};

static const struct rule step3_rules[] = {
    {"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"}, {"ful", ""}, {"ness", ""},
};

static const struct rule step4_rules[] = {
    {"al", ""},  {"ance", ""},  {"ence", ""}, {"er", ""},  {"ic", ""},  {"able", ""}, {"ible", ""},
    {"ant", ""}, {"ement", ""}, {"ment", ""}, {"ent", ""}, {"ion", ""}, {"ou", ""},   {"ism", ""},
    {"ate", ""}, {"iti", ""},   {"ous", ""},  {"ive", ""}, {"ize", ""},
};

/* ---- the steps ---- */

/* Plurals. NLTK: words of four letters in -ies keep the e. */
static void step1a(struct stem *word)
{
    if (ends_in(word, "sses"))
        replace(word, 4, "ss");
    else if (ends_in(word, "ies"))
        replace(word, 3, word->length == 4 ? "ie" : "i");
    else if (ends_in(word, "s") && !ends_in(word, "ss"))
        replace(word, 1, "");
}

/* What is left when -ed or -ing was taken off. */
static void repair(struct stem *word)
{
    size_t length = word->length;
    char last = word->letters[length - 1];

    bool doubled = length >= 2 && last == word->letters[length - 2] && is_consonant(word, length - 1);
    bool lacks_e = ends_in(word, "at") || ends_in(word, "bl") || ends_in(word, "iz") ||
                   (!doubled && measure(word, length) == 1 && ends_cvc(word, length));

    if (lacks_e)
        replace(word, 0, "e");
    else if (doubled && !memchr("lsz", last, 3))
        word->length--;
}

/* Past tenses and participles. NLTK: -ied, as -ies above. */
static void step1b(struct stem *word)
{
    size_t suffix = ends_in(word, "ed") ? 2 : ends_in(word, "ing") ? 3 : 0;

    if (ends_in(word, "ied")) {
        replace(word, 3, word->length == 4 ? "ie" : "i");
    } else if (ends_in(word, "eed")) {
        if (measure(word, word->length - 3) > 0)
            word->length--;
    } else if (suffix > 0 && has_vowel(word, word->length - suffix)) {
        word->length -= suffix;
        repair(word);
    }
}

/* y -> i. NLTK: behind a consonant that is not the first letter; in the paper, behind a stem with a vowel. */
static void step1c(struct stem *word)
{
    if (ends_in(word, "y") && word->length > 2 && is_consonant(word, word->length - 2))
        word->letters[word->length - 1] = 'i';
}

static void step2(struct stem *word)
{
    /* NLTK: -alli becomes -al, and what that ends in counts again; the rule below is for m = 0, where nothing does */
    if (ends_in(word, "alli") && measure(word, word->length - 4) > 0)
        replace(word, 4, "al");
    if (ends_in(word, "logi")) { /* NLTK: the l belongs to the stem */
        if (measure(word, word->length - 3) > 0)
            word->length--;
        return;
    }
    apply(word, step2_rules, COUNT(step2_rules), 0);
}

static void step4(struct stem *word)
{
    /* (*s or *t) ion: no other suffix of the list ends so */
    if (ends_in(word, "ion") && (word->length == 3 || !memchr("st", word->letters[word->length - 4], 2)))
        return;
    apply(word, step4_rules, COUNT(step4_rules), 1);
}

static void step5(struct stem *word)
{
    if (ends_in(word, "e")) {
        int64_t m = measure(word, word->length - 1);
        if (m > 1 || (m == 1 && !ends_cvc(word, word->length - 1)))
            word->length--;
    }
    if (ends_in(word, "ll") && measure(word, word->length - 1) > 1)
        word->length--;
}

/* NLTK: words that do not follow the rules. */
static bool irregular(struct stem *word)
{
    static const struct rule words[] = {
        {"sky", "sky"},        {"skies", "sky"},       {"dying", "die"},        {"lying", "lie"},
        {"tying", "tie"},      {"news", "news"},       {"innings", "inning"},   {"inning", "inning"},
        {"outings", "outing"}, {"outing", "outing"},   {"cannings", "canning"}, {"canning", "canning"},
        {"howe", "howe"},      {"proceed", "proceed"}, {"exceed", "exceed"},    {"succeed", "succeed"},
    };

    for (size_t i = 0; i < COUNT(words); i++)
        if (strlen(words[i].suffix) == word->length && memcmp(words[i].suffix, word->letters, word->length) == 0) {
            replace(word, word->length, words[i].by);
            return true;
        }
    return false;
}

size_t wn_porter_stem(char *word, size_t length)
{
    struct stem stem = {word, length};

    if (irregular(&stem) || length <= 2)
        return stem.length;
    step1a(&stem);
    step1b(&stem);
    step1c(&stem);
    step2(&stem);
    apply(&stem, step3_rules, COUNT(step3_rules), 0);
    step4(&stem);
    step5(&stem);
    return stem.length;
}
