/* SPDX-License-Identifier: Apache-2.0 */
/* load_model.c: the model of tokenizer.json: its kind, vocabulary, merges and options. */
#include "load.h"

/* ---- BPE ---- */

static wn_status load_vocabulary(struct tok_loader *loader, const cJSON *model)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    const cJSON *vocabulary = tok_value_of(model, "vocab"), *item;
    int64_t id;

    if (!cJSON_IsObject(vocabulary))
        return tok_expected(loader, "model.vocab", "an object of tokens and their ids");
    cJSON_ArrayForEach (item, vocabulary) {
        if (!tok_read_integer(item, TOK_LARGEST_ID, &id))
            return wn_fail(WN_ERR_INPUT, "%s: model.vocab: expected a whole number from 0 to %d as the id of \"%s\"",
                           loader->path, TOK_LARGEST_ID, item->string);
        tok_vocabulary_add(&tokenizer->model.vocabulary, item->string, (int32_t)id);
        tokenizer->size = id >= tokenizer->size ? id + 1 : tokenizer->size;
    }
    return WN_OK;
}

/* The two halves of a merge: "a b" or ["a", "b"]. */
static wn_status read_merge(const struct tok_loader *loader, const cJSON *merge, int64_t index, const char **left,
                            size_t *left_length, const char **right)
{
    const cJSON *first = cJSON_GetArrayItem(merge, 0), *second = cJSON_GetArrayItem(merge, 1);

    if (cJSON_IsArray(merge) && cJSON_GetArraySize(merge) == 2 && cJSON_IsString(first) && cJSON_IsString(second)) {
        *left = first->valuestring;
        *left_length = strlen(*left);
        *right = second->valuestring;
        return WN_OK;
    }
    const char *space = cJSON_IsString(merge) ? strchr(merge->valuestring, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return wn_fail(WN_ERR_INPUT, "%s: model.merges[%lld]: expected \"left right\" or [\"left\", \"right\"]",
                       loader->path, (long long)index);
    *left = merge->valuestring;
    *left_length = (size_t)(space - *left);
    *right = space + 1;
    return WN_OK;
}

static wn_status add_merge(struct tok_loader *loader, const cJSON *merge, int64_t index, struct wn_text *joined)
{
    const struct tok_vocabulary *vocabulary = &loader->tokenizer->model.vocabulary;
    const char *left = "", *right = "", *missing = NULL;
    size_t left_length = 0;

    WN_TRY(read_merge(loader, merge, index, &left, &left_length, &right));
    joined->length = 0;
    wn_text_append(joined, left, left_length);
    int32_t left_id = tok_vocabulary_find(vocabulary, left, left_length);
    if (left_id < 0)
        missing = joined->data;
    int32_t right_id = tok_vocabulary_find(vocabulary, right, strlen(right));
    if (!missing && right_id < 0)
        missing = right;
    if (!missing)
        wn_text_append(joined, right, strlen(right));
    int32_t result = missing ? -1 : tok_vocabulary_find(vocabulary, joined->data, joined->length);
    if (!missing && result < 0)
        missing = joined->data;
    if (missing)
        return wn_fail(WN_ERR_INPUT, "%s: model.merges[%lld]: the token \"%s\" is not in model.vocab", loader->path,
                       (long long)index, missing);
    tok_bpe_add_merge(&loader->tokenizer->model.bpe, left_id, right_id, (uint32_t)index, result);
    return WN_OK;
}

static wn_status load_merges(struct tok_loader *loader, const cJSON *model)
{
    const cJSON *merges = tok_value_of(model, "merges"), *merge;
    struct wn_text joined = {0};
    int64_t index = 0;
    wn_status status = WN_OK;

    if (!cJSON_IsArray(merges))
        return tok_expected(loader, "model.merges", "a list");
    tok_bpe_reserve_merges(&loader->tokenizer->model.bpe, cJSON_GetArraySize(merges));
    cJSON_ArrayForEach (merge, merges) {
        bool comment = cJSON_IsString(merge) && strncmp(merge->valuestring, "#version", 8) == 0;
        if (!comment)
            status = add_merge(loader, merge, index, &joined);
        if (status != WN_OK)
            break;
        index++;
    }
    wn_text_release(&joined);
    return status;
}

/* Options that would change the tokens and that no model in use has. */
static wn_status refuse_options(const struct tok_loader *loader, const cJSON *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const cJSON *dropout = tok_value_of(model, "dropout");

    for (int i = 0; i < 2; i++) {
        const cJSON *affix = tok_value_of(model, affixes[i]);
        if (affix && !cJSON_IsString(affix))
            return tok_expected_key(loader, "model", affixes[i], "a string or null");
        if (affix && *affix->valuestring)
            return tok_unsupported(loader, "model", affixes[i], affix->valuestring);
    }
    if (dropout && !cJSON_IsNumber(dropout))
        return tok_expected_key(loader, "model", "dropout", "a number or null");
    if (dropout && dropout->valuedouble != 0)
        return wn_fail(WN_ERR_UNSUPPORTED, "%s: model.dropout: %g is not supported, encoding must not be random",
                       loader->path, dropout->valuedouble);
    return WN_OK;
}

static wn_status load_bpe(struct tok_loader *loader, const cJSON *json)
{
    struct tok_model *model = &loader->tokenizer->model;

    WN_TRY(refuse_options(loader, json));
    WN_TRY(tok_get_bool(loader, json, "model", "byte_fallback", false, &model->byte_fallback));
    WN_TRY(tok_get_bool(loader, json, "model", "fuse_unk", false, &model->bpe.fuse_unknown));
    WN_TRY(tok_get_bool(loader, json, "model", "ignore_merges", false, &model->bpe.ignore_merges));
    if (loader->spm) {
        tok_spm_load_bpe(loader->spm, loader->tokenizer);
        return WN_OK;
    }
    WN_TRY(load_vocabulary(loader, json));
    return load_merges(loader, json);
}

/* ---- Unigram ---- */

static wn_status load_scores(struct tok_loader *loader, const cJSON *json)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    const cJSON *vocabulary = tok_value_of(json, "vocab"), *item;

    if (!cJSON_IsArray(vocabulary))
        return tok_expected(loader, "model.vocab", "a list of tokens and their scores");
    if (cJSON_GetArraySize(vocabulary) > TOK_LARGEST_ID)
        return tok_expected(loader, "model.vocab", "fewer tokens");
    cJSON_ArrayForEach (item, vocabulary) {
        const cJSON *text = cJSON_GetArrayItem(item, 0), *score = cJSON_GetArrayItem(item, 1);
        if (!cJSON_IsArray(item) || !cJSON_IsString(text) || !cJSON_IsNumber(score))
            return wn_fail(WN_ERR_INPUT, "%s: model.vocab[%lld]: expected a token and its score, as [\"the\", -3.5]",
                           loader->path, (long long)tokenizer->model.unigram.count);
        tok_unigram_add(&tokenizer->model, text->valuestring, score->valuedouble);
    }
    tokenizer->size = tokenizer->model.unigram.count;
    return WN_OK;
}

