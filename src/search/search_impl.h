/* SPDX-License-Identifier: Apache-2.0 */
/* search_impl.h: what the files of the search share. */
#ifndef WINNOW_SEARCH_IMPL_H
#define WINNOW_SEARCH_IMPL_H

#include <winnow/search.h>

/*
 * The sum of bits of every group: size[g] weights in each of its count[g] linears. All together the largest sum not
 * above target * weights that sums near target * count reach, of levels that there are; of those that do, the ones
 * nearest to it (budgets.c).
 */
void wn_share_bits(const struct wn_space_request *request, int64_t n_groups, const int64_t *size, const int64_t *count,
                   int64_t *sum);

/* wn_space_uniform where levels of bits are missing. */
void wn_space_even(const struct wn_space *space, int32_t *genome);

/* The nearest level of a gene above (direction 1) or below (-1) one that it has; `level` when there is none. */
int32_t wn_space_next(const struct wn_space *space, const struct wn_gene *gene, int32_t level, int direction);

#endif
