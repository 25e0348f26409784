/* SPDX-License-Identifier: Apache-2.0 */
/*
 * results_internal.h: what the files of src/results share. HDF5 is called from one thread only; its own error printing
 * is off, the first failure of a sequence of calls is kept as one short text.
 */
#ifndef WINNOW_RESULTS_INTERNAL_H
#define WINNOW_RESULTS_INTERNAL_H

#include <hdf5.h>
#include <stdio.h>

#include <winnow/results.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and checksums are little-endian");

/* ---- HDF5 with one sticky error ---- */

/* All functions below do nothing once `reason` is set, so that a sequence of calls is checked once, at its end. */
struct wn_h5 {
    hid_t file;
    char reason[512]; /* empty: all went well */
};

bool wn_h5_ok_(const struct wn_h5 *h5);
/* Passes a return value of HDF5 through; a negative one sets the reason, `what` in front (NULL: nothing). */
int64_t wn_h5_check_(struct wn_h5 *h5, int64_t value, const char *what);
/* Access by the serial driver: no locks of HDF5's own (a reader may look in), no sieve buffer (no stale or late data).
 */
hid_t wn_h5_serial_access_(void);
/* Opens with the serial driver. */
void wn_h5_open_(struct wn_h5 *h5, const char *path, unsigned flags);
void wn_h5_close_(struct wn_h5 *h5);
/* Types to be closed by H5Tclose. */
hid_t wn_h5_text_type_(void); /* variable-length UTF-8 */
hid_t wn_h5_char_type_(void); /* one character, netCDF's NC_CHAR */
/* Writes a text attribute / a scalar text dataset. */
void wn_h5_put_text_(struct wn_h5 *h5, hid_t object, const char *name, const char *text);
void wn_h5_put_document_(struct wn_h5 *h5, const char *name, const char *text);
/* Reads or writes what one point has in a dataset [point, ...]: `elements` values of `type`. */
herr_t wn_h5_point_io_(hid_t dataset, hid_t type, int64_t point, int64_t elements, void *data, bool write);

/* ---- reading what cannot be trusted: every byte of an existing file comes through here ---- */

/*
 * Until the end of the guard, a crash or an endless loop inside HDF5 ends the program with one line that calls `path`
 * damaged, and exit code 2. Guards may lie inside each other. Only around calls of HDF5 that read.
 */
void wn_h5_guard_begin_(const char *path);
void wn_h5_guard_end_(void);

/* A dataset that was found to be plain: under one name, without links, in one piece inside of the file. */
struct wn_h5_data {
    hid_t id, type;   /* -1: not open */
    const char *path; /* borrowed */
    int rank;
    hsize_t sizes[H5S_MAX_RANK];
    int64_t elements; /* all of them take no more bytes than the file has */
};

/* Opens and checks; on failure the reason names the dataset. To be closed in both cases. */
void wn_h5_data_open_(struct wn_h5 *h5, const char *path, struct wn_h5_data *data);
void wn_h5_data_close_(struct wn_h5_data *data);
/* Fails unless it has exactly this type (texts: any variable-length UTF-8) and shape. */
void wn_h5_data_expect_(struct wn_h5 *h5, const struct wn_h5_data *data, hid_t type, int rank, const int64_t *sizes);
/* A type that winnow writes numbers in. */
bool wn_h5_data_is_number_(const struct wn_h5_data *data);
bool wn_h5_is_text_(hid_t type);
/* All of it; `elements` is what `values` has room for and must be all: WN_BUG otherwise. Not for texts. */
void wn_h5_data_read_(struct wn_h5 *h5, const struct wn_h5_data *data, hid_t type, int64_t elements, void *values);
/* texts [elements], each owned by the caller; on failure those that are not NULL. */
void wn_h5_data_read_texts_(struct wn_h5 *h5, const struct wn_h5_data *data, char **texts);
/* A dataset of one text; owned by the caller, NULL on failure. */
char *wn_h5_get_document_(struct wn_h5 *h5, const char *name);
/* An attribute of one value of exactly `type`; false when there is none, and on failure. `path` is the object's. */
bool wn_h5_get_value_(struct wn_h5 *h5, hid_t object, const char *path, const char *name, hid_t type, void *value);
/* An attribute of one text; owned by the caller, NULL when there is none, and on failure. */
char *wn_h5_get_text_(struct wn_h5 *h5, hid_t object, const char *path, const char *name);
/* Adds the names of all attributes of a group to `names`, in alphabetical order. */
void wn_h5_get_names_(struct wn_h5 *h5, const char *group, struct wn_texts *names);
char *wn_h5_get_group_text_(struct wn_h5 *h5, const char *group, const char *name);

