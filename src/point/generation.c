/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generation.c: texts of a point. All blocks as the point evaluates them are kept in memory while its texts are
 * generated; then the dense blocks are streamed once more over prompts and texts, for the losses of the generated
 * tokens under the dense model.
 */
#include <math.h>
#include <string.h>

#include "resume.h"
#include "walk.h"

/* ---- losses under the dense model ---- */

/* Prompts with their texts as sequences, the generated tokens as targets. */
static void make_set(const struct wn_generation *generation, const struct wn_generated *generated,
                     struct wn_eval_set *set)
{
    int64_t most = 0;
    wn_eval_set_init(set);
    for (int64_t p = 0; p < generation->n_prompts; p++)
        most = generation->prompts[p].count > most ? generation->prompts[p].count : most;
    int32_t *ids = wn_alloc(most + generation->most, sizeof *ids);
    set->target_row = wn_alloc(generated->n_texts * generation->most, sizeof *set->target_row);
    set->target_id = wn_alloc(generated->n_texts * generation->most, sizeof *set->target_id);
    for (int64_t t = 0; t < generated->n_texts; t++) {
        const struct wn_prompt *prompt = &generation->prompts[t / generation->draws];
        int64_t count = wn_generated_count(generated, t), row = wn_sequences_tokens(&set->sequences) + prompt->count;
        memcpy(ids, prompt->ids, (size_t)prompt->count * sizeof *ids);
        memcpy(ids + prompt->count, wn_generated_ids(generated, t), (size_t)count * sizeof *ids);
        wn_sequences_append(&set->sequences, ids, prompt->count + count - 1);
        for (int64_t i = 0; i < count; i++) {
            set->target_row[set->n_targets] = row - 1 + i;
            set->target_id[set->n_targets++] = ids[prompt->count + i];
        }
    }
    wn_free(ids);
    wn_sequences_cut(&set->sequences);
}

static int64_t chunk_row(const struct wn_eval_set *set, int64_t chunk)
{
    return set->sequences.offset[set->sequences.chunk[chunk]];
}

/* Chunks first .. end - 1 through all blocks, then the losses of their targets. */
static wn_status run_wave(const struct wn_model *model, const struct wn_eval_set *set, int64_t first, int64_t end,
                          struct wn_block *block, float *hidden, float *scratch, int64_t *offset,
                          struct wn_target_scores *scores)
{
    int64_t row = chunk_row(set, first), width = model->config.hidden_size;
    struct wn_chunk chunk;
    struct wn_block view;
    wn_sequences_embed(model, &set->sequences, row, chunk_row(set, end) - row, hidden);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        WN_TRY(wn_model_load_block(model, b, block));
        wn_block_evaluated(model, block, &view);
        for (int64_t c = first; c < end; c++) {
            wn_sequences_chunk(&set->sequences, c, offset, &chunk);
            wn_model_run_block(model, &view, &chunk, hidden + (chunk_row(set, c) - row) * width, scratch, NULL);
        }
    }
    for (int64_t c = first; c < end; c++)
        wn_eval_score_chunk(model, set, c, hidden + (chunk_row(set, c) - row) * width, NULL, scores);
    return WN_OK;
}

/* Chunks of the wave that begins with chunk `first`. */
static int64_t wave_end(const struct wn_eval_set *set, int64_t first)
{
    int64_t end = first + 1;
    while (end < set->sequences.n_chunks && chunk_row(set, end + 1) - chunk_row(set, first) <= WN_WAVE_TOKENS)
        end++;
    return end;
}

static wn_status run_waves(const struct wn_model *model, const struct wn_eval_set *set, struct wn_target_scores *scores)
{
    int64_t longest = wn_sequences_longest_chunk(&set->sequences), tokens = wn_sequences_tokens(&set->sequences);
    int64_t rows = WN_WAVE_TOKENS > longest ? WN_WAVE_TOKENS : longest;
    struct wn_block *block = wn_block_create(model);
    float *hidden = wn_alloc((rows < tokens ? rows : tokens) * model->config.hidden_size, sizeof *hidden);
    float *scratch = wn_alloc(wn_model_scratch(model, longest), sizeof *scratch);
    int64_t *offset = wn_alloc(set->sequences.n_sequences + 1, sizeof *offset);
    wn_status status = WN_OK;
    for (int64_t c = 0, end; c < set->sequences.n_chunks && status == WN_OK; c = end) {
        end = wave_end(set, c);
        status = run_wave(model, set, c, end, block, hidden, scratch, offset, scores);
    }
    wn_block_destroy(&block, model);
    wn_free(hidden);
    wn_free(scratch);
    wn_free(offset);
    return status;
}

