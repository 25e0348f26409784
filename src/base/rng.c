/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
 * and MT19937 (Matsumoto, Nishimura, ACM TOMACS 8, 1998) seeded and consumed as CPython's `random` does.
 */
#include <winnow/base.h>

/* ---- Philox ---- */

enum { PHILOX_ROUNDS = 10 };

static void philox_round(uint32_t counter[4], const uint32_t key[2])
{
    uint64_t product0 = UINT64_C(0xD2511F53) * counter[0];
    uint64_t product1 = UINT64_C(0xCD9E8D57) * counter[2];
    uint32_t word0 = (uint32_t)(product1 >> 32) ^ counter[1] ^ key[0];
    uint32_t word2 = (uint32_t)(product0 >> 32) ^ counter[3] ^ key[1];

    counter[0] = word0;
    counter[1] = (uint32_t)product1;
    counter[2] = word2;
    counter[3] = (uint32_t)product0;
}

/* Key = seed, counter = (index, stream), low words first; the value is the first two of the four output words. */
uint64_t wn_random_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        philox_round(counter, key);
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
    return (uint64_t)counter[1] << 32 | counter[0];
}

double wn_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(wn_random_u64(seed, stream, index) >> 11) * 0x1p-53;
}

/* ---- MT19937 ---- */

enum { MT_WORDS = 624, MT_MIDDLE = 397 };

static void mt_init(uint32_t state[MT_WORDS], uint32_t seed)
{
    state[0] = seed;
    for (uint32_t i = 1; i < MT_WORDS; i++)
        state[i] = UINT32_C(1812433253) * (state[i - 1] ^ state[i - 1] >> 30) + i;
}

/* init_by_array of the reference code; CPython's key is the absolute seed in 32-bit words, lowest first. */
void wn_mt_seed(struct wn_mt *mt, uint64_t seed)
{
    uint32_t *state = mt->state;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const int key_length = key[1] ? 2 : 1;
    int i = 1, j = 0;

    mt_init(state, 19650218);
    for (int k = 0; k < MT_WORDS; k++) {
        state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >> 30) * UINT32_C(1664525)) + key[j] + (uint32_t)j;
        j = (j + 1) % key_length;
        if (++i == MT_WORDS) {
            state[0] = state[MT_WORDS - 1];
            i = 1;
        }
    }
    for (int k = 0; k < MT_WORDS - 1; k++) {
        state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >> 30) * UINT32_C(1566083941)) - (uint32_t)i;
        if (++i == MT_WORDS) {
            state[0] = state[MT_WORDS - 1];
            i = 1;
        }
    }
    state[0] = UINT32_C(0x80000000);
    mt->position = MT_WORDS;
}

static void mt_refill(struct wn_mt *mt)
{
    uint32_t *state = mt->state;

    for (int i = 0; i < MT_WORDS; i++) {
        uint32_t y = (state[i] & UINT32_C(0x80000000)) | (state[(i + 1) % MT_WORDS] & UINT32_C(0x7fffffff));
        state[i] = state[(i + MT_MIDDLE) % MT_WORDS] ^ y >> 1 ^ (y & 1 ? UINT32_C(0x9908b0df) : 0);
    }
    mt->position = 0;
}

uint32_t wn_mt_u32(struct wn_mt *mt)
{
    if (mt->position >= MT_WORDS)
        mt_refill(mt);
    uint32_t y = mt->state[mt->position++];
    y ^= y >> 11;
    y ^= y << 7 & UINT32_C(0x9d2c5680);
    y ^= y << 15 & UINT32_C(0xefc60000);
    return y ^ y >> 18;
}

/* random.getrandbits(bits), 1 to 64: whole outputs first, lowest word first, the last one gives its top bits. */
static uint64_t mt_bits(struct wn_mt *mt, int bits)
{
    if (bits <= 32)
        return wn_mt_u32(mt) >> (32 - bits);
    uint64_t low = wn_mt_u32(mt);
    return low | (uint64_t)(wn_mt_u32(mt) >> (64 - bits)) << 32;
}

/* random._randbelow(limit), limit >= 1: as many bits as `limit` has, drawn again until the value is below it. */
static uint64_t mt_below(struct wn_mt *mt, uint64_t limit)
{
    int bits = 64 - __builtin_clzll(limit);
    uint64_t value;

    do {
        value = mt_bits(mt, bits);
    } while (value >= limit);
    return value;
}

int64_t wn_mt_randint(struct wn_mt *mt, int64_t low, int64_t high)
{
    uint64_t width = (uint64_t)high - (uint64_t)low;

    if (high < low || width >= UINT64_C(1) << 53)
        WN_BUG("wn_mt_randint from %lld to %lld: the range is empty or too wide", (long long)low, (long long)high);
    return (int64_t)((uint64_t)low + mt_below(mt, width + 1));
}

void wn_mt_shuffle(struct wn_mt *mt, int64_t *order, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = (int64_t)mt_below(mt, (uint64_t)i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}
