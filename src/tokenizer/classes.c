/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokenizer classes as transformers 5.24 has them (AutoTokenizer, models/NAME/tokenization_NAME.py). A class with a
 * constructor of its own builds normalizer, pre-tokenizer, decoder and the options of the model anew; of tokenizer.json
 * it takes vocabulary, merges and template. Whatever has no such class here is taken as tokenizer.json has it.
 */
#include "config.h"

#define QWEN_PATTERN                                                                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+"        \
    "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define BYTE_LEVEL "{\"type\":\"ByteLevel\"}"
#define SPACES                                                                                                         \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"  \
    "{\"type\":\"Fuse\"}"

/* %s: the prepend_scheme of Metaspace, or the add_prefix_space of ByteLevel. */
struct stages {
    const char *name, *normalizer, *pre_tokenizer, *decoder;
    bool fuse, bytes;
};

#define METASPACE "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"%s\",\"split\":false}"
#define PREFIXED  "{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"use_regex\":true}"
#define T5_DECODER                                                                                                     \
    "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"always\",\"split\":true}"
#define T5_SPLIT "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"}," T5_DECODER "]}"
#define STRIPPED                                                                                                       \
    "{\"type\":\"Sequence\",\"decoders\":[" SPACES ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"

static const struct stages classes[TOK_CLASSES] = {
    [TOK_CLASS_FILE] = {.name = "TokenizersBackend"},
    [TOK_CLASS_LLAMA] = {"LlamaTokenizer", NULL, METASPACE, STRIPPED, true, true},
    [TOK_CLASS_CODE_LLAMA] = {"CodeLlamaTokenizer", NULL, METASPACE, STRIPPED, true, true},
    [TOK_CLASS_GPT2] = {"GPT2Tokenizer", NULL, PREFIXED, BYTE_LEVEL, false, false},
    [TOK_CLASS_QWEN2] = {"Qwen2Tokenizer", "{\"type\":\"NFC\"}",
                         "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
                         "\"" QWEN_PATTERN "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
                         "\"add_prefix_space\":%s,\"use_regex\":false}]}",
                         BYTE_LEVEL, false, false},
    [TOK_CLASS_NEOX] = {"GPTNeoXTokenizer", "{\"type\":\"NFC\"}", PREFIXED, BYTE_LEVEL, false, false},
    [TOK_CLASS_GEMMA] = {"GemmaTokenizer",
                         "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}",
                         "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\","
                         "\"invert\":false}",
                         "{\"type\":\"Sequence\",\"decoders\":[" SPACES "]}", true, true},
    [TOK_CLASS_T5] = {"T5Tokenizer", NULL, T5_SPLIT, T5_DECODER, false, false},
    [TOK_CLASS_BERT] = {"BertTokenizer", NULL, "{\"type\":\"BertPreTokenizer\"}",
                        "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", false, false},
};

/* ---- which class ---- */

/* What AutoTokenizer has on its list for a model type; it is always preferred where `always` is set. */
static const struct registered {
    const char *model_type;
    enum tok_class class;
    bool always;
} registered[] = {
    {"gpt2", TOK_CLASS_GPT2, false},
    {"gpt_neo", TOK_CLASS_GPT2, false},
    {"gptj", TOK_CLASS_GPT2, false},
    {"opt", TOK_CLASS_GPT2, false},
    {"phi", TOK_CLASS_GPT2, false},
    {"starcoder2", TOK_CLASS_GPT2, false},
    {"codegen", TOK_CLASS_GPT2, false},
    {"gpt_neox", TOK_CLASS_NEOX, false},
    {"mpt", TOK_CLASS_NEOX, false},
    {"olmo", TOK_CLASS_NEOX, false},
    {"olmoe", TOK_CLASS_NEOX, false},
    {"qwen2", TOK_CLASS_QWEN2, true},
    {"qwen2_moe", TOK_CLASS_QWEN2, false},
    {"qwen3", TOK_CLASS_QWEN2, false},
    {"qwen3_moe", TOK_CLASS_QWEN2, false},
    {"qwen3_next", TOK_CLASS_QWEN2, false},
    {"gemma", TOK_CLASS_GEMMA, false},
    {"gemma2", TOK_CLASS_GEMMA, false},
    {"gemma3", TOK_CLASS_GEMMA, false},
    {"gemma3_text", TOK_CLASS_GEMMA, false},
    {"gemma3n", TOK_CLASS_GEMMA, false},
    {"gemma3n_text", TOK_CLASS_GEMMA, false},
    {"code_llama", TOK_CLASS_CODE_LLAMA, false},
    {"t5", TOK_CLASS_T5, false},
    {"mt5", TOK_CLASS_T5, false},
    {"umt5", TOK_CLASS_FILE, false},
    {"bert", TOK_CLASS_BERT, false},
    {"granite", TOK_CLASS_FILE, false},
    {"granitemoe", TOK_CLASS_FILE, false},
    {"olmo2", TOK_CLASS_FILE, false},
    {"olmo3", TOK_CLASS_FILE, false},
    {"flex_olmo", TOK_CLASS_FILE, false},
    {"stablelm", TOK_CLASS_FILE, false},
    {"phi3", TOK_CLASS_FILE, false},
    {"phimoe", TOK_CLASS_FILE, false},
    {"mistral", TOK_CLASS_FILE, false},
    {"mistral3", TOK_CLASS_FILE, false},
    {"ministral", TOK_CLASS_FILE, false},
    {"ministral3", TOK_CLASS_FILE, false},
    {"mixtral", TOK_CLASS_FILE, false},
    {"glm", TOK_CLASS_FILE, false},
    {"glm4", TOK_CLASS_FILE, false},
    {"gpt_bigcode", TOK_CLASS_FILE, false},
    {"persimmon", TOK_CLASS_FILE, false},
    {"nemotron", TOK_CLASS_FILE, false},
    {"minicpm3", TOK_CLASS_FILE, false},
    {"internlm2", TOK_CLASS_FILE, false},
    {"internlm3", TOK_CLASS_FILE, false},
    {"jamba", TOK_CLASS_FILE, false},
};

static const struct registered *find_registered(const char *model_type)
{
    for (size_t i = 0; model_type && i < sizeof registered / sizeof *registered; i++)
        if (strcmp(registered[i].model_type, model_type) == 0)
            return &registered[i];
    return NULL;
}

static enum tok_class class_of_name(const char *name)
{
    size_t length = strlen(name);

    length -= length > 4 && strcmp(name + length - 4, "Fast") == 0 ? 4 : 0;
    for (int c = 0; c < TOK_CLASSES; c++)
        if (strlen(classes[c].name) == length && strncmp(classes[c].name, name, length) == 0)
            return (enum tok_class)c;
    return TOK_CLASS_FILE;
}

/* Whether a pre-tokenizer or decoder, or a part of it, is ByteLevel. */
static bool is_byte_level(const cJSON *stage)
{
    const cJSON *type = tok_value_of(stage, "type"), *parts = tok_value_of(stage, "pretokenizers"), *part;

    if (cJSON_IsString(type) && strcmp(type->valuestring, "ByteLevel") == 0)
        return true;
    parts = parts ? parts : tok_value_of(stage, "decoders");
    cJSON_ArrayForEach (part, parts)
        if (is_byte_level(part))
            return true;
    return false;
}

enum tok_class tok_class_find(const char *name, const char *model_type, const cJSON *file)
{
    const struct registered *known = find_registered(model_type);
    enum tok_class class = name ? class_of_name(name) : TOK_CLASS_FILE;

    if (class == TOK_CLASS_LLAMA && !(known && known->always) &&
        (is_byte_level(tok_value_of(file, "pre_tokenizer")) || is_byte_level(tok_value_of(file, "decoder"))))
        return TOK_CLASS_FILE;
    if (!name)
        return known ? known->class : TOK_CLASS_FILE;
    if (!known || known->class == class)
        return class;
    return known->always ? known->class : known->class == TOK_CLASS_FILE ? TOK_CLASS_FILE : class;
}

bool tok_class_is_other(const char *name, const char *model_type)
{
    /* classes with a constructor of their own, without "Tokenizer" */
    static const char *const others[] = {
        "Albert",   "Barthez",  "BigBird",   "Blenderbot", "Camembert",   "CLIP",       "CodeGen",
        "Cohere",   "Deberta",  "DebertaV2", "Funnel",     "Herbert",     "Luke",       "MBart",
        "MBart50",  "MLuke",    "MPNet",     "Nllb",       "Nougat",      "OpenAIGPT",  "Pegasus",
        "Reformer", "RemBert",  "Roberta",   "LayoutLMv2", "SeamlessM4T", "LayoutLMv3", "LayoutXLM",
        "Siglip2",  "Splinter", "Udop",      "Whisper",    "XGLM",        "XLMRoberta", "XLNet",
    };
    const struct registered *known = find_registered(model_type);
    const char *rest;

    if (!name || (known && (known->always || known->class == TOK_CLASS_FILE)))
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        size_t length = strlen(others[i]);
        rest = name + length;
        if (strncmp(name, others[i], length) == 0 && (!strcmp(rest, "Tokenizer") || !strcmp(rest, "TokenizerFast")))
            return true;
    }
    return false;
}

