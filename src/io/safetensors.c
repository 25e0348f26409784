/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One safetensors file: u64 length n of the header, n bytes of JSON, the data. The rules follow the reference
 * implementation (safetensors, Rust): the data of all tensors, sorted by offset, fill the rest of the file without a
 * hole or an overlap, and each tensor's extent is what its shape and dtype say.
 */
#include "image.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, HEADER_LARGEST = 100000000, DIMS_MOST = 8 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors files are read as they are: little-endian");

struct dtype {
    const char *name;
    int bits;
    enum wn_dtype dtype;
};

static const struct dtype dtypes[] = {
    {"F32", 32, WN_F32},      {"F16", 16, WN_F16},      {"BF16", 16, WN_BF16},        {"BOOL", 8, WN_OTHER},
    {"U8", 8, WN_OTHER},      {"I8", 8, WN_OTHER},      {"F8_E4M3", 8, WN_F8_E4M3},   {"F8_E5M2", 8, WN_F8_E5M2},
    {"F8_E8M0", 8, WN_OTHER}, {"I16", 16, WN_OTHER},    {"F8_E4M3FNUZ", 8, WN_OTHER}, {"F8_E5M2FNUZ", 8, WN_OTHER},
    {"U16", 16, WN_OTHER},    {"I32", 32, WN_OTHER},    {"U32", 32, WN_OTHER},        {"C64", 64, WN_OTHER},
    {"F64", 64, WN_F64},      {"I64", 64, WN_OTHER},    {"U64", 64, WN_OTHER},        {"F4", 4, WN_OTHER},
    {"F6_E2M3", 6, WN_OTHER}, {"F6_E3M2", 6, WN_OTHER},
};

/* ---- fields of a tensor's entry ---- */

/* A number that is an integer from 0 to 2^53: above, a double does not hold it exactly. */
static bool integer_of(const cJSON *item, int64_t *value)
{
    if (!cJSON_IsNumber(item))
        return false;
    double number = item->valuedouble;
    if (!(number >= 0 && number <= 0x1p53) || floor(number) != number)
        return false;
    *value = (int64_t)number;
    return true;
}

static const struct dtype *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

static wn_status read_dtype(const char *path, const cJSON *entry, struct wn_tensor *tensor, int *bits)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(entry, "dtype");

    if (!cJSON_IsString(item))
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": \"dtype\" must be a string", path, entry->string);
    const struct dtype *dtype = find_dtype(item->valuestring);
    if (!dtype)
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": the dtype \"%s\" is not known", path, entry->string,
                       item->valuestring);
    tensor->dtype = dtype->dtype;
    strcpy(tensor->dtype_name, dtype->name);
    *bits = dtype->bits;
    return WN_OK;
}

/* Stores the shape and the bytes that it needs. */
static wn_status read_shape(const char *path, const cJSON *entry, int bits, struct wn_tensor *tensor, int64_t *bytes)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape"), *item;
    int64_t all_bits = bits;
    bool too_large = false;

    if (!cJSON_IsArray(shape))
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": \"shape\" must be an array of integers", path, entry->string);
    cJSON_ArrayForEach (item, shape) {
        int64_t size;
        if (tensor->n_dims == DIMS_MOST)
            return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": more than %d dimensions are not supported", path,
                           entry->string, DIMS_MOST);
        if (!integer_of(item, &size))
            return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": a dimension must be an integer from 0 to 2^53", path,
                           entry->string);
        tensor->shape[tensor->n_dims++] = size;
        too_large |= __builtin_mul_overflow(all_bits, size, &all_bits);
    }
    if (too_large)
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": the product of the shape is too large", path, entry->string);
    if (all_bits % 8 != 0)
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": %lld bits of data are no whole bytes", path, entry->string,
                       (long long)all_bits);
    *bytes = all_bits / 8;
    return WN_OK;
}

