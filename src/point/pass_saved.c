/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pass_saved.c: what a stop leaves of the dense pass. It is looked for between blocks: then the states of all units,
 * and the sums of the blocks so far, go to scratch (scratch.h), from where the next start goes on, with any number of
 * ranks. So does what a long pass leaves at its end.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pass.h"

/* A block may take so much longer than the one before. */
static const double BLOCK_MARGIN = 1.2;
/* A pass that took so long, or such a share of the slot, is kept for the next start. */
static const double LONG_SECONDS = 60, LONG_SHARE = 0.1;

struct wn_state wn_pass_state(const struct wn_pass *pass, const char *name, const char *what, int64_t step)
{
    return (struct wn_state){
        .name = name, .what = what, .point = -1, .step = step, .steps = pass->prepared->model->config.n_blocks};
}

/* Written last: that all others of this step are there. */
static struct wn_state index_state(const struct wn_pass *pass, int64_t step, char name[WN_STATE_NAME])
{
    snprintf(name, WN_STATE_NAME, "dense-%lld", (long long)pass->number);
    return wn_pass_state(pass, name, pass->title, step);
}

wn_status wn_pass_move_state(const struct wn_pass *pass, enum wn_direction direction, const struct wn_state *state,
                             void *data, int64_t bytes)
{
    struct wn_state_piece piece = {data, bytes};
    if (direction == WN_TO_SCRATCH)
        return wn_state_write(pass->saver, state, &piece, 1);
    if (direction == WN_FROM_SCRATCH)
        return wn_state_read(pass->saver, state, &piece, 1);
    wn_state_remove(pass->saver, state->name);
    return WN_OK;
}

/* Hidden states of my units, by what they are of: their number depends on what is wanted. */
static wn_status move_units(const struct wn_pass *pass, enum wn_direction direction, int64_t step)
{
    for (int64_t u = 0; u < pass->units.count; u++) {
        const struct wn_unit *unit = &pass->units.items[u];
        char name[WN_STATE_NAME], what[160];
        if (!wn_pass_is_mine(pass, unit))
            continue;
        snprintf(name, sizeof name, "dense-%lld-%lld-%c%lld-%lld", (long long)pass->number, (long long)step,
                 unit->set >= 0 ? 's' : 'c', (long long)(unit->set >= 0 ? unit->set : unit->calibration),
                 (long long)unit->chunk);
        snprintf(what, sizeof what, "states of %lld chunks from %lld on", (long long)unit->chunks,
                 (long long)unit->chunk);
        struct wn_state state = wn_pass_state(pass, name, what, step);
        WN_TRY(wn_pass_move_state(pass, direction, &state, unit->hidden,
                                  unit->tokens * pass->prepared->model->config.hidden_size * (int64_t)sizeof(float)));
    }
    return WN_OK;
}

/* Sums of the blocks first .. end - 1, which the ranks of a node share out. */
static wn_status move_statistics(const struct wn_pass *pass, enum wn_direction direction, int64_t first, int64_t end)
{
    int size = wn_par_node_size(pass->par), rank = wn_par_node_rank(pass->par);
    for (int64_t c = 0; c < pass->run->n_calibrations; c++)
        for (int64_t b = first; pass->statistics[c].data && b < end; b++) {
            char name[WN_STATE_NAME], what[64];
            if ((c + b) % size != rank)
                continue;
            snprintf(name, sizeof name, "dense-%lld-c%lld-b%lld", (long long)pass->number, (long long)c, (long long)b);
            snprintf(what, sizeof what, "statistics %x", pass->needs[c]);
            struct wn_state state = wn_pass_state(pass, name, what, b + 1);
            WN_TRY(wn_pass_move_state(pass, direction, &state, wn_pass_statistics(pass, c, b),
                                      wn_pass_statistics_bytes(pass, c)));
        }
    return WN_OK;
}

static wn_status move_outliers(const struct wn_pass *pass, enum wn_direction direction, int64_t step)
{
    int64_t n_blocks = pass->prepared->model->config.n_blocks;
    for (int64_t c = 0; c < pass->run->n_calibrations; c++)
        for (int64_t i = 0; i < pass->outliers[c].count; i++) {
            char name[WN_STATE_NAME], what[64];
            if (wn_pass_outlier_owner(pass, c, i) != wn_par_rank(pass->par))
                continue;
            snprintf(name, sizeof name, "dense-%lld-%lld-o%lld-%lld", (long long)pass->number, (long long)step,
                     (long long)c, (long long)i);
            snprintf(what, sizeof what, "outliers of %a", pass->outliers[c].multiples[i]);
            struct wn_state state = wn_pass_state(pass, name, what, step);
            WN_TRY(wn_pass_move_state(pass, direction, &state, pass->outliers[c].shares + i * n_blocks,
                                      n_blocks * (int64_t)sizeof(double)));
        }
    return WN_OK;
}

wn_status wn_pass_save(struct wn_pass *pass, int64_t step)
{
    char name[WN_STATE_NAME];
    struct wn_state index = index_state(pass, step, name);
    if (step == pass->saved)
        return WN_OK;
    wn_status status = wn_checkpoint_check(pass->prepared->model->checkpoint); /* behind the last load */
    if (status == WN_OK)
        status = move_units(pass, WN_TO_SCRATCH, step);
    if (status == WN_OK && wn_par_node(pass->par) == 0)
        status = move_statistics(pass, WN_TO_SCRATCH, pass->saved, step);
    if (status == WN_OK)
        status = move_outliers(pass, WN_TO_SCRATCH, step);
    WN_TRY(wn_par_agree(pass->par, status));
    if (wn_par_rank(pass->par) == 0)
        status = wn_pass_move_state(pass, WN_TO_SCRATCH, &index, NULL, 0);
    WN_TRY(wn_par_agree(pass->par, status));
    if (pass->saved) {
        move_units(pass, WN_FORGET, pass->saved);
        move_outliers(pass, WN_FORGET, pass->saved);
    }
    pass->saved = step;
    return WN_OK;
}

