/* SPDX-License-Identifier: Apache-2.0 */
/* load_stages.c: pre-tokenizers and decoders of tokenizer.json. */
#include "load.h"

#include "reference_classes.inc"

#define GPT2_PATTERN        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define PUNCTUATION_PATTERN "[" PUNCTUATION "]"
/* Rust's \w and what is neither that nor white space. */
#define RUST_WORD     TOK_WORD_CLASS "\\x{200c}\\x{200d}"
#define WORDS_PATTERN "[" RUST_WORD "]+|[^" RUST_WORD "\\s]+"

/* ---- pre-tokenizers ---- */

static wn_status fixed_pattern(const struct tok_loader *loader, const char *where, const char *regex,
                               struct tok_pattern *pattern)
{
    char *place = wn_format("%s: %s", loader->path, where);
    wn_status status = tok_pattern_regex(place, regex, pattern);

    wn_free(place);
    return status;
}

static wn_status load_byte_level(struct tok_loader *loader, const cJSON *json, const char *where,
                                 struct tok_splitter *step)
{
    step->kind = TOK_BYTE_LEVEL;
    WN_TRY(tok_get_bool(loader, json, where, "add_prefix_space", true, &step->add_prefix_space));
    WN_TRY(tok_get_bool(loader, json, where, "use_regex", true, &step->split));
    return fixed_pattern(loader, where, GPT2_PATTERN, &step->pattern);
}

static wn_status read_behavior(const struct tok_loader *loader, const cJSON *json, const char *where,
                               enum tok_behavior *behavior)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = "";
    int index = 0;

    WN_TRY(tok_get_string(loader, json, where, "behavior", &name));
    while (index < 5 && strcmp(name, names[index]) != 0)
        index++;
    if (index == 5)
        return tok_expected_key(loader, where, "behavior",
                                "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
    *behavior = (enum tok_behavior)index;
    return WN_OK;
}

static wn_status load_split(struct tok_loader *loader, const cJSON *json, const char *where, struct tok_splitter *step)
{
    step->kind = TOK_SPLIT;
    step->split = true;
    WN_TRY(read_behavior(loader, json, where, &step->behavior));
    WN_TRY(tok_get_bool(loader, json, where, "invert", false, &step->invert));
    return tok_load_pattern(loader, json, where, &step->pattern);
}

/* prepend_scheme, or the older add_prefix_space; the two must not contradict each other. */
static wn_status load_prepend(struct tok_loader *loader, const cJSON *json, const char *where,
                              enum tok_prepend *prepend)
{
    static const char *const names[] = {"always", "first", "never"};
    const char *name = "";
    bool add_prefix_space;
    int scheme = 0;

    WN_TRY(tok_get_bool(loader, json, where, "add_prefix_space", true, &add_prefix_space));
    *prepend = add_prefix_space ? TOK_PREPEND_ALWAYS : TOK_PREPEND_NEVER;
    if (!tok_value_of(json, "prepend_scheme"))
        return WN_OK;
    WN_TRY(tok_get_string(loader, json, where, "prepend_scheme", &name));
    while (scheme < 3 && strcmp(name, names[scheme]) != 0)
        scheme++;
    if (scheme == 3)
        return tok_expected_key(loader, where, "prepend_scheme", "always, first or never");
    *prepend = (enum tok_prepend)scheme;
    if (!add_prefix_space && *prepend != TOK_PREPEND_NEVER)
        return tok_expected_key(loader, where, "prepend_scheme", "never, because add_prefix_space is false");
    return WN_OK;
}

static wn_status load_metaspace(struct tok_loader *loader, const cJSON *json, const char *where,
                                struct tok_splitter *step)
{
    uint32_t code = 0;

    step->kind = TOK_METASPACE;
    step->behavior = TOK_MERGED_WITH_NEXT;
    WN_TRY(tok_get_character(loader, json, where, "replacement", &code));
    tok_put_code(code, step->replacement);
    WN_TRY(load_prepend(loader, json, where, &step->prepend));
    WN_TRY(tok_get_bool(loader, json, where, "split", true, &step->split));
    return tok_pattern_literal(where, step->replacement, &step->pattern);
}

static wn_status load_fixed(struct tok_loader *loader, const char *where, const char *regex, enum tok_behavior behavior,
                            bool invert, struct tok_splitter *step)
{
    step->kind = TOK_SPLIT;
    step->split = true;
    step->behavior = behavior;
    step->invert = invert;
    return fixed_pattern(loader, where, regex, &step->pattern);
}

static wn_status load_digits(struct tok_loader *loader, const cJSON *json, const char *where, struct tok_splitter *step)
{
    bool individual = false;

    WN_TRY(tok_get_bool(loader, json, where, "individual_digits", false, &individual));
    return load_fixed(loader, where, "[" NUMBERS "]", individual ? TOK_ISOLATED : TOK_CONTIGUOUS, false, step);
}

static wn_status load_punctuation(struct tok_loader *loader, const cJSON *json, const char *where,
                                  struct tok_splitter *step)
{
    enum tok_behavior behavior = TOK_ISOLATED;

    if (tok_value_of(json, "behavior"))
        WN_TRY(read_behavior(loader, json, where, &behavior));
    return load_fixed(loader, where, PUNCTUATION_PATTERN, behavior, false, step);
}

static wn_status load_delimiter(struct tok_loader *loader, const cJSON *json, const char *where,
                                struct tok_splitter *step)
{
    uint32_t code = 0;
    char text[5] = "";

