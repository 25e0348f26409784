/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_file.c: see gguf_file.h. All numbers are little-endian, as this machine has them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "gguf_file.h"

enum { VERSION = 3, ARRAY = 9, HEAD = 24 };

static int64_t aligned(int64_t size)
{
    return (size + WN_GGUF_ALIGNMENT - 1) / WN_GGUF_ALIGNMENT * WN_GGUF_ALIGNMENT;
}

static wn_status cannot_write(const struct wn_gguf_file *gguf)
{
    return wn_fail(WN_ERR_IO, "%s: cannot be written: %s", gguf->path, strerror(errno));
}

enum wn_gguf_type wn_gguf_type_of_dtype(enum wn_dtype dtype)
{
    return dtype == WN_BF16 ? WN_GGUF_BF16 : dtype == WN_F16 ? WN_GGUF_F16 : WN_GGUF_F32;
}

const char *wn_gguf_type_name(enum wn_gguf_type type)
{
    switch (type) {
    case WN_GGUF_F16:
        return "F16";
    case WN_GGUF_BF16:
        return "BF16";
    case WN_GGUF_Q4_0:
        return "Q4_0";
    case WN_GGUF_Q4_1:
        return "Q4_1";
    case WN_GGUF_Q8_0:
        return "Q8_0";
    default:
        return "F32";
    }
}

wn_status wn_gguf_create(struct wn_gguf_file *gguf, const char *path)
{
    *gguf = (struct wn_gguf_file){.path = wn_strdup(path)};
    gguf->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return gguf->file < 0 ? cannot_write(gguf) : WN_OK;
}

void wn_gguf_release(struct wn_gguf_file *gguf)
{
    if (gguf->path && gguf->file >= 0)
        close(gguf->file);
    wn_text_release(&gguf->keys);
    wn_text_release(&gguf->tensors);
    wn_free(gguf->path);
    *gguf = (struct wn_gguf_file){.file = -1};
}

/* ---- keys ---- */

static void add(struct wn_text *text, const void *bytes, size_t size)
{
    wn_text_append(text, bytes, size);
}

static void add_u32(struct wn_text *text, uint32_t value)
{
    add(text, &value, sizeof value);
}

static void add_u64(struct wn_text *text, uint64_t value)
{
    add(text, &value, sizeof value);
}

static void add_string(struct wn_text *text, const char *value)
{
    add_u64(text, strlen(value));
    add(text, value, strlen(value));
}

static struct wn_text *begin_key(struct wn_gguf_file *gguf, const char *key, uint32_t type)
{
    add_string(&gguf->keys, key);
    add_u32(&gguf->keys, type);
    gguf->n_keys++;
    return &gguf->keys;
}

void wn_gguf_put_u32(struct wn_gguf_file *gguf, const char *key, int64_t value)
{
    add_u32(begin_key(gguf, key, WN_GGUF_U32), (uint32_t)value);
}

void wn_gguf_put_float(struct wn_gguf_file *gguf, const char *key, double value)
{
    const float number = (float)value;
    add(begin_key(gguf, key, WN_GGUF_FLOAT), &number, sizeof number);
}

void wn_gguf_put_bool(struct wn_gguf_file *gguf, const char *key, bool value)
{
    const uint8_t byte = value;
    add(begin_key(gguf, key, WN_GGUF_BOOL), &byte, 1);
}

void wn_gguf_put_string(struct wn_gguf_file *gguf, const char *key, const char *value)
{
    add_string(begin_key(gguf, key, WN_GGUF_STRING), value);
}

void wn_gguf_put_numbers(struct wn_gguf_file *gguf, const char *key, enum wn_gguf_key type, const void *values,
                         int64_t count)
{
    struct wn_text *keys = begin_key(gguf, key, ARRAY);
    add_u32(keys, type);
    add_u64(keys, (uint64_t)count);
    add(keys, values, (size_t)count * sizeof(uint32_t));
}

void wn_gguf_put_strings(struct wn_gguf_file *gguf, const char *key, const char *const *values, int64_t count)
{
    struct wn_text *keys = begin_key(gguf, key, ARRAY);
    add_u32(keys, WN_GGUF_STRING);
    add_u64(keys, (uint64_t)count);
    for (int64_t i = 0; i < count; i++)
        add_string(keys, values[i]);
}

/* ---- tensors ---- */

static int64_t info_bytes(const char *name, int n_dims)
{
    return 8 + (int64_t)strlen(name) + 4 + 8 * (int64_t)n_dims + 4 + 8;
}

void wn_gguf_reserve(struct wn_gguf_file *gguf, const char *name, int n_dims)
{
    gguf->reserved += info_bytes(name, n_dims);
    gguf->n_reserved++;
}

void wn_gguf_begin(struct wn_gguf_file *gguf, const char *name, enum wn_gguf_type type, int n_dims,
                   const int64_t *shape)
{
    if (!gguf->data)
        gguf->data = aligned(HEAD + (int64_t)gguf->keys.length + gguf->reserved);
    gguf->end = aligned(gguf->end);
    add_string(&gguf->tensors, name);
    add_u32(&gguf->tensors, (uint32_t)n_dims);
    for (int d = n_dims - 1; d >= 0; d--) /* fastest first */
        add_u64(&gguf->tensors, (uint64_t)shape[d]);
    add_u32(&gguf->tensors, type);
    add_u64(&gguf->tensors, (uint64_t)gguf->end);
    gguf->n_tensors++;
}

wn_status wn_gguf_append(struct wn_gguf_file *gguf, const void *bytes, int64_t size)
{
    if (!wn_write_at(gguf->file, bytes, size, gguf->data + gguf->end))
        return cannot_write(gguf);
    gguf->end += size;
    return WN_OK;
}

wn_status wn_gguf_finish(struct wn_gguf_file *gguf)
{
    static const uint8_t padding[WN_GGUF_ALIGNMENT];
    struct wn_text head = {0};
    if (gguf->n_tensors != gguf->n_reserved || (int64_t)gguf->tensors.length != gguf->reserved)
        WN_BUG("%s: %lld tensors of %lld were written", gguf->path, (long long)gguf->n_tensors,
               (long long)gguf->n_reserved);
    WN_TRY(wn_gguf_append(gguf, padding, aligned(gguf->end) - gguf->end));
    add(&head, "GGUF", 4);
    add_u32(&head, VERSION);
    add_u64(&head, (uint64_t)gguf->n_tensors);
    add_u64(&head, (uint64_t)gguf->n_keys);
    add(&head, gguf->keys.data, gguf->keys.length);
    add(&head, gguf->tensors.data, gguf->tensors.length);
    add(&head, padding, (size_t)(gguf->data - (int64_t)head.length));
    const bool written = wn_write_at(gguf->file, head.data, (int64_t)head.length, 0) && fsync(gguf->file) == 0;
    wn_status status = written ? WN_OK : cannot_write(gguf);
    close(gguf->file);
    gguf->file = -1;
    wn_text_release(&head);
    return status;
}
