/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz.h: what the fuzz targets share. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput: libFuzzer calls it
 * in the build of the preset `fuzz`, fuzz_main.c with every file of corpus/NAME in all others. An input of several
 * parts has the line "====" between them. Anything but a wrong input is WN_BUG, which aborts.
 */
#ifndef WINNOW_FUZZ_H
#define WINNOW_FUZZ_H

#include <winnow/base.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_part {
    const char *data; /* not NUL-terminated */
    size_t length;
};

/* Fills parts[0..count); missing ones are empty, the last one takes all that is left. */
void fuzz_split(const uint8_t *data, size_t size, struct fuzz_part *parts, int count);

/* A folder of this process, in memory where the machine has /dev/shm; removed at its end. Borrowed. */
const char *fuzz_folder(void);
/* Writes folder/name; returns its path, which stays valid until the same name is written again or 16 others are. */
const char *fuzz_write(const char *name, const void *data, size_t length);
/* A symbolic link folder/name to a file of the source tree. */
void fuzz_link(const char *name, const char *source);
void fuzz_remove(const char *name);

/* Ends the program when a block is left that was not there when the target was called first. */
void fuzz_check_memory(void);

#endif
