/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* memmem */
/* fuzz_folder.c: splitting inputs, files for readers that want a path, and the balance of memory. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

static char folder[64];
static pid_t owner; /* children leave the folder alone */

void fuzz_split(const uint8_t *data, size_t size, struct fuzz_part *parts, int count)
{
    static const char line[] = "\n====\n";
    const char *at = (const char *)data, *end = at + size;

    for (int p = 0; p < count; p++) {
        const char *next = p + 1 < count && at < end ? memmem(at, (size_t)(end - at), line, sizeof line - 1) : NULL;
        parts[p] = (struct fuzz_part){at, (size_t)((next ? next : end) - at)};
        at = next ? next + sizeof line - 1 : end;
    }
}

static void remove_folder(void)
{
    DIR *listing = owner == getpid() ? opendir(folder) : NULL;
    struct dirent *entry;

    if (!listing)
        return;
    while ((entry = readdir(listing)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            fuzz_remove(entry->d_name);
    closedir(listing);
    rmdir(folder);
}

const char *fuzz_folder(void)
{
    if (folder[0])
        return folder;
    snprintf(folder, sizeof folder, "%s/wn_fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
    owner = getpid();
    atexit(remove_folder);
    wn_log_set(WN_LOG_ERROR, 0, 1);
    return folder;
}

const char *fuzz_write(const char *name, const void *data, size_t length)
{
    static char paths[16][256];
    static int next;
    char *path = paths[next++ % 16];

    snprintf(path, sizeof paths[0], "%s/%s", fuzz_folder(), name);
    FILE *file = fopen(path, "wb");
    if (!file || (length > 0 && fwrite(data, 1, length, file) != length) || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
    return path;
}

void fuzz_link(const char *name, const char *source)
{
    char path[256], target[512];

    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    snprintf(target, sizeof target, "%s/%s", WN_SOURCE_DIR, source);
    if (access(path, F_OK) != 0 && symlink(target, path) != 0) {
        perror(path);
        exit(1);
    }
}

void fuzz_remove(const char *name)
{
    char path[320];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

void fuzz_check_memory(void)
{
    if (wn_memory_blocks() != 0)
        WN_BUG("%lld blocks were not released", (long long)wn_memory_blocks());
}