static wn_status load_unigram(struct tok_loader *loader, const cJSON *json)
{
    struct tok_model *model = &loader->tokenizer->model;
    const cJSON *unknown = tok_value_of(json, "unk_id");
    int64_t id = -1;

    WN_TRY(tok_get_bool(loader, json, "model", "byte_fallback", false, &model->byte_fallback));
    if (loader->spm)
        tok_spm_load_unigram(loader->spm, loader->extra_ids, loader->tokenizer);
    else
        WN_TRY(load_scores(loader, json));
    if (unknown && !tok_read_integer(unknown, model->unigram.count - 1, &id))
        return tok_expected(loader, "model.unk_id", "the id of a token of model.vocab, or null");
    model->unknown = (int32_t)id;
    return WN_OK;
}

/* ---- WordPiece and WordLevel ---- */

/* The token for what is unknown; a text that needs one that is not there is an error of its own. */
static wn_status load_words(struct tok_loader *loader, const cJSON *json)
{
    struct tok_model *model = &loader->tokenizer->model;
    const char *unknown = "";

    WN_TRY(load_vocabulary(loader, json));
    WN_TRY(tok_get_string(loader, json, "model", "unk_token", &unknown));
    model->unknown = tok_vocabulary_find(&model->vocabulary, unknown, strlen(unknown));
    return WN_OK;
}

static wn_status load_word_piece(struct tok_loader *loader, const cJSON *json)
{
    struct tok_word_piece *options = &loader->tokenizer->model.word_piece;
    const char *prefix = "";

    WN_TRY(tok_get_string(loader, json, "model", "continuing_subword_prefix", &prefix));
    options->prefix = wn_strdup(prefix);
    if (!tok_read_integer(tok_value_of(json, "max_input_chars_per_word"), INT32_MAX, &options->most_characters))
        return tok_expected_key(loader, "model", "max_input_chars_per_word", "a number of characters");
    return load_words(loader, json);
}

/* ---- any kind ---- */

/* Older files do not name the type: the first that has all it needs is taken, as the package does. */
const char *tok_model_type(const cJSON *json)
{
    const cJSON *type = tok_value_of(json, "type");

    if (type)
        return cJSON_IsString(type) ? type->valuestring : "";
    if (tok_value_of(json, "merges"))
        return "BPE";
    if (cJSON_IsArray(tok_value_of(json, "vocab")))
        return "Unigram";
    return tok_value_of(json, "continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}

wn_status tok_load_model(struct tok_loader *loader, const cJSON *root)
{
    static const struct {
        const char *type;
        enum tok_model_kind kind;
        wn_status (*load)(struct tok_loader *loader, const cJSON *json);
    } kinds[] = {{"BPE", TOK_BPE, load_bpe},
                 {"Unigram", TOK_UNIGRAM, load_unigram},
                 {"WordPiece", TOK_WORD_PIECE, load_word_piece},
                 {"WordLevel", TOK_WORD_LEVEL, load_words}};
    struct tok_model *model = &loader->tokenizer->model;
    const cJSON *json = tok_value_of(root, "model");
    const char *type = "";

    model->unknown = -1;
    if (!cJSON_IsObject(json))
        return tok_expected(loader, "model", "an object");
    if (tok_value_of(json, "type"))
        WN_TRY(tok_get_string(loader, json, "model", "type", &type));
    type = tok_model_type(json);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].type, type) == 0) {
            model->kind = kinds[i].kind;
            WN_TRY(kinds[i].load(loader, json));
            return tok_model_finish(model);
        }
    return tok_unsupported(loader, "model.type", "model", type);
}
