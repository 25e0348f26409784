/* SPDX-License-Identifier: Apache-2.0 */
/* row_codes.h: symmetric integer codes with one scale per output row, for methods that quantize inputs as well. */
#ifndef WINNOW_ROW_CODES_H
#define WINNOW_ROW_CODES_H

#include <winnow/method.h>

/*
 * Fills weights, codes, scales and zero points of `out`: code = round(w / d) + 2^(bits-1), d = max(largest |w| of the
 * row, least) / (2^(bits-1) - 1), w the weights times task->stats->scale where there is one. Then out->input_scale is a
 * copy of it, and out->weight is divided by it again: it always stands for the weights of the task, so that errors and
 * statistics of methods can be compared. Zeros stay zeros. A scale that is not finite is WN_ERR_NUMERIC. d is rounded
 * to the scale_dtype of the parameters; codes stay within +-(2^(bits-1) - 1) of their zero point.
 */
wn_status wn_row_codes_compute(const struct wn_linear_task *task, int bits, float least, struct wn_compressed *out);

/* The rule for the codes of `out`: threshold, outlier weights and rounded outputs as in nn.h. */
struct wn_activation *wn_row_codes_activation(const struct wn_compressed *out, double threshold, double least,
                                              const float *outlier_weight, bool round_outputs);

#endif
