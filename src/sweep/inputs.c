/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inputs.c: one sweep, one set of inputs. Ranks may see different files behind one name: copies on every node, other
 * working folders, stale caches. So no rank believes what another one read: each node hashes all files itself, its
 * ranks together, and all hashes must equal those of rank 0. Ranks of a node whose names stand for other files (by
 * device, inode and times) hash theirs apart.
 */
#include <string.h>

#include "sweep_impl.h"

enum { MOST_SMALL_FILES = 3 };

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- hashing ---- */

struct hashes {
    int64_t count;
    char *const *paths;
    char (*mine)[WN_HASH_HEX]; /* [count] of what this rank reads */
};

static wn_status take_stamps(const struct wn_par *par, const struct hashes *hashes, struct wn_stamp *stamps)
{
    for (int64_t i = 0; i < hashes->count; i++)
        if (wn_stamp_take(hashes->paths[i], &stamps[i]) != WN_OK)
            return wn_fail(WN_ERR_INPUT, "rank %d on %s: %s", wn_par_rank(par), wn_par_host(par), wn_error_message());
    return WN_OK;
}

/* The ranks of the node that read the same files: members[] gets their node ranks, *place that of this rank. */
static int same_readers(const struct wn_par *par, const struct wn_stamp *all, int64_t count, int *members, int *place)
{
    int size = 0;
    const struct wn_stamp *own = all + wn_par_node_rank(par) * count;
    for (int r = 0; r < wn_par_node_size(par); r++) {
        bool same = true;
        for (int64_t i = 0; i < count && same; i++)
            same = wn_stamp_equal(&all[r * count + i], &own[i]);
        if (!same)
            continue;
        if (r == wn_par_node_rank(par))
            *place = size;
        members[size++] = r;
    }
    return size;
}

/* Each file is read once by the ranks of a node that share it. Collective. */
static wn_status hash_files(struct wn_par *par, struct hashes *hashes)
{
    int64_t count = hashes->count, bytes = 0;
    double start = wn_seconds();
    int n = wn_par_node_size(par), place = 0, *members = wn_alloc(n, sizeof *members);
    struct wn_stamp *stamps = wn_alloc_zero(count, sizeof *stamps), *all = wn_alloc_zero(n * count, sizeof *all);
    char(*of_all)[WN_HASH_HEX] = wn_alloc_zero(n * count, sizeof *of_all);
    wn_status status = wn_par_agree(par, take_stamps(par, hashes, stamps));
    for (int64_t i = 0; i < count; i++)
        bytes += stamps[i].size;
    if (bytes)
        wn_log(WN_LOG_INFO, "hashing %lld files: %.1f MB", (long long)count, (double)bytes / 1e6);
    if (status == WN_OK) {
        wn_par_node_gather(par, stamps, count * (int64_t)sizeof *stamps, all);
        int size = same_readers(par, all, count, members, &place);
        if (size < 1)
            WN_BUG("a rank does not read what it reads itself");
        for (int64_t i = place; i < count && status == WN_OK; i += size)
            status = wn_hash_file(hashes->paths[i], hashes->mine[i]);
        status = wn_par_agree(par, status);
        wn_par_node_gather(par, hashes->mine, count * WN_HASH_HEX, of_all);
        for (int64_t i = 0; i < count; i++)
            memcpy(hashes->mine[i], of_all[members[i % size] * count + i], WN_HASH_HEX);
        if (bytes)
            wn_log(WN_LOG_INFO, "hashed in %.1f s", wn_seconds() - start);
    }
    wn_free(members);
    wn_free(stamps);
    wn_free(all);
    wn_free(of_all);
    return status;
}

/* Collective. */
static wn_status compare_with_first(struct wn_par *par, const struct hashes *hashes)
{
    char(*first)[WN_HASH_HEX] = wn_alloc_zero(hashes->count, sizeof *first);
    wn_status status = WN_OK;
    memcpy(first, hashes->mine, (size_t)hashes->count * sizeof *first);
    wn_par_broadcast(par, first, hashes->count * WN_HASH_HEX, 0);
    for (int64_t i = 0; i < hashes->count && status == WN_OK; i++)
        if (strcmp(first[i], hashes->mine[i]))
            status = wn_fail(WN_ERR_INPUT,
                             "%s: rank %d on %s reads another file than rank 0 (sha256 %.12s... there, %.12s... here): "
                             "all ranks must read the same bytes",
                             hashes->paths[i], wn_par_rank(par), wn_par_host(par), first[i], hashes->mine[i]);
    wn_free(first);
    return wn_par_agree(par, status);
}

