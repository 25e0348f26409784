/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_impl.h: what the tokenizer's files share; private to src/tokenizer.
 *
 * The stages in the order of encoding: added tokens (added.c) cut the text into pieces, normalizers and
 * pre-tokenizers (normalize.c, stages.c, on top of unicode.c, charsmap.c and pattern.c) rewrite and cut them, the
 * model (model.c, bpe.c, unigram.c) turns each into ids; decode.c goes back; load*.c read the file.
 * Every text inside is valid UTF-8.
 */
#ifndef WINNOW_TOKENIZER_IMPL_H
#define WINNOW_TOKENIZER_IMPL_H

#include <string.h>

#include <winnow/tokenizer.h>

/* ---- code points ---- */

/* The code point at text[*at], which is moved behind it. The text must be valid and *at inside it. */
uint32_t tok_next_code(const char *text, size_t *at);
/* Where the character begins that text[at] is a byte of. */
size_t tok_character_at(const char *text, size_t at);
/* Writes the UTF-8 of a code point and returns its 1 to 4 bytes. */
int tok_put_code(uint32_t code, char out[4]);
void tok_append_code(struct wn_text *text, uint32_t code);
/* The White_Space property, as Rust's char::is_whitespace. */
bool tok_is_space(uint32_t code);
/* Whether all of text[0..length) is one code point, which is then stored. */
bool tok_single_code(const char *text, size_t length, uint32_t *code);

/* Unicode normalization form C or KC (`compose`), D or KD; the text without its marks (general category M of Unicode
 * 9); lower case without context; all appended to `out`. */
void tok_normal_form(const char *text, size_t length, bool compose, bool compatibly, struct wn_text *out);
void tok_strip_marks(const char *text, size_t length, struct wn_text *out);
/* Without what BertNormalizer counts as marks: category Mn of Unicode 8. */
void tok_strip_nonspacing(const char *text, size_t length, struct wn_text *out);
/* What BertNormalizer drops from a text: controls, formats, private characters, U+FFFD. */
bool tok_is_dropped(uint32_t code);

/* What a code point is in extended grapheme clusters (Unicode Standard Annex 29), as far as it bears on short ones. */
enum tok_cluster_class {
    TOK_PLAIN,
    TOK_CONTROL,
    TOK_EXTEND,   /* joins what is before it */
    TOK_INNER,    /* so, and may stand between the consonants of a conjunct */
    TOK_LINKER,   /* so, and makes one of them */
    TOK_LEADS_ON, /* what is behind it joins it */
    TOK_PICTURE,
    TOK_CONSONANT,
    TOK_LEAD,
    TOK_VOWEL,
    TOK_TAIL,
    TOK_SYLLABLE,      /* Hangul, a vowel or a tail may follow */
    TOK_FULL_SYLLABLE, /* a tail may */
};
enum tok_cluster_class tok_cluster_class(uint32_t code);
void tok_lower_case(const char *text, size_t length, struct wn_text *out);

/* The 256 code points that ByteLevel writes for bytes, and back (-1 when it stands for none). */
uint32_t tok_byte_code(uint8_t byte);
int tok_code_byte(uint32_t code);

/* ---- patterns ---- */

/* The inside of a class of word characters, as far as the engines of the reference agree on them. */
#define TOK_WORD_CLASS                                                                                                 \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{"    \
    "1f189}"

/* A literal string or a regular expression; read-only once compiled. */
struct tok_pattern {
    char *literal; /* owned; NULL for a regular expression */
    size_t literal_length;
    void *code;    /* pcre2_code */
    void *context; /* pcre2_match_context without limits */
    bool streams;  /* a match never depends on what is before it and is never empty, or is one code point */
};

struct tok_span {
    size_t start, end;
    bool match;
};

struct tok_spans {
    struct tok_span *items; /* owned */
    int64_t count, capacity;
};

/* `where` ("path: key") starts the message of a failure. */
wn_status tok_pattern_literal(const char *where, const char *text, struct tok_pattern *pattern);
wn_status tok_pattern_regex(const char *where, const char *regex, struct tok_pattern *pattern);
void tok_pattern_release(struct tok_pattern *pattern);
/* Cuts text into matches and the gaps between them, in order; empty gaps are left out. Replaces what spans held. */
wn_status tok_pattern_find(const struct tok_pattern *pattern, const char *text, size_t length, struct tok_spans *spans);
void tok_spans_release(struct tok_spans *spans);

