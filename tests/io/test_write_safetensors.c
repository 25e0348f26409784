/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Written safetensors files: the rules of the format, alignment, any order and any pieces, nothing left after a
 * failure; floats stored in 16 bits against their neighbours.
 */
#include "folder.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <winnow/io.h>

enum { N_TENSORS = 5 };

static void make_plan(struct wn_tensor_plan plan[N_TENSORS])
{
    const struct wn_tensor_plan tensors[N_TENSORS] = {
        {"bytes", "U8", 1, 2, {3, 5}, 15},        {"weight", "F32", 4, 2, {2, 3}, 24},
        {"a \"name\"\\\n", "F16", 2, 1, {7}, 14}, {"empty", "F32", 4, 2, {0, 4}, 0},
        {"other", "F32", 4, 1, {1}, 4},
    };
    memcpy(plan, tensors, sizeof tensors);
}

/* Byte i of the data of a tensor. */
static uint8_t byte_of(const char *name, int64_t i)
{
    return (uint8_t)(17 * i + name[0]);
}

/* From the last piece to the first, the tensors in any order. */
static void put_backwards(struct wn_safetensors_writer *writer, const struct wn_tensor_plan *plan, int64_t piece)
{
    for (int t = N_TENSORS - 1; t >= 0; t--) {
        int64_t pieces = (plan[t].bytes + piece - 1) / piece;
        for (int64_t p = pieces - 1; p >= 0; p--) {
            int64_t first = p * piece, count = plan[t].bytes - first < piece ? plan[t].bytes - first : piece;
            uint8_t data[64];
            for (int64_t i = 0; i < count; i++)
                data[i] = byte_of(plan[t].name, first + i);
            CHECK_OK(wn_safetensors_put(writer, plan[t].name, first, data, count));
        }
    }
}

static void check_tensors(const char *folder, const struct wn_tensor_plan *plan)
{
    struct wn_checkpoint *checkpoint;

    CHECK_OK(wn_checkpoint_open(folder, &checkpoint));
    CHECK(wn_checkpoint_count(checkpoint) == N_TENSORS);
    for (int t = 0; t < N_TENSORS; t++) {
        const struct wn_tensor *tensor = wn_checkpoint_find(checkpoint, plan[t].name);
        CHECK(tensor != NULL);
        if (!tensor)
            continue;
        CHECK_TEXT(tensor->dtype_name, plan[t].dtype);
        CHECK(tensor->n_dims == plan[t].n_dims && tensor->bytes == plan[t].bytes);
        CHECK(memcmp(tensor->shape, plan[t].shape, (size_t)plan[t].n_dims * sizeof(int64_t)) == 0);
        CHECK((uintptr_t)tensor->data % (uintptr_t)plan[t].element_bytes == 0);
        for (int64_t i = 0; i < tensor->bytes; i++)
            CHECK(tensor->data[i] == byte_of(plan[t].name, i));
    }
    wn_checkpoint_close(&checkpoint);
}

static void check_pieces(int64_t piece)
{
    char *folder = folder_create(), *path = wn_format("%s/model.safetensors", folder);
    struct wn_tensor_plan plan[N_TENSORS];
    struct wn_safetensors_writer *writer;
    struct wn_mapped mapped;
    uint64_t header = 0;

    make_plan(plan);
    CHECK_OK(wn_safetensors_create(path, plan, N_TENSORS, &writer));
    CHECK(writer != NULL);
    put_backwards(writer, plan, piece);
    CHECK_OK(wn_safetensors_finish(&writer));
    CHECK(writer == NULL);
    CHECK_OK(wn_map(path, &mapped));
    memcpy(&header, mapped.data, sizeof header);
    CHECK(header % 8 == 0);
    CHECK(mapped.size == 8 + (int64_t)header + 15 + 24 + 14 + 4);
    CHECK_OK(wn_safetensors_check(path, mapped.data, mapped.size));
    wn_unmap(&mapped);
    check_tensors(folder, plan);

    /* an existing file is not touched */
    CHECK(wn_safetensors_create(path, plan, N_TENSORS, &writer) == WN_ERR_IO && writer == NULL);
    CHECK_MESSAGE("model.safetensors: cannot be created: File exists");
    check_tensors(folder, plan);
    wn_free(path);
    folder_remove(folder);
}

