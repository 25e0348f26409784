/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates judged by a task: its items that a search may see, minibatches of them, and what their losses say. */
#include "judge_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the items ---- */

static int compare_numbers(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

/* The beginning of a shuffle of all items, rising. */
static void draw_items(struct wn_judge_items *items, int64_t all, double share)
{
    struct wn_draws draws = wn_draws_begin(0, WN_DRAW_ITEMS, 0, 0, 0);
    int64_t count = (int64_t)ceil(share * (double)all);

    items->count = count < 1 ? 1 : count > all ? all : count;
    items->number = wn_alloc(all, sizeof *items->number);
    for (int64_t i = 0; i < all; i++)
        items->number[i] = i;
    for (int64_t i = 0; i < items->count; i++)
        wn_draws_pick(&draws, items->number, all, i);
    qsort(items->number, (size_t)items->count, sizeof *items->number, compare_numbers);
}

/* The sequence that holds a packed row. */
static int64_t sequence_of(const struct wn_sequences *sequences, int64_t row)
{
    int64_t low = 0, high = sequences->n_sequences;

    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        *(sequences->offset[middle] <= row ? &low : &high) = middle;
    }
    return low;
}

static int64_t length_of(const struct wn_sequences *sequences, int64_t s)
{
    return sequences->offset[s + 1] - sequences->offset[s];
}

/* Tokens that a sequence begins with as the one before it does. */
static int64_t common_tokens(const struct wn_sequences *sequences, int64_t s)
{
    const int32_t *a = sequences->ids + sequences->offset[s - 1], *b = sequences->ids + sequences->offset[s];
    int64_t count = 0;

    while (count < length_of(sequences, s - 1) && count < length_of(sequences, s) && a[count] == b[count])
        count++;
    return count;
}

/* Appends sequences and targets of item i. */
static void copy_item(struct wn_judge_items *items, int64_t i)
{
    const struct wn_eval_set *set = items->set;
    const struct wn_sequences *from = &set->sequences;
    int64_t first, count, at = items->target[i], row = wn_sequences_tokens(&items->sequences);

    set->kind->gold->targets(set, items->number[i], &first, &count);
    int64_t begin = sequence_of(from, set->target_row[first]);
    int64_t end = sequence_of(from, set->target_row[first + count - 1]) + 1;
    for (int64_t t = 0; t < count; t++) {
        items->target_row[at + t] = row + set->target_row[first + t] - from->offset[begin];
        items->target_id[at + t] = set->target_id[first + t];
    }
    items->tokens[i] = 0;
    for (int64_t s = begin; s < end; s++) {
        wn_sequences_append(&items->sequences, from->ids + from->offset[s], length_of(from, s));
        items->tokens[i] += length_of(from, s) - (s > begin ? common_tokens(from, s) : 0);
    }
    items->in_set[i] = first;
    items->target[i + 1] = at + count;
    items->sequence[i + 1] = items->sequences.n_sequences;
}

void wn_judge_items_create(const struct wn_eval_set *set, double share, struct wn_judge_items *items)
{
    *items = (struct wn_judge_items){.set = set};
    draw_items(items, set->kind->gold->items(set), share);
    items->tokens = wn_alloc(items->count, sizeof *items->tokens);
    items->in_set = wn_alloc(items->count, sizeof *items->in_set);
    items->sequence = wn_alloc_zero(items->count + 1, sizeof *items->sequence);
    items->target = wn_alloc_zero(items->count + 1, sizeof *items->target);
    items->target_row = wn_alloc(set->n_targets, sizeof *items->target_row);
    items->target_id = wn_alloc(set->n_targets, sizeof *items->target_id);
    wn_sequences_init(&items->sequences);
    for (int64_t i = 0; i < items->count; i++)
        copy_item(items, i);
}

void wn_judge_items_release(struct wn_judge_items *items)
{
    wn_free(items->number);
    wn_free(items->tokens);
    wn_free(items->sequence);
    wn_free(items->target);
    wn_free(items->in_set);
    wn_free(items->target_row);
    wn_free(items->target_id);
    wn_sequences_release(&items->sequences);
    *items = (struct wn_judge_items){0};
}

/* ---- a minibatch ---- */

static void append_item(const struct wn_judge_items *items, int64_t i, struct wn_eval_set *set)
{
    const struct wn_sequences *from = &items->sequences;
    int64_t shift = wn_sequences_tokens(&set->sequences) - from->offset[items->sequence[i]];

    for (int64_t t = items->target[i]; t < items->target[i + 1]; t++) {
        set->target_row[set->n_targets] = items->target_row[t] + shift;
        set->target_id[set->n_targets++] = items->target_id[t];
    }
    for (int64_t s = items->sequence[i]; s < items->sequence[i + 1]; s++)
        wn_sequences_append(&set->sequences, from->ids + from->offset[s], length_of(from, s));
}

