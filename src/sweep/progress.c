/* progress.c: see progress.h. The time left, the lines, and the file that status reads. */
#include "progress.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "winnow_build.h"

enum { TICK_US = 200000, MANY_RANKS = 128 };
static const double DRAW_SECONDS = 1, FIRST_LINE_SECONDS = 2, LINE_SECONDS = 30;
static const double FILE_SECONDS = 2, FILE_SECONDS_OF_MANY = 10;

/* What a rank works on, as far as it has told. */
struct worker {
    int64_t job;                  /* -1: nothing */
    int64_t step, steps, first;   /* first: steps of earlier starts */
    double since, heard, at_step; /* at_step: seconds into the job when `step` was finished */
    bool left;
};

/* Points of one method: predicted operations differ from seconds by a factor that is measured for each. */
struct kind {
    char *label;                 /* owned */
    double open, flops, seconds; /* operations not done yet; done, and how long they took */
};

struct wn_progress {
    const struct wn_run *run;
    char *path, *partial; /* FILE.h5.progress, and its temporary name */
    char **names;         /* [points] */
    char (*hosts)[WN_HOST_TEXT];
    bool terminal, quiet, verbose, at_points;
    int64_t wanted, done, failed; /* done: of this run, failed ones among them */
    int64_t saved, waiting;       /* left for a later start: in work, and not begun */
    double *flops;                /* [points] */
    int *kind_of;                 /* [points] */
    struct kind *kinds;
    int64_t n_kinds;
    struct worker *workers; /* [ranks] */
    int ranks, threads;
    int64_t dense_first, dense_done, dense_all; /* first: done by an earlier start */
    double dense_start;
    int64_t search, generation, searched; /* search in work, -1: none; its last generation; generations of this run */
    double fitness, search_seconds;       /* search_seconds: of those generations */
    double start, points_start, drawn, said, written, tokens, last_write; /* last_write: seconds since 1970 */
    double started;
    bool stop;
    pthread_t thread;
    bool threaded;
    pthread_mutex_t mutex;
};

/* ---- time left ---- */

static int find_kind(struct wn_progress *p, const char *key)
{
    char *label = wn_point_label(key);
    for (int64_t i = 0; i < p->n_kinds; i++)
        if (!strcmp(p->kinds[i].label, label)) {
            wn_free(label);
            return (int)i;
        }
    p->kinds = wn_resize(p->kinds, p->n_kinds + 1, sizeof *p->kinds);
    p->kinds[p->n_kinds] = (struct kind){.label = label};
    return (int)p->n_kinds++;
}

/* Seconds of an operation of a kind: as measured, else as measured of all kinds; NaN: nothing is known. */
static double pace(const struct wn_progress *p, int64_t kind, const struct kind *sums)
{
    double flops = 0, seconds = 0;
    if (sums[kind].flops > 0)
        return sums[kind].seconds / sums[kind].flops;
    for (int64_t k = 0; k < p->n_kinds; k++) {
        flops += sums[k].flops;
        seconds += sums[k].seconds;
    }
    return flops > 0 ? seconds / flops : (double)NAN;
}

/* Share of its job that a rank has finished: what it told, and since then by the clock, up to the next step. */
static double share_of(const struct worker *worker, double now)
{
    double steps = (double)worker->step;
    if (worker->job < 0 || worker->steps <= 0 || worker->step <= 0)
        return 0;
    if (worker->step > worker->first)
        steps += (now - worker->since - worker->at_step) * (double)(worker->step - worker->first) / worker->at_step;
    double most = (double)worker->step + 0.9;
    steps = steps < most ? steps : most;
    return fmin(steps / (double)worker->steps, 1);
}

