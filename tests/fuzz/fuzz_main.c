/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_main.c: in place of libFuzzer: runs a target once with each file of the folders that are named. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* In a block of exactly its size, so that a sanitizer sees the first byte behind it. */
static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = -1;

    if (file && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    uint8_t *data = size >= 0 ? malloc((size_t)size + (size == 0)) : NULL;
    if (!data || fseek(file, 0, SEEK_SET) != 0 || fread(data, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct dirent **entries;
        int count = scandir(argv[i], &entries, NULL, alphasort);
        int files = 0;
        for (int e = 0; e < count; e++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], entries[e]->d_name);
            if (entries[e]->d_name[0] != '.') {
                run_file(path);
                files++;
            }
            free(entries[e]);
        }
        if (count >= 0)
            free(entries);
        if (files == 0) {
            fprintf(stderr, "%s: no inputs\n", argv[i]);
            return 1;
        }
    }
    return 0;
}
