/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a compressed linear to its bytes. All forms that could hold it are measured, the smallest is written, unpacked
 * and compared; when a bit differs, the next one is. Dense numbers come last and cannot differ.
 */
#include "form.h"

#include <winnow/io.h>

#include <math.h>

/* ---- what is there to be stored ---- */

enum choice { ALL, KEPT, NOT_ZERO, CHOICES };

/* How many weights of each row one choice stores, and in which runs. */
struct counts {
    int32_t *rows; /* [rows]; NULL: the choice is none */
    int64_t total;
    int64_t run, kept; /* run 0: rows differ, and so do runs */
};

struct source {
    const struct wn_compressed *compressed;
    enum wn_packed_kind number; /* of the weights */
    bool has_codes;             /* and grids that fit into the form */
    struct counts counts[CHOICES];
};

static inline uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Whether the weight at a place is stored; -0 is not 0. */
static inline bool is_stored(const struct wn_compressed *c, enum choice choice, int64_t at)
{
    return choice == ALL || (choice == KEPT ? c->keep[at] != 0 : bits_of(c->weight[at]) != 0);
}

/* IEEE binary16 has 10 bits behind the leading one, fewer below 2^-14. */
static inline bool fits_half(uint32_t bits)
{
    const int exponent = (int)(bits >> 23 & 255) - 127;
    const uint32_t fraction = bits & 0x7FFFFF;

    if (!(bits & INT32_MAX))
        return true;
    if (exponent > 15 || exponent < -24)
        return false;
    return !(fraction & ((1U << (exponent < -14 ? 13 - 14 - exponent : 13)) - 1));
}

static bool all_fit_half(const float *values, int64_t count)
{
    bool half = true;

#pragma omp parallel for schedule(static) reduction(&& : half)
    for (int64_t i = 0; i < count; i++)
        half = half && fits_half(bits_of(values[i]));
    return half;
}

/* The first kind that holds all values. Zeros in no order among them cost a wrong guess each where a loop branches. */
static enum wn_packed_kind kind_of(const float *values, int64_t count)
{
    uint32_t low = 0;

#pragma omp parallel for simd schedule(static) reduction(| : low)
    for (int64_t i = 0; i < count; i++)
        low |= bits_of(values[i]);
    if (!(low & 0xFFFF))
        return WN_PACKED_BF16;
    return all_fit_half(values, count) ? WN_PACKED_F16 : WN_PACKED_F32;
}

/* True when every run of `run` columns stores `kept`. */
static bool runs_are_even(const struct wn_compressed *c, enum choice choice, int64_t run, int64_t kept)
{
    bool even = true;

#pragma omp parallel for schedule(static) reduction(&& : even)
    for (int64_t row = 0; row < c->rows; row++)
        for (int64_t first = row * c->columns; even && first < (row + 1) * c->columns; first += run) {
            int64_t stored = 0;
            for (int64_t i = 0; i < run; i++)
                stored += is_stored(c, choice, first + i);
            even = stored == kept;
        }
    return even;
}

/* The shortest runs that all store the same number; a whole row at most. */
static void find_runs(const struct wn_compressed *c, enum choice choice, struct counts *counts)
{
    enum { LONGEST = 64 }; /* of N:M patterns */
    const int64_t weights = c->rows * c->columns;

    for (int64_t run = 2; run <= LONGEST && run < c->columns && !counts->run; run++)
        if (c->columns % run == 0 && counts->total * run % weights == 0 &&
            runs_are_even(c, choice, run, counts->total * run / weights)) {
            counts->run = run;
            counts->kept = counts->total * run / weights;
        }
    for (int64_t row = 1; row < c->rows && !counts->run; row++)
        if (counts->rows[row] != counts->rows[0])
            return;
    if (!counts->run) {
        counts->run = c->columns;
        counts->kept = counts->rows[0];
    }
}

static void count_stored(const struct wn_compressed *c, enum choice choice, struct counts *counts)
{
    int64_t total = 0;

    counts->rows = wn_alloc(c->rows, sizeof *counts->rows);
#pragma omp parallel for schedule(static) reduction(+ : total)
    for (int64_t row = 0; row < c->rows; row++) {
        int32_t stored = 0;
        for (int64_t at = row * c->columns; at < (row + 1) * c->columns; at++)
            stored += is_stored(c, choice, at);
        counts->rows[row] = stored;
        total += stored;
    }
    counts->total = total;
    find_runs(c, choice, counts);
}

