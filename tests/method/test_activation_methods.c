/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods that quantize inputs: against activation.safetensors, which make_activation.py computed with code of its own,
 * and in a block.
 */
#include "activation_sample.h"
#include "golden.h"

#include <omp.h>

/* ---- methods ---- */

/* A golden case: recipe on weight.0, then its rule on x. */
static void check_case(const struct golden *golden, const cJSON *one, const struct sample *data,
                       const struct wn_input_task *inputs)
{
    const char *name = cJSON_GetObjectItem(one, "expected")->valuestring;
    struct wn_recipe recipe = {0};
    struct problem problem;
    int64_t shape[2] = {0}, in = data->in, out = data->out, wrong = 0;
    float *scale = wn_alloc(in, sizeof *scale), *x = wn_alloc(data->rows * in, sizeof *x);
    float *expected = wn_alloc(data->rows * out + in + out * in, sizeof *expected), *y = data->y;
    bool scaled;

    problem_init(&problem, out, in, 1, 0);
    memcpy(problem.weight, inputs->weights[0], (size_t)(out * in) * sizeof(float));
    CHECK_OK(
        add_stage_json(&recipe, cJSON_GetObjectItem(one, "method")->valuestring, cJSON_GetObjectItem(one, "settings")));
    CHECK_OK(wn_recipe_scale_inputs(&recipe, inputs, scale, &scaled));
    CHECK(scaled == !strcmp(recipe.stages[0].method->name, "smoothquant"));
    problem.stats.scale = scaled ? scale : NULL;
    CHECK_OK(wn_recipe_compress(&recipe, "block 0 self_attn.v_proj", problem.weight, &problem.stats, &problem.out));
    for (int64_t i = 0; i < data->rows * in; i++)
        x[i] = data->x[i] / scale[i % in];
    struct wn_linear_call call = data->call;
    call.x = x;
    problem.out.activation->compute(problem.out.activation, &call);
    golden_tensor(golden, name, "F32", shape, expected, (size_t)(data->rows * out) * sizeof(float));
    for (int64_t i = 0; i < data->rows * out; i++)
        wrong += !(fabsf(y[i] - expected[i]) <= 2e-6f * (1 + fabsf(expected[i])));
    if (scaled) {
        char *key = wn_format("%s.scale", name), *weights = wn_format("%s.weight", name);
        golden_tensor(golden, key, "F32", shape, expected, (size_t)in * sizeof(float));
        for (int64_t j = 0; j < in; j++)
            wrong += !(fabsf(scale[j] - expected[j]) <= 1e-6f * expected[j]);
        golden_tensor(golden, weights, "F32", shape, expected, (size_t)(out * in) * sizeof(float));
        for (int64_t i = 0; i < out * in; i++)
            wrong += !(fabsf(problem.result[i] - expected[i]) <= 1e-6f * fabsf(expected[i]));
        wn_free(key);
        wn_free(weights);
    }
    if (wrong) {
        char *text = cJSON_PrintUnformatted(one);
        fprintf(stderr, "%lld numbers differ: %s\n", (long long)wrong, text);
        cJSON_free(text);
        test_failures++;
    }
    problem_release(&problem);
    wn_free(expected);
    wn_free(x);
    wn_free(scale);
}

static float *tensor_of(const struct golden *golden, const char *name, int64_t shape[2])
{
    shape[1] = 1;
    golden_tensor(golden, name, "F32", shape, NULL, 0);
    float *values = wn_alloc(shape[0] * shape[1], sizeof *values);
    golden_tensor(golden, name, "F32", shape, values, (size_t)(shape[0] * shape[1]) * sizeof *values);
    return values;
}

static void check_golden(void)
{
    struct golden golden = {0};
    struct sample data = {0};
    int64_t shape[2] = {0}, rows[2];

    CHECK(golden_open(&golden, "tests/method/activation.safetensors"));
    const cJSON *metadata = cJSON_GetObjectItem(golden.header, "__metadata__"), *one;
    cJSON *cases = cJSON_Parse(cJSON_GetObjectItem(metadata, "cases")->valuestring);
    cJSON *lengths = cJSON_Parse(cJSON_GetObjectItem(metadata, "lengths")->valuestring);
    float *maxima = tensor_of(&golden, "maxima", shape), *second = tensor_of(&golden, "weight.1", shape);
    rows[1] = shape[0];
    float *first = tensor_of(&golden, "weight.0", shape);
    rows[0] = data.out = shape[0];
    data.x = tensor_of(&golden, "x", shape);
    data.rows = shape[0];
    data.in = shape[1];
    data.y = wn_alloc(data.rows * data.out, sizeof(float));
    for (int s = 0; s < cJSON_GetArraySize(lengths); s++)
        data.offset[s + 1] = data.offset[s] + (int64_t)cJSON_GetArrayItem(lengths, s)->valuedouble;
    data.call = (struct wn_linear_call){
        .n_sequences = cJSON_GetArraySize(lengths), .offset = data.offset, .in = data.in, .out = data.out, .y = data.y};
    const float *weights[] = {first, second};
    const struct wn_input_stats stats = {.tokens = 1, .sequences = 1, .width = data.in, .maxima = maxima};
    struct wn_input_task inputs = {
        .name = "block", .width = data.in, .n_linears = 2, .weights = weights, .rows = rows, .stats = &stats};
    CHECK(cJSON_GetArraySize(cases) > 15);
    cJSON_ArrayForEach (one, cases)
        check_case(&golden, one, &data, &inputs);
    cJSON_Delete(lengths);
    cJSON_Delete(cases);
    wn_free(maxima);
    wn_free(first);
    wn_free(second);
    sample_release(&data);
    golden_close(&golden);
}

