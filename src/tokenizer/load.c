/*
 * Reads tokenizer.json and tokenizer_config.json. Whatever is of a wrong type, names an unknown token or asks for a
 * component that is not implemented ends the reading with the path and the key.
 */
#include <cjson/cJSON.h>

#include <winnow/io.h>

#include "tokenizer_impl.h"

/* No model has more than a few hundred thousand tokens; tables of this many still fit in memory. */
enum { LARGEST_ID = (1 << 24) - 1 };

#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

struct loader {
    const char *path;
    struct wn_tokenizer *tokenizer;
};

/* ---- values ---- */

static wn_status expected(const struct loader *loader, const char *where, const char *what)
{
    return wn_fail(WN_ERR_INPUT, "%s: %s: expected %s", loader->path, where, what);
}

static wn_status expected_key(const struct loader *loader, const char *where, const char *key, const char *what)
{
    return wn_fail(WN_ERR_INPUT, "%s: %s%s%s: expected %s", loader->path, where, *where ? "." : "", key, what);
}

/* The value of a key, NULL where it is absent or null. */
static const cJSON *value_of(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNull(value) ? NULL : value;
}

static wn_status get_bool(const struct loader *loader, const cJSON *object, const char *where, const char *key,
                          bool absent, bool *out)
{
    const cJSON *value = value_of(object, key);

    *out = value ? cJSON_IsTrue(value) : absent;
    return value && !cJSON_IsBool(value) ? expected_key(loader, where, key, "true or false") : WN_OK;
}

static wn_status get_string(const struct loader *loader, const cJSON *object, const char *where, const char *key,
                            const char **out)
{
    const cJSON *value = value_of(object, key);

    if (!cJSON_IsString(value))
        return expected_key(loader, where, key, "a string");
    *out = value->valuestring;
    return WN_OK;
}

/* A string of one character. */
static wn_status get_character(const struct loader *loader, const cJSON *object, const char *where, const char *key,
                               uint32_t *out)
{
    const char *text = "";

    WN_TRY(get_string(loader, object, where, key, &text));
    if (!tok_single_code(text, strlen(text), out))
        return expected_key(loader, where, key, "a string of one character");
    return WN_OK;
}

static bool read_integer(const cJSON *value, int64_t most, int64_t *out)
{
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble <= (double)most))
        return false;
    *out = (int64_t)value->valuedouble;
    return (double)*out == value->valuedouble;
}

static wn_status get_count(const struct loader *loader, const cJSON *object, const char *where, const char *key,
                           int64_t *out)
{
    const cJSON *value = value_of(object, key);

    *out = 0;
    if (value && !read_integer(value, INT32_MAX, out))
        return expected_key(loader, where, key, "a number of characters");
    return WN_OK;
}

static wn_status unsupported(const struct loader *loader, const char *where, const char *what, const char *type)
{
    return wn_fail(WN_ERR_UNSUPPORTED, "%s: %s: the %s \"%s\" is not supported", loader->path, where, what, type);
}

/* ---- chains of components ---- */

typedef wn_status load_one(struct loader *loader, const cJSON *json, const char *where, const char *type);

/* A component, or a Sequence of them under `list`, nested to any depth: `one` gets each in order. */
static wn_status load_chain(struct loader *loader, const cJSON *json, const char *where, const char *list,
                            load_one *one)
{
    const char *type = "";
    const cJSON *item;
    int64_t index = 0;
    wn_status status = WN_OK;

    if (!json || cJSON_IsNull(json))
        return WN_OK;
    if (!cJSON_IsObject(json))
        return expected(loader, where, "an object or null");
    WN_TRY(get_string(loader, json, where, "type", &type));
    if (strcmp(type, "Sequence") != 0)
        return one(loader, json, where, type);
    const cJSON *items = value_of(json, list);
    if (!cJSON_IsArray(items))
        return expected_key(loader, where, list, "a list");
    cJSON_ArrayForEach (item, items) {
        char *inner = wn_format("%s.%s[%lld]", where, list, (long long)index++);
        status = load_chain(loader, item, inner, list, one);
        wn_free(inner);
        if (status != WN_OK)
            break;
    }
    return status;
}

