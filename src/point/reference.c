/*
 * reference.c: the dense pass that all points share: states of the dense model at the targets of divergence sets, its
 * losses at the targets of sets that are compared item by item, the texts it generates, and statistics on dense
 * activations for points with dense propagation, with the outliers from which owl allocates. Depth pruning scores that
 * take more than one pass come after it (left_out.c).
 *
 * The groups of calibration sets and the parts of evaluation sets are units, dealt to the ranks; those without any load
 * no block. A rank walks the blocks once with the hidden states of its own units. Groups come in rounds, one for each
 * rank that has any: what a rank has summed over its group is added to the sum of the set, in the order of groups, by
 * the ranks of its node, and between nodes that sum travels, in every second round backwards, since the next group is
 * where the last one was. So a rank holds the sums of one group, and a node those of the set, whatever their number,
 * and the results are the same for any number of ranks and nodes.
 *
 * A stop is looked for between blocks: then the states of all units, and the sums of the blocks so far, go to scratch
 * (scratch.h), from where the next start goes on, with any number of ranks. So does what a long pass leaves at its end.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/scratch.h>

#include "point_impl.h"

/* A block may take so much longer than the one before. */
static const double BLOCK_MARGIN = 1.2;
/* A pass that took so long, or such a share of the slot, is kept for the next start. */
static const double LONG_SECONDS = 60, LONG_SHARE = 0.1;
/* A batch of texts that took so long is kept at once. */
static const double BATCH_SECONDS = 1;

struct unit {
    const struct wn_sequences *sequences;
    int64_t set, calibration; /* one of them is -1 */
    int64_t chunk, chunks, row, tokens;
    int owner;     /* rank */
    float *hidden; /* [tokens, hidden], only at the owner */
};

struct pass {
    struct wn_par *par; /* NULL: only memory is asked for, as if all ranks were of one node */
    int ranks;
    const struct wn_run *run;
    const struct wn_prepared_model *prepared;
    int64_t model_index;
    int64_t count, counted, workers; /* of all units the first are groups, dealt in rounds of `workers` */
    struct unit *units;
    struct wn_shared *states, *loss, *greedy, *generated, *statistics;
    int64_t batches;                    /* most of a set whose texts are generated */
    struct wn_kept_blocks kept;         /* on ranks that generate */
    unsigned *needs;                    /* [calibrations] */
    struct wn_outlier_shares *outliers; /* [calibrations] */
    struct wn_shared partial;           /* a slot for each rank of the node that has groups: sums of one of them */
    int64_t slot_bytes, slots;          /* most of any node */
    int *slot;                          /* [ranks] */
    int64_t group_rows;                 /* what scratch is for */
    float *scratch, *before;            /* `before` only when drop scores are needed: see struct wn_statistics_tap */
    int64_t *offset;
    struct wn_saver *saver; /* NULL: nothing is saved */
    int64_t saved;          /* blocks that are done in the states on scratch; 0: none */
    bool safe;              /* saved since a stop was requested */
    bool late;              /* no more texts are begun */
    double start, last;     /* when the pass of the first model began; seconds of the last block */
};

/* ---- what is needed ---- */

static bool wants_set(const struct wn_run *run, int64_t model, int64_t set, const bool *wanted)
{
    if (!run->sweep->evals[set].divergence && !run->sweep->evals[set].kind->compares)
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

/* A unit of the chunks first .. end - 1. */
static void add_unit(struct pass *pass, const struct wn_sequences *sequences, int64_t set, int64_t calibration,
                     int64_t first, int64_t end)
{
    int64_t row = sequences->offset[sequences->chunk[first]];
    pass->units = wn_resize(pass->units, pass->count + 1, sizeof *pass->units);
    pass->units[pass->count++] = (struct unit){.sequences = sequences,
                                               .set = set,
                                               .calibration = calibration,
                                               .chunk = first,
                                               .chunks = end - first,
                                               .row = row,
                                               .tokens = sequences->offset[sequences->chunk[end]] - row};
}

static void add_groups(struct pass *pass, const bool *wanted)
{
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++) {
        bool has_points;
        const struct wn_sequences *sequences = &pass->prepared->calibrations[c].sequences;
        pass->needs[c] = wanted_needs(pass->run, pass->model_index, c, wanted, &has_points);
        for (int64_t g = 0; has_points && g < wn_statistics_groups(sequences); g++)
            add_unit(pass, sequences, -1, c, wn_statistics_group(sequences, g), wn_statistics_group(sequences, g + 1));
        int64_t bytes = has_points ? wn_statistics_bytes(&pass->prepared->model->layout, pass->needs[c]) : 0;
        pass->slot_bytes = bytes > pass->slot_bytes ? bytes : pass->slot_bytes;
    }
    pass->counted = pass->count;
}

