/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strips_body.h: the kernels of strips.h for one instruction set, which the file that includes it describes: LANES, the
 * types VECTOR and WHOLE, INLINE, and a few operations on them. A vector holds weights of one column, for LANES
 * outputs.
 *
 * Few rows and plain forms: weights are made and used in registers. One row works on two vectors of outputs side by
 * side, as one sum alone waits for itself. All else: the weights of BLOCK columns are written to a panel that stays in
 * the first cache, outliers over them, and then the panel is used for all rows.
 */
enum { BLOCK = 128, DIRECT = 8, SIDES = 2, PARTS = STRIP / LANES, AHEAD = 1024 };

/* Where LANES outputs of a strip are. */
struct side {
    int lane; /* the first */
    const uint8_t *values, *masks;
    const float *scales, *zeros;
    const struct patch *patch, *last_patch;
    VECTOR scale, zero;
};

/* Where the values of a row begin; behind the last row, the end of them all. */
INLINE const uint8_t *row_values(const struct strips *s, int64_t row)
{
    uint32_t start = 0;
    if (s->starts)
        memcpy(&start, s->starts + row * (int64_t)sizeof start, sizeof start);
    return s->values + (s->starts ? start : row * (s->strip_bytes / STRIP));
}

INLINE void open_side(const struct strips *s, int64_t vector, struct side *side)
{
    const int64_t strip = vector / PARTS;
    *side = (struct side){.lane = (int)(vector % PARTS) * LANES, .values = row_values(s, strip * STRIP)};
    if (s->masks)
        side->masks = s->masks + strip * s->mask_bytes + (s->paired ? side->lane * 4 : 0);
    if (!s->masks || s->paired)
        side->values += side->lane * 4;
    side->scales = s->scales ? s->scales + strip * s->n_groups * STRIP + side->lane : NULL;
    side->zeros = s->zeros ? s->zeros + strip * s->n_groups * STRIP + side->lane : NULL;
    side->patch = s->patch ? s->patch + s->first_patch[strip] : NULL;
    side->last_patch = s->patch ? s->patch + s->first_patch[strip + 1] : NULL;
    side->zero = SET1(s->zero);
    side->scale = SET1(1);
}

/* ---- weights of one column ---- */

INLINE void take_grid(int64_t group, struct side *side)
{
    side->scale = LOAD(side->scales + group * STRIP);
    if (side->zeros)
        side->zero = LOAD(side->zeros + group * STRIP);
}

INLINE WHOLE word_of(const struct side *side, int word)
{
    return LOAD_WORDS(side->values + word * 4 * STRIP);
}

/* The code of column c of a run that begins with the next word: CODE_BASE more. */
INLINE VECTOR code_of(const struct side *side, int bits, int c)
{
    const int word = c * bits / 32, shift = c * bits % 32;
    WHOLE code = RIGHT(word_of(side, word), shift);
    if (shift + bits > 32)
        code = OR(code, LEFT(word_of(side, word + 1), 32 - shift));
    return CAST(AND_OR(code, SET1_WORD((1 << bits) - 1), CAST_WORDS(SET1(CODE_BASE))));
}

INLINE VECTOR bf16_of(const struct side *side, int c)
{
    const WHOLE word = word_of(side, c / 2);
    return CAST(c % 2 ? AND(word, SET1_WORD((int)0xffff0000)) : LEFT(word, 16));
}

/* Of the next column, behind which the side stands then. `close`: nothing is read behind the last number. */
INLINE VECTOR next_stored(enum wn_packed_kind kind, bool close, struct side *side)
{
    const int width = kind == WN_PACKED_F32 ? 4 : 2;
    uint16_t mask;
    memcpy(&mask, side->masks, sizeof mask);
    const uint8_t *from = side->values + __builtin_popcount(mask & ((1U << side->lane) - 1)) * width;
    const VECTOR w = EXPAND((mask >> side->lane) & ((1U << LANES) - 1), from, kind, close);
    side->masks += sizeof mask;
    side->values += __builtin_popcount(mask) * width;
    return w;
}

