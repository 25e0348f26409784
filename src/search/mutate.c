/* Random genomes and level switches (EvoPress, arXiv:2410.14649, algorithms 1 and 2). */
#include "search_impl.h"

/* Genes of a group that can move one level in a direction, -1 or +1, but for gene `except`. */
static int64_t count_able(const struct wn_space *space, const struct wn_gene_group *group, const int32_t *genome,
                          int direction, int64_t except)
{
    int64_t count = 0;

    for (int64_t i = 0; i < group->n_genes; i++) {
        int64_t gene = group->genes[i];
        int32_t level = genome[gene] + direction;
        count += gene != except && level >= space->genes[gene].low && level <= space->genes[gene].high;
    }
    return count;
}

/* Number `number` of these genes. */
static int64_t able_gene(const struct wn_space *space, const struct wn_gene_group *group, const int32_t *genome,
                         int direction, int64_t except, int64_t number)
{
    for (int64_t i = 0;; i++) {
        int64_t gene = group->genes[i];
        int32_t level = genome[gene] + direction;
        if (gene != except && level >= space->genes[gene].low && level <= space->genes[gene].high && number-- == 0)
            return gene;
    }
}

void wn_space_draw(const struct wn_space *space, struct wn_draws *draws, int32_t *genome)
{
    for (int64_t g = 0; g < space->n_groups; g++) {
        const struct wn_gene_group *group = &space->groups[g];
        int64_t sum = 0;
        for (int64_t i = 0; i < group->n_genes; i++) {
            const struct wn_gene *gene = &space->genes[group->genes[i]];
            int32_t level = group->start < gene->high ? group->start : gene->high;
            genome[group->genes[i]] = level;
            sum += level;
        }
        for (; sum > group->sum; sum--) {
            int64_t number = wn_draws_below(draws, count_able(space, group, genome, -1, -1));
            genome[able_gene(space, group, genome, -1, -1, number)]--;
        }
    }
}

/* When only one gene of the group can go up it cannot be the one that goes down; -1: any can. */
static int64_t only_riser(const struct wn_space *space, const struct wn_gene_group *group, const int32_t *genome)
{
    if (count_able(space, group, genome, 1, -1) != 1)
        return -1;
    return able_gene(space, group, genome, 1, -1, 0);
}

static bool can_switch(const struct wn_space *space, const struct wn_gene_group *group, const int32_t *genome)
{
    return count_able(space, group, genome, 1, -1) > 0 &&
           count_able(space, group, genome, -1, only_riser(space, group, genome)) > 0;
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

static void switch_levels(const struct wn_space *space, struct wn_draws *draws, int32_t *genome)
{
    const struct wn_gene_group *group = draw_group(space, draws, genome);

    if (!group)
        return;
    int64_t except = only_riser(space, group, genome);
    int64_t number = wn_draws_below(draws, count_able(space, group, genome, -1, except));
    int64_t falls = able_gene(space, group, genome, -1, except, number);
    number = wn_draws_below(draws, count_able(space, group, genome, 1, falls));
    int64_t rises = able_gene(space, group, genome, 1, falls, number);
    genome[falls]--;
    genome[rises]++;
}

void wn_space_mutate(const struct wn_space *space, struct wn_draws *draws, int32_t *genome)
{
    int64_t first = wn_draws_below(draws, 3), second = wn_draws_below(draws, 3);
    int64_t switches = 1 + (first < second ? first : second);

    for (int64_t i = 0; i < switches; i++)
        switch_levels(space, draws, genome);
}
