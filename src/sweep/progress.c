/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c: see progress.h. The lines, the thread, and what ranks report. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include <winnow/scratch.h>

#include "progress_impl.h"

enum { TICK_US = 200000 };
static const double DRAW_SECONDS = 1, FIRST_LINE_SECONDS = 2, LINE_SECONDS = 30;

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
    double share, seconds = wn_progress_seconds_left(p, now, &share);
    if (p->tokens > 0)
        wn_text_printf(line, "; %.0f tokens/s", wn_progress_tokens_per_second(p, now));
    if (isfinite(seconds))
        wn_text_printf(line, "%s%.0f %% of the work, %s left", p->tokens > 0 ? ", " : "; ", 100 * share,
                       wn_duration_text(seconds, left));
}

static void say_search(const struct wn_progress *p, struct wn_text *line)
{
    const struct wn_point_search *search = &p->run->searches[p->search];
    char left[WN_DURATION_TEXT];
    wn_text_printf(line, "search %s (%s): generation %lld of %lld", p->run->grid.points[search->point].recipe.search,
                   name_of(p, search->point), (long long)p->generation, (long long)search->generations);
    bool minimizes = wn_recipe_minimizes(&p->run->grid.points[search->point].recipe);
    const char *fitness = search->task >= 0 ? search->settings.on : wn_fitness_name(search->settings.fitness);
    if (isfinite(p->fitness))
        wn_text_printf(line, ", %s %.6g", minimizes ? "layer errors" : fitness, p->fitness);
    if (p->searched)
        wn_text_printf(line, "; %.0f candidate tokens/s, %s left of it", wn_progress_search_rate(p),
                       wn_duration_text(wn_progress_search_left(p), left));
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
            wn_text_printf(line, ", %s left of it", wn_duration_text(wn_progress_dense_left(p, now), left));
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
        const struct wn_progress_worker *worker = &p->workers[rank];
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
        if (!stop && now - p->written >= wn_progress_file_seconds(p)) {
            p->written = now;
            text = wn_progress_describe(p, now);
        }
        pthread_mutex_unlock(&p->mutex);
        if (text)
            wn_progress_write_file(p, text);
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
    struct wn_texts labels = {0};
    for (int64_t i = 0; i < n; i++)
        p->kind_of[i] = (int)wn_point_kind(&labels, p->run->grid.points[i].key);
    p->n_kinds = labels.count;
    p->kinds = wn_alloc_zero(labels.count, sizeof *p->kinds);
    wn_texts_release(&labels);
    for (int64_t i = 0; i < n; i++) {
        p->flops[i] = options->flops[i];
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
    struct wn_progress_worker *worker = &p->workers[report->rank];
    struct wn_progress_kind *kind = &p->kinds[p->kind_of[report->job]];
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
    struct wn_progress_worker *worker = &p->workers[report->rank];
    char place[WN_STATE_PLACE];
    if (worker->job == report->job) {
        worker->step = worker->first = report->step;
        worker->steps = report->steps;
        worker->at_step = now - worker->since;
    }
    if (p->quiet)
        return;
    fprintf(stderr, "%swinnow: goes on: %lld %s, %s, on rank %d\n", p->terminal ? "\r\033[K" : "",
            (long long)report->job, name_of(p, report->job),
            wn_state_place_text(report->step + report->inside, report->steps, place), report->rank);
    fflush(stderr);
}

/* Left for a later start. */
static void take_saved(struct wn_progress *p, const struct wn_queue_report *report)
{
    char place[WN_STATE_PLACE];
    if (p->workers[report->rank].job == report->job)
        p->workers[report->rank].job = -1;
    p->saved++;
    if (p->quiet)
        return;
    fprintf(stderr, "%swinnow: saved: %lld %s, %s, on rank %d\n", p->terminal ? "\r\033[K" : "", (long long)report->job,
            name_of(p, report->job), wn_state_place_text(report->step + report->inside, report->steps, place),
            report->rank);
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

static void take_step(struct wn_progress_worker *worker, const struct wn_queue_report *report, double now)
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
    struct wn_progress_worker *worker = &p->workers[report->rank];
    if (!p->at_points)
        p->points_start = now;
    p->at_points = true;
    worker->heard = now;
    switch ((enum wn_queue_event)report->event) {
    case WN_QUEUE_GIVEN:
        *worker = (struct wn_progress_worker){.job = report->job, .since = now, .heard = now};
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
    double left = wn_progress_seconds_left(p, wn_seconds(), share);
    pthread_mutex_unlock(&p->mutex);
    return left;
}
