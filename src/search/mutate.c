/* SPDX-License-Identifier: Apache-2.0 */
/* Random genomes and level switches (EvoPress, arXiv:2410.14649, algorithms 1 and 2). */
#include "search_impl.h"

#include <stdlib.h>

/* ---- genes that can move ---- */

/* Moves of a switch so far. */
struct moves {
    int64_t count, gene[WN_SWITCH_MOVES];
    int32_t before[WN_SWITCH_MOVES];
    int direction[WN_SWITCH_MOVES];
};

/* What a gene must fulfil to be moved. */
struct choice {
    const struct wn_space *space;
    const struct wn_gene_group *group;
    const int32_t *genome;
    int direction;             /* -1 or +1 */
    int64_t except;            /* a gene that is left out; -1: none */
    int64_t longest;           /* steps of at most so many levels */
    const struct moves *moves; /* genes that have moved the other way are left out; NULL: none */
};

/* Levels to the next one; 0: there is none. Asked of every gene, so the next number is tried here. */
static int64_t step_of(const struct choice *choice, int64_t number)
{
    const struct wn_gene *gene = &choice->space->genes[number];
    const int32_t level = choice->genome[number];
    int32_t next = level + choice->direction;

    if (next < gene->low || next > gene->high)
        return 0;
    if (choice->space->bits && !(choice->space->bits & WN_BITS(next)))
        next = wn_space_next(choice->space, gene, level, choice->direction);
    return llabs((int64_t)next - level);
}

static bool is_able(const struct choice *choice, int64_t gene)
{
    const int64_t step = gene == choice->except ? 0 : step_of(choice, gene);

    if (step == 0 || step > choice->longest)
        return false;
    for (int64_t i = 0; choice->moves && i < choice->moves->count; i++)
        if (choice->moves->gene[i] == gene && choice->moves->direction[i] != choice->direction)
            return false;
    return true;
}

static int64_t count_able(const struct choice *choice)
{
    int64_t count = 0;

    for (int64_t i = 0; i < choice->group->n_genes; i++)
        count += is_able(choice, choice->group->genes[i]);
    return count;
}

/* Number `number` of these genes. */
static int64_t able_gene(const struct choice *choice, int64_t number)
{
    for (int64_t i = 0;; i++)
        if (is_able(choice, choice->group->genes[i]) && number-- == 0)
            return choice->group->genes[i];
}

/* A gene that moves towards a sum that is off by `owed`, its step not longer than that if there is one; -1: none. */
static int64_t draw_gene(struct choice *choice, struct wn_draws *draws, int64_t owed)
{
    choice->direction = owed > 0 ? 1 : -1;
    choice->longest = llabs(owed);
    int64_t count = count_able(choice);
    if (count == 0) {
        choice->longest = INT64_MAX;
        count = count_able(choice);
    }
    return count ? able_gene(choice, wn_draws_below(draws, count)) : -1;
}

/* Moves a gene one step; returns by how much. */
static int64_t move_gene(const struct wn_space *space, int64_t gene, int direction, int32_t *genome)
{
    const int32_t before = genome[gene];

    genome[gene] = wn_space_next(space, &space->genes[gene], before, direction);
    return genome[gene] - before;
}

/* ---- random genomes ---- */

static int64_t begin_group(const struct wn_space *space, const struct wn_gene_group *group, int32_t *genome)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < group->n_genes; i++) {
        const struct wn_gene *gene = &space->genes[group->genes[i]];
        int32_t level = group->start < gene->high ? group->start : gene->high;
        genome[group->genes[i]] = level;
        sum += level;
    }
    return group->sum - sum;
}