/* Work in flight counts by its share: *share of all work of this run gets done, the seconds left are returned. */
static double seconds_left(const struct wn_progress *p, double now, double *share)
{
    struct kind *sums = wn_alloc(p->n_kinds + 1, sizeof *sums);
    double all = 0, open = 0, left = 0, longest = 0;
    int64_t busy = 0;
    for (int64_t k = 0; k < p->n_kinds; k++) {
        sums[k] = p->kinds[k];
        all += sums[k].open + sums[k].flops;
    }
    for (int r = 0; r < p->ranks; r++) {
        const struct worker *worker = &p->workers[r];
        double done = share_of(worker, now);
        busy += worker->job >= 0;
        if (done <= 0)
            continue;
        struct kind *kind = &sums[p->kind_of[worker->job]];
        double flops = p->flops[worker->job] * done;
        double earlier = p->flops[worker->job] * (double)worker->first / (double)worker->steps;
        kind->open -= flops;
        if (flops <= earlier)
            continue;
        kind->flops += flops - earlier;
        kind->seconds += now - worker->since;
    }
    for (int64_t k = 0; k < p->n_kinds; k++) {
        open += sums[k].open;
        if (sums[k].open > 0)
            left += sums[k].open * pace(p, k, sums);
    }
    for (int r = 0; r < p->ranks; r++)
        if (p->workers[r].job >= 0) {
            int64_t job = p->workers[r].job;
            double rest = p->flops[job] * (1 - share_of(&p->workers[r], now)) * pace(p, p->kind_of[job], sums);
            longest = rest > longest ? rest : longest;
        }
    wn_free(sums);
    *share = all > 0 ? 1 - open / all : 0;
    int64_t waiting = p->wanted - p->done - busy;
    double workers = (double)(waiting > 0 ? p->ranks : busy > 0 ? busy : 1);
    left /= workers;
    return left < longest ? longest : left; /* NaN stays NaN */
}

static double dense_left(const struct wn_progress *p, double now)
{
    double elapsed = now - p->dense_start;
    int64_t done = p->dense_done - p->dense_first;
    return done > 0 ? elapsed * (double)(p->dense_all - p->dense_done) / (double)done : (double)NAN;
}

static double tokens_per_second(const struct wn_progress *p, double now)
{
    return now > p->points_start ? p->tokens / (now - p->points_start) : 0;
}

/* ---- lines ---- */

static const char *name_of(const struct wn_progress *p, int64_t point)
{
    return p->verbose ? p->run->grid.points[point].key : p->names[point];
}

/* The rank that has worked longest on its point; -1: none. */
static int oldest(const struct wn_progress *p, int64_t *busy)
{
    int rank = -1;
    *busy = 0;
    for (int r = 0; r < p->ranks; r++) {
        if (p->workers[r].job < 0)
            continue;
        ++*busy;
        if (rank < 0 || p->workers[r].since < p->workers[rank].since)
            rank = r;
    }
    return rank;
}

static void say_left(const struct wn_progress *p, double now, struct wn_text *line)
{
    char left[WN_DURATION_TEXT];
    double share, seconds = seconds_left(p, now, &share);
    if (p->tokens > 0)
        wn_text_printf(line, "; %.0f tokens/s", tokens_per_second(p, now));
    if (isfinite(seconds))
        wn_text_printf(line, "%s%.0f %% of the work, %s left", p->tokens > 0 ? ", " : "; ", 100 * share,
                       wn_duration_text(seconds, left));
}

/* Seconds that the generations of a search and of those behind it will take; the pace of this one. */
static double search_left(const struct wn_progress *p)
{
    const struct wn_point_search *search = &p->run->searches[p->search];
    return p->searched ? p->search_seconds / (double)p->searched * (double)(search->generations - p->generation)
                       : (double)NAN;
}

static double search_rate(const struct wn_progress *p)
{
    const struct wn_point_search *search = &p->run->searches[p->search];
    double tokens = (double)p->searched * (double)wn_search_generation_tokens(&search->settings);
    return p->search_seconds > 0 ? tokens / p->search_seconds : 0;
}

static void say_search(const struct wn_progress *p, struct wn_text *line)
{
    const struct wn_point_search *search = &p->run->searches[p->search];
    char left[WN_DURATION_TEXT];
    wn_text_printf(line, "search %s (%s): generation %lld of %lld", p->run->grid.points[search->point].recipe.search,
                   name_of(p, search->point), (long long)p->generation, (long long)search->generations);
    bool minimizes = wn_recipe_minimizes(&p->run->grid.points[search->point].recipe);
    if (isfinite(p->fitness))
        wn_text_printf(line, ", %s %.6g", minimizes ? "layer errors" : wn_fitness_name(search->settings.fitness),
                       p->fitness);
    if (p->searched)
        wn_text_printf(line, "; %.0f candidate tokens/s, %s left of it", search_rate(p),
                       wn_duration_text(search_left(p), left));
}

