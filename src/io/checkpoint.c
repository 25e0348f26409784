/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint: model.safetensors, or the shards that model.safetensors.index.json names. As in transformers, the index
 * only says which files there are: all tensors of all of them are the checkpoint's, those of the last file (by name)
 * where two have one. A tensor that the index names and no file has is missing when it is asked for.
 */
#include "found.h"
#include "image.h"
#include "scales.h"

#include <cjson/cJSON.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SINGLE_NAME FOUND_SINGLE
#define INDEX_NAME  FOUND_INDEX

struct wn_checkpoint {
    int64_t n_files, count;
    char **paths;              /* [n_files], sorted, owned */
    struct wn_mapped *maps;    /* [n_files] */
    char **hashes;             /* [n_files] NULL: not known; owned */
    struct image *images;      /* [n_files] */
    struct wn_tensor *tensors; /* [count], sorted by name; names belong to the images or to `renamed` */
    int64_t n_renamed;
    char **renamed; /* [n_renamed] owned */
};

/* ---- opening files ---- */

static void set_files(struct wn_checkpoint *checkpoint, char **paths, int64_t count)
{
    checkpoint->n_files = count;
    checkpoint->paths = paths;
    checkpoint->maps = wn_alloc_zero(count, sizeof *checkpoint->maps);
    for (int64_t file = 0; file < count; file++)
        checkpoint->maps[file].descriptor = -1;
    checkpoint->hashes = wn_alloc_zero(count, sizeof *checkpoint->hashes);
    checkpoint->images = wn_alloc_zero(count, sizeof *checkpoint->images);
}

static wn_status open_file(struct wn_checkpoint *checkpoint, int64_t file)
{
    const char *path = checkpoint->paths[file];
    struct wn_mapped *map = &checkpoint->maps[file];

    WN_TRY(wn_map(path, map));
    return image_read(path, map->data, map->size, &checkpoint->images[file]);
}

/* By name; of equal ones that of the last file comes first. */
static int compare_from_last(const void *a, const void *b)
{
    const struct wn_tensor *left = a, *right = b;
    int order = image_compare_names(left, right);

    return order ? order : strcmp(right->file, left->file);
}

/* All tensors of all files, sorted; of equal names the one in the last file. */
static void gather_tensors(struct wn_checkpoint *checkpoint)
{
    int64_t total = 0, kept = 0;

    for (int64_t file = 0; file < checkpoint->n_files; file++)
        total += checkpoint->images[file].count;
    struct wn_tensor *tensors = wn_alloc(total, sizeof *tensors), *end = tensors;
    for (int64_t file = 0; file < checkpoint->n_files; file++)
        for (int64_t i = 0; i < checkpoint->images[file].count; i++)
            *end++ = checkpoint->images[file].tensors[i];
    if (total > 0)
        qsort(tensors, (size_t)total, sizeof *tensors, compare_from_last);
    for (int64_t i = 0; i < total; i++)
        if (kept == 0 || image_compare_names(&tensors[kept - 1], &tensors[i]) != 0)
            tensors[kept++] = tensors[i];
    checkpoint->tensors = tensors;
    checkpoint->count = kept;
}

static wn_status open_single(struct wn_checkpoint *checkpoint, const char *directory)
{
    char **paths = wn_alloc(1, sizeof *paths);

    paths[0] = wn_join_path(directory, SINGLE_NAME);
    set_files(checkpoint, paths, 1);
    WN_TRY(open_file(checkpoint, 0));
    gather_tensors(checkpoint);
    return WN_OK;
}

/* ---- shards ---- */

