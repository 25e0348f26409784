/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SpQR: what the code form gives back, stored bits, outliers and their threshold, the second level where it has nothing
 * to round, equality with GPTQ where both are the same, joint points, dead inputs, threads, refusals. Parity with code
 * of its own is in test_golden_spqr.c.
 */
#include "recipes.h"

#include "../../src/method/spearman.h"

#include <omp.h>

/* Weights with a heavier tail, so that there are outliers. */
static void open_problem(struct problem *problem, int64_t rows, int64_t columns, uint64_t seed)
{
    problem_init(problem, rows, columns, seed, 0);
    for (int64_t i = 0; i < rows * columns; i++)
        problem->weight[i] *= 1 + 2 * problem->weight[i] * problem->weight[i];
}

static double share_of_outliers(const struct problem *problem)
{
    return (double)problem->out.n_outliers / (double)(problem->rows * problem->columns);
}

/* ---- the code form ---- */

/* What a second level gives back for row and group. */
static float second_value(const struct wn_compressed *out, const struct wn_second_level *level, int64_t row, int64_t g)
{
    const int64_t grid = row / level->run * out->n_groups + g;

    return level->scales[grid] * ((float)level->codes[row * out->n_groups + g] - level->zeros[grid]);
}

static void check_second_level(const struct problem *problem)
{
    const struct wn_compressed *out = &problem->out;

    for (int64_t row = 0; row < problem->rows; row++)
        for (int64_t g = 0; g < out->n_groups; g++) {
            const int64_t at = row * out->n_groups + g;
            if (out->second_scales.bits)
                CHECK(out->scales[at] == second_value(out, &out->second_scales, row, g) &&
                      out->second_scales.codes[at] < 1 << out->second_scales.bits);
            if (out->second_zeros.bits)
                CHECK(out->zeros[at] == second_value(out, &out->second_zeros, row, g) &&
                      out->second_zeros.codes[at] < 1 << out->second_zeros.bits);
        }
}

/* Code of 0: where outliers and pruned weights are, in grids whose zero point may lie outside the codes. */
static int code_of_zero(const struct wn_compressed *out, int64_t grid)
{
    return (int)fminf(fmaxf(rintf(out->zeros[grid]), 0), (float)((1 << out->bits) - 1));
}

/* Kept weights are scale * (code - zero) bit for bit, but for the listed outliers, which are in order. */
static void check_code_form(const struct problem *problem)
{
    const struct wn_compressed *out = &problem->out;
    const int64_t columns = problem->columns;
    int64_t next = 0;

    CHECK(out->codes && out->scales && out->zeros && out->n_groups * out->group == columns);
    for (int64_t row = 0; row < problem->rows; row++)
        for (int64_t j = 0; j < columns; j++) { /* outliers are listed by place as stored */
            const int64_t i = row * columns + j;
            int64_t place = j;
            for (int64_t p = 0; out->order && p < columns; p++)
                if (out->order[p] == j)
                    place = p;
            const int64_t grid = row * out->n_groups + place / out->group;
            const float value = out->scales[grid] * ((float)out->codes[i] - out->zeros[grid]);
            if (next < out->n_outliers && out->outliers[next].index == i) {
                CHECK(out->weight[i] == out->outliers[next].value && out->codes[i] == code_of_zero(out, grid));
                CHECK(!out->has_mask || out->keep[i]);
                next++;
            } else if (out->has_mask && !out->keep[i]) {
                CHECK(out->weight[i] == 0 && !signbit(out->weight[i]) && out->codes[i] == code_of_zero(out, grid));
            } else {
                CHECK(out->weight[i] == value && out->codes[i] < 1 << out->bits);
            }
        }
    CHECK(next == out->n_outliers);
    check_second_level(problem);
}

static void check_settings(int64_t rows, int64_t columns, const char *settings)
{
    struct problem problem;

    open_problem(&problem, rows, columns, (uint64_t)columns);
    CHECK_OK(problem_run_one(&problem, "spqr", settings));
    check_code_form(&problem);
    problem_release(&problem);
}

