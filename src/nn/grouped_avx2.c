/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grouped_avx2.c: products of bytes are added in pairs in 16 bits, which those of halves of a byte never fill (2 * 15 *
 * 127): a code of more than 4 bits is two such halves.
 */
#include "grouped.h"

#ifdef __x86_64__
#include <winnow/simd.h>

#include <string.h>

#define INLINE WN_INLINE_AVX2

enum { LANES = 8 };

INLINE __m256i four(const int8_t *x)
{
    int32_t codes;

    memcpy(&codes, x, sizeof codes);
    return _mm256_set1_epi32(codes);
}

/* Products of a quad of columns times `factor`. */
INLINE __m256i products_of(__m256i codes, __m256i inputs, int factor)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(codes, inputs), _mm256_set1_epi16((int16_t)factor));
}

INLINE __m256i low_half(__m256i bytes)
{
    return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}

INLINE __m256i high_half(__m256i bytes)
{
    return low_half(_mm256_srli_epi16(bytes, 4));
}

INLINE __m256i load(const uint8_t *from)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)from);
}

/* A run of columns of 8 outputs. */
INLINE void add_run(const uint8_t *codes, bool wide, const int8_t *x, int64_t width, int64_t rows, __m256i *sums)
{
    for (int quad = 0; quad < (wide ? 2 : 1); quad++) {
        const __m256i bytes = load(codes + quad * 64), low = low_half(bytes), high = high_half(bytes);
        for (int64_t r = 0; r < rows; r++) {
            const int8_t *inputs = x + r * width + 4 * quad;
            const __m256i b = wide ? products_of(high, four(inputs), 16) : products_of(high, four(inputs + 4), 1);
            sums[r] = _mm256_add_epi32(sums[r], _mm256_add_epi32(products_of(low, four(inputs), 1), b));
        }
    }
}

/* Outputs lane .. lane + 7 of a strip; `wide` and `rows` are constants where this is called. */
INLINE void run(const struct grouped *g, int64_t strip, int lane, bool wide, const struct grouped_inputs *x,
                int64_t row, int64_t rows, float *out)
{
    const int64_t n_cells = g->n_cells, width = g->width;
    const uint8_t *codes = g->codes + strip * g->strip_bytes + 4 * lane;
    const int8_t *inputs = x->codes + row * width;
    __m256 sums[GROUPED_ROWS];
    __m256i zero = _mm256_set1_epi32(g->zero);

    for (int64_t r = 0; r < rows; r++)
        sums[r] = _mm256_setzero_ps();
    for (int64_t i = 0; i < n_cells; i++) {
        const int64_t at = (strip * g->n_groups + g->cells[i].group) * GROUPED_STRIP + lane;
        __m256i products[GROUPED_ROWS];
        for (int64_t r = 0; r < rows; r++)
            products[r] = _mm256_setzero_si256();
        for (int64_t k = 0; k < g->cells[i].runs; k++) {
            add_run(codes, wide, inputs, width, rows, products);
            codes += wide ? 128 : 64;
            inputs += GROUPED_RUN;
        }
        if (g->zeros)
            zero = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(g->zeros + at)));
        const __m256 scale = _mm256_loadu_ps(g->scales + at);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t cell = (row + r) * n_cells + i;
            const __m256i shift = _mm256_mullo_epi32(zero, _mm256_set1_epi32(x->sums[cell]));
            const __m256 exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(products[r], shift));
            sums[r] = _mm256_fmadd_ps(_mm256_mul_ps(exact, _mm256_set1_ps(x->steps[cell])), scale, sums[r]);
        }
    }
    for (int64_t r = 0; r < rows; r++)
        _mm256_storeu_ps(out + r * GROUPED_STRIP + lane, sums[r]);
}

#define RUN(lane, x, row, rows, sums)                                                                                  \
    if (g->wide)                                                                                                       \
        run(g, strip, lane, true, x, row, rows, sums);                                                                 \
    else                                                                                                               \
        run(g, strip, lane, false, x, row, rows, sums)

WN_AVX2 void grouped_avx2(const struct grouped *g, int64_t strip, const struct grouped_inputs *x, int64_t row,
                          int64_t rows, float *sums)
{
    for (int lane = 0; lane < GROUPED_STRIP; lane += LANES) {
        WN_FOR_ROWS(rows, RUN, lane, x, row, sums)
    }
}
#endif
