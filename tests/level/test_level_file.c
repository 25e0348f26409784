/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of levels: what is written is read back, at any level; another key, missing, cut and damaged files are refused;
 * a file that is not finished is no file; what cannot be written leaves nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/folder.h"
#include "method/recipes.h"

#include <winnow/level.h>
#include <winnow/linalg.h>

enum { LINEARS = 2, LEVELS = 3, COUNT = LINEARS * LEVELS };

/* Entries of two linears: level -1 of one is 2 bits, 0 is 3 bits ... */
struct made {
    struct wn_level_entry entries[COUNT];
    struct wn_packed packed[COUNT];
    float *weights[COUNT];
    int64_t weights_of[LINEARS];
};

static void make(struct made *made)
{
    static const int64_t shapes[LINEARS][2] = {{9, 16}, {5, 40}};

    for (int i = 0; i < COUNT; i++) {
        struct problem problem;
        struct wn_recipe recipe = {0};
        const int64_t *shape = shapes[i / LEVELS];
        char settings[64];
        problem_init(&problem, shape[0], shape[1], (uint64_t)i, 0);
        snprintf(settings, sizeof settings, "{\"bits\": %d, \"group\": 8}", i % LEVELS + 2);
        CHECK_OK(add_stage(&recipe, "rtn", settings));
        CHECK_OK(problem_run(&problem, &recipe));
        wn_pack(&problem.out, &made->packed[i]);
        made->entries[i] = (struct wn_level_entry){
            .linear = i / LEVELS, .level = i % LEVELS - 1, .zeros = i, .bits = i + 0.5, .error = 0.25 * i};
        made->weights_of[i / LEVELS] = shape[0] * shape[1];
        made->weights[i] = wn_alloc(shape[0] * shape[1], sizeof(float));
        memcpy(made->weights[i], problem.result, (size_t)(shape[0] * shape[1]) * sizeof(float));
        problem_release(&problem);
    }
}

static void release(struct made *made)
{
    for (int i = 0; i < COUNT; i++) {
        wn_packed_release(&made->packed[i]);
        wn_free(made->weights[i]);
    }
}

static void write_all(const struct made *made, const char *folder, const char *key, int64_t block)
{
    struct wn_level_writer *writer;

    CHECK_OK(wn_level_writer_create(folder, key, block, COUNT, &writer));
    for (int i = 0; i < COUNT; i++)
        CHECK_OK(wn_level_writer_add(writer, &made->entries[i], &made->packed[i]));
    CHECK_OK(wn_level_writer_finish(&writer));
    CHECK(!writer);
}

static void check_entry(const struct made *made, struct wn_level_block *levels, int i)
{
    const struct wn_level_entry *entry = wn_levels_find(levels, made->entries[i].linear, made->entries[i].level);
    int64_t count = made->weights_of[i / LEVELS];
    float *out = wn_alloc(count, sizeof *out);
    struct wn_packed packed;

    CHECK(entry && entry->zeros == i && entry->bits == i + 0.5 && entry->error == 0.25 * i);
    for (int again = 0; again < 2; again++) {
        CHECK_OK(wn_levels_packed(levels, entry, &packed));
        wn_packed_all(&packed, out);
        CHECK(!memcmp(out, made->weights[i], (size_t)count * sizeof *out));
    }
    wn_free(out);
}

static void check_reading(const struct made *made, const char *folder)
{
    struct wn_level_block levels;
    struct stat about;

    write_all(made, folder, "key", 3);
    write_all(made, folder, "another key", 3);
    CHECK_OK(wn_levels_open(folder, "key", 3, &levels));
    for (int i = COUNT - 1; i >= 0; i--)
        check_entry(made, &levels, i);
    CHECK(!wn_levels_find(&levels, 0, 2) && !wn_levels_find(&levels, 1, -2) && !wn_levels_find(&levels, 2, 0));
    int64_t bytes = 0;
    for (int i = 0; i < COUNT; i++)
        bytes += made->packed[i].size;
    CHECK(stat(levels.path, &about) == 0 && about.st_size >= bytes &&
          about.st_size <= bytes + wn_levels_overhead(COUNT));
    wn_levels_close(&levels);
    CHECK(wn_levels_open(folder, "key", 2, &levels) == WN_ERR_IO);
    CHECK_MESSAGE("there are no levels of block 2");
    CHECK(wn_levels_open(folder, "a third key", 3, &levels) == WN_ERR_IO);
    wn_levels_remove(folder, "another key", 4);
    CHECK(wn_levels_open(folder, "another key", 3, &levels) == WN_ERR_IO);
    CHECK_OK(wn_levels_open(folder, "key", 3, &levels));
    wn_levels_close(&levels);
}

