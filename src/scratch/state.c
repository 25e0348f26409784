/* SPDX-License-Identifier: Apache-2.0 */
/* state.c: see winnow/scratch.h. */
#include <winnow/scratch.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <winnow/io.h>

enum { PIECE = 1 << 24 }; /* hashed and written at a time */
static const char magic[16] = "winnow state 2";
#define SUFFIX  ".state"
#define PARTIAL ".state.partial"

struct header {
    char magic[16];
    uint8_t key[32];
    int64_t point, step, steps, bytes; /* bytes of all pieces */
    int64_t place[3];
    double inside;
    uint8_t hash[32]; /* of the sizes and bytes of all pieces, and of the numbers above */
};

/* ---- names and keys ---- */

/* Two results files of one name may share a folder. */
char *wn_saver_folder(const char *output, const char *scratch)
{
    char hash[WN_HASH_HEX];
    if (!scratch)
        return wn_format("%s.scratch", output);
    const char *slash = strrchr(output, '/');
    char *folder = wn_directory_of(output), *real = realpath(folder, NULL);
    char *whole = wn_format("%s/%s", real ? real : folder, slash ? slash + 1 : output);
    wn_hash_buffer(whole, strlen(whole), hash);
    char *name = wn_format("%s-%.8s.scratch", slash ? slash + 1 : output, hash);
    char *path = wn_join_path(scratch, name);
    wn_free(name);
    wn_free(whole);
    wn_free(folder);
    free(real);
    return path;
}

char *wn_saver_levels(const char *output, const char *scratch, bool keeps)
{
    char *folder = !keeps ? wn_saver_folder(output, scratch) : scratch ? wn_strdup(scratch) : wn_directory_of(output);
    char *path = keeps ? wn_join_path(folder, "winnow.levels") : wn_format("%s.levels", folder);
    wn_free(folder);
    return path;
}

void wn_saver_release(struct wn_saver *saver)
{
    wn_free(saver->folder);
    wn_free(saver->build);
    wn_free(saver->levels);
    wn_free(saver->key);
    wn_free(saver->share);
    *saver = (struct wn_saver){0};
}

void wn_state_point_name(int64_t point, char name[WN_STATE_NAME])
{
    snprintf(name, WN_STATE_NAME, "point-%lld", (long long)point);
}

const char *wn_state_place_text(double steps_done, int64_t steps, char text[WN_STATE_PLACE])
{
    double whole = floor(steps_done);
    if (steps_done == whole)
        snprintf(text, WN_STATE_PLACE, "behind block %.0f of %lld", whole, (long long)steps);
    else
        snprintf(text, WN_STATE_PLACE, "in block %.0f of %lld (%.0f %%)", whole + 1, (long long)steps,
                 floor(100 * (steps_done - whole)));
    return text;
}

static char *path_of(const struct wn_saver *saver, const char *name, const char *suffix)
{
    return wn_format("%s/%s%s", saver->folder, name, suffix);
}

static void make_key(const struct wn_saver *saver, const struct wn_state *state, uint8_t key[32])
{
    struct wn_hash *hash = wn_hash_create();
    wn_hash_update(hash, saver->key, strlen(saver->key) + 1);
    wn_hash_update(hash, state->name, strlen(state->name) + 1);
    wn_hash_update(hash, state->what, strlen(state->what) + 1);
    wn_hash_finish(hash, key);
}

static struct header header_of(const struct wn_saver *saver, const struct wn_state *state,
                               const struct wn_state_piece *pieces, int64_t count)
{
    struct header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, magic, sizeof magic);
    make_key(saver, state, header.key);
    header.point = state->point;
    header.step = state->step;
    header.steps = state->steps;
    memcpy(header.place, state->place, sizeof header.place);
    header.inside = state->inside;
    for (int64_t i = 0; i < count; i++)
        header.bytes += pieces[i].bytes;
    return header;
}

static struct wn_hash *begin_hash(const struct header *header)
{
    struct wn_hash *hash = wn_hash_create();
    wn_hash_update(hash, header, offsetof(struct header, hash));
    return hash;
}

/* ---- writing ---- */

