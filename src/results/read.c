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

wn_status wn_results_read_open(const char *path, struct wn_results_reader **reader)
{
    struct wn_h5 h5;
    long long points = 0;

    *reader = NULL;
    WN_TRY(wn_results_open_serial_(path, R_OK, &h5));
    char *fields = wn_h5_get_document_(&h5, "fields");
    if (!fields || sscanf(fields, "points\t%lld", &points) != 1) {
        wn_free(fields);
        wn_h5_close_(&h5);
        return wn_fail(WN_ERR_IO, "%s: its list of fields cannot be read", path);
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

static wn_status cannot_read(const struct wn_results_reader *reader, const char *path)
{
    return wn_fail(WN_ERR_IO, "%s: %s cannot be read", reader->path, path);
}

wn_status wn_results_read_status(struct wn_results_reader *reader, uint8_t *status)
{
    hid_t dataset = H5Dopen2(reader->h5.file, WN_STATUS_PATH, H5P_DEFAULT);

    if (dataset < 0)
        return cannot_read(reader, WN_STATUS_PATH);
    herr_t result = H5Dread(dataset, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, status);
    H5Dclose(dataset);
    return result < 0 ? cannot_read(reader, WN_STATUS_PATH) : WN_OK;
}

/* ---- columns ---- */

struct column {
    hid_t dataset, type;
    int rank;
    hsize_t sizes[H5S_MAX_RANK];
};

static wn_status open_column(struct wn_results_reader *reader, const char *path, struct column *column)
{
    /* H5Lexists and H5Dopen fail alike for a missing group on the way: all that the caller needs to know. */
    column->dataset = H5Dopen2(reader->h5.file, path, H5P_DEFAULT);
    if (column->dataset < 0)
        return wn_fail(WN_ERR_INPUT, "%s: has no dataset %s", reader->path, path);
    column->type = H5Dget_type(column->dataset);
    hid_t space = H5Dget_space(column->dataset);
    column->rank = H5Sget_simple_extent_dims(space, column->sizes, NULL);
    H5Sclose(space);
    return WN_OK;
}

static void close_column(struct column *column)
{
    H5Tclose(column->type);
    H5Dclose(column->dataset);
}

/* What netCDF calls characters: fixed-length texts of one byte, the last axis makes the text. */
static bool is_characters(const struct column *column)
{
    return column->rank == 2 && H5Tget_class(column->type) == H5T_STRING && H5Tis_variable_str(column->type) == 0 &&
           H5Tget_size(column->type) == 1;
}

static herr_t read_characters(const struct column *column, char **texts)
{
    int64_t rows = (int64_t)column->sizes[0], length = (int64_t)column->sizes[1];
    char *all = wn_alloc(rows * length, 1);
    herr_t result = H5Dread(column->dataset, column->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, all);

    for (int64_t i = 0; i < rows && result >= 0; i++)
        texts[i] = wn_strndup(all + i * length, strnlen(all + i * length, (size_t)length));
    wn_free(all);
    return result;
}

static herr_t read_variable(const struct column *column, char **texts)
{
    hid_t type = wn_h5_text_type_(), space = H5Dget_space(column->dataset);
    int64_t rows = (int64_t)column->sizes[0];
    char **borrowed = wn_alloc_zero(rows, sizeof *borrowed);
    herr_t result = H5Dread(column->dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, borrowed);

    for (int64_t i = 0; i < rows && result >= 0; i++)
        texts[i] = wn_strdup(borrowed[i] ? borrowed[i] : "");
    if (result >= 0)
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, borrowed);
    wn_free(borrowed);
    H5Sclose(space);
    H5Tclose(type);
    return result;
}

wn_status wn_results_read_texts(struct wn_results_reader *reader, const char *path, char ***values, int64_t *rows)
{
    struct column column = {0};
    herr_t result = -1;

    *values = NULL;
    *rows = 0;
    WN_TRY(open_column(reader, path, &column));
    bool characters = is_characters(&column), variable = column.rank == 1 && H5Tis_variable_str(column.type) > 0;
    if (characters || variable) {
        *rows = (int64_t)column.sizes[0];
        *values = wn_alloc_zero(*rows, sizeof **values);
        result = characters ? read_characters(&column, *values) : read_variable(&column, *values);
    }
    close_column(&column);
    if (!characters && !variable)
        return wn_fail(WN_ERR_INPUT, "%s: %s is not a column of texts", reader->path, path);
    if (result < 0) {
        wn_free(*values);
        *values = NULL;
        return cannot_read(reader, path);
    }
    return WN_OK;
}

/* Integers mark what is missing with _FillValue; doubles have NaN for it. */
static void mark_missing(const struct column *column, double *values, int64_t rows)
{
    double fill;

    if (H5Tget_class(column->type) != H5T_INTEGER || H5Aexists(column->dataset, "_FillValue") <= 0)
        return;
    hid_t attribute = H5Aopen(column->dataset, "_FillValue", H5P_DEFAULT);
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &fill) >= 0)
        for (int64_t i = 0; i < rows; i++)
            values[i] = values[i] == fill ? NAN : values[i];
    H5Aclose(attribute);
}

