/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h: time of a benchmark: of the wall, or of the processor, which a busy machine does not stretch as much; and
 * what its repetitions say.
 */
#ifndef WINNOW_BENCH_CLOCK_H
#define WINNOW_BENCH_CLOCK_H

#include <stdlib.h>
#include <time.h>

#include <winnow/base.h>

static bool use_cpu_time;

/* Wall time, or processor time per thread of a piece that runs on `threads` threads. */
static double seconds_now(int threads)
{
    struct timespec t;
    if (!use_cpu_time)
        return wn_seconds();
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec) / threads;
}

/* The middle one of `count` values, which are sorted. */
static inline double median(double *values, int count)
{
    wn_sort_doubles(values, count);
    return values[count / 2];
}

#endif
