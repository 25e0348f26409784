/* SPDX-License-Identifier: Apache-2.0 */
/* run.c: what a point is told of the run that it is part of. */
#include "point_impl.h"

bool wn_run_lacks(const struct wn_run *run, int64_t point, int64_t evaluation)
{
    return !run->evaluated || !run->evaluated[point * run->n_sets + evaluation];
}

void wn_watch(const struct wn_run *run, int64_t point, int64_t done, int64_t all)
{
    if (run->watcher.step)
        run->watcher.step(run->watcher.context, point, done, all);
}

/* ---- parts of the time of a point ---- */

static const char *const stage_names[] = {"load", "statistics", "compress", "forward", "generate", "score"};

const char *wn_stage_name(enum wn_point_stage stage)
{
    return stage_names[stage];
}
