/* SPDX-License-Identifier: Apache-2.0 */
/* The table of architectures, and the choice of a row by config.json. */
#include <winnow/arch.h>
#include <winnow/io.h>

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantization.h"

#define WN_ARCH(name) extern const struct wn_arch wn_arch_##name;
#include "arch_list.h"
#undef WN_ARCH

static const struct wn_arch *const table[] = {
#define WN_ARCH(name) &wn_arch_##name,
#include "arch_list.h"
#undef WN_ARCH
};

enum { N_ARCHS = sizeof table / sizeof table[0] };

const struct wn_arch *const *wn_arch_table(int64_t *count)
{
    *count = N_ARCHS;
    return table;
}

char *wn_block_tensor(const struct wn_layout *layout, int64_t block, const char *name, const char *ending)
{
    const char *prefix = layout->block_prefix, *number = strstr(prefix, "%d");

    if (!number)
        WN_BUG("the block prefix \"%s\" has no %%d", prefix);
    return wn_format("%.*s%lld%s%s%s", (int)(number - prefix), prefix, (long long)block, number + 2, name, ending);
}

const char *wn_block_of_tensor(const struct wn_layout *layout, const char *tensor, int64_t *block)
{
    const char *prefix = layout->block_prefix, *number = strstr(prefix, "%d");
    const size_t start = (size_t)(number - prefix), behind = strlen(number + 2);
    char *end;

    if (strncmp(tensor, prefix, start) || tensor[start] < '0' || tensor[start] > '9')
        return NULL;
    *block = strtoll(tensor + start, &end, 10);
    return strncmp(end, number + 2, behind) ? NULL : end + behind;
}

int64_t wn_chunk_rows(const struct wn_chunk *chunk, int64_t *row)
{
    if (chunk->n_chunks == 0) {
        row[0] = 0;
        row[1] = chunk->offset[chunk->n_sequences];
        return 1;
    }
    for (int64_t c = 0; c <= chunk->n_chunks; c++)
        row[c] = chunk->offset[chunk->first[c] - chunk->first[0]];
    return chunk->n_chunks;
}

/* Writing texts: every sequence is one row that continues a past. */
static bool is_one_row_each(const struct wn_chunk *chunk)
{
    bool one = chunk->past != NULL;
    for (int64_t s = 0; one && s < chunk->n_sequences; s++)
        one = chunk->offset[s + 1] - chunk->offset[s] == 1;
    return one;
}

/* The rows of a chunk are the same on any number of ranks and threads. */
static bool is_few(const struct wn_block *block, const struct wn_chunk *chunk)
{
    return is_one_row_each(chunk) ||
           (chunk->of_expert && block->compute == WN_COMPUTE_F32 && chunk->offset[chunk->n_sequences] <= WN_EXPERT_FEW);
}

/* One linear of one chunk by its rule, or by few rows. */
static void run_alone(const struct wn_block *block, const struct wn_chunk *chunk, const float *x, int64_t in,
                      const struct wn_block_output *output)
{
    const struct wn_activation *activation = block->activations[output->linear];
    const struct wn_linear_call call = {.n_sequences = chunk->n_sequences,
                                        .offset = chunk->offset,
                                        .x = x,
                                        .in = in,
                                        .weight = block->linears[output->linear],
                                        .out = output->out,
                                        .bias = block->biases[output->linear],
                                        .y = output->y};
    if (activation)
        activation->compute(activation, &call);
    else if (block->compute == WN_COMPUTE_BF16)
        wn_linear_few_rows_bf16(x, chunk->offset[chunk->n_sequences], in, call.weight, block->sources[output->linear],
                                call.out, call.bias, call.y, call.out);
    else if (!call.weight)
        wn_linear_few_rows_from(x, chunk->offset[chunk->n_sequences], in, block->sources[output->linear], call.out,
                                call.bias, call.y, call.out);
    else
        wn_linear_few_rows(x, chunk->offset[chunk->n_sequences], in, call.weight, call.out, call.bias, call.y,
                           call.out);
}

/* Chunk number `index` of a group; `offset` gets its n_sequences + 1 values. */
static struct wn_chunk chunk_of(const struct wn_chunk *group, int64_t index, int64_t *offset)
{
    int64_t first = group->first[index] - group->first[0], count = group->first[index + 1] - group->first[index];
    for (int64_t s = 0; s <= count; s++)
        offset[s] = group->offset[first + s] - group->offset[first];
    return (struct wn_chunk){
        .n_sequences = count, .offset = offset, .past = group->past, .of_expert = group->of_expert};
}

