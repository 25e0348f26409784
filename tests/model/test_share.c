/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Common prefixes run once: segments hold the tokens of all sequences, wherever these are told to be, and give the
 * states that whole sequences give.
 */
#include <omp.h>

#include <winnow/linalg.h>
#include <winnow/model.h>

#include "test.h"

static int64_t pick(uint64_t stream, int64_t index, int64_t below)
{
    return (int64_t)(wn_random_uniform(5, stream, (uint64_t)index) * (double)below);
}

/* `n` sequences that begin like an earlier one (most of them) and go on with tokens of their own, or end there. */
static void make_sequences(uint64_t stream, int64_t n, int64_t longest, int64_t vocabulary, struct wn_sequences *s)
{
    int32_t *ids = wn_alloc(2 * longest, sizeof *ids);
    wn_sequences_init(s);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = i ? pick(stream, 8 * i, i) : 0, length = i ? s->offset[from + 1] - s->offset[from] : 0;
        int64_t common = pick(stream, 8 * i + 1, 10) ? pick(stream, 8 * i + 2, length + 1) : 0, own, count;
        own = pick(stream, 8 * i + 3, 4) ? 1 + pick(stream, 8 * i + 4, longest / 2) : 0;
        common = common < longest - own ? common : longest - own;
        count = common + own > 0 ? common + own : 1;
        for (int64_t t = 0; t < count; t++)
            ids[t] = t < common ? s->ids[s->offset[from] + t]
                                : (int32_t)pick(stream + 1, 100000 * i + t, t == common ? vocabulary : 7);
        wn_sequences_append(s, ids, count);
    }
    wn_sequences_cut(s);
    wn_free(ids);
}

static void copy_sequences(const struct wn_sequences *from, struct wn_sequences *to)
{
    wn_sequences_init(to);
    for (int64_t s = 0; s < from->n_sequences; s++)
        wn_sequences_append(to, from->ids + from->offset[s], from->offset[s + 1] - from->offset[s]);
    wn_sequences_cut(to);
}

/* Segment that holds packed row `row`. */
static int64_t segment_of(const struct wn_sequences *s, int64_t row)
{
    int64_t segment = 0;
    while (s->offset[segment + 1] <= row)
        segment++;
    return segment;
}

/* Row `row` ends the `count` tokens `ids`, all the way through its ancestors. */
static bool ends(const struct wn_sequences *s, int64_t row, const int32_t *ids, int64_t count)
{
    for (int64_t segment = segment_of(s, row); count > 0; segment = s->parent[segment]) {
        if (segment < 0 || s->start[segment] + row - s->offset[segment] != count - 1)
            return false;
        for (; row >= s->offset[segment]; row--)
            if (s->ids[row] != ids[--count])
                return false;
        if (s->parent[segment] >= 0)
            row = s->offset[s->parent[segment] + 1] - 1;
    }
    return true;
}

static void check_shape(const struct wn_sequences *s)
{
    CHECK(s->part[0] == 0 && s->part[s->n_parts] == s->n_chunks && wn_sequences_parts(s) == s->n_parts);
    CHECK(s->chunk[0] == 0 && s->chunk[s->n_chunks] == s->n_sequences);
    for (int64_t p = 0; p < s->n_parts; p++) {
        int64_t first = s->chunk[s->part[p]], end = s->chunk[s->part[p + 1]];
        for (int64_t i = first; i < end; i++) {
            int64_t parent = s->parent[i], length = s->offset[i + 1] - s->offset[i];
            CHECK(length > 0 && (parent < 0 || (parent >= first && parent < i)));
            CHECK(s->start[i] == (parent < 0 ? 0 : s->start[parent] + s->offset[parent + 1] - s->offset[parent]));
            CHECK(parent < 0 || s->slot[parent] >= 0);
            CHECK(s->slot[i] < 0 || s->slot[i] + length <= s->slots);
            for (int64_t j = first; j < i; j++) /* places of one part do not overlap */
                CHECK(s->slot[i] < 0 || s->slot[j] < 0 || s->slot[j] + s->offset[j + 1] - s->offset[j] <= s->slot[i]);
        }
    }
    for (int64_t c = 0; c < s->n_chunks; c++)
        CHECK(s->chunk[c + 1] == s->chunk[c] + 1 ||
              s->offset[s->chunk[c + 1]] - s->offset[s->chunk[c]] <= WN_CHUNK_TOKENS);
}

