/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tensors of a checkpoint are those of a model: names with other prefixes, the head that is the embedding or is
 * not, what is left over. The rules are those of transformers 5.24, which test_forward checks on reference/rules_*.
 */
#include "tensors.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool ends(const char *text, const char *with)
{
    size_t length = strlen(text), end = strlen(with);
    return length >= end && strcmp(text + length - end, with) == 0;
}

/* Notes speak of the file, or of the folder where there are several. */
static const char *place_of(const struct wn_model *model)
{
    const char *const *files;
    return wn_checkpoint_files(model->checkpoint, &files) == 1 ? files[0] : model->directory;
}

/* ---- names with other prefixes ---- */

/* "P" + "layers.0...", where the layout has "model." + "layers.0...". */
struct prefixes {
    const struct wn_layout *layout;
    size_t base;       /* length of "model.", which embedding and blocks have in common */
    size_t head;       /* length of what the head has in common with it */
    const char *found; /* a name that begins with P */
    size_t length;     /* of P */
};

/* How much of `name` two names have in common, up to a dot. */
static size_t common_prefix(const char *name, const char *other)
{
    size_t common = 0;
    for (size_t i = 0; name[i] && name[i] == other[i]; i++)
        if (name[i] == '.')
            common = i + 1;
    return common;
}

/* Whether `rest` is, behind "model.", one of the names of the layout. */
static bool is_inner_name(const struct prefixes *prefixes, const char *rest)
{
    const struct wn_layout *layout = prefixes->layout;
    const char *const names[] = {layout->embedding,      layout->final_norm, layout->positions,
                                 layout->embedding_norm, layout->project_in, layout->project_out};
    const char *block = layout->block_prefix + prefixes->base;
    if (strncmp(rest, block, (size_t)(strstr(block, "%d") - block)) == 0)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!names[i][0])
            continue;
        const char *name = names[i] + prefixes->base, *dot = strrchr(name, '.');
        size_t stem = dot ? (size_t)(dot - name) + 1 : strlen(name); /* with the dot: a bias too */
        if (strncmp(rest, name, stem) == 0)
            return true;
    }
    return false;
}

static char *renamed(const void *context, const char *name)
{
    const struct prefixes *prefixes = context;
    const char *head = prefixes->layout->head + prefixes->head;
    if (strncmp(name, prefixes->found, prefixes->length) == 0 && is_inner_name(prefixes, name + prefixes->length))
        return wn_format("%.*s%s", (int)prefixes->base, prefixes->layout->block_prefix, name + prefixes->length);
    /* The head lies outside the inner model: with a part of the prefix, or none. */
    if (!ends(name, head) || !strcmp(name, prefixes->layout->head))
        return NULL;
    size_t before = strlen(name) - strlen(head);
    return before <= prefixes->length && !strncmp(name, prefixes->found, before) ? wn_strdup(prefixes->layout->head)
                                                                                 : NULL;
}

/* Some tensor of a block behind the prefix of `name`. */
static bool has_blocks(const struct wn_model *model, const struct prefixes *prefixes)
{
    const char *block = prefixes->layout->block_prefix + prefixes->base;
    size_t length = (size_t)(strstr(block, "%d") - block);
    for (int64_t i = 0; i < wn_checkpoint_count(model->checkpoint); i++) {
        const char *name = wn_checkpoint_at(model->checkpoint, i)->name;
        if (strncmp(name, prefixes->found, prefixes->length) == 0 &&
            strncmp(name + prefixes->length, block, length) == 0)
            return true;
    }
    return false;
}

static bool find_prefix(const struct wn_model *model, struct prefixes *prefixes)
{
    const char *embedding = model->layout.embedding + prefixes->base;
    for (int64_t i = 0; i < wn_checkpoint_count(model->checkpoint); i++) {
        const char *name = wn_checkpoint_at(model->checkpoint, i)->name;
        if (!ends(name, embedding))
            continue;
        prefixes->found = name;
        prefixes->length = strlen(name) - strlen(embedding);
        if ((prefixes->length == 0 || name[prefixes->length - 1] == '.') && has_blocks(model, prefixes))
            return true;
    }
    return false;
}

