/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gguf.h: an exported point as a GGUF file, which llama.cpp opens. Private to src/export.
 *
 * Codes become blocks of 32 with f16 scales: 2 and 3 bits, and 4 symmetric ones, Q4_0; 4 with zero points Q4_1, where
 * scale * zero is rounded too; 5 to 7 bits and 8 symmetric ones Q8_0. Everything else is numbers.
 */
#ifndef WINNOW_EXPORT_GGUF_H
#define WINNOW_EXPORT_GGUF_H

#include <winnow/model.h>

#include "coded.h"
#include "fold.h"
#include "gguf_file.h"
#include "packed.h"

#define WN_EXPORT_GGUF "model.gguf"

struct wn_export_gguf {
    const struct wn_model *model;
    const struct wn_export_form *form; /* borrowed */
    struct wn_gguf_file file;
    int64_t fused;            /* rows that the last tensor has so far, of linears that share it */
    int64_t numbers, rounded; /* scales and minima of blocks, or plain numbers, and how many are not held exactly */
    int64_t bytes;            /* of linears */
    double weights;           /* of them */
};

/* NULL, or why there is no such file of this model; of its blocks in the file, place [n_blocks] (NULL: all stay). */
const char *wn_export_gguf_model_reason(const struct wn_model *model);
const char *wn_export_gguf_blocks_reason(const struct wn_model *model, const int64_t *place);
/* The name of a tensor of a block, "blk.PLACE....". Owned by the caller. */
char *wn_export_gguf_name(const struct wn_model *model, int64_t place, const char *name);
/* Whether the file has a head of its own. */
bool wn_export_gguf_has_head(const struct wn_model *model);
/* Keys of the architecture and of its tokenizer. */
void wn_export_gguf_put_model(struct wn_gguf_file *file, const struct wn_model *model, const int64_t *place,
                              enum wn_gguf_type type);
wn_status wn_export_gguf_put_tokenizer(struct wn_gguf_file *file, const struct wn_model *model);
/* NULL, or why llama.cpp would cut texts into other tokens. */
const char *wn_export_gguf_tokenizer_reason(const struct wn_model *model);
/* How many heads the rows of a linear are, which llama.cpp wants in the order of its own rotation; 0: as they are. */
int64_t wn_export_gguf_rotated_heads(const struct wn_model *model, const char *linear);

/* place [n_blocks]: numbers of blocks in the file, -1: gone. */
wn_status wn_export_gguf_create(struct wn_export_gguf *gguf, const struct wn_model *model,
                                const struct wn_export_form *form, const char *folder, const int64_t *place);
/*
 * A linear [rows, columns] as blocks of codes, or as numbers; place: its block in the file. Linears that share a tensor
 * come one behind the other, in the order of its rows.
 */
wn_status wn_export_gguf_codes(struct wn_export_gguf *gguf, int64_t place, const struct wn_linear_info *linear,
                               const struct wn_export_coded *coded);
wn_status wn_export_gguf_numbers(struct wn_export_gguf *gguf, int64_t place, const struct wn_linear_info *linear,
                                 enum wn_dtype source, const float *weight);
/* All that is no linear; fold: NULL, or what vectors are divided by. Then the file is whole. */
wn_status wn_export_gguf_finish(struct wn_export_gguf *gguf, const int64_t *place, const struct wn_export_fold *fold);
/* Of one that was never created, too, all zero but file.file -1. */
void wn_export_gguf_release(struct wn_export_gguf *gguf);

#endif
