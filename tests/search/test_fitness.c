/* SPDX-License-Identifier: Apache-2.0 */
/* Fitness of rows of logits: NumPy's values (make_fitness.py), what must not change them, and limits. */
#include "test.h"

#include <winnow/io.h>
#include <winnow/search.h>

#include <cjson/cJSON.h>

struct rows {
    int64_t rows, vocabulary, top;
    float *dense, *candidate;
    int32_t *targets;
    double fitness[WN_FITNESSES];
};

static double sum_of(enum wn_fitness fitness, const float *dense, const float *candidate, const int32_t *targets,
                     int64_t rows, int64_t vocabulary, int64_t top)
{
    double log_sums[16] = {0};

    CHECK(rows <= 16);
    wn_fitness_dense(fitness, dense, rows, vocabulary, log_sums);
    return wn_fitness_sum(fitness, dense, log_sums, candidate, targets, rows, vocabulary, top);
}

static float *read_floats(const cJSON *json, const char *key)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, key), *item;
    float *values = wn_alloc(cJSON_GetArraySize(list), sizeof *values);
    int64_t n = 0;

    cJSON_ArrayForEach (item, list)
        values[n++] = (float)item->valuedouble;
    return values;
}

static int64_t read_whole(const cJSON *json, const char *key)
{
    return (int64_t)cJSON_GetObjectItemCaseSensitive(json, key)->valuedouble;
}

static void read_rows(struct rows *rows)
{
    char *path = test_path("tests/search/fitness.json");
    cJSON *json = NULL;

    CHECK_OK(wn_json_read(path, false, &json));
    *rows = (struct rows){.rows = read_whole(json, "rows"),
                          .vocabulary = read_whole(json, "vocabulary"),
                          .top = read_whole(json, "top"),
                          .dense = read_floats(json, "dense"),
                          .candidate = read_floats(json, "candidate")};
    rows->targets = wn_alloc(rows->rows, sizeof *rows->targets);
    for (int64_t r = 0; r < rows->rows; r++)
        rows->targets[r] =
            (int32_t)cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "targets"), (int)r)->valueint;
    for (int f = 0; f < WN_FITNESSES; f++)
        rows->fitness[f] = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "fitness"),
                                                            wn_fitness_name((enum wn_fitness)f))
                               ->valuedouble;
    cJSON_Delete(json);
    wn_free(path);
}

static double fitness_of(const struct rows *rows, enum wn_fitness fitness, const float *dense, int64_t top)
{
    double sum = sum_of(fitness, dense, rows->candidate, rows->targets, rows->rows, rows->vocabulary, top);

    return wn_fitness_finish(fitness, sum, rows->rows);
}

/* exp is taken in fp32 inside (nn.h), hence 1e-6. */
static void check_numpy(const struct rows *rows)
{
    for (int f = 0; f < WN_FITNESSES; f++) {
        double value = fitness_of(rows, (enum wn_fitness)f, rows->dense, rows->top);
        CHECK(rows->fitness[f] > 0.05);
        CHECK_NEAR(value, rows->fitness[f], 1e-6 * rows->fitness[f]);
    }
}

/* Chunks added in order give the bits of all rows at once; the largest of all is the whole divergence; a model beside
 * itself has none. */
static void check_rules(struct rows *rows)
{
    for (int f = 0; f < WN_FITNESSES; f++) {
        double all = sum_of((enum wn_fitness)f, rows->dense, rows->candidate, rows->targets, rows->rows,
                            rows->vocabulary, rows->top);
        double sum = 0;
        for (int64_t r = 0; r < rows->rows; r++)
            sum += sum_of((enum wn_fitness)f, rows->dense + r * rows->vocabulary,
                          rows->candidate + r * rows->vocabulary, rows->targets + r, 1, rows->vocabulary, rows->top);
        CHECK(sum == all);
    }
    double whole = fitness_of(rows, WN_FITNESS_kl, rows->dense, 0);
    CHECK_NEAR(fitness_of(rows, WN_FITNESS_sparse_kl, rows->dense, rows->vocabulary), whole, 1e-6 * whole);
    CHECK(fitness_of(rows, WN_FITNESS_kl, rows->candidate, 0) == 0);
    CHECK(fitness_of(rows, WN_FITNESS_js, rows->candidate, 0) == 0);
    CHECK(fitness_of(rows, WN_FITNESS_sparse_kl, rows->candidate, 10) == 0);
    CHECK(fitness_of(rows, WN_FITNESS_sparse_kl, rows->dense, 1) == 0); /* one token is all of itself */
    CHECK(fitness_of(rows, WN_FITNESS_perplexity, NULL, 0) > 1);
}

/* Log-probabilities in place of logits. */
static void check_shifted(struct rows *rows)
{
    double before[WN_FITNESSES];

    for (int f = 0; f < WN_FITNESSES; f++)
        before[f] = fitness_of(rows, (enum wn_fitness)f, rows->dense, rows->top);
    for (int64_t i = 0; i < rows->rows * rows->vocabulary; i++)
        rows->candidate[i] -= 8;
    for (int f = 0; f < WN_FITNESSES; f++)
        CHECK_NEAR(fitness_of(rows, (enum wn_fitness)f, rows->dense, rows->top), before[f], 1e-6 * before[f]);
}

int main(void)
{
    struct rows rows;

    read_rows(&rows);
    check_numpy(&rows);
    check_rules(&rows);
    check_shifted(&rows);
    wn_free(rows.dense);
    wn_free(rows.candidate);
    wn_free(rows.targets);
    return test_finish();
}
