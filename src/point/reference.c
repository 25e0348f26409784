/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference.c: the dense pass that all points share: states of the dense model at the targets of divergence sets, its
 * losses at the targets of sets that are compared item by item, the texts it generates, and statistics on dense
 * activations for points with dense propagation, with the evidence that allocations decide by. Scores of left-out units
 * come after it (src/allocation/left_out.c).
 *
 * The groups of calibration sets and the parts of evaluation sets are units, dealt to the ranks; those without any load
 * no block. A rank walks the blocks once with the hidden states of its own units (pass_sums.c); between two of them it
 * may stop (pass_saved.c); behind the last, states become what sets get (pass_sets.c).
 */
#include <string.h>

#include "pass.h"

/* ---- what is needed ---- */

static bool wants_set(const struct wn_run *run, int64_t model, int64_t set, const bool *wanted)
{
    const struct wn_eval_set *about = &run->models[model].sets[set];
    if (!about->divergence && !about->kind->compares)
        return false;
    for (int64_t p = 0; p < run->grid.n_points; p++)
        if (run->grid.points[p].model == model && wanted[p] && wn_run_lacks(run, p, set))
            return true;
    return false;
}

/* What the points that read the dense pass need of a calibration set; has_points tells whether there are any. */
static unsigned wanted_needs(const struct wn_run *run, int64_t model, int64_t calibration, const bool *wanted,
                             bool *has_points)
{
    unsigned needs = 0;
    *has_points = false;
    for (int64_t p = 0; p < run->grid.n_points; p++) {
        const struct wn_point *point = &run->grid.points[p];
        if (!wanted[p] || point->model != model || point->calibration != calibration || !wn_point_reads_dense(point))
            continue;
        needs |= wn_point_dense_needs(point);
        *has_points = true;
    }
    return needs;
}

/* The evidence that points ask for along the pass. */
static void open_outliers(struct wn_pass *pass, int64_t calibration, const bool *wanted)
{
    struct wn_outlier_shares *outliers = &pass->outliers[calibration];
    for (int64_t p = 0; p < pass->run->grid.n_points; p++) {
        const struct wn_point *point = &pass->run->grid.points[p];
        if (wanted[p] && point->model == pass->model_index && point->calibration == calibration)
            wn_outliers_want(outliers, &point->recipe);
    }
    wn_outliers_open(outliers, pass->prepared->model->config.n_blocks);
}

/* Work of a token of a calibration set (-1: of none), against that of one that only goes through the block. */
static double token_work(const struct wn_pass *pass, int64_t calibration)
{
    const struct wn_model *model = pass->prepared->model;
    const struct wn_layout *layout = &model->layout;
    double squares = 0;
    if (calibration < 0 || !(pass->needs[calibration] & WN_NEED_SECOND_MOMENTS))
        return 1;
    for (int i = 0; i < layout->n_inputs; i++)
        squares += (double)layout->input_widths[i] * (double)layout->input_widths[i] * wn_model_input_share(model, i);
    return 1 + squares * (double)model->config.n_blocks / (2 * wn_model_active_weights(model));
}

/* A unit of the chunks first .. end - 1. */
static void add_unit(struct wn_pass *pass, const struct wn_sequences *sequences, int64_t set, int64_t calibration,
                     int64_t first, int64_t end)
{
    wn_units_add(&pass->units, sequences, set, calibration, first, end, token_work(pass, calibration));
}

static void add_groups(struct wn_pass *pass, const bool *wanted)
{
    for (int64_t c = 0; c < pass->run->n_calibrations; c++) {
        bool has_points;
        const struct wn_sequences *sequences = &pass->prepared->calibrations[c].sequences;
        pass->needs[c] = wanted_needs(pass->run, pass->model_index, c, wanted, &has_points);
        for (int64_t g = 0; has_points && g < wn_statistics_groups(sequences); g++)
            add_unit(pass, sequences, -1, c, wn_statistics_group(sequences, g), wn_statistics_group(sequences, g + 1));
        int64_t bytes = has_points ? wn_statistics_bytes(&pass->prepared->model->layout, pass->needs[c]) : 0;
        pass->slot_bytes = bytes > pass->slot_bytes ? bytes : pass->slot_bytes;
    }
    pass->units.counted = pass->units.count;
}

static void add_parts(struct wn_pass *pass, const bool *wanted)
{
    for (int64_t e = 0; e < pass->run->n_sets; e++) {
        const struct wn_eval_set *set = &pass->prepared->sets[e];
        if (!wants_set(pass->run, pass->model_index, e, wanted))
            continue;
        for (int64_t p = 0; p < wn_sequences_parts(&set->sequences); p++)
            add_unit(pass, &set->sequences, e, -1, wn_sequences_part(&set->sequences, p),
                     wn_sequences_part(&set->sequences, p + 1));
        int64_t batches = set->generation ? wn_generation_batches(set->generation) : 0;
        pass->batches = batches > pass->batches ? batches : pass->batches;
    }
}

