/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Common prefixes of the sequences of a set, run once: the few-shot examples of a task, the context in front of every
 * choice. Sequences are sorted by their tokens, so that those with a common prefix stand together, and cut into parts
 * of about WN_PART_TOKENS rows. A part is a forest of its own: what two parts have in common is run in each, so that
 * parts can be run anywhere and in any order, and the keys and values of one part are all that is kept at a time.
 */
#include <winnow/model.h>

#include <stdlib.h>
#include <string.h>

enum {
    LEAST_SAVED = 8,  /* rows that a segment of its own must save: below, more and shorter products cost more */
    LEAST_SHARE = 16, /* a set that saves less than one row of so many stays as it is */
    NO_PARENT = -1
};

/* A sequence that is no prefix of another one, in the order of tokens. */
struct path {
    const int32_t *ids;
    int64_t length, index; /* of the sequence as it was appended */
    int64_t common;        /* tokens that it begins with as the path before it does */
    int64_t leaf;          /* the segment with its last rows */
};

struct forest {
    struct path *paths;
    int64_t n_paths;
    int64_t *path_of; /* [sequences as appended] the path that holds its rows */
    struct wn_sequences made;
};

static int compare_paths(const void *left, const void *right)
{
    const struct path *a = left, *b = right;
    int64_t count = a->length < b->length ? a->length : b->length;
    for (int64_t t = 0; t < count; t++)
        if (a->ids[t] != b->ids[t])
            return a->ids[t] < b->ids[t] ? -1 : 1;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

static int64_t common_prefix(const struct path *a, const struct path *b)
{
    int64_t t = 0;
    while (t < a->length && t < b->length && a->ids[t] == b->ids[t])
        t++;
    return t;
}

/* Sorts the sequences; those that are the beginning of the next one get no path of their own. */
static void make_paths(const struct wn_sequences *sequences, struct forest *forest)
{
    int64_t n = sequences->n_sequences, common = 0;
    struct path *all = wn_alloc(n, sizeof *all);
    forest->path_of = wn_alloc(n, sizeof *forest->path_of);
    for (int64_t s = 0; s < n; s++)
        all[s] = (struct path){.ids = sequences->ids + sequences->offset[s],
                               .length = sequences->offset[s + 1] - sequences->offset[s],
                               .index = s};
    qsort(all, (size_t)n, sizeof *all, compare_paths);
    forest->n_paths = 0;
    for (int64_t s = 0; s < n; s++) {
        int64_t next = s + 1 < n ? common_prefix(&all[s], &all[s + 1]) : 0;
        forest->path_of[all[s].index] = forest->n_paths;
        if (s + 1 < n && next == all[s].length) { /* the next one has its rows */
            common = common < next ? common : next;
            continue;
        }
        all[s].common = common;
        all[forest->n_paths++] = all[s];
        common = next;
    }
    forest->paths = all;
}

/* Appends rows first .. end - 1 of a path as a segment; returns its index. */
static int64_t add_segment(struct forest *forest, const struct path *path, int64_t first, int64_t end, int64_t parent)
{
    struct wn_sequences *made = &forest->made;
    int64_t segment = made->n_sequences;
    wn_sequences_append(made, path->ids + first, end - first);
    made->start[segment] = first;
    made->parent[segment] = parent;
    made->slot[segment] = -1;
    return segment;
}

/* Paths low .. high - 1 share their first `from` tokens, which segment `parent` ends with. */
static void grow(struct forest *forest, int64_t low, int64_t high, int64_t from, int64_t parent)
{
    struct path *paths = forest->paths;
    int64_t common = paths[low].length, branches = 1;
    if (high - low == 1) {
        paths[low].leaf = add_segment(forest, &paths[low], from, paths[low].length, parent);
        return;
    }
    for (int64_t p = low + 1; p < high; p++)
        common = paths[p].common < common ? paths[p].common : common;
    for (int64_t p = low + 1; p < high; p++)
        branches += paths[p].common == common;
    if ((branches - 1) * (common - from) >= LEAST_SAVED) {
        parent = add_segment(forest, &paths[low], from, common, parent);
        from = common;
    }
    for (int64_t first = low, end; first < high; first = end) {
        for (end = first + 1; end < high && paths[end].common > common;)
            end++;
        grow(forest, first, end, from, parent);
    }
}

/* Slots for the segments from `first` on that others continue. */
static void give_slots(struct wn_sequences *made, int64_t first)
{
    int64_t used = 0;
    for (int64_t s = first; s < made->n_sequences; s++)
        if (made->parent[s] != NO_PARENT)
            made->slot[made->parent[s]] = 0;
    for (int64_t s = first; s < made->n_sequences; s++)
        if (made->slot[s] == 0) {
            made->slot[s] = used;
            used += made->offset[s + 1] - made->offset[s];
        }
    made->slots = used > made->slots ? used : made->slots;
}

/* Cuts the segments from `first` on into chunks: a part. */
static void close_part(struct wn_sequences *made, int64_t first)
{
    give_slots(made, first);
    made->part[made->n_parts++] = made->n_chunks;
    for (int64_t end; first < made->n_sequences; first = end) {
        end = first + 1;
        while (end < made->n_sequences && made->offset[end + 1] - made->offset[first] <= WN_CHUNK_TOKENS)
            end++;
        made->chunk[++made->n_chunks] = end;
    }
    made->part[made->n_parts] = made->n_chunks;
}

static void make_segments(struct forest *forest)
{
    struct wn_sequences *made = &forest->made;
    int64_t most = 2 * forest->n_paths;
    wn_sequences_init(made);
    made->start = wn_alloc(most, sizeof *made->start);
    made->parent = wn_alloc(most, sizeof *made->parent);
    made->slot = wn_alloc(most, sizeof *made->slot);
    made->chunk = wn_alloc_zero(most + 1, sizeof *made->chunk);
    made->part = wn_alloc_zero(forest->n_paths + 1, sizeof *made->part);
    for (int64_t first = 0, end; first < forest->n_paths; first = end) {
        int64_t rows = forest->paths[first].length, before = made->n_sequences;
        for (end = first + 1; end < forest->n_paths; end++) {
            rows += forest->paths[end].length - forest->paths[end].common;
            if (rows > WN_PART_TOKENS)
                break;
        }
        grow(forest, first, end, 0, NO_PARENT);
        close_part(made, before);
    }
}

/* Where row `row` of the sequences as appended is now. */
static int64_t row_now(const struct wn_sequences *sequences, const struct forest *forest, int64_t row)
{
    int64_t low = 0, high = sequences->n_sequences;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        *(sequences->offset[middle] <= row ? &low : &high) = middle;
    }
    int64_t position = row - sequences->offset[low], segment = forest->paths[forest->path_of[low]].leaf;
    while (forest->made.start[segment] > position)
        segment = forest->made.parent[segment];
    return forest->made.offset[segment] + position - forest->made.start[segment];
}

