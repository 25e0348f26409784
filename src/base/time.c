/* SPDX-License-Identifier: Apache-2.0 */
/* The monotonic clock, and durations as people read them. */
#include <winnow/base.h>

#include <math.h>
#include <stdio.h>
#include <time.h>

double wn_seconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        WN_BUG("the monotonic clock cannot be read");
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *wn_duration_text(double seconds, char text[WN_DURATION_TEXT])
{
    if (!(seconds < 1e9))
        snprintf(text, WN_DURATION_TEXT, "?");
    else if (seconds < 10)
        snprintf(text, WN_DURATION_TEXT, "%.1f s", seconds);
    else if (seconds < 90)
        snprintf(text, WN_DURATION_TEXT, "%.0f s", seconds);
    else if (seconds < 3600)
        snprintf(text, WN_DURATION_TEXT, "%.0f min %02.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
    else
        snprintf(text, WN_DURATION_TEXT, "%.0f h %02.0f min", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    return text;
}
