/* SPDX-License-Identifier: Apache-2.0 */
/* show_search.c: `winnow show --search NAME`: how the fitness fell, and what was found. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

enum { MOST_LINES = 12 }; /* of a trajectory */

struct search {
    const char *name;
    char **keys, **units; /* of points; of the columns of levels */
    int64_t n_keys, n_units, items, rows;
    bool *whole;                                     /* [items][rows] */
    struct wn_array levels, best, achieved, seconds; /* levels [items][rows][blocks][units], others [items][rows] */
};

/* ---- the file ---- */

static wn_status read_array(struct wn_results_reader *reader, const struct search *search, const char *field, int rank,
                            struct wn_array *array)
{
    char *path = wn_format("/search/%s/%s", search->name, field);
    wn_status status = wn_results_read_array(reader, path, array);
    if (status == WN_OK && (array->rank != rank || array->sizes[0] != search->items || array->sizes[1] != search->rows))
        status = wn_fail(WN_ERR_INPUT, "%s does not fit its search", path);
    wn_free(path);
    return status;
}

static wn_status read_labels(struct wn_results_reader *reader, const struct search *search, const char *axis,
                             char ***labels, int64_t *count)
{
    char *path = wn_format("/search_%s_%s", search->name, axis);
    wn_status status = wn_results_read_texts(reader, path, labels, count);
    wn_free(path);
    return status;
}

/* The searches that there are, for a name that is none of them. */
static wn_status unknown(const struct wn_results_reader *reader, const char *path, const char *name)
{
    struct wn_texts groups = {0};
    struct wn_text list = {0};
    wn_results_read_logs(reader, &groups);
    for (int64_t i = 0; i < groups.count; i++)
        wn_text_printf(&list, "%s\"%s\"", i ? ", " : "; there is ", strrchr(groups.texts[i], '/') + 1);
    wn_status status = wn_fail(WN_ERR_INPUT, "%s: has no search \"%s\"%s", path, name, list.length ? list.data : "");
    wn_text_release(&list);
    wn_texts_release(&groups);
    return status;
}

static bool has_log(const struct wn_results_reader *reader, const char *group)
{
    struct wn_texts groups = {0};
    wn_results_read_logs(reader, &groups);
    int64_t count = groups.count;
    bool there = wn_texts_add(&groups, group) < count;
    wn_texts_release(&groups);
    return there;
}

static wn_status read_search(struct wn_results_reader *reader, struct search *search)
{
    char *group = wn_format("/search/%s", search->name);
    wn_status status = wn_results_read_whole(reader, group, &search->whole, &search->items, &search->rows);
    wn_free(group);
    WN_TRY(status);
    WN_TRY(read_array(reader, search, "level", 4, &search->levels));
    WN_TRY(read_array(reader, search, "best", 2, &search->best));
    WN_TRY(read_array(reader, search, "achieved", 2, &search->achieved));
    WN_TRY(read_array(reader, search, "seconds", 2, &search->seconds));
    WN_TRY(read_labels(reader, search, "point", &search->keys, &search->n_keys));
    WN_TRY(read_labels(reader, search, "unit", &search->units, &search->n_units));
    if (search->n_keys != search->items || search->n_units != search->levels.sizes[3])
        return wn_fail(WN_ERR_INPUT, "the axes of /search/%s do not fit it", search->name);
    return WN_OK;
}

static wn_status load(const char *path, struct search *search)
{
    struct wn_results_reader *reader;
    WN_TRY(wn_results_read_open(path, &reader));
    char *group = wn_format("/search/%s", search->name);
    wn_status status = has_log(reader, group) ? read_search(reader, search) : unknown(reader, path, search->name);
    wn_free(group);
    wn_results_read_close(&reader);
    return status;
}

static void release(struct search *search)
{
    wn_results_free_texts(&search->keys, search->n_keys);
    wn_results_free_texts(&search->units, search->n_units);
    wn_free(search->whole);
    wn_free(search->levels.values);
    wn_free(search->best.values);
    wn_free(search->achieved.values);
    wn_free(search->seconds.values);
}

/* Whole rows from the first one on. */
static int64_t count_rows(const struct search *search, int64_t item)
{
    int64_t rows = 0;
    while (rows < search->rows && search->whole[item * search->rows + rows])
        rows++;
    return rows;
}

/* ---- for people ---- */

static void set_number(struct wn_grid_table *table, int row, int column, const char *format, double value)
{
    if (isnan(value))
        wn_grid_table_set(table, row, column, "-");
    else
        wn_grid_table_set(table, row, column, format, value);
}

