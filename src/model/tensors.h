/* SPDX-License-Identifier: Apache-2.0 */
/* tensors.h: which tensors of a checkpoint are those of a model. Private to src/model. */
#ifndef WINNOW_MODEL_TENSORS_H
#define WINNOW_MODEL_TENSORS_H

#include <winnow/model.h>

/* Gives the tensors of the checkpoint the names of the layout where theirs differ by a usual prefix. */
void wn_tensors_rename(struct wn_model *model);
/* Experts of a block in two tensors, as transformers 5 has them in memory, where the files have those. */
void wn_tensors_stack_experts(struct wn_model *model);
/* Decides whether the head is the embedding, by config.json and what the files have. A mistake goes to `problems`. */
void wn_tensors_tie(struct wn_model *model, struct wn_problems *problems);
/* Adds a note on tensors that the model does not use; used [number of tensors]. */
void wn_tensors_tell_unused(struct wn_model *model, const bool *used);
/* How a checkpoint without the linears of the model is quantized, by the names of its tensors; NULL: not at all. */
const char *wn_tensors_quantized(const struct wn_model *model);

#endif
