/*
 * searches.c: the allocations that are searched for, by all ranks together, behind the shared dense pass and before the
 * points. Every rank takes the same decisions; what a generation leaves is stored by rank 0 before the next one begins,
 * and a search goes on behind the last one that is there.
 */
#include <winnow/judge.h>

#include "point_impl.h"

/* Hidden states of a chunk that a rank keeps: more share more blocks. */
enum { STATES = 32 };
/* A generation may take so much longer than the one before. */
static const double GENERATION_MARGIN = 1.2;

static struct wn_judge_spec spec_of(const struct wn_run *run, const struct wn_point_search *search)
{
    const struct wn_prepared_model *prepared = &run->models[run->grid.points[search->point].model];
    return (struct wn_judge_spec){.model = prepared->model,
                                  .space = &search->space,
                                  .calibration = &prepared->calibrations[search->calibration].sequences,
                                  .fitness = search->settings.fitness,
                                  .top = search->settings.top,
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
    const struct wn_generations *store;
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

static wn_status judge(struct searching *s, bool begun)
{
    struct wn_judge_spec spec = spec_of(s->run, s->point);
    struct wn_judge *judge;
    WN_TRY(wn_judge_open(s->par, &spec, &judge));
    s->search.evaluate = wn_judge_evaluate;
    s->search.context = judge;
    wn_status status = begun ? WN_OK : begin(s);
    while (status == WN_OK && s->state.generation < s->point->generations)
        status = step(s);
    wn_judge_close(&judge);
    return status;
}

static wn_status run_search(struct searching *s, struct wn_found *found)
{
    const struct wn_point_search *point = s->point;
    int64_t count =
        s->run->models[s->run->grid.points[point->point].model].calibrations[point->calibration].sequences.n_sequences;
    s->search = (struct wn_search){
        .settings = &point->settings, .space = &point->space, .n_sequences = count, .lengths = point->lengths};
    bool begun;
    wn_status status = load(s, &begun);
    if (status == WN_OK && (!begun || s->state.generation < point->generations))
        status = judge(s, begun);
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
        struct searching searching = {.par = par, .run = run, .store = store, .index = i, .point = point};
        if (!wanted[point->point])
            continue;
        status = run_search(&searching, &reference->found[point->point]);
        if (status == WN_ERR_NUMERIC) {
            wn_log(WN_LOG_WARNING, "search of point %lld: %s", (long long)point->point, wn_error_message());
            status = WN_OK; /* its point gives the reason in its row */
        }
    }
    return status;
}