static wn_status read_offsets(const char *path, const cJSON *entry, int64_t needed, int64_t data_size,
                              int64_t offsets[2])
{
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");

    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) != 2 || !integer_of(array->child, &offsets[0]) ||
        !integer_of(array->child->next, &offsets[1]))
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": \"data_offsets\" must be two integers from 0 to 2^53", path,
                       entry->string);
    if (offsets[1] < offsets[0])
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": its data ends at %lld before it begins at %lld", path,
                       entry->string, (long long)offsets[1], (long long)offsets[0]);
    if (offsets[1] - offsets[0] != needed)
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": dtype and shape need %lld bytes, its offsets span %lld", path,
                       entry->string, (long long)needed, (long long)(offsets[1] - offsets[0]));
    if (offsets[1] > data_size)
        return wn_fail(WN_ERR_INPUT,
                       "%s: tensor \"%s\": its data ends at byte %lld of the data, which has %lld bytes (was the file "
                       "truncated?)",
                       path, entry->string, (long long)offsets[1], (long long)data_size);
    return WN_OK;
}

static wn_status read_tensor(const char *path, const cJSON *entry, const uint8_t *data, int64_t data_size,
                             struct wn_tensor *tensor)
{
    int64_t needed = 0, offsets[2] = {0};
    int bits = 0;

    if (!cJSON_IsObject(entry))
        return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": expected an object with dtype, shape and data_offsets", path,
                       entry->string);
    WN_TRY(read_dtype(path, entry, tensor, &bits));
    WN_TRY(read_shape(path, entry, bits, tensor, &needed));
    WN_TRY(read_offsets(path, entry, needed, data_size, offsets));
    tensor->file = path;
    tensor->data = data + offsets[0];
    tensor->bytes = needed;
    return WN_OK;
}

/* ---- rules over all tensors ---- */

static wn_status check_metadata(const char *path, const cJSON *metadata)
{
    const cJSON *item;

    if (!cJSON_IsObject(metadata))
        return wn_fail(WN_ERR_INPUT, "%s: \"__metadata__\" must be an object of strings", path);
    cJSON_ArrayForEach (item, metadata) {
        if (!cJSON_IsString(item))
            return wn_fail(WN_ERR_INPUT, "%s: \"__metadata__\": the value of \"%s\" must be a string", path,
                           item->string);
    }
    return WN_OK;
}

/* By place in the data; of two that begin together the empty one comes first. */
static int compare_places(const void *a, const void *b)
{
    const struct wn_tensor *left = a, *right = b;

    if (left->data != right->data)
        return left->data < right->data ? -1 : 1;
    return (left->bytes > right->bytes) - (left->bytes < right->bytes);
}

/* Sorts by place. */
static wn_status check_places(struct image *image, const uint8_t *data, int64_t data_size)
{
    int64_t end = 0;

    if (image->count > 0)
        qsort(image->tensors, (size_t)image->count, sizeof *image->tensors, compare_places);
    for (int64_t i = 0; i < image->count; i++) {
        const struct wn_tensor *tensor = &image->tensors[i];
        int64_t begin = tensor->data - data;
        if (begin != end)
            return wn_fail(WN_ERR_INPUT, "%s: tensor \"%s\": its data begins at %lld, expected %lld: %s", image->path,
                           tensor->name, (long long)begin, (long long)end,
                           begin > end ? "there is a hole" : "it overlaps another tensor");
        end = begin + tensor->bytes;
    }
    if (end != data_size)
        return wn_fail(WN_ERR_INPUT, "%s: the tensors end at byte %lld of the data, which has %lld bytes", image->path,
                       (long long)end, (long long)data_size);
    return WN_OK;
}

static wn_status read_entries(struct image *image, const cJSON *header, const uint8_t *data, int64_t data_size)
{
    const cJSON *entry;

    image->tensors = wn_alloc_zero(cJSON_GetArraySize(header), sizeof *image->tensors);
    cJSON_ArrayForEach (entry, header) {
        if (strcmp(entry->string, "__metadata__") == 0) {
            WN_TRY(check_metadata(image->path, entry));
            continue;
        }
        struct wn_tensor *tensor = &image->tensors[image->count];
        WN_TRY(read_tensor(image->path, entry, data, data_size, tensor));
        tensor->name = wn_strdup(entry->string);
        image->count++;
    }
    WN_TRY(check_places(image, data, data_size));
    if (image->count > 0)
        qsort(image->tensors, (size_t)image->count, sizeof *image->tensors, image_compare_names);
    return WN_OK;
}

