/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grid.c: products of the sweep file to cells, and cells to unique points.
 *
 * A product is a set of axes; every axis value may be a list. Each combination is a cell. Cells whose results are
 * provably equal share one point: a method that uses no calibration data gives the same bits under every set, and a
 * recipe that changes nothing is the dense model. The canonical key of a point is a text, so equal keys are equal
 * points in this file and in any other.
 */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sweep_impl.h"

#define MAX_AXES 32

/* One axis of a product, in file order. */
struct axis {
    const char *key;
    int count;
    const cJSON **values; /* [count] owned: cJSON finds the n-th entry of an array by counting */
};

struct builder {
    const struct wn_sweep *sweep;
    struct wn_problems *problems;
    struct wn_grid_points *grid;
    char where[160]; /* "sweep.json: grid[2]: " */
};

/* A cell while it is read. */
struct asked {
    int64_t model, calibration;
    enum wn_propagation propagation;
    bool routes_dense;
    struct wn_recipe recipe;
};

#define PROBLEM(builder, ...) wn_problems_add((builder)->problems, __VA_ARGS__)

const char *wn_propagation_name(enum wn_propagation propagation)
{
    static const char *const names[] = {"", "sequential", "dense"};
    return names[propagation];
}

char *wn_recipe_label(const struct wn_recipe *recipe)
{
    if (recipe->n_stages == 0)
        return wn_strdup("dense");
    if (recipe->n_stages == 1)
        return wn_strdup(recipe->stages[0].method->name);
    return wn_format("%s+%s", recipe->stages[0].method->name, recipe->stages[1].method->name);
}

/* ---- one cell ---- */

/* The value of axis `key` in this combination, NULL when the product has no such axis. */
static const cJSON *value_of(const struct axis *axes, const int *index, int count, const char *key)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(axes[i].key, key))
            return axes[i].values[index[i]];
    return NULL;
}

static const struct wn_method *method_of(struct builder *builder, const char *key, const cJSON *value)
{
    int64_t count;
    const struct wn_method *const *table = wn_method_table(&count);
    if (!cJSON_IsString(value)) {
        PROBLEM(builder, "%s%s: expected the name of a method", builder->where, key);
        return NULL;
    }
    const struct wn_method *method = wn_method_find(value->valuestring);
    if (method)
        return method;
    const char *names[128];
    struct wn_text known = {0};
    for (int64_t i = 0; i < count && i < 128; i++) {
        names[i] = table[i]->name;
        wn_text_printf(&known, "%s%s", i ? ", " : "", table[i]->name);
    }
    const char *near = wn_suggest(value->valuestring, names, count < 128 ? count : 128);
    PROBLEM(builder, "%s%s: unknown method \"%s\"%s%s%s (known: %s)", builder->where, key, value->valuestring,
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "", known.data);
    wn_text_release(&known);
    return NULL;
}

static bool add_stage(struct builder *builder, struct wn_recipe *recipe, const char *key, const cJSON *value,
                      int wanted_kind)
{
    const struct wn_method *method = method_of(builder, key, value);
    if (!method)
        return false;
    if (wanted_kind >= 0 && (int)method->kind != wanted_kind) {
        PROBLEM(builder, "%s%s: \"%s\" is not a %s", builder->where, key, method->name,
                wanted_kind == WN_PRUNER ? "pruning method" : "quantization method");
        return false;
    }
    struct wn_stage *stage = &recipe->stages[recipe->n_stages++];
    stage->method = method;
    wn_params_init(&stage->params, method->parameters, method->n_parameters);
    return true;
}

static bool read_stages(struct builder *builder, const struct axis *axes, const int *index, int count,
                        struct wn_recipe *recipe)
{
    const cJSON *method = value_of(axes, index, count, "method"), *prune = value_of(axes, index, count, "prune"),
                *quantize = value_of(axes, index, count, "quantize");
    if (!method == !(prune || quantize)) {
        PROBLEM(builder, "%sgive either \"method\", or \"prune\" and \"quantize\"", builder->where);
        return false;
    }
    if (method)
        return add_stage(builder, recipe, "method", method, -1);
    if (!prune || !quantize) {
        PROBLEM(builder, "%sa joint point needs both \"prune\" and \"quantize\"", builder->where);
        return false;
    }
    return add_stage(builder, recipe, "prune", prune, WN_PRUNER) &&
           add_stage(builder, recipe, "quantize", quantize, WN_QUANTIZER);
}

/* ---- parameters ---- */

