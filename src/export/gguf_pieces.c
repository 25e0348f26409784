/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gguf_pieces.c: a tokenizer.json that was made of SentencePiece's pieces, as llama.cpp reads these: it merges what has
 * the highest score, whatever the parts, so the merges of a token must be all that there can be, one behind the other.
 */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "../tokenizer/sentencepiece.h"
#include "../tokenizer/tokenizer_impl.h"
#include "gguf_pieces.h"

#define SPACE "\xe2\x96\x81" /* U+2581, which stands for one */

static const cJSON *get(const cJSON *json, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(json, key);
}

bool wn_export_gguf_has_pieces(const cJSON *json)
{
    const cJSON *bpe = get(json, "model"), *type = get(bpe, "type");
    return cJSON_IsString(type) && !strcmp(type->valuestring, "BPE") && cJSON_IsTrue(get(bpe, "byte_fallback"));
}

/* ---- merges ---- */

static int32_t find_token(const struct wn_tokenizer *tokenizer, const char *text, size_t length)
{
    return tok_vocabulary_find(&tokenizer->model.vocabulary, text, length);
}

/* The token of a merge, which is a list or has a space between its parts; -1: there is none. */
static int32_t merged_token(const struct wn_tokenizer *tokenizer, const cJSON *merge)
{
    const bool list = cJSON_IsArray(merge);
    const char *left = cJSON_GetStringValue(list ? cJSON_GetArrayItem(merge, 0) : merge);
    const size_t length = !left ? 0 : list ? strlen(left) : strcspn(left, " ");
    const char *right = list                   ? cJSON_GetStringValue(cJSON_GetArrayItem(merge, 1))
                        : left && left[length] ? left + length + 1
                                               : NULL;
    if (!left || !right)
        return -1;
    char *text = wn_format("%.*s%s", (int)length, left, right);
    const int32_t id = find_token(tokenizer, text, strlen(text));
    wn_free(text);
    return id;
}

/* How many pairs of tokens make this one. */
static int32_t count_splits(const struct wn_tokenizer *tokenizer, const char *text)
{
    const size_t length = strlen(text);
    int32_t count = 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) /* not inside a character */
            count += find_token(tokenizer, text, i) >= 0 && find_token(tokenizer, text + i, length - i) >= 0;
    return count;
}

/* first [tokens]: rank of the first merge that makes a token, -1: none does. False: scores cannot say it. */
static bool rank_tokens(const struct wn_tokenizer *tokenizer, const cJSON *json, int32_t *first)
{
    const int64_t n_tokens = wn_vocabulary_size(tokenizer);
    int32_t *merges = wn_alloc_zero(n_tokens, sizeof *merges), rank = 0;
    const cJSON *merge;
    for (int64_t i = 0; i < n_tokens; i++)
        first[i] = -1;
    cJSON_ArrayForEach (merge, get(get(json, "model"), "merges")) {
        const int32_t id = merged_token(tokenizer, merge);
        if (id < 0 || (merges[id] && first[id] + merges[id] != rank)) {
            wn_free(merges);
            return false;
        }
        first[id] = merges[id]++ ? first[id] : rank;
        rank++;
    }
    bool sound = true;
#pragma omp parallel for schedule(dynamic, 256) reduction(&& : sound)
    for (int64_t i = 0; i < n_tokens; i++) {
        const char *text = wn_token_text(tokenizer, (int32_t)i);
        if (text && find_token(tokenizer, text, strlen(text)) == i && strncmp(text, "<0x", 3) != 0)
            sound = sound && count_splits(tokenizer, text) == merges[i];
    }
    wn_free(merges);
    return sound;
}

/* ---- spaces ---- */

/* What the tokens of a text say, one behind the other; owned by the caller. */
static char *spell(const struct wn_tokenizer *tokenizer, const char *text)
{
    struct wn_ids ids = {0};
    struct wn_text spelt = {0};
    wn_text_printf(&spelt, "%s", "");
    if (wn_encode(tokenizer, text, (int64_t)strlen(text), false, &ids) == WN_OK)
        for (int64_t i = 0; i < ids.count; i++)
            wn_text_printf(&spelt, "%s", wn_token_text(tokenizer, ids.data[i]));
    wn_ids_release(&ids);
    return spelt.data;
}

/* Whether a space is put in front; false in *known when texts are changed in any other way. */
static bool adds_space(const struct wn_tokenizer *tokenizer, bool *known)
{
    char *spelt = spell(tokenizer, "a  b c ");
    const char *as_it_is = "a" SPACE SPACE "b" SPACE "c" SPACE;
    const bool added = !strcmp(spelt, SPACE "a" SPACE SPACE "b" SPACE "c" SPACE);
    *known = added || !strcmp(spelt, as_it_is);
    wn_free(spelt);
    return added;
}

/* Where texts are cut, no merge goes over it; at spaces there are none left. */
static bool cuts_nothing(const cJSON *json)
{
    const cJSON *cut = get(json, "pre_tokenizer"), *type = get(cut, "type");
    const char *pattern = cJSON_GetStringValue(get(get(cut, "pattern"), "String"));
    if (!cut || cJSON_IsNull(cut))
        return true;
    if (!cJSON_IsString(type))
        return false;
    return (!strcmp(type->valuestring, "Split") && pattern && !strcmp(pattern, " ")) ||
           (!strcmp(type->valuestring, "Metaspace") && cJSON_IsFalse(get(cut, "split")));
}

/* ---- the whole ---- */

const char *wn_export_gguf_pieces_reason(const struct wn_model *model, const cJSON *json)
{
    bool known;
    adds_space(model->tokenizer, &known);
    if (!known || !cuts_nothing(json))
        return "its tokenizer changes or cuts texts first, which llama.cpp does not";
    int32_t *first = wn_alloc(wn_vocabulary_size(model->tokenizer), sizeof *first);
    const bool ranked = rank_tokens(model->tokenizer, json, first);
    wn_free(first);
    return ranked ? NULL : "its merges are not those of SentencePiece's pieces, and there is no tokenizer.model";
}

bool wn_export_gguf_score_pieces(const struct wn_model *model, const cJSON *json, int64_t count, int32_t *types,
                                 float *scores)
{
    const struct wn_tokenizer *tokenizer = model->tokenizer;
    const char *unknown = cJSON_GetStringValue(get(get(json, "model"), "unk_token"));
    int32_t *first = wn_alloc(wn_vocabulary_size(tokenizer), sizeof *first);
    bool known;
    rank_tokens(tokenizer, json, first);
    for (int64_t i = 0; i < count && i < wn_vocabulary_size(tokenizer); i++) {
        const char *text = wn_token_text(tokenizer, (int32_t)i);
        if (first[i] >= 0)
            scores[i] = -(float)first[i];
        if (text && tok_byte_of_token(text, strlen(text)) >= 0)
            types[i] = TOK_SPM_BYTE;
        if (text && unknown && !strcmp(text, unknown))
            types[i] = TOK_SPM_UNKNOWN;
    }
    wn_free(first);
    return adds_space(tokenizer, &known);
}
