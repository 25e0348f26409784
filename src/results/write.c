/* SPDX-License-Identifier: Apache-2.0 */
/* Committing a point: its slabs, then the disk, then the checksum, then the state. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <winnow/io.h>

#include "open.h"

static wn_status put(struct wn_results *r, hid_t dataset, hid_t type, int64_t point, int64_t elements, const void *data,
                     const char *what)
{
    struct wn_h5 h5 = {.file = r->file};

    if (wn_h5_check_(&h5, wn_h5_point_io_(dataset, type, point, elements, (void *)data, true), what) < 0)
        return wn_fail(WN_ERR_IO, "%s: point %lld cannot be written: %s", r->path, (long long)point, h5.reason);
    return WN_OK;
}

static wn_status put_state(struct wn_results *r, int64_t point, enum wn_point_status status)
{
    uint8_t value = (uint8_t)status;

    WN_TRY(put(r, r->status, H5T_STD_U8LE, point, 1, &value, WN_STATUS_PATH));
    r->status_values[point] = value;
    return WN_OK;
}

static int64_t elements_of(const struct wn_field *field)
{
    return field->type == WN_FIELD_TEXT ? field->bytes : field->elements;
}

static wn_status put_fields(struct wn_results *r, int64_t point, const struct wn_record *record)
{
    for (int f = 0; f < r->n_fields; f++)
        WN_TRY(
            put(r, r->datasets[f], r->types[f], point, elements_of(&r->fields[f]), record->data[f], r->fields[f].path));
    return WN_OK;
}

static uint64_t record_checksum(const struct wn_results *r, const struct wn_record *record)
{
    struct wn_hash *hash = wn_hash_create();

    for (int f = 0; f < r->n_fields; f++)
        if (r->fields[f].result)
            wn_hash_update(hash, record->data[f], (size_t)r->fields[f].bytes);
    return wn_hash_u64_(hash);
}

static wn_status to_disk(const struct wn_results *r)
{
    if (fdatasync(r->descriptor) != 0)
        return wn_fail(WN_ERR_IO, "%s: cannot be written to the disk: %s", r->path, strerror(errno));
    return WN_OK;
}

static wn_status put_number(struct wn_results *r, hid_t dataset, int64_t point, int32_t value, const char *path)
{
    return put(r, dataset, H5T_STD_I32LE, point, 1, &value, path);
}

static void check_number(const struct wn_results *results, int64_t point)
{
    if (point < 0 || point >= results->points)
        WN_BUG("point %lld of %lld is written", (long long)point, (long long)results->points);
}

/*
 * A point that was written before is opened first, on the disk too: else half of the new data could pass for the old.
 */
wn_status wn_results_begin(struct wn_results *results, int64_t point)
{
    check_number(results, point);
    WN_TRY(wn_results_still_there_(results->path, results->descriptor));
    bool finished = results->status_values[point] != WN_POINT_OPEN;
    int32_t attempt = finished ? 1 : results->attempt_values[point] + 1;
    if (finished)
        WN_TRY(put_state(results, point, WN_POINT_OPEN));
    WN_TRY(put_number(results, results->attempt, point, attempt, WN_ATTEMPT_PATH));
    WN_TRY(put_number(results, results->started, point, results->start, WN_START_PATH));
    results->attempt_values[point] = attempt;
    results->start_values[point] = results->start;
    return to_disk(results);
}

wn_status wn_results_uncount(struct wn_results *results, int64_t point)
{
    int32_t attempt = results->attempt_values[point] - 1;

    check_number(results, point);
    if (attempt < 0)
        WN_BUG("point %lld, not begun, is uncounted", (long long)point);
    WN_TRY(put_number(results, results->attempt, point, attempt, WN_ATTEMPT_PATH));
    results->attempt_values[point] = attempt;
    return to_disk(results);
}

/*
 * Measured: a contiguous H5Dwrite is one pwrite, in program order, and what pwrite took survives
 * the process. So a kill at any place leaves the point open, or finished with its data.
 */
wn_status wn_results_write(struct wn_results *results, int64_t point, const struct wn_record *record,
                           enum wn_point_status status)
{
    uint64_t checksum = record_checksum(results, record);

    check_number(results, point);
    if (status == WN_POINT_OPEN || record->schema->n_fields != results->n_fields ||
        results->status_values[point] != WN_POINT_OPEN)
        WN_BUG("point %lld, not begun, is written with state %d and %d of %d fields", (long long)point, (int)status,
               record->schema->n_fields, results->n_fields);
    WN_TRY(wn_results_still_there_(results->path, results->descriptor));
    if (results->attempt_values[point] == 0) { /* it was uncounted, and then not interrupted after all */
        WN_TRY(put_number(results, results->attempt, point, 1, WN_ATTEMPT_PATH));
        results->attempt_values[point] = 1;
    }
    WN_TRY(put_fields(results, point, record));
    WN_TRY(to_disk(results));
    WN_TRY(put(results, results->checksum, H5T_STD_U64LE, point, 1, &checksum, WN_CHECKSUM_PATH));
    return put_state(results, point, status);
}
