/* SPDX-License-Identifier: Apache-2.0 */
/* score.c: the evaluation sets of a walk: their hidden states go through every block, then through the head. */
#include <math.h>

#include <winnow/linalg.h>

#include "walk.h"

void wn_evaluation_open(struct wn_evaluation *evaluation, const struct wn_subject *subject, int64_t n_sets)
{
    evaluation->n_sets = n_sets;
    evaluation->hidden = wn_alloc_zero(n_sets, sizeof *evaluation->hidden);
    for (int64_t e = 0; e < n_sets; e++) {
        const struct wn_eval_set *set = &subject->prepared->sets[e];
        if (!wn_subject_wants(subject, e))
            continue;
        evaluation->hidden[e] = wn_workspace_embed(subject->model, &set->sequences);
        evaluation->generates = evaluation->generates || set->generation || set->efficiency;
    }
    evaluation->texts = wn_alloc_zero(n_sets, sizeof *evaluation->texts);
    evaluation->text_losses = wn_alloc_zero(n_sets, sizeof *evaluation->text_losses);
    if (evaluation->generates)
        wn_kept_blocks_init(&evaluation->kept, subject->model);
}

void wn_evaluation_release(struct wn_evaluation *evaluation)
{
    wn_kept_blocks_release(&evaluation->kept);
    for (int64_t e = 0; e < evaluation->n_sets; e++) {
        wn_free(evaluation->hidden[e]);
        wn_generated_release(&evaluation->texts[e]);
        wn_free(evaluation->text_losses[e]);
    }
    wn_free(evaluation->hidden);
    wn_free(evaluation->texts);
    wn_free(evaluation->text_losses);
    wn_free(evaluation->efficiency);
}

wn_status wn_evaluation_check(const struct wn_evaluation *evaluation, const struct wn_subject *subject)
{
    const struct wn_model *model = subject->model;
    if (model->final_norm && !wn_all_finite(model->final_norm, model->config.hidden_size))
        return wn_fail(WN_ERR_NUMERIC, "%s: a weight is not finite", model->layout.final_norm);
    for (int64_t e = 0; e < evaluation->n_sets; e++) {
        const struct wn_eval_set *set = &subject->prepared->sets[e];
        if (wn_subject_wants(subject, e) &&
            !wn_all_finite(evaluation->hidden[e], wn_sequences_tokens(&set->sequences) * model->config.hidden_size))
            return wn_fail(WN_ERR_NUMERIC, "%s: a weight of a token of %s is not finite", model->layout.embedding,
                           set->name);
    }
    return WN_OK;
}

wn_status wn_evaluation_push(struct wn_evaluation *evaluation, const struct wn_subject *subject,
                             struct wn_workspace *workspace, int64_t block_index, const struct wn_block *block,
                             struct wn_activation **activations, struct wn_pushing *pushing)
{
    struct wn_block view;
    wn_block_evaluated(subject->model, block, &view);
    for (int64_t e = 0; e < evaluation->n_sets; e++)
        if (wn_subject_wants(subject, e))
            WN_TRY(wn_workspace_push_set(workspace, subject->model, &view, &subject->prepared->sets[e].sequences,
                                         evaluation->hidden[e], pushing));
    if (evaluation->generates)
        wn_kept_blocks_take(&evaluation->kept, block_index, block, activations);
    return WN_OK;
}

/* Texts have no targets: what they are is all there is to score. */
static void score_texts(struct wn_evaluation *evaluation, const struct wn_subject *subject, int64_t index,
                        struct wn_record *record)
{
    const struct wn_eval_set *set = &subject->prepared->sets[index];
    struct wn_generated of_dense;
    wn_generated_borrow(&of_dense, set->generation, subject->reference->generated[subject->point->model][index].data);
    wn_generated_decode(&of_dense, set->generation, subject->model->tokenizer);
    struct wn_outcome point = {.generated = &evaluation->texts[index],
                               .generated_loss = evaluation->text_losses[index]};
    struct wn_outcome dense = {.generated = &of_dense};
    wn_eval_finish(set, &point, &dense, record);
    wn_generated_release(&of_dense);
}

/* Nothing where texts could not be written. */
static void score_speeds(const struct wn_evaluation *evaluation, const struct wn_subject *subject, int64_t index,
                         struct wn_record *record)
{
    const struct wn_outcome point = {.efficiency = evaluation->efficiency};
    if (evaluation->efficiency)
        wn_eval_finish(&subject->prepared->sets[index], &point, NULL, record);
}

static wn_status score_set(const struct wn_evaluation *evaluation, const struct wn_subject *subject, int64_t index,
                           struct wn_record *record)
{
    const struct wn_eval_set *set = &subject->prepared->sets[index];
    const struct wn_reference *reference = subject->reference;
    int64_t model = subject->point->model, hidden = subject->model->config.hidden_size, not_finite = 0;
    const float *states = set->divergence ? reference->states[model][index].data : NULL;
    struct wn_target_scores scores, dense = {0};
    struct wn_outcome of_point = {.scores = &scores}, of_dense = {.scores = &dense};
    wn_target_scores_init(&scores, set);
    for (int64_t c = 0; c < set->sequences.n_chunks; c++) {
        int64_t first, row = set->sequences.offset[set->sequences.chunk[c]];
        if (wn_eval_chunk_targets(set, c, &first) == 0)
            continue;
        wn_eval_score_chunk(subject->model, set, c, evaluation->hidden[index] + row * hidden,
                            states ? states + first * hidden : NULL, &scores);
    }
    for (int64_t t = 0; t < set->n_targets; t++)
        not_finite += !isfinite(scores.loss[t]);
    if (set->kind->compares) {
        dense.loss = reference->loss[model][index].data;
        dense.greedy = reference->greedy[model][index].data;
    }
    wn_eval_finish(set, &of_point, &of_dense, record);
    wn_target_scores_release(&scores);
    if (not_finite)
        return wn_fail(WN_ERR_NUMERIC, "%s: %lld of %lld losses are not finite", set->name, (long long)not_finite,
                       (long long)set->n_targets);
    return WN_OK;
}

/* The first failure counts. */
static void take_status(struct wn_recorder *recorder, const struct wn_subject *subject, wn_status one,
                        wn_status *status)
{
    if (one != WN_OK)
        wn_recorder_reason(recorder, subject);
    if (*status == WN_OK)
        *status = one;
}

wn_status wn_evaluation_score(struct wn_evaluation *evaluation, const struct wn_subject *subject, wn_status generated,
                              struct wn_recorder *recorder)
{
    wn_status status = WN_OK;
    take_status(recorder, subject, generated, &status);
    for (int64_t e = 0; e < evaluation->n_sets; e++) {
        if (!wn_subject_wants(subject, e))
            continue;
        if (subject->prepared->sets[e].efficiency)
            score_speeds(evaluation, subject, e, recorder->record);
        else if (!subject->prepared->sets[e].generation)
            take_status(recorder, subject, score_set(evaluation, subject, e, recorder->record), &status);
        else if (generated == WN_OK)
            score_texts(evaluation, subject, e, recorder->record);
    }
    return status;
}
