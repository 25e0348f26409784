/* SPDX-License-Identifier: Apache-2.0 */
/* One row per kind of allocation: WN_ALLOCATION(name) refers to wn_allocation_NAME in src/allocation/NAME.c. The first
 * that decides for a recipe is its kind. */
WN_ALLOCATION(dynamic_programming)
WN_ALLOCATION(evolutionary)
WN_ALLOCATION(depth)
WN_ALLOCATION(owl)
WN_ALLOCATION(uniform)
