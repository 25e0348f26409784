/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Causal attention by units of (sequence, query tile, heads that share keys). Queries lie in the lanes of vector
 * registers, turned once per unit, so keys and values are read where they are, one number for all lanes: no copy of
 * them, no sum across lanes, and a row's result depends on its own keys alone, not on what else is in its unit. Keys
 * are taken in steps of WN_ATTENTION_KEYS with a running softmax (Milakov and Gimelshein, arXiv:1805.02867; Dao et al.,
 * arXiv:2205.14135): scores S = scale K Q^T, the maximum so far, E = exp(S - maximum), and out += V^T E, all of which
 * stays in the cache. Queries that are earlier than all keys of a step are left out of it.
 */
#include "attention.h"

#include <omp.h>

/* As wide as a vector register; sums of VECTORS registers of queries and ROWS keys fit into the registers. */
#ifdef __AVX512F__
enum { LANES = 16, VECTORS = 3, ROWS = 8 };
#else
enum { LANES = 8, VECTORS = 2, ROWS = 4 };
#endif
enum { WIDTH = VECTORS * LANES, KEYS = WN_ATTENTION_KEYS, SERIAL_WORK = 1 << 15 };

typedef float lanes_t __attribute__((vector_size(LANES * sizeof(float))));

/* ---- units of many rows ---- */

/*
 * One unit while it runs. Vector v of VECTORS holds LANES queries one after the other: those of block v / heads, for
 * head v % heads; so vectors stand in the order of their queries. Vectors beyond `vectors` are not used.
 */
struct unit {
    int64_t heads, vectors, dim, rows; /* query heads and query tokens of this unit */
    int64_t first;                     /* position of its first query: the number of keys before it */
    int64_t head;                      /* the first of its query heads */
    const struct wn_attention_rule *rule;
    lanes_t *queries; /* [dim, VECTORS]: scale * Q^T */
    lanes_t *mixed;   /* [dim, VECTORS]: V^T E so far */
    lanes_t *scores;  /* [KEYS, VECTORS] of this step, then their exponentials */
    lanes_t most[VECTORS], sums[VECTORS];
    const float *keys[KEYS], *values[KEYS]; /* of this step */
};

/* Floats of the three arrays of a unit. */
static int64_t unit_floats(int64_t dim)
{
    return (2 * dim + KEYS) * WIDTH;
}

/*
 * scores[key] = keys . queries for `count` vectors of queries, a constant where this is called, so that all sums stay
 * in registers. Behind the last key that one is computed again and dropped.
 */
static inline __attribute__((always_inline)) void score_keys(const float *const *keys, int64_t n_keys, int64_t dim,
                                                             const lanes_t *queries, lanes_t *scores, int64_t count)
{
    for (int64_t first = 0; first < n_keys; first += ROWS) {
        lanes_t sums[ROWS][VECTORS] = {0};
        const float *key[ROWS];
        for (int64_t r = 0; r < ROWS; r++)
            key[r] = keys[nn_smaller(first + r, n_keys - 1)];
        for (int64_t d = 0; d < dim; d++)
            for (int64_t r = 0; r < ROWS; r++)
                for (int64_t v = 0; v < count; v++)
                    sums[r][v] += queries[d * VECTORS + v] * key[r][d];
        for (int64_t r = 0; r < ROWS && first + r < n_keys; r++)
            for (int64_t v = 0; v < count; v++)
                scores[(first + r) * VECTORS + v] = sums[r][v];
    }
}

