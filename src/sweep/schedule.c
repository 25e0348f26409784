/* SPDX-License-Identifier: Apache-2.0 */
/* schedule.c: when equal ranks are done with jobs that are handed out. */
#include <stdlib.h>
#include <string.h>

#include <winnow/sweep.h>

static int compare_falling(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? 1 : left > right ? -1 : 0;
}

/* Lets the first of a heap of times, smallest first, sink to its place. */
static void sink(double *heap, int64_t count)
{
    for (int64_t at = 0, child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (heap[at] <= heap[child])
            return;
        double kept = heap[at];
        heap[at] = heap[child];
        heap[child] = kept;
    }
}

double wn_schedule_seconds(const double *seconds, int64_t count, int64_t ranks)
{
    double *order = wn_alloc(count, sizeof *order), last = 0;
    ranks = ranks < count ? ranks : count;
    double *heap = wn_alloc_zero(ranks, sizeof *heap);
    if (count)
        memcpy(order, seconds, (size_t)count * sizeof *order);
    qsort(order, (size_t)count, sizeof *order, compare_falling);
    for (int64_t i = 0; i < count; i++) {
        heap[0] += order[i];
        last = heap[0] > last ? heap[0] : last;
        sink(heap, ranks);
    }
    wn_free(order);
    wn_free(heap);
    return last;
}
