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
