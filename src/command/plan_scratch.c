/* SPDX-License-Identifier: Apache-2.0 */
/* plan_scratch.c: what a run needs on scratch. */
#include <stdio.h>

#include <winnow/level.h>
#include <winnow/sweep.h>

#include "command.h"

int64_t wn_plan_state_bytes(const struct wn_run *run)
{
    int64_t most = 0;
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        int64_t bytes = wn_point_state_bytes(run, i);
        most = bytes > most ? bytes : most;
    }
    return most;
}

double wn_plan_level_bytes(const struct wn_run *run, double *per_weight)
{
    double most = 0;
    *per_weight = 0;
    for (int64_t s = 0; s < run->n_searches; s++) {
        const struct wn_level_task task = wn_level_task_of(run, &run->searches[s]);
        double bytes = task.space->kind == WN_SPACE_DROP ? 0 : (double)wn_levels_bytes(&task);
        if (bytes <= most)
            continue;
        most = bytes;
        *per_weight = bytes / (double)wn_levels_weights(&task);
    }
    return most;
}

void wn_plan_scratch(const struct wn_run *run)
{
    double per_weight, levels = wn_plan_level_bytes(run, &per_weight);
    printf("scratch      %s for every point in work when a start stops; none at the end\n",
           wn_bytes_text((double)wn_plan_state_bytes(run)));
    if (levels > 0)
        printf("             %s for the levels of the largest search, %.2f bytes per weight and level, until it has "
               "ended (--keep-levels)\n",
               wn_bytes_text(levels), per_weight);
}
