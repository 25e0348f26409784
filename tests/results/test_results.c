/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The results file. Run with 1, 2 and 4 ranks, and without mpirun. With `keep PATH` only the file for check_readers.py
 * is written.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <unistd.h>

#include <winnow/io.h>

#include "results/fill.h"

#include "example.h"

static struct wn_par *par;
static char folder[64];
static bool refuse_reserve; /* the file system cannot reserve blocks: HDF5 itself must meet the full disk */

int fallocate(int file, int mode, off_t offset, off_t length);
int fallocate(int file, int mode, off_t offset, off_t length)
{
    if (refuse_reserve) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_fallocate, file, mode, offset, length);
}

static int64_t bytes_written; /* by this rank, through pwrite */

ssize_t pwrite(int file, const void *data, size_t bytes, off_t offset)
{
    ssize_t written = syscall(SYS_pwrite64, file, data, bytes, offset);
    bytes_written += written > 0 ? written : 0;
    return written;
}

static char *path_of(const char *name)
{
    return wn_format("%s/%s", folder, name);
}

/* Entries of a folder; -1 when it cannot be read. */
static int entries(const char *path)
{
    DIR *open_folder = opendir(path);
    int count = -2; /* . and .. */

    if (!open_folder)
        return -1;
    while (readdir(open_folder))
        count++;
    closedir(open_folder);
    return count;
}

/* All ranks write their share (p % size == rank) of the points [first, last); even ones are done, odd ones failed. */
static void write_points(struct example *e, struct wn_results *results, int first, int last, int attempt,
                         double seconds)
{
    struct wn_record record;

    wn_record_init(&record, &e->schema);
    for (int64_t p = first; p < last; p++)
        if (p % wn_par_size(par) == wn_par_rank(par)) {
            example_fill(e, &record, p, attempt, seconds);
            CHECK_OK(wn_results_begin(results, p));
            CHECK_OK(wn_results_write(results, p, &record, p % 2 ? WN_POINT_FAILED : WN_POINT_DONE));
        }
    wn_record_release(&record);
}

static void make_file(const char *path, double seconds)
{
    struct example e;
    struct wn_results *results;

    example_init(&e, "model demo\nseed 0\n");
    CHECK_OK(wn_results_open(par, path, &e.plan, true, &results));
    if (results) {
        write_points(&e, results, 0, 30, 1, seconds);
        CHECK_OK(wn_results_close(&results));
    }
    example_release(&e);
}

/* ---- what rank 0 reads ---- */

static void check_numbers(struct wn_results_reader *reader, const char *path, double at2, double at3, double at35)
{
    double *values;
    int64_t rows;

    CHECK_OK(wn_results_read_numbers(reader, path, &values, &rows));
    CHECK(rows == POINTS);
    if (rows != POINTS)
        return;
    CHECK(values[2] == at2);
    CHECK(values[3] == at3 || (isnan(at3) && isnan(values[3])));
    CHECK(values[35] == at35 || (isnan(at35) && isnan(values[35])));
    wn_free(values);
}

static void check_text(struct wn_results_reader *reader, const char *path, int64_t row, const char *expected)
{
    char **values;
    int64_t rows;

    CHECK_OK(wn_results_read_texts(reader, path, &values, &rows));
    if (rows > row)
        CHECK_TEXT(values[row], expected);
    for (int64_t i = 0; i < rows; i++)
        wn_free(values[i]);
    wn_free(values);
}

static void collect(void *context, const char *path, const char *unit, const char *description, bool text)
{
    wn_text_printf(context, "%s(%s)%s%s ", path, unit, text ? "T" : "N", *description ? "" : "!");
}

static void check_list(struct wn_results_reader *reader, const char *group, const char *expected)
{
    struct wn_text list = {0};

    CHECK_OK(wn_results_read_list(reader, group, collect, &list));
    CHECK_TEXT(list.data ? list.data : "", expected);
    wn_text_release(&list);
}