/* Other kinds of files that come under this name. */
static wn_status refuse_others(const char *path, const uint8_t *data, int64_t size)
{
    static const struct {
        const char *begins, *name;
    } kinds[] = {
        {"PK\003\004", "a PyTorch archive (or another zip file): convert it by save_pretrained of transformers"},
        {"GGUF", "a GGUF file: take the checkpoint it was made from"},
        {"<!DOCTYPE", "a web page in place of the file: download it again"},
        {"<!doctype", "a web page in place of the file: download it again"},
        {"<html", "a web page in place of the file: download it again"},
        {"\037\213", "compressed by gzip: unpack it"},
        {"\211HDF", "an HDF5 file: convert it by save_pretrained of transformers"}};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (size >= LENGTH_BYTES && memcmp(data, kinds[i].begins, strnlen(kinds[i].begins, LENGTH_BYTES)) == 0)
            return wn_fail(WN_ERR_INPUT, "%s: no safetensors file but %s", path, kinds[i].name);
    return WN_OK;
}

static wn_status read_header(const char *path, const uint8_t *data, int64_t size, int64_t *length, cJSON **header)
{
    uint64_t n;

    WN_TRY(refuse_others(path, data, size));
    if (size < LENGTH_BYTES)
        return wn_fail(WN_ERR_INPUT, "%s: no safetensors file: it has only %lld bytes (an unfinished download?)", path,
                       (long long)size);
    memcpy(&n, data, sizeof n);
    if (n > HEADER_LARGEST)
        return wn_fail(WN_ERR_INPUT, "%s: no safetensors file: a header of %llu bytes is above the limit of %d", path,
                       (unsigned long long)n, HEADER_LARGEST);
    if ((int64_t)n > size - LENGTH_BYTES)
        return wn_fail(WN_ERR_INPUT,
                       "%s: the header of %llu bytes ends behind the file of %lld bytes (was it "
                       "truncated?)",
                       path, (unsigned long long)n, (long long)size);
    if (n == 0 || data[LENGTH_BYTES] != '{')
        return wn_fail(WN_ERR_INPUT, "%s: no safetensors file: the header must start with '{'", path);
    *length = (int64_t)n;
    char *name = wn_format("%s: header", path);
    wn_status status = wn_json_parse(name, (const char *)data + LENGTH_BYTES, *length, false, header);
    wn_free(name);
    return status;
}

wn_status image_read(const char *path, const uint8_t *data, int64_t size, struct image *image)
{
    cJSON *header = NULL;
    int64_t length = 0;

    *image = (struct image){.path = path};
    WN_TRY(read_header(path, data, size, &length, &header));
    int64_t skip = LENGTH_BYTES + length;
    wn_status status = read_entries(image, header, data + skip, size - skip);
    cJSON_Delete(header);
    if (status != WN_OK)
        image_release(image);
    return status;
}

void image_release(struct image *image)
{
    for (int64_t i = 0; i < image->count; i++)
        wn_free((char *)(uintptr_t)image->tensors[i].name);
    wn_free(image->tensors);
    *image = (struct image){.path = image->path};
}

/* ---- look-up ---- */

int image_compare_names(const void *a, const void *b)
{
    const struct wn_tensor *left = a, *right = b;

    return strcmp(left->name, right->name);
}

const struct wn_tensor *image_find(const struct wn_tensor *tensors, int64_t count, const char *name)
{
    const struct wn_tensor key = {.name = name};

    return count > 0 ? bsearch(&key, tensors, (size_t)count, sizeof *tensors, image_compare_names) : NULL;
}

wn_status wn_safetensors_check(const char *name, const uint8_t *data, int64_t size)
{
    struct image image;

    WN_TRY(image_read(name, data, size, &image));
    image_release(&image);
    return WN_OK;
}
