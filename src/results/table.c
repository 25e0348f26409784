/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of columns known before the run, and lists of facts. */
#define _GNU_SOURCE /* vasprintf */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "results_internal.h"

void wn_table_init(struct wn_table *table, const char *group, const char *axis, int64_t rows)
{
    *table = (struct wn_table){.rows = rows};
    if (strlen(group) >= sizeof table->group || strlen(axis) >= sizeof table->axis)
        WN_BUG("the table name \"%s\" or its axis \"%s\" is too long", group, axis);
    strcpy(table->group, group);
    strcpy(table->axis, axis);
}

void wn_table_release(struct wn_table *table)
{
    for (int c = 0; c < table->n_columns; c++) {
        struct wn_column *column = &table->columns[c];
        wn_free(column->texts);
        wn_free(column->numbers);
    }
    wn_free(table->columns);
    wn_texts_release(&table->texts);
    table->columns = NULL;
    table->n_columns = 0;
}

struct wn_column *wn_table_add(struct wn_table *table, const char *name, bool numbers, const char *unit,
                               const char *description)
{
    for (int c = 0; c < table->n_columns; c++)
        if (!strcmp(table->columns[c].name, name))
            WN_BUG("the table %s has the column \"%s\" already", table->group, name);
    table->columns = wn_resize(table->columns, table->n_columns + 1, sizeof *table->columns);
    struct wn_column *column = &table->columns[table->n_columns++];
    *column = (struct wn_column){0};
    if (strlen(name) >= sizeof column->name)
        WN_BUG("the column name \"%s\" is too long", name);
    strcpy(column->name, name);
    snprintf(column->unit, sizeof column->unit, "%s", unit);
    snprintf(column->description, sizeof column->description, "%s", description);
    if (numbers)
        column->numbers = wn_alloc(table->rows, sizeof *column->numbers);
    else
        column->texts = wn_alloc(table->rows, sizeof *column->texts);
    for (int64_t i = 0; i < table->rows; i++) {
        if (numbers)
            column->numbers[i] = __builtin_nan("");
        else
            column->texts[i] = "";
    }
    return column;
}

void wn_table_set_text(struct wn_table *table, struct wn_column *column, int64_t row, const char *text)
{
    int64_t number = wn_texts_add(&table->texts, text);

    column->texts[row] = table->texts.texts[number];
}

void wn_facts_add(struct wn_facts *facts, const char *name, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    facts->facts = wn_resize(facts->facts, facts->count + 1, sizeof *facts->facts);
    facts->facts[facts->count++] =
        (struct wn_fact){.name = wn_strdup(name), .text = wn_strdup(length >= 0 ? text : "")};
    if (length >= 0)
        free(text);
}

void wn_facts_release(struct wn_facts *facts)
{
    for (int64_t i = 0; i < facts->count; i++) {
        wn_free(facts->facts[i].name);
        wn_free(facts->facts[i].text);
    }
    wn_free(facts->facts);
    *facts = (struct wn_facts){0};
}
