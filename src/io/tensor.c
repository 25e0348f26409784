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
        uint32_t bits = (uint32_t)upper << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

void wn_tensor_to_float(const struct wn_tensor *tensor, int64_t first, int64_t count, float *out)
{
    int64_t size = tensor->dtype == WN_F32 ? 4 : 2;

    if (tensor->dtype == WN_OTHER)
        WN_BUG("the tensor \"%s\" of dtype %s has no floats", tensor->name, tensor->dtype_name);
    if (first < 0 || count < 0 || first > tensor->bytes / size - count)
        WN_BUG("elements %lld to %lld of the tensor \"%s\" with %lld were asked for", (long long)first,
               (long long)(first + count), tensor->name, (long long)(tensor->bytes / size));
    const uint8_t *data = tensor->data + first * size;
    if (tensor->dtype == WN_F16)
        half_to_float(data, count, out);
    else if (tensor->dtype == WN_BF16)
        bfloat_to_float(data, count, out);
    else if (count > 0)
        memcpy(out, data, (size_t)(count * size));
}
