/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed linears on few rows against fp32 weights in the same run, one thread.
 *
 *     bench_few_rows [out in [repetitions [name]]]
 *
 * name: only forms that begin so. Every call finds its weights in no cache: as many bytes as four times the third cache
 * may have are read before. A call on fp32 weights stands before each call on a form; times are of the processor,
 * ratios medians over pairs. "read": the fastest of reading the fp32 weights from start to end and of eight streams;
 * share: of that rate, what a call reads. The first forms are the fp32 weights themselves, on each instruction set.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include <winnow/kernels.h>

#include "../kernels/make_linear.h"
#include "clock.h"

enum { FLUSH = 32 << 20, MOST_PAIRS = 101 }; /* floats */

static const struct form {
    const char *name;
    struct made made;
    enum wn_isa isa;
} forms[] = {
    {"fp32", {.bits = 32}, WN_ISA_AVX512},
    {"fp32 avx2", {.bits = 32}, WN_ISA_AVX2},
    {"bf16", {.bits = 16}, WN_ISA_AVX512},
    {"bf16 avx2", {.bits = 16}, WN_ISA_AVX2},
    {"8 bits, rows", {.bits = 8, .group = -1}, WN_ISA_AVX512},
    {"8 bits, rows avx2", {.bits = 8, .group = -1}, WN_ISA_AVX2},
    {"4 bits g128", {.bits = 4, .group = 128}, WN_ISA_AVX512},
    {"4 bits g128 avx2", {.bits = 4, .group = 128}, WN_ISA_AVX2},
    {"4 bits g128 symmetric", {.bits = 4, .group = 128, .symmetric = true}, WN_ISA_AVX512},
    {"3 bits g128", {.bits = 3, .group = 128}, WN_ISA_AVX512},
    {"2 bits g128", {.bits = 2, .group = 128}, WN_ISA_AVX512},
    {"3 bits g16 spqr", {.bits = 3, .group = 16, .ordered = true, .broken = true, .outliers = 10}, WN_ISA_AVX512},
    {"4 bits g128 act order", {.bits = 4, .group = 128, .ordered = true}, WN_ISA_AVX512},
    {"4 bits g128 awq", {.bits = 4, .group = 128, .scaled = true}, WN_ISA_AVX512},
    {"2:4 bf16", {.bits = 16, .kept = 2, .run = 4}, WN_ISA_AVX512},
    {"2:4 bf16 avx2", {.bits = 16, .kept = 2, .run = 4}, WN_ISA_AVX2},
    {"2:4 fp32", {.bits = 32, .kept = 2, .run = 4}, WN_ISA_AVX512},
    {"50 % zeros bf16", {.bits = 16, .zeros = 50}, WN_ISA_AVX512},
    {"50 % zeros fp32", {.bits = 32, .zeros = 50}, WN_ISA_AVX512},
    {"70 % zeros bf16", {.bits = 16, .zeros = 70}, WN_ISA_AVX512},
    {"70 % zeros fp32", {.bits = 32, .zeros = 70}, WN_ISA_AVX512},
    {"90 % zeros bf16", {.bits = 16, .zeros = 90}, WN_ISA_AVX512},
    {"90 % zeros fp32", {.bits = 32, .zeros = 90}, WN_ISA_AVX512},
    {"90 % zeros fp32 avx2", {.bits = 32, .zeros = 90}, WN_ISA_AVX2},
};

static float *flush;

static float sum_of(const float *x, int64_t count)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += x[i];
    return sum;
}

static double read_all(const float *x, int64_t count)
{
    enum { PIECE = 4096 };
    double sum = 0, start = seconds_now(1);
    for (int64_t i = 0; i < count; i += PIECE)
        sum += sum_of(x + i, count - i < PIECE ? count - i : PIECE);
    const double seconds = seconds_now(1) - start;
    return sum == 12345 ? 0 : seconds; /* the sum is used */
}

static void empty_caches(void)
{
    read_all(flush, FLUSH);
}