static void check_forms(void)
{
    check_settings(70, 144, "{\"bits\": 3}");
    check_settings(33, 80, "{\"bits\": 4, \"order\": \"identity\", \"qq_groupsize\": 32}");
    check_settings(20, 96, "{\"bits\": 2, \"group\": 32, \"round_zero\": true, \"qq_scale_bits\": \"none\"}");
    check_settings(18, 64, "{\"bits\": 5, \"symmetric\": true, \"outlier_threshold\": 0.01}");
    check_settings(9, 300, "{\"bits\": 3, \"group\": \"channel\"}");
    check_settings(5, 400, "{\"bits\": 3, \"group\": 200, \"qq_zero_bits\": \"none\"}");
    check_settings(3, 40, "{\"bits\": 4, \"group\": 1}");
    check_settings(70, 144, "{\"bits\": 3, \"order\": \"spearman\"}");
    check_settings(1, 16, "{\"bits\": 3, \"order\": \"spearman\"}");
    check_settings(3, 40, "{\"bits\": 4, \"group\": 2, \"outlier_threshold\": 0.001}");
}

/* ---- stored bits ---- */

/* The formula of the published code, to which nothing but the shape, the settings and the outliers count. */
static void check_bits(const char *settings, double without_outliers)
{
    struct problem problem;

    open_problem(&problem, 64, 96, 5);
    CHECK_OK(problem_run_one(&problem, "spqr", settings));
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 0, 0), without_outliers + 32 * share_of_outliers(&problem), 1e-12);
    problem_release(&problem);
}

static void check_all_bits(void)
{
    check_bits("{\"bits\": 3}", 3 + 6.0 / 16 + 2 * 32.0 / 256);
    check_bits("{\"bits\": 4, \"outlier_threshold\": \"none\"}", 4.625);
    check_bits("{\"bits\": 3, \"round_zero\": true}", 3 + (3 + 3.0) / 16 + 32.0 / 256);
    check_bits("{\"bits\": 4, \"round_zero\": true}", 4 + (3 + 3.0) / 16 + 2 * 32.0 / 256); /* 3 < 4: a code pays */
    check_bits("{\"bits\": 3, \"qq_scale_bits\": \"none\", \"qq_zero_bits\": \"none\"}", 3 + 32.0 / 16);
    check_bits("{\"bits\": 3, \"symmetric\": true}", 3 + 3.0 / 16 + 32.0 / 256);
    check_bits("{\"bits\": 3, \"group\": 32, \"qq_groupsize\": 8}", 3 + 6.0 / 32 + 64.0 / (32 * 8));
}

/* ---- outliers ---- */

static void check_thresholds(void)
{
    static const char *const thresholds[] = {"0.01", "0.05", "0.2", "0.8", "\"none\""};
    struct problem problem;
    int64_t before = INT64_MAX;
    double objective = 0;

    open_problem(&problem, 64, 160, 7);
    for (size_t t = 0; t < sizeof thresholds / sizeof *thresholds; t++) {
        char *settings = wn_format("{\"bits\": 3, \"outlier_threshold\": %s}", thresholds[t]);
        CHECK_OK(problem_run_one(&problem, "spqr", settings));
        wn_free(settings);
        CHECK(problem.out.n_outliers < before);
        CHECK(problem.out.solver.objective > objective); /* fewer outliers, more error */
        CHECK(problem.out.solver.objective < problem.out.solver.objective_uncompensated);
        before = problem.out.n_outliers;
        objective = problem.out.solver.objective;
    }
    CHECK(before == 0);
    problem_release(&problem);
    open_problem(&problem, 1, 64, 8); /* one row has no variance */
    CHECK_OK(problem_run_one(&problem, "spqr", "{\"bits\": 2, \"outlier_threshold\": 0}"));
    CHECK(problem.out.n_outliers == 0);
    problem_release(&problem);
    open_problem(&problem, 6, 64, 9); /* nothing may be off: all is kept */
    CHECK_OK(problem_run_one(&problem, "spqr", "{\"bits\": 2, \"outlier_threshold\": 0, \"qq_groupsize\": 4}"));
    CHECK(share_of_outliers(&problem) > 0.5);
    for (int64_t i = 0; i < 6 * 64; i++)
        CHECK_NEAR(problem.result[i], problem.weight[i], 1e-5);
    problem_release(&problem);
}