static void add_parts(struct pass *pass, const bool *wanted)
{
    for (int64_t e = 0; e < pass->run->sweep->n_evals; e++) {
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

static int node_of(const struct pass *pass, int rank)
{
    return pass->par ? wn_par_node_of(pass->par, rank) : 0;
}

/* The ranks, node by node. */
static int *order_ranks(const struct pass *pass)
{
    int *order = wn_alloc(pass->ranks, sizeof *order), count = 0;
    for (int node = 0; count < pass->ranks; node++)
        for (int rank = 0; rank < pass->ranks; rank++)
            if (node_of(pass, rank) == node)
                order[count++] = rank;
    return order;
}

/* Work of a token of a unit, against that of one that only goes through the block. */
static double token_work(const struct pass *pass, const struct unit *unit)
{
    const struct wn_layout *layout = &pass->prepared->model->layout;
    double squares = 0;
    if (unit->calibration < 0 || !(pass->needs[unit->calibration] & WN_NEED_SECOND_MOMENTS))
        return 1;
    for (int i = 0; i < layout->n_inputs; i++)
        squares += (double)layout->input_widths[i] * (double)layout->input_widths[i];
    return 1 + squares / (2 * (double)wn_model_block_weights(pass->prepared->model));
}

/* Groups in rounds, forwards and backwards over ranks spread evenly over the nodes; then every part to the rank that
 * has least to do. */
static void deal_units(struct pass *pass)
{
    int *order = order_ranks(pass);
    double *work = wn_alloc_zero(pass->ranks, sizeof *work);
    pass->workers = pass->counted < pass->ranks ? pass->counted : pass->ranks;
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
        int64_t place = 0;
        if (u < pass->counted) {
            int64_t round = u / pass->workers, at = u % pass->workers;
            place = (round % 2 ? pass->workers - 1 - at : at) * pass->ranks / pass->workers;
        }
        for (int64_t i = 0; u >= pass->counted && i < pass->ranks; i++)
            place = work[i] < work[place] ? i : place;
        work[place] += (double)unit->tokens * token_work(pass, unit);
        unit->owner = order[place];
    }
    wn_free(order);
    wn_free(work);
}

/* Slots of partial sums, for ranks that have groups. */
static void deal_slots(struct pass *pass)
{
    int *used = wn_alloc_zero(pass->ranks, sizeof *used); /* of a node */
    pass->slot = wn_alloc(pass->ranks, sizeof *pass->slot);
    for (int64_t u = 0; u < pass->workers; u++) {
        int rank = pass->units[u].owner, node = node_of(pass, rank);
        pass->slot[rank] = used[node]++;
        pass->slots = used[node] > pass->slots ? used[node] : pass->slots;
    }
    wn_free(used);
}

/* The units of a model and their owners: a function of the data and of the ranks and nodes. */
static void plan_pass(struct pass *pass, const bool *wanted)
{
    add_groups(pass, wanted);
    add_parts(pass, wanted);
    deal_units(pass);
    deal_slots(pass);
}

static bool has_units(const struct pass *pass, int rank)
{
    for (int64_t u = 0; u < pass->count; u++)
        if (pass->units[u].owner == rank)
            return true;
    return false;
}

/* Batch b of a set is generated by rank b modulo size. */
static bool generates(const struct pass *pass, int rank)
{
    return rank < pass->batches;
}

static bool is_mine(const struct pass *pass, const struct unit *unit)
{
    return unit->owner == wn_par_rank(pass->par);
}

/* ---- memory ---- */

static wn_status open_calibrations(struct pass *pass, const bool *wanted)
{
    const struct wn_model *model = pass->prepared->model;
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++) {
        bool has_points;
        wanted_needs(pass->run, pass->model_index, c, wanted, &has_points);
        if (!has_points)
            continue;
        open_outliers(pass, c, wanted);
        WN_TRY(wn_par_shared_create(pass->par, NULL,
                                    model->config.n_blocks * wn_statistics_bytes(&model->layout, pass->needs[c]),
                                    &pass->statistics[c]));
    }
    return pass->counted ? wn_par_shared_create(pass->par, NULL, pass->slots * pass->slot_bytes, &pass->partial)
                         : WN_OK;
}

