/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c: the schemas of all models of a sweep as one. */
#include <string.h>

#include "sweep_impl.h"

/* The longest axis of this name among the models. */
static const struct wn_dim *longest_dim(const struct wn_run *run, const char *name)
{
    const struct wn_dim *best = NULL;
    for (int64_t m = 0; m < run->n_models; m++)
        for (int d = 0; d < run->models[m].schema.n_dims; d++) {
            const struct wn_dim *dim = &run->models[m].schema.dims[d];
            if (!strcmp(dim->name, name) && (!best || dim->size > best->size))
                best = dim;
        }
    return best;
}

/* The axes of a field of one model in the merged schema. */
static void longest_dims(struct wn_run *run, const struct wn_schema *schema, const struct wn_field *field, int *dims)
{
    for (int d = 0; d < field->n_dims; d++) {
        const struct wn_dim *dim = longest_dim(run, schema->dims[field->dims[d]].name);
        dims[d] = wn_schema_dim(&run->schema, dim->name, dim->size, (const char *const *)dim->labels);
    }
}

static bool same_shape(const struct wn_schema *a, const struct wn_field *left, const struct wn_schema *b,
                       const struct wn_field *right)
{
    bool same = left->type == right->type && left->n_dims == right->n_dims;
    for (int d = 0; same && d < left->n_dims; d++)
        same = a->dims[left->dims[d]].size == b->dims[right->dims[d]].size;
    return same;
}

/* Whether all models that have the constant have the same values in it. */
static bool same_constant(const struct wn_run *run, const char *path)
{
    const struct wn_constant *first = NULL;
    const struct wn_schema *first_schema = NULL;
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_schema *schema = &run->models[m].schema;
        int c = wn_schema_find_constant(schema, path);
        const struct wn_constant *constant = c >= 0 ? &schema->constants[c] : NULL;
        if (constant && first &&
            (!same_shape(first_schema, &first->about, schema, &constant->about) ||
             memcmp(first->data, constant->data, (size_t)constant->about.bytes)))
            return false;
        if (constant && !first) {
            first = constant;
            first_schema = schema;
        }
    }
    return true;
}

/* Constants in which all models agree are stored once; the others, such as token ids of different tokenizers, once per
 * model under PATH_modelINDEX, with what is beyond a shorter axis missing. */
static void merge_constants(struct wn_run *run)
{
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_schema *schema = &run->models[m].schema;
        for (int c = 0; c < schema->n_constants; c++) {
            const struct wn_constant *constant = &schema->constants[c];
            const struct wn_field *about = &constant->about;
            int dims[WN_MAX_FIELD_DIMS];
            bool same = same_constant(run, about->path);
            if (same && wn_schema_find_constant(&run->schema, about->path) >= 0)
                continue;
            char *path = same ? wn_strdup(about->path) : wn_format("%s_model%lld", about->path, (long long)m);
            longest_dims(run, schema, about, dims);
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there are constants, so their array is not NULL */
            int at = wn_schema_constant(&run->schema, path, about->type, about->n_dims, dims, about->unit,
                                        about->description, NULL);
            struct wn_constant *merged = &run->schema.constants[at];
            wn_field_widen(schema, about, constant->data, &run->schema, &merged->about, merged->data);
            wn_free(path);
        }
    }
}

void wn_run_merge_schemas(struct wn_run *run)
{
    wn_schema_init(&run->schema);
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_schema *schema = &run->models[m].schema;
        for (int f = 0; f < schema->n_fields; f++) {
            const struct wn_field *field = &schema->fields[f];
            int dims[WN_MAX_FIELD_DIMS];
            if (wn_schema_find(&run->schema, field->path) >= 0)
                continue;
            longest_dims(run, schema, field, dims);
            if (field->type == WN_FIELD_TEXT) {
                wn_schema_texts(&run->schema, field->path, field->text_bytes, field->n_dims, dims, field->description,
                                field->result);
                continue;
            }
            wn_schema_field(&run->schema, field->path, field->type, field->n_dims, dims, field->unit,
                            field->description, field->result);
        }
    }
    merge_constants(run);
}
