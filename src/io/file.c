/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files, paths, UTF-8. */
#include <winnow/io.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- opening ---- */

/* A wrong path or permission is the user's mistake; anything else is the environment. */
static wn_status fail_errno(const char *path, const char *what)
{
    int error = errno;
    bool users = error == ENOENT || error == EACCES || error == ENOTDIR || error == EISDIR || error == ENAMETOOLONG ||
                 error == ELOOP;

    return wn_fail(users ? WN_ERR_INPUT : WN_ERR_IO, "%s: %s: %s", path, what, strerror(error));
}

static struct wn_paths *watched;

void wn_paths_watch(struct wn_paths *paths)
{
    watched = paths;
}

static void note_path(const char *path)
{
    for (int64_t i = 0; i < watched->count; i++)
        if (!strcmp(watched->paths[i], path))
            return;
    watched->paths = wn_resize(watched->paths, watched->count + 1, sizeof *watched->paths);
    watched->paths[watched->count++] = wn_strdup(path);
}

void wn_paths_release(struct wn_paths *paths)
{
    for (int64_t i = 0; i < paths->count; i++)
        wn_free(paths->paths[i]);
    wn_free(paths->paths);
    *paths = (struct wn_paths){0};
}

/* A link whose end is missing says so: in a cache of models the names are links to files that may be gone. */
static wn_status fail_open(const char *path)
{
    int error = errno;
    char target[256];
    ssize_t length = error == ENOENT ? readlink(path, target, sizeof target) : -1;

    if (length >= 0)
        return wn_fail(WN_ERR_INPUT,
                       "%s: is a link to %.*s, which is not there: an unfinished download or a copy without its files?",
                       path, (int)length, target);
    errno = error;
    return fail_errno(path, "cannot be opened");
}

/* What git leaves in place of a large file that git-lfs has not fetched. */
static wn_status refuse_pointer(const char *path, int descriptor, const struct stat *about)
{
    static const char begins[] = "version https://git-lfs.github.com/spec/";
    enum { POINTER_LARGEST = 1024, LENGTH = sizeof begins - 1 };
    char text[LENGTH];

    if (about->st_size > POINTER_LARGEST || pread(descriptor, text, LENGTH, 0) != LENGTH ||
        memcmp(text, begins, LENGTH) != 0)
        return WN_OK;
    return wn_fail(WN_ERR_INPUT,
                   "%s: is a git-lfs pointer of %lld bytes, not the file itself: run \"git lfs pull\" in its folder, "
                   "or download the file",
                   path, (long long)about->st_size);
}

/*
 * Opens for reading, never waiting: opening a pipe that nobody writes to would. Anything but a regular file is refused,
 * as ranks and later starts read it again.
 */
static wn_status open_regular(const char *path, int *descriptor, struct stat *about)
{
    *descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*descriptor < 0)
        return fail_open(path);
    wn_status status = WN_OK;
    if (fstat(*descriptor, about) != 0)
        status = fail_errno(path, "cannot be examined");
    else if (S_ISDIR(about->st_mode))
        status = wn_fail(WN_ERR_INPUT, "%s: is a directory, no regular file", path);
    else if (S_ISFIFO(about->st_mode))
        status =
            wn_fail(WN_ERR_INPUT, "%s: is a pipe; expected a regular file, which can be read more than once", path);
    else if (!S_ISREG(about->st_mode))
        status = wn_fail(WN_ERR_INPUT, "%s: is no regular file", path);
    else
        status = refuse_pointer(path, *descriptor, about);
    if (status != WN_OK)
        close(*descriptor);
    else if (watched)
        note_path(path);
    return status;
}

/* ---- states of files ---- */

static struct wn_stamp stamp_of(const struct stat *about)
{
    return (struct wn_stamp){.device = about->st_dev,
                             .inode = about->st_ino,
                             .size = about->st_size,
                             .modified = about->st_mtim.tv_sec * INT64_C(1000000000) + about->st_mtim.tv_nsec,
                             .changed = about->st_ctim.tv_sec * INT64_C(1000000000) + about->st_ctim.tv_nsec};
}

