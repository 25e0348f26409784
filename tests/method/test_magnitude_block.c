/* SPDX-License-Identifier: Apache-2.0 */
/* Magnitude pruning by one threshold per block against block.safetensors, which make_block.py sorted in one list. */
#include "golden.h"

#include <omp.h>

enum { LINEARS = 4, LARGEST = 400 };

static void check_case(const struct golden *golden, const cJSON *one)
{
    const char *weights = cJSON_GetObjectItem(one, "weights")->valuestring;
    const char *name = cJSON_GetObjectItem(one, "case")->valuestring;
    const cJSON *settings = cJSON_GetObjectItem(one, "settings");
    struct problem problems[LINEARS];
    struct wn_linear_weights linears[LINEARS];
    struct wn_recipe recipe = {0};
    int64_t zeros[LINEARS], sum = 0, asked = 0;
    uint8_t nonzero[LARGEST];

    CHECK_OK(add_stage_json(&recipe, "magnitude", settings));
    for (int l = 0; l < LINEARS; l++) {
        char *tensor = wn_format("%s.%d", weights, l);
        int64_t shape[2] = {0};
        golden_tensor(golden, tensor, "F32", shape, NULL, 0);
        problem_init(&problems[l], shape[0], shape[1], 1, 0);
        golden_tensor(golden, tensor, "F32", shape, problems[l].weight, (size_t)(shape[0] * shape[1]) * sizeof(float));
        linears[l] = (struct wn_linear_weights){problems[l].weight, shape[0] * shape[1]};
        asked += shape[0] * shape[1];
        wn_free(tensor);
    }
    CHECK(wn_recipe_share_zeros(&recipe, linears, LINEARS, zeros));
    for (int l = 0; l < LINEARS; l++) {
        char *tensor = wn_format("%s.%d", name, l);
        int64_t shape[2] = {0}, wrong = 0;
        golden_tensor(golden, tensor, "U8", shape, nonzero, (size_t)linears[l].count);
        recipe.zeros = &zeros[l];
        CHECK_OK(problem_run(&problems[l], &recipe));
        check_mask(&problems[l]);
        CHECK(count_dropped(problems[l].keep, linears[l].count) == zeros[l]);
        for (int64_t i = 0; i < linears[l].count; i++)
            wrong += (problems[l].result[i] != 0) != nonzero[i];
        CHECK(wrong == 0);
        sum += zeros[l];
        wn_free(tensor);
        problem_release(&problems[l]);
    }
    if (!strcmp(cJSON_GetObjectItem(settings, "rule")->valuestring, "exact"))
        CHECK(sum == (int64_t)((double)asked * cJSON_GetObjectItem(settings, "sparsity")->valuedouble));
}

int main(void)
{
    struct golden golden = {0};
    struct wn_recipe recipe = {0};
    struct wn_linear_weights none = {0};
    int64_t zeros;

    CHECK(golden_open(&golden, "tests/method/block.safetensors"));
    const cJSON *metadata = cJSON_GetObjectItem(golden.header, "__metadata__"), *one;
    cJSON *cases = cJSON_Parse(cJSON_GetObjectItem(metadata, "cases")->valuestring);
    CHECK(cJSON_GetArraySize(cases) == 20);
    for (int threads = 1; threads <= 3; threads++) {
        test_set_threads(threads);
        cJSON_ArrayForEach (one, cases)
            check_case(&golden, one);
    }
    CHECK_OK(add_stage(&recipe, "magnitude", "{\"sparsity\": 0.5}"));
    CHECK(!wn_recipe_share_zeros(&recipe, &none, 1, &zeros));
    cJSON_Delete(cases);
    golden_close(&golden);
    return test_finish();
}
