/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What HDF5 itself does with a damaged file: versions up to 1.14 have dozens of known ways to crash or to turn in
 * circles on bytes that no HDF5 wrote. While the program is inside the library because of a file that it reads, such an
 * end is that of the file: one line and exit code 2. Nothing of the process can be trusted after it, so it does not go
 * on. Everywhere else a crash stays a crash.
 */
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "results_internal.h"

enum { LONGEST_SECONDS = 60, STACK_BYTES = 1 << 16, EXIT_CODE = 2 };

/* SIGVTALRM: processor time of the program itself, so that slow disks do not count. */
static const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGVTALRM};
enum { N_CAUGHT = sizeof caught / sizeof *caught };

static struct sigaction before[N_CAUGHT];
static stack_t stack_before;
static char stack[STACK_BYTES]; /* of its own: HDF5 also recurses until there is no stack */
static volatile sig_atomic_t depth;
static char line[512];

static void end_program(int number)
{
    static const char crash[] = " is damaged: the HDF5 library crashes on it\n";
    static const char loop[] = " is damaged: the HDF5 library comes to no end with it\n";
    const char *what = number == SIGVTALRM ? loop : crash;
    size_t bytes = strlen(line);

    /* `line` has room for the longer of the two. */
    memcpy(line + bytes, what, strlen(what));
    if (write(STDERR_FILENO, line, bytes + strlen(what)) < 0)
        _exit(EXIT_CODE);
    _exit(EXIT_CODE);
}

static void set_timer(int seconds)
{
    struct itimerval timer = {.it_value.tv_sec = seconds};

    setitimer(ITIMER_VIRTUAL, &timer, NULL);
}

void wn_h5_guard_begin_(const char *path)
{
    struct sigaction action = {.sa_handler = end_program, .sa_flags = SA_ONSTACK};
    stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};

    if (depth++ > 0)
        return;
    snprintf(line, sizeof line - 64, "winnow: %s:", path);
    sigemptyset(&action.sa_mask);
    sigaltstack(&own, &stack_before);
    for (int i = 0; i < N_CAUGHT; i++)
        sigaction(caught[i], &action, &before[i]);
    set_timer(LONGEST_SECONDS);
}

void wn_h5_guard_end_(void)
{
    if (--depth > 0)
        return;
    set_timer(0);
    for (int i = 0; i < N_CAUGHT; i++)
        sigaction(caught[i], &before[i], NULL);
    if (!(stack_before.ss_flags & SS_ONSTACK))
        sigaltstack(&stack_before, NULL);
}