bool wn_sequences_share(struct wn_sequences *sequences, int64_t *rows, int64_t n_rows)
{
    struct forest forest = {0};
    int64_t written = wn_sequences_tokens(sequences);
    make_paths(sequences, &forest);
    make_segments(&forest);
    bool saves = (written - wn_sequences_tokens(&forest.made)) * LEAST_SHARE >= written && written > 0;
    if (saves) {
        for (int64_t i = 0; i < n_rows; i++)
            rows[i] = row_now(sequences, &forest, rows[i]);
        forest.made.written = written;
        wn_sequences_release(sequences);
        *sequences = forest.made;
    } else {
        wn_sequences_release(&forest.made);
    }
    wn_free(forest.paths);
    wn_free(forest.path_of);
    return saves;
}

/* ---- running ---- */

/* What groups of chunks of a set with parents need besides their offsets. */
struct room {
    int64_t *first_span;
    struct wn_span *spans;
    struct wn_past past;
};

static int64_t depth_of(const struct wn_sequences *sequences, int64_t segment)
{
    int64_t depth = 0;
    for (int64_t s = sequences->parent[segment]; s != NO_PARENT; s = sequences->parent[s])
        depth++;
    return depth;
}

/* Most segments, and most ancestors of all its segments, of a part. */
static void count_spans(const struct wn_sequences *sequences, int64_t *segments, int64_t *spans)
{
    *segments = *spans = 0;
    for (int64_t p = 0; p < sequences->n_parts; p++) {
        int64_t first = sequences->chunk[sequences->part[p]], end = sequences->chunk[sequences->part[p + 1]];
        int64_t count = end - first, ancestors = 0;
        for (int64_t s = first; s < end; s++)
            ancestors += depth_of(sequences, s);
        *segments = count > *segments ? count : *segments;
        *spans = ancestors > *spans ? ancestors : *spans;
    }
}

