/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coded.h: a quantized linear as the formats of others have it, scale * (code - zero), with whole zero points. Private
 * to src/export.
 */
#ifndef WINNOW_EXPORT_CODED_H
#define WINNOW_EXPORT_CODED_H

#include <winnow/method.h>

struct wn_export_coded {
    int64_t rows, columns, n_groups;
    int bits;
    uint8_t *codes; /* [rows, columns] */
    uint8_t *zeros; /* [rows, n_groups] */
    float *scales;  /* [rows, n_groups] */
    int32_t *group; /* [columns] */
};

/*
 * One grid for the tensor becomes the same grid in every row, a weight that is gone gets the code of 0. With a scale of
 * its inputs the codes are those of the weights times it. False when the codes do not give the weights, bit for bit.
 */
bool wn_export_coded_open(const struct wn_compressed *compressed, struct wn_export_coded *coded);
/* Row r of the weights is divided by by[r]. */
void wn_export_coded_divide(struct wn_export_coded *coded, const float *by);
/* A zeroed object is fine. */
void wn_export_coded_release(struct wn_export_coded *coded);

#endif