/* mixed[d] += the values of the keys weighted, ROWS numbers of a value at a time. */
static inline __attribute__((always_inline)) void mix_keys(const float *const *values, int64_t n_keys, int64_t dim,
                                                           const lanes_t *weights, lanes_t *mixed, int64_t count)
{
    for (int64_t first = 0; first < dim; first += ROWS) {
        lanes_t sums[ROWS][VECTORS];
        int64_t at[ROWS];
        for (int64_t r = 0; r < ROWS; r++) {
            at[r] = nn_smaller(first + r, dim - 1);
            for (int64_t v = 0; v < count; v++)
                sums[r][v] = mixed[at[r] * VECTORS + v];
        }
        for (int64_t j = 0; j < n_keys; j++)
            for (int64_t r = 0; r < ROWS; r++)
                for (int64_t v = 0; v < count; v++)
                    sums[r][v] += weights[j * VECTORS + v] * values[j][at[r]];
        for (int64_t r = 0; r < ROWS && first + r < dim; r++)
            for (int64_t v = 0; v < count; v++)
                mixed[(first + r) * VECTORS + v] = sums[r][v];
    }
}

/* Both for the vectors from `vector` on. */
static void score_step(const struct unit *u, int64_t first, int64_t n_keys, int64_t vector)
{
    const float *const *keys = u->keys + first;
    const lanes_t *queries = u->queries + vector;
    lanes_t *scores = u->scores + first * VECTORS + vector;
    if (u->vectors - vector == 1)
        score_keys(keys, n_keys, u->dim, queries, scores, 1);
    else if (u->vectors - vector == 2)
        score_keys(keys, n_keys, u->dim, queries, scores, 2);
    else
        score_keys(keys, n_keys, u->dim, queries, scores, VECTORS);
}

static void mix_step(const struct unit *u, int64_t first, int64_t n_keys, int64_t vector)
{
    const float *const *values = u->values + first;
    const lanes_t *weights = u->scores + first * VECTORS + vector;
    lanes_t *mixed = u->mixed + vector;
    if (u->vectors - vector == 1)
        mix_keys(values, n_keys, u->dim, weights, mixed, 1);
    else if (u->vectors - vector == 2)
        mix_keys(values, n_keys, u->dim, weights, mixed, 2);
    else
        mix_keys(values, n_keys, u->dim, weights, mixed, VECTORS);
}

/* Position of the first query of a vector. */
static int64_t position(const struct unit *u, int64_t vector)
{
    return u->first + vector / u->heads * LANES;
}

/* Keys at `start` and behind it, of `n_keys`, that some query of a vector may see. */
static int64_t visible(const struct unit *u, int64_t vector, int64_t start, int64_t n_keys)
{
    int64_t count = position(u, vector) + LANES - start;
    return count < 0 ? 0 : nn_smaller(count, n_keys);
}

/*
 * Does `step` for all keys of a step that begins with key `start`: those that all vectors see, then piece by piece
 * those that only later ones see.
 */
static void for_visible(const struct unit *u, int64_t start, int64_t n_keys,
                        void (*step)(const struct unit *, int64_t, int64_t, int64_t))
{
    int64_t done = 0;
    for (int64_t v = 0; v < u->vectors; v += u->heads) {
        int64_t end = visible(u, v, start, n_keys);
        if (end > done)
            step(u, done, end - done, v);
        done = end > done ? end : done;
    }
}

/* Soft cap and slope; each score as attention_row.c has it. */
static void shape(struct unit *u, int64_t vector, int64_t start, int64_t n_keys)
{
    float *scores = (float *)(u->scores + vector), cap = u->rule->softcap;
    const float *slope = u->rule->slopes ? u->rule->slopes + u->head + vector % u->heads : NULL;
    int64_t query = position(u, vector);
    for (int64_t j = 0; j < n_keys && cap > 0; j++)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            scores[j * WIDTH + l] = nn_soft_cap(scores[j * WIDTH + l], cap);
    for (int64_t j = 0; j < n_keys && slope; j++)
        for (int l = 0; l < LANES; l++)
            scores[j * WIDTH + l] += nn_slope(u->rule, *slope, start + j, query + l);
}

/* Scores of keys behind a query, and of those that have left its window, become -infinity. */
static void hide(struct unit *u, int64_t vector, int64_t start, int64_t n_keys)
{
    int64_t first = position(u, vector) - start, gone = first - u->rule->window;
    for (int64_t j = first < 0 ? 0 : first; j < n_keys; j++)
        for (int64_t l = 0; l < LANES && l < j - first; l++)
            u->scores[j * VECTORS + vector][l] = -INFINITY;
    if (u->rule->window <= 0)
        return;
    for (int64_t j = 0; j < n_keys && j < gone + LANES; j++)
        for (int64_t l = j > gone ? j - gone : 0; l < LANES; l++)
            u->scores[j * VECTORS + vector][l] = -INFINITY;
}

