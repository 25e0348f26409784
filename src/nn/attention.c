/*
 * Causal attention by units of (sequence, query tile, head). A unit is two single-threaded sgemm calls on strided
 * slices of q, k and v, with the softmax between them: scores S = scale Q K^T against the keys up to the end of the
 * tile, exponentials E = exp(S - row maximum) of the visible keys (0 beyond), and out = E V divided by the row sums.
 *
 * A past adds two calls per span: its scores come first in the rows of S, and its values are added up in the same
 * order. A unit of one row, as in writing a text token by token, takes dot products and sums of rows instead: there a
 * matrix product would only copy keys and values into its own order.
 */
#include <winnow/linalg.h>
#include <winnow/nn.h>

#include "math.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>

enum { LANES = 16, SERIAL_WORK = 1 << 15 };

/* A query tile: tokens first .. end-1 of the sequence that starts at row `row`, behind a past of `before` tokens. */
struct tile {
    int64_t row, first, end, before;
    const struct wn_span *spans;
    int64_t n_spans;
};

struct attention {
    const float *q, *k, *v;
    float *out;
    int64_t heads, kv_heads, head_dim;
    float scale;
    const struct wn_past *past;
};

/* Keys and values that lie one after the other: of a span, or of the sequence itself. One head of them. */
struct run {
    const float *keys, *values;
    int64_t count;
};

/* Rounded up to whole lanes, so that no loop over a row of scores has a remainder. */
static int64_t whole_lanes(int64_t count)
{
    return (count + LANES - 1) / LANES * LANES;
}

/* The largest of `count` values, a multiple of LANES: element i in lane i % LANES, lanes joined by halves. */
static float row_maximum(const float *x, int64_t count)
{
    float lanes[LANES];
    memcpy(lanes, x, sizeof lanes);
    for (int64_t i = LANES; i < count; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] = lanes[l + half] > lanes[l] ? lanes[l + half] : lanes[l];
    return lanes[0];
}

/* Replaces x by exp(x - most) and returns their sum; `count` and order as in row_maximum. */
static float row_exponentials(float *x, int64_t count, float most)
{
    float lanes[LANES] = {0};
    for (int64_t i = 0; i < count; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            x[i + l] = nn_exp(x[i + l] - most);
            lanes[l] += x[i + l];
        }
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* Turns the `visible` first scores of a row into exp(score - maximum), the others into 0; returns the sum. */
static float exponentials(float *scores, int64_t visible, int64_t stride)
{
    int64_t used = whole_lanes(visible);
    for (int64_t j = visible; j < used; j++)
        scores[j] = -INFINITY;
    memset(scores + used, 0, (size_t)(stride - used) * sizeof *scores);
    return row_exponentials(scores, used, row_maximum(scores, used));
}

/* Part `index` of what a tile sees of one head: the spans of its past, then its own sequence. */
static struct run seen(const struct attention *a, const struct tile *tile, int64_t head, int64_t index)
{
    int64_t stride = a->kv_heads * a->head_dim, column = head / (a->heads / a->kv_heads) * a->head_dim;
    if (index == tile->n_spans)
        return (struct run){a->k + tile->row * stride + column, a->v + tile->row * stride + column, tile->end};
    int64_t at = tile->spans[index].first * stride + column;
    return (struct run){a->past->keys + at, a->past->values + at, tile->spans[index].count};
}

/* ---- tiles of rows ---- */

static void scores_of(const struct attention *a, const struct tile *tile, int64_t head, float *scores, int64_t stride)
{
    int64_t rows = tile->end - tile->first, dim = a->head_dim, q_stride = a->heads * dim;
    const float *q = a->q + (tile->row + tile->first) * q_stride + head * dim;
    for (int64_t i = 0; i <= tile->n_spans; i++) {
        struct run run = seen(a, tile, head, i);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)run.count, (int)dim, a->scale, q,
                    (int)q_stride, run.keys, (int)(a->kv_heads * dim), 0.0f, scores, (int)stride);
        scores += run.count;
    }
}

static void mix_of(const struct attention *a, const struct tile *tile, int64_t head, const float *scores,
                   int64_t stride, float *out)
{
    int64_t rows = tile->end - tile->first, dim = a->head_dim;
    for (int64_t i = 0; i <= tile->n_spans; i++) {
        struct run run = seen(a, tile, head, i);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)dim, (int)run.count, 1.0f, scores,
                    (int)stride, run.values, (int)(a->kv_heads * dim), i ? 1.0f : 0.0f, out, (int)(a->heads * dim));
        scores += run.count;
    }
}

