/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills a running sweep at random moments and looks at the file each time: it must be absent or valid, what counts as
 * written must be right to the last bit, and the next run must be able to go on.
 *
 *   test_kill [SECONDS [MPIRUN]]   not under mpirun; it starts `MPIRUN -n 3 test_kill work FOLDER` itself
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <winnow/io.h>

#include "results/fill.h"

#include "example.h"

enum { RANKS = 3, KINDS = 4 };

#define IDENTITY "kill test\n"

/* ---- the sweep ---- */

static void mark(const char *folder, const char *name, int number)
{
    char *path = wn_format("%s/%s", folder, name), *temporary = wn_format("%s.new", path);
    FILE *file = fopen(temporary, "w");

    if (file) {
        fprintf(file, "%d\n", number);
        fclose(file);
        rename(temporary, path);
    }
    wn_free(path);
    wn_free(temporary);
}

/* What is open or failed is written: even points get done, odd ones fail anew in every run. */
static wn_status sweep(struct wn_par *par, struct wn_results *results, struct example *e)
{
    struct wn_queue *queue;
    struct wn_record record;
    int64_t jobs[POINTS], n_jobs = 0, point;
    wn_status status = WN_OK;

    for (int64_t p = 0; p < POINTS; p++)
        if (wn_results_status(results)[p] != WN_POINT_DONE)
            jobs[n_jobs++] = p;
    WN_TRY(wn_queue_start(par, n_jobs, jobs, NULL, NULL, &queue));
    wn_record_init(&record, &e->schema);
    while (status == WN_OK && (point = wn_queue_take(queue)) >= 0) {
        status = wn_results_begin(results, point);
        example_fill(e, &record, point, wn_results_attempts(results)[point], 0);
        wn_queue_ask(queue);
        if (status == WN_OK)
            status = wn_results_write(results, point, &record, point % 2 ? WN_POINT_FAILED : WN_POINT_DONE);
        wn_queue_done(queue, point, status, 0, 0);
    }
    wn_queue_finish(&queue);
    wn_record_release(&record);
    return status;
}

static int work(int argc, char **argv)
{
    const char *folder = argv[2];
    char *path = wn_format("%s/sweep.h5", folder);
    struct wn_par *par;
    struct wn_results *results;
    struct example e;

    CHECK_OK(wn_par_start(&argc, &argv, &par));
    char *name = wn_format("pid.%d", wn_par_rank(par));
    mark(folder, name, getpid());
    wn_free(name);
    wn_log_set(WN_LOG_ERROR, 0, 1);
    wn_fill_least_ = 1; /* all ranks fill the file */
    example_init(&e, IDENTITY);
    wn_status status = wn_results_open(par, path, &e.plan, false, &results);
    CHECK_OK(status);
    if (status == WN_OK) {
        if (wn_par_rank(par) == 0)
            mark(folder, "open", 1);
        CHECK_OK(sweep(par, results, &e));
        CHECK_OK(wn_results_close(&results));
    }
    example_release(&e);
    wn_free(path);
    wn_par_finish(&par);
    return test_finish();
}

/* ---- the killer ---- */

struct killer {
    char folder[64], *program, *mpirun;
    char *path;
    struct example example;
    int64_t draws;
    int looks, written, absent,
        midway;        /* looks at the file, written points seen, looks that found no file, some open */
    int struck[KINDS]; /* trials of that kind in which the sweep was under way when it was killed */
};

static int64_t draw(struct killer *k, int64_t below)
{
    return (int64_t)(wn_random_u64(7, 0, (uint64_t)k->draws++) % (uint64_t)below);
}

static char *file_of(struct killer *k, const char *name, int number)
{
    return number < 0 ? wn_format("%s/%s", k->folder, name) : wn_format("%s/%s%d", k->folder, name, number);
}

static void forget_marks(struct killer *k)
{
    for (int i = -1; i < RANKS; i++) {
        char *path = i < 0 ? file_of(k, "open", -1) : file_of(k, "pid.", i);
        unlink(path);
        wn_free(path);
    }
}

