/* SPDX-License-Identifier: Apache-2.0 */
/* Round to nearest: the grid against a plain version, error bounds, idempotence, groups, degenerate ranges, zeros. */
#include "recipes.h"

#include <winnow/io.h>

#include <omp.h>

/* The definition, with the rounding of the C library (half to even). */
static float value_ref(const struct wn_grid *grid, float w)
{
    float code = fminf(fmaxf(rintf(w / grid->scale) + grid->zero, 0), (float)grid->levels);

    return grid->scale * (code - grid->zero);
}

static void check_grid(void)
{
    for (int bits = 2; bits <= 8; bits++)
        for (int symmetric = 0; symmetric <= 1; symmetric++) {
            float w[37];
            for (int i = 0; i < 37; i++)
                w[i] = (float)(wn_random_uniform(1, (uint64_t)bits, (uint64_t)i) - 0.3);
            struct wn_grid grid = wn_grid_fit(w, 37, bits, symmetric);
            CHECK(grid.levels == (1 << bits) - 1);
            CHECK(grid.zero >= 0 && grid.zero <= (float)grid.levels && grid.zero == rintf(grid.zero));
            CHECK(wn_grid_value(&grid, wn_grid_code(&grid, 0.0f)) == 0.0f);
            for (int i = 0; i < 37; i++) {
                int code = wn_grid_code(&grid, w[i]);
                CHECK(code >= 0 && code <= grid.levels);
                CHECK(wn_grid_value(&grid, code) == value_ref(&grid, w[i]));
                if (!symmetric) /* the smallest or largest may lie up to half a step of the zero point outside */
                    CHECK(fabsf(w[i] - wn_grid_value(&grid, code)) <= grid.scale * 1.0001f);
            }
            CHECK(wn_grid_code(&grid, 1e30f) == grid.levels);
            CHECK(wn_grid_code(&grid, -1e30f) == 0);
        }
}

static void check_ties_and_limits(void)
{
    const struct wn_grid grid = {.scale = 1, .zero = 8, .levels = 15};
    static const float from[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 6.5f, 7.5f, -8.5f, 0.49999997f};
    static const int to[] = {8, 10, 10, 8, 6, 6, 14, 15, 0, 8};

    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        CHECK(wn_grid_code(&grid, from[i]) == to[i]);
}

static void check_symmetric(void)
{
    static const float positive[] = {0.0f, 0.2f, 0.7f};
    struct wn_grid grid = wn_grid_fit(positive, 3, 4, true);

    CHECK_NEAR(grid.scale, 2 * 0.7 / 15, 1e-8); /* not a / 15 though no weight is negative */
    CHECK(grid.zero == 8);
}

static void check_degenerate(void)
{
    static const float zeros[4] = {0, -0.0f, 0, 0}, tiny[2] = {1e-45f, 0}, constant[3] = {0.3f, 0.3f, 0.3f};
    struct wn_grid grid = wn_grid_fit(zeros, 4, 3, false);

    CHECK_NEAR(grid.scale, 2.0 / 7, 1e-7);
    CHECK(wn_grid_value(&grid, wn_grid_code(&grid, 0)) == 0);
    grid = wn_grid_fit(tiny, 2, 8, true);
    CHECK(isfinite(grid.scale) && grid.scale > 0);
    CHECK(wn_grid_value(&grid, wn_grid_code(&grid, tiny[0])) == 0);
    grid = wn_grid_fit(constant, 3, 2, false); /* 0 .. 0.3: both ends are on the grid */
    CHECK_NEAR(wn_grid_value(&grid, wn_grid_code(&grid, 0.3f)), 0.3, 1e-7);
}

/* Values come from codes; |w - q| <= s/2 but for the clipped end and the rounding of the zero point; twice is once. */
static void check_result(int64_t rows, int64_t columns, const char *settings)
{
    struct problem problem;

    problem_init(&problem, rows, columns, (uint64_t)columns, 0);
    CHECK_OK(problem_run_one(&problem, "rtn", settings));
    const struct wn_compressed *out = &problem.out;
    CHECK(!out->has_mask && out->codes && out->bits >= 2);
    for (int64_t i = 0; i < rows * columns; i++) {
        int64_t index = out->group ? i / columns * out->n_groups + i % columns / out->group : 0;
        struct wn_grid grid = {out->scales[index], out->zeros[index], (1 << out->bits) - 1};
        CHECK(out->codes[i] <= grid.levels);
        CHECK(out->weight[i] == wn_grid_value(&grid, out->codes[i]));
        CHECK(fabsf(out->weight[i] - problem.weight[i]) <= grid.scale * 1.0001f);
        if (out->codes[i] > 0 && out->codes[i] < grid.levels)
            CHECK(fabsf(out->weight[i] - problem.weight[i]) <= grid.scale * 0.50001f);
    }
    problem_release(&problem);
}

