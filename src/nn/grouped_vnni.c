/* SPDX-License-Identifier: Apache-2.0 */
/* grouped_vnni.c: a vector holds 4 columns of 16 outputs, whose products are added up in one instruction. */
#include "grouped.h"

#ifdef __x86_64__
#include <winnow/simd.h>

#include <string.h>

#define INLINE WN_INLINE_VNNI

INLINE __m512i four(const int8_t *x)
{
    int32_t codes;

    memcpy(&codes, x, sizeof codes);
    return _mm512_set1_epi32(codes);
}

/* The products of a run of columns; first and second quad are added apart, as one sum would wait for itself. */
INLINE void add_run(const uint8_t *codes, bool wide, const int8_t *x, int64_t width, int64_t rows, __m512i *first,
                    __m512i *second)
{
    const __m512i low = _mm512_set1_epi8(15), bytes = _mm512_loadu_si512(codes);
    const __m512i a = wide ? bytes : _mm512_and_si512(bytes, low);
    const __m512i b = wide ? _mm512_loadu_si512(codes + 64) : _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low);

    for (int64_t r = 0; r < rows; r++) {
        first[r] = _mm512_dpbusd_epi32(first[r], a, four(x + r * width));
        second[r] = _mm512_dpbusd_epi32(second[r], b, four(x + r * width + 4));
    }
}

/* `wide` and `rows` are constants where this is called. */
INLINE void run(const struct grouped *g, int64_t strip, bool wide, const struct grouped_inputs *x, int64_t row,
                int64_t rows, float *out)
{
    const int64_t bytes = wide ? 128 : 64, n_cells = g->n_cells, width = g->width;
    const uint8_t *codes = g->codes + strip * g->strip_bytes;
    const int8_t *inputs = x->codes + row * width;
    const float *steps = x->steps + row * n_cells;
    const int32_t *totals = x->sums + row * n_cells;
    const int64_t grids = strip * g->n_groups * GROUPED_STRIP;
    __m512 sums[GROUPED_ROWS];
    __m512i zero = _mm512_set1_epi32(g->zero);

    for (int64_t r = 0; r < rows; r++)
        sums[r] = _mm512_setzero_ps();
    for (int64_t i = 0; i < n_cells; i++) {
        const int64_t at = grids + g->cells[i].group * GROUPED_STRIP;
        __m512i first[GROUPED_ROWS], second[GROUPED_ROWS];
        for (int64_t r = 0; r < rows; r++)
            first[r] = second[r] = _mm512_setzero_si512();
        for (int64_t k = 0; k < g->cells[i].runs; k++) {
            for (int64_t line = 0; line < bytes; line += 64)
                _mm_prefetch((const char *)(codes + GROUPED_AHEAD + line), _MM_HINT_T0);
            add_run(codes, wide, inputs, width, rows, first, second);
            codes += bytes;
            inputs += GROUPED_RUN;
        }
        if (g->zeros)
            zero = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(g->zeros + at)));
        const __m512 scale = _mm512_loadu_ps(g->scales + at);
        for (int64_t r = 0; r < rows; r++) {
            const __m512i shift = _mm512_mullo_epi32(zero, _mm512_set1_epi32(totals[r * n_cells + i]));
            const __m512i products = _mm512_sub_epi32(_mm512_add_epi32(first[r], second[r]), shift);
            const __m512 stepped = _mm512_mul_ps(_mm512_cvtepi32_ps(products), _mm512_set1_ps(steps[r * n_cells + i]));
            sums[r] = _mm512_fmadd_ps(stepped, scale, sums[r]);
        }
    }
    for (int64_t r = 0; r < rows; r++)
        _mm512_storeu_ps(out + r * GROUPED_STRIP, sums[r]);
}

#define RUN(strip, x, row, rows, sums)                                                                                 \
    if (g->wide)                                                                                                       \
        run(g, strip, true, x, row, rows, sums);                                                                       \
    else                                                                                                               \
        run(g, strip, false, x, row, rows, sums)

WN_VNNI void grouped_vnni(const struct grouped *g, int64_t strip, const struct grouped_inputs *x, int64_t row,
                          int64_t rows, float *sums)
{
    WN_FOR_ROWS(rows, RUN, strip, x, row, sums)
}
#endif
