/* SPDX-License-Identifier: Apache-2.0 */
/* spool.c: see spool.h. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "spool.h"

wn_status wn_export_spool_create(struct wn_export_spool *spool, const char *folder, const char *name, const char *file)
{
    *spool = (struct wn_export_spool){.folder = folder, .name = name, .file = file};
    char *path = wn_join_path(folder, name);
    spool->scratch = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    wn_free(path);
    return spool->scratch < 0 ? wn_export_cannot_write(folder, name) : WN_OK;
}

static int bytes_of(const char *dtype)
{
    return strstr(dtype, "64") ? 8 : strstr(dtype, "32") ? 4 : strstr(dtype, "16") ? 2 : 1;
}

wn_status wn_export_spool_add(struct wn_export_spool *spool, const char *name, const char *part, const char *dtype,
                              int64_t rows, int64_t columns, const void *data)
{
    struct wn_tensor_plan plan = {.name = wn_format("%s.%s", name, part),
                                  .dtype = dtype,
                                  .element_bytes = bytes_of(dtype),
                                  .n_dims = columns ? 2 : 1,
                                  .shape = {rows, columns}};
    plan.bytes = rows * (columns ? columns : 1) * plan.element_bytes;
    spool->plans = wn_resize(spool->plans, spool->n_plans + 1, sizeof plan);
    spool->plans[spool->n_plans++] = plan;
    if (!wn_write_at(spool->scratch, data, plan.bytes, spool->bytes))
        return wn_export_cannot_write(spool->folder, spool->file);
    spool->bytes += plan.bytes;
    return WN_OK;
}

wn_status wn_export_spool_mask(struct wn_export_spool *spool, const char *name, const char *part,
                               const struct wn_compressed *compressed)
{
    int64_t width = (compressed->columns + 7) / 8;
    uint8_t *bits = wn_alloc_zero(compressed->rows * width, 1);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < compressed->rows; row++)
        for (int64_t j = 0; j < compressed->columns; j++)
            bits[row * width + j / 8] |=
                (uint8_t)((compressed->keep[row * compressed->columns + j] != 0) << (int)(j % 8));
    wn_status status = wn_export_spool_add(spool, name, part, "U8", compressed->rows, width, bits);
    wn_free(bits);
    return status;
}

static wn_status copy(const struct wn_export_spool *spool, const uint8_t *data, int64_t first, int64_t end,
                      const char *path)
{
    struct wn_safetensors_writer *writer;
    struct wn_tensor_plan *sorted = wn_alloc(end - first, sizeof *sorted);
    int64_t place = 0;
    memcpy(sorted, spool->plans + first, (size_t)(end - first) * sizeof *sorted);
    for (int64_t i = 0; i < first; i++)
        place += spool->plans[i].bytes;
    wn_status status = wn_safetensors_create(path, sorted, end - first, &writer);
    for (int64_t i = first; i < end && status == WN_OK; i++) {
        status = wn_safetensors_put(writer, spool->plans[i].name, 0, data + place, spool->plans[i].bytes);
        place += spool->plans[i].bytes;
    }
    if (status == WN_OK)
        status = wn_safetensors_finish(&writer);
    else
        wn_safetensors_abandon(&writer);
    wn_free(sorted);
    return status;
}

wn_status wn_export_spool_write(const struct wn_export_spool *spool, int64_t first, int64_t end, const char *path)
{
    char *scratch = wn_join_path(spool->folder, spool->name);
    struct wn_mapped mapped;
    wn_status status = wn_map(scratch, &mapped);
    wn_free(scratch);
    if (status != WN_OK)
        return status;
    status = copy(spool, mapped.data, first, end, path);
    wn_unmap(&mapped);
    return status;
}

void wn_export_spool_drop(struct wn_export_spool *spool)
{
    char *path = spool->scratch >= 0 ? wn_join_path(spool->folder, spool->name) : NULL;
    if (!path)
        return;
    close(spool->scratch);
    spool->scratch = -1;
    unlink(path);
    wn_free(path);
}

void wn_export_spool_release(struct wn_export_spool *spool)
{
    for (int64_t i = 0; i < spool->n_plans; i++)
        wn_free((char *)(uintptr_t)spool->plans[i].name);
    if (spool->scratch >= 0)
        close(spool->scratch);
    wn_free(spool->plans);
}
