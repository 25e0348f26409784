/* SPDX-License-Identifier: Apache-2.0 */
/* select.c: points by the values of their axes: "method=wanda|sparsegpt,sparsity=0.5". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sweep_impl.h"

enum { MOST_LISTED = 8 };

/* One key with its values, of which any fits. */
struct term {
    char *key;
    struct wn_texts values;
};

struct selection {
    const struct wn_run *run;
    const char *option;
    int64_t count;
    struct term *terms;
};

static void release(struct selection *selection)
{
    for (int64_t i = 0; i < selection->count; i++) {
        wn_free(selection->terms[i].key);
        wn_texts_release(&selection->terms[i].values);
    }
    wn_free(selection->terms);
}

/* ---- what a point has ---- */

static const struct wn_column *column_of(const struct wn_table *table, const char *key)
{
    for (int c = 0; c < table->n_columns; c++)
        if (!strcmp(table->columns[c].name, key))
            return &table->columns[c];
    return NULL;
}

/* Stages of a joint point are not in the table: there it has one label. */
static const char *stage_of(const struct wn_recipe *recipe, const char *key)
{
    int stage = !strcmp(key, "prune") ? 0 : !strcmp(key, "quantize") ? 1 : -1;
    return stage >= 0 && recipe->n_stages == 2 ? recipe->stages[stage].method->name : NULL;
}

static bool fits_number(const struct wn_column *column, int64_t row, const char *value)
{
    char *end;
    double number = column->boolean && !strcmp(value, "true")    ? 1
                    : column->boolean && !strcmp(value, "false") ? 0
                                                                 : strtod(value, &end);
    return column->numbers[row] == number; /* not when it is NaN: the column says nothing of this row */
}

static bool is_number(const struct wn_column *column, const char *value)
{
    char *end;
    strtod(value, &end);
    return (*value && !*end) || (column->boolean && (!strcmp(value, "true") || !strcmp(value, "false")));
}

/* Whether a row of a table, which has a recipe, has one value of a key. */
static bool has_value(const struct wn_table *table, int64_t row, const struct wn_recipe *recipe, const char *key,
                      const char *value)
{
    const char *stage = stage_of(recipe, key);
    const struct wn_column *column = column_of(table, key);
    if (stage)
        return !strcmp(stage, value);
    if (!column)
        return false;
    return column->numbers ? is_number(column, value) && fits_number(column, row, value)
                           : !strcmp(column->texts[row], value);
}

static bool fits_row(const struct selection *selection, const struct wn_table *table, int64_t row,
                     const struct wn_recipe *recipe, bool *const *found)
{
    bool all = true;
    for (int64_t t = 0; t < selection->count; t++) {
        const struct term *term = &selection->terms[t];
        bool any = false;
        for (int64_t v = 0; v < term->values.count; v++)
            if (has_value(table, row, recipe, term->key, term->values.texts[v]))
                any = found[t][v] = true;
        all = all && any;
    }
    return all;
}

/* ---- mistakes ---- */

/* Keys that can be selected by: those of the table of points, and the stages. */
static int64_t list_keys(const struct wn_run *run, const char **keys, int64_t most)
{
    static const char *const others[] = {"key", "model_path", "calibration_tokens", "calibration_kind"};
    int64_t count = 0;
    for (int c = 0; c < run->points.n_columns && count + 2 < most; c++) {
        bool other = false;
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            other = other || !strcmp(others[i], run->points.columns[c].name);
        if (!other)
            keys[count++] = run->points.columns[c].name;
    }
    keys[count++] = "prune";
    keys[count++] = "quantize";
    return count;
}

static wn_status check_key(const struct selection *selection, const char *key)
{
    const char *keys[128];
    int64_t count = list_keys(selection->run, keys, 128);
    struct wn_text known = {0};
    for (int64_t i = 0; i < count; i++) {
        if (!strcmp(keys[i], key)) {
            wn_text_release(&known);
            return WN_OK;
        }
        wn_text_printf(&known, "%s%s", i ? ", " : "", keys[i]);
    }
    const char *near = wn_suggest(key, keys, count);
    wn_status status = wn_fail(WN_ERR_INPUT, "%s: points have no key \"%s\"%s%s%s (keys: %s)", selection->option, key,
                               near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "", known.data);
    wn_text_release(&known);
    return status;
}

static void add_value(struct wn_texts *values, const struct wn_table *table, int64_t row,
                      const struct wn_recipe *recipe, const char *key)
{
    const char *stage = stage_of(recipe, key);
    const struct wn_column *column = column_of(table, key);
    char number[32];
    if (!stage && column && column->numbers && column->numbers[row] == column->numbers[row]) {
        snprintf(number, sizeof number, "%.15g", column->numbers[row]);
        stage = number;
    } else if (!stage && column && column->texts && *column->texts[row]) {
        stage = column->texts[row];
    }
    if (stage)
        wn_texts_add(values, stage);
}

