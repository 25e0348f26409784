/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json, by the rules of transformers 5.24
 * (tokenization_utils_base.py and tokenization_utils_tokenizers.py).
 */
#include <winnow/io.h>

#include <stdlib.h>

#include "config.h"

/* ---- files ---- */

static wn_status read_object(const char *directory, const char *name, cJSON **object)
{
    char *path = wn_join_path(directory, name);
    wn_status status = WN_OK;

    *object = NULL;
    if (wn_file_exists(path))
        status = wn_json_read(path, false, object);
    if (status == WN_OK && *object && !cJSON_IsObject(*object)) {
        status = wn_fail(WN_ERR_INPUT, "%s: expected an object", path);
        cJSON_Delete(*object);
        *object = NULL;
    }
    wn_free(path);
    return status;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *value = tok_value_of(object, key);

    return cJSON_IsString(value) ? value->valuestring : NULL;
}

/* special_tokens_map.json and added_tokens.json only count where the newer added_tokens_decoder is absent. */
static wn_status read_older(const char *directory, struct tok_config *config)
{
    cJSON *map, *item;

    WN_TRY(read_object(directory, "special_tokens_map.json", &map));
    /* with a tokenizer.model, whose own tokens take their place */
    if (config->spm || cJSON_GetObjectItemCaseSensitive(config->root, "additional_special_tokens") ||
        cJSON_GetObjectItemCaseSensitive(config->root, "extra_special_tokens"))
        cJSON_DeleteItemFromObjectCaseSensitive(map, "additional_special_tokens");
    config->of_map = cJSON_GetObjectItemCaseSensitive(map, "additional_special_tokens") != NULL;
    while (map && (item = map->child)) {
        cJSON_DetachItemViaPointer(map, item);
        cJSON_DeleteItemFromObjectCaseSensitive(config->root, item->string);
        char *key = wn_strdup(item->string);
        cJSON_AddItemToObject(config->root, key, item);
        wn_free(key);
    }
    cJSON_Delete(map);
    return read_object(directory, "added_tokens.json", &config->more);
}

wn_status tok_config_read(const char *directory, const cJSON *file, struct tok_spm *spm, struct tok_config *config)
{
    cJSON *model = NULL;

    *config = (struct tok_config){.path = wn_join_path(directory, "tokenizer_config.json"), .spm = spm};
    WN_TRY(read_object(directory, "tokenizer_config.json", &config->root));
    if (!config->root)
        config->root = cJSON_CreateObject();
    if (!cJSON_GetObjectItemCaseSensitive(config->root, "added_tokens_decoder"))
        WN_TRY(read_older(directory, config));
    if (read_object(directory, "config.json", &model) != WN_OK)
        model = NULL; /* the reader of config.json says what is wrong with it */
    const char *name = text_of(config->root, "tokenizer_class");
    const char *type = text_of(model, "model_type");
    name = name ? name : text_of(model, "tokenizer_class");
    config->class = tok_class_find(name, type, file);
    config->other_class = wn_strdup(tok_class_is_other(name, type) ? name : "");
    cJSON_Delete(model);
    return WN_OK;
}

void tok_config_release(struct tok_config *config)
{
    wn_free(config->path);
    wn_free(config->other_class);
    cJSON_Delete(config->root);
    cJSON_Delete(config->more);
    *config = (struct tok_config){0};
}

/* ---- tokens ---- */

/* The tokens of the tokenizer, found by their content. */
struct registry {
    struct wn_tokenizer *tokenizer;
    struct wn_texts contents; /* number = index in tokenizer->added */
    int64_t capacity;
    int32_t largest; /* id; -1 without tokens */
    int64_t listed;  /* tokens before this index are of the file, added_tokens_decoder or the older files */
    const cJSON *decoder;
};

static void register_token(struct registry *r, const struct tok_added *token)
{
    struct wn_tokenizer *t = r->tokenizer;

    if (t->added_count == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 64;
        t->added = wn_resize(t->added, r->capacity, sizeof *t->added);
    }
    t->added[t->added_count++] = *token;
    r->largest = token->id > r->largest ? token->id : r->largest;
    t->size = token->id >= t->size ? token->id + 1 : t->size;
}

