/* SPDX-License-Identifier: Apache-2.0 */
/* packed.c: a packed linear as a source of rows that knows how to add up few rows. */
#include "strips.h"

#include <winnow/io.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

struct wn_packed_linear {
    struct wn_packed packed; /* owns its bytes, whose whole strips are in the order of the kernel, when there is one */
    struct wn_row_source source;
    struct strips strips;
    uint32_t *groups;
    float *inputs;
    struct patch *patches;
    int64_t *first_patch, n_patches;
    strips_kernel *kernel; /* NULL: rows are unpacked */
    strips_unpack *unpack;
    char name[24];
};

static int64_t strips_of(const struct wn_packed *p)
{
    return p->rows / STRIP;
}

/* ---- grids ---- */

static bool are_whole(const float *numbers, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(numbers[i]) < CODE_BASE / 2) || numbers[i] != truncf(numbers[i]))
            return false;
    return true;
}

/* Rows that fill no strip are unpacked, so they have no grids here. */
static void take_grids(const struct wn_packed *p, struct strips *s)
{
    const int64_t count = strips_of(p) * STRIP * p->n_groups;
    const bool constant = p->zeros.kind == WN_PACKED_CONSTANT;
    float *scales = wn_alloc(p->n_groups, sizeof *scales), *zeros = wn_alloc(p->n_groups, sizeof *zeros);
    s->group = p->n_groups < 2 ? p->columns : p->group;
    s->n_groups = p->n_groups;
    s->zero = p->zeros.constant;
    s->scales = wn_alloc(count, sizeof *s->scales);
    s->zeros = constant ? NULL : wn_alloc(count, sizeof *s->zeros);
    for (int64_t row = 0; row < strips_of(p) * STRIP; row++) {
        wn_packed_grids(p, p->grid_rows > 1 ? row : 0, scales, zeros);
        for (int64_t g = 0; g < p->n_groups; g++) {
            const int64_t at = (row / STRIP * p->n_groups + g) * STRIP + row % STRIP;
            s->scales[at] = scales[g];
            if (!constant)
                s->zeros[at] = zeros[g];
        }
    }
    s->whole = constant ? are_whole(&s->zero, 1) : are_whole(s->zeros, count);
    s->zero += s->whole ? CODE_BASE : 0;
    for (int64_t i = 0; s->whole && !constant && i < count; i++)
        s->zeros[i] += CODE_BASE;
    wn_free(scales);
    wn_free(zeros);
}

static bool has_groups(const struct wn_packed *p)
{
    return p->group_bytes || (p->n_groups > 1 && p->group % STRIP != 0);
}

/* The grid of every column, where not all columns of a strip of x have the same. */
static void take_groups(struct wn_packed_linear *linear)
{
    const struct wn_packed *p = &linear->packed;
    if (!has_groups(p))
        return;
    linear->groups = wn_alloc_zero(p->columns, sizeof *linear->groups);
    for (int64_t j = 0; j < p->columns; j++)
        if (p->group_bytes)
            memcpy(&linear->groups[j], p->groups + j * p->group_bytes, (size_t)p->group_bytes);
        else
            linear->groups[j] = (uint32_t)(j / p->group);
    linear->strips.groups = linear->groups;
}

static void read_numbers(const struct wn_packed *p, enum wn_packed_kind kind, const uint8_t *data, int64_t count,
                         float *out)
{
    const enum wn_dtype dtype = kind == WN_PACKED_F32 ? WN_F32 : kind == WN_PACKED_F16 ? WN_F16 : WN_BF16;
    const struct wn_tensor tensor = {
        .name = "packed", .dtype = dtype, .data = data, .bytes = p->bytes + p->size - data};
    wn_tensor_to_float(&tensor, 0, count, out);
}

static void take_inputs(struct wn_packed_linear *linear)
{
    const struct wn_packed *p = &linear->packed;
    if (p->input_kind == WN_PACKED_NONE)
        return;
    linear->inputs = wn_alloc(p->columns, sizeof *linear->inputs);
    read_numbers(p, p->input_kind, p->input_scale, p->columns, linear->inputs);
    linear->strips.inputs = linear->inputs;
}

/* ---- outliers ---- */

static uint32_t u32_at(const uint8_t *data, int64_t index)
{
    uint32_t value;
    memcpy(&value, data + index * (int64_t)sizeof value, sizeof value);
    return value;
}

static int64_t column_at(const struct wn_packed *p, int64_t index)
{
    uint16_t column;
    if (p->columns > UINT16_MAX + 1)
        return u32_at(p->outlier_columns, index);
    memcpy(&column, p->outlier_columns + index * (int64_t)sizeof column, sizeof column);
    return column;
}

