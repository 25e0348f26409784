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

const struct few_kernels few_avx2 = {narrow, wide, LANES, COLUMNS};
#endif
