/*
 * files.c: the files of an exported point. Weights go to their place as the walk hands them over. What the code
 * form has of a linear is known only then, so it waits in a scratch file until all its shapes are known.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "files.h"

enum { PIECE = 1 << 15 }; /* numbers converted at a time */

#define SCRATCH "codes.scratch"

struct wn_export_files {
    const struct wn_model *model;
    char *folder;
    enum wn_dtype dtype; /* WN_OTHER: as in the checkpoint */
    int64_t n_tensors;   /* of the checkpoint */
    int64_t *place;      /* [n_blocks] number of a block in the export; -1: gone */
    char **names;        /* [n_tensors] in the export; NULL: gone; owned */
    int64_t *shard;      /* [n_tensors] */
    bool *written;       /* [n_tensors] */
    int64_t n_shards, n_linears, bytes;
    struct wn_safetensors_writer **shards; /* [n_shards] */
    struct wn_tensor_plan **plans;         /* [n_shards] owned */
    float *floats;                         /* [PIECE] */
    uint8_t *numbers;                      /* [4 * PIECE] */
    int64_t rounded;
    bool inputs_quantized;
    int scratch; /* -1 when closed */
    int64_t n_codes, scratch_bytes;
    struct wn_tensor_plan *codes; /* [n_codes] in order of arrival, names owned */
    cJSON *linears;
};

/* ---- small files ---- */

static wn_status cannot_write(const char *folder, const char *name)
{
    return wn_fail(WN_ERR_IO, "%s/%s: cannot be written: %s", folder, name, strerror(errno));
}

static bool write_all(int file, const void *data, int64_t size)
{
    const char *from = data;
    while (size > 0) {
        ssize_t written = write(file, from, (size_t)size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        from += written;
        size -= written;
    }
    return true;
}

wn_status wn_export_write(const char *folder, const char *name, const char *data, int64_t size)
{
    char *path = wn_join_path(folder, name);
    wn_status status = WN_OK;
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 || !write_all(file, data, size) || fsync(file) != 0)
        status = cannot_write(folder, name);
    if (file >= 0)
        close(file);
    wn_free(path);
    return status;
}

const char *wn_export_dtype_name(enum wn_dtype dtype)
{
    return dtype == WN_F32 ? "float32" : dtype == WN_F16 ? "float16" : dtype == WN_BF16 ? "bfloat16" : "source";
}

/* ---- weights: tensors and shards ---- */

static const struct wn_tensor *tensor_at(const struct wn_export_files *files, int64_t index)
{
    return wn_checkpoint_at(files->model->checkpoint, index);
}

static int64_t index_of(const struct wn_export_files *files, const struct wn_tensor *tensor)
{
    return tensor - tensor_at(files, 0);
}

/* The dtype a tensor gets; WN_OTHER: its bytes are copied. */
static enum wn_dtype dtype_of(const struct wn_export_files *files, const struct wn_tensor *tensor)
{
    return tensor->dtype == WN_OTHER || files->dtype == WN_OTHER ? tensor->dtype : files->dtype;
}

static int64_t size_of(enum wn_dtype dtype)
{
    return dtype == WN_F32 ? 4 : 2;
}

/* "model.layers.4.mlp" for block 4; linear "mlp". */
static char *block_name(const struct wn_model *model, int64_t block, const char *rest)
{
    const char *prefix = model->layout.block_prefix, *number = strstr(prefix, "%d");
    return wn_format("%.*s%lld%s%s", (int)(number - prefix), prefix, (long long)block, number + 2, rest);
}

/* The name of a tensor when blocks before it are gone; NULL when its own is. */
static char *name_of(const struct wn_export_files *files, const char *name)
{
    const char *prefix = files->model->layout.block_prefix, *number = strstr(prefix, "%d");
    size_t start = (size_t)(number - prefix), behind = strlen(number + 2);
    char *end;
    if (strncmp(name, prefix, start) || name[start] < '0' || name[start] > '9')
        return wn_strdup(name);
    long long block = strtoll(name + start, &end, 10);
    if (strncmp(end, number + 2, behind) || block >= files->model->config.n_blocks)
        return wn_strdup(name);
    return files->place[block] < 0 ? NULL : block_name(files->model, files->place[block], end + behind);
}

