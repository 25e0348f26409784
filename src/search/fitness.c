/* SPDX-License-Identifier: Apache-2.0 */
/* What candidates are judged by: sums over rows of two models' next-token distributions. */
#include "search_impl.h"

#include <winnow/nn.h>

#include <math.h>

const char *wn_fitness_name(enum wn_fitness fitness)
{
    static const char *const names[] = {
#define X(name, description) #name,
        WN_FITNESS_LIST(X)
#undef X
            "task"};

    return names[fitness];
}

static double divergence(const float *p, double lse_p, const float *q, int64_t count, bool js)
{
    double lse_q = wn_log_sum_exp(q, count), kl, value;

    if (!js)
        return wn_row_kl(p, lse_p, q, lse_q, count);
    wn_row_divergence(p, lse_p, q, lse_q, count, &kl, &value);
    return value;
}

/* Both rows at the ids of the largest of p alone: log-sum-exp over these renormalises. */
static double sparse_divergence(const float *p, const float *q, int64_t count, int64_t top, float *values, int32_t *ids)
{
    wn_top_k(p, count, top, values, ids);
    for (int64_t i = 0; i < top; i++)
        values[top + i] = q[ids[i]];
    return divergence(values, wn_log_sum_exp(values, top), values + top, top, false);
}

/* One row. values [2 top] and ids [top] are work space of sparse_kl. */
static double row_value(enum wn_fitness fitness, const float *p, double lse_p, const float *q, int32_t target,
                        int64_t count, int64_t top, float *values, int32_t *ids)
{
    if (fitness == WN_FITNESS_perplexity)
        return wn_log_sum_exp(q, count) - (double)q[target];
    if (fitness == WN_FITNESS_sparse_kl)
        return sparse_divergence(p, q, count, top, values, ids);
    return divergence(p, lse_p, q, count, fitness == WN_FITNESS_js);
}

static bool needs_dense(enum wn_fitness fitness)
{
    return fitness != WN_FITNESS_perplexity;
}

void wn_fitness_dense(enum wn_fitness fitness, const float *dense, int64_t rows, int64_t vocabulary, double *log_sums)
{
    if (fitness != WN_FITNESS_kl && fitness != WN_FITNESS_js)
        return;
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t r = 0; r < rows; r++)
        log_sums[r] = wn_log_sum_exp(dense + r * vocabulary, vocabulary);
}

double wn_fitness_sum(enum wn_fitness fitness, const float *dense, const double *log_sums, const float *candidate,
                      const int32_t *targets, int64_t rows, int64_t vocabulary, int64_t top)
{
    const bool sparse = fitness == WN_FITNESS_sparse_kl, compares = needs_dense(fitness);
    double *row = wn_alloc(rows, sizeof *row), sum = 0;

#pragma omp parallel
    {
        float *values = sparse ? wn_alloc(2 * top, sizeof *values) : NULL;
        int32_t *ids = sparse ? wn_alloc(top, sizeof *ids) : NULL;
#pragma omp for schedule(dynamic, 4)
        for (int64_t r = 0; r < rows; r++)
            row[r] = row_value(fitness, compares ? dense + r * vocabulary : NULL, compares && !sparse ? log_sums[r] : 0,
                               candidate + r * vocabulary, compares ? 0 : targets[r], vocabulary, top, values, ids);
        wn_free(values);
        wn_free(ids);
    }
    for (int64_t r = 0; r < rows; r++)
        sum += row[r];
    wn_free(row);
    return sum;
}

double wn_fitness_finish(enum wn_fitness fitness, double sum, int64_t rows)
{
    double mean = sum / (double)rows;

    return fitness == WN_FITNESS_perplexity ? exp(mean) : mean;
}
