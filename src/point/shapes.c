/* SPDX-License-Identifier: Apache-2.0 */
/* shapes.c: what follows from the shapes of a block. */
#include "point_impl.h"

int64_t wn_layout_input_total(const struct wn_layout *layout)
{
    int64_t total = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        total += layout->input_widths[i];
    return total;
}

int64_t wn_layout_widest_input(const struct wn_layout *layout)
{
    int64_t widest = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        widest = layout->input_widths[i] > widest ? layout->input_widths[i] : widest;
    return widest;
}

int64_t wn_layout_widest_output(const struct wn_layout *layout)
{
    int64_t widest = 0;
    for (int l = 0; l < layout->n_linears; l++)
        widest = layout->linears[l].rows > widest ? layout->linears[l].rows : widest;
    return widest;
}

int64_t wn_layout_largest_linear(const struct wn_layout *layout)
{
    int64_t largest = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        int64_t weights = layout->linears[l].rows * layout->linears[l].columns;
        largest = weights > largest ? weights : largest;
    }
    return largest;
}

bool wn_layout_routes(const struct wn_layout *layout)
{
    return layout->n_inputs && layout->input_experts[layout->n_inputs - 1]; /* experts come last */
}

int64_t wn_model_routed_rows(const struct wn_model *model, int64_t tokens)
{
    return tokens * model->config.decoder.experts.chosen;
}

int64_t wn_model_input_floats(const struct wn_model *model, int64_t tokens)
{
    const struct wn_layout *layout = &model->layout;
    int64_t floats = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        floats += layout->input_experts[i] ? 0 : tokens * layout->input_widths[i];
    for (int i = 0; i < layout->n_inputs; i++)
        if (layout->input_experts[i] == 1)
            floats += wn_model_routed_rows(model, tokens) * layout->input_widths[i];
    return floats;
}

bool wn_model_has_input(const struct wn_model *model, int input, int64_t block)
{
    for (int l = 0; l < model->layout.n_linears; l++)
        if (model->layout.linears[l].input == input)
            return wn_is_in(&model->config, model->layout.linears[l].where, block);
    return false;
}
