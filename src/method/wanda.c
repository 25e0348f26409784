/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wanda: in every output row the weights of smallest |W_ij| * ||x_j||_2 become 0 (Sun, Liu, Bair, Kolter,
 * arXiv:2306.11695, section 3, equation 1); no weight is updated.
 *
 * The variant "alpha" of the published code lets rows differ: a row gives up its smallest scores as long as their sum
 * is at most alpha times the sum of the row, and one alpha in [0, 0.8] for the matrix is found by bisection. A row
 * whose smallest score alone is above that gives up nothing (the published code fails there).
 */
#include "pattern.h"
#include "select.h"

#include <math.h>
#include <string.h>

static const struct wn_parameter parameters[] = {
    WN_PRUNER_PARAMETERS,
    {.name = "variant",
     .type = WN_STRING,
     .standard = "\"none\"",
     .words = "none|alpha",
     .help = "none: the same number of zeros in every row; alpha: zeros up to a share of the sum of scores of each "
             "row, searched until the matrix has the sparsity within 0.001 or the search ends"},
};

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

/* The runs of a row, scored strip by strip while they are in the cache. */
static void prune_runs(const float *weight, const float *norms, int64_t columns, struct wn_pattern pattern,
                       float *score, uint8_t *keep, float *result)
{
    const int64_t strip = 128 * pattern.m;

    for (int64_t at = 0; at < columns; at += strip) {
        int64_t here = columns - at < strip ? columns - at : strip;
        score_row(weight + at, norms + at, here, score);
        wn_runs_apply((const wn_key *)score, here, pattern.n, pattern.m, weight + at, keep + at, result + at);
    }
}

/*
 * Row by row: scores, then the cut that a stable ascending sort would make after `counts` [rows] entries; NULL: the
 * quota of the row.
 */
static void prune_rows(const struct wn_linear_task *task, const float *norms, const int64_t *counts,
                       struct wn_compressed *out)
{
    const int64_t columns = task->columns;
    const struct wn_pattern pattern = wn_pattern_of(task->params);

#pragma omp parallel
    {
        float *score = wn_alloc(columns, sizeof *score);
        wn_key *scratch = wn_alloc(columns, sizeof *scratch);
        const wn_key *keys = (const wn_key *)score;
        int32_t near = 0;
#pragma omp for schedule(static)
        for (int64_t row = 0; row < task->rows; row++) {
            const float *weight = task->weight + row * columns;
            uint8_t *keep = out->keep + row * columns;
            float *result = out->weight + row * columns;
            if (pattern.m) {
                prune_runs(weight, norms, columns, pattern, score, keep, result);
                continue;
            }
            score_row(weight, norms, columns, score);
            struct wn_cut cut = wn_cut_row(
                keys, columns, counts ? counts[row] : wn_task_quota(task, row, row + 1, task->rows), near, scratch);
            near = cut.threshold;
            wn_cut_apply(&cut, 0, keys, columns, weight, keep, result);
        }
        wn_free(scratch);
        wn_free(score);
    }
}

/* ---- the variant ---- */

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, PASSES = 3 };

static const double LARGEST_ALPHA = 0.8, NEAR = 0.001;

/* Sorts non-negative floats by their bit patterns, 11 bits at a time, lowest first. Room in `scratch` for all. */
static void sort_scores(wn_key *keys, int64_t count, wn_key *scratch)
{
    wn_key *from = keys, *to = scratch;

    for (int pass = 0; pass < PASSES; pass++) {
        int64_t place[DIGITS] = {0}, next = 0;
        for (int64_t i = 0; i < count; i++)
            place[from[i] >> pass * DIGIT_BITS & (DIGITS - 1)]++;
        for (int d = 0; d < DIGITS; d++) {
            const int64_t here = place[d];
            place[d] = next;
            next += here;
        }
        for (int64_t i = 0; i < count; i++)
            to[place[from[i] >> pass * DIGIT_BITS & (DIGITS - 1)]++] = from[i];
        wn_key *other = from;
        from = to;
        to = other;
    }
    memcpy(keys, from, (size_t)count * sizeof *keys); /* an odd number of passes */
}

