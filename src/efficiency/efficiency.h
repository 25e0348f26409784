/* SPDX-License-Identifier: Apache-2.0 */
/* efficiency.h: inside efficiency: takes of one model, and the dense models that it is compared with. */
#ifndef WINNOW_EFFICIENCY_IMPL_H
#define WINNOW_EFFICIENCY_IMPL_H

#include <winnow/efficiency.h>

/* ---- the dense model in memory (dense.c) ---- */

/* Every block as fp32 numbers, or rounded to bf16 and packed so. Release it in any case. */
wn_status wn_dense_keep(const struct wn_model *model, bool bf16, struct wn_kept_blocks *kept);
/* Bytes of the blocks' weights in memory; as they are read in a step of so many texts, of experts as many as it reaches
 * when they are chosen evenly; and of the head. */
int64_t wn_kept_weight_bytes(const struct wn_kept_blocks *kept);
double wn_kept_step_bytes(const struct wn_kept_blocks *kept, int64_t texts);
int64_t wn_head_bytes(const struct wn_model *model);

/* ---- takes (takes.c) ---- */

/* Room for all takes of all models; the cache is shared, its contents do not matter to the time. */
struct wn_takes {
    const struct wn_model *model;
    const struct wn_efficiency *asked;
    int64_t texts, slots; /* of the cache: each text has prompt + steps of them */
    float *keys, *values; /* [blocks, slots, kv width] */
    float *hidden, *scratch, *states, *logits;
    int32_t *ids;
    int64_t *positions, *offset, *start, *first_span, *keep;
    struct wn_span *spans;
};
void wn_takes_open(struct wn_takes *takes, const struct wn_model *model, const struct wn_efficiency *asked);
void wn_takes_release(struct wn_takes *takes);
int64_t wn_takes_bytes(const struct wn_model *model, const struct wn_efficiency *asked);
/* The cache of every text, by a real prefill. */
void wn_takes_fill(struct wn_takes *takes, const struct wn_kept_blocks *kept);
/* Tokens of a prefill. */
int64_t wn_takes_prompt(const struct wn_model *model, const struct wn_efficiency *asked, enum wn_speed speed);
/* Seconds of a prefill, or of one step, by both clocks. */
void wn_take(struct wn_takes *takes, const struct wn_kept_blocks *kept, enum wn_speed speed, double seconds[WN_CLOCKS]);

/* ---- words (form.c) ---- */

/* The form of most weights of a point. */
void wn_efficiency_format(const struct wn_kept_blocks *point, char *format, size_t size);

/* ---- the machine (machine.c) ---- */

int64_t wn_last_cache_bytes(void);
/* Some 0.2 seconds; `buffer` is read, at least twice the last cache. */
void wn_machine_measure(const float *buffer, int64_t count, struct wn_machine_speed *speed);

#endif
