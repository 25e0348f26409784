/* SPDX-License-Identifier: Apache-2.0 */
/* parts.c: rows that were taken over without all of their parts: which they have, and reading a row back. */
#include <string.h>

#include <winnow/io.h>

#include "../par/par_internal.h"
#include "open.h"

static int64_t elements_of(const struct wn_field *field)
{
    return field->type == WN_FIELD_TEXT ? field->bytes : field->elements;
}

wn_status wn_results_read_row(struct wn_results *results, int64_t point, struct wn_record *record)
{
    if (record->schema->n_fields != results->n_fields)
        WN_BUG("a row of %d fields is read into %d", results->n_fields, record->schema->n_fields);
    for (int f = 0; f < results->n_fields; f++)
        if (wn_h5_point_io_(results->datasets[f], results->types[f], point, elements_of(&results->fields[f]),
                            record->data[f], false) < 0)
            return wn_fail(WN_ERR_IO, "%s: point %lld cannot be read", results->path, (long long)point);
    return WN_OK;
}

/* Result fields beside the checksum; `buffer` holds the largest field. */
static wn_status matches(struct wn_results *r, int64_t point, uint8_t *buffer, bool *good)
{
    struct wn_hash *hash = wn_hash_create();
    uint64_t stored = 0;
    herr_t read = wn_h5_point_io_(r->checksum, H5T_STD_U64LE, point, 1, &stored, false);

    for (int f = 0; f < r->n_fields && read >= 0; f++) {
        if (!r->fields[f].result)
            continue;
        read = wn_h5_point_io_(r->datasets[f], r->types[f], point, elements_of(&r->fields[f]), buffer, false);
        wn_hash_update(hash, buffer, (size_t)r->fields[f].bytes);
    }
    *good = wn_hash_u64_(hash) == stored;
    return read >= 0 ? WN_OK : wn_fail(WN_ERR_IO, "%s: point %lld cannot be read", r->path, (long long)point);
}

static wn_status look_at(struct wn_results *r, int marks, int64_t point, uint8_t *buffer, int32_t *values, bool *there)
{
    int64_t n = r->fields[marks].elements;
    bool any = false, good = false;

    if (wn_h5_point_io_(r->datasets[marks], r->types[marks], point, n, values, false) < 0)
        return wn_fail(WN_ERR_IO, "%s: point %lld cannot be read", r->path, (long long)point);
    for (int64_t i = 0; i < n; i++)
        any = any || values[i] >= 0;
    if (any)
        WN_TRY(matches(r, point, buffer, &good));
    for (int64_t i = 0; i < n; i++)
        there[point * n + i] = good && values[i] >= 0;
    return WN_OK;
}

/* Each rank has looked at its share; true anywhere is true. Collective. */
static void share(struct wn_results *r, bool *there, int64_t count)
{
    MPI_Request request;

    if (!r->par->mpi)
        return;
    for (int64_t first = 0; first < count; first += 1 << 30) {
        int64_t left = count - first;
        MPI_Iallreduce(MPI_IN_PLACE, there + first, (int)(left < (1 << 30) ? left : 1 << 30), MPI_UINT8_T, MPI_MAX,
                       r->par->world, &request);
        wn_par_wait_(&request);
    }
}

_Static_assert(sizeof(bool) == 1, "truth values travel as bytes");

wn_status wn_results_parts(struct wn_results *results, int marks, bool *there)
{
    struct wn_results *r = results;
    int64_t n = r->fields[marks].elements, most = 0;
    wn_status status = WN_OK;

    for (int f = 0; f < r->n_fields; f++)
        most = r->fields[f].bytes > most ? r->fields[f].bytes : most;
    uint8_t *buffer = wn_alloc(most, 1);
    int32_t *values = wn_alloc(n, sizeof *values);
    if (r->points * n > 0)
        memset(there, 0, (size_t)(r->points * n));
    for (int64_t p = r->par->rank; p < r->points && status == WN_OK; p += r->par->size)
        if (r->status_values[p] != WN_POINT_DONE)
            status = look_at(r, marks, p, buffer, values, there);
    wn_free(buffer);
    wn_free(values);
    WN_TRY(wn_par_agree(r->par, status));
    share(r, there, r->points * n);
    return WN_OK;
}
