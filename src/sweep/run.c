/*
 * run.c: the whole sweep. Open or continue the results file, share the dense pass, take points from the queue, the
 * dense one and then the dearest first, write each as soon as it is computed. The next point is asked for before the
 * last one is written.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "progress.h"

/* ---- order: the dense point, then dearest first ---- */

/* Times that a point may lose its rank: then it comes after all others, and then it has failed. */
enum { LOSSES_LAST = 2, LOSSES_FAILED = 3 };

struct dear {
    int turn;
    double flops;
    int64_t point;
};

static int compare_dear(const void *a, const void *b)
{
    const struct dear *left = a, *right = b;
    if (left->turn != right->turn)
        return left->turn < right->turn ? -1 : 1;
    if (left->flops != right->flops)
        return left->flops < right->flops ? 1 : -1;
    return left->point < right->point ? -1 : left->point > right->point;
}

/* What all others are compared with comes first; what has killed its rank again and again must not stop the others. */
static int turn_of(const struct wn_run *run, const struct wn_results *results, int64_t point)
{
    bool open = wn_results_status(results)[point] == WN_POINT_OPEN;
    if (open && wn_results_attempts(results)[point] >= LOSSES_LAST)
        return 2;
    return run->grid.points[point].recipe.n_stages > 0;
}

/* Points still wanted; jobs of the queue are point numbers. */
static void order_points(const struct wn_run *run, const struct wn_results *results, const bool *wanted, int64_t *order,
                         double *flops)
{
    struct dear *dear = wn_alloc(run->grid.n_points, sizeof *dear);
    int64_t count = 0;
    wn_points_flops(run, flops);
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        if (!wanted[i]) {
            flops[i] = 0;
            continue;
        }
        dear[count++] = (struct dear){turn_of(run, results, i), flops[i], i};
    }
    qsort(dear, (size_t)count, sizeof *dear, compare_dear);
    for (int64_t i = 0; i < count; i++)
        order[i] = dear[i].point;
    wn_free(dear);
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
    struct wn_progress *progress; /* on rank 0, else NULL */
    struct wn_record *records;    /* one per model */
    struct wn_record wide;        /* of the file */
    bool changed;                 /* an input changed: this rank saw it */
};

/* The watcher of this rank. */
static void take_step(void *context, int64_t point, int64_t done, int64_t all)
{
    struct worker *worker = context;
    if (point >= 0 && worker->queue)
        wn_queue_step(worker->queue, point, done, all);
    else if (point < 0 && worker->progress)
        wn_progress_dense(worker->progress, done, all);
}

static void label_record(const struct worker *worker, struct wn_record *record)
{
    wn_record_set_text(record, worker->run->fields.host, wn_par_host(worker->par));
    *wn_record_i32(record, worker->run->fields.rank) = wn_par_rank(worker->par);
}

static wn_status do_point(struct worker *worker, int64_t index)
{
    const struct wn_point *point = &worker->run->grid.points[index];
    struct wn_record *record = &worker->records[point->model];
    struct wn_point_report report = {0};
    wn_record_clear(record);
    WN_TRY(wn_results_begin(worker->results, index));
    wn_status status = wn_point_compute(worker->run, worker->reference, index, record, &report);
    if (status != WN_OK)
        wn_log(WN_LOG_WARNING, "point %lld failed: %s (%s)", (long long)index, wn_error_message(), point->key);
    label_record(worker, record);
    wn_queue_ask(worker->queue);
    widen_record(record, &worker->wide);
    wn_status written =
        wn_results_write(worker->results, index, &worker->wide, status == WN_OK ? WN_POINT_DONE : WN_POINT_FAILED);
    if (written == WN_OK)
        wn_queue_done(worker->queue, index, status, report.seconds, report.tokens);
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
    return status;
}

/* ---- the sweep ---- */

static bool is_lost(const struct wn_results *results, int64_t point)
{
    return wn_results_status(results)[point] == WN_POINT_OPEN && wn_results_attempts(results)[point] >= LOSSES_FAILED;
}

static int64_t choose_points(const struct wn_run *run, const struct wn_results *results, bool retry, bool *wanted)
{
    const uint8_t *status = wn_results_status(results);
    int64_t count = 0;
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        wanted[i] = (status[i] == WN_POINT_OPEN && !is_lost(results, i)) || (retry && status[i] == WN_POINT_FAILED);
        count += wanted[i];
    }
    return count;
}

/* Points that lost their rank too often become failed rows. By rank 0. */
static wn_status fail_lost(struct wn_run *run, struct wn_results *results)
{
    struct wn_record record;
    wn_status status = WN_OK;
    wn_record_init(&record, &run->schema);
    for (int64_t i = 0; i < run->grid.n_points && status == WN_OK; i++) {
        if (!is_lost(results, i))
            continue;
        char reason[200];
        snprintf(reason, sizeof reason,
                 "lost its rank %d times (killed for memory, node lost, or out of time): see plan for its memory and "
                 "time, then --retry-failed",
                 (int)wn_results_attempts(results)[i]);
        wn_log(WN_LOG_WARNING, "point %lld failed: %s (%s)", (long long)i, reason, run->grid.points[i].key);
        wn_record_clear(&record);
        wn_record_set_text(&record, run->fields.reason, reason);
        status = wn_results_write(results, i, &record, WN_POINT_FAILED);
    }
    wn_record_release(&record);
    return status;
}