static void open_source(const struct wn_compressed *c, struct source *source)
{
    *source = (struct source){.compressed = c, .number = kind_of(c->weight, c->rows * c->columns)};
    source->has_codes = c->bits > 0 && c->codes && c->scales && c->zeros;
    if (c->has_mask)
        count_stored(c, KEPT, &source->counts[KEPT]);
    count_stored(c, NOT_ZERO, &source->counts[NOT_ZERO]);
}

static void close_source(struct source *source)
{
    for (int i = 0; i < CHOICES; i++)
        wn_free(source->counts[i].rows);
}

/* ---- grids ---- */

static int64_t count_grids(const struct wn_packed *p)
{
    return p->grid_rows * p->n_groups;
}

/* True when the codes of the second level give exactly these numbers. */
static bool second_fits(const struct wn_packed *p, const struct wn_second_level *level, const float *numbers)
{
    if (!level->bits || level->run < 1 || p->n_groups < 1 || !p->group)
        return false;
    for (int64_t i = 0; i < count_grids(p); i++) {
        const int64_t grid = i / p->n_groups / level->run * p->n_groups + i % p->n_groups;
        const float value = level->scales[grid] * ((float)level->codes[i] - level->zeros[grid]);
        if (bits_of(value) != bits_of(numbers[i]))
            return false;
    }
    return true;
}

static bool all_same(const float *numbers, int64_t count)
{
    for (int64_t i = 1; i < count; i++)
        if (bits_of(numbers[i]) != bits_of(numbers[0]))
            return false;
    return true;
}

static bool are_codes(const float *numbers, int64_t count, int bits)
{
    for (int64_t i = 0; i < count; i++)
        if (!(numbers[i] >= 0.0f && numbers[i] < (float)(1 << bits)) ||
            bits_of((float)(int)numbers[i]) != bits_of(numbers[i]))
            return false;
    return true;
}

static void choose_scales(const struct wn_compressed *c, struct wn_packed *p)
{
    if (second_fits(p, &c->second_scales, c->scales)) {
        p->scales.kind = WN_PACKED_SECOND;
        p->scales.bits = c->second_scales.bits;
        p->run_rows = c->second_scales.run;
    } else {
        p->scales.kind = kind_of(c->scales, count_grids(p));
    }
}

/* After the scales: both have one length of runs of rows. */
static void choose_zeros(const struct wn_compressed *c, struct wn_packed *p)
{
    const bool run_fits = p->scales.kind != WN_PACKED_SECOND || p->run_rows == c->second_zeros.run;

    if (all_same(c->zeros, count_grids(p))) {
        p->zeros.kind = WN_PACKED_CONSTANT;
        p->zeros.constant = c->zeros[0];
    } else if (run_fits && second_fits(p, &c->second_zeros, c->zeros)) {
        p->zeros.kind = WN_PACKED_SECOND;
        p->zeros.bits = c->second_zeros.bits;
        p->run_rows = c->second_zeros.run;
    } else if (are_codes(c->zeros, count_grids(p), c->bits)) {
        p->zeros.kind = WN_PACKED_CODES;
        p->zeros.bits = c->bits;
    } else {
        p->zeros.kind = kind_of(c->zeros, count_grids(p));
    }
}

/* The group of every column when they do not lie side by side; NULL when they do. Owned by the caller. */
static uint32_t *find_groups(const struct wn_compressed *c)
{
    bool side_by_side = true;

    if (!c->order || c->group < 1 || c->n_groups < 2)
        return NULL;
    uint32_t *groups = wn_alloc(c->columns, sizeof *groups);
    for (int64_t i = 0; i < c->columns; i++) {
        groups[c->order[i]] = (uint32_t)(i / c->group);
        side_by_side = side_by_side && c->order[i] / c->group == i / c->group;
    }
    if (side_by_side) {
        wn_free(groups);
        return NULL;
    }
    return groups;
}

