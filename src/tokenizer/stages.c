/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-tokenizers: each takes a list of pieces and appends what it makes of it to another.
 */
#include "tokenizer_impl.h"

void tok_pieces_add(struct tok_pieces *pieces, const char *bytes, size_t length, int32_t id, bool first)
{
    if (length == 0 && id < 0)
        return;
    if (pieces->count == pieces->capacity) {
        pieces->capacity = pieces->capacity ? 2 * pieces->capacity : 64;
        pieces->items = wn_resize(pieces->items, pieces->capacity, sizeof(struct tok_piece));
    }
    pieces->items[pieces->count++] =
        (struct tok_piece){.start = pieces->text.length, .length = length, .id = id, .first = first};
    wn_text_append(&pieces->text, bytes, length);
}

void tok_pieces_clear(struct tok_pieces *pieces)
{
    pieces->text.length = 0;
    pieces->count = 0;
}

void tok_pieces_release(struct tok_pieces *pieces)
{
    wn_text_release(&pieces->text);
    wn_free(pieces->items);
    memset(pieces, 0, sizeof(*pieces));
}

/*
 * Joins matches and gaps as SplitDelimiterBehavior of the reference does; the result replaces the spans. A span whose
 * `match` is left true is dropped.
 */
static void apply_behavior(enum tok_behavior behavior, struct tok_spans *spans)
{
    int64_t kept = 0;
    bool previous = false;

    if (behavior == TOK_REMOVED)
        return;
    for (int64_t i = 0; i < spans->count; i++) {
        struct tok_span span = spans->items[i];
        bool joins = (behavior == TOK_CONTIGUOUS && span.match == previous) ||
                     (behavior == TOK_MERGED_WITH_PREVIOUS && span.match && !previous);
        previous = span.match;
        if (joins && kept > 0)
            spans->items[kept - 1].end = span.end;
        else
            spans->items[kept++] = (struct tok_span){span.start, span.end, false};
    }
    spans->count = kept;
}

/* The same from the right: a match joins the gap behind it. */
static void merge_with_next(struct tok_spans *spans)
{
    int64_t kept = spans->count;
    bool previous = false;

    for (int64_t i = spans->count - 1; i >= 0; i--) {
        struct tok_span span = spans->items[i];
        bool joins = span.match && !previous && kept < spans->count;
        previous = span.match;
        if (joins)
            spans->items[kept].start = span.start;
        else
            spans->items[--kept] = (struct tok_span){span.start, span.end, false};
    }
    memmove(spans->items, spans->items + kept, (size_t)(spans->count - kept) * sizeof(struct tok_span));
    spans->count -= kept;
}

/* The spans of a text whose last piece is open. A piece that ends at the cut is closed; one that another might join is
 * not known. */
static void find_open_spans(const struct tok_splitter *step, const char *text, size_t length, struct tok_open *open,
                            struct tok_spans *spans)
{
    struct wn_text whole = {0};
    size_t next = length;

    wn_text_append(&whole, text, length);
    wn_text_append(&whole, open->context.data ? open->context.data : "", open->context.length);
    enum tok_cut cut = tok_pattern_find_open(&step->pattern, whole.data, whole.length, length, spans, &next);
    bool closed = step->behavior == TOK_ISOLATED || step->behavior == TOK_REMOVED ||
                  (step->behavior == TOK_MERGED_WITH_NEXT && cut == TOK_CUT_START && !step->invert);
    if (cut == TOK_CUT_OPEN) {
        open->open = step->behavior != TOK_REMOVED || !step->invert; /* else the gap is dropped */
        open->context.length = 0;
        wn_text_append(&open->context, whole.data + length, next - length);
    } else {
        open->open = false;
        open->unknown = cut == TOK_CUT_UNKNOWN || !closed;
    }
    wn_text_release(&whole);
}

/* Cuts one text by the pattern of the step and adds its parts. */
static wn_status add_parts(const struct tok_splitter *step, const char *text, size_t length, bool first,
                           struct tok_open *open, struct tok_spans *spans, struct tok_pieces *out)
{
    if (!step->split) {
        tok_pieces_add(out, text, length, -1, first);
        return WN_OK;
    }
    if (open)
        find_open_spans(step, text, length, open, spans);
    else
        WN_TRY(tok_pattern_find(&step->pattern, text, length, spans));
    for (int64_t i = 0; i < spans->count; i++)
        spans->items[i].match ^= step->invert;
    if (step->behavior == TOK_MERGED_WITH_NEXT)
        merge_with_next(spans);
    else
        apply_behavior(step->behavior, spans);
    for (int64_t i = 0; i < spans->count; i++) {
        const struct tok_span *span = &spans->items[i];
        if (!span->match)
            tok_pieces_add(out, text + span->start, span->end - span->start, -1, first && span->start == 0);
    }
    return WN_OK;
}