/* Outliers of the rows of a strip to those of its columns: sorted by column, later ones of a row behind earlier. */
static void take_strip_patches(const struct wn_packed *p, int64_t strip, const float *values, int64_t *counts,
                               struct patch *patches)
{
    memset(counts, 0, (size_t)(p->columns + 1) * sizeof *counts);
    const int64_t first = u32_at(p->outlier_start, strip * STRIP);
    const int64_t end = u32_at(p->outlier_start, (strip + 1) * STRIP);
    for (int64_t i = first; i < end; i++)
        counts[column_at(p, i) + 1]++;
    for (int64_t c = 0; c < p->columns; c++)
        counts[c + 1] += counts[c];
    for (int lane = 0; lane < STRIP; lane++)
        for (int64_t row = strip * STRIP + lane, i = u32_at(p->outlier_start, row);
             i < u32_at(p->outlier_start, row + 1); i++) {
            const int64_t column = column_at(p, i);
            patches[counts[column]++] = (struct patch){(uint32_t)(column * STRIP + lane), values[i]};
        }
}

static void take_patches(struct wn_packed_linear *linear)
{
    const struct wn_packed *p = &linear->packed;
    const int64_t n = p->n_outliers ? u32_at(p->outlier_start, strips_of(p) * STRIP) : 0;
    if (n == 0)
        return;
    float *values = wn_alloc(n, sizeof *values);
    int64_t *counts = wn_alloc(p->columns + 1, sizeof *counts);
    read_numbers(p, p->outlier_kind, p->outlier_values, n, values);
    linear->n_patches = n;
    linear->patches = wn_alloc(n, sizeof *linear->patches);
    linear->first_patch = wn_alloc(strips_of(p) + 1, sizeof *linear->first_patch);
    for (int64_t strip = 0; strip <= strips_of(p); strip++)
        linear->first_patch[strip] = u32_at(p->outlier_start, strip * STRIP);
    for (int64_t strip = 0; strip < strips_of(p); strip++)
        take_strip_patches(p, strip, values, counts, linear->patches + linear->first_patch[strip]);
    linear->strips.patch = linear->patches;
    linear->strips.first_patch = linear->first_patch;
    wn_free(counts);
    wn_free(values);
}

/* ---- the source ---- */

/* Rows first .. end - 1, which are all in one strip. */
static void take_part(const struct wn_packed_linear *linear, int64_t first, int64_t end, float *out)
{
    const int64_t in = linear->packed.columns;
    float *strip = wn_alloc(STRIP * in, sizeof *strip);
    linear->unpack(&linear->strips, first / STRIP, strip);
    memcpy(out, strip + first % STRIP * in, (size_t)((end - first) * in) * sizeof *out);
    wn_free(strip);
}

static void take(const void *context, int64_t first, int64_t end, float *out)
{
    const struct wn_packed_linear *linear = context;
    const int64_t in = linear->packed.columns, whole = linear->kernel ? strips_of(&linear->packed) * STRIP : 0;
    int64_t row = first;
    while (row < end && row < whole) {
        const int64_t behind = (row / STRIP + 1) * STRIP, last = behind < end ? behind : end;
        float *to = out + (row - first) * in;
        if (last - row == STRIP)
            linear->unpack(&linear->strips, row / STRIP, to);
        else
            take_part(linear, row, last, to);
        row = last;
    }
    if (row < end)
        wn_packed_rows(&linear->packed, row, end, out + (row - first) * in);
}

static void add_up(const void *context, int64_t first, int64_t count, const float *x, int64_t rows, float *sums)
{
    const struct wn_packed_linear *linear = context;
    linear->kernel(&linear->strips, first / STRIP, count, x, rows, sums);
}

/* ---- life ---- */

static void choose_kernel(struct wn_packed_linear *linear)
{
#ifdef __x86_64__
    const enum wn_isa isa = wn_isa();
    linear->kernel = isa == WN_ISA_AVX512 ? strips_avx512 : isa == WN_ISA_AVX2 ? strips_avx2 : NULL;
    linear->unpack = isa == WN_ISA_AVX512 ? strips_unpack_avx512 : strips_unpack_avx2;
#endif
    if (!strips_fit(&linear->packed))
        linear->kernel = NULL;
}

static void take_arrays(struct wn_packed_linear *linear)
{
    const struct wn_packed *p = &linear->packed;
    struct strips *s = &linear->strips;
    const int64_t stored = p->set == WN_PACKED_RUNS ? p->columns / p->run * p->kept : p->columns;
    *s = (struct strips){.values = p->values,
                         .end = p->bytes + p->size,
                         .in = p->columns,
                         .kind = p->kind,
                         .bits = p->bits                    ? p->bits
                                 : p->kind == WN_PACKED_F32 ? 32
                                                            : 16,
                         .masks = p->mask,
                         .mask_bytes = STRIP * ((p->columns + 7) / 8),
                         .paired = strips_paired(p),
                         .starts = p->start};
    s->strip_bytes = STRIP * stored * s->bits / 8;
    if (!p->bits)
        return;
    take_grids(p, s);
    take_groups(linear);
    take_inputs(linear);
    take_patches(linear);
}

