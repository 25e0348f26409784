/* SPDX-License-Identifier: Apache-2.0 */
/* uniform.c: every linear gets what the recipe says. */
#include <winnow/allocation.h>

static bool decides(const struct wn_recipe *recipe)
{
    (void)recipe;
    return true;
}

static wn_status allocate(const struct wn_allocation_task *task, struct wn_allocation *allocation)
{
    (void)task;
    (void)allocation;
    return WN_OK;
}

const struct wn_allocation_kind wn_allocation_uniform = {
    .name = "uniform",
    .help = "the same for every linear",
    .decides = decides,
    .allocate = allocate,
};
