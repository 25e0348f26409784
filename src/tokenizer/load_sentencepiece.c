/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_sentencepiece.c: a tokenizer.model without tokenizer.json, converted as transformers 5 does
 * (convert_slow_tokenizer.py: SentencePieceExtractor, SpmConverter.build_tokenizer_from_spm_proto, T5Converter). The
 * stages become what a tokenizer.json would hold; vocabulary and merges are taken from the pieces.
 */
#include <stdlib.h>

#include "config.h"

#define REPLACE_SPACES "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}"
#define SPACES_BACK    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"}"
#define REMOVE_SPACES                                                                                                  \
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\A +|[ \xE2\x96\x81]+\\\\z\"},\"content\":\"\"},"               \
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"},"

/* ---- the stages ---- */

static void put_text(cJSON *object, const char *key, const char *text)
{
    if (!cJSON_GetObjectItemCaseSensitive(object, key))
        cJSON_AddStringToObject(object, key, text);
}

/*
 * What the class TokenizersBackend makes of a model; classes of their own replace it (classes.c). As transformers 4
 * made them, the model's own rules for spaces count too.
 */
static void put_stages(const struct tok_spm *spm, bool older, cJSON *root)
{
    const char *rules = spm->charsmap ? "{\"type\":\"Precompiled\"}," : "";
    const char *bytes = spm->byte_fallback ? ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}" : "";
    bool prefix = older && spm->add_dummy_prefix;
    const char *extra = older && spm->remove_extra_whitespaces ? REMOVE_SPACES : "";
    const char *before = prefix ? "{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"}," : "";
    const char *strip =
        prefix ? ",{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}" : "";
    char *normalizer =
        wn_format("{\"type\":\"Sequence\",\"normalizers\":[%s%s%s" REPLACE_SPACES "]}", rules, extra, before);
    char *decoder = wn_format("{\"type\":\"Sequence\",\"decoders\":[" SPACES_BACK "%s%s]}", bytes, strip);

    cJSON_AddItemToObject(root, "normalizer", cJSON_Parse(normalizer));
    cJSON_AddItemToObject(root, "decoder", cJSON_Parse(decoder));
    wn_free(normalizer);
    wn_free(decoder);
}

/* Tokens of added_tokens_decoder that stand in the place of a piece: it was there to be replaced. */
static void rename_pieces(struct tok_spm *spm, const cJSON *decoder)
{
    struct tok_vocabulary known = {0};
    const cJSON *item;

    for (int64_t i = 0; decoder && i < spm->count; i++)
        tok_vocabulary_add(&known, spm->pieces[i].text, (int32_t)i);
    cJSON_ArrayForEach (item, decoder) {
        const cJSON *content = tok_value_of(item, "content");
        const char *key = item->string ? item->string : "";
        char *end = NULL;
        long id = strtol(key, &end, 10);
        if (!*key || !cJSON_IsString(content) || !*content->valuestring || *end || id < 0 || id >= spm->count)
            continue;
        const char *text = spm->pieces[id].text;
        size_t length = strlen(content->valuestring);
        if (tok_vocabulary_find(&known, text, strlen(text)) != id ||
            tok_vocabulary_find(&known, content->valuestring, length) >= 0)
            continue;
        wn_free(spm->pieces[id].renamed); /* keys may repeat an id */
        spm->pieces[id].renamed = wn_strdup(content->valuestring);
        tok_vocabulary_add(&known, content->valuestring, (int32_t)id);
    }
    tok_vocabulary_release(&known);
}

void tok_spm_describe(struct tok_config *config, cJSON *root)
{
    struct tok_spm *spm = config->spm;
    cJSON *model = cJSON_AddObjectToObject(root, "model");
    bool whole = config->rules != TOK_RULES_OF_CLASS;
    bool unigram = whole ? spm->model_type == TOK_SPM_UNIGRAM : config->class == TOK_CLASS_T5;

    put_stages(spm, config->rules == TOK_RULES_OLDER, root);
    cJSON_AddStringToObject(model, "type", unigram ? "Unigram" : "BPE");
    cJSON_AddBoolToObject(model, "byte_fallback", spm->byte_fallback);
    if (unigram) {
        cJSON_AddNumberToObject(model, "unk_id", (double)spm->unknown);
    } else {
        cJSON_AddStringToObject(model, "unk_token", spm->unknown_piece);
        cJSON_AddTrueToObject(model, "fuse_unk");
    }
    if (!whole)
        return;
    if (!unigram)
        rename_pieces(spm, cJSON_GetObjectItemCaseSensitive(config->root, "added_tokens_decoder"));
    if (spm->bos >= 0)
        put_text(config->root, "bos_token", spm->bos_piece);
    if (spm->eos >= 0)
        put_text(config->root, "eos_token", spm->eos_piece);
    if (spm->unknown >= 0)
        put_text(config->root, "unk_token", spm->unknown_piece);
}

/* ---- vocabulary and merges ---- */

/* Merges of a token: where it can be cut in two tokens, the shorter left part first. Returns how many they are. */
static int64_t cut_token(struct tok_model *model, const char *text, int32_t id, bool add, int64_t rank)
{
    size_t length = strlen(text), at = 0;
    int64_t count = 0;

    for (tok_next_code(text, &at); at < length; tok_next_code(text, &at)) {
        int32_t left = tok_vocabulary_find(&model->vocabulary, text, at);
        int32_t right = left < 0 ? -1 : tok_vocabulary_find(&model->vocabulary, text + at, length - at);
        if (right < 0)
            continue;
        if (add)
            tok_bpe_add_merge(&model->bpe, left, right, (uint32_t)(rank + count), id);
        count++;
    }
    return count;
}

/* Of pieces of one text, the last has the id. */
static int64_t cut_all(struct tok_model *model, const struct tok_spm *spm, bool add)
{
    int64_t count = 0;

    for (int64_t i = 0; i < spm->count; i++) {
        const char *text = spm->pieces[i].text;
        if (!spm->pieces[i].renamed && tok_vocabulary_find(&model->vocabulary, text, strlen(text)) == i)
            count += cut_token(model, text, (int32_t)i, add, count);
    }
    return count;
}

void tok_spm_load_bpe(const struct tok_spm *spm, struct wn_tokenizer *tokenizer)
{
    struct tok_model *model = &tokenizer->model;

    for (int64_t i = 0; i < spm->count; i++) {
        const struct tok_spm_piece *piece = &spm->pieces[i];
        tok_vocabulary_add(&model->vocabulary, piece->renamed ? piece->renamed : piece->text, (int32_t)i);
    }
    tokenizer->size = spm->count;
    tok_bpe_reserve_merges(&model->bpe, cut_all(model, spm, false));
    cut_all(model, spm, true);
}

char *tok_extra_id(int64_t number)
{
    return wn_format("<extra_id_%lld>", (long long)number);
}

void tok_spm_load_unigram(const struct tok_spm *spm, int64_t extra, struct wn_tokenizer *tokenizer)
{
    for (int64_t i = 0; i < spm->count; i++)
        tok_unigram_add(&tokenizer->model, spm->pieces[i].text, (double)spm->pieces[i].score);
    for (int64_t i = extra - 1; i >= 0; i--) {
        char *text = tok_extra_id(i);
        tok_unigram_add(&tokenizer->model, text, 0);
        wn_free(text);
    }
    tokenizer->size = tokenizer->model.unigram.count;
}
