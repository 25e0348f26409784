/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.c: what a run will take of memory, against what each node lets it have: said before the start, in place of a
 * kill hours later. What is asked for is compared with what is left now; what the ranks hold already is used up in
 * that.
 */
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../point/point_impl.h"
#include "kept.h"
#include "limits.h"
#include "predict.h"

/* ---- what is needed ---- */

static void take_rank(int64_t bytes, const char *what, struct wn_memory *memory)
{
    if (bytes > memory->before) {
        memory->before = bytes;
        snprintf(memory->what_before, sizeof memory->what_before, "%s", what);
    }
}

/* Dense statistics of the calibration sets whose points read them, and scores of drop. */
static void count_statistics(const struct wn_run *run, int64_t m, struct wn_memory *memory)
{
    const struct wn_model *model = run->models[m].model;
    int64_t n = run->sweep->n_calibrations;
    unsigned *needs = wn_alloc_zero(n, sizeof *needs);
    bool *used = wn_alloc_zero(n, sizeof *used);
    wn_dense_needs(run, m, needs, used);
    for (int64_t c = 0; c < n; c++) {
        char what[160];
        if (!used[c])
            continue;
        const struct wn_sequences *sequences = &run->models[m].calibrations[c].sequences;
        struct wn_left_out_needs left_out;
        wn_point_left_out_needs(run, m, c, NULL, &left_out);
        memory->shared += model->config.n_blocks * wn_statistics_bytes(&model->layout, needs[c]);
        memory->shared += wn_left_out_shared_bytes(&left_out, sequences);
        snprintf(what, sizeof what, "drop scores on %.120s, before any point", run->sweep->calibrations[c].name);
        take_rank(wn_left_out_bytes(&left_out, model, sequences), what, memory);
        wn_left_out_needs_release(&left_out);
    }
    wn_free(needs);
    wn_free(used);
}

/* What the dense model leaves of an evaluation; every point makes its own logits of the states. */
static int64_t set_bytes(const struct wn_model *model, const struct wn_eval_set *set)
{
    int64_t bytes = 0;
    if (set->generation)
        bytes += wn_generation_texts(set->generation) * wn_generated_record_bytes(set->generation);
    if (set->divergence)
        bytes += set->n_targets * model->config.hidden_size * (int64_t)sizeof(float);
    if (set->kind->compares)
        bytes += set->n_targets * (int64_t)(sizeof(double) + 1);
    return bytes;
}

void wn_predict_memory(const struct wn_run *run, int ranks, struct wn_memory *memory)
{
    int64_t slots = 0; /* sums of the dense pass, most of any model: they are gone before the next one */
    *memory = (struct wn_memory){.grid = wn_run_grid_bytes(run)};
    for (int64_t m = 0; m < run->n_models; m++) {
        struct wn_reference_bytes pass;
        for (int64_t e = 0; e < run->sweep->n_evals; e++)
            memory->shared += set_bytes(run->models[m].model, &run->models[m].sets[e]);
        count_statistics(run, m, memory);
        wn_reference_predict(run, m, ranks, &pass);
        take_rank(pass.rank, "the dense pass, before any point", memory);
        int64_t bytes = pass.group * (pass.groups < ranks ? pass.groups : ranks);
        slots = bytes > slots ? bytes : slots;
    }
    memory->shared += slots;
    int64_t most = 0;
    for (int64_t s = 0; s < run->n_searches; s++) {
        int64_t shared;
        take_rank(wn_point_search_bytes(run, &run->searches[s], &shared), "a search, before any point", memory);
        most = shared > most ? shared : most;
        take_rank(wn_quantized_bytes(run, &run->searches[s], ranks, &shared), "levels of a search, before any point",
                  memory);
        most = shared > most ? shared : most;
    }
    memory->shared += most;
    memory->points = wn_alloc(run->grid.n_points, sizeof *memory->points);
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        struct wn_point_need *need = &memory->points[i];
        wn_point_need(run, i, need);
        memory->turn = need->alone - need->beside > memory->turn ? need->alone - need->beside : memory->turn;
        if (need->beside > memory->point) {
            memory->point = need->beside;
            memory->largest = i;
        }
    }
}

void wn_memory_release(struct wn_memory *memory)
{
    wn_free(memory->points);
    memory->points = NULL;
}

int64_t wn_memory_rank(const struct wn_run *run, const struct wn_memory *memory, char what[160])
{
    if (memory->before > memory->point || !run->grid.n_points) {
        snprintf(what, 160, "%s", memory->what_before);
        return memory->before;
    }
    char *label = wn_point_label(run->grid.points[memory->largest].key);
    snprintf(what, 160, "point %lld, %s", (long long)memory->largest, label);
    wn_free(label);
    return memory->point;
}

