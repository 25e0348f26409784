/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linears on grouped codes and rounded inputs: against the plain loop, on every instruction set, in any company, as
 * bytes, and as the methods make them.
 */
#include "blocks.h"
#include "recipes.h"

#include <omp.h>

static const int64_t LENGTHS[] = {5, 1, 12, 3};

/* A chunk and a linear of grouped codes. */
struct sample {
    int64_t rows, offset[8];
    float *x, *y, *scales, *zeros, *bias;
    uint8_t *codes;
    struct wn_grouped_linear form;
    struct wn_linear_call call;
};

/* One input in 23 is far larger than the others. */
static void open_sample(struct sample *sample, struct wn_grouped_linear form, bool same_zeros)
{
    *sample = (struct sample){.form = form};
    const int64_t n = sizeof LENGTHS / sizeof *LENGTHS, in = form.columns, out = form.rows;
    struct wn_grouped_linear *made = &sample->form;
    made->n_groups = (in + form.group - 1) / form.group;
    for (int64_t s = 0; s < n; s++)
        sample->offset[s + 1] = sample->offset[s] + LENGTHS[s];
    sample->rows = sample->offset[n];
    sample->x = wn_alloc(sample->rows * in, sizeof(float));
    sample->y = wn_alloc(sample->rows * out, sizeof(float));
    sample->codes = wn_alloc(out * in, 1);
    sample->scales = wn_alloc(out * made->n_groups, sizeof(float));
    sample->zeros = wn_alloc(out * made->n_groups, sizeof(float));
    sample->bias = wn_alloc(out, sizeof(float));
    for (int64_t i = 0; i < sample->rows * in; i++)
        sample->x[i] = draw(1, 0, i) * (i % 23 == 5 ? 40.0f : 1.0f);
    for (int64_t i = 0; i < out * in; i++)
        sample->codes[i] = (uint8_t)((1 + (double)draw(1, 1, i)) / 2 * (1 << form.bits));
    for (int64_t i = 0; i < out * made->n_groups; i++) {
        const int levels = (1 << form.bits) - 1;
        sample->scales[i] = 0.001f * (2 + draw(1, 2, i));
        sample->zeros[i] = (float)(same_zeros ? (levels + 1) / 2 : i * 7 % (levels + 1));
    }
    for (int64_t i = 0; i < out; i++)
        sample->bias[i] = draw(1, 3, i);
    made->codes = sample->codes;
    made->scales = sample->scales;
    made->zeros = sample->zeros;
    sample->call = (struct wn_linear_call){
        .n_sequences = n, .offset = sample->offset, .x = sample->x, .in = in, .out = out, .y = sample->y};
}

static void close_sample(struct sample *sample)
{
    wn_free(sample->x);
    wn_free(sample->y);
    wn_free(sample->codes);
    wn_free(sample->scales);
    wn_free(sample->zeros);
    wn_free(sample->bias);
}

static void run_rule(const struct wn_grouped_linear *form, const struct wn_linear_call *call)
{
    struct wn_activation *rule = wn_grouped_linear_create(form);

    rule->compute(rule, call);
    wn_activation_release(&rule);
}

/* Every instruction set gives the bits of the plain one, and all are near the loop in double, which rounds once. */
static void check_kernels(struct wn_grouped_linear form, bool same_zeros)
{
    static const char *const names[] = {"c", "avx2", "vnni"};
    const enum wn_isa widest = wn_isa();
    struct sample sample;

    open_sample(&sample, form, same_zeros);
    const int64_t count = sample.rows * form.rows;
    float *expected = wn_alloc(count, sizeof *expected), *plain = wn_alloc(count, sizeof *plain);
    struct wn_linear_call call = sample.call;
    sample.call.bias = call.bias = sample.bias;
    call.y = expected;
    wn_grouped_linear_ref(&sample.form, &call);
    for (int isa = WN_ISA_PLAIN; isa <= (int)widest; isa++) {
        wn_isa_limit((enum wn_isa)isa);
#ifdef __x86_64__
        CHECK_TEXT(wn_grouped_linear_kernel(), names[isa - (isa == 2 && !__builtin_cpu_supports("avx512vnni"))]);
#else
        CHECK_TEXT(wn_grouped_linear_kernel(), names[0]);
#endif
        memset(sample.y, 0, (size_t)count * sizeof *sample.y);
        run_rule(&sample.form, &sample.call);
        CHECK(largest_difference(sample.y, expected, count) < 1e-4);
        if (isa == WN_ISA_PLAIN)
            memcpy(plain, sample.y, (size_t)count * sizeof *plain);
        CHECK(!memcmp(sample.y, plain, (size_t)count * sizeof *plain));
    }
    wn_isa_limit(WN_ISA_AVX512);
    wn_free(plain);
    wn_free(expected);
    close_sample(&sample);
}

