/* SPDX-License-Identifier: Apache-2.0 */
/* few_rows_avx2.c: kernels for few rows, 8 lanes. */
#include "few_rows.h"

#ifdef __x86_64__
#include <winnow/simd.h>

enum { LANES = 8, COLUMNS = 3 };

/* Columns 0 .. count - 1 of a square, for `rows` rows of x, which lie in strips. */
WN_INLINE_AVX2 void add_square(const __m256 *square, const float *x, int64_t rows, int count, __m256 *sums)
{
    for (int c = 0; c < count; c++)
        for (int64_t r = 0; r < rows; r++)
            sums[r] = _mm256_fmadd_ps(square[c], _mm256_set1_ps(x[r * FEW_STRIP + c]), sums[r]);
}

/* Half a strip, square by square: 8 outputs by 8 columns, turned in registers. The half two behind it is fetched
 * meanwhile. */
WN_INLINE_AVX2 void run_half(const float *w, int64_t in, const float *x, int64_t rows, float *out)
{
    __m256 square[LANES], sums[FEW_NARROW];
    for (int64_t r = 0; r < rows; r++)
        sums[r] = _mm256_setzero_ps();
    int64_t k = 0;
    for (; k + LANES <= in; k += LANES) {
        for (int o = 0; o < LANES; o++) {
            square[o] = _mm256_loadu_ps(w + o * in + k);
            _mm_prefetch((const char *)(w + (o + 2 * LANES) * in + k), _MM_HINT_T1);
        }
        wn_transpose_avx2(square);
        add_square(square, x + k / FEW_STRIP * FEW_STRIP * rows + k % FEW_STRIP, rows, LANES, sums);
    }
    for (; k < in; k++) {
        const __m256 column = _mm256_setr_ps(w[k], w[in + k], w[2 * in + k], w[3 * in + k], w[4 * in + k],
                                             w[5 * in + k], w[6 * in + k], w[7 * in + k]);
        add_square(&column, x + k / FEW_STRIP * FEW_STRIP * rows + k % FEW_STRIP, rows, 1, sums);
    }
    for (int64_t r = 0; r < rows; r++)
        _mm256_storeu_ps(out + r * FEW_STRIP, sums[r]);
}

WN_AVX2 static void narrow(const float *w, int64_t in, const float *strips, int64_t rows, float *sums)
{
    for (int64_t half = 0; half < FEW_STRIP; half += LANES) {
        const float *first = w + half * in;
        float *out = sums + half;
        WN_FOR_ROWS(rows, run_half, first, in, strips, out)
    }
}

/* ---- stored as bf16 ---- */

/* Half a strip. Columns k and k + 1 lie in a word, the first one low: 8 words of each output are turned. */
WN_INLINE_AVX2 void run_stored(const uint8_t *w, struct few_widths widths, const float *x, int64_t rows, float *out)
{
    const __m256i high = _mm256_set1_epi32((int)0xffff0000);
    __m256 words[LANES], sums[FEW_NARROW];
    for (int64_t r = 0; r < rows; r++)
        sums[r] = _mm256_setzero_ps();
    for (int64_t k = 0; k < widths.in; k += 2 * LANES) {
        for (int o = 0; o < LANES; o++) {
            const uint8_t *row = w + 2 * (o * widths.in + k);
            words[o] = _mm256_loadu_ps((const float *)(const void *)row);
            _mm_prefetch((const char *)(row + 4 * LANES * widths.in), _MM_HINT_T1);
        }
        wn_transpose_avx2(words);
#pragma GCC unroll 8
        for (int c = 0; c < LANES; c++) {
            const __m256i pair = _mm256_castps_si256(words[c]);
            const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
            const __m256 second = _mm256_castsi256_ps(_mm256_and_si256(pair, high));
            const float *column = x + k * widths.all + 2 * c;
            for (int64_t r = 0; r < rows; r++) {
                sums[r] = _mm256_fmadd_ps(first, _mm256_set1_ps(column[r * FEW_STRIP]), sums[r]);
                sums[r] = _mm256_fmadd_ps(second, _mm256_set1_ps(column[r * FEW_STRIP + 1]), sums[r]);
            }
        }
    }
    for (int64_t r = 0; r < rows; r++)
        _mm256_storeu_ps(out + r * FEW_STRIP, sums[r]);
}

WN_AVX2 static void stored(const uint8_t *w, struct few_widths widths, const float *strips, int64_t rows, float *sums)
{
    for (int64_t half = 0; half < FEW_STRIP; half += LANES) {
        const uint8_t *first = w + 2 * half * widths.in;
        float *out = sums + half;
        WN_FOR_ROWS(rows, run_stored, first, widths, strips, out)
    }
}

/* ---- wide ---- */

WN_INLINE_AVX2 void add_up(const float *const *w, int64_t in, const float *turned, int64_t vectors, float *sums)
{
    __m256 s[COLUMNS][FEW_MOST / LANES];
    for (int c = 0; c < COLUMNS; c++)
        for (int64_t v = 0; v < vectors; v++)
            s[c][v] = _mm256_setzero_ps();
    for (int64_t k = 0; k < in; k++)
        for (int c = 0; c < COLUMNS; c++)
            for (int64_t v = 0; v < vectors; v++)
                s[c][v] = _mm256_fmadd_ps(_mm256_loadu_ps(turned + (k * vectors + v) * LANES), _mm256_set1_ps(w[c][k]),
                                          s[c][v]);
    for (int c = 0; c < COLUMNS; c++)
        for (int64_t v = 0; v < vectors; v++)
            _mm256_storeu_ps(sums + (c * vectors + v) * LANES, s[c][v]);
}

WN_AVX2 static void wide(const float *const *w, int64_t in, const float *turned, int64_t padded, float *sums)
{
    if (padded == LANES)
        add_up(w, in, turned, 1, sums);
    else if (padded == 2 * LANES)
        add_up(w, in, turned, 2, sums);
    else
        add_up(w, in, turned, FEW_MOST / LANES, sums);
}

const struct few_kernels few_avx2 = {narrow, wide, LANES, COLUMNS, stored};
#endif
