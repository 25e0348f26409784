/* SPDX-License-Identifier: Apache-2.0 */
/* probe_kinds.c: which inputs and linears of a block cost the same: those of all experts do. */
#include "probe_impl.h"

#include <string.h>

/* Inputs of one width that are scaled in the same way, and that as many tokens go through. */
static bool same_input(const struct wn_layout *layout, int i, int k)
{
    return layout->input_widths[i] == layout->input_widths[k] &&
           (layout->input_experts[i] > 0) == (layout->input_experts[k] > 0) &&
           (layout->producer_vector[i] >= 0) == (layout->producer_vector[k] >= 0) &&
           (layout->producer_linear[i] >= 0) == (layout->producer_linear[k] >= 0);
}

/* Share of the blocks that have a linear. */
static double blocks_share(const struct wn_config *config, enum wn_where where)
{
    int64_t count = 0;
    for (int64_t b = 0; b < config->n_blocks; b++)
        count += wn_is_in(config, where, b);
    return (double)count / (double)config->n_blocks;
}

static enum wn_where where_of(const struct wn_layout *layout, int input)
{
    int l = 0;
    while (l < layout->n_linears - 1 && layout->linears[l].input != input)
        l++;
    return layout->linears[l].where;
}

void wn_probe_kinds(const struct wn_model *model, struct wn_probe_kinds *kinds)
{
    const struct wn_layout *layout = &model->layout;
    memset(kinds, 0, sizeof *kinds);
    for (int i = 0; i < layout->n_inputs; i++) {
        int first = 0;
        while (!same_input(layout, first, i))
            first++;
        kinds->input[i] = first;
        kinds->inputs[first] += blocks_share(&model->config, where_of(layout, i));
    }
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l], *other = layout->linears;
        while (other->rows != linear->rows || other->columns != linear->columns ||
               kinds->input[other->input] != kinds->input[linear->input])
            other++;
        kinds->linear[l] = (int)(other - layout->linears);
        kinds->linears[kinds->linear[l]] += blocks_share(&model->config, linear->where);
    }
}