/* Weights far outside: a grid fitted without them is finer, so that fewer others are off and become outliers too. */
static void check_leave_one_out(void)
{
    static const char *const words[] = {"false", "true"};
    struct problem problem;
    double errors[2];
    int64_t outliers[2];

    problem_init(&problem, 32, 64, 10, 0);
    for (int64_t row = 0; row < 32; row++)
        problem.weight[row * 64 + row] = row % 2 ? 40 : -40;
    for (int simplified = 0; simplified < 2; simplified++) {
        struct wn_weight_statistics statistics;
        char *settings = wn_format("{\"bits\": 3, \"simplified_outliers\": %s, \"outlier_threshold\": 0.001, "
                                   "\"qq_scale_bits\": \"none\", \"qq_zero_bits\": \"none\"}",
                                   words[simplified]);
        CHECK_OK(problem_run_one(&problem, "spqr", settings));
        wn_free(settings);
        wn_weight_statistics_compute(problem.weight, problem.result, 32, 64, &statistics);
        errors[simplified] = statistics.weight_error;
        outliers[simplified] = problem.out.n_outliers;
    }
    CHECK(errors[0] < errors[1] && outliers[0] < outliers[1] * 2 / 3);
    problem_release(&problem);
}

/* ---- the second level ---- */

/* Equal rows have equal scales, which a second level must give back exactly: the same bits as without it. */
static void check_equal_statistics(void)
{
    static const char *const settings[] = {
        "{\"bits\": 3, \"outlier_threshold\": \"none\"}",
        "{\"bits\": 3, \"outlier_threshold\": \"none\", \"qq_scale_bits\": \"none\", \"qq_zero_bits\": \"none\"}"};
    struct problem problem;
    float *first = wn_alloc(40 * 48, sizeof *first);

    open_problem(&problem, 40, 48, 11);
    for (int64_t row = 1; row < 40; row++)
        memcpy(problem.weight + row * 48, problem.weight, 48 * sizeof(float));
    CHECK_OK(problem_run_one(&problem, "spqr", settings[0]));
    CHECK(problem.out.second_scales.bits == 3 && problem.out.second_zeros.bits == 3);
    memcpy(first, problem.result, 40 * 48 * sizeof(float));
    CHECK_OK(problem_run_one(&problem, "spqr", settings[1]));
    CHECK(!problem.out.second_scales.bits && !problem.out.second_zeros.bits);
    CHECK(!memcmp(first, problem.result, 40 * 48 * sizeof(float)));
    problem_release(&problem);
    wn_free(first);
}

/* Rows of a group that are all 0 do not widen the run of their neighbours, and stay near 0. */
static void check_empty_rows(void)
{
    struct problem problem;

    problem_init(&problem, 16, 32, 12, 0);
    for (int64_t i = 0; i < 16 * 32; i++)
        problem.weight[i] = i / 32 == 5 ? 0 : problem.weight[i] * 0.01f;
    CHECK_OK(problem_run_one(&problem, "spqr", "{\"bits\": 3, \"outlier_threshold\": \"none\"}"));
    for (int64_t row = 0; row < 16; row++)
        for (int64_t g = 0; g < 2; g++) {
            CHECK(problem.out.scales[row * 2 + g] < 0.04f / 7);
            CHECK(problem.out.scales[row * 2 + g] >= problem.out.scales[5 * 2 + g]);
        }
    for (int64_t j = 0; j < 32; j++)
        CHECK_NEAR(problem.result[5 * 32 + j], 0, 0.02f / 7);
    problem_release(&problem);
}

