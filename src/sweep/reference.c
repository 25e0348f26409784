/*
 * reference.c: the dense pass that all points share: states of the dense model at the targets of divergence sets, its
 * losses at the targets of sets that are compared item by item, the texts it generates, and statistics on dense
 * activations for points with dense propagation, with the outliers from which owl allocates. Depth pruning scores that
 * take more than one pass come after it (left_out.c).
 *
 * The parts of evaluation sets and the chunk groups of calibration sets are units; unit u is computed by rank u modulo
 * size. Every rank walks the blocks once with the hidden states of its own units. A unit's numbers do not depend on who
 * computed it, and groups are added in order, so the results are the same for any number of ranks.
 */
#include <stdlib.h>
#include <string.h>

#include "sweep_impl.h"

struct unit {
    const struct wn_sequences *sequences;
    int64_t set, calibration; /* one of them is -1 */
    int64_t chunk, chunks, row, tokens;
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
    struct wn_shared *states, *loss, *greedy, *generated, *statistics;
    bool generates;
    struct wn_kept_blocks kept;         /* when texts are generated */
    unsigned *needs;                    /* [calibrations] */
    struct wn_outlier_shares *outliers; /* [calibrations] */
    struct wn_shared partial;           /* statistics of the current block, one per calibration unit */
    float *scratch, *before;            /* `before` only when drop scores are needed: see struct wn_statistics_tap */
    int64_t *offset;
};

/* ---- what is needed ---- */

static bool wants_set(const struct wn_run *run, int64_t model, int64_t set, const bool *wanted)
{
    if (!run->sweep->evals[set].divergence && !run->sweep->evals[set].kind->compares)
        return false;
    for (int64_t p = 0; p < run->grid.n_points; p++)
        if (run->grid.points[p].model == model && wanted[p])
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

static void add_multiple(struct wn_outlier_shares *outliers, double multiple)
{
    for (int64_t i = 0; i < outliers->count; i++)
        if (outliers->multiples[i] == multiple)
            return;
    outliers->multiples = wn_resize(outliers->multiples, outliers->count + 1, sizeof(double));
    outliers->multiples[outliers->count++] = multiple;
}

/* The multiples of the mean that points count outliers with. */
static void open_outliers(struct pass *pass, int64_t calibration, const bool *wanted)
{
    struct wn_outlier_shares *outliers = &pass->outliers[calibration];
    for (int64_t p = 0; p < pass->run->grid.n_points; p++) {
        const struct wn_point *point = &pass->run->grid.points[p];
        double multiple = wn_recipe_outlier_multiple(&point->recipe);
        if (wanted[p] && point->model == pass->model_index && point->calibration == calibration && multiple > 0)
            add_multiple(outliers, multiple);
    }
    outliers->shares = wn_alloc_zero(outliers->count * pass->prepared->model->config.n_blocks, sizeof(double));
}

/* A unit of `chunks` chunks from `chunk`. */
static void add_unit(struct pass *pass, const struct wn_sequences *sequences, int64_t set, int64_t calibration,
                     int64_t chunk, int64_t chunks)
{
    int64_t row = sequences->offset[sequences->chunk[chunk]];
    int64_t end = sequences->offset[sequences->chunk[chunk + chunks]];
    pass->units = wn_resize(pass->units, pass->count + 1, sizeof *pass->units);
    pass->units[pass->count] = (struct unit){.sequences = sequences,
                                             .set = set,
                                             .calibration = calibration,
                                             .chunk = chunk,
                                             .chunks = chunks,
                                             .row = row,
                                             .tokens = end - row,
                                             .owner = (int)(pass->count % wn_par_size(pass->par))};
    pass->count++;
}

/* Bytes of the statistics of all calibration units: what `partial` holds. */
static int64_t partial_bytes(const struct pass *pass)
{
    int64_t bytes = 0;
    for (int64_t u = 0; u < pass->count; u++)
        if (pass->units[u].calibration >= 0)
            bytes += wn_statistics_bytes(&pass->prepared->model->layout, pass->needs[pass->units[u].calibration]);
    return bytes;
}

static wn_status open_calibrations(struct pass *pass, const bool *wanted)
{
    const struct wn_model *model = pass->prepared->model;
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++) {
        bool has_points;
        const struct wn_sequences *sequences = &pass->prepared->calibrations[c].sequences;
        pass->needs[c] = wanted_needs(pass->run, pass->model_index, c, wanted, &has_points);
        if (!has_points)
            continue;
        open_outliers(pass, c, wanted);
        for (int64_t g = 0; g < wn_statistics_groups(sequences); g++) {
            int64_t first = wn_statistics_group(sequences, g);
            add_unit(pass, sequences, -1, c, first, wn_statistics_group(sequences, g + 1) - first);
        }
        WN_TRY(wn_par_shared_create(pass->par, NULL,
                                    model->config.n_blocks * wn_statistics_bytes(&model->layout, pass->needs[c]),
                                    &pass->statistics[c]));
    }
    int64_t bytes = partial_bytes(pass);
    return bytes ? wn_par_shared_create(pass->par, NULL, bytes, &pass->partial) : WN_OK;
}