void wn_tensors_rename(struct wn_model *model)
{
    static const char *const usual[] = {
        "", "model.", "language_model.model.", "model.language_model.", "language_model.", "decoder."};
    const struct wn_layout *layout = &model->layout;
    struct prefixes prefixes = {.layout = layout,
                                .base = common_prefix(layout->embedding, layout->block_prefix),
                                .head = common_prefix(layout->head, layout->embedding)};
    if (wn_checkpoint_find(model->checkpoint, model->layout.embedding) || !find_prefix(model, &prefixes))
        return;
    char *prefix = wn_format("%.*s", (int)prefixes.length, prefixes.found);
    bool known = false;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        known |= !strcmp(prefix, usual[i]);
    int64_t count = wn_checkpoint_rename(model->checkpoint, renamed, &prefixes);
    if (count && !known)
        wn_problems_add(&model->notes, "%s: the names of %lld tensors begin with \"%s\", which is taken for \"%.*s\"",
                        place_of(model), (long long)count, prefix, (int)prefixes.base, model->layout.block_prefix);
    wn_free(prefix);
}

/* ---- experts ---- */

/* The tensor `name` of the first block that has experts. */
static bool has_in_block(const struct wn_model *model, const char *name)
{
    int64_t block = 0;
    while (block < model->config.n_blocks && !wn_is_in(&model->config, WN_SPARSE_BLOCKS, block))
        block++;
    char *full = wn_block_tensor(&model->layout, block, name, "");
    bool found = wn_checkpoint_find(model->checkpoint, full) != NULL;
    wn_free(full);
    return found;
}

/* Rows first .. of a stack of tensors. */
static void stack(struct wn_linear_info *linear, const char *tensor, int64_t count, int64_t rows, int64_t first)
{
    linear->source = (struct wn_source){
        .rows = count * rows, .first = first, .run = linear->rows, .stride = linear->rows, .stacked = count};
    snprintf(linear->source.tensor, sizeof linear->source.tensor, "%s", tensor);
}

void wn_tensors_stack_experts(struct wn_model *model)
{
    static const char gate_up[] = "mlp.experts.gate_up_proj", down[] = "mlp.experts.down_proj",
                      router[] = "mlp.gate.weight";
    struct wn_layout *layout = &model->layout;
    const int64_t count = model->config.decoder.experts.count;
    if (!count || !has_in_block(model, gate_up))
        return;
    for (int l = 0; l < layout->n_linears; l++) {
        const int64_t expert = layout->input_experts[layout->linears[l].input] - 1;
        struct wn_linear_info *each = &layout->linears[l]; /* gate, up, down */
        if (expert < 0)
            continue;
        stack(&each[0], gate_up, count, 2 * each[0].rows, expert * 2 * each[0].rows);
        stack(&each[1], gate_up, count, 2 * each[1].rows, (expert * 2 + 1) * each[1].rows);
        stack(&each[2], down, count, each[2].rows, expert * each[2].rows);
        l += 2;
    }
    for (int v = 0; v < layout->n_vectors; v++)
        if (layout->vectors[v].where == WN_SPARSE_BLOCKS && ends(layout->vectors[v].name, ".gate.weight") &&
            !has_in_block(model, layout->vectors[v].name) && has_in_block(model, router))
            snprintf(layout->vectors[v].name, sizeof layout->vectors[v].name, "%s", router);
}

/* ---- the head ---- */

static bool same_tensor(const struct wn_tensor *a, const struct wn_tensor *b)
{
    return a->dtype == b->dtype && a->n_dims == b->n_dims && a->bytes == b->bytes &&
           memcmp(a->shape, b->shape, (size_t)a->n_dims * sizeof *a->shape) == 0 &&
           memcmp(a->data, b->data, (size_t)a->bytes) == 0;
}

static char *head_as_embedding(const void *context, const char *name)
{
    const struct wn_layout *layout = context;
    return strcmp(name, layout->head) ? NULL : wn_strdup(layout->embedding);
}

/* A config.json that ties. Two stored tensors that differ count as they are; of one that is alone both are made. */
static void tie(struct wn_model *model)
{
    const struct wn_layout *layout = &model->layout;
    const struct wn_tensor *embedding = wn_checkpoint_find(model->checkpoint, layout->embedding);
    const struct wn_tensor *head = wn_checkpoint_find(model->checkpoint, layout->head);
    if (head && !embedding) {
        wn_checkpoint_rename(model->checkpoint, head_as_embedding, layout);
    } else if (head && !same_tensor(head, embedding)) {
        model->config.tied = false;
        wn_problems_add(&model->notes,
                        "%s/config.json ties the head to the embedding, but the tensor \"%s\" is another one: it is "
                        "used as it is, as in transformers; set \"tie_word_embeddings\" to false to say so",
                        model->directory, layout->head);
    }
}

