/* SPDX-License-Identifier: Apache-2.0 */
/* Token sequences of a data set and their cut into canonical chunks. */
#include <winnow/model.h>

#include <string.h>

void wn_sequences_init(struct wn_sequences *sequences)
{
    *sequences = (struct wn_sequences){0};
    sequences->offset = wn_alloc_zero(1, sizeof *sequences->offset);
}

void wn_sequences_release(struct wn_sequences *sequences)
{
    wn_free(sequences->offset);
    wn_free(sequences->ids);
    wn_free(sequences->chunk);
    wn_free(sequences->parent);
    wn_free(sequences->start);
    wn_free(sequences->slot);
    wn_free(sequences->part);
    *sequences = (struct wn_sequences){0};
}

/* Grows in powers of two, whose places the counts alone tell: nothing more has to be kept. */
static void *grown(void *data, int64_t used, int64_t more, size_t size)
{
    int64_t capacity = 16, needed = used + more;
    while (capacity < used)
        capacity *= 2;
    if (data && needed <= capacity)
        return data;
    while (capacity < needed)
        capacity *= 2;
    return wn_resize(data, capacity, size);
}

void wn_sequences_append(struct wn_sequences *sequences, const int32_t *ids, int64_t count)
{
    int64_t n = sequences->n_sequences, tokens = sequences->offset[n];
    sequences->offset = n == 0 ? wn_resize(sequences->offset, 16, sizeof *sequences->offset)
                               : grown(sequences->offset, n + 1, 1, sizeof *sequences->offset);
    sequences->ids = grown(sequences->ids, tokens, count, sizeof *sequences->ids);
    if (count > 0)
        memcpy(sequences->ids + tokens, ids, (size_t)count * sizeof *ids);
    sequences->offset[n + 1] = tokens + count;
    sequences->n_sequences = n + 1;
}

void wn_sequences_cut(struct wn_sequences *sequences)
{
    const int64_t *offset = sequences->offset;
    wn_free(sequences->chunk);
    sequences->chunk = wn_alloc(sequences->n_sequences + 1, sizeof *sequences->chunk);
    sequences->n_chunks = 0;
    sequences->chunk[0] = 0;
    for (int64_t first = 0, end; first < sequences->n_sequences; first = end) {
        end = first + 1;
        while (end < sequences->n_sequences && offset[end + 1] - offset[first] <= WN_CHUNK_TOKENS)
            end++;
        sequences->chunk[++sequences->n_chunks] = end;
    }
}

int64_t wn_sequences_parts(const struct wn_sequences *sequences)
{
    return sequences->parent ? sequences->n_parts : sequences->n_chunks;
}

int64_t wn_sequences_part(const struct wn_sequences *sequences, int64_t index)
{
    return sequences->parent ? sequences->part[index] : index;
}

int64_t wn_sequences_tokens(const struct wn_sequences *sequences)
{
    return sequences->offset[sequences->n_sequences];
}

int64_t wn_sequences_longest_chunk(const struct wn_sequences *sequences)
{
    int64_t longest = 0;
    for (int64_t c = 0; c < sequences->n_chunks; c++) {
        int64_t tokens = sequences->offset[sequences->chunk[c + 1]] - sequences->offset[sequences->chunk[c]];
        longest = tokens > longest ? tokens : longest;
    }
    return longest;
}

int64_t wn_sequences_chunks(const struct wn_sequences *sequences, int64_t first, int64_t end, int64_t *offset,
                            struct wn_chunk *group)
{
    int64_t begin = sequences->chunk[first], behind = sequences->chunk[end], row = sequences->offset[begin];
    for (int64_t s = begin; s <= behind; s++)
        offset[s - begin] = sequences->offset[s] - row;
    *group = (struct wn_chunk){
        .n_sequences = behind - begin, .offset = offset, .n_chunks = end - first, .first = sequences->chunk + first};
    if (sequences->routes.experts)
        group->routes =
            (struct wn_routes){sequences->routes.experts + row * sequences->chosen, sequences->routes.fixed};
    return row;
}

int64_t wn_sequences_chunk(const struct wn_sequences *sequences, int64_t index, int64_t *offset, struct wn_chunk *chunk)
{
    return wn_sequences_chunks(sequences, index, index + 1, offset, chunk);
}

/* The chunk behind the part that chunk `index` belongs to. */
static int64_t part_end(const struct wn_sequences *sequences, int64_t index)
{
    int64_t part = 0;
    while (sequences->part[part + 1] <= index)
        part++;
    return sequences->part[part + 1];
}

int64_t wn_sequences_group(const struct wn_sequences *sequences, int64_t first, int64_t end, int64_t rows)
{
    int64_t most = first + WN_GROUP_CHUNKS < end ? first + WN_GROUP_CHUNKS : end, behind = first + 1;
    int64_t part = sequences->parent ? part_end(sequences, first) : end,
            row = sequences->offset[sequences->chunk[first]];
    while (behind < most && behind < part && sequences->offset[sequences->chunk[behind + 1]] - row <= rows)
        behind++;
    return behind;
}
