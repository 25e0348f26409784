/* SPDX-License-Identifier: Apache-2.0 */
/* kept.h: rows that have some of their evaluations, from older files (grow.h), and lack others. Private to src/sweep.
 */
#ifndef WINNOW_SWEEP_KEPT_H
#define WINNOW_SWEEP_KEPT_H

#include "sweep_impl.h"

/* A row as it was, where it has anything. */
struct wn_kept_row {
    bool any;
    struct wn_record record; /* of the file */
    int *part;               /* [fields] of the file: wn_row_part; owned */
};
void wn_kept_open(const struct wn_run *run, struct wn_kept_row *kept);
void wn_kept_close(struct wn_kept_row *kept);
/* What the row has. Not collective, like all here. */
wn_status wn_kept_read(const struct wn_run *run, struct wn_results *results, int64_t point, struct wn_kept_row *kept);
/* Its results, but for those of the evaluations that it lacks, come back into `wide` as they were. */
void wn_kept_restore(const struct wn_run *run, int64_t point, const struct wn_kept_row *kept, struct wn_record *wide);
/* Compressed again, the weights must be those that the other evaluations saw: else WN_ERR_NUMERIC. */
wn_status wn_kept_compare(const struct wn_run *run, const struct wn_kept_row *kept, const struct wn_record *wide);
/* Writes the point as failed, with what its row had. */
wn_status wn_kept_fail(const struct wn_run *run, struct wn_results *results, int64_t point, const char *reason,
                       struct wn_kept_row *kept);

#endif
