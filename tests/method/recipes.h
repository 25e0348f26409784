/* SPDX-License-Identifier: Apache-2.0 */
/* recipes.h: what the tests of methods share: recipes from JSON text, random problems, one compressed linear. */
#ifndef WINNOW_TEST_RECIPES_H
#define WINNOW_TEST_RECIPES_H

#include "../test.h"

#include <winnow/method.h>

#include <cjson/cJSON.h>

/* Adds a stage; settings are all keys of a JSON object but "method". The status is that of the first rule broken. */
static inline wn_status add_stage_json(struct wn_recipe *recipe, const char *name, const cJSON *settings)
{
    struct wn_stage *stage = &recipe->stages[recipe->n_stages++];
    const cJSON *item;

    stage->method = wn_method_find(name);
    if (!stage->method)
        return wn_fail(WN_ERR_INPUT, "no method %s", name);
    wn_params_init(&stage->params, stage->method->parameters, stage->method->n_parameters);
    cJSON_ArrayForEach (item, settings) {
        if (strcmp(item->string, "method") != 0)
            WN_TRY(wn_params_set(&stage->params, item->string, item));
    }
    WN_TRY(wn_params_complete(&stage->params));
    return stage->method->check ? stage->method->check(&stage->params) : WN_OK;
}

static inline wn_status add_stage(struct wn_recipe *recipe, const char *name, const char *settings)
{
    cJSON *json = cJSON_Parse(settings);

    if (!json)
        WN_BUG("not JSON: %s", settings);
    wn_status status = add_stage_json(recipe, name, json);
    cJSON_Delete(json);
    return status;
}

/* Inputs are rounded whatever the settings are. */
static inline bool always_rounds_inputs(const struct wn_method *method)
{
    bool asked = false;

    for (int i = 0; i < method->n_parameters; i++)
        asked = asked || !strcmp(method->parameters[i].name, "input_bits");
    return method->activation_bytes && !asked;
}

/*
 * Second moments of inputs with these squares: neighbours are correlated, and a wave goes through all columns, so that
 * an error is felt far behind its column.
 */
static inline void fill_second_moments(const double *squares, int64_t columns, float *h)
{
    for (int64_t i = 0; i < columns; i++)
        for (int64_t j = 0; j < columns; j++) {
            double distance = fabs((double)(i - j)), correlation = 0.7 * pow(0.9, distance) + 0.3 * cos(0.7 * distance);
            h[i * columns + j] = (float)(sqrt(squares[i] * squares[j]) * correlation);
        }
}

/* A linear with its input statistics and the result of a recipe. */
struct problem {
    int64_t rows, columns;
    float *weight, *result, *second_moments;
    uint8_t *keep;
    double *squares;
    struct wn_factor_cache factors;
    struct wn_input_stats stats;
    struct wn_compressed out;
};

/* Weights from a bell-like curve, squares over three decades. decimals > 0 rounds the weights, which makes ties. */
static inline void problem_init(struct problem *problem, int64_t rows, int64_t columns, uint64_t seed, double decimals)
{
    *problem = (struct problem){.rows = rows, .columns = columns};
    problem->weight = wn_alloc(rows * columns, sizeof(float));
    problem->result = wn_alloc_zero(rows * columns, sizeof(float));
    problem->keep = wn_alloc_zero(rows * columns, 1);
    problem->squares = wn_alloc(columns, sizeof(double));
    for (int64_t i = 0; i < rows * columns; i++) {
        double sum = -1.5;
        for (uint64_t draw = 0; draw < 3; draw++)
            sum += wn_random_uniform(seed, draw, (uint64_t)i);
        problem->weight[i] = (float)(decimals > 0 ? rint(sum * decimals) / decimals : sum);
    }
    for (int64_t j = 0; j < columns; j++)
        problem->squares[j] = pow(10, 3 * wn_random_uniform(seed, 3, (uint64_t)j));
    problem->second_moments = wn_alloc(columns * columns, sizeof(float));
    fill_second_moments(problem->squares, columns, problem->second_moments);
    problem->stats = (struct wn_input_stats){.tokens = 64,
                                             .sequences = 4,
                                             .width = columns,
                                             .squares = problem->squares,
                                             .second_moments = problem->second_moments,
                                             .factors = &problem->factors};
    wn_compressed_init(&problem->out, rows, columns, problem->result, problem->keep);
}

static inline void problem_release(struct problem *problem)
{
    wn_compressed_release(&problem->out);
    wn_factor_cache_release(&problem->factors);
    wn_free(problem->second_moments);
    wn_free(problem->squares);
    wn_free(problem->keep);
    wn_free(problem->result);
    wn_free(problem->weight);
}

static inline wn_status problem_run(struct problem *problem, const struct wn_recipe *recipe)
{
    wn_compressed_release(&problem->out);
    wn_compressed_init(&problem->out, problem->rows, problem->columns, problem->result, problem->keep);
    return wn_recipe_compress(recipe, "block.linear", problem->weight, &problem->stats, &problem->out);
}

/* One stage and its result in one call. */
static inline wn_status problem_run_one(struct problem *problem, const char *name, const char *settings)
{
    struct wn_recipe recipe = {0};

    WN_TRY(add_stage(&recipe, name, settings));
    return problem_run(problem, &recipe);
}

static inline int64_t count_zeros(const float *w, int64_t count)
{
    int64_t zeros = 0;

    for (int64_t i = 0; i < count; i++)
        zeros += w[i] == 0.0f;
    return zeros;
}

static inline int64_t count_dropped(const uint8_t *keep, int64_t count)
{
    int64_t dropped = 0;

    for (int64_t i = 0; i < count; i++)
        dropped += !keep[i];
    return dropped;
}

/* keep is 0 or 1, and what is not kept is +0. */
static inline void check_zeros(const struct problem *problem)
{
    const float zero = 0.0f;

    CHECK(problem->out.has_mask);
    for (int64_t i = 0; i < problem->rows * problem->columns; i++) {
        CHECK(problem->keep[i] <= 1);
        CHECK(problem->keep[i] || !memcmp(&problem->result[i], &zero, sizeof(float)));
    }
}

/* For methods that update nothing: what is kept has its bits as well. */
static inline void check_mask(const struct problem *problem)
{
    const float zero = 0.0f;

    check_zeros(problem);
    for (int64_t i = 0; i < problem->rows * problem->columns; i++) {
        CHECK(!memcmp(&problem->result[i], problem->keep[i] ? &problem->weight[i] : &zero, sizeof(float)));
    }
}

/* Every aligned run of m has exactly n dropped weights. */
static inline void check_runs(const struct problem *problem, int n, int m)
{
    for (int64_t i = 0; i < problem->rows * problem->columns; i += m)
        CHECK(count_dropped(problem->keep + i, m) == n);
}

#endif