/* ---- who does it ---- */

/* The units of a model and their owners: a function of the data and of the ranks and nodes. */
static void plan_pass(struct wn_pass *pass, const bool *wanted)
{
    add_groups(pass, wanted);
    add_parts(pass, wanted);
    wn_units_deal(&pass->units);
    wn_pass_deal_slots(pass);
}

/* Batch b of a set is generated by rank b modulo size. */
static bool generates(const struct wn_pass *pass, int rank)
{
    return rank < pass->batches;
}

/* ---- memory ---- */

static wn_status open_calibrations(struct wn_pass *pass, const bool *wanted)
{
    const struct wn_model *model = pass->prepared->model;
    for (int64_t c = 0; c < pass->run->n_calibrations; c++) {
        bool has_points;
        wanted_needs(pass->run, pass->model_index, c, wanted, &has_points);
        if (!has_points)
            continue;
        open_outliers(pass, c, wanted);
        WN_TRY(wn_par_shared_create(pass->par, NULL,
                                    model->config.n_blocks * wn_statistics_bytes(&model->layout, pass->needs[c]),
                                    &pass->statistics[c]));
    }
    return pass->units.counted ? wn_par_shared_create(pass->par, NULL, pass->slots * pass->slot_bytes, &pass->partial)
                               : WN_OK;
}

static wn_status open_set(struct wn_pass *pass, const struct wn_eval_set *set, int64_t e)
{
    int64_t state = pass->prepared->model->config.hidden_size * (int64_t)sizeof(float);
    if (set->divergence)
        WN_TRY(wn_par_shared_create(pass->par, NULL, set->n_targets * state, &pass->states[e]));
    if (set->generation)
        return wn_par_shared_create(pass->par, NULL,
                                    wn_generation_texts(set->generation) * wn_generated_record_bytes(set->generation),
                                    &pass->generated[e]);
    if (!set->kind->compares)
        return WN_OK;
    WN_TRY(wn_par_shared_create(pass->par, NULL, set->n_targets * (int64_t)sizeof(double), &pass->loss[e]));
    return wn_par_shared_create(pass->par, NULL, set->n_targets, &pass->greedy[e]);
}

/* Makes the shared memory of one model. Collective. */
static wn_status open_pass(struct wn_pass *pass, const bool *wanted)
{
    for (int64_t e = 0; e < pass->run->n_sets; e++)
        if (wants_set(pass->run, pass->model_index, e, wanted))
            WN_TRY(open_set(pass, &pass->prepared->sets[e], e));
    return open_calibrations(pass, wanted);
}

static bool wants_branches(const struct wn_pass *pass)
{
    unsigned needs = 0;
    for (int64_t c = 0; c < pass->run->n_calibrations; c++)
        needs |= pass->needs[c];
    return needs & WN_NEED_DROP_SCORES;
}

/* ---- one block ---- */

static void walk_block(struct wn_pass *pass, const struct wn_block *block, int64_t b)
{
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    wn_pass_run_block(pass, block, b);
    if (pass->kept.model)
        wn_kept_blocks_take(&pass->kept, b, block, none);
}

static wn_status walk_blocks(struct wn_pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    int rank = wn_par_rank(pass->par);
    struct wn_block *block = wn_units_any(&pass->units, rank) || generates(pass, rank) ? wn_block_create(model) : NULL;
    wn_status status = WN_OK;
    if (generates(pass, rank))
        wn_kept_blocks_init(&pass->kept, model);
    int64_t first = wn_pass_resume(pass);
    status = wn_par_agree(pass->par, wn_pass_keep_blocks(pass, block, first));
    wn_watch(pass->run, -1, first, model->config.n_blocks);
    for (int64_t b = first; b < model->config.n_blocks && status == WN_OK; b++) {
        double start = wn_seconds();
        status = wn_par_agree(pass->par, block ? wn_model_load_block(model, b, block) : WN_OK);
        if (status == WN_OK)
            walk_block(pass, block, b);
        wn_watch(pass->run, -1, b + 1, model->config.n_blocks);
        pass->last = wn_seconds() - start;
        if (status == WN_OK)
            status = wn_pass_end_block(pass, b + 1);
    }
    if (block)
        wn_block_destroy(&block, model);
    if (status == WN_OK) {
        wn_pass_share_outliers(pass);
        wn_par_barrier(pass->par); /* one rank of a node made the last sums symmetric, all read them */
    }
    return status;
}

/* ---- one model ---- */