/* The index of a token, -1 when there is none of that content. */
static int64_t find_token(struct registry *r, const char *content)
{
    int64_t index = wn_texts_add(&r->contents, content);

    return index < r->tokenizer->added_count ? index : -1;
}

static int32_t next_id(const struct registry *r)
{
    int64_t size = tok_model_count(&r->tokenizer->model);

    return r->largest >= size ? r->largest + 1 : (int32_t)size;
}

/* As AddedVocabulary of the package `tokenizers`: a token of the vocabulary keeps its id, a known one changes. */
static void add_token(struct registry *r, const struct tok_added *token)
{
    struct tok_added added = *token;
    int64_t index = find_token(r, token->content);

    if (index >= 0) {
        struct tok_added *old = &r->tokenizer->added[index];
        added.id = old->id;
        added.content = old->content;
        added.special |= old->special;
        *old = added;
        return;
    }
    added.content = wn_strdup(token->content);
    added.id = tok_vocabulary_find(&r->tokenizer->model.vocabulary, added.content, strlen(added.content));
    if (added.id < 0)
        added.id = next_id(r);
    register_token(r, &added);
}

/* A token as it stands in these files: a string, or an object like those of tokenizer.json. */
static wn_status read_token(struct tok_loader *loader, const char *key, const cJSON *json, bool special,
                            struct tok_added *token)
{
    *token = (struct tok_added){.special = true};
    const char *content = cJSON_IsString(json) ? json->valuestring : text_of(json, "content");

    if (!content || !*content)
        return tok_expected_key(loader, "", key, "a token: a string that is not empty, or an object with \"content\"");
    token->content = (char *)(uintptr_t)content;
    if (cJSON_IsString(json))
        return WN_OK;
    WN_TRY(tok_get_bool(loader, json, key, "single_word", false, &token->single_word));
    WN_TRY(tok_get_bool(loader, json, key, "lstrip", false, &token->lstrip));
    WN_TRY(tok_get_bool(loader, json, key, "rstrip", false, &token->rstrip));
    WN_TRY(tok_get_bool(loader, json, key, "special", special, &token->special));
    return tok_get_bool(loader, json, key, "normalized", !token->special, &token->normalized);
}

/* ---- added_tokens_decoder, or the older files ---- */

static const char *const named[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                    "pad_token", "cls_token", "mask_token"};

struct numbered {
    long id;
    struct tok_added token; /* content borrowed */
};

static int compare_numbered(const void *a, const void *b)
{
    const struct numbered *left = a, *right = b;

    return (left->id > right->id) - (left->id < right->id);
}

static wn_status add_decoder(struct tok_loader *loader, struct registry *r, const cJSON *decoder)
{
    int64_t count = 0;
    struct numbered *tokens = wn_alloc(cJSON_GetArraySize(decoder), sizeof *tokens);
    wn_status status = cJSON_IsObject(decoder)
                           ? WN_OK
                           : tok_expected_key(loader, "", "added_tokens_decoder", "an object of ids and their tokens");
    const cJSON *item;

    cJSON_ArrayForEach (item, decoder) {
        char *end = NULL;
        if (status != WN_OK)
            break;
        tokens[count].id = strtol(item->string, &end, 10);
        if (!cJSON_IsObject(item) || !*item->string || *end || tokens[count].id < 0)
            status = tok_expected_key(loader, "added_tokens_decoder", item->string, "an id as key of an object");
        else
            status = read_token(loader, "added_tokens_decoder", item, false, &tokens[count++].token);
    }
    if (status == WN_OK) {
        qsort(tokens, (size_t)count, sizeof *tokens, compare_numbered);
        for (int64_t i = 0; i < count; i++)
            add_token(r, &tokens[i].token);
    }
    wn_free(tokens);
    return status;
}

