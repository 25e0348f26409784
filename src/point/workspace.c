/* SPDX-License-Identifier: Apache-2.0 */
/* workspace.c: rows on their way through a block: whole sets, and the memory that every stage of a walk needs. */
#include <string.h>

#include "walk.h"

enum { PIECE = 1 << 16 }; /* floats that a thread copies at a time */

const struct wn_calibration *wn_subject_calibration(const struct wn_subject *subject)
{
    return subject->point->calibration >= 0 ? &subject->prepared->calibrations[subject->point->calibration] : NULL;
}

bool wn_subject_wants(const struct wn_subject *subject, int64_t set)
{
    return wn_run_lacks(subject->run, subject->point - subject->run->grid.points, set);
}

void wn_workspace_open(struct wn_workspace *workspace, const struct wn_subject *subject)
{
    const struct wn_model *model = subject->model;
    workspace->group_rows = wn_prepared_group_rows(subject->run, subject->point->model);
    workspace->copy = wn_alloc(workspace->group_rows * model->config.hidden_size, sizeof(float));
    workspace->scratch = wn_alloc(wn_model_scratch(model, workspace->group_rows), sizeof(float));
    workspace->offset = wn_alloc(wn_prepared_offsets(subject->run, subject->point->model), sizeof(int64_t));
}

void wn_workspace_release(struct wn_workspace *workspace)
{
    wn_free(workspace->copy);
    wn_free(workspace->scratch);
    wn_free(workspace->offset);
    workspace->copy = workspace->scratch = NULL;
    workspace->offset = NULL;
}

float *wn_workspace_embed(const struct wn_model *model, const struct wn_sequences *sequences)
{
    int64_t tokens = wn_sequences_tokens(sequences);
    float *hidden = wn_alloc(tokens * model->config.hidden_size, sizeof(float));
    wn_sequences_embed(model, sequences, 0, tokens, hidden);
    return hidden;
}

void wn_workspace_push(struct wn_workspace *workspace, const struct wn_model *model, const struct wn_block *block,
                       const struct wn_sequences *sequences, float *hidden)
{
    wn_sequences_run(model, block, sequences, 0, sequences->n_chunks, hidden, workspace->group_rows, workspace->scratch,
                     workspace->offset, NULL);
    workspace->tokens += (double)wn_sequences_tokens(sequences);
}

/* The part behind as many as make a group for all threads, and at least one of the longest. */
static int64_t parts_end(const struct wn_sequences *sequences, int64_t first, int64_t rows)
{
    int64_t parts = wn_sequences_parts(sequences), end = first + 1;
    int64_t begin = sequences->offset[sequences->chunk[wn_sequences_part(sequences, first)]];
    while (end < parts && sequences->offset[sequences->chunk[wn_sequences_part(sequences, end + 1)]] - begin <= rows)
        end++;
    return end;
}

wn_status wn_workspace_push_set(struct wn_workspace *workspace, const struct wn_model *model,
                                const struct wn_block *block, const struct wn_sequences *sequences, float *hidden,
                                struct wn_pushing *pushing)
{
    int64_t parts = wn_sequences_parts(sequences), before = pushing->done;
    int64_t first = wn_pauses_done(workspace->pauses, pushing->part) - before, end;
    pushing->done += parts;
    for (int64_t p = first > 0 ? first : 0; p < parts; p = end) {
        end = parts_end(sequences, p, workspace->group_rows);
        int64_t chunk = wn_sequences_part(sequences, p), chunk_end = wn_sequences_part(sequences, end);
        int64_t row = sequences->offset[sequences->chunk[chunk]];
        wn_sequences_run(model, block, sequences, chunk, chunk_end, hidden + row * model->config.hidden_size,
                         workspace->group_rows, workspace->scratch, workspace->offset, NULL);
        workspace->tokens += (double)(sequences->offset[sequences->chunk[chunk_end]] - row);
        WN_TRY(
            wn_pause(workspace->pauses, (struct wn_place){.part = pushing->part, .done = before + end}, pushing->all));
    }
    return WN_OK;
}

void wn_copy_floats(float *to, const float *from, int64_t count)
{
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += PIECE)
        memcpy(to + at, from + at, (size_t)(count - at < PIECE ? count - at : PIECE) * sizeof *to);
}