const char *tok_class_token(enum tok_class class, const char *key)
{
    static const struct {
        enum tok_class class;
        const char *key, *token;
    } tokens[] = {
        {TOK_CLASS_LLAMA, "bos_token", "<s>"},
        {TOK_CLASS_LLAMA, "eos_token", "</s>"},
        {TOK_CLASS_LLAMA, "unk_token", "<unk>"},
        {TOK_CLASS_CODE_LLAMA, "bos_token", "<s>"},
        {TOK_CLASS_CODE_LLAMA, "eos_token", "</s>"},
        {TOK_CLASS_CODE_LLAMA, "unk_token", "<unk>"},
        {TOK_CLASS_CODE_LLAMA, "prefix_token", "\xE2\x96\x81<PRE>"},
        {TOK_CLASS_CODE_LLAMA, "middle_token", "\xE2\x96\x81<MID>"},
        {TOK_CLASS_CODE_LLAMA, "suffix_token", "\xE2\x96\x81<SUF>"},
        {TOK_CLASS_CODE_LLAMA, "eot_token", "\xE2\x96\x81<EOT>"},
        {TOK_CLASS_CODE_LLAMA, "fill_token", "<FILL_ME>"},
        {TOK_CLASS_GPT2, "bos_token", "<|endoftext|>"},
        {TOK_CLASS_GPT2, "eos_token", "<|endoftext|>"},
        {TOK_CLASS_GPT2, "unk_token", "<|endoftext|>"},
        {TOK_CLASS_QWEN2, "eos_token", "<|endoftext|>"},
        {TOK_CLASS_QWEN2, "unk_token", "<|endoftext|>"},
        {TOK_CLASS_QWEN2, "pad_token", "<|endoftext|>"},
        {TOK_CLASS_NEOX, "bos_token", "<|endoftext|>"},
        {TOK_CLASS_NEOX, "eos_token", "<|endoftext|>"},
        {TOK_CLASS_NEOX, "unk_token", "<|endoftext|>"},
        {TOK_CLASS_NEOX, "pad_token", "<|padding|>"},
        {TOK_CLASS_GEMMA, "bos_token", "<bos>"},
        {TOK_CLASS_GEMMA, "eos_token", "<eos>"},
        {TOK_CLASS_GEMMA, "unk_token", "<unk>"},
        {TOK_CLASS_GEMMA, "pad_token", "<pad>"},
        {TOK_CLASS_GEMMA, "mask_token", "<mask>"},
        {TOK_CLASS_T5, "eos_token", "</s>"},
        {TOK_CLASS_T5, "unk_token", "<unk>"},
        {TOK_CLASS_T5, "pad_token", "<pad>"},
        {TOK_CLASS_BERT, "unk_token", "[UNK]"},
        {TOK_CLASS_BERT, "sep_token", "[SEP]"},
        {TOK_CLASS_BERT, "pad_token", "[PAD]"},
        {TOK_CLASS_BERT, "cls_token", "[CLS]"},
        {TOK_CLASS_BERT, "mask_token", "[MASK]"},
    };

    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (tokens[i].class == class && strcmp(tokens[i].key, key) == 0)
            return tokens[i].token;
    return NULL;
}

