/* SPDX-License-Identifier: Apache-2.0 */
/* gguf.c: the tensors of a point in a GGUF file. */
#include <string.h>

#include "files.h"
#include "gguf.h"

enum { ROWS = 64 }; /* rows of a table that are converted at a time */

/* ---- names and shapes, before any tensor ---- */

/* The name of its tensor below the block; owned by the caller. */
static char *tensor_of(const struct wn_linear_info *linear, const char *ending)
{
    return wn_format("%s.%s", wn_linear_tensor(linear), ending);
}

/* A tensor that several linears share is that of the first. */
static bool has_tensor(const struct wn_linear_info *linear)
{
    return !linear->source.rows || linear->source.first == 0;
}

static void reserve_linears(struct wn_export_gguf *gguf, int64_t block, int64_t place)
{
    const struct wn_layout *layout = &gguf->model->layout;
    for (int l = 0; l < layout->n_linears; l++)
        for (int is_bias = 0; is_bias <= layout->linears[l].bias; is_bias++) {
            const struct wn_linear_info *linear = &layout->linears[l];
            if (!wn_is_in(&gguf->model->config, linear->where, block) || !has_tensor(linear))
                continue;
            char *own = tensor_of(linear, is_bias ? "bias" : "weight");
            char *name = wn_export_gguf_name(gguf->model, place, own);
            wn_gguf_reserve(&gguf->file, name, is_bias ? 1 : 2);
            wn_free(name);
            wn_free(own);
        }
}

static void reserve_vectors(struct wn_export_gguf *gguf, int64_t place)
{
    const struct wn_layout *layout = &gguf->model->layout;
    for (int v = 0; v < layout->n_vectors; v++) {
        char *name = wn_export_gguf_name(gguf->model, place, layout->vectors[v].name);
        wn_gguf_reserve(&gguf->file, name, 1);
        wn_free(name);
    }
}

/* Of 64 bits, and of 8 with factors, there is F32 alone. */
static enum wn_dtype dtype_of(const struct wn_export_gguf *gguf, enum wn_dtype source)
{
    const bool as_there = gguf->form->packing == WN_PACKING_GGUF || gguf->form->numbers == WN_OTHER;
    const enum wn_dtype dtype = as_there ? source : gguf->form->numbers;
    return dtype == WN_BF16 || dtype == WN_F16 ? dtype : WN_F32;
}

/* What divides the frequencies of pairs. */
struct factors {
    const char *name;
    float values[WN_ROPE_PAIRS];
};

/* Those of scaled rotations that are tensors of the file; returns how many. */
static int rope_factors(const struct wn_model *model, struct factors factors[2])
{
    const struct wn_rope *rope = &model->config.rope;
    if (rope->kind == WN_ROPE_LLAMA3) {
        factors[0].name = "rope_freqs.weight";
        wn_rope_llama3_divisors(rope, model->config.head_dim, factors[0].values);
        return 1;
    }
    if (rope->kind != WN_ROPE_LONGROPE)
        return 0;
    factors[0].name = "rope_factors_long.weight";
    factors[1].name = "rope_factors_short.weight";
    memcpy(factors[0].values, rope->long_factor, sizeof rope->long_factor);
    memcpy(factors[1].values, rope->short_factor, sizeof rope->short_factor);
    return 2;
}

wn_status wn_export_gguf_create(struct wn_export_gguf *gguf, const struct wn_model *model,
                                const struct wn_export_form *form, const char *folder, const int64_t *place)
{
    struct factors factors[2];
    const char *reason = wn_export_gguf_blocks_reason(model, place);
    if (reason)
        return wn_fail(WN_ERR_INPUT, "gguf cannot hold what is left of the model: %s", reason);
    char *path = wn_join_path(folder, WN_EXPORT_GGUF);
    gguf->model = model;
    gguf->form = form;
    wn_status status = wn_gguf_create(&gguf->file, path);
    wn_free(path);
    WN_TRY(status);
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        if (place[b] >= 0) {
            reserve_linears(gguf, b, place[b]);
            reserve_vectors(gguf, place[b]);
        }
    wn_gguf_reserve(&gguf->file, "token_embd.weight", 2);
    wn_gguf_reserve(&gguf->file, "output_norm.weight", 1);
    if (wn_export_gguf_has_head(model))
        wn_gguf_reserve(&gguf->file, "output.weight", 2);
    for (int i = rope_factors(model, factors) - 1; i >= 0; i--)
        wn_gguf_reserve(&gguf->file, factors[i].name, 1);
    wn_export_gguf_put_model(&gguf->file, model, place, form->blocks);
    return wn_export_gguf_put_tokenizer(&gguf->file, model);
}

/* ---- linears ---- */

/* The row of a linear that stands in row `row` of the file: llama.cpp rotates neighbours, checkpoints j and j + d/2. */
static int64_t row_of(int64_t heads, int64_t rows, int64_t row)
{
    const int64_t size = heads ? rows / heads : 0, at = heads ? row % size : 0;
    return heads ? row - at + at % 2 * (size / 2) + at / 2 : row;
}

