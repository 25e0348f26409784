/*
 * codes.c: the code form of an exported point. What there is of a linear is known only when the walk hands it over, so
 * it waits in a scratch file until all shapes are known.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "codes.h"
#include "files.h"

#define SCRATCH "codes.scratch"

wn_status wn_export_codes_create(struct wn_export_codes *codes, const char *folder)
{
    *codes = (struct wn_export_codes){.folder = folder, .linears = cJSON_CreateObject()};
    char *path = wn_join_path(codes->folder, SCRATCH);
    codes->scratch = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    wn_free(path);
    return codes->scratch < 0 ? wn_export_cannot_write(codes->folder, SCRATCH) : WN_OK;
}

/* `columns` 0: a vector. */
static wn_status spool(struct wn_export_codes *codes, const char *linear, const char *part, const char *dtype,
                       int64_t rows, int64_t columns, const void *data)
{
    struct wn_tensor_plan plan = {.name = wn_format("%s.%s", linear, part),
                                  .dtype = dtype,
                                  .element_bytes = !strcmp(dtype, "U8")    ? 1
                                                   : !strcmp(dtype, "I64") ? 8
                                                                           : 4,
                                  .n_dims = columns ? 2 : 1,
                                  .shape = {rows, columns}};
    plan.bytes = rows * (columns ? columns : 1) * plan.element_bytes;
    codes->plans = wn_resize(codes->plans, codes->n_plans + 1, sizeof plan);
    codes->plans[codes->n_plans++] = plan;
    if (!wn_write_at(codes->scratch, data, plan.bytes, codes->spooled))
        return wn_export_cannot_write(codes->folder, WN_EXPORT_CODES);
    codes->spooled += plan.bytes;
    return WN_OK;
}

/* Bit j % 8 of byte j / 8 of a row; rows begin at whole bytes. */
static wn_status spool_mask(struct wn_export_codes *codes, const char *linear, const struct wn_compressed *compressed)
{
    int64_t width = (compressed->columns + 7) / 8;
    uint8_t *bits = wn_alloc_zero(compressed->rows * width, 1);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < compressed->rows; row++)
        for (int64_t j = 0; j < compressed->columns; j++)
            bits[row * width + j / 8] |=
                (uint8_t)((compressed->keep[row * compressed->columns + j] != 0) << (int)(j % 8));
    wn_status status = spool(codes, linear, "mask", "U8", compressed->rows, width, bits);
    wn_free(bits);
    return status;
}

/* Scales or zero points that are codes themselves. */
static wn_status spool_second(struct wn_export_codes *codes, const char *linear, const char *part,
                              const struct wn_compressed *compressed, const struct wn_second_level *second)
{
    if (!second->bits)
        return WN_OK;
    int64_t runs = (compressed->rows + second->run - 1) / second->run, groups = compressed->n_groups;
    char *name = wn_format("%s.%s", linear, part);
    wn_status status = spool(codes, name, "codes", "U8", compressed->rows, groups, second->codes);
    if (status == WN_OK)
        status = spool(codes, name, "scales", "F32", runs, groups, second->scales);
    if (status == WN_OK)
        status = spool(codes, name, "zeros", "F32", runs, groups, second->zeros);
    wn_free(name);
    return status;
}

static wn_status spool_outliers(struct wn_export_codes *codes, const char *linear,
                                const struct wn_compressed *compressed)
{
    int64_t count = compressed->n_outliers, *index = wn_alloc(count, sizeof *index);
    float *value = wn_alloc(count, sizeof *value);
    for (int64_t i = 0; i < count; i++) {
        index[i] = compressed->outliers[i].index;
        value[i] = compressed->outliers[i].value;
    }
    wn_status status = spool(codes, linear, "outlier_index", "I64", count, 0, index);
    if (status == WN_OK)
        status = spool(codes, linear, "outlier_value", "F32", count, 0, value);
    wn_free(index);
    wn_free(value);
    return status;
}

