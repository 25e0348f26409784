/* SPDX-License-Identifier: Apache-2.0 */
/* saving.c: see saving.h. */
#include "saving.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* sweep.sbatch lets Slurm send its signal so long before the end. */
static const double SLURM_GRACE_SECONDS = 120;
/* Of a limit that was given: for what comes behind the last point. */
static const double CLOSING_SHARE = 0.02, LEAST_CLOSING = 0.5, MOST_CLOSING = 10;
/* Bytes per second, until a state was written. */
static const double FIRST_RATE = 200e6;

/* ---- the slot ---- */

double wn_slot_closing(double slot)
{
    return fmin(fmax(CLOSING_SHARE * slot, LEAST_CLOSING), MOST_CLOSING);
}

/* Seconds left of the slot; INFINITY: not known. `grace`: those of them behind the signal that comes before its end. */
static double slot_left(const struct wn_run_options *options, double *grace)
{
    *grace = 0;
    if (options->time_limit > 0)
        return options->started + options->time_limit - wn_seconds();
    const char *end = getenv("SLURM_JOB_END_TIME");
    double left = end ? strtod(end, NULL) - (double)time(NULL) : 0;
    if (!(left > 0))
        return (double)INFINITY;
    *grace = left / 2 < SLURM_GRACE_SECONDS ? left / 2 : SLURM_GRACE_SECONDS;
    return left;
}

static void take_slot(struct wn_par *par, const struct wn_run_options *options, struct wn_saving *saving)
{
    double times[2], now = wn_seconds();
    times[0] = slot_left(options, &times[1]);
    wn_par_broadcast(par, times, sizeof times, 0); /* clocks and environments may differ */
    saving->limited = isfinite(times[0]);
    saving->length = times[0] + now - options->started;
    double closing = wn_slot_closing(saving->length);
    saving->saver.end = now + times[0] - closing;
    saving->fits = now + times[0] - fmax(times[1], closing);
}

/* ---- what earlier starts measured ---- */

static bool read_numbers(struct wn_results_reader *reader, const char *path, int64_t points, double **values)
{
    int64_t rows = 0;
    return wn_results_read_numbers(reader, path, values, &rows) == WN_OK && rows == points;
}

/* Before the results file is opened for writing. Where it cannot be read, opening it will say so. */
static void read_earlier(const struct wn_run *run, const char *output, struct wn_saving *saving)
{
    struct wn_results_reader *reader = NULL;
    int64_t n = run->grid.n_points;
    double *seconds = NULL, *threads = NULL;
    uint8_t *status = wn_alloc_zero(n, 1);
    if (access(output, R_OK) == 0 && wn_results_read_open(output, &reader) == WN_OK &&
        wn_results_read_points(reader) == n && wn_results_read_status(reader, status) == WN_OK &&
        read_numbers(reader, "/points/seconds", n, &seconds) && read_numbers(reader, "/points/threads", n, &threads))
        for (int64_t i = 0; i < n; i++)
            if (status[i] == WN_POINT_DONE && (int)threads[i] == omp_get_max_threads())
                saving->earlier[i] = seconds[i];
    wn_results_read_close(&reader);
    wn_free(seconds);
    wn_free(threads);
    wn_free(status);
}

void wn_saving_open(struct wn_par *par, const struct wn_run *run, const struct wn_run_options *options, const char *key,
                    struct wn_saving *saving)
{
    int64_t n = run->grid.n_points;
    *saving = (struct wn_saving){
        .saver = {.every = options->save_every > 0 ? options->save_every : (double)INFINITY, .rate = FIRST_RATE}};
    take_slot(par, options, saving);
    const char *scratch = options->scratch ? options->scratch : run->sweep->scratch;
    saving->saver.folder = wn_saver_folder(options->output, scratch);
    saving->saver.key = wn_format("%s\n%s", run->identity, key);
    saving->saver.build = wn_strdup(key);
    saving->saver.levels = wn_saver_levels(options->output, scratch, options->keep_levels);
    saving->saver.keeps_levels = options->keep_levels;
    if (wn_par_rank(par) != 0)
        return;
    saving->saved = wn_alloc_zero(n, sizeof *saving->saved);
    saving->seconds = wn_alloc_zero(n, sizeof *saving->seconds);
    saving->earlier = wn_alloc(n, sizeof *saving->earlier);
    for (int64_t i = 0; i < n; i++)
        saving->earlier[i] = (double)NAN;
    if (saving->limited)
        read_earlier(run, options->output, saving);
}

/* ---- states that are there ---- */

struct search {
    const struct wn_run *run;
    struct wn_saving *saving;
    const bool *wanted;
    const uint8_t *status;
};

/* States of points that were written since are not needed any more: the start was killed in between. */
static void take_state(void *context, int64_t index, double done, int64_t steps)
{
    struct search *search = context;
    char name[WN_STATE_NAME];
    (void)done;
    (void)steps;
    if (index >= search->run->grid.n_points)
        return;
    const struct wn_point *point = &search->run->grid.points[index];
    wn_state_point_name(index, name);
    struct wn_state state = {.name = name,
                             .what = point->key,
                             .point = index,
                             .steps = search->run->models[point->model].model->config.n_blocks};
    if (search->wanted[index] && wn_state_find(&search->saving->saver, &state))
        search->saving->saved[index] = (double)state.step + state.inside;
    else if (search->status[index] == WN_POINT_DONE)
        wn_state_remove(&search->saving->saver, name);
}

/* ---- predicted times ---- */

/* Shares are known to all ranks: they decide whether what is behind the blocks still fits. */
static void predict(struct wn_par *par, const struct wn_run *run, struct wn_saving *saving)
{
    struct wn_prediction prediction;
    struct wn_predict_options options = {.threads = omp_get_max_threads(), .ranks = wn_par_size(par)};
    int64_t n = run->grid.n_points;
    saving->saver.share = wn_alloc_zero(n, sizeof(double));
    if (wn_par_rank(par) == 0) {
        wn_predict(run, &options, &prediction); /* fails only over an earlier file, which is not asked for */
        for (int64_t i = 0; i < n; i++) {
            double behind = prediction.stages[i][WN_STAGE_GENERATE] + prediction.stages[i][WN_STAGE_SCORE];
            saving->seconds[i] = prediction.seconds[i];
            saving->saver.share[i] = behind / (prediction.seconds[i] - behind);
        }
        wn_prediction_release(&prediction);
    }
    wn_par_broadcast(par, saving->saver.share, n * (int64_t)sizeof(double), 0);
}

void wn_saving_prepare(struct wn_par *par, const struct wn_run *run, const bool *wanted, const uint8_t *status,
                       struct wn_saving *saving)
{
    struct search search = {run, saving, wanted, status};
    if (wn_par_rank(par) == 0)
        wn_state_list(saving->saver.folder, take_state, &search);
    if (saving->limited)
        predict(par, run, saving);
    else if (wn_par_rank(par) == 0)
        wn_points_flops(run, saving->seconds);
}

void wn_saving_release(struct wn_saving *saving)
{
    wn_saver_release(&saving->saver);
    wn_free(saving->saved);
    wn_free(saving->seconds);
    wn_free(saving->earlier);
    *saving = (struct wn_saving){.limited = false};
}
