/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linears on quantized inputs: against activation.safetensors, which make_activation.py computed with code of its own,
 * against the plain loop, and what must hold whatever the numbers are.
 */
#include "blocks.h"
#include "golden.h"

#include <float.h>
#include <omp.h>

/* ---- the rule alone ---- */

/* A chunk and a linear of integer codes. */
struct sample {
    int64_t n_sequences, rows, in, out;
    int64_t offset[8];
    float *x, *y, *scales, *bias;
    uint8_t *codes;
    struct wn_integer_linear form;
    struct wn_linear_call call;
};

static const int64_t LENGTHS[] = {5, 1, 530, 12}; /* one of more than WN_TILE_ROWS */

/* Every 17th column is large in part of the tokens, and two inputs are exactly at the threshold. */
static void sample_init(struct sample *sample, int64_t out, int64_t in, int bits, double threshold)
{
    *sample = (struct sample){.n_sequences = sizeof LENGTHS / sizeof *LENGTHS, .in = in, .out = out};
    for (int64_t s = 0; s < sample->n_sequences; s++)
        sample->offset[s + 1] = sample->offset[s] + LENGTHS[s];
    sample->rows = sample->offset[sample->n_sequences];
    sample->x = wn_alloc(sample->rows * in, sizeof(float));
    sample->y = wn_alloc(sample->rows * out, sizeof(float));
    sample->codes = wn_alloc(out * in, 1);
    sample->scales = wn_alloc(out, sizeof(float));
    sample->bias = wn_alloc(out, sizeof(float));
    for (int64_t i = 0; i < sample->rows * in; i++)
        sample->x[i] = draw(1, 0, i) * (i % in % 17 == 3 && i % 7 == 0 ? 20.0f : 1.0f);
    for (int64_t i = 0; threshold > 0 && threshold < 1e9 && i < 2; i++)
        sample->x[(7 + i) * in + i % in] = (float)(i ? -threshold : threshold);
    for (int64_t i = 0; i < out * in; i++)
        sample->codes[i] = (uint8_t)((1 << (bits - 1)) + (int)(draw(1, 1, i) * (float)((1 << (bits - 1)) - 1)));
    for (int64_t i = 0; i < out; i++) {
        sample->scales[i] = 0.001f * (2 + draw(1, 2, i));
        sample->bias[i] = draw(1, 3, i);
    }
    sample->form = (struct wn_integer_linear){.rows = out,
                                              .columns = in,
                                              .bits = bits,
                                              .codes = sample->codes,
                                              .zero = 1 << (bits - 1),
                                              .scales = sample->scales,
                                              .threshold = threshold};
    sample->call = (struct wn_linear_call){.n_sequences = sample->n_sequences,
                                           .offset = sample->offset,
                                           .x = sample->x,
                                           .in = in,
                                           .out = out,
                                           .y = sample->y};
}

static void sample_release(struct sample *sample)
{
    wn_free(sample->x);
    wn_free(sample->y);
    wn_free(sample->codes);
    wn_free(sample->scales);
    wn_free(sample->bias);
}

static void run_rule(const struct wn_integer_linear *form, const struct wn_linear_call *call)
{
    struct wn_activation *rule = wn_integer_linear_create(form);

    rule->compute(rule, call);
    wn_activation_release(&rule);
    CHECK(!rule);
}

/* Without outliers and bias the fast way and the plain loop are the same number for number. */
static void check_against_loop(int64_t out, int64_t in, int bits, double threshold)
{
    struct sample sample;

    sample_init(&sample, out, in, bits, threshold);
    const int64_t count = sample.rows * out;
    float *expected = wn_alloc(count, sizeof *expected);
    struct wn_linear_call plain = sample.call;
    plain.y = expected;
    run_rule(&sample.form, &sample.call);
    wn_integer_linear_ref(&sample.form, &plain);
    if (threshold > 0)
        CHECK(largest_difference(sample.y, expected, count) < 1e-4);
    else
        CHECK(!memcmp(sample.y, expected, (size_t)count * sizeof(float)));
    sample.call.bias = plain.bias = sample.bias;
    run_rule(&sample.form, &sample.call);
    wn_integer_linear_ref(&sample.form, &plain);
    CHECK(largest_difference(sample.y, expected, count) < 1e-4);
    wn_free(expected);
    sample_release(&sample);
}

