/* SPDX-License-Identifier: Apache-2.0 */
/* show_choose.c: which columns and rows `winnow show` prints. */
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/results.h>

#include "command.h"
#include "show.h"

/* ---- names ---- */

static bool is_last_part(const char *name, const char *part)
{
    const char *slash = strrchr(name, '/');
    return slash && !strcmp(slash + 1, part);
}

static void tell_unknown(const struct wn_shown *shown, const char *name)
{
    const char **names = wn_alloc(shown->n_columns, sizeof *names);
    for (int c = 0; c < shown->n_columns; c++)
        names[c] = shown->columns[c].name;
    const char *near = wn_suggest(name, names, shown->n_columns);
    fprintf(stderr,
            near ? "winnow: show: there is no column \"%s\"; did you mean \"%s\"?\n"
                 : "winnow: show: there is no column \"%s\"; winnow show --all prints all\n",
            name, near);
    wn_free(names);
}

/* A column may be asked for by the name it had in older versions. */
static const char *name_now(const char *name)
{
    char *path = wn_format("/points/%s", name);
    const char *now = wn_results_path_now(path), *found = now == path ? name : strrchr(now, '/') + 1;
    wn_free(path);
    return found;
}

int wn_show_find(const struct wn_shown *shown, const char *name)
{
    int found = -1, count = 0;
    name = name_now(name);
    for (int c = 0; c < shown->n_columns; c++)
        if (!strcmp(shown->columns[c].name, name))
            return c;
    for (int c = 0; c < shown->n_columns; c++)
        if (is_last_part(shown->columns[c].name, name)) {
            found = found < 0 ? c : found;
            count++;
        }
    if (count == 1)
        return found;
    if (count)
        fprintf(stderr, "winnow: show: %d columns are called \"%s\"; say which, like \"%s\"\n", count, name,
                shown->columns[found].name);
    else
        tell_unknown(shown, name);
    return -1;
}

/* Calls for every part of a list between `stop` characters; false as soon as a call is. */
static bool each_part(const char *list, char stop, bool (*use)(void *context, const char *part), void *context)
{
    bool good = true;
    for (const char *at = list; good && *at;) {
        const char *end = strchr(at, stop);
        char *part = wn_strndup(at, end ? (size_t)(end - at) : strlen(at));
        good = !*part || use(context, part);
        at = end ? end + 1 : at + strlen(at);
        wn_free(part);
    }
    return good;
}

/* ---- columns ---- */

static bool show_named(void *context, const char *name)
{
    struct wn_shown *shown = context;
    bool pattern = strpbrk(name, "*?"), any = false;
    for (int c = 0; pattern && c < shown->n_columns; c++)
        if (!fnmatch(name, shown->columns[c].name, 0))
            any = shown->columns[c].shown = true;
    if (pattern && !any)
        fprintf(stderr, "winnow: show: no column fits \"%s\"; winnow show --all prints all\n", name);
    if (pattern)
        return any;
    int column = wn_show_find(shown, name);
    if (column >= 0)
        shown->columns[column].shown = true;
    return column >= 0;
}

bool wn_show_columns(struct wn_shown *shown, const char *list)
{
    shown->columns_asked = true;
    for (int c = 0; c < shown->n_columns; c++)
        shown->columns[c].shown = false;
    return each_part(list, ',', show_named, shown);
}

static bool is_missing(const struct wn_shown_column *column, int64_t row)
{
    return column->text ? !column->texts[row][0] : isnan(column->numbers[row]);
}

static bool is_equal(const struct wn_shown_column *column, int64_t a, int64_t b)
{
    if (column->text)
        return !strcmp(column->texts[a], column->texts[b]);
    return column->numbers[a] == column->numbers[b] || (isnan(column->numbers[a]) && isnan(column->numbers[b]));
}

/* Whether two rows have different values there, both of them one. */
static bool has_several_values(const struct wn_shown *shown, const struct wn_shown_column *column)
{
    int64_t first = -1;
    for (int64_t i = 0; i < shown->n_rows; i++) {
        int64_t point = shown->rows[i];
        if (is_missing(column, point))
            continue;
        if (first >= 0 && !is_equal(column, first, point))
            return true;
        first = first < 0 ? point : first;
    }
    return false;
}

/* Points in an order in which those that cannot be told apart lie beside each other; qsort has no context. */
static const struct wn_shown *compared;

static int compare_values(const struct wn_shown_column *column, int64_t a, int64_t b)
{
    if (is_equal(column, a, b))
        return 0;
    if (column->text)
        return strcmp(column->texts[a], column->texts[b]);
    if (isnan(column->numbers[a]) || isnan(column->numbers[b]))
        return isnan(column->numbers[a]) ? 1 : -1;
    return column->numbers[a] < column->numbers[b] ? -1 : 1;
}

static int compare_shown_axes(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    int order = 0;
    for (int c = 0; c < compared->n_columns && !order; c++)
        if (compared->columns[c].axis && compared->columns[c].shown)
            order = compare_values(&compared->columns[c], a, b);
    return order;
}