/*
 * Where a long text is cut, tokens of both parts must be those of the whole. The last piece of a part is open: behind
 * it comes `context`, and then nobody knows what.
 */
enum tok_cut {
    TOK_CUT_OPEN,   /* inside a gap, which goes on to `next` at least */
    TOK_CUT_START,  /* a match begins there */
    TOK_CUT_END,    /* a match ends there */
    TOK_CUT_UNKNOWN /* a match goes over it, or depends on what comes behind the context */
};
/* The spans of text[0..cut) as they are in every text that begins with text[0..length). */
enum tok_cut tok_pattern_find_open(const struct tok_pattern *pattern, const char *text, size_t length, size_t cut,
                                   struct tok_spans *spans, size_t *next);

struct tok_open {
    bool open;              /* the last piece may go on behind the cut */
    bool unknown;           /* the text must not be cut here */
    struct wn_text context; /* what comes behind the last piece when it is open */
};

/* ---- pieces ---- */

struct tok_piece {
    size_t start, length; /* in the text of the list */
    int32_t id;           /* of an added token; -1 for text that is still to be encoded */
    bool first;           /* it starts where the input starts */
};

struct tok_pieces {
    struct wn_text text;
    struct tok_piece *items; /* owned */
    int64_t count, capacity;
};

/* Appends bytes to the text and a piece for them; an empty piece without an id is left out. */
void tok_pieces_add(struct tok_pieces *pieces, const char *bytes, size_t length, int32_t id, bool first);
void tok_pieces_clear(struct tok_pieces *pieces);
void tok_pieces_release(struct tok_pieces *pieces);

/* ---- stages of encoding ---- */

enum tok_normalizer_kind {
    TOK_PREPEND,
    TOK_REPLACE,
    TOK_NFC,
    TOK_NFD,
    TOK_NFKC,
    TOK_NFKD,
    TOK_LOWERCASE,
    TOK_STRIP,
    TOK_STRIP_ACCENTS,
    TOK_BYTES,
    TOK_NMT,
    TOK_BERT,
    TOK_PRECOMPILED
};

/* SentencePiece's compiled rules: a double array over UTF-8 bytes, whose leaves say where in `texts` a rewriting is. */
struct tok_charsmap {
    uint32_t *units; /* owned */
    int64_t unit_count;
    char *texts; /* valid UTF-8; each rewriting ends at a NUL or at the end; owned */
    size_t length;
};

/* `where` ("path: key") starts the message of a failure. */
wn_status tok_charsmap_read(const char *where, const uint8_t *bytes, size_t length, struct tok_charsmap *map);
void tok_charsmap_apply(const struct tok_charsmap *map, const char *text, size_t length, struct wn_text *out);
void tok_charsmap_release(struct tok_charsmap *map);

struct tok_normalizer {
    enum tok_normalizer_kind kind;
    char *text; /* owned; Prepend, and what Replace writes */
    struct tok_pattern pattern;
    bool strip_left, strip_right;
    bool clean_text, handle_chinese, strip_accents, lowercase; /* BertNormalizer */
    struct tok_charsmap charsmap;
};

enum tok_splitter_kind { TOK_BYTE_LEVEL, TOK_SPLIT, TOK_METASPACE };
enum tok_behavior { TOK_ISOLATED, TOK_REMOVED, TOK_MERGED_WITH_PREVIOUS, TOK_MERGED_WITH_NEXT, TOK_CONTIGUOUS };
enum tok_prepend { TOK_PREPEND_ALWAYS, TOK_PREPEND_FIRST, TOK_PREPEND_NEVER };

struct tok_splitter {
    enum tok_splitter_kind kind;
    struct tok_pattern pattern; /* the GPT-2 pattern for ByteLevel, the replacement character for Metaspace */
    enum tok_behavior behavior;
    bool invert;
    bool split;            /* whether the pattern is used at all */
    bool add_prefix_space; /* ByteLevel */
    enum tok_prepend prepend;
    char replacement[5]; /* Metaspace */
};

struct tok_added {
    char *content; /* owned */
    char *normal;  /* what the normalizers make of the content of a `normalized` token, else NULL; owned */
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    bool text_named, object_named; /* how the configuration has named it so far (config.c) */
};

