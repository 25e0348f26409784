/* SPDX-License-Identifier: Apache-2.0 */
/* SparseGPT: counts per block, N:M, ties, joint rounding, no compensation without correlation, objective, damping. */
#include "recipes.h"

#include <omp.h>

enum { BLOCK = 128 };

/* Zeros of every block of 128 columns over all rows together. */
static void check_blocks(const struct problem *problem, double sparsity, int64_t more)
{
    for (int64_t first = 0; first < problem->columns; first += BLOCK) {
        const int64_t columns = problem->columns - first < BLOCK ? problem->columns - first : BLOCK;
        int64_t dropped = 0;
        for (int64_t row = 0; row < problem->rows; row++)
            dropped += count_dropped(problem->keep + row * problem->columns + first, columns);
        const int64_t quota = (int64_t)((double)(problem->rows * columns) * sparsity);
        CHECK(more < 0 ? dropped > quota : dropped == quota);
    }
}

static void check_counts(int64_t rows, int64_t columns)
{
    static const double sparsities[] = {0.01, 0.3, 0.5, 0.77, 0.99};
    struct problem problem;

    problem_init(&problem, rows, columns, 3, 0);
    for (size_t s = 0; s < sizeof sparsities / sizeof *sparsities; s++) {
        char *exact = wn_format("{\"sparsity\": %.15g}", sparsities[s]);
        CHECK_OK(problem_run_one(&problem, "sparsegpt", exact));
        check_zeros(&problem);
        check_blocks(&problem, sparsities[s], 0);
        wn_free(exact);
    }
    CHECK_OK(problem_run_one(&problem, "sparsegpt", "{\"sparsity\": 0.5, \"rule\": \"reference\"}"));
    if (rows * columns % 128 == 0)
        check_blocks(&problem, 0.5, -1);
    problem_release(&problem);
}

static void check_patterns(int64_t rows, int64_t columns)
{
    static const int patterns[][2] = {{1, 2}, {2, 4}, {4, 8}, {3, 4}, {1, 3}, {5, 12}, {20, 64}};
    struct problem problem;

    problem_init(&problem, rows, columns, 4, 0);
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        char *settings = wn_format("{\"pattern\": \"%d:%d\"}", patterns[p][0], patterns[p][1]);
        CHECK_OK(problem_run_one(&problem, "sparsegpt", settings));
        check_zeros(&problem);
        check_runs(&problem, patterns[p][0], patterns[p][1]);
        wn_free(settings);
    }
    problem_release(&problem);
}

/* H = c I: nothing is compensated, kept weights have their bits, the mask is that of magnitude per block. */
static void check_uncorrelated(void)
{
    enum { rows = 150, columns = 200 }; /* more than two strips of the solver */
    struct problem problem, block;
    uint8_t mask[rows * columns];

    problem_init(&problem, rows, columns, 5, 50); /* ties */
    problem_init(&block, rows, BLOCK, 5, 50);
    for (int64_t i = 0; i < columns * columns; i++)
        problem.second_moments[i] = i % (columns + 1) == 0 ? 4 : 0;
    CHECK_OK(problem_run_one(&problem, "sparsegpt", "{\"sparsity\": 0.6}"));
    check_mask(&problem);
    for (int64_t row = 0; row < rows; row++)
        memcpy(block.weight + row * BLOCK, problem.weight + row * columns, BLOCK * sizeof(float));
    CHECK_OK(problem_run_one(&block, "magnitude", "{\"sparsity\": 0.6}"));
    for (int64_t row = 0; row < rows; row++)
        CHECK(!memcmp(block.keep + row * BLOCK, problem.keep + row * columns, BLOCK));
    CHECK_NEAR(problem.out.solver.objective, problem.out.solver.objective_uncompensated, 0);
    CHECK_OK(problem_run_one(&problem, "sparsegpt", "{\"pattern\": \"4:8\"}"));
    check_mask(&problem);
    memcpy(mask, problem.keep, sizeof mask);
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"pattern\": \"4:8\"}"));
    CHECK(!memcmp(mask, problem.keep, sizeof mask));
    problem_release(&block);
    problem_release(&problem);
}

