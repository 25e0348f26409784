/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors of 8-bit floats and their factors: "X.weight" [rows, columns] goes with "X.weight_scale_inv" or
 * "X.weight_scale", one number or a grid [m, n], each of which is a factor of a part of rows / m by columns / n.
 */
#include "scales.h"

#include "image.h"

#include <string.h>

static bool is_float8(const struct wn_tensor *tensor)
{
    return tensor->dtype == WN_F8_E4M3 || tensor->dtype == WN_F8_E5M2;
}

static struct wn_tensor *find_scale(struct wn_tensor *tensors, int64_t count, const char *name)
{
    static const char *const endings[] = {"_scale_inv", "_scale"};
    const struct wn_tensor *found = NULL;

    for (size_t i = 0; i < sizeof endings / sizeof *endings && !found; i++) {
        char *full = wn_format("%s%s", name, endings[i]);
        found = image_find(tensors, count, full);
        wn_free(full);
    }
    return found ? &tensors[found - tensors] : NULL;
}

/*
 * How many of `size` rows (or columns) one of `parts` factors is for; 0: they do not fit. A grid of blocks of the size
 * that config.json names may end in a shorter one; else, as in transformers, all are equal.
 */
static int64_t part_size(int64_t size, int64_t parts, int64_t block)
{
    if (parts < 1 || size < 1)
        return 0;
    if (parts > 1 && block > 0 && (size + block - 1) / block == parts)
        return block;
    return size % parts ? 0 : size / parts;
}

static wn_status attach(struct wn_tensor *tensor, struct wn_tensor *scale, const int64_t block[2])
{
    const int64_t grid[2] = {scale->n_dims > 0 ? scale->shape[0] : 1, scale->n_dims > 1 ? scale->shape[1] : 1};
    int64_t size[2] = {0};

    if (scale->dtype == WN_OTHER || is_float8(scale) || tensor->n_dims != 2 || scale->n_dims > 2)
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": expected a grid of F32, F16 or BF16 for a matrix", scale->file,
                       scale->name);
    for (int i = 0; i < 2; i++)
        size[i] = part_size(tensor->shape[i], grid[i], block[i]);
    if (!size[0] || !size[1])
        return wn_fail(WN_ERR_INPUT,
                       "%s: tensor \"%s\": a grid of [%lld, %lld] does not divide the matrix [%lld, %lld]", scale->file,
                       scale->name, (long long)grid[0], (long long)grid[1], (long long)tensor->shape[0],
                       (long long)tensor->shape[1]);
    tensor->scale = (struct wn_scale){
        .data = scale->data, .dtype = scale->dtype, .rows = size[0], .columns = size[1], .across = grid[1]};
    scale->is_scale = true;
    return WN_OK;
}

wn_status scales_attach(struct wn_tensor *tensors, int64_t count, const int64_t block[2], bool needed)
{
    for (int64_t i = 0; i < count; i++) {
        struct wn_tensor *scale = is_float8(&tensors[i]) ? find_scale(tensors, count, tensors[i].name) : NULL;
        if (scale)
            WN_TRY(attach(&tensors[i], scale, block));
        else if (needed && is_float8(&tensors[i]) && tensors[i].n_dims == 2)
            return wn_fail(WN_ERR_INPUT,
                           "%s: tensor \"%s\": 8-bit floats without their factors: \"%s_scale_inv\" is missing",
                           tensors[i].file, tensors[i].name, tensors[i].name);
    }
    return WN_OK;
}
