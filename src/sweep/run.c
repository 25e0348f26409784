/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c: the whole sweep. Open or continue the results file, share the dense pass, take points from the queue, the
 * dense one and then the dearest first that fits into the time slot, write each as soon as it is computed. The next
 * point is asked for before the last one is written. A point that has to stop is saved and continued by a later start:
 * behind the others where the end of the slot is not known.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <winnow/level.h>

#include "generations.h"
#include "grow.h"
#include "kept.h"
#include "limits.h"
#include "progress.h"
#include "saving.h"
#include "slot.h"

/* ---- order: the dense point, then dearest first ---- */

/* Times that a point may lose its rank: then it comes after all others, and then it has failed. */
enum { LOSSES_LAST = 2, LOSSES_FAILED = 3 };

/* What all others are compared with comes first; what has killed its rank again and again must not stop the others. */
static int turn_of(const struct wn_run *run, const struct wn_results *results, const bool *first, int64_t point)
{
    bool open = wn_results_status(results)[point] == WN_POINT_OPEN;
    if (open && wn_results_attempts(results)[point] >= LOSSES_LAST)
        return 3;
    if (run->grid.points[point].recipe.n_stages == 0)
        return 0;
    return first && !first[point] ? 2 : 1;
}

/* Rank 0: the points still wanted; NULL elsewhere. */
static struct wn_slot *order_points(struct wn_par *par, const struct wn_run *run, const struct wn_results *results,
                                    const bool *wanted, const bool *first, const struct wn_saving *saving)
{
    int64_t n = run->grid.n_points;
    if (wn_par_rank(par) != 0)
        return NULL;
    int *turn = wn_alloc(n, sizeof *turn);
    for (int64_t i = 0; i < n; i++) /* where no end is known, what a stop has cut off must not fill each slot again */
        turn[i] = 2 * turn_of(run, results, first, i) + (!saving->limited && saving->saved[i] > 0);
    struct wn_slot_options options = {.end = saving->fits,
                                      .wanted = wanted,
                                      .turn = turn,
                                      .seconds = saving->seconds,
                                      .saved = saving->saved,
                                      .saves = !saving->saver.broken};
    struct wn_slot *slot = wn_slot_start(run, &options);
    for (int64_t i = 0; i < n && saving->limited; i++)
        if (isfinite(saving->earlier[i]))
            wn_slot_measured(slot, i, saving->earlier[i]);
    wn_free(turn);
    return slot;
}

/* ---- records of several models in one file ---- */

static void widen_record(const struct wn_record *record, struct wn_record *wide)
{
    wn_record_clear(wide);
    for (int f = 0; f < record->schema->n_fields; f++) {
        const struct wn_field *source = &record->schema->fields[f];
        int target = wn_schema_find(wide->schema, source->path);
        if (source->n_dims == 0)
            memcpy(wide->data[target], record->data[f], (size_t)source->bytes);
        else
            wn_field_widen(record->schema, source, record->data[f], wide->schema, &wide->schema->fields[target],
                           wide->data[target]);
    }
}

/* ---- one rank's loop ---- */

struct worker {
    struct wn_par *par;
    struct wn_run *run;
    const struct wn_reference *reference;
    struct wn_results *results;
    struct wn_queue *queue;       /* NULL during the dense pass */
    struct wn_slot *slot;         /* on rank 0, else NULL; it belongs to the manager while the queue runs */
    struct wn_progress *progress; /* likewise */
    bool waits;                   /* rank 0: the manager has found points that do not fit */
    struct wn_record *records;    /* one per model */
    struct wn_record wide;        /* of the file */
    struct wn_kept_row kept;
    bool changed;        /* an input changed: this rank saw it */
    int64_t in_work;     /* the point; -1: none, or it is not counted as an attempt any more */
    wn_status uncounted; /* what became of that in the file */
};

/* ---- on the thread of the manager ---- */