static wn_status open_set(struct pass *pass, const struct wn_eval_set *set, int64_t e)
{
    int64_t state = pass->prepared->model->config.hidden_size * (int64_t)sizeof(float);
    if (set->divergence)
        WN_TRY(wn_par_shared_create(pass->par, NULL, set->n_targets * state, &pass->states[e]));
    if (set->generation) {
        pass->generates = true;
        return wn_par_shared_create(pass->par, NULL,
                                    wn_generation_texts(set->generation) * wn_generated_record_bytes(set->generation),
                                    &pass->generated[e]);
    }
    if (!set->kind->compares)
        return WN_OK;
    WN_TRY(wn_par_shared_create(pass->par, NULL, set->n_targets * (int64_t)sizeof(double), &pass->loss[e]));
    return wn_par_shared_create(pass->par, NULL, set->n_targets, &pass->greedy[e]);
}

/* Makes the units and the shared memory of one model. Collective. */
static wn_status open_pass(struct pass *pass, const bool *wanted)
{
    const struct wn_run *run = pass->run;
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        const struct wn_eval_set *set = &pass->prepared->sets[e];
        if (!wants_set(run, pass->model_index, e, wanted))
            continue;
        for (int64_t p = 0; p < wn_sequences_parts(&set->sequences); p++) {
            int64_t first = wn_sequences_part(&set->sequences, p);
            add_unit(pass, &set->sequences, e, -1, first, wn_sequences_part(&set->sequences, p + 1) - first);
        }
        WN_TRY(open_set(pass, set, e));
    }
    return open_calibrations(pass, wanted);
}

static bool is_mine(const struct pass *pass, const struct unit *unit)
{
    return unit->owner == wn_par_rank(pass->par);
}

/* ---- one block ---- */

/* Adds the groups' sums in order and puts them where points look. One rank of each node does it. */
static void add_partials(struct pass *pass, int64_t block)
{
    const struct wn_layout *layout = &pass->prepared->model->layout;
    const char *from = pass->partial.data;
    for (int64_t u = 0; u < pass->count; u++) {
        int64_t calibration = pass->units[u].calibration;
        if (calibration < 0)
            continue;
        int64_t bytes = wn_statistics_bytes(layout, pass->needs[calibration]);
        char *to = (char *)pass->statistics[calibration].data + block * bytes;
        wn_statistics_add(layout, pass->needs[calibration], to, from);
        from += bytes;
    }
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
        if (pass->statistics[c].data && pass->needs[c] & WN_NEED_SECOND_MOMENTS)
            wn_statistics_symmetrize(layout, (char *)pass->statistics[c].data +
                                                 block * wn_statistics_bytes(layout, pass->needs[c]));
}

/* Collective. */
static void reduce_statistics(struct pass *pass, int64_t block)
{
    int64_t pieces = 0;
    int64_t *offset = wn_alloc(pass->count + 1, sizeof *offset);
    int *owner = wn_alloc(pass->count, sizeof *owner);
    offset[0] = 0;
    for (int64_t u = 0; u < pass->count; u++) {
        if (pass->units[u].calibration < 0)
            continue;
        owner[pieces] = pass->units[u].owner;
        offset[pieces + 1] = offset[pieces] + wn_statistics_bytes(&pass->prepared->model->layout,
                                                                  pass->needs[pass->units[u].calibration]);
        pieces++;
    }
    wn_par_shared_exchange(pass->par, &pass->partial, pieces, offset, owner);
    if (wn_par_node_rank(pass->par) == 0)
        add_partials(pass, block);
    wn_free(offset);
    wn_free(owner);
    wn_par_barrier(pass->par);
}