/* Whether the configuration names a token of added_tokens.json. */
static bool is_special(const struct tok_config *config, const char *content)
{
    const cJSON *extra = tok_value_of(config->root, "extra_special_tokens"), *item;

    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        const cJSON *value = tok_value_of(config->root, named[i]);
        const char *token = cJSON_IsString(value) ? value->valuestring : text_of(value, "content");
        if (token && strcmp(token, content) == 0)
            return true;
    }
    if (cJSON_GetArraySize(extra) == 0 && !config->of_map)
        extra = tok_value_of(config->root, "additional_special_tokens");
    cJSON_ArrayForEach (item, extra)
        if (cJSON_IsArray(extra) && cJSON_IsString(item) && strcmp(item->valuestring, content) == 0)
            return true;
    return false;
}

/* The tokens of the file, in the order of their ids, and between them those of added_tokens.json. */
static void add_older(struct registry *r, const struct tok_config *config, const struct tok_added *of_file,
                      int64_t of_file_count)
{
    const cJSON *more = config->more;
    int64_t count = of_file_count, most = of_file_count + cJSON_GetArraySize(more);
    struct numbered *tokens = wn_alloc(most, sizeof *tokens);
    const cJSON *item;

    for (int64_t i = 0; i < count; i++)
        tokens[i] = (struct numbered){of_file[i].id, of_file[i]};
    cJSON_ArrayForEach (item, more) {
        bool given = !cJSON_IsNumber(item) || !*item->string;
        for (int64_t i = 0; i < of_file_count && !given; i++)
            given = of_file[i].id == item->valueint;
        bool special = !given && is_special(config, item->string);
        if (!given)
            tokens[count++] = (struct numbered){item->valueint,
                                                {.content = item->string, .normalized = !special, .special = special}};
    }
    qsort(tokens, (size_t)count, sizeof *tokens, compare_numbered);
    for (int64_t i = 0; i < count; i++)
        add_token(r, &tokens[i].token);
    wn_free(tokens);
}

/* ---- named and extra tokens ---- */

static bool is_named(const char *key)
{
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(named[i], key) == 0)
            return true;
    return false;
}

/* Any, without an added_tokens_decoder. */
static bool is_decoded(const struct registry *r, const char *content)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, r->decoder) {
        const char *text = text_of(item, "content");
        if (text && strcmp(text, content) == 0)
            return true;
    }
    return r->decoder == NULL;
}

/* A token that has a name; a listed one keeps its flags, but is special if it is decoded. Of the names of a new one the
 * first counts, and after it the first that is given the other way: as a text or as an object. */
static void add_name(struct registry *r, const struct tok_added *token, bool is_text)
{
    int64_t index = find_token(r, token->content);
    struct tok_added old = {0};

    if (index >= 0)
        old = r->tokenizer->added[index];
    if (index >= 0 && index < r->listed) {
        r->tokenizer->added[index].special = old.special || is_decoded(r, token->content);
        return;
    }
    if (is_text ? old.text_named : old.object_named)
        return;
    struct tok_added added = *token;
    added.text_named = old.text_named || is_text;
    added.object_named = old.object_named || !is_text;
    add_token(r, &added);
}

static wn_status add_value(struct tok_loader *loader, struct registry *r, const char *key, const cJSON *json)
{
    struct tok_added token;

    WN_TRY(read_token(loader, key, json, true, &token));
    token.special = true;
    add_name(r, &token, cJSON_IsString(json));
    return WN_OK;
}

/* A token of a list; one that was only named takes the flags of the list. */
static void add_listed(struct registry *r, const struct tok_added *token)
{
    int64_t index = find_token(r, token->content);

    if (index < 0 || index >= r->listed)
        add_token(r, token);
}

/* Names that only a class has. */
static const char *const class_named[] = {"prefix_token", "middle_token", "suffix_token", "eot_token", "fill_token"};

