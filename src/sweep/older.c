/* SPDX-License-Identifier: Apache-2.0 */
/* older.c: see older.h. */
#include <string.h>

#include "grow.h"
#include "older.h"

static bool begins(const char *text, const char *word)
{
    return !strncmp(text, word, strlen(word));
}

static wn_status read_columns(struct wn_results_reader *reader, struct wn_older *source)
{
    int64_t rows;
    source->points = wn_results_read_points(reader);
    source->status = wn_alloc_zero(source->points, 1);
    WN_TRY(wn_results_read_status(reader, source->status));
    WN_TRY(wn_results_read_document(reader, "identity", &source->text));
    WN_TRY(wn_results_read_texts(reader, "/points/key", &source->keys, &rows));
    WN_TRY(wn_results_read_texts(reader, "/points/model", &source->models, &rows));
    WN_TRY(wn_results_read_texts(reader, "/points/weights_hash", &source->hashes, &rows));
    WN_TRY(wn_results_read_numbers(reader, "/points/attempt", &source->attempts, &rows));
    WN_TRY(wn_results_read_numbers(reader, "/points/start", &source->starts, &rows));
    WN_TRY(wn_results_read_texts(reader, "/starts/arithmetic", &source->arithmetic, &source->n_starts));
    WN_TRY(wn_results_read_texts(reader, "/evaluation", &source->evals, &source->n_evals));
    int64_t columns;
    WN_TRY(wn_results_read_rows(reader, WN_EVALUATION_START, &source->marks, &columns));
    return columns == source->n_evals
               ? WN_OK
               : wn_fail(WN_ERR_INPUT, "%s: %s does not fit its axis", source->path, WN_EVALUATION_START);
}

static bool has_path(struct wn_older *source, const char *path)
{
    return wn_texts_add(&source->paths, path) < source->n_paths;
}

static wn_status another_version(const struct wn_older *source, const char *path)
{
    return wn_fail(WN_ERR_INPUT,
                   "%s: was written by another version of winnow, its rows have no %s: nothing of it can "
                   "be taken over",
                   source->path, path);
}

int wn_row_part(const struct wn_run *run, const char *path)
{
    const char *name = strchr(path + 1, '/');
    size_t length = name ? strcspn(name + 1, "/") : 0;
    if (begins(path, "/points/") || begins(path, "/weights/") || !strcmp(path, WN_EVALUATION_START))
        return 0;
    for (int64_t e = 0; name && e < run->sweep->n_evals; e++)
        if (strlen(run->sweep->evals[e].name) == length && !strncmp(run->sweep->evals[e].name, name + 1, length))
            return (int)e + 1;
    WN_BUG("the field %s is of no evaluation", path);
}

/* Fields of every row, whatever the grid; others are there when a point of the file has them. */
static wn_status check_fields(const struct wn_run *run, struct wn_older *source)
{
    for (int f = 0; f < run->schema.n_fields; f++) {
        const char *path = run->schema.fields[f].path;
        if (begins(path, "/points/") && !has_path(source, path))
            return another_version(source, path);
    }
    const struct wn_prepared_model *prepared = &run->models[0];
    int64_t count = 0;
#define X(name, unit, help) count++;
    WN_WEIGHT_STATISTICS(X)
#undef X
    for (int64_t i = 0; i < count; i++) {
        const char *path = prepared->schema.fields[prepared->weight_fields[i]].path;
        if (!has_path(source, path))
            return another_version(source, path);
    }
    return WN_OK;
}

