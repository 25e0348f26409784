/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Unigram model (Kudo 2018): of all ways to cut a piece into tokens the one whose scores have the highest sum, by
 * dynamic programming over a tree of all tokens. A character that is no token is unknown at a score below all others;
 * neighbours that are unknown become one.
 *
 * Sums run from the start of the piece in double precision, and of equal ones the first found stays, as in the package
 * `tokenizers`: a different order of additions could decide between tokens of equal worth. Where no token reaches over
 * a place, all paths meet there: what is before it is given out, so that a piece of any length needs little memory.
 */
#include "tokenizer_impl.h"

enum { UNKNOWN_PENALTY = 10, MOST_NODES = 1 << 24 };

/* ---- the tree ---- */

static int64_t edge_slot(const struct tok_unigram *unigram, uint32_t key)
{
    int64_t mask = unigram->edge_slots - 1, slot = (int64_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 32) & mask;

    while (unigram->edges[slot].child && unigram->edges[slot].key != key)
        slot = (slot + 1) & mask;
    return slot;
}

/* The node behind a byte, 0 when there is none. */
static int32_t child_of(const struct tok_unigram *unigram, int32_t node, uint8_t byte)
{
    return unigram->edges[edge_slot(unigram, (uint32_t)node << 8 | byte)].child;
}

static void grow_edges(struct tok_unigram *unigram)
{
    struct tok_edge *old = unigram->edges;
    int64_t count = unigram->edge_slots;

    unigram->edge_slots = count ? 2 * count : 1024;
    unigram->edges = wn_alloc_zero(unigram->edge_slots, sizeof(struct tok_edge));
    for (int64_t i = 0; i < count; i++)
        if (old[i].child)
            unigram->edges[edge_slot(unigram, old[i].key)] = old[i];
    wn_free(old);
}

static int32_t add_node(struct tok_unigram *unigram)
{
    if (unigram->node_count == unigram->node_capacity) {
        unigram->node_capacity = unigram->node_capacity ? 2 * unigram->node_capacity : 1024;
        unigram->tokens = wn_resize(unigram->tokens, unigram->node_capacity, sizeof(int32_t));
    }
    unigram->tokens[unigram->node_count] = -1;
    return (int32_t)unigram->node_count++;
}

static wn_status add_path(struct tok_unigram *unigram, const char *text, int32_t length, int32_t id)
{
    int32_t node = 0;

    for (int32_t i = 0; i < length; i++) {
        uint32_t key = (uint32_t)node << 8 | (uint8_t)text[i];
        if (2 * unigram->node_count > unigram->edge_slots) /* an edge to each but the root */
            grow_edges(unigram);
        int64_t slot = edge_slot(unigram, key);
        if (!unigram->edges[slot].child) {
            if (unigram->node_count == MOST_NODES)
                return wn_fail(WN_ERR_UNSUPPORTED,
                               "the tokens of the vocabulary are too long: expected a tree of at "
                               "most %d nodes",
                               MOST_NODES);
            unigram->edges[slot] = (struct tok_edge){key, add_node(unigram)};
        }
        node = unigram->edges[slot].child;
    }
    if (node)
        unigram->tokens[node] = id;
    return WN_OK;
}

void tok_unigram_add(struct tok_model *model, const char *text, double score)
{
    struct tok_unigram *unigram = &model->unigram;

    if (unigram->count == unigram->capacity) {
        unigram->capacity = unigram->capacity ? 2 * unigram->capacity : 1024;
        unigram->scores = wn_resize(unigram->scores, unigram->capacity, sizeof(double));
        unigram->entries = wn_resize(unigram->entries, unigram->capacity, sizeof(int32_t));
    }
    unigram->scores[unigram->count] = score;
    unigram->entries[unigram->count] = tok_vocabulary_add(&model->vocabulary, text, (int32_t)unigram->count);
    unigram->count++;
}

wn_status tok_unigram_finish(struct tok_model *model)
{
    struct tok_unigram *unigram = &model->unigram;
    double least = unigram->count ? unigram->scores[0] : 0;

    for (int64_t i = 1; i < unigram->count; i++)
        least = unigram->scores[i] < least ? unigram->scores[i] : least;
    unigram->unknown_score = least - UNKNOWN_PENALTY;
    grow_edges(unigram);
    add_node(unigram);
    for (int64_t i = 0; i < model->vocabulary.count; i++) {
        const struct tok_entry *entry = &model->vocabulary.entries[i];
        WN_TRY(add_path(unigram, model->vocabulary.bytes + entry->offset, entry->length, entry->id));
    }
    return WN_OK;
}

