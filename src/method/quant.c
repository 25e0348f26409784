/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The uniform grid of the GPTQ family (Frantar et al., arXiv:2210.17323, and its published code): the range always
 * contains 0, so that pruned weights stay exactly 0; zero points are integers in 0 .. levels.
 */
#include "quant.h"
#include "select.h"

#include <math.h>
#include <string.h>

enum { ROUND_LIMIT = 0x49800000, SIGN = INT32_MIN }; /* 2^20 as a bit pattern */

static const float ROUND_SHIFT = 12582912.0f; /* 1.5 * 2^23 */

static inline int32_t bits_of(float x)
{
    int32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(int32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/*
 * Round half to even without a library call or a branch: in the binade of 1.5 * 2^23 a float is an integer in its low
 * bits, and the addition rounds as IEEE 754 does. Magnitudes are cut at 2^20, far beyond every code.
 */
static inline int32_t round_half_even(float x)
{
    int32_t magnitude = bits_of(x) & ~SIGN, sign = bits_of(x) & SIGN;

    magnitude = magnitude < ROUND_LIMIT ? magnitude : ROUND_LIMIT;
    return bits_of(float_of(magnitude | sign) + ROUND_SHIFT) - bits_of(ROUND_SHIFT);
}

static inline int32_t code_of(float scale, int32_t zero, int32_t levels, float w)
{
    int32_t code = round_half_even(w / scale) + zero;

    code = code > 0 ? code : 0;
    return code < levels ? code : levels;
}

int64_t wn_group_of(const struct wn_params *params, int64_t columns)
{
    const struct wn_value *group = wn_params_find(params, "group");

    if (isnan(group->number))
        return group->text[0] == 't' ? 0 : columns;
    return (int64_t)group->number < columns ? (int64_t)group->number : columns;
}

bool wn_makes_scores(const char *name)
{
    return strstr(name, "q_proj") || strstr(name, "k_proj") || strstr(name, "qkv");
}

bool wn_feeds_attention(const char *name)
{
    return wn_makes_scores(name) || strstr(name, "v_proj");
}

/*
 * On bit patterns, whose maximum vectorises without loosening the rules of floats: as signed integers, non-negative
 * floats are in order and above all negative ones; with the sign bit flipped, the negative ones are, largest magnitude
 * on top.
 */
struct wn_range wn_range_of(const float *w, int64_t count)
{
    const wn_key *keys = (const wn_key *)w;
    int32_t below = 0, above = 0;

#pragma omp simd reduction(max : below, above)
    for (int64_t i = 0; i < count; i++) {
        int32_t key = keys[i], flipped = key ^ SIGN;
        above = key > above ? key : above;
        below = flipped > below ? flipped : below;
    }
    return (struct wn_range){0.0f - float_of(below), float_of(above)};
}

/* A range without width, or so narrow that the scale would be 0, becomes (-1, +1): all its weights get the value 0. */
struct wn_grid wn_grid_of(struct wn_range range, int bits, bool symmetric)
{
    const float levels = (float)((1 << bits) - 1);
    float low = range.low, high = range.high;

    if (symmetric) {
        high = -low > high ? -low : high;
        low = -high;
    }
    if ((high - low) / levels == 0.0f) {
        low = -1.0f;
        high = 1.0f;
    }
    struct wn_grid grid = {.scale = (high - low) / levels, .levels = (1 << bits) - 1};
    grid.zero = symmetric ? (levels + 1.0f) / 2.0f : (float)round_half_even(-low / grid.scale);
    return grid;
}

struct wn_grid wn_grid_fit(const float *w, int64_t count, int bits, bool symmetric)
{
    return wn_grid_of(wn_range_of(w, count), bits, symmetric);
}

enum wn_dtype wn_scale_dtype_of(const struct wn_params *params)
{
    const char *name = wn_params_text(params, "scale_dtype");

    return !strcmp(name, "f16") ? WN_F16 : !strcmp(name, "bf16") ? WN_BF16 : WN_F32;
}

struct wn_grid wn_grid_stored(struct wn_grid grid, enum wn_dtype dtype)
{
    const uint16_t stored_least = 1;
    uint16_t stored;
    int64_t overflows;

    if (dtype == WN_F32)
        return grid;
    wn_tensor_from_float(dtype, &grid.scale, 1, &stored, &overflows);
    const struct wn_tensor number = {
        .dtype = dtype, .data = (const uint8_t *)(stored ? &stored : &stored_least), .bytes = sizeof stored};
    wn_tensor_to_float(&number, 0, 1, &grid.scale);
    if (overflows)
        grid.scale = INFINITY;
    return grid;
}

int wn_grid_code(const struct wn_grid *grid, float w)
{
    return code_of(grid->scale, (int32_t)grid->zero, grid->levels, w);
}

float wn_grid_value(const struct wn_grid *grid, int code)
{
    return grid->scale * ((float)code - grid->zero);
}

void wn_grid_apply(const struct wn_grid *grid, const float *w, int64_t count, uint8_t *codes, float *values)
{
    const float scale = grid->scale;
    const int32_t zero = (int32_t)grid->zero, levels = grid->levels;

#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        int32_t code = code_of(scale, zero, levels, w[i]);
        codes[i] = (uint8_t)code;
        values[i] = scale * (float)(code - zero);
    }
}

void wn_grid_apply_shifted(const struct wn_grid *grid, const float *w, int64_t count, uint8_t *codes, float *values)
{
    const float scale = grid->scale, zero = grid->zero, levels = (float)grid->levels;

#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float code = rintf(w[i] / scale + zero);
        code = code > 0.0f ? code : 0.0f;
        code = code < levels ? code : levels;
        codes[i] = (uint8_t)code;
        values[i] = scale * (code - zero);
    }
}

void wn_grid_apply_lanes(const float *scales, const float *zeros, int levels, const float *w, int64_t count,
                         uint8_t *codes, float *values)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        int32_t zero = (int32_t)zeros[i], code = code_of(scales[i], zero, levels, w[i]);
        codes[i] = (uint8_t)code;
        values[i] = scales[i] * (float)(code - zero);
    }
}

wn_status wn_grids_take(struct wn_compressed *out, const char *name, int bits, bool symmetric, int64_t group,
                        const float *scales, const float *zeros, int64_t lanes)
{
    bool finite = true;

    out->bits = bits;
    out->group = group;
    out->n_groups = wn_group_count(out->columns, group);
    out->zero_bits = symmetric ? 0 : bits;
    if (!out->codes)
        out->codes = wn_alloc(out->rows * out->columns, sizeof *out->codes);
    out->scales = wn_alloc(out->rows * out->n_groups, sizeof *out->scales);
    out->zeros = wn_alloc(out->rows * out->n_groups, sizeof *out->zeros);
#pragma omp parallel for schedule(static) reduction(&& : finite)
    for (int64_t row = 0; row < out->rows; row++)
        for (int64_t g = 0; g < out->n_groups; g++) {
            out->scales[row * out->n_groups + g] = scales[g * lanes + row];
            out->zeros[row * out->n_groups + g] = zeros[g * lanes + row];
            finite = finite && isfinite(scales[g * lanes + row]);
        }
    if (finite)
        return WN_OK;
    return wn_fail(WN_ERR_NUMERIC, "%s: the range of its weights is too wide for a scale", name);
}
