/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.c: the files of an exported point. Weights go to their place as the walk hands them over, codes to their own
 * file (codes.c).
 */
#include <string.h>

#include <cjson/cJSON.h>

#include "codes.h"
#include "files.h"
#include "fold.h"
#include "gguf.h"

enum { PIECE = 1 << 15 }; /* numbers converted at a time */

struct wn_export_files {
    const struct wn_model *model;
    char *folder;
    enum wn_dtype dtype; /* WN_OTHER: as in the checkpoint */
    int64_t n_tensors;   /* of the checkpoint */
    const bool *gone;    /* [n_blocks] NULL: no block is; borrowed */
    int64_t *place;      /* [n_blocks] number of a block in the export; -1: gone */
    char **names;        /* [n_tensors] in the export; NULL: gone; owned */
    int64_t *shard;      /* [n_tensors] */
    int64_t *rows;       /* [n_tensors] of linears that were handed over; 0: the tensor stays dense */
    int64_t n_shards, n_linears, bytes, shard_bytes;
    struct wn_safetensors_writer **shards; /* [n_shards] */
    struct wn_tensor_plan **plans;         /* [n_shards] owned */
    float *floats;                         /* [PIECE] */
    uint8_t *numbers;                      /* [4 * PIECE] */
    int64_t rounded;
    const struct wn_export_form *form; /* of the linears; borrowed */
    struct wn_export_codes codes;
    struct wn_export_packed packed; /* unless they are plain numbers */
    struct wn_export_fold fold;     /* of forms with codes */
    struct wn_export_gguf gguf;     /* in place of all other files */
    bool *divided;                  /* [n_tensors] F32, since what makes an input is divided by its scale */
    int64_t *packed_shards;         /* of its tensors */
};

/* ---- weights: tensors and shards ---- */

static const struct wn_tensor *tensor_at(const struct wn_export_files *files, int64_t index)
{
    return wn_checkpoint_at(files->model->checkpoint, index);
}

static int64_t index_of(const struct wn_export_files *files, const struct wn_tensor *tensor)
{
    return tensor - tensor_at(files, 0);
}

static bool is_gguf(const struct wn_export_files *files)
{
    return files->form->packing == WN_PACKING_GGUF || files->form->packing == WN_PACKING_GGUF_NUMBERS;
}

static bool is_packed(const struct wn_export_files *files)
{
    return files->form->packing != WN_PACKING_NONE && !is_gguf(files);
}

static bool is_plain(enum wn_dtype dtype)
{
    return dtype == WN_F32 || dtype == WN_F16 || dtype == WN_BF16;
}

/* The dtype a tensor gets; WN_OTHER: its bytes are copied. Of 64 bits, and of 8 with factors, there is F32 alone. */
static enum wn_dtype dtype_of(const struct wn_export_files *files, const struct wn_tensor *tensor)
{
    if (files->divided[index_of(files, tensor)])
        return WN_F32;
    if (tensor->dtype == WN_OTHER || (files->dtype == WN_OTHER && is_plain(tensor->dtype)))
        return tensor->dtype;
    return files->dtype == WN_OTHER ? WN_F32 : files->dtype;
}

/* The name of a tensor when blocks before it are gone; NULL when its own is. */
static char *name_of(const struct wn_export_files *files, const char *name)
{
    int64_t block;
    const char *rest = wn_block_of_tensor(&files->model->layout, name, &block);
    if (!rest || block >= files->model->config.n_blocks)
        return wn_strdup(name);
    return files->place[block] < 0 ? NULL : wn_block_tensor(&files->model->layout, files->place[block], rest, "");
}

static void choose_names(struct wn_export_files *files, const bool *gone)
{
    int64_t kept = 0;
    for (int64_t b = 0; b < files->model->config.n_blocks; b++)
        files->place[b] = gone && gone[b] ? -1 : kept++;
    for (int64_t i = 0; i < files->n_tensors; i++)
        files->names[i] = tensor_at(files, i)->is_scale ? NULL : name_of(files, tensor_at(files, i)->name);
}

/* The weights of linears, which are packed elsewhere, get no name. */
static void hide_linears(struct wn_export_files *files)
{
    const struct wn_layout *layout = &files->model->layout;
    for (int64_t b = 0; b < files->model->config.n_blocks; b++)
        for (int l = 0; l < layout->n_linears; l++) {
            if (!wn_is_in(&files->model->config, layout->linears[l].where, b))
                continue;
            const struct wn_linear_info *info = &layout->linears[l];
            char *weight = wn_block_tensor(layout, b, wn_linear_tensor(info), wn_linear_ending(info));
            char **name = &files->names[index_of(files, wn_checkpoint_find(files->model->checkpoint, weight))];
            wn_free(*name);
            *name = NULL;
            wn_free(weight);
        }
}