static void choose_names(struct wn_export_files *files, const bool *gone)
{
    int64_t kept = 0;
    for (int64_t b = 0; b < files->model->config.n_blocks; b++)
        files->place[b] = gone && gone[b] ? -1 : kept++;
    for (int64_t i = 0; i < files->n_tensors; i++)
        files->names[i] = name_of(files, tensor_at(files, i)->name);
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
    plan->bytes = dtype == WN_OTHER ? tensor->bytes : elements * size_of(dtype);
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

static wn_status create_scratch(struct wn_export_files *files)
{
    char *path = wn_join_path(files->folder, SCRATCH);
    files->scratch = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    wn_free(path);
    return files->scratch < 0 ? cannot_write(files->folder, SCRATCH) : WN_OK;
}

wn_status wn_export_files_create(const struct wn_model *model, const char *folder, enum wn_dtype dtype,
                                 int64_t shard_bytes, const bool *gone, struct wn_export_files **out)
{
    struct wn_export_files *files = wn_alloc_zero(1, sizeof *files);
    *out = files;
    files->model = model;
    files->folder = wn_strdup(folder);
    files->dtype = dtype;
    files->scratch = -1;
    files->linears = cJSON_CreateObject();
    files->n_tensors = wn_checkpoint_count(model->checkpoint);
    files->place = wn_alloc(model->config.n_blocks, sizeof *files->place);
    files->names = wn_alloc_zero(files->n_tensors, sizeof *files->names);
    files->shard = wn_alloc_zero(files->n_tensors, sizeof *files->shard);
    files->written = wn_alloc_zero(files->n_tensors, sizeof *files->written);
    files->floats = wn_alloc(PIECE, sizeof *files->floats);
    files->numbers = wn_alloc(4 * PIECE, 1);
    choose_names(files, gone);
    choose_shards(files, shard_bytes);
    files->shards = wn_alloc_zero(files->n_shards, sizeof *files->shards);
    files->plans = wn_alloc_zero(files->n_shards, sizeof *files->plans);
    for (int64_t s = 0; s < files->n_shards; s++)
        WN_TRY(create_shard(files, s));
    return create_scratch(files);
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
    int64_t overflows;
    files->rounded += wn_tensor_from_float(dtype, values, count, files->numbers, &overflows);
    if (overflows)
        return wn_fail(WN_ERR_INPUT, "%s: %lld numbers are too large for the dtype %s", tensor->name,
                       (long long)overflows, wn_export_dtype_name(dtype));
    return put_bytes(files, tensor, first * size_of(dtype), files->numbers, count * size_of(dtype));
}

static wn_status put_dense(struct wn_export_files *files, const struct wn_tensor *tensor)
{
    if (dtype_of(files, tensor) == tensor->dtype)
        return put_bytes(files, tensor, 0, tensor->data, tensor->bytes);
    int64_t count = tensor->bytes / size_of(tensor->dtype);
    for (int64_t first = 0; first < count; first += PIECE) {
        int64_t piece = count - first < PIECE ? count - first : PIECE;
        wn_tensor_to_float(tensor, first, piece, files->floats);
        WN_TRY(put_floats(files, tensor, first, files->floats, piece));
    }
    return WN_OK;
}

static wn_status put_weight(struct wn_export_files *files, const struct wn_tensor *tensor,
                            const struct wn_compressed *compressed)
{
    int64_t count = compressed->rows * compressed->columns, index = index_of(files, tensor);
    if (files->written[index])
        WN_BUG("the linear \"%s\" was handed over twice", tensor->name);
    files->written[index] = true;
    for (int64_t first = 0; first < count; first += PIECE)
        WN_TRY(put_floats(files, tensor, first, compressed->weight + first,
                          count - first < PIECE ? count - first : PIECE));
    return WN_OK;
}

/* ---- the code form ---- */

/* `columns` 0: a vector. */
static wn_status spool(struct wn_export_files *files, const char *linear, const char *part, const char *dtype,
                       int64_t rows, int64_t columns, const void *data)
{
    struct wn_tensor_plan plan = {.name = wn_format("%s.%s", linear, part),
                                  .dtype = dtype,
                                  .element_bytes = !strcmp(dtype, "U8")    ? 1
                                                   : !strcmp(dtype, "I64") ? 8
                                                                           : 4,
                                  .n_dims = columns ? 2 : 1,
                                  .shape = {rows, columns}};
    plan.bytes = rows * (columns ? columns : 1) * plan.element_bytes;
    files->codes = wn_resize(files->codes, files->n_codes + 1, sizeof plan);
    files->codes[files->n_codes++] = plan;
    files->scratch_bytes += plan.bytes;
    return write_all(files->scratch, data, plan.bytes) ? WN_OK : cannot_write(files->folder, WN_EXPORT_CODES);
}

/* Bit j % 8 of byte j / 8 of a row; rows begin at whole bytes. */
static wn_status spool_mask(struct wn_export_files *files, const char *linear, const struct wn_compressed *compressed)
{
    int64_t width = (compressed->columns + 7) / 8;
    uint8_t *bits = wn_alloc_zero(compressed->rows * width, 1);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < compressed->rows; row++)
        for (int64_t j = 0; j < compressed->columns; j++)
            bits[row * width + j / 8] |=
                (uint8_t)((compressed->keep[row * compressed->columns + j] != 0) << (int)(j % 8));
    wn_status status = spool(files, linear, "mask", "U8", compressed->rows, width, bits);
    wn_free(bits);
    return status;
}