static bool is_grid_key(const char *key)
{
    static const char *const keys[] = {WN_GRID_KEYS};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

static void unknown_parameter(struct builder *builder, const struct wn_recipe *recipe, const char *key)
{
    const char *names[2 * WN_MAX_PARAMETERS + 16] = {WN_GRID_KEYS};
    const char *const keys[] = {WN_GRID_KEYS};
    int64_t count = sizeof keys / sizeof keys[0];
    for (int s = 0; s < recipe->n_stages; s++)
        for (int i = 0; i < recipe->stages[s].method->n_parameters; i++)
            names[count++] = recipe->stages[s].method->parameters[i].name;
    const char *near = wn_suggest(key, names, count);
    char *label = wn_recipe_label(recipe);
    PROBLEM(builder, "%sunknown key \"%s\": no axis and no parameter of %s%s%s%s", builder->where, key, label,
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    wn_free(label);
}

/* In a joint point these are the quantizer's, also where the pruner could round by itself. */
static bool is_of_quantizer(const char *key)
{
    return !strcmp(key, "bits") || !strcmp(key, "group") || !strcmp(key, "symmetric");
}

/* Gives one parameter to the stages that have it. */
static bool set_parameter(struct builder *builder, struct wn_recipe *recipe, const char *key, const cJSON *value)
{
    bool found = false;
    for (int s = 0; s < recipe->n_stages; s++) {
        struct wn_params *params = &recipe->stages[s].params;
        if (!wn_params_find(params, key) || (s + 1 < recipe->n_stages && is_of_quantizer(key)))
            continue;
        found = true;
        if (wn_params_set(params, key, value) != WN_OK) {
            PROBLEM(builder, "%s%s", builder->where, wn_error_message());
            return false;
        }
    }
    if (!found)
        unknown_parameter(builder, recipe, key);
    return found;
}

/* True when a value of the key "allocation" is no matter of the method; *good becomes false when of nothing else. */
static bool is_of_search(struct builder *builder, const struct wn_recipe *recipe, const cJSON *value, bool *good)
{
    bool of_method = wn_grid_allocation_is_of_method(recipe, value);
    if (!of_method)
        *good = wn_grid_check_allocation(builder->sweep, recipe, value, builder->where, builder->problems) && *good;
    return !of_method;
}

/* The key "defaults": own, or those of the published codes. */
static bool read_defaults(struct builder *builder, const cJSON *value, struct wn_recipe *recipe)
{
    const char *text = !value ? "own" : cJSON_IsString(value) ? value->valuestring : "";
    bool published = !strcmp(text, "published");
    if (!published && strcmp(text, "own") != 0) {
        PROBLEM(builder, "%sdefaults: expected \"own\" or \"published\"", builder->where);
        return false;
    }
    for (int s = 0; published && s < recipe->n_stages; s++)
        wn_params_publish(&recipe->stages[s].params);
    return true;
}

static bool read_parameters(struct builder *builder, const struct axis *axes, const int *index, int count,
                            struct wn_recipe *recipe)
{
    bool good = read_defaults(builder, value_of(axes, index, count, "defaults"), recipe);
    for (int i = 0; i < count; i++)
        if (!is_grid_key(axes[i].key) &&
            (strcmp(axes[i].key, "allocation") != 0 || !is_of_search(builder, recipe, axes[i].values[index[i]], &good)))
            good = set_parameter(builder, recipe, axes[i].key, axes[i].values[index[i]]) && good;
    for (int s = 0; good && s < recipe->n_stages; s++) {
        struct wn_stage *stage = &recipe->stages[s];
        wn_status status = stage->method->check ? stage->method->check(&stage->params) : WN_OK;
        if (status == WN_OK)
            status = wn_params_complete(&stage->params);
        if (status != WN_OK) {
            PROBLEM(builder, "%s%s: %s", builder->where, stage->method->name, wn_error_message());
            good = false;
        }
    }
    return good && wn_grid_read_search(builder->sweep, value_of(axes, index, count, "allocation"), builder->where,
                                       builder->problems, recipe);
}

static bool uses_calibration(const struct wn_recipe *recipe)
{
    return wn_recipe_needs(recipe) != WN_NEED_NOTHING || wn_allocation_of(recipe)->reads_dense;
}

static bool read_calibration(struct builder *builder, const cJSON *value, struct asked *asked)
{
    const struct wn_sweep *sweep = builder->sweep;
    const int64_t n_sets = wn_sweep_sets(sweep);
    bool needed = uses_calibration(&asked->recipe);
    asked->calibration = -1;
    if (!value && needed && n_sets == 1)
        asked->calibration = 0;
    for (int64_t i = 0; value && cJSON_IsString(value) && i < n_sets; i++)
        if (!strcmp(sweep->calibrations[i].name, value->valuestring))
            asked->calibration = i;
    if (asked->calibration >= 0 || (!value && !needed))
        return true;
    if (value)
        PROBLEM(builder, "%scalibration: \"%s\" is not a set under \"calibration\"", builder->where,
                cJSON_IsString(value) ? value->valuestring : "?");
    else
        PROBLEM(builder, "%scalibration: %s needs calibration data: name a set of \"calibration\"", builder->where,
                asked->recipe.stages[0].method->name);
    return false;
}

/* "sequential" or "dense"; without a value, *dense stays. */
static bool read_way(struct builder *builder, const char *key, const cJSON *value, bool *dense)
{
    const char *word = cJSON_IsString(value) ? value->valuestring : "";
    if (!value)
        return true;
    *dense = !strcmp(word, "dense");
    if (*dense || !strcmp(word, "sequential"))
        return true;
    PROBLEM(builder, "%s%s: expected \"sequential\" or \"dense\"", builder->where, key);
    return false;
}

static bool read_propagation(struct builder *builder, const cJSON *value, struct asked *asked)
{
    bool dense = wn_recipe_drop(&asked->recipe) || asked->recipe.search; /* levels are those of dense inputs */
    bool known = read_way(builder, "propagation", value, &dense);
    asked->propagation = dense ? WN_PROPAGATION_DENSE : WN_PROPAGATION_SEQUENTIAL;
    return known;
}

/* Under dense propagation no statistics see a compressed linear. */
static bool check_true_sequential(struct builder *builder, const struct asked *asked)
{
    if (!wn_recipe_true_sequential(&asked->recipe) || asked->propagation == WN_PROPAGATION_SEQUENTIAL)
        return true;
    PROBLEM(builder, "%strue_sequential: needs \"propagation\": \"sequential\", got \"%s\"", builder->where,
            wn_propagation_name(asked->propagation));
    return false;
}

static bool read_model(struct builder *builder, const cJSON *value, struct asked *asked)
{
    const struct wn_sweep *sweep = builder->sweep;
    if (!value)
        return true;
    char *path = cJSON_IsString(value) ? wn_join_path(sweep->directory, value->valuestring) : NULL;
    bool found = false;
    for (int64_t i = 0; path && i < sweep->n_models; i++) {
        if (!strcmp(sweep->models[i], path)) {
            asked->model = i;
            found = true;
        }
    }
    if (!found)
        PROBLEM(builder, "%smodel: \"%s\" is not in the list \"model\" of the sweep", builder->where,
                cJSON_IsString(value) ? value->valuestring : "?");
    wn_free(path);
    return found;
}

/* ---- cells to points ---- */

/* The stages that change something. */
static struct wn_recipe effective(const struct wn_recipe *recipe)
{
    struct wn_recipe result = {.search = recipe->search};
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_stage *stage = &recipe->stages[s];
        bool identity = stage->method->kind == WN_IDENTITY ||
                        (stage->method->is_identity && stage->method->is_identity(&stage->params));
        if (!identity)
            result.stages[result.n_stages++] = *stage;
    }
    if (result.n_stages == 0)
        result.search = NULL;
    return result;
}

/* The last part of a path: the short name of a model. */
static char *short_name(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return wn_strndup(path + start, length - start);
}

char *wn_sweep_model_name(const struct wn_sweep *sweep, int64_t model)
{
    char *name = short_name(sweep->models[model]);
    for (int64_t i = 0; i < sweep->n_models; i++) {
        char *other = short_name(sweep->models[i]);
        bool clash = i != model && !strcmp(name, other);
        wn_free(other);
        if (clash) {
            wn_free(name);
            return wn_strdup(sweep->models[model]);
        }
    }
    return name;
}

static char *key_of(const struct wn_sweep *sweep, const struct wn_point *point)
{
    struct wn_text text = {0};
    if (sweep->n_models > 1) {
        char *name = wn_sweep_model_name(sweep, point->model);
        wn_text_printf(&text, "%s: ", name);
        wn_free(name);
    }
    if (point->recipe.n_stages == 0)
        wn_text_printf(&text, "dense");
    for (int s = 0; s < point->recipe.n_stages; s++) {
        const struct wn_stage *stage = &point->recipe.stages[s];
        wn_text_printf(&text, "%s%s ", s ? " + " : "", stage->method->name);
        wn_params_describe(&stage->params, &text);
    }
    if (point->recipe.search)
        wn_text_printf(&text, " allocation=%s", point->recipe.search);
    if (point->calibration >= 0) {
        const struct wn_sweep_calibration *set = &sweep->calibrations[point->calibration];
        wn_text_printf(&text, " calibration=%s", sweep->calibrations[set->base].name);
        wn_variation_describe(&set->variation, &text);
        wn_text_printf(&text, " propagation=%s%s", wn_propagation_name(point->propagation),
                       point->routes_dense ? " routing=dense" : "");
    }
    return text.data;
}

/* Points and their keys have the same numbers. */
static int64_t add_point(struct builder *builder, const struct asked *asked)
{
    struct wn_grid_points *grid = builder->grid;
    struct wn_point point = {.model = asked->model, .recipe = effective(&asked->recipe), .calibration = -1};
    if (uses_calibration(&point.recipe)) {
        bool compresses = wn_recipe_needs(&point.recipe) != WN_NEED_NOTHING;
        point.calibration = asked->calibration;
        point.propagation = compresses && !wn_recipe_drop(&point.recipe) ? asked->propagation : WN_PROPAGATION_DENSE;
        point.routes_dense = asked->routes_dense && point.propagation == WN_PROPAGATION_SEQUENTIAL;
    }
    char *key = key_of(builder->sweep, &point);
    int64_t index = wn_texts_add(&grid->keys, key);
    wn_free(key);
    if (index < grid->n_points)
        return index;
    point.key = grid->keys.texts[index];
    grid->points = wn_grow(grid->points, grid->n_points, 1, sizeof point);
    grid->points[grid->n_points++] = point;
    return index;
}

/* Equal keys are equal parameters, so the recipe of the point serves unless stages were left out of it. */
static void add_cell(struct builder *builder, const struct asked *asked)
{
    struct wn_grid_points *grid = builder->grid;
    int64_t index = add_point(builder, asked);
    struct wn_point *point = &grid->points[index];
    struct wn_cell cell = {.model = asked->model,
                           .point = index,
                           .calibration = asked->calibration,
                           .propagation = asked->propagation,
                           .routes_dense = asked->routes_dense};
    point->n_cells++;
    if (point->recipe.n_stages != asked->recipe.n_stages) {
        cell.own = wn_alloc(1, sizeof *cell.own);
        *cell.own = asked->recipe;
    }
    grid->cells = wn_grow(grid->cells, grid->n_cells, 1, sizeof cell);
    grid->cells[grid->n_cells++] = cell;
}

const struct wn_recipe *wn_cell_recipe(const struct wn_grid_points *grid, const struct wn_cell *cell)
{
    return cell->own ? cell->own : &grid->points[cell->point].recipe;
}

/* The place on an axis; 0: the product has none of that name. */
static int place_of(const struct axis *axes, const int *index, int count, const char *key)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(axes[i].key, key))
            return index[i];
    return 0;
}

