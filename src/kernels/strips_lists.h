/* SPDX-License-Identifier: Apache-2.0 */
/* strips_lists.h: a part of strips_body.h: weights of which so few are stored that their columns are listed. */

INLINE int width_of(enum wn_packed_kind kind)
{
    return kind == WN_PACKED_F32 ? 4 : 2;
}

INLINE int64_t stored_in(const struct strips *s, int64_t row, int64_t end)
{
    return (row_values(s, end) - row_values(s, row)) / width_of(s->kind);
}

INLINE bool is_listed(const struct strips *s, int64_t strip)
{
    return s->masks && !s->paired && strips_listed(stored_in(s, strip * STRIP, (strip + 1) * STRIP), s->in);
}

INLINE float number_at(enum wn_packed_kind kind, const uint8_t *from)
{
    float number;
    uint16_t half;
    if (kind == WN_PACKED_F32) {
        memcpy(&number, from, sizeof number);
        return number;
    }
    memcpy(&half, from, sizeof half);
    if (kind == WN_PACKED_F16)
        return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128((int)((uint32_t)half << 16))));
}

/* The lists of LIST_ROWS rows. */
struct lists {
    const uint8_t *gaps, *values; /* the next ones */
    int64_t left[LIST_ROWS];      /* numbers of a row */
    int64_t column[LIST_ROWS];    /* of its last one */
};

/* The lists of a strip: its rows in their order, and how many numbers each has. */
struct list_rows {
    int32_t counts[STRIP];
    uint8_t order[STRIP];
    struct lists next; /* those of the next LIST_ROWS */
};

INLINE void open_strip(const struct strips *s, int64_t strip, struct list_rows *rows)
{
    for (int i = 0; i < STRIP; i++)
        rows->counts[i] = (int32_t)stored_in(s, strip * STRIP + i, strip * STRIP + i + 1);
    strips_list_order(rows->counts, rows->order);
    rows->next = (struct lists){.gaps = s->masks + strip * s->mask_bytes, .values = row_values(s, strip * STRIP)};
}

/* Those of places first .. first + LIST_ROWS - 1. */
INLINE struct lists *next_lists(struct list_rows *rows, int64_t first)
{
    for (int i = 0; i < LIST_ROWS; i++) {
        rows->next.left[i] = rows->counts[rows->order[first + i]];
        rows->next.column[i] = -1;
    }
    return &rows->next;
}

/* Numbers that all rows have. */
INLINE int64_t shortest(const struct lists *lists)
{
    int64_t n = lists->left[0];
    for (int i = 1; i < LIST_ROWS; i++)
        n = lists->left[i] < n ? lists->left[i] : n;
    return n;
}

/* The next byte of a row: whether there is a number. */
INLINE bool take_gap(struct lists *lists, int row)
{
    const int gap = *lists->gaps++;
    lists->column[row] += gap;
    lists->left[row] -= gap != LIST_SKIP;
    return gap != LIST_SKIP;
}

/* ---- their sums ---- */

/* MOST_TURNED: rows of x at a time, so that the sums of LIST_ROWS outputs stay in registers. */
enum { MOST_TURNED = 2 * LANES };

/* One row of x, or [in, width] of several: what a number is multiplied by lies side by side. */
struct inputs {
    const float *x;
    int64_t width; /* 1, 8, 16, 32: a constant */
};

/* Sums of an output; the one of its width is used. */
struct sum {
    float one;
    __m256 eight;
    VECTOR many[2];
};

INLINE struct sum no_sum(void)
{
    return (struct sum){.one = 0, .eight = _mm256_setzero_ps(), .many = {SET1(0), SET1(0)}};
}

INLINE void add_number(struct inputs inputs, int64_t column, float w, struct sum *sum)
{
    const float *x = inputs.x + column * inputs.width;
    if (inputs.width == 1)
        sum->one = __builtin_fmaf(w, *x, sum->one);
    else if (inputs.width == 8)
        sum->eight = _mm256_fmadd_ps(_mm256_set1_ps(w), _mm256_loadu_ps(x), sum->eight);
    else
#pragma GCC unroll 2
        for (int i = 0; i < inputs.width / LANES; i++)
            sum->many[i] = FMA(SET1(w), LOAD(x + i * LANES), sum->many[i]);
}

