/* SPDX-License-Identifier: Apache-2.0 */
/* sample.c: the reference sample: what the evaluated linears are off by on inputs of the dense model. */
#include <math.h>
#include <string.h>

#include <winnow/linalg.h>

#include "walk.h"

enum { SAMPLE_ROWS = 256 }; /* of a tile */

void wn_sample_open(struct wn_sample *sample, const struct wn_subject *subject)
{
    const struct wn_layout *layout = &subject->model->layout;
    int64_t tokens = wn_sequences_tokens(&subject->prepared->sample), widest = wn_layout_widest_output(layout);
    sample->hidden = wn_workspace_embed(subject->model, &subject->prepared->sample);
    sample->all = wn_alloc_zero(wn_model_input_floats(subject->model, tokens), sizeof(float));
    if (wn_recipe_needs(&subject->point->recipe) & WN_NEED_ABSOLUTE_MAXIMA)
        sample->scaled = wn_alloc(tokens * wn_layout_widest_input(layout), sizeof(float));
    sample->dense = wn_alloc(tokens * widest, sizeof(float));
    sample->compressed = wn_alloc(tokens * widest, sizeof(float));
}

void wn_sample_release(struct wn_sample *sample)
{
    wn_free(sample->hidden);
    wn_free(sample->all);
    wn_free(sample->scaled);
    wn_free(sample->dense);
    wn_free(sample->compressed);
    *sample = (struct wn_sample){0};
}

static void take_sample(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct wn_sample *sample = context;
    sample->rows[input] = row[n_chunks];
    sample->begin[input] = sample->used;
    sample->used += row[n_chunks] * width;
    wn_copy_floats(sample->all + sample->begin[input], x, row[n_chunks] * width);
}

void wn_sample_push(struct wn_sample *sample, const struct wn_subject *subject, struct wn_workspace *workspace,
                    const struct wn_block *dense)
{
    const struct wn_sequences *sequences = &subject->prepared->sample;
    struct wn_chunk chunk;
    struct wn_tap tap = {.take = take_sample, .context = sample};
    memset(sample->rows, 0, sizeof sample->rows);
    memset(sample->begin, 0, sizeof sample->begin);
    sample->used = 0;
    if (sequences->n_chunks == 0)
        return;
    wn_sequences_chunk(sequences, 0, workspace->offset, &chunk);
    wn_model_run_block(subject->model, dense, &chunk, sample->hidden, workspace->scratch, &tap);
    workspace->tokens += (double)wn_sequences_tokens(sequences);
}

static const float *inputs_of(const struct wn_sample *sample, int input)
{
    return sample->all + sample->begin[input];
}

/* The inputs of the sample as the evaluated block has them. */
static const float *scaled_inputs(struct wn_sample *sample, const float *x, const float *scale, int64_t tokens,
                                  int64_t width)
{
    if (!scale)
        return x;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < tokens; r++)
        for (int64_t j = 0; j < width; j++)
            sample->scaled[r * width + j] = x[r * width + j] / scale[j];
    return sample->scaled;
}

/* What a rule makes of the sample. */
static void rule_outputs(struct wn_sample *sample, const struct wn_subject *subject, int index, const float *weight,
                         const struct wn_activation *rule, const float *scale)
{
    const struct wn_sequences *sequences = &subject->prepared->sample;
    const struct wn_linear_info *linear = &subject->model->layout.linears[index];
    const int64_t rows = sample->rows[linear->input], all[2] = {0, rows};
    const bool routed = subject->model->layout.input_experts[linear->input];
    struct wn_chunk chunk;
    if (rows == 0)
        return;
    int64_t *offset = wn_alloc(sequences->n_sequences + 1, sizeof *offset);
    wn_sequences_chunk(sequences, 0, offset, &chunk);
    struct wn_linear_call call = {
        .n_sequences = routed ? 1 : chunk.n_sequences,
        .offset = routed ? all : chunk.offset,
        .x = scaled_inputs(sample, inputs_of(sample, linear->input), scale, rows, linear->columns),
        .in = linear->columns,
        .weight = weight,
        .out = linear->rows,
        .y = sample->compressed};
    rule->compute(rule, &call);
    wn_free(offset);
}

/* What the dense and the evaluated linear make of the sample: both at once, and in runs of rows, which makes more tiles
 * for many threads. */
static void linear_outputs(struct wn_sample *sample, const struct wn_linear_info *linear, int64_t rows,
                           const float *dense, const float *compressed)
{
    const struct wn_linear_map maps[] = {
        {.w = dense, .out = linear->rows, .y = sample->dense, .stride = linear->rows},
        {.w = compressed, .out = linear->rows, .y = sample->compressed, .stride = linear->rows}};
    int64_t n_runs = (rows + SAMPLE_ROWS - 1) / SAMPLE_ROWS, *row = wn_alloc(n_runs + 1, sizeof *row);
    for (int64_t i = 0; i <= n_runs; i++)
        row[i] = i < n_runs ? i * SAMPLE_ROWS : rows;
    wn_linears(inputs_of(sample, linear->input), n_runs, row, linear->columns, maps, compressed ? 2 : 1);
    wn_free(row);
}

double wn_sample_error(struct wn_sample *sample, const struct wn_subject *subject, int linear, const float *dense,
                       const float *compressed, const struct wn_activation *rule, const float *scale)
{
    const struct wn_linear_info *info = &subject->model->layout.linears[linear];
    int64_t rows = sample->rows[info->input], count = rows * info->rows;
    if (dense == compressed)
        return 0;
    if (rows == 0 && subject->model->layout.input_experts[info->input])
        return (double)NAN;
    linear_outputs(sample, info, rows, dense, rule ? NULL : compressed);
    if (rule)
        rule_outputs(sample, subject, linear, compressed, rule, scale);
    return sqrt(wn_sum_squared_difference(sample->dense, sample->compressed, count) /
                wn_sum_squared_difference(sample->dense, NULL, count));
}
