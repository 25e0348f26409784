/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of tensors as files have them: each checkpoint of `reference` is opened again under other prefixes and must
 * load the same numbers. What is told of tensors that nobody uses, and of quantized files.
 */
#include <winnow/linalg.h>
#include <winnow/model.h>

#include "../io/folder.h"
#include "test.h"

#define REFERENCE WN_SOURCE_DIR "/tests/model/reference"

/* ---- files that are changed ---- */

/* `text` with every `from` replaced; owned by the caller. */
static char *replaced(const char *text, const char *from, const char *to)
{
    struct wn_text out = {0};
    for (const char *at = text, *next;; at = next + strlen(from)) {
        next = strstr(at, from);
        wn_text_append(&out, at, next ? (size_t)(next - at) : strlen(at));
        if (!next)
            break;
        wn_text_append(&out, to, strlen(to));
    }
    return out.data;
}

static void copy_file(const char *name, const char *file, const char *folder)
{
    char *path = wn_format(REFERENCE "/%s/%s", name, file), *text;
    int64_t length;
    CHECK_OK(wn_read_text(path, &text, &length));
    wn_free(folder_write(folder, file, text, (size_t)length));
    wn_free(text);
    wn_free(path);
}

/* A copy of a reference whose tensors have `from` in their names replaced, and `add` in front of the header's entries.
 */
static char *changed_copy(const char *name, const char *from, const char *to, const char *add)
{
    char *folder = folder_create(), *path = wn_format(REFERENCE "/%s/model.safetensors", name);
    struct wn_mapped mapped;
    struct wn_text file = {0};
    uint64_t length;
    CHECK_OK(wn_map(path, &mapped));
    memcpy(&length, mapped.data, sizeof length);
    char *header = wn_format("%.*s", (int)length, (const char *)mapped.data + sizeof length);
    char *changed = replaced(header, from, to), *whole = wn_format("{%s%s", add, changed + 1);
    uint64_t new_length = strlen(whole);
    wn_text_append(&file, (const char *)&new_length, sizeof new_length);
    wn_text_append(&file, whole, new_length);
    wn_text_append(&file, (const char *)mapped.data + sizeof length + length,
                   (size_t)mapped.size - sizeof length - length);
    wn_free(folder_write(folder, "model.safetensors", file.data, file.length));
    copy_file(name, "config.json", folder);
    copy_file(name, "tokenizer.json", folder);
    wn_unmap(&mapped);
    wn_text_release(&file);
    wn_free(header);
    wn_free(changed);
    wn_free(whole);
    wn_free(path);
    return folder;
}

static bool same_data(const struct wn_tensor *a, const struct wn_tensor *b)
{
    return a && b && a->bytes == b->bytes && !memcmp(a->data, b->data, (size_t)a->bytes);
}

static bool same_block(const struct wn_model *a, const struct wn_model *b, int64_t index)
{
    struct wn_block *one = wn_block_create(a), *two = wn_block_create(b);
    CHECK_OK(wn_model_load_block(a, index, one));
    CHECK_OK(wn_model_load_block(b, index, two));
    bool same = true;
    for (int l = 0; l < a->layout.n_linears; l++)
        same &= !memcmp(one->linears[l], two->linears[l],
                        (size_t)(a->layout.linears[l].rows * a->layout.linears[l].columns) * sizeof(float));
    for (int v = 0; v < a->layout.n_vectors; v++)
        same &= !memcmp(one->vectors[v], two->vectors[v], (size_t)a->layout.vectors[v].size * sizeof(float));
    wn_block_destroy(&one, a);
    wn_block_destroy(&two, b);
    return same;
}

/* note: a part of the only note, or NULL where there must be none. */
static void check_names(const char *name, const char *from, const char *to, const char *note)
{
    char *original = wn_format(REFERENCE "/%s", name), *folder = changed_copy(name, from, to, "");
    struct wn_model *a, *b;
    CHECK_OK(wn_model_open(original, NULL, &a));
    CHECK_OK(wn_model_open(folder, NULL, &b));
    if (a && b) {
        CHECK(same_data(a->embedding, b->embedding) && same_data(a->head, b->head));
        CHECK((a->head == a->embedding) == (b->head == b->embedding));
        CHECK(!memcmp(a->final_norm, b->final_norm, (size_t)a->config.hidden_size * sizeof(float)));
        CHECK(!a->positions || same_data(a->positions, b->positions));
        for (int64_t block = 0; block < a->config.n_blocks; block++)
            CHECK(same_block(a, b, block));
        CHECK(b->notes.count == (note ? 1 : 0));
        if (note && b->notes.count)
            CHECK(strstr(b->notes.lines[0], note));
    }
    wn_model_close(&a);
    wn_model_close(&b);
    wn_free(original);
    folder_remove(folder);
}

