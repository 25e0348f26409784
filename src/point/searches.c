/* SPDX-License-Identifier: Apache-2.0 */
/*
 * searches.c: the allocations that are searched for, by all ranks together, behind the shared dense pass and before the
 * points. Every rank takes the same decisions; what a generation leaves is stored by rank 0 before the next one begins,
 * and a search goes on behind the last one that is there.
 */
#include <winnow/judge.h>
#include <winnow/level.h>

#include <math.h>
#include <omp.h>
#include <string.h>

#include "point_impl.h"

/* Hidden states of a chunk that a rank keeps: more share more blocks. */
enum { STATES = 32 };
/* A generation may take so much longer than the one before. */
static const double GENERATION_MARGIN = 1.2;

/* Of the rules that a judge keeps, their making included, and of one that computes a chunk. */
static int64_t rule_bytes(const struct wn_model *model, const struct wn_recipe *recipe, int64_t tokens)
{
    int64_t sum = 0, most = 0;
    for (int l = 0; l < model->layout.n_linears; l++) {
        const struct wn_linear_info *linear = &model->layout.linears[l];
        int64_t bytes, scratch;
        wn_recipe_activation_bytes(recipe, linear->rows, linear->columns, tokens, omp_get_max_threads(), &bytes,
                                   &scratch);
        const int64_t making = bytes ? bytes + linear->rows * linear->columns : 0;
        sum += 2 * bytes;
        most = scratch > most ? scratch : most;
        most = making > most ? making : most;
    }
    return sum + most;
}

static struct wn_judge_spec spec_of(const struct wn_run *run, const struct wn_point_search *search)
{
    const struct wn_prepared_model *prepared = &run->models[run->grid.points[search->point].model];
    const struct wn_calibration *on = search->items ? NULL : &prepared->calibrations[search->calibration];
    return (struct wn_judge_spec){
        .model = prepared->model,
        .space = &search->space,
        .calibration = on ? &on->sequences : NULL,
        .items = search->items,
        .fitness = search->settings.fitness,
        .top = search->settings.top,
        .rule_bytes = rule_bytes(prepared->model, &run->grid.points[search->point].recipe, WN_CHUNK_TOKENS),
        .states = STATES};
}

int64_t wn_point_search_bytes(const struct wn_run *run, const struct wn_point_search *search, int64_t *shared)
{
    struct wn_judge_spec spec = spec_of(run, search);
    *shared = wn_judge_shared_bytes(&spec);
    return wn_judge_bytes(&spec);
}

/* ---- one search ---- */

struct searching {
    struct wn_par *par;
    const struct wn_run *run;
    const struct wn_reference *reference;
    const struct wn_generations *store;
    const bool *wanted; /* [points] */
    int64_t index;
    const struct wn_point_search *point;
    struct wn_search search;
    struct wn_search_state state;
    double last; /* seconds of the last generation */
};

/* The last whole generation that is stored; *found tells whether there is one. Collective. */
static wn_status load(struct searching *s, bool *found)
{
    int64_t generation = -1;
    wn_status status = WN_OK;
    wn_search_state_init(&s->search, &s->state);
    if (wn_par_rank(s->par) == 0)
        status = s->store->load(s->store->context, s->index, &generation, s->state.parent);
    WN_TRY(wn_par_agree(s->par, status));
    wn_par_broadcast(s->par, &generation, sizeof generation, 0);
    wn_par_broadcast(s->par, s->state.parent, s->state.n_genes * (int64_t)sizeof *s->state.parent, 0);
    s->state.generation = generation;
    *found = generation >= 0;
    return WN_OK;
}

static wn_status save(struct searching *s, double start)
{
    wn_status status = WN_OK;
    s->last = wn_seconds() - start;
    if (wn_par_rank(s->par) == 0)
        status = s->store->save(s->store->context, s->index, &s->state, s->last);
    return wn_par_agree(s->par, status);
}

/* Generations are stored, so nothing is lost. Collective. */
static wn_status check_stop(const struct searching *s)
{
    const struct wn_saver *saver = s->run->saver;
    bool late = saver && wn_seconds() + GENERATION_MARGIN * s->last > saver->end;
    if (!saver || !wn_par_max(s->par, wn_par_stop_requested() || late))
        return WN_OK;
    return wn_fail(WN_ERR_INTERRUPTED,
                   "stopped behind generation %lld of %lld of a search: the same command goes on "
                   "there",
                   (long long)s->state.generation, (long long)s->point->generations);
}

static wn_status begin(struct searching *s)
{
    double start = wn_seconds();
    wn_search_state_release(&s->state);
    WN_TRY(wn_search_begin(&s->search, &s->state));
    return save(s, start);
}

