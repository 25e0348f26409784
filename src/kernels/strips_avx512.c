/* strips_avx512.c: packed weights of 16 outputs at a time. */
#include "strips.h"

#ifdef __x86_64__
#include <winnow/simd.h>

#define LANES                  16
#define VECTOR                 __m512
#define WHOLE                  __m512i
#define INLINE                 WN_INLINE_AVX512
#define SET1(value)            _mm512_set1_ps(value)
#define SET1_WORD(value)       _mm512_set1_epi32(value)
#define LOAD(from)             _mm512_loadu_ps(from)
#define STORE(to, vector)      _mm512_storeu_ps(to, vector)
#define LOAD_WORDS(from, n)    _mm512_maskz_loadu_epi32((__mmask16)((1U << (n)) - 1), from)
#define TRANSPOSE(words)       turn(words)
#define CAST(words)            _mm512_castsi512_ps(words)
#define AND(a, b)              _mm512_and_si512(a, b)
#define OR(a, b)               _mm512_or_si512(a, b)
#define LEFT(a, n)             _mm512_slli_epi32(a, n)
#define RIGHT(a, n)            _mm512_srli_epi32(a, n)
#define MULTIPLY(a, b)         _mm512_mul_ps(a, b)
#define SUBTRACT(a, b)         _mm512_sub_ps(a, b)
#define FMA(a, b, c)           _mm512_fmadd_ps(a, b, c)
#define TO_FLOAT(codes, width) to_float(codes, width)

INLINE void turn(WHOLE words[LANES])
{
    VECTOR square[LANES];
    for (int i = 0; i < LANES; i++)
        square[i] = _mm512_castsi512_ps(words[i]);
    wn_transpose_avx512(square);
    for (int i = 0; i < LANES; i++)
        words[i] = _mm512_castps_si512(square[i]);
}

/* The table is looked up by the low 4 bits, whatever stands above them: with narrower codes it repeats itself. */
INLINE VECTOR to_float(WHOLE codes, int bits)
{
    const __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i low = _mm512_set1_epi32((1 << bits) - 1);
    if (bits <= 4)
        return _mm512_permutexvar_ps(codes, _mm512_cvtepi32_ps(_mm512_and_si512(numbers, low)));
    return _mm512_cvtepi32_ps(_mm512_and_si512(codes, low));
}

#include "strips_body.h"

WN_AVX512 void strips_avx512(const struct strips *s, int64_t first, int64_t count, const float *x, int64_t rows,
                             float *sums)
{
    RUN_ALL
}
#endif
