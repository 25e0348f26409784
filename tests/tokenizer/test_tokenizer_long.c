/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long text made into ids part by part has the ids of the whole: real tokenizers and constructed ones of every
 * component, real text and random strings of what is difficult, in parts so small that there are many cuts.
 */
#include "test_tokenizer.h"
#include "tokenizer/tokenizer_impl.h"

/* clang-format off */
static const char *const bits[] = {
    "a", "the", " house", " of", "It's", "we'll", "'S", "don't", " ", "  ", "   ", "\n", "\n\n", " \n", "\r\n", "\t",
    "1", "23", "4567", " 8", ".", ",", "...", "!?", " -- ", "(", ")", "_", "e\xcc\x81", " \xcc\x81", "\xc3\xa9",
    "\xc3\x9f", "\xe1\x84\x80\xe1\x85\xa1", "\xea\xb0\x80", "\xe1\x86\xa8", "\xe4\xb8\xad\xe6\x96\x87",
    "\xf0\x9f\x98\x80", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac", "\xc2\xa0", "\xe2\x80\x83", "\xe3\x80\x80",
    "\xe2\x96\x81", ("a\xe2\x96\x81" "b"), "\xcf\x83\xcf\x82", "\xd8\xb3\xd9\x84\xd8\xa7\xd9\x85",
    "                        ", " x y z", " a b", "Z z", "a\xcc\x88 b", "\xef\xac\x81", "\xe2\x84\xab",
};
/* clang-format on */

/* Rare, since no text is cut near one. */
static const char *const tokens[] = {"<s>", "</s>", " <s> ", "<|endoftext|>", "<|endof", "<unk>", "s>"};

enum { BITS = sizeof bits / sizeof bits[0], TOKENS = sizeof tokens / sizeof tokens[0], ROUNDS = 12 };

/* Half of the bits are short words, so that there are places to cut. */
static void make_text(uint64_t seed, int64_t count, struct wn_text *text)
{
    text->length = 0;
    for (int64_t i = 0; i < count; i++) {
        uint64_t draw = wn_random_u64(seed, 7, (uint64_t)i);
        if (draw & 1) {
            const char *bit = draw >> 40 & 511 ? bits[(draw >> 1) % BITS] : tokens[(draw >> 1) % TOKENS];
            wn_text_append(text, bit, strlen(bit));
        } else {
            char word[3] = {' ', (char)('a' + (draw >> 1) % 26), (char)('a' + (draw >> 8) % 26)};
            wn_text_append(text, word, sizeof word);
        }
    }
}

/* Returns the number of cuts. */
static int64_t compare(const struct wn_tokenizer *tokenizer, const char *name, const struct wn_text *text, size_t part)
{
    struct wn_ids whole = {0}, parts = {0};
    int64_t none, cuts = 0;
    CHECK_OK(tok_encode(tokenizer, text->data, text->length, SIZE_MAX / 4, &none, &whole));
    CHECK_OK(tok_encode(tokenizer, text->data, text->length, part, &cuts, &parts));
    CHECK(none == 0);
    bool same = whole.count == parts.count && !memcmp(whole.data, parts.data, (size_t)whole.count * sizeof *whole.data);
    if (!same)
        fprintf(stderr, "%s: parts of %zu bytes have other ids than the whole\n", name, part);
    CHECK(same);
    wn_ids_release(&whole);
    wn_ids_release(&parts);
    return cuts;
}

static int64_t compare_random(const struct wn_tokenizer *tokenizer, const char *name, int64_t rounds)
{
    struct wn_text text = {0};
    int64_t cuts = 0;
    for (int64_t round = 0; round < rounds; round++) {
        make_text((uint64_t)round, 3000, &text);
        for (size_t part = 20; part < 4000; part *= 6)
            cuts += compare(tokenizer, name, &text, part);
    }
    wn_text_release(&text);
    return cuts;
}

static int64_t compare_file(const struct wn_tokenizer *tokenizer, const char *name, const char *file)
{
    struct wn_mapped mapped;
    struct wn_text text = {0};
    char *path = test_path(file);
    CHECK_OK(wn_map(path, &mapped));
    wn_text_append(&text, (const char *)mapped.data, (size_t)mapped.size);
    int64_t cuts = compare(tokenizer, name, &text, 50);
    wn_unmap(&mapped);
    wn_text_release(&text);
    wn_free(path);
    return cuts;
}

