/* SPDX-License-Identifier: Apache-2.0 */
/* Packed linears on few rows: the bits of their fp32 weights, on every instruction set, and the kernel that is meant.
 */
#include <winnow/kernels.h>

#include "../../src/kernels/strips.h"
#include "make_linear.h"
#include "test.h"

#include <math.h>

static void check_apply(const struct wn_packed_linear *linear, const float *x, int64_t rows, int64_t in,
                        const float *weights, const float *bias, int64_t out)
{
    const int64_t stride = out + 1;
    const size_t bytes = (size_t)(rows * stride) * sizeof(float);
    float *expected = wn_alloc_zero(rows * stride, sizeof *expected), *y = wn_alloc_zero(rows * stride, sizeof *y);
    wn_linear_few_rows(x, rows, in, weights, out, bias, expected, stride);
    for (int threads = 1; threads <= 3; threads += 2) {
        test_set_threads(threads);
        memset(y, 0, bytes);
        wn_packed_linear_apply(linear, x, rows, bias, y, stride);
        CHECK(!memcmp(y, expected, bytes));
    }
    wn_free(expected);
    wn_free(y);
}

/* What was taken over comes back, and rows that begin and end inside of strips. */
static void check_bytes_and_rows(const struct wn_packed_linear *linear, const uint8_t *bytes, const float *weights,
                                 int64_t out, int64_t in)
{
    const struct wn_packed *form = wn_packed_linear_form(linear);
    const struct wn_row_source *source = wn_packed_linear_source(linear);
    uint8_t *again = wn_alloc(form->size, 1);
    float *rows = wn_alloc(out * in, sizeof *rows);
    wn_packed_linear_write(linear, again);
    CHECK(!memcmp(again, bytes, (size_t)form->size));
    for (int64_t first = 0; first < out; first += 5)
        for (int64_t end = first + 1; end <= out; end += 13) {
            source->take(source->context, first, end, rows);
            CHECK(!memcmp(rows, weights + first * in, (size_t)((end - first) * in) * sizeof *rows));
        }
    wn_free(rows);
    wn_free(again);
}

/* `kernel`: its name without that of the instruction set. */
static void check_form(const struct made *made, int64_t out, int64_t in, const char *kernel)
{
    static const int64_t counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 33, 40};
    const enum wn_isa widest = wn_isa();
    float *weights = wn_alloc(out * in, sizeof *weights), *x = wn_alloc(40 * in, sizeof *x);
    float *bias = wn_alloc(out, sizeof *bias);
    struct wn_packed packed;
    make_linear(made, out, in, 7, weights, &packed);
    uint8_t *bytes = packed.owned;
    const int64_t size = packed.size;
    for (int64_t i = 0; i < 40 * in; i++)
        x[i] = made_number(8, i);
    for (int64_t i = 0; i < out; i++)
        bias[i] = made_number(9, i);
    for (int isa = WN_ISA_PLAIN; isa <= (int)widest; isa++) {
        char name[32];
        wn_isa_limit((enum wn_isa)isa);
        CHECK((int)wn_isa() == isa);
        uint8_t *copy = wn_alloc(size, 1);
        memcpy(copy, bytes, (size_t)size);
        CHECK_OK(wn_packed_open("test", copy, size, &packed));
        packed.owned = copy;
        const int64_t before = wn_memory_bytes();
        struct wn_packed_linear *linear = wn_packed_linear_create(&packed);
        CHECK(wn_memory_bytes() - before == wn_packed_linear_own_bytes(linear));
        if (isa == WN_ISA_PLAIN || !strcmp(kernel, "unpacked"))
            snprintf(name, sizeof name, "unpacked");
        else
            snprintf(name, sizeof name, "%s %s", kernel, wn_isa_name((enum wn_isa)isa));
        CHECK_TEXT(wn_packed_linear_kernel(linear), name);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            check_apply(linear, x, counts[i], in, weights, i % 2 ? bias : NULL, out);
        check_bytes_and_rows(linear, bytes, weights, out, in);
        wn_packed_linear_destroy(&linear);
        CHECK(!linear);
    }
    wn_isa_limit(WN_ISA_AVX512);
    wn_free(bytes);
    wn_free(weights);
    wn_free(x);
    wn_free(bias);
}

