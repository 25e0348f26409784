/* SPDX-License-Identifier: Apache-2.0 */
/* Final hidden states of the candidates of a chunk to sums of their fitness, tile by tile of next-token logits. */
#include "judge_impl.h"

#include <string.h>

int64_t wn_judge_tile_rows(int64_t vocabulary)
{
    int64_t rows = 256;

    while (rows > 16 && rows * vocabulary * (int64_t)sizeof(float) > (int64_t)128 << 20)
        rows /= 2;
    return rows;
}

struct score {
    const struct wn_judge *judge;
    const struct wn_judge_stage *stage;
    int64_t count;      /* predictions of the chunk */
    int64_t *row;       /* [count] of the chunk */
    int64_t *dense_row; /* [count] of the calibration sequences */
    int32_t *target;    /* [count] the token that comes next */
    float *states, *logits, *dense_logits, *scratch;
    double *log_sums; /* [rows of a tile] of the dense model */
};

/* Every token but the last of each sequence predicts the one behind it. */
static void collect_targets(struct score *score, int64_t chunk)
{
    const struct wn_sequences *sequences = &score->stage->set.sequences, *from = score->judge->spec.calibration;
    int64_t begin = sequences->offset[sequences->chunk[chunk]];

    for (int64_t s = sequences->chunk[chunk]; s < sequences->chunk[chunk + 1]; s++)
        for (int64_t row = sequences->offset[s]; row + 1 < sequences->offset[s + 1]; row++) {
            score->row[score->count] = row - begin;
            score->dense_row[score->count] =
                from->offset[score->stage->batch->sequence[s]] + row - sequences->offset[s];
            score->target[score->count++] = sequences->ids[row + 1];
        }
}

static void open_score(struct score *score, int64_t chunk)
{
    const struct wn_model *model = score->judge->spec.model;
    int64_t tokens = score->stage->tokens[chunk], vocabulary = model->config.vocab_size;
    int64_t tile = wn_judge_tile_rows(vocabulary);

    score->row = wn_alloc(tokens, sizeof *score->row);
    score->dense_row = wn_alloc(tokens, sizeof *score->dense_row);
    score->target = wn_alloc(tokens, sizeof *score->target);
    score->states = wn_alloc(tile * model->config.hidden_size, sizeof(float));
    score->logits = wn_alloc(tile * vocabulary, sizeof(float));
    score->dense_logits = wn_alloc(tile * vocabulary, sizeof(float));
    score->scratch = wn_alloc(wn_model_head_scratch(model), sizeof(float));
    score->log_sums = wn_alloc(tile, sizeof *score->log_sums);
    collect_targets(score, chunk);
}

static void close_score(struct score *score)
{
    wn_free(score->row);
    wn_free(score->dense_row);
    wn_free(score->target);
    wn_free(score->states);
    wn_free(score->logits);
    wn_free(score->dense_logits);
    wn_free(score->scratch);
    wn_free(score->log_sums);
}

/* Rows row[0 .. n) of hidden states to the tile. */
static void take_rows(const struct score *score, const float *hidden, const int64_t *row, int64_t n)
{
    int64_t width = score->judge->spec.model->config.hidden_size;

    for (int64_t i = 0; i < n; i++)
        memcpy(score->states + i * width, hidden + row[i] * width, (size_t)width * sizeof(float));
}

/* Predictions at .. at + n - 1 of all units. */
static void score_tile(const struct score *score, int64_t at, int64_t n, int64_t first, int64_t end,
                       float *const *hidden)
{
    const struct wn_judge_spec *spec = &score->judge->spec;
    const float *dense = score->judge->dense.data;

    if (dense) {
        take_rows(score, dense, score->dense_row + at, n);
        wn_model_logits(spec->model, score->states, n, score->dense_logits, score->scratch);
        wn_fitness_dense(spec->fitness, score->dense_logits, n, spec->model->config.vocab_size, score->log_sums);
    }
    for (int64_t u = first; u < end; u++) {
        if (!hidden[u - first])
            continue;
        take_rows(score, hidden[u - first], score->row + at, n);
        wn_model_final_norm(spec->model, score->states, n, score->states);
        wn_model_logits(spec->model, score->states, n, score->logits, score->scratch);
        score->stage->results[u] += wn_fitness_sum(spec->fitness, score->dense_logits, score->log_sums, score->logits,
                                                   score->target + at, n, spec->model->config.vocab_size, spec->top);
    }
}

void wn_judge_score(const struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end,
                    float *const *hidden)
{
    struct score score = {.judge = judge, .stage = stage};
    int64_t step = wn_judge_tile_rows(judge->spec.model->config.vocab_size);

    open_score(&score, first / stage->sharing.count);
    for (int64_t u = first; u < end; u++)
        stage->results[u] = 0;
    for (int64_t at = 0; at < score.count; at += step)
        score_tile(&score, at, score.count - at < step ? score.count - at : step, first, end, hidden);
    for (int64_t u = first; u < end; u++)
        if (!hidden[u - first])
            stage->results[u] = stage->results[u - 1];
    close_score(&score);
}