wn_status wn_stamp_take(const char *path, struct wn_stamp *stamp)
{
    struct stat about;

    if (stat(path, &about) != 0)
        return fail_errno(path, "cannot be examined");
    *stamp = stamp_of(&about);
    return WN_OK;
}

bool wn_stamp_equal(const struct wn_stamp *a, const struct wn_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->modified == b->modified &&
           a->changed == b->changed;
}

/* ---- mapped files ---- */

/* What is mapped, for the handler of SIGBUS: it may neither wait nor allocate, so the names are copied here. */
enum { MOST_MAPS = 4096, NAME_BYTES = 512 };
static struct place {
    const uint8_t *volatile start;
    int64_t size;
    char path[NAME_BYTES];
} * places;
static int n_places;

static void remember(const char *path, const struct wn_mapped *mapped)
{
    int free_place = 0;

    if (!places)
        places = calloc(MOST_MAPS, sizeof *places); /* stays until the end: signals may come until then */
    while (free_place < n_places && places[free_place].start)
        free_place++;
    if (!places || free_place == MOST_MAPS)
        return;
    snprintf(places[free_place].path, NAME_BYTES, "%s", path);
    places[free_place].size = mapped->size;
    places[free_place].start = mapped->data;
    n_places = free_place == n_places ? n_places + 1 : n_places;
}

static void forget(const struct wn_mapped *mapped)
{
    for (int i = 0; i < n_places; i++)
        if (places[i].start == mapped->data)
            places[i].start = NULL;
}

