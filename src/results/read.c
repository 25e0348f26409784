/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a results file, also one that is being written: the state column is read anew, the layout never changes. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "results_internal.h"

struct wn_results_reader {
    char *path, *fields; /* owned; the document "fields" */
    struct wn_h5 h5;
    int64_t points;
};

static wn_status check_file(struct wn_h5 *h5, const char *path, char **fields, int64_t *points)
{
    *fields = wn_h5_get_document_(h5, "fields");
    wn_fields_check_(h5, *fields, points);
    return wn_h5_ok_(h5) ? WN_OK : wn_fail(WN_ERR_INPUT, "%s: %s", path, h5->reason);
}

wn_status wn_results_read_open(const char *path, struct wn_results_reader **reader)
{
    struct wn_h5 h5;
    int64_t points = 0;
    char *fields = NULL;

    *reader = NULL;
    WN_TRY(wn_results_open_serial_(path, R_OK, &h5));
    wn_status status = check_file(&h5, path, &fields, &points);
    if (status != WN_OK) {
        wn_free(fields);
        wn_h5_close_(&h5);
        return status;
    }
    *reader = wn_alloc(1, sizeof **reader);
    **reader = (struct wn_results_reader){.path = wn_strdup(path), .fields = fields, .h5 = h5, .points = points};
    return WN_OK;
}

void wn_results_read_close(struct wn_results_reader **reader)
{
    struct wn_results_reader *r = *reader;

    if (!r)
        return;
    wn_h5_close_(&r->h5);
    wn_free(r->path);
    wn_free(r->fields);
    wn_free(r);
    *reader = NULL;
}

int64_t wn_results_read_points(const struct wn_results_reader *reader)
{
    return reader->points;
}

/* The outcome of a sequence of calls on `h5`, which may go on after a failure. */
static wn_status finish(const struct wn_results_reader *reader, const struct wn_h5 *h5)
{
    return wn_h5_ok_(h5) ? WN_OK : wn_fail(WN_ERR_INPUT, "%s: %s", reader->path, h5->reason);
}

static struct wn_h5 begin(const struct wn_results_reader *reader)
{
    return (struct wn_h5){.file = reader->h5.file};
}

static wn_status read_state(struct wn_results_reader *reader, const char *path, hid_t type, void *values)
{
    struct wn_h5 h5 = begin(reader);
    struct wn_h5_data data;

    wn_h5_data_open_(&h5, path, &data);
    wn_h5_data_expect_(&h5, &data, type, 1, &reader->points);
    wn_h5_data_read_(&h5, &data, type, reader->points, values);
    wn_h5_data_close_(&data);
    return finish(reader, &h5);
}

wn_status wn_results_read_status(struct wn_results_reader *reader, uint8_t *status)
{
    return read_state(reader, WN_STATUS_PATH, H5T_STD_U8LE, status);
}

wn_status wn_results_read_checksums_(struct wn_results_reader *reader, uint64_t *checksums)
{
    return read_state(reader, WN_CHECKSUM_PATH, H5T_STD_U64LE, checksums);
}

/* ---- columns ---- */

/* What netCDF calls characters: fixed-length texts of one byte, the last axis makes the text. */
static bool is_characters(const struct wn_h5_data *column)
{
    return column->rank == 2 && H5Tget_class(column->type) == H5T_STRING && H5Tis_variable_str(column->type) == 0 &&
           H5Tget_size(column->type) == 1;
}

static void read_characters(struct wn_h5 *h5, const struct wn_h5_data *column, char **texts)
{
    int64_t rows = (int64_t)column->sizes[0], length = (int64_t)column->sizes[1];
    char *all = wn_alloc(column->elements, 1);

    wn_h5_data_read_(h5, column, column->type, column->elements, all);
    for (int64_t i = 0; i < rows && wn_h5_ok_(h5); i++)
        texts[i] = wn_strndup(all + i * length, strnlen(all + i * length, (size_t)length));
    wn_free(all);
}