static int64_t choose(void *context)
{
    struct worker *worker = context;
    struct wn_slot_waiting waiting;
    int64_t job = wn_slot_next(worker->slot);
    if (job >= 0 || worker->waits)
        return job;
    wn_slot_waits(worker->slot, &waiting);
    worker->waits = waiting.count > 0;
    if (worker->waits)
        wn_progress_waits(worker->progress, waiting.count, waiting.point, waiting.seconds);
    return job;
}

static void listen(void *context, const struct wn_queue_report *report)
{
    struct worker *worker = context;
    if (report && report->event == WN_QUEUE_DONE && report->status == WN_OK)
        wn_slot_measured(worker->slot, report->job, report->seconds);
    wn_progress_listen(worker->progress, report);
}

/* ---- on the thread that computes ---- */

/* The state of the point in work is saved: what comes of this attempt is no loss. */
static void take_saved(void *context)
{
    struct worker *worker = context;
    if (worker->in_work >= 0)
        worker->uncounted = wn_results_uncount(worker->results, worker->in_work);
    worker->in_work = -1;
}

/* The watcher of this rank. */
static void take_step(void *context, int64_t point, int64_t done, int64_t all)
{
    struct worker *worker = context;
    if (point >= 0 && worker->queue)
        wn_queue_step(worker->queue, point, done, all);
    else if (point < 0 && worker->progress)
        wn_progress_dense(worker->progress, done, all);
}

/* A point goes on where an earlier start left it. */
static void take_resumed(void *context, int64_t point, double done, int64_t steps)
{
    struct worker *worker = context;
    wn_queue_resumed(worker->queue, point, done, steps);
}

static void label_record(const struct worker *worker, struct wn_record *record)
{
    wn_record_set_text(record, worker->run->fields.host, wn_par_host(worker->par));
    *wn_record_i32(record, worker->run->fields.rank) = wn_par_rank(worker->par);
}

/* Which start computed each evaluation; a row that failed has those that it had before. */
static void label_evaluations(struct worker *worker, int64_t index, wn_status status, bool keeps)
{
    const struct wn_run *run = worker->run;
    int field = run->fields.evaluation_start;
    int32_t *marks = wn_record_i32(&worker->wide, field), mine = wn_results_this_start(worker->results);
    for (int64_t e = 0; e < run->sweep->n_evals; e++)
        marks[e] = !wn_run_lacks(run, index, e) && keeps ? wn_record_i32(&worker->kept.record, field)[e]
                   : status == WN_OK                     ? mine
                                                         : -1;
}

/* The record of the file, from that of the model and from what the row has already. */
static wn_status join_row(struct worker *worker, int64_t index, wn_status status)
{
    struct wn_record *wide = &worker->wide;
    bool same = true;
    widen_record(&worker->records[worker->run->grid.points[index].model], wide);
    if (status == WN_OK && wn_kept_compare(worker->run, &worker->kept, wide) != WN_OK) {
        same = false;
        status = WN_ERR_NUMERIC;
        wn_record_set_text(wide, worker->run->fields.reason, wn_error_message());
    }
    if (same)
        wn_kept_restore(worker->run, index, &worker->kept, wide);
    label_evaluations(worker, index, status, same);
    return status;
}

static wn_status do_point(struct worker *worker, int64_t index)
{
    const struct wn_point *point = &worker->run->grid.points[index];
    struct wn_record *record = &worker->records[point->model];
    struct wn_point_report report = {0};
    wn_record_clear(record);
    WN_TRY(wn_kept_read(worker->run, worker->results, index, &worker->kept));
    WN_TRY(wn_results_begin(worker->results, index));
    worker->in_work = index;
    worker->uncounted = WN_OK;
    wn_status status = wn_point_compute(worker->run, worker->reference, index, record, &report);
    worker->in_work = -1;
    if (worker->uncounted != WN_OK)
        return worker->uncounted;
    if (status == WN_ERR_INTERRUPTED) {
        wn_queue_saved(worker->queue, index, report.saved, worker->run->models[point->model].model->config.n_blocks);
        return WN_OK;
    }
    label_record(worker, record);
    status = join_row(worker, index, status);
    if (status != WN_OK)
        wn_log(WN_LOG_WARNING, "point %lld failed: %s (%s)", (long long)index, wn_error_message(), point->key);
    wn_queue_ask(worker->queue);
    wn_status written =
        wn_results_write(worker->results, index, &worker->wide, status == WN_OK ? WN_POINT_DONE : WN_POINT_FAILED);
    if (written == WN_OK) {
        wn_point_forget(worker->run, index);
        wn_queue_done(worker->queue, index, status, report.seconds, report.tokens);
    }
    if (status == WN_ERR_CHANGED)
        wn_par_request_stop(); /* the other points would see it too */
    worker->changed = worker->changed || status == WN_ERR_CHANGED;
    return written;
}

