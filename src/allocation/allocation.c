/* SPDX-License-Identifier: Apache-2.0 */
/* allocation.c: the table of kinds, and what all allocations have in common. */
#include <winnow/allocation.h>

#include <math.h>

#define WN_ALLOCATION(name) extern const struct wn_allocation_kind wn_allocation_##name;
#include "allocation_list.h"
#undef WN_ALLOCATION

static const struct wn_allocation_kind *const kinds[] = {
#define WN_ALLOCATION(name) &wn_allocation_##name,
#include "allocation_list.h"
#undef WN_ALLOCATION
};

const struct wn_allocation_kind *const *wn_allocation_table(int64_t *count)
{
    *count = sizeof kinds / sizeof *kinds;
    return kinds;
}

int64_t wn_allocation_row(const struct wn_allocation_kind *kind)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (kinds[k] == kind)
            return (int64_t)k;
    WN_BUG("%s is no kind of allocation", kind->name);
}

const struct wn_allocation_kind *wn_allocation_of(const struct wn_recipe *recipe)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (kinds[k]->decides(recipe))
            return kinds[k];
    WN_BUG("no kind of allocation decides");
}

wn_status wn_allocation_make(const struct wn_allocation_task *task, struct wn_allocation *allocation)
{
    const struct wn_allocation_kind *kind = wn_allocation_of(task->recipe);
    int64_t count = kind->n_notes * task->n_blocks;
    *allocation = (struct wn_allocation){.kind = kind,
                                         .n_blocks = task->n_blocks,
                                         .n_linears = task->layout->n_linears,
                                         .notes = wn_alloc(count, sizeof(double))};
    for (int64_t i = 0; i < count; i++)
        allocation->notes[i] = (double)NAN;
    return kind->allocate(task, allocation);
}

void wn_allocation_release(struct wn_allocation *allocation)
{
    wn_free(allocation->levels);
    wn_free(allocation->zeros);
    wn_free(allocation->notes);
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        wn_free(allocation->left_out[branch]);
    *allocation = (struct wn_allocation){0};
}

const struct wn_level *wn_allocation_level(const struct wn_allocation *allocation, int64_t block, int linear)
{
    return allocation->levels ? &allocation->levels[block * allocation->n_linears + linear] : NULL;
}

bool wn_allocation_leaves_out(const struct wn_allocation *allocation, int64_t block, enum wn_branch branch)
{
    return allocation->left_out[branch] && allocation->left_out[branch][block];
}

/* ---- levels ---- */

/* Two NaNs say the same. */
static bool is_same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

bool wn_allocation_is_even(const struct wn_allocation *allocation, int64_t block)
{
    for (int l = 1; allocation->levels && l < allocation->n_linears; l++) {
        const struct wn_level *first = wn_allocation_level(allocation, block, 0);
        const struct wn_level *other = wn_allocation_level(allocation, block, l);
        if (!is_same(first->sparsity, other->sparsity))
            return false;
    }
    return true;
}

static struct wn_params *params_of(struct wn_recipe *recipe, enum wn_method_kind kind, const char *name)
{
    for (int s = 0; s < recipe->n_stages; s++)
        if (recipe->stages[s].method->kind == kind && wn_params_find(&recipe->stages[s].params, name))
            return &recipe->stages[s].params;
    WN_BUG("a level of %s for a recipe without it", name);
}

void wn_level_apply(const struct wn_level *level, struct wn_recipe *recipe)
{
    if (level && !isnan(level->sparsity))
        wn_pruner_set_sparsity(params_of(recipe, WN_PRUNER, "sparsity"), level->sparsity);
    if (level && !isnan(level->bits))
        wn_params_derive(params_of(recipe, WN_QUANTIZER, "bits"), "bits", level->bits);
}
