/* SPDX-License-Identifier: Apache-2.0 */
/*
 * older.h: an older results file beside a sweep: which of its models, calibration sets, evaluations and searches are
 * the same, and which row a point is. Private to src/sweep.
 */
#ifndef WINNOW_SWEEP_OLDER_H
#define WINNOW_SWEEP_OLDER_H

#include "identity.h"

struct wn_older {
    const char *path; /* borrowed */
    char *text;       /* its identity */
    struct wn_identity identity;
    int64_t points, n_evals, n_starts, n_paths;
    char **keys, **models, **hashes, **evals, **arithmetic;
    double *attempts, *starts; /* [points] */
    int32_t *marks;            /* [points][n_evals] row of /starts that computed an evaluation */
    uint8_t *status;
    struct wn_texts paths; /* [n_paths] of its fields, first; others may follow */
    struct wn_texts index; /* model and key of every row, by its number; others may follow */
    int64_t *model;        /* [models of the run] the same model here; -1: none */
    bool *calibration;     /* [models of the run][calibrations] the same */
    int64_t *eval;         /* [models of the run][evaluations] column of marks; -1: none */
    int64_t *item;         /* [searches of the run] of its log, where the same was searched for; -1: none */
    int64_t finished, matched, taken, lacking, other_arithmetic;
};

/*
 * Reads all but the values of the rows; `identity` is that of the run. WN_ERR_INPUT in one line when the file cannot be
 * read, or was written by a version of winnow that kept less of a row. To be released in both cases.
 */
wn_status wn_older_read(const struct wn_run *run, const struct wn_identity *identity, const char *path,
                        struct wn_older *source);
void wn_older_release(struct wn_older *source);
/* The row that is a point of the run; -1: none. */
int64_t wn_older_row(const struct wn_run *run, struct wn_older *source, int64_t p);

#endif
