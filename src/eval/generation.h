/* SPDX-License-Identifier: Apache-2.0 */
/* generation.h: what the two files of the kind `generation` share: keys, items and fields; scores of texts. */
#ifndef WINNOW_EVAL_GENERATION_H
#define WINNOW_EVAL_GENERATION_H

#include <winnow/text.h>

#include "likelihood.h"

/*
 * Metrics of answers, then what is always recorded: X(NAME, name, unit, binary, reduce, help). Of several draws an item
 * has the mean. An item that has nothing to be scored by (no references, checks, source) is no part of a metric.
 */
#define GENERATION_METRICS(X)                                                                                          \
    X(EXACT_MATCH, "exact_match", "1", true, NULL, "share of answers equal to a reference, both normalised")           \
    X(F1, "f1", "1", false, NULL, "F1 of the words of the answer and of a reference, both normalised")                 \
    X(EM_RELAXED, "em_relaxed", "1", true, NULL,                                                                       \
      "share of answers that contain a reference or are contained in one, both normalised and not empty")              \
    X(CONTAINS, "contains", "1", true, NULL, "share of answers that contain a reference, both normalised, lower case") \
    X(CONTAINS_WORD, "contains_word", "1", true, NULL,                                                                 \
      "share of answers where the first place of a reference, lower case, is a word of its own: a label named")        \
    X(CONTAINS_NUMBER, "contains_number", "1", true, NULL,                                                             \
      "share of answers one of whose numbers is that of a reference, within 1e-4")                                     \
    X(ROUGE1, "rouge1", "1", false, NULL, "ROUGE-1 F against the best reference (Lin 2004)")                           \
    X(ROUGE2, "rouge2", "1", false, NULL, "ROUGE-2 F against the best reference")                                      \
    X(ROUGEL, "rougeL", "1", false, NULL, "ROUGE-L F against the best reference: longest common subsequence")          \
    X(ROUGELSUM, "rougeLsum", "1", false, NULL, "ROUGE-L F with the union over lines")                                 \
    X(BLEU, "bleu", "1", false, generation_reduce_bleu,                                                                \
      "corpus BLEU, 0 to 100, of the words by bleu_tokenizer (Papineni et al. 2002; sacreBLEU)")                       \
    X(CHRF, "chrf", "1", false, generation_reduce_chrf,                                                                \
      "corpus chrF2++, 0 to 100: 1 to 6 characters, 1 and 2 words (Popovic 2017; sacreBLEU)")                          \
    X(CHECKS, "checks", "1", true, NULL, "share of answers that pass all checks of their item")                        \
    X(CHECKS_EACH, "checks_each", "1", false, NULL, "share of all checks that are passed")                             \
    X(CHECKS_LOOSE, "checks_loose", "1", true, NULL,                                                                   \
      "checks, each passed by the answer or by it without its first line, last line, asterisks (IFEval)")              \
    X(CHECKS_EACH_LOOSE, "checks_each_loose", "1", false, NULL, "checks_each in the same way")                         \
    X(LEVELS, "levels", "1", false, NULL,                                                                              \
      "mean over series of the items, from the first on, that pass all checks in a row (FollowBench: CSL)")            \
    X(AGREEMENT_EXACT, "agreement_exact", "1", false, NULL,                                                            \
      "share of texts equal to the dense model's, both cut at stop strings")                                           \
    X(AGREEMENT_TOKENS, "agreement_tokens", "token", false, NULL,                                                      \
      "tokens in front of the first one that differs from "                                                            \
      "the dense model's text; all when none does")                                                                    \
    X(AGREEMENT_ROUGEL, "agreement_rougeL", "1", false, NULL, "ROUGE-L F against the dense model's text")              \
    X(DENSE_PERPLEXITY, "dense_perplexity", "1", false, wn_reduce_exp,                                                 \
      "perplexity of the generated tokens behind their prompts under the dense model")                                 \
    X(LENGTH, "length", "token", false, NULL, "generated tokens, EOS and those of stop strings included")              \
    X(WORDS, "words", "1", false, NULL, "words of the text between white space")                                       \
    X(ENDED_LIMIT, "ended_limit", "1", false, NULL, "share of texts that ended at their limit of tokens")              \
    X(ENDED_EOS, "ended_eos", "1", false, NULL, "share of texts that ended with an EOS token")                         \
    X(ENDED_STOP, "ended_stop", "1", false, NULL, "share of texts that ended at a stop string")                        \
    X(REP_2, "rep_2", "1", false, NULL, "1 - different / all 2-grams of the words of a text (Welleck et al. 2020)")    \
    X(REP_3, "rep_3", "1", false, NULL, "the same of 3-grams")                                                         \
    X(REP_4, "rep_4", "1", false, NULL, "the same of 4-grams")                                                         \
    X(REPEATED_SUFFIX, "repeated_suffix", "1", false, NULL,                                                            \
      "words at the end of a text that also stand further in front, as many as possible: a loop")                      \
    X(DISTINCT_1, "distinct_1", "1", false, NULL, "different / all words of a text (Li et al. 2016)")                  \
    X(DISTINCT_2, "distinct_2", "1", false, NULL, "different 2-grams / words of a text")                               \
    X(COVERAGE, "coverage", "1", false, NULL, "share of words in fragments of the source (Grusky et al. 2018)")        \
    X(DENSITY, "density", "1", false, NULL, "mean over words of the length of their fragment of the source")           \
    X(COMPRESSION, "compression", "1", false, NULL, "words of the source / words of the text")

