/* SPDX-License-Identifier: Apache-2.0 */
/* progress_left.c: how long a run still takes. */
#include <math.h>
#include <string.h>

#include "progress_impl.h"

/* Seconds of an operation of a kind: as measured, else as measured of all kinds; NaN: nothing is known. */
static double pace(const struct wn_progress *p, int64_t kind, const struct wn_progress_kind *sums)
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
static double share_of(const struct wn_progress_worker *worker, double now)
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
double wn_progress_seconds_left(const struct wn_progress *p, double now, double *share)
{
    struct wn_progress_kind *sums = wn_alloc(p->n_kinds + 1, sizeof *sums);
    double all = 0, open = 0, left = 0, longest = 0;
    int64_t busy = 0;
    for (int64_t k = 0; k < p->n_kinds; k++) {
        sums[k] = p->kinds[k];
        all += sums[k].open + sums[k].flops;
    }
    for (int r = 0; r < p->ranks; r++) {
        const struct wn_progress_worker *worker = &p->workers[r];
        double done = share_of(worker, now);
        busy += worker->job >= 0;
        if (done <= 0)
            continue;
        struct wn_progress_kind *kind = &sums[p->kind_of[worker->job]];
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

double wn_progress_dense_left(const struct wn_progress *p, double now)
{
    double elapsed = now - p->dense_start;
    int64_t done = p->dense_done - p->dense_first;
    return done > 0 ? elapsed * (double)(p->dense_all - p->dense_done) / (double)done : (double)NAN;
}

double wn_progress_tokens_per_second(const struct wn_progress *p, double now)
{
    return now > p->points_start ? p->tokens / (now - p->points_start) : 0;
}

/* Seconds that the generations of a search and of those behind it will take; the pace of this one. */
double wn_progress_search_left(const struct wn_progress *p)
{
    const struct wn_point_search *search = &p->run->searches[p->search];
    return p->searched ? p->search_seconds / (double)p->searched * (double)(search->generations - p->generation)
                       : (double)NAN;
}

double wn_progress_search_rate(const struct wn_progress *p)
{
    const struct wn_point_search *search = &p->run->searches[p->search];
    double tokens = (double)p->searched * (double)wn_search_generation_tokens(&search->settings);
    return p->search_seconds > 0 ? tokens / p->search_seconds : 0;
}
