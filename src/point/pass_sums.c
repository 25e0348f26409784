/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pass_sums.c: the units of the dense pass through a block, and the sums over calibration groups. Groups come in
 * rounds, one for each rank that has any: what a rank has summed over its group is added to the sum of the set, in the
 * order of groups, by the ranks of its node, and between nodes that sum travels, in every second round backwards, since
 * the next group is where the last one was. So a rank holds the sums of one group, and a node those of the set,
 * whatever their number, and the results are the same for any number of ranks and nodes.
 */
#include <string.h>

#include "pass.h"
#include "walk.h"

bool wn_pass_is_mine(const struct wn_pass *pass, const struct wn_unit *unit)
{
    return unit->owner == wn_par_rank(pass->par);
}

void wn_pass_embed(struct wn_pass *pass)
{
    const struct wn_model *model = pass->prepared->model;
    for (int64_t u = 0; u < pass->units.count; u++) {
        struct wn_unit *unit = &pass->units.items[u];
        if (!wn_pass_is_mine(pass, unit))
            continue;
        if (!unit->hidden)
            unit->hidden = wn_alloc(unit->tokens * model->config.hidden_size, sizeof(float));
        wn_sequences_embed(model, unit->sequences, unit->row, unit->tokens, unit->hidden);
    }
}

int64_t wn_pass_statistics_bytes(const struct wn_pass *pass, int64_t calibration)
{
    return wn_statistics_bytes(&pass->prepared->model->layout, pass->needs[calibration]);
}

void *wn_pass_statistics(const struct wn_pass *pass, int64_t calibration, int64_t block)
{
    return (char *)pass->statistics[calibration].data + block * wn_pass_statistics_bytes(pass, calibration);
}

static void *partial_of(const struct wn_pass *pass, const struct wn_unit *unit)
{
    return (char *)pass->partial.data + pass->slot[unit->owner] * pass->slot_bytes;
}

void wn_pass_deal_slots(struct wn_pass *pass)
{
    int *used = wn_alloc_zero(pass->units.ranks, sizeof *used); /* of a node */
    pass->slot = wn_alloc(pass->units.ranks, sizeof *pass->slot);
    for (int64_t u = 0; u < pass->units.workers; u++) {
        int rank = pass->units.items[u].owner, node = wn_units_node(&pass->units, rank);
        pass->slot[rank] = used[node]++;
        pass->slots = used[node] > pass->slots ? used[node] : pass->slots;
    }
    wn_free(used);
}

static void run_unit(struct wn_pass *pass, const struct wn_block *block, struct wn_unit *unit)
{
    bool counts = unit->calibration >= 0;
    unsigned needs = counts ? pass->needs[unit->calibration] : 0;
    struct wn_statistics_tap context = {
        .layout = &pass->prepared->model->layout, .needs = needs, .before = pass->before};
    struct wn_tap tap = {wn_statistics_take, &context, needs & WN_NEED_DROP_SCORES ? wn_statistics_add_branch : NULL};
    if (counts) {
        context.statistics = partial_of(pass, unit);
        memset(context.statistics, 0, (size_t)wn_pass_statistics_bytes(pass, unit->calibration));
    }
    struct wn_block view = *block;
    if (!counts)
        wn_block_evaluated(pass->prepared->model, block, &view);
    if (pass->copy)
        wn_copy_floats(pass->copy, unit->hidden, unit->tokens * pass->prepared->model->config.hidden_size);
    wn_sequences_run(pass->prepared->model, &view, unit->sequences, unit->chunk, unit->chunk + unit->chunks,
                     pass->copy ? pass->copy : unit->hidden, pass->group_rows, pass->scratch, pass->offset,
                     counts ? &tap : NULL);
}

void wn_pass_push(struct wn_pass *pass, const struct wn_block *block)
{
    for (int64_t u = 0; u < pass->units.count; u++) {
        const struct wn_unit *unit = &pass->units.items[u];
        if (wn_pass_is_mine(pass, unit))
            wn_sequences_run(pass->prepared->model, block, unit->sequences, unit->chunk, unit->chunk + unit->chunks,
                             unit->hidden, pass->group_rows, pass->scratch, pass->offset, NULL);
    }
}

/* Units of one calibration set in one round. */
struct run_of_groups {
    const struct wn_pass *pass;
    int64_t block, first, end;
};

/* Adds what the ranks of this node have to bytes of the sum, which lies where points look. */
static void add_groups_of_node(void *context, int64_t from, int64_t to)
{
    const struct run_of_groups *groups = context;
    const struct wn_pass *pass = groups->pass;
    int64_t calibration = pass->units.items[groups->first].calibration;
    int64_t start = groups->block * wn_pass_statistics_bytes(pass, calibration);
    for (int64_t u = groups->first; u < groups->end; u++)
        if (wn_units_node(&pass->units, pass->units.items[u].owner) == wn_par_node(pass->par))
            wn_statistics_add_part(&pass->prepared->model->layout, pass->needs[calibration],
                                   wn_pass_statistics(pass, calibration, groups->block),
                                   partial_of(pass, &pass->units.items[u]), from - start, to - start);
}

/* The units first .. end - 1, of one set and one round, join its sum. Collective. */
static void add_run(struct wn_pass *pass, int64_t block, int64_t first, int64_t end)
{
    struct run_of_groups groups = {pass, block, first, end};
    int64_t calibration = pass->units.items[first].calibration, bytes = wn_pass_statistics_bytes(pass, calibration),
            steps = 0;
    int *node = wn_alloc(end - first, sizeof *node);
    for (int64_t u = first; u < end; u++) {
        int place = wn_units_node(&pass->units, pass->units.items[u].owner);
        if (steps == 0 || node[steps - 1] != place)
            node[steps++] = place;
    }
    wn_par_shared_chain(pass->par, &pass->statistics[calibration], block * bytes, (block + 1) * bytes, steps, node,
                        add_groups_of_node, &groups);
    wn_free(node);
}

