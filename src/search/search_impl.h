/* search_impl.h: what the files of the search share. */
#ifndef WINNOW_SEARCH_IMPL_H
#define WINNOW_SEARCH_IMPL_H

#include <winnow/search.h>

/*
 * The sum of bits of every group: size[g] weights in each of its count[g] linears. All together the largest sum not
 * above target * weights that sums near target * count reach; of those that do, the ones nearest to it (budgets.c).
 */
void wn_share_bits(const struct wn_space_request *request, int64_t n_groups, const int64_t *size, const int64_t *count,
                   int64_t *sum);

#endif
