/*
 * Magnitude pruning: the smallest |w| of a matrix become 0 (Han, Pool, Tran, Dally, arXiv:1506.02626, section 3), or
 * the N smallest of every run of M columns (Mishra et al., arXiv:2104.08378, section 3).
 */
#include "pattern.h"
#include "select.h"

#include <string.h>

static const struct wn_parameter parameters[] = {
    WN_PRUNER_PARAMETERS,
    {.name = "rule",
     .type = WN_STRING,
     .standard = "\"exact\"",
     .words = "exact|reference",
     .help = "exact: floor(numel * sparsity) zeros, ties by lowest index; reference: as the published codes, all "
             "weights up to sorted[int(numel * sparsity)]"},
};

/* The published rule drops the threshold itself and every tie of it: at least one zero more than asked for. */
static struct wn_cut find_cut(const struct wn_linear_task *task)
{
    const wn_key *keys = (const wn_key *)task->weight;
    int64_t count = task->rows * task->columns, quota = wn_pruner_quota(task->params, count);

    if (strcmp(wn_params_text(task->params, "rule"), "reference") != 0 || quota == 0)
        return wn_cut_matrix(keys, count, quota);
    struct wn_cut cut = wn_cut_matrix(keys, count, quota + 1);
    cut.tie_end = count;
    return cut;
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    struct wn_pattern pattern = wn_pattern_of(task->params);
    struct wn_cut cut = {0, 0};

    if (!pattern.m)
        cut = find_cut(task);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < task->rows; row++) {
        const int64_t at = row * task->columns;
        const float *weight = task->weight + at;
        const wn_key *keys = (const wn_key *)weight;
        if (pattern.m)
            wn_runs_apply(keys, task->columns, pattern.n, pattern.m, weight, out->keep + at, out->weight + at);
        else
            wn_cut_apply(&cut, at, keys, task->columns, weight, out->keep + at, out->weight + at);
    }
    out->has_mask = true;
    return WN_OK;
}

const struct wn_method wn_method_magnitude = {
    .name = "magnitude",
    .help = "zero the smallest weights of each linear",
    .paper = "Han et al. 2015, arXiv:1506.02626",
    .kind = WN_PRUNER,
    .needs = WN_NEED_NOTHING,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = wn_pruner_check,
    .check_linear = wn_pruner_check_linear,
    .is_identity = wn_pruner_is_identity,
    .compress_linear = compress_linear,
};