static void check_failures(void)
{
    char *folder = folder_create(), *path = wn_format("%s/model.safetensors", folder);
    struct wn_tensor_plan plan[N_TENSORS], large = {"large", "F32", 4, 1, {1 << 20}, 4 << 20};
    struct wn_safetensors_writer *writer;
    struct rlimit old, small;

    make_plan(plan);
    CHECK_OK(wn_safetensors_create(path, plan, N_TENSORS, &writer));
    wn_safetensors_abandon(&writer);
    CHECK(writer == NULL && !wn_file_exists(path));
    wn_safetensors_abandon(&writer);

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    CHECK(wn_safetensors_create(path, &large, 1, &writer) == WN_ERR_IO && writer == NULL);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK_MESSAGE("model.safetensors: no room for 4194");
    CHECK(!wn_file_exists(path));
    wn_free(path);
    folder_remove(folder);
}

/* ---- floats in 16 bits ---- */

static float stored_value(enum wn_dtype dtype, uint16_t bits)
{
    struct wn_tensor tensor = {.name = "t", .dtype = dtype, .data = (const uint8_t *)&bits, .bytes = 2};
    float value;

    wn_tensor_to_float(&tensor, 0, 1, &value);
    return value;
}

/* Every stored value comes back as itself. */
static void check_all(enum wn_dtype dtype)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float value = stored_value(dtype, (uint16_t)bits);
        uint16_t out;
        int64_t overflows, inexact = wn_tensor_from_float(dtype, &value, 1, &out, &overflows);
        CHECK(overflows == 0);
        if (isnan(value))
            CHECK(isnan(stored_value(dtype, out)));
        else
            CHECK(out == bits && inexact == 0);
    }
}

/* No neighbour is nearer; of two that are as near, the even one was chosen. */
static void check_nearest(enum wn_dtype dtype, float value)
{
    uint16_t out;
    int64_t overflows, inexact = wn_tensor_from_float(dtype, &value, 1, &out, &overflows);
    double distance = fabs((double)stored_value(dtype, out) - (double)value);

    CHECK(overflows == 0 && inexact == (distance != 0));
    for (int step = -1; step <= 1; step += 2) {
        float other = stored_value(dtype, (uint16_t)(out + step));
        if (!isfinite(other) || signbit(other) != signbit(value))
            continue;
        double there = fabs((double)other - (double)value);
        CHECK(there > distance || (there == distance && out % 2 == 0));
    }
}

static void check_rounding(enum wn_dtype dtype, int lowest, int highest)
{
    for (uint64_t i = 0; i < 200000; i++) {
        double mantissa = 1 + wn_random_uniform(7, 0, i), exponent = wn_random_uniform(7, 1, i);
        float value = (float)ldexp(mantissa, lowest + (int)(exponent * (highest - lowest)));
        check_nearest(dtype, i % 2 ? value : -value);
    }
    for (uint32_t bits = 1; bits < 0x7B00; bits += 3) { /* halfway between neighbours, and beside it */
        float halfway =
            (float)(((double)stored_value(dtype, (uint16_t)bits) + (double)stored_value(dtype, (uint16_t)(bits + 1))) /
                    2);
        check_nearest(dtype, halfway);
        check_nearest(dtype, nextafterf(halfway, 0.0f));
        check_nearest(dtype, nextafterf(halfway, INFINITY));
    }
}

static void check_overflow(void)
{
    const float values[] = {65504.0f, 65519.996f, 65520.0f, -1e30f, INFINITY, NAN, 0.1f};
    uint16_t out[7];
    int64_t overflows, inexact = wn_tensor_from_float(WN_F16, values, 7, out, &overflows);

    CHECK(overflows == 2);
    CHECK(inexact == 4 + (out[5] != 0x7E00));
    CHECK(out[0] == 0x7BFF && out[1] == 0x7BFF && out[2] == 0x7C00 && out[3] == 0xFC00 && out[4] == 0x7C00);
    float copy[7];
    CHECK(wn_tensor_from_float(WN_F32, values, 7, copy, &overflows) == 0 && overflows == 0);
    CHECK(memcmp(copy, values, sizeof values) == 0);
}

int main(void)
{
    check_pieces(64);
    check_pieces(1);
    check_pieces(4);
    check_failures();
    check_all(WN_F16);
    check_all(WN_BF16);
    check_rounding(WN_F16, -28, 15);
    check_rounding(WN_BF16, -130, 126);
    check_overflow();
    return test_finish();
}