static void put_line(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static void handle_fault(int signal, siginfo_t *info, void *context)
{
    const uint8_t *address = info->si_addr;

    (void)signal;
    (void)context;
    const char *path = "a mapped file";
    for (int i = 0; i < n_places; i++)
        if (places[i].start && address >= places[i].start && address < places[i].start + places[i].size)
            path = places[i].path;
    put_line("winnow: error: ");
    put_line(path);
    put_line(": cannot be read any more: it was cut while it was in use, or its disk failed\n");
    _exit(1);
}

void wn_catch_truncation(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle_fault;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

static const struct wn_mapped nothing_mapped = {.data = (const uint8_t *)"", .size = 0, .descriptor = -1};

wn_status wn_map(const char *path, struct wn_mapped *mapped)
{
    struct stat about = {0};
    int descriptor;

    *mapped = nothing_mapped;
    WN_TRY(open_regular(path, &descriptor, &about));
    if (about.st_size > 0) {
        void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
        if (data == MAP_FAILED) {
            wn_status status = fail_errno(path, "cannot be mapped");
            close(descriptor);
            return status;
        }
        mapped->data = data;
        mapped->size = about.st_size;
        remember(path, mapped);
    }
    mapped->descriptor = descriptor;
    mapped->stamp = stamp_of(&about);
    return WN_OK;
}

void wn_unmap(struct wn_mapped *mapped)
{
    if (mapped->size > 0) {
        forget(mapped);
        munmap((void *)(uintptr_t)mapped->data, (size_t)mapped->size);
    }
    if (mapped->descriptor >= 0)
        close(mapped->descriptor);
    *mapped = nothing_mapped;
}

static wn_status changed(const char *path, const char *how)
{
    return wn_fail(WN_ERR_CHANGED, "%s: was %s while it was in use", path, how);
}

wn_status wn_mapped_check(const char *path, struct wn_mapped *mapped, const char *hash)
{
    char now[WN_HASH_HEX];
    struct stat about;

    if (mapped->descriptor < 0)
        return WN_OK;
    if (fstat(mapped->descriptor, &about) != 0)
        return fail_errno(path, "cannot be examined");
    struct wn_stamp stamp = stamp_of(&about);
    if (wn_stamp_equal(&stamp, &mapped->stamp))
        return WN_OK;
    if (stamp.size != mapped->stamp.size)
        return changed(path, stamp.size < mapped->stamp.size ? "cut" : "lengthened");
    if (stamp.modified != mapped->stamp.modified)
        return changed(path, "written");
    if (hash) {
        wn_hash_buffer(mapped->data, (size_t)mapped->size, now);
        if (strcmp(now, hash))
            return changed(path, "written");
    }
    mapped->stamp = stamp;
    return WN_OK;
}

/* ---- writing ---- */

bool wn_write_at(int file, const void *data, int64_t bytes, int64_t place)
{
    const char *from = data;

    while (bytes > 0) {
        ssize_t written = pwrite(file, from, (size_t)bytes, (off_t)place);
        if (written < 0 && errno == EINTR)
            continue;
        if (written == 0)
            errno = ENOSPC;
        if (written <= 0)
            return false;
        from += written;
        place += written;
        bytes -= written;
    }
    return true;
}

void wn_sync_folder(const char *folder)
{
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (file < 0)
        return;
    fsync(file);
    close(file);
}

/* ---- whole files ---- */

/* read() until the end rather than by the size of the file, which may grow meanwhile. */
static wn_status read_descriptor(const char *path, int descriptor, struct wn_text *text)
{
    enum { CHUNK = 1 << 16 };
    char *chunk = wn_alloc(CHUNK, 1);
    wn_status status = WN_OK;
    ssize_t got;

    wn_text_append(text, "", 0);
    while ((got = read(descriptor, chunk, CHUNK)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = fail_errno(path, "cannot be read");
            break;
        }
        wn_text_append(text, chunk, (size_t)got);
    }
    wn_free(chunk);
    return status;
}

wn_status wn_read_text(const char *path, char **text, int64_t *length)
{
    struct wn_text all = {0};
    struct stat about;
    int descriptor;

    *text = NULL;
    *length = 0;
    WN_TRY(open_regular(path, &descriptor, &about));
    wn_status status = read_descriptor(path, descriptor, &all);
    close(descriptor);
    if (status != WN_OK) {
        wn_text_release(&all);
        return status;
    }
    *text = all.data;
    *length = (int64_t)all.length;
    return WN_OK;
}

/* ---- paths ---- */

bool wn_file_exists(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode);
}

char *wn_join_path(const char *directory, const char *name)
{
    size_t length = strlen(directory);

    if (name[0] == '/' || length == 0)
        return wn_strdup(name);
    return wn_format("%s%s%s", directory, directory[length - 1] == '/' ? "" : "/", name);
}

char *wn_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return wn_strdup(".");
    return wn_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* ---- UTF-8 ---- */

/* Bytes of the valid character at text[0..left), 0 when there is none (Unicode 15, table 3-7). */
static int utf8_character(const uint8_t *text, int64_t left)
{
    uint8_t lead = text[0], lowest = 0x80, highest = 0xBF;
    int more;

    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (lead == 0xE0)
        lowest = 0xA0; /* overlong */
    else if (lead == 0xED)
        highest = 0x9F; /* surrogates */
    else if (lead == 0xF0)
        lowest = 0x90; /* overlong */
    else if (lead == 0xF4)
        highest = 0x8F; /* above U+10FFFF */
    if (left <= more || text[1] < lowest || text[1] > highest)
        return 0;
    for (int i = 2; i <= more; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    return more + 1;
}

int64_t wn_utf8_invalid_at(const char *text, int64_t length)
{
    const uint8_t *bytes = (const uint8_t *)text;
    int64_t at = 0;

    while (at < length) {
        uint64_t eight;
        if (length - at >= 8 && (memcpy(&eight, bytes + at, 8), !(eight & UINT64_C(0x8080808080808080)))) {
            at += 8; /* eight ASCII characters at once */
            continue;
        }
        int step = utf8_character(bytes + at, length - at);
        if (step == 0)
            return at;
        at += step;
    }
    return -1;
}

int64_t wn_utf8_length(const char *text, int64_t length)
{
    int64_t count = 0;

    for (int64_t i = 0; i < length; i++)
        count += (text[i] & 0xC0) != 0x80;
    return count;
}