/* Every instruction set gives the bits of the sums in fp32, outliers or not, of few rows and many. */
static void check_kernels(int64_t out, int64_t in, double threshold)
{
    const enum wn_isa widest = wn_isa();
    struct sample sample;
    sample_init(&sample, out, in, 8, threshold);
    const int64_t count = sample.rows * out;
    float *expected = wn_alloc(count, sizeof *expected);
    sample.call.bias = sample.bias;
    sample.x[3 * in] = INFINITY;
    for (int isa = WN_ISA_PLAIN; isa <= (int)widest; isa++) {
        static const char *const names[] = {"sgemm", "avx2", "vnni"};
        wn_isa_limit((enum wn_isa)isa);
#ifdef __x86_64__
        CHECK_TEXT(wn_integer_linear_kernel(), names[isa - (isa == 2 && !__builtin_cpu_supports("avx512vnni"))]);
#else
        CHECK_TEXT(wn_integer_linear_kernel(), names[0]);
#endif
        memset(sample.y, 0, (size_t)count * sizeof *sample.y);
        run_rule(&sample.form, &sample.call);
        if (isa == WN_ISA_PLAIN)
            memcpy(expected, sample.y, (size_t)count * sizeof *expected);
        CHECK(!memcmp(sample.y, expected, (size_t)count * sizeof *expected));
    }
    wn_isa_limit(WN_ISA_AVX512);
    wn_free(expected);
    sample_release(&sample);
}

/* Rounded outputs are the same as those of the loop; of a token they are at most 2^bits - 1 multiples of one step. */
static void check_rounded_outputs(int bits, bool bias)
{
    struct sample sample;
    const int64_t in = 130, out = 700;

    sample_init(&sample, out, in, bits, 0);
    float *expected = wn_alloc(sample.rows * out, sizeof *expected);
    sample.form.round_outputs = true;
    sample.call.bias = bias ? sample.bias : NULL;
    struct wn_linear_call plain = sample.call;
    plain.y = expected;
    run_rule(&sample.form, &sample.call);
    wn_integer_linear_ref(&sample.form, &plain);
    for (int64_t r = 0; r < sample.rows; r++) {
        const float *y = sample.y + r * out;
        double largest = 0, limit = (1 << (bits - 1)) - 1;
        for (int64_t i = 0; i < out; i++)
            largest = fmax(largest, fabs((double)y[i]));
        for (int64_t i = 0; largest > 0 && i < out; i++)
            CHECK_NEAR(y[i] / largest * limit, rint(y[i] / largest * limit), 1e-4);
        CHECK(bias || largest_difference(y, expected + r * out, out) == 0);
        CHECK(largest > 0 || (bits == 2 && !bias)); /* codes of 2 bits are all 0 here */
    }
    wn_free(expected);
    sample_release(&sample);
}

