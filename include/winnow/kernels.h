/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.h: packed linears (pack.h) applied to few rows without making their fp32 weights first, as in writing texts
 * token by token: what takes the time there is reading the weights, so fewer bytes are less time.
 *
 *     struct wn_packed_linear *linear = wn_packed_linear_create(&packed);
 *     wn_packed_linear_apply(linear, x, rows, bias, y, out);
 *     wn_packed_linear_destroy(&linear);
 *
 * The bits are those of wn_linear_few_rows on the weights that wn_packed_rows gives: every weight is made by the
 * operations that made it when it was compressed, and a sum is one chain of fma over the columns in order. Speed is all
 * that a form or an instruction set changes.
 *
 * Forms with kernels of their own, up to 32 rows and from 16 outputs on, where AVX-512 or AVX2 is there:
 *
 *     codes of 1 to 8 bits    all weights are stored; columns are a multiple of 16, with odd bits of 32. Groups of any
 *                             size and order, outliers, scales of inputs, grids of a second level
 *     bf16, fp16              all are stored; columns are a multiple of 16
 *     bf16, fp16, fp32        with a mask: 2:4 and other patterns, unstructured zeros
 *
 * For them the bytes of each 16 rows are put, in place, into the order in which they are used: a vector holds the
 * weights of one column for 16 outputs, and memory is read from start to end. A weight that is not stored is +0 and is
 * multiplied as in dense weights, so that NaN and signs of zeros are the same too. Of 2:4 (columns a multiple of 32)
 * and from about 88 % zeros on, only what is stored is multiplied; where that could be felt (a NaN, an infinity, a sum
 * of -0) all is. All other forms (a mask beside codes) are unpacked a few rows at a time. Depends on base, io, linalg
 * and pack. Not collective.
 */
#ifndef WINNOW_KERNELS_H
#define WINNOW_KERNELS_H

#include <winnow/linalg.h>
#include <winnow/pack.h>

struct wn_packed_linear;

/* Takes over the packed linear, which must own its bytes and is empty then. Scales and zero points are kept as fp32, 16
 * rows side by side, outliers in the order of columns. Chooses a kernel for wn_isa(). From serial code. */
struct wn_packed_linear *wn_packed_linear_create(struct wn_packed *packed);
/* Frees and sets to NULL; NULL is fine. */
void wn_packed_linear_destroy(struct wn_packed_linear **linear);

/* Its shape, kinds and size; what its arrays hold is for the kernel alone. */
const struct wn_packed *wn_packed_linear_form(const struct wn_packed_linear *linear);
/* The bytes that were taken over, as they were, to out [form->size]. */
void wn_packed_linear_write(const struct wn_packed_linear *linear, uint8_t *out);

/* y = x W^T (+ bias): x [rows, columns], bias [out] or NULL, rows of y `stride` floats apart. Allocates as
 * wn_linear_few_rows_from does. */
void wn_packed_linear_apply(const struct wn_packed_linear *linear, const float *x, int64_t rows, const float *bias,
                            float *y, int64_t stride);
/* The same as weights of a block (arch.h): tiles of many rows are unpacked. Lives as long as the linear. */
const struct wn_row_source *wn_packed_linear_source(const struct wn_packed_linear *linear);

/* Bytes of weights, scales and zero points that a call on `rows` rows reads from memory, each once per 32 rows. */
int64_t wn_packed_linear_bytes(const struct wn_packed_linear *linear, int64_t rows);
/* Bytes that it allocated besides those of the form; and at most as a recipe makes it (NULL: without codes), as
 * wn_pack_bytes_of says. */
int64_t wn_packed_linear_own_bytes(const struct wn_packed_linear *linear);
int64_t wn_packed_linear_own_bytes_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns);
/* What computes few rows, for provenance: "codes avx512", "sparse bf16 avx2", "unpacked". Lives as long as it. */
const char *wn_packed_linear_kernel(const struct wn_packed_linear *linear);

#endif