/* The units of a round join the sums of their sets. Collective. */
static void end_round(struct wn_pass *pass, int64_t block, int64_t first, int64_t end)
{
    for (int64_t u = first, next; u < end; u = next) {
        for (next = u + 1; next < end && pass->units.items[next].calibration == pass->units.items[u].calibration;)
            next++;
        add_run(pass, block, u, next);
    }
}

static void run_parts(struct wn_pass *pass, const struct wn_block *block)
{
    for (int64_t u = pass->units.counted; u < pass->units.count; u++)
        if (wn_pass_is_mine(pass, &pass->units.items[u]))
            run_unit(pass, block, &pass->units.items[u]);
}

/* All units. A rank without a group in the last round does its parts meanwhile. Collective. */
static void run_units(struct wn_pass *pass, const struct wn_block *block, int64_t block_index)
{
    bool parts_done = false;
    for (int64_t first = 0, end; first < pass->units.counted; first = end) {
        bool any = false;
        end = first + pass->units.workers < pass->units.counted ? first + pass->units.workers : pass->units.counted;
        for (int64_t u = first; u < end; u++)
            if (wn_pass_is_mine(pass, &pass->units.items[u])) {
                run_unit(pass, block, &pass->units.items[u]);
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
static int last_owner(const struct wn_pass *pass, int64_t calibration)
{
    int owner = 0;
    for (int64_t u = 0; u < pass->units.counted; u++)
        owner = pass->units.items[u].calibration == calibration ? pass->units.items[u].owner : owner;
    return owner;
}

/* Every node gets the sums of every set, whole; a rank of each node sees to it. Collective. */
static void share_statistics(struct wn_pass *pass, int64_t block)
{
    for (int64_t c = 0; c < pass->run->n_calibrations; c++) {
        if (!pass->statistics[c].data)
            continue;
        int64_t bytes = wn_pass_statistics_bytes(pass, c), offset[2] = {block * bytes, (block + 1) * bytes};
        int owner = last_owner(pass, c);
        wn_par_shared_exchange(pass->par, &pass->statistics[c], 1, offset, &owner);
        if (pass->needs[c] & WN_NEED_SECOND_MOMENTS && c % wn_par_node_size(pass->par) == wn_par_node_rank(pass->par))
            wn_statistics_symmetrize(&pass->prepared->model->layout, wn_pass_statistics(pass, c, block));
    }
}

int wn_pass_outlier_owner(const struct wn_pass *pass, int64_t calibration, int64_t multiple)
{
    return pass->units.items[(calibration + multiple) % pass->units.counted].owner;
}

/* Sums of squares as if every input had a row for each token: those of experts, which are of fewer, are comparable
 * then. An expert that no token chose has none. */
static void take_means(const struct wn_pass *pass, void *statistics, int64_t calibration, double *means)
{
    const struct wn_layout *layout = &pass->prepared->model->layout;
    const double tokens = (double)wn_sequences_tokens(&pass->prepared->calibrations[calibration].sequences);
    const double *sums = wn_statistics_squares(layout, statistics, 0);
    for (int i = 0; i < layout->n_inputs; i++) {
        const double *rows = wn_statistics_rows(layout, statistics, i);
        const double factor = rows && layout->input_experts[i] && *rows > 0 ? tokens / *rows : 1;
        for (int64_t j = 0; j < layout->input_widths[i]; j++)
            *means++ = *sums++ * factor;
    }
}

static void count_outliers(struct wn_pass *pass, const struct wn_block *block, int64_t block_index, int64_t calibration)
{
    const struct wn_model *model = pass->prepared->model;
    const struct wn_layout *layout = &model->layout;
    const struct wn_outlier_shares *outliers = &pass->outliers[calibration];
    struct wn_scored_linear linears[WN_MAX_LINEARS];
    void *statistics = wn_pass_statistics(pass, calibration, block_index);
    double *means = wn_alloc(wn_layout_input_total(layout), sizeof *means);
    int count = 0;
    take_means(pass, statistics, calibration, means);
    for (int l = 0; block && l < layout->n_linears; l++)
        if (wn_is_in(&model->config, layout->linears[l].where, block_index))
            linears[count++] =
                (struct wn_scored_linear){layout->linears[l].rows, layout->linears[l].columns, block->linears[l],
                                          wn_statistics_squares(layout, means, layout->linears[l].input)};
    for (int64_t i = 0; i < outliers->count; i++)
        if (wn_pass_outlier_owner(pass, calibration, i) == wn_par_rank(pass->par))
            outliers->shares[i * model->config.n_blocks + block_index] =
                wn_outlier_share(linears, count, outliers->multiples[i]);
    wn_free(means);
}

void wn_pass_run_block(struct wn_pass *pass, const struct wn_block *block, int64_t block_index)
{
    run_units(pass, block, block_index);
    share_statistics(pass, block_index);
    for (int64_t c = 0; c < pass->run->n_calibrations; c++)
        if (pass->outliers[c].count)
            count_outliers(pass, block, block_index, c);
}

void wn_pass_share_outliers(struct wn_pass *pass)
{
    int64_t n_blocks = pass->prepared->model->config.n_blocks;
    for (int64_t c = 0; c < pass->run->n_calibrations; c++)
        for (int64_t i = 0; i < pass->outliers[c].count; i++)
            wn_par_broadcast(pass->par, pass->outliers[c].shares + i * n_blocks, n_blocks * (int64_t)sizeof(double),
                             wn_pass_outlier_owner(pass, c, i));
}
