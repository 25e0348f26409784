/* Packed linears on few rows: the bits of their fp32 weights, on every instruction set, and the kernel that is meant.
 */
#include <winnow/kernels.h>

#include "make_linear.h"
#include "test.h"

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

/* `kernel`: its name without that of the instruction set. */
static void check_form(const struct made *made, int64_t out, int64_t in, const char *kernel)
{
    static const int64_t counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 33, 40};
    const enum wn_isa widest = wn_isa();
    float *weights = wn_alloc(out * in, sizeof *weights), *x = wn_alloc(40 * in, sizeof *x);
    float *bias = wn_alloc(out, sizeof *bias);
    struct wn_packed packed;
    make_linear(made, out, in, 7, weights, &packed);
    for (int64_t i = 0; i < 40 * in; i++)
        x[i] = made_number(8, i);
    for (int64_t i = 0; i < out; i++)
        bias[i] = made_number(9, i);
    for (int isa = WN_ISA_PLAIN; isa <= (int)widest; isa++) {
        char name[32];
        wn_isa_limit((enum wn_isa)isa);
        CHECK((int)wn_isa() == isa);
        const int64_t before = wn_memory_bytes();
        struct wn_packed_linear *linear = wn_packed_linear_create(&packed);
        CHECK(wn_memory_bytes() - before == wn_packed_linear_own_bytes(linear));
        if (isa == WN_ISA_PLAIN || !strcmp(kernel, "unpacked"))
            snprintf(name, sizeof name, "unpacked");
        else
            snprintf(name, sizeof name, "%s %s", kernel, wn_isa_name((enum wn_isa)isa));
        CHECK(!strcmp(wn_packed_linear_kernel(linear), name));
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            check_apply(linear, x, counts[i], in, weights, i % 2 ? bias : NULL, out);
        wn_packed_linear_destroy(&linear);
        CHECK(!linear);
    }
    wn_isa_limit(WN_ISA_AVX512);
    wn_packed_release(&packed);
    wn_free(weights);
    wn_free(x);
    wn_free(bias);
}

static void check_bytes(void)
{
    const struct made made = {.bits = 4, .group = 128};
    enum { OUT = 64, IN = 256 };
    float *weights = wn_alloc(OUT * IN, sizeof *weights);
    struct wn_packed packed;
    make_linear(&made, OUT, IN, 1, weights, &packed);
    struct wn_packed_linear *linear = wn_packed_linear_create(&packed);
    if (wn_isa() > WN_ISA_PLAIN) { /* codes, and two floats for each grid */
        CHECK(wn_packed_linear_bytes(linear, 1) == OUT * IN / 2 + OUT * 2 * 8);
        CHECK(wn_packed_linear_bytes(linear, 8) == wn_packed_linear_bytes(linear, 1));
    }
    const int64_t form = packed.size - WN_PACKED_HEADER - WN_PACKED_TRAILER;
    CHECK(wn_packed_linear_bytes(linear, 32) == form && wn_packed_linear_bytes(linear, 64) == 2 * form);
    wn_packed_linear_destroy(&linear);
    wn_packed_release(&packed);
    wn_free(weights);
}

int main(void)
{
    static const int bits[] = {2, 3, 4, 8};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        check_form(&(struct made){.bits = bits[i], .group = 32}, 48, 64, "codes");
        check_form(&(struct made){.bits = bits[i], .group = 64, .symmetric = true}, 53, 608, "codes");
        check_form(&(struct made){.bits = bits[i], .group = 96}, 32, 288 + 32, "codes");
        check_form(&(struct made){.bits = bits[i]}, 16, 32, "codes");
        check_form(&(struct made){.bits = bits[i], .group = 24}, 40, 96, "unpacked");
        check_form(&(struct made){.bits = bits[i], .group = 20}, 40, 20, "unpacked");
    }
    check_form(&(struct made){.bits = 4, .group = 16}, 37, 48, "codes");
    check_form(&(struct made){.bits = 5, .group = 32}, 16, 64, "unpacked");
    check_form(&(struct made){.bits = 16}, 50, 80, "bf16");
    check_form(&(struct made){.bits = 16}, 7, 144, "bf16");
    check_form(&(struct made){.bits = 16, .kept = 2, .run = 4}, 32, 64, "unpacked");
    check_form(&(struct made){.bits = 32}, 33, 40, "unpacked");
    check_bytes();
    return test_finish();
}
