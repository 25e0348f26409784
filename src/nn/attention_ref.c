/* SPDX-License-Identifier: Apache-2.0 */
/* attention_ref.c: attention as a plain loop in double: what the fast one is tested against. */
#include <winnow/nn.h>

#include <math.h>
#include <string.h>

struct attention {
    const float *q, *k, *v;
    float *out;
    int64_t heads, kv_heads, head_dim;
    const struct wn_attention_rule *rule;
    const struct wn_past *past;
};

/* Keys and values of all that sequence s sees, one after the other: [past + length, kv_heads, head_dim]. */
static void gather_ref(const struct attention *a, int64_t s, const int64_t *offset, float *keys, float *values)
{
    int64_t width = a->kv_heads * a->head_dim, length = offset[s + 1] - offset[s];
    const struct wn_past *past = a->past;
    for (int64_t i = past ? past->first_span[s] : 0; past && i < past->first_span[s + 1]; i++) {
        int64_t count = past->spans[i].count * width, at = past->spans[i].first * width;
        memcpy(keys, past->keys + at, (size_t)count * sizeof *keys);
        memcpy(values, past->values + at, (size_t)count * sizeof *keys);
        keys += count;
        values += count;
    }
    memcpy(keys, a->k + offset[s] * width, (size_t)(length * width) * sizeof *keys);
    memcpy(values, a->v + offset[s] * width, (size_t)(length * width) * sizeof *keys);
}

/* To the 8 significant bits of bfloat16, ties to even. */
static double rounded_ref(double x)
{
    int exponent;
    double part = frexp(x, &exponent);
    return ldexp(rint(ldexp(part, 8)), exponent - 8);
}

static double slope_ref(const struct wn_attention_rule *rule, double slope, int64_t key, int64_t query)
{
    if (!rule->rounded_slopes)
        return slope * (double)(key - query);
    return (double)rule->scale * rounded_ref(rounded_ref(slope) * rounded_ref((double)key));
}

/* One query of one head at a position against the keys it sees: scores, maximum, weights, in double. */
static void attend_ref(const struct attention *a, const float *keys, const float *values, int64_t row, int64_t position,
                       int64_t head, double *weights)
{
    int64_t kv = head / (a->heads / a->kv_heads), dim = a->head_dim;
    const float *query = a->q + (row * a->heads + head) * dim;
    const struct wn_attention_rule *rule = a->rule;
    double most = -INFINITY, sum = 0;
    int64_t first = rule->window > 0 && position - rule->window + 1 > 0 ? position - rule->window + 1 : 0;
    for (int64_t u = first; u <= position; u++) {
        const float *key = keys + (u * a->kv_heads + kv) * dim;
        weights[u] = 0;
        for (int64_t j = 0; j < dim; j++)
            weights[u] += (double)query[j] * key[j] * rule->scale;
        if (rule->softcap > 0)
            weights[u] = rule->softcap * tanh(weights[u] / rule->softcap);
        if (rule->slopes)
            weights[u] += slope_ref(rule, (double)rule->slopes[head], u, position);
        most = fmax(most, weights[u]);
    }
    for (int64_t u = first; u <= position; u++)
        sum += weights[u] = exp(weights[u] - most);
    for (int64_t j = 0; j < dim; j++) {
        double value = 0;
        for (int64_t u = first; u <= position; u++)
            value += weights[u] * values[(u * a->kv_heads + kv) * dim + j];
        a->out[(row * a->heads + head) * dim + j] = (float)(value / sum);
    }
}

void wn_attention_ref(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                      int64_t heads, int64_t kv_heads, int64_t head_dim, const struct wn_attention_rule *rule,
                      const struct wn_past *past, float *out)
{
    struct attention a = {q, k, v, out, heads, kv_heads, head_dim, rule, past};
    for (int64_t s = 0; s < n_sequences; s++) {
        int64_t before = wn_past_length(past, s), length = offset[s + 1] - offset[s], keys = before + length;
        float *all_keys = wn_alloc(keys * kv_heads * head_dim, sizeof *all_keys);
        float *all_values = wn_alloc(keys * kv_heads * head_dim, sizeof *all_values);
        double *weights = wn_alloc(keys, sizeof *weights);
        gather_ref(&a, s, offset, all_keys, all_values);
        for (int64_t t = 0; t < length; t++)
            for (int64_t h = 0; h < heads; h++)
                attend_ref(&a, all_keys, all_values, offset[s] + t, before + t, h, weights);
        wn_free(weights);
        wn_free(all_keys);
        wn_free(all_values);
    }
}
