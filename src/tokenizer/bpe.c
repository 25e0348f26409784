/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPE model: merges as a hash table, and the merge loop.
 *
 * A piece starts as one symbol per code point. The pair of the lowest rank is merged, of equal ones the leftmost, until
 * none is left (Sennrich et al. 2016). Short pieces look for it by scanning; long ones keep the candidates in a binary
 * heap over a doubly linked list of symbols, O(n log n), because a tokenizer without pre-tokenizer makes one piece of a
 * whole corpus.
 */
#include "tokenizer_impl.h"

/* ---- the merges ---- */

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot of a pair, or the empty one where it belongs. */
static struct tok_merge *merge_slot(const struct tok_bpe *bpe, uint64_t pair)
{
    uint64_t hash = pair * 0x9E3779B97F4A7C15u;
    int64_t mask = bpe->merge_slots - 1, slot = (int64_t)(hash >> 32) & mask;

    while (bpe->merges[slot].result >= 0 && bpe->merges[slot].pair != pair)
        slot = (slot + 1) & mask;
    return &bpe->merges[slot];
}

/* NULL when the two do not merge. */
static const struct tok_merge *find_merge(const struct tok_bpe *bpe, int32_t left, int32_t right)
{
    const struct tok_merge *merge = merge_slot(bpe, pair_of(left, right));

    return merge->result >= 0 ? merge : NULL;
}

void tok_bpe_reserve_merges(struct tok_bpe *bpe, int64_t count)
{
    bpe->merge_slots = 16;
    while (bpe->merge_slots < 2 * count)
        bpe->merge_slots *= 2;
    bpe->merges = wn_alloc(bpe->merge_slots, sizeof(struct tok_merge));
    for (int64_t i = 0; i < bpe->merge_slots; i++)
        bpe->merges[i] = (struct tok_merge){.result = -1};
}

void tok_bpe_add_merge(struct tok_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t result)
{
    uint64_t pair = pair_of(left, right);

    *merge_slot(bpe, pair) = (struct tok_merge){pair, rank, result};
}

void tok_bpe_finish(struct tok_model *model)
{
    char text[4];

    for (uint32_t code = 0; code < TOK_DIRECT; code++) {
        int length = tok_put_code(code, text);
        model->bpe.direct[code] = tok_vocabulary_find(&model->vocabulary, text, (size_t)length);
    }
}

void tok_bpe_release(struct tok_bpe *bpe)
{
    wn_free(bpe->merges);
    memset(bpe, 0, sizeof(*bpe));
}

/* ---- the merge loop ---- */

/* Ids of the start symbols. An unknown one waits until a known one follows, so that neighbours can be fused. */
struct start {
    int32_t *ids;
    int64_t count;
    bool unknown_waits;
};

static bool add_bytes(const struct tok_model *model, const char *text, size_t length, struct start *start)
{
    if (!tok_model_has_bytes(model, text, length))
        return false;
    for (size_t i = 0; i < length; i++)
        start->ids[start->count++] = model->bytes[(uint8_t)text[i]];
    return true;
}

static void add_unknown(const struct tok_model *model, struct start *start)
{
    if (model->unknown < 0)
        return;
    if (start->unknown_waits && !model->bpe.fuse_unknown)
        start->ids[start->count++] = model->unknown;
    start->unknown_waits = true;
}

/*
 * Writes the start symbols of a piece, at most one per byte, and returns how many. Byte fallback does not end a run of
 * unknown symbols: the reference, too, puts the waiting one behind the bytes.
 */
static int64_t start_symbols(const struct tok_model *model, const char *text, size_t length, int32_t *ids)
{
    const struct tok_bpe *bpe = &model->bpe;
    struct start start = {.ids = ids};

    for (size_t at = 0; at < length;) {
        size_t from = at;
        uint32_t code = tok_next_code(text, &at);
        int32_t id =
            code < TOK_DIRECT ? bpe->direct[code] : tok_vocabulary_find(&model->vocabulary, text + from, at - from);
        if (id < 0) {
            if (!add_bytes(model, text + from, at - from, &start))
                add_unknown(model, &start);
            continue;
        }
        if (start.unknown_waits)
            ids[start.count++] = model->unknown;
        start.unknown_waits = false;
        ids[start.count++] = id;
    }
    if (start.unknown_waits)
        ids[start.count++] = model->unknown;
    return start.count;
}

enum { SHORT_PIECE = 48 };

/* Merges in place by scanning for the lowest rank; returns the new count. */
static int64_t merge_short(const struct tok_bpe *bpe, int32_t *ids, int64_t count)
{
    const struct tok_merge *merges[SHORT_PIECE];

    for (int64_t i = 0; i + 1 < count; i++)
        merges[i] = find_merge(bpe, ids[i], ids[i + 1]);
    for (;;) {
        int64_t best = -1;
        for (int64_t i = 0; i + 1 < count; i++)
            if (merges[i] && (best < 0 || merges[i]->rank < merges[best]->rank))
                best = i;
        if (best < 0)
            return count;
        ids[best] = merges[best]->result;
        count--;
        for (int64_t i = best + 1; i < count; i++) {
            ids[i] = ids[i + 1];
            merges[i] = i + 1 < count ? merges[i + 1] : NULL;
        }
        if (best > 0)
            merges[best - 1] = find_merge(bpe, ids[best - 1], ids[best]);
        merges[best] = best + 1 < count ? find_merge(bpe, ids[best], ids[best + 1]) : NULL;
    }
}

