/* SPDX-License-Identifier: Apache-2.0 */
/* Methods against golden.safetensors, which make_golden.py computed with code of its own. */
#include "golden.h"

static void load_problem(const struct golden *golden, const char *name, int64_t sequences, struct problem *problem)
{
    char *weight = wn_format("%s.weight", name), *squares = wn_format("%s.squares", name);
    int64_t shape[2] = {0}, width[2] = {0};

    golden_tensor(golden, weight, "F32", shape, NULL, 0);
    problem_init(problem, shape[0], shape[1], 1, 0);
    golden_tensor(golden, weight, "F32", shape, problem->weight, (size_t)(shape[0] * shape[1]) * sizeof(float));
    golden_tensor(golden, squares, "F64", width, problem->squares, (size_t)shape[1] * sizeof(double));
    problem->stats.sequences = sequences;
    wn_free(squares);
    wn_free(weight);
}

/* Masks equal, kept weights of a pruner bit for bit, values of a quantizer within 1e-6 of the largest. */
static void check_case(const struct golden *golden, const cJSON *one, int64_t sequences)
{
    struct problem problem;
    struct wn_recipe recipe = {0};
    const cJSON *stage;
    int64_t shape[2] = {0}, wrong = 0;

    load_problem(golden, cJSON_GetObjectItem(one, "problem")->valuestring, sequences, &problem);
    const int64_t count = problem.rows * problem.columns;
    float *expected = wn_alloc(count, sizeof *expected);
    golden_tensor(golden, cJSON_GetObjectItem(one, "expected")->valuestring, "F32", shape, expected,
                  (size_t)count * sizeof *expected);
    cJSON_ArrayForEach (stage, cJSON_GetObjectItem(one, "stages"))
        CHECK_OK(add_stage_json(&recipe, cJSON_GetObjectItem(stage, "method")->valuestring, stage));
    CHECK_OK(problem_run(&problem, &recipe));
    for (int64_t i = 0; i < count; i++) {
        bool same = fabsf(problem.result[i] - expected[i]) <= 1e-6f * fabsf(expected[i]);
        wrong += !same || (!problem.out.bits && problem.result[i] != expected[i]);
    }
    if (wrong) {
        char *text = cJSON_PrintUnformatted(one);
        fprintf(stderr, "%lld of %lld weights differ: %s\n", (long long)wrong, (long long)count, text);
        cJSON_free(text);
        test_failures++;
    }
    wn_free(expected);
    problem_release(&problem);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    golden_each("tests/method/golden.safetensors", 51, check_case);
    return test_finish();
}
