/* SPDX-License-Identifier: Apache-2.0 */
/* strips.h: inside kernels: sums of few rows on packed weights whose bytes were put in the order that a kernel reads.
 */
#ifndef WINNOW_KERNELS_STRIPS_H
#define WINNOW_KERNELS_STRIPS_H

#include <winnow/kernels.h>

enum { STRIP = WN_FEW_STRIP };

/*
 * The order in which a kernel reads a strip of 16 rows, in the bytes that the strip had before:
 *
 *     all weights are stored   words of 32 bits, which begin a run of columns in every row: word w of all 16 rows, then
 *                              word w + 1
 *     some are, as numbers     for every column a mask of 16 bits, one per row; the numbers of column 0 in the order of
 *                              the rows, then those of column 1
 *     2 of each 4 are,         the numbers as words, as where all are stored; instead of masks, for every 32 columns a
 *     strips_paired            word of each row: 4 bits for each 4 columns, the places of the two numbers, lower first
 *     few are, strips_listed   instead of masks, for each number a byte: how many columns it is behind the one before
 *                              it in its row, the first behind column -1; LIST_SKIP: as many, and there is no number.
 *                              Rows stand by how many numbers they have (strips_list_order). Of LIST_ROWS of them a
 * byte of each, as long as none is at its end, then what is left of the first, of the second, and so on; the numbers in
 * the same order
 */
enum { PAIR_RUN = 32, LIST_SKIP = 255, LIST_ROWS = 4 };

/* Whether weights of this form, or those of a strip that stores so many, are in the third order, or the fourth: where
 * lists need no more bytes than masks. Then zeros are skipped, not multiplied. */
bool strips_paired(const struct wn_packed *packed);
static inline bool strips_listed(int64_t stored, int64_t columns)
{
    const int64_t most_skips = STRIP * (columns / LIST_SKIP);
    return stored + most_skips <= STRIP * ((columns + 7) / 8);
}
/* order[i]: the row of a strip that stands at place i, of rows with `counts` numbers: rows that are nearly as long end
 * together. */
static inline void strips_list_order(const int32_t counts[STRIP], uint8_t order[STRIP])
{
    int32_t place[STRIP] = {0};
    for (int i = 0; i < STRIP; i++)
        for (int j = 0; j < STRIP; j++)
            place[j] += counts[i] < counts[j] || (counts[i] == counts[j] && i < j);
    for (int i = 0; i < STRIP; i++)
        order[place[i]] = (uint8_t)i;
}
/* Whether there is an order for this form. */
bool strips_fit(const struct wn_packed *packed);
/* Bytes of packed->bytes, which may be written, from one order to the other: whole strips only. */
void strips_turn(const struct wn_packed *packed, uint8_t *bytes);
void strips_turn_back(const struct wn_packed *packed, uint8_t *bytes);

/* A number that replaces a weight of a strip: that of output `place` % 16 and column `place` / 16. */
struct patch {
    uint32_t place;
    float value;
};

/* What a kernel reads. */
struct strips {
    const uint8_t *values, *end; /* end: of all bytes that may be read */
    int64_t in;
    enum wn_packed_kind kind; /* codes, bf16, fp16 or, with masks, fp32 */
    int bits;                 /* of a value */
    const uint8_t *masks;     /* or what stands for them; NULL: all weights are stored */
    int64_t mask_bytes;       /* of a strip */
    bool paired;
    const uint8_t *starts; /* where the values of a row begin; NULL: */
    int64_t strip_bytes;   /* of the values of a strip */
    /* With codes: */
    int64_t group, n_groups; /* columns of a grid */
    const uint32_t *groups;  /* [in] grid of a column; NULL: they lie side by side */
    float *scales;           /* [strips, n_groups, STRIP] */
    float *zeros;            /* the same, CODE_BASE more where `whole`; NULL: all are `zero` */
    float zero;
    bool whole;                 /* zero points are whole numbers */
    const float *inputs;        /* [in] weights are divided by; NULL: 1 */
    const struct patch *patch;  /* by strip and place; NULL: none */
    const int64_t *first_patch; /* [strips + 1] */
};

/* A code in the low bits of this number's pattern is that number more: code - zero is then one exact subtraction. */
#define CODE_BASE 8388608.0f

/* As wn_row_source.strip: `count` strips from strip number `first` on. */
typedef void strips_kernel(const struct strips *strips, int64_t first, int64_t count, const float *x, int64_t rows,
                           float *sums);
/* All weights of a strip [STRIP, in]. */
typedef void strips_unpack(const struct strips *strips, int64_t strip, float *out);
#ifdef __x86_64__
strips_kernel strips_avx2, strips_avx512;
strips_unpack strips_unpack_avx2, strips_unpack_avx512;
#endif

#endif
