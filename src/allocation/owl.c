/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outlier-weighed layerwise sparsity (Yin et al., arXiv:2310.05175): shares of outlying Wanda scores, and the sparsity
 * of each block that follows from them. The published code sums scores in fp32; here they are doubles, and each row is
 * summed on its own and rows in order, so that the share does not depend on threads.
 *
 * Under an N:M pattern blocks differ in N, as in the published code: the sparsity is rounded to whole zeros of a run,
 * so that the mean of all blocks is near that of the pattern but not exactly it.
 */
#include <winnow/allocation.h>

#include <math.h>
#include <string.h>

static const double SMALLEST = 0.01, LARGEST = 0.99;

static double score(const struct wn_scored_linear *linear, const double *norms, int64_t row, int64_t column)
{
    return fabs((double)linear->weight[row * linear->columns + column]) * norms[column];
}

static double *norms_of(const struct wn_scored_linear *linear)
{
    double *norms = wn_alloc(linear->columns, sizeof *norms);

    for (int64_t j = 0; j < linear->columns; j++)
        norms[j] = sqrt(linear->squares[j]);
    return norms;
}

static double sum_scores(const struct wn_scored_linear *linear)
{
    double *norms = norms_of(linear), *sums = wn_alloc(linear->rows, sizeof *sums), sum = 0;

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < linear->rows; row++) {
        sums[row] = 0;
        for (int64_t j = 0; j < linear->columns; j++)
            sums[row] += score(linear, norms, row, j);
    }
    for (int64_t row = 0; row < linear->rows; row++)
        sum += sums[row];
    wn_free(sums);
    wn_free(norms);
    return sum;
}

static int64_t count_above(const struct wn_scored_linear *linear, double threshold)
{
    double *norms = norms_of(linear);
    int64_t count = 0;

#pragma omp parallel for schedule(static) reduction(+ : count)
    for (int64_t row = 0; row < linear->rows; row++)
        for (int64_t j = 0; j < linear->columns; j++)
            count += score(linear, norms, row, j) > threshold;
    wn_free(norms);
    return count;
}

double wn_outlier_share(const struct wn_scored_linear *linears, int count, double multiple)
{
    double sum = 0, weights = 0;
    int64_t outliers = 0;

    for (int l = 0; l < count; l++) {
        sum += sum_scores(&linears[l]);
        weights += (double)linears[l].rows * (double)linears[l].columns;
    }
    if (!isfinite(sum))
        return (double)NAN;
    for (int l = 0; l < count; l++)
        outliers += count_above(&linears[l], multiple * (sum / weights));
    return (double)outliers / weights;
}

/* The parameters of the stage that allocates, NULL without one. With sparsity 0 there is nothing to give away. */
static const struct wn_params *allocating(const struct wn_recipe *recipe)
{
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_params *params = &recipe->stages[s].params;
        const struct wn_value *allocation = wn_params_find(params, "allocation");
        if (allocation && !strcmp(allocation->text, "owl") && wn_params_number(params, "sparsity") > 0)
            return params;
    }
    return NULL;
}

double wn_recipe_outlier_multiple(const struct wn_recipe *recipe)
{
    const struct wn_params *params = allocating(recipe);

    return params ? wn_params_number(params, "owl_m") : 0;
}

void wn_outliers_want(struct wn_outlier_shares *outliers, const struct wn_recipe *recipe)
{
    const double multiple = wn_recipe_outlier_multiple(recipe);

    if (multiple == 0)
        return;
    for (int64_t i = 0; i < outliers->count; i++)
        if (outliers->multiples[i] == multiple)
            return;
    outliers->multiples = wn_resize(outliers->multiples, outliers->count + 1, sizeof(double));
    outliers->multiples[outliers->count++] = multiple;
}

void wn_outliers_open(struct wn_outlier_shares *outliers, int64_t n_blocks)
{
    outliers->shares = wn_alloc_zero(outliers->count * n_blocks, sizeof(double));
}

