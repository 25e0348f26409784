/* SPDX-License-Identifier: Apache-2.0 */
/* slot.c: see slot.h. Lanes of points that differ in what they take only, each sorted by it. */
#include "slot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Less once points of the method were measured. */
static const double MARGIN_PREDICTED = WN_SLOT_MARGIN, MARGIN_MEASURED = 1.1;
/* Of a block that must fit for a point to be begun that does not: the longest that goes by between two places inside it
 * where a point can be left, as a linear that takes most of its block, and reading what was saved. */
static const double SHARE_OF_BLOCK = 0.5;

/* Points of one method: seconds measured of some, and predicted for the same ones. */
struct kind {
    double measured, predicted;
};

struct job {
    int turn, kind;
    bool saved;
    double left; /* predicted seconds, of a saved point those that are left */
    int64_t point, blocks;
};

struct lane {
    int64_t first, end; /* of the jobs, dearest first */
    int64_t least_blocks;
};

struct wn_slot {
    double end;
    bool saves;
    double *seconds; /* [points] owned: predicted, of whole points */
    int *kind_of;    /* [points] owned */
    struct kind *kinds;
    int n_kinds;
    int64_t n_jobs, n_lanes, given;
    struct job *jobs;
    int64_t *behind; /* [n_jobs + 1] a job that may not be given out yet: itself or one behind it */
    struct lane *lanes;
};

/* ---- predicted times ---- */

void wn_slot_measured(struct wn_slot *slot, int64_t point, double seconds)
{
    struct kind *kind = &slot->kinds[slot->kind_of[point]];
    if (!(seconds > 0) || !(slot->seconds[point] > 0))
        return;
    kind->measured += seconds;
    kind->predicted += slot->seconds[point];
}

/* Measured over predicted; of all methods where this one has none. */
static double pace(const struct wn_slot *slot, int kind)
{
    double measured = 0, predicted = 0;
    if (slot->kinds[kind].predicted > 0)
        return slot->kinds[kind].measured / slot->kinds[kind].predicted;
    for (int i = 0; i < slot->n_kinds; i++) {
        measured += slot->kinds[i].measured;
        predicted += slot->kinds[i].predicted;
    }
    return predicted > 0 ? measured / predicted : 1;
}

double wn_slot_seconds(const struct wn_slot *slot, int64_t point)
{
    return slot->seconds[point] * pace(slot, slot->kind_of[point]);
}

/* ---- lanes ---- */

static int compare_jobs(const void *a, const void *b)
{
    const struct job *left = a, *right = b;
    if (left->turn != right->turn)
        return left->turn < right->turn ? -1 : 1;
    if (left->saved != right->saved)
        return left->saved ? -1 : 1;
    if (left->kind != right->kind)
        return left->kind < right->kind ? -1 : 1;
    if (left->left != right->left)
        return left->left < right->left ? 1 : -1;
    return left->point < right->point ? -1 : left->point > right->point;
}

static bool same_lane(const struct job *a, const struct job *b)
{
    return a->turn == b->turn && a->saved == b->saved && a->kind == b->kind;
}

static void cut_lanes(struct wn_slot *slot)
{
    qsort(slot->jobs, (size_t)slot->n_jobs, sizeof *slot->jobs, compare_jobs);
    for (int64_t i = 0; i < slot->n_jobs; i++) {
        const struct job *job = &slot->jobs[i];
        if (i == 0 || !same_lane(&slot->jobs[i - 1], job)) {
            slot->lanes = wn_resize(slot->lanes, slot->n_lanes + 1, sizeof *slot->lanes);
            slot->lanes[slot->n_lanes++] = (struct lane){.first = i, .least_blocks = job->blocks};
        }
        struct lane *lane = &slot->lanes[slot->n_lanes - 1];
        lane->end = i + 1;
        lane->least_blocks = job->blocks < lane->least_blocks ? job->blocks : lane->least_blocks;
    }
}

struct wn_slot *wn_slot_start(const struct wn_run *run, const struct wn_slot_options *options)
{
    int64_t n = run->grid.n_points;
    struct wn_slot *slot = wn_alloc_zero(1, sizeof *slot);
    struct wn_texts labels = {0};
    slot->end = options->end;
    slot->saves = options->saves;
    slot->seconds = wn_alloc(n, sizeof *slot->seconds);
    slot->kind_of = wn_alloc(n, sizeof *slot->kind_of);
    slot->jobs = wn_alloc(n, sizeof *slot->jobs);
    for (int64_t i = 0; i < n; i++) {
        const struct wn_point *point = &run->grid.points[i];
        int64_t blocks = run->models[point->model].model->config.n_blocks;
        double saved = options->saved && options->saved[i] > 0 ? options->saved[i] : 0;
        slot->seconds[i] = options->seconds[i];
        slot->kind_of[i] = (int)wn_point_kind(&labels, point->key);
        if (!options->wanted[i])
            continue;
        slot->jobs[slot->n_jobs++] = (struct job){.turn = options->turn[i],
                                                  .kind = slot->kind_of[i],
                                                  .saved = saved > 0,
                                                  .left = options->seconds[i] * (1 - saved / (double)(blocks + 1)),
                                                  .point = i,
                                                  .blocks = blocks};
    }
    slot->n_kinds = (int)labels.count;
    slot->kinds = wn_alloc_zero(labels.count, sizeof *slot->kinds);
    wn_texts_release(&labels);
    cut_lanes(slot);
    slot->behind = wn_alloc(slot->n_jobs + 1, sizeof *slot->behind);
    for (int64_t i = 0; i <= slot->n_jobs; i++)
        slot->behind[i] = i;
    return slot;
}

