/* SPDX-License-Identifier: Apache-2.0 */
/*
 * few_rows.h: inside linalg: kernels for few rows. A sum is sum = 0, then sum = fma(x[k], w[k], sum) for each column k
 * in order, in every one of them, so that they differ in nothing but time.
 */
#ifndef WINNOW_LINALG_FEW_ROWS_H
#define WINNOW_LINALG_FEW_ROWS_H

#include <winnow/linalg.h>

/* Up to FEW_NARROW rows a vector holds outputs; up to FEW_MOST rows it holds rows. */
enum { FEW_STRIP = WN_FEW_STRIP, FEW_NARROW = WN_FEW_NARROW, FEW_MOST = 32 };

enum { FEW_STORED = 32 };
struct few_widths {
    int64_t in, all;
};

struct few_kernels {
    /* FEW_STRIP outputs, whose weights lie from w on, `in` apart: sums [rows, FEW_STRIP], of `rows` rows of x in
     * strips. NULL: there is none. */
    void (*narrow)(const float *w, int64_t in, const float *strips, int64_t rows, float *sums);
    /* `columns` outputs, whose weights begin at w[0], w[1] ...: sums [columns, padded], of x turned [in, padded].
     * padded: rows that are rounded up to one, two or all vectors of `lanes`. */
    void (*wide)(const float *const *w, int64_t in, const float *turned, int64_t padded, float *sums);
    int lanes, columns;
    /* As narrow, of weights stored as bf16 from w on, `in` numbers apart, which are a multiple of FEW_STORED: of `rows`
     * of the `all` rows of strips, which begin with the first of them. NULL where narrow is. */
    void (*stored)(const uint8_t *w, struct few_widths widths, const float *strips, int64_t rows, float *sums);
};

extern const struct few_kernels few_plain;
const struct few_kernels *wn_few_kernels(void); /* for wn_isa() */
#ifdef __x86_64__
extern const struct few_kernels few_avx2, few_avx512;
#endif

#endif
