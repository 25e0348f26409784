/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grow.c: what a sweep can take over from older results files.
 *
 * A row is taken over when its key, the files of its model, its calibration set and the reference sample are equal, an
 * evaluation of it when all that its identity says is equal too (tables.c writes these lines). What the files have in
 * between, other points, evaluations or models, in another order, does not matter. A point may get evaluations from
 * several files when these have made the same weights.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "grow.h"
#include "older.h"

/* All that is at hand. */
struct grow {
    const struct wn_growth *how;
    const struct wn_run *run;
    struct wn_identity identity; /* of the run */
    int64_t n_sources, n_evals;
    struct wn_older *sources;
    int64_t *rows;     /* [points of the run][n_sources] the row that is this point; -1: none */
    bool has_existing; /* sources[0] is the file that is there */
};

/* ---- which rows ---- */

static bool holds(const struct wn_older *source, int64_t row, int64_t column)
{
    return source->status[row] == WN_POINT_DONE ||
           (source->status[row] <= WN_POINT_FAILED && source->marks[row * source->n_evals + column] >= 0);
}

static bool has_eval(const struct grow *grow, const struct wn_older *source, int64_t row, int64_t model, int64_t e)
{
    int64_t column = source->eval[model * grow->n_evals + e];
    return column >= 0 && holds(source, row, column);
}

/* A row that was taken over and lacks evaluations, or failed to get them. */
static bool is_partial(const struct wn_older *source, int64_t row)
{
    bool any = false;
    for (int64_t c = 0; c < source->n_evals && source->status[row] != WN_POINT_DONE; c++)
        any = any || holds(source, row, c);
    return any;
}

/* Whether a row failed at no other evaluations than those asked for: then it would fail again. */
static bool failed_at_all(const struct grow *grow, const struct wn_older *source, int64_t row, int64_t model)
{
    bool all = source->status[row] == WN_POINT_FAILED;
    for (int64_t e = 0; e < grow->n_evals; e++)
        all = all && source->eval[model * grow->n_evals + e] >= 0;
    return all;
}

static int64_t count_evals(const struct grow *grow, const struct wn_older *source, int64_t row, int64_t model)
{
    int64_t count = 0;
    for (int64_t e = 0; e < grow->n_evals; e++)
        count += has_eval(grow, source, row, model, e);
    return count;
}

static int32_t start_of_row(const struct wn_older *source, int64_t row)
{
    return source->starts[row] >= 0 ? (int32_t)source->starts[row] : -1;
}

static const char *arithmetic_of(const struct wn_older *source, int32_t start)
{
    return start >= 0 && start < source->n_starts ? source->arithmetic[start] : "";
}

/* How much a row is worth: by the evaluations that it has. -1: nothing. */
static int64_t worth(const struct grow *grow, const struct wn_older *source, int64_t row, int64_t model)
{
    if (source->status[row] == WN_POINT_DONE || is_partial(source, row))
        return count_evals(grow, source, row, model) + 1;
    return failed_at_all(grow, source, row, model) ? 0 : -1;
}

static void take_part(struct wn_take_over *take, int64_t p, int part, int64_t source, int64_t row, int32_t start)
{
    take->row[source * take->points + p] = row;
    take->source[p * take->n_parts + part] = (int16_t)source;
    take->start[p * take->n_parts + part] = start;
}

static void take_evals(const struct grow *grow, struct wn_take_over *take, int64_t p, int64_t s, int64_t row)
{
    const struct wn_older *source = &grow->sources[s];
    int64_t model = grow->run->grid.points[p].model;
    for (int64_t e = 0; e < grow->n_evals; e++)
        if (take->source[p * take->n_parts + e + 1] < 0 && has_eval(grow, source, row, model, e))
            take_part(take, p, (int)e + 1, s, row,
                      source->marks[row * source->n_evals + source->eval[model * grow->n_evals + e]]);
}

static void untake(const struct grow *grow, struct wn_take_over *take, int64_t p)
{
    for (int64_t s = 0; s < grow->n_sources; s++)
        take->row[s * take->points + p] = -1;
    for (int part = 0; part < take->n_parts; part++)
        take->source[p * take->n_parts + part] = -1;
}