static wn_status add_key(struct tok_loader *loader, struct registry *r, const struct tok_config *config,
                         const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config->root, key);
    const char *standard = value ? NULL : tok_class_token(config->class, key);

    if (standard)
        add_name(r, &(struct tok_added){.content = (char *)(uintptr_t)standard, .special = true}, true);
    return value && !cJSON_IsNull(value) ? add_value(loader, r, key, value) : WN_OK;
}

static wn_status add_named(struct tok_loader *loader, struct registry *r, const struct tok_config *config)
{
    const cJSON *item;

    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        WN_TRY(add_key(loader, r, config, named[i]));
    for (size_t i = 0; config->class == TOK_CLASS_CODE_LLAMA && i < sizeof class_named / sizeof *class_named; i++)
        WN_TRY(add_key(loader, r, config, class_named[i]));
    cJSON_ArrayForEach (item, config->root) {
        size_t length = strlen(item->string);
        bool token = length > 6 && strcmp(item->string + length - 6, "_token") == 0 && !is_named(item->string);
        if (token && (cJSON_IsString(item) || text_of(item, "content")))
            WN_TRY(add_value(loader, r, item->string, item));
    }
    return WN_OK;
}

static wn_status add_list(struct tok_loader *loader, struct registry *r, const struct tok_config *config,
                          const char *key)
{
    const cJSON *list = tok_value_of(config->root, key), *item;

    if (list && !cJSON_IsArray(list) && !cJSON_IsObject(list))
        return tok_expected_key(loader, "", key, "a list of tokens or an object of them");
    cJSON_ArrayForEach (item, list) {
        struct tok_added token;
        if (cJSON_IsObject(list)) {
            WN_TRY(add_value(loader, r, key, item));
            continue;
        }
        WN_TRY(read_token(loader, key, item, false, &token));
        add_listed(r, &token);
    }
    return WN_OK;
}

/* Control and user-defined pieces of a tokenizer.model, in the place of a list that the configuration does not have. */
static bool is_added(const struct tok_spm_piece *piece)
{
    return piece->type == TOK_SPM_CONTROL || piece->type == TOK_SPM_USER;
}

static void add_pieces(struct registry *r, const struct tok_spm *spm)
{
    for (int64_t i = 0; i < spm->count; i++) {
        const struct tok_spm_piece *piece = &spm->pieces[i];
        if (is_added(piece))
            add_listed(r, &(struct tok_added){.content = piece->text, .special = piece->type == TOK_SPM_CONTROL});
    }
}

/* Extra tokens of T5, where no list names others. */
static void add_extra_ids(struct registry *r, const struct tok_config *config)
{
    for (int64_t i = 0; i < config->extra_ids; i++) {
        char *text = tok_extra_id(i);
        add_listed(r, &(struct tok_added){.content = text, .special = true});
        wn_free(text);
    }
}

/* Whether the configuration has a list of extra tokens, be it empty. */
static bool lists_extra(const struct tok_config *config)
{
    const cJSON *newer = cJSON_GetObjectItemCaseSensitive(config->root, "extra_special_tokens");
    const cJSON *older = cJSON_GetObjectItemCaseSensitive(config->root, "additional_special_tokens");
    bool by_name = cJSON_IsObject(newer) && newer->child;

    return (newer && !cJSON_IsObject(newer)) || (older && !by_name);
}

/* The newer key hides the older one where it has a list. */
static wn_status add_extra(struct tok_loader *loader, struct registry *r, const struct tok_config *config)
{
    const cJSON *newer = cJSON_GetObjectItemCaseSensitive(config->root, "extra_special_tokens");
    bool by_name = cJSON_IsObject(newer) && newer->child, listed = lists_extra(config);

    WN_TRY(add_list(loader, r, config, "extra_special_tokens"));
    if (!listed && config->spm)
        add_pieces(r, config->spm);
    if (!(cJSON_IsArray(newer) && newer->child) && !(config->spm && by_name))
        WN_TRY(add_list(loader, r, config, "additional_special_tokens"));
    if (!listed || config->of_map)
        add_extra_ids(r, config);
    return WN_OK;
}

