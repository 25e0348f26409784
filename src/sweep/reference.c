/*
 * reference.c: the dense pass that all points share: states of the dense model at the targets of divergence sets, and
 * column squares on dense activations for points with dense propagation.
 *
 * The chunks of all sets are units; unit u is computed by rank u modulo size. Every rank walks the blocks once with the
 * hidden states of its own units. A unit's numbers do not depend on who computed it, and sums over chunks are added in
 * chunk order, so the results are the same for any number of ranks.
 */
#include <stdlib.h>
#include <string.h>

#include "sweep_impl.h"

struct unit {
    const struct wn_sequences *sequences;
    int64_t set, calibration; /* one of them is -1 */
    int64_t chunk, row, tokens;
    int owner;
    float *hidden; /* [tokens, hidden], only at the owner */
};

struct pass {
    struct wn_par *par;
    const struct wn_run *run;
    const struct wn_prepared_model *prepared;
    int64_t model_index;
    int64_t count;
    struct unit *units;
    struct wn_shared *states, *squares;
    struct wn_shared partial; /* [calibration chunks, input total] doubles of the current block */
    float *scratch;
    int64_t *offset;
};

/* ---- what is needed ---- */

static bool wants_states(const struct wn_run *run, int64_t model, int64_t set, const bool *wanted)
{
    if (!run->sweep->evals[set].divergence)
        return false;
    for (int64_t p = 0; p < run->grid.n_points; p++)
        if (run->grid.points[p].model == model && wanted[p])
            return true;
    return false;
}

static bool wants_squares(const struct wn_run *run, int64_t model, int64_t calibration, const bool *wanted)
{
    for (int64_t p = 0; p < run->grid.n_points; p++) {
        const struct wn_point *point = &run->grid.points[p];
        if (wanted[p] && point->model == model && point->calibration == calibration &&
            point->propagation == WN_PROPAGATION_DENSE)
            return true;
    }
    return false;
}

static void add_units(struct pass *pass, const struct wn_sequences *sequences, int64_t set, int64_t calibration)
{
    pass->units = wn_resize(pass->units, pass->count + sequences->n_chunks, sizeof *pass->units);
    for (int64_t c = 0; c < sequences->n_chunks; c++) {
        int64_t row = sequences->offset[sequences->chunk[c]];
        pass->units[pass->count] = (struct unit){.sequences = sequences,
                                                 .set = set,
                                                 .calibration = calibration,
                                                 .chunk = c,
                                                 .row = row,
                                                 .tokens = sequences->offset[sequences->chunk[c + 1]] - row,
                                                 .owner = (int)(pass->count % wn_par_size(pass->par))};
        pass->count++;
    }
}

/* Makes the units and the shared memory of one model. Collective. */
static wn_status open_pass(struct pass *pass, const bool *wanted)
{
    const struct wn_run *run = pass->run;
    const struct wn_model *model = pass->prepared->model;
    int64_t total = wn_layout_input_total(&model->layout), calibration_chunks = 0;
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        if (!wants_states(run, pass->model_index, e, wanted))
            continue;
        const struct wn_eval_set *set = &pass->prepared->sets[e];
        add_units(pass, &set->sequences, e, -1);
        WN_TRY(wn_par_shared_create(
            pass->par, NULL, set->n_targets * model->config.hidden_size * (int64_t)sizeof(float), &pass->states[e]));
    }
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++) {
        if (!wants_squares(run, pass->model_index, c, wanted))
            continue;
        const struct wn_sequences *sequences = &pass->prepared->calibrations[c].sequences;
        add_units(pass, sequences, -1, c);
        calibration_chunks += sequences->n_chunks;
        WN_TRY(wn_par_shared_create(pass->par, NULL, model->config.n_blocks * total * (int64_t)sizeof(double),
                                    &pass->squares[c]));
    }
    if (calibration_chunks)
        WN_TRY(wn_par_shared_create(pass->par, NULL, calibration_chunks * total * (int64_t)sizeof(double),
                                    &pass->partial));
    return WN_OK;
}

static bool is_mine(const struct pass *pass, const struct unit *unit)
{
    return unit->owner == wn_par_rank(pass->par);
}

/* ---- one block ---- */

/* Adds the chunks' sums in chunk order and puts them where points look. Collective. */
static void reduce_squares(struct pass *pass, int64_t block)
{
    int64_t total = wn_layout_input_total(&pass->prepared->model->layout), chunks = 0, slot = 0;
    int64_t *offset = wn_alloc(pass->count + 1, sizeof *offset);
    int *owner = wn_alloc(pass->count, sizeof *owner);
    offset[0] = 0;
    for (int64_t u = 0; u < pass->count; u++) {
        if (pass->units[u].calibration < 0)
            continue;
        owner[chunks++] = pass->units[u].owner;
        offset[chunks] = chunks * total * (int64_t)sizeof(double);
    }
    wn_par_shared_exchange(pass->par, &pass->partial, chunks, offset, owner);
    for (int64_t u = 0; wn_par_node_rank(pass->par) == 0 && u < pass->count; u++) {
        if (pass->units[u].calibration < 0)
            continue;
        const double *from = (const double *)pass->partial.data + slot++ * total;
        double *to = (double *)pass->squares[pass->units[u].calibration].data + block * total;
        for (int64_t i = 0; i < total; i++)
            to[i] += from[i];
    }
    wn_free(offset);
    wn_free(owner);
    wn_par_barrier(pass->par);
}

