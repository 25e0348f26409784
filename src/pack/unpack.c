/* Rows of a packed linear as fp32: every number is made by the operations that made it when it was compressed. */
#include "form.h"

#include <winnow/io.h>

#if defined(__BMI2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* ---- codes ---- */

/* Eight codes from the low 8 * bits bits of a word, one per byte. */
INLINE uint64_t spread(uint64_t word, int bits)
{
    const uint64_t each = UINT64_C(0x0101010101010101) * ((1U << bits) - 1);
#ifdef __BMI2__
    return _pdep_u64(word, each);
#else
    uint64_t codes = 0;
    for (int k = 0; k < 8; k++)
        codes |= (word >> k * bits & ((1U << bits) - 1)) << 8 * k;
    return codes & each;
#endif
}

/* `bits` is a constant where this is called. Up to 7 codes more than asked for, and up to 7 bytes more are read: of
 * those behind the last row the trailer has enough. */
INLINE void read_width(const uint8_t *from, int64_t count, int bits, uint8_t *codes)
{
    for (int64_t i = 0; i < count; i += 8) {
        uint64_t word;
        memcpy(&word, from + i / 8 * bits, sizeof word);
        word = spread(word, bits);
        memcpy(codes + i, &word, sizeof word);
    }
}

/* `codes` has room for `count` rounded up to 8. */
static void read_codes(const uint8_t *from, int64_t count, int bits, uint8_t *codes)
{
    switch (bits) {
    case 1:
        read_width(from, count, 1, codes);
        break;
    case 2:
        read_width(from, count, 2, codes);
        break;
    case 3:
        read_width(from, count, 3, codes);
        break;
    case 4:
        read_width(from, count, 4, codes);
        break;
    case 5:
        read_width(from, count, 5, codes);
        break;
    case 6:
        read_width(from, count, 6, codes);
        break;
    case 7:
        read_width(from, count, 7, codes);
        break;
    default:
        memcpy(codes, from, (size_t)count);
    }
}

/* ---- numbers ---- */

static void read_numbers(enum wn_packed_kind kind, const uint8_t *data, int64_t first, int64_t count, float *out)
{
    const enum wn_dtype dtype = kind == WN_PACKED_F32 ? WN_F32 : kind == WN_PACKED_F16 ? WN_F16 : WN_BF16;
    const struct wn_tensor tensor = {
        .name = "packed", .dtype = dtype, .data = data, .bytes = (first + count) * pack_number_bytes(kind)};

    wn_tensor_to_float(&tensor, first, count, out);
}

/* ---- memory of one call ---- */

struct scratch {
    uint8_t *codes;        /* [columns + 8] stored of a row */
    float *numbers;        /* [columns + 8] stored values of a row */
    float *scales, *zeros; /* [n_groups + 8] of a row */
    float *input_scale;    /* [columns] or NULL */
    uint32_t *groups;      /* [columns] or NULL */
};

static int64_t scratch_bytes(const struct wn_packed *p)
{
    const int64_t f = (int64_t)sizeof(float), groups = p->bits ? p->n_groups + 8 : 0;

    return (p->columns + 8) * (1 + f) + 2 * groups * f + (p->input_scale ? p->columns * f : 0) +
           (p->group_bytes ? p->columns * (int64_t)sizeof(uint32_t) : 0);
}

int64_t wn_packed_rows_bytes(const struct wn_packed *packed)
{
    return scratch_bytes(packed);
}

static void open_scratch(const struct wn_packed *p, struct scratch *s)
{
    *s = (struct scratch){0};
    s->codes = wn_alloc(p->columns + 8, 1);
    s->numbers = wn_alloc(p->columns + 8, sizeof(float));
    if (p->bits) {
        s->scales = wn_alloc(p->n_groups + 8, sizeof(float));
        s->zeros = wn_alloc(p->n_groups + 8, sizeof(float));
    }
    if (p->input_scale) {
        s->input_scale = wn_alloc(p->columns, sizeof(float));
        read_numbers(p->input_kind, p->input_scale, 0, p->columns, s->input_scale);
    }
    if (p->group_bytes) {
        s->groups = wn_alloc_zero(p->columns, sizeof *s->groups);
        for (int64_t j = 0; j < p->columns; j++)
            memcpy(&s->groups[j], p->groups + j * p->group_bytes, (size_t)p->group_bytes);
    }
}

