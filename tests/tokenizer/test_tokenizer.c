/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokenizers of published models against the reference engine: golden encodings, the token counts of WikiText-2
 *, and a round trip. With "-v" the speed is printed.
 */
#include "test_tokenizer.h"

static const char *const names[] = {"gpt2", "gpt_neox_20b", "dolma2_cl100k", "llama"};

static struct wn_tokenizer *open_shared(const char *folder)
{
    struct wn_tokenizer *tokenizer = NULL;
    char *directory = test_shared(folder);

    CHECK_OK(wn_tokenizer_open(directory, &tokenizer));
    wn_free(directory);
    return tokenizer;
}

struct golden {
    const struct wn_tokenizer *tokenizer;
    const char *name;
    int64_t rows;
};

static wn_status check_row(void *context, const char *path, int64_t line, const cJSON *object)
{
    struct golden *golden = context;

    (void)path;
    (void)line;
    golden->rows++;
    test_encoding(golden->tokenizer, golden->name, cJSON_GetObjectItemCaseSensitive(object, "text")->valuestring,
                  cJSON_GetObjectItemCaseSensitive(object, "ids"),
                  cJSON_GetObjectItemCaseSensitive(object, "ids_special"),
                  cJSON_GetObjectItemCaseSensitive(object, "decoded")->valuestring);
    return WN_OK;
}

static void check_golden(const struct wn_tokenizer *tokenizer, const char *name)
{
    struct golden golden = {tokenizer, name, 0};
    char *file = wn_format("data/tokenizers/%s/golden_encodings.jsonl", name);
    char *path = test_shared(file);

    CHECK_OK(wn_jsonl_read(path, check_row, &golden));
    CHECK(golden.rows == 134);
    wn_free(path);
    wn_free(file);
}

/* The four texts of the table, row by row of it. */
struct corpus {
    char *text[4];
    int64_t length[4];
};

/* Rows joined by two newlines, without their own newline; a line of one space is an empty row. */
static void join_rows(const char *lines, int64_t length, struct wn_text *out)
{
    for (int64_t at = 0; at < length;) {
        const char *end = memchr(lines + at, '\n', (size_t)(length - at));
        int64_t stop = end ? end - lines : length;
        if (at > 0)
            wn_text_append(out, "\n\n", 2);
        if (stop - at != 1 || lines[at] != ' ')
            wn_text_append(out, lines + at, (size_t)(stop - at));
        at = stop + 1;
    }
}

static void read_corpus(struct corpus *corpus)
{
    static const char *const files[] = {"joined.txt", NULL, "lines.txt", "raw"};
    struct wn_text joined = {0};

    for (int i = 0; i < 4; i++) {
        if (!files[i])
            continue;
        char *name = wn_format("data/wikitext2/wiki.test.%s", files[i]), *path = test_shared(name);
        CHECK_OK(wn_read_text(path, &corpus->text[i], &corpus->length[i]));
        wn_free(path);
        wn_free(name);
    }
    join_rows(corpus->text[2], corpus->length[2], &joined);
    corpus->text[1] = joined.data;
    corpus->length[1] = (int64_t)joined.length;
}

static void check_counts(const struct wn_tokenizer *tokenizer, int which, const struct corpus *corpus, bool verbose)
{
    /* By tokenizer; 0 is not in the table. */
    static const int64_t counts[4][4] = {{290535, 287644, 289112, 286178},
                                         {288730, 288855, 290050, 288722},
                                         {294948, 0, 290493, 289165},
                                         {341469, 338578, 335688, 332755}};

    for (int i = 0; i < 4; i++) {
        struct wn_ids ids = {0};
        double start = wn_seconds();
        CHECK_OK(wn_encode(tokenizer, corpus->text[i], corpus->length[i], true, &ids));
        double seconds = wn_seconds() - start;
        if (verbose)
            printf("%s: %lld tokens, %.0f tokens/s\n", names[which], (long long)ids.count, (double)ids.count / seconds);
        CHECK(counts[which][i] == 0 || ids.count == counts[which][i]);
        CHECK(seconds < 60);
        wn_ids_release(&ids);
    }
}

static void check_published(bool verbose)
{
    struct corpus corpus = {0};

    read_corpus(&corpus);
    for (int i = 0; i < 4; i++) {
        char *folder = wn_format("data/tokenizers/%s", names[i]);
        struct wn_tokenizer *tokenizer = open_shared(folder);
        if (tokenizer) {
            check_golden(tokenizer, names[i]);
            check_counts(tokenizer, i, &corpus, verbose);
            CHECK(wn_adds_bos(tokenizer) == (i == 3));
        }
        wn_tokenizer_close(&tokenizer);
        wn_free(folder);
    }
    for (int i = 0; i < 4; i++)
        wn_free(corpus.text[i]);
}

static void check_round_trip(const struct wn_tokenizer *tokenizer, const char *text, bool special)
{
    struct wn_ids ids = {0};
    struct wn_text back = {0};

    CHECK_OK(wn_encode(tokenizer, text, (int64_t)strlen(text), special, &ids));
    CHECK(!special || (ids.count > 0 && ids.data[0] == wn_bos_id(tokenizer)));
    CHECK_OK(wn_decode(tokenizer, ids.data, ids.count, true, &back));
    /* The first space is the one the decoder strips after a BOS that is skipped. */
    CHECK_TEXT(back.data, text);
    wn_ids_release(&ids);
    wn_text_release(&back);
}

/* With tokenizer_config.json: names of BOS and EOS, and the stages of the class LlamaTokenizer. */
static void check_stories(void)
{
    struct wn_tokenizer *tokenizer = open_shared("models/stories260k");
    static const char *const texts[] = {"Once upon a time, there was a little girl named Lily.",
                                        "two  spaces,\n\ttabs and caf\xC3\xA9 \xF0\x9F\x99\x82", ""};

    if (!tokenizer)
        return;
    CHECK(wn_vocabulary_size(tokenizer) == 512);
    CHECK(wn_bos_id(tokenizer) == 1 && wn_eos_id(tokenizer) == 2 && wn_adds_bos(tokenizer));
    CHECK(wn_token_id(tokenizer, "</s>") == 2 && wn_token_id(tokenizer, "no such token") == -1);
    CHECK_TEXT(wn_token_text(tokenizer, 13), "<0x0A>");
    CHECK(wn_token_text(tokenizer, 512) == NULL && wn_token_text(tokenizer, -1) == NULL);
    for (int i = 0; i < 3; i++) {
        check_round_trip(tokenizer, texts[i], false);
        check_round_trip(tokenizer, texts[i], true);
    }
    wn_tokenizer_close(&tokenizer);
}

int main(int count, char **arguments)
{
    test_need_shared();
    check_published(count > 1 && strcmp(arguments[1], "-v") == 0);
    check_stories();
    return test_finish();
}
