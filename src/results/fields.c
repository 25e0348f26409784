/* SPDX-License-Identifier: Apache-2.0 */
/* The types of fields, the document that lists them, and the checksum over the result fields of a point. */
#include <stdlib.h>
#include <string.h>

#include <winnow/io.h>

#include "results_internal.h"

/* ---- types ---- */

static const struct {
    const char *name;
    int bytes;
} types[] = {
    [WN_FIELD_F64] = {"f64", 8}, [WN_FIELD_F32] = {"f32", 4}, [WN_FIELD_I64] = {"i64", 8},
    [WN_FIELD_I32] = {"i32", 4}, [WN_FIELD_U8] = {"u8", 1},   [WN_FIELD_TEXT] = {"text", 1},
};

enum { N_TYPES = sizeof types / sizeof *types };

hid_t wn_field_type_(enum wn_field_type type)
{
    switch (type) {
    case WN_FIELD_F64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case WN_FIELD_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case WN_FIELD_I64:
        return H5Tcopy(H5T_STD_I64LE);
    case WN_FIELD_I32:
        return H5Tcopy(H5T_STD_I32LE);
    case WN_FIELD_U8:
        return H5Tcopy(H5T_STD_U8LE);
    case WN_FIELD_TEXT:
        return wn_h5_char_type_();
    }
    WN_BUG("field type %d", (int)type);
}

/* ---- the document ---- */

void wn_hash_hex_of_(const void *data, int64_t bytes, char hex[WN_HASH_HEX])
{
    uint8_t digest[32];
    struct wn_hash *hash = wn_hash_create();

    wn_hash_update(hash, data, (size_t)bytes);
    wn_hash_finish(hash, digest);
    wn_hash_hex(digest, hex);
}

static void put_points(struct wn_text *text, const struct wn_table *points)
{
    char hex[WN_HASH_HEX];
    uint8_t digest[32];
    struct wn_hash *hash = wn_hash_create();

    for (int c = 0; c < points->n_columns; c++)
        for (int64_t i = 0; !strcmp(points->columns[c].name, "key") && i < points->rows; i++)
            wn_hash_update(hash, points->columns[c].texts[i], strlen(points->columns[c].texts[i]) + 1);
    wn_hash_finish(hash, digest);
    wn_hash_hex(digest, hex);
    wn_text_printf(text, "points\t%lld\t%s\n", (long long)points->rows, hex);
}

static void put_field(struct wn_text *text, const struct wn_schema *schema, const struct wn_field *field,
                      const char *kind)
{
    wn_text_printf(text, "%s\t%s\t%s\t", field->path, kind, types[field->type].name);
    for (int d = 0; d < field->n_dims; d++)
        wn_text_printf(text, "%s%lld", d ? "x" : "", (long long)schema->dims[field->dims[d]].size);
    if (field->type == WN_FIELD_TEXT)
        wn_text_printf(text, "%s%lld", field->n_dims ? "x" : "", (long long)field->text_bytes);
}

static void put_constant(struct wn_text *text, const struct wn_schema *schema, const struct wn_constant *constant)
{
    char hex[WN_HASH_HEX];

    wn_hash_hex_of_(constant->data, constant->about.bytes, hex);
    put_field(text, schema, &constant->about, "constant");
    wn_text_printf(text, "\t%s\n", hex);
}

static void put_log_line(struct wn_text *text, const struct wn_log *log, const struct wn_field *field)
{
    wn_text_printf(text, "%s\t%s\t%s\t%lldx%lld", field->path, field->result ? "log" : "log-run",
                   types[field->type].name, (long long)log->items, (long long)log->rows);
    for (int d = 0; d < field->n_dims; d++)
        wn_text_printf(text, "x%lld", (long long)log->schema->dims[field->dims[d]].size);
    wn_text_append(text, "\n", 1);
}

static void put_log(struct wn_text *text, const struct wn_log *log)
{
    for (int f = 0; f < log->schema->n_fields; f++)
        put_log_line(text, log, &log->schema->fields[f]);
    wn_text_printf(text, "%s/%s\tlog-state\ti64\t%lldx%lld\n", log->group, WN_LOG_CHECKSUM, (long long)log->items,
                   (long long)log->rows);
}

/* Texts of columns are variable-length strings, unlike text fields: kind `column` tells. */
char *wn_fields_document_(const struct wn_results_plan *plan)
{
    const struct wn_table *points = plan->points;
    struct wn_text text = {0};

    put_points(&text, points);
    for (int c = 0; c < points->n_columns; c++)
        wn_text_printf(&text, "%s/%s\tcolumn\t%s\t\n", points->group, points->columns[c].name,
                       points->columns[c].numbers ? "f64" : "text");
    wn_text_printf(&text, "%s\tstate\tu8\t\n%s\tstate\ti32\t\n%s\tstate\ti32\t\n", WN_STATUS_PATH, WN_ATTEMPT_PATH,
                   WN_START_PATH);
    for (int f = 0; f < plan->schema->n_fields; f++) {
        put_field(&text, plan->schema, &plan->schema->fields[f], plan->schema->fields[f].result ? "result" : "run");
        wn_text_append(&text, "\n", 1);
    }
    for (int c = 0; c < plan->schema->n_constants; c++)
        put_constant(&text, plan->schema, &plan->schema->constants[c]);
    for (int l = 0; l < plan->n_logs; l++)
        put_log(&text, &plan->logs[l]);
    return text.data;
}

