/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h: scores of generated text: normalisation, exact match, token F1, ROUGE, BLEU, chrF++, repetition, overlap with
 * a source, filters of outputs, checks of constraints.
 *
 * What stays the same over many outputs is prepared once: regular expressions (a bad one is found then, before any
 * work), normalised references, tokenised references. What is prepared is read-only: any number of threads may score
 * with it at once. Every score is a pure function of the texts, a double.
 *
 *     struct wn_normalizer squad;
 *     struct wn_references references;
 *     struct wn_answer_scores scores;
 *     wn_normalizer_init(&squad, WN_NORMALIZE_SQUAD);
 *     status = wn_references_init(&references, &squad, texts, n_texts);
 *     if (status == WN_OK)
 *         status = wn_references_score(&references, &squad, wn_chars_of(output), &scores);
 *     wn_references_release(&references);
 *     wn_normalizer_release(&squad);
 *
 * Texts are valid UTF-8 and may hold NUL. Depends on base and PCRE2. Nothing here is collective.
 *
 * Errors: WN_ERR_INPUT for a pattern that cannot be read, and for a text that a pattern gives up on (PCRE2's limit on
 * backtracking) or that is no UTF-8; WN_ERR_UNSUPPORTED for what Python's patterns have and ours have not.
 */
#ifndef WINNOW_TEXT_H
#define WINNOW_TEXT_H

#include <string.h>

#include <winnow/base.h>

/* A piece of somebody else's text. */
struct wn_chars {
    const char *data;
    size_t length; /* bytes */
};

static inline struct wn_chars wn_chars_of(const char *text)
{
    return (struct wn_chars){text, strlen(text)};
}

/* ---- characters, as Python's str has them ---- */

/* str.lower(): Unicode 14, the final sigma included. Appends to `out`. */
void wn_lower(struct wn_chars text, struct wn_text *out);
/* str.strip(): without the white space (str.isspace) of both ends. */
struct wn_chars wn_trim(struct wn_chars text);
/* Moves *rest behind its first word between white space, as str.split() cuts; false when there is none left. */
bool wn_next_word(struct wn_chars *rest, struct wn_chars *word);

/* ---- regular expressions, as Python's re on str has them ---- */

struct wn_regex; /* opaque */

/*
 * Patterns are read as Python 3.11 reads them: \d \w \s \b are Unicode, \Z is the end, (?P<name>..), {,n}, octal
 * escapes. What Python refuses is mostly refused too. Not supported: \N{..}, flags a, L and x. Different: a look-behind
 * may have alternatives of several lengths, and ignoring case treats the dotted and dotless i as other letters.
 * `where` ("path: line 3: filter") starts the message of a failure; *regex is NULL then.
 */
wn_status wn_regex_compile(const char *where, const char *pattern, struct wn_regex **regex);
void wn_regex_free(struct wn_regex **regex);
/* Number of capture groups. */
int64_t wn_regex_groups(const struct wn_regex *regex);
/* re.search: whether it matches anywhere. */
wn_status wn_regex_search(const struct wn_regex *regex, struct wn_chars text, bool *found);
/* re.sub: every match replaced by `by` (no group references in it); appends to `out`. */
wn_status wn_regex_replace(const struct wn_regex *regex, struct wn_chars text, const char *by, struct wn_text *out);
/*
 * The first or last of all matches of re.findall. `group` 0 gives what the harness's filter takes: the whole match of a
 * pattern without groups, the group of one with one, else the first group that is not empty; another number gives that
 * group. *piece points into `text`; *found is false when nothing matches, and for several groups that are all empty.
 */
wn_status wn_regex_pick(const struct wn_regex *regex, struct wn_chars text, int64_t group, bool last, bool *found,
                        struct wn_chars *piece);

/* ---- normalisation ---- */

/* One row per normalisation: name, key in a request file, what it does in this order. */
#define WN_NORMALIZATION_LIST(X)                                                                                       \
    X(NONE, "none", "nothing")                                                                                         \
    X(HARNESS, "harness",                                                                                              \
      "deletes the matches of the ignored regexes, then as asked: lower case, without ASCII punctuation, without "     \
      "digits 0-9 (lm-evaluation-harness, exact_match)")                                                               \
    X(SQUAD, "squad", "lower case, without ASCII punctuation, articles to a space, white space to one space")          \
    X(TRIVIAQA, "triviaqa",                                                                                            \
      "underscore to space, lower case, ASCII punctuation and four quotes to a space, articles, white space")          \
    X(LLM_KICK, "llm_kick", "lower case, without spaces (LLM-KICK, factoid QA)")

