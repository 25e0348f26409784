/* A checkpoint directory: opened and checked as a whole, converted block by block. */
#include <winnow/linalg.h>
#include <winnow/model.h>

#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MOST_TENSOR_PROBLEMS = 20, /* lines; more are counted in one line */
    PIECE = 1 << 18,           /* elements converted by one thread at a time */
    LEAST_PANELS = 2           /* column tiles of head rows converted at a time */
};

static const int64_t MOST_SCRATCH = (int64_t)2 << 30; /* bytes for a group of chunks */
static const double GOOD_SHARE = 0.95;                /* of the speed-up that threads could give */

/* ---- opening ---- */

struct checker {
    const struct wn_model *model;
    struct wn_problems *problems;
    const char *place; /* where an absent tensor should be: the file, or the directory of several */
    int64_t n_wrong;
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

/* Adds a line when the tensor is absent or has another shape or dtype. `columns` 0: a vector. */
static void check_tensor(struct checker *checker, const char *name, int64_t rows, int64_t columns)
{
    const struct wn_tensor *tensor = wn_checkpoint_find(checker->model->checkpoint, name);
    const int64_t shape[2] = {rows, columns};
    char expected[128], found[128];
    int n_dims = columns ? 2 : 1;
    bool fits = tensor && same_shape(tensor, n_dims, shape);
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
        wn_problems_add(checker->problems, "%s: tensor \"%s\": the dtype is %s, expected F32, F16 or BF16",
                        tensor->file, name, tensor->dtype_name);
    }
}

/* "model.layers.3." + name + ending; owned by the caller. */
static char *block_tensor_name(const struct wn_model *model, int64_t block, const char *name, const char *ending)
{
    const char *prefix = model->layout.block_prefix, *number = strstr(prefix, "%d");
    if (!number)
        WN_BUG("the block prefix \"%s\" has no %%d", prefix);
    return wn_format("%.*s%lld%s%s%s", (int)(number - prefix), prefix, (long long)block, number + 2, name, ending);
}

static void check_block_tensor(struct checker *checker, int64_t block, const char *name, const char *ending,
                               int64_t rows, int64_t columns)
{
    char *full = block_tensor_name(checker->model, block, name, ending);
    check_tensor(checker, full, rows, columns);
    wn_free(full);
}

static void check_block(struct checker *checker, int64_t block)
{
    const struct wn_layout *layout = &checker->model->layout;
    for (int i = 0; i < layout->n_vectors; i++)
        check_block_tensor(checker, block, layout->vectors[i].name, "", layout->vectors[i].size, 0);
    for (int i = 0; i < layout->n_linears; i++) {
        const struct wn_linear_info *linear = &layout->linears[i];
        check_block_tensor(checker, block, linear->name, ".weight", linear->rows, linear->columns);
        if (linear->bias[0])
            check_block_tensor(checker, block, linear->bias, "", linear->rows, 0);
    }
}

static void check_tensors(struct wn_model *model, struct wn_problems *problems)
{
    const char *const *files;
    const struct wn_config *config = &model->config;
    int64_t n_files = wn_checkpoint_files(model->checkpoint, &files);
    struct checker checker = {model, problems, n_files == 1 ? files[0] : model->directory, 0};
    check_tensor(&checker, model->layout.embedding, config->vocab_size, config->hidden_size);
    for (int64_t b = 0; b < config->n_blocks; b++)
        check_block(&checker, b);
    check_tensor(&checker, model->layout.final_norm, config->hidden_size, 0);
    if (!config->tied)
        check_tensor(&checker, model->layout.head, config->vocab_size, config->hidden_size);
    if (checker.n_wrong > MOST_TENSOR_PROBLEMS)
        wn_problems_add(problems, "%s: %lld more tensors are missing or wrong", checker.place,
                        (long long)(checker.n_wrong - MOST_TENSOR_PROBLEMS));
}