/* Every row of every sequence is found where it is said to be. */
static int64_t *check_rows(const struct wn_sequences *whole, struct wn_sequences *s)
{
    int64_t tokens = wn_sequences_tokens(whole), *rows = wn_alloc(tokens, sizeof *rows);
    for (int64_t r = 0; r < tokens; r++)
        rows[r] = r;
    copy_sequences(whole, s);
    CHECK(wn_sequences_share(s, rows, tokens));
    CHECK(s->written == tokens && wn_sequences_tokens(s) < tokens);
    check_shape(s);
    for (int64_t i = 0; i < whole->n_sequences; i++)
        for (int64_t r = whole->offset[i]; r < whole->offset[i + 1]; r += 3)
            CHECK(ends(s, rows[r], whole->ids + whole->offset[i], r - whole->offset[i] + 1));
    return rows;
}

/* Five contexts of 40 tokens with four choices of 3, one of which is given twice, and one that is a context. */
static void check_choices(void)
{
    struct wn_sequences s;
    int32_t ids[43];
    int64_t row[5 * 5];
    wn_sequences_init(&s);
    for (int32_t i = 0; i < 5; i++)
        for (int32_t c = 0; c < 5; c++) {
            for (int32_t t = 0; t < 43; t++)
                ids[t] = t < 20 ? t : t < 40 ? 100 + i : 200 + c % 4;
            wn_sequences_append(&s, ids, c == 3 ? 40 : 43);
            row[5 * i + c] = wn_sequences_tokens(&s) - 1;
        }
    CHECK(wn_sequences_share(&s, row, 25));
    /* 20 tokens once, 20 of each context once, 3 for each of three choices */
    CHECK(wn_sequences_tokens(&s) == 20 + 5 * (20 + 3 * 3) && s.n_sequences == 1 + 5 + 15 && s.n_parts == 1);
    CHECK(s.slots == 20 + 5 * 20 && s.written == 5 * (40 + 4 * 43));
    for (int i = 0; i < 5; i++) {
        CHECK(row[5 * i] == row[5 * i + 4] && s.ids[row[5 * i + 1]] == 201);
        CHECK(s.ids[row[5 * i + 3]] == 100 + i && s.start[segment_of(&s, row[5 * i + 3])] == 20);
    }
    wn_sequences_release(&s);
}

/* Nothing, next to nothing, and too little for a segment of its own. */
static void check_nothing(void)
{
    struct wn_sequences s;
    int64_t row = 7;
    wn_sequences_init(&s);
    wn_sequences_cut(&s);
    CHECK(!wn_sequences_share(&s, NULL, 0) && !s.parent && s.n_sequences == 0);
    for (int32_t i = 0; i < 20; i++) {
        int32_t ids[26];
        for (int32_t t = 0; t < 26; t++)
            ids[t] = i < 6 && t < 8 ? i / 2 : 10 * i + t; /* three pairs with 8 rows in common: 24 of 520 */
        wn_sequences_append(&s, ids, 26);
    }
    wn_sequences_cut(&s);
    int64_t tokens = wn_sequences_tokens(&s);
    int32_t *before = s.ids;
    CHECK(!wn_sequences_share(&s, &row, 1));
    CHECK(row == 7 && !s.parent && s.ids == before && wn_sequences_tokens(&s) == tokens && wn_sequences_parts(&s) == 1);
    wn_sequences_release(&s);
}

/* ---- states ---- */

/* Final hidden states [tokens, hidden], parts from the last to the first when `backward`; free with wn_free. */
static float *states_of(const struct wn_model *model, const struct wn_sequences *s, bool backward, int64_t rows)
{
    int64_t width = model->config.hidden_size, tokens = wn_sequences_tokens(s), parts = wn_sequences_parts(s);
    struct wn_block *block = wn_block_create(model);
    float *hidden = wn_alloc(tokens * width, sizeof *hidden);
    float *scratch = wn_alloc(wn_model_scratch(model, rows), sizeof *scratch);
    int64_t *offset = wn_alloc(s->n_sequences + 1, sizeof *offset);
    wn_model_embed(model, s->ids, NULL, tokens, hidden);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        if (!backward)
            wn_sequences_run(model, block, s, 0, s->n_chunks, hidden, rows, scratch, offset, NULL);
        for (int64_t p = parts - 1; backward && p >= 0; p--) {
            int64_t first = wn_sequences_part(s, p), end = wn_sequences_part(s, p + 1);
            wn_sequences_run(model, block, s, first, end, hidden + s->offset[s->chunk[first]] * width, rows, scratch,
                             offset, NULL);
        }
    }
    wn_model_final_norm(model, hidden, tokens, hidden);
    wn_block_destroy(&block, model);
    wn_free(offset);
    wn_free(scratch);
    return hidden;
}

