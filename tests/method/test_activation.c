/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linears on quantized inputs: the rule alone against the plain loop, and what must hold whatever the numbers are.
 */
#include "activation_sample.h"

#include <float.h>
#include <omp.h>

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
    return test_finish();
}
