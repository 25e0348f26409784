/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer.model without tokenizer.json, with the files beside it, against what transformers makes of them
 * (make_sentencepiece_golden.py); damaged files. With an argument: the models and cases of that folder.
 */
#include "test_tokenizer.h"

static const char *const beside[] = {"config.json", "tokenizer_config.json", "special_tokens_map.json",
                                     "added_tokens.json"};

static void write_files(const cJSON *files)
{
    for (int i = 0; i < 4; i++) {
        const cJSON *file = cJSON_GetObjectItemCaseSensitive(files, beside[i]);
        char *text = file ? cJSON_PrintUnformatted(file) : NULL;
        test_write(beside[i], text, text ? strlen(text) : 0);
        cJSON_free(text);
    }
}

/* The bytes of golden/NAME.model; owned by the caller. */
static char *read_model(const char *folder, const char *name, int64_t *length)
{
    char *file = wn_format("%s.model", name), *path = wn_join_path(folder, file), *bytes = NULL;

    CHECK_OK(wn_read_text(path, &bytes, length));
    wn_free(file);
    wn_free(path);
    return bytes;
}

static const char *text_of(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key)->valuestring;
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

static bool same_texts(const struct wn_tokenizer *tokenizer, const cJSON *case_, const cJSON *texts)
{
    const cJSON *text, *ids = cJSON_GetObjectItem(case_, "ids")->child;
    const cJSON *back = cJSON_GetObjectItem(case_, "decoded")->child;
    bool same = true;

    cJSON_ArrayForEach (text, texts) {
        struct wn_ids found = {0};
        struct wn_text decoded = {0};
        CHECK_OK(wn_encode(tokenizer, text->valuestring, (int64_t)strlen(text->valuestring), true, &found));
        CHECK_OK(wn_decode(tokenizer, found.data, found.count, false, &decoded));
        same = same && test_same_ids(&found, ids) && !strcmp(decoded.data ? decoded.data : "", back->valuestring);
        wn_ids_release(&found);
        wn_text_release(&decoded);
        ids = ids->next;
        back = back->next;
    }
    return same;
}

static void check_case(const char *folder, const cJSON *case_, const cJSON *texts)
{
    struct wn_tokenizer *tokenizer = NULL;
    int64_t length;
    char *model = read_model(folder, text_of(case_, "model"), &length);

    write_files(cJSON_GetObjectItem(case_, "files"));
    test_write(text_of(case_, "under"), model, (size_t)length);
    wn_status status = wn_tokenizer_open(test_folder, &tokenizer);
    if (status != WN_OK || !same_ends(tokenizer, case_) || !same_texts(tokenizer, case_, texts)) {
        char *shown = cJSON_PrintUnformatted(case_);
        test_failures++;
        fprintf(stderr, "a case differs (%s): %.1500s\n", status == WN_OK ? "ids" : wn_error_message(), shown);
        cJSON_free(shown);
    }
    wn_tokenizer_close(&tokenizer);
    test_write(text_of(case_, "under"), NULL, 0);
    wn_free(model);
}

/* "tokenizer": "file" of a sweep: the ids of SentencePiece itself. */
static void check_own(const char *folder, const cJSON *own)
{
    static const char config[] = "{\"add_bos_token\":false,\"tokenizer_class\":\"LlamaTokenizer\"}";
    const cJSON *model, *text;

    test_write("tokenizer_config.json", config, sizeof config - 1);
    cJSON_ArrayForEach (model, cJSON_GetObjectItem(own, "ids")) {
        struct wn_tokenizer *tokenizer = NULL;
        const cJSON *ids = model->child;
        int64_t length;
        char *bytes = read_model(folder, model->string, &length);
        test_write("tokenizer.model", bytes, (size_t)length);
        CHECK_OK(wn_tokenizer_open_file(test_folder, &tokenizer));
        cJSON_ArrayForEach (text, cJSON_GetObjectItem(own, "texts")) {
            test_encoding(tokenizer, model->string, text->valuestring, ids, ids, NULL);
            ids = ids->next;
        }
        wn_tokenizer_close(&tokenizer);
        wn_free(bytes);
    }
    test_write("tokenizer_config.json", NULL, 0);
}