wn_status wn_results_read_numbers(struct wn_results_reader *reader, const char *path, double **values, int64_t *rows)
{
    struct column column = {0};

    *values = NULL;
    *rows = 0;
    WN_TRY(open_column(reader, path, &column));
    H5T_class_t class = H5Tget_class(column.type);
    if (column.rank != 1 || (class != H5T_INTEGER && class != H5T_FLOAT)) {
        close_column(&column);
        return wn_fail(WN_ERR_INPUT, "%s: %s is not a column of numbers", reader->path, path);
    }
    *rows = (int64_t)column.sizes[0];
    *values = wn_alloc(*rows, sizeof **values);
    herr_t result = H5Dread(column.dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, *values);
    if (result >= 0)
        mark_missing(&column, *values, *rows);
    close_column(&column);
    if (result < 0) {
        wn_free(*values);
        *values = NULL;
        return cannot_read(reader, path);
    }
    return WN_OK;
}

/* ---- lists and documents ---- */

static bool below(const char *path, const char *group)
{
    size_t length = strlen(group);

    while (length > 0 && group[length - 1] == '/')
        length--;
    return !strncmp(path, group, length) && path[length] == '/';
}

/* In the order of definition: the document, not the alphabet of the file. */
wn_status wn_results_read_list(struct wn_results_reader *reader, const char *group, wn_results_visitor *visit,
                               void *context)
{
    const char *at = strchr(reader->fields, '\n') + 1;
    struct wn_field_line line;
    char unit[64], description[256];

    while (wn_field_line_next_(&at, &line)) {
        bool text = line.type == WN_FIELD_TEXT; /* its last size is that of a character axis; constants have an axis */
        bool long_row = text ? strchr(line.sizes, 'x') != NULL : *line.sizes != '\0';
        if (long_row || !below(line.path, group))
            continue;
        hid_t dataset = H5Dopen2(reader->h5.file, line.path, H5P_DEFAULT);
        if (dataset < 0)
            return cannot_read(reader, line.path);
        wn_h5_get_text_(dataset, "units", unit, sizeof unit);
        wn_h5_get_text_(dataset, "long_name", description, sizeof description);
        H5Dclose(dataset);
        visit(context, line.path, unit, description, text);
    }
    return WN_OK;
}

wn_status wn_results_read_document(struct wn_results_reader *reader, const char *name, char **text)
{
    struct wn_h5 h5 = {.file = reader->h5.file};

    *text = wn_h5_get_document_(&h5, name);
    if (!*text)
        return wn_fail(WN_ERR_INPUT, "%s: has no text \"%s\"", reader->path, name);
    return WN_OK;
}

wn_status wn_results_read_fact(struct wn_results_reader *reader, const char *name, char **text)
{
    enum { LONGEST = 1 << 16 };
    hid_t group = H5Gopen2(reader->h5.file, "provenance", H5P_DEFAULT);

    *text = NULL;
    if (group < 0)
        return cannot_read(reader, "/provenance");
    if (H5Aexists(group, name) > 0) {
        *text = wn_alloc(LONGEST, 1);
        wn_h5_get_text_(group, name, *text, LONGEST);
    }
    H5Gclose(group);
    return *text ? WN_OK : wn_fail(WN_ERR_INPUT, "%s: says nothing of \"%s\" in /provenance", reader->path, name);
}