/* A constant group has a grid that holds its value. */
static void check_constant_rows(void)
{
    struct problem problem;

    problem_init(&problem, 8, 48, 13, 0);
    for (int64_t i = 0; i < 8 * 48; i++)
        problem.weight[i] = 0.25f * (float)(i / 48 - 3);
    CHECK_OK(problem_run_one(&problem, "spqr",
                             "{\"bits\": 3, \"outlier_threshold\": \"none\", \"order\": \"identity\", "
                             "\"qq_scale_bits\": \"none\", \"qq_zero_bits\": \"none\"}"));
    for (int64_t i = 0; i < 8 * 48; i++)
        CHECK_NEAR(problem.result[i], problem.weight[i], 1e-6);
    problem_release(&problem);
}

/* ---- beside the other methods ---- */

/* No outliers, no second level, whole zero points, ranges that contain 0: GPTQ with groups fitted in the sweep. */
static void check_gptq(int64_t rows, int64_t columns, const char *shared)
{
    struct problem spqr, gptq;
    int64_t different = 0;
    char *left = wn_format("{%s, \"order\": \"identity\", \"outlier_threshold\": \"none\", \"round_zero\": true, "
                           "\"percdamp\": 0.01, \"qq_scale_bits\": \"none\", \"qq_zero_bits\": \"none\"}",
                           shared);
    char *right = wn_format("{%s}", shared);

    problem_init(&spqr, rows, columns, 14, 0);
    problem_init(&gptq, rows, columns, 14, 0);
    CHECK_OK(problem_run_one(&spqr, "spqr", left));
    CHECK_OK(problem_run_one(&gptq, "gptq", right));
    for (int64_t i = 0; i < rows * columns; i++)
        different += spqr.out.codes[i] != gptq.out.codes[i];
    CHECK_NEAR((double)different / (double)(rows * columns), 0, 1e-3);
    if (!different)
        CHECK(!memcmp(spqr.result, gptq.result, (size_t)(rows * columns) * sizeof(float)));
    problem_release(&gptq);
    problem_release(&spqr);
    wn_free(right);
    wn_free(left);
}

/* Less error than rounding to nearest with the same groups. */
static void check_objective(void)
{
    struct problem problem;

    problem_init(&problem, 48, 128, 15, 0);
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 3, \"group\": 16}"));
    const double plain = problem.out.solver.objective;
    CHECK_OK(problem_run_one(&problem, "spqr", "{\"bits\": 3, \"percdamp\": 0.01, \"outlier_threshold\": \"none\"}"));
    CHECK(problem.out.solver.objective < 0.8 * plain);
    CHECK(problem.out.solver.percdamp_used == 0.01 && problem.out.solver.damping_steps == 0);
    problem_release(&problem);
}

/* The damping of SpQR differs where inputs are dead: its factor is not that of GPTQ with the same settings. */
static void check_dead_inputs(void)
{
    static const char settings[] = "{\"bits\": 3, \"percdamp\": 0.1, \"order\": \"identity\"}";
    struct problem fresh, after;

    problem_init(&fresh, 24, 64, 16, 0);
    problem_init(&after, 24, 64, 16, 0);
    for (int64_t j = 0; j < 64; j += 9)
        fresh.squares[j] = after.squares[j] = 0;
    fill_second_moments(fresh.squares, 64, fresh.second_moments);
    fill_second_moments(after.squares, 64, after.second_moments);
    CHECK_OK(problem_run_one(&fresh, "spqr", settings));
    CHECK_OK(problem_run_one(&after, "gptq", "{\"bits\": 3, \"percdamp\": 0.1}"));
    CHECK_OK(problem_run_one(&after, "spqr", settings));
    CHECK(after.factors.count == 2 && after.factors.factors[0]->lambda != after.factors.factors[1]->lambda);
    CHECK(!memcmp(fresh.result, after.result, 24 * 64 * sizeof(float)));
    CHECK(after.out.solver.dead_columns == 8);
    CHECK_OK(problem_run_one(&after, "spqr", settings));
    CHECK(after.factors.count == 2);
    check_code_form(&after);
    problem_release(&after);
    problem_release(&fresh);
}