static bool is_whole(const struct wn_take_over *take, int64_t p)
{
    bool whole = true;
    for (int part = 0; part < take->n_parts; part++)
        whole = whole && take->source[p * take->n_parts + part] >= 0;
    return whole;
}

/* The most worthy source of a point, -1: none. */
static int64_t best_source(const struct grow *grow, int64_t p)
{
    int64_t model = grow->run->grid.points[p].model, best = -1, most = -1, *rows = grow->rows + p * grow->n_sources;
    for (int64_t s = 0; s < grow->n_sources; s++) {
        struct wn_older *source = &grow->sources[s];
        rows[s] = wn_older_row(grow->run, source, p);
        if (rows[s] < 0)
            continue;
        source->matched += source->status[rows[s]] == WN_POINT_DONE;
        int64_t here = worth(grow, source, rows[s], model);
        if (here > most) {
            most = here;
            best = s;
        }
    }
    return best;
}

/* Evaluations of other files join the best row when they are of the same weights. */
static void choose_row(struct grow *grow, struct wn_take_over *take, int64_t p)
{
    const int64_t best = best_source(grow, p), model = grow->run->grid.points[p].model;
    const int64_t *rows = grow->rows + p * grow->n_sources;
    if (grow->has_existing && rows[0] >= 0 && grow->sources[0].status[rows[0]] == WN_POINT_OPEN)
        take->attempt[p] = (int32_t)grow->sources[0].attempts[rows[0]];
    if (best < 0)
        return;
    struct wn_older *source = &grow->sources[best];
    int64_t row = rows[best];
    bool failed = failed_at_all(grow, source, row, model);
    take_part(take, p, 0, best, row, start_of_row(source, row));
    take_evals(grow, take, p, best, row);
    for (int64_t s = 0; s < grow->n_sources; s++)
        if (s != best && rows[s] >= 0 && worth(grow, &grow->sources[s], rows[s], model) > 0 &&
            !strcmp(grow->sources[s].hashes[rows[s]], source->hashes[row]))
            take_evals(grow, take, p, s, rows[s]);
    bool whole = is_whole(take, p);
    const char *arithmetic = arithmetic_of(source, start_of_row(source, row));
    if (!whole && !failed && !wn_results_same_arithmetic(arithmetic, grow->how->arithmetic)) {
        untake(grow, take, p);
        source->other_arithmetic++;
        return;
    }
    take->status[p] = whole ? WN_POINT_DONE : failed ? WN_POINT_FAILED : WN_POINT_OPEN;
    if (take->status[p] != WN_POINT_OPEN)
        take->attempt[p] = (int32_t)source->attempts[row];
    source->taken += source->status[row] == WN_POINT_DONE;
    source->lacking += source->status[row] == WN_POINT_DONE && !whole;
}

/* Generations come with their point, also with one that is not finished: its search goes on behind them. */
static void choose_log(const struct grow *grow, struct wn_take_over *take, int64_t s)
{
    const struct wn_point_search *search = &grow->run->searches[s];
    int64_t source = take->source[search->point * take->n_parts];
    for (int64_t o = 0; o < grow->n_sources && source < 0; o++)
        if (grow->sources[o].item[s] >= 0)
            source = o;
    if (source < 0)
        return;
    take->logs = wn_resize(take->logs, take->n_logs + 1, sizeof *take->logs);
    take->logs[take->n_logs++] = (struct wn_take_over_log){
        .log = search->log, .item = search->item, .source = source, .source_item = grow->sources[source].item[s]};
}

/* ---- whether that is allowed ---- */

/* Everything that is taken over, and what is still to be computed, has one arithmetic, unless they may be mixed. */
static wn_status check_arithmetic(const struct grow *grow, const struct wn_take_over *take)
{
    const char *first = NULL, *from = NULL;
    for (int64_t p = 0; p < take->points; p++)
        if (!is_whole(take, p)) {
            first = grow->how->arithmetic;
            from = "this run";
        }
    for (int64_t i = 0; i < take->points * take->n_parts; i++) {
        if (take->source[i] < 0)
            continue;
        const struct wn_older *source = &grow->sources[take->source[i]];
        const char *arithmetic = arithmetic_of(source, take->start[i]);
        if (!first) {
            first = arithmetic;
            from = source->path;
        }
        if (!wn_results_same_arithmetic(arithmetic, first) && !grow->how->mix_arithmetic)
            return wn_fail(
                WN_ERR_INPUT,
                "%s: its points were computed with another arithmetic (%s) than that of %s (%s). Equal points "
                "would differ in their last bits: use the same build on the same kind of node, or give "
                "--mix-arithmetic (/points/start tells which row is whose)",
                source->path, arithmetic, from, first);
    }
    return WN_OK;
}

