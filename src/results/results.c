/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the results file: locks, layout or comparison on rank 0, then all ranks through MPI-IO. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <winnow/io.h>

#include "../par/par_internal.h"
#include "fill.h"
#include "open.h"

/* ---- parts of opening ---- */

/* How a file is to be opened. */
struct how {
    bool fresh;
    wn_results_chooser *choose; /* NULL: nobody chooses */
    void *context;
};

/* A file in the making. */
struct making {
    struct wn_fill fill;
    struct wn_take_over take;
    bool created;
    int replaced;      /* the locked file that the new one replaces; -1: none */
    char target[4096]; /* the name it gets: that of an existing file without symbolic links */
};

/* Rank 0: looks at the file that is there. What lies beside it is left from a growth that was killed: the lock makes it
 * ours. */
static wn_status inspect(const char *path, const struct wn_results_plan *plan, const char *hint)
{
    char *temporary = wn_temporary_path_(path);

    unlink(temporary);
    wn_free(temporary);
    wn_status status = wn_results_inspect_(path, plan);
    return status == WN_ERR_INPUT && hint ? wn_fail(status, "%s; %s", wn_error_message(), hint) : status;
}

/* Rank 0: nobody may write to the old file, whatever its name, until the new one has replaced it. */
static wn_status lock_replaced(const char *path, struct making *making)
{
    char *real = realpath(path, NULL);

    if (real && strlen(real) < sizeof making->target)
        strcpy(making->target, real);
    free(real);
    making->replaced = open(making->target, O_RDWR | O_CLOEXEC);
    if (making->replaced < 0)
        return wn_fail(WN_ERR_INPUT, "%s: cannot be opened for writing: %s", path, strerror(errno));
    return wn_lock_file_(path, making->replaced, true);
}

/* Rank 0: the exclusive lock, then a new file, still to be filled, or a look at the old one. */
static wn_status prepare(const char *path, const struct wn_results_plan *plan, const struct how *how, int *lock,
                         struct making *making)
{
    WN_TRY(wn_lock_take_(path, true, lock));
    bool exists = access(path, F_OK) == 0;
    if (exists && how->fresh)
        return wn_fail(WN_ERR_INPUT, "%s: exists already, and a new file was asked for", path);
    if (how->choose)
        WN_TRY(how->choose(how->context, exists ? path : NULL, &making->take));
    if (exists && !making->take.replace)
        return inspect(path, plan, making->take.hint);
    if (exists)
        WN_TRY(lock_replaced(path, making));
    WN_TRY(wn_results_create_(making->target, plan, &making->fill));
    making->created = true;
    return WN_OK;
}

/* Collective: the file is there and finished when all ranks get WN_OK. */
static wn_status make_or_inspect(struct wn_par *par, const char *path, const struct wn_results_plan *plan,
                                 const struct how *how, int *lock)
{
    struct making making = {.replaced = -1};

    snprintf(making.target, sizeof making.target, "%s", path);
    wn_status status = par->rank == 0 ? prepare(path, plan, how, lock, &making) : WN_OK;
    status = wn_par_agree(par, status);
    wn_par_broadcast(par, making.target, sizeof making.target, 0);
    wn_par_broadcast(par, &making.created, sizeof making.created, 0);
    if (status == WN_OK)
        status = wn_fill_(par, making.target, &making.fill);
    if (status == WN_OK && making.created)
        status = wn_take_over_(par, making.target, plan, &making.take);
    wn_fill_release_(&making.fill);
    if (par->rank == 0 && making.created)
        status = wn_results_put_in_place_(making.target, status);
    if (making.replaced >= 0)
        close(making.replaced);
    wn_take_over_release(&making.take);
    return wn_par_agree(par, status);
}

static wn_status open_descriptor(struct wn_results *r)
{
    r->descriptor = open(r->path, O_RDWR | O_CLOEXEC);
    if (r->descriptor < 0)
        return wn_fail(WN_ERR_IO, "%s: cannot be opened: %s", r->path, strerror(errno));
    return WN_OK;
}

/* Rank 0: nobody else writes to the file; from now on both locks are shared. */
static wn_status share_first(struct wn_results *r)
{
    WN_TRY(wn_lock_file_(r->path, r->descriptor, true));
    WN_TRY(wn_lock_file_(r->path, r->descriptor, false));
    return wn_lock_share_(r->path, r->lock);
}