void wn_tensors_tie(struct wn_model *model, struct wn_problems *problems)
{
    if (model->config.tied)
        tie(model);
    else if (!wn_checkpoint_find(model->checkpoint, model->layout.head) &&
             wn_checkpoint_find(model->checkpoint, model->layout.embedding))
        wn_problems_add(problems,
                        "%s: the tensor \"%s\" is missing: by config.json (\"tie_word_embeddings\" false, or absent) "
                        "the head is no copy of the embedding; if it is one, set \"tie_word_embeddings\" to true there",
                        place_of(model), model->layout.head);
}

/* ---- what is left over ---- */

/* Buffers that old versions stored and nothing reads: masks, tables of rotary positions; factors of inputs that a
 * checkpoint of 8-bit floats has for kernels of its own. */
static bool is_harmless(const char *name)
{
    static const char *const endings[] = {
        ".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached", ".attn.bias",  ".attn.masked_bias",
        ".attention.bias",      ".attention.masked_bias", ".position_ids",          ".rope.freqs", ".input_scale"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends(name, endings[i]) || !strcmp(name, endings[i] + 1))
            return true;
    return false;
}

/* "model.layers.12.mlp" as "model.layers.N.mlp"; owned by the caller. */
static char *kind_of(const char *name)
{
    struct wn_text kind = {0};
    for (const char *at = name; *at; at++)
        if (isdigit((unsigned char)*at) && (at == name || at[-1] == '.')) {
            size_t digits = strspn(at, "0123456789");
            bool whole = at[digits] == '.' || !at[digits];
            wn_text_append(&kind, whole ? "N" : at, whole ? 1 : digits);
            at += digits - 1;
        } else {
            wn_text_append(&kind, at, 1);
        }
    return kind.data;
}

struct kinds {
    int64_t count;
    char **names;   /* [count] owned */
    int64_t *times; /* [count] */
};

/* Takes over the name. */
static void count_kind(struct kinds *kinds, char *name)
{
    for (int64_t i = 0; i < kinds->count; i++)
        if (!strcmp(kinds->names[i], name)) {
            kinds->times[i]++;
            wn_free(name);
            return;
        }
    kinds->names = wn_resize(kinds->names, kinds->count + 1, sizeof *kinds->names);
    kinds->times = wn_resize(kinds->times, kinds->count + 1, sizeof *kinds->times);
    kinds->names[kinds->count] = name;
    kinds->times[kinds->count++] = 1;
}

void wn_tensors_tell_unused(struct wn_model *model, const bool *used)
{
    enum { MOST_KINDS = 6 };
    struct kinds kinds = {0};
    struct wn_text line = {0};
    int64_t unused = 0;
    for (int64_t i = 0; i < wn_checkpoint_count(model->checkpoint); i++) {
        const struct wn_tensor *tensor = wn_checkpoint_at(model->checkpoint, i);
        const char *name = tensor->name;
        if (used[i] || tensor->is_scale || is_harmless(name) || !strcmp(name, model->layout.head))
            continue;
        count_kind(&kinds, kind_of(name));
        unused++;
    }
    for (int64_t k = 0; k < kinds.count; k++) {
        if (k < MOST_KINDS)
            wn_text_printf(&line, "%s%s (%lld)", k ? ", " : "", kinds.names[k], (long long)kinds.times[k]);
        wn_free(kinds.names[k]);
    }
    if (kinds.count > MOST_KINDS)
        wn_text_printf(&line, " and %lld kinds more", (long long)(kinds.count - MOST_KINDS));
    if (unused)
        wn_problems_add(&model->notes, "%s: %lld %s of the checkpoint %s not used by model type \"%s\": %s",
                        place_of(model), (long long)unused, unused == 1 ? "tensor" : "tensors",
                        unused == 1 ? "is" : "are", model->config.model_type, line.data);
    wn_free(kinds.names);
    wn_free(kinds.times);
    wn_text_release(&line);
}

const char *wn_tensors_quantized(const struct wn_model *model)
{
    static const struct {
        const char *ending, *method;
    } signs[] = {{".qweight", "GPTQ or AWQ"},
                 {".weight_packed", "compressed-tensors"},
                 {".weight.absmax", "bitsandbytes, 4 bits"},
                 {".weight.quant_map", "bitsandbytes, 4 bits"},
                 {".SCB", "bitsandbytes, 8 bits"},
                 {".W_q", "HQQ"},
                 {".weight._data", "quanto"},
                 {".codebooks", "AQLM"},
                 {".Qidxs", "QuIP#"},
                 {".weight_blocks", "MXFP4"}};
    for (int64_t i = 0; i < wn_checkpoint_count(model->checkpoint); i++)
        for (size_t k = 0; k < sizeof signs / sizeof *signs; k++)
            if (ends(wn_checkpoint_at(model->checkpoint, i)->name, signs[k].ending))
                return signs[k].method;
    return NULL;
}