void wn_outliers_release(struct wn_outlier_shares *outliers)
{
    wn_free(outliers->multiples);
    wn_free(outliers->shares);
    *outliers = (struct wn_outlier_shares){0};
}

/* Zeros of a run, half to even, at least one and at most all but one, as a share. */
static double whole_zeros(int64_t n, int64_t m, double less)
{
    double zeros = (double)n - rint((double)m * less);

    return fmin(fmax(zeros, 1), (double)m - 1) / (double)m;
}

wn_status wn_owl_sparsity(const struct wn_recipe *recipe, const double *shares, int64_t n_blocks, double *sparsity)
{
    const struct wn_params *params = allocating(recipe);
    const double wanted = wn_params_number(params, "sparsity"), lambda = wn_params_number(params, "owl_lambda");
    int64_t n, m;
    double low = INFINITY, high = -INFINITY, mean = 0;

    wn_recipe_pattern(recipe, &n, &m);
    for (int64_t i = 0; i < n_blocks; i++) {
        if (!isfinite(shares[i]))
            return wn_fail(WN_ERR_NUMERIC, "block %lld: a weight or an input of the dense model is not finite",
                           (long long)i);
        low = fmin(low, shares[i]);
        high = fmax(high, shares[i]);
    }
    for (int64_t i = 0; i < n_blocks; i++) {
        sparsity[i] = high > low ? 2 * lambda * (shares[i] - low) / (high - low) : 0;
        mean += sparsity[i] / (double)n_blocks;
    }
    for (int64_t i = 0; i < n_blocks; i++) {
        double value = wanted - sparsity[i] + mean;
        if (m)
            sparsity[i] = whole_zeros(n, m, sparsity[i] - mean);
        else
            sparsity[i] = value <= 0 ? SMALLEST : value >= 1 ? LARGEST : value;
    }
    return WN_OK;
}

/* ---- the kind ---- */

enum { NOTE_SPARSITY, NOTE_OUTLIERS, NOTES };

static const struct wn_note notes[NOTES] = {
    {"allocated_sparsity", "1", "sparsity asked for in the block, with owl"},
    {"score_outliers", "1", "share of Wanda scores above owl_m times their mean in the dense block, with owl"}};

static bool decides(const struct wn_recipe *recipe)
{
    return allocating(recipe) != NULL;
}

static const double *shares_of(const struct wn_outlier_shares *outliers, double multiple, int64_t n_blocks)
{
    for (int64_t i = 0; i < outliers->count; i++)
        if (outliers->multiples[i] == multiple)
            return outliers->shares + i * n_blocks;
    WN_BUG("outliers above %g times the mean were not counted", multiple);
}

static wn_status allocate(const struct wn_allocation_task *task, struct wn_allocation *allocation)
{
    const int64_t n_blocks = task->n_blocks, n_linears = task->layout->n_linears;
    const double *shares = shares_of(task->evidence->outliers, wn_recipe_outlier_multiple(task->recipe), n_blocks);
    double *sparsity = allocation->notes + NOTE_SPARSITY * n_blocks;

    WN_TRY(wn_owl_sparsity(task->recipe, shares, n_blocks, sparsity));
    memcpy(allocation->notes + NOTE_OUTLIERS * n_blocks, shares, (size_t)n_blocks * sizeof *shares);
    allocation->levels = wn_alloc(n_blocks * n_linears, sizeof *allocation->levels);
    for (int64_t i = 0; i < n_blocks * n_linears; i++)
        allocation->levels[i] = (struct wn_level){.sparsity = sparsity[i / n_linears], .bits = (double)NAN};
    return WN_OK;
}

const struct wn_allocation_kind wn_allocation_owl = {
    .name = "owl",
    .help = "less sparsity in blocks with more outliers among the Wanda scores of the dense model",
    .paper = "Yin et al. 2023, arXiv:2310.05175",
    .decides = decides,
    .reads_dense = true,
    .notes = notes,
    .n_notes = NOTES,
    .allocate = allocate,
};
