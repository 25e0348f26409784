/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gguf_tokenizer.c: a tokenizer as llama.cpp reads it: byte-level BPE of tokenizer.json ("gpt2") with one of the rules
 * it has for cutting texts, or the pieces of a SentencePiece BPE ("llama").
 */
#include <string.h>

#include <cjson/cJSON.h>

#include "../tokenizer/sentencepiece.h"
#include "../tokenizer/tokenizer_impl.h"
#include "gguf.h"
#include "gguf_pieces.h"

#define LLAMA3_START "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA3_END   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char *const split_rules[][2] = {{"llama-bpe", LLAMA3_START "\\p{N}{1,3}" LLAMA3_END},
                                             {"qwen2", LLAMA3_START "\\p{N}" LLAMA3_END}};

static const float OUTSIDE = -1000; /* score of a token that SentencePiece does not know */

struct vocabulary {
    int64_t count;
    const char **tokens; /* [count] */
    char **owned;        /* [count] NULL: borrowed */
    int32_t *types;      /* [count] those of SentencePiece */
    float *scores;       /* [count] */
};

/* ---- which kind ---- */

static const cJSON *get(const cJSON *json, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(json, key);
}

static const char *text_of(const cJSON *json, const char *key)
{
    const char *text = cJSON_GetStringValue(get(json, key));
    return text ? text : "";
}

static bool is_byte_level(const cJSON *json, bool by_rule)
{
    const cJSON *rule = get(json, "use_regex");
    return !strcmp(text_of(json, "type"), "ByteLevel") && !cJSON_IsTrue(get(json, "add_prefix_space")) &&
           (rule ? cJSON_IsTrue(rule) : true) == by_rule;
}

/* The name that llama.cpp gives to a rule for cutting texts; NULL: it has none of this kind. */
static const char *cutting_rule_of(const cJSON *json)
{
    const cJSON *parts = get(json, "pretokenizers"), *first = cJSON_GetArrayItem(parts, 0);
    const cJSON *last = cJSON_GetArrayItem(parts, 1);
    const char *pattern = text_of(get(first, "pattern"), "Regex");
    if (is_byte_level(json, true))
        return "gpt-2";
    if (strcmp(text_of(json, "type"), "Sequence") != 0 || cJSON_GetArraySize(parts) != 2)
        return NULL;
    if (!strcmp(text_of(first, "type"), "Digits") && cJSON_IsTrue(get(first, "individual_digits")))
        return is_byte_level(last, true) ? "smollm" : NULL;
    for (size_t i = 0; i < sizeof split_rules / sizeof *split_rules; i++)
        if (is_byte_level(last, false) && !strcmp(text_of(first, "behavior"), "Isolated") &&
            !strcmp(pattern, split_rules[i][1]))
            return split_rules[i][0];
    return NULL;
}

/* Of a whole tokenizer.json; what "llama-bpe" does without its "ignore_merges" is called "dbrx". */
static const char *cutting_rule(const cJSON *json)
{
    const char *rule = cutting_rule_of(get(json, "pre_tokenizer"));
    const bool merges = !cJSON_IsTrue(get(get(json, "model"), "ignore_merges"));
    return rule && merges && !strcmp(rule, "llama-bpe") ? "dbrx" : rule;
}

static char *pieces_path(const struct wn_model *model)
{
    char *path = wn_join_path(model->directory, "tokenizer.model");
    if (wn_file_exists(path))
        return path;
    wn_free(path);
    return NULL;
}

/* tokenizer.json, NULL where there is none. */
static cJSON *read_json(const struct wn_model *model)
{
    char *path = wn_join_path(model->directory, "tokenizer.json");
    cJSON *json = NULL;
    if (wn_file_exists(path) && wn_json_read(path, false, &json) != WN_OK)
        json = NULL;
    wn_free(path);
    return json;
}

