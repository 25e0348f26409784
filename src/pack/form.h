/* SPDX-License-Identifier: Apache-2.0 */
/* form.h: what packing and unpacking share: the place of every array, and numbers of any alignment. */
#ifndef WINNOW_PACK_FORM_H
#define WINNOW_PACK_FORM_H

#include <winnow/pack.h>

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "packed linears are read in place: a little-endian machine is needed"
#endif

/* Limits of what is packed: sizes below stay far from overflow. */
#define PACK_MOST_SIDE    INT32_MAX
#define PACK_MOST_WEIGHTS ((int64_t)1 << 40)

static inline uint32_t pack_u32(const uint8_t *data, int64_t index)
{
    uint32_t value;

    memcpy(&value, data + index * (int64_t)sizeof value, sizeof value);
    return value;
}

static inline float pack_f32(const uint8_t *data, int64_t index)
{
    float value;

    memcpy(&value, data + index * (int64_t)sizeof value, sizeof value);
    return value;
}

/* Bytes of a number; 0 when there is no array of them. */
static inline int pack_number_bytes(enum wn_packed_kind kind)
{
    return kind == WN_PACKED_F32 ? 4 : kind == WN_PACKED_F16 || kind == WN_PACKED_BF16 ? 2 : 0;
}

/* Bytes of `count` codes as a stream. */
static inline int64_t pack_code_bytes(int64_t count, int bits)
{
    return (count * bits + 7) / 8;
}

/* Bytes of `count` values of a row. */
static inline int64_t pack_row_bytes(const struct wn_packed *packed, int64_t count)
{
    return packed->bits ? pack_code_bytes(count, packed->bits) : count * pack_number_bytes(packed->kind);
}

static inline int64_t pack_mask_bytes(const struct wn_packed *packed)
{
    return (packed->columns + 7) / 8;
}

/* Bytes of a column number of an outlier. */
static inline int pack_column_bytes(const struct wn_packed *packed)
{
    return packed->columns <= UINT16_MAX + 1 ? 2 : 4;
}

static inline int64_t pack_outlier_column(const struct wn_packed *packed, int64_t index)
{
    uint32_t column = 0;

    memcpy(&column, packed->outlier_columns + index * pack_column_bytes(packed), (size_t)pack_column_bytes(packed));
    return column;
}

/* Values stored of a row whose count needs no mask. */
static inline int64_t pack_even_count(const struct wn_packed *packed)
{
    return packed->set == WN_PACKED_RUNS ? packed->columns / packed->run * packed->kept : packed->columns;
}

/*
 * Sets `size` and, with `base`, all arrays. value_bytes: of all values, read with WN_PACKED_ROWS only.
 */
void pack_lay_out(struct wn_packed *packed, uint8_t *base, int64_t value_bytes);

void pack_write_header(const struct wn_packed *packed, uint8_t *bytes);

#endif
