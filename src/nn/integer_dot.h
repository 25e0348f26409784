/* SPDX-License-Identifier: Apache-2.0 */
/* integer_dot.h: inside nn: exact sums of products of codes. */
#ifndef WINNOW_NN_INTEGER_DOT_H
#define WINNOW_NN_INTEGER_DOT_H

#include <winnow/base.h>

enum {
    DOT_OUTPUTS = 4,
    DOT_ROWS = 4,
    DOT_COLUMNS = 1 << 16 /* at most: 255 * 127 times as many fit into 31 bits */
};

/* sums[r * DOT_OUTPUTS + o] = sum over columns of w[o * in + k] x[r * in + k], of DOT_OUTPUTS outputs and `rows` of 1
 * to DOT_ROWS rows. */
typedef void dot_kernel(const uint8_t *w, const int8_t *x, int64_t in, int64_t rows, int32_t *sums);

#ifdef __x86_64__
dot_kernel dot_avx2, dot_vnni;
#endif

#endif