static bool put_pieces(int file, struct header *header, const struct wn_state_piece *pieces, int64_t count)
{
    struct wn_hash *hash = begin_hash(header);
    int64_t place = sizeof *header;
    bool good = wn_write_at(file, header, sizeof *header, 0); /* without its hash: not to be believed */
    for (int64_t i = 0; i < count; i++) {
        wn_hash_update(hash, &pieces[i].bytes, sizeof pieces[i].bytes);
        for (int64_t at = 0; at < pieces[i].bytes && good; at += PIECE) {
            int64_t bytes = pieces[i].bytes - at < PIECE ? pieces[i].bytes - at : PIECE;
            wn_hash_update(hash, (const uint8_t *)pieces[i].data + at, (size_t)bytes);
            good = wn_write_at(file, (const uint8_t *)pieces[i].data + at, bytes, place + at);
        }
        place += pieces[i].bytes;
    }
    wn_hash_finish(hash, header->hash);
    return good && wn_write_at(file, header, sizeof *header, 0) && fsync(file) == 0;
}

static wn_status fail_saver(struct wn_saver *saver, int64_t bytes, int error)
{
    saver->broken = true;
    wn_log(
        WN_LOG_WARNING,
        "%s: %.1f MB cannot be saved there: %s. The run goes on without saving: what a stop interrupts starts again. "
        "Give --scratch DIR with room",
        saver->folder, (double)bytes / 1e6, strerror(error));
    return wn_fail(WN_ERR_IO, "%s: cannot be written: %s", saver->folder, strerror(error));
}

wn_status wn_state_write(struct wn_saver *saver, const struct wn_state *state, const struct wn_state_piece *pieces,
                         int64_t count)
{
    struct header header = header_of(saver, state, pieces, count);
    double start = wn_seconds();
    if (saver->broken)
        return wn_fail(WN_ERR_IO, "%s: nothing can be saved there", saver->folder);
    if (mkdir(saver->folder, 0777) != 0 && errno != EEXIST)
        return fail_saver(saver, header.bytes, errno);
    char *path = path_of(saver, state->name, SUFFIX), *partial = path_of(saver, state->name, PARTIAL);
    int file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = file >= 0 && put_pieces(file, &header, pieces, count);
    int error = errno;
    if (file >= 0)
        close(file);
    if (good && rename(partial, path) != 0) {
        good = false;
        error = errno;
    }
    if (good)
        wn_sync_folder(saver->folder);
    else
        unlink(partial);
    wn_free(path);
    wn_free(partial);
    double seconds = wn_seconds() - start;
    if (good && header.bytes > 1 << 20 && seconds > 0)
        saver->rate = (double)header.bytes / seconds;
    return good ? WN_OK : fail_saver(saver, header.bytes, error);
}

/* ---- reading ---- */

static bool read_header(const char *path, struct header *header)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    bool good = pread(file, header, sizeof *header, 0) == (ssize_t)sizeof *header &&
                !memcmp(header->magic, magic, sizeof magic);
    close(file);
    return good;
}

/* The header of the state of that name, when it has the key. */
static bool find_header(const struct wn_saver *saver, const struct wn_state *state, struct header *header)
{
    uint8_t key[32];
    char *path = path_of(saver, state->name, SUFFIX);
    bool good = read_header(path, header);
    wn_free(path);
    make_key(saver, state, key);
    return good && !memcmp(header->key, key, sizeof key);
}

int64_t wn_state_bytes(const struct wn_saver *saver, const struct wn_state *state)
{
    struct header header;
    return find_header(saver, state, &header) ? header.bytes : 0;
}

bool wn_state_find(const struct wn_saver *saver, struct wn_state *state)
{
    struct header header;
    if (!find_header(saver, state, &header) || header.step < 0 || header.step > state->steps ||
        !(header.step > 0 || header.place[0] > 0) || !(header.inside >= 0 && header.inside < 1))
        return false;
    state->step = header.step;
    memcpy(state->place, header.place, sizeof state->place);
    state->inside = header.inside;
    return true;
}

int64_t wn_state_step(const struct wn_saver *saver, const struct wn_state *state)
{
    struct wn_state found = *state;
    return wn_state_find(saver, &found) ? found.step : 0;
}

