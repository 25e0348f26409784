/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for the buffers of OpenBLAS. Where mmap refuses one (`ulimit -v`, h_vmem), OpenBLAS asks again for ever, deaf to
 * signals: in its constructor, before main, and in the first call of every thread. So both are looked at before.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blas.h"

#define WEAK __attribute__((weak))
extern char *openblas_get_config(void) WEAK;
extern void *blas_memory_alloc(int purpose) WEAK;
extern void blas_memory_free(void *buffer) WEAK;

/* Of each thread that is inside a call: address space, of which it touches what it needs. 128 MiB on x86-64. */
#define BUFFER_BYTES ((size_t)128 << 20)
/* What constructors of other libraries may take between the look before main and that of OpenBLAS. */
#define BESIDE_BYTES ((size_t)32 << 20)
enum { MOST_BUFFERS = 128 };

static void *map_room(size_t bytes)
{
    void *place = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return place == MAP_FAILED ? NULL : place;
}

/* How many of `wanted` there is room for, beside some more bytes. */
static int count_room(int wanted, size_t beside)
{
    void *places[MOST_BUFFERS], *room = beside ? map_room(beside) : NULL;
    int count = 0;
    while (count < wanted && (room || !beside) && (places[count] = map_room(BUFFER_BYTES)))
        count++;
    if (room)
        munmap(room, beside);
    for (int i = 0; i < count; i++)
        munmap(places[i], BUFFER_BYTES);
    return count;
}

/* ---- in main ---- */

wn_status wn_blas_take_buffers(void)
{
    void *buffers[MOST_BUFFERS];
    int threads = omp_get_max_threads(), wanted = threads < MOST_BUFFERS ? threads : MOST_BUFFERS, count = 0;
    if (!openblas_get_config || !blas_memory_alloc || !blas_memory_free)
        return WN_OK;
    while (count < wanted && count_room(1, 0) && (buffers[count] = blas_memory_alloc(0)))
        count++;
    for (int i = 0; i < count; i++)
        blas_memory_free(buffers[i]);
    if (count == wanted)
        return WN_OK;
    return wn_fail(WN_ERR_MEMORY,
                   "OpenBLAS needs %zu MiB of address space for each thread, here %d, and there is room for %d: raise "
                   "`ulimit -v` (h_vmem, vmem) and `ulimit -d`, or start with fewer threads",
                   BUFFER_BYTES >> 20, threads, count);
}

/* ---- before main, and before the constructors of libraries ---- */

/* The address sanitizer is not ready then, and takes all address space for itself. */
#if !defined(__SANITIZE_ADDRESS__)

/* getenv does not work yet. */
static const char *find_variable(char **environment, const char *name)
{
    size_t length = strlen(name);
    for (; *environment; environment++)
        if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/* Threads that OpenBLAS makes buffers for when it is loaded, by its own rules. */
static int threads_at_start(char **environment)
{
    static const char *const names[] = {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"};
    cpu_set_t set;
    int processors = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : MOST_BUFFERS;
    processors = processors < MOST_BUFFERS ? processors : MOST_BUFFERS;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = find_variable(environment, names[i]);
        int threads = text ? atoi(text) : 0;
        if (threads > 0)
            return threads < processors ? threads : processors;
    }
    return processors;
}

static void check_room(int argc, char **argv, char **environment)
{
    char line[400];
    (void)argc;
    (void)argv;
    if (!openblas_get_config || !blas_memory_alloc)
        return;
    int threads = threads_at_start(environment), count = count_room(threads, BESIDE_BYTES);
    if (count == threads)
        return;
    int length = snprintf(line, sizeof line,
                          "winnow: error: OpenBLAS takes %zu MiB of address space for each thread, here %d, when it is "
                          "loaded, and there is room for %d: raise `ulimit -v` (h_vmem, vmem) and `ulimit -d`, or set "
                          "a smaller OMP_NUM_THREADS\n",
                          BUFFER_BYTES >> 20, threads, count);
    ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    _exit(written < 0 ? 2 : 1);
}

__attribute__((section(".preinit_array"), used)) static void (*const check_at_start)(int, char **,
                                                                                     char **) = check_room;

#endif
