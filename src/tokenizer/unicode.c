/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code points, the byte alphabet of byte-level tokenizers, and the Unicode normalization forms
 * (Unicode Standard Annex 15), with the tables of unicode_tables.inc: those of Unicode 9, which the reference goes by;
 * other properties as it has them (reference_tables.inc).
 */
#include "tokenizer_impl.h"

#include <stdlib.h>

struct canonical_pair {
    uint32_t code, first, second; /* second 0: the decomposition is `first` alone */
};

struct class_run {
    uint32_t start, end;
    uint8_t value;
};

struct lower_run {
    uint32_t start, end;
    int32_t stride, difference;
};

/* A full compatibility decomposition: compatible_codes[offset .. offset + length). */
struct compatible {
    uint32_t code;
    uint16_t offset;
    uint8_t length;
};

#include "reference_tables.inc"
#include "unicode_tables.inc"

#define COUNT(table) ((int64_t)(sizeof(table) / sizeof((table)[0])))

uint32_t tok_next_code(const char *text, size_t *at)
{
    const uint8_t *byte = (const uint8_t *)text + *at;

    if (byte[0] < 0x80) {
        *at += 1;
        return byte[0];
    }
    if (byte[0] < 0xE0) {
        *at += 2;
        return (uint32_t)(byte[0] & 0x1F) << 6 | (byte[1] & 0x3F);
    }
    if (byte[0] < 0xF0) {
        *at += 3;
        return (uint32_t)(byte[0] & 0x0F) << 12 | (uint32_t)(byte[1] & 0x3F) << 6 | (byte[2] & 0x3F);
    }
    *at += 4;
    return (uint32_t)(byte[0] & 0x07) << 18 | (uint32_t)(byte[1] & 0x3F) << 12 | (uint32_t)(byte[2] & 0x3F) << 6 |
           (byte[3] & 0x3F);
}

size_t tok_character_at(const char *text, size_t at)
{
    while (at > 0 && ((uint8_t)text[at] & 0xC0) == 0x80)
        at--;
    return at;
}

int tok_put_code(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

void tok_append_code(struct wn_text *text, uint32_t code)
{
    char bytes[4];
    int length = tok_put_code(code, bytes);

    wn_text_append(text, bytes, (size_t)length);
}

bool tok_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
           code == 0x3000;
}

bool tok_single_code(const char *text, size_t length, uint32_t *code)
{
    size_t at = 0;

    if (length == 0)
        return false;
    *code = tok_next_code(text, &at);
    return at == length;
}

/* ---- the byte alphabet ---- */

