/* SPDX-License-Identifier: Apache-2.0 */
/* Magnitude pruning: exact counts, order, ties, nesting, N:M, the published rule, and what the parameters refuse. */
#include "recipes.h"

static void check_counts(int64_t rows, int64_t columns, double decimals)
{
    static const double sparsities[] = {0.01, 0.1, 0.29, 0.5, 0.7, 0.999};
    const int64_t count = rows * columns;
    struct problem problem;
    uint8_t *before = wn_alloc(count, 1);

    problem_init(&problem, rows, columns, (uint64_t)count, decimals);
    memset(before, 1, (size_t)count);
    for (size_t s = 0; s < sizeof sparsities / sizeof *sparsities; s++) {
        char *settings = wn_format("{\"sparsity\": %.15g}", sparsities[s]);
        CHECK_OK(problem_run_one(&problem, "magnitude", settings));
        wn_free(settings);
        check_mask(&problem);
        CHECK(count_dropped(problem.keep, count) == (int64_t)((double)count * sparsities[s]));
        float largest_dropped = 0, smallest_kept = INFINITY;
        for (int64_t i = 0; i < count; i++) {
            CHECK(problem.keep[i] <= before[i]); /* nested in the sparsity */
            if (problem.keep[i])
                smallest_kept = fminf(smallest_kept, fabsf(problem.weight[i]));
            else
                largest_dropped = fmaxf(largest_dropped, fabsf(problem.weight[i]));
        }
        CHECK(largest_dropped <= smallest_kept);
        memcpy(before, problem.keep, (size_t)count);
    }
    problem_release(&problem);
    wn_free(before);
}

static void check_ties(void)
{
    struct problem problem;

    problem_init(&problem, 4, 5, 1, 0);
    for (int64_t i = 0; i < 20; i++)
        problem.weight[i] = i % 2 ? 0.5f : -0.5f;
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"sparsity\": 0.35}"));
    for (int64_t i = 0; i < 20; i++)
        CHECK(problem.keep[i] == (i >= 7)); /* lowest flat index first */
    memset(problem.weight, 0, 20 * sizeof(float));
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"sparsity\": 0.35}"));
    CHECK(count_dropped(problem.keep, 20) == 7);
    CHECK(count_zeros(problem.result, 20) == 20);
    problem_release(&problem);
}

static void check_patterns(double decimals)
{
    static const int patterns[][2] = {{1, 2}, {2, 4}, {4, 8}, {1, 4}, {5, 8}, {3, 24}};
    struct problem problem;

    problem_init(&problem, 7, 24 * 13, 3, decimals);
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        const int n = patterns[p][0], m = patterns[p][1];
        char *settings = wn_format("{\"pattern\": \"%d:%d\"}", n, m);
        struct wn_recipe recipe = {0};
        int64_t pattern_n, pattern_m;
        CHECK_OK(add_stage(&recipe, "magnitude", settings));
        CHECK_NEAR(wn_params_number(&recipe.stages[0].params, "sparsity"), (double)n / m, 0);
        wn_recipe_pattern(&recipe, &pattern_n, &pattern_m);
        CHECK(pattern_n == n && pattern_m == m);
        CHECK_OK(problem_run(&problem, &recipe));
        check_mask(&problem);
        check_runs(&problem, n, m);
        wn_free(settings);
    }
    problem_release(&problem);
}

/* One zero more than the exact rule, and every tie of it. */
static void check_reference_rule(void)
{
    struct problem problem;

    problem_init(&problem, 9, 31, 4, 0);
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"sparsity\": 0.2, \"rule\": \"reference\"}"));
    check_mask(&problem);
    CHECK(count_dropped(problem.keep, 9 * 31) == (int64_t)(9 * 31 * 0.2) + 1);
    for (int64_t i = 0; i < 9 * 31; i++)
        problem.weight[i] = i < 100 ? 1.0f : 2.0f;
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"sparsity\": 0.1, \"rule\": \"reference\"}"));
    CHECK(count_dropped(problem.keep, 9 * 31) == 100);
    problem_release(&problem);
}

static void check_refusals(void)
{
    struct wn_recipe recipe = {0};

    CHECK(add_stage(&recipe, "magnitude", "{}") == WN_ERR_INPUT);
    CHECK_MESSAGE("\"sparsity\"");
    static const char *const wrong[][2] = {
        {"{\"sparsity\": 1}", "[0, 1)"},
        {"{\"sparsity\": -0.1}", "[0, 1)"},
        {"{\"sparsity\": \"half\"}", "\"sparsity\""},
        {"{\"sparsity\": 0.6, \"pattern\": \"2:4\"}", "\"sparsity\""},
        {"{\"pattern\": \"4:4\"}", "\"pattern\""},
        {"{\"pattern\": \"0:4\"}", "\"pattern\""},
        {"{\"pattern\": \"2:4 \"}", "\"pattern\""},
        {"{\"pattern\": \"02:4\"}", "\"pattern\""},
        {"{\"pattern\": \"2/4\"}", "\"pattern\""},
        {"{\"pattern\": \"2:99999999999999999999\"}", "\"pattern\""},
        {"{\"sparsity\": 0.5, \"rule\": \"best\"}", "\"exact\", \"reference\""},
        {"{\"pattern\": \"2:4\", \"scope\": \"block\"}", "\"scope\": block needs"},
        {"{\"sparsty\": 0.5}", "did you mean \"sparsity\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        recipe.n_stages = 0;
        CHECK(add_stage(&recipe, "magnitude", wrong[i][0]) == WN_ERR_INPUT);
        CHECK_MESSAGE(wrong[i][1]);
    }
    recipe.n_stages = 0;
    CHECK_OK(add_stage(&recipe, "magnitude", "{\"sparsity\": 0.5, \"pattern\": \"2:4\"}"));
    CHECK_OK(wn_recipe_check_linear(&recipe, "a.b", 3, 8));
    CHECK(wn_recipe_check_linear(&recipe, "a.b", 3, 10) == WN_ERR_INPUT);
    CHECK_MESSAGE("a.b");
}

int main(void)
{
    check_counts(1, 1, 0);
    check_counts(1, 300, 0);
    check_counts(13, 77, 0);
    check_counts(40, 64, 10);
    check_counts(300, 1, 3);
    check_counts(150, 333, 50);
    check_ties();
    check_patterns(0);
    check_patterns(3);
    check_reference_rule();
    check_refusals();
    return test_finish();
}
