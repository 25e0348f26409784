/* SPDX-License-Identifier: Apache-2.0 */
/* A set of texts: a hash table with open addressing, at most half full. */
#include <winnow/base.h>

#include <string.h>

/* FNV-1a, 64 bits. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash;
}

/* The slot of a text, or the free one where it belongs. */
static int64_t *find_slot(const struct wn_texts *texts, const char *text)
{
    int64_t last = texts->n_slots - 1, i = (int64_t)(hash_of(text) & (uint64_t)last);

    while (texts->slots[i] && strcmp(texts->texts[texts->slots[i] - 1], text) != 0)
        i = (i + 1) & last;
    return &texts->slots[i];
}

/* A power of two of slots, twice as many when half of them are taken; there is a text for every second slot. */
static void make_room(struct wn_texts *texts)
{
    if (2 * texts->count < texts->n_slots)
        return;
    texts->n_slots = texts->n_slots ? 2 * texts->n_slots : 64;
    texts->texts = wn_resize(texts->texts, texts->n_slots / 2, sizeof *texts->texts);
    wn_free(texts->slots);
    texts->slots = wn_alloc_zero(texts->n_slots, sizeof *texts->slots);
    for (int64_t i = 0; i < texts->count; i++)
        *find_slot(texts, texts->texts[i]) = i + 1;
}

int64_t wn_texts_add(struct wn_texts *texts, const char *text)
{
    make_room(texts);
    int64_t *slot = find_slot(texts, text);

    if (!*slot) {
        texts->texts[texts->count++] = wn_strdup(text);
        *slot = texts->count;
    }
    return *slot - 1;
}

void wn_texts_release(struct wn_texts *texts)
{
    for (int64_t i = 0; i < texts->count; i++)
        wn_free(texts->texts[i]);
    wn_free(texts->texts);
    wn_free(texts->slots);
    *texts = (struct wn_texts){0};
}