enum wn_normalization {
#define X(name, key, help) WN_NORMALIZE_##name,
    WN_NORMALIZATION_LIST(X)
#undef X
        WN_NORMALIZATIONS
};

/* The normalisation of a key, WN_NORMALIZATIONS when there is none. */
enum wn_normalization wn_normalization_find(const char *key);

struct wn_normalizer {
    enum wn_normalization kind;
    bool ignore_case, ignore_punctuation, ignore_numbers; /* HARNESS; set after init */
    struct wn_regex **ignore;                             /* [n_ignore] HARNESS; owned */
    int64_t n_ignore;
    struct wn_regex *articles; /* owned */
};

void wn_normalizer_init(struct wn_normalizer *normalizer, enum wn_normalization kind);
void wn_normalizer_release(struct wn_normalizer *normalizer);
/* Adds a regex whose matches are deleted, in the order of the calls. */
wn_status wn_normalizer_ignore(struct wn_normalizer *normalizer, const char *where, const char *pattern);
/* Appends the normalised text to `out`. */
wn_status wn_normalize(const struct wn_normalizer *normalizer, struct wn_chars text, struct wn_text *out);

/* ---- words ---- */

/* A list of words, copied. */
struct wn_words {
    struct wn_text bytes; /* the words, one behind the other */
    size_t *ends;         /* [count] where each ends in bytes; owned */
    int64_t count, capacity;
};

void wn_words_add(struct wn_words *words, struct wn_chars word);
struct wn_chars wn_words_at(const struct wn_words *words, int64_t index);
void wn_words_release(struct wn_words *words);
/* str.split(). */
void wn_words_split(struct wn_chars text, struct wn_words *words);
/* The words ROUGE counts: lower case, runs of [a-z0-9]; with `stemmer`, those of four letters and more are stemmed. */
void wn_words_rouge(struct wn_chars text, bool stemmer, struct wn_words *words);
/* Numbers the words of several lists, ids[l][lists[l]->count]: equal words, wherever they stand, get equal numbers from
 * 0 on, in the order of first appearance. Returns how many different ones there are. */
int64_t wn_words_number(const struct wn_words *const *lists, int64_t n_lists, int32_t *const *ids);

/*
 * The Porter stemmer with NLTK's extensions (Porter 1980, "An algorithm for suffix stripping"; nltk.stem.porter, mode
 * NLTK_EXTENSIONS). Stems word[0..length), ASCII lower case, in place and returns the new length, at most the old one.
 */
size_t wn_porter_stem(char *word, size_t length);

/* ---- answers against references ---- */

/*
 * Prediction and references are normalised; each score is the maximum over the references, 0 without any.
 *   exact_match  equal
 *   em_relaxed   one contains the other, and neither is empty (LLM-KICK's rule counts every empty answer as right)
 *   contains     in lower case, the prediction contains the reference, which is not empty
 *   contains_word    the same, and where it first does, white space, punctuation or an end is on both sides
 *   contains_number  a number of the prediction is the first one of the reference, within 1e-4; commas may be
 *                between thousands
 *   f1           over the multisets of words between white space: P = same/|prediction|, R = same/|reference|,
 *                F = 2PR/(P+R); where either has no words, 1 if both have none (SQuAD 2.0), else 0
 */
struct wn_answer_scores {
    double exact_match, em_relaxed, contains, contains_word, contains_number, f1;
};

struct wn_reference {
    struct wn_text text;  /* normalised */
    struct wn_text lower; /* the same in lower case */
    struct wn_words words;
};

struct wn_references {
    struct wn_reference *items; /* [count] owned */
    int64_t count;
};

/* On failure `references` is empty. */
wn_status wn_references_init(struct wn_references *references, const struct wn_normalizer *normalizer,
                             const struct wn_chars *texts, int64_t count);
void wn_references_release(struct wn_references *references);
/* `normalizer` is the one of wn_references_init. */
wn_status wn_references_score(const struct wn_references *references, const struct wn_normalizer *normalizer,
                              struct wn_chars prediction, struct wn_answer_scores *scores);

/* ---- ROUGE ---- */

struct wn_rouge_score {
    double precision, recall, f; /* f = 2PR/(P+R), 0 when P + R is 0 */
};

/* X(name): Lin (2004) as computed by Google's rouge_score; rouge1 and rouge2 count n-grams, clipped; rougeL is the
 * longest common subsequence of all words; rougeLsum the union over lines (split at newlines) of such subsequences. */
