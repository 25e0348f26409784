/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_config.json, special_tokens_map.json, added_tokens.json and the class of the tokenizer against what
 * transformers makes of them (make_config_golden.py). With an argument: cases of that file.
 */
#include "test_tokenizer.h"

static void write_files(const cJSON *files)
{
    static const char *const names[] = {"config.json", "tokenizer_config.json", "special_tokens_map.json",
                                        "added_tokens.json"};

    for (int i = 0; i < 4; i++) {
        const cJSON *file = cJSON_GetObjectItemCaseSensitive(files, names[i]);
        char *text = file ? cJSON_PrintUnformatted(file) : NULL;
        test_write(names[i], text, text ? strlen(text) : 0);
        cJSON_free(text);
    }
}

static int32_t id_or_none(const cJSON *id)
{
    return cJSON_IsNumber(id) ? id->valueint : -1;
}

/* Without names for both, winnow takes the token that a template starts with. */
static bool same_ends(const struct wn_tokenizer *tokenizer, const cJSON *case_)
{
    int32_t bos = id_or_none(cJSON_GetObjectItem(case_, "bos")), eos = id_or_none(cJSON_GetObjectItem(case_, "eos"));

    return wn_eos_id(tokenizer) == eos && (wn_bos_id(tokenizer) == bos || (bos < 0 && eos < 0));
}

static bool check_case(const struct wn_tokenizer *tokenizer, const cJSON *case_, const cJSON *texts)
{
    const cJSON *text, *ids = cJSON_GetObjectItem(case_, "ids")->child;
    bool same = same_ends(tokenizer, case_);

    cJSON_ArrayForEach (text, texts) {
        struct wn_ids found = {0};
        CHECK_OK(wn_encode(tokenizer, text->valuestring, (int64_t)strlen(text->valuestring), true, &found));
        same = same && test_same_ids(&found, ids);
        wn_ids_release(&found);
        ids = ids->next;
    }
    return same;
}

static int64_t check_cases(const cJSON *golden, const cJSON *configs)
{
    const cJSON *case_, *texts = cJSON_GetObjectItem(configs, "texts");
    int64_t count = 0;

    cJSON_ArrayForEach (case_, cJSON_GetObjectItem(configs, "cases")) {
        struct wn_tokenizer *tokenizer = NULL;
        char *file = test_golden_file(golden, cJSON_GetObjectItem(case_, "tokenizer")->valuestring);
        write_files(cJSON_GetObjectItem(case_, "files"));
        test_write("tokenizer.json", file, strlen(file));
        wn_status status = wn_tokenizer_open(test_folder, &tokenizer);
        if (status != WN_OK || !check_case(tokenizer, case_, texts)) {
            char *shown = cJSON_PrintUnformatted(case_);
            test_failures++;
            fprintf(stderr, "case %lld differs (%s): %.1500s\n", (long long)count,
                    status == WN_OK ? "ids" : wn_error_message(), shown);
            cJSON_free(shown);
        }
        wn_tokenizer_close(&tokenizer);
        free(file);
        count++;
    }
    return count;
}

int main(int count, char **arguments)
{
    char *path = count > 1 ? wn_strdup(arguments[1]) : test_path("tests/tokenizer/golden/configs.json");
    cJSON *golden = test_golden(), *configs = NULL;

    test_make_folder();
    CHECK_OK(wn_json_read(path, false, &configs));
    CHECK(check_cases(golden, configs) >= 100);
    write_files(NULL);
    test_remove_folder();
    cJSON_Delete(golden);
    cJSON_Delete(configs);
    wn_free(path);
    return test_finish();
}