static double time_dense(const float *w, int64_t out, int64_t in, const float *x, int64_t rows, float *y)
{
    empty_caches();
    const double start = seconds_now(1);
    wn_linear_few_rows(x, rows, in, w, out, NULL, y, out);
    return seconds_now(1) - start;
}

static double time_form(const struct wn_packed_linear *linear, int64_t out, const float *x, int64_t rows, float *y)
{
    empty_caches();
    const double start = seconds_now(1);
    wn_packed_linear_apply(linear, x, rows, NULL, y, out);
    return seconds_now(1) - start;
}

static void bench(const struct form *form, int64_t out, int64_t in, int pairs, const float *dense, const float *x,
                  float *y, double rate)
{
    static const int64_t counts[] = {1, 4, 8, 32};
    double times[MOST_PAIRS], ratios[MOST_PAIRS];
    float *weights = wn_alloc(out * in, sizeof *weights);
    struct wn_packed packed;
    struct made made = form->made;
    made.group = made.group < 0 ? in : made.group;
    make_linear(&made, out, in, 3, weights, &packed);
    wn_isa_limit(form->isa);
    struct wn_packed_linear *linear = wn_packed_linear_create(&packed);
    const bool is_dense = made.bits == 32 && !made.run && !made.zeros;
    printf("%-22s %-18s", form->name, is_dense ? wn_isa_name(wn_isa()) : wn_packed_linear_kernel(linear));
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int64_t bytes = is_dense ? out * in * 4 : wn_packed_linear_bytes(linear, counts[c]);
        for (int i = 0; i < pairs; i++) {
            wn_isa_limit(WN_ISA_AVX512);
            const double reference = time_dense(dense, out, in, x, counts[c], y);
            wn_isa_limit(form->isa);
            times[i] =
                is_dense ? time_dense(weights, out, in, x, counts[c], y) : time_form(linear, out, x, counts[c], y);
            ratios[i] = reference / times[i];
        }
        const double seconds = median(times, pairs);
        printf(" | %2lld: %6.3f ms %5.2f x %3.0f%%", (long long)counts[c], 1e3 * seconds, median(ratios, pairs),
               100 * (double)bytes / seconds / rate);
    }
    printf("\n");
    fflush(stdout);
    wn_isa_limit(WN_ISA_AVX512);
    wn_packed_linear_destroy(&linear);
    wn_free(weights);
}

int main(int argc, char **argv)
{
    const int64_t out = argc > 2 ? atoll(argv[1]) : 4096, in = argc > 2 ? atoll(argv[2]) : 4096;
    const int pairs = argc > 3 ? atoi(argv[3]) : 9;
    if (out < 1 || in < 1 || pairs < 1 || pairs > MOST_PAIRS) {
        fprintf(stderr, "usage: bench_few_rows [out in [repetitions [name]]]\n");
        return 2;
    }
    use_cpu_time = true;
    omp_set_num_threads(1);
    flush = wn_alloc_zero(FLUSH, sizeof *flush);
    float *dense = wn_alloc(out * in, sizeof *dense), *x = wn_alloc(32 * in, sizeof *x);
    float *y = wn_alloc(32 * out, sizeof *y);
    double fastest = 1;
    for (int64_t i = 0; i < out * in; i++)
        dense[i] = made_number(1, i);
    for (int64_t i = 0; i < 32 * in; i++)
        x[i] = made_number(2, i);
    for (int i = 0; i < FLUSH; i++)
        flush[i] = 1;
    for (int i = 0; i < pairs; i++) {
        const double seconds = read_all(flush, FLUSH);
        fastest = seconds < fastest ? seconds : fastest;
    }
    const double rate = FLUSH * 4.0 / fastest;
    printf("%lld x %lld, read %.1f GB/s; rows: time, times as fast as fp32, share of reading\n", (long long)out,
           (long long)in, rate / 1e9);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (argc <= 4 || !strncmp(forms[i].name, argv[4], strlen(argv[4])))
            bench(&forms[i], out, in, pairs, dense, x, y, rate);
    wn_free(flush);
    wn_free(dense);
    wn_free(x);
    wn_free(y);
    return 0;
}