/* ---- fields ---- */

/* The type in the file and in memory: always the same, so HDF5 converts nothing. To be closed by H5Tclose. */
hid_t wn_field_type_(enum wn_field_type type);

/*
 * The document "fields": what every dataset along the point axis is, in the order of its definition, one line each:
 *   path TAB kind TAB type TAB sizes of the further axes joined by "x" ("" for none)
 * with kind `column` (known before the run), `result`, `run` (times, hosts, memory) or `state` (kept by this module);
 * then the constants of the schema with kind `constant`, all their sizes, and behind these TAB SHA-256 of the values;
 * then the fields of logs with kind `log` (results), `log-run` (times) and, last of each log, `log-state`: its
 * checksums; all with all their sizes.
 * The first line is "points TAB number TAB SHA-256 of the keys". Owned by the caller.
 */
char *wn_fields_document_(const struct wn_results_plan *plan);

struct wn_field_line {
    char path[192], kind[16], sizes[96];
    char hash[65]; /* of a constant, else empty */
    enum wn_field_type type;
    int n_sizes;
    int64_t size[WN_MAX_FIELD_DIMS + 1];
    int64_t elements, bytes; /* per point, or all of a constant */
};

/* Parses the line at *text and moves on to the next; false at the end or when it cannot be parsed. */
bool wn_field_line_next_(const char **text, struct wn_field_line *line);
/* The first line of the document: moves *text behind it; false when it cannot be parsed. */
bool wn_fields_points_(const char **text, int64_t *points);
/* Opens the dataset of a line, which must have its type and shape. To be closed in both cases. */
void wn_field_line_open_(struct wn_h5 *h5, const struct wn_field_line *line, int64_t points, struct wn_h5_data *data);
/*
 * Compares a file with its document "fields": all lines can be read, every dataset is there once, plain, with its type
 * and shape, and so are the four state columns. Then nothing but values can be wrong in what is read by the document.
 */
void wn_fields_check_(struct wn_h5 *h5, const char *document, int64_t *points);

/* Reads what point `point` has in the result fields and gives the checksum as stored in /points/checksum. */
struct wn_point_hasher {
    int n_fields;
    struct wn_field_line *fields; /* result fields in order; owned */
    hid_t *datasets, *types;      /* [n_fields] owned */
    uint8_t *buffer;
    char name[400]; /* of the file */
};
void wn_hasher_open_(struct wn_h5 *h5, const char *document, struct wn_point_hasher *hasher);
void wn_hasher_close_(struct wn_point_hasher *hasher);
/* `also` (may be NULL) gets every slab too. */
struct wn_hash;
herr_t wn_hasher_point_(struct wn_point_hasher *hasher, int64_t point, uint64_t *checksum, struct wn_hash *also);
/* The column of checksums [points]. */
struct wn_results_reader;
wn_status wn_results_read_checksums_(struct wn_results_reader *reader, uint64_t *checksums);
/* SHA-256 of some bytes as 64 hexadecimal digits. */
void wn_hash_hex_of_(const void *data, int64_t bytes, char hex[65]);
/* The first 8 bytes of a SHA-256. */
uint64_t wn_hash_u64_(struct wn_hash *hash);

/* ---- logs (log.c) ---- */

#define WN_LOG_CHECKSUM "checksum"

/* The fields of one log of a file, in the order of its document; the checksums are the last. */
struct wn_log_file {
    char group[192];
    int64_t items, rows;
    int n_fields;                 /* without the checksums */
    struct wn_field_line *fields; /* [n_fields + 1]; owned */
    hid_t *datasets, *types;      /* [n_fields + 1]; owned */
    uint8_t *buffer;              /* of a field of a row */
};
/* The next log of the document, *text moves on behind it; false: there is none. On failure h5 has a reason. To be
 * closed. */
