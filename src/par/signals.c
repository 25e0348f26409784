/* SPDX-License-Identifier: Apache-2.0 */
/* Stop requests: a flag that signal handlers set and the queue carries to the manager. */
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "par_internal.h"

static volatile sig_atomic_t stop_flag, interrupts;

/* sweep.sbatch lets Slurm send SIGUSR1 120 s before the end; the last of them are for what comes behind the points. */
enum { GRACE_SECONDS = 110 };
#define NEVER INT64_MAX
static _Atomic int64_t deadline = NEVER; /* nanoseconds of the monotonic clock; with a stop only */

/* Of several requests the one with the least time counts. Only what a signal handler may call. */
static void ask_to_stop(int64_t seconds)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t end = (now.tv_sec + seconds) * INT64_C(1000000000) + now.tv_nsec;
    if (end < deadline)
        deadline = end;
    stop_flag = 1;
}

/* Schedulers deliver one request twice, so only a second SIGINT, from a keyboard, is impatience.
 */
static void handle(int signal)
{
    if (signal == SIGINT && ++interrupts > 1)
        _exit(130);
    ask_to_stop(signal == SIGUSR1 ? GRACE_SECONDS : 0);
}

void wn_par_catch_signals(void)
{
    static const int signals[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = handle;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    /* A file beyond the limit of sizes is then an error of write(), with a line that names it. */
    signal(SIGXFSZ, SIG_IGN);
}

bool wn_par_stop_requested(void)
{
    return stop_flag != 0;
}

double wn_par_stop_deadline(void)
{
    int64_t end = deadline;

    return end == NEVER ? (double)INFINITY : 1e-9 * (double)end;
}

void wn_par_request_stop(void)
{
    ask_to_stop(0);
}