/* ---- its stages ---- */

static bool is_of_type(const cJSON *part, const char *type)
{
    const cJSON *found = tok_value_of(part, "type");

    return cJSON_IsString(found) && strcmp(found->valuestring, type) == 0;
}

/* The unk_token that the configuration names, else that of the class. */
static const char *unknown_of(const struct tok_config *config)
{
    const cJSON *given = tok_value_of(config->root, "unk_token");
    const cJSON *content = cJSON_IsObject(given) ? tok_value_of(given, "content") : given;

    return cJSON_IsString(content) ? content->valuestring : tok_class_token(config->class, "unk_token");
}

static void put(cJSON *object, const char *key, cJSON *value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    cJSON_AddItemToObject(object, key, value ? value : cJSON_CreateNull());
}

/* The Precompiled part of a normalizer, taken out of the file; NULL when it has none. */
static cJSON *take_rules(cJSON *file)
{
    cJSON *normalizer = cJSON_DetachItemFromObjectCaseSensitive(file, "normalizer"), *rules = NULL;
    cJSON *parts = cJSON_GetObjectItemCaseSensitive(normalizer, "normalizers"), *part;

    if (is_of_type(normalizer, "Precompiled"))
        return normalizer;
    cJSON_ArrayForEach (part, parts)
        if (is_of_type(part, "Precompiled")) {
            rules = cJSON_DetachItemViaPointer(parts, part);
            break;
        }
    cJSON_Delete(normalizer);
    return rules;
}