static wn_status work(struct worker *worker)
{
    wn_status status = WN_OK;
    worker->records = wn_alloc_zero(worker->run->n_models, sizeof *worker->records);
    for (int64_t m = 0; m < worker->run->n_models; m++)
        wn_record_init(&worker->records[m], &worker->run->models[m].schema);
    wn_record_init(&worker->wide, &worker->run->schema);
    wn_kept_open(worker->run, &worker->kept);
    for (int64_t job; (job = wn_queue_take(worker->queue)) >= 0;) {
        status = do_point(worker, job);
        if (status == WN_OK)
            continue;
        /* The file cannot be written: nothing more can be saved, so no rank goes on. */
        wn_log(WN_LOG_ERROR, "%s", wn_error_message());
        wn_par_abort(WN_EXIT_FAILED);
    }
    for (int64_t m = 0; m < worker->run->n_models; m++)
        wn_record_release(&worker->records[m]);
    wn_free(worker->records);
    wn_record_release(&worker->wide);
    wn_kept_close(&worker->kept);
    return status;
}

/* ---- the sweep ---- */

/* What --only and --first select [points]; NULL: all, none. */
struct picked {
    bool *only, *first;
};

static wn_status pick(const struct wn_run *run, const struct wn_run_options *options, struct picked *picked)
{
    int64_t n = run->grid.n_points;
    picked->only = options->only ? wn_alloc_zero(n, sizeof *picked->only) : NULL;
    picked->first = options->first ? wn_alloc_zero(n, sizeof *picked->first) : NULL;
    if (options->only)
        WN_TRY(wn_select_points(run, "--only", options->only, picked->only));
    return options->first ? wn_select_points(run, "--first", options->first, picked->first) : WN_OK;
}

static bool is_lost(const struct wn_results *results, int64_t point)
{
    return wn_results_status(results)[point] == WN_POINT_OPEN && wn_results_attempts(results)[point] >= LOSSES_FAILED;
}

static int64_t choose_points(const struct wn_run *run, const struct wn_results *results, const bool *only, bool retry,
                             bool *wanted)
{
    const uint8_t *status = wn_results_status(results);
    int64_t count = 0;
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        wanted[i] = (status[i] == WN_POINT_OPEN && !is_lost(results, i)) || (retry && status[i] == WN_POINT_FAILED);
        wanted[i] = wanted[i] && (!only || only[i]);
        count += wanted[i];
    }
    return count;
}

/* Points that lost their rank too often become failed rows. By rank 0. */
static wn_status fail_lost(struct wn_run *run, struct wn_results *results)
{
    struct wn_kept_row kept;
    wn_status status = WN_OK;
    wn_kept_open(run, &kept);
    for (int64_t i = 0; i < run->grid.n_points && status == WN_OK; i++) {
        if (!is_lost(results, i))
            continue;
        char reason[200];
        snprintf(reason, sizeof reason,
                 "lost its rank %d times (killed for memory, node lost, or out of time): see plan for its memory and "
                 "time, then --retry-failed",
                 (int)wn_results_attempts(results)[i]);
        wn_log(WN_LOG_WARNING, "point %lld failed: %s (%s)", (long long)i, reason, run->grid.points[i].key);
        status = wn_kept_fail(run, results, i, reason, &kept);
    }
    wn_kept_close(&kept);
    return status;
}

