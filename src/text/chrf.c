/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chrF++ (Popović 2017, "chrF++: words helping character n-grams") as sacreBLEU 2 computes it: the F score, recall
 * counted twice, of precision and recall averaged over n-grams of 1 to 6 characters without white space and of 1 and 2
 * words; of several references the one with the best score.
 */
#include "text_impl.h"

#include <math.h>

enum { CHARACTERS = 6, ORDERS = CHARACTERS + 2 }; /* then 1 and 2 words; three counts each */

const char *const wn_chrf_count_names[WN_CHRF_COUNTS] = {
    "char_1", "char_1_reference", "char_1_match", "char_2", "char_2_reference", "char_2_match",
    "char_3", "char_3_reference", "char_3_match", "char_4", "char_4_reference", "char_4_match",
    "char_5", "char_5_reference", "char_5_match", "char_6", "char_6_reference", "char_6_match",
    "word_1", "word_1_reference", "word_1_match", "word_2", "word_2_reference", "word_2_match",
};

/* ---- texts ---- */

/* Cuts off the last character where it is ASCII punctuation, else the first; a word of one character stays whole. */
static void add_word(struct wn_chars word, struct wn_words *words)
{
    size_t end = 0, start = 0;
    char last = word.data[word.length - 1];

    text_next_code(word, &end);
    if (end < word.length && text_is_punctuation(last))
        start = word.length - 1;
    else if (end < word.length && text_is_punctuation(word.data[0]))
        start = 1;
    if (start > 0)
        wn_words_add(words, (struct wn_chars){word.data, start});
    wn_words_add(words, (struct wn_chars){word.data + start, word.length - start});
}

void wn_chrf_text_init(struct wn_chrf_text *prepared, struct wn_chars text)
{
    struct wn_chars word;

    *prepared = (struct wn_chrf_text){.codes = wn_alloc((int64_t)text.length, sizeof *prepared->codes)};
    while (wn_next_word(&text, &word)) {
        add_word(word, &prepared->words);
        for (size_t at = 0; at < word.length;)
            prepared->codes[prepared->n_codes++] = (int32_t)text_next_code(word, &at);
    }
}

void wn_chrf_text_release(struct wn_chrf_text *prepared)
{
    wn_words_release(&prepared->words);
    wn_free(prepared->codes);
    *prepared = (struct wn_chrf_text){0};
}

/* ---- counts of a text ---- */

/* Of orders 1 .. n, prediction first, into triples; grams[2] have room for the lists. */
static void count_orders(const struct text_ids *lists, int orders, int32_t *const *grams, double *counts)
{
    for (int n = 1; n <= orders; n++, counts += 3) {
        int64_t different = text_number_grams(lists, 2, n, grams);
        int64_t predicted = text_gram_count(lists[0].count, n), wanted = text_gram_count(lists[1].count, n);
        counts[0] = wanted > 0 ? (double)predicted : 0; /* an order that the reference has not counts nothing */
        counts[1] = (double)wanted;
        counts[2] = (double)text_common(grams[0], predicted, grams[1], wanted, different);
    }
}

static void count_pair(const struct wn_chrf_text *reference, const struct wn_chrf_text *prediction, double *counts)
{
    const struct wn_words *words[2] = {&prediction->words, &reference->words};
    const struct text_ids codes[2] = {{prediction->codes, prediction->n_codes}, {reference->codes, reference->n_codes}};
    struct text_ids numbered[2];
    int32_t *ids[2], *grams[2];

    for (int l = 0; l < 2; l++) {
        ids[l] = wn_alloc(words[l]->count, sizeof **ids);
        grams[l] = wn_alloc(codes[l].count + words[l]->count, sizeof **grams);
        numbered[l] = (struct text_ids){ids[l], words[l]->count};
    }
    wn_words_number(words, 2, ids);
    count_orders(codes, CHARACTERS, grams, counts);
    count_orders(numbered, ORDERS - CHARACTERS, grams, counts + 3 * (ptrdiff_t)CHARACTERS);
    for (int l = 0; l < 2; l++) {
        wn_free(ids[l]);
        wn_free(grams[l]);
    }
}

void wn_chrf_count(const struct wn_chrf_text *references, int64_t count, const struct wn_chrf_text *prediction,
                   double *counts)
{
    double best = -1, one[WN_CHRF_COUNTS];

    for (int64_t r = 0; r < count; r++) {
        count_pair(&references[r], prediction, one);
        double score = wn_chrf(one, NULL);
        if (score > best) {
            best = score;
            memcpy(counts, one, sizeof one);
        }
    }
}

/* ---- score of counts ---- */

static const double factor = 4; /* beta squared */

/* By precision and recall, the means over `orders`. */
static void differentiate(const double *counts, int orders, double precision, double recall, double *gradient)
{
    double below = factor * precision + recall, scale = 100 * (1 + factor) / (below * below * orders);
    double by_precision = scale * recall * recall, by_recall = scale * factor * precision * precision;

    for (int n = 0; n < ORDERS; n++) {
        const double *c = counts + 3 * (ptrdiff_t)n;
        double *g = gradient + 3 * (ptrdiff_t)n;
        if (c[0] == 0 || c[1] == 0)
            continue;
        g[0] = -by_precision * c[2] / (c[0] * c[0]);
        g[1] = -by_recall * c[2] / (c[1] * c[1]);
        g[2] = by_precision / c[0] + by_recall / c[1];
    }
}

double wn_chrf(const double *counts, double *gradient)
{
    double precision = 0, recall = 0;
    int orders = 0;

    if (gradient)
        memset(gradient, 0, WN_CHRF_COUNTS * sizeof *gradient);
    for (int n = 0; n < ORDERS; n++) {
        const double *c = counts + 3 * (ptrdiff_t)n;
        if (c[0] == 0 || c[1] == 0)
            continue;
        precision += c[2] / c[0];
        recall += c[2] / c[1];
        orders++;
    }
    if (precision + recall == 0)
        return 0;
    precision /= orders;
    recall /= orders;
    if (gradient)
        differentiate(counts, orders, precision, recall, gradient);
    return 100 * ((1 + factor) * precision * recall / (factor * precision + recall));
}