static void check_reading(const char *path)
{
    struct wn_results_reader *reader;
    uint8_t status[POINTS];
    char *text, **texts;
    double *numbers;
    int64_t rows;

    CHECK_OK(wn_results_read_open(path, &reader));
    if (!reader)
        return;
    CHECK(wn_results_read_points(reader) == POINTS);
    CHECK_OK(wn_results_read_status(reader, status));
    CHECK(status[0] == WN_POINT_DONE && status[29] == WN_POINT_FAILED && status[30] == WN_POINT_OPEN);
    check_numbers(reader, "/scores/length", 20, NAN, NAN);
    check_numbers(reader, "/points/sparsity", 0.02, 0.03, 0.35);
    check_numbers(reader, "/points/attempt", 1, 1, 0);
    check_numbers(reader, "/points/seconds", 1.5, 1.5, NAN);
    check_text(reader, "/points/key", 7, "wanda-é-07");
    check_text(reader, "/point", 8, "wanda-é-08");
    check_text(reader, "/points/reason", 9, "point 9: naïve");
    check_text(reader, "/points/reason", 35, "");
    check_list(reader, "/points",
               "/points/key()T /points/sparsity(1)N /points/bits(bit)N /points/symmetric(1)N /points/status(1)N "
               "/points/attempt(1)N /points/start(1)N "
               "/points/reason()T /points/host()T /points/seconds(s)N ");
    check_list(reader, "/scores", "/scores/length(1)N ");
    check_list(reader, "/score", "");
    check_list(reader, "/tokens", ""); /* a constant is no column of points */
    CHECK_OK(wn_results_read_numbers(reader, "/tokens/wikitext2/token_id", &numbers, &rows));
    CHECK(rows == TOKENS && numbers[17] == EXAMPLE_TOKEN(17));
    wn_free(numbers);
    CHECK_OK(wn_results_read_document(reader, "identity", &text));
    CHECK_TEXT(text, "model demo\nseed 0\n");
    wn_free(text);
    CHECK(wn_results_read_document(reader, "nothing", &text) == WN_ERR_INPUT);
    CHECK(wn_results_read_document(reader, "points", &text) == WN_ERR_INPUT);
    CHECK(wn_results_read_texts(reader, "/no/such", &texts, &rows) == WN_ERR_INPUT);
    CHECK_MESSAGE("has no dataset /no/such");
    CHECK(wn_results_read_numbers(reader, "/points/key", &numbers, &rows) == WN_ERR_INPUT);
    CHECK(wn_results_read_numbers(reader, "/weights/zeros", &numbers, &rows) == WN_ERR_INPUT);
    CHECK(wn_results_read_texts(reader, "/points/seconds", &texts, &rows) == WN_ERR_INPUT);
    wn_results_read_close(&reader);
}

/* Flips one bit of the first place in the file that holds the four bytes of `value`; true when there was one. */
static bool flip(const char *path, const void *value)
{
    int file = open(path, O_RDWR);
    off_t size = lseek(file, 0, SEEK_END);
    char *bytes = wn_alloc((int64_t)size, 1);
    bool found = false;

    CHECK(pread(file, bytes, (size_t)size, 0) == size);
    for (off_t i = 0; i + 4 <= size && !found; i += 4)
        if (!memcmp(bytes + i, value, 4)) {
            char wrong = (char)(bytes[i + 1] ^ 1);
            CHECK(pwrite(file, &wrong, 1, i + 1) == 1);
            found = true;
        }
    wn_free(bytes);
    close(file);
    return found;
}

static void check_verify(const char *path, int64_t bad, const char *line, char digest[65])
{
    struct wn_problems problems;
    int64_t done, failed, open_points;

    wn_problems_init(&problems);
    CHECK_OK(wn_results_verify(path, &problems, digest, &done, &failed, &open_points));
    CHECK(done == 15 && failed == 15 && open_points == 10);
    CHECK(problems.count == bad);
    if (problems.count > 0 && line)
        CHECK(strstr(problems.lines[0], line) != NULL);
    wn_problems_release(&problems);
    CHECK_OK(wn_results_verify(path, NULL, NULL, NULL, NULL, NULL));
}

/* ---- checks ---- */

static void check_round_trip(void)
{
    char *path = path_of("a.h5"), *other = path_of("b.h5"), first[65], second[65];

    make_file(path, 1.5);
    make_file(other, 99.0); /* the same results at another speed */
    if (wn_par_rank(par) == 0) {
        check_reading(path);
        check_verify(path, 0, NULL, first);
        check_verify(other, 0, NULL, second);
        CHECK_TEXT(first, second);
        const int32_t token = EXAMPLE_TOKEN(17), wrong_token = token ^ 1 << 8;
        CHECK(flip(other, &token));
        check_verify(other, 1, "the constant /tokens/wikitext2/token_id does not match its hash", second);
        CHECK(strcmp(first, second) != 0);
        CHECK(flip(other, &wrong_token)); /* back */
        check_verify(other, 0, NULL, second);
        CHECK_TEXT(first, second);
        const float loss = (float)(4 * TOKENS + 17) / 4 + 1;
        CHECK(flip(other, &loss));
        check_verify(other, 1, "point 4 (wanda-é-04) does not match its checksum", second);
        CHECK(strcmp(first, second) != 0);
        CHECK(entries(folder) == 2); /* neither lock nor temporary file is left */
    }
    wn_par_barrier(par);
    wn_free(path);
    wn_free(other);
}