void tok_unigram_release(struct tok_unigram *unigram)
{
    wn_free(unigram->scores);
    wn_free(unigram->entries);
    wn_free(unigram->edges);
    wn_free(unigram->tokens);
    memset(unigram, 0, sizeof *unigram);
}

/* ---- the search ---- */

/* The best way to a place. */
struct place {
    double sum;
    size_t from; /* where its last token begins */
    int32_t id;  /* of that token; -1: no way leads here yet */
};

enum { FEW_PLACES = 64 };

struct search {
    const struct tok_model *model;
    const char *text;
    size_t base, reach;   /* places[0] is text[base], where all ways meet; none leads behind text[reach] */
    struct place *places; /* `few`, or owned */
    size_t capacity;
    struct place few[FEW_PLACES];
    size_t unknown_from, unknown_end; /* unknown characters that were not given out yet */
    struct wn_ids *ids;
};

static struct place *place_at(struct search *search, size_t at)
{
    size_t index = at - search->base;

    if (index >= search->capacity) {
        size_t capacity = 2 * index, used = search->reach - search->base + 1;
        struct place *places = wn_alloc((int64_t)capacity, sizeof *places);
        memcpy(places, search->places, used * sizeof *places);
        if (search->places != search->few)
            wn_free(search->places);
        search->places = places;
        search->capacity = capacity;
    }
    for (; search->reach < at; search->reach++)
        search->places[search->reach + 1 - search->base].id = -1;
    return &search->places[index];
}

static void consider(struct search *search, double sum, size_t from, size_t end, int32_t id)
{
    struct place *place = place_at(search, end);

    if (place->id < 0 || sum > place->sum)
        *place = (struct place){sum, from, id};
}

static void give_unknown(struct search *search)
{
    const struct tok_model *model = search->model;
    const char *text = search->text + search->unknown_from;
    size_t length = search->unknown_end - search->unknown_from;

    if (length == 0)
        return;
    int32_t id = tok_vocabulary_find(&model->vocabulary, text, length);
    if (id < 0 && tok_model_has_bytes(model, text, length))
        for (size_t i = 0; i < length; i++)
            wn_ids_append(search->ids, model->bytes[(uint8_t)text[i]]);
    else
        wn_ids_append(search->ids, id < 0 ? model->unknown : id);
    search->unknown_from = search->unknown_end;
}

static void give(struct search *search, size_t from, size_t end, int32_t id)
{
    if (id != search->model->unknown) {
        give_unknown(search);
        wn_ids_append(search->ids, id);
        search->unknown_from = end;
    } else if (search->unknown_from == search->unknown_end) {
        search->unknown_from = from;
    }
    search->unknown_end = end;
}

/* Gives out the best way from the base to a place where all ways meet, which becomes the base. */
static void settle(struct search *search, size_t to)
{
    struct place *places = search->places;
    size_t base = search->base, next = to, at = to;

    while (at > base) { /* the way back; `from` is turned into where the token ends that begins there */
        size_t from = places[at - base].from;
        places[at - base].from = next;
        next = at;
        at = from;
    }
    for (; at < to; at = next, next = places[at - base].from)
        give(search, at, next, places[next - base].id);
    places[0] = places[to - base];
    search->base = to;
}

static wn_status step(struct search *search, size_t length, size_t *at)
{
    const struct tok_model *model = search->model;
    const struct tok_unigram *unigram = &model->unigram;
    double sum = search->places[*at - search->base].sum;
    size_t from = *at;
    int32_t node = 0;
    bool known = false;

    tok_next_code(search->text, at);
    for (size_t end = from; end < length;) {
        node = child_of(unigram, node, (uint8_t)search->text[end++]);
        if (!node)
            break;
        int32_t id = unigram->tokens[node];
        if (id < 0)
            continue;
        consider(search, unigram->scores[id] + sum, from, end, id);
        known |= end == *at;
    }
    if (known)
        return WN_OK;
    if (model->unknown < 0)
        return wn_fail(WN_ERR_INPUT, "the text to encode has a character that is no token, and unk_id is null");
    consider(search, unigram->unknown_score + sum, from, *at, model->unknown);
    return WN_OK;
}

wn_status tok_unigram_encode(const struct tok_model *model, const char *text, size_t length, struct wn_ids *ids)
{
    struct search search = {.model = model, .text = text, .capacity = FEW_PLACES, .ids = ids};
    wn_status status = WN_OK;

    search.places = search.few;
    search.few[0] = (struct place){0};
    for (size_t at = 0; at < length && status == WN_OK;) {
        if (at == search.reach && at > search.base)
            settle(&search, at);
        status = step(&search, length, &at);
    }
    if (status == WN_OK) {
        settle(&search, length);
        give_unknown(&search);
    }
    if (search.places != search.few)
        wn_free(search.places);
    return status;
}