/* All codes and inputs at their ends, where 16 bits would overflow, in as long a piece as there is. */
static void check_worst_sums(void)
{
    const int64_t in = 70000, out = 3;
    struct sample sample;

    const struct wn_grouped_linear form = {
        .rows = out, .columns = in, .bits = 8, .input_bits = 8, .group = in, .input_group = in};
    open_sample(&sample, form, true);
    for (int64_t i = 0; i < sample.rows * in; i++)
        sample.x[i] = 127;
    memset(sample.codes, 255, (size_t)(out * in));
    for (int64_t i = 0; i < out; i++) {
        sample.scales[i] = 1;
        sample.zeros[i] = 0;
    }
    for (int isa = WN_ISA_PLAIN; isa <= WN_ISA_AVX512; isa++) {
        wn_isa_limit((enum wn_isa)isa);
        run_rule(&sample.form, &sample.call);
        for (int64_t i = 0; i < sample.rows * out; i++)
            CHECK(sample.y[i] == (float)(255 * 127) * 65536.0f + (float)(255 * 127) * 4464.0f);
    }
    wn_isa_limit(WN_ISA_AVX512);
    close_sample(&sample);
}

/* A token gives the same bits alone, and on any number of threads. */
static void check_company(void)
{
    const struct wn_grouped_linear form = {
        .rows = 700, .columns = 576, .bits = 4, .input_bits = 8, .group = 64, .input_group = 32};
    const int before = omp_get_max_threads();
    const int64_t one[] = {0, 1};
    struct sample sample;

    open_sample(&sample, form, false);
    const int64_t count = sample.rows * form.rows;
    float *alone = wn_alloc(count, sizeof *alone), *threads = wn_alloc(count, sizeof *threads);
    run_rule(&sample.form, &sample.call);
    for (int64_t r = 0; r < sample.rows; r++) {
        struct wn_linear_call call = sample.call;
        call.n_sequences = 1;
        call.offset = one;
        call.x += r * form.columns;
        call.y = alone + r * form.rows;
        run_rule(&sample.form, &call);
    }
    CHECK(!memcmp(alone, sample.y, (size_t)count * sizeof *alone));
    struct wn_linear_call call = sample.call;
    call.y = threads;
    test_set_threads(3);
    run_rule(&sample.form, &call);
    omp_set_num_threads(before);
    CHECK(!memcmp(threads, sample.y, (size_t)count * sizeof *threads));
    wn_free(threads);
    wn_free(alone);
    close_sample(&sample);
}

/* A token with an input that is no number has no outputs, the others have theirs. Inputs of 0 give the bias. */
static void check_odd_inputs(void)
{
    const struct wn_grouped_linear form = {
        .rows = 20, .columns = 40, .bits = 3, .input_bits = 8, .group = 20, .input_group = 32};
    struct sample sample;

    open_sample(&sample, form, false);
    sample.call.bias = sample.bias;
    sample.x[3 * 40 + 2] = INFINITY;
    memset(&sample.x[7 * 40], 0xff, sizeof(float)); /* the NaN of all bits */
    memset(sample.x + 5 * 40, 0, 40 * sizeof(float));
    for (int way = 0; way < 2; way++) {
        if (way == 0)
            run_rule(&sample.form, &sample.call);
        else
            wn_grouped_linear_ref(&sample.form, &sample.call);
        for (int64_t r = 0; r < sample.rows; r++)
            for (int64_t o = 0; o < 20; o++)
                CHECK(r == 3 || r == 7 ? isnan(sample.y[r * 20 + o])
                      : r == 5         ? sample.y[r * 20 + o] == sample.bias[o]
                                       : isfinite(sample.y[r * 20 + o]));
    }
    close_sample(&sample);
}

/* A rule as bytes is the rule. */
static void check_bytes(int bits, bool same_zeros)
{
    const struct wn_grouped_linear form = {
        .rows = 37, .columns = 100, .bits = bits, .input_bits = 6, .group = 24, .input_group = 100};
    struct sample sample;

    open_sample(&sample, form, same_zeros);
    const int64_t count = sample.rows * form.rows;
    float *again = wn_alloc(count, sizeof *again);
    struct wn_activation *rule = wn_grouped_linear_create(&sample.form);
    const int64_t size = wn_grouped_linear_write(rule, NULL);
    uint8_t *bytes = wn_alloc(size, 1);
    const uint8_t *at = bytes;
    CHECK(size <= wn_grouped_linear_bytes(&sample.form));
    CHECK(wn_grouped_linear_write(rule, bytes) == size);
    struct wn_activation *copy = wn_grouped_linear_read(&at);
    CHECK(at == bytes + size && wn_grouped_linear_form(copy)->input_bits == 6);
    struct wn_linear_call call = sample.call;
    call.y = again;
    rule->compute(rule, &sample.call);
    copy->compute(copy, &call);
    CHECK(!memcmp(again, sample.y, (size_t)count * sizeof *again));
    wn_activation_release(&copy);
    wn_activation_release(&rule);
    wn_free(bytes);
    wn_free(again);
    close_sample(&sample);
}