static void choose_grids(const struct wn_compressed *c, struct wn_packed *p)
{
    p->kind = WN_PACKED_CODES;
    p->bits = c->bits;
    p->group = c->group;
    p->n_groups = c->n_groups;
    p->grid_rows = c->group ? c->rows : 1;
    choose_scales(c, p);
    choose_zeros(c, p);
    uint32_t *groups = find_groups(c);
    p->group_bytes = !groups ? 0 : c->n_groups <= UINT16_MAX ? 2 : 4;
    wn_free(groups);
    p->n_outliers = c->n_outliers;
    for (int64_t i = 0; i < c->n_outliers && p->outlier_kind != WN_PACKED_F32; i++) {
        const enum wn_packed_kind kind = kind_of(&c->outliers[i].value, 1);
        p->outlier_kind = i == 0 || kind == p->outlier_kind ? kind : WN_PACKED_F32;
    }
    if (c->input_scale)
        p->input_kind = kind_of(c->input_scale, c->columns);
}

/* ---- forms ---- */

/* A form and the bytes of its values. */
struct form {
    struct wn_packed packed;
    enum choice choice;
    int64_t value_bytes;
};

static void measure(const struct source *source, enum choice choice, struct form *form)
{
    const struct counts *counts = &source->counts[choice];
    struct wn_packed *p = &form->packed;

    form->choice = choice;
    p->set = choice == ALL ? WN_PACKED_ALL : counts->run ? WN_PACKED_RUNS : WN_PACKED_ROWS;
    p->run = counts->run;
    p->kept = counts->kept;
    for (int64_t row = 0; p->set == WN_PACKED_ROWS && row < p->rows; row++)
        form->value_bytes += pack_row_bytes(p, counts->rows[row]);
    pack_lay_out(p, NULL, form->value_bytes);
}

/* All forms that may hold the linear; returns how many. Dense numbers are the last. */
static int find_forms(const struct source *source, struct form forms[2 * CHOICES])
{
    const struct wn_compressed *c = source->compressed;
    const struct form base = {.packed = {.rows = c->rows, .columns = c->columns, .run_rows = 1, .grid_rows = c->rows}};
    int count = 0;

    if (source->counts[NOT_ZERO].total == 0) {
        forms[0] = base;
        measure(source, ALL, &forms[0]);
        return 1;
    }
    for (int i = KEPT; i >= ALL && source->has_codes; i--)
        if (i == ALL || source->counts[i].rows) {
            forms[count] = base;
            choose_grids(c, &forms[count].packed);
            measure(source, (enum choice)i, &forms[count++]);
        }
    for (int i = NOT_ZERO; i >= ALL; i--)
        if (i == ALL || source->counts[i].rows) {
            forms[count] = base;
            forms[count].packed.kind = source->number;
            measure(source, (enum choice)i, &forms[count++]);
        }
    return count;
}

/* The places of values are 32 bits wide where rows differ; so are those of outliers. */
static bool is_too_long(const struct form *form)
{
    return (form->packed.set == WN_PACKED_ROWS && form->value_bytes > UINT32_MAX) ||
           form->packed.n_outliers > UINT32_MAX;
}

/* The first of the smallest that are left; it is taken out (size 0). */
static struct form *take_smallest(struct form *forms, int count)
{
    struct form *best = NULL;

    for (int i = 0; i < count; i++)
        if (forms[i].packed.size > 0 && (!best || forms[i].packed.size < best->packed.size))
            best = &forms[i];
    if (!best)
        WN_BUG("no form holds a linear bit for bit");
    return best;
}

/* ---- writing ---- */

static void write_numbers(enum wn_packed_kind kind, const float *values, int64_t count, uint8_t *to)
{
    int64_t overflows;

    if (kind == WN_PACKED_BF16)
        for (int64_t i = 0; i < count; i++) {
            const uint16_t upper = (uint16_t)(bits_of(values[i]) >> 16);
            memcpy(to + 2 * i, &upper, sizeof upper);
        }
    else if (kind != WN_PACKED_NONE)
        wn_tensor_from_float(kind == WN_PACKED_F16 ? WN_F16 : WN_F32, values, count, to, &overflows);
}

static void write_codes(const uint8_t *codes, int64_t count, int bits, uint8_t *to)
{
    uint64_t word = 0;
    int filled = 0;

    for (int64_t i = 0; i < count; i++) {
        word |= (uint64_t)codes[i] << filled;
        for (filled += bits; filled >= 8; filled -= 8, word >>= 8)
            *to++ = (uint8_t)word;
    }
    if (filled)
        *to = (uint8_t)word;
}

