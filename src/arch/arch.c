/* The table of architectures, and the choice of a row by config.json. */
#include <winnow/arch.h>
#include <winnow/io.h>
#include <winnow/linalg.h>

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

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

/* Writing texts: every sequence is one row that continues a past. */
static bool is_one_row_each(const struct wn_chunk *chunk)
{
    bool one = chunk->past != NULL;
    for (int64_t s = 0; one && s < chunk->n_sequences; s++)
        one = chunk->offset[s + 1] - chunk->offset[s] == 1;
    return one;
}

void wn_block_linear(const struct wn_block *block, int linear, const struct wn_chunk *chunk, const float *x, int64_t in,
                     int64_t out, float *y)
{
    const struct wn_activation *activation = block->activations[linear];
    const struct wn_linear_call call = {.n_sequences = chunk->n_sequences,
                                        .offset = chunk->offset,
                                        .x = x,
                                        .in = in,
                                        .weight = block->linears[linear],
                                        .out = out,
                                        .bias = block->biases[linear],
                                        .y = y};
    if (activation)
        activation->compute(activation, &call);
    else if (is_one_row_each(chunk))
        wn_linear_few_rows(x, chunk->n_sequences, in, call.weight, out, call.bias, y, out);
    else
        wn_linear(x, chunk->offset[chunk->n_sequences], in, call.weight, out, call.bias, y);
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
    return (*arch)->read_config(path, json, config);
}

wn_status wn_arch_read(const char *directory, const struct wn_arch **arch, struct wn_config *config)
{
    char *path = wn_join_path(directory, "config.json");
    cJSON *json = NULL;
    wn_status status = wn_json_read(path, false, &json);
    if (status == WN_OK)
        status = read_config(path, json, arch, config);
    cJSON_Delete(json);
    wn_free(path);
    return status;
}
