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

#endif