/* All ranks hold the shared locks before any of them writes. */
static wn_status share_locks(struct wn_results *r)
{
    struct wn_par *par = r->par;

    WN_TRY(wn_par_agree(par, open_descriptor(r)));
    wn_status status = par->rank == 0 ? share_first(r) : WN_OK;
    WN_TRY(wn_par_agree(par, status));
    if (par->rank != 0) {
        status = wn_lock_take_(r->path, false, &r->lock);
        if (status == WN_OK)
            status = wn_lock_file_(r->path, r->descriptor, false);
    }
    return wn_par_agree(par, status);
}

static hid_t parallel_access(struct wn_par *par)
{
    hid_t access;

    if (!par->mpi)
        return wn_h5_serial_access_();
    access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_mpio(access, par->world, MPI_INFO_NULL);
    return access;
}

/* The logs of a file whose list of fields is that of the plan. */
static void open_logs(struct wn_results *r, struct wn_h5 *h5, const char *document)
{
    const char *at = strchr(document, '\n') + 1;

    for (int l = 0; l < r->n_logs; l++)
        if (!wn_log_file_next_(h5, &at, &r->logs[l]))
            return;
}

static void open_datasets(struct wn_results *r, struct wn_h5 *h5, const char *document)
{
    for (int f = 0; f < r->n_fields; f++) {
        r->types[f] = wn_field_type_(r->fields[f].type);
        r->datasets[f] = wn_h5_check_(h5, H5Dopen2(h5->file, r->fields[f].path, H5P_DEFAULT), r->fields[f].path);
    }
    r->status = wn_h5_check_(h5, H5Dopen2(h5->file, WN_STATUS_PATH, H5P_DEFAULT), WN_STATUS_PATH);
    r->checksum = wn_h5_check_(h5, H5Dopen2(h5->file, WN_CHECKSUM_PATH, H5P_DEFAULT), WN_CHECKSUM_PATH);
    r->attempt = wn_h5_check_(h5, H5Dopen2(h5->file, WN_ATTEMPT_PATH, H5P_DEFAULT), WN_ATTEMPT_PATH);
    r->started = wn_h5_check_(h5, H5Dopen2(h5->file, WN_START_PATH, H5P_DEFAULT), WN_START_PATH);
    wn_starts_open_(r, h5);
    open_logs(r, h5, document);
    if (!wn_h5_ok_(h5))
        return;
    wn_h5_check_(h5, H5Dread(r->status, H5T_STD_U8LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, r->status_values), WN_STATUS_PATH);
    wn_h5_check_(h5, H5Dread(r->attempt, H5T_STD_I32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, r->attempt_values),
                 WN_ATTEMPT_PATH);
    wn_h5_check_(h5, H5Dread(r->started, H5T_STD_I32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, r->start_values), WN_START_PATH);
}

enum { LONG_PATH = 200 };

static void make_link(struct wn_results *r, const char *place, const char *real)
{
    char *own = wn_format("%s/winnow-XXXXXX", place), *link = NULL;

    if (strlen(own) < LONG_PATH - sizeof "/results.h5" && mkdtemp(own)) {
        link = wn_format("%s/results.h5", own);
        if (symlink(real, link) == 0) {
            r->short_folder = own;
            r->short_link = link;
            return;
        }
        wn_log(WN_LOG_DEBUG, "%s: %s", link, strerror(errno));
        rmdir(own);
    }
    wn_free(link);
    wn_free(own);
}

/*
 * Open MPI ends the program when a path has 246 characters or more: a long one is opened through a link among the
 * temporary files, where that path is not long, too.
 */
static const char *short_name(struct wn_results *r)
{
    const char *const places[] = {wn_par_shared_folder(NULL), P_tmpdir};
    char *real = strlen(r->path) >= LONG_PATH ? realpath(r->path, NULL) : NULL;

    for (int i = 0; real && !r->short_link && i < 2; i++)
        make_link(r, places[i], real);
    free(real);
    return r->short_link ? r->short_link : r->path;
}

static void release_short_name(struct wn_results *r)
{
    if (r->short_link) {
        unlink(r->short_link);
        rmdir(r->short_folder);
    }
    wn_free(r->short_link);
    wn_free(r->short_folder);
}

