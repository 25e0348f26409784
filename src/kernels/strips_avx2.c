/* strips_avx2.c: packed weights of 8 outputs at a time. */
#include "strips.h"

#ifdef __x86_64__
#include <winnow/simd.h>

#define LANES                  8
#define VECTOR                 __m256
#define WHOLE                  __m256i
#define INLINE                 WN_INLINE_AVX2
#define SET1(value)            _mm256_set1_ps(value)
#define SET1_WORD(value)       _mm256_set1_epi32(value)
#define LOAD(from)             _mm256_loadu_ps(from)
#define STORE(to, vector)      _mm256_storeu_ps(to, vector)
#define LOAD_WORDS(from, n)    load_words(from, n)
#define TRANSPOSE(words)       turn(words)
#define CAST(words)            _mm256_castsi256_ps(words)
#define AND(a, b)              _mm256_and_si256(a, b)
#define OR(a, b)               _mm256_or_si256(a, b)
#define LEFT(a, n)             _mm256_slli_epi32(a, n)
#define RIGHT(a, n)            _mm256_srli_epi32(a, n)
#define MULTIPLY(a, b)         _mm256_mul_ps(a, b)
#define SUBTRACT(a, b)         _mm256_sub_ps(a, b)
#define FMA(a, b, c)           _mm256_fmadd_ps(a, b, c)
#define TO_FLOAT(codes, width) to_float(codes, width)

INLINE void turn(WHOLE words[LANES])
{
    VECTOR square[LANES];
    for (int i = 0; i < LANES; i++)
        square[i] = _mm256_castsi256_ps(words[i]);
    wn_transpose_avx2(square);
    for (int i = 0; i < LANES; i++)
        words[i] = _mm256_castps_si256(square[i]);
}

INLINE WHOLE load_words(const uint8_t *from, int64_t count)
{
    const __m256i numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_epi32((const int *)(const void *)from,
                                 _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), numbers));
}

INLINE VECTOR to_float(WHOLE codes, int bits)
{
    return _mm256_cvtepi32_ps(_mm256_and_si256(codes, _mm256_set1_epi32((1 << bits) - 1)));
}

#include "strips_body.h"

WN_AVX2 void strips_avx2(const struct strips *s, int64_t first, int64_t count, const float *x, int64_t rows,
                         float *sums)
{
    RUN_ALL
}
#endif
