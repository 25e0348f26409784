/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads tokenizer.json, or what a tokenizer.model becomes (load_sentencepiece.c), as the files beside it change it
 * (config.c). Whatever is of a wrong type, names an unknown
 * token or asks for a component that is not implemented ends the reading with the path and the key.
 */
#include <winnow/io.h>

#include "config.h"

/* ---- post-processors ---- */

/* Appends the ids of template piece {"SpecialToken": {"id": ..}}, which special_tokens lists. */
static wn_status add_template_token(struct tok_loader *loader, const cJSON *json, const char *where, const cJSON *token,
                                    struct wn_ids *ids)
{
    const cJSON *name = tok_value_of(token, "id"), *id;
    int64_t value;

    if (!cJSON_IsString(name))
        return tok_expected_key(loader, where, "single", "a string under SpecialToken.id");
    const cJSON *entry = tok_value_of(tok_value_of(json, "special_tokens"), name->valuestring);
    const cJSON *list = tok_value_of(entry, "ids");
    if (!cJSON_IsArray(list))
        return wn_fail(WN_ERR_INPUT, "%s: %s.special_tokens: expected a list \"ids\" under the token \"%s\"",
                       loader->path, where, name->valuestring);
    cJSON_ArrayForEach (id, list) {
        if (!tok_read_integer(id, TOK_LARGEST_ID, &value) || !wn_token_text(loader->tokenizer, (int32_t)value))
            return wn_fail(WN_ERR_INPUT, "%s: %s.special_tokens: expected ids of the vocabulary under the token \"%s\"",
                           loader->path, where, name->valuestring);
        wn_ids_append(ids, (int32_t)value);
    }
    return WN_OK;
}

/* What a template puts before and behind $A. */
static wn_status read_template(struct tok_loader *loader, const cJSON *json, const char *where, struct wn_ids *before,
                               struct wn_ids *behind)
{
    const cJSON *single = tok_value_of(json, "single"), *piece;
    int64_t sequences = 0;

    if (!cJSON_IsArray(single))
        return tok_expected_key(loader, where, "single", "a list");
    cJSON_ArrayForEach (piece, single) {
        const cJSON *token = tok_value_of(piece, "SpecialToken"), *sequence = tok_value_of(piece, "Sequence");
        if (cJSON_IsObject(token))
            WN_TRY(add_template_token(loader, json, where, token, sequences ? behind : before));
        else if (cJSON_IsObject(sequence))
            sequences++;
        else
            return tok_expected_key(loader, where, "single", "objects SpecialToken or Sequence in the list");
    }
    if (sequences != 1)
        return tok_expected_key(loader, where, "single", "the text once: one Sequence in the list");
    return WN_OK;
}

/* A token ["name", id] under a key. */
static wn_status read_end(const struct tok_loader *loader, const cJSON *json, const char *where, const char *key,
                          struct wn_ids *ids)
{
    const cJSON *pair = tok_value_of(json, key);
    int64_t value;

    if (!cJSON_IsArray(pair) || !tok_read_integer(cJSON_GetArrayItem(pair, 1), TOK_LARGEST_ID, &value) ||
        !wn_token_text(loader->tokenizer, (int32_t)value))
        return tok_expected_key(loader, where, key, "a list of a token and its id");
    wn_ids_append(ids, (int32_t)value);
    return WN_OK;
}

/* BertProcessing and RobertaProcessing: one token before and one behind the text. */
static wn_status read_ends(const struct tok_loader *loader, const cJSON *json, const char *where, struct wn_ids *before,
                           struct wn_ids *behind)
{
    WN_TRY(read_end(loader, json, where, "cls", before));
    return read_end(loader, json, where, "sep", behind);
}

static void append_all(struct wn_ids *ids, const struct wn_ids *more)
{
    for (int64_t i = 0; i < more->count; i++)
        wn_ids_append(ids, more->data[i]);
}

/* A later post-processor wraps what earlier ones made. */
static wn_status load_processor(struct tok_loader *loader, const cJSON *json, const char *where, const char *type)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    struct wn_ids before = {0}, behind = {0};

    if (strcmp(type, "ByteLevel") == 0) /* only trims offsets */
        return WN_OK;
    bool pair = strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0;
    if (!pair && strcmp(type, "TemplateProcessing") != 0)
        return tok_unsupported(loader, where, "post-processor", type);
    wn_status status =
        pair ? read_ends(loader, json, where, &before, &behind) : read_template(loader, json, where, &before, &behind);
    if (status == WN_OK) {
        append_all(&before, &tokenizer->prefix);
        append_all(&tokenizer->suffix, &behind);
        struct wn_ids old = tokenizer->prefix;
        tokenizer->prefix = before;
        before = old;
    }
    wn_ids_release(&before);
    wn_ids_release(&behind);
    return status;
}

/* ---- added tokens ---- */

