/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a packed linear as fp32: every number is made by the operations that made it when it was compressed. */
#include "form.h"

#include <winnow/io.h>

#if defined(__BMI2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

/* A vector of values, and the codes that are taken apart at a time. */
enum { LANES = 16, BLOCK = 64 };

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
    void *memory;          /* all of them; owned */
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
    uint8_t *memory = wn_alloc(scratch_bytes(p), 1);

    *s = (struct scratch){.memory = memory, .numbers = (float *)(void *)memory};
    float *next = s->numbers + p->columns + 8;
    if (p->bits) {
        s->scales = next;
        s->zeros = next += p->n_groups + 8;
        next += p->n_groups + 8;
    }
    if (p->input_scale) {
        s->input_scale = next;
        next += p->columns;
        read_numbers(p->input_kind, p->input_scale, 0, p->columns, s->input_scale);
    }
    if (p->group_bytes) {
        s->groups = (uint32_t *)(void *)next;
        next += p->columns;
        memset(s->groups, 0, (size_t)p->columns * sizeof *s->groups);
        for (int64_t j = 0; j < p->columns; j++)
            memcpy(&s->groups[j], p->groups + j * p->group_bytes, (size_t)p->group_bytes);
    }
    s->codes = (uint8_t *)next;
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

void wn_packed_grids(const struct wn_packed *packed, int64_t row, float *scales, float *zeros)
{
    uint8_t *codes = wn_alloc(packed->n_groups + 8, 1);
    read_grids(packed, &packed->scales, row, codes, scales);
    read_grids(packed, &packed->zeros, row, codes, zeros);
    wn_free(codes);
}

/* Codes to values in runs that are one vector; codes NULL: they are in `out` as floats. */
INLINE void apply_grid(const uint8_t *codes, int64_t count, float scale, float zero, float *out)
{
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
}

/* ---- codes to values without a stop between ---- */

#ifdef __AVX512VBMI__
/* Where byte k of the bytes of code 8 q + k's word lies, and by how many bits the code is shifted in it. */
INLINE void find_shifts(int bits, __m512i *bytes, __m512i *shifts)
{
    uint8_t byte[BLOCK], shift[BLOCK];

    for (int i = 0; i < BLOCK; i++) {
        byte[i] = (uint8_t)(i / 8 * bits + i % 8);
        shift[i] = (uint8_t)(i % 8 * bits);
    }
    *bytes = _mm512_loadu_si512(byte);
    *shifts = _mm512_loadu_si512(shift);
}

/* A block of codes, one per byte. */
INLINE __m512i read_block(const uint8_t *from, int bits, __m512i bytes, __m512i shifts)
{
    const __mmask64 there = bits == 8 ? ~UINT64_C(0) : (UINT64_C(1) << bits * BLOCK / 8) - 1;
    const __m512i words = _mm512_permutexvar_epi8(bytes, _mm512_maskz_loadu_epi8(there, from));

    return _mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, words), _mm512_set1_epi8((char)((1 << bits) - 1)));
}

INLINE void write_lanes(__m128i codes, float scale, float zero, float *out)
{
    const __m512 values = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes));

    _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_sub_ps(values, _mm512_set1_ps(zero))));
}

/* Grid of the lanes from column `j` on. */
INLINE int64_t grid_of(const struct wn_packed *p, int64_t j)
{
    return p->n_groups == 1 ? 0 : (int64_t)((uint32_t)j / (uint32_t)p->group);
}

INLINE int64_t write_blocks(const struct wn_packed *p, const struct scratch *s, const uint8_t *from, int bits,
                            float *out)
{
    __m512i bytes, shifts;
    int64_t j = 0;

    find_shifts(bits, &bytes, &shifts);
    for (; j + BLOCK <= p->columns; j += BLOCK) {
        const __m512i codes = read_block(from + j / 8 * bits, bits, bytes, shifts);
        const int64_t g0 = grid_of(p, j), g1 = grid_of(p, j + LANES), g2 = grid_of(p, j + 2 * LANES),
                      g3 = grid_of(p, j + 3 * LANES);
        write_lanes(_mm512_extracti32x4_epi32(codes, 0), s->scales[g0], s->zeros[g0], out + j);
        write_lanes(_mm512_extracti32x4_epi32(codes, 1), s->scales[g1], s->zeros[g1], out + j + LANES);
        write_lanes(_mm512_extracti32x4_epi32(codes, 2), s->scales[g2], s->zeros[g2], out + j + 2 * LANES);
        write_lanes(_mm512_extracti32x4_epi32(codes, 3), s->scales[g3], s->zeros[g3], out + j + 3 * LANES);
    }
    return j;
}

/* Whole blocks of a row whose lanes have one grid each; returns how many columns that are. */
static int64_t read_blocks(const struct wn_packed *p, const struct scratch *s, const uint8_t *from, float *out)
{
    if (s->groups || (p->n_groups > 1 && p->group % LANES != 0))
        return 0;
    switch (p->bits) {
    case 2:
        return write_blocks(p, s, from, 2, out);
    case 3:
        return write_blocks(p, s, from, 3, out);
    case 4:
        return write_blocks(p, s, from, 4, out);
    case 5:
        return write_blocks(p, s, from, 5, out);
    case 6:
        return write_blocks(p, s, from, 6, out);
    case 7:
        return write_blocks(p, s, from, 7, out);
    case 8:
        return write_blocks(p, s, from, 8, out);
    default:
        return 0;
    }
}
#else
static int64_t read_blocks(const struct wn_packed *p, const struct scratch *s, const uint8_t *from, float *out)
{
    (void)p, (void)s, (void)from, (void)out;
    return 0;
}
#endif

/* Columns from `first` on, a multiple of BLOCK, of a row without mask. */
static void read_rest(const struct wn_packed *p, const struct scratch *s, const uint8_t *from, int64_t first,
                      float *out)
{
    read_codes(from + first / 8 * p->bits, p->columns - first, p->bits, s->codes);
    if (first == 0)
        apply_grids(p, s, s->codes, out);
    else
        for (int64_t j = first; j < p->columns; j++) {
            const int64_t g = p->n_groups == 1 ? 0 : j / p->group;
            out[j] = s->scales[g] * ((float)s->codes[j - first] - s->zeros[g]);
        }
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
    if (mask) {
        read_codes(values, stored, p->bits, s->codes);
        for (int64_t i = 0; i < stored; i++)
            s->numbers[i] = (float)s->codes[i];
        expand_numbers(mask, p->columns, s->numbers, out);
        apply_grids(p, s, NULL, out);
        zero_others(mask, p->columns, out);
    } else {
        const int64_t done = read_blocks(p, s, values, out);
        if (done < p->columns)
            read_rest(p, s, values, done, out);
    }
    for (int64_t j = 0; s->input_scale && j < p->columns; j++)
        out[j] /= s->input_scale[j];
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
    wn_free(scratch.memory);
}

void wn_packed_all(const struct wn_packed *packed, float *out)
{
    enum { PANEL = 32 };

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < packed->rows; row += PANEL)
        wn_packed_rows(packed, row, packed->rows - row < PANEL ? packed->rows : row + PANEL,
                       out + row * packed->columns);
}
