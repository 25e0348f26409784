/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where stop strings and EOS tokens end a text: characters that are split over tokens, runs of byte tokens, bytes 0,
 * ids without a token. With the argument FILE, lines {"tokenizer", "ids", "stops", "eos"} of drawn cases, whose results
 * are printed: tokens, end, text in hexadecimal (check_stops.py computes the same).
 */
#include <cjson/cJSON.h>

#include <winnow/data.h>
#include <winnow/generate.h>

#include "../tokenizer/test_tokenizer.h"
#include "test.h"

/* As wn_generate_batch does with tokens that a model has chosen: how many there are at the end, and which end. */
static int64_t tokens_until_end(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, int64_t *end)
{
    *end = WN_END_LIMIT;
    for (int64_t count = 1; count <= prompt->count; count++) {
        int64_t stop = wn_find_stop(tokenizer, prompt, prompt->ids, count);
        if (stop < 0)
            continue;
        *end = WN_END_STOP + stop;
        return count;
    }
    return prompt->count;
}

/* ---- by hand ---- */

/* After how many tokens (-1: never) a stop string ends the text, and the text; NULL: whatever it is. */
static void check(const struct wn_tokenizer *tokenizer, const int32_t *ids, int64_t count, const char *stop,
                  int64_t tokens, const char *text)
{
    char *stops[] = {(char *)stop};
    const struct wn_prompt prompt = {.ids = (int32_t *)ids, .count = count, .n_stops = 1, .stops = stops};
    int64_t end, found = tokens_until_end(tokenizer, &prompt, &end);

    CHECK(found == (tokens < 0 ? count : tokens) && end == (tokens < 0 ? WN_END_LIMIT : WN_END_STOP));
    char *made = wn_generated_text(tokenizer, &prompt, ids, found);
    if (text)
        CHECK_TEXT(made, text);
    wn_free(made);
}

static void check_by_hand(void)
{
    /* Bytes are tokens 3 to 258; 259 is "a", 260 "bc"; 261 to 299 are no tokens. */
    struct wn_text json = {0};
    struct wn_tokenizer *tokenizer;
    char row[32];

    wn_text_append(&json, "", 0);
    const char *head = "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"merges\":[],"
                       "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"a\":259,\"bc\":260,\"last\":300";
    wn_text_append(&json, head, strlen(head));
    for (int byte = 0; byte < 256; byte++) {
        int length = snprintf(row, sizeof row, ",\"<0x%02X>\":%d", byte, byte + 3);
        wn_text_append(&json, row, (size_t)length);
    }
    const char *tail = "}},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":"
                       "\"Fuse\"}]}}";
    wn_text_append(&json, tail, strlen(tail));
    CHECK_OK(test_open(json.data, NULL, &tokenizer));
    wn_text_release(&json);
    if (!tokenizer)
        return;

    /* Six times U+20AC as bytes: whatever window begins inside of the run, all of it would be no characters. */
    int32_t euros[18];
    for (int i = 0; i < 18; i++)
        euros[i] = 3 + (uint8_t) "\xE2\x82\xAC"[i % 3];
    check(tokenizer, euros, 18, "\xE2\x82\xAC\xE2\x82\xAC", 6, "");
    const int32_t letters[] = {259, 229, 133, 175, 229, 133, 175, 229, 133, 175, 229, 133, 175, 260};
    check(tokenizer, letters, 14,
          "\xE2\x82\xAC"
          "b",
          14, "a\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC");

    /* Ids without a token between the two halves of a stop string. */
    const int32_t holes[] = {259, 270, 271, 272, 273, 274, 275, 276, 277, 278, 260};
    check(tokenizer, holes, 11, "ab", 11, "");

    /* The same where the last tokens are looked at first: in them the run begins inside of a character. */
    int32_t many[182] = {[181] = 260};
    for (int i = 0; i < 181; i++)
        many[i] = i ? euros[(i - 1) % 3] : 259;
    check(tokenizer, many, 182,
          "\xE2\x82\xAC"
          "b",
          182, NULL);
    for (int i = 1; i < 181; i++)
        many[i] = 270;
    check(tokenizer, many, 182, "ab", 182, "");

    /* A byte 0 does not end the text. */
    const int32_t zero[] = {259, 3, 260, 259, 259};
    check(tokenizer, zero, 5, "ca", 4,
          "a\xEF\xBF\xBD"
          "b");
    check(tokenizer, zero, 5, "x", -1,
          "a\xEF\xBF\xBD"
          "bcaa");
    wn_tokenizer_close(&tokenizer);
}

/* ---- drawn ---- */

static bool is_in(const cJSON *list, int32_t id)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, list)
        if (item->valueint == id)
            return true;
    return false;
}

static void print_case(const struct wn_tokenizer *tokenizer, const cJSON *row)
{
    const cJSON *ids = cJSON_GetObjectItem(row, "ids"), *stops = cJSON_GetObjectItem(row, "stops");
    const cJSON *eos = cJSON_GetObjectItem(row, "eos"), *item;
    struct wn_prompt prompt = {.n_stops = cJSON_GetArraySize(stops)};
    struct wn_ids list = {0};
    int64_t end, count = 0;

    prompt.stops = wn_alloc(prompt.n_stops + 1, sizeof *prompt.stops);
    cJSON_ArrayForEach (item, stops)
        prompt.stops[count++] = item->valuestring;
    cJSON_ArrayForEach (item, ids) { /* an EOS ends the text before its stop strings are looked at */
        if (is_in(eos, item->valueint))
            break;
        wn_ids_append(&list, item->valueint);
    }
    prompt.ids = list.data;
    prompt.count = list.count;
    count = tokens_until_end(tokenizer, &prompt, &end);
    if (item && end == WN_END_LIMIT) {
        end = WN_END_EOS;
        wn_ids_append(&list, item->valueint);
        count++;
    }
    char *text = wn_generated_text(tokenizer, &prompt, list.data, count);
    printf("%lld %lld ", (long long)count, (long long)end);
    for (const char *at = text; *at; at++)
        printf("%02x", (uint8_t)*at);
    printf("\n");
    wn_free(text);
    wn_free(prompt.stops);
    wn_ids_release(&list);
}

static void print_cases(const char *path)
{
    cJSON *golden = test_golden();
    struct wn_tokenizer *tokenizer = NULL;
    struct wn_documents rows;
    char *name = wn_strdup("");

    CHECK_OK(wn_documents_open(path, true, &rows));
    for (int64_t i = 0; i < rows.count; i++) {
        cJSON *row;
        CHECK_OK(wn_documents_parse(&rows, i, &row));
        const char *wanted = cJSON_GetObjectItem(row, "tokenizer")->valuestring;
        if (strcmp(name, wanted)) {
            wn_tokenizer_close(&tokenizer);
            char *text = test_golden_file(golden, wanted);
            CHECK_OK(test_open(text, NULL, &tokenizer));
            free(text);
            wn_free(name);
            name = wn_strdup(wanted);
        }
        print_case(tokenizer, row);
        cJSON_Delete(row);
    }
    wn_free(name);
    wn_tokenizer_close(&tokenizer);
    wn_documents_close(&rows);
    cJSON_Delete(golden);
}

int main(int argc, char **argv)
{
    test_make_folder();
    if (argc > 1)
        print_cases(argv[1]);
    else
        check_by_hand();
    test_remove_folder();
    return test_finish();
}