/* Behind the header lie exactly these pieces, and their hash is the one that it has. */
static bool is_whole(const struct wn_mapped *mapped, const struct header *wanted, const struct wn_state_piece *pieces,
                     int64_t count)
{
    struct header header;
    uint8_t digest[32];
    if (mapped->size != (int64_t)sizeof header + wanted->bytes)
        return false;
    memcpy(&header, mapped->data, sizeof header);
    if (memcmp(&header, wanted, offsetof(struct header, hash)) != 0)
        return false;
    struct wn_hash *hash = begin_hash(&header);
    const uint8_t *at = mapped->data + sizeof header;
    for (int64_t i = 0; i < count; at += pieces[i++].bytes) {
        wn_hash_update(hash, &pieces[i].bytes, sizeof pieces[i].bytes);
        wn_hash_update(hash, at, (size_t)pieces[i].bytes);
    }
    wn_hash_finish(hash, digest);
    return !memcmp(digest, header.hash, sizeof digest);
}

wn_status wn_state_read(const struct wn_saver *saver, const struct wn_state *state, const struct wn_state_piece *pieces,
                        int64_t count)
{
    struct wn_mapped mapped;
    const struct header header = header_of(saver, state, pieces, count);
    char *path = path_of(saver, state->name, SUFFIX);
    wn_status status = wn_map(path, &mapped);
    if (status == WN_OK && !is_whole(&mapped, &header, pieces, count))
        status = wn_fail(WN_ERR_IO, "%s: is damaged", path);
    const uint8_t *at = mapped.data + sizeof header;
    for (int64_t i = 0; i < count && status == WN_OK; at += pieces[i++].bytes)
        if (pieces[i].bytes) /* a piece of nothing may be nowhere */
            memcpy(pieces[i].data, at, (size_t)pieces[i].bytes);
    wn_unmap(&mapped);
    wn_free(path);
    return status;
}

void wn_state_remove(const struct wn_saver *saver, const char *name)
{
    char *path = path_of(saver, name, SUFFIX);
    unlink(path);
    wn_free(path);
}

/* ---- the folder ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), more = strlen(end);
    return length > more && !strcmp(text + length - more, end);
}

void wn_state_list(const char *folder, wn_state_visitor *visit, void *context)
{
    struct dirent *entry;
    struct header header;
    DIR *all = opendir(folder);
    while (all && (entry = readdir(all))) {
        if (strncmp(entry->d_name, "point-", 6) != 0 || !ends_with(entry->d_name, SUFFIX))
            continue;
        char *path = wn_join_path(folder, entry->d_name);
        if (read_header(path, &header) && header.point >= 0)
            visit(context, header.point, (double)header.step + header.inside, header.steps);
        wn_free(path);
    }
    if (all)
        closedir(all);
}

/* The dense pass goes model by model, step by step; in a step, states of its parts become more. */
struct dense_pass {
    double at, parts;
};

static void take_dense(const char *name, int64_t step, struct dense_pass *pass)
{
    double at = 1e4 * (double)atoll(name) + (double)step;
    if (at > pass->at)
        *pass = (struct dense_pass){at, 0};
    pass->parts += at == pass->at;
}

double wn_state_progress(const char *folder)
{
    static const char POINT[] = "point-", DENSE[] = "dense-";
    double points = 0;
    struct dense_pass pass = {-1, 0};
    struct dirent *entry;
    struct header header;
    DIR *all = opendir(folder);
    while (all && (entry = readdir(all))) {
        if (!ends_with(entry->d_name, SUFFIX))
            continue;
        char *path = wn_join_path(folder, entry->d_name);
        bool good = read_header(path, &header);
        wn_free(path);
        if (good && !strncmp(entry->d_name, POINT, strlen(POINT)))
            points += ((double)header.step + header.inside) / (double)(header.steps + 1);
        else if (good && !strncmp(entry->d_name, DENSE, strlen(DENSE)))
            take_dense(entry->d_name + strlen(DENSE), header.step, &pass);
    }
    if (all)
        closedir(all);
    return points + 1e-6 * (pass.at + 1 + pass.parts / (pass.parts + 1));
}

void wn_state_clear(const char *folder)
{
    struct dirent *entry;
    DIR *all = opendir(folder);
    while (all && (entry = readdir(all)))
        if (ends_with(entry->d_name, SUFFIX) || ends_with(entry->d_name, PARTIAL))
            unlinkat(dirfd(all), entry->d_name, 0);
    if (!all)
        return;
    closedir(all);
    rmdir(folder);
}