/* Which models, calibration sets and evaluations are the same. */
static void match_model(const struct wn_run *run, const struct wn_identity *identity, struct wn_older *source,
                        int64_t m)
{
    const struct wn_described_model *here = &identity->models[m];
    int64_t n_calibrations = run->sweep->n_calibrations;
    source->model[m] = -1;
    for (int64_t o = source->identity.n_models - 1; o >= 0; o--)
        if (wn_same_text(source->identity.models[o].files.data, here->files.data) &&
            wn_same_text(source->identity.models[o].sample, here->sample))
            source->model[m] = o;
    const struct wn_described_model *there = source->model[m] < 0 ? NULL : &source->identity.models[source->model[m]];
    for (int64_t c = 0; there && c < n_calibrations; c++) {
        const char *name = run->sweep->calibrations[c].name;
        const struct wn_named *mine = wn_find_named(here->calibrations, here->n_calibrations, name);
        const struct wn_named *other = wn_find_named(there->calibrations, there->n_calibrations, name);
        source->calibration[m * n_calibrations + c] = mine && other && wn_same_text(mine->text, other->text);
    }
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        const char *name = run->sweep->evals[e].name;
        int64_t *column = &source->eval[m * run->sweep->n_evals + e];
        *column = -1;
        const struct wn_named *mine = wn_find_named(here->evals, here->n_evals, name);
        const struct wn_named *other = there ? wn_find_named(there->evals, there->n_evals, name) : NULL;
        for (int64_t i = 0; mine && other && wn_same_text(mine->text, other->text) && i < source->n_evals; i++)
            if (!strcmp(source->evals[i], name))
                *column = i;
    }
}

/* An evaluation of which a newer version knows more is another one. */
static void drop_incomplete(const struct wn_run *run, struct wn_older *source)
{
    const struct wn_schema *schema = &run->schema;
    for (int f = 0; f < schema->n_fields; f++) {
        int part = wn_row_part(run, schema->fields[f].path);
        for (int64_t m = 0; part > 0 && !has_path(source, schema->fields[f].path) && m < run->n_models; m++)
            source->eval[m * run->sweep->n_evals + part - 1] = -1;
    }
}

/* A key without the name of its model, which is there when a file has several. */
static const char *bare_key(const char *key, const char *model, int64_t n_models)
{
    size_t length = strlen(model);
    bool named = n_models > 1 && !strncmp(key, model, length) && !strncmp(key + length, ": ", 2);
    return named ? key + length + 2 : key;
}

static int64_t number_of(struct wn_older *source, int64_t model, const char *key)
{
    char *text = wn_format("%lld\t%s", (long long)model, key);
    int64_t number = wn_texts_add(&source->index, text);
    wn_free(text);
    return number;
}

static wn_status index_rows(struct wn_older *source)
{
    for (int64_t r = 0; r < source->points; r++) {
        int64_t model = -1;
        for (int64_t m = 0; m < source->identity.n_models; m++)
            if (!strcmp(source->identity.models[m].name, source->models[r]))
                model = m;
        if (number_of(source, model, bare_key(source->keys[r], source->models[r], source->identity.n_models)) != r)
            return wn_fail(WN_ERR_INPUT, "%s: has the point \"%s\" twice", source->path, source->keys[r]);
        source->finished += source->status[r] == WN_POINT_DONE;
    }
    return WN_OK;
}

/* ---- searches ---- */

/* The columns of levels are the same. */
static bool same_units(struct wn_results_reader *reader, const struct wn_schema *schema)
{
    const struct wn_dim *dim = &schema->dims[schema->fields[WN_LOG_LEVEL].dims[1]];
    char **units = NULL, *path = wn_format("/%s", dim->name);
    int64_t count = 0;
    bool same = wn_results_read_texts(reader, path, &units, &count) == WN_OK && count == dim->size;
    for (int64_t i = 0; i < dim->size && same; i++)
        same = !strcmp(units[i], dim->labels[i]);
    wn_results_free_texts(&units, count);
    wn_free(path);
    return same;
}

static int64_t find_item(const struct wn_run *run, struct wn_results_reader *reader, const struct wn_older *source,
                         const struct wn_point_search *search, const char *name)
{
    const struct wn_point *point = &run->grid.points[search->point];
    const char *here = bare_key(point->key, name, run->n_models);
    const char *model = source->identity.models[source->model[point->model]].name;
    char **keys = NULL, *path = wn_format("/%s", run->logs[search->log].item_axis);
    int64_t count = 0, item = -1;
    if (wn_results_read_texts(reader, path, &keys, &count) == WN_OK)
        for (int64_t i = 0; i < count; i++)
            if (!strcmp(bare_key(keys[i], model, source->identity.n_models), here))
                item = i;
    wn_results_free_texts(&keys, count);
    wn_free(path);
    return item;
}

/* What candidates are judged by is there, and the same. */
static bool has_grounds(const struct wn_run *run, const struct wn_older *source, const struct wn_point_search *search)
{
    int64_t m = run->grid.points[search->point].model;
    return search->task >= 0 ? source->eval[m * run->sweep->n_evals + search->task] >= 0
                             : source->calibration[m * run->sweep->n_calibrations + search->calibration];
}

