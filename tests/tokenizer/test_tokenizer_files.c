/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are wrong end in one line with path and key, whatever is wrong with them; tokenizer_config.json; runs of a
 * million characters; several threads at once.
 */
#include "test_tokenizer.h"

/* ---- wrong files ---- */

/* A whole file with a hole for each part a case replaces. */
#define VOCAB  "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<s>\":3}"
#define MERGES "\"merges\":[\"a b\"]"
#define MODEL  "\"model\":{\"type\":\"BPE\"," VOCAB "," MERGES "}"
#define ADDED  "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}]"

#define CHARSMAP(base64) "{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" base64 "\"}}"

struct wrong {
    const char *json, *message;
    wn_status status;
};

static const struct wrong wrong_files[] = {
    {"", "tokenizer.json", WN_ERR_INPUT},
    {"no JSON", "tokenizer.json:1:1", WN_ERR_INPUT},
    {"[]", "expected an object", WN_ERR_INPUT},
    {"{}", "model: expected an object", WN_ERR_INPUT},
    {"{\"model\":{\"type\":\"Syllables\",\"vocab\":{}}}", "the model \"Syllables\" is not supported",
     WN_ERR_UNSUPPORTED},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{}}}", "model.vocab: expected a list of tokens", WN_ERR_INPUT},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1],[\"b\"]]}}", "model.vocab[1]: expected", WN_ERR_INPUT},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]],\"unk_id\":1}}", "model.unk_id: expected the id",
     WN_ERR_INPUT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "model.continuing_subword_prefix: expected a string",
     WN_ERR_INPUT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{},\"continuing_subword_prefix\":\"\"}}",
     "model.max_input_chars_per_word: expected a number", WN_ERR_INPUT},
    {"{\"model\":{\"type\":\"WordLevel\"," VOCAB "}}", "model.unk_token: expected a string", WN_ERR_INPUT},
    {"{\"model\":{" MERGES "}}", "model.vocab: expected an object", WN_ERR_INPUT},
    {"{\"model\":{\"type\":\"BPE\"," VOCAB "}}", "model.merges: expected a list", WN_ERR_INPUT},
    {"{\"model\":{\"type\":7," VOCAB "," MERGES "}}", "model.type: expected a string", WN_ERR_INPUT},
    {"{\"model\":{\"vocab\":{\"a\":-1}," MERGES "}}", "as the id of \"a\"", WN_ERR_INPUT},
    {"{\"model\":{\"vocab\":{\"a\":0.5}," MERGES "}}", "as the id of \"a\"", WN_ERR_INPUT},
    {"{\"model\":{\"vocab\":{\"a\":4000000000}," MERGES "}}", "as the id of \"a\"", WN_ERR_INPUT},
    {"{\"model\":{\"vocab\":{\"a\":1e300}," MERGES "}}", "as the id of \"a\"", WN_ERR_INPUT},
    {"{\"model\":{\"vocab\":{\"a\":\"0\"}," MERGES "}}", "as the id of \"a\"", WN_ERR_INPUT},
    {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},"
     "\"merges\":[]}}",
     "\"a\" and \"b\" share the id 0", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB ",\"merges\":[\"a b\",\"a c\"]}}", "model.merges[1]: the token \"c\"", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB ",\"merges\":[\"c a\"]}}", "model.merges[0]: the token \"c\"", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB ",\"merges\":[\"b a\"]}}", "model.merges[0]: the token \"ba\"", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB ",\"merges\":[\"a b a\"]}}", "model.merges[0]: expected", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB ",\"merges\":[\"ab\"]}}", "model.merges[0]: expected", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB ",\"merges\":[[\"a\"]]}}", "model.merges[0]: expected", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB ",\"merges\":[[\"a\",1]]}}", "model.merges[0]: expected", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB "," MERGES ",\"dropout\":0.1}}", "model.dropout", WN_ERR_UNSUPPORTED},
    {"{\"model\":{" VOCAB "," MERGES ",\"end_of_word_suffix\":\"w\"}}", "end_of_word_suffix", WN_ERR_UNSUPPORTED},
    {"{\"model\":{" VOCAB "," MERGES ",\"fuse_unk\":3}}", "model.fuse_unk: expected true or false", WN_ERR_INPUT},
    {"{\"model\":{" VOCAB "," MERGES ",\"unk_token\":\"x\"}}", "model.unk_token: the token \"x\"", WN_ERR_INPUT},
    {"{" MODEL ",\"added_tokens\":{}}", "added_tokens: expected a list", WN_ERR_INPUT},
    {"{" MODEL ",\"added_tokens\":[3]}", "added_tokens[0]: expected an object", WN_ERR_INPUT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":-3,\"content\":\"x\"}]}", "added_tokens[0].id", WN_ERR_INPUT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":9}]}", "added_tokens[0].content: expected a string", WN_ERR_INPUT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":9,\"content\":\"\"}]}", "added_tokens[0].content", WN_ERR_INPUT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":9,\"content\":\"a\"}]}", "\"a\" has the id 0 in model.vocab", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":\"NFC\"}", "normalizer: expected an object or null", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":{}}", "normalizer.type: expected a string", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\"}}", "normalizer.precompiled_charsmap: expected a string",
     WN_ERR_INPUT},
    {CHARSMAP("AAA"), "normalizer.precompiled_charsmap: expected base64", WN_ERR_INPUT},
    {CHARSMAP("AA-A"), "normalizer.precompiled_charsmap: expected base64", WN_ERR_INPUT},
    {CHARSMAP(""), "precompiled_charsmap: expected the size of a table", WN_ERR_INPUT},
    {CHARSMAP("AAAAAAAA"), "precompiled_charsmap: expected the size of a table", WN_ERR_INPUT},
    {CHARSMAP("CAAAAAAAAAA="), "precompiled_charsmap: expected the size of a table", WN_ERR_INPUT},
    {CHARSMAP("BAAAAAAAAAD/"), "precompiled_charsmap: its texts are not valid UTF-8 at byte 0", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":1}}",
     "normalizer.lowercase: expected true or false", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"NFX\"}]}}",
     "normalizer.normalizers[1]: the normalizer \"NFX\"", WN_ERR_UNSUPPORTED},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Sequence\"}}", "normalizer.normalizers: expected a list", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"String\":\"\"}}}",
     "normalizer.pattern: expected a string that is not empty", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":\"x\"}}",
     "normalizer.pattern: expected", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"(\"}}}",
     "normalizer.pattern: the regular expression \"(\" cannot be read", WN_ERR_INPUT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"\\\\p{Latn}+x{2}+\"}}}",
     "a quantifier behind an interval", WN_ERR_UNSUPPORTED},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"[a&&b]\"}}}",
     "an intersection of classes", WN_ERR_UNSUPPORTED},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"\\\\h\"}}}",
     "an escape", WN_ERR_UNSUPPORTED},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"(?m:.)\"}}}", "a group",
     WN_ERR_UNSUPPORTED},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}", "pre_tokenizer: the pre-tokenizer",
     WN_ERR_UNSUPPORTED},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Cut\",\"pattern\":{\"String\":\"a\"}}}",
     "pre_tokenizer.behavior: expected Isolated", WN_ERR_INPUT},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"__\"}}",
     "pre_tokenizer.replacement: expected a string of one character", WN_ERR_INPUT},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}}",
     "pre_tokenizer.prepend_scheme: expected always, first or never", WN_ERR_INPUT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"BertProcessing\"}}", "post_processor.cls: expected a list",
     WN_ERR_INPUT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\"}}", "post_processor.single: expected a list",
     WN_ERR_INPUT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}}",
     "post_processor.single: expected the text once", WN_ERR_INPUT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
     "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[99]}}}}",
     "post_processor.special_tokens: expected ids of the vocabulary", WN_ERR_INPUT},
    {"{" MODEL ",\"decoder\":{\"type\":\"CTC\"}}", "decoder: the decoder \"CTC\"", WN_ERR_UNSUPPORTED},
    {"{" MODEL ",\"decoder\":{\"type\":\"WordPiece\"}}", "decoder.prefix: expected a string", WN_ERR_INPUT},
    {"{" MODEL ",\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1}}", "decoder.start: expected a number",
     WN_ERR_INPUT},
};

