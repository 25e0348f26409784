/* SPDX-License-Identifier: Apache-2.0 */
/* few_rows_stored.c: few rows by weights that are stored as bf16: read in place, made fp32 in registers. */
#include "few_rows.h"

#include <string.h>

struct stored {
    const uint8_t *w; /* of a file: of any alignment */
    int64_t in;
};

static void take(const void *context, int64_t first, int64_t end, float *out)
{
    const struct stored *stored = context;
    const uint8_t *w = stored->w + 2 * first * stored->in;
    for (int64_t i = 0; i < (end - first) * stored->in; i++) {
        uint16_t half;
        memcpy(&half, w + 2 * i, sizeof half);
        out[i] = wn_from_bf16(half);
    }
}

static void add_up(const void *context, int64_t first, int64_t count, const float *x, int64_t rows, float *sums)
{
    const struct stored *stored = context;
    const struct few_kernels *kernels = wn_few_kernels();
    const struct few_widths widths = {stored->in, rows};
    for (int64_t i = 0; i < count; i++)
        for (int64_t row = 0; row < rows; row += FEW_NARROW)
            kernels->stored(stored->w + 2 * (first + i * FEW_STRIP) * stored->in, widths, x + row * FEW_STRIP,
                            rows - row < FEW_NARROW ? rows - row : FEW_NARROW, sums + (i * rows + row) * FEW_STRIP);
}

void wn_linear_few_rows_stored(const float *x, int64_t rows, int64_t in, const uint8_t *w, int64_t out,
                               const float *bias, float *y, int64_t stride)
{
    const struct stored stored = {w, in};
    const bool fits = wn_few_kernels()->stored && in % FEW_STORED == 0;
    const struct wn_row_source source = {.take = take, .context = &stored, .strip = fits ? add_up : NULL};
    wn_linear_few_rows_from(x, rows, in, &source, out, bias, y, stride);
}