static void name_kernel(struct wn_packed_linear *linear)
{
    const enum wn_packed_kind kind = linear->packed.kind;
    const char *values = kind == WN_PACKED_CODES  ? "codes"
                         : kind == WN_PACKED_BF16 ? "bf16"
                         : kind == WN_PACKED_F16  ? "fp16"
                                                  : "fp32";
    if (linear->kernel)
        snprintf(linear->name, sizeof linear->name, "%s%s %s", linear->packed.mask ? "sparse " : "", values,
                 wn_isa_name(wn_isa()));
    else
        snprintf(linear->name, sizeof linear->name, "unpacked");
}

struct wn_packed_linear *wn_packed_linear_create(struct wn_packed *packed)
{
    struct wn_packed_linear *linear = wn_alloc_zero(1, sizeof *linear);
    if (!packed->owned)
        WN_BUG("a packed linear whose bytes belong to somebody else");
    linear->packed = *packed;
    *packed = (struct wn_packed){0};
    linear->source = (struct wn_row_source){.take = take, .context = linear};
    choose_kernel(linear);
    name_kernel(linear);
    if (!linear->kernel)
        return linear;
    take_arrays(linear);
    strips_turn(&linear->packed, linear->packed.owned);
    linear->source.strip = add_up;
    return linear;
}

void wn_packed_linear_destroy(struct wn_packed_linear **linear)
{
    if (!*linear)
        return;
    wn_packed_release(&(*linear)->packed);
    wn_free((*linear)->strips.scales);
    wn_free((*linear)->strips.zeros);
    wn_free((*linear)->groups);
    wn_free((*linear)->inputs);
    wn_free((*linear)->patches);
    wn_free((*linear)->first_patch);
    wn_free(*linear);
    *linear = NULL;
}

const struct wn_packed *wn_packed_linear_form(const struct wn_packed_linear *linear)
{
    return &linear->packed;
}

void wn_packed_linear_write(const struct wn_packed_linear *linear, uint8_t *out)
{
    memcpy(out, linear->packed.bytes, (size_t)linear->packed.size);
    if (linear->kernel)
        strips_turn_back(&linear->packed, out);
}

const struct wn_row_source *wn_packed_linear_source(const struct wn_packed_linear *linear)
{
    return &linear->source;
}

void wn_packed_linear_apply(const struct wn_packed_linear *linear, const float *x, int64_t rows, const float *bias,
                            float *y, int64_t stride)
{
    wn_linear_few_rows_from(x, rows, linear->packed.columns, &linear->source, linear->packed.rows, bias, y, stride);
}

/* ---- sizes ---- */

/* Of what a kernel reads besides the form. */
static int64_t grid_bytes(const struct wn_packed_linear *linear)
{
    const struct strips *s = &linear->strips;
    const int64_t grids = strips_of(&linear->packed) * STRIP * s->n_groups * (int64_t)sizeof(float);
    return (s->scales ? grids : 0) + (s->zeros ? grids : 0);
}

static int64_t array_bytes(const struct wn_packed_linear *linear)
{
    const int64_t columns = linear->packed.columns, starts = strips_of(&linear->packed) + 1;
    return (linear->groups ? columns * (int64_t)sizeof *linear->groups : 0) +
           (linear->inputs ? columns * (int64_t)sizeof *linear->inputs : 0) +
           linear->n_patches * (int64_t)sizeof *linear->patches +
           (linear->first_patch ? starts * (int64_t)sizeof *linear->first_patch : 0);
}

/* Weights, with their masks. */
static int64_t weight_bytes(const struct wn_packed *p)
{
    const uint8_t *behind = p->scales.data ? p->scales.data : p->bytes + p->size - WN_PACKED_TRAILER;
    return behind - (p->bytes + WN_PACKED_HEADER);
}

/* What is unpacked reads all of the form but its header and trailer. */
int64_t wn_packed_linear_bytes(const struct wn_packed_linear *linear, int64_t rows)
{
    const struct wn_packed *p = &linear->packed;
    const int64_t form = p->size - WN_PACKED_HEADER - WN_PACKED_TRAILER;
    const int64_t once = linear->kernel ? weight_bytes(p) + grid_bytes(linear) + array_bytes(linear) : form;
    return (rows + 31) / 32 * once;
}

int64_t wn_packed_linear_own_bytes(const struct wn_packed_linear *linear)
{
    return (int64_t)sizeof *linear + grid_bytes(linear) + array_bytes(linear);
}

/* Columns in an order of their own, and scales of inputs, stand beside grids only. */
int64_t wn_packed_linear_own_bytes_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns)
{
    const int64_t grids = recipe ? wn_pack_grids_of(recipe, rows, columns) : 0;
    const int64_t outliers = recipe ? wn_pack_outliers_of(recipe, rows, columns) : 0;
    return (int64_t)sizeof(struct wn_packed_linear) + 2 * grids * (int64_t)sizeof(float) +
           (grids ? columns * (int64_t)(sizeof(uint32_t) + sizeof(float)) : 0) +
           outliers * (int64_t)sizeof(struct patch) + (outliers ? (rows / STRIP + 1) * (int64_t)sizeof(int64_t) : 0);
}

const char *wn_packed_linear_kernel(const struct wn_packed_linear *linear)
{
    return linear->name;
}