static wn_status open_set(struct pass *pass, const struct wn_eval_set *set, int64_t e)
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
static wn_status open_pass(struct pass *pass, const bool *wanted)
{
    for (int64_t e = 0; e < pass->run->sweep->n_evals; e++)
        if (wants_set(pass->run, pass->model_index, e, wanted))
            WN_TRY(open_set(pass, &pass->prepared->sets[e], e));
    return open_calibrations(pass, wanted);
}

static bool wants_branches(const struct pass *pass)
{
    unsigned needs = 0;
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
        needs |= pass->needs[c];
    return needs & WN_NEED_DROP_SCORES;
}

/* ---- one block ---- */

static int64_t statistics_bytes(const struct pass *pass, int64_t calibration)
{
    return wn_statistics_bytes(&pass->prepared->model->layout, pass->needs[calibration]);
}

static void *statistics_of(const struct pass *pass, int64_t calibration, int64_t block)
{
    return (char *)pass->statistics[calibration].data + block * statistics_bytes(pass, calibration);
}

static void *partial_of(const struct pass *pass, const struct unit *unit)
{
    return (char *)pass->partial.data + pass->slot[unit->owner] * pass->slot_bytes;
}

static void run_unit(struct pass *pass, const struct wn_block *block, struct unit *unit)
{
    bool counts = unit->calibration >= 0;
    unsigned needs = counts ? pass->needs[unit->calibration] : 0;
    struct wn_statistics_tap context = {
        .layout = &pass->prepared->model->layout, .needs = needs, .before = pass->before};
    struct wn_tap tap = {wn_statistics_take, &context, needs & WN_NEED_DROP_SCORES ? wn_statistics_add_branch : NULL};
    if (counts) {
        context.statistics = partial_of(pass, unit);
        memset(context.statistics, 0, (size_t)statistics_bytes(pass, unit->calibration));
    }
    wn_sequences_run(pass->prepared->model, block, unit->sequences, unit->chunk, unit->chunk + unit->chunks,
                     unit->hidden, pass->group_rows, pass->scratch, pass->offset, counts ? &tap : NULL);
}

/* Units of one calibration set in one round. */
struct run_of_groups {
    const struct pass *pass;
    int64_t block, first, end;
};

/* Adds what the ranks of this node have to bytes of the sum, which lies where points look. */
static void add_groups_of_node(void *context, int64_t from, int64_t to)
{
    const struct run_of_groups *groups = context;
    const struct pass *pass = groups->pass;
    int64_t calibration = pass->units[groups->first].calibration;
    int64_t start = groups->block * statistics_bytes(pass, calibration);
    for (int64_t u = groups->first; u < groups->end; u++)
        if (node_of(pass, pass->units[u].owner) == wn_par_node(pass->par))
            wn_statistics_add_part(&pass->prepared->model->layout, pass->needs[calibration],
                                   statistics_of(pass, calibration, groups->block), partial_of(pass, &pass->units[u]),
                                   from - start, to - start);
}

/* The units first .. end - 1, of one set and one round, join its sum. Collective. */
static void add_run(struct pass *pass, int64_t block, int64_t first, int64_t end)
{
    struct run_of_groups groups = {pass, block, first, end};
    int64_t calibration = pass->units[first].calibration, bytes = statistics_bytes(pass, calibration), steps = 0;
    int *node = wn_alloc(end - first, sizeof *node);
    for (int64_t u = first; u < end; u++) {
        int place = node_of(pass, pass->units[u].owner);
        if (steps == 0 || node[steps - 1] != place)
            node[steps++] = place;
    }
    wn_par_shared_chain(pass->par, &pass->statistics[calibration], block * bytes, (block + 1) * bytes, steps, node,
                        add_groups_of_node, &groups);
    wn_free(node);
}

/* The units of a round join the sums of their sets. Collective. */
static void end_round(struct pass *pass, int64_t block, int64_t first, int64_t end)
{
    for (int64_t u = first, next; u < end; u = next) {
        for (next = u + 1; next < end && pass->units[next].calibration == pass->units[u].calibration;)
            next++;
        add_run(pass, block, u, next);
    }
}

