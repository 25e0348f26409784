/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One running sweep per file: an advisory lock on <real path>.lock, and one on the file itself. The MPI-IO driver of
 * HDF5 takes no lock of its own and would let two sweeps write into one file. The lock by name also covers a file that
 * is still to be made; the lock of the file also holds where it has several names (links).
 */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <winnow/io.h>

#include "results_internal.h"

enum { TRIES = 30, PAUSE_US = 100000 };

static wn_status busy(const char *path)
{
    return wn_fail(WN_ERR_INPUT, "%s: a running sweep writes to it (%s.lock is held)", path, path);
}

static bool unsupported(int error)
{
    return error == ENOSYS || error == ENOLCK || error == EOPNOTSUPP || error == EINVAL;
}

/* The finishing run removes the lock file: what we locked must still be what the name stands for. */
static bool still_named(int file, const char *name)
{
    struct stat mine, named;

    return fstat(file, &mine) == 0 && stat(name, &named) == 0 && mine.st_dev == named.st_dev &&
           mine.st_ino == named.st_ino;
}

/* The lock's name, the same for every symbolic link to the file. Owned by the caller. */
static char *lock_name(const char *path)
{
    char *real = realpath(path, NULL), *folder = wn_directory_of(path), *name;
    const char *slash = strrchr(path, '/');

    if (real) {
        name = wn_format("%s.lock", real);
    } else { /* still to be made */
        real = realpath(folder, NULL);
        name = real ? wn_format("%s/%s.lock", real, slash ? slash + 1 : path) : wn_format("%s.lock", path);
    }
    free(real);
    wn_free(folder);
    return name;
}

/* One try. WN_OK with *lock -1: held by somebody. */
static wn_status try_lock(const char *path, const char *name, bool exclusive, int *lock)
{
    int file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

    *lock = -1;
    if (file < 0)
        return wn_fail(WN_ERR_INPUT, "%s: its lock file %s cannot be created: %s", path, name, strerror(errno));
    if (flock(file, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 && still_named(file, name)) {
        *lock = file;
        return WN_OK;
    }
    int error = errno;
    close(file);
    if (error != EWOULDBLOCK && unsupported(error))
        return wn_fail(WN_ERR_UNSUPPORTED, "%s: this file system has no locks", path);
    return WN_OK;
}

wn_status wn_lock_take_(const char *path, bool exclusive, int *lock)
{
    char *name = lock_name(path);
    wn_status status = WN_OK;

    *lock = -1;
    for (int i = 0; i < TRIES && *lock < 0 && status == WN_OK; i++) {
        if (i > 0)
            usleep(PAUSE_US);
        errno = EWOULDBLOCK;
        status = try_lock(path, name, exclusive, lock);
    }
    wn_free(name);
    if (status == WN_ERR_UNSUPPORTED) {
        if (exclusive)
            wn_log(WN_LOG_WARNING, "%s; make sure that no other sweep writes to this file", wn_error_message());
        return WN_OK;
    }
    return status == WN_OK && *lock < 0 ? busy(path) : status;
}

/* Not atomic: another run may slip in between, then it has the file and this run is the one that gives up. */
wn_status wn_lock_share_(const char *path, int lock)
{
    if (lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0)
        return busy(path);
    return WN_OK;
}

void wn_lock_release_(const char *path, int *lock, bool remove)
{
    if (*lock < 0)
        return;
    if (remove && flock(*lock, LOCK_EX | LOCK_NB) == 0) {
        char *name = lock_name(path);
        unlink(name);
        wn_free(name);
    }
    close(*lock);
    *lock = -1;
}

/* ---- the file itself ---- */

/* Far behind all data; open file descriptions own such a lock, so that HDF5 may open and close the file meanwhile. */
static struct flock far_byte(short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)1 << 62, .l_len = 1};
}

/* MPI-IO locks whole files on NFS, with no end: a lock of ours would keep it waiting for ever. */
static bool is_nfs(int file)
{
    enum { NFS_MAGIC = 0x6969 };
    struct statfs about;

    return fstatfs(file, &about) == 0 && about.f_type == NFS_MAGIC;
}

wn_status wn_lock_file_(const char *path, int file, bool exclusive)
{
    struct flock lock = far_byte(exclusive ? F_WRLCK : F_RDLCK);

    if (is_nfs(file))
        return WN_OK;
    for (int i = 0; i < TRIES; i++) {
        if (i > 0)
            usleep(PAUSE_US);
        if (fcntl(file, F_OFD_SETLK, &lock) == 0 || unsupported(errno))
            return WN_OK;
    }
    return wn_fail(WN_ERR_INPUT, "%s: a running sweep writes to this file, maybe under another name", path);
}

wn_status wn_results_still_there_(const char *path, int file)
{
    struct stat mine, named;

    if (fstat(file, &mine) != 0)
        return wn_fail(WN_ERR_IO, "%s: cannot be examined: %s", path, strerror(errno));
    if (mine.st_nlink == 0)
        return wn_fail(WN_ERR_IO, "%s: was removed while the run writes to it: what was computed is gone with it",
                       path);
    if (stat(path, &named) != 0)
        return wn_fail(WN_ERR_IO, "%s: is no longer there; the run was writing to it: %s", path, strerror(errno));
    if (mine.st_dev != named.st_dev || mine.st_ino != named.st_ino)
        return wn_fail(WN_ERR_IO, "%s: was replaced by another file while the run writes to it", path);
    return WN_OK;
}