static wn_status step(struct searching *s)
{
    double start = wn_seconds();
    WN_TRY(check_stop(s));
    WN_TRY(wn_search_step(&s->search, &s->state));
    return save(s, start);
}

/* ---- levels ---- */

/* What a search chooses from; of drop nothing has to be made. */
struct made_levels {
    char *folder, *key; /* owned; NULL: none */
    struct wn_judge_levels levels;
};

static bool has_levels(const struct searching *s)
{
    return s->point->space.kind != WN_SPACE_DROP;
}

/* there: none of them had to be made. */
static void tell_levels(const struct searching *s, const struct made_levels *made, bool per_node, bool there)
{
    const struct wn_point *point = &s->run->grid.points[s->point->point];
    const struct wn_layout *layout = &s->run->models[point->model].model->layout;
    double bytes = 0, weights = 0;
    for (int64_t b = 0; b < s->point->space.n_blocks; b++) {
        struct wn_level_block levels;
        if (wn_levels_open(made->folder, made->key, b, &levels) != WN_OK)
            continue; /* the search will say so */
        bytes += (double)levels.mapped.size;
        for (int64_t i = 0; i < levels.count; i++) {
            const struct wn_linear_info *linear = &layout->linears[levels.entries[i].linear];
            weights += (double)(linear->rows * linear->columns);
        }
        wn_levels_close(&levels);
    }
    wn_log(WN_LOG_INFO, "levels of %s: %.1f MB, %.2f bytes per weight and level, in %s%s%s", point->key, bytes / 1e6,
           bytes / weights, made->folder, per_node ? " of each node" : "", there ? ", which were there" : "");
}

static struct wn_level_task level_task(const struct searching *s, const struct wn_point_search *search)
{
    struct wn_level_task task = wn_level_task_of(s->run, search);
    task.reference = s->reference;
    task.build = s->run->saver->build;
    task.end = s->run->saver->end;
    return task;
}

/* Whether a search that comes later chooses from the same levels: it takes the files of this one. */
static bool are_wanted_later(const struct searching *s, const char *key)
{
    bool wanted = false;
    for (int64_t i = s->index + 1; i < s->run->n_searches && !wanted; i++) {
        const struct wn_point_search *search = &s->run->searches[i];
        if (!s->wanted[search->point] || search->space.kind == WN_SPACE_DROP)
            continue;
        const struct wn_level_task task = level_task(s, search);
        wanted = wn_levels_have_key(&task, key);
    }
    return wanted;
}

/* Collective. */
static wn_status make_levels(const struct searching *s, struct made_levels *made)
{
    struct wn_level_task task = level_task(s, s->point);
    *made = (struct made_levels){0};
    if (!has_levels(s))
        return WN_OK;
    made->folder = wn_strdup(s->run->saver->levels);
    made->key = wn_levels_key(&task);
    task.folder = made->folder;
    task.per_node = !wn_levels_are_shared(s->par, made->folder);
    wn_judge_levels_init(&made->levels, s->run->models[task.point->model].model, made->folder, made->key);
    struct wn_reference quantized = {0};
    wn_status status = WN_OK;
    bool there = wn_levels_are_there(s->par, &task);
    if (task.calibration_bits && !there) {
        status = wn_quantized_make(s->par, s->run, s->reference, s->index, &quantized);
        task.reference = &quantized;
    }
    if (status == WN_OK && !there)
        status = wn_levels_make(s->par, &task);
    wn_quantized_release(s->run, task.point, &quantized);
    WN_TRY(status);
    if (wn_par_rank(s->par) == 0)
        tell_levels(s, made, task.per_node, there);
    return WN_OK;
}

/* They stay when the search goes on in a later start, and when later runs may want them. Collective. */
static void release_levels(const struct searching *s, wn_status status, struct made_levels *made)
{
    if (!made->key)
        return;
    wn_judge_levels_close(&made->levels);
    wn_par_barrier(s->par);
    bool ended = status == WN_OK || status == WN_ERR_NUMERIC || status == WN_ERR_UNSUPPORTED;
    bool keeps = s->run->saver->keeps_levels || are_wanted_later(s, made->key);
    if (ended && !keeps && wn_par_node_rank(s->par) == 0)
        wn_levels_remove(made->folder, made->key, s->point->space.n_blocks);
    wn_free(made->folder);
    wn_free(made->key);
}

/* The choice by layer errors is a generation 0 of its own. */
static wn_status minimize(struct searching *s, struct made_levels *made)
{
    const struct wn_space *space = &s->point->space;
    double start = wn_seconds(), *errors = wn_alloc(space->n_genes * (space->high - space->low + 1), sizeof *errors);
    wn_status status = wn_par_agree(s->par, wn_judge_level_errors(&made->levels, space, errors));
    if (status == WN_OK)
        status = wn_space_minimize(space, errors, s->state.parent);
    s->state.generation = 0;
    s->state.parent_fitness = status == WN_OK ? wn_space_error(space, errors, s->state.parent) : (double)NAN;
    wn_free(errors);
    return status == WN_OK ? save(s, start) : status;
}