static void check_real(const char *directory, const char *name)
{
    struct wn_tokenizer *tokenizer = NULL;
    CHECK_OK(wn_tokenizer_open(directory, &tokenizer));
    CHECK(compare_random(tokenizer, name, ROUNDS) > 300);
    CHECK(compare_file(tokenizer, name, "sweeps/demo/data/general_eval.txt") > 500);
    CHECK(compare_file(tokenizer, name, "tests/data/documents.jsonl") > 0);
    wn_tokenizer_close(&tokenizer);
}

/* A cut would go between the words of such an added token: no cut may part it. Rare, as cuts keep away from it. */
static void check_across_cut(const char *token, bool normalized)
{
    static const char *const words[] = {" ef", " ab", " gh", "\n", " ij", " k"};
    enum { COUNT = sizeof words / sizeof words[0] };
    struct wn_tokenizer *tokenizer = NULL;
    struct wn_text text = {0};
    struct wn_ids ids = {0};
    cJSON *file = NULL;
    char *path = test_path("sweeps/demo/model/tokenizer.json");
    int64_t none, found = 0, cuts = 0;
    CHECK_OK(wn_json_read(path, false, &file));
    wn_free(path);
    cJSON *added = cJSON_GetObjectItemCaseSensitive(file, "added_tokens"), *item = cJSON_Duplicate(added->child, true);
    const double id = 100000;
    cJSON_ReplaceItemInObjectCaseSensitive(item, "id", cJSON_CreateNumber(id));
    cJSON_ReplaceItemInObjectCaseSensitive(item, "content", cJSON_CreateString(token));
    cJSON_ReplaceItemInObjectCaseSensitive(item, "normalized", cJSON_CreateBool(normalized));
    cJSON_ReplaceItemInObjectCaseSensitive(item, "special", cJSON_CreateBool(false));
    cJSON_AddItemToArray(added, item);
    char *json = cJSON_PrintUnformatted(file);
    CHECK_OK(test_open(json, NULL, &tokenizer));
    for (int64_t i = 0; i < 20000; i++) {
        const char *word = i % 300 == 299 ? " ab cd" : words[wn_random_u64(3, 7, (uint64_t)i) % COUNT];
        wn_text_append(&text, word, strlen(word));
    }
    for (size_t part = 20; part < 4000; part *= 3)
        cuts += compare(tokenizer, token, &text, part);
    CHECK(cuts > 100);
    /* An added token has the next free id, whatever the file says. */
    CHECK_OK(tok_encode(tokenizer, token, strlen(token), SIZE_MAX / 4, &none, &ids));
    CHECK(ids.count == 1 && ids.data[0] != 0);
    const int32_t own = ids.count ? ids.data[0] : -1;
    ids.count = 0;
    CHECK_OK(tok_encode(tokenizer, text.data, text.length, SIZE_MAX / 4, &none, &ids));
    for (int64_t i = 0; i < ids.count; i++)
        found += ids.data[i] == own;
    CHECK(found > 50);
    wn_ids_release(&ids);
    wn_text_release(&text);
    wn_tokenizer_close(&tokenizer);
    cJSON_free(json);
    cJSON_Delete(file);
}

int main(void)
{
    static const char *const families[] = {"llama", "gpt2", "gpt_neox_20b", "dolma2_cl100k"};
    cJSON *golden = test_golden();
    const cJSON *one;
    int64_t cuts = 0;
    char *demo = test_path("sweeps/demo/model");
    check_real(demo, "demo");
    wn_free(demo);
    test_make_folder();
    cJSON_ArrayForEach (one, cJSON_GetObjectItemCaseSensitive(golden, "tokenizers")) {
        struct wn_tokenizer *tokenizer = NULL;
        char *file = test_golden_file(golden, one->string);
        CHECK_OK(test_open(file, NULL, &tokenizer));
        cuts += compare_random(tokenizer, one->string, 2);
        wn_tokenizer_close(&tokenizer);
        free(file);
    }
    CHECK(cuts > 1000);
    for (int normalized = 0; normalized <= 1; normalized++)
        check_across_cut("ab cd", normalized);
    test_remove_folder();
    cJSON_Delete(golden);
    for (int i = 0; i < 4; i++) {
        char *path = wn_format("data/tokenizers/%s", families[i]), *directory = test_shared(path);
        if (access(directory, R_OK) == 0)
            check_real(directory, families[i]);
        else if (test_failures == 0)
            test_skip("the published tokenizers are absent; all others passed");
        wn_free(path);
        wn_free(directory);
    }
    return test_finish();
}
