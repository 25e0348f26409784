/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long texts, a part at a time: the ids are those of the whole text, but what the stages make of it (20 bytes for each
 * of its own) is there for a part only.
 *
 * A text is cut between an ASCII letter and a space in front of another letter, where it holds that
 *   no added token is near, before or after the normalizers;
 *   the normalizers work on single characters, on clusters of them or by composition, which never join a space to a
 * letter;
 *   a pre-tokenizer ends a piece there, whatever comes behind the next few characters, or its pattern does not touch
 * the place: partial matching tells (pcre2partial(3)); or else no token of the vocabulary holds the last character
 * before the cut with the first behind it, so that no merge ever crosses it, and both are tokens themselves. A place
 * that does not hold is passed over for the next one; a text without any is encoded whole.
 */
#include "tokenizer_impl.h"

enum { CONTEXT = 64, TRIES = 32, ROOM = 1 << 18 };

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The first place from `at` on where a text may be cut, `length` when there is none. */
static size_t find_place(const char *text, size_t length, size_t at)
{
    while (at + 1 < length) {
        const char *space = memchr(text + at, ' ', length - at - 1);
        if (!space)
            break;
        at = (size_t)(space - text);
        if (at > 0 && is_letter(text[at - 1]) && is_letter(text[at + 1]))
            return at;
        at++;
    }
    return length;
}

/* Whether the normalizers of a tokenizer make of both parts of a text what they make of the whole. */
static bool normalizes_parts(const struct wn_tokenizer *tokenizer)
{
    for (int64_t i = 0; i < tokenizer->normalizer_count; i++) {
        const struct tok_normalizer *step = &tokenizer->normalizers[i];
        if (step->kind == TOK_STRIP || (step->kind == TOK_REPLACE && !(step->pattern.literal && step->pattern.streams)))
            return false;
    }
    return true;
}

/* The last ASCII character from `from`, a letter behind a space, to `at` that neither composition nor a cluster of
 * characters (charsmap.c) joins to what is before it, which is ASCII too. */
static size_t plain_at(const char *text, size_t from, size_t at)
{
    while (at > from && ((uint8_t)text[at] >= 0x80 || (uint8_t)text[at - 1] >= 0x80 || text[at - 1] == '\r'))
        at--;
    return at;
}

/* Whether added tokens keep away from text[at]; *context is then the normal form of what follows. */
static wn_status look_around(const struct wn_tokenizer *tokenizer, const char *text, size_t length, size_t at,
                             bool *clear, struct wn_text *context)
{
    size_t from = tok_character_at(text, at > 1024 ? at - 1024 : 0);
    size_t to = at + 2 * CONTEXT < length ? plain_at(text, at + 1, at + 2 * CONTEXT) : length;
    size_t near = plain_at(text, at + 1, at + CONTEXT < length ? at + CONTEXT : length - 1);
    struct wn_text around = {0};

    *clear = !tok_added_near(&tokenizer->raw, text, length, at, 2 * CONTEXT);
    wn_status status = tok_normalize(tokenizer, text + from, at - from, true, &around);
    size_t cut = around.length;
    if (status == WN_OK)
        status = tok_normalize(tokenizer, text + at, near - at, true, context);
    if (status == WN_OK)
        status = tok_normalize(tokenizer, text + at, to - at, true, &around);
    if (status == WN_OK && *clear)
        *clear = !tok_added_near(&tokenizer->normalized, around.data, around.length, cut, context->length);
    wn_text_release(&around);
    return status;
}

/* Whether no merge joins the end of the last piece with what is behind it; other models weigh all of a piece. */
static bool merges_end(const struct tok_model *model, const struct tok_pieces *pieces, const struct wn_text *right)
{
    const struct tok_piece *last = &pieces->items[pieces->count - 1];
    const char *left = pieces->text.data + last->start;
    size_t length = last->length, from = tok_character_at(left, length - 1), end = 0;
    char pair[8];

    if (right->length == 0 || model->kind != TOK_BPE || model->bpe.ignore_merges)
        return false;
    tok_next_code(right->data, &end);
    if (tok_vocabulary_find(&model->vocabulary, left + from, length - from) < 0 ||
        tok_vocabulary_find(&model->vocabulary, right->data, end) < 0)
        return false;
    memcpy(pair, left + from, length - from);
    memcpy(pair + length - from, right->data, end);
    return !tok_vocabulary_holds(&model->vocabulary, pair, length - from + end);
}

