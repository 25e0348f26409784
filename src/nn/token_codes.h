/* SPDX-License-Identifier: Apache-2.0 */
/* token_codes.h: inside nn: inputs of a token as codes, and what multiplies them. */
#ifndef WINNOW_NN_TOKEN_CODES_H
#define WINNOW_NN_TOKEN_CODES_H

#include <winnow/linalg.h>

#include <float.h>
#include <string.h>

enum { MAGNITUDE = 0x7fffffff };

static const float ROUND_SHIFT = 12582912.0f; /* 1.5 * 2^23: its binade holds integers, so an addition rounds */

static inline int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Magnitudes of floats are in the order of their bit patterns, infinity and NaN above all. */
static inline int32_t magnitude_of(float x)
{
    return (int32_t)(bits_of(x) & MAGNITUDE);
}

/* The largest magnitude of those up to `most` (a bit pattern; MAGNITUDE: of all, NaN among them). */
static inline float largest_up_to(const float *x, int64_t count, int32_t most)
{
    int32_t largest = 0;
    float value;

#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < count; i++) {
        int32_t size = magnitude_of(x[i]);
        size = size <= most ? size : 0;
        largest = size > largest ? size : largest;
    }
    memcpy(&value, &largest, sizeof value);
    return value;
}

/* Below all normal floats the codes are 0. */
static inline float token_step(float step)
{
    return step >= FLT_MIN ? step : 1.0f;
}

/*
 * Rounds half to even by an addition. What lies in outlier columns (inside 0; NULL: there are none) may be of any size;
 * its bits are masked away.
 */
static inline void code_token(const float *x, int64_t count, float step, const uint8_t *inside, int8_t *codes)
{
    const uint32_t zero = bits_of(ROUND_SHIFT);

    if (inside) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            codes[i] = (int8_t)((bits_of(x[i] / step + ROUND_SHIFT) - zero) & inside[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            codes[i] = (int8_t)(bits_of(x[i] / step + ROUND_SHIFT) - zero);
    }
}

static inline int32_t sum_of_codes(const int8_t *codes, int64_t count)
{
    int32_t sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += codes[i];
    return sum;
}

/* Instructions for exact sums of products of codes; all give the same sums. */
enum code_products { PRODUCTS_PLAIN, PRODUCTS_AVX2, PRODUCTS_VNNI };

static inline enum code_products products_here(void)
{
#ifdef __x86_64__
    if (wn_isa() == WN_ISA_AVX512 && __builtin_cpu_supports("avx512vnni"))
        return PRODUCTS_VNNI;
    if (wn_isa() >= WN_ISA_AVX2)
        return PRODUCTS_AVX2;
#endif
    return PRODUCTS_PLAIN;
}

#endif
