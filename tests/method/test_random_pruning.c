/* SPDX-License-Identifier: Apache-2.0 */
/* Random pruning: exact counts, N:M, nesting, evenness, and what the mask depends on: seed, name and place only. */
#include "recipes.h"

#include <omp.h>

static const int64_t ROWS = 60, COLUMNS = 200, COUNT = 60 * 200;

static void check_counts(void)
{
    static const double sparsities[] = {0.001, 0.25, 0.5, 0.75, 0.999};
    struct problem problem;
    uint8_t *before = wn_alloc(COUNT, 1);

    problem_init(&problem, ROWS, COLUMNS, 1, 0);
    memset(before, 1, (size_t)COUNT);
    for (size_t s = 0; s < sizeof sparsities / sizeof *sparsities; s++) {
        char *settings = wn_format("{\"sparsity\": %.15g}", sparsities[s]);
        CHECK_OK(problem_run_one(&problem, "random", settings));
        wn_free(settings);
        check_mask(&problem);
        CHECK(count_dropped(problem.keep, COUNT) == (int64_t)((double)COUNT * sparsities[s]));
        for (int64_t i = 0; i < COUNT; i++)
            CHECK(problem.keep[i] <= before[i]);
        memcpy(before, problem.keep, (size_t)COUNT);
    }
    problem_release(&problem);
    wn_free(before);
}

/* Share of weights whose fates differ; a half of them would by chance. */
static double difference(const uint8_t *a, const uint8_t *b)
{
    int64_t different = 0;

    for (int64_t i = 0; i < COUNT; i++)
        different += a[i] != b[i];
    return (double)different / (double)COUNT;
}

static void check_dependence(void)
{
    struct problem problem;
    struct wn_recipe recipe = {0};
    uint8_t *mask = wn_alloc(COUNT, 1);

    problem_init(&problem, ROWS, COLUMNS, 2, 0);
    CHECK_OK(add_stage(&recipe, "random", "{\"sparsity\": 0.5, \"seed\": 3}"));
    CHECK_OK(problem_run(&problem, &recipe));
    memcpy(mask, problem.keep, (size_t)COUNT);
    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        problem.weight[threads] = 100; /* the mask does not look at weights */
        CHECK_OK(problem_run(&problem, &recipe));
        CHECK(!memcmp(mask, problem.keep, (size_t)COUNT));
    }
    omp_set_num_threads(2);
    CHECK_OK(wn_recipe_compress(&recipe, "block.other", problem.weight, NULL, &problem.out));
    CHECK_NEAR(difference(mask, problem.keep), 0.5, 0.03);
    CHECK_OK(problem_run_one(&problem, "random", "{\"sparsity\": 0.5, \"seed\": 4}"));
    CHECK_NEAR(difference(mask, problem.keep), 0.5, 0.03);
    problem_release(&problem);
    wn_free(mask);
}

/* Every row, every column and every quarter of the weights by size loses its share, up to 5 deviations. */
static void check_evenness(void)
{
    struct problem problem;
    int64_t large = 0, large_dropped = 0;

    problem_init(&problem, ROWS, COLUMNS, 3, 0);
    CHECK_OK(problem_run_one(&problem, "random", "{\"sparsity\": 0.5}"));
    for (int64_t row = 0; row < ROWS; row++)
        CHECK_NEAR((double)count_dropped(problem.keep + row * COLUMNS, COLUMNS), COLUMNS / 2.0,
                   2.5 * sqrt((double)COLUMNS));
    for (int64_t j = 0; j < COLUMNS; j++) {
        int64_t dropped = 0;
        for (int64_t row = 0; row < ROWS; row++)
            dropped += !problem.keep[row * COLUMNS + j];
        CHECK_NEAR((double)dropped, ROWS / 2.0, 2.5 * sqrt((double)ROWS));
    }
    for (int64_t i = 0; i < COUNT; i++) {
        large += fabsf(problem.weight[i]) > 0.5f;
        large_dropped += fabsf(problem.weight[i]) > 0.5f && !problem.keep[i];
    }
    CHECK(large > 1000);
    CHECK_NEAR((double)large_dropped, (double)large / 2, 2.5 * sqrt((double)large));
    problem_release(&problem);
}

static void check_patterns(void)
{
    static const int patterns[][2] = {{1, 2}, {2, 4}, {5, 8}};
    struct problem problem;

    problem_init(&problem, ROWS, COLUMNS, 4, 0);
    for (size_t p = 0; p < 3; p++) {
        int64_t places[8] = {0};
        char *settings = wn_format("{\"pattern\": \"%d:%d\"}", patterns[p][0], patterns[p][1]);
        CHECK_OK(problem_run_one(&problem, "random", settings));
        wn_free(settings);
        check_mask(&problem);
        check_runs(&problem, patterns[p][0], patterns[p][1]);
        for (int64_t i = 0; i < COUNT; i++)
            places[i % patterns[p][1]] += !problem.keep[i];
        const double runs = (double)COUNT / patterns[p][1], share = (double)patterns[p][0] / patterns[p][1];
        for (int i = 0; i < patterns[p][1]; i++)
            CHECK_NEAR((double)places[i], runs * share, 5 * sqrt(runs * share * (1 - share)));
    }
    problem_release(&problem);
}

int main(void)
{
    check_counts();
    check_dependence();
    check_evenness();
    check_patterns();
    return test_finish();
}