/* ---- against the limits ---- */

/* Points in flight at once on one node are different ones: the largest that are wanted, largest first. */
struct need {
    struct wn_memory memory; /* borrowed points */
    struct wn_point_need *points;
    int64_t count;
    bool in_memory; /* shared memory is taken of memory, not of a disk */
};

static int compare_falling(const void *a, const void *b)
{
    int64_t left = ((const struct wn_point_need *)a)->beside, right = ((const struct wn_point_need *)b)->beside;
    return left < right ? 1 : left > right ? -1 : 0;
}

static int64_t shared_of(const struct need *need, const struct wn_limit *limit)
{
    return need->in_memory || limit->address_space ? need->memory.shared : 0;
}

/* Of the points of `ranks` ranks: one of them takes its turn beside the largest others. */
static int64_t points_of(const struct need *need, int64_t ranks)
{
    int64_t others = 0, most = 0;
    for (int64_t i = 0; i + 1 < ranks && i < need->count; i++)
        others += need->points[i].beside;
    for (int64_t i = 0; ranks > 0 && i < need->count; i++) {
        int64_t last = i + 1 < ranks && ranks <= need->count ? need->points[ranks - 1].beside : 0;
        int64_t bytes = others + need->points[i].alone - (i + 1 < ranks ? need->points[i].beside - last : 0);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Of `ranks` ranks that live under one limit. */
static int64_t bytes_of(const struct need *need, const struct wn_limit *limit, int64_t ranks)
{
    int64_t points = points_of(need, ranks), before = need->memory.before * ranks;
    return (points > before ? points : before) + shared_of(need, limit);
}

/* Points above `most` bytes are computed by nobody. */
static void leave_large(struct need *need, int64_t most)
{
    int64_t left = 0;
    for (int64_t i = 0; i < need->count; i++)
        if (need->points[i].alone <= most)
            need->points[left++] = need->points[i];
    need->count = left;
}

static void take_need(const struct wn_run *run, const struct wn_memory *memory, const bool *wanted, struct need *need)
{
    struct statfs about;
    need->memory = *memory;
    need->points = wn_alloc(run->grid.n_points, sizeof *need->points);
    need->count = 0;
    for (int64_t i = 0; i < run->grid.n_points; i++)
        if (!wanted || wanted[i])
            need->points[need->count++] = memory->points[i];
    qsort(need->points, (size_t)need->count, sizeof *need->points, compare_falling);
    need->in_memory = statfs(wn_par_shared_folder(NULL), &about) == 0 && about.f_type == TMPFS_MAGIC;
}

/* Ranks of this node that live under each limit. Collective over the node. */
static void count_sharing(struct wn_par *par, const struct wn_limit *limits, int count, int sharing[WN_LIMITS])
{
    int64_t size = wn_par_node_size(par);
    uint64_t mine[WN_LIMITS] = {0}, *all = wn_alloc_zero(size * WN_LIMITS, sizeof *all);
    for (int i = 0; i < count; i++)
        mine[i] = limits[i].shared_by;
    wn_par_node_gather(par, mine, sizeof mine, all);
    for (int i = 0; i < count; i++) {
        sharing[i] = limits[i].shared_by ? 0 : 1;
        for (int64_t k = 0; k < size * WN_LIMITS && limits[i].shared_by; k++)
            sharing[i] += all[k] == limits[i].shared_by;
    }
    wn_free(all);
}

/* How many of `ranks` ranks fit. */
static int64_t fitting(const struct need *need, const struct wn_limit *limit, int64_t ranks)
{
    int64_t fit = ranks;
    while (fit > 0 && bytes_of(need, limit, fit) > limit->left)
        fit--;
    return fit;
}

static const char *text_of(int64_t bytes, char text[32])
{
    snprintf(text, 32, bytes < (int64_t)10 << 30 ? "%.0f MiB" : "%.1f GiB",
             (double)bytes / (bytes < (int64_t)10 << 30 ? 1 << 20 : 1 << 30));
    return text;
}

/* "4 ranks need 29 GiB at once ...": what does not fit, in one line. */
static char *describe(const struct wn_run *run, const struct need *need, const struct wn_limit *limit, int64_t ranks)
{
    char needed[32], left[32], all[32], one[32], turn[96] = "", shared[48] = "", what[160], text[32];
    int64_t rank = wn_memory_rank(run, &need->memory, what);
    if (shared_of(need, limit) > 0)
        snprintf(shared, sizeof shared, ", and %s shared", text_of(shared_of(need, limit), text));
    if (need->memory.turn > 0)
        snprintf(turn, sizeof turn, ", %s while one of them measures speeds", text_of(need->memory.turn, text));
    return wn_format("%lld rank%s need%s %s (%s for %s%s%s), and %s of %s are left of the %s", (long long)ranks,
                     ranks == 1 ? "" : "s", ranks == 1 ? "s" : "", text_of(bytes_of(need, limit, ranks), needed),
                     text_of(rank, one), what, turn, shared, text_of(limit->left, left), text_of(limit->limit, all),
                     limit->what);
}

static wn_status refuse(struct wn_par *par, const struct wn_run *run, const struct need *need,
                        const struct wn_limit *limit, int64_t ranks)
{
    int64_t fit = fitting(need, limit, ranks);
    char *line = describe(run, need, limit, ranks);
    if (fit > 0)
        wn_fail(WN_ERR_INPUT, "%s: not enough memory: %s: %lld fit: start fewer ranks per node, or give --force",
                wn_par_host(par), line, (long long)fit);
    else
        wn_fail(WN_ERR_INPUT,
                "%s: not enough memory: %s: not one rank fits: give more memory, less calibration data or fewer "
                "threads (see winnow plan), or --force",
                wn_par_host(par), line);
    wn_free(line);
    return WN_ERR_INPUT;
}

/* Bytes of the largest point that one rank alone could compute here. */
static int64_t largest_possible(const struct need *need, const struct wn_limit *limits, int count)
{
    int64_t most = INT64_MAX;
    for (int i = 0; i < count; i++) {
        int64_t room = limits[i].left - shared_of(need, &limits[i]);
        most = room < most ? room : most;
    }
    return most;
}

/* The folder of the shared memory, whose blocks are reserved when it is made. */
static wn_status check_folder(struct wn_par *par, const struct need *need)
{
    const char *folder = wn_par_shared_folder(NULL);
    char needed[32], left[32];
    struct statvfs about;
    if (wn_par_node_rank(par) != 0 || statvfs(folder, &about) != 0)
        return WN_OK;
    int64_t room = (int64_t)about.f_bavail * (int64_t)about.f_frsize;
    if (room >= need->memory.shared)
        return WN_OK;
    return wn_fail(WN_ERR_INPUT,
                   "%s: memory shared by the ranks of a node needs %s in %s, and %s are free: set TMPDIR to a folder "
                   "of the node with more room, or give --force",
                   wn_par_host(par), text_of(need->memory.shared, needed), folder, text_of(room, left));
}

/* MPI's own shared memory: a page of it that cannot be had is a SIGBUS. */
static void warn_of_mpi(struct wn_par *par)
{
    static const int64_t RANK = 4 << 20; /* of one rank, at most, until it talks to very many */
    struct statvfs about;
    char needed[32], left[32];
    if (wn_par_node_rank(par) != 0 || wn_par_node_size(par) < 2 || getenv("OMPI_MCA_btl_vader_backing_directory") ||
        statvfs("/dev/shm", &about) != 0)
        return;
    int64_t room = (int64_t)about.f_bavail * (int64_t)about.f_frsize, want = RANK * wn_par_node_size(par);
    if (room < want)
        wn_log(WN_LOG_WARNING,
               "%s: /dev/shm has %s free, and MPI may take %s of it for %d ranks: when it is full ranks end by SIGBUS. "
               "Give more (docker run --shm-size)",
               wn_par_host(par), text_of(room, left), text_of(want, needed), wn_par_node_size(par));
}

static wn_status compare(struct wn_par *par, const struct wn_run *run, const struct need *need,
                         const struct wn_limit *limits, int count, const int sharing[WN_LIMITS])
{
    for (int i = 0; i < count; i++)
        if (bytes_of(need, &limits[i], sharing[i]) > limits[i].left)
            return refuse(par, run, need, &limits[i], sharing[i]);
    return check_folder(par, need);
}

/* What counts as used by the job itself, which the system does not tell. */
static void take_own(struct wn_limit *limits, int count, const int sharing[WN_LIMITS], int64_t own)
{
    for (int i = 0; i < count; i++)
        if (limits[i].left == limits[i].limit)
            limits[i].left -= own * sharing[i] < limits[i].left ? own * sharing[i] : limits[i].left;
}

/* Whether to go on without the points that no rank can compute: not when all but the dense ones would be left out, or a
 * dense one. */
static bool is_worth(const struct wn_run *run, const struct wn_memory *memory, const bool *wanted, int64_t most)
{
    int64_t fit = 0, large = 0;
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        bool fits = memory->points[i].alone <= most;
        if (!wanted[i])
            continue;
        if (run->grid.points[i].recipe.n_stages == 0 && !fits)
            return false;
        fit += run->grid.points[i].recipe.n_stages > 0 && fits;
        large += run->grid.points[i].recipe.n_stages > 0 && !fits;
    }
    return fit > 0 || !large;
}

wn_status wn_memory_check(struct wn_par *par, const struct wn_run *run, const bool *wanted, bool force, int64_t *most)
{
    struct wn_limit limits[WN_LIMITS];
    struct wn_memory memory;
    struct need need;
    int sharing[WN_LIMITS];
    int64_t own;
    int count = wn_limits_read("", limits, &own);
    wn_predict_memory(run, wn_par_node_size(par), &memory);
    take_need(run, &memory, wanted, &need);
    count_sharing(par, limits, count, sharing);
    take_own(limits, count, sharing, own);
    *most = -wn_par_max(par, -largest_possible(&need, limits, count));
    if (!force && is_worth(run, &memory, wanted, *most))
        leave_large(&need, *most);
    else
        *most = INT64_MAX;
    wn_status status = wn_par_agree(par, compare(par, run, &need, limits, count, sharing));
    warn_of_mpi(par);
    wn_free(need.points);
    wn_memory_release(&memory);
    if (status != WN_OK && force) {
        if (wn_par_rank(par) == 0)
            wn_log(WN_LOG_WARNING, "%s", wn_error_message());
        status = WN_OK;
    }
    return status;
}

wn_status wn_memory_check_new(struct wn_par *par, const struct wn_run *run, const struct wn_run_options *options,
                              const bool *only)
{
    int64_t n = run->grid.n_points, most, new = access(options->output, F_OK) != 0;
    wn_par_broadcast(par, &new, sizeof new, 0);
    if (!new || (options->from && options->from->count))
        return WN_OK;
    bool *wanted = wn_alloc(n, sizeof *wanted);
    for (int64_t i = 0; i < n; i++)
        wanted[i] = !only || only[i];
    wn_status status = wn_memory_check(par, run, wanted, options->force, &most);
    wn_free(wanted);
    return status;
}

/* ---- points that are too large ---- */

static wn_status fail_point(const struct wn_run *run, struct wn_results *results, int64_t point, int64_t bytes,
                            int64_t most, struct wn_kept_row *kept)
{
    char needed[32], room[32], reason[200];
    snprintf(reason, sizeof reason,
             "needs %s of memory, and a rank alone can have %s: give more, then --retry-failed; or --retry-failed "
             "--force",
             text_of(bytes, needed), text_of(most, room));
    wn_log(WN_LOG_WARNING, "point %lld failed: %s (%s)", (long long)point, reason, run->grid.points[point].key);
    WN_TRY(wn_results_begin(results, point));
    return wn_kept_fail(run, results, point, reason, kept);
}

wn_status wn_memory_fail_large(struct wn_par *par, const struct wn_run *run, struct wn_results *results, int64_t most,
                               bool *wanted)
{
    struct wn_kept_row kept;
    wn_status status = WN_OK;
    wn_kept_open(run, &kept);
    for (int64_t i = 0; i < run->grid.n_points && most < INT64_MAX; i++) {
        const int64_t bytes = wanted[i] ? wn_point_bytes(run, i) : 0;
        if (bytes <= most)
            continue;
        wanted[i] = false;
        if (wn_par_rank(par) == 0 && status == WN_OK)
            status = fail_point(run, results, i, bytes, most, &kept);
    }
    wn_kept_close(&kept);
    return wn_par_agree(par, status);
}

/* ---- for a plan ---- */

char *wn_memory_advice(const struct wn_run *run, const struct wn_memory *memory, int ranks)
{
    struct wn_limit limits[WN_LIMITS];
    struct need need;
    char *worst = NULL;
    int64_t own, least = ranks;
    int count = wn_limits_read("", limits, &own);
    take_need(run, memory, NULL, &need);
    for (int i = 0; i < count; i++) {
        int64_t mine = limits[i].shared_by ? ranks : 1, fit = fitting(&need, &limits[i], mine);
        if (fit == mine || (worst && fit >= least))
            continue;
        least = fit;
        wn_free(worst);
        char *line = describe(run, &need, &limits[i], mine);
        worst = wn_format("on one node like this machine %s: %lld fit", line, (long long)fit);
        wn_free(line);
    }
    wn_free(need.points);
    return worst;
}
