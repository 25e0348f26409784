/* SPDX-License-Identifier: Apache-2.0 */
/*
 * results.h: the results file: one HDF5 file per sweep, written by all ranks, valid at any moment.
 *
 * How it survives kills: rank 0 creates the whole layout with the serial driver under a temporary
 * name (contiguous datasets, early allocation, all scales and labels), all ranks together fill it with the missing
 * values and sync, rank 0 renames it. All ranks reopen it through MPI-IO and from then on only write raw hyperslabs,
 * independently, one contiguous block per field and point; then fdatasync; then the checksum of the point; then its
 * status. No collective call and no change of metadata happens between open and close. One running sweep per file:
 * every rank holds a shared flock on <file>.lock, and a starting run first takes it exclusively; the last one to close
 * removes it.
 *
 *   /                 attributes: schema_version, winnow_version, title, Conventions; texts: sweep, identity, fields
 *                     (one line per dataset along the point axis: path, kind, type, sizes, in the order of
 *                     definition; one per constant with the SHA-256 of its values); the scales of all axes: point
 *                     (the keys), cell, block, linear ...
 *   /provenance       one text attribute per fact (code, compiler, libraries, hosts, inputs and hashes)
 *   /starts           one row per start of the program: time, arithmetic, build, hosts, ranks, threads
 *   /points           one row per point: columns known before the run, run-time columns of the schema (seconds, reason
 *                     ...) and four kept by this module: status, checksum, attempt, start (a row of /starts)
 *   /evaluations      start [point, evaluation]: a row of /starts, for rows that were put together from several starts;
 *                     an open row with any of these has those evaluations already, and its checksum covers them
 *   /cells            one row per requested grid cell: its axis values and the index of the point that answers it
 *   /search/NAME      logs (struct wn_log): fields [item, row, ...], each row with a checksum of its own
 *   other groups      as the schema says: fields [point, ...], and constants without the point axis, which hold what is
 *                     the same for all points (/tokens/SET/token_id, /tasks/TASK/gold ...) and are written when the
 *                     file is laid out; scales attached on every axis
 *
 * Datasets carry units, long_name and _FillValue (NaN, -1, 255: not written or not applicable; constants only where a
 * value is missing). Columns of truth values have flag_values 0, 1 and flag_meanings "false true". Labels and text
 * columns are variable-length UTF-8; text fields, which are written during the run, are netCDF characters [point,
 * text_N] with _Encoding, because libnetcdf cannot read longer fixed-length strings: xarray joins them by itself, in C
 * wn_results_read_texts does, with h5py: dataset[:].view("S%d" % dataset.shape[1])[:, 0]. Axis names become names at
 * the root of the file: none may be called sweep, identity, fields, provenance, points, cells or like a group.
 */
#ifndef WINNOW_RESULTS_H
#define WINNOW_RESULTS_H

#include <winnow/base.h>
#include <winnow/par.h>
#include <winnow/record.h>

#define WN_SCHEMA_VERSION 2

/* Stored in /points/status. */
enum wn_point_status { WN_POINT_OPEN = 0, WN_POINT_DONE = 1, WN_POINT_FAILED = 2 };

/* A column of a table that is known before the first point: numbers (NaN: not applicable) or texts ("": likewise). */
struct wn_column {
    char name[64];
    char unit[32], description[160];
    bool boolean;       /* numbers are 0 and 1, to be read as false and true; set by the caller */
    double *numbers;    /* [rows], owned; NULL for texts */
    const char **texts; /* [rows], owned, of the table's own texts (wn_table_set_text); NULL for numbers */
};

struct wn_table {
    char group[64]; /* "/points" */
    char axis[32];  /* "point" */
    int64_t rows;
    int n_columns;
    struct wn_column *columns; /* owned */
    struct wn_texts texts;     /* of all columns: most are the same in many rows */
};

void wn_table_init(struct wn_table *table, const char *group, const char *axis, int64_t rows);
void wn_table_release(struct wn_table *table);
/* Adds a column and returns it for filling, valid until the next one is added; numbers start as NaN, texts as "". */
struct wn_column *wn_table_add(struct wn_table *table, const char *name, bool numbers, const char *unit,
                               const char *description);
