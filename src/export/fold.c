/* SPDX-License-Identifier: Apache-2.0 */
/* fold.c: see fold.h. */
#include <string.h>

#include "files.h"
#include "fold.h"

/* The number of a tensor of a block in the checkpoint; -1: it is not there. */
static int64_t find_tensor(const struct wn_model *model, int64_t block, const char *name)
{
    char *whole = wn_block_tensor(&model->layout, block, name, "");
    const struct wn_tensor *tensor = wn_checkpoint_find(model->checkpoint, whole);
    wn_free(whole);
    return tensor ? tensor - wn_checkpoint_at(model->checkpoint, 0) : -1;
}

static int64_t find_bias(const struct wn_model *model, int64_t block, int linear)
{
    const struct wn_linear_info *info = &model->layout.linears[linear];
    char *name = wn_format("%s.bias", wn_linear_tensor(info));
    int64_t tensor = info->bias ? find_tensor(model, block, name) : -1;
    wn_free(name);
    return tensor;
}

void wn_export_fold_create(struct wn_export_fold *fold, const struct wn_model *model)
{
    const int64_t n_tensors = wn_checkpoint_count(model->checkpoint);
    *fold = (struct wn_export_fold){.model = model};
    fold->coded = wn_alloc_zero(model->layout.n_linears, sizeof *fold->coded);
    fold->input_scales = wn_alloc_zero(model->layout.n_linears, sizeof *fold->input_scales);
    fold->by = wn_alloc_zero(n_tensors, sizeof *fold->by);
    fold->offset = wn_alloc_zero(n_tensors, sizeof *fold->offset);
}

void wn_export_fold_mark(const struct wn_export_fold *fold, bool *divided)
{
    const struct wn_layout *layout = &fold->model->layout;
    for (int64_t b = 0; b < fold->model->config.n_blocks; b++)
        for (int i = 0; i < layout->n_inputs; i++) {
            int vectors[2], count = wn_input_vectors(layout, i, vectors);
            for (int v = 0; v < count; v++) {
                int64_t tensor = find_tensor(fold->model, b, layout->vectors[vectors[v]].name);
                if (tensor >= 0)
                    divided[tensor] = true;
            }
            int64_t bias = layout->producer_linear[i] < 0 ? -1 : find_bias(fold->model, b, layout->producer_linear[i]);
            if (bias >= 0)
                divided[bias] = true;
        }
}

/* ---- a block ---- */

static void divide_tensor(struct wn_export_fold *fold, int64_t tensor, const float *by, int64_t width, double offset)
{
    if (tensor < 0)
        return;
    fold->by[tensor] = wn_alloc(width, sizeof **fold->by);
    memcpy(fold->by[tensor], by, (size_t)width * sizeof *by);
    fold->offset[tensor] = offset;
}

/* The scale of an input: that of any of its linears which has codes. */
static const float *scale_of(const struct wn_export_fold *fold, int input)
{
    const struct wn_layout *layout = &fold->model->layout;
    for (int l = 0; l < layout->n_linears; l++)
        if (layout->linears[l].input == input && fold->input_scales[l])
            return fold->input_scales[l];
    return NULL;
}

static void divide_producer(struct wn_export_fold *fold, int input, const float *by)
{
    const struct wn_layout *layout = &fold->model->layout;
    const int64_t width = layout->input_widths[input];
    const int linear = layout->producer_linear[input];
    int vectors[2], count = wn_input_vectors(layout, input, vectors);
    for (int v = 0; v < count; v++)
        divide_tensor(fold, find_tensor(fold->model, fold->block, layout->vectors[vectors[v]].name), by, width,
                      layout->vectors[vectors[v]].offset);
    if (linear < 0)
        return;
    wn_export_coded_divide(&fold->coded[linear], by);
    divide_tensor(fold, find_bias(fold->model, fold->block, linear), by, width, 0);
}

static bool is_whole(const struct wn_export_fold *fold)
{
    int count = 0;
    for (int l = 0; l < fold->model->layout.n_linears; l++)
        count += wn_is_in(&fold->model->config, fold->model->layout.linears[l].where, fold->block);
    return fold->held == count;
}

wn_status wn_export_fold_take(struct wn_export_fold *fold, int64_t block, int linear, const char *name,
                              struct wn_export_coded *coded, const struct wn_compressed *compressed, bool *whole)
{
    const struct wn_layout *layout = &fold->model->layout;
    const int input = layout->linears[linear].input;
    if (fold->held && block != fold->block)
        WN_BUG("%s: block %lld is not whole", name, (long long)fold->block);
    fold->block = block;
    fold->held++;
    fold->coded[linear] = *coded;
    *coded = (struct wn_export_coded){0};
    *whole = is_whole(fold);
    if (compressed->input_scale) {
        if (layout->producer_vector[input] < 0 && layout->producer_linear[input] < 0)
            return wn_fail(WN_ERR_UNSUPPORTED,
                           "%s: its inputs have scales, and nothing that a file could divide makes them", name);
        fold->input_scales[linear] = wn_alloc(compressed->columns, sizeof **fold->input_scales);
        memcpy(fold->input_scales[linear], compressed->input_scale,
               (size_t)compressed->columns * sizeof **fold->input_scales);
    }
    for (int i = 0; *whole && i < layout->n_inputs; i++)
        if (scale_of(fold, i))
            divide_producer(fold, i, scale_of(fold, i));
    return WN_OK;
}

void wn_export_fold_next(struct wn_export_fold *fold)
{
    for (int l = 0; fold->model && l < fold->model->layout.n_linears; l++) {
        wn_export_coded_release(&fold->coded[l]);
        wn_free(fold->input_scales[l]);
        fold->input_scales[l] = NULL;
    }
    fold->held = 0;
}

/* ---- vectors ---- */

void wn_export_fold_divide(const struct wn_export_fold *fold, int64_t tensor, int64_t first, int64_t count,
                           float *values)
{
    const float *by = fold->by[tensor], offset = (float)fold->offset[tensor];
    for (int64_t i = 0; by && i < count; i++)
        values[i] = (values[i] + offset) / by[first + i] - offset;
}

void wn_export_fold_release(struct wn_export_fold *fold)
{
    wn_export_fold_next(fold);
    for (int64_t i = 0; fold->model && i < wn_checkpoint_count(fold->model->checkpoint); i++)
        wn_free(fold->by[i]);
    wn_free(fold->coded);
    wn_free(fold->input_scales);
    wn_free(fold->by);
    wn_free(fold->offset);
}
