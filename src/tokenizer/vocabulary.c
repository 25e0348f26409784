/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strings of a vocabulary and their ids: a hash table with open addressing.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "tokenizer_impl.h"

static uint64_t hash_bytes(const char *text, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u ^ length;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static int64_t vocabulary_slot(const struct tok_vocabulary *vocabulary, const char *text, size_t length)
{
    int64_t mask = vocabulary->slot_count - 1, slot = (int64_t)hash_bytes(text, length) & mask;

    while (vocabulary->slots[slot] >= 0) {
        const struct tok_entry *entry = &vocabulary->entries[vocabulary->slots[slot]];
        if ((size_t)entry->length == length && memcmp(vocabulary->bytes + entry->offset, text, length) == 0)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void grow_slots(struct tok_vocabulary *vocabulary)
{
    vocabulary->slot_count = vocabulary->slot_count ? 2 * vocabulary->slot_count : 1024;
    wn_free(vocabulary->slots);
    vocabulary->slots = wn_alloc(vocabulary->slot_count, sizeof(int32_t));
    memset(vocabulary->slots, 0xFF, (size_t)vocabulary->slot_count * sizeof(int32_t));
    for (int64_t i = 0; i < vocabulary->count; i++) {
        const struct tok_entry *entry = &vocabulary->entries[i];
        vocabulary->slots[vocabulary_slot(vocabulary, vocabulary->bytes + entry->offset, (size_t)entry->length)] =
            (int32_t)i;
    }
}

int32_t tok_vocabulary_add(struct tok_vocabulary *vocabulary, const char *text, int32_t id)
{
    int64_t length = (int64_t)strlen(text);

    if (2 * (vocabulary->count + 1) > vocabulary->slot_count)
        grow_slots(vocabulary);
    int64_t slot = vocabulary_slot(vocabulary, text, (size_t)length);
    if (vocabulary->slots[slot] >= 0) {
        vocabulary->entries[vocabulary->slots[slot]].id = id;
        return vocabulary->slots[slot];
    }
    if (vocabulary->count == vocabulary->entry_capacity) {
        vocabulary->entry_capacity = vocabulary->entry_capacity ? 2 * vocabulary->entry_capacity : 512;
        vocabulary->entries = wn_resize(vocabulary->entries, vocabulary->entry_capacity, sizeof(struct tok_entry));
    }
    while (vocabulary->byte_count + length + 1 > vocabulary->byte_capacity) {
        vocabulary->byte_capacity = vocabulary->byte_capacity ? 2 * vocabulary->byte_capacity : 4096;
        vocabulary->bytes = wn_resize(vocabulary->bytes, vocabulary->byte_capacity, 1);
    }
    memcpy(vocabulary->bytes + vocabulary->byte_count, text, (size_t)length + 1);
    vocabulary->entries[vocabulary->count] = (struct tok_entry){vocabulary->byte_count, (int32_t)length, id};
    vocabulary->byte_count += length + 1;
    vocabulary->slots[slot] = (int32_t)vocabulary->count++;
    return vocabulary->slots[slot];
}

int32_t tok_vocabulary_find(const struct tok_vocabulary *vocabulary, const char *text, size_t length)
{
    if (vocabulary->count == 0)
        return -1;
    int32_t index = vocabulary->slots[vocabulary_slot(vocabulary, text, length)];
    return index < 0 ? -1 : vocabulary->entries[index].id;
}

bool tok_vocabulary_holds(const struct tok_vocabulary *vocabulary, const char *text, size_t length)
{
    return memmem(vocabulary->bytes, (size_t)vocabulary->byte_count, text, length) != NULL;
}

void tok_vocabulary_release(struct tok_vocabulary *vocabulary)
{
    wn_free(vocabulary->bytes);
    wn_free(vocabulary->entries);
    wn_free(vocabulary->slots);
    memset(vocabulary, 0, sizeof(*vocabulary));
}