/* Kinds of numbers, as constants where this is called. */
#define FOR_KINDS(kind, call)                                                                                          \
    switch (kind) {                                                                                                    \
    case WN_PACKED_F32:                                                                                                \
        call(WN_PACKED_F32);                                                                                           \
        break;                                                                                                         \
    case WN_PACKED_F16:                                                                                                \
        call(WN_PACKED_F16);                                                                                           \
        break;                                                                                                         \
    default:                                                                                                           \
        call(WN_PACKED_BF16);                                                                                          \
        break;                                                                                                         \
    }

#include "strips_lists.h"
#include "strips_pairs.h"

/* ---- direct ---- */

/* What works in registers: codes by their bits, 16: bf16; and what has masks or is paired. */
enum {
    NOT_DIRECT = -1,
    DIRECT_BF16 = 16,
    MASKED,
    PAIRED = MASKED + WN_PACKED_KINDS,
    LISTED = PAIRED + WN_PACKED_KINDS
};

INLINE void add_column(const VECTOR *w, int n_sides, const float *x, int64_t rows, VECTOR *sums)
{
    for (int i = 0; i < n_sides; i++)
        for (int64_t r = 0; r < rows; r++)
            sums[i * rows + r] = FMA(w[i], SET1(x[r * STRIP]), sums[i * rows + r]);
}

/* Codes whose zero points are whole, and bf16. */
INLINE void add_words(const struct strips *s, struct side *sides, int n_sides, int bits, const float *x, int64_t rows,
                      VECTOR *sums)
{
    const int run = bits % 2 ? 32 : STRIP;
    int64_t left = 0, group = 0;
    for (int64_t k = 0; k < s->in; k += run) {
#pragma GCC unroll 32
        for (int c = 0; c < run; c++) {
            VECTOR w[2];
            if (bits < 16 && c % STRIP == 0) {
                if (left == 0) {
                    for (int i = 0; i < n_sides; i++)
                        take_grid(group, &sides[i]);
                    group++;
                    left = s->group;
                }
                left -= STRIP;
            }
            for (int i = 0; i < n_sides; i++)
                w[i] = bits == 16 ? bf16_of(&sides[i], c)
                                  : MULTIPLY(sides[i].scale, SUBTRACT(code_of(&sides[i], bits, c), sides[i].zero));
            add_column(w, n_sides, x + ((k + c) / STRIP * rows) * STRIP + c % STRIP, rows, sums);
        }
        for (int i = 0; i < n_sides; i++) {
            for (int line = 0; line < run * bits / 32; line++)
                _mm_prefetch((const char *)(sides[i].values + AHEAD + line * 4 * STRIP), _MM_HINT_T0);
            sides[i].values += run * bits / 32 * 4 * STRIP;
        }
    }
}

INLINE void add_stored(const struct strips *s, struct side *sides, int n_sides, enum wn_packed_kind kind,
                       const float *x, int64_t rows, VECTOR *sums)
{
    for (int64_t k = 0; k < s->in; k += STRIP) {
        const int64_t end = s->in - k < STRIP ? s->in - k : STRIP;
        for (int64_t c = 0; c < end; c++) {
            VECTOR w[2];
            for (int i = 0; i < n_sides; i++)
                w[i] = next_stored(kind, false, &sides[i]);
            add_column(w, n_sides, x + k * rows + c, rows, sums);
        }
    }
}

/* Vectors vector .. vector + n_sides - 1. */
INLINE void run_direct(const struct strips *s, int64_t vector, int n_sides, int form, const float *x, int64_t rows,
                       float *const *out)
{
    struct side sides[2];
    VECTOR sums[2 * DIRECT];
    for (int i = 0; i < n_sides; i++)
        open_side(s, vector + i, &sides[i]);
    for (int64_t i = 0; i < n_sides * rows; i++)
        sums[i] = SET1(0);
    if (form < MASKED)
        add_words(s, sides, n_sides, form, x, rows, sums);
    else if (form < PAIRED)
        add_stored(s, sides, n_sides, (enum wn_packed_kind)(form - MASKED), x, rows, sums);
    else
        add_pairs(s, sides, n_sides, (enum wn_packed_kind)(form - PAIRED), x, rows, sums);
    for (int i = 0; i < n_sides; i++)
        for (int64_t r = 0; r < rows; r++)
            STORE(out[i] + r * STRIP, sums[i * rows + r]);
}

