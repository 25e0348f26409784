/* SPDX-License-Identifier: Apache-2.0 */
/* Depth pruning: the scores of hidden states against their definitions, and which units are chosen by them. */
#include <winnow/allocation.h>

#include "../method/recipes.h"

#include <omp.h>

enum { ROWS = 37, WIDTH = 24 };

static float before[ROWS * WIDTH], hidden[ROWS * WIDTH], added[ROWS * WIDTH];

/* The definitions, with norms and square roots of their own. */
static void plain_scores(double *sums)
{
    for (int64_t r = 0; r < ROWS; r++) {
        double dot = 0, left = 0, right = 0, moved = 0;
        for (int64_t i = r * WIDTH; i < (r + 1) * WIDTH; i++) {
            double x = before[i], y = (double)(hidden[i] + added[i]);
            dot += x * y;
            left += x * x;
            right += y * y;
            moved += (x - y) * (x - y);
        }
        double cosine = dot / (sqrt(left) * sqrt(right));
        sums[WN_SCORE_BLOCK_INFLUENCE] += 1 - cosine;
        sums[WN_SCORE_ANGULAR] += acos(cosine) / acos(-1);
        sums[WN_SCORE_SUBCLONING] += sqrt(moved) / sqrt(right);
    }
}

static void fill(void)
{
    for (int64_t i = 0; i < ROWS * WIDTH; i++) {
        before[i] = (float)wn_random_uniform(1, 0, (uint64_t)i) - 0.5f;
        hidden[i] = (float)wn_random_uniform(1, 1, (uint64_t)i) - 0.5f;
        added[i] = (float)wn_random_uniform(1, 2, (uint64_t)i) - 0.5f;
    }
}

static void check_definitions(void)
{
    double sums[WN_DROP_SCORES] = {0}, plain[WN_DROP_SCORES] = {0};

    wn_drop_scores_add(before, hidden, added, ROWS, WIDTH, sums);
    plain_scores(plain);
    for (int s = 0; s < WN_DROP_SCORES; s++) {
        CHECK_NEAR(sums[s], plain[s], 1e-10 * plain[s]);
        CHECK(sums[s] > 1);
    }
}

/* One state for all tokens of a batch, or one by one; on any threads. */
static void check_split(void)
{
    double whole[WN_DROP_SCORES] = {0}, parts[WN_DROP_SCORES] = {0};

    omp_set_num_threads(1);
    wn_drop_scores_add(before, hidden, added, ROWS, WIDTH, whole);
    omp_set_num_threads(3);
    for (int64_t r = 0; r < ROWS; r++)
        wn_drop_scores_add(before + r * WIDTH, hidden + r * WIDTH, added + r * WIDTH, 1, WIDTH, parts);
    CHECK(!memcmp(whole, parts, sizeof whole));
    memset(parts, 0, sizeof parts);
    wn_drop_scores_add(before, hidden, added, ROWS, WIDTH, parts);
    CHECK(!memcmp(whole, parts, sizeof whole));
}

/* A branch of zeros scores exactly 0, and scores do not change with the length of the states. */
static void check_scale(void)
{
    static const float zeros[ROWS * WIDTH];
    double nothing[WN_DROP_SCORES] = {0}, sums[WN_DROP_SCORES] = {0}, scaled[WN_DROP_SCORES] = {0};

    wn_drop_scores_add(before, before, zeros, ROWS, WIDTH, nothing);
    for (int s = 0; s < WN_DROP_SCORES; s++)
        CHECK(nothing[s] == 0);
    wn_drop_scores_add(before, before, NULL, ROWS, WIDTH, nothing);
    for (int s = 0; s < WN_DROP_SCORES; s++)
        CHECK(nothing[s] == 0);
    wn_drop_scores_add(before, hidden, added, ROWS, WIDTH, sums);
    for (int64_t i = 0; i < ROWS * WIDTH; i++)
        before[i] *= 3;
    wn_drop_scores_add(before, hidden, added, ROWS, WIDTH, scaled);
    CHECK_NEAR(scaled[WN_SCORE_BLOCK_INFLUENCE], sums[WN_SCORE_BLOCK_INFLUENCE], 1e-5);
    CHECK_NEAR(scaled[WN_SCORE_ANGULAR], sums[WN_SCORE_ANGULAR], 1e-5);
    CHECK(fabs(scaled[WN_SCORE_SUBCLONING] - sums[WN_SCORE_SUBCLONING]) > 1);
    for (int64_t i = 0; i < ROWS * WIDTH; i++) {
        hidden[i] *= 3;
        added[i] *= 3;
    }
    wn_drop_scores_add(before, hidden, added, ROWS, WIDTH, memset(scaled, 0, sizeof scaled));
    for (int s = 0; s < WN_DROP_SCORES; s++)
        CHECK_NEAR(scaled[s], sums[s], 1e-5);
}