/* A recipe that looks at no calibration data is the same under all of them: one cell, and a note. */
static bool is_no_variation(struct builder *builder, const struct axis *axes, const int *index, int count,
                            const struct wn_recipe *recipe)
{
    int n_keys;
    const struct wn_parameter *keys = wn_grid_variation_parameters(&n_keys);
    const struct wn_recipe changes = effective(recipe);
    bool again = false;
    if (uses_calibration(&changes))
        return false;
    for (int k = 0; k < n_keys; k++) {
        if (!value_of(axes, index, count, keys[k].name))
            continue;
        char *label = wn_recipe_label(recipe);
        wn_problems_add(&builder->grid->notes, "%s%s: %s uses no calibration data: it has one point, whatever they are",
                        builder->where, keys[k].name, label);
        wn_free(label);
        again = again || place_of(axes, index, count, keys[k].name) > 0;
    }
    return again;
}

/* The set as it is varied. */
static bool read_variation(struct builder *builder, const struct axis *axes, const int *index, int count,
                           struct asked *asked)
{
    struct wn_variation variation;
    const struct wn_recipe changes = effective(&asked->recipe);
    if (!wn_grid_read_variation(value_of(axes, index, count, "replicates"), place_of(axes, index, count, "replicates"),
                                value_of(axes, index, count, "perturb"), value_of(axes, index, count, "perturb_seed"),
                                builder->where, builder->problems, &variation))
        return false;
    if (asked->calibration >= 0 && uses_calibration(&changes))
        asked->calibration = wn_sweep_varied_set(builder->sweep, asked->calibration, &variation);
    return true;
}

