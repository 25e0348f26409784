/* SPDX-License-Identifier: Apache-2.0 */
/* Safetensors: the bytes as a file, and as a header in front of some data. */
#include <stdlib.h>
#include <string.h>

#include <winnow/io.h>

#include "fuzz.h"

/* A frame whose length field is right, so that the search gets past it. */
static void check_as_header(const uint8_t *data, size_t size)
{
    enum { DATA_BYTES = 64 };
    uint64_t n = size;
    uint8_t *image = calloc(sizeof n + size + DATA_BYTES, 1);

    memcpy(image, &n, sizeof n);
    if (size > 0)
        memcpy(image + sizeof n, data, size);
    wn_safetensors_check("image", image, (int64_t)(sizeof n + size + DATA_BYTES));
    free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wn_safetensors_check("bytes", data, (int64_t)size);
    check_as_header(data, size);
    fuzz_check_memory();
    return 0;
}
