/* SPDX-License-Identifier: Apache-2.0 */
/* renamed.c: what was called otherwise in files of older versions. */
#include <string.h>

#include "results_internal.h"

static const struct {
    const char *before, *now;
} renamed[] = {
    {"/points/bits_per_weight", "/points/bits_per_weight_nominal"},
    {"/weights/bits_per_weight", "/weights/bits_per_weight_nominal"},
};

const char *wn_results_path_now(const char *path)
{
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++)
        if (!strcmp(path, renamed[i].before))
            return renamed[i].now;
    return path;
}

const char *wn_path_before_(const char *path)
{
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++)
        if (!strcmp(path, renamed[i].now))
            return renamed[i].before;
    return path;
}