/* Large sums, of rows so long that fp32 alone would round: codes of 100 to 127, and all of them 127. */
static void check_worst_sums(void)
{
    struct sample sample;
    const int64_t out = 5, in = 5001;

    sample_init(&sample, out, in, 8, 0);
    float *expected = wn_alloc(sample.rows * out, sizeof *expected);
    struct wn_linear_call plain = sample.call;
    plain.y = expected;
    for (int64_t i = 0; i < sample.rows * in; i++)
        sample.x[i] = i % in ? rintf(113.5f + 13.5f * draw(2, 0, i)) : 127.0f;
    for (int64_t i = 0; i < out * in; i++)
        sample.codes[i] = (uint8_t)(128 + rintf(113.5f + 13.5f * draw(2, 1, i)));
    run_rule(&sample.form, &sample.call);
    wn_integer_linear_ref(&sample.form, &plain);
    CHECK(!memcmp(sample.y, expected, (size_t)(sample.rows * out) * sizeof(float)));
    wn_free(expected);
    for (int64_t i = 0; i < sample.rows * in; i++)
        sample.x[i] = 127.0f;
    memset(sample.codes, 255, (size_t)(out * in));
    sample.x[0] = 126.0f; /* an odd sum, beyond 2^24 */
    for (int64_t i = 0; i < out; i++)
        sample.scales[i] = 1.0f;
    sample.form.least = 0;
    run_rule(&sample.form, &sample.call);
    CHECK(sample.y[0] == (float)(127.0 * 127 * (double)(in - 1) + 127.0 * 126));
    CHECK(sample.y[out] == (float)(127.0 * 127 * (double)in));
    sample_release(&sample);
}

/* A sequence gives the same bits alone as among others, on any number of threads. */
static void check_packing(int64_t out, int64_t in, double threshold)
{
    struct sample sample;

    sample_init(&sample, out, in, 8, threshold);
    sample.call.bias = sample.bias;
    const int64_t count = sample.rows * out;
    float *packed = wn_alloc(count, sizeof *packed);
    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        run_rule(&sample.form, &sample.call);
        if (threads == 1)
            memcpy(packed, sample.y, (size_t)count * sizeof(float));
        CHECK(!memcmp(packed, sample.y, (size_t)count * sizeof(float)));
    }
    for (int64_t s = 0; s < sample.n_sequences; s++) {
        const int64_t alone[2] = {0, LENGTHS[s]};
        struct wn_linear_call one = sample.call;
        one.n_sequences = 1;
        one.offset = alone;
        one.x = sample.x + sample.offset[s] * in;
        memset(sample.y, 0, (size_t)count * sizeof(float));
        run_rule(&sample.form, &one);
        CHECK(!memcmp(packed + sample.offset[s] * out, sample.y, (size_t)(LENGTHS[s] * out) * sizeof(float)));
    }
    wn_free(packed);
    sample_release(&sample);
}

/* Tokens of a sequence in reverse order give the outputs in reverse order: bits without outliers, else rounding. */
static void check_permutation(double threshold)
{
    struct sample sample;
    const int64_t in = 100, out = 40;

    sample_init(&sample, out, in, 8, threshold);
    const int64_t rows = sample.rows, offset[2] = {0, rows};
    float *x = wn_alloc(rows * in, sizeof *x), *y = wn_alloc(rows * out, sizeof *y);
    struct wn_linear_call call = sample.call;
    sample.call.n_sequences = call.n_sequences = 1;
    sample.call.offset = call.offset = offset;
    for (int64_t r = 0; r < rows; r++)
        memcpy(x + r * in, sample.x + (rows - 1 - r) * in, (size_t)in * sizeof *x);
    call.x = x;
    call.y = y;
    run_rule(&sample.form, &sample.call);
    run_rule(&sample.form, &call);
    for (int64_t r = 0; r < rows; r++) {
        const float *one = y + r * out, *other = sample.y + (rows - 1 - r) * out;
        CHECK(largest_difference(one, other, out) <= (threshold > 0 ? 1e-5 : 0));
    }
    wn_free(x);
    wn_free(y);
    sample_release(&sample);
}

/* Weights 1 on the diagonal hand out the rounded inputs: |t - q(t)| <= absmax / 254. */
static void check_rounding(void)
{
    struct sample sample;
    const int64_t n = 60;

    sample_init(&sample, n, n, 8, 0);
    for (int64_t i = 0; i < n * n; i++)
        sample.codes[i] = (uint8_t)(i / n == i % n ? 255 : 128);
    for (int64_t i = 0; i < n; i++)
        sample.scales[i] = 1.0f / 127.0f;
    run_rule(&sample.form, &sample.call);
    for (int64_t r = 0; r < sample.rows; r++) {
        double largest = 0;
        for (int64_t i = 0; i < n; i++)
            largest = fmax(largest, fabs((double)sample.x[r * n + i]));
        for (int64_t i = 0; i < n; i++)
            CHECK_NEAR(sample.y[r * n + i], sample.x[r * n + i], largest / 254 * (1 + 1e-5));
    }
    sample_release(&sample);
}