/* Rows of a column; those of the points are as many as there are points. */
static int64_t rows_of(struct wn_h5 *h5, const struct wn_results_reader *reader, const struct wn_h5_data *column)
{
    int64_t rows = (int64_t)column->sizes[0];

    if (!strncmp(column->path, "/points/", 8) && rows != reader->points)
        snprintf(h5->reason, sizeof h5->reason, "%s has %lld rows, there are %lld points", column->path,
                 (long long)rows, (long long)reader->points);
    return rows;
}

wn_status wn_results_read_texts(struct wn_results_reader *reader, const char *path, char ***values, int64_t *rows)
{
    struct wn_h5 h5 = begin(reader);
    struct wn_h5_data column;

    *values = NULL;
    *rows = 0;
    wn_h5_data_open_(&h5, path, &column);
    bool characters = wn_h5_ok_(&h5) && is_characters(&column);
    if (wn_h5_ok_(&h5) && !characters && (column.rank != 1 || !wn_h5_is_text_(column.type)))
        snprintf(h5.reason, sizeof h5.reason, "%s is not a column of texts", path);
    int64_t count = wn_h5_ok_(&h5) ? rows_of(&h5, reader, &column) : 0;
    if (wn_h5_ok_(&h5)) {
        *values = wn_alloc_zero(count, sizeof **values);
        if (characters)
            read_characters(&h5, &column, *values);
        else
            wn_h5_data_read_texts_(&h5, &column, *values);
    }
    wn_h5_data_close_(&column);
    if (wn_h5_ok_(&h5))
        *rows = count;
    else
        wn_results_free_texts(values, count);
    return finish(reader, &h5);
}

/* Integers mark what is missing with _FillValue; doubles have NaN for it. */
static void mark_missing(struct wn_h5 *h5, const struct wn_h5_data *column, double *values)
{
    uint64_t bytes = 0; /* room for any type that winnow writes */
    double fill;

    if (!wn_h5_ok_(h5) || H5Tget_class(column->type) != H5T_INTEGER ||
        !wn_h5_get_value_(h5, column->id, column->path, "_FillValue", column->type, &bytes))
        return;
    memcpy(&fill, &bytes, sizeof fill);
    if (H5Tconvert(column->type, H5T_NATIVE_DOUBLE, 1, &fill, NULL, H5P_DEFAULT) < 0)
        return;
    for (int64_t i = 0; i < column->elements; i++)
        values[i] = values[i] == fill ? NAN : values[i];
}

wn_status wn_results_read_numbers(struct wn_results_reader *reader, const char *path, double **values, int64_t *rows)
{
    struct wn_h5 h5 = begin(reader);
    struct wn_h5_data column;

    *values = NULL;
    *rows = 0;
    if (wn_h5_ok_(&h5) && strcmp(wn_path_before_(path), path) && H5Lexists(h5.file, path, H5P_DEFAULT) <= 0)
        path = wn_path_before_(path);
    wn_h5_data_open_(&h5, path, &column);
    if (wn_h5_ok_(&h5) && (column.rank != 1 || !wn_h5_data_is_number_(&column)))
        snprintf(h5.reason, sizeof h5.reason, "%s is not a column of numbers", path);
    int64_t count = wn_h5_ok_(&h5) ? rows_of(&h5, reader, &column) : 0;
    if (wn_h5_ok_(&h5)) {
        *values = wn_alloc(count, sizeof **values);
        wn_h5_data_read_(&h5, &column, H5T_NATIVE_DOUBLE, count, *values);
        mark_missing(&h5, &column, *values);
    }
    wn_h5_data_close_(&column);
    if (wn_h5_ok_(&h5)) {
        *rows = count;
    } else {
        wn_free(*values);
        *values = NULL;
    }
    return finish(reader, &h5);
}