/* A failure is one line that names the file. */
static void check_failure_line(const char *file)
{
    CHECK_MESSAGE(file);
    CHECK(strchr(wn_error_message(), '\n') == NULL);
}

static void check_wrong_files(void)
{
    struct wn_tokenizer *tokenizer = NULL;

    for (size_t i = 0; i < sizeof(wrong_files) / sizeof(wrong_files[0]); i++) {
        CHECK(test_open(wrong_files[i].json, NULL, &tokenizer) == wrong_files[i].status);
        CHECK(tokenizer == NULL);
        CHECK_MESSAGE(wrong_files[i].message);
        check_failure_line("tokenizer.json");
    }
    test_write("tokenizer.json", NULL, 0);
    CHECK(wn_tokenizer_open(test_folder, &tokenizer) != WN_OK);
    check_failure_line("tokenizer.json");
}

/* A tokenizer of another kind is named with the command that converts it. */
static void check_other_kind(void)
{
    struct wn_tokenizer *tokenizer = NULL;

    test_write("tokenizer.json", NULL, 0);
    test_write("tekken.json", "{}", 2);
    CHECK(wn_tokenizer_open(test_folder, &tokenizer) == WN_ERR_INPUT);
    CHECK_MESSAGE("tokenizer.json: is absent, but there is tekken.json; make it: python3 -c");
    test_write("tekken.json", NULL, 0);
}

