/* SPDX-License-Identifier: Apache-2.0 */
/* spool.h: tensors of which neither number nor shapes are known before the last: they wait in a scratch file. Private
 * to src/export. */
#ifndef WINNOW_EXPORT_SPOOL_H
#define WINNOW_EXPORT_SPOOL_H

#include <winnow/io.h>
#include <winnow/method.h>

struct wn_export_spool {
    const char *folder; /* borrowed */
    const char *name;   /* of the scratch file; a constant */
    const char *file;   /* what an error is about: the file that is made of it; a constant */
    int scratch;        /* -1 when closed */
    int64_t bytes;      /* in it */
    int64_t n_plans;
    struct wn_tensor_plan *plans; /* [n_plans] in order of arrival, names owned */
};

wn_status wn_export_spool_create(struct wn_export_spool *spool, const char *folder, const char *name, const char *file);
/* Adds the tensor NAME.PART [rows, columns]; `columns` 0: a vector. dtype: "U8", "I8", "BF16", "F16", "F32", "I32" or
 * "I64". */
wn_status wn_export_spool_add(struct wn_export_spool *spool, const char *name, const char *part, const char *dtype,
                              int64_t rows, int64_t columns, const void *data);
/* Adds the mask of a linear: bit j % 8 of byte j / 8 of a row is 1 when weight j is kept; rows begin at whole bytes. */
wn_status wn_export_spool_mask(struct wn_export_spool *spool, const char *name, const char *part,
                               const struct wn_compressed *compressed);
/* Writes the tensors first .. end - 1 to a new file. */
wn_status wn_export_spool_write(const struct wn_export_spool *spool, int64_t first, int64_t end, const char *path);
/* Removes the scratch file; plans stay. */
void wn_export_spool_drop(struct wn_export_spool *spool);
/* Also of one that was never created, all zero but `scratch` -1. */
void wn_export_spool_release(struct wn_export_spool *spool);

#endif