static void run_parts(struct pass *pass, const struct wn_block *block)
{
    for (int64_t u = pass->counted; u < pass->count; u++)
        if (is_mine(pass, &pass->units[u]))
            run_unit(pass, block, &pass->units[u]);
}

/* All units. A rank without a group in the last round does its parts meanwhile. Collective. */
static void run_units(struct pass *pass, const struct wn_block *block, int64_t block_index)
{
    bool parts_done = false;
    for (int64_t first = 0, end; first < pass->counted; first = end) {
        bool any = false;
        end = first + pass->workers < pass->counted ? first + pass->workers : pass->counted;
        for (int64_t u = first; u < end; u++)
            if (is_mine(pass, &pass->units[u])) {
                run_unit(pass, block, &pass->units[u]);
                any = true;
            }
        if (!any && !parts_done) {
            run_parts(pass, block);
            parts_done = true;
        }
        end_round(pass, block_index, first, end);
    }
    if (!parts_done)
        run_parts(pass, block);
}

/* The rank of the last group of a set: its node has the sum. */
static int last_owner(const struct pass *pass, int64_t calibration)
{
    int owner = 0;
    for (int64_t u = 0; u < pass->counted; u++)
        owner = pass->units[u].calibration == calibration ? pass->units[u].owner : owner;
    return owner;
}

/* Every node gets the sums of every set, whole; a rank of each node sees to it. Collective. */
static void share_statistics(struct pass *pass, int64_t block)
{
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++) {
        if (!pass->statistics[c].data)
            continue;
        int64_t bytes = statistics_bytes(pass, c), offset[2] = {block * bytes, (block + 1) * bytes};
        int owner = last_owner(pass, c);
        wn_par_shared_exchange(pass->par, &pass->statistics[c], 1, offset, &owner);
        if (pass->needs[c] & WN_NEED_SECOND_MOMENTS && c % wn_par_node_size(pass->par) == wn_par_node_rank(pass->par))
            wn_statistics_symmetrize(&pass->prepared->model->layout, statistics_of(pass, c, block));
    }
}

/* Who counts the outliers of a set with its multiple of that number: a rank that has the block. */
static int outlier_owner(const struct pass *pass, int64_t calibration, int64_t multiple)
{
    return pass->units[(calibration + multiple) % pass->counted].owner;
}

static void count_outliers(struct pass *pass, const struct wn_block *block, int64_t block_index, int64_t calibration)
{
    const struct wn_model *model = pass->prepared->model;
    const struct wn_layout *layout = &model->layout;
    const struct wn_outlier_shares *outliers = &pass->outliers[calibration];
    struct wn_scored_linear linears[WN_MAX_LINEARS];
    void *statistics = statistics_of(pass, calibration, block_index);
    for (int l = 0; block && l < layout->n_linears; l++)
        linears[l] = (struct wn_scored_linear){layout->linears[l].rows, layout->linears[l].columns, block->linears[l],
                                               wn_statistics_squares(layout, statistics, layout->linears[l].input)};
    for (int64_t i = 0; i < outliers->count; i++)
        if (outlier_owner(pass, calibration, i) == wn_par_rank(pass->par))
            outliers->shares[i * model->config.n_blocks + block_index] =
                wn_outlier_share(linears, layout->n_linears, outliers->multiples[i]);
}

/* Collective. */
static void share_outliers(struct pass *pass)
{
    int64_t n_blocks = pass->prepared->model->config.n_blocks;
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
        for (int64_t i = 0; i < pass->outliers[c].count; i++)
            wn_par_broadcast(pass->par, pass->outliers[c].shares + i * n_blocks, n_blocks * (int64_t)sizeof(double),
                             outlier_owner(pass, c, i));
}

static void walk_block(struct pass *pass, const struct wn_block *block, int64_t b)
{
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    run_units(pass, block, b);
    share_statistics(pass, b);
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
        if (pass->outliers[c].count)
            count_outliers(pass, block, b, c);
    if (pass->kept.model)
        wn_kept_blocks_take(&pass->kept, b, block, none);
}

/* Hidden states of my units before the first block. */
static void embed_units(struct pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    for (int64_t u = 0; u < pass->count; u++) {
        struct unit *unit = &pass->units[u];
        if (!is_mine(pass, unit))
            continue;
        if (!unit->hidden)
            unit->hidden = wn_alloc(unit->tokens * model->config.hidden_size, sizeof(float));
        wn_model_embed(model, unit->sequences->ids + unit->row, unit->tokens, unit->hidden);
    }
}