/* How far everything is, with the point that has been in work longest. */
static void say_state(const struct wn_progress *p, double now, struct wn_text *line)
{
    char left[WN_DURATION_TEXT];
    if (!p->at_points && p->search >= 0) {
        say_search(p, line);
        return;
    }
    if (!p->at_points && p->dense_all) {
        wn_text_printf(line, "dense pass: block %lld of %lld (%.0f %%)", (long long)p->dense_done,
                       (long long)p->dense_all, 100 * (double)p->dense_done / (double)p->dense_all);
        if (p->dense_done > p->dense_first)
            wn_text_printf(line, ", %s left of it", wn_duration_text(dense_left(p, now), left));
        return;
    }
    if (!p->at_points)
        return;
    int64_t busy;
    int rank = oldest(p, &busy);
    wn_text_printf(line, "%lld of %lld points", (long long)p->done, (long long)p->wanted);
    if (p->failed)
        wn_text_printf(line, " (%lld failed)", (long long)p->failed);
    if (rank >= 0) {
        const struct worker *worker = &p->workers[rank];
        wn_text_printf(line, ", %lld in work: %s", (long long)busy, name_of(p, worker->job));
        if (worker->steps)
            wn_text_printf(line, ", block %lld of %lld", (long long)worker->step, (long long)worker->steps);
    }
    say_left(p, now, line);
}

/* On a terminal one line that is written over; else a line when nothing was said for a while. */
static void draw(struct wn_progress *p, double now)
{
    struct wn_text line = {0};
    double pause = p->said > p->start ? LINE_SECONDS : FIRST_LINE_SECONDS;
    if (p->quiet || now - (p->terminal ? p->drawn : p->said) < (p->terminal ? DRAW_SECONDS : pause))
        return;
    say_state(p, now, &line);
    p->drawn = now;
    if (!line.data)
        return;
    if (!p->terminal)
        p->said = now;
    fprintf(stderr, p->terminal ? "\r\033[Kwinnow: %s" : "winnow: %s\n", line.data);
    fflush(stderr);
    wn_text_release(&line);
}

static void say_point(struct wn_progress *p, const struct wn_queue_report *report, double now)
{
    struct wn_text line = {0};
    if (p->quiet || (p->terminal && report->status == WN_OK && !p->verbose))
        return;
    wn_text_printf(&line, "%lld of %lld points: %lld %s %s %.2f s on rank %d", (long long)p->done, (long long)p->wanted,
                   (long long)report->job, name_of(p, report->job), report->status == WN_OK ? "in" : "FAILED after",
                   report->seconds, report->rank);
    say_left(p, now, &line);
    fprintf(stderr, "%swinnow: %s\n", p->terminal ? "\r\033[K" : "", line.data);
    fflush(stderr);
    p->said = now;
    wn_text_release(&line);
}

/* ---- FILE.h5.progress; sweep.h says what is in it ---- */

static void add_number(cJSON *json, const char *name, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(json, name, value);
    else
        cJSON_AddNullToObject(json, name);
}

static void add_hosts(const struct wn_progress *p, cJSON *json)
{
    cJSON *hosts = cJSON_AddArrayToObject(json, "hosts");
    cJSON *last = NULL;
    int left = 0;
    for (int r = 0; r < p->ranks; r++) {
        left += p->workers[r].left;
        if (!last || strcmp(cJSON_GetObjectItem(last, "host")->valuestring, p->hosts[r])) {
            last = cJSON_CreateObject();
            cJSON_AddStringToObject(last, "host", p->hosts[r]);
            cJSON_AddNumberToObject(last, "ranks", 0);
            cJSON_AddItemToArray(hosts, last);
        }
        cJSON *count = cJSON_GetObjectItem(last, "ranks");
        if (count)
            cJSON_SetNumberValue(count, count->valuedouble + 1);
    }
    add_number(json, "ranks", p->ranks);
    add_number(json, "ranks_at_work", p->ranks - left);
    add_number(json, "threads", p->threads);
}

