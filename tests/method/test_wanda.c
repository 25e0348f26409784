/* SPDX-License-Identifier: Apache-2.0 */
/* Wanda: exact count per row, order of scores, ties, nesting, invariances, N:M, dead inputs. */
#include "recipes.h"

static float score(const struct problem *problem, int64_t row, int64_t j)
{
    float norm = sqrtf((float)(problem->squares[j] / (double)problem->stats.sequences));

    return fabsf(problem->weight[row * problem->columns + j]) * norm;
}

/* The exact number, no kept score below a dropped one, and of equal ones the left is dropped. */
static void check_lowest(const struct problem *problem, int64_t row, int64_t quota)
{
    const uint8_t *keep = problem->keep + row * problem->columns;
    float dropped = -1;

    CHECK(count_dropped(keep, problem->columns) == quota);
    for (int64_t j = 0; j < problem->columns; j++)
        if (!keep[j])
            dropped = fmaxf(dropped, score(problem, row, j));
    bool kept_tie = false;
    for (int64_t j = 0; j < problem->columns; j++) {
        CHECK(!keep[j] || score(problem, row, j) >= dropped);
        kept_tie |= keep[j] && score(problem, row, j) == dropped;
        CHECK(!(kept_tie && !keep[j] && score(problem, row, j) == dropped));
    }
}

static void check_rows(const struct problem *problem, int64_t quota)
{
    for (int64_t row = 0; row < problem->rows; row++)
        check_lowest(problem, row, quota);
}

static void check_shape(int64_t rows, int64_t columns, double decimals)
{
    static const double sparsities[] = {0.05, 0.3, 0.5, 0.7, 0.95};
    struct problem problem;
    uint8_t *before = wn_alloc(rows * columns, 1);

    problem_init(&problem, rows, columns, (uint64_t)(rows + columns), decimals);
    memset(before, 1, (size_t)(rows * columns));
    for (int64_t j = 0; decimals > 0 && j < columns; j++)
        problem.squares[j] = 1 + j % 3; /* ties of scores too */
    for (size_t s = 0; s < sizeof sparsities / sizeof *sparsities; s++) {
        char *settings = wn_format("{\"sparsity\": %.15g}", sparsities[s]);
        CHECK_OK(problem_run_one(&problem, "wanda", settings));
        wn_free(settings);
        check_mask(&problem);
        check_rows(&problem, (int64_t)((double)columns * sparsities[s]));
        for (int64_t i = 0; i < rows * columns; i++)
            CHECK(problem.keep[i] <= before[i]);
        memcpy(before, problem.keep, (size_t)(rows * columns));
    }
    problem_release(&problem);
    wn_free(before);
}

/* The mask does not change when all inputs are scaled by a power of two (which is exact in fp32). */
static void check_scaling(void)
{
    struct problem problem;
    uint8_t *mask = wn_alloc(20 * 100, 1);

    problem_init(&problem, 20, 100, 8, 0);
    CHECK_OK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0.5}"));
    memcpy(mask, problem.keep, 20 * 100);
    for (int64_t j = 0; j < 100; j++)
        problem.squares[j] *= 64 * 64;
    CHECK_OK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0.5}"));
    CHECK(!memcmp(mask, problem.keep, 20 * 100));
    problem.squares[7] *= 1e6; /* but it does change with one input */
    CHECK_OK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0.5}"));
    CHECK(memcmp(mask, problem.keep, 20 * 100) != 0);
    problem_release(&problem);
    wn_free(mask);
}

/* Equal norms: magnitude pruning of each row alone. */
/*
 * The mean of squares is taken over sequences; over tokens, or anything else, masks are the same: by powers of 4 to the
 * last bit whatever the scores, else because no score here is that close to another.
 */