/* False: with gaps, the sum was not met in many moves. */
static bool draw_levels(const struct wn_space *space, const struct wn_gene_group *group, struct wn_draws *draws,
                        int32_t *genome)
{
    struct choice choice = {.space = space, .group = group, .genome = genome, .except = -1};
    const int64_t most = 16 * (group->n_genes + 1) * (space->high - space->low + 1);
    int64_t owed = begin_group(space, group, genome), moves = 0;

    for (; owed != 0 && moves < most; moves++) {
        const int64_t gene = draw_gene(&choice, draws, owed);
        if (gene < 0)
            return false;
        owed -= move_gene(space, gene, choice.direction, genome);
    }
    return owed == 0;
}

void wn_space_draw(const struct wn_space *space, struct wn_draws *draws, int32_t *genome)
{
    bool met = true;

    for (int64_t g = 0; g < space->n_groups; g++)
        met = draw_levels(space, &space->groups[g], draws, genome) && met;
    if (!met)
        wn_space_uniform(space, genome);
}

/* ---- switches ---- */

/* When only one gene of the group can go in a direction it cannot be the one that goes in the other; -1: any can. */
static int64_t only_able(const struct wn_space *space, const struct wn_gene_group *group, const int32_t *genome,
                         int direction)
{
    const struct choice choice = {space, group, genome, direction, -1, INT64_MAX, NULL};

    return count_able(&choice) == 1 ? able_gene(&choice, 0) : -1;
}

static bool can_switch(const struct wn_space *space, const struct wn_gene_group *group, const int32_t *genome)
{
    const struct choice rises = {space, group, genome, 1, -1, INT64_MAX, NULL};
    const struct choice falls = {space, group, genome, -1, only_able(space, group, genome, 1), INT64_MAX, NULL};

    return count_able(&rises) > 0 && count_able(&falls) > 0;
}

/* A group by its share of those that can switch; NULL when none can. */
static const struct wn_gene_group *draw_group(const struct wn_space *space, struct wn_draws *draws,
                                              const int32_t *genome)
{
    int64_t shares = 0, at;

    for (int64_t g = 0; g < space->n_groups; g++)
        if (can_switch(space, &space->groups[g], genome))
            shares += space->groups[g].share;
    if (shares == 0)
        return NULL;
    at = wn_draws_below(draws, shares);
    for (int64_t g = 0;; g++) {
        if (!can_switch(space, &space->groups[g], genome))
            continue;
        at -= space->groups[g].share;
        if (at < 0)
            return &space->groups[g];
    }
}

static void record_move(struct moves *moves, int64_t gene, int direction, const int32_t *genome)
{
    moves->gene[moves->count] = gene;
    moves->before[moves->count] = genome[gene];
    moves->direction[moves->count++] = direction;
}

/*
 * A gene falls, and others move until the sum is right again: without gaps, one of them. With gaps the first may rise
 * as well, since only the first takes a step that is longer than others.
 */
static void switch_levels(const struct wn_space *space, struct wn_draws *draws, int32_t *genome)
{
    const struct wn_gene_group *group = draw_group(space, draws, genome);
    struct moves moves = {0};

    if (!group)
        return;
    const int direction = wn_bits_have_gaps(space->bits) && wn_draws_below(draws, 2) ? 1 : -1;
    struct choice choice = {space,     group, genome, direction, only_able(space, group, genome, -direction),
                            INT64_MAX, &moves};
    int64_t gene = able_gene(&choice, wn_draws_below(draws, count_able(&choice))), owed = 0;
    choice.except = -1;
    while (gene >= 0 && moves.count < WN_SWITCH_MOVES) {
        record_move(&moves, gene, choice.direction, genome);
        owed -= move_gene(space, gene, choice.direction, genome);
        if (owed == 0)
            return;
        gene = draw_gene(&choice, draws, owed);
    }
    while (moves.count-- > 0)
        genome[moves.gene[moves.count]] = moves.before[moves.count];
}

void wn_space_mutate(const struct wn_space *space, struct wn_draws *draws, int32_t *genome)
{
    int64_t first = wn_draws_below(draws, 3), second = wn_draws_below(draws, 3);
    int64_t switches = 1 + (first < second ? first : second);

    for (int64_t i = 0; i < switches; i++)
        switch_levels(space, draws, genome);
}