static wn_status not_found(const struct selection *selection, const char *key, const char *value)
{
    const struct wn_run *run = selection->run;
    struct wn_texts values = {0};
    struct wn_text list = {0};
    for (int64_t i = 0; i < run->grid.n_points; i++)
        add_value(&values, &run->points, i, &run->grid.points[i].recipe, key);
    for (int64_t i = 0; i < run->grid.n_cells; i++)
        add_value(&values, &run->cells, i, wn_cell_recipe(&run->grid, &run->grid.cells[i]), key);
    for (int64_t i = 0; i < values.count && i < MOST_LISTED; i++)
        wn_text_printf(&list, "%s%s", i ? ", " : "", values.texts[i]);
    wn_status status = wn_fail(WN_ERR_INPUT, "%s: no point has %s=%s (there are: %s%s)", selection->option, key, value,
                               list.data ? list.data : "none", values.count > MOST_LISTED ? " ..." : "");
    wn_texts_release(&values);
    wn_text_release(&list);
    return status;
}

/* ---- reading ---- */

static struct term *term_of(struct selection *selection, const char *key, size_t length)
{
    for (int64_t i = 0; i < selection->count; i++)
        if (strlen(selection->terms[i].key) == length && !strncmp(selection->terms[i].key, key, length))
            return &selection->terms[i];
    selection->terms = wn_resize(selection->terms, selection->count + 1, sizeof *selection->terms);
    selection->terms[selection->count] = (struct term){.key = wn_strndup(key, length)};
    return &selection->terms[selection->count++];
}

/* "KEY=VALUE|VALUE" */
static wn_status read_term(struct selection *selection, const char *text, size_t length)
{
    const char *equals = memchr(text, '=', length);
    if (!equals || equals == text || equals + 1 == text + length)
        return wn_fail(WN_ERR_INPUT, "%s: expected KEY=VALUE, got \"%.*s\" (like method=wanda|rtn,sparsity=0.5)",
                       selection->option, (int)length, text);
    struct term *term = term_of(selection, text, (size_t)(equals - text));
    WN_TRY(check_key(selection, term->key));
    for (const char *at = equals + 1, *end = text + length; at < end;) {
        size_t size = strcspn(at, "|");
        size = size < (size_t)(end - at) ? size : (size_t)(end - at);
        char *value = wn_strndup(at, size);
        wn_texts_add(&term->values, value);
        wn_free(value);
        at += size + 1;
    }
    return WN_OK;
}

static wn_status read_selection(struct selection *selection, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, ",\n");
        WN_TRY(read_term(selection, text, length));
        text += length + (text[length] != '\0');
    }
    return selection->count ? WN_OK : wn_fail(WN_ERR_INPUT, "%s: nothing is selected", selection->option);
}

/* A point fits as it is, or as one of the cells that it answers. */
static wn_status apply(const struct selection *selection, bool *chosen)
{
    const struct wn_grid_points *grid = &selection->run->grid;
    bool **found = wn_alloc(selection->count, sizeof *found);
    wn_status status = WN_OK;
    int64_t count = 0;
    for (int64_t t = 0; t < selection->count; t++)
        found[t] = wn_alloc_zero(selection->terms[t].values.count, sizeof **found);
    for (int64_t i = 0; i < grid->n_points; i++)
        chosen[i] = fits_row(selection, &selection->run->points, i, &grid->points[i].recipe, found);
    for (int64_t i = 0; i < grid->n_cells; i++)
        if (fits_row(selection, &selection->run->cells, i, wn_cell_recipe(grid, &grid->cells[i]), found))
            chosen[grid->cells[i].point] = true;
    for (int64_t i = 0; i < grid->n_points; i++)
        count += chosen[i];
    for (int64_t t = 0; t < selection->count; t++)
        for (int64_t v = 0; v < selection->terms[t].values.count && status == WN_OK; v++)
            if (!found[t][v])
                status = not_found(selection, selection->terms[t].key, selection->terms[t].values.texts[v]);
    if (status == WN_OK && count == 0)
        status = wn_fail(WN_ERR_INPUT, "%s: no point has all of these values", selection->option);
    for (int64_t t = 0; t < selection->count; t++)
        wn_free(found[t]);
    wn_free(found);
    return status;
}

wn_status wn_select_points(const struct wn_run *run, const char *option, const char *text, bool *chosen)
{
    struct selection selection = {.run = run, .option = option};
    wn_status status = read_selection(&selection, text);
    if (status == WN_OK)
        status = apply(&selection, chosen);
    release(&selection);
    return status;
}