/* Linears without a rule by tiles, all at once. */
static void run_together(const struct wn_block *block, const struct wn_chunk *chunk, const float *x, int64_t in,
                         const struct wn_block_output *outputs, int n_outputs)
{
    int64_t row[WN_GROUP_CHUNKS + 1], n_chunks = wn_chunk_rows(chunk, row);
    struct wn_linear_map maps[WN_MAX_LINEARS];
    bool few = n_chunks == 1 && is_few(block, chunk);
    int n_maps = 0;
    for (int i = 0; i < n_outputs; i++) {
        const struct wn_block_output *o = &outputs[i];
        if (few || block->activations[o->linear])
            run_alone(block, chunk, x, in, o);
        else
            maps[n_maps++] = (struct wn_linear_map){.w = block->linears[o->linear],
                                                    .bias = block->biases[o->linear],
                                                    .out = o->out,
                                                    .y = o->y,
                                                    .stride = o->out,
                                                    .source = block->sources[o->linear]};
    }
    if (n_maps > 0)
        wn_linears_by(block->compute, x, n_chunks, row, in, maps, n_maps);
}

static void run_chunk(const struct wn_block *block, const struct wn_chunk *chunk, int64_t row, const float *x,
                      int64_t in, const struct wn_block_output *outputs, int n_outputs)
{
    struct wn_block_output moved[WN_MAX_LINEARS];
    for (int i = 0; i < n_outputs; i++) {
        moved[i] = outputs[i];
        moved[i].y += row * outputs[i].out;
    }
    run_together(block, chunk, x + row * in, in, moved, n_outputs);
}

/* A rule takes memory for the rows it gets, and few rows are a matter of each chunk. */
static bool runs_apart(const struct wn_block *block, const struct wn_chunk *group,
                       const struct wn_block_output *outputs, int n_outputs, int64_t *offset)
{
    bool apart = false;
    for (int i = 0; i < n_outputs; i++)
        apart |= block->activations[outputs[i].linear] != NULL;
    for (int64_t c = 0; c < group->n_chunks && (group->past || group->of_expert) && !apart; c++) {
        struct wn_chunk chunk = chunk_of(group, c, offset);
        apart = is_few(block, &chunk);
    }
    return apart && group->n_chunks > 1;
}

void wn_block_linears(const struct wn_block *block, const struct wn_chunk *chunk, const float *x, int64_t in,
                      const struct wn_block_output *outputs, int n_outputs)
{
    int64_t row[WN_GROUP_CHUNKS + 1], n_chunks = wn_chunk_rows(chunk, row);
    int64_t *offset = wn_alloc(chunk->n_sequences + 1, sizeof *offset);
    if (!runs_apart(block, chunk, outputs, n_outputs, offset))
        run_together(block, chunk, x, in, outputs, n_outputs);
    else
        for (int64_t c = 0; c < n_chunks; c++) {
            struct wn_chunk one = chunk_of(chunk, c, offset);
            run_chunk(block, &one, row[c], x, in, outputs, n_outputs);
        }
    wn_free(offset);
}

void wn_block_linear(const struct wn_block *block, int linear, const struct wn_chunk *chunk, const float *x, int64_t in,
                     int64_t out, float *y)
{
    const struct wn_block_output output = {linear, out, y};
    wn_block_linears(block, chunk, x, in, &output, 1);
}

static wn_status find_row(const char *path, const char *model_type, const struct wn_arch **arch)
{
    char known[512] = "";
    for (int i = 0; i < N_ARCHS; i++) {
        if (!strcmp(table[i]->model_type, model_type)) {
            *arch = table[i];
            return WN_OK;
        }
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", table[i]->model_type);
    }
    return wn_fail(WN_ERR_INPUT, "%s: key \"model_type\": the architecture \"%s\" is not known; known are: %s", path,
                   model_type, known);
}

static wn_status read_config(const char *path, const cJSON *json, const struct wn_arch **arch, struct wn_config *config)
{
    const char *model_type = "";
    if (!cJSON_IsObject(json))
        return wn_fail(WN_ERR_INPUT, "%s: expected a JSON object", path);
    WN_TRY(wn_config_text(path, json, "model_type", NULL, &model_type));
    WN_TRY(find_row(path, model_type, arch));
    memset(config, 0, sizeof *config);
    snprintf(config->model_type, sizeof config->model_type, "%s", model_type);
    WN_TRY(quantization_read(path, json, config));
    return (*arch)->read_config(path, json, config);
}

static wn_status read_generation_config(const char *directory, struct wn_config *config)
{
    char *path = wn_join_path(directory, "generation_config.json");
    cJSON *json = NULL;
    wn_status status = WN_OK;
    if (wn_file_exists(path))
        status = wn_json_read(path, false, &json);
    if (status == WN_OK && json)
        status = wn_config_eos(path, json, -1, config);
    cJSON_Delete(json);
    wn_free(path);
    return status;
}

wn_status wn_arch_read(const char *directory, const struct wn_arch **arch, struct wn_config *config)
{
    char *path = wn_join_path(directory, "config.json");
    cJSON *json = NULL;
    wn_status status = wn_json_read(path, false, &json);
    if (status == WN_OK)
        status = read_config(path, json, arch, config);
    if (status == WN_OK)
        status = read_generation_config(directory, config);
    cJSON_Delete(json);
    wn_free(path);
    return status;
}
