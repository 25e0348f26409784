/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c: logs: rows that are written one after the other while their points wait, each with a checksum that is written
 * last, so that a kill at any place leaves a row that is whole or not there. Rows of older files come along.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <winnow/io.h>

#include "fill.h"
#include "open.h"

/* ---- the fields of a log ---- */

static bool is_of_log(const struct wn_field_line *line)
{
    return !strncmp(line->kind, "log", 3);
}

static int group_length(const char *path)
{
    return (int)(strrchr(path, '/') - path);
}

/* All fields of a log have the same items and rows in front; the checksums have nothing else. */
static bool fits(const struct wn_log_file *log, const struct wn_field_line *line)
{
    bool state = !strcmp(line->kind, "log-state");

    return line->n_sizes >= 2 && line->size[0] == log->items && line->size[1] == log->rows &&
           (int)strlen(log->group) == group_length(line->path) &&
           !strncmp(line->path, log->group, strlen(log->group)) && line->type != WN_FIELD_TEXT &&
           (!state || (line->type == WN_FIELD_I64 && line->n_sizes == 2));
}

static void add_field(struct wn_h5 *h5, const struct wn_field_line *line, int n, struct wn_log_file *log)
{
    struct wn_h5_data data;

    log->fields = wn_resize(log->fields, n + 1, sizeof *log->fields);
    log->datasets = wn_resize(log->datasets, n + 1, sizeof *log->datasets);
    log->types = wn_resize(log->types, n + 1, sizeof *log->types);
    log->fields[n] = *line;
    log->types[n] = wn_field_type_(line->type);
    wn_field_line_open_(h5, line, 0, &data);
    log->datasets[n] = data.id; /* the type of `data` is not kept */
    data.id = -1;
    wn_h5_data_close_(&data);
}

static void begin_log(const struct wn_field_line *line, struct wn_log_file *log)
{
    snprintf(log->group, sizeof log->group, "%.*s", group_length(line->path), line->path);
    log->items = line->n_sizes >= 2 ? line->size[0] : 0;
    log->rows = line->n_sizes >= 2 ? line->size[1] : 0;
}

bool wn_log_file_next_(struct wn_h5 *h5, const char **text, struct wn_log_file *log)
{
    struct wn_field_line line;
    int64_t most = 0;
    int count = 0;
    bool whole = false;

    *log = (struct wn_log_file){.n_fields = -1};
    while (!whole && wn_h5_ok_(h5) && wn_field_line_next_(text, &line)) {
        if (!is_of_log(&line))
            continue;
        if (count == 0)
            begin_log(&line, log);
        add_field(h5, &line, count, log);
        log->n_fields = count++;
        most = line.bytes > most ? line.bytes : most;
        whole = !strcmp(line.kind, "log-state");
        if (wn_h5_ok_(h5) && !fits(log, &line))
            snprintf(h5->reason, sizeof h5->reason, "%s does not fit the log it is in", line.path);
    }
    if (count && !whole && wn_h5_ok_(h5))
        snprintf(h5->reason, sizeof h5->reason, "the log %s has no checksums", log->group);
    if (wn_h5_ok_(h5) && log->items * log->rows > 0) /* no more bytes than the file has */
        log->buffer = wn_alloc(most / (log->items * log->rows), 1);
    return count > 0 && wn_h5_ok_(h5);
}

void wn_log_file_close_(struct wn_log_file *log)
{
    for (int f = 0; f <= log->n_fields && log->fields; f++) {
        H5Tclose(log->types[f]);
        if (log->datasets[f] >= 0)
            H5Dclose(log->datasets[f]);
    }
    wn_free(log->fields);
    wn_free(log->datasets);
    wn_free(log->types);
    wn_free(log->buffer);
    *log = (struct wn_log_file){.n_fields = -1};
}

/* ---- rows ---- */

int64_t wn_log_row_elements_(const struct wn_log_file *log, int field)
{
    return log->fields[field].elements / (log->items * log->rows);
}