/* All vectors of `count` strips; `form` and `rows` are constants where this is called. */
INLINE void direct_strips(const struct strips *s, int64_t first, int64_t count, int form, const float *x, int64_t rows,
                          float *sums)
{
    const int most = rows == 1 ? SIDES : 1;
    for (int64_t i = 0; i < count * PARTS; i += most) {
        float *out[2];
        for (int64_t j = 0; j < 2; j++)
            out[j] = sums + (i + j) / PARTS * rows * STRIP + (i + j) % PARTS * LANES;
        if (most == SIDES && i + 1 < count * PARTS)
            run_direct(s, first * PARTS + i, 2, form, x, rows, out);
        else
            run_direct(s, first * PARTS + i, 1, form, x, rows, out);
    }
}

/* ---- by a panel ---- */

/* Columns first .. end - 1, whole runs, to panel [BLOCK, STRIP]. */
INLINE void unpack_codes(const struct strips *s, struct side *side, int bits, int64_t first, int64_t end, float *panel)
{
    const int run = bits % 2 ? 32 : STRIP;
    const uint32_t *groups = s->groups;
    const float *inputs = s->inputs;
    const bool whole = s->whole;
    struct side at = *side; /* in registers: a vector that is written may be anything */
    for (int64_t k = first; k < end; k += run) {
#pragma GCC unroll 32
        for (int c = 0; c < run; c++) {
            if (groups)
                take_grid(groups[k + c], &at);
            else if (c % STRIP == 0)
                take_grid((k + c) / s->group, &at);
            VECTOR code = code_of(&at, bits, c);
            if (!whole)
                code = SUBTRACT(code, SET1(CODE_BASE));
            VECTOR w = MULTIPLY(at.scale, SUBTRACT(code, at.zero));
            if (inputs)
                w = DIVIDE(w, SET1(inputs[k + c]));
            STORE(panel + (k - first + c) * STRIP + at.lane, w);
        }
        at.values += run * bits / 32 * 4 * STRIP;
    }
    side->values = at.values;
}

INLINE void unpack_halves(const struct strips *s, struct side *side, int64_t count, float *panel)
{
    const bool bf16 = s->kind == WN_PACKED_BF16;
    const struct side at = *side;
    for (int64_t c = 0; c < count; c += 2) {
        const WHOLE words = word_of(&at, (int)c / 2);
        STORE(panel + c * STRIP + at.lane, low_half(words, bf16));
        STORE(panel + (c + 1) * STRIP + at.lane, high_half(words, bf16));
    }
    side->values += count / 2 * 4 * STRIP;
}

INLINE void unpack_stored(enum wn_packed_kind kind, struct side *side, int64_t count, float *panel)
{
    struct side at = *side; /* in registers: a vector that is written may be anything */
    for (int64_t c = 0; c < count; c++)
        STORE(panel + c * STRIP + at.lane, next_stored(kind, true, &at));
    *side = at;
}

INLINE void put_patches(struct side *side, int64_t first, int64_t end, float *panel)
{
    for (; side->patch < side->last_patch && side->patch->place < end * STRIP; side->patch++)
        panel[side->patch->place - first * STRIP] = side->patch->value;
}

#define UNPACK(width)                                                                                                  \
    case width:                                                                                                        \
        unpack_codes(s, side, width, first, end, panel);                                                               \
        break;

#define UNPACK_PAIRS(kind)  unpack_pairs(kind, side, end - first, panel)
#define UNPACK_STORED(kind) unpack_stored(kind, side, end - first, panel)

FUNCTION static void unpack_part(const struct strips *s, struct side *side, int64_t first, int64_t end, float *panel)
{
    if (s->masks && s->paired)
        FOR_KINDS(s->kind, UNPACK_PAIRS)
    else if (s->masks)
        FOR_KINDS(s->kind, UNPACK_STORED)
    else if (s->bits == 16)
        unpack_halves(s, side, end - first, panel);
    else if (s->scales)
        switch (s->bits) {
            UNPACK(1)
            UNPACK(2)
            UNPACK(3)
            UNPACK(4)
            UNPACK(5)
            UNPACK(6)
            UNPACK(7)
            UNPACK(8)
        default:
            break;
        }
}