static void add_workers(const struct wn_progress *p, double now, cJSON *json)
{
    cJSON *list = cJSON_AddArrayToObject(json, "in_flight");
    for (int r = 0; r < p->ranks; r++) {
        const struct worker *worker = &p->workers[r];
        if (worker->job < 0)
            continue;
        cJSON *one = cJSON_CreateObject();
        add_number(one, "point", (double)worker->job);
        cJSON_AddStringToObject(one, "name", p->names[worker->job]);
        add_number(one, "rank", r);
        cJSON_AddStringToObject(one, "host", p->hosts[r]);
        add_number(one, "block", (double)worker->step);
        add_number(one, "blocks",
                   (double)p->run->models[p->run->grid.points[worker->job].model].model->config.n_blocks);
        add_number(one, "seconds", now - worker->since);
        add_number(one, "heard_seconds_ago", now - worker->heard);
        cJSON_AddItemToArray(list, one);
    }
}

static void add_search(const struct wn_progress *p, cJSON *json)
{
    const struct wn_point_search *search = &p->run->searches[p->search];
    cJSON_AddStringToObject(json, "search", p->run->grid.points[search->point].recipe.search);
    add_number(json, "search_point", (double)search->point);
    add_number(json, "generation", (double)p->generation);
    add_number(json, "generations", (double)search->generations);
    add_number(json, "fitness", p->fitness);
    add_number(json, "candidate_tokens_per_second", search_rate(p));
    add_number(json, "search_seconds_left", search_left(p));
}

static char *describe(const struct wn_progress *p, double now)
{
    cJSON *json = cJSON_CreateObject();
    double share, left = seconds_left(p, now, &share);
    add_number(json, "format", 1);
    cJSON_AddStringToObject(json, "version", WN_VERSION);
    cJSON_AddStringToObject(json, "host", p->hosts[0]);
    add_number(json, "process", getpid());
    add_number(json, "started", p->started);
    add_number(json, "written", (double)time(NULL));
    add_number(json, "every_seconds", p->ranks > MANY_RANKS ? FILE_SECONDS_OF_MANY : FILE_SECONDS);
    cJSON_AddStringToObject(json, "stage", p->at_points ? "points" : p->search >= 0 ? "search" : "dense");
    add_hosts(p, json);
    add_number(json, "wanted", (double)p->wanted);
    add_number(json, "done", (double)p->done);
    add_number(json, "failed", (double)p->failed);
    add_number(json, "saved", (double)p->saved);
    add_number(json, "waiting", (double)p->waiting);
    add_number(json, "last_point_written", p->last_write);
    add_number(json, "dense_block", (double)p->dense_done);
    add_number(json, "dense_blocks", (double)p->dense_all);
    if (!p->at_points && p->search >= 0)
        add_search(p, json);
    add_number(json, "share_done", p->at_points ? share : 0);
    add_number(json, "seconds_left", p->at_points ? left : (double)NAN);
    add_number(json, "dense_seconds_left", p->at_points ? 0 : dense_left(p, now));
    add_number(json, "tokens_per_second", p->at_points ? tokens_per_second(p, now) : 0);
    add_workers(p, now, json);
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return text;
}

/* A disk that is full or a folder that may not be written costs the view, not the run. */
static void write_file(const struct wn_progress *p, const char *text)
{
    FILE *file = fopen(p->partial, "w");
    if (!file)
        return;
    bool good = fputs(text, file) >= 0 && fputc('\n', file) != EOF;
    good = fclose(file) == 0 && good;
    if (!good || rename(p->partial, p->path) != 0)
        unlink(p->partial);
}

/* ---- the thread ---- */

static void *tick(void *argument)
{
    struct wn_progress *p = argument;
    for (bool stop = false; !stop;) {
        double now = wn_seconds();
        char *text = NULL;
        pthread_mutex_lock(&p->mutex);
        stop = p->stop;
        if (!stop)
            draw(p, now);
        if (!stop && now - p->written >= (p->ranks > MANY_RANKS ? FILE_SECONDS_OF_MANY : FILE_SECONDS)) {
            p->written = now;
            text = describe(p, now);
        }
        pthread_mutex_unlock(&p->mutex);
        if (text)
            write_file(p, text);
        cJSON_free(text);
        if (!stop)
            usleep(TICK_US);
    }
    return NULL;
}

