/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention of one row behind a past, as in writing a text token by token: dot products and sums of rows. In the units
 * of attention.c all lanes but one would be idle.
 */
#include "attention.h"

enum { DOT_LANES = 16, AHEAD = 8 };

/* Element i of the products goes to lane i % DOT_LANES, lanes are joined by halves. */
static float dot(const float *x, const float *y, int64_t count)
{
    float lanes[DOT_LANES] = {0};
    int64_t i = 0;
    for (; i + DOT_LANES <= count; i += DOT_LANES)
#pragma omp simd
        for (int l = 0; l < DOT_LANES; l++)
            lanes[l] += x[i + l] * y[i + l];
    for (int l = 0; i + l < count; l++)
        lanes[l] += x[i + l] * y[i + l];
    for (int half = DOT_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* out += the values weighted, eight keys at a time, so that out is read and written once for them. */
static void add_values(const struct run *run, const float *weights, int64_t stride, int64_t dim, float *out)
{
    int64_t i = 0;
    for (; i + 8 <= run->count; i += 8) {
        const float *v = run->values + i * stride, *w = weights + i;
#pragma omp simd
        for (int64_t j = 0; j < dim; j++) {
            float low = w[0] * v[j] + w[1] * v[stride + j] + (w[2] * v[2 * stride + j] + w[3] * v[3 * stride + j]);
            float high = w[4] * v[4 * stride + j] + w[5] * v[5 * stride + j] +
                         (w[6] * v[6 * stride + j] + w[7] * v[7 * stride + j]);
            out[j] += low + high;
        }
    }
    for (; i < run->count; i++)
#pragma omp simd
        for (int64_t j = 0; j < dim; j++)
            out[j] += weights[i] * run->values[i * stride + j];
}

/* Replaces the scores by exp(score - maximum) and returns their sum: score i in lane i % DOT_LANES, joined by halves.
 */
static float exponentials(float *scores, int64_t count)
{
    float lanes[DOT_LANES] = {0}, most = nn_maximum(scores, count);
    for (; count % DOT_LANES; count++)
        scores[count] = -INFINITY;
    for (int64_t i = 0; i < count; i += DOT_LANES)
#pragma omp simd
        for (int l = 0; l < DOT_LANES; l++) {
            scores[i + l] = nn_exp(scores[i + l] - most);
            lanes[l] += scores[i + l];
        }
    for (int half = DOT_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

int64_t nn_row_floats(int64_t keys)
{
    return (keys + DOT_LANES - 1) / DOT_LANES * DOT_LANES;
}

/* Soft cap and slope on scores of the keys from position `first` on, for a query at `position`. */
static void shape(const struct wn_attention_rule *rule, int64_t head, int64_t first, int64_t position, float *scores)
{
    int64_t keys = position + 1 - first;
    if (rule->softcap > 0)
#pragma omp simd
        for (int64_t i = 0; i < keys; i++)
            scores[i] = nn_soft_cap(scores[i], rule->softcap);
    if (rule->slopes)
        for (int64_t i = 0; i < keys; i++)
            scores[i] += nn_slope(rule, rule->slopes[head], first + i, position);
}

/* Keys soon needed and the values behind the scores: the cache is far larger than those of the processor, and rows of a
 * head do not lie side by side. Fetching reads nothing, so it may go beyond the end. */
static void fetch_ahead(const struct run *run, int64_t j, int64_t stride, int64_t dim)
{
    for (int64_t i = 0; i < dim; i += 16) {
        __builtin_prefetch(run->keys + (j + AHEAD) * stride + i, 0, 3);
        __builtin_prefetch(run->values + j * stride + i, 0, 2);
    }
}

void nn_attention_row(const struct attention *a, const struct tile *tile, int64_t head, float *scores)
{
    int64_t dim = a->head_dim, stride = a->kv_heads * dim, at = ((tile->row + tile->first) * a->heads + head) * dim;
    int64_t position = tile->before + tile->first, kv_head = head / (a->heads / a->kv_heads);
    int64_t first = nn_first_key(a->rule, position), skip = first;
    float *out = a->out + at, *place = scores;
    for (int64_t i = 0; i <= tile->n_spans; i++) {
        struct run run = nn_seen(a, tile, kv_head, i, &skip);
        for (int64_t j = 0; j < run.count; j++) {
            fetch_ahead(&run, j, stride, dim);
            *place++ = a->rule->scale * dot(a->q + at, run.keys + j * stride, dim);
        }
    }
    shape(a->rule, head, first, position, scores);
    float factor = 1.0f / exponentials(scores, position + 1 - first);
    memset(out, 0, (size_t)dim * sizeof *out);
    skip = first;
    for (int64_t i = 0; i <= tile->n_spans; i++) {
        struct run run = nn_seen(a, tile, kv_head, i, &skip);
        add_values(&run, scores, stride, dim, out);
        scores += run.count;
    }
    for (int64_t j = 0; j < dim; j++)
        out[j] *= factor;
}