/* Continues both files of check_round_trip; in b.h5 point 4 is damaged and must be open again. */
static void check_continue(void)
{
    char *path = path_of("a.h5"), *other = path_of("b.h5"), digest[65], again[65];
    struct example e;
    struct wn_results *results;
    int64_t done, failed, open_points;

    example_init(&e, "model demo\nseed 0\n");
    CHECK_OK(wn_results_open(par, path, &e.plan, false, &results));
    CHECK(wn_results_status(results)[4] == WN_POINT_DONE && wn_results_status(results)[5] == WN_POINT_FAILED);
    CHECK(wn_results_status(results)[35] == WN_POINT_OPEN);
    CHECK(wn_results_attempts(results)[5] == 1 && wn_results_attempts(results)[35] == 0);
    write_points(&e, results, 5, 6, 2, 1); /* a failed point once more */
    write_points(&e, results, 30, POINTS, 1, 1);
    CHECK_OK(wn_results_close(&results));
    CHECK(results == NULL);
    if (wn_par_rank(par) == 0) {
        struct wn_problems problems;
        wn_problems_init(&problems);
        CHECK_OK(wn_results_verify(path, &problems, digest, &done, &failed, &open_points));
        CHECK(problems.count == 0 && done == 20 && failed == 20 && open_points == 0);
        wn_problems_release(&problems);
    }
    wn_par_barrier(par);
    wn_log_set(WN_LOG_ERROR, 0, 1);
    CHECK_OK(wn_results_open(par, other, &e.plan, false, &results));
    wn_log_set(WN_LOG_INFO, 0, 1);
    CHECK(wn_results_status(results)[4] == WN_POINT_OPEN && wn_results_status(results)[6] == WN_POINT_DONE);
    write_points(&e, results, 4, 5, 1, 3);
    write_points(&e, results, 30, POINTS, 1, 1);
    write_points(&e, results, 5, 6, 2, 1);
    CHECK_OK(wn_results_close(&results));
    if (wn_par_rank(par) == 0) {
        CHECK_OK(wn_results_verify(other, NULL, again, NULL, NULL, NULL));
        CHECK_TEXT(digest, again);
    }
    wn_par_barrier(par);
    example_release(&e);
    wn_free(path);
    wn_free(other);
}

/* Opening `path` must fail with a line that has `part`, on all ranks, and leave `left` entries in the folder. */
static void check_refused(const char *path, const char *identity, bool fresh, const char *part, int left)
{
    struct example e;
    struct wn_results *results = NULL;

    example_init(&e, identity);
    CHECK(wn_results_open(par, path, &e.plan, fresh, &results) != WN_OK);
    CHECK(results == NULL);
    CHECK_MESSAGE(part);
    CHECK_MESSAGE(path);
    if (results)
        wn_results_close(&results);
    wn_par_barrier(par);
    if (wn_par_rank(par) == 0 && left >= 0)
        CHECK(entries(folder) == left);
    wn_par_barrier(par);
    example_release(&e);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
}

static void check_mistakes(void)
{
    char *path = path_of("a.h5"), *text = path_of("text.h5"), *absent = path_of("absent/x.h5");
    char *subfolder = path_of("folder.h5"), *lock = path_of("a.h5.lock");

    check_refused(path, "model demo\nseed 1\n", false,
                  "holds another sweep: line 2 of its identity is \"seed 0\", here it is \"seed 1\"", 2);
    check_refused(path, "model demo\n", false, "line 2 of its identity is \"seed 0\", here it is missing", -1);
    check_refused(path, "model demo\nseed 0\n", true, "exists already", 2);
    check_refused(absent, "x", false, "No such file or directory", 2);
    if (wn_par_rank(par) == 0) {
        write_file(text, "this is no HDF5 file\n");
        CHECK(mkdir(subfolder, 0777) == 0);
    }
    wn_par_barrier(par);
    check_refused(text, "x", false, "is not an HDF5 file", 4);
    check_refused(subfolder, "x", false, "is not a regular file", 4);
    int held = -1;
    if (wn_par_rank(par) == 0) {
        unlink(text);
        rmdir(subfolder);
        held = open(lock, O_RDWR | O_CREAT, 0666);
        CHECK(flock(held, LOCK_SH) == 0);
    }
    wn_par_barrier(par);
    check_refused(path, "model demo\nseed 0\n", false, "a running sweep writes to it", -1);
    if (wn_par_rank(par) == 0) {
        close(held);
        unlink(lock);
    }
    wn_free(path);
    wn_free(text);
    wn_free(absent);
    wn_free(subfolder);
    wn_free(lock);
}