/* Whether two points are equal in all axes that are shown, and differ in this one. */
static bool tells_apart(const struct wn_shown *shown, const struct wn_shown_column *column, int64_t *order)
{
    memcpy(order, shown->rows, (size_t)shown->n_rows * sizeof *order);
    compared = shown;
    qsort(order, (size_t)shown->n_rows, sizeof *order, compare_shown_axes);
    for (int64_t i = 1; i < shown->n_rows; i++)
        if (!compare_shown_axes(&order[i - 1], &order[i]) && !is_equal(column, order[i - 1], order[i]))
            return true;
    return false;
}

/* What people look for even where it is the same in all points. */
static bool is_usual(const struct wn_shown_column *column)
{
    return !strcmp(column->name, "method") || !strcmp(column->name, "sparsity") || !strcmp(column->name, "bits");
}

bool wn_show_is_empty(const struct wn_shown *shown, const struct wn_shown_column *column)
{
    for (int64_t i = 0; i < shown->n_rows; i++)
        if (!is_missing(column, shown->rows[i]))
            return false;
    return true;
}

void wn_show_axes(struct wn_shown *shown)
{
    int64_t *order = wn_alloc(shown->points, sizeof *order);
    for (int c = 0; c < shown->n_columns; c++) {
        struct wn_shown_column *column = &shown->columns[c];
        if (column->axis)
            column->shown = has_several_values(shown, column) || (is_usual(column) && !wn_show_is_empty(shown, column));
    }
    for (int c = 0; c < shown->n_columns; c++) {
        struct wn_shown_column *column = &shown->columns[c];
        if (column->axis && !column->shown)
            column->shown = tells_apart(shown, column, order);
    }
    wn_free(order);
}

/* ---- rows ---- */

struct condition {
    const struct wn_shown *shown;
    const struct wn_shown_column *column;
    char operation[3];
    const char *values;
    int64_t row;
    bool fits;
};

static bool fits_value(void *context, const char *value)
{
    struct condition *condition = context;
    const struct wn_shown_column *column = condition->column;
    char *end, first = condition->operation[0];
    bool inclusive = condition->operation[1] == '=' || first == '=';
    if (column->text) {
        condition->fits = condition->fits || !strcmp(column->texts[condition->row], value);
        return true;
    }
    double number = column->numbers[condition->row], wanted = strtod(value, &end);
    bool fits =
        (inclusive && number == wanted) || (first == '<' && number < wanted) || (first == '>' && number > wanted);
    condition->fits = condition->fits || fits;
    return true;
}

static bool is_number(void *context, const char *value)
{
    char *end;
    (void)context;
    strtod(value, &end);
    return !*end;
}

/* "sparsity>=0.5": the column, the operation, and what is behind it. */
static bool read_condition(struct condition *condition, const char *text)
{
    size_t length = strcspn(text, "=<>!"), wide = strspn(text + length, "=<>!");
    char *name = wn_strndup(text, length);
    bool known = wide == 1 ? strchr("=<>", text[length]) != NULL
                           : wide == 2 && strchr("<>!", text[length]) && text[length + 1] == '=';
    int column = known ? wn_show_find(condition->shown, name) : -1;
    wn_free(name);
    if (!known)
        fprintf(stderr, "winnow: show: --where: expected NAME=VALUE (or !=, <, <=, >, >=), got \"%s\"\n", text);
    if (column < 0)
        return false;
    condition->column = &condition->shown->columns[column];
    snprintf(condition->operation, sizeof condition->operation, "%.*s", (int)wide, text + length);
    condition->values = text + length + wide;
    if (!condition->column->text && !each_part(condition->values, '|', is_number, NULL))
        fprintf(stderr, "winnow: show: --where: \"%s\" holds numbers, got \"%s\"\n", condition->column->name,
                condition->values);
    else if (condition->column->text && strchr("<>", condition->operation[0]))
        fprintf(stderr, "winnow: show: --where: \"%s\" holds texts, which have no order\n", condition->column->name);
    else
        return true;
    return false;
}

static bool keep_fitting(void *context, const char *text)
{
    struct wn_shown *shown = context;
    struct condition condition = {.shown = shown};
    int64_t kept = 0;
    if (!read_condition(&condition, text))
        return false;
    bool wanted = condition.operation[0] != '!';
    for (int64_t i = 0; i < shown->n_rows; i++) {
        condition.row = shown->rows[i];
        condition.fits = false;
        each_part(condition.values, '|', fits_value, &condition);
        if (condition.fits == wanted)
            shown->rows[kept++] = shown->rows[i];
    }
    shown->n_rows = kept;
    return true;
}

bool wn_show_where(struct wn_shown *shown, const char *conditions)
{
    return each_part(conditions, ',', keep_fitting, shown);
}

static const struct wn_shown_column *sorted_by;
static int direction;

static int compare_rows(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    bool no_a = is_missing(sorted_by, a), no_b = is_missing(sorted_by, b);
    int order = no_a || no_b ? no_a - no_b : direction * compare_values(sorted_by, a, b);
    return order ? order : (a > b) - (a < b);
}

bool wn_show_sort(struct wn_shown *shown, const char *name)
{
    int column = wn_show_find(shown, name + (*name == '-'));
    if (column < 0)
        return false;
    sorted_by = &shown->columns[column];
    direction = *name == '-' ? -1 : 1;
    qsort(shown->rows, (size_t)shown->n_rows, sizeof *shown->rows, compare_rows);
    return true;
}