/* The constructor of Qwen2Tokenizer adds its special tokens once more, without flags. */
static void reset_flags(struct registry *r, const char *content)
{
    int64_t index = find_token(r, content);

    if (index >= 0) {
        struct tok_added *token = &r->tokenizer->added[index];
        *token = (struct tok_added){.content = token->content, .id = token->id, .special = true};
    }
}

static void reset_all_flags(struct registry *r, const struct tok_config *config)
{
    const cJSON *newer = tok_value_of(config->root, "extra_special_tokens"), *item, *part;

    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (!cJSON_GetObjectItemCaseSensitive(config->root, named[i]) && tok_class_token(config->class, named[i]))
            reset_flags(r, tok_class_token(config->class, named[i]));
    for (int64_t i = 0; config->spm && !lists_extra(config) && i < config->spm->count; i++)
        if (is_added(&config->spm->pieces[i]))
            reset_flags(r, config->spm->pieces[i].text);
    cJSON_ArrayForEach (item, config->root) {
        size_t length = strlen(item->string);
        const char *content = cJSON_IsString(item) ? item->valuestring : text_of(item, "content");
        if (length > 6 && strcmp(item->string + length - 6, "_token") == 0 && content)
            reset_flags(r, content);
        bool hidden = length == 25 && cJSON_GetArraySize(newer) > 0; /* additional_special_tokens */
        if (length < 14 || strcmp(item->string + length - 14, "special_tokens") != 0 || hidden)
            continue;
        cJSON_ArrayForEach (part, item) {
            content = cJSON_IsString(part) ? part->valuestring : text_of(part, "content");
            if (content)
                reset_flags(r, content);
        }
    }
}

static wn_status add_all(struct tok_loader *loader, struct registry *r, const struct tok_config *config,
                         const struct tok_added *of_file, int64_t count)
{
    const cJSON *decoder = cJSON_GetObjectItemCaseSensitive(config->root, "added_tokens_decoder");
    int32_t next = next_id(r); /* known ones of the same file do not count: their ids may lie behind a hole */

    if (config->rules != TOK_RULES_OF_CLASS)
        for (int64_t i = 0; i < count; i++) {
            struct tok_added token = of_file[i];
            if (find_token(r, token.content) >= 0)
                continue;
            token.content = wn_strdup(token.content);
            if (tok_vocabulary_find(&r->tokenizer->model.vocabulary, token.content, strlen(token.content)) < 0)
                token.id = next++;
            if (token.id != of_file[i].id)
                wn_log(WN_LOG_INFO, "%s: the added token \"%s\" gets the id %d, not %d: new ones take the next free id",
                       r->tokenizer->path, token.content, token.id, of_file[i].id);
            register_token(r, &token);
        }
    r->decoder = decoder;
    if (decoder)
        WN_TRY(add_decoder(loader, r, decoder));
    else
        add_older(r, config, of_file, count);
    r->listed = r->tokenizer->added_count;
    WN_TRY(add_named(loader, r, config));
    WN_TRY(add_extra(loader, r, config));
    if (config->class == TOK_CLASS_QWEN2 && config->rules == TOK_RULES_OF_CLASS)
        reset_all_flags(r, config);
    return WN_OK;
}

wn_status tok_config_add_tokens(struct tok_loader *loader, const struct tok_config *config)
{
    struct wn_tokenizer *t = loader->tokenizer;
    struct tok_added *of_file = t->added;
    struct registry r = {.tokenizer = t, .largest = -1};
    struct tok_loader beside = {.path = config->path, .tokenizer = t};
    int64_t count = t->added_count;

    t->added = NULL;
    t->added_count = 0;
    wn_status status = add_all(&beside, &r, config, of_file, count);
    for (int64_t i = 0; i < count; i++)
        wn_free(of_file[i].content);
    wn_free(of_file);
    wn_texts_release(&r.contents);
    return status;
}

/* ---- flags ---- */