static void check_divisor(void)
{
    static const char *const settings[] = {"{\"sparsity\": 0.5}", "{\"pattern\": \"2:4\"}",
                                           "{\"sparsity\": 0.4, \"variant\": \"alpha\"}"};
    static const int64_t divisors[] = {1, 16, 4096, 7, 64, 262144 + 1};
    struct problem problem;
    uint8_t keep[33 * 260];

    for (int ties = 0; ties < 2; ties++)
        for (size_t s = 0; s < sizeof settings / sizeof *settings; s++) {
            problem_init(&problem, 33, 260, 12, ties ? 4 : 0);
            for (int64_t j = 0; ties && j < problem.columns; j++) /* as many tied scores as can be */
                problem.squares[j] = (double)(1 + j % 3);
            for (size_t d = 0; d < (ties ? 3 : sizeof divisors / sizeof *divisors); d++) {
                problem.stats.sequences = divisors[d];
                CHECK_OK(problem_run_one(&problem, "wanda", settings[s]));
                check_mask(&problem);
                if (d == 0)
                    memcpy(keep, problem.keep, sizeof keep);
                CHECK(!memcmp(keep, problem.keep, sizeof keep));
            }
            problem_release(&problem);
        }
}

static void check_equal_norms(void)
{
    struct problem problem, row;

    problem_init(&problem, 6, 90, 9, 0);
    problem_init(&row, 1, 90, 9, 0);
    for (int64_t j = 0; j < 90; j++)
        problem.squares[j] = 16;
    CHECK_OK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0.4}"));
    for (int64_t r = 0; r < 6; r++) {
        memcpy(row.weight, problem.weight + r * 90, 90 * sizeof(float));
        CHECK_OK(problem_run_one(&row, "magnitude", "{\"sparsity\": 0.4}"));
        CHECK(!memcmp(row.keep, problem.keep + r * 90, 90));
    }
    problem_release(&row);
    problem_release(&problem);
}

/* Against every other weight of its run: a kept one scores higher, or the same and stands further right. */
static void check_place(const struct problem *problem, int64_t i, int m)
{
    const int64_t columns = problem->columns, first = i / m * m;

    for (int64_t k = first; problem->keep[i] && k < first + m; k++) {
        float kept = score(problem, i / columns, i % columns), other = score(problem, k / columns, k % columns);
        CHECK(problem->keep[k] || kept > other || (kept == other && i > k));
    }
}

static void check_patterns(void)
{
    static const int patterns[][2] = {{1, 2}, {2, 4}, {4, 8}};
    struct problem problem;

    problem_init(&problem, 5, 200, 10, 6);
    for (size_t p = 0; p < 3; p++) {
        char *settings = wn_format("{\"pattern\": \"%d:%d\"}", patterns[p][0], patterns[p][1]);
        CHECK_OK(problem_run_one(&problem, "wanda", settings));
        wn_free(settings);
        check_mask(&problem);
        check_runs(&problem, patterns[p][0], patterns[p][1]);
        for (int64_t i = 0; i < 5 * 200; i++)
            check_place(&problem, i, patterns[p][1]);
    }
    problem_release(&problem);
}

/* Inputs that are always 0 have score 0 and go first, whatever their weights. */
static void check_dead_inputs(void)
{
    struct problem problem;

    problem_init(&problem, 8, 40, 11, 0);
    for (int64_t j = 30; j < 40; j++) {
        problem.squares[j] = 0;
        for (int64_t r = 0; r < 8; r++)
            problem.weight[r * 40 + j] = 100;
    }
    CHECK_OK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0.25}"));
    for (int64_t i = 0; i < 8 * 40; i++)
        CHECK(problem.keep[i] == (i % 40 < 30));
    problem.squares[2] = NAN;
    CHECK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0.25}") == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block.linear");
    problem_release(&problem);
}

/* ---- the variant ---- */

/* Sum of the dropped scores of a row over the sum of all. */
static double dropped_share(const struct problem *problem, int64_t row, double *with_next)
{
    double dropped = 0, total = 0;
    float next = INFINITY;

    for (int64_t j = 0; j < problem->columns; j++) {
        const float one = score(problem, row, j);
        total += (double)one;
        if (!problem->keep[row * problem->columns + j])
            dropped += (double)one;
        else
            next = fminf(next, one);
    }
    *with_next = (dropped + (double)next) / total;
    return dropped / total;
}

