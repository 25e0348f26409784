/* SPDX-License-Identifier: Apache-2.0 */
/* pass_sets.c: what the dense pass leaves of evaluation sets: states, losses and texts, shared with all nodes. */
#include <math.h>
#include <stdio.h>

#include "pass.h"

/* A batch of texts that took so long is kept at once. */
static const double BATCH_SECONDS = 1;

/* First target and number of targets of the chunks of a unit. */
static int64_t unit_targets(const struct wn_pass *pass, const struct wn_unit *unit, int64_t *first)
{
    const struct wn_eval_set *set = &pass->prepared->sets[unit->set];
    int64_t last, count = wn_eval_chunk_targets(set, unit->chunk + unit->chunks - 1, &last);
    wn_eval_chunk_targets(set, unit->chunk, first);
    return last + count - *first;
}

/* What I computed of a set, `size` bytes for each target, shared with all nodes. Collective. */
static void share(struct wn_pass *pass, int64_t e, struct wn_shared *shared, int64_t size)
{
    int64_t units = 0, first;
    int64_t *offset = wn_alloc_zero(pass->units.count + 1, sizeof *offset);
    int *owner = wn_alloc(pass->units.count, sizeof *owner);
    for (int64_t u = 0; u < pass->units.count; u++) {
        struct wn_unit *unit = &pass->units.items[u];
        if (unit->set != e)
            continue;
        int64_t targets = unit_targets(pass, unit, &first);
        owner[units++] = unit->owner;
        offset[units] = (first + targets) * size;
    }
    wn_par_shared_exchange(pass->par, shared, units, offset, owner);
    wn_free(offset);
    wn_free(owner);
}

/* Hidden states of a chunk of one of my units. */
static const float *chunk_hidden(const struct wn_pass *pass, const struct wn_unit *unit, int64_t chunk)
{
    const struct wn_sequences *sequences = unit->sequences;
    int64_t row = sequences->offset[sequences->chunk[chunk]] - unit->row;
    return unit->hidden + row * pass->prepared->model->config.hidden_size;
}

/* States of my units of a set at their targets. Collective. */
static void share_states(struct wn_pass *pass, int64_t e)
{
    const struct wn_eval_set *set = &pass->prepared->sets[e];
    int64_t hidden = pass->prepared->model->config.hidden_size, first;
    for (int64_t u = 0; u < pass->units.count; u++) {
        struct wn_unit *unit = &pass->units.items[u];
        for (int64_t c = unit->chunk; unit->set == e && wn_pass_is_mine(pass, unit) && c < unit->chunk + unit->chunks;
             c++)
            if (wn_eval_chunk_targets(set, c, &first))
                wn_eval_dense_states(pass->prepared->model, set, c, chunk_hidden(pass, unit, c),
                                     (float *)pass->states[e].data + first * hidden);
    }
    share(pass, e, &pass->states[e], hidden * (int64_t)sizeof(float));
}

/* Losses of my units of a set, by the head tiles of every point: the dense point gets the same bits. Collective. */
static void share_losses(struct wn_pass *pass, int64_t e)
{
    const struct wn_eval_set *set = &pass->prepared->sets[e];
    struct wn_target_scores scores = {.loss = pass->loss[e].data, .greedy = pass->greedy[e].data};
    for (int64_t u = 0; u < pass->units.count; u++) {
        struct wn_unit *unit = &pass->units.items[u];
        for (int64_t c = unit->chunk; unit->set == e && wn_pass_is_mine(pass, unit) && c < unit->chunk + unit->chunks;
             c++)
            wn_eval_score_chunk(pass->prepared->model, set, c, chunk_hidden(pass, unit, c), NULL, &scores);
    }
    share(pass, e, &pass->loss[e], (int64_t)sizeof(double));
    share(pass, e, &pass->greedy[e], 1);
}

static wn_status move_batch(const struct wn_pass *pass, enum wn_direction direction, int64_t e, int64_t batch)
{
    const struct wn_generation *generation = pass->prepared->sets[e].generation;
    char name[WN_STATE_NAME];
    int64_t first, count = wn_generation_batch(generation, batch, &first),
                   bytes = wn_generated_record_bytes(generation);
    snprintf(name, sizeof name, "dense-%lld-t%lld-%lld", (long long)pass->model_index, (long long)e, (long long)batch);
    struct wn_state state = wn_pass_state(pass, name, "texts", 1);
    return wn_pass_move_state(pass, direction, &state, (char *)pass->generated[e].data + first * bytes, count * bytes);
}

/* One of my batches, from scratch or anew; not when the last one ended too late. */
static wn_status make_batch(struct wn_pass *pass, int64_t e, int64_t batch, struct wn_generated *texts)
{
    double start = wn_seconds();
    if (pass->saver && move_batch(pass, WN_FROM_SCRATCH, e, batch) == WN_OK)
        return WN_OK;
    if (pass->late)
        return wn_fail(WN_ERR_INTERRUPTED, "stopped while the dense model generates texts");
    WN_TRY(wn_generate_batch(&pass->kept, pass->prepared->sets[e].generation, batch, texts));
    if (!pass->saver || pass->saver->broken)
        return WN_OK;
    bool late = wn_seconds() > fmin(pass->saver->end, wn_par_stop_deadline());
    if (late || wn_seconds() - start > BATCH_SECONDS)
        pass->late = move_batch(pass, WN_TO_SCRATCH, e, batch) == WN_OK && late;
    return WN_OK;
}

/* Texts of my batches of a set, shared with all nodes. Collective. */
static wn_status share_texts(struct wn_pass *pass, int64_t e)
{
    const struct wn_generation *generation = pass->prepared->sets[e].generation;
    int64_t batches = wn_generation_batches(generation), bytes = wn_generated_record_bytes(generation), first = 0;
    int64_t *offset = wn_alloc(batches + 1, sizeof *offset);
    int *owner = wn_alloc(batches, sizeof *owner);
    struct wn_generated texts;
    wn_status status = WN_OK;
    wn_generated_borrow(&texts, generation, pass->generated[e].data);
    offset[0] = 0;
    for (int64_t b = 0; b < batches; b++) {
        int64_t count = wn_generation_batch(generation, b, &first);
        owner[b] = (int)(b % wn_par_size(pass->par));
        offset[b + 1] = (first + count) * bytes;
        if (status == WN_OK && owner[b] == wn_par_rank(pass->par))
            status = make_batch(pass, e, b, &texts);
    }
    status = wn_par_agree(pass->par, status);
    wn_par_shared_exchange(pass->par, &pass->generated[e], batches, offset, owner);
    wn_generated_release(&texts);
    wn_free(offset);
    wn_free(owner);
    return status;
}

wn_status wn_pass_share_sets(struct wn_pass *pass)
{
    wn_status status = WN_OK;
    for (int64_t e = 0; e < pass->run->n_sets; e++) {
        if (pass->states[e].data)
            share_states(pass, e);
        if (pass->loss[e].data)
            share_losses(pass, e);
        if (pass->generated[e].data && status == WN_OK)
            status = share_texts(pass, e);
    }
    return status;
}