/* Collective through H5Fopen; what fails on one rank alone is left to the agreement that follows. */
static wn_status open_file(struct wn_results *r, const char *document)
{
    struct wn_h5 h5 = {.file = -1};

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t access = parallel_access(r->par);
    h5.file = r->file = wn_h5_check_(&h5, H5Fopen(short_name(r), H5F_ACC_RDWR, access), NULL);
    H5Pclose(access);
    if (r->file >= 0)
        open_datasets(r, &h5, document);
    if (!wn_h5_ok_(&h5))
        return wn_fail(WN_ERR_IO, "%s: cannot be opened: %s", r->path, h5.reason);
    return WN_OK;
}

/* ---- checksums of what is there ---- */

static wn_status reopen_point(struct wn_results *r, int64_t point, const char *why)
{
    wn_log(WN_LOG_WARNING, "%s: point %lld %s and will be computed again", r->path, (long long)point, why);
    r->status_values[point] = WN_POINT_OPEN;
    if (wn_h5_point_io_(r->status, H5T_STD_U8LE, point, 1, &r->status_values[point], true) < 0)
        return wn_fail(WN_ERR_IO, "%s: the state of point %lld cannot be written", r->path, (long long)point);
    return WN_OK;
}

static wn_status check_point(struct wn_results *r, struct wn_point_hasher *hasher, int64_t point)
{
    uint64_t stored = 0, computed = 0;

    if (r->status_values[point] > WN_POINT_FAILED)
        return reopen_point(r, point, "has a state that no version writes");
    if (wn_hasher_point_(hasher, point, &computed, NULL) < 0 ||
        wn_h5_point_io_(r->checksum, H5T_STD_U64LE, point, 1, &stored, false) < 0)
        return wn_fail(WN_ERR_IO, "%s: point %lld cannot be read", r->path, (long long)point);
    if (computed == stored)
        return WN_OK;
    return reopen_point(r, point, "does not match its checksum");
}

/*
 * After a power failure a state may have reached the disk before its data. Every rank checks its share of the written
 * points; a point that does not match is open again.
 */
static wn_status check_written(struct wn_results *r, const char *document)
{
    struct wn_h5 h5 = {.file = r->file};
    struct wn_point_hasher hasher;
    wn_status status = WN_OK;

    wn_hasher_open_(&h5, document, &hasher);
    if (!wn_h5_ok_(&h5))
        status = wn_fail(WN_ERR_IO, "%s: cannot be read: %s", r->path, h5.reason);
    for (int64_t p = r->par->rank; p < r->points && status == WN_OK; p += r->par->size)
        if (r->status_values[p] != WN_POINT_OPEN)
            status = check_point(r, &hasher, p);
    wn_hasher_close_(&hasher);
    return status;
}

/* OPEN is the least state, so the minimum tells everybody what one rank has reopened. */
static void share_states(struct wn_results *r)
{
    MPI_Request request;

    if (!r->par->mpi)
        return;
    for (int64_t first = 0; first < r->points; first += 1 << 30) {
        int64_t left = r->points - first, count = left < (1 << 30) ? left : 1 << 30;
        MPI_Iallreduce(MPI_IN_PLACE, r->status_values + first, (int)count, MPI_UINT8_T, MPI_MIN, r->par->world,
                       &request);
        wn_par_wait_(&request);
    }
}

/* ---- the object ---- */

static struct wn_results *create_object(struct wn_par *par, const char *path, const struct wn_results_plan *plan)
{
    struct wn_results *r = wn_alloc_zero(1, sizeof *r);

    r->par = par;
    r->path = wn_strdup(path);
    r->points = plan->points->rows;
    r->n_fields = plan->schema->n_fields;
    r->fields = wn_alloc(r->n_fields, sizeof *r->fields);
    if (r->n_fields > 0)
        memcpy(r->fields, plan->schema->fields, (size_t)r->n_fields * sizeof *r->fields);
    r->datasets = wn_alloc(r->n_fields, sizeof *r->datasets);
    r->types = wn_alloc(r->n_fields, sizeof *r->types);
    for (int f = 0; f < r->n_fields; f++)
        r->datasets[f] = r->types[f] = -1;
    r->file = r->status = r->checksum = r->attempt = r->started = -1;
    for (int c = 0; c < WN_MOST_START_COLUMNS; c++)
        r->starts[c] = -1;
    r->start = -1;
    r->n_logs = plan->n_logs;
    r->logs = wn_alloc_zero(r->n_logs, sizeof *r->logs);
    r->descriptor = r->lock = -1;
    r->status_values = wn_alloc_zero(r->points, sizeof *r->status_values);
    r->attempt_values = wn_alloc_zero(r->points, sizeof *r->attempt_values);
    r->start_values = wn_alloc_zero(r->points, sizeof *r->start_values);
    return r;
}