/* A class makes its own kind of model of any vocabulary, which few mean: "tokenizer": "file" of a sweep helps. */
static wn_status check_kind(const struct tok_loader *loader, enum tok_class class, const cJSON *model)
{
    const char *wanted = class == TOK_CLASS_T5 ? "Unigram" : class == TOK_CLASS_BERT ? "WordPiece" : "BPE";

    if (strcmp(tok_model_type(model), wanted) == 0)
        return WN_OK;
    return wn_fail(WN_ERR_UNSUPPORTED,
                   "%s: tokenizer_class: %s is for models of type %s, but that of the tokenizer is %s", loader->path,
                   classes[class].name, wanted, tok_model_type(model));
}

static void put_t5(cJSON *model, cJSON *file)
{
    put(model, "byte_fallback", cJSON_CreateBool(false));
    put(model, "unk_id", cJSON_CreateNumber(2));
    put(file, "normalizer", take_rules(file));
    put(file, "post_processor", NULL);
}

static wn_status put_bert(struct tok_loader *loader, const struct tok_config *config, cJSON *model, cJSON *file)
{
    const cJSON *accents = tok_value_of(config->root, "strip_accents");
    bool lowercase, chinese, strip;

    WN_TRY(tok_get_bool(loader, config->root, "", "do_lower_case", true, &lowercase));
    WN_TRY(tok_get_bool(loader, config->root, "", "tokenize_chinese_chars", true, &chinese));
    WN_TRY(tok_get_bool(loader, config->root, "", "strip_accents", false, &strip));
    cJSON *normalizer = cJSON_CreateObject();
    cJSON_AddStringToObject(normalizer, "type", "BertNormalizer");
    cJSON_AddBoolToObject(normalizer, "lowercase", lowercase);
    cJSON_AddBoolToObject(normalizer, "handle_chinese_chars", chinese);
    if (accents)
        cJSON_AddBoolToObject(normalizer, "strip_accents", strip);
    put(file, "normalizer", normalizer);
    put(file, "post_processor", NULL);
    put(model, "unk_token", cJSON_CreateString(unknown_of(config)));
    put(model, "continuing_subword_prefix", cJSON_CreateString("##"));
    put(model, "max_input_chars_per_word", cJSON_CreateNumber(100));
    return WN_OK;
}

