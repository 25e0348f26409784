/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of generated texts: of answers, of what the texts are like, and of how far they agree with the dense model. */
#include "generation.h"

#include <math.h>
#include <string.h>

/* NaN: the text is no part of the metric. */
typedef double values_t[GENERATION_ALL];
/* Of one text, by corpus metric. */
typedef double counts_t[GENERATION_CORPUS][GENERATION_MOST_COUNTS];

/* ---- one text ---- */

static void score_references(const struct generation_task *state, const struct generation_item *item,
                             struct wn_chars answer, values_t values)
{
    struct wn_answer_scores scores = {0};
    struct wn_rouge_text prediction;
    struct wn_rouge rouge;

    if (item->references.count == 0)
        return;
    if (wn_references_score(&item->references, &state->normalizer, answer, &scores) != WN_OK) {
        wn_log(WN_LOG_WARNING, "%s: the answer counts as wrong", wn_error_message());
        scores = (struct wn_answer_scores){0};
    }
    values[GENERATION_EXACT_MATCH] = scores.exact_match;
    values[GENERATION_F1] = scores.f1;
    values[GENERATION_EM_RELAXED] = scores.em_relaxed;
    values[GENERATION_CONTAINS] = scores.contains;
    values[GENERATION_CONTAINS_WORD] = scores.contains_word;
    values[GENERATION_CONTAINS_NUMBER] = scores.contains_number;
    if (!item->rouge)
        return;
    wn_rouge_text_init(&prediction, answer, state->stemmer);
    wn_rouge_best(item->rouge, item->references.count, &prediction, &rouge);
    wn_rouge_text_release(&prediction);
    values[GENERATION_ROUGE1] = rouge.rouge1.f;
    values[GENERATION_ROUGE2] = rouge.rouge2.f;
    values[GENERATION_ROUGEL] = rouge.rougeL.f;
    values[GENERATION_ROUGELSUM] = rouge.rougeLsum.f;
}

/* Where it is wanted and there are references; counts of what is not are not set. */
static void score_translation(const struct generation_task *state, const struct generation_item *item,
                              struct wn_chars answer, values_t values, counts_t counts)
{
    int64_t n = item->references.count;

    if (item->bleu && n > 0) {
        struct wn_words words = {0};
        wn_bleu_tokenize(state->bleu_tokenizer, answer, &words);
        wn_bleu_count(item->bleu, n, &words, counts[0]);
        values[GENERATION_BLEU] = wn_bleu(counts[0], true, NULL);
        wn_words_release(&words);
    }
    if (item->chrf && n > 0) {
        struct wn_chrf_text prediction;
        wn_chrf_text_init(&prediction, answer);
        wn_chrf_count(item->chrf, n, &prediction, counts[1]);
        values[GENERATION_CHRF] = wn_chrf(counts[1], NULL);
        wn_chrf_text_release(&prediction);
    }
}

/* The metrics of answers; all others stay missing. */
static void score_answer(const struct generation_task *state, const struct generation_item *item, const char *text,
                         values_t values, counts_t counts)
{
    struct wn_chars answer;

    for (int m = 0; m < GENERATION_ALL; m++)
        values[m] = (double)NAN;
    if (wn_filter_apply(&state->filter, wn_chars_of(text), &answer) != WN_OK) {
        wn_log(WN_LOG_WARNING, "%s: the filter finds nothing", wn_error_message());
        answer = wn_chars_of("[invalid]");
    }
    score_references(state, item, answer, values);
    score_translation(state, item, answer, values, counts);
    generation_score_checks(state, item, answer, values);
}

static void score_extraction(const struct generation_item *item, const char *text, values_t values)
{
    struct wn_words words = {0};
    struct wn_extraction scores;
    const struct wn_words *lists[2] = {&item->source, &words};

    if (!item->has_source)
        return;
    wn_words_rouge(wn_chars_of(text), false, &words);
    int32_t *ids[2] = {wn_alloc(item->source.count, sizeof(int32_t)), wn_alloc(words.count, sizeof(int32_t))};
    wn_words_number(lists, 2, ids);
    wn_extraction_score(ids[0], item->source.count, ids[1], words.count, &scores);
    values[GENERATION_COVERAGE] = scores.coverage;
    values[GENERATION_DENSITY] = scores.density;
    values[GENERATION_COMPRESSION] = scores.compression;
    wn_free(ids[0]);
    wn_free(ids[1]);
    wn_words_release(&words);
}