static void close_pass(struct wn_pass *pass)
{
    wn_kept_blocks_release(&pass->kept);
    wn_units_release(&pass->units);
    wn_free(pass->slot);
    wn_free(pass->scratch);
    wn_free(pass->before);
    wn_free(pass->offset);
    if (pass->partial.data)
        wn_par_shared_release(&pass->partial);
}

static void open_buffers(struct wn_pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    int64_t longest = wn_prepared_longest_chunk(pass->run, pass->model_index);
    pass->group_rows = wn_prepared_group_rows(pass->run, pass->model_index);
    pass->scratch = wn_alloc(wn_model_scratch(model, pass->group_rows), sizeof(float));
    pass->offset = wn_alloc(wn_prepared_offsets(pass->run, pass->model_index), sizeof(int64_t));
    if (wants_branches(pass))
        pass->before = wn_alloc(longest * model->config.hidden_size, sizeof(float));
    wn_pass_embed(pass);
}

static wn_status interrupted(void)
{
    return wn_fail(WN_ERR_INTERRUPTED, "stopped while the dense model generates texts: what it has is saved, the same "
                                       "command goes on there");
}

static wn_status reference_model(struct wn_pass *pass, const bool *wanted)
{
    plan_pass(pass, wanted);
    wn_status status = open_pass(pass, wanted);
    if (status == WN_OK && (pass->units.count || pass->batches)) {
        if (wn_units_any(&pass->units, wn_par_rank(pass->par)))
            open_buffers(pass);
        status = walk_blocks(pass);
        if (status == WN_OK) {
            status = wn_pass_share_sets(pass);
            if (status == WN_ERR_INTERRUPTED) /* texts need the blocks only, and sets the states */
                status =
                    wn_pass_save(pass, pass->prepared->model->config.n_blocks) == WN_OK ? interrupted() : WN_ERR_IO;
            if (status == WN_OK)
                status = wn_pass_keep(pass);
        }
    }
    close_pass(pass);
    return status;
}

/* What a rank holds besides the sums of a group: states, and a block while they go through it, or scores behind it. */
static int64_t rank_bytes(const struct wn_pass *pass, int rank)
{
    const struct wn_model *model = pass->prepared->model;
    int64_t hidden = model->config.hidden_size, longest = wn_prepared_longest_chunk(pass->run, pass->model_index);
    int64_t rows = wn_prepared_group_rows(pass->run, pass->model_index), states = 0, kept = 0, scores = 0,
            evaluated = 0;
    for (int64_t u = 0; u < pass->units.count; u++) {
        const struct wn_unit *unit = &pass->units.items[u];
        if (unit->owner != rank)
            continue;
        int64_t prefixes = wn_sequences_run_bytes(model, unit->sequences);
        kept = prefixes > kept ? prefixes : kept;
        states += unit->tokens * hidden;
        if (unit->set < 0)
            continue;
        scores = wn_eval_scratch_bytes(model, false);
        evaluated = wn_evaluated_bytes(model, rows);
    }
    int64_t floats = states ? states + wn_model_scratch(model, rows) + wants_branches(pass) * longest * hidden : 0;
    int64_t walking = kept + evaluated + (states || generates(pass, rank) ? wn_block_bytes(model) : 0);
    int64_t bytes = floats * (int64_t)sizeof(float) + (walking > scores ? walking : scores);
    return bytes + (states ? wn_prepared_offsets(pass->run, pass->model_index) * (int64_t)sizeof(int64_t) : 0);
}

void wn_reference_predict(const struct wn_run *run, int64_t model, int ranks, struct wn_reference_bytes *bytes)
{
    struct wn_pass pass = {
        .units = {.ranks = ranks}, .run = run, .prepared = &run->models[model], .model_index = model};
    bool *wanted = wn_alloc(run->grid.n_points, sizeof *wanted);
    const struct wn_recipe dense = {0};
    struct wn_generation_bytes texts;
    memset(wanted, true, (size_t)run->grid.n_points);
    pass.needs = wn_alloc_zero(run->n_calibrations, sizeof *pass.needs);
    plan_pass(&pass, wanted);
    wn_generation_bytes(run, model, &dense, &texts);
    *bytes = (struct wn_reference_bytes){.workers = 0};
    for (int rank = 0; rank < ranks; rank++) {
        int64_t mine = rank_bytes(&pass, rank);
        bytes->workers += wn_units_any(&pass.units, rank);
        if (generates(&pass, rank))
            mine += texts.kept + (texts.packing > texts.generate ? texts.packing : texts.generate);
        bytes->rank = mine > bytes->rank ? mine : bytes->rank;
    }
    bytes->group = pass.slot_bytes;
    bytes->groups = pass.units.counted;
    wn_free(pass.needs);
    wn_free(wanted);
    close_pass(&pass);
}