static bool build_cell(struct builder *builder, const struct axis *axes, const int *index, int count)
{
    struct asked asked = {0};
    const cJSON *model = value_of(axes, index, count, "model");
    if (!read_stages(builder, axes, index, count, &asked.recipe) ||
        !read_parameters(builder, axes, index, count, &asked.recipe) ||
        !read_calibration(builder, value_of(axes, index, count, "calibration"), &asked) ||
        !read_variation(builder, axes, index, count, &asked) ||
        !read_propagation(builder, value_of(axes, index, count, "propagation"), &asked) ||
        !read_way(builder, "routing", value_of(axes, index, count, "routing"), &asked.routes_dense) ||
        !check_true_sequential(builder, &asked) || !read_model(builder, model, &asked))
        return false;
    if (is_no_variation(builder, axes, index, count, &asked.recipe))
        return true;
    for (int64_t m = model ? asked.model : 0; m < (model ? asked.model + 1 : builder->sweep->n_models); m++) {
        asked.model = m;
        add_cell(builder, &asked);
    }
    return true;
}

/* ---- products ---- */

/* Next combination, the last axis fastest; false after the last one. */
static bool next_index(const struct axis *axes, int *index, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        if (++index[i] < axes[i].count)
            return true;
        index[i] = 0;
    }
    return false;
}

