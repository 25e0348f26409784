/* show.c: `winnow show`: the table of points, for people or as JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

struct column {
    char path[192];
    bool text;
    char **texts;    /* [points] */
    double *numbers; /* [points] */
};

struct show {
    struct wn_results_reader *reader;
    int64_t points;
    uint8_t *status;
    int n_columns;
    struct column *columns;
    bool all;
};

/* The main metric of a task: what its request file says is in the provenance. False for a set that is no task. */
static bool main_metric(struct wn_results_reader *reader, const char *set, int length, char metric[64])
{
    char *name = wn_format("task_%.*s", length, set), *text = NULL;
    bool found = wn_results_read_fact(reader, name, &text) == WN_OK;
    cJSON *facts = found ? cJSON_Parse(text) : NULL;
    const char *main = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(facts, "main_metric"));
    snprintf(metric, 64, "%s", main ? main : "");
    cJSON_Delete(facts);
    wn_free(text);
    wn_free(name);
    return found;
}

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

/* What a person looks at first; --all shows every column. */
static bool is_headline(struct wn_results_reader *reader, const char *path)
{
    static const char *const point_columns[] = {"method",      "sparsity",        "pattern",   "bits",
                                                "group",       "alpha",           "threshold", "calibration",
                                                "propagation", "bits_per_weight", "seconds",   "model"};
    static const char *const divergences[] = {"kl_mean", "js_mean", "top1_agreement"};
    static const char *const of_texts[] = {"perplexity", "word_perplexity", "acc"};
    const char *name = strrchr(path, '/') + 1, *set = strchr(path + 1, '/') + 1;
    char metric[64];
    if (!strncmp(path, "/points/", 8))
        return is_one_of(name, point_columns, sizeof point_columns / sizeof point_columns[0]);
    if (is_one_of(name, divergences, sizeof divergences / sizeof divergences[0]))
        return true;
    if (main_metric(reader, set, (int)(name - 1 - set), metric))
        return !strcmp(name, metric);
    return is_one_of(name, of_texts, sizeof of_texts / sizeof of_texts[0]);
}

static void add_column(void *context, const char *path, const char *unit, const char *description, bool text)
{
    struct show *show = context;
    (void)unit;
    (void)description;
    if (!show->all && !is_headline(show->reader, path))
        return;
    show->columns = wn_resize(show->columns, show->n_columns + 1, sizeof *show->columns);
    struct column *column = &show->columns[show->n_columns++];
    *column = (struct column){.text = text};
    snprintf(column->path, sizeof column->path, "%s", path);
}

static wn_status read_columns(struct show *show)
{
    int64_t rows;
    for (int c = 0; c < show->n_columns; c++) {
        struct column *column = &show->columns[c];
        if (column->text)
            WN_TRY(wn_results_read_texts(show->reader, column->path, &column->texts, &rows));
        else
            WN_TRY(wn_results_read_numbers(show->reader, column->path, &column->numbers, &rows));
    }
    return WN_OK;
}

/* True when the column says nothing: all missing, or a text that is the same in every row. */
static bool is_dull(const struct show *show, const struct column *column)
{
    bool same = true;
    for (int64_t i = 0; i < show->points; i++) {
        if (!column->text && !isnan(column->numbers[i]))
            return false;
        if (column->text && strcmp(column->texts[i], column->texts[0]))
            same = false;
    }
    return column->text ? same : true;
}

static const char *status_word(uint8_t status)
{
    return status == WN_POINT_DONE ? "done" : status == WN_POINT_FAILED ? "failed" : "open";
}

/* "/scores/wikitext2/kl_mean" -> "wikitext2 kl_mean"; "/points/bits" -> "bits" */
static void heading(const char *path, char *text, size_t size)
{
    const char *group = strchr(path + 1, '/') + 1;
    snprintf(text, size, "%s", group);
    char *slash = strrchr(text, '/');
    if (slash)
        *slash = ' ';
}

