/* SPDX-License-Identifier: Apache-2.0 */
/* The format of request files in words and as JSON Schema, from the tables of the kinds. */
#include <winnow/eval.h>

#include <cjson/cJSON.h>

#include <string.h>

static void help_metrics(const struct wn_task_kind *task, struct wn_text *text)
{
    int width = 0;

    for (int m = 0; m < task->n_metrics; m++)
        width = (int)strlen(task->metrics[m].name) > width ? (int)strlen(task->metrics[m].name) : width;
    for (int m = 0; m < task->n_metrics; m++)
        wn_text_printf(text, "  %-*s  %s%s\n", width, task->metrics[m].name, task->metrics[m].help,
                       m < task->n_standard ? " (default)" : "");
}

static void help_kind(const struct wn_eval *kind, struct wn_text *text)
{
    struct wn_keys item[2];
    int count = wn_requests_item_keys(kind->task, item);

    wn_text_printf(text, "\n%s: %s\n", kind->name, kind->help);
    if (kind->task->delimiter)
        wn_text_printf(text, " header, besides the above: delimiter (default \"%s\")\n", kind->task->delimiter);
    if (kind->task->header.count > 0) {
        wn_text_printf(text, " header, besides the above\n");
        wn_keys_help(&kind->task->header, 1, text);
    }
    wn_text_printf(text, " items\n");
    wn_keys_help(item, count, text);
    wn_text_printf(text, " metrics\n");
    help_metrics(kind->task, text);
}

void wn_requests_help(struct wn_text *text)
{
    int64_t count;
    const struct wn_eval *const *table = wn_eval_table(&count);
    struct wn_keys entry = wn_requests_entry_keys(), header = wn_requests_header_keys_common();

    wn_text_printf(
        text, "A task is a request file: JSON lines, UTF-8. Its first line may be a header, an object with the key "
              "\"task\"; without one it is a multiple_choice task named by its file. All other lines are items. "
              "Unknown keys are mistakes.\n\n"
              "  {\"task\": \"capitals\", \"kind\": \"multiple_choice\", \"dimension\": \"knowledge\"}\n"
              "  {\"context\": \"The capital of Peru is\", \"choices\": [\"Lima\", "
              "\"Quito\"], \"gold\": 0}\n\n"
              "header\n");
    wn_keys_help(&header, 1, text);
    wn_text_printf(text, "\nsweep file, evaluate.tasks: a list of paths or objects, or an object of them by name\n");
    wn_keys_help(&entry, 1, text);
    for (int64_t k = 0; k < count; k++)
        if (table[k]->task)
            help_kind(table[k], text);
    wn_text_printf(text, "\nEach score has its standard error over items as NAME_stderr; items with groups give "
                         "NAME_by_group and NAME_group_mean. Where the main (first) metric is 0 or 1 for each item, "
                         "flips against the dense model are counted.\n");
}

/* ---- JSON Schema ---- */

static void add_reference(cJSON *any, const char *part, const char *kind)
{
    char *text = wn_format("#/$defs/%s.%s", part, kind);
    cJSON *reference = cJSON_CreateObject();

    cJSON_AddStringToObject(reference, "$ref", text);
    cJSON_AddItemToArray(any, reference);
    wn_free(text);
}

/* The names of the metrics, and the name of the kind, which only multiple_choice may leave out. */
static void narrow_header(cJSON *schema, const struct wn_eval *kind)
{
    cJSON *properties = cJSON_GetObjectItem(schema, "properties"), *named = cJSON_GetObjectItem(properties, "kind");
    cJSON *entries = cJSON_CreateObject(), *names = cJSON_AddArrayToObject(entries, "enum");

    for (int m = 0; m < kind->task->n_metrics; m++)
        cJSON_AddItemToArray(names, cJSON_CreateString(kind->task->metrics[m].name));
    cJSON_ReplaceItemInObject(cJSON_GetObjectItem(properties, "metrics"), "items", entries);
    cJSON_AddStringToObject(named, "const", kind->name);
    if (strcmp(kind->name, "multiple_choice") != 0)
        cJSON_AddItemToArray(cJSON_GetObjectItem(schema, "required"), cJSON_CreateString("kind"));
}

static void add_kind(cJSON *definitions, cJSON *any, const struct wn_eval *kind)
{
    struct wn_keys header[3], item[2];
    int headers = wn_requests_header_keys(kind->task, header), items = wn_requests_item_keys(kind->task, item);
    char *header_name = wn_format("header.%s", kind->name), *item_name = wn_format("item.%s", kind->name);
    cJSON *schema = wn_keys_schema(header, headers);

    narrow_header(schema, kind);
    cJSON_AddItemToObject(definitions, header_name, schema);
    cJSON_AddItemToObject(definitions, item_name, wn_keys_schema(item, items));
    add_reference(any, "header", kind->name);
    add_reference(any, "item", kind->name);
    wn_free(header_name);
    wn_free(item_name);
}

void wn_requests_schema(struct wn_text *text)
{
    int64_t count;
    const struct wn_eval *const *table = wn_eval_table(&count);
    cJSON *schema = cJSON_CreateObject(), *any, *definitions;

    cJSON_AddStringToObject(schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(schema, "title", "one line of a winnow request file");
    any = cJSON_AddArrayToObject(schema, "anyOf");
    definitions = cJSON_AddObjectToObject(schema, "$defs");
    for (int64_t k = 0; k < count; k++)
        if (table[k]->task)
            add_kind(definitions, any, table[k]);
    char *printed = cJSON_Print(schema);
    wn_text_printf(text, "%s\n", printed);
    cJSON_free(printed);
    cJSON_Delete(schema);
}