/* The next block of a strip. */
INLINE void next_block(const struct strips *s, struct side *sides, int64_t first, int64_t end, float *panel)
{
    for (int p = 0; p < PARTS; p++)
        unpack_part(s, &sides[p], first, end, panel);
    put_patches(&sides[0], first, end, panel);
}

/* sums [rows, STRIP] of `rows` of `all` rows of x. */
INLINE void multiply_rows(const float *panel, int64_t count, const float *x, int64_t all, int64_t rows, float *sums)
{
    for (int lane = 0; lane < STRIP; lane += LANES) {
        VECTOR s[8];
        for (int64_t r = 0; r < rows; r++)
            s[r] = LOAD(sums + r * STRIP + lane);
        for (int64_t k = 0; k < count; k += STRIP) {
            const int64_t end = count - k < STRIP ? count - k : STRIP;
            for (int64_t c = 0; c < end; c++) {
                const VECTOR w = LOAD(panel + (k + c) * STRIP + lane);
                for (int64_t r = 0; r < rows; r++)
                    s[r] = FMA(w, SET1(x[k * all + r * STRIP + c]), s[r]);
            }
        }
        for (int64_t r = 0; r < rows; r++)
            STORE(sums + r * STRIP + lane, s[r]);
    }
}

#define MULTIPLY_ROWS(count_of_rows)                                                                                   \
    case count_of_rows:                                                                                                \
        multiply_rows(panel, count, x, all, count_of_rows, sums);                                                      \
        break;

FUNCTION static void multiply(const float *panel, int64_t count, const float *x, int64_t all, int64_t rows, float *sums)
{
    switch (rows) {
        MULTIPLY_ROWS(1)
        MULTIPLY_ROWS(2)
        MULTIPLY_ROWS(3)
        MULTIPLY_ROWS(4)
        MULTIPLY_ROWS(5)
        MULTIPLY_ROWS(6)
        MULTIPLY_ROWS(7)
        MULTIPLY_ROWS(8)
    default:
        break;
    }
}

/* The same for one row and two panels. */
INLINE void multiply_pair(float (*panels)[BLOCK * STRIP], int64_t count, const float *x, float *sums)
{
    for (int lane = 0; lane < STRIP; lane += LANES) {
        VECTOR a = LOAD(sums + lane), b = LOAD(sums + STRIP + lane);
        for (int64_t c = 0; c < count; c++) {
            a = FMA(LOAD(panels[0] + c * STRIP + lane), SET1(x[c]), a);
            b = FMA(LOAD(panels[1] + c * STRIP + lane), SET1(x[c]), b);
        }
        STORE(sums + lane, a);
        STORE(sums + STRIP + lane, b);
    }
}

/* Grids that columns first .. end - 1 of another strip would have if they lay side by side. Columns in any order ask
 * for them here and there, which nobody foresees. */
INLINE void fetch_grids(const struct strips *s, const struct side *side, int64_t strips, int64_t first, int64_t end)
{
    const int64_t ahead = strips * s->n_groups * STRIP;
    for (int64_t g = first * s->n_groups / s->in; s->groups && g < end * s->n_groups / s->in; g++) {
        _mm_prefetch((const char *)(side->scales + ahead + g * STRIP), _MM_HINT_T1);
        if (side->zeros)
            _mm_prefetch((const char *)(side->zeros + ahead + g * STRIP), _MM_HINT_T1);
    }
}

