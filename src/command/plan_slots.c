/* SPDX-License-Identifier: Apache-2.0 */
/* plan_slots.c: what of a sweep fits into a time slot, and how many slots it takes: by the numbers that a run chooses
 * its points with. */
#include <math.h>
#include <stdio.h>

#include <cjson/cJSON.h>
#include <winnow/sweep.h>

#include "command.h"

struct slots {
    double useful; /* seconds of a slot for work; at most 0: none is left */
    double longest;
    int64_t points, fit;
};

static struct slots count(const struct wn_plan_slots *plan)
{
    struct slots slots = {.useful = plan->limit - plan->startup - wn_slot_closing(plan->limit)};
    for (int64_t i = 0; i < plan->n_points; i++) {
        if (plan->only && !plan->only[i])
            continue;
        slots.points++;
        slots.fit += WN_SLOT_MARGIN * plan->seconds[i] <= slots.useful;
        slots.longest = fmax(slots.longest, plan->seconds[i]);
    }
    return slots;
}

void wn_plan_slots(const struct wn_plan_slots *plan)
{
    struct slots slots = count(plan);
    if (!(plan->limit > 0))
        return;
    printf("slots        of %s: ", wn_seconds_text(plan->limit));
    if (!(slots.useful > 0)) {
        printf("too short, as a start takes %s before its first point\n", wn_seconds_text(plan->startup));
        return;
    }
    printf("about %.0f; %lld of %lld points fit into one", ceil(plan->work / slots.useful), (long long)slots.fit,
           (long long)slots.points);
    if (slots.fit < slots.points)
        printf(", the others are saved and go on in the next: the longest takes %.1f slots",
               slots.longest / slots.useful);
    printf("\n");
}

void wn_plan_slots_json(const struct wn_plan_slots *plan, cJSON *json)
{
    struct slots slots = count(plan);
    if (!(plan->limit > 0))
        return;
    cJSON_AddNumberToObject(json, "slots", slots.useful > 0 ? ceil(plan->work / slots.useful) : (double)NAN);
    cJSON_AddNumberToObject(json, "points_that_fit", (double)slots.fit);
}
