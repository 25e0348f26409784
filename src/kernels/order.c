/* SPDX-License-Identifier: Apache-2.0 */
/* order.c: bytes of packed weights in the order that a kernel reads, and back. */
#include "strips.h"

#include <string.h>

/* The bytes of a linear while its strips are turned. */
struct turning {
    const struct wn_packed *packed;
    bool masked, paired;     /* some weights are not stored; 2 of 4 are */
    uint8_t *masks, *values; /* in the bytes that are written; masks: where masked */
    int64_t mask_bytes;      /* of a row */
    int64_t width;           /* of a number or word */
};

/* Columns that begin with a word in every row. */
static int64_t run_of(const struct wn_packed *p)
{
    return p->bits % 2 ? 32 : STRIP;
}

bool strips_paired(const struct wn_packed *p)
{
    return p->set == WN_PACKED_RUNS && p->run == 4 && p->kept == 2 && p->columns % PAIR_RUN == 0;
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

/* Numbers that rows first .. end - 1 store. */
static int64_t stored_in(const struct turning *t, int64_t first, int64_t end)
{
    return (values_at(t, end) - values_at(t, first)) / t->width;
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

/* ---- two of each four ---- */

/* Four bits of a mask, two of which are set, to the places of the two, and back. */
static unsigned places_of_mask(unsigned mask)
{
    const unsigned low = (unsigned)__builtin_ctz(mask);
    return low | (unsigned)__builtin_ctz(mask & (mask - 1)) << 2;
}

static unsigned mask_of_places(unsigned places)
{
    return 1U << (places & 3) | 1U << (places >> 2);
}

static void change_nibbles(uint8_t *bytes, int64_t count, unsigned (*change)(unsigned nibble))
{
    for (int64_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(change(bytes[i] & 15U) | change(bytes[i] >> 4) << 4);
}

/* `masks` has a copy of what `out` becomes. */
static void turn_pairs(uint8_t *masks, int64_t words, bool back, uint8_t *out)
{
    if (!back)
        change_nibbles(masks, words * STRIP * 4, places_of_mask);
    transpose(masks, back ? words : STRIP, back ? STRIP : words, out);
    if (back)
        change_nibbles(out, words * STRIP * 4, mask_of_places);
}

/* ---- lists ---- */

/* A row while its numbers are listed, or come back from their list. */
struct listed {
    uint8_t *mask, *value; /* the next number */
    int64_t column, left;  /* of the last one; numbers */
};

/* Both ends of a list, whose rows are read or written. */
struct ends {
    uint8_t *gap, *value;
};

static void list_next(struct listed *row, int64_t width, struct ends *to)
{
    int64_t next = row->column + 1;
    while (next - row->column < LIST_SKIP && !is_stored(row->mask, 0, 0, next))
        next++;
    *to->gap++ = (uint8_t)(next - row->column);
    const bool number = next - row->column < LIST_SKIP;
    row->column = next;
    if (!number)
        return;
    memcpy(to->value, row->value, (size_t)width);
    to->value += width;
    row->value += width;
    row->left--;
}

static void unlist_next(struct listed *row, int64_t width, struct ends *from)
{
    const uint8_t gap = *from->gap++;
    row->column += gap;
    if (gap == LIST_SKIP)
        return;
    row->mask[row->column / 8] |= (uint8_t)(1U << row->column % 8);
    memcpy(row->value, from->value, (size_t)width);
    from->value += width;
    row->value += width;
    row->left--;
}

static bool have_all(const struct listed *rows)
{
    bool all = true;
    for (int i = 0; i < LIST_ROWS; i++)
        all &= rows[i].left > 0;
    return all;
}

/* Rows of the strip that begins with row `first`, as they are listed; their masks and values are `rows`. */
static void open_rows(const struct turning *t, int64_t first, struct ends rows, struct listed listed[STRIP])
{
    int32_t counts[STRIP];
    uint8_t order[STRIP];
    for (int i = 0; i < STRIP; i++)
        counts[i] = (int32_t)stored_in(t, first + i, first + i + 1);
    strips_list_order(counts, order);
    for (int i = 0; i < STRIP; i++)
        listed[i] = (struct listed){.mask = rows.gap + order[i] * t->mask_bytes,
                                    .value = rows.value + values_at(t, first + order[i]) - values_at(t, first),
                                    .column = -1,
                                    .left = counts[order[i]]};
}

static void turn_lists(const struct turning *t, int64_t first, bool back, struct ends rows, struct ends lists)
{
    void (*const turn)(struct listed * row, int64_t width, struct ends * lists) = back ? unlist_next : list_next;
    struct listed listed[STRIP];
    open_rows(t, first, rows, listed);
    for (struct listed *group = listed; group < listed + STRIP; group += LIST_ROWS) {
        while (have_all(group))
            for (int i = 0; i < LIST_ROWS; i++)
                turn(&group[i], t->width, &lists);
        for (int i = 0; i < LIST_ROWS; i++)
            while (group[i].left)
                turn(&group[i], t->width, &lists);
    }
}

/* ---- all strips ---- */

/* `masks` and `values` are a copy of what is written. */
static void turn_masked(const struct turning *t, int64_t first, bool back, uint8_t *masks, uint8_t *values,
                        uint8_t *mask_out, uint8_t *out)
{
    const bool listed = strips_listed(stored_in(t, first, first + STRIP), t->packed->columns);
    memset(mask_out, 0, (size_t)(STRIP * t->mask_bytes));
    if (t->paired)
        turn_pairs(masks, t->mask_bytes / 4, back, mask_out);
    else if (listed && back)
        turn_lists(t, first, back, (struct ends){mask_out, out}, (struct ends){masks, values});
    else if (listed)
        turn_lists(t, first, back, (struct ends){masks, values}, (struct ends){mask_out, out});
    else
        (back ? to_rows : to_columns)(t, first, masks, values, mask_out, out);
}

static void turn_strip(const struct turning *t, int64_t first, bool back)
{
    uint8_t *masks = t->masked ? t->masks + first * t->mask_bytes : NULL, *values = t->values + values_at(t, first);
    const int64_t bytes = values_at(t, first + STRIP) - values_at(t, first), words = bytes / 4 / STRIP;
    const int64_t mask_bytes = t->masked ? STRIP * t->mask_bytes : 0;
    uint8_t *copy = wn_alloc(bytes + mask_bytes, 1);
    memcpy(copy, values, (size_t)bytes);
    if (t->masked) {
        memcpy(copy + bytes, masks, (size_t)mask_bytes);
        turn_masked(t, first, back, copy + bytes, copy, masks, values);
    }
    if (!t->masked || t->paired)
        transpose(copy, back ? words : STRIP, back ? STRIP : words, values);
    wn_free(copy);
}

static void turn_all(const struct wn_packed *p, uint8_t *bytes, bool back)
{
    const bool masked = p->set != WN_PACKED_ALL;
    const struct turning t = {.packed = p,
                              .masked = masked,
                              .paired = strips_paired(p),
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