static wn_status load_added_token(struct tok_loader *loader, const cJSON *json, const char *where)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    struct tok_added *added = &tokenizer->added[tokenizer->added_count];
    const char *content = "";
    int64_t id = 0;

    *added = (struct tok_added){0};
    if (!cJSON_IsObject(json))
        return tok_expected(loader, where, "an object");
    WN_TRY(tok_get_string(loader, json, where, "content", &content));
    if (!*content)
        return tok_expected_key(loader, where, "content", "a string that is not empty");
    if (!tok_read_integer(tok_value_of(json, "id"), TOK_LARGEST_ID, &id))
        return wn_fail(WN_ERR_INPUT, "%s: %s.id: expected a whole number from 0 to %d", loader->path, where,
                       TOK_LARGEST_ID);
    WN_TRY(tok_get_bool(loader, json, where, "single_word", false, &added->single_word));
    WN_TRY(tok_get_bool(loader, json, where, "lstrip", false, &added->lstrip));
    WN_TRY(tok_get_bool(loader, json, where, "rstrip", false, &added->rstrip));
    WN_TRY(tok_get_bool(loader, json, where, "special", false, &added->special));
    WN_TRY(tok_get_bool(loader, json, where, "normalized", !added->special, &added->normalized));
    added->id = (int32_t)id;
    added->content = wn_strdup(content);
    tokenizer->added_count++;
    tokenizer->size = id >= tokenizer->size ? id + 1 : tokenizer->size;
    return WN_OK;
}

static wn_status load_added(struct tok_loader *loader, const cJSON *root)
{
    const cJSON *list = tok_value_of(root, "added_tokens"), *item;
    int64_t index = 0;
    wn_status status = WN_OK;

    if (!list)
        return WN_OK;
    if (!cJSON_IsArray(list))
        return tok_expected(loader, "added_tokens", "a list");
    loader->tokenizer->added = wn_alloc_zero(cJSON_GetArraySize(list), sizeof(struct tok_added));
    cJSON_ArrayForEach (item, list) {
        char *where = wn_format("added_tokens[%lld]", (long long)index++);
        status = load_added_token(loader, item, where);
        wn_free(where);
        if (status != WN_OK)
            break;
    }
    return status;
}

/* Records the string of an id, which no other string may have. */
static wn_status name_id(struct tok_loader *loader, const char *where, char *text, int32_t id)
{
    char **slot = &loader->tokenizer->texts[id];

    if (*slot && strcmp(*slot, text) != 0)
        return wn_fail(WN_ERR_INPUT, "%s: %s: the tokens \"%s\" and \"%s\" share the id %d", loader->path, where, *slot,
                       text, id);
    *slot = text;
    loader->tokenizer->outputs[id] = text;
    return WN_OK;
}

static wn_status name_ids(struct tok_loader *loader)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    const struct tok_vocabulary *vocabulary = &tokenizer->model.vocabulary;

    tokenizer->texts = wn_alloc_zero(tokenizer->size, sizeof(char *));
    tokenizer->outputs = wn_alloc_zero(tokenizer->size, sizeof(char *));
    tokenizer->special = wn_alloc_zero(tokenizer->size, sizeof(bool));
    for (int64_t i = 0; i < vocabulary->count; i++) {
        const struct tok_entry *entry = &vocabulary->entries[i];
        WN_TRY(name_id(loader, "model.vocab", vocabulary->bytes + entry->offset, entry->id));
    }
    for (int64_t id = 0; id < tokenizer->model.unigram.count; id++) { /* several can have one string */
        const struct tok_entry *entry = &vocabulary->entries[tokenizer->model.unigram.entries[id]];
        tokenizer->texts[id] = vocabulary->bytes + entry->offset;
        tokenizer->outputs[id] = tokenizer->texts[id];
    }
    for (int64_t i = 0; i < tokenizer->added_count; i++) {
        struct tok_added *added = &tokenizer->added[i];
        int32_t known = tok_vocabulary_find(vocabulary, added->content, strlen(added->content));
        if (known >= 0 && known != added->id)
            return wn_fail(WN_ERR_INPUT, "%s: added_tokens[%lld].id: \"%s\" has the id %d in model.vocab, not %d",
                           loader->path, (long long)i, added->content, known, added->id);
        WN_TRY(name_id(loader, "added_tokens", added->content, added->id));
        tokenizer->special[added->id] |= added->special;
    }
    return WN_OK;
}

/* The one of BPE may be an added token. */
static wn_status load_unknown(struct tok_loader *loader, const cJSON *root)
{
    const cJSON *unknown = tok_value_of(tok_value_of(root, "model"), "unk_token");

    if (loader->tokenizer->model.kind != TOK_BPE || !unknown)
        return WN_OK;
    if (!cJSON_IsString(unknown))
        return tok_expected(loader, "model.unk_token", "a string or null");
    loader->tokenizer->model.unknown = wn_token_id(loader->tokenizer, unknown->valuestring);
    if (loader->tokenizer->model.unknown < 0)
        return wn_fail(WN_ERR_INPUT, "%s: model.unk_token: the token \"%s\" is not in the vocabulary", loader->path,
                       unknown->valuestring);
    return WN_OK;
}