static void check_joint(const char *pruner, const char *settings, const char *quantizer)
{
    struct problem problem, alone;
    struct wn_recipe recipe = {0};
    int64_t n, m;

    open_problem(&problem, 36, 96, 17);
    open_problem(&alone, 36, 96, 17);
    CHECK_OK(problem_run_one(&alone, pruner, settings));
    CHECK_OK(add_stage(&recipe, pruner, settings));
    CHECK_OK(add_stage(&recipe, "spqr", quantizer));
    CHECK_OK(problem_run(&problem, &recipe));
    CHECK(!memcmp(problem.keep, alone.keep, 36 * 96));
    check_zeros(&problem);
    check_code_form(&problem);
    wn_recipe_pattern(&recipe, &n, &m);
    CHECK(wn_bits_per_weight(&problem.out, n, m) < 6);
    CHECK(problem.out.solver.objective < 1.05 * problem.out.solver.objective_uncompensated);
    problem_release(&alone);
    problem_release(&problem);
}

/* ---- threads, refusals ---- */

static void check_threads(void)
{
    const size_t bytes = 150 * 208 * sizeof(float);
    struct problem problem;
    float *first = wn_alloc(1, bytes);
    int64_t outliers = 0;

    open_problem(&problem, 150, 208, 18);
    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        wn_factor_cache_release(&problem.factors);
        CHECK_OK(problem_run_one(&problem, "spqr", "{\"bits\": 3}"));
        if (threads == 1) {
            memcpy(first, problem.result, bytes);
            outliers = problem.out.n_outliers;
        }
        CHECK(!memcmp(first, problem.result, bytes) && problem.out.n_outliers == outliers);
    }
    omp_set_num_threads(2);
    CHECK(outliers > 0);
    problem_release(&problem);
    wn_free(first);
}

/* Correlation of the ranks of two columns, ranks by counting. */
static double rank_correlation(const float *weight, int64_t rows, int64_t columns, int64_t a, int64_t b)
{
    double sum = 0, middle = (double)(rows - 1) / 2;

    for (int64_t r = 0; r < rows; r++) {
        int64_t rank_a = 0, rank_b = 0;
        for (int64_t s = 0; s < rows; s++) {
            rank_a += weight[s * columns + a] < weight[r * columns + a];
            rank_b += weight[s * columns + b] < weight[r * columns + b];
        }
        sum += ((double)rank_a - middle) * ((double)rank_b - middle);
    }
    return 12 * sum / ((double)rows * (double)(rows * rows - 1));
}

/*
 * Nobody left is nearer than the next one, and columns that rank their rows as column 0 does follow it at any size. All
 * columns are much alike, so that ranks a little wrong turn the order round; products of so few ranks are exact.
 */
static void check_spearman(void)
{
    enum { ROWS = 200, COLUMNS = 24 };
    float *weight = wn_alloc(ROWS * COLUMNS, sizeof *weight);
    int64_t order[3][COLUMNS];

    for (int64_t i = 0; i < ROWS * COLUMNS; i++)
        weight[i] = (float)wn_random_uniform(7, 0, (uint64_t)i);
    for (int64_t r = 0; r < ROWS; r++) {
        for (int64_t j = 1; j < COLUMNS; j++)
            weight[r * COLUMNS + j] = weight[r * COLUMNS] + 0.3f * weight[r * COLUMNS + j];
        weight[r * COLUMNS + 20] = expf(9 * weight[r * COLUMNS]);
        weight[r * COLUMNS + 17] = 0.001f * weight[r * COLUMNS];
    }
    for (int threads = 1; threads <= 3; threads++) {
        test_set_threads(threads);
        wn_spearman_order(weight, ROWS, COLUMNS, order[threads - 1]);
        CHECK(!memcmp(order[0], order[threads - 1], sizeof order[0]));
    }
    CHECK(order[0][0] == 0 && order[0][1] == 17 && order[0][2] == 20); /* of equal ones the first */
    for (int i = 1; i < COLUMNS; i++) {
        double taken = rank_correlation(weight, ROWS, COLUMNS, order[0][i - 1], order[0][i]);
        for (int p = i + 1; p < COLUMNS; p++)
            CHECK(rank_correlation(weight, ROWS, COLUMNS, order[0][i - 1], order[0][p]) <= taken + 1e-12);
    }
    omp_set_num_threads(2);
    wn_free(weight);
}