void wn_slot_finish(struct wn_slot **slot)
{
    if (!*slot)
        return;
    wn_free((*slot)->kinds);
    wn_free((*slot)->kind_of);
    wn_free((*slot)->seconds);
    wn_free((*slot)->jobs);
    wn_free((*slot)->behind);
    wn_free((*slot)->lanes);
    wn_free(*slot);
    *slot = NULL;
}

/* ---- the next one ---- */

/* The first job from `at` on that was not given out; paths are halved on the way. */
static int64_t first_left(struct wn_slot *slot, int64_t at)
{
    while (slot->behind[at] != at) {
        slot->behind[at] = slot->behind[slot->behind[at]];
        at = slot->behind[at];
    }
    return at;
}

/* The dearest job of a lane that is left and takes at most `most` predicted seconds; lane->end: none. */
static int64_t dearest(struct wn_slot *slot, const struct lane *lane, double most)
{
    int64_t low = lane->first, high = lane->end;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (slot->jobs[middle].left <= most)
            high = middle;
        else
            low = middle + 1;
    }
    int64_t at = first_left(slot, low);
    return at < lane->end ? at : lane->end;
}

static double margin(const struct wn_slot *slot, int kind)
{
    return slot->kinds[kind].predicted > 0 ? MARGIN_MEASURED : MARGIN_PREDICTED;
}

/* Of the jobs that fit: the lowest turn, then the dearest. -1: none fits. */
static int64_t find_fitting(struct wn_slot *slot, double left)
{
    int64_t best = -1;
    double most = 0;
    for (int64_t i = 0; i < slot->n_lanes; i++) {
        const struct lane *lane = &slot->lanes[i];
        const struct job *head = &slot->jobs[lane->first];
        double factor = pace(slot, head->kind);
        int64_t at = dearest(slot, lane, left / (factor * margin(slot, head->kind)));
        if (at == lane->end)
            continue;
        if (best >= 0 && slot->jobs[best].turn < head->turn)
            break;
        if (best < 0 || slot->jobs[at].left * factor > most ||
            (slot->jobs[at].left * factor == most && slot->jobs[at].point < slot->jobs[best].point)) {
            best = at;
            most = slot->jobs[at].left * factor;
        }
    }
    return best;
}

/* Of the jobs of which at least a piece fits: the lowest turn, then one that was saved, then the dearest. */
static int64_t find_savable(struct wn_slot *slot, double left)
{
    int64_t best = -1;
    double most = 0;
    for (int64_t i = 0; i < slot->n_lanes; i++) {
        const struct lane *lane = &slot->lanes[i];
        const struct job *head = &slot->jobs[lane->first];
        double factor = pace(slot, head->kind);
        int64_t at = dearest(slot, lane, left * (double)lane->least_blocks / (factor * SHARE_OF_BLOCK));
        if (at == lane->end)
            continue;
        if (best >= 0 && (slot->jobs[best].turn < head->turn || (slot->jobs[best].saved && !head->saved)))
            break;
        if (best < 0 || slot->jobs[at].left * factor > most) {
            best = at;
            most = slot->jobs[at].left * factor;
        }
    }
    return best;
}

int64_t wn_slot_next(void *context)
{
    struct wn_slot *slot = context;
    double left = slot->end - wn_seconds(); /* INFINITY: all fit */
    int64_t at = left > 0 ? find_fitting(slot, left) : -1;
    if (at < 0 && slot->saves && left > 0)
        at = find_savable(slot, left);
    if (at < 0)
        return -1;
    slot->behind[at] = at + 1;
    slot->given++;
    return slot->jobs[at].point;
}

void wn_slot_waits(const struct wn_slot *slot, struct wn_slot_waiting *waiting)
{
    *waiting = (struct wn_slot_waiting){.count = slot->n_jobs - slot->given, .point = -1};
    for (int64_t i = 0; waiting->count && i < slot->n_jobs; i++) {
        const struct job *job = &slot->jobs[i];
        double seconds = job->left * pace(slot, job->kind);
        if (slot->behind[i] != i || (waiting->point >= 0 && seconds <= waiting->seconds))
            continue;
        waiting->point = job->point;
        waiting->seconds = seconds;
    }
}