wn_status wn_results_read_rows(struct wn_results_reader *reader, const char *path, int32_t **values, int64_t *columns)
{
    struct wn_h5 h5 = begin(reader);
    struct wn_h5_data data;

    *values = NULL;
    *columns = 0;
    wn_h5_data_open_(&h5, path, &data);
    if (wn_h5_ok_(&h5) && (data.rank != 2 || H5Tequal(data.type, H5T_STD_I32LE) <= 0))
        snprintf(h5.reason, sizeof h5.reason, "%s is no table of whole numbers", path);
    if (wn_h5_ok_(&h5) && (int64_t)data.sizes[0] != reader->points)
        snprintf(h5.reason, sizeof h5.reason, "%s has not a row for each point", path);
    if (wn_h5_ok_(&h5)) {
        *columns = (int64_t)data.sizes[1];
        *values = wn_alloc(data.elements, sizeof **values);
        wn_h5_data_read_(&h5, &data, H5T_STD_I32LE, data.elements, *values);
    }
    wn_h5_data_close_(&data);
    return finish(reader, &h5);
}

/* ---- arrays and logs ---- */

wn_status wn_results_read_array(struct wn_results_reader *reader, const char *path, struct wn_array *array)
{
    struct wn_h5 h5 = begin(reader);
    struct wn_h5_data data;

    *array = (struct wn_array){0};
    wn_h5_data_open_(&h5, path, &data);
    if (wn_h5_ok_(&h5) && (data.rank > WN_MAX_ARRAY_DIMS || !wn_h5_data_is_number_(&data)))
        snprintf(h5.reason, sizeof h5.reason, "%s is no array of numbers", path);
    if (wn_h5_ok_(&h5)) {
        array->rank = data.rank;
        for (int d = 0; d < data.rank; d++)
            array->sizes[d] = (int64_t)data.sizes[d];
        array->values = wn_alloc(data.elements, sizeof *array->values);
        wn_h5_data_read_(&h5, &data, H5T_NATIVE_DOUBLE, data.elements, array->values);
        mark_missing(&h5, &data, array->values);
    }
    wn_h5_data_close_(&data);
    if (!wn_h5_ok_(&h5)) {
        wn_free(array->values);
        array->values = NULL;
    }
    return finish(reader, &h5);
}

void wn_results_read_logs(const struct wn_results_reader *reader, struct wn_texts *groups)
{
    const char *at = strchr(reader->fields, '\n') + 1; /* the list was checked */
    struct wn_field_line line;

    while (wn_field_line_next_(&at, &line))
        if (!strcmp(line.kind, "log-state")) {
            *strrchr(line.path, '/') = '\0';
            wn_texts_add(groups, line.path);
        }
}

static bool *find_whole(const struct wn_results_reader *reader, struct wn_log_file *log)
{
    bool *whole = wn_alloc_zero(log->items * log->rows, sizeof *whole);

    for (int64_t i = 0; i < log->items * log->rows; i++) {
        enum wn_log_row state = WN_LOG_ROW_MISSING;
        wn_h5_guard_begin_(reader->path);
        if (wn_log_row_check_(log, i / log->rows, i % log->rows, &state, NULL) < 0)
            state = WN_LOG_ROW_DAMAGED;
        wn_h5_guard_end_();
        whole[i] = state == WN_LOG_ROW_WHOLE;
    }
    return whole;
}

wn_status wn_results_read_whole(struct wn_results_reader *reader, const char *group, bool **whole, int64_t *items,
                                int64_t *rows)
{
    struct wn_h5 h5 = begin(reader);
    const char *at = strchr(reader->fields, '\n') + 1;
    struct wn_log_file log;

    *whole = NULL;
    *items = *rows = 0;
    while (!*whole && wn_log_file_next_(&h5, &at, &log)) {
        if (!strcmp(log.group, group)) {
            *items = log.items;
            *rows = log.rows;
            *whole = find_whole(reader, &log);
        }
        wn_log_file_close_(&log);
    }
    if (wn_h5_ok_(&h5) && !*whole)
        snprintf(h5.reason, sizeof h5.reason, "has no %s", group);
    return finish(reader, &h5);
}

