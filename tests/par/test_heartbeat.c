/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranks that compute, or wait, for longer than the time after which silence ends a run: nobody is missed. Silence
 * itself is provoked by tests/cli/silent.sh.
 */
#include <winnow/par.h>

#include "test.h"

static const double TIMEOUT = 1;

/* Works without a call of MPI. */
static double work_for(double seconds)
{
    double start = wn_seconds(), sum = 0;

    while (wn_seconds() - start < seconds)
        for (int i = 0; i < 1000; i++)
            sum += sqrt((double)i);
    return sum;
}

int main(int argc, char **argv)
{
    struct wn_par *par;

    wn_par_start_serial(&par);
    CHECK_OK(wn_par_watch(par, TIMEOUT));
    wn_par_finish(&par);

    CHECK_OK(wn_par_start(&argc, &argv, &par));
    int last = wn_par_size(par) - 1;
    CHECK_OK(wn_par_watch(par, TIMEOUT));
    double start = wn_seconds();
    for (int busy = 0; busy <= last; busy += last > 0 ? last : 1) { /* the last rank works, then rank 0 */
        if (wn_par_rank(par) == last - busy)
            CHECK(work_for(2 * TIMEOUT) > 0);
        wn_par_barrier(par);
    }
    CHECK(wn_seconds() - start > 2 * TIMEOUT);
    wn_par_finish(&par);

    return test_finish();
}