/* Sums of layer errors are noted beside the fitness: of levels as dynamic programming has them, 1 of a linear that is
 * left out. One rank reads the files. Collective. */
static wn_status layer_errors(const struct searching *s, struct made_levels *made, double *errors)
{
    const struct wn_space *space = &s->point->space;
    const struct wn_layout *layout = &s->run->models[s->run->grid.points[s->point->point].model].model->layout;
    int64_t columns = space->high - space->low + 1, count = space->n_genes * columns;
    wn_status status = WN_OK;
    if (has_levels(s) && wn_par_rank(s->par) == 0)
        status = wn_judge_level_errors(&made->levels, space, errors);
    for (int64_t g = 0; g < space->n_genes && !has_levels(s); g++) {
        int32_t left_out = space->genes[g].linear; /* 0: attention, 1: MLP, 2: both */
        errors[g * columns] = errors[g * columns + columns - 1] = 0;
        for (int l = 0; l < layout->n_linears; l++)
            errors[g * columns + columns - 1] +=
                left_out == 2 || left_out == (layout->input_branches[layout->linears[l].input] == WN_BRANCH_MLP);
    }
    WN_TRY(wn_par_agree(s->par, status));
    wn_par_broadcast(s->par, errors, count * (int64_t)sizeof *errors, 0);
    return WN_OK;
}

/* All generations that are left. Collective. */
static wn_status evolve(struct searching *s, bool begun, struct made_levels *made)
{
    const struct wn_space *space = &s->point->space;
    double *errors = wn_alloc(space->n_genes * (space->high - space->low + 1), sizeof *errors);
    wn_status status = layer_errors(s, made, errors);
    s->search.errors = errors;
    if (status == WN_OK && !begun)
        status = begin(s);
    while (status == WN_OK && s->state.generation < s->point->generations)
        status = step(s);
    s->search.errors = NULL;
    wn_free(errors);
    return status;
}

static wn_status judge(struct searching *s, bool begun, struct made_levels *made)
{
    struct wn_judge_spec spec = spec_of(s->run, s->point);
    struct wn_judge *judge;
    spec.weights = has_levels(s) ? wn_judge_level_weights : NULL;
    spec.rule = spec.rule_bytes ? wn_judge_level_rule : NULL;
    spec.vectors = spec.rule_bytes ? wn_judge_level_vectors : NULL;
    spec.context = &made->levels;
    WN_TRY(wn_judge_open(s->par, &spec, &judge));
    s->search.evaluate = wn_judge_evaluate;
    s->search.context = judge;
    wn_status status = evolve(s, begun, made);
    wn_judge_close(&judge);
    return status;
}

static wn_status run_search(struct searching *s, struct wn_found *found)
{
    const struct wn_point_search *point = s->point;
    s->search = (struct wn_search){.settings = &point->settings,
                                   .space = &point->space,
                                   .n_sequences = point->n_sequences,
                                   .lengths = point->lengths};
    bool begun;
    wn_status status = load(s, &begun);
    if (status == WN_OK && (!begun || s->state.generation < point->generations)) {
        struct made_levels made;
        status = make_levels(s, &made);
        if (status == WN_OK && wn_recipe_minimizes(&s->run->grid.points[point->point].recipe))
            status = minimize(s, &made);
        else if (status == WN_OK)
            status = judge(s, begun, &made);
        release_levels(s, status, &made);
    }
    if (status == WN_OK) {
        found->space = &point->space;
        found->genome = s->state.parent;
        s->state.parent = NULL;
    }
    wn_search_state_release(&s->state);
    return status;
}

wn_status wn_searches_run(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                          const struct wn_generations *store, struct wn_reference *reference)
{
    wn_status status = WN_OK;
    for (int64_t i = 0; i < run->n_searches && status == WN_OK; i++) {
        const struct wn_point_search *point = &run->searches[i];
        struct searching searching = {.par = par,
                                      .run = run,
                                      .reference = reference,
                                      .store = store,
                                      .wanted = wanted,
                                      .index = i,
                                      .point = point};
        if (!wanted[point->point])
            continue;
        status = run_search(&searching, &reference->found[point->point]);
        if (status == WN_ERR_NUMERIC || status == WN_ERR_UNSUPPORTED) {
            reference->found[point->point].failure = wn_strdup(wn_error_message());
            wn_log(WN_LOG_WARNING, "search of point %lld: %s", (long long)point->point, wn_error_message());
            status = WN_OK; /* its point gives the reason in its row */
        }
    }
    return status;
}
