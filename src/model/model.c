/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint directory: opened and checked as a whole, converted block by block. */
#include <winnow/linalg.h>
#include <winnow/model.h>

#include "tensors.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MOST_TENSOR_PROBLEMS = 20, /* lines; more are counted in one line */
    PIECE = 1 << 18,           /* elements converted by one thread at a time */
    TURNED = 16                /* rows of a transposed tensor that are turned at a time */
};

static const int64_t MOST_SCRATCH = (int64_t)2 << 30; /* bytes for a group of chunks */
static const double GOOD_SHARE = 0.95;                /* of the speed-up that threads could give */

/* ---- opening ---- */

struct checker {
    const struct wn_model *model;
    struct wn_problems *problems;
    const char *place; /* where an absent tensor should be: the file, or the directory of several */
    int64_t n_wrong;
    bool *used; /* [tensors of the checkpoint] */
};

/* "[256, 64]" */
static void shape_text(int n_dims, const int64_t *shape, char text[128])
{
    size_t used = (size_t)snprintf(text, 128, "[");
    for (int i = 0; i < n_dims && used < 100; i++)
        used += (size_t)snprintf(text + used, 128 - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
    snprintf(text + used, 128 - used, "]");
}

static bool same_shape(const struct wn_tensor *tensor, int n_dims, const int64_t *shape)
{
    bool same = tensor->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++)
        same = tensor->shape[i] == shape[i];
    return same;
}

/* Adds a line when the tensor is absent or has another shape or dtype. */
static void check_shape(struct checker *checker, const char *name, int n_dims, const int64_t *shape)
{
    const struct wn_tensor *tensor = wn_checkpoint_find(checker->model->checkpoint, name);
    char expected[128], found[128];
    bool fits = tensor && same_shape(tensor, n_dims, shape);
    if (tensor)
        checker->used[tensor - wn_checkpoint_at(checker->model->checkpoint, 0)] = true;
    if (fits && tensor->dtype != WN_OTHER)
        return;
    if (++checker->n_wrong > MOST_TENSOR_PROBLEMS)
        return;
    shape_text(n_dims, shape, expected);
    if (!tensor) {
        wn_problems_add(checker->problems, "%s: the tensor \"%s\" is missing, expected with shape %s", checker->place,
                        name, expected);
    } else if (!fits) {
        shape_text(tensor->n_dims, tensor->shape, found);
        wn_problems_add(checker->problems, "%s: tensor \"%s\": the shape is %s, expected %s", tensor->file, name, found,
                        expected);
    } else {
        wn_problems_add(checker->problems,
                        "%s: tensor \"%s\": the dtype is %s, expected F64, F32, F16, BF16, F8_E4M3 or F8_E5M2",
                        tensor->file, name, tensor->dtype_name);
    }
}

/* `columns` 0: a vector. */
static void check_tensor(struct checker *checker, const char *name, int64_t rows, int64_t columns)
{
    check_shape(checker, name, columns ? 2 : 1, (const int64_t[]){rows, columns});
}

static void check_block_tensor(struct checker *checker, int64_t block, const char *name, const char *ending,
                               int64_t rows, int64_t columns)
{
    char *full = wn_block_tensor(&checker->model->layout, block, name, ending);
    check_tensor(checker, full, rows, columns);
    wn_free(full);
}

static int64_t parts_of(const struct wn_vector_info *info)
{
    return info->parts ? info->parts : 1;
}

/* The name of a tensor of a vector; owned by the caller. */
static char *part_name(const struct wn_vector_info *info, int64_t part)
{
    const char *number = info->parts ? strstr(info->name, "%d") : NULL;
    return number ? wn_format("%.*s%lld%s", (int)(number - info->name), info->name, (long long)part, number + 2)
                  : wn_strdup(info->name);
}

static void check_vector_of_block(struct checker *checker, int64_t block, const struct wn_vector_info *info)
{
    for (int64_t part = 0; part < parts_of(info); part++) {
        char *name = part_name(info, part);
        check_block_tensor(checker, block, name, "", info->size / parts_of(info) / (info->columns ? info->columns : 1),
                           info->columns);
        wn_free(name);
    }
}

static void check_stacked(struct checker *checker, int64_t block, const struct wn_linear_info *linear)
{
    const int64_t count = linear->source.stacked;
    char *full = wn_block_tensor(&checker->model->layout, block, wn_linear_tensor(linear), "");
    check_shape(checker, full, 3, (const int64_t[]){count, linear->source.rows / count, linear->columns});
    wn_free(full);
}