static void plan_tensor(const struct wn_export_files *files, const struct wn_tensor *tensor,
                        struct wn_tensor_plan *plan)
{
    enum wn_dtype dtype = dtype_of(files, tensor);
    int64_t elements = 1;
    *plan = (struct wn_tensor_plan){.name = files->names[index_of(files, tensor)], .n_dims = tensor->n_dims};
    for (int i = 0; i < tensor->n_dims; i++)
        elements *= plan->shape[i] = tensor->shape[i];
    plan->dtype = dtype == WN_F32 ? "F32" : dtype == WN_F16 ? "F16" : dtype == WN_BF16 ? "BF16" : tensor->dtype_name;
    plan->bytes = dtype == WN_OTHER ? tensor->bytes : elements * wn_dtype_bytes(dtype);
    plan->element_bytes = elements && plan->bytes >= elements ? (int)(plan->bytes / elements) : 1;
}

/* Tensors in order of their names, as many as fit into a shard, at least one. */
static void choose_shards(struct wn_export_files *files, int64_t shard_bytes)
{
    int64_t filled = 0;
    for (int64_t i = 0; i < files->n_tensors; i++) {
        struct wn_tensor_plan plan;
        files->shard[i] = -1;
        if (!files->names[i])
            continue;
        plan_tensor(files, tensor_at(files, i), &plan);
        if (files->n_shards == 0 || (filled && filled + plan.bytes > shard_bytes)) {
            files->n_shards++;
            filled = 0;
        }
        files->shard[i] = files->n_shards - 1;
        filled += plan.bytes;
        files->bytes += plan.bytes;
    }
}

static char *shard_name(const struct wn_export_files *files, int64_t shard)
{
    if (is_packed(files)) /* the index says which there are */
        return wn_format("model-others-%05lld.safetensors", (long long)shard + 1);
    if (files->n_shards == 1)
        return wn_strdup("model.safetensors");
    return wn_format("model-%05lld-of-%05lld.safetensors", (long long)shard + 1, (long long)files->n_shards);
}

static wn_status create_shard(struct wn_export_files *files, int64_t shard)
{
    int64_t count = 0;
    struct wn_tensor_plan *plan = wn_alloc(files->n_tensors, sizeof *plan);
    char *name = shard_name(files, shard), *path = wn_join_path(files->folder, name);
    for (int64_t i = 0; i < files->n_tensors; i++)
        if (files->shard[i] == shard)
            plan_tensor(files, tensor_at(files, i), &plan[count++]);
    files->plans[shard] = plan = wn_resize(plan, count, sizeof *plan);
    wn_status status = wn_safetensors_create(path, plan, count, &files->shards[shard]);
    wn_free(path);
    wn_free(name);
    return status;
}

wn_status wn_export_files_create(const struct wn_model *model, const char *folder, const struct wn_export_form *form,
                                 enum wn_dtype dtype, int64_t shard_bytes, const bool *gone,
                                 struct wn_export_files **out)
{
    struct wn_export_files *files = wn_alloc_zero(1, sizeof *files);
    *out = files;
    files->model = model;
    files->folder = wn_strdup(folder);
    files->dtype = dtype;
    files->form = form;
    files->shard_bytes = shard_bytes;
    files->gone = gone;
    files->codes.spool.scratch = files->packed.spool.scratch = -1;
    files->gguf.file.file = -1;
    files->n_tensors = wn_checkpoint_count(model->checkpoint);
    files->place = wn_alloc(model->config.n_blocks, sizeof *files->place);
    files->names = wn_alloc_zero(files->n_tensors, sizeof *files->names);
    files->shard = wn_alloc_zero(files->n_tensors, sizeof *files->shard);
    files->rows = wn_alloc_zero(files->n_tensors, sizeof *files->rows);
    files->divided = wn_alloc_zero(files->n_tensors, sizeof *files->divided);
    files->floats = wn_alloc(PIECE, sizeof *files->floats);
    files->numbers = wn_alloc(4 * PIECE, 1);
    choose_names(files, gone);
    if (is_packed(files))
        hide_linears(files);
    if (wn_export_form_has_codes(form))
        wn_export_fold_create(&files->fold, model);
    if (form->folds)
        wn_export_fold_mark(&files->fold, files->divided);
    if (is_gguf(files)) {
        WN_TRY(wn_export_codes_create(&files->codes, files->folder));
        files->codes.described_only = true;
        return wn_export_gguf_create(&files->gguf, model, form, files->folder, files->place);
    }
    choose_shards(files, shard_bytes);
    files->shards = wn_alloc_zero(files->n_shards, sizeof *files->shards);
    files->plans = wn_alloc_zero(files->n_shards, sizeof *files->plans);
    for (int64_t s = 0; s < files->n_shards; s++)
        WN_TRY(create_shard(files, s));
    WN_TRY(wn_export_codes_create(&files->codes, files->folder));
    files->codes.described_only = is_packed(files);
    return is_packed(files) ? wn_export_packed_create(&files->packed, form, files->folder) : WN_OK;
}

