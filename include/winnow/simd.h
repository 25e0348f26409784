/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simd.h: for kernels of our own: functions that are built for one instruction set, whatever -march says, and are
 * called where wn_isa() (linalg.h) says so.
 */
#ifndef WINNOW_SIMD_H
#define WINNOW_SIMD_H

#ifdef __x86_64__
#include <immintrin.h>

#define WN_AVX512        __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define WN_AVX2          __attribute__((target("avx2,fma,f16c")))
#define WN_VNNI          __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#define WN_INLINE_AVX512 static inline __attribute__((always_inline)) WN_AVX512
#define WN_INLINE_AVX2   static inline __attribute__((always_inline)) WN_AVX2
#define WN_INLINE_VNNI   static inline __attribute__((always_inline)) WN_VNNI

/* Calls `function(first arguments, rows, sums)` with 1 to 8 rows as a constant, so that all sums stay in registers. */
#define WN_FOR_ROWS(rows, function, w, in, x, sums)                                                                    \
    switch (rows) {                                                                                                    \
    case 1:                                                                                                            \
        function(w, in, x, 1, sums);                                                                                   \
        break;                                                                                                         \
    case 2:                                                                                                            \
        function(w, in, x, 2, sums);                                                                                   \
        break;                                                                                                         \
    case 3:                                                                                                            \
        function(w, in, x, 3, sums);                                                                                   \
        break;                                                                                                         \
    case 4:                                                                                                            \
        function(w, in, x, 4, sums);                                                                                   \
        break;                                                                                                         \
    case 5:                                                                                                            \
        function(w, in, x, 5, sums);                                                                                   \
        break;                                                                                                         \
    case 6:                                                                                                            \
        function(w, in, x, 6, sums);                                                                                   \
        break;                                                                                                         \
    case 7:                                                                                                            \
        function(w, in, x, 7, sums);                                                                                   \
        break;                                                                                                         \
    default:                                                                                                           \
        function(w, in, x, 8, sums);                                                                                   \
    }

/* 16 vectors as rows become 16 vectors as columns. */
WN_INLINE_AVX512 void wn_transpose_avx512(__m512 r[16])
{
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int half = 0; half < 2; half++) {
            const __m512d a = _mm512_castps_pd(t[i + half]), b = _mm512_castps_pd(t[i + half + 2]);
            r[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 4; i++) { /* quarters of columns i, i + 4, i + 8, i + 12 */
        const __m512 a = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        const __m512 c = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        const __m512 d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
        t[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        t[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        t[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
    for (int i = 0; i < 16; i++)
        r[i] = t[i];
}

/* 8 vectors as rows become 8 vectors as columns. */
WN_INLINE_AVX2 void wn_transpose_avx2(__m256 r[8])
{
    __m256 t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int half = 0; half < 2; half++) {
            r[i + 2 * half] = _mm256_shuffle_ps(t[i + half], t[i + half + 2], 0x44);
            r[i + 2 * half + 1] = _mm256_shuffle_ps(t[i + half], t[i + half + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
}
#endif

#endif