static int64_t row_bytes(const struct wn_log_file *log, int field)
{
    return log->fields[field].bytes / (log->items * log->rows);
}

herr_t wn_log_row_io_(const struct wn_log_file *log, int field, int64_t item, int64_t row, void *data, bool write)
{
    hsize_t start[H5S_MAX_RANK] = {(hsize_t)item, (hsize_t)row}, count[H5S_MAX_RANK];
    hsize_t length = (hsize_t)wn_log_row_elements_(log, field);
    hid_t space = H5Dget_space(log->datasets[field]);
    herr_t result = -1;

    if (space < 0)
        return -1;
    H5Sget_simple_extent_dims(space, count, NULL);
    count[0] = count[1] = 1;
    hid_t memory = H5Screate_simple(1, &length, NULL);
    if (memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0)
        result = write ? H5Dwrite(log->datasets[field], log->types[field], memory, space, H5P_DEFAULT, data)
                       : H5Dread(log->datasets[field], log->types[field], memory, space, H5P_DEFAULT, data);
    if (result >= 0) { /* closing clears the error stack */
        H5Sclose(memory);
        H5Sclose(space);
    }
    return result;
}

int64_t wn_log_checksum_(struct wn_hash *hash)
{
    return (int64_t)(wn_hash_u64_(hash) >> 1);
}

herr_t wn_log_row_check_(struct wn_log_file *log, int64_t item, int64_t row, enum wn_log_row *state,
                         struct wn_hash *also)
{
    struct wn_hash *hash = wn_hash_create();
    int64_t stored = -1;
    herr_t result = wn_log_row_io_(log, log->n_fields, item, row, &stored, false);

    for (int f = 0; f < log->n_fields && result >= 0 && stored != -1; f++) {
        if (strcmp(log->fields[f].kind, "log"))
            continue;
        result = wn_log_row_io_(log, f, item, row, log->buffer, false);
        wn_hash_update(hash, log->buffer, (size_t)row_bytes(log, f));
        if (also)
            wn_hash_update(also, log->buffer, (size_t)row_bytes(log, f));
    }
    int64_t computed = wn_log_checksum_(hash);
    *state = stored == -1 ? WN_LOG_ROW_MISSING : stored == computed ? WN_LOG_ROW_WHOLE : WN_LOG_ROW_DAMAGED;
    return result;
}

/* ---- in the open file ---- */

static wn_status failed(const struct wn_results *r, const struct wn_log_file *log, int64_t item, int64_t row,
                        const char *what)
{
    return wn_fail(WN_ERR_IO, "%s: row %lld, %lld of %s cannot be %s", r->path, (long long)item, (long long)row,
                   log->group, what);
}

static void check_place(const struct wn_results *r, int log, int64_t item, int64_t row, const struct wn_record *record)
{
    if (log < 0 || log >= r->n_logs || item < 0 || item >= r->logs[log].items || row < 0 || row >= r->logs[log].rows ||
        record->schema->n_fields != r->logs[log].n_fields)
        WN_BUG("row %lld, %lld of log %d, with %d fields", (long long)item, (long long)row, log,
               record->schema->n_fields);
}

static wn_status to_disk(const struct wn_results *r)
{
    if (fdatasync(r->descriptor) != 0)
        return wn_fail(WN_ERR_IO, "%s: cannot be written to the disk: %s", r->path, strerror(errno));
    return WN_OK;
}

static wn_status put_checksum(const struct wn_results *r, const struct wn_log_file *log, int64_t item, int64_t row,
                              int64_t checksum)
{
    if (wn_log_row_io_(log, log->n_fields, item, row, &checksum, true) < 0)
        return failed(r, log, item, row, "written");
    return to_disk(r);
}