/* Joint with sparsity 0 is GPTQ with a grid per row; with a mask, what is kept is on the grid of the dense row. */
static void check_joint(int64_t rows, int64_t columns)
{
    const int64_t count = rows * columns;
    struct problem joint, plain;

    problem_init(&joint, rows, columns, 6, 0);
    problem_init(&plain, rows, columns, 6, 0);
    CHECK_OK(problem_run_one(&joint, "sparsegpt", "{\"sparsity\": 0, \"bits\": 4}"));
    CHECK_OK(problem_run_one(&plain, "gptq", "{\"bits\": 4}"));
    CHECK(!joint.out.has_mask && joint.out.bits == 4);
    CHECK(!memcmp(joint.result, plain.result, (size_t)count * sizeof(float)));
    CHECK(!memcmp(joint.out.codes, plain.out.codes, (size_t)count));
    CHECK_OK(problem_run_one(&joint, "sparsegpt", "{\"pattern\": \"2:4\", \"bits\": 3, \"symmetric\": true}"));
    check_zeros(&joint);
    check_runs(&joint, 2, 4);
    CHECK(joint.out.zero_bits == 0 && joint.out.group == columns && joint.out.n_groups == 1);
    for (int64_t i = 0; i < count; i++) {
        struct wn_grid grid = wn_grid_fit(joint.weight + i / columns * columns, columns, 3, true);
        CHECK(grid.scale == joint.out.scales[i / columns] && grid.zero == joint.out.zeros[i / columns]);
        CHECK(joint.result[i] == wn_grid_value(&grid, joint.out.codes[i]));
    }
    problem_release(&plain);
    problem_release(&joint);
}

static double objective_of(struct problem *problem, const char *method, const char *settings)
{
    CHECK_OK(problem_run_one(problem, method, settings));
    const struct wn_solver_statistics *solver = &problem->out.solver;
    double expected =
        wn_quadratic_form(problem->weight, problem->result, problem->rows, problem->columns, problem->second_moments) /
        (double)problem->stats.tokens;
    CHECK(solver->objective == expected && solver->energy > solver->objective);
    return solver->objective;
}

/* The same mask on the dense weights. */
static void check_uncompensated(const struct problem *problem)
{
    const int64_t count = problem->rows * problem->columns;
    float *masked = wn_alloc(count, sizeof *masked);

    for (int64_t i = 0; i < count; i++)
        masked[i] = problem->keep[i] ? problem->weight[i] : 0;
    CHECK(problem->out.solver.objective_uncompensated ==
          wn_quadratic_form(problem->weight, masked, problem->rows, problem->columns, problem->second_moments) /
              (double)problem->stats.tokens);
    wn_free(masked);
}

/* On layers, with margin: better than the same mask without update, and than magnitude and Wanda. */
static void check_objective(void)
{
    struct problem problem;
    static const char *const settings[] = {"{\"sparsity\": 0.5}", "{\"pattern\": \"2:4\"}", "{\"sparsity\": 0.8}"};

    problem_init(&problem, 60, 256, 7, 0);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        double solved = objective_of(&problem, "sparsegpt", settings[i]);
        check_uncompensated(&problem);
        CHECK(solved < 0.8 * problem.out.solver.objective_uncompensated);
        CHECK(problem.out.solver.damping_steps == 0 && problem.out.solver.percdamp_used == 0.01);
        CHECK(problem.out.solver.few_tokens == 1 && problem.out.solver.dead_columns == 0);
        CHECK(solved < 0.8 * objective_of(&problem, "magnitude", settings[i]));
        CHECK(problem.out.solver.objective == problem.out.solver.objective_uncompensated);
        CHECK(isnan(problem.out.solver.percdamp_used));
        CHECK(solved < 0.8 * objective_of(&problem, "wanda", settings[i]));
    }
    problem_release(&problem);
}

