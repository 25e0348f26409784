/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that candidates share: order, states, cost and deal, each against plain counting. */
#include "spaces.h"

enum { BLOCKS = 9, COUNT = 40, CHUNKS = 5, MOST_GENES = BLOCKS * LINEARS };

/* Offspring of one parent, the parent twice among them. */
static int32_t *make_candidates(const struct wn_space *space)
{
    int32_t *genomes = wn_alloc(COUNT * space->n_genes, sizeof *genomes);

    for (int64_t i = 0; i < COUNT; i++) {
        struct wn_draws draws = wn_draws_begin(4, WN_DRAW_OFFSPRING, 1, i, 0);
        wn_space_uniform(space, genomes + i * space->n_genes);
        if (i != 7 && i != 20)
            wn_space_mutate(space, &draws, genomes + i * space->n_genes);
    }
    return genomes;
}

/* Different beginnings of the genomes, up to and with a block. */
static int64_t count_prefixes(const struct wn_space *space, const int32_t *genomes, int64_t block)
{
    int64_t count = 0;

    for (int64_t i = 0; i < COUNT; i++) {
        bool fresh = true;
        for (int64_t j = 0; j < i && fresh; j++)
            fresh = wn_first_difference(space, genomes + i * space->n_genes, genomes + j * space->n_genes) <= block;
        count += fresh;
    }
    return count;
}

static void check_order(const struct wn_space *space, const int32_t *genomes, const struct wn_sharing *sharing)
{
    int64_t seen[COUNT] = {0}, blocks = 0, deep = 0;

    for (int64_t i = 0; i < COUNT; i++) {
        seen[sharing->order[i]]++;
        blocks += BLOCKS - sharing->shared[i];
        deep += sharing->shared[i] > 0;
        if (i)
            CHECK(sharing->shared[i] == wn_first_difference(space, genomes + sharing->order[i - 1] * space->n_genes,
                                                            genomes + sharing->order[i] * space->n_genes));
    }
    for (int64_t i = 0; i < COUNT; i++)
        CHECK(seen[i] == 1);
    CHECK(deep > COUNT / 2);
    /* every different beginning is run once: no order can do with less */
    int64_t least = 0;
    for (int64_t b = 0; b < BLOCKS; b++) {
        CHECK(wn_sharing_states(sharing, b) == count_prefixes(space, genomes, b));
        least += count_prefixes(space, genomes, b);
    }
    CHECK(blocks == least && blocks < COUNT * BLOCKS * 3 / 4);
}

/* By hand: two candidates that differ in block 2 of 3, one equal to the first. */
static void check_by_hand(void)
{
    struct wn_space_request request = test_request(WN_SPACE_DROP, 3, 0.4);
    const int32_t genomes[] = {0, 0, 1, 0, 1, 0, 0, 0, 1};
    const int64_t tokens[] = {10, 4};
    struct wn_space space;
    struct wn_sharing sharing;

    request.unit = WN_SPACE_BLOCKS;
    CHECK_OK(wn_space_create(&request, &space));
    wn_sharing_create(&space, genomes, 3, &sharing);
    CHECK(sharing.order[0] == 0 && sharing.order[1] == 2 && sharing.order[2] == 1);
    CHECK(sharing.shared[0] == 0 && sharing.shared[1] == 3 && sharing.shared[2] == 1);
    CHECK(wn_sharing_states(&sharing, 0) == 1 && wn_sharing_states(&sharing, 2) == 2);
    CHECK(wn_sharing_cost(&sharing, tokens, 0, 6) == (3 + 0 + 2) * 14);
    CHECK(wn_sharing_cost(&sharing, tokens, 1, 4) == (3 + 2) * 10 + 3 * 4);
    wn_sharing_release(&sharing);
    wn_space_release(&space);
}

/* The cheapest deal of the first `units` units to parts, by trying every cut. */
static int64_t cheapest(const struct wn_sharing *sharing, const int64_t *tokens, int64_t units, int64_t parts)
{
    int64_t best = wn_sharing_cost(sharing, tokens, 0, units);

    for (int64_t cut = 0; parts > 1 && cut <= units; cut++) {
        int64_t last = wn_sharing_cost(sharing, tokens, cut, units);
        if (last >= best)
            continue;
        int64_t before = cheapest(sharing, tokens, cut, parts - 1), most = before > last ? before : last;
        best = most < best ? most : best;
    }
    return best;
}

static void check_deal(const struct wn_sharing *sharing, const int64_t *tokens, int64_t n_chunks, bool all_cuts)
{
    for (int64_t parts = 1; parts <= 7; parts++) {
        int64_t first[8], most = 0, sum = 0, units = n_chunks * sharing->count;
        wn_sharing_deal(sharing, tokens, n_chunks, parts, first);
        CHECK(first[0] == 0 && first[parts] == units);
        for (int64_t p = 0; p < parts; p++) {
            int64_t cost = wn_sharing_cost(sharing, tokens, first[p], first[p + 1]);
            CHECK(first[p] <= first[p + 1]);
            most = cost > most ? cost : most;
            sum += cost;
        }
        /* near even, although every run loses what its first unit would have shared */
        CHECK(parts > 4 || most <= sum / parts + BLOCKS * 30);
        if (all_cuts && parts <= 3)
            CHECK(most == cheapest(sharing, tokens, units, parts));
    }
}

int main(void)
{
    struct wn_space_request request = test_request(WN_SPACE_SPARSITY, BLOCKS, 0.5);
    const int64_t tokens[CHUNKS] = {30, 30, 30, 30, 7};
    struct wn_space space;
    struct wn_sharing sharing;

    CHECK_OK(wn_space_create(&request, &space));
    int32_t *genomes = make_candidates(&space);
    wn_sharing_create(&space, genomes, COUNT, &sharing);
    check_order(&space, genomes, &sharing);
    check_deal(&sharing, tokens, CHUNKS, false);
    check_deal(&sharing, tokens + 3, 2, true);
    check_by_hand();
    wn_sharing_release(&sharing);
    wn_free(genomes);
    wn_space_release(&space);
    return test_finish();
}