static void score_repetition(const char *text, values_t values)
{
    struct wn_words words = {0};
    const struct wn_words *lists[1] = {&words};

    wn_words_split(wn_chars_of(text), &words);
    int32_t *ids = wn_alloc(words.count, sizeof *ids);
    wn_words_number(lists, 1, &ids);
    values[GENERATION_WORDS] = (double)words.count;
    values[GENERATION_REP_2] = wn_repetition(ids, words.count, 2);
    values[GENERATION_REP_3] = wn_repetition(ids, words.count, 3);
    values[GENERATION_REP_4] = wn_repetition(ids, words.count, 4);
    values[GENERATION_REPEATED_SUFFIX] = (double)wn_repeated_suffix(ids, words.count);
    values[GENERATION_DISTINCT_1] = wn_distinct(ids, words.count, 1);
    values[GENERATION_DISTINCT_2] = wn_distinct(ids, words.count, 2);
    wn_free(ids);
    wn_words_release(&words);
}

static double rouge_l(const char *reference, const char *prediction, bool stemmer)
{
    struct wn_rouge_text a, b;
    struct wn_rouge rouge;

    if (!strcmp(reference, prediction))
        return 1; /* also without words */
    wn_rouge_text_init(&a, wn_chars_of(reference), stemmer);
    wn_rouge_text_init(&b, wn_chars_of(prediction), stemmer);
    wn_rouge_score(&a, &b, &rouge);
    wn_rouge_text_release(&a);
    wn_rouge_text_release(&b);
    return rouge.rougeL.f;
}

static void score_agreement(const struct generation_task *state, const struct wn_generated *texts,
                            const struct wn_generated *dense, int64_t t, values_t values)
{
    int64_t count = wn_generated_count(texts, t), other = wn_generated_count(dense, t), same = 0;
    const int32_t *ids = wn_generated_ids(texts, t), *dense_ids = wn_generated_ids(dense, t);

    if (other == 0)
        return;
    while (same < count && same < other && ids[same] == dense_ids[same])
        same++;
    values[GENERATION_AGREEMENT_EXACT] = !strcmp(texts->texts[t], dense->texts[t]);
    values[GENERATION_AGREEMENT_TOKENS] = (double)same;
    values[GENERATION_AGREEMENT_ROUGEL] = rouge_l(dense->texts[t], texts->texts[t], state->stemmer);
}

static void score_text(const struct generation_task *state, const struct generation_item *item,
                       const struct wn_generated *texts, const struct wn_generated *dense, int64_t t, values_t values,
                       counts_t counts)
{
    const char *text = texts->texts[t];
    int64_t end = wn_generated_end(texts, t);

    score_answer(state, item, text, values, counts);
    score_repetition(text, values);
    score_extraction(item, text, values);
    if (dense)
        score_agreement(state, texts, dense, t, values);
    values[GENERATION_LENGTH] = (double)wn_generated_count(texts, t);
    values[GENERATION_ENDED_LIMIT] = end == WN_END_LIMIT;
    values[GENERATION_ENDED_EOS] = end == WN_END_EOS;
    values[GENERATION_ENDED_STOP] = end >= WN_END_STOP;
}

/* ---- all items ---- */

/* Sums over draws. */
static void add_counts(const counts_t counts, int64_t i, struct wn_item_values *values)
{
    for (int k = 0; k < GENERATION_CORPUS; k++) {
        const struct generation_corpus *corpus = &generation_corpus[k];
        double *sums = values->counts[corpus->metric];
        for (int c = 0; sums && c < corpus->n_counts; c++)
            sums[i * corpus->n_counts + c] += counts[k][c];
    }
}

/* Means over draws into values and weights; a metric of a text is there for all draws or for none. */
static void score_item(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                       int64_t i, struct wn_item_values *values)
{
    const struct generation_task *state = set->state;
    int64_t draws = set->generation->draws;
    values_t sums = {0}, one;
    counts_t counts = {{0}};
    double losses = 0, tokens = 0;

    for (int64_t d = 0; d < draws; d++) {
        int64_t t = i * draws + d;
        score_text(state, &state->items[i], point->generated, dense ? dense->generated : NULL, t, one, counts);
        add_counts(counts, i, values);
        for (int m = 0; m < GENERATION_ALL; m++)
            sums[m] += one[m] / (double)draws;
        tokens += one[GENERATION_LENGTH];
        losses += point->generated_loss ? point->generated_loss[t] * one[GENERATION_LENGTH] : (double)NAN;
    }
    for (int m = 0; m < GENERATION_ALL; m++)
        if (values->value[m]) {
            values->value[m][i] = sums[m];
            values->weight[m][i] = isnan(sums[m]) ? (double)NAN : 1;
        }
    if (values->value[GENERATION_DENSE_PERPLEXITY]) {
        values->value[GENERATION_DENSE_PERPLEXITY][i] = losses;
        values->weight[GENERATION_DENSE_PERPLEXITY][i] = isnan(losses) ? (double)NAN : tokens;
    }
}

