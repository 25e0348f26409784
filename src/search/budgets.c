/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mean number of bits as sums of whole bits per group of linears of one size. Group g should have target * count[g]
 * bits, which is rarely whole; rounded sums are moved by a few bits each so that the total comes out, by a table over
 * the groups and what the moves so far add to the total. Sums that levels with gaps do not reach are passed over.
 */
#include "search_impl.h"

#include <math.h>

enum { MOST_MOVED = 32 }; /* bits that a group gains or loses beyond rounding */

static const int64_t UNREACHED = INT64_MAX;

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Sums of `count` linears. */
struct reachable {
    int64_t least, most;
    bool *sums; /* [most - least + 1]; owned */
};

/* As with coins: a sum is reached when few enough linears, of those above the lowest level, make what is above it. */
static void open_reachable(unsigned bits, int64_t count, struct reachable *reachable)
{
    int64_t low = 0, high = WN_BITS_MOST;

    while (!(bits & WN_BITS(low)))
        low++;
    while (!(bits & WN_BITS(high)))
        high--;
    int64_t width = count * (high - low) + 1, *coins = wn_alloc(width, sizeof *coins);
    *reachable = (struct reachable){.least = count * low, .most = count * high};
    reachable->sums = wn_alloc(width, sizeof *reachable->sums);
    for (int64_t above = 0; above < width; above++) {
        coins[above] = above ? count + 1 : 0;
        for (int64_t d = 1; d <= high - low && d <= above; d++)
            if ((bits & WN_BITS(low + d)) && coins[above - d] + 1 < coins[above])
                coins[above] = coins[above - d] + 1;
        reachable->sums[above] = coins[above] <= count;
    }
    wn_free(coins);
}

static bool is_reached(const struct reachable *reachable, int64_t sum)
{
    return sum >= reachable->least && sum <= reachable->most && reachable->sums[sum - reachable->least];
}

struct table {
    int64_t reach; /* totals -reach .. reach */
    int64_t *
        cost; /* [n_groups + 1, 2 reach + 1] of groups g and behind for a total: sum of moves^2 times size; UNREACHED */
    int16_t *moved; /* [n_groups, 2 reach + 1] by group g for it */
};

/* Row g from row g + 1: the cheapest move, of equals the smallest. */
static void fill_row(struct table *table, int64_t g, int64_t unit, int64_t sum, const struct reachable *reachable)
{
    const int64_t width = 2 * table->reach + 1, *behind = table->cost + (g + 1) * width;
    int64_t *cost = table->cost + g * width;

    for (int64_t t = 0; t < width; t++) {
        cost[t] = UNREACHED;
        for (int64_t d = -MOST_MOVED; d <= MOST_MOVED; d++) {
            int64_t rest = t - d * unit;
            if (!is_reached(reachable, sum + d) || rest < 0 || rest >= width || behind[rest] == UNREACHED)
                continue;
            int64_t all = behind[rest] + d * d * unit;
            if (all < cost[t]) {
                cost[t] = all;
                table->moved[g * width + t] = (int16_t)d;
            }
        }
    }
}

static void fill_table(const struct wn_space_request *request, int64_t n_groups, const int64_t *unit,
                       const int64_t *count, const int64_t *sum, struct table *table)
{
    const int64_t width = 2 * table->reach + 1;

    for (int64_t t = 0; t < width; t++)
        table->cost[n_groups * width + t] = t == table->reach ? 0 : UNREACHED;
    for (int64_t g = n_groups - 1; g >= 0; g--) {
        struct reachable reachable;
        open_reachable(request->bits, count[g], &reachable);
        fill_row(table, g, unit[g], sum[g], &reachable);
        wn_free(reachable.sums);
    }
}

/* Takes the largest total not above `wanted` that can be reached, and moves the sums to it. */
static void take_moves(const struct table *table, int64_t n_groups, const int64_t *unit, int64_t wanted, int64_t *sum)
{
    const int64_t width = 2 * table->reach + 1;
    int64_t t = table->reach + wanted;

    while (table->cost[t] == UNREACHED)
        t--;
    for (int64_t g = 0; g < n_groups; g++) {
        int64_t moved = table->moved[g * width + t];
        sum[g] += moved;
        t -= moved * unit[g];
    }
}

void wn_share_bits(const struct wn_space_request *request, int64_t n_groups, const int64_t *size, const int64_t *count,
                   int64_t *sum)
{
    int64_t divisor = 0, per_move = 0, total = 0, weights = 0, *unit = wn_alloc(n_groups, sizeof *unit);
    struct table table;

    for (int64_t g = 0; g < n_groups; g++)
        divisor = greatest_divisor(size[g], divisor);
    for (int64_t g = 0; g < n_groups; g++) {
        unit[g] = size[g] / divisor;
        sum[g] = (int64_t)rint(request->target * (double)count[g]);
        per_move += unit[g];
        weights += unit[g] * count[g];
        total += unit[g] * sum[g];
    }
    /* A target like 2.3 is a double a little below it. */
    int64_t wanted = (int64_t)floor(request->target * (double)weights * (1 + 1e-12)) - total;
    table.reach = MOST_MOVED * per_move;
    table.cost = wn_alloc((n_groups + 1) * (2 * table.reach + 1), sizeof *table.cost);
    table.moved = wn_alloc_zero(n_groups * (2 * table.reach + 1), sizeof *table.moved);
    fill_table(request, n_groups, unit, count, sum, &table);
    take_moves(&table, n_groups, unit, wanted, sum);
    wn_free(table.cost);
    wn_free(table.moved);
    wn_free(unit);
}
