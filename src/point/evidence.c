/* SPDX-License-Identifier: Apache-2.0 */
/* evidence.c: what is known of the dense model before a point, and the allocation that follows from it. */
#include <stdio.h>

#include "point_impl.h"

void wn_point_left_out_needs(const struct wn_run *run, int64_t model, int64_t calibration, const bool *wanted,
                             struct wn_left_out_needs *needs)
{
    wn_left_out_needs_init(needs, run->models[model].model->config.n_blocks);
    for (int64_t p = 0; p < run->grid.n_points; p++) {
        const struct wn_point *point = &run->grid.points[p];
        if (point->model == model && point->calibration == calibration && (!wanted || wanted[p]))
            wn_left_out_want(needs, &point->recipe);
    }
}

wn_status wn_point_left_out(struct wn_par *par, const struct wn_run *run, int64_t model, int64_t calibration,
                            const bool *wanted, struct wn_left_out *left_out)
{
    const struct wn_prepared_model *prepared = &run->models[model];
    struct wn_left_out_needs needs;
    char name[WN_STATE_NAME];
    snprintf(name, sizeof name, "left_out-%lld-%lld", (long long)model, (long long)calibration);
    wn_point_left_out_needs(run, model, calibration, wanted, &needs);
    wn_status status = wn_left_out_compute(par, run->saver, name, prepared->model,
                                           &prepared->calibrations[calibration].sequences, &needs, left_out);
    wn_left_out_needs_release(&needs);
    return status;
}

/* Means over tokens of the scores of all units [n_blocks], NULL when the pass has not summed them. Owned by the caller.
 */
static double (*mean_scores(const struct wn_run *run, const struct wn_reference *reference,
                            const struct wn_point *point))[WN_DROP_UNITS][WN_DROP_SCORES]
{
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_layout *layout = &prepared->model->layout;
    unsigned needs = reference->needs[point->model][point->calibration];
    double tokens = (double)wn_sequences_tokens(&prepared->calibrations[point->calibration].sequences);
    if (!(needs & WN_NEED_DROP_SCORES))
        return NULL;
    double(*scores)[WN_DROP_UNITS][WN_DROP_SCORES] = wn_alloc(prepared->model->config.n_blocks, sizeof *scores);
    for (int64_t b = 0; b < prepared->model->config.n_blocks; b++)
        for (int u = 0; u < WN_DROP_UNITS; u++) {
            void *statistics = (char *)reference->statistics[point->model][point->calibration].data +
                               b * wn_statistics_bytes(layout, needs);
            const double *sums = wn_statistics_drop_scores(layout, needs, statistics, (enum wn_drop_unit)u);
            for (int s = 0; s < WN_DROP_SCORES; s++)
                scores[b][u][s] = sums[s] / tokens;
        }
    return scores;
}

wn_status wn_point_allocate(const struct wn_run *run, const struct wn_reference *reference,
                            const struct wn_point *point, struct wn_allocation *allocation)
{
    const struct wn_model *model = run->models[point->model].model;
    struct wn_allocation_task task = {
        .recipe = &point->recipe, .layout = &model->layout, .n_blocks = model->config.n_blocks};
    const struct wn_found *found = point->recipe.search ? &reference->found[point - run->grid.points] : NULL;
    const struct wn_evidence searched = {.found = found};
    task.evidence = found ? &searched : NULL;
    if (!wn_allocation_of(&point->recipe)->reads_dense)
        return wn_allocation_make(&task, allocation);
    double(*scores)[WN_DROP_UNITS][WN_DROP_SCORES] = mean_scores(run, reference, point);
    const struct wn_evidence evidence = {.outliers = &reference->outliers[point->model][point->calibration],
                                         .drop_scores = (const double(*)[WN_DROP_UNITS][WN_DROP_SCORES])scores,
                                         .left_out = &reference->left_out[point->model][point->calibration]};
    task.evidence = &evidence;
    wn_status status = wn_allocation_make(&task, allocation);
    wn_free(scores);
    return status;
}
