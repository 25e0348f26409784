/* allocation.c: what is not the same in all blocks of a point: their sparsity, and the branches that are left out. */
#include <string.h>

#include "walk.h"

/* The sparsity of every block, from the outliers of the dense pass. */
static wn_status allocate_sparsity(const struct wn_subject *subject, struct wn_record *record,
                                   struct wn_allocation *allocation)
{
    const struct wn_point *point = subject->point;
    int64_t n_blocks = subject->model->config.n_blocks, i = 0;
    double multiple = wn_recipe_outlier_multiple(&point->recipe);
    if (multiple == 0)
        return WN_OK;
    const struct wn_outlier_shares *outliers = &subject->reference->outliers[point->model][point->calibration];
    while (outliers->multiples[i] != multiple)
        i++;
    const double *shares = outliers->shares + i * n_blocks;
    allocation->sparsity = wn_alloc(n_blocks, sizeof(double));
    WN_TRY(wn_recipe_allocate(&point->recipe, shares, n_blocks, allocation->sparsity));
    memcpy(wn_record_f64(record, subject->prepared->sparsity_field), allocation->sparsity,
           (size_t)n_blocks * sizeof(double));
    memcpy(wn_record_f64(record, subject->prepared->outlier_field), shares, (size_t)n_blocks * sizeof(double));
    return WN_OK;
}

static double drop_score(const struct wn_run *run, const struct wn_reference *reference, const struct wn_point *point,
                         enum wn_drop_unit unit, int64_t block)
{
    const struct wn_params *params = wn_recipe_drop(&point->recipe);
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_layout *layout = &prepared->model->layout;
    enum wn_drop_score score = wn_drop_score_of(params);
    if (score >= WN_DROP_SCORES)
        return wn_left_out_score(&reference->left_out[point->model][point->calibration], params,
                                 prepared->model->config.n_blocks, unit, block);
    unsigned needs = reference->needs[point->model][point->calibration];
    void *statistics = (char *)reference->statistics[point->model][point->calibration].data +
                       block * wn_statistics_bytes(layout, needs);
    return wn_statistics_drop_scores(layout, needs, statistics, unit)[score] /
           (double)wn_sequences_tokens(&prepared->calibrations[point->calibration].sequences);
}

void wn_point_choose_dropped(const struct wn_run *run, const struct wn_reference *reference,
                             const struct wn_point *point, double *scores, bool *const dropped[WN_BRANCHES])
{
    const struct wn_params *params = wn_recipe_drop(&point->recipe);
    int64_t n_blocks = run->models[point->model].model->config.n_blocks;
    enum wn_drop_unit unit = wn_drop_unit_of(params);
    int kinds = unit == WN_UNIT_BRANCH ? 2 : 1;
    bool *chosen = wn_alloc(kinds * n_blocks, sizeof *chosen);
    for (int64_t i = 0; i < kinds * n_blocks; i++)
        scores[i] = drop_score(run, reference, point, kinds == 2 ? (enum wn_drop_unit)(i % 2) : unit, i / kinds);
    wn_drop_choose(params, scores, n_blocks, chosen);
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        for (int64_t b = 0; b < n_blocks; b++)
            dropped[branch][b] =
                kinds == 2 ? chosen[2 * b + branch] : (unit == WN_UNIT_BLOCK || (int)unit == branch) && chosen[b];
    wn_free(chosen);
}

/* Chooses the units to leave out by their scores in the dense model, and records them. */
static void choose_left_out(const struct wn_subject *subject, struct wn_record *record,
                            struct wn_allocation *allocation)
{
    const struct wn_params *params = wn_recipe_drop(&subject->point->recipe);
    const int *fields = subject->prepared->drop_fields;
    int64_t n_blocks = subject->model->config.n_blocks;
    if (!params)
        return;
    int kinds = wn_drop_unit_of(params) == WN_UNIT_BRANCH ? 2 : 1;
    double *scores = wn_alloc(kinds * n_blocks, sizeof *scores);
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        allocation->left_out[branch] = wn_alloc(n_blocks, sizeof(bool));
    wn_point_choose_dropped(subject->run, subject->reference, subject->point, scores, allocation->left_out);
    for (int64_t b = 0; b < n_blocks; b++) {
        for (int branch = 0; branch < WN_BRANCHES; branch++)
            wn_record_f64(record, fields[branch])[b] = allocation->left_out[branch][b];
        for (int k = 0; k < kinds; k++)
            wn_record_f64(record, fields[WN_BRANCHES + k])[b] = scores[b * kinds + k];
    }
    wn_free(scores);
}

wn_status wn_allocation_make(const struct wn_subject *subject, struct wn_record *record,
                             struct wn_allocation *allocation)
{
    choose_left_out(subject, record, allocation);
    return allocate_sparsity(subject, record, allocation);
}

void wn_allocation_release(struct wn_allocation *allocation)
{
    wn_free(allocation->sparsity);
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        wn_free(allocation->left_out[branch]);
}
