/* SPDX-License-Identifier: Apache-2.0 */
/* The counted allocator: every block is 64-byte aligned and carries its size in a header in front of it. */
#include <winnow/base.h>

#include "stop.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/* Fills one alignment unit, so that what follows is aligned as well. */
struct header {
    size_t size;    /* bytes of the caller */
    uint64_t guard; /* GUARD_USED while the block lives */
    char padding[ALIGNMENT - sizeof(size_t) - sizeof(uint64_t)];
};
_Static_assert(sizeof(struct header) == ALIGNMENT, "the header must keep the alignment");

#define GUARD_USED  UINT64_C(0x77696e6e6f773634)
#define GUARD_FREED UINT64_C(0x6672656564626c6b)

static atomic_int_least64_t bytes_now, bytes_peak, blocks_now;

static void count_bytes(int64_t change)
{
    int64_t now = atomic_fetch_add(&bytes_now, change) + change;
    int64_t peak = atomic_load(&bytes_peak);

    while (now > peak && !atomic_compare_exchange_weak(&bytes_peak, &peak, now))
        ;
}

static __attribute__((noreturn)) void out_of_memory(int64_t count, size_t size)
{
    fprintf(stderr, "winnow: error: not enough memory for %lld times %zu bytes (%lld bytes are in use)\n",
            (long long)count, size, (long long)wn_memory_bytes());
    wn_stop_();
}

static struct header *header_of(void *pointer)
{
    struct header *header = (struct header *)((char *)pointer - sizeof(struct header));

    if (header->guard != GUARD_USED)
        WN_BUG("the block %p was freed before, was not allocated here or its header was overwritten", pointer);
    return header;
}

void *wn_alloc(int64_t count, size_t size)
{
    size_t bytes, whole;

    if (count < 0)
        WN_BUG("a negative count of elements was asked for: %lld", (long long)count);
    if (__builtin_mul_overflow((size_t)count, size, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(struct header) + ALIGNMENT - 1, &whole))
        out_of_memory(count, size);
    struct header *header = aligned_alloc(ALIGNMENT, whole / ALIGNMENT * ALIGNMENT);
    if (!header)
        out_of_memory(count, size);
    header->size = bytes;
    header->guard = GUARD_USED;
    count_bytes((int64_t)bytes);
    atomic_fetch_add(&blocks_now, 1);
    return header + 1;
}

void *wn_alloc_zero(int64_t count, size_t size)
{
    void *pointer = wn_alloc(count, size);

    memset(pointer, 0, (size_t)count * size);
    return pointer;
}

/* realloc() keeps no alignment, so a block moves whenever its size changes; callers that append grow by doubling. */
void *wn_resize(void *pointer, int64_t count, size_t size)
{
    void *moved = wn_alloc(count, size);

    if (pointer) {
        size_t old = header_of(pointer)->size, new = (size_t)count *size;
        memcpy(moved, pointer, old < new ? old : new);
        wn_free(pointer);
    }
    return moved;
}

static int64_t room_for(int64_t count)
{
    int64_t room = count > 0;

    while (room < count)
        room *= 2;
    return room;
}

void *wn_grow(void *array, int64_t count, int64_t more, size_t size)
{
    int64_t room = room_for(count + more);

    return array && room == room_for(count) ? array : wn_resize(array, room, size);
}

void wn_free(void *pointer)
{
    if (!pointer)
        return;
    struct header *header = header_of(pointer);
    count_bytes(-(int64_t)header->size);
    atomic_fetch_sub(&blocks_now, 1);
    header->guard = GUARD_FREED;
    free(header);
}

int64_t wn_memory_bytes(void)
{
    return atomic_load(&bytes_now);
}

int64_t wn_memory_peak(void)
{
    return atomic_load(&bytes_peak);
}

int64_t wn_memory_blocks(void)
{
    return atomic_load(&blocks_now);
}

void wn_memory_reset_peak(void)
{
    atomic_store(&bytes_peak, atomic_load(&bytes_now));
}
