/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fingerprint.c: 64 bits that tell whether two runs have made the same numbers. Not a cryptographic hash: it runs at
 * the speed of memory, and nobody chooses weights to deceive it.
 */
#include <string.h>

#include <winnow/linalg.h>

enum { BLOCK = 1 << 14, LANES = 8, FLOATS = 2 }; /* floats of a block; lanes of a word, which is two floats */

/* splitmix64: every bit of the result depends on every bit of x. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Both halves of the product: the lower one only carries bits up, so that a changed sign would move a single bit, which
 * the next changed sign cancels. */
static uint64_t add_word(uint64_t lane, uint64_t word)
{
    unsigned __int128 product = (unsigned __int128)(lane ^ word) * 0xd6e8feb86659fd93u;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t of_block(const float *values, int64_t count)
{
    uint64_t lanes[LANES], word;
    int64_t i = 0;
    for (int l = 0; l < LANES; l++)
        lanes[l] = mix((uint64_t)l + 1);
    for (; i + LANES * FLOATS <= count; i += LANES * FLOATS) {
        uint64_t words[LANES];
        memcpy(words, values + i, sizeof words);
        for (int l = 0; l < LANES; l++)
            lanes[l] = add_word(lanes[l], words[l]);
    }
    for (; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        lanes[i % LANES] = add_word(lanes[i % LANES], bits);
    }
    word = (uint64_t)count;
    for (int l = 0; l < LANES; l++)
        word = mix(word ^ lanes[l]);
    return word;
}

uint64_t wn_fingerprint(uint64_t before, const float *values, int64_t count)
{
    int64_t n_blocks = (count + BLOCK - 1) / BLOCK;
    uint64_t *blocks = wn_alloc(n_blocks, sizeof *blocks);
#pragma omp parallel for schedule(static) if (n_blocks > 8)
    for (int64_t k = 0; k < n_blocks; k++)
        blocks[k] = of_block(values + k * BLOCK, k + 1 < n_blocks ? BLOCK : count - k * BLOCK);
    for (int64_t k = 0; k < n_blocks; k++)
        before = mix(before ^ blocks[k]);
    wn_free(blocks);
    return before;
}