/* Everything that was found, in the order config, files, tensors, tokenizer; an absent folder is one mistake. */
static void open_parts(struct wn_model *model, struct wn_problems *problems)
{
    struct stat about;
    if (stat(model->directory, &about) != 0 || !S_ISDIR(about.st_mode)) {
        wn_problems_add(problems, "%s: there is no such model folder", model->directory);
        return;
    }
    bool described = wn_arch_read(model->directory, &model->arch, &model->config) == WN_OK;
    if (described)
        model->arch->describe(&model->config, &model->layout);
    else
        wn_problems_add(problems, "%s", wn_error_message());
    bool mapped = wn_checkpoint_open(model->directory, &model->checkpoint) == WN_OK;
    if (!mapped)
        wn_problems_add(problems, "%s", wn_error_message());
    if (described && mapped) {
        model->config.tied |= !wn_checkpoint_find(model->checkpoint, model->layout.head);
        check_tensors(model, problems);
    }
    if (wn_tokenizer_open(model->directory, &model->tokenizer) != WN_OK)
        wn_problems_add(problems, "%s", wn_error_message());
}

static void bind_outer_tensors(struct wn_model *model)
{
    int64_t width = model->config.hidden_size;
    model->embedding = wn_checkpoint_find(model->checkpoint, model->layout.embedding);
    model->head = model->config.tied ? model->embedding : wn_checkpoint_find(model->checkpoint, model->layout.head);
    model->final_norm = wn_alloc(width, sizeof *model->final_norm);
    wn_tensor_to_float(wn_checkpoint_find(model->checkpoint, model->layout.final_norm), 0, width, model->final_norm);
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
    wn_free((*model)->directory);
    wn_free(*model);
    *model = NULL;
}

/* ---- sizes ---- */

static int64_t weights_per_block(const struct wn_layout *layout)
{
    int64_t count = 0;
    for (int i = 0; i < layout->n_linears; i++)
        count += layout->linears[i].rows * layout->linears[i].columns;
    return count;
}

static int64_t others_per_block(const struct wn_layout *layout)
{
    int64_t count = 0;
    for (int i = 0; i < layout->n_linears; i++)
        count += layout->linears[i].bias[0] ? layout->linears[i].rows : 0;
    for (int i = 0; i < layout->n_vectors; i++)
        count += layout->vectors[i].size;
    return count;
}

int64_t wn_model_block_weights(const struct wn_model *model)
{
    return weights_per_block(&model->layout);
}

int64_t wn_model_weights(const struct wn_model *model)
{
    return model->config.n_blocks * weights_per_block(&model->layout);
}

int wn_model_source_bytes(const struct wn_model *model)
{
    for (int64_t i = 0; model->checkpoint && i < wn_checkpoint_count(model->checkpoint); i++) {
        const struct wn_tensor *tensor = wn_checkpoint_at(model->checkpoint, i);
        if (tensor->dtype == WN_F32 && tensor->n_dims > 1)
            return 4;
    }
    return model->checkpoint ? 2 : 4;
}

int64_t wn_model_parameters(const struct wn_model *model)
{
    const struct wn_config *config = &model->config;
    int64_t block = weights_per_block(&model->layout) + others_per_block(&model->layout);
    int64_t tables = (config->tied ? 1 : 2) * config->vocab_size * config->hidden_size;
    return config->n_blocks * block + tables + config->hidden_size;
}

/* ---- blocks ---- */

