/* SPDX-License-Identifier: Apache-2.0 */
/* show_fold.c: points that differ in their draw alone as one row of `winnow show`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "show.h"

/* Axes that choose a draw of what is the same otherwise. */
static bool is_draw(const char *name)
{
    return !strcmp(name, "replicate") || !strcmp(name, "perturb_seed");
}

bool wn_show_names_draw(const char *text)
{
    return text && (strstr(text, "replicate") || strstr(text, "perturb_seed"));
}

/* ---- which points are draws of one cell ---- */

struct keyed {
    char *key;
    int64_t point;
};

/* All that the sweep asked for, but for the draw. */
static char *key_of(const struct wn_shown *shown, int64_t point)
{
    struct wn_text key = {0};
    wn_text_printf(&key, "%s", ""); /* a text even without axes */
    for (int c = 0; c < shown->n_columns; c++) {
        const struct wn_shown_column *column = &shown->columns[c];
        if (!column->axis || is_draw(column->name))
            continue;
        if (column->text)
            wn_text_printf(&key, "%s\n", column->texts[point]);
        else
            wn_text_printf(&key, "%.17g\n", column->numbers[point]);
    }
    return key.data;
}

static int compare_keys(const void *left, const void *right)
{
    const struct keyed *a = left, *b = right;
    int order = strcmp(a->key, b->key);
    return order ? order : (a->point > b->point) - (a->point < b->point);
}

static bool has_draws(const struct wn_shown *shown)
{
    for (int c = 0; c < shown->n_columns; c++) {
        const struct wn_shown_column *column = &shown->columns[c];
        for (int64_t i = 0; column->axis && is_draw(column->name) && i < shown->points; i++)
            if (column->numbers[i] > 0)
                return true;
    }
    return false;
}

/* ---- what is said of them together ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && !strcmp(text + length - wanted, end);
}

static int add_column(struct wn_shown *shown, char *path)
{
    double *numbers = wn_alloc(shown->points, sizeof *numbers);
    for (int64_t i = 0; i < shown->points; i++)
        numbers[i] = NAN;
    shown->columns = wn_resize(shown->columns, shown->n_columns + 1, sizeof *shown->columns);
    shown->columns[shown->n_columns] = (struct wn_shown_column){
        .path = path, .name = wn_strdup(strchr(path + 1, '/') + 1), .error = -1, .spread = -1, .numbers = numbers};
    return shown->n_columns++;
}

/* The column that counts draws stands behind the axes, as one of them; what chooses a draw is none any more. */
static int add_count(struct wn_shown *shown)
{
    int last = add_column(shown, wn_strdup("/points/draws")), at = 0;
    struct wn_shown_column count = shown->columns[last];
    for (int c = 0; c < last; c++)
        at = shown->columns[c].axis ? c + 1 : at;
    memmove(&shown->columns[at + 1], &shown->columns[at], (size_t)(last - at) * sizeof count);
    count.axis = true;
    shown->columns[at] = count;
    for (int c = 0; c <= last; c++) {
        shown->columns[c].error += shown->columns[c].error >= at;
        shown->columns[c].axis = shown->columns[c].axis && !is_draw(shown->columns[c].name);
    }
    return at;
}

/* Every score gets a column of its standard deviation. */
static void add_spreads(struct wn_shown *shown)
{
    int before = shown->n_columns;
    for (int c = 0; c < before; c++) {
        const char *path = shown->columns[c].path;
        if (shown->columns[c].text || strncmp(path, "/scores/", 8) || ends_with(path, "_stderr"))
            continue;
        int spread = add_column(shown, wn_format("%s_draws", path));
        shown->columns[c].spread = spread;
    }
}

/* Numbers become their mean, standard errors their root mean square, texts that differ nothing. */
static void fold_column(struct wn_shown *shown, int c, const struct keyed *draws, int64_t count)
{
    struct wn_shown_column *column = &shown->columns[c];
    int64_t first = draws[0].point;
    double sum = 0, squares = 0;
    if (column->text) {
        bool same = true;
        for (int64_t i = 1; i < count; i++)
            same = same && !strcmp(column->texts[first], column->texts[draws[i].point]);
        if (!same)
            column->texts[first][0] = 0;
        return;
    }
    bool root = ends_with(column->path, "_stderr");
    for (int64_t i = 0; i < count; i++) {
        double value = column->numbers[draws[i].point];
        sum += root ? value * value : value;
    }
    double mean = sum / (double)count;
    for (int64_t i = 0; i < count; i++) {
        double rest = column->numbers[draws[i].point] - mean;
        squares += rest * rest;
    }
    if (column->spread >= 0)
        shown->columns[column->spread].numbers[first] = sqrt(squares / (double)(count - 1));
    column->numbers[first] = is_draw(column->name) ? NAN : root ? sqrt(mean) : mean;
}

void wn_show_fold(struct wn_shown *shown)
{
    int64_t done = 0;
    if (!has_draws(shown))
        return;
    struct keyed *keyed = wn_alloc(shown->points, sizeof *keyed);
    for (int64_t i = 0; i < shown->points; i++)
        if (!strcmp(shown->status[i], "done"))
            keyed[done++] = (struct keyed){.key = key_of(shown, i), .point = i};
    qsort(keyed, (size_t)done, sizeof *keyed, compare_keys);
    int counted = add_count(shown), columns = shown->n_columns;
    add_spreads(shown);
    for (int64_t first = 0, end; first < done; first = end) {
        for (end = first + 1; end < done && !strcmp(keyed[first].key, keyed[end].key);)
            end++;
        for (int c = 0; c < columns && end - first > 1; c++)
            if (!shown->columns[c].axis) /* of these, draws have the same, and a mean may be another number */
                fold_column(shown, c, &keyed[first], end - first);
        shown->columns[counted].numbers[keyed[first].point] = (double)(end - first);
    }
    shown->n_rows = 0; /* what is not done, and the first of every group, which has a count */
    for (int64_t i = 0; i < shown->points; i++)
        if (strcmp(shown->status[i], "done") || !isnan(shown->columns[counted].numbers[i]))
            shown->rows[shown->n_rows++] = i;
    for (int64_t i = 0; i < done; i++)
        wn_free(keyed[i].key);
    wn_free(keyed);
}