/* The exponentials of the scores of one vector, and what a larger maximum makes of its sums so far. */
static void soften(struct unit *u, int64_t vector, int64_t n_keys)
{
    float *scores = (float *)(u->scores + vector), *mixed = (float *)(u->mixed + vector);
    float most[LANES], other[LANES], base[LANES], sums[LANES], factor[LANES];
    memcpy(most, &u->most[vector], sizeof most);
    memcpy(other, most, sizeof most);
    memcpy(sums, &u->sums[vector], sizeof sums);
    for (int64_t j = 0; j < n_keys; j++) {
        const float *x = scores + j * WIDTH;
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            most[l] = x[l] > most[l] ? x[l] : most[l];
    }
    bool grew = false;
    for (int l = 0; l < LANES; l++) {
        grew |= most[l] > other[l];
        base[l] = most[l] == -INFINITY ? 0.0f : most[l]; /* a query whose window begins later */
    }
    if (grew) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            factor[l] = nn_exp_negative(other[l] - base[l]);
            sums[l] *= factor[l];
        }
        for (int64_t d = 0; d < u->dim; d++)
#pragma omp simd
            for (int l = 0; l < LANES; l++)
                mixed[d * WIDTH + l] *= factor[l];
    }
    for (int64_t j = 0; j < n_keys; j++) {
        float *x = scores + j * WIDTH;
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            x[l] = nn_exp_negative(x[l] - base[l]);
            sums[l] += x[l];
        }
    }
    memcpy(&u->most[vector], most, sizeof most);
    memcpy(&u->sums[vector], sums, sizeof sums);
}

/* Keys start .. start + n_keys - 1, whose places stand in the unit. */
static void take_keys(struct unit *u, int64_t start, int64_t n_keys)
{
    for_visible(u, start, n_keys, score_step);
    for (int64_t v = 0; v < u->vectors; v++) {
        int64_t count = visible(u, v, start, n_keys);
        shape(u, v, start, count);
        hide(u, v, start, count);
        soften(u, v, count);
    }
    for_visible(u, start, n_keys, mix_step);
}

/*
 * All keys up to the last query, from the first that the first query sees: a step is filled from spans and sequence,
 * and taken when it is full. Steps end at multiples of KEYS, wherever the first begins.
 */
static void take_all(const struct attention *a, const struct tile *tile, int64_t kv_head, struct unit *u)
{
    int64_t stride = a->kv_heads * a->head_dim, start = nn_first_key(a->rule, u->first), count = 0, skip = start;
    for (int64_t i = 0; i <= tile->n_spans; i++) {
        struct run run = nn_seen(a, tile, kv_head, i, &skip);
        for (int64_t j = 0; j < run.count; j++) {
            u->keys[count] = run.keys + j * stride;
            u->values[count] = run.values + j * stride;
            if ((start + ++count) % KEYS)
                continue;
            take_keys(u, start, count);
            start += count;
            count = 0;
        }
    }
    if (count > 0)
        take_keys(u, start, count);
}

/* Place j of the lower and of the upper row when blocks of h x h change sides across the diagonal. */
#define LOW(h, j)  ((j) & (h) ? LANES + (j) - (h) : (j))
#define HIGH(h, j) ((j) & (h) ? LANES + (j) : (j) + (h))
#define PLACES8(of, h, j)                                                                                              \
    of(h, j), of(h, j + 1), of(h, j + 2), of(h, j + 3), of(h, j + 4), of(h, j + 5), of(h, j + 6), of(h, j + 7)