/* A grid whose ends are used maps its own values to themselves. */
static void check_idempotent(void)
{
    struct problem problem;

    problem_init(&problem, 6, 256, 2, 0);
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 3, \"group\": 32}"));
    memcpy(problem.weight, problem.result, 6 * 256 * sizeof(float));
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 3, \"group\": 32}"));
    for (int64_t i = 0; i < 6 * 256; i++)
        CHECK_NEAR(problem.result[i], problem.weight[i], 1e-6);
    problem_release(&problem);
}

static void check_same(struct problem *problem, const char *first, const char *second)
{
    const size_t bytes = (size_t)(problem->rows * problem->columns) * sizeof(float);
    float *result = wn_alloc(1, bytes);

    CHECK_OK(problem_run_one(problem, "rtn", first));
    memcpy(result, problem->result, bytes);
    CHECK_OK(problem_run_one(problem, "rtn", second));
    CHECK(!memcmp(result, problem->result, bytes));
    wn_free(result);
}

static void check_groups(void)
{
    struct problem problem, row;

    problem_init(&problem, 5, 96, 3, 0);
    problem_init(&row, 1, 96, 4, 0);
    check_same(&problem, "{\"bits\": 4, \"group\": 96}", "{\"bits\": 4, \"group\": \"channel\"}");
    check_same(&row, "{\"bits\": 4, \"group\": \"tensor\"}", "{\"bits\": 4}");
    check_same(&problem, "{\"bits\": 4, \"group\": 128}", "{\"bits\": 4, \"group\": \"channel\"}");
    problem_release(&row);
    problem_release(&problem);
}

/* More bits or smaller groups: less error. */
static void check_error_falls(void)
{
    static const char *const finer[] = {"{\"bits\": 2}", "{\"bits\": 3}", "{\"bits\": 4}",
                                        "{\"bits\": 4, \"group\": 16}", "{\"bits\": 8, \"group\": 16}"};
    struct problem problem;
    double before = INFINITY;

    problem_init(&problem, 16, 128, 5, 0);
    for (size_t i = 0; i < sizeof finer / sizeof *finer; i++) {
        struct wn_weight_statistics statistics;
        CHECK_OK(problem_run_one(&problem, "rtn", finer[i]));
        wn_weight_statistics_compute(problem.weight, problem.result, 16, 128, &statistics);
        CHECK(statistics.weight_error < before);
        before = statistics.weight_error;
    }
    CHECK(before < 0.006); /* range 3.5 deviations: 3.5 / 255 / sqrt(12) */
    problem_release(&problem);
}

/* ---- scales as files store them ---- */

/* Numbers of `scales` that the dtype does not hold. */
static int64_t not_held(const struct wn_compressed *out, enum wn_dtype dtype)
{
    const int64_t grids = out->rows * out->n_groups;
    uint16_t *stored = wn_alloc(grids, sizeof *stored);
    int64_t overflows, count = wn_tensor_from_float(dtype, out->scales, grids, stored, &overflows);

    wn_free(stored);
    return count;
}

static void check_scale_dtype(const char *method, enum wn_dtype dtype, const char *name)
{
    char *plain = wn_strdup("{\"bits\": 4, \"group\": 16}");
    char *rounded = wn_format("{\"bits\": 4, \"group\": 16, \"scale_dtype\": \"%s\"}", name);
    struct problem problem;

    problem_init(&problem, 6, 64, 9, 0);
    CHECK_OK(problem_run_one(&problem, method, plain));
    CHECK(not_held(&problem.out, dtype) > 0);
    CHECK_OK(problem_run_one(&problem, method, rounded));
    CHECK(not_held(&problem.out, dtype) == 0);
    for (int64_t i = 0; i < 6 * 64; i++) {
        const int64_t grid = i / 64 * 4 + i % 64 / 16;
        CHECK(problem.result[i] == problem.out.scales[grid] * (problem.out.codes[i] - problem.out.zeros[grid]));
        CHECK(fabsf(problem.result[i] - problem.weight[i]) <= problem.out.scales[grid] * 2 || method[0] == 'g');
    }
    problem_release(&problem);
    wn_free(rounded);
    wn_free(plain);
}

