/* SPDX-License-Identifier: Apache-2.0 */
/* evolutionary.c: what a search has found (search.h). */
#include <winnow/allocation.h>

#include <math.h>

/* The notes of depth pruning, by the same names. */
static const struct wn_note notes[WN_BRANCHES] = {
    {"dropped_attention", "1", "1 where the attention of the block is left out, with drop"},
    {"dropped_mlp", "1", "1 where the MLP of the block is left out, with drop"}};

static bool decides(const struct wn_recipe *recipe)
{
    return recipe->search && !wn_recipe_minimizes(recipe);
}

/* The level of every linear; of sparsity with its exact number of zeros. */
static void set_levels(const struct wn_found *found, const struct wn_layout *layout, struct wn_allocation *allocation)
{
    const int64_t count = allocation->n_blocks * layout->n_linears;
    const bool sparsity = found->space->kind == WN_SPACE_SPARSITY;

    allocation->levels = wn_alloc(count, sizeof *allocation->levels);
    allocation->zeros = sparsity ? wn_alloc_zero(count, sizeof *allocation->zeros) : NULL;
    for (int64_t i = 0; i < count; i++)
        allocation->levels[i] = (struct wn_level){.sparsity = (double)NAN, .bits = (double)NAN};
    for (int64_t g = 0; g < found->space->n_genes; g++) {
        const struct wn_gene *gene = &found->space->genes[g];
        const struct wn_linear_info *linear = &layout->linears[gene->linear];
        const int64_t at = gene->block * layout->n_linears + gene->linear;
        const int64_t amount = gene->amount + found->genome[g] * gene->per_level;
        if (!sparsity) {
            allocation->levels[at].bits = found->genome[g];
            continue;
        }
        allocation->zeros[at] = amount;
        allocation->levels[at].sparsity = (double)amount / (double)(linear->rows * linear->columns);
    }
}

static void leave_out(const struct wn_found *found, int64_t n_blocks, struct wn_allocation *allocation)
{
    enum { WHOLE_BLOCK = WN_BRANCHES };

    for (int branch = 0; branch < WN_BRANCHES; branch++)
        allocation->left_out[branch] = wn_alloc_zero(n_blocks, sizeof(bool));
    for (int64_t g = 0; g < found->space->n_genes; g++) {
        const struct wn_gene *gene = &found->space->genes[g];
        for (int branch = 0; branch < WN_BRANCHES; branch++)
            if (found->genome[g] && (gene->linear == branch || gene->linear == WHOLE_BLOCK))
                allocation->left_out[branch][gene->block] = true;
    }
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        for (int64_t b = 0; b < n_blocks; b++)
            allocation->notes[branch * n_blocks + b] = allocation->left_out[branch][b];
}

wn_status wn_found_allocate(const struct wn_allocation_task *task, struct wn_allocation *allocation)
{
    const struct wn_found *found = task->evidence->found;

    if (!found->genome)
        return wn_fail(WN_ERR_NUMERIC, "the search \"%s\" has come to nothing: %s", task->recipe->search,
                       found->failure ? found->failure : "it has not been run");
    if (found->space->kind == WN_SPACE_DROP)
        leave_out(found, task->n_blocks, allocation);
    else
        set_levels(found, task->layout, allocation);
    return WN_OK;
}

const struct wn_allocation_kind wn_allocation_evolutionary = {
    .name = "evolutionary",
    .help = "what an evolutionary search has found (winnow help search)",
    .paper = "Sieberling et al. 2024, arXiv:2410.14649",
    .decides = decides,
    .notes = notes,
    .n_notes = WN_BRANCHES,
    .allocate = wn_found_allocate,
};
