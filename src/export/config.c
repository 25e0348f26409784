/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: what a checkpoint has beside its weights: config.json, generation and tokenizer files. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "files.h"

/* ---- new files ---- */

wn_status wn_export_cannot_write(const char *folder, const char *name)
{
    return wn_fail(WN_ERR_IO, "%s/%s: cannot be written: %s", folder, name, strerror(errno));
}

wn_status wn_export_write(const char *folder, const char *name, const char *data, int64_t size)
{
    char *path = wn_join_path(folder, name);
    wn_status status = WN_OK;
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 || !wn_write_at(file, data, size, 0) || fsync(file) != 0)
        status = wn_export_cannot_write(folder, name);
    if (file >= 0)
        close(file);
    wn_free(path);
    return status;
}

const char *wn_export_dtype_name(enum wn_dtype dtype)
{
    return dtype == WN_F32 ? "float32" : dtype == WN_F16 ? "float16" : dtype == WN_BF16 ? "bfloat16" : "source";
}

wn_status wn_export_round(const char *name, enum wn_dtype dtype, const float *values, int64_t count, void *to,
                          int64_t *rounded)
{
    int64_t overflows;
    *rounded += wn_tensor_from_float(dtype, values, count, to, &overflows);
    return overflows ? wn_fail(WN_ERR_INPUT, "%s: %lld numbers are too large for the dtype %s", name,
                               (long long)overflows, wn_export_dtype_name(dtype))
                     : WN_OK;
}

/* ---- config.json ---- */

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

/* The end of the value that begins at `at`. */
static const char *value_end(const char *at)
{
    int depth = 0;
    do {
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        at = *at == '"' ? string_end(at) : at + 1;
        if (!depth && (at[-1] == '"' || at[-1] == '}' || at[-1] == ']'))
            return at;
    } while (depth || !strchr(",} \t\r\n", *at));
    return at;
}

/* config.json without a key of the whole, whatever its value. */
static char *without_key(const char *config, const char *key)
{
    const char *at = skip_space(config) + 1;
    while (*(at = skip_space(at)) == '"') {
        const char *end = string_end(at), *behind = skip_space(value_end(skip_space(skip_space(end) + 1)));
        if (is_key(at, end, key)) {
            const char *rest = *behind == ',' ? skip_space(behind + 1) : behind;
            size_t before = (size_t)(at - config);
            while (*behind != ',' && before && strchr(", \t\r\n", config[before - 1]))
                before--; /* the last one: the comma in front goes with it */
            return wn_format("%.*s%s", (int)before, config, rest);
        }
        at = behind + (*behind == ',');
    }
    return wn_strdup(config);
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
            copied = *value == '"'   ? string_end(value)
                     : *value == '[' ? value + strcspn(value, "]") + 1 /* of words or numbers */
                                     : value + strcspn(value, ",} \t\r\n");
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

/* Replaces *text by itself with another value. */
static void set_config(char **text, const char *key, const char *old_key, char *new_value)
{
    char *changed = change_config(*text, key, old_key, new_value);
    wn_free(new_value);
    wn_free(*text);
    *text = changed;
}

/* Lists with an entry for each block, of the blocks that stay: where the file has one, or where blocks differ. */
static void cut_list(char **text, const struct wn_model *model, const bool *gone, const char *key, uint8_t bit,
                     const char *without, const char *with)
{
    const uint8_t *blocks = model->config.decoder.blocks;
    bool needed = strstr(*text, key) != NULL;
    struct wn_text list = {0};
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        needed = needed || (blocks[b] & bit) != (blocks[0] & bit);
        if (!gone[b])
            wn_text_printf(&list, "%s%s", list.length ? ", " : "[", blocks[b] & bit ? with : without);
    }
    wn_text_printf(&list, "%s", list.length ? "]" : "[]");
    if (needed)
        set_config(text, key, key, wn_strdup(list.data));
    wn_free(list.data);
}

/* Which of the blocks that stay have no experts. */
static void cut_dense_blocks(char **text, const struct wn_model *model, const bool *gone)
{
    struct wn_text list = {0};
    bool any = false;
    wn_text_printf(&list, "[");
    for (int64_t b = 0, place = 0; b < model->config.n_blocks; b++) {
        bool dense = wn_is_in(&model->config, WN_DENSE_BLOCKS, b);
        any = any || dense;
        if (dense && !gone[b])
            wn_text_printf(&list, "%s%lld", list.length > 1 ? ", " : "", (long long)place);
        place += !gone[b];
    }
    wn_text_printf(&list, "]");
    if (any && model->config.decoder.experts.count) {
        set_config(text, "mlp_only_layers", "mlp_only_layers", wn_strdup(list.data));
        set_config(text, "decoder_sparse_step", "decoder_sparse_step", wn_strdup("1"));
    }
    wn_free(list.data);
}

static void cut_blocks(char **text, const struct wn_model *model, const bool *gone)
{
    const char *key = wn_class_defaults(model->config.model_type)->blocks_key;
    int64_t left = 0;
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        left += !gone[b];
    if (left == model->config.n_blocks)
        return;
    set_config(text, key ? key : "num_hidden_layers", "num_hidden_layers", wn_format("%lld", (long long)left));
    if (model->config.window > 0 || strstr(*text, "\"layer_types\""))
        cut_list(text, model, gone, "layer_types", WN_BLOCK_SLIDES, "\"full_attention\"", "\"sliding_attention\"");
    cut_dense_blocks(text, model, gone);
    cut_list(text, model, gone, "no_rope_layers", WN_BLOCK_HAS_NO_ROPE, "1", "0");
}

wn_status wn_export_write_config(const struct wn_model *model, const char *folder, enum wn_dtype dtype,
                                 const bool *gone, const char *quantization)
{
    char *path = wn_join_path(model->directory, "config.json"), *text;
    int64_t length;
    wn_status status = wn_read_text(path, &text, &length);
    if (status == WN_OK) {
        if (dtype != WN_OTHER)
            set_config(&text, "dtype", "torch_dtype", wn_format("\"%s\"", wn_export_dtype_name(dtype)));
        if (gone)
            cut_blocks(&text, model, gone);
        if (model->config.scaled) { /* its factors are multiplied in */
            char *plain = without_key(text, "quantization_config");
            wn_free(text);
            text = without_key(plain, "compression_config");
            wn_free(plain);
        }
        if (quantization)
            set_config(&text, "quantization_config", "quantization_config", wn_strdup(quantization));
        status = wn_export_write(folder, "config.json", text, (int64_t)strlen(text));
        wn_free(text);
    }
    wn_free(path);
    return status;
}

/* ---- other files ---- */

/* What a checkpoint may have beside its weights; files that are not there are left out. */
wn_status wn_export_copy_others(const struct wn_model *model, const char *folder)
{
    static const char *const names[] = {"generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "spiece.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "chat_template.jinja"};
    wn_status status = WN_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == WN_OK; i++) {
        char *path = wn_join_path(model->directory, names[i]);
        struct wn_mapped mapped;
        if (wn_file_exists(path) && (status = wn_map(path, &mapped)) == WN_OK) {
            status = wn_export_write(folder, names[i], (const char *)mapped.data, mapped.size);
            wn_unmap(&mapped);
        }
        wn_free(path);
    }
    return status;
}