static void check_prefixes(void)
{
    check_names("llama_head_dim", "\"model.", "\"", NULL);
    check_names("llama_untied_f32", "\"model.", "\"", NULL);
    check_names("llama_head_dim", "\"model.", "\"module.model.",
                "names of 20 tensors begin with \"module.model.\", which is taken for \"model.\"");
    check_names("llama_head_dim", "\"model.", "\"_orig_mod.model.", "\"_orig_mod.model.\"");
    check_names("llama_head_dim", "\"model.", "\"base_model.model.model.", "\"base_model.model.model.\"");
    check_names("gpt2", "\"transformer.", "\"", NULL);
    check_names("opt", "\"model.decoder.", "\"decoder.", NULL);
    check_names("gemma3", "\"model.", "\"language_model.model.", NULL);
    check_names("gemma3", "\"model.", "\"model.language_model.", NULL);
}

/* ---- what is left over ---- */

/* Further entries, without data. */
#define EMPTY(name) "\"" name "\": {\"dtype\": \"I64\", \"shape\": [0], \"data_offsets\": [0, 0]}, "

static void check_notes(const char *add, const char *note)
{
    char *folder = changed_copy("llama_head_dim", "?", "?", add);
    struct wn_model *model;
    CHECK_OK(wn_model_open(folder, NULL, &model));
    CHECK(model && model->notes.count == (note ? 1 : 0));
    if (model && note && model->notes.count && !strstr(model->notes.lines[0], note)) {
        test_failures++;
        fprintf(stderr, "\"%s\" lacks \"%s\"\n", model->notes.lines[0], note);
    }
    wn_model_close(&model);
    folder_remove(folder);
}

static void check_left_over(void)
{
    check_notes("", NULL);
    check_notes(EMPTY("model.layers.0.self_attn.rotary_emb.inv_freq") EMPTY("transformer.h.0.attn.masked_bias")
                    EMPTY("model.embeddings.position_ids"),
                NULL);
    check_notes(EMPTY("model.layers.0.extra"), "1 tensor of the checkpoint is not used by model type \"llama\": "
                                               "model.layers.N.extra (1)");
    check_notes(
        EMPTY("model.layers.0.extra") EMPTY("model.layers.11.extra") EMPTY("v2.b.3x"),
        "3 tensors of the checkpoint are not used by model type \"llama\": model.layers.N.extra (2), v2.b.3x (1)");
    check_notes(EMPTY("a") EMPTY("b") EMPTY("c") EMPTY("d") EMPTY("e") EMPTY("f") EMPTY("g") EMPTY("h"),
                "e (1), f (1) and 2 kinds more");
}

static void check_quantized(const char *add, const char *method)
{
    char *folder = changed_copy("llama_head_dim", "?", "?", add);
    struct wn_problems problems;
    struct wn_model *model;
    wn_problems_init(&problems);
    CHECK(wn_model_open(folder, &problems, &model) == WN_ERR_INPUT);
    CHECK(problems.count == 1);
    CHECK_MESSAGE("quantized already");
    CHECK_MESSAGE(method);
    wn_problems_release(&problems);
    folder_remove(folder);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    check_prefixes();
    check_left_over();
    check_quantized(EMPTY("model.layers.0.mlp.up_proj.qweight"), "GPTQ or AWQ");
    check_quantized(EMPTY("model.layers.0.mlp.up_proj.weight.absmax"), "bitsandbytes, 4 bits");
    check_quantized(EMPTY("model.layers.0.mlp.up_proj.weight_packed"), "compressed-tensors");
    check_quantized(EMPTY("model.layers.0.mlp.up_proj.W_q"), "HQQ");
    return test_finish();
}
