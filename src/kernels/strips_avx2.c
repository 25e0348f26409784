/* SPDX-License-Identifier: Apache-2.0 */
/* strips_avx2.c: packed weights of 8 outputs at a time. */
#include "strips.h"

#ifdef __x86_64__
#include <winnow/simd.h>

#include <string.h>

#define LANES                           8
#define VECTOR                          __m256
#define WHOLE                           __m256i
#define INLINE                          WN_INLINE_AVX2
#define FUNCTION                        WN_AVX2
#define SET1(value)                     _mm256_set1_ps(value)
#define SET1_WORD(value)                _mm256_set1_epi32(value)
#define LOAD(from)                      _mm256_loadu_ps(from)
#define STORE(to, vector)               _mm256_storeu_ps(to, vector)
#define LOAD_WORDS(from)                _mm256_loadu_si256((const __m256i *)(const void *)(from))
#define CAST(words)                     _mm256_castsi256_ps(words)
#define CAST_WORDS(vector)              _mm256_castps_si256(vector)
#define AND(a, b)                       _mm256_and_si256(a, b)
#define OR(a, b)                        _mm256_or_si256(a, b)
#define AND_OR(a, b, c)                 OR(AND(a, b), c)
#define LEFT(a, n)                      _mm256_slli_epi32(a, n)
#define RIGHT(a, n)                     _mm256_srli_epi32(a, n)
#define MULTIPLY(a, b)                  _mm256_mul_ps(a, b)
#define DIVIDE(a, b)                    _mm256_div_ps(a, b)
#define SUBTRACT(a, b)                  _mm256_sub_ps(a, b)
#define FMA(a, b, c)                    _mm256_fmadd_ps(a, b, c)
#define F16_OF(words)                   _mm256_cvtph_ps(narrow(words))
#define LOAD4(from)                     _mm256_broadcast_ps((const __m128 *)(const void *)(from))
#define PERMUTE4(vector, places)        _mm256_permutevar_ps(vector, places)
#define PICK(words, number, a, b)       _mm256_blendv_ps(b, a, CAST(_mm256_cmpeq_epi32(words, SET1_WORD(number))))
#define TRANSPOSE(square)               wn_transpose_avx2(square)
#define LOWER_EIGHT(vector)             (vector)
#define EXPAND(mask, from, kind, close) expand(mask, from, kind, close)

/* The low halves of words. */
INLINE __m128i narrow(WHOLE words)
{
    return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/* Lane i of mask m takes number expansion[m][i], or 0 where that is negative. */
static const int8_t expansion[256][8] = {
#define E(m, i) ((m) >> (i)&1 ? __builtin_popcount((m) & ((1 << (i)) - 1)) : -1)
#define E1(m)                                                                                                          \
    {                                                                                                                  \
        E(m, 0), E(m, 1), E(m, 2), E(m, 3), E(m, 4), E(m, 5), E(m, 6), E(m, 7)                                         \
    }
#define E4(m)  E1(m), E1((m) + 1), E1((m) + 2), E1((m) + 3)
#define E16(m) E4(m), E4((m) + 4), E4((m) + 8), E4((m) + 12)
#define E64(m) E16(m), E16((m) + 16), E16((m) + 32), E16((m) + 48)
    E64(0), E64(64), E64(128), E64(192)};

/* Numbers in order to the lanes of the mask, 0 to the others. 8 numbers are read, which the trailer allows. */
INLINE VECTOR expand(unsigned mask, const uint8_t *from, enum wn_packed_kind kind, bool close)
{
    (void)close;
    const __m256i places = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)expansion[mask]));
    const __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)from);
    VECTOR numbers;
    if (kind == WN_PACKED_F32)
        numbers = CAST(LOAD_WORDS(from));
    else if (kind == WN_PACKED_F16)
        numbers = _mm256_cvtph_ps(halves);
    else
        numbers = CAST(LEFT(_mm256_cvtepu16_epi32(halves), 16));
    return CAST(
        _mm256_andnot_si256(_mm256_srai_epi32(places, 31), CAST_WORDS(_mm256_permutevar8x32_ps(numbers, places))));
}

#include "strips_body.h"

/* Columns of a panel to those of rows that are `stride` apart. */
INLINE void put_rows(const float *panel, int64_t count, int64_t stride, float *out)
{
    int64_t c = 0;
    for (; c + LANES <= count; c += LANES)
        for (int lane = 0; lane < STRIP; lane += LANES) {
            VECTOR square[LANES];
            for (int i = 0; i < LANES; i++)
                square[i] = LOAD(panel + (c + i) * STRIP + lane);
            wn_transpose_avx2(square);
            for (int r = 0; r < LANES; r++)
                STORE(out + (lane + r) * stride + c, square[r]);
        }
    for (; c < count; c++)
        for (int r = 0; r < STRIP; r++)
            out[r * stride + c] = panel[c * STRIP + r];
}

WN_AVX2 void strips_avx2(const struct strips *s, int64_t first, int64_t count, const float *x, int64_t rows,
                         float *sums)
{
    run_all(s, first, count, x, rows, sums);
}

WN_AVX2 void strips_unpack_avx2(const struct strips *s, int64_t strip, float *out)
{
    unpack_all(s, strip, out);
}
#endif
