/* SPDX-License-Identifier: Apache-2.0 */
/* What candidates have in common: their order, leading blocks that need not be run again, and how units are dealt. */
#include "search_impl.h"

#include <stdlib.h>

int64_t wn_first_difference(const struct wn_space *space, const int32_t *a, const int32_t *b)
{
    for (int64_t i = 0; i < space->n_genes; i++)
        if (a[i] != b[i])
            return space->genes[i].block;
    return space->n_blocks;
}

/* qsort has no context, so it travels with the elements. */
struct placed {
    const int32_t *genome;
    int64_t n_genes, number;
};

static int compare_genomes(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;

    for (int64_t i = 0; i < left->n_genes; i++)
        if (left->genome[i] != right->genome[i])
            return left->genome[i] < right->genome[i] ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

void wn_sharing_create(const struct wn_space *space, const int32_t *genomes, int64_t count, struct wn_sharing *sharing)
{
    struct placed *placed = wn_alloc(count, sizeof *placed);

    *sharing = (struct wn_sharing){.n_blocks = space->n_blocks, .count = count};
    sharing->order = wn_alloc(count, sizeof *sharing->order);
    sharing->shared = wn_alloc(count, sizeof *sharing->shared);
    for (int64_t i = 0; i < count; i++)
        placed[i] = (struct placed){genomes + i * space->n_genes, space->n_genes, i};
    qsort(placed, (size_t)count, sizeof *placed, compare_genomes);
    for (int64_t i = 0; i < count; i++) {
        sharing->order[i] = placed[i].number;
        sharing->shared[i] = i ? wn_first_difference(space, placed[i - 1].genome, placed[i].genome) : 0;
    }
    wn_free(placed);
}

void wn_sharing_release(struct wn_sharing *sharing)
{
    wn_free(sharing->order);
    wn_free(sharing->shared);
    *sharing = (struct wn_sharing){0};
}

int64_t wn_sharing_states(const struct wn_sharing *sharing, int64_t block)
{
    int64_t states = 0;

    for (int64_t i = 0; i < sharing->count; i++)
        states += i == 0 || sharing->shared[i] <= block;
    return states;
}

/* ---- units ---- */

/* Cost of one unit in a run that begins with `first`. */
static int64_t unit_cost(const struct wn_sharing *sharing, const int64_t *tokens, int64_t unit, int64_t first)
{
    int64_t shared = unit == first ? 0 : sharing->shared[unit % sharing->count];

    return (sharing->n_blocks - shared) * tokens[unit / sharing->count];
}

int64_t wn_sharing_cost(const struct wn_sharing *sharing, const int64_t *tokens, int64_t first, int64_t end)
{
    int64_t cost = 0;

    for (int64_t u = first; u < end; u++)
        cost += unit_cost(sharing, tokens, u, first);
    return cost;
}

/* Runs as long as `limit` allows; false when they do not hold all units. */
static bool deal_within(const struct wn_sharing *sharing, const int64_t *tokens, int64_t units, int64_t parts,
                        int64_t limit, int64_t *first)
{
    int64_t unit = 0;

    for (int64_t p = 0; p < parts; p++) {
        int64_t cost = 0;
        first[p] = unit;
        for (; unit < units; unit++) {
            cost += unit_cost(sharing, tokens, unit, first[p]);
            if (cost > limit)
                break;
        }
    }
    first[parts] = units;
    return unit == units;
}

void wn_sharing_deal(const struct wn_sharing *sharing, const int64_t *tokens, int64_t n_chunks, int64_t parts,
                     int64_t *first)
{
    int64_t units = n_chunks * sharing->count, low = 0, high = wn_sharing_cost(sharing, tokens, 0, units);

    /* The least limit under which they fit. */
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (deal_within(sharing, tokens, units, parts, middle, first))
            high = middle;
        else
            low = middle + 1;
    }
    deal_within(sharing, tokens, units, parts, low, first);
}
