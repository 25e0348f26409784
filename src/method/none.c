/* SPDX-License-Identifier: Apache-2.0 */
/* The dense model as a method: the smallest plug-in, and the one to copy. */
#include <winnow/method.h>

#include <string.h>

static wn_status copy_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    memmove(out->weight, task->weight, (size_t)(task->rows * task->columns) * sizeof *out->weight);
    return WN_OK;
}

static bool always(const struct wn_params *params)
{
    (void)params;
    return true;
}

const struct wn_method wn_method_none = {
    .name = "none",
    .help = "the dense model, unchanged",
    .kind = WN_IDENTITY,
    .needs = WN_NEED_NOTHING,
    .is_identity = always,
    .compress_linear = copy_linear,
};
