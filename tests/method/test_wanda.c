/* Wanda: exact count per row, order of scores, ties, nesting, invariances, N:M, dead inputs. */
#include "recipes.h"

static float score(const struct problem *problem, int64_t row, int64_t j)
{
    float norm = sqrtf((float)(problem->squares[j] / (double)problem->stats.sequences));

    return fabsf(problem->weight[row * problem->columns + j]) * norm;
}

/* In every row: the exact number, no kept score below a dropped one, and of equal ones the left is dropped. */
static void check_rows(const struct problem *problem, int64_t quota)
{
    for (int64_t row = 0; row < problem->rows; row++) {
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

int main(void)
{
    CHECK(wn_method_find("wanda")->needs == WN_NEED_INPUT_SQUARES);
    check_shape(1, 1, 0);
    check_shape(1, 260, 0);
    check_shape(17, 129, 0);
    check_shape(30, 64, 3);
    check_shape(3, 1000, 20);
    check_scaling();
    check_equal_norms();
    check_patterns();
    check_dead_inputs();
    return test_finish();
}
