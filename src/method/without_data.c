/* SPDX-License-Identifier: Apache-2.0 */
/* without_data.c: what stands for a recipe where nothing is known of the inputs of a linear. */
#include <string.h>

#include <winnow/method.h>

/* The parameters of `method`, with those that all pruners or quantizers understand alike as `from` has them. */
static void take_over(const struct wn_params *from, const struct wn_method *method, struct wn_params *params)
{
    static const char *const names[] = {"sparsity",  "pattern",     "bits",       "group",
                                        "symmetric", "scale_dtype", "input_bits", "input_group"};
    wn_params_init(params, method->parameters, method->n_parameters);
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const struct wn_value *given = wn_params_given(from, names[n]);
        for (int i = 0; given && i < params->count; i++) {
            const struct wn_parameter *parameter = params->values[i].parameter;
            if (strcmp(parameter->name, names[n]) != 0)
                continue;
            params->values[i] = *given;
            params->values[i].parameter = parameter;
        }
    }
}

static void replace(const struct wn_stage *stage, const char *name, struct wn_stage *plain)
{
    plain->method = wn_method_find(name);
    take_over(&stage->params, plain->method, &plain->params);
}

bool wn_recipe_without_data(const struct wn_recipe *recipe, struct wn_recipe *plain)
{
    const unsigned data = WN_NEED_INPUT_SQUARES | WN_NEED_SECOND_MOMENTS | WN_NEED_ABSOLUTE_SUMS;
    bool replaced = false;
    *plain = *recipe;
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_stage *stage = &recipe->stages[s];
        if (!(stage->method->needs & data))
            continue;
        replaced = true;
        /* A pruner that rounds as well is the only stage. */
        if (stage->method->kind == WN_PRUNER && wn_params_given(&stage->params, "bits"))
            replace(stage, "rtn", &plain->stages[plain->n_stages++]);
        replace(stage, stage->method->kind == WN_PRUNER ? "magnitude" : "rtn", &plain->stages[s]);
    }
    return replaced;
}