/* {"String": ..} or {"Regex": ..} under the key "pattern". */
static wn_status load_pattern(struct loader *loader, const cJSON *json, const char *where, struct tok_pattern *pattern)
{
    const cJSON *value = value_of(json, "pattern");
    const cJSON *literal = value_of(value, "String"), *regex = value_of(value, "Regex");

    if (!cJSON_IsString(literal) && !cJSON_IsString(regex))
        return expected_key(loader, where, "pattern", "an object with a string under \"String\" or \"Regex\"");
    char *place = wn_format("%s: %s.pattern", loader->path, where);
    wn_status status = cJSON_IsString(literal) ? tok_pattern_literal(place, literal->valuestring, pattern)
                                               : tok_pattern_regex(place, regex->valuestring, pattern);
    wn_free(place);
    return status;
}

/* ---- normalizers ---- */

static wn_status fill_normalizer(struct loader *loader, const cJSON *json, const char *where, const char *type,
                                 struct tok_normalizer *step)
{
    const char *text = "";

    if (strcmp(type, "Prepend") == 0) {
        step->kind = TOK_PREPEND;
        WN_TRY(get_string(loader, json, where, "prepend", &text));
        step->text = wn_strdup(text);
    } else if (strcmp(type, "Replace") == 0) {
        step->kind = TOK_REPLACE;
        WN_TRY(get_string(loader, json, where, "content", &text));
        step->text = wn_strdup(text);
        WN_TRY(load_pattern(loader, json, where, &step->pattern));
    } else if (strcmp(type, "NFC") == 0) {
        step->kind = TOK_NFC;
    } else if (strcmp(type, "NFD") == 0) {
        step->kind = TOK_NFD;
    } else if (strcmp(type, "Lowercase") == 0) {
        step->kind = TOK_LOWERCASE;
    } else if (strcmp(type, "Strip") == 0) {
        step->kind = TOK_STRIP;
        WN_TRY(get_bool(loader, json, where, "strip_left", true, &step->strip_left));
        WN_TRY(get_bool(loader, json, where, "strip_right", true, &step->strip_right));
    } else {
        return unsupported(loader, where, "normalizer", type);
    }
    return WN_OK;
}

static wn_status load_normalizer(struct loader *loader, const cJSON *json, const char *where, const char *type)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    int64_t index = tokenizer->normalizer_count++;

    tokenizer->normalizers =
        wn_resize(tokenizer->normalizers, tokenizer->normalizer_count, sizeof(struct tok_normalizer));
    tokenizer->normalizers[index] = (struct tok_normalizer){0};
    return fill_normalizer(loader, json, where, type, &tokenizer->normalizers[index]);
}

/* ---- pre-tokenizers ---- */

static wn_status fixed_pattern(const struct loader *loader, const char *where, const char *regex,
                               struct tok_pattern *pattern)
{
    char *place = wn_format("%s: %s", loader->path, where);
    wn_status status = tok_pattern_regex(place, regex, pattern);

    wn_free(place);
    return status;
}

static wn_status load_byte_level(struct loader *loader, const cJSON *json, const char *where, struct tok_splitter *step)
{
    step->kind = TOK_BYTE_LEVEL;
    WN_TRY(get_bool(loader, json, where, "add_prefix_space", true, &step->add_prefix_space));
    WN_TRY(get_bool(loader, json, where, "use_regex", true, &step->split));
    return fixed_pattern(loader, where, GPT2_PATTERN, &step->pattern);
}

static wn_status load_split(struct loader *loader, const cJSON *json, const char *where, struct tok_splitter *step)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = "";
    int behavior = 0;

    step->kind = TOK_SPLIT;
    step->split = true;
    WN_TRY(get_string(loader, json, where, "behavior", &name));
    while (behavior < 5 && strcmp(name, names[behavior]) != 0)
        behavior++;
    if (behavior == 5)
        return expected_key(loader, where, "behavior",
                            "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
    step->behavior = (enum tok_behavior)behavior;
    WN_TRY(get_bool(loader, json, where, "invert", false, &step->invert));
    return load_pattern(loader, json, where, &step->pattern);
}