/* The first model file that differs, or what else. The text is owned by the caller. */
static char *why_nothing(const struct grow *grow, const struct wn_older *source)
{
    if (!source->finished)
        return wn_strdup("none of its points is finished");
    const struct wn_described_model *here = &grow->identity.models[0], *there = source->identity.models;
    for (int64_t m = 0; m < grow->run->n_models; m++)
        if (source->model[m] >= 0)
            return wn_strdup("no finished point of it has a key and a calibration set of this sweep");
    if (!there)
        return wn_strdup("it says of no model what it was");
    if (wn_same_text(here->files.data, there->files.data))
        return wn_strdup("its reference sample of output_error is another one");
    const char *a = here->files.data ? here->files.data : "", *b = there->files.data ? there->files.data : "";
    while (*a && strcspn(a, "\n") == strcspn(b, "\n") && !strncmp(a, b, strcspn(a, "\n"))) {
        a += strcspn(a, "\n") + 1;
        b += strcspn(b, "\n") + 1;
    }
    const char *line = *b ? b : a;
    return wn_format("its model is another one: %.*s", (int)strcspn(line, "\n"), line);
}

static wn_status check_use(const struct grow *grow)
{
    for (int64_t s = grow->has_existing; s < grow->n_sources; s++) {
        const struct wn_older *source = &grow->sources[s];
        if (source->matched)
            continue;
        char *why = why_nothing(grow, source);
        wn_status status = wn_fail(WN_ERR_INPUT, "%s: nothing can be taken over: %s; leave it out to compute all anew",
                                   source->path, why);
        wn_free(why);
        return status;
    }
    return WN_OK;
}

static bool keeps_evals(const struct grow *grow, const struct wn_older *source, int64_t row, int64_t model)
{
    bool all = true;
    for (int64_t c = 0; c < source->n_evals; c++) {
        bool kept = !holds(source, row, c);
        for (int64_t e = 0; e < grow->n_evals; e++)
            kept = kept || source->eval[model * grow->n_evals + e] == c;
        all = all && kept;
    }
    return all;
}

/* Finished rows of the existing file of which the new one would lack something; *first is one of them. */
static int64_t count_lost(const struct grow *grow, const struct wn_take_over *take, int64_t *first)
{
    const struct wn_older *source = &grow->sources[0];
    bool *kept = wn_alloc_zero(source->points, sizeof *kept);
    int64_t lost = 0;
    for (int64_t p = 0; p < take->points; p++) {
        int64_t row = grow->rows[p * grow->n_sources];
        if (row >= 0 && take->source[p * take->n_parts] >= 0)
            kept[row] = keeps_evals(grow, source, row, grow->run->grid.points[p].model);
    }
    for (int64_t r = source->points - 1; r >= 0; r--)
        if (!kept[r] && (source->status[r] == WN_POINT_DONE || is_partial(source, r))) {
            *first = r;
            lost++;
        }
    wn_free(kept);
    return lost;
}

/* Whether the existing file of the same sweep gains anything from the others. */
static bool gains(const struct grow *grow, const struct wn_take_over *take)
{
    for (int64_t i = 0; i < take->points * take->n_parts; i++)
        if (take->source[i] > 0 && grow->has_existing)
            return true;
    return false;
}

