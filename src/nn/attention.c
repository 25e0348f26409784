/*
 * Causal attention by units of (sequence, query tile, head). A unit is two single-threaded sgemm calls on strided
 * slices of q, k and v, with the softmax between them: scores S = scale Q K^T against the keys up to the end of the
 * tile, exponentials E = exp(S - row maximum) of the visible keys (0 beyond), and out = E V divided by the row sums.
 */
#include <winnow/linalg.h>
#include <winnow/nn.h>

#include "math.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>

enum { LANES = 16, SERIAL_WORK = 1 << 15 };

/* A query tile: tokens first .. end-1 of the sequence that starts at row `row`. */
struct tile {
    int64_t row, first, end;
};

struct attention {
    const float *q, *k, *v;
    float *out;
    int64_t heads, kv_heads, head_dim;
    float scale;
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

static void run_unit(const struct attention *a, const struct tile *tile, int64_t head, float *scores)
{
    int64_t rows = tile->end - tile->first, keys = tile->end, stride = whole_lanes(keys), dim = a->head_dim;
    int64_t q_stride = a->heads * dim, kv_stride = a->kv_heads * dim;
    int64_t kv_at = tile->row * kv_stride + head / (a->heads / a->kv_heads) * dim;
    int64_t q_at = (tile->row + tile->first) * q_stride + head * dim;
    float *out = a->out + q_at;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)keys, (int)dim, a->scale, a->q + q_at,
                (int)q_stride, a->k + kv_at, (int)kv_stride, 0.0f, scores, (int)stride);
    float sums[WN_ATTENTION_TILE];
    for (int64_t r = 0; r < rows; r++)
        sums[r] = exponentials(scores + r * stride, tile->first + r + 1, stride);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)dim, (int)keys, 1.0f, scores, (int)stride,
                a->v + kv_at, (int)kv_stride, 0.0f, out, (int)q_stride);
    for (int64_t r = 0; r < rows; r++) {
        float factor = 1.0f / sums[r];
#pragma omp simd
        for (int64_t j = 0; j < dim; j++)
            out[r * q_stride + j] *= factor;
    }
}

/* Tiles of all sequences, late ones (with the most keys) first, so that threads end together. */
static int64_t cut_tiles(int64_t n_sequences, const int64_t *offset, struct tile *tiles)
{
    int64_t count = 0;
    for (int64_t s = 0; s < n_sequences; s++) {
        int64_t length = offset[s + 1] - offset[s];
        for (int64_t k = (length + WN_ATTENTION_TILE - 1) / WN_ATTENTION_TILE - 1; k >= 0; k--) {
            int64_t end = (k + 1) * WN_ATTENTION_TILE;
            tiles[count++] = (struct tile){offset[s], k * WN_ATTENTION_TILE, end < length ? end : length};
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
        int64_t size = (tiles[i].end - tiles[i].first) * whole_lanes(tiles[i].end);
        most = size > most ? size : most;
        *work += size;
    }
    return most;
}

void wn_attention(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                  int64_t heads, int64_t kv_heads, int64_t head_dim, float scale, float *out)
{
    struct attention a = {q, k, v, out, heads, kv_heads, head_dim, scale};
    int64_t work;
    struct tile *tiles = wn_alloc(n_sequences + offset[n_sequences] / WN_ATTENTION_TILE + 1, sizeof *tiles);
    int64_t n_tiles = cut_tiles(n_sequences, offset, tiles), size = score_size(tiles, n_tiles, &work);
    int threads = wn_blas_begin(), n_threads = work * heads > SERIAL_WORK ? threads : 1;
    float *scores = wn_alloc(n_threads * size, sizeof *scores);
#pragma omp parallel for schedule(dynamic) num_threads(n_threads) if (n_threads > 1)
    for (int64_t unit = 0; unit < n_tiles * heads; unit++)
        run_unit(&a, &tiles[unit / heads], unit % heads, scores + omp_get_thread_num() * size);
    wn_blas_end(threads);
    wn_free(scores);
    wn_free(tiles);
}

/* One query of one head: dots, maximum, weights, in double. */
static void attend_ref(const struct attention *a, int64_t row, int64_t t, int64_t head, double *weights)
{
    int64_t kv = head / (a->heads / a->kv_heads), dim = a->head_dim;
    const float *query = a->q + ((row + t) * a->heads + head) * dim;
    double most = -INFINITY, sum = 0;
    for (int64_t u = 0; u <= t; u++) {
        const float *key = a->k + ((row + u) * a->kv_heads + kv) * dim;
        weights[u] = 0;
        for (int64_t j = 0; j < dim; j++)
            weights[u] += (double)query[j] * key[j] * a->scale;
        most = fmax(most, weights[u]);
    }
    for (int64_t u = 0; u <= t; u++)
        sum += weights[u] = exp(weights[u] - most);
    for (int64_t j = 0; j < dim; j++) {
        double value = 0;
        for (int64_t u = 0; u <= t; u++)
            value += weights[u] * a->v[((row + u) * a->kv_heads + kv) * dim + j];
        a->out[((row + t) * a->heads + head) * dim + j] = (float)(value / sum);
    }
}

void wn_attention_ref(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                      int64_t heads, int64_t kv_heads, int64_t head_dim, float scale, float *out)
{
    struct attention a = {q, k, v, out, heads, kv_heads, head_dim, scale};
    double *weights = wn_alloc(offset[n_sequences], sizeof *weights);
    for (int64_t s = 0; s < n_sequences; s++)
        for (int64_t t = 0; t < offset[s + 1] - offset[s]; t++)
            for (int64_t h = 0; h < heads; h++)
                attend_ref(&a, offset[s], t, h, weights);
    wn_free(weights);
}