static void close_scratch(struct scratch *s)
{
    wn_free(s->codes);
    wn_free(s->numbers);
    wn_free(s->scales);
    wn_free(s->zeros);
    wn_free(s->input_scale);
    wn_free(s->groups);
}

/* ---- grids ---- */

/* Scales or zero points of a row; `codes` has room for them. */
static void read_grids(const struct wn_packed *p, const struct wn_packed_numbers *n, int64_t row, uint8_t *codes,
                       float *out)
{
    const int64_t count = p->n_groups;

    if (n->kind == WN_PACKED_CONSTANT) {
        for (int64_t g = 0; g < count; g++)
            out[g] = n->constant;
        return;
    }
    if (pack_number_bytes(n->kind)) {
        read_numbers(n->kind, n->data, row * count, count, out);
        return;
    }
    read_codes(n->data + row * pack_code_bytes(count, n->bits), count, n->bits, codes);
    for (int64_t g = 0; g < count; g++)
        out[g] = (float)codes[g];
    for (int64_t g = 0, run = row / p->run_rows * count; n->kind == WN_PACKED_SECOND && g < count; g++)
        out[g] = pack_f32(n->second_scales, run + g) * (out[g] - pack_f32(n->second_zeros, run + g));
}

static void read_grids_of(const struct wn_packed *p, int64_t row, struct scratch *s)
{
    read_grids(p, &p->scales, row, s->codes, s->scales);
    read_grids(p, &p->zeros, row, s->codes, s->zeros);
}

/* Codes to values in runs that are one vector; codes NULL: they are in `out` as floats. */
INLINE void apply_grid(const uint8_t *codes, int64_t count, float scale, float zero, float *out)
{
    enum { LANES = 16 };
    int64_t j = 0;

    for (; j + LANES <= count; j += LANES) {
#pragma omp simd
        for (int64_t l = j; l < j + LANES; l++)
            out[l] = scale * ((codes ? (float)codes[l] : out[l]) - zero);
    }
    for (; j < count; j++)
        out[j] = scale * ((codes ? (float)codes[j] : out[j]) - zero);
}

INLINE void apply_grids(const struct wn_packed *p, const struct scratch *s, const uint8_t *codes, float *out)
{
    const int64_t group = p->group ? p->group : p->columns;

    if (s->groups)
        for (int64_t j = 0; j < p->columns; j++)
            out[j] = s->scales[s->groups[j]] * ((codes ? (float)codes[j] : out[j]) - s->zeros[s->groups[j]]);
    else
        for (int64_t g = 0; g < p->n_groups; g++) {
            const int64_t first = g * group, left = p->columns - first;
            apply_grid(codes ? codes + first : NULL, left < group ? left : group, s->scales[g], s->zeros[g],
                       out + first);
        }
    for (int64_t j = 0; s->input_scale && j < p->columns; j++)
        out[j] /= s->input_scale[j];
}

/* ---- masks ---- */

static bool is_stored(const uint8_t *mask, int64_t column)
{
    return mask[column / 8] >> column % 8 & 1;
}

static void zero_others(const uint8_t *mask, int64_t columns, float *out)
{
    int64_t j = 0;

#ifdef __AVX512F__
    for (; j + 16 <= columns; j += 16) {
        uint16_t stored;
        memcpy(&stored, mask + j / 8, sizeof stored);
        _mm512_storeu_ps(out + j, _mm512_maskz_loadu_ps(stored, out + j));
    }
#endif
    for (; j < columns; j++)
        out[j] = is_stored(mask, j) ? out[j] : 0.0f;
}

