/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SpQR, the clip search of RTN and the alpha search of Wanda against spqr.safetensors, which make_golden_spqr.py
 * computed in double with code of its own: codes, outliers and masks agree in at least 99.9 % of entries (a near-tie
 * may fall the other way in fp32), values of rows without such an entry are equal to 1e-4 of the largest.
 */
#include "golden.h"

enum { OUTLIER = 128 };

static struct {
    int64_t entries, codes, outliers, expected_outliers, values;
} totals;

/* What the golden tensor holds: codes with a mark for outliers, or the mask. */
static void gather(const struct problem *problem, uint8_t *found)
{
    const struct wn_compressed *out = &problem->out;

    for (int64_t i = 0; i < problem->rows * problem->columns; i++)
        found[i] = out->codes ? out->codes[i] : problem->keep[i];
    for (int64_t i = 0; i < out->n_outliers; i++)
        found[out->outliers[i].index] |= OUTLIER;
}

static void compare(const struct problem *problem, const uint8_t *expected, bool *clean)
{
    const int64_t count = problem->rows * problem->columns;
    uint8_t *found = wn_alloc(count, 1);

    gather(problem, found);
    totals.entries += count;
    for (int64_t i = 0; i < count; i++) {
        totals.codes += found[i] != expected[i];
        totals.outliers += ((found[i] ^ expected[i]) & OUTLIER) != 0;
        totals.expected_outliers += (expected[i] & OUTLIER) != 0;
        clean[i / problem->columns] &= found[i] == expected[i];
    }
    wn_free(found);
}

static void compare_values(const struct problem *problem, const float *expected, const bool *clean, const char *text)
{
    float largest = 0;
    int64_t wrong = 0;

    for (int64_t i = 0; i < problem->rows * problem->columns; i++)
        largest = fmaxf(largest, fabsf(expected[i]));
    for (int64_t i = 0; i < problem->rows * problem->columns; i++) {
        totals.values += clean[i / problem->columns];
        wrong += clean[i / problem->columns] && !(fabsf(problem->result[i] - expected[i]) <= 1e-4f * largest);
    }
    if (wrong) {
        fprintf(stderr, "%lld values differ: %s\n", (long long)wrong, text);
        test_failures++;
    }
}

static void check_case(const struct golden *golden, const cJSON *one, int64_t sequences)
{
    struct problem problem;
    struct wn_recipe recipe = {0};
    const cJSON *stage;
    const char *name = cJSON_GetObjectItem(one, "expected")->valuestring;
    char *values_name = wn_format("%s.values", name), *text = cJSON_PrintUnformatted(one);
    int64_t shape[2] = {0};

    golden_problem(golden, cJSON_GetObjectItem(one, "problem")->valuestring, sequences, &problem);
    const int64_t count = problem.rows * problem.columns, before = totals.codes;
    bool *clean = wn_alloc(problem.rows, sizeof *clean);
    memset(clean, true, (size_t)problem.rows * sizeof *clean);
    float *values = wn_alloc(count, sizeof *values);
    uint8_t *codes = wn_alloc(count, 1);
    cJSON_ArrayForEach (stage, cJSON_GetObjectItem(one, "stages"))
        CHECK_OK(add_stage_json(&recipe, cJSON_GetObjectItem(stage, "method")->valuestring, stage));
    CHECK_OK(problem_run(&problem, &recipe));
    golden_tensor(golden, name, "U8", shape, codes, (size_t)count);
    compare(&problem, codes, clean);
    if (totals.codes > before && getenv("WINNOW_TEST_VERBOSE"))
        printf("%lld of %lld differ: %s\n", (long long)(totals.codes - before), (long long)count, text);
    if (cJSON_GetObjectItem(golden->header, values_name)) {
        golden_tensor(golden, values_name, "F32", shape, values, (size_t)count * sizeof *values);
        compare_values(&problem, values, clean, text);
    }
    wn_free(codes);
    wn_free(values);
    wn_free(clean);
    cJSON_free(text);
    wn_free(values_name);
    problem_release(&problem);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    golden_each("tests/method/spqr.safetensors", 36, check_case);
    CHECK(totals.entries > 40000 && totals.values > 10000 && totals.expected_outliers > 500);
    CHECK_NEAR((double)totals.codes / (double)totals.entries, 0, 1e-3);
    CHECK_NEAR((double)totals.outliers / (double)totals.entries, 0, 1e-3);
    if (getenv("WINNOW_TEST_VERBOSE"))
        printf("%lld entries: %lld codes and %lld of %lld outliers differ; %lld values compared\n",
               (long long)totals.entries, (long long)totals.codes, (long long)totals.outliers,
               (long long)totals.expected_outliers, (long long)totals.values);
    return test_finish();
}
