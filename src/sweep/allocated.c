/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocated.c: what a product of the grid says under "allocation" besides the words of its method: a search, or levels
 * by layer errors; and what of a recipe they vary.
 */
#include <math.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sweep_impl.h"

/* ---- what is varied ---- */

/* What the quantizer is given, NULL when there is none. */
static const struct wn_value *bits_of_quantizer(const struct wn_recipe *recipe)
{
    for (int s = 0; s < recipe->n_stages; s++)
        if (recipe->stages[s].method->kind == WN_QUANTIZER)
            return wn_params_given(&recipe->stages[s].params, "bits");
    return NULL;
}

static bool is_fraction(const struct wn_value *bits)
{
    return bits && bits->number != rint(bits->number);
}

static bool names_bits(const cJSON *section)
{
    const cJSON *preset = cJSON_GetObjectItemCaseSensitive(section, "preset");
    return cJSON_GetObjectItemCaseSensitive(section, "bits") ||
           (cJSON_IsString(preset) && !strcmp(preset->valuestring, "bits"));
}

enum wn_space_kind wn_search_kind(const struct wn_recipe *recipe, const cJSON *section)
{
    const enum wn_method_kind kind = recipe->stages[0].method->kind;
    const struct wn_value *bits = bits_of_quantizer(recipe);
    if (recipe->n_stages == 1)
        return kind == WN_PRUNER ? WN_SPACE_SPARSITY : kind == WN_QUANTIZER ? WN_SPACE_BITS : WN_SPACE_DROP;
    return bits && (is_fraction(bits) || names_bits(section)) ? WN_SPACE_BITS : WN_SPACE_SPARSITY;
}

/* ---- names ---- */

static const struct wn_sweep_search *find_search(const struct wn_sweep *sweep, const cJSON *value)
{
    static const struct wn_sweep_search minimizes = {.name = WN_DYNAMIC_PROGRAMMING};
    if (cJSON_IsString(value) && !strcmp(value->valuestring, minimizes.name))
        return &minimizes;
    for (int64_t i = 0; cJSON_IsString(value) && i < sweep->n_searches; i++)
        if (!strcmp(sweep->searches[i].name, value->valuestring))
            return &sweep->searches[i];
    return NULL;
}

bool wn_grid_allocation_is_of_method(const struct wn_recipe *recipe, const cJSON *value)
{
    const struct wn_value *words = wn_params_find(&recipe->stages[0].params, "allocation");
    return words && cJSON_IsString(value) && wn_params_has_word(words->parameter, value->valuestring);
}

bool wn_grid_check_allocation(const struct wn_sweep *sweep, const struct wn_recipe *recipe, const cJSON *value,
                              const char *where, struct wn_problems *problems)
{
    const struct wn_value *words = wn_params_find(&recipe->stages[0].params, "allocation");
    const char *text = cJSON_IsString(value) ? value->valuestring : "?";
    bool allocates = words || recipe->stages[0].method->kind == WN_DROPPER;
    struct wn_text known = {0};
    if (find_search(sweep, value) || (!allocates && !strcmp(text, "uniform")))
        return true;
    for (int64_t i = 0; i < sweep->n_searches; i++)
        wn_text_printf(&known, "%s\"%s\"", i ? ", " : "", sweep->searches[i].name);
    wn_problems_add(problems, "%sallocation: \"%s\" is not a name under \"search\"%s%s%s%s", where, text,
                    words ? ", nor one of " : "", words ? words->parameter->words : "",
                    known.length ? ": there is " : "", known.length ? known.data : "");
    wn_text_release(&known);
    return false;
}

/* ---- searches ---- */

/* What a search cannot find levels for, in words; NULL: it can. */
static const char *why_not_searched(const struct wn_recipe *recipe, enum wn_space_kind kind, bool minimizes)
{
    const struct wn_stage *stage = &recipe->stages[0];
    const struct wn_value *pattern = wn_params_find(&stage->params, "pattern");
    const struct wn_value *variant = wn_params_find(&stage->params, "variant");
    const struct wn_value *score = wn_params_find(&stage->params, "score");
    if (kind == WN_SPACE_SPARSITY && variant && !strcmp(variant->text, "alpha"))
        return "its variant \"alpha\" makes other numbers of zeros than it is asked for";
    if (kind == WN_SPACE_SPARSITY && pattern && strcmp(pattern->text, "unstructured") != 0)
        return "N:M patterns have no levels to search; leave \"pattern\" out";
    if (score && score->given)
        return "a search needs no \"score\"; leave it out";
    if (stage->method->kind == WN_DROPPER)
        return minimizes ? "what is left out has no layer errors" : NULL;
    if (!wn_params_find(&recipe->stages[kind == WN_SPACE_BITS ? recipe->n_stages - 1 : 0].params,
                        kind == WN_SPACE_BITS ? "bits" : "sparsity"))
        return "it has no levels to choose from";
    return NULL;
}

/* A mean over linears is for an allocation to spread. */
static bool check_whole_bits(const struct wn_recipe *recipe, bool spread, const char *where,
                             struct wn_problems *problems)
{
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_value *bits = wn_params_given(&recipe->stages[s].params, "bits");
        if (!is_fraction(bits) || (spread && recipe->stages[s].method->kind == WN_QUANTIZER))
            continue;
        wn_problems_add(problems,
                        "%skey \"bits\": %s is a mean over linears: expected a whole number, or an \"allocation\" that "
                        "spreads it (a search, or \"" WN_DYNAMIC_PROGRAMMING "\")",
                        where, bits->text);
        return false;
    }
    return true;
}

/* True when the varied stage changes nothing: there is no budget. */
static bool is_idle(const struct wn_recipe *recipe, enum wn_space_kind kind)
{
    const struct wn_stage *stage = &recipe->stages[0];
    return kind == WN_SPACE_SPARSITY && stage->method->is_identity && stage->method->is_identity(&stage->params);
}

bool wn_grid_read_search(const struct wn_sweep *sweep, const cJSON *value, const char *where,
                         struct wn_problems *problems, struct wn_recipe *recipe)
{
    const struct wn_sweep_search *search = find_search(sweep, value);
    const enum wn_space_kind kind = wn_search_kind(recipe, search ? search->spec : NULL);
    const char *why = search ? why_not_searched(recipe, kind, !search->spec) : NULL;
    if (why) {
        char *label = wn_recipe_label(recipe);
        wn_problems_add(problems, "%sallocation: \"%s\" for %s: %s", where, search->name, label, why);
        wn_free(label);
        return false;
    }
    if (!check_whole_bits(recipe, search && kind == WN_SPACE_BITS, where, problems))
        return false;
    if (!search || is_idle(recipe, kind))
        return true;
    recipe->search = search->name;
    struct wn_value *score = (struct wn_value *)wn_params_find(&recipe->stages[0].params, "score");
    if (score)
        score->set = false;
    return true;
}
