/* SPDX-License-Identifier: Apache-2.0 */
/* few_rows_avx512.c: kernels for few rows, 16 lanes. */
#include "few_rows.h"

#ifdef __x86_64__
#include <winnow/simd.h>

enum { LANES = 16, COLUMNS = 6 };

/* Columns 0 .. count - 1 of a square, for `rows` rows. `rows` is a constant where this is called, as a rule `count`
 * too. */
WN_INLINE_AVX512 void add_square(const __m512 *square, const float *x, int64_t rows, int count, __m512 *sums)
{
    for (int c = 0; c < count; c++)
        for (int64_t r = 0; r < rows; r++)
            sums[r] = _mm512_fmadd_ps(square[c], _mm512_set1_ps(x[r * LANES + c]), sums[r]);
}

/* A strip of weights, square by square: 16 outputs by 16 columns, turned in registers. The strip behind it is fetched
 * meanwhile; it may lie behind the last one, as fetching reads nothing. */
WN_INLINE_AVX512 void run_strip(const float *w, int64_t in, const float *x, int64_t rows, float *out)
{
    __m512 square[LANES], sums[FEW_NARROW];
    for (int64_t r = 0; r < rows; r++)
        sums[r] = _mm512_setzero_ps();
    int64_t k = 0;
    for (; k + LANES <= in; k += LANES) {
        for (int o = 0; o < LANES; o++) {
            square[o] = _mm512_loadu_ps(w + o * in + k);
            _mm_prefetch((const char *)(w + (o + LANES) * in + k), _MM_HINT_T1);
        }
        wn_transpose_avx512(square);
        add_square(square, x + k * rows, rows, LANES, sums);
    }
    if (k < in) {
        const __mmask16 there = (__mmask16)((1U << (in - k)) - 1);
        for (int o = 0; o < LANES; o++)
            square[o] = _mm512_maskz_loadu_ps(there, w + o * in + k);
        wn_transpose_avx512(square);
        add_square(square, x + k * rows, rows, (int)(in - k), sums);
    }
    for (int64_t r = 0; r < rows; r++)
        _mm512_storeu_ps(out + r * LANES, sums[r]);
}

WN_AVX512 static void narrow(const float *w, int64_t in, const float *strips, int64_t rows,
                             float *sums){WN_FOR_ROWS(rows, run_strip, w, in, strips, sums)}

/* ---- stored as bf16 ---- */

/* Columns k and k + 1 of 16 outputs lie in a word, the first one low: 16 words of each output are turned. */
WN_INLINE_AVX512 void run_stored(const uint8_t *w, struct few_widths widths, const float *x, int64_t rows, float *out)
{
    const __m512i high = _mm512_set1_epi32((int)0xffff0000);
    __m512 words[LANES], sums[FEW_NARROW];
    for (int64_t r = 0; r < rows; r++)
        sums[r] = _mm512_setzero_ps();
    for (int64_t k = 0; k < widths.in; k += FEW_STORED) {
        for (int o = 0; o < LANES; o++) {
            const uint8_t *row = w + 2 * (o * widths.in + k);
            words[o] = _mm512_castsi512_ps(_mm512_loadu_si512(row));
            _mm_prefetch((const char *)(row + 2 * LANES * widths.in), _MM_HINT_T1);
        }
        wn_transpose_avx512(words);
#pragma GCC unroll 16
        for (int c = 0; c < LANES; c++) {
            const __m512i pair = _mm512_castps_si512(words[c]);
            const __m512 first = _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16));
            const __m512 second = _mm512_castsi512_ps(_mm512_and_si512(pair, high));
            const float *column = x + (k + 2 * c) / FEW_STRIP * FEW_STRIP * widths.all + (k + 2 * c) % FEW_STRIP;
            for (int64_t r = 0; r < rows; r++) {
                sums[r] = _mm512_fmadd_ps(first, _mm512_set1_ps(column[r * FEW_STRIP]), sums[r]);
                sums[r] = _mm512_fmadd_ps(second, _mm512_set1_ps(column[r * FEW_STRIP + 1]), sums[r]);
            }
        }
    }
    for (int64_t r = 0; r < rows; r++)
        _mm512_storeu_ps(out + r * LANES, sums[r]);
}

WN_AVX512 static void stored(const uint8_t *w, struct few_widths widths, const float *strips, int64_t rows,
                             float *sums){WN_FOR_ROWS(rows, run_stored, w, widths, strips, sums)}

/* ---- wide ---- */

WN_INLINE_AVX512 void add_up(const float *const *w, int64_t in, const float *turned, int64_t vectors, float *sums)
{
    __m512 s[COLUMNS][FEW_MOST / LANES];
    for (int c = 0; c < COLUMNS; c++)
        for (int64_t v = 0; v < vectors; v++)
            s[c][v] = _mm512_setzero_ps();
    for (int64_t k = 0; k < in; k++) {
        if (k % LANES == 0)
            for (int c = 0; c < COLUMNS; c++)
                _mm_prefetch((const char *)(w[c] + COLUMNS * in + k), _MM_HINT_T1);
        for (int c = 0; c < COLUMNS; c++)
            for (int64_t v = 0; v < vectors; v++)
                s[c][v] = _mm512_fmadd_ps(_mm512_loadu_ps(turned + (k * vectors + v) * LANES), _mm512_set1_ps(w[c][k]),
                                          s[c][v]);
    }
    for (int c = 0; c < COLUMNS; c++)
        for (int64_t v = 0; v < vectors; v++)
            _mm512_storeu_ps(sums + (c * vectors + v) * LANES, s[c][v]);
}

WN_AVX512 static void wide(const float *const *w, int64_t in, const float *turned, int64_t padded, float *sums)
{
    if (padded == LANES)
        add_up(w, in, turned, 1, sums);
    else
        add_up(w, in, turned, 2, sums);
}

const struct few_kernels few_avx512 = {narrow, wide, LANES, COLUMNS, stored};
#endif
