/* SPDX-License-Identifier: Apache-2.0 */
/* file.c: the levels of one block in a file: a header, the entries, and packed linears one after the other. */
#include <winnow/level.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[16] = "winnow levels 1";

struct header {
    char magic[16];
    uint8_t key[32];
    int64_t block, count, bytes; /* bytes of the whole file */
    uint8_t hash[32];            /* of all above, and of the entries */
};

enum { ALIGNMENT = 64, MOST_ENTRIES = 1 << 20 };

/* ---- names and keys ---- */

static void hash_key(const char *key, uint8_t digest[32])
{
    struct wn_hash *hash = wn_hash_create();

    wn_hash_update(hash, key, strlen(key) + 1);
    wn_hash_finish(hash, digest);
}

static char *path_of(const char *folder, const char *key, int64_t block, const char *ending)
{
    uint8_t digest[32];
    char hex[WN_HASH_HEX];

    hash_key(key, digest);
    wn_hash_hex(digest, hex);
    return wn_format("%s/levels-%.16s-%lld%s", folder, hex, (long long)block, ending);
}

static void hash_header(const struct header *header, const struct wn_level_entry *entries, uint8_t digest[32])
{
    struct wn_hash *hash = wn_hash_create();

    wn_hash_update(hash, header, offsetof(struct header, hash));
    wn_hash_update(hash, entries, (size_t)header->count * sizeof *entries);
    wn_hash_finish(hash, digest);
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Where the first packed linear lies. */
static int64_t first_offset(int64_t count)
{
    return round_up((int64_t)sizeof(struct header) + count * (int64_t)sizeof(struct wn_level_entry));
}

int64_t wn_levels_overhead(int64_t count)
{
    return first_offset(count) + count * ALIGNMENT;
}

/* ---- reading ---- */

static bool comes_before(const struct wn_level_entry *a, const struct wn_level_entry *b)
{
    return a->linear < b->linear || (a->linear == b->linear && a->level < b->level);
}

static bool entries_are_sound(const struct wn_level_entry *entries, int64_t count, int64_t size)
{
    for (int64_t i = 0; i < count; i++)
        if (entries[i].offset < first_offset(count) || entries[i].bytes < 0 || entries[i].bytes > size ||
            entries[i].offset > size - entries[i].bytes || (i > 0 && !comes_before(&entries[i - 1], &entries[i])))
            return false;
    return true;
}

static wn_status fail_damaged(const struct wn_level_block *levels)
{
    return wn_fail(WN_ERR_IO, "%s: the levels are damaged; remove the file, and they are made again", levels->path);
}

static wn_status read_entries(const char *key, int64_t block, struct wn_level_block *levels)
{
    const struct wn_mapped *mapped = &levels->mapped;
    struct header header;
    uint8_t digest[32];

    if (mapped->size < (int64_t)sizeof header)
        return fail_damaged(levels);
    memcpy(&header, mapped->data, sizeof header);
    hash_key(key, digest);
    if (memcmp(header.magic, magic, sizeof magic) != 0 || memcmp(header.key, digest, sizeof digest) != 0 ||
        header.block != block || header.count < 0 || header.count > MOST_ENTRIES || header.bytes != mapped->size ||
        first_offset(header.count) > mapped->size)
        return fail_damaged(levels);
    levels->count = header.count;
    levels->entries = wn_alloc(header.count, sizeof *levels->entries);
    levels->checked = wn_alloc_zero(header.count, sizeof *levels->checked);
    memcpy(levels->entries, mapped->data + sizeof header, (size_t)header.count * sizeof *levels->entries);
    hash_header(&header, levels->entries, digest);
    if (memcmp(header.hash, digest, sizeof digest) != 0 ||
        !entries_are_sound(levels->entries, levels->count, mapped->size))
        return fail_damaged(levels);
    return WN_OK;
}

wn_status wn_levels_open(const char *folder, const char *key, int64_t block, struct wn_level_block *levels)
{
    *levels = (struct wn_level_block){.block = block, .path = path_of(folder, key, block, "")};
    wn_status status = WN_OK;

    if (!wn_file_exists(levels->path))
        status = wn_fail(WN_ERR_IO, "%s: there are no levels of block %lld", levels->path, (long long)block);
    else if (wn_map(levels->path, &levels->mapped) != WN_OK)
        status = wn_fail(WN_ERR_IO, "%s: the levels cannot be read", levels->path);
    else
        status = read_entries(key, block, levels);
    if (status != WN_OK)
        wn_levels_close(levels);
    return status;
}

void wn_levels_close(struct wn_level_block *levels)
{
    if (levels->mapped.data)
        wn_unmap(&levels->mapped);
    wn_free(levels->entries);
    wn_free(levels->checked);
    wn_free(levels->path);
    *levels = (struct wn_level_block){0};
}

const struct wn_level_entry *wn_levels_find(const struct wn_level_block *levels, int linear, int32_t level)
{
    const struct wn_level_entry wanted = {.linear = linear, .level = level};
    int64_t low = 0, high = levels->count;

    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (comes_before(&levels->entries[middle], &wanted))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == levels->count || comes_before(&wanted, &levels->entries[low]))
        return NULL;
    return &levels->entries[low];
}

wn_status wn_levels_packed(struct wn_level_block *levels, const struct wn_level_entry *entry, struct wn_packed *packed)
{
    const int64_t index = entry - levels->entries;
    const uint8_t *bytes = levels->mapped.data + entry->offset;

    if ((levels->checked[index] ? wn_packed_view : wn_packed_open)(levels->path, bytes, entry->bytes, packed) != WN_OK)
        return fail_damaged(levels);
    levels->checked[index] = true;
    return WN_OK;
}

/* ---- writing ---- */

