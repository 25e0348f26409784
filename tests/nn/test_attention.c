/* SPDX-License-Identifier: Apache-2.0 */
/* Attention: the fast function against its plain twin, every rule, equal bits on 1 to 4 threads. */
#include <omp.h>

#include <winnow/linalg.h>
#include <winnow/nn.h>

#include "nn_test.h"

enum { MOST_HEADS = 6 };
static float slopes[MOST_HEADS];

/* llama; Gemma 2 in a window shorter and longer than a step; slopes, also rounded; a window that is no limit; all at
 * once. */
static const struct wn_attention_rule rules[] = {
    {.scale = 0.3f},
    {.scale = 0.3f, .softcap = 2, .window = 40},
    {.scale = 0.5f, .window = 2 * WN_ATTENTION_KEYS + 11},
    {.scale = 0.3f, .slopes = slopes},
    {.scale = 0.3f, .slopes = slopes, .rounded_slopes = true},
    {.scale = 0.3f, .window = 1},
    {.scale = 0.4f, .softcap = 1, .window = WN_ATTENTION_KEYS, .slopes = slopes},
};
enum { N_RULES = sizeof rules / sizeof rules[0] };

static void check_attention(int64_t n, const int64_t *offset, int64_t heads, int64_t kv_heads, int64_t dim,
                            double scale, const struct wn_attention_rule *rule)
{
    int64_t rows = offset[n], size = rows * heads * dim;
    float *q = random_floats(size, 6, scale), *k = random_floats(rows * kv_heads * dim, 7, scale);
    float *v = random_floats(rows * kv_heads * dim, 8, 1), *expected = wn_alloc(size, sizeof *q);
    float *first = wn_alloc(size, sizeof *q), *again = wn_alloc(size, sizeof *q);
    wn_attention_ref(q, k, v, n, offset, heads, kv_heads, dim, rule, NULL, expected);
    omp_set_num_threads(1);
    wn_attention(q, k, v, n, offset, heads, kv_heads, dim, rule, NULL, first);
    CHECK_NEAR(worst_difference(first, expected, size), 0, 1e-5);
    for (int threads = 2; threads <= 4; threads++) {
        test_set_threads(threads);
        memset(again, 0, (size_t)size * sizeof *again);
        wn_attention(q, k, v, n, offset, heads, kv_heads, dim, rule, NULL, again);
        CHECK(same_bits(again, first, size));
    }
    wn_free(q);
    wn_free(k);
    wn_free(v);
    wn_free(expected);
    wn_free(first);
    wn_free(again);
}

/* Rows have the same bits alone with their keys as in company, wherever they stand in a unit, and with a cut past. */
static void check_company(const struct wn_attention_rule *rule)
{
    enum { ROWS = 300, HEADS = 5, DIM = 20, BEGIN = 170 };
    const int64_t whole[] = {0, ROWS}, rest[] = {0, ROWS - BEGIN}, first_span[] = {0, 3}, keep[] = {-1};
    const struct wn_span spans[] = {{0, 100}, {100, 1}, {101, BEGIN - 101}};
    float *q = random_floats(ROWS * HEADS * DIM, 31, 1), *k = random_floats(ROWS * DIM, 32, 1);
    float *v = random_floats(ROWS * DIM, 33, 1), *all = wn_alloc(ROWS * HEADS * DIM, sizeof *q);
    float *part = wn_alloc((ROWS - BEGIN) * HEADS * DIM, sizeof *q);
    const struct wn_past past = {k, v, spans, first_span, keep};
    wn_attention(q, k, v, 1, whole, HEADS, 1, DIM, rule, NULL, all);
    wn_attention(q + BEGIN * HEADS * DIM, k + BEGIN * DIM, v + BEGIN * DIM, 1, rest, HEADS, 1, DIM, rule, &past, part);
    CHECK(same_bits(part, all + BEGIN * HEADS * DIM, (ROWS - BEGIN) * HEADS * DIM));
    wn_free(q);
    wn_free(k);
    wn_free(v);
    wn_free(all);
    wn_free(part);
}

/* The first token sees itself only; a NaN is seen by its own and later tokens, never by earlier ones. */
static void check_causality(void)
{
    const int64_t offset[] = {0, 200};
    float *q = random_floats(200 * 8, 9, 1), *k = random_floats(200 * 8, 10, 1), *v = random_floats(200 * 8, 11, 1);
    float *out = wn_alloc(200 * 8, sizeof *out);
    const struct wn_attention_rule rule = {.scale = 0.3f};
    k[150 * 8] = NAN;
    wn_attention(q, k, v, 1, offset, 1, 1, 8, &rule, NULL, out);
    CHECK_NEAR(worst_difference(out, v, 8), 0, 1e-6);
    CHECK(wn_all_finite(out, 150 * 8));
    for (int t = 150; t < 200; t++)
        CHECK(isnan(out[t * 8]));
    wn_free(q);
    wn_free(k);
    wn_free(v);
    wn_free(out);
}