/* Sorted scores of all rows and the sum of each. */
static void sort_rows(const struct wn_linear_task *task, const float *norms, float *sorted, double *totals)
{
    const int64_t columns = task->columns;

#pragma omp parallel
    {
        wn_key *scratch = wn_alloc(columns, sizeof *scratch);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < task->rows; row++) {
            float *score = sorted + row * columns;
            score_row(task->weight + row * columns, norms, columns, score);
            sort_scores((wn_key *)score, columns, scratch);
            totals[row] = 0;
            for (int64_t j = 0; j < columns; j++)
                totals[row] += (double)score[j];
        }
        wn_free(scratch);
    }
}

/* How many scores of a row go: the sum of those is at most `most`, and ties of the last one go with it. */
static int64_t count_below(const float *sorted, int64_t columns, double most)
{
    double sum = 0;
    int64_t count = 0;

    for (; count < columns; count++) {
        sum += (double)sorted[count];
        if (sum > most)
            break;
    }
    while (count > 0 && count < columns && sorted[count] == sorted[count - 1])
        count++;
    return count;
}

/* Fills counts [rows]; returns the share of the matrix that goes. */
static double count_rows(const struct wn_linear_task *task, const float *sorted, const double *totals, double alpha,
                         int64_t *counts)
{
    int64_t sum = 0;

#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (int64_t row = 0; row < task->rows; row++) {
        counts[row] = count_below(sorted + row * task->columns, task->columns, alpha * totals[row]);
        sum += counts[row];
    }
    return (double)sum / ((double)task->rows * (double)task->columns);
}

static void search_alpha(const struct wn_linear_task *task, const float *sorted, const double *totals, int64_t *counts)
{
    const double wanted = wn_params_number(task->params, "sparsity");
    double low = 0, high = LARGEST_ALPHA, alpha = LARGEST_ALPHA / 2;
    double share = count_rows(task, sorted, totals, alpha, counts);

    while (fabs(share - wanted) > NEAR && high - low >= NEAR) {
        if (share > wanted)
            high = alpha;
        else
            low = alpha;
        alpha = (low + high) / 2;
        share = count_rows(task, sorted, totals, alpha, counts);
    }
}

static void prune_by_alpha(const struct wn_linear_task *task, const float *norms, struct wn_compressed *out)
{
    float *sorted = wn_alloc(task->rows * task->columns, sizeof *sorted);
    double *totals = wn_alloc(task->rows, sizeof *totals);
    int64_t *counts = wn_alloc(task->rows, sizeof *counts);

    sort_rows(task, norms, sorted, totals);
    search_alpha(task, sorted, totals, counts);
    prune_rows(task, norms, counts, out); /* with all ties: their order does not matter */
    wn_free(counts);
    wn_free(totals);
    wn_free(sorted);
}

/* ---- the method ---- */

static bool is_alpha(const struct wn_params *params)
{
    return !strcmp(wn_params_text(params, "variant"), "alpha");
}

static wn_status check(struct wn_params *params)
{
    WN_TRY(wn_pruner_check(params));
    if (is_alpha(params) && wn_pattern_of(params).m)
        return wn_fail(WN_ERR_INPUT, "key \"variant\": alpha has no N:M form, got pattern \"%s\"",
                       wn_params_text(params, "pattern"));
    return WN_OK;
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    float *norms = wn_alloc(task->columns, sizeof *norms);
    wn_status status = compute_norms(task, norms);

    if (status == WN_OK) {
        if (is_alpha(task->params))
            prune_by_alpha(task, norms, out);
        else
            prune_rows(task, norms, NULL, out);
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
    .check = check,
    .check_linear = wn_pruner_check_linear,
    .is_identity = wn_pruner_is_identity,
    .compress_linear = compress_linear,
};