/* What to do with the file that is there. */
static void judge_existing(const struct grow *grow, struct wn_take_over *take)
{
    const struct wn_older *existing = &grow->sources[0];
    int64_t first = 0;
    bool same = !strcmp(existing->text, grow->run->identity);
    int64_t lost = count_lost(grow, take, &first);
    take->replace = lost == 0 && (same ? gains(grow, take) : existing->matched > 0);
    if (same || take->replace)
        return;
    if (lost)
        take->hint =
            wn_format("%lld of its %lld finished points, or evaluations of them, are not in this sweep (such as "
                      "\"%s\"): give another -o, and --from %s to take over what is equal",
                      (long long)lost, (long long)existing->finished, existing->keys[first], existing->path);
    else
        take->hint = wn_format("give another -o, and --from %s to take over what is equal", existing->path);
}

static void say_taken(const struct grow *grow, const struct wn_take_over *take)
{
    for (int64_t s = 0; s < grow->n_sources && (take->replace || !grow->has_existing); s++) {
        const struct wn_older *source = &grow->sources[s];
        wn_log(WN_LOG_INFO, "%s: %lld of its %lld finished points are taken over, %lld of them lack evaluations",
               source->path, (long long)source->taken, (long long)source->finished, (long long)source->lacking);
        if (source->other_arithmetic)
            wn_log(WN_LOG_WARNING,
                   "%s: %lld points that lack evaluations were computed with another arithmetic and are "
                   "computed again",
                   source->path, (long long)source->other_arithmetic);
    }
}

/* ---- all of it ---- */

static bool same_file(const char *a, const char *b)
{
    struct stat one, other;
    return a && stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* The existing file first, which alone may be none that can be grown. */
static wn_status read_sources(struct grow *grow, const char *existing)
{
    const struct wn_texts *from = grow->how->from;
    grow->sources = wn_alloc_zero(from->count + 1, sizeof *grow->sources);
    if (existing) {
        struct wn_older first;
        grow->has_existing = wn_older_read(grow->run, &grow->identity, existing, &first) == WN_OK;
        if (grow->has_existing) {
            grow->sources[grow->n_sources++] = first;
        } else {
            wn_log(WN_LOG_DEBUG, "%s", wn_error_message());
            wn_older_release(&first);
        }
    }
    for (int64_t i = 0; i < from->count; i++) {
        if (same_file(existing, from->texts[i]))
            continue;
        struct wn_older *source = &grow->sources[grow->n_sources++];
        WN_TRY(wn_older_read(grow->run, &grow->identity, from->texts[i], source));
    }
    return WN_OK;
}

static wn_status choose(struct grow *grow, const char *existing, struct wn_take_over *take)
{
    const struct wn_run *run = grow->run;
    WN_TRY(read_sources(grow, existing));
    if (existing && !grow->has_existing)
        return WN_OK; /* looking at it tells why */
    wn_take_over_init(take, grow->n_sources, run->grid.n_points, (int)grow->n_evals + 1, run->schema.n_fields);
    take->marks = wn_schema_find(&run->schema, WN_EVALUATION_START);
    for (int64_t s = 0; s < grow->n_sources; s++)
        take->sources[s] = wn_strdup(grow->sources[s].path);
    for (int f = 0; f < run->schema.n_fields; f++)
        take->part[f] = wn_row_part(run, run->schema.fields[f].path);
    grow->rows = wn_alloc(take->points * grow->n_sources, sizeof *grow->rows);
    for (int64_t p = 0; p < take->points; p++)
        choose_row(grow, take, p);
    for (int64_t s = 0; s < grow->run->n_searches; s++)
        choose_log(grow, take, s);
    WN_TRY(check_use(grow));
    if (grow->has_existing)
        judge_existing(grow, take);
    if (!existing || take->replace)
        WN_TRY(check_arithmetic(grow, take));
    say_taken(grow, take);
    return WN_OK;
}

wn_status wn_grow_choose(void *context, const char *existing, struct wn_take_over *take)
{
    const struct wn_growth *how = context;
    struct grow grow = {.how = how, .run = how->run, .n_evals = how->run->sweep->n_evals};
    wn_identity_read(how->run->identity, &grow.identity);
    wn_status status = existing || how->from->count ? choose(&grow, existing, take) : WN_OK;
    for (int64_t s = 0; s < grow.n_sources; s++)
        wn_older_release(&grow.sources[s]);
    wn_free(grow.sources);
    wn_free(grow.rows);
    wn_identity_release(&grow.identity);
    return status;
}