/* On every rank: all have the block, and its statistics are those of the node. */
static void count_outliers(struct pass *pass, const struct wn_block *block, int64_t block_index, int64_t calibration)
{
    const struct wn_model *model = pass->prepared->model;
    const struct wn_layout *layout = &model->layout;
    const struct wn_outlier_shares *outliers = &pass->outliers[calibration];
    struct wn_scored_linear linears[WN_MAX_LINEARS];
    char *statistics = (char *)pass->statistics[calibration].data +
                       block_index * wn_statistics_bytes(layout, pass->needs[calibration]);
    for (int l = 0; l < layout->n_linears; l++)
        linears[l] = (struct wn_scored_linear){layout->linears[l].rows, layout->linears[l].columns, block->linears[l],
                                               wn_statistics_squares(layout, statistics, layout->linears[l].input)};
    for (int64_t i = 0; i < outliers->count; i++)
        outliers->shares[i * model->config.n_blocks + block_index] =
            wn_outlier_share(linears, layout->n_linears, outliers->multiples[i]);
}

static void run_units(struct pass *pass, const struct wn_block *block)
{
    const struct wn_layout *layout = &pass->prepared->model->layout;
    char *partial = pass->partial.data;
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
        bool counts = unit->calibration >= 0;
        unsigned needs = counts ? pass->needs[unit->calibration] : 0;
        int64_t bytes = counts ? wn_statistics_bytes(layout, needs) : 0;
        struct wn_statistics_tap context = {layout, needs, partial, pass->before};
        struct wn_tap tap = {wn_statistics_take, &context,
                             needs & WN_NEED_DROP_SCORES ? wn_statistics_add_branch : NULL};
        if (is_mine(pass, unit)) {
            if (counts)
                memset(partial, 0, (size_t)bytes);
            wn_sequences_run(pass->prepared->model, block, unit->sequences, unit->chunk, unit->chunk + unit->chunks,
                             unit->hidden, wn_prepared_group_rows(pass->run, pass->model_index), pass->scratch,
                             pass->offset, counts ? &tap : NULL);
        }
        if (counts)
            partial += bytes;
    }
}

static wn_status walk_blocks(struct pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    struct wn_block *block = wn_block_create(model);
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    wn_status status = WN_OK;
    if (pass->generates)
        wn_kept_blocks_init(&pass->kept, model);
    wn_watch(pass->run, -1, 0, model->config.n_blocks);
    for (int64_t b = 0; b < model->config.n_blocks && status == WN_OK; b++) {
        status = wn_par_agree(pass->par, wn_model_load_block(model, b, block));
        if (status != WN_OK)
            break;
        run_units(pass, block);
        if (pass->partial.data)
            reduce_statistics(pass, b);
        for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
            if (pass->outliers[c].count)
                count_outliers(pass, block, b, c);
        if (pass->generates)
            wn_kept_blocks_take(&pass->kept, b, block, none);
        wn_watch(pass->run, -1, b + 1, model->config.n_blocks);
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

/* First target and number of targets of the chunks of a unit. */
static int64_t unit_targets(const struct pass *pass, const struct unit *unit, int64_t *first)
{
    const struct wn_eval_set *set = &pass->prepared->sets[unit->set];
    int64_t last, count = wn_eval_chunk_targets(set, unit->chunk + unit->chunks - 1, &last);
    wn_eval_chunk_targets(set, unit->chunk, first);
    return last + count - *first;
}

/* What I computed of a set, `size` bytes for each target, shared with all nodes. Collective. */
static void share(struct pass *pass, int64_t e, struct wn_shared *shared, int64_t size)
{
    int64_t units = 0, first;
    int64_t *offset = wn_alloc_zero(pass->count + 1, sizeof *offset);
    int *owner = wn_alloc(pass->count, sizeof *owner);
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
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
static const float *chunk_hidden(const struct pass *pass, const struct unit *unit, int64_t chunk)
{
    const struct wn_sequences *sequences = unit->sequences;
    int64_t row = sequences->offset[sequences->chunk[chunk]] - unit->row;
    return unit->hidden + row * pass->prepared->model->config.hidden_size;
}

/* States of my units of a set at their targets. Collective. */
static void share_states(struct pass *pass, int64_t e)
{
    const struct wn_eval_set *set = &pass->prepared->sets[e];
    int64_t hidden = pass->prepared->model->config.hidden_size, first;
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
        for (int64_t c = unit->chunk; unit->set == e && is_mine(pass, unit) && c < unit->chunk + unit->chunks; c++)
            if (wn_eval_chunk_targets(set, c, &first))
                wn_eval_dense_states(pass->prepared->model, set, c, chunk_hidden(pass, unit, c),
                                     (float *)pass->states[e].data + first * hidden);
    }
    share(pass, e, &pass->states[e], hidden * (int64_t)sizeof(float));
}

/* Losses of my units of a set, by the head tiles of every point: the dense point gets the same bits. Collective. */
static void share_losses(struct pass *pass, int64_t e)
{
    const struct wn_eval_set *set = &pass->prepared->sets[e];
    struct wn_target_scores scores = {.loss = pass->loss[e].data, .greedy = pass->greedy[e].data};
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
        for (int64_t c = unit->chunk; unit->set == e && is_mine(pass, unit) && c < unit->chunk + unit->chunks; c++)
            wn_eval_score_chunk(pass->prepared->model, set, c, chunk_hidden(pass, unit, c), NULL, &scores);
    }
    share(pass, e, &pass->loss[e], (int64_t)sizeof(double));
    share(pass, e, &pass->greedy[e], 1);
}

/* Texts of my batches of a set, shared with all nodes. Collective. */
static wn_status share_texts(struct pass *pass, int64_t e)
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
            status = wn_generate_batch(&pass->kept, generation, b, &texts);
    }
    status = wn_par_agree(pass->par, status);
    wn_par_shared_exchange(pass->par, &pass->generated[e], batches, offset, owner);
    wn_generated_release(&texts);
    wn_free(offset);
    wn_free(owner);
    return status;
}