/* ---- what a stop leaves ---- */

/* A state of the pass and what it is of. Both texts are of the caller. */
static struct wn_state state_of(const struct pass *pass, const char *name, const char *what, int64_t step)
{
    return (struct wn_state){
        .name = name, .what = what, .point = -1, .step = step, .steps = pass->prepared->model->config.n_blocks};
}

/* Written last: that all others of this step are there. */
static struct wn_state index_state(const struct pass *pass, int64_t step, char name[WN_STATE_NAME])
{
    snprintf(name, WN_STATE_NAME, "dense-%lld", (long long)pass->model_index);
    return state_of(pass, name, "dense pass", step);
}

enum direction { TO_SCRATCH, FROM_SCRATCH, FORGET };

/* Saves, reads or removes one state. */
static wn_status move_state(const struct pass *pass, enum direction direction, const struct wn_state *state, void *data,
                            int64_t bytes)
{
    struct wn_state_piece piece = {data, bytes};
    if (direction == TO_SCRATCH)
        return wn_state_write(pass->saver, state, &piece, 1);
    if (direction == FROM_SCRATCH)
        return wn_state_read(pass->saver, state, &piece, 1);
    wn_state_remove(pass->saver, state->name);
    return WN_OK;
}

/* Hidden states of my units, by what they are of: their number depends on what is wanted. */
static wn_status move_units(const struct pass *pass, enum direction direction, int64_t step)
{
    for (int64_t u = 0; u < pass->count; u++) {
        const struct unit *unit = &pass->units[u];
        char name[WN_STATE_NAME], what[160];
        if (!is_mine(pass, unit))
            continue;
        snprintf(name, sizeof name, "dense-%lld-%lld-%c%lld-%lld", (long long)pass->model_index, (long long)step,
                 unit->set >= 0 ? 's' : 'c', (long long)(unit->set >= 0 ? unit->set : unit->calibration),
                 (long long)unit->chunk);
        snprintf(what, sizeof what, "states of %lld chunks from %lld on", (long long)unit->chunks,
                 (long long)unit->chunk);
        struct wn_state state = state_of(pass, name, what, step);
        WN_TRY(move_state(pass, direction, &state, unit->hidden,
                          unit->tokens * pass->prepared->model->config.hidden_size * (int64_t)sizeof(float)));
    }
    return WN_OK;
}

/* Sums of the blocks first .. end - 1, which the ranks of a node share out. */
static wn_status move_statistics(const struct pass *pass, enum direction direction, int64_t first, int64_t end)
{
    int size = wn_par_node_size(pass->par), rank = wn_par_node_rank(pass->par);
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
        for (int64_t b = first; pass->statistics[c].data && b < end; b++) {
            char name[WN_STATE_NAME], what[64];
            if ((c + b) % size != rank)
                continue;
            snprintf(name, sizeof name, "dense-%lld-c%lld-b%lld", (long long)pass->model_index, (long long)c,
                     (long long)b);
            snprintf(what, sizeof what, "statistics %x", pass->needs[c]);
            struct wn_state state = state_of(pass, name, what, b + 1);
            WN_TRY(move_state(pass, direction, &state, statistics_of(pass, c, b), statistics_bytes(pass, c)));
        }
    return WN_OK;
}

static wn_status move_outliers(const struct pass *pass, enum direction direction, int64_t step)
{
    int64_t n_blocks = pass->prepared->model->config.n_blocks;
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
        for (int64_t i = 0; i < pass->outliers[c].count; i++) {
            char name[WN_STATE_NAME], what[64];
            if (outlier_owner(pass, c, i) != wn_par_rank(pass->par))
                continue;
            snprintf(name, sizeof name, "dense-%lld-%lld-o%lld-%lld", (long long)pass->model_index, (long long)step,
                     (long long)c, (long long)i);
            snprintf(what, sizeof what, "outliers of %a", pass->outliers[c].multiples[i]);
            struct wn_state state = state_of(pass, name, what, step);
            WN_TRY(move_state(pass, direction, &state, pass->outliers[c].shares + i * n_blocks,
                              n_blocks * (int64_t)sizeof(double)));
        }
    return WN_OK;
}

