/* SPDX-License-Identifier: Apache-2.0 */
/* show_print.c: the forms in which `winnow show` prints points. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "show.h"

/* ---- cells ---- */

static void number_text(double value, char *text, size_t size)
{
    if (isnan(value))
        snprintf(text, size, "-");
    else if (floor(value) == value && fabs(value) < 1e6)
        snprintf(text, size, "%.0f", value);
    else
        snprintf(text, size, fabs(value) >= 1e5 ? "%.3e" : fabs(value) >= 100 ? "%.1f" : "%.4g", value);
}

/* Behind what a cell has already, unless there is none. */
static void append_number(const struct wn_shown *shown, int column, int64_t point, const char *before,
                          const char *behind, char *text, size_t size)
{
    if (column < 0 || isnan(shown->columns[column].numbers[point]))
        return;
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%.2g%s", before, shown->columns[column].numbers[point], behind);
}

/* For people: four digits, "-" where there is nothing, "1.23 ± 0.04 (0.1)" with its standard error and its spread. */
static void cell_text(const struct wn_shown *shown, int column, int64_t point, char *text, size_t size)
{
    const struct wn_shown_column *at = &shown->columns[column];
    if (at->text) {
        snprintf(text, size, "%s", at->texts[point][0] ? at->texts[point] : "-");
        return;
    }
    number_text(at->numbers[point], text, size);
    if (isnan(at->numbers[point]))
        return;
    if (at->error_shown)
        append_number(shown, at->error, point, " ± ", "", text, size);
    append_number(shown, at->spread, point, " (", ")", text, size);
}

/* Whether a column of its own says which points are not done. */
static bool has_open_points(const struct wn_shown *shown)
{
    for (int c = 0; c < shown->n_columns; c++)
        if (shown->columns[c].shown && shown->columns[c].status)
            return false;
    for (int64_t i = 0; i < shown->n_rows; i++)
        if (strcmp(shown->status[shown->rows[i]], "done"))
            return true;
    return false;
}

/* All that is printed as text; column 0 is the number of the point. */
static void fill_table(const struct wn_shown *shown, struct wn_grid_table *table)
{
    char text[512];
    int next = 0;
    wn_grid_table_init(table, (int)shown->n_rows + 1, shown->n_columns + 2);
    wn_grid_table_set(table, 0, next, "point");
    table->right[next] = true;
    for (int64_t i = 0; i < shown->n_rows; i++)
        wn_grid_table_set(table, (int)i + 1, next, "%lld", (long long)shown->rows[i]);
    next++;
    if (has_open_points(shown)) {
        wn_grid_table_set(table, 0, next, "status");
        for (int64_t i = 0; i < shown->n_rows; i++)
            wn_grid_table_set(table, (int)i + 1, next, "%s", shown->status[shown->rows[i]]);
        next++;
    }
    for (int c = 0; c < shown->n_columns; c++) {
        if (!shown->columns[c].shown)
            continue;
        wn_grid_table_set(table, 0, next, "%s", shown->columns[c].name);
        table->right[next] = !shown->columns[c].text;
        for (int64_t i = 0; i < shown->n_rows; i++) {
            cell_text(shown, c, shown->rows[i], text, sizeof text);
            wn_grid_table_set(table, (int)i + 1, next, "%s", text);
        }
        next++;
    }
    table->columns = next; /* those behind were never set */
}

/* ---- text that fits ---- */

/* Columns that are repeated in every part: what a point is, as long as it takes half of a line at most. */
static int leading_columns(const struct wn_shown *shown, const struct wn_grid_table *table, const int *widths,
                           int width)
{
    int axes = table->columns, used = 0, leading = 0;
    for (int c = 0; c < shown->n_columns; c++)
        axes -= shown->columns[c].shown && !shown->columns[c].axis;
    while (leading < axes && used + widths[leading] + 2 <= width / 2)
        used += widths[leading++] + 2;
    return leading ? leading : 1;
}

static void print_fitting(const struct wn_shown *shown, struct wn_grid_table *table, int width)
{
    int *widths = wn_alloc(table->columns, sizeof *widths), all = 0;
    for (int c = 0; c < table->columns; c++) {
        widths[c] = wn_grid_table_width(table, c);
        all += widths[c] + (c ? 2 : 0);
    }
    if (!width || all <= width) {
        wn_grid_table_print(table);
        wn_free(widths);
        return;
    }
    int leading = leading_columns(shown, table, widths, width), lead = 0;
    for (int c = 0; c < leading; c++)
        lead += widths[c] + 2;
    for (int first = leading; first < table->columns;) {
        int end = first, used = lead - 2;
        while (end < table->columns && (end == first || used + 2 + widths[end] <= width))
            used += 2 + widths[end++];
        if (first > leading)
            printf("\n");
        wn_grid_table_print_part(table, leading, first, end);
        first = end;
    }
    wn_free(widths);
}

/* The only value of an axis that is not shown; false when no point has one. */
static bool common_value(const struct wn_shown *shown, int column, char *text, size_t size)
{
    for (int64_t i = 0; i < shown->n_rows; i++) {
        cell_text(shown, column, shown->rows[i], text, size);
        if (strcmp(text, "-"))
            return true;
    }
    return false;
}

