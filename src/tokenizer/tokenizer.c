/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and encoding; the stages are in the other files (see tokenizer_impl.h).
 */
#include <winnow/encodings.h>
#include <winnow/io.h>

#include "tokenizer_impl.h"

/* What single_word looks at: Rust's \w, which counts the joiners. */
#define WORD_PATTERN "\\A[" TOK_WORD_CLASS "\\x{200c}\\x{200d}]"

enum { PART_BYTES = 1 << 20 };

static wn_status open_files(const char *directory, bool as_file, struct wn_tokenizer *tokenizer)
{
    WN_TRY(tok_pattern_regex("single_word", WORD_PATTERN, &tokenizer->word));
    tokenizer->path = wn_join_path(directory, "tokenizer.json");
    WN_TRY(tok_load(directory, as_file, tokenizer));
    /* Without any name, the special token that a template starts with is the BOS. */
    if (tokenizer->bos < 0 && tokenizer->eos < 0 && tokenizer->prefix.count > 0 &&
        tokenizer->special[tokenizer->prefix.data[0]])
        tokenizer->bos = tokenizer->prefix.data[0];
    return WN_OK;
}

static wn_status open_tokenizer(const char *directory, bool as_file, struct wn_tokenizer **tokenizer)
{
    *tokenizer = wn_alloc_zero(1, sizeof(struct wn_tokenizer));
    (*tokenizer)->bos = (*tokenizer)->eos = -1;
    (*tokenizer)->front = TOK_FRONT_STANDARD;
    wn_status status = open_files(directory, as_file, *tokenizer);
    if (status != WN_OK)
        wn_tokenizer_close(tokenizer);
    return status;
}

wn_status wn_tokenizer_open(const char *directory, struct wn_tokenizer **tokenizer)
{
    return open_tokenizer(directory, false, tokenizer);
}

wn_status wn_tokenizer_open_file(const char *directory, struct wn_tokenizer **tokenizer)
{
    return open_tokenizer(directory, true, tokenizer);
}

static void release_stages(struct wn_tokenizer *tokenizer)
{
    for (int64_t i = 0; i < tokenizer->normalizer_count; i++) {
        wn_free(tokenizer->normalizers[i].text);
        tok_pattern_release(&tokenizer->normalizers[i].pattern);
        tok_charsmap_release(&tokenizer->normalizers[i].charsmap);
    }
    for (int64_t i = 0; i < tokenizer->splitter_count; i++)
        tok_pattern_release(&tokenizer->splitters[i].pattern);
    for (int64_t i = 0; i < tokenizer->decoder_count; i++) {
        wn_free(tokenizer->decoders[i].text);
        tok_pattern_release(&tokenizer->decoders[i].pattern);
    }
    wn_free(tokenizer->normalizers);
    wn_free(tokenizer->splitters);
    wn_free(tokenizer->decoders);
}

void wn_tokenizer_close(struct wn_tokenizer **tokenizer)
{
    struct wn_tokenizer *t = *tokenizer;

    if (!t)
        return;
    for (int64_t i = 0; i < t->added_count; i++) {
        wn_free(t->added[i].content);
        wn_free(t->added[i].normal);
    }
    wn_free(t->added);
    tok_trie_release(&t->raw);
    tok_trie_release(&t->normalized);
    tok_pattern_release(&t->word);
    release_stages(t);
    tok_model_release(&t->model);
    wn_ids_release(&t->prefix);
    wn_ids_release(&t->suffix);
    wn_free(t->texts);
    wn_free(t->outputs);
    wn_free(t->special);
    wn_free(t->path);
    wn_free(t);
    *tokenizer = NULL;
}

wn_status wn_encode(const struct wn_tokenizer *tokenizer, const char *text, int64_t length, bool special,
                    struct wn_ids *ids)
{
    int64_t before = ids->count, cuts;

    if (wn_encodings_answer(ids))
        return WN_OK;
    int64_t invalid = wn_utf8_invalid_at(text, length);
    if (invalid >= 0)
        return wn_fail(WN_ERR_INPUT, "the text to encode is not valid UTF-8 at byte %lld", (long long)invalid);
    if (special)
        wn_ids_append_all(ids, tokenizer->prefix.data, tokenizer->prefix.count);
    wn_status status = tok_encode(tokenizer, text, (size_t)length, PART_BYTES, &cuts, ids);
    if (status == WN_OK && special)
        wn_ids_append_all(ids, tokenizer->suffix.data, tokenizer->suffix.count);
    if (status == WN_OK)
        wn_encodings_note(ids, before);
    else
        ids->count = before;
    return status;
}