static wn_status encode_pieces(const struct wn_tokenizer *tokenizer, const struct tok_pieces *pieces,
                               struct wn_ids *ids)
{
    for (int64_t i = 0; i < pieces->count; i++) {
        const struct tok_piece *piece = &pieces->items[i];
        if (piece->id >= 0)
            wn_ids_append(ids, piece->id);
        else
            WN_TRY(tok_model_encode(&tokenizer->model, pieces->text.data + piece->start, piece->length, ids));
    }
    return WN_OK;
}

/* The rest of a text, or all of it. */
static wn_status encode_rest(const struct wn_tokenizer *tokenizer, const char *text, size_t length, bool first,
                             struct wn_ids *ids)
{
    struct tok_pieces pieces = {0};
    wn_status status = tok_extract_added(tokenizer, text, length, first, &pieces);

    if (status == WN_OK)
        status = tok_split(tokenizer, &pieces, NULL);
    if (status == WN_OK)
        status = encode_pieces(tokenizer, &pieces, ids);
    tok_pieces_release(&pieces);
    return status;
}

/* text[0..cut), unless the text must not be cut there: then *cuts is false and there are no ids. */
static wn_status encode_part(const struct wn_tokenizer *tokenizer, const char *text, size_t cut, bool first,
                             struct tok_open *open, bool *cuts, struct wn_ids *ids)
{
    struct tok_pieces pieces = {0};
    wn_status status = tok_extract_added(tokenizer, text, cut, first, &pieces);

    *cuts = status == WN_OK && pieces.count > 0 && pieces.items[pieces.count - 1].id < 0;
    open->open = true;
    if (*cuts)
        status = tok_split(tokenizer, &pieces, open);
    if (status == WN_OK && *cuts)
        *cuts = !open->unknown && (!open->open || merges_end(&tokenizer->model, &pieces, &open->context));
    if (status == WN_OK && *cuts)
        status = encode_pieces(tokenizer, &pieces, ids);
    tok_pieces_release(&pieces);
    return status;
}

/* About `part` bytes from `done` on; *done is moved behind it, or stays where no place to cut was found. */
static wn_status encode_next(const struct wn_tokenizer *tokenizer, const char *text, size_t length, size_t part,
                             size_t *done, struct wn_ids *ids)
{
    wn_status status = WN_OK;
    bool cuts = false;
    size_t at = *done + part;

    for (int try = 0; try < TRIES && !cuts && status == WN_OK; try++, at++) {
        struct tok_open open = {0};
        at = find_place(text, length, at);
        if (length - at < part)
            break;
        status = look_around(tokenizer, text, length, at, &cuts, &open.context);
        if (status == WN_OK && cuts)
            status = encode_part(tokenizer, text + *done, at - *done, *done == 0, &open, &cuts, ids);
        wn_text_release(&open.context);
        if (status == WN_OK && cuts)
            *done = at;
    }
    return status;
}

/* Room for the ids of all when `done` of `length` bytes made `count`, so that they are not copied again and again. */
static void reserve(struct wn_ids *ids, int64_t before, size_t done, size_t length)
{
    double count = (double)(ids->count - before) / (double)done * (double)length;
    int64_t room = before + (int64_t)(1.02 * count) + ROOM;

    if (room > ids->capacity) {
        ids->capacity = room;
        ids->data = wn_resize(ids->data, room, sizeof *ids->data);
    }
}

wn_status tok_encode(const struct wn_tokenizer *tokenizer, const char *text, size_t length, size_t part, int64_t *cuts,
                     struct wn_ids *ids)
{
    size_t done = 0;
    int64_t count = ids->count;
    bool more = normalizes_parts(tokenizer);

    for (*cuts = 0; more && length - done > 2 * part; *cuts += more) {
        size_t before = done;
        WN_TRY(encode_next(tokenizer, text, length, part, &done, ids));
        more = done > before;
        if (more && ids->capacity - ids->count < ROOM)
            reserve(ids, count, done, length);
    }
    return encode_rest(tokenizer, text + done, length - done, done == 0, ids);
}