/* A trie node; node 0 is the root. `token` is an index of the added tokens, -1 where none ends. */
struct tok_node {
    int32_t child, sibling, token;
    uint8_t byte;
};

struct tok_trie {
    struct tok_node *nodes; /* owned */
    int64_t count, capacity;
    int32_t root[256]; /* the child of the root by byte, 0 for none */
};

void tok_trie_add(struct tok_trie *trie, const char *content, size_t length, int32_t token);
void tok_trie_release(struct tok_trie *trie);

/* ---- the vocabulary ---- */

/* Strings and their ids: open addressing, at most half full. */
struct tok_vocabulary {
    char *bytes; /* owned; all strings, each ended by NUL */
    struct tok_entry *entries;
    int64_t count, byte_count, byte_capacity, entry_capacity;
    int32_t *slots; /* index of an entry, -1 for empty */
    int64_t slot_count;
};

struct tok_entry {
    int64_t offset;
    int32_t length, id;
};

/* A string that is there already takes the new id; returns the index of its entry. */
int32_t tok_vocabulary_add(struct tok_vocabulary *vocabulary, const char *text, int32_t id);
/* -1 when it is not there. */
int32_t tok_vocabulary_find(const struct tok_vocabulary *vocabulary, const char *text, size_t length);
/* Whether any string of it contains the text. */
bool tok_vocabulary_holds(const struct tok_vocabulary *vocabulary, const char *text, size_t length);
void tok_vocabulary_release(struct tok_vocabulary *vocabulary);

/* ---- models ---- */

enum tok_model_kind { TOK_BPE, TOK_UNIGRAM, TOK_WORD_PIECE, TOK_WORD_LEVEL };

struct tok_merge {
    uint64_t pair; /* left << 32 | right */
    uint32_t rank;
    int32_t result; /* -1 marks an empty slot */
};

enum { TOK_DIRECT = 0x3000 };

struct tok_bpe {
    struct tok_merge *merges; /* owned; pairs of ids, open addressing */
    int64_t merge_slots;
    int32_t direct[TOK_DIRECT]; /* ids of the first code points, -1 when they are no token */
    bool fuse_unknown, ignore_merges;
};

/* An edge of the tree of all tokens, by the node it leaves and its byte. */
struct tok_edge {
    uint32_t key;  /* node << 8 | byte */
    int32_t child; /* 0 marks an empty slot: nothing leads to the root */
};

/* Tokens with scores: of all ways to cut a text into them, the one of the highest sum is taken. */
struct tok_unigram {
    double *scores;   /* of every id; owned */
    int32_t *entries; /* of the vocabulary, by id: several ids can share a string; owned */
    int64_t count, capacity;
    double unknown_score;
    struct tok_edge *edges; /* open addressing, at most half full; owned */
    int64_t edge_slots;
    int32_t *tokens; /* the id of the token that ends at a node, -1 where none does; owned */
    int64_t node_count, node_capacity;
};

/* The longest token that a word begins with, then what follows behind `prefix`. */
struct tok_word_piece {
    char *prefix;            /* owned */
    int64_t most_characters; /* a longer word is unknown */
    size_t longest;          /* bytes of a token */
};

struct tok_model {
    enum tok_model_kind kind;
    struct tok_vocabulary vocabulary;
    int32_t unknown; /* id; -1 when there is none */
    bool byte_fallback;
    int32_t bytes[256]; /* ids of <0x00>.., -1 without byte_fallback */
    struct tok_bpe bpe;
    struct tok_unigram unigram;
    struct tok_word_piece word_piece;
};

/* Fills what follows from the vocabulary; it is complete and `unknown` is not read. */
wn_status tok_model_finish(struct tok_model *model);
/* How many tokens it has, those of equal strings counted apart. */
int64_t tok_model_count(const struct tok_model *model);
/* Whether all bytes of a text have their token. */
bool tok_model_has_bytes(const struct tok_model *model, const char *text, size_t length);
/* Appends the ids of one piece, which is not empty. */
wn_status tok_model_encode(const struct tok_model *model, const char *text, size_t length, struct wn_ids *ids);
void tok_model_release(struct tok_model *model);

/* Makes room for `count` merges; then each is added once. A pair that comes again takes the later rank. */
void tok_bpe_reserve_merges(struct tok_bpe *bpe, int64_t count);
void tok_bpe_add_merge(struct tok_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t result);
void tok_bpe_finish(struct tok_model *model);
wn_status tok_bpe_encode(const struct tok_model *model, const char *text, size_t length, struct wn_ids *ids);
void tok_bpe_release(struct tok_bpe *bpe);