/* Scales or zero points that are codes themselves. */
static wn_status spool_second(struct wn_export_files *files, const char *linear, const char *part,
                              const struct wn_compressed *compressed, const struct wn_second_level *second)
{
    if (!second->bits)
        return WN_OK;
    int64_t runs = (compressed->rows + second->run - 1) / second->run, groups = compressed->n_groups;
    char *name = wn_format("%s.%s", linear, part);
    wn_status status = spool(files, name, "codes", "U8", compressed->rows, groups, second->codes);
    if (status == WN_OK)
        status = spool(files, name, "scales", "F32", runs, groups, second->scales);
    if (status == WN_OK)
        status = spool(files, name, "zeros", "F32", runs, groups, second->zeros);
    wn_free(name);
    return status;
}

static wn_status spool_outliers(struct wn_export_files *files, const char *linear,
                                const struct wn_compressed *compressed)
{
    int64_t count = compressed->n_outliers, *index = wn_alloc(count, sizeof *index);
    float *value = wn_alloc(count, sizeof *value);
    for (int64_t i = 0; i < count; i++) {
        index[i] = compressed->outliers[i].index;
        value[i] = compressed->outliers[i].value;
    }
    wn_status status = spool(files, linear, "outlier_index", "I64", count, 0, index);
    if (status == WN_OK)
        status = spool(files, linear, "outlier_value", "F32", count, 0, value);
    wn_free(index);
    wn_free(value);
    return status;
}

static wn_status spool_codes(struct wn_export_files *files, const char *linear, const struct wn_compressed *compressed)
{
    int64_t rows = compressed->group ? compressed->rows : 1, groups = compressed->group ? compressed->n_groups : 0;
    WN_TRY(spool(files, linear, "codes", "U8", compressed->rows, compressed->columns, compressed->codes));
    WN_TRY(spool(files, linear, "scales", "F32", rows, groups, compressed->scales));
    WN_TRY(spool(files, linear, "zeros", "F32", rows, groups, compressed->zeros));
    WN_TRY(spool_second(files, linear, "scales", compressed, &compressed->second_scales));
    WN_TRY(spool_second(files, linear, "zeros", compressed, &compressed->second_zeros));
    if (compressed->order)
        WN_TRY(spool(files, linear, "order", "I64", compressed->columns, 0, compressed->order));
    if (compressed->input_scale)
        WN_TRY(spool(files, linear, "input_scale", "F32", compressed->columns, 0, compressed->input_scale));
    return compressed->n_outliers ? spool_outliers(files, linear, compressed) : WN_OK;
}

static void describe_linear(struct wn_export_files *files, const char *name, const struct wn_compressed *compressed)
{
    cJSON *json = cJSON_AddObjectToObject(files->linears, name);
    int64_t kept = 0, count = compressed->rows * compressed->columns;
    for (int64_t i = 0; compressed->has_mask && i < count; i++)
        kept += compressed->keep[i] != 0;
    cJSON_AddNumberToObject(json, "rows", (double)compressed->rows);
    cJSON_AddNumberToObject(json, "columns", (double)compressed->columns);
    if (compressed->has_mask)
        cJSON_AddNumberToObject(json, "kept", (double)kept);
    if (compressed->bits) {
        cJSON_AddNumberToObject(json, "bits", compressed->bits);
        cJSON_AddNumberToObject(json, "group", (double)compressed->group);
        if (compressed->second_scales.bits)
            cJSON_AddNumberToObject(json, "scales_run", (double)compressed->second_scales.run);
        if (compressed->second_zeros.bits)
            cJSON_AddNumberToObject(json, "zeros_run", (double)compressed->second_zeros.run);
        if (compressed->n_outliers)
            cJSON_AddNumberToObject(json, "outliers", (double)compressed->n_outliers);
    }
}

