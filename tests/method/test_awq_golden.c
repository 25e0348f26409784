/* SPDX-License-Identifier: Apache-2.0 */
/* The clip search of AWQ against awq.safetensors, which make_awq.py computed token by token with code of its own. */
#include "golden.h"

enum { ROWS = 14, COLUMNS = 48, TOKENS = 70 };

struct arrays {
    float inputs[TOKENS * COLUMNS], weight[ROWS * COLUMNS], scale[COLUMNS], result[ROWS * COLUMNS];
    uint8_t codes[ROWS * COLUMNS];
};

static void load(const struct golden *golden, const char *key, const char *what, const char *type, void *out,
                 size_t size)
{
    char *name = key ? wn_format("%s.%s", key, what) : wn_strdup(what);
    int64_t shape[2] = {0};

    golden_tensor(golden, name, type, shape, out, size);
    wn_free(name);
}

/* Second moments inside runs of columns, in double; the last run may be shorter. */
static float *moments_of(const float *x, int64_t run)
{
    float *moments = wn_alloc(COLUMNS * run, sizeof *moments);

    for (int64_t i = 0; i < COLUMNS; i++) {
        int64_t first = i / run * run, count = first + run < COLUMNS ? run : COLUMNS - first;
        for (int64_t j = 0; j < count; j++) {
            double sum = 0;
            for (int64_t t = 0; t < TOKENS; t++)
                sum += (double)x[t * COLUMNS + i] * x[t * COLUMNS + first + j];
            moments[first * run + (i - first) * count + j] = (float)sum;
        }
    }
    return moments;
}

static void check_case(const struct golden *golden, const cJSON *one, struct arrays *arrays)
{
    const char *key = cJSON_GetObjectItem(one, "case")->valuestring;
    const cJSON *settings = cJSON_GetObjectItem(one, "settings");
    const double expected = cJSON_GetObjectItem(one, "clip_ratio")->valuedouble;
    struct problem problem;
    struct wn_recipe recipe = {0};
    int64_t wrong = 0;

    problem_init(&problem, ROWS, COLUMNS, 1, 0);
    load(golden, key, "scale", "F32", arrays->scale, sizeof arrays->scale);
    load(golden, key, "codes", "U8", arrays->codes, sizeof arrays->codes);
    load(golden, key, "result", "F32", arrays->result, sizeof arrays->result);
    memcpy(problem.weight, arrays->weight, sizeof arrays->weight);
    CHECK_OK(add_stage_json(&recipe, "awq", settings));
    float *moments = moments_of(arrays->inputs, wn_recipe_moment_run(&recipe, COLUMNS));
    problem.stats.run_moments = moments;
    if (cJSON_IsTrue(cJSON_GetObjectItem(one, "scaled")))
        problem.stats.scale = arrays->scale;
    CHECK_OK(problem_run(&problem, &recipe));
    for (int64_t i = 0; i < ROWS * COLUMNS; i++)
        wrong += problem.out.codes[i] != arrays->codes[i] ||
                 fabsf(problem.result[i] - arrays->result[i]) > 1e-6f * fabsf(arrays->result[i]);
    CHECK(wrong == 0);
    CHECK_NEAR(problem.out.search.clip_ratio, expected, 1e-12);
    CHECK(expected < 1 || problem.out.bits == 8);
    wn_free(moments);
    problem_release(&problem);
}

int main(void)
{
    struct golden golden = {0};
    struct arrays *arrays = wn_alloc(1, sizeof *arrays);

    CHECK_OK(wn_linalg_start());
    CHECK(golden_open(&golden, "tests/method/awq.safetensors"));
    const cJSON *metadata = cJSON_GetObjectItem(golden.header, "__metadata__"), *one;
    cJSON *cases = cJSON_Parse(cJSON_GetObjectItem(metadata, "cases")->valuestring);

    load(&golden, NULL, "inputs", "F32", arrays->inputs, sizeof arrays->inputs);
    load(&golden, NULL, "weight", "F32", arrays->weight, sizeof arrays->weight);
    CHECK(cJSON_GetArraySize(cases) == 18);
    cJSON_ArrayForEach (one, cases)
        check_case(&golden, one, arrays);
    cJSON_Delete(cases);
    golden_close(&golden);
    wn_free(arrays);
    return test_finish();
}