/* Too small for f16: the least number that it has; too large: an error. */
static void check_scale_limits(void)
{
    struct problem problem;

    problem_init(&problem, 2, 32, 10, 0);
    for (int64_t i = 0; i < 2 * 32; i++)
        problem.weight[i] *= 1e-12f;
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 4, \"scale_dtype\": \"f16\"}"));
    CHECK(problem.out.scales[0] == ldexpf(1, -24) && problem.result[0] == 0);
    for (int64_t i = 0; i < 2 * 32; i++)
        problem.weight[i] *= 1e20f;
    CHECK(problem_run_one(&problem, "rtn", "{\"bits\": 4, \"scale_dtype\": \"f16\"}") == WN_ERR_NUMERIC);
    problem_release(&problem);
}

/* Codes of rows end where their width does, also when the scale of f16 is much smaller than the range. */
static void check_row_limits(void)
{
    const float least = ldexpf(1, -24);
    struct problem problem;

    problem_init(&problem, 2, 32, 10, 0);
    for (int64_t i = 0; i < 2 * 32; i++)
        problem.weight[i] = (i % 2 ? 127 : -127) * 1.4f * least;
    CHECK_OK(problem_run_one(&problem, "llm_int8", "{\"scale_dtype\": \"f16\"}"));
    for (int64_t i = 0; i < 2 * 32; i++)
        CHECK(problem.out.codes[i] == (i % 2 ? 255 : 1) && problem.result[i] == (i % 2 ? 127 : -127) * least);
    problem_release(&problem);
}

/* ---- the clip search ---- */

/* Sum of |error|^2.4 of one grid. */
static double clip_error_ref(const struct problem *problem, int64_t first, int64_t count)
{
    double sum = 0;

    for (int64_t i = first; i < first + count; i++)
        sum += pow(fabs((double)problem->result[i] - (double)problem->weight[i]), 2.4);
    return sum;
}

/* The best of the 80 ranges, by a plain search in double, for every grid of `count` weights in memory. */
static double best_error_ref(const float *w, int64_t count, int bits, bool symmetric)
{
    const int levels = (1 << bits) - 1;
    double low = 0, high = 0, best = INFINITY;

    for (int64_t i = 0; i < count; i++) {
        low = fmin(low, w[i]);
        high = fmax(high, w[i]);
    }
    if (symmetric) {
        high = fmax(-low, high);
        low = -high;
    }
    for (int c = 0; c < 80; c++) {
        const double scale = (1 - c / 100.0) * (high - low) / levels;
        const double zero = symmetric ? (levels + 1) / 2 : rint(-(1 - c / 100.0) * low / scale);
        double sum = 0;
        for (int64_t i = 0; i < count; i++) {
            double code = fmin(fmax(rint(w[i] / scale) + zero, 0), levels);
            sum += pow(fabs(scale * (code - zero) - w[i]), 2.4);
        }
        best = fmin(best, sum);
    }
    return best;
}

/* With clip the error is that of the best range; never more than without. */
static void check_clip(int64_t rows, int64_t columns, int64_t grid, const char *group, int bits, bool symmetric)
{
    struct problem problem;
    char *none =
        wn_format("{\"bits\": %d, \"group\": %s, \"symmetric\": %s}", bits, group, symmetric ? "true" : "false");
    char *mse = wn_format("{\"bits\": %d, \"group\": %s, \"symmetric\": %s, \"clip\": \"mse\"}", bits, group,
                          symmetric ? "true" : "false");
    const int64_t grids = rows * columns / grid;
    double *before = wn_alloc(grids, sizeof *before);
    int64_t better = 0;

    problem_init(&problem, rows, columns, (uint64_t)grid, 0);
    CHECK_OK(problem_run_one(&problem, "rtn", none));
    for (int64_t g = 0; g < grids; g++)
        before[g] = clip_error_ref(&problem, g * grid, grid);
    CHECK_OK(problem_run_one(&problem, "rtn", mse));
    for (int64_t g = 0; g < grids; g++) {
        const double error = clip_error_ref(&problem, g * grid, grid);
        const double best = best_error_ref(problem.weight + g * grid, grid, bits, symmetric);
        CHECK(error <= before[g] * (1 + 1e-5));
        CHECK_NEAR(error, best, 1e-5 * best);
        better += error < 0.99 * before[g];
    }
    CHECK(better > 0);
    problem_release(&problem);
    wn_free(before);
    wn_free(mse);
    wn_free(none);
}