static wn_status spool_linear(struct wn_export_files *files, const char *name, const struct wn_compressed *compressed)
{
    if (compressed->has_mask)
        WN_TRY(spool_mask(files, name, compressed));
    if (compressed->bits)
        WN_TRY(spool_codes(files, name, compressed));
    files->inputs_quantized |= compressed->activation != NULL;
    describe_linear(files, name, compressed);
    return WN_OK;
}

wn_status wn_export_files_linear(struct wn_export_files *files, int64_t block, int linear,
                                 const struct wn_compressed *compressed)
{
    const struct wn_model *model = files->model;
    files->n_linears++;
    if (files->place[block] < 0)
        return WN_OK;
    char *source = block_name(model, block, model->layout.linears[linear].name);
    char *name = block_name(model, files->place[block], model->layout.linears[linear].name);
    char *weight = wn_format("%s.weight", source);
    wn_status status = put_weight(files, wn_checkpoint_find(model->checkpoint, weight), compressed);
    if (status == WN_OK)
        status = spool_linear(files, name, compressed);
    wn_free(weight);
    wn_free(source);
    wn_free(name);
    return status;
}

/* Moves the spooled tensors to where the finished header says. */
static wn_status copy_codes(struct wn_export_files *files, const char *scratch, const char *path)
{
    struct wn_mapped mapped;
    struct wn_safetensors_writer *writer;
    int64_t place = 0;
    WN_TRY(wn_map(scratch, &mapped));
    struct wn_tensor_plan *sorted = wn_alloc(files->n_codes, sizeof *sorted);
    memcpy(sorted, files->codes, (size_t)files->n_codes * sizeof *sorted);
    wn_status status = wn_safetensors_create(path, sorted, files->n_codes, &writer);
    for (int64_t i = 0; i < files->n_codes && status == WN_OK; i++) {
        status = wn_safetensors_put(writer, files->codes[i].name, 0, mapped.data + place, files->codes[i].bytes);
        place += files->codes[i].bytes;
    }
    if (status == WN_OK)
        status = wn_safetensors_finish(&writer);
    else
        wn_safetensors_abandon(&writer);
    wn_free(sorted);
    wn_unmap(&mapped);
    return status;
}

static wn_status finish_codes(struct wn_export_files *files)
{
    char *scratch = wn_join_path(files->folder, SCRATCH), *path = wn_join_path(files->folder, WN_EXPORT_CODES);
    close(files->scratch);
    files->scratch = -1;
    wn_status status = files->n_codes ? copy_codes(files, scratch, path) : WN_OK;
    unlink(scratch);
    wn_free(scratch);
    wn_free(path);
    return status;
}

/* ---- index, config, tokenizer ---- */

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
    char *text = cJSON_Print(json);
    wn_status status = wn_export_write(files->folder, "model.safetensors.index.json", text, (int64_t)strlen(text));
    cJSON_free(text);
    cJSON_Delete(json);
    return status;
}

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* The end of the string that begins at the quote `at`: behind its closing quote. The JSON is known to be right. */
static const char *string_end(const char *at)
{
    for (at++; *at != '"'; at++)
        at += *at == '\\';
    return at + 1;
}

static bool is_key(const char *at, const char *end, const char *key)
{
    return (size_t)(end - at) == strlen(key) + 2 && !strncmp(at + 1, key, strlen(key));
}

/*
 * config.json with another value (JSON text) of a key, or of its old name; put in front where neither is there. Only
 * that value is replaced in the text: printed anew, 10000.0 would become 10000, which readers that check types refuse.
 */
