/* SPDX-License-Identifier: Apache-2.0 */
/* golden.h: reads the golden tensors of the method tests: a safetensors file with a table of cases in its metadata. */
#ifndef WINNOW_TEST_GOLDEN_H
#define WINNOW_TEST_GOLDEN_H

#include "recipes.h"

/* The file in memory: 8 bytes length of the header, the header (JSON), the data. */
struct golden {
    char *bytes;
    cJSON *header;
    const char *data;
};

static inline bool golden_open(struct golden *golden, const char *name)
{
    char *path = test_path(name);
    FILE *file = fopen(path, "rb");
    uint64_t length;
    struct wn_text text = {0};
    char part[4096];

    wn_free(path);
    if (!file)
        return false;
    for (size_t got; (got = fread(part, 1, sizeof part, file)) > 0;)
        wn_text_append(&text, part, got);
    fclose(file);
    golden->bytes = text.data;
    memcpy(&length, text.data, sizeof length);
    golden->header = cJSON_ParseWithLength(text.data + 8, (size_t)length);
    golden->data = text.data + 8 + length;
    return golden->header != NULL;
}

/* Copies a tensor of the data type given; the shape is returned. */
static inline void golden_tensor(const struct golden *golden, const char *name, const char *type, int64_t shape[2],
                                 void *out, size_t size)
{
    const cJSON *tensor = cJSON_GetObjectItem(golden->header, name);
    const cJSON *axes = cJSON_GetObjectItem(tensor, "shape"), *offsets = cJSON_GetObjectItem(tensor, "data_offsets");
    int64_t first = (int64_t)cJSON_GetArrayItem(offsets, 0)->valuedouble;
    int64_t end = (int64_t)cJSON_GetArrayItem(offsets, 1)->valuedouble;

    CHECK_TEXT(cJSON_GetObjectItem(tensor, "dtype")->valuestring, type);
    for (int d = 0; d < cJSON_GetArraySize(axes) && d < 2; d++)
        shape[d] = (int64_t)cJSON_GetArrayItem(axes, d)->valuedouble;
    if (out) {
        CHECK((size_t)(end - first) == size);
        memcpy(out, golden->data + first, (size_t)(end - first) < size ? (size_t)(end - first) : size);
    }
}

static inline void golden_close(struct golden *golden)
{
    cJSON_Delete(golden->header);
    wn_free(golden->bytes);
}

/* Calls `check` for each case of a file that has at least so many of them. */
static inline void golden_each(const char *name, int least,
                               void (*check)(const struct golden *golden, const cJSON *one, int64_t sequences))
{
    struct golden golden = {0};

    CHECK(golden_open(&golden, name));
    const cJSON *metadata = cJSON_GetObjectItem(golden.header, "__metadata__"), *one;
    cJSON *cases = cJSON_Parse(cJSON_GetObjectItem(metadata, "cases")->valuestring);
    int64_t sequences = atoll(cJSON_GetObjectItem(metadata, "sequences")->valuestring);

    CHECK(cJSON_GetArraySize(cases) >= least);
    cJSON_ArrayForEach (one, cases)
        check(&golden, one, sequences);
    cJSON_Delete(cases);
    golden_close(&golden);
}

/* A problem whose statistics come from the golden inputs: sums of small integers, exact in fp32. */
static inline void golden_problem(const struct golden *golden, const char *name, int64_t sequences,
                                  struct problem *problem)
{
    char *weight = wn_format("%s.weight", name), *inputs = wn_format("%s.inputs", name);
    int64_t shape[2] = {0}, seen[2] = {0};

    golden_tensor(golden, weight, "F32", shape, NULL, 0);
    golden_tensor(golden, inputs, "I8", seen, NULL, 0);
    problem_init(problem, shape[0], shape[1], 1, 0);
    golden_tensor(golden, weight, "F32", shape, problem->weight, (size_t)(shape[0] * shape[1]) * sizeof(float));
    int8_t *bytes = wn_alloc(seen[0] * seen[1], 1);
    float *x = wn_alloc(seen[0] * seen[1], sizeof *x);
    golden_tensor(golden, inputs, "I8", seen, bytes, (size_t)(seen[0] * seen[1]));
    for (int64_t i = 0; i < seen[0] * seen[1]; i++)
        x[i] = bytes[i];
    memset(problem->second_moments, 0, (size_t)(shape[1] * shape[1]) * sizeof(float));
    memset(problem->squares, 0, (size_t)shape[1] * sizeof(double));
    wn_add_second_moments(x, seen[0], seen[1], problem->second_moments);
    wn_symmetrize(problem->second_moments, shape[1]);
    wn_add_column_squares(x, seen[0], seen[1], problem->squares);
    problem->stats.sequences = sequences;
    problem->stats.tokens = seen[0];
    wn_free(x);
    wn_free(bytes);
    wn_free(inputs);
    wn_free(weight);
}

#endif