struct symbol {
    int32_t id, previous, next; /* id -1: swallowed; neighbours -1 at the ends */
};

struct candidate {
    uint32_t rank;
    int32_t at, result;
};

struct heap {
    struct candidate *items;
    int64_t count, capacity;
};

static bool comes_before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void sift_down(struct heap *heap, int64_t at)
{
    struct candidate item = heap->items[at];

    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && comes_before(&heap->items[child + 1], &heap->items[child]))
            child++;
        if (!comes_before(&heap->items[child], &item))
            break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = item;
}

static void heap_append(struct heap *heap, struct candidate item)
{
    if (heap->count == heap->capacity) {
        heap->capacity = 2 * heap->capacity;
        heap->items = wn_resize(heap->items, heap->capacity, sizeof(struct candidate));
    }
    heap->items[heap->count++] = item;
}

static void heap_push(struct heap *heap, struct candidate item)
{
    heap_append(heap, item);
    int64_t at = heap->count - 1;
    while (at > 0 && comes_before(&item, &heap->items[(at - 1) / 2])) {
        heap->items[at] = heap->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->items[at] = item;
}

static struct candidate heap_pop(struct heap *heap)
{
    struct candidate top = heap->items[0];

    heap->items[0] = heap->items[--heap->count];
    if (heap->count > 0)
        sift_down(heap, 0);
    return top;
}

static void push_pair(const struct tok_bpe *bpe, const struct symbol *symbols, int32_t at, struct heap *heap)
{
    if (at < 0 || symbols[at].next < 0)
        return;
    const struct tok_merge *merge = find_merge(bpe, symbols[at].id, symbols[symbols[at].next].id);
    if (merge)
        heap_push(heap, (struct candidate){merge->rank, at, merge->result});
}

static void fill_heap(const struct tok_bpe *bpe, const struct symbol *symbols, int64_t count, struct heap *heap)
{
    for (int64_t i = 0; i + 1 < count; i++) {
        const struct tok_merge *merge = find_merge(bpe, symbols[i].id, symbols[i + 1].id);
        if (merge)
            heap_append(heap, (struct candidate){merge->rank, (int32_t)i, merge->result});
    }
    for (int64_t i = heap->count / 2 - 1; i >= 0; i--)
        sift_down(heap, i);
}

/* A candidate is stale when its left symbol was swallowed or the pair that stands there now becomes something else. */
static bool is_stale(const struct tok_bpe *bpe, const struct symbol *symbols, struct candidate candidate)
{
    const struct symbol *left = &symbols[candidate.at];

    if (left->id < 0 || left->next < 0)
        return true;
    const struct tok_merge *merge = find_merge(bpe, left->id, symbols[left->next].id);
    return !merge || merge->result != candidate.result;
}

static int64_t merge_long(const struct tok_bpe *bpe, int32_t *ids, int64_t count)
{
    struct symbol *symbols = wn_alloc(count, sizeof(struct symbol));
    struct heap heap = {.capacity = count};
    int64_t kept = 0;

    heap.items = wn_alloc(heap.capacity, sizeof(struct candidate));
    for (int64_t i = 0; i < count; i++)
        symbols[i] = (struct symbol){ids[i], (int32_t)i - 1, i + 1 < count ? (int32_t)i + 1 : -1};
    fill_heap(bpe, symbols, count, &heap);
    while (heap.count > 0) {
        struct candidate top = heap_pop(&heap);
        if (is_stale(bpe, symbols, top))
            continue;
        struct symbol *left = &symbols[top.at], *right = &symbols[left->next];
        left->id = top.result;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0)
            symbols[left->next].previous = top.at;
        push_pair(bpe, symbols, left->previous, &heap);
        push_pair(bpe, symbols, top.at, &heap);
    }
    for (int64_t i = 0; i < count; i++)
        if (symbols[i].id >= 0)
            ids[kept++] = symbols[i].id;
    wn_free(symbols);
    wn_free(heap.items);
    return kept;
}

static void append_ids(struct wn_ids *ids, const int32_t *data, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        wn_ids_append(ids, data[i]);
}

wn_status tok_bpe_encode(const struct tok_model *model, const char *text, size_t length, struct wn_ids *ids)
{
    const struct tok_bpe *bpe = &model->bpe;

    if (bpe->ignore_merges) {
        int32_t whole = tok_vocabulary_find(&model->vocabulary, text, length);
        if (whole >= 0) {
            wn_ids_append(ids, whole);
            return WN_OK;
        }
    }
    if (length <= SHORT_PIECE) {
        int32_t symbols[SHORT_PIECE];
        append_ids(ids, symbols, merge_short(bpe, symbols, start_symbols(model, text, length, symbols)));
        return WN_OK;
    }
    if (length >= INT32_MAX)
        return wn_fail(WN_ERR_INPUT,
                       "a text of %zu bytes is too long for one piece of the tokenizer: expected less than 2 GiB",
                       length);
    int32_t *symbols = wn_alloc((int64_t)length, sizeof(int32_t));
    append_ids(ids, symbols, merge_long(bpe, symbols, start_symbols(model, text, length, symbols)));
    wn_free(symbols);
    return WN_OK;
}
