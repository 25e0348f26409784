/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codes.c: the code form of an exported point. What there is of a linear is known only when the walk hands it over, so
 * it waits in a scratch file until all shapes are known.
 */
#include <cjson/cJSON.h>

#include "codes.h"
#include "files.h"

#define SCRATCH "codes.scratch"

wn_status wn_export_codes_create(struct wn_export_codes *codes, const char *folder)
{
    *codes = (struct wn_export_codes){.linears = cJSON_CreateObject()};
    return wn_export_spool_create(&codes->spool, folder, SCRATCH, WN_EXPORT_CODES);
}

/* Scales or zero points that are codes themselves. */
static wn_status spool_second(struct wn_export_codes *codes, const char *linear, const char *part,
                              const struct wn_compressed *compressed, const struct wn_second_level *second)
{
    if (!second->bits)
        return WN_OK;
    int64_t runs = (compressed->rows + second->run - 1) / second->run, groups = compressed->n_groups;
    char *name = wn_format("%s.%s", linear, part);
    wn_status status = wn_export_spool_add(&codes->spool, name, "codes", "U8", compressed->rows, groups, second->codes);
    if (status == WN_OK)
        status = wn_export_spool_add(&codes->spool, name, "scales", "F32", runs, groups, second->scales);
    if (status == WN_OK)
        status = wn_export_spool_add(&codes->spool, name, "zeros", "F32", runs, groups, second->zeros);
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
    wn_status status = wn_export_spool_add(&codes->spool, linear, "outlier_index", "I64", count, 0, index);
    if (status == WN_OK)
        status = wn_export_spool_add(&codes->spool, linear, "outlier_value", "F32", count, 0, value);
    wn_free(index);
    wn_free(value);
    return status;
}

static wn_status spool_codes(struct wn_export_codes *codes, const char *linear, const struct wn_compressed *compressed)
{
    int64_t rows = compressed->group ? compressed->rows : 1, groups = compressed->group ? compressed->n_groups : 0;
    WN_TRY(wn_export_spool_add(&codes->spool, linear, "codes", "U8", compressed->rows, compressed->columns,
                               compressed->codes));
    WN_TRY(wn_export_spool_add(&codes->spool, linear, "scales", "F32", rows, groups, compressed->scales));
    WN_TRY(wn_export_spool_add(&codes->spool, linear, "zeros", "F32", rows, groups, compressed->zeros));
    WN_TRY(spool_second(codes, linear, "scales", compressed, &compressed->second_scales));
    WN_TRY(spool_second(codes, linear, "zeros", compressed, &compressed->second_zeros));
    if (compressed->order)
        WN_TRY(wn_export_spool_add(&codes->spool, linear, "order", "I64", compressed->columns, 0, compressed->order));
    if (compressed->input_scale)
        WN_TRY(wn_export_spool_add(&codes->spool, linear, "input_scale", "F32", compressed->columns, 0,
                                   compressed->input_scale));
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
    if (compressed->has_mask && !codes->described_only)
        WN_TRY(wn_export_spool_mask(&codes->spool, name, "mask", compressed));
    if (compressed->bits && !codes->described_only)
        WN_TRY(spool_codes(codes, name, compressed));
    codes->inputs_quantized |= compressed->activation != NULL;
    describe_linear(codes, name, compressed);
    return WN_OK;
}

wn_status wn_export_codes_finish(struct wn_export_codes *codes)
{
    char *path = wn_join_path(codes->spool.folder, WN_EXPORT_CODES);
    wn_status status =
        codes->spool.n_plans ? wn_export_spool_write(&codes->spool, 0, codes->spool.n_plans, path) : WN_OK;
    wn_export_spool_drop(&codes->spool);
    wn_free(path);
    return status;
}

void wn_export_codes_release(struct wn_export_codes *codes)
{
    wn_export_spool_release(&codes->spool);
    cJSON_Delete(codes->linears);
}