#define WN_ROUGE_LIST(X)                                                                                               \
    X(rouge1)                                                                                                          \
    X(rouge2)                                                                                                          \
    X(rougeL)                                                                                                          \
    X(rougeLsum)

struct wn_rouge {
#define X(name) struct wn_rouge_score name;
    WN_ROUGE_LIST(X)
#undef X
};

/* A text ready for ROUGE. */
struct wn_rouge_text {
    struct wn_words words;
    int64_t *line_ends; /* [n_lines] words up to the end of each line that is not empty; owned */
    int64_t n_lines;
};

void wn_rouge_text_init(struct wn_rouge_text *prepared, struct wn_chars text, bool stemmer);
void wn_rouge_text_release(struct wn_rouge_text *prepared);
/* Time and memory of rougeL and rougeLsum: words of the reference times words of the prediction. */
void wn_rouge_score(const struct wn_rouge_text *reference, const struct wn_rouge_text *prediction,
                    struct wn_rouge *scores);
/* Per metric the scores of the reference with the largest f, the first of equals; zeros without references. */
void wn_rouge_best(const struct wn_rouge_text *references, int64_t count, const struct wn_rouge_text *prediction,
                   struct wn_rouge *scores);

/* ---- translations ---- */

/*
 * BLEU (Papineni et al. 2002) and chrF++ (Popović 2017), from 0 to 100, as sacreBLEU 2 computes them (Post 2018). Both
 * are functions of counts that are added over texts: the score of a corpus, a group or a resample is that of the sum of
 * the counts of its texts. `gradient`, unless NULL, gets the derivatives of the score by the counts. Both scores stay
 * as they are when all counts are scaled, so that its product with the counts is 0, but for orders of BLEU without a
 * match: their smoothed count is no sum, and each of n orders takes score / n off that product.
 */
enum { WN_BLEU_COUNTS = 10, WN_CHRF_COUNTS = 24 };
extern const char *const wn_bleu_count_names[WN_BLEU_COUNTS];
extern const char *const wn_chrf_count_names[WN_CHRF_COUNTS];

/* X(NAME, key, help): the words of BLEU. */
#define WN_BLEU_TOKENIZER_LIST(X)                                                                                      \
    X(13A, "13a", "punctuation apart, but in numbers (mteval-v13a)")                                                   \
    X(ZH, "zh", "Chinese characters apart, then as 13a")                                                               \
    X(CHAR, "char", "characters")                                                                                      \
    X(NONE, "none", "what stands between white space")

enum wn_bleu_tokenizer {
#define X(name, key, help) WN_BLEU_##name,
    WN_BLEU_TOKENIZER_LIST(X)
#undef X
        WN_BLEU_TOKENIZERS
};

/* The tokenizer of a key, WN_BLEU_TOKENIZERS when there is none. */
enum wn_bleu_tokenizer wn_bleu_tokenizer_find(const char *key);
/* Adds the words of a text. */
void wn_bleu_tokenize(enum wn_bleu_tokenizer tokenizer, struct wn_chars text, struct wn_words *words);
/* counts[WN_BLEU_COUNTS] of a text; count >= 1 references. */
void wn_bleu_count(const struct wn_words *references, int64_t count, const struct wn_words *prediction, double *counts);
/* Smoothed by "exp"; `effective_order` leaves out the orders that a text is too short for, as is done for single texts.
 */
double wn_bleu(const double *counts, bool effective_order, double *gradient);

/* A text ready for chrF++. */
struct wn_chrf_text {
    struct wn_words words; /* punctuation apart */
    int32_t *codes;        /* [n_codes] code points but for white space; owned */
    int64_t n_codes;
};

void wn_chrf_text_init(struct wn_chrf_text *prepared, struct wn_chars text);
void wn_chrf_text_release(struct wn_chrf_text *prepared);
/* counts[WN_CHRF_COUNTS] of a text against the reference that fits best, the first of equals; count >= 1. */
void wn_chrf_count(const struct wn_chrf_text *references, int64_t count, const struct wn_chrf_text *prediction,
                   double *counts);
double wn_chrf(const double *counts, double *gradient);

/* ---- repetition, of words (wn_words_number) or token ids ---- */

/* rep-n (Welleck et al. 2020): 1 - different n-grams / n-grams; 0 where there is no n-gram. n >= 1. */
double wn_repetition(const int32_t *ids, int64_t count, int64_t n);
/* distinct-n (Li et al. 2016): different n-grams / words; 0 where there is no word. n >= 1. */
double wn_distinct(const int32_t *ids, int64_t count, int64_t n);
/* The largest L such that the last L ids also stand further in front (they may overlap): a loop at the end. */
int64_t wn_repeated_suffix(const int32_t *ids, int64_t count);