static void close_id(hid_t id, herr_t (*close_it)(hid_t))
{
    if (id >= 0)
        close_it(id);
}

static wn_status close_file(struct wn_results *r)
{
    wn_status status = WN_OK;

    for (int f = 0; f < r->n_fields; f++) {
        close_id(r->datasets[f], H5Dclose);
        close_id(r->types[f], H5Tclose);
    }
    close_id(r->status, H5Dclose);
    close_id(r->checksum, H5Dclose);
    close_id(r->attempt, H5Dclose);
    close_id(r->started, H5Dclose);
    for (int c = 0; c < WN_MOST_START_COLUMNS; c++)
        close_id(r->starts[c], H5Dclose);
    for (int l = 0; l < r->n_logs; l++)
        wn_log_file_close_(&r->logs[l]);
    if (r->file >= 0 && H5Fclose(r->file) < 0)
        status = wn_fail(WN_ERR_IO, "%s: cannot be closed", r->path);
    if (r->descriptor >= 0 && fsync(r->descriptor) != 0)
        status = wn_fail(WN_ERR_IO, "%s: cannot be written to the disk: %s", r->path, strerror(errno));
    if (r->descriptor >= 0)
        close(r->descriptor);
    return status;
}

/* Collective: the other ranks let go first, so that rank 0 can remove the lock file. */
static void destroy_object(struct wn_results *r)
{
    if (r->par->rank != 0)
        wn_lock_release_(r->path, &r->lock, false);
    wn_par_barrier(r->par);
    wn_lock_release_(r->path, &r->lock, true);
    release_short_name(r);
    wn_free(r->logs);
    wn_free(r->path);
    wn_free(r->fields);
    wn_free(r->datasets);
    wn_free(r->types);
    wn_free(r->status_values);
    wn_free(r->attempt_values);
    wn_free(r->start_values);
    wn_free(r);
}

static wn_status open_results(struct wn_par *par, const char *path, const struct wn_results_plan *plan,
                              const struct how *how, struct wn_results **results)
{
    struct wn_results *r = create_object(par, path, plan);
    char *document = wn_fields_document_(plan);
    wn_status status = make_or_inspect(par, path, plan, how, &r->lock);

    *results = NULL;
    if (status == WN_OK)
        status = share_locks(r);
    if (status == WN_OK)
        status = wn_par_agree(par, open_file(r, document));
    if (status == WN_OK) {
        status = wn_par_agree(par, check_written(r, document));
        share_states(r);
    }
    wn_free(document);
    if (status == WN_OK) {
        *results = r;
        return WN_OK;
    }
    char *message = wn_strdup(wn_error_message());
    close_file(r);
    destroy_object(r);
    wn_fail(status, "%s", message);
    wn_free(message);
    return status;
}

wn_status wn_results_open(struct wn_par *par, const char *path, const struct wn_results_plan *plan, bool fresh,
                          struct wn_results **results)
{
    return open_results(par, path, plan, &(struct how){.fresh = fresh}, results);
}

wn_status wn_results_open_with(struct wn_par *par, const char *path, const struct wn_results_plan *plan,
                               wn_results_chooser *choose, void *context, struct wn_results **results)
{
    return open_results(par, path, plan, &(struct how){.choose = choose, .context = context}, results);
}

wn_status wn_results_close(struct wn_results **results)
{
    struct wn_results *r = *results;

    if (!r)
        return WN_OK;
    *results = NULL;
    wn_par_barrier(r->par); /* sleeping; closing a file in MPI-IO spins until the last rank has come */
    struct wn_par *par = r->par;
    wn_status status = wn_par_agree(par, close_file(r));
    destroy_object(r);
    return status;
}

int32_t wn_results_this_start(const struct wn_results *results)
{
    return results->start;
}

const uint8_t *wn_results_status(const struct wn_results *results)
{
    return results->status_values;
}

const int32_t *wn_results_attempts(const struct wn_results *results)
{
    return results->attempt_values;
}