/* Relative, and no ".." among its parts. Symbolic links are fine: caches of models consist of them. */
static bool stays_inside(const char *name)
{
    if (name[0] == '/' || name[0] == '\0')
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static wn_status check_weight_map(const char *index_path, const cJSON *weight_map)
{
    const cJSON *item;

    if (!cJSON_IsObject(weight_map))
        return wn_fail(WN_ERR_INPUT, "%s: \"weight_map\" must be an object of file names", index_path);
    if (!weight_map->child)
        return wn_fail(WN_ERR_INPUT, "%s: \"weight_map\" names no tensor", index_path);
    cJSON_ArrayForEach (item, weight_map) {
        if (!cJSON_IsString(item))
            return wn_fail(WN_ERR_INPUT, "%s: \"weight_map\": the value of \"%s\" must be a file name", index_path,
                           item->string);
        if (!stays_inside(item->valuestring))
            return wn_fail(WN_ERR_INPUT, "%s: \"weight_map\": the file \"%s\" of \"%s\" must lie in the model's folder",
                           index_path, item->valuestring, item->string);
    }
    return WN_OK;
}

static int compare_texts(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;

    return strcmp(*left, *right);
}

/* The paths of all shards, each once, sorted. */
static char **list_shards(const char *directory, const cJSON *weight_map, int64_t *count)
{
    const cJSON *item;
    int64_t total = 0, kept = 0;
    char **paths = wn_alloc(cJSON_GetArraySize(weight_map), sizeof *paths);

    cJSON_ArrayForEach (item, weight_map)
        paths[total++] = wn_join_path(directory, item->valuestring);
    qsort(paths, (size_t)total, sizeof *paths, compare_texts);
    for (int64_t i = 0; i < total; i++) {
        if (kept > 0 && strcmp(paths[kept - 1], paths[i]) == 0)
            wn_free(paths[i]);
        else
            paths[kept++] = paths[i];
    }
    *count = kept;
    return paths;
}

static wn_status open_shards(struct wn_checkpoint *checkpoint, const char *directory, const char *index_path,
                             const cJSON *weight_map)
{
    int64_t n_files;

    WN_TRY(check_weight_map(index_path, weight_map));
    char **paths = list_shards(directory, weight_map, &n_files);
    set_files(checkpoint, paths, n_files);
    for (int64_t file = 0; file < n_files; file++) {
        wn_status status = open_file(checkpoint, file);
        if (status != WN_OK)
            return wn_fail(status, "%s (a shard named in %s)", wn_error_message(), index_path);
    }
    gather_tensors(checkpoint);
    return WN_OK;
}

static wn_status open_index(struct wn_checkpoint *checkpoint, const char *directory, const char *index_path)
{
    cJSON *index = NULL;

    WN_TRY(wn_json_read(index_path, false, &index));
    wn_status status =
        open_shards(checkpoint, directory, index_path, cJSON_GetObjectItemCaseSensitive(index, "weight_map"));
    cJSON_Delete(index);
    return status;
}

/* ---- the whole ---- */

static wn_status check_directory(const char *directory)
{
    struct stat about;

    if (stat(directory, &about) != 0)
        return wn_fail(WN_ERR_INPUT, "%s: the model's folder cannot be opened: %s", directory, strerror(errno));
    if (!S_ISDIR(about.st_mode))
        return wn_fail(WN_ERR_INPUT, "%s: is a file; expected the folder with " SINGLE_NAME, directory);
    return WN_OK;
}

/* A single file wins over an index, as in transformers. */
static wn_status open_directory(struct wn_checkpoint *checkpoint, const char *directory)
{
    WN_TRY(check_directory(directory));
    char *single = wn_join_path(directory, SINGLE_NAME), *index = wn_join_path(directory, INDEX_NAME);
    wn_status status;
    if (wn_file_exists(single))
        status = open_single(checkpoint, directory);
    else if (wn_file_exists(index))
        status = open_index(checkpoint, directory, index);
    else
        status = wn_found_instead(directory);
    wn_free(single);
    wn_free(index);
    return status;
}

wn_status wn_checkpoint_open(const char *directory, struct wn_checkpoint **checkpoint)
{
    *checkpoint = wn_alloc_zero(1, sizeof **checkpoint);
    wn_status status = open_directory(*checkpoint, directory);
    if (status != WN_OK)
        wn_checkpoint_close(checkpoint);
    return status;
}

void wn_checkpoint_close(struct wn_checkpoint **checkpoint)
{
    struct wn_checkpoint *old = *checkpoint;

    if (!old)
        return;
    for (int64_t file = 0; file < old->n_files; file++) {
        image_release(&old->images[file]);
        wn_unmap(&old->maps[file]);
        wn_free(old->paths[file]);
        wn_free(old->hashes[file]);
    }
    for (int64_t i = 0; i < old->n_renamed; i++)
        wn_free(old->renamed[i]);
    wn_free(old->renamed);
    wn_free(old->hashes);
    wn_free(old->paths);
    wn_free(old->maps);
    wn_free(old->images);
    wn_free(old->tensors);
    wn_free(old);
    *checkpoint = NULL;
}

const struct wn_tensor *wn_checkpoint_find(const struct wn_checkpoint *checkpoint, const char *name)
{
    return image_find(checkpoint->tensors, checkpoint->count, name);
}

int64_t wn_checkpoint_rename(struct wn_checkpoint *checkpoint, char *(*rename)(const void *context, const char *name),
                             const void *context)
{
    int64_t count = 0;
    int64_t *place = wn_alloc(checkpoint->count, sizeof *place);

    checkpoint->renamed =
        wn_resize(checkpoint->renamed, checkpoint->n_renamed + checkpoint->count, sizeof *checkpoint->renamed);
    char **names = checkpoint->renamed + checkpoint->n_renamed;
    for (int64_t i = 0; i < checkpoint->count; i++) {
        char *name = rename(context, checkpoint->tensors[i].name);
        if (name && wn_checkpoint_find(checkpoint, name)) {
            wn_free(name);
        } else if (name) {
            names[count] = name;
            place[count++] = i;
        }
    }
    for (int64_t i = 0; i < count; i++)
        checkpoint->tensors[place[i]].name = names[i];
    checkpoint->n_renamed += count;
    if (count > 0)
        qsort(checkpoint->tensors, (size_t)checkpoint->count, sizeof *checkpoint->tensors, image_compare_names);
    wn_free(place);
    return count;
}

wn_status wn_checkpoint_scale(struct wn_checkpoint *checkpoint, const int64_t block[2], bool needed)
{
    return scales_attach(checkpoint->tensors, checkpoint->count, block, needed);
}

int64_t wn_checkpoint_count(const struct wn_checkpoint *checkpoint)
{
    return checkpoint->count;
}

const struct wn_tensor *wn_checkpoint_at(const struct wn_checkpoint *checkpoint, int64_t index)
{
    if (index < 0 || index >= checkpoint->count)
        WN_BUG("tensor %lld of %lld was asked for", (long long)index, (long long)checkpoint->count);
    return &checkpoint->tensors[index];
}

int64_t wn_checkpoint_files(const struct wn_checkpoint *checkpoint, const char *const **paths)
{
    *paths = (const char *const *)checkpoint->paths;
    return checkpoint->n_files;
}

void wn_checkpoint_set_hash(struct wn_checkpoint *checkpoint, int64_t index, const char *hash)
{
    wn_free(checkpoint->hashes[index]);
    checkpoint->hashes[index] = wn_strdup(hash);
}

wn_status wn_checkpoint_check(struct wn_checkpoint *checkpoint)
{
    for (int64_t file = 0; file < checkpoint->n_files; file++)
        WN_TRY(wn_mapped_check(checkpoint->paths[file], &checkpoint->maps[file], checkpoint->hashes[file]));
    return WN_OK;
}
