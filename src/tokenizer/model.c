/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.c: the four kinds of models behind one call, and the two short ones: WordPiece and WordLevel.
 */
#include "tokenizer_impl.h"

static wn_status no_unknown(void)
{
    return wn_fail(WN_ERR_INPUT, "a text has a part that is no token, and the tokenizer has no token for the unknown");
}

/* ---- WordPiece and WordLevel ---- */

static bool is_longer_than(const char *text, size_t length, int64_t characters)
{
    int64_t count = 0;

    for (size_t at = 0; at < length && count <= characters; count++)
        tok_next_code(text, &at);
    return count > characters;
}

/* The longest token that text[0..length) begins with, at least one character; -1 for none. */
static int32_t longest_token(const struct tok_vocabulary *vocabulary, const char *text, size_t length, size_t skip,
                             size_t *end)
{
    for (*end = length; *end > skip;) {
        int32_t id = tok_vocabulary_find(vocabulary, text, *end);
        if (id >= 0)
            return id;
        *end = tok_character_at(text, *end - 1);
    }
    return -1;
}

/* The end of what a token could cover of text[0..length): it does not cut a character. */
static size_t within(const char *text, size_t length, size_t most)
{
    return length <= most ? length : tok_character_at(text, most);
}

/* Appends the tokens of a word; false when some part of it is none. `room` has the word behind room for the prefix. */
static bool cut_word(const struct tok_model *model, char *room, size_t prefix, size_t length, struct wn_ids *ids)
{
    char *word = room + prefix;

    for (size_t at = 0, end = 0; at < length; at += end) {
        size_t skip = at > 0 ? prefix : 0;
        char *from = word + at - skip; /* what stood there is done with */
        if (skip)
            memcpy(from, model->word_piece.prefix, skip);
        size_t most = within(from, length - at + skip, model->word_piece.longest);
        int32_t id = longest_token(&model->vocabulary, from, most, skip, &end);
        if (id < 0)
            return false;
        wn_ids_append(ids, id);
        end -= skip;
    }
    return true;
}

static wn_status encode_word_piece(const struct tok_model *model, const char *text, size_t length, struct wn_ids *ids)
{
    size_t prefix = strlen(model->word_piece.prefix);
    int64_t before = ids->count;
    bool known = false;

    if (!is_longer_than(text, length, model->word_piece.most_characters)) {
        char *room = wn_alloc((int64_t)(prefix + length), 1);
        memcpy(room + prefix, text, length);
        known = cut_word(model, room, prefix, length, ids);
        wn_free(room);
    }
    if (known)
        return WN_OK;
    ids->count = before;
    if (model->unknown < 0)
        return no_unknown();
    wn_ids_append(ids, model->unknown);
    return WN_OK;
}

static wn_status encode_word_level(const struct tok_model *model, const char *text, size_t length, struct wn_ids *ids)
{
    int32_t id = tok_vocabulary_find(&model->vocabulary, text, length);

    if (id < 0)
        id = model->unknown;
    if (id < 0)
        return no_unknown();
    wn_ids_append(ids, id);
    return WN_OK;
}

/* ---- all kinds ---- */

static void find_bytes(struct tok_model *model)
{
    static const char digits[] = "0123456789ABCDEF";
    char text[6];

    for (int byte = 0; byte < 256; byte++) {
        memcpy(text, (char[]){'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'}, 6);
        model->bytes[byte] = model->byte_fallback ? tok_vocabulary_find(&model->vocabulary, text, 6) : -1;
    }
}

wn_status tok_model_finish(struct tok_model *model)
{
    find_bytes(model);
    if (model->kind == TOK_BPE)
        tok_bpe_finish(model);
    if (model->kind == TOK_UNIGRAM)
        return tok_unigram_finish(model);
    for (int64_t i = 0; i < model->vocabulary.count; i++) {
        size_t length = (size_t)model->vocabulary.entries[i].length;
        model->word_piece.longest = length > model->word_piece.longest ? length : model->word_piece.longest;
    }
    return WN_OK;
}

int64_t tok_model_count(const struct tok_model *model)
{
    return model->kind == TOK_UNIGRAM ? model->unigram.count : model->vocabulary.count;
}

bool tok_model_has_bytes(const struct tok_model *model, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (model->bytes[(uint8_t)text[i]] < 0)
            return false;
    return true;
}

wn_status tok_model_encode(const struct tok_model *model, const char *text, size_t length, struct wn_ids *ids)
{
    switch (model->kind) {
    case TOK_BPE:
        return tok_bpe_encode(model, text, length, ids);
    case TOK_UNIGRAM:
        return tok_unigram_encode(model, text, length, ids);
    case TOK_WORD_PIECE:
        return encode_word_piece(model, text, length, ids);
    case TOK_WORD_LEVEL:
        return encode_word_level(model, text, length, ids);
    }
    WN_BUG("no such model: %d", (int)model->kind);
}

void tok_model_release(struct tok_model *model)
{
    tok_vocabulary_release(&model->vocabulary);
    tok_bpe_release(&model->bpe);
    tok_unigram_release(&model->unigram);
    wn_free(model->word_piece.prefix);
    memset(model, 0, sizeof *model);
}
