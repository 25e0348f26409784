/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of a file: documents, axes as dimension scales at the root (so that every group sees them), tables, and
 * one dataset per field, to be filled with the missing value (fill.c). Follows netCDF-4: a scale is a variable named
 * like its axis; the axes of characters are dimensions without a variable; _FillValue marks what is missing.
 */
#include <math.h>
#include <string.h>

#include "fill.h"

enum { MOST_AXES = WN_MAX_FIELD_DIMS + 2 }; /* the points, and the characters of a text */

/* A dataset about to be made. `fill` is a value of `type`; NULL: zero bytes. */
struct shape {
    const char *path;
    hid_t type;
    int n_axes;
    hsize_t sizes[MOST_AXES];
    const char *axes[MOST_AXES];
    const void *fill;
    bool later; /* filled by all ranks (fill.c) */
};

/* ---- datasets ---- */

/* Contiguous, allocated now: later writes change no metadata. */
static hid_t create_dataset(struct wn_h5 *h5, const struct shape *shape)
{
    if (!wn_h5_ok_(h5))
        return -1;
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    hid_t space = H5Screate_simple(shape->n_axes, shape->sizes, NULL);

    H5Pset_create_intermediate_group(links, 1);
    H5Pset_layout(plist, H5D_CONTIGUOUS);
    H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(plist, shape->later ? H5D_FILL_TIME_NEVER : H5D_FILL_TIME_ALLOC);
    H5Pset_obj_track_times(plist, false);
    if (shape->fill)
        H5Pset_fill_value(plist, shape->type, shape->fill);
    hid_t dataset = H5Dcreate2(h5->file, shape->path, shape->type, space, links, plist, H5P_DEFAULT);
    wn_h5_check_(h5, dataset, shape->path);
    H5Sclose(space);
    H5Pclose(links);
    H5Pclose(plist);
    return dataset;
}

static hid_t create_variable(struct wn_h5 *h5, struct wn_scales *scales, const struct shape *shape)
{
    hid_t dataset = create_dataset(h5, shape);

    if (dataset >= 0)
        wn_scales_attach_(h5, scales, dataset, shape->path, shape->n_axes, shape->axes);
    return dataset;
}

static void close_dataset(struct wn_h5 *h5, hid_t dataset)
{
    if (dataset >= 0)
        wn_h5_check_(h5, H5Dclose(dataset), NULL);
}

static void write_all(struct wn_h5 *h5, hid_t dataset, hid_t type, int64_t rows, const void *data)
{
    if (dataset >= 0 && rows > 0)
        wn_h5_check_(h5, H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data), NULL);
}

static void put_value(struct wn_h5 *h5, hid_t object, const char *name, hid_t type, int64_t count, const void *values)
{
    if (!wn_h5_ok_(h5))
        return;
    hsize_t size = (hsize_t)count;
    hid_t space = H5Screate_simple(1, &size, NULL);
    hid_t attribute = wn_h5_check_(h5, H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT), name);
    if (attribute >= 0) {
        wn_h5_check_(h5, H5Awrite(attribute, type, values), name);
        H5Aclose(attribute);
    }
    H5Sclose(space);
}

static void describe(struct wn_h5 *h5, hid_t dataset, const char *unit, const char *description)
{
    if (dataset < 0)
        return;
    if (unit && *unit)
        wn_h5_put_text_(h5, dataset, "units", unit);
    if (description && *description)
        wn_h5_put_text_(h5, dataset, "long_name", description);
}

/* ---- axes ---- */

static void create_label_axis(struct wn_h5 *h5, struct wn_scales *scales, const char *name, int64_t size,
                              const char *const *labels)
{
    hid_t type = wn_h5_text_type_();
    struct shape shape = {.path = name, .type = type, .n_axes = 1, .sizes = {(hsize_t)size}};
    hid_t scale = create_dataset(h5, &shape);

    write_all(h5, scale, type, size, labels);
    wn_scales_add_(h5, scales, scale, name, name);
    close_dataset(h5, scale);
    H5Tclose(type);
}

static void create_number_axis(struct wn_h5 *h5, struct wn_scales *scales, const char *name, int64_t size,
                               const int64_t *numbers)
{
    struct shape shape = {.path = name, .type = H5T_STD_I64LE, .n_axes = 1, .sizes = {(hsize_t)size}};
    hid_t scale = create_dataset(h5, &shape);
    int64_t *counted = numbers ? NULL : wn_alloc(size, sizeof *counted);

    for (int64_t i = 0; counted && i < size; i++)
        counted[i] = i;
    write_all(h5, scale, H5T_STD_I64LE, size, numbers ? numbers : counted);
    wn_scales_add_(h5, scales, scale, name, name);
    close_dataset(h5, scale);
    wn_free(counted);
}

