/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h: what one point leaves behind, as data: a schema of fields with named axes, and a record with their values.
 *
 * The schema is built before the first point from the tables of statistics, metrics and tasks; the results file is laid
 * out from it, `winnow show` and the notebooks read it back. Every field has the point as its first axis, which is not
 * listed; a constant has not, since it is the same for all points, and the schema holds its values. Depends on base.h.
 * Not collective: all ranks build the same schema from the same input.
 */
#ifndef WINNOW_RECORD_H
#define WINNOW_RECORD_H

#include <winnow/base.h>

enum wn_field_type { WN_FIELD_F64, WN_FIELD_F32, WN_FIELD_I64, WN_FIELD_I32, WN_FIELD_U8, WN_FIELD_TEXT };

struct wn_dim {
    char name[80];
    int64_t size;
    char **labels;          /* [size] text labels, owned; NULL: the axis is numbered */
    const int64_t *numbers; /* unused when labels are there; NULL: 0, 1, 2 ... */
};

#define WN_MAX_FIELD_DIMS 4

struct wn_field {
    char path[192]; /* "/scores/wikitext2/perplexity" */
    enum wn_field_type type;
    int64_t text_bytes;          /* WN_FIELD_TEXT: bytes of a fixed-length string, one for each element */
    int n_dims;                  /* without the point axis */
    int dims[WN_MAX_FIELD_DIMS]; /* indices into schema->dims */
    char unit[32];               /* "1" for plain numbers, "nat", "bit", "s", "byte" */
    char description[160];       /* long_name */
    bool result;                 /* part of the checksum and the digest; false for times, hosts, memory */
    int64_t elements;            /* per point */
    int64_t bytes;               /* per point */
};

/* Written once, when the file is laid out: token ids, right answers. `about.result` is true, never a text. */
struct wn_constant {
    struct wn_field about;
    uint8_t *data; /* about.bytes, row-major; owned */
};

struct wn_schema {
    int n_dims, n_fields, n_constants;
    struct wn_dim *dims;           /* owned */
    struct wn_field *fields;       /* owned */
    struct wn_constant *constants; /* owned */
};

void wn_schema_init(struct wn_schema *schema);
void wn_schema_release(struct wn_schema *schema);

/* Adds an axis, or returns the index of the one with this name (size and labels must be equal then: WN_BUG otherwise).
 * labels may be NULL; they are copied. */
int wn_schema_dim(struct wn_schema *schema, const char *name, int64_t size, const char *const *labels);
/* Adds a field with n_dims axes and returns its index. A path used twice is a WN_BUG. */
int wn_schema_field(struct wn_schema *schema, const char *path, enum wn_field_type type, int n_dims, const int *dims,
                    const char *unit, const char *description, bool result);
/* A text field of fixed length. */
int wn_schema_text(struct wn_schema *schema, const char *path, int64_t bytes, const char *description, bool result);
/* The same with axes: a text for each element. */
int wn_schema_texts(struct wn_schema *schema, const char *path, int64_t bytes, int n_dims, const int *dims,
                    const char *description, bool result);
/* Adds a constant of 1 to WN_MAX_FIELD_DIMS axes and returns its index; `data` has its values, row-major, and is copied
 * (NULL: all missing, as in a record). A path used twice, also by a field, is a WN_BUG. */
int wn_schema_constant(struct wn_schema *schema, const char *path, enum wn_field_type type, int n_dims, const int *dims,
                       const char *unit, const char *description, const void *data);
int wn_schema_find(const struct wn_schema *schema, const char *path);          /* -1 when absent */
int wn_schema_find_constant(const struct wn_schema *schema, const char *path); /* -1 when absent */
/* Bytes of all fields for one point. */
int64_t wn_schema_bytes(const struct wn_schema *schema);
/* Sets all elements of `data` to the missing value of the field's type. */
void wn_field_clear(const struct wn_field *field, uint8_t *data);
/* Copies the elements of a field of schema `from` into the same field of schema `to`, where each axis has the same size
 * or is longer; elements of `out` beyond stay as they are. */
void wn_field_widen(const struct wn_schema *from, const struct wn_field *source, const uint8_t *data,
                    const struct wn_schema *to, const struct wn_field *target, uint8_t *out);

/* Values of one point, missing until set: NaN, -1 (integers), 255 (U8), empty text. */
struct wn_record {
    const struct wn_schema *schema; /* borrowed */
    uint8_t **data;                 /* [n_fields], owned */
};

void wn_record_init(struct wn_record *record, const struct wn_schema *schema);
void wn_record_clear(struct wn_record *record); /* everything missing again */
void wn_record_release(struct wn_record *record);
double *wn_record_f64(struct wn_record *record, int field); /* the elements, row-major; WN_BUG for another type */
float *wn_record_f32(struct wn_record *record, int field);
int64_t *wn_record_i64(struct wn_record *record, int field);
int32_t *wn_record_i32(struct wn_record *record, int field);
uint8_t *wn_record_u8(struct wn_record *record, int field);
/* Cut at a code point to fit in text_bytes - 1, and filled up with NUL: always terminated. */
void wn_record_set_text(struct wn_record *record, int field, const char *text);
void wn_record_set_text_at(struct wn_record *record, int field, int64_t element, const char *text);

#endif