/* Signals are for the threads that compute. */
static bool start_thread(struct wn_progress *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&p->thread, NULL, tick, p) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void take_points(struct wn_progress *p, const struct wn_progress_options *options)
{
    int64_t n = p->run->grid.n_points;
    p->names = wn_point_names(&p->run->grid);
    p->flops = wn_alloc(n, sizeof *p->flops);
    p->kind_of = wn_alloc_zero(n, sizeof *p->kind_of);
    for (int64_t i = 0; i < n; i++) {
        p->flops[i] = options->flops[i];
        p->kind_of[i] = find_kind(p, p->run->grid.points[i].key);
        if (!options->wanted[i])
            continue;
        p->wanted++;
        p->kinds[p->kind_of[i]].open += p->flops[i];
    }
}

struct wn_progress *wn_progress_start(const struct wn_run *run, const struct wn_progress_options *options)
{
    struct wn_progress *p = wn_alloc_zero(1, sizeof *p);
    p->run = run;
    p->path = wn_format("%s.progress", options->output);
    p->partial = wn_format("%s.progress.%d", options->output, (int)getpid());
    p->terminal = isatty(2);
    p->quiet = options->quiet;
    p->verbose = options->verbose;
    p->hosts = options->hosts;
    p->ranks = options->ranks;
    p->threads = options->threads;
    p->start = p->points_start = p->said = wn_seconds();
    p->started = (double)time(NULL);
    p->last_write = (double)NAN;
    p->search = -1;
    p->workers = wn_alloc_zero(p->ranks, sizeof *p->workers);
    for (int r = 0; r < p->ranks; r++)
        p->workers[r].job = -1;
    take_points(p, options);
    pthread_mutex_init(&p->mutex, NULL);
    p->threaded = start_thread(p);
    return p;
}

void wn_progress_forget(const char *output)
{
    char *path = wn_format("%s.progress", output);
    unlink(path);
    wn_free(path);
}

void wn_progress_finish(struct wn_progress **progress)
{
    struct wn_progress *p = *progress;
    if (!p)
        return;
    *progress = NULL;
    pthread_mutex_lock(&p->mutex);
    p->stop = true;
    pthread_mutex_unlock(&p->mutex);
    if (p->threaded)
        pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->mutex);
    if (p->terminal && !p->quiet && p->drawn > 0)
        fprintf(stderr, "\r\033[K");
    unlink(p->path);
    wn_point_names_free(&p->names, p->run->grid.n_points);
    for (int64_t k = 0; k < p->n_kinds; k++)
        wn_free(p->kinds[k].label);
    wn_free(p->kinds);
    wn_free(p->kind_of);
    wn_free(p->flops);
    wn_free(p->workers);
    wn_free(p->hosts);
    wn_free(p->path);
    wn_free(p->partial);
    wn_free(p);
}

/* ---- events ---- */

void wn_progress_dense(struct wn_progress *p, int64_t done, int64_t all)
{
    pthread_mutex_lock(&p->mutex);
    if (p->dense_all == 0 || done <= p->dense_done) { /* of the first model, or of another one */
        p->dense_start = wn_seconds();
        p->dense_first = done;
    }
    p->dense_done = done;
    p->dense_all = all;
    pthread_mutex_unlock(&p->mutex);
}

void wn_progress_search(struct wn_progress *p, int64_t search, int64_t generation, double fitness, double seconds)
{
    pthread_mutex_lock(&p->mutex);
    if (search != p->search) {
        p->searched = 0;
        p->search_seconds = 0;
    }
    p->search = search;
    p->generation = generation;
    p->fitness = fitness;
    p->searched += seconds > 0 && generation > 0;
    p->search_seconds += generation > 0 ? seconds : 0;
    const struct wn_point_search *about = &p->run->searches[search];
    if (generation == about->generations && seconds > 0 && !p->quiet) {
        struct wn_text line = {0};
        say_search(p, &line);
        fprintf(stderr, "%swinnow: %s\n", p->terminal ? "\r\033[K" : "", line.data);
        fflush(stderr);
        p->said = wn_seconds();
        wn_text_release(&line);
    } else if (seconds == 0 && !p->quiet) {
        fprintf(stderr, "%swinnow: goes on: search %s, behind generation %lld of %lld\n", p->terminal ? "\r\033[K" : "",
                p->run->grid.points[about->point].recipe.search, (long long)generation, (long long)about->generations);
        fflush(stderr);
    }
    pthread_mutex_unlock(&p->mutex);
}