/* Everything behind `step` blocks; then what was saved before is not needed any more. Collective. */
static wn_status save_pass(struct pass *pass, int64_t step)
{
    char name[WN_STATE_NAME];
    struct wn_state index = index_state(pass, step, name);
    if (step == pass->saved)
        return WN_OK;
    wn_status status = wn_checkpoint_check(pass->prepared->model->checkpoint); /* behind the last load */
    if (status == WN_OK)
        status = move_units(pass, TO_SCRATCH, step);
    if (status == WN_OK && wn_par_node(pass->par) == 0)
        status = move_statistics(pass, TO_SCRATCH, pass->saved, step);
    if (status == WN_OK)
        status = move_outliers(pass, TO_SCRATCH, step);
    WN_TRY(wn_par_agree(pass->par, status));
    if (wn_par_rank(pass->par) == 0)
        status = move_state(pass, TO_SCRATCH, &index, NULL, 0);
    WN_TRY(wn_par_agree(pass->par, status));
    if (pass->saved) {
        move_units(pass, FORGET, pass->saved);
        move_outliers(pass, FORGET, pass->saved);
    }
    pass->saved = step;
    return WN_OK;
}

/* Goes on where an earlier start stopped: returns the blocks that are done. Collective. */
static int64_t resume_pass(struct pass *pass)
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
    wn_status status = move_units(pass, FROM_SCRATCH, step);
    if (status == WN_OK)
        status = move_statistics(pass, FROM_SCRATCH, 0, step);
    if (status == WN_OK)
        status = move_outliers(pass, FROM_SCRATCH, step);
    status = wn_par_agree(pass->par, status); /* sums are read by all ranks of the node from here on */
    if (wn_par_rank(pass->par) == 0 && status == WN_OK)
        wn_log(WN_LOG_INFO, "dense pass: goes on behind block %lld of %lld", (long long)step,
               (long long)pass->prepared->model->config.n_blocks);
    else if (wn_par_rank(pass->par) == 0)
        wn_log(WN_LOG_WARNING, "dense pass: starts again, as what was saved of it cannot be used: %s",
               wn_error_message());
    if (status != WN_OK) { /* some units were read */
        embed_units(pass);
        for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
            if (pass->statistics[c].data && wn_par_node_rank(pass->par) == 0)
                memset(pass->statistics[c].data, 0, (size_t)pass->statistics[c].bytes);
        wn_par_barrier(pass->par);
        return 0;
    }
    pass->saved = step;
    return step;
}

/* What this rank would write. */
static double save_seconds(const struct pass *pass)
{
    double bytes = 0;
    for (int64_t u = 0; u < pass->count; u++)
        if (is_mine(pass, &pass->units[u]))
            bytes += (double)(pass->units[u].tokens * pass->prepared->model->config.hidden_size) * sizeof(float);
    for (int64_t c = 0; c < pass->run->sweep->n_calibrations; c++)
        bytes += (double)pass->statistics[c].bytes / wn_par_node_size(pass->par);
    return bytes / pass->saver->rate;
}

enum decision { GO_ON, SAVE, STOP };

/*
 * Stops when the next block would end too late; after a request to stop when the pass would, behind which states become
 * scores and texts. The time that a request leaves may turn out to be shorter: all is saved once before. Collective.
 */
static enum decision decide(struct pass *pass, int64_t done)
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
static wn_status stop_pass(struct pass *pass, int64_t step)
{
    if (save_pass(pass, step) != WN_OK) {
        pass->saver->broken = true; /* on all ranks */
        return WN_OK;
    }
    pass->saver->left = true;
    return wn_fail(WN_ERR_INTERRUPTED,
                   "stopped in the dense pass, behind block %lld of %lld: it is saved, the same command goes on there",
                   (long long)step, (long long)pass->prepared->model->config.n_blocks);
}

/* Acts on the decision behind a block. Collective. */
static wn_status end_block(struct pass *pass, int64_t done)
{
    enum decision decision = decide(pass, done);
    if (decision == STOP)
        return stop_pass(pass, done);
    if (decision == SAVE) {
        pass->saver->broken = save_pass(pass, done) != WN_OK; /* on all ranks */
        pass->safe = true;
    }
    return WN_OK;
}