/* Inputs whose products with zeros are felt: NaN and infinities, and sums that underflow to -0. */
static void check_felt_zeros(const struct made *made, int64_t out, int64_t in)
{
    const float special[] = {NAN, INFINITY, -INFINITY, 0};
    float *weights = wn_alloc(out * in, sizeof *weights), *x = wn_alloc(3 * in, sizeof *x);
    float *y = wn_alloc(3 * out, sizeof *y), *expected = wn_alloc(3 * out, sizeof *expected);
    struct wn_packed packed;
    make_linear(made, out, in, 7, weights, &packed);
    struct wn_packed_linear *linear = wn_packed_linear_create(&packed);
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        int64_t felt = 0;
        for (int64_t k = 0; k < 3 * in; k++)
            x[k] = i == 3 ? copysignf(0x1p-149F, made_number(5, k)) : made_number(5, k);
        x[in + 5] += special[i];
        for (int64_t rows = 1; rows <= 3; rows += 2) {
            wn_linear_few_rows(x + (3 - rows) / 2 * in, rows, in, weights, out, NULL, expected, out);
            wn_packed_linear_apply(linear, x + (3 - rows) / 2 * in, rows, NULL, y, out);
            CHECK(!memcmp(y, expected, (size_t)(rows * out) * sizeof *y));
            for (int64_t k = 0; k < rows * out; k++)
                felt += i == 3 ? y[k] == 0 : !(fabsf(y[k]) < INFINITY);
        }
        CHECK(felt > (i == 3 ? made->run ? -1 : 8 : out / 4));
    }
    wn_packed_linear_destroy(&linear);
    wn_free(weights);
    wn_free(x);
    wn_free(y);
    wn_free(expected);
}

/* How many strips of a linear are in lists. */
static int64_t listed_strips(const struct made *made, int64_t out, int64_t in)
{
    float *weights = wn_alloc(out * in, sizeof *weights);
    int64_t listed = 0;
    for (int64_t i = 0; i < out * in; i++)
        weights[i] = is_made_zero(made, i) ? 0 : 1;
    for (int64_t strip = 0; strip < out / 16; strip++) {
        int64_t stored = 0;
        for (int64_t i = 0; i < 16 * in; i++)
            stored += weights[strip * 16 * in + i] != 0;
        listed += strips_listed(stored, in);
    }
    wn_free(weights);
    return listed;
}

/* Lists: long gaps, rows of very different lengths, strips with masks between them, more strips than a call takes. */
static void check_lists(void)
{
    const struct made few = {.bits = 32, .zeros = 90}, fewer = {.bits = 16, .zeros = 97},
                      least = {.bits = 11, .zeros = 99};
    const struct made mixed = {.bits = 32, .zeros = 88}, ended = {.bits = 16, .zeros = 80, .last = 300 * 288};
    CHECK(listed_strips(&few, 528, 288) == 33 && listed_strips(&fewer, 33, 1100) == 2);
    CHECK(listed_strips(&least, 33, 288) == 2);
    const int64_t some = listed_strips(&mixed, 528, 288), rest = listed_strips(&ended, 528, 288);
    CHECK(some > 5 && some < 28 && rest > 5 && rest < 28);
    check_form(&few, 528, 288, "sparse fp32");
    check_form(&fewer, 33, 1100, "sparse bf16");
    check_form(&least, 33, 288, "sparse fp16");
    check_form(&mixed, 528, 288, "sparse fp32");
    check_form(&ended, 528, 288, "sparse bf16");
    check_form(&(struct made){.bits = 11, .zeros = 96}, 48, 4000, "sparse fp16");
    check_felt_zeros(&least, 96, 288);
}

static void check_pairs(void)
{
    static const int bits[] = {11, 16, 32};
    static const char *const names[] = {"sparse fp16", "sparse bf16", "sparse fp32"};
    for (int i = 0; i < 3; i++) {
        check_form(&(struct made){.bits = bits[i], .kept = 2, .run = 4}, 37, 96, names[i]);
        check_form(&(struct made){.bits = bits[i], .kept = 2, .run = 4}, 528, 160, names[i]);
        check_felt_zeros(&(struct made){.bits = bits[i], .kept = 2, .run = 4}, 48, 128);
    }
}