/* A fused tensor belongs to the linear that begins it. */
static void check_block(struct checker *checker, int64_t block)
{
    const struct wn_layout *layout = &checker->model->layout;
    const struct wn_config *config = &checker->model->config;
    for (int i = 0; i < layout->n_vectors; i++)
        if (wn_is_in(config, layout->vectors[i].where, block))
            check_vector_of_block(checker, block, &layout->vectors[i]);
    for (int i = 0; i < layout->n_linears; i++) {
        const struct wn_linear_info *linear = &layout->linears[i];
        int64_t rows = wn_linear_tensor_rows(linear), columns = linear->columns;
        if (linear->source.first || !wn_is_in(config, linear->where, block))
            continue;
        if (linear->source.stacked) {
            check_stacked(checker, block, linear);
            continue;
        }
        check_block_tensor(checker, block, wn_linear_tensor(linear), ".weight",
                           linear->source.transposed ? columns : rows, linear->source.transposed ? rows : columns);
        if (linear->bias)
            check_block_tensor(checker, block, wn_linear_tensor(linear), ".bias", rows, 0);
    }
}

static void check_vector(struct checker *checker, const char *name)
{
    if (name[0])
        check_tensor(checker, name, checker->model->config.hidden_size, 0);
}

/* What stands between the embedding and the blocks, and behind them. */
static void check_outer(struct checker *checker)
{
    const struct wn_layout *layout = &checker->model->layout;
    int64_t width = checker->model->config.hidden_size, size = wn_embedding_size(&checker->model->config);
    if (layout->positions[0])
        check_tensor(checker, layout->positions, layout->n_positions, width);
    if (layout->project_in[0])
        check_tensor(checker, layout->project_in, width, size);
    if (layout->project_out[0])
        check_tensor(checker, layout->project_out, size, width);
    check_vector(checker, layout->embedding_norm);
    check_vector(checker, layout->embedding_norm_bias);
}

static void check_tensors(struct wn_model *model, struct wn_problems *problems)
{
    const char *const *files;
    const struct wn_config *config = &model->config;
    int64_t n_files = wn_checkpoint_files(model->checkpoint, &files);
    const char *quantized = wn_tensors_quantized(model);
    struct checker checker = {model, problems, n_files == 1 ? files[0] : model->directory, 0, NULL};
    if (quantized) {
        wn_problems_add(problems,
                        "%s: the names of its tensors say that the model is quantized already (%s): take the "
                        "checkpoint it was made from",
                        checker.place, quantized);
        return;
    }
    if (wn_checkpoint_scale(model->checkpoint, config->scale_block, config->scaled) != WN_OK) {
        wn_problems_add(problems, "%s", wn_error_message());
        return;
    }
    wn_tensors_rename(model);
    wn_tensors_stack_experts(model);
    wn_tensors_tie(model, problems);
    checker.used = wn_alloc_zero(wn_checkpoint_count(model->checkpoint), sizeof *checker.used);
    check_tensor(&checker, model->layout.embedding, config->vocab_size, wn_embedding_size(config));
    check_outer(&checker);
    for (int64_t b = 0; b < config->n_blocks; b++)
        check_block(&checker, b);
    check_vector(&checker, model->layout.final_norm);
    check_vector(&checker, model->layout.final_norm_bias);
    if (!config->tied && wn_checkpoint_find(model->checkpoint, model->layout.head)) /* else it is a mistake by now */
        check_tensor(&checker, model->layout.head, config->vocab_size, wn_embedding_size(config));
    if (checker.n_wrong > MOST_TENSOR_PROBLEMS)
        wn_problems_add(problems, "%s: %lld more tensors are missing or wrong", checker.place,
                        (long long)(checker.n_wrong - MOST_TENSOR_PROBLEMS));
    if (!checker.n_wrong)
        wn_tensors_tell_unused(model, checker.used);
    wn_free(checker.used);
}

