/* SPDX-License-Identifier: Apache-2.0 */
/* A template, a calibration set of a sweep, and the file it names: what it holds is told by its content, or by its
 * name. */
#include <cjson/cJSON.h>
#include <string.h>

#include <winnow/data.h>

#include "fuzz.h"

static void read_documents(const char *path)
{
    static const char *const fields[] = {"text", "content", NULL};
    struct wn_documents documents;
    struct wn_text text = {0};

    if (wn_documents_open(path, false, &documents) != WN_OK)
        return;
    for (int64_t d = 0; d < documents.count; d++)
        wn_documents_text(&documents, d, fields, &text);
    wn_text_release(&text);
    wn_documents_close(&documents);
}

static void render(const struct fuzz_part *part)
{
    char *template_ = wn_strndup(part->data, part->length);
    cJSON *pair = cJSON_Parse("{\"instruction\": \"Add.\", \"input\": \"1 and 2\", \"output\": \"3\"}");
    struct wn_text text = {0};

    if (wn_template_check(template_) == WN_OK && wn_template_render(template_, pair, &text) != WN_OK)
        WN_BUG("%s", wn_error_message());
    wn_text_release(&text);
    cJSON_Delete(pair);
    wn_free(template_);
}

static void build(const cJSON *set)
{
    struct wn_problems problems;
    struct wn_calibration calibration;
    struct wn_model *model;

    wn_problems_init(&problems);
    wn_calibration_check(fuzz_folder(), "set", set, &problems);
    const cJSON *samples = cJSON_GetObjectItemCaseSensitive(set, "samples");
    bool small = cJSON_IsNumber(samples) && samples->valuedouble <= 64;
    if (problems.count == 0 && small) {
        if (wn_model_open(WN_SOURCE_DIR "/tests/model/reference/llama_grouped", NULL, &model) != WN_OK)
            WN_BUG("%s", wn_error_message());
        if (wn_calibration_build(fuzz_folder(), "set", set, model, &calibration) == WN_OK)
            wn_calibration_release(&calibration);
        wn_model_close(&model);
    }
    wn_problems_release(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part parts[3];

    fuzz_split(data, size, parts, 3);
    render(&parts[0]);
    read_documents(fuzz_write("file.txt", parts[2].data, parts[2].length));
    read_documents(fuzz_write("file.jsonl", parts[2].data, parts[2].length));
    cJSON *set = cJSON_ParseWithLength(parts[1].data, parts[1].length);
    if (set)
        build(set);
    cJSON_Delete(set);
    fuzz_check_memory();
    return 0;
}