int64_t wn_pass_resume(struct wn_pass *pass)
{
    char name[WN_STATE_NAME];
    struct wn_state index = index_state(pass, 0, name);
    int64_t step = 0;
    if (!pass->saver)
        return 0;
    if (wn_par_rank(pass->par) == 0)
        step = wn_state_step(pass->saver, &index);
    wn_par_broadcast(pass->par, &step, sizeof step, 0);
    if (!step)
        return 0;
    wn_status status = move_units(pass, WN_FROM_SCRATCH, step);
    if (status == WN_OK)
        status = move_statistics(pass, WN_FROM_SCRATCH, 0, step);
    if (status == WN_OK)
        status = move_outliers(pass, WN_FROM_SCRATCH, step);
    status = wn_par_agree(pass->par, status); /* sums are read by all ranks of the node from here on */
    if (wn_par_rank(pass->par) == 0 && status == WN_OK)
        wn_log(WN_LOG_INFO, "%s: goes on behind block %lld of %lld", pass->title, (long long)step,
               (long long)pass->prepared->model->config.n_blocks);
    else if (wn_par_rank(pass->par) == 0)
        wn_log(WN_LOG_WARNING, "%s: starts again, as what was saved of it cannot be used: %s", pass->title,
               wn_error_message());
    if (status != WN_OK) { /* some units were read */
        wn_pass_embed(pass);
        for (int64_t c = 0; c < pass->run->n_calibrations; c++)
            if (pass->statistics[c].data && wn_par_node_rank(pass->par) == 0)
                memset(pass->statistics[c].data, 0, (size_t)pass->statistics[c].bytes);
        wn_par_barrier(pass->par);
        return 0;
    }
    pass->saved = step;
    return step;
}

/* What this rank would write. */
static double save_seconds(const struct wn_pass *pass)
{
    double bytes = 0;
    for (int64_t u = 0; u < pass->units.count; u++)
        if (wn_pass_is_mine(pass, &pass->units.items[u]))
            bytes += (double)(pass->units.items[u].tokens * pass->prepared->model->config.hidden_size) * sizeof(float);
    for (int64_t c = 0; c < pass->run->n_calibrations; c++)
        bytes += (double)pass->statistics[c].bytes / wn_par_node_size(pass->par);
    return bytes / pass->saver->rate;
}

enum decision { GO_ON, SAVE, STOP };

/*
 * Stops when the next block would end too late; after a request to stop when the pass would, behind which states become
 * scores and texts. The time that a request leaves may turn out to be shorter: all is saved once before. Collective.
 */
static enum decision decide(struct wn_pass *pass, int64_t done)
{
    if (!pass->saver)
        return GO_ON;
    bool asked = wn_par_stop_requested();
    double blocks = (double)pass->prepared->model->config.n_blocks;
    double left = (asked ? blocks - (double)done + blocks / 2 : 1) * pass->last;
    double end = wn_seconds() + BLOCK_MARGIN * left + save_seconds(pass);
    enum decision mine = end > fmin(pass->saver->end, wn_par_stop_deadline()) ? STOP
                         : asked && !pass->safe                               ? SAVE
                                                                              : GO_ON;
    return (enum decision)wn_par_max(pass->par, pass->saver->broken ? GO_ON : mine);
}

/* Saves and fails with WN_ERR_INTERRUPTED; when it cannot be saved the pass goes on. Collective. */
static wn_status stop(struct wn_pass *pass, int64_t step)
{
    if (wn_pass_save(pass, step) != WN_OK) {
        pass->saver->broken = true; /* on all ranks */
        return WN_OK;
    }
    pass->saver->left = true;
    return wn_fail(WN_ERR_INTERRUPTED,
                   "stopped in the %s, behind block %lld of %lld: it is saved, the same command goes on there",
                   pass->title, (long long)step, (long long)pass->prepared->model->config.n_blocks);
}

wn_status wn_pass_end_block(struct wn_pass *pass, int64_t done)
{
    enum decision decision = decide(pass, done);
    if (decision == STOP)
        return stop(pass, done);
    if (decision == SAVE) {
        pass->saver->broken = wn_pass_save(pass, done) != WN_OK; /* on all ranks */
        pass->safe = true;
    }
    return WN_OK;
}

wn_status wn_pass_keep_blocks(struct wn_pass *pass, struct wn_block *block, int64_t end)
{
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    for (int64_t b = 0; pass->kept.model && b < end; b++) {
        WN_TRY(wn_model_load_block(pass->prepared->model, b, block));
        wn_kept_blocks_take(&pass->kept, b, block, none);
    }
    return WN_OK;
}

wn_status wn_pass_keep(struct wn_pass *pass)
{
    int64_t n_blocks = pass->prepared->model->config.n_blocks;
    if (!pass->saver || wn_par_max(pass->par, pass->saver->broken))
        return WN_OK;
    double took = wn_seconds() - pass->start;
    bool is_long = pass->saved > 0 || took > LONG_SECONDS || took > LONG_SHARE * (pass->saver->end - pass->start);
    if (wn_par_max(pass->par, wn_par_stop_requested()))
        return stop(pass, n_blocks);
    if (wn_par_max(pass->par, is_long))
        wn_pass_save(pass, n_blocks);
    return WN_OK;
}
