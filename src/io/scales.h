/* SPDX-License-Identifier: Apache-2.0 */
/* scales.h: the factors of tensors of 8-bit floats. Private to src/io. */
#ifndef WINNOW_IO_SCALES_H
#define WINNOW_IO_SCALES_H

#include <winnow/io.h>

/* As wn_checkpoint_scale, of tensors[0..count), sorted by name. */
wn_status scales_attach(struct wn_tensor *tensors, int64_t count, const int64_t block[2], bool needed);

#endif
