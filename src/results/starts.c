/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /starts: one row for every start of the program that computed points of this file, with what the numbers depend on.
 * The rows are made with the file, empty; rank 0 fills one when it starts. When all are used, a start that computed no
 * point gives its row away.
 */
#include <string.h>

#include "../par/par_internal.h"
#include "open.h"

/* name, bytes of the text (0: a whole number), unit, description */
#define START_COLUMNS(X)                                                                                               \
    X(time, 24, "", "when the program started, UTC")                                                                   \
    X(arithmetic, 224, "", "kernels, tiles and instruction set: equal texts give equal bits")                          \
    X(build, 160, "", "version, revision and compiler")                                                                \
    X(hosts, 256, "", "hosts of the ranks")                                                                            \
    X(ranks, 0, "1", "MPI ranks")                                                                                      \
    X(threads, 0, "1", "OpenMP threads of a rank")

enum column {
#define X(name, bytes, unit, description) COLUMN_##name,
    START_COLUMNS(X)
#undef X
        N_COLUMNS
};

static const struct {
    const char *path;
    int bytes;
    const char *unit, *description;
} columns[] = {
#define X(name, bytes, unit, description) {"/starts/" #name, bytes, unit, description},
    START_COLUMNS(X)
#undef X
};

_Static_assert((int)N_COLUMNS <= (int)WN_MOST_START_COLUMNS, "columns of /starts");

int wn_starts_columns_(void)
{
    return N_COLUMNS;
}

void wn_starts_column_(int column, const char **path, int *bytes, const char **unit, const char **description)
{
    *path = columns[column].path;
    *bytes = columns[column].bytes;
    *unit = columns[column].unit;
    *description = columns[column].description;
}

int64_t wn_starts_bytes_(void)
{
    int64_t bytes = 0;

    for (int c = 0; c < N_COLUMNS; c++)
        bytes += WN_STARTS * (columns[c].bytes ? columns[c].bytes : (int64_t)sizeof(int32_t));
    return bytes;
}

static void mark_used(const int32_t *starts, int64_t count, bool used[WN_STARTS])
{
    for (int64_t i = 0; i < count; i++)
        if (starts[i] >= 0 && starts[i] < WN_STARTS)
            used[starts[i]] = true;
}

/* Starts that computed parts of points which others have finished. */
static void mark_parts(const struct wn_results *r, bool used[WN_STARTS])
{
    for (int f = 0; f < r->n_fields; f++) {
        const struct wn_field *field = &r->fields[f];
        if (strcmp(field->path, WN_EVALUATION_START))
            continue;
        int32_t *starts = wn_alloc(r->points * field->elements, sizeof *starts);
        if (H5Dread(r->datasets[f], H5T_STD_I32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, starts) >= 0)
            mark_used(starts, r->points * field->elements, used);
        wn_free(starts);
    }
}

/* The first empty row; when there is none, the first one without a point; else the last. times [WN_STARTS][bytes]. */
static int32_t free_row(const struct wn_results *r, const char *times)
{
    bool used[WN_STARTS] = {false};

    for (int32_t i = 0; i < WN_STARTS; i++)
        if (!times[i * columns[COLUMN_time].bytes])
            return i;
    mark_used(r->start_values, r->points, used);
    mark_parts(r, used);
    for (int32_t i = 0; i < WN_STARTS; i++)
        if (!used[i])
            return i;
    return WN_STARTS - 1;
}

/* ---- in the open file ---- */

void wn_starts_open_(struct wn_results *r, struct wn_h5 *h5)
{
    for (int c = 0; c < N_COLUMNS; c++)
        r->starts[c] = wn_h5_check_(h5, H5Dopen2(h5->file, columns[c].path, H5P_DEFAULT), columns[c].path);
}

static void put_cell(struct wn_results *r, struct wn_h5 *h5, enum column column, const char *text, int32_t number)
{
    int bytes = columns[column].bytes;
    char cell[512] = "";
    hid_t type = bytes ? wn_h5_char_type_() : H5Tcopy(H5T_STD_I32LE);

    if (bytes && text)
        memcpy(cell, text, strnlen(text, (size_t)bytes));
    else
        memcpy(cell, &number, sizeof number);
    wn_h5_check_(h5, wn_h5_point_io_(r->starts[column], type, r->start, bytes ? bytes : 1, cell, true),
                 columns[column].path);
    H5Tclose(type);
}

/* All rows of a text column, [WN_STARTS][bytes]; owned by the caller. */
static char *read_texts(const struct wn_results *r, struct wn_h5 *h5, enum column column)
{
    char *texts = wn_alloc(WN_STARTS * columns[column].bytes, 1);
    hid_t type = wn_h5_char_type_();

    wn_h5_check_(h5, H5Dread(r->starts[column], type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts), columns[column].path);
    H5Tclose(type);
    return texts;
}

bool wn_results_same_arithmetic(const char *a, const char *b)
{
    return strncmp(a, b, (size_t)columns[COLUMN_arithmetic].bytes) == 0;
}

static wn_status compare_arithmetic(const struct wn_results *r, const char *texts, const char *arithmetic, bool mix)
{
    const int bytes = columns[COLUMN_arithmetic].bytes;

    for (int64_t i = 0; i < WN_STARTS; i++) {
        const char *text = texts + i * bytes;
        if (!*text || !strncmp(text, arithmetic, (size_t)bytes))
            continue;
        if (!mix)
            return wn_fail(WN_ERR_INPUT,
                           "%s: its points were computed with another arithmetic: %.*s; here it is %.*s. Equal points "
                           "would differ in their last bits: go on with the same build on the same kind of node, or "
                           "give --mix-arithmetic (/points/start tells which row is whose)",
                           r->path, bytes, text, bytes, arithmetic);
        wn_log(WN_LOG_WARNING, "%s: holds points of another arithmetic (%.*s; now %.*s)", r->path, bytes, text, bytes,
               arithmetic);
        break;
    }
    return WN_OK;
}

static wn_status add_start(struct wn_results *r, const struct wn_start *start, bool mix)
{
    struct wn_h5 h5 = {.file = r->file};
    char *times = read_texts(r, &h5, COLUMN_time), *arithmetic = read_texts(r, &h5, COLUMN_arithmetic);
    wn_status status = wn_h5_ok_(&h5) ? compare_arithmetic(r, arithmetic, start->arithmetic, mix) : WN_OK;

    if (wn_h5_ok_(&h5) && status == WN_OK) {
        r->start = free_row(r, times);
        put_cell(r, &h5, COLUMN_time, start->time, 0);
        put_cell(r, &h5, COLUMN_arithmetic, start->arithmetic, 0);
        put_cell(r, &h5, COLUMN_build, start->build, 0);
        put_cell(r, &h5, COLUMN_hosts, start->hosts, 0);
        put_cell(r, &h5, COLUMN_ranks, NULL, start->ranks);
        put_cell(r, &h5, COLUMN_threads, NULL, start->threads);
    }
    wn_free(times);
    wn_free(arithmetic);
    if (!wn_h5_ok_(&h5))
        return wn_fail(WN_ERR_IO, "%s: the start cannot be recorded: %s", r->path, h5.reason);
    return status;
}

wn_status wn_results_start(struct wn_results *results, const struct wn_start *start, bool mix_arithmetic)
{
    struct wn_par *par = results->par;

    WN_TRY(wn_par_agree(par, par->rank == 0 ? add_start(results, start, mix_arithmetic) : WN_OK));
    wn_par_broadcast(par, &results->start, sizeof results->start, 0);
    return WN_OK;
}
