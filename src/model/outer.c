/* SPDX-License-Identifier: Apache-2.0 */
/* outer.c: what a model does outside its blocks: embedding, final norm, logits. */
#include <winnow/linalg.h>
#include <winnow/model.h>

#include <omp.h>
#include <string.h>

enum {
    PIECE = 1 << 18, /* elements converted by one thread at a time */
    LEAST_PANELS = 2 /* column tiles of head rows converted at a time */
};

/* ---- the embedding ---- */

/* One row of hidden: a token at a position. Where embeddings are projected, hidden holds that already. */
static void embed_row(const struct wn_model *model, int64_t id, int64_t position, float *hidden)
{
    int64_t width = model->config.hidden_size;
    const struct wn_decoder *decoder = &model->config.decoder;
    if (!model->project_in)
        wn_tensor_to_float(model->embedding, id * width, width, hidden);
    for (int64_t j = 0; decoder->embedding_factor > 0 && j < width; j++)
        hidden[j] *= (float)decoder->embedding_factor;
    if (!model->positions)
        return;
    float *learned = wn_alloc(width, sizeof *learned);
    wn_tensor_to_float(model->positions, (position + decoder->position_offset) * width, width, learned);
    wn_add(hidden, learned, width);
    wn_free(learned);
}

/* hidden = embeddings of another width, times project_in. */
static void project_in(const struct wn_model *model, const int32_t *ids, int64_t rows, float *hidden)
{
    int64_t width = model->config.hidden_size, size = wn_embedding_size(&model->config);
    float *stored = wn_alloc(rows * size, sizeof *stored);
    for (int64_t r = 0; r < rows; r++)
        wn_tensor_to_float(model->embedding, ids[r] * size, size, stored + r * size);
    wn_linear_few_rows(stored, rows, size, model->project_in, width, NULL, hidden, width);
    wn_free(stored);
}

void wn_model_embed(const struct wn_model *model, const int32_t *ids, const int64_t *positions, int64_t rows,
                    float *hidden)
{
    int64_t width = model->config.hidden_size;
    if (model->positions && !positions)
        WN_BUG("the model has learned positions, and none are given");
    if (model->project_in)
        project_in(model, ids, rows, hidden);
#pragma omp parallel for schedule(static) if (rows * width > PIECE)
    for (int64_t r = 0; r < rows; r++)
        embed_row(model, ids[r], positions ? positions[r] : 0, hidden + r * width);
    if (model->embedding_norm)
        wn_layer_norm(hidden, rows, width, model->embedding_norm, model->embedding_norm_bias, model->config.norm_eps,
                      hidden);
}

/* What rounding does to a row, or more of it: the same whoever embeds it. */
static void perturb_row(const struct wn_sequences *sequences, int64_t row, int64_t width, float *hidden)
{
    enum { STREAM = 0x70657274 };
    for (int64_t j = 0; j < width; j++) {
        double drawn = wn_random_uniform((uint64_t)sequences->noise_seed, STREAM, (uint64_t)(row * width + j));
        hidden[j] = (float)((double)hidden[j] * (1 + sequences->noise * (2 * drawn - 1)));
    }
}

void wn_sequences_embed(const struct wn_model *model, const struct wn_sequences *sequences, int64_t first, int64_t rows,
                        float *hidden)
{
    int64_t *positions = model->positions ? wn_alloc(rows, sizeof *positions) : NULL, s = 0;
    for (int64_t r = 0; positions && r < rows; r++) {
        while (sequences->offset[s + 1] <= first + r)
            s++;
        positions[r] = (sequences->start ? sequences->start[s] : 0) + first + r - sequences->offset[s];
    }
    wn_model_embed(model, sequences->ids + first, positions, rows, hidden);
    wn_free(positions);
    int64_t width = model->config.hidden_size;
    if (!(sequences->noise > 0))
        return;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        perturb_row(sequences, first + r, width, hidden + r * width);
}

/* ---- the end ---- */

