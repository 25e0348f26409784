/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_methods [ROWS COLUMNS]: how fast the methods without calibration solves go through a matrix, beside memcpy of
 * the same matrix. GB/s counts the fp32 weights read and written once (8 bytes per weight), fastest of several rounds;
 * set OMP_NUM_THREADS=1 for the figures per thread.
 */
#include <winnow/method.h>

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7 };

static struct wn_recipe recipe_of(const char *name, const char *settings)
{
    struct wn_recipe recipe = {.n_stages = 1, .stages[0].method = wn_method_find(name)};
    const struct wn_method *method = recipe.stages[0].method;
    struct wn_params *params = &recipe.stages[0].params;
    cJSON *json = cJSON_Parse(settings), *item;

    wn_params_init(params, method->parameters, method->n_parameters);
    cJSON_ArrayForEach (item, json)
        if (wn_params_set(params, item->string, item) != WN_OK)
            WN_BUG("%s", wn_error_message());
    if (method->check && method->check(params) != WN_OK)
        WN_BUG("%s", wn_error_message());
    cJSON_Delete(json);
    return recipe;
}

static void print_row(const char *name, const char *settings, double seconds, int64_t weights)
{
    printf("%-12s %-44s %8.2f ms %7.2f GB/s\n", name, settings, 1e3 * seconds, 8e-9 * (double)weights / seconds);
}

static void bench_method(const char *name, const char *settings, const float *weight,
                         const struct wn_input_stats *stats, struct wn_compressed *out)
{
    struct wn_recipe recipe = recipe_of(name, settings);
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        double start = wn_seconds();
        if (wn_recipe_compress(&recipe, name, weight, stats, out) != WN_OK)
            WN_BUG("%s", wn_error_message());
        double seconds = wn_seconds() - start;
        best = seconds < best ? seconds : best;
        wn_compressed_release(out);
        wn_compressed_init(out, out->rows, out->columns, out->weight, out->keep);
    }
    print_row(name, settings, best, out->rows * out->columns);
}

static void bench_copy(const float *weight, int64_t count, float *out)
{
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        double start = wn_seconds();
        memcpy(out, weight, (size_t)count * sizeof *out);
        double seconds = wn_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    print_row("memcpy", "", best, count);
}

static void bench_statistics(const float *weight, const struct wn_compressed *out)
{
    struct wn_weight_statistics statistics;
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        double start = wn_seconds();
        wn_weight_statistics_compute(weight, out->weight, out->rows, out->columns, &statistics);
        double seconds = wn_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    print_row("statistics", "", best, out->rows * out->columns);
}

int main(int argc, char **argv)
{
    int64_t rows = argc > 2 ? atoll(argv[1]) : 4096, columns = argc > 2 ? atoll(argv[2]) : 4096, count = rows * columns;
    float *weight = wn_alloc(count, sizeof *weight), *result = wn_alloc_zero(count, sizeof *result);
    uint8_t *keep = wn_alloc_zero(count, 1);
    double *squares = wn_alloc(columns, sizeof *squares);
    struct wn_input_stats stats = {.tokens = 2048, .sequences = 8, .width = columns, .squares = squares};
    struct wn_compressed out;

    for (int64_t i = 0; i < count; i++) /* near enough to a bell curve */
        weight[i] = (float)(wn_random_uniform(1, 1, (uint64_t)i) + wn_random_uniform(1, 2, (uint64_t)i) +
                            wn_random_uniform(1, 3, (uint64_t)i) - 1.5);
    for (int64_t j = 0; j < columns; j++)
        squares[j] = 1 + 100 * wn_random_uniform(1, 4, (uint64_t)j);
    wn_compressed_init(&out, rows, columns, result, keep);

    bench_copy(weight, count, result);
    bench_method("none", "{}", weight, NULL, &out);
    bench_method("magnitude", "{\"sparsity\": 0.5}", weight, NULL, &out);
    bench_method("magnitude", "{\"pattern\": \"2:4\"}", weight, NULL, &out);
    bench_method("magnitude", "{\"pattern\": \"4:8\"}", weight, NULL, &out);
    bench_method("wanda", "{\"sparsity\": 0.5}", weight, &stats, &out);
    bench_method("wanda", "{\"pattern\": \"2:4\"}", weight, &stats, &out);
    bench_method("rtn", "{\"bits\": 4}", weight, NULL, &out);
    bench_method("rtn", "{\"bits\": 4, \"group\": 128}", weight, NULL, &out);
    bench_method("rtn", "{\"bits\": 8, \"group\": \"tensor\", \"symmetric\": true}", weight, NULL, &out);
    bench_statistics(weight, &out);

    wn_free(squares);
    wn_free(keep);
    wn_free(result);
    wn_free(weight);
    return 0;
}