/* ---- the whole file ---- */

static wn_status load_parts(struct tok_loader *loader, const struct tok_config *config, const cJSON *root)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    const cJSON *decoder = tok_value_of(root, "decoder");

    WN_TRY(tok_load_model(loader, root));
    WN_TRY(load_added(loader, root));
    WN_TRY(tok_config_add_tokens(loader, config));
    WN_TRY(name_ids(loader));
    WN_TRY(load_unknown(loader, root));
    WN_TRY(tok_load_chain(loader, tok_value_of(root, "normalizer"), "normalizer", "normalizers", tok_load_normalizer));
    WN_TRY(tok_load_chain(loader, tok_value_of(root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers",
                          tok_load_splitter));
    WN_TRY(
        tok_load_chain(loader, tok_value_of(root, "post_processor"), "post_processor", "processors", load_processor));
    WN_TRY(tok_load_chain(loader, decoder, "decoder", "decoders", tok_load_decoder));
    tokenizer->has_decoder = decoder != NULL;
    return tok_index_added(tokenizer);
}

static wn_status load_root(const char *directory, bool as_file, struct tok_loader *loader, struct tok_spm *spm,
                           cJSON *root)
{
    struct tok_config config = {0};

    if (!cJSON_IsObject(root))
        return wn_fail(WN_ERR_INPUT, "%s: expected an object", loader->path);
    wn_status status = tok_config_read(directory, root, spm, &config);
    struct tok_loader beside = {.path = config.path, .tokenizer = loader->tokenizer};
    config.rules = as_file ? TOK_RULES_OLDER : config.class == TOK_CLASS_FILE ? TOK_RULES_OF_FILE : TOK_RULES_OF_CLASS;
    if (spm && status == WN_OK)
        tok_spm_describe(&config, root);
    if (status == WN_OK)
        status = tok_class_rebuild(&beside, &config, root);
    if (status == WN_OK)
        status = tok_class_extra_ids(&beside, &config);
    loader->extra_ids = config.extra_ids;
    if (status == WN_OK)
        status = load_parts(loader, &config, root);
    if (status == WN_OK)
        status = tok_config_finish(loader, &config);
    tok_config_release(&config);
    return status;
}

/* Fails when there is a tokenizer of another kind, with the command that makes tokenizer.json of it. */
static wn_status name_other_file(const char *directory, const char *path)
{
    static const char *const others[] = {"tekken.json", "vocab.json", "vocab.txt", "tiktoken.model"};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *other = wn_join_path(directory, others[i]);
        bool there = wn_file_exists(other);
        wn_free(other);
        if (there)
            return wn_fail(WN_ERR_INPUT,
                           "%s: is absent, but there is %s; make it: python3 -c 'from transformers import "
                           "AutoTokenizer; AutoTokenizer.from_pretrained(\"%s\").save_pretrained(\"%s\")'",
                           path, others[i], directory, directory);
    }
    return WN_OK;
}

/* The SentencePiece model of a folder without tokenizer.json, NULL when there is none. Owned by the caller. */
static char *find_model(const char *directory)
{
    static const char *const names[] = {"tokenizer.model", "spiece.model"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = wn_join_path(directory, names[i]);
        if (wn_file_exists(path))
            return path;
        wn_free(path);
    }
    return NULL;
}

static wn_status load_sentencepiece(const char *directory, bool as_file, struct wn_tokenizer *tokenizer)
{
    struct tok_spm spm;
    wn_status status = tok_spm_read(tokenizer->path, &spm);
    struct tok_loader loader = {.path = tokenizer->path, .tokenizer = tokenizer, .spm = &spm};
    cJSON *root = cJSON_CreateObject();

    if (status == WN_OK)
        status = load_root(directory, as_file, &loader, &spm, root);
    cJSON_Delete(root);
    tok_spm_release(&spm);
    return status;
}

wn_status tok_load(const char *directory, bool as_file, struct wn_tokenizer *tokenizer)
{
    struct tok_loader loader = {.path = tokenizer->path, .tokenizer = tokenizer};
    bool there = wn_file_exists(tokenizer->path);
    char *model = there ? NULL : find_model(directory);
    cJSON *root = NULL;

    if (model) {
        wn_free(tokenizer->path);
        tokenizer->path = model;
        return load_sentencepiece(directory, as_file, tokenizer);
    }
    if (!there)
        WN_TRY(name_other_file(directory, tokenizer->path));
    WN_TRY(wn_json_read(tokenizer->path, false, &root));
    wn_status status = load_root(directory, as_file, &loader, NULL, root);
    cJSON_Delete(root);
    return status;
}
