/* SPDX-License-Identifier: Apache-2.0 */
/* stored.c: bytes of the smallest files that give back the model of a point. */
#include "walk.h"

#include <winnow/pack.h>

#include <string.h>

int64_t wn_stored_linear(const struct wn_compressed *form)
{
    const struct wn_integer_linear *rule = form->activation ? wn_integer_linear_form(form->activation) : NULL;
    int64_t bytes = wn_pack_size(form);
    if (rule && rule->outlier_weight) { /* any column can be one: all of them are needed beside the codes */
        struct wn_compressed beside;
        wn_compressed_init(&beside, form->rows, form->columns, (float *)(uintptr_t)rule->outlier_weight, NULL);
        bytes += wn_pack_size(&beside);
    }
    return bytes;
}

static bool is_gone(const struct wn_allocation *allocation, int64_t block)
{
    return wn_allocation_leaves_out(allocation, block, WN_BRANCH_ATTENTION) &&
           wn_allocation_leaves_out(allocation, block, WN_BRANCH_MLP);
}

/* Whether it is the weight of a linear, by its name in a block; several may share it. */
static bool is_linear(const struct wn_layout *layout, const char *name)
{
    for (int l = 0; l < layout->n_linears; l++) {
        size_t length = strlen(wn_linear_tensor(&layout->linears[l]));
        if (!strncmp(name, wn_linear_tensor(&layout->linears[l]), length) &&
            !strcmp(name + length, wn_linear_ending(&layout->linears[l])))
            return true;
    }
    return false;
}

int64_t wn_stored_others(const struct wn_model *model, const struct wn_allocation *allocation)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < wn_checkpoint_count(model->checkpoint); i++) {
        const struct wn_tensor *tensor = wn_checkpoint_at(model->checkpoint, i);
        int64_t block;
        const char *name = wn_block_of_tensor(&model->layout, tensor->name, &block);
        bool inside = name && block < model->config.n_blocks;
        if (!tensor->is_scale && !(inside && (is_gone(allocation, block) || is_linear(&model->layout, name))))
            bytes += tensor->bytes;
    }
    return bytes;
}