/* prepend_scheme, or the older add_prefix_space; the two must not contradict each other. */
static wn_status load_prepend(struct loader *loader, const cJSON *json, const char *where, enum tok_prepend *prepend)
{
    static const char *const names[] = {"always", "first", "never"};
    const char *name = "";
    bool add_prefix_space;
    int scheme = 0;

    WN_TRY(get_bool(loader, json, where, "add_prefix_space", true, &add_prefix_space));
    *prepend = add_prefix_space ? TOK_PREPEND_ALWAYS : TOK_PREPEND_NEVER;
    if (!value_of(json, "prepend_scheme"))
        return WN_OK;
    WN_TRY(get_string(loader, json, where, "prepend_scheme", &name));
    while (scheme < 3 && strcmp(name, names[scheme]) != 0)
        scheme++;
    if (scheme == 3)
        return expected_key(loader, where, "prepend_scheme", "always, first or never");
    *prepend = (enum tok_prepend)scheme;
    if (!add_prefix_space && *prepend != TOK_PREPEND_NEVER)
        return expected_key(loader, where, "prepend_scheme", "never, because add_prefix_space is false");
    return WN_OK;
}

static wn_status load_metaspace(struct loader *loader, const cJSON *json, const char *where, struct tok_splitter *step)
{
    uint32_t code = 0;

    step->kind = TOK_METASPACE;
    step->behavior = TOK_MERGED_WITH_NEXT;
    WN_TRY(get_character(loader, json, where, "replacement", &code));
    tok_put_code(code, step->replacement);
    WN_TRY(load_prepend(loader, json, where, &step->prepend));
    WN_TRY(get_bool(loader, json, where, "split", true, &step->split));
    return tok_pattern_literal(where, step->replacement, &step->pattern);
}

static wn_status load_digits(struct loader *loader, const cJSON *json, const char *where, struct tok_splitter *step)
{
    bool individual = false;

    step->kind = TOK_SPLIT;
    step->split = true;
    WN_TRY(get_bool(loader, json, where, "individual_digits", false, &individual));
    step->behavior = individual ? TOK_ISOLATED : TOK_CONTIGUOUS;
    return fixed_pattern(loader, where, "\\p{N}", &step->pattern);
}

static wn_status load_splitter(struct loader *loader, const cJSON *json, const char *where, const char *type)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    int64_t index = tokenizer->splitter_count++;

    tokenizer->splitters = wn_resize(tokenizer->splitters, tokenizer->splitter_count, sizeof(struct tok_splitter));
    tokenizer->splitters[index] = (struct tok_splitter){0};
    struct tok_splitter *step = &tokenizer->splitters[index];
    if (strcmp(type, "ByteLevel") == 0)
        return load_byte_level(loader, json, where, step);
    if (strcmp(type, "Split") == 0)
        return load_split(loader, json, where, step);
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(loader, json, where, step);
    if (strcmp(type, "Digits") == 0)
        return load_digits(loader, json, where, step);
    return unsupported(loader, where, "pre-tokenizer", type);
}

/* ---- decoders ---- */

static wn_status fill_decoder(struct loader *loader, const cJSON *json, const char *where, const char *type,
                              struct tok_decoder *step)
{
    const char *text = "";
    enum tok_prepend prepend;

