/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results files before status, show, verify and export. Every file is read in a child, because a crash inside HDF5 ends
 * the program (src/results/guard.c) and because HDF5 keeps state; so this target has a driver of its own:
 *
 *   wn_fuzz_results FOLDER                           the files of a folder, then 100 made ones
 *   wn_fuzz_results --forever FOUND SECONDS          made ones, until so much processor time has gone; findings are
 *                                                    kept in the folder FOUND
 *
 * Made: datasets, links, attributes and the list of fields are changed through HDF5, then bytes are changed, more of
 * them where the structure lies. A finding is an end by a signal, a code above 2, more than 20 s of processor time, or
 * a line that is not winnow's own.
 */
#define _GNU_SOURCE /* memmem */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command/command.h"
#include "fuzz.h"
#include "results/results_internal.h"

/* What the sanitizers see in libraries is not ours: HDF5 is caught by the guard, OpenMP keeps its memory. */
const char *__asan_default_suppressions(void);
const char *__asan_default_suppressions(void)
{
    return "interceptor_via_lib:libhdf5\n";
}
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5\nleak:libomp\nleak:libgomp\n";
}
/* HDF5 asks for as much memory as a damaged file says, and goes on without it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}

enum { MADE_IN_A_TEST = 100, LONGEST_SECONDS = 20, MOST_BYTES = 1 << 20 };

struct draw {
    uint64_t seed, index;
};

static uint64_t below(struct draw *draw, uint64_t limit)
{
    return wn_random_u64(draw->seed, 0, draw->index++) % limit;
}

/* ---- a good file ---- */

/* One point is done, one failed, one is open. */
static void write_good(const char *path, const struct wn_results_plan *plan, int reason)
{
    struct wn_par *par;
    struct wn_results *results;
    struct wn_record record;

    wn_par_start_serial(&par);
    wn_record_init(&record, plan->schema);
    wn_record_clear(&record);
    if (wn_results_open(par, path, plan, true, &results) != WN_OK ||
        wn_results_write(results, 0, &record, WN_POINT_DONE) != WN_OK)
        WN_BUG("%s", wn_error_message());
    wn_record_set_text(&record, reason, "a reason");
    if (wn_results_write(results, 1, &record, WN_POINT_FAILED) != WN_OK || wn_results_close(&results) != WN_OK)
        WN_BUG("%s", wn_error_message());
    wn_record_release(&record);
    wn_par_finish(&par);
}

static void make_good(const char *path)
{
    enum { POINTS = 3 };
    static const int32_t ids[4] = {7, 8, -1, 9};
    struct wn_schema schema;
    struct wn_table points, cells;
    struct wn_facts facts = {0};

    wn_schema_init(&schema);
    int token = wn_schema_dim(&schema, "token", 4, NULL), block = wn_schema_dim(&schema, "block", 2, NULL);
    int by_block[] = {block, token};
    wn_schema_field(&schema, "/points/seconds", WN_FIELD_F64, 0, NULL, "s", "wall time", false);
    int reason = wn_schema_text(&schema, "/points/reason", 16, "why the point failed", false);
    wn_schema_field(&schema, "/points/bits_per_weight", WN_FIELD_F64, 0, NULL, "bit", "size", true);
    wn_schema_field(&schema, "/scores/text/perplexity", WN_FIELD_F64, 0, NULL, "1", "perplexity", true);
    wn_schema_field(&schema, "/scores/task/acc", WN_FIELD_I32, 0, NULL, "1", "right answers", true);
    wn_schema_field(&schema, "/weights/zeros", WN_FIELD_I64, 2, by_block, "1", "zeros", true);
    wn_schema_field(&schema, "/tokens/text/loss", WN_FIELD_F32, 1, &token, "nat", "loss", true);
    wn_schema_constant(&schema, "/tokens/text/token_id", WN_FIELD_I32, 1, &token, "1", "token id", ids);
    wn_table_init(&points, "/points", "point", POINTS);
    struct wn_column *key = wn_table_add(&points, "key", false, "", "name of the point");
    for (int p = 0; p < POINTS; p++) {
        char name[32];
        snprintf(name, sizeof name, "point %d", p);
        wn_table_set_text(&points, key, p, name);
    }
    wn_table_add(&points, "sparsity", true, "1", "share of zeros");
    wn_table_init(&cells, "/cells", "cell", POINTS);
    wn_table_add(&cells, "point", true, "1", "point of the cell");
    wn_facts_add(&facts, "winnow_version", "0.1.0");
    wn_facts_add(&facts, "task_task", "{\"main_metric\": \"acc\"}");
    wn_facts_add(&facts, "sweep_file", "/nowhere/sweep.json");
    const struct wn_results_plan plan = {.schema = &schema,
                                         .points = &points,
                                         .cells = &cells,
                                         .sweep = "{}",
                                         .identity = "a line\n",
                                         .provenance = &facts};
    write_good(path, &plan, reason);
    wn_facts_release(&facts);
    wn_table_release(&points);
    wn_table_release(&cells);
    wn_schema_release(&schema);
}

