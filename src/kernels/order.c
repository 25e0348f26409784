/* SPDX-License-Identifier: Apache-2.0 */
/* order.c: bytes of packed weights in the order that a kernel reads, and back. */
#include "strips.h"

#include <string.h>

/* The bytes of a linear while its strips are turned. */
struct turning {
    const struct wn_packed *packed;
    bool masked;             /* some weights are not stored */
    uint8_t *masks, *values; /* in the bytes that are written; masks: where masked */
    int64_t mask_bytes;      /* of a row */
    int64_t width;           /* of a number or word */
};

/* Columns that begin with a word in every row. */
static int64_t run_of(const struct wn_packed *p)
{
    return p->bits % 2 ? 32 : STRIP;
}

bool strips_fit(const struct wn_packed *p)
{
    if (p->rows < STRIP)
        return false;
    const bool halves = p->kind == WN_PACKED_BF16 || p->kind == WN_PACKED_F16;
    if (p->set != WN_PACKED_ALL)
        return halves || p->kind == WN_PACKED_F32;
    return (halves || p->kind == WN_PACKED_CODES) && p->columns % run_of(p) == 0;
}

static uint32_t start_of(const struct wn_packed *p, int64_t row)
{
    uint32_t start;
    memcpy(&start, p->start + row * (int64_t)sizeof start, sizeof start);
    return start;
}

/* Where the values of a row begin. */
static int64_t values_at(const struct turning *t, int64_t row)
{
    const struct wn_packed *p = t->packed;
    if (p->set == WN_PACKED_ROWS)
        return start_of(p, row);
    const int64_t stored = p->set == WN_PACKED_RUNS ? p->columns / p->run * p->kept : p->columns;
    return row * (p->bits ? stored * p->bits / 8 : stored * t->width);
}

/* Words [rows, columns] become [columns, rows]. */
static void transpose(const uint8_t *from, int64_t rows, int64_t columns, uint8_t *to)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            memcpy(to + (c * rows + r) * 4, from + (r * columns + c) * 4, 4);
}

static bool is_stored(const uint8_t *masks, int64_t mask_bytes, int row, int64_t column)
{
    return masks[row * mask_bytes + column / 8] >> column % 8 & 1;
}

/* Masks and numbers of rows to those of columns. */
static void to_columns(const struct turning *t, int64_t first, const uint8_t *masks, const uint8_t *values,
                       uint8_t *mask_out, uint8_t *out)
{
    const uint8_t *from[STRIP];
    for (int r = 0; r < STRIP; r++)
        from[r] = values + values_at(t, first + r) - values_at(t, first);
    for (int64_t c = 0; c < t->packed->columns; c++) {
        uint16_t mask = 0;
        for (int r = 0; r < STRIP; r++) {
            if (!is_stored(masks, t->mask_bytes, r, c))
                continue;
            mask |= (uint16_t)(1U << r);
            memcpy(out, from[r], (size_t)t->width);
            out += t->width;
            from[r] += t->width;
        }
        memcpy(mask_out + c * (int64_t)sizeof mask, &mask, sizeof mask);
    }
}

/* And back; mask_out is 0. */
static void to_rows(const struct turning *t, int64_t first, const uint8_t *masks, const uint8_t *values,
                    uint8_t *mask_out, uint8_t *out)
{
    uint8_t *to[STRIP];
    for (int r = 0; r < STRIP; r++)
        to[r] = out + values_at(t, first + r) - values_at(t, first);
    for (int64_t c = 0; c < t->packed->columns; c++) {
        uint16_t mask;
        memcpy(&mask, masks + c * (int64_t)sizeof mask, sizeof mask);
        for (int r = 0; r < STRIP; r++) {
            if (!(mask >> r & 1))
                continue;
            mask_out[r * t->mask_bytes + c / 8] |= (uint8_t)(1U << c % 8);
            memcpy(to[r], values, (size_t)t->width);
            to[r] += t->width;
            values += t->width;
        }
    }
}

static void turn_strip(const struct turning *t, int64_t first, bool back)
{
    uint8_t *masks = t->masked ? t->masks + first * t->mask_bytes : NULL, *values = t->values + values_at(t, first);
    const int64_t bytes = values_at(t, first + STRIP) - values_at(t, first), words = bytes / 4 / STRIP;
    const int64_t mask_bytes = t->masked ? STRIP * t->mask_bytes : 0;
    uint8_t *copy = wn_alloc(bytes + mask_bytes, 1);
    memcpy(copy, values, (size_t)bytes);
    if (!t->masked) {
        transpose(copy, back ? words : STRIP, back ? STRIP : words, values);
    } else {
        memcpy(copy + bytes, masks, (size_t)mask_bytes);
        memset(masks, 0, (size_t)mask_bytes);
        (back ? to_rows : to_columns)(t, first, copy + bytes, copy, masks, values);
    }
    wn_free(copy);
}

static void turn_all(const struct wn_packed *p, uint8_t *bytes, bool back)
{
    const bool masked = p->set != WN_PACKED_ALL;
    const struct turning t = {.packed = p,
                              .masked = masked,
                              .masks = masked ? bytes + (p->mask - p->bytes) : NULL,
                              .values = bytes + (p->values - p->bytes),
                              .mask_bytes = (p->columns + 7) / 8,
                              .width = p->kind == WN_PACKED_F32 ? 4 : 2};
#pragma omp parallel for schedule(static)
    for (int64_t strip = 0; strip < p->rows / STRIP; strip++)
        turn_strip(&t, strip * STRIP, back);
}

void strips_turn(const struct wn_packed *packed, uint8_t *bytes)
{
    turn_all(packed, bytes, false);
}

void strips_turn_back(const struct wn_packed *packed, uint8_t *bytes)
{
    turn_all(packed, bytes, true);
}
