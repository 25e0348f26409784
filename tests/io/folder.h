/* SPDX-License-Identifier: Apache-2.0 */
/* folder.h: a fresh folder for the files of one test. */
#ifndef WINNOW_TEST_FOLDER_H
#define WINNOW_TEST_FOLDER_H

#include "test.h"

#include <dirent.h>

/* Its path, for folder_remove. */
static inline char *folder_create(void)
{
    const char *place = getenv("TMPDIR");
    char *folder = wn_format("%s/winnow-test-XXXXXX", place ? place : P_tmpdir);

    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
    return folder;
}

/* Writes one file; its path belongs to the caller. */
static inline char *folder_write(const char *folder, const char *name, const void *data, size_t size)
{
    char *path = wn_format("%s/%s", folder, name);
    FILE *file = fopen(path, "wb");

    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
    return path;
}

/* Removes the files in it and the folder itself, and frees the path. */
static inline void folder_remove(char *folder)
{
    DIR *listing = opendir(folder);
    struct dirent *entry;

    while (listing && (entry = readdir(listing))) {
        char *path = wn_format("%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
        wn_free(path);
    }
    if (listing)
        closedir(listing);
    if (rmdir(folder) != 0) {
        test_failures++;
        perror(folder);
    }
    wn_free(folder);
}

#endif