/* False, with a line, when there is no folder to look into. */
static bool check_folder(const char *directory, struct wn_problems *problems)
{
    struct stat about;
    bool found = stat(directory, &about) == 0;
    if (found && S_ISDIR(about.st_mode))
        return true;
    char *parent = wn_directory_of(directory);
    bool alone = stat(parent, &about) != 0;
    wn_free(parent);
    if (found)
        wn_problems_add(problems,
                        "%s: is a file; expected the folder that holds config.json, tokenizer.json and weights",
                        directory);
    else if (lstat(directory, &about) == 0)
        wn_problems_add(problems, "%s: is a link to a folder that is not there", directory);
    else
        wn_problems_add(problems, "%s: there is no such model folder%s", directory,
                        alone ? "; if that is a name on a hub, download the model and give its folder" : "");
    return false;
}

static bool has_config(const char *directory)
{
    char *path = wn_join_path(directory, "config.json");
    bool found = wn_file_exists(path);
    wn_free(path);
    return found;
}

/*
 * Everything that was found, in the order config, files, tensors, tokenizer. A folder that is no model's is one
 * mistake: what it holds in place of weights says more than three missing files.
 */
static void open_parts(struct wn_model *model, struct wn_problems *problems)
{
    if (!check_folder(model->directory, problems))
        return;
    bool mapped = wn_checkpoint_open(model->directory, &model->checkpoint) == WN_OK;
    if (!mapped && !has_config(model->directory)) {
        wn_problems_add(problems, "%s", wn_error_message());
        return;
    }
    char *instead = mapped ? NULL : wn_strdup(wn_error_message());
    bool described = wn_arch_read(model->directory, &model->arch, &model->config) == WN_OK;
    if (described)
        model->arch->describe(&model->config, &model->layout);
    else
        wn_problems_add(problems, "%s", wn_error_message());
    if (!mapped)
        wn_problems_add(problems, "%s", instead);
    wn_free(instead);
    if (described && mapped)
        check_tensors(model, problems);
    if (wn_tokenizer_open(model->directory, &model->tokenizer) != WN_OK)
        wn_problems_add(problems, "%s", wn_error_message());
}

/* NULL for an empty name. */
static float *load_outer(const struct wn_model *model, const char *name, int64_t count, double offset)
{
    if (!name[0])
        return NULL;
    float *values = wn_alloc(count, sizeof *values);
    wn_tensor_to_float(wn_checkpoint_find(model->checkpoint, name), 0, count, values);
    for (int64_t j = 0; offset != 0 && j < count; j++)
        values[j] += (float)offset;
    return values;
}

static void bind_outer_tensors(struct wn_model *model)
{
    const struct wn_layout *layout = &model->layout;
    int64_t width = model->config.hidden_size;
    model->embedding = wn_checkpoint_find(model->checkpoint, layout->embedding);
    model->head = model->config.tied ? model->embedding : wn_checkpoint_find(model->checkpoint, layout->head);
    model->final_norm = load_outer(model, layout->final_norm, width, model->config.decoder.norm_offset);
    model->final_norm_bias = load_outer(model, layout->final_norm_bias, width, 0);
    model->embedding_norm = load_outer(model, layout->embedding_norm, width, 0);
    model->embedding_norm_bias = load_outer(model, layout->embedding_norm_bias, width, 0);
    model->project_in = load_outer(model, layout->project_in, width * wn_embedding_size(&model->config), 0);
    model->project_out = load_outer(model, layout->project_out, width * wn_embedding_size(&model->config), 0);
    if (layout->positions[0])
        model->positions = wn_checkpoint_find(model->checkpoint, layout->positions);
}

wn_status wn_model_open(const char *directory, struct wn_problems *problems, struct wn_model **model)
{
    struct wn_problems own;
    wn_problems_init(&own);
    *model = wn_alloc_zero(1, sizeof **model);
    (*model)->directory = wn_strdup(directory);
    open_parts(*model, &own);
    wn_status status = WN_OK;
    if (own.count == 0) {
        bind_outer_tensors(*model);
    } else {
        status = wn_fail(WN_ERR_INPUT, "%s", own.lines[0]);
        wn_model_close(model);
    }
    for (int64_t i = 0; problems && i < own.count; i++)
        wn_problems_add(problems, "%s", own.lines[i]);
    wn_problems_release(&own);
    return status;
}

