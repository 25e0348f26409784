/*
 * strips_body.h: the kernel of strips.h for one instruction set, which the file that includes it describes: LANES, the
 * types VECTOR and WHOLE, INLINE, and a few operations on them. A piece is the words of LANES rows that one vector
 * loads, turned, so that a vector holds one word of each row. One row of x on few bits works on two strips side by
 * side, as one sum alone waits for itself; wide words are limited by what is fetched, and two strips fetch less evenly.
 */
enum { PIECE = LANES, SIDES = 2 };

/* Words of a piece, and columns of them. Codes of 3 bits: 32 columns in 3 words. */
INLINE int words_of(int bits)
{
    return bits == 3 ? PIECE / 3 / 2 * 6 : PIECE;
}

/* Where LANES rows begin, and the grids of their strip. */
struct side {
    const uint8_t *values;
    const float *scales, *zeros;
    WHOLE words[PIECE];
    VECTOR scale, zero;
};

INLINE void open_side(const struct strips *s, int64_t row, struct side *side)
{
    const int64_t grids = row / STRIP * s->n_groups * STRIP + row % STRIP;
    side->values = s->values + row * s->row_bytes;
    side->scales = s->scales ? s->scales + grids : NULL;
    side->zeros = s->zeros ? s->zeros + grids : NULL;
    side->zero = SET1(s->zero);
    side->scale = SET1(1);
}

/* Words first .. first + count - 1 of LANES rows. */
INLINE void take_words(const struct strips *s, int64_t first, int64_t count, int bits, struct side *side)
{
    for (int r = 0; r < LANES; r++) {
        const uint8_t *row = side->values + r * s->row_bytes + first * 4;
        side->words[r] = LOAD_WORDS(row, count);
        _mm_prefetch((const char *)(row + STRIP * SIDES * s->row_bytes), _MM_HINT_T1);
        if (bits >= 8)
            _mm_prefetch((const char *)(row + 4 * PIECE), _MM_HINT_T0);
    }
    TRANSPOSE(side->words);
}

INLINE void take_grid(int64_t group, struct side *side)
{
    if (side->scales)
        side->scale = LOAD(side->scales + group * STRIP);
    if (side->zeros)
        side->zero = LOAD(side->zeros + group * STRIP);
}

/* Column c of a run whose words are words[0], words[1] ... */
INLINE VECTOR weights(const struct side *side, const WHOLE *words, int bits, int c)
{
    const int word = c * bits / 32, shift = c * bits % 32;
    if (bits == 16)
        return CAST(shift ? AND(words[word], SET1_WORD((int)0xffff0000)) : LEFT(words[word], 16));
    WHOLE code = RIGHT(words[word], shift);
    if (shift + bits > 32)
        code = OR(code, LEFT(words[word + 1], 32 - shift));
    return MULTIPLY(side->scale, SUBTRACT(TO_FLOAT(code, bits), side->zero));
}

/* One run of columns for all sides and rows. `x` points to its first strip. */
INLINE void add_run(const struct side *sides, int n_sides, int first_word, int bits, int run, const float *x,
                    int64_t rows, VECTOR *sums)
{
#pragma GCC unroll 32
    for (int c = 0; c < run; c++)
        for (int i = 0; i < n_sides; i++) {
            const VECTOR w = weights(&sides[i], sides[i].words + first_word, bits, c);
            for (int64_t r = 0; r < rows; r++)
                sums[i * rows + r] = FMA(w, SET1(x[(c / STRIP * rows + r) * STRIP + c % STRIP]), sums[i * rows + r]);
        }
}

/* LANES rows from each of row[0], row[1] on: sums [rows, STRIP] to out[0], out[1]. */
INLINE void run_sides(const struct strips *s, const int64_t *row, int n_sides, int bits, const float *x, int64_t rows,
                      float *const *out)
{
    const int run = bits == 3 ? 32 : STRIP, run_words = run * bits / 32, words = words_of(bits);
    const int64_t all = s->in * bits / 32;
    struct side sides[SIDES];
    VECTOR sums[SIDES * WN_FEW_NARROW];
    int64_t k = 0, left = 0, group = 0;
    for (int i = 0; i < n_sides; i++)
        open_side(s, row[i], &sides[i]);
    for (int64_t i = 0; i < n_sides * rows; i++)
        sums[i] = SET1(0);
    for (int64_t first = 0; first < all; first += words) {
        const int64_t count = all - first < words ? all - first : words;
        for (int i = 0; i < n_sides; i++)
            take_words(s, first, count, bits, &sides[i]);
        for (int word = 0; word < count; word += run_words) {
            if (left == 0) {
                for (int i = 0; i < n_sides; i++)
                    take_grid(group, &sides[i]);
                group++;
                left = s->group;
            }
            add_run(sides, n_sides, word, bits, run, x + k * rows, rows, sums);
            left -= run;
            k += run;
        }
    }
    for (int i = 0; i < n_sides; i++)
        for (int64_t r = 0; r < rows; r++)
            STORE(out[i] + r * STRIP, sums[i * rows + r]);
}

/* All of `count` strips; `bits` and `rows` are constants where this is called. */
INLINE void run_strips(const struct strips *s, int64_t first, int64_t count, int bits, const float *x, int64_t rows,
                       float *sums)
{
    enum { PARTS = STRIP / LANES };
    const int n_sides = rows == 1 && bits < 8 ? SIDES : 1;
    int64_t row[SIDES];
    float *out[SIDES];
    int n = 0;
    for (int64_t i = 0; i < count * PARTS; i++) {
        row[n] = first * STRIP + i * LANES;
        out[n++] = sums + i / PARTS * rows * STRIP + i % PARTS * LANES;
        if (n == n_sides)
            run_sides(s, row, n_sides, bits, x, rows, out);
        else if (i == count * PARTS - 1)
            run_sides(s, row, 1, bits, x, rows, out);
        else
            continue;
        n = 0;
    }
}

#define RUN_ROWS(bits, rows)                                                                                           \
    case rows:                                                                                                         \
        run_strips(s, first, count, bits, x, rows, sums);                                                              \
        break;

#define RUN_BITS(bits)                                                                                                 \
    case bits:                                                                                                         \
        switch (rows) {                                                                                                \
            RUN_ROWS(bits, 1)                                                                                          \
            RUN_ROWS(bits, 2)                                                                                          \
            RUN_ROWS(bits, 3)                                                                                          \
            RUN_ROWS(bits, 4)                                                                                          \
            RUN_ROWS(bits, 5)                                                                                          \
            RUN_ROWS(bits, 6)                                                                                          \
            RUN_ROWS(bits, 7)                                                                                          \
            RUN_ROWS(bits, 8)                                                                                          \
        default:                                                                                                       \
            break;                                                                                                     \
        }                                                                                                              \
        break;

#define RUN_ALL                                                                                                        \
    switch (s->bits) {                                                                                                 \
        RUN_BITS(2)                                                                                                    \
        RUN_BITS(3)                                                                                                    \
        RUN_BITS(4)                                                                                                    \
        RUN_BITS(8)                                                                                                    \
        RUN_BITS(16)                                                                                                   \
    default:                                                                                                           \
        break;                                                                                                         \
    }