static void check_decoded(const char *json, const char *config, const char *expected)
{
    static const int32_t ids[] = {0, 1};
    struct wn_tokenizer *tokenizer = NULL;
    struct wn_text text = {0};

    CHECK_OK(test_open(json, config, &tokenizer));
    CHECK_OK(wn_decode(tokenizer, ids, 2, false, &text));
    CHECK_TEXT(text.data, expected);
    wn_text_release(&text);
    wn_tokenizer_close(&tokenizer);
}

/* Spaces before punctuation are taken out, of texts by BPE only when that is asked by its long name. */
static void check_clean_up(void)
{
    static const char *const words =
        "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\".\":1},\"unk_token\":\"x\"}}";
    static const char *const bpe = "{\"model\":{\"vocab\":{\"a\":0,\".\":1},\"merges\":[]}}";

    check_decoded(words, NULL, "a .");
    check_decoded(words, "{\"clean_up_tokenization_spaces\":true}", "a.");
    check_decoded(bpe, "{\"clean_up_tokenization_spaces\":true}", "a .");
    check_decoded(bpe,
                  "{\"clean_up_tokenization_spaces\":true,"
                  "\"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output\":true}",
                  "a.");
}

/* "tokenizer": "file" of a sweep: the class builds nothing anew. */
static void check_as_file(void)
{
    static const char *const json = "{" MODEL "," ADDED "}";
    struct wn_tokenizer *tokenizer = NULL;
    struct wn_ids built = {0}, file = {0};

    CHECK_OK(test_open(json, "{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_prefix_space\":true}", &tokenizer));
    CHECK_OK(wn_encode(tokenizer, "ab", 2, false, &built));
    wn_tokenizer_close(&tokenizer);
    CHECK_OK(wn_tokenizer_open_file(test_folder, &tokenizer));
    CHECK_OK(wn_encode(tokenizer, "ab", 2, false, &file));
    CHECK(file.count == 1 && file.data[0] == 2);
    CHECK(wn_eos_id(tokenizer) == 4 && wn_front_id(tokenizer) == 4); /* the class still names its tokens */
    CHECK_OK(wn_tokenizer_set_front(tokenizer, "<s>"));
    CHECK(wn_front_id(tokenizer) == 3);
    CHECK_OK(wn_tokenizer_set_front(tokenizer, "none"));
    CHECK(wn_front_id(tokenizer) == WN_FRONT_NONE);
    CHECK(wn_tokenizer_set_front(tokenizer, "no such token") == WN_ERR_INPUT);
    wn_tokenizer_close(&tokenizer);
    wn_ids_release(&built);
    wn_ids_release(&file);
}

