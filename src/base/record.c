/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of a point's fields with named axes, and the record that holds their values. */
#include <winnow/record.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static int64_t type_bytes(enum wn_field_type type)
{
    switch (type) {
    case WN_FIELD_F64:
    case WN_FIELD_I64:
        return 8;
    case WN_FIELD_F32:
    case WN_FIELD_I32:
        return 4;
    case WN_FIELD_U8:
        return 1;
    case WN_FIELD_TEXT:
        break;
    }
    WN_BUG("field type %d has no size", (int)type);
}

static void copy_text(char *to, size_t size, const char *text, const char *what)
{
    if (strlen(text) >= size)
        WN_BUG("%s \"%s\" is longer than %zu bytes", what, text, size - 1);
    snprintf(to, size, "%s", text);
}

/* ---- schema ---- */

void wn_schema_init(struct wn_schema *schema)
{
    *schema = (struct wn_schema){0};
}

void wn_schema_release(struct wn_schema *schema)
{
    for (int d = 0; d < schema->n_dims; d++) {
        struct wn_dim *dim = &schema->dims[d];
        for (int64_t i = 0; dim->labels && i < dim->size; i++)
            wn_free(dim->labels[i]);
        wn_free(dim->labels);
    }
    for (int c = 0; c < schema->n_constants; c++)
        wn_free(schema->constants[c].data);
    wn_free(schema->dims);
    wn_free(schema->fields);
    wn_free(schema->constants);
    wn_schema_init(schema);
}

static bool same_axis(const struct wn_dim *dim, int64_t size, const char *const *labels)
{
    if (dim->size != size || (dim->labels != NULL) != (labels != NULL))
        return false;
    for (int64_t i = 0; labels && i < size; i++)
        if (strcmp(dim->labels[i], labels[i]) != 0)
            return false;
    return true;
}

static int find_dim(const struct wn_schema *schema, const char *name)
{
    for (int d = 0; d < schema->n_dims; d++)
        if (!strcmp(schema->dims[d].name, name))
            return d;
    return -1;
}

int wn_schema_dim(struct wn_schema *schema, const char *name, int64_t size, const char *const *labels)
{
    int found = find_dim(schema, name);

    if (size < 0)
        WN_BUG("axis \"%s\" has size %lld", name, (long long)size);
    if (found >= 0 && !same_axis(&schema->dims[found], size, labels))
        WN_BUG("axis \"%s\" was added before with another size or other labels", name);
    if (found >= 0)
        return found;
    schema->dims = wn_grow(schema->dims, schema->n_dims, 1, sizeof *schema->dims);
    struct wn_dim *dim = &schema->dims[schema->n_dims];
    *dim = (struct wn_dim){.size = size};
    copy_text(dim->name, sizeof dim->name, name, "the axis name");
    if (labels)
        dim->labels = wn_alloc(size, sizeof *dim->labels);
    for (int64_t i = 0; labels && i < size; i++)
        dim->labels[i] = wn_strdup(labels[i]);
    return schema->n_dims++;
}

static void describe(const struct wn_schema *schema, struct wn_field *field, const char *path, const char *unit,
                     const char *description)
{
    if (wn_schema_find(schema, path) >= 0 || wn_schema_find_constant(schema, path) >= 0)
        WN_BUG("field \"%s\" is there already", path);
    *field = (struct wn_field){.elements = 1};
    copy_text(field->path, sizeof field->path, path, "the field path");
    copy_text(field->unit, sizeof field->unit, unit, "the unit");
    copy_text(field->description, sizeof field->description, description, "the description");
}

static struct wn_field *add_field(struct wn_schema *schema, const struct wn_field *field)
{
    schema->fields = wn_grow(schema->fields, schema->n_fields, 1, sizeof *schema->fields);
    schema->fields[schema->n_fields] = *field;
    return &schema->fields[schema->n_fields++];
}

static void set_axes(const struct wn_schema *schema, struct wn_field *field, enum wn_field_type type, int n_dims,
                     const int *dims)
{
    if (n_dims < 0 || n_dims > WN_MAX_FIELD_DIMS)
        WN_BUG("field \"%s\" has %d axes, at most %d are possible", field->path, n_dims, WN_MAX_FIELD_DIMS);
    field->type = type;
    field->n_dims = n_dims;
    for (int d = 0; d < n_dims; d++) {
        if (dims[d] < 0 || dims[d] >= schema->n_dims)
            WN_BUG("field \"%s\" has the unknown axis %d", field->path, dims[d]);
        field->dims[d] = dims[d];
        field->elements *= schema->dims[dims[d]].size;
    }
    field->bytes = field->elements * (type == WN_FIELD_TEXT ? field->text_bytes : type_bytes(type));
}

int wn_schema_field(struct wn_schema *schema, const char *path, enum wn_field_type type, int n_dims, const int *dims,
                    const char *unit, const char *description, bool result)
{
    struct wn_field field;

    describe(schema, &field, path, unit, description);
    set_axes(schema, &field, type, n_dims, dims);
    field.result = result;
    add_field(schema, &field);
    return schema->n_fields - 1;
}

int wn_schema_constant(struct wn_schema *schema, const char *path, enum wn_field_type type, int n_dims, const int *dims,
                       const char *unit, const char *description, const void *data)
{
    struct wn_constant constant;

    if (n_dims < 1)
        WN_BUG("the constant \"%s\" has no axis", path);
    describe(schema, &constant.about, path, unit, description);
    set_axes(schema, &constant.about, type, n_dims, dims);
    constant.about.result = true;
    constant.data = wn_alloc(constant.about.bytes, 1);
    wn_field_clear(&constant.about, constant.data);
    if (data && constant.about.bytes > 0)
        memcpy(constant.data, data, (size_t)constant.about.bytes);
    schema->constants = wn_grow(schema->constants, schema->n_constants, 1, sizeof *schema->constants);
    schema->constants[schema->n_constants] = constant;
    return schema->n_constants++;
}