static void set_number(struct wn_grid_table *table, int row, int column, double value)
{
    if (isnan(value))
        wn_grid_table_set(table, row, column, "-");
    else if (floor(value) == value && fabs(value) < 1e6)
        wn_grid_table_set(table, row, column, "%.0f", value);
    else
        wn_grid_table_set(table, row, column,
                          fabs(value) >= 1e5   ? "%.3e"
                          : fabs(value) >= 100 ? "%.1f"
                                               : "%.4g",
                          value);
}

static void print_table(const struct show *show)
{
    struct wn_grid_table table;
    int shown = 1;
    wn_grid_table_init(&table, (int)show->points + 1, show->n_columns + 1);
    wn_grid_table_set(&table, 0, 0, "status");
    for (int64_t i = 0; i < show->points; i++)
        wn_grid_table_set(&table, (int)i + 1, 0, "%s", status_word(show->status[i]));
    for (int c = 0; c < show->n_columns; c++) {
        const struct column *column = &show->columns[c];
        char title[192];
        if (!show->all && is_dull(show, column))
            continue;
        heading(column->path, title, sizeof title);
        wn_grid_table_set(&table, 0, shown, "%s", title);
        table.right[shown] = !column->text;
        for (int64_t i = 0; i < show->points; i++) {
            if (column->text)
                wn_grid_table_set(&table, (int)i + 1, shown, "%s", column->texts[i][0] ? column->texts[i] : "-");
            else
                set_number(&table, (int)i + 1, shown, column->numbers[i]);
        }
        shown++;
    }
    int made = table.columns;
    table.columns = shown;
    wn_grid_table_print(&table);
    table.columns = made;
    wn_grid_table_release(&table);
}

/* All 17 digits, so that a program reads back the bits of the file; null for what is missing. */
static void add_number(cJSON *row, const char *path, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    cJSON_AddRawToObject(row, path, isfinite(value) ? text : "null");
}

static void print_json(const struct show *show)
{
    cJSON *json = cJSON_CreateArray();
    for (int64_t i = 0; i < show->points; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "status", status_word(show->status[i]));
        for (int c = 0; c < show->n_columns; c++) {
            const struct column *column = &show->columns[c];
            if (column->text)
                cJSON_AddStringToObject(row, column->path, column->texts[i]);
            else
                add_number(row, column->path, column->numbers[i]);
        }
        cJSON_AddItemToArray(json, row);
    }
    char *text = cJSON_Print(json);
    printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(json);
}

static wn_status load(struct show *show, const char *path)
{
    WN_TRY(wn_results_read_open(path, &show->reader));
    show->points = wn_results_read_points(show->reader);
    show->status = wn_alloc_zero(show->points, 1);
    WN_TRY(wn_results_read_status(show->reader, show->status));
    WN_TRY(wn_results_read_list(show->reader, "/points", add_column, show));
    WN_TRY(wn_results_read_list(show->reader, "/scores", add_column, show));
    return read_columns(show);
}

int wn_command_show(const struct wn_command *command, int argc, char **argv)
{
    const char *path;
    bool json = false;
    const char *search = NULL;
    struct show show = {0};
    const struct wn_option options[] = {
        {"--json", NULL, NULL, &json}, {"--all", "-a", NULL, &show.all}, {"--search", NULL, &search, NULL}};
    int code;
    if (!wn_options_read(command, argc, argv, options, 3, &path, 1, &code))
        return code;
    if (search)
        return wn_show_search(path, search, json);
    show.all = show.all || json;
    wn_status status = load(&show, path);
    if (status != WN_OK)
        fprintf(stderr, "winnow: %s\n", wn_error_message());
    else if (json)
        print_json(&show);
    else
        print_table(&show);
    for (int c = 0; c < show.n_columns; c++) {
        wn_results_free_texts(&show.columns[c].texts, show.points);
        wn_free(show.columns[c].numbers);
    }
    wn_free(show.columns);
    wn_free(show.status);
    wn_results_read_close(&show.reader);
    return status == WN_OK ? 0 : 2;
}