/* A rank that was given its next job while it still writes the last one begins it when that one is done. */
static void finish_point(struct wn_progress *p, const struct wn_queue_report *report, double now)
{
    struct worker *worker = &p->workers[report->rank];
    struct kind *kind = &p->kinds[p->kind_of[report->job]];
    p->done++;
    p->failed += report->status != WN_OK;
    p->tokens += report->tokens;
    p->last_write = (double)time(NULL);
    kind->open -= p->flops[report->job];
    kind->flops += p->flops[report->job];
    kind->seconds += report->seconds;
    if (worker->job == report->job)
        worker->job = -1;
    worker->since = now;
    say_point(p, report, now);
}

static void take_resumed(struct wn_progress *p, const struct wn_queue_report *report, double now)
{
    struct worker *worker = &p->workers[report->rank];
    if (worker->job == report->job) {
        worker->step = worker->first = report->step;
        worker->steps = report->steps;
        worker->at_step = now - worker->since;
    }
    if (p->quiet)
        return;
    fprintf(stderr, "%swinnow: goes on: %lld %s, behind block %d of %d, on rank %d\n", p->terminal ? "\r\033[K" : "",
            (long long)report->job, name_of(p, report->job), report->step, report->steps, report->rank);
    fflush(stderr);
}

/* Left for a later start. */
static void take_saved(struct wn_progress *p, const struct wn_queue_report *report)
{
    if (p->workers[report->rank].job == report->job)
        p->workers[report->rank].job = -1;
    p->saved++;
    if (p->quiet)
        return;
    fprintf(stderr, "%swinnow: saved: %lld %s, behind block %d of %d, on rank %d\n", p->terminal ? "\r\033[K" : "",
            (long long)report->job, name_of(p, report->job), report->step, report->steps, report->rank);
    fflush(stderr);
}

void wn_progress_waits(struct wn_progress *p, int64_t count, int64_t point, double seconds)
{
    char needs[WN_DURATION_TEXT];
    pthread_mutex_lock(&p->mutex);
    p->waiting = count;
    if (!p->quiet) {
        fprintf(stderr, "%swinnow: %lld point%s wait%s for the next slot: %s needs about %s, this slot has less left\n",
                p->terminal ? "\r\033[K" : "", (long long)count, count == 1 ? "" : "s", count == 1 ? "s" : "",
                name_of(p, point), wn_duration_text(seconds, needs));
        fflush(stderr);
    }
    pthread_mutex_unlock(&p->mutex);
}

bool wn_progress_got_on(struct wn_progress *p)
{
    pthread_mutex_lock(&p->mutex);
    bool got_on = p->done + p->saved > 0;
    pthread_mutex_unlock(&p->mutex);
    return got_on;
}

static void take_step(struct worker *worker, const struct wn_queue_report *report, double now)
{
    if (worker->job != report->job)
        return;
    worker->step = report->step;
    worker->steps = report->steps;
    worker->at_step = now - worker->since;
}

void wn_progress_listen(void *context, const struct wn_queue_report *report)
{
    struct wn_progress *p = context;
    double now = wn_seconds();
    if (!report)
        return;
    pthread_mutex_lock(&p->mutex);
    struct worker *worker = &p->workers[report->rank];
    if (!p->at_points)
        p->points_start = now;
    p->at_points = true;
    worker->heard = now;
    switch ((enum wn_queue_event)report->event) {
    case WN_QUEUE_GIVEN:
        *worker = (struct worker){.job = report->job, .since = now, .heard = now};
        break;
    case WN_QUEUE_RESUMED:
        take_resumed(p, report, now);
        break;
    case WN_QUEUE_STEP:
        take_step(worker, report, now);
        break;
    case WN_QUEUE_DONE:
        finish_point(p, report, now);
        break;
    case WN_QUEUE_SAVED:
        take_saved(p, report);
        break;
    case WN_QUEUE_LEFT:
        worker->job = -1;
        worker->left = true;
        break;
    }
    pthread_mutex_unlock(&p->mutex);
}

double wn_progress_left(struct wn_progress *p, double *share)
{
    pthread_mutex_lock(&p->mutex);
    double left = seconds_left(p, wn_seconds(), share);
    pthread_mutex_unlock(&p->mutex);
    return left;
}
