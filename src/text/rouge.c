/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ROUGE (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries") as Google's rouge_score computes it.
 *
 * rougeLsum depends on which of several longest common subsequences is taken: the one found from the ends of both
 * lines, which steps back in the prediction where that keeps a longer rest, else in the reference.
 */
#include "text_impl.h"

void wn_rouge_text_init(struct wn_rouge_text *prepared, struct wn_chars text, bool stemmer)
{
    int64_t capacity = 0;

    *prepared = (struct wn_rouge_text){0};
    while (text.length > 0) {
        const char *newline = memchr(text.data, '\n', text.length);
        struct wn_chars line = {text.data, newline ? (size_t)(newline - text.data) : text.length};
        size_t used = line.length + (newline != NULL);
        text = (struct wn_chars){text.data + used, text.length - used};
        wn_words_rouge(line, stemmer, &prepared->words);
        if (prepared->n_lines == capacity) {
            capacity = capacity ? 2 * capacity : 8;
            prepared->line_ends = wn_resize(prepared->line_ends, capacity, sizeof(int64_t));
        }
        prepared->line_ends[prepared->n_lines++] = prepared->words.count;
    }
}

void wn_rouge_text_release(struct wn_rouge_text *prepared)
{
    wn_words_release(&prepared->words);
    wn_free(prepared->line_ends);
    *prepared = (struct wn_rouge_text){0};
}

/* Two texts with their words numbered together. */
struct pair {
    const struct wn_rouge_text *reference, *prediction;
    struct text_ids lists[2]; /* reference, prediction */
    int64_t different;
};

/* `hits` of `n_reference` and `n_prediction` things. */
static struct wn_rouge_score score_of(int64_t hits, int64_t n_reference, int64_t n_prediction)
{
    double precision = n_prediction > 0 ? (double)hits / (double)n_prediction : 0.0;
    double recall = n_reference > 0 ? (double)hits / (double)n_reference : 0.0;

    return (struct wn_rouge_score){precision, recall, text_f_measure(precision, recall)};
}

static struct wn_rouge_score n_gram_score(const struct pair *pair, int64_t n)
{
    int64_t counts[2];
    int32_t *grams[2];

    for (int i = 0; i < 2; i++) {
        counts[i] = text_gram_count(pair->lists[i].count, n);
        grams[i] = wn_alloc(pair->lists[i].count, sizeof(int32_t));
    }
    int64_t different = text_number_grams(pair->lists, 2, n, grams);
    int64_t hits = text_common(grams[0], counts[0], grams[1], counts[1], different);
    wn_free(grams[0]);
    wn_free(grams[1]);
    return score_of(hits, counts[0], counts[1]);
}

/*
 * table[i * (b.count + 1) + j] = length of the longest common subsequence of the first i ids of a and the first j of b.
 * The table has room for (a.count + 1) (b.count + 1); returns its last entry.
 */
static int32_t common_subsequence(struct text_ids a, struct text_ids b, int32_t *table)
{
    int64_t width = b.count + 1;

    memset(table, 0, (size_t)width * sizeof(*table));
    for (int64_t i = 1; i <= a.count; i++) {
        int32_t *row = table + i * width, *above = row - width;
        row[0] = 0;
        for (int64_t j = 1; j < width; j++) {
            int32_t longer = above[j] > row[j - 1] ? above[j] : row[j - 1];
            row[j] = a.data[i - 1] == b.data[j - 1] ? above[j - 1] + 1 : longer;
        }
    }
    return table[a.count * width + b.count];
}

/* Marks the members of one longest common subsequence in a. */
static void mark_subsequence(struct text_ids a, struct text_ids b, const int32_t *table, uint8_t *in_union)
{
    int64_t width = b.count + 1, i = a.count, j = b.count;

    while (i > 0 && j > 0) {
        if (a.data[i - 1] == b.data[j - 1]) {
            in_union[--i] = 1;
            j--;
        } else if (table[i * width + j - 1] > table[(i - 1) * width + j]) {
            j--;
        } else {
            i--;
        }
    }
}

static struct text_ids line_of(const struct wn_rouge_text *text, struct text_ids ids, int64_t line)
{
    int64_t start = line > 0 ? text->line_ends[line - 1] : 0;

    return (struct text_ids){ids.data + start, text->line_ends[line] - start};
}

/* How often each number stands in a list. */
static int64_t *counts_of(struct text_ids ids, int64_t different)
{
    int64_t *counts = wn_alloc_zero(different, sizeof(*counts));

    for (int64_t i = 0; i < ids.count; i++)
        counts[ids.data[i]]++;
    return counts;
}

/* Per line of the reference: the union over the prediction's lines; a word counts as often as both texts have it. */
static struct wn_rouge_score lines_score(const struct pair *pair, int32_t *table)
{
    struct text_ids reference = pair->lists[0], prediction = pair->lists[1];
    int64_t *left[] = {counts_of(reference, pair->different), counts_of(prediction, pair->different)};
    uint8_t *in_union = wn_alloc_zero(reference.count, 1), *marks = in_union;
    int64_t hits = 0;

    for (int64_t r = 0; r < pair->reference->n_lines; r++) {
        struct text_ids line = line_of(pair->reference, reference, r);
        for (int64_t p = 0; p < pair->prediction->n_lines; p++) {
            struct text_ids other = line_of(pair->prediction, prediction, p);
            common_subsequence(line, other, table);
            mark_subsequence(line, other, table, marks);
        }
        for (int64_t i = 0; i < line.count; i++) {
            int32_t word = line.data[i];
            if (!marks[i] || left[0][word] == 0 || left[1][word] == 0)
                continue;
            left[0][word]--;
            left[1][word]--;
            hits++;
        }
        marks += line.count;
    }
    wn_free(in_union);
    wn_free(left[0]);
    wn_free(left[1]);
    return score_of(hits, reference.count, prediction.count);
}

void wn_rouge_score(const struct wn_rouge_text *reference, const struct wn_rouge_text *prediction,
                    struct wn_rouge *scores)
{
    int64_t n_reference = reference->words.count, n_prediction = prediction->words.count;

    *scores = (struct wn_rouge){0};
    if (n_reference == 0 || n_prediction == 0)
        return;
    const struct wn_words *words[] = {&reference->words, &prediction->words};
    int32_t *ids[] = {wn_alloc(n_reference, sizeof(int32_t)), wn_alloc(n_prediction, sizeof(int32_t))};
    int32_t *table = wn_alloc((n_reference + 1) * (n_prediction + 1), sizeof(*table));
    struct pair pair = {reference, prediction, {{ids[0], n_reference}, {ids[1], n_prediction}}, 0};
    pair.different = wn_words_number(words, 2, ids);
    int32_t common = common_subsequence(pair.lists[0], pair.lists[1], table);

    scores->rouge1 = n_gram_score(&pair, 1);
    scores->rouge2 = n_gram_score(&pair, 2);
    scores->rougeL = score_of(common, n_reference, n_prediction);
    scores->rougeLsum = lines_score(&pair, table);
    wn_free(table);
    wn_free(ids[0]);
    wn_free(ids[1]);
}

void wn_rouge_best(const struct wn_rouge_text *references, int64_t count, const struct wn_rouge_text *prediction,
                   struct wn_rouge *scores)
{
    struct wn_rouge one;

    *scores = (struct wn_rouge){0};
    for (int64_t i = 0; i < count; i++) {
        wn_rouge_score(&references[i], prediction, &one);
#define X(name)                                                                                                        \
    if (one.name.f > scores->name.f)                                                                                   \
        scores->name = one.name;
        WN_ROUGE_LIST(X)
#undef X
    }
}
