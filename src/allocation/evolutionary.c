/* evolutionary.c: what a search has found (search.h). */
#include <winnow/allocation.h>

#include <math.h>

/* The notes of depth pruning, by the same names. */
static const struct wn_note notes[WN_BRANCHES] = {
    {"dropped_attention", "1", "1 where the attention of the block is left out, with drop"},
    {"dropped_mlp", "1", "1 where the MLP of the block is left out, with drop"}};

static bool decides(const struct wn_recipe *recipe)
{
    return recipe->search != NULL;
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

static wn_status allocate(const struct wn_allocation_task *task, struct wn_allocation *allocation)
{
    const struct wn_found *found = task->evidence->found;

    if (!found->genome)
        return wn_fail(WN_ERR_NUMERIC, "the search \"%s\" has met numbers that are not finite", task->recipe->search);
    leave_out(found, task->n_blocks, allocation);
    return WN_OK;
}

const struct wn_allocation_kind wn_allocation_evolutionary = {
    .name = "evolutionary",
    .help = "what an evolutionary search has found (winnow help search)",
    .paper = "Sieberling et al. 2024, arXiv:2410.14649",
    .decides = decides,
    .notes = notes,
    .n_notes = WN_BRANCHES,
    .allocate = allocate,
};