/* The ids of a text by such files. */
static void check_ids(const char *json, const char *config, const char *text, const int32_t *expected, int64_t count)
{
    struct wn_tokenizer *tokenizer = NULL;
    struct wn_ids ids = {0};

    CHECK_OK(test_open(json, config, &tokenizer));
    CHECK_OK(wn_encode(tokenizer, text, (int64_t)strlen(text), false, &ids));
    CHECK(ids.count == count && memcmp(ids.data, expected, (size_t)count * sizeof *expected) == 0);
    wn_ids_release(&ids);
    wn_tokenizer_close(&tokenizer);
}

/* White space that is a token of its own, which a neighbour's rstrip has run over. */
static void check_eaten_tokens(void)
{
    static const char *const json = "{" MODEL ",\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true},"
                                    "{\"id\":4,\"content\":\"\\n\",\"lstrip\":true,\"rstrip\":true},"
                                    "{\"id\":5,\"content\":\" \",\"lstrip\":true}]}";

    check_ids(json, NULL, "\n\na", (const int32_t[]){4, 0}, 2);
    check_ids(json, NULL, "a\n   b", (const int32_t[]){0, 4, 1}, 3); /* left of it is less than nothing */
}

/*
 * A vocabulary with a hole: new tokens count on from its number of tokens, whatever ids the file names, and whatever
 * ids behind the hole its own tokens have (tokenizers 0.23: a 0, b 5, X 2, Y 3).
 */
static void check_hole(void)
{
    static const char json[] =
        "{\"added_tokens\":[{\"id\":9,\"content\":\"X\"},{\"id\":5,\"content\":\"b\"},{\"id\":12,\"content\":\"Y\"}],"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":5},\"merges\":[]}}";

    check_ids(json, NULL, "aXbYX", (const int32_t[]){0, 2, 5, 3, 2}, 5);
}

/* Which of several names gives a new token its flags, and which tokens of the file a name makes special. */
static void check_names(void)
{
    static const char *const json = "{" MODEL ",\"added_tokens\":[{\"id\":3,\"content\":\"<s>\"}]}";

#define ALONE "{\"content\":\"<n>\",\"single_word\":true}"
    check_ids(json, "{\"eos_token\":\"<n>\"}", "a<n>", (const int32_t[]){0, 4}, 2);
    check_ids(json, "{\"eos_token\":\"<n>\",\"pad_token\":" ALONE "}", "a<n>", (const int32_t[]){0}, 1);
    check_ids(json, "{\"eos_token\":" ALONE ",\"pad_token\":\"<n>\"}", "a<n>", (const int32_t[]){0, 4}, 2);
    check_ids(json, "{\"eos_token\":\"<n>\",\"pad_token\":" ALONE ",\"cls_token\":\"<n>\"}", "a<n>",
              (const int32_t[]){0}, 1);
#undef ALONE
    check_ids(json, "{\"bos_token\":\"<s>\",\"split_special_tokens\":true}", "a<s>", (const int32_t[]){0}, 1);
    check_ids(json,
              "{\"bos_token\":\"<s>\",\"split_special_tokens\":true,"
              "\"added_tokens_decoder\":{\"4\":{\"content\":\"<x>\"}}}",
              "a<s>", (const int32_t[]){0, 3}, 2);
}

