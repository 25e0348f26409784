/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One small constructed tokenizer per component (make_tokenizer_golden.py) against what the reference engine makes of
 * difficult texts. With an argument: what that folder holds.
 */
#include "test_tokenizer.h"

struct rows {
    const cJSON *golden;
    const char **texts; /* of the file, by their index */
    const char *name;   /* of the open tokenizer; borrowed */
    const cJSON *file;  /* its tokenizer.json, for `decoder` */
    struct wn_tokenizer *tokenizer;
    int64_t count, tokenizers;
};

static void open_next(struct rows *rows, const char *name)
{
    char *file = test_golden_file(rows->golden, name);

    wn_tokenizer_close(&rows->tokenizer);
    rows->file = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(rows->golden, "tokenizers"), name);
    rows->name = rows->file->string;
    rows->tokenizers++;
    CHECK(rows->tokenizers == 1 || rows->count >= 15);
    rows->count = 0;
    CHECK_OK(test_open(file, NULL, &rows->tokenizer));
    free(file);
}

static wn_status check_row(void *context, const char *path, int64_t line, const cJSON *row)
{
    struct rows *rows = context;
    const cJSON *special = cJSON_GetObjectItemCaseSensitive(row, "special");
    const cJSON *decoded = cJSON_GetObjectItemCaseSensitive(row, "decoded");
    const cJSON *ids = cJSON_GetObjectItemCaseSensitive(row, "ids");
    const char *name = cJSON_GetObjectItemCaseSensitive(row, "tokenizer")->valuestring;

    (void)path;
    (void)line;
    if (!rows->name || strcmp(name, rows->name) != 0)
        open_next(rows, name);
    rows->count++;
    if (!rows->tokenizer)
        return WN_OK;
    const char *text = rows->texts[cJSON_GetObjectItemCaseSensitive(row, "text")->valueint];
    bool decodes = !cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(rows->file, "decoder")) || !strcmp(name, "null");
    test_encoding(rows->tokenizer, name, text, ids, special ? special : ids,
                  decoded   ? decoded->valuestring
                  : decodes ? text
                            : NULL);
    return WN_OK;
}

static void check_folder(const char *folder)
{
    struct rows rows = {0};
    char *path = wn_join_path(folder, "encodings.jsonl");
    cJSON *golden = test_golden_of(folder);
    const cJSON *texts = cJSON_GetObjectItemCaseSensitive(golden, "texts"), *text;
    int64_t count = 0;

    rows.golden = golden;
    rows.texts = wn_alloc(cJSON_GetArraySize(texts), sizeof *rows.texts);
    cJSON_ArrayForEach (text, texts)
        rows.texts[count++] = text->valuestring;
    CHECK_OK(wn_jsonl_read(path, check_row, &rows));
    CHECK(rows.tokenizers == cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(golden, "tokenizers")));
    wn_tokenizer_close(&rows.tokenizer);
    wn_free(rows.texts);
    wn_free(path);
    cJSON_Delete(golden);
}

int main(int count, char **arguments)
{
    char *standard = test_path("tests/tokenizer/golden");

    test_make_folder();
    check_folder(count > 1 ? arguments[1] : standard);
    test_remove_folder();
    wn_free(standard);
    return test_finish();
}