/* The sparsity within 0.001, or as near as alpha in steps of 0.001 comes; lowest scores first in every row, and one
 * alpha that explains all rows. */
static void check_alpha(int64_t rows, int64_t columns, double sparsity, double near)
{
    struct problem problem;
    char *settings = wn_format("{\"sparsity\": %.15g, \"variant\": \"alpha\"}", sparsity);
    double low = 0, high = 1; /* alpha lies between: at least what every row gave, less than one more would be */
    int64_t fewest = columns, most = 0;

    problem_init(&problem, rows, columns, 12, 0);
    for (int64_t i = 0; i < rows * columns; i++) /* rows of different shape */
        problem.weight[i] *= 1 + (float)(i / columns % 5) * problem.weight[i] * problem.weight[i];
    CHECK_OK(problem_run_one(&problem, "wanda", settings));
    check_mask(&problem);
    for (int64_t row = 0; row < rows; row++) {
        double next, share = dropped_share(&problem, row, &next);
        const int64_t here = count_dropped(problem.keep + row * columns, columns);
        low = fmax(low, share);
        high = fmin(high, next);
        fewest = here < fewest ? here : fewest;
        most = here > most ? here : most;
        check_lowest(&problem, row, here);
    }
    CHECK(low < high && low <= 0.8);
    CHECK(fewest < most);
    CHECK_NEAR((double)count_dropped(problem.keep, rows * columns) / (double)(rows * columns), sparsity, near);
    problem_release(&problem);
    wn_free(settings);
}

/* Where no alpha up to 0.8 is enough, or where the smallest score of every row is already too much. */
static void check_alpha_ends(void)
{
    struct problem problem, one;
    double next;

    problem_init(&problem, 4, 200, 13, 0);
    CHECK_OK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0.99, \"variant\": \"alpha\"}"));
    CHECK(count_dropped(problem.keep, 4 * 200) < (int64_t)(0.99 * 4 * 200));
    for (int64_t row = 0; row < 4; row++)
        CHECK(dropped_share(&problem, row, &next) > 0.75 && dropped_share(&problem, row, &next) < 0.8);
    problem_release(&problem);
    problem_init(&one, 5, 1, 14, 0); /* one score is the whole sum: nothing can go */
    CHECK_OK(problem_run_one(&one, "wanda", "{\"sparsity\": 0.5, \"variant\": \"alpha\"}"));
    CHECK(one.out.has_mask && count_dropped(one.keep, 5) == 0);
    CHECK(!memcmp(one.result, one.weight, 5 * sizeof(float)));
    problem_release(&one);
    struct wn_recipe recipe = {0};
    CHECK(add_stage(&recipe, "wanda", "{\"pattern\": \"2:4\", \"variant\": \"alpha\"}") == WN_ERR_INPUT);
    CHECK_MESSAGE("\"variant\"");
}

/* Equal scores go together or not at all. */
static void check_alpha_ties(void)
{
    struct problem problem;

    problem_init(&problem, 6, 40, 15, 4);
    for (int64_t j = 0; j < 40; j++)
        problem.squares[j] = 4;
    CHECK_OK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0.5, \"variant\": \"alpha\"}"));
    for (int64_t i = 0; i < 6 * 40; i++)
        for (int64_t k = i / 40 * 40; k < i / 40 * 40 + 40; k++)
            CHECK(fabsf(problem.weight[i]) != fabsf(problem.weight[k]) || problem.keep[i] == problem.keep[k]);
    problem_release(&problem);
}

int main(void)
{
    CHECK(wn_method_find("wanda")->needs == WN_NEED_INPUT_SQUARES);
    check_shape(1, 1, 0);
    check_shape(1, 260, 0);
    check_shape(17, 129, 0);
    check_shape(30, 64, 3);
    check_shape(3, 1000, 20);
    check_scaling();
    check_divisor();
    check_equal_norms();
    check_patterns();
    check_dead_inputs();
    check_alpha(30, 400, 0.5, 0.001);
    check_alpha(64, 129, 0.1, 0.02);
    check_alpha(10, 1000, 0.7, 0.001);
    check_alpha_ends();
    check_alpha_ties();
    return test_finish();
}