static bool parse_type(const char *name, enum wn_field_type *type)
{
    for (int t = 0; t < N_TYPES; t++)
        if (!strcmp(types[t].name, name)) {
            *type = (enum wn_field_type)t;
            return true;
        }
    return false;
}

/* "3x300" from *at to `stop` exactly; false when it is no such list, or a product is too large for any file. */
static bool parse_sizes(const char *at, const char *stop, struct wn_field_line *line)
{
    while (at < stop) {
        char *rest;
        long long size = *at >= '0' && *at <= '9' ? strtoll(at, &rest, 10) : -1;
        if (size < 0 || line->n_sizes > WN_MAX_FIELD_DIMS ||
            __builtin_mul_overflow(line->elements, (int64_t)size, &line->elements))
            return false;
        line->size[line->n_sizes++] = size;
        if (rest < stop && (*rest != 'x' || rest + 1 == stop))
            return false;
        at = rest + 1;
    }
    return !__builtin_mul_overflow(line->elements, (int64_t)types[line->type].bytes, &line->bytes);
}

bool wn_field_line_next_(const char **text, struct wn_field_line *line)
{
    char type[16];
    int length = 0;

    *line = (struct wn_field_line){.elements = 1};
    if (sscanf(*text, "%191[^\t\n]\t%15[^\t\n]\t%15[^\t\n]%n", line->path, line->kind, type, &length) != 3)
        return false;
    const char *at = *text + length, *end = strchr(at, '\n');
    if (!end || *at != '\t' || !parse_type(type, &line->type))
        return false;
    at++;
    const char *tab = memchr(at, '\t', (size_t)(end - at)), *stop = tab ? tab : end;
    if ((size_t)(stop - at) >= sizeof line->sizes || !parse_sizes(at, stop, line))
        return false;
    snprintf(line->sizes, sizeof line->sizes, "%.*s", (int)(stop - at), at);
    if (tab)
        snprintf(line->hash, sizeof line->hash, "%.*s", (int)(end - tab - 1), tab + 1);
    *text = end + 1;
    return true;
}

/* ---- the document beside the file ---- */

bool wn_fields_points_(const char **text, int64_t *points)
{
    long long number = -1;
    const char *end = strchr(*text, '\n');

    if (!end || sscanf(*text, "points\t%18lld\t", &number) != 1 || number < 0)
        return false;
    *points = number;
    *text = end + 1;
    return true;
}

void wn_field_line_open_(struct wn_h5 *h5, const struct wn_field_line *line, int64_t points, struct wn_h5_data *data)
{
    bool constant = !strcmp(line->kind, "constant") || !strncmp(line->kind, "log", 3);
    bool column = !strcmp(line->kind, "column");
    int64_t sizes[WN_MAX_FIELD_DIMS + 2] = {points};
    int rank = constant ? 0 : 1;
    hid_t type = column && line->type == WN_FIELD_TEXT ? wn_h5_text_type_() : wn_field_type_(line->type);

    for (int d = 0; d < line->n_sizes; d++)
        sizes[rank++] = line->size[d];
    wn_h5_data_open_(h5, line->path, data);
    wn_h5_data_expect_(h5, data, type, rank, sizes);
    H5Tclose(type);
}

static bool is_kind(const char *kind)
{
    static const char *const kinds[] = {"column", "state", "result", "run", "constant", "log", "log-run", "log-state"};

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (!strcmp(kind, kinds[k]))
            return true;
    return false;
}

static void check_line(struct wn_h5 *h5, const struct wn_field_line *line, int64_t points)
{
    struct wn_h5_data data;

    if (line->path[0] != '/' || !is_kind(line->kind)) {
        snprintf(h5->reason, sizeof h5->reason, "its list of fields has the line \"%s %s\"", line->path, line->kind);
        return;
    }
    wn_field_line_open_(h5, line, points, &data);
    wn_h5_data_close_(&data);
}

static void check_state(struct wn_h5 *h5, const char *path, hid_t type, int64_t points)
{
    struct wn_h5_data data;

    wn_h5_data_open_(h5, path, &data);
    wn_h5_data_expect_(h5, &data, type, 1, &points);
    wn_h5_data_close_(&data);
}

/* Orders lines by their path, which ends at the first tab. */
static int compare_paths(const void *a, const void *b)
{
    const char *one = *(const char *const *)a, *other = *(const char *const *)b;

    while (*one == *other && *one != '\t') {
        one++;
        other++;
    }
    return (*one == '\t' ? 0 : (unsigned char)*one) - (*other == '\t' ? 0 : (unsigned char)*other);
}