    if (strcmp(type, "Replace") == 0) {
        step->kind = TOK_DECODE_REPLACE;
        WN_TRY(get_string(loader, json, where, "content", &text));
        step->text = wn_strdup(text);
        WN_TRY(load_pattern(loader, json, where, &step->pattern));
    } else if (strcmp(type, "ByteFallback") == 0) {
        step->kind = TOK_DECODE_BYTE_FALLBACK;
    } else if (strcmp(type, "Fuse") == 0) {
        step->kind = TOK_DECODE_FUSE;
    } else if (strcmp(type, "Strip") == 0) {
        step->kind = TOK_DECODE_STRIP;
        WN_TRY(get_character(loader, json, where, "content", &step->content));
        WN_TRY(get_count(loader, json, where, "start", &step->start));
        WN_TRY(get_count(loader, json, where, "stop", &step->stop));
    } else if (strcmp(type, "ByteLevel") == 0) {
        step->kind = TOK_DECODE_BYTE_LEVEL;
    } else if (strcmp(type, "Metaspace") == 0) {
        step->kind = TOK_DECODE_METASPACE;
        WN_TRY(get_character(loader, json, where, "replacement", &step->content));
        WN_TRY(load_prepend(loader, json, where, &prepend));
        step->keep_leading = prepend == TOK_PREPEND_NEVER;
    } else {
        return unsupported(loader, where, "decoder", type);
    }
    return WN_OK;
}

static wn_status load_decoder(struct loader *loader, const cJSON *json, const char *where, const char *type)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    int64_t index = tokenizer->decoder_count++;

    tokenizer->decoders = wn_resize(tokenizer->decoders, tokenizer->decoder_count, sizeof(struct tok_decoder));
    tokenizer->decoders[index] = (struct tok_decoder){0};
    return fill_decoder(loader, json, where, type, &tokenizer->decoders[index]);
}

/* ---- post-processors ---- */

/* Appends the ids of template piece {"SpecialToken": {"id": ..}}, which special_tokens lists. */
static wn_status add_template_token(struct loader *loader, const cJSON *json, const char *where, const cJSON *token,
                                    struct wn_ids *ids)
{
    const cJSON *name = value_of(token, "id"), *id;
    int64_t value;

    if (!cJSON_IsString(name))
        return expected_key(loader, where, "single", "a string under SpecialToken.id");
    const cJSON *entry = value_of(value_of(json, "special_tokens"), name->valuestring);
    const cJSON *list = value_of(entry, "ids");
    if (!cJSON_IsArray(list))
        return wn_fail(WN_ERR_INPUT, "%s: %s.special_tokens: expected a list \"ids\" under the token \"%s\"",
                       loader->path, where, name->valuestring);
    cJSON_ArrayForEach (id, list) {
        if (!read_integer(id, LARGEST_ID, &value) || !wn_token_text(loader->tokenizer, (int32_t)value))
            return wn_fail(WN_ERR_INPUT, "%s: %s.special_tokens: expected ids of the vocabulary under the token \"%s\"",
                           loader->path, where, name->valuestring);
        wn_ids_append(ids, (int32_t)value);
    }
    return WN_OK;
}

/* What a template puts before and behind $A. */
static wn_status read_template(struct loader *loader, const cJSON *json, const char *where, struct wn_ids *before,
                               struct wn_ids *behind)
{
    const cJSON *single = value_of(json, "single"), *piece;
    int64_t sequences = 0;

    if (!cJSON_IsArray(single))
        return expected_key(loader, where, "single", "a list");
    cJSON_ArrayForEach (piece, single) {
        const cJSON *token = value_of(piece, "SpecialToken"), *sequence = value_of(piece, "Sequence");
        if (cJSON_IsObject(token))
            WN_TRY(add_template_token(loader, json, where, token, sequences ? behind : before));
        else if (cJSON_IsObject(sequence))
            sequences++;
        else
            return expected_key(loader, where, "single", "objects SpecialToken or Sequence in the list");
    }
    if (sequences != 1)
        return expected_key(loader, where, "single", "the text once: one Sequence in the list");
    return WN_OK;
}

static void append_all(struct wn_ids *ids, const struct wn_ids *more)
{
    for (int64_t i = 0; i < more->count; i++)
        wn_ids_append(ids, more->data[i]);
}