/* ---- weights: numbers ---- */

static wn_status put_bytes(struct wn_export_files *files, const struct wn_tensor *tensor, int64_t first,
                           const void *data, int64_t bytes)
{
    int64_t index = index_of(files, tensor);
    return wn_safetensors_put(files->shards[files->shard[index]], files->names[index], first, data, bytes);
}

/* Elements first .. of a tensor, which get its dtype in the file. */
static wn_status put_floats(struct wn_export_files *files, const struct wn_tensor *tensor, int64_t first,
                            const float *values, int64_t count)
{
    enum wn_dtype dtype = dtype_of(files, tensor);
    WN_TRY(wn_export_round(tensor->name, dtype, values, count, files->numbers, &files->rounded));
    return put_bytes(files, tensor, first * wn_dtype_bytes(dtype), files->numbers, count * wn_dtype_bytes(dtype));
}

static wn_status put_dense(struct wn_export_files *files, const struct wn_tensor *tensor)
{
    const bool divided = files->divided[index_of(files, tensor)];
    if (dtype_of(files, tensor) == tensor->dtype && !divided)
        return put_bytes(files, tensor, 0, tensor->data, tensor->bytes);
    int64_t count = tensor->bytes / wn_dtype_bytes(tensor->dtype);
    for (int64_t first = 0; first < count; first += PIECE) {
        int64_t piece = count - first < PIECE ? count - first : PIECE;
        wn_tensor_to_float(tensor, first, piece, files->floats);
        if (divided)
            wn_export_fold_divide(&files->fold, index_of(files, tensor), first, piece, files->floats);
        WN_TRY(put_floats(files, tensor, first, files->floats, piece));
    }
    return WN_OK;
}

/* Rows of a linear that stand together in the tensor, run by run. */
static wn_status put_rows(struct wn_export_files *files, const struct wn_tensor *tensor, const struct wn_source *source,
                          const struct wn_compressed *compressed)
{
    int64_t run = source->rows ? source->run : compressed->rows, size = run * compressed->columns;
    for (int64_t row = 0; row < compressed->rows; row += run) {
        const float *weight = compressed->weight + row * compressed->columns;
        int64_t begin = wn_source_row(source, row) * compressed->columns;
        for (int64_t first = 0; first < size; first += PIECE)
            WN_TRY(
                put_floats(files, tensor, begin + first, weight + first, size - first < PIECE ? size - first : PIECE));
    }
    return WN_OK;
}

/* Column by column, which are rows of the tensor. */
static wn_status put_transposed(struct wn_export_files *files, const struct wn_tensor *tensor,
                                const struct wn_source *source, const struct wn_compressed *compressed)
{
    int64_t rows = compressed->rows, total = source->rows ? source->rows : rows,
            run = source->rows ? source->run : rows;
    float *turned = wn_alloc(run, sizeof *turned);
    wn_status status = WN_OK;
    for (int64_t column = 0; column < compressed->columns; column++)
        for (int64_t row = 0; row < rows && status == WN_OK; row += run) {
            int64_t begin = column * total + wn_source_row(source, row);
            for (int64_t r = 0; r < run; r++)
                turned[r] = compressed->weight[(row + r) * compressed->columns + column];
            for (int64_t first = 0; first < run && status == WN_OK; first += PIECE)
                status =
                    put_floats(files, tensor, begin + first, turned + first, run - first < PIECE ? run - first : PIECE);
        }
    wn_free(turned);
    return status;
}

