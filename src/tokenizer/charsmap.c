/* SPDX-License-Identifier: Apache-2.0 */
/*
 * charsmap.c: SentencePiece's precompiled_charsmap, applied as the package `tokenizers` does (Precompiled): an extended
 * grapheme cluster of less than six bytes is rewritten as a whole, by the shortest rule that it begins with; any other
 * character by character. (SentencePiece itself takes the longest rule at each place, without regard to clusters.)
 *
 * The bytes: the size of the double array, its units of 32 bits (little-endian), and the texts, each ended by NUL. Unit
 * 0 is the root; a node's children are at its place exclusive-or its offset exclusive-or their byte, its leaf at byte
 * 0.
 */
#include <winnow/io.h>

#include "tokenizer_impl.h"

enum { SHORT_CLUSTER = 6, HEAD = 4 };

static uint32_t word_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

wn_status tok_charsmap_read(const char *where, const uint8_t *bytes, size_t length, struct tok_charsmap *map)
{
    size_t size = length < HEAD ? 0 : word_at(bytes);

    if (size < HEAD || size > length - HEAD)
        return wn_fail(WN_ERR_INPUT, "%s: expected the size of a table, the table and its texts", where);
    map->unit_count = (int64_t)(size / 4);
    map->units = wn_alloc(map->unit_count, sizeof *map->units);
    for (int64_t i = 0; i < map->unit_count; i++)
        map->units[i] = word_at(bytes + HEAD + 4 * i);
    const char *texts = (const char *)bytes + HEAD + 4 * map->unit_count;
    map->length = length - HEAD - 4 * (size_t)map->unit_count;
    int64_t invalid = wn_utf8_invalid_at(texts, (int64_t)map->length);
    if (invalid >= 0)
        return wn_fail(WN_ERR_INPUT, "%s: its texts are not valid UTF-8 at byte %lld", where, (long long)invalid);
    map->texts = wn_alloc((int64_t)map->length + 1, 1);
    memcpy(map->texts, texts, map->length);
    map->texts[map->length] = '\0';
    return WN_OK;
}

void tok_charsmap_release(struct tok_charsmap *map)
{
    wn_free(map->units);
    wn_free(map->texts);
    *map = (struct tok_charsmap){0};
}

/* ---- rules ---- */

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Where in map->texts the rewriting by the shortest rule for text[0..length) is; -1 for none. */
static int64_t find_rule(const struct tok_charsmap *map, const char *text, size_t length)
{
    size_t count = (size_t)map->unit_count, at = offset_of(map->units[0]);

    for (size_t i = 0; i < length && text[i]; i++) {
        at ^= (uint8_t)text[i];
        if (at >= count || (map->units[at] & (1u << 31 | 0xFF)) != (uint8_t)text[i])
            return -1;
        uint32_t unit = map->units[at];
        at ^= offset_of(unit);
        if (unit & 1u << 8)
            return at < count ? (int64_t)(map->units[at] & ~(1u << 31)) : -1;
    }
    return -1;
}

/* False when no rule is there for the text; a rule that leads into the middle of a character is none. */
static bool rewrite(const struct tok_charsmap *map, const char *text, size_t length, struct wn_text *out)
{
    int64_t rule = find_rule(map, text, length);

    if (rule < 0 || rule > (int64_t)map->length || ((uint8_t)map->texts[rule] & 0xC0) == 0x80)
        return false;
    wn_text_append(out, map->texts + rule, strlen(map->texts + rule));
    return true;
}

/* ---- clusters ---- */

struct cluster {
    enum tok_cluster_class last;
    bool picture, joined;  /* a picture with its marks; so, and a joiner behind it */
    bool conjunct, linked; /* a consonant and what may stand behind it; so, with a linker */
};

static bool is_mark(enum tok_cluster_class class)
{
    return class == TOK_EXTEND || class == TOK_INNER || class == TOK_LINKER;
}

static bool hangul_joins(enum tok_cluster_class last, enum tok_cluster_class next)
{
    bool vowel = next == TOK_VOWEL, tail = next == TOK_TAIL;

    if (last == TOK_LEAD)
        return next == TOK_LEAD || vowel || next == TOK_SYLLABLE || next == TOK_FULL_SYLLABLE;
    if (last == TOK_SYLLABLE || last == TOK_VOWEL)
        return vowel || tail;
    return (last == TOK_FULL_SYLLABLE || last == TOK_TAIL) && tail;
}

static bool joins(const struct cluster *cluster, enum tok_cluster_class next)
{
    if (next == TOK_CONTROL || cluster->last == TOK_CONTROL)
        return false;
    return is_mark(next) || cluster->last == TOK_LEADS_ON || hangul_joins(cluster->last, next) ||
           (cluster->joined && next == TOK_PICTURE) || (cluster->linked && next == TOK_CONSONANT);
}

static void extend(struct cluster *cluster, enum tok_cluster_class next, uint32_t code)
{
    enum { JOINER = 0x200D };

    cluster->last = next;
    cluster->joined = cluster->picture && code == JOINER;
    cluster->picture = next == TOK_PICTURE || (cluster->picture && is_mark(next) && code != JOINER);
    cluster->linked = cluster->conjunct && (next == TOK_LINKER || (cluster->linked && next == TOK_INNER));
    cluster->conjunct = next == TOK_CONSONANT || (cluster->conjunct && (next == TOK_INNER || next == TOK_LINKER));
}

/* The end of the cluster that begins at text[at]. Flags are taken apart: their halves are too long to be rewritten. */
static size_t cluster_end(const char *text, size_t length, size_t at)
{
    struct cluster cluster = {.last = TOK_PLAIN};
    size_t next = at;
    uint32_t code = tok_next_code(text, &next);

    if (code == '\r' && next < length && text[next] == '\n')
        return next + 1;
    extend(&cluster, tok_cluster_class(code), code);
    while (next < length) {
        at = next;
        code = tok_next_code(text, &next);
        enum tok_cluster_class class = tok_cluster_class(code);
        if (!joins(&cluster, class))
            return at;
        extend(&cluster, class, code);
    }
    return next;
}

static bool is_plain_ascii(char c)
{
    return (uint8_t)c < 0x80 && c != '\r';
}

void tok_charsmap_apply(const struct tok_charsmap *map, const char *text, size_t length, struct wn_text *out)
{
    for (size_t at = 0; at < length;) {
        bool single = is_plain_ascii(text[at]) && (at + 1 == length || (uint8_t)text[at + 1] < 0x80);
        size_t end = single ? at + 1 : cluster_end(text, length, at);
        if (end - at < SHORT_CLUSTER && rewrite(map, text + at, end - at, out)) {
            at = end;
            continue;
        }
        while (at < end) {
            size_t from = at;
            tok_next_code(text, &at);
            if (!rewrite(map, text + from, at - from, out))
                wn_text_append(out, text + from, at - from);
        }
    }
}
