/* SPDX-License-Identifier: Apache-2.0 */
/* strips_pairs.h: a part of strips_body.h: weights of which two of each four columns are stored. */

INLINE VECTOR low_half(WHOLE words, bool bf16)
{
    return bf16 ? CAST(LEFT(words, 16)) : F16_OF(AND(words, SET1_WORD(0xffff)));
}

INLINE VECTOR high_half(WHOLE words, bool bf16)
{
    return bf16 ? CAST(AND(words, SET1_WORD((int)0xffff0000))) : F16_OF(RIGHT(words, 16));
}

/* The weights of columns 4 g .. 4 g + 3 of a run that are stored. */
INLINE void pair_of(const struct side *side, enum wn_packed_kind kind, int g, VECTOR *low, VECTOR *high)
{
    if (kind == WN_PACKED_F32) {
        *low = CAST(word_of(side, 2 * g));
        *high = CAST(word_of(side, 2 * g + 1));
    } else {
        *low = low_half(word_of(side, g), kind == WN_PACKED_BF16);
        *high = high_half(word_of(side, g), kind == WN_PACKED_BF16);
    }
}

INLINE int pair_words(enum wn_packed_kind kind)
{
    return kind == WN_PACKED_F32 ? PAIR_RUN / 2 : PAIR_RUN / 4;
}

INLINE void next_pairs(enum wn_packed_kind kind, struct side *side)
{
    for (int line = 0; line < pair_words(kind); line++)
        _mm_prefetch((const char *)(side->values + AHEAD + line * 4 * STRIP), _MM_HINT_T0);
    side->values += pair_words(kind) * 4 * STRIP;
    side->masks += 4 * STRIP;
}

INLINE void add_pairs(const struct strips *s, struct side *sides, int n_sides, enum wn_packed_kind kind, const float *x,
                      int64_t rows, VECTOR *sums)
{
    for (int64_t k = 0; k < s->in; k += PAIR_RUN) {
#pragma GCC unroll 8
        for (int g = 0; g < PAIR_RUN / 4; g++) {
            const float *at = x + (k + 4 * g) / STRIP * rows * STRIP + 4 * g % STRIP;
            VECTOR low[2], high[2];
            for (int i = 0; i < n_sides; i++)
                pair_of(&sides[i], kind, g, &low[i], &high[i]);
            for (int i = 0; i < n_sides; i++) {
                const WHOLE places = LOAD_WORDS(sides[i].masks);
                for (int64_t r = 0; r < rows; r++) {
                    const VECTOR four = LOAD4(at + r * STRIP);
                    VECTOR *sum = &sums[i * rows + r];
                    *sum = FMA(low[i], PERMUTE4(four, RIGHT(places, 4 * g)), *sum);
                    *sum = FMA(high[i], PERMUTE4(four, RIGHT(places, 4 * g + 2)), *sum);
                }
            }
        }
        for (int i = 0; i < n_sides; i++)
            next_pairs(kind, &sides[i]);
    }
}

/* `count` columns, whole runs, to a panel. */
INLINE void unpack_pairs(enum wn_packed_kind kind, struct side *side, int64_t count, float *panel)
{
    struct side at = *side; /* in registers: a vector that is written may be anything */
    for (int64_t k = 0; k < count; k += PAIR_RUN) {
        const WHOLE places = LOAD_WORDS(at.masks), two_bits = SET1_WORD(3);
#pragma GCC unroll 8
        for (int g = 0; g < PAIR_RUN / 4; g++) {
            const WHOLE first = AND(RIGHT(places, 4 * g), two_bits), second = AND(RIGHT(places, 4 * g + 2), two_bits);
            VECTOR low, high;
            pair_of(&at, kind, g, &low, &high);
            for (int c = 0; c < 4; c++)
                STORE(panel + (k + 4 * g + c) * STRIP + at.lane, PICK(first, c, low, PICK(second, c, high, SET1(0))));
        }
        next_pairs(kind, &at);
    }
    *side = at;
}
