/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 4,000 drawn Unicode texts for every constructed tokenizer: ids, ids with special tokens and decoded texts have the
 * hash that the reference engine's have (drawn_texts.py). With arguments SEED COUNT [FOLDER ...] other texts are drawn
 * and the hashes printed, those of the tokenizers in folders too.
 */
#include "test_tokenizer.h"

enum { COUNT = 4000 };

/* ---- the texts ---- */

struct draw {
    uint64_t state;
    const cJSON *parts;
};

static int64_t below(struct draw *draw, int64_t count)
{
    uint64_t z = draw->state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (int64_t)(((z ^ z >> 31) >> 33) % (uint64_t)count);
}

static const cJSON *choose(struct draw *draw, const cJSON *list)
{
    return cJSON_GetArrayItem(list, (int)below(draw, cJSON_GetArraySize(list)));
}

static const cJSON *list_of(const struct draw *draw, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(draw->parts, name);
}

static void add_text(struct wn_text *text, const cJSON *item)
{
    wn_text_append(text, item->valuestring, strlen(item->valuestring));
}

static void add_code(struct wn_text *text, int64_t code)
{
    static const int heads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    int length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    char bytes[4];

    for (int i = length - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(heads[length] | code);
    wn_text_append(text, bytes, (size_t)length);
}

static void add_character(struct draw *draw, struct wn_text *text)
{
    const cJSON *block = choose(draw, list_of(draw, "blocks")), *run;
    int64_t total = 0;

    cJSON_ArrayForEach (run, block)
        total += run->child->next->valueint - run->child->valueint + 1;
    int64_t place = below(draw, total);
    cJSON_ArrayForEach (run, block) {
        int64_t length = run->child->next->valueint - run->child->valueint + 1;
        if (place < length) {
            add_code(text, run->child->valueint + place);
            return;
        }
        place -= length;
    }
}

static void add_part(struct draw *draw, struct wn_text *text)
{
    int64_t kind = below(draw, 100);

    if (kind < 62) {
        add_text(text, choose(draw, list_of(draw, kind < 30 ? "words" : kind < 55 ? "spaces" : "special")));
        return;
    }
    if (kind < 70) {
        for (int64_t left = 1 + below(draw, 5); left > 0; left--)
            add_text(text, choose(draw, list_of(draw, "signs")));
        return;
    }
    for (int64_t left = 1 + below(draw, 3); left > 0; left--)
        add_character(draw, text);
}

static void draw_texts(const cJSON *parts, uint64_t seed, int64_t count, struct wn_text *texts)
{
    struct draw draw = {seed, parts};

    for (int64_t i = 0; i < count; i++) {
        wn_text_append(&texts[i], "", 0);
        for (int64_t left = below(&draw, 17); left > 0; left--)
            add_part(&draw, &texts[i]);
    }
}

/* ---- their hashes ---- */

static void hash_ids(struct wn_hash *hash, struct wn_ids *ids)
{
    wn_ids_append(ids, -1);
    wn_hash_update(hash, ids->data, (size_t)ids->count * sizeof *ids->data);
    ids->count--;
}

static void hash_texts(const struct wn_tokenizer *tokenizer, const struct wn_text *texts, int64_t count,
                       char hex[WN_HASH_HEX])
{
    struct wn_hash *hash = wn_hash_create();
    uint8_t digest[32];

    for (int64_t i = 0; i < count; i++) {
        struct wn_ids plain = {0}, special = {0};
        struct wn_text back = {0};
        CHECK_OK(wn_encode(tokenizer, texts[i].data, (int64_t)texts[i].length, false, &plain));
        CHECK_OK(wn_encode(tokenizer, texts[i].data, (int64_t)texts[i].length, true, &special));
        CHECK_OK(wn_decode(tokenizer, plain.data, plain.count, false, &back));
        hash_ids(hash, &plain);
        hash_ids(hash, &special);
        wn_hash_update(hash, back.data ? back.data : "", back.length);
        wn_hash_update(hash, "", 1);
        wn_ids_release(&plain);
        wn_ids_release(&special);
        wn_text_release(&back);
    }
    wn_hash_finish(hash, digest);
    wn_hash_hex(digest, hex);
}

static void check_constructed(const cJSON *drawn, const struct wn_text *texts, int64_t count, bool print)
{
    cJSON *golden = test_golden();
    const cJSON *file;
    int64_t tokenizers = 0;

    cJSON_ArrayForEach (file, cJSON_GetObjectItemCaseSensitive(golden, "tokenizers")) {
        const cJSON *expected =
            cJSON_GetObjectItemCaseSensitive(list_of(&(struct draw){0, drawn}, "hashes"), file->string);
        struct wn_tokenizer *tokenizer = NULL;
        char *json = test_golden_file(golden, file->string), hex[WN_HASH_HEX];
        CHECK_OK(test_open(json, NULL, &tokenizer));
        hash_texts(tokenizer, texts, count, hex);
        if (print)
            printf("%s %s\n", file->string, hex);
        else if (!expected || strcmp(expected->valuestring, hex) != 0) {
            test_failures++;
            fprintf(stderr, "%s: other ids or texts than the reference (drawn_texts.py tells how to find them)\n",
                    file->string);
        }
        wn_tokenizer_close(&tokenizer);
        free(json);
        tokenizers++;
    }
    CHECK(tokenizers == cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(drawn, "hashes")));
    cJSON_Delete(golden);
}

static void print_folder(const char *folder, const struct wn_text *texts, int64_t count)
{
    struct wn_tokenizer *tokenizer = NULL;
    char hex[WN_HASH_HEX];

    CHECK_OK(wn_tokenizer_open_file(folder, &tokenizer));
    hash_texts(tokenizer, texts, count, hex);
    printf("%s %s\n", folder, hex);
    wn_tokenizer_close(&tokenizer);
}

int main(int count, char **arguments)
{
    char *path = test_path("tests/tokenizer/golden/drawn.json");
    bool print = count > 2;
    int64_t texts_count = print ? strtoll(arguments[2], NULL, 10) : COUNT;
    struct wn_text *texts = wn_alloc_zero(texts_count, sizeof *texts);
    cJSON *drawn = NULL;

    test_make_folder();
    CHECK_OK(wn_json_read(path, false, &drawn));
    draw_texts(drawn, print ? strtoull(arguments[1], NULL, 10) : 0, texts_count, texts);
    check_constructed(drawn, texts, texts_count, print);
    for (int i = 3; i < count; i++)
        print_folder(arguments[i], texts, texts_count);
    for (int64_t i = 0; i < texts_count; i++)
        wn_text_release(&texts[i]);
    wn_free(texts);
    wn_free(path);
    cJSON_Delete(drawn);
    test_remove_folder();
    return test_finish();
}
