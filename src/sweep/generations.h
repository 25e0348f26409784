/* SPDX-License-Identifier: Apache-2.0 */
/* generations.h: where generations of searches are kept: functions of struct wn_generations, for rank 0. */
#ifndef WINNOW_GENERATIONS_H
#define WINNOW_GENERATIONS_H

#include "progress.h"

struct wn_kept_generations {
    const struct wn_run *run;
    struct wn_results *results;
    struct wn_progress *progress;
};

wn_status wn_load_generation(void *context, int64_t search, int64_t *generation, int32_t *parent);
wn_status wn_save_generation(void *context, int64_t search, const struct wn_search_state *state, double seconds);

#endif
