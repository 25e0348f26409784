/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BLEU (Papineni et al. 2002) as sacreBLEU 2 computes it (Post 2018, "A Call for Clarity in Reporting BLEU Scores"):
 * clipped n-gram precisions to order 4, geometric mean, brevity penalty against the closest reference, and "exp"
 * smoothing, which halves for each order without a match.
 */
#include "text_impl.h"

#include <math.h>
#include <stdlib.h>

enum { ORDERS = 4, LENGTH = 0, REFERENCE_LENGTH = 1, MATCHES = 2, TOTALS = MATCHES + ORDERS };

const char *const wn_bleu_count_names[WN_BLEU_COUNTS] = {"words",   "reference_words", "match_1", "match_2", "match_3",
                                                         "match_4", "total_1",         "total_2", "total_3", "total_4"};

/* ---- counts of a text ---- */

static double closest_length(const struct wn_words *references, int64_t count, int64_t length)
{
    int64_t closest = references[0].count;

    for (int64_t r = 1; r < count; r++) {
        int64_t apart = llabs(references[r].count - length), least = llabs(closest - length);
        if (apart < least || (apart == least && references[r].count < closest))
            closest = references[r].count;
    }
    return (double)closest;
}

/* N-grams of the last list that others have, each counted at most as often as one of them has it. */
static int64_t clipped_matches(const struct text_ids *lists, int64_t n_lists, int64_t n, int32_t **grams)
{
    int64_t different = text_number_grams(lists, n_lists, n, grams), matches = 0;
    int64_t *most = wn_alloc_zero(different, sizeof *most), *seen = wn_alloc(different, sizeof *seen);

    for (int64_t l = 0; l < n_lists; l++) {
        memset(seen, 0, (size_t)different * sizeof *seen);
        for (int64_t i = 0; i < text_gram_count(lists[l].count, n); i++)
            seen[grams[l][i]]++;
        for (int64_t g = 0; g < different; g++)
            if (l == n_lists - 1)
                matches += seen[g] < most[g] ? seen[g] : most[g];
            else if (seen[g] > most[g])
                most[g] = seen[g];
    }
    wn_free(most);
    wn_free(seen);
    return matches;
}

void wn_bleu_count(const struct wn_words *references, int64_t count, const struct wn_words *prediction, double *counts)
{
    int64_t n_lists = count + 1;
    const struct wn_words **words = wn_alloc(n_lists, sizeof *words);
    struct text_ids *lists = wn_alloc(n_lists, sizeof *lists);
    int32_t **ids = wn_alloc(n_lists, sizeof *ids), **grams = wn_alloc(n_lists, sizeof *grams);

    for (int64_t l = 0; l < n_lists; l++) {
        words[l] = l < count ? &references[l] : prediction;
        ids[l] = wn_alloc(words[l]->count, sizeof **ids);
        grams[l] = wn_alloc(words[l]->count, sizeof **grams);
        lists[l] = (struct text_ids){ids[l], words[l]->count};
    }
    wn_words_number(words, n_lists, ids);
    counts[LENGTH] = (double)prediction->count;
    counts[REFERENCE_LENGTH] = closest_length(references, count, prediction->count);
    for (int n = 0; n < ORDERS; n++) {
        counts[MATCHES + n] = (double)clipped_matches(lists, n_lists, n + 1, grams);
        counts[TOTALS + n] = (double)text_gram_count(prediction->count, n + 1);
    }
    for (int64_t l = 0; l < n_lists; l++) {
        wn_free(ids[l]);
        wn_free(grams[l]);
    }
    wn_free(ids);
    wn_free(grams);
    wn_free(lists);
    wn_free(words);
}

/* ---- score of counts ---- */

static double brevity(const double *counts)
{
    if (counts[LENGTH] >= counts[REFERENCE_LENGTH])
        return 1;
    return counts[LENGTH] > 0 ? exp(1 - counts[REFERENCE_LENGTH] / counts[LENGTH]) : 0;
}

/* Of ln(score), times the score. */
static void differentiate(const double *counts, int orders, double score, double *gradient)
{
    if (counts[LENGTH] < counts[REFERENCE_LENGTH]) {
        gradient[LENGTH] = score * counts[REFERENCE_LENGTH] / (counts[LENGTH] * counts[LENGTH]);
        gradient[REFERENCE_LENGTH] = -score / counts[LENGTH];
    }
    for (int n = 0; n < orders; n++) {
        gradient[MATCHES + n] = counts[MATCHES + n] > 0 ? score / orders / counts[MATCHES + n] : 0;
        gradient[TOTALS + n] = -score / orders / counts[TOTALS + n];
    }
}

double wn_bleu(const double *counts, bool effective_order, double *gradient)
{
    double logarithms = 0, halved = 1, matches = 0;
    int orders = 0;

    if (gradient)
        memset(gradient, 0, WN_BLEU_COUNTS * sizeof *gradient);
    for (int n = 0; n < ORDERS; n++)
        matches += counts[MATCHES + n];
    for (; orders < ORDERS && counts[TOTALS + orders] > 0; orders++) {
        double match = counts[MATCHES + orders];
        halved *= match > 0 ? 1 : 2;
        logarithms += log(100 * (match > 0 ? match : 1 / halved) / counts[TOTALS + orders]);
    }
    if (matches == 0 || (orders < ORDERS && !effective_order))
        return 0;
    double score = brevity(counts) * exp(logarithms / orders);
    if (gradient)
        differentiate(counts, orders, score, gradient);
    return score;
}