static const char *json_reason(const cJSON *json)
{
    const cJSON *bpe = get(json, "model"), *normalizer = get(json, "normalizer");
    const char *rule = cutting_rule(json);
    if (strcmp(text_of(bpe, "type"), "BPE") != 0)
        return "its tokenizer is no BPE, and there is no tokenizer.model";
    if (normalizer && !cJSON_IsNull(normalizer) && strcmp(text_of(normalizer, "type"), "NFC") != 0)
        return "its tokenizer changes texts first, which llama.cpp does not";
    if (!rule)
        return "its tokenizer cuts texts by a rule that is none of llama.cpp's gpt-2, smollm, llama-bpe, dbrx and "
               "qwen2";
    if (cJSON_IsTrue(get(bpe, "ignore_merges")) && strcmp(rule, "llama-bpe") != 0)
        return "its tokenizer differs from that of llama.cpp in \"ignore_merges\"";
    return NULL;
}

const char *wn_export_gguf_tokenizer_reason(const struct wn_model *model)
{
    char *pieces = pieces_path(model);
    cJSON *json = read_json(model);
    const char *reason = NULL;
    struct tok_spm spm = {0};
    if (wn_vocabulary_size(model->tokenizer) > model->config.vocab_size)
        reason = "its tokenizer has tokens without an embedding";
    else if (json && !pieces)
        reason = wn_export_gguf_has_pieces(json) ? wn_export_gguf_pieces_reason(model, json) : json_reason(json);
    else if (!pieces || tok_spm_read(pieces, &spm) != WN_OK || spm.model_type != TOK_SPM_BPE)
        reason = "its tokenizer.model is no BPE of SentencePiece";
    tok_spm_release(&spm);
    cJSON_Delete(json);
    wn_free(pieces);
    return reason;
}

/* ---- tokens ---- */

static void open_vocabulary(const struct wn_model *model, struct vocabulary *words)
{
    words->count = model->config.vocab_size;
    words->tokens = wn_alloc(words->count, sizeof *words->tokens);
    words->owned = wn_alloc_zero(words->count, sizeof *words->owned);
    words->types = wn_alloc(words->count, sizeof *words->types);
    words->scores = wn_alloc(words->count, sizeof *words->scores);
    for (int64_t i = 0; i < words->count; i++) {
        words->tokens[i] =
            i < wn_vocabulary_size(model->tokenizer) ? wn_token_text(model->tokenizer, (int32_t)i) : NULL;
        words->types[i] = words->tokens[i] ? TOK_SPM_NORMAL : TOK_SPM_UNUSED;
        words->scores[i] = OUTSIDE;
        if (!words->tokens[i]) /* rows of the embedding that no token has */
            words->tokens[i] = words->owned[i] = wn_format("[PAD%lld]", (long long)i);
    }
}

static void release_vocabulary(struct vocabulary *words)
{
    for (int64_t i = 0; i < words->count; i++)
        wn_free(words->owned[i]);
    wn_free(words->tokens);
    wn_free(words->owned);
    wn_free(words->types);
    wn_free(words->scores);
}

static void take_pieces(const struct tok_spm *spm, struct vocabulary *words)
{
    for (int64_t i = 0; i < spm->count && i < words->count; i++) {
        words->tokens[i] = spm->pieces[i].text;
        words->types[i] = (int32_t)spm->pieces[i].type;
        words->scores[i] = spm->pieces[i].score;
    }
}

/* Tokens that the tokenizer takes whole, whichever file names them. */
static void mark_added(const struct wn_tokenizer *tokenizer, struct vocabulary *words)
{
    for (int64_t i = 0; i < tokenizer->added_count; i++) {
        const struct tok_added *added = &tokenizer->added[i];
        if (added->id >= words->count || words->types[added->id] == TOK_SPM_UNKNOWN ||
            words->types[added->id] == TOK_SPM_BYTE)
            continue;
        words->tokens[added->id] = added->content;
        words->types[added->id] = added->special ? TOK_SPM_CONTROL : TOK_SPM_USER;
    }
}

static void put_vocabulary(struct wn_gguf_file *file, const struct vocabulary *words, bool scores)
{
    wn_gguf_put_strings(file, "tokenizer.ggml.tokens", words->tokens, words->count);
    wn_gguf_put_numbers(file, "tokenizer.ggml.token_type", WN_GGUF_I32, words->types, words->count);
    if (scores)
        wn_gguf_put_numbers(file, "tokenizer.ggml.scores", WN_GGUF_FLOAT, words->scores, words->count);
}

