/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoders: each turns a list of token strings into another; the result is their concatenation.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "tokenizer_impl.h"

/* Strings one behind the other: string i is text[ends[i - 1], ends[i]). */
struct strings {
    struct wn_text text;
    size_t *ends;
    int64_t count, capacity;
};

/* What was appended to the text since the last string becomes a string. */
static void end_string(struct strings *strings)
{
    if (strings->count == strings->capacity) {
        strings->capacity = strings->capacity ? 2 * strings->capacity : 64;
        strings->ends = wn_resize(strings->ends, strings->capacity, sizeof(size_t));
    }
    strings->ends[strings->count++] = strings->text.length;
}

static void release(struct strings *strings)
{
    wn_text_release(&strings->text);
    wn_free(strings->ends);
}

static const char *string_at(const struct strings *strings, int64_t index, size_t *length)
{
    size_t start = index ? strings->ends[index - 1] : 0;

    *length = strings->ends[index] - start;
    return strings->text.data + start;
}

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/*
 * Length of the valid UTF-8 sequence at bytes[0..left), or minus the length of the longest prefix of one, which
 * counts as one error (Unicode Standard 3.9, "substitution of maximal subparts").
 */
static int sequence_length(const uint8_t *bytes, size_t left)
{
    uint8_t lead = bytes[0], low = 0x80, high = 0xBF;
    int length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;

    if (length < 2)
        return length ? 1 : -1;
    if (lead == 0xE0)
        low = 0xA0;
    if (lead == 0xED)
        high = 0x9F;
    if (lead == 0xF0)
        low = 0x90;
    if (lead == 0xF4)
        high = 0x8F;
    for (int i = 1; i < length; i++) {
        if ((size_t)i >= left || bytes[i] < low || bytes[i] > high)
            return -i;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

static void append_lossy(struct wn_text *out, const char *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        int step = sequence_length((const uint8_t *)bytes + at, length - at);
        if (step > 0)
            wn_text_append(out, bytes + at, (size_t)step);
        else
            wn_text_append(out, REPLACEMENT, 3);
        at += (size_t)(step > 0 ? step : -step);
    }
}

/* Bytes that are valid UTF-8 as a whole become their text, others one U+FFFD each. */
static void append_bytes(struct wn_text *out, const char *bytes, size_t length)
{
    bool valid = true;

    for (size_t at = 0; at < length && valid;) {
        int step = sequence_length((const uint8_t *)bytes + at, length - at);
        valid = step > 0;
        at += valid ? (size_t)step : 0;
    }
    if (valid) {
        wn_text_append(out, bytes, length);
        return;
    }
    for (size_t i = 0; i < length; i++)
        wn_text_append(out, REPLACEMENT, 3);
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int tok_byte_of_token(const char *token, size_t length)
{
    if (length != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    int high = hex_digit(token[3]), low = hex_digit(token[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

static void decode_byte_fallback(const struct strings *in, struct strings *out)
{
    struct wn_text bytes = {0};

    for (int64_t i = 0; i <= in->count; i++) {
        size_t length = 0;
        const char *token = i < in->count ? string_at(in, i, &length) : "";
        int byte = tok_byte_of_token(token, length);
        if (byte >= 0) {
            wn_text_append(&bytes, (char[]){(char)byte}, 1);
            continue;
        }
        if (bytes.length > 0) {
            append_bytes(&out->text, bytes.data, bytes.length);
            end_string(out);
            bytes.length = 0;
        }
        if (i < in->count) {
            wn_text_append(&out->text, token, length);
            end_string(out);
        }
    }
    wn_text_release(&bytes);
}

/* A token with a character outside the byte alphabet contributes its UTF-8 as it is. */
static void decode_byte_level(const struct strings *in, struct strings *out)
{
    struct wn_text bytes = {0};

    for (int64_t i = 0; i < in->count; i++) {
        size_t length, before = bytes.length;
        const char *token = string_at(in, i, &length);
        for (size_t at = 0; at < length;) {
            int byte = tok_code_byte(tok_next_code(token, &at));
            if (byte < 0) {
                bytes.length = before;
                wn_text_append(&bytes, token, length);
                break;
            }
            wn_text_append(&bytes, (char[]){(char)byte}, 1);
        }
    }
    append_lossy(&out->text, bytes.data, bytes.length);
    end_string(out);
    wn_text_release(&bytes);
}

static wn_status decode_replace(const struct tok_decoder *step, const struct strings *in, struct strings *out)
{
    struct tok_spans spans = {0};
    wn_status status = WN_OK;

    for (int64_t i = 0; i < in->count && status == WN_OK; i++) {
        size_t length;
        const char *token = string_at(in, i, &length);
        status = tok_pattern_find(&step->pattern, token, length, &spans);
        for (int64_t j = 0; j < spans.count; j++) {
            const struct tok_span *span = &spans.items[j];
            if (span->match)
                wn_text_append(&out->text, step->text, strlen(step->text));
            else
                wn_text_append(&out->text, token + span->start, span->end - span->start);
        }
        end_string(out);
    }
    tok_spans_release(&spans);
    return status;
}

static void decode_strip(const struct tok_decoder *step, const struct strings *in, struct strings *out)
{
    char content[4];
    size_t width = (size_t)tok_put_code(step->content, content);

    for (int64_t i = 0; i < in->count; i++) {
        size_t length;
        const char *token = string_at(in, i, &length);
        for (int64_t n = 0; n < step->start && length >= width && memcmp(token, content, width) == 0; n++) {
            token += width;
            length -= width;
        }
        for (int64_t n = 0; n < step->stop && length >= width && memcmp(token + length - width, content, width) == 0;
             n++)
            length -= width;
        wn_text_append(&out->text, token, length);
        end_string(out);
    }
}

static void decode_metaspace(const struct tok_decoder *step, const struct strings *in, struct strings *out)
{
    for (int64_t i = 0; i < in->count; i++) {
        size_t length;
        const char *token = string_at(in, i, &length);
        for (size_t at = 0; at < length;) {
            uint32_t code = tok_next_code(token, &at);
            if (code != step->content)
                tok_append_code(&out->text, code);
            else if (i > 0 || step->keep_leading)
                wn_text_append(&out->text, " ", 1);
        }
        end_string(out);
    }
}

/* Every place of text where `from` stands is replaced by `to`. */
static void replace_all(struct wn_text *text, const char *from, const char *to)
{
    struct wn_text out = {0};
    size_t width = strlen(from);
    const char *at = text->data, *end = at + text->length, *next = memmem(at, text->length, from, width);

    if (!width || !next)
        return;
    for (; next; next = memmem(at, (size_t)(end - at), from, width)) {
        wn_text_append(&out, at, (size_t)(next - at));
        wn_text_append(&out, to, strlen(to));
        at = next + width;
    }
    wn_text_append(&out, at, (size_t)(end - at));
    wn_text_release(text);
    *text = out;
}

/* Spaces that cutting put in front of punctuation and English endings; the decoder also shortens "do not". */
static void clean_up(struct wn_text *text, bool shorten)
{
    static const char *const rules[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                           {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                           {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (shorten || strcmp(rules[i][0], " do not") != 0)
            replace_all(text, rules[i][0], rules[i][1]);
}

static void decode_word_piece(const struct tok_decoder *step, const struct strings *in, struct strings *out)
{
    size_t width = strlen(step->text);

    for (int64_t i = 0; i < in->count; i++) {
        size_t length;
        const char *token = string_at(in, i, &length);
        struct wn_text now = {0};
        bool continues = i > 0 && length >= width && memcmp(token, step->text, width) == 0;
        wn_text_append(&now, " ", i > 0 && !continues);
        wn_text_append(&now, token + (continues ? width : 0), length - (continues ? width : 0));
        if (step->clean_up)
            clean_up(&now, true);
        wn_text_append(&out->text, now.data, now.length);
        end_string(out);
        wn_text_release(&now);
    }
}

/* The suffix of a word's last token is a space, but for the last of all. */
static void decode_suffix(const struct tok_decoder *step, const struct strings *in, struct strings *out)
{
    for (int64_t i = 0; i < in->count; i++) {
        size_t length;
        const char *token = string_at(in, i, &length);
        struct wn_text now = {0};
        wn_text_append(&now, token, length);
        replace_all(&now, step->text, i + 1 < in->count ? " " : "");
        wn_text_append(&out->text, now.data, now.length);
        end_string(out);
        wn_text_release(&now);
    }
}

static wn_status decode_step(const struct tok_decoder *step, const struct strings *in, struct strings *out)
{
    wn_text_append(&out->text, "", 0);
    switch (step->kind) {
    case TOK_DECODE_REPLACE:
        return decode_replace(step, in, out);
    case TOK_DECODE_BYTE_FALLBACK:
        decode_byte_fallback(in, out);
        return WN_OK;
    case TOK_DECODE_FUSE:
        wn_text_append(&out->text, in->text.data, in->text.length);
        end_string(out);
        return WN_OK;
    case TOK_DECODE_STRIP:
        decode_strip(step, in, out);
        return WN_OK;
    case TOK_DECODE_BYTE_LEVEL:
        decode_byte_level(in, out);
        return WN_OK;
    case TOK_DECODE_METASPACE:
        decode_metaspace(step, in, out);
        return WN_OK;
    case TOK_DECODE_WORD_PIECE:
        decode_word_piece(step, in, out);
        return WN_OK;
    case TOK_DECODE_SUFFIX:
        decode_suffix(step, in, out);
        return WN_OK;
    }
    WN_BUG("no such decoder: %d", (int)step->kind);
}

/* Ids without a string are left out, as in the reference; without a decoder the tokens are joined by spaces. */
static void token_strings(const struct wn_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special,
                          struct strings *out)
{
    wn_text_append(&out->text, "", 0);
    for (int64_t i = 0; i < count; i++) {
        if (!wn_token_text(tokenizer, ids[i]) || (skip_special && tokenizer->special[ids[i]]))
            continue;
        const char *token = tokenizer->outputs[ids[i]];
        if (!tokenizer->has_decoder && out->count > 0)
            wn_text_append(&out->text, " ", 1);
        wn_text_append(&out->text, token, strlen(token));
        end_string(out);
    }
}

wn_status wn_decode(const struct wn_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special,
                    struct wn_text *text)
{
    struct strings now = {0};
    wn_status status = WN_OK;

    token_strings(tokenizer, ids, count, skip_special, &now);
    for (int64_t i = 0; i < tokenizer->decoder_count && status == WN_OK; i++) {
        struct strings next = {0};
        status = decode_step(&tokenizer->decoders[i], &now, &next);
        release(&now);
        now = next;
    }
    if (status == WN_OK && tokenizer->clean_up)
        clean_up(&now.text, false);
    if (status == WN_OK)
        wn_text_append(text, now.text.data, now.text.length);
    release(&now);
    return status;
}