    step->kind = TOK_SPLIT;
    step->split = true;
    step->behavior = TOK_REMOVED;
    WN_TRY(tok_get_character(loader, json, where, "delimiter", &code));
    tok_put_code(code, text);
    return tok_pattern_literal(where, text, &step->pattern);
}

static wn_status load_fixed_length(struct tok_loader *loader, const cJSON *json, const char *where,
                                   struct tok_splitter *step)
{
    enum { LONGEST = 65535 }; /* what a repetition of PCRE2 can count */
    int64_t length = 5;

    if (tok_value_of(json, "length") && (!tok_read_integer(tok_value_of(json, "length"), LONGEST, &length) || !length))
        return tok_expected_key(loader, where, "length", "a number of characters from 1 to 65535");
    char *regex = wn_format("[\\s\\S]{1,%lld}", (long long)length);
    wn_status status = load_fixed(loader, where, regex, TOK_ISOLATED, false, step);
    wn_free(regex);
    return status;
}

static struct tok_splitter *add_splitter(struct wn_tokenizer *tokenizer)
{
    int64_t index = tokenizer->splitter_count++;

    tokenizer->splitters = wn_resize(tokenizer->splitters, tokenizer->splitter_count, sizeof(struct tok_splitter));
    tokenizer->splitters[index] = (struct tok_splitter){0};
    return &tokenizer->splitters[index];
}

wn_status tok_load_splitter(struct tok_loader *loader, const cJSON *json, const char *where, const char *type)
{
    struct tok_splitter *step = add_splitter(loader->tokenizer);

    if (strcmp(type, "ByteLevel") == 0)
        return load_byte_level(loader, json, where, step);
    if (strcmp(type, "Split") == 0)
        return load_split(loader, json, where, step);
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(loader, json, where, step);
    if (strcmp(type, "Digits") == 0)
        return load_digits(loader, json, where, step);
    if (strcmp(type, "Punctuation") == 0)
        return load_punctuation(loader, json, where, step);
    if (strcmp(type, "CharDelimiterSplit") == 0)
        return load_delimiter(loader, json, where, step);
    if (strcmp(type, "FixedLength") == 0)
        return load_fixed_length(loader, json, where, step);
    if (strcmp(type, "Whitespace") == 0)
        return load_fixed(loader, where, WORDS_PATTERN, TOK_REMOVED, true, step);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return load_fixed(loader, where, "\\s", TOK_REMOVED, false, step);
    if (strcmp(type, "BertPreTokenizer") != 0)
        return tok_unsupported(loader, where, "pre-tokenizer", type);
    WN_TRY(load_fixed(loader, where, "\\s", TOK_REMOVED, false, step));
    return load_fixed(loader, where, PUNCTUATION_PATTERN, TOK_ISOLATED, false, add_splitter(loader->tokenizer));
}

/* ---- decoders ---- */

static wn_status fill_decoder(struct tok_loader *loader, const cJSON *json, const char *where, const char *type,
                              struct tok_decoder *step)
{
    const char *text = "";
    enum tok_prepend prepend;

    if (strcmp(type, "Replace") == 0) {
        step->kind = TOK_DECODE_REPLACE;
        WN_TRY(tok_get_string(loader, json, where, "content", &text));
        step->text = wn_strdup(text);
        WN_TRY(tok_load_pattern(loader, json, where, &step->pattern));
    } else if (strcmp(type, "ByteFallback") == 0) {
        step->kind = TOK_DECODE_BYTE_FALLBACK;
    } else if (strcmp(type, "Fuse") == 0) {
        step->kind = TOK_DECODE_FUSE;
    } else if (strcmp(type, "Strip") == 0) {
        step->kind = TOK_DECODE_STRIP;
        WN_TRY(tok_get_character(loader, json, where, "content", &step->content));
        WN_TRY(tok_get_count(loader, json, where, "start", &step->start));
        WN_TRY(tok_get_count(loader, json, where, "stop", &step->stop));
    } else if (strcmp(type, "ByteLevel") == 0) {
        step->kind = TOK_DECODE_BYTE_LEVEL;
    } else if (strcmp(type, "Metaspace") == 0) {
        step->kind = TOK_DECODE_METASPACE;
        WN_TRY(tok_get_character(loader, json, where, "replacement", &step->content));
        WN_TRY(load_prepend(loader, json, where, &prepend));
        step->keep_leading = prepend == TOK_PREPEND_NEVER;
    } else if (strcmp(type, "WordPiece") == 0) {
        step->kind = TOK_DECODE_WORD_PIECE;
        WN_TRY(tok_get_string(loader, json, where, "prefix", &text));
        step->text = wn_strdup(text);
        WN_TRY(tok_get_bool(loader, json, where, "cleanup", true, &step->clean_up));
    } else if (strcmp(type, "BPEDecoder") == 0) {
        step->kind = TOK_DECODE_SUFFIX;
        WN_TRY(tok_get_string(loader, json, where, "suffix", &text));
        step->text = wn_strdup(text);
    } else {
        return tok_unsupported(loader, where, "decoder", type);
    }
    return WN_OK;
}

wn_status tok_load_decoder(struct tok_loader *loader, const cJSON *json, const char *where, const char *type)
{
    struct wn_tokenizer *tokenizer = loader->tokenizer;
    int64_t index = tokenizer->decoder_count++;

    tokenizer->decoders = wn_resize(tokenizer->decoders, tokenizer->decoder_count, sizeof(struct tok_decoder));
    tokenizer->decoders[index] = (struct tok_decoder){0};
    return fill_decoder(loader, json, where, type, &tokenizer->decoders[index]);
}