/* ---- changes through HDF5 ---- */

static const char *const paths[] = {"/points/status",
                                    "/points/checksum",
                                    "/points/attempt",
                                    "/points/key",
                                    "/points/sparsity",
                                    "/points/seconds",
                                    "/points/reason",
                                    "/scores/task/acc",
                                    "/weights/zeros",
                                    "/points/bits_per_weight",
                                    "/scores/text/perplexity",
                                    "/tokens/text/loss",
                                    "/fields",
                                    "/identity",
                                    "/sweep",
                                    "/tokens/text/token_id",
                                    "/points/bits_per_weight",
                                    "/points",
                                    "/provenance",
                                    "/scores"};
enum { N_PATHS = sizeof paths / sizeof *paths, N_DATASETS = N_PATHS - 3 };

/* To be closed by H5Tclose. */
static hid_t draw_type(struct draw *draw)
{
    static const int sizes[] = {1, 2, 8, 64, 100000};
    hid_t type, of;

    switch (below(draw, 12)) {
    case 0:
        return H5Tcopy(H5T_IEEE_F64LE);
    case 1:
        return H5Tcopy(H5T_IEEE_F32BE);
    case 2:
        return H5Tcopy(H5T_STD_I64LE);
    case 3:
        return H5Tcopy(H5T_STD_I32LE);
    case 4:
        return H5Tcopy(H5T_STD_U8LE);
    case 5:
        return H5Tcopy(H5T_STD_U64LE);
    case 6:
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, (size_t)sizes[below(draw, 5)]);
        return type;
    case 7:
        return wn_h5_text_type_();
    case 8:
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, H5T_VARIABLE);
        return type;
    case 9:
        return H5Tvlen_create(H5T_IEEE_F64LE);
    case 10:
        of = H5Tcreate(H5T_COMPOUND, 40);
        H5Tinsert(of, "a", 8, H5T_IEEE_F64LE);
        return of;
    default:
        return H5Tcopy(H5T_STD_REF_OBJ);
    }
}

static hid_t draw_space(struct draw *draw)
{
    static const hsize_t sizes[] = {0, 1, 2, 3, 3, 4, 16, 1000, (hsize_t)1 << 40, (hsize_t)1 << 61};
    hsize_t size[4];
    int rank = (int)below(draw, 5);

    if (rank == 4)
        return H5Screate(below(draw, 2) ? H5S_NULL : H5S_SCALAR);
    for (int d = 0; d < rank; d++)
        size[d] = sizes[below(draw, d ? 7 : 10)];
    return rank ? H5Screate_simple(rank, size, NULL) : H5Screate(H5S_SCALAR);
}

static void recreate(hid_t file, const char *path, struct draw *draw)
{
    hid_t type = draw_type(draw), space = draw_space(draw), plist = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t chunk[H5S_MAX_RANK] = {1, 1, 1, 1};
    int rank = H5Sget_simple_extent_ndims(space);

    if (below(draw, 4) == 0 && rank > 0)
        H5Pset_chunk(plist, rank, chunk);
    if (H5Sget_simple_extent_npoints(space) < 100000 && below(draw, 2))
        H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY);
    H5Ldelete(file, path, H5P_DEFAULT);
    hid_t dataset = H5Dcreate2(file, path, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    if (dataset >= 0)
        H5Dclose(dataset);
    H5Pclose(plist);
    H5Sclose(space);
    H5Tclose(type);
}

