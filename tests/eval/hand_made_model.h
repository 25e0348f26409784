/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hand_made_model.h: a folder with a model whose head is the identity and a tokenizer with one token per letter.
 */
#ifndef WINNOW_TEST_HAND_MADE_MODEL_H
#define WINNOW_TEST_HAND_MADE_MODEL_H

#include <winnow/linalg.h>
#include <winnow/model.h>

#include "test.h"

enum { VOCABULARY = 16, WIDTH = 32, POSITIONS = 4 };

static char folder[] = "winnow-protocol-XXXXXX";
static float head[VOCABULARY * WIDTH], ones[WIDTH];
static struct wn_tensor head_tensor = {
    .name = "head", .dtype = WN_F32, .n_dims = 2, .data = (const uint8_t *)head, .bytes = sizeof head};
static struct wn_model model = {
    .config = {.vocab_size = VOCABULARY, .hidden_size = WIDTH, .max_positions = POSITIONS, .norm_eps = 1e-12},
    .head = &head_tensor,
    .final_norm = ones};

/* <s> is 0, </s> is 1, a to j are 2 to 11, é is 12, the space is 13. */
static const char tokenizer_json[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "{\"id\": 0, \"content\": \"<s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": "
    "false, \"special\": true},"
    "{\"id\": 1, \"content\": \"</s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": "
    "false, \"special\": true}],"
    "\"normalizer\": null, \"pre_tokenizer\": null, \"post_processor\": null, \"decoder\": null, \"model\": {\"type\": "
    "\"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": "
    "null, "
    "\"fuse_unk\": false, \"byte_fallback\": false, \"vocab\": {\"<s>\": 0, \"</s>\": 1, \"a\": 2, \"b\": 3, \"c\": 4, "
    "\"d\": 5, \"e\": 6, \"f\": 7, \"g\": 8, \"h\": 9, \"i\": 10, \"j\": 11, \"\xc3\xa9\": 12, \" \": 13}, \"merges\": "
    "[]}}";

static inline void write_file(const char *name, const char *text)
{
    char *path = wn_join_path(folder, name);
    FILE *file = fopen(path, "w");

    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    wn_free(path);
}

static inline void remove_file(const char *name)
{
    char *path = wn_join_path(folder, name);

    unlink(path);
    wn_free(path);
}

/* Whether there is a tokenizer, without which nothing can be checked. */
static inline bool open_hand_made(void)
{
    CHECK(mkdtemp(folder));
    CHECK_OK(wn_linalg_start());
    for (int i = 0; i < VOCABULARY; i++)
        head[i * WIDTH + i] = 1;
    for (int i = 0; i < WIDTH; i++)
        ones[i] = 1;
    write_file("tokenizer.json", tokenizer_json);
    write_file("tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    CHECK_OK(wn_tokenizer_open(folder, &model.tokenizer));
    return model.tokenizer != NULL;
}

/* The folder goes, with the inputs that tests write. */
static inline void close_hand_made(void)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "text.txt", "pages.jsonl",
                                        "task.jsonl"};

    wn_tokenizer_close(&model.tokenizer);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        remove_file(names[i]);
    CHECK(rmdir(folder) == 0);
}

#endif
