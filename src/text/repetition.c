/* SPDX-License-Identifier: Apache-2.0 */
/* Repetition inside a text, and overlap of a summary with its source; on numbers of words or token ids. */
#include "text_impl.h"

static int64_t different_grams(const int32_t *ids, int64_t count, int64_t n)
{
    struct text_ids list = {ids, count};
    int32_t *grams = wn_alloc(count, sizeof(*grams));
    int64_t different = text_number_grams(&list, 1, n, &grams);

    wn_free(grams);
    return different;
}

double wn_repetition(const int32_t *ids, int64_t count, int64_t n)
{
    int64_t grams = text_gram_count(count, n);

    return grams > 0 ? 1.0 - (double)different_grams(ids, count, n) / (double)grams : 0.0;
}

double wn_distinct(const int32_t *ids, int64_t count, int64_t n)
{
    return count > 0 ? (double)different_grams(ids, count, n) / (double)count : 0.0;
}

/*
 * Z-function of the reversed ids: length[k] ids from the end on equal those from k places before the end on. Linear:
 * [left, right) is the piece known to repeat the end that reaches furthest.
 */
int64_t wn_repeated_suffix(const int32_t *ids, int64_t count)
{
    const int32_t *end = ids + count - 1;
    int64_t *length = wn_alloc_zero(count, sizeof(*length)), left = 0, right = 0, longest = 0;

    for (int64_t k = 1; k < count; k++) {
        if (k < right)
            length[k] = length[k - left] < right - k ? length[k - left] : right - k;
        while (k + length[k] < count && end[-length[k]] == end[-k - length[k]])
            length[k]++;
        if (k + length[k] > right) {
            left = k;
            right = k + length[k];
        }
        if (length[k] > longest)
            longest = length[k];
    }
    wn_free(length);
    return longest;
}

/* longest[i] = most ids from summary[i] on that stand somewhere in the source in one piece. */
static void longest_pieces(const int32_t *source, int64_t n_source, const int32_t *summary, int64_t n_summary,
                           int64_t *longest)
{
    /* from the back: match[j] = length of the common piece from summary[i] and source[j] on */
    int64_t *match = wn_alloc_zero(n_source + 1, sizeof(*match));

    for (int64_t i = n_summary - 1; i >= 0; i--) {
        longest[i] = 0;
        for (int64_t j = 0; j < n_source; j++) { /* match[j + 1] still belongs to i + 1 */
            match[j] = summary[i] == source[j] ? match[j + 1] + 1 : 0;
            longest[i] = match[j] > longest[i] ? match[j] : longest[i];
        }
    }
    wn_free(match);
}

void wn_extraction_score(const int32_t *source, int64_t n_source, const int32_t *summary, int64_t n_summary,
                         struct wn_extraction *scores)
{
    int64_t *longest = wn_alloc(n_summary, sizeof(*longest)), covered = 0, squares = 0;

    longest_pieces(source, n_source, summary, n_summary, longest);
    for (int64_t i = 0; i<n_summary; i += longest[i]> 0 ? longest[i] : 1) {
        covered += longest[i];
        squares += longest[i] * longest[i];
    }
    wn_free(longest);
    *scores = (struct wn_extraction){0};
    if (n_summary > 0)
        *scores = (struct wn_extraction){(double)covered / (double)n_summary, (double)squares / (double)n_summary,
                                         (double)n_source / (double)n_summary};
}

double wn_novelty(const int32_t *source, int64_t n_source, const int32_t *summary, int64_t n_summary, int64_t n)
{
    struct text_ids lists[] = {{source, n_source}, {summary, n_summary}};
    int32_t *grams[] = {wn_alloc(n_source, sizeof(int32_t)), wn_alloc(n_summary, sizeof(int32_t))};
    int64_t different = text_number_grams(lists, 2, n, grams), known = 0;
    int64_t n_grams = text_gram_count(n_summary, n);
    uint8_t *in_source = wn_alloc_zero(different, 1);

    for (int64_t i = 0; i < text_gram_count(n_source, n); i++)
        in_source[grams[0][i]] = 1;
    for (int64_t i = 0; i < n_grams; i++)
        known += in_source[grams[1][i]];
    wn_free(in_source);
    wn_free(grams[0]);
    wn_free(grams[1]);
    return n_grams > 0 ? (double)(n_grams - known) / (double)n_grams : 0.0;
}