/* Whether a text is that of rank 0. Collective. */
static bool same_as_first(struct wn_par *par, const char *text)
{
    char mine[WN_HASH_HEX], first[WN_HASH_HEX];
    wn_hash_buffer(text, strlen(text), mine);
    memcpy(first, mine, sizeof first);
    wn_par_broadcast(par, first, sizeof first, 0);
    return !strcmp(first, mine);
}

/* A rank that alone could not open a file has another list; the calls below need equal ones. Collective. */
static wn_status compare_lists(struct wn_par *par, int64_t count, char *const *paths)
{
    struct wn_text names = {0};
    for (int64_t i = 0; i < count; i++)
        wn_text_printf(&names, "%s\n", paths[i]);
    wn_status status = WN_OK;
    if (!same_as_first(par, names.data ? names.data : ""))
        status =
            wn_fail(WN_ERR_INPUT, "rank %d on %s finds other files than rank 0: all ranks must read the same bytes",
                    wn_par_rank(par), wn_par_host(par));
    wn_text_release(&names);
    return wn_par_agree(par, status);
}

/* hashes [count]: the same on every rank. Collective. */
static wn_status compare_files(struct wn_par *par, int64_t count, char *const *paths, char (*hashes)[WN_HASH_HEX])
{
    struct hashes all = {count, paths, hashes};
    WN_TRY(compare_lists(par, count, paths));
    WN_TRY(hash_files(par, &all));
    return compare_with_first(par, &all);
}

/* ---- of a sweep ---- */

wn_status wn_inputs_compare_sweep(struct wn_par *par, const struct wn_sweep *sweep)
{
    wn_status status = WN_OK;
    if (!same_as_first(par, sweep->text ? sweep->text : ""))
        status = wn_fail(WN_ERR_INPUT, "%s: rank %d on %s reads another sweep file than rank 0", sweep->path,
                         wn_par_rank(par), wn_par_host(par));
    return wn_par_agree(par, status);
}

wn_status wn_inputs_compare_texts(struct wn_par *par, const struct wn_sweep *sweep)
{
    char(*hashes)[WN_HASH_HEX] = wn_alloc_zero(sweep->inputs.count, sizeof *hashes);
    wn_status status = compare_files(par, sweep->inputs.count, sweep->inputs.paths, hashes);
    wn_free(hashes);
    return status;
}

/* What a model is beside its weights; returns how many of them there are. */
static int64_t small_files(const struct wn_model *model, char **paths)
{
    paths[0] = wn_join_path(model->directory, "config.json");
    paths[1] = wn_strdup(wn_tokenizer_path(model->tokenizer));
    paths[2] = wn_join_path(model->directory, "generation_config.json");
    if (wn_file_exists(paths[2]))
        return 3;
    wn_free(paths[2]);
    return 2;
}

/* Config and tokenizer, then the files of the weights: their hashes go into the checkpoint, all into prepared->hash. */
wn_status wn_inputs_compare_model(struct wn_par *par, struct wn_prepared_model *prepared)
{
    const char *const *shards;
    int64_t n_shards = wn_checkpoint_files(prepared->model->checkpoint, &shards);
    char **paths = wn_alloc(n_shards + MOST_SMALL_FILES, sizeof *paths);
    char(*hashes)[WN_HASH_HEX] = wn_alloc_zero(n_shards + MOST_SMALL_FILES, sizeof *hashes);
    struct wn_text lines = {0};
    int64_t others = small_files(prepared->model, paths), count = others + n_shards;
    for (int64_t i = 0; i < n_shards; i++)
        paths[others + i] = wn_strdup(shards[i]);
    wn_status status = compare_files(par, count, paths, hashes);
    for (int64_t i = 0; i < count; i++) {
        wn_text_printf(&lines, "%s  %s\n", hashes[i], last_part(paths[i]));
        if (i >= others && status == WN_OK)
            wn_checkpoint_set_hash(prepared->model->checkpoint, i - others, hashes[i]);
        wn_free(paths[i]);
    }
    prepared->hash = lines.data;
    wn_free(paths);
    wn_free(hashes);
    return status;
}
