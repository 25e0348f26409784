/* quant.h: the grid of method.h applied to whole runs of weights, in loops that vectorise. */
#ifndef WINNOW_QUANT_H
#define WINNOW_QUANT_H

#include <winnow/method.h>

/* Smallest and largest of `count` weights, widened to contain 0. */
struct wn_range {
    float low, high;
};
struct wn_range wn_range_of(const float *w, int64_t count);
/* The grid of a range; wn_grid_fit is wn_grid_of(wn_range_of(w, count), ...). */
struct wn_grid wn_grid_of(struct wn_range range, int bits, bool symmetric);

/* Codes [count] and their values [count]; equal to wn_grid_code and wn_grid_value of each. w and values may be the
 * same. */
void wn_grid_apply(const struct wn_grid *grid, const float *w, int64_t count, uint8_t *codes, float *values);

#endif