/* "text_64": netCDF's form of a dimension that is no variable; made once. */
static void create_character_axis(struct wn_h5 *h5, struct wn_scales *scales, const char *name, int64_t size)
{
    char mark[96];

    if (wn_scales_has_(scales, name))
        return;
    struct shape shape = {.path = name, .type = H5T_IEEE_F32BE, .n_axes = 1, .sizes = {(hsize_t)size}};
    hid_t scale = create_dataset(h5, &shape);
    snprintf(mark, sizeof mark, "This is a netCDF dimension but not a netCDF variable. %9lld", (long long)size);
    wn_scales_add_(h5, scales, scale, name, mark);
    close_dataset(h5, scale);
}

static const struct wn_column *find_column(const struct wn_table *table, const char *name)
{
    for (int c = 0; c < table->n_columns; c++)
        if (!strcmp(table->columns[c].name, name))
            return &table->columns[c];
    return NULL;
}

static void create_dims(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_schema *schema)
{
    for (int d = 0; d < schema->n_dims; d++) {
        const struct wn_dim *dim = &schema->dims[d];
        if (dim->labels)
            create_label_axis(h5, scales, dim->name, dim->size, (const char *const *)dim->labels);
        else
            create_number_axis(h5, scales, dim->name, dim->size, dim->numbers);
    }
}

static void create_axes(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_results_plan *plan)
{
    const struct wn_column *key = find_column(plan->points, "key");

    if (!key || !key->texts)
        WN_BUG("the table of points has no text column \"key\"");
    create_label_axis(h5, scales, plan->points->axis, plan->points->rows, key->texts);
    create_number_axis(h5, scales, plan->cells->axis, plan->cells->rows, NULL);
    create_dims(h5, scales, plan->schema);
    for (int l = 0; l < plan->n_logs; l++) {
        const struct wn_log *log = &plan->logs[l];
        create_label_axis(h5, scales, log->item_axis, log->items, log->labels);
        create_number_axis(h5, scales, log->row_axis, log->rows, NULL);
        create_dims(h5, scales, log->schema);
    }
}

/* ---- tables and fields ---- */

static void create_table(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_table *table)
{
    hid_t text = wn_h5_text_type_();
    static const double truth[] = {0, 1};
    double nan = NAN;

    for (int c = 0; c < table->n_columns; c++) {
        const struct wn_column *column = &table->columns[c];
        char path[160];
        snprintf(path, sizeof path, "%s/%s", table->group, column->name);
        hid_t type = column->numbers ? H5T_IEEE_F64LE : text;
        struct shape shape = {path, type, 1, {(hsize_t)table->rows}, {table->axis}, column->numbers ? &nan : NULL,
                              false};
        hid_t dataset = create_variable(h5, scales, &shape);
        write_all(h5, dataset, type, table->rows,
                  column->numbers ? (const void *)column->numbers : (const void *)column->texts);
        describe(h5, dataset, column->numbers ? column->unit : "", column->description);
        if (column->numbers && dataset >= 0)
            put_value(h5, dataset, "_FillValue", type, 1, &nan);
        if (column->boolean && dataset >= 0) {
            put_value(h5, dataset, "flag_values", type, 2, truth);
            wn_h5_put_text_(h5, dataset, "flag_meanings", "false true");
        }
        close_dataset(h5, dataset);
    }
    H5Tclose(text);
}

/* The missing value of a type; NULL for text, which is empty. */
static const void *missing(enum wn_field_type type)
{
    static const double f64 = NAN;
    static const float f32 = NAN;
    static const int64_t i64 = -1;
    static const int32_t i32 = -1;
    static const uint8_t u8 = 255;

    switch (type) {
    case WN_FIELD_F64:
        return &f64;
    case WN_FIELD_F32:
        return &f32;
    case WN_FIELD_I64:
        return &i64;
    case WN_FIELD_I32:
        return &i32;
    case WN_FIELD_U8:
        return &u8;
    case WN_FIELD_TEXT:
        break;
    }
    return NULL;
}

