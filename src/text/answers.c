/* Answers against references: exact match, relaxed match, containment, token F1. */
#include "text_impl.h"

static wn_status prepare(const struct wn_normalizer *normalizer, struct wn_chars text, struct wn_reference *item)
{
    *item = (struct wn_reference){0};
    WN_TRY(wn_normalize(normalizer, text, &item->text));
    wn_lower(text_chars(&item->text), &item->lower);
    wn_words_split(text_chars(&item->text), &item->words);
    return WN_OK;
}

static void release(struct wn_reference *item)
{
    wn_text_release(&item->text);
    wn_text_release(&item->lower);
    wn_words_release(&item->words);
}

wn_status wn_references_init(struct wn_references *references, const struct wn_normalizer *normalizer,
                             const struct wn_chars *texts, int64_t count)
{
    *references = (struct wn_references){.items = wn_alloc(count, sizeof(struct wn_reference))};
    for (; references->count < count; references->count++) {
        wn_status status = prepare(normalizer, texts[references->count], &references->items[references->count]);
        if (status != WN_OK) {
            wn_references_release(references);
            return status;
        }
    }
    return WN_OK;
}

void wn_references_release(struct wn_references *references)
{
    for (int64_t i = 0; i < references->count; i++)
        release(&references->items[i]);
    wn_free(references->items);
    *references = (struct wn_references){0};
}

static double token_f1(const struct wn_words *prediction, const struct wn_words *reference)
{
    if (prediction->count == 0 || reference->count == 0)
        return prediction->count == reference->count ? 1.0 : 0.0;
    const struct wn_words *lists[] = {prediction, reference};
    int32_t *ids[] = {wn_alloc(prediction->count, sizeof(int32_t)), wn_alloc(reference->count, sizeof(int32_t))};
    int64_t different = wn_words_number(lists, 2, ids);
    double common = (double)text_common(ids[0], prediction->count, ids[1], reference->count, different);

    wn_free(ids[0]);
    wn_free(ids[1]);
    return text_f_measure(common / (double)prediction->count, common / (double)reference->count);
}

static void keep_larger(double *best, double score)
{
    *best = score > *best ? score : *best;
}

static void score_one(const struct wn_reference *prediction, const struct wn_reference *reference,
                      struct wn_answer_scores *best)
{
    struct wn_chars given = text_chars(&prediction->text), wanted = text_chars(&reference->text);
    bool both = given.length > 0 && wanted.length > 0;

    keep_larger(&best->exact_match, text_equal(given, wanted));
    keep_larger(&best->em_relaxed, both && (text_contains(given, wanted) || text_contains(wanted, given)));
    keep_larger(&best->contains, both && text_contains(text_chars(&prediction->lower), text_chars(&reference->lower)));
    keep_larger(&best->f1, token_f1(&prediction->words, &reference->words));
}

wn_status wn_references_score(const struct wn_references *references, const struct wn_normalizer *normalizer,
                              struct wn_chars prediction, struct wn_answer_scores *scores)
{
    struct wn_reference given;
    wn_status status = prepare(normalizer, prediction, &given);

    *scores = (struct wn_answer_scores){0};
    if (status == WN_OK)
        for (int64_t i = 0; i < references->count; i++)
            score_one(&given, &references->items[i], scores);
    release(&given);
    return status;
}