/* What all points have in common need not stand in every row. */
static void print_common(const struct wn_shown *shown, int width)
{
    char text[512];
    int used = 0;
    for (int c = 0; c < shown->n_columns && shown->n_rows > 1; c++) {
        const struct wn_shown_column *column = &shown->columns[c];
        if (!column->axis || column->shown || !common_value(shown, c, text, sizeof text))
            continue;
        int length = (int)(strlen(column->name) + strlen(text)) + 3;
        if (!used)
            used = printf("\nwherever it applies:") - 1;
        else
            used += printf(",");
        if (width && used + length > width)
            used = printf("\n ") - 1;
        used += printf(" %s %s", column->name, text);
    }
    if (used)
        printf("\n");
}

static void print_draws(const struct wn_shown *shown)
{
    for (int c = 0; c < shown->n_columns; c++)
        if (shown->columns[c].shown && shown->columns[c].spread >= 0) {
            printf("\nmeans of draws, in brackets their standard deviation; --draws shows single ones\n");
            return;
        }
}

static void print_reasons(const struct wn_shown *shown)
{
    int reason = -1;
    for (int c = 0; c < shown->n_columns; c++)
        if (!strcmp(shown->columns[c].path, "/points/reason"))
            reason = c;
    for (int64_t i = 0; reason >= 0 && i < shown->n_rows; i++)
        if (!strcmp(shown->status[shown->rows[i]], "failed"))
            printf("point %lld failed: %s\n", (long long)shown->rows[i], shown->columns[reason].texts[shown->rows[i]]);
}

/* ---- for programs and papers ---- */

static void print_quoted(const char *text)
{
    if (!strpbrk(text, ",\"\n\r")) {
        printf("%s", text);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

/* All 17 digits, so that a program reads back the bits of the file; nothing for what is missing. */
static void print_csv_cell(const struct wn_shown_column *column, int64_t point)
{
    putchar(',');
    if (column->text)
        print_quoted(column->texts[point]);
    else if (!isnan(column->numbers[point]))
        printf("%.17g", column->numbers[point]);
}

/* The columns that go with one: its standard error where it is asked for, and its spread, unless they are shown
 * themselves. */
static int companions(const struct wn_shown *shown, const struct wn_shown_column *column, int found[2])
{
    int count = 0;
    if (column->error_shown && column->error >= 0 && !shown->columns[column->error].shown)
        found[count++] = column->error;
    if (column->spread >= 0 && !shown->columns[column->spread].shown)
        found[count++] = column->spread;
    return count;
}

static void print_csv(const struct wn_shown *shown)
{
    int with[2];
    printf("point,status");
    for (int c = 0; c < shown->n_columns; c++) {
        const struct wn_shown_column *column = &shown->columns[c];
        if (!column->shown || column->status)
            continue;
        printf(",%s", column->name);
        for (int i = 0, count = companions(shown, column, with); i < count; i++)
            printf(",%s", shown->columns[with[i]].name);
    }
    printf("\n");
    for (int64_t i = 0; i < shown->n_rows; i++) {
        printf("%lld,%s", (long long)shown->rows[i], shown->status[shown->rows[i]]);
        for (int c = 0; c < shown->n_columns; c++) {
            const struct wn_shown_column *column = &shown->columns[c];
            if (!column->shown || column->status)
                continue;
            print_csv_cell(column, shown->rows[i]);
            for (int k = 0, count = companions(shown, column, with); k < count; k++)
                print_csv_cell(&shown->columns[with[k]], shown->rows[i]);
        }
        printf("\n");
    }
}

static void print_escaped(const char *text, const char *special)
{
    for (; *text; text++) {
        if (!strncmp(text, "±", 2) && strchr(special, '_')) {
            printf("$\\pm$");
            text++; /* of its two bytes */
            continue;
        }
        if (strchr(special, *text))
            putchar('\\');
        putchar(*text);
    }
}

static void print_row(const struct wn_grid_table *table, int row, const char *begin, const char *between,
                      const char *end, const char *special)
{
    printf("%s", begin);
    for (int c = 0; c < table->columns; c++) {
        if (c)
            printf("%s", between);
        print_escaped(table->cells[row][c] ? table->cells[row][c] : "", special);
    }
    printf("%s\n", end);
}

static void print_markdown(const struct wn_grid_table *table)
{
    for (int r = 0; r < table->rows; r++) {
        print_row(table, r, "| ", " | ", " |", "|");
        for (int c = 0; r == 0 && c < table->columns; c++)
            printf(table->right[c] ? "| ---: " : "| --- ");
        if (r == 0)
            printf("|\n");
    }
}

static void print_latex(const struct wn_grid_table *table)
{
    printf("\\begin{tabular}{");
    for (int c = 0; c < table->columns; c++)
        putchar(table->right[c] ? 'r' : 'l');
    printf("}\n\\toprule\n");
    for (int r = 0; r < table->rows; r++) {
        print_row(table, r, "", " & ", " \\\\", "_%&#$");
        if (r == 0)
            printf("\\midrule\n");
    }
    printf("\\bottomrule\n\\end{tabular}\n");
}

void wn_show_print(const struct wn_shown *shown, enum wn_show_form form, int width)
{
    struct wn_grid_table table;
    if (form == WN_SHOW_CSV) {
        print_csv(shown);
        return;
    }
    fill_table(shown, &table);
    if (form == WN_SHOW_MARKDOWN)
        print_markdown(&table);
    else if (form == WN_SHOW_LATEX)
        print_latex(&table);
    else
        print_fitting(shown, &table, width);
    wn_grid_table_release(&table);
    if (form == WN_SHOW_TEXT && !shown->columns_asked) {
        print_common(shown, width);
        print_draws(shown);
        print_reasons(shown);
    }
}
