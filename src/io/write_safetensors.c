/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing safetensors files. The header needs the place of every tensor, so all are known before the first byte; after
 * that the data goes straight to its place with pwrite, in whatever order it comes.
 */
#define _GNU_SOURCE /* fallocate */
#include <winnow/io.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LENGTH_BYTES = 8, ALIGNMENT = 8 };

struct wn_safetensors_writer {
    char *path;
    int file;
    int64_t count;
    const struct wn_tensor_plan *plan; /* borrowed, in file order */
    int64_t *begin;                    /* [count + 1] places of the data in the file; owned */
    int64_t *by_name;                  /* [count] indices into plan, sorted by name; owned */
    int64_t put;                       /* bytes so far */
};

/* ---- layout ---- */

static int compare_plans(const void *a, const void *b)
{
    const struct wn_tensor_plan *left = a, *right = b;

    if (left->element_bytes != right->element_bytes)
        return left->element_bytes > right->element_bytes ? -1 : 1;
    return strcmp(left->name, right->name);
}

static int compare_indices(const void *a, const void *b, void *context)
{
    const struct wn_tensor_plan *plan = context;

    return strcmp(plan[*(const int64_t *)a].name, plan[*(const int64_t *)b].name);
}

static void quote(struct wn_text *text, const char *name)
{
    wn_text_append(text, "\"", 1);
    for (const char *c = name; *c; c++) {
        if ((unsigned char)*c < 0x20)
            wn_text_printf(text, "\\u%04x", (unsigned)*c);
        else
            wn_text_printf(text, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    }
    wn_text_append(text, "\"", 1);
}

/* The header, padded; `begin` gets places from the begin of the data. */
static void make_header(const struct wn_tensor_plan *plan, int64_t count, struct wn_text *text, int64_t *begin)
{
    begin[0] = 0;
    wn_text_printf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int64_t i = 0; i < count; i++) {
        begin[i + 1] = begin[i] + plan[i].bytes;
        wn_text_append(text, ",", 1);
        quote(text, plan[i].name);
        wn_text_printf(text, ":{\"dtype\":\"%s\",\"shape\":[", plan[i].dtype);
        for (int d = 0; d < plan[i].n_dims; d++)
            wn_text_printf(text, "%s%lld", d ? "," : "", (long long)plan[i].shape[d]);
        wn_text_printf(text, "],\"data_offsets\":[%lld,%lld]}", (long long)begin[i], (long long)begin[i + 1]);
    }
    wn_text_append(text, "}", 1);
    while (text->length % ALIGNMENT)
        wn_text_append(text, " ", 1);
}

/* ---- the file ---- */

static wn_status cannot_write(const char *path, int error)
{
    return wn_fail(WN_ERR_IO, "%s: cannot be written: %s", path, strerror(error));
}

static wn_status write_at(const struct wn_safetensors_writer *writer, int64_t place, const void *data, int64_t bytes)
{
    return wn_write_at(writer->file, data, bytes, place) ? WN_OK : cannot_write(writer->path, errno);
}

/* A full disk shows here and not after hours; file systems that cannot tell are left to find out later. */
static wn_status reserve(const struct wn_safetensors_writer *writer, int64_t bytes)
{
    if (fallocate(writer->file, 0, 0, (off_t)bytes) == 0 || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR)
        return WN_OK;
    return wn_fail(WN_ERR_IO, "%s: no room for %lld bytes: %s", writer->path, (long long)bytes, strerror(errno));
}

static wn_status start_file(struct wn_safetensors_writer *writer)
{
    struct wn_text header = {0};

    make_header(writer->plan, writer->count, &header, writer->begin);
    const uint64_t length = header.length;
    for (int64_t i = 0; i <= writer->count; i++)
        writer->begin[i] += LENGTH_BYTES + (int64_t)length;
    wn_status status = reserve(writer, writer->begin[writer->count]);
    if (status == WN_OK)
        status = write_at(writer, 0, &length, LENGTH_BYTES);
    if (status == WN_OK)
        status = write_at(writer, LENGTH_BYTES, header.data, (int64_t)length);
    wn_text_release(&header);
    return status;
}

static void release(struct wn_safetensors_writer **writer)
{
    wn_free((*writer)->path);
    wn_free((*writer)->begin);
    wn_free((*writer)->by_name);
    wn_free(*writer);
    *writer = NULL;
}