/* A class whose rules are not known here is not taken for another. */
static void check_other_class(void)
{
    static const char *const json = "{" MODEL "," ADDED "}";
    struct wn_tokenizer *tokenizer = NULL;

    CHECK(test_open(json, "{\"tokenizer_class\":\"RobertaTokenizerFast\"}", &tokenizer) == WN_ERR_UNSUPPORTED);
    CHECK_MESSAGE("tokenizer_class: RobertaTokenizerFast builds rules of its own");
    CHECK_OK(wn_tokenizer_open_file(test_folder, &tokenizer));
    wn_tokenizer_close(&tokenizer);
}

/* ---- mutations ---- */

/* Whatever opens must encode and decode; whatever does not must say why. */
static void check_survives(const char *json, size_t length)
{
    static const char text[] = " <a>the cat  12<s>\xC3\xA9\xF0\x9F\x99\x82 caf";
    struct wn_tokenizer *tokenizer = NULL;
    struct wn_ids ids = {0};
    struct wn_text back = {0};

    test_write("tokenizer.json", json, length);
    if (wn_tokenizer_open(test_folder, &tokenizer) != WN_OK) {
        check_failure_line("tokenizer.json");
        return;
    }
    CHECK_OK(wn_encode(tokenizer, text, sizeof(text) - 1, true, &ids));
    for (int64_t i = 0; i < ids.count; i++)
        CHECK(wn_token_text(tokenizer, ids.data[i]) != NULL);
    CHECK_OK(wn_decode(tokenizer, ids.data, ids.count, false, &back));
    CHECK(wn_utf8_invalid_at(back.data, (int64_t)back.length) < 0);
    wn_ids_release(&ids);
    wn_text_release(&back);
    wn_tokenizer_close(&tokenizer);
}

/* Bytes of the file changed at random. */
static void check_changed_bytes(const char *json, uint64_t stream)
{
    size_t length = strlen(json);
    char *copy = wn_alloc((int64_t)length, 1);

    for (uint64_t round = 0; round < 300; round++) {
        memcpy(copy, json, length);
        for (uint64_t change = 0; change <= round % 3; change++) {
            uint64_t random = wn_random_u64(7, stream, 3 * round + change);
            copy[(random >> 8) % length] = round % 2 ? "0[{}],:\"-9e\\"[random % 12] : (char)(random & 0xFF);
        }
        check_survives(copy, round % 5 == 4 ? length * (round % 90) / 90 : length);
    }
    wn_free(copy);
}

/* Every value of the tree in turn replaced by values of other types. */
static void check_changed_values(cJSON *root, cJSON *parent)
{
    static const char *const values[] = {"null",  "true",         "-1", "1e18", "0.5",
                                         "\"x\"", "\"Sequence\"", "[]", "[[]]", "{}"};

    for (cJSON *child = parent->child; child; child = child->next) {
        bool many = child->prev != child && child->prev->prev != child->prev && child->next && child->next->next;
        for (int i = 0; i < 10 && !(many && cJSON_IsNumber(child)); i++) {
            cJSON old = *child, *value = cJSON_Parse(values[i]);
            child->type = value->type;
            child->child = value->child;
            child->valuestring = value->valuestring;
            child->valuedouble = value->valuedouble;
            child->valueint = value->valueint;
            char *text = cJSON_PrintUnformatted(root);
            *child = old;
            check_survives(text, strlen(text));
            cJSON_free(text);
            cJSON_Delete(value);
        }
        check_changed_values(root, child);
    }
}

/* Keeps only a few merges, so that trying every value stays short. */
static void check_mutations(const cJSON *golden)
{
    static const char *const names[] = {"added", "llama", "normalizers", "qwen", "metaspace_first", "digits_true"};

    for (int i = 0; i < 6; i++) {
        char *json = test_golden_file(golden, names[i]);
        cJSON *root = cJSON_Parse(json);
        cJSON *merges = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "model"), "merges");
        while (cJSON_GetArraySize(merges) > 3)
            cJSON_DeleteItemFromArray(merges, 3);
        check_changed_bytes(json, (uint64_t)i);
        check_changed_values(root, root);
        cJSON_Delete(root);
        free(json);
    }
}