/* What was not computed, and why: the exit code depends on it. */
struct outcome {
    bool stopped, waits; /* a rank left work; points do not fit into the slot */
    bool got_on;         /* a point was written or saved */
};

/* 75 asks for the same command again: only when that gets on. */
static int open_code(const struct outcome *outcome, const char *output, int64_t open)
{
    if (outcome->stopped || (outcome->waits && outcome->got_on))
        return WN_EXIT_STOPPED;
    if (outcome->waits)
        wn_log(WN_LOG_ERROR, "%s: no point fits into the time limit: give more time (see winnow plan)", output);
    else
        wn_log(WN_LOG_ERROR, "%s: %lld points are open although nothing stopped the run: see the lines above", output,
               (long long)open);
    return WN_EXIT_FAILED;
}

static int finish_sweep(struct wn_par *par, struct wn_run *run, const bool *wanted, const struct outcome *outcome,
                        const struct wn_saving *saving, const char *output, bool quiet, double start)
{
    int64_t done = 0, failed = 0, open = 0, all = run->grid.n_points, code = WN_EXIT_DONE;
    char took[WN_DURATION_TEXT];
    struct wn_results_reader *reader = NULL;
    uint8_t *status = wn_alloc_zero(all, 1);
    if (wn_par_rank(par) == 0) {
        bool read = wn_results_read_open(output, &reader) == WN_OK && wn_results_read_status(reader, status) == WN_OK;
        for (int64_t i = 0; i < all; i++) {
            done += status[i] == WN_POINT_DONE;
            failed += status[i] == WN_POINT_FAILED;
            open += wanted[i] && status[i] != WN_POINT_DONE && status[i] != WN_POINT_FAILED;
        }
        if (!read)
            wn_log(WN_LOG_ERROR, "%s", wn_error_message());
        else if (!quiet)
            wn_log(WN_LOG_INFO, "%s: %lld points done, %lld failed, %lld open; this run took %s", output,
                   (long long)done, (long long)failed, (long long)(all - done - failed),
                   wn_duration_text(wn_seconds() - start, took));
        if (read && done + failed == all)
            wn_state_clear(saving->saver.folder);
        code = open ? open_code(outcome, output, open) : failed ? WN_EXIT_POINTS_FAILED : WN_EXIT_DONE;
    }
    if (reader)
        wn_results_read_close(&reader);
    wn_free(status);
    wn_par_broadcast(par, &code, sizeof code, 0);
    bool ended = code == WN_EXIT_DONE || code == WN_EXIT_POINTS_FAILED;
    if (ended && wn_par_node_rank(par) == 0 && !saving->saver.keeps_levels)
        wn_levels_clear(saving->saver.levels); /* what a kill has left of them */
    return (int)code;
}

/* What the run says from now on; NULL but on rank 0. Collective. */
static struct wn_progress *start_progress(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                                          const struct wn_saving *saving, const struct wn_run_options *settings)
{
    struct wn_progress_options options = {.output = settings->output,
                                          .quiet = settings->quiet,
                                          .verbose = settings->verbose,
                                          .wanted = wanted,
                                          .flops = saving->seconds,
                                          .hosts = wn_par_hosts(par),
                                          .ranks = wn_par_size(par),
                                          .threads = omp_get_max_threads()};
    return wn_par_rank(par) == 0 ? wn_progress_start(run, &options) : NULL;
}