/* Alpha 1 gives every channel of the inputs the same range, alpha 0 every column of the weights. */
static void check_alpha(void)
{
    struct problem problem;
    struct wn_recipe all = {0}, nothing = {0};
    float maxima[24], scale[24], largest[24] = {0};
    bool scaled;

    problem_init(&problem, 9, 24, 3, 0);
    for (int64_t j = 0; j < 24; j++)
        maxima[j] = (float)sqrt(problem.squares[j]);
    problem.stats.maxima = maxima;
    struct wn_input_task task = {.name = "block",
                                 .width = 24,
                                 .n_linears = 1,
                                 .weights = (const float *[]){problem.weight},
                                 .rows = &problem.rows,
                                 .stats = &problem.stats};
    CHECK_OK(add_stage(&all, "smoothquant", "{\"alpha\": 1}"));
    CHECK_OK(add_stage(&nothing, "smoothquant", "{\"alpha\": 0}"));
    CHECK_OK(wn_recipe_scale_inputs(&all, &task, scale, &scaled));
    for (int64_t j = 0; j < 24; j++)
        CHECK_NEAR(maxima[j] / scale[j], 1, 1e-6);
    CHECK_OK(wn_recipe_scale_inputs(&nothing, &task, scale, &scaled));
    wn_take_column_maxima(problem.weight, problem.rows, 24, largest);
    for (int64_t j = 0; j < 24; j++)
        CHECK_NEAR(largest[j] * scale[j], 1, 1e-6);
    maxima[7] = NAN;
    CHECK(wn_recipe_scale_inputs(&all, &task, scale, &scaled) == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block: the largest input of channel 7");
    problem_release(&problem);
}

/* Codes, scales and weights say the same; bits are counted; what is pruned stays 0. */
static void check_code_form(const char *method)
{
    struct problem problem;
    struct wn_recipe recipe = {0};
    float scale[40];

    problem_init(&problem, 12, 40, 5, 0);
    for (int64_t j = 0; j < 40; j++)
        scale[j] = (float)(0.5 + 0.1 * (double)j);
    problem.stats.scale = scale;
    CHECK_OK(add_stage(&recipe, "magnitude", "{\"sparsity\": 0.5}"));
    CHECK_OK(add_stage(&recipe, method, "{}"));
    CHECK_OK(problem_run(&problem, &recipe));
    check_zeros(&problem);
    for (int64_t i = 0; i < 12 * 40; i++) {
        float step = problem.out.scales[i / 40],
              value = step * ((float)problem.out.codes[i] - problem.out.zeros[i / 40]);
        CHECK(problem.result[i] == value / problem.out.input_scale[i % 40]);
        if (problem.keep[i])
            CHECK(fabsf(problem.result[i] - problem.weight[i]) <= step / scale[i % 40] * 0.5001f);
    }
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 0, 0), 0.5 * 8 + 16.0 / 40 + 1, 1e-12);
    problem_release(&problem);
}

static void check_bad_settings(void)
{
    struct wn_recipe recipe = {0};

    CHECK(add_stage(&recipe, "smoothquant", "{\"alpha\": 1.5}") == WN_ERR_INPUT);
    CHECK_MESSAGE("alpha");
    recipe.n_stages = 0;
    CHECK(add_stage(&recipe, "smoothquant", "{\"bits\": 9}") == WN_ERR_INPUT);
    CHECK_MESSAGE("bits");
    recipe.n_stages = 0;
    CHECK(add_stage(&recipe, "llm_int8", "{\"threshold\": -1}") == WN_ERR_INPUT);
    CHECK_MESSAGE("threshold");
    recipe.n_stages = 0;
    CHECK(add_stage(&recipe, "llm_int8", "{\"outlier_weights\": \"int4\"}") == WN_ERR_INPUT);
    CHECK_MESSAGE("outlier_weights");
}

