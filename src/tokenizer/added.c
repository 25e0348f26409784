/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Added tokens: leftmost-longest matches over all of them, first those that match the raw text, then, on what the
 * normalizers make of the rest, those whose content is normalized too.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer_impl.h"

static int32_t add_node(struct tok_trie *trie, uint8_t byte)
{
    if (trie->count == trie->capacity) {
        trie->capacity = trie->capacity ? 2 * trie->capacity : 64;
        trie->nodes = wn_resize(trie->nodes, trie->capacity, sizeof(struct tok_node));
    }
    trie->nodes[trie->count] = (struct tok_node){.child = 0, .sibling = 0, .token = -1, .byte = byte};
    return (int32_t)trie->count++;
}

static int32_t child_of(const struct tok_trie *trie, int32_t node, uint8_t byte)
{
    int32_t child = trie->nodes[node].child;

    while (child && trie->nodes[child].byte != byte)
        child = trie->nodes[child].sibling;
    return child;
}

/* Of two tokens with the same content the first one stays. */
void tok_trie_add(struct tok_trie *trie, const char *content, size_t length, int32_t token)
{
    int32_t node = 0;

    if (length == 0)
        return;
    if (trie->count == 0)
        add_node(trie, 0);
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = (uint8_t)content[i];
        int32_t child = child_of(trie, node, byte);
        if (!child) {
            child = add_node(trie, byte);
            trie->nodes[child].sibling = trie->nodes[node].child;
            trie->nodes[node].child = child;
            if (node == 0)
                trie->root[byte] = child;
        }
        node = child;
    }
    if (trie->nodes[node].token < 0)
        trie->nodes[node].token = token;
}

void tok_trie_release(struct tok_trie *trie)
{
    wn_free(trie->nodes);
    memset(trie, 0, sizeof(*trie));
}

/* The longest token that starts at text[at], -1 for none. */
static int32_t longest_at(const struct tok_trie *trie, const char *text, size_t length, size_t at, size_t *end)
{
    int32_t token = -1, node = trie->root[(uint8_t)text[at]];

    while (node) {
        at++;
        if (trie->nodes[node].token >= 0) {
            token = trie->nodes[node].token;
            *end = at;
        }
        if (at == length)
            break;
        node = child_of(trie, node, (uint8_t)text[at]);
    }
    return token;
}

static bool is_word_at(const struct wn_tokenizer *tokenizer, const char *text, size_t length, size_t at)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    size_t end = at;

    tok_next_code(text, &end);
    int found = pcre2_match(tokenizer->word.code, (PCRE2_SPTR)(text + at), (end < length ? end : length) - at, 0,
                            PCRE2_NO_UTF_CHECK, data, tokenizer->word.context);
    pcre2_match_data_free(data);
    return found >= 0;
}

static bool stands_alone(const struct wn_tokenizer *tokenizer, const char *text, size_t length, size_t start,
                         size_t end)
{
    if (start > 0 && is_word_at(tokenizer, text, length, tok_character_at(text, start - 1)))
        return false;
    return end == length || !is_word_at(tokenizer, text, length, end);
}

/* Where the whitespace in front of `start` begins, but not before `least`. */
static size_t skip_space_left(const char *text, size_t start, size_t least)
{
    while (start > least) {
        size_t back = tok_character_at(text, start - 1), at = back;
        if (!tok_is_space(tok_next_code(text, &at)))
            break;
        start = back;
    }
    return start;
}

static size_t skip_space_right(const char *text, size_t length, size_t end)
{
    while (end < length) {
        size_t at = end;
        if (!tok_is_space(tok_next_code(text, &at)))
            break;
        end = at;
    }
    return end;
}

/*
 * Appends the pieces of text[0..length). `done` is how far the pieces reach; a match that rstrip has already run over
 * still counts, as in the reference, because the search goes on behind the bare content.
 */