/* Strips strip .. strip + count - 1, one or two. */
FUNCTION static void panel_strips(const struct strips *s, int64_t strip, int64_t count, const float *x, int64_t rows,
                                  float *sums)
{
    _Alignas(64) float panels[2][BLOCK * STRIP];
    struct side sides[2 * PARTS];
    for (int64_t p = 0; p < count * PARTS; p++)
        open_side(s, strip * PARTS + p, &sides[p]);
    memset(sums, 0, (size_t)(count * rows * STRIP) * sizeof *sums);
    for (int64_t first = 0; first < s->in; first += BLOCK) {
        const int64_t end = s->in - first < BLOCK ? s->in : first + BLOCK;
        for (int64_t i = 0; i < count; i++) {
            next_block(s, sides + i * PARTS, first, end, panels[i]);
            fetch_grids(s, &sides[i * PARTS], count, first, end);
        }
        if (count == 2 && rows == 1)
            multiply_pair(panels, end - first, x + first, sums);
        else
            for (int64_t i = 0; i < count; i++)
                for (int64_t r = 0; r < rows; r += 8)
                    multiply(panels[i], end - first, x + first * rows + r * STRIP, rows, rows - r < 8 ? rows - r : 8,
                             sums + (i * rows + r) * STRIP);
    }
}

/* The same of a strip in lists, all columns at a time: what they skip is multiplied here. */
FUNCTION static void panel_lists(const struct strips *s, int64_t strip, const float *x, int64_t rows, float *sums)
{
    float *panel = wn_alloc(padded_columns(s) * STRIP, sizeof *panel);
    unpack_lists(s, strip, panel);
    memset(sums, 0, (size_t)(rows * STRIP) * sizeof *sums);
    for (int64_t r = 0; r < rows; r += 8)
        multiply(panel, s->in, x + r * STRIP, rows, rows - r < 8 ? rows - r : 8, sums + r * STRIP);
    wn_free(panel);
}

/* Strips first .. first + count - 1, of any rows; all are listed or none. */
INLINE void by_panels(const struct strips *s, int64_t first, int64_t count, const float *x, int64_t rows, float *sums)
{
    const bool listed = is_listed(s, first);
    const int64_t most = rows == 1 && !listed ? 2 : 1;
    for (int64_t i = 0; i < count; i += most) {
        float *to = sums + i * rows * STRIP;
        if (listed)
            panel_lists(s, first + i, x, rows, to);
        else
            panel_strips(s, first + i, count - i < most ? count - i : most, x, rows, to);
    }
}

/* ---- what is called ---- */

#define DIRECT_ROWS(form, count_of_rows)                                                                               \
    case count_of_rows:                                                                                                \
        direct_strips(s, first, count, form, x, count_of_rows, sums);                                                  \
        return;

#define DIRECT_FORM(form)                                                                                              \
    case form:                                                                                                         \
        switch (rows) {                                                                                                \
            DIRECT_ROWS(form, 1)                                                                                       \
            DIRECT_ROWS(form, 2)                                                                                       \
            DIRECT_ROWS(form, 3)                                                                                       \
            DIRECT_ROWS(form, 4)                                                                                       \
            DIRECT_ROWS(form, 5)                                                                                       \
            DIRECT_ROWS(form, 6)                                                                                       \
            DIRECT_ROWS(form, 7)                                                                                       \
            DIRECT_ROWS(form, 8)                                                                                       \
        default:                                                                                                       \
            break;                                                                                                     \
        }                                                                                                              \
        break;

/* How strips first .. first + count - 1 are added up, none of which is listed. */
INLINE int direct_form(const struct strips *s, int64_t first, int64_t count)
{
    if (s->paired)
        return PAIRED + (int)s->kind;
    /* behind these numbers there may be less than a vector to read */
    if (s->masks && s->kind == WN_PACKED_F32 &&
        s->end - row_values(s, (first + count) * STRIP) < (int64_t)sizeof(VECTOR))
        return NOT_DIRECT;
    if (s->masks)
        return MASKED + (int)s->kind;
    if (s->kind == WN_PACKED_BF16)
        return DIRECT_BF16;
    const bool plain = s->kind == WN_PACKED_CODES && s->whole && !s->groups && !s->inputs && !s->patch;
    return plain ? s->bits : NOT_DIRECT;
}

