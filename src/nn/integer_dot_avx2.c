/* SPDX-License-Identifier: Apache-2.0 */
/* integer_dot_avx2.c: products of 16-bit numbers, as those of bytes (vpmaddubsw) would saturate. */
#include "integer_dot.h"

#ifdef __x86_64__
#include <winnow/simd.h>

#define INLINE WN_INLINE_AVX2

enum { LANES = 16 };

INLINE __m128i load(const void *from)
{
    return _mm_loadu_si128(from);
}

INLINE int32_t sum_of(__m256i lanes)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

/* Two outputs: all sums fit into registers. `rows` is a constant where this is called. */
INLINE void run_two(const uint8_t *w, const int8_t *x, int64_t in, int64_t rows, int32_t *out)
{
    __m256i sums[DOT_ROWS][2];
    int64_t k = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int o = 0; o < 2; o++)
            sums[r][o] = _mm256_setzero_si256();
    for (; k + LANES <= in; k += LANES)
        for (int64_t r = 0; r < rows; r++) {
            const __m256i inputs = _mm256_cvtepi8_epi16(load(x + r * in + k));
            for (int o = 0; o < 2; o++)
                sums[r][o] =
                    _mm256_add_epi32(sums[r][o], _mm256_madd_epi16(_mm256_cvtepu8_epi16(load(w + o * in + k)), inputs));
        }
    for (int64_t r = 0; r < rows; r++)
        for (int o = 0; o < 2; o++) {
            int32_t sum = sum_of(sums[r][o]);
            for (int64_t i = k; i < in; i++)
                sum += w[o * in + i] * x[r * in + i];
            out[r * DOT_OUTPUTS + o] = sum;
        }
}

WN_AVX2 void dot_avx2(const uint8_t *w, const int8_t *x, int64_t in, int64_t rows, int32_t *sums)
{
    for (int o = 0; o < DOT_OUTPUTS; o += 2)
        switch (rows) {
        case 1:
            run_two(w + o * in, x, in, 1, sums + o);
            break;
        case 2:
            run_two(w + o * in, x, in, 2, sums + o);
            break;
        case 3:
            run_two(w + o * in, x, in, 3, sums + o);
            break;
        default:
            run_two(w + o * in, x, in, DOT_ROWS, sums + o);
        }
}
#endif
