/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the checksum of every written point and computes one digest over what the sweep found. */
#include <string.h>
#include <unistd.h>

#include <winnow/io.h>

#include "results_internal.h"

struct check {
    const char *path;
    struct wn_h5 h5;
    struct wn_point_hasher hasher;
    struct wn_problems *problems;
    struct wn_hash *digest;
    int64_t points;
    uint8_t *status;     /* [points] */
    uint64_t *checksums; /* [points] */
    char **keys;         /* [points] */
    int64_t counts[3];   /* by state */
};

static wn_status read_columns(struct check *check, struct wn_results_reader *reader)
{
    int64_t rows;

    check->points = wn_results_read_points(reader);
    check->status = wn_alloc(check->points, sizeof *check->status);
    check->checksums = wn_alloc(check->points, sizeof *check->checksums);
    WN_TRY(wn_results_read_status(reader, check->status));
    WN_TRY(wn_results_read_texts(reader, "/points/key", &check->keys, &rows));
    return wn_results_read_checksums_(reader, check->checksums);
}

/* Path, type and shape of every result field open the digest, then come the constants with their values. */
static void digest_fields(struct check *check)
{
    for (int f = 0; f < check->hasher.n_fields; f++) {
        const struct wn_field_line *field = &check->hasher.fields[f];
        char text[320];
        int length = snprintf(text, sizeof text, "%s %d %s\n", field->path, (int)field->type, field->sizes);
        wn_hash_update(check->digest, text, (size_t)length);
    }
}

/* Reads a constant into the digest and compares it with the hash that the list of fields has. */
static void check_constant(struct check *check, const struct wn_field_line *line)
{
    struct wn_h5 h5 = {.file = check->h5.file};
    struct wn_h5_data data;
    hid_t type = wn_field_type_(line->type);
    uint8_t *values = NULL;
    char text[320], hex[WN_HASH_HEX];

    wn_field_line_open_(&h5, line, check->points, &data);
    if (wn_h5_ok_(&h5)) /* no more bytes than the file has */
        values = wn_alloc(line->bytes, 1);
    wn_h5_data_read_(&h5, &data, type, line->elements, values);
    if (!wn_h5_ok_(&h5)) {
        wn_problems_add(check->problems, "%s: the constant %s", check->path, h5.reason);
    } else {
        int length = snprintf(text, sizeof text, "%s %d %s\n", line->path, (int)line->type, line->sizes);
        wn_hash_update(check->digest, text, (size_t)length);
        wn_hash_update(check->digest, values, (size_t)line->bytes);
        wn_hash_hex_of_(values, line->bytes, hex);
        if (strcmp(hex, line->hash))
            wn_problems_add(check->problems, "%s: the constant %s does not match its hash", check->path, line->path);
    }
    wn_h5_data_close_(&data);
    H5Tclose(type);
    wn_free(values);
}

static void check_constants(struct check *check, const char *document)
{
    const char *at = strchr(document, '\n');
    struct wn_field_line line;

    for (at = at ? at + 1 : ""; wn_field_line_next_(&at, &line);)
        if (!strcmp(line.kind, "constant"))
            check_constant(check, &line);
}

/* Then point by point: key, state and, when it was written, its result fields. */
static void check_point(struct check *check, int64_t point)
{
    uint8_t state = check->status[point];
    uint64_t checksum;

    wn_hash_update(check->digest, check->keys[point], strlen(check->keys[point]) + 1);
    wn_hash_update(check->digest, &state, 1);
    if (state > WN_POINT_FAILED) {
        wn_problems_add(check->problems, "%s: point %lld (%s) has the unknown state %d", check->path, (long long)point,
                        check->keys[point], state);
        return;
    }
    check->counts[state]++;
    if (state == WN_POINT_OPEN)
        return;
    if (wn_hasher_point_(&check->hasher, point, &checksum, check->digest) < 0)
        wn_problems_add(check->problems, "%s: point %lld (%s) cannot be read", check->path, (long long)point,
                        check->keys[point]);
    else if (checksum != check->checksums[point])
        wn_problems_add(check->problems, "%s: point %lld (%s) does not match its checksum", check->path,
                        (long long)point, check->keys[point]);
}

