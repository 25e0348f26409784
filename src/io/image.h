/* SPDX-License-Identifier: Apache-2.0 */
/* image.h: one safetensors file in memory, checked against the rules. Private to src/io. */
#ifndef WINNOW_IO_IMAGE_H
#define WINNOW_IO_IMAGE_H

#include <winnow/io.h>

struct image {
    const char *path;          /* borrowed; for messages and for tensors[].file */
    int64_t count;             /* of tensors */
    struct wn_tensor *tensors; /* [count], sorted by name; owned, as are the names; data points into the image */
};

/*
 * Reads the header of data[0..size) and checks every rule of the format. `path` and `data` must outlive the image.
 * Errors: WN_ERR_INPUT, one line with the path and the tensor; then the image is empty.
 */
wn_status image_read(const char *path, const uint8_t *data, int64_t size, struct image *image);
void image_release(struct image *image);

/* A tensor of tensors[0..count), sorted by name; NULL when there is none of that name. */
const struct wn_tensor *image_find(const struct wn_tensor *tensors, int64_t count, const char *name);
int image_compare_names(const void *a, const void *b); /* for qsort of struct wn_tensor */

#endif
