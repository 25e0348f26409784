/* SPDX-License-Identifier: Apache-2.0 */
/* plain_reader.h: packed bytes as pack.h describes them, read by code of its own: plain and slow. */
#ifndef WINNOW_TEST_PLAIN_READER_H
#define WINNOW_TEST_PLAIN_READER_H

#include <winnow/pack.h>

#include "test.h"

struct reader {
    const uint8_t *bytes;
    int64_t at; /* of the next array */
};

static int64_t whole(const uint8_t *bytes, int64_t at)
{
    int64_t value = 0;

    for (int i = 7; i >= 0; i--)
        value = value * 256 + bytes[at + i];
    return value;
}

static uint32_t word(const uint8_t *bytes, int64_t at)
{
    return (uint32_t)bytes[at] | (uint32_t)bytes[at + 1] << 8 | (uint32_t)bytes[at + 2] << 16 |
           (uint32_t)bytes[at + 3] << 24;
}

static const uint8_t *next_array(struct reader *reader, int64_t bytes)
{
    const uint8_t *array = reader->bytes + reader->at;

    reader->at += bytes + (8 - bytes % 8) % 8;
    return array;
}

static int stream(const uint8_t *bytes, int64_t index, int bits)
{
    int code = 0;

    for (int k = 0; k < bits; k++)
        code |= (bytes[(index * bits + k) / 8] >> (index * bits + k) % 8 & 1) << k;
    return code;
}

static float half_value(uint32_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);

    return (float)(half >> 15 ? -size : size);
}

/* Number `index` of an array of kind 1 fp32, 2 fp16, 3 bf16. */
static float number(const uint8_t *data, int kind, int64_t index)
{
    uint32_t bits = kind == 1 ? word(data, 4 * index) : (uint32_t)data[2 * index] | (uint32_t)data[2 * index + 1] << 8;
    float value;

    if (kind == 2)
        return half_value(bits);
    if (kind == 3)
        bits <<= 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int64_t number_bytes(int kind)
{
    return kind == 1 ? 4 : kind == 2 || kind == 3 ? 2 : 0;
}

/* Scales or zero points of all grids: kinds 1 to 3, 4 codes, 5 second level, 6 constant. */
static void read_grids(struct reader *reader, int kind, int bits, float constant, int64_t rows, int64_t grid_rows,
                       int64_t n_groups, int64_t run_rows, float *out)
{
    int64_t coded = (n_groups * bits + 7) / 8, runs = (rows + run_rows - 1) / run_rows;
    int64_t row_bytes = kind == 4 || kind == 5 ? coded : n_groups * number_bytes(kind);
    const uint8_t *data = next_array(reader, grid_rows * row_bytes);
    const uint8_t *scales = next_array(reader, kind == 5 ? runs * n_groups * 4 : 0);
    const uint8_t *zeros = next_array(reader, kind == 5 ? runs * n_groups * 4 : 0);

    for (int64_t r = 0; r < grid_rows; r++)
        for (int64_t g = 0; g < n_groups; g++) {
            float *value = &out[r * n_groups + g];
            int64_t grid = r / run_rows * n_groups + g;
            if (kind <= 3)
                *value = number(data + r * row_bytes, kind, g);
            else if (kind == 6)
                *value = constant;
            else
                *value = (float)stream(data + r * row_bytes, g, bits);
            if (kind == 5)
                *value = number(scales, 1, grid) * (*value - number(zeros, 1, grid));
        }
}

static void read_plainly(const uint8_t *bytes, float *out)
{
    struct reader reader = {bytes, 128};
    const uint8_t *small = bytes + 112;
    int64_t rows = whole(bytes, 24), columns = whole(bytes, 32), run = whole(bytes, 48), kept = whole(bytes, 56);
    int64_t group = whole(bytes, 64), n_groups = whole(bytes, 72), run_rows = whole(bytes, 80);
    int64_t n_outliers = whole(bytes, 88), mask_bytes = (columns + 7) / 8, grid_rows = group ? rows : 1;
    int set = small[0], kind = small[1], bits = small[2], group_bytes = small[3];
    const uint8_t *mask = next_array(&reader, set ? rows * mask_bytes : 0);
    const uint8_t *start = next_array(&reader, set == 1 ? 4 * (rows + 1) : 0);
    int64_t even = set == 2 ? columns / run * kept : columns;
    int64_t even_bytes = bits ? (even * bits + 7) / 8 : even * number_bytes(kind);
    const uint8_t *values = next_array(&reader, set == 1 ? word(start, 4 * rows) : rows * even_bytes);
    float *scales = NULL, *zeros = NULL;

    if (bits) {
        scales = wn_alloc(grid_rows * n_groups, sizeof(float));
        zeros = wn_alloc(grid_rows * n_groups, sizeof(float));
        read_grids(&reader, small[4], small[5], 0, rows, grid_rows, n_groups, run_rows, scales);
        read_grids(&reader, small[6], small[7], number(bytes + 96, 1, 0), rows, grid_rows, n_groups, run_rows, zeros);
    }
    const uint8_t *groups = next_array(&reader, columns * group_bytes);
    const uint8_t *outlier_start = next_array(&reader, n_outliers ? 4 * (rows + 1) : 0);
    const uint8_t *outlier_columns = next_array(&reader, (columns <= 65536 ? 2 : 4) * n_outliers);
    const uint8_t *outlier_values = next_array(&reader, n_outliers * number_bytes(small[8]));
    const uint8_t *input_scale = next_array(&reader, columns * number_bytes(small[9]));
    CHECK(reader.at + 32 == whole(bytes, 16));
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *row = values + (set == 1 ? word(start, 4 * r) : (uint32_t)(r * even_bytes));
        int64_t place = 0;
        for (int64_t j = 0; j < columns; j++) {
            int64_t g = group_bytes == 2   ? groups[2 * j] | groups[2 * j + 1] << 8
                        : group_bytes == 4 ? word(groups, 4 * j)
                        : group            ? j / group
                                           : 0;
            int64_t grid = (group ? r : 0) * n_groups + g;
            float *w = &out[r * columns + j];
            *w = 0;
            if (set && !(mask[r * mask_bytes + j / 8] >> j % 8 & 1))
                continue;
            if (bits)
                *w = scales[grid] * ((float)stream(row, place, bits) - zeros[grid]);
            else if (kind)
                *w = number(row, kind, place);
            if (small[9])
                *w /= number(input_scale, small[9], j);
            place++;
        }
        for (int64_t i = n_outliers ? word(outlier_start, 4 * r) : 0; n_outliers && i < word(outlier_start, 4 * r + 4);
             i++) {
            const uint8_t *c = outlier_columns + (columns <= 65536 ? 2 : 4) * i;
            out[r * columns + (columns <= 65536 ? (uint32_t)(c[0] | c[1] << 8) : word(c, 0))] =
                number(outlier_values, small[8], i);
        }
    }
    wn_free(zeros);
    wn_free(scales);
}

#endif