static void write_starts(const struct form *form, const int32_t *counts, uint8_t *to)
{
    uint32_t at = 0;

    memcpy(to, &at, sizeof at);
    for (int64_t row = 0; row < form->packed.rows; row++) {
        at += (uint32_t)pack_row_bytes(&form->packed, counts[row]);
        memcpy(to + (row + 1) * (int64_t)sizeof at, &at, sizeof at);
    }
}

/* A row of values and of the mask; `numbers` and `codes` have room for a row. */
static void write_row(const struct wn_compressed *c, const struct form *form, int64_t row, uint8_t *bytes,
                      float *numbers, uint8_t *codes)
{
    const struct wn_packed *p = &form->packed;
    const int64_t first = row * c->columns;
    int64_t stored = 0;

    for (int64_t j = 0; j < c->columns; j++) {
        if (!is_stored(c, form->choice, first + j))
            continue;
        if (p->mask)
            bytes[p->mask - p->bytes + row * pack_mask_bytes(p) + j / 8] |= (uint8_t)(1U << j % 8);
        if (p->bits)
            codes[stored] = c->codes[first + j];
        numbers[stored++] = c->weight[first + j];
    }
    const int64_t at = p->set == WN_PACKED_ROWS ? (int64_t)pack_u32(p->start, row) : row * pack_row_bytes(p, stored);
    if (p->bits)
        write_codes(codes, stored, p->bits, bytes + (p->values - p->bytes) + at);
    else if (p->values)
        write_numbers(p->kind, numbers, stored, bytes + (p->values - p->bytes) + at);
}

static void write_values(const struct wn_compressed *c, const struct form *form, uint8_t *bytes)
{
#pragma omp parallel
    {
        float *numbers = wn_alloc(c->columns, sizeof *numbers);
        uint8_t *codes = wn_alloc(c->columns, sizeof *codes);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < c->rows; row++)
            write_row(c, form, row, bytes, numbers, codes);
        wn_free(codes);
        wn_free(numbers);
    }
}

/* Where an array of the form lies in the bytes that are being written. */
static uint8_t *place(const struct wn_packed *p, uint8_t *bytes, const uint8_t *array)
{
    return bytes + (array - p->bytes);
}

static void write_grid_numbers(const struct wn_packed *p, const struct wn_packed_numbers *n, const float *numbers,
                               const struct wn_second_level *level, uint8_t *bytes)
{
    const int64_t runs = (p->rows + p->run_rows - 1) / p->run_rows;

    if (n->kind == WN_PACKED_CONSTANT)
        return;
    if (n->kind != WN_PACKED_CODES && n->kind != WN_PACKED_SECOND) {
        write_numbers(n->kind, numbers, count_grids(p), place(p, bytes, n->data));
        return;
    }
    uint8_t *codes = wn_alloc(p->n_groups, sizeof *codes);
    for (int64_t row = 0; row < p->grid_rows; row++) {
        for (int64_t g = 0; g < p->n_groups; g++)
            codes[g] = n->kind == WN_PACKED_SECOND ? level->codes[row * p->n_groups + g]
                                                   : (uint8_t)numbers[row * p->n_groups + g];
        write_codes(codes, p->n_groups, n->bits,
                    place(p, bytes, n->data) + row * pack_code_bytes(p->n_groups, n->bits));
    }
    wn_free(codes);
    if (n->kind == WN_PACKED_SECOND) {
        write_numbers(WN_PACKED_F32, level->scales, runs * p->n_groups, place(p, bytes, n->second_scales));
        write_numbers(WN_PACKED_F32, level->zeros, runs * p->n_groups, place(p, bytes, n->second_zeros));
    }
}

static void write_groups(const struct wn_compressed *c, const struct wn_packed *p, uint8_t *bytes)
{
    uint32_t *groups = p->group_bytes ? find_groups(c) : NULL;

    for (int64_t j = 0; groups && j < p->columns; j++)
        memcpy(place(p, bytes, p->groups) + j * p->group_bytes, &groups[j], (size_t)p->group_bytes);
    wn_free(groups);
}