static void run_tile(const struct attention *a, const struct tile *tile, int64_t head, float *scores)
{
    int64_t rows = tile->end - tile->first, stride = whole_lanes(tile->before + tile->end), dim = a->head_dim;
    int64_t q_stride = a->heads * dim;
    float *out = a->out + (tile->row + tile->first) * q_stride + head * dim;
    float sums[WN_ATTENTION_TILE];
    scores_of(a, tile, head, scores, stride);
    for (int64_t r = 0; r < rows; r++)
        sums[r] = exponentials(scores + r * stride, tile->before + tile->first + r + 1, stride);
    mix_of(a, tile, head, scores, stride, out);
    for (int64_t r = 0; r < rows; r++) {
        float factor = 1.0f / sums[r];
#pragma omp simd
        for (int64_t j = 0; j < dim; j++)
            out[r * q_stride + j] *= factor;
    }
}

/* ---- one row behind a past ---- */

/* Element i of the products goes to lane i % LANES, lanes are joined by halves. */
static float dot(const float *x, const float *y, int64_t count)
{
    float lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lanes[l] += x[i + l] * y[i + l];
    for (int l = 0; i + l < count; l++)
        lanes[l] += x[i + l] * y[i + l];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* out += the values weighted, eight keys at a time, so that out is read and written once for them. */
static void add_values(const struct run *run, const float *weights, int64_t stride, int64_t dim, float *out)
{
    int64_t i = 0;
    for (; i + 8 <= run->count; i += 8) {
        const float *v = run->values + i * stride, *w = weights + i;
#pragma omp simd
        for (int64_t j = 0; j < dim; j++) {
            float low = w[0] * v[j] + w[1] * v[stride + j] + (w[2] * v[2 * stride + j] + w[3] * v[3 * stride + j]);
            float high = w[4] * v[4 * stride + j] + w[5] * v[5 * stride + j] +
                         (w[6] * v[6 * stride + j] + w[7] * v[7 * stride + j]);
            out[j] += low + high;
        }
    }
    for (; i < run->count; i++)
#pragma omp simd
        for (int64_t j = 0; j < dim; j++)
            out[j] += weights[i] * run->values[i * stride + j];
}

static void run_row(const struct attention *a, const struct tile *tile, int64_t head, float *scores)
{
    int64_t dim = a->head_dim, stride = a->kv_heads * dim, at = ((tile->row + tile->first) * a->heads + head) * dim;
    int64_t keys = tile->before + tile->end;
    float *out = a->out + at, *place = scores;
    for (int64_t i = 0; i <= tile->n_spans; i++) {
        struct run run = seen(a, tile, head, i);
        for (int64_t j = 0; j < run.count; j++)
            *place++ = a->scale * dot(a->q + at, run.keys + j * stride, dim);
    }
    float factor = 1.0f / exponentials(scores, keys, whole_lanes(keys));
    memset(out, 0, (size_t)dim * sizeof *out);
    for (int64_t i = 0; i <= tile->n_spans; i++) {
        struct run run = seen(a, tile, head, i);
        add_values(&run, scores, stride, dim, out);
        scores += run.count;
    }
    for (int64_t j = 0; j < dim; j++)
        out[j] *= factor;
}

/* ---- all units ---- */

static int64_t past_length(const struct wn_past *past, int64_t s)
{
    int64_t length = 0;
    for (int64_t i = past ? past->first_span[s] : 0; past && i < past->first_span[s + 1]; i++)
        length += past->spans[i].count;
    return length;
}

/* Tiles of all sequences, late ones (with the most keys) first, so that threads end together. */
static int64_t cut_tiles(const struct wn_past *past, int64_t n_sequences, const int64_t *offset, struct tile *tiles)
{
    int64_t count = 0;
    for (int64_t s = 0; s < n_sequences; s++) {
        int64_t length = offset[s + 1] - offset[s];
        struct tile tile = {.row = offset[s], .before = past_length(past, s)};
        if (past) {
            tile.spans = past->spans + past->first_span[s];
            tile.n_spans = past->first_span[s + 1] - past->first_span[s];
        }
        for (int64_t k = (length + WN_ATTENTION_TILE - 1) / WN_ATTENTION_TILE - 1; k >= 0; k--) {
            tile.first = k * WN_ATTENTION_TILE;
            tile.end = tile.first + WN_ATTENTION_TILE < length ? tile.first + WN_ATTENTION_TILE : length;
            tiles[count++] = tile;
        }
    }
    return count;
}

/* Score matrix of the largest unit, in floats; work gets the multiplications of all units. */
static int64_t score_size(const struct tile *tiles, int64_t count, int64_t *work)
{
    int64_t most = 0;
    *work = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t size = (tiles[i].end - tiles[i].first) * whole_lanes(tiles[i].before + tiles[i].end);
        most = size > most ? size : most;
        *work += size;
    }
    return most;
}