static void create_field(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_results_plan *plan,
                         const struct wn_field *field, struct wn_fill *filling)
{
    hid_t type = wn_field_type_(field->type);
    const void *fill = missing(field->type);
    char characters[64];
    struct shape shape = {.path = field->path, .type = type, .n_axes = 1, .fill = fill, .later = true};

    shape.axes[0] = plan->points->axis;
    shape.sizes[0] = (hsize_t)plan->points->rows;
    for (int d = 0; d < field->n_dims; d++, shape.n_axes++) {
        shape.axes[shape.n_axes] = plan->schema->dims[field->dims[d]].name;
        shape.sizes[shape.n_axes] = (hsize_t)plan->schema->dims[field->dims[d]].size;
    }
    if (field->type == WN_FIELD_TEXT) {
        snprintf(characters, sizeof characters, "text_%lld", (long long)field->text_bytes);
        create_character_axis(h5, scales, characters, field->text_bytes);
        shape.axes[shape.n_axes] = characters;
        shape.sizes[shape.n_axes++] = (hsize_t)field->text_bytes;
    }
    hid_t dataset = create_variable(h5, scales, &shape);
    describe(h5, dataset, field->type == WN_FIELD_TEXT ? "" : field->unit, field->description);
    if (dataset >= 0 && fill)
        put_value(h5, dataset, "_FillValue", type, 1, fill);
    if (dataset >= 0 && field->type == WN_FIELD_TEXT)
        wn_h5_put_text_(h5, dataset, "_Encoding", "utf-8");
    wn_fill_add_(h5, filling, dataset, field, plan->points->rows);
    close_dataset(h5, dataset);
    H5Tclose(type);
}

/* Only where something is missing: integers without _FillValue stay integers in xarray. */
static bool has_missing(const struct wn_constant *constant)
{
    const uint8_t *data = constant->data;
    int64_t size = constant->about.elements ? constant->about.bytes / constant->about.elements : 0;
    uint8_t *fill = wn_alloc(constant->about.bytes, 1);
    bool found = false;

    wn_field_clear(&constant->about, fill);
    for (int64_t i = 0; i < constant->about.elements && !found; i++)
        found = memcmp(data + i * size, fill, (size_t)size) == 0;
    wn_free(fill);
    return found;
}

static void create_constant(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_schema *schema,
                            const struct wn_constant *constant)
{
    const struct wn_field *about = &constant->about;
    hid_t type = wn_field_type_(about->type);
    struct shape shape = {.path = about->path, .type = type, .n_axes = about->n_dims};

    for (int d = 0; d < about->n_dims; d++) {
        shape.axes[d] = schema->dims[about->dims[d]].name;
        shape.sizes[d] = (hsize_t)schema->dims[about->dims[d]].size;
    }
    hid_t dataset = create_variable(h5, scales, &shape);
    write_all(h5, dataset, type, about->elements, constant->data);
    describe(h5, dataset, about->unit, about->description);
    if (dataset >= 0 && has_missing(constant))
        put_value(h5, dataset, "_FillValue", type, 1, missing(about->type));
    close_dataset(h5, dataset);
    H5Tclose(type);
}

/* ---- logs ---- */

/* A field of a row, for all items and rows; small enough for HDF5 to fill. */
static void create_log_field(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_log *log,
                             const struct wn_field *field)
{
    hid_t type = wn_field_type_(field->type);
    const void *fill = missing(field->type);
    struct shape shape = {.path = field->path,
                          .type = type,
                          .n_axes = 2,
                          .sizes = {(hsize_t)log->items, (hsize_t)log->rows},
                          .axes = {log->item_axis, log->row_axis},
                          .fill = fill};

    for (int d = 0; d < field->n_dims; d++, shape.n_axes++) {
        shape.axes[shape.n_axes] = log->schema->dims[field->dims[d]].name;
        shape.sizes[shape.n_axes] = (hsize_t)log->schema->dims[field->dims[d]].size;
    }
    hid_t dataset = create_variable(h5, scales, &shape);
    describe(h5, dataset, field->unit, field->description);
    if (dataset >= 0)
        put_value(h5, dataset, "_FillValue", type, 1, fill);
    close_dataset(h5, dataset);
    H5Tclose(type);
}

static void create_log(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_log *log)
{
    struct wn_field checksum = {.type = WN_FIELD_I64,
                                .unit = "1",
                                .description = "of all results of the row, written last; -1: the row is not there"};

    for (int f = 0; f < log->schema->n_fields; f++)
        create_log_field(h5, scales, log, &log->schema->fields[f]);
    snprintf(checksum.path, sizeof checksum.path, "%s/%s", log->group, WN_LOG_CHECKSUM);
    create_log_field(h5, scales, log, &checksum);
}