/* ---- a summary and its source ---- */

/*
 * Extractive fragments F (Grusky et al. 2018, figure 3: from left to right, the longest piece of the summary that
 * stands in the source): coverage = sum |f| / |summary|, density = sum |f|^2 / |summary|, compression = |source| /
 * |summary|; 0 for an empty summary. Lists numbered together. Time: |source| |summary| at worst times the fragment
 * length.
 */
struct wn_extraction {
    double coverage, density, compression;
};

void wn_extraction_score(const int32_t *source, int64_t n_source, const int32_t *summary, int64_t n_summary,
                         struct wn_extraction *scores);
/* Share of the n-grams of the summary (with repeats) that the source has not; 0 where there is none. */
double wn_novelty(const int32_t *source, int64_t n_source, const int32_t *summary, int64_t n_summary, int64_t n);

/* ---- filters: what of an output is scored ---- */

enum wn_filter_kind {
    WN_FILTER_NONE,
    WN_FILTER_STRIP,      /* str.strip() */
    WN_FILTER_FIRST_LINE, /* up to the first newline, then str.strip() */
    WN_FILTER_REGEX       /* wn_regex_pick, then str.strip(); "[invalid]" when nothing matches */
};

struct wn_filter {
    enum wn_filter_kind kind;
    struct wn_regex *regex; /* owned */
    int64_t group;
    bool last;
};

/* A REGEX filter; `group` must be one of the pattern's, or 0. */
wn_status wn_filter_init_regex(struct wn_filter *filter, const char *where, const char *pattern, int64_t group,
                               bool last);
void wn_filter_release(struct wn_filter *filter);
/* *piece points into `text` or to a constant. */
wn_status wn_filter_apply(const struct wn_filter *filter, struct wn_chars text, struct wn_chars *piece);

/* ---- sentences, languages, instructions that a program can check ---- */

/* Sentences of an English text, by rules like those of Punkt (Kiss and Strunk 2006). */
int64_t wn_count_sentences(struct wn_chars text);
/* ISO 639-1 code of the language that a text most looks like, of thirty; NULL for a text without letters. */
const char *wn_language_of(struct wn_chars text);
bool wn_language_known(const char *code);

/*
 * A verifiable instruction of IFEval (Zhou et al. 2023), such as "length_constraints:number_words". What is given is
 * set before wn_instruction_init, which checks it; texts are keywords, forbidden words, a letter, a phrase, a marker, a
 * language or a first word, keywords being patterns as in Python's re. On failure it is to be released, too.
 */
struct wn_instruction {
    int64_t number; /* -1: not given */
    int64_t nth;    /* paragraph, from 1; 0: not given */
    bool less;      /* fewer than `number`; else at least so many */
    char **texts;   /* [n_texts] owned */
    int64_t n_texts;
    struct wn_regex **regexes; /* [n_regexes] owned; made by init, as is `row` */
    int64_t n_regexes;
    int row;
};

wn_status wn_instruction_init(struct wn_instruction *instruction, const char *where, const char *id);
void wn_instruction_release(struct wn_instruction *instruction);
/* No blank text follows any. Fails where a pattern gives up on the text. */
wn_status wn_instruction_followed(const struct wn_instruction *instruction, struct wn_chars text, bool *followed);

/* ---- checks of constraints ---- */

enum wn_check_kind {
    WN_CHECK_MAX_WORDS,    /* at most `words` words between white space */
    WN_CHECK_MIN_WORDS,    /* at least */
    WN_CHECK_REGEX,        /* the pattern matches somewhere */
    WN_CHECK_EQUALS,       /* equal to `text`, white space at the ends of both left out */
    WN_CHECK_SENTENCE_END, /* ends in . ! ?, their wide forms or an ellipsis; closing quotes may follow, and brackets */
    WN_CHECK_NOT_EMPTY,    /* has something other than white space */
    WN_CHECK_INSTRUCTION   /* follows `instruction` */
};

struct wn_check {
    enum wn_check_kind kind;
    int64_t words;
    struct wn_regex *regex;            /* REGEX; owned by the check */
    char *text;                        /* EQUALS; owned by the check (wn_alloc) */
    struct wn_instruction instruction; /* INSTRUCTION; owned by the check */
};

void wn_check_release(struct wn_check *check);
wn_status wn_check_apply(const struct wn_check *check, struct wn_chars text, bool *passes);

#endif