/* Blocks that are in the states, where they have to be kept. */
static wn_status keep_blocks(struct pass *pass, struct wn_block *block, int64_t end)
{
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    for (int64_t b = 0; pass->kept.model && b < end; b++) {
        WN_TRY(wn_model_load_block(pass->prepared->model, b, block));
        wn_kept_blocks_take(&pass->kept, b, block, none);
    }
    return WN_OK;
}

static wn_status walk_blocks(struct pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    int rank = wn_par_rank(pass->par);
    struct wn_block *block = has_units(pass, rank) || generates(pass, rank) ? wn_block_create(model) : NULL;
    wn_status status = WN_OK;
    if (generates(pass, rank))
        wn_kept_blocks_init(&pass->kept, model);
    int64_t first = resume_pass(pass);
    status = wn_par_agree(pass->par, keep_blocks(pass, block, first));
    wn_watch(pass->run, -1, first, model->config.n_blocks);
    for (int64_t b = first; b < model->config.n_blocks && status == WN_OK; b++) {
        double start = wn_seconds();
        status = wn_par_agree(pass->par, block ? wn_model_load_block(model, b, block) : WN_OK);
        if (status == WN_OK)
            walk_block(pass, block, b);
        wn_watch(pass->run, -1, b + 1, model->config.n_blocks);
        pass->last = wn_seconds() - start;
        if (status == WN_OK)
            status = end_block(pass, b + 1);
    }
    if (block)
        wn_block_destroy(&block, model);
    if (status == WN_OK) {
        share_outliers(pass);
        wn_par_barrier(pass->par); /* one rank of a node made the last sums symmetric, all read them */
    }
    return status;
}

/* ---- one model ---- */

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

static wn_status move_batch(const struct pass *pass, enum direction direction, int64_t e, int64_t batch)
{
    const struct wn_generation *generation = pass->prepared->sets[e].generation;
    char name[WN_STATE_NAME];
    int64_t first, count = wn_generation_batch(generation, batch, &first),
                   bytes = wn_generated_record_bytes(generation);
    snprintf(name, sizeof name, "dense-%lld-t%lld-%lld", (long long)pass->model_index, (long long)e, (long long)batch);
    struct wn_state state = state_of(pass, name, "texts", 1);
    return move_state(pass, direction, &state, (char *)pass->generated[e].data + first * bytes, count * bytes);
}

/* One of my batches, from scratch or anew; not when the last one ended too late. */
static wn_status make_batch(struct pass *pass, int64_t e, int64_t batch, struct wn_generated *texts)
{
    double start = wn_seconds();
    if (pass->saver && move_batch(pass, FROM_SCRATCH, e, batch) == WN_OK)
        return WN_OK;
    if (pass->late)
        return wn_fail(WN_ERR_INTERRUPTED, "stopped while the dense model generates texts");
    WN_TRY(wn_generate_batch(&pass->kept, pass->prepared->sets[e].generation, batch, texts));
    if (!pass->saver || pass->saver->broken)
        return WN_OK;
    bool late = wn_seconds() > fmin(pass->saver->end, wn_par_stop_deadline());
    if (late || wn_seconds() - start > BATCH_SECONDS)
        pass->late = move_batch(pass, TO_SCRATCH, e, batch) == WN_OK && late;
    return WN_OK;
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
            status = make_batch(pass, e, b, &texts);
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
    wn_free(pass->slot);
    wn_free(pass->scratch);
    wn_free(pass->before);
    wn_free(pass->offset);
    if (pass->partial.data)
        wn_par_shared_release(&pass->partial);
}

static void open_buffers(struct pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    int64_t longest = wn_prepared_longest_chunk(pass->run, pass->model_index);
    pass->group_rows = wn_prepared_group_rows(pass->run, pass->model_index);
    pass->scratch = wn_alloc(wn_model_scratch(model, pass->group_rows), sizeof(float));
    pass->offset = wn_alloc(wn_prepared_offsets(pass->run, pass->model_index), sizeof(int64_t));
    if (wants_branches(pass))
        pass->before = wn_alloc(longest * model->config.hidden_size, sizeof(float));
    embed_units(pass);
}

/* What all blocks have left is kept when it was long in the making: points come next, and a stop may come before they
 * get anywhere. Collective. */
