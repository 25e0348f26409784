/* SPDX-License-Identifier: Apache-2.0 */
/* The counted allocator: every block is 64-byte aligned and carries its size in a header in front of it. */
#include <winnow/base.h>

#include "stop.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { ALIGNMENT = 64, HUGE_PAGE = 1 << 21, REGION = 4 * HUGE_PAGE };

/* Memory in which blocks of wn_alloc_weights lie side by side. */
struct region {
    char *bytes;
    size_t size, used; /* used: up to the end of the last block */
    int64_t blocks;    /* that live */
    struct region *next;
};

/* Fills one alignment unit, so that what follows is aligned as well. */
struct header {
    size_t size;           /* bytes of the caller */
    uint64_t guard;        /* GUARD_USED while the block lives */
    struct region *region; /* NULL: the block is one of malloc */
    char padding[ALIGNMENT - sizeof(size_t) - sizeof(uint64_t) - sizeof(struct region *)];
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

/* Bytes of the block with its header. */
static size_t whole_bytes(int64_t count, size_t size)
{
    size_t bytes, whole;

    if (count < 0)
        WN_BUG("a negative count of elements was asked for: %lld", (long long)count);
    if (__builtin_mul_overflow((size_t)count, size, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(struct header) + ALIGNMENT - 1, &whole))
        out_of_memory(count, size);
    return whole / ALIGNMENT * ALIGNMENT;
}

static void *begin_block(struct header *header, size_t bytes, struct region *region)
{
    header->size = bytes;
    header->guard = GUARD_USED;
    header->region = region;
    count_bytes((int64_t)bytes);
    atomic_fetch_add(&blocks_now, 1);
    return header + 1;
}

void *wn_alloc(int64_t count, size_t size)
{
    struct header *header = aligned_alloc(ALIGNMENT, whole_bytes(count, size));

    if (!header)
        out_of_memory(count, size);
    return begin_block(header, (size_t)count * size, NULL);
}

/* ---- regions ---- */

static pthread_mutex_t regions_lock = PTHREAD_MUTEX_INITIALIZER;
static struct region *regions;

/* NULL: memory is out. */
static struct region *add_region(size_t bytes)
{
    struct region *region = malloc(sizeof *region);
    const size_t size = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;

    if (!region)
        return NULL;
    *region = (struct region){.bytes = aligned_alloc(HUGE_PAGE, size), .size = size, .next = regions};
    if (!region->bytes) {
        free(region);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    madvise(region->bytes, size, MADV_HUGEPAGE); /* a wish */
#endif
    return regions = region;
}

void *wn_alloc_weights(int64_t count, size_t size)
{
    const size_t whole = whole_bytes(count, size);
    struct header *header = NULL;

    pthread_mutex_lock(&regions_lock);
    struct region *region = regions;
    while (region && region->size - region->used < whole)
        region = region->next;
    if (!region)
        region = add_region(whole > REGION ? whole : REGION);
    if (region) {
        header = (struct header *)(void *)(region->bytes + region->used);
        region->used += whole;
        region->blocks++;
    }
    pthread_mutex_unlock(&regions_lock);
    if (!header)
        out_of_memory(count, size);
    return begin_block(header, (size_t)count * size, region);
}

/* Its last block frees a region. */
static void leave_region(struct region *region)
{
    struct region **link = &regions;

    pthread_mutex_lock(&regions_lock);
    if (--region->blocks == 0) {
        while (*link != region)
            link = &(*link)->next;
        *link = region->next;
        free(region->bytes);
        free(region);
    }
    pthread_mutex_unlock(&regions_lock);
}

void *wn_alloc_zero(int64_t count, size_t size)
{
    void *pointer = wn_alloc(count, size);

    memset(pointer, 0, (size_t)count * size);
    return pointer;
}

/* realloc() keeps no alignment, so a block moves whenever its size changes; what is appended to goes through wn_grow.
 */
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
    if (header->region)
        leave_region(header->region);
    else
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