/* Options of a BPE model, which the constructor writes out. */
static void put_model(const struct tok_config *config, cJSON *model)
{
    const struct stages *stages = &classes[config->class];
    bool names_unknown = config->class == TOK_CLASS_GEMMA || config->class == TOK_CLASS_CODE_LLAMA;

    put(model, "fuse_unk", cJSON_CreateBool(stages->fuse));
    put(model, "byte_fallback", cJSON_CreateBool(stages->bytes));
    put(model, "ignore_merges", cJSON_CreateBool(false));
    put(model, "unk_token", names_unknown ? cJSON_CreateString(unknown_of(config)) : NULL);
}

static void put_decoder(const struct stages *stages, bool prefix, cJSON *file)
{
    cJSON *decoder = cJSON_Parse(stages->decoder), *parts = cJSON_GetObjectItemCaseSensitive(decoder, "decoders");

    if (stages == &classes[TOK_CLASS_LLAMA] && !prefix) /* no space is in front that would be stripped */
        cJSON_DeleteItemFromArray(parts, cJSON_GetArraySize(parts) - 1);
    put(file, "decoder", decoder);
}

wn_status tok_class_rebuild(struct tok_loader *loader, const struct tok_config *config, cJSON *file)
{
    const struct stages *stages = &classes[config->class];
    cJSON *model = cJSON_GetObjectItemCaseSensitive(file, "model");
    bool metaspace = config->class == TOK_CLASS_LLAMA || config->class == TOK_CLASS_CODE_LLAMA, prefix, legacy;

    if (config->rules == TOK_RULES_OF_FILE && *config->other_class)
        return wn_fail(WN_ERR_UNSUPPORTED,
                       "%s: tokenizer_class: %s builds rules of its own in transformers 5, which are not read here; "
                       "\"tokenizer\": \"file\" in the sweep takes the tokenizer's file as it is",
                       loader->path, config->other_class);
    if (config->rules != TOK_RULES_OF_CLASS || !cJSON_IsObject(model))
        return WN_OK;
    WN_TRY(check_kind(loader, config->class, model));
    WN_TRY(tok_get_bool(loader, config->root, "", "add_prefix_space", metaspace, &prefix));
    WN_TRY(tok_get_bool(loader, config->root, "", "legacy", false, &legacy));
    const char *scheme = !prefix ? "never" : legacy && config->class == TOK_CLASS_LLAMA ? "always" : "first";
    struct wn_text pre_tokenizer = {0};
    for (const char *at = stages->pre_tokenizer; *at; at++)
        if (at[0] == '%' && at[1] == 's')
            wn_text_printf(&pre_tokenizer, "%s", metaspace ? scheme : prefix ? "true" : "false"), at++;
        else
            wn_text_append(&pre_tokenizer, at, 1);
    put(file, "pre_tokenizer", cJSON_Parse(pre_tokenizer.data));
    put_decoder(stages, prefix, file);
    wn_text_release(&pre_tokenizer);
    if (config->class == TOK_CLASS_NEOX)
        put(file, "post_processor", NULL);
    if (config->class == TOK_CLASS_BERT)
        return put_bert(loader, config, model, file);
    if (config->class == TOK_CLASS_T5) {
        put_t5(model, file);
        return WN_OK;
    }
    put(file, "normalizer", stages->normalizer ? cJSON_Parse(stages->normalizer) : NULL);
    put_model(config, model);
    return WN_OK;
}

wn_status tok_class_extra_ids(struct tok_loader *loader, struct tok_config *config)
{
    enum { STANDARD = 100, MOST = 100000 };
    const cJSON *given = tok_value_of(config->root, "extra_ids");

    config->extra_ids = config->class == TOK_CLASS_T5 && config->rules == TOK_RULES_OF_CLASS ? STANDARD : 0;
    if (config->extra_ids && given && !tok_read_integer(given, MOST, &config->extra_ids))
        return tok_expected_key(loader, "", "extra_ids", "a number of tokens");
    return WN_OK;
}