void wn_model_close(struct wn_model **model)
{
    if (!*model)
        return;
    if ((*model)->tokenizer)
        wn_tokenizer_close(&(*model)->tokenizer);
    if ((*model)->checkpoint)
        wn_checkpoint_close(&(*model)->checkpoint);
    wn_free((*model)->final_norm);
    wn_free((*model)->final_norm_bias);
    wn_free((*model)->embedding_norm);
    wn_free((*model)->embedding_norm_bias);
    wn_free((*model)->project_in);
    wn_free((*model)->project_out);
    wn_problems_release(&(*model)->notes);
    wn_free((*model)->directory);
    wn_free(*model);
    *model = NULL;
}

/* ---- blocks ---- */

struct wn_block *wn_block_create(const struct wn_model *model)
{
    const struct wn_layout *layout = &model->layout;
    struct wn_block *block = wn_alloc_zero(1, sizeof *block);
    for (int i = 0; i < layout->n_linears; i++) {
        const struct wn_linear_info *linear = &layout->linears[i];
        int64_t weights = linear->rows * linear->columns;
        block->linears[i] = linear->where == WN_EVERY_BLOCK /* else some blocks never fill it */
                                ? wn_alloc(weights, sizeof(float))
                                : wn_alloc_zero(weights, sizeof(float));
        if (linear->bias)
            block->biases[i] = wn_alloc(linear->rows, sizeof(float));
    }
    for (int i = 0; i < layout->n_vectors; i++)
        block->vectors[i] = wn_alloc_zero(layout->vectors[i].size, sizeof(float));
    return block;
}

void wn_block_evaluated(const struct wn_model *model, const struct wn_block *block, struct wn_block *view)
{
    *view = *block;
    view->compute = model->compute;
}

void wn_block_destroy(struct wn_block **block, const struct wn_model *model)
{
    if (!*block)
        return;
    for (int i = 0; i < model->layout.n_linears; i++) {
        wn_free((*block)->linears[i]);
        wn_free((*block)->biases[i]);
    }
    for (int i = 0; i < model->layout.n_vectors; i++)
        wn_free((*block)->vectors[i]);
    wn_free(*block);
    *block = NULL;
}

/* The shape was checked when the model was opened. */
static const struct wn_tensor *find_tensor(const struct wn_model *model, int64_t index, const char *name,
                                           const char *ending)
{
    char *full = wn_block_tensor(&model->layout, index, name, ending);
    const struct wn_tensor *tensor = wn_checkpoint_find(model->checkpoint, full);
    wn_free(full);
    return tensor;
}

static wn_status check_finite(const struct wn_tensor *tensor, const float *values, int64_t count)
{
    if (!wn_all_finite(values, count))
        return wn_fail(WN_ERR_NUMERIC, "%s: tensor \"%s\": a value is not finite", tensor->file, tensor->name);
    return WN_OK;
}

static void load_elements(const struct wn_tensor *tensor, int64_t begin, int64_t count, float *out)
{
#pragma omp parallel for schedule(static) if (count > PIECE)
    for (int64_t first = 0; first < count; first += PIECE)
        wn_tensor_to_float(tensor, begin + first, first + PIECE < count ? PIECE : count - first, out + first);
}

/* Rows of `columns` numbers of a tensor that is not transposed; a bias has one column. */
static void load_rows(const struct wn_tensor *tensor, const struct wn_source *source, int64_t rows, int64_t columns,
                      float *out)
{
    int64_t run = source->rows ? source->run : rows;
    for (int64_t row = 0; row < rows; row += run)
        load_elements(tensor, wn_source_row(source, row) * columns, run * columns, out + row * columns);
}

/* Columns of the linear are rows of the tensor: a few of them are turned at a time, of each only what is the linear's.
 */
static void load_transposed(const struct wn_tensor *tensor, const struct wn_source *source, int64_t rows,
                            int64_t columns, float *out)
{
    int64_t total = source->rows ? source->rows : rows, run = source->rows ? source->run : rows;
#pragma omp parallel
    {
        float *turned = wn_alloc(TURNED * rows, sizeof *turned);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < columns; first += TURNED) {
            int64_t count = first + TURNED < columns ? TURNED : columns - first;
            for (int64_t j = 0; j < count; j++)
                for (int64_t row = 0; row < rows; row += run)
                    wn_tensor_to_float(tensor, (first + j) * total + wn_source_row(source, row), run,
                                       turned + j * rows + row);
            for (int64_t row = 0; row < rows; row++)
                for (int64_t j = 0; j < count; j++)
                    out[row * columns + first + j] = turned[j * rows + row];
        }
        wn_free(turned);
    }
}