/* A later post-processor wraps what earlier ones made. */
static wn_status load_processor(struct loader *loader, const cJSON *json, const char *where, const char *type)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    struct wn_ids before = {0}, behind = {0};

    if (strcmp(type, "ByteLevel") == 0) /* only trims offsets */
        return WN_OK;
    if (strcmp(type, "TemplateProcessing") != 0)
        return unsupported(loader, where, "post-processor", type);
    wn_status status = read_template(loader, json, where, &before, &behind);
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

/* ---- the model ---- */

static wn_status load_vocabulary(struct loader *loader, const cJSON *model)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    const cJSON *vocabulary = value_of(model, "vocab"), *item;
    int64_t id;

    if (!cJSON_IsObject(vocabulary))
        return expected(loader, "model.vocab", "an object of tokens and their ids");
    cJSON_ArrayForEach (item, vocabulary) {
        if (!read_integer(item, LARGEST_ID, &id))
            return wn_fail(WN_ERR_INPUT, "%s: model.vocab: expected a whole number from 0 to %d as the id of \"%s\"",
                           loader->path, LARGEST_ID, item->string);
        tok_vocabulary_add(&tokenizer->bpe.vocabulary, item->string, (int32_t)id);
        tokenizer->size = id >= tokenizer->size ? id + 1 : tokenizer->size;
    }
    return WN_OK;
}

