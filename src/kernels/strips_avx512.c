/* SPDX-License-Identifier: Apache-2.0 */
/* strips_avx512.c: packed weights of 16 outputs at a time. */
#include "strips.h"

#ifdef __x86_64__
#include <winnow/simd.h>

#include <string.h>

#define LANES                           16
#define VECTOR                          __m512
#define WHOLE                           __m512i
#define INLINE                          WN_INLINE_AVX512
#define FUNCTION                        WN_AVX512
#define SET1(value)                     _mm512_set1_ps(value)
#define SET1_WORD(value)                _mm512_set1_epi32(value)
#define LOAD(from)                      _mm512_loadu_ps(from)
#define STORE(to, vector)               _mm512_storeu_ps(to, vector)
#define LOAD_WORDS(from)                _mm512_loadu_si512(from)
#define CAST(words)                     _mm512_castsi512_ps(words)
#define CAST_WORDS(vector)              _mm512_castps_si512(vector)
#define AND(a, b)                       _mm512_and_si512(a, b)
#define OR(a, b)                        _mm512_or_si512(a, b)
#define AND_OR(a, b, c)                 _mm512_ternarylogic_epi32(a, b, c, 0xea)
#define LEFT(a, n)                      _mm512_slli_epi32(a, n)
#define RIGHT(a, n)                     _mm512_srli_epi32(a, n)
#define MULTIPLY(a, b)                  _mm512_mul_ps(a, b)
#define DIVIDE(a, b)                    _mm512_div_ps(a, b)
#define SUBTRACT(a, b)                  _mm512_sub_ps(a, b)
#define FMA(a, b, c)                    _mm512_fmadd_ps(a, b, c)
#define F16_OF(words)                   _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words))
#define LOAD4(from)                     _mm512_broadcast_f32x4(_mm_loadu_ps(from))
#define PERMUTE4(vector, places)        _mm512_permutevar_ps(vector, places)
#define PICK(words, number, a, b)       _mm512_mask_mov_ps(b, _mm512_cmpeq_epi32_mask(words, SET1_WORD(number)), a)
#define TRANSPOSE(square)               wn_transpose_avx512(square)
#define LOWER_EIGHT(vector)             _mm512_castps512_ps256(vector)
#define EXPAND(mask, from, kind, close) expand((__mmask16)(mask), from, kind, close)

/* Numbers in order to the lanes of the mask, 0 to the others. Of halves 32 bytes are read, which the trailer allows. */
INLINE VECTOR expand(__mmask16 mask, const uint8_t *from, enum wn_packed_kind kind, bool close)
{
    if (kind == WN_PACKED_F32)
        return close ? _mm512_maskz_expandloadu_ps(mask, from) : _mm512_maskz_expand_ps(mask, _mm512_loadu_ps(from));
    const __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)from);
    if (kind == WN_PACKED_F16)
        return _mm512_maskz_expand_ps(mask, _mm512_cvtph_ps(halves));
    const __m512i upper = _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7, 0, 6, 0, 5, 0, 4, 0,
                                           3, 0, 2, 0, 1, 0, 0, 0);
    return CAST(_mm512_maskz_expand_epi32(
        mask, _mm512_maskz_permutexvar_epi16(0xAAAAAAAA, upper, _mm512_castsi256_si512(halves))));
}

#include "strips_body.h"

/* Columns of a panel to those of rows that are `stride` apart. */
INLINE void put_rows(const float *panel, int64_t count, int64_t stride, float *out)
{
    for (int64_t c = 0; c < count; c += STRIP) {
        const __mmask16 there = (__mmask16)((1U << (count - c < STRIP ? count - c : STRIP)) - 1);
        VECTOR square[STRIP];
        for (int i = 0; i < STRIP; i++)
            square[i] = LOAD(panel + (c + i) * STRIP);
        wn_transpose_avx512(square);
        for (int r = 0; r < STRIP; r++)
            _mm512_mask_storeu_ps(out + r * stride + c, there, square[r]);
    }
}

WN_AVX512 void strips_avx512(const struct strips *s, int64_t first, int64_t count, const float *x, int64_t rows,
                             float *sums)
{
    run_all(s, first, count, x, rows, sums);
}

WN_AVX512 void strips_unpack_avx512(const struct strips *s, int64_t strip, float *out)
{
    unpack_all(s, strip, out);
}
#endif