/* Begins its tensor, or goes on with the one that it shares. Returns the name; owned by the caller. */
static char *begin_linear(struct wn_export_gguf *gguf, int64_t place, const struct wn_linear_info *linear,
                          enum wn_gguf_type type)
{
    const int64_t shape[2] = {wn_linear_tensor_rows(linear), linear->columns};
    char *own = tensor_of(linear, "weight"), *name = wn_export_gguf_name(gguf->model, place, own);
    if (has_tensor(linear)) {
        wn_gguf_begin(&gguf->file, name, type, 2, shape);
        gguf->fused = 0;
    }
    if (linear->source.rows && linear->source.first != gguf->fused)
        WN_BUG("%s: its linears do not come in the order of their rows", name);
    gguf->fused += linear->rows;
    gguf->weights += (double)(linear->rows * linear->columns);
    wn_free(own);
    return name;
}

static int block_bytes(enum wn_gguf_type type)
{
    return type == WN_GGUF_Q8_0 ? 34 : type == WN_GGUF_Q4_1 ? 20 : 18;
}

/* Numbers as f16, and how many of them it does not hold. */
static wn_status to_f16(struct wn_export_gguf *gguf, const char *name, const float *values, int64_t count,
                        uint16_t *stored)
{
    gguf->numbers += count;
    return wn_export_round(name, WN_F16, values, count, stored, &gguf->rounded);
}

/* Weights first .. first + 31 of a row; grid: its scale and zero point. */
static void put_block(const struct wn_export_coded *c, int64_t row, int64_t first, enum wn_gguf_type type,
                      const uint16_t *scales, const uint16_t *minima, uint8_t *out)
{
    const int64_t grid = row * c->n_groups + c->group[first];
    const uint8_t *codes = c->codes + row * c->columns + first;
    const int zero = c->zeros[grid], shift = type == WN_GGUF_Q4_1 ? 0 : type == WN_GGUF_Q4_0 ? 8 - zero : -zero;
    memcpy(out, &scales[grid], 2);
    out += 2;
    if (type == WN_GGUF_Q4_1) {
        memcpy(out, &minima[grid], 2);
        out += 2;
    }
    for (int i = 0; type == WN_GGUF_Q8_0 && i < WN_GGUF_BLOCK; i++)
        out[i] = (uint8_t)(int8_t)(codes[i] + shift);
    for (int i = 0; type != WN_GGUF_Q8_0 && i < WN_GGUF_BLOCK / 2; i++)
        out[i] = (uint8_t)((codes[i] + shift) | (codes[i + WN_GGUF_BLOCK / 2] + shift) << 4);
}

wn_status wn_export_gguf_codes(struct wn_export_gguf *gguf, int64_t place, const struct wn_linear_info *linear,
                               const struct wn_export_coded *c)
{
    const enum wn_gguf_type type = (enum wn_gguf_type)gguf->form->blocks;
    const int64_t grids = c->rows * c->n_groups, blocks = c->columns / WN_GGUF_BLOCK, size = block_bytes(type);
    const int64_t heads = wn_export_gguf_rotated_heads(gguf->model, linear->name);
    float *minima = wn_alloc(grids, sizeof *minima);
    uint16_t *stored = wn_alloc(2 * grids, sizeof *stored);
    uint8_t *bytes = wn_alloc(c->rows * blocks, size);
    char *name = begin_linear(gguf, place, linear, type);
    for (int64_t i = 0; i < grids; i++)
        minima[i] = -c->scales[i] * (float)c->zeros[i];
    wn_status status = to_f16(gguf, name, c->scales, grids, stored);
    if (status == WN_OK && type == WN_GGUF_Q4_1)
        status = to_f16(gguf, name, minima, grids, stored + grids);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < c->rows; row++)
        for (int64_t b = 0; b < blocks; b++)
            put_block(c, row_of(heads, c->rows, row), b * WN_GGUF_BLOCK, type, stored, stored + grids,
                      bytes + (row * blocks + b) * size);
    gguf->bytes += c->rows * blocks * size;
    if (status == WN_OK)
        status = wn_gguf_append(&gguf->file, bytes, c->rows * blocks * size);
    wn_free(name);
    wn_free(bytes);
    wn_free(stored);
    wn_free(minima);
    return status;
}

/* ---- numbers ---- */

static wn_status put_numbers(struct wn_export_gguf *gguf, const char *name, enum wn_dtype dtype, const float *values,
                             int64_t count)
{
    uint8_t *bytes = wn_alloc(count, sizeof *values);
    wn_status status = wn_export_round(name, dtype, values, count, bytes, &gguf->rounded);
    gguf->numbers += count;
    if (status == WN_OK)
        status = wn_gguf_append(&gguf->file, bytes, count * wn_dtype_bytes(dtype));
    wn_free(bytes);
    return status;
}

