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

/* Texts of columns are variable-length strings, unlike text fields: kind `column` tells. */
char *wn_fields_document_(const struct wn_results_plan *plan)
{
    const struct wn_table *points = plan->points;
    struct wn_text text = {0};

    put_points(&text, points);
    for (int c = 0; c < points->n_columns; c++)
        wn_text_printf(&text, "%s/%s\tcolumn\t%s\t\n", points->group, points->columns[c].name,
                       points->columns[c].numbers ? "f64" : "text");
    wn_text_printf(&text, "%s\tstate\tu8\t\n%s\tstate\ti32\t\n", WN_STATUS_PATH, WN_ATTEMPT_PATH);
    for (int f = 0; f < plan->schema->n_fields; f++) {
        put_field(&text, plan->schema, &plan->schema->fields[f], plan->schema->fields[f].result ? "result" : "run");
        wn_text_append(&text, "\n", 1);
    }
    for (int c = 0; c < plan->schema->n_constants; c++)
        put_constant(&text, plan->schema, &plan->schema->constants[c]);
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
    snprintf(line->sizes, sizeof line->sizes, "%.*s", (int)(stop - at), at);
    if (tab)
        snprintf(line->hash, sizeof line->hash, "%.*s", (int)(end - tab - 1), tab + 1);
    while (at < stop) {
        char *rest;
        line->elements *= strtoll(at, &rest, 10);
        if (rest == at)
            return false;
        at = rest + (*rest == 'x');
    }
    line->bytes = line->elements * types[line->type].bytes;
    *text = end + 1;
    return true;
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
    const char *at = strchr(document, '\n');
    struct wn_field_line line;
    int64_t most = 0;

    *hasher = (struct wn_point_hasher){0};
    for (at = at ? at + 1 : ""; wn_field_line_next_(&at, &line) && wn_h5_ok_(h5);) {
        if (strcmp(line.kind, "result"))
            continue;
        int n = hasher->n_fields++;
        hasher->fields = wn_resize(hasher->fields, n + 1, sizeof *hasher->fields);
        hasher->datasets = wn_resize(hasher->datasets, n + 1, sizeof *hasher->datasets);
        hasher->types = wn_resize(hasher->types, n + 1, sizeof *hasher->types);
        hasher->fields[n] = line;
        hasher->types[n] = wn_field_type_(line.type);
        hasher->datasets[n] = wn_h5_check_(h5, H5Dopen2(h5->file, line.path, H5P_DEFAULT), line.path);
        most = line.bytes > most ? line.bytes : most;
    }
    if (*at && wn_h5_ok_(h5))
        snprintf(h5->reason, sizeof h5->reason, "the list of fields cannot be read at \"%.40s\"", at);
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

    for (int f = 0; f < hasher->n_fields && result >= 0; f++) {
        const struct wn_field_line *field = &hasher->fields[f];
        result = wn_h5_point_io_(hasher->datasets[f], hasher->types[f], point, field->elements, hasher->buffer, false);
        if (result < 0)
            break;
        wn_hash_update(hash, hasher->buffer, (size_t)field->bytes);
        if (also)
            wn_hash_update(also, hasher->buffer, (size_t)field->bytes);
    }
    *checksum = wn_hash_u64_(hash);
    return result;
}
