/* Whole files, paths, UTF-8. */
#include <winnow/io.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- whole files ---- */

/* A wrong path or permission is the user's mistake; anything else is the environment. */
static wn_status fail_errno(const char *path, const char *what)
{
    int error = errno;
    bool users = error == ENOENT || error == EACCES || error == ENOTDIR || error == EISDIR || error == ENAMETOOLONG ||
                 error == ELOOP;

    return wn_fail(users ? WN_ERR_INPUT : WN_ERR_IO, "%s: %s: %s", path, what, strerror(error));
}

static wn_status map_descriptor(const char *path, int descriptor, struct wn_mapped *mapped)
{
    struct stat about;

    if (fstat(descriptor, &about) != 0)
        return fail_errno(path, "cannot be examined");
    if (!S_ISREG(about.st_mode))
        return wn_fail(WN_ERR_INPUT, "%s: is no regular file", path);
    if (about.st_size == 0)
        return WN_OK;
    void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (data == MAP_FAILED)
        return fail_errno(path, "cannot be mapped");
    mapped->data = data;
    mapped->size = about.st_size;
    return WN_OK;
}

wn_status wn_map(const char *path, struct wn_mapped *mapped)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);

    *mapped = (struct wn_mapped){.data = (const uint8_t *)"", .size = 0};
    if (descriptor < 0)
        return fail_errno(path, "cannot be opened");
    wn_status status = map_descriptor(path, descriptor, mapped);
    close(descriptor);
    return status;
}

void wn_unmap(struct wn_mapped *mapped)
{
    if (mapped->size > 0)
        munmap((void *)(uintptr_t)mapped->data, (size_t)mapped->size);
    *mapped = (struct wn_mapped){.data = (const uint8_t *)"", .size = 0};
}

/* read() until the end rather than by the size of the file, so that pipes work as well. */
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
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);

    *text = NULL;
    *length = 0;
    if (descriptor < 0)
        return fail_errno(path, "cannot be opened");
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