/* Sets a text of a column of the table. */
void wn_table_set_text(struct wn_table *table, struct wn_column *column, int64_t row, const char *text);

/* A name and a text: provenance. */
struct wn_fact {
    char *name, *text; /* owned by the list */
};
struct wn_facts {
    int64_t count;
    struct wn_fact *facts;
};
void wn_facts_add(struct wn_facts *facts, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void wn_facts_release(struct wn_facts *facts);

/* A start of the program: what its numbers depend on, and where it ran. Texts are borrowed, and cut where too long. */
struct wn_start {
    const char *time, *arithmetic, *build, *hosts;
    int32_t ranks, threads;
};
/* Rows of /starts. */
#define WN_STARTS 128
/* A field of 32-bit integers of this path has rows of /starts too: those that computed parts of a point. */
#define WN_EVALUATION_START "/evaluations/start"

/*
 * What some points leave behind row by row, long before they are written: the generations of searches. Every field has
 * the item and the row in front of the axes of its schema, which has numbers only; the names of these axes are names at
 * the root of the file, too. All borrowed.
 */
struct wn_log {
    const char *group;                /* "/search/fast" */
    const char *item_axis, *row_axis; /* names */
    int64_t items, rows;
    const char *const *labels;      /* [items]: keys of points */
    const struct wn_schema *schema; /* of a row */
};

/* All that is needed to lay out a file. Borrowed while a call runs. */
struct wn_results_plan {
    const struct wn_schema *schema;
    const struct wn_table *points; /* row labels of the point axis are the column "key" */
    const struct wn_table *cells;
    const char *sweep;         /* text of the sweep file */
    const char *identity;      /* one line per thing that decides results; with equal constants: same sweep */
    const struct wn_log *logs; /* [n_logs] */
    int n_logs;
    const struct wn_facts *provenance;
};

/* Bytes the file will take, within about 10 per cent (2 above 500 kB). Not collective. */
int64_t wn_results_predict_bytes(const struct wn_results_plan *plan);

struct wn_results; /* opaque */

/*
 * Collective. Creates the file, or continues an existing one whose identity is equal; another identity is
 * WN_ERR_INPUT with the first differing line of both, and so is another list of fields or constant. Errors (path not
 * writable, disk full, locked by a running sweep, not a results file) are one line and leave nothing half-written. With
 * `fresh`, an existing file is refused. Waits up to 3 s for the lock, since ranks outlive a killed mpirun. Written
 * points of an existing file are checked against their checksums, by all ranks together; one that does not match is
 * open again, with a warning. All calls of this module must come from one thread. With wn_par_start_serial the serial
 * driver is used.
 */
wn_status wn_results_open(struct wn_par *par, const char *path, const struct wn_results_plan *plan, bool fresh,
                          struct wn_results **results);

/* ---- rows of older files ---- */

/*
 * What a new file begins with. A row has parts, which are taken or left by themselves: one per entry of the field
 * `marks`, and in front of them part 0, what the others rest on. All arrays are owned.
 */
struct wn_take_over_log {
    int log; /* of the plan */
    int64_t item, source, source_item;
};
struct wn_take_over {
    int64_t n_sources, points;
    char **sources; /* [n_sources] results files */
    int n_parts, n_fields;
    int *part;        /* [n_fields] the part that each field of the schema belongs to */
    int marks;        /* field of n_parts - 1 32-bit integers: gets the row of /starts that computed each part */
    int64_t *row;     /* [n_sources][points] of that file; -1: nothing is taken from it */
    int16_t *source;  /* [points][n_parts]; -1: left missing */
    int32_t *start;   /* [points][n_parts] row of /starts of that file; -1: unknown */
    uint8_t *status;  /* [points] enum wn_point_status; OPEN with parts: a row that lacks some */
    int32_t *attempt; /* [points] */
    bool replace;     /* an existing file is replaced by the new one */
    int64_t n_logs;   /* items of logs whose whole rows are taken, as far as rows and axes here go */
    struct wn_take_over_log *logs;
    char *hint; /* added to the message that an existing file holds another sweep; NULL: nothing */
};
/* Nothing is taken: rows and sources -1, points open. */
void wn_take_over_init(struct wn_take_over *take, int64_t n_sources, int64_t points, int n_parts, int n_fields);
void wn_take_over_release(struct wn_take_over *take);

/*
 * Asked on rank 0 when nobody else can write to the results file: `existing` is its path, NULL when there is none.
 * Fills `take`, which is {0}; no sources: the new file begins empty. Not to change the file.
 */
typedef wn_status wn_results_chooser(void *context, const char *existing, struct wn_take_over *take);
/*
 * Collective. wn_results_open without `fresh`; a file that is created, or replaces an existing one, begins with the
 * rows that `choose` names. They are compared with their checksums: one that does not match is left out, with a
 * warning. All ranks share the copying. Until the new file is complete the existing one stays, under its name.
 */
wn_status wn_results_open_with(struct wn_par *par, const char *path, const struct wn_results_plan *plan,
                               wn_results_chooser *choose, void *context, struct wn_results **results);
/*
 * Collective: there [points][elements of the field `marks`] says which parts open and failed rows have; none of a row
 * that does not match its checksum.
 */
wn_status wn_results_parts(struct wn_results *results, int marks, bool *there);
/* All fields of a row as they are in the file. Not collective. */
wn_status wn_results_read_row(struct wn_results *results, int64_t point, struct wn_record *record);

/* Collective. */
wn_status wn_results_close(struct wn_results **results);

/*
 * Collective, before the first point is begun: records this start in /starts. Another arithmetic than that of an
 * earlier start is WN_ERR_INPUT, with `mix_arithmetic` a warning. A run with nothing to compute leaves it out.
 */
wn_status wn_results_start(struct wn_results *results, const struct wn_start *start, bool mix_arithmetic);

/* The row of /starts of this run, -1 without one. Not collective. */
int32_t wn_results_this_start(const struct wn_results *results);

/* Whether two texts of /starts/arithmetic, of which one may have been cut to fit, are the same. */
bool wn_results_same_arithmetic(const char *a, const char *b);

/* Status of every point when the file was opened [points]; attempts so far. What this rank writes shows; what other
 * ranks write does not. Borrowed. Not collective. */
const uint8_t *wn_results_status(const struct wn_results *results);
const int32_t *wn_results_attempts(const struct wn_results *results);

/*
 * Before a point is computed: it is open, its attempts are one more (1, when it was finished before), and this start is
 * the one that tries it; all that on the disk. So an attempt that kills its rank is counted too. Not collective.
 */
wn_status wn_results_begin(struct wn_results *results, int64_t point);
/* The state of a point that was begun is saved: this attempt is not counted, whatever comes of it. Not collective. */
wn_status wn_results_uncount(struct wn_results *results, int64_t point);
/*
 * Commits one point: all fields, fdatasync, checksum, status. Not collective; no two ranks may write one
 * point. `status` is DONE or FAILED. The point must have been begun. On WN_ERR_IO the point is open, and when the file
 * was removed or replaced meanwhile.
 */
wn_status wn_results_write(struct wn_results *results, int64_t point, const struct wn_record *record,
                           enum wn_point_status status);

/* ---- logs ---- */

/*
 * Commits a row: its fields, fdatasync, then its checksum. One that was there is replaced. Not collective; no two ranks
 * may write one row. `log` is the number in the plan, the record is of its schema.
 */
wn_status wn_results_write_log(struct wn_results *results, int log, int64_t item, int64_t row,
                               const struct wn_record *record);
/* *whole: the row was written and matches its checksum; the record is then filled. Not collective. */
wn_status wn_results_read_log(struct wn_results *results, int log, int64_t item, int64_t row, struct wn_record *record,
                              bool *whole);

/* ---- reading, without MPI, also while a sweep runs ---- */

struct wn_results_reader; /* opaque */
wn_status wn_results_read_open(const char *path, struct wn_results_reader **reader);
void wn_results_read_close(struct wn_results_reader **reader);
int64_t wn_results_read_points(const struct wn_results_reader *reader);
/* Fresh look at the status column: status [points]. */
wn_status wn_results_read_status(struct wn_results_reader *reader, uint8_t *status);
/*
 * A whole 1-D column or [point] field as text / as doubles (missing integers become NaN); *values are owned by the
 * caller (wn_results_free_texts / wn_free). A path that does not exist, or is no such column, gives WN_ERR_INPUT.
 * `rows` gets the length. Of numbers a path that an older version called otherwise is found under that name.
 */
wn_status wn_results_read_texts(struct wn_results_reader *reader, const char *path, char ***values, int64_t *rows);
wn_status wn_results_read_numbers(struct wn_results_reader *reader, const char *path, double **values, int64_t *rows);
/* What this version calls a path of a file of any version. */
const char *wn_results_path_now(const char *path);
/* Calls visit for every column along the point axis below `group`, in the order of definition: path, unit, description,
 * whether it is text. */
typedef void wn_results_visitor(void *context, const char *path, const char *unit, const char *description, bool text);
wn_status wn_results_read_list(struct wn_results_reader *reader, const char *group, wn_results_visitor *visit,
                               void *context);
/* Adds the paths of the columns of the points that were known before the first one ran: what they are. */
void wn_results_read_columns(const struct wn_results_reader *reader, struct wn_texts *paths);
/* Adds the paths of all columns and fields to `paths`. */
void wn_results_read_paths(const struct wn_results_reader *reader, struct wn_texts *paths);
/* Whole numbers along the point axis and one more: *values [points][columns], owned by the caller. */
wn_status wn_results_read_rows(struct wn_results_reader *reader, const char *path, int32_t **values, int64_t *columns);
/* All of a dataset of numbers as doubles (missing integers become NaN), row-major, with its shape; owned by the caller.
 */
#define WN_MAX_ARRAY_DIMS 6
struct wn_array {
    int rank;
    int64_t sizes[WN_MAX_ARRAY_DIMS];
    double *values;
};
wn_status wn_results_read_array(struct wn_results_reader *reader, const char *path, struct wn_array *array);
/* Adds the groups of all logs to `groups`. */
void wn_results_read_logs(const struct wn_results_reader *reader, struct wn_texts *groups);
/* whole [items][rows] of a log: the row was written and matches its checksum; owned by the caller. */
wn_status wn_results_read_whole(struct wn_results_reader *reader, const char *group, bool **whole, int64_t *items,
                                int64_t *rows);
/* The text dataset `name` ("sweep", "identity", "fields") as stored; owned by the caller. */
wn_status wn_results_read_document(struct wn_results_reader *reader, const char *name, char **text);
/* The version of the layout that the file has. */
wn_status wn_results_read_version(struct wn_results_reader *reader, int32_t *version);
/* Adds the names of all facts of /provenance to `names`, in alphabetical order. */
wn_status wn_results_read_facts(struct wn_results_reader *reader, struct wn_texts *names);
/* A fact of /provenance; WN_ERR_INPUT when there is none of that name; owned by the caller. */
wn_status wn_results_read_fact(struct wn_results_reader *reader, const char *name, char **text);

/*
 * Checks the checksum of every written point (bad ones as lines in `problems`) and computes the digest: SHA-256 over
 * path, type and shape of all result fields in the order of definition, the same of all constants with their values
 * (which must match their hashes, too), then for every point its key, its status and, unless it is open, what it has in
 * those fields; then the rows of logs, which must match their checksums, too; times, hosts and memory are left out.
 * `digest` gets 64 hexadecimal digits. `done`, `failed`, `open` get
 * counts. All but `path` may be NULL. Not collective; needs no MPI.
 */
wn_status wn_results_verify(const char *path, struct wn_problems *problems, char digest[65], int64_t *done,
                            int64_t *failed, int64_t *open);

/* Frees what wn_results_read_texts gave and sets it to NULL; NULL is fine. */
void wn_results_free_texts(char ***texts, int64_t rows);
/* The HDF5 library in use. */
void wn_results_library_version(unsigned *major, unsigned *minor, unsigned *release);

#endif