static wn_status spool_codes(struct wn_export_codes *codes, const char *linear, const struct wn_compressed *compressed)
{
    int64_t rows = compressed->group ? compressed->rows : 1, groups = compressed->group ? compressed->n_groups : 0;
    WN_TRY(spool(codes, linear, "codes", "U8", compressed->rows, compressed->columns, compressed->codes));
    WN_TRY(spool(codes, linear, "scales", "F32", rows, groups, compressed->scales));
    WN_TRY(spool(codes, linear, "zeros", "F32", rows, groups, compressed->zeros));
    WN_TRY(spool_second(codes, linear, "scales", compressed, &compressed->second_scales));
    WN_TRY(spool_second(codes, linear, "zeros", compressed, &compressed->second_zeros));
    if (compressed->order)
        WN_TRY(spool(codes, linear, "order", "I64", compressed->columns, 0, compressed->order));
    if (compressed->input_scale)
        WN_TRY(spool(codes, linear, "input_scale", "F32", compressed->columns, 0, compressed->input_scale));
    return compressed->n_outliers ? spool_outliers(codes, linear, compressed) : WN_OK;
}

static void describe_linear(struct wn_export_codes *codes, const char *name, const struct wn_compressed *compressed)
{
    cJSON *json = cJSON_AddObjectToObject(codes->linears, name);
    int64_t kept = 0, count = compressed->rows * compressed->columns;
    for (int64_t i = 0; compressed->has_mask && i < count; i++)
        kept += compressed->keep[i] != 0;
    cJSON_AddNumberToObject(json, "rows", (double)compressed->rows);
    cJSON_AddNumberToObject(json, "columns", (double)compressed->columns);
    if (compressed->has_mask)
        cJSON_AddNumberToObject(json, "kept", (double)kept);
    if (compressed->bits) {
        cJSON_AddNumberToObject(json, "bits", compressed->bits);
        cJSON_AddNumberToObject(json, "group", (double)compressed->group);
        if (compressed->second_scales.bits)
            cJSON_AddNumberToObject(json, "scales_run", (double)compressed->second_scales.run);
        if (compressed->second_zeros.bits)
            cJSON_AddNumberToObject(json, "zeros_run", (double)compressed->second_zeros.run);
        if (compressed->n_outliers)
            cJSON_AddNumberToObject(json, "outliers", (double)compressed->n_outliers);
    }
}

wn_status wn_export_codes_take(struct wn_export_codes *codes, const char *name, const struct wn_compressed *compressed)
{
    if (compressed->has_mask)
        WN_TRY(spool_mask(codes, name, compressed));
    if (compressed->bits)
        WN_TRY(spool_codes(codes, name, compressed));
    codes->inputs_quantized |= compressed->activation != NULL;
    describe_linear(codes, name, compressed);
    return WN_OK;
}

/* Moves the spooled tensors to where the finished header says. */
static wn_status copy_codes(struct wn_export_codes *codes, const char *scratch, const char *path)
{
    struct wn_mapped mapped;
    struct wn_safetensors_writer *writer;
    int64_t place = 0;
    WN_TRY(wn_map(scratch, &mapped));
    struct wn_tensor_plan *sorted = wn_alloc(codes->n_plans, sizeof *sorted);
    memcpy(sorted, codes->plans, (size_t)codes->n_plans * sizeof *sorted);
    wn_status status = wn_safetensors_create(path, sorted, codes->n_plans, &writer);
    for (int64_t i = 0; i < codes->n_plans && status == WN_OK; i++) {
        status = wn_safetensors_put(writer, codes->plans[i].name, 0, mapped.data + place, codes->plans[i].bytes);
        place += codes->plans[i].bytes;
    }
    if (status == WN_OK)
        status = wn_safetensors_finish(&writer);
    else
        wn_safetensors_abandon(&writer);
    wn_free(sorted);
    wn_unmap(&mapped);
    return status;
}

wn_status wn_export_codes_finish(struct wn_export_codes *codes)
{
    char *scratch = wn_join_path(codes->folder, SCRATCH), *path = wn_join_path(codes->folder, WN_EXPORT_CODES);
    close(codes->scratch);
    codes->scratch = -1;
    wn_status status = codes->n_plans ? copy_codes(codes, scratch, path) : WN_OK;
    unlink(scratch);
    wn_free(scratch);
    wn_free(path);
    return status;
}

void wn_export_codes_release(struct wn_export_codes *codes)
{
    for (int64_t i = 0; i < codes->n_plans; i++)
        wn_free((char *)(uintptr_t)codes->plans[i].name);
    if (codes->scratch >= 0)
        close(codes->scratch);
    wn_free(codes->plans);
    cJSON_Delete(codes->linears);
}