/* The id of a named token, which was added where the vocabulary lacks it; -1 without one. */
static int32_t id_of(const struct wn_tokenizer *tokenizer, const struct tok_config *config, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config->root, key);
    const char *content = text_of(config->root, key);

    if (cJSON_IsObject(value))
        content = text_of(value, "content");
    if (!value)
        content = tok_class_token(config->class, key);
    return content ? wn_token_id(tokenizer, content) : -1;
}

/* A flag that the template of tokenizer.json does not bear out is not obeyed, as in transformers 5. */
static void tell_unused(const struct tok_config *config, const char *key, bool does)
{
    const cJSON *flag = tok_value_of(config->root, key);

    if (cJSON_IsBool(flag) && cJSON_IsTrue(flag) != does)
        wn_log(WN_LOG_INFO, "%s: %s is %s, but the template of tokenizer.json counts, as in transformers 5: %s",
               config->path, key, cJSON_IsTrue(flag) ? "true" : "false", does ? "it is added" : "it is not added");
}

static bool is_true(const struct tok_config *config, const char *key, bool absent)
{
    const cJSON *value = tok_value_of(config->root, key);

    return value ? cJSON_IsTrue(value) : absent;
}

/* Some constructors build the template too; without tokenizer.json it follows the flags. */
static void build_template(struct wn_tokenizer *t, const struct tok_config *config)
{
    enum tok_class class = config->rules == TOK_RULES_OF_CLASS ? config->class : TOK_CLASS_FILE;
    int32_t before = -1, behind = -1;

    if (class == TOK_CLASS_CODE_LLAMA) {
        before = !config->spm || is_true(config, "add_bos_token", true) ? t->bos : -1;
        behind = config->spm && is_true(config, "add_eos_token", false) ? t->eos : -1;
    } else if (class == TOK_CLASS_T5)
        behind = t->eos;
    else if (class == TOK_CLASS_BERT) {
        before = id_of(t, config, "cls_token");
        behind = id_of(t, config, "sep_token");
    } else if (config->spm) {
        before = is_true(config, "add_bos_token", config->rules == TOK_RULES_OLDER) ? t->bos : -1;
        behind = is_true(config, "add_eos_token", false) ? t->eos : -1;
    }
    if (before < 0 && behind < 0)
        return;
    t->prefix.count = t->suffix.count = 0;
    if (before >= 0)
        wn_ids_append(&t->prefix, before);
    if (behind >= 0)
        wn_ids_append(&t->suffix, behind);
}

wn_status tok_config_finish(struct tok_loader *loader, const struct tok_config *config)
{
    struct wn_tokenizer *t = loader->tokenizer;
    struct tok_loader beside = {.path = config->path, .tokenizer = t};
    bool ignored;

    t->bos = id_of(t, config, "bos_token");
    t->eos = id_of(t, config, "eos_token");
    WN_TRY(tok_get_bool(&beside, config->root, "", "split_special_tokens", false, &t->split_special));
    WN_TRY(tok_get_bool(&beside, config->root, "", "clean_up_tokenization_spaces", false, &t->clean_up));
    WN_TRY(tok_get_bool(&beside, config->root, "",
                        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", false, &ignored));
    t->clean_up = t->clean_up && (t->model.kind != TOK_BPE || ignored);
    WN_TRY(tok_get_bool(&beside, config->root, "", "add_bos_token", false, &ignored));
    WN_TRY(tok_get_bool(&beside, config->root, "", "add_eos_token", false, &ignored));
    WN_TRY(tok_get_bool(&beside, config->root, "", "fix_mistral_regex", false, &ignored));
    if (ignored)
        return wn_fail(WN_ERR_UNSUPPORTED,
                       "%s: fix_mistral_regex is not supported; save the tokenizer after transformers has mended it",
                       config->path);
    build_template(t, config);
    tell_unused(config, "add_bos_token", t->bos >= 0 && t->prefix.count > 0 && t->prefix.data[0] == t->bos);
    tell_unused(config, "add_eos_token",
                t->eos >= 0 && t->suffix.count > 0 && t->suffix.data[t->suffix.count - 1] == t->eos);
    return WN_OK;
}