static void check_other_schema(void)
{
    char *path = path_of("a.h5");
    struct example e;
    struct wn_results *results;

    example_init(&e, "model demo\nseed 0\n");
    e.schema.fields[e.length].type = WN_FIELD_U8; /* as if this winnow stored something else */
    CHECK(wn_results_open(par, path, &e.plan, false, &results) == WN_ERR_INPUT);
    CHECK_MESSAGE("list of fields is \"/scores/length");
    e.schema.fields[e.length].type = WN_FIELD_I32;
    e.schema.constants[0].data[3] ^= 1; /* another token */
    CHECK(wn_results_open(par, path, &e.plan, false, &results) == WN_ERR_INPUT);
    CHECK_MESSAGE("list of fields is \"/tokens/wikitext2/token_id");
    example_release(&e);
    wn_free(path);
}

static void check_missing_field(struct wn_h5 *h5, const struct wn_field *field)
{
    uint8_t *expected = wn_alloc(field->bytes, 1), *found = wn_alloc_zero(field->bytes, 1);
    hid_t dataset = H5Dopen2(h5->file, field->path, H5P_DEFAULT), type = wn_field_type_(field->type);

    wn_field_clear(field, expected);
    for (int64_t p = 0; p < POINTS; p++) {
        CHECK(wn_h5_point_io_(dataset, type, p, field->type == WN_FIELD_TEXT ? field->bytes : field->elements, found,
                              false) >= 0);
        CHECK(memcmp(found, expected, (size_t)field->bytes) == 0);
    }
    H5Tclose(type);
    H5Dclose(dataset);
    wn_free(expected);
    wn_free(found);
}

/* Every byte of a new file is that of a missing value, and every rank has written some of them. */
static void check_missing(void)
{
    char *path = path_of("missing.h5");
    struct example e;
    struct wn_results *results;
    struct wn_h5 h5;
    int64_t total = 0;

    example_init(&e, "x");
    for (int f = 0; f < e.schema.n_fields; f++)
        total += e.schema.fields[f].type == WN_FIELD_TEXT ? 0 : POINTS * e.schema.fields[f].bytes;
    wn_fill_least_ = total / wn_par_size(par) + 3; /* inside a number */
    bytes_written = 0;
    CHECK_OK(wn_results_open(par, path, &e.plan, true, &results));
    CHECK(bytes_written > 0);
    wn_fill_least_ = 1 << 20;
    CHECK_OK(wn_results_close(&results));
    if (wn_par_rank(par) == 0) {
        wn_h5_open_(&h5, path, H5F_ACC_RDONLY);
        for (int f = 0; f < e.schema.n_fields; f++)
            check_missing_field(&h5, &e.schema.fields[f]);
        wn_h5_close_(&h5);
        unlink(path);
    }
    wn_par_barrier(par);
    example_release(&e);
    wn_free(path);
}

/* What a killed creation left does no harm and goes away. */
static void check_leftover(void)
{
    char *path = path_of("c.h5"), *stale = path_of("c.h5.creating"), *lock = path_of("c.h5.lock");
    struct example e;
    struct wn_results *results;
    struct stat info;

    example_init(&e, "x");
    if (wn_par_rank(par) == 0) {
        write_file(stale, "half a file");
        write_file(lock, "");
    }
    wn_par_barrier(par);
    CHECK_OK(wn_results_open(par, path, &e.plan, true, &results));
    CHECK_OK(wn_results_close(&results));
    if (wn_par_rank(par) == 0) {
        CHECK(entries(folder) == 3);
        CHECK(stat(path, &info) == 0);
        CHECK_NEAR((double)wn_results_predict_bytes(&e.plan), (double)info.st_size, 0.1 * (double)info.st_size);
        unlink(path);
    }
    wn_par_barrier(par);
    example_release(&e);
    wn_free(path);
    wn_free(stale);
    wn_free(lock);
}

/* ---- trouble that needs a process or a file system of its own; only where this rank is alone ---- */