wn_status wn_dense_losses(const struct wn_model *model, const struct wn_generation *generation,
                          const struct wn_generated *generated, double *losses, double *tokens)
{
    struct wn_eval_set set;
    struct wn_target_scores scores;
    int64_t target = 0;
    make_set(generation, generated, &set);
    wn_target_scores_init(&scores, &set);
    wn_status status = run_waves(model, &set, &scores);
    for (int64_t t = 0; t < generated->n_texts && status == WN_OK; t++) {
        int64_t count = wn_generated_count(generated, t);
        double sum = 0;
        for (int64_t i = 0; i < count; i++)
            sum += scores.loss[target++];
        losses[t] = count ? sum / (double)count : (double)NAN;
    }
    *tokens += (double)wn_sequences_tokens(&set.sequences);
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);
    return status;
}

/* ---- texts of a point ---- */

/* Every text has a token: an earlier start has made the batch. */
static bool is_made(const struct wn_generation *generation, int64_t batch, const struct wn_generated *texts)
{
    int64_t first;
    wn_generation_batch(generation, batch, &first);
    return wn_generated_count(texts, first) > 0;
}

static wn_status generate_set(struct wn_evaluation *evaluation, const struct wn_subject *subject,
                              const struct wn_resume *resume, int64_t index, double *tokens)
{
    const struct wn_generation *generation = subject->prepared->sets[index].generation;
    struct wn_generated *texts = &evaluation->texts[index];
    struct wn_generate_work work;
    if (!texts->records)
        wn_generated_init(texts, generation);
    for (int64_t b = 0; b < wn_generation_batches(generation); b++) {
        double start = wn_seconds();
        if (is_made(generation, b, texts))
            continue;
        WN_TRY(wn_generate_batch(&evaluation->kept, generation, b, texts));
        if (wn_resume_has_to_stop(resume, wn_seconds() - start))
            return wn_fail(WN_ERR_INTERRUPTED, "stopped while texts are generated");
    }
    wn_generated_decode(texts, generation, subject->model->tokenizer);
    wn_generate_work(subject->model, generation, &work);
    *tokens += work.prompt_rows;
    for (int64_t t = 0; t < texts->n_texts; t++)
        *tokens += (double)(wn_generated_count(texts, t) - 1);
    return WN_OK;
}

static wn_status look_at_texts(struct wn_evaluation *evaluation, const struct wn_subject *subject, int64_t index,
                               double *tokens)
{
    const struct wn_generation *generation = subject->prepared->sets[index].generation;
    if (!generation->dense_loss)
        return WN_OK;
    evaluation->text_losses[index] = wn_alloc(wn_generation_texts(generation), sizeof(double));
    return wn_dense_losses(subject->model, generation, &evaluation->texts[index], evaluation->text_losses[index],
                           tokens);
}

wn_status wn_evaluation_generate(struct wn_evaluation *evaluation, const struct wn_subject *subject,
                                 const struct wn_resume *resume, double *tokens)
{
    const struct wn_eval_set *sets = subject->prepared->sets;
    for (int64_t e = 0; e < evaluation->n_sets; e++)
        if (sets[e].generation && wn_subject_wants(subject, e))
            WN_TRY(generate_set(evaluation, subject, resume, e, tokens));
    for (int64_t e = 0; e < evaluation->n_sets; e++)
        if (sets[e].efficiency && wn_subject_wants(subject, e))
            WN_TRY(wn_evaluation_measure(evaluation, subject, sets[e].efficiency));
    wn_kept_blocks_release(&evaluation->kept);
    for (int64_t e = 0; e < evaluation->n_sets; e++)
        if (sets[e].generation && wn_subject_wants(subject, e))
            WN_TRY(look_at_texts(evaluation, subject, e, tokens));
    return WN_OK;
}
