/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention.h: what the two ways of attention share: units of many rows (attention.c) and rows that are alone behind
 * their past (attention_row.c). Private to src/nn.
 */
#ifndef WINNOW_NN_ATTENTION_H
#define WINNOW_NN_ATTENTION_H

#include <winnow/nn.h>

#include "math.h"

static inline int64_t nn_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* A query tile: tokens first .. end-1 of the sequence that starts at row `row`, behind a past of `before` tokens. */
struct tile {
    int64_t row, first, end, before;
    const struct wn_span *spans;
    int64_t n_spans;
};

struct attention {
    const float *q, *k, *v;
    float *out;
    int64_t heads, kv_heads, head_dim;
    const struct wn_attention_rule *rule;
    const struct wn_past *past;
    int64_t runs, run_heads; /* the query heads of a key-value head, in so many runs of so many (the last has fewer) */
};

/* Keys and values that lie one after the other: of a span, or of the sequence itself. One head of them. */
struct run {
    const float *keys, *values;
    int64_t count;
};

/* As a number of bf16. */
static inline float nn_bfloat(float x)
{
    return wn_from_bf16(wn_to_bf16(x));
}

/* What the slope of a head adds to the score of a key for a query, both by their positions. */
static inline float nn_slope(const struct wn_attention_rule *rule, float slope, int64_t key, int64_t query)
{
    if (rule->rounded_slopes)
        return rule->scale * nn_bfloat(nn_bfloat(slope) * nn_bfloat((float)key));
    return slope * (float)(key - query);
}

/* Position of the first key that a row at `position` sees. */
static inline int64_t nn_first_key(const struct wn_attention_rule *rule, int64_t position)
{
    return rule->window > 0 && position >= rule->window ? position - rule->window + 1 : 0;
}

/*
 * Part `index` of what a tile sees of one key-value head: the spans of its past, then its own sequence. The first *skip
 * keys are left out; *skip becomes what is still to be left out of later parts.
 */
static inline struct run nn_seen(const struct attention *a, const struct tile *tile, int64_t kv_head, int64_t index,
                                 int64_t *skip)
{
    int64_t stride = a->kv_heads * a->head_dim;
    bool own = index == tile->n_spans;
    int64_t count = own ? tile->end : tile->spans[index].count, left_out = nn_smaller(*skip, count);
    int64_t at = ((own ? tile->row : tile->spans[index].first) + left_out) * stride + kv_head * a->head_dim;
    *skip -= left_out;
    return (struct run){(own ? a->k : a->past->keys) + at, (own ? a->v : a->past->values) + at, count - left_out};
}

/* Floats that a row alone behind its past needs for the scores of so many keys. */
int64_t nn_row_floats(int64_t keys);
/* One head of the row of a tile of one row. */
void nn_attention_row(const struct attention *a, const struct tile *tile, int64_t head, float *scores);

#endif