/* States of zeros have no direction. */
static void check_zero_states(void)
{
    static const float zeros[WIDTH];
    double sums[WN_DROP_SCORES] = {0};

    wn_drop_scores_add(zeros, zeros, zeros, 1, WIDTH, sums);
    CHECK(sums[WN_SCORE_BLOCK_INFLUENCE] == 0.5);
    CHECK_NEAR(sums[WN_SCORE_ANGULAR], 1.0 / 3, 1e-12);
    CHECK(sums[WN_SCORE_SUBCLONING] == 0);
}

/* Of six blocks, or with units branch of three. */
static void check_choice(const char *settings, const double *scores, const bool *expected)
{
    struct wn_recipe recipe = {0};
    bool dropped[6];

    CHECK_OK(add_stage(&recipe, "drop", settings));
    const struct wn_params *params = wn_recipe_drop(&recipe);
    int64_t n_blocks = wn_drop_unit_of(params) == WN_UNIT_BRANCH ? 3 : 6, count = 0;
    CHECK(params == &recipe.stages[0].params);
    wn_drop_choose(params, scores, n_blocks, dropped);
    CHECK(!memcmp(dropped, expected, sizeof dropped));
    for (int i = 0; i < 6; i++)
        count += dropped[i];
    CHECK(count == wn_drop_count(params, n_blocks));
    CHECK(recipe.stages[0].method->is_identity(params) == (wn_params_number(params, "sparsity") == 0));
}

static void check_choices(void)
{
    static const double scores[6] = {0.4, 0.1, 0.3, 0.1, 0.3, 0.3}, numbers[6] = {NAN, 2, INFINITY, 3, NAN, 1};
    /* With windows of two the first place is not the lowest alone, and the last has no window. */
    static const double windows[6] = {0.4, 0.3, 0.2, 0.2, 0.5, 0};

    check_choice("{\"sparsity\": 0}", scores, (const bool[6]){0});
    check_choice("{\"sparsity\": 0.16}", scores, (const bool[6]){0});
    check_choice("{\"sparsity\": 0.17}", scores, (const bool[6]){0, 1});
    check_choice("{\"sparsity\": 0.4}", scores, (const bool[6]){0, 1, 0, 1});
    check_choice("{\"sparsity\": 0.5, \"units\": \"mlp\"}", scores, (const bool[6]){0, 1, 1, 1});
    check_choice("{\"sparsity\": 0.5, \"units\": \"branch\"}", scores, (const bool[6]){0, 1, 1, 1});
    check_choice("{\"sparsity\": 0.99}", scores, (const bool[6]){0, 1, 1, 1, 1, 1});
    check_choice("{\"sparsity\": 0.67, \"score\": \"kl\"}", numbers, (const bool[6]){0, 1, 1, 1, 0, 1});
    check_choice("{\"sparsity\": 0.9, \"score\": \"perplexity\"}", numbers, (const bool[6]){1, 1, 1, 1, 0, 1});
    check_choice("{\"sparsity\": 0.34, \"score\": \"window\"}", windows, (const bool[6]){0, 0, 1, 1});
    check_choice("{\"sparsity\": 0.1, \"score\": \"window\"}", windows, (const bool[6]){0});
}

int main(void)
{
    struct wn_recipe recipe = {0};

    fill();
    check_definitions();
    check_split();
    check_scale();
    check_zero_states();
    check_choices();
    CHECK_OK(add_stage(&recipe, "drop", "{\"sparsity\": 0.5, \"units\": \"mlp\", \"score\": \"angular\"}"));
    CHECK(wn_drop_unit_of(wn_recipe_drop(&recipe)) == WN_UNIT_MLP);
    CHECK(wn_drop_score_of(wn_recipe_drop(&recipe)) == WN_SCORE_ANGULAR);
    recipe = (struct wn_recipe){0};
    CHECK(add_stage(&recipe, "drop", "{\"sparsity\": 0.5, \"units\": \"mlp\", \"score\": \"window\"}") == WN_ERR_INPUT);
    CHECK(strstr(wn_error_message(), "score: \"window\""));
    return test_finish();
}
