/*
 * Wanda: in every output row the weights of smallest |W_ij| * ||x_j||_2 become 0 (Sun, Liu, Bair, Kolter,
 * arXiv:2306.11695, section 3, equation 1); no weight is updated.
 */
#include "pattern.h"
#include "select.h"

#include <math.h>

static const struct wn_parameter parameters[] = {WN_PRUNER_PARAMETERS};

/* As published: the square root of the mean over sequences (not tokens), in fp32. The scale never changes a mask. */
static wn_status compute_norms(const struct wn_linear_task *task, float *norms)
{
    const struct wn_input_stats *stats = task->stats;

    if (!stats || !stats->squares || stats->width != task->columns || stats->sequences < 1)
        WN_BUG("%s: wanda was given no input squares of this width", task->name);
    for (int64_t j = 0; j < task->columns; j++) {
        norms[j] = sqrtf((float)(stats->squares[j] / (double)stats->sequences));
        if (!isfinite(norms[j]))
            return wn_fail(WN_ERR_NUMERIC, "%s: the norm of input %lld is not finite", task->name, (long long)j);
    }
    return WN_OK;
}

static void score_row(const float *weight, const float *norms, int64_t columns, float *score)
{
#pragma omp simd
    for (int64_t j = 0; j < columns; j++)
        score[j] = fabsf(weight[j]) * norms[j];
}

/* Row by row: scores, then the cut that a stable ascending sort would make after `quota` entries. */
static void prune_rows(const struct wn_linear_task *task, const float *norms, struct wn_compressed *out)
{
    const int64_t columns = task->columns, quota = wn_pruner_quota(task->params, columns);
    const struct wn_pattern pattern = wn_pattern_of(task->params);

#pragma omp parallel
    {
        float *score = wn_alloc(columns, sizeof *score);
        wn_key *scratch = wn_alloc(columns, sizeof *scratch);
        const wn_key *keys = (const wn_key *)score;
#pragma omp for schedule(static)
        for (int64_t row = 0; row < task->rows; row++) {
            const float *weight = task->weight + row * columns;
            uint8_t *keep = out->keep + row * columns;
            float *result = out->weight + row * columns;
            score_row(weight, norms, columns, score);
            if (pattern.m) {
                wn_runs_apply(keys, columns, pattern.n, pattern.m, weight, keep, result);
            } else {
                struct wn_cut cut = wn_cut_row(keys, columns, quota, scratch);
                wn_cut_apply(&cut, 0, keys, columns, weight, keep, result);
            }
        }
        wn_free(scratch);
        wn_free(score);
    }
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    float *norms = wn_alloc(task->columns, sizeof *norms);
    wn_status status = compute_norms(task, norms);

    if (status == WN_OK) {
        prune_rows(task, norms, out);
        out->has_mask = true;
    }
    wn_free(norms);
    return status;
}

const struct wn_method wn_method_wanda = {
    .name = "wanda",
    .help = "zero the weights of smallest |weight| times input norm, in each output row",
    .paper = "Sun et al. 2023, arXiv:2306.11695",
    .kind = WN_PRUNER,
    .needs = WN_NEED_INPUT_SQUARES,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = wn_pruner_check,
    .check_linear = wn_pruner_check_linear,
    .is_identity = wn_pruner_is_identity,
    .compress_linear = compress_linear,
};