static wn_status keep_pass(struct pass *pass)
{
    int64_t n_blocks = pass->prepared->model->config.n_blocks;
    if (!pass->saver || wn_par_max(pass->par, pass->saver->broken))
        return WN_OK;
    double took = wn_seconds() - pass->start;
    bool is_long = pass->saved > 0 || took > LONG_SECONDS || took > LONG_SHARE * (pass->saver->end - pass->start);
    if (wn_par_max(pass->par, wn_par_stop_requested()))
        return stop_pass(pass, n_blocks);
    if (wn_par_max(pass->par, is_long))
        save_pass(pass, n_blocks);
    return WN_OK;
}

static wn_status interrupted(void)
{
    return wn_fail(WN_ERR_INTERRUPTED, "stopped while the dense model generates texts: what it has is saved, the same "
                                       "command goes on there");
}

static wn_status reference_model(struct pass *pass, const bool *wanted)
{
    plan_pass(pass, wanted);
    wn_status status = open_pass(pass, wanted);
    if (status == WN_OK && (pass->count || pass->batches)) {
        if (has_units(pass, wn_par_rank(pass->par)))
            open_buffers(pass);
        status = walk_blocks(pass);
        if (status == WN_OK) {
            status = share_sets(pass);
            if (status == WN_ERR_INTERRUPTED) /* texts need the blocks only, and sets the states */
                status = save_pass(pass, pass->prepared->model->config.n_blocks) == WN_OK ? interrupted() : WN_ERR_IO;
            if (status == WN_OK)
                status = keep_pass(pass);
        }
    }
    close_pass(pass);
    return status;
}

/* What a rank holds besides the sums of a group: states, and a block while they go through it, or scores behind it. */
static int64_t rank_bytes(const struct pass *pass, int rank)
{
    const struct wn_model *model = pass->prepared->model;
    int64_t hidden = model->config.hidden_size, longest = wn_prepared_longest_chunk(pass->run, pass->model_index);
    int64_t rows = wn_prepared_group_rows(pass->run, pass->model_index), states = 0, kept = 0, scores = 0;
    for (int64_t u = 0; u < pass->count; u++) {
        const struct unit *unit = &pass->units[u];
        if (unit->owner != rank)
            continue;
        int64_t prefixes = wn_sequences_run_bytes(model, unit->sequences);
        kept = prefixes > kept ? prefixes : kept;
        states += unit->tokens * hidden;
        if (unit->set >= 0)
            scores = wn_eval_scratch_bytes(model, false);
    }
    int64_t floats = states ? states + wn_model_scratch(model, rows) + wants_branches(pass) * longest * hidden : 0;
    int64_t walking = kept + (states || generates(pass, rank) ? wn_block_bytes(model) : 0);
    int64_t bytes = floats * (int64_t)sizeof(float) + (walking > scores ? walking : scores);
    return bytes + (states ? wn_prepared_offsets(pass->run, pass->model_index) * (int64_t)sizeof(int64_t) : 0);
}

void wn_reference_predict(const struct wn_run *run, int64_t model, int ranks, struct wn_reference_bytes *bytes)
{
    struct pass pass = {.ranks = ranks, .run = run, .prepared = &run->models[model], .model_index = model};
    bool *wanted = wn_alloc(run->grid.n_points, sizeof *wanted);
    const struct wn_recipe dense = {0};
    struct wn_generation_bytes texts;
    memset(wanted, true, (size_t)run->grid.n_points);
    pass.needs = wn_alloc_zero(run->sweep->n_calibrations, sizeof *pass.needs);
    plan_pass(&pass, wanted);
    wn_generation_bytes(run, model, &dense, &texts);
    *bytes = (struct wn_reference_bytes){.workers = 0};
    for (int rank = 0; rank < ranks; rank++) {
        int64_t mine = rank_bytes(&pass, rank);
        bytes->workers += has_units(&pass, rank);
        if (generates(&pass, rank))
            mine += texts.kept + (texts.packing > texts.generate ? texts.packing : texts.generate);
        bytes->rank = mine > bytes->rank ? mine : bytes->rank;
    }
    bytes->group = pass.slot_bytes;
    bytes->groups = pass.counted;
    wn_free(pass.needs);
    wn_free(wanted);
    close_pass(&pass);
}

wn_status wn_reference_compute(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                               struct wn_reference *reference)
{
    wn_status status = WN_OK;
    double start = wn_seconds();
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
                            .ranks = wn_par_size(par),
                            .run = run,
                            .prepared = &run->models[m],
                            .model_index = m,
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