/* The two halves of a merge: "a b" or ["a", "b"]. */
static wn_status read_merge(const struct loader *loader, const cJSON *merge, int64_t index, const char **left,
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

static wn_status add_merge(struct loader *loader, const cJSON *merge, int64_t index, struct wn_text *joined)
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

static wn_status load_merges(struct loader *loader, const cJSON *model)
{
    const cJSON *merges = value_of(model, "merges"), *merge;
    struct wn_text joined = {0};
    int64_t index = 0;
    wn_status status = WN_OK;

    if (!cJSON_IsArray(merges))
        return expected(loader, "model.merges", "a list");
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
static wn_status refuse_options(const struct loader *loader, const cJSON *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const cJSON *dropout = value_of(model, "dropout");

    for (int i = 0; i < 2; i++) {
        const cJSON *affix = value_of(model, affixes[i]);
        if (affix && !cJSON_IsString(affix))
            return expected_key(loader, "model", affixes[i], "a string or null");
        if (affix && *affix->valuestring)
            return unsupported(loader, "model", affixes[i], affix->valuestring);
    }
    if (dropout && !cJSON_IsNumber(dropout))
        return expected_key(loader, "model", "dropout", "a number or null");
    if (dropout && dropout->valuedouble != 0)
        return wn_fail(WN_ERR_UNSUPPORTED, "%s: model.dropout: %g is not supported, encoding must not be random",
                       loader->path, dropout->valuedouble);
    return WN_OK;
}

static wn_status load_model(struct loader *loader, const cJSON *root)
{
    struct tok_bpe *bpe = &loader->tokenizer->bpe;
    const cJSON *model = value_of(root, "model");
    const char *type = "BPE";

    if (!cJSON_IsObject(model))
        return expected(loader, "model", "an object");
    if (value_of(model, "type") || !value_of(model, "merges"))
        WN_TRY(get_string(loader, model, "model", "type", &type));
    if (strcmp(type, "BPE") != 0)
        return unsupported(loader, "model.type", "model", type);
    WN_TRY(refuse_options(loader, model));
    WN_TRY(get_bool(loader, model, "model", "byte_fallback", false, &bpe->byte_fallback));
    WN_TRY(get_bool(loader, model, "model", "fuse_unk", false, &bpe->fuse_unknown));
    WN_TRY(get_bool(loader, model, "model", "ignore_merges", false, &bpe->ignore_merges));
    WN_TRY(load_vocabulary(loader, model));
    WN_TRY(load_merges(loader, model));
    tok_bpe_finish(bpe);
    return WN_OK;
}

static wn_status load_unknown(struct loader *loader, const cJSON *root)
{
    const cJSON *unknown = value_of(value_of(root, "model"), "unk_token");

    loader->tokenizer->bpe.unknown = -1;
    if (!unknown)
        return WN_OK;
    if (!cJSON_IsString(unknown))
        return expected(loader, "model.unk_token", "a string or null");
    loader->tokenizer->bpe.unknown = wn_token_id(loader->tokenizer, unknown->valuestring);
    if (loader->tokenizer->bpe.unknown < 0)
        return wn_fail(WN_ERR_INPUT, "%s: model.unk_token: the token \"%s\" is not in the vocabulary", loader->path,
                       unknown->valuestring);
    return WN_OK;
}

/* ---- added tokens ---- */

static wn_status load_added_token(struct loader *loader, const cJSON *json, const char *where)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    struct tok_added *added = &tokenizer->added[tokenizer->added_count];
    const char *content = "";
    int64_t id = 0;

    *added = (struct tok_added){0};
    if (!cJSON_IsObject(json))
        return expected(loader, where, "an object");
    WN_TRY(get_string(loader, json, where, "content", &content));
    if (!*content)
        return expected_key(loader, where, "content", "a string that is not empty");
    if (!read_integer(value_of(json, "id"), LARGEST_ID, &id))
        return wn_fail(WN_ERR_INPUT, "%s: %s.id: expected a whole number from 0 to %d", loader->path, where,
                       LARGEST_ID);
    WN_TRY(get_bool(loader, json, where, "single_word", false, &added->single_word));
    WN_TRY(get_bool(loader, json, where, "lstrip", false, &added->lstrip));
    WN_TRY(get_bool(loader, json, where, "rstrip", false, &added->rstrip));
    WN_TRY(get_bool(loader, json, where, "special", false, &added->special));
    WN_TRY(get_bool(loader, json, where, "normalized", !added->special, &added->normalized));
    added->id = (int32_t)id;
    added->content = wn_strdup(content);
    tokenizer->added_count++;
    tokenizer->size = id >= tokenizer->size ? id + 1 : tokenizer->size;
    return WN_OK;
}

static wn_status load_added(struct loader *loader, const cJSON *root)
{
    const cJSON *list = value_of(root, "added_tokens"), *item;
    int64_t index = 0;
    wn_status status = WN_OK;

    if (!list)
        return WN_OK;
    if (!cJSON_IsArray(list))
        return expected(loader, "added_tokens", "a list");
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

/* Records the string of an id; no other string may have it, and no string a second id. */
static wn_status name_id(struct loader *loader, const char *where, char *text, int32_t id)
{
    char **slot = &loader->tokenizer->texts[id];

    if (*slot && strcmp(*slot, text) != 0)
        return wn_fail(WN_ERR_INPUT, "%s: %s: the tokens \"%s\" and \"%s\" share the id %d", loader->path, where, *slot,
                       text, id);
    *slot = text;
    loader->tokenizer->outputs[id] = text;
    return WN_OK;
}

static wn_status name_ids(struct loader *loader)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    const struct tok_vocabulary *vocabulary = &tokenizer->bpe.vocabulary;

    tokenizer->texts = wn_alloc_zero(tokenizer->size, sizeof(char *));
    tokenizer->outputs = wn_alloc_zero(tokenizer->size, sizeof(char *));
    tokenizer->special = wn_alloc_zero(tokenizer->size, sizeof(bool));
    for (int64_t i = 0; i < vocabulary->count; i++) {
        const struct tok_entry *entry = &vocabulary->entries[i];
        WN_TRY(name_id(loader, "model.vocab", vocabulary->bytes + entry->offset, entry->id));
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

/* ---- the whole file ---- */

static wn_status load_root(struct loader *loader, const cJSON *root)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    const cJSON *decoder = value_of(root, "decoder");

    if (!cJSON_IsObject(root))
        return wn_fail(WN_ERR_INPUT, "%s: expected an object", loader->path);
    WN_TRY(load_model(loader, root));
    WN_TRY(load_added(loader, root));
    WN_TRY(name_ids(loader));
    WN_TRY(load_unknown(loader, root));
    WN_TRY(load_chain(loader, value_of(root, "normalizer"), "normalizer", "normalizers", load_normalizer));
    WN_TRY(load_chain(loader, value_of(root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers", load_splitter));
    WN_TRY(load_chain(loader, value_of(root, "post_processor"), "post_processor", "processors", load_processor));
    WN_TRY(load_chain(loader, decoder, "decoder", "decoders", load_decoder));
    tokenizer->has_decoder = decoder != NULL;
    return tok_index_added(tokenizer);
}

wn_status tok_load(const char *path, struct wn_tokenizer *tokenizer)
{
    struct loader loader = {path, tokenizer};
    cJSON *root = NULL;

    WN_TRY(wn_json_read(path, false, &root));
    wn_status status = load_root(&loader, root);
    cJSON_Delete(root);
    return status;
}

/* ---- tokenizer_config.json ---- */

/* Id of the token under a key: a string, or an object with `content`; -1 where it is absent or null. */
static wn_status get_token(const struct loader *loader, const cJSON *root, const char *key, int32_t *id)
{
    const cJSON *value = value_of(root, key);
    const cJSON *content = cJSON_IsObject(value) ? value_of(value, "content") : value;

    *id = -1;
    if (!value)
        return WN_OK;
    if (!cJSON_IsString(content))
        return expected_key(loader, "", key, "a string or an object with a string \"content\"");
    *id = wn_token_id(loader->tokenizer, content->valuestring);
    if (*id < 0)
        return wn_fail(WN_ERR_INPUT, "%s: %s: the token \"%s\" is not in the vocabulary", loader->path, key,
                       content->valuestring);
    return WN_OK;
}

/*
 * The fast Llama tokenizers of transformers replace the template by what add_bos_token (default true) and
 * add_eos_token (default false) say; other classes take tokenizer.json as it is.
 */
static wn_status rebuild_template(const struct loader *loader, const cJSON *root)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    const cJSON *class = value_of(root, "tokenizer_class");
    bool add_bos, add_eos;

    WN_TRY(get_bool(loader, root, "", "add_bos_token", true, &add_bos));
    WN_TRY(get_bool(loader, root, "", "add_eos_token", false, &add_eos));
    if (!cJSON_IsString(class) || strncmp(class->valuestring, "LlamaTokenizer", 14) != 0)
        return WN_OK;
    if (!cJSON_GetObjectItemCaseSensitive(root, "bos_token"))
        tokenizer->bos = wn_token_id(tokenizer, "<s>");
    if (!cJSON_GetObjectItemCaseSensitive(root, "eos_token"))
        tokenizer->eos = wn_token_id(tokenizer, "</s>");
    if (add_bos && tokenizer->bos < 0)
        return expected_key(loader, "", "bos_token", "a token, because add_bos_token is true");
    if (add_eos && tokenizer->eos < 0)
        return expected_key(loader, "", "eos_token", "a token, because add_eos_token is true");
    tokenizer->prefix.count = tokenizer->suffix.count = 0;
    if (add_bos)
        wn_ids_append(&tokenizer->prefix, tokenizer->bos);
    if (add_eos)
        wn_ids_append(&tokenizer->suffix, tokenizer->eos);
    return WN_OK;
}

static wn_status load_config_root(const struct loader *loader, const cJSON *root)
{
    if (!cJSON_IsObject(root))
        return wn_fail(WN_ERR_INPUT, "%s: expected an object", loader->path);
    WN_TRY(get_token(loader, root, "bos_token", &loader->tokenizer->bos));
    WN_TRY(get_token(loader, root, "eos_token", &loader->tokenizer->eos));
    return rebuild_template(loader, root);
}

wn_status tok_load_config(const char *path, struct wn_tokenizer *tokenizer)
{
    struct loader loader = {path, tokenizer};
    cJSON *root = NULL;

    if (!wn_file_exists(path))
        return WN_OK;
    WN_TRY(wn_json_read(path, false, &root));
    wn_status status = load_config_root(&loader, root);
    cJSON_Delete(root);
    return status;
}