enum generation_metric {
#define X(NAME, name, unit, binary, reduce, help) GENERATION_##NAME,
    GENERATION_METRICS(X)
#undef X
        GENERATION_ALL,
    GENERATION_ANSWERS = GENERATION_AGREEMENT_EXACT, /* metrics before this one are those of answers */
    GENERATION_STANDARD = GENERATION_EM_RELAXED      /* default: those before this one */
};

/* Corpus metrics are functions of counts that are added over texts; the value of an item is the score of its text. */
struct generation_corpus {
    enum generation_metric metric;
    int n_counts;
    const char *const *names; /* [n_counts] */
    double (*score)(const double *counts, double *gradient);
};
#define GENERATION_CORPUS 2
extern const struct generation_corpus generation_corpus[GENERATION_CORPUS];
#define GENERATION_MOST_COUNTS WN_CHRF_COUNTS
wn_metric_reduce generation_reduce_bleu, generation_reduce_chrf;

/* Read-only once made. */
struct generation_item {
    struct wn_references references;
    struct wn_rouge_text *rouge; /* [references.count]; NULL: not wanted */
    struct wn_words *bleu;       /* [references.count] tokenized; NULL: not wanted */
    struct wn_chrf_text *chrf;   /* [references.count]; NULL: not wanted */
    struct wn_words source;      /* of the text that is summarised */
    bool has_source;
    struct wn_check *checks;
    int64_t n_checks;
    int64_t series; /* number of the item that its series begins with; -1: none */
};

struct generation_series {
    char *name;
    int64_t first; /* item */
};

struct generation_task {
    struct wn_task task;
    struct wn_filter filter;
    struct wn_normalizer normalizer;
    bool stemmer;
    enum wn_bleu_tokenizer bleu_tokenizer;
    struct generation_item *items;    /* [task.n_items] */
    struct generation_series *series; /* [n_series] */
    int64_t n_series;
    int field_id, field_length, field_end, field_text;
    int field_item[GENERATION_ALL];      /* values by item; -1: not wanted */
    int field_counts[GENERATION_CORPUS]; /* counts by item; -1: not wanted */
};

/* Reads the key "checks" of an item. */
wn_status generation_read_checks(const struct cJSON *json, struct generation_item *item);
#define GENERATION_CHECK_ROWS 5
extern const struct wn_key generation_check_rows[GENERATION_CHECK_ROWS];
/* The four metrics of checks of an answer; values stay as they are without checks. */
void generation_score_checks(const struct generation_task *state, const struct generation_item *item,
                             struct wn_chars answer, double *values);
/* Of all items, from their values of `checks`: the length of the passed beginning of each series. */
void generation_score_levels(const struct generation_task *state, struct wn_item_values *values);

/* struct wn_eval, score. */
void generation_score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                      struct wn_record *record);

#endif
