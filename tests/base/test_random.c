/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Philox 4x32-10 against the known answers of Random123 (its kat_vectors), MT19937 against CPython 3.11:
 * the lines in comments are what python3 was asked.
 */
#include "test.h"

/* The first two words of the answers, low word first. */
static void check_philox(void)
{
    CHECK(wn_random_u64(0, 0, 0) == UINT64_C(0xe169c58d6627e8d5));
    CHECK(wn_random_u64(UINT64_MAX, UINT64_MAX, UINT64_MAX) == UINT64_C(0x41c83b0e408f276d));
    CHECK(wn_random_u64(UINT64_C(0x299f31d0a4093822), UINT64_C(0x0370734413198a2e), UINT64_C(0x85a308d3243f6a88)) ==
          UINT64_C(0x94fdccebd16cfe09));
}

static void check_uniform(void)
{
    enum { DRAWS = 100000 };
    double sum = 0, squares = 0, smallest = 1, largest = 0;

    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = wn_random_uniform(3, 5, i);
        sum += u;
        squares += u * u;
        smallest = fmin(smallest, u);
        largest = fmax(largest, u);
    }
    CHECK(smallest >= 0 && smallest < 1e-3 && largest < 1 && largest > 1 - 1e-3);
    CHECK_NEAR(sum / DRAWS, 0.5, 5 * sqrt(1.0 / 12 / DRAWS));
    CHECK_NEAR(squares / DRAWS, 1.0 / 3, 5 * sqrt(4.0 / 45 / DRAWS));
    CHECK(wn_random_u64(3, 5, 7) == wn_random_u64(3, 5, 7));
    CHECK(wn_random_u64(3, 5, 7) != wn_random_u64(3, 7, 5));
    CHECK(wn_random_u64(3, 5, 7) != wn_random_u64(5, 3, 7));
}

static void check_outputs(uint64_t seed, const uint32_t *expected, int count)
{
    struct wn_mt mt;

    wn_mt_seed(&mt, seed);
    for (int i = 0; i < count; i++)
        CHECK(wn_mt_u32(&mt) == expected[i]);
}

static void check_mt_outputs(void)
{
    struct wn_mt mt;
    uint32_t last = 0;

    /* r = random.Random(seed); r.getrandbits(32) */
    check_outputs(0, (const uint32_t[]){3626764237, 1654615998, 3255389356, 3823568514}, 4);
    check_outputs((UINT64_C(1) << 40) + 7, (const uint32_t[]){2635837658, 3209733218, 3500038837, 4028389051}, 4);
    check_outputs(UINT64_MAX, (const uint32_t[]){93740670, 1068495656}, 2);
    /* the 2000th, so three refills later */
    wn_mt_seed(&mt, 5);
    for (int i = 0; i < 2000; i++)
        last = wn_mt_u32(&mt);
    CHECK(last == 2894893787);
}

static void check_randint(struct wn_mt *mt, int64_t low, int64_t high, const int64_t *expected, int count)
{
    for (int i = 0; i < count; i++)
        CHECK(wn_mt_randint(mt, low, high) == expected[i]);
}

static void check_mt_randint(void)
{
    struct wn_mt mt;

    /* random.Random(0).randint(0, 99999) */
    wn_mt_seed(&mt, 0);
    check_randint(&mt, 0, 99999, (const int64_t[]){50494, 99346, 55125, 5306, 33936, 67013}, 6);
    /* random.Random(1234).randint(-5, 5) */
    wn_mt_seed(&mt, 1234);
    check_randint(&mt, -5, 5, (const int64_t[]){2, -4, -5, -4, 4, -5, 5, -4, -4, 0, -2, -5}, 12);
    /* random.Random(42).randint(0, 2**53 - 2): two outputs per value */
    wn_mt_seed(&mt, 42);
    check_randint(&mt, 0, (INT64_C(1) << 53) - 2,
                  (const int64_t[]){1002783120652701, 6679292727990993, 2205789010285143, 1256845828445918}, 4);
    /* random.Random(7): ranges of 2**32 and of one more need 33 bits */
    wn_mt_seed(&mt, 7);
    check_randint(&mt, 0, 4294967295, (const int64_t[]){647892279, 2795742288, 2301595691}, 3);
    check_randint(&mt, 0, 4294967296, (const int64_t[]){2179419893, 161042648, 1862494042}, 3);
    /* one value: still one draw of one bit until it is 0, as CPython does */
    check_randint(&mt, 9, 9, (const int64_t[]){9}, 1);
}

static void check_mt_shuffle(void)
{
    static const int64_t expected[] = {19, 13, 4, 9, 16, 7, 6, 8, 17, 18, 5, 12, 15, 11, 10, 1, 2, 0, 3, 14};
    int64_t order[20], one = 1;
    struct wn_mt mt;

    /* r = random.Random(1234); x = list(range(20)); r.shuffle(x); x, r.getrandbits(32) */
    wn_mt_seed(&mt, 1234);
    for (int i = 0; i < 20; i++)
        order[i] = i;
    wn_mt_shuffle(&mt, order, 20);
    CHECK(memcmp(order, expected, sizeof order) == 0);
    wn_mt_shuffle(&mt, &one, 1);
    wn_mt_shuffle(&mt, NULL, 0);
    CHECK(one == 1);
    CHECK(wn_mt_u32(&mt) == 638037343);
}

int main(void)
{
    check_philox();
    check_uniform();
    check_mt_outputs();
    check_mt_randint();
    check_mt_shuffle();
    return test_finish();
}
