/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 0: lays out a new file under a temporary name, or compares an existing one with the plan. */
#define _GNU_SOURCE /* fallocate */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <winnow/io.h>

#include "fill.h"

/* ---- a new file ---- */

char *wn_temporary_path_(const char *path)
{
    return wn_format("%s.creating", path);
}

/*
 * Asks the file system for all blocks at once: a full disk, a quota or a limit shows before anything is written. File
 * systems that cannot do it are left to find out while the file is filled.
 */
static wn_status reserve(const char *path, int file, int64_t bytes)
{
    if (bytes > 0 && fallocate(file, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS &&
        errno != EINTR)
        return wn_fail(WN_ERR_IO, "%s: no room for about %lld bytes: %s", path, (long long)bytes, strerror(errno));
    return WN_OK;
}

/* The blocks are given back, since HDF5 makes an empty file of it. */
static wn_status try_room(const char *path, int file, int64_t bytes)
{
    WN_TRY(reserve(path, file, bytes));
    if (ftruncate(file, 0) != 0)
        return wn_fail(WN_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    return WN_OK;
}

static wn_status lay_out(const char *path, const char *temporary, int file, const struct wn_results_plan *plan,
                         struct wn_fill *fill)
{
    struct wn_h5 h5 = {.file = -1};
    struct stat info;

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t access = wn_h5_serial_access_();
    h5.file = wn_h5_check_(&h5, H5Fcreate(temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access), NULL);
    H5Pclose(access);
    if (h5.file >= 0)
        wn_layout_(&h5, plan, fill);
    /* On a full disk closing would fail too and leave HDF5 with a file it never gets rid of: make room first. */
    if (!wn_h5_ok_(&h5) && ftruncate(file, 0) != 0)
        wn_log(WN_LOG_DEBUG, "%s: %s", temporary, strerror(errno));
    wn_h5_close_(&h5);
    if (!wn_h5_ok_(&h5))
        return wn_fail(WN_ERR_IO, "%s: cannot be written: %s", path, h5.reason);
    if (fstat(file, &info) == 0)
        WN_TRY(reserve(path, file, (int64_t)info.st_size));
    if (fsync(file) != 0)
        return wn_fail(WN_ERR_IO, "%s: cannot be written to the disk: %s", path, strerror(errno));
    return WN_OK;
}

/* The lock makes the temporary name ours: what lies there is left from a creation that was killed. */
wn_status wn_results_create_(const char *path, const struct wn_results_plan *plan, struct wn_fill *fill)
{
    char *temporary = wn_temporary_path_(path);
    wn_status status;

    unlink(temporary);
    int file = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) {
        status = wn_fail(WN_ERR_INPUT, "%s: cannot be created: %s", path, strerror(errno));
        wn_free(temporary);
        return status;
    }
    status = try_room(path, file, wn_results_predict_bytes(plan));
    if (status == WN_OK)
        status = lay_out(path, temporary, file, plan, fill);
    if (status != WN_OK) {
        unlink(temporary);
        wn_fill_release_(fill);
    }
    close(file);
    wn_free(temporary);
    return status;
}

wn_status wn_results_put_in_place_(const char *path, wn_status status)
{
    char *temporary = wn_temporary_path_(path);

    if (status == WN_OK && rename(temporary, path) != 0)
        status = wn_fail(WN_ERR_IO, "%s: the finished %s cannot be renamed: %s", path, temporary, strerror(errno));
    if (status == WN_OK) {
        char *folder = wn_directory_of(path);
        wn_sync_folder(folder);
        wn_free(folder);
    } else
        unlink(temporary);
    wn_free(temporary);
    return status;
}

/* ---- an existing file ---- */

/* Copies the line at `text`, without its end, cut to fit. */
static void copy_line(char *line, size_t size, const char *text)
{
    int length = (int)strcspn(text, "\n");

    if (*text)
        snprintf(line, size, "\"%.*s\"", length, text);
    else
        snprintf(line, size, "missing");
}

static wn_status compare_lines(const char *path, const char *what, const char *there, const char *here)
{
    char there_line[400], here_line[400];
    int64_t line = 1, i = 0, start = 0;

    for (; there[i] && there[i] == here[i]; i++)
        if (there[i] == '\n') {
            line++;
            start = i + 1;
        }
    if (there[i] == here[i])
        return WN_OK;
    copy_line(there_line, sizeof there_line, there + start);
    copy_line(here_line, sizeof here_line, here + start);
    return wn_fail(WN_ERR_INPUT, "%s: holds another sweep: line %lld of its %s is %s, here it is %s", path,
                   (long long)line, what, there_line, here_line);
}

static wn_status compare(struct wn_h5 *h5, const char *path, const struct wn_results_plan *plan)
{
    char *identity = wn_h5_get_document_(h5, "identity"), *fields = wn_h5_get_document_(h5, "fields");
    char *expected = wn_fields_document_(plan);
    int64_t points;
    wn_status status;

    wn_fields_check_(h5, fields, &points);
    if (!wn_h5_ok_(h5))
        status = wn_fail(WN_ERR_INPUT, "%s: %s", path, h5->reason);
    else
        status = compare_lines(path, "identity", identity, plan->identity);
    if (status == WN_OK)
        status = compare_lines(path, "list of fields", fields, expected);
    wn_free(expected);
    wn_free(fields);
    wn_free(identity);
    return status;
}

static wn_status check_is_results(struct wn_h5 *h5, const char *path)
{
    int32_t version = 0;

    wn_h5_guard_begin_(path);
    bool ours = H5Lexists(h5->file, "identity", H5P_DEFAULT) > 0;
    wn_h5_guard_end_();
    if (!ours || !wn_h5_get_value_(h5, h5->file, "/", "schema_version", H5T_STD_I32LE, &version))
        return wn_fail(WN_ERR_INPUT, "%s: is an HDF5 file, but not a results file of winnow", path);
    if (version != WN_SCHEMA_VERSION)
        return wn_fail(WN_ERR_INPUT, "%s: has the layout version %d, this winnow works with version %d", path, version,
                       WN_SCHEMA_VERSION);
    return WN_OK;
}

wn_status wn_results_open_serial_(const char *path, int access_mode, struct wn_h5 *h5)
{
    struct stat info;

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    *h5 = (struct wn_h5){.file = -1};
    if (stat(path, &info) != 0 || access(path, access_mode) != 0)
        return wn_fail(WN_ERR_INPUT, "%s: cannot be opened%s: %s", path, access_mode & W_OK ? " for writing" : "",
                       strerror(errno));
    if (!S_ISREG(info.st_mode))
        return wn_fail(WN_ERR_INPUT, "%s: is not a regular file", path);
    wn_h5_open_(h5, path, H5F_ACC_RDONLY);
    if (h5->file < 0 && H5Fis_hdf5(path) == 0)
        return wn_fail(WN_ERR_INPUT, "%s: exists, but is not an HDF5 file", path);
    if (h5->file < 0)
        return wn_fail(WN_ERR_INPUT, "%s: cannot be opened: %s", path, h5->reason);
    wn_status status = check_is_results(h5, path);
    if (status != WN_OK)
        wn_h5_close_(h5);
    return status;
}

wn_status wn_results_inspect_(const char *path, const struct wn_results_plan *plan)
{
    struct wn_h5 h5;

    WN_TRY(wn_results_open_serial_(path, R_OK | W_OK, &h5));
    wn_status status = compare(&h5, path, plan);
    wn_h5_close_(&h5);
    return status;
}
