/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SparseGPT and GPTQ against second_order.safetensors, which make_second_order.py computed in double with code of its
 * own: masks and codes agree in at least 99.9 % of entries (a near-tie may fall the other way in fp32), values of rows
 * without such an entry are equal to 1e-4 of the largest.
 */
#include "golden.h"

static struct {
    int64_t entries, masks, codes;
} totals;

static void compare_values(const struct problem *problem, const float *expected, bool *clean, const char *text)
{
    const int64_t columns = problem->columns;
    float largest = 0;
    int64_t wrong = 0;

    for (int64_t i = 0; i < problem->rows * columns; i++) {
        largest = fmaxf(largest, fabsf(expected[i]));
        if (problem->out.has_mask && (problem->result[i] == 0) != (expected[i] == 0)) {
            totals.masks++;
            clean[i / columns] = false;
        }
    }
    for (int64_t i = 0; i < problem->rows * columns; i++)
        wrong += clean[i / columns] && !(fabsf(problem->result[i] - expected[i]) <= 1e-4f * largest);
    if (wrong) {
        fprintf(stderr, "%lld values differ: %s\n", (long long)wrong, text);
        test_failures++;
    }
}

/* A code differs by one at most unless an earlier one of its row did. */
static void compare_codes(const struct problem *problem, const uint8_t *expected, bool *clean)
{
    for (int64_t i = 0; i < problem->rows * problem->columns; i++)
        if (problem->out.codes[i] != expected[i]) {
            totals.codes++;
            clean[i / problem->columns] = false;
        }
}

static bool has_tensor(const struct golden *golden, const char *name)
{
    return cJSON_GetObjectItem(golden->header, name) != NULL;
}

static void check_case(const struct golden *golden, const cJSON *one, int64_t sequences)
{
    struct problem problem;
    struct wn_recipe recipe = {0};
    const cJSON *stage;
    const char *name = cJSON_GetObjectItem(one, "expected")->valuestring;
    char *codes_name = wn_format("%s.codes", name), *text = cJSON_PrintUnformatted(one);
    int64_t shape[2] = {0};

    golden_problem(golden, cJSON_GetObjectItem(one, "problem")->valuestring, sequences, &problem);
    const int64_t count = problem.rows * problem.columns;
    bool *clean = wn_alloc(problem.rows, sizeof *clean);
    memset(clean, true, (size_t)problem.rows * sizeof *clean);
    float *values = wn_alloc(count, sizeof *values);
    uint8_t *codes = wn_alloc(count, 1);
    cJSON_ArrayForEach (stage, cJSON_GetObjectItem(one, "stages"))
        CHECK_OK(add_stage_json(&recipe, cJSON_GetObjectItem(stage, "method")->valuestring, stage));
    CHECK_OK(problem_run(&problem, &recipe));
    CHECK(has_tensor(golden, codes_name) == (problem.out.bits > 0));
    CHECK(has_tensor(golden, codes_name) || has_tensor(golden, name));
    totals.entries += count;
    if (has_tensor(golden, codes_name)) {
        golden_tensor(golden, codes_name, "U8", shape, codes, (size_t)count);
        compare_codes(&problem, codes, clean);
    }
    if (has_tensor(golden, name)) {
        golden_tensor(golden, name, "F32", shape, values, (size_t)count * sizeof *values);
        compare_values(&problem, values, clean, text);
    }
    wn_free(codes);
    wn_free(values);
    wn_free(clean);
    cJSON_free(text);
    wn_free(codes_name);
    problem_release(&problem);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    golden_each("tests/method/second_order.safetensors", 75, check_case);
    CHECK(totals.entries > 60000);
    CHECK_NEAR((double)totals.masks / (double)totals.entries, 0, 1e-3);
    CHECK_NEAR((double)totals.codes / (double)totals.entries, 0, 1e-3);
    if (getenv("WINNOW_TEST_VERBOSE"))
        printf("%lld entries: %lld masks and %lld codes differ\n", (long long)totals.entries, (long long)totals.masks,
               (long long)totals.codes);
    return test_finish();
}
