/* SPDX-License-Identifier: Apache-2.0 */
/* JSON with and without comments, and JSON lines. */
#include <cjson/cJSON.h>
#include <string.h>

#include <winnow/io.h>

#include "fuzz.h"

/* What was taken must print as something that is taken again. */
static void check_json(const uint8_t *data, size_t size, bool comments)
{
    cJSON *json, *again;

    if (wn_json_parse("text", (const char *)data, (int64_t)size, comments, &json) != WN_OK) {
        if (!strcmp(wn_error_message(), "text: cJSON cannot build the tree")) /* other lines quote keys */
            WN_BUG("the scanner let through what cJSON does not take");
        return;
    }
    char *printed = cJSON_PrintUnformatted(json);
    if (printed && wn_json_parse("printed", printed, (int64_t)strlen(printed), false, &again) == WN_OK)
        cJSON_Delete(again);
    else if (printed)
        WN_BUG("%s", wn_error_message());
    cJSON_free(printed);
    cJSON_Delete(json);
}

static wn_status see_line(void *context, const char *path, int64_t line, const cJSON *object)
{
    int64_t *last = context;

    (void)path;
    if (!cJSON_IsObject(object) || line <= *last)
        WN_BUG("line %lld follows line %lld", (long long)line, (long long)*last);
    *last = line;
    return WN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t last = 0;

    check_json(data, size, false);
    check_json(data, size, true);
    wn_jsonl_read(fuzz_write("lines.jsonl", data, size), see_line, &last);
    fuzz_check_memory();
    return 0;
}
