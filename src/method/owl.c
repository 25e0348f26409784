/*
 * Outlier-weighed layerwise sparsity (Yin et al., arXiv:2310.05175): shares of outlying Wanda scores, and the sparsity
 * of each block that follows from them. The published code sums scores in fp32; here they are doubles, and each row is
 * summed on its own and rows in order, so that the share does not depend on threads.
 *
 * Under an N:M pattern blocks differ in N, as in the published code: the sparsity is rounded to whole zeros of a run,
 * so that the mean of all blocks is near that of the pattern but not exactly it.
 */
#include "pattern.h"

#include <math.h>
#include <stdio.h>
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

/* Zeros of a run, half to even, at least one and at most all but one, as a share. */
static double whole_zeros(struct wn_pattern pattern, double less)
{
    double zeros = pattern.n - rint(pattern.m * less);

    return fmin(fmax(zeros, 1), pattern.m - 1) / pattern.m;
}

wn_status wn_recipe_allocate(const struct wn_recipe *recipe, const double *shares, int64_t n_blocks, double *sparsity)
{
    const struct wn_params *params = allocating(recipe);
    const double wanted = wn_params_number(params, "sparsity"), lambda = wn_params_number(params, "owl_lambda");
    const struct wn_pattern pattern = wn_pattern_of(params);
    double low = INFINITY, high = -INFINITY, mean = 0;

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
        if (pattern.m)
            sparsity[i] = whole_zeros(pattern, sparsity[i] - mean);
        else
            sparsity[i] = value <= 0 ? SMALLEST : value >= 1 ? LARGEST : value;
    }
    return WN_OK;
}

void wn_recipe_set_sparsity(struct wn_recipe *recipe, double sparsity)
{
    struct wn_params *params = (struct wn_params *)allocating(recipe);
    const struct wn_pattern pattern = wn_pattern_of(params);
    struct wn_value *text = (struct wn_value *)wn_params_find(params, "pattern");

    wn_params_derive(params, "sparsity", sparsity);
    if (pattern.m)
        snprintf(text->text, sizeof text->text, "%d:%d", (int)rint(sparsity * pattern.m), pattern.m);
}