#ifdef __AVX512F__
#define PLACES(of, h) PLACES8(of, h, 0), PLACES8(of, h, 8)
#else
#define PLACES(of, h) PLACES8(of, h, 0)
#endif
#define CHANGE_SIDES(x, h)                                                                                             \
    for (int i = 0; i < LANES; i++)                                                                                    \
        if (!(i & (h))) {                                                                                              \
            lanes_t upper = (x)[i], lower = (x)[i + (h)];                                                              \
            (x)[i] = __builtin_shufflevector(upper, lower, PLACES(LOW, h));                                            \
            (x)[i + (h)] = __builtin_shufflevector(upper, lower, PLACES(HIGH, h));                                     \
        }

/* The transpose of a square of LANES x LANES, by Eklundh's method. */
static inline __attribute__((always_inline)) void turn(lanes_t *x)
{
#ifdef __AVX512F__
    CHANGE_SIDES(x, 8)
#endif
    CHANGE_SIDES(x, 4)
    CHANGE_SIDES(x, 2)
    CHANGE_SIDES(x, 1)
}

/* The token rows of vector `vector`, at most LANES, and the place of the first of them and of its head in q and out. */
static int64_t rows_of(const struct attention *a, const struct tile *tile, int64_t head, const struct unit *u,
                       int64_t vector, int64_t *place)
{
    int64_t first = vector / u->heads * LANES;
    *place = ((tile->row + tile->first + first) * a->heads + head + vector % u->heads) * u->dim;
    return nn_smaller(u->rows - first, LANES);
}

/* Query heads `head` and behind it of u->heads; lanes without a query are 0. */
static void turn_queries(const struct attention *a, const struct tile *tile, int64_t head, struct unit *u)
{
    for (int64_t v = 0; v < u->vectors; v++) {
        int64_t place, rows = rows_of(a, tile, head, u, v, &place);
        for (int64_t d = 0; d < u->dim; d += LANES) {
            lanes_t square[LANES] = {0};
            int64_t count = nn_smaller(u->dim - d, LANES);
            for (int64_t r = 0; r < rows; r++)
                if (count == LANES)
                    memcpy(&square[r], a->q + place + r * a->heads * u->dim + d, sizeof(lanes_t));
                else
                    memcpy(&square[r], a->q + place + r * a->heads * u->dim + d, (size_t)count * sizeof(float));
            turn(square);
            for (int64_t i = 0; i < count; i++)
                u->queries[(d + i) * VECTORS + v] = square[i] * a->rule->scale;
        }
    }
}

static void turn_back(const struct attention *a, const struct tile *tile, int64_t head, const struct unit *u)
{
    for (int64_t v = 0; v < u->vectors; v++) {
        int64_t place, rows = rows_of(a, tile, head, u, v, &place);
        lanes_t factor = 1.0f / u->sums[v];
        for (int64_t d = 0; d < u->dim; d += LANES) {
            lanes_t square[LANES] = {0};
            int64_t count = nn_smaller(u->dim - d, LANES);
            for (int64_t i = 0; i < count; i++)
                square[i] = u->mixed[(d + i) * VECTORS + v] * factor;
            turn(square);
            for (int64_t r = 0; r < rows; r++)
                if (count == LANES)
                    memcpy(a->out + place + r * a->heads * u->dim + d, &square[r], sizeof(lanes_t));
                else
                    memcpy(a->out + place + r * a->heads * u->dim + d, &square[r], (size_t)count * sizeof(float));
        }
    }
}

/* `run` counts runs of query heads over all key-value heads. */
static void run_tile(const struct attention *a, const struct tile *tile, int64_t run, float *work)
{
    int64_t kv_head = run / a->runs, group = a->heads / a->kv_heads, first = run % a->runs * a->run_heads;
    struct unit u = {.heads = nn_smaller(a->run_heads, group - first),
                     .dim = a->head_dim,
                     .rows = tile->end - tile->first,
                     .first = tile->before + tile->first,
                     .head = kv_head * group + first,
                     .rule = a->rule,
                     .queries = (lanes_t *)(void *)work,
                     .mixed = (lanes_t *)(void *)(work + a->head_dim * WIDTH),
                     .scores = (lanes_t *)(void *)(work + 2 * a->head_dim * WIDTH)};
    u.vectors = (u.rows + LANES - 1) / LANES * u.heads;
    for (int64_t v = 0; v < VECTORS; v++) {
        u.most[v] = (lanes_t){0} - INFINITY;
        u.sums[v] = (lanes_t){0};
    }
    memset(u.mixed, 0, (size_t)(a->head_dim * WIDTH) * sizeof(float));
    turn_queries(a, tile, u.head, &u);
    take_all(a, tile, kv_head, &u);
    turn_back(a, tile, u.head, &u);
}