static wn_status compute_points(struct wn_par *par, struct wn_run *run, struct wn_results *results, const bool *wanted,
                                const bool *first, struct wn_saving *saving, const struct wn_run_options *options,
                                struct outcome *outcome)
{
    struct wn_reference reference;
    struct worker worker = {.par = par, .run = run, .reference = &reference, .results = results, .in_work = -1};
    wn_saving_prepare(par, run, wanted, wn_results_status(results), saving);
    worker.slot = order_points(par, run, results, wanted, first, saving);
    worker.progress = start_progress(par, run, wanted, saving, options);
    run->watcher = (struct wn_watcher){take_step, &worker};
    saving->saver.saved = take_saved;
    saving->saver.resumed = take_resumed;
    saving->saver.context = &worker;
    run->saver = &saving->saver;
    wn_status status = wn_reference_compute(par, run, wanted, &reference);
    struct wn_kept_generations kept = {run, results, worker.progress};
    struct wn_generations store = {wn_load_generation, wn_save_generation, &kept};
    if (status == WN_OK)
        status = wn_searches_run(par, run, wanted, &store, &reference);
    if (status == WN_OK)
        status = wn_queue_start_choosing(par, choose, &worker, listen, &worker, &worker.queue);
    if (status == WN_OK) {
        status = work(&worker);
        wn_queue_finish(&worker.queue);
    }
    run->saver = NULL;
    run->watcher = (struct wn_watcher){NULL, NULL};
    outcome->waits = worker.waits;
    outcome->got_on = worker.progress && wn_progress_got_on(worker.progress);
    outcome->stopped = wn_par_max(par, wn_par_stop_requested() || saving->saver.left);
    wn_progress_finish(&worker.progress);
    wn_slot_finish(&worker.slot);
    if (status == WN_OK && worker.changed)
        status = wn_fail(WN_ERR_CHANGED, "an input changed during the run: its points failed, the others are open. Put "
                                         "the files back and start again with --retry-failed");
    wn_reference_release(&reference);
    return wn_par_agree(par, status);
}

static int report_failure(struct wn_par *par, wn_status status)
{
    if (wn_par_rank(par) == 0)
        wn_log(WN_LOG_ERROR, "%s", wn_error_message());
    return status == WN_ERR_INPUT || status == WN_ERR_CHANGED ? WN_EXIT_USAGE
           : status == WN_ERR_INTERRUPTED                     ? WN_EXIT_STOPPED
                                                              : WN_EXIT_FAILED;
}

static const char *fact(const struct wn_facts *facts, const char *name)
{
    for (int64_t i = 0; i < facts->count; i++)
        if (!strcmp(facts->facts[i].name, name))
            return facts->facts[i].text;
    return "";
}

/* `texts` own what the start borrows. */
static struct wn_start start_of(const struct wn_par *par, const struct wn_facts *provenance, char *texts[2])
{
    texts[0] = wn_format("%s; %s; %s", fact(provenance, "arithmetic"), fact(provenance, "compiler"),
                         fact(provenance, "flags"));
    texts[1] = wn_format("winnow %s %s", fact(provenance, "winnow_version"), fact(provenance, "winnow_revision"));
    return (struct wn_start){.time = fact(provenance, "created"),
                             .arithmetic = texts[0],
                             .build = texts[1],
                             .hosts = fact(provenance, "hosts"),
                             .ranks = wn_par_size(par),
                             .threads = omp_get_max_threads()};
}

static void say_opened(const struct wn_run *run, const struct wn_results *results, const char *output, int64_t count,
                       int64_t bytes)
{
    int64_t n = run->grid.n_points, there = 0, partial = 0;
    for (int64_t i = 0; i < n; i++) {
        bool lacks = true;
        for (int64_t e = 0; e < run->sweep->n_evals; e++)
            lacks = lacks && wn_run_lacks(run, i, e);
        there += wn_results_status(results)[i] != WN_POINT_OPEN;
        partial += wn_results_status(results)[i] == WN_POINT_OPEN && !lacks;
    }
    if (there + partial == 0)
        wn_log(WN_LOG_INFO, "%s: created, %.1f MB for %lld points", output, (double)bytes / 1e6, (long long)n);
    else
        wn_log(WN_LOG_INFO, "%s: continuing, %lld of %lld points are there already", output, (long long)there,
               (long long)n);
    if (partial)
        wn_log(WN_LOG_INFO, "%s: %lld points are there but for some evaluations, which alone are computed", output,
               (long long)partial);
    if (count < n - there)
        wn_log(WN_LOG_INFO, "%s: %lld of the %lld open points are computed", output, (long long)count,
               (long long)(n - there));
}

