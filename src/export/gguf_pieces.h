/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_pieces.h: pieces of SentencePiece that are there as tokenizer.json alone. Private to src/export. */
#ifndef WINNOW_EXPORT_GGUF_PIECES_H
#define WINNOW_EXPORT_GGUF_PIECES_H

#include <winnow/model.h>

struct cJSON;

/* Whether a tokenizer.json is of that kind: a BPE with bytes for what it lacks. */
bool wn_export_gguf_has_pieces(const struct cJSON *json);
/* NULL, or why llama.cpp would make other tokens. */
const char *wn_export_gguf_pieces_reason(const struct wn_model *model, const struct cJSON *json);
/* Of `count` tokens the types of bytes and of the unknown one, and the scores of what is merged. Returns whether a
 * space is put in front of texts. */
bool wn_export_gguf_score_pieces(const struct wn_model *model, const struct cJSON *json, int64_t count, int32_t *types,
                                 float *scores);

#endif