/* Numbers to their columns, 0 to the others. One number behind the last is read. */
static void expand_numbers(const uint8_t *mask, int64_t columns, const float *numbers, float *out)
{
    int64_t j = 0;

#ifdef __AVX512F__
    for (; j + 16 <= columns; j += 16) {
        uint16_t stored;
        memcpy(&stored, mask + j / 8, sizeof stored);
        _mm512_storeu_ps(out + j, _mm512_maskz_expandloadu_ps(stored, numbers));
        numbers += __builtin_popcount(stored);
    }
#endif
    for (; j < columns; j++) {
        out[j] = is_stored(mask, j) ? *numbers : 0.0f;
        numbers += is_stored(mask, j);
    }
}

/* ---- rows ---- */

static int64_t count_stored(const struct wn_packed *p, const uint8_t *mask)
{
    int64_t stored = 0;

    if (p->set != WN_PACKED_ROWS)
        return pack_even_count(p);
    for (int64_t i = 0; i < pack_mask_bytes(p); i++)
        stored += __builtin_popcount(mask[i]);
    return stored;
}

static void add_outliers(const struct wn_packed *p, int64_t row, float *out)
{
    for (int64_t i = pack_u32(p->outlier_start, row), end = pack_u32(p->outlier_start, row + 1); i < end; i++)
        read_numbers(p->outlier_kind, p->outlier_values, i, 1, out + pack_outlier_column(p, i));
}

/* Values that are numbers. */
static void read_plain_row(const struct wn_packed *p, const uint8_t *values, const uint8_t *mask, int64_t stored,
                           struct scratch *s, float *out)
{
    if (p->kind == WN_PACKED_NONE) {
        memset(out, 0, (size_t)p->columns * sizeof *out);
        return;
    }
    read_numbers(p->kind, values, 0, stored, mask ? s->numbers : out);
    if (mask)
        expand_numbers(mask, p->columns, s->numbers, out);
}

static void read_coded_row(const struct wn_packed *p, int64_t row, const uint8_t *values, const uint8_t *mask,
                           int64_t stored, struct scratch *s, float *out)
{
    if (p->grid_rows > 1)
        read_grids_of(p, row, s);
    read_codes(values, stored, p->bits, s->codes);
    if (mask) {
        for (int64_t i = 0; i < stored; i++)
            s->numbers[i] = (float)s->codes[i];
        expand_numbers(mask, p->columns, s->numbers, out);
        apply_grids(p, s, NULL, out);
        zero_others(mask, p->columns, out);
    } else {
        apply_grids(p, s, s->codes, out);
    }
    if (p->n_outliers)
        add_outliers(p, row, out);
}

static void read_row(const struct wn_packed *p, int64_t row, struct scratch *s, float *out)
{
    const uint8_t *mask = p->set == WN_PACKED_ALL ? NULL : p->mask + row * pack_mask_bytes(p);
    const int64_t stored = count_stored(p, mask);
    const int64_t at = p->set == WN_PACKED_ROWS ? (int64_t)pack_u32(p->start, row) : row * pack_row_bytes(p, stored);
    const uint8_t *values = p->values ? p->values + at : p->bytes; /* none: nothing is read */

    if (p->bits)
        read_coded_row(p, row, values, mask, stored, s, out);
    else
        read_plain_row(p, values, mask, stored, s, out);
}

void wn_packed_rows(const struct wn_packed *packed, int64_t first, int64_t end, float *out)
{
    struct scratch scratch;

    open_scratch(packed, &scratch);
    if (packed->bits && packed->grid_rows == 1)
        read_grids_of(packed, 0, &scratch);
    for (int64_t row = first; row < end; row++)
        read_row(packed, row, &scratch, out + (row - first) * packed->columns);
    close_scratch(&scratch);
}

void wn_packed_all(const struct wn_packed *packed, float *out)
{
    enum { PANEL = 32 };

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < packed->rows; row += PANEL)
        wn_packed_rows(packed, row, packed->rows - row < PANEL ? packed->rows : row + PANEL,
                       out + row * packed->columns);
}
