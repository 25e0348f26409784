/* SPDX-License-Identifier: Apache-2.0 */
/* bf16.h: inside linalg: products of numbers in bf16 with sums in fp32. */
#ifndef WINNOW_LINALG_BF16_H
#define WINNOW_LINALG_BF16_H

#include <winnow/base.h>

/* What one thread needs for its products: not for two at once. */
struct wn_bf16_stream;
struct wn_bf16_stream *wn_bf16_stream_create(void);
void wn_bf16_stream_destroy(struct wn_bf16_stream *stream);

/* wn_to_bf16 of each. */
void wn_all_to_bf16(const float *x, int64_t count, uint16_t *out);

/*
 * y [rows, out] = x [rows, in] w [out, in]^T, rows of y `stride` floats apart, by one thread. Call after wn_bf16_start
 * and where OpenMP has one thread to give: inside a parallel region, or between wn_blas_begin and wn_blas_end.
 */
void wn_bf16_product(struct wn_bf16_stream *stream, const uint16_t *x, int64_t rows, int64_t in, const uint16_t *w,
                     int64_t out, float *y, int64_t stride);

#endif
