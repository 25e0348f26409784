/* SPDX-License-Identifier: Apache-2.0 */
/* dynamic_programming.c: the levels with the least sum of layer errors (wn_space_minimize). */
#include <winnow/allocation.h>

const struct wn_allocation_kind wn_allocation_dynamic_programming = {
    .name = WN_DYNAMIC_PROGRAMMING,
    .help = "the least sum of layer errors tr(D H D^T) / tr(W H W^T) under the budget",
    .paper = "Frantar, Alistarh 2022, arXiv:2201.13096",
    .decides = wn_recipe_minimizes,
    .allocate = wn_found_allocate,
};
