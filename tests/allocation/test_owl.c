/* SPDX-License-Identifier: Apache-2.0 */
/* Sparsity per block from outliers: shares counted by hand, their invariance, means, spreads, limits, mistakes. */
#include <winnow/allocation.h>

#include "../method/recipes.h"

#include <omp.h>

static void check_share(void)
{
    /* Scores 2 2 2 2, then 4 4 4 24: mean 5.5. */
    const float first[] = {1, -1, 1, 1}, second[] = {-1, 1, 1, 6};
    const double squares_first[] = {4, 4}, squares_second[] = {16, 16, 16, 16};
    const struct wn_scored_linear linears[] = {{2, 2, first, squares_first}, {1, 4, second, squares_second}};

    CHECK(wn_outlier_share(linears, 2, 5) == 0);
    CHECK(wn_outlier_share(linears, 2, 4) == 1.0 / 8);
    CHECK(wn_outlier_share(linears, 2, 4.0 / 5.5) == 1.0 / 8); /* above, not at the threshold */
    CHECK(wn_outlier_share(linears, 2, 0.7) == 4.0 / 8);
    CHECK(wn_outlier_share(linears, 1, 0.5) == 1);
    CHECK(wn_outlier_share(&linears[1], 1, 2) == 1.0 / 4); /* mean 9 */
}

/* Two neighbours among the numbers between which a weight stops being an outlier: the last bit of the mean moves it. */
static void find_edge(const struct wn_scored_linear *linear, double edge[2])
{
    edge[0] = 3;
    edge[1] = 4;
    const double share = wn_outlier_share(linear, 1, edge[0]);
    for (double middle; (middle = (edge[0] + edge[1]) / 2) > edge[0] && middle < edge[1];)
        edge[wn_outlier_share(linear, 1, middle) != share] = middle;
    CHECK(wn_outlier_share(linear, 1, edge[1]) < wn_outlier_share(linear, 1, edge[0]));
}

/* One constant on all inputs, and threads, change nothing. */
static void check_invariance(void)
{
    struct problem problem;
    double shares[4], edge[2];

    problem_init(&problem, 37, 136, 5, 0);
    struct wn_scored_linear linear = {problem.rows, problem.columns, problem.weight, problem.squares};
    omp_set_num_threads(1);
    find_edge(&linear, edge);
    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        shares[threads - 1] = wn_outlier_share(&linear, 1, 3);
        CHECK(shares[threads - 1] == shares[0]);
        CHECK(wn_outlier_share(&linear, 1, edge[0]) == shares[0] && wn_outlier_share(&linear, 1, edge[1]) < shares[0]);
    }
    CHECK(shares[0] > 0.01 && shares[0] < 0.3);
    for (int64_t j = 0; j < problem.columns; j++)
        problem.squares[j] *= 7.3;
    CHECK(wn_outlier_share(&linear, 1, 3) == shares[0]);
    problem.squares[3] = INFINITY;
    CHECK(isnan(wn_outlier_share(&linear, 1, 3)));
    problem_release(&problem);
}

static void allocate(const char *settings, const double *shares, int64_t count, double *sparsity)
{
    struct wn_recipe recipe = {0};

    CHECK_OK(add_stage(&recipe, "wanda", settings));
    CHECK_OK(wn_owl_sparsity(&recipe, shares, count, sparsity));
}

static void check_allocation(void)
{
    const double shares[] = {0.01, 0.05, 0.03, 0.02}, equal[] = {0.02, 0.02, 0.02}, scaled[] = {1, 5, 3, 2};
    double sparsity[4], other[4], mean = 0;

    allocate("{\"sparsity\": 0.7, \"allocation\": \"owl\"}", shares, 4, sparsity);
    for (int i = 0; i < 4; i++)
        mean += sparsity[i] / 4;
    CHECK_NEAR(mean, 0.7, 1e-12);
    CHECK_NEAR(sparsity[0] - sparsity[1], 2 * 0.08, 1e-12); /* fewest and most outliers */
    CHECK_NEAR(sparsity[0] - sparsity[2], 0.08, 1e-12);
    CHECK_NEAR(sparsity[0], 0.77, 1e-12); /* d: 0, 0.16, 0.08, 0.04 */
    allocate("{\"sparsity\": 0.7, \"allocation\": \"owl\"}", scaled, 4, other);
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(other[i], sparsity[i], 1e-12);
    allocate("{\"sparsity\": 0.7, \"allocation\": \"owl\", \"owl_lambda\": 0}", shares, 4, sparsity);
    for (int i = 0; i < 4; i++)
        CHECK(sparsity[i] == 0.7);
    allocate("{\"sparsity\": 0.7, \"allocation\": \"owl\"}", equal, 3, sparsity);
    for (int i = 0; i < 3; i++)
        CHECK(sparsity[i] == 0.7);
    allocate("{\"sparsity\": 0.1, \"allocation\": \"owl\", \"owl_lambda\": 0.2}", shares, 4, sparsity);
    CHECK(sparsity[1] == 0.01 && sparsity[0] > 0.1); /* 0.275 and -0.125 */
    allocate("{\"sparsity\": 0.95, \"allocation\": \"owl\", \"owl_lambda\": 0.2}", shares, 4, sparsity);
    CHECK(sparsity[0] == 0.99);
}

