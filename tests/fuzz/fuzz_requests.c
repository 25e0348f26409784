/* SPDX-License-Identifier: Apache-2.0 */
/* The entry of a task in a sweep, then its request file; when both are right the task is prepared for a small model. */
#include <cjson/cJSON.h>
#include <string.h>

#include <winnow/eval.h>

#include "fuzz.h"

static void read_items(const cJSON *entry)
{
    struct wn_requests requests;
    cJSON *item;

    if (wn_requests_open(fuzz_folder(), "task", entry, &requests) != WN_OK)
        return;
    for (int64_t i = 0; i < requests.count; i++) {
        if (wn_requests_item(&requests, i, &item) != WN_OK)
            continue;
        wn_free(wn_requests_id(item, i));
        cJSON_Delete(item);
    }
    wn_requests_close(&requests);
}

static void prepare(const struct wn_model *model, const struct wn_eval *kind, const cJSON *entry)
{
    struct wn_eval_set set;
    struct wn_schema schema;

    wn_eval_set_init(&set);
    wn_schema_init(&schema);
    if (kind->prepare(fuzz_folder(), "task", entry, model, &set) == WN_OK) {
        wn_eval_share(model, &set);
        wn_eval_fields(&set, &schema);
    }
    wn_schema_release(&schema);
    wn_eval_set_release(&set);
}

static void check(const struct wn_model *model, const cJSON *entry)
{
    struct wn_problems problems;
    char name[64];
    const struct wn_eval *kind = wn_requests_kind(fuzz_folder(), entry, name);

    wn_problems_init(&problems);
    kind->check(fuzz_folder(), "task", entry, &problems);
    if (problems.count == 0) {
        read_items(entry);
        prepare(model, kind, entry);
    }
    wn_problems_release(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wn_model *model;
    struct fuzz_part parts[2];

    fuzz_split(data, size, parts, 2);
    cJSON *entry = cJSON_ParseWithLength(parts[0].data, parts[0].length);
    if (!cJSON_IsObject(entry)) {
        cJSON_Delete(entry);
        entry = cJSON_CreateObject();
    }
    cJSON_DeleteItemFromObjectCaseSensitive(entry, "requests");
    cJSON_AddStringToObject(entry, "requests", "requests.jsonl");
    fuzz_write("requests.jsonl", parts[1].data, parts[1].length);
    if (wn_model_open(WN_SOURCE_DIR "/tests/model/reference/llama_grouped", NULL, &model) != WN_OK)
        WN_BUG("%s", wn_error_message());
    check(model, entry);
    wn_model_close(&model);
    cJSON_Delete(entry);
    fuzz_check_memory();
    return 0;
}
