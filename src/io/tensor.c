/* SPDX-License-Identifier: Apache-2.0 */
/* Stored numbers to float. Loads go through memcpy: the data of a file is aligned to nothing that could be relied on.
 */
#include <winnow/io.h>

#include <string.h>

/*
 * IEEE binary16: normal numbers get the exponent moved by 127 - 15, infinities and NaNs (payload kept) twice that;
 * subnormals are mantissa * 2^-24, which float holds as a normal number. Masks instead of branches and a union instead
 * of memcpy between float and bits, so that the loop becomes vector code.
 */
static inline uint32_t half_bits(uint32_t half)
{
    uint32_t magnitude = half & 0x7FFFu;
    uint32_t is_special = -(uint32_t)(magnitude >= 0x7C00u), is_subnormal = -(uint32_t)(magnitude < 0x0400u);
    uint32_t normal = (magnitude << 13) + (112u << 23) + (is_special & (112u << 23));
    union {
        float value;
        uint32_t bits;
    } subnormal = {.value = (float)(int32_t)magnitude * 0x1p-24f};

    return (half & 0x8000u) << 16 | (normal & ~is_subnormal) | (subnormal.bits & is_subnormal);
}

static void half_to_float(const uint8_t *restrict data, int64_t count, float *restrict out)
{
    for (int64_t i = 0; i < count; i++) {
        uint16_t half;
        union {
            uint32_t bits;
            float value;
        } number;
        memcpy(&half, data + 2 * i, sizeof half);
        number.bits = half_bits(half);
        out[i] = number.value;
    }
}

/* bfloat16 is the upper half of a float. */
static void bfloat_to_float(const uint8_t *restrict data, int64_t count, float *restrict out)
{
    for (int64_t i = 0; i < count; i++) {
        uint16_t upper;
        memcpy(&upper, data + 2 * i, sizeof upper);
        out[i] = wn_from_bf16(upper);
    }
}

static void double_to_float(const uint8_t *restrict data, int64_t count, float *restrict out)
{
    for (int64_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, data + 8 * i, sizeof value);
        out[i] = (float)value;
    }
}

/* One sign, four bits of exponent (7 is that of 1), three of mantissa; no infinities, all ones are no number. */
static inline float e4m3_value(uint32_t byte)
{
    uint32_t magnitude = byte & 0x7Fu;
    union {
        uint32_t bits;
        float value;
    } number = {.bits = (magnitude << 20) + (120u << 23)};

    if (magnitude < 8)
        number.value = (float)(int32_t)magnitude * 0x1p-9f;
    if (magnitude == 0x7Fu)
        number.bits = 0x7FC00000u;
    number.bits |= (byte & 0x80u) << 24;
    return number.value;
}

static void e4m3_to_float(const uint8_t *restrict data, int64_t count, float *restrict out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = e4m3_value(data[i]);
}

/* The upper half of a binary16. */
static void e5m2_to_float(const uint8_t *restrict data, int64_t count, float *restrict out)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = half_bits((uint32_t)data[i] << 8);
        memcpy(out + i, &bits, sizeof bits);
    }
}

int wn_dtype_bytes(enum wn_dtype dtype)
{
    static const int bytes[] = {
        [WN_F32] = 4, [WN_F16] = 2, [WN_BF16] = 2, [WN_F64] = 8, [WN_F8_E4M3] = 1, [WN_F8_E5M2] = 1, [WN_OTHER] = 0};

    return bytes[dtype];
}

static void convert(enum wn_dtype dtype, const uint8_t *data, int64_t count, float *out)
{
    if (dtype == WN_F16)
        half_to_float(data, count, out);
    else if (dtype == WN_BF16)
        bfloat_to_float(data, count, out);
    else if (dtype == WN_F64)
        double_to_float(data, count, out);
    else if (dtype == WN_F8_E4M3)
        e4m3_to_float(data, count, out);
    else if (dtype == WN_F8_E5M2)
        e5m2_to_float(data, count, out);
    else if (count > 0)
        memcpy(out, data, (size_t)count * sizeof *out);
}

/* Multiplies elements first .. of a matrix by their factors, run by run of those that share one. */
static void multiply(const struct wn_tensor *tensor, int64_t first, int64_t count, float *out)
{
    const struct wn_scale *scale = &tensor->scale;
    int64_t width = tensor->shape[1], bytes = wn_dtype_bytes(scale->dtype);
    for (int64_t i = 0; i < count;) {
        int64_t row = (first + i) / width, column = (first + i) % width, part = column / scale->columns;
        int64_t end = (part + 1) * scale->columns < width ? (part + 1) * scale->columns : width;
        int64_t stop = i + end - column < count ? i + end - column : count;
        float factor;
        convert(scale->dtype, scale->data + (row / scale->rows * scale->across + part) * bytes, 1, &factor);
        for (; i < stop; i++)
            out[i] *= factor;
    }
}

void wn_tensor_to_float(const struct wn_tensor *tensor, int64_t first, int64_t count, float *out)
{
    int64_t size = wn_dtype_bytes(tensor->dtype);

    if (tensor->dtype == WN_OTHER)
        WN_BUG("the tensor \"%s\" of dtype %s has no floats", tensor->name, tensor->dtype_name);
    if (first < 0 || count < 0 || first > tensor->bytes / size - count)
        WN_BUG("elements %lld to %lld of the tensor \"%s\" with %lld were asked for", (long long)first,
               (long long)(first + count), tensor->name, (long long)(tensor->bytes / size));
    convert(tensor->dtype, tensor->data + first * size, count, out);
    if (tensor->scale.data)
        multiply(tensor, first, count, out);
}
