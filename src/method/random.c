/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random pruning: which weights become 0 says nothing about them; the row that every other pruner has to beat (the
 * random scores of Jaiswal et al., LLM-KICK). A score is a pure function of the seed, the name of the linear and the
 * place of the weight, so masks are the same for any ranks and threads, and nested in the sparsity.
 */
#include "pattern.h"
#include "select.h"

static const struct wn_parameter parameters[] = {
    WN_PRUNER_PARAMETERS,
    {.name = "seed",
     .type = WN_INTEGER,
     .standard = "0",
     .low = 0,
     .high = 9007199254740992.0,
     .help = "of the scores; another seed is another mask"},
};

/* FNV-1a: linears of a model get streams of their own. */
static uint64_t hash_of(const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    return hash;
}

/* Uniform scores of 31 bits; equal ones, which are rare, are broken by index. */
static void draw_scores(const struct wn_linear_task *task, wn_key *scores)
{
    const uint64_t seed = (uint64_t)wn_params_integer(task->params, "seed"), stream = hash_of(task->name);

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < task->rows; row++)
        for (int64_t i = row * task->columns; i < (row + 1) * task->columns; i++)
            scores[i] = (wn_key)(wn_random_u64(seed, stream, (uint64_t)i) >> 33);
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    const struct wn_pattern pattern = wn_pattern_of(task->params);
    const int64_t count = task->rows * task->columns;
    wn_key *scores = wn_alloc(count, sizeof *scores);
    struct wn_cut cut = {0, 0};

    draw_scores(task, scores);
    if (!pattern.m)
        cut = wn_cut_matrix(scores, count, wn_task_quota(task, 0, 1, 1));
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < task->rows; row++) {
        const int64_t at = row * task->columns;
        const float *weight = task->weight + at;
        if (pattern.m)
            wn_runs_apply(scores + at, task->columns, pattern.n, pattern.m, weight, out->keep + at, out->weight + at);
        else
            wn_cut_apply(&cut, at, scores + at, task->columns, weight, out->keep + at, out->weight + at);
    }
    out->has_mask = true;
    wn_free(scores);
    return WN_OK;
}

const struct wn_method wn_method_random = {
    .name = "random",
    .help = "zero weights at random, in each linear",
    .paper = "baseline of Jaiswal et al. 2023, arXiv:2310.01382",
    .kind = WN_PRUNER,
    .needs = WN_NEED_NOTHING,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = wn_pruner_check,
    .check_linear = wn_pruner_check_linear,
    .is_identity = wn_pruner_is_identity,
    .compress_linear = compress_linear,
};
