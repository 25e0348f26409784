/* SPDX-License-Identifier: Apache-2.0 */
/* integer_dot_vnni.c: 64 products of bytes in one instruction, added up in 32 bits without saturation. */
#include "integer_dot.h"

#ifdef __x86_64__
#include <winnow/simd.h>

#define INLINE WN_INLINE_VNNI

enum { LANES = 64 };

/* Columns k .. k + 63 as far as they are there. Those of the next outputs are fetched meanwhile; they may lie behind
 * the last one, as fetching reads nothing. */
INLINE void add_columns(const uint8_t *w, const int8_t *x, int64_t in, int64_t k, __mmask64 there, int64_t rows,
                        __m512i sums[DOT_ROWS][DOT_OUTPUTS])
{
    __m512i codes[DOT_OUTPUTS];
    for (int o = 0; o < DOT_OUTPUTS; o++) {
        codes[o] = _mm512_maskz_loadu_epi8(there, w + o * in + k);
        _mm_prefetch((const char *)(w + (o + DOT_OUTPUTS) * in + k), _MM_HINT_T0);
    }
    for (int64_t r = 0; r < rows; r++) {
        const __m512i inputs = _mm512_maskz_loadu_epi8(there, x + r * in + k);
        for (int o = 0; o < DOT_OUTPUTS; o++)
            sums[r][o] = _mm512_dpbusd_epi32(sums[r][o], codes[o], inputs);
    }
}

/* `rows` is a constant where this is called. */
INLINE void run(const uint8_t *w, const int8_t *x, int64_t in, int64_t rows, int32_t *out)
{
    __m512i sums[DOT_ROWS][DOT_OUTPUTS];
    int64_t k = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int o = 0; o < DOT_OUTPUTS; o++)
            sums[r][o] = _mm512_setzero_si512();
    for (; k + LANES <= in; k += LANES)
        add_columns(w, x, in, k, ~UINT64_C(0), rows, sums);
    if (k < in)
        add_columns(w, x, in, k, (UINT64_C(1) << (in - k)) - 1, rows, sums);
    for (int64_t r = 0; r < rows; r++)
        for (int o = 0; o < DOT_OUTPUTS; o++)
            out[r * DOT_OUTPUTS + o] = _mm512_reduce_add_epi32(sums[r][o]);
}

WN_VNNI void dot_vnni(const uint8_t *w, const int8_t *x, int64_t in, int64_t rows, int32_t *sums)
{
    switch (rows) {
    case 1:
        run(w, x, in, 1, sums);
        break;
    case 2:
        run(w, x, in, 2, sums);
        break;
    case 3:
        run(w, x, in, 3, sums);
        break;
    default:
        run(w, x, in, DOT_ROWS, sums);
    }
}
#endif