/* What open rows have already; nothing is kept in mind when that is nothing. Collective. */
static wn_status find_parts(struct wn_run *run, struct wn_results *results)
{
    int64_t count = run->grid.n_points * run->sweep->n_evals;
    bool any = false;
    run->evaluated = wn_alloc_zero(count, sizeof *run->evaluated);
    WN_TRY(wn_results_parts(results, run->fields.evaluation_start, run->evaluated));
    for (int64_t i = 0; i < count; i++)
        any = any || run->evaluated[i];
    if (!any) {
        wn_free(run->evaluated);
        run->evaluated = NULL;
    }
    return WN_OK;
}

/* What is known when the file is open, and what comes of it. */
struct opened {
    const struct wn_start *start;
    const struct picked *picked;
    int64_t bytes;
    struct wn_saving *saving;
    bool *wanted; /* [points], filled */
    struct outcome *outcome;
};

/* Collective. */
static wn_status run_opened(struct wn_par *par, struct wn_run *run, struct wn_results *results,
                            const struct opened *opened, const struct wn_run_options *options)
{
    wn_status status = find_parts(run, results);
    int64_t most = INT64_MAX, count = choose_points(run, results, opened->picked->only, options->retry, opened->wanted);
    if (status == WN_OK && wn_par_rank(par) == 0 && !options->quiet)
        say_opened(run, results, options->output, count, opened->bytes);
    if (status == WN_OK)
        status = wn_par_agree(par, wn_par_rank(par) == 0 ? fail_lost(run, results) : WN_OK);
    if (!count && wn_par_rank(par) == 0)
        wn_progress_forget(options->output);
    if (count && status == WN_OK)
        status = wn_memory_check(par, run, opened->wanted, options->force, &most);
    if (count && status == WN_OK)
        status = wn_results_start(results, opened->start, options->mix_arithmetic);
    if (count && status == WN_OK)
        status = wn_memory_fail_large(par, run, results, most, opened->wanted);
    if (count && status == WN_OK)
        status = compute_points(par, run, results, opened->wanted, opened->picked->first, opened->saving, options,
                                opened->outcome);
    return status;
}

int wn_run_sweep(struct wn_par *par, struct wn_run *run, const struct wn_run_options *options)
{
    struct wn_facts provenance = {0};
    struct wn_results_plan plan;
    struct wn_results *results = NULL;
    struct wn_texts none = {0};
    struct picked picked;
    double start = wn_seconds();
    char *texts[2];
    wn_provenance(par, run, &provenance);
    wn_run_results_plan(run, &provenance, &plan);
    struct wn_start this_start = start_of(par, &provenance, texts);
    struct wn_growth growth = {run, options->from ? options->from : &none, this_start.arithmetic,
                               options->mix_arithmetic};
    struct outcome outcome = {false};
    struct wn_saving saving;
    bool *wanted = wn_alloc_zero(run->grid.n_points, sizeof *wanted);
    char *key = wn_format("%s\n%s", this_start.arithmetic, this_start.build);
    wn_saving_open(par, run, options, key, &saving);
    wn_status status = pick(run, options, &picked);
    if (status == WN_OK)
        status = wn_memory_check_new(par, run, options, picked.only);
    if (status == WN_OK)
        status = wn_results_open_with(par, options->output, &plan, wn_grow_choose, &growth, &results);
    if (status == WN_OK) {
        struct opened opened = {&this_start, &picked, wn_results_predict_bytes(&plan), &saving, wanted, &outcome};
        status = run_opened(par, run, results, &opened, options);
        wn_status closed = wn_results_close(&results);
        status = status == WN_OK ? closed : status;
    }
    int code = status == WN_OK
                   ? finish_sweep(par, run, wanted, &outcome, &saving, options->output, options->quiet, start)
                   : report_failure(par, status);
    wn_saving_release(&saving);
    wn_free(wanted);
    wn_free(key);
    wn_free(texts[0]);
    wn_free(texts[1]);
    wn_facts_release(&provenance);
    wn_free(picked.only);
    wn_free(picked.first);
    return code;
}