struct wn_level_writer {
    struct header header;
    struct wn_level_entry *entries; /* [header.count] */
    int64_t added, at;              /* at: where the next packed linear goes */
    char *path, *partial;
    int file;
};

static wn_status fail_writer(const struct wn_level_writer *writer, int error)
{
    return wn_fail(WN_ERR_IO,
                   "%s: the levels of block %lld cannot be written: %s; scratch needs more room, or another "
                   "folder",
                   writer->partial, (long long)writer->header.block, strerror(error));
}

static void release_writer(struct wn_level_writer **writer)
{
    if ((*writer)->file >= 0)
        close((*writer)->file);
    wn_free((*writer)->entries);
    wn_free((*writer)->path);
    wn_free((*writer)->partial);
    wn_free(*writer);
    *writer = NULL;
}

wn_status wn_level_writer_create(const char *folder, const char *key, int64_t block, int64_t count,
                                 struct wn_level_writer **writer)
{
    struct wn_level_writer *w = wn_alloc_zero(1, sizeof *w);
    char ending[64];

    snprintf(ending, sizeof ending, ".partial-%ld", (long)getpid());
    *w = (struct wn_level_writer){.header = {.block = block, .count = count}, .at = first_offset(count)};
    memcpy(w->header.magic, magic, sizeof magic);
    hash_key(key, w->header.key);
    w->path = path_of(folder, key, block, "");
    w->partial = path_of(folder, key, block, ending);
    w->entries = wn_alloc_zero(count, sizeof *w->entries);
    *writer = w;
    mkdir(folder, 0777); /* it may be there; else the next line fails */
    w->file = open(w->partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->file >= 0)
        return WN_OK;
    wn_status status = fail_writer(w, errno);
    release_writer(writer);
    return status;
}

wn_status wn_level_writer_add(struct wn_level_writer *writer, const struct wn_level_entry *entry,
                              const struct wn_packed *packed)
{
    struct wn_level_entry *own = &writer->entries[writer->added];

    if (writer->added == writer->header.count)
        WN_BUG("level %d of linear %d is one too many", (int)entry->level, (int)entry->linear);
    if (!wn_write_at(writer->file, packed->bytes, packed->size, writer->at))
        return fail_writer(writer, errno);
    *own = (struct wn_level_entry){0}; /* no bytes between the members that nobody has set */
    own->linear = entry->linear;
    own->level = entry->level;
    own->zeros = entry->zeros;
    own->bits = entry->bits;
    own->error = entry->error;
    own->offset = writer->at;
    own->bytes = packed->size;
    writer->added++;
    writer->at = round_up(writer->at + packed->size);
    return WN_OK;
}

static int compare_entries(const void *a, const void *b)
{
    return comes_before(a, b) ? -1 : comes_before(b, a);
}

static bool write_header(struct wn_level_writer *writer)
{
    struct header *header = &writer->header;

    qsort(writer->entries, (size_t)header->count, sizeof *writer->entries, compare_entries);
    header->bytes = writer->at;
    hash_header(header, writer->entries, header->hash);
    return wn_write_at(writer->file, header, sizeof *header, 0) &&
           wn_write_at(writer->file, writer->entries, header->count * (int64_t)sizeof *writer->entries,
                       sizeof *header) &&
           ftruncate(writer->file, header->bytes) == 0 && fsync(writer->file) == 0 &&
           rename(writer->partial, writer->path) == 0;
}

wn_status wn_level_writer_finish(struct wn_level_writer **writer)
{
    wn_status status = WN_OK;

    if ((*writer)->added != (*writer)->header.count)
        WN_BUG("%lld levels of %lld were added", (long long)(*writer)->added, (long long)(*writer)->header.count);
    if (!write_header(*writer)) {
        status = fail_writer(*writer, errno);
        unlink((*writer)->partial);
    }
    release_writer(writer);
    return status;
}

void wn_level_writer_abandon(struct wn_level_writer **writer)
{
    if (!*writer)
        return;
    unlink((*writer)->partial);
    release_writer(writer);
}

void wn_levels_remove(const char *folder, const char *key, int64_t n_blocks)
{
    for (int64_t b = 0; b < n_blocks; b++) {
        char *path = path_of(folder, key, b, "");
        unlink(path);
        wn_free(path);
    }
    rmdir(folder); /* only when it is empty */
}

void wn_levels_clear(const char *folder)
{
    static const char PREFIX[] = "levels-";
    struct dirent *entry;
    DIR *all = opendir(folder);

    while (all && (entry = readdir(all)))
        if (!strncmp(entry->d_name, PREFIX, strlen(PREFIX)))
            unlinkat(dirfd(all), entry->d_name, 0);
    if (!all)
        return;
    closedir(all);
    rmdir(folder);
}

bool wn_levels_are_shared(struct wn_par *par, const char *folder)
{
    char name[64] = "";
    bool missing = false;

    mkdir(folder, 0777); /* where it cannot be made, writing levels says so */
    if (wn_par_nodes(par) == 1)
        return true;
    if (wn_par_rank(par) == 0) /* a name that no node has asked for before */
        snprintf(name, sizeof name, "token-%ld-%.0f", (long)getpid(), 1e9 * wn_seconds());
    wn_par_broadcast(par, name, sizeof name, 0);
    char *path = wn_join_path(folder, name);
    if (wn_par_rank(par) == 0) {
        int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0)
            close(file);
        wn_sync_folder(folder);
    }
    wn_par_barrier(par);
    if (wn_par_node_rank(par) == 0)
        missing = !wn_file_exists(path);
    missing = wn_par_max(par, missing);
    if (wn_par_rank(par) == 0)
        unlink(path);
    wn_free(path);
    return !missing;
}