void wn_model_final_norm(const struct wn_model *model, const float *hidden, int64_t rows, float *states)
{
    const struct wn_config *config = &model->config;
    if (!model->final_norm) {
        if (states != hidden)
            memcpy(states, hidden, (size_t)(rows * config->hidden_size) * sizeof *states);
    } else if (config->decoder.norm == WN_NORM_LAYER)
        wn_layer_norm(hidden, rows, config->hidden_size, model->final_norm, model->final_norm_bias, config->norm_eps,
                      states);
    else
        wn_rms_norm(hidden, rows, config->hidden_size, model->final_norm, 0, config->norm_eps, states);
}

/* Head rows that are converted at a time: with the 8 tiles of rows of a chunk, four tiles of logits per thread. */
static int64_t panel_rows(const struct wn_model *model)
{
    int64_t panels = omp_get_max_threads() / 2, rows;
    rows = (panels < LEAST_PANELS ? LEAST_PANELS : panels) * WN_TILE_COLUMNS;
    return model->config.vocab_size < rows ? model->config.vocab_size : rows;
}

int64_t wn_model_head_scratch(const struct wn_model *model)
{
    return panel_rows(model) * wn_embedding_size(&model->config);
}

/* Head rows first .. first + count - 1 as fp32: in place when the file has them so, else converted into `scratch`. */
static const float *head_panel(const struct wn_model *model, int64_t first, int64_t count, float *scratch)
{
    const struct wn_tensor *head = model->head;
    int64_t width = wn_embedding_size(&model->config);
    if (head->dtype == WN_F32 && (uintptr_t)head->data % sizeof(float) == 0)
        return (const float *)(const void *)head->data + first * width;
#pragma omp parallel for schedule(static) if (count * width > PIECE)
    for (int64_t r = 0; r < count; r++)
        wn_tensor_to_float(head, (first + r) * width, width, scratch + r * width);
    return scratch;
}

void wn_model_shape_logits(const struct wn_model *model, int64_t rows, float *logits)
{
    const struct wn_decoder *decoder = &model->config.decoder;
    int64_t count = rows * model->config.vocab_size;
    if (decoder->logits_divisor > 0)
        wn_scale(logits, (float)(1 / decoder->logits_divisor), count);
    if (decoder->logits_softcap > 0)
        wn_soft_cap(logits, (float)decoder->logits_softcap, count);
}

float *wn_model_project_out(const struct wn_model *model, const float *states, int64_t rows)
{
    int64_t width = model->config.hidden_size, size = wn_embedding_size(&model->config);
    float *projected = model->project_out ? wn_alloc(rows * size, sizeof *projected) : NULL;
    if (projected)
        wn_linear_few_rows(states, rows, width, model->project_out, size, NULL, projected, size);
    return projected;
}

/* Rows in runs, each cut into tiles of its own; n_runs 0: row[0] few rows. */
static void logits_by(const struct wn_model *model, const float *states, int64_t n_runs, const int64_t *row,
                      float *logits, float *scratch)
{
    int64_t vocabulary = model->config.vocab_size, width = wn_embedding_size(&model->config), most = panel_rows(model);
    float *projected = wn_model_project_out(model, states, row[n_runs]);
    if (projected)
        states = projected;
    for (int64_t first = 0; first < vocabulary; first += most) {
        int64_t count = first + most < vocabulary ? most : vocabulary - first;
        const float *panel = head_panel(model, first, count, scratch);
        const struct wn_linear_map map = {.w = panel, .out = count, .y = logits + first, .stride = vocabulary};
        if (n_runs > 0)
            wn_linears(states, n_runs, row, width, &map, 1);
        else
            wn_linear_few_rows(states, row[0], width, panel, count, NULL, map.y, vocabulary);
    }
    wn_model_shape_logits(model, row[n_runs], logits);
    wn_free(projected);
}

void wn_model_logits_of_runs(const struct wn_model *model, const float *states, int64_t n_runs, const int64_t *row,
                             float *logits, float *scratch)
{
    logits_by(model, states, n_runs, row, logits, scratch);
}

void wn_model_logits(const struct wn_model *model, const float *states, int64_t rows, float *logits, float *scratch)
{
    const int64_t row[] = {0, rows};
    logits_by(model, states, 1, row, logits, scratch);
}

void wn_model_logits_few_rows(const struct wn_model *model, const float *states, int64_t rows, float *logits,
                              float *scratch)
{
    logits_by(model, states, 0, &rows, logits, scratch);
}