/* A row that is there: its place and what it has. */
static void check_row(struct check *check, struct wn_log_file *log, int64_t item, int64_t row)
{
    enum wn_log_row state = WN_LOG_ROW_MISSING;
    int64_t stored = -1;
    char place[320];

    if (wn_log_row_io_(log, log->n_fields, item, row, &stored, false) >= 0 && stored == -1)
        return;
    int length = snprintf(place, sizeof place, "%s %lld %lld\n", log->group, (long long)item, (long long)row);
    wn_hash_update(check->digest, place, (size_t)length);
    wn_h5_guard_begin_(check->path);
    herr_t result = wn_log_row_check_(log, item, row, &state, check->digest);
    wn_h5_guard_end_();
    if (result < 0 || state != WN_LOG_ROW_WHOLE)
        wn_problems_add(check->problems, "%s: row %lld, %lld of %s %s", check->path, (long long)item, (long long)row,
                        log->group, result < 0 ? "cannot be read" : "does not match its checksum");
}

static void check_logs(struct check *check, const char *document)
{
    const char *at = strchr(document, '\n') + 1;
    struct wn_log_file log;

    while (wn_log_file_next_(&check->h5, &at, &log)) {
        for (int64_t i = 0; i < log.items * log.rows; i++)
            check_row(check, &log, i / log.rows, i % log.rows);
        wn_log_file_close_(&log);
    }
    wn_log_file_close_(&log);
}

static wn_status check_file(struct check *check, struct wn_results_reader *reader)
{
    char *document = NULL;

    WN_TRY(read_columns(check, reader));
    WN_TRY(wn_results_read_document(reader, "fields", &document));
    wn_hasher_open_(&check->h5, document, &check->hasher);
    if (wn_h5_ok_(&check->h5)) {
        digest_fields(check);
        check_constants(check, document);
    }
    for (int64_t p = 0; p < check->points && wn_h5_ok_(&check->h5); p++)
        check_point(check, p);
    if (wn_h5_ok_(&check->h5))
        check_logs(check, document);
    wn_free(document);
    if (!wn_h5_ok_(&check->h5))
        return wn_fail(WN_ERR_IO, "%s: cannot be read: %s", check->path, check->h5.reason);
    return WN_OK;
}

static void release(struct check *check)
{
    uint8_t rest[32];

    for (int64_t p = 0; check->keys && p < check->points; p++)
        wn_free(check->keys[p]);
    wn_free(check->keys);
    wn_free(check->status);
    wn_free(check->checksums);
    wn_hasher_close_(&check->hasher);
    wn_h5_close_(&check->h5);
    if (check->digest)
        wn_hash_finish(check->digest, rest);
}

wn_status wn_results_verify(const char *path, struct wn_problems *problems, char digest[65], int64_t *done,
                            int64_t *failed, int64_t *open)
{
    struct wn_results_reader *reader;
    struct wn_problems ignored;
    struct check check = {.path = path, .problems = problems, .h5.file = -1};
    uint8_t bytes[32];

    WN_TRY(wn_results_read_open(path, &reader));
    wn_problems_init(&ignored);
    if (!problems)
        check.problems = &ignored;
    wn_h5_open_(&check.h5, path, H5F_ACC_RDONLY);
    check.digest = wn_hash_create();
    wn_status status = check_file(&check, reader);
    if (status == WN_OK) {
        wn_hash_finish(check.digest, bytes);
        check.digest = NULL;
        if (digest)
            wn_hash_hex(bytes, digest);
        if (done)
            *done = check.counts[WN_POINT_DONE];
        if (failed)
            *failed = check.counts[WN_POINT_FAILED];
        if (open)
            *open = check.counts[WN_POINT_OPEN];
    }
    wn_problems_release(&ignored);
    release(&check);
    wn_results_read_close(&reader);
    return status;
}
