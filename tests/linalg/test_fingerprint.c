/* SPDX-License-Identifier: Apache-2.0 */
/* The fingerprint of weights: every bit counts, threads do not. */
#include <string.h>

#include <winnow/linalg.h>

#include "test.h"

enum { COUNT = 300007 };

static uint64_t of(const float *values)
{
    return wn_fingerprint(0, values, COUNT);
}

static void flip(float *value, int bit)
{
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    bits ^= 1u << bit;
    memcpy(value, &bits, sizeof bits);
}

/* One bit anywhere: at both ends, around the ends of blocks and in the tail. */
static void test_bits(float *values)
{
    static const int64_t places[] = {0, 1, 15, 16, 16383, 16384, 16385, COUNT / 2, COUNT - 8, COUNT - 2, COUNT - 1};
    uint64_t whole = of(values);

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (int bit = 0; bit < 32; bit++) {
            flip(&values[places[i]], bit);
            CHECK(of(values) != whole);
            flip(&values[places[i]], bit);
        }
    CHECK(of(values) == whole);
}

/* Pairs of signs, which a plain product would let cancel, and values that change places. */
static void test_pairs(float *values)
{
    uint64_t whole = of(values);

    for (int64_t step = 1; step < 300; step++) {
        flip(&values[1001], 31);
        flip(&values[1001 + step], 31);
        CHECK(of(values) != whole);
        flip(&values[1001], 31);
        flip(&values[1001 + step], 31);
        float first = values[1001];
        values[1001] = values[1001 + step];
        values[1001 + step] = first;
        CHECK(of(values) != whole);
        values[1001 + step] = values[1001];
        values[1001] = first;
    }
    CHECK(of(values) == whole);
}

static void test_threads(const float *values)
{
    uint64_t first = 0;

    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        uint64_t here = of(values);
        first = threads == 1 ? here : first;
        CHECK(here == first);
    }
}

static void test_chain(const float *values)
{
    uint64_t two = wn_fingerprint(wn_fingerprint(0, values, 5), values + 5, 7);

    CHECK(two == wn_fingerprint(wn_fingerprint(0, values, 5), values + 5, 7));
    CHECK(two != wn_fingerprint(wn_fingerprint(0, values + 5, 7), values, 5));
    CHECK(two != wn_fingerprint(wn_fingerprint(0, values, 6), values + 6, 6));
    CHECK(wn_fingerprint(3, values, 0) == 3);
}

int main(void)
{
    float *values = wn_alloc(COUNT, sizeof *values);

    for (int64_t i = 0; i < COUNT; i++)
        values[i] = (float)((i * 7919) % 100003) / 1000.0f - 50.0f;
    test_bits(values);
    test_pairs(values);
    test_threads(values);
    test_chain(values);
    wn_free(values);
    return test_finish();
}
