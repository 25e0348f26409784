/* SPDX-License-Identifier: Apache-2.0 */
/* load_normalizers.c: normalizers of tokenizer.json. */
#include "load.h"

/* Normalizers without settings. */
static const struct {
    const char *type;
    enum tok_normalizer_kind kind;
} plain_normalizers[] = {
    {"NFC", TOK_NFC},
    {"NFD", TOK_NFD},
    {"NFKC", TOK_NFKC},
    {"NFKD", TOK_NFKD},
    {"Lowercase", TOK_LOWERCASE},
    {"StripAccents", TOK_STRIP_ACCENTS},
    {"ByteLevel", TOK_BYTES},
    {"Nmt", TOK_NMT},
};

static bool find_plain_normalizer(const char *type, enum tok_normalizer_kind *kind)
{
    for (size_t i = 0; i < sizeof plain_normalizers / sizeof *plain_normalizers; i++)
        if (strcmp(plain_normalizers[i].type, type) == 0) {
            *kind = plain_normalizers[i].kind;
            return true;
        }
    return false;
}

/* Accents are stripped where the text is made lower case, unless the file says otherwise. */
static wn_status load_bert(struct tok_loader *loader, const cJSON *json, const char *where, struct tok_normalizer *step)
{
    step->kind = TOK_BERT;
    WN_TRY(tok_get_bool(loader, json, where, "clean_text", true, &step->clean_text));
    WN_TRY(tok_get_bool(loader, json, where, "handle_chinese_chars", true, &step->handle_chinese));
    WN_TRY(tok_get_bool(loader, json, where, "lowercase", true, &step->lowercase));
    return tok_get_bool(loader, json, where, "strip_accents", step->lowercase, &step->strip_accents);
}

/* The value of a base64 digit, -1 for other characters. */
static int digit_value(char digit)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = digit ? strchr(digits, digit) : NULL;

    return found ? (int)(found - digits) : -1;
}

/* Base64 with padding (RFC 4648); false when it is not. */
static bool read_base64(const char *text, struct wn_text *bytes)
{
    size_t length = strlen(text), padding = 0;

    if (length % 4)
        return false;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;
    for (size_t at = 0; at < length; at += 4) {
        size_t digits = at + 4 == length ? 4 - padding : 4;
        uint32_t group = 0;
        for (size_t i = 0; i < 4; i++) {
            int value = i < digits ? digit_value(text[at + i]) : 0;
            if (value < 0)
                return false;
            group = group << 6 | (uint32_t)value;
        }
        char out[3] = {(char)(group >> 16), (char)(group >> 8), (char)group};
        wn_text_append(bytes, out, digits - 1);
    }
    return true;
}

static wn_status load_charsmap(struct tok_loader *loader, const cJSON *json, const char *where,
                               struct tok_charsmap *map)
{
    const char *text = "";
    struct wn_text bytes = {0};

    if (loader->spm) {
        char *rules = wn_format("%s: normalizer_spec.precompiled_charsmap", loader->path);
        wn_status read = tok_charsmap_read(rules, loader->spm->charsmap, loader->spm->charsmap_length, map);
        wn_free(rules);
        return read;
    }
    WN_TRY(tok_get_string(loader, json, where, "precompiled_charsmap", &text));
    char *place = wn_format("%s: %s.precompiled_charsmap", loader->path, where);
    wn_text_append(&bytes, "", 0);
    wn_status status = read_base64(text, &bytes)
                           ? tok_charsmap_read(place, (const uint8_t *)bytes.data, bytes.length, map)
                           : wn_fail(WN_ERR_INPUT, "%s: expected base64", place);
    wn_text_release(&bytes);
    wn_free(place);
    return status;
}

static wn_status fill_normalizer(struct tok_loader *loader, const cJSON *json, const char *where, const char *type,
                                 struct tok_normalizer *step)
{
    const char *text = "";

    if (find_plain_normalizer(type, &step->kind))
        return WN_OK;
    if (strcmp(type, "Prepend") == 0) {
        step->kind = TOK_PREPEND;
        WN_TRY(tok_get_string(loader, json, where, "prepend", &text));
        step->text = wn_strdup(text);
    } else if (strcmp(type, "Replace") == 0) {
        step->kind = TOK_REPLACE;
        WN_TRY(tok_get_string(loader, json, where, "content", &text));
        step->text = wn_strdup(text);
        WN_TRY(tok_load_pattern(loader, json, where, &step->pattern));
    } else if (strcmp(type, "Strip") == 0) {
        step->kind = TOK_STRIP;
        WN_TRY(tok_get_bool(loader, json, where, "strip_left", true, &step->strip_left));
        WN_TRY(tok_get_bool(loader, json, where, "strip_right", true, &step->strip_right));
    } else if (strcmp(type, "BertNormalizer") == 0) {
        return load_bert(loader, json, where, step);
    } else if (strcmp(type, "Precompiled") == 0) {
        step->kind = TOK_PRECOMPILED;
        return load_charsmap(loader, json, where, &step->charsmap);
    } else {
        return tok_unsupported(loader, where, "normalizer", type);
    }
    return WN_OK;
}

wn_status tok_load_normalizer(struct tok_loader *loader, const cJSON *json, const char *where, const char *type)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    int64_t index = tokenizer->normalizer_count++;

    tokenizer->normalizers =
        wn_resize(tokenizer->normalizers, tokenizer->normalizer_count, sizeof(struct tok_normalizer));
    tokenizer->normalizers[index] = (struct tok_normalizer){0};
    return fill_normalizer(loader, json, where, type, &tokenizer->normalizers[index]);
}
