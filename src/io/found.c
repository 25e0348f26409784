/* SPDX-License-Identifier: Apache-2.0 */
/* A model folder with neither model.safetensors nor its index: one line that says what it holds, and what to do. */
#include "found.h"

#include <winnow/io.h>

#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Names by their pattern, the telling ones first. */
static const struct kind {
    const char *pattern, *is, *advice;
} kinds[] = {
    {FOUND_SINGLE, "a link to a file that is not there", "finish the download, or copy the files behind the links"},
    {FOUND_INDEX, "a link to a file that is not there", "finish the download, or copy the files behind the links"},
    {"*.incomplete", "an unfinished download", "finish it"},
    {"*.safetensors.part", "an unfinished download", "finish it"},
    {"*.crdownload", "an unfinished download", "finish it"},
    {"*.aria2", "an unfinished download", "finish it"},
    {"adapter_config.json", "an adapter (LoRA) and no model", "merge it into its base by merge_and_unload of peft"},
    {"model*-of-*.safetensors", "one of several files without their index", "download " FOUND_INDEX " too"},
    {"consolidated*.safetensors", "weights in the names of their maker's own code",
     "take the checkpoint for transformers"},
    {"model.*.safetensors", "a variant", "rename it to " FOUND_SINGLE " (or link it)"},
    {"model.safetensors.index.*.json", "the index of a variant", "rename it to " FOUND_INDEX " (or link it)"},
    {"*.safetensors", "weights under another name", "rename it to " FOUND_SINGLE " (or link it)"},
    {"*.gguf", "a GGUF file", "take the checkpoint it was made from"},
    {"*.ggml", "a GGML file", "take the checkpoint it was made from"},
    {"pytorch_model*.bin", "PyTorch's own format", "convert it by from_pretrained and save_pretrained of transformers"},
    {"pytorch_model.bin.index.json", "the index of PyTorch files that are not there", "finish the download"},
    {"*.bin", "PyTorch's own format", "convert it by from_pretrained and save_pretrained of transformers"},
    {"consolidated*.pth", "PyTorch's own format in the names of Meta's code",
     "take the checkpoint for transformers, or convert it by convert_llama_weights_to_hf.py"},
    {"*.pth", "PyTorch's own format", "convert it by save_pretrained of transformers"},
    {"*.pt", "PyTorch's own format", "convert it by save_pretrained of transformers"},
    {"tf_model*.h5", "TensorFlow's format", "convert it by from_pretrained(from_tf=True) and save_pretrained"},
    {"flax_model*.msgpack", "Flax's format", "convert it by from_pretrained(from_flax=True) and save_pretrained"},
    {"*.onnx", "an ONNX file", "take the checkpoint it was made from"},
};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

struct found {
    int64_t entries;
    int64_t count[N_KINDS];
    char *first[N_KINDS]; /* the first name by alphabet; owned */
};

static int kind_of(const char *name)
{
    for (int k = 0; k < N_KINDS; k++)
        if (fnmatch(kinds[k].pattern, name, 0) == 0)
            return k;
    return -1;
}

static void note(struct found *found, const char *name)
{
    int k = kind_of(name);

    found->entries++;
    if (k < 0)
        return;
    found->count[k]++;
    if (found->first[k] && strcmp(found->first[k], name) < 0)
        return;
    wn_free(found->first[k]);
    found->first[k] = wn_strdup(name);
}

static bool list(const char *directory, struct found *found)
{
    DIR *listing = opendir(directory);
    const struct dirent *entry;

    while (listing && (entry = readdir(listing)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            note(found, entry->d_name);
    if (listing)
        closedir(listing);
    return listing != NULL;
}

static wn_status tell(const char *directory, const struct found *found)
{
    for (int k = 0; k < N_KINDS; k++)
        if (found->count[k] == 1)
            return wn_fail(WN_ERR_INPUT, "%s: there is no " FOUND_SINGLE ", only %s, %s: %s", directory,
                           found->first[k], kinds[k].is, kinds[k].advice);
        else if (found->count[k])
            return wn_fail(WN_ERR_INPUT, "%s: there is no " FOUND_SINGLE ", only %s and %lld more, %s: %s", directory,
                           found->first[k], (long long)found->count[k] - 1, kinds[k].is, kinds[k].advice);
    if (!found->entries)
        return wn_fail(WN_ERR_INPUT, "%s: the folder is empty: expected config.json, tokenizer.json and " FOUND_SINGLE,
                       directory);
    return wn_fail(WN_ERR_INPUT, "%s: there is neither " FOUND_SINGLE " nor " FOUND_INDEX, directory);
}

/* Where the hub's client keeps what it has not finished. */
static void list_downloads(const char *directory, struct found *found)
{
    char *path = wn_join_path(directory, ".cache/huggingface/download");
    struct found inside = {0};

    list(path, &inside);
    for (int k = 0; k < N_KINDS; k++) {
        if (inside.first[k] && fnmatch("*.incomplete", inside.first[k], 0) == 0) {
            found->count[k] += inside.count[k];
            wn_free(found->first[k]);
            found->first[k] = wn_format(".cache/huggingface/download/%s", inside.first[k]);
        }
        wn_free(inside.first[k]);
    }
    wn_free(path);
}

wn_status wn_found_instead(const char *directory)
{
    struct found found = {0};
    wn_status status;

    if (list(directory, &found)) {
        list_downloads(directory, &found);
        status = tell(directory, &found);
    } else {
        status = wn_fail(WN_ERR_INPUT, "%s: the model's folder cannot be read", directory);
    }
    for (int k = 0; k < N_KINDS; k++)
        wn_free(found.first[k]);
    return status;
}
