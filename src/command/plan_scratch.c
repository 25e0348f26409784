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

/* Bytes of the levels of a search, and weights times levels. */
static double level_bytes(const struct wn_run *run, const struct wn_point_search *search, double *weights)
{
    const struct wn_point *point = &run->grid.points[search->point];
    const struct wn_layout *layout = &run->models[point->model].model->layout;
    const struct wn_space *space = &search->space;
    const struct wn_level_task task = {.run = run, .point = point, .space = space};
    *weights = 0;
    for (int64_t g = 0; g < space->n_genes; g++) {
        const struct wn_linear_info *linear = &layout->linears[space->genes[g].linear];
        for (int32_t level = space->genes[g].low; level <= space->genes[g].high; level++)
            if (wn_space_has(space, &space->genes[g], level))
                *weights += (double)(linear->rows * linear->columns);
    }
    return (double)wn_levels_bytes(&task);
}

double wn_plan_level_bytes(const struct wn_run *run, double *per_weight)
{
    double most = 0, weights = 0;
    *per_weight = 0;
    for (int64_t s = 0; s < run->n_searches; s++) {
        double bytes = run->searches[s].space.kind == WN_SPACE_DROP ? 0 : level_bytes(run, &run->searches[s], &weights);
        if (bytes <= most)
            continue;
        most = bytes;
        *per_weight = bytes / weights;
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