/* A tree of segments in slots, every segment with its chain of spans: against the plain loop, and against whole
 * sequences without a past. */
static void check_past(int64_t heads, int64_t kv_heads, int64_t dim, const struct wn_attention_rule *rule)
{
    /* Whole sequences and how they are cut: 300 + 40 + 1 (a unit of one row), 300 + 40 + 7, 300 + 200, 1 + 1. Segment 0
     * has no past; the others continue segments of the same call. */
    enum { SEGMENTS = 6, SLOTS = 700, ROWS = 300 + 40 + 1 + 7 + 200 + 1 };
    const int64_t offset[SEGMENTS + 1] = {0, 300, 340, 341, 348, 548, ROWS};
    const int64_t keep[SEGMENTS] = {10, 310, -1, -1, -1, -1}, first_span[SEGMENTS + 1] = {0, 0, 1, 3, 5, 6, 7};
    const struct wn_span spans[] = {{10, 300}, {10, 300}, {310, 40}, {10, 300}, {310, 40}, {10, 300}, {10, 1}};
    int64_t q_width = heads * dim, width = kv_heads * dim, size = ROWS * q_width;
    float *q = random_floats(size, 21, 1), *k = random_floats(ROWS * width, 22, 1),
          *v = random_floats(ROWS * width, 23, 1);
    float *keys = wn_alloc_zero(SLOTS * width, sizeof *keys), *values = wn_alloc_zero(SLOTS * width, sizeof *values);
    float *expected = wn_alloc(size, sizeof *q), *first = wn_alloc(size, sizeof *q), *again = wn_alloc(size, sizeof *q);
    const struct wn_past past = {keys, values, spans, first_span, keep};
    keys[0] = keys[(10 + 340) * width] = values[0] = NAN; /* slots around those of spans are not read */
    wn_past_keep(&past, k, v, SEGMENTS, offset, kv_heads, dim);
    CHECK(isnan(keys[0]) && same_bits(keys + 10 * width, k, 340 * width) &&
          same_bits(values + 10 * width, v, 340 * width));
    wn_attention_ref(q, k, v, SEGMENTS, offset, heads, kv_heads, dim, rule, &past, expected);
    omp_set_num_threads(1);
    wn_attention(q, k, v, SEGMENTS, offset, heads, kv_heads, dim, rule, &past, first);
    /* Slopes of positions, not of distances: scores are large numbers. */
    CHECK_NEAR(worst_difference(first, expected, size), 0, rule->rounded_slopes ? 1e-5 : 1e-6);
    for (int threads = 2; threads <= 4; threads++) {
        test_set_threads(threads);
        memset(again, 0, (size_t)size * sizeof *again);
        wn_attention(q, k, v, SEGMENTS, offset, heads, kv_heads, dim, rule, &past, again);
        CHECK(same_bits(again, first, size));
    }
    for (int64_t s = 1; s < SEGMENTS; s++) { /* each with its ancestors as one sequence */
        int64_t before = 0, whole[2] = {0}, own = offset[s + 1] - offset[s];
        float *all = wn_alloc(ROWS * q_width, sizeof *all), *all_k = wn_alloc(ROWS * width, sizeof *all_k);
        float *all_v = wn_alloc(ROWS * width, sizeof *all_v), *out = wn_alloc(ROWS * q_width, sizeof *out);
        for (int64_t i = first_span[s]; i <= first_span[s + 1]; i++) {
            int64_t row = i < first_span[s + 1] ? spans[i].first - 10 : offset[s];
            int64_t count = i < first_span[s + 1] ? spans[i].count : own;
            memcpy(all + before * q_width, q + row * q_width, (size_t)(count * q_width) * sizeof *q);
            memcpy(all_k + before * width, k + row * width, (size_t)(count * width) * sizeof *q);
            memcpy(all_v + before * width, v + row * width, (size_t)(count * width) * sizeof *q);
            before += count;
        }
        whole[1] = before;
        wn_attention(all, all_k, all_v, 1, whole, heads, kv_heads, dim, rule, NULL, out);
        CHECK_NEAR(worst_difference(first + offset[s] * q_width, out + (before - own) * q_width, own * q_width), 0,
                   1e-6);
        wn_free(all);
        wn_free(all_k);
        wn_free(all_v);
        wn_free(out);
    }
    wn_free(q);
    wn_free(k);
    wn_free(v);
    wn_free(keys);
    wn_free(values);
    wn_free(expected);
    wn_free(first);
    wn_free(again);
}

