/* SPDX-License-Identifier: Apache-2.0 */
/* fill.h: missing values into a new file, by all ranks. Private to layout.c, create.c, results.c and fill.c. */
#ifndef WINNOW_RESULTS_FILL_H
#define WINNOW_RESULTS_FILL_H

#include "results_internal.h"

/* The least share of a rank, in bytes. */
extern int64_t wn_fill_least_;

/* The bytes of the file that one field takes. */
struct wn_fill_piece {
    int64_t offset, bytes;
    int64_t type; /* enum wn_field_type */
};

struct wn_fill {
    int64_t count;
    struct wn_fill_piece *pieces; /* owned */
};

/* Rank 0: the dataset of a field, allocated and not filled, of `rows` points. */
void wn_fill_add_(struct wn_h5 *h5, struct wn_fill *fill, hid_t dataset, const struct wn_field *field, int64_t rows);
void wn_fill_release_(struct wn_fill *fill);
/* Collective. `fill` is that of rank 0 and gets known to all; does nothing when it is empty. All is on the disk after.
 */
wn_status wn_fill_(struct wn_par *par, const char *path, struct wn_fill *fill);

/* Rank 0: a new file under its temporary name, but for what `fill` is told; on failure nothing is left. */
wn_status wn_results_create_(const char *path, const struct wn_results_plan *plan, struct wn_fill *fill);
/* Rank 0: gives the finished file its name, or after a failure removes it. */
wn_status wn_results_put_in_place_(const char *path, wn_status status);
/* Writes groups, scales, tables and empty fields. */
void wn_layout_(struct wn_h5 *h5, const struct wn_results_plan *plan, struct wn_fill *fill);
/* Collective, behind wn_fill_: rows of older files into the new one. `take` is that of rank 0 and gets known to all;
 * does nothing without sources. All is on the disk after. */
wn_status wn_take_over_(struct wn_par *par, const char *path, const struct wn_results_plan *plan,
                        struct wn_take_over *take);
/* Rank 0: rows of /starts of the sources into the new file, still under its temporary name, and their new numbers into
 * `take`. */
wn_status wn_take_starts_(struct wn_take_over *take, const char *path, const char *temporary);
/* The name a file has until it is finished; owned by the caller. */
char *wn_temporary_path_(const char *path);

#endif