static void check_bytes(void)
{
    const struct made made = {.bits = 4, .group = 128};
    enum { OUT = 64, IN = 256 };
    float *weights = wn_alloc(OUT * IN, sizeof *weights);
    struct wn_packed packed;
    make_linear(&made, OUT, IN, 1, weights, &packed);
    struct wn_packed_linear *linear = wn_packed_linear_create(&packed);
    const int64_t form = wn_packed_linear_form(linear)->size - WN_PACKED_HEADER - WN_PACKED_TRAILER;
    /* with a kernel: codes, and two floats for each grid */
    const int64_t once = wn_isa() > WN_ISA_PLAIN ? OUT * IN / 2 + OUT * 2 * 8 : form;
    CHECK(wn_packed_linear_bytes(linear, 1) == once && wn_packed_linear_bytes(linear, 32) == once);
    CHECK(wn_packed_linear_bytes(linear, 33) == 2 * once);
    wn_packed_linear_destroy(&linear);
    wn_free(weights);
}

int main(void)
{
    static const int bits[] = {2, 3, 4, 5, 6, 7, 8};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        check_form(&(struct made){.bits = bits[i], .group = 32}, 48, 64, "codes");
        check_form(&(struct made){.bits = bits[i], .group = 64, .symmetric = true}, 53, 608, "codes");
        check_form(&(struct made){.bits = bits[i], .group = 96}, 32, 288 + 32, "codes");
        check_form(&(struct made){.bits = bits[i]}, 16, 32, "codes");
        check_form(&(struct made){.bits = bits[i], .group = 24}, 40, 96, "codes");
        check_form(&(struct made){.bits = bits[i], .group = 20}, 40, 20, "unpacked");
        check_form(&(struct made){.bits = bits[i], .group = 16, .ordered = true, .broken = true, .outliers = 30}, 35,
                   288, "codes");
    }
    check_form(&(struct made){.bits = 1, .group = 64, .broken = true}, 48, 128, "codes");
    check_form(&(struct made){.bits = 4, .group = 16}, 37, 48, "codes");
    check_form(&(struct made){.bits = 4, .group = 32, .outliers = 10}, 37, 352, "codes");
    check_form(&(struct made){.bits = 4, .group = 32, .ordered = true}, 37, 352, "codes");
    check_form(&(struct made){.bits = 4, .group = 32, .scaled = true}, 37, 352, "codes");
    check_form(&(struct made){.bits = 8, .group = 352, .scaled = true, .outliers = 5}, 37, 352, "codes");
    check_form(&(struct made){.bits = 4, .group = 32}, 15, 64, "unpacked");
    check_form(&(struct made){.bits = 16}, 50, 80, "bf16");
    check_form(&(struct made){.bits = 16}, 39, 144, "bf16");
    check_form(&(struct made){.bits = 11}, 39, 144, "fp16");
    check_form(&(struct made){.bits = 16, .kept = 2, .run = 4}, 37, 64, "sparse bf16");
    check_form(&(struct made){.bits = 32, .kept = 2, .run = 4}, 32, 148, "sparse fp32");
    for (int zeros = 30; zeros <= 96; zeros += 33) {
        check_form(&(struct made){.bits = 16, .zeros = zeros}, 50, 133, "sparse bf16");
        check_form(&(struct made){.bits = 11, .zeros = zeros}, 33, 48, "sparse fp16");
        check_form(&(struct made){.bits = 32, .zeros = zeros}, 33, 301, "sparse fp32");
    }
    /* more strips than a call takes; then next to nothing is stored from the middle of the first call on */
    check_form(&(struct made){.bits = 32, .zeros = 50}, 70, 64, "sparse fp32");
    for (int stored = 0; stored < 64; stored += 3)
        check_form(&(struct made){.bits = 32, .zeros = 50, .last = 16 * 64 + stored}, 64, 64, "sparse fp32");
    check_form(&(struct made){.bits = 8, .group = 128, .zeros = 50}, 32, 128, "unpacked");
    check_form(&(struct made){.bits = 32}, 33, 40, "unpacked");
    check_lists();
    check_pairs();
    check_form(&(struct made){.bits = 4, .group = 32, .ordered = true}, 528, 96, "codes");
    check_form(&(struct made){.bits = 4, .group = 32}, 528, 96, "codes");
    check_form(&(struct made){.bits = 16}, 528, 96, "bf16");
    check_bytes();
    return test_finish();
}