static void extract(const struct wn_tokenizer *tokenizer, const struct tok_trie *trie, const char *text, size_t length,
                    bool first, struct tok_pieces *out)
{
    size_t done = 0;

    for (size_t at = 0; trie->count > 0 && at < length;) {
        size_t match_end = 0;
        int32_t index = longest_at(trie, text, length, at, &match_end);
        if (index < 0) {
            at++;
            continue;
        }
        const struct tok_added *added = &tokenizer->added[index];
        size_t start = at, end = match_end;
        at = match_end;
        if (tokenizer->split_special && added->special)
            continue;
        if (added->single_word && !stands_alone(tokenizer, text, length, start, end))
            continue;
        if (added->lstrip)
            start = start < done ? done : skip_space_left(text, start, done);
        if (added->rstrip)
            end = skip_space_right(text, length, end);
        if (start >= end) /* nothing of it is left: it is white space that the match before has run over */
            continue;
        if (done < start)
            tok_pieces_add(out, text + done, start - done, -1, first && done == 0);
        tok_pieces_add(out, text + start, end - start, added->id, first && start == 0);
        done = end;
    }
    if (done < length)
        tok_pieces_add(out, text + done, length - done, -1, first && done == 0);
}

/* Special tokens come first, so that they win over others of the same content. */
wn_status tok_index_added(struct wn_tokenizer *tokenizer)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < tokenizer->added_count; i++) {
            struct tok_added *added = &tokenizer->added[i];
            size_t length = strlen(added->content);
            if (added->special != (pass == 0))
                continue;
            if (!added->normalized) {
                tok_trie_add(&tokenizer->raw, added->content, length, (int32_t)i);
                continue;
            }
            struct wn_text content = {0};
            wn_status status = tok_normalize(tokenizer, added->content, length, false, &content);
            added->normal = content.data;
            WN_TRY(status);
            tok_trie_add(&tokenizer->normalized, content.data, content.length, (int32_t)i);
            tokenizer->outputs[added->id] = added->normal;
        }
    }
    return WN_OK;
}

/* Whether a token, or the beginning of one, that starts at text[at] reaches text[end]. */
static bool reaches(const struct tok_trie *trie, const char *text, size_t at, size_t end)
{
    int32_t node = trie->root[(uint8_t)text[at]];

    while (node && ++at < end)
        node = child_of(trie, node, (uint8_t)text[at]);
    return node != 0;
}

bool tok_added_near(const struct tok_trie *trie, const char *text, size_t length, size_t at, size_t behind)
{
    size_t end = at + behind < length ? at + behind : length, token;

    for (size_t from = at > 1024 ? at - 1024 : 0; trie->count > 0 && from < at; from++)
        if (reaches(trie, text, from, at))
            return true;
    for (size_t from = at; trie->count > 0 && from < end; from++)
        if (longest_at(trie, text, length, from, &token) >= 0 || reaches(trie, text, from, length))
            return true;
    return false;
}

wn_status tok_extract_added(const struct wn_tokenizer *tokenizer, const char *text, size_t length, bool first,
                            struct tok_pieces *out)
{
    struct tok_pieces raw = {0};
    struct wn_text normal = {0};
    wn_status status = WN_OK;

    extract(tokenizer, &tokenizer->raw, text, length, first, &raw);
    for (int64_t i = 0; i < raw.count && status == WN_OK; i++) {
        const struct tok_piece *piece = &raw.items[i];
        const char *bytes = raw.text.data + piece->start;
        if (piece->id >= 0) {
            tok_pieces_add(out, bytes, piece->length, piece->id, piece->first);
            continue;
        }
        normal.length = 0;
        status = tok_normalize(tokenizer, bytes, piece->length, !first && i == 0, &normal);
        if (status == WN_OK && normal.length > 0)
            extract(tokenizer, &tokenizer->normalized, normal.data, normal.length, piece->first, out);
    }
    tok_pieces_release(&raw);
    wn_text_release(&normal);
    return status;
}
