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
 * Forms with kernels of their own, up to WN_FEW_NARROW rows, where AVX-512 or AVX2 is there:
 *
 *     codes of 2, 4 or 8 bits   columns, and groups of them, are multiples of 16 and lie side by side; no mask,
 *     codes of 3 bits           outliers or scale of inputs. 3 bits: multiples of 32
 *     bf16                      columns are a multiple of 16; no mask
 *
 * 16 weights of one column, one for each of 16 outputs, are made in a register: codes of 4 bits and less are looked up
 * in a table of floats (vpermps), others are converted; then (code - zero) * scale. All other forms, and more rows, are
 * unpacked a few rows at a time. Depends on base, linalg and pack. Not collective.
 */
#ifndef WINNOW_KERNELS_H
#define WINNOW_KERNELS_H

#include <winnow/linalg.h>
#include <winnow/pack.h>

struct wn_packed_linear;

/* Borrows the packed linear and its bytes. Scales and zero points are kept as fp32, 16 rows side by side. Chooses a
 * kernel for wn_isa(). */
struct wn_packed_linear *wn_packed_linear_create(const struct wn_packed *packed);
/* Frees and sets to NULL; NULL is fine. */
void wn_packed_linear_destroy(struct wn_packed_linear **linear);

/* y = x W^T (+ bias): x [rows, columns], bias [out] or NULL, rows of y `stride` floats apart. Allocates as
 * wn_linear_few_rows_from does. */
void wn_packed_linear_apply(const struct wn_packed_linear *linear, const float *x, int64_t rows, const float *bias,
                            float *y, int64_t stride);
/* The same as weights of a block (arch.h): tiles of many rows are unpacked. Lives as long as the linear. */
const struct wn_row_source *wn_packed_linear_source(const struct wn_packed_linear *linear);

/* Bytes of weights, scales and zero points that a call on `rows` rows reads from memory, each once per 32 rows. */
int64_t wn_packed_linear_bytes(const struct wn_packed_linear *linear, int64_t rows);
/* Bytes that it allocated; and with so many grids at most. */
int64_t wn_packed_linear_own_bytes(const struct wn_packed_linear *linear);
int64_t wn_packed_linear_own_bytes_of(int64_t grids);
/* What computes few rows, for provenance: "codes avx512", "bf16 avx2", "unpacked". Static storage. */
const char *wn_packed_linear_kernel(const struct wn_packed_linear *linear);

#endif