/* Replaces the bytes of the pieces from `from` on by the code points that stand for them. */
static void map_bytes(struct tok_pieces *pieces, int64_t from)
{
    struct wn_text mapped = {0};

    if (from == pieces->count)
        return;
    size_t base = pieces->items[from].start;
    for (int64_t i = from; i < pieces->count; i++) {
        struct tok_piece *piece = &pieces->items[i];
        size_t start = mapped.length;
        for (size_t at = 0; at < piece->length; at++)
            tok_append_code(&mapped, tok_byte_code((uint8_t)pieces->text.data[piece->start + at]));
        piece->start = base + start;
        piece->length = mapped.length - start;
    }
    pieces->text.length = base;
    wn_text_append(&pieces->text, mapped.data, mapped.length);
    wn_text_release(&mapped);
}

static void map_context(struct tok_open *open)
{
    struct wn_text mapped = {0};

    for (size_t at = 0; at < open->context.length; at++)
        tok_append_code(&mapped, tok_byte_code((uint8_t)open->context.data[at]));
    wn_text_release(&open->context);
    open->context = mapped;
}

static wn_status split_byte_level(const struct tok_splitter *step, const char *text, size_t length, bool first,
                                  struct tok_open *open, struct tok_spans *spans, struct tok_pieces *out)
{
    struct wn_text prefixed = {0};
    int64_t from = out->count;

    if (step->add_prefix_space && text[0] != ' ') {
        wn_text_append(&prefixed, " ", 1);
        wn_text_append(&prefixed, text, length);
        text = prefixed.data;
        length = prefixed.length;
    }
    wn_status status = add_parts(step, text, length, first, open, spans, out);
    wn_text_release(&prefixed);
    if (status == WN_OK)
        map_bytes(out, from);
    if (open)
        map_context(open);
    return status;
}

static void append_spaced(const char *replacement, const char *text, size_t length, struct wn_text *out)
{
    for (size_t at = 0; at < length;) {
        const char *space = memchr(text + at, ' ', length - at);
        size_t end = space ? (size_t)(space - text) : length;
        wn_text_append(out, text + at, end - at);
        if (space)
            wn_text_append(out, replacement, strlen(replacement));
        at = end + 1;
    }
}

static wn_status split_metaspace(const struct tok_splitter *step, const char *text, size_t length, bool first,
                                 struct tok_open *open, struct tok_spans *spans, struct tok_pieces *out)
{
    size_t width = strlen(step->replacement);
    struct wn_text spaced = {0};
    bool has_it = (length >= width && memcmp(text, step->replacement, width) == 0) || text[0] == ' ';

    if (!has_it && (step->prepend == TOK_PREPEND_ALWAYS || (step->prepend == TOK_PREPEND_FIRST && first)))
        wn_text_append(&spaced, step->replacement, width);
    append_spaced(step->replacement, text, length, &spaced);
    if (open) {
        struct wn_text context = open->context;
        open->context = (struct wn_text){0};
        append_spaced(step->replacement, context.data ? context.data : "", context.length, &open->context);
        wn_text_release(&context);
    }
    wn_status status = add_parts(step, spaced.data, spaced.length, first, open, spans, out);
    wn_text_release(&spaced);
    return status;
}

static wn_status split_step(const struct tok_splitter *step, const struct tok_pieces *in, struct tok_open *open,
                            struct tok_pieces *out)
{
    struct tok_spans spans = {0};
    wn_status status = WN_OK;

    for (int64_t i = 0; i < in->count && status == WN_OK; i++) {
        const struct tok_piece *piece = &in->items[i];
        const char *text = in->text.data + piece->start;
        struct tok_open *its = i + 1 == in->count && open && open->open ? open : NULL;
        if (piece->id >= 0)
            tok_pieces_add(out, text, piece->length, piece->id, piece->first);
        else if (step->kind == TOK_BYTE_LEVEL)
            status = split_byte_level(step, text, piece->length, piece->first, its, &spans, out);
        else if (step->kind == TOK_METASPACE)
            status = split_metaspace(step, text, piece->length, piece->first, its, &spans, out);
        else
            status = add_parts(step, text, piece->length, piece->first, its, &spans, out);
    }
    tok_spans_release(&spans);
    return status;
}

wn_status tok_split(const struct wn_tokenizer *tokenizer, struct tok_pieces *pieces, struct tok_open *open)
{
    struct tok_pieces next = {0};
    wn_status status = WN_OK;

    for (int64_t i = 0; i < tokenizer->splitter_count && status == WN_OK && !(open && open->unknown); i++) {
        tok_pieces_clear(&next);
        status = split_step(&tokenizer->splitters[i], pieces, open, &next);
        struct tok_pieces swap = *pieces;
        *pieces = next;
        next = swap;
    }
    tok_pieces_release(&next);
    return status;
}
