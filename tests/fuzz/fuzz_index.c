/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint of several files: model.safetensors.index.json, then the headers of two shards, whose length fields are
 * put right and which have 256 bytes of data. Every tensor of a checkpoint that opens is read, 8-bit floats with their
 * factors.
 */
#include <stdlib.h>
#include <string.h>

#include <winnow/io.h>

#include "fuzz.h"

static void write_shard(const char *name, const struct fuzz_part *header)
{
    enum { DATA_BYTES = 256 };
    uint64_t n = header->length;
    uint8_t *image = calloc(sizeof n + n + DATA_BYTES, 1);

    memcpy(image, &n, sizeof n);
    memcpy(image + sizeof n, header->data, n);
    memset(image + sizeof n + n, 0x3c, DATA_BYTES);
    fuzz_write(name, image, sizeof n + n + DATA_BYTES);
    free(image);
}

static void read_tensors(const struct wn_checkpoint *checkpoint)
{
    for (int64_t i = 0; i < wn_checkpoint_count(checkpoint); i++) {
        const struct wn_tensor *tensor = wn_checkpoint_at(checkpoint, i);
        int64_t elements = 1;
        if (wn_checkpoint_find(checkpoint, tensor->name) != tensor)
            WN_BUG("the tensor \"%s\" is not found", tensor->name);
        for (int d = 0; d < tensor->n_dims; d++)
            elements *= tensor->shape[d];
        if (tensor->dtype == WN_OTHER || elements == 0)
            continue;
        float *values = malloc((size_t)elements * sizeof *values);
        wn_tensor_to_float(tensor, 0, elements, values);
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wn_checkpoint *checkpoint;
    struct fuzz_part parts[3];

    fuzz_split(data, size, parts, 3);
    fuzz_write("model.safetensors.index.json", parts[0].data, parts[0].length);
    write_shard("a.safetensors", &parts[1]);
    write_shard("b.safetensors", &parts[2]);
    if (wn_checkpoint_open(fuzz_folder(), &checkpoint) == WN_OK) {
        const int64_t block[2] = {0, size % 3};
        if (wn_checkpoint_scale(checkpoint, block, false) == WN_OK)
            read_tensors(checkpoint);
        wn_checkpoint_close(&checkpoint);
    }
    fuzz_check_memory();
    return 0;
}
