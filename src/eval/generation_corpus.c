/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of all texts together: BLEU and chrF++ from counts that are added over items. */
#include "generation.h"

#include <math.h>

static double corpus_bleu(const double *counts, double *gradient)
{
    return wn_bleu(counts, false, gradient);
}

const struct generation_corpus generation_corpus[GENERATION_CORPUS] = {
    {GENERATION_BLEU, WN_BLEU_COUNTS, wn_bleu_count_names, corpus_bleu},
    {GENERATION_CHRF, WN_CHRF_COUNTS, wn_chrf_count_names, wn_chrf},
};

static double product(const double *a, const double *b, int count)
{
    double sum = 0;

    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/*
 * Counts are whole numbers: their sum does not depend on the order. An item moves the score by the gradient times its
 * counts, less the mean of that over items: as many are drawn anew as there are. The mean is 0 but for rounding, unless
 * BLEU has smoothed an order.
 */
static double reduce(const struct generation_corpus *corpus, const struct wn_item_values *values, const int64_t *index,
                     int64_t n, double *influence)
{
    double sums[GENERATION_MOST_COUNTS] = {0}, gradient[GENERATION_MOST_COUNTS];
    const double *counts = values->counts[corpus->metric], *weights = values->weight[corpus->metric];
    int64_t parts = 0;

    for (int64_t i = 0; i < n; i++) {
        parts += !isnan(weights[index[i]]);
        for (int c = 0; c < corpus->n_counts && !isnan(weights[index[i]]); c++)
            sums[c] += counts[index[i] * corpus->n_counts + c];
    }
    double score = corpus->score(sums, gradient), moved = product(gradient, sums, corpus->n_counts);
    double mean = fabs(moved) > 1e-9 * score ? moved / (double)parts : 0;
    for (int64_t i = 0; i < n; i++)
        influence[i] = isnan(weights[index[i]])
                           ? 0
                           : product(gradient, counts + index[i] * corpus->n_counts, corpus->n_counts) - mean;
    return parts > 0 ? score : (double)NAN;
}

double generation_reduce_bleu(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                              double *influence)
{
    (void)metric;
    return reduce(&generation_corpus[0], values, index, n, influence);
}

double generation_reduce_chrf(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                              double *influence)
{
    (void)metric;
    return reduce(&generation_corpus[1], values, index, n, influence);
}