/* ---- tokenizer_config.json ---- */

struct config {
    const char *json, *message; /* message NULL: it opens */
    int32_t bos, eos;
    const char *ids; /* of "a" with special tokens, as JSON */
};

#define TEMPLATE                                                                                                       \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"             \
    "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[3]}}}"

static const struct config configs[] = {
    {NULL, NULL, 3, -1, "[3,0]"},
    {"{}", NULL, 3, -1, "[3,0]"},
    {"{\"bos_token\":null,\"eos_token\":\"b\",\"add_bos_token\":false}", NULL, -1, 1, "[3,0]"},
    {"{\"bos_token\":\"b\",\"eos_token\":{\"content\":\"ab\"}}", NULL, 1, 2, "[3,0]"},
    {"{\"tokenizer_class\":\"LlamaTokenizer\"}", NULL, 3, 4, "[3,0]"},
    {"{\"tokenizer_class\":\"LlamaTokenizerFast\",\"add_bos_token\":false}", NULL, 3, 4, "[3,0]"},
    {"{\"bos_token\":\"x\"}", NULL, 4, -1, "[3,0]"},
    {"{\"fix_mistral_regex\":true}", "fix_mistral_regex is not supported", 0, 0, NULL},
    {"{\"eos_token\":7}", "eos_token: expected a token", 0, 0, NULL},
    {"{\"added_tokens_decoder\":[]}", "added_tokens_decoder: expected an object", 0, 0, NULL},
    {"{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}", "added_tokens_decoder.x: expected an id", 0, 0, NULL},
    {"{\"extra_special_tokens\":3}", "extra_special_tokens: expected a list", 0, 0, NULL},
    {"{\"additional_special_tokens\":[3]}", "additional_special_tokens: expected a token", 0, 0, NULL},
    {"{\"split_special_tokens\":1}", "split_special_tokens: expected true or false", 0, 0, NULL},
    {"{\"add_bos_token\":\"yes\"}", "add_bos_token: expected true or false", 0, 0, NULL},
    {"[]", "expected an object", 0, 0, NULL},
    {"{", "tokenizer_config.json", 0, 0, NULL},
};

static void check_configs(void)
{
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *config = &configs[i];
        struct wn_tokenizer *tokenizer = NULL;
        wn_status status = test_open("{" MODEL "," ADDED "," TEMPLATE "}", config->json, &tokenizer);
        CHECK((status == WN_OK) == !config->message);
        if (config->message) {
            CHECK_MESSAGE(config->message);
            check_failure_line("tokenizer_config.json");
        }
        if (!tokenizer)
            continue;
        cJSON *expected = cJSON_Parse(config->ids);
        struct wn_ids ids = {0};
        CHECK_OK(wn_encode(tokenizer, "a", 1, true, &ids));
        CHECK(test_same_ids(&ids, expected));
        CHECK(wn_bos_id(tokenizer) == config->bos && wn_eos_id(tokenizer) == config->eos);
        CHECK(wn_adds_bos(tokenizer) == (ids.data[0] == config->bos));
        wn_ids_release(&ids);
        cJSON_Delete(expected);
        wn_tokenizer_close(&tokenizer);
    }
}

/* ---- texts ---- */

/* Text without a special token comes back as it was, in time that grows like the text. */
static void check_long_run(const struct wn_tokenizer *tokenizer, const char *unit, int64_t count, const char *end)
{
    struct wn_text text = {0}, back = {0};
    struct wn_ids ids = {0};
    double start = wn_seconds();

    for (int64_t i = 0; i < count; i++)
        wn_text_append(&text, unit, strlen(unit));
    wn_text_append(&text, end, strlen(end));
    CHECK_OK(wn_encode(tokenizer, text.data, (int64_t)text.length, false, &ids));
    CHECK_OK(wn_decode(tokenizer, ids.data, ids.count, false, &back));
    CHECK(back.length == text.length && memcmp(back.data, text.data, text.length) == 0);
    CHECK(wn_seconds() - start < 60);
    wn_text_release(&text);
    wn_text_release(&back);
    wn_ids_release(&ids);
}