static pid_t start(struct killer *k)
{
    char ranks[16];

    forget_marks(k);
    snprintf(ranks, sizeof ranks, "%d", RANKS);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int nothing = open("/dev/null", O_RDWR);
        dup2(nothing, 0);
        dup2(nothing, 1);
        dup2(nothing, 2);
        execlp(k->mpirun, k->mpirun, "-n", ranks, k->program, "work", k->folder, (char *)NULL);
        _exit(127);
    }
    return child;
}

/* Waits until a mark is there; false when mpirun ended before. */
static bool wait_mark(struct killer *k, pid_t child, const char *name, int number)
{
    char *path = file_of(k, name, number);
    bool there = false;
    int code;

    for (int i = 0; i < 20000 && !there && waitpid(child, &code, WNOHANG | __WNOTHREAD) == 0; i++) {
        there = access(path, F_OK) == 0;
        if (!there)
            usleep(500);
    }
    wn_free(path);
    return there;
}

static void kill_rank(struct killer *k, int rank)
{
    char *path = file_of(k, "pid.", rank);
    FILE *file = fopen(path, "r");
    int pid = 0;

    if (file && fscanf(file, "%d", &pid) == 1 && pid > 1)
        kill(pid, SIGKILL);
    if (file)
        fclose(file);
    wn_free(path);
}

static void strike(struct killer *k, pid_t child, int kind)
{
    if (kind == 0)
        kill_rank(k, (int)draw(k, RANKS));
    else if (kind == 1)
        kill(child, SIGKILL); /* the ranks write on for about a second, beside the next run's attempt to start */
    else
        for (int rank = 0; rank < RANKS; rank++)
            kill_rank(k, rank);
}

/* The checksum that point p must have after its attempt number `attempt`. */
static double expected_checksum(struct killer *k, struct wn_record *record, int64_t p, int attempt)
{
    struct wn_hash *hash = wn_hash_create();
    uint8_t digest[32];
    uint64_t value;

    example_fill(&k->example, record, p, attempt, 0);
    for (int f = 0; f < k->example.schema.n_fields; f++)
        if (k->example.schema.fields[f].result)
            wn_hash_update(hash, record->data[f], (size_t)k->example.schema.fields[f].bytes);
    wn_hash_finish(hash, digest);
    memcpy(&value, digest, sizeof value);
    return (double)value;
}

/* No process writes now: every written point carries the checksum of its data, and those are the data to be expected.
 */
static void look(struct killer *k, int64_t *open_points)
{
    struct wn_results_reader *reader;
    struct wn_problems problems;
    struct wn_record record;
    double *status = NULL, *attempts = NULL, *checksums = NULL;
    int64_t rows;

    *open_points = POINTS;
    k->looks++;
    if (access(k->path, F_OK) != 0) {
        k->absent++;
        return;
    }
    wn_problems_init(&problems);
    CHECK_OK(wn_results_verify(k->path, &problems, NULL, NULL, NULL, open_points));
    CHECK(problems.count == 0);
    wn_problems_release(&problems);
    k->midway += *open_points > 0 && *open_points < POINTS;
    CHECK_OK(wn_results_read_open(k->path, &reader));
    if (!reader)
        return;
    CHECK_OK(wn_results_read_numbers(reader, "/points/status", &status, &rows));
    CHECK_OK(wn_results_read_numbers(reader, "/points/attempt", &attempts, &rows));
    CHECK_OK(wn_results_read_numbers(reader, "/points/checksum", &checksums, &rows));
    wn_record_init(&record, &k->example.schema);
    for (int64_t p = 0; p < POINTS; p++)
        if (status[p] != WN_POINT_OPEN) {
            k->written++;
            CHECK(status[p] == (p % 2 ? WN_POINT_FAILED : WN_POINT_DONE));
            CHECK(checksums[p] == expected_checksum(k, &record, p, (int)attempts[p]));
        }
    wn_record_release(&record);
    wn_free(status);
    wn_free(attempts);
    wn_free(checksums);
    wn_results_read_close(&reader);
}