static void change_byte(const char *path, int64_t at)
{
    int file = open(path, O_RDWR);
    uint8_t byte = 0;

    CHECK(file >= 0 && pread(file, &byte, 1, at) == 1);
    byte ^= 0x10;
    CHECK(pwrite(file, &byte, 1, at) == 1);
    close(file);
}

/* A changed byte anywhere: the file is refused, or the packed linear that it is in, and no other. */
static void check_damage(const struct made *made, const char *folder)
{
    struct wn_level_block levels;
    struct wn_packed packed;
    struct stat about;

    write_all(made, folder, "damaged", 0);
    CHECK_OK(wn_levels_open(folder, "damaged", 0, &levels));
    char *path = wn_strdup(levels.path);
    wn_levels_close(&levels);
    CHECK(stat(path, &about) == 0);
    for (int64_t at = 0; at < about.st_size; at += at < 600 ? 1 : 37) {
        change_byte(path, at);
        int bad = 0;
        if (wn_levels_open(folder, "damaged", 0, &levels) == WN_OK) {
            for (int i = 0; i < COUNT; i++) {
                const struct wn_level_entry *entry = &levels.entries[i];
                bool inside = at >= entry->offset && at < entry->offset + entry->bytes;
                CHECK((wn_levels_packed(&levels, entry, &packed) == WN_OK) == !inside);
                bad += inside;
            }
            CHECK(at >= levels.entries[0].offset - 64 && bad <= 1);
            wn_levels_close(&levels);
        } else {
            CHECK_MESSAGE("the levels are damaged");
        }
        change_byte(path, at);
    }
    CHECK(truncate(path, about.st_size - 64) == 0);
    CHECK(wn_levels_open(folder, "damaged", 0, &levels) == WN_ERR_IO);
    CHECK(truncate(path, 10) == 0);
    CHECK(wn_levels_open(folder, "damaged", 0, &levels) == WN_ERR_IO);
    wn_levels_remove(folder, "damaged", 1);
    wn_free(path);
}

static int64_t count_files(const char *folder)
{
    DIR *listing = opendir(folder);
    int64_t count = 0;

    for (struct dirent *entry = listing ? readdir(listing) : NULL; entry; entry = readdir(listing))
        count += entry->d_name[0] != '.';
    if (listing)
        closedir(listing);
    return count;
}

static void check_unfinished(const struct made *made, const char *folder)
{
    struct wn_level_writer *writer;
    struct wn_level_block levels;
    int64_t before = count_files(folder);

    CHECK_OK(wn_level_writer_create(folder, "unfinished", 0, COUNT, &writer));
    CHECK_OK(wn_level_writer_add(writer, &made->entries[0], &made->packed[0]));
    CHECK(wn_levels_open(folder, "unfinished", 0, &levels) == WN_ERR_IO);
    CHECK(count_files(folder) == before + 1);
    wn_level_writer_abandon(&writer);
    wn_level_writer_abandon(&writer);
    CHECK(count_files(folder) == before);
    CHECK(wn_level_writer_create("/dev/null/levels", "key", 0, COUNT, &writer) == WN_ERR_IO && !writer);
    CHECK_MESSAGE("cannot be written");
}

int main(void)
{
    struct made made;
    char *folder = folder_create(), *inside = wn_join_path(folder, "levels");

    CHECK_OK(wn_linalg_start());
    make(&made);
    check_reading(&made, inside);
    check_damage(&made, inside);
    check_unfinished(&made, inside);
    wn_levels_remove(inside, "key", 4);
    CHECK(access(inside, F_OK) != 0);
    release(&made);
    folder_remove(folder);
    wn_free(inside);
    return test_finish();
}