/* Pairs as "a b", also where the file has them as lists. */
static void put_merges(struct wn_gguf_file *file, const cJSON *merges)
{
    const int64_t count = cJSON_GetArraySize(merges);
    const char **texts = wn_alloc(count, sizeof *texts);
    char **joined = wn_alloc_zero(count, sizeof *joined);
    const cJSON *item;
    int64_t i = 0;
    cJSON_ArrayForEach (item, merges) {
        if (cJSON_IsArray(item))
            joined[i] = wn_format("%s %s", cJSON_GetStringValue(cJSON_GetArrayItem(item, 0)),
                                  cJSON_GetStringValue(cJSON_GetArrayItem(item, 1)));
        texts[i] = joined[i] ? joined[i] : cJSON_GetStringValue(item);
        i++;
    }
    wn_gguf_put_strings(file, "tokenizer.ggml.merges", texts, count);
    for (i = 0; i < count; i++)
        wn_free(joined[i]);
    wn_free(joined);
    wn_free(texts);
}

/* ---- what stands beside them ---- */

static void put_id(struct wn_gguf_file *file, const char *key, int64_t id)
{
    if (id >= 0)
        wn_gguf_put_u32(file, key, id);
}

static void put_template(struct wn_gguf_file *file, const struct wn_model *model)
{
    char *path = wn_join_path(model->directory, "chat_template.jinja"), *text = NULL;
    char *config = wn_join_path(model->directory, "tokenizer_config.json");
    cJSON *json = NULL;
    int64_t length;
    if (wn_file_exists(path) && wn_read_text(path, &text, &length) == WN_OK)
        wn_gguf_put_string(file, "tokenizer.chat_template", text);
    else if (wn_file_exists(config) && wn_json_read(config, false, &json) == WN_OK &&
             cJSON_IsString(get(json, "chat_template")))
        wn_gguf_put_string(file, "tokenizer.chat_template", text_of(json, "chat_template"));
    cJSON_Delete(json);
    wn_free(text);
    wn_free(config);
    wn_free(path);
}

wn_status wn_export_gguf_put_tokenizer(struct wn_gguf_file *file, const struct wn_model *model)
{
    char *pieces = pieces_path(model);
    cJSON *json = read_json(model);
    struct vocabulary words;
    struct tok_spm spm = {0};
    wn_status status = pieces ? tok_spm_read(pieces, &spm) : WN_OK;
    const bool scored = pieces || wn_export_gguf_has_pieces(json);
    bool space = spm.add_dummy_prefix;
    open_vocabulary(model, &words);
    if (pieces)
        take_pieces(&spm, &words);
    else if (scored)
        space = wn_export_gguf_score_pieces(model, json, words.count, words.types, words.scores);
    mark_added(model->tokenizer, &words);
    wn_gguf_put_string(file, "tokenizer.ggml.model", scored ? "llama" : "gpt2");
    wn_gguf_put_string(file, "tokenizer.ggml.pre", scored ? "default" : cutting_rule(json));
    put_vocabulary(file, &words, scored);
    if (scored) {
        wn_gguf_put_bool(file, "tokenizer.ggml.add_space_prefix", space);
        put_id(file, "tokenizer.ggml.unknown_token_id",
               pieces ? spm.unknown : wn_token_id(model->tokenizer, text_of(get(json, "model"), "unk_token")));
    } else
        put_merges(file, get(get(json, "model"), "merges"));
    put_id(file, "tokenizer.ggml.bos_token_id", wn_bos_id(model->tokenizer));
    put_id(file, "tokenizer.ggml.eos_token_id", wn_eos_id(model->tokenizer));
    wn_gguf_put_bool(file, "tokenizer.ggml.add_bos_token", wn_adds_bos(model->tokenizer));
    put_template(file, model);
    release_vocabulary(&words);
    tok_spm_release(&spm);
    cJSON_Delete(json);
    wn_free(pieces);
    return status;
}