/* What a row was is taken back first: else half of the new one could pass for it. */
wn_status wn_results_write_log(struct wn_results *results, int log_index, int64_t item, int64_t row,
                               const struct wn_record *record)
{
    check_place(results, log_index, item, row, record);
    struct wn_log_file *log = &results->logs[log_index];
    struct wn_hash *hash = wn_hash_create();
    int64_t stored = -1;
    wn_status status = wn_results_still_there_(results->path, results->descriptor);

    if (status == WN_OK && wn_log_row_io_(log, log->n_fields, item, row, &stored, false) < 0)
        status = failed(results, log, item, row, "read");
    if (status == WN_OK && stored != -1)
        status = put_checksum(results, log, item, row, -1);
    for (int f = 0; f < log->n_fields && status == WN_OK; f++) {
        if (record->schema->fields[f].result)
            wn_hash_update(hash, record->data[f], (size_t)row_bytes(log, f));
        if (wn_log_row_io_(log, f, item, row, record->data[f], true) < 0)
            status = failed(results, log, item, row, "written");
    }
    int64_t checksum = wn_log_checksum_(hash);
    if (status == WN_OK)
        status = to_disk(results);
    return status == WN_OK ? put_checksum(results, log, item, row, checksum) : status;
}

wn_status wn_results_read_log(struct wn_results *results, int log_index, int64_t item, int64_t row,
                              struct wn_record *record, bool *whole)
{
    check_place(results, log_index, item, row, record);
    struct wn_log_file *log = &results->logs[log_index];
    enum wn_log_row state;

    if (wn_log_row_check_(log, item, row, &state, NULL) < 0)
        return failed(results, log, item, row, "read");
    if (state == WN_LOG_ROW_DAMAGED)
        wn_log(WN_LOG_WARNING, "%s: row %lld, %lld of %s does not match its checksum and is made again", results->path,
               (long long)item, (long long)row, log->group);
    *whole = state == WN_LOG_ROW_WHOLE;
    for (int f = 0; f < log->n_fields && *whole; f++)
        if (wn_log_row_io_(log, f, item, row, record->data[f], false) < 0)
            return failed(results, log, item, row, "read");
    return WN_OK;
}

/* ---- from older files ---- */

/* A log of a file by its group; false: there is none. */
static bool find_log(struct wn_h5 *h5, const char *document, const char *group, struct wn_log_file *log)
{
    const char *at = strchr(document, '\n') + 1; /* the list was checked */

    while (wn_log_file_next_(h5, &at, log)) {
        if (!strcmp(log->group, group))
            return true;
        wn_log_file_close_(log);
    }
    wn_log_file_close_(log);
    return false;
}

/* The axes of a row are at most two, and a row fills them from their beginning: the rest is missing. */
enum { ROW_AXES = 2 };

static void row_sizes(const struct wn_field_line *line, int64_t sizes[ROW_AXES])
{
    for (int d = 0; d < ROW_AXES; d++)
        sizes[d] = d + 2 < line->n_sizes ? line->size[d + 2] : 1;
}

static bool same_field(const struct wn_field_line *from, const struct wn_field_line *to)
{
    return !strcmp(from->path, to->path) && from->type == to->type && from->n_sizes == to->n_sizes &&
           to->n_sizes <= 2 + ROW_AXES;
}

/* What both have room for. */
static void copy_cells(const struct wn_field_line *from, const uint8_t *read, const struct wn_field_line *to,
                       uint8_t *written)
{
    int64_t in[ROW_AXES], out[ROW_AXES], size = to->bytes / to->elements;

    row_sizes(from, in);
    row_sizes(to, out);
    int64_t width = in[1] < out[1] ? in[1] : out[1];
    for (int64_t i = 0; i < in[0] && i < out[0]; i++)
        memcpy(written + i * out[1] * size, read + i * in[1] * size, (size_t)(width * size));
}

