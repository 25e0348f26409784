/* SPDX-License-Identifier: Apache-2.0 */
/* units.c: what ranks split: see units.h. */
#include "units.h"

void wn_units_add(struct wn_units *units, const struct wn_sequences *sequences, int64_t set, int64_t calibration,
                  int64_t first, int64_t end, double work)
{
    int64_t row = sequences->offset[sequences->chunk[first]];
    int64_t tokens = sequences->offset[sequences->chunk[end]] - row;
    units->items = wn_resize(units->items, units->count + 1, sizeof *units->items);
    units->items[units->count++] = (struct wn_unit){.sequences = sequences,
                                                    .set = set,
                                                    .calibration = calibration,
                                                    .chunk = first,
                                                    .chunks = end - first,
                                                    .row = row,
                                                    .tokens = tokens,
                                                    .work = work * (double)tokens};
}

void wn_units_release(struct wn_units *units)
{
    for (int64_t u = 0; u < units->count; u++)
        wn_free(units->items[u].hidden);
    wn_free(units->items);
}

int wn_units_node(const struct wn_units *units, int rank)
{
    return units->par ? wn_par_node_of(units->par, rank) : 0;
}

/* The ranks, node by node. */
static int *order_ranks(const struct wn_units *units)
{
    int *order = wn_alloc(units->ranks, sizeof *order), count = 0;
    for (int node = 0; count < units->ranks; node++)
        for (int rank = 0; rank < units->ranks; rank++)
            if (wn_units_node(units, rank) == node)
                order[count++] = rank;
    return order;
}

void wn_units_deal(struct wn_units *units)
{
    int *order = order_ranks(units);
    double *work = wn_alloc_zero(units->ranks, sizeof *work);
    units->workers = units->counted < units->ranks ? units->counted : units->ranks;
    for (int64_t u = 0; u < units->count; u++) {
        struct wn_unit *unit = &units->items[u];
        int64_t place = 0;
        if (u < units->counted) {
            int64_t round = u / units->workers, at = u % units->workers;
            place = (round % 2 ? units->workers - 1 - at : at) * units->ranks / units->workers;
        }
        for (int64_t i = 0; u >= units->counted && i < units->ranks; i++)
            place = work[i] < work[place] ? i : place;
        work[place] += unit->work;
        unit->owner = order[place];
    }
    wn_free(order);
    wn_free(work);
}

bool wn_units_any(const struct wn_units *units, int rank)
{
    for (int64_t u = 0; u < units->count; u++)
        if (units->items[u].owner == rank)
            return true;
    return false;
}