static void check_long_runs(const cJSON *golden)
{
    static const char *const names[] = {"qwen", "o200k", "deepseek"};
    static const char *const units[] = {" ", "a", "A", "7", "\n", "the cat ", "\xE6\x97\xA5", "\xCC\xA3", "!"};

    for (int i = 0; i < 3; i++) {
        struct wn_tokenizer *tokenizer = NULL;
        char *json = test_golden_file(golden, names[i]);
        CHECK_OK(test_open(json, NULL, &tokenizer));
        for (int j = 0; j < 9 && tokenizer; j++)
            check_long_run(tokenizer, units[j], j == 5 ? 100000 : 1000000, j % 2 ? "" : "x");
        wn_tokenizer_close(&tokenizer);
        free(json);
    }
}

/* NUL is a character like others; what is not UTF-8 is refused and adds nothing. */
static void check_odd_bytes(const cJSON *golden)
{
    struct wn_tokenizer *tokenizer = NULL;
    struct wn_ids ids = {0};
    struct wn_text back = {0};
    char *json = test_golden_file(golden, "qwen");

    CHECK_OK(test_open(json, NULL, &tokenizer));
    CHECK_OK(wn_encode(tokenizer, "a\0b", 3, false, &ids));
    CHECK_OK(wn_decode(tokenizer, ids.data, ids.count, false, &back));
    CHECK(back.length == 3 && memcmp(back.data, "a\0b", 3) == 0);
    int64_t before = ids.count;
    CHECK(wn_encode(tokenizer, "a\xC3", 2, true, &ids) == WN_ERR_INPUT);
    CHECK_MESSAGE("not valid UTF-8 at byte 1");
    CHECK(ids.count == before);
    CHECK_OK(wn_decode(tokenizer, (int32_t[]){-5, 1 << 30}, 2, false, &back));
    CHECK(back.length == 3);
    wn_ids_release(&ids);
    wn_text_release(&back);
    wn_tokenizer_close(&tokenizer);
    free(json);
}

static void check_threads(const cJSON *golden)
{
    static const char text[] =
        "the cat's 12 hats, caf\xC3\xA9 e\xCC\x81 at the end of the theme in 2024 \xF0\x9F\x99\x82\n";
    struct wn_tokenizer *tokenizer = NULL;
    char *json = test_golden_file(golden, "qwen");
    struct wn_ids expected = {0};
    int different = 0;

    CHECK_OK(test_open(json, NULL, &tokenizer));
    CHECK_OK(wn_encode(tokenizer, text, sizeof(text) - 1, true, &expected));
#pragma omp parallel for num_threads(4) reduction(+ : different)
    for (int i = 0; i < 400; i++) {
        struct wn_ids ids = {0};
        wn_status status = wn_encode(tokenizer, text, sizeof(text) - 1, true, &ids);
        different += status != WN_OK || ids.count != expected.count ||
                     memcmp(ids.data, expected.data, (size_t)ids.count * sizeof(int32_t)) != 0;
        wn_ids_release(&ids);
    }
    CHECK(different == 0);
    wn_ids_release(&expected);
    wn_tokenizer_close(&tokenizer);
    free(json);
}

int main(void)
{
    cJSON *golden = test_golden();

    test_make_folder();
    check_wrong_files();
    check_other_kind();
    check_clean_up();
    check_configs();
    check_as_file();
    check_eaten_tokens();
    check_hole();
    check_names();
    check_other_class();
    check_odd_bytes(golden);
    check_threads(golden);
    check_long_runs(golden);
    check_mutations(golden);
    test_remove_folder();
    cJSON_Delete(golden);
    return test_finish();
}