static void check_states(const struct wn_model *model, const struct wn_sequences *whole)
{
    struct wn_sequences shared;
    int64_t *rows = check_rows(whole, &shared), width = model->config.hidden_size;
    int64_t longest = wn_sequences_longest_chunk(whole) > wn_sequences_longest_chunk(&shared)
                          ? wn_sequences_longest_chunk(whole)
                          : wn_sequences_longest_chunk(&shared);
    float *expected = states_of(model, whole, false, longest), *states = states_of(model, &shared, false, longest);
    double worst = 0, largest = 0;
    CHECK(shared.n_parts > 1);
    for (int64_t r = 0; r < wn_sequences_tokens(whole); r++)
        for (int64_t j = 0; j < width; j++) {
            double difference = fabs((double)expected[r * width + j] - states[rows[r] * width + j]);
            worst = difference <= worst ? worst : difference;
            largest = fmax(largest, fabs((double)expected[r * width + j]));
        }
    CHECK_NEAR(worst / largest, 0, 1e-5);
    omp_set_num_threads(2);
    float *again = states_of(model, &shared, true, longest), *grouped = states_of(model, &shared, false, 4 * longest);
    float *whole_grouped = states_of(model, whole, false, 3 * longest);
    CHECK(!memcmp(states, again, (size_t)(wn_sequences_tokens(&shared) * width) * sizeof *states));
    CHECK(wn_sequences_group(&shared, 0, shared.n_chunks, 4 * longest) >= 3);
    CHECK(wn_sequences_group(&shared, 0, shared.n_chunks, 1000 * longest) == wn_sequences_part(&shared, 1));
    CHECK(!memcmp(states, grouped, (size_t)(wn_sequences_tokens(&shared) * width) * sizeof *states));
    CHECK(wn_sequences_group(whole, 0, whole->n_chunks, 3 * longest) >= 3);
    CHECK(!memcmp(expected, whole_grouped, (size_t)(wn_sequences_tokens(whole) * width) * sizeof *states));
    wn_free(grouped);
    wn_free(whole_grouped);
    omp_set_num_threads(1);
    wn_free(rows);
    wn_free(expected);
    wn_free(states);
    wn_free(again);
    wn_sequences_release(&shared);
}

/* Chunks that end with a tile of a single row, which BLAS computes in another order: in a group it stays alone. */
static void check_borders(const struct wn_model *model)
{
    enum { LENGTH = 3 * WN_TILE_ROWS + 1, COUNT = 3 };
    struct wn_sequences s;
    int32_t ids[LENGTH];
    wn_sequences_init(&s);
    for (int64_t i = 0; i < COUNT; i++) {
        for (int64_t t = 0; t < LENGTH; t++)
            ids[t] = (int32_t)pick(90, i * LENGTH + t, model->config.vocab_size);
        wn_sequences_append(&s, ids, LENGTH);
    }
    wn_sequences_cut(&s);
    CHECK(s.n_chunks == COUNT && wn_sequences_group(&s, 0, COUNT, COUNT * LENGTH) == COUNT);
    float *alone = states_of(model, &s, false, LENGTH), *grouped = states_of(model, &s, false, COUNT * LENGTH);
    CHECK(!memcmp(alone, grouped, (size_t)(COUNT * LENGTH * model->config.hidden_size) * sizeof *alone));
    wn_free(alone);
    wn_free(grouped);
    wn_sequences_release(&s);
}

int main(void)
{
    char *directory = test_path("tests/model/reference/llama_grouped");
    struct wn_model *model;
    struct wn_sequences sequences, shared;
    CHECK_OK(wn_linalg_start());
    omp_set_num_threads(1);
    check_choices();
    check_nothing();
    for (uint64_t stream = 0; stream < 8; stream++) {
        make_sequences(stream, 20 + 30 * (int64_t)stream, stream % 2 ? 300 : 40, 3, &sequences);
        wn_free(check_rows(&sequences, &shared));
        wn_sequences_release(&sequences);
        wn_sequences_release(&shared);
    }
    CHECK_OK(wn_model_open(directory, NULL, &model));
    if (model) {
        make_sequences(50, 600, 400, model->config.vocab_size, &sequences);
        check_states(model, &sequences);
        check_borders(model);
        wn_sequences_release(&sequences);
    }
    wn_model_close(&model);
    wn_free(directory);
    return test_finish();
}