/* What is allocated at most, beyond the result, stays below what is said of all second-order methods; `own`: a factor
 * that goes into no cache. */
static void check_bytes(const char *settings, int64_t own)
{
    struct problem problem;

    problem_init(&problem, 256, 384, 20, 0);
    for (int threads = 1; threads <= 3; threads++) {
        test_set_threads(threads);
        CHECK_OK(problem_run_one(&problem, "spqr", settings)); /* the factor is in its cache from now on */
        wn_compressed_release(&problem.out);
        int64_t before = wn_memory_bytes();
        wn_memory_reset_peak();
        CHECK_OK(problem_run_one(&problem, "spqr", settings));
        int64_t kept = wn_memory_bytes() - before, used = wn_memory_peak() - before - kept;
        CHECK(used <= wn_second_order_bytes(256, 384, threads) + own + (1 << 15));
    }
    omp_set_num_threads(2);
    problem_release(&problem);
}

static void check_refusals(void)
{
    static const char *const wrong[][2] = {
        {"{}", "\"bits\""},
        {"{\"bits\": 9}", "[2, 8]"},
        {"{\"bits\": 3, \"qq_groupsize\": 24}", "a divisor of 64, got 24"},
        {"{\"bits\": 3, \"qq_scale_bits\": 1}", "\"qq_scale_bits\""},
        {"{\"bits\": 3, \"order\": \"nearest\"}", "\"act_order\", \"spearman\""},
        {"{\"bits\": 3, \"outlier_threshold\": -1}", "\"outlier_threshold\""},
        {"{\"bits\": 3, \"outlier_threshold\": \"inf\"}", "\"none\""},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct wn_recipe recipe = {0};
        CHECK(add_stage(&recipe, "spqr", wrong[i][0]) == WN_ERR_INPUT);
        CHECK_MESSAGE(wrong[i][1]);
    }
}

static void check_overflow(void)
{
    struct problem problem;

    problem_init(&problem, 4, 32, 19, 0);
    problem.weight[3] = 3e38f;
    problem.weight[4] = -3e38f;
    CHECK(problem_run_one(&problem, "spqr", "{\"bits\": 4, \"order\": \"identity\"}") == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block.linear");
    problem_release(&problem);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    check_forms();
    check_all_bits();
    check_thresholds();
    check_leave_one_out();
    check_equal_statistics();
    check_empty_rows();
    check_constant_rows();
    check_gptq(70, 256, "\"bits\": 4, \"group\": 32");
    check_gptq(9, 300, "\"bits\": 3, \"group\": 150, \"symmetric\": true");
    check_objective();
    check_dead_inputs();
    check_joint("magnitude", "{\"sparsity\": 0.5}", "{\"bits\": 3}");
    check_joint("wanda", "{\"sparsity\": 0.9}", "{\"bits\": 3, \"group\": 8}");
    check_joint("sparsegpt", "{\"pattern\": \"2:4\"}", "{\"bits\": 4, \"round_zero\": true}");
    check_threads();
    check_spearman();
    check_bytes("{\"bits\": 3}", 0);
    check_bytes("{\"bits\": 3, \"group\": 8, \"qq_groupsize\": 8}", 0);
    check_bytes("{\"bits\": 3, \"order\": \"spearman\"}", 384 * 384 * (int64_t)sizeof(float));
    check_refusals();
    check_overflow();
    return test_finish();
}
