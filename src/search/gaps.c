/* SPDX-License-Identifier: Apache-2.0 */
/* Levels of bits with gaps: what there is, the steps between, and genomes that are as even as gaps allow. */
#include "search_impl.h"

#include <math.h>

bool wn_bits_have_gaps(unsigned bits)
{
    unsigned lowest = bits & (~bits + 1);

    return lowest != 0 && (bits / lowest & (bits / lowest + 1)) != 0;
}

bool wn_space_has(const struct wn_space *space, const struct wn_gene *gene, int32_t level)
{
    return level >= gene->low && level <= gene->high && (!space->bits || (space->bits & WN_BITS(level)));
}

int32_t wn_space_next(const struct wn_space *space, const struct wn_gene *gene, int32_t level, int direction)
{
    for (int32_t next = level + direction; next >= gene->low && next <= gene->high; next += direction)
        if (wn_space_has(space, gene, next))
            return next;
    return level;
}

/* ---- even genomes ---- */

/* Squares of distances from the mean of the group, for wn_space_minimize. */
static double *distances_of(const struct wn_space *space)
{
    const int64_t columns = space->high - space->low + 1;
    double *distances = wn_alloc(space->n_genes * columns, sizeof *distances);

    for (int64_t i = 0; i < space->n_genes; i++) {
        const struct wn_gene_group *group = &space->groups[space->genes[i].group];
        for (int64_t c = 0; c < columns; c++) {
            const double off = (double)((space->low + c) * group->n_genes - group->sum);
            distances[i * columns + c] = off * off;
        }
    }
    return distances;
}

/* The levels that a group has, dealt over the depth: the sum so far stays as near a straight line as they allow. */
static void deal_levels(const struct wn_space *space, const struct wn_gene_group *group, int32_t *genome)
{
    int64_t left[WN_BITS_MOST + 1] = {0}, given = 0;

    for (int64_t i = 0; i < group->n_genes; i++)
        left[genome[group->genes[i]]]++;
    for (int64_t i = 0; i < group->n_genes; i++) {
        int32_t best = -1;
        double nearest = INFINITY;
        for (int32_t level = space->low; level <= space->high; level++) {
            const double off = fabs((double)((given + level) * group->n_genes - group->sum * (i + 1)));
            if (left[level] && off < nearest) {
                nearest = off;
                best = level;
            }
        }
        genome[group->genes[i]] = best;
        given += best;
        left[best]--;
    }
}

void wn_space_even(const struct wn_space *space, int32_t *genome)
{
    double *distances = distances_of(space);

    if (wn_space_minimize(space, distances, genome) != WN_OK)
        WN_BUG("a group has a sum that its levels do not reach");
    for (int64_t g = 0; g < space->n_groups; g++)
        deal_levels(space, &space->groups[g], genome);
    wn_free(distances);
}
