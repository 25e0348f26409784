/* allocation.c: the allocation of a point, from the evidence of the shared dense pass. */
#include "point_impl.h"

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