static void check_cases(const char *folder)
{
    char *path = wn_join_path(folder, "cases.json");
    cJSON *golden = NULL;
    const cJSON *case_;
    int64_t count = 0;

    CHECK_OK(wn_json_read(path, false, &golden));
    cJSON_ArrayForEach (case_, cJSON_GetObjectItem(golden, "cases")) {
        check_case(folder, case_, cJSON_GetObjectItem(golden, "texts"));
        count++;
    }
    CHECK(count >= 80);
    write_files(NULL);
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetObjectItem(golden, "own"), "ids")) == 4);
    check_own(folder, cJSON_GetObjectItem(golden, "own"));
    cJSON_Delete(golden);
    wn_free(path);
}

/* An id that is there twice renames its piece twice: the last name stays, and nothing is left behind (test_finish). */
static void check_renamed_twice(const char *folder)
{
    static const char config[] =
        "{\"added_tokens_decoder\":{\"7\":{\"content\":\"<one>\"},\"07\":{\"content\":\"<two>\"}}}";
    struct wn_tokenizer *tokenizer = NULL;
    int64_t length;
    char *model = read_model(folder, "bpe_rules", &length);

    test_write("tokenizer_config.json", config, sizeof config - 1);
    test_write("tokenizer.model", model, (size_t)length);
    CHECK_OK(wn_tokenizer_open(test_folder, &tokenizer));
    CHECK(wn_token_id(tokenizer, "<two>") == 7);
    wn_tokenizer_close(&tokenizer);
    test_write("tokenizer_config.json", NULL, 0);
    wn_free(model);
}

/* A file that is cut off anywhere, or has another byte somewhere, opens or ends in one line. */
static void check_damage(const char *folder)
{
    struct wn_tokenizer *tokenizer = NULL;
    int64_t length, refused = 0;
    char *model = read_model(folder, "bpe_rules", &length);

    for (int64_t i = 0; i < length; i += 7) {
        char kept = model[i];
        test_write("tokenizer.model", model, (size_t)i);
        CHECK(wn_tokenizer_open(test_folder, &tokenizer) != WN_OK || i > 0);
        wn_tokenizer_close(&tokenizer);
        model[i] = (char)(kept ^ 0x55);
        test_write("tokenizer.model", model, (size_t)length);
        if (wn_tokenizer_open(test_folder, &tokenizer) != WN_OK) {
            refused++;
            CHECK_MESSAGE("tokenizer.model: ");
            CHECK(strchr(wn_error_message(), '\n') == NULL);
        }
        wn_tokenizer_close(&tokenizer);
        model[i] = kept;
    }
    CHECK(refused >= 10);
    wn_free(model);
}

static void check_refused(const char *bytes, size_t length, const char *message)
{
    struct wn_tokenizer *tokenizer = NULL;

    test_write("tokenizer.model", bytes, length);
    CHECK(wn_tokenizer_open(test_folder, &tokenizer) == WN_ERR_INPUT);
    CHECK(tokenizer == NULL);
    CHECK_MESSAGE("tokenizer.model: not a SentencePiece model: ");
    CHECK_MESSAGE(message);
}

static void check_lines(void)
{
    check_refused("", 0, "no piece at byte 0");
    check_refused("IQ== 0\nIg== 1\n", 14, "at byte"); /* tiktoken's */
    check_refused("\x0a\x03\x0a\x05x", 5, "it is cut off at byte 4");
    check_refused("\x0a\x03\x0a\x01\xff", 5, "a text is empty or no valid UTF-8 at byte 5");
    check_refused("\x0a\x05\x15\x00\x00\x80\x3f", 7, "a piece has no text at byte 7");
    check_refused("\x0a\x08\x0a\x01x\x15\x00\x00\xc0\x7f", 10, "a score is not finite at byte 10");
    check_refused("\x0a\x03\x0a\x01x\x12\x02\x18", 8, "it is cut off");
}

int main(int count, char **arguments)
{
    char *standard = test_path("tests/tokenizer/golden/sentencepiece");
    const char *folder = count > 1 ? arguments[1] : standard;

    test_make_folder();
    check_cases(folder);
    check_renamed_twice(standard);
    check_damage(folder);
    check_lines();
    test_write("tokenizer.model", NULL, 0);
    test_remove_folder();
    wn_free(standard);
    return test_finish();
}
