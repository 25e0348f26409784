/* SPDX-License-Identifier: Apache-2.0 */
/* ids.c: lists of token ids. */
#include <string.h>

#include <winnow/tokenizer.h>

enum { LARGE = 1 << 20 };

void wn_ids_append(struct wn_ids *ids, int32_t id)
{
    if (ids->count == ids->capacity) {
        ids->capacity = ids->capacity ? 2 * ids->capacity : 64;
        ids->data = wn_resize(ids->data, ids->capacity, sizeof(int32_t));
    }
    ids->data[ids->count++] = id;
}

void wn_ids_append_all(struct wn_ids *ids, const int32_t *more, int64_t count)
{
    int64_t doubled = 2 * ids->capacity;

    if (ids->count + count > ids->capacity) {
        /* many at once, as those of a long text, are likely to be all */
        ids->capacity = count > LARGE || ids->count + count > doubled ? ids->count + count : doubled;
        ids->data = wn_resize(ids->data, ids->capacity, sizeof(int32_t));
    }
    if (count > 0)
        memcpy(ids->data + ids->count, more, (size_t)count * sizeof *more);
    ids->count += count;
}

void wn_ids_release(struct wn_ids *ids)
{
    wn_free(ids->data);
    memset(ids, 0, sizeof(*ids));
}