/* A fused tensor gets its rows from several linears. */
static wn_status put_weight(struct wn_export_files *files, const struct wn_tensor *tensor,
                            const struct wn_linear_info *linear, const struct wn_compressed *compressed)
{
    int64_t index = index_of(files, tensor);
    files->rows[index] += compressed->rows;
    if (files->rows[index] > wn_linear_tensor_rows(linear))
        WN_BUG("the linear \"%s\" was handed over twice", tensor->name);
    return linear->source.transposed ? put_transposed(files, tensor, &linear->source, compressed)
                                     : put_rows(files, tensor, &linear->source, compressed);
}

/* ---- weights: a linear ---- */

/* The linears of a block whose scales have been moved. */
static wn_status put_block(struct wn_export_files *files, int64_t block)
{
    wn_status status = WN_OK;
    for (int l = 0; l < files->model->layout.n_linears && status == WN_OK; l++) {
        if (!files->fold.coded[l].rows)
            continue;
        const struct wn_linear_info *linear = &files->model->layout.linears[l];
        char *name = wn_block_tensor(&files->model->layout, files->place[block], linear->name, "");
        status = is_gguf(files) ? wn_export_gguf_codes(&files->gguf, files->place[block], linear, &files->fold.coded[l])
                                : wn_export_packed_codes(&files->packed, name, &files->fold.coded[l]);
        wn_free(name);
    }
    wn_export_fold_next(&files->fold);
    return status;
}

static wn_status take_codes(struct wn_export_files *files, int64_t block, int linear, const char *name,
                            const struct wn_compressed *compressed)
{
    const char *format = files->form->format;
    struct wn_export_coded coded = {0};
    bool whole = false;
    wn_status status = WN_OK;
    if (!compressed->bits || !compressed->codes)
        return wn_fail(WN_ERR_UNSUPPORTED, "%s: has no codes: %s cannot hold it", name, format);
    if (!wn_export_coded_open(compressed, &coded))
        status = wn_fail(WN_ERR_UNSUPPORTED, "%s: scale * (code - zero) does not give its weights: %s cannot hold it",
                         name, format);
    else
        status = wn_export_fold_take(&files->fold, block, linear, name, &coded, compressed, &whole);
    wn_export_coded_release(&coded);
    return status == WN_OK && whole ? put_block(files, block) : status;
}

wn_status wn_export_files_linear(struct wn_export_files *files, int64_t block, int linear,
                                 const struct wn_compressed *compressed)
{
    const struct wn_model *model = files->model;
    files->n_linears++;
    if (files->place[block] < 0)
        return WN_OK;
    const struct wn_linear_info *info = &model->layout.linears[linear];
    char *name = wn_block_tensor(&model->layout, files->place[block], info->name, "");
    char *weight = wn_block_tensor(&model->layout, block, wn_linear_tensor(info), wn_linear_ending(info));
    const struct wn_tensor *tensor = wn_checkpoint_find(model->checkpoint, weight);
    wn_status status =
        wn_export_form_has_codes(files->form) ? take_codes(files, block, linear, name, compressed)
        : is_gguf(files)
            ? wn_export_gguf_numbers(&files->gguf, files->place[block], info, tensor->dtype, compressed->weight)
        : is_packed(files)
            ? wn_export_packed_mask(&files->packed, name, is_plain(tensor->dtype) ? tensor->dtype : WN_F32, compressed)
            : put_weight(files, tensor, info, compressed);
    if (status == WN_OK)
        status = wn_export_codes_take(&files->codes, name, compressed);
    wn_free(weight);
    wn_free(name);
    return status;
}

/* ---- the end ---- */

static char *packed_name(int64_t shard)
{
    return wn_format("model-linears-%05lld.safetensors", (long long)shard + 1);
}

/* As many tensors in a file as fit, in the order in which they came. */
static wn_status write_packed(struct wn_export_files *files)
{
    const struct wn_export_spool *spool = &files->packed.spool;
    wn_status status = WN_OK;
    int64_t shard = 0;
    files->packed_shards = wn_alloc(spool->n_plans, sizeof *files->packed_shards);
    for (int64_t first = 0, end; first < spool->n_plans && status == WN_OK; first = end, shard++) {
        int64_t filled = 0;
        for (end = first;
             end < spool->n_plans && (!filled || filled + spool->plans[end].bytes <= files->shard_bytes);) {
            filled += spool->plans[end].bytes;
            files->packed_shards[end++] = shard;
        }
        char *name = packed_name(shard), *path = wn_join_path(files->folder, name);
        status = wn_export_spool_write(spool, first, end, path);
        wn_free(path);
        wn_free(name);
    }
    files->bytes += spool->bytes;
    wn_export_spool_drop(&files->packed.spool);
    return status;
}