wn_status wn_safetensors_create(const char *path, struct wn_tensor_plan *plan, int64_t count,
                                struct wn_safetensors_writer **writer)
{
    *writer = NULL;
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0)
        return wn_fail(WN_ERR_IO, "%s: cannot be created: %s", path, strerror(errno));
    if (count > 0)
        qsort(plan, (size_t)count, sizeof *plan, compare_plans);
    struct wn_safetensors_writer *made = wn_alloc(1, sizeof *made);
    *made = (struct wn_safetensors_writer){.path = wn_strdup(path), .file = file, .count = count, .plan = plan};
    made->begin = wn_alloc(count + 1, sizeof *made->begin);
    made->by_name = wn_alloc(count, sizeof *made->by_name);
    for (int64_t i = 0; i < count; i++)
        made->by_name[i] = i;
    if (count > 0)
        qsort_r(made->by_name, (size_t)count, sizeof *made->by_name, compare_indices, plan);
    *writer = made;
    wn_status status = start_file(made);
    if (status != WN_OK)
        wn_safetensors_abandon(writer);
    return status;
}

/* The index of a tensor, -1 when there is none of that name. */
static int64_t find(const struct wn_safetensors_writer *writer, const char *name)
{
    int64_t low = 0, high = writer->count;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(name, writer->plan[writer->by_name[middle]].name);
        if (order == 0)
            return writer->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

wn_status wn_safetensors_put(struct wn_safetensors_writer *writer, const char *name, int64_t first, const void *data,
                             int64_t bytes)
{
    int64_t index = find(writer, name);

    if (index < 0)
        WN_BUG("%s has no tensor \"%s\"", writer->path, name);
    int64_t size = writer->begin[index + 1] - writer->begin[index];
    if (first < 0 || bytes < 0 || first > size - bytes)
        WN_BUG("bytes %lld to %lld of the tensor \"%s\" with %lld were put", (long long)first,
               (long long)(first + bytes), name, (long long)size);
    writer->put += bytes;
    return write_at(writer, writer->begin[index] + first, data, bytes);
}

wn_status wn_safetensors_finish(struct wn_safetensors_writer **writer)
{
    struct wn_safetensors_writer *old = *writer;
    wn_status status = WN_OK;

    if (old->put != old->begin[old->count] - old->begin[0])
        WN_BUG("%s: %lld bytes were put, its tensors have %lld", old->path, (long long)old->put,
               (long long)(old->begin[old->count] - old->begin[0]));
    int failed = fsync(old->file) != 0 ? errno : 0;
    if (close(old->file) != 0 && !failed)
        failed = errno;
    if (failed) {
        status = cannot_write(old->path, failed);
        unlink(old->path);
    }
    release(writer);
    return status;
}

void wn_safetensors_abandon(struct wn_safetensors_writer **writer)
{
    if (!*writer)
        return;
    close((*writer)->file);
    unlink((*writer)->path);
    release(writer);
}

/* ---- numbers ---- */

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/*
 * IEEE binary16. Below 2^-14 the result is a multiple of 2^-24: adding 0.5 lets the addition of floats round to it,
 * ties to even, and leaves it in the low bits. Above, the exponent is moved by 112 and 13 bits are rounded off.
 */
static uint16_t to_half(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;

    if (magnitude > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u);
    if (magnitude >= 0x477FF000u) /* 65520: half of the last step above 65504 */
        return (uint16_t)(sign | 0x7C00u);
    if (magnitude < 0x38800000u) {
        float positive;
        memcpy(&positive, &magnitude, sizeof positive);
        return (uint16_t)(sign | (bits_of(positive + 0.5f) - bits_of(0.5f)));
    }
    return (uint16_t)(sign | (magnitude - (112u << 23) + 0xFFFu + (magnitude >> 13 & 1u)) >> 13);
}

int64_t wn_tensor_from_float(enum wn_dtype dtype, const float *values, int64_t count, void *out, int64_t *overflows)
{
    struct wn_tensor stored = {.name = "", .dtype = dtype, .data = out};
    int64_t inexact = 0;
    uint16_t *halves = out;

    *overflows = 0;
    if (dtype == WN_OTHER)
        WN_BUG("floats cannot be stored as another dtype than F32, F16 and BF16");
    if (dtype == WN_F32) {
        if (count > 0)
            memcpy(out, values, (size_t)count * sizeof *values);
        return 0;
    }
    stored.bytes = 2 * count;
    for (int64_t i = 0; i < count; i++) {
        float back;
        halves[i] = dtype == WN_F16 ? to_half(values[i]) : wn_to_bf16(values[i]);
        wn_tensor_to_float(&stored, i, 1, &back);
        inexact += bits_of(back) != bits_of(values[i]);
        *overflows += (bits_of(back) & 0x7FFFFFFFu) == 0x7F800000u && bits_of(back) != bits_of(values[i]);
    }
    return inexact;
}