wn_status wn_reference_compute(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                               struct wn_reference *reference)
{
    wn_status status = WN_OK;
    double start = wn_seconds();
    *reference = (struct wn_reference){.n_models = run->n_models,
                                       .n_sets = run->n_sets,
                                       .n_calibrations = run->n_calibrations,
                                       .n_points = run->grid.n_points};
    reference->found = wn_alloc_zero(run->grid.n_points, sizeof *reference->found);
    reference->states = wn_alloc_zero(run->n_models, sizeof *reference->states);
    reference->loss = wn_alloc_zero(run->n_models, sizeof *reference->loss);
    reference->greedy = wn_alloc_zero(run->n_models, sizeof *reference->greedy);
    reference->generated = wn_alloc_zero(run->n_models, sizeof *reference->generated);
    reference->statistics = wn_alloc_zero(run->n_models, sizeof *reference->statistics);
    reference->needs = wn_alloc_zero(run->n_models, sizeof *reference->needs);
    reference->outliers = wn_alloc_zero(run->n_models, sizeof *reference->outliers);
    reference->left_out = wn_alloc_zero(run->n_models, sizeof *reference->left_out);
    for (int64_t m = 0; m < run->n_models; m++) {
        reference->states[m] = wn_alloc_zero(reference->n_sets, sizeof(struct wn_shared));
        reference->loss[m] = wn_alloc_zero(reference->n_sets, sizeof(struct wn_shared));
        reference->greedy[m] = wn_alloc_zero(reference->n_sets, sizeof(struct wn_shared));
        reference->generated[m] = wn_alloc_zero(reference->n_sets, sizeof(struct wn_shared));
        reference->statistics[m] = wn_alloc_zero(reference->n_calibrations, sizeof(struct wn_shared));
        reference->needs[m] = wn_alloc_zero(reference->n_calibrations, sizeof(unsigned));
        reference->outliers[m] = wn_alloc_zero(reference->n_calibrations, sizeof **reference->outliers);
        reference->left_out[m] = wn_alloc_zero(reference->n_calibrations, sizeof **reference->left_out);
    }
    for (int64_t m = 0; m < run->n_models && status == WN_OK; m++) {
        struct wn_pass pass = {.par = par,
                               .units = {.par = par, .ranks = wn_par_size(par)},
                               .run = run,
                               .prepared = &run->models[m],
                               .model_index = m,
                               .number = m,
                               .title = "dense pass",
                               .saver = run->saver,
                               .start = start,
                               .states = reference->states[m],
                               .loss = reference->loss[m],
                               .greedy = reference->greedy[m],
                               .generated = reference->generated[m],
                               .statistics = reference->statistics[m],
                               .needs = reference->needs[m],
                               .outliers = reference->outliers[m]};
        status = reference_model(&pass, wanted);
        for (int64_t c = 0; c < reference->n_calibrations && status == WN_OK; c++)
            status = wn_point_left_out(par, run, m, c, wanted, &reference->left_out[m][c]);
        if (status == WN_ERR_NUMERIC)
            status = WN_OK; /* its points meet the same value and give the reason in their rows */
    }
    return status;
}

static void release_shared(struct wn_shared *shared)
{
    if (shared->data)
        wn_par_shared_release(shared);
}

void wn_reference_release(struct wn_reference *reference)
{
    for (int64_t m = 0; m < reference->n_models; m++) {
        for (int64_t e = 0; e < reference->n_sets; e++) {
            release_shared(&reference->states[m][e]);
            release_shared(&reference->loss[m][e]);
            release_shared(&reference->greedy[m][e]);
            release_shared(&reference->generated[m][e]);
        }
        for (int64_t c = 0; c < reference->n_calibrations; c++) {
            release_shared(&reference->statistics[m][c]);
            wn_outliers_release(&reference->outliers[m][c]);
            wn_free(reference->left_out[m][c].values);
        }
        wn_free(reference->states[m]);
        wn_free(reference->loss[m]);
        wn_free(reference->greedy[m]);
        wn_free(reference->generated[m]);
        wn_free(reference->statistics[m]);
        wn_free(reference->needs[m]);
        wn_free(reference->outliers[m]);
        wn_free(reference->left_out[m]);
    }
    for (int64_t p = 0; p < reference->n_points; p++) {
        wn_free(reference->found[p].genome);
        wn_free(reference->found[p].failure);
    }
    wn_free(reference->found);
    wn_free(reference->states);
    wn_free(reference->loss);
    wn_free(reference->greedy);
    wn_free(reference->generated);
    wn_free(reference->statistics);
    wn_free(reference->needs);
    wn_free(reference->outliers);
    wn_free(reference->left_out);
    *reference = (struct wn_reference){0};
}