/* A limit on the size of files stands for a full disk: clean line, nothing left. */
static void check_limit(bool reserve_refused)
{
    struct rlimit limit, small = {.rlim_cur = 60000};
    char *path = path_of("big.h5");

    getrlimit(RLIMIT_FSIZE, &limit);
    small.rlim_max = limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    refuse_reserve = reserve_refused;
    check_refused(path, "x", false, "File too large", 2);
    refuse_reserve = false;
    setrlimit(RLIMIT_FSIZE, &limit);
    wn_free(path);
}

static void check_full_disk(bool reserve_refused)
{
    char *mount_point = path_of("tiny"), *path = path_of("tiny/x.h5");

    CHECK(mkdir(mount_point, 0777) == 0);
    if (mount("tmpfs", mount_point, "tmpfs", 0, "size=64k") == 0) {
        refuse_reserve = reserve_refused;
        check_refused(path, "x", false, "No space left on device", -1);
        refuse_reserve = false;
        CHECK(entries(mount_point) == 0);
        CHECK(umount(mount_point) == 0);
    }
    rmdir(mount_point);
    wn_free(mount_point);
    wn_free(path);
}

/* A long path is opened through a link in TMPDIR, or in /tmp where the path of TMPDIR is long as well. */
static void check_long_path(bool long_folder)
{
    char *path = wn_format("%s/%0200d.h5", folder, 0),
         *temporary = wn_format("%s/%0*d", folder, long_folder ? 199 : 1, 0);
    char *before = getenv("TMPDIR") ? wn_strdup(getenv("TMPDIR")) : NULL;
    struct example e;
    struct wn_results *results;

    if (wn_par_rank(par) == 0)
        CHECK(mkdir(temporary, 0700) == 0);
    wn_par_barrier(par);
    setenv("TMPDIR", temporary, 1);
    example_init(&e, "model demo\nseed 0\n");
    CHECK_OK(wn_results_open(par, path, &e.plan, true, &results));
    wn_par_barrier(par);
    CHECK(entries(temporary) == (long_folder ? 0 : wn_par_size(par)));
    wn_par_barrier(par);
    CHECK_OK(wn_results_close(&results));
    wn_par_barrier(par);
    CHECK(entries(temporary) == 0);
    example_release(&e);
    if (before)
        setenv("TMPDIR", before, 1);
    else
        unsetenv("TMPDIR");
    wn_par_barrier(par);
    if (wn_par_rank(par) == 0)
        CHECK(rmdir(temporary) == 0 && unlink(path) == 0);
    wn_free(before);
    wn_free(temporary);
    wn_free(path);
}

/* As another user, since root may write anywhere. */
static void check_read_only(void)
{
    char *path = path_of("a.h5"), *fresh = path_of("new.h5");
    int code = 0;

    if (geteuid() != 0 || chmod(folder, 0555) != 0)
        goto end;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        test_failures = 0;
        if (setuid(65534) == 0) {
            check_refused(fresh, "x", false, "cannot be created: Permission denied", 2);
            check_refused(path, "model demo\nseed 0\n", false, "cannot be created: Permission denied", 2);
        }
        _exit(test_failures ? 1 : 0);
    }
    CHECK(waitpid(child, &code, 0) == child && code == 0);
    chmod(folder, 0755);
end:
    wn_free(path);
    wn_free(fresh);
}

static void check_all(void)
{
    if (wn_par_rank(par) == 0) {
        strcpy(folder, P_tmpdir "/test_results_XXXXXX");
        CHECK(mkdtemp(folder) != NULL);
    }
    wn_par_broadcast(par, folder, sizeof folder, 0);
    check_round_trip();
    check_continue();
    check_mistakes();
    check_other_schema();
    check_missing();
    check_leftover();
    check_long_path(false);
    check_long_path(true);
    if (wn_par_size(par) == 1) {
        check_limit(false);
        check_full_disk(false);
        check_full_disk(true);
        check_read_only();
    }
    wn_par_barrier(par);
    if (wn_par_rank(par) == 0) {
        const char *const names[] = {"a.h5", "b.h5"};
        for (int i = 0; i < 2; i++) {
            char *path = path_of(names[i]);
            unlink(path);
            wn_free(path);
        }
        CHECK(rmdir(folder) == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "keep")) {
        wn_par_start_serial(&par);
        make_file(argv[2], 1.5);
        wn_par_finish(&par);
        return test_finish();
    }
    wn_par_start_serial(&par);
    if (!getenv("OMPI_COMM_WORLD_SIZE")) /* under mpirun every process would do this */
        check_all();
    wn_par_finish(&par);
    CHECK_OK(wn_par_start(&argc, &argv, &par));
    CHECK(wn_par_size(par) == test_ranks_asked());
    check_all();
    wn_par_finish(&par);
    return test_finish();
}