/* A rule says something: each member changes the numbers, and a window as long as the text does not. */
static void check_rules_bite(void)
{
    enum { ROWS = 300, DIM = 16, SIZE = ROWS * 2 * DIM };
    const int64_t offset[] = {0, ROWS};
    float *q = random_floats(SIZE, 41, 1), *k = random_floats(SIZE, 42, 1), *v = random_floats(SIZE, 43, 1);
    float *plain = wn_alloc(SIZE, sizeof *q), *out = wn_alloc(SIZE, sizeof *q);
    struct wn_attention_rule rule = {.scale = 0.3f};
    wn_attention(q, k, v, 1, offset, 2, 2, DIM, &rule, NULL, plain);
    rule.window = ROWS;
    wn_attention(q, k, v, 1, offset, 2, 2, DIM, &rule, NULL, out);
    CHECK(same_bits(out, plain, SIZE));
    rule.window = ROWS - 1; /* only the last row has lost a key */
    wn_attention(q, k, v, 1, offset, 2, 2, DIM, &rule, NULL, out);
    CHECK(same_bits(out, plain, SIZE - 2 * DIM) && !same_bits(out, plain, SIZE));
    for (int i = 1; i < N_RULES; i++) {
        rule = rules[i];
        rule.scale = 0.3f;
        wn_attention(q, k, v, 1, offset, 2, 2, DIM, &rule, NULL, out);
        CHECK(worst_difference(out, plain, SIZE) > 1e-3);
    }
    wn_free(q);
    wn_free(k);
    wn_free(v);
    wn_free(plain);
    wn_free(out);
}

/* Keys that have left the window of a whole tile of queries are not read, in a past or in the sequence itself. */
static void check_window_skips(void)
{
    enum { ROWS = 400, DIM = 8, WINDOW = 30, GONE = 200, SIZE = ROWS * DIM };
    const int64_t whole[] = {0, ROWS}, one[] = {0, 1}, first_span[] = {0, 2}, keep[] = {-1};
    const struct wn_span spans[] = {{0, 150}, {150, ROWS - 150}};
    const struct wn_attention_rule rule = {.scale = 0.3f, .window = WINDOW};
    float *q = random_floats(SIZE, 44, 1), *k = random_floats(SIZE, 45, 1), *v = random_floats(SIZE, 46, 1);
    float *out = wn_alloc(SIZE, sizeof *q), row[DIM];
    const struct wn_past past = {k, v, spans, first_span, keep};
    for (int i = 0; i < GONE * DIM; i++)
        k[i] = v[i] = NAN;
    wn_attention(q, k, v, 1, whole, 1, 1, DIM, &rule, NULL, out);
    CHECK(isnan(out[(GONE + WINDOW - 2) * DIM]));
    CHECK(wn_all_finite(out + (GONE + WINDOW + 50) * DIM, (ROWS - GONE - WINDOW - 50) * DIM));
    wn_attention(q, k + GONE * DIM, v + GONE * DIM, 1, one, 1, 1, DIM, &rule, &past, row);
    CHECK(wn_all_finite(row, DIM));
    wn_free(q);
    wn_free(k);
    wn_free(v);
    wn_free(out);
}

/* The numbers of transformers' build_alibi_tensor for 4 and 6 heads. */
static void check_slopes(void)
{
    const float four[] = {0.25f, 0.0625f, 0.015625f, 0.00390625f};
    const float six[] = {0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f};
    float found[6];
    wn_alibi_slopes(4, found);
    CHECK(same_bits(found, four, 4));
    wn_alibi_slopes(6, found);
    CHECK(same_bits(found, six, 6));
}

int main(void)
{
    const int64_t tile = WN_ATTENTION_KEYS;
    const int64_t one[] = {0, 1}, few[] = {0, 3, 3, 20, 37}, tiles[] = {0, tile, 3 * tile + 5, 3 * tile + 6};
    CHECK_OK(wn_linalg_start());
    wn_alibi_slopes(MOST_HEADS, slopes);
    for (int i = 0; i < N_RULES; i++) {
        check_attention(1, one, 2, 1, 8, 1, &rules[i]);
        check_attention(4, few, 4, 2, 6, 2, &rules[i]);
        check_attention(3, tiles, 6, 2, 16, 2, &rules[i]);
        check_attention(3, tiles, 5, 1, 12, 2, &rules[i]);
        check_past(4, 2, 16, &rules[i]);
        check_past(6, 2, 12, &rules[i]);
        check_past(2, 2, 64, &rules[i]);
        check_company(&rules[i]);
    }
    check_attention(3, tiles, 2, 2, 12, 8, &rules[0]);
    check_attention(1, tiles, 1, 1, 1000, 1, &rules[0]); /* one unit of many numbers */
    check_rules_bite();
    check_window_skips();
    check_causality();
    check_slopes();
    return test_finish();
}