/* Bytes that are printable in Latin-1 stand for themselves; the other 68 follow from U+0100 on, in increasing order. */
static bool stands_for_itself(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

uint32_t tok_byte_code(uint8_t byte)
{
    if (stands_for_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte <= 0xA0)
        return 0x100u + 0x21 + (byte - 0x7Fu);
    return 0x143;
}

int tok_code_byte(uint32_t code)
{
    if (code < 0x100)
        return stands_for_itself(code) ? (int)code : -1;
    if (code <= 0x120)
        return (int)(code - 0x100);
    if (code <= 0x142)
        return (int)(code - 0x121 + 0x7F);
    return code == 0x143 ? 0xAD : -1;
}

/* ---- normalization ---- */

/* Hangul syllables compose and decompose by arithmetic (Unicode Standard, 3.12). */
enum {
    HANGUL_BASE = 0xAC00,
    HANGUL_LEADS = 19,
    HANGUL_VOWELS = 21,
    HANGUL_TAILS = 28,
    HANGUL_COUNT = HANGUL_LEADS * HANGUL_VOWELS * HANGUL_TAILS,
    LEAD_BASE = 0x1100,
    VOWEL_BASE = 0x1161,
    TAIL_BASE = 0x11A7
};

/* A code point on its way through normalization, with its combining class. */
struct mark {
    uint32_t code;
    uint8_t class;
};

struct marks {
    struct mark *items;
    int64_t count, capacity;
};

static uint8_t run_value(const struct class_run *runs, int64_t count, uint32_t code)
{
    int64_t low = 0, high = count;

    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (code > runs[middle].end)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && code >= runs[low].start ? runs[low].value : 0;
}

/* Rows of both tables are in rising order of their code. */
static int compare_pair(const void *code, const void *row)
{
    uint32_t wanted = *(const uint32_t *)code, found = ((const struct canonical_pair *)row)->code;
    return (wanted > found) - (wanted < found);
}

static int compare_compatible(const void *code, const void *row)
{
    uint32_t wanted = *(const uint32_t *)code, found = ((const struct compatible *)row)->code;
    return (wanted > found) - (wanted < found);
}

static const struct canonical_pair *find_pair(uint32_t code)
{
    return bsearch(&code, canonical_pairs, COUNT(canonical_pairs), sizeof *canonical_pairs, compare_pair);
}

static void add_mark(struct marks *marks, uint32_t code)
{
    if (marks->count == marks->capacity) {
        marks->capacity = marks->capacity ? 2 * marks->capacity : 256;
        marks->items = wn_resize(marks->items, marks->capacity, sizeof(struct mark));
    }
    marks->items[marks->count++] =
        (struct mark){code, code < 0x300 ? 0 : run_value(combining_classes, COUNT(combining_classes), code)};
}

static const struct compatible *find_compatible(uint32_t code)
{
    return bsearch(&code, compatible, COUNT(compatible), sizeof *compatible, compare_compatible);
}

/* Full canonical decomposition; the depth of the recursion is that of Unicode's tables, at most 4. */
static void decompose(struct marks *marks, uint32_t code)
{
    if (code < 0xC0) {
        add_mark(marks, code);
        return;
    }
    if (code >= HANGUL_BASE && code < HANGUL_BASE + HANGUL_COUNT) {
        uint32_t index = code - HANGUL_BASE, tail = index % HANGUL_TAILS;
        add_mark(marks, LEAD_BASE + index / (HANGUL_VOWELS * HANGUL_TAILS));
        add_mark(marks, VOWEL_BASE + index / HANGUL_TAILS % HANGUL_VOWELS);
        if (tail)
            add_mark(marks, TAIL_BASE + tail);
        return;
    }
    const struct canonical_pair *pair = find_pair(code);
    if (!pair) {
        add_mark(marks, code);
        return;
    }
    decompose(marks, pair->first);
    if (pair->second)
        decompose(marks, pair->second);
}

/* Full compatibility decomposition. */
static void decompose_compatibly(struct marks *marks, uint32_t code)
{
    const struct compatible *entry = code < 0xA0 ? NULL : find_compatible(code);

    for (int i = 0; entry && i < entry->length; i++)
        add_mark(marks, compatible_codes[entry->offset + i]);
    if (!entry)
        decompose(marks, code);
}

/* Stable counting sort of a run of marks by combining class, so that a long run costs no more than a short one. */
static void sort_run(struct mark *run, int64_t count)
{
    int64_t starts[257] = {0};
    struct mark *sorted = wn_alloc(count, sizeof(struct mark));

    for (int64_t i = 0; i < count; i++)
        starts[run[i].class + 1]++;
    for (int i = 0; i < 256; i++)
        starts[i + 1] += starts[i];
    for (int64_t i = 0; i < count; i++)
        sorted[starts[run[i].class]++] = run[i];
    memcpy(run, sorted, (size_t)count * sizeof(struct mark));
    wn_free(sorted);
}

static void sort_marks(struct marks *marks)
{
    for (int64_t i = 0; i < marks->count; i++) {
        int64_t start = i;
        bool sorted = true;
        while (i < marks->count && marks->items[i].class != 0) {
            sorted = sorted && (i == start || marks->items[i - 1].class <= marks->items[i].class);
            i++;
        }
        if (!sorted)
            sort_run(marks->items + start, i - start);
    }
}

/* The code point that two compose to, 0 when they do not. */
static uint32_t composed(uint32_t first, uint32_t second)
{
    if (first >= LEAD_BASE && first < LEAD_BASE + HANGUL_LEADS && second >= VOWEL_BASE &&
        second < VOWEL_BASE + HANGUL_VOWELS)
        return HANGUL_BASE + ((first - LEAD_BASE) * HANGUL_VOWELS + second - VOWEL_BASE) * HANGUL_TAILS;
    if (first >= HANGUL_BASE && first < HANGUL_BASE + HANGUL_COUNT && (first - HANGUL_BASE) % HANGUL_TAILS == 0 &&
        second > TAIL_BASE && second < TAIL_BASE + HANGUL_TAILS)
        return first + second - TAIL_BASE;
    uint64_t wanted = (uint64_t)first << 32 | second;
    int64_t low = 0, high = COUNT(composing_pairs);
    while (low < high) {
        int64_t middle = (low + high) / 2;
        const struct canonical_pair *pair = &canonical_pairs[composing_pairs[middle]];
        uint64_t key = (uint64_t)pair->first << 32 | pair->second;
        if (key == wanted)
            return pair->code;
        if (key < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

/*
 * Canonical composition in place: each mark joins the last starter unless a mark of the same or a higher class, or
 * another starter, stands between them.
 */
static void compose_marks(struct marks *marks)
{
    int64_t starter = -1, kept = 0;
    int between = 0; /* the class of the last mark kept behind the starter; -1 for none */

    for (int64_t i = 0; i < marks->count; i++) {
        struct mark mark = marks->items[i];
        if (starter >= 0 && between < (int)mark.class) {
            uint32_t joined = composed(marks->items[starter].code, mark.code);
            if (joined) {
                marks->items[starter].code = joined;
                continue;
            }
        }
        if (mark.class == 0) {
            starter = kept;
            between = -1;
        } else {
            between = mark.class;
        }
        marks->items[kept++] = mark;
    }
    marks->count = kept;
}

/* Whether composing could change the text; below U+0300 it cannot. */
static bool is_unsettled(const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        if ((uint8_t)text[at] < 0xCC) {
            at += (uint8_t)text[at] < 0x80 ? 1 : 2;
            continue;
        }
        uint32_t code = tok_next_code(text, &at);
        if (run_value(composition_unsettled, COUNT(composition_unsettled), code))
            return true;
    }
    return false;
}

/* Where the run of ASCII characters, or of others, ends that begins at text[at]. */
static size_t run_end(const char *text, size_t length, size_t at)
{
    bool ascii = (uint8_t)text[at] < 0x80;

    while (at < length && ((uint8_t)text[at] < 0x80) == ascii)
        at++;
    return at;
}

/* ASCII stays as it is, but for the character before a run of others, which marks may join. */
void tok_normal_form(const char *text, size_t length, bool compose, bool compatibly, struct wn_text *out)
{
    struct marks marks = {0};

    for (size_t at = 0; at < length;) {
        size_t start = at, end = run_end(text, length, at);
        if ((uint8_t)text[at] < 0x80 || (compose && !compatibly && !is_unsettled(text + at, end - at))) {
            wn_text_append(out, text + at, end - at);
            at = end;
            continue;
        }
        marks.count = 0;
        if (compose && at > 0) {
            start--;
            out->length--;
        }
        for (at = start; at < end;) {
            uint32_t code = tok_next_code(text, &at);
            if (compatibly)
                decompose_compatibly(&marks, code);
            else
                decompose(&marks, code);
        }
        sort_marks(&marks);
        if (compose)
            compose_marks(&marks);
        for (int64_t i = 0; i < marks.count; i++)
            tok_append_code(out, marks.items[i].code);
    }
    wn_free(marks.items);
}

static uint32_t lower_of(uint32_t code)
{
    int64_t low = 0, high = COUNT(lower_runs);

    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (code > lower_runs[middle].end)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == COUNT(lower_runs) || code < lower_runs[low].start)
        return code;
    const struct lower_run *run = &lower_runs[low];
    return (code - run->start) % (uint32_t)run->stride == 0 ? code + (uint32_t)run->difference : code;
}

void tok_lower_case(const char *text, size_t length, struct wn_text *out)
{
    for (size_t at = 0; at < length;) {
        uint32_t code = tok_next_code(text, &at);
        if (code == 0x130) /* the only one that becomes two: i and a dot above */
            wn_text_append(out, "i\xCC\x87", 3);
        else
            tok_append_code(out, lower_of(code));
    }
}

/* Without the code points that runs from U+0300 on have. */
static void strip_runs(const struct class_run *runs, int64_t count, const char *text, size_t length,
                       struct wn_text *out)
{
    for (size_t at = 0; at < length;) {
        uint32_t code = tok_next_code(text, &at);
        if (code < 0x300 || !run_value(runs, count, code))
            tok_append_code(out, code);
    }
}

void tok_strip_marks(const char *text, size_t length, struct wn_text *out)
{
    strip_runs(mark_runs, COUNT(mark_runs), text, length, out);
}

void tok_strip_nonspacing(const char *text, size_t length, struct wn_text *out)
{
    strip_runs(nonspacing_runs, COUNT(nonspacing_runs), text, length, out);
}

bool tok_is_dropped(uint32_t code)
{
    if (code >= 0x20 && code < 0x7F)
        return false;
    return code == 0 || run_value(dropped_runs, COUNT(dropped_runs), code);
}

/* ---- clusters ---- */

enum tok_cluster_class tok_cluster_class(uint32_t code)
{
    if (code >= HANGUL_BASE && code < HANGUL_BASE + HANGUL_COUNT)
        return (code - HANGUL_BASE) % HANGUL_TAILS ? TOK_FULL_SYLLABLE : TOK_SYLLABLE;
    if ((code >= LEAD_BASE && code <= 0x115F) || (code >= 0xA960 && code <= 0xA97C))
        return TOK_LEAD;
    if ((code >= 0x1160 && code <= TAIL_BASE) || (code >= 0xD7B0 && code <= 0xD7C6))
        return TOK_VOWEL;
    if ((code > TAIL_BASE && code <= 0x11FF) || (code >= 0xD7CB && code <= 0xD7FB))
        return TOK_TAIL;
    return code ? (enum tok_cluster_class)run_value(cluster_classes, COUNT(cluster_classes), code) : TOK_CONTROL;
}