static wn_status write_index(const struct wn_export_files *files)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(cJSON_AddObjectToObject(json, "metadata"), "total_size", (double)files->bytes);
    cJSON *map = cJSON_AddObjectToObject(json, "weight_map");
    for (int64_t i = 0; i < files->n_tensors; i++) {
        if (!files->names[i])
            continue;
        char *name = shard_name(files, files->shard[i]);
        cJSON_AddStringToObject(map, files->names[i], name);
        wn_free(name);
    }
    for (int64_t i = 0; i < files->packed.spool.n_plans; i++) {
        char *name = packed_name(files->packed_shards[i]);
        cJSON_AddStringToObject(map, files->packed.spool.plans[i].name, name);
        wn_free(name);
    }
    char *text = cJSON_Print(json);
    wn_status status = wn_export_write(files->folder, "model.safetensors.index.json", text, (int64_t)strlen(text));
    cJSON_free(text);
    cJSON_Delete(json);
    return status;
}

static int64_t count_linears(const struct wn_model *model)
{
    int64_t count = 0;
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        for (int l = 0; l < model->layout.n_linears; l++)
            count += wn_is_in(&model->config, model->layout.linears[l].where, b);
    return count;
}

static wn_status write_config(const struct wn_export_files *files)
{
    if (!is_packed(files))
        return wn_export_write_config(files->model, files->folder, files->dtype, files->gone, NULL);
    char *quantization = wn_export_packed_config(&files->packed, files->model->layout.head);
    wn_status status =
        wn_export_write_config(files->model, files->folder, files->form->numbers, files->gone, quantization);
    wn_free(quantization);
    return status;
}

wn_status wn_export_files_finish(struct wn_export_files *files)
{
    const struct wn_model *model = files->model;
    if (files->n_linears != count_linears(model))
        WN_BUG("%lld linears were handed over", (long long)files->n_linears);
    if (is_gguf(files)) {
        WN_TRY(wn_export_codes_finish(&files->codes));
        return wn_export_gguf_finish(&files->gguf, files->place, files->form->folds ? &files->fold : NULL);
    }
    for (int64_t i = 0; i < files->n_tensors; i++)
        if (files->names[i] && !files->rows[i])
            WN_TRY(put_dense(files, tensor_at(files, i)));
    for (int64_t s = 0; s < files->n_shards; s++)
        WN_TRY(wn_safetensors_finish(&files->shards[s]));
    if (is_packed(files))
        WN_TRY(write_packed(files));
    if (files->n_shards > 1 || is_packed(files))
        WN_TRY(write_index(files));
    WN_TRY(wn_export_codes_finish(&files->codes));
    WN_TRY(write_config(files));
    return wn_export_copy_others(model, files->folder);
}

int64_t wn_export_files_rounded(const struct wn_export_files *files)
{
    return files->rounded;
}

struct wn_export_totals wn_export_files_totals(const struct wn_export_files *files)
{
    const struct wn_export_packed *packed = &files->packed;
    const struct wn_export_gguf *gguf = &files->gguf;
    return is_gguf(files)
               ? (struct wn_export_totals){gguf->numbers, gguf->rounded, gguf->bytes, gguf->weights}
               : (struct wn_export_totals){packed->numbers, packed->rounded, packed->spool.bytes, packed->weights};
}

bool wn_export_files_inputs_quantized(const struct wn_export_files *files)
{
    return files->codes.inputs_quantized;
}

const cJSON *wn_export_files_linears(const struct wn_export_files *files)
{
    return files->codes.linears;
}

void wn_export_files_close(struct wn_export_files **files_pointer)
{
    struct wn_export_files *files = *files_pointer;
    if (!files)
        return;
    for (int64_t s = 0; files->shards && s < files->n_shards; s++) {
        wn_safetensors_abandon(&files->shards[s]);
        wn_free(files->plans[s]);
    }
    wn_export_codes_release(&files->codes);
    wn_export_packed_release(&files->packed);
    wn_export_fold_release(&files->fold);
    wn_export_gguf_release(&files->gguf);
    wn_free(files->divided);
    wn_free(files->packed_shards);
    wn_free(files->shards);
    wn_free(files->plans);
    for (int64_t i = 0; i < files->n_tensors; i++)
        wn_free(files->names[i]);
    wn_free(files->names);
    wn_free(files->place);
    wn_free(files->shard);
    wn_free(files->rows);
    wn_free(files->floats);
    wn_free(files->numbers);
    wn_free(files->folder);
    wn_free(files);
    *files_pointer = NULL;
}