/* Whole zeros of a run: N - round(lambda' (share of the range - mean)), lambda' = 2 M lambda zeros, as published. */
static void check_patterns(void)
{
    const double shares[] = {1, 5, 3, 2}, equal[] = {0.02, 0.02, 0.02}, wide[] = {0, 1, 1, 1, 1};
    struct wn_recipe recipe = {0};
    double sparsity[5];
    int64_t n, m;

    /* shares of the range 0, 1, 0.5, 0.25; times 2 zeros, less their mean: -0.875, 1.125, 0.125, -0.375 */
    allocate("{\"pattern\": \"5:8\", \"allocation\": \"owl\"}", shares, 4, sparsity);
    CHECK(sparsity[0] == 6.0 / 8 && sparsity[1] == 4.0 / 8 && sparsity[2] == 5.0 / 8 && sparsity[3] == 5.0 / 8);
    /* 8 zeros: -3.5 and 0.5 are even after rounding */
    allocate("{\"pattern\": \"5:8\", \"allocation\": \"owl\", \"owl_lambda\": 0.5}", shares, 4, sparsity);
    CHECK(sparsity[0] == 7.0 / 8 && sparsity[1] == 1.0 / 8 && sparsity[2] == 5.0 / 8 && sparsity[3] == 7.0 / 8);
    allocate("{\"pattern\": \"2:4\", \"allocation\": \"owl\", \"owl_lambda\": 0.5}", wide, 5, sparsity);
    CHECK(sparsity[0] == 3.0 / 4 && sparsity[1] == 1.0 / 4); /* no run loses all: 3.2 more; 0.8 less */
    allocate("{\"pattern\": \"2:4\", \"allocation\": \"owl\"}", equal, 3, sparsity);
    CHECK(sparsity[0] == 0.5 && sparsity[2] == 0.5);
    CHECK_OK(add_stage(&recipe, "wanda", "{\"pattern\": \"4:8\", \"allocation\": \"owl\"}"));
    CHECK(wn_recipe_outlier_multiple(&recipe) == 6);
    CHECK(wn_params_number(&recipe.stages[0].params, "owl_lambda") == 0.125);
    wn_level_apply(&(struct wn_level){.sparsity = 3.0 / 8, .bits = NAN}, &recipe);
    wn_recipe_pattern(&recipe, &n, &m);
    CHECK(n == 3 && m == 8 && wn_params_number(&recipe.stages[0].params, "sparsity") == 3.0 / 8);
}

static void check_recipe(void)
{
    struct wn_recipe recipe = {0}, uniform = {0}, nothing = {0};
    const double shares[] = {0.01, NAN};
    double sparsity[2];

    CHECK_OK(add_stage(&uniform, "magnitude", "{\"sparsity\": 0.5, \"allocation\": \"uniform\"}"));
    CHECK_OK(add_stage(&nothing, "magnitude", "{\"sparsity\": 0, \"allocation\": \"owl\"}"));
    CHECK_OK(add_stage(&recipe, "magnitude", "{\"sparsity\": 0.5, \"allocation\": \"owl\", \"owl_m\": 3}"));
    CHECK_OK(add_stage(&recipe, "rtn", "{\"bits\": 4}"));
    CHECK(wn_recipe_outlier_multiple(&uniform) == 0 && wn_recipe_outlier_multiple(&nothing) == 0);
    CHECK(wn_recipe_outlier_multiple(&recipe) == 3);
    wn_level_apply(&(struct wn_level){.sparsity = 0.25, .bits = NAN}, &recipe);
    CHECK(wn_params_number(&recipe.stages[0].params, "sparsity") == 0.25);
    CHECK(wn_owl_sparsity(&recipe, shares, 2, sparsity) == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block 1");
}

static void check_mistake(const char *method, const char *settings, const char *part)
{
    struct wn_recipe recipe = {0};

    CHECK(add_stage(&recipe, method, settings) == WN_ERR_INPUT);
    CHECK_MESSAGE(part);
}

static void check_mistakes(void)
{
    check_mistake("wanda", "{\"sparsity\": 0.5, \"allocation\": \"OWL\"}", "key \"allocation\"");
    check_mistake("magnitude", "{\"sparsity\": 0.5, \"owl_m\": 5}", "key \"owl_m\" has no meaning without");
    check_mistake("sparsegpt", "{\"sparsity\": 0.5, \"owl_lambda\": 0.1}", "key \"owl_lambda\" has no meaning without");
    check_mistake("sparsegpt", "{\"sparsity\": 0.5, \"allocation\": \"owl\", \"owl_m\": 0.5}", "key \"owl_m\"");
}

int main(void)
{
    check_share();
    check_invariance();
    check_allocation();
    check_patterns();
    check_recipe();
    check_mistakes();
    return test_finish();
}