/* A state column: missing values are ordinary ones here (0: open, never tried) but for `fill`, which may be NULL. */
static hid_t create_state(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_table *points, const char *path,
                          hid_t type, const void *fill, const char *description)
{
    struct shape shape = {.path = path,
                          .type = type,
                          .n_axes = 1,
                          .sizes = {(hsize_t)points->rows},
                          .axes = {points->axis},
                          .fill = fill};
    hid_t dataset = create_variable(h5, scales, &shape);

    describe(h5, dataset, "1", description);
    return dataset;
}

static void create_states(struct wn_h5 *h5, struct wn_scales *scales, const struct wn_table *points)
{
    static const int32_t none = -1;
    static const uint8_t values[] = {WN_POINT_OPEN, WN_POINT_DONE, WN_POINT_FAILED};

    hid_t dataset =
        create_state(h5, scales, points, WN_STATUS_PATH, H5T_STD_U8LE, NULL, "state of the point, written last");
    if (dataset >= 0) {
        put_value(h5, dataset, "flag_values", H5T_STD_U8LE, 3, values);
        wn_h5_put_text_(h5, dataset, "flag_meanings", "open done failed");
    }
    close_dataset(h5, dataset);
    dataset = create_state(h5, scales, points, WN_CHECKSUM_PATH, H5T_STD_U64LE, NULL,
                           "first 8 bytes of the SHA-256 over all result fields of the point");
    close_dataset(h5, dataset);
    dataset = create_state(h5, scales, points, WN_ATTEMPT_PATH, H5T_STD_I32LE, NULL,
                           "times the point was begun since it was last finished");
    close_dataset(h5, dataset);
    dataset = create_state(h5, scales, points, WN_START_PATH, H5T_STD_I32LE, &none,
                           "row of /starts of the run that began the point last; -1: never begun");
    if (dataset >= 0)
        put_value(h5, dataset, "_FillValue", H5T_STD_I32LE, 1, &none);
    close_dataset(h5, dataset);
}

/* Rows to be filled by starts of the program (starts.c). */
static void create_starts(struct wn_h5 *h5, struct wn_scales *scales)
{
    static const int32_t none = -1;

    create_number_axis(h5, scales, "start", WN_STARTS, NULL);
    for (int c = 0; c < wn_starts_columns_(); c++) {
        const char *path, *unit, *description;
        char characters[64];
        int bytes;
        wn_starts_column_(c, &path, &bytes, &unit, &description);
        hid_t type = bytes ? wn_h5_char_type_() : H5Tcopy(H5T_STD_I32LE);
        struct shape shape = {.path = path,
                              .type = type,
                              .n_axes = 1,
                              .sizes = {WN_STARTS},
                              .axes = {"start"},
                              .fill = bytes ? NULL : &none};
        if (bytes) {
            snprintf(characters, sizeof characters, "text_%d", bytes);
            create_character_axis(h5, scales, characters, bytes);
            shape.axes[shape.n_axes] = characters;
            shape.sizes[shape.n_axes++] = (hsize_t)bytes;
        }
        hid_t dataset = create_variable(h5, scales, &shape);
        describe(h5, dataset, unit, description);
        if (dataset >= 0 && bytes)
            wn_h5_put_text_(h5, dataset, "_Encoding", "utf-8");
        else if (dataset >= 0)
            put_value(h5, dataset, "_FillValue", type, 1, &none);
        close_dataset(h5, dataset);
        H5Tclose(type);
    }
}

/* ---- the whole ---- */

static void put_root(struct wn_h5 *h5, const struct wn_facts *provenance)
{
    const char *version = "";
    int32_t schema_version = WN_SCHEMA_VERSION;

    for (int64_t i = 0; i < provenance->count; i++)
        if (!strcmp(provenance->facts[i].name, "winnow_version"))
            version = provenance->facts[i].text;
    put_value(h5, h5->file, "schema_version", H5T_STD_I32LE, 1, &schema_version);
    wn_h5_put_text_(h5, h5->file, "title", "winnow: results of a sweep over compressed language models");
    wn_h5_put_text_(h5, h5->file, "Conventions", "CF-1.8");
    wn_h5_put_text_(h5, h5->file, "winnow_version", version);
}

