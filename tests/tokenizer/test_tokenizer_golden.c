/*
 * One small constructed tokenizer per component (make_tokenizer_golden.py) against what the reference engine makes of
 * difficult texts.
 */
#include "test_tokenizer.h"

struct rows {
    const cJSON *golden;
    const char *name;
    const struct wn_tokenizer *tokenizer;
    int64_t count;
};

static wn_status check_row(void *context, const char *path, int64_t line, const cJSON *row)
{
    struct rows *rows = context;
    const cJSON *file =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(rows->golden, "tokenizers"), rows->name);
    bool decodes = !cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(file, "decoder")) || !strcmp(rows->name, "null");
    const cJSON *special = cJSON_GetObjectItemCaseSensitive(row, "special");
    const cJSON *decoded = cJSON_GetObjectItemCaseSensitive(row, "decoded");
    const cJSON *ids = cJSON_GetObjectItemCaseSensitive(row, "ids");

    (void)path;
    (void)line;
    if (strcmp(cJSON_GetObjectItemCaseSensitive(row, "tokenizer")->valuestring, rows->name) != 0)
        return WN_OK;
    rows->count++;
    const char *text = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(rows->golden, "texts"),
                                          cJSON_GetObjectItemCaseSensitive(row, "text")->valueint)
                           ->valuestring;
    test_encoding(rows->tokenizer, rows->name, text, ids, special ? special : ids,
                  decoded   ? decoded->valuestring
                  : decodes ? text
                            : NULL);
    return WN_OK;
}

static void check_tokenizer(const cJSON *golden, const char *name)
{
    struct rows rows = {.golden = golden, .name = name};
    struct wn_tokenizer *tokenizer = NULL;
    char *file = test_golden_file(golden, name), *path = test_path("tests/tokenizer/golden/encodings.jsonl");

    CHECK_OK(test_open(file, NULL, &tokenizer));
    rows.tokenizer = tokenizer;
    if (tokenizer)
        CHECK_OK(wn_jsonl_read(path, check_row, &rows));
    CHECK(rows.count >= 15);
    wn_tokenizer_close(&tokenizer);
    wn_free(path);
    free(file);
}

int main(void)
{
    cJSON *golden = test_golden();
    const cJSON *tokenizer;

    test_make_folder();
    cJSON_ArrayForEach (tokenizer, cJSON_GetObjectItemCaseSensitive(golden, "tokenizers"))
        check_tokenizer(golden, tokenizer->string);
    test_remove_folder();
    cJSON_Delete(golden);
    return test_finish();
}
