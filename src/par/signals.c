/* Stop requests: a flag that signal handlers set and the queue carries to the manager. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "par_internal.h"

static volatile sig_atomic_t stop_flag, interrupts;

/* Schedulers deliver one request twice, so only a second SIGINT, from a keyboard, is impatience.
 */
static void handle(int signal)
{
    if (signal == SIGINT && ++interrupts > 1)
        _exit(130);
    stop_flag = 1;
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

void wn_par_request_stop(void)
{
    stop_flag = 1;
}
