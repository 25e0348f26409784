/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packed linear: the bytes as they are, and with the checksum set right, so that the search gets past it; what opens
 * is unpacked.
 */
#include <string.h>

#include <winnow/io.h>
#include <winnow/pack.h>

#include "fuzz.h"

static void open_and_unpack(const uint8_t *data, size_t size)
{
    enum { MOST_WEIGHTS = 1 << 20 };
    struct wn_packed packed;

    if (wn_packed_open("bytes", data, (int64_t)size, &packed) != WN_OK)
        return;
    if (packed.rows * packed.columns <= MOST_WEIGHTS) {
        float *out = wn_alloc(packed.rows * packed.columns, sizeof *out);
        wn_packed_rows(&packed, 0, packed.rows, out);
        wn_packed_rows(&packed, packed.rows / 2, packed.rows, out);
        wn_free(out);
    }
    wn_packed_release(&packed);
}

static void open_sealed(const uint8_t *data, size_t size)
{
    uint8_t *copy = wn_alloc((int64_t)size, 1);
    const int64_t said = (int64_t)size;

    memcpy(copy, data, size);
    memcpy(copy + 16, &said, sizeof said);
    struct wn_hash *hash = wn_hash_create();
    wn_hash_update(hash, copy, size - WN_PACKED_TRAILER);
    wn_hash_finish(hash, copy + size - WN_PACKED_TRAILER);
    open_and_unpack(copy, size);
    wn_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_and_unpack(data, size);
    if (size >= WN_PACKED_HEADER + WN_PACKED_TRAILER)
        open_sealed(data, size);
    fuzz_check_memory();
    return 0;
}