static int finish_sweep(struct wn_par *par, struct wn_run *run, const char *output, bool quiet, double start)
{
    int64_t done = 0, failed = 0, open = run->grid.n_points;
    char took[WN_DURATION_TEXT];
    struct wn_results_reader *reader = NULL;
    uint8_t *status = wn_alloc_zero(run->grid.n_points, 1);
    if (wn_par_rank(par) == 0 && wn_results_read_open(output, &reader) == WN_OK &&
        wn_results_read_status(reader, status) == WN_OK) {
        for (int64_t i = 0; i < run->grid.n_points; i++) {
            done += status[i] == WN_POINT_DONE;
            failed += status[i] == WN_POINT_FAILED;
        }
        open = run->grid.n_points - done - failed;
        if (!quiet)
            wn_log(WN_LOG_INFO, "%s: %lld points done, %lld failed, %lld open; this run took %s", output,
                   (long long)done, (long long)failed, (long long)open, wn_duration_text(wn_seconds() - start, took));
    }
    if (reader)
        wn_results_read_close(&reader);
    wn_free(status);
    int64_t code = open ? WN_EXIT_STOPPED : failed ? WN_EXIT_POINTS_FAILED : WN_EXIT_DONE;
    wn_par_broadcast(par, &code, sizeof code, 0);
    return (int)code;
}

/* What the run says from now on; NULL but on rank 0. Collective. */
static struct wn_progress *start_progress(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                                          const double *flops, const struct wn_run_options *settings)
{
    struct wn_progress_options options = {.output = settings->output,
                                          .quiet = settings->quiet,
                                          .verbose = settings->verbose,
                                          .wanted = wanted,
                                          .flops = flops,
                                          .hosts = wn_par_hosts(par),
                                          .ranks = wn_par_size(par),
                                          .threads = omp_get_max_threads()};
    return wn_par_rank(par) == 0 ? wn_progress_start(run, &options) : NULL;
}

static wn_status compute_points(struct wn_par *par, struct wn_run *run, struct wn_results *results, const bool *wanted,
                                int64_t count, const struct wn_run_options *options)
{
    struct wn_reference reference;
    int64_t *order = wn_alloc(run->grid.n_points, sizeof *order);
    double *flops = wn_alloc_zero(run->grid.n_points, sizeof *flops);
    struct worker worker = {.par = par, .run = run, .reference = &reference, .results = results};
    order_points(run, results, wanted, order, flops);
    worker.progress = start_progress(par, run, wanted, flops, options);
    run->watcher = (struct wn_watcher){take_step, &worker};
    wn_status status = wn_reference_compute(par, run, wanted, &reference);
    if (status == WN_OK)
        status = wn_queue_start(par, count, order, wn_progress_listen, worker.progress, &worker.queue);
    if (status == WN_OK) {
        status = work(&worker);
        wn_queue_finish(&worker.queue);
    }
    run->watcher = (struct wn_watcher){NULL, NULL};
    wn_progress_finish(&worker.progress);
    if (status == WN_OK && worker.changed)
        status = wn_fail(WN_ERR_CHANGED, "an input changed during the run: its points failed, the others are open. Put "
                                         "the files back and start again with --retry-failed");
    wn_reference_release(&reference);
    wn_free(flops);
    wn_free(order);
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

static void say_opened(const struct wn_run *run, const char *output, int64_t count, int64_t bytes)
{
    int64_t n = run->grid.n_points;
    if (count < n)
        wn_log(WN_LOG_INFO, "%s: continuing, %lld of %lld points are there already", output, (long long)(n - count),
               (long long)n);
    else
        wn_log(WN_LOG_INFO, "%s: created, %.1f MB for %lld points", output, (double)bytes / 1e6, (long long)n);
}

int wn_run_sweep(struct wn_par *par, struct wn_run *run, const struct wn_run_options *options)
{
    struct wn_facts provenance = {0};
    struct wn_results_plan plan;
    struct wn_results *results = NULL;
    double start = wn_seconds();
    bool *wanted = wn_alloc_zero(run->grid.n_points, sizeof *wanted);
    wn_provenance(par, run, &provenance);
    wn_run_results_plan(run, &provenance, &plan);
    char *texts[2];
    struct wn_start this_start = start_of(par, &provenance, texts);
    wn_status status = wn_results_open(par, options->output, &plan, false, &results);
    if (status == WN_OK) {
        int64_t count = choose_points(run, results, options->retry, wanted);
        if (wn_par_rank(par) == 0 && !options->quiet)
            say_opened(run, options->output, count, wn_results_predict_bytes(&plan));
        status = wn_par_agree(par, wn_par_rank(par) == 0 ? fail_lost(run, results) : WN_OK);
        if (count && status == WN_OK)
            status = wn_results_start(results, &this_start, options->mix_arithmetic);
        if (count && status == WN_OK)
            status = compute_points(par, run, results, wanted, count, options);
        wn_status closed = wn_results_close(&results);
        status = status == WN_OK ? closed : status;
    }
    int code =
        status == WN_OK ? finish_sweep(par, run, options->output, options->quiet, start) : report_failure(par, status);
    wn_free(texts[0]);
    wn_free(texts[1]);
    wn_facts_release(&provenance);
    wn_free(wanted);
    return code;
}