static void put_provenance(struct wn_h5 *h5, const struct wn_facts *provenance)
{
    if (!wn_h5_ok_(h5))
        return;
    hid_t group = H5Gcreate2(h5->file, "provenance", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (wn_h5_check_(h5, group, "provenance") < 0)
        return;
    for (int64_t i = 0; i < provenance->count; i++)
        wn_h5_put_text_(h5, group, provenance->facts[i].name, provenance->facts[i].text);
    H5Gclose(group);
}

void wn_layout_(struct wn_h5 *h5, const struct wn_results_plan *plan, struct wn_fill *fill)
{
    char *fields = wn_fields_document_(plan);
    struct wn_scales scales = {0};

    put_root(h5, plan->provenance);
    wn_h5_put_document_(h5, "sweep", plan->sweep);
    wn_h5_put_document_(h5, "identity", plan->identity);
    wn_h5_put_document_(h5, "fields", fields);
    put_provenance(h5, plan->provenance);
    create_axes(h5, &scales, plan);
    create_table(h5, &scales, plan->points);
    create_table(h5, &scales, plan->cells);
    create_states(h5, &scales, plan->points);
    create_starts(h5, &scales);
    for (int f = 0; f < plan->schema->n_fields && wn_h5_ok_(h5); f++)
        create_field(h5, &scales, plan, &plan->schema->fields[f], fill);
    for (int c = 0; c < plan->schema->n_constants && wn_h5_ok_(h5); c++)
        create_constant(h5, &scales, plan->schema, &plan->schema->constants[c]);
    for (int l = 0; l < plan->n_logs && wn_h5_ok_(h5); l++)
        create_log(h5, &scales, &plan->logs[l]);
    wn_scales_finish_(h5, &scales);
    wn_free(fields);
}

/* ---- its size ---- */

/* Measured with HDF5 1.10: object header, attributes and link of a dataset; one text in a heap. */
enum { DATASET_BYTES = 1060, TEXT_BYTES = 16 + 16 + 8 };

static int64_t texts_bytes(int64_t rows, const char *const *texts)
{
    int64_t bytes = rows * TEXT_BYTES;

    for (int64_t i = 0; i < rows; i++)
        bytes += (int64_t)strlen(texts[i]);
    return bytes;
}

static int64_t table_bytes(const struct wn_table *table)
{
    int64_t bytes = 0;

    for (int c = 0; c < table->n_columns; c++) {
        const struct wn_column *column = &table->columns[c];
        bytes += DATASET_BYTES + (column->numbers ? 8 * table->rows : texts_bytes(table->rows, column->texts));
        if (!strcmp(column->name, "key")) /* the labels of the point axis */
            bytes += DATASET_BYTES + texts_bytes(table->rows, column->texts);
    }
    return bytes;
}

static int64_t dims_bytes(const struct wn_schema *schema)
{
    int64_t bytes = 0;

    for (int d = 0; d < schema->n_dims; d++) {
        const struct wn_dim *dim = &schema->dims[d];
        bytes +=
            DATASET_BYTES + (dim->labels ? texts_bytes(dim->size, (const char *const *)dim->labels) : 8 * dim->size);
    }
    return bytes;
}

static int64_t log_bytes(const struct wn_log *log)
{
    return 2 * DATASET_BYTES + texts_bytes(log->items, log->labels) + 8 * log->rows + dims_bytes(log->schema) +
           log->items * log->rows * (wn_schema_bytes(log->schema) + 8) +
           (int64_t)(log->schema->n_fields + 1) * DATASET_BYTES;
}

int64_t wn_results_predict_bytes(const struct wn_results_plan *plan)
{
    const struct wn_schema *schema = plan->schema;
    int64_t bytes = 16384, rows = plan->points->rows;

    bytes += (int64_t)strlen(plan->sweep) + (int64_t)strlen(plan->identity);
    bytes += table_bytes(plan->points) + table_bytes(plan->cells) + 8 * plan->cells->rows;
    bytes += rows * (wn_schema_bytes(schema) + 17) + (int64_t)(schema->n_fields + 5) * DATASET_BYTES;
    bytes += wn_starts_bytes_() + 8 * WN_STARTS + (wn_starts_columns_() + 1) * (int64_t)DATASET_BYTES;
    for (int c = 0; c < schema->n_constants; c++)
        bytes += DATASET_BYTES + schema->constants[c].about.bytes;
    bytes += dims_bytes(schema);
    for (int l = 0; l < plan->n_logs; l++)
        bytes += log_bytes(&plan->logs[l]);
    return bytes;
}
