/* SPDX-License-Identifier: Apache-2.0 */
/* files.h: the files of an exported point. Private to src/export. */
#ifndef WINNOW_EXPORT_FILES_H
#define WINNOW_EXPORT_FILES_H

#include <winnow/method.h>
#include <winnow/model.h>

#include "packed.h"

struct cJSON;

struct wn_export_files; /* opaque */

/*
 * Makes the files of weights in `folder`, which exists and is empty; linears in the form, whose dtype is that of
 * config.json. `dtype` WN_OTHER: every other tensor as in the
 * checkpoint. gone [n_blocks] (NULL: none): blocks that are left out; those behind them get lower numbers. The model
 * must outlive the files.
 */
wn_status wn_export_files_create(const struct wn_model *model, const char *folder, const struct wn_export_form *form,
                                 enum wn_dtype dtype, int64_t shard_bytes, const bool *gone,
                                 struct wn_export_files **files);
/* Writes a compressed linear: weights at once, the code form for later. Each linear once, those of blocks that are gone
 * too. */
wn_status wn_export_files_linear(struct wn_export_files *files, int64_t block, int linear,
                                 const struct wn_compressed *compressed);
/* Everything else: the tensors that stay dense, the code form, index, config and tokenizer; closes all files. */
wn_status wn_export_files_finish(struct wn_export_files *files);
/* Numbers that the dtype does not hold exactly, so far. */
int64_t wn_export_files_rounded(const struct wn_export_files *files);
/* True when a linear that was handed over is evaluated on quantized inputs, which no checkpoint can say. */
bool wn_export_files_inputs_quantized(const struct wn_export_files *files);
/* Of linears in a format: scales or values, how many of them are rounded, all bytes, and weights. Of plain gguf numbers
 * those of the embedding count as well. */
struct wn_export_totals {
    int64_t numbers, rounded, bytes;
    double weights;
};
struct wn_export_totals wn_export_files_totals(const struct wn_export_files *files);
/* An object that describes every linear; borrowed. */
const struct cJSON *wn_export_files_linears(const struct wn_export_files *files);
void wn_export_files_close(struct wn_export_files **files);

/* ---- small files (config.c) ---- */

/* A new file with these bytes, synced. */
wn_status wn_export_write(const char *folder, const char *name, const char *data, int64_t size);
/* The error of a file that cannot be written, by errno. */
wn_status wn_export_cannot_write(const char *folder, const char *name);
/* config.json of the model with this dtype (WN_OTHER: as it is), without the blocks that are gone [n_blocks] (NULL:
 * none are), with a quantization_config (NULL: none). */
wn_status wn_export_write_config(const struct wn_model *model, const char *folder, enum wn_dtype dtype,
                                 const bool *gone, const char *quantization);
/* Generation and tokenizer files of the model, those that there are. */
wn_status wn_export_copy_others(const struct wn_model *model, const char *folder);

#define WN_EXPORT_CODES "winnow_codes.safetensors"

/* "float32" for WN_F32 ...; as in config.json. */
const char *wn_export_dtype_name(enum wn_dtype dtype);
/* Numbers of a tensor as this dtype, in `to`; *rounded grows by how many it does not hold exactly. WN_ERR_INPUT names
 * the tensor when some are too large for it. */
wn_status wn_export_round(const char *name, enum wn_dtype dtype, const float *values, int64_t count, void *to,
                          int64_t *rounded);

#endif
