/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number of zeros instead of a sparsity: every unstructured pruner makes exactly so many, spread evenly over what it
 * prunes apart (rows of Wanda, blocks of 128 columns of SparseGPT), and the same linear where a sparsity says the same.
 */
#include "recipes.h"

#include <winnow/linalg.h>

static const int64_t shapes[][2] = {{1, 8}, {7, 24}, {37, 300}, {130, 131}};
static const char *const methods[] = {"magnitude", "random", "wanda", "sparsegpt"};

static int64_t count_in(const struct problem *problem, int64_t row, int64_t rows, int64_t column, int64_t columns)
{
    int64_t zeros = 0;

    for (int64_t r = row; r < row + rows; r++)
        zeros += count_dropped(problem->keep + r * problem->columns + column, columns);
    return zeros;
}

/* No part has a whole zero more than its share. */
static void check_spread(const struct problem *problem, const char *method, int64_t zeros)
{
    const double share = (double)zeros / (double)(problem->rows * problem->columns);

    for (int64_t r = 0; r < problem->rows && !strcmp(method, "wanda"); r++)
        CHECK(fabs((double)count_in(problem, r, 1, 0, problem->columns) - share * (double)problem->columns) < 1);
    for (int64_t c = 0; c < problem->columns && !strcmp(method, "sparsegpt"); c += 128) {
        int64_t columns = problem->columns - c < 128 ? problem->columns - c : 128;
        CHECK(fabs((double)count_in(problem, 0, problem->rows, c, columns) -
                   share * (double)(problem->rows * columns)) < 1);
    }
}

static void check_method(const char *method, struct problem *problem)
{
    const int64_t count = problem->rows * problem->columns;
    float *expected = wn_alloc(count, sizeof *expected);
    struct wn_recipe recipe = {0};

    CHECK_OK(add_stage(&recipe, method, "{\"sparsity\": 0.5}"));
    CHECK_OK(problem_run(problem, &recipe));
    memcpy(expected, problem->result, (size_t)count * sizeof *expected);
    int64_t half = count_dropped(problem->keep, count);
    for (int64_t i = 1; i < 10; i++) {
        int64_t zeros = i < 9 ? 1 + (count - 2) * i / 9 : half;
        recipe.zeros = &zeros;
        CHECK_OK(problem_run(problem, &recipe));
        CHECK(count_dropped(problem->keep, count) == zeros);
        check_zeros(problem);
        check_spread(problem, method, zeros);
    }
    if (problem->columns % 128 == 0 || strcmp(method, "sparsegpt") != 0) /* shares of blocks are rounded otherwise */
        CHECK(!memcmp(expected, problem->result, (size_t)count * sizeof *expected));
    wn_free(expected);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
            struct problem problem;
            problem_init(&problem, shapes[s][0], shapes[s][1], (uint64_t)s, s % 2 ? 12 : 0);
            check_method(methods[m], &problem);
            problem_release(&problem);
        }
    return test_finish();
}