void wn_attention(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                  int64_t heads, int64_t kv_heads, int64_t head_dim, float scale, const struct wn_past *past,
                  float *out)
{
    struct attention a = {q, k, v, out, heads, kv_heads, head_dim, scale, past};
    int64_t work;
    struct tile *tiles = wn_alloc(n_sequences + offset[n_sequences] / WN_ATTENTION_TILE + 1, sizeof *tiles);
    int64_t n_tiles = cut_tiles(past, n_sequences, offset, tiles), size = score_size(tiles, n_tiles, &work);
    int threads = wn_blas_begin(), n_threads = work * heads > SERIAL_WORK ? threads : 1;
    float *scores = wn_alloc(n_threads * size, sizeof *scores);
#pragma omp parallel for schedule(dynamic) num_threads(n_threads) if (n_threads > 1)
    for (int64_t unit = 0; unit < n_tiles * heads; unit++) {
        const struct tile *tile = &tiles[unit / heads];
        bool one_row = tile->n_spans && tile->end - tile->first == 1;
        (one_row ? run_row : run_tile)(&a, tile, unit % heads, scores + omp_get_thread_num() * size);
    }
    wn_blas_end(threads);
    wn_free(scores);
    wn_free(tiles);
}

void wn_past_keep(const struct wn_past *past, const float *k, const float *v, int64_t n_sequences,
                  const int64_t *offset, int64_t kv_heads, int64_t head_dim)
{
    int64_t width = kv_heads * head_dim;
    for (int64_t s = 0; s < n_sequences; s++) {
        if (past->keep[s] < 0)
            continue;
        size_t bytes = (size_t)((offset[s + 1] - offset[s]) * width) * sizeof *k;
        memcpy(past->keys + past->keep[s] * width, k + offset[s] * width, bytes);
        memcpy(past->values + past->keep[s] * width, v + offset[s] * width, bytes);
    }
}

/* ---- the plain loop ---- */

/* Keys and values of all that sequence s sees, one after the other: [past + length, kv_heads, head_dim]. */
static void gather_ref(const struct attention *a, int64_t s, const int64_t *offset, float *keys, float *values)
{
    int64_t width = a->kv_heads * a->head_dim, length = offset[s + 1] - offset[s];
    const struct wn_past *past = a->past;
    for (int64_t i = past ? past->first_span[s] : 0; past && i < past->first_span[s + 1]; i++) {
        int64_t count = past->spans[i].count * width, at = past->spans[i].first * width;
        memcpy(keys, past->keys + at, (size_t)count * sizeof *keys);
        memcpy(values, past->values + at, (size_t)count * sizeof *keys);
        keys += count;
        values += count;
    }
    memcpy(keys, a->k + offset[s] * width, (size_t)(length * width) * sizeof *keys);
    memcpy(values, a->v + offset[s] * width, (size_t)(length * width) * sizeof *keys);
}

/* One query of one head against its first `visible` keys: dots, maximum, weights, in double. */
static void attend_ref(const struct attention *a, const float *keys, const float *values, int64_t row, int64_t visible,
                       int64_t head, double *weights)
{
    int64_t kv = head / (a->heads / a->kv_heads), dim = a->head_dim;
    const float *query = a->q + (row * a->heads + head) * dim;
    double most = -INFINITY, sum = 0;
    for (int64_t u = 0; u < visible; u++) {
        const float *key = keys + (u * a->kv_heads + kv) * dim;
        weights[u] = 0;
        for (int64_t j = 0; j < dim; j++)
            weights[u] += (double)query[j] * key[j] * a->scale;
        most = fmax(most, weights[u]);
    }
    for (int64_t u = 0; u < visible; u++)
        sum += weights[u] = exp(weights[u] - most);
    for (int64_t j = 0; j < dim; j++) {
        double value = 0;
        for (int64_t u = 0; u < visible; u++)
            value += weights[u] * values[(u * a->kv_heads + kv) * dim + j];
        a->out[(row * a->heads + head) * dim + j] = (float)(value / sum);
    }
}

void wn_attention_ref(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                      int64_t heads, int64_t kv_heads, int64_t head_dim, float scale, const struct wn_past *past,
                      float *out)
{
    struct attention a = {q, k, v, out, heads, kv_heads, head_dim, scale, past};
    for (int64_t s = 0; s < n_sequences; s++) {
        int64_t before = past_length(past, s), length = offset[s + 1] - offset[s], keys = before + length;
        float *all_keys = wn_alloc(keys * kv_heads * head_dim, sizeof *all_keys);
        float *all_values = wn_alloc(keys * kv_heads * head_dim, sizeof *all_values);
        double *weights = wn_alloc(keys, sizeof *weights);
        gather_ref(&a, s, offset, all_keys, all_values);
        for (int64_t t = 0; t < length; t++)
            for (int64_t h = 0; h < heads; h++)
                attend_ref(&a, all_keys, all_values, offset[s] + t, before + t + 1, h, weights);
        wn_free(weights);
        wn_free(all_keys);
        wn_free(all_values);
    }
}