int wn_schema_texts(struct wn_schema *schema, const char *path, int64_t bytes, int n_dims, const int *dims,
                    const char *description, bool result)
{
    struct wn_field field;

    describe(schema, &field, path, "", description);
    if (bytes < 1)
        WN_BUG("text field \"%s\" has %lld bytes", path, (long long)bytes);
    field.text_bytes = bytes;
    set_axes(schema, &field, WN_FIELD_TEXT, n_dims, dims);
    field.result = result;
    add_field(schema, &field);
    return schema->n_fields - 1;
}

int wn_schema_text(struct wn_schema *schema, const char *path, int64_t bytes, const char *description, bool result)
{
    return wn_schema_texts(schema, path, bytes, 0, NULL, description, result);
}

int wn_schema_find(const struct wn_schema *schema, const char *path)
{
    for (int f = 0; f < schema->n_fields; f++)
        if (!strcmp(schema->fields[f].path, path))
            return f;
    return -1;
}

int wn_schema_find_constant(const struct wn_schema *schema, const char *path)
{
    for (int c = 0; c < schema->n_constants; c++)
        if (!strcmp(schema->constants[c].about.path, path))
            return c;
    return -1;
}

int64_t wn_schema_bytes(const struct wn_schema *schema)
{
    int64_t bytes = 0;

    for (int f = 0; f < schema->n_fields; f++)
        bytes += schema->fields[f].bytes;
    return bytes;
}

/* ---- values of a field ---- */

/* -1 of either width and 255 are all bits set; texts are filled with NUL. */
void wn_field_clear(const struct wn_field *field, uint8_t *data)
{
    if (field->type == WN_FIELD_F64)
        for (int64_t i = 0; i < field->elements; i++)
            ((double *)(void *)data)[i] = (double)NAN;
    else if (field->type == WN_FIELD_F32)
        for (int64_t i = 0; i < field->elements; i++)
            ((float *)(void *)data)[i] = NAN;
    else
        memset(data, field->type == WN_FIELD_TEXT ? 0 : 0xff, (size_t)field->bytes);
}

void wn_field_widen(const struct wn_schema *from, const struct wn_field *source, const uint8_t *data,
                    const struct wn_schema *to, const struct wn_field *target, uint8_t *out)
{
    int64_t size = source->elements ? source->bytes / source->elements : 0, index[WN_MAX_FIELD_DIMS] = {0};

    for (int64_t i = 0; i < source->elements; i++) {
        int64_t place = 0;
        for (int d = 0; d < source->n_dims; d++)
            place = place * to->dims[target->dims[d]].size + index[d];
        memcpy(out + place * size, data + i * size, (size_t)size);
        for (int d = source->n_dims - 1; d >= 0 && ++index[d] == from->dims[source->dims[d]].size; d--)
            index[d] = 0;
    }
}

/* ---- record ---- */

void wn_record_init(struct wn_record *record, const struct wn_schema *schema)
{
    record->schema = schema;
    record->data = wn_alloc(schema->n_fields, sizeof *record->data);
    for (int f = 0; f < schema->n_fields; f++)
        record->data[f] = wn_alloc(schema->fields[f].bytes, 1);
    wn_record_clear(record);
}

void wn_record_clear(struct wn_record *record)
{
    for (int f = 0; f < record->schema->n_fields; f++)
        wn_field_clear(&record->schema->fields[f], record->data[f]);
}

void wn_record_release(struct wn_record *record)
{
    for (int f = 0; record->data && f < record->schema->n_fields; f++)
        wn_free(record->data[f]);
    wn_free(record->data);
    *record = (struct wn_record){0};
}

static void *data_of(struct wn_record *record, int field, enum wn_field_type type)
{
    if (field < 0 || field >= record->schema->n_fields)
        WN_BUG("there is no field %d", field);
    if (record->schema->fields[field].type != type)
        WN_BUG("field \"%s\" has another type", record->schema->fields[field].path);
    return record->data[field];
}

double *wn_record_f64(struct wn_record *record, int field)
{
    return data_of(record, field, WN_FIELD_F64);
}

float *wn_record_f32(struct wn_record *record, int field)
{
    return data_of(record, field, WN_FIELD_F32);
}

int64_t *wn_record_i64(struct wn_record *record, int field)
{
    return data_of(record, field, WN_FIELD_I64);
}

int32_t *wn_record_i32(struct wn_record *record, int field)
{
    return data_of(record, field, WN_FIELD_I32);
}

uint8_t *wn_record_u8(struct wn_record *record, int field)
{
    return data_of(record, field, WN_FIELD_U8);
}

/* Cut in front of a byte that continues a code point (10xxxxxx), so that what is left stays valid UTF-8. */
void wn_record_set_text_at(struct wn_record *record, int field, int64_t element, const char *text)
{
    char *data = data_of(record, field, WN_FIELD_TEXT);
    size_t room = (size_t)record->schema->fields[field].text_bytes, length = strlen(text);

    data += (size_t)element * room;
    if (length > room - 1) {
        length = room - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
    }
    memset(data, 0, room);
    memcpy(data, text, length);
}

void wn_record_set_text(struct wn_record *record, int field, const char *text)
{
    wn_record_set_text_at(record, field, 0, text);
}
