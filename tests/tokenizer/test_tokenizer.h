/* SPDX-License-Identifier: Apache-2.0 */
/* What the tokenizer tests share: a folder of their own for tokenizer files, and the constructed tokenizers. */
#ifndef TEST_TOKENIZER_H
#define TEST_TOKENIZER_H

#include <cjson/cJSON.h>

#include <winnow/io.h>
#include <winnow/tokenizer.h>

#include "test.h"

static char test_folder[512];

static inline void test_make_folder(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(test_folder, sizeof(test_folder), "%s/winnow-tokenizer-XXXXXX", base ? base : P_tmpdir);
    if (!mkdtemp(test_folder)) {
        fprintf(stderr, "%s cannot be made\n", test_folder);
        exit(1);
    }
}

/* Writes a file of the folder; NULL removes it. */
static inline void test_write(const char *name, const char *text, size_t length)
{
    char *path = wn_join_path(test_folder, name);

    unlink(path);
    FILE *file = text ? fopen(path, "wb") : NULL;
    if (file) {
        CHECK(fwrite(text, 1, length, file) == length);
        CHECK(fclose(file) == 0);
    }
    wn_free(path);
}

static inline void test_remove_folder(void)
{
    test_write("tokenizer.json", NULL, 0);
    test_write("tokenizer_config.json", NULL, 0);
    rmdir(test_folder);
}

/* Opens the folder with these texts as tokenizer.json and, unless NULL, tokenizer_config.json. */
static inline wn_status test_open(const char *json, const char *config, struct wn_tokenizer **tokenizer)
{
    test_write("tokenizer.json", json, strlen(json));
    test_write("tokenizer_config.json", config, config ? strlen(config) : 0);
    return wn_tokenizer_open(test_folder, tokenizer);
}

/* tokenizers.json of a folder; free with cJSON_Delete. */
static inline cJSON *test_golden_of(const char *folder)
{
    char *path = wn_join_path(folder, "tokenizers.json");
    cJSON *golden = NULL;

    CHECK_OK(wn_json_read(path, false, &golden));
    wn_free(path);
    return golden;
}

/* golden/tokenizers.json; free with cJSON_Delete. */
static inline cJSON *test_golden(void)
{
    char *folder = test_path("tests/tokenizer/golden");
    cJSON *golden = test_golden_of(folder);

    wn_free(folder);
    return golden;
}

/* The tokenizer.json of a constructed tokenizer, its shared parts put in; owned by the caller (free). */
static inline char *test_golden_file(const cJSON *golden, const char *name)
{
    const cJSON *parts = cJSON_GetObjectItemCaseSensitive(golden, "parts");
    const cJSON *tokenizers = cJSON_GetObjectItemCaseSensitive(golden, "tokenizers");
    cJSON *file = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(tokenizers, name), true);
    cJSON *model = cJSON_GetObjectItemCaseSensitive(file, "model");
    static const char *const keys[] = {"vocab", "merges"};

    for (int i = 0; i < 2; i++) {
        const cJSON *named = cJSON_GetObjectItemCaseSensitive(model, keys[i]);
        if (!named)
            continue;
        const char *part = named->valuestring;
        cJSON *value = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(parts, part), true);
        cJSON_ReplaceItemInObjectCaseSensitive(model, keys[i], value);
    }
    char *text = cJSON_PrintUnformatted(file);
    cJSON_Delete(file);
    return text;
}

/* Whether ids equal a JSON list. */
static inline bool test_same_ids(const struct wn_ids *ids, const cJSON *list)
{
    const cJSON *item = list ? list->child : NULL;

    for (int64_t i = 0; i < ids->count; i++, item = item->next)
        if (!item || item->valueint != ids->data[i])
            return false;
    return item == NULL;
}

/* Encodes and decodes `text` and compares with what the reference made of it; `decoded` NULL is not compared. */
static inline void test_encoding(const struct wn_tokenizer *tokenizer, const char *name, const char *text,
                                 const cJSON *ids, const cJSON *special, const char *decoded)
{
    struct wn_ids plain = {0}, with = {0};
    struct wn_text back = {0};
    int64_t length = (int64_t)strlen(text);

    CHECK_OK(wn_encode(tokenizer, text, length, false, &plain));
    CHECK_OK(wn_encode(tokenizer, text, length, true, &with));
    CHECK_OK(wn_decode(tokenizer, plain.data, plain.count, false, &back));
    if (!test_same_ids(&plain, ids) || !test_same_ids(&with, special)) {
        test_failures++;
        fprintf(stderr, "%s: other ids for \"%s\"\n", name, text);
    }
    if (decoded && strcmp(back.data ? back.data : "", decoded) != 0) {
        test_failures++;
        fprintf(stderr, "%s: decoded \"%s\", expected \"%s\"\n", name, back.data, decoded);
    }
    wn_ids_release(&plain);
    wn_ids_release(&with);
    wn_text_release(&back);
}

#endif
