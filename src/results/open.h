/* SPDX-License-Identifier: Apache-2.0 */
/* open.h: the open results file. Private to results.c, starts.c, log.c and write.c. */
#ifndef WINNOW_RESULTS_OPEN_H
#define WINNOW_RESULTS_OPEN_H

#include "results_internal.h"

struct wn_results {
    struct wn_par *par;
    char *path; /* owned */
    hid_t file;
    int64_t points;
    int n_fields;
    struct wn_field *fields; /* [n_fields] copies of the schema's */
    hid_t *datasets, *types; /* [n_fields] */
    hid_t status, checksum, attempt, started;
    hid_t starts[WN_MOST_START_COLUMNS];
    int n_logs;
    struct wn_log_file *logs;        /* [n_logs] */
    int32_t start;                   /* row of /starts of this run; -1: not recorded */
    char *short_folder, *short_link; /* the name a long path is opened by; owned, NULL: its own */
    int descriptor;                  /* own, for fdatasync */
    int lock;
    uint8_t *status_values;  /* [points] as the file was opened */
    int32_t *attempt_values; /* [points] */
    int32_t *start_values;   /* [points] */
};

#endif
