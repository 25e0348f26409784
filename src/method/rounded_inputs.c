/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rounded_inputs.c: inputs of linears rounded as they come, beside uniform grids of the weights: W4A8 and the like.
 *
 * Steps are chosen for each token (dynamic) and are symmetric, as everywhere in the field. Which inputs share one is
 * not agreed on: llama.cpp takes 32 columns (its Q8_0, for all its 4-bit blocks), SmoothQuant, QServe
 * (arXiv:2405.04532) and vLLM's W4A8 the whole token. A token has channels that are far larger than the others
 * (LLM.int8(), section 3), which take the digits of all that share their step, so a step per token costs far more; runs
 * of 32 are the default. They are not tied to the groups of the weights, because kernels cut columns where either ends.
 */
#include "quant.h"

#include <math.h>

static bool rounds(const struct wn_params *params)
{
    return !isnan(wn_params_find(params, "input_bits")->number);
}

wn_status wn_check_inputs(struct wn_params *params)
{
    if (!rounds(params))
        wn_params_leave_out(params, "input_group");
    else if (wn_groups_are_scattered(params))
        return wn_fail(WN_ERR_INPUT, "input_bits: groups of act_order have columns from all over the row; add "
                                     "\"static_groups\": true or leave act_order out");
    return WN_OK;
}

/* The form of a rule, without arrays. */
static struct wn_grouped_linear form_of(const struct wn_params *params, int64_t rows, int64_t columns)
{
    const struct wn_value *run = wn_params_find(params, "input_group");
    const int64_t group = wn_group_of(params, columns), whole = group ? group : columns;

    return (struct wn_grouped_linear){
        .rows = rows,
        .columns = columns,
        .bits = (int)ceil(wn_params_number(params, "bits")),
        .input_bits = (int)wn_params_integer(params, "input_bits"),
        .group = whole,
        .n_groups = wn_group_count(columns, whole),
        .input_group = isnan(run->number) || (int64_t)run->number > columns ? columns : (int64_t)run->number};
}

void wn_round_inputs(const struct wn_params *params, struct wn_compressed *out)
{
    if (!rounds(params))
        return;
    struct wn_grouped_linear form = form_of(params, out->rows, out->columns);
    float *repeated = NULL;
    form.codes = out->codes;
    form.scales = out->scales;
    form.zeros = out->zeros;
    if (!out->group) { /* one grid in all */
        repeated = wn_alloc(2 * out->rows, sizeof *repeated);
        for (int64_t row = 0; row < out->rows; row++) {
            repeated[row] = out->scales[0];
            repeated[out->rows + row] = out->zeros[0];
        }
        form.scales = repeated;
        form.zeros = repeated + out->rows;
    }
    out->activation = wn_grouped_linear_create(&form);
    wn_free(repeated);
}

void wn_round_inputs_bytes(const struct wn_params *params, int64_t rows, int64_t columns, int64_t tokens, int threads,
                           int64_t *bytes, int64_t *scratch)
{
    (void)threads;
    if (!rounds(params))
        return;
    const struct wn_grouped_linear form = form_of(params, rows, columns);
    *bytes = wn_grouped_linear_bytes(&form);
    *scratch = wn_grouped_linear_scratch(&form, tokens);
}