void wn_judge_open_items(const struct wn_judge *judge, struct wn_judge_stage *stage)
{
    const struct wn_judge_items *items = judge->spec.items;
    const struct wn_minibatch *batch = stage->batch;
    struct wn_eval_set *set = &stage->set;
    int64_t targets = 0;

    for (int64_t i = 0; i < batch->n_sequences; i++)
        targets += items->target[batch->sequence[i] + 1] - items->target[batch->sequence[i]];
    set->kind = items->set->kind;
    set->protocol = wn_strdup("");
    set->target_row = wn_alloc(targets, sizeof *set->target_row);
    set->target_id = wn_alloc(targets, sizeof *set->target_id);
    for (int64_t i = 0; i < batch->n_sequences; i++)
        append_item(items, batch->sequence[i], set);
    wn_sequences_cut(&set->sequences);
    wn_eval_share(judge->spec.model, set);
}

/* First target of a part, and how many it has. */
static int64_t part_targets(const struct wn_judge_stage *stage, int64_t part, int64_t *first)
{
    const struct wn_sequences *sequences = &stage->set.sequences;
    int64_t last, count;

    wn_eval_chunk_targets(&stage->set, wn_sequences_part(sequences, part), first);
    count = wn_eval_chunk_targets(&stage->set, wn_sequences_part(sequences, part + 1) - 1, &last);
    return last + count - *first;
}

int64_t wn_judge_item_numbers(const struct wn_judge_stage *stage, int64_t part)
{
    int64_t first;

    return 2 * part_targets(stage, part, &first);
}

/* ---- units ---- */

/* Losses of the targets of a part, then whether each is the most likely token. */
static void score_unit(const struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t part,
                       const float *hidden, struct wn_target_scores *scores, double *result)
{
    const struct wn_sequences *sequences = &stage->set.sequences;
    int64_t begin = wn_sequences_part(sequences, part), end = wn_sequences_part(sequences, part + 1), first;
    int64_t count = part_targets(stage, part, &first), row = sequences->offset[sequences->chunk[begin]];

    for (int64_t c = begin; c < end; c++) {
        int64_t rows = sequences->offset[sequences->chunk[c]] - row;
        wn_eval_score_chunk(judge->spec.model, &stage->set, c, hidden + rows * judge->spec.model->config.hidden_size,
                            NULL, scores);
    }
    for (int64_t t = 0; t < count; t++) {
        result[t] = scores->loss[first + t];
        result[count + t] = scores->greedy[first + t];
    }
}

void wn_judge_score_items(const struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end,
                          float *const *hidden)
{
    int64_t part = first / stage->sharing.count, numbers = stage->numbers[part + 1] - stage->numbers[part];
    struct wn_target_scores scores;

    wn_target_scores_init(&scores, &stage->set);
    for (int64_t u = first; u < end; u++) {
        double *result = stage->results + wn_judge_result(stage, u);
        if (hidden[u - first])
            score_unit(judge, stage, part, hidden[u - first], &scores, result);
        else
            memcpy(result, result - numbers, (size_t)numbers * sizeof *result);
    }
    wn_target_scores_release(&scores);
}

/* ---- candidates ---- */

/* Loss and greedy of a candidate [targets of the minibatch, as they are run]. */
static void collect_targets(const struct wn_judge_stage *stage, int64_t position, struct wn_target_scores *run)
{
    for (int64_t p = 0; p < stage->n_parts; p++) {
        const double *result = stage->results + wn_judge_result(stage, p * stage->sharing.count + position);
        int64_t first, count = part_targets(stage, p, &first);
        for (int64_t t = 0; t < count; t++) {
            run->loss[first + t] = result[t];
            run->greedy[first + t] = result[count + t] != 0;
        }
    }
}

/* Puts them where the kind looks for those of the items. */
static void place_targets(const struct wn_judge_items *items, const struct wn_judge_stage *stage,
                          const struct wn_target_scores *run, struct wn_target_scores *scores)
{
    const int64_t *place = stage->set.target_place;
    int64_t at = 0;

    for (int64_t i = 0; i < stage->batch->n_sequences; i++) {
        int64_t item = stage->batch->sequence[i], count = items->target[item + 1] - items->target[item];
        for (int64_t t = 0; t < count; t++, at++) {
            scores->loss[items->in_set[item] + t] = run->loss[place ? place[at] : at];
            scores->greedy[items->in_set[item] + t] = run->greedy[place ? place[at] : at];
        }
    }
}

void wn_judge_finish_items(const struct wn_judge *judge, const struct wn_judge_stage *stage, double *fitness,
                           double *accuracy)
{
    const struct wn_judge_items *items = judge->spec.items;
    struct wn_target_scores run, scores = {0};

    wn_target_scores_init(&run, &stage->set);
    scores.loss = wn_alloc_zero(items->set->n_targets, sizeof *scores.loss);
    scores.greedy = wn_alloc_zero(items->set->n_targets, sizeof *scores.greedy);
    for (int64_t i = 0; i < stage->sharing.count; i++) {
        double sum = 0, right = 0, count = (double)stage->batch->n_sequences;
        collect_targets(stage, i, &run);
        place_targets(items, stage, &run, &scores);
        for (int64_t s = 0; s < stage->batch->n_sequences; s++) {
            struct wn_gold gold;
            items->set->kind->gold->judge(items->set, items->number[stage->batch->sequence[s]], &scores, &gold);
            sum += gold.log_likelihood;
            right += gold.right;
        }
        fitness[stage->sharing.order[i]] = -sum / count;
        accuracy[stage->sharing.order[i]] = right / count;
    }
    wn_target_scores_release(&run);
    wn_target_scores_release(&scores);
}