static herr_t copy_field(const struct wn_log_file *from, const struct wn_log_file *to, int f, int64_t source_item,
                         int64_t item, int64_t row, struct wn_hash *hash)
{
    struct wn_field missing = {
        .type = to->fields[f].type, .elements = wn_log_row_elements_(to, f), .bytes = row_bytes(to, f)};
    uint8_t *read = wn_alloc(row_bytes(from, f), 1), *written = wn_alloc(missing.bytes, 1);
    herr_t result = wn_log_row_io_(from, f, source_item, row, read, false);

    wn_field_clear(&missing, written);
    if (result >= 0) {
        copy_cells(&from->fields[f], read, &to->fields[f], written);
        result = wn_log_row_io_(to, f, item, row, written, true);
    }
    if (!strcmp(to->fields[f].kind, "log"))
        wn_hash_update(hash, written, (size_t)missing.bytes);
    wn_free(read);
    wn_free(written);
    return result;
}

static herr_t copy_row(struct wn_log_file *from, const struct wn_log_file *to, int64_t source_item, int64_t item,
                       int64_t row)
{
    enum wn_log_row state;
    herr_t result = wn_log_row_check_(from, source_item, row, &state, NULL);

    if (result < 0 || state != WN_LOG_ROW_WHOLE)
        return result;
    struct wn_hash *hash = wn_hash_create();
    for (int f = 0; f < to->n_fields && result >= 0; f++)
        result = copy_field(from, to, f, source_item, item, row, hash);
    int64_t checksum = wn_log_checksum_(hash);
    return result < 0 ? result : wn_log_row_io_(to, to->n_fields, item, row, &checksum, true);
}

/* One item of a log; a log of other fields is left. */
static herr_t copy_item(struct wn_log_file *from, const struct wn_log_file *to, const struct wn_take_over_log *item)
{
    bool same = from->n_fields == to->n_fields && item->source_item < from->items;
    herr_t result = 0;

    for (int f = 0; f < to->n_fields && same; f++)
        same = same_field(&from->fields[f], &to->fields[f]);
    for (int64_t row = 0; row < from->rows && row < to->rows && same && result >= 0; row++)
        result = copy_row(from, to, item->source_item, item->item, row);
    return result;
}

static wn_status take_log(const char *path, struct wn_h5 *target, const char *document,
                          const struct wn_results_plan *plan, const struct wn_take_over *take,
                          const struct wn_take_over_log *item)
{
    const char *source = take->sources[item->source], *group = plan->logs[item->log].group;
    struct wn_h5 h5;
    struct wn_log_file from, to;
    int64_t points;
    wn_status status = WN_OK;

    WN_TRY(wn_results_open_serial_(source, R_OK, &h5));
    char *there = wn_h5_get_document_(&h5, "fields");
    wn_fields_check_(&h5, there, &points);
    if (wn_h5_ok_(&h5) && find_log(&h5, there, group, &from)) {
        bool found = find_log(target, document, group, &to);
        if (found && copy_item(&from, &to, item) < 0)
            status = wn_fail(WN_ERR_IO, "%s: %s cannot be copied from %s", path, group, source);
        wn_log_file_close_(&to);
        wn_log_file_close_(&from);
    }
    if (status == WN_OK && !wn_h5_ok_(&h5))
        status = wn_fail(WN_ERR_INPUT, "%s: %s", source, h5.reason);
    wn_free(there);
    wn_h5_close_(&h5);
    return status;
}

wn_status wn_take_over_logs_(const char *path, const char *temporary, const struct wn_results_plan *plan,
                             const struct wn_take_over *take)
{
    struct wn_h5 h5 = {.file = -1};
    wn_status status = WN_OK;

    if (take->n_logs == 0)
        return WN_OK;
    wn_h5_open_(&h5, temporary, H5F_ACC_RDWR);
    char *document = wn_h5_get_document_(&h5, "fields");
    for (int64_t i = 0; i < take->n_logs && status == WN_OK && wn_h5_ok_(&h5); i++)
        status = take_log(path, &h5, document, plan, take, &take->logs[i]);
    wn_free(document);
    wn_h5_close_(&h5);
    if (status == WN_OK && !wn_h5_ok_(&h5))
        status = wn_fail(WN_ERR_IO, "%s: cannot be written: %s", path, h5.reason);
    return status;
}