static void print_trajectory(const struct search *search, int64_t item, int64_t rows)
{
    static const char *const heads[] = {"  generation", "best fitness", "achieved", "seconds"};
    int lines = rows < MOST_LINES ? (int)rows : MOST_LINES;
    struct wn_grid_table table;
    wn_grid_table_init(&table, lines + 1, 4);
    for (int c = 0; c < 4; c++) {
        wn_grid_table_set(&table, 0, c, "%s", heads[c]);
        table.right[c] = true;
    }
    for (int i = 0; i < lines; i++) {
        int64_t row = lines > 1 ? (rows - 1) * i / (lines - 1) : 0, at = item * search->rows + row;
        wn_grid_table_set(&table, i + 1, 0, "%lld", (long long)row);
        set_number(&table, i + 1, 1, "%.6g", search->best.values[at]);
        set_number(&table, i + 1, 2, "%.8g", search->achieved.values[at]);
        set_number(&table, i + 1, 3, "%.2f", search->seconds.values[at]);
    }
    wn_grid_table_print(&table);
    wn_grid_table_release(&table);
}

/* Of the last parent; columns and rows that have nothing to choose are those of other points. */
static void print_levels(const struct search *search, int64_t item, int64_t row)
{
    int64_t blocks = search->levels.sizes[2], units = search->n_units;
    const double *levels = search->levels.values + (item * search->rows + row) * blocks * units;
    struct wn_grid_table table;
    int column = 1;
    wn_grid_table_init(&table, (int)blocks + 1, (int)units + 1);
    wn_grid_table_set(&table, 0, 0, "  block");
    table.right[0] = true;
    for (int64_t b = 0; b < blocks; b++)
        wn_grid_table_set(&table, (int)b + 1, 0, "%lld", (long long)b);
    for (int64_t u = 0; u < units; u++) {
        bool any = false;
        for (int64_t b = 0; b < blocks; b++)
            any = any || !isnan(levels[b * units + u]);
        if (!any)
            continue;
        wn_grid_table_set(&table, 0, column, "%s", search->units[u]);
        table.right[column] = true;
        for (int64_t b = 0; b < blocks; b++)
            set_number(&table, (int)b + 1, column, "%.0f", levels[b * units + u]);
        column++;
    }
    int made = table.columns;
    table.columns = column;
    wn_grid_table_print(&table);
    table.columns = made;
    wn_grid_table_release(&table);
}

static void print_search(const struct search *search)
{
    for (int64_t item = 0; item < search->items; item++) {
        int64_t rows = count_rows(search, item);
        printf("%s%s\n", item ? "\n" : "", search->keys[item]);
        if (rows == 0) {
            printf("  not begun\n");
            continue;
        }
        print_trajectory(search, item, rows);
        print_levels(search, item, rows - 1);
    }
}

/* ---- for programs ---- */

static void add_number(cJSON *array, double value)
{
    cJSON_AddItemToArray(array, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static void print_json(const struct search *search)
{
    cJSON *json = cJSON_CreateArray();
    int64_t cells = search->levels.sizes[2] * search->n_units;
    for (int64_t item = 0; item < search->items; item++) {
        int64_t rows = count_rows(search, item);
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "point", search->keys[item]);
        cJSON *best = cJSON_AddArrayToObject(one, "best"), *units = cJSON_AddArrayToObject(one, "units"),
              *levels = cJSON_AddArrayToObject(one, "levels"), *block = NULL;
        for (int64_t r = 0; r < rows; r++)
            add_number(best, search->best.values[item * search->rows + r]);
        for (int64_t u = 0; u < search->n_units; u++)
            cJSON_AddItemToArray(units, cJSON_CreateString(search->units[u]));
        for (int64_t i = 0; i < cells && rows > 0; i++) {
            if (i % search->n_units == 0)
                cJSON_AddItemToArray(levels, block = cJSON_CreateArray());
            add_number(block, search->levels.values[(item * search->rows + rows - 1) * cells + i]);
        }
        cJSON_AddItemToArray(json, one);
    }
    char *text = cJSON_Print(json);
    printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(json);
}

int wn_show_search(const char *path, const char *name, bool json)
{
    struct search search = {.name = name};
    wn_status status = load(path, &search);
    if (status != WN_OK)
        fprintf(stderr, "winnow: %s\n", wn_error_message());
    else if (json)
        print_json(&search);
    else
        print_search(&search);
    release(&search);
    return status == WN_OK ? 0 : 2;
}
