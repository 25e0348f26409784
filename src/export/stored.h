/* SPDX-License-Identifier: Apache-2.0 */
/* stored.h: what a results file says of the point that is exported. Private to src/export. */
#ifndef WINNOW_EXPORT_STORED_H
#define WINNOW_EXPORT_STORED_H

#include <winnow/base.h>

#define WN_STORED_TOTALS 4

struct wn_stored {
    char **keys; /* [points] */
    int64_t points, point;
    char *sweep, *identity;
    char *sweep_file, *arithmetic; /* NULL in files of old versions */
    bool done;
    double totals[WN_STORED_TOTALS];
};

/* Opens the file, finds the point (a whole key, else a number, else the beginning of one key) and reads the rest.
 * Release it after an error, too. */
wn_status wn_stored_open(const char *path, const char *point, struct wn_stored *stored);
void wn_stored_release(struct wn_stored *stored);
/* Names of the totals below /points, which a point that is computed again must have too: a check. */
const char *wn_stored_total(int index);

#endif
