/*
 * One running sweep per file: an advisory lock on <path>.lock. The MPI-IO driver of HDF5 takes no lock of its own and
 * would let two sweeps write into one file.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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
    char *name = wn_format("%s.lock", path);
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
        char *name = wn_format("%s.lock", path);
        unlink(name);
        wn_free(name);
    }
    close(*lock);
    *lock = -1;
}