/* Adds a token, whose id is the number of those before it. */
void tok_unigram_add(struct tok_model *model, const char *text, double score);
wn_status tok_unigram_finish(struct tok_model *model);
wn_status tok_unigram_encode(const struct tok_model *model, const char *text, size_t length, struct wn_ids *ids);
void tok_unigram_release(struct tok_unigram *unigram);

/* ---- decoding ---- */

enum tok_decoder_kind {
    TOK_DECODE_REPLACE,
    TOK_DECODE_BYTE_FALLBACK,
    TOK_DECODE_FUSE,
    TOK_DECODE_STRIP,
    TOK_DECODE_BYTE_LEVEL,
    TOK_DECODE_METASPACE,
    TOK_DECODE_WORD_PIECE,
    TOK_DECODE_SUFFIX /* BPEDecoder */
};

struct tok_decoder {
    enum tok_decoder_kind kind;
    struct tok_pattern pattern;
    char *text;       /* owned; what Replace writes, the prefix of WordPiece, the suffix of BPEDecoder */
    uint32_t content; /* Strip: the character; Metaspace: the replacement */
    int64_t start, stop;
    bool keep_leading; /* Metaspace with prepend_scheme never */
    bool clean_up;     /* WordPiece */
};
/* The byte of a token <0xNN>, -1 for any other. */
int tok_byte_of_token(const char *token, size_t length);

/* ---- the tokenizer ---- */

enum { TOK_FRONT_STANDARD = -3 }; /* BOS, else EOS */

struct wn_tokenizer {
    char *path; /* of tokenizer.json, or of the tokenizer.model in its place; owned */
    struct tok_added *added;
    int64_t added_count;
    struct tok_trie raw, normalized;
    struct tok_pattern word; /* one word character */
    struct tok_normalizer *normalizers;
    int64_t normalizer_count;
    struct tok_splitter *splitters;
    int64_t splitter_count;
    struct tok_model model;
    struct wn_ids prefix, suffix; /* what the post-processor puts around the ids */
    struct tok_decoder *decoders;
    int64_t decoder_count;
    bool has_decoder;
    char **texts;         /* the string of every id, borrowed from the vocabulary or the added tokens; NULL for holes */
    const char **outputs; /* what decoding starts from: `texts`, but for normalized added tokens their normal form */
    bool *special;        /* of every id */
    int64_t size;         /* largest id + 1 */
    int32_t bos, eos, front;
    bool split_special; /* special tokens in a text are text */
    bool clean_up;      /* spaces before punctuation are taken out of decoded texts */
};

/* Reads tokenizer.json or a tokenizer.model and what lies beside it, the class left out with `as_file`; on failure the
 * caller still closes the tokenizer. */
wn_status tok_load(const char *directory, bool as_file, struct wn_tokenizer *tokenizer);

/* `continues`: the text goes on from one that was cut, so nothing is put in front. */
wn_status tok_normalize(const struct wn_tokenizer *tokenizer, const char *text, size_t length, bool continues,
                        struct wn_text *out);
/* Fills the trie of the normalized added tokens, which needs the normalizers. */
wn_status tok_index_added(struct wn_tokenizer *tokenizer);
/* Both passes of the added tokens, with the normalizers between them. `first`: the text is not the rest of another. */
wn_status tok_extract_added(const struct wn_tokenizer *tokenizer, const char *text, size_t length, bool first,
                            struct tok_pieces *out);
/* True when an added token might reach over text + at, or lies in the `behind` bytes that follow. */
bool tok_added_near(const struct tok_trie *trie, const char *text, size_t length, size_t at, size_t behind);
/* All pre-tokenizers; `pieces` is replaced by its result. open NULL: nothing comes behind the last piece. */
wn_status tok_split(const struct wn_tokenizer *tokenizer, struct tok_pieces *pieces, struct tok_open *open);
/* Appends the ids of a text, made of about `part` bytes at a time where that gives the ids of the whole
 * (long.c); *cuts: how often it was cut. */
wn_status tok_encode(const struct wn_tokenizer *tokenizer, const char *text, size_t length, size_t part, int64_t *cuts,
                     struct wn_ids *ids);

#endif
