/* SPDX-License-Identifier: Apache-2.0 */
/* Symmetric integer codes with one scale per output row. */
#include "row_codes.h"
#include "quant.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const float ROUND_SHIFT = 12582912.0f; /* 1.5 * 2^23: adding it rounds half to even */

/* How a row gets its scale. */
struct row_rule {
    int bits;
    float least; /* of its range */
    enum wn_dtype scale_dtype;
};

static float largest_of(const float *w, int64_t count)
{
    int32_t largest = 0;
    float value;

#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < count; j++) { /* magnitudes in the order of their bit patterns */
        int32_t size;
        memcpy(&size, &w[j], sizeof size);
        size &= INT32_MAX;
        largest = size > largest ? size : largest;
    }
    memcpy(&value, &largest, sizeof value);
    return value;
}

/* `w` holds the scaled weights of a row. Only a scale that was rounded down a lot needs the ends. */
static void code_row(const float *w, int64_t columns, const struct row_rule *rule, float *scale, uint8_t *codes)
{
    const float largest = largest_of(w, columns), limit = (float)((1 << (rule->bits - 1)) - 1);
    const float step = (largest < rule->least ? rule->least : largest) / limit;
    const struct wn_grid grid = {.scale = step >= FLT_MIN ? step : 1.0f}; /* below normal floats every code is 0 */

    *scale = wn_grid_stored(grid, rule->scale_dtype).scale;
    for (int64_t j = 0; isfinite(*scale) && j < columns; j++) {
        float code = (w[j] / *scale + ROUND_SHIFT) - ROUND_SHIFT;
        code = code < -limit ? -limit : code;
        code = code > limit ? limit : code;
        codes[j] = (uint8_t)(code + limit + 1.0f);
    }
}

static void compute_rows(const struct wn_linear_task *task, const struct row_rule *rule, struct wn_compressed *out)
{
    const int64_t columns = task->columns;
    const float *by = out->input_scale;

#pragma omp parallel
    {
        float *w = wn_alloc(columns, sizeof *w);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < task->rows; row++) {
            uint8_t *codes = out->codes + row * columns;
            for (int64_t j = 0; j < columns; j++)
                w[j] = task->weight[row * columns + j] * (by ? by[j] : 1.0f);
            code_row(w, columns, rule, &out->scales[row], codes);
            for (int64_t j = 0; isfinite(out->scales[row]) && j < columns; j++)
                out->weight[row * columns + j] =
                    out->scales[row] * ((float)codes[j] - out->zeros[row]) / (by ? by[j] : 1.0f);
        }
        wn_free(w);
    }
}

wn_status wn_row_codes_compute(const struct wn_linear_task *task, int bits, float least, struct wn_compressed *out)
{
    const struct row_rule rule = {.bits = bits, .least = least, .scale_dtype = wn_scale_dtype_of(task->params)};

    out->bits = bits;
    out->group = task->columns;
    out->n_groups = 1;
    out->zero_bits = 0;
    out->codes = wn_alloc_zero(task->rows * task->columns, 1);
    out->scales = wn_alloc(task->rows, sizeof *out->scales);
    out->zeros = wn_alloc(task->rows, sizeof *out->zeros);
    for (int64_t row = 0; row < task->rows; row++)
        out->zeros[row] = (float)(1 << (bits - 1));
    if (task->stats && task->stats->scale) {
        out->input_scale = wn_alloc(task->columns, sizeof *out->input_scale);
        memcpy(out->input_scale, task->stats->scale, (size_t)task->columns * sizeof *out->input_scale);
    }
    compute_rows(task, &rule, out);
    for (int64_t row = 0; row < task->rows; row++)
        if (!isfinite(out->scales[row]))
            return wn_fail(WN_ERR_NUMERIC,
                           "%s: the weights of row %lld, times the scales of their inputs, are too "
                           "large for a scale",
                           task->name, (long long)row);
    return WN_OK;
}

struct wn_activation *wn_row_codes_activation(const struct wn_compressed *out, double threshold, double least,
                                              const float *outlier_weight, bool round_outputs)
{
    const struct wn_integer_linear form = {.rows = out->rows,
                                           .columns = out->columns,
                                           .bits = out->bits,
                                           .codes = out->codes,
                                           .zero = 1 << (out->bits - 1),
                                           .scales = out->scales,
                                           .threshold = threshold,
                                           .least = least,
                                           .outlier_weight = outlier_weight,
                                           .round_outputs = round_outputs};

    return wn_integer_linear_create(&form);
}