/* What is not finite stays with its token, or, as an outlier, in its place; tiny numbers and zeros are just small. */
static void check_odd_inputs(double threshold)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    struct sample sample;
    const int64_t in = 40, out = 10;

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        sample_init(&sample, out, in, 8, threshold);
        sample.x[8 * in + 5] = odd[i];
        run_rule(&sample.form, &sample.call);
        for (int64_t j = 0; j < sample.rows * out; j++)
            CHECK(!isfinite(sample.y[j]) == (j / out == 8));
        sample_release(&sample);
    }
    sample_init(&sample, out, in, 8, threshold);
    for (int64_t j = 0; j < in; j++) {
        sample.x[j] = 0;
        sample.x[in + j] = j % 2 ? FLT_TRUE_MIN * 150 : FLT_MIN;
    }
    run_rule(&sample.form, &sample.call);
    for (int64_t j = 0; j < 2 * out; j++)
        CHECK_NEAR(sample.y[j], 0, j < out ? 0 : 1e-30);
    sample_release(&sample);
}

/* A threshold that nothing reaches is none at all; one that everything reaches leaves the inputs as they are. */
static void check_limits(void)
{
    struct sample sample;
    const int64_t in = 200, out = 30;

    sample_init(&sample, out, in, 8, 0);
    const int64_t count = sample.rows * out;
    float *other = wn_alloc(count, sizeof *other), *weight = wn_alloc(out * in, sizeof *weight);
    run_rule(&sample.form, &sample.call);
    memcpy(other, sample.y, (size_t)count * sizeof *other);
    sample.form.threshold = 1e9;
    run_rule(&sample.form, &sample.call);
    CHECK(!memcmp(sample.y, other, (size_t)count * sizeof *other));
    for (int64_t i = 0; i < out * in; i++)
        weight[i] = sample.scales[i / in] * (float)(sample.codes[i] - 128);
    sample.form.threshold = 1e-12;
    run_rule(&sample.form, &sample.call);
    wn_linear_ref(sample.x, sample.rows, in, weight, out, NULL, other);
    CHECK(largest_difference(sample.y, other, count) < 1e-4);
    wn_free(weight);
    wn_free(other);
    sample_release(&sample);
}

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
    static const int64_t shapes[][2] = {{1, 1}, {7, 33}, {1030, 20}, {20, 1024}, {9, 1025}, {5, 2100}, {64, 200}};

    CHECK_OK(wn_linalg_start());
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int bits = 2; bits <= 8; bits += 3) {
            check_against_loop(shapes[s][0], shapes[s][1], bits, 0);
            check_against_loop(shapes[s][0], shapes[s][1], bits, 3);
        }
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        check_kernels(shapes[s][0], shapes[s][1], 0);
        check_kernels(shapes[s][0], shapes[s][1], 3);
    }
    for (int bits = 2; bits <= 8; bits += 3) {
        check_rounded_outputs(bits, false);
        check_rounded_outputs(bits, true);
    }
    check_worst_sums();
    check_packing(1030, 100, 3);
    check_packing(50, 2100, 1e-9);
    check_packing(64, 64, 0);
    omp_set_num_threads(2);
    check_permutation(0);
    check_permutation(3);
    check_rounding();
    check_odd_inputs(0);
    check_odd_inputs(6);
    check_limits();
    check_golden();
    check_alpha();
    check_code_form("llm_int8");
    check_code_form("smoothquant");
    check_bad_settings();
    check_blocks();
    return test_finish();
}