/* ---- all units ---- */

static bool is_one_row(const struct tile *tile)
{
    return tile->n_spans && tile->end - tile->first == 1;
}

/* Tiles of `rows` rows of all sequences, late ones (with the most keys) first, so that threads end together. */
static int64_t cut_tiles(const struct wn_past *past, int64_t n_sequences, const int64_t *offset, int64_t rows,
                         struct tile *tiles)
{
    int64_t count = 0;
    for (int64_t s = 0; s < n_sequences; s++) {
        int64_t length = offset[s + 1] - offset[s];
        struct tile tile = {.row = offset[s], .before = wn_past_length(past, s)};
        if (past) {
            tile.spans = past->spans + past->first_span[s];
            tile.n_spans = past->first_span[s + 1] - past->first_span[s];
        }
        for (int64_t k = (length + rows - 1) / rows - 1; k >= 0; k--) {
            tile.first = k * rows;
            tile.end = nn_smaller(tile.first + rows, length);
            tiles[count++] = tile;
        }
    }
    return count;
}

/* Floats of memory of the largest unit; work gets the scores of all units of one head. */
static int64_t most_floats(const struct attention *a, const struct tile *tiles, int64_t count, int64_t *work)
{
    int64_t most = 0;
    *work = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t keys = tiles[i].before + tiles[i].end - nn_first_key(a->rule, tiles[i].before + tiles[i].first);
        int64_t size = is_one_row(&tiles[i]) ? nn_row_floats(keys) : unit_floats(a->head_dim);
        most = size > most ? size : most;
        *work += (tiles[i].end - tiles[i].first) * keys;
    }
    return most;
}

static void run_unit(const struct attention *a, const struct tile *tile, int64_t run, float *work)
{
    int64_t group = a->heads / a->kv_heads, first = run % a->runs * a->run_heads;
    if (!is_one_row(tile)) {
        run_tile(a, tile, run, work);
        return;
    }
    for (int64_t h = first; h < nn_smaller(first + a->run_heads, group); h++)
        nn_attention_row(a, tile, run / a->runs * group + h, work);
}

void wn_attention(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                  int64_t heads, int64_t kv_heads, int64_t head_dim, const struct wn_attention_rule *rule,
                  const struct wn_past *past, float *out)
{
    struct attention a = {q, k, v, out, heads, kv_heads, head_dim, rule, past, 0, 0};
    int64_t group = heads / kv_heads, work;
    a.runs = (group + VECTORS - 1) / VECTORS;
    a.run_heads = (group + a.runs - 1) / a.runs;
    int64_t rows = VECTORS / a.run_heads * LANES;
    struct tile *tiles = wn_alloc(n_sequences + offset[n_sequences] / rows + 1, sizeof *tiles);
    int64_t n_tiles = cut_tiles(past, n_sequences, offset, rows, tiles), runs = kv_heads * a.runs;
    int64_t size = most_floats(&a, tiles, n_tiles, &work);
    int n_threads = work * heads > SERIAL_WORK ? omp_get_max_threads() : 1;
    float *room = wn_alloc(n_threads * size, sizeof *room);
#pragma omp parallel for schedule(dynamic) num_threads(n_threads) if (n_threads > 1)
    for (int64_t unit = 0; unit < n_tiles * runs; unit++)
        run_unit(&a, &tiles[unit / runs], unit % runs, room + omp_get_thread_num() * size);
    wn_free(room);
    wn_free(tiles);
}
