/* SPDX-License-Identifier: Apache-2.0 */
/* A pattern, a reference and a prediction, which is what a compressed model wrote: regular expressions and scores. */
#include <stdlib.h>
#include <string.h>

#include <winnow/io.h>
#include <winnow/text.h>

#include "fuzz.h"

static void search(const char *pattern, struct wn_chars text)
{
    struct wn_regex *regex;
    struct wn_chars piece;
    struct wn_text out = {0};
    bool found;

    if (wn_regex_compile("pattern", pattern, &regex) != WN_OK)
        return;
    wn_regex_search(regex, text, &found);
    wn_regex_replace(regex, text, "-", &out);
    for (int last = 0; last < 2; last++)
        if (wn_regex_pick(regex, text, wn_regex_groups(regex), last, &found, &piece) == WN_OK && found &&
            piece.length > 0 && (piece.data < text.data || piece.data + piece.length > text.data + text.length))
            WN_BUG("a match outside of the text");
    wn_text_release(&out);
    wn_regex_free(&regex);
}

static void score_answer(struct wn_chars reference, struct wn_chars prediction)
{
    for (int kind = 0; kind < WN_NORMALIZATIONS; kind++) {
        struct wn_normalizer normalizer;
        struct wn_references references;
        struct wn_answer_scores scores;
        wn_normalizer_init(&normalizer, (enum wn_normalization)kind);
        normalizer.ignore_case = normalizer.ignore_numbers = normalizer.ignore_punctuation = true;
        if (wn_references_init(&references, &normalizer, &reference, 1) == WN_OK) {
            if (wn_references_score(&references, &normalizer, prediction, &scores) == WN_OK &&
                !(scores.f1 >= 0 && scores.f1 <= 1))
                WN_BUG("f1 is %g", scores.f1);
            wn_references_release(&references);
        }
        wn_normalizer_release(&normalizer);
    }
}

static void score_summary(struct wn_chars reference, struct wn_chars prediction)
{
    struct wn_rouge_text texts[2];
    struct wn_words words[2] = {{{0}, NULL, 0, 0}, {{0}, NULL, 0, 0}};
    struct wn_rouge rouge;
    struct wn_extraction extraction;

    wn_rouge_text_init(&texts[0], reference, true);
    wn_rouge_text_init(&texts[1], prediction, true);
    wn_rouge_score(&texts[0], &texts[1], &rouge);
    wn_words_split(reference, &words[0]);
    wn_words_split(prediction, &words[1]);
    const struct wn_words *lists[] = {&words[0], &words[1]};
    int32_t *ids[] = {malloc((size_t)(words[0].count + 1) * sizeof(int32_t)),
                      malloc((size_t)(words[1].count + 1) * sizeof(int32_t))};
    wn_words_number(lists, 2, ids);
    wn_extraction_score(ids[0], words[0].count, ids[1], words[1].count, &extraction);
    wn_novelty(ids[0], words[0].count, ids[1], words[1].count, 2);
    wn_repetition(ids[1], words[1].count, 2);
    wn_distinct(ids[1], words[1].count, 3);
    wn_repeated_suffix(ids[1], words[1].count);
    for (int i = 0; i < 2; i++) {
        free(ids[i]);
        wn_words_release(&words[i]);
        wn_rouge_text_release(&texts[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part parts[3];

    fuzz_split(data, size, parts, 3);
    char *pattern = wn_strndup(parts[0].data, parts[0].length);
    struct wn_chars reference = {parts[1].data, parts[1].length}, prediction = {parts[2].data, parts[2].length};
    /* Both are valid UTF-8: JSON and decoded tokens. */
    if (wn_utf8_invalid_at(pattern, (int64_t)strlen(pattern)) < 0 &&
        wn_utf8_invalid_at(reference.data, (int64_t)reference.length) < 0 &&
        wn_utf8_invalid_at(prediction.data, (int64_t)prediction.length) < 0) {
        search(pattern, prediction);
        score_answer(reference, prediction);
        score_summary(reference, prediction);
    }
    wn_free(pattern);
    fuzz_check_memory();
    return 0;
}