static char *change_config(const char *config, const char *key, const char *old_key, const char *new_value)
{
    struct wn_text out = {0};
    const char *copied = config, *at = config;
    int depth = 0;
    bool found = false;
    while (*at) {
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        if (*at != '"') {
            at++;
            continue;
        }
        const char *end = string_end(at), *value = skip_space(end);
        if (depth == 1 && *value == ':' && (is_key(at, end, key) || is_key(at, end, old_key))) {
            value = skip_space(value + 1);
            wn_text_append(&out, copied, (size_t)(value - copied));
            wn_text_append(&out, new_value, strlen(new_value));
            copied = *value == '"' ? string_end(value) : value + strcspn(value, ",} \t\r\n");
            end = copied;
            found = true;
        } else if (depth == 1 && *value == ':') {
            value = skip_space(value + 1);
            end = *value == '"' ? string_end(value) : value;
        }
        at = end;
    }
    wn_text_append(&out, copied, strlen(copied));
    if (!found) {
        size_t brace = strcspn(config, "{") + 1;
        out.length = 0;
        wn_text_append(&out, config, brace);
        wn_text_printf(&out, "\n  \"%s\": %s,%s", old_key, new_value, config + brace);
    }
    return out.data;
}

static int64_t kept_blocks(const struct wn_export_files *files)
{
    int64_t kept = 0;
    for (int64_t b = 0; b < files->model->config.n_blocks; b++)
        kept += files->place[b] >= 0;
    return kept;
}

/* Replaces *text by itself with another value. */
static void set_config(char **text, const char *key, const char *old_key, char *new_value)
{
    char *changed = change_config(*text, key, old_key, new_value);
    wn_free(new_value);
    wn_free(*text);
    *text = changed;
}

static wn_status write_config(const struct wn_export_files *files)
{
    char *path = wn_join_path(files->model->directory, "config.json"), *text;
    int64_t length, kept = kept_blocks(files);
    wn_status status = wn_read_text(path, &text, &length);
    if (status == WN_OK) {
        if (files->dtype != WN_OTHER)
            set_config(&text, "dtype", "torch_dtype", wn_format("\"%s\"", wn_export_dtype_name(files->dtype)));
        if (kept < files->model->config.n_blocks)
            set_config(&text, "num_hidden_layers", "num_hidden_layers", wn_format("%lld", (long long)kept));
        status = wn_export_write(files->folder, "config.json", text, (int64_t)strlen(text));
        wn_free(text);
    }
    wn_free(path);
    return status;
}

/* What a checkpoint may have beside its weights; files that are not there are left out. */
static wn_status copy_others(const struct wn_export_files *files)
{
    static const char *const names[] = {"generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "chat_template.jinja"};
    wn_status status = WN_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == WN_OK; i++) {
        char *path = wn_join_path(files->model->directory, names[i]);
        struct wn_mapped mapped;
        if (wn_file_exists(path) && (status = wn_map(path, &mapped)) == WN_OK) {
            status = wn_export_write(files->folder, names[i], (const char *)mapped.data, mapped.size);
            wn_unmap(&mapped);
        }
        wn_free(path);
    }
    return status;
}

/* ---- the end ---- */

wn_status wn_export_files_finish(struct wn_export_files *files)
{
    const struct wn_model *model = files->model;
    if (files->n_linears != model->config.n_blocks * model->layout.n_linears)
        WN_BUG("%lld linears were handed over", (long long)files->n_linears);
    for (int64_t i = 0; i < files->n_tensors; i++)
        if (files->names[i] && !files->written[i])
            WN_TRY(put_dense(files, tensor_at(files, i)));
    for (int64_t s = 0; s < files->n_shards; s++)
        WN_TRY(wn_safetensors_finish(&files->shards[s]));
    if (files->n_shards > 1)
        WN_TRY(write_index(files));
    WN_TRY(finish_codes(files));
    WN_TRY(write_config(files));
    return copy_others(files);
}

int64_t wn_export_files_rounded(const struct wn_export_files *files)
{
    return files->rounded;
}

bool wn_export_files_inputs_quantized(const struct wn_export_files *files)
{
    return files->inputs_quantized;
}

const cJSON *wn_export_files_linears(const struct wn_export_files *files)
{
    return files->linears;
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
    for (int64_t i = 0; i < files->n_codes; i++)
        wn_free((char *)(uintptr_t)files->codes[i].name);
    if (files->scratch >= 0)
        close(files->scratch);
    wn_free(files->shards);
    wn_free(files->plans);
    wn_free(files->codes);
    for (int64_t i = 0; i < files->n_tensors; i++)
        wn_free(files->names[i]);
    wn_free(files->names);
    wn_free(files->place);
    wn_free(files->shard);
    wn_free(files->written);
    wn_free(files->floats);
    wn_free(files->numbers);
    wn_free(files->folder);
    cJSON_Delete(files->linears);
    wn_free(files);
    *files_pointer = NULL;
}
