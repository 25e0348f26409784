/* The monotonic clock. */
#include <winnow/base.h>

#include <time.h>

double wn_seconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        WN_BUG("the monotonic clock cannot be read");
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