/* The same settings, on the same calibration set or task, for the same point. */
static int64_t match_search(const struct wn_run *run, const struct wn_identity *identity,
                            struct wn_results_reader *reader, const struct wn_older *source,
                            const struct wn_point_search *search)
{
    int64_t m = run->grid.points[search->point].model;
    if (source->model[m] < 0 || !has_grounds(run, source, search))
        return -1;
    const struct wn_described_model *here = &identity->models[m];
    const struct wn_described_model *there = &source->identity.models[source->model[m]];
    char *title = wn_search_title(run, search->point);
    const struct wn_named *mine = wn_find_named(here->searches, here->n_searches, title);
    const struct wn_named *other = wn_find_named(there->searches, there->n_searches, title);
    wn_free(title);
    if (!mine || !other || !wn_same_text(mine->text, other->text) || !same_units(reader, run->logs[search->log].schema))
        return -1;
    return find_item(run, reader, source, search, here->name);
}

static void match_searches(const struct wn_run *run, const struct wn_identity *identity,
                           struct wn_results_reader *reader, struct wn_older *source)
{
    source->item = wn_alloc(run->n_searches, sizeof *source->item);
    for (int64_t s = 0; s < run->n_searches; s++)
        source->item[s] = match_search(run, identity, reader, source, &run->searches[s]);
}

/* ---- all of it ---- */

wn_status wn_older_read(const struct wn_run *run, const struct wn_identity *identity, const char *path,
                        struct wn_older *source)
{
    struct wn_results_reader *reader;
    int64_t n_models = run->n_models;
    *source = (struct wn_older){.path = path};
    WN_TRY(wn_results_read_open(source->path, &reader));
    wn_results_read_paths(reader, &source->paths);
    source->n_paths = source->paths.count;
    wn_status status = check_fields(run, source);
    if (status == WN_OK && !has_path(source, WN_EVALUATION_START))
        status = another_version(source, WN_EVALUATION_START);
    if (status == WN_OK)
        status = read_columns(reader, source);
    if (status != WN_OK) {
        wn_results_read_close(&reader);
        return status;
    }
    wn_identity_read(source->text, &source->identity);
    source->model = wn_alloc(n_models, sizeof *source->model);
    source->calibration = wn_alloc_zero(n_models * run->sweep->n_calibrations, sizeof *source->calibration);
    source->eval = wn_alloc(n_models * run->sweep->n_evals, sizeof *source->eval);
    for (int64_t m = 0; m < n_models; m++)
        match_model(run, identity, source, m);
    match_searches(run, identity, reader, source);
    wn_results_read_close(&reader);
    drop_incomplete(run, source);
    return index_rows(source);
}

void wn_older_release(struct wn_older *source)
{
    int64_t none = source->points;
    wn_results_free_texts(&source->keys, none);
    wn_results_free_texts(&source->models, none);
    wn_results_free_texts(&source->hashes, none);
    wn_results_free_texts(&source->evals, source->n_evals);
    wn_results_free_texts(&source->arithmetic, source->n_starts);
    wn_identity_release(&source->identity);
    wn_texts_release(&source->paths);
    wn_texts_release(&source->index);
    wn_free(source->text);
    wn_free(source->attempts);
    wn_free(source->starts);
    wn_free(source->marks);
    wn_free(source->status);
    wn_free(source->model);
    wn_free(source->calibration);
    wn_free(source->eval);
    wn_free(source->item);
}

int64_t wn_older_row(const struct wn_run *run, struct wn_older *source, int64_t p)
{
    const struct wn_point *point = &run->grid.points[p];
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there are points, so there are models */
    int64_t model = source->model[point->model];
    if (model < 0 || (point->calibration >= 0 &&
                      !source->calibration[point->model * run->sweep->n_calibrations + point->calibration]))
        return -1;
    for (int64_t s = 0; s < run->n_searches; s++)
        if (run->searches[s].point == p && source->item[s] < 0)
            return -1;
    char *name = wn_sweep_model_name(run->sweep, point->model);
    int64_t row = number_of(source, model, bare_key(point->key, name, run->n_models));
    wn_free(name);
    return row < source->points ? row : -1;
}