struct wn_block *wn_block_create(const struct wn_model *model)
{
    const struct wn_layout *layout = &model->layout;
    struct wn_block *block = wn_alloc_zero(1, sizeof *block);
    for (int i = 0; i < layout->n_linears; i++) {
        const struct wn_linear_info *linear = &layout->linears[i];
        block->linears[i] = wn_alloc(linear->rows * linear->columns, sizeof(float));
        if (linear->bias[0])
            block->biases[i] = wn_alloc(linear->rows, sizeof(float));
    }
    for (int i = 0; i < layout->n_vectors; i++)
        block->vectors[i] = wn_alloc(layout->vectors[i].size, sizeof(float));
    return block;
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

int64_t wn_block_bytes(const struct wn_model *model)
{
    int64_t floats = weights_per_block(&model->layout) + others_per_block(&model->layout);
    return floats * (int64_t)sizeof(float) + (int64_t)sizeof(struct wn_block);
}

/* The shape was checked when the model was opened. */
static wn_status load_tensor(const struct wn_model *model, int64_t index, const char *name, const char *ending,
                             int64_t count, float *out)
{
    char *full = block_tensor_name(model, index, name, ending);
    const struct wn_tensor *tensor = wn_checkpoint_find(model->checkpoint, full);
    wn_free(full);
#pragma omp parallel for schedule(static) if (count > PIECE)
    for (int64_t first = 0; first < count; first += PIECE)
        wn_tensor_to_float(tensor, first, first + PIECE < count ? PIECE : count - first, out + first);
    if (!wn_all_finite(out, count))
        return wn_fail(WN_ERR_NUMERIC, "%s: tensor \"%s\": a value is not finite", tensor->file, tensor->name);
    return WN_OK;
}

wn_status wn_model_load_block(const struct wn_model *model, int64_t index, struct wn_block *block)
{
    const struct wn_layout *layout = &model->layout;
    for (int i = 0; i < layout->n_linears; i++) {
        const struct wn_linear_info *linear = &layout->linears[i];
        WN_TRY(load_tensor(model, index, linear->name, ".weight", linear->rows * linear->columns, block->linears[i]));
        if (linear->bias[0])
            WN_TRY(load_tensor(model, index, linear->bias, "", linear->rows, block->biases[i]));
    }
    for (int i = 0; i < layout->n_vectors; i++)
        WN_TRY(load_tensor(model, index, layout->vectors[i].name, "", layout->vectors[i].size, block->vectors[i]));
    return wn_checkpoint_check(model->checkpoint); /* behind the reading: a change meanwhile must show */
}

/* ---- the forward pass ---- */

void wn_model_embed(const struct wn_model *model, const int32_t *ids, int64_t rows, float *hidden)
{
    int64_t width = model->config.hidden_size;
#pragma omp parallel for schedule(static) if (rows * width > PIECE)
    for (int64_t r = 0; r < rows; r++)
        wn_tensor_to_float(model->embedding, ids[r] * width, width, hidden + r * width);
}

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

void wn_model_final_norm(const struct wn_model *model, const float *hidden, int64_t rows, float *states)
{
    wn_rms_norm(hidden, rows, model->config.hidden_size, model->final_norm, 0, model->config.norm_eps, states);
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
    return panel_rows(model) * model->config.hidden_size;
}

/* Head rows first .. first + count - 1 as fp32: in place when the file has them so, else converted into `scratch`. */
static const float *head_panel(const struct wn_model *model, int64_t first, int64_t count, float *scratch)
{
    const struct wn_tensor *head = model->head;
    int64_t width = model->config.hidden_size;
    if (head->dtype == WN_F32 && (uintptr_t)head->data % sizeof(float) == 0)
        return (const float *)(const void *)head->data + first * width;
#pragma omp parallel for schedule(static) if (count * width > PIECE)
    for (int64_t r = 0; r < count; r++)
        wn_tensor_to_float(head, (first + r) * width, width, scratch + r * width);
    return scratch;
}

/* Rows in runs, each cut into tiles of its own; n_runs 0: row[0] few rows. */
static void logits_by(const struct wn_model *model, const float *states, int64_t n_runs, const int64_t *row,
                      float *logits, float *scratch)
{
    int64_t vocabulary = model->config.vocab_size, width = model->config.hidden_size, most = panel_rows(model);
    for (int64_t first = 0; first < vocabulary; first += most) {
        int64_t count = first + most < vocabulary ? most : vocabulary - first;
        const float *panel = head_panel(model, first, count, scratch);
        const struct wn_linear_map map = {.w = panel, .out = count, .y = logits + first, .stride = vocabulary};
        if (n_runs > 0)
            wn_linears(states, n_runs, row, width, &map, 1);
        else
            wn_linear_few_rows(states, row[0], width, panel, count, NULL, map.y, vocabulary);
    }
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
