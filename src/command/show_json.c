/* SPDX-License-Identifier: Apache-2.0 */
/* show_json.c: points for programs, under the names that winnow.open has in Python. */
#include <math.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include <winnow/results.h>

#include "show.h"

/* All 17 digits, so that a program reads back the bits of the file. */
static void add_number(cJSON *row, const char *name, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    cJSON_AddRawToObject(row, name, isfinite(value) ? text : "null");
}

static cJSON *make_row(const struct wn_shown *shown, int64_t point)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddNumberToObject(row, "point", (double)point);
    cJSON_AddStringToObject(row, "status", shown->status[point]);
    for (int c = 0; c < shown->n_columns; c++) {
        const struct wn_shown_column *column = &shown->columns[c];
        if (!column->shown || column->status)
            continue;
        if (column->text)
            cJSON_AddStringToObject(row, column->name, column->texts[point]);
        else
            add_number(row, column->name, column->numbers[point]);
        if (column->spread >= 0 && !shown->columns[column->spread].shown)
            add_number(row, shown->columns[column->spread].name, shown->columns[column->spread].numbers[point]);
    }
    return row;
}

/* What the file says of itself. */
static wn_status add_facts(struct wn_results_reader *reader, cJSON *json)
{
    int32_t version;
    struct wn_texts names = {0};
    WN_TRY(wn_results_read_version(reader, &version));
    cJSON_AddNumberToObject(json, "schema_version", version);
    cJSON *provenance = cJSON_AddObjectToObject(json, "provenance");
    wn_status status = wn_results_read_facts(reader, &names);
    for (int64_t i = 0; status == WN_OK && i < names.count; i++) {
        char *text;
        status = wn_results_read_fact(reader, names.texts[i], &text);
        if (status == WN_OK)
            cJSON_AddStringToObject(provenance, names.texts[i], text);
        wn_free(text);
    }
    wn_texts_release(&names);
    return status;
}

wn_status wn_show_json(const struct wn_shown *shown, struct wn_results_reader *reader)
{
    cJSON *json = cJSON_CreateObject();
    wn_status status = add_facts(reader, json);
    cJSON *points = cJSON_AddArrayToObject(json, "points");
    for (int64_t i = 0; status == WN_OK && i < shown->n_rows; i++)
        cJSON_AddItemToArray(points, make_row(shown, shown->rows[i]));
    char *text = status == WN_OK ? cJSON_Print(json) : NULL;
    if (text)
        printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(json);
    return status;
}
