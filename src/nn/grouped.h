/* SPDX-License-Identifier: Apache-2.0 */
/* grouped.h: inside nn: sums of products of grouped codes and rounded inputs, a strip of 16 outputs at a time. */
#ifndef WINNOW_NN_GROUPED_H
#define WINNOW_NN_GROUPED_H

#include <winnow/base.h>

enum {
    GROUPED_STRIP = 16,
    GROUPED_RUN = 8,        /* columns that are stored together: a cell is filled up to a multiple with codes 0 */
    GROUPED_ROWS = 8,       /* at most in a call of a kernel */
    GROUPED_CELL = 1 << 16, /* columns of a cell at most: 255 * 127 times as many fit into 31 bits */
    GROUPED_AHEAD = 4096    /* bytes of codes that are fetched ahead */
};

/* Columns with one grid of the weights and one step of the inputs. */
struct grouped_cell {
    int64_t first, count; /* columns */
    int64_t runs;         /* of GROUPED_RUN columns, the last one filled up */
    int64_t group;
};

/*
 * What a kernel reads. The codes of a strip lie run by run, two quads of columns: codes of 4 bits and fewer in 64
 * bytes, byte 4 o + c being column c of output o, of the first quad in the low half and of the second in the high one;
 * wider codes in twice 64 bytes, a byte each.
 */
struct grouped {
    const struct grouped_cell *cells;
    int64_t n_cells, n_groups;
    int64_t width; /* columns, filled up */
    bool wide;     /* a code has a byte */
    const uint8_t *codes;
    int64_t strip_bytes;
    const float *scales;  /* [strips, n_groups, GROUPED_STRIP] */
    const uint8_t *zeros; /* the same; NULL: all are `zero` */
    int32_t zero;
};

/* Rounded inputs of some tokens. */
struct grouped_inputs {
    int8_t *codes; /* [tokens, width] */
    float *steps;  /* [tokens, cells]; NaN where an input is not finite */
    int32_t *sums; /* [tokens, cells] of the codes */
};

/*
 * sums [rows, GROUPED_STRIP] of tokens row .. row + rows - 1, at most GROUPED_ROWS: from 0, cell by cell,
 * sum = fma((float)(products of codes - zero point * sum of input codes) * step, scale, sum).
 */
typedef void grouped_kernel(const struct grouped *g, int64_t strip, const struct grouped_inputs *x, int64_t row,
                            int64_t rows, float *sums);

grouped_kernel grouped_plain;
#ifdef __x86_64__
grouped_kernel grouped_avx2, grouped_vnni;
#endif

#endif