static void write_outliers(const struct wn_compressed *c, const struct wn_packed *p, uint8_t *bytes)
{
    int64_t row = 0;

    for (int64_t i = 0; i < p->n_outliers; i++) {
        const uint32_t column = (uint32_t)(c->outliers[i].index % c->columns);
        for (; row < c->outliers[i].index / c->columns; row++) {
            const uint32_t end = (uint32_t)i;
            memcpy(place(p, bytes, p->outlier_start) + (row + 1) * (int64_t)sizeof end, &end, sizeof end);
        }
        memcpy(place(p, bytes, p->outlier_columns) + i * pack_column_bytes(p), &column, (size_t)pack_column_bytes(p));
        write_numbers(p->outlier_kind, &c->outliers[i].value, 1,
                      place(p, bytes, p->outlier_values) + i * pack_number_bytes(p->outlier_kind));
    }
    for (; p->n_outliers && row < p->rows; row++) {
        const uint32_t end = (uint32_t)p->n_outliers;
        memcpy(place(p, bytes, p->outlier_start) + (row + 1) * (int64_t)sizeof end, &end, sizeof end);
    }
}

static void write_form(const struct source *source, struct form *form)
{
    const struct wn_compressed *c = source->compressed;
    struct wn_packed *p = &form->packed;
    uint8_t *bytes = p->owned = wn_alloc_zero(p->size, 1);

    pack_lay_out(p, bytes, form->value_bytes);
    pack_write_header(p, bytes);
    if (p->set == WN_PACKED_ROWS)
        write_starts(form, source->counts[form->choice].rows, place(p, bytes, p->start));
    write_values(c, form, bytes);
    if (p->bits) {
        write_grid_numbers(p, &p->scales, c->scales, &c->second_scales, bytes);
        write_grid_numbers(p, &p->zeros, c->zeros, &c->second_zeros, bytes);
        write_groups(c, p, bytes);
        write_outliers(c, p, bytes);
        if (p->input_scale)
            write_numbers(p->input_kind, c->input_scale, c->columns, place(p, bytes, p->input_scale));
    }
}

/* The trailer, once the form is the one that is kept. */
static void seal(const struct wn_packed *packed)
{
    const int64_t size = packed->size - WN_PACKED_TRAILER;
    struct wn_hash *hash = wn_hash_create();

    wn_hash_update(hash, packed->owned, (size_t)size);
    wn_hash_finish(hash, packed->owned + size);
}

/* ---- the check ---- */

static bool gives_back(const struct wn_packed *p, const float *weight)
{
    enum { PANEL = 16 };
    bool same = true;

#pragma omp parallel reduction(&& : same)
    {
        float *panel = wn_alloc(PANEL * p->columns, sizeof *panel);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < p->rows; row += PANEL) {
            const int64_t end = p->rows - row < PANEL ? p->rows : row + PANEL;
            wn_packed_rows(p, row, end, panel);
            same =
                same && !memcmp(panel, weight + row * p->columns, (size_t)((end - row) * p->columns) * sizeof *panel);
        }
        wn_free(panel);
    }
    return same;
}

static void open_checked(const struct wn_compressed *compressed, struct source *source)
{
    if (compressed->rows < 1 || compressed->columns < 1 || compressed->rows > PACK_MOST_SIDE ||
        compressed->columns > PACK_MOST_SIDE || compressed->rows * compressed->columns > PACK_MOST_WEIGHTS)
        WN_BUG("a linear of %lld x %lld cannot be packed", (long long)compressed->rows, (long long)compressed->columns);
    open_source(compressed, source);
}

/* Numbers of a kind that holds them all need no look. */
int64_t wn_pack_size(const struct wn_compressed *compressed)
{
    struct form forms[2 * CHOICES];
    struct source source;
    int64_t size = 0;

    open_checked(compressed, &source);
    const int count = find_forms(&source, forms);
    while (!size) {
        struct form *form = take_smallest(forms, count);
        bool holds = !is_too_long(form);
        if (holds && form->packed.bits) {
            write_form(&source, form);
            holds = gives_back(&form->packed, compressed->weight);
            wn_free(form->packed.owned);
        }
        size = holds ? form->packed.size : 0;
        form->packed.size = 0;
    }
    close_source(&source);
    return size;
}

void wn_pack(const struct wn_compressed *compressed, struct wn_packed *packed)
{
    struct form forms[2 * CHOICES], *form;
    struct source source;
    bool holds = false;

    open_checked(compressed, &source);
    const int count = find_forms(&source, forms);
    while (!holds) {
        form = take_smallest(forms, count);
        if (!is_too_long(form)) {
            write_form(&source, form);
            holds = gives_back(&form->packed, compressed->weight);
            *packed = form->packed;
            if (holds)
                seal(packed);
            else
                wn_packed_release(packed);
        }
        form->packed.size = 0;
    }
    close_source(&source);
}
