/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linears on quantized inputs (LLM.int8(), SmoothQuant) against fp32 weights in the same run, one thread.
 *
 *     bench_integer [out in [repetitions]]
 *
 * Every call finds its weights in no cache; times are of the processor, ratios medians over pairs with the same linear
 * on fp32 weights: by few rows up to 32 rows, by wn_linear above. The inputs are rounded within the time.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include <winnow/linalg.h>
#include <winnow/nn.h>

#include "clock.h"

enum { FLUSH = 32 << 20, MOST_PAIRS = 101, MOST_ROWS = 512 };

static float *flush;

static void empty_caches(void)
{
    for (int64_t i = 0; i < FLUSH; i++)
        flush[i] += 1;
}

static double time_dense(const float *w, int64_t out, int64_t in, const float *x, int64_t rows, float *y)
{
    empty_caches();
    const double start = seconds_now(1);
    if (rows <= 32)
        wn_linear_few_rows(x, rows, in, w, out, NULL, y, out);
    else
        wn_linear(x, rows, in, w, out, NULL, y);
    return seconds_now(1) - start;
}

static double time_rule(const struct wn_activation *rule, int64_t out, int64_t in, const float *x, int64_t rows,
                        float *y)
{
    int64_t offset[MOST_ROWS + 1];
    for (int64_t r = 0; r <= rows; r++)
        offset[r] = r;
    const struct wn_linear_call call = {.n_sequences = rows, .offset = offset, .x = x, .in = in, .out = out, .y = y};
    empty_caches();
    const double start = seconds_now(1);
    rule->compute(rule, &call);
    return seconds_now(1) - start;
}

static void bench(enum wn_isa isa, const struct wn_activation *rule, int64_t out, int64_t in, int pairs,
                  const float *dense, const float *x, float *y)
{
    static const int64_t counts[] = {1, 4, 8, 32, MOST_ROWS};
    double times[MOST_PAIRS], ratios[MOST_PAIRS];
    wn_isa_limit(isa);
    printf("%-6s", wn_integer_linear_kernel());
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        for (int i = 0; i < pairs; i++) {
            wn_isa_limit(WN_ISA_AVX512);
            const double reference = time_dense(dense, out, in, x, counts[c], y);
            wn_isa_limit(isa);
            times[i] = time_rule(rule, out, in, x, counts[c], y);
            ratios[i] = reference / times[i];
        }
        printf(" | %3lld: %8.3f ms %5.2f x", (long long)counts[c], 1e3 * median(times, pairs), median(ratios, pairs));
    }
    printf("\n");
    fflush(stdout);
    wn_isa_limit(WN_ISA_AVX512);
}

int main(int argc, char **argv)
{
    const int64_t out = argc > 2 ? atoll(argv[1]) : 4096, in = argc > 2 ? atoll(argv[2]) : 4096;
    const int pairs = argc > 3 ? atoi(argv[3]) : 5;
    if (out < 1 || in < 1 || pairs < 1 || pairs > MOST_PAIRS || wn_linalg_start() != WN_OK) {
        fprintf(stderr, "usage: bench_integer [out in [repetitions]]\n");
        return 2;
    }
    use_cpu_time = true;
    omp_set_num_threads(1);
    flush = wn_alloc_zero(FLUSH, sizeof *flush);
    float *dense = wn_alloc(out * in, sizeof *dense), *x = wn_alloc(MOST_ROWS * in, sizeof *x);
    float *y = wn_alloc(MOST_ROWS * out, sizeof *y), *scales = wn_alloc(out, sizeof *scales);
    uint8_t *codes = wn_alloc(out * in, 1);
    for (int64_t i = 0; i < out * in; i++) {
        codes[i] = (uint8_t)(1 + wn_random_u64(1, 0, (uint64_t)i) % 255);
        dense[i] = (float)(codes[i] - 128) / 127;
    }
    for (int64_t i = 0; i < MOST_ROWS * in; i++)
        x[i] = (float)(2 * wn_random_uniform(2, 0, (uint64_t)i) - 1);
    for (int64_t i = 0; i < out; i++)
        scales[i] = 1.0f / 127;
    const struct wn_integer_linear form = {
        .rows = out, .columns = in, .bits = 8, .codes = codes, .zero = 128, .scales = scales, .least = 1e-5};
    struct wn_activation *rule = wn_integer_linear_create(&form);
    printf("%lld x %lld, codes of 8 bits; rows: time, times as fast as fp32\n", (long long)out, (long long)in);
    for (int isa = WN_ISA_PLAIN; isa <= (int)WN_ISA_AVX512; isa++)
        bench((enum wn_isa)isa, rule, out, in, pairs, dense, x, y);
    wn_activation_release(&rule);
    wn_free(codes);
    wn_free(scales);
    wn_free(y);
    wn_free(x);
    wn_free(dense);
    wn_free(flush);
    return 0;
}
