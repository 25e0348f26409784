/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levels of sparsity of linears as SmolLM2-135M has them, of four shapes: whatever prunes, alone or in front of a
 * quantizer, makes exactly the zeros of the level, so that a step up here and one down there cancel.
 */
#include <winnow/linalg.h>
#include <winnow/search.h>

#include "method/recipes.h"
#include "test.h"

enum { HIDDEN = 576, KEYS = 192, MIDDLE = 1536, TOKENS = 256, LINEARS = 7, INPUTS = 2 };

static const struct shape {
    int64_t rows, columns;
} shapes[LINEARS] = {{HIDDEN, HIDDEN}, {KEYS, HIDDEN},   {KEYS, HIDDEN},  {HIDDEN, HIDDEN},
                     {MIDDLE, HIDDEN}, {MIDDLE, HIDDEN}, {HIDDEN, MIDDLE}};

/* Inputs of one width: x [TOKENS, width], and what is known of them. */
struct inputs {
    float *moments;
    double *squares;
    struct wn_factor_cache factors;
    struct wn_input_stats stats;
};

static float *random_floats(int64_t count, uint64_t stream)
{
    float *values = wn_alloc(count, sizeof *values);

    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(wn_random_u64(1, stream, (uint64_t)i) >> 40) / (float)(1 << 23) - 1.0f;
    return values;
}

static void open_inputs(int64_t width, struct inputs *inputs)
{
    float *x = random_floats(TOKENS * width, (uint64_t)width);

    *inputs = (struct inputs){.moments = wn_alloc_zero(width * width, sizeof(float)),
                              .squares = wn_alloc_zero(width, sizeof(double))};
    wn_add_second_moments(x, TOKENS, width, inputs->moments);
    wn_symmetrize(inputs->moments, width);
    for (int64_t j = 0; j < width; j++)
        inputs->squares[j] = (double)inputs->moments[j * width + j];
    inputs->stats = (struct wn_input_stats){.tokens = TOKENS,
                                            .sequences = 1,
                                            .width = width,
                                            .squares = inputs->squares,
                                            .second_moments = inputs->moments,
                                            .factors = &inputs->factors};
    wn_free(x);
}

static void close_inputs(struct inputs *inputs)
{
    wn_factor_cache_release(&inputs->factors);
    wn_free(inputs->moments);
    wn_free(inputs->squares);
}

static int64_t count_pruned(const struct wn_compressed *form)
{
    int64_t pruned = 0;

    for (int64_t i = 0; i < form->rows * form->columns; i++) {
        pruned += form->has_mask && !form->keep[i];
        CHECK(!form->has_mask || form->keep[i] || form->weight[i] == 0.0f);
    }
    return pruned;
}

/* Zeros of a linear at a level. */
static int64_t zeros_at(const struct wn_recipe *recipe, const struct wn_gene *gene, int32_t level, const float *weight,
                        const struct inputs *inputs)
{
    const struct shape shape = shapes[gene->linear];
    const int64_t count = shape.rows * shape.columns, zeros = gene->amount + level * gene->per_level;
    float *result = wn_alloc(count, sizeof *result);
    uint8_t *keep = wn_alloc(count, 1);
    struct wn_recipe one = *recipe;
    struct wn_compressed form;

    wn_pruner_set_sparsity(&one.stages[0].params, (double)zeros / (double)count);
    one.zeros = &zeros;
    wn_compressed_init(&form, shape.rows, shape.columns, result, keep);
    CHECK_OK(wn_recipe_compress(&one, "linear", weight, &inputs[shape.columns == MIDDLE].stats, &form));
    const int64_t pruned = count_pruned(&form);
    CHECK(pruned == zeros);
    wn_compressed_release(&form);
    wn_free(result);
    wn_free(keep);
    return pruned;
}

/* A genome of one block whose levels are as far apart as they can be, and the uniform one, have the same zeros. */
static void check_recipe(const struct wn_recipe *recipe, double target, float *const *weights,
                         const struct inputs *inputs)
{
    int64_t sizes[LINEARS], uniform = 0, spread = 0;
    int32_t genome[LINEARS] = {0}, sum = 0;
    struct wn_space space;

    for (int l = 0; l < LINEARS; l++)
        sizes[l] = shapes[l].rows * shapes[l].columns;
    const struct wn_space_request request = {.kind = WN_SPACE_SPARSITY,
                                             .n_blocks = 1,
                                             .hidden = HIDDEN,
                                             .n_linears = LINEARS,
                                             .weights = sizes,
                                             .target = target,
                                             .levels = 8};
    CHECK_OK(wn_space_create(&request, &space));
    for (int l = 1; l < LINEARS - 1; l++) { /* keys and values all the way down, the rest up by as much */
        genome[l] = l < 3 ? space.genes[l].low : 0;
        sum += genome[l];
    }
    for (int l = 3; l < LINEARS; l++) {
        genome[l] = -sum < space.genes[l].high ? -sum : space.genes[l].high;
        sum += genome[l];
    }
    CHECK_OK(wn_space_check(&space, genome));
    for (int l = 0; l < LINEARS; l++) {
        uniform += zeros_at(recipe, &space.genes[l], 0, weights[l], inputs);
        spread += zeros_at(recipe, &space.genes[l], genome[l], weights[l], inputs);
    }
    CHECK(genome[1] < 0 && genome[3] > 0 && uniform == spread);
    CHECK(uniform == wn_space_amount(&space, genome));
    wn_space_release(&space);
}

static void check_stages(const char *pruner, const char *settings, const char *quantizer, const char *quantized,
                         float *const *weights, const struct inputs *inputs)
{
    struct wn_recipe recipe = {0};

    CHECK_OK(add_stage(&recipe, pruner, settings));
    if (quantizer)
        CHECK_OK(add_stage(&recipe, quantizer, quantized));
    check_recipe(&recipe, wn_params_number(&recipe.stages[0].params, "sparsity"), weights, inputs);
}

int main(void)
{
    struct inputs inputs[INPUTS];
    float *weights[LINEARS];

    CHECK_OK(wn_linalg_start());
    open_inputs(HIDDEN, &inputs[0]);
    open_inputs(MIDDLE, &inputs[1]);
    for (int l = 0; l < LINEARS; l++)
        weights[l] = random_floats(shapes[l].rows * shapes[l].columns, 7 + (uint64_t)l);
    check_stages("magnitude", "{\"sparsity\": 0.7}", NULL, NULL, weights, inputs);
    check_stages("random", "{\"sparsity\": 0.7}", NULL, NULL, weights, inputs);
    check_stages("wanda", "{\"sparsity\": 0.7}", NULL, NULL, weights, inputs);
    check_stages("sparsegpt", "{\"sparsity\": 0.6}", NULL, NULL, weights, inputs);
    check_stages("sparsegpt", "{\"sparsity\": 0.5, \"bits\": 3}", NULL, NULL, weights, inputs);
    check_stages("wanda", "{\"sparsity\": 0.6}", "gptq", "{\"bits\": 3, \"group\": 64}", weights, inputs);
    check_stages("sparsegpt", "{\"sparsity\": 0.5}", "rtn", "{\"bits\": 2}", weights, inputs);
    check_stages("magnitude", "{\"sparsity\": 0.5}", "llm_int8", "{}", weights, inputs);
    for (int l = 0; l < LINEARS; l++)
        wn_free(weights[l]);
    close_inputs(&inputs[0]);
    close_inputs(&inputs[1]);
    return test_finish();
}