static int64_t past_floats(const struct wn_model *model, const struct wn_sequences *sequences)
{
    return sequences->slots * model->config.n_kv_heads * model->config.head_dim;
}

int64_t wn_sequences_run_bytes(const struct wn_model *model, const struct wn_sequences *sequences)
{
    int64_t segments, spans;
    if (!sequences->parent)
        return 0;
    count_spans(sequences, &segments, &spans);
    return 2 * past_floats(model, sequences) * (int64_t)sizeof(float) + (segments + 1) * (int64_t)sizeof(int64_t) +
           spans * (int64_t)sizeof(struct wn_span);
}

static void open_room(const struct wn_model *model, const struct wn_sequences *sequences, struct room *room)
{
    int64_t segments, spans;
    count_spans(sequences, &segments, &spans);
    room->first_span = wn_alloc(segments + 1, sizeof *room->first_span);
    room->spans = wn_alloc(spans, sizeof *room->spans);
    room->past = (struct wn_past){.keys = wn_alloc(past_floats(model, sequences), sizeof(float)),
                                  .values = wn_alloc(past_floats(model, sequences), sizeof(float)),
                                  .spans = room->spans,
                                  .first_span = room->first_span};
}

static void close_room(struct room *room)
{
    wn_free(room->first_span);
    wn_free(room->spans);
    wn_free(room->past.keys);
    wn_free(room->past.values);
}

/* The spans of the ancestors of a segment, the first ancestor first; neighbours in one. Returns how many there are. */
static int64_t spans_of(const struct wn_sequences *sequences, int64_t segment, struct wn_span *spans)
{
    int64_t left = depth_of(sequences, segment), count = left;
    for (int64_t s = sequences->parent[segment]; s != NO_PARENT; s = sequences->parent[s])
        spans[--left] = (struct wn_span){sequences->slot[s], sequences->offset[s + 1] - sequences->offset[s]};
    for (int64_t i = 0; i < count; i++) {
        if (left > 0 && spans[left - 1].first + spans[left - 1].count == spans[i].first)
            spans[left - 1].count += spans[i].count;
        else
            spans[left++] = spans[i];
    }
    return left;
}

/* Gives a group its past. */
static void bind_past(const struct wn_sequences *sequences, struct room *room, struct wn_chunk *chunk)
{
    int64_t first = chunk->first[0];
    room->first_span[0] = 0;
    for (int64_t s = 0; s < chunk->n_sequences; s++)
        room->first_span[s + 1] =
            room->first_span[s] + spans_of(sequences, first + s, room->spans + room->first_span[s]);
    room->past.keep = sequences->slot + first;
    chunk->start = sequences->start + first;
    chunk->past = &room->past;
}

void wn_sequences_run(const struct wn_model *model, const struct wn_block *block, const struct wn_sequences *sequences,
                      int64_t first, int64_t end, float *hidden, int64_t rows, float *scratch, int64_t *offset,
                      const struct wn_tap *tap)
{
    struct room room = {0};
    int64_t width = model->config.hidden_size, begin = sequences->offset[sequences->chunk[first]];
    if (sequences->parent)
        open_room(model, sequences, &room);
    for (int64_t c = first, behind; c < end; c = behind) {
        struct wn_chunk group;
        behind = wn_sequences_group(sequences, c, end, tap && tap->add ? 0 : rows);
        int64_t row = wn_sequences_chunks(sequences, c, behind, offset, &group) - begin;
        if (sequences->parent)
            bind_past(sequences, &room, &group);
        wn_model_run_block(model, block, &group, hidden + row * width, scratch, tap);
    }
    close_room(&room);
}
