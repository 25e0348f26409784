/* SPDX-License-Identifier: Apache-2.0 */
/* stop.c: the one way out of the program, for mistakes of our own and for want of memory. */
#include <winnow/base.h>

#include "stop.h"

#include <stdlib.h>

static void (*abort_function)(void);

void wn_set_abort(void (*function)(void))
{
    abort_function = function;
}

void wn_stop_(void)
{
    if (abort_function)
        abort_function();
    abort();
}
