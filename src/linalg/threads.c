/* SPDX-License-Identifier: Apache-2.0 */
/* threads.c: no thread of the library while ours are at work. */
#include <winnow/linalg.h>

#include <omp.h>

int wn_blas_begin(void)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

void wn_blas_end(int threads)
{
    omp_set_num_threads(threads);
}