/* While ranks write: the file opens and reads, and what is done stays so. */
static void look_during(struct killer *k)
{
    struct wn_results_reader *reader;
    uint8_t first[POINTS], second[POINTS];

    CHECK_OK(wn_results_read_open(k->path, &reader));
    if (!reader)
        return;
    CHECK_OK(wn_results_read_status(reader, first));
    usleep(2000);
    CHECK_OK(wn_results_read_status(reader, second));
    for (int p = 0; p < POINTS; p += 2)
        CHECK(first[p] != WN_POINT_DONE || second[p] == WN_POINT_DONE);
    wn_results_read_close(&reader);
}

/* Ranks outlive a killed mpirun: wait for their end, for 5 s at most. */
static void wait_for_end(struct killer *k)
{
    for (int rank = 0; rank < RANKS; rank++) {
        char *path = file_of(k, "pid.", rank);
        FILE *file = fopen(path, "r");
        int pid = 0;
        if (file && fscanf(file, "%d", &pid) == 1)
            for (int i = 0; i < 500 && pid > 1 && kill(pid, 0) == 0; i++)
                usleep(10000);
        if (file)
            fclose(file);
        wn_free(path);
    }
}

/* One run that is killed: kinds 0 to 2 while it writes, kind 3 at any moment before that. */
static void trial(struct killer *k, int kind)
{
    int64_t open_points;
    int code;

    if (kind == 3)
        unlink(k->path); /* so that the layout is made anew */
    pid_t child = start(k);
    bool there = wait_mark(k, child, kind == 3 ? "pid." : "open", kind == 3 ? RANKS - 1 : -1);
    if (there && kind != 3 && draw(k, 2))
        look_during(k);
    usleep((useconds_t)draw(k, kind == 3 ? 60000 : 15000));
    if (there)
        strike(k, child, kind);
    waitpid(child, &code, 0);
    /* A sweep that ended by itself before the blow was not killed. */
    k->struck[kind] += there && (WIFSIGNALED(code) || WEXITSTATUS(code) != 0);
    if (kind == 1 && draw(k, 2))
        return; /* the next run starts beside the rest of this one */
    wait_for_end(k);
    look(k, &open_points);
    if (open_points == 0)
        unlink(k->path);
}

static int run_to_the_end(struct killer *k)
{
    int code = -1;

    waitpid(start(k), &code, 0);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

/* Blows of all kinds have fallen, on points too. */
static bool saw_all(const struct killer *k)
{
    for (int kind = 0; kind < KINDS; kind++)
        if (!k->struck[kind])
            return false;
    return k->midway > 0 && k->written > 0;
}

/* For so many seconds, and on a machine at work until all has been seen, ten times as many at most. */
static void killer_main(struct killer *k, double seconds)
{
    const double end = wn_seconds() + seconds, last = end + 9 * seconds;
    int64_t open_points;
    int trials = 0;

    strcpy(k->folder, P_tmpdir "/test_kill_XXXXXX");
    CHECK(mkdtemp(k->folder) != NULL);
    /* What killed jobs leave behind goes into the folder that is removed at the end. */
    setenv("TMPDIR", k->folder, 1);
    setenv("OMPI_MCA_btl_vader_backing_directory", k->folder, 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    k->path = wn_format("%s/sweep.h5", k->folder);
    example_init(&k->example, IDENTITY);
    while ((wn_seconds() < end || (wn_seconds() < last && !saw_all(k))) && !test_failures)
        trial(k, trials++ % KINDS);
    wait_for_end(k);
    CHECK(run_to_the_end(k) == 0);
    look(k, &open_points);
    CHECK(open_points == 0);
    CHECK(saw_all(k));
    if (seconds > 30)
        printf("%d kills, %d looks at the file (%d found none, %d some points open), %d written points checked\n",
               trials, k->looks, k->absent, k->midway, k->written);
    example_release(&k->example);
    wn_free(k->path);
    nftw(k->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    struct killer killer = {0};

    if (argc == 3 && !strcmp(argv[1], "work"))
        return work(argc, argv);
    killer.program = argv[0];
    killer.mpirun = argc > 2 ? argv[2] : "mpirun";
    killer_main(&killer, argc > 1 ? atof(argv[1]) : 12);
    return test_finish();
}
