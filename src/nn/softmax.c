/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over one row of logits, divergences of two rows, largest values. Serial: callers share out rows. */
#include <winnow/nn.h>

#include "math.h"

#include <math.h>

enum { BLOCK = 256, LANES = 8 };

static double sum_lanes(const double *lanes)
{
    double sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

/* Element i of a block goes to lane i % LANES. */
static void add_to_lanes(const double *values, int64_t count, double *lanes)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += values[i + l];
    for (int l = 0; i + l < count; l++)
        lanes[l] += values[i + l];
}

double wn_log_sum_exp(const float *logits, int64_t count)
{
    float most = nn_maximum(logits, count);
    double lanes[LANES] = {0}, values[BLOCK];
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t length = count - first < BLOCK ? count - first : BLOCK;
#pragma omp simd
        for (int64_t i = 0; i < length; i++)
            values[i] = (double)nn_exp(logits[first + i] - most);
        add_to_lanes(values, length, lanes);
    }
    return most + log(sum_lanes(lanes));
}

/*
 * Terms of one block. With d = ln p - ln q, h = max(p, q), z = exp(-|d|) - 1 and so min(p, q) = h (1 + z):
 *   kl term  p d - p + q                          (p - q sums to 0 over the vocabulary)
 *          = h (d + z)            where p >= q
 *          = h ((1 + z) d - z)    where p <  q
 *   js term  -1/2 h ((2 + z) ln(1 + z/2) + (1 + z) |d|)
 * Both are never negative and vanish with d^2, so small divergences keep their digits although p and q are fp32.
 */
static void divergence_terms(const float *p, const float *q, int64_t count, double lse_p, double lse_q, double *kl,
                             double *js)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        double ln_p = p[i] - lse_p, ln_q = q[i] - lse_q, d = ln_p - ln_q, distance = fabs(d);
        double h = (double)nn_exp((float)(d < 0 ? ln_q : ln_p));
        double z = nn_expm1_negative(distance);
        kl[i] = h * (d < 0 ? (1.0 + z) * d - z : d + z);
        js[i] = -0.5 * h * ((2.0 + z) * nn_log1p_half(0.5 * z) + (1.0 + z) * distance);
    }
}

void wn_row_divergence(const float *p, double lse_p, const float *q, double lse_q, int64_t count, double *kl,
                       double *js)
{
    double kl_lanes[LANES] = {0}, js_lanes[LANES] = {0}, kl_terms[BLOCK], js_terms[BLOCK];
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t length = count - first < BLOCK ? count - first : BLOCK;
        divergence_terms(p + first, q + first, length, lse_p, lse_q, kl_terms, js_terms);
        add_to_lanes(kl_terms, length, kl_lanes);
        add_to_lanes(js_terms, length, js_lanes);
    }
    *kl = sum_lanes(kl_lanes);
    *js = sum_lanes(js_lanes);
}

/* A double as two floats: subtracted one after the other, nothing is lost near it. */
struct halves {
    float high, low;
};

static struct halves halves_of(double value)
{
    float high = (float)value;
    return (struct halves){high, (float)(value - (double)high)};
}

/*
 * With d = ln p - ln q the term is p d - p + q = p (d + e^-d - 1). Up to |d| = 1 by the series of the bracket, which
 * begins with d^2 / 2; beyond, what cancels is less than what is left. Floats all through, so twice as many at a time.
 */
static void kl_terms(const float *p, const float *q, int64_t count, struct halves lse_p, struct halves lse_q,
                     struct halves shift, double *kl)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float d = p[i] - q[i] - shift.high - shift.low;
        float share = nn_exp(p[i] - lse_p.high - lse_p.low), other = nn_exp(q[i] - lse_q.high - lse_q.low);
        float series = 1.0f / 39916800;
        series = 1.0f / 3628800 - series * d;
        series = 1.0f / 362880 - series * d;
        series = 1.0f / 40320 - series * d;
        series = 1.0f / 5040 - series * d;
        series = 1.0f / 720 - series * d;
        series = 1.0f / 120 - series * d;
        series = 1.0f / 24 - series * d;
        series = 1.0f / 6 - series * d;
        series = 0.5f - series * d;
        float far = share * d - share + other;
        kl[i] = (double)(fabsf(d) <= 1.0f ? share * (d * d) * series : far);
    }
}

double wn_row_kl(const float *p, double lse_p, const float *q, double lse_q, int64_t count)
{
    double lanes[LANES] = {0}, terms[BLOCK];
    const struct halves of_p = halves_of(lse_p), of_q = halves_of(lse_q), shift = halves_of(lse_p - lse_q);
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t length = count - first < BLOCK ? count - first : BLOCK;
        kl_terms(p + first, q + first, length, of_p, of_q, shift, terms);
        add_to_lanes(terms, length, lanes);
    }
    return sum_lanes(lanes);
}

int64_t wn_argmax(const float *x, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* Insertion into the sorted list of the best so far; most elements fail the first comparison. */
void wn_top_k(const float *x, int64_t count, int64_t k, float *values, int32_t *indices)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count && k > 0; i++) {
        if (kept == k && !(x[i] > values[k - 1]))
            continue;
        int64_t at = kept < k ? kept++ : k - 1;
        for (; at > 0 && x[i] > values[at - 1]; at--) {
            values[at] = values[at - 1];
            indices[at] = indices[at - 1];
        }
        values[at] = x[i];
        indices[at] = (int32_t)i;
    }
}
