/* SPDX-License-Identifier: Apache-2.0 */
/* encodings.c: records what wn_encode returns, and answers in its place. */
#include <string.h>

#include <winnow/encodings.h>

static struct wn_encodings *recording, *replaying;

void wn_encodings_record(struct wn_encodings *encodings)
{
    recording = encodings;
}

void wn_encodings_replay(struct wn_encodings *encodings)
{
    encodings->next = 0;
    replaying = encodings;
}

void wn_encodings_stop(void)
{
    recording = replaying = NULL;
}

void wn_encodings_reserve(struct wn_encodings *encodings, int64_t count, int64_t ids)
{
    encodings->ends = wn_resize(encodings->ends, count, sizeof(int64_t));
    encodings->ids.data = wn_resize(encodings->ids.data, ids, sizeof(int32_t));
    encodings->count = encodings->capacity = count;
    encodings->ids.count = encodings->ids.capacity = ids;
}

void wn_encodings_release(struct wn_encodings *encodings)
{
    wn_free(encodings->ends);
    wn_ids_release(&encodings->ids);
    *encodings = (struct wn_encodings){0};
}

bool wn_encodings_answer(struct wn_ids *ids)
{
    if (!replaying)
        return false;
    if (replaying->next == replaying->count)
        WN_BUG("a replayed set encodes more texts than the recorded one");
    int64_t call = replaying->next++, first = call ? replaying->ends[call - 1] : 0;
    wn_ids_append_all(ids, replaying->ids.data + first, replaying->ends[call] - first);
    return true;
}

void wn_encodings_note(const struct wn_ids *ids, int64_t first)
{
    if (!recording)
        return;
    wn_ids_append_all(&recording->ids, ids->data + first, ids->count - first);
    if (recording->count == recording->capacity) {
        recording->capacity = recording->capacity ? 2 * recording->capacity : 64;
        recording->ends = wn_resize(recording->ends, recording->capacity, sizeof(int64_t));
    }
    recording->ends[recording->count++] = recording->ids.count;
}