/* Of `rows` rows of x, to out [rows, STRIP]. */
INLINE void put_sum(const struct sum *sum, struct inputs inputs, int64_t rows, float *out)
{
    float all[MOST_TURNED] = {0};
    if (inputs.width == 1)
        all[0] = sum->one;
    else if (inputs.width == 8)
        _mm256_storeu_ps(all, sum->eight);
    else
        for (int i = 0; i < inputs.width / LANES; i++)
            STORE(all + i * LANES, sum->many[i]);
    for (int64_t r = 0; r < rows; r++)
        out[r * STRIP] = all[r];
}

/* At most n numbers of each row, up to a gap that is long; how many. */
INLINE int64_t add_short_gaps(enum wn_packed_kind kind, int64_t n, struct inputs inputs, struct lists *lists,
                              struct sum *sums)
{
    const uint8_t *gaps = lists->gaps, *values = lists->values, *const first = gaps;
    const uint8_t *const end = gaps + n * LIST_ROWS;
    struct sum add[LIST_ROWS];
    int64_t column[LIST_ROWS];
#pragma GCC unroll 4
    for (int i = 0; i < LIST_ROWS; i++) {
        column[i] = lists->column[i];
        add[i] = sums[i];
    }
    for (; gaps < end; gaps += LIST_ROWS, values += LIST_ROWS * width_of(kind)) {
        uint32_t word;
        memcpy(&word, gaps, sizeof word);
        if (__builtin_expect(word & 0x80808080, 0))
            break;
        _mm_prefetch((const char *)(values + 4 * AHEAD), _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < LIST_ROWS; i++) {
            column[i] += gaps[i];
            add_number(inputs, column[i], number_at(kind, values + i * width_of(kind)), &add[i]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < LIST_ROWS; i++) {
        lists->column[i] = column[i];
        lists->left[i] -= (gaps - first) / LIST_ROWS;
        sums[i] = add[i];
    }
    lists->gaps = gaps;
    lists->values = values;
    return (gaps - first) / LIST_ROWS;
}

/* The next `n` bytes of a row, or all that are left with its last number. */
INLINE void add_row(enum wn_packed_kind kind, int row, int64_t n, struct inputs inputs, struct lists *all,
                    struct sum *sums)
{
    const uint8_t *gaps = all->gaps, *values = all->values;
    int64_t left = all->left[row], column = all->column[row];
    struct sum add = sums[row];
    for (int64_t j = 0; j < n && left; j++) {
        const int gap = *gaps++;
        column += gap;
        if (__builtin_expect(gap == LIST_SKIP, 0))
            continue;
        add_number(inputs, column, number_at(kind, values), &add);
        values += width_of(kind);
        left--;
    }
    sums[row] = add;
    all->gaps = gaps;
    all->values = values;
    all->left[row] = left;
    all->column[row] = column;
}

INLINE void add_lists(enum wn_packed_kind kind, struct inputs inputs, struct lists *lists, struct sum *sums)
{
#pragma GCC unroll 4
    for (int i = 0; i < LIST_ROWS; i++)
        sums[i] = no_sum();
    for (int64_t n = shortest(lists); n > 0; n = shortest(lists))
        if (add_short_gaps(kind, n, inputs, lists, sums) < n)
            for (int i = 0; i < LIST_ROWS; i++)
                add_row(kind, i, 1, inputs, lists, sums);
    for (int i = 0; i < LIST_ROWS; i++)
        add_row(kind, i, INT64_MAX, inputs, lists, sums);
}

/* To out [rows, STRIP]. */
INLINE void run_lists(const struct strips *s, int64_t strip, enum wn_packed_kind kind, struct inputs inputs,
                      int64_t rows, float *out)
{
    struct list_rows list;
    struct sum sums[LIST_ROWS];
    open_strip(s, strip, &list);
    for (int64_t first = 0; first < STRIP; first += LIST_ROWS) {
        add_lists(kind, inputs, next_lists(&list, first), sums);
        for (int i = 0; i < LIST_ROWS; i++)
            put_sum(&sums[i], inputs, rows, out + list.order[first + i]);
    }
}

/* Rows first .. first + rows - 1 of `all` rows of x to turned [in, width], zeros behind the last row. */
INLINE void turn_inputs(const struct strips *s, const float *x, int64_t all, int64_t first, int64_t rows, int64_t width,
                        float *turned)
{
    for (int64_t k = 0; k < s->in; k += LANES)
        for (int64_t r = 0; r < rows; r += LANES) {
            VECTOR square[LANES];
            for (int i = 0; i < LANES; i++)
                square[i] = r + i < rows ? LOAD(x + (k / STRIP * all + first + r + i) * STRIP + k % STRIP) : SET1(0);
            TRANSPOSE(square);
            for (int c = 0; c < LANES; c++)
                if (width < LANES)
                    _mm256_storeu_ps(turned + (k + c) * width, LOWER_EIGHT(square[c]));
                else
                    STORE(turned + (k + c) * width + r, square[c]);
        }
}

/* ---- a panel of them ---- */

INLINE void put_next(enum wn_packed_kind kind, int row, struct lists *lists, float *column)
{
    if (!take_gap(lists, row))
        return;
    column[lists->column[row] * STRIP] = number_at(kind, lists->values);
    lists->values += width_of(kind);
}

/* As x has them: a whole number of strips. */
INLINE int64_t padded_columns(const struct strips *s)
{
    return (s->in + STRIP - 1) / STRIP * STRIP;
}

/* All of a strip, to panel [padded columns, STRIP]. */
FUNCTION static void unpack_lists(const struct strips *s, int64_t strip, float *panel)
{
    struct list_rows rows;
    open_strip(s, strip, &rows);
    memset(panel, 0, (size_t)(padded_columns(s) * STRIP) * sizeof *panel);
    for (int64_t first = 0; first < STRIP; first += LIST_ROWS) {
        struct lists *lists = next_lists(&rows, first);
        while (shortest(lists))
            for (int i = 0; i < LIST_ROWS; i++)
                put_next(s->kind, i, lists, panel + rows.order[first + i]);
        for (int i = 0; i < LIST_ROWS; i++)
            while (lists->left[i])
                put_next(s->kind, i, lists, panel + rows.order[first + i]);
    }
}

/* ---- strips of them ---- */

/* `kind` is a constant. */
INLINE void add_listed_of(const struct strips *s, int64_t strip, enum wn_packed_kind kind, struct inputs inputs,
                          int64_t rows, float *sums)
{
    if (inputs.width == 1)
        run_lists(s, strip, kind, (struct inputs){inputs.x, 1}, rows, sums);
    else if (inputs.width == 8)
        run_lists(s, strip, kind, (struct inputs){inputs.x, 8}, rows, sums);
    else if (inputs.width == 16)
        run_lists(s, strip, kind, (struct inputs){inputs.x, 16}, rows, sums);
    else
        run_lists(s, strip, kind, (struct inputs){inputs.x, 2 * LANES}, rows, sums);
}

#define ADD_LISTED(kind) add_listed_of(s, strip, kind, inputs, rows, sums)

FUNCTION static void add_listed(const struct strips *s, int64_t strip, struct inputs inputs, int64_t rows, float *sums)
{
    FOR_KINDS(s->kind, ADD_LISTED);
}

/* `count` strips in lists, MOST_TURNED rows of x at a time. */
FUNCTION static void listed_strips(const struct strips *s, int64_t first, int64_t count, const float *x, int64_t rows,
                                   float *sums)
{
    float *turned = rows > 1 ? wn_alloc(padded_columns(s) * MOST_TURNED, sizeof *turned) : NULL;
    for (int64_t r = 0; r < rows; r += MOST_TURNED) {
        const int64_t n = rows - r < MOST_TURNED ? rows - r : MOST_TURNED;
        const int64_t width = n <= 8 ? 8 : n <= 16 ? 16 : 2 * LANES;
        const struct inputs inputs = {rows > 1 ? turned : x, rows > 1 ? width : 1};
        if (rows > 1)
            turn_inputs(s, x, rows, r, n, width, turned);
        for (int64_t i = 0; i < count; i++)
            add_listed(s, first + i, inputs, n, sums + (i * rows + r) * STRIP);
    }
    wn_free(turned);
}
