/* SPDX-License-Identifier: Apache-2.0 */
/* Selection in linear time against sorting: shapes, ties, extremes, and masks made from a cut. */
#include "recipes.h"

#include "../../src/method/select.h"

static bool same_cut(struct wn_cut a, struct wn_cut b, const wn_key *keys, int64_t count)
{
    bool same = true;

    for (int64_t i = 0; i < count; i++) {
        int32_t key = keys[i] & WN_KEY_MAGNITUDE;
        bool in_a = key < a.threshold || (key == a.threshold && i < a.tie_end);
        bool in_b = key < b.threshold || (key == b.threshold && i < b.tie_end);
        same &= in_a == in_b;
    }
    return same;
}

static void check_all_ranks(const float *w, int64_t count, int64_t step)
{
    /* None, the least, about 1e-5, 1, infinite, no number. */
    static const int32_t hints[] = {0, 1, 0x37000000, 0x3f800000, 0x7f800000, WN_KEY_MAGNITUDE};
    const wn_key *keys = (const wn_key *)w;
    wn_key *scratch = wn_alloc(count, sizeof *scratch);

    for (int64_t chosen = 0; chosen <= count; chosen += step) {
        struct wn_cut plain = wn_cut_ref(keys, count, chosen);
        for (size_t n = 0; n < sizeof hints / sizeof *hints; n++)
            CHECK(same_cut(wn_cut_row(keys, count, chosen, hints[n], scratch), plain, keys, count));
        CHECK(same_cut(wn_cut_row(keys, count, chosen, plain.threshold, scratch), plain, keys, count));
        CHECK(same_cut(wn_cut_matrix(keys, count, chosen), plain, keys, count));
    }
    wn_free(scratch);
}

static void check_shapes(void)
{
    static const int64_t counts[] = {1, 2, 3, 7, 64, 129, 1000};
    static const double decimals[] = {0, 100, 4, 1};

    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t d = 0; d < sizeof decimals / sizeof *decimals; d++) {
            struct problem problem;
            problem_init(&problem, 1, counts[c], 10 * c + d, decimals[d]);
            check_all_ranks(problem.weight, counts[c], counts[c] > 200 ? 37 : 1);
            problem_release(&problem);
        }
}

static void check_extremes(void)
{
    float constant[50], wide[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 1e-38f, 3e38f, -3e38f, 1.0f, -1.0f, 0.0f};

    for (int i = 0; i < 50; i++)
        constant[i] = i % 2 ? -0.25f : 0.25f;
    check_all_ranks(constant, 50, 1);
    check_all_ranks(wide, sizeof wide / sizeof *wide, 1);
}

/* Larger than a block of the parallel version, with ties across blocks. */
static void check_large(void)
{
    const int64_t count = 70000;
    float *w = wn_alloc(count, sizeof *w);

    for (int64_t i = 0; i < count; i++)
        w[i] = (float)(int)(8 * wn_random_uniform(5, 0, (uint64_t)i));
    for (int64_t chosen = 1; chosen < count; chosen += 6999) {
        struct wn_cut cut = wn_cut_matrix((const wn_key *)w, count, chosen);
        uint8_t *keep = wn_alloc(count, 1);
        float *result = wn_alloc(count, sizeof *result), largest_dropped = 0, smallest_kept = 8;
        wn_cut_apply(&cut, 0, (const wn_key *)w, count, w, keep, result);
        CHECK(count_dropped(keep, count) == chosen);
        for (int64_t i = 0; i < count; i++)
            if (keep[i])
                smallest_kept = fminf(smallest_kept, w[i]);
            else
                largest_dropped = fmaxf(largest_dropped, w[i]);
        CHECK(largest_dropped <= smallest_kept);
        bool kept_tie = false;
        for (int64_t i = 0; i < count; i++) {
            kept_tie |= keep[i] && w[i] == largest_dropped;
            CHECK(!(kept_tie && !keep[i] && w[i] == largest_dropped));
        }
        wn_free(result);
        wn_free(keep);
    }
    wn_free(w);
}

/* One array in pieces, some of them empty, is the array: also where ties go on from piece to piece. */
static void check_arrays(void)
{
    const int64_t count = 70000, ends[] = {0, 3, 3, 30000, 69999, 70000};
    float *w = wn_alloc(count, sizeof *w);
    struct wn_keys arrays[5];

    for (int64_t i = 0; i < count; i++)
        w[i] = (float)(int)(9 * wn_random_uniform(6, 0, (uint64_t)i)) - 4;
    for (int a = 0; a < 5; a++)
        arrays[a] = (struct wn_keys){(const wn_key *)w + ends[a], ends[a + 1] - ends[a]};
    for (int64_t chosen = 0; chosen <= count; chosen += 5000) {
        struct wn_cut whole = wn_cut_matrix((const wn_key *)w, count, chosen), cut = wn_cut_arrays(arrays, 5, chosen);
        int64_t sum = 0;
        CHECK(same_cut(whole, cut, (const wn_key *)w, count));
        for (int a = 0; a < 5; a++)
            sum += wn_cut_count(&cut, ends[a], arrays[a].keys, arrays[a].count);
        CHECK(sum == chosen);
    }
    wn_free(w);
}

/* Runs against the cut of each run alone, for every n of several m, with ties. */
static void check_runs_against_cut(void)
{
    static const int lengths[] = {2, 3, 4, 5, 8, 16, 64};

    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        const int m = lengths[l];
        struct problem problem;
        problem_init(&problem, 1, m * 71, 100 + l, 5);
        const wn_key *keys = (const wn_key *)problem.weight;
        for (int n = 1; n < m; n++) {
            wn_runs_apply(keys, problem.columns, n, m, problem.weight, problem.keep, problem.result);
            for (int64_t at = 0; at < problem.columns; at += m) {
                struct wn_cut cut = wn_cut_ref(keys + at, m, n);
                uint8_t keep[64];
                float result[64];
                wn_cut_apply(&cut, 0, keys + at, m, problem.weight + at, keep, result);
                CHECK(!memcmp(keep, problem.keep + at, (size_t)m));
                CHECK(!memcmp(result, problem.result + at, (size_t)m * sizeof *result));
            }
        }
        problem_release(&problem);
    }
}

int main(void)
{
    check_shapes();
    check_extremes();
    check_large();
    check_arrays();
    check_runs_against_cut();
    return test_finish();
}
