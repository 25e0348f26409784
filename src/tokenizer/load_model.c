/* load_model.c: the model of tokenizer.json: vocabulary and merges. */
#include "load.h"

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
        tok_vocabulary_add(&tokenizer->bpe.vocabulary, item->string, (int32_t)id);
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
    struct tok_bpe *bpe = &loader->tokenizer->bpe;
    const char *left = "", *right = "", *missing = NULL;
    size_t left_length = 0;

    WN_TRY(read_merge(loader, merge, index, &left, &left_length, &right));
    joined->length = 0;
    wn_text_append(joined, left, left_length);
    int32_t left_id = tok_vocabulary_find(&bpe->vocabulary, left, left_length);
    if (left_id < 0)
        missing = joined->data;
    int32_t right_id = tok_vocabulary_find(&bpe->vocabulary, right, strlen(right));
    if (!missing && right_id < 0)
        missing = right;
    if (!missing)
        wn_text_append(joined, right, strlen(right));
    int32_t result = missing ? -1 : tok_vocabulary_find(&bpe->vocabulary, joined->data, joined->length);
    if (!missing && result < 0)
        missing = joined->data;
    if (missing)
        return wn_fail(WN_ERR_INPUT, "%s: model.merges[%lld]: the token \"%s\" is not in model.vocab", loader->path,
                       (long long)index, missing);
    tok_bpe_add_merge(bpe, left_id, right_id, (uint32_t)index, result);
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
    tok_bpe_reserve_merges(&loader->tokenizer->bpe, cJSON_GetArraySize(merges));
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

wn_status tok_load_model(struct tok_loader *loader, const cJSON *root)
{
    struct tok_bpe *bpe = &loader->tokenizer->bpe;
    const cJSON *model = tok_value_of(root, "model");
    const char *type = "BPE";

    if (!cJSON_IsObject(model))
        return tok_expected(loader, "model", "an object");
    if (tok_value_of(model, "type") || !tok_value_of(model, "merges"))
        WN_TRY(tok_get_string(loader, model, "model", "type", &type));
    if (strcmp(type, "BPE") != 0)
        return tok_unsupported(loader, "model.type", "model", type);
    WN_TRY(refuse_options(loader, model));
    WN_TRY(tok_get_bool(loader, model, "model", "byte_fallback", false, &bpe->byte_fallback));
    WN_TRY(tok_get_bool(loader, model, "model", "fuse_unk", false, &bpe->fuse_unknown));
    WN_TRY(tok_get_bool(loader, model, "model", "ignore_merges", false, &bpe->ignore_merges));
    WN_TRY(load_vocabulary(loader, model));
    WN_TRY(load_merges(loader, model));
    tok_bpe_finish(bpe);
    return WN_OK;
}