/* ---- in a block ---- */

/* Norms in front of a branch that nothing else reads: not both branches, nor a router. */
static int norms_with_one_reader(const struct wn_config *config)
{
    const struct wn_decoder *decoder = &config->decoder;

    if (decoder->norm_place == WN_NORM_AFTER || decoder->one_norm)
        return 0;
    return decoder->experts.count ? 1 : 2;
}

/* Vectors divided and columns multiplied leave the outputs of the block as they are, but for rounding. */
static void check_fold(const struct wn_arch *arch, const struct wn_config *config, const struct wn_layout *layout,
                       struct wn_block *block, const struct wn_chunk *chunk)
{
    const int64_t count = chunk->offset[chunk->n_sequences] * config->hidden_size;
    float *before = run_arch(arch, config, block, chunk);
    int folded = 0;

    for (int i = 0; i < layout->n_inputs; i++) {
        const int vector = layout->producer_vector[i], bias = layout->producer_bias[i];
        CHECK(vector >= -1 && vector < layout->n_vectors);
        if (vector < 0)
            continue;
        CHECK(layout->vectors[vector].size == layout->input_widths[i]);
        folded++;
        for (int64_t j = 0; j < layout->input_widths[i]; j++) {
            float scale = expf(2 * draw(11, (uint64_t)i, j));
            block->vectors[vector][j] /= scale;
            if (bias >= 0)
                block->vectors[bias][j] /= scale;
            for (int l = 0; l < layout->n_linears; l++)
                for (int64_t r = 0; layout->linears[l].input == i && r < layout->linears[l].rows; r++)
                    block->linears[l][r * layout->linears[l].columns + j] *= scale;
        }
    }
    float *after = run_arch(arch, config, block, chunk);
    CHECK(folded == norms_with_one_reader(config));
    CHECK(largest_difference(before, after, count) < 2e-5);
    wn_free(before);
    wn_free(after);
}

/* Every linear goes through its rule, with its bias, and sequences do not feel each other. */
static void check_rules(const struct wn_arch *arch, const struct wn_config *config, const struct wn_layout *layout,
                        struct wn_block *block, const struct wn_chunk *chunk)
{
    const int64_t width = config->hidden_size, count = chunk->offset[chunk->n_sequences] * width;
    struct wn_activation *rules[WN_MAX_LINEARS] = {0};
    float *dense = run_arch(arch, config, block, chunk), *last = NULL;

    for (int l = 0; l < layout->n_linears; l++) {
        struct wn_recipe recipe = {0};
        struct problem problem;
        problem_init(&problem, layout->linears[l].rows, layout->linears[l].columns, 1, 0);
        CHECK_OK(add_stage(&recipe, "llm_int8", "{\"threshold\": 1.5}"));
        memcpy(problem.weight, block->linears[l], (size_t)(problem.rows * problem.columns) * sizeof(float));
        CHECK_OK(problem_run(&problem, &recipe));
        rules[l] = problem.out.activation;
        problem.out.activation = NULL;
        block->activations[l] = rules[l];
        problem_release(&problem);
        float *now = run_arch(arch, config, block, chunk);
        CHECK(largest_difference(now, last ? last : dense, count) > 0);
        /* A router that reads other activations may choose another expert for a token. */
        CHECK(config->decoder.experts.count || largest_difference(now, dense, count) < 0.2);
        wn_free(last);
        last = now;
    }
    const int64_t alone[2] = {0, chunk->offset[1]};
    const struct wn_chunk one = {.n_sequences = 1, .offset = alone};
    float *first = run_arch(arch, config, block, &one);
    CHECK(!memcmp(first, last, (size_t)(alone[1] * width) * sizeof(float)));
    for (int l = 0; l < layout->n_linears; l++)
        wn_activation_release(&rules[l]);
    wn_free(first);
    wn_free(last);
    wn_free(dense);
}

static void check_blocks(void)
{
    static const int64_t offset[] = {0, 9, 10, 22};
    const struct wn_chunk chunk = {.n_sequences = 3, .offset = offset};
    int64_t count;
    const struct wn_arch *const *table = wn_arch_table(&count);

    for (int64_t i = 0; i < count; i++) {
        struct wn_layout layout;
        struct wn_block block;
        const struct wn_config config = config_of(table[i]);
        table[i]->describe(&config, &layout);
        block_init(&layout, &block);
        check_rules(table[i], &config, &layout, &block, &chunk);
        memset(block.activations, 0, sizeof block.activations);
        check_fold(table[i], &config, &layout, &block, &chunk);
        block_release(&layout, &block);
    }
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    omp_set_num_threads(2);
    check_golden();
    check_alpha();
    check_code_form("llm_int8");
    check_code_form("smoothquant");
    check_bad_settings();
    check_blocks();
    return test_finish();
}
