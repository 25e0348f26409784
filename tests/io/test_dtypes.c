/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of 8 and 64 bits, and the factors of the former: against arithmetic in double. */
#include <winnow/io.h>

#include <math.h>
#include <string.h>

#include "folder.h"
#include "test.h"

/* A number of so many bits of mantissa below the exponent, without infinities and other special values. */
static double small_float(int byte, int mantissa_bits, int bias)
{
    int magnitude = byte & 127, exponent = magnitude >> mantissa_bits;
    int mantissa = magnitude & ((1 << mantissa_bits) - 1), one = 1 << mantissa_bits;
    double value =
        exponent ? ldexp(one + mantissa, exponent - bias - mantissa_bits) : ldexp(mantissa, 1 - bias - mantissa_bits);
    return byte & 128 ? -value : value;
}

static void check_bytes(enum wn_dtype dtype)
{
    uint8_t data[256];
    float values[256];
    int special = 0;
    for (int i = 0; i < 256; i++)
        data[i] = (uint8_t)i;
    const struct wn_tensor tensor = {.name = "t", .data = data, .bytes = 256, .dtype = dtype};
    wn_tensor_to_float(&tensor, 0, 256, values);
    for (int i = 0; i < 256; i++) {
        bool e4m3 = dtype == WN_F8_E4M3;
        if (!isfinite(values[i])) {
            special++;
            CHECK(e4m3 ? isnan(values[i]) && (i & 127) == 127 : (i & 127) >= 124);
            CHECK(e4m3 || (isnan(values[i]) != 0) == ((i & 127) > 124));
            continue;
        }
        CHECK((double)values[i] == (e4m3 ? small_float(i, 3, 7) : small_float(i, 2, 15)));
        CHECK(!signbit(values[i]) == !(i & 128));
    }
    CHECK(special == (dtype == WN_F8_E4M3 ? 2 : 8));
}

static void check_doubles(void)
{
    const double data[] = {1 + 0x1p-24, 1 + 0x1.8p-24, -3.5, 1e-50, 1e300};
    uint8_t odd[sizeof data + 1];
    float values[5];
    memcpy(odd + 1, data, sizeof data);
    const struct wn_tensor tensor = {.name = "t", .data = odd + 1, .bytes = sizeof data, .dtype = WN_F64};
    wn_tensor_to_float(&tensor, 0, 5, values);
    CHECK(values[0] == 1 && values[1] == 1 + 0x1p-23f && values[2] == -3.5f && values[3] == 0 && isinf(values[4]));
    wn_tensor_to_float(&tensor, 2, 1, values);
    CHECK(values[0] == -3.5f);
}

/* ---- factors ---- */

/* A checkpoint with a matrix "w" of E4M3, all bytes 0x38 (1.0), and its factors 1, 2, 3 ... as F32. */
static wn_status open_scaled(int64_t rows, int64_t columns, const char *name, const char *grid, int64_t parts,
                             const int64_t block[2], bool needed, struct wn_checkpoint **checkpoint)
{
    char *folder = folder_create();
    struct wn_text header = {0}, file = {0};
    float factors[64];
    int64_t begin = 4 * parts, end = begin + rows * columns;
    /* the writer's rule is the widest element first */
    wn_text_printf(&header,
                   "{\"%s\": {\"dtype\": \"F32\", \"shape\": %s, \"data_offsets\": [0, %lld]}, \"w\": {\"dtype\": "
                   "\"F8_E4M3\", \"shape\": [%lld, %lld], \"data_offsets\": [%lld, %lld]}}",
                   name, grid, (long long)begin, (long long)rows, (long long)columns, (long long)begin, (long long)end);
    uint64_t length = header.length;
    wn_text_append(&file, (const char *)&length, sizeof length);
    wn_text_append(&file, header.data, header.length);
    for (int64_t i = 0; i < parts; i++)
        factors[i] = (float)(i + 1);
    wn_text_append(&file, (const char *)factors, (size_t)parts * sizeof *factors);
    for (int64_t i = 0; i < rows * columns; i++)
        wn_text_append(&file, "\x38", 1);
    wn_free(folder_write(folder, "model.safetensors", file.data, file.length));
    CHECK_OK(wn_checkpoint_open(folder, checkpoint));
    wn_status status = wn_checkpoint_scale(*checkpoint, block, needed);
    if (status != WN_OK)
        wn_checkpoint_close(checkpoint);
    wn_text_release(&header);
    wn_text_release(&file);
    folder_remove(folder);
    return status;
}

/* Element (r, c) is the number, from 1, of the part it lies in; read in pieces that begin anywhere. */
static void check_grid(int64_t rows, int64_t columns, const char *grid, int64_t parts, const int64_t block[2],
                       int64_t part_rows, int64_t part_columns)
{
    struct wn_checkpoint *checkpoint;
    float values[512];
    int64_t across = (columns + part_columns - 1) / part_columns;
    CHECK_OK(open_scaled(rows, columns, "w_scale_inv", grid, parts, block, true, &checkpoint));
    const struct wn_tensor *tensor = wn_checkpoint_find(checkpoint, "w");
    CHECK(wn_checkpoint_find(checkpoint, "w_scale_inv")->is_scale && !tensor->is_scale);
    for (int64_t first = 0; first < rows * columns; first += 7) {
        int64_t count = rows * columns - first < 23 ? rows * columns - first : 23;
        wn_tensor_to_float(tensor, first, count, values);
        for (int64_t i = 0; i < count; i++) {
            int64_t row = (first + i) / columns, column = (first + i) % columns;
            int64_t part = row / part_rows * across + column / part_columns;
            CHECK(values[i] == (float)(part + 1));
        }
    }
    wn_checkpoint_close(&checkpoint);
}

static void check_refused(const char *name, const char *grid, int64_t parts, bool needed, const char *part)
{
    struct wn_checkpoint *checkpoint;
    const int64_t none[2] = {0};
    CHECK(open_scaled(6, 10, name, grid, parts, none, needed, &checkpoint) == WN_ERR_INPUT);
    CHECK_MESSAGE(part);
}

static void check_factors(void)
{
    const int64_t none[2] = {0}, block[2] = {4, 8};
    struct wn_checkpoint *checkpoint;
    float value;
    check_grid(6, 10, "[]", 1, none, 6, 10);
    check_grid(6, 10, "[1]", 1, none, 6, 10);
    check_grid(6, 10, "[6]", 6, none, 1, 10);
    check_grid(6, 10, "[6, 1]", 6, none, 1, 10);
    check_grid(6, 10, "[3, 2]", 6, none, 2, 5);
    /* blocks of config.json: the last are shorter; by division they would be 3 and 5 */
    check_grid(6, 10, "[2, 2]", 4, block, 4, 8);
    check_grid(6, 10, "[2, 2]", 4, none, 3, 5);
    check_refused("w_scale_inv", "[4, 2]", 8, true, "a grid of [4, 2] does not divide the matrix [6, 10]");
    check_refused("w_scale", "[3, 2, 1]", 6, true, "expected a grid");
    check_refused("other", "[1]", 1, true, "\"w_scale_inv\" is missing");
    CHECK_OK(open_scaled(6, 10, "other", "[1]", 1, none, false, &checkpoint));
    wn_tensor_to_float(wn_checkpoint_find(checkpoint, "w"), 59, 1, &value);
    CHECK(value == 1);
    wn_checkpoint_close(&checkpoint);
}

int main(void)
{
    check_bytes(WN_F8_E4M3);
    check_bytes(WN_F8_E5M2);
    check_doubles();
    check_factors();
    return test_finish();
}