static wn_status load_linear(const struct wn_model *model, int64_t index, const struct wn_linear_info *linear,
                             float *weights, float *bias)
{
    const struct wn_tensor *tensor = find_tensor(model, index, wn_linear_tensor(linear), wn_linear_ending(linear));
    if (linear->source.transposed)
        load_transposed(tensor, &linear->source, linear->rows, linear->columns, weights);
    else
        load_rows(tensor, &linear->source, linear->rows, linear->columns, weights);
    WN_TRY(check_finite(tensor, weights, linear->rows * linear->columns));
    if (!linear->bias)
        return WN_OK;
    tensor = find_tensor(model, index, wn_linear_tensor(linear), ".bias");
    load_rows(tensor, &linear->source, linear->rows, 1, bias);
    return check_finite(tensor, bias, linear->rows);
}

static wn_status load_vector(const struct wn_model *model, int64_t index, const struct wn_vector_info *info,
                             float *vector)
{
    int64_t size = info->size / parts_of(info);
    for (int64_t part = 0; part < parts_of(info); part++) {
        char *name = part_name(info, part);
        const struct wn_tensor *tensor = find_tensor(model, index, name, "");
        wn_free(name);
        load_elements(tensor, 0, size, vector + part * size);
        WN_TRY(check_finite(tensor, vector + part * size, size));
    }
    for (int64_t j = 0; info->offset != 0 && j < info->size; j++)
        vector[j] += (float)info->offset;
    return WN_OK;
}

wn_status wn_model_load_block(const struct wn_model *model, int64_t index, struct wn_block *block)
{
    const struct wn_layout *layout = &model->layout;
    block->index = index;
    for (int i = 0; i < layout->n_linears; i++)
        if (wn_is_in(&model->config, layout->linears[i].where, index))
            WN_TRY(load_linear(model, index, &layout->linears[i], block->linears[i], block->biases[i]));
    for (int i = 0; i < layout->n_vectors; i++)
        if (wn_is_in(&model->config, layout->vectors[i].where, index))
            WN_TRY(load_vector(model, index, &layout->vectors[i], block->vectors[i]));
    return wn_checkpoint_check(model->checkpoint); /* behind the reading: a change meanwhile must show */
}

/* ---- the forward pass ---- */

int64_t wn_model_scratch(const struct wn_model *model, int64_t rows)
{
    return model->arch->scratch(&model->config, rows);
}

/* Rounds of tiles that `threads` threads take for the linears of one input on so many chunks. */
static int64_t rounds(const struct wn_layout *layout, int input, int64_t chunks, int threads)
{
    int64_t panels = 0;
    for (int l = 0; l < layout->n_linears; l++)
        if (layout->linears[l].input == input)
            panels += (layout->linears[l].rows + WN_TILE_COLUMNS - 1) / WN_TILE_COLUMNS;
    return (panels * chunks * (WN_CHUNK_TOKENS / WN_TILE_ROWS) + threads - 1) / threads;
}

/* How many times as fast as one thread `threads` threads run the linears of so many chunks, tiles counted as equal. */
static double speed_up(const struct wn_layout *layout, int64_t chunks, int threads)
{
    double alone = 0, shared = 0;
    for (int i = 0; i < layout->n_inputs; i++) {
        alone += (double)(rounds(layout, i, chunks, 1) * layout->input_widths[i]);
        shared += (double)(rounds(layout, i, chunks, threads) * layout->input_widths[i]);
    }
    return alone / shared;
}

int64_t wn_model_group_rows(const struct wn_model *model, int64_t longest)
{
    int threads = omp_get_max_threads();
    int64_t chunks = 1, bytes = wn_model_scratch(model, WN_CHUNK_TOKENS) * (int64_t)sizeof(float);
    while (chunks < WN_GROUP_CHUNKS && (chunks + 1) * bytes <= MOST_SCRATCH &&
           speed_up(&model->layout, chunks, threads) < GOOD_SHARE * threads)
        chunks++;
    return chunks * WN_CHUNK_TOKENS > longest ? chunks * WN_CHUNK_TOKENS : longest;
}

void wn_model_run_block(const struct wn_model *model, const struct wn_block *block, const struct wn_chunk *chunk,
                        float *hidden, float *scratch, const struct wn_tap *tap)
{
    model->arch->run_block(&model->config, block, chunk, hidden, scratch, tap);
}