/* ---- lists and documents ---- */

void wn_results_read_paths(const struct wn_results_reader *reader, struct wn_texts *paths)
{
    const char *at = strchr(reader->fields, '\n') + 1; /* the list was checked */
    struct wn_field_line line;

    while (wn_field_line_next_(&at, &line))
        wn_texts_add(paths, line.path);
}

static bool below(const char *path, const char *group)
{
    size_t length = strlen(group);

    while (length > 0 && group[length - 1] == '/')
        length--;
    return !strncmp(path, group, length) && path[length] == '/';
}

static void visit_column(struct wn_h5 *h5, const struct wn_field_line *line, bool text, wn_results_visitor *visit,
                         void *context)
{
    struct wn_h5_data data;
    char *unit = NULL, *description = NULL;

    wn_h5_data_open_(h5, line->path, &data);
    if (wn_h5_ok_(h5)) {
        unit = wn_h5_get_text_(h5, data.id, line->path, "units");
        description = wn_h5_get_text_(h5, data.id, line->path, "long_name");
    }
    wn_h5_data_close_(&data);
    if (wn_h5_ok_(h5))
        visit(context, line->path, unit ? unit : "", description ? description : "", text);
    wn_free(unit);
    wn_free(description);
}

/* In the order of definition: the document, not the alphabet of the file. */
wn_status wn_results_read_list(struct wn_results_reader *reader, const char *group, wn_results_visitor *visit,
                               void *context)
{
    struct wn_h5 h5 = begin(reader);
    const char *at = strchr(reader->fields, '\n') + 1; /* the list was checked */
    struct wn_field_line line;

    while (wn_h5_ok_(&h5) && wn_field_line_next_(&at, &line)) {
        bool text = line.type == WN_FIELD_TEXT; /* its last size is that of a character axis; constants have an axis */
        bool long_row = line.n_sizes > (text ? 1 : 0);
        if (!long_row && below(line.path, group) && strcmp(line.kind, "constant"))
            visit_column(&h5, &line, text, visit, context);
    }
    return finish(reader, &h5);
}

void wn_results_read_columns(const struct wn_results_reader *reader, struct wn_texts *paths)
{
    const char *at = strchr(reader->fields, '\n') + 1;
    struct wn_field_line line;

    while (wn_field_line_next_(&at, &line))
        if (!strcmp(line.kind, "column"))
            wn_texts_add(paths, line.path);
}

wn_status wn_results_read_document(struct wn_results_reader *reader, const char *name, char **text)
{
    struct wn_h5 h5 = begin(reader);

    *text = wn_h5_get_document_(&h5, name);
    return finish(reader, &h5);
}

wn_status wn_results_read_version(struct wn_results_reader *reader, int32_t *version)
{
    struct wn_h5 h5 = begin(reader);

    *version = 0;
    if (!wn_h5_get_value_(&h5, h5.file, "/", "schema_version", H5T_STD_I32LE, version) && wn_h5_ok_(&h5))
        return wn_fail(WN_ERR_INPUT, "%s: has no schema_version", reader->path);
    return finish(reader, &h5);
}

wn_status wn_results_read_facts(struct wn_results_reader *reader, struct wn_texts *names)
{
    struct wn_h5 h5 = begin(reader);

    wn_h5_get_names_(&h5, "/provenance", names);
    return finish(reader, &h5);
}

wn_status wn_results_read_fact(struct wn_results_reader *reader, const char *name, char **text)
{
    struct wn_h5 h5 = begin(reader);

    *text = wn_h5_get_group_text_(&h5, "/provenance", name);
    WN_TRY(finish(reader, &h5));
    return *text ? WN_OK : wn_fail(WN_ERR_INPUT, "%s: says nothing of \"%s\" in /provenance", reader->path, name);
}
