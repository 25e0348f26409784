/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Normalizers: each takes a text and appends what it makes of it to another.
 */
#include "tokenizer_impl.h"

static wn_status replace(const struct tok_normalizer *step, const char *text, size_t length, struct wn_text *out)
{
    struct tok_spans spans = {0};
    wn_status status = tok_pattern_find(&step->pattern, text, length, &spans);

    for (int64_t i = 0; i < spans.count && status == WN_OK; i++) {
        if (spans.items[i].match)
            wn_text_append(out, step->text, strlen(step->text));
        else
            wn_text_append(out, text + spans.items[i].start, spans.items[i].end - spans.items[i].start);
    }
    tok_spans_release(&spans);
    return status;
}

static void strip(const struct tok_normalizer *step, const char *text, size_t length, struct wn_text *out)
{
    size_t start = 0, end = 0;

    while (step->strip_left && start < length) {
        size_t at = start;
        if (!tok_is_space(tok_next_code(text, &at)))
            break;
        start = at;
    }
    /* The end is behind the last character that is not whitespace. */
    for (size_t at = start; at < length;)
        if (!tok_is_space(tok_next_code(text, &at)) || !step->strip_right)
            end = at;
    if (start < end)
        wn_text_append(out, text + start, end - start);
}

/* The rules of SentencePiece's "nmt": some controls are dropped, some characters are spaces. */
static void nmt(const char *text, size_t length, struct wn_text *out)
{
    static const struct {
        uint32_t first, last;
        bool space;
    } rules[] = {{0x01, 0x08, false},    {0x09, 0x0A, true},     {0x0B, 0x0B, false},    {0x0C, 0x0D, true},
                 {0x0E, 0x1F, false},    {0x7F, 0x7F, false},    {0x8F, 0x8F, false},    {0x9F, 0x9F, false},
                 {0x1680, 0x1680, true}, {0x200B, 0x200F, true}, {0x2028, 0x2029, true}, {0x2581, 0x2581, true},
                 {0xFEFF, 0xFEFF, true}, {0xFFFD, 0xFFFD, true}};

    for (size_t at = 0; at < length;) {
        uint32_t code = tok_next_code(text, &at);
        size_t i = 0;
        while (i < sizeof rules / sizeof *rules && !(code >= rules[i].first && code <= rules[i].last))
            i++;
        if (i == sizeof rules / sizeof *rules)
            tok_append_code(out, code);
        else if (rules[i].space)
            wn_text_append(out, " ", 1);
    }
}

/* Characters that BERT's tokenizer sets apart: CJK ideographs, as the published code lists them. */
static bool is_ideograph(uint32_t code)
{
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
           (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B81F) ||
           (code >= 0x2B920 && code <= 0x2CEAF) || (code >= 0xF900 && code <= 0xFAFF) ||
           (code >= 0x2F800 && code <= 0x2FA1F);
}

/* Cleaning and ideographs work on single characters, so one pass does both. */
static void clean(const struct tok_normalizer *step, const char *text, size_t length, struct wn_text *out)
{
    for (size_t at = 0; at < length;) {
        uint32_t code = tok_next_code(text, &at);
        if (step->clean_text && tok_is_dropped(code))
            continue;
        if (step->clean_text && tok_is_space(code))
            code = ' ';
        bool apart = step->handle_chinese && is_ideograph(code);
        if (apart)
            wn_text_append(out, " ", 1);
        tok_append_code(out, code);
        if (apart)
            wn_text_append(out, " ", 1);
    }
}

static void bert(const struct tok_normalizer *step, const char *text, size_t length, struct wn_text *out)
{
    struct wn_text now = {0}, next = {0};

    wn_text_append(&now, "", 0);
    clean(step, text, length, &now);
    if (step->strip_accents) {
        wn_text_append(&next, "", 0);
        tok_normal_form(now.data, now.length, false, false, &next);
        now.length = 0;
        tok_strip_nonspacing(next.data, next.length, &now);
    }
    if (step->lowercase)
        tok_lower_case(now.data, now.length, out);
    else
        wn_text_append(out, now.data, now.length);
    wn_text_release(&now);
    wn_text_release(&next);
}

static wn_status normalize_step(const struct tok_normalizer *step, const char *text, size_t length, struct wn_text *out)
{
    switch (step->kind) {
    case TOK_PREPEND:
        if (length > 0)
            wn_text_append(out, step->text, strlen(step->text));
        wn_text_append(out, text, length);
        return WN_OK;
    case TOK_REPLACE:
        return replace(step, text, length, out);
    case TOK_NFC:
    case TOK_NFD:
        tok_normal_form(text, length, step->kind == TOK_NFC, false, out);
        return WN_OK;
    case TOK_NFKC:
    case TOK_NFKD:
        tok_normal_form(text, length, step->kind == TOK_NFKC, true, out);
        return WN_OK;
    case TOK_STRIP_ACCENTS:
        tok_strip_marks(text, length, out);
        return WN_OK;
    case TOK_BYTES:
        for (size_t at = 0; at < length; at++)
            tok_append_code(out, tok_byte_code((uint8_t)text[at]));
        return WN_OK;
    case TOK_NMT:
        nmt(text, length, out);
        return WN_OK;
    case TOK_BERT:
        bert(step, text, length, out);
        return WN_OK;
    case TOK_PRECOMPILED:
        tok_charsmap_apply(&step->charsmap, text, length, out);
        return WN_OK;
    case TOK_LOWERCASE:
        tok_lower_case(text, length, out);
        return WN_OK;
    case TOK_STRIP:
        strip(step, text, length, out);
        return WN_OK;
    }
    WN_BUG("no such normalizer: %d", (int)step->kind);
}

wn_status tok_normalize(const struct wn_tokenizer *tokenizer, const char *text, size_t length, bool continues,
                        struct wn_text *out)
{
    struct wn_text now = {0}, next = {0};
    wn_status status = WN_OK;

    wn_text_append(&now, text, length);
    for (int64_t i = 0; i < tokenizer->normalizer_count && status == WN_OK; i++) {
        if (continues && tokenizer->normalizers[i].kind == TOK_PREPEND)
            continue;
        next.length = 0;
        wn_text_append(&next, "", 0);
        status = normalize_step(&tokenizer->normalizers[i], now.data, now.length, &next);
        struct wn_text swap = now;
        now = next;
        next = swap;
    }
    if (status == WN_OK)
        wn_text_append(out, now.data, now.length);
    wn_text_release(&now);
    wn_text_release(&next);
    return status;
}