/* Weights of all magnitudes: the search is scale-free. 0 stays 0. */
static void check_clip_scales(void)
{
    struct problem problem, scaled;

    problem_init(&problem, 3, 60, 7, 0);
    problem_init(&scaled, 3, 60, 7, 0);
    for (int64_t i = 0; i < 3 * 60; i++) {
        problem.weight[i] = i % 7 ? problem.weight[i] : 0;
        scaled.weight[i] = ldexpf(problem.weight[i], -60);
    }
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 3, \"clip\": \"mse\"}"));
    CHECK_OK(problem_run_one(&scaled, "rtn", "{\"bits\": 3, \"clip\": \"mse\"}"));
    for (int64_t i = 0; i < 3 * 60; i++) {
        CHECK(scaled.result[i] == ldexpf(problem.result[i], -60));
        CHECK(problem.weight[i] != 0 || problem.result[i] == 0);
    }
    problem_release(&scaled);
    problem_release(&problem);
}

static void check_clip_threads(const char *settings)
{
    struct problem problem;
    float *first = wn_alloc(70 * 60, sizeof *first);

    problem_init(&problem, 70, 60, 8, 0);
    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        CHECK_OK(problem_run_one(&problem, "rtn", settings));
        if (threads == 1)
            memcpy(first, problem.result, 70 * 60 * sizeof(float));
        CHECK(!memcmp(first, problem.result, 70 * 60 * sizeof(float)));
    }
    omp_set_num_threads(2);
    problem_release(&problem);
    wn_free(first);
}

static void check_refusals(void)
{
    static const char *const wrong[][2] = {
        {"{}", "\"bits\""},
        {"{\"bits\": 1}", "[2, 8]"},
        {"{\"bits\": 9}", "[2, 8]"},
        {"{\"bits\": 4, \"group\": 0}", "\"group\""},
        {"{\"bits\": 4, \"group\": \"row\"}", "\"tensor\", \"channel\""},
        {"{\"bits\": 4, \"symmetric\": 1}", "true or false"},
        {"{\"bits\": 4, \"clip\": \"l2\"}", "\"none\", \"mse\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct wn_recipe recipe = {0};
        CHECK(add_stage(&recipe, "rtn", wrong[i][0]) == WN_ERR_INPUT);
        CHECK_MESSAGE(wrong[i][1]);
    }
}

static void check_overflow(void)
{
    struct problem problem;

    problem_init(&problem, 2, 8, 6, 0);
    problem.weight[3] = 3e38f;
    problem.weight[4] = -3e38f;
    CHECK(problem_run_one(&problem, "rtn", "{\"bits\": 4}") == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block.linear");
    problem_release(&problem);
}

int main(void)
{
    check_grid();
    check_ties_and_limits();
    check_symmetric();
    check_degenerate();
    check_result(9, 77, "{\"bits\": 4}");
    check_result(1, 300, "{\"bits\": 2, \"group\": 50}");
    check_result(12, 130, "{\"bits\": 8, \"group\": \"tensor\"}");
    check_result(4, 64, "{\"bits\": 3, \"group\": 1}");
    check_result(4, 64, "{\"bits\": 5, \"group\": 16, \"symmetric\": true}");
    check_idempotent();
    check_groups();
    check_scale_dtype("rtn", WN_F16, "f16");
    check_scale_dtype("rtn", WN_BF16, "bf16");
    check_scale_dtype("gptq", WN_F16, "f16");
    check_scale_dtype("awq", WN_F16, "f16");
    check_scale_limits();
    check_row_limits();
    check_error_falls();
    check_clip(9, 77, 77, "\"channel\"", 2, false);
    check_clip(4, 96, 16, "16", 3, true);
    check_clip(5, 48, 5 * 48, "\"tensor\"", 2, false);
    check_clip(30, 5, 5, "5", 2, false);
    check_clip_scales();
    check_clip_threads("{\"bits\": 2, \"clip\": \"mse\"}");
    check_clip_threads("{\"bits\": 3, \"clip\": \"mse\", \"group\": \"tensor\"}");
    check_refusals();
    check_overflow();
    return test_finish();
}