static struct axis open_axis(const cJSON *item)
{
    struct axis axis = {.key = item->string, .count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : 1};
    if (!strcmp(item->string, "replicates")) /* a number of draws is an axis of its own */
        axis.count = wn_grid_replicates(item) ? wn_grid_replicates(item) : 1;
    axis.values = wn_alloc(axis.count, sizeof *axis.values);
    if (!cJSON_IsArray(item) || !strcmp(item->string, "replicates")) {
        for (int i = 0; i < axis.count; i++)
            axis.values[i] = item;
        return axis;
    }
    int count = 0;
    const cJSON *value;
    cJSON_ArrayForEach (value, item)
        axis.values[count++] = value;
    return axis;
}

/* How many axes there are; *good becomes false when they cannot be combined. */
static int open_axes(struct builder *builder, const cJSON *product, struct axis *axes, bool *good)
{
    int count = 0;
    const cJSON *item;
    cJSON_ArrayForEach (item, product) {
        if (count == MAX_AXES) {
            PROBLEM(builder, "%smore than %d axes", builder->where, MAX_AXES);
            *good = false;
            break;
        }
        axes[count++] = open_axis(item);
        if (axes[count - 1].count == 0) {
            PROBLEM(builder, "%s%s: the axis is empty", builder->where, item->string);
            *good = false;
            break;
        }
    }
    return count;
}

/* One mistake of an axis shows in every combination; the list of problems keeps it once. */
static void build_product(struct builder *builder, const cJSON *product)
{
    struct axis axes[MAX_AXES];
    int index[MAX_AXES] = {0};
    if (!cJSON_IsObject(product)) {
        PROBLEM(builder, "%sexpected an object with axes", builder->where);
        return;
    }
    bool good = true;
    int count = open_axes(builder, product, axes, &good);
    int64_t before = builder->problems->count;
    while (good) {
        build_cell(builder, axes, index, count);
        good = next_index(axes, index, count) && builder->problems->count < before + 1000;
    }
    for (int i = 0; i < count; i++)
        wn_free(axes[i].values);
}

void wn_grid_build(const struct wn_sweep *sweep, struct wn_problems *problems, struct wn_grid_points *grid)
{
    struct builder builder = {.sweep = sweep, .problems = problems, .grid = grid};
    *grid = (struct wn_grid_points){0};
    wn_problems_init(&grid->notes);
    for (int64_t m = 0; m < sweep->n_models; m++)
        add_point(&builder, &(struct asked){.model = m, .calibration = -1});
    int number = 0;
    const cJSON *product;
    cJSON_ArrayForEach (product, sweep->grid) {
        snprintf(builder.where, sizeof builder.where, "%.100s: grid[%d]: ", sweep->path, number++);
        build_product(&builder, product);
    }
}

void wn_grid_release(struct wn_grid_points *grid)
{
    wn_texts_release(&grid->keys);
    for (int64_t i = 0; i < grid->n_cells; i++)
        wn_free(grid->cells[i].own);
    wn_free(grid->points);
    wn_free(grid->cells);
    wn_problems_release(&grid->notes);
    *grid = (struct wn_grid_points){0};
}

bool wn_grid_uses_calibration(const struct wn_grid_points *grid, int64_t model, int64_t calibration)
{
    for (int64_t i = 0; i < grid->n_points; i++) {
        const struct wn_point *point = &grid->points[i];
        if (point->model == model && point->calibration >= 0 && (calibration < 0 || point->calibration == calibration))
            return true;
    }
    return false;
}
