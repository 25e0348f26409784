/* SPDX-License-Identifier: Apache-2.0 */
/* spearman.h: columns in an order in which neighbours rank the rows alike. */
#ifndef WINNOW_SPEARMAN_H
#define WINNOW_SPEARMAN_H

#include <winnow/base.h>

/*
 * order [columns]: column 0, then always the column of highest Spearman correlation with the one before, over the rows
 * of weight [rows, columns]; as in the published code of SpQR the chosen one changes places with the first that is
 * left, and of equal correlations the first in that row of columns is taken. Equal weights of a column rank by row.
 * Correlations are exact below 369 rows, else in fp32. columns^2 + rows * columns floats of memory, rows * columns^2
 * multiplications and additions.
 */
void wn_spearman_order(const float *weight, int64_t rows, int64_t columns, int64_t *order);

#endif
