/* SPDX-License-Identifier: Apache-2.0 */
/* generations.c: generations of searches in the log of the results file (searches.c lays it out), and in the progress.
 */
#include "generations.h"

#include <math.h>

/* Of whole rows from the first one on, the last. */
wn_status wn_load_generation(void *context, int64_t index, int64_t *generation, int32_t *parent)
{
    const struct wn_kept_generations *kept = context;
    const struct wn_run *run = kept->run;
    const struct wn_point_search *search = &run->searches[index];
    struct wn_record record;
    bool whole = true;
    wn_status status = WN_OK;
    *generation = -1;
    wn_record_init(&record, run->logs[search->log].schema);
    for (int64_t row = 0; row <= search->generations && status == WN_OK && whole; row++) {
        status = wn_results_read_log(kept->results, search->log, search->item, row, &record, &whole);
        if (status != WN_OK || !whole)
            break;
        *generation = row;
        for (int64_t g = 0; g < search->space.n_genes; g++)
            parent[g] = (int32_t)wn_record_f32(&record, WN_LOG_LEVEL)[wn_search_cell(run, search, g)];
    }
    wn_record_release(&record);
    if (status == WN_OK && *generation >= 0)
        status = wn_space_check(&search->space, parent);
    if (status == WN_OK && *generation >= 0)
        wn_progress_search(kept->progress, index, *generation, (double)NAN, 0);
    return status;
}

static void fill_generation(const struct wn_run *run, const struct wn_point_search *search,
                            const struct wn_search_state *state, double seconds, struct wn_record *record)
{
    const struct wn_field *fitness = &record->schema->fields[WN_LOG_FITNESS];
    int64_t stages = record->schema->dims[fitness->dims[1]].size;
    for (int64_t g = 0; g < state->n_genes; g++)
        wn_record_f32(record, WN_LOG_LEVEL)[wn_search_cell(run, search, g)] = (float)state->parent[g];
    for (int64_t c = 0; c < state->n_candidates; c++) {
        wn_record_f64(record, WN_LOG_ERROR_SUM)[c] = state->errors[c];
        for (int64_t s = 0; s < state->n_stages; s++) {
            wn_record_f64(record, WN_LOG_FITNESS)[c * stages + s] = state->fitness[c * state->n_stages + s];
            wn_record_f64(record, WN_LOG_ACCURACY)[c * stages + s] = state->accuracy[c * state->n_stages + s];
        }
    }
    *wn_record_i32(record, WN_LOG_WINNER) = (int32_t)(state->n_candidates ? state->winner : -1);
    *wn_record_f64(record, WN_LOG_BEST) = state->parent_fitness;
    *wn_record_f64(record, WN_LOG_ACHIEVED) = wn_space_achieved(&search->space, state->parent);
    *wn_record_f64(record, WN_LOG_SECONDS) = seconds;
    *wn_record_f64(record, WN_LOG_TOKENS) = (double)state->tokens;
}

wn_status wn_save_generation(void *context, int64_t index, const struct wn_search_state *state, double seconds)
{
    const struct wn_kept_generations *kept = context;
    const struct wn_point_search *search = &kept->run->searches[index];
    struct wn_record record;
    wn_record_init(&record, kept->run->logs[search->log].schema);
    fill_generation(kept->run, search, state, seconds, &record);
    wn_status status = wn_results_write_log(kept->results, search->log, search->item, state->generation, &record);
    wn_record_release(&record);
    wn_progress_search(kept->progress, index, state->generation, state->parent_fitness, seconds);
    return status;
}