bool wn_log_file_next_(struct wn_h5 *h5, const char **text, struct wn_log_file *log);
void wn_log_file_close_(struct wn_log_file *log);
int64_t wn_log_row_elements_(const struct wn_log_file *log, int field);
herr_t wn_log_row_io_(const struct wn_log_file *log, int field, int64_t item, int64_t row, void *data, bool write);
enum wn_log_row { WN_LOG_ROW_MISSING, WN_LOG_ROW_WHOLE, WN_LOG_ROW_DAMAGED };
/* Compares a row with its checksum; `also` (may be NULL) gets what it has. */
herr_t wn_log_row_check_(struct wn_log_file *log, int64_t item, int64_t row, enum wn_log_row *state,
                         struct wn_hash *also);
/* Lays out a row's checksum: as stored, never the missing value. */
int64_t wn_log_checksum_(struct wn_hash *hash);
/* Rank 0: rows of logs of older files into the new one, which is complete but for them. */
wn_status wn_take_over_logs_(const char *path, const char *temporary, const struct wn_results_plan *plan,
                             const struct wn_take_over *take);

/* ---- dimension scales (rank 0) ---- */

struct wn_scale; /* opaque */
struct wn_scales {
    int count;
    struct wn_scale *scales; /* owned */
};

bool wn_scales_has_(const struct wn_scales *scales, const char *name);
/* Makes the dataset /name a scale; `title` is its name, or netCDF's mark of a dimension without a variable. */
void wn_scales_add_(struct wn_h5 *h5, struct wn_scales *scales, hid_t dataset, const char *name, const char *title);
/* Attaches one scale to each axis of a dataset. */
void wn_scales_attach_(struct wn_h5 *h5, struct wn_scales *scales, hid_t dataset, const char *path, int n_axes,
                       const char *const *axes);
/* Writes the back references and releases the list, also after a failure. */
void wn_scales_finish_(struct wn_h5 *h5, struct wn_scales *scales);

/* ---- locks and looks (rank 0) ---- */

/*
 * <real path>.lock: exclusive while a run starts, shared while it writes. A lock that cannot be had for 3 s (ranks
 * outlive a killed mpirun by about 1 s) is WN_ERR_INPUT. On file systems without flock there is a warning and *lock is
 * -1.
 */
wn_status wn_lock_take_(const char *path, bool exclusive, int *lock);
/*
 * The lock of the open file itself, whatever its name: exclusive, or shared (also from exclusive). Waits up to 3 s.
 * Does nothing where the file system has no such locks, and on NFS.
 */
wn_status wn_lock_file_(const char *path, int file, bool exclusive);
/* WN_ERR_IO with a line that says it when the open file was removed, or its name stands for another one. */
wn_status wn_results_still_there_(const char *path, int file);
/* From exclusive to shared. */
wn_status wn_lock_share_(const char *path, int lock);
/* Closes; with `remove`, removes the lock file when nobody else holds it. */
void wn_lock_release_(const char *path, int *lock, bool remove);

/* Opens an existing results file for reading with the serial driver, with a line for all that can be wrong with it;
 * access_mode is what access() shall check. */
wn_status wn_results_open_serial_(const char *path, int access_mode, struct wn_h5 *h5);
/* Compares an existing file with the plan. */
wn_status wn_results_inspect_(const char *path, const struct wn_results_plan *plan);

#define WN_STATUS_PATH   "/points/status"
#define WN_CHECKSUM_PATH "/points/checksum"
#define WN_ATTEMPT_PATH  "/points/attempt"
#define WN_START_PATH    "/points/start"

/* ---- starts ---- */

enum { WN_MOST_START_COLUMNS = 8 };
/* Columns of /starts [WN_STARTS]; bytes 0: a whole number, else a text of characters. */
int wn_starts_columns_(void);
void wn_starts_column_(int column, const char **path, int *bytes, const char **unit, const char **description);
int64_t wn_starts_bytes_(void);
/* Every rank, as all must open the same datasets. */
void wn_starts_open_(struct wn_results *r, struct wn_h5 *h5);

/* ---- older versions (renamed.c) ---- */

/* What older versions called a path. */
const char *wn_path_before_(const char *path);

#endif