static void run_units(struct pass *pass, const struct wn_block *block)
{
    const struct wn_model *model = pass->prepared->model;
    int64_t total = wn_layout_input_total(&model->layout), slot = 0;
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
        double *squares = unit->calibration < 0 ? NULL : (double *)pass->partial.data + slot++ * total;
        struct wn_squares_tap context = {&model->layout, squares};
        struct wn_tap tap = {wn_squares_take, &context};
        struct wn_chunk chunk;
        if (!is_mine(pass, unit))
            continue;
        if (squares)
            memset(squares, 0, (size_t)total * sizeof(double));
        wn_sequences_chunk(unit->sequences, unit->chunk, pass->offset, &chunk);
        wn_model_run_block(model, block, &chunk, unit->hidden, pass->scratch, squares ? &tap : NULL);
    }
}

static wn_status walk_blocks(struct pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    struct wn_block *block = wn_block_create(model);
    wn_status status = WN_OK;
    for (int64_t b = 0; b < model->config.n_blocks && status == WN_OK; b++) {
        status = wn_par_agree(pass->par, wn_model_load_block(model, b, block));
        if (status != WN_OK)
            break;
        run_units(pass, block);
        if (pass->partial.data)
            reduce_squares(pass, b);
    }
    wn_block_destroy(&block, model);
    return status;
}

/* ---- one model ---- */

static void embed_units(struct pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
        if (!is_mine(pass, unit))
            continue;
        unit->hidden = wn_alloc(unit->tokens * model->config.hidden_size, sizeof(float));
        wn_model_embed(model, unit->sequences->ids + unit->row, unit->tokens, unit->hidden);
    }
}

/* States of my units at their targets, then shared with all nodes. Collective. */
static void share_states(struct pass *pass, int64_t e)
{
    const struct wn_eval_set *set = &pass->prepared->sets[e];
    int64_t hidden = pass->prepared->model->config.hidden_size, chunks = set->sequences.n_chunks, first;
    int64_t *offset = wn_alloc(chunks + 1, sizeof *offset);
    int *owner = wn_alloc(chunks, sizeof *owner);
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
        if (unit->set != e)
            continue;
        int64_t targets = wn_eval_chunk_targets(set, unit->chunk, &first);
        owner[unit->chunk] = unit->owner;
        offset[unit->chunk] = first * hidden * (int64_t)sizeof(float);
        offset[unit->chunk + 1] = (first + targets) * hidden * (int64_t)sizeof(float);
        if (is_mine(pass, unit) && targets)
            wn_eval_dense_states(pass->prepared->model, set, unit->chunk, unit->hidden,
                                 (float *)pass->states[e].data + first * hidden);
    }
    wn_par_shared_exchange(pass->par, &pass->states[e], chunks, offset, owner);
    wn_free(offset);
    wn_free(owner);
}

static void close_pass(struct pass *pass)
{
    for (int64_t u = 0; u < pass->count; u++)
        wn_free(pass->units[u].hidden);
    wn_free(pass->units);
    wn_free(pass->scratch);
    wn_free(pass->offset);
    if (pass->partial.data)
        wn_par_shared_release(&pass->partial);
}

static wn_status reference_model(struct pass *pass, const bool *wanted)
{
    const struct wn_model *model = pass->prepared->model;
    wn_status status = open_pass(pass, wanted);
    if (status == WN_OK && pass->count) {
        pass->scratch =
            wn_alloc(wn_model_scratch(model, wn_prepared_longest_chunk(pass->run, pass->model_index)), sizeof(float));
        pass->offset = wn_alloc(wn_prepared_offsets(pass->run, pass->model_index), sizeof(int64_t));
        embed_units(pass);
        status = walk_blocks(pass);
        for (int64_t e = 0; status == WN_OK && e < pass->run->sweep->n_evals; e++)
            if (pass->states[e].data)
                share_states(pass, e);
    }
    close_pass(pass);
    return status;
}

wn_status wn_reference_compute(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                               struct wn_reference *reference)
{
    wn_status status = WN_OK;
    *reference = (struct wn_reference){
        .n_models = run->n_models, .n_sets = run->sweep->n_evals, .n_calibrations = run->sweep->n_calibrations};
    reference->states = wn_alloc_zero(run->n_models, sizeof *reference->states);
    reference->squares = wn_alloc_zero(run->n_models, sizeof *reference->squares);
    for (int64_t m = 0; m < run->n_models; m++) {
        reference->states[m] = wn_alloc_zero(reference->n_sets, sizeof(struct wn_shared));
        reference->squares[m] = wn_alloc_zero(reference->n_calibrations, sizeof(struct wn_shared));
    }
    for (int64_t m = 0; m < run->n_models && status == WN_OK; m++) {
        struct pass pass = {.par = par,
                            .run = run,
                            .prepared = &run->models[m],
                            .model_index = m,
                            .states = reference->states[m],
                            .squares = reference->squares[m]};
        status = reference_model(&pass, wanted);
        if (status == WN_ERR_NUMERIC)
            status = WN_OK; /* its points meet the same value and give the reason in their rows */
    }
    return status;
}

void wn_reference_release(struct wn_reference *reference)
{
    for (int64_t m = 0; m < reference->n_models; m++) {
        for (int64_t e = 0; e < reference->n_sets; e++)
            if (reference->states[m][e].data)
                wn_par_shared_release(&reference->states[m][e]);
        for (int64_t c = 0; c < reference->n_calibrations; c++)
            if (reference->squares[m][c].data)
                wn_par_shared_release(&reference->squares[m][c]);
        wn_free(reference->states[m]);
        wn_free(reference->squares[m]);
    }
    wn_free(reference->states);
    wn_free(reference->squares);
    *reference = (struct wn_reference){0};
}