static void record_texts(const struct wn_eval_set *set, const struct wn_generated *texts, struct wn_record *record)
{
    const struct generation_task *state = set->state;

    memset(wn_record_i32(record, state->field_id), 0xff, (size_t)(texts->n_texts * texts->most) * sizeof(int32_t));
    for (int64_t t = 0; t < texts->n_texts; t++) {
        int64_t count = wn_generated_count(texts, t);
        memcpy(wn_record_i32(record, state->field_id) + t * texts->most, wn_generated_ids(texts, t),
               (size_t)count * sizeof(int32_t));
        wn_record_i32(record, state->field_length)[t] = (int32_t)count;
        wn_record_i32(record, state->field_end)[t] = (int32_t)wn_generated_end(texts, t);
        wn_record_set_text_at(record, state->field_text, t, texts->texts[t]);
    }
}

static void record_items(const struct generation_task *state, const struct wn_item_values *values,
                         struct wn_record *record)
{
    for (int m = 0; m < GENERATION_ALL; m++)
        for (int64_t i = 0; state->field_item[m] >= 0 && i < state->task.n_items; i++) {
            double value = values->value[m][i];
            wn_record_f64(record, state->field_item[m])[i] =
                m == GENERATION_DENSE_PERPLEXITY ? exp(value / values->weight[m][i]) : value;
        }
    for (int k = 0; k < GENERATION_CORPUS; k++)
        for (int64_t c = 0; state->field_counts[k] >= 0 && c < state->task.n_items * generation_corpus[k].n_counts; c++)
            wn_record_i32(record, state->field_counts[k])[c] = (int32_t)values->counts[generation_corpus[k].metric][c];
}

/* Of the main metric, one text per item. */
static void score_flips(const struct generation_task *state, const struct wn_item_values *values,
                        const struct wn_generated *dense, struct wn_record *record)
{
    int main_metric = state->task.metrics[0];
    double *right = wn_alloc(state->task.n_items, sizeof *right);

    for (int64_t i = 0; i < state->task.n_items; i++) {
        values_t of_dense;
        counts_t counts;
        score_answer(state, &state->items[i], dense->texts[i], of_dense, counts);
        right[i] = of_dense[main_metric];
    }
    wn_task_score_flips(&state->task, &(struct wn_answers){.right = values->value[main_metric]},
                        &(struct wn_answers){.right = right}, record);
    wn_free(right);
}

/* From values of items to those that are added: each check counts once, however many an item has; series as a whole. */
static void weigh_checks(const struct generation_task *state, struct wn_item_values *values)
{
    static const enum generation_metric each[] = {GENERATION_CHECKS_EACH, GENERATION_CHECKS_EACH_LOOSE};

    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; values->value[each[k]] && i < state->task.n_items; i++) {
            double n = (double)state->items[i].n_checks;
            if (n > 0)
                values->weight[each[k]][i] = n;
            values->value[each[k]][i] *= n > 0 ? n : 1;
        }
    if (values->value[GENERATION_LEVELS])
        generation_score_levels(state, values);
}

void generation_score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                      struct wn_record *record)
{
    const struct generation_task *state = set->state;
    struct wn_item_values values;

    wn_item_values_init(&values, &state->task);
    for (int m = 0; m < GENERATION_ALL; m++)
        if (values.value[m])
            values.weight[m] = wn_alloc(state->task.n_items, sizeof(double));
    for (int k = 0; k < GENERATION_CORPUS; k++)
        if (values.value[generation_corpus[k].metric])
            values.counts[generation_corpus[k].metric] =
                wn_alloc_zero(state->task.n_items * generation_corpus[k].n_counts, sizeof(double));
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < state->task.n_items; i++)
        score_item(set, point, dense, i, &values);
    record_texts(set, point->generated, record);
    record_items(state, &values, record);
    weigh_checks(state, &values);
    wn_task_score(&state->task, &values, record);
    if (dense && state->task.flips.share >= 0 && set->generation->draws == 1)
        score_flips(state, &values, dense->generated, record);
    wn_item_values_release(&values);
}
