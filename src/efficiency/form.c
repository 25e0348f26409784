/* SPDX-License-Identifier: Apache-2.0 */
/* form.c: in words what the linears of a model in memory are: equal texts are equally fast. */
#include "efficiency.h"

#include <winnow/kernels.h>

#include <stdio.h>
#include <string.h>

static const char *name_of(enum wn_packed_kind kind)
{
    return kind == WN_PACKED_F32    ? "fp32"
           : kind == WN_PACKED_F16  ? "fp16"
           : kind == WN_PACKED_BF16 ? "bf16"
                                    : "numbers";
}

/* Form of a packed linear, without shares. */
static void describe(const struct wn_packed *packed, char *text, size_t size)
{
    char values[48], group[48] = "", set[48] = "";
    if (packed->kind != WN_PACKED_CODES)
        snprintf(values, sizeof values, "%s", name_of(packed->kind));
    else
        snprintf(values, sizeof values, "codes of %d bits", packed->bits);
    if (packed->kind == WN_PACKED_CODES && packed->group)
        snprintf(group, sizeof group, " in groups of %lld", (long long)packed->group);
    if (packed->set == WN_PACKED_RUNS)
        snprintf(set, sizeof set, ", %lld of %lld kept", (long long)packed->kept, (long long)packed->run);
    else if (packed->set != WN_PACKED_ALL)
        snprintf(set, sizeof set, ", a mask");
    snprintf(text, size, "%s%s%s%s%s", values, group, set, packed->n_outliers ? ", outliers" : "",
             packed->group_bytes ? ", columns in any order" : "");
}

static void describe_linear(const struct wn_kept_blocks *kept, int64_t block, int linear, char *text, size_t size)
{
    const struct wn_activation *rule = kept->blocks[block].activations[linear];
    const struct wn_grouped_linear *grouped = rule ? wn_grouped_linear_form(rule) : NULL;
    if (grouped)
        snprintf(text, size, "codes of %d bits in groups of %lld, inputs of %d bits in groups of %lld", grouped->bits,
                 (long long)grouped->group, grouped->input_bits, (long long)grouped->input_group);
    else if (rule)
        snprintf(text, size, "quantized inputs, %lld bytes", (long long)wn_rule_pack(rule, NULL));
    else if (kept->blocks[block].linears[linear])
        snprintf(text, size, "fp32");
    else if (kept->blocks[block].sources[linear])
        describe(wn_packed_linear_form(kept->kernels[block * kept->model->layout.n_linears + linear]), text, size);
    else
        snprintf(text, size, "left out");
}

char *wn_efficiency_form(const struct wn_kept_blocks *point)
{
    const struct wn_layout *layout = &point->model->layout;
    struct wn_text text = {0};
    for (int64_t b = 0; b < point->model->config.n_blocks; b++)
        for (int l = 0; l < layout->n_linears; l++) {
            const struct wn_packed_linear *packed = point->kernels[b * layout->n_linears + l];
            const int64_t size = packed ? wn_packed_linear_form(packed)->size : 0;
            const double bits = (double)layout->linears[l].rows * (double)layout->linears[l].columns * 16;
            char form[160];
            describe_linear(point, b, l, form, sizeof form);
            wn_text_printf(&text, "%s; %.0f\n", form, 200 * (double)size * 8 / bits);
        }
    return text.data;
}

void wn_efficiency_format(const struct wn_kept_blocks *point, char *format, size_t size)
{
    const struct wn_layout *layout = &point->model->layout;
    struct wn_texts forms = {0};
    double most = 0, *weights = NULL;
    for (int64_t b = 0; b < point->model->config.n_blocks; b++)
        for (int l = 0; l < layout->n_linears; l++) {
            char form[160];
            if (!wn_is_in(&point->model->config, layout->linears[l].where, b))
                continue;
            describe_linear(point, b, l, form, sizeof form);
            const int64_t before = forms.count, i = wn_texts_add(&forms, form);
            weights = wn_resize(weights, forms.count, sizeof *weights);
            weights[i] =
                (i < before ? weights[i] : 0) + (double)layout->linears[l].rows * (double)layout->linears[l].columns;
        }
    for (int64_t i = 0; i < forms.count; i++)
        if (weights[i] > most) {
            most = weights[i];
            snprintf(format, size, "%s%s", forms.texts[i], forms.count > 1 ? ", and others" : "");
        }
    wn_free(weights);
    wn_texts_release(&forms);
}
