/* SPDX-License-Identifier: Apache-2.0 */
/* quant.h: the grid of method.h applied to whole runs of weights, in loops that vectorise. */
#ifndef WINNOW_QUANT_H
#define WINNOW_QUANT_H

#include <winnow/io.h>
#include <winnow/method.h>

/* ---- parameters that quantizers share ---- */

/* A point may have a mean of bits; what a method is given is a whole number. */
#define WN_MEAN_BITS "; a fraction: the mean over all weights, for an allocation to spread"
#define WN_BITS_PARAMETER(meaning)                                                                                     \
    {                                                                                                                  \
        .name = "bits", .type = WN_NUMBER, .required = true, .low = 2, .high = 8, .unit = "bit",                       \
        .help = meaning WN_MEAN_BITS                                                                                   \
    }
/* `otherwise`: the default as JSON text; `theirs`: that of the published code or NULL; `allowed`: words besides
 * numbers. */
#define WN_GROUP_PARAMETER(otherwise, theirs, allowed, meaning)                                                        \
    {                                                                                                                  \
        .name = "group", .type = WN_INTEGER, .standard = otherwise, .published = theirs, .low = 1, .high = 1 << 24,    \
        .words = allowed, .unit = "columns", .help = meaning "; the last group of a row may be shorter"                \
    }
#define WN_SYMMETRIC_PARAMETER                                                                                         \
    {                                                                                                                  \
        .name = "symmetric", .type = WN_BOOL, .standard = "false",                                                     \
        .help = "grid centred on 0 without stored zero points"                                                         \
    }

/* The name is that of compressed-tensors. Quiet: keys without it stay as they were. */
#define WN_SCALE_DTYPE_PARAMETER                                                                                       \
    {                                                                                                                  \
        .name = "scale_dtype", .type = WN_STRING, .standard = "\"f32\"", .words = "f32|f16|bf16", .quiet = true,       \
        .help =                                                                                                        \
            "numbers that scales are rounded to before codes are chosen (winnow help export); f16: as files of gptq, " \
            "awq and gguf store them"                                                                                  \
    }

/* Quiet as well. The first is in the spirit of compressed-tensors' num_bits of input_activations. */
#define WN_INPUT_PARAMETERS                                                                                            \
    {.name = "input_bits",                                                                                             \
     .type = WN_INTEGER,                                                                                               \
     .standard = "\"none\"",                                                                                           \
     .low = 2,                                                                                                         \
     .high = 8,                                                                                                        \
     .words = "none",                                                                                                  \
     .unit = "bit",                                                                                                    \
     .quiet = true,                                                                                                    \
     .help = "inputs of the linears are rounded to so many bits as they come (W4A8: bits 4, input_bits 8), in the "    \
             "evaluation, in generation and where speed is measured"},                                                 \
    {                                                                                                                  \
        .name = "input_group", .type = WN_INTEGER, .standard = "32", .low = 1, .high = 1 << 24, .words = "token",      \
        .unit = "columns", .quiet = true,                                                                              \
        .help = "inputs of a token that share a step; 32: as llama.cpp's Q8_0; token: all, as SmoothQuant and vLLM"    \
    }

/* The end of a method's `check`: a step without rounded inputs is no choice; and groups must lie side by side. */
wn_status wn_check_inputs(struct wn_params *params);
/* Gives a finished code form its rule, where inputs are rounded. */
void wn_round_inputs(const struct wn_params *params, struct wn_compressed *out);
/* struct wn_method, activation_bytes. */
void wn_round_inputs_bytes(const struct wn_params *params, int64_t rows, int64_t columns, int64_t tokens, int threads,
                           int64_t *bytes, int64_t *scratch);

/*
 * Columns per grid of a method with WN_GROUP_PARAMETER: at most `columns`, which the word channel stands for; 0 for the
 * word tensor. Where a group does not divide the columns, the last group of a row is shorter, as in the published codes
 * of GPTQ and SpQR.
 */
int64_t wn_group_of(const struct wn_params *params, int64_t columns);
/* Groups of a row. */
static inline int64_t wn_group_count(int64_t columns, int64_t group)
{
    return (columns + group - 1) / group;
}
/* Columns of one of them. */
static inline int64_t wn_group_width(int64_t columns, int64_t group, int64_t index)
{
    const int64_t left = columns - index * group;

    return left < group ? left : group;
}

/* ---- linears by name, as the published codes tell them apart: of checkpoints of Hugging Face ---- */

bool wn_makes_scores(const char *name);    /* queries or keys */
bool wn_feeds_attention(const char *name); /* queries, keys or values */

/* ---- grids ---- */

/* Smallest and largest of `count` weights, widened to contain 0. */
struct wn_range {
    float low, high;
};
struct wn_range wn_range_of(const float *w, int64_t count);
/* The grid of a range; wn_grid_fit is wn_grid_of(wn_range_of(w, count), ...). */
struct wn_grid wn_grid_of(struct wn_range range, int bits, bool symmetric);

/* The dtype of WN_SCALE_DTYPE_PARAMETER. */
enum wn_dtype wn_scale_dtype_of(const struct wn_params *params);
/* The grid with its scale rounded to the dtype, to nearest even, not to 0; infinite when it is too large for it. */
struct wn_grid wn_grid_stored(struct wn_grid grid, enum wn_dtype dtype);

/* Codes [count] and their values [count]; equal to wn_grid_code and wn_grid_value of each. w and values may be the
 * same. */
void wn_grid_apply(const struct wn_grid *grid, const float *w, int64_t count, uint8_t *codes, float *values);
/* With a zero point that is no integer, which is added before rounding: clamp(round_half_even(w / scale + zero)). */
void wn_grid_apply_shifted(const struct wn_grid *grid, const float *w, int64_t count, uint8_t *codes, float *values);
/* wn_grid_apply with a grid per weight, all of the same levels: weight i has scales[i] and zeros[i]. */
void wn_grid_apply_lanes(const float *scales, const float *zeros, int levels, const float *w, int64_t count,
                         uint8_t *codes, float *values);

/*
 * Fills the code form of `out` from grids [groups, lanes], row r of the linear in lane r: bits, group, scales
 * and zeros as stored; codes are allocated when they are not there. A scale that is not finite is WN_ERR_NUMERIC.
 */
wn_status wn_grids_take(struct wn_compressed *out, const char *name, int bits, bool symmetric, int64_t group,
                        const float *scales, const float *zeros, int64_t lanes);

#endif