/* Each path once: else a short list could ask for more memory than the file has bytes. */
static void check_twice(struct wn_h5 *h5, const char **lines, int64_t count)
{
    if (count > 0)
        qsort(lines, (size_t)count, sizeof *lines, compare_paths);
    for (int64_t i = 1; i < count && wn_h5_ok_(h5); i++)
        if (compare_paths(&lines[i - 1], &lines[i]) == 0)
            snprintf(h5->reason, sizeof h5->reason, "its list of fields has %.*s twice", (int)strcspn(lines[i], "\t"),
                     lines[i]);
}

void wn_fields_check_(struct wn_h5 *h5, const char *document, int64_t *points)
{
    const char *at = document, **lines = NULL, *start;
    struct wn_field_line line;
    int64_t count = 0;

    if (!wn_h5_ok_(h5))
        return;
    if (!wn_fields_points_(&at, points)) {
        snprintf(h5->reason, sizeof h5->reason, "its list of fields does not say how many points there are");
        return;
    }
    check_state(h5, WN_STATUS_PATH, H5T_STD_U8LE, *points);
    check_state(h5, WN_CHECKSUM_PATH, H5T_STD_U64LE, *points);
    check_state(h5, WN_ATTEMPT_PATH, H5T_STD_I32LE, *points);
    check_state(h5, WN_START_PATH, H5T_STD_I32LE, *points);
    for (start = at; wn_h5_ok_(h5) && wn_field_line_next_(&at, &line); start = at) {
        lines = wn_grow(lines, count, 1, sizeof *lines);
        lines[count++] = start;
        check_line(h5, &line, *points);
    }
    if (wn_h5_ok_(h5) && *at)
        snprintf(h5->reason, sizeof h5->reason, "its list of fields cannot be read at \"%.*s\"",
                 (int)strcspn(at, "\n") < 60 ? (int)strcspn(at, "\n") : 60, at);
    check_twice(h5, lines, count);
    wn_free(lines);
}

/* ---- the checksum of a point ---- */

uint64_t wn_hash_u64_(struct wn_hash *hash)
{
    uint8_t digest[32];
    uint64_t value;

    wn_hash_finish(hash, digest);
    memcpy(&value, digest, sizeof value);
    return value;
}

void wn_hasher_open_(struct wn_h5 *h5, const char *document, struct wn_point_hasher *hasher)
{
    const char *at = document;
    struct wn_field_line line;
    struct wn_h5_data data;
    int64_t most = 0, points = 0;

    *hasher = (struct wn_point_hasher){0};
    H5Fget_name(h5->file, hasher->name, sizeof hasher->name);
    if (!wn_fields_points_(&at, &points))
        at = "";
    while (wn_field_line_next_(&at, &line) && wn_h5_ok_(h5)) {
        if (strcmp(line.kind, "result"))
            continue;
        int n = hasher->n_fields++;
        hasher->fields = wn_resize(hasher->fields, n + 1, sizeof *hasher->fields);
        hasher->datasets = wn_resize(hasher->datasets, n + 1, sizeof *hasher->datasets);
        hasher->types = wn_resize(hasher->types, n + 1, sizeof *hasher->types);
        hasher->fields[n] = line;
        hasher->types[n] = wn_field_type_(line.type);
        wn_field_line_open_(h5, &line, points, &data);
        hasher->datasets[n] = data.id; /* the type of `data` is not kept */
        data.id = -1;
        wn_h5_data_close_(&data);
        most = line.bytes > most ? line.bytes : most;
    }
    if (*at && wn_h5_ok_(h5))
        snprintf(h5->reason, sizeof h5->reason, "its list of fields cannot be read at \"%.40s\"", at);
    hasher->buffer = wn_alloc(most, 1);
}

void wn_hasher_close_(struct wn_point_hasher *hasher)
{
    for (int f = 0; f < hasher->n_fields; f++) {
        H5Tclose(hasher->types[f]);
        if (hasher->datasets[f] >= 0)
            H5Dclose(hasher->datasets[f]);
    }
    wn_free(hasher->fields);
    wn_free(hasher->datasets);
    wn_free(hasher->types);
    wn_free(hasher->buffer);
    *hasher = (struct wn_point_hasher){0};
}

herr_t wn_hasher_point_(struct wn_point_hasher *hasher, int64_t point, uint64_t *checksum, struct wn_hash *also)
{
    struct wn_hash *hash = wn_hash_create();
    herr_t result = 0;

    wn_h5_guard_begin_(hasher->name);
    for (int f = 0; f < hasher->n_fields && result >= 0; f++) {
        const struct wn_field_line *field = &hasher->fields[f];
        result = wn_h5_point_io_(hasher->datasets[f], hasher->types[f], point, field->elements, hasher->buffer, false);
        if (result < 0)
            break;
        wn_hash_update(hash, hasher->buffer, (size_t)field->bytes);
        if (also)
            wn_hash_update(also, hasher->buffer, (size_t)field->bytes);
    }
    wn_h5_guard_end_();
    *checksum = wn_hash_u64_(hash);
    return result;
}