/* ---- as methods make it ---- */

enum { ROWS = 48, COLUMNS = 96, TOKENS = 6 };

static void run_method(struct problem *problem, const char *method, const char *settings)
{
    problem_init(problem, ROWS, COLUMNS, 7, 0);
    CHECK_OK(problem_run_one(problem, method, settings));
}

/* How far the outputs of the rule are from those of the weights, relative. */
static double distance(const struct wn_compressed *made)
{
    const int64_t offset[] = {0, TOKENS};
    float x[TOKENS * COLUMNS], y[TOKENS * ROWS], plain[TOKENS * ROWS];
    const struct wn_linear_call call = {.n_sequences = 1, .offset = offset, .x = x, .in = COLUMNS, .out = ROWS, .y = y};

    for (int64_t i = 0; i < TOKENS * COLUMNS; i++)
        x[i] = draw(3, 0, i) * (i % COLUMNS == 3 ? 20.0f : 1.0f);
    made->activation->compute(made->activation, &call);
    wn_linear_ref(x, TOKENS, COLUMNS, made->weight, ROWS, NULL, plain);
    return sqrt(wn_sum_squared_difference(y, plain, TOKENS * ROWS) /
                wn_sum_squared_difference(plain, NULL, TOKENS * ROWS));
}

/* The weights are those without rounded inputs; outputs are nearer with more bits, and with a step for fewer inputs. */
static void check_method(const char *method, const char *group)
{
    static const char *const inputs[] = {"\"input_bits\": 8", "\"input_bits\": 8, \"input_group\": \"token\"",
                                         "\"input_bits\": 3"};
    struct problem plain, rounded;
    char settings[160];
    double off[3];

    snprintf(settings, sizeof settings, "{\"bits\": 4, \"group\": %s}", group);
    run_method(&plain, method, settings);
    CHECK(!plain.out.activation);
    for (int i = 0; i < 3; i++) {
        snprintf(settings, sizeof settings, "{\"bits\": 4, \"group\": %s, %s}", group, inputs[i]);
        run_method(&rounded, method, settings);
        CHECK(largest_difference(rounded.out.weight, plain.out.weight, ROWS * COLUMNS) == 0);
        CHECK(rounded.out.activation != NULL);
        off[i] = distance(&rounded.out);
        problem_release(&rounded);
    }
    CHECK(off[0] > 0 && off[0] < 0.015 && off[1] > 1.3 * off[0] && off[1] < 0.03 && off[2] > 5 * off[1]);
    problem_release(&plain);
}

/* What does not go together is said, and a step without rounded inputs is no choice. */
static void check_settings(void)
{
    struct wn_recipe recipe = {0};
    struct wn_text text = {0};

    CHECK(add_stage(&recipe, "gptq", "{\"bits\": 4, \"group\": 32, \"act_order\": true, \"input_bits\": 8}") ==
          WN_ERR_INPUT);
    CHECK(strstr(wn_error_message(), "input_bits: groups of act_order"));
    recipe.n_stages = 0;
    CHECK_OK(
        add_stage(&recipe, "gptq",
                  "{\"bits\": 4, \"group\": 32, \"act_order\": true, \"static_groups\": true, \"input_bits\": 8}"));
    recipe.n_stages = 0;
    CHECK_OK(add_stage(&recipe, "rtn", "{\"bits\": 4, \"input_group\": 64}"));
    wn_params_describe(&recipe.stages[0].params, &text);
    CHECK(!strstr(text.data, "input"));
    wn_free(text.data);
}

int main(void)
{
    check_kernels(
        (struct wn_grouped_linear){
            .rows = 64, .columns = 576, .bits = 4, .input_bits = 8, .group = 32, .input_group = 32},
        true);
    check_kernels(
        (struct wn_grouped_linear){
            .rows = 45, .columns = 200, .bits = 4, .input_bits = 8, .group = 48, .input_group = 32},
        false);
    check_kernels(
        (struct wn_grouped_linear){
            .rows = 5, .columns = 103, .bits = 2, .input_bits = 4, .group = 7, .input_group = 103},
        false);
    check_kernels(
        (struct wn_grouped_linear){
            .rows = 33, .columns = 96, .bits = 8, .input_bits = 8, .group = 96, .input_group = 20},
        false);
    check_worst_sums();
    check_company();
    check_odd_inputs();
    check_bytes(4, true);
    check_bytes(5, false);
    check_method("rtn", "32");
    check_method("rtn", "\"tensor\"");
    check_method("gptq", "\"channel\"");
    check_settings();
    return test_finish();
}
