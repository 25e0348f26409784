/* walk.c: small pieces shared by the walks over a model's blocks: statistics taps and their tables. */
#include <string.h>

#include <winnow/linalg.h>

#include "sweep_impl.h"

int64_t wn_layout_input_total(const struct wn_layout *layout)
{
    return wn_layout_input_offset(layout, layout->n_inputs);
}

int64_t wn_layout_input_offset(const struct wn_layout *layout, int input)
{
    int64_t offset = 0;
    for (int i = 0; i < input; i++)
        offset += layout->input_widths[i];
    return offset;
}

void wn_squares_take(void *context, int input, const float *x, int64_t rows, int64_t width)
{
    struct wn_squares_tap *tap = context;
    wn_add_column_squares(x, rows, width, tap->squares + wn_layout_input_offset(tap->layout, input));
}

void wn_collect_squares(const struct wn_model *model, const struct wn_block *block,
                        const struct wn_sequences *sequences, int64_t index, const float *hidden, float *copy,
                        float *scratch, int64_t *offset, double *squares)
{
    struct wn_chunk chunk;
    struct wn_squares_tap squares_tap = {&model->layout, squares};
    struct wn_tap tap = {wn_squares_take, &squares_tap};
    wn_sequences_chunk(sequences, index, offset, &chunk);
    int64_t count = chunk.offset[chunk.n_sequences] * model->config.hidden_size;
    memcpy(copy, hidden, (size_t)count * sizeof(float));
    wn_model_run_block(model, block, &chunk, copy, scratch, &tap);
}

void wn_run_block_on(const struct wn_model *model, const struct wn_block *block, const struct wn_sequences *sequences,
                     float *hidden, float *scratch, int64_t *offset)
{
    for (int64_t c = 0; c < sequences->n_chunks; c++) {
        struct wn_chunk chunk;
        int64_t row = wn_sequences_chunk(sequences, c, offset, &chunk);
        wn_model_run_block(model, block, &chunk, hidden + row * model->config.hidden_size, scratch, NULL);
    }
}