static void relink(hid_t file, const char *path, struct draw *draw)
{
    const char *target = paths[below(draw, N_PATHS)];

    H5Ldelete(file, path, H5P_DEFAULT);
    switch (below(draw, 4)) {
    case 0:
        H5Lcreate_soft(target, file, path, H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 1:
        H5Lcreate_external("/etc/passwd", target, file, path, H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 2:
        H5Lcreate_hard(file, target, file, path, H5P_DEFAULT, H5P_DEFAULT);
        break;
    default:
        break;
    }
}

static void attribute(hid_t file, const char *path, struct draw *draw)
{
    static const char *const names[] = {"units", "long_name", "_FillValue", "schema_version", "task_task"};
    const char *name = names[below(draw, 5)], *of = !strcmp(name, "schema_version") ? "/" : path;
    hid_t type = draw_type(draw), space = draw_space(draw);

    H5Adelete_by_name(file, of, name, H5P_DEFAULT);
    hid_t made = H5Acreate_by_name(file, of, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (made >= 0)
        H5Aclose(made);
    H5Sclose(space);
    H5Tclose(type);
}

static void edit_text(char *text, struct draw *draw)
{
    static const char marks[] = "\t\nx/-0129%";
    size_t length = strlen(text);

    for (uint64_t edits = 1 + below(draw, 3); length > 0 && edits > 0; edits--)
        text[below(draw, length)] = marks[below(draw, sizeof marks - 1)];
}

static void edit_document(hid_t file, struct draw *draw)
{
    struct wn_h5 h5 = {.file = file};
    char *text = wn_h5_get_document_(&h5, "fields");

    if (!text)
        return;
    edit_text(text, draw);
    if (below(draw, 4) == 0) { /* some lines twice */
        char *twice = wn_format("%s%s", text, text + below(draw, strlen(text) + 1));
        wn_free(text);
        text = twice;
    }
    H5Ldelete(file, "fields", H5P_DEFAULT);
    wn_h5_put_document_(&h5, "fields", text);
    wn_free(text);
}

static void change_structure(const char *path, struct draw *draw)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);

    if (file < 0)
        return;
    for (uint64_t changes = 1 + below(draw, 2); changes > 0; changes--) {
        const char *of = paths[below(draw, N_PATHS)];
        switch (below(draw, 4)) {
        case 0:
            recreate(file, paths[below(draw, N_DATASETS)], draw);
            break;
        case 1:
            relink(file, of, draw);
            break;
        case 2:
            attribute(file, of, draw);
            break;
        default:
            edit_document(file, draw);
        }
    }
    H5Fclose(file);
}

/* ---- changes of bytes ---- */

static size_t read_file(const char *path, uint8_t *data, size_t most)
{
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(data, 1, most, file) : 0;

    if (!file) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return size;
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* A place near one of the marks of HDF5's structures, or anywhere. */
static size_t draw_place(const uint8_t *data, size_t size, struct draw *draw)
{
    static const char *const marks[] = {"TREE", "HEAP", "SNOD", "GCOL", "\x89HDF"};
    size_t start = below(draw, size);
    uint64_t which = below(draw, 8);

    if (which >= 5)
        return start;
    const uint8_t *mark = memmem(data + start, size - start, marks[which], 4);
    size_t place = (mark ? (size_t)(mark - data) : 0) + below(draw, 96);
    return place < size ? place : size - 1;
}

static void change_bytes(const char *path, struct draw *draw)
{
    static const uint64_t numbers[] = {0, 1, 255, 65535, 1 << 20, UINT32_MAX, INT64_MAX, UINT64_MAX};
    static uint8_t data[MOST_BYTES];
    size_t size = read_file(path, data, sizeof data);

    for (uint64_t changes = 1 + below(draw, 6); size > 8 && changes > 0; changes--) {
        size_t place = draw_place(data, size, draw);
        if (below(draw, 3) == 0 && place + 8 <= size)
            memcpy(data + place, &numbers[below(draw, 8)], below(draw, 2) ? 8 : 4);
        else
            data[place] = below(draw, 2) ? (uint8_t)below(draw, 256) : data[place] ^ (uint8_t)(1 << below(draw, 8));
    }
    if (below(draw, 20) == 0)
        size = below(draw, size + 1);
    write_file(path, data, size);
}

/* ---- reading it ---- */

static int run_command(int (*run)(const struct wn_command *, int, char **), int argc, const char *const *arguments)
{
    const struct wn_command command = {.name = arguments[0], .usage = ""};
    char *argv[8];

    for (int i = 0; i < argc; i++)
        argv[i] = (char *)(uintptr_t)arguments[i];
    return run(&command, argc, argv);
}

static _Noreturn void read_as_child(const char *path, int errors)
{
    struct rlimit seconds = {LONGEST_SECONDS, LONGEST_SECONDS + 2};
    const char *const status[] = {"status", path}, *const show[] = {"show", path, "--json"},
                      *const table[] = {"show", path, "--all"}, *const verify[] = {"verify", path};
    const char *const export[] = {"export", path, "--point", "1", "--to", "/nowhere/export"};
    int code = 0, null = open("/dev/null", O_RDWR);

    setrlimit(RLIMIT_CPU, &seconds);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    int codes[] = {run_command(wn_command_status, 2, status), run_command(wn_command_show, 3, show),
                   run_command(wn_command_show, 3, table), run_command(wn_command_verify, 2, verify),
                   run_command(wn_command_export, 6, export)};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        code = codes[i] > code ? codes[i] : code;
    fuzz_check_memory();
    exit(code);
}

/* Everything the child wrote; true when each line is one of winnow, or the last one tells of a crash inside HDF5, in
 * front of which the C library may have had its say. */
static bool lines_are_ours(int from)
{
    static char text[1 << 16];
    size_t length = 0;
    ssize_t more;
    bool ours = true;

    while ((more = read(from, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)more;
    text[length] = '\0';
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        ours = ours && !strncmp(line, "winnow: ", 8);
    if (!ours && !strstr(text, "HDF5 library crashes on it"))
        fprintf(stderr, "%s", text);
    return ours || strstr(text, "HDF5 library crashes on it");
}

/* False: a finding, described on standard error. */
static bool read_one(const char *path, const char *what)
{
    int ends[2], state = 0;

    if (pipe(ends) != 0) {
        perror("pipe");
        exit(1);
    }
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        read_as_child(path, ends[1]);
    }
    close(ends[1]);
    bool fine = lines_are_ours(ends[0]);
    close(ends[0]);
    while (waitpid(child, &state, 0) < 0)
        ;
    fine = fine && WIFEXITED(state) && WEXITSTATUS(state) <= 2;
    if (!fine)
        fprintf(stderr, "%s: finding: %s %d\n", what, WIFEXITED(state) ? "code" : "signal",
                WIFEXITED(state) ? WEXITSTATUS(state) : WTERMSIG(state));
    return fine;
}

/* ---- the driver ---- */

static void copy(const char *from, const char *to)
{
    static uint8_t data[MOST_BYTES];

    write_file(to, data, read_file(from, data, sizeof data));
}

/* Made in a child too: HDF5 itself crashes on some files it is asked to change. */
static void make(const char *from, const char *path, uint64_t seed)
{
    struct draw draw = {.seed = seed};
    int state;

    copy(from, path);
    pid_t child = fork();
    if (child == 0) {
        uint64_t kind = below(&draw, 3);
        if (kind != 0)
            change_structure(path, &draw);
        if (kind != 1)
            change_bytes(path, &draw);
        _exit(0);
    }
    while (waitpid(child, &state, 0) < 0)
        ;
}

static double children_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static bool read_folder(const char *folder)
{
    DIR *listing = opendir(folder);
    struct dirent *entry;
    bool fine = true;

    while (listing && (entry = readdir(listing))) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            fine = read_one(path, path) && fine;
    }
    if (listing)
        closedir(listing);
    return fine;
}

static bool test(const char *folder, const char *good, const char *made)
{
    bool fine = read_folder(folder) && read_one(good, "the good file");
    char what[64];

    for (uint64_t seed = 0; seed < MADE_IN_A_TEST; seed++) {
        make(good, made, seed);
        snprintf(what, sizeof what, "made from seed %llu", (unsigned long long)seed);
        fine = read_one(made, what) && fine;
    }
    return fine;
}

static void search(const char *good, const char *made, const char *found, double seconds)
{
    uint64_t seed = ((uint64_t)getpid() << 32) ^ (uint64_t)(1e9 * wn_seconds());
    char kept[4096];
    long long files = 0;

    for (; children_seconds() < seconds; seed++, files++) {
        make(good, made, seed);
        snprintf(kept, sizeof kept, "%s/%016llx", found, (unsigned long long)seed);
        if (!read_one(made, kept))
            copy(made, kept);
    }
    printf("%lld files\n", files);
}

int main(int argc, char **argv)
{
    char good[128], made[128];
    bool forever = argc == 4 && !strcmp(argv[1], "--forever");

    if (argc != 2 && !forever) {
        fprintf(stderr, "usage: wn_fuzz_results FOLDER, or --forever FOUND SECONDS\n");
        return 2;
    }
    snprintf(good, sizeof good, "%s/good.h5", fuzz_folder());
    snprintf(made, sizeof made, "%s/made.h5", fuzz_folder());
    make_good(good);
    if (!forever)
        return test(argv[1], good, made) ? 0 : 1;
    search(good, made, argv[2], atof(argv[3]));
    return 0;
}
