/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Magnitude pruning: the smallest |w| of a matrix become 0 (Han, Pool, Tran, Dally, arXiv:1506.02626, section 3), or
 * the N smallest of every run of M columns (Mishra et al., arXiv:2104.08378, section 3). With scope "block" one
 * threshold holds for all linears of a decoder block: the block-global pruning of LLM-KICK (Jaiswal et al.,
 * arXiv:2310.01382), a row that tells how much the comparison inside each matrix is worth.
 */
#include "pattern.h"
#include "select.h"

#include <string.h>

static const struct wn_parameter parameters[] = {
    WN_PRUNER_PARAMETERS,
    {.name = "rule",
     .type = WN_STRING,
     .standard = "\"exact\"",
     .published = "\"reference\"",
     .words = "exact|reference",
     .help = "exact: floor(numel * sparsity) zeros, ties by lowest index; reference: as the published codes, all "
             "weights up to sorted[int(numel * sparsity)]; with scope block: up to the int(numel * (1 - sparsity))-th "
             "largest"},
    {.name = "scope",
     .type = WN_STRING,
     .standard = "\"linear\"",
     .words = "linear|block",
     .quiet = true,
     .help = "what is pruned as one: linear: every matrix; block: all linears of a decoder block (unstructured)"},
};

static bool is_reference(const struct wn_params *params)
{
    return !strcmp(wn_params_text(params, "rule"), "reference");
}

static bool is_block(const struct wn_params *params)
{
    return !strcmp(wn_params_text(params, "scope"), "block");
}

/* The published rule drops the threshold itself and every tie of it: at least one zero more than asked for. */
static struct wn_cut find_cut(const struct wn_linear_task *task)
{
    const wn_key *keys = (const wn_key *)task->weight;
    int64_t count = task->rows * task->columns, quota = wn_task_quota(task, 0, 1, 1);

    if (task->zeros || !is_reference(task->params) || quota == 0)
        return wn_cut_matrix(keys, count, quota);
    struct wn_cut cut = wn_cut_matrix(keys, count, quota + 1);
    cut.tie_end = count;
    return cut;
}

/* The cut of all linears together. */
static struct wn_cut find_block_cut(const struct wn_params *params, const struct wn_keys *arrays, int n_arrays)
{
    int64_t count = 0;

    for (int l = 0; l < n_arrays; l++)
        count += arrays[l].count;
    int64_t kept = (int64_t)((1 - wn_params_number(params, "sparsity")) * (double)count);
    if (!is_reference(params))
        return wn_cut_arrays(arrays, n_arrays, wn_pruner_quota(params, count));
    struct wn_cut cut = wn_cut_arrays(arrays, n_arrays, count - (kept > 1 ? kept : 1) + 1);
    cut.tie_end = count;
    return cut;
}

/* A matrix that loses as many of its smallest weights as lie below the common threshold loses just those. */
static bool share_zeros(const struct wn_params *params, const struct wn_linear_weights *linears, int count,
                        int64_t *zeros)
{
    if (!is_block(params))
        return false;
    struct wn_keys *arrays = wn_alloc(count, sizeof *arrays);
    for (int l = 0; l < count; l++)
        arrays[l] = (struct wn_keys){(const wn_key *)linears[l].weight, linears[l].count};
    struct wn_cut cut = find_block_cut(params, arrays, count);
    for (int64_t l = 0, first = 0; l < count; first += arrays[l++].count)
        zeros[l] = wn_cut_count(&cut, first, arrays[l].keys, arrays[l].count);
    wn_free(arrays);
    return true;
}

static wn_status check(struct wn_params *params)
{
    WN_TRY(wn_pruner_check(params));
    if (is_block(params) && wn_pattern_of(params).m)
        return wn_fail(WN_ERR_INPUT, "key \"scope\": block needs the pattern \"unstructured\", got \"%s\"",
                       wn_params_text(params, "pattern"));
    return WN_OK;
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
    .help = "zero the smallest weights of each linear, or of each block",
    .paper = "Han et al. 2015, arXiv:1506.02626",
    .kind = WN_PRUNER,
    .needs = WN_NEED_NOTHING,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = check,
    .check_linear = wn_pruner_check_linear,
    .is_identity = wn_pruner_is_identity,
    .compress_linear = compress_linear,
    .share_zeros = share_zeros,
};