FUNCTION static void run_form(const struct strips *s, int form, int64_t first, int64_t count, const float *x,
                              int64_t rows, float *sums)
{
    switch (form) {
        DIRECT_FORM(2)
        DIRECT_FORM(3)
        DIRECT_FORM(4)
        DIRECT_FORM(8)
        DIRECT_FORM(DIRECT_BF16)
        DIRECT_FORM(MASKED + WN_PACKED_F32)
        DIRECT_FORM(MASKED + WN_PACKED_BF16)
        DIRECT_FORM(PAIRED + WN_PACKED_F32)
        DIRECT_FORM(PAIRED + WN_PACKED_F16)
        DIRECT_FORM(PAIRED + WN_PACKED_BF16)
    default:
        break;
    }
    by_panels(s, first, count, x, rows, sums);
}

/* No infinity and no NaN: 0 times each number is 0. */
INLINE bool are_finite(const float *x, int64_t count)
{
    VECTOR sum = SET1(0);
    float lanes[LANES], all = 0;
    for (int64_t i = 0; i < count; i += LANES)
        sum = FMA(LOAD(x + i), SET1(0), sum);
    STORE(lanes, sum);
    for (int lane = 0; lane < LANES; lane++)
        all += lanes[lane];
    return all == 0;
}

/* Sums that would be others had zeros been multiplied: -0, which some zero makes +0, and NaN, of which there are many.
 */
INLINE bool feel_zeros(const float *sums, int64_t count)
{
    bool feel = false;
    for (int64_t i = 0; i < count; i++) {
        uint32_t pattern;
        memcpy(&pattern, sums + i, sizeof pattern);
        feel |= pattern == 0x80000000 || (pattern & 0x7fffffff) > 0x7f800000;
    }
    return feel;
}

/* Strips whose zeros are skipped. */
INLINE void run_skipping(const struct strips *s, bool listed, int64_t first, int64_t count, const float *x,
                         int64_t rows, float *sums)
{
    if ((s->paired && rows > DIRECT) || !are_finite(x, rows * padded_columns(s))) {
        by_panels(s, first, count, x, rows, sums);
        return;
    }
    if (listed)
        listed_strips(s, first, count, x, rows, sums);
    else
        run_form(s, PAIRED + (int)s->kind, first, count, x, rows, sums);
    for (int64_t i = 0; i < count; i++) {
        float *to = sums + i * rows * STRIP;
        if (feel_zeros(to, rows * STRIP))
            by_panels(s, first + i, 1, x, rows, to);
    }
}

/* Strips that are added up in one way: `first` and those behind it. */
INLINE int64_t alike(const struct strips *s, int64_t first, int64_t end)
{
    const bool listed = is_listed(s, first);
    int64_t next = first + 1;
    while (next < end && (!s->masks || s->paired || is_listed(s, next) == listed))
        next++;
    return next - first;
}

INLINE void run_all(const struct strips *s, int64_t first, int64_t count, const float *x, int64_t rows, float *sums)
{
    for (int64_t done = 0; done < count;) {
        const int64_t strip = first + done, n = alike(s, strip, first + count);
        const bool listed = is_listed(s, strip);
        float *to = sums + done * rows * STRIP;
        if (listed || s->paired)
            run_skipping(s, listed, strip, n, x, rows, to);
        else
            run_form(s, direct_form(s, strip, n), strip, n, x, rows, to);
        done += n;
    }
}

INLINE void put_rows(const float *panel, int64_t count, int64_t stride, float *out);

/* The panels of a strip, turned. */
INLINE void unpack_all(const struct strips *s, int64_t strip, float *out)
{
    const bool listed = is_listed(s, strip);
    const int64_t block = listed ? s->in : BLOCK;
    _Alignas(64) float panel[BLOCK * STRIP];
    float *all = listed ? wn_alloc(padded_columns(s) * STRIP, sizeof *all) : panel;
    struct side sides[PARTS];
    for (int p = 0; p < PARTS; p++)
        open_side(s, strip * PARTS + p, &sides[p]);
    for (int64_t first = 0; first < s->in; first += block) {
        const int64_t end = s->in - first < block ? s->in : first + block;
        if (listed)
            unpack_lists(s, strip, all);
        else
            next_block(s, sides, first, end, all);
        put_rows(all, end - first, s->in, out + first);
    }
    if (listed)
        wn_free(all);
}