/* What was computed of all sets; texts that cannot be generated do not keep other sets from being shared. Collective.
 */
static wn_status share_sets(struct pass *pass)
{
    wn_status status = WN_OK;
    for (int64_t e = 0; e < pass->run->sweep->n_evals; e++) {
        if (pass->states[e].data)
            share_states(pass, e);
        if (pass->loss[e].data)
            share_losses(pass, e);
        if (pass->generated[e].data && status == WN_OK)
            status = share_texts(pass, e);
    }
    return status;
}

static void close_pass(struct pass *pass)
{
    wn_kept_blocks_release(&pass->kept);
    for (int64_t u = 0; u < pass->count; u++)
        wn_free(pass->units[u].hidden);
    wn_free(pass->units);
    wn_free(pass->scratch);
    wn_free(pass->before);
    wn_free(pass->offset);
    if (pass->partial.data)
        wn_par_shared_release(&pass->partial);
}

static void open_before(struct pass *pass)
{
    unsigned needs = 0;
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
        needs |= pass->needs[c];
    if (needs & WN_NEED_DROP_SCORES)
        pass->before = wn_alloc(wn_prepared_longest_chunk(pass->run, pass->model_index) *
                                    pass->prepared->model->config.hidden_size,
                                sizeof(float));
}

static wn_status reference_model(struct pass *pass, const bool *wanted)
{
    const struct wn_model *model = pass->prepared->model;
    wn_status status = open_pass(pass, wanted);
    if (status == WN_OK && (pass->count || pass->generates)) {
        pass->scratch =
            wn_alloc(wn_model_scratch(model, wn_prepared_group_rows(pass->run, pass->model_index)), sizeof(float));
        pass->offset = wn_alloc(wn_prepared_offsets(pass->run, pass->model_index), sizeof(int64_t));
        open_before(pass);
        embed_units(pass);
        status = walk_blocks(pass);
        if (status == WN_OK)
            status = share_sets(pass);
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
        struct pass pass = {.par = par,
                            .run = run,
                            .prepared = &run->models[m],
                            .model_index = m,
                            .states = reference->states[m],
                            .loss = reference->loss[m],
                            .greedy = reference->greedy[m],
                            .generated = reference->generated[m],
                            .statistics = reference->statistics[m],
                            .needs = reference->needs[m],
                            .outliers = reference->outliers[m]};
        status = reference_model(&pass, wanted);
        for (int64_t c = 0; c < reference->n_calibrations && status == WN_OK; c++)
            status = wn_left_out_compute(par, run, m, c, wanted, &reference->left_out[m][c]);
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
            wn_free(reference->outliers[m][c].multiples);
            wn_free(reference->outliers[m][c].shares);
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