/* Dead columns are zero, and first in the quota; a constant row and a row of zeros are no trouble. */
static void check_edges(void)
{
    const int64_t rows = 6, columns = 140;
    struct problem problem;

    problem_init(&problem, rows, columns, 8, 0);
    problem.stats.tokens = columns;
    for (int64_t j = 10; j < 20; j++)
        for (int64_t i = 0; i < columns; i++)
            problem.second_moments[i * columns + j] = problem.second_moments[j * columns + i] = 0;
    for (int64_t j = 0; j < columns; j++) {
        problem.weight[j] = 0.25f;
        problem.weight[columns + j] = 0;
    }
    CHECK_OK(problem_run_one(&problem, "sparsegpt", "{\"sparsity\": 0.4}"));
    CHECK(problem.out.solver.dead_columns == 10 && problem.out.solver.few_tokens == 0);
    check_zeros(&problem);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t j = 0; j < columns; j++) {
            CHECK(isfinite(problem.result[row * columns + j]));
            CHECK(j < 10 || j >= 20 || (!problem.keep[row * columns + j] && problem.result[row * columns + j] == 0));
        }
    CHECK_OK(problem_run_one(&problem, "sparsegpt", "{\"sparsity\": 0.4, \"bits\": 2}"));
    for (int64_t i = 0; i < rows * columns; i++)
        CHECK(isfinite(problem.result[i]));
    problem_release(&problem);
}

static void check_input(void)
{
    struct wn_recipe recipe = {0};
    struct problem problem;

    CHECK(add_stage(&recipe, "sparsegpt", "{}") == WN_ERR_INPUT);
    CHECK_MESSAGE("sparsity");
    recipe.n_stages = 0;
    CHECK(add_stage(&recipe, "sparsegpt", "{\"sparsity\": 0.5, \"bits\": 9}") == WN_ERR_INPUT);
    CHECK_MESSAGE("bits");
    recipe.n_stages = 0;
    CHECK(add_stage(&recipe, "sparsegpt", "{\"sparsity\": 0.5, \"symmetric\": true}") == WN_ERR_INPUT);
    CHECK_MESSAGE("symmetric");
    recipe.n_stages = 0;
    CHECK(add_stage(&recipe, "sparsegpt", "{\"sparsity\": 0.5, \"scale_dtype\": \"f16\"}") == WN_ERR_INPUT);
    CHECK_MESSAGE("scale_dtype");
    recipe.n_stages = 0;
    CHECK_OK(add_stage(&recipe, "sparsegpt", "{\"sparsity\": 0.5, \"bits\": 4}"));
    CHECK_OK(add_stage(&recipe, "rtn", "{\"bits\": 4}"));
    CHECK(wn_recipe_check_linear(&recipe, "a", 8, 8) == WN_ERR_INPUT);
    CHECK_MESSAGE("\"rtn\" cannot follow \"sparsegpt\" with \"bits\"");
    problem_init(&problem, 2, 10, 9, 0);
    CHECK(problem_run_one(&problem, "sparsegpt", "{\"pattern\": \"2:4\"}") == WN_ERR_INPUT);
    CHECK_MESSAGE("10 columns are not a multiple of 4");
    problem.second_moments[11] = NAN;
    CHECK(problem_run_one(&problem, "sparsegpt", "{\"sparsity\": 0.5}") == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block.linear: the second moments of its inputs are not finite");
    problem_release(&problem);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    check_counts(1, 1);
    check_counts(1, 130);
    check_counts(7, 300);
    check_counts(64, 128);
    check_counts(70, 257);
    check_patterns(1, 192);
    check_patterns(67, 384);
    check_uncorrelated();
    check_joint(1, 128);
    check_joint(65, 300);
    check_objective();
    check_edges();
    check_input();
    return test_finish();
}