wn_status wn_export_gguf_numbers(struct wn_export_gguf *gguf, int64_t place, const struct wn_linear_info *linear,
                                 enum wn_dtype source, const float *weight)
{
    const enum wn_dtype dtype = dtype_of(gguf, source);
    const int64_t heads = wn_export_gguf_rotated_heads(gguf->model, linear->name);
    char *name = begin_linear(gguf, place, linear, wn_gguf_type_of_dtype(dtype));
    wn_status status = WN_OK;
    for (int64_t row = 0; row < linear->rows && status == WN_OK; row++)
        status = put_numbers(gguf, name, dtype, weight + row_of(heads, linear->rows, row) * linear->columns,
                             linear->columns);
    gguf->bytes += linear->rows * linear->columns * wn_dtype_bytes(dtype);
    wn_free(name);
    return status;
}

static wn_status put_floats(struct wn_export_gguf *gguf, const char *name, const float *values, int64_t count)
{
    wn_gguf_begin(&gguf->file, name, WN_GGUF_F32, 1, &count);
    return wn_gguf_append(&gguf->file, values, count * (int64_t)sizeof *values);
}

/* A vector of the checkpoint as F32; heads: of the linear whose bias it is. */
static wn_status put_vector(struct wn_export_gguf *gguf, const char *name, const struct wn_tensor *tensor,
                            double offset, int64_t heads, const struct wn_export_fold *fold)
{
    const int64_t count = tensor->shape[0], number = tensor - wn_checkpoint_at(gguf->model->checkpoint, 0);
    float *values = wn_alloc(count, sizeof *values), *ordered = wn_alloc(count, sizeof *values);
    wn_tensor_to_float(tensor, 0, count, values);
    if (fold)
        wn_export_fold_divide(fold, number, 0, count, values);
    for (int64_t i = 0; i < count; i++)
        ordered[i] = values[row_of(heads, count, i)] + (float)offset;
    wn_status status = put_floats(gguf, name, ordered, count);
    wn_free(ordered);
    wn_free(values);
    return status;
}

static wn_status put_table(struct wn_export_gguf *gguf, const char *name, const struct wn_tensor *tensor)
{
    const enum wn_dtype dtype = dtype_of(gguf, tensor->dtype);
    const int64_t rows = tensor->shape[0], columns = tensor->shape[1];
    float *values = wn_alloc(ROWS * columns, sizeof *values);
    wn_status status = WN_OK;
    wn_gguf_begin(&gguf->file, name, wn_gguf_type_of_dtype(dtype), 2, tensor->shape);
    for (int64_t row = 0; row < rows && status == WN_OK; row += ROWS) {
        const int64_t count = (rows - row < ROWS ? rows - row : ROWS) * columns;
        wn_tensor_to_float(tensor, row * columns, count, values);
        status = put_numbers(gguf, name, dtype, values, count);
    }
    wn_free(values);
    return status;
}

/* own: the name below the block. */
static wn_status put_block_vector(struct wn_export_gguf *gguf, int64_t block, int64_t place, const char *own,
                                  double offset, int64_t heads, const struct wn_export_fold *fold)
{
    char *whole = wn_block_tensor(&gguf->model->layout, block, own, "");
    char *name = wn_export_gguf_name(gguf->model, place, own);
    const struct wn_tensor *tensor = wn_checkpoint_find(gguf->model->checkpoint, whole);
    wn_status status = put_vector(gguf, name, tensor, offset, heads, fold);
    wn_free(name);
    wn_free(whole);
    return status;
}

static wn_status put_block_vectors(struct wn_export_gguf *gguf, int64_t block, int64_t place,
                                   const struct wn_export_fold *fold)
{
    const struct wn_layout *layout = &gguf->model->layout;
    wn_status status = WN_OK;
    for (int v = 0; v < layout->n_vectors && status == WN_OK; v++)
        status = put_block_vector(gguf, block, place, layout->vectors[v].name, layout->vectors[v].offset, 0, fold);
    for (int l = 0; l < layout->n_linears && status == WN_OK; l++) {
        if (!layout->linears[l].bias)
            continue;
        char *own = wn_format("%s.bias", layout->linears[l].name);
        status = put_block_vector(gguf, block, place, own, 0,
                                  wn_export_gguf_rotated_heads(gguf->model, layout->linears[l].name), fold);
        wn_free(own);
    }
    return status;
}

wn_status wn_export_gguf_finish(struct wn_export_gguf *gguf, const int64_t *place, const struct wn_export_fold *fold)
{
    const struct wn_model *model = gguf->model;
    const int64_t pairs = wn_rope_dims(&model->config.rope, model->config.head_dim) / 2;
    struct factors factors[2];
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        if (place[b] >= 0)
            WN_TRY(put_block_vectors(gguf, b, place[b], fold));
    WN_TRY(put_table(gguf, "token_embd.weight", model->embedding));
    WN_TRY(put_vector(gguf, "output_norm.weight", wn_checkpoint_find(model->checkpoint, model->layout.final_norm),
                      model->config.decoder.norm_offset, 0, NULL));
    if (wn_export_gguf_has_head(model))
        WN_TRY(put_table(gguf, "output.weight", model->head));
    for (int i = rope_factors(model, factors) - 1; i >= 0; i--)
        WN_TRY(put_floats(gguf, factors[i].name, factors[i].values, pairs));
    return wn_gguf_finish(&gguf->file);
}

void wn_export_gguf_release(struct wn_export_gguf *gguf)
{
    wn_gguf_release(&gguf->file);
}
